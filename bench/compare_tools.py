"""The tools that compare.py runs, each as a short function, and each run in a process of its own:

    python compare_tools.py list                                  which tools there are and which are installed, as JSON
    python compare_tools.py fit TOOL VOTES.h5 RESULT.npz          scores (logits) and, where it has them, annotators
    python compare_tools.py intervals TOOL VOTES.h5 RESULT.npz    scores and their standard errors
    python compare_tools.py refit TOOL VOTES.h5 RESULT N [VOXPOP] N resamples, a row of float64 scores each, as they come

Every tool gets what its own documentation offers as its fast way: votes of the same outcome as one with a weight, where it
takes weights; a matrix, where it takes one. Where a choice of priors was ours, scores are N(0, 1), scikit-learn's default.
"""

import contextlib
import importlib
import importlib.metadata
import json
import math
import subprocess
import sys
import time
import warnings
from dataclasses import dataclass

import h5py
import numpy as np


@dataclass
class Votes:
    left: np.ndarray
    right: np.ndarray
    annotator: np.ndarray
    preference: np.ndarray
    items: int
    annotators: int

    def winner(self):
        return np.where(self.preference > 0, self.left, self.right)

    def loser(self):
        return np.where(self.preference > 0, self.right, self.left)

    def outcomes(self):
        """Distinct (winner, loser) and how many votes each has."""
        key = self.winner() * self.items + self.loser()
        if self.items**2 <= 10**7:  # counting beats sorting while the table is small
            table = np.bincount(key, minlength=self.items**2)
            distinct = np.flatnonzero(table)
            count = table[distinct]
        else:
            distinct, count = np.unique(key, return_counts=True)
        return distinct // self.items, distinct % self.items, count.astype(float)


def read_votes(path):
    with h5py.File(path) as file:
        left, right, annotator = (file["comparisons/" + name][:].astype(np.int64) for name in ("left", "right", "annotator"))
        return Votes(left, right, annotator, file["comparisons/preference"][:], file["items/id"].shape[0],
                     file["annotators/id"].shape[0])


def sigmoid(x):
    return 0.5 * (1 + np.tanh(0.5 * x))


# --- plain Bradley-Terry


def logistic_regression(votes, **options):
    from scipy.sparse import csr_matrix
    from sklearn.linear_model import LogisticRegression

    winner, loser, count = votes.outcomes()
    row, one = np.arange(len(count)), np.ones(len(count))
    low, high = np.minimum(winner, loser), np.maximum(winner, loser)
    design = csr_matrix((np.concatenate([one, -one]), (np.concatenate([row, row]), np.concatenate([low, high]))),
                        (len(count), votes.items))
    return LogisticRegression(fit_intercept=False, **options), design, winner == low, count


def sklearn_default(votes):
    model, design, left_won, count = logistic_regression(votes)
    model.fit(design, left_won, sample_weight=count)
    return {"score": model.coef_[0], "converged": model.n_iter_[0] < model.max_iter}


def sklearn_settled(votes):
    """Its default tolerance, on the gradient of the mean loss, stops early; this one asks for wins right within 0.01."""
    model, design, left_won, count = logistic_regression(votes, tol=0.01 / len(votes.left), max_iter=1000)
    model.fit(design, left_won, sample_weight=count)
    return {"score": model.coef_[0], "converged": model.n_iter_[0] < model.max_iter}


def maximize(negative_log_posterior, start):
    from scipy.optimize import minimize

    return minimize(negative_log_posterior, start, jac=True, method="L-BFGS-B", options={"maxiter": 1000, "maxfun": 2000})


def bradley_terry_loss(winner, loser, count, items):
    def loss(score):
        margin = score[winner] - score[loser]
        slope = -count * sigmoid(-margin)
        gradient = np.bincount(winner, slope, items) - np.bincount(loser, slope, items)
        return count @ np.logaddexp(0, -margin) + score @ score / 2, gradient + score

    return loss


def scipy_bt(votes):
    done = maximize(bradley_terry_loss(*votes.outcomes(), votes.items), np.zeros(votes.items))
    return {"score": done.x, "converged": done.success}


def choix_ilsr(votes):
    import choix

    winner, loser, count = votes.outcomes()
    wins = np.zeros((votes.items, votes.items))
    wins[winner, loser] = count
    return {"score": choix.ilsr_pairwise_dense(wins, alpha=0.01)}  # without alpha: one connected component only


def choix_mm(votes):
    import choix

    return {"score": choix.mm_pairwise(votes.items, list(zip(votes.winner().tolist(), votes.loser().tolist())), alpha=0.01)}


def choix_opt(votes):
    import choix

    return {"score": choix.opt_pairwise(votes.items, list(zip(votes.winner().tolist(), votes.loser().tolist())))}


def fit_evalica(winner, loser, count, index):
    import evalica

    fit = evalica.bradley_terry(winner, loser, [evalica.Winner.X] * len(winner), index=index, weights=count)
    with np.errstate(divide="ignore"):  # an item that never won has strength 0
        score = np.log(np.maximum(fit.scores.sort_index().to_numpy(), 1e-12))
    return score, fit.iterations < fit.limit


