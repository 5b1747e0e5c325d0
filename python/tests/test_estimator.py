"""The estimator against the fit that it holds, sums by hand, and scikit-learn's own checks."""

import pickle
import subprocess
import sys
import types

import numpy as np
import pandas as pd
import pytest

import voxpop

SIDES = ["left", "right", "annotator"]


@pytest.fixture(scope="module")
def estimator(table):
    return voxpop.Estimator().fit(table[SIDES], table["preference"])


def test_probabilities_are_the_fits(table, estimator):
    fit = voxpop.fit(table[[*SIDES, "preference"]], progress=False)
    pd.testing.assert_frame_equal(estimator.fit_.pairs, fit.pairs, check_exact=True)
    pairs = fit.pairs
    chance = estimator.predict_proba(pairs[["left", "right"]])
    assert estimator.classes_.tolist() == ["left", "right"] and chance.shape == (300, 2)
    np.testing.assert_array_equal(chance[:, 0], pairs["probability"].astype(float))
    np.testing.assert_allclose(chance.sum(axis=1), 1)
    swapped = estimator.predict_proba(pairs[["right", "left"]].to_numpy())
    np.testing.assert_allclose(swapped, chance[:, ::-1])
    assert estimator.predict(pairs).tolist() == np.where(pairs["probability"] >= 0.5, "left", "right").tolist()
    assert estimator.scores_.to_dict() == dict(zip(fit.items["id"], fit.items["score"])) and estimator.n_features_in_ == 3


def test_pairs_without_votes(table):
    """Chains a-b-c: a and c were never compared. The estimate must come close to that of a fit where the pair has its row."""
    random, rows = np.random.default_rng(2), []
    for a, b, votes in ("a", "b", 200), ("b", "c", 200), ("x", "y", 50):
        rows += [(a, b, "left" if random.random() < 0.7 else "right") for _ in range(votes)]
    votes = pd.DataFrame(rows, columns=["left", "right", "preference"])
    model = voxpop.Estimator("bt").fit(votes)
    items = model.fit_.items.set_index("id")
    gap = items.loc["a", "score"] - items.loc["c", "score"]
    spread = np.sqrt(items.loc["a", "std_error"] ** 2 + items.loc["c", "std_error"] ** 2)
    draws = random.normal(gap, spread, 400_000)
    chance = model.predict_proba([["a", "c"], ["c", "a"], ["a", "x"], ["a", "nobody"], ["a", "a"]])
    assert chance[0, 0] == pytest.approx(np.mean(1 / (1 + np.exp(-draws))), abs=0.005)
    assert chance[1, 0] == pytest.approx(1 - chance[0, 0]) and (chance[2:] == 0.5).all()


@pytest.mark.parametrize("model", ["bt", "crowd-bt", "rater"])
@pytest.mark.parametrize("calibrate", [False, True])
def test_the_formula_for_pairs_without_votes_fits_pairs_with_votes(table, model, calibrate):
    """Half of the annotators answer by chance, so that crowd-bt's share and the calibration matter."""
    random = np.random.default_rng(7)
    clicks = np.where(random.random(len(table)) < 0.5, "left", "right")
    blind = table["annotator"].isin(sorted(table["annotator"].unique())[::2])
    made = voxpop.Estimator(model, calibrate=calibrate).fit(table[SIDES], np.where(blind, clicks, table["preference"]))
    ids, fit = made.scores_.index, made.fit_
    left, right = (ids.get_indexer(fit.pairs[side]) for side in ("left", "right"))
    error = fit.items["std_error"].to_numpy(float)
    alone = 1 / (1 + np.exp(-(fit.items["score"].to_numpy()[left] - fit.items["score"].to_numpy()[right]) /
                            np.sqrt(1 + np.pi / 8 * (error[left] ** 2 + error[right] ** 2))))
    np.testing.assert_allclose(made._typical(alone), fit.pairs["probability"], atol=0.05)  # errors of two items go together


def test_share_and_calibration_by_hand():
    made = voxpop.Estimator("crowd-bt")
    made.fit_ = types.SimpleNamespace(provenance={"hyperparameters": {"reference_eta": 0.8}, "calibration": {"applied": True, "slope": 0.5}})
    chance = 0.5 + (0.9 - 0.5) * 0.6  # 0.74
    assert made._typical(np.array([0.9, 0.5])) == pytest.approx([1 / (1 + (0.26 / chance) ** 0.5), 0.5])


