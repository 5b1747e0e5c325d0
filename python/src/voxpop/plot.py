"""A figure of a fit, by matplotlib: its annotators, its calibration, how sure its pairs are."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from voxpop.fit import Fit

#: Colours that people who are colour-blind can tell apart (Okabe and Ito 2008); greys for flags that say little.
_COLOURS = {"adversarial": "#000000", "random": "#d55e00", "noisy": "#e69f00", "side_clicker": "#cc79a7", "copies": "#009e73", "ok": "#0072b2",
            "too_few_votes": "#9a9a9a", "unknown": "#c8c8c8"}
_INK = "#333333"


class FitFigure(Figure):
    """A Figure that a notebook shows without pyplot."""

    def _repr_png_(self) -> bytes:
        png = io.BytesIO()
        self.savefig(png, format="png")
        return png.getvalue()


def plot_fit(fit: Fit, annotators: int) -> FitFigure:
    """See Fit.plot()."""
    shown = fit.to("pandas").annotators.head(max(annotators, 1))
    figure = FitFigure(figsize=(11, max(5.6, 1.6 + 0.21 * len(shown))), layout="constrained")
    with matplotlib.rc_context({"axes.spines.top": False, "axes.spines.right": False, "axes.titlelocation": "left", "axes.titlesize": 11,
                         "axes.edgecolor": _INK, "axes.labelcolor": _INK, "text.parse_math": False}):
        halves: Any = figure.subfigures(1, 2, width_ratios=(1.25, 1), wspace=0.04)
        left, right = halves
        _annotators(left.subplots(), shown, fit.provenance["annotators"])
        predicted = fit._column("reliability/predicted")
        if predicted is None:
            _pairs(right.subplots(), fit)
        else:
            above, below = right.subplots(2, 1)
            _calibration(above, predicted, fit._column("reliability/observed"), fit._column("reliability/votes"))
            _pairs(below, fit)
    return figure


def _annotators(axes: Any, shown: Any, of: int) -> None:
    """A line an annotator: discrimination with its 95 % interval; agreement of a model that takes annotators to be alike."""
    alike = shown["discrimination_se"].isna().all()
    measure = "agreement" if alike else "discrimination"
    shown = shown.sort_values(measure, kind="stable", ignore_index=True)
    rows = np.arange(len(shown))
    for at, name in () if alike else ((0, "random"), (1, "typical")):
        axes.axvline(at, color="#c8c8c8", linewidth=1, zorder=0)
        axes.annotate(name, (at, 1), xycoords=("data", "axes fraction"), xytext=(0, 2), textcoords="offset points", ha="center", fontsize=8,
                      color="#666666")
    flags = shown["flag"].astype(str)
    for flag in [name for name in _COLOURS if (flags == name).any()]:
        mine = (flags == flag).to_numpy()
        error = None if alike else 1.96 * shown["discrimination_se"][mine]
        axes.errorbar(shown[measure][mine], rows[mine], xerr=error, fmt="o", markersize=4.5, color=_COLOURS[flag], elinewidth=1.3,
                      label=f"{flag.replace('_', ' ')} ({mine.sum()})")
    names = [name if len(name) <= 24 else name[:23] + "…" for name in shown["id"]]
    axes.set_yticks(rows, [f"{name} ({votes:,})" for name, votes in zip(names, shown["votes"])], fontsize=8)
    axes.set_ylim(-0.8, len(shown) - 0.2)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("share of votes that agree with the others" if alike else "discrimination, 95 % interval")
    part = f"{len(shown)} of {of:,} annotators (votes): suspicious ones, then most votes" if len(shown) < of else f"{of:,} annotators (votes)"
    axes.set_title(part, pad=16)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.09), ncols=4, fontsize=8, frameon=False, handletextpad=0.2, columnspacing=1)


def _calibration(axes: Any, predicted: Any, observed: Any, votes: Any) -> None:
    """Predicted and observed share of votes that go left; a circle's area is its number of votes."""
    known = votes > 0
    axes.plot([0, 1], [0, 1], color="#c8c8c8", linewidth=1, zorder=0)
    axes.scatter(predicted[known], observed[known], s=10 + 190 * votes[known] / votes.max(), color=_COLOURS["ok"], alpha=0.75, edgecolor="white")
    axes.set(xlim=(-0.04, 1.04), ylim=(-0.04, 1.04), xlabel="predicted share of votes to the left", ylabel="observed share")
    axes.set_title("Calibration, each vote predicted from others")


def _pairs(axes: Any, fit: Fit) -> None:
    """Of the item that is more likely the better one: the chance that it is, and that a typical vote goes to it."""
    better, typical = fit._column("pairs/probability_better"), fit._column("pairs/probability")
    better, typical = (np.maximum(np.where(better >= 0.5, one, 1 - one), 0.5) for one in (better, typical))
    bins = np.linspace(0.5, 1, 21)
    axes.hist(better, bins, color=_COLOURS["ok"], alpha=0.85, label="it is the better one (p_better)")
    axes.hist(typical, bins, color=_INK, histtype="step", linewidth=1.3, label="a typical annotator prefers it (p_chosen)")
    axes.set(xlabel="probability of the chosen item", ylabel="pairs")
    axes.set_title(f"How sure the order of {len(better):,} pairs is")
    axes.legend(loc="upper center", fontsize=8, frameon=False)
