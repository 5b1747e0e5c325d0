"""What voxpop does when something goes wrong around it: full disks, kills, signals, other programs, too little memory, and
files that are made to do harm. docs/reliability.md has the table of it, and names the tests that hold the rest of that.

Usage: python faults_test.py PATH_TO_VOXPOP [unittest arguments]
"""

import concurrent.futures
import contextlib
import fcntl
import functools
import gzip
import json
import os
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
import unittest
import zlib

from program import VOXPOP, h5py, main, numpy as np, path, scratch, voxpop, without_counters

OLDER = b"older output"
MIB = 1 << 20
NOBODY = 65534
PATIENCE = 60  # seconds until a run is taken as hanging
with open(VOXPOP, "rb") as program:
    SANITIZED = b"__asan_init" in program.read()


def setUpModule():
    """Votes, a fit of them and texts, small and larger."""
    voxpop("simulate", path("small.h5"), "--prompts", 40, "--annotators", 20, "--days", 3)
    voxpop("fit", path("small.h5"), "-o", path("small_fit.h5"))
    voxpop("simulate", path("large.h5"), "--prompts", 20_000, "--no-compress")
    voxpop("fit", path("large.h5"), "-o", path("large_fit.h5"))
    with open(path("votes.csv"), "w") as file:
        file.write("left,right,preference\n" + "".join(f"a{i},b,{('left', 'right')[i % 2]}\n" for i in range(300)))
    with gzip.open(path("small.jsonl.gz"), "wb") as file:
        file.write(texts(40))


def texts(prompts):
    rows = ({"id": f"p{p}/r{r}", "text": 300 * "x", "prompt": "?"} for p in range(prompts) for r in range(4))
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def limit(which, most):
    return lambda: resource.setrlimit(which, (most, most))


def can_be_nameless(folder):
    with contextlib.suppress(OSError):
        os.close(os.open(folder, os.O_TMPFILE | os.O_WRONLY))
        return True


@functools.cache
def failing_calls():
    """A library to preload."""
    if SANITIZED:
        raise unittest.SkipTest("a sanitizer's library must be loaded first")
    if shutil.which("cc") is None:
        raise unittest.SkipTest("no cc, which builds failing_calls.c")
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "failing_calls.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", path("failing_calls.so"), source, "-ldl"], check=True)
    return path("failing_calls.so")


def content_of(name):
    with open(name, "rb") as file:
        return file.read()


def write_votes(name, columns):
    with h5py.File(path(name), "w") as file:
        file.attrs["voxpop_schema"] = "comparisons/1"
        for dataset, column in columns.items():
            if callable(column):
                column(file, dataset)
            elif isinstance(column, list):
                file.create_dataset(dataset, data=np.array(column, dtype=object), dtype=h5py.string_dtype())
            else:
                file[dataset] = column
    return path(name)


def votes(items=40, annotators=8, count=400, **others):
    """Columns of votes; `others`: in place of these, by the last word of their names."""
    rng = np.random.default_rng(5)
    left = rng.integers(0, items, count)
    columns = {
        "comparisons/left": left.astype("i4"),
        "comparisons/right": ((left + 1 + rng.integers(0, items - 1, count)) % items).astype("i4"),
        "comparisons/annotator": rng.integers(0, annotators, count).astype("i4"),
        "comparisons/preference": rng.choice([-1, 1], count).astype("i1"),
        "items/id": [f"item {i}" for i in range(items)],
        "annotators/id": [f"annotator {a}" for a in range(annotators)],
    }
    return columns | others


class FaultsTest(unittest.TestCase):
    """Each test has a folder, and in it out.h5 of an earlier time, which a failure must leave as it is."""

    def setUp(self):
        self.folder = tempfile.mkdtemp(dir=scratch)
        self.output = os.path.join(self.folder, "out.h5")
        self.begin()

    def begin(self):
        for name in os.listdir(self.folder):
            os.remove(os.path.join(self.folder, name))
        with open(self.output, "wb") as file:
            file.write(OLDER)

    def run_voxpop(self, *arguments, environment={}, **options):
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
        return subprocess.run(
            [VOXPOP, *map(str, arguments)], timeout=PATIENCE, env={**os.environ, **environment}, **options
        )

    def start(self, *arguments, **options):
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
        process = subprocess.Popen([VOXPOP, *map(str, arguments)], **options)
        self.addCleanup(process.kill)
        return process

    def start_and_stop(self, ready, *arguments, **options):
        """Stopped while ready(process)."""
        for _ in range(5):  # where others keep the cores busy, it may be further by the time that this script looks
            self.begin()
            process = self.start(*arguments, **options)
            wait_until(lambda: ready(process) or process.poll() is not None)
            process.send_signal(signal.SIGSTOP)
            wait_until(lambda: process.poll() is not None or stat_of(process) == "T")
            if process.poll() is None and ready(process):
                return process
            process.kill()
            process.communicate()
        self.fail("too quick to be stopped")

    def assert_older(self, folder=None):
        folder = folder or self.folder
        self.assertEqual(os.listdir(folder), ["out.h5"])
        self.assertEqual(content_of(os.path.join(folder, "out.h5")), OLDER)

    def assert_failed(self, done, code, pattern):
        """In one line, which is not long and does nothing to a terminal."""
        error = done.stderr.decode()
        self.assertEqual(done.returncode, code, error)
        self.assertEqual(error.count("\n"), 1, error)
        self.assertRegex(error, pattern)
        self.assertLess(len(error), 700)
        self.assertNotRegex(error[:-1], "[\x00-\x1f\x7f-\x9f]")

    def refuse(self, code, pattern, *arguments, **options):
        self.assert_failed(self.run_voxpop(*arguments, **options), code, pattern)
        self.assert_older()


# ------------------------------------------------------------------------------------------------------------- full disks


