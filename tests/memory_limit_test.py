"""Fits within --memory-limit.

Usage: python memory_limit_test.py PATH_TO_VOXPOP [unittest arguments]
"""

import os
import re
import resource
import shutil
import tempfile

from program import main, scratch  # first: it skips where what follows is missing
from command_line import CliTest, figures, run, sanitized, succeed

import h5py


class MemoryLimit(CliTest):
    @classmethod
    def setUpClass(cls):
        cls.home = tempfile.mkdtemp(dir=scratch)
        cls.votes = os.path.join(cls.home, "votes.h5")
        succeed("simulate", cls.votes, "--prompts", 150_000, "--ties", 0.1)  # 3 million votes

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.home)

    def fit(self, name, *options, **environment):
        arguments = ["fit", self.votes, "-o", self.path(name), "--device", "cpu", "--threads", 2, *options]
        return run(*arguments, env={**os.environ, **environment})

    def content(self, name):
        found = {}
        with h5py.File(self.path(name)) as file:
            file.visititems(lambda at, node: found.update({at: node[()].tobytes()} if hasattr(node, "dtype") else {}))
        return found

    def test_stays_within_it_with_the_same_bits(self):
        plain = self.fit("plain.h5")
        os.mkdir(self.path("disk"))
        for name, folder in (("limited.h5", self.path("disk")), ("beside.h5", "/nowhere")):
            for _ in range(3):  # what keeps to it needs a core now and then
                limited = self.fit(name, "--memory-limit", "110MB", TMPDIR=folder)
                if b"was exceeded" not in limited.out:
                    break
            self.assertEqual((plain.code, limited.code), (0, 0), limited.err)
            self.assertEqual(self.content(name), self.content("plain.h5"))
            # As it says itself: what the system says of a child begins with this process's own.
            peaks = [int(re.search(rb"peak memory (\d+) MiB", result.out)[1]) for result in (plain, limited)]
            if not sanitized:
                self.assertGreater(peaks[0], 140)
                self.assertLess(peaks[1], 115)
        self.assertEqual(os.listdir(self.path("disk")), [])
        self.assertEqual(sorted(os.listdir(self.folder)), ["beside.h5", "disk", "limited.h5", "plain.h5"])
        figures.append(f"peak memory of 3 million votes: {peaks[0]} MiB, limited to 110 MB {peaks[1]} MiB")

    def test_a_limit_that_cannot_be_kept_does_no_harm(self):
        result = self.fit("tiny.h5", "--memory-limit", "2MB")
        self.assertEqual(result.code, 0)
        self.assertRegex(result.out, rb"WARNING: --memory-limit was exceeded: .* came to \d+ MiB")
        result = self.fit("none.h5", "--memory-limit", "150")
        self.assertEqual(result.code, 2)
        self.assertIn(b"is 150 bytes; it must be at least 1 MiB", result.err)

    def test_no_room_for_scratch(self):
        limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
        arguments = ["fit", self.votes, "-o", self.path("fit.h5"), "--device", "cpu", "--memory-limit", "110MB"]
        result = run(*arguments, preexec_fn=limit, env={**os.environ, "TMPDIR": self.folder})
        self.assertEqual(result.code, 4, result.err)
        self.assertRegex(result.err.decode(), f"{self.folder}: no room for .* MiB of scratch files: File too large")
        self.assertEqual(os.listdir(self.folder), [])


if __name__ == "__main__":
    main()
