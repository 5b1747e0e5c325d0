"""`voxpop evaluate` from outside: gold labels, interrupts, and votes that are all of one pair.

Usage: python evaluate_test.py PATH_TO_VOXPOP [unittest arguments]
"""

import json
import signal
import subprocess
import time
import unittest

from program import VOXPOP, h5py, main, numpy as np, path, voxpop


def setUpModule():
    voxpop("simulate", path("votes.h5"), "--prompts", 60, "--annotators", 20)


def evaluate(*arguments, status=0):
    done = voxpop("evaluate", path("votes.h5"), "--models", "bt", "--folds", 2, "--quiet", *arguments, status=status)
    return done.stderr if status else done.stdout


def write_gold(text):
    with open(path("gold.csv"), "w") as file:
        file.write(text)
    return "--holdout", path("gold.csv")


def write_one_pair(name, count):
    """Votes on two items by 20 annotators, each vote with an annotator and an answer drawn for it."""
    rng = np.random.default_rng(1)
    with h5py.File(path(name), "w") as file:
        file.attrs["voxpop_schema"] = "comparisons/1"
        file["comparisons/left"] = np.zeros(count, "u4")
        file["comparisons/right"] = np.ones(count, "u4")
        file["comparisons/annotator"] = rng.integers(0, 20, count).astype("u4")
        file["comparisons/preference"] = np.where(rng.random(count) < 0.7, 1, -1).astype("i1")
        file["items/id"] = [b"a", b"b"]
        file["annotators/id"] = [b"%d" % a for a in range(20)]
    return path(name)


class GoldTest(unittest.TestCase):
    def test_a_pair_counts_once(self):
        """However often and in whichever order it is given."""
        once = write_gold("left,right,preference\np0/r0,p0/r1,left\np1/r0,p1/r1,right\n")
        expected = json.loads(evaluate(*once, "--json"))
        often = write_gold(
            "left,right,preference\np0/r0,p0/r1,left\np1/r0,p1/r1,right\np0/r1,p0/r0,right\n"
            "p0/r0,p0/r1,1\np1/r1,p1/r0,left\n"
        )
        told = json.loads(evaluate(*often, "--json"))
        self.assertEqual(told["gold"], expected["gold"])
        self.assertEqual(told["gold"][0]["pairs"]["compared"], 2)
        self.assertEqual(told["gold_rows"], {"unknown": 0, "repeated": 3, "ties": 0, "apart": 0})
        self.assertIn("3 rows repeat an earlier row and do not count", evaluate(*often))

    def test_an_item_counts_once(self):
        told = json.loads(evaluate(*write_gold("item,gold\np0/r0,1\np0/r1,2\np0/r0,1.0\n"), "--json"))
        self.assertEqual([row["order"]["item_pairs"] for row in told["gold"]], [1, 1])
        self.assertEqual(told["gold_rows"]["repeated"], 1)

    def test_rows_that_contradict_each_other(self):
        pairs = "left,right,preference\np0/r0,p0/r1,left\n"
        for rows, pattern in (
            (pairs + "p0/r0,p0/r1,right\n", "lines 2 and 3 give different answers for 'p0/r0' and 'p0/r1'"),
            (pairs + "p0/r1,p0/r0,left\n", "lines 2 and 3 give different answers for 'p0/r1' and 'p0/r0'"),
            (pairs + "p0/r0,p0/r1,tie\n", "lines 2 and 3 give different answers"),
            ("item,gold\np0/r0,1\np0/r0,2\n", "lines 2 and 3 give 'p0/r0' different values"),
            ("item,rank\np0/r0,1\np0/r1,2\np0/r0,3\n", "lines 2 and 4 give 'p0/r0' different values"),
        ):
            with self.subTest(rows):
                self.assertIn(pattern, evaluate(*write_gold(rows), status=3))

    def test_an_item_against_itself(self):
        for row in ("p0/r0,p0/r0,left", "p0/r0, p0/r0,tie", "nobody,nobody,left"):
            with self.subTest(row):
                text = evaluate(*write_gold(f"left,right,preference\np0/r0,p0/r1,left\n{row}\n"), status=3)
                self.assertRegex(text, "gold.csv: line 3: '(p0/r0|nobody)' is compared with itself")

    def test_items_that_no_votes_compare(self):
        rows = "left,right,preference\np0/r0,p1/r1,left\np2/r0,p3/r0,left\n"
        shown = evaluate(*write_gold(rows))
        self.assertIn("2 gold pairs left out, because no votes connect their items", shown)
        self.assertIn("no gold pair is compared", shown)
        self.assertIn("WARNING: None of the 2 gold pairs is compared", shown)
        told = json.loads(evaluate(*write_gold(rows), "--json"))
        self.assertEqual(told["gold_rows"]["apart"], 2)
        self.assertTrue(any("None of the 2 gold pairs" in warning for warning in told["warnings"]))
        shown = evaluate(*write_gold("item,gold\np0/r0,1\np1/r1,2\n"))
        self.assertIn("no component has two items with different gold values", shown)
        self.assertNotIn("nan", shown)
        shown = evaluate(*write_gold("left,right,preference\np0/r0,p0/r1,left\n"))  # one pair has no standard error
        self.assertRegex(shown, r"1 pairs: accuracy \d+\.\d\d \+- n/a %, log loss \d\.\d{4} \+- n/a")


