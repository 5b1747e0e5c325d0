"""The scripts for Slurm on a real one: sbatch, what arrives at voxpop, what comes out, and what a signal does.

Usage: python slurm_test.py PATH_TO_VOXPOP [unittest arguments]
Exits with 77, which says skipped, where Slurm is not installed or its nodes do not come up.
"""

import functools
import glob
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import unittest

from program import VOXPOP, main, path, voxpop  # first: it skips where what follows is missing

import h5py

import slurm_cluster

SCRIPTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "scripts", "slurm")
ENDED = ("COMPLETED", "FAILED", "TIMEOUT", "CANCELLED", "NODE_FAIL", "OUT_OF_MEMORY")

# In voxpop's place: says where it runs and with what, and is as slow to save as a large fit may be. Any signal is written down.
STAND_IN = f"""#!{sys.executable}
import os, signal, sys, time

heard = []
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda number, frame: heard.append(number))
says = lambda *words: (print(*words), sys.stdout.flush())
of = os.environ.get
says("rank", of("PMIX_RANK"), "on", of("SLURMD_NODENAME"), "gpus", of("CUDA_VISIBLE_DEVICES"), "cpus", *sys.argv[1:])
until = time.monotonic() + float(of("STAND_IN_SECONDS", "0"))
while time.monotonic() < until and not heard:
    time.sleep(0.1)
if heard:
    until = time.monotonic() + 4
    while time.monotonic() < until:
        time.sleep(0.1)
    says("saved after signals", *heard)
    sys.exit(130)
"""


