"""What files hold reaches a terminal as text: no control characters, no lines of the file's making, nothing endless.

Usage: python terminal_test.py PATH_TO_VOXPOP [unittest arguments]
"""

import json
import os
import re
import shutil
import subprocess
import unittest

from program import VOXPOP, h5py, main, numpy as np, path, voxpop

# Set a title, clear the screen, a line that seems to be ours, the same by C1, directions turned round, ends of lines.
COMMANDS = "\x1b]0;t\x07\x1b[2J\r\nvoxpop: forged\x7f\u009b2J\u0085\u202e\u2066\u200f\u2028."
LONG = COMMANDS + 10_000_000 * "w"
FORBIDDEN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
LONGEST_LINE, LONGEST_OUTPUT = 10_200, 60_000


def run(*arguments, **options):
    return subprocess.run([VOXPOP, *arguments], capture_output=True, timeout=120, **options)


def simulated(name, *options):
    voxpop("simulate", path(name), "--prompts", 12, "--annotators", 10, *options)
    return path(name)


def write_strings(file, name, strings):
    if name in file:
        del file[name]
    file.create_dataset(name, data=[text.encode() for text in strings], dtype=h5py.string_dtype())


def replace_provenance(fit, change):
    with h5py.File(fit, "r+") as file:
        provenance = json.loads(file.attrs["provenance"])
        change(provenance)
        # Outside of the object header, which holds 64 KiB.
        file.attrs.create("provenance", json.dumps(provenance), dtype=h5py.string_dtype())


