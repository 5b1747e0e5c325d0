"""How right a result is, for compare.py, in a process of its own (so that compare.py itself stays small). Prints JSON.

    python compare_judge.py prepare VOTES.h5 TRUTH.npz [intervals]   the pairs and what is true of them, once for all tools
    python compare_judge.py fit TRUTH.npz RESULT            a fit/1 file, or scores as compare_tools.py writes them
    python compare_judge.py intervals TRUTH.npz RESULT [REFERENCE]    a fit, or rows of resampled scores; widths against those
                                                            of REFERENCE, a file of such rows
"""

import json
import sys
import zipfile

import h5py
import numpy as np

BINS = 15
FEWEST_RESAMPLES = 20  # below these, percentiles say nothing


def sigmoid(x):
    return 0.5 * (1 + np.tanh(0.5 * x))


def population_scores(score, discrimination, side_bias, volume):
    """What plain Bradley-Terry tends to with ever more votes of these annotators: its own truth, which intervals should hold."""
    from scipy.optimize import minimize

    left, right = np.triu_indices(len(score), 1)
    expected = np.zeros(len(left))
    for gamma, beta, weight in zip(discrimination, side_bias, volume / volume.sum()):
        margin = gamma * (score[left] - score[right])
        expected += weight * (sigmoid(margin + beta) + sigmoid(margin - beta)) / 2  # shown either way round

    def loss(x):
        margin = x[left] - x[right]
        slope = sigmoid(margin) - expected
        gradient = np.bincount(left, slope, len(x)) - np.bincount(right, slope, len(x))
        return np.sum(np.logaddexp(0, margin) - expected * margin), gradient

    fitted = minimize(loss, np.zeros(len(score)), jac=True, method="L-BFGS-B", options={"ftol": 1e-14, "gtol": 1e-9}).x
    return fitted - fitted.mean()


def prepare(votes_path, truth_path, *purpose):
    with h5py.File(votes_path) as file:
        left, right = (file["comparisons/" + name][:].astype(np.int64) for name in ("left", "right"))
        annotator, preference = file["comparisons/annotator"][:], file["comparisons/preference"][:]
        truth = {name: file["truth/" + name][:] for name in ("score", "discrimination", "side_bias")}
    items = len(truth["score"])
    low_won = np.where(left < right, preference, -preference)
    key, at = np.unique(np.minimum(left, right) * items + np.maximum(left, right), return_inverse=True)
    low, high = key // items, key % items
    votes = np.bincount(annotator, minlength=len(truth["discrimination"]))
    if "intervals" in purpose:
        truth["population_score"] = population_scores(**truth, volume=votes)
    majority = np.sign(np.bincount(at, low_won))
    np.savez(truth_path, low=low, high=high, votes=votes, **truth)
    print(json.dumps({"votes": len(left), "items": items, "pairs": len(key), "annotators": int((votes > 0).sum()),
                      "pairs_ordered_majority": share_ordered(majority, truth["score"][low] - truth["score"][high])}))


def share_ordered(guess, fact):
    """Pairs whose better item comes first; equal scores count half."""
    return float(np.mean((np.sign(guess) * np.sign(fact) + 1) / 2))


def calibration_error(predicted, fact):
    at = np.clip((predicted * BINS).astype(int), 0, BINS - 1)
    return float(np.abs(np.bincount(at, predicted - fact)).sum() / len(fact))


def judge_fit(truth_path, result_path):
    truth = np.load(truth_path)
    low, high = truth["low"], truth["high"]
    fact = truth["score"][low] - truth["score"][high]
    found = {}
    if h5py.is_hdf5(result_path):
        with h5py.File(result_path) as file:
            if not (np.array_equal(file["pairs/left"][:], low) and np.array_equal(file["pairs/right"][:], high)):
                raise ValueError("the fit's pairs are not the votes' pairs")
            provenance = json.loads(file.attrs["provenance"])
            margin, probability = file["pairs/margin"][:], file["pairs/probability"][:]
            estimates = {name: file["annotators/" + name][:] for name in ("discrimination", "side_bias")}
        if provenance["model"] == "bt":
            estimates = {}
        seconds = provenance["seconds"]
        found = {"converged": provenance["converged"], "read": seconds["read"], "fit": seconds["group"] + seconds["fit"]}
    else:
        result = np.load(result_path)
        margin = result["score"][low] - result["score"][high]
        probability = sigmoid(margin)
        estimates = {name: result[name] for name in ("discrimination", "side_bias") if name in result}
    if not np.isfinite(margin).all():
        raise ValueError(f"{np.sum(~np.isfinite(margin))} of {len(margin)} score differences are not finite")
    if not margin.any():
        raise ValueError("it returned without an error, all scores equal")
    found |= {"pairs_ordered": share_ordered(margin, fact), "ece": calibration_error(probability, sigmoid(fact))}
    voted = truth["votes"] > 0
    for name, estimate in estimates.items():
        flat = np.ptp(estimate[voted]) == 0
        found[name + "_correlation"] = 0.0 if flat else float(np.corrcoef(estimate[voted], truth[name][voted])[0, 1])
    print(json.dumps(found))


def read_rows(path, items):
    rows = np.fromfile(path, "f8")
    rows = rows[:len(rows) // items * items].reshape(-1, items)
    return rows - rows.mean(axis=1, keepdims=True)


def judge_intervals(truth_path, result_path, reference_path=None):
    truth = np.load(truth_path)
    items = len(truth["score"])
    target, found = truth["population_score"], {}
    if h5py.is_hdf5(result_path) or zipfile.is_zipfile(result_path):
        if h5py.is_hdf5(result_path):
            with h5py.File(result_path) as file:
                score, std_error = file["items/score"][:].astype("f8"), file["items/std_error"][:].astype("f8")
                if json.loads(file.attrs["provenance"])["model"] != "bt":
                    target = truth["score"] - truth["score"].mean()
        else:
            result = np.load(result_path)
            score, std_error = result["score"], result["std_error"]
        score = score - score.mean()
        lower, upper = score - 1.96 * std_error, score + 1.96 * std_error
    else:
        rows = read_rows(result_path, items)
        found["resamples"] = len(rows)
        if len(rows) < FEWEST_RESAMPLES:
            print(json.dumps(found))
            return
        lower, upper = np.percentile(rows, [2.5, 97.5], axis=0)
        score = rows.mean(axis=0)
    unit = score @ target / (target @ target)  # what one logit of the truth is here
    width = upper - lower
    found |= {"width": float(width.mean()), "unit": float(unit),
              "coverage": float(np.mean((lower <= target) & (target <= upper))),
              "coverage_in_its_unit": float(np.mean((lower <= target * unit) & (target * unit <= upper)))}
    if reference_path:
        rows = read_rows(reference_path, items)
        reference = np.subtract(*np.percentile(rows, [97.5, 2.5], axis=0))
        found["width_ratio"] = float(width.mean() / reference.mean())
    print(json.dumps(found))


if __name__ == "__main__":
    {"prepare": prepare, "fit": judge_fit, "intervals": judge_intervals}[sys.argv[1]](*sys.argv[2:])