def setUpModule():
    global environment, stand_in, near_limit
    try:
        slurm_cluster.start(path("cluster"))
    except slurm_cluster.ClusterError as error:
        print(f"slurm_test.py: skipped: {error}", file=sys.stderr)
        sys.exit(77)
    unittest.addModuleCleanup(slurm_cluster.stop, path("cluster"))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("slurm_test.py: terminated"))  # so that the cluster ends, too
    environment = dict(os.environ, SLURM_CONF=path("cluster/slurm.conf"), PATH=f"{os.path.dirname(VOXPOP)}:{slurm_cluster.PATH}")
    # OpenMPI's for root, and for ranks of several nodes on a machine that may have no network.
    environment.update(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1", OMPI_MCA_btl_tcp_if_include="lo")

    os.mkdir(path("stand-in"))
    with open(path("stand-in/voxpop"), "w") as file:
        file.write(STAND_IN)
    os.chmod(file.name, 0o755)
    stand_in = dict(environment, PATH=f"{path('stand-in')}:{environment['PATH']}")

    for seed, name in enumerate(("monday", "tuesday", "wednesday"), start=1):
        voxpop("simulate", path(name + ".h5"), "--prompts", 500, "--annotators", 20, "--seed", seed)
    # Slurm looks at time limits every half minute only: this one goes on beside the other tests.
    os.mkdir(path("limit"))
    near_limit = submit("fit_cpu.sbatch", options=["--time=1"], folder="limit", environment=dict(stand_in, STAND_IN_SECONDS="90"))


def slurm(*command, folder=".", environment=None):
    done = subprocess.run(
        command, cwd=path(folder), env=environment or globals()["environment"], capture_output=True, text=True, timeout=30
    )
    if done.returncode != 0:
        raise AssertionError(f"exit {done.returncode} of {command}: {done.stdout}{done.stderr}")
    return done.stdout


def submit(script, *arguments, options=(), folder=".", environment=None):
    """The number of a job that asks for little enough to fit this cluster."""
    little = ["--cpus-per-task=1", *([] if "multi_gpu" in script else ["--mem=300M"])]
    command = ["sbatch", "--parsable", *little, *options, os.path.join(SCRIPTS, script), *(arguments or ["x.h5", "-o", "y.h5"])]
    return slurm(*command, folder=folder, environment=environment).strip()


def shown(job):
    """What Slurm says of a job, or of each task of an array."""
    lines = slurm("scontrol", "show", "job", "--oneliner", job).splitlines()
    return [dict(re.findall(r"(\S+?)=(\S*)", line)) for line in lines]


def ended(tasks):
    return all(task["JobState"] in ENDED for task in tasks)


def wait(job, arrived=ended, seconds=60):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        tasks = shown(job)
        if arrived(tasks):
            return tasks
        time.sleep(0.1)
    raise AssertionError(f"job {job} is not there after {seconds} s: {tasks}\n{log(job)}")


def log(job, folder="."):
    text = ""
    for name in glob.glob(path(f"{folder}/voxpop-{job}*.log")):
        with open(name) as file:
            text += file.read()
    return text


def content(file):
    """All that a fit holds but its provenance, which names the command."""
    found = {}
    with h5py.File(file) as fit:
        assert fit.attrs["voxpop_schema"] == "fit/1", file

        def visit(name, node):
            data = node[()].tolist() if isinstance(node, h5py.Dataset) else None
            found[name] = repr((data, list(node.attrs.items())))  # repr: NaNs are alike, and every bit of a number shows

        fit.visititems(visit)
    return found


def provenance(file):
    with h5py.File(file) as fit:
        return json.loads(fit.attrs["provenance"])


@functools.cache
def requeued_fit():
    """A job that was requeued while it fitted; the files in its folder once it had been interrupted, and at its end."""
    os.mkdir(path("requeue"))
    voxpop("simulate", path("long.h5"), "--prompts", 20000, "--annotators", 100)
    job = submit("fit_cpu.sbatch", "../long.h5", "-o", "fit.h5", "--model", "rater", folder="requeue")
    wait(job, lambda tasks: f"{job}.0" in slurm("squeue", "--noheader", "--steps", "--jobs", job))
    time.sleep(0.5)  # srun starts it
    slurm("scontrol", "requeue", job)
    wait(job, lambda tasks: tasks[0]["Restarts"] == "1" and tasks[0]["JobState"] == "PENDING")
    interrupted = sorted(os.listdir(path("requeue")))
    wait(job)
    return job, interrupted, sorted(os.listdir(path("requeue")))


class Slurm(unittest.TestCase):
    def assert_completed(self, tasks, job):
        for task in tasks:
            self.assertEqual((task["JobState"], task["ExitCode"]), ("COMPLETED", "0:0"), log(job))

    def assert_same_fit(self, file, *arguments):
        """As a fit outside Slurm."""
        voxpop("fit", *arguments, "--device", "cpu", "-o", path("plain.h5"))
        self.assertEqual(content(file), content(path("plain.h5")))

    def test_cpu(self):
        files = [path("monday.h5"), path("tuesday.h5")]
        job = submit("fit_cpu.sbatch", *files, "-o", "fit.h5", "--model", "bt", options=["--cpus-per-task=2", "--mem=500M"])
        tasks = wait(job)
        self.assert_completed(tasks, job)
        self.assertRegex(tasks[0]["TRES"], "cpu=2,mem=500M,node=1")
        self.assertEqual(provenance(path("fit.h5"))["threads"], 2)
        self.assert_same_fit(path("fit.h5"), *files, "--model", "bt")

    def test_array(self):
        names = ["monday.h5", "tuesday.h5", "wednesday.h5"]
        job = submit("fit_array.sbatch", "fits", *names, "--", "--model", "crowd-bt", options=["--array=1-3"])
        tasks = wait(job, lambda tasks: len(tasks) == 3 and ended(tasks))
        self.assert_completed(tasks, job)
        self.assertEqual(sorted(os.listdir(path("fits"))), names)
        for task, name in enumerate(names, start=1):
            self.assertRegex(log(f"{job}-{task}"), r"\A\d+ votes on \d+ items")
            self.assert_same_fit(path(f"fits/{name}"), path(name), "--model", "crowd-bt")

    def test_failure_is_told(self):
        job = submit("fit_cpu.sbatch", "nowhere.h5", "-o", "none.h5")
        (task,) = wait(job)
        self.assertEqual((task["JobState"], task["ExitCode"]), ("FAILED", "4:0"))
        self.assertIn("voxpop: nowhere.h5: cannot open: No such file", log(job))
        self.assertFalse(os.path.exists(path("none.h5")))

    def test_gpu(self):
        job = submit("fit_gpu.sbatch", "monday.h5", "-o", "gpu.h5")
        (task,) = wait(job)
        if task["JobState"] == "COMPLETED":
            self.assertRegex(provenance(path("gpu.h5"))["device"], "cuda")
        else:
            self.assertEqual((task["JobState"], task["ExitCode"]), ("FAILED", "6:0"), log(job))
            self.assertIn("voxpop: device cuda", log(job))

    def ranks(self, job, folder):
        self.assert_completed(wait(job), job)
        return sorted(re.findall(r"rank (\S+) on (\S+) gpus (\S+) cpus (.*)", log(job, folder)))

    def test_ranks_of_several_nodes(self):
        os.mkdir(path("ranks"))
        job = submit("fit_mpi.sbatch", options=["--cpus-per-task=2"], folder="ranks", environment=stand_in)
        call = f"fit x.h5 -o y.h5 --device cpu --threads 2 --checkpoint voxpop-{job}.checkpoint"
        self.assertEqual(self.ranks(job, "ranks"), [("0", "node1", "None", call), ("1", "node2", "None", call)])

    def test_ranks_have_a_gpu_each(self):
        os.mkdir(path("gpus"))
        options = ["--ntasks=4", "--mem-per-gpu=100M"]
        job = submit("fit_multi_gpu.sbatch", options=options, folder="gpus", environment=stand_in)
        found = self.ranks(job, "gpus")
        self.assertEqual([rank for rank, *_ in found], ["0", "1", "2", "3"])
        self.assertEqual(len({(node, gpu) for _, node, gpu, _ in found}), 4, found)
        self.assertEqual({call for *_, call in found}, {f"fit x.h5 -o y.h5 --device cuda --threads 1 --checkpoint voxpop-{job}.checkpoint"})

    def test_mpi(self):
        if "libmpi" not in subprocess.run(["ldd", VOXPOP], capture_output=True, text=True).stdout:
            self.skipTest("voxpop is built without MPI")
        job = submit("fit_mpi.sbatch", "monday.h5", "-o", "mpi.h5", options=["--cpus-per-task=2"])
        self.assert_completed(wait(job), job)
        self.assert_same_fit(path("mpi.h5"), path("monday.h5"))

    def test_requeue_leaves_no_half_a_fit(self):
        job, interrupted, finished = requeued_fit()
        self.assertEqual([name for name in interrupted if not name.endswith(".checkpoint")], [f"voxpop-{job}.log"])
        self.assertIn("interrupted", log(job, "requeue"))
        self.assert_completed(shown(job), job)
        self.assertEqual(finished, ["fit.h5", f"voxpop-{job}.log"])
        self.assert_same_fit(path("requeue/fit.h5"), path("long.h5"), "--model", "rater")

    def test_requeue_resumes(self):
        if "--checkpoint" not in voxpop("fit", "--help").stdout:
            self.skipTest("this voxpop has no --checkpoint")
        _, interrupted, _ = requeued_fit()
        self.assertEqual(len([name for name in interrupted if name.endswith(".checkpoint")]), 1, interrupted)

    def test_requeue_gives_every_rank_one_signal_and_time(self):
        os.mkdir(path("signals"))
        slow = dict(stand_in, STAND_IN_SECONDS="8")
        job = submit("fit_mpi.sbatch", folder="signals", environment=slow)
        wait(job, lambda tasks: log(job, "signals").count("rank") == 2)
        slurm("scontrol", "requeue", job)
        self.assert_completed(wait(job, lambda tasks: tasks[0]["JobState"] == "COMPLETED" and tasks[0]["Restarts"] == "1"), job)
        self.assertEqual(re.findall("saved.*", log(job, "signals")), ["saved after signals 15"] * 2)
        self.assertEqual(log(job, "signals").count("rank"), 4)

    def test_time_limit_is_told_in_time(self):
        (task,) = wait(near_limit, seconds=80)
        self.assertEqual((task["JobState"], task["ExitCode"]), ("FAILED", "130:0"))
        self.assertEqual(re.findall("saved.*", log(near_limit, "limit")), ["saved after signals 15"])


if __name__ == "__main__":
    main()
