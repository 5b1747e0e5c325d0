"use strict";
// Text from the user's files in `summary` is always set as text, never as markup.
const summary = JSON.parse(document.getElementById("summary").textContent);
const element = (id) => document.getElementById(id);
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
const count = (n) => n.toLocaleString("en");
const percent = (x, digits = 1) => x === null ? "unknown" : (100 * x).toFixed(digits) + " %";
const fixed = (x, digits = 2) => (x === null ? "" : x.toFixed(digits));
const withError = (x, error) => (x === null ? "" : fixed(x) + (error === null ? "" : " \u00b1 " + fixed(error)));
const charts = [];

function add(parent, tag, text, className) {
  const child = parent.appendChild(document.createElement(tag));
  if (text !== undefined) child.textContent = text;
  if (className) child.className = className;
  return child;
}

// Draws error bars of points with `ex` or `ey`: half lengths of the 95 % interval.
const whiskers = {
  id: "whiskers",
  beforeDatasetsDraw(chart) {
    const {ctx, scales: {x, y}, chartArea: area} = chart;
    ctx.save();
    ctx.beginPath();
    ctx.rect(area.left, area.top, area.width, area.height);
    ctx.clip();
    chart.data.datasets.forEach((set, i) => {
      if (!chart.isDatasetVisible(i) || !set.whiskers) return;
      ctx.strokeStyle = set.borderColor;
      ctx.globalAlpha = 0.45;
      for (const point of set.data) {
        ctx.beginPath();
        if (point.ex) {
          ctx.moveTo(x.getPixelForValue(point.x - point.ex), y.getPixelForValue(point.y));
          ctx.lineTo(x.getPixelForValue(point.x + point.ex), y.getPixelForValue(point.y));
        }
        if (point.ey) {
          ctx.moveTo(x.getPixelForValue(point.x), y.getPixelForValue(point.y - point.ey));
          ctx.lineTo(x.getPixelForValue(point.x), y.getPixelForValue(point.y + point.ey));
        }
        ctx.stroke();
      }
    });
    ctx.restore();
  },
};

// `make` returns the datasets in the current colours. Charts are redrawn when the colour scheme changes.
function draw(id, type, make, {x, y, label, legend = true, extra = {}}) {
  const axis = (title, more = {}) => ({
    type: "linear", title: {display: true, text: title, color: colour("quiet")}, ticks: {color: colour("quiet")},
    grid: {color: colour("line")}, ...more,
  });
  const options = () => ({
    responsive: true, maintainAspectRatio: false, animation: false, ...extra,
    scales: {x: axis(...x), y: axis(...y)},
    plugins: {
      legend: {display: legend, labels: {color: colour("ink"), usePointStyle: true}},
      tooltip: {callbacks: {title: () => "", label}},
    },
  });
  const chart = new Chart(element(id), {type, data: {datasets: make()}, options: options(), plugins: [whiskers]});
  charts.push(() => {
    const hidden = chart.data.datasets.map((_, i) => !chart.isDatasetVisible(i));
    chart.data.datasets = make();
    chart.options = options();
    hidden.forEach((is, i) => chart.setDatasetVisibility(i, !is));
    chart.update();
  });
}

// Fills a table. Columns are {title, value, text, left}: sorted by value, displayed as text.
function fillTable(table, columns, rows, {sortable = true, decorate = () => {}} = {}) {
  const head = add(add(table, "thead"), "tr");
  const body = add(table, "tbody");
  const show = (list) => {
    body.replaceChildren();
    for (const row of list) {
      const line = add(body, "tr");
      for (const column of columns) {
        const text = column.text ? column.text(row) : String(column.value(row) ?? "");
        const cell = add(line, "td", text, column.left ? "text" : undefined);
        if (column.left) cell.title = text;
        decorate(cell, column, row);
      }
    }
  };
  let shown = rows;
  columns.forEach((column) => {
    const cell = add(head, "th", undefined, column.left ? "text" : undefined);
    cell.scope = "col";
    if (!sortable) {
      cell.textContent = column.title;
      return;
    }
    const button = add(cell, "button", column.title);
    button.type = "button";
    button.addEventListener("click", () => {
      const up = cell.getAttribute("aria-sort") === (column.left ? "ascending" : "descending") ? column.left ? -1 : 1
        : column.left ? 1 : -1;
      for (const other of head.children) other.removeAttribute("aria-sort");
      cell.setAttribute("aria-sort", up > 0 ? "ascending" : "descending");
      rows = [...rows].sort((a, b) => {
        const [v, w] = [column.value(a), column.value(b)];
        if (v === null || w === null) return (v === null) - (w === null); // unknown values last
        return up * (typeof v === "string" ? v.localeCompare(w) : v - w);
      });
      shown = rows.filter(keep);
      show(shown);
    });
  });
  let keep = () => true;
  show(shown);
  return (test) => {
    keep = test;
    shown = rows.filter(keep);
    show(shown);
    return shown.length;
  };
}

