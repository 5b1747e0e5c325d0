"""How many votes `voxpop next` saves: simulated votes, then more of them, for pairs drawn at random or named by `next`.

Usage: python bench/next_votes.py --voxpop build/quickstart/voxpop [--prompts 6000] [--seeds 3]

Every strategy starts from the same two votes a pair; further votes are drawn from the same truth, and everything is fitted
again. "random": pairs at random, annotators by how much each votes; "next": the pairs that `next` names, annotators as in
"random"; "next --assign": also the annotators that it names. Printed: pairs ordered right, and how many further votes each
strategy needs for what "random" reaches with the largest budget, by interpolation.
"""

import argparse
import csv
import io
import os
import subprocess
import tempfile

import h5py
import numpy as np


def run(*arguments):
    return subprocess.run(list(map(str, arguments)), check=True, capture_output=True, text=True).stdout


class Votes:
    """Simulated votes with their truth, and room for more."""

    def __init__(self, path):
        with h5py.File(path) as file:
            self.columns = {name: file["comparisons/" + name][:] for name in ("left", "right", "annotator", "preference")}
            self.items = file["items/id"].asstr()[:]
            self.annotators = file["annotators/id"].asstr()[:]
            self.prompt, self.prompts = file["items/prompt"][:], file["prompts/id"].asstr()[:]
            self.score = file["truth/score"][:]
            self.discrimination, self.side_bias = file["truth/discrimination"][:], file["truth/side_bias"][:]
        self.item_row = {item: row for row, item in enumerate(self.items)}
        self.annotator_row = {annotator: row for row, annotator in enumerate(self.annotators)}

    def draw(self, left, right, annotator, random):
        logit = self.discrimination[annotator] * (self.score[left] - self.score[right]) + self.side_bias[annotator]
        preference = np.where(random.random(len(left)) < 1 / (1 + np.exp(-logit)), 1, -1)
        return {"left": left, "right": right, "annotator": annotator, "preference": preference.astype("i1")}

    def write(self, path, more):
        with h5py.File(path, "w") as file:
            file.attrs["voxpop_schema"] = "comparisons/1"
            for name, column in self.columns.items():
                file["comparisons/" + name] = np.concatenate([column, more[name].astype(column.dtype)])
            for name, ids in ("items/id", self.items), ("annotators/id", self.annotators), ("prompts/id", self.prompts):
                file[name] = ids.astype(h5py.string_dtype())
            file["items/prompt"] = self.prompt


def accuracy(votes, path):
    with h5py.File(path) as file:
        left, right, margin = (file["pairs/" + name][:] for name in ("left", "right", "margin"))
    return np.mean((margin > 0) == (votes.score[left] > votes.score[right]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--voxpop", required=True)
    parser.add_argument("--prompts", type=int, default=6000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--votes-per-pair", type=int, default=2)
    arguments = parser.parse_args()
    shares = np.array([0, 0.1, 0.2, 0.3, 0.4, 0.5])
    strategies = "random", "next", "next --assign"
    reached = {name: np.zeros((arguments.seeds, len(shares))) for name in strategies}
    with tempfile.TemporaryDirectory() as folder:
        at = lambda name: os.path.join(folder, name)
        for seed in range(arguments.seeds):
            run(arguments.voxpop, "simulate", at("votes.h5"), "--prompts", arguments.prompts, "--pairs-per-prompt", 4,
                "--votes-per-pair", arguments.votes_per_pair, "--annotators", 150, "--seed", seed + 1)
            votes = Votes(at("votes.h5"))
            run(arguments.voxpop, "fit", at("votes.h5"), "-o", at("base.h5"))
            with h5py.File(at("base.h5")) as file:
                pairs = np.stack([file["pairs/left"][:], file["pairs/right"][:]], axis=1)
            random = np.random.default_rng(seed)
            by_volume = lambda count: random.choice(votes.columns["annotator"], count)
            for i, share in enumerate(shares):
                budget = int(share * len(pairs))
                for name in strategies:
                    if budget == 0:
                        reached[name][seed, i] = accuracy(votes, at("base.h5"))
                        continue
                    if name == "random":
                        asked = random.permuted(pairs[random.choice(len(pairs), budget, replace=False)], axis=1)
                        annotator = by_volume(budget)
                    else:
                        assign = ["--assign", "--votes", at("votes.h5")] if name == "next --assign" else []
                        table = list(csv.DictReader(io.StringIO(
                            run(arguments.voxpop, "next", at("base.h5"), "--budget", budget, *assign))))
                        asked = np.array([[votes.item_row[row["left"]], votes.item_row[row["right"]]] for row in table])
                        annotator = (np.array([votes.annotator_row[row["annotator"]] for row in table]) if assign
                                     else by_volume(len(table)))
                    more = votes.draw(asked[:, 0], asked[:, 1], annotator, random)
                    votes.write(at("more.h5"), more)
                    run(arguments.voxpop, "fit", at("more.h5"), "-o", at("more.fit.h5"))
                    reached[name][seed, i] = accuracy(votes, at("more.fit.h5"))
    print("further votes, of pairs:", *(f"{share:8.0%}" for share in shares))
    for name in strategies:
        print(f"{name:24}", *(f"{100 * x:8.2f}" for x in reached[name].mean(axis=0)))
    for target in 3, 5:
        for name in strategies[1:]:
            needed = [np.interp(reached["random"][s, target], reached[name][s], shares) for s in range(arguments.seeds)]
            saved = 1 - np.array(needed) / shares[target]
            print(f"as good as random with {shares[target]:.0%}: {name} saves {saved.mean():.0%} of the votes "
                  f"(by seed: {', '.join(f'{x:.0%}' for x in saved)})")


if __name__ == "__main__":
    main()
