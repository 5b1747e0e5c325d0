"""docs/tour.ipynb runs, and shows what it printed when it was written: words must be equal, numbers within 2 %.

Usage: python notebook_test.py PATH_TO_VOXPOP [--renew] [unittest arguments]
--renew runs it and keeps what it shows now.
Exit 77: nbclient, ipykernel, matplotlib or datasets is not installed.
"""

import copy
import os
import re
import shutil
import sys
import unittest

RENEW = "--renew" in sys.argv
if RENEW:
    sys.argv.remove("--renew")

from program import VOXPOP, main, path  # first: it skips where h5py is missing

try:
    import datasets  # noqa: F401
    import ipykernel  # noqa: F401
    import matplotlib  # noqa: F401
    import nbclient
    import nbformat
except ImportError as error:
    print(f"notebook_test.py: skipped: {error}", file=sys.stderr)
    sys.exit(77)

from docs_test import ROOT, same

NOTEBOOK = os.path.join(ROOT, "docs", "tour.ipynb")


def run(notebook):
    """The notebook as it is after its cells ran, in a folder that has only what it may read."""
    folder = path("docs")
    shutil.copytree(os.path.join(ROOT, "docs", "example"), os.path.join(folder, "example"), dirs_exist_ok=True)
    for name in "IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "HF_HOME":
        os.environ[name] = path(name.lower())
    os.environ.update(VOXPOP_PROGRAM=VOXPOP, PYTHONPATH=os.path.join(ROOT, "python", "src"),
                      PYTHONWARNINGS="ignore:IProgress not found")  # datasets' progress bars miss ipywidgets
    client = nbclient.NotebookClient(copy.deepcopy(notebook), timeout=120, record_timing=False, resources={"metadata": {"path": folder}})
    return client.execute()


def shown(cell):
    """The texts that a cell shows, line by line."""
    return [line for output in cell.outputs for line in (output.text if output.output_type == "stream"
            else output.data.get("text/plain", "")).rstrip("\n").split("\n")]


class Tour(unittest.TestCase):
    def test_it_shows_what_was_written(self):
        written = nbformat.read(NOTEBOOK, as_version=4)
        now = run(written)
        cells = [cell for cell in now.cells if cell.cell_type == "code"]
        self.assertGreater(len(cells), 8)
        for cell, before in zip(cells, (cell for cell in written.cells if cell.cell_type == "code")):
            with self.subTest(cell=cell.source):
                self.assertEqual([], [output.name for output in cell.outputs if output.output_type == "stream" and output.name == "stderr"])
                self.assertEqual(len(shown(before)), len(shown(cell)), shown(cell))
                for line, printed in zip(shown(before), shown(cell)):
                    self.assertTrue(same(line, printed), f"'{line}' is shown, but '{printed}' was printed")
        self.assertTrue(any("image/png" in output.get("data", {}) for cell in cells for output in cell.outputs))

    def test_what_is_committed(self):
        with open(NOTEBOOK, encoding="utf-8") as file:
            text = file.read()
        self.assertLess(len(text), 150_000)
        self.assertIsNone(re.search(r"/(tmp|home|root|usr)/", text), "a path of the machine that it was run on")
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            self.assertTrue(os.path.exists(os.path.join(ROOT, "docs", target)), target)


if __name__ == "__main__":
    if RENEW:
        nbformat.write(run(nbformat.read(NOTEBOOK, as_version=4)), NOTEBOOK)
    else:
        main()
