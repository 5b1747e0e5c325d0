"""What voxpop says where votes do not tell, and of annotators who are not what they seem, against simulated truths.

Usage: python unknown_test.py PATH_TO_VOXPOP [unittest arguments]
"""

import csv
import json
import unittest

from program import main, path, voxpop  # first: it skips where what follows is missing

import h5py
import numpy as np

OK, SIDE_CLICKER, ADVERSARIAL, UNKNOWN = 0, 3, 4, 6


def logistic(x):
    return 1 / (1 + np.exp(-x))


def write(name, left, right, annotator, preference, items, annotators):
    with h5py.File(path(name), "w") as file:
        file.attrs["voxpop_schema"] = "comparisons/1"
        for column, values, kind in (
            ("left", left, "u4"),
            ("right", right, "u4"),
            ("annotator", annotator, "u4"),
            ("preference", preference, "i1"),
        ):
            file["comparisons/" + column] = np.asarray(values).astype(kind)
        for table, prefix, count in (("items", "i", items), ("annotators", "a", annotators)):
            file[table + "/id"] = np.array([f"{prefix}{i}".encode() for i in range(count)])


def judge(random, prompts, each, discrimination, side_bias):
    """Votes by some annotators on pairs of two responses each, shown on either side: the columns, and the scores."""
    score = random.normal(0, 1.5, 2 * prompts)
    annotator = np.argsort(random.random((prompts, len(discrimination))), axis=1)[:, :each].ravel()
    first = 2 * np.repeat(np.arange(prompts), each)
    swapped = random.random(len(first)) < 0.5
    left, right = first + swapped, first + ~swapped
    chance = logistic(discrimination[annotator] * (score[left] - score[right]) + side_bias[annotator])
    return left, right, annotator, np.where(random.random(len(left)) < chance, 1, -1), score


def fit(name, *arguments):
    told = json.loads(voxpop("fit", path(name), "-o", path("fit.h5"), "--json", *arguments).stdout)
    with h5py.File(path("fit.h5")) as file:
        annotators = {column: data[:] for column, data in file["annotators"].items() if isinstance(data, h5py.Dataset)}
        pairs = {column: data[:] for column, data in file["pairs"].items()}
        right = file["votes/probability_correct"][:]
    return told, annotators, pairs, right


def kinds(told):
    return {finding["kind"] for finding in told["findings"]}


class Unknown(unittest.TestCase):
    def test_coin_tosses_say_nothing(self):
        for seed, side_bias in ((1, 0.0), (2, 0.0), (3, 1.0)):
            random = np.random.default_rng(seed)
            votes = judge(random, 400, 4, np.zeros(30), random.normal(0, side_bias, 30))
            write("coins.h5", *votes[:4], 800, 30)
            for model in ("bt", "crowd-bt", "rater"):
                with self.subTest(model=model, seed=seed):
                    told, annotators, _, right = fit("coins.h5", "--model", model, "--force")
                    self.assertIn("reliability_unknown", kinds(told))
                    self.assertIsNone(told["flip_rate"])
                    self.assertEqual(set(annotators["flag"]), {UNKNOWN})
                    self.assertTrue(np.isnan(annotators["expected_accuracy"]).all())
                    self.assertTrue(np.isnan(right).all())
            shown = voxpop("fit", path("coins.h5"), "-o", path("fit.h5"), "--force").stdout
            self.assertIn("these votes do not show how often votes are right", shown)
            self.assertNotIn("expected to pick the better item", shown)
            exported = voxpop("export", path("fit.h5"), "--format", "csv", "--keep-undecided", "-o", path("rows.csv"))
            self.assertNotIn("label_smoothing=", exported.stdout)
            self.assertIn("Do not train", voxpop("report", path("fit.h5"), "-o", path("page.html")).stdout)

    def test_one_vote_a_pair_says_nothing(self):
        random = np.random.default_rng(4)
        left, right, annotator, preference, _ = judge(random, 500, 1, np.ones(10), np.zeros(10))
        write("single.h5", left, right, annotator, preference, 1000, 10)
        told, annotators, _, _ = fit("single.h5")
        self.assertIn("reliability_unknown", kinds(told))
        self.assertIsNone(told["flip_rate"])
        self.assertEqual(set(annotators["flag"]), {UNKNOWN})

    def test_sound_votes_are_told(self):
        for seed in (5, 6):
            random = np.random.default_rng(seed)
            discrimination = np.exp(random.normal(0, 0.3, 12))
            votes = judge(random, 300, 3, discrimination, random.normal(0, 0.2, 12))
            write("sound.h5", *votes[:4], 600, 12)
            for model in ("bt", "crowd-bt", "rater"):
                told, annotators, pairs, _ = fit("sound.h5", "--model", model)
                self.assertNotIn("reliability_unknown", kinds(told))
                better = pairs["probability_better"]
                truth = votes[4][pairs["left"]] > votes[4][pairs["right"]]
                picked = 1 - told["flip_rate"]
                chosen = np.where(votes[3] > 0, votes[4][votes[0]] > votes[4][votes[1]], votes[4][votes[1]] > votes[4][votes[0]])
                self.assertAlmostEqual(picked, chosen.mean(), delta=0.05)
                self.assertGreater(((better > 0.5) == truth).mean(), 0.75)

    def test_few_who_differ_much_are_told(self):
        """Three or five annotators, the best many times as good as the worst; three alike and one who clicks."""
        for discrimination in ([3, 1, 0.5], [3, 2, 1, 0.5, 0], [1.5, 1.5, 1.5, 0]):
            with self.subTest(discrimination):
                random = np.random.default_rng(7)
                gamma = np.array(discrimination, float)
                votes = judge(random, 1500, len(gamma), gamma, np.where(gamma == 0, 3.0, 0.0))
                write("few.h5", *votes[:4], 3000, len(gamma))
                told, _, pairs, _ = fit("few.h5")
                self.assertNotIn("reliability_unknown", kinds(told))
                truth = votes[4][pairs["left"]] > votes[4][pairs["right"]]
                self.assertGreater(((pairs["probability_better"] > 0.5) == truth).mean(), 0.75)

    def test_nobody_is_ok_by_the_population_alone(self):
        """Of 60 annotators of 40 votes and 40 more of one: these show nothing of themselves."""
        random = np.random.default_rng(7)
        discrimination = np.exp(random.normal(0, 0.2, 60))
        left, right, annotator, preference, score = judge(random, 800, 3, discrimination, np.zeros(60))
        more = np.arange(40)
        left, right = np.r_[left, 2 * more], np.r_[right, 2 * more + 1]
        preference = np.r_[preference, np.where(score[2 * more] > score[2 * more + 1], 1, -1)]
        write("few.h5", left, right, np.r_[annotator, 60 + more], preference, 1600, 100)
        _, annotators, _, _ = fit("few.h5")
        self.assertGreater(np.mean(annotators["flag"][:60] == OK), 0.8)
        self.assertEqual(np.sum(annotators["flag"][60:] == OK), 0)


