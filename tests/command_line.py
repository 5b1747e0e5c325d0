"""Running the program as a user does, and files to run it on: what the tests of its command line share.

VOXPOP_SHARED_DATA names a folder with the real data sets; without it the tests that need them are skipped. Expected values
are worked out in the tests, with numpy, from the files, never with voxpop.
"""

import atexit
import json
import math
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

from program import VOXPOP, scratch  # first: it skips where what follows is missing

import h5py
import numpy as np

SHARED_DATA = os.environ.get("VOXPOP_SHARED_DATA", "")
FLAGS = ["ok", "noisy", "random", "side_clicker", "adversarial", "too_few_votes", "unknown", "copies"]

with open(VOXPOP, "rb") as program:
    sanitized = b"__asan_init" in program.read()
patience = 120 if sanitized else 60  # seconds any one command may take, beside others
memory_limit = 8 << 30 if sanitized else 1 << 30  # bytes that bad input may make voxpop use
figures = []  # measured, printed at the end


@atexit.register
def print_figures():
    for figure in figures:
        print("measured:", figure, file=sys.stderr)


# ---------------------------------------------------------------------------------------------------------- running voxpop


class Result:
    def __init__(self, code, out, err, peak):
        self.code, self.out, self.err, self.peak = code, out, err, peak

    def lines(self):
        return self.err.decode(errors="replace").splitlines()


def can_be_nameless(folder):
    try:
        os.close(os.open(folder, os.O_TMPFILE | os.O_WRONLY))
    except OSError:
        return False
    return True


def start(*arguments, **options):
    return subprocess.Popen([VOXPOP, *map(str, arguments)], stdin=subprocess.DEVNULL, **options)


def wait(process, seconds):
    """Exit code and peak memory in bytes; kills the process and fails the test when it takes longer than `seconds`."""
    give_up, pause = time.monotonic() + seconds, 0.001
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            return process.returncode, usage.ru_maxrss * 1024
        if time.monotonic() > give_up:
            process.kill()
            _, status, _ = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            raise AssertionError(f"still running after {seconds} s: {shlex.join(process.args)}")
        time.sleep(pause)
        pause = min(1.2 * pause, 0.02)


def is_done(process):
    """It is a zombie until wait() takes it."""
    with open(f"/proc/{process.pid}/stat") as file:
        return file.read().rsplit(")", 1)[1].split()[0] == "Z"


def run(*arguments, **options):
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        code, peak = wait(start(*arguments, stdout=out, stderr=err, **options), patience)
        out.seek(0)
        err.seek(0)
        return Result(code, out.read(), err.read(), peak)


def succeed(*arguments, **options):
    result = run(*arguments, **options)
    if result.code != 0:
        raise AssertionError(
            f"exit {result.code} of {shlex.join(map(str, arguments))}: {result.err.decode(errors='replace')}"
        )
    return result


class CliTest(unittest.TestCase):
    """Each test has a folder of its own."""

    def setUp(self):
        self.folder = tempfile.mkdtemp(dir=scratch)

    def tearDown(self):
        shutil.rmtree(self.folder)

    def path(self, name):
        return os.path.join(self.folder, name)

    def write_bytes(self, name, content):
        with open(self.path(name), "wb") as file:
            file.write(content)
        return self.path(name)

    def assert_one_line(self, result, code, *needles):
        """Exit `code`, nothing on stdout, one line on stderr with all of `needles`; "row 5" does not match "row 57"."""
        shown = f"exit {result.code}, stderr {result.err!r}"
        self.assertEqual(result.code, code, shown)
        self.assertEqual(result.out, b"", shown)
        self.assertEqual(len(result.lines()), 1, shown)
        self.assertTrue(result.err.startswith(b"voxpop: ") and result.err.endswith(b"\n"), shown)
        for needle in needles:
            self.assertRegex(result.lines()[0], r"(?<![\w-])" + re.escape(str(needle)) + r"(?!\w)", shown)
        self.assertNotIn(b"no reason", result.err)
        self.assertLess(len(result.err), 700, shown)

    def assert_refused(self, path, *needles, code=3, verbs=("check", "fit")):
        """Each verb refuses `path` in one line that names it; no output appears and an older one is left as it was."""
        for verb in verbs:
            if verb in ("check", "info"):
                self.assert_one_line(run(verb, path), code, path, *needles)
                continue
            for older in (None, b"older output"):
                folder = tempfile.mkdtemp(dir=self.folder)
                output = os.path.join(folder, "out.h5")
                if older is not None:
                    with open(output, "wb") as file:
                        file.write(older)
                self.assert_one_line(run(verb, path, "-o", output), code, path, *needles)
                self.assert_untouched(folder, older)

    def assert_untouched(self, folder, older):
        """The folder holds out.h5 with what it held before, or nothing; no temporary file beside it."""
        self.assertEqual(os.listdir(folder), [] if older is None else ["out.h5"])
        if older is not None:
            with open(os.path.join(folder, "out.h5"), "rb") as file:
                self.assertEqual(file.read(), older)


