#!/usr/bin/env python3
"""Do the tests notice a wrong formula? Turns 30 operators of the headers in src/formulas around, one at a time, and
builds and runs the tests against each: .venv/bin/python scripts/mutate_formulas.py (an hour of one core).

The operators are a systematic sample of all binary ones, so nobody chose them. Tests run in two stages, cheapest first:
those of the header alone, then engine and fits with the generic kernel. Those that are killed by the first need no more.
Exit status 1: more than 2 survived.

For a quick look: --mutants 3 --first-stage takes a minute or two, and says nothing of headers that only fits test.
"""
import argparse
import concurrent.futures
import os
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
HEADERS = ["likelihood", "smoothed", "vote", "component", "annotators", "fit_state", "fixed_point", "cholesky", "label",
           "covariates", "sources"]
TURNED = {"+": "-", "-": "+", "*": "/", "/": "*", "<": ">", ">": "<", "+=": "-=", "-=": "+="}
BINARY = re.compile(r" (\+=|-=|[-+*/<>]) ")  # clang-format puts blanks around these, and around no template's brackets
# Run first, with the rest of the program as it was; formulas are always inlined, so the two do not mix.
FIRST = {
    "likelihood": ["tests/likelihood_test", "tests/vote_test"],
    "smoothed": ["tests/smoothed_test", "tests/likelihood_test", "tests/vote_test"],
    "vote": ["tests/vote_test", "tests/likelihood_test"],
    "fixed_point": ["tests/fixed_point_test"],
    "cholesky": ["tests/cholesky_test"],
    "annotators": ["src/fit/fit", "tests/fit_test"],
    "fit_state": ["src/fit/fit", "tests/fit_test"],
}
# What reads the headers, and tests that do, quickest to build first. The rest of the program is that of the build.
READERS = ["src/fit/component_kernel", "src/fit/cpu_engine", "src/fit/dense", "src/fit/fit", "src/label/labels"]
TESTS = [["tests/fit_test"], ["tests/covariates_test", "tests/properties_test"], ["tests/engine_test", "tests/ep_test"],
         ["tests/parallel_engine_test"]]
LIBRARIES = ["gtest_main", "gtest", "tbb", "fmt", "simdjson", "xxhash", "deflate", "utf8proc", "csv", "z", "pthread"]
# Left out: slow ones, and those of kernels that are not mutated.
FILTER = ("-KernelSet*:Kernels*:*bits*:*million*:*float_can_count*:*intervals_cover*:*mirror:*grades_order*:*sample*:"
          "*sparse*:*doubled*:*never_overlaps*:Sizes/*/5:Sizes/*/6")


def operators(header):
    """Places of binary operators in code that a processor runs: (line number, column, operator)."""
    found = []
    with open(f"{ROOT}/src/formulas/{header}.h", encoding="utf-8") as file:
        for number, line in enumerate(file):
            code = line.split("//")[0]
            if code.startswith(("#", "template")) or "for (" in code:  # a loop turned around never ends
                continue
            found += [(header, number, m.start(1), m.group(1)) for m in BINARY.finditer(code)]
    return found