def evalica_bt(votes):
    import pandas as pd

    winner, loser, count = votes.outcomes()
    score, converged = fit_evalica(winner, loser, count.tolist(), pd.RangeIndex(votes.items))
    return {"score": score, "converged": converged}


def arena_rank_dataset(votes):
    import pandas as pd
    from arena_rank.models.bradley_terry import BradleyTerry
    from arena_rank.utils.data_utils import PairDataset

    table = pd.DataFrame({"model_a": votes.left, "model_b": votes.right, "winner": votes.preference})
    dataset = PairDataset.from_pandas(table, outcome_map={1: 1.0, -1: 0.0})
    return dataset, BradleyTerry(n_competitors=len(dataset.competitors))


def arena_rank_bt(votes):
    dataset, model = arena_rank_dataset(votes)
    score = np.zeros(votes.items)
    score[dataset.competitors] = model.fit(dataset).params["ratings"]
    return {"score": score}


# --- with annotators


def scipy_joint(votes):
    """Scores N(0, 1), discriminations N(1, 1), side biases N(0, 1), all at the mode of their joint posterior."""
    left, right, who, n, m = votes.left, votes.right, votes.annotator, votes.items, votes.annotators
    sign = votes.preference.astype(float)

    def loss(x):
        score, discrimination, bias = x[:n], x[n:n + m], x[n + m:]
        difference = score[left] - score[right]
        eta = discrimination[who] * difference + bias[who]
        slope = -sign * sigmoid(-sign * eta)
        pull = slope * discrimination[who]
        gradient = np.concatenate([np.bincount(left, pull, n) - np.bincount(right, pull, n) + score,
                                   np.bincount(who, slope * difference, m) + discrimination - 1,
                                   np.bincount(who, slope, m) + bias])
        prior = (score @ score + (discrimination - 1) @ (discrimination - 1) + bias @ bias) / 2
        return np.logaddexp(0, -sign * eta).sum() + prior, gradient

    done = maximize(loss, np.concatenate([np.zeros(n), np.ones(m), np.zeros(m)]))
    # Its unit as voxpop's: the median of the annotators with at least 50 votes.
    discrimination = done.x[n:n + m]
    busy = np.bincount(who, minlength=m) >= 50
    unit = np.median(discrimination[busy]) if busy.any() else 1.0
    return {"score": done.x[:n] * unit, "discrimination": discrimination / unit, "side_bias": done.x[n + m:],
            "converged": done.success}


def crowd_kit(votes):
    import pandas as pd
    from crowdkit.aggregation import NoisyBradleyTerry

    table = pd.DataFrame({"worker": votes.annotator, "left": votes.left, "right": votes.right, "label": votes.winner()})
    model = NoisyBradleyTerry().fit(table)
    result = {"score": np.zeros(votes.items), "discrimination": np.full(votes.annotators, np.nan),
              "side_bias": np.full(votes.annotators, np.nan)}
    strength = model.scores_.clip(1e-12, 1 - 1e-12)
    result["score"][strength.index] = np.log(strength / (1 - strength))
    result["discrimination"][model.skills_.index] = model.skills_
    result["side_bias"][model.biases_.index] = model.biases_
    return result


# --- resamples of the votes, for percentile intervals: each yields a row of scores a resample, or one with standard errors


def resample(count, random):
    return random.multinomial(int(count.sum()), count / count.sum()).astype(float)


def refit_voxpop(votes, resamples, voxpop, scratch):
    """voxpop takes no weights: every resample is a file of votes."""
    random = np.random.default_rng(1)
    columns = {"left": votes.left.astype("u4"), "right": votes.right.astype("u4"), "preference": votes.preference}
    ids = np.array([str(item) for item in range(votes.items)], dtype="S")
    for _ in range(resamples):
        drawn = random.integers(len(votes.left), size=len(votes.left))
        with h5py.File(scratch + ".votes.h5", "w") as file:
            file.attrs["voxpop_schema"] = "comparisons/1"
            file["items/id"] = ids
            for name, column in columns.items():
                file["comparisons/" + name] = column[drawn]
        subprocess.run([voxpop, "fit", scratch + ".votes.h5", "-o", scratch + ".fit.h5", "--model", "bt", "--device", "cpu",
                        "--quiet"], check=True, stdout=subprocess.DEVNULL)
        with h5py.File(scratch + ".fit.h5") as file:
            yield file["items/score"][:]


def refit_sklearn(votes, resamples, *_):
    random = np.random.default_rng(1)
    model, design, left_won, count = logistic_regression(votes, tol=0.01 / len(votes.left), max_iter=1000, warm_start=True)
    model.fit(design, left_won, sample_weight=count)
    for _ in range(resamples):
        yield model.fit(design, left_won, sample_weight=resample(count, random)).coef_[0]


def refit_scipy(votes, resamples, *_):
    random = np.random.default_rng(1)
    winner, loser, count = votes.outcomes()
    start = maximize(bradley_terry_loss(winner, loser, count, votes.items), np.zeros(votes.items)).x
    for _ in range(resamples):
        yield maximize(bradley_terry_loss(winner, loser, resample(count, random), votes.items), start).x


