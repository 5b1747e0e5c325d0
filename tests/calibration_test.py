"""How good labels are: of simulated votes, whose truth is known, and of real ones.

Usage: python calibration_test.py PATH_TO_VOXPOP [unittest arguments]
"""

import csv
import json
import math
import os
import shutil
import tempfile
import unittest

from program import main, scratch  # first: it skips where what follows is missing
from command_line import CliTest, SHARED_DATA, figures, read, start, succeed

import h5py
import numpy as np


class Simulated(CliTest):
    """simulate with every option, as h5py reads it."""

    arguments = (
        "--prompts 300 --responses 4 --pairs-per-prompt 4 --votes-per-pair 3 --annotators 40 --ties .1 --grades 3 "
        "--lapse-rate .1 --features 3 --taste-sd .2 --prior-score .7 --days 60 --drift .2 --bursts .1 --seed 5"
    ).split()

    def test_every_option(self):
        path, again = self.path("votes.h5"), self.path("again.h5")
        succeed("simulate", path, *self.arguments)
        succeed("simulate", again, *self.arguments)
        with open(path, "rb") as one, open(again, "rb") as other:
            self.assertEqual(one.read(), other.read())
        self.assertEqual(succeed("check", path).err, b"")
        with h5py.File(path) as file:
            self.assertEqual(list(file["items/features"].attrs["names"]), ["length", "f1", "f2"])
            self.assertEqual(file["items/features"].shape, (1200, 3))
            self.assertEqual(file["items/prior_score"].shape, (1200,))
            truth = {name: data[()] for name, data in file["truth"].items()}
            columns = {name: data[()] for name, data in file["comparisons"].items()}
            features, prior_score = file["items/features"][()], file["items/prior_score"][()]
        self.assertEqual(truth["taste"].shape, (40, 3))
        self.assertEqual(truth["lapse_rate"].shape, (40,))
        np.testing.assert_allclose(np.diff(truth["thresholds"]), [1, 1])
        self.assertEqual((truth["drifts"].sum(), truth["bursts"].sum()), (8, 4))
        self.assertEqual(truth["drifts"].dtype, np.int8)
        self.assertEqual(set(columns["preference"]), set(range(-3, 4)))
        self.assertAlmostEqual(np.mean(columns["preference"] == 0), 0.1, delta=0.02)
        self.assertAlmostEqual(np.median(truth["lapse_rate"]), 0.1, delta=0.04)
        self.assertAlmostEqual(np.corrcoef(truth["score"], prior_score)[0, 1], 0.7, delta=0.06)
        found = np.linalg.lstsq(features, truth["score"], rcond=None)[0]
        np.testing.assert_allclose(found, truth["feature_coefficients"], atol=0.2)
        order = np.lexsort((columns["timestamp"], columns["annotator"]))
        same = np.diff(columns["annotator"][order]) == 0
        second = np.diff(columns["timestamp"][order]) == 1
        self.assertEqual(set(columns["annotator"][order][1:][same & second]), set(np.flatnonzero(truth["bursts"])))
        start = np.datetime64("2026-01-05").astype("datetime64[s]").astype(int)
        self.assertTrue(np.all((columns["timestamp"] >= start) & (columns["timestamp"] < start + 60 * 86400)))

    def test_one_component(self):
        for shape, pairs in (("graph", 1200), ("mix", 1200 + 299 + 300)):
            with self.subTest(shape):
                path = self.path("votes.h5")
                succeed("simulate", path, *self.arguments, "--shape", shape)
                counts = json.loads(succeed("check", path, "--json").out)
                self.assertEqual((counts["components"], counts["items"]), (1, 1200))
                self.assertEqual(counts["votes"], 3 * pairs)


def tau_b(x, y):
    """Kendall's tau-b over all pairs: ties in either count in its own root only."""
    a, b = np.sign(np.subtract.outer(x, x)), np.sign(np.subtract.outer(y, y))
    return np.sum(a * b) / math.sqrt(np.sum(a * a) * np.sum(b * b))


