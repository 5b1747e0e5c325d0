"""The Python wheel: what is in it, and that it works in a fresh environment, with nothing else around.

Usage: python wheel_test.py BUILD_FOLDER [unittest arguments]
The build folder is one that VOXPOP_WHEEL_DEPENDENCIES was set for. Exit code 77: it was not, or PyPI cannot be reached.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import zipfile

BUILD = ""
SOURCE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
folder = ""  # of this run: the wheel in dist/, an environment with it in venv/
wheel = ""

VOTES = """
import pandas as pd
votes = pd.DataFrame([(f"a{i % 7}", f"b{i % 5}", f"who{i % 4}", "left" if i % 3 else "right") for i in range(400)],
                     columns=["left", "right", "annotator", "preference"])
"""


def skip(reason):
    print(f"wheel_test.py: skipped: {reason}", file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(77)


def setUpModule():
    global folder, wheel
    folder = tempfile.mkdtemp(prefix="voxpop-wheel-")
    for tool in ("bash", "cmake", "readelf"):
        if not shutil.which(tool):
            skip(f"no {tool} here")
    made = run("bash", os.path.join(SOURCE, "scripts", "wheel.sh"), BUILD, env=dict(os.environ, VOXPOP_DIST=os.path.join(folder, "dist")))
    if made.returncode == 77:
        skip(made.stderr.strip())
    if made.returncode != 0:
        raise AssertionError(made.stdout + made.stderr)
    print(made.stdout, end="", file=sys.stderr)
    [name] = os.listdir(os.path.join(folder, "dist"))
    wheel = os.path.join(folder, "dist", name)
    run(sys.executable, "-m", "venv", os.path.join(folder, "venv"), check=True)
    pip = [venv("python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if run(*pip, "numpy>=1.24", "pandas>=2.0", "h5py>=3.8").returncode != 0:
        skip("numpy, pandas and h5py cannot be downloaded")
    run(*pip, wheel, check=True)


def tearDownModule():
    shutil.rmtree(folder)


def run(*command, **options):
    return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, **options)


def venv(name):
    return os.path.join(folder, "venv", "bin", name)


def python(code, cwd):
    """What the environment's Python prints, with no variable set but an empty PATH."""
    result = run(venv("python"), "-c", code, cwd=cwd, env={"PATH": ""})
    if result.returncode != 0:
        raise AssertionError(result.stderr)
    return result.stdout


def package(*names):
    [found] = {os.path.join(folder, "venv", "lib", name, "site-packages") for name in os.listdir(os.path.join(folder, "venv", "lib"))}
    return os.path.join(found, *names)


def binaries():
    """The program, and the shared library where the wheel has it."""
    every = [package("voxpop", "bin", "voxpop"), package("voxpop", "lib", "libvoxpop.so")]
    return [path for path in every if os.path.exists(path)]


def cached(name):
    with open(os.path.join(BUILD, "CMakeCache.txt")) as cache:
        return re.search(rf"^{name}:\w+=(.*)$", cache.read(), re.MULTILINE)[1]


class InTemporaryFolder(unittest.TestCase):
    def setUp(self):
        self.cwd = tempfile.mkdtemp(dir=folder)


