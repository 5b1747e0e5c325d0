"""Inputs and outputs in odd places, full disks, signals.

Usage: python file_system_test.py PATH_TO_VOXPOP [unittest arguments]
"""

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

from program import main, scratch  # first: it skips where what follows is missing
from command_line import (
    CliTest, can_be_nameless, is_done, patience, plain_votes, read, run, start, succeed, wait, write_votes,
)


class FileSystem(CliTest):
    def setUp(self):
        super().setUp()
        self.votes = write_votes(self.path("votes.h5"), plain_votes())
        self.table = self.write_bytes("votes.csv", b"left,right,preference\na,b,left\n")
        self.commands = {
            "fit": ["fit", self.votes, "-o"],
            "simulate": ["simulate", "--prompts", "10"],
            "import": ["import", self.table, "-o"],
        }

    def test_inputs(self):
        for verb in ("fit", "check", "info"):
            with self.subTest(verb):
                self.assert_refused(self.path("none.h5"), code=4, verbs=(verb,))
                self.assert_refused(self.folder, code=4, verbs=(verb,))
                self.assert_refused(os.path.join(self.votes, "below.h5"), code=4, verbs=(verb,))

    @unittest.skipIf(os.geteuid() == 0, "root may read everything")
    def test_input_that_may_not_be_read(self):
        os.chmod(self.votes, 0)
        self.assert_refused(self.votes, code=4)

    def test_pipe_as_input(self):
        """HDF5 seeks: a pipe is refused, not waited for."""
        os.mkfifo(self.path("pipe.h5"))
        for verb in ("check", "info"):
            result = run(verb, self.path("pipe.h5"))
            self.assertIn(result.code, (3, 4))
            self.assert_one_line(result, result.code, self.path("pipe.h5"))
            self.assertNotIn(b"empty", result.err)

    def test_outputs(self):
        os.mkdir(self.path("folder"))
        before = sorted(os.listdir(self.folder))
        outputs = {
            "is a directory": self.path("folder"),
            "in a missing folder": self.path("none/out.h5"),
            "below a file": os.path.join(self.table, "out.h5"),
            "where nothing can be made": "/proc/self/out.h5",
            "name too long": self.path("x" * 300 + ".h5"),
        }
        for what, output in outputs.items():
            for verb, command in self.commands.items():
                with self.subTest(what, verb=verb):
                    self.assert_one_line(run(*command, output), 4, output)
                    self.assertEqual(sorted(os.listdir(self.folder)), before)
                    self.assertEqual(os.listdir(self.path("folder")), [])

    @unittest.skipIf(os.geteuid() == 0, "root may write everywhere")
    def test_unwritable_directory(self):
        os.mkdir(self.path("folder"), 0o555)
        for verb, command in self.commands.items():
            with self.subTest(verb):
                self.assert_one_line(run(*command, self.path("folder/out.h5")), 4, self.path("folder/out.h5"))

    def test_full_disk(self):
        """A limit on file sizes stands in for it: writing fails half-way."""
        for verb, command in {
            "fit": ["fit", self.votes, "--no-compress", "-o"],
            "simulate": ["simulate", "--prompts", "2000"],
            "import": ["import", self.table, "--no-compress", "-o"],
        }.items():
            for older in (None, b"older output"):
                with self.subTest(verb, older=older):
                    folder = tempfile.mkdtemp(dir=self.folder)
                    output = os.path.join(folder, "out.h5")
                    if older is not None:
                        with open(output, "wb") as file:
                            file.write(older)

                    def limit():
                        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # which voxpop must ignore, so that write() fails
                        resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500))

                    self.assert_one_line(run(*command, output, preexec_fn=limit, restore_signals=False), 4, output)
                    self.assert_untouched(folder, older)


