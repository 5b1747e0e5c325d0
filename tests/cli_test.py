"""The command line's contract, from outside: verbs, files, exit codes, messages, and what bad input does.

Usage: python cli_test.py PATH_TO_VOXPOP [unittest arguments]
Exit 77 (skipped) where h5py or numpy is missing. VOXPOP_SHARED_DATA names a folder with the real data sets; without it the
tests that need them are skipped. Expected values are worked out here with numpy from the files, never with voxpop.
"""

import contextlib
import csv
import gzip
import json
import math
import os
import re
import resource
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest
import zlib

try:
    import h5py
    import numpy as np
except ImportError as error:
    print(f"cli_test.py: skipped: {error}", file=sys.stderr)
    sys.exit(77)
try:
    import xxhash
except ImportError:
    xxhash = None

VOXPOP = ""
SHARED_DATA = os.environ.get("VOXPOP_SHARED_DATA", "")
FLAGS = ["ok", "noisy", "random", "side_clicker", "adversarial", "too_few_votes", "unknown", "copies"]

scratch = ""  # a folder for this run
patience = 60  # seconds any one command may take, beside others; more under a sanitizer
memory_limit = 1 << 30  # bytes that bad input may make voxpop use
sanitized = False
figures = []  # measured, printed at the end


def setUpModule():
    global scratch, patience, memory_limit, sanitized
    scratch = tempfile.mkdtemp(prefix="voxpop-cli-")
    with open(VOXPOP, "rb") as file:
        sanitized = b"__asan_init" in file.read()
    if sanitized:
        patience, memory_limit = 120, 8 << 30


def tearDownModule():
    shutil.rmtree(scratch)
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


# ----------------------------------------------------------------------------------------------------------------- usage


class Usage(CliTest):
    def verbs(self):
        listing = succeed().out.decode().split("Subcommands:\n")[1].split("\n\n")[0]
        return [line.split()[0] for line in listing.splitlines() if re.match(r"  \w", line)]

    def test_options_that_are_no_numbers(self):
        votes, fit = write_votes(self.path("votes.h5"), plain_votes()), self.path("fit.h5")
        succeed("fit", votes, "-o", fit)
        for option in ("--margin-scale", "--min-probability", "--max-flagged"):
            for value in ("nan", "-nan", "inf", "-1", "x"):
                with self.subTest(option, value=value):
                    result = run("export", fit, "--format", "trl", option, value, "-o", self.path("rows.jsonl"))
                    self.assert_one_line(result, 2, option, value)
        checkpoint = ("--checkpoint", self.path("kept"), "--checkpoint-every")
        self.assert_one_line(run("fit", votes, "-o", fit, *checkpoint, "nan"), 2, "--checkpoint-every", "nan")
        for value in ("-5", "-5GB", " -1"):
            self.assert_one_line(run("fit", votes, "-o", fit, "--memory-limit", value), 2, "--memory-limit", "negative")

    def test_one_of_several_ranks(self):
        """Without MPI, each rank would fit everything and write the same file."""
        has_mpi = b"libmpi" in subprocess.run(["ldd", VOXPOP], capture_output=True).stdout
        output = self.path("fit.h5")
        environments = [{"PMI_RANK": "1", "PMI_SIZE": "2"}] if has_mpi else []  # of a launcher that is not its MPI's
        environments += [{"OMPI_COMM_WORLD_SIZE": "2"}, {"PMIX_NAMESPACE": "job", "SLURM_STEP_NUM_TASKS": "2"}] * (not has_mpi)
        for environment in environments:
            result = run("fit", self.path("none.h5"), "-o", output, env={**os.environ, **environment})
            self.assertEqual(result.code, 2)
            self.assertIn(b"MPI knows of 1" if has_mpi else b"built without MPI", result.err)
            self.assertFalse(os.path.exists(output))

    def test_bare_lists_the_verbs(self):
        result = succeed()
        self.assertEqual(result.err, b"")
        for verb in ("simulate", "import", "check", "fit", "info", "devices"):
            self.assertIn(verb, self.verbs())

    def test_help_of_each_verb_has_an_example(self):
        for verb in self.verbs():
            with self.subTest(verb):
                result = succeed(verb, "--help")
                self.assertEqual(result.err, b"")
                self.assertRegex(result.out.decode(), rf"Example.*:\n  voxpop {verb}\b")

    def test_version(self):
        result = succeed("--version")
        self.assertRegex(result.out.decode(), r"^voxpop \d+\.\d+\.\d+\S*\n$")
        self.assertEqual(result.err, b"")

    def test_wrong_usage_exits_2_with_one_line(self):
        votes, out = write_votes(self.path("votes.h5"), plain_votes()), self.path("out.h5")
        cases = {
            "unknown verb": (["frobnicate"], "frobnicate"),
            "unknown option": (["fit", votes, "-o", out, "--frobnicate"], "--frobnicate"),
            "option of another verb": (["check", votes, "--model", "bt"], "--model"),
            "no input": (["check"], "IN.h5"),
            "no output": (["fit", votes], "--output"),
            "missing value": (["fit", votes, "-o"], "--output"),
            "missing value of an enum": (["fit", votes, "-o", out, "--model"], "--model"),
            "bad model": (["fit", votes, "-o", out, "--model", "elo"], "elo"),
            "model by number": (["fit", votes, "-o", out, "--model", "0"], "--model"),
            "bad ties": (["fit", votes, "-o", out, "--ties", "twice"], "twice"),
            "bad device": (["fit", votes, "-o", out, "--device", "abacus"], "abacus"),
            "negative threads": (["fit", votes, "-o", out, "--threads", "-1"], "-1"),
            "threads in words": (["fit", votes, "-o", out, "--threads", "two"], "two"),
            "model unknown to evaluate": (["evaluate", votes, "--models", "bt,elo"], "elo"),
            "one fold": (["evaluate", votes, "--folds", "1"], "--folds"),
            "no iterations": (["fit", votes, "-o", out, "--max-iterations", "0"], "--max-iterations"),
            "bad shape": (["simulate", out, "--shape", "cube"], "cube"),
            "no prompts": (["simulate", out, "--prompts", "0"], "--prompts"),
            "prompts beyond 64 bits": (["simulate", out, "--prompts", "99999999999999999999"], "--prompts"),
            "mix of 2": (["simulate", out, "--mix", "good=2"], "good=2"),
            "mix of half": (["simulate", out, "--mix", "good=.5"], "--mix"),
            "mix of an unknown kind": (["simulate", out, "--mix", "evil=1"], "evil=1"),
            "mix that names a kind twice": (["simulate", out, "--mix", "good=.5,good=1"], "--mix"),
            "negative seed": (["simulate", out, "--seed", "-1"], "--seed"),
            "seed beyond 64 bits": (["simulate", out, "--seed", "18446744073709551616"], "--seed"),
            "seed with a fraction": (["simulate", out, "--seed", "1.5"], "--seed"),
            "ties that are no number": (["simulate", out, "--ties", "nan"], "--ties"),
            "more pairs than there are": (
                ["simulate", out, "--responses", "2", "--pairs-per-prompt", "2"],
                "--pairs-per-prompt",
            ),
            "ties beyond 1": (["simulate", out, "--ties", "1.5"], "--ties"),
            "ten grades": (["simulate", out, "--grades", "10"], "--grades"),
            "half a grade": (["simulate", out, "--grades", "1.5"], "--grades"),
            "lapse rate beyond 0.9": (["simulate", out, "--lapse-rate", "0.91"], "--lapse-rate"),
            "too many features": (["simulate", out, "--features", "65"], "--features"),
            "effect without features": (["simulate", out, "--feature-effect", "1"], "--features"),
            "effect beyond the scores": (
                ["simulate", out, "--features", "2", "--feature-effect", "2"],
                "--feature-effect",
            ),
            "taste without features": (["simulate", out, "--taste-sd", "1"], "--features"),
            "prior score that is the truth": (["simulate", out, "--prior-score", "1"], "--prior-score"),
            "prior score that is no number": (["simulate", out, "--prior-score", "nan"], "--prior-score"),
            "drift without time": (["simulate", out, "--drift", "0.1"], "--days"),
            "bursts without time": (["simulate", out, "--bursts", "0.1"], "--days"),
            "too few days": (["simulate", out, "--days", "1"], "--days 1"),
            "more drift than good annotators": (["simulate", out, "--days", "99", "--drift", "0.9"], "--drift 0.9"),
            "graph of too few pairs": (["simulate", out, "--shape", "graph", "--pairs-per-prompt", "3"], "graph"),
            "mix of too few pairs": (["simulate", out, "--shape", "mix", "--pairs-per-prompt", "2"], "mix"),
            "bad map": (["import", votes, "-o", out, "--format", "csv", "--map", "A=up"], "A=up"),
            "bad format": (["import", votes, "-o", out, "--format", "xml"], "xml"),
        }
        for name, (arguments, needle) in cases.items():
            with self.subTest(name):
                result = run(*arguments)
                self.assert_one_line(result, 2, needle)
                self.assertLess(len(result.err), 300, result.err)
                self.assertEqual(sorted(os.listdir(self.folder)), ["votes.h5"])
            with contextlib.suppress(FileNotFoundError):
                os.unlink(out)  # one failure is not the next one's

    def test_bad_enum_lists_the_choices_as_one_types_them(self):
        votes = write_votes(self.path("votes.h5"), plain_votes())
        message = run("fit", votes, "-o", self.path("out.h5"), "--model", "elo").err.decode()
        self.assertIn("bt", message)
        self.assertIn("rater", message)
        self.assertNotIn("->", message)

    def test_output_over_an_input_is_refused(self):
        votes = write_votes(self.path("votes.h5"), plain_votes())
        before = read_all(votes)
        self.assert_one_line(run("fit", votes, "-o", votes), 2, votes)
        self.assertEqual(read_all(votes), before)
        os.link(votes, self.path("same.h5"))
        self.assert_one_line(run("fit", votes, "-o", self.path("same.h5")), 2, votes)
        table = self.write_bytes("votes.csv", b"left,right,preference\na,b,left\n")
        self.assert_one_line(run("import", table, "-o", table), 2, table)

    def test_empty_output_name_is_refused_and_leaves_nothing(self):
        votes = write_votes(self.path("votes.h5"), plain_votes())
        result = run("fit", votes, "-o", "", cwd=self.folder)
        self.assertIn(result.code, (2, 4))
        self.assertEqual(len(result.lines()), 1)
        self.assertEqual(os.listdir(self.folder), ["votes.h5"])

    def test_summary_that_cannot_be_written_is_a_failure(self):
        votes = write_votes(self.path("votes.h5"), plain_votes())
        for arguments in (["check", votes], ["info", votes, "--json"], ["fit", votes, "-o", self.path("out.h5")]):
            with self.subTest(arguments[0]), open("/dev/full", "wb") as full, tempfile.TemporaryFile() as err:
                code, _ = wait(start(*arguments, stdout=full, stderr=err), patience)
                err.seek(0)
                text = err.read()
                self.assertEqual(code, 4, text)
                self.assertEqual(len(text.splitlines()), 1, text)


# ------------------------------------------------------------------------------------------------------------- happy path