class OnePairTest(unittest.TestCase):
    def test_time_is_linear_in_its_votes(self):
        """Half a million votes take some seconds; each vote counting all others would take a quarter of an hour."""
        votes = write_one_pair("many.h5", 500_000)
        begin = time.monotonic()
        voxpop("evaluate", votes, "--models", "bt", "--folds", 2, "--quiet")  # 120 s at most
        self.assertLess(time.monotonic() - begin, 100)

    def test_has_no_standard_error(self):
        votes = write_one_pair("one_pair.h5", 200)
        shown = voxpop("evaluate", votes, "--models", "bt", "--quiet").stdout
        self.assertRegex(shown, r"majority +0\.\d{4} \+- n/a")
        self.assertIn("n/a: not available, because all decided votes are of one of the pairs", shown)
        self.assertNotRegex(shown, r"\bnan\b|\binf\b")
        told = json.loads(voxpop("evaluate", votes, "--models", "bt", "--quiet", "--json").stdout)
        self.assertIsNone(told["models"]["bt"]["log_loss"]["std_error"])
        self.assertIsNone(told["models"]["bt"]["ece"]["low"])


class InterruptTest(unittest.TestCase):
    def test_ends_at_once_in_every_phase(self):
        """Long phases: reading, folds of each model, bootstraps, the order of many gold items in one component."""
        votes, gold = path("long.h5"), path("long.csv")
        voxpop(
            *("simulate", votes, "--shape", "arena", "--prompts", 60_000, "--responses", 20_000),
            *("--annotators", 200, "--pairs-per-prompt", 1, "--votes-per-pair", 4, "--no-compress"),
        )
        with h5py.File(votes) as file:
            ids, scores = file["items/id"][:], file["truth/score"][:]
        with open(gold, "w") as file:
            file.write("item,gold\n" + "".join(f"{i.decode()},{s}\n" for i, s in zip(ids, scores)))
        command = [VOXPOP, "evaluate", votes, "--models", "bt", "--folds", "2", "--calibrate", "--holdout", gold]
        begin = time.monotonic()
        subprocess.run(command, capture_output=True, check=True)
        whole = time.monotonic() - begin
        interrupted = 0
        for part in range(1, 10):
            run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            time.sleep(whole * part / 10)
            was_at_work = run.poll() is None
            begin = time.monotonic()
            run.send_signal(signal.SIGINT)
            out, error = run.communicate()
            if not was_at_work or (run.returncode == 0 and out):  # a faster run than the first; or it prints already
                continue
            with self.subTest(part):
                self.assertEqual(run.returncode, 130, error)
                self.assertIn(b"interrupted; nothing was written", error)
                self.assertEqual(out, b"")
                self.assertLess(time.monotonic() - begin, 5)
            interrupted += 1
        self.assertGreater(interrupted, 2)


if __name__ == "__main__":
    main()