class Interrupted(CliTest):
    """A million votes, so that there is something to interrupt."""

    @classmethod
    def setUpClass(cls):
        cls.home = tempfile.mkdtemp(dir=scratch)
        cls.votes = os.path.join(cls.home, "votes.h5")
        succeed(
            "simulate",
            cls.votes,
            "--prompts",
            50_000,
            "--responses",
            4,
            "--pairs-per-prompt",
            5,
            "--votes-per-pair",
            4,
            "--no-compress",
        )

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.home)

    def start_and_signal(self, arguments, number, delay, older):
        """Sends the signal `delay` seconds after the output is opened; returns the exit code, stderr and the folder."""
        for _ in range(5):  # where others keep the cores busy, it may be done before this script hears of its start
            code, err, folder = self.signal_once(arguments, number, delay, older)
            if code != 0 or delay > 0.1:
                break
        return code, err, folder

    def signal_once(self, arguments, number, delay, older):
        folder = tempfile.mkdtemp(dir=self.folder)
        output = os.path.join(folder, "out.h5")
        if older is not None:
            with open(output, "wb") as file:
                file.write(older)
        with tempfile.TemporaryFile() as err:
            process = start(*arguments, output, stdout=subprocess.DEVNULL, stderr=err)
            give_up = time.monotonic() + patience
            while not self.has_opened_output(process, folder) and not is_done(process) and time.monotonic() < give_up:
                time.sleep(0.001)
            time.sleep(delay)
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, number)
            code, _ = wait(process, patience)
            err.seek(0)
            return code, err.read(), folder

    def has_opened_output(self, process, folder):
        """It has no name until it is complete, where the file system can do that."""
        with contextlib.suppress(OSError):
            descriptors = f"/proc/{process.pid}/fd"
            if any(os.readlink(f"{descriptors}/{number}").startswith(folder) for number in os.listdir(descriptors)):
                return True
        return set(os.listdir(folder)) - {"out.h5"}

    def test_interrupt_and_terminate(self):
        for number, name in ((signal.SIGINT, "SIGINT"), (signal.SIGTERM, "SIGTERM")):
            for delay in (0, 0.1, 0.3):
                for older in (None, b"older output"):
                    with self.subTest(name, delay=delay, older=older):
                        code, err, folder = self.start_and_signal(
                            ["fit", self.votes, "--threads", "1", "-o"], number, delay, older
                        )
                        if code == 0 and delay > 0:
                            self.skipTest("done before the signal came")  # a fast machine
                        self.assertEqual(code, 130, err)
                        self.assertEqual(len(err.splitlines()), 1, err)
                        self.assertIn(b"interrupted", err)
                        self.assert_untouched(folder, older)

    def test_interrupt_simulate(self):
        arguments = ["simulate", "--prompts", "200000", "--responses", "4"]
        code, err, folder = self.start_and_signal(arguments, signal.SIGINT, 0.1, b"older output")
        self.assertEqual(code, 130, err)
        self.assert_untouched(folder, b"older output")

    def test_kill_leaves_an_older_output_as_it_was(self):
        """There is the old content or a whole new fit, and nothing beside it where files can be nameless."""
        for delay in (0, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0):
            with self.subTest(delay=delay):
                code, _, folder = self.start_and_signal(
                    ["fit", self.votes, "--threads", "2", "-o"], signal.SIGKILL, delay, b"older output"
                )
                output = os.path.join(folder, "out.h5")
                if can_be_nameless(folder):  # a whole one, at most, that was about to be put in its place
                    for name in set(os.listdir(folder)) - {"out.h5"}:
                        beside = os.path.join(folder, name)
                        self.assertEqual(read(beside, "votes/probability_correct").shape, (1_000_000,))
                with open(output, "rb") as file:
                    content = file.read(12)
                if code == -signal.SIGKILL and content == b"older output":
                    self.assertEqual(os.path.getsize(output), 12)
                else:  # renamed before the signal came
                    self.assertEqual(read(output, "votes/probability_correct").shape, (1_000_000,))


if __name__ == "__main__":
    main()
