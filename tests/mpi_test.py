"""Fits on several MPI ranks: the bits of one process, and what happens when something goes wrong in one of them.

Usage: python mpi_test.py PATH_TO_VOXPOP [unittest arguments]
Exits with 77, which says skipped, where voxpop is built without MPI, or there is no mpirun.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
import unittest

from program import VOXPOP, main, path, voxpop  # first: it skips where what follows is missing

import h5py
import numpy as np

linked = subprocess.run(["ldd", VOXPOP], capture_output=True, text=True).stdout
if shutil.which("mpirun") is None or "libmpi" not in linked:
    print("mpi_test.py: skipped: no MPI", file=sys.stderr)
    sys.exit(77)

# For root, and for more ranks than cores.
environment = dict(
    os.environ,
    OMPI_ALLOW_RUN_AS_ROOT="1",
    OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1",
    OMPI_MCA_rmaps_base_oversubscribe="1",
    OMPI_MCA_mpi_yield_when_idle="1",  # else ranks that wait take the cores of those that work
    OMPI_MCA_btl_tcp_if_include="lo",
)


def start(ranks, *arguments):
    command = ["mpirun", "-np", ranks, "--bind-to", "none", VOXPOP, *arguments, "--device", "cpu"]
    return subprocess.Popen(
        list(map(str, command)), env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def mpirun(ranks, *arguments, status=0):
    process = start(ranks, *arguments)
    out, err = process.communicate(timeout=120)
    if process.returncode != status:
        raise AssertionError(f"exit {process.returncode}, not {status}: {arguments}\n{out}{err}")
    return out, err


def content(name):
    """All that a fit holds but its provenance, which says where and when it was made."""
    found = {}
    with h5py.File(path(name)) as fit:
        fit.visititems(lambda name, node: found.update({name: np.asarray(node[()]).tobytes()} if isinstance(node, h5py.Dataset) else {}))
    return found


def pids_of(process):
    """Of the ranks, by number, once all are there."""
    found = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/environ", "rb") as file:
                variables = dict(line.split(b"=", 1) for line in file.read().split(b"\0") if b"=" in line)
            with open(f"/proc/{entry}/stat") as file:
                parent = int(file.read().rsplit(")", 1)[1].split()[1])
        except (OSError, ValueError):
            continue
        if parent == process.pid and b"OMPI_COMM_WORLD_RANK" in variables:
            found[int(variables[b"OMPI_COMM_WORLD_RANK"])] = int(entry)
    return found


def wait_for_ranks(process, ranks):
    give_up = time.monotonic() + 20
    while time.monotonic() < give_up:
        found = pids_of(process)
        if len(found) == ranks:
            return found
        time.sleep(0.005)
    raise AssertionError("the ranks did not start")


class Mpi(unittest.TestCase):
    def assert_same_fit(self, votes, *options, ranks=(2, 3)):
        voxpop("fit", votes, "-o", path("one.h5"), "--device", "cpu", *options)
        for number in ranks:
            with self.subTest(votes=os.path.basename(votes), options=options, ranks=number):
                mpirun(number, "fit", votes, "-o", path("several.h5"), *options)
                self.assertEqual(content("several.h5"), content("one.h5"))

    def simulate(self, name, *options):
        voxpop("simulate", path(name), *options)
        return path(name)

    def test_prompts(self):
        votes = self.simulate("prompts.h5", "--prompts", 20000)  # many enough for a sample first
        self.assert_same_fit(votes)
        self.assert_same_fit(votes, "--model", "bt", ranks=(2,))

    def test_everything_that_votes_may_have(self):
        votes = self.simulate(
            "rich.h5", "--prompts", 3000, "--annotators", 60, "--ties", ".2", "--grades", 3, "--features", 2,
            "--taste-sd", ".3", "--prior-score", ".5", "--lapse-rate", ".05", "--days", 20, "--drift", ".2",
        )  # fmt: skip
        with h5py.File(votes, "a") as file:
            file["items/source"] = np.arange(len(file["items/id"])) % 7 - 1  # some are not known
            file["sources/id"] = [f"model {k}" for k in range(6)]
        for model in ("rater", "crowd-bt"):
            self.assert_same_fit(votes, "--model", model)
        self.assert_same_fit(votes, "--ties", "drop", "--calibrate", ranks=(2,))

    def test_large_components(self):
        """Dense or sparse ones are one rank's each: others may have nothing to do."""
        self.assert_same_fit(self.simulate("arena.h5", "--shape", "arena", "--prompts", 20000))
        self.assert_same_fit(self.simulate("sparse.h5", "--shape", "graph", "--prompts", 600), "--model", "bt", ranks=(2,))

    def test_bad_input_ends_all_ranks_with_its_exit_code(self):
        votes = self.simulate("bad.h5", "--prompts", 100)
        with h5py.File(votes, "a") as file:
            file["comparisons/left"][7] = 4_000_000
        _, err = mpirun(2, "fit", votes, "-o", path("none.h5"), status=3)
        self.assertEqual(err.count("voxpop: "), 1, err)
        self.assertIn("'comparisons/left' row 7 is 4000000", err)
        _, err = mpirun(2, "fit", path("nowhere.h5"), "-o", path("none.h5"), status=4)
        self.assertIn("nowhere.h5: cannot open", err)
        self.assertFalse(os.path.exists(path("none.h5")))

    def test_long_columns_are_read_by_all_ranks(self):
        votes = self.simulate("million.h5", "--prompts", 80000, "--votes-per-pair", 3)
        self.assert_same_fit(votes, "--model", "bt", ranks=(3,))
        rows = [1_190_000, 1_150_000, 700_000, 10]  # in the last part twice, in the second, in the first
        for number, row in enumerate(rows):
            with h5py.File(votes, "a") as file:
                file["comparisons/right"][row] = 4_000_000 + number
            _, err = mpirun(3, "fit", votes, "-o", path("none.h5"), status=3)
            self.assertIn(f"'comparisons/right' row {row} is {4_000_000 + number}; item indices", err)

    def test_ranks_that_see_other_files_read_nothing(self):
        for name, seed in (("here", 1), ("there", 2)):
            os.mkdir(path(name))
            voxpop("simulate", path(name + "/votes.h5"), "--prompts", 60000, "--seed", seed)
        os.mkdir(path("nowhere"))
        voxpop("fit", path("here/votes.h5"), "-o", path("one.h5"), "--device", "cpu", "--model", "bt")
        for other in ("there", "nowhere"):
            command = ["mpirun", "--bind-to", "none"]
            for folder in ("here", other):
                fit = [VOXPOP, "fit", "votes.h5", "-o", path("several.h5"), "--device", "cpu", "--model", "bt"]
                command += ["-np", "1", "-wdir", path(folder), *fit, ":"]
            subprocess.run(command[:-1], env=environment, check=True, capture_output=True, timeout=120)
            self.assertEqual(content("several.h5"), content("one.h5"))

    def test_ranks_that_see_a_copy_read_nothing(self):
        """A copy may be damaged or older where nobody looks: of the same name, size and times, with the same two ends."""
        for name in ("mine", "copy"):
            os.mkdir(path(name))
        voxpop("simulate", path("mine/votes.h5"), "--prompts", 150_000, "--pairs-per-prompt", 3, "--votes-per-pair", 5, "--no-compress")
        shutil.copy(path("mine/votes.h5"), path("copy/votes.h5"))
        with h5py.File(path("copy/votes.h5"), "r+") as file:
            preference = file["comparisons/preference"]
            middle = slice(len(preference) // 2 + 200_000, len(preference) // 2 + 600_000)
            preference[middle] = -preference[middle]
        found = os.stat(path("mine/votes.h5"))
        os.utime(path("copy/votes.h5"), ns=(found.st_atime_ns, found.st_mtime_ns))
        command = ["mpirun", "--bind-to", "none"]
        for folder in ("mine", "copy"):
            fit = [VOXPOP, "fit", "votes.h5", "-o", path("several.h5"), "--device", "cpu", "--model", "bt"]
            command += ["-np", "1", "-wdir", path(folder), *fit, ":"]
        subprocess.run(command[:-1], env=environment, check=True, capture_output=True, timeout=120)
        voxpop("fit", path("mine/votes.h5"), "-o", path("one.h5"), "--device", "cpu", "--model", "bt")
        self.assertEqual(content("several.h5"), content("one.h5"))

    def test_with_little_memory_and_from_an_earlier_fit(self):
        votes = self.simulate("warm.h5", "--prompts", 5000)
        voxpop("fit", self.simulate("earlier.h5", "--prompts", 3000, "--seed", 2), "-o", path("earlier_fit.h5"))
        self.assert_same_fit(votes, "--warm-start", path("earlier_fit.h5"), "--memory-limit", "30MB", ranks=(2,))

    def test_verbs_that_share_no_work_are_refused(self):
        votes = self.simulate("few.h5", "--prompts", 100)
        _, err = mpirun(2, "evaluate", votes, status=2)
        self.assertIn("only 'fit' can use several ranks", err)

    def test_a_killed_rank_ends_the_job_and_leaves_nothing(self):
        votes = self.simulate("long.h5", "--prompts", 50000)
        os.mkdir(path("killed"))
        with open(path("killed/fit.h5"), "w") as file:
            file.write("older output")
        process = start(2, "fit", votes, "-o", path("killed/whole.h5"), "--threads", 1)
        begin = time.monotonic()
        process.communicate(timeout=120)
        whole = time.monotonic() - begin
        ended = 0
        for moment in range(10):
            rank = moment % 2
            with self.subTest(moment=moment, rank=rank):
                process = start(2, "fit", votes, "-o", path("killed/fit.h5"), "--threads", 1)
                pids = wait_for_ranks(process, 2)
                time.sleep(whole * moment / 12)
                with contextlib.suppress(ProcessLookupError):  # done before
                    os.kill(pids[rank], signal.SIGKILL)
                _, err = process.communicate(timeout=60)
                self.assertEqual(sorted(os.listdir(path("killed"))), ["fit.h5", "whole.h5"])
                with open(path("killed/fit.h5"), "rb") as file:
                    is_old = file.read() == b"older output"
                if process.returncode != 0:
                    ended += 1
                    self.assertIn("signal 9", err)
                self.assertTrue(is_old or content("killed/fit.h5") == content("killed/whole.h5"))
                self.assertTrue(process.returncode != 0 or not is_old)
        self.assertGreaterEqual(ended, 5)

    def test_a_checkpoint_is_of_any_number_of_ranks(self):
        votes = self.simulate("kept.h5", "--prompts", 50000)
        voxpop("fit", votes, "-o", path("plain.h5"), "--device", "cpu")
        command = ("fit", votes, "-o", path("resumed.h5"), "--checkpoint", path("kept"))
        process = start(3, *command, "--checkpoint-every", 0)
        give_up = time.monotonic() + 60
        while not os.path.exists(path("kept")) and time.monotonic() < give_up:
            time.sleep(0.005)
        os.kill(wait_for_ranks(process, 3)[0], signal.SIGTERM)
        _, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130, err)
        self.assertTrue(os.path.exists(path("kept")))  # what is told of it, mpirun may lose
        self.assertFalse(os.path.exists(path("resumed.h5")))
        _, err = mpirun(2, *command)
        self.assertRegex(err, r"the fit continues after \d+ iterations")
        self.assertEqual(content("resumed.h5"), content("plain.h5"))
        self.assertFalse(os.path.exists(path("kept")))


if __name__ == "__main__":
    main()
