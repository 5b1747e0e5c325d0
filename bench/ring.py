"""A ring of annotators who vote by an order of their own: what share of pairs comes out in the order of quality?

Usage: python ring.py PATH_TO_VOXPOP [--seeds N] [--gold N] [--trust N]

60 annotators of 400 votes each on 1,600 prompts of 4 responses, 3 pairs a prompt, 5 votes a pair. Those of the ring agree
with one another always, honest ones as sigma(discrimination x difference) has it; the ring's order has nothing to do with
quality. --gold: the fit knows the answers of so many pairs; --trust: that so many honest annotators are good.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile

import h5py
import numpy as np

ANNOTATORS = 60


def make(path, share, seed, prompts=1600):
    """Writes the votes; returns the items' quality and which annotators are of the ring."""
    random = np.random.default_rng(seed)
    quality, own = random.normal(0, 1.5, (2, 4 * prompts))
    pairs = np.array([(i, j) for i in range(4) for j in range(i + 1, 4)])
    chosen = pairs[np.argsort(random.random((prompts, 6)), axis=1)[:, :3]] + 4 * np.arange(prompts)[:, None, None]
    first, second = np.repeat(chosen.reshape(-1, 2), 5, axis=0).T
    who = np.argsort(random.random((3 * prompts, ANNOTATORS)), axis=1)[:, :5].ravel()
    swapped = random.random(len(who)) < 0.5
    left, right = np.where(swapped, second, first), np.where(swapped, first, second)
    ring = np.arange(ANNOTATORS) < round(share * ANNOTATORS)
    gamma, side = np.exp(random.normal(0, 0.3, ANNOTATORS)), random.normal(0, 0.2, ANNOTATORS)
    honest = random.random(len(who)) < 1 / (1 + np.exp(-gamma[who] * (quality[left] - quality[right]) - side[who]))
    goes_left = np.where(ring[who], own[left] > own[right], honest)
    with h5py.File(path, "w") as file:
        file.attrs["voxpop_schema"] = "comparisons/1"
        file["comparisons/left"], file["comparisons/right"] = left.astype("u4"), right.astype("u4")
        file["comparisons/annotator"] = who.astype("u4")
        file["comparisons/preference"] = np.where(goes_left, 1, -1).astype("i1")
        file["items/id"] = [f"i{i}" for i in range(4 * prompts)]
        file["items/prompt"] = np.arange(4 * prompts, dtype="u4") // 4
        file["annotators/id"] = [f"a{a}" for a in range(ANNOTATORS)]
    return quality, ring


def ordered(fit, quality):
    """Shares of pairs in the order of quality: by the fit, and by majority vote, ties half."""
    with h5py.File(fit) as file:
        left, right, better, wins, votes = (
            file["pairs/" + name][:] for name in ("left", "right", "probability_better", "wins_left", "votes")
        )
    truth = quality[left] > quality[right]
    lead = 2 * wins - votes
    return np.mean((better > 0.5) == truth), np.mean(np.where(lead == 0, 0.5, (lead > 0) == truth))


def write_gold(path, votes, quality, count, seed=1):
    """Known answers of pairs that have votes."""
    with h5py.File(votes) as file:
        pairs = np.unique(np.sort(np.stack([file["comparisons/left"][:], file["comparisons/right"][:]]), axis=0), axis=1).T
        ids = file["items/id"].asstr()[:]
    some = np.random.default_rng(seed).choice(len(pairs), count, replace=False)
    with open(path, "w", encoding="utf-8") as file:
        file.write("left,right,preference\n")
        for left, right in pairs[some]:
            file.write(f"{ids[left]},{ids[right]},{'left' if quality[left] > quality[right] else 'right'}\n")


def write_trusted(path, annotators):
    with open(path, "w", encoding="utf-8") as file:
        file.write("annotator\n" + "".join(f"a{a}\n" for a in annotators))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("voxpop")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--gold", type=int, default=0)
    parser.add_argument("--trust", type=int, default=0)
    arguments = parser.parse_args()
    print("ring   majority vote   bt      rater   reference   findings of the rater's fit")
    with tempfile.TemporaryDirectory() as folder:
        votes, fit, gold, trust = (os.path.join(folder, name) for name in ("v.h5", "f.h5", "gold.csv", "trust.csv"))
        for share in 0.2, 0.3, 0.4, 0.45:
            rows, references, kinds = [], [], set()
            for seed in range(1, arguments.seeds + 1):
                quality, ring = make(votes, share, seed)
                row = []
                for model in "bt", "rater":
                    more = []
                    if model == "rater" and arguments.gold:
                        write_gold(gold, votes, quality, arguments.gold)
                        more += ["--gold", gold]
                    if model == "rater" and arguments.trust:
                        write_trusted(trust, np.flatnonzero(~ring)[: arguments.trust])
                        more += ["--trust", trust]
                    command = [arguments.voxpop, "fit", votes, "-o", fit, "--model", model, "--json", "--quiet", "--force"]
                    told = json.loads(subprocess.run(command + more, check=True, capture_output=True).stdout)
                    by_fit, by_majority = ordered(fit, quality)
                    row.append(by_fit)
                rows.append([by_majority, *row])
                references.append(told["hyperparameters"]["reference_discrimination"])
                kinds |= {finding["kind"] for finding in told["findings"]}
            majority, bt, rater = np.mean(rows, axis=0)
            print(f"{share:4.0%}   {majority:13.3f}   {bt:.3f}   {rater:.3f}   {np.mean(references):9.2f}   {', '.join(sorted(kinds))}")


if __name__ == "__main__":
    sys.exit(main())