class HappyPath(CliTest):
    """simulate -> check -> fit -> info on 4,500 votes, a tenth of them ties."""

    @classmethod
    def setUpClass(cls):
        cls.home = tempfile.mkdtemp(dir=scratch)
        cls.votes, cls.fit = os.path.join(cls.home, "votes.h5"), os.path.join(cls.home, "a fit.h5")
        cls.simulated = succeed(
            "simulate",
            cls.votes,
            "--prompts",
            500,
            "--responses",
            4,
            "--pairs-per-prompt",
            3,
            "--votes-per-pair",
            3,
            "--annotators",
            30,
            "--ties",
            0.1,
            "--seed",
            7,
        )
        cls.arguments = ["fit", cls.votes, "-o", cls.fit, "--threads", "2", "--seed", "11"]
        cls.fitted = succeed(*cls.arguments)
        cls.left, cls.right, cls.annotator, cls.preference = (
            column.astype(np.int64)
            for column in read(cls.votes, *(f"comparisons/{c}" for c in ("left", "right", "annotator", "preference")))
        )
        cls.pairs, cls.pair_row = pairs_of(cls.left, cls.right)

    def test_simulated_file_follows_the_schema(self):
        with h5py.File(self.votes) as file:
            self.assertEqual(file.attrs["voxpop_schema"], "comparisons/1")
            self.assertEqual(file["comparisons/preference"].dtype, np.int8)
            self.assertEqual(
                {c: file[f"comparisons/{c}"].shape for c in file["comparisons"]},
                {c: (4500,) for c in ("left", "right", "annotator", "preference")},
            )
            self.assertEqual(
                {name: file[name].shape[0] for name in ("items/id", "items/prompt", "prompts/id", "annotators/id")},
                {"items/id": 2000, "items/prompt": 2000, "prompts/id": 500, "annotators/id": 30},
            )
            self.assertEqual(
                {name: file[f"truth/{name}"].shape for name in file["truth"]},
                {"score": (2000,), "discrimination": (30,), "side_bias": (30,), "tie_habit": (30,), "kind": (30,)},
            )
        self.assertAlmostEqual(np.mean(self.preference == 0), 0.1, delta=0.02)

    def test_the_same_seed_gives_the_same_file(self):
        for seed, same in ((7, True), (8, False)):
            again = self.path(f"{seed}.h5")
            succeed(
                "simulate",
                again,
                "--prompts",
                500,
                "--responses",
                4,
                "--pairs-per-prompt",
                3,
                "--votes-per-pair",
                3,
                "--annotators",
                30,
                "--ties",
                0.1,
                "--seed",
                seed,
            )
            self.assertEqual(read_all(again) == read_all(self.votes), same)

    def test_streams(self):
        for result in (
            self.simulated,
            self.fitted,
            succeed("check", self.votes),
            succeed("info", self.fit),
            succeed("devices"),
        ):
            self.assertEqual(result.err, b"")
            self.assertGreater(len(result.out), 20)

    def test_json_parses_and_nothing_else_is_on_stdout(self):
        for arguments in (
            ["simulate", self.path("s.h5"), "--prompts", "10"],
            ["check", self.votes],
            ["fit", self.votes, "-o", self.path("f.h5")],
            ["info", self.votes],
            ["info", self.fit],
            ["devices"],
        ):
            with self.subTest(arguments[0]):
                result = succeed(*arguments, "--json")
                self.assertIsInstance(json.loads(result.out), dict)
                self.assertEqual(result.err, b"")

    def test_check_counts(self):
        counts = json.loads(succeed("check", self.votes, "--json").out)
        size = np.bincount(self.pair_row)
        by_pair_and_annotator = np.unique(np.stack([self.pair_row, self.annotator]), axis=1).shape[1]
        expected = {
            "votes": 4500,
            "ties": int(np.sum(self.preference == 0)),
            "items": 2000,
            "items_without_votes": 2000 - len(np.unique(self.pairs)),
            "annotators": len(np.unique(self.annotator)),
            "pairs": len(self.pairs),
            "pairs_with_one_vote": int(np.sum(size == 1)),
            "components": int(components_of(2000, self.pairs).max() + 1),
            "duplicate_votes": 4500 - by_pair_and_annotator,
            "self_comparisons": 0,
        }
        self.assertEqual({name: counts[name] for name in expected}, expected)

    def test_info_lists_every_dataset(self):
        for path, schema in ((self.votes, "comparisons/1"), (self.fit, "fit/1")):
            described = json.loads(succeed("info", path, "--json").out)
            self.assertEqual(described["schema"], schema)
            self.assertEqual(set(described["datasets"]), set(read_all(path)))
            for name, (_, shape, _) in read_all(path).items():
                self.assertIn(f"[{shape[0]}]", described["datasets"][name])
                self.assertIn(name, succeed("info", path).out.decode())
        self.assertEqual(json.loads(succeed("info", self.fit, "--json").out)["provenance"], read_provenance(self.fit))

    def test_info_of_an_unknown_schema(self):
        path = self.path("later.h5")
        with h5py.File(path, "w") as file:
            file.attrs["voxpop_schema"] = "fit/9"
        self.assert_one_line(run("info", path), 3, path, "fit/9")

    def test_info_of_text_that_is_not_utf8_or_not_json(self):
        """In names, attributes and the path: text comes out as it is, JSON stays JSON."""
        path = os.path.join(self.folder.encode(), b"caf\xe9.h5")
        for provenance in (b"{\xff", "{" * 60_000):
            with h5py.File(path, "w") as file:
                file.attrs["voxpop_schema"], file.attrs["provenance"] = "comparisons/1", provenance
                file[b"na\xefve"] = [1, 2]
            for option in ([], ["--json"]):
                with tempfile.TemporaryFile() as out:
                    code, _ = wait(
                        subprocess.Popen([VOXPOP.encode(), b"info", path, *(o.encode() for o in option)], stdout=out),
                        patience,
                    )
                    out.seek(0)
                    text = out.read()
                    self.assertEqual(code, 0)
                    self.assertIn(b"int64 [2]", text)
                    if option:
                        json.loads(text)

    def test_fit_schema(self):
        items, annotators, pairs, votes = 2000, 30, len(self.pairs), 4500
        expected = {}  # name -> (dtype kind or dtype, rows)
        expected |= {
            f"items/{c}": (k, items)
            for c, k in {"id": "S", "score": "f", "std_error": "f", "votes": "iu", "component": "iu"}.items()
        }
        expected |= {
            f"annotators/{c}": ("f", annotators)
            for c in (
                "discrimination",
                "discrimination_se",
                "side_bias",
                "side_bias_se",
                "agreement",
                "expected_accuracy",
                "bits_per_vote",
                "flag_probability",
            )
        }
        expected |= {
            "annotators/id": ("S", annotators),
            "annotators/votes": ("iu", annotators),
            "annotators/flag": ("i", annotators),
            "annotators/copies": ("i", annotators),
        }
        expected |= {f"pairs/{c}": ("iu", pairs) for c in ("left", "right", "votes")}
        expected |= {f"pairs/{c}": ("f", pairs) for c in ("wins_left", "margin", "margin_se", "information_gain")}
        expected |= {f"pairs/{c}": ("float32", pairs) for c in ("probability", "probability_better")}
        expected |= {"votes/probability_correct": ("float32", votes)}
        with h5py.File(self.fit) as file:
            self.assertEqual(file.attrs["voxpop_schema"], "fit/1")
            for name, (kind, rows) in expected.items():
                with self.subTest(name):
                    dataset = file[name]
                    self.assertEqual(dataset.shape, (rows,))
                    if kind == "S":
                        self.assertIsNotNone(h5py.check_string_dtype(dataset.dtype))
                    elif kind == "float32":
                        self.assertEqual(dataset.dtype, np.float32)
                    else:
                        self.assertIn(dataset.dtype.kind, kind)
            labels = h5py.check_enum_dtype(file["annotators/flag"].dtype)
            self.assertEqual(sorted(labels, key=labels.get), FLAGS)
            self.assertTrue(set(file["annotators/flag"][()]) <= set(labels.values()))

    def test_large_datasets_are_compressed_unless_told_otherwise(self):
        plain = self.path("plain.h5")
        succeed("fit", self.votes, "-o", plain, "--no-compress")
        with h5py.File(self.fit) as packed, h5py.File(plain) as loose:
            for name in ("pairs/left", "pairs/probability", "votes/probability_correct"):
                dataset = packed[name]
                self.assertEqual(
                    (dataset.compression, dataset.compression_opts, dataset.shuffle), ("gzip", 1, True), name
                )
                self.assertIsNone(loose[name].compression, name)
                self.assertLess(dataset.id.get_storage_size(), loose[name].id.get_storage_size(), name)
        self.assertEqual(read_all(plain), read_all(self.fit))

    def test_ids_are_the_inputs(self):
        for name in ("items/id", "annotators/id"):
            self.assertEqual(read(self.fit, name).tolist(), read(self.votes, name).tolist())

    def test_pairs(self):
        left, right, votes, wins = read(self.fit, "pairs/left", "pairs/right", "pairs/votes", "pairs/wins_left")
        self.assertTrue(np.all(left < right))
        np.testing.assert_array_equal(np.stack([left, right], axis=1), self.pairs)
        np.testing.assert_array_equal(votes, np.bincount(self.pair_row))
        self.assertEqual(votes.sum(), 4500)
        for_low = np.where(self.left < self.right, self.preference, -self.preference)
        np.testing.assert_array_equal(wins, np.bincount(self.pair_row, weights=(1 + for_low) / 2))

    def test_probabilities(self):
        probability, better, margin, se, gain = read(
            self.fit,
            "pairs/probability",
            "pairs/probability_better",
            "pairs/margin",
            "pairs/margin_se",
            "pairs/information_gain",
        )
        self.assertTrue(np.all((probability > 0) & (probability < 1) & (se > 0)))
        np.testing.assert_allclose(better, normal_cdf(margin.astype(float) / se), atol=1e-5)
        # The reference annotator's vote over the posterior N(margin, se^2): 40-point Gauss-Hermite.
        nodes, weights = np.polynomial.hermite_e.hermegauss(40)
        logits = margin[:, None].astype(float) + se[:, None] * nodes
        expected = (1 / (1 + np.exp(-logits))) @ (weights / weights.sum())
        np.testing.assert_allclose(probability, expected, atol=2e-3)
        self.assertTrue(np.all((gain >= 0) & (gain <= 1)))
        scores = read(self.fit, "items/score")
        np.testing.assert_allclose(margin, scores[self.pairs[:, 0]] - scores[self.pairs[:, 1]], atol=1e-4)

    def test_votes_are_in_input_order(self):
        correct, better = read(self.fit, "votes/probability_correct", "pairs/probability_better")
        np.testing.assert_array_equal(np.isnan(correct), self.preference == 0)
        low_won = (self.left < self.right) == (self.preference > 0)
        of_vote = better[self.pair_row]
        decided = self.preference != 0
        np.testing.assert_allclose(correct[decided], np.where(low_won, of_vote, 1 - of_vote)[decided], atol=1e-6)

    def test_items(self):
        votes, component, score, error = read(
            self.fit, "items/votes", "items/component", "items/score", "items/std_error"
        )
        counted = np.bincount(self.left, minlength=2000) + np.bincount(self.right, minlength=2000)
        np.testing.assert_array_equal(votes, counted)
        np.testing.assert_array_equal(component, components_of(2000, self.pairs))
        self.assertTrue(np.all(error > 0))
        np.testing.assert_array_equal(score[votes == 0], 0)
        voted = component >= 0
        centres = np.bincount(component[voted], weights=score[voted]) / np.bincount(component[voted])
        np.testing.assert_allclose(centres, 0, atol=1e-4)

    def test_annotators(self):
        names = (
            "votes",
            "discrimination",
            "discrimination_se",
            "side_bias_se",
            "agreement",
            "expected_accuracy",
            "bits_per_vote",
            "flag_probability",
        )
        votes, discrimination, se, side_se, agreement, accuracy, bits, probability = read(
            self.fit, *(f"annotators/{n}" for n in names)
        )
        np.testing.assert_array_equal(votes, np.bincount(self.annotator, minlength=30))
        active = votes > 0
        self.assertTrue(np.all((se[active] > 0) & (side_se[active] > 0)))
        for share in (agreement, accuracy, bits, probability):
            self.assertTrue(np.all((share[active] >= 0) & (share[active] <= 1)))
        self.assertAlmostEqual(np.median(discrimination[votes >= 50]), 1, places=4)  # the reference annotator
        correct = read(self.fit, "votes/probability_correct").astype(float)
        decided = ~np.isnan(correct)
        sums = np.bincount(self.annotator[decided], weights=correct[decided], minlength=30)
        counts = np.bincount(self.annotator[decided], minlength=30)
        np.testing.assert_allclose(accuracy[counts > 0], sums[counts > 0] / counts[counts > 0], atol=1e-4)

    def test_provenance(self):
        told = read_provenance(self.fit)
        self.assertEqual(f"voxpop {told['version']}\n", succeed("--version").out.decode())
        self.assertEqual(shlex.split(told["command_line"]), [VOXPOP, *self.arguments])
        (source,) = told["inputs"]
        self.assertEqual((source["path"], source["bytes"]), (self.votes, os.path.getsize(self.votes)))
        self.assertRegex(source["xxh3"], "^[0-9a-f]{16}$")
        if xxhash is not None:
            with open(self.votes, "rb") as file:
                self.assertEqual(source["xxh3"], xxhash.xxh3_64_hexdigest(file.read()))
        self.assertEqual((told["model"], told["threads"], told["seed"], told["converged"]), ("rater", 2, 11, True))
        self.assertRegex(told["device"], "^cpu")
        self.assertGreater(told["iterations"], 1)
        self.assertLess(told["log_evidence"], 0)
        self.assertGreater(told["log_evidence"], -4500 * math.log(4))
        for name, value in told["hyperparameters"].items():
            self.assertTrue(math.isfinite(value), name)
        for phase in ("read", "group", "fit", "label"):
            self.assertGreaterEqual(told["seconds"][phase], 0)

    def test_json_summary_is_the_provenance_and_more(self):
        output = self.path("fit.h5")
        summary = json.loads(succeed("fit", self.votes, "-o", output, "--json").out)
        told = read_provenance(output)
        for name in told:
            if name != "seconds":
                self.assertEqual(summary[name], told[name], name)
        self.assertEqual(summary["output"], output)
        flag = read(output, "annotators/flag")[read(output, "annotators/votes") > 0]
        self.assertEqual(summary["flags"], {FLAGS[f]: int(np.sum(flag == f)) for f in np.unique(flag)})

    def test_threads_do_not_change_a_bit(self):
        arena = self.path("arena.h5")
        succeed(
            "simulate",
            arena,
            "--shape",
            "arena",
            "--prompts",
            3000,
            "--responses",
            40,
            "--annotators",
            20,
            "--ties",
            0.2,
        )
        chain = self.path("chain.h5")
        succeed("simulate", chain, "--shape", "chain", "--prompts", 100, "--annotators", 20)
        for votes in (self.votes, arena, chain):
            for model in ("rater", "bt"):
                with self.subTest(os.path.basename(votes), model=model):
                    one, two = self.path("one.h5"), self.path("two.h5")
                    for threads, output in ((1, one), (2, two)):
                        succeed("fit", votes, "-o", output, "--threads", threads, "--model", model)
                    first, second = read_all(one), read_all(two)
                    self.assertEqual([name for name in first if first[name] != second.get(name)], [])
                    self.assertEqual(set(first), set(second))

    def test_ties_are_an_answer_of_their_own(self):
        model, half = self.path("model.h5"), self.path("half.h5")
        succeed("fit", self.votes, "-o", model, "--ties", "model")
        self.assertEqual(read_all(model), read_all(self.fit))  # the default
        habit, se = read(model, "annotators/tie_habit", "annotators/tie_habit_se")
        self.assertTrue(np.all((habit > 0) & (habit < 1)), habit)
        self.assertTrue(np.all(se > 0), se)
        succeed("fit", self.votes, "-o", half, "--ties", "half")
        with h5py.File(half) as file:
            self.assertNotIn("annotators/tie_habit", file)
        self.assertFalse(np.array_equal(*(read(f, "pairs/probability")[0] for f in (model, half))))

    def test_evaluate(self):
        gold = self.path("gold.csv")
        with open(gold, "w", encoding="utf-8") as file:
            file.write("item,gold\n")
            for item, score in zip(*read(self.votes, "items/id", "truth/score")):
                file.write(f"{item.decode()},{score}\n")
        told = json.loads(succeed("evaluate", self.votes, "--folds", "3", "--holdout", gold, "--json").out)
        self.assertEqual(list(told["models"]), ["majority", "bt", "crowd-bt", "rater"])
        self.assertEqual(told["decided_votes"], int(np.sum(self.preference != 0)))
        rater, majority = told["models"]["rater"], told["models"]["majority"]
        self.assertLess(rater["log_loss"]["value"], majority["log_loss"]["value"])
        self.assertEqual(sum(b["votes"] for b in rater["reliability"]), told["decided_votes"])
        (difference,) = [
            d for d in told["log_loss_differences"] if (d["model"], d["minus"]) == ("rater", "bt")
        ]
        self.assertAlmostEqual(
            difference["value"], rater["log_loss"]["value"] - told["models"]["bt"]["log_loss"]["value"], places=9
        )
        order = {row["model"]: row["order"]["accuracy"] for row in told["gold"]}
        self.assertGreater(order["rater"], order["majority"])
        shown = succeed("evaluate", self.votes, "--models", "bt,rater").out.decode()
        for part in ("majority", "minus bt", "reliability"):
            self.assertIn(part, shown)

    def test_evaluate_by_block(self):
        """Of six items each annotator has judged many pairs that share items, so that blocks hold all votes."""
        arena = self.path("arena.h5")
        succeed("simulate", arena, "--shape", "arena", "--prompts", 600, "--responses", 6, "--annotators", 60)
        models = ("--models", "bt", "--folds", "3", "--json")
        told = json.loads(succeed("evaluate", arena, *models).out)
        self.assertEqual(told["folds_by"], "block")
        self.assertGreater(told["votes_in_blocks"], 0.9)
        asked = {by: json.loads(succeed("evaluate", arena, "--folds-by", by, *models).out) for by in ("vote", "block")}
        for by, one in asked.items():
            self.assertEqual(one["folds_by"], by)
            self.assertNotIn("by_vote", one)
        self.assertEqual(told["models"], asked["block"]["models"])
        self.assertEqual(told["by_vote"]["models"], asked["vote"]["models"])
        self.assertNotEqual(told["models"], told["by_vote"]["models"])
        shown = succeed("evaluate", arena, "--models", "bt", "--folds", "3").out.decode()
        self.assertIn("folds by block", shown)
        self.assertIn("by vote, with what the annotator itself says", shown)
        by_vote = succeed("evaluate", self.votes, "--models", "bt", "--folds", "2").out.decode()
        self.assertIn("folds by vote", by_vote)
        fit = self.path("fit.h5")
        succeed("fit", arena, "-o", fit, "--calibrate")
        self.assertEqual(read_provenance(fit)["calibration"]["folds_by"], "block")
        self.assert_one_line(run("evaluate", self.votes, "--holdout", self.path("none.csv")), 4, "none.csv")

    def test_drift_and_bursts(self):
        votes, fit = self.path("votes.h5"), self.path("fit.h5")
        succeed(
            *("simulate", votes, "--prompts", "3000", "--annotators", "20", "--mix", "good=1", "--days", "3000"),
            *("--drift", ".2", "--bursts", ".1", "--seed", "5", "--quiet"),
        )
        told = json.loads(succeed("fit", votes, "-o", fit, "--json").out)["drift"]
        with h5py.File(fit) as f, h5py.File(votes) as v:
            windows = {name: column[:] for name, column in f["annotators/windows"].items()}
            drifts = np.flatnonzero(v["truth/drifts"][:])
            bursting = {v["annotators/id"].asstr()[a] for a in np.flatnonzero(v["truth/bursts"][:])}
            when, annotator = v["comparisons/timestamp"][:], v["comparisons/annotator"][:]
            names = v["annotators/id"].asstr()[:]
        self.assertTrue({row["annotator"] for row in told["changed"]} <= {names[a] for a in drifts})
        self.assertGreaterEqual(len(told["changed"]), len(drifts) - 1)
        counted = np.bincount(windows["annotator"], weights=windows["votes"], minlength=20)
        np.testing.assert_array_equal(counted, np.bincount(annotator, minlength=20))
        first = np.flatnonzero(np.diff(windows["annotator"], prepend=-1))
        for row, a in zip(first, windows["annotator"][first]):
            self.assertEqual(windows["start"][row], when[annotator == a].min())
        self.assertEqual({b["annotator"] for b in json.loads(succeed("check", votes, "--json").out)["bursts"]}, bursting)
        self.assertIn("bursts", succeed("check", votes).out.decode())

    def test_crowd_bt(self):
        output = self.path("fit.h5")
        succeed("fit", self.votes, "-o", output, "--model", "crowd-bt")
        eta, error, discrimination = read(
            output, "annotators/eta", "annotators/eta_se", "annotators/discrimination"
        )
        self.assertTrue(np.all((eta > 0) & (eta < 1) & (error > 0)))
        self.assertTrue(np.any(eta < 0.5))  # there are adversaries
        self.assertTrue(np.all(np.argsort(eta) == np.argsort(discrimination)))
        succeed("fit", self.votes, "-o", output, "--model", "crowd-bt", "--no-adversaries")
        self.assertTrue(np.all(read(output, "annotators/eta")[0] >= 0.5))

    def test_lapse_is_no_model_any_more(self):
        for command in ["fit", self.votes, "-o", self.path("fit.h5"), "--model", "lapse"], ["evaluate", self.votes, "--models", "bt,lapse"]:
            self.assert_one_line(run(*command), 2, "use rater")

    def test_ties_drop(self):
        output = self.path("fit.h5")
        succeed("fit", self.votes, "-o", output, "--ties", "drop")
        decided = self.preference != 0
        pairs, row = pairs_of(self.left[decided], self.right[decided])
        left, right, votes, wins, correct = read(
            output, "pairs/left", "pairs/right", "pairs/votes", "pairs/wins_left", "votes/probability_correct"
        )
        np.testing.assert_array_equal(np.stack([left, right], axis=1), pairs)
        np.testing.assert_array_equal(votes, np.bincount(row))
        low_won = (self.left < self.right) == (self.preference > 0)
        np.testing.assert_array_equal(wins, np.bincount(row, weights=low_won[decided]))
        np.testing.assert_array_equal(np.isnan(correct), ~decided)
        np.testing.assert_array_equal(
            read(output, "annotators/votes"), np.bincount(self.annotator[decided], minlength=30)
        )
        told = read_provenance(output)
        self.assertEqual((told["ties"], told["votes"], told["votes_counted"]), ("drop", 4500, int(decided.sum())))

    def test_bradley_terry(self):
        output = self.path("fit.h5")
        summary = json.loads(succeed("fit", self.votes, "-o", output, "--model", "bt", "--json").out)
        self.assertEqual(summary["model"], "bt")
        np.testing.assert_allclose(read(output, "annotators/discrimination"), 1, atol=1e-6)
        np.testing.assert_array_equal(read(output, "annotators/side_bias"), 0)
        np.testing.assert_array_equal(read(output, "annotators/flag"), 0)
        self.assertEqual(set(read_all(output)), set(read_all(self.fit)))

    def test_strict(self):
        for older in (None, b"older output"):
            folder = tempfile.mkdtemp(dir=self.folder)
            output = os.path.join(folder, "out.h5")
            if older is not None:
                with open(output, "wb") as file:
                    file.write(older)
            self.assert_one_line(
                run("fit", self.votes, "-o", output, "--strict", "--max-iterations", 1), 5, "not converged"
            )
            self.assert_untouched(folder, older)
        succeed("fit", self.votes, "-o", self.path("strict.h5"), "--strict")
        succeed("fit", self.votes, "-o", self.path("loose.h5"), "--max-iterations", 1)
        self.assertIs(read_provenance(self.path("loose.h5"))["converged"], False)

    def test_new_output_replaces_the_old_one(self):
        output = self.write_bytes("fit.h5", b"older output")
        succeed("fit", self.votes, "-o", output, "--threads", 2)
        self.assertEqual(read_all(output), read_all(self.fit))
        self.assertEqual(os.listdir(self.folder), ["fit.h5"])

    def test_output_has_the_mode_of_any_new_file(self):
        output = self.path("fit.h5")
        succeed("fit", self.votes, "-o", output, preexec_fn=lambda: os.umask(0o027))
        self.assertEqual(os.stat(output).st_mode & 0o777, 0o640)