@without_counters
class FailingCalls(FaultsTest):
    """Every call by which something is written fails once, and all after it; the calls are a stand-in's."""

    @classmethod
    def setUpClass(cls):
        cls.library = failing_calls()

    def commands(self, output):
        return {
            "fit": ["fit", path("small.h5"), "-o", output],
            "fit --no-compress": ["fit", path("small.h5"), "-o", output, "--no-compress"],
            "fit --memory-limit": ["fit", path("small.h5"), "-o", output, "--memory-limit", "200MB"],
            "simulate": ["simulate", output, "--prompts", "5"],
            "import": ["import", path("votes.csv"), "-o", output],
            "export": ["export", path("small_fit.h5"), "--format", "trl", "--texts", path("small.jsonl.gz"), "-o", output],
            "report": ["report", path("small_fit.h5"), "-o", output],
            "next": ["next", path("small_fit.h5"), "--budget", "10", "-o", output],
        }

    def call(self, command, number, folder, **faults):
        """The exit, the name of the call that failed or "", and what lies in the folder."""
        os.makedirs(folder)
        with open(os.path.join(folder, "out.h5"), "wb") as file:
            file.write(OLDER)
        log = folder + ".log"
        environment = {"LD_PRELOAD": self.library, "FAULT_FROM": str(number), "FAULT_LOG": log, "TMPDIR": folder} | faults
        done = self.run_voxpop(*command, "--quiet", environment=environment)
        name = content_of(log).decode() if os.path.exists(log) else ""
        found = {entry: content_of(os.path.join(folder, entry)) for entry in os.listdir(folder)}
        shutil.rmtree(folder)
        return done, name, found

    def sweep(self, what, make_command, check, **faults):
        """Calls check(done, name, found) for the first call that fails, the second ..., until a run needs no more."""

        def one(number):
            folder = os.path.join(self.folder, f"{what} {number}")
            return self.call(make_command(os.path.join(folder, "out.h5")), number, folder, **faults)

        names = []
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            for first in range(1, 2000, 8):
                for done, name, found in pool.map(one, range(first, first + 8)):
                    if name == "":
                        self.assertEqual(done.returncode, 0, done.stderr)
                        self.assertNotEqual(found.pop("out.h5"), OLDER)
                        self.assertEqual(found, {})
                        return names
                    with self.subTest(what, call=len(names) + 1, name=name):
                        check(done, name, found)
                    names.append(name)
        self.fail("no run came to its end")

    def assert_nothing_written(self, done, name, found):
        if name == "fclose" and done.returncode == 0:  # of a file that is on the disk and named by then
            self.assertNotEqual(found.pop("out.h5"), OLDER)
            self.assertEqual(found, {})
            return
        self.assert_failed(done, 4, "^voxpop: /.*: .*(No space left|disk full)")
        self.assertEqual(found, {"out.h5": OLDER})

    def test_each_verb(self):
        for what in self.commands(""):
            names = self.sweep(what, lambda output: self.commands(output)[what], self.assert_nothing_written)
            self.assertLessEqual({"fwrite", "fsync", "rename"}, set(names), what)

    def test_where_files_cannot_be_nameless(self):
        scratch_files = {"fit --memory-limit", "export"}
        for what in {"fit", "report"} | scratch_files:
            names = self.sweep(
                what, lambda output: self.commands(output)[what], self.assert_nothing_written, FAULT_NAMED="1"
            )
            self.assertNotIn("linkat", names)
            self.assertEqual("mkostemp" in names, what in scratch_files, what)

    def test_permissions_where_files_cannot_be_nameless(self):
        output = os.path.join(self.folder, "out.h5")
        for mode in (0o600, 0o664, None):
            with contextlib.suppress(FileNotFoundError):
                os.remove(output)
            if mode is not None:
                with open(output, "wb"):
                    os.chmod(output, mode)
            environment = {"LD_PRELOAD": self.library, "FAULT_NAMED": "1", "TMPDIR": self.folder}
            done = self.run_voxpop("simulate", output, "--prompts", "5", "--quiet", environment=environment)
            self.assertEqual(done.returncode, 0, done.stderr)
            umask = os.umask(0)
            os.umask(umask)
            self.assertEqual(os.stat(output).st_mode & 0o777, 0o666 & ~umask if mode is None else mode)

    def test_checkpoint(self):
        """What of it was whole before stays whole, and the fit goes on from there."""
        resumed = []

        def command(output):
            kept = os.path.join(os.path.dirname(output), "kept")
            options = ["--checkpoint", kept, "--checkpoint-every", 0, "--max-iterations", 2]
            return ["fit", path("small.h5"), "-o", output, *options]

        def check(done, _, found):
            self.assert_failed(done, 4, "^voxpop: /.*: .*(No space left|disk full)")
            self.assertEqual(found.pop("out.h5"), OLDER)
            self.assertLessEqual(set(found), {"kept"})
            if "kept" not in found or found["kept"] in resumed:
                return
            resumed.append(found["kept"])
            folder = tempfile.mkdtemp(dir=scratch)
            with open(os.path.join(folder, "kept"), "wb") as file:
                file.write(found["kept"])
            done = self.run_voxpop(*command(os.path.join(folder, "out.h5")))
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertRegex(done.stderr.decode(), r"the fit continues after \d iteration")
            self.assertEqual(os.listdir(folder), ["out.h5"])

        self.sweep("checkpoint", command, check)
        self.assertGreater(len(resumed), 1)

    def test_killed_at_each_call(self):
        """Of a name, the old content or the whole new one. Beside it, only a kill between two last calls leaves a file."""
        left_over = []

        def check(done, name, found):
            self.assertEqual(done.returncode, -signal.SIGKILL)
            content = found.pop("out.h5")
            if content != OLDER:
                self.assertEqual(name, "fclose")
            if found:
                left_over.append(name)

        if not can_be_nameless(self.folder):
            self.skipTest("files cannot be nameless here")
        for what in ("fit", "import", "report"):
            self.sweep(what, lambda output: self.commands(output)[what], check, FAULT_KILL="1")
        self.assertEqual(set(left_over), {"rename"})


