"""Files that are damaged, or claim to be huge.

Usage: python damage_test.py PATH_TO_VOXPOP [unittest arguments]
"""

import os
import re
import resource
import shutil
import struct
import tempfile
import time
import zlib

from program import main  # first: it skips where what follows is missing
from command_line import (
    CliTest, matrix, memory_limit, patience, plain_votes, run, sanitized, succeed, variable_length, without,
    write_votes,
)

import h5py
import numpy as np


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


if __name__ == "__main__":
    main()
