"""Files that earlier versions wrote, tests/data/votes-N.h5 and fit-N.h5: this version reads them, and comes to the same labels.

Usage: python frozen_test.py PATH_TO_VOXPOP [unittest arguments]
make_frozen.py wrote them. A test that fails here says that users' files can no longer be read, or that the same votes now get
other labels: then CHANGELOG.md has to list it as breaking.
"""

import csv
import io
import json
import pathlib
import shutil
import unittest

from program import main, path, voxpop  # first: it skips where what follows is missing

import h5py
import numpy as np

DATA = pathlib.Path(__file__).resolve().parent / "data"
NUMBERS = sorted(int(file.stem.split("-")[1]) for file in DATA.glob("votes-*.h5"))
FIT_OPTIONS = {1: ["--calibrate", "--views", "off"]}

# How far figures may be off, as (share, absolutely). Kernels for AVX-512, AVX2 and neither differ by less than a tenth of it.
TOLERANCE = (0.002, 0.002)


def datasets(file):
    found = {}
    with h5py.File(file) as f:
        f.visititems(lambda name, thing: found.update({name: thing[()]}) if isinstance(thing, h5py.Dataset) else None)
        return found, json.loads(f.attrs["provenance"]) if "provenance" in f.attrs else None


class Frozen(unittest.TestCase):
    def each(self):
        self.assertTrue(NUMBERS)
        for number in NUMBERS:
            yield number, str(DATA / f"votes-{number}.h5"), str(DATA / f"fit-{number}.h5")

    def test_check_and_info(self):
        for number, votes, fit in self.each():
            self.assertEqual(voxpop("check", votes).stderr, "")
            checked = json.loads(voxpop("check", votes, "--json").stdout)
            with h5py.File(votes) as file:
                self.assertEqual(checked["votes"], len(file["comparisons/left"]))
                self.assertEqual(checked["items"], len(file["items/id"]))
                self.assertEqual(checked["annotators"], len(file["annotators/id"]))
            self.assertIn("comparisons/1", voxpop("info", votes).stdout)
            self.assertIn("provenance", voxpop("info", fit).stdout)

    def test_fit_comes_to_the_same_figures(self):
        for number, votes, fit in self.each():
            new = path("new.h5")
            done = voxpop("fit", votes, "-o", new, "--device", "cpu", "--quiet", *FIT_OPTIONS[number])
            self.assertEqual(done.stderr, "")  # nothing in the file is ignored
            (was, old_story), (now, story) = datasets(fit), datasets(new)
            self.assertEqual(set(was) - set(now), set(), "datasets that are written no longer")
            share, least = TOLERANCE
            off = []
            for name, old in was.items():
                self.assertEqual((now[name].shape, now[name].dtype.kind), (old.shape, old.dtype.kind), name)
                if old.dtype.kind == "f":
                    far = ~np.isclose(now[name], old, rtol=share, atol=least, equal_nan=True)
                    if far.any():
                        off.append(f"{name}: {far.sum()} of {far.size}, by up to {np.nanmax(abs(now[name] - old)):.3g}")
                elif not np.array_equal(now[name], old):
                    off.append(name)
            self.assertFalse(off, "\n" + "\n".join(off))
            self.assertEqual(set(old_story) - set(story), set(), "keys that the provenance has no longer")
            self.assertEqual(story["inputs"][0]["xxh3"], old_story["inputs"][0]["xxh3"])
            self.assertAlmostEqual(story["log_evidence"], old_story["log_evidence"], delta=0.05)

    def test_report(self):
        for number, votes, fit in self.each():
            page = path("report.html")
            voxpop("report", fit, "-o", page)
            text = pathlib.Path(page).read_text(encoding="utf-8")
            with h5py.File(fit) as file:
                for name in (*file["annotators/id"].asstr()[:3], *file["sources/id"].asstr()[:]):
                    self.assertIn(name, text)

    def test_export(self):
        for number, votes, fit in self.each():
            with h5py.File(fit) as file:
                ids = file["items/id"].asstr()[:]
                left, right, probability = (file[f"pairs/{name}"][:] for name in ("left", "right", "probability"))
                known = {frozenset((ids[l], ids[r])): max(p, 1 - p) for l, r, p in zip(left, right, probability)}
            rows = list(csv.DictReader(io.StringIO(
                voxpop("export", fit, "--format", "csv", "--keep-ties", "--keep-undecided", "--quiet").stdout)))
            self.assertEqual(len(rows), len(known))
            for row in rows:
                p = float(row["p_chosen"])
                self.assertAlmostEqual(max(p, 1 - p), known[frozenset((row["chosen_id"], row["rejected_id"]))], places=5)
            voted = voxpop("export", fit, "--format", "votes", "--votes", votes, "--quiet").stdout
            with h5py.File(votes) as file:
                self.assertLessEqual(len(voted.splitlines()), len(file["comparisons/left"]) + 1)
            self.assertGreater(len(voted.splitlines()), len(known))

    def test_next(self):
        for number, votes, fit in self.each():
            told = voxpop("next", fit, "--budget", 50, "--assign", "--votes", votes).stdout
            rows = list(csv.DictReader(io.StringIO(told)))
            self.assertEqual(len(rows), 50)

    def test_warm_start(self):
        for number, votes, fit in self.each():
            shutil.copy(fit, path("earlier.h5"))
            voxpop("fit", votes, "-o", path("warm.h5"), "--device", "cpu", "--quiet", "--warm-start", path("earlier.h5"))
            story = datasets(path("warm.h5"))[1]["warm_start"]
            with h5py.File(fit) as file:
                self.assertEqual(story["annotators_known"], len(file["annotators/id"]))


if __name__ == "__main__":
    main()