# ------------------------------------------------------------------------------------------------------ several input files


class SeveralFiles(CliTest):
    def split(self, votes):
        """Writes the votes as two files, each with only the items and annotators it needs, in orders of its own."""
        columns = {
            name: column
            for name, column in zip(
                ("left", "right", "annotator", "preference"),
                read(votes, "comparisons/left", "comparisons/right", "comparisons/annotator", "comparisons/preference"),
            )
        }
        item_ids, prompt, prompt_ids, annotator_ids = read(
            votes, "items/id", "items/prompt", "prompts/id", "annotators/id"
        )
        rng = np.random.default_rng(1)
        half = rng.random(len(columns["left"])) < 0.4
        paths = []
        for name, take in (("one.h5", half), ("two.h5", ~half)):
            part = {c: column[take].astype(np.int64) for c, column in columns.items()}
            items = rng.permutation(np.unique([part["left"], part["right"]]))
            annotators = rng.permutation(np.unique(part["annotator"]))
            prompts = rng.permutation(np.unique(prompt[items]))

            def rows(old, table):
                place = np.full(max(old.max(), table.max()) + 1, -1)
                place[table] = np.arange(len(table))
                return place[old]

            paths.append(
                write_votes(
                    self.path(name),
                    {
                        "comparisons/left": rows(part["left"], items),
                        "comparisons/right": rows(part["right"], items),
                        "comparisons/annotator": rows(part["annotator"], annotators),
                        "comparisons/preference": part["preference"].astype("i1"),
                        "items/id": item_ids[items],
                        "items/prompt": rows(prompt[items].astype(np.int64), prompts),
                        "prompts/id": prompt_ids[prompts],
                        "annotators/id": annotator_ids[annotators],
                    },
                )
            )
        return paths, np.concatenate([np.flatnonzero(half), np.flatnonzero(~half)])

    def by_id(self, path, group, *columns):
        values = read(path, *(f"{group}/{column}" for column in columns))
        return dict(zip(read(path, f"{group}/id").tolist(), zip(*values)))

    def test_two_files_are_one_data_set(self):
        votes, whole, both = self.path("votes.h5"), self.path("whole.h5"), self.path("both.h5")
        succeed(
            "simulate",
            votes,
            "--prompts",
            300,
            "--responses",
            4,
            "--pairs-per-prompt",
            3,
            "--votes-per-pair",
            4,
            "--annotators",
            20,
            "--ties",
            0.1,
            "--seed",
            3,
        )
        parts, order = self.split(votes)
        succeed("fit", votes, "-o", whole)
        succeed("fit", *parts, "-o", both)

        self.assertEqual([source["path"] for source in read_provenance(both)["inputs"]], parts)
        expected, found = (self.by_id(path, "items", "score", "std_error", "votes") for path in (whole, both))
        for item, (score, error, count) in expected.items():
            if count == 0:
                continue  # neither half has it
            # Order decides by rounding where a step is cut short, and so where the fit ends, within what counts as settled.
            np.testing.assert_allclose(found[item][:2], (score, error), atol=0.03 * error)
            self.assertEqual(found[item][2], count)
        self.assertEqual(len(found), sum(count > 0 for _, _, count in expected.values()))

        expected, found = (
            self.by_id(path, "annotators", "discrimination", "side_bias", "votes") for path in (whole, both)
        )
        for annotator, values in expected.items():
            if values[2] > 0:
                np.testing.assert_allclose(found[annotator][:2], values[:2], atol=0.01)
                self.assertEqual(found[annotator][2], values[2])

        def pairs(path):
            ids = read(path, "items/id").tolist()
            return {
                frozenset((ids[left], ids[right])): (votes, wins if ids[left] < ids[right] else votes - wins)
                for left, right, votes, wins in zip(
                    *read(path, "pairs/left", "pairs/right", "pairs/votes", "pairs/wins_left")
                )
            }

        self.assertEqual(pairs(both), pairs(whole))
        np.testing.assert_allclose(
            read(both, "votes/probability_correct"), read(whole, "votes/probability_correct")[order], atol=0.01
        )

    def test_the_file_at_fault_is_named(self):
        good = write_votes(self.path("good.h5"), plain_votes())
        bad = write_votes(self.path("bad.h5"), changed("comparisons/preference", 57, 99))
        for inputs in ((good, bad), (bad, good)):
            self.assert_one_line(
                run("fit", *inputs, "-o", self.path("out.h5")), 3, bad, "comparisons/preference", "row 57", 99
            )
        self.assert_one_line(run("fit", good, self.path("none.h5"), "-o", self.path("out.h5")), 4, self.path("none.h5"))
        self.assertEqual(sorted(os.listdir(self.folder)), ["bad.h5", "good.h5"])

    def test_an_item_of_two_prompts_in_two_files(self):
        good = write_votes(self.path("good.h5"), plain_votes())
        columns = plain_votes()
        columns["prompts/id"] = columns["prompts/id"][::-1]
        other = write_votes(self.path("other.h5"), columns)
        self.assert_one_line(run("check", good, other), 3, other, "items/prompt", "row 0", "item0")