class NotWhatTheySeem(unittest.TestCase):
    def test_who_always_clicks_left_is_not_ok(self):
        random = np.random.default_rng(1)
        for clickers in (4, 8, 16):  # of 40
            left, right, annotator, preference, _ = judge(
                random, 2000, 5, np.exp(random.normal(0, 0.3, 40)), random.normal(0, 0.2, 40)
            )
            preference[annotator < clickers] = 1
            write("left.h5", left, right, annotator, preference, 4000, 40)
            _, annotators, _, _ = fit("left.h5")
            self.assertEqual(set(annotators["flag"][:clickers]), {SIDE_CLICKER}, clickers)
            self.assertEqual(np.sum(annotators["flag"][clickers:] == SIDE_CLICKER), 0, clickers)
        voxpop("next", path("fit.h5"), "--budget", 500, "--assign", "-o", path("ask.csv"))
        with open(path("ask.csv"), encoding="utf-8") as file:
            asked = {row["annotator"] for row in csv.DictReader(file)}
        self.assertFalse(asked & {f"a{a}" for a in range(clickers)})
        self.assertTrue(asked)

    def turned(self, turned):
        """Pairs right by a cold and by a warm fit of 40 annotators, some of whom vote the other way round today."""
        random = np.random.default_rng(3)
        discrimination, side_bias = np.exp(random.normal(0, 0.3, 40)), random.normal(0, 0.2, 40)
        votes = judge(random, 3000, 5, discrimination, side_bias)
        write("yesterday.h5", *votes[:4], 6000, 40)
        voxpop("fit", path("yesterday.h5"), "-o", path("yesterday_fit.h5"))
        left, right, annotator, preference, score = judge(random, 800, 5, discrimination, side_bias)
        write("today.h5", left, right, annotator, np.where(annotator < turned, -preference, preference), 1600, 40)
        found = []
        for arguments in ((), ("--warm-start", path("yesterday_fit.h5"))):
            told, annotators, pairs, _ = fit("today.h5", *arguments)
            truth = score[pairs["left"]] > score[pairs["right"]]
            found.append(((pairs["probability_better"] > 0.5) == truth).mean())
        return found, told, annotators

    def test_a_warm_start_sees_who_turned(self):
        (cold, warm), told, annotators = self.turned(8)
        self.assertGreater(warm, cold - 0.01)
        self.assertEqual(set(annotators["flag"][:8]), {ADVERSARIAL})
        self.assertEqual(told["warm_start"]["annotators_contradicted"], 8)
        self.assertTrue(any("contradict the estimates in" in warning and "'a0'" in warning for warning in told["warnings"]))

    def test_a_warm_start_blames_nobody_who_stayed(self):
        (cold, warm), told, _ = self.turned(0)
        self.assertGreater(warm, cold - 0.005)
        self.assertEqual(told["warm_start"]["annotators_contradicted"], 0)


if __name__ == "__main__":
    main()
