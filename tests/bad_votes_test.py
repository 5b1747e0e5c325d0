"""Votes that are wrong are refused, and the message says where.

Usage: python bad_votes_test.py PATH_TO_VOXPOP [unittest arguments]
"""

import json
import os
import time

from program import main  # first: it skips where what follows is missing
from command_line import CliTest, changed, plain_votes, run, succeed, variable_length, without, write_votes

import h5py
import numpy as np


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

                    self.refuse(columns | {name: make}, name, "is incomplete")

        def filled(file, name):  # on purpose
            file.create_dataset(name, (200,), "i1", chunks=(20,), fillvalue=1)[:20] = columns[name][:20]

        succeed("check", write_votes(self.path("votes.h5"), columns | {"comparisons/preference": filled}))

    def test_links_and_groups_in_place_of_a_dataset(self):
        columns = plain_votes()
        for name in ("comparisons/left", "items/id"):
            nowhere = lambda file, name: file.__setitem__(name, h5py.SoftLink("/nowhere"))
            self.refuse(columns | {name: nowhere}, name, "is a link, but its target does not exist")
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


if __name__ == "__main__":
    main()
