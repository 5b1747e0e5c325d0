"""Models compared on held-out votes."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal

import pandas as pd

from voxpop.native import evaluate_votes, find_library
from voxpop.program import options, run
from voxpop.read import READING, Votes, votes_of
from voxpop.request import MODEL_OPTIONS, columns_of, request_of, warn_of

_OPTIONS = {**MODEL_OPTIONS, "folds": int, "folds_by": str}
#: Columns of Evaluation.scores, in this order, where there are such.
_MEASURES = ("log_loss", "log_loss_se", "brier", "brier_se", "accuracy", "accuracy_se", "ece", "ece_low", "ece_high", "ece_by_chance",
             "log_loss_all_answers", "log_loss_all_answers_se", "slope", "converged")


class Evaluation:
    """How well models predict held-out votes. `json`: what 'voxpop evaluate --json' prints, as a dict."""

    def __init__(self, json: dict[str, Any]) -> None:
        self.json = json

    @cached_property
    def scores(self) -> pd.DataFrame:
        """A row a model, 'majority' first, of decided votes: log_loss (nats a vote), brier, accuracy (0 to 1), each with its
        standard error _se; ece (expected calibration error, 0 to 1, 15 bins) with its 95 % interval ece_low, ece_high, and
        what true predictions would show, ece_by_chance; log_loss_all_answers where ties and grades are told apart;
        slope where it was calibrated; converged. NaN where there is no such figure, as of a model that diverged."""
        rows = [{"model": model, **found} for model, found in self.json["models"].items()]
        frame = pd.json_normalize(rows, sep="_").rename(columns=lambda name: name.removesuffix("_value").replace("_std_error", "_se"))
        frame = frame.set_index("model")[[name for name in _MEASURES if name in frame]]
        return frame.astype({name: float for name in frame if name != "converged"})

    @cached_property
    def differences(self) -> pd.DataFrame:
        """A row two models: log loss of `model` less that of `minus`, and its standard error (nats a vote)."""
        frame = pd.DataFrame(self.json.get("log_loss_differences", []), columns=["model", "minus", "value", "std_error"])
        return frame.rename(columns={"value": "difference", "std_error": "difference_se"})

    def __repr__(self) -> str:
        return f"<voxpop.Evaluation: {self._about()}>\n{self.scores.to_string(float_format='{:.4f}'.format)}"

    def _repr_html_(self) -> str:
        return f"<div><b>voxpop evaluate</b> {html.escape(self._about())}{self.scores.to_html(float_format='{:.4f}'.format)}</div>"

    def _about(self) -> str:
        return f"{self.json['votes']:,} votes in {self.json['folds']} folds by {self.json['folds_by']}, {self.json['decided_votes']:,} decided"


def evaluate(
    votes: Any,
    *,
    models: Sequence[str] = ("bt", "crowd-bt", "rater"),
    folds: int = 5,
    folds_by: Literal["vote", "block"] | None = None,
    seed: int = 1,
    progress: bool = True,
    **more: Any,
) -> Evaluation:
    """Compares models by how well they predict votes that they have not seen; majority vote is always among them.

    votes: as in fit(), with the options of read().
    models: of bt, crowd-bt, rater. folds: parts of the votes that are held out in turn, 2 to 100.
    folds_by: what is held out together: single votes, or all that an annotator says of connected items; None: "block" if
        the votes call for it.
    seed: of the folds. progress: show progress and notes on sys.stderr.
    more: other options of 'voxpop evaluate' by their names: ties="half", calibrate=True, threads=8, holdout="gold.csv".

    Votes in memory are evaluated in this process where libvoxpop is found, as in fit(); the results are the program's.
    A model that diverges has no figures. Raises NotConvergedError where all do, and else as fit(); warns (VotesWarning)
    of what looks wrong about the votes.
    """
    reading = {name: more.pop(name) for name in READING & more.keys()}
    read_votes = votes_of(votes, reading)
    wishes = {"models": list(models) if not isinstance(models, str) else models, "folds": folds, "folds_by": folds_by, "seed": seed, **more}
    asked, library = request_of(wishes, _OPTIONS), find_library()
    if isinstance(read_votes, Votes) and read_votes.columns is not None and asked is not None and library is not None:
        request, where = asked
        found = evaluate_votes(library, columns_of(read_votes, progress), request, progress=progress, **where)
    else:
        paths = read_votes if isinstance(read_votes, list) else [read_votes.path]
        wishes["models"] = ",".join(wishes["models"]) if not isinstance(models, str) else models
        found = json.loads(run("evaluate", *paths, "--json", *options(wishes), progress=progress, partial=5))
    warn_of(found)
    return Evaluation(found)