function showVerdict() {
  const {level, text, findings} = summary.verdict;
  document.documentElement.style.setProperty("--level", `var(--${level})`);
  document.title = "voxpop report: " + summary.file;
  element("file").textContent = "on " + summary.file + ", fitted " + (summary.provenance.written ?? "");
  element("verdict").textContent = text;
  element("version").textContent = summary.provenance.version ?? "";
  for (const finding of findings) {
    const point = add(element("points"), "li", finding.text, finding.level);
    if (finding.remedy) add(point, "p", finding.remedy, "remedy");
  }
  const figures = [
    [count(summary.votes), "votes"], [count(summary.annotator_count), "annotators"],
    [count(summary.pair_count), "pairs of " + count(summary.items) + " items"],
    [percent(summary.accuracy), "of votes expected to pick the better item"],
    [percent(summary.known_pairs), "of pairs: the better item is known with 95 %"],
    [percent(summary.reliability.ece), "calibration error"],
  ];
  for (const [value, label] of figures) {
    const box = add(element("figures"), "div");
    add(box, "strong", value);
    add(box, "span", label);
  }
}

function showReliability() {
  const {method, bins} = summary.reliability;
  element("method").textContent = `Measured on ${method}; the bars are 95 % intervals by chance alone.`;
  draw("reliability", "scatter", () => [
    {label: "votes", data: bins.map(([x, y, n]) => ({x, y, n, ey: 1.96 * Math.sqrt(x * (1 - x) / n)})), whiskers: true,
      backgroundColor: colour("accent"), borderColor: colour("accent"), pointRadius: 4},
    {label: "perfect", data: [{x: 0, y: 0}, {x: 1, y: 1}], showLine: true, pointRadius: 0, borderWidth: 1,
      borderColor: colour("quiet"), backgroundColor: colour("quiet")},
  ], {
    x: ["predicted share that goes left", {min: 0, max: 1}], y: ["observed share", {min: 0, max: 1}],
    label: ({raw}) => `predicted ${percent(raw.x)}, observed ${percent(raw.y)}, ${count(raw.n ?? 0)} votes`,
  });
}

const ID = 0, VOTES = 1, DISCRIMINATION = 2, DISCRIMINATION_SE = 3, SIDE = 4, SIDE_SE = 5, AGREEMENT = 6, ACCURACY = 7,
  FLAG = 8, FLAG_P = 9, CHANGE_P = 10;