# ------------------------------------------------------------------------------------------------------------ warm start


class WarmStart(CliTest):
    """A tenth of 9,000 votes is today's; annotators 0 to 4 did not vote before, annotator 5 is not in the old file."""

    @classmethod
    def setUpClass(cls):
        cls.home = tempfile.mkdtemp(dir=scratch)
        cls.all, cls.before, cls.today, cls.old = (
            os.path.join(cls.home, name) for name in ("all.h5", "before.h5", "today.h5", "old.h5")
        )
        succeed(
            "simulate",
            cls.all,
            "--prompts",
            1000,
            "--pairs-per-prompt",
            3,
            "--votes-per-pair",
            3,
            "--annotators",
            40,
            "--ties",
            0.1,
            "--features",
            1,
            "--taste-sd",
            0.3,
            "--seed",
            4,
        )
        names = [f"comparisons/{c}" for c in ("left", "right", "annotator", "preference")]
        names += ["items/id", "items/prompt", "items/features", "prompts/id", "annotators/id"]
        columns = dict(zip(names, read(cls.all, *names)))
        prompt = columns["items/prompt"][columns["comparisons/left"]]
        is_new = prompt % 10 == 0
        stranger = columns["comparisons/annotator"] < 5
        for path, rows in ((cls.before, ~is_new & ~stranger), (cls.today, is_new)):
            part = {name: column[rows] if name in names[:4] else column for name, column in columns.items()}
            if path == cls.before:
                part["annotators/id"] = part["annotators/id"].copy()
                part["annotators/id"][5] = b"someone else"
            write_votes(path, part)
        succeed("fit", cls.before, "-o", cls.old)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.home)

    def fit(self, *options, old=None, name="new.h5"):
        succeed("fit", self.today, "-o", self.path(name), "--warm-start", old or self.old, *options)
        return self.path(name)

    def test_provenance(self):
        result = succeed("fit", self.today, "-o", self.path("new.h5"), "--warm-start", self.old)
        told, votes = read_provenance(self.path("new.h5")), read(self.path("new.h5"), "annotators/votes")
        start = told["warm_start"]
        known = int(np.sum(votes[6:] > 0))
        unknown = int(np.sum(votes[:6] > 0))
        self.assertGreater(unknown, 0)
        self.assertEqual((start["path"], start["bytes"]), (self.old, os.path.getsize(self.old)))
        self.assertEqual((start["annotators_known"], start["annotators_new"]), (known, unknown))
        if xxhash is not None:
            with open(self.old, "rb") as file:
                self.assertEqual(start["xxh3"], xxhash.xxh3_64_hexdigest(file.read()))
        self.assertIn(f"started from {self.old}: {known} annotators are known there, {unknown} are new\n", result.out.decode())
        self.assertIn("warm_start", succeed("info", self.path("new.h5")).out.decode())
        before = read_provenance(self.old)
        self.assertEqual(told["thresholds"], before["thresholds"])
        for name, value in told["hyperparameters"].items():
            if name != "prompt_tie_habit_logit_sd":  # prompts are today's own
                self.assertAlmostEqual(value, before["hyperparameters"][name], delta=1e-12, msg=name)
        self.assertNotIn("warm_start", before)

    def test_known_annotators_stay_near_their_priors(self):
        """Their errors shrink, and they move by no more than the errors of before allow."""
        names = [f"annotators/{c}" for c in ("discrimination", "discrimination_se", "side_bias", "side_bias_se")]
        before, after, votes = read(self.old, *names), read(self.fit(), *names), read(self.fit(), "annotators/votes")
        some = votes > 0
        some[:6] = False
        for k in (0, 2):
            self.assertTrue(np.all(after[k + 1][some] <= before[k + 1][some] * 1.1))
            self.assertLess(np.max(np.abs(after[k] - before[k])[some] / before[k + 1][some]), 3)
        absent = np.flatnonzero(votes[6:] == 0) + 6
        for k in range(4):
            np.testing.assert_allclose(after[k][absent], before[k][absent], rtol=1e-4)

    def test_every_model(self):
        for model in ("bt", "crowd-bt", "rater"):
            old = self.path(f"{model}.h5")
            succeed("fit", self.before, "-o", old, "--model", model)
            new = self.fit("--model", model, "--strict", old=old, name=f"{model}-new.h5")
            before, after = (read_provenance(path)["hyperparameters"] for path in (old, new))
            for name, value in before.items():
                if name == "prompt_tie_habit_logit_sd":
                    continue  # prompts are today's own
                self.assertAlmostEqual(after[name], value, delta=1e-12, msg=f"{model} {name}")

    def test_calibrate(self):
        new = self.fit("--calibrate")
        self.assertGreater(read_provenance(new)["calibration"]["held_out_votes"], 0)

    def test_a_day_with_other_answers(self):
        for option, needle in ((["--ties", "half"], b"thresholds"), (["--ignore", "features"], b"features")):
            result = succeed("fit", self.today, "-o", self.path("new.h5"), "--warm-start", self.old, *option)
            self.assertRegex(result.out, b"WARNING: .*" + needle)
        result = succeed("fit", self.today, "-o", self.path("new.h5"), "--warm-start", self.old)
        self.assertNotRegex(result.out, b"WARNING: .*(thresholds|features)")

    def test_votes_that_count_twice(self):
        result = succeed("fit", self.before, "-o", self.path("new.h5"), "--warm-start", self.old)
        self.assertIn(b"count twice", result.out)
        self.assertTrue(any("count twice" in warning for warning in read_provenance(self.path("new.h5"))["warnings"]))

    def test_annotators_who_do_not_vote_today_are_told(self):
        result = succeed("fit", self.today, "-o", self.path("new.h5"), "--warm-start", self.old)
        absent = int(np.sum((read(self.old, "annotators/votes") > 0)[6:] & (read(self.path("new.h5"), "annotators/votes") == 0)[6:]))
        absent += 1  # and the one who is called otherwise there
        self.assertIn(f"{absent} of ".encode(), result.out)
        self.assertIn(b"have no vote here", result.out)

    def test_threads_do_not_change_a_bit(self):
        self.assertEqual(read_all(self.fit("--threads", 1)), read_all(self.fit("--threads", 2, name="other.h5")))

    def test_checkpoint(self):
        kept = self.fit("--checkpoint", self.path("half.h5"), "--checkpoint-every", 0, name="kept.h5")
        self.assertEqual(read_all(kept), read_all(self.fit()))

    def test_a_chain_in_one_file(self):
        fit = self.path("fit.h5")
        shutil.copyfile(self.old, fit)
        succeed("fit", self.today, "-o", fit, "--warm-start", fit)
        self.assertEqual(read_all(fit), read_all(self.fit()))
        self.assertEqual(read_provenance(fit)["warm_start"]["bytes"], os.path.getsize(self.old))

    def test_what_is_no_fit_to_start_from(self):
        out = self.path("new.h5")

        def refuse(old, code, *needles):
            self.assert_one_line(run("fit", self.today, "-o", out, "--warm-start", old), code, old, *needles)
            self.assertFalse(os.path.exists(out))

        refuse(self.today, 3, "comparisons/1", "a fit is needed")
        refuse(self.path("none.h5"), 4)
        refuse(self.write_bytes("text.h5", b"left,right\n"), 3)
        model = self.path("bt.h5")
        succeed("fit", self.before, "-o", model, "--model", "bt")
        refuse(model, 3, "model bt", "model rater")
        older = self.path("older.h5")
        for key in ("hyperparameters", "strengths", "thresholds", "model"):
            shutil.copyfile(self.old, older)
            with h5py.File(older, "r+") as file:
                told = json.loads(file.attrs["provenance"])
                del told[key]
                file.attrs["provenance"] = json.dumps(told)
            refuse(older, 3, key)
        with h5py.File(older, "r+") as file:
            told = read_provenance(self.old)
            told["hyperparameters"]["side_bias_sd"] = 0
            file.attrs["provenance"] = json.dumps(told)
        refuse(older, 3, "population")

        def change(**values):
            told = read_provenance(self.old)
            told.update(values)
            shutil.copyfile(self.old, older)
            with h5py.File(older, "r+") as file:
                file.attrs["provenance"] = json.dumps(told)

        hyperparameters = read_provenance(self.old)["hyperparameters"]
        for key, value, needle in (
            ("discrimination_mean", 1e300, "population"),
            ("discrimination_mean", 0, "population"),
            ("discrimination_sd", 1e-200, "population"),
            ("side_bias_sd", 1e30, "population"),
            ("reference_discrimination", 1e-30, "reference_discrimination"),
            ("reference_discrimination", 1e300, "reference_discrimination"),
        ):
            with self.subTest(key, value=value):
                change(hyperparameters=hyperparameters | {key: value})
                refuse(older, 3, needle, "no fit could have")
        for strengths, thresholds in (([1], [-1.0]), ([1, 2], [0.5, 0.5]), ([1, 2], [0.5, 1e300]), ([1, 2], [])):
            with self.subTest(thresholds=thresholds):
                change(strengths=strengths, thresholds=thresholds)
                refuse(older, 3, "thresholds", "no fit could have")
        change(strengths=[1e300], thresholds=[])  # none of these votes' answers: the fit finds its own thresholds
        succeed("fit", self.today, "-o", out, "--warm-start", older)

    def test_provenance_of_another_kind(self):
        fit = self.path("odd.h5")
        for changes in (
            {"converged": "yes"},
            {"converged": False, "iterations": "many"},
            {"model": 3},
            {"warnings": "none"},
            {"reliability": {"method": 3}},
            {"reliability": []},
        ):
            with self.subTest(**changes):
                told = read_provenance(self.old) | changes
                shutil.copyfile(self.old, fit)
                with h5py.File(fit, "r+") as file:
                    file.attrs["provenance"] = json.dumps(told)
                result = run("report", fit, "-o", self.path("report.html"))
                if "reliability" in changes and not changes["reliability"]:
                    self.assertEqual(result.code, 0, result.err)  # it has no method, that is all
                else:
                    self.assert_one_line(result, 3, fit, "provenance", "copy the file again")


# ---------------------------------------------------------------------------------------------------- what h5py may write


