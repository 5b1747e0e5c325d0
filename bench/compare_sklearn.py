"""voxpop against scikit-learn on this machine: the same votes, in one sitting, runs taken in turn, medians.

    .venv/bin/python bench/compare_sklearn.py --voxpop build/release/voxpop                   a million simulated votes
    .venv/bin/python bench/compare_sklearn.py --voxpop build/release/voxpop --votes votes.h5 --runs 5 --json out.json

scikit-learn fits the plain Bradley-Terry model, as people write it; voxpop fits that one (bt) and the one with annotators
(rater). scikit-learn's tolerance applies to the gradient of the *mean* loss: its default, 1e-4, lets it stop early, or before
the first step, where an item has a small share of the votes. The row "settled" asks that each item's expected and observed
wins agree within 0.01, and is the one that voxpop is compared with.

Every run is a process of its own. "whole" is its wall time, with Python's imports; "read + fit" leaves out imports, labels and
output; "fit" is the fit alone. Needs what `scripts/install_dependencies.sh --python` installs.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

# This process imports no numpy: a child's peak memory starts from what its parent held.

SKLEARN = """
import json, sys, time
import h5py, numpy as np, sklearn
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression

start = time.perf_counter()
with h5py.File(sys.argv[1]) as file:
    left, right = file["comparisons/left"][:], file["comparisons/right"][:]
    preference = file["comparisons/preference"][:]
    items = file["items/id"].shape[0]
votes = len(preference)
if (preference == 0).any():  # logistic regression has no ties
    decided = preference != 0
    left, right, preference = left[decided], right[decided], preference[decided]
n = len(preference)
row, one = np.arange(n), np.ones(n)
design = csr_matrix((np.concatenate([one, -one]), (np.concatenate([row, row]), np.concatenate([left, right]))), (n, items))
built = time.perf_counter()
tolerance = {"tol": 0.01 / n} if sys.argv[3] == "settled" else {}
model = LogisticRegression(fit_intercept=False, **tolerance).fit(design, preference > 0)
end = time.perf_counter()
np.save(sys.argv[2], model.coef_[0])
print(json.dumps({"votes": votes, "ties": votes - n, "read_fit": end - start, "fit": end - built,
                  "iterations": int(model.n_iter_[0]),
                  "converged": bool(model.n_iter_[0] < model.max_iter), "version": sklearn.__version__}))
"""

# What a fit says of itself, and how its margins agree with scikit-learn's scores.
INSPECT = """
import json, sys
import h5py, numpy as np
with h5py.File(sys.argv[1]) as file:
    provenance = json.loads(file.attrs["provenance"])
    margin, left, right = (file["pairs/" + name][:] for name in ("margin", "left", "right"))
score = np.load(sys.argv[2])
provenance["margin_correlation"] = float(np.corrcoef(margin, score[left] - score[right])[0, 1])
print(json.dumps(provenance))
"""


DEFAULT, SETTLED = "scikit-learn, tol 1e-4", "scikit-learn, settled"


def run(command):
    """Runs it; returns its output, wall seconds, CPU seconds and peak memory in bytes."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, stderr=err)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            err.seek(0)
            sys.exit(f"{pathlib.Path(command[0]).name} ended with {process.returncode}:\n{err.read()}")
        out.seek(0)
        peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        return out.read(), {"whole": wall, "cpu": usage.ru_utime + usage.ru_stime, "peak": peak}


def run_sklearn(votes, scores, tolerance):
    output, measured = run([sys.executable, "-c", SKLEARN, str(votes), str(scores), tolerance])
    return measured | json.loads(output)


def run_voxpop(voxpop, votes, fit, scores, options):
    _, measured = run([voxpop, "fit", str(votes), "-o", str(fit), "--quiet", *options])
    provenance = json.loads(run([sys.executable, "-c", INSPECT, str(fit), str(scores)])[0])
    seconds = provenance["seconds"]
    return measured | {"read_fit": seconds["read"] + seconds["group"] + seconds["fit"], "fit": seconds["fit"],
                       "iterations": provenance["iterations"], "converged": provenance["converged"],
                       "threads": provenance["threads"], "margin_correlation": provenance["margin_correlation"]}