class Wheel(unittest.TestCase):
    def test_name(self):
        with open(os.path.join(SOURCE, "CMakeLists.txt")) as file:
            version = re.search(r"^project\(voxpop VERSION (\S+) ", file.read(), re.MULTILINE)[1]
        self.assertRegex(os.path.basename(wheel), rf"^voxpop-{re.escape(version)}-py3-none-manylinux\w+\.whl$")
        self.assertEqual(run(venv("voxpop"), "--version").stdout, f"voxpop {version}\n")
        self.assertEqual(python("import voxpop; print(voxpop.__version__)", folder), f"{version}\n")

    def test_glibc_that_it_asks_for(self):
        """2.27, as in docs/packaging.md; where no older glibc could be had, that of this machine."""
        tags = [(int(major), int(minor)) for major, minor in re.findall(r"manylinux_(\d+)_(\d+)_", os.path.basename(wheel))]
        older = os.path.isdir(os.path.join(cached("VOXPOP_WHEEL_DEPENDENCIES"), "sysroot"))
        if not older:
            print("wheel_test.py: no older glibc to link against", file=sys.stderr)
        self.assertLessEqual(min(tags), (2, 27) if older else tuple(map(int, os.confstr("CS_GNU_LIBC_VERSION").split()[1].split("."))))

    def test_size(self):
        self.assertLess(os.path.getsize(wheel), 10_000_000)

    def test_no_source_or_cache_is_in_it(self):
        names = zipfile.ZipFile(wheel).namelist()
        self.assertEqual([name for name in names if name.endswith((".pyc", ".cc", ".h5", ".a", ".o"))], [])
        self.assertIn("voxpop/py.typed", names)

    def test_licences_of_all_that_is_in_it(self):
        with open(os.path.join(SOURCE, "docs", "dependencies.md")) as page:
            rows = [line.split("|")[1].strip() for line in page if line.startswith("|")][2:]
        archive = zipfile.ZipFile(wheel)
        texts = {name.rpartition("/")[2]: archive.read(name).decode() for name in archive.namelist() if ".dist-info/licenses/" in name}
        self.assertIn("Apache License", texts["LICENSE"])
        files = {"HDF5": "HDF5", "zlib": "zlib", "libdeflate": "libdeflate", "oneTBB": "oneTBB", "fmt": "fmt", "simdjson": "simdjson",
                 "xxHash": "xxHash", "utf8proc": "utf8proc", "libcsv": "libcsv", "libstdc++, libgcc": "GCC-runtime",
                 "Eigen (headers, compiled in)": "Eigen", "CLI11 (headers, compiled in)": "CLI11",
                 "nlohmann/json (headers, compiled in)": "nlohmann-json", "Chart.js (in the program, and in each report)": "Chart.js"}
        not_in_it = {"glibc"} | {row for row in rows if row.startswith(("ISA-L", "Open MPI", "CUDA", "cuSOLVER"))}
        self.assertEqual(set(rows) - not_in_it, set(files), "docs/dependencies.md has others than this test")
        for row, file in files.items():
            self.assertGreater(len(texts[file + ".txt"]), 500, row)
        self.assertIn("LESSER GENERAL PUBLIC LICENSE", texts["libcsv.txt"])
        self.assertIn("Mozilla Public License", texts["Eigen.txt"])
        self.assertIn("RUNTIME LIBRARY EXCEPTION", texts["GCC-runtime.txt"].upper())

    def test_metadata_name_the_licence_files(self):
        archive = zipfile.ZipFile(wheel)
        [metadata] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        listed = re.findall(r"^License-File: (.*)$", archive.read(metadata).decode(), re.MULTILINE)
        there = [name.rpartition("/")[2] for name in archive.namelist() if re.search(r"[.]dist-info/licenses/.", name)]
        self.assertEqual(sorted(listed), sorted(there))


class Binaries(unittest.TestCase):
    def test_need_no_library_but_the_system_s_and_libcsv(self):
        for path in binaries():
            needed = re.findall(r"\(NEEDED\).*\[(.*)\]", run("readelf", "--dynamic", path).stdout)
            self.assertLessEqual({re.sub(r"^libcsv-[0-9a-f]+", "libcsv", name) for name in needed},
                                 {"libcsv.so.3", "libc.so.6", "libm.so.6", "libpthread.so.0", "libdl.so.2", "librt.so.1", "libgcc_s.so.1",
                                  "ld-linux-x86-64.so.2"}, path)
            loaded = run("ldd", path).stdout
            self.assertNotIn("not found", loaded)
            self.assertRegex(loaded, r"libcsv-\w+\.so\S* => \S*/voxpop\.libs/")
            self.assertNotRegex(loaded, r"libcurl|libsz|libhdf5|libtbb|libfmt|libstdc|libmpi|libcrypto")

    def test_are_stripped_hardened_and_without_paths_of_the_build(self):
        for path in binaries():
            headers = run("readelf", "--wide", "--file-header", "--sections", "--segments", "--dynamic", path).stdout
            self.assertRegex(headers, r"Type: +DYN")
            self.assertNotIn(".symtab", headers)
            self.assertIn("GNU_RELRO", headers)
            self.assertRegex(headers, r"FLAGS.* (BIND_)?NOW")
            with open(path, "rb") as file:
                data = file.read()
            for place in (SOURCE, os.path.abspath(BUILD), cached("VOXPOP_WHEEL_DEPENDENCIES")):
                self.assertFalse(os.fsencode(place) + b"/" in data, (place, path))  # assertNotIn would print all of it

    def test_library_shows_its_own_functions_only(self):
        path = package("voxpop", "lib", "libvoxpop.so")
        if not os.path.exists(path):
            self.skipTest("this source has no shared library")
        shown = run("readelf", "--wide", "--dyn-syms", path).stdout
        names = {line.split()[7].split("@")[0] for line in shown.splitlines()
                 if re.search(r" (FUNC|OBJECT) +(GLOBAL|WEAK) +DEFAULT +\d", line)}
        self.assertTrue(names)
        self.assertEqual([name for name in names if "voxpop" not in name], [])

    def test_library_loads_beside_h5py(self):
        if not os.path.exists(package("voxpop", "lib", "libvoxpop.so")):
            self.skipTest("this source has no shared library")
        code = "import h5py, ctypes, voxpop, os; ctypes.CDLL(os.path.join(os.path.dirname(voxpop.__file__), 'lib', 'libvoxpop.so')); print('loaded')"
        self.assertEqual(python(code, folder), "loaded\n")


