"""Fits that start from an earlier one, and files that are no fit to start from.

Usage: python warm_start_test.py PATH_TO_VOXPOP [unittest arguments]
"""

import json
import os
import shutil
import tempfile

from program import main, scratch  # first: it skips where what follows is missing
from command_line import CliTest, read, read_all, read_provenance, run, start, succeed, write_votes

import h5py
import numpy as np

try:
    import xxhash
except ImportError:
    xxhash = None


class WarmStart(CliTest):
    """A tenth of 9,000 votes is today's; annotators 0 to 4 did not vote before, annotator 5 is not in the old file."""

    @classmethod
    def setUpClass(cls):
        cls.home = tempfile.mkdtemp(dir=scratch)
        cls.all, cls.before, cls.today, cls.old = (
            os.path.join(cls.home, name) for name in ("all.h5", "before.h5", "today.h5", "old.h5")
        )
        succeed(
            "simulate",
            cls.all,
            "--prompts",
            1000,
            "--pairs-per-prompt",
            3,
            "--votes-per-pair",
            3,
            "--annotators",
            40,
            "--ties",
            0.1,
            "--features",
            1,
            "--taste-sd",
            0.3,
            "--seed",
            4,
        )
        names = [f"comparisons/{c}" for c in ("left", "right", "annotator", "preference")]
        names += ["items/id", "items/prompt", "items/features", "prompts/id", "annotators/id"]
        columns = dict(zip(names, read(cls.all, *names)))
        prompt = columns["items/prompt"][columns["comparisons/left"]]
        is_new = prompt % 10 == 0
        stranger = columns["comparisons/annotator"] < 5
        for path, rows in ((cls.before, ~is_new & ~stranger), (cls.today, is_new)):
            part = {name: column[rows] if name in names[:4] else column for name, column in columns.items()}
            if path == cls.before:
                part["annotators/id"] = part["annotators/id"].copy()
                part["annotators/id"][5] = b"someone else"
            write_votes(path, part)
        succeed("fit", cls.before, "-o", cls.old)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.home)

    def fit(self, *options, old=None, name="new.h5"):
        succeed("fit", self.today, "-o", self.path(name), "--warm-start", old or self.old, *options)
        return self.path(name)

    def test_provenance(self):
        result = succeed("fit", self.today, "-o", self.path("new.h5"), "--warm-start", self.old)
        told, votes = read_provenance(self.path("new.h5")), read(self.path("new.h5"), "annotators/votes")
        start = told["warm_start"]
        known = int(np.sum(votes[6:] > 0))
        unknown = int(np.sum(votes[:6] > 0))
        self.assertGreater(unknown, 0)
        self.assertEqual((start["path"], start["bytes"]), (self.old, os.path.getsize(self.old)))
        self.assertEqual((start["annotators_known"], start["annotators_new"]), (known, unknown))
        if xxhash is not None:
            with open(self.old, "rb") as file:
                self.assertEqual(start["xxh3"], xxhash.xxh3_64_hexdigest(file.read()))
        self.assertIn(f"started from {self.old}: {known} annotators are known there, {unknown} are new\n", result.out.decode())
        self.assertIn("warm_start", succeed("info", self.path("new.h5")).out.decode())
        before = read_provenance(self.old)
        self.assertEqual(told["thresholds"], before["thresholds"])
        for name, value in told["hyperparameters"].items():
            if name != "prompt_tie_habit_logit_sd":  # prompts are today's own
                self.assertAlmostEqual(value, before["hyperparameters"][name], delta=1e-12, msg=name)
        self.assertNotIn("warm_start", before)

    def test_known_annotators_stay_near_their_priors(self):
        """Their errors shrink, and they move by no more than the errors of before allow."""
        names = [f"annotators/{c}" for c in ("discrimination", "discrimination_se", "side_bias", "side_bias_se")]
        before, after, votes = read(self.old, *names), read(self.fit(), *names), read(self.fit(), "annotators/votes")
        some = votes > 0
        some[:6] = False
        for k in (0, 2):
            self.assertTrue(np.all(after[k + 1][some] <= before[k + 1][some] * 1.1))
            self.assertLess(np.max(np.abs(after[k] - before[k])[some] / before[k + 1][some]), 3)
        absent = np.flatnonzero(votes[6:] == 0) + 6
        for k in range(4):
            np.testing.assert_allclose(after[k][absent], before[k][absent], rtol=1e-4)

    def test_every_model(self):
        for model in ("bt", "crowd-bt", "rater"):
            old = self.path(f"{model}.h5")
            succeed("fit", self.before, "-o", old, "--model", model)
            new = self.fit("--model", model, "--strict", old=old, name=f"{model}-new.h5")
            before, after = (read_provenance(path)["hyperparameters"] for path in (old, new))
            for name, value in before.items():
                if name == "prompt_tie_habit_logit_sd":
                    continue  # prompts are today's own
                self.assertAlmostEqual(after[name], value, delta=1e-12, msg=f"{model} {name}")

    def test_calibrate(self):
        new = self.fit("--calibrate")
        self.assertGreater(read_provenance(new)["calibration"]["held_out_votes"], 0)

    def test_a_day_with_other_answers(self):
        for option, needle in ((["--ties", "half"], b"thresholds"), (["--ignore", "features"], b"features")):
            result = succeed("fit", self.today, "-o", self.path("new.h5"), "--warm-start", self.old, *option)
            self.assertRegex(result.out, b"WARNING: .*" + needle)
        result = succeed("fit", self.today, "-o", self.path("new.h5"), "--warm-start", self.old)
        self.assertNotRegex(result.out, b"WARNING: .*(thresholds|features)")

    def test_votes_that_count_twice(self):
        result = succeed("fit", self.before, "-o", self.path("new.h5"), "--warm-start", self.old)
        self.assertIn(b"count twice", result.out)
        self.assertTrue(any("count twice" in warning for warning in read_provenance(self.path("new.h5"))["warnings"]))

    def test_annotators_who_do_not_vote_today_are_told(self):
        result = succeed("fit", self.today, "-o", self.path("new.h5"), "--warm-start", self.old)
        absent = int(np.sum((read(self.old, "annotators/votes") > 0)[6:] & (read(self.path("new.h5"), "annotators/votes") == 0)[6:]))
        absent += 1  # and the one who is called otherwise there
        self.assertIn(f"{absent} of ".encode(), result.out)
        self.assertIn(b"have no vote here", result.out)

    def test_threads_do_not_change_a_bit(self):
        self.assertEqual(read_all(self.fit("--threads", 1)), read_all(self.fit("--threads", 2, name="other.h5")))

    def test_checkpoint(self):
        kept = self.fit("--checkpoint", self.path("half.h5"), "--checkpoint-every", 0, name="kept.h5")
        self.assertEqual(read_all(kept), read_all(self.fit()))

    def test_a_chain_in_one_file(self):
        fit = self.path("fit.h5")
        shutil.copyfile(self.old, fit)
        succeed("fit", self.today, "-o", fit, "--warm-start", fit)
        self.assertEqual(read_all(fit), read_all(self.fit()))
        self.assertEqual(read_provenance(fit)["warm_start"]["bytes"], os.path.getsize(self.old))

    def test_what_is_no_fit_to_start_from(self):
        out = self.path("new.h5")

        def refuse(old, code, *needles):
            self.assert_one_line(run("fit", self.today, "-o", out, "--warm-start", old), code, old, *needles)
            self.assertFalse(os.path.exists(out))

        refuse(self.today, 3, "comparisons/1", "it must be a fit")
        refuse(self.path("none.h5"), 4)
        refuse(self.write_bytes("text.h5", b"left,right\n"), 3)
        model = self.path("bt.h5")
        succeed("fit", self.before, "-o", model, "--model", "bt")
        refuse(model, 3, "model bt", "model rater")
        older = self.path("older.h5")
        for key in ("hyperparameters", "strengths", "thresholds", "model"):
            shutil.copyfile(self.old, older)
            with h5py.File(older, "r+") as file:
                told = json.loads(file.attrs["provenance"])
                del told[key]
                file.attrs["provenance"] = json.dumps(told)
            refuse(older, 3, key)
        with h5py.File(older, "r+") as file:
            told = read_provenance(self.old)
            told["hyperparameters"]["side_bias_sd"] = 0
            file.attrs["provenance"] = json.dumps(told)
        refuse(older, 3, "population")

        def change(**values):
            told = read_provenance(self.old)
            told.update(values)
            shutil.copyfile(self.old, older)
            with h5py.File(older, "r+") as file:
                file.attrs["provenance"] = json.dumps(told)

        hyperparameters = read_provenance(self.old)["hyperparameters"]
        for key, value, needle in (
            ("discrimination_mean", 1e300, "population"),
            ("discrimination_mean", 0, "population"),
            ("discrimination_sd", 1e-200, "population"),
            ("side_bias_sd", 1e30, "population"),
            ("reference_discrimination", 1e-30, "reference_discrimination"),
            ("reference_discrimination", 1e300, "reference_discrimination"),
        ):
            with self.subTest(key, value=value):
                change(hyperparameters=hyperparameters | {key: value})
                refuse(older, 3, needle, "impossible")
        for strengths, thresholds in (([1], [-1.0]), ([1, 2], [0.5, 0.5]), ([1, 2], [0.5, 1e300]), ([1, 2], [])):
            with self.subTest(thresholds=thresholds):
                change(strengths=strengths, thresholds=thresholds)
                refuse(older, 3, "thresholds", "impossible")
        change(strengths=[1e300], thresholds=[])  # none of these votes' answers: the fit finds its own thresholds
        succeed("fit", self.today, "-o", out, "--warm-start", older)

    def test_provenance_of_another_kind(self):
        fit = self.path("odd.h5")
        for changes in (
            {"converged": "yes"},
            {"converged": False, "iterations": "many"},
            {"model": 3},
            {"warnings": "none"},
            {"reliability": {"method": 3}},
            {"reliability": []},
        ):
            with self.subTest(**changes):
                told = read_provenance(self.old) | changes
                shutil.copyfile(self.old, fit)
                with h5py.File(fit, "r+") as file:
                    file.attrs["provenance"] = json.dumps(told)
                result = run("report", fit, "-o", self.path("report.html"))
                if "reliability" in changes and not changes["reliability"]:
                    self.assertEqual(result.code, 0, result.err)  # it has no method, that is all
                else:
                    self.assert_one_line(result, 3, fit, "provenance", "copy the file again")


if __name__ == "__main__":
    main()