class Builder:
    def __init__(self, scratch, jobs, library):
        self.scratch, self.jobs, self.library = scratch, jobs, library
        shutil.copytree(f"{ROOT}/src/formulas", f"{scratch}/src/formulas")
        def pkg_config(what, *names):
            return subprocess.run(["pkg-config", what, *names], capture_output=True, text=True, check=True).stdout.split()

        self.links = [f"-l{name}" for name in LIBRARIES] + pkg_config("--libs", "hdf5")
        self.flags = ["-std=c++20", "-w", "-DVOXPOP_TARGET=generic", f'-DVOXPOP_TEST_DATA="{ROOT}/tests/data"',
                      f"-I{scratch}/src", f"-I{ROOT}/include", f"-I{ROOT}/src", f"-I{ROOT}", f"-I{ROOT}/kernels",
                      *pkg_config("--cflags", "hdf5", "eigen3")]

    def compile(self, sources, folder):
        """The objects; None where one does not compile, which kills a mutant, too."""
        os.makedirs(f"{self.scratch}/{folder}", exist_ok=True)

        def one(source):
            target = f"{self.scratch}/{folder}/{os.path.basename(source)}.o"
            command = ["g++", "-O1", *self.flags, "-c", f"{ROOT}/{source}.cc", "-o", target]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode != 0:
                print(done.stderr[-2000:], file=sys.stderr)
            return target if done.returncode == 0 else None

        with concurrent.futures.ThreadPoolExecutor(self.jobs) as pool:
            objects = list(pool.map(one, sources))
        return None if None in objects else objects

    def run(self, objects, tests="*"):
        """The first test that fails; None where all pass."""
        if objects is None:
            return "the compiler"
        program = f"{self.scratch}/tests"
        # Of the library the linker takes only what the objects lack. It has other kernels, too: the mutated ones are named.
        subprocess.run(["g++", *objects, self.library, "-o", program, *self.links], check=True)
        try:
            done = subprocess.run([program, f"--gtest_filter={tests}", "--gtest_fail_fast"], capture_output=True, text=True,
                                  timeout=600, env=dict(os.environ, VOXPOP_KERNELS="generic"))
        except subprocess.TimeoutExpired:
            return "the clock"
        failed = re.search(r"\[  FAILED  \] (\S+?),? ", done.stdout)
        return None if done.returncode == 0 else failed.group(1) if failed else f"status {done.returncode}"

    def killer(self, header, first_stage):
        first = FIRST.get(header, [])
        if first:
            rest = [] if first_stage else [self.base[source] for source in READERS if source not in first]
            objects = self.compile(first, "mutant")
            killed = self.run(objects and objects + rest, FILTER)
            if killed is not None or first_stage:
                return killed
        readers = self.compile(READERS, "mutant")
        for tests in TESTS:
            objects = readers and self.compile(tests, "mutant")
            killed = self.run(objects and readers + objects, FILTER)
            if killed is not None:
                return killed
        return None


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutants", type=int, default=30)
    parser.add_argument("--build", default=f"{ROOT}/build/test", help="a build of these sources (default: scripts/test.sh's)")
    parser.add_argument("--only", type=int, nargs="*", help="numbers of mutants")
    parser.add_argument("--first-stage", action="store_true", help="run only the tests of the header alone, on headers that have such")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    options = parser.parse_args()
    library = f"{options.build}/src/libvoxpop_core.a"
    if not os.path.exists(library):
        sys.exit(f"mutate_formulas.py: {library}: is not there; build first (scripts/test.sh), or name another --build")
    headers = [header for header in HEADERS
               if not options.first_stage or header in FIRST and all(name.startswith("tests/") for name in FIRST[header])]
    places = [place for header in headers for place in operators(header)]
    step = len(places) / options.mutants
    chosen = [places[int((i + 0.5) * step)] for i in range(options.mutants)]
    with tempfile.TemporaryDirectory() as scratch:
        builder = Builder(scratch, options.jobs, library)
        tests = sorted({name for header in headers for name in FIRST[header]}) if options.first_stage else READERS + sum(TESTS, [])
        objects = builder.compile(tests, "base")
        if objects is None:
            sys.exit("mutate_formulas.py: these sources do not compile")
        builder.base = dict(zip(READERS, objects))
        failed = builder.run(objects, FILTER)
        if failed is not None:
            sys.exit(f"mutate_formulas.py: {failed} fails with the formulas as they are")
        survivors = tried = 0
        print(f"{len(chosen)} of {len(places)} operators")
        for i, (header, number, column, operator) in enumerate(chosen):
            if options.only and i not in options.only:
                continue
            path = f"{scratch}/src/formulas/{header}.h"
            with open(path, encoding="utf-8") as file:
                before = file.read()
            lines = before.splitlines(keepends=True)
            line = lines[number]
            lines[number] = line[:column] + TURNED[operator] + line[column + len(operator):]
            with open(path, "w", encoding="utf-8") as file:
                file.write("".join(lines))
            killed = builder.killer(header, options.first_stage)
            with open(path, "w", encoding="utf-8") as file:
                file.write(before)
            tried += 1
            survivors += killed is None
            print(f"{i:2} {header}.h:{number + 1} {operator} -> {TURNED[operator]}  {killed or 'SURVIVES'}\n"
                  f"     {lines[number].strip()}", flush=True)
        print(f"{tried - survivors} of {tried} killed")
        sys.exit(survivors > 2)


if __name__ == "__main__":
    main()