class Use(InTemporaryFolder):
    def test_fit_in_an_environment_that_is_not_activated(self):
        said = python(VOTES + "import voxpop; fit = voxpop.fit(votes, progress=False); print(fit.pairs.to_string())", self.cwd)
        self.assertRegex(said, r"\n0 +a\d +b\d .*\d\.\d")

    def test_program_is_that_of_the_wheel_even_if_another_is_on_path(self):
        with open(os.path.join(self.cwd, "voxpop"), "w") as other:
            other.write("#!/bin/sh\nexit 1\n")
        os.chmod(other.name, 0o755)
        code = "from voxpop.program import find_program; print(find_program())"
        found = run(venv("python"), "-c", code, env={"PATH": self.cwd})
        self.assertEqual(found.stdout.strip(), package("voxpop", "bin", "voxpop"), found.stderr)

    def test_command_runs_the_program(self):
        nothing = {"PATH": ""}
        run(venv("voxpop"), "simulate", "v.h5", "--prompts", "50", "--annotators", "5", cwd=self.cwd, env=nothing, check=True)
        run(venv("voxpop"), "fit", "v.h5", "-o", "f.h5", cwd=self.cwd, env=nothing, check=True)
        for arguments, code in ([], 0), (["fit", "v.h5", "--modell", "bt"], 2), (["info", "v.txt"], 4), (["info", "f.h5"], 0):
            mine = run(venv("voxpop"), *arguments, cwd=self.cwd, env=nothing)
            direct = run(package("voxpop", "bin", "voxpop"), *arguments, cwd=self.cwd, env=nothing)
            self.assertEqual(mine.returncode, code, arguments)
            self.assertEqual((mine.returncode, mine.stdout, mine.stderr), (direct.returncode, direct.stdout, direct.stderr))

    def test_command_becomes_the_program_and_gets_its_signals(self):
        os.mkfifo(os.path.join(self.cwd, "votes.csv"))
        for number in (signal.SIGINT, signal.SIGTERM):
            ends = []
            for program in (venv("voxpop"), package("voxpop", "bin", "voxpop")):
                child = subprocess.Popen([program, "import", "votes.csv", "-o", "v.h5"], cwd=self.cwd, env={"PATH": ""},
                                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                until = time.time() + 30
                while os.readlink(f"/proc/{child.pid}/exe") != os.path.realpath(package("voxpop", "bin", "voxpop")) and time.time() < until:
                    time.sleep(0.01)
                with open(os.path.join(self.cwd, "votes.csv"), "w") as pipe:  # opened: the program reads by now
                    child.send_signal(number)
                    ends.append((child.communicate(timeout=30)[1], child.returncode))
            self.assertEqual(ends[0], ends[1])
            self.assertNotEqual(ends[0][1], 0)

    def test_results_are_those_of_the_build_s_own_program(self):
        files = []
        for program in (package("voxpop", "bin", "voxpop"), os.path.join(BUILD, "voxpop")):
            name = os.path.join(self.cwd, f"{len(files)}.csv")
            run(program, "simulate", "v.h5", "--prompts", "300", "--annotators", "20", "--seed", "3", cwd=self.cwd, check=True)
            run(program, "fit", "v.h5", "-o", "f.h5", cwd=self.cwd, check=True)
            run(program, "export", "f.h5", "--format", "csv", "-o", name, cwd=self.cwd, check=True)
            with open(name, "rb") as file:
                files.append(file.read())
        self.assertGreater(len(files[0]), 10_000)
        self.assertEqual(files[0], files[1])

    def test_runs_with_the_older_glibc(self):
        root = os.path.join(cached("VOXPOP_WHEEL_DEPENDENCIES"), "sysroot")
        if not os.path.isdir(root):
            self.skipTest("no older glibc could be had")
        libraries = os.path.join(root, "lib", "x86_64-linux-gnu")
        old = [os.path.join(libraries, "ld-linux-x86-64.so.2"), "--library-path", libraries, package("voxpop", "bin", "voxpop")]
        run(*old, "simulate", "v.h5", "--prompts", "100", "--annotators", "9", "--seed", "3", cwd=self.cwd, check=True)
        tables = []
        for program in (old, [package("voxpop", "bin", "voxpop")]):
            run(*program, "fit", "v.h5", "-o", "f.h5", cwd=self.cwd, check=True)
            run(*program, "export", "f.h5", "--format", "csv", "-o", "f.csv", cwd=self.cwd, check=True)
            with open(os.path.join(self.cwd, "f.csv")) as file:
                tables.append([line.split(",") for line in file])
        self.assertEqual(len(tables[0]), len(tables[1]))
        self.assertEqual(tables[0], tables[1])


if __name__ == "__main__":
    BUILD = os.path.abspath(sys.argv.pop(1))
    unittest.main()
