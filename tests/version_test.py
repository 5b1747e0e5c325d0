"""The version stands in CMakeLists.txt alone; all else says the same.

Usage: python version_test.py PROGRAM [unittest arguments]
"""

import os
import re
import subprocess
import sys
import tempfile
import unittest

PROGRAM = ""
SOURCE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def text_of(*names):
    with open(os.path.join(SOURCE, *names)) as file:
        return file.read()


class Version(unittest.TestCase):
    version = re.search(r"^project\(voxpop VERSION (\d+\.\d+\.\d+) ", text_of("CMakeLists.txt"), re.MULTILINE)[1]

    def test_of_the_program(self):
        said = subprocess.run([PROGRAM, "--version"], capture_output=True, text=True, check=True).stdout
        self.assertEqual(said, f"voxpop {self.version}\n")

    def test_in_what_the_program_writes(self):
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([PROGRAM, "simulate", "v.h5", "--prompts", "20", "--annotators", "5"], cwd=folder, check=True, capture_output=True)
            subprocess.run([PROGRAM, "fit", "v.h5", "-o", "f.h5"], cwd=folder, check=True, capture_output=True)
            said = subprocess.run([PROGRAM, "info", "f.h5"], cwd=folder, check=True, capture_output=True, text=True).stdout
        self.assertRegex(said, rf"version\W+{re.escape(self.version)}\b")

    def test_of_the_python_package(self):
        """In the source tree, whatever is installed beside it."""
        environment = dict(os.environ, PYTHONPATH=os.path.join(SOURCE, "python", "src"))
        said = subprocess.run([sys.executable, "-c", "import voxpop.version; print(voxpop.version.__version__)"], env=environment,
                              capture_output=True, text=True)
        if "No module named" in said.stderr:
            self.skipTest("this Python lacks what the package needs")
        self.assertEqual(said.stdout, self.version + "\n", said.stderr)

    def test_of_the_changelog(self):
        self.assertEqual(re.search(r"^## (\S+)", text_of("CHANGELOG.md"), re.MULTILINE)[1], self.version)

    def test_stands_nowhere_else(self):
        for names in [("pyproject.toml",), ("include", "voxpop", "version.h.in"), ("python", "src", "voxpop", "__init__.py"),
                      ("python", "src", "voxpop", "version.py"), ("packaging", "wheel.cmake"), ("scripts", "wheel.sh")]:
            self.assertNotIn(self.version, text_of(*names), names)


if __name__ == "__main__":
    PROGRAM = os.path.abspath(sys.argv.pop(1))
    unittest.main()
