#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <limits>
#include <map>
#include <numeric>

#include "core/strings.h"
#include "guards/findings.h"
#include "report/report.h"

namespace voxpop {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kLongestId = 200;        // bytes of an id that the page shows
constexpr std::size_t kMostAnnotators = 2000;  ///< rows of the table, points of the chart; above it the chart has cells
constexpr std::size_t kMostSources = 200;
constexpr std::size_t kMostDisputes = 25;
constexpr std::size_t kMostDrifters = 6;
constexpr float kSure = 0.9f;         ///< lowest probability of a flag that is reported
constexpr float kChanged = 0.01f;     ///< corrected p-value below which a change over time is reported
constexpr double kPoorEce = 0.03;     ///< calibration error beyond chance that gives a warning
constexpr double kUselessEce = 0.10;  ///< calibration error beyond chance that forbids training on the labels
constexpr double kFewKnown = 0.05;    ///< share of known pairs below which the labels need care

/// `x` rounded to a multiple of `unit`; null if it is not finite.
Json number(double x, double unit = 1e-4) {
  return std::isfinite(x) ? Json(std::round(x / unit) * unit) : Json(nullptr);
}

bool flagged(const AnnotatorLabels& annotators, std::size_t a) {
  return annotators.votes[a] > 0 && is_suspicious(static_cast<Flag>(annotators.flag[a]));
}

struct Totals {
  std::uint64_t votes = 0, annotators = 0, sure_flags = 0, sure_flag_votes = 0;
  double accuracy = 0;            ///< expected share of decided votes that picked the better item
  double known_pairs = 0;         ///< share of pairs whose better item is known with probability 95 %
  bool reliability_known = true;  ///< false: accuracy is NaN, as it would only reflect the prior
};

Totals total(const FitFile& fit) {
  const AnnotatorLabels& annotators = fit.labels.annotators;
  Totals out;
  double judged = 0;
  for (std::size_t a = 0; a < annotators.votes.size(); ++a) {
    if (annotators.votes[a] == 0) continue;
    out.annotators += 1;
    out.votes += annotators.votes[a];
    if (!std::isnan(annotators.expected_accuracy[a])) {
      out.accuracy += double{annotators.expected_accuracy[a]} * annotators.votes[a];
      judged += annotators.votes[a];
    }
    if (flagged(annotators, a) && annotators.flag_probability[a] >= kSure) {
      out.sure_flags += 1;
      out.sure_flag_votes += annotators.votes[a];
    }
  }
  out.accuracy /= judged;  // NaN if every vote is a tie
  // Annotators' votes include their ties. The fit's own flip_rate counts decided votes only, so it is preferred.
  if (const Json flipped = fit.json.value("flip_rate", Json()); flipped.is_number())
    out.accuracy = 1 - flipped.get<double>();
  out.reliability_known = !has_kind(findings_from(fit.json.value("findings", Json())), kReliabilityUnknown);
  if (!out.reliability_known) out.accuracy = std::numeric_limits<double>::quiet_NaN();
  const Column<float>& better = fit.labels.pairs.probability_better;
  out.known_pairs = static_cast<double>(std::ranges::count_if(better, [](float p) { return p > 0.95f || p < 0.05f; })) /
                    std::max(static_cast<double>(better.size()), 1.0);
  return out;
}

/// Findings from the fit itself: convergence, calibration of predictions, share of known pairs, flagged annotators.
std::vector<Finding> look_at_fit(const FitFile& fit, const Totals& totals) {
  std::vector<Finding> points;
  const auto add = [&](const char* kind, Level level, std::string text, std::string remedy = "") {
    points.push_back({kind, level, std::move(text), std::move(remedy)});
  };
  if (!fit.json.value("converged", true))
    add("not_converged", Level::kDoNotTrain,
        fmt::format("The fit did not converge in {} iterations.", fit.json.value("iterations", 0)));
  if (fit.reliability.trials() > 0) {
    const double ece = fit.reliability.ece(), by_chance = fit.reliability.ece_by_chance();
    const Level level = ece - by_chance > kUselessEce ? Level::kDoNotTrain
                        : ece - by_chance > kPoorEce  ? Level::kCare
                                                      : Level::kNote;
    add("calibration", level,
        fmt::format("Predicted and observed votes differ by {:.1f} percentage points on average; by chance alone, "
                    "{:.1f} points are expected.",
                    100 * ece, 100 * by_chance),
        level == Level::kNote ? "" : "Set calibrate (--calibrate) to correct this by held-out votes");
  } else {
    add("calibration", Level::kCare, "No vote prefers an item, so predictions cannot be compared with votes.");
  }
  add("known_pairs",
      totals.reliability_known && std::isnan(totals.accuracy) ? Level::kDoNotTrain  // no vote is decided
      : totals.known_pairs < kFewKnown                        ? Level::kCare
                                                              : Level::kNote,
      fmt::format("For {:.1f} % of pairs the better item is known with a probability of 95 % or more{}.",
                  100 * totals.known_pairs,
                  std::isnan(totals.accuracy) ? ""
                                              : fmt::format("; {:.1f} % of votes are expected to pick the better item",
                                                            100 * totals.accuracy)));
  if (totals.sure_flags > 0)
    add("flags", 10 * totals.sure_flag_votes > totals.votes ? Level::kCare : Level::kNote,
        fmt::format("{} of {} annotators {} flagged with a probability of 90 % or more. They gave {:.1f} % of the "
                    "votes; the fit already gives these votes little weight.",
                    totals.sure_flags, totals.annotators, totals.sure_flags == 1 ? "is" : "are",
                    100 * static_cast<double>(totals.sure_flag_votes) / static_cast<double>(totals.votes)));
  else if (fit.json.value("model", "") != "bt")
    add("flags", Level::kNote,
        fmt::format("None of {} annotators is flagged with a probability of 90 % or more.", totals.annotators));
  return points;
}

/// The verdict at the top of the page. Its level is that of the worst finding. Findings are listed worst first.
Json verdict(const FitFile& fit, const Totals& totals) {
  constexpr std::size_t kLongest = 1000;  // bytes of a warning that are shown
  std::vector<Finding> points = findings_from(fit.json.value("findings", Json()));
  const std::size_t found = points.size();
  for (const Json& warning : fit.json.value("warnings", Json::array())) {
    if (!warning.is_string()) continue;
    std::string text = one_line(shortened(warning.get_ref<const std::string&>(), kLongest));
    const auto end = points.begin() + static_cast<std::ptrdiff_t>(found);
    if (std::find_if(points.begin(), end, [&](const Finding& one) { return one.text == text; }) == end)
      points.push_back({"warning", Level::kCare, std::move(text), ""});
  }
  for (Finding& point : look_at_fit(fit, totals)) points.push_back(std::move(point));
  std::ranges::stable_sort(points, std::greater(), &Finding::level);
  static const char* const levels[] = {"good", "care", "bad"};
  static const char* const texts[] = {"These labels are ready for training.", "These labels can be used, with care.",
                                      "Do not train on these labels yet."};
  const auto worst = static_cast<std::size_t>(points.front().level);
  Json sentences = Json::array();
  for (const Finding& point : points) sentences.push_back(point.text);
  return {{"level", levels[worst]}, {"text", texts[worst]}, {"points", sentences}, {"findings", to_json(points)}};
}

Json describe_reliability(const Reliability& reliability) {
  Json bins = Json::array();
  for (const ReliabilityBin& bin : reliability.bins)
    if (bin.trials > 0) bins.push_back({number(bin.predicted), number(bin.observed), bin.trials});
  return {{"method", reliability.method}, {"ece", number(reliability.ece())}, {"bins", bins}};
}

/// Rows of annotators to show: flagged ones by descending probability of the flag, then the others by number of votes.
std::vector<std::size_t> rows_to_show(const AnnotatorLabels& annotators) {
  std::vector<std::size_t> rows;
  for (std::size_t a = 0; a < annotators.votes.size(); ++a)
    if (annotators.votes[a] > 0) rows.push_back(a);
  const auto key = [&](std::size_t a) {
    const bool is = flagged(annotators, a);
    return std::tuple(!is, is ? -annotators.flag_probability[a] : 0.0f, ~annotators.votes[a], a);
  };
  std::sort(rows.begin(), rows.end(), [&](std::size_t a, std::size_t b) { return key(a) < key(b); });
  rows.resize(std::min(rows.size(), kMostAnnotators));
  return rows;
}

/// Number of annotators per cell of the chart. Drawn if there are too many annotators for one point each.
Json cells(const AnnotatorLabels& annotators) {
  constexpr double kWide = 0.1, kHigh = 0.2;
  std::map<std::pair<int, int>, int> count;
  for (std::size_t a = 0; a < annotators.votes.size(); ++a) {
    if (annotators.votes[a] == 0 || flagged(annotators, a)) continue;
    const auto place = [](double x, double size) {
      return static_cast<int>(std::floor(std::clamp(x / size, -1e4, 1e4)));
    };
    ++count[{place(annotators.discrimination[a], kWide), place(annotators.side_bias[a], kHigh)}];
  }
  Json out = Json::array();
  for (const auto& [place, annotators_there] : count)
    out.push_back({number((place.first + 0.5) * kWide), number((place.second + 0.5) * kHigh), annotators_there});
  return out;
}

Json describe_annotators(const FitFile& fit) {
  const AnnotatorLabels& annotators = fit.labels.annotators;
  const std::vector<std::size_t> rows = rows_to_show(annotators);
  Json table = Json::array();
  std::vector<int> flags(flag_names().size(), 0);
  std::size_t voters = 0;
  for (std::size_t a = 0; a < annotators.votes.size(); ++a) {
    if (annotators.votes[a] == 0) continue;
    ++voters;
    ++flags[annotators.flag[a]];
  }
  for (const std::size_t a : rows)
    table.push_back({shortened(fit.annotator_ids[a], kLongestId), annotators.votes[a],
                     number(annotators.discrimination[a]), number(annotators.discrimination_se[a]),
                     std::isnan(annotators.side_bias_se[a]) ? Json(nullptr) : number(annotators.side_bias[a]),
                     number(annotators.side_bias_se[a]), number(annotators.agreement[a]),
                     number(annotators.expected_accuracy[a]), flag_names()[annotators.flag[a]],
                     number(annotators.flag_probability[a]),
                     fit.labels.drift ? number(fit.labels.drift->corrected_p_value[a], 1e-12) : Json(nullptr)});
  Json counts = Json::object();
  for (std::size_t f = 0; f < flags.size(); ++f) counts[flag_names()[f]] = flags[f];
  Json out = {{"total", voters}, {"rated", fit.json.value("model", "") != "bt"}, {"flags", counts}, {"rows", table}};
  if (voters > rows.size()) out["cells"] = cells(annotators);
  return out;
}

/// The best sources, the models that wrote the items.
Json describe_sources(const FitFile& fit) {
  const SourceLabels& sources = fit.labels.sources;
  if (sources.score.empty()) return nullptr;
  Json rows = Json::array();
  for (const std::size_t row : best_sources(sources, kMostSources))
    rows.push_back(
        {shortened(fit.source_ids[row], kLongestId), number(sources.score[row]), number(sources.std_error[row])});
  return {{"total", sources.score.size()}, {"rows", rows}};
}

/// Expected accuracy over time: all votes of annotators with windows, in 24 time spans of equal length.
Json accuracy_over_time(const WindowColumns& windows) {
  constexpr int kSpans = 24;
  if (windows.start.empty()) return Json::array();
  const std::int64_t first = *std::ranges::min_element(windows.start), last = *std::ranges::max_element(windows.end);
  const double span = std::max(static_cast<double>(last) - static_cast<double>(first), 1.0) / kSpans;
  std::vector<double> right(kSpans, 0), votes(kSpans, 0);
  for (std::size_t w = 0; w < windows.start.size(); ++w) {
    if (std::isnan(windows.expected_accuracy[w])) continue;
    const double middle = (static_cast<double>(windows.start[w]) + static_cast<double>(windows.end[w])) / 2;
    const int at = std::clamp(static_cast<int>((middle - static_cast<double>(first)) / span), 0, kSpans - 1);
    right[at] += double{windows.expected_accuracy[w]} * windows.votes[w];
    votes[at] += windows.votes[w];
  }
  Json out = Json::array();
  for (int s = 0; s < kSpans; ++s)
    if (votes[s] > 0)
      out.push_back({std::floor(static_cast<double>(first) + (s + 0.5) * span), number(right[s] / votes[s]), votes[s]});
  return out;
}

Json describe_drift(const FitFile& fit) {
  if (!fit.labels.drift) return nullptr;
  const Drift& drift = *fit.labels.drift;
  std::vector<std::size_t> changed;
  std::size_t tested = 0;
  for (std::size_t a = 0; a < drift.corrected_p_value.size(); ++a) {
    tested += !std::isnan(drift.corrected_p_value[a]);
    if (drift.corrected_p_value[a] < kChanged) changed.push_back(a);
  }
  std::ranges::stable_sort(changed, {}, [&](std::size_t a) { return drift.p_value[a]; });
  Json lines = Json::array();
  const WindowColumns& windows = drift.windows;
  for (std::size_t i = 0; i < std::min(changed.size(), kMostDrifters); ++i) {
    Json points = Json::array();
    for (std::size_t w = 0; w < windows.annotator.size(); ++w)
      if (windows.annotator[w] == changed[i])
        points.push_back({std::midpoint(windows.start[w], windows.end[w]), number(windows.discrimination[w]),
                          number(windows.discrimination_se[w]), number(windows.expected_accuracy[w])});
    lines.push_back({{"id", shortened(fit.annotator_ids[changed[i]], kLongestId)},
                     {"p", drift.corrected_p_value[changed[i]]},
                     {"points", points}});
  }
  return {{"tested", tested}, {"changed", changed.size()}, {"lines", lines}, {"all", accuracy_over_time(windows)}};
}

/// Counts all votes, and those against the item that is probably better. A tie counts half for each item.
struct Dispute {
  std::size_t row = 0;
  double votes = 0, against = 0, expected = 0;
  std::uint32_t pairs = 0, undecided = 0;

