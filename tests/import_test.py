"""voxpop import, from outside.

Usage: python import_test.py PATH_TO_VOXPOP [unittest arguments]
"""

import gzip
import json
import os

from program import main  # first: it skips where what follows is missing
from command_line import CliTest, read, run, succeed

import numpy as np


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
            "a quotation mark that is not closed": (head + b'b,"c,ann,left\n', "line 3"),
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
        self.assertIn(b"column 'timestamp' has a value that is not a time ('yesterday', line 3", told)
        told = run("import", table, "-o", self.path("votes.h5"), "--timestamp", "timestamp")
        self.assert_one_line(told, 3, table, "line 3", "yesterday")

    def test_files(self):
        self.assert_refused(self.path("none.csv"), code=4, verbs=("import",))
        os.mkdir(self.path("folder.csv"))
        self.assert_refused(self.path("folder.csv"), code=4, verbs=("import",))
        packed = gzip.compress(b"left,right,preference\n" + b"".join(b"a%d,b,left\n" % i for i in range(5000)))
        self.refuse(packed[: len(packed) // 2], name="cut.csv.gz", code=4)
        self.refuse(packed[:100] + bytes(50) + packed[150:], name="damaged.csv.gz")


if __name__ == "__main__":
    main()
