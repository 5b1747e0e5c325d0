"""Figures of fixed votes against tests/data/golden.json: statistics that drift, and times that do, fail here.

Usage: python golden_test.py PATH_TO_VOXPOP [--renew] [unittest arguments]
--renew writes the figures measured now into golden.json: for a change that is meant to move them, said in its commit.

A figure is computed here, with numpy, from the labels in the file, and from the truth or another tool's scores where it can
be: then it says how good the labels are, whoever wrote them. `CHECKS` says how each can be checked without voxpop.
"""

import csv
import json
import os
import pathlib
import sys
import time
import unittest

from program import main, path, voxpop  # first: it skips where what follows is missing

import h5py
import numpy as np

GOLDEN = pathlib.Path(__file__).resolve().parent / "data" / "golden.json"
SHARED_DATA = os.environ.get("VOXPOP_SHARED_DATA")
RENEW = "--renew" in sys.argv
if RENEW:
    sys.argv.remove("--renew")
MODELS = ("bt", "crowd-bt", "rater")

SIMULATED = {
    "rlhf": ["--prompts", 2000, "--annotators", 100, "--seed", 11],
    "graded": ["--prompts", 2000, "--annotators", 100, "--seed", 12, "--ties", 0.15, "--grades", 3, "--lapse-rate", 0.05,
               "--features", 2, "--taste-sd", 0.3],
    "arena": ["--shape", "arena", "--responses", 100, "--prompts", 30000, "--annotators", 50, "--seed", 13],
}
REAL = {"llmfao": ["--ties", "half"], "mtbench": [], "readinglevel": []}

# Figure: (how far it may be off, as a share of the figure or absolutely, whichever is more; how to check it). g++ and
# clang, and kernels for AVX-512, AVX2 and neither, differ by less than a tenth of that.
CHECKS = {
    "log_evidence": (2e-5, 0.05, "EP's: tests/reference_ep.py and brute force, to which ep_test.cc holds it"),
    "log_likelihood": (1e-5, 0.02, "here: sum of log sigma(side's logit) over decided votes, at the file's scores and annotators"),
    "ece": (0, 1e-4, "here: pairs/probability against the simulated truth, 15 bins"),
    "ece_better": (0, 1e-4, "here: pairs/probability_better against the simulated truth, 15 bins"),
    "ordered": (0, 5e-4, "here: pairs whose margin has the sign of the simulated truth's, even ones half"),
    "discrimination_error": (1e-3, 0, "here: root mean square against the simulated truth, annotators of 50 votes"),
    "side_bias_error": (1e-3, 0, "here: the same of side_bias, in logits"),
    "mean_discrimination": (1e-4, 0, "here: mean over votes of their annotators' discrimination"),
    "threshold": (1e-4, 0, "the simulated truth's, a logit apart; of grades, given that the vote is decided"),
    "iterations": (0, 1, "no other way: how long it takes to settle"),
    "evalica": (0, 1e-5, "here: correlation with the logs of evalica's scores, evalica-golden.csv"),
    "gold": (0, 5e-4, "here: Kendall's tau-b with the gold order, gold.csv"),
    "held_out_ece": (0, 2e-4, "voxpop evaluate, which holds votes out and fits again"),
    # Times in times of a calculation that is always the same: numpy's, or voxpop's own with another model.
    "bt_over_numpy": (5, 0, "fit of 200,000 votes, over 20 gradients of their log-likelihood in numpy"),
    "rater_over_bt": (3, 0, "fit of 200,000 votes, over that of bt"),
}
# These settle so slowly that rounding decides where they stop: they may be off by so many times as much.
SLOW = {}
TIMES = ("bt_over_numpy", "rater_over_bt")  # of which the first number is a factor, either way


def read(file, *names):
    with h5py.File(file) as f:
        return [f[name][()] for name in names]


def calibration_error(predicted, outcome, bins=15):
    place = np.minimum((predicted * np.float32(bins)).astype(int), bins - 1)
    return float(np.abs(np.bincount(place, weights=predicted.astype(float) - outcome, minlength=bins)).sum() / len(predicted))


def log_likelihood(votes, fit):
    """Of the decided votes, at the labels as they stand."""
    left, right, who, preference = read(votes, *(f"comparisons/{c}" for c in ("left", "right", "annotator", "preference")))
    score, gamma, beta = (x.astype(float) for x in read(fit, "items/score", "annotators/discrimination", "annotators/side_bias"))
    logit = gamma[who] * (score[left] - score[right]) + beta[who]
    return float(-np.logaddexp(0, -np.sign(preference) * logit)[preference != 0].sum())


def tau_b(x, y):
    a, b = np.sign(np.subtract.outer(x, x)), np.sign(np.subtract.outer(y, y))
    return float(np.sum(a * b) / np.sqrt(np.sum(a * a) * np.sum(b * b)))


def fit(votes, model, *options):
    """The fit's file, and figures of any votes."""
    file = path("fit.h5")
    summary = json.loads(voxpop("fit", votes, "-o", file, "--model", model, "--device", "cpu", "--quiet", "--json", *options).stdout)
    count, gamma = (x.astype(float) for x in read(file, "annotators/votes", "annotators/discrimination"))
    figures = {"log_evidence": summary["log_evidence"], "log_likelihood": log_likelihood(votes, file),
               "iterations": summary["iterations"], "mean_discrimination": float(np.average(gamma, weights=count))}
    figures |= {f"threshold_{k}": value for k, value in enumerate(summary["thresholds"])}
    return file, figures, summary


