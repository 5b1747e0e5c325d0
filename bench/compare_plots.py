"""The pictures of compare.py, from its results.json, beside it: seconds.png and accuracy.png.

    python compare_plots.py RESULTS.json
"""

import json
import pathlib
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullLocator
from matplotlib.transforms import ScaledTranslation

STYLES = {  # one colour a family, one marker a tool; voxpop's thick
    "voxpop-bt": ("#c1121f", "o"), "voxpop-rater": ("#c1121f", "D"),
    "voxpop-bt-cuda": ("#ff7f51", "o"), "voxpop-rater-cuda": ("#ff7f51", "D"),
    "scikit-learn": ("#1f77b4", "s"), "scikit-learn-settled": ("#7fb3d5", "s"),
    "scipy": ("#2a9d4a", "^"), "scipy-joint": ("#145a32", "v"),
    "choix-ilsr": ("#7b2cbf", "P"), "choix-mm": ("#b185db", "X"), "choix-opt": ("#4a148c", "*"),
    "evalica": ("#8d6e63", "h"), "arena-rank": ("#00838f", "p"), "crowd-kit": ("#616161", "d"),
}
LEFT, LEGEND = 1.0, 2.8  # inches beside the panels
PLAIN = {"color": "#222222", "marker": "."}


def style(tool):
    color, marker = STYLES.get(tool, (PLAIN["color"], PLAIN["marker"]))
    thick = tool.startswith("voxpop")
    return {"color": color, "marker": marker, "linewidth": 2.6 if thick else 1.3, "markersize": 8 if thick else 6.5,
            "zorder": 3 if thick else 2, "linestyle": "--" if tool == "voxpop-rater" else "-"}


def is_judged(row):
    return "ece" in row


def short(value, _=None):
    return f"{value / 1e6:g}M" if value >= 1e6 else f"{value / 1e3:g}k" if value >= 1e3 else f"{value:g}"


def legend(figure, tools, more=()):
    handles = [Line2D([], [], label=tool, **style(tool)) for tool in tools]
    figure.legend(handles=[*handles, *more], loc="center left", bbox_to_anchor=(1 - (LEGEND - 0.15) / figure.get_figwidth(), 0.5),
                  frameon=False, handlelength=3)


def panels(report, rows, title):
    shapes = list(dict.fromkeys(row["shape"] for row in report["fits"]))
    width, height = LEFT + 5 * len(shapes) + LEGEND, 1.4 + 3.9 * rows
    figure, axes = plt.subplots(rows, len(shapes), figsize=(width, height), squeeze=False)
    here = report["machine"]
    figure.suptitle(f"{title}\n{here['processor']}, {here['cores']} cores{', ' + here['gpu'] if here['gpu'] else ''}, "
                    f"{here['date']}", x=0.2 / width, ha="left", fontsize=11)
    figure.subplots_adjust(left=LEFT / width, right=1 - LEGEND / width, top=1 - 0.9 / height, bottom=0.55 / height, wspace=0.2,
                           hspace=0.18)
    for axis in axes.flat:
        axis.grid(True, which="major", color="#e4e4e4", linewidth=0.8)
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes, shapes


def draw_seconds(report, path):
    figure, axes, shapes = panels(report, 1, "Votes against seconds, whole process")
    shown, failed = [], False
    for axis, shape in zip(axes[0], shapes):
        crosses = []
        for tool in report["tools"]:
            rows = [row for row in report["fits"] if row["shape"] == shape and row["tool"] == tool and "whole" in row]
            if not rows:
                continue
            shown += [tool] * (tool not in shown)
            axis.plot([row["votes"] for row in rows], [row["whole"] for row in rows], **style(tool) | {"marker": ""})
            good, bad = [row for row in rows if is_judged(row)], [row for row in rows if not is_judged(row)]
            axis.plot([row["votes"] for row in good], [row["whole"] for row in good], **style(tool) | {"linestyle": ""})
            for row in bad:  # side by side where several ran out of the same time
                before = sum(votes == row["votes"] and abs(whole / row["whole"] - 1) < 0.1 for votes, whole in crosses)
                crosses.append((row["votes"], row["whole"]))
                axis.plot(row["votes"], row["whole"], color=style(tool)["color"], marker="x", markersize=9, markeredgewidth=2.6,
                          linestyle="", zorder=4, transform=axis.transData + ScaledTranslation(
                              before * 11 / 72, 0, figure.dpi_scale_trans))
            failed |= bool(bad)
        axis.set(xscale="log", yscale="log", title=shape, xlabel="votes")
        votes = sorted({row["votes"] for row in report["fits"] if row["shape"] == shape})
        axis.set_xticks(votes, [short(round(count, -2)) for count in votes])
        axis.xaxis.set_minor_locator(NullLocator())
        axis.margins(x=0.12)
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes[0][0].set_ylabel("seconds")
    cross = Line2D([], [], color="#222222", marker="x", markersize=10, markeredgewidth=2.4, linestyle="",
                   label="failed there, after so long:\ntimeout, memory, no result")
    legend(figure, [tool for tool in report["tools"] if tool in shown], [cross] if failed else [])
    figure.savefig(path, dpi=130)
    plt.close(figure)


def draw_accuracy(report, path):
    figure, axes, shapes = panels(report, 2, "How right, and how soon; a tool's points grow with the votes (failures have none)")
    shown = []
    for column, shape in enumerate(shapes):
        sizes = sorted({row["votes"] for row in report["fits"] if row["shape"] == shape})
        for row_of_axes, (what, label) in enumerate([("pairs_ordered", "pairs ordered right"), ("ece", "calibration error (ECE)")]):
            axis = axes[row_of_axes][column]
            for tool in report["tools"]:
                rows = [row for row in report["fits"] if row["shape"] == shape and row["tool"] == tool and is_judged(row)]
                if not rows:
                    continue
                shown += [tool] * (tool not in shown)
                look = style(tool)
                x, y = [row["whole"] for row in rows], [row[what] for row in rows]
                axis.plot(x, y, **look | {"marker": "", "linewidth": 0.5 * look["linewidth"], "alpha": 0.7})
                axis.scatter(x, y, s=[45 * (1 + sizes.index(row["votes"])) for row in rows], color=look["color"],
                             marker=look["marker"], zorder=look["zorder"], edgecolors="white", linewidths=0.6)
            axis.set(xscale="log", yscale="log" if what == "ece" else "linear")
            axis.margins(0.08)
            axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            if what == "ece":
                axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
                axis.yaxis.set_minor_formatter(FuncFormatter(lambda value, _: f"{value:g}" if f"{value:e}"[0] in "25" else ""))
                axis.set_xlabel("seconds, whole process")
            else:
                axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
                axis.set_title(f"{shape}: {', '.join(short(round(size, -2)) for size in sizes)} votes")
            if column == 0:
                axis.set_ylabel(label)
    legend(figure, [tool for tool in report["tools"] if tool in shown])
    figure.savefig(path, dpi=130)
    plt.close(figure)


def main(path):
    report = json.loads(path.read_text())
    draw_seconds(report, path.parent / "seconds.png")
    draw_accuracy(report, path.parent / "accuracy.png")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
