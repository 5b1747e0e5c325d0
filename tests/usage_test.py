"""The command line itself: verbs, help, and options that make no sense.

Usage: python usage_test.py PATH_TO_VOXPOP [unittest arguments]
"""

import contextlib
import json
import os
import re
import subprocess
import tempfile

from program import main, VOXPOP  # first: it skips where what follows is missing
from command_line import CliTest, patience, plain_votes, read_all, run, start, succeed, wait, write_votes


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
            self.assertIn(b"MPI sees 1" if has_mpi else b"built without MPI", result.err)
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

    def test_kernels_of_the_environment(self):
        def with_kernels(name):
            return dict(os.environ, VOXPOP_KERNELS=name)

        told = json.loads(succeed("devices", "--json", env=with_kernels("generic")).out)
        self.assertEqual(told["devices"][0]["instruction_set"], "generic")
        fastest = json.loads(succeed("devices", "--json", env=with_kernels("")).out)["devices"][0]["instruction_set"]
        with open("/proc/cpuinfo") as file:
            flags = re.search(r"^flags\s*:(.*)", file.read(), re.MULTILINE)
        can = {"avx2": {"avx2", "fma"}, "avx512": {"avx512f", "avx512dq", "avx512vl", "avx512bw"}}
        runs = ["generic"] + [name for name, needs in can.items() if flags and needs <= set(flags[1].split())]
        self.assertEqual(fastest, runs[-1])
        for name in ("generic", "avx2", "avx512"):
            result = run("simulate", self.path(name), "--prompts", "5", env=with_kernels(name))
            if name in runs:
                self.assertEqual(result.code, 0, result.err)
            else:
                self.assert_one_line(result, 2, "VOXPOP_KERNELS: this processor cannot run", name)
        for name in ("sse9", "AVX2", "avx2 ", "avx512\nnext line", "x" * 1000):
            self.assert_one_line(run("simulate", self.path("none.h5"), env=with_kernels(name)), 2, "VOXPOP_KERNELS", "generic, avx2, avx512")
            self.assertFalse(os.path.exists(self.path("none.h5")))

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


if __name__ == "__main__":
    main()