function showAnnotators() {
  const {total, rated, flags, rows, cells} = summary.annotators;
  const biased = rows.some((row) => row[SIDE_SE] !== null); // false: no vote has a known side
  const named = Object.entries(flags).filter(([, n]) => n > 0).map(([flag, n]) => `${count(n)} ${flag}`).join(", ");
  element("annotator-text").textContent = rated
    ? `${count(total)} annotators: ${named}. Horizontal: how well votes follow quality (1: reference annotator, 0: random, below 0: against quality).${biased ? "  Vertical: preference for the left (up) or the right side (down)." : ""}`
    : "The model bt assumes that all annotators are equal. Use the model rater (--model rater) to estimate each one.";
  if (rated) {
    const few = rows.length <= 150; // few enough points for readable error bars
    const drawn = cells ? rows.filter((row) => !["ok", "too_few_votes", "unknown"].includes(row[FLAG])) : rows;
    const sets = () => {
      const list = Object.keys(flags).map((flag) => ({
        label: flag, whiskers: few, pointRadius: 4, pointHoverRadius: 7,
        backgroundColor: colour(flag), borderColor: colour(flag),
        data: drawn.filter((row) => row[FLAG] === flag).map((row) => ({
          x: row[DISCRIMINATION], y: biased ? row[SIDE] ?? 0 : row[VOTES], ex: 1.96 * row[DISCRIMINATION_SE],
          ey: biased ? 1.96 * row[SIDE_SE] : 0, row})),
      })).filter((set) => set.data.length > 0);
      if (cells) {
        const most = Math.max(...cells.map((cell) => cell[2]));
        list.push({label: "ok, too_few_votes or unknown, by number", backgroundColor: colour("ok") + "66",
          borderColor: colour("ok") + "66", data: cells.map(([x, y, n]) => ({x, y, n})),
          pointRadius: (context) => 1.5 + 10 * Math.sqrt((context.raw?.n ?? 0) / most)});
      }
      return list;
    };
    draw("scatter", "scatter", sets, {
      x: ["discrimination (1 = reference annotator)", {suggestedMin: 0, suggestedMax: 1.5}],
      y: biased ? ["side bias in logits (up = left)", {suggestedMin: -1, suggestedMax: 1, grace: "8%"}] : ["votes", {type: "logarithmic"}],
      label: ({raw}) => raw.row
        ? [raw.row[ID], `${raw.row[FLAG]} (probability ${percent(raw.row[FLAG_P], 0)}), ${count(raw.row[VOTES])} votes`,
          `discrimination ${withError(raw.row[DISCRIMINATION], raw.row[DISCRIMINATION_SE])}`,
          biased ? `side bias ${withError(raw.row[SIDE], raw.row[SIDE_SE])}` : ""].filter(Boolean)
        : `${count(raw.n)} annotators about here`,
    });
  } else {
    element("scatter").parentElement.hidden = true;
  }
  const columns = [
    {title: "annotator", value: (r) => r[ID], left: true},
    {title: "votes", value: (r) => r[VOTES], text: (r) => count(r[VOTES])},
    {title: "discrimination", value: (r) => r[DISCRIMINATION], text: (r) => withError(r[DISCRIMINATION], r[DISCRIMINATION_SE])},
    {title: "side bias", value: (r) => r[SIDE], text: (r) => withError(r[SIDE], r[SIDE_SE])},
    {title: "agreement", value: (r) => r[AGREEMENT], text: (r) => (r[AGREEMENT] === null ? "" : percent(r[AGREEMENT]))},
    {title: "expected accuracy", value: (r) => r[ACCURACY], text: (r) => (r[ACCURACY] === null ? "" : percent(r[ACCURACY]))},
    {title: "flag", value: (r) => r[FLAG], left: true},
    {title: "probability", value: (r) => r[FLAG_P], text: (r) => (r[FLAG_P] === null ? "" : percent(r[FLAG_P], 0))},
  ];
  if (summary.drift)
    columns.push({title: "change, p", value: (r) => r[CHANGE_P], text: (r) => (r[CHANGE_P] === null ? "" : r[CHANGE_P] < 1e-4 ? "< 0.0001" : r[CHANGE_P].toFixed(4))});
  const filter = fillTable(element("annotator-table"), columns, rows, {
    decorate: (cell, column, row) => {
      if (column.title !== "flag") return;
      cell.classList.add("flag");
      cell.style.setProperty("--flag", `var(--${row[FLAG]})`);
    },
  });
  const rest = (shown) => {
    element("annotator-rest").textContent = `${count(shown)} shown of ${count(total)}` + (total > rows.length
      ? `; this page has ${count(rows.length)}, flagged ones first, then by votes. All are in ${summary.file}, annotators/.` : ".");
  };
  rest(rows.length);
  element("filter").addEventListener("input", (event) => {
    const wanted = event.target.value.toLowerCase();
    rest(filter((row) => row[ID].toLowerCase().includes(wanted) || row[FLAG].includes(wanted)));
  });
}

function showSources() {
  const {sources} = summary;
  element("sources").hidden = !sources;
  if (!sources) return;
  element("source-text").textContent = sources.total > sources.rows.length
    ? `The best ${count(sources.rows.length)} of ${count(sources.total)} are below; all are in ${summary.file}, sources/.` : "";
  fillTable(element("source-table"), [
    {title: "source", value: (r) => r[0], left: true},
    {title: "score", value: (r) => r[1], text: (r) => withError(r[1], r[2])},
  ], sources.rows);
}

const day = (seconds) => {
  const date = new Date(1000 * seconds);
  return isNaN(date) ? String(seconds) : date.toISOString().slice(0, 10); // not seconds: show the number
};

