"""What each verb writes and prints for votes with nothing wrong in them: schemas, streams, summaries, bits.

Usage: python verbs_test.py PATH_TO_VOXPOP [unittest arguments]
"""

import json
import math
import os
import shlex
import subprocess
import tempfile

from program import main, scratch, VOXPOP  # first: it skips where what follows is missing
from command_line import (
    CliTest, FLAGS, components_of, normal_cdf, pairs_of, patience, read, read_all, read_provenance, run, succeed,
    wait,
)

import h5py
import numpy as np

try:
    import xxhash
except ImportError:
    xxhash = None


class HappyPath(CliTest):
    """simulate -> check -> fit -> info on 4,500 votes, a tenth of them ties."""

    @classmethod
    def setUpClass(cls):
        cls.home = tempfile.mkdtemp(dir=scratch)
        cls.votes, cls.fit = os.path.join(cls.home, "votes.h5"), os.path.join(cls.home, "a fit.h5")
        cls.simulated = succeed(
            "simulate",
            cls.votes,
            "--prompts",
            500,
            "--responses",
            4,
            "--pairs-per-prompt",
            3,
            "--votes-per-pair",
            3,
            "--annotators",
            30,
            "--ties",
            0.1,
            "--seed",
            7,
        )
        cls.arguments = ["fit", cls.votes, "-o", cls.fit, "--threads", "2", "--seed", "11"]
        cls.fitted = succeed(*cls.arguments)
        cls.left, cls.right, cls.annotator, cls.preference = (
            column.astype(np.int64)
            for column in read(cls.votes, *(f"comparisons/{c}" for c in ("left", "right", "annotator", "preference")))
        )
        cls.pairs, cls.pair_row = pairs_of(cls.left, cls.right)

    def test_simulated_file_follows_the_schema(self):
        with h5py.File(self.votes) as file:
            self.assertEqual(file.attrs["voxpop_schema"], "comparisons/1")
            self.assertEqual(file["comparisons/preference"].dtype, np.int8)
            self.assertEqual(
                {c: file[f"comparisons/{c}"].shape for c in file["comparisons"]},
                {c: (4500,) for c in ("left", "right", "annotator", "preference")},
            )
            self.assertEqual(
                {name: file[name].shape[0] for name in ("items/id", "items/prompt", "prompts/id", "annotators/id")},
                {"items/id": 2000, "items/prompt": 2000, "prompts/id": 500, "annotators/id": 30},
            )
            self.assertEqual(
                {name: file[f"truth/{name}"].shape for name in file["truth"]},
                {"score": (2000,), "discrimination": (30,), "side_bias": (30,), "tie_habit": (30,), "kind": (30,)},
            )
        self.assertAlmostEqual(np.mean(self.preference == 0), 0.1, delta=0.02)

    def test_the_same_seed_gives_the_same_file(self):
        for seed, same in ((7, True), (8, False)):
            again = self.path(f"{seed}.h5")
            succeed(
                "simulate",
                again,
                "--prompts",
                500,
                "--responses",
                4,
                "--pairs-per-prompt",
                3,
                "--votes-per-pair",
                3,
                "--annotators",
                30,
                "--ties",
                0.1,
                "--seed",
                seed,
            )
            self.assertEqual(read_all(again) == read_all(self.votes), same)

    def test_streams(self):
        for result in (
            self.simulated,
            self.fitted,
            succeed("check", self.votes),
            succeed("info", self.fit),
            succeed("devices"),
        ):
            self.assertEqual(result.err, b"")
            self.assertGreater(len(result.out), 20)

    def test_json_parses_and_nothing_else_is_on_stdout(self):
        for arguments in (
            ["simulate", self.path("s.h5"), "--prompts", "10"],
            ["check", self.votes],
            ["fit", self.votes, "-o", self.path("f.h5")],
            ["info", self.votes],
            ["info", self.fit],
            ["devices"],
        ):
            with self.subTest(arguments[0]):
                result = succeed(*arguments, "--json")
                self.assertIsInstance(json.loads(result.out), dict)
                self.assertEqual(result.err, b"")

    def test_check_counts(self):
        counts = json.loads(succeed("check", self.votes, "--json").out)
        size = np.bincount(self.pair_row)
        by_pair_and_annotator = np.unique(np.stack([self.pair_row, self.annotator]), axis=1).shape[1]
        expected = {
            "votes": 4500,
            "ties": int(np.sum(self.preference == 0)),
            "items": 2000,
            "items_without_votes": 2000 - len(np.unique(self.pairs)),
            "annotators": len(np.unique(self.annotator)),
            "pairs": len(self.pairs),
            "pairs_with_one_vote": int(np.sum(size == 1)),
            "components": int(components_of(2000, self.pairs).max() + 1),
            "duplicate_votes": 4500 - by_pair_and_annotator,
        }
        self.assertEqual({name: counts[name] for name in expected}, expected)

    def test_info_lists_every_dataset(self):
        for path, schema in ((self.votes, "comparisons/1"), (self.fit, "fit/1")):
            described = json.loads(succeed("info", path, "--json").out)
            self.assertEqual(described["schema"], schema)
            self.assertEqual(set(described["datasets"]), set(read_all(path)))
            for name, (_, shape, _) in read_all(path).items():
                self.assertIn(f"[{shape[0]}]", described["datasets"][name])
                self.assertIn(name, succeed("info", path).out.decode())
        self.assertEqual(json.loads(succeed("info", self.fit, "--json").out)["provenance"], read_provenance(self.fit))

    def test_info_of_an_unknown_schema(self):
        path = self.path("later.h5")
        with h5py.File(path, "w") as file:
            file.attrs["voxpop_schema"] = "fit/9"
        self.assert_one_line(run("info", path), 3, path, "fit/9")

    def test_info_of_text_that_is_not_utf8_or_not_json(self):
        """In names, attributes and the path: text comes out as it is, JSON stays JSON."""
        path = os.path.join(self.folder.encode(), b"caf\xe9.h5")
        for provenance in (b"{\xff", "{" * 60_000):
            with h5py.File(path, "w") as file:
                file.attrs["voxpop_schema"], file.attrs["provenance"] = "comparisons/1", provenance
                file[b"na\xefve"] = [1, 2]
            for option in ([], ["--json"]):
                with tempfile.TemporaryFile() as out:
                    code, _ = wait(
                        subprocess.Popen([VOXPOP.encode(), b"info", path, *(o.encode() for o in option)], stdout=out),
                        patience,
                    )
                    out.seek(0)
                    text = out.read()
                    self.assertEqual(code, 0)
                    self.assertIn(b"int64 [2]", text)
                    if option:
                        json.loads(text)

    def test_fit_schema(self):
        items, annotators, pairs, votes = 2000, 30, len(self.pairs), 4500
        expected = {}  # name -> (dtype kind or dtype, rows)
        expected |= {
            f"items/{c}": (k, items)
            for c, k in {"id": "S", "score": "f", "std_error": "f", "votes": "iu", "component": "iu"}.items()
        }
        expected |= {
            f"annotators/{c}": ("f", annotators)
            for c in (
                "discrimination",
                "discrimination_se",
                "side_bias",
                "side_bias_se",
                "agreement",
                "expected_accuracy",
                "bits_per_vote",
                "flag_probability",
            )
        }
        expected |= {
            "annotators/id": ("S", annotators),
            "annotators/votes": ("iu", annotators),
            "annotators/flag": ("i", annotators),
            "annotators/copies": ("i", annotators),
        }
        expected |= {f"pairs/{c}": ("iu", pairs) for c in ("left", "right", "votes")}
        expected |= {f"pairs/{c}": ("f", pairs) for c in ("wins_left", "margin", "margin_se", "information_gain")}
        expected |= {f"pairs/{c}": ("float32", pairs) for c in ("probability", "probability_better")}
        expected |= {"votes/probability_correct": ("float32", votes)}
        with h5py.File(self.fit) as file:
            self.assertEqual(file.attrs["voxpop_schema"], "fit/1")
            for name, (kind, rows) in expected.items():
                with self.subTest(name):
                    dataset = file[name]
                    self.assertEqual(dataset.shape, (rows,))
                    if kind == "S":
                        self.assertIsNotNone(h5py.check_string_dtype(dataset.dtype))
                    elif kind == "float32":
                        self.assertEqual(dataset.dtype, np.float32)
                    else:
                        self.assertIn(dataset.dtype.kind, kind)
            labels = h5py.check_enum_dtype(file["annotators/flag"].dtype)
            self.assertEqual(sorted(labels, key=labels.get), FLAGS)
            self.assertTrue(set(file["annotators/flag"][()]) <= set(labels.values()))

    def test_large_datasets_are_compressed_unless_told_otherwise(self):
        plain = self.path("plain.h5")
        succeed("fit", self.votes, "-o", plain, "--no-compress")
        with h5py.File(self.fit) as packed, h5py.File(plain) as loose:
            for name in ("pairs/left", "pairs/probability", "votes/probability_correct"):
                dataset = packed[name]
                self.assertEqual(
                    (dataset.compression, dataset.compression_opts, dataset.shuffle), ("gzip", 1, True), name
                )
                self.assertIsNone(loose[name].compression, name)
                self.assertLess(dataset.id.get_storage_size(), loose[name].id.get_storage_size(), name)
        self.assertEqual(read_all(plain), read_all(self.fit))

    def test_ids_are_the_inputs(self):
        for name in ("items/id", "annotators/id"):
            self.assertEqual(read(self.fit, name).tolist(), read(self.votes, name).tolist())

    def test_pairs(self):
        left, right, votes, wins = read(self.fit, "pairs/left", "pairs/right", "pairs/votes", "pairs/wins_left")
        self.assertTrue(np.all(left < right))
        np.testing.assert_array_equal(np.stack([left, right], axis=1), self.pairs)
        np.testing.assert_array_equal(votes, np.bincount(self.pair_row))
        self.assertEqual(votes.sum(), 4500)
        for_low = np.where(self.left < self.right, self.preference, -self.preference)
        np.testing.assert_array_equal(wins, np.bincount(self.pair_row, weights=(1 + for_low) / 2))

    def test_probabilities(self):
        probability, better, margin, se, gain = read(
            self.fit,
            "pairs/probability",
            "pairs/probability_better",
            "pairs/margin",
            "pairs/margin_se",
            "pairs/information_gain",
        )
        self.assertTrue(np.all((probability > 0) & (probability < 1) & (se > 0)))
        np.testing.assert_allclose(better, normal_cdf(margin.astype(float) / se), atol=1e-5)
        # The reference annotator's vote over the posterior N(margin, se^2): 40-point Gauss-Hermite.
        nodes, weights = np.polynomial.hermite_e.hermegauss(40)
        logits = margin[:, None].astype(float) + se[:, None] * nodes
        expected = (1 / (1 + np.exp(-logits))) @ (weights / weights.sum())
        np.testing.assert_allclose(probability, expected, atol=2e-3)
        self.assertTrue(np.all((gain >= 0) & (gain <= 1)))
        scores = read(self.fit, "items/score")
        np.testing.assert_allclose(margin, scores[self.pairs[:, 0]] - scores[self.pairs[:, 1]], atol=1e-4)

    def test_votes_are_in_input_order(self):
        correct, better = read(self.fit, "votes/probability_correct", "pairs/probability_better")
        np.testing.assert_array_equal(np.isnan(correct), self.preference == 0)
        low_won = (self.left < self.right) == (self.preference > 0)
        of_vote = better[self.pair_row]
        decided = self.preference != 0
        np.testing.assert_allclose(correct[decided], np.where(low_won, of_vote, 1 - of_vote)[decided], atol=1e-6)

    def test_items(self):
        votes, component, score, error = read(
            self.fit, "items/votes", "items/component", "items/score", "items/std_error"
        )
        counted = np.bincount(self.left, minlength=2000) + np.bincount(self.right, minlength=2000)
        np.testing.assert_array_equal(votes, counted)
        np.testing.assert_array_equal(component, components_of(2000, self.pairs))
        self.assertTrue(np.all(error > 0))
        np.testing.assert_array_equal(score[votes == 0], 0)
        voted = component >= 0
        centres = np.bincount(component[voted], weights=score[voted]) / np.bincount(component[voted])
        np.testing.assert_allclose(centres, 0, atol=1e-4)

    def test_annotators(self):
        names = (
            "votes",
            "discrimination",
            "discrimination_se",
            "side_bias_se",
            "agreement",
            "expected_accuracy",
            "bits_per_vote",
            "flag_probability",
        )
        votes, discrimination, se, side_se, agreement, accuracy, bits, probability = read(
            self.fit, *(f"annotators/{n}" for n in names)
        )
        np.testing.assert_array_equal(votes, np.bincount(self.annotator, minlength=30))
        active = votes > 0
        self.assertTrue(np.all((se[active] > 0) & (side_se[active] > 0)))
        for share in (agreement, accuracy, bits, probability):
            self.assertTrue(np.all((share[active] >= 0) & (share[active] <= 1)))
        self.assertAlmostEqual(np.median(discrimination[votes >= 50]), 1, places=4)  # the reference annotator
        correct = read(self.fit, "votes/probability_correct").astype(float)
        decided = ~np.isnan(correct)
        sums = np.bincount(self.annotator[decided], weights=correct[decided], minlength=30)
        counts = np.bincount(self.annotator[decided], minlength=30)
        np.testing.assert_allclose(accuracy[counts > 0], sums[counts > 0] / counts[counts > 0], atol=1e-4)

    def test_provenance(self):
        told = read_provenance(self.fit)
        self.assertEqual(f"voxpop {told['version']}\n", succeed("--version").out.decode())
        self.assertEqual(shlex.split(told["command_line"]), [VOXPOP, *self.arguments])
        (source,) = told["inputs"]
        self.assertEqual((source["path"], source["bytes"]), (self.votes, os.path.getsize(self.votes)))
        self.assertRegex(source["xxh3"], "^[0-9a-f]{16}$")
        if xxhash is not None:
            with open(self.votes, "rb") as file:
                self.assertEqual(source["xxh3"], xxhash.xxh3_64_hexdigest(file.read()))
        self.assertEqual((told["model"], told["threads"], told["seed"], told["converged"]), ("rater", 2, 11, True))
        self.assertRegex(told["device"], "^cpu")
        self.assertGreater(told["iterations"], 1)
        self.assertLess(told["log_evidence"], 0)
        self.assertGreater(told["log_evidence"], -4500 * math.log(4))
        for name, value in told["hyperparameters"].items():
            self.assertTrue(math.isfinite(value), name)
        for phase in ("read", "group", "fit", "label"):
            self.assertGreaterEqual(told["seconds"][phase], 0)
            self.assertGreaterEqual(told["seconds"]["cpu"][phase] + 1e-3, told["seconds"]["main_thread"][phase])
        for kind in (told["seconds"], told["seconds"]["cpu"], told["seconds"]["main_thread"]):
            phases = [value for name, value in kind.items() if name != "total" and not isinstance(value, dict)]
            self.assertEqual(len(phases), 6)
            self.assertAlmostEqual(kind["total"], sum(phases))

    def test_json_summary_is_the_provenance_and_more(self):
        output = self.path("fit.h5")
        summary = json.loads(succeed("fit", self.votes, "-o", output, "--json").out)
        told = read_provenance(output)
        for name in told:
            if name != "seconds":
                self.assertEqual(summary[name], told[name], name)
        self.assertEqual(summary["output"], output)
        flag = read(output, "annotators/flag")[read(output, "annotators/votes") > 0]
        self.assertEqual(summary["flags"], {FLAGS[f]: int(np.sum(flag == f)) for f in np.unique(flag)})

    def test_threads_do_not_change_a_bit(self):
        arena = self.path("arena.h5")
        succeed(
            "simulate",
            arena,
            "--shape",
            "arena",
            "--prompts",
            3000,
            "--responses",
            40,
            "--annotators",
            20,
            "--ties",
            0.2,
        )
        chain = self.path("chain.h5")
        succeed("simulate", chain, "--shape", "chain", "--prompts", 100, "--annotators", 20)
        for votes in (self.votes, arena, chain):
            for model in ("rater", "bt"):
                with self.subTest(os.path.basename(votes), model=model):
                    one, two = self.path("one.h5"), self.path("two.h5")
                    for threads, output in ((1, one), (2, two)):
                        succeed("fit", votes, "-o", output, "--threads", threads, "--model", model)
                    first, second = read_all(one), read_all(two)
                    self.assertEqual([name for name in first if first[name] != second.get(name)], [])
                    self.assertEqual(set(first), set(second))

    def test_ties_are_an_answer_of_their_own(self):
        model, half = self.path("model.h5"), self.path("half.h5")
        succeed("fit", self.votes, "-o", model, "--ties", "model")
        self.assertEqual(read_all(model), read_all(self.fit))  # the default
        habit, se = read(model, "annotators/tie_habit", "annotators/tie_habit_se")
        self.assertTrue(np.all((habit > 0) & (habit < 1)), habit)
        self.assertTrue(np.all(se > 0), se)
        succeed("fit", self.votes, "-o", half, "--ties", "half")
        with h5py.File(half) as file:
            self.assertNotIn("annotators/tie_habit", file)
        self.assertFalse(np.array_equal(*(read(f, "pairs/probability")[0] for f in (model, half))))

    def test_evaluate(self):
        gold = self.path("gold.csv")
        with open(gold, "w", encoding="utf-8") as file:
            file.write("item,gold\n")
            for item, score in zip(*read(self.votes, "items/id", "truth/score")):
                file.write(f"{item.decode()},{score}\n")
        told = json.loads(succeed("evaluate", self.votes, "--folds", "3", "--holdout", gold, "--json").out)
        self.assertEqual(list(told["models"]), ["majority", "bt", "crowd-bt", "rater"])
        self.assertEqual(told["decided_votes"], int(np.sum(self.preference != 0)))
        rater, majority = told["models"]["rater"], told["models"]["majority"]
        self.assertLess(rater["log_loss"]["value"], majority["log_loss"]["value"])
        self.assertEqual(sum(b["votes"] for b in rater["reliability"]), told["decided_votes"])
        (difference,) = [
            d for d in told["log_loss_differences"] if (d["model"], d["minus"]) == ("rater", "bt")
        ]
        self.assertAlmostEqual(
            difference["value"], rater["log_loss"]["value"] - told["models"]["bt"]["log_loss"]["value"], places=9
        )
        order = {row["model"]: row["order"]["accuracy"] for row in told["gold"]}
        self.assertGreater(order["rater"], order["majority"])
        shown = succeed("evaluate", self.votes, "--models", "bt,rater").out.decode()
        for part in ("majority", "minus bt", "reliability"):
            self.assertIn(part, shown)

    def test_evaluate_by_block(self):
        """Of six items each annotator has judged many pairs that share items, so that blocks hold all votes."""
        arena = self.path("arena.h5")
        succeed("simulate", arena, "--shape", "arena", "--prompts", 600, "--responses", 6, "--annotators", 60)
        models = ("--models", "bt", "--folds", "3", "--json")
        told = json.loads(succeed("evaluate", arena, *models).out)
        self.assertEqual(told["folds_by"], "block")
        self.assertGreater(told["votes_in_blocks"], 0.9)
        asked = {by: json.loads(succeed("evaluate", arena, "--folds-by", by, *models).out) for by in ("vote", "block")}
        for by, one in asked.items():
            self.assertEqual(one["folds_by"], by)
            self.assertNotIn("by_vote", one)
        self.assertEqual(told["models"], asked["block"]["models"])
        self.assertEqual(told["by_vote"]["models"], asked["vote"]["models"])
        self.assertNotEqual(told["models"], told["by_vote"]["models"])
        shown = succeed("evaluate", arena, "--models", "bt", "--folds", "3").out.decode()
        self.assertIn("folds by block", shown)
        self.assertIn("by vote, predicted also from the annotator's own votes", shown)
        by_vote = succeed("evaluate", self.votes, "--models", "bt", "--folds", "2").out.decode()
        self.assertIn("folds by vote", by_vote)
        fit = self.path("fit.h5")
        succeed("fit", arena, "-o", fit, "--calibrate")
        self.assertEqual(read_provenance(fit)["calibration"]["folds_by"], "block")
        self.assert_one_line(run("evaluate", self.votes, "--holdout", self.path("none.csv")), 4, "none.csv")

    def test_drift_and_bursts(self):
        votes, fit = self.path("votes.h5"), self.path("fit.h5")
        succeed(
            *("simulate", votes, "--prompts", "3000", "--annotators", "20", "--mix", "good=1", "--days", "3000"),
            *("--drift", ".2", "--bursts", ".1", "--seed", "5", "--quiet"),
        )
        told = json.loads(succeed("fit", votes, "-o", fit, "--json").out)["drift"]
        with h5py.File(fit) as f, h5py.File(votes) as v:
            windows = {name: column[:] for name, column in f["annotators/windows"].items()}
            drifts = np.flatnonzero(v["truth/drifts"][:])
            bursting = {v["annotators/id"].asstr()[a] for a in np.flatnonzero(v["truth/bursts"][:])}
            when, annotator = v["comparisons/timestamp"][:], v["comparisons/annotator"][:]
            names = v["annotators/id"].asstr()[:]
        self.assertTrue({row["annotator"] for row in told["changed"]} <= {names[a] for a in drifts})
        self.assertGreaterEqual(len(told["changed"]), len(drifts) - 1)
        counted = np.bincount(windows["annotator"], weights=windows["votes"], minlength=20)
        np.testing.assert_array_equal(counted, np.bincount(annotator, minlength=20))
        first = np.flatnonzero(np.diff(windows["annotator"], prepend=-1))
        for row, a in zip(first, windows["annotator"][first]):
            self.assertEqual(windows["start"][row], when[annotator == a].min())
        self.assertEqual({b["annotator"] for b in json.loads(succeed("check", votes, "--json").out)["bursts"]}, bursting)
        self.assertIn("bursts", succeed("check", votes).out.decode())

    def test_crowd_bt(self):
        output = self.path("fit.h5")
        succeed("fit", self.votes, "-o", output, "--model", "crowd-bt")
        eta, error, discrimination = read(
            output, "annotators/eta", "annotators/eta_se", "annotators/discrimination"
        )
        self.assertTrue(np.all((eta > 0) & (eta < 1) & (error > 0)))
        self.assertTrue(np.any(eta < 0.5))  # there are adversaries
        self.assertTrue(np.all(np.argsort(eta) == np.argsort(discrimination)))
        succeed("fit", self.votes, "-o", output, "--model", "crowd-bt", "--no-adversaries")
        self.assertTrue(np.all(read(output, "annotators/eta")[0] >= 0.5))

    def test_lapse_is_no_model_any_more(self):
        for command in ["fit", self.votes, "-o", self.path("fit.h5"), "--model", "lapse"], ["evaluate", self.votes, "--models", "bt,lapse"]:
            self.assert_one_line(run(*command), 2, "use rater")

    def test_ties_drop(self):
        output = self.path("fit.h5")
        succeed("fit", self.votes, "-o", output, "--ties", "drop")
        decided = self.preference != 0
        pairs, row = pairs_of(self.left[decided], self.right[decided])
        left, right, votes, wins, correct = read(
            output, "pairs/left", "pairs/right", "pairs/votes", "pairs/wins_left", "votes/probability_correct"
        )
        np.testing.assert_array_equal(np.stack([left, right], axis=1), pairs)
        np.testing.assert_array_equal(votes, np.bincount(row))
        low_won = (self.left < self.right) == (self.preference > 0)
        np.testing.assert_array_equal(wins, np.bincount(row, weights=low_won[decided]))
        np.testing.assert_array_equal(np.isnan(correct), ~decided)
        np.testing.assert_array_equal(
            read(output, "annotators/votes"), np.bincount(self.annotator[decided], minlength=30)
        )
        told = read_provenance(output)
        self.assertEqual((told["ties"], told["votes"], told["votes_counted"]), ("drop", 4500, int(decided.sum())))

    def test_bradley_terry(self):
        output = self.path("fit.h5")
        summary = json.loads(succeed("fit", self.votes, "-o", output, "--model", "bt", "--json").out)
        self.assertEqual(summary["model"], "bt")
        np.testing.assert_allclose(read(output, "annotators/discrimination"), 1, atol=1e-6)
        np.testing.assert_array_equal(read(output, "annotators/side_bias"), 0)
        np.testing.assert_array_equal(read(output, "annotators/flag"), 0)
        self.assertEqual(set(read_all(output)), set(read_all(self.fit)))

    def test_strict(self):
        for older in (None, b"older output"):
            folder = tempfile.mkdtemp(dir=self.folder)
            output = os.path.join(folder, "out.h5")
            if older is not None:
                with open(output, "wb") as file:
                    file.write(older)
            self.assert_one_line(
                run("fit", self.votes, "-o", output, "--strict", "--max-iterations", 1), 5, "not converged"
            )
            self.assert_untouched(folder, older)
        succeed("fit", self.votes, "-o", self.path("strict.h5"), "--strict")
        succeed("fit", self.votes, "-o", self.path("loose.h5"), "--max-iterations", 1)
        self.assertIs(read_provenance(self.path("loose.h5"))["converged"], False)

    def test_new_output_replaces_the_old_one(self):
        output = self.write_bytes("fit.h5", b"older output")
        succeed("fit", self.votes, "-o", output, "--threads", 2)
        self.assertEqual(read_all(output), read_all(self.fit))
        self.assertEqual(os.listdir(self.folder), ["fit.h5"])

    def test_output_has_the_mode_of_any_new_file(self):
        output = self.path("fit.h5")
        succeed("fit", self.votes, "-o", output, preexec_fn=lambda: os.umask(0o027))
        self.assertEqual(os.stat(output).st_mode & 0o777, 0o640)


if __name__ == "__main__":
    main()
