"""How long a fit with embeddings takes, and how right it is, on simulated responses.

    python3 bench/embeddings.py --voxpop build/quickstart/voxpop                          200,000 items of 1,024 dimensions
    python3 bench/embeddings.py --voxpop build/quickstart/voxpop --items 20000 --dimensions 256 --runs 1

Scores are a linear function of the embedding, which explains --share of their variance, and something of their own. As a
language model's, embeddings have a few strong directions and many weak ones. Nothing here uses the program's own simulation.
"""

import argparse
import json
import os
import subprocess
import tempfile
import time

import h5py
import numpy as np

RESPONSES, PAIRS = 4, 3  # of a prompt


def simulate(path, embeddings, items, dimensions, votes, share, seed):
    random = np.random.default_rng(seed)
    prompts = items // RESPONSES
    items = prompts * RESPONSES
    spectrum = (1 + np.arange(dimensions)) ** -0.5
    x = (random.standard_normal((items, dimensions), np.float32) * spectrum.astype(np.float32)).astype(np.float16)
    w = random.normal(size=dimensions).astype(np.float32)
    part = np.concatenate([x[at : at + 10000].astype(np.float32) @ w for at in range(0, items, 10000)])
    score = part * np.sqrt(share / part.var()) + np.sqrt(1 - share) * random.normal(size=items)
    coefficient = w * np.sqrt(share / part.var())
    people = max(50, items // 400)
    gamma = np.exp(0.3 * random.normal(size=people)) * 2
    gamma[: people // 5] = 0.2
    beta = np.zeros(people)
    beta[people // 5 : people // 3] = random.choice([-2, 2], people // 3 - people // 5)
    first = RESPONSES * np.repeat(np.arange(prompts), PAIRS) + np.tile(np.arange(PAIRS), prompts)
    left, right = np.repeat(first, votes), np.repeat(first + 1, votes)
    turned = random.random(len(left)) < 0.5
    left, right = np.where(turned, right, left), np.where(turned, left, right)
    who = random.integers(0, people, len(left))
    logit = gamma[who] * (score[left] - score[right]) + beta[who]
    preference = np.where(random.random(len(left)) < 1 / (1 + np.exp(-logit)), 1, -1)
    with h5py.File(path, "w") as file:
        file.attrs["voxpop_schema"] = "comparisons/1"
        file["items/id"] = np.array([f"p{i // RESPONSES}r{i % RESPONSES}" for i in range(items)], "S16")
        file["items/prompt"] = np.arange(items, dtype=np.uint32) // RESPONSES
        file["prompts/id"] = np.array([f"p{i}" for i in range(prompts)], "S16")
        file["annotators/id"] = np.array([f"a{i}" for i in range(people)], "S8")
        for name, column in (("left", left.astype(np.uint32)), ("right", right.astype(np.uint32)),
                             ("annotator", who.astype(np.uint32)), ("preference", preference.astype(np.int8))):
            file[f"comparisons/{name}"] = column
    np.save(embeddings, x)
    return score, coefficient, gamma


def judge(out, score, coefficient):
    with h5py.File(out) as file:
        left, right, better = (file[f"pairs/{name}"][()] for name in ("left", "right", "probability_better"))
        right_order = (better > 0.5) == (score[left] > score[right])
        claimed = np.maximum(better, 1 - better).mean()
        found = {}
        if "covariates/embedding" in file:
            w, se = file["covariates/embedding"][()], file["covariates/embedding_se"][()]
            unit = w @ coefficient / (coefficient @ coefficient)
            found = {"coefficients_correlation": float(np.corrcoef(w, coefficient)[0, 1]),
                     "coefficients_within_1.96_se": float(np.mean(np.abs(w - unit * coefficient) < 1.96 * se)),
                     "variance_explained": float(file["covariates/embedding_variance_explained"][0]),
                     "variance_explained_se": float(file["covariates/embedding_variance_explained_se"][0])}
    return {"pairs_right": float(right_order.mean()), "claimed": float(claimed), **found}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--voxpop", required=True)
    parser.add_argument("--items", type=int, default=200_000)
    parser.add_argument("--dimensions", type=int, default=1024)
    parser.add_argument("--votes", type=int, default=1, help="a pair")
    parser.add_argument("--share", type=float, default=0.6, help="of the scores' variance that embeddings explain")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--out", help="JSON file for the results")
    arguments = parser.parse_args()
    results = []
    with tempfile.TemporaryDirectory() as folder:
        at = lambda name: os.path.join(folder, name)
        score, coefficient, _ = simulate(at("votes.h5"), at("embeddings.npy"), arguments.items, arguments.dimensions,
                                         arguments.votes, arguments.share, seed=1)
        for name, options in (("without", []), ("with", ["--embeddings", at("embeddings.npy")])):
            for run in range(arguments.runs):
                start = time.perf_counter()
                done = subprocess.run([arguments.voxpop, "fit", at("votes.h5"), "-o", at("fit.h5"), "--quiet", "--json", *options],
                                      capture_output=True, text=True)
                seconds = time.perf_counter() - start
                if done.returncode != 0:
                    raise SystemExit(done.stderr)
                told = json.loads(done.stdout)
                results.append({"embeddings": name, "seconds": seconds, "phases": told["seconds"], "iterations": told["iterations"],
                                "converged": told["converged"], "peak_memory": told["peak_memory"], **told.get("embedding", {}),
                                **judge(at("fit.h5"), score, coefficient)})
                print(json.dumps(results[-1]), flush=True)
    if arguments.out:
        with open(arguments.out, "w") as file:
            json.dump({"items": arguments.items, "dimensions": arguments.dimensions, "votes_a_pair": arguments.votes,
                       "share": arguments.share, "runs": results}, file, indent=1)


if __name__ == "__main__":
    main()
