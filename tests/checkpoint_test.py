"""Fits that go on where they were interrupted.

Usage: python checkpoint_test.py PATH_TO_VOXPOP [unittest arguments]
"""

import json
import os
import resource
import shutil
import signal
import subprocess
import tempfile
import time

from program import main, scratch  # first: it skips where what follows is missing
from command_line import CliTest, is_done, patience, read, read_provenance, run, start, succeed, wait

import h5py
import numpy as np


class Checkpoints(CliTest):
    @classmethod
    def setUpClass(cls):
        cls.home = tempfile.mkdtemp(dir=scratch)
        cls.votes = os.path.join(cls.home, "votes.h5")
        succeed("simulate", cls.votes, "--prompts", 20_000, "--ties", 0.1)
        cls.plain = os.path.join(cls.home, "plain.h5")
        succeed("fit", cls.votes, "-o", cls.plain, "--device", "cpu")

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.home)

    def fit(self, *options):
        return ["fit", self.votes, "-o", self.path("fit.h5"), "--checkpoint", self.path("kept"), "--device", "cpu", *options]

    def end_early(self, number, *options):
        """Ends a fit by a signal when it has written its checkpoint once; returns the exit code and stderr."""
        for _ in range(5):  # where others keep the cores busy, it may be done by then
            code, err = self.signal_once(number, *options)
            if code != 0:
                break
            os.remove(self.path("fit.h5"))
        return code, err

    def signal_once(self, number, *options):
        with tempfile.TemporaryFile() as err:
            process = start(*self.fit("--checkpoint-every", 0, *options), stdout=subprocess.DEVNULL, stderr=err)
            give_up = time.monotonic() + patience
            while not os.path.exists(self.path("kept")) and not is_done(process) and time.monotonic() < give_up:
                time.sleep(0.001)
            os.kill(process.pid, number)
            code, _ = wait(process, patience)
            err.seek(0)
            return code, err.read().decode()

    def assert_resumed(self):
        result = succeed(*self.fit())
        self.assertRegex(result.err.decode(), r"note: .*kept: the fit continues after \d+ iterations")
        self.assertFalse(os.path.exists(self.path("kept")))
        for name in ("pairs/probability", "pairs/margin_se", "items/score", "annotators/discrimination", "annotators/tie_habit", "components/tie_habit"):
            np.testing.assert_array_equal(read(self.path("fit.h5"), name), read(self.plain, name))
        changes = [read_provenance(file)[key] for file in (self.path("fit.h5"), self.plain) for key in ("iterations", "log_evidence")]
        self.assertEqual(changes[:2], changes[2:])

    def test_goes_on_after_a_signal(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(number=number):
                code, err = self.end_early(number, "--threads", 1)
                self.assertEqual(code, 130, err)
                self.assertRegex(err, r"interrupted; .*kept has the fit after \d+ iterations")
                self.assertFalse(os.path.exists(self.path("fit.h5")))
                self.assert_resumed()
                os.remove(self.path("fit.h5"))

    def test_goes_on_after_a_kill(self):
        code, err = self.end_early(signal.SIGKILL)
        self.assertEqual(code, -signal.SIGKILL, err)
        self.assert_resumed()

    def test_of_another_fit_is_refused(self):
        self.end_early(signal.SIGTERM)
        for options, name in (
            (["--ties", "half"], "ties"),
            (["--ignore", "features"], "ignore"),
            (["--max-iterations", 7], "max_iterations"),
        ):
            result = run(*self.fit(*options))
            self.assertEqual(result.code, 3)
            self.assertIn(f"kept: this is the checkpoint of another fit ({name} differs)", result.err.decode())
        self.assert_resumed()

    def test_a_file_that_is_no_checkpoint_stays(self):
        for content, code in ((b"my diary", 3), (b"", 3)):
            self.write_bytes("kept", content)
            result = run(*self.fit())
            self.assertEqual(result.code, code, result.err)
            self.assertIn("kept", result.err.decode())
            with open(self.path("kept"), "rb") as file:
                self.assertEqual(file.read(), content)
        shutil.copy(self.votes, self.path("kept"))
        self.assertIn("not a checkpoint", run(*self.fit()).err.decode())

    def test_damaged(self):
        self.end_early(signal.SIGTERM)
        with open(self.path("kept"), "r+b") as file:
            file.truncate(os.path.getsize(self.path("kept")) // 2)
        result = run(*self.fit())
        self.assertIn(result.code, (3, 4))
        self.assertIn("kept", result.err.decode())
        self.assertFalse(os.path.exists(self.path("fit.h5")))

    def test_where_it_cannot_be_written(self):
        result = run("fit", self.votes, "-o", self.path("fit.h5"), "--checkpoint", self.path("nowhere/kept"))
        self.assertEqual(result.code, 4)
        self.assertIn("nowhere/kept", result.err.decode())
        os.symlink(self.folder, self.path("link"))
        for name in (self.votes, self.path("fit.h5"), self.path("./fit.h5"), self.path("link/fit.h5")):
            result = run("fit", self.votes, "-o", self.path("fit.h5"), "--checkpoint", name)
            self.assertEqual(result.code, 2, result.err)

    def test_no_room_for_it_does_not_end_the_fit(self):
        # Of one large component, whose checkpoint has 128 bytes an item: more than the fit, packed.
        succeed("simulate", self.path("graph.h5"), "--shape", "graph", "--prompts", 4000, "--pairs-per-prompt", 5, "--votes-per-pair", 1)
        succeed("fit", self.path("graph.h5"), "-o", self.path("whole.h5"), "--device", "cpu")
        size = os.path.getsize(self.path("whole.h5")) + 100_000
        limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        result = run("fit", self.path("graph.h5"), "-o", self.path("fit.h5"), "--checkpoint", self.path("kept"), "--device", "cpu",
                     "--checkpoint-every", 0, preexec_fn=limit)
        self.assertEqual(result.code, 0, result.err)
        self.assertRegex(result.err.decode(), "note: .*kept: .*; the fit continues without a checkpoint")

    def test_no_file_is_named(self):
        for options in (["--checkpoint", ""], ["--checkpoint-every", 3], ["--warm-start", ""]):
            self.assertEqual(run("fit", self.votes, "-o", self.path("fit.h5"), *options).code, 2)

    def test_info(self):
        self.end_early(signal.SIGTERM)
        self.assertEqual(json.loads(succeed("info", self.path("kept"), "--json").out)["provenance"]["model"], "rater")

    def test_a_flipped_bit(self):
        self.end_early(signal.SIGTERM)
        for name in ("state", "annotators", "site_shift", "pair_mean"):
            with h5py.File(self.path("kept"), "r+") as file:
                row = len(file[name]) // 3
                file[name][row] ^= 1 << 16
            result = run(*self.fit())
            self.assertEqual(result.code, 3, (name, result.err))
            self.assertIn("the file is damaged", result.err.decode())
            with h5py.File(self.path("kept"), "r+") as file:
                file[name][row] ^= 1 << 16
        self.assert_resumed()

    def test_interrupted_while_calibrating(self):
        """The fit itself is kept by then."""
        command = self.fit("--checkpoint-every", 1000, "--calibrate", "--threads", 1)
        with tempfile.TemporaryFile() as err:
            process = start(*command, stdout=subprocess.DEVNULL, stderr=err)
            give_up = time.monotonic() + patience
            while not os.path.exists(self.path("kept")) and not is_done(process) and time.monotonic() < give_up:
                time.sleep(0.001)
            while time.time() - os.path.getmtime(self.path("kept")) < 0.3 and time.monotonic() < give_up:
                time.sleep(0.01)  # no longer written anew
            os.kill(process.pid, signal.SIGTERM)
            code, _ = wait(process, patience)
            err.seek(0)
            text = err.read().decode()
        self.assertEqual(code, 130, text)
        self.assertRegex(text, r"interrupted; .*kept has the fit after \d+ iterations")
        self.assert_resumed()

    def test_one_that_failed_strictly_is_not_kept(self):
        result = run(*self.fit("--checkpoint-every", 0, "--strict", "--max-iterations", 3))
        self.assertEqual(result.code, 5, result.err)
        self.assertEqual(os.listdir(self.folder), [])


if __name__ == "__main__":
    main()