def against_truth(votes, file):
    score, true_gamma, true_beta = read(votes, "truth/score", "truth/discrimination", "truth/side_bias")
    left, right, probability, better, margin = read(
        file, *(f"pairs/{c}" for c in ("left", "right", "probability", "probability_better", "margin")))
    difference = score[left] - score[right]
    count, gamma, beta = read(file, "annotators/votes", "annotators/discrimination", "annotators/side_bias")
    many = count >= 50

    def error(x, truth):
        return float(np.sqrt(np.mean((x - truth)[many] ** 2)))

    return {"ece": calibration_error(probability, 1 / (1 + np.exp(-difference))),
            "ece_better": calibration_error(better, difference > 0), "ordered": float(np.mean(np.where(np.abs(margin) < 1e-4, 0.5, margin * difference > 0))),  # even: rounding
            "discrimination_error": error(gamma, true_gamma), "side_bias_error": error(beta, true_beta)}


def column(file, key, value, **where):
    with open(file, newline="", encoding="utf-8") as f:
        return {row[key]: float(row[value]) for row in csv.DictReader(f) if where.items() <= row.items()}


class Golden(unittest.TestCase):
    measured = {}

    def compare(self, name, figures):
        self.measured[name] = figures
        if RENEW:
            return
        golden = json.loads(GOLDEN.read_text())[name]
        self.assertEqual(set(figures), set(golden), "figures came or went: --renew")
        off = []
        for figure, value in figures.items():
            share, least, check = CHECKS[figure.rstrip("_0123456789")]
            known, slow = golden[figure], SLOW.get(name, 1)
            within = (known / share <= value <= known * share if figure in TIMES
                      else abs(value - known) <= slow * max(share * abs(known), least))
            if not within:
                off.append(f"{name}: {figure} is {value:.6g}, was {known:.6g} (to check: {check})")
        self.assertFalse(off, "\n" + "\n".join(off))

    def test_simulated(self):
        for shape, options in SIMULATED.items():
            votes = path(f"{shape}.h5")
            voxpop("simulate", votes, "--quiet", *options)
            for model in MODELS:
                with self.subTest(f"{shape} {model}"):
                    file, figures, _ = fit(votes, model)
                    self.compare(f"{shape} {model}", figures | against_truth(votes, file))

    @unittest.skipUnless(SHARED_DATA, "VOXPOP_SHARED_DATA is not set: real votes are not tested")
    def test_real(self):
        for name, options in REAL.items():
            folder, votes = os.path.join(SHARED_DATA, name), path(f"{name}.h5")
            reading = ["--prompt", ""] if name == "llmfao" else []  # there models are judged, on many prompts
            voxpop("import", os.path.join(folder, f"{name}.csv"), "-o", votes, "--quiet", *reading)
            for model in MODELS:
                with self.subTest(f"{name} {model}"):
                    file, figures, summary = fit(votes, model, "--repeats", "all", *options)
                    figures["held_out_ece"] = summary["reliability"]["ece"]
                    ids, scores = read(file, "items/id", "items/score")
                    score_of = dict(zip((i.decode() for i in ids), scores.astype(float)))
                    if name == "llmfao" and model == "bt":
                        other = column(os.path.join(folder, "evalica-golden.csv"), "item", "score", algorithm="bradley_terry")
                        figures["evalica"] = float(np.corrcoef([score_of[i] for i in other], np.log(list(other.values())))[0, 1])
                    if name == "readinglevel":
                        gold = column(os.path.join(folder, "gold.csv"), "item", "gold")
                        figures["gold"] = tau_b([score_of[i] for i in gold], list(gold.values()))
                    self.compare(f"{name} {model}", figures)

    @unittest.skipIf({"VOXPOP_KERNELS", "VOXPOP_COVERAGE"} & set(os.environ), "times are those of a release with the fastest kernels")
    def test_times(self):
        votes = path("times.h5")
        voxpop("simulate", votes, "--quiet", "--prompts", 10000, "--seed", 14, "--no-compress")
        random = np.random.default_rng(1)
        left, right = random.integers(0, 40000, (2, 200000))
        score = random.normal(size=40000)

        def gradients():
            start = time.perf_counter()
            for _ in range(20):
                p = 1 / (1 + np.exp(score[right] - score[left]))
                np.bincount(left, 1 - p, 40000) - np.bincount(right, 1 - p, 40000)
            return time.perf_counter() - start

        best = {"numpy": np.inf, "bt": np.inf, "rater": np.inf}
        for _ in range(4):  # by turns: what else the machine does meets all of them
            best["numpy"] = min(best["numpy"], gradients())
            for model in ("bt", "rater"):
                best[model] = min(best[model], fit(votes, model, "--threads", 1, "--no-compress")[2]["seconds"]["fit"])
        self.compare("times", {"bt_over_numpy": best["bt"] / best["numpy"], "rater_over_bt": best["rater"] / best["bt"]})

    @classmethod
    def tearDownClass(cls):
        if RENEW:
            known = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
            GOLDEN.write_text(json.dumps(known | cls.measured, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
