"""Writes tests/data/votes-N.h5 and fit-N.h5, which every later version must read: frozen_test.py.

Usage: python make_frozen.py PATH_TO_VOXPOP N
Run it for a new N when a schema gets a new number or new datasets. Files that are there stay as they are: they stand for files
that users have.
"""

import os
import pathlib
import subprocess
import sys

import h5py
import numpy as np

DATA = pathlib.Path(__file__).resolve().parent / "data"
SIMULATE = ("--prompts 60 --responses 4 --pairs-per-prompt 4 --votes-per-pair 4 --annotators 20 --ties .1 --grades 2 --lapse-rate .05 "
            "--features 2 --taste-sd .3 --prior-score .7 --days 30 --drift .2 --bursts .1 --seed 7 --no-compress").split()


def run(program, *arguments):
    """With `voxpop` in its provenance, wherever it lies."""
    subprocess.run(["voxpop", *arguments], executable=os.path.abspath(program), cwd=DATA, check=True)


def add_what_simulate_does_not_write(path):
    random = np.random.default_rng(7)
    with h5py.File(path, "r+") as file:
        score, left, right = (file[name][()] for name in ("truth/score", "comparisons/left", "comparisons/right"))
        items, votes = len(score), len(left)
        file["comparisons/weight"] = random.choice([0.5, 1, 2], votes).astype("f4")
        # Votes of an annotator on a prompt are one judgement, for half of the annotators.
        who, prompt = file["comparisons/annotator"][()].astype(int), file["items/prompt"][()][left].astype(int)
        file["comparisons/judgement"] = np.where(who % 2 == 0, 1000 * who + prompt, -1).astype("i8")
        file["items/source"] = (np.arange(items) % 4 - 1).astype("i4")  # -1: not known
        file["sources/id"] = np.array(["model a", "model b", "modèle c"], h5py.string_dtype("utf-8"))
        file["items/embedding"] = (random.normal(size=(items, 4)) + 0.5 * score[:, None]).astype("f2")
        known = np.unique(np.stack([left, right], axis=1)[:: votes // 20], axis=0)
        file["gold/left"], file["gold/right"] = known[:, 0].astype("u4"), known[:, 1].astype("u4")
        better = score[known[:, 0]] > score[known[:, 1]]
        file["gold/preference"] = np.where(better, 1, -1).astype("i1")
        file["gold/probability"] = np.where(better, 0.95, 0.05).astype("f4")
        del file["truth"]


if __name__ == "__main__":
    program, number = sys.argv[1:]
    votes, fit = (f"{kind}-{int(number)}.h5" for kind in ("votes", "fit"))
    for name in (votes, fit):
        if (DATA / name).exists():
            sys.exit(f"{DATA / name}: is there already, and stays as it is; choose the next number")
    run(program, "simulate", votes, *SIMULATE)
    add_what_simulate_does_not_write(DATA / votes)
    run(program, "fit", votes, "-o", fit, "--calibrate", "--views", "off", "--device", "cpu", "--no-compress")