class FullDisk(FaultsTest):
    def test_standard_output(self):
        """What was printed to a full disk was not printed."""
        commands = [
            ["simulate", self.output, "--prompts", 10],
            ["import", path("votes.csv"), "-o", self.output],
            ["check", path("small.h5"), "--json"],
            ["fit", path("small.h5"), "-o", self.output, "--json"],
            ["evaluate", path("small.h5")],
            ["report", path("small_fit.h5"), "-o", self.output],
            ["export", path("small_fit.h5"), "--format", "csv"],
            ["next", path("small_fit.h5"), "--budget", 10],
            ["info", path("small_fit.h5")],
            ["devices"],
            ["fit", "--help"],
            ["--version"],
        ]
        for command in commands:
            with self.subTest(command[0]), open("/dev/full", "wb") as full:
                done = self.run_voxpop(*command, stdout=full)
                self.assert_failed(done, 4, "^voxpop: standard output: ")

    def test_standard_error(self):
        """Notes that nobody can read are no reason to give up."""
        columns = votes()
        del columns["comparisons/annotator"]  # which is worth a note
        noted = write_votes("noted.h5", columns)
        with open("/dev/full", "wb") as full:
            done = self.run_voxpop("fit", noted, "-o", self.output, stderr=full)
            self.assertEqual((done.returncode, done.stdout.splitlines()[-1]), (0, b"wrote " + self.output.encode()))
            self.assertEqual(self.run_voxpop("fit", path("none.h5"), "-o", self.output, stderr=full).returncode, 4)

    @contextlib.contextmanager
    def mounted(self, options):
        folder = os.path.join(scratch, "mounted")
        os.makedirs(folder, exist_ok=True)
        mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder]
        if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
            self.skipTest("only root may mount")
        try:
            yield folder
        finally:
            subprocess.run(["umount", folder], check=True)

    def test_real_full_disk(self):
        """The same fit on disks of more and more pages, until one is large enough."""
        for pages in range(1, 2000, 4):
            with self.mounted(f"size={4 * pages}k") as folder:
                output = os.path.join(folder, "out.h5")
                with open(output, "wb") as file:
                    file.write(OLDER)
                done = self.run_voxpop("fit", path("small.h5"), "-o", output)
                if done.returncode == 0:
                    self.assertEqual(os.listdir(folder), ["out.h5"])
                    break
                self.assert_failed(done, 4, f"^voxpop: {output}: cannot .* (full|No space left)")
                self.assert_older(folder)
        else:
            self.fail("no disk was large enough")
        self.assertGreater(pages, 5)

    def test_no_inodes(self):
        with self.mounted("nr_inodes=2") as folder:  # the folder's own, and out.h5's
            with open(os.path.join(folder, "out.h5"), "wb") as file:
                file.write(OLDER)
            done = self.run_voxpop("fit", path("small.h5"), "-o", os.path.join(folder, "out.h5"))
            self.assert_failed(done, 4, "out.h5: cannot write here: No space left on device")
            self.assert_older(folder)

    def test_read_only_disk(self):
        with self.mounted("size=1m") as folder:
            with open(os.path.join(folder, "out.h5"), "wb") as file:
                file.write(OLDER)
            subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
            done = self.run_voxpop("fit", path("small.h5"), "-o", os.path.join(folder, "out.h5"))
            self.assert_failed(done, 4, "out.h5: cannot write here: Read-only file system")
            self.assert_older(folder)


# ----------------------------------------------------------------------------------------------------- outputs and streams