class Formats(CliTest):
    """The same votes in whatever types and layouts h5py offers give the same fit."""

    def setUp(self):
        super().setUp()
        succeed("fit", write_votes(self.path("plain.h5"), plain_votes()), "-o", self.path("expected.h5"))
        self.expected = read_all(self.path("expected.h5"))

    def assert_same_fit(self, columns, **storage):
        votes = write_votes(self.path("votes.h5"), columns, **storage)
        succeed("check", votes)
        succeed("fit", votes, "-o", self.path("fit.h5"))
        found = read_all(self.path("fit.h5"))
        self.assertEqual([name for name in self.expected if self.expected[name] != found.get(name)], [])

    def test_integer_types(self):
        for kind in ("i8", "i2", "u4", "u1", ">i4", ">u2", ">i8", "i1"):
            with self.subTest(kind):
                self.assert_same_fit(
                    {
                        name: (
                            column.astype(kind)
                            if column.dtype.kind == "i" and name != "comparisons/preference"
                            else column
                        )
                        for name, column in plain_votes().items()
                    }
                )

    def test_preference_types(self):
        for kind in ("i2", "i8", ">i4"):
            with self.subTest(kind):
                columns = plain_votes()
                self.assert_same_fit(
                    columns | {"comparisons/preference": columns["comparisons/preference"].astype(kind)}
                )

    def test_layouts(self):
        for storage in (
            {"chunks": (7,)},
            {"chunks": True, "maxshape": (None,)},
            {"compression": "gzip", "compression_opts": 9},
            {"compression": "gzip", "shuffle": True, "chunks": (5,)},
            {"shuffle": True, "chunks": (5,)},
            {"fletcher32": True, "chunks": (5,)},
            {"compression": "gzip", "shuffle": True, "fletcher32": True, "chunks": (5,)},
        ):
            with self.subTest(**storage):
                self.assert_same_fit(plain_votes(), **storage)
        with self.subTest("compact"):
            self.assert_same_fit({name: compact(column) for name, column in plain_votes().items()})
        with self.subTest("latest"):
            self.assert_same_fit(plain_votes(), libver="latest", chunks=(5,))

    def test_a_prompt_of_one_item(self):
        columns = plain_votes()
        columns["items/id"] = np.append(columns["items/id"], b"alone")
        columns["items/prompt"] = np.append(columns["items/prompt"], 10)
        columns["prompts/id"] = np.append(columns["prompts/id"], b"prompt10")
        succeed("fit", write_votes(self.path("votes.h5"), columns), "-o", self.path("fit.h5"))
        self.assertEqual(read(self.path("fit.h5"), "items/component")[40], -1)

    def test_very_many_chunks(self):
        """HDF5 looks for one among all, so that asking for each of 40,000 took longer than a damaged file may."""
        rows = 320_000
        columns = plain_votes(rows)
        chunked = {
            name: lambda file, name, column=column: file.create_dataset(name, data=column, chunks=(8,))
            for name, column in columns.items()
            if len(column) == rows
        }
        votes = write_votes(self.path("votes.h5"), columns | chunked)
        self.assertEqual(json.loads(succeed("check", votes, "--json").out)["votes"], rows)

    def test_a_chunk_larger_than_any_buffer(self):
        """Of 72 MB: unpacked once, not anew for every slab of rows."""
        columns = plain_votes(9_000_000)
        seconds = []
        for chunk in (1 << 20, 9_000_000):

            def left(file, name, chunk=chunk):
                column = columns[name].astype("i8")
                file.create_dataset(name, data=column, chunks=(chunk,), compression="gzip", compression_opts=1)

            votes = write_votes(self.path("votes.h5"), columns | {"comparisons/left": left})
            began = time.monotonic()
            succeed("check", votes)
            seconds.append(time.monotonic() - began)
        self.assertLess(seconds[1], 4 * seconds[0] + 1)

    def test_many_slabs_and_chunks(self):
        """300,000 votes: more than one of any buffer, at chunks that divide none of them."""
        columns = plain_votes(300_000)
        fits = []
        for name, storage in (("contiguous", {}), ("chunked", {"chunks": (77_777,), "compression": "gzip"})):
            tables = {n: c for n, c in columns.items() if not n.startswith("comparisons/")}
            votes = {
                n: (lambda file, at, c=c: file.create_dataset(at, data=c, **storage))
                for n, c in columns.items()
                if n not in tables
            }
            path = write_votes(self.path(name), votes | tables)
            succeed("fit", path, "-o", self.path("fit.h5"), "--model", "bt")
            fits.append(read_all(self.path("fit.h5")))
        self.assertEqual(fits[0], fits[1])
        np.testing.assert_array_equal(
            read(self.path("fit.h5"), "pairs/votes"),
            np.bincount(pairs_of(columns["comparisons/left"], columns["comparisons/right"])[1]),
        )

    def test_strings(self):
        columns = plain_votes()
        ids = [name for name in columns if name.endswith("/id")]
        with self.subTest("variable length"):
            self.assert_same_fit(columns | {name: variable_length(columns[name]) for name in ids})
        with self.subTest("fixed length, UTF-8"):
            self.assert_same_fit(columns | {name: columns[name].astype(h5py.string_dtype("utf-8", 20)) for name in ids})
        with self.subTest("variable length, chunked and compressed"):

            def make(file, name):
                file.create_dataset(
                    name, data=columns[name].tolist(), dtype=h5py.string_dtype("utf-8"), compression="gzip", chunks=(3,)
                )

            self.assert_same_fit(columns | {name: make for name in ids})

    def test_padding_that_is_unpacked_part_by_part(self):
        """40 ids in 640 MB of zeros; read_strings takes 256 at a time, which no number of these chunks fills."""
        columns = plain_votes()

        def make(file, name):
            wide = h5py.string_dtype("utf-8", 16 << 20)
            dataset = file.create_dataset(name, (40,), wide, chunks=(3,), compression="gzip", compression_opts=1)
            for row in range(0, 40, 3):
                dataset[row : row + 3] = columns[name][row : row + 3].astype(wide)

        self.assert_same_fit(columns | {"items/id": make})

    def test_ids_come_back_as_they_were(self):
        """Accents, other scripts, an emoji, spaces inside; one id much longer than the rest."""
        columns = plain_votes()
        ids = [f"élan {i} 漢字 🙂" for i in range(39)] + ["x" * 3000]
        columns["items/id"] = variable_length([text.encode() for text in ids])
        votes = write_votes(self.path("votes.h5"), columns)
        succeed("fit", votes, "-o", self.path("fit.h5"))
        self.assertEqual([bytes(text).decode() for text in read(self.path("fit.h5"), "items/id")], ids)

    def test_a_filter_that_is_not_there_is_named(self):
        """h5py brings lzf along; where voxpop's HDF5 has no such plugin, the message says so."""
        votes = write_votes(self.path("votes.h5"), plain_votes(), compression="lzf")
        result = run("check", votes)
        if result.code != 0:
            self.assertEqual(result.code, 3)
            self.assert_refused(votes, "lzf")

    def test_no_annotators(self):
        votes = write_votes(self.path("votes.h5"), without("comparisons/annotator", "annotators/id"))
        result = succeed("fit", votes, "-o", self.path("fit.h5"))
        self.assertEqual(len(result.lines()), 1)
        self.assertRegex(result.lines()[0], r"^note: .*comparisons/annotator")
        self.assertEqual(succeed("fit", votes, "-o", self.path("fit.h5"), "--quiet").err, b"")
        ids, counts = read(self.path("fit.h5"), "annotators/id", "annotators/votes")
        self.assertEqual((len(ids), counts.tolist()), (1, [200]))

    def test_optional_tables(self):
        with self.subTest("no prompts"):
            self.assert_same_fit_apart_from_prompts(without("items/prompt", "prompts/id"))
        with self.subTest("prompts without ids"):
            self.assert_same_fit_apart_from_prompts(without("prompts/id"))
        with self.subTest("prompts by numbers far apart"):
            numbers = {"items/prompt": np.arange(40) // 4 * 400_000_000}
            self.assert_same_fit_apart_from_prompts(without("prompts/id") | numbers)
        with self.subTest("timestamps"):
            self.assert_same_fit(plain_votes() | {"comparisons/timestamp": np.arange(200) + 1_700_000_000})

    def assert_same_fit_apart_from_prompts(self, columns):
        succeed("fit", write_votes(self.path("votes.h5"), columns), "-o", self.path("fit.h5"))
        found = read_all(self.path("fit.h5"))
        same = [name for name in self.expected if name not in ("items/prompt", "prompts/id")]
        self.assertEqual([name for name in same if self.expected[name] != found.get(name)], [])

    def test_unknown_datasets_are_ignored_with_a_note(self):
        """Whatever they hold: NaN, two dimensions, other groups."""
        extra = {"items/mood": np.full(40, np.nan), "weather/rain": np.ones((3, 3))}
        votes = write_votes(self.path("votes.h5"), plain_votes() | extra)
        result = succeed("fit", votes, "-o", self.path("fit.h5"))
        self.assertRegex(result.err.decode(), r"^note: [^\n]*items/mood[^\n]*weather/rain[^\n]*\n$")
        self.assertEqual(succeed("check", votes, "--quiet").err, b"")
        self.assertEqual(read_all(self.path("fit.h5")), self.expected)


# --------------------------------------------------------------------------------------------------------------- bad votes


class BadVotes(CliTest):
    def refuse(self, columns, *needles, **options):
        self.assert_refused(write_votes(self.path("votes.h5"), columns, **options), *needles)

    def test_missing_dataset(self):
        for name in ("comparisons/left", "comparisons/right", "comparisons/preference", "items/id", "annotators/id"):
            with self.subTest(name):
                self.refuse(without(name), name)
        with self.subTest("nothing at all"):
            self.refuse({}, "no dataset")

    def test_dataset_that_is_something_else(self):
        cases = {
            "group": lambda file, name: file.create_group(name),
            "type": lambda file, name: file.__setitem__(name, np.dtype("i4")),
            "dangling link": lambda file, name: file.__setitem__(name, h5py.SoftLink("/nowhere")),
            "scalar": lambda file, name: file.create_dataset(name, data=np.int32(3)),
            "no space": lambda file, name: file.create_dataset(name, data=h5py.Empty("i4")),
            "compound": lambda file, name: file.create_dataset(name, (200,), [("a", "i4"), ("b", "i4")]),
            "lists": lambda file, name: file.create_dataset(name, (200,), h5py.vlen_dtype("i4")),
            "references": lambda file, name: file.create_dataset(name, (200,), h5py.ref_dtype),
        }
        for what, make in cases.items():
            for name in ("comparisons/left", "comparisons/preference", "items/id", "annotators/id"):
                with self.subTest(what, name=name):
                    self.refuse(plain_votes() | {name: make}, name)

    def test_schema(self):
        for schema in ("comparisons/2", "fit/1", "votes"):
            with self.subTest(schema):
                self.refuse(plain_votes(), schema, schema=schema)
        with self.subTest("none"):
            self.refuse(plain_votes(), "voxpop_schema", schema=None)
        with self.subTest("a number"):
            self.refuse(plain_votes(), "voxpop_schema", schema=1)
        for count in (2, 64):  # read as one string, they would overrun it
            with self.subTest("several", count=count, length="variable"):
                self.refuse(plain_votes(), "voxpop_schema", schema=["comparisons/1"] * count)
            with self.subTest("several", count=count, length="fixed"):
                self.refuse(plain_votes(), "voxpop_schema", schema=np.array([b"comparisons/1"] * count))
        with self.subTest("no value"):
            self.refuse(plain_votes(), "voxpop_schema", schema=h5py.Empty(h5py.string_dtype()))
        with self.subTest("a fit"):
            votes = write_votes(self.path("votes.h5"), plain_votes())
            succeed("fit", votes, "-o", self.path("fit.h5"))
            self.assert_refused(self.path("fit.h5"), "fit/1")

    def test_not_hdf5(self):
        for name, content in {
            "text": b"left,right\n1,2\n",
            "empty": b"",
            "zeros": bytes(4096),
            "signature": b"\x89HDF\r\n\x1a\n",
        }.items():
            with self.subTest(name):
                path = self.write_bytes(f"{name}.h5", content)
                self.assert_refused(path, code=run("check", path).code, verbs=("check", "fit", "info"))
                self.assertIn(run("check", path).code, (3, 4) if name == "signature" else (3,))

    def test_no_votes(self):
        self.refuse(
            {name: column[:0] if name.startswith("comparisons/") else column for name, column in plain_votes().items()},
            "comparisons/left",
        )
        self.refuse({name: column[:0] for name, column in plain_votes().items()})

    def test_only_ties_and_none_of_them_count(self):
        columns = plain_votes() | {"comparisons/preference": np.zeros(200, "i1")}
        votes = write_votes(self.path("votes.h5"), columns)
        succeed("fit", votes, "-o", self.path("fit.h5"))
        self.assert_one_line(run("fit", votes, "-o", self.path("out.h5"), "--ties", "drop"), 3, votes, "tie")
        self.assertFalse(os.path.exists(self.path("out.h5")))

    def test_indices(self):
        second_slab = 131_072 + 12_345  # rows are read in slabs: the row named is the file's, not the slab's
        for name, limit in (
            ("comparisons/left", 40),
            ("comparisons/right", 40),
            ("comparisons/annotator", 8),
            ("items/prompt", 10),
        ):
            for value in (-1, -(2**31) - 5, limit, 2**31, 2**32 + 1, 2**63 - 1):
                with self.subTest(name, value=value):
                    self.refuse(changed(name, 33, value), name, "row 33", value)
            with self.subTest(name, type="uint64"):
                column = plain_votes()[name].astype("u8")
                column[33] = 2**64 - 1
                self.refuse(plain_votes() | {name: column}, name, "row 33", 2**64 - 1)
        with self.subTest("second slab"):
            self.refuse(
                changed("comparisons/right", second_slab, 40, votes=150_000),
                "comparisons/right",
                f"row {second_slab}",
                40,
            )
        with self.subTest("row 12345"):
            self.refuse(changed("comparisons/left", 12_345, -7, votes=20_000), "comparisons/left", "row 12345", -7)

    def test_preferences(self):
        for value in (10, 99, 127, -128):
            with self.subTest(value):
                self.refuse(changed("comparisons/preference", 57, value), "comparisons/preference", "row 57", value)
        with self.subTest("wide"):
            columns = plain_votes()
            columns["comparisons/preference"] = columns["comparisons/preference"].astype("i8")
            columns["comparisons/preference"][57] = 257  # 1 if cut to eight bits
            self.refuse(columns, "comparisons/preference", "row 57", 257)

    def test_grades_are_read(self):
        for value in (2, -9, 9):
            with self.subTest(value):
                succeed("check", write_votes(self.path("votes.h5"), changed("comparisons/preference", 57, value)))
        for value in (10, -10):
            with self.subTest(value):
                self.refuse(changed("comparisons/preference", 57, value), "comparisons/preference", "row 57", value)

    def test_types(self):
        columns = plain_votes()
        for name in (
            "comparisons/left",
            "comparisons/right",
            "comparisons/annotator",
            "comparisons/preference",
            "items/prompt",
        ):
            for kind in ("f4", "f8", "S4", "bool"):
                with self.subTest(name, kind=kind):
                    self.refuse(columns | {name: columns[name].astype(kind)}, name)
        for name in ("items/id", "annotators/id", "prompts/id"):
            for kind in ("i4", "f8"):
                with self.subTest(name, kind=kind):
                    self.refuse(columns | {name: np.arange(len(columns[name])).astype(kind)}, name)

    def test_dimensions(self):
        for name, column in plain_votes().items():
            for shape in ((len(column), 1), (1, len(column))):
                with self.subTest(name, shape=shape):
                    self.refuse(plain_votes() | {name: column.reshape(shape)}, name)

    def test_lengths(self):
        columns = plain_votes() | {"comparisons/timestamp": np.arange(200)}
        for name in (
            "comparisons/right",
            "comparisons/annotator",
            "comparisons/preference",
            "comparisons/timestamp",
            "items/prompt",
        ):
            for rows in (len(columns[name]) - 1, len(columns[name]) + 1, 0):
                with self.subTest(name, rows=rows):
                    self.refuse(columns | {name: np.resize(columns[name], rows)}, name, rows)

    def test_self_comparison(self):
        self.refuse(changed("comparisons/right", 57, 5), "comparisons/right", "row 57", "item5")

    def test_cross_prompt_vote(self):
        self.refuse(changed("comparisons/right", 57, 39), "comparisons/right", "row 57", "item39")

    def test_no_ids(self):
        self.refuse(plain_votes() | {"items/id": np.array([], "S5")}, "items/id", "no rows")

    def test_half_written(self):
        """Rows that nobody wrote read as zeros: votes for item 0, or ties."""
        columns = plain_votes()
        for name in ("comparisons/left", "comparisons/preference", "items/id", "items/prompt"):
            for compression in (None, "gzip"):
                with self.subTest(name, compression=compression):

                    def make(file, name, compression=compression):
                        like = columns[name]
                        made = file.create_dataset(name, like.shape, like.dtype, chunks=(20,), compression=compression)
                        made[:20] = like[:20]

                    self.refuse(columns | {name: make}, name, "never written in full")

        def filled(file, name):  # on purpose
            file.create_dataset(name, (200,), "i1", chunks=(20,), fillvalue=1)[:20] = columns[name][:20]

        succeed("check", write_votes(self.path("votes.h5"), columns | {"comparisons/preference": filled}))

    def test_links_and_groups_in_place_of_a_dataset(self):
        columns = plain_votes()
        for name in ("comparisons/left", "items/id"):
            nowhere = lambda file, name: file.__setitem__(name, h5py.SoftLink("/nowhere"))
            self.refuse(columns | {name: nowhere}, name, "a link to what is not there")
            self.refuse(columns | {name: lambda file, name: file.create_group(name)}, name, "must be a dataset")

    def test_ids_that_are_not_utf8(self):
        for name in ("items/id", "annotators/id", "prompts/id"):
            for bad in (b"\xff\xfe", b"caf\xe9", b"\xed\xa0\x80", b"\xc0\xaf"):
                column = plain_votes()[name]
                column[3] = bad
                with self.subTest(name, bad=bad, length="fixed"):
                    self.refuse(plain_votes() | {name: column}, name, "row 3")
                with self.subTest(name, bad=bad, length="variable"):
                    self.refuse(plain_votes() | {name: variable_length(column)}, name, "row 3")

    def test_duplicate_ids(self):
        for name, value in (("items/id", b"item2"), ("annotators/id", b"annotator2"), ("prompts/id", b"prompt2")):
            with self.subTest(name):
                self.refuse(changed(name, 6, value), name, "row 6", "row 2", value.decode())

    def test_more_features_than_can_be_fitted(self):
        columns = plain_votes() | {"items/features": np.random.default_rng(1).normal(size=(40, 8))}
        succeed("check", write_votes(self.path("votes.h5"), columns))
        columns["items/prior_score"] = np.arange(40.0)
        votes = write_votes(self.path("votes.h5"), columns)
        needles = ("items/features", "8 columns", "at most 8", "--ignore prior_score")
        self.assert_refused(votes, *needles, verbs=("fit",))
        told = json.loads(succeed("check", votes, "--json").out)["warnings"]
        self.assertTrue(any(all(needle in warning for needle in needles) for warning in told), told)
        succeed("fit", self.path("votes.h5"), "-o", self.path("fit.h5"), "--ignore", "prior_score")

    def test_line_breaks_in_an_id_do_not_break_the_message(self):
        columns = plain_votes()
        columns["items/id"][2] = columns["items/id"][6] = b"a\nb\x1b[2J"
        self.refuse(columns, "items/id", "row 6")

    def test_truth_that_does_not_fit(self):
        truth = {
            "truth/score": np.zeros(40),
            "truth/discrimination": np.ones(8),
            "truth/side_bias": np.zeros(8),
            "truth/kind": np.array([b"good"] * 8),
        }
        succeed("check", write_votes(self.path("votes.h5"), plain_votes() | truth))
        for name, column in truth.items():
            with self.subTest(name):
                self.refuse(plain_votes() | truth | {name: column[1:]}, name)

    def test_data_in_other_files(self):
        """A link out of the file may lead anywhere, or nowhere, where HDF5 reads zeros without a word."""
        write_votes(self.path("other.h5"), plain_votes())
        self.write_bytes("raw.bin", bytes(800))

        def virtual(source):
            def make(file, name):
                layout = h5py.VirtualLayout((200,), "i1")
                layout[:] = h5py.VirtualSource(source, name, (200,))
                file.create_virtual_dataset(name, layout, fillvalue=0)

            return make

        def through(source):
            def make(file, name):
                file["far"] = h5py.ExternalLink(source, "/")
                file[name] = h5py.SoftLink("/far/" + name)

            return make

        cases = {
            "external link": lambda file, name: file.__setitem__(name, h5py.ExternalLink("other.h5", name)),
            "external link to nowhere": lambda file, name: file.__setitem__(name, h5py.ExternalLink("none.h5", name)),
            "external storage": lambda file, name: file.create_dataset(
                name, (200,), "i1", external=[("raw.bin", 0, 200)]
            ),
            "external storage nowhere": lambda file, name: file.create_dataset(
                name, (200,), "i1", external=[("none.bin", 0, 200)]
            ),
            "virtual dataset": virtual("other.h5"),
            "virtual dataset of nothing": virtual("none.h5"),
            "link through an external link": through("other.h5"),
            "link through one to nowhere": through("none.h5"),
        }
        for what, make in cases.items():
            with self.subTest(what):
                self.refuse(plain_votes() | {"comparisons/preference": make}, "comparisons/preference", "another file")

    def test_group_that_lives_in_another_file(self):
        other = write_votes(self.path("other.h5"), plain_votes())
        with h5py.File(self.path("votes.h5"), "w") as file:
            file.attrs["voxpop_schema"] = "comparisons/1"
            for group in ("comparisons", "items", "annotators", "prompts"):
                file[group] = h5py.ExternalLink(os.path.basename(other), group)
        self.assert_refused(self.path("votes.h5"), "another file")

    def test_group_that_is_a_link_through_another_file(self):
        other = write_votes(self.path("other.h5"), plain_votes())
        with h5py.File(self.path("votes.h5"), "w") as file:
            file.attrs["voxpop_schema"] = "comparisons/1"
            file["far"] = h5py.ExternalLink(os.path.basename(other), "/")
            for group in ("comparisons", "items", "annotators", "prompts"):
                file[group] = h5py.SoftLink("/far/" + group)
        self.assert_refused(self.path("votes.h5"), "another file")

    def test_timestamps_in_another_unit(self):
        """Nanoseconds, as pandas has them, and the ends of what fits: no calendar goes so far."""
        for time in (1_700_000_000 * 10**9, 2**63 - 1, -(2**63)):
            with self.subTest(time=time):
                times = np.full(200, time)
                self.refuse(plain_votes() | {"comparisons/timestamp": times}, "comparisons/timestamp", time, "seconds")
        path = write_votes(self.path("far.h5"), plain_votes() | {"comparisons/timestamp": np.arange(200) * 5 * 10**12})
        succeed("check", path)  # 31 million years
        succeed("fit", path, "-o", self.path("out.h5"))


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
                "stores 0 bytes",
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
        self.assertIn("1 of 401 rows name an item that the votes do not have", result.err.decode())
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
            "an item is missing": (rows[1:], "1 of the votes' 400 items have no row", self.ids[0]),
            "no number": ([f"{self.ids[0]},good", *rows[1:]], "line 2", "'good'", "number within float32"),
            "infinite": ([f"{self.ids[0]},inf", *rows[1:]], "line 2", "'inf'"),
            "two scores": ([*rows, f"{self.ids[0]},99"], "line 402", "another score"),
            "no rows": ([], "items have no row"),
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


class Simulated(CliTest):
    """simulate with every option, as h5py reads it."""

    arguments = (
        "--prompts 300 --responses 4 --pairs-per-prompt 4 --votes-per-pair 3 --annotators 40 --ties .1 --grades 3 "
        "--lapse-rate .1 --features 3 --taste-sd .2 --prior-score .7 --days 60 --drift .2 --bursts .1 --seed 5"
    ).split()

    def test_every_option(self):
        path, again = self.path("votes.h5"), self.path("again.h5")
        succeed("simulate", path, *self.arguments)
        succeed("simulate", again, *self.arguments)
        with open(path, "rb") as one, open(again, "rb") as other:
            self.assertEqual(one.read(), other.read())
        self.assertEqual(succeed("check", path).err, b"")
        with h5py.File(path) as file:
            self.assertEqual(list(file["items/features"].attrs["names"]), ["length", "f1", "f2"])
            self.assertEqual(file["items/features"].shape, (1200, 3))
            self.assertEqual(file["items/prior_score"].shape, (1200,))
            truth = {name: data[()] for name, data in file["truth"].items()}
            columns = {name: data[()] for name, data in file["comparisons"].items()}
            features, prior_score = file["items/features"][()], file["items/prior_score"][()]
        self.assertEqual(truth["taste"].shape, (40, 3))
        self.assertEqual(truth["lapse_rate"].shape, (40,))
        np.testing.assert_allclose(np.diff(truth["thresholds"]), [1, 1])
        self.assertEqual((truth["drifts"].sum(), truth["bursts"].sum()), (8, 4))
        self.assertEqual(truth["drifts"].dtype, np.int8)
        self.assertEqual(set(columns["preference"]), set(range(-3, 4)))
        self.assertAlmostEqual(np.mean(columns["preference"] == 0), 0.1, delta=0.02)
        self.assertAlmostEqual(np.median(truth["lapse_rate"]), 0.1, delta=0.04)
        self.assertAlmostEqual(np.corrcoef(truth["score"], prior_score)[0, 1], 0.7, delta=0.06)
        found = np.linalg.lstsq(features, truth["score"], rcond=None)[0]
        np.testing.assert_allclose(found, truth["feature_coefficients"], atol=0.2)
        order = np.lexsort((columns["timestamp"], columns["annotator"]))
        same = np.diff(columns["annotator"][order]) == 0
        second = np.diff(columns["timestamp"][order]) == 1
        self.assertEqual(set(columns["annotator"][order][1:][same & second]), set(np.flatnonzero(truth["bursts"])))
        start = np.datetime64("2026-01-05").astype("datetime64[s]").astype(int)
        self.assertTrue(np.all((columns["timestamp"] >= start) & (columns["timestamp"] < start + 60 * 86400)))

    def test_one_component(self):
        for shape, pairs in (("graph", 1200), ("mix", 1200 + 299 + 300)):
            with self.subTest(shape):
                path = self.path("votes.h5")
                succeed("simulate", path, *self.arguments, "--shape", shape)
                counts = json.loads(succeed("check", path, "--json").out)
                self.assertEqual((counts["components"], counts["items"]), (1, 1200))
                self.assertEqual(counts["votes"], 3 * pairs)


class HugeClaims(CliTest):
    """Files of a few kilobytes that claim a great deal: refused in time, within a gigabyte."""

    def refuse(self, columns):
        self.refuse_file(write_votes(self.path("votes.h5"), columns))

    def refuse_file(self, path):
        self.assertLess(512 * os.stat(path).st_blocks, 1 << 20)

        def limit():  # a failure here must not take the machine along; a sanitizer needs all the addresses there are
            if not sanitized:
                resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))

        for arguments in (["check", path], ["fit", path, "-o", self.path("out.h5")]):
            began = time.monotonic()
            result = run(*arguments, preexec_fn=limit)
            self.assert_one_line(result, 3, path)
            self.assertLess(result.peak, memory_limit)
            self.assertLess(time.monotonic() - began, patience)
            self.assertEqual(os.listdir(self.folder), ["votes.h5"])

    @staticmethod
    def unwritten(rows, kind, written=0):
        def make(file, name):
            dataset = file.create_dataset(name, (rows,), kind, chunks=(65_536,), compression="gzip")
            if written:
                dataset[:written] = np.arange(written) % 2

        return make

    def test_one_column(self):
        for name, rows in (
            ("comparisons/left", 2**40),
            ("comparisons/left", 2**32),
            ("comparisons/left", 2**31),
            ("comparisons/right", 2**40),
            ("comparisons/annotator", 2**40),
            ("comparisons/preference", 2**40),
            ("items/prompt", 2**40),
        ):
            with self.subTest(name, rows=rows):
                self.refuse(plain_votes() | {name: self.unwritten(rows, "i1")})

    def test_ids(self):
        for name, rows, kind in (
            ("items/id", 2**40, "S8"),
            ("annotators/id", 2**32, "S8"),
            ("items/id", 2**40, h5py.string_dtype("utf-8")),
        ):
            with self.subTest(name, rows=rows, kind=kind):
                self.refuse(plain_votes() | {name: self.unwritten(rows, kind)})

    def test_all_columns(self):
        """Then no length tells that one of them is wrong."""
        for rows, written in ((2**40, 0), (2**31, 0), (2**31, 1000)):
            with self.subTest(rows=rows, written=written):
                columns = {
                    name: self.unwritten(rows, "i1", written)
                    for name in plain_votes()
                    if name.startswith("comparisons/")
                }
                self.refuse(plain_votes() | columns)

    def test_contiguous(self):
        """Never written, a contiguous dataset takes no space either."""
        with self.subTest("votes"):
            self.refuse(
                plain_votes() | {"comparisons/left": lambda file, name: file.create_dataset(name, (2**40,), "i4")}
            )
        with self.subTest("ids"):
            self.refuse(plain_votes() | {"items/id": lambda file, name: file.create_dataset(name, (2**40,), "S8")})

    def test_wide_strings(self):
        def make(file, name):
            kind = h5py.h5t.C_S1.copy()
            kind.set_size(2**31 - 1)
            h5py.h5d.create(
                file.require_group(name.split("/")[0]).id,
                name.split("/")[1].encode(),
                kind,
                h5py.h5s.create_simple((40,)),
            )

        self.refuse(plain_votes() | {"items/id": make})

    def test_sparse_files(self):
        """Their text is there, as far as the header and the file's length tell, but nobody ever wrote it."""
        for name, width, rows in (
            ("items/id", 2**31, 9),
            ("annotators/id", 70_000, 16_384),
            ("items/id", 1, 2**33),
            ("items/id", 1, 2**31),
            ("prompts/id", 4, 2**30),
        ):
            with self.subTest(name, width=width, rows=rows):

                def make(file, name, width=width, rows=rows):
                    kind = h5py.h5t.C_S1.copy()
                    kind.set_size(width)
                    early = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
                    early.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
                    group, dataset = name.split("/")
                    space = h5py.h5s.create_simple((rows,))
                    h5py.h5d.create(file.require_group(group).id, dataset.encode(), kind, space, early)

                self.refuse(plain_votes() | {name: make})

    def test_one_long_id_for_all(self):
        """Rows of a damaged file that all point to the same string, which lies in the file once."""
        rows, path = 20_000, self.path("votes.h5")
        with h5py.File(write_votes(path, plain_votes()), "r+") as file:
            del file["items/id"]
            dataset = file.create_dataset("items/id", data=["x" * 200_000] + [""] * (rows - 1), dtype=h5py.string_dtype())
            begin = dataset.id.get_offset()
        with open(path, "r+b") as file:
            file.seek(begin)
            first = file.read(16)
            file.seek(begin)
            file.write(first * rows)
        self.refuse_file(path)

    def test_contiguous_data_beyond_the_file(self):
        """A header that places far more rows in the file than it has bytes."""
        columns = {name: column for name, column in plain_votes().items() if name.startswith("comparisons/")}
        columns = {name: column.astype("i1") for name, column in columns.items()}
        path = write_votes(self.path("votes.h5"), plain_votes() | columns)
        rows = 2**31
        with h5py.File(path) as file:
            places = [file[name].id.get_offset() for name in columns]
        with open(path, "r+b") as file:
            whole = file.read()
            for place in places:
                self.assertIn(struct.pack("<QQ", place, 200), whole)
                whole = whole.replace(struct.pack("<QQ", place, 200), struct.pack("<QQ", place, rows))
            whole = whole.replace(struct.pack("<QQ", 200, 200), struct.pack("<QQ", rows, rows))
            file.seek(0)
            file.write(whole)
        self.refuse_file(path)

    def test_numbers_beside_items(self):
        """Zeros that gzip packs a thousandfold, in a column that is longer than its table."""
        rows, chunk = 2**29, 2**24
        packed = zlib.compress(bytes(chunk), 9)

        def make(*shape):
            def column(file, name):
                chunks = (chunk, *shape[1:])
                dataset = file.create_dataset(name, shape, "i1", chunks=chunks, compression="gzip")
                for begin in range(0, rows, chunk):
                    dataset.id.write_direct_chunk((begin, *[0] * (len(shape) - 1)), packed)

            return column

        for name, column in (
            ("items/prior_score", make(rows)),
            ("items/features", make(rows, 1)),
            ("items/prompt", make(rows)),
        ):
            with self.subTest(name):
                self.refuse(plain_votes() | {name: column})

    def test_deep_provenance(self):
        """JSON within JSON takes stack when it is printed, and an indentation a level."""
        path = write_votes(self.path("fit.h5"), plain_votes(), libver="latest")
        deep = "[" * 2_000_000 + "]" * 2_000_000
        with h5py.File(path, "r+", libver="latest") as file:
            file.attrs.create("provenance", deep, dtype=h5py.string_dtype())
        result = run("info", path)
        self.assertEqual(result.code, 0, result.err[:300])
        self.assertLess(result.peak, memory_limit)
        with h5py.File(path, "r+", libver="latest") as file:
            file.attrs["voxpop_schema"] = "fit/1"
        self.assert_one_line(run("report", path, "-o", self.path("out.html")), 3, path, "provenance")

    def test_prompt_numbers(self):
        self.refuse(without("prompts/id") | {"items/prompt": np.arange(40) // 4 * 500_000_000})  # beyond 32 bits


# ----------------------------------------------------------------------------------------------------------- damaged files


class Damage(CliTest):
    def assert_survives(self, path, verbs=("fit",)):
        """0 with an output, or 3 or 4 in one line that names the file, with none."""
        for verb in verbs:
            folder = tempfile.mkdtemp(dir=self.folder)
            output = os.path.join(folder, "out.h5")
            result = run(verb, path, "--quiet", *(["-o", output] if verb == "fit" else []))
            self.assertIn(result.code, (0, 3, 4), f"{verb}: {result.err!r}")
            if result.code == 0:
                self.assertEqual(result.err, b"")
                self.assertEqual(os.listdir(folder), ["out.h5"] if verb == "fit" else [])
            else:
                self.assert_one_line(result, result.code, path)
                self.assertEqual(os.listdir(folder), [])
            shutil.rmtree(folder)

    def files(self):
        """Contiguous with ids of variable length (their heap is another thing to break), and gzip."""
        features = np.arange(80.0).reshape(40, 2)
        columns = plain_votes() | {"items/prior_score": np.arange(40.0), "items/features": matrix(features, ["a", "b"])}
        ids = {name: variable_length(columns[name]) for name in ("items/id", "annotators/id")}
        return {
            "contiguous": write_votes(self.path("contiguous.h5"), columns | ids),
            "gzip": write_votes(self.path("gzip.h5"), columns, compression="gzip", shuffle=True),
        }

    def test_strings_without_width(self):
        ids = np.array([f"i{i}" for i in range(40)], "S37")
        votes = write_votes(self.path("votes.h5"), plain_votes() | {"items/id": ids})
        with open(votes, "rb") as file:
            whole = file.read()
        string_type = re.compile(rb"\x13[\0-\x3f]\0\0" + struct.pack("<I", 37))
        self.assertEqual(len(string_type.findall(whole)), 1)
        self.write_bytes("votes.h5", string_type.sub(lambda m: m[0][:4] + bytes(4), whole))
        self.assert_refused(votes, "items/id", "0 bytes each")

    def test_bytes_of_an_unpacked_chunk(self):
        """Its size, as the chunk index has it, is believed by nobody."""
        votes = write_votes(self.path("votes.h5"), plain_votes(), chunks=(5,))
        with h5py.File(votes) as file:
            chunk = file["comparisons/left"].id.get_chunk_info(0)
        with open(votes, "rb") as file:
            whole = file.read()
        entry, false = (  # size, filters left out, first row, first byte of a row, address
            struct.pack("<IIQQQ", size, 0, 0, 0, chunk.byte_offset) for size in (chunk.size, 2**32 - 1)
        )
        self.assertEqual(whole.count(entry), 1)
        self.write_bytes("votes.h5", whole.replace(entry, false))
        self.assert_refused(votes, "comparisons/left", "row 0", "chunks are damaged")

    def test_truncated(self):
        for name, path in self.files().items():
            with open(path, "rb") as file:
                whole = file.read()
            for size in np.linspace(1, len(whole) - 1, 60).astype(int):
                with self.subTest(name, size=int(size)):
                    cut = self.write_bytes("cut.h5", whole[:size])
                    self.assert_survives(cut, ("fit", "info"))
                    self.assertNotEqual(run("check", cut).code, 0)

    def test_flipped(self):
        for name, path in self.files().items():
            with open(path, "rb") as file:
                whole = np.frombuffer(file.read(), np.uint8)
            rng = np.random.default_rng(20)
            used = np.flatnonzero(
                whole
            )  # half of the flips go where something is written: small files are mostly padding
            for i in range(200):
                at = int(rng.choice(used) if i % 2 else rng.integers(len(whole)))
                flipped = whole.copy()
                flipped[at] ^= int(rng.integers(1, 256))
                with self.subTest(name, at=at, value=int(flipped[at])):
                    self.assert_survives(self.write_bytes("flipped.h5", flipped.tobytes()))

    def test_info_of_flipped_files(self):
        succeed("fit", self.files()["contiguous"], "-o", self.path("fit.h5"))
        with open(self.path("fit.h5"), "rb") as file:
            whole = np.frombuffer(file.read(), np.uint8)
        used, rng = np.flatnonzero(whole), np.random.default_rng(21)
        for at in rng.choice(used, 60):
            flipped = whole.copy()
            flipped[at] ^= int(rng.integers(1, 256))
            with self.subTest(at=int(at), value=int(flipped[at])):
                self.assert_survives(self.write_bytes("flipped.h5", flipped.tobytes()), ("info",))


# ------------------------------------------------------------------------------------------------------------- file system


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


# -------------------------------------------------------------------------------------------------------------- checkpoint


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
        self.assertRegex(result.err.decode(), r"note: .*kept: goes on after \d+ iterations")
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
                self.assertRegex(err, r"interrupted; .*kept keeps the fit after \d+ iterations")
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
            self.assertIn(f"kept: the checkpoint of another fit ({name} is not the same)", result.err.decode())
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
        self.assertRegex(result.err.decode(), "note: .*kept: .*; the fit goes on without")

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
        self.assertRegex(text, r"interrupted; .*kept keeps the fit after \d+ iterations")
        self.assert_resumed()

    def test_one_that_failed_strictly_is_not_kept(self):
        result = run(*self.fit("--checkpoint-every", 0, "--strict", "--max-iterations", 3))
        self.assertEqual(result.code, 5, result.err)
        self.assertEqual(os.listdir(self.folder), [])


# ------------------------------------------------------------------------------------------------------------ memory limit


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
                if b"could not be kept" not in limited.out:
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
        self.assertIn(b"150 bytes are too few", result.err)

    def test_no_room_for_scratch(self):
        limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
        arguments = ["fit", self.votes, "-o", self.path("fit.h5"), "--device", "cpu", "--memory-limit", "110MB"]
        result = run(*arguments, preexec_fn=limit, env={**os.environ, "TMPDIR": self.folder})
        self.assertEqual(result.code, 4, result.err)
        self.assertRegex(result.err.decode(), f"{self.folder}: no room for .* MiB of scratch: File too large")
        self.assertEqual(os.listdir(self.folder), [])


# ------------------------------------------------------------------------------------------------------------------ import


class Import(CliTest):
    VOTES = [("a", "b", "ann", "left"), ("b", "c", "bob", "right"), ("a", "c", "ann", "tie"), ("c", "b", "cy", "left")]

    def write_table(self, name, rows, header=("left", "right", "annotator", "preference"), separator=","):
        return self.write_bytes(name, "".join(separator.join(row) + "\n" for row in (header, *rows)).encode())

    def refuse(self, content, *needles, name="votes.csv", code=3):
        path = self.write_bytes(name, content)
        self.assert_refused(path, *needles, code=code, verbs=("import",))

    def test_small_table(self):
        lines = "".join(
            json.dumps(dict(zip(("left", "right", "annotator", "preference"), row))) + "\n" for row in self.VOTES
        )
        tables = [
            self.write_table("votes.csv", self.VOTES),
            self.write_table("votes.tsv", self.VOTES, separator="\t"),
            self.write_bytes("votes.jsonl", lines.encode()),
            self.write_bytes("votes.csv.gz", gzip.compress(self.write_and_read("votes.csv"))),
        ]
        for table in tables:
            with self.subTest(os.path.basename(table)):
                output = self.path("votes.h5")
                result = succeed("import", table, "-o", output)
                self.assertEqual(result.err, b"")
                found = [
                    column.tolist()
                    for column in read(
                        output, *(f"comparisons/{c}" for c in ("left", "right", "annotator", "preference"))
                    )
                ]
                self.assertEqual(found, [[0, 1, 0, 2], [1, 2, 2, 1], [0, 1, 0, 2], [1, -1, 0, 1]])
                self.assertEqual(read(output, "items/id").tolist(), [b"a", b"b", b"c"])
                self.assertEqual(read(output, "annotators/id").tolist(), [b"ann", b"bob", b"cy"])
                self.assertEqual(read(output, "comparisons/preference").dtype, np.int8)
                succeed("check", output)
                succeed("fit", output, "-o", self.path("fit.h5"))

    def write_and_read(self, name):
        with open(self.path(name), "rb") as file:
            return file.read()

    def test_names_and_values_of_ones_own(self):
        table = self.write_table(
            "votes.csv",
            [("x", "y", "A>B"), ("y", "x", "B>A"), ("x", "y", "draw")],
            header=("first", "second", "verdict"),
        )
        output = self.path("votes.h5")
        told = json.loads(
            succeed(
                "import",
                table,
                "-o",
                output,
                "--left",
                "first",
                "--right",
                "second",
                "--preference",
                "verdict",
                "--map",
                "A>B=left,B>A=right,draw=tie",
                "--json",
            ).out
        )
        self.assertEqual((told["votes"], told["items"]), (3, 2))
        self.assertEqual(read(output, "comparisons/preference").tolist(), [1, -1, 0])

    def test_grades_are_imported(self):
        table = self.write_table("votes.csv", [("x", "y", "ann", "3"), ("y", "x", "ann", "-2")])
        succeed("import", table, "-o", self.path("votes.h5"))
        self.assertEqual(read(self.path("votes.h5"), "comparisons/preference").tolist(), [3, -2])

    def test_each_class_of_error_names_its_line(self):
        head = b"left,right,annotator,preference\na,b,ann,left\n"
        cases = {
            "missing field": (head + b"b,c,left\n", "line 3"),
            "extra field": (head + b"b,c,ann,left,x\n", "line 3"),
            "unknown preference": (head + b"a,c,ann,right\nb,c,ann,maybe\n", "line 4", "maybe"),
            "grade beyond 9": (head + b"b,c,ann,10\n", "line 3", "10"),
            "empty preference": (head + b"b,c,ann,\n", "line 3", "preference"),
            "item not UTF-8": (head + b"b,caf\xe9,ann,left\n", "line 3", "right"),
            "annotator not UTF-8": (head + b"b,c,\xff\xfe,left\n", "line 3", "annotator"),
            "self comparison": (head + b"b,b,ann,left\n", "line 3", "right", "b"),
            "empty item": (head + b",b,ann,left\n", "line 3", "left"),
            "quote left open": (head + b'b,"c,ann,left\n', "line 3"),
            "quote inside": (head + b'b,c"d,ann,left\n', "line 3"),
            "no rows": (b"left,right,annotator,preference\n",),
            "no bytes": (b"",),
            "no such column": (b"left,right,vote\na,b,left\n", "preference"),
            "column twice": (b"left,left,right,preference\na,b,c,left\n", "left"),
        }
        for what, (content, *needles) in cases.items():
            with self.subTest(what):
                self.refuse(content, *needles)
        with self.subTest("row after a field of three lines"):
            self.refuse(head + b'"b\n\nb",c,ann,left\na,a,ann,left\n', "line 6")
        for what, line in {
            "not JSON": b"{nope\n",
            "no key": b'{"left":"a","right":"b"}\n',
            "a list": b'{"left":["a"],"right":"b","preference":"left"}\n',
        }.items():
            with self.subTest(what):
                self.refuse(b'{"left":"a","right":"b","preference":"left"}\n' + line, "line 2", name="votes.jsonl")

    def test_timestamps(self):
        rows = b"left,right,preference,timestamp\na,b,left,1700000000\na,b,left,yesterday\n"
        table = self.write_bytes("votes.csv", rows)
        told = succeed("import", table, "-o", self.path("votes.h5")).err
        self.assertIn(b"column 'timestamp' holds no time ('yesterday', line 3", told)
        told = run("import", table, "-o", self.path("votes.h5"), "--timestamp", "timestamp")
        self.assert_one_line(told, 3, table, "line 3", "yesterday")

    def test_files(self):
        self.assert_refused(self.path("none.csv"), code=4, verbs=("import",))
        os.mkdir(self.path("folder.csv"))
        self.assert_refused(self.path("folder.csv"), code=4, verbs=("import",))
        packed = gzip.compress(b"left,right,preference\n" + b"".join(b"a%d,b,left\n" % i for i in range(5000)))
        self.refuse(packed[: len(packed) // 2], name="cut.csv.gz", code=4)
        self.refuse(packed[:100] + bytes(50) + packed[150:], name="damaged.csv.gz")


def tau_b(x, y):
    """Kendall's tau-b over all pairs: ties in either count in its own root only."""
    a, b = np.sign(np.subtract.outer(x, x)), np.sign(np.subtract.outer(y, y))
    return np.sum(a * b) / math.sqrt(np.sum(a * a) * np.sum(b * b))


@unittest.skipUnless(SHARED_DATA, "VOXPOP_SHARED_DATA is not set: real votes are not tested")
class RealVotes(CliTest):
    def fit_scores(self, table, *options, reading=()):
        votes, fit = self.path("votes.h5"), self.path("fit.h5")
        succeed("import", table, "-o", votes, "--quiet", *reading)
        succeed("check", votes)
        succeed("fit", votes, "-o", fit, *options)
        ids, scores = read(fit, "items/id", "items/score")
        return {item.decode(): float(score) for item, score in zip(ids, scores)}

    def test_llmfao_matches_bradley_terry(self):
        folder = os.path.join(SHARED_DATA, "llmfao")
        with open(os.path.join(folder, "evalica-golden.csv"), newline="", encoding="utf-8") as file:
            golden = {
                row["item"]: float(row["score"]) for row in csv.DictReader(file) if row["algorithm"] == "bradley_terry"
            }
        scores = self.fit_scores(os.path.join(folder, "llmfao.csv"), "--model", "bt", "--ties", "half", "--repeats", "all",
                                 reading=["--prompt", ""])  # models are judged, on many prompts
        self.assertEqual(set(scores), set(golden))
        self.assertEqual(len(golden), 59)
        correlation = np.corrcoef([scores[item] for item in golden], np.log(list(golden.values())))[0, 1]
        figures.append(f"llmfao: correlation of bt scores with evalica's log scores {correlation:.5f}")
        self.assertGreater(correlation, 0.995)

    def test_readinglevel_raters_beat_bradley_terry(self):
        folder = os.path.join(SHARED_DATA, "readinglevel")
        with open(os.path.join(folder, "gold.csv"), newline="", encoding="utf-8") as file:
            gold = {row["item"]: float(row["gold"]) for row in csv.DictReader(file)}
        taus = {}
        for model in ("bt", "rater"):
            scores = self.fit_scores(os.path.join(folder, "readinglevel.csv"), "--model", model)
            self.assertEqual(set(scores), set(gold))
            taus[model] = tau_b([scores[item] for item in gold], list(gold.values()))
        figures.append(f"readinglevel: tau-b with gold: bt {taus['bt']:.4f}, rater {taus['rater']:.4f}")
        self.assertGreaterEqual(taus["bt"], 0.348 - 0.002)
        self.assertGreater(taus["rater"], taus["bt"])


# ------------------------------------------------------------------------------------------------------------- calibration


def calibration_error(predicted, outcome, bins=15):
    """Binned in single precision as the file holds it: in double, a value on a bin's edge may fall on its other side."""
    place = np.minimum((predicted * np.float32(bins)).astype(int), bins - 1)
    differences = np.bincount(place, weights=predicted.astype(float) - outcome, minlength=bins)
    return np.abs(differences).sum() / len(predicted)


def area_under_curve(value, positive):
    """Mann and Whitney: the share of (positive, negative) pairs in the right order, ties one half."""
    p, n = value[positive][:, None], value[~positive][None, :]
    return np.mean((p > n) + 0.5 * (p == n))


class Calibration(CliTest):
    """180,000 votes of 300 annotators, three in ten of whom are not good, against the truth they were drawn from."""

    @classmethod
    def setUpClass(cls):
        cls.home = tempfile.mkdtemp(dir=scratch)
        votes, fit = os.path.join(cls.home, "votes.h5"), os.path.join(cls.home, "fit.h5")
        succeed(
            "simulate",
            votes,
            "--prompts",
            20_000,
            "--responses",
            4,
            "--pairs-per-prompt",
            3,
            "--votes-per-pair",
            3,
            "--annotators",
            300,
            "--seed",
            1,
        )
        cls.told = json.loads(succeed("fit", votes, "-o", fit, "--json").out)["truth"]

        score, discrimination, kind = read(votes, "truth/score", "truth/discrimination", "truth/kind")
        left, right, wins, count, probability, better, margin = read(
            fit,
            *(
                f"pairs/{c}"
                for c in ("left", "right", "wins_left", "votes", "probability", "probability_better", "margin")
            ),
        )
        given, estimate, error = read(
            fit, "annotators/votes", "annotators/discrimination", "annotators/discrimination_se"
        )
        difference = score[left] - score[right]
        active = given > 0

        def ordered(guess):
            return np.mean(np.where(guess == 0, 0.5, guess * difference > 0))

        cls.found = {
            "ece_probability": calibration_error(probability, 1 / (1 + np.exp(-difference))),
            "ece_probability_better": calibration_error(better, difference > 0),
            "pairs_ordered": ordered(margin),
            "pairs_ordered_majority": ordered(2 * wins - count),
            "margin_correlation": np.corrcoef(margin.astype(float), difference)[0, 1],
            "discrimination_correlation": np.corrcoef(estimate[active].astype(float), discrimination[active])[0, 1],
            "coverage": np.mean(np.abs(estimate - discrimination)[active] <= 1.96 * error[active]),
            "auc_bad_annotators": area_under_curve(-estimate[active], (kind != b"good")[active]),
        }
        figures.append("simulated: " + ", ".join(f"{name} {value:.4f}" for name, value in cls.found.items()))

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.home)

    def test_pairs_are_calibrated(self):
        self.assertLess(self.found["ece_probability"], 0.01)
        self.assertLess(self.found["ece_probability_better"], 0.02)

    def test_pairs_are_ordered_better_than_by_majority(self):
        self.assertGreaterEqual(self.found["pairs_ordered"], self.found["pairs_ordered_majority"] + 0.012)

    def test_intervals_cover(self):
        self.assertGreaterEqual(self.found["coverage"], 0.9)

    def test_bad_annotators_are_found(self):
        self.assertGreater(self.found["auc_bad_annotators"], 0.97)

    def test_voxpop_reports_these_figures(self):
        self.assertEqual(set(self.told), set(self.found))
        for name, value in self.found.items():
            self.assertAlmostEqual(self.told[name], value, delta=1e-6, msg=name)


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    VOXPOP = os.path.abspath(sys.argv[1])
    if not os.access(VOXPOP, os.X_OK):
        sys.exit(f"cli_test.py: {VOXPOP}: not a program that can be run")
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]])
