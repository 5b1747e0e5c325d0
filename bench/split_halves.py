"""Do annotators' errors hold? Discriminations from one half of the prompts against those from the other half.

Usage: python bench/split_halves.py --voxpop build/quickstart/voxpop VOTES.h5 [FIT OPTIONS]

Votes are split by odd and even prompts, without prompts by odd and even pairs. Of annotators with 20 votes or more in each
half: both estimates with the population's prior taken out, in prior units; z is their difference over its standard error.
Honest errors give z a standard deviation of 1, and 95 % of it within 1.96.
"""

import argparse
import json
import os
import subprocess
import tempfile

import h5py
import numpy as np

METHOD_ERROR = 0.03  # of discrimination_se: a share of the estimate


def write_half(path, votes, half):
    with h5py.File(votes) as source, h5py.File(path, "w") as out:
        left, right = source["comparisons/left"][:], source["comparisons/right"][:]
        if "items/prompt" in source:
            kept = source["items/prompt"][:][left] % 2 == half
        else:
            kept = (np.minimum(left, right).astype(int) + np.maximum(left, right)) % 2 == half
        for group in source:
            if group != "comparisons":
                source.copy(group, out)
        for name, value in source.attrs.items():
            out.attrs[name] = value
        for name, column in source["comparisons"].items():
            out[f"comparisons/{name}"] = column[:][kept]
            for key, value in column.attrs.items():
                out[f"comparisons/{name}"].attrs[key] = value
        for key, value in source["comparisons"].attrs.items():
            out["comparisons"].attrs[key] = value


def unshrunk(fit, told):
    """Estimates and variances by the votes alone, in prior units; and votes."""
    with h5py.File(fit) as file:
        gamma, error, votes = (file[f"annotators/{c}"][:].astype(float) for c in ("discrimination", "discrimination_se", "votes"))
    population = told["hyperparameters"]
    unit = population["reference_discrimination"]
    variance = np.maximum(error**2 - (METHOD_ERROR * gamma) ** 2, 1e-6) * unit**2
    gamma = gamma * unit
    precision = np.maximum(1 / variance - population["discrimination_sd"] ** -2, 1e-9)
    mean = (gamma / variance - population["discrimination_mean"] / population["discrimination_sd"] ** 2) / precision
    return mean, 1 / precision + (METHOD_ERROR * gamma) ** 2, votes


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--voxpop", required=True)
    parser.add_argument("votes")
    arguments, options = parser.parse_known_args()
    halves = []
    with tempfile.TemporaryDirectory() as folder:
        for half in 0, 1:
            part, fit = os.path.join(folder, f"{half}.h5"), os.path.join(folder, f"{half}.fit.h5")
            write_half(part, arguments.votes, half)
            done = subprocess.run((arguments.voxpop, "fit", part, "-o", fit, "--force", "--json", "--quiet", *options),
                                  check=True, capture_output=True, text=True)  # fmt: skip
            halves.append(unshrunk(fit, json.loads(done.stdout)))
    (a, va, na), (b, vb, nb) = halves
    known = (na >= 20) & (nb >= 20) & (va < 1e6) & (vb < 1e6)
    z = (a - b)[known] / np.sqrt(va + vb)[known]
    print(f"{os.path.basename(arguments.votes)}: {known.sum()} annotators, r {np.corrcoef(a[known], b[known])[0, 1]:.2f}, "
          f"z sd {z.std():.2f}, {np.mean(np.abs(z) < 1.96):.3f} within 1.96")  # fmt: skip


if __name__ == "__main__":
    main()