class Outputs(FaultsTest):
    @without_counters
    def test_folder_of_somebody_else(self):
        """As a user who may not write there, or not read the votes."""

        def become_nobody():
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)

        def as_user(*arguments):
            return self.run_voxpop(*arguments, preexec_fn=become_nobody)

        os.chmod(scratch, 0o755)
        try:
            if as_user("--version").returncode != 0:
                self.skipTest("nobody may not run it")
        except PermissionError:
            self.skipTest("nobody may not run it")
        os.chmod(self.folder, 0o555)
        self.assert_failed(as_user("fit", path("small.h5"), "-o", self.output), 4, "out.h5: cannot write here: Permission")
        self.assert_older()
        secret = os.path.join(scratch, "secret.h5")
        shutil.copy(path("small.h5"), secret)
        os.chmod(secret, 0)
        self.assert_failed(as_user("check", secret), 4, "secret.h5: cannot open")
        os.chmod(self.folder, 0o755)

    def test_no_folder_for_temporary_files(self):
        command = ["export", path("small_fit.h5"), "--format", "trl", "--texts", path("small.jsonl.gz"), "-o", self.output]
        for folder in ("/nowhere", "/proc"):
            self.refuse(4, f"{folder}|temporary file", *command, environment={"TMPDIR": folder})

    def test_a_link_is_replaced_and_not_followed(self):
        """In a folder that others write to, a link may lead anywhere."""
        target = os.path.join(self.folder, "target")
        os.rename(self.output, target)
        for leads_to in (target, os.path.join(self.folder, "nowhere")):
            os.symlink(leads_to, self.output)
            self.assertEqual(self.run_voxpop("fit", path("small.h5"), "-o", self.output).returncode, 0)
            self.assertFalse(os.path.islink(self.output))
            os.remove(self.output)
        self.assertEqual(os.listdir(self.folder), ["target"])
        self.assertEqual(content_of(target), OLDER)

    def test_links_to_descriptors(self):
        """/dev/stdout is one, which root would replace, where standard output is a file."""
        os.symlink("/proc/self/fd/1", os.path.join(self.folder, "stdout"))
        with open(path("redirected"), "wb") as file:
            done = self.run_voxpop("simulate", os.path.join(self.folder, "stdout"), stdout=file)
        self.assert_failed(done, 4, "stdout: is a device, pipe or socket")
        self.assertTrue(os.path.islink(os.path.join(self.folder, "stdout")))

    def test_closed_streams(self):
        """The next file opened would take their numbers, and what is printed."""
        columns = votes()
        del columns["comparisons/annotator"]
        noted = write_votes("noted.h5", columns)
        for closed, code in (("2>&-", 0), (">&-", 4), ("<&- >&- 2>&-", 4)):
            for quiet in ("", "--quiet"):
                with self.subTest(closed, quiet=quiet):
                    self.begin()
                    done = subprocess.run(
                        f'"{VOXPOP}" fit "{noted}" -o "{self.output}" {quiet} {closed}', shell=True, capture_output=True
                    )
                    self.assertEqual(done.returncode, code, done.stderr)
                    with h5py.File(self.output) as file:  # written before anything is printed
                        self.assertEqual(file.attrs["voxpop_schema"], "fit/1")
                        for group in file.values():
                            for dataset in group.values():
                                dataset[()]
                    self.assertEqual(os.listdir(self.folder), ["out.h5"])

    def test_broken_pipe(self):
        """As head does: the process ends by SIGPIPE, as others do, when it prints; a fit is written by then."""
        for command in (["export", path("large_fit.h5"), "--format", "csv"], ["fit", path("small.h5"), "-o", self.output]):
            process = subprocess.Popen([VOXPOP, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            process.stdout.close()
            error = process.stderr.read()
            process.stderr.close()
            self.assertEqual((process.wait(PATIENCE), error), (-signal.SIGPIPE, b""))
        with h5py.File(self.output) as file:
            self.assertEqual(file.attrs["voxpop_schema"], "fit/1")

    def test_two_runs_to_one_file(self):
        """One or the other, whole."""
        scores = {}
        for model in ("bt", "rater"):
            voxpop("fit", path("small.h5"), "-o", path(model), "--model", model)
            with h5py.File(path(model)) as file:
                scores[model] = file["items/score"][:]
        for _ in range(5):
            commands = [[VOXPOP, "fit", path("small.h5"), "-o", self.output, "--model", model] for model in scores]
            processes = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for command in commands]
            self.assertEqual([process.wait(PATIENCE) for process in processes], [0, 0])
            self.assertEqual(os.listdir(self.folder), ["out.h5"])
            with h5py.File(self.output) as file:
                model = json.loads(file.attrs["provenance"])["model"]
                np.testing.assert_array_equal(file["items/score"][:], scores[model])

    def test_a_checkpoint_of_another_run_is_left_alone(self):
        kept, other = os.path.join(self.folder, "kept"), path("other")
        command = ["fit", path("large.h5"), "-o", self.output, "--model", "rater", "--threads", 1, "--checkpoint-every", 0]

        def stop_when_kept(name, *options):
            return self.start_and_stop(lambda _: os.path.exists(name), *command, "--checkpoint", name, *options)

        second = stop_when_kept(other, "--ties", "half")
        second.kill()
        second.communicate()
        content = content_of(other)
        first = stop_when_kept(kept)
        os.replace(other, kept)
        first.send_signal(signal.SIGCONT)
        _, error = first.communicate(timeout=PATIENCE)
        self.assertEqual(first.returncode, 0, error)
        self.assertRegex(error.decode(), "note: .*kept: another fit has written its checkpoint here")
        self.assertEqual(content_of(kept), content)


# ------------------------------------------------------------------------------------------------------ kills and signals


class Signals(FaultsTest):
    def test_killed_at_50_moments(self):
        command = ["fit", path("large.h5"), "-o", self.output, "--threads", "1"]
        began = time.monotonic()
        self.assertEqual(self.run_voxpop(*command).returncode, 0)
        seconds = time.monotonic() - began
        whole = os.path.getsize(self.output)
        endings = set()
        for moment in range(50):
            self.begin()
            process = subprocess.Popen([VOXPOP, *command], stdout=subprocess.DEVNULL)
            time.sleep(seconds * (moment + 0.5) / 50)
            process.kill()
            endings.add(process.wait())
            names = os.listdir(self.folder)
            if can_be_nameless(self.folder):  # a whole one, at most, that was about to be put in its place
                for name in set(names) - {"out.h5"}:
                    self.assertLess(abs(os.path.getsize(os.path.join(self.folder, name)) - whole), 100, moment)
            content = content_of(self.output)
            if content != OLDER:
                self.assertLess(abs(len(content) - whole), 100)  # times in the provenance differ in digits
                with h5py.File(self.output) as file, h5py.File(path("large_fit.h5")) as expected:
                    np.testing.assert_array_equal(file["votes/probability_correct"][:], expected["votes/probability_correct"][:])
        self.assertIn(-signal.SIGKILL, endings)

    def assert_interrupted(self, process, pattern=b"^voxpop: interrupted; nothing was written\n$"):
        _, error = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, 130, error)
        self.assertRegex(error, pattern)
        self.assert_older()

    def test_while_waiting_for_a_pipe(self):
        """For its writer, or for the rest of what it writes: one signal is enough."""
        pipe = path("slow.csv")
        os.mkfifo(pipe)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            for writer in (False, True):
                with self.subTest(number=number, writer=writer):
                    process = self.start("import", pipe, "-o", self.output)
                    with open(pipe, "wb", buffering=0) if writer else contextlib.nullcontext() as file:
                        if writer:
                            file.write(b"left,right,preference\na,b,left\n")
                        # It sleeps in a system call when it has come there.
                        wait_until(lambda: number in signals_of(process, "SigCgt") and stat_of(process) == "S")
                        time.sleep(0.05)
                        process.send_signal(number)
                        self.assert_interrupted(process)

    def test_twice(self):
        """While a checkpoint is being written, for which the first signal waits, here for ever; the second does not."""
        command = ["fit", path("small.h5"), "-o", self.output, "--checkpoint", os.path.join(self.folder, "kept")]
        for numbers in ((signal.SIGTERM, signal.SIGINT), (signal.SIGINT, signal.SIGTERM), (signal.SIGTERM, signal.SIGTERM)):
            for named in ({}, {"FAULT_NAMED": "1"}):
                with self.subTest(numbers=numbers, **named), tempfile.TemporaryDirectory(dir=scratch) as logs:
                    faults = {"LD_PRELOAD": failing_calls(), "FAULT_STALL": "1", "FAULT_LOG": os.path.join(logs, "log")}
                    process = self.start(
                        *command, "--checkpoint-every", 0, preexec_fn=default_signals, env={**os.environ, **faults, **named}
                    )
                    wait_until(lambda: os.listdir(logs))
                    if named:
                        self.assertEqual(len(os.listdir(self.folder)), 3)  # out.h5, what becomes it, what becomes kept
                    process.send_signal(numbers[0])
                    pending = lambda: signals_of(process, "SigPnd") | signals_of(process, "ShdPnd")
                    wait_until(lambda: numbers[0] not in pending())
                    with self.assertRaises(subprocess.TimeoutExpired):
                        process.wait(0.1)
                    process.send_signal(numbers[1])
                    self.assert_interrupted(process, b"^$")

    def test_while_nobody_reads(self):
        """Of what is printed to a pipe: that a signal ends the wait is one, too."""
        process = self.start("next", path("large_fit.h5"), "--budget", 20_000)
        os.set_blocking(process.stdout.fileno(), False)
        wait_until(lambda: stat_of(process) == "S" and readable_bytes(process.stdout) >= 65_536 - 4096)
        time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(PATIENCE), 130)
        process.stdout.close()
        self.assertEqual(process.stderr.read(), b"voxpop: interrupted; nothing was written\n")
        process.stderr.close()

    def test_while_nobody_reads_a_summary(self):
        """The output is written by then, and only that."""
        for command in (["fit", path("small.h5"), "-o", self.output], ["manual"]):
            with self.subTest(command[0]):
                ours, its = os.pipe()
                fcntl.fcntl(its, fcntl.F_SETPIPE_SZ, 4096)
                if command[0] == "fit":  # whose summary is short
                    os.write(its, bytes(4096))
                process = self.start(*command, stdout=its)
                os.close(its)
                written = lambda: content_of(self.output) != OLDER if command[0] == "fit" else readable_bytes(ours) == 4096
                wait_until(lambda: written() and stat_of(process) == "S")
                time.sleep(0.05)
                process.send_signal(signal.SIGTERM)
                _, error = process.communicate(timeout=PATIENCE)
                os.close(ours)
                self.assertEqual((process.returncode, error), (130, b"voxpop: interrupted; the output is incomplete\n"))
        with h5py.File(self.output) as file:
            self.assertEqual(file.attrs["voxpop_schema"], "fit/1")

    def test_hangup_is_ignored_under_nohup(self):
        ignore = lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)
        command = ["fit", path("large.h5"), "-o", self.output]
        process = self.start_and_stop(lambda process: opened(process, self.folder), *command, preexec_fn=ignore)
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGCONT)
        _, error = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, 0, error)


