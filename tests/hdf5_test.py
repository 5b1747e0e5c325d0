"""Types, layouts and storage of HDF5 files that hold votes.

Usage: python hdf5_test.py PATH_TO_VOXPOP [unittest arguments]
"""

import json
import time

from program import main  # first: it skips where what follows is missing
from command_line import (
    CliTest, compact, pairs_of, plain_votes, read, read_all, run, succeed, variable_length, without, write_votes,
)

import h5py
import numpy as np


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


if __name__ == "__main__":
    main()