# ------------------------------------------------------------------------------------------------------------- input files


def plain_votes(votes=200):
    """Valid columns: 10 prompts of 4 items, 8 annotators. Vote 57 is item 5 against item 6."""
    rng = np.random.default_rng(4)
    prompt, left = rng.integers(0, 10, votes), rng.integers(0, 4, votes)
    right = (left + rng.integers(1, 4, votes)) % 4
    columns = {
        "comparisons/left": 4 * prompt + left,
        "comparisons/right": 4 * prompt + right,
        "comparisons/annotator": rng.integers(0, 8, votes),
        "comparisons/preference": rng.integers(-1, 2, votes).astype("i1"),
        "items/id": np.array([f"item{i}" for i in range(40)], "S"),
        "items/prompt": np.arange(40) // 4,
        "prompts/id": np.array([f"prompt{i}" for i in range(10)], "S"),
        "annotators/id": np.array([f"annotator{i}" for i in range(8)], "S"),
    }
    if votes > 57:
        columns["comparisons/left"][57], columns["comparisons/right"][57] = 5, 6
    return columns


def changed(column, row, value, votes=200):
    """plain_votes with one value changed; the column takes the value's type where it must."""
    columns = plain_votes(votes)
    columns[column][row] = value
    return columns


def without(*names):
    return {name: column for name, column in plain_votes().items() if name not in names}


def write_votes(path, columns, schema="comparisons/1", libver=None, **storage):
    """A column is an array, or a function of (file, name) that makes the dataset."""
    with h5py.File(path, "w", libver=libver) as file:
        if schema is not None:
            file.attrs["voxpop_schema"] = schema
        for name, column in columns.items():
            if callable(column):
                column(file, name)
            else:
                file.create_dataset(name, data=column, **storage)
    return path


def matrix(values, names=None, **storage):
    """A column of write_votes: items/features with the attribute `names`."""

    def make(file, name):
        dataset = file.create_dataset(name, data=values, **storage)
        if names is not None:
            dataset.attrs["names"] = names

    return make


def variable_length(column):
    def make(file, name):
        file.create_dataset(name, data=[bytes(text) for text in column], dtype=h5py.string_dtype("utf-8"))

    return make


def compact(column):
    """Data inside the object header, which h5py only offers in its low-level interface."""

    def make(file, name):
        creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        creation.set_layout(h5py.h5d.COMPACT)
        links = h5py.h5p.create(h5py.h5p.LINK_CREATE)
        links.set_create_intermediate_group(True)
        kind = h5py.h5t.py_create(column.dtype)
        space = h5py.h5s.create_simple(column.shape)
        dataset = h5py.h5d.create(file.id, name.encode(), kind, space, creation, links)
        dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, column)

    return make


def read_all(path):
    """All datasets as name -> (dtype, shape, bytes): equal means bit for bit."""
    contents = {}

    def visit(name, thing):
        if isinstance(thing, h5py.Dataset):
            data = thing[()]
            raw = repr(data.tolist()).encode() if data.dtype == object else data.tobytes()
            contents[name] = (str(thing.dtype), thing.shape, raw)

    with h5py.File(path) as file:
        file.visititems(visit)
    return contents


def read(path, *names):
    with h5py.File(path) as file:
        columns = [file[name][()] for name in names]
    return columns[0] if len(columns) == 1 else columns


def read_provenance(path):
    with h5py.File(path) as file:
        text = file.attrs["provenance"]
    return json.loads(text)


def pairs_of(left, right):
    """Distinct pairs in ascending order as (low, high), and each vote's row among them."""
    both = np.stack([np.minimum(left, right), np.maximum(left, right)], axis=1).astype(np.int64)
    pairs, row = np.unique(both, axis=0, return_inverse=True)
    return pairs, row.reshape(-1)


def components_of(items, pairs):
    """Each item's component, numbered by its first item; -1 without a pair."""
    label = np.arange(items)
    while True:  # the smallest label spreads over every pair until nothing moves
        smallest = label.copy()
        np.minimum.at(smallest, pairs[:, 0], label[pairs[:, 1]])
        np.minimum.at(smallest, pairs[:, 1], label[pairs[:, 0]])
        if np.array_equal(smallest, label):
            break
        label = smallest
    voted = np.zeros(items, bool)
    voted[pairs.reshape(-1)] = True
    number = np.full(items, -1)
    number[voted] = np.unique(label[voted], return_inverse=True)[1]
    return number


normal_cdf = np.vectorize(lambda z: 0.5 * math.erfc(-z / math.sqrt(2)))