class Terminal(unittest.TestCase):
    def assert_harmless(self, output, what):
        text = output.decode("utf-8")  # strictly
        found = FORBIDDEN.search(text)
        self.assertIsNone(found, (what, found and text[max(found.start() - 50, 0) : found.end() + 50]))
        for line in text.split("\n"):
            self.assertFalse(line.startswith("voxpop: forged"), (what, text[:2000]))
            self.assertLessEqual(len(line.encode()), LONGEST_LINE, (what, line[:200]))
        self.assertLessEqual(len(output), LONGEST_OUTPUT, (what, text[:200]))

    def run_harmless(self, *arguments, statuses=(0,), **options):
        done = run(*arguments, **options)
        what = [argument if isinstance(argument, bytes) else str(argument)[:100] for argument in arguments]
        self.assertIn(done.returncode, statuses, (what, done.stdout[:1000], done.stderr[:1000]))
        for output in (done.stdout, done.stderr):
            self.assert_harmless(output, what)
        return done

    def test_names_and_ids_of_votes(self):
        votes = simulated("ids.h5")
        with h5py.File(votes, "r+") as file:
            for kind in ("items", "annotators", "prompts"):
                count = len(file[f"{kind}/id"])
                ids = [f"{COMMANDS}{i}" + (100_000 * "w" if i == 1 else "") for i in range(count)]
                write_strings(file, f"{kind}/id", ids)
            items = len(file["items/id"])
            write_strings(file, "sources/id", [COMMANDS, LONG])
            file["items/source"] = np.arange(items, dtype="i4") % 2
            file["items/features"] = np.random.default_rng(1).normal(size=(items, 2))
            file["items/features"].attrs.create("names", [COMMANDS, "b" + COMMANDS], dtype=h5py.string_dtype())
            name = COMMANDS.encode()
            for group in ("/", "comparisons", "texts"):
                here = file.require_group(group)
                here.create_dataset(name, data=[1])
                here.create_dataset(b"judge" + name, data=[1])
                here.create_dataset(b"w" * 60_000, data=[1])
        for verb in (["check"], ["info"], ["evaluate"], ["fit", "-o", path("ids_fit.h5")]):
            self.run_harmless(verb[0], votes, *verb[1:])
        fit = path("ids_fit.h5")
        for verb in (["info"], ["report", "-o", path("ids.html")], ["next", "--budget", "5", "-o", path("next.csv")]):
            self.run_harmless(verb[0], fit, *verb[1:])
        self.run_harmless("export", fit, "--format", "trl", "-o", path("ids.jsonl"))
        self.run_harmless("fit", votes, "--warm-start", fit, "-o", path("again.h5"))

    def test_json_says_the_same(self):
        votes = simulated("json.h5")
        with h5py.File(votes, "r+") as file:
            file.create_dataset(COMMANDS.replace("/", "").encode(), data=[1])
        done = self.run_harmless("info", votes, "--json")
        self.assertIn(COMMANDS, json.loads(done.stdout)["datasets"])

    def test_messages_that_quote_votes(self):
        votes = simulated("quoted.h5")
        for what, change in {
            "schema": lambda file: file.attrs.modify("voxpop_schema", COMMANDS),
            "long schema": lambda file: file.attrs.create("voxpop_schema", LONG, dtype=h5py.string_dtype()),
            "twice": lambda file: write_strings(file, "items/id", len(file["items/id"]) * [LONG]),
            "itself": lambda file: (
                write_strings(file, "items/id", [f"{i}{COMMANDS}" for i in range(len(file["items/id"]))]),
                file["comparisons/right"].write_direct(file["comparisons/left"][:]),
            ),
            "not UTF-8": lambda file: (
                file.__delitem__("annotators/id"),
                file.create_dataset("annotators/id", data=[b"\x9b2J\xe9\x1b[2J\xff%d" % i for i in range(10)]),
            ),
            "choice": lambda file: file["comparisons"].attrs.create("sides", LONG, dtype=h5py.string_dtype()),
        }.items():
            shutil.copy(votes, path("changed.h5"))
            with h5py.File(path("changed.h5"), "r+") as file:
                change(file)
            with self.subTest(what):
                done = self.run_harmless("check", path("changed.h5"), statuses=(3,))
                self.assertEqual(done.stderr.count(b"\n"), 1)
                self.run_harmless("info", path("changed.h5"), statuses=(0, 3))

    def test_provenance(self):
        votes = simulated("votes.h5")
        voxpop("fit", votes, "-o", path("fit.h5"))
        finding = {"kind": COMMANDS, "level": "do_not_train", "text": LONG, "remedy": COMMANDS}
        for what, change in {
            "warnings": lambda p: p.update(warnings=[COMMANDS, LONG]),
            "very many warnings": lambda p: p.update(warnings=[f"{COMMANDS}{i}" for i in range(10_000)]),
            "findings": lambda p: p.update(findings=[finding]),
            "very many findings": lambda p: p.update(findings=10_000 * [finding | {"text": COMMANDS}]),
            "command": lambda p: p.update(command=LONG, voxpop=COMMANDS),
            "inputs": lambda p: p.update(inputs=[{"path": COMMANDS, "xxh3": COMMANDS, "bytes": 1, "rows": [0, 1]}]),
            "long inputs": lambda p: p.update(inputs=[{"path": LONG, "xxh3": LONG, "bytes": 1, "rows": [0, 1]}]),
            "model": lambda p: p.update(model=COMMANDS),
            "anything": lambda p: p.update({COMMANDS: COMMANDS, "x": {LONG: [LONG]}}),
        }.items():
            fit = path("hostile.h5")
            shutil.copy(path("fit.h5"), fit)
            replace_provenance(fit, change)
            with self.subTest(what):
                anyhow = (0, 2, 3, 4)
                self.run_harmless("report", fit, "-o", path("page.html"), statuses=anyhow)
                self.run_harmless("next", fit, "--budget", "5", "-o", path("next.csv"), statuses=anyhow)
                self.run_harmless("export", fit, "--format", "trl", "-o", path("rows.jsonl"), statuses=anyhow)
                self.run_harmless("export", fit, "--format", "votes", "-o", path("rows.jsonl"), statuses=anyhow)
                self.run_harmless("fit", votes, "--warm-start", fit, "-o", path("again.h5"), statuses=anyhow)
                if not what.startswith("very many"):  # `info` shows all of them, a line each
                    self.run_harmless("info", fit, statuses=anyhow)

    def test_provenance_that_is_no_json(self):
        votes = simulated("votes.h5")
        voxpop("fit", votes, "-o", path("fit.h5"))
        with h5py.File(path("fit.h5"), "r+") as file:
            file.attrs.create("provenance", LONG, dtype=h5py.string_dtype())
        self.run_harmless("info", path("fit.h5"))
        self.run_harmless("report", path("fit.h5"), "-o", path("page.html"), statuses=(3,))

    def test_tables(self):
        cell = f'"{COMMANDS}"'
        rows = [f"a{i},b{i},left,x" for i in range(5)]
        for what, text in {
            "value": "left,right,preference,annotator\n" + "\n".join([*rows, f"a,b,{cell},x"]),
            "column": f"left,right,preference,annotator,{cell}\n" + "\n".join(row + ",1" for row in rows),
            "no such column": f"{cell},right,preference\na,b,left\n",
            "ids": "left,right,preference,annotator\n" + "\n".join([*rows, f"{cell},{cell},left,x"]),
            "long": "left,right,preference,annotator\n" + "\n".join([*rows, f"a,b,{'w' * 10_000_000},x"]),
            "time": "left,right,preference,annotator,timestamp\n"
            + "\n".join([*(row + ",5" for row in rows), f"a,b,left,x,{cell}"]),
        }.items():
            with open(path("votes.csv"), "w", newline="") as file:
                file.write(text + "\n")
            with self.subTest(what):
                for options in ([], ["--skip-bad", "5"], ["--detect"]):
                    if options[:1] == ["--skip-bad"] and what == "no such column":
                        continue
                    self.run_harmless("import", path("votes.csv"), "-o", path("i.h5"), *options, statuses=(0, 2, 3))
        with open(path("votes.jsonl"), "w") as file:
            row = {"left": "a", "right": "b", "preference": COMMANDS, COMMANDS: LONG}
            file.writelines(3 * [json.dumps(row) + "\n"])
        self.run_harmless("import", path("votes.jsonl"), "-o", path("i.h5"), statuses=(0, 2, 3))

    def test_paths_and_arguments(self):
        name = "\x1b[2J\nvoxpop: forged\u202e.h5"
        shutil.copy(simulated("votes.h5"), path(name))
        self.run_harmless("check", path(name))
        self.run_harmless("info", path(name))
        self.run_harmless("fit", path(name), "-o", path(name + ".fit"))
        self.run_harmless("report", path(name + ".fit"), "-o", path(name + ".html"))
        self.run_harmless("info", path(name + ".fit"))
        self.run_harmless("check", path(name + "none"), statuses=(4,))
        with open(path(name + "no.h5"), "w") as file:
            file.write("no HDF5")
        self.run_harmless("check", path(name + "no.h5"), statuses=(3,))
        self.run_harmless("check", os.fsencode(path("")) + b"\x9b2J\xff\x1b[2J", statuses=(4,))
        self.run_harmless(COMMANDS, statuses=(2,))
        self.run_harmless("fit", "x.h5", "-o", "y.h5", "--" + COMMANDS, statuses=(2,))
        self.run_harmless("fit", "x.h5", "-o", "y.h5", "--model", COMMANDS + 10_000 * "w", statuses=(2,))


if __name__ == "__main__":
    main()