def machine():
    model = "unknown processor"
    if os.path.exists("/proc/cpuinfo"):
        names = [line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
        model = names[0] if names else model
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"processor": model, "cores": cores, "load_average_at_start": round(os.getloadavg()[0], 2)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--voxpop", default="voxpop", help="the voxpop program")
    parser.add_argument("--votes", type=pathlib.Path, help="a comparisons/1 file; default: simulated votes")
    parser.add_argument("--prompts", type=int, help="prompts to simulate, 20 votes each (50000: a million votes)")
    parser.add_argument("--runs", type=int, default=3, help="runs of each; medians are printed (%(default)s)")
    parser.add_argument("--json", type=pathlib.Path, help="also write every run to this file")
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        scores, fit = folder / "scores.npy", folder / "fit.h5"

        def simulate(path, prompts):
            run([arguments.voxpop, "simulate", str(path), "--seed", "1", *(["--prompts", str(prompts)] if prompts else [])])
            return path

        votes = arguments.votes or simulate(folder / "votes.h5", arguments.prompts)
        tiny = simulate(folder / "tiny.h5", 10)  # its peak is the program's base: code, libraries, buffers
        tools = {DEFAULT: lambda path: run_sklearn(path, folder / "default.npy", "default"),
                 SETTLED: lambda path: run_sklearn(path, scores, "settled")}
        for name, options in {"voxpop bt": ["--model", "bt"], "voxpop rater": ["--model", "rater"],
                              "voxpop rater, 1 thread": ["--model", "rater", "--threads", "1"],
                              "voxpop rater, 2 threads": ["--model", "rater", "--threads", "2"]}.items():
            tools[name] = lambda path, options=options: run_voxpop(arguments.voxpop, path, fit, scores, options)

        here = machine()
        base = {name: measure(tiny)["peak"] for name, measure in tools.items()}
        runs = {name: [] for name in tools}
        for _ in range(arguments.runs):  # A B C A B C: what else the machine does falls on all alike
            for name, measure in tools.items():
                runs[name].append(measure(votes))

    sklearn = runs[SETTLED]
    count, ties = sklearn[0]["votes"], sklearn[0]["ties"]
    correlation = runs["voxpop bt"][0]["margin_correlation"]
    if not correlation >= 0.9:  # NaN too. Verify first: a fast wrong answer is no result
        sys.exit(f"voxpop bt's margins correlate only {correlation:.3f} with scikit-learn's; timings are not reported")

    def median(name, what):
        return statistics.median(one[what] for one in runs[name])

    table = [{"tool": name, **{what: median(name, what) for what in ("whole", "read_fit", "fit", "cpu", "peak")},
              "bytes_per_vote": (median(name, "peak") - base[name]) / count, "iterations": runs[name][0]["iterations"],
              "whole_speedup": median(SETTLED, "whole") / median(name, "whole"),
              "read_fit_speedup": median(SETTLED, "read_fit") / median(name, "read_fit")} for name in tools]
    ratio = median("voxpop rater, 1 thread", "fit") / median("voxpop rater, 2 threads", "fit")

    print(f"{count:,} votes ({ties:,} ties, left out by scikit-learn); medians of {arguments.runs}; scikit-learn "
          f"{sklearn[0]['version']}\n{here['processor']}, {here['cores']} cores, load average at the start "
          f"{here['load_average_at_start']}\n")
    print(f"{'':<24} {'whole':>8} {'read + fit':>10} {'fit':>8} {'steps':>6} {'CPU':>8} {'peak':>10} {'over base':>12}   "
          f"{'faster: whole':>13} {'read + fit':>10}")
    for row in table:
        print(f"{row['tool']:<24} {row['whole']:>6.2f} s {row['read_fit']:>8.2f} s {row['fit']:>6.2f} s "
              f"{row['iterations']:>6} {row['cpu']:>6.2f} s {row['peak'] / 2**20:>6.0f} MiB "
              f"{row['bytes_per_vote']:>5.0f} B/vote   {row['whole_speedup']:>12.1f}x {row['read_fit_speedup']:>9.1f}x")
    print(f"\nmargins of voxpop bt and scikit-learn correlate {correlation:.4f}; "
          f"the rater fit runs {ratio:.2f}x as fast on 2 threads as on 1")
    if runs[DEFAULT][0]["iterations"] == 0:
        print("NOTE: with its default tolerance scikit-learn stopped before its first step: all its scores are 0")
    for name in tools:
        if not all(one["converged"] for one in runs[name]):
            print(f"WARNING: {name} did not converge")
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": here, "votes": count, "ties": ties, "medians": table, "runs": runs,
                                              "base_peak": base, "fit_speedup_of_2_threads": ratio,
                                              "margin_correlation_bt_sklearn": correlation}, indent=1) + "\n")


if __name__ == "__main__":
    main()