@pytest.mark.parametrize("dtype", ["datetime64[ns]", "float32", "int64", "category", "S8"])
def test_ids_of_any_type(table, dtype):
    numbers = pd.Series(pd.factorize(pd.concat([table["left"], table["right"]], ignore_index=True))[0])
    if dtype == "S8":
        ids = pd.Series([f"i{n}".encode() for n in numbers])
    else:
        ids = (numbers * 0.1 if dtype == "float32" else numbers * 86_400_000_000_000 if dtype.startswith("d") else numbers).astype(dtype)
    votes = pd.DataFrame({"left": ids[: len(table)].array, "right": ids[len(table) :].array, "annotator": table["annotator"].array})
    made = voxpop.Estimator("bt").fit(votes, table["preference"])
    assert np.mean(made.predict_proba(votes)[:, 0] == 0.5) < 0.01
    assert made.score(votes, table["preference"]) > 0.6


def test_score_by_hand(table, estimator):
    votes = table.assign(preference=np.where(np.arange(len(table)) % 9 == 0, "tie", table["preference"]))
    better = {(row.left, row.right): row.probability for row in estimator.fit_.pairs.itertuples()}
    right = [(better[a, b] if (a, b) in better else 1 - better[b, a]) > 0.5 for a, b in zip(votes["left"], votes["right"])]
    decided = votes["preference"] != "tie"
    expected = np.mean((np.array(right) == (votes["preference"] == "left"))[decided])
    assert estimator.score(votes, votes["preference"]) == pytest.approx(expected, abs=1e-12) and expected > 0.7
    numbers = votes["preference"].map({"left": 3, "right": -1, "tie": 0})
    assert estimator.score(votes[SIDES].to_numpy(), numbers) == pytest.approx(expected, abs=1e-12)
    assert np.isnan(estimator.score(votes[:9], ["tie"] * 9))
    signs = voxpop.Estimator().fit(votes[SIDES], numbers)
    assert signs.classes_.tolist() == [-1, 1]
    assert signs.score(votes[SIDES], numbers) == pytest.approx(np.mean((signs.predict(votes) > 0)[decided] == (numbers > 0)[decided]), abs=1e-12)
    assert signs.score(votes[SIDES], numbers.astype(object)) == signs.score(votes[SIDES], votes["preference"]) == pytest.approx(expected, abs=0.01)
    ones = numbers > 0
    assert signs.score(votes[SIDES][ones], np.ones(ones.sum(), int)) == np.mean(signs.predict(votes[ones]) == 1)
    for wrong in ones, numbers.astype(float).where(ones), numbers + 10, numbers[:5]:
        with pytest.raises(voxpop.BadInputError):
            signs.score(votes[SIDES], wrong)
    log_loss = -np.mean([np.log(one[0 if side == "left" else 1]) for one, side in zip(estimator.predict_proba(table), table["preference"])])
    metrics = pytest.importorskip("sklearn.metrics")
    assert metrics.log_loss(table["preference"], estimator.predict_proba(table)) == pytest.approx(log_loss, abs=1e-12)


def test_every_shape_of_votes(table, estimator):
    ids, sign = table[SIDES].to_numpy(), np.where(table["preference"] == "left", 1, -1)
    kinds = [(ids, sign), (ids.tolist(), sign.tolist()), (table[[*SIDES, "preference"]], None), (table[SIDES].to_dict("list"), sign),
             (table[SIDES].to_dict("records"), table["preference"]), (table[SIDES].set_axis(range(9, 9 + len(table))), pd.Series(sign))]
    for library in "polars", "pyarrow":
        try:
            __import__(library)
        except ImportError:
            continue
        kinds.append((estimator.fit_.to(library)._given(table[[*SIDES, "preference"]]), None))
    for X, y in kinds:
        fitted = voxpop.Estimator().fit(X, y)
        np.testing.assert_allclose(fitted.scores_[estimator.scores_.index], estimator.scores_, rtol=1e-6)
    assert voxpop.Estimator().fit(ids, sign).classes_.tolist() == [-1, 1]
    crowd_kit = pd.DataFrame({"worker": table["annotator"], "left": table["left"], "right": table["right"],
                              "label": np.where(sign > 0, table["left"], table["right"])})
    pd.testing.assert_series_equal(voxpop.Estimator().fit_predict(crowd_kit), estimator.scores_)
    categories = crowd_kit.astype({"left": "category", "right": "category", "label": "category"})
    pd.testing.assert_series_equal(voxpop.Estimator().fit_predict(categories), estimator.scores_)
    with pytest.raises(voxpop.BadInputError, match="'label' row 1 is 'other'"):
        voxpop.Estimator().fit(crowd_kit.assign(label=[crowd_kit["label"][0], "other", *crowd_kit["label"][2:]]))


