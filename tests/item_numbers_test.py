"""Features and prior scores of items.

Usage: python item_numbers_test.py PATH_TO_VOXPOP [unittest arguments]
"""

import json
import os
import shutil

from program import main  # first: it skips where what follows is missing
from command_line import CliTest, matrix, plain_votes, run, succeed, write_votes

import h5py
import numpy as np


class ItemNumbers(CliTest):
    """items/prior_score and items/features."""

    features = np.random.default_rng(5).normal(size=(40, 3))

    def write(self, name="items/features", column=None):
        return write_votes(self.path("votes.h5"), plain_votes() | {name: column})

    def test_whatever_h5py_writes(self):
        names = ["length", "lists", "p\u00e9"]
        cases = {
            "without names": matrix(self.features),
            "names": matrix(self.features, names),
            "names of fixed length": matrix(self.features, np.array([name.encode() for name in names])),
            "one name": matrix(self.features[:, :1], "length"),
            "float32": matrix(self.features.astype("f4"), names),
            "big-endian": matrix(self.features.astype(">f8"), names),
            "integers": matrix(np.arange(120).reshape(40, 3), names),
            "chunked": matrix(self.features, names, chunks=(7, 2), compression="gzip", shuffle=True),
        }
        for name, column in cases.items():
            with self.subTest(name):
                path = self.write(column=column)
                self.assertEqual(succeed("check", path).err, b"")
                described = json.loads(succeed("info", path, "--json").out)["datasets"]["items/features"]
                columns = 1 if name == "one name" else 3
                self.assertIn(f"[40, {columns}]", described)
                if name != "without names":
                    self.assertTrue(described.endswith(": " + ", ".join(names[:columns])), described)
        succeed("check", self.write("items/prior_score", np.arange(40)))

    def test_bad_features(self):
        bad = self.features.copy()
        bad[7, 2] = np.nan
        names = ["length", "lists", "tables"]
        cases = {
            "not a number": (matrix(bad, names), "row 7", "'tables'", "nan"),
            "beyond float32": (matrix(np.where(np.isnan(bad), 1e300, bad)), "row 7", "'f2'", "1e+300"),
            "one dimension": (self.features[:, 0], "has 1 dimensions"),
            "three dimensions": (self.features.reshape(40, 3, 1), "has 3 dimensions"),
            "no columns": (self.features[:, :0], "has 0 columns"),
            "too many columns": (np.zeros((40, 4097)), "has 4097 columns"),
            "too few rows": (self.features[:39], "39 rows", "items/id"),
            "text": (np.full((40, 2), b"x"), "string"),
            "too few names": (matrix(self.features, names[:2]), "3 columns", "2 names"),
            "the same name twice": (matrix(self.features, ["a", "b", "a"]), "names", "row 2", "'a'"),
            "numbers for names": (matrix(self.features, [1, 2, 3]), "names"),
            "names in a table": (matrix(self.features, np.array([[b"a", b"b", b"c"]])), "names"),
            "names not in UTF-8": (matrix(self.features, np.array([b"a", b"b", b"\xff"])), "names", "row 2", "UTF-8"),
            "never written": (
                lambda file, name: file.create_dataset(name, (40, 4000), "f8", chunks=(40, 4000)),
                "only 0 bytes of data",
            ),
        }
        for name, (column, *needles) in cases.items():
            with self.subTest(name):
                self.assert_refused(self.write(column=column), "items/features", *needles)

    def test_bad_prior_scores(self):
        cases = {
            "not a number": (np.where(np.arange(40) == 7, np.nan, 1), "row 7", "nan"),
            "infinite": (np.where(np.arange(40) == 7, np.inf, 1), "row 7", "inf"),
            "two dimensions": (self.features, "has 2 dimensions"),
            "too many rows": (np.zeros(41), "41 rows", "items/id"),
            "text": (np.full(40, b"x"), "string"),
        }
        for name, (column, *needles) in cases.items():
            with self.subTest(name):
                self.assert_refused(self.write("items/prior_score", column), "items/prior_score", *needles)


class PriorScores(CliTest):
    """fit --prior-score FILE."""

    def setUp(self):
        super().setUp()
        succeed("simulate", self.path("votes.h5"), "--prompts", 100, "--seed", 3)
        with h5py.File(self.path("votes.h5")) as file:
            self.ids, score = file["items/id"].asstr()[:], file["truth/score"][:]
        self.score = score + np.random.default_rng(1).normal(size=len(score))

    def scores(self, rows, name="scores.csv"):
        with open(self.path(name), "w") as file:
            file.write("\n".join(["id,score", *rows]) + "\n")
        return self.path(name)

    def rows(self):
        return [f"{i},{s:.6f}" for i, s in zip(self.ids, self.score)]

    def fit(self, *options, votes="votes.h5"):
        return run("fit", self.path(votes), "-o", self.path("fit.h5"), "--json", *options)

    def test_a_file_says_what_a_column_says(self):
        result = self.fit("--prior-score", self.scores(self.rows() + ["nobody,1"]))
        self.assertEqual(result.code, 0, result.err)
        self.assertIn("1 of 401 rows name an item that is not in the votes", result.err.decode())
        with h5py.File(self.path("fit.h5")) as file:
            margin = file["pairs/margin"][:]
            self.assertIn("scores.csv", json.loads(file.attrs["provenance"])["prior_score"]["path"])
        shutil.copy(self.path("votes.h5"), self.path("with.h5"))
        with h5py.File(self.path("with.h5"), "a") as file:
            file["items/prior_score"] = np.round(self.score, 6).astype(np.float32)
        self.assertEqual(self.fit(votes="with.h5").code, 0)
        with h5py.File(self.path("fit.h5")) as file:
            np.testing.assert_allclose(file["pairs/margin"][:], margin, atol=1e-3)

    def test_bad_files(self):
        rows = self.rows()
        cases = {
            "an item is missing": (rows[1:], "1 of the 400 items of the votes have no row", self.ids[0]),
            "no number": ([f"{self.ids[0]},good", *rows[1:]], "line 2", "'good'", "finite number"),
            "infinite": ([f"{self.ids[0]},inf", *rows[1:]], "line 2", "'inf'"),
            "two scores": ([*rows, f"{self.ids[0]},99"], "line 402", "another score"),
            "no rows": ([], "items of the votes have no row"),
        }
        for name, (lines, *needles) in cases.items():
            with self.subTest(name):
                result = self.fit("--prior-score", self.scores(lines))
                self.assertEqual(result.code, 3)
                for needle in ("scores.csv", *needles):
                    self.assertIn(needle, result.err.decode())
                self.assertFalse(os.path.exists(self.path("fit.h5")))
        self.assertEqual(self.fit("--prior-score", self.path("nowhere.csv")).code, 4)
        self.assertEqual(self.fit("--prior-score", "").code, 2)

    def test_a_score_that_says_all_does_not_undo_the_unit(self):
        with h5py.File(self.path("votes.h5")) as file:
            truth = file["truth/score"][:]
        told = json.loads(self.fit("--prior-score", self.scores(f"{i},{s:.6f}" for i, s in zip(self.ids, truth))).out)
        self.assertTrue(told["converged"])
        self.assertFalse({"sign_unknown"} & {finding["kind"] for finding in told["findings"]})
        with h5py.File(self.path("fit.h5")) as file:
            difference = truth[file["pairs/left"][:]] - truth[file["pairs/right"][:]]
            self.assertGreater(np.mean((file["pairs/margin"][:] > 0) == (difference > 0)), 0.95)


if __name__ == "__main__":
    main()
