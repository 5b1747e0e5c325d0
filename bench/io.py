"""Reading and writing columns of votes: voxpop against h5py, the same files, in turn, medians.

    .venv/bin/python bench/io.py --voxpop build/release/voxpop --bench build/release/bench/voxpop_bench --votes 10000000

Both read files whose pages the system has in memory, and both write into one that needs no disk (/dev/shm, or --folder):
what is compared is the work, not the disk. gzip is level 1 with shuffle, in chunks of 65,536 rows, as voxpop writes.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import tempfile
import time

import h5py
import numpy as np

COLUMNS = ("left", "right", "annotator", "preference")


def write(path, columns, packed):
    storage = {"compression": "gzip", "compression_opts": 1, "shuffle": True, "chunks": (65_536,)} if packed else {}
    with h5py.File(path, "w") as file:
        for name, values in columns.items():
            file.create_dataset(f"comparisons/{name}", data=values, **storage)


def read(path):
    with h5py.File(path) as file:
        return {name: file[f"comparisons/{name}"][:] for name in COLUMNS}


def seconds(action):
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def voxpop_seconds(bench, votes, benchmark):
    """Median of one run of the benchmark program, which repeats by itself."""
    command = [bench, f"--benchmark_filter=^{benchmark}/", "--benchmark_repetitions=5", "--benchmark_format=json"]
    run = subprocess.run(command, env={**os.environ, "VOXPOP_BENCH_VOTES": str(votes)}, capture_output=True, check=True)
    for row in json.loads(run.stdout)["benchmarks"]:
        if row.get("aggregate_name") == "median":
            return row["real_time"] / 1000
    raise SystemExit(f"io.py: {bench} has no benchmark {benchmark}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--voxpop", required=True, type=pathlib.Path)
    parser.add_argument("--bench", required=True, type=pathlib.Path, help="the program voxpop_bench")
    parser.add_argument("--votes", type=int, default=10_000_000)
    parser.add_argument("--folder", default="/dev/shm" if os.path.isdir("/dev/shm") else None)
    parser.add_argument("--json", type=pathlib.Path, help="file to write the figures to")
    arguments = parser.parse_args()
    rows = {}
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = pathlib.Path(name)
        simulated, votes = folder / "simulated.h5", {True: folder / "gzip.h5", False: folder / "plain.h5"}
        prompts = max(arguments.votes // 20, 2)
        subprocess.run([arguments.voxpop, "simulate", simulated, "--prompts", str(prompts), "--pairs-per-prompt", "5",
                        "--votes-per-pair", "4", "--quiet"], check=True, stdout=subprocess.DEVNULL)
        columns = read(simulated)
        with h5py.File(simulated) as file:
            ids = {table: file[f"{table}/id"][:] for table in ("items", "annotators")}
        for packed, path in votes.items():
            write(path, columns, packed)
            with h5py.File(path, "a") as file:
                for table, values in ids.items():
                    file.create_dataset(f"{table}/id", data=values)
        for packed, path in votes.items():
            kind = "gzip" if packed else "plain"
            theirs = statistics.median(seconds(lambda path=path: read(path)) for _ in range(5))
            rows[f"read {kind}"] = (voxpop_seconds(arguments.bench, path, "read_columns"), theirs)
            scratch = folder / "h5py.h5"
            theirs = statistics.median(
                seconds(lambda packed=packed: write(scratch, columns, packed)) for _ in range(3))
            rows[f"write {kind}"] = (voxpop_seconds(arguments.bench, path, f"write_columns/{kind}"), theirs)
    size = sum(np.asarray(values).nbytes for values in columns.values())
    print(f"{len(columns['left']):,} votes, {size / 1e6:.0f} MB unpacked, {os.cpu_count()} cores; h5py {h5py.__version__}")
    for what, (ours, theirs) in rows.items():
        print(f"{what:<12} voxpop {ours:7.3f} s   h5py {theirs:7.3f} s   {theirs / ours:5.2f} times its rate")
    if arguments.json:
        figures = {what: {"voxpop": ours, "h5py": theirs} for what, (ours, theirs) in rows.items()}
        arguments.json.write_text(json.dumps({"votes": len(columns["left"]), "seconds": figures}, indent=2) + "\n")


if __name__ == "__main__":
    main()