def test_errors(table):
    for X, y, message in (table[SIDES], None, "no preferences"), (np.ones((3, 5)), [1, 1, 1], "shape"), \
            (table[SIDES], [0, 1] * 900, "none of them negative|1=left"), (table[["left"]], table["preference"], "no column 'right'"):
        with pytest.raises(voxpop.BadInputError, match=message):
            voxpop.Estimator().fit(X, y)
    for X, y, options in (table[SIDES], table["preference"][:9], None), (pd.concat([table[SIDES], table[["left"]]], axis=1), table["preference"], None), \
            (table[SIDES], table["preference"], {"map": {"left": "left", "right": "right"}}), (table[SIDES], table["preference"], {"progress": True}):
        with pytest.raises(ValueError, match="y has 9 rows|2 columns 'left'|is not an option"):
            voxpop.Estimator(options=options).fit(X, y)
    with pytest.raises(voxpop.BadInputError, match="no column 'right'"):
        voxpop.Estimator("bt").fit(table[SIDES], table["preference"]).predict(table[["left"]])
    for act in lambda one: one.predict(table), lambda one: one.predict_proba(table), lambda one: one.set_params(modle=1):
        with pytest.raises(ValueError):
            act(voxpop.Estimator())


def test_scikit_learn(table, estimator):
    sklearn = pytest.importorskip("sklearn")
    from sklearn.model_selection import GridSearchCV, cross_val_score
    from sklearn.utils import estimator_checks as checks
    from sklearn.utils.validation import check_is_fitted

    made = voxpop.Estimator("bt", ties="half", options={"threads": 1})
    again = sklearn.base.clone(made)
    assert repr(again) == repr(made) == "Estimator(model='bt', ties='half', calibrate=False, options={'threads': 1})"
    assert sklearn.base.is_classifier(made)
    check_is_fitted(estimator)
    with pytest.raises(sklearn.exceptions.NotFittedError):
        check_is_fitted(made)
    for check in ("check_parameters_default_constructible", "check_no_attributes_set_in_init", "check_get_params_invariance",
                  "check_set_params", "check_estimator_repr", "check_estimator_cloneable"):
        getattr(checks, check)("Estimator", voxpop.Estimator())
    X, y = table[SIDES], table["preference"]
    from sklearn.model_selection import StratifiedKFold

    signs = y.map({"left": 1, "right": -1})
    scores = cross_val_score(voxpop.Estimator(), X, signs, cv=3)
    for found, (fitted, held) in zip(scores, StratifiedKFold(3).split(X, signs)):
        made_here = voxpop.Estimator().fit(X.iloc[fitted], signs.iloc[fitted])
        assert found == pytest.approx(np.mean(made_here.predict(X.iloc[held]) == signs.iloc[held]))
    shuffled = np.random.default_rng(1).permutation(len(X))[: len(X) // 2]
    held_out = voxpop.Estimator().fit(X.drop(X.index[shuffled]), y.drop(y.index[shuffled]))
    assert 0.6 < held_out.score(X.iloc[shuffled], y.iloc[shuffled]) < 0.9 and len(scores) == 3
    losses = cross_val_score(voxpop.Estimator(), X.to_numpy(), y.to_numpy(), cv=3, scoring="neg_log_loss")
    assert (-losses < 1).all()
    search = GridSearchCV(voxpop.Estimator(), {"model": ["bt", "rater"]}, cv=2).fit(X, y)
    assert search.best_params_["model"] in ("bt", "rater")
    taken = pickle.loads(pickle.dumps(estimator))
    np.testing.assert_array_equal(taken.predict_proba(X), estimator.predict_proba(X))


def test_other_libraries_are_not_imported():
    code = "import sys, voxpop; assert not {'sklearn', 'polars', 'matplotlib', 'datasets'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
