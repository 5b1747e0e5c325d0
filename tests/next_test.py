"""What `voxpop next` asks for, from outside: the table against the fit and the votes, read by h5py and csv.

Usage: python next_test.py PATH_TO_VOXPOP [unittest arguments]
"""

import collections
import csv
import io
import json
import shutil
import unittest

from program import main, path, voxpop  # first: it skips where what follows is missing

import h5py
import numpy as np


def table(*arguments):
    return list(csv.DictReader(io.StringIO(voxpop("next", path("fit.h5"), *arguments).stdout)))


def setUpModule():
    global pairs, row_of, annotators, judged
    voxpop("simulate", path("votes.h5"), "--prompts", 500, "--annotators", 30, "--seed", 2)
    with h5py.File(path("votes.h5"), "r+") as file:
        ids = list(file["items/id"].asstr()[:])
        ids[0] = 'a, "b"\nc'
        ids[1] = ""
        del file["items/id"]
        file["items/id"] = np.array(ids, dtype=h5py.string_dtype())
        names = file["annotators/id"].asstr()[:]
        left, right, who = (file["comparisons/" + name][:] for name in ("left", "right", "annotator"))
    judged = {(frozenset((ids[l], ids[r])), names[a]) for l, r, a in zip(left, right, who)}
    voxpop("fit", path("votes.h5"), "-o", path("fit.h5"))
    with h5py.File(path("fit.h5")) as file:
        pairs = {name: data[:] for name, data in file["pairs"].items()}
        row_of = {frozenset((ids[l], ids[r])): row for row, (l, r) in enumerate(zip(pairs["left"], pairs["right"]))}
        pairs["left_id"] = np.array(ids, dtype=object)[pairs["left"]]
        annotators = {name: data[:] for name, data in file["annotators"].items()}
        annotators["id"] = names


class Next(unittest.TestCase):
    def test_rows_are_the_fits(self):
        rows = table("--budget", 400)
        self.assertEqual(len(rows), 400)
        at = [row_of[frozenset((row["left"], row["right"]))] for row in rows]
        self.assertEqual(len(set(at)), 400)
        swapped = 0
        for row, p in zip(rows, at):
            same = row["left"] == pairs["left_id"][p]
            swapped += not same
            self.assertAlmostEqual(float(row["probability"]), pairs["probability"][p] if same else 1 - pairs["probability"][p], places=4)
            self.assertAlmostEqual(float(row["margin"]), pairs["margin"][p] * (1 if same else -1), places=4)
            self.assertEqual(int(row["votes"]), pairs["votes"][p])
            self.assertLessEqual(float(row["expected_bits"]), pairs["information_gain"][p] * 1.01 + 1e-4)
        self.assertAlmostEqual(swapped / 400, 0.5, delta=0.1)
        best = np.argmax(pairs["information_gain"])
        self.assertEqual(at[0], best)
        self.assertAlmostEqual(float(rows[0]["expected_bits"]), pairs["information_gain"][best], delta=2e-3)
        # Nearly as many bits as the very best pairs, spread over more prompts.
        greedy = np.argsort(-pairs["information_gain"])[:400]
        self.assertGreater(pairs["information_gain"][at].sum(), 0.9 * pairs["information_gain"][greedy].sum())
        most = lambda chosen: max(collections.Counter(pairs["left_id"][p].split("/")[0] for p in chosen).values())
        self.assertLessEqual(most(at), most(greedy))

    def test_assign(self):
        rows = table("--budget", 300, "--assign", "--annotators", 5, "--votes", path("votes.h5"), "--max-each", 70)
        loads = collections.Counter(row["annotator"] for row in rows)
        self.assertLessEqual(max(loads.values()), 70)
        self.assertEqual(len(loads), 5)
        self.assertEqual([row for row in rows if (frozenset((row["left"], row["right"])), row["annotator"]) in judged], [])
        sure = annotators["discrimination"] - 1.96 * annotators["discrimination_se"]
        sure[annotators["flag"] != 0] = -np.inf
        self.assertEqual(set(loads), set(annotators["id"][np.argsort(-sure)[:5]]))

    def test_votes_of_another_fit(self):
        assign = ["--budget", 3, "--assign", "--votes"]
        self.assertEqual(voxpop("next", path("fit.h5"), *assign, path("votes.h5")).stderr, "")
        voxpop("simulate", path("others.h5"), "--prompts", 50, "--annotators", 30, "--seed", 3)
        self.assertRegex(voxpop("next", path("fit.h5"), *assign, path("others.h5")).stderr,
                         "others.h5 is not one of the files that .*fit.h5 was fitted to")

    def test_assigned_bits_are_what_the_annotator_adds(self):
        one = ["--budget", 400, "--annotators", 1, "--json"]
        plain = json.loads(voxpop("next", path("fit.h5"), *one).stdout)["expected_bits"]
        assigned = json.loads(voxpop("next", path("fit.h5"), *one, "--assign", "--max-each", 400).stdout)["expected_bits"]
        self.assertAlmostEqual(assigned, plain, delta=1e-3 * plain)

    def test_files_and_json(self):
        done = voxpop("next", path("fit.h5"), "--budget", 10, "-o", path("ask.csv"))
        self.assertIn("10 votes, expected to give", done.stdout)
        with open(path("ask.csv"), newline="") as file:
            rows = list(csv.DictReader(file))
        self.assertEqual(rows, table("--budget", 10))
        summary = json.loads(voxpop("next", path("fit.h5"), "--budget", 10, "--json").stdout)
        self.assertEqual([row["left"] for row in summary["rows"]], [row["left"] for row in rows])
        everything = voxpop("next", path("fit.h5"), "--budget", 10**6)
        self.assertIn("; each is listed once", everything.stderr)
        whole = list(csv.DictReader(io.StringIO(everything.stdout)))
        self.assertEqual(len(whole), len(row_of))
        for odd in 'a, "b"\nc', "":
            self.assertTrue(any(odd in (row["left"], row["right"]) for row in whole))
        self.assertFalse(any(None in row.values() or None in row for row in whole))

    def test_bad_input(self):
        for arguments, status, pattern in [
                (["--budget", 0], 2, "budget"), ([], 2, "budget"), (["--budget", 5, "--max-each", 3], 2, "assign"),
                (["--budget", 5, "-o", path("no/x.csv")], 4, "cannot write here")]:
            self.assertRegex(voxpop("next", path("fit.h5"), *arguments, status=status).stderr, pattern)
        self.assertRegex(voxpop("next", path("votes.h5"), "--budget", 5, status=3).stderr, "it must be a fit")
        shutil.copy(path("fit.h5"), path("bad.h5"))
        with h5py.File(path("bad.h5"), "r+") as file:
            file["annotators/flag"][:] = np.full(30, 4, "i1")
        self.assertRegex(voxpop("next", path("bad.h5"), "--budget", 5, "--assign", status=3).stderr, "no annotator has the flag ok")


if __name__ == "__main__":
    main()