def default_signals():
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # ignored by what a shell starts in the background


def wait_until(true):
    give_up = time.monotonic() + PATIENCE
    while not true():
        if time.monotonic() > give_up:
            raise AssertionError("waited in vain")
        time.sleep(0.001)


def stat_of(process):
    with open(f"/proc/{process.pid}/stat") as file:
        return file.read().rsplit(")", 1)[1].split()[0]


def signals_of(process, which):
    with open(f"/proc/{process.pid}/status") as file:
        mask = int(next(line for line in file if line.startswith(which)).split()[1], 16)
    return {number for number in signal.Signals if mask >> (number - 1) & 1}


def opened(process, folder):
    with contextlib.suppress(OSError):
        descriptors = f"/proc/{process.pid}/fd"
        return any(os.readlink(f"{descriptors}/{number}").startswith(folder) for number in os.listdir(descriptors))


def readable_bytes(pipe):
    return struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)))[0]


# ------------------------------------------------------------------------------------------------------- unsteady inputs


class Inputs(FaultsTest):
    def feed(self, name, content, pieces=6):
        """A pipe that gives its content slowly."""
        os.mkfifo(path(name))

        def write():
            with open(path(name), "wb", buffering=0) as file:
                for begin in range(0, len(content), len(content) // pieces + 1):
                    file.write(content[begin : begin + len(content) // pieces + 1])
                    time.sleep(0.02)

        threading.Thread(target=write, daemon=True).start()
        return path(name)

    def test_slow_pipes(self):
        """Tables come through pipes, plain and packed; HDF5 and texts do not."""
        table = content_of(path("votes.csv"))
        expected = voxpop("import", path("votes.csv"), "-o", path("imported.h5"), "--json").stdout
        for name, content in (("pipe.csv", table), ("pipe.csv.gz", gzip.compress(table))):
            done = self.run_voxpop("import", self.feed(name, content), "-o", self.output, "--json")
            self.assertEqual(json.loads(done.stdout) | {"output": ""}, json.loads(expected) | {"output": ""}, done.stderr)
        done = self.run_voxpop("import", "/dev/stdin", "--format", "csv", "-o", self.output, "--json", stdin=None, input=table)
        self.assertEqual(json.loads(done.stdout)["votes"], 300)
        with gzip.open(path("cut.gz"), "wb") as file:
            file.write(table)
        cut = self.feed("cut.csv.gz", content_of(path("cut.gz"))[:-20])
        self.begin()
        self.refuse(4, "ends in the middle of its gzip data", "import", cut, "-o", self.output)
        content = content_of(path("small.h5"))
        self.assert_failed(self.run_voxpop("check", "/dev/stdin", stdin=None, input=content), 4, "not a regular file")
        command = ["export", path("small_fit.h5"), "--format", "trl", "--texts", "/dev/stdin"]
        self.assert_failed(self.run_voxpop(*command, stdin=None, input=b""), 4, "not a regular file")

    def stop_and(self, change, *arguments):
        """Runs it, stopped while it has its input open, and changes that then."""
        shutil.copy(path("large.h5"), path("changing.h5"))
        process = self.start_and_stop(lambda process: opened(process, path("changing.h5")), *arguments)
        change()
        process.send_signal(signal.SIGCONT)
        out, error = process.communicate(timeout=PATIENCE)
        return subprocess.CompletedProcess(arguments, process.returncode, out, error)

    def test_truncated_while_read(self):
        command = ["fit", path("changing.h5"), "-o", self.output]
        done = self.stop_and(lambda: os.truncate(path("changing.h5"), 100_000), *command)
        self.assertIn(done.returncode, (3, 4))
        self.assert_failed(done, done.returncode, "changing.h5: .*(truncated|damaged)")
        self.assert_older()

    def test_replaced_while_read(self):
        """What was opened is read to its end."""
        command = ["fit", path("changing.h5"), "-o", self.output]

        def replace():
            shutil.copy(path("small.h5"), path("other.h5"))
            os.replace(path("other.h5"), path("changing.h5"))

        done = self.stop_and(replace, *command)
        self.assertEqual(done.returncode, 0, done.stderr)
        with h5py.File(self.output) as file, h5py.File(path("large_fit.h5")) as expected:
            np.testing.assert_array_equal(file["items/score"][:], expected["items/score"][:])

    def test_texts_cut_short_while_read(self):
        """They are mapped: beyond the end of the file there is nothing, and the process gets SIGBUS."""
        with open(path("other.jsonl"), "w") as file:
            file.write('{"id": "nobody\'s", "text": "x"}\n')
        for others, named in (([], ".*cut.jsonl"), ([path("other.jsonl")], "a file of --texts")):
            with open(path("cut.jsonl"), "wb") as file:
                file.write(texts(20_000))
            command = ["export", path("large_fit.h5"), "--format", "trl", "--texts", path("cut.jsonl"), *others]
            process = self.start(*command, "--threads", 1, "--quiet")
            process.stdout.read(1)  # it writes, and waits for somebody to read
            os.truncate(path("cut.jsonl"), 1000)
            _, error = process.communicate(timeout=PATIENCE)
            self.assertEqual(process.returncode, 4, error)
            self.assertRegex(error.decode(), rf"^voxpop: {named}: became shorter while it was read; run this again\n$")

    def test_open_for_writing_elsewhere(self):
        locked = write_votes("locked.h5", votes())
        writer = "import h5py, sys; file = h5py.File(sys.argv[1], 'r+', locking=True); print('open', flush=True); input()"
        process = subprocess.Popen([sys.executable, "-c", writer, locked], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        process.stdout.readline()
        for verb in (["check", locked], ["fit", locked, "-o", self.output]):
            self.refuse(4, "locked.h5: another program has the file open for writing", *verb)
        process.communicate(b"\n")
        self.assertEqual(self.run_voxpop("check", locked).returncode, 0)

    def test_swmr_and_a_writer_that_died(self):
        columns = votes()
        for end in ("close", "die"):
            with h5py.File(path("swmr.h5"), "w", libver="latest") as file:
                file.attrs["voxpop_schema"] = "comparisons/1"
                for name, column in columns.items():
                    column = np.array(column, dtype="S20") if isinstance(column, list) else column
                    file.create_dataset(name, data=column, chunks=True, maxshape=(None,))
                file.swmr_mode = True
                self.assert_failed(self.run_voxpop("check", path("swmr.h5")), 4, "open for writing, or did not close it")
                if end == "die":
                    shutil.copy(path("swmr.h5"), path("died.h5"))
            self.assertEqual(self.run_voxpop("check", path("swmr.h5")).returncode, 0)
        self.assert_failed(self.run_voxpop("check", path("died.h5")), 4, "or did not close it; close it there, .*h5clear")


# -------------------------------------------------------------------------------------------------------- too little memory


@unittest.skipIf(SANITIZED, "a sanitizer needs all the addresses there are")
class Memory(FaultsTest):
    OUT_OF_MEMORY = "^voxpop: (out of memory.*--memory-limit|cannot start a thread: .*--threads)"

    def test_limited_addresses(self):
        """More and more, until it is enough."""
        commands = {
            "fit": ["fit", path("large.h5"), "-o", self.output],
            "check": ["check", path("large.h5")],
            "import": ["import", path("votes.csv"), "-o", self.output],
            "report": ["report", path("large_fit.h5"), "-o", self.output],
            "export": ["export", path("large_fit.h5"), "--format", "csv", "-o", self.output],
        }
        for what, command in commands.items():
            self.begin()
            failed = 0
            for megabytes in range(16, 1 << 14, 4):
                options = {"preexec_fn": limit(resource.RLIMIT_AS, megabytes * MIB)}
                with contextlib.suppress(OSError):  # too few to start anything
                    if self.run_voxpop("--version", **options).returncode != 0:
                        continue
                    done = self.run_voxpop(*command, **options)
                    if done.returncode == 0:
                        break
                    with self.subTest(what, megabytes=megabytes):
                        self.assert_failed(done, 1, self.OUT_OF_MEMORY)
                        self.assert_older()
                    failed += 1
            else:
                self.fail(f"{what}: nothing was enough")
            self.assertGreater(failed, 0, what)

    @without_counters
    def test_no_threads(self):
        def limited():
            if os.geteuid() == 0:  # whom no such limit holds
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))

        os.chmod(scratch, 0o755)
        os.chmod(self.folder, 0o777)
        try:
            done = self.run_voxpop("fit", path("small.h5"), "-o", self.output, "--threads", 4, preexec_fn=limited)
        except PermissionError:
            self.skipTest("nobody may not run it")
        if done.returncode == 126:
            self.skipTest("nobody may not run it")
        self.assert_failed(done, 1, "^voxpop: cannot start a thread: .*; lower --threads")
        self.assert_older()

    @contextlib.contextmanager
    def control_group(self, most):
        """A folder of the group; of version 1 or 2."""
        lines = content_of("/proc/self/cgroup").decode().splitlines()
        by_controller = dict(line.split(":")[1:] for line in lines)
        first = "memory" in by_controller
        root = f"/sys/fs/cgroup/memory{by_controller['memory']}" if first else f"/sys/fs/cgroup{by_controller.get('', '')}"
        folder = os.path.join(root, f"voxpop-test-{os.getpid()}")
        try:
            os.mkdir(folder)
        except OSError as error:
            self.skipTest(f"no control group can be made: {error}")
        try:
            with open(os.path.join(folder, "memory.limit_in_bytes" if first else "memory.max"), "w") as file:
                file.write(str(most))
            yield folder
        except OSError as error:
            self.skipTest(f"no control group of memory: {error}")
        finally:
            os.rmdir(folder)

    def test_control_group(self):
        """Where the system gives more than there is, it ends the process by SIGKILL: then a limit of its own helps."""
        voxpop("simulate", path("many.h5"), "--prompts", 100_000)  # 2 million votes
        expected = voxpop("fit", path("many.h5"), "-o", path("many_fit.h5"), "--json").stdout
        self.assertGreater(json.loads(expected)["peak_memory"], 100 * MIB)
        with self.control_group(90 * MIB) as group:

            def join():
                with open(os.path.join(group, "cgroup.procs"), "w") as file:
                    file.write(str(os.getpid()))

            command = ["fit", path("many.h5"), "-o", self.output, "--device", "cpu", "--threads", 2]
            done = self.run_voxpop(*command, preexec_fn=join)
            if done.returncode != 0:  # there is no swap
                self.assertEqual(done.returncode, -signal.SIGKILL)
                self.assert_older()
            done = self.run_voxpop(*command, "--memory-limit", "85MB", preexec_fn=join)
            self.assertEqual(done.returncode, 0, done.stderr)
        with h5py.File(self.output) as file, h5py.File(path("many_fit.h5")) as expected:
            np.testing.assert_array_equal(file["pairs/probability"][:], expected["pairs/probability"][:])


# ------------------------------------------------------------------------------------------------ files made to do harm


class OtherFiles(FaultsTest):
    """A votes file must not make voxpop read another one. The other one is a pipe here: who opens it waits for ever."""

    def setUp(self):
        super().setUp()
        if not os.path.exists(path("forbidden.h5")):
            os.mkfifo(path("forbidden.h5"))

    def refuse_votes(self, name, pattern, verbs=("check", "fit", "evaluate")):
        for verb in verbs:
            self.refuse(3, pattern, verb, name, *(["-o", self.output] if verb == "fit" else []))

    def test_soft_links_to_external_links(self):
        def link(file, name):
            file["elsewhere"] = h5py.ExternalLink("forbidden.h5", "/")
            file[name] = h5py.SoftLink("/elsewhere/" + name)

        for name in ("comparisons/left", "comparisons/preference", "items/id", "items/prompt"):
            with self.subTest(name):
                linked = write_votes("linked.h5", votes() | {name: link})
                self.refuse_votes(linked, f"linked.h5: .*'{name}'.* link leads into another file")
        with h5py.File(path("linked.h5"), "w") as file:
            file.attrs["voxpop_schema"] = "comparisons/1"
            file["elsewhere"] = h5py.ExternalLink("forbidden.h5", "/")
            for group in ("comparisons", "items", "annotators"):
                file[group] = h5py.SoftLink("/elsewhere/" + group)
        self.refuse_votes(path("linked.h5"), "linked.h5: .* link leads into another file")
        self.run_voxpop("info", path("linked.h5"))  # which must end, whatever it says

    def test_soft_links_within_the_file_are_followed(self):
        def link(file, name):
            file["elsewhere"] = votes()[name]
            file[name] = h5py.SoftLink("/elsewhere")

        linked = write_votes("within.h5", votes() | {"comparisons/left": link})
        self.assertEqual(self.run_voxpop("check", linked).returncode, 0)
        for leads_to in ("/nowhere", "/comparisons/left"):
            broken = lambda file, name: file.__setitem__(name, h5py.SoftLink(leads_to))
            self.refuse_votes(write_votes("broken.h5", votes() | {"comparisons/left": broken}), "comparisons/left")

    def test_virtual_datasets(self):
        """Of one without a fixed length, even asking for that opens the other file."""

        def virtual(file, name):
            unlimited = h5py.h5s.UNLIMITED
            spaces = [h5py.h5s.create_simple((400,), (unlimited,)) for _ in range(2)]
            for space in spaces:
                space.select_hyperslab((0,), (1,), block=(unlimited,))
            creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            creation.set_virtual(spaces[0], b"forbidden.h5", b"p", spaces[1])
            space = h5py.h5s.create_simple((400,), (unlimited,))
            h5py.h5d.create(file["comparisons"].id, b"preference", h5py.h5t.STD_I8LE, space, creation)

        linked = write_votes("virtual.h5", votes() | {"comparisons/preference": virtual})
        self.refuse_votes(linked, "virtual.h5: 'comparisons/preference' has its data in another file")
        self.assert_failed(self.run_voxpop("info", linked), 3, "has its data in another file")

    def test_external_storage(self):
        for name, kind in (("comparisons/preference", "i1"), ("items/prior_score", "f8"), ("annotators/id", "S8")):
            with self.subTest(name):
                rows = len(votes().get(name, range(40)))
                make = lambda file, name: file.create_dataset(
                    name, (rows,), kind, external=[(path("forbidden.h5"), 0, 8 * rows)]
                )
                linked = write_votes("external.h5", votes() | {name: make})
                self.refuse_votes(linked, f"external.h5: '{name}' has its data in another file")

    def test_references(self):
        def make(file, name):
            of = file["comparisons/preference"]
            kind, reference = (h5py.ref_dtype, of.ref) if name != "items/id" else (h5py.regionref_dtype, of.regionref[:3])
            file.create_dataset(name, data=np.array([reference] * len(votes()[name]), dtype=object), dtype=kind)

        for name in ("comparisons/left", "items/id"):
            columns = votes()
            del columns[name]
            self.refuse_votes(write_votes("references.h5", columns | {name: make}), f"'{name}' is another type")


class Filters(FaultsTest):
    def test_missing_plugins(self):
        """Files as hdf5plugin writes them, where HDF5 finds no such plugin."""
        for number, what in ((32015, "zstd"), (32001, "blosc"), (32004, "lz4"), (307, "bzip2")):

            def packed(file, name):
                creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
                creation.set_chunk((400,))
                creation.set_filter(number, h5py.h5z.FLAG_OPTIONAL, (3,))
                space = h5py.h5s.create_simple((400,))
                dataset = h5py.h5d.create(file["comparisons"].id, b"preference", h5py.h5t.STD_I8LE, space, creation)
                dataset.write_direct_chunk((0,), b"packed by another program")

            columns = votes() | {"comparisons/preference": packed}
            for folder in ("", path("no plugins here")):
                with self.subTest(what, folder=folder):
                    self.refuse(
                        3,
                        rf"'comparisons/preference' is compressed with the filter '.*' \(number {number}\), but HDF5 finds no plugin",
                        "fit",
                        write_votes("packed.h5", columns),
                        "-o",
                        self.output,
                        environment={"HDF5_PLUGIN_PATH": folder},
                    )


@unittest.skipIf(SANITIZED, "a sanitizer needs all the addresses there are")
class Bombs(FaultsTest):
    """Small files that unpack to a great deal, within a gigabyte of addresses."""

    def assert_refused(self, code, pattern, *arguments):
        began = time.monotonic()
        self.refuse(code, pattern, *arguments, preexec_fn=limit(resource.RLIMIT_AS, 1 << 30))
        self.assertLess(time.monotonic() - began, PATIENCE / 2)

    def test_columns(self):
        """2^28 sound votes in 800 KB: as many as there is no memory for."""
        rows, chunk = 1 << 28, 1 << 24

        def packed(value):
            def make(file, name):
                dataset = file.create_dataset(name, (rows,), "i1", chunks=(chunk,), compression="gzip")
                content = zlib.compress(bytes([value]) * chunk, 9)
                for begin in range(0, rows, chunk):
                    dataset.id.write_direct_chunk((begin,), content)

            return make

        columns = {"comparisons/left": packed(0), "comparisons/right": packed(1), "comparisons/preference": packed(1)}
        bomb = write_votes("bomb.h5", columns | {"items/id": ["a", "b"]})
        self.assertLess(os.path.getsize(bomb), MIB)
        for verb in (["check", bomb], ["fit", bomb, "-o", self.output]):
            self.assert_refused(1, "out of memory", *verb)

    def test_ids_that_share_their_text(self):
        """300,000 rows that point to the same megabyte."""
        ids = [MIB * "x"] + [str(i) for i in range(300_000)]
        columns = votes() | {"items/id": ids}
        bomb = write_votes("shared.h5", columns)
        with h5py.File(bomb) as file:
            begin = file["items/id"].id.get_offset()
        with open(bomb, "r+b") as file:
            file.seek(begin)
            first = file.read(16)
            self.assertEqual(struct.unpack("<I", first[:4]), (MIB,))
            file.seek(begin)
            file.write(first * len(ids))
        self.assert_refused(3, "'items/id' should have more text than the whole file", "check", bomb)

    def test_tables(self):
        cases = {
            "commas.csv.gz": (b"", b",", 300, "line 1: more than 65536 columns"),
            "field.csv.gz": (b"left,right,preference\n", b"a", 270, "line 2: a field of more than 256 MiB"),
            "blank.jsonl.gz": (b"", b" ", 270, "line 1 is longer than 256 MiB"),
            "lists.jsonl.gz": (b"", b"[", 20, "line 1: not a JSON object"),
        }
        for name, (head, fill, megabytes, pattern) in cases.items():
            with self.subTest(name):
                with gzip.open(path(name), "wb", compresslevel=1) as file:
                    file.write(head)
                    for _ in range(megabytes):
                        file.write(fill * MIB)
                self.assertLess(os.path.getsize(path(name)), 3 * MIB)
                self.assert_refused(3, pattern, "import", path(name), "-o", self.output, "--quiet")
        keys = b'{"left":"a","right":"b","preference":1' + b',"x":1' * (30 * MIB) + b"}\n"
        with gzip.open(path("keys.jsonl.gz"), "wb", compresslevel=1) as file:
            file.write(keys)
        self.assert_refused(1, "out of memory", "import", path("keys.jsonl.gz"), "-o", self.output, "--quiet")


class LongIds(FaultsTest):
    """Ids of 1 MiB, with what moves a terminal's cursor: as data whole, shown in few characters."""

    NASTY = "\x1b[2J\n\x9b31m"

    @classmethod
    def setUpClass(cls):
        cls.items = [f"{i}{cls.NASTY}" + "é" * (MIB // 2) for i in range(6)]
        cls.annotators = [f"{a}{cls.NASTY}" + "x" * MIB for a in range(3)]
        columns = votes(6, 3, 60) | {"items/id": cls.items, "annotators/id": cls.annotators}
        columns["comparisons/timestamp"] = (1_700_000_000 + np.arange(60)).astype("i8")
        cls.votes = write_votes("long.h5", columns)
        cls.fit = path("long_fit.h5")
        voxpop("fit", cls.votes, "-o", cls.fit)

    def assert_shown(self, text, most=8000):
        self.assertLess(len(text), most)
        self.assertNotRegex(text.decode(), "[\x00-\x09\x0b-\x1f\x7f-\x9f]")

    def test_whole_as_data(self):
        with h5py.File(self.fit) as file:
            self.assertEqual([text.decode() for text in file["items/id"]], self.items)
            self.assertEqual([text.decode() for text in file["annotators/id"]], self.annotators)
        done = self.run_voxpop("export", self.fit, "--format", "jsonl", "--keep-undecided")
        self.assertIn(json.loads(done.stdout.splitlines()[0])["chosen_id"], self.items)
        done = self.run_voxpop("next", self.fit, "--budget", 1)
        self.assertGreater(len(done.stdout), 2 * MIB)

    def test_short_when_shown(self):
        for command in (
            ["check", self.votes],
            ["info", self.votes],
            ["info", self.fit],
            ["fit", self.votes, "-o", self.output],
            ["fit", self.votes, "-o", self.output, "--warm-start", self.fit],
            ["evaluate", self.votes],
            ["report", self.fit, "-o", self.output],
        ):
            with self.subTest(command[0]):
                done = self.run_voxpop(*command)
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assert_shown(done.stdout)
                self.assert_shown(done.stderr)
        self.assertLess(os.path.getsize(self.output), 300_000)  # the page of the last one

    def test_short_in_a_warning(self):
        """Of an annotator who is alone."""
        columns = votes(4, 2, 40, **{"annotators/id": self.annotators[:2]})
        columns["comparisons/left"] = np.repeat([0, 2], 20)
        columns["comparisons/right"] = np.repeat([1, 3], 20)
        columns["comparisons/annotator"] = np.repeat([0, 1], 20)
        done = self.run_voxpop("check", write_votes("alone.h5", columns))
        self.assertIn(b"share no pair with anyone", done.stdout)
        self.assert_shown(done.stdout)

    def test_short_in_errors(self):
        twice = votes() | {"items/id": [self.items[0]] * 2 + [str(i) for i in range(38)]}
        self.refuse(3, r"row 1 is '0\?\[2J\?\?31mé+\.\.\.', and so is row 0", "check", write_votes("twice.h5", twice))
        tables = {
            "itself": (f'left,right,preference\n"{self.items[0]}","{self.items[0]}",left\n', "compared with itself"),
            "preference": (f'left,right,preference\na,b,"{self.items[0]}"\n', "preference is '0"),
            "column": (f'"{self.items[0]}",right,preference\na,b,left\n', "no column 'left'; its columns are '0"),
        }
        for name, (content, pattern) in tables.items():
            with open(path(name + ".csv"), "w") as file:
                file.write(content)
            self.refuse(3, pattern, "import", path(name + ".csv"), "-o", self.output)
        for schema in ("x" * 60_000, self.NASTY):
            with h5py.File(path("schema.h5"), "w") as file:
                file.attrs["voxpop_schema"] = schema
            for verb in ("check", "info", "report"):
                options = ["-o", self.output] if verb == "report" else []
                self.refuse(3, "schema.h5: schema '", verb, path("schema.h5"), *options)

    def test_names_of_datasets(self):
        with h5py.File(path("names.h5"), "w") as file:
            file["a\x1b[2J\x9bb"] = np.arange(3)
            file.attrs["provenance"] = self.NASTY
        done = self.run_voxpop("info", path("names.h5"))
        self.assertEqual(done.returncode, 0)
        self.assert_shown(done.stdout)


if __name__ == "__main__":
    main()
