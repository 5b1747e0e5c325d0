"""Votes in frames, fitted by the Python package, against the program on the same votes in HDF5: runs taken in turn, medians.

    PYTHONPATH=python/src .venv/bin/python bench/frames.py --voxpop build/release/voxpop

From the frame to the frame of pairs in this process; the program reads votes.h5 and writes fit.h5. Both give the same labels, which
is checked first. CPU seconds are the least of all runs: on a busy machine they say more than the wall. Needs pyarrow and polars.
"""

import argparse
import os
import pathlib
import resource
import statistics
import subprocess
import tempfile
import time

import h5py
import numpy as np
import pandas as pd
import polars
import pyarrow

import voxpop

IDS = {"left": "items/id", "right": "items/id", "annotator": "annotators/id"}


def cpu_seconds():
    return sum(sum(resource.getrusage(whose)[:2]) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def tables_of(path):
    """The votes of a comparisons/1 file in frames of each kind, with texts as ids, and as a dict of arrays of integers."""
    with h5py.File(path) as file:
        rows = {name: file[f"comparisons/{name}"][:] for name in (*IDS, "preference")}
        texts = {name: file[ids].asstr()[:][rows[name]] for name, ids in IDS.items()}
    texts["preference"] = np.array(["right", "tie", "left"], object)[np.sign(rows["preference"]) + 1]
    table = pyarrow.table(texts)
    return {"pandas": pd.DataFrame(texts), "pandas, objects": pd.DataFrame(texts, dtype=object), "polars": polars.from_arrow(table),
            "pyarrow": table, "dict of integers": {name: one.astype(np.int64) for name, one in rows.items()}}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--voxpop", required=True, type=pathlib.Path)
    parser.add_argument("--prompts", type=int, default=50_000, help="of 4 responses and 20 votes each")
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    os.environ["VOXPOP_PROGRAM"] = str(arguments.voxpop.resolve())
    with tempfile.TemporaryDirectory() as folder:
        votes, fit = os.path.join(folder, "votes.h5"), os.path.join(folder, "fit.h5")
        program = [os.environ["VOXPOP_PROGRAM"]]
        subprocess.run([*program, "simulate", votes, "--prompts", str(arguments.prompts)], check=True, stdout=subprocess.DEVNULL)
        tables = tables_of(votes)
        voxpop.write_comparisons(tables["pandas"], votes)  # items in the same order
        runs = {"program": lambda: subprocess.run([*program, "fit", votes, "-o", fit, "--quiet"], check=True, stdout=subprocess.DEVNULL)}
        for name, table in tables.items():
            runs[name] = lambda table=table: voxpop.fit(table, progress=False).pairs
        runs["program"]()
        expected = voxpop.read_fit(fit).pairs["probability"]
        for name, run in list(runs.items())[1:]:
            np.testing.assert_array_equal(np.asarray(run()["probability"]), expected, name)
        wall, cpu = {name: [] for name in runs}, {name: [] for name in runs}
        for _ in range(arguments.runs):
            for name, run in runs.items():
                begin, used = time.perf_counter(), cpu_seconds()
                run()
                wall[name].append(time.perf_counter() - begin)
                cpu[name].append(cpu_seconds() - used)
    print(f"{len(tables['pandas']):,} votes, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n\n| votes in | wall | | CPU | |\n|---|---|---|---|---|")
    for name in runs:
        took, used = statistics.median(wall[name]), min(cpu[name])
        print(f"| {name} | {took:.2f} s | {took / statistics.median(wall['program']):.2f} | {used:.2f} s | {used / min(cpu['program']):.2f} |")


if __name__ == "__main__":
    main()