function showDrift() {
  const {drift} = summary;
  element("accuracy-box").hidden = !drift || drift.all.length < 2;
  element("change-box").hidden = !drift || drift.lines.length === 0;
  if (!drift) {
    element("drift-text").textContent = "These votes have no timestamps (comparisons/timestamp), so changes over time are unknown.";
    return;
  }
  element("drift-text").textContent = drift.tested === 0
    ? "No annotator has 100 votes, which the test for a change needs."
    : `${count(drift.changed)} of ${count(drift.tested)} annotators with 100 votes or more changed by more than chance ` +
      "(test corrected for their number, p < 0.01). " + (drift.lines.length > 0 ? "The chart shows the most certain ones. Possible reasons: tiredness, " +
      "new guidelines or harder prompts." : "");
  const time = {bounds: "data", ticks: {callback: day, maxTicksLimit: 6, maxRotation: 0, color: colour("quiet")}};
  if (drift.all.length > 1)
    draw("accuracy", "scatter", () => [{label: "all votes", data: drift.all.map(([x, y, n]) => ({x, y, n})), showLine: true,
      borderColor: colour("accent"), backgroundColor: colour("accent"), pointRadius: 2}], {
      x: ["", time], y: ["expected accuracy"], label: ({raw}) => `${day(raw.x)}: ${percent(raw.y)} of ${count(raw.n)} votes`});
  if (drift.lines.length > 0) {
    const tints = ["adversarial", "side_clicker", "noisy", "accent", "good", "random"];
    draw("change", "scatter", () => drift.lines.map((line, i) => ({label: line.id, showLine: true, pointRadius: 3,
      borderColor: colour(tints[i]), backgroundColor: colour(tints[i]), whiskers: drift.lines.length <= 2,
      data: line.points.filter((p) => p[1] !== null).map(([x, y, e]) => ({x, y, ey: e === null ? 0 : 1.96 * e, id: line.id}))})), {
      x: ["", time], y: ["discrimination"], label: ({raw}) => `${raw.id}, ${day(raw.x)}: ${withError(raw.y, raw.ey / 1.96)}`});
  }
}

function showDisputes() {
  element("prompt-box").hidden = !summary.prompts;
  if (summary.prompts)
    fillTable(element("prompt-table"), [
      {title: "prompt", value: (r) => r[0], left: true},
      {title: "pairs", value: (r) => r[1], text: (r) => count(r[1])},
      {title: "votes", value: (r) => r[2], text: (r) => count(r[2])},
      {title: "against the better item", value: (r) => r[3], text: (r) => percent(r[3])},
      {title: "expected", value: (r) => r[4], text: (r) => percent(r[4])},
      {title: "pairs not known with 95 %", value: (r) => r[5], text: (r) => count(r[5])},
    ], summary.prompts);
  fillTable(element("pair-table"), [
    {title: "left", value: (r) => r[0], left: true},
    {title: "right", value: (r) => r[1], left: true},
    {title: "votes", value: (r) => r[2], text: (r) => count(r[2])},
    {title: "for left", value: (r) => r[3], text: (r) => String(r[3])},
    {title: "p(left)", value: (r) => r[4], text: (r) => fixed(r[4])},
    {title: "margin", value: (r) => r[5], text: (r) => withError(r[5], r[6])},
  ], summary.pairs);
}

function showBudget() {
  const {pairs, bits, best_tenth, curve} = summary.budget;
  element("budget-text").textContent = `One more vote on each of ${count(pairs)} pairs is expected to give ${count(Math.round(bits))} bits; ` +
    `the best tenth of them gives ${percent(best_tenth, 0)} of that. "voxpop next ${summary.file} --budget N" lists them.`;
  draw("gain", "scatter", () => [
    {label: "the pairs worth most", data: curve.map(([x, y]) => ({x, y})), showLine: true, pointRadius: 0, pointHitRadius: 8,
      borderColor: colour("accent"), backgroundColor: colour("accent")},
    {label: "pairs at random", data: curve.map(([x, , y]) => ({x, y})), showLine: true, pointRadius: 0, pointHitRadius: 8, borderDash: [4, 4],
      borderColor: colour("quiet"), backgroundColor: colour("quiet")},
  ], {x: ["further votes"], y: ["expected bits"], label: ({raw}) => `${count(raw.x)} votes: ${count(Math.round(raw.y))} bits`});
}

function showOrigin() {
  const rows = Object.entries(summary.provenance)
    .map(([key, value]) => [key, typeof value === "object" ? JSON.stringify(value) : String(value)]);
  fillTable(element("origin-table"), [{title: "", value: (r) => r[0], left: true}, {title: "", value: (r) => r[1], left: true}],
    rows, {sortable: false});
}

showVerdict();
showReliability();
showAnnotators();
showSources();
showDrift();
showDisputes();
showBudget();
showOrigin();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => charts.forEach((again) => again()));