@unittest.skipUnless(SHARED_DATA, "VOXPOP_SHARED_DATA is not set: real votes are not tested")
class RealVotes(CliTest):
    def fit_scores(self, table, *options, reading=()):
        votes, fit = self.path("votes.h5"), self.path("fit.h5")
        succeed("import", table, "-o", votes, "--quiet", *reading)
        succeed("check", votes)
        succeed("fit", votes, "-o", fit, *options)
        ids, scores = read(fit, "items/id", "items/score")
        return {item.decode(): float(score) for item, score in zip(ids, scores)}

    def test_llmfao_matches_bradley_terry(self):
        folder = os.path.join(SHARED_DATA, "llmfao")
        with open(os.path.join(folder, "evalica-golden.csv"), newline="", encoding="utf-8") as file:
            golden = {
                row["item"]: float(row["score"]) for row in csv.DictReader(file) if row["algorithm"] == "bradley_terry"
            }
        scores = self.fit_scores(os.path.join(folder, "llmfao.csv"), "--model", "bt", "--ties", "half", "--repeats", "all",
                                 reading=["--prompt", ""])  # models are judged, on many prompts
        self.assertEqual(set(scores), set(golden))
        self.assertEqual(len(golden), 59)
        correlation = np.corrcoef([scores[item] for item in golden], np.log(list(golden.values())))[0, 1]
        figures.append(f"llmfao: correlation of bt scores with evalica's log scores {correlation:.5f}")
        self.assertGreater(correlation, 0.995)

    def test_readinglevel_raters_beat_bradley_terry(self):
        folder = os.path.join(SHARED_DATA, "readinglevel")
        with open(os.path.join(folder, "gold.csv"), newline="", encoding="utf-8") as file:
            gold = {row["item"]: float(row["gold"]) for row in csv.DictReader(file)}
        taus = {}
        for model in ("bt", "rater"):
            scores = self.fit_scores(os.path.join(folder, "readinglevel.csv"), "--model", model)
            self.assertEqual(set(scores), set(gold))
            taus[model] = tau_b([scores[item] for item in gold], list(gold.values()))
        figures.append(f"readinglevel: tau-b with gold: bt {taus['bt']:.4f}, rater {taus['rater']:.4f}")
        self.assertGreaterEqual(taus["bt"], 0.348 - 0.002)
        self.assertGreater(taus["rater"], taus["bt"])


def calibration_error(predicted, outcome, bins=15):
    """Binned in single precision as the file holds it: in double, a value on a bin's edge may fall on its other side."""
    place = np.minimum((predicted * np.float32(bins)).astype(int), bins - 1)
    differences = np.bincount(place, weights=predicted.astype(float) - outcome, minlength=bins)
    return np.abs(differences).sum() / len(predicted)


def area_under_curve(value, positive):
    """Mann and Whitney: the share of (positive, negative) pairs in the right order, ties one half."""
    p, n = value[positive][:, None], value[~positive][None, :]
    return np.mean((p > n) + 0.5 * (p == n))


class Calibration(CliTest):
    """180,000 votes of 300 annotators, three in ten of whom are not good, against the truth they were drawn from."""

    @classmethod
    def setUpClass(cls):
        cls.home = tempfile.mkdtemp(dir=scratch)
        votes, fit = os.path.join(cls.home, "votes.h5"), os.path.join(cls.home, "fit.h5")
        succeed(
            "simulate",
            votes,
            "--prompts",
            20_000,
            "--responses",
            4,
            "--pairs-per-prompt",
            3,
            "--votes-per-pair",
            3,
            "--annotators",
            300,
            "--seed",
            1,
        )
        cls.told = json.loads(succeed("fit", votes, "-o", fit, "--json").out)["truth"]

        score, discrimination, kind = read(votes, "truth/score", "truth/discrimination", "truth/kind")
        left, right, wins, count, probability, better, margin = read(
            fit,
            *(
                f"pairs/{c}"
                for c in ("left", "right", "wins_left", "votes", "probability", "probability_better", "margin")
            ),
        )
        given, estimate, error = read(
            fit, "annotators/votes", "annotators/discrimination", "annotators/discrimination_se"
        )
        difference = score[left] - score[right]
        active = given > 0

        def ordered(guess):
            return np.mean(np.where(guess == 0, 0.5, guess * difference > 0))

        cls.found = {
            "ece_probability": calibration_error(probability, 1 / (1 + np.exp(-difference))),
            "ece_probability_better": calibration_error(better, difference > 0),
            "pairs_ordered": ordered(margin),
            "pairs_ordered_majority": ordered(2 * wins - count),
            "margin_correlation": np.corrcoef(margin.astype(float), difference)[0, 1],
            "discrimination_correlation": np.corrcoef(estimate[active].astype(float), discrimination[active])[0, 1],
            "coverage": np.mean(np.abs(estimate - discrimination)[active] <= 1.96 * error[active]),
            "auc_bad_annotators": area_under_curve(-estimate[active], (kind != b"good")[active]),
        }
        figures.append("simulated: " + ", ".join(f"{name} {value:.4f}" for name, value in cls.found.items()))

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.home)

    def test_pairs_are_calibrated(self):
        self.assertLess(self.found["ece_probability"], 0.01)
        self.assertLess(self.found["ece_probability_better"], 0.02)

    def test_pairs_are_ordered_better_than_by_majority(self):
        self.assertGreaterEqual(self.found["pairs_ordered"], self.found["pairs_ordered_majority"] + 0.012)

    def test_intervals_cover(self):
        self.assertGreaterEqual(self.found["coverage"], 0.9)

    def test_bad_annotators_are_found(self):
        self.assertGreater(self.found["auc_bad_annotators"], 0.97)

    def test_voxpop_reports_these_figures(self):
        self.assertEqual(set(self.told), set(self.found))
        for name, value in self.found.items():
            self.assertAlmostEqual(self.told[name], value, delta=1e-6, msg=name)


if __name__ == "__main__":
    main()
