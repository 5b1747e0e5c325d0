"""A fit in the shape of scikit-learn's classifiers, which need not be installed."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from voxpop.errors import BadInputError, UsageError
from voxpop.fit import Fit, Model, fit
from voxpop.frames import as_table, column_of, is_table, names_of
from voxpop.read import READING
from voxpop.votes import ids_of, preferences_of, require_rows


class Estimator:
    """Predicts which of two items a typical annotator prefers; for pipelines, cross-validation and grid searches of scikit-learn.

    model: "rater", "bt" or "crowd-bt". ties: "model", "half" or "drop". calibrate: correct probabilities by held-out votes.
    options: other options of voxpop.fit(), such as {"threads": 2}; not those of read(), since votes that are predicted are not read.

    After fit(): fit_ (the Fit), scores_ (a Series of items' scores by id: logits of the reference annotator, mean 0 in each
    component), classes_ ([-1, 1], or ["left", "right"] where y was texts), n_features_in_.
    """

    _estimator_type = "classifier"  # scikit-learn before 1.6; later versions ask for __sklearn_tags__()

    def __init__(self, model: Model = "rater", *, ties: Literal["model", "half", "drop"] | None = None, calibrate: bool = False,
                 options: Mapping[str, Any] | None = None) -> None:
        self.model = model
        self.ties = ties
        self.calibrate = calibrate
        self.options = options

    def fit(self, X: Any, y: Any = None) -> Estimator:
        """Fits votes, without progress.

        X: a table that voxpop.read() takes, with columns left, right and, where there are such, annotator (or worker), prompt
            and timestamp; or an array of ids [votes, 2 or 3]: left, right, annotator.
        y: [votes] preferences: 1 left, -1 right, 0 tie, grades from -9 to 9; or left, right, tie. None: the column preference
            of X, or, as in crowd-kit, label, the id of the better item.

        Raises and warns as voxpop.fit() does.
        """
        if wrong := (READING | {"progress", "output"}) & (self.options or {}).keys():
            raise UsageError(f"options: '{min(wrong)}' is not an option of an Estimator; name or map the columns of X and y before")
        votes = _columns(X)
        self.n_features_in_ = len(votes)
        if y is not None:
            _require_length(y, votes)
            votes["preference"] = pd.Series(y).array
        elif "label" in votes and "preference" not in votes:
            votes["preference"] = _sides(votes.pop("label"), votes)
        if "worker" in votes and "annotator" not in votes:
            votes["annotator"] = votes.pop("worker")
        if "preference" not in votes:
            raise BadInputError("no preferences: give y, or a column preference or label")
        numbers = pd.api.types.is_numeric_dtype(pd.Series(votes["preference"]).infer_objects().dtype)
        self.classes_ = np.array([-1, 1]) if numbers else np.array(["left", "right"])
        self.fit_: Fit = fit(votes, model=self.model, ties=self.ties, calibrate=self.calibrate, progress=False, **(self.options or {}))
        items = self.fit_.items
        self.scores_ = pd.Series(items["score"].to_numpy(), index=pd.Index(items["id"], name=None), name="score")
        return self

    def predict_proba(self, X: Any) -> npt.NDArray[np.float64]:
        """[rows, 2]: how probable it is that a typical annotator, without side bias, prefers the item of each of classes_.

        Of a pair with votes it is pairs/probability. Of another pair of the same component it comes from the items' scores,
        with their errors taken as independent. 1/2 where votes say nothing: of an item without votes, of two components.
        """
        if not hasattr(self, "fit_"):
            raise UsageError("this Estimator is not fitted yet: call fit() first")
        columns, made = _columns(X), self.fit_
        ids, (score, error, component) = self.scores_.index, (made._column("items/" + name) for name in ("score", "std_error", "component"))
        (left, right), known = ids_of([pd.Series(columns[side], name=side) for side in ("left", "right")])
        left, right = (ids.get_indexer(pd.Index(known))[rows] for rows in (left, right))
        low, high = np.minimum(left, right), np.maximum(left, right)
        together = (low >= 0) & (component[low] == component[high]) & (component[low] >= 0)
        spread = 1 + np.pi / 8 * (error[low].astype(float) ** 2 + error[high].astype(float) ** 2)
        chance = self._typical(1 / (1 + np.exp((score[high] - score[low]) / np.sqrt(spread))))
        chance = np.where(together, chance, 0.5)
        pairs = made._column("pairs/left").astype(np.int64) * len(ids) + made._column("pairs/right")  # ascending
        at = np.searchsorted(pairs, low * len(ids) + high).clip(max=len(pairs) - 1)
        chance = np.where((low >= 0) & (pairs[at] == low * len(ids) + high), made._column("pairs/probability")[at], chance)
        of_left = np.where(left <= right, chance, 1 - chance)
        return np.column_stack([of_left, 1 - of_left] if self._left == 0 else [1 - of_left, of_left])

    def _typical(self, chance: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Of a vote of a typical annotator, and calibrated, as pairs/probability is; `chance`: from the scores alone."""
        made = self.fit_.provenance
        chance = 0.5 + (chance - 0.5) * (2 * made["hyperparameters"].get("reference_eta", 1) - 1)  # eta: of crowd-bt
        calibration = made.get("calibration") or {}
        if not calibration.get("applied"):
            return chance
        odds = np.log(chance.clip(1e-12)) - np.log((1 - chance).clip(1e-12))
        return np.asarray(1 / (1 + np.exp(-calibration["slope"] * odds)))

    @property
    def _left(self) -> int:
        """Which of classes_ is the left side."""
        return 0 if self.classes_.dtype.kind == "U" else 1

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """[rows]: of classes_ the one that is more probable; left where both are alike."""
        chance = self.predict_proba(X)  # first: it says where there is no fit yet
        return np.asarray(np.where(chance[:, self._left] >= 0.5, self.classes_[self._left], self.classes_[1 - self._left]))

    def score(self, X: Any, y: Any) -> float:
        """Accuracy, 0 to 1: the share of decided votes whose side is predicted; NaN where all are ties. y: as in fit(); here
        numbers may have no negative one. Raises BadInputError."""
        columns = _columns(X)
        _require_length(y, columns)
        given = pd.Series(pd.Series(y).array, name="y").infer_objects()
        if pd.api.types.is_numeric_dtype(given.dtype) and not pd.api.types.is_bool_dtype(given.dtype):
            sign = given.to_numpy(float, na_value=np.nan)
            require_rows(np.isin(sign, range(-9, 10)), given, "it must be from -9 (right) to 9 (left)")
        else:
            sign = preferences_of(given, None).astype(float)
        left = self.predict(columns) == self.classes_[self._left]
        decided = sign != 0
        return float(np.mean((sign > 0)[decided] == left[decided])) if decided.any() else np.nan

    def fit_predict(self, X: Any, y: Any = None) -> pd.Series[Any]:
        """The items' scores by id, as crowd-kit gives them: fit(X, y).scores_."""
        return self.fit(X, y).scores_

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Parameters by name, as scikit-learn wants them."""
        return {name: getattr(self, name) for name in inspect.signature(Estimator).parameters}

    def set_params(self, **params: Any) -> Estimator:
        """Sets parameters by name. Raises UsageError (a ValueError) where there is no such."""
        for name, value in params.items():
            if name not in self.get_params():
                raise UsageError(f"Estimator has no parameter '{name}'; it has {', '.join(self.get_params())}")
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        return f"Estimator({', '.join(f'{name}={value!r}' for name, value in self.get_params().items())})"

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import ClassifierTags, InputTags, Tags, TargetTags

        return Tags(estimator_type="classifier", target_tags=TargetTags(required=False), classifier_tags=ClassifierTags(multi_class=False),
                    input_tags=InputTags(string=True, categorical=True))


def _columns(X: Any) -> dict[str, Any]:
    """Columns by name, of a table or of an array of ids; with both sides."""
    if is_table(X):
        table = as_table(X)
        table = pd.DataFrame(table) if isinstance(table, list) else table
        columns = {str(name): column_of(table, name).array for name in names_of(table)}
        for side in "left", "right":
            if side not in columns:
                raise BadInputError(f"no column '{side}'; there are {', '.join(map(repr, columns))}")
        return columns
    ids = np.asarray(X)
    if ids.ndim != 2 or ids.shape[1] not in (2, 3):
        raise BadInputError(f"X: ids [votes, 2 or 3] are needed (left, right, annotator); this has the shape {ids.shape}")
    return dict(zip(("left", "right", "annotator"), ids.T))


def _require_length(y: Any, votes: Mapping[str, Any]) -> None:
    if len(y) != len(votes["left"]):
        raise BadInputError(f"y has {len(y)} rows, and X has {len(votes['left'])}")


def _sides(label: Any, votes: Mapping[str, Any]) -> npt.NDArray[np.int8]:
    """1 where the label is the left item, -1 where it is the right one."""
    winner = pd.Series(label).astype(object)
    won, lost = (winner.eq(pd.Series(votes[side]).astype(object)).to_numpy(bool, na_value=False) for side in ("left", "right"))
    if not (won | lost).all():
        row = int(np.argmin(won | lost))
        raise BadInputError(f"column 'label' row {row} is {label[row]!r}; it must be the row's left or right item")
    return np.asarray(won.astype(np.int8) - lost.astype(np.int8))