  void add(const PairColumns& columns, std::size_t p) {
    const bool left = columns.probability_better[p] >= 0.5f;
    votes += columns.votes[p];
    against += left ? columns.votes[p] - double{columns.wins_left[p]} : double{columns.wins_left[p]};
    expected += columns.votes[p] * double{std::min(columns.probability[p], 1 - columns.probability[p])};
    pairs += 1;
    undecided += columns.probability_better[p] < 0.95f && columns.probability_better[p] > 0.05f;
  }
  /// Lower end of the 95 % interval of the share of votes against (Wilson 1927), so that few votes do not rank as a
  /// dispute.
  double at_least() const {
    constexpr double z = 1.96;
    const double share = against / votes;
    return (share + z * z / (2 * votes) - z * std::sqrt(share * (1 - share) / votes + z * z / (4 * votes * votes))) /
           (1 + z * z / votes);
  }
};

std::vector<Dispute> worst(std::vector<Dispute> disputes) {
  const std::size_t count = std::min(disputes.size(), kMostDisputes);
  std::partial_sort(disputes.begin(), disputes.begin() + static_cast<std::ptrdiff_t>(count), disputes.end(),
                    [](const Dispute& a, const Dispute& b) {
                      return std::pair(-a.at_least(), a.row) < std::pair(-b.at_least(), b.row);
                    });
  disputes.resize(count);
  return disputes;
}

Json describe_prompts(const FitFile& fit) {
  if (fit.prompt.empty()) return nullptr;
  std::vector<Dispute> prompts(fit.prompt_ids.size());
  for (std::size_t p = 0; p < fit.labels.pairs.left.size(); ++p)
    prompts[fit.prompt[fit.labels.pairs.left[p]]].add(fit.labels.pairs, p);
  for (std::size_t i = 0; i < prompts.size(); ++i) prompts[i].row = i;
  std::erase_if(prompts, [](const Dispute& dispute) { return dispute.votes == 0; });
  Json out = Json::array();
  for (const Dispute& one : worst(std::move(prompts)))
    out.push_back({shortened(fit.prompt_ids[one.row], kLongestId), one.pairs, one.votes,
                   number(one.against / one.votes), number(one.expected / one.votes), one.undecided});
  return out;
}

Json describe_pairs(const FitFile& fit) {
  const PairColumns& pairs = fit.labels.pairs;
  std::vector<Dispute> disputes(pairs.left.size());
  for (std::size_t p = 0; p < disputes.size(); ++p) {
    disputes[p].row = p;
    disputes[p].add(pairs, p);
  }
  Json out = Json::array();
  for (const Dispute& one : worst(std::move(disputes))) {
    const std::size_t p = one.row;
    out.push_back({shortened(fit.item_ids[pairs.left[p]], kLongestId),
                   shortened(fit.item_ids[pairs.right[p]], kLongestId), pairs.votes[p], number(pairs.wins_left[p]),
                   number(pairs.probability[p]), number(pairs.margin[p]), number(pairs.margin_se[p])});
  }
  return out;
}

/// Expected information, in bits, of additional votes, one per pair: for the best pairs first, and for randomly drawn
/// pairs.
Json describe_budget(const FitFile& fit) {
  constexpr std::size_t kPoints = 50;
  Column<float> gain = fit.labels.pairs.information_gain;
  std::ranges::sort(gain, std::greater());
  const double all = std::accumulate(gain.begin(), gain.end(), 0.0);
  Json curve = Json::array();
  double best = 0, best_tenth = 0;
  std::size_t votes = 0;
  for (std::size_t point = 0; point <= kPoints; ++point) {
    for (; votes < gain.size() * point / kPoints; ++votes) best += gain[votes];
    if (10 * point == kPoints) best_tenth = best;
    curve.push_back({votes, number(best, 0.01),
                     number(all * static_cast<double>(votes) / std::max(static_cast<double>(gain.size()), 1.0), 0.01)});
  }
  return {{"pairs", gain.size()},
          {"bits", number(all, 0.01)},
          {"best_tenth", number(all > 0 ? best_tenth / all : 0)},
          {"curve", curve}};
}

}  // namespace

nlohmann::ordered_json summarize_fit(const FitFile& fit) {
  const Totals totals = total(fit);
  return {{"file", std::filesystem::path(fit.path).filename().string()},
          {"verdict", verdict(fit, totals)},
          {"votes", totals.votes},
          {"annotator_count", totals.annotators},
          {"items", fit.item_ids.size()},
          {"pair_count", fit.labels.pairs.left.size()},
          {"accuracy", number(totals.accuracy)},
          {"known_pairs", number(totals.known_pairs)},
          {"reliability", describe_reliability(fit.reliability)},
          {"annotators", describe_annotators(fit)},
          {"sources", describe_sources(fit)},
          {"drift", describe_drift(fit)},
          {"prompts", describe_prompts(fit)},
          {"pairs", describe_pairs(fit)},
          {"budget", describe_budget(fit)},
          {"provenance", fit.json}};
}

}  // namespace voxpop
