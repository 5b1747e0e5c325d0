"""libvoxpop as others use it: installed, found by CMake's find_package(voxpop), linked with examples/cpp. Its labels must
be those of the program. Usage: library_test.py BUILD"""
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

import h5py
import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def run(*command, **options):
    return subprocess.run(command, capture_output=True, text=True, **options)


class Library(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="voxpop-library-")
        cls.prefix = cls.path("prefix")
        subprocess.run(["cmake", "--install", BUILD, "--prefix", cls.prefix], check=True, stdout=subprocess.DEVNULL)
        shutil.copytree(os.path.join(ROOT, "examples", "cpp"), cls.path("example"))
        for command in (["cmake", "-S", cls.path("example"), "-B", cls.path("build"), "-DCMAKE_BUILD_TYPE=Release",
                         f"-DCMAKE_PREFIX_PATH={cls.prefix}"], ["cmake", "--build", cls.path("build")]):
            done = run(*command)
            if done.returncode != 0:
                raise RuntimeError(f"{command}: {done.stdout}{done.stderr}")
        cls.program = cls.path("build", "best_items")
        cls.votes = cls.path("votes.h5")
        subprocess.run([cls.voxpop(), "simulate", cls.votes, "--prompts", "300", "--seed", "7", "--quiet"], check=True,
                       stdout=subprocess.DEVNULL)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    @classmethod
    def path(cls, *parts):
        return os.path.join(cls.folder, *parts)

    @classmethod
    def voxpop(cls):
        return os.path.join(cls.prefix, "bin", "voxpop")

    @classmethod
    def library(cls):
        return next(path for folder in ("lib", "lib/x86_64-linux-gnu", "lib64")
                    if os.path.exists(path := os.path.join(cls.prefix, folder, "libvoxpop.so")))

    def test_labels_are_those_of_the_program(self):
        done = run(self.program, self.votes, self.path("ours.h5"))
        self.assertEqual((done.returncode, len(done.stdout.splitlines())), (0, 5), done.stderr)
        self.assertEqual(run(self.voxpop(), "fit", self.votes, "-o", self.path("theirs.h5"), "--quiet").returncode, 0)
        with h5py.File(self.path("ours.h5")) as ours, h5py.File(self.path("theirs.h5")) as theirs:
            names = []
            theirs.visititems(lambda name, one: names.append(name) if isinstance(one, h5py.Dataset) else None)
            self.assertGreater(len(names), 30)
            for name in names:
                np.testing.assert_array_equal(ours[name][()], theirs[name][()], err_msg=name)

    def test_errors_are_exceptions_and_exit_codes(self):
        done = run(self.program, self.path("nowhere.h5"))
        self.assertEqual(done.returncode, 4)
        self.assertIn("nowhere.h5", done.stderr)

    def test_a_c_program(self):
        """The C header is C, and its library is found without the C++ of its caller."""
        with open(self.path("count.c"), "w", encoding="utf-8") as file:
            file.write(r"""
#include <stdio.h>
#include <voxpop/voxpop_c.h>
int main(int argc, char** argv) {
  const char* paths[1];
  voxpop_column column;
  voxpop_fit* fit = 0;
  voxpop_votes* votes = voxpop_votes_new();
  int problem;
  paths[0] = argv[argc - 1];
  problem = voxpop_votes_read(votes, paths, 1, 0);
  if (!problem) problem = voxpop_fit_votes(votes, "{\"model\": \"bt\"}", 0, &fit);
  if (!problem) problem = voxpop_fit_column(fit, "pairs/probability", &column);
  if (problem)
    printf("%s\n", voxpop_error());
  else
    printf("%lu %.6f\n", (unsigned long)column.rows, ((const float*)column.data)[0]);
  voxpop_fit_free(fit);
  voxpop_votes_free(votes);
  return problem;
}
""")
        folder = os.path.dirname(self.library())
        done = run("cc", "-std=c90", "-Wall", "-Wextra", "-Werror", "-Wno-long-long", f"-I{self.prefix}/include", self.path("count.c"), "-o",
                   self.path("count"), f"-L{folder}", f"-Wl,-rpath,{folder}", "-lvoxpop")
        self.assertEqual(done.returncode, 0, done.stderr)
        done = run(self.path("count"), self.votes)
        self.assertEqual(done.returncode, 0, done.stdout)
        fit = self.path("bt.h5")
        run(self.voxpop(), "fit", self.votes, "-o", fit, "--model", "bt", "--quiet")
        with h5py.File(fit) as file:
            expected = file["pairs/probability"][()]
        self.assertEqual(done.stdout, f"{len(expected)} {expected[0]:.6f}\n")
        self.assertEqual(run(self.path("count"), self.path("nowhere.h5")).returncode, 4)

    def test_the_headers_need_no_other_library(self):
        for header in os.listdir(os.path.join(self.prefix, "include", "voxpop")):
            with self.subTest(header):
                done = run("c++", "-std=c++20", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-x", "c++",
                           f"-I{self.prefix}/include", "-", input=f"#include <voxpop/{header}>\n")
                self.assertEqual(done.returncode, 0, done.stderr)

    def test_the_library_shows_its_own_names_alone(self):
        symbols = [line.split(" ", 2)[2] for line in
                   run("nm", "-DC", "--defined-only", self.library()).stdout.splitlines() if len(line.split(" ", 2)) == 3]
        self.assertGreater(len(symbols), 10)
        self.assertEqual([name for name in symbols if "voxpop" not in name], [])
        self.assertLess(len(symbols), 80)

    def test_the_library_leaves_the_process_alone(self):
        """No output of its own, no calls that end the process, no signal handlers."""
        used = {line.split()[-1].split("@")[0] for line in run("nm", "-D", "--undefined-only", self.library()).stdout.splitlines()}
        self.assertFalse(used & {"exit", "_exit", "quick_exit", "sigaction", "signal", "setitimer", "timer_create"}, used)


if __name__ == "__main__":
    BUILD = sys.argv.pop(1)
    unittest.main(verbosity=0)