def refit_evalica(votes, resamples, *_):
    import pandas as pd

    random = np.random.default_rng(1)
    winner, loser, count = votes.outcomes()
    for _ in range(resamples):
        yield fit_evalica(winner, loser, resample(count, random).tolist(), pd.RangeIndex(votes.items))[0]


def refit_arena_rank(votes, resamples, *_):
    """Its own bootstrap, one resample after another: its pool of forked processes is not one that JAX allows."""
    from arena_rank.models.bradley_terry import fit_single_bootstrap_sample

    random = np.random.default_rng(1)
    dataset, model = arena_rank_dataset(votes)
    counts = np.asarray(dataset.counts)
    for _ in range(resamples):
        yield np.asarray(fit_single_bootstrap_sample(resample(counts, random), model, dataset)["ratings"])


def arena_rank_sandwich(votes):
    dataset, model = arena_rank_dataset(votes)
    found = model.compute_ratings_and_cis(dataset)
    return {"score": np.asarray(found["ratings"]) / model.alpha, "std_error": np.sqrt(found["variances"]) / model.alpha}


@dataclass
class Tool:
    fit: object
    distribution: str  # on PyPI
    module: str
    way: str
    leaves_out: str
    refit: object = None


SKLEARN = ("scikit-learn", "sklearn.linear_model")
SCIPY = ("scipy", "scipy.optimize")
CHOIX = ("choix", "choix")
ARENA_RANK = ("arena-rank", "arena_rank.models.bradley_terry")
TOOLS = {
    "scikit-learn": Tool(sklearn_default, *SKLEARN, "LogisticRegression, all defaults; distinct outcomes with weights",
                         "annotators, ties"),
    "scikit-learn-settled": Tool(sklearn_settled, *SKLEARN, "the same with a tolerance at which wins are right within 0.01",
                                 "annotators, ties", refit_sklearn),
    "scipy": Tool(scipy_bt, *SCIPY, "L-BFGS over numpy's bincount; distinct outcomes with weights; prior N(0, 1)",
                  "annotators, ties", refit_scipy),
    "scipy-joint": Tool(scipy_joint, *SCIPY, "L-BFGS over scores, discriminations and side biases at once: the mode of all",
                        "ties"),
    "choix-ilsr": Tool(choix_ilsr, *CHOIX, "ilsr_pairwise_dense, alpha 0.01", "annotators, ties"),
    "choix-mm": Tool(choix_mm, *CHOIX, "mm_pairwise, alpha 0.01", "annotators, ties"),
    "choix-opt": Tool(choix_opt, *CHOIX, "opt_pairwise, all defaults (Newton-CG)", "annotators, ties"),
    "evalica": Tool(evalica_bt, "evalica", "evalica", "bradley_terry, compiled; distinct outcomes with weights", "annotators",
                    refit_evalica),
    "arena-rank": Tool(arena_rank_bt, *ARENA_RANK, "BradleyTerry on the CPU; adds up equal votes itself", "annotators",
                       refit_arena_rank),
    "crowd-kit": Tool(crowd_kit, "crowd-kit", "crowdkit.aggregation", "NoisyBradleyTerry, all defaults", "ties"),
}
INTERVALS = {"arena-rank": arena_rank_sandwich}  # of one fit


def version(distribution):
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def run_fit(fit, module, votes_path, result_path):
    importlib.import_module(module)
    start = time.perf_counter()
    votes = read_votes(votes_path)
    read = time.perf_counter()
    with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
        warnings.simplefilter("ignore")
        result = fit(votes)
    end = time.perf_counter()
    converged = bool(result.pop("converged", True))  # tools that do not say so raise
    np.savez(result_path, **result)
    print(json.dumps({"read": read - start, "fit": end - read, "converged": converged}))


def run_refit(tool, votes_path, result_path, resamples, voxpop=None):
    votes = read_votes(votes_path)
    refit = refit_voxpop if tool == "voxpop" else TOOLS[tool].refit
    with open(result_path, "wb") as rows:
        for score in refit(votes, int(resamples), voxpop, result_path):
            if not math.isfinite(float(np.sum(score))):
                raise ValueError("scores are not finite")
            rows.write(np.asarray(score, "f8").tobytes())
            rows.flush()  # what is there when time is up counts


def main(verb, *arguments):
    if verb == "list":
        print(json.dumps({name: {"version": version(tool.distribution), "distribution": tool.distribution, "way": tool.way,
                                 "leaves_out": tool.leaves_out, "refits": tool.refit is not None, "intervals": name in INTERVALS}
                          for name, tool in TOOLS.items()}))
    elif verb == "fit":
        run_fit(TOOLS[arguments[0]].fit, TOOLS[arguments[0]].module, *arguments[1:])
    elif verb == "intervals":
        run_fit(INTERVALS[arguments[0]], TOOLS[arguments[0]].module, *arguments[1:])
    elif verb == "refit":
        run_refit(*arguments)
    else:
        sys.exit(f"compare_tools.py: unknown verb '{verb}' (list, fit, intervals, refit)")


if __name__ == "__main__":
    main(*sys.argv[1:])
