"""bench/compare.py, the comparison with other tools, on 2,000 votes: its figures, its table, and failures shown as failures.

Usage: python compare_test.py PATH_TO_VOXPOP [unittest arguments]
"""

import json
import pathlib
import shlex
import subprocess
import sys
import unittest

from program import VOXPOP, main, path, voxpop  # first: it skips where what follows is missing


BENCH = pathlib.Path(__file__).resolve().parent.parent / "bench"


def compare(out, *arguments):
    """Runs it with this Python's packages; returns its table and its results."""
    done = subprocess.run([sys.executable, BENCH / "compare.py", "--voxpop", VOXPOP, "--python", sys.executable, "--out", path(out),
                           "--runs", "1", *arguments], capture_output=True, text=True, timeout=120)
    if done.returncode != 0:
        raise AssertionError(done.stdout + done.stderr)
    table, results = (pathlib.Path(path(out), name).read_text() for name in ("table.md", "results.json"))
    assert table in done.stdout
    return table, json.loads(results)


def by_tool(rows):
    return {row["tool"]: row for row in rows}


def living(group):
    """Processes of a process group that still run: a zombie that nobody has collected does not."""
    found = []
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, its_group = stat.read_text().rpartition(")")[2].split()[:3]
        except OSError:  # it ended just now
            continue
        if int(its_group) == group and state != "Z":
            found.append(stat.parent.name)
    return found


class Compare(unittest.TestCase):
    def test_fits(self):
        table, results = compare("fits", "--sizes", "2k", "--shapes", "rlhf", "--resamples", "0", "--tools",
                                 "voxpop-bt,voxpop-rater,scikit-learn,scipy,scipy-joint")
        rows = by_tool(results["fits"])
        self.assertEqual(list(rows), ["voxpop-bt", "voxpop-rater", "scikit-learn", "scipy", "scipy-joint"])
        for name, row in rows.items():
            self.assertIn(row["status"], ("ok", "not converged"), row)
            self.assertEqual((row["votes"], row["items"], row["pairs"]), (1998, 444, 666))
            self.assertGreater(row["pairs_ordered"], 0.8)
            self.assertLess(row["ece"], 0.2)
            self.assertGreater(row["whole"], row["read_fit"])
            self.assertGreater(row["peak"], 5 * 2**20)
            self.assertEqual("discrimination_correlation" in row, name in ("voxpop-rater", "scipy-joint"))
            self.assertRegex(table, rf"\| {name} \| [\d.]+ \| [\d.]+ \| \d+ \| {100 * row['pairs_ordered']:.1f} % \| {row['ece']:.4f} \|")
        # Two ways to the mode of one posterior; scikit-learn's default tolerance is coarse.
        self.assertAlmostEqual(rows["scipy"]["pairs_ordered"], rows["scikit-learn"]["pairs_ordered"], delta=0.03)
        self.assertAlmostEqual(rows["scipy"]["ece"], rows["scikit-learn"]["ece"], delta=0.01)
        # What fit itself says of the same votes.
        voxpop("simulate", path("same.h5"), "--prompts", 111, "--pairs-per-prompt", 6, "--votes-per-pair", 3)
        truth = json.loads(voxpop("fit", path("same.h5"), "-o", path("same.fit.h5"), "--json").stdout)["truth"]
        for ours, its in [("pairs_ordered", "pairs_ordered"), ("ece", "ece_probability"),
                          ("pairs_ordered_majority", "pairs_ordered_majority"),
                          ("discrimination_correlation", "discrimination_correlation")]:
            self.assertAlmostEqual(rows["voxpop-rater"][ours], truth[its], places=5)
        for what in "processor", "cores", "memory_gib", "kernel", "date", "gpu":
            self.assertIn(what, results["machine"])
        self.assertEqual(results["tools"]["voxpop-bt"]["leaves_out"], "annotators")

    def test_intervals(self):
        table, results = compare("intervals", "--shapes", "", "--intervals-votes", "2k", "--resamples", "25", "--tools",
                                 "voxpop-bt,scipy")
        rows = {(row["tool"], row["way"]): row for row in results["intervals"]}
        self.assertEqual(list(rows), [("voxpop-bt", "standard errors of one fit"), ("voxpop-bt", "refits"), ("scipy", "refits")])
        for row in rows.values():
            self.assertEqual(row["status"], "ok", row)
            self.assertGreater(row["coverage"], 0.5)
            self.assertAlmostEqual(row["width_ratio"], 1, delta=0.35)
        self.assertEqual(rows["voxpop-bt", "refits"]["width_ratio"], 1)
        self.assertEqual(rows["scipy", "refits"]["resamples"], 25)
        self.assertIn("| voxpop-bt | refits |", table)

    def test_failures_are_shown(self):
        python = shlex.quote(sys.executable)
        for name, code in {
                "perfect": "import h5py; votes = h5py.File(sys.argv[1]); numpy.savez(sys.argv[2], score=votes['truth/score'][:])",
                "equal": "import h5py; numpy.savez(sys.argv[2], score=numpy.zeros(len(h5py.File(sys.argv[1])['items/id'])))",
                "hungry": "numpy.ones(2**31)", "rusty": "sys.exit('memory allocation of 7 bytes failed\\nnote: more')",
                "broken": "raise ValueError('a | b')", "silent": ""}.items():
            pathlib.Path(path(name + ".py")).write_text(f"import sys, numpy\n{code}\n")
        tools = [argument for name in ("perfect", "equal", "hungry", "rusty", "broken", "silent")
                 for argument in ("--tool", f"{name}={python} {shlex.quote(path(name + '.py'))} {{votes}} {{result}}")]
        table, results = compare("failures", "--sizes", "2k", "--shapes", "arena", "--resamples", "0", "--memory-limit", "4",
                                 "--tools", "none", *tools)
        rows = by_tool(results["fits"])
        self.assertEqual((rows["perfect"]["status"], rows["perfect"]["pairs_ordered"]), ("ok", 1))
        self.assertLess(rows["perfect"]["ece"], 1e-6)
        for name, status, detail in [("equal", "no result", "all scores equal"), ("hungry", "out of memory", "16.0 GiB"),
                                     ("rusty", "out of memory", "of 7 bytes"),
                                     ("broken", "error", "ValueError: a | b"), ("silent", "no result", "wrote nothing")]:
            self.assertEqual(rows[name]["status"], status)
            self.assertIn(detail, rows[name]["detail"])
            self.assertNotIn("ece", rows[name])
            self.assertRegex(table, rf"(?m)^\| {name} \|  \| .*\*\*{status}\*\*: .* \|$")
        self.assertIn("ValueError: a \\| b", table)

    def test_timeouts_end_the_whole_tree_and_skip_what_is_larger(self):
        table, results = compare("timeouts", "--sizes", "1k,2k", "--shapes", "arena", "--resamples", "0", "--timeout", "0.5",
                                 "--tools", "none", "--tool", f"sleeper=sh -c 'echo $$ > {path('pid')}; sleep 100; true'")
        small, large = results["fits"]
        self.assertEqual((small["status"], small["detail"]), ("timeout", "ended after 0.5 s"))
        self.assertLess(small["whole"], 5)
        self.assertEqual((large["status"], large["detail"]), ("not run", "timeout at 1,000 votes"))
        self.assertIn("**timeout**: ended after 0.5 s", table)
        self.assertEqual(living(int(pathlib.Path(path("pid")).read_text())), [])


if __name__ == "__main__":
    main()
