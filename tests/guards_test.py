"""What the verbs say of votes that are suspicious, from outside: check, fit, evaluate, report and export of the same files.

Usage: python guards_test.py PATH_TO_VOXPOP [unittest arguments]
"""

import json
import unittest

from program import main, path, voxpop  # first: it skips where what follows is missing

import h5py
import numpy as np


def sound(prompts=100, seed=1):
    """Two votes, by different people of eight, on each pair of three responses; the response of lower number is mostly
    better, sides are drawn."""
    random = np.random.default_rng(seed)
    low, high = np.tile(np.repeat([0, 0, 1], 2), prompts), np.tile(np.repeat([1, 2, 2], 2), prompts)
    votes = len(low)
    prompt, swap = np.repeat(np.arange(prompts), 6), random.random(votes) < 0.5
    better_left = ~swap ^ (random.random(votes) < 0.2)
    annotator = (np.repeat(random.integers(8, size=votes // 2), 2) + np.tile([0, 3], votes // 2)) % 8
    return {"left": 3 * prompt + np.where(swap, high, low), "right": 3 * prompt + np.where(swap, low, high),
            "annotator": annotator, "preference": np.where(better_left, 1, -1).astype("i1"), "items": 3 * prompts,
            "annotators": 8}


def write(name, votes, **more):
    with h5py.File(path(name), "w") as file:
        file.attrs["voxpop_schema"] = "comparisons/1"
        columns = {column: data for column, data in votes.items() if column not in ("items", "annotators", "ids")}
        for column, data in (columns | more).items():
            if data is not None:
                file["comparisons/" + column] = data
        ids = votes.get("ids", [f"item {i}" for i in range(votes["items"])])
        file["items/id"] = np.array(ids, dtype=h5py.string_dtype())
        if "annotator" in columns and more.get("annotator", 0) is not None:
            file["annotators/id"] = np.array([f"person {i}" for i in range(votes["annotators"])], dtype=h5py.string_dtype())
    return path(name)


class Everywhere(unittest.TestCase):
    def told(self, votes, kind, level, text, remedy):
        """The finding is in each verb's output, in words and in JSON; returns the report's verdict."""
        def check_json(json_text):
            one = [finding for finding in json.loads(json_text)["findings"] if finding["kind"] == kind]
            self.assertEqual(len(one), 1, json_text)
            self.assertEqual(one[0]["level"], level)
            self.assertRegex(one[0]["text"], text)
            self.assertIn(remedy, one[0]["remedy"])
            return one[0]

        fit = path("odd.fit.h5")
        for verb in ["check", votes], ["fit", votes, "-o", fit, "--force"], ["evaluate", votes, "--models", "bt", "--folds", 2]:
            printed = voxpop(*verb, "--quiet").stdout
            name = {"note": "NOTE", "care": "WARNING", "do_not_train": "DO NOT TRAIN"}[level]
            self.assertRegex(printed, f"\n{name}: {text}")
            self.assertIn(remedy, printed)
            self.assertNotIn("No findings", printed)
            finding = check_json(voxpop(*verb, "--quiet", "--json").stdout)
        with h5py.File(fit) as file:
            provenance = json.loads(file.attrs["provenance"])
        self.assertIn(finding, provenance["findings"])
        self.assertEqual(finding["text"] in provenance["warnings"], level != "note")
        summary = json.loads(voxpop("report", fit, "-o", path("odd.html"), "--json").stdout)
        exported = voxpop("export", fit, "--format", "trl", "--no-prompts", "-o", path("odd.jsonl"))
        self.assertEqual("do not train on these labels yet" in exported.stderr, level == "do_not_train")
        if level == "do_not_train":
            self.assertEqual(summary["verdict"]["level"], "bad")
            self.assertRegex(exported.stderr, text)
        elif level == "care":
            self.assertNotEqual(summary["verdict"]["level"], "good")
        self.assertIn(finding, summary["verdict"]["findings"])
        return summary

    def test_sound_votes(self):
        votes = write("sound.h5", sound())
        self.assertIn("No findings.", voxpop("check", votes).stdout)
        self.assertEqual(json.loads(voxpop("check", votes, "--json").stdout)["findings"], [])
        done = voxpop("fit", votes, "-o", path("sound.fit.h5"))
        self.assertNotIn("WARNING", done.stdout)
        exported = voxpop("export", path("sound.fit.h5"), "--format", "trl", "-o", path("sound.jsonl"))
        self.assertNotIn("do not train", exported.stderr)
        self.assertIn("label_smoothing=0.", exported.stdout)

    def test_codes_of_other_tools(self):
        right = sound()["preference"] < 0
        for codes, listed, remedy in [(right, r"0 \(\d+ times\), 1 \(\d+ times\)", '--map "0=left,1=right"'),
                                      (~right, r"0 \(\d+ times\), 1 \(\d+ times\)", '--map "0=left,1=right"'),
                                      (1 + right, r"1 \(\d+ times\), 2 \(\d+ times\)", '--map "1=left,2=right"'),
                                      (np.where(right, 5, 2), r"2 \(\d+ times\), 5 \(\d+ times\)", "--scale 2..5")]:
            votes = write("odd.h5", sound(), preference=codes.astype("i1"))
            self.told(votes, "foreign_codes", "do_not_train", ".*no vote prefers the right item; the codes are " + listed, remedy)

    def test_the_rewriting_that_is_named_mends_it(self):
        votes = write("odd.h5", sound(), preference=(1 + (sound()["preference"] < 0)).astype("u1"))
        [finding] = json.loads(voxpop("check", votes, "--json").stdout)["findings"]
        code = finding["remedy"].split("in h5py: ")[1].split(" (with the opposite sign")[0]
        with h5py.File(votes, "r+") as file:
            exec(code, {"f": file})
            np.testing.assert_array_equal(file["comparisons/preference"][:], sound()["preference"])
        self.assertEqual(json.loads(voxpop("check", votes, "--json").stdout)["findings"], [])

    def test_the_winner_always_on_the_left(self):
        votes = sound()
        swap = votes["preference"] < 0
        left, right = np.where(swap, votes["right"], votes["left"]), np.where(swap, votes["left"], votes["right"])
        file = write("odd.h5", votes, left=left, right=right, preference=np.ones(600, "i1"))
        self.told(file, "one_sided", "do_not_train", r".*600 of 600 decided votes \(100.0 %\) prefer the left item",
                  "--winner COLUMN --loser COLUMN")
        # The same, said as it is.
        with h5py.File(file, "r+") as opened:
            opened["comparisons"].attrs["sides"] = "unknown"
        printed = voxpop("check", file).stdout
        self.assertNotIn("prefer the left item", printed)
        self.assertNotIn("same side", printed)
        self.assertIn("the votes say who won, but not who was shown on the left", printed)
        self.assertFalse(json.loads(voxpop("check", file, "--json").stdout)["sides_known"])

    def test_one_odd_file_among_sound_ones(self):
        good = write("good.h5", sound(333))
        odd = write("odd.h5", sound(50, seed=2), preference=(sound(50, seed=2)["preference"] < 0).astype("i1"))
        findings = json.loads(voxpop("check", good, odd, "--json").stdout)["findings"]
        self.assertRegex(findings[0]["text"], "odd.h5: no vote prefers the right item")

    def test_times(self):
        seconds = 1_700_000_000 + 60 * np.arange(600)
        self.told(write("odd.h5", sound(), timestamp=1000 * seconds), "times_in_milliseconds", "care",
                  "600 of 600 timestamps are after the year 9999. They look like milliseconds", "t // 1000")
        self.told(write("odd.h5", sound(), timestamp=seconds + 10**9), "times_in_future", "care",
                  "600 of 600 timestamps are in the future", "time zone")
        self.told(write("odd.h5", sound(), timestamp=seconds // 86400), "times_before_2000", "care",
                  "600 of 600 timestamps are before 2000", "seconds since 1970")
        self.told(write("odd.h5", sound(), timestamp=0 * seconds + 1_700_000_000), "times_all_same", "note",
                  "All timestamps are 20", "")

    def test_ids(self):
        ids = [f"item {i}" for i in range(300)]
        ids[7] = "Item 12 "
        self.told(write("odd.h5", sound() | {"ids": ids}), "similar_item_ids", "care", "1 item id differs .*'Item 12 ' and 'item 12'",
                  "each id in one way")

    def test_a_bot(self):
        votes = sound() | {"annotators": 9}
        votes["annotator"][100:200] = 8
        votes["left"][100:200], votes["right"][100:200] = np.tile([0, 1], 50), np.tile([1, 0], 50)
        self.told(write("odd.h5", votes), "repeated_votes", "care", r".*'person 8': 99 of 100 votes are repeats, on one pair",
                  "--repeats all")

    def test_nobody_is_named(self):
        votes = write("odd.h5", sound(), annotator=None, judge_id=np.arange(600) % 8)
        self.told(votes, "no_annotator_named", "care",
                  "The annotators are not known.*'comparisons/judge_id' looks like annotators", "--annotator judge_id")
        self.assertIn(", without annotators: valid", voxpop("check", votes).stdout)

    def test_one_vote_a_pair_says_nothing_about_reliability(self):
        random = np.random.default_rng(1)
        votes = {"left": 2 * np.arange(500), "right": 2 * np.arange(500) + 1, "annotator": np.arange(500) % 10, "items": 1000,
                 "annotators": 10, "preference": random.choice([-1, 1], 500).astype("i1")}
        for name, file in [("nobody", write("odd.h5", votes, annotator=None)), ("named", write("named.h5", votes))]:
            with self.subTest(name):
                summary = self.told(file, "reliability_unknown", "do_not_train", "These votes say nothing about reliability",
                                    "Collect second votes")
                self.assertIsNone(summary["accuracy"])
                printed = voxpop("report", path("odd.fit.h5"), "-o", path("odd.html")).stdout
                self.assertNotIn("can be used", printed)
                self.assertNotIn("expected to pick it", printed)
                self.assertIn("these votes do not show how often votes are right", voxpop("fit", file, "-o", path("odd.fit.h5"), "--quiet").stdout)
                exported = voxpop("export", path("odd.fit.h5"), "--format", "trl", "-o", path("odd.jsonl"))
                self.assertNotIn("label_smoothing=", exported.stdout)
                self.assertIn("come from the prior, not from the data", exported.stdout)
                counts = voxpop("export", path("odd.fit.h5"), "--format", "trl", "-o", path("odd.jsonl"), "--json").stdout
                self.assertIsNone(json.loads(counts)["label_smoothing"])


class Copies(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        # 400 pairs with three of thirty honest votes each, four of five for the better item; and three accounts that say all the same.
        random = np.random.default_rng(3)
        pair = np.concatenate([np.repeat(np.arange(400), 3), np.tile(np.arange(400), 3)])
        annotator = np.concatenate([np.argsort(random.random((400, 30)))[:, :3].ravel(), np.repeat([30, 31, 32], 400)])
        copied = random.random(400) < 0.5
        first = np.concatenate([random.random(1200) < 0.8, np.tile(copied, 3)])
        swap = random.random(2400) < 0.5
        cls.votes = {"left": 2 * pair + swap, "right": 2 * pair + ~swap, "annotator": annotator,
                     "preference": np.where(first ^ swap, 1, -1).astype("i1"), "items": 800, "annotators": 33}
        write("copies.h5", cls.votes)
        some = annotator < 31
        cls.alone = write("alone.h5", {k: v[some] if isinstance(v, np.ndarray) else v for k, v in cls.votes.items()})

    def found(self, *arguments):
        return json.loads(voxpop("fit", path("copies.h5"), "-o", path("copies_fit.h5"), "--json", *arguments).stdout)

    def test_found_flagged_and_told(self):
        for model in ("rater", "bt", "crowd-bt"):
            with self.subTest(model):
                made = self.found("--model", model)
                self.assertEqual([c["annotators"] for c in made["copies"]["clusters"]], [["person 30", "person 31", "person 32"]])
                self.assertEqual([f["level"] for f in made["findings"] if f["kind"] == "copies"], ["care"])
                with h5py.File(path("copies_fit.h5")) as file:
                    np.testing.assert_array_equal(file["annotators/copies"], [-1] * 30 + [0] * 3)
                    flags = h5py.check_enum_dtype(file["annotators/flag"].dtype)
                    np.testing.assert_array_equal(np.array(file["annotators/flag"]) == flags["copies"], [False] * 30 + [True] * 3)
                    margin = file["pairs/margin"][:]
                    self.assertEqual(file["pairs/votes"][:].sum(), 2400)
                voxpop("fit", self.alone, "-o", path("alone_fit.h5"), "--model", model)
                with h5py.File(path("alone_fit.h5")) as file:  # as if one of the accounts had voted
                    np.testing.assert_allclose(margin, file["pairs/margin"][:], atol=0.05)
        told = voxpop("fit", path("copies.h5"), "-o", path("copies_fit.h5")).stdout
        self.assertIn("3 annotators are copies of each other; they count as 1 voter", told)
        self.assertIn("WARNING: 3 annotators (person 30, person 31, person 32) give the same answers", told)
        voxpop("report", path("copies_fit.h5"), "-o", path("copies.html"))

    def test_threads_and_checkpoints_change_nothing(self):
        self.found("--threads", "1")
        with h5py.File(path("copies_fit.h5")) as file:
            before = file["pairs/margin"][:]
        self.found("--threads", "2", "--checkpoint", path("copies.state"))
        with h5py.File(path("copies_fit.h5")) as file:
            np.testing.assert_array_equal(file["pairs/margin"], before)

    def test_one_of_them_alone_is_no_copy(self):
        made = json.loads(voxpop("fit", self.alone, "-o", path("alone_fit.h5"), "--json").stdout)
        self.assertEqual(made["copies"]["clusters"], [])


if __name__ == "__main__":
    main()
