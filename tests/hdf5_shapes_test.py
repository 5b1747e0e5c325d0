"""HDF5 files of unusual shapes: sound ones are read whatever they hold besides votes, damaged ones refused in time.

Usage: python hdf5_shapes_test.py PATH_TO_VOXPOP [unittest arguments]
"""

import json
import os
import resource
import shutil
import signal
import subprocess
import time
import unittest

from program import VOXPOP, h5py, main, numpy as np, path, voxpop

MANY = 30_000


def setUpModule():
    voxpop("simulate", path("votes.h5"), "--prompts", 40, "--annotators", 20)
    with add("many.h5") as file:
        put_many(file.create_group("texts"), MANY)


def add(name):
    """The votes, to add to."""
    shutil.copy(path("votes.h5"), path(name))
    return h5py.File(path(name), "r+", libver="latest")


def put_many(group, count, prefix=b"prompt "):
    space = h5py.h5s.create(h5py.h5s.SCALAR)
    for i in range(count):
        h5py.h5d.create(group.id, b"%s%d" % (prefix, i), h5py.h5t.NATIVE_INT8, space)


def seconds_of(*arguments):
    """CPU time of a run."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    voxpop(*arguments)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


class VeryManyDatasets(unittest.TestCase):
    def test_notes_name_a_few(self):
        for verb in (["check"], ["fit", "-o", path("fit.h5")]):
            done = voxpop(verb[0], path("many.h5"), *verb[1:])
            (note,) = [line for line in done.stderr.split("\n") if "not used" in line]
            self.assertLess(len(note), 1000)
            self.assertRegex(note, r"texts/prompt \d+, .*, \.\.\. and at least \d+ others$")

    def test_a_few_are_all_named(self):
        with add("few.h5") as file:
            put_many(file.create_group("texts"), 12)
            put_many(file, 1, b"x")
        note = voxpop("check", path("few.h5")).stderr
        self.assertIn("texts/prompt 0, texts/prompt 1, texts/prompt 10", note)
        self.assertIn("... and 3 others", note)

    def test_columns_are_looked_at_first(self):
        """What says who voted is found beside the votes, whatever else is in the file."""
        with add("unnamed.h5") as file:
            del file["comparisons/annotator"], file["truth"]
            file["comparisons/worker_id"] = np.zeros(file["comparisons/left"].shape, "i4")
            put_many(file.create_group("a"), 5000)
        found = json.loads(voxpop("check", path("unnamed.h5"), "--json").stdout)["findings"]
        self.assertTrue(any("'comparisons/worker_id' looks like annotators" in one["text"] for one in found), found)

    def test_info_is_linear(self):
        with add("fewer.h5") as file:
            put_many(file.create_group("texts"), MANY // 6)
        fewer, many = seconds_of("info", path("fewer.h5")), seconds_of("info", path("many.h5"))
        self.assertLess(many, 9 * fewer + 0.5, (fewer, many))  # 36 times as long if it was quadratic
        self.assertEqual(voxpop("info", path("many.h5")).stdout.count("\n  texts/prompt "), MANY)
        names = json.loads(voxpop("info", path("many.h5"), "--json").stdout)["datasets"]
        self.assertEqual(sum(name.startswith("texts/prompt ") for name in names), MANY)
        self.assertEqual(names["texts/prompt 7"], "int8 []")

    def test_info_can_be_interrupted(self):
        for which in (signal.SIGTERM, signal.SIGINT):
            run = subprocess.Popen([VOXPOP, "info", path("many.h5")], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            while True:  # until it is at work, and long before it is done
                with open(f"/proc/{run.pid}/stat") as file:
                    fields = file.read().rsplit(") ", 1)[1].split()
                if int(fields[11]) + int(fields[12]) >= 0.1 * os.sysconf("SC_CLK_TCK") or fields[0] == "Z":
                    break
                time.sleep(0.005)
            run.send_signal(which)
            _, err = run.communicate(timeout=60)
            self.assertEqual(run.returncode, 130, err)

    def test_very_many_of_other_kinds(self):
        def attributes(file):
            for place in (file, file["comparisons"], file["comparisons/left"]):
                for i in range(5000):
                    place.attrs.create(f"attribute {i}", 1, dtype="i1")

        def links(file):
            comparisons = file["comparisons"]
            for i in range(20_000):
                comparisons.id.links.create_soft(b"soft %d" % i, b"/nowhere")
                file.id.links.create_external(b"external %d" % i, b"none.h5", b"/")

        def groups(file):
            for i in range(20_000):
                h5py.h5g.create(file.id, b"group %d" % i)

        def depth(file):
            group = file
            for _ in range(500):
                group = group.create_group("g")
            group["deep"] = 1

        for kind in (attributes, links, groups, depth):
            with self.subTest(kind.__name__):
                with add("other.h5") as file:
                    kind(file)
                self.assertLess(len(voxpop("check", path("other.h5")).stderr), 3000)
                voxpop("info", path("other.h5"))
                voxpop("fit", path("other.h5"), "-o", path("fit.h5"))


class Circles(unittest.TestCase):
    def test_of_links(self):
        with add("circle.h5") as file:
            a = file.create_group("a")
            a["again"], a["root"], a["x"] = a, file, 1
        for verb in ("check", "info"):
            self.assertLess(len(voxpop(verb, path("circle.h5")).stdout), 10_000)

    def test_that_the_file_denies(self):
        """HDF5 remembers where it was only for objects that say that there are several links to them."""
        shutil.copy(path("votes.h5"), path("circle.h5"))
        with h5py.File(path("circle.h5"), "r+") as file:  # old object headers: no checksum
            a = file.create_group("a")
            a["again"] = a
            address = h5py.h5o.get_info(a.id).addr
        with open(path("circle.h5"), "r+b") as file:
            file.seek(address + 4)
            self.assertEqual(file.read(4), (2).to_bytes(4, "little"))
            file.seek(address + 4)
            file.write((1).to_bytes(4, "little"))
        for verb in ("check", "info"):
            began = time.monotonic()
            done = subprocess.run([VOXPOP, verb, path("circle.h5")], capture_output=True, text=True, timeout=120)
            self.assertIn(done.returncode, (0, 3), done.stderr)
            self.assertEqual(done.stderr.count("\n") <= 1, True, done.stderr)
            self.assertLess(time.monotonic() - began, 60)


class LargeChunks(unittest.TestCase):
    def test_a_column_in_one_chunk(self):
        """240 MB of int64: more than voxpop reads past HDF5, which takes a second for it."""
        rows = 30_000_000
        with h5py.File(path("one_chunk.h5"), "w") as file:
            file.attrs["voxpop_schema"] = "comparisons/1"
            for name, data, chunk in (
                ("left", np.zeros(rows, "i8"), rows),
                ("right", np.ones(rows, "i1"), 1 << 20),
                ("preference", np.ones(rows, "i1"), 1 << 20),
            ):
                gzip = {"compression": "gzip", "compression_opts": 1}
                file.create_dataset(f"comparisons/{name}", data=data, chunks=(chunk,), **gzip)
            file["items/id"] = [b"a", b"b"]
        done = voxpop("check", path("one_chunk.h5"), "--json")
        self.assertEqual(json.loads(done.stdout)["votes"], rows)


if __name__ == "__main__":
    main()
