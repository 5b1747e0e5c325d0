"""Where the seconds of a whole fit go: its phases against threads and votes, and beside another program of voxpop.

    .venv/bin/python bench/phases.py --voxpop build/release/voxpop
    .venv/bin/python bench/phases.py --voxpop build/release/voxpop --before OLD/voxpop --votes 1e6 1e7 --threads 1 2 4

Each row is one phase of `voxpop fit` on simulated votes, medians of --runs runs; programs take turns. `serial` is the time in which one
thread alone worked. It is not measured but follows from two figures of one run: where T threads share the parallel work evenly, the
main thread works serial + (cpu - serial) / T seconds. On a machine with other work it is too large.
The first run of each program is left out: on a fresh machine, memory that is used for the first time takes seconds.
"""

import argparse
import json
import os
import pathlib
import platform
import statistics
import subprocess
import tempfile

SHAPES = {
    "rlhf": lambda votes: ["--prompts", votes // 20],
    "2 votes a pair": lambda votes: ["--prompts", votes // 10, "--votes-per-pair", 2],
    "1 vote a pair": lambda votes: ["--prompts", votes // 5, "--votes-per-pair", 1],
    "times": lambda votes: ["--prompts", votes // 20, "--days", 30],
    "grades": lambda votes: ["--prompts", votes // 20, "--grades", 3],
    "16 responses": lambda votes: ["--prompts", votes // 160, "--responses", 16, "--pairs-per-prompt", 40],
    "64 responses": lambda votes: ["--prompts", max(votes // 600, 1), "--responses", 64, "--pairs-per-prompt", 300, "--votes-per-pair", 2],
}
PHASES = ("read", "group", "fit", "calibrate", "label", "write", "total")


def fit(program, votes, output, threads, more):
    command = [program, "fit", votes, "-o", output, "--threads", threads, "--json", "--quiet", *more]
    run = subprocess.run(list(map(str, command)), capture_output=True)
    if run.returncode != 0:
        raise SystemExit(f"phases.py: {' '.join(map(str, command))}: {run.stderr.decode()}")
    told = json.loads(run.stdout)
    os.unlink(output)
    return told["seconds"], told["device"]


def serial(wall, cpu, main, threads):
    return wall if threads == 1 else min(max((threads * main - cpu) / (threads - 1), 0), main)


def rows_of(runs, threads):
    """Medians over the runs, a row a phase: wall, cpu and serial seconds; the last two where the program says them."""
    rows = {}
    for phase in PHASES:
        row = {"wall": statistics.median(run.get(phase, 0) for run in runs)}
        if all("cpu" in run for run in runs):
            cpu = [run["cpu"][phase] for run in runs]
            main = [run["main_thread"][phase] for run in runs]
            row["cpu"] = statistics.median(cpu)
            row["serial"] = statistics.median(serial(run[phase], c, m, threads) for run, c, m in zip(runs, cpu, main))
        rows[phase] = row
    return rows


def show(title, tables):
    print(f"\n{title}")
    print("  " + "phase".ljust(10) + "".join(f"{name:>12}{'cpu':>9}{'serial':>9}" for name in tables))
    for phase in PHASES:
        cells = ""
        for rows in tables.values():
            row = rows[phase]
            cells += f"{row['wall']:12.3f}" + "".join(f"{row[kind]:9.3f}" if kind in row else 9 * " " for kind in ("cpu", "serial"))
        print("  " + phase.ljust(10) + cells)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--voxpop", required=True, type=pathlib.Path)
    parser.add_argument("--before", type=pathlib.Path, help="another program of voxpop, for comparison")
    parser.add_argument("--votes", nargs="+", type=float, default=[1e6, 1e7])
    parser.add_argument("--threads", nargs="+", type=int, help="default: 1, 2, 4, ... up to the number of cores")
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=["rlhf", "2 votes a pair", "times"])
    parser.add_argument("--model", default="rater")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", default="/dev/shm" if os.path.isdir("/dev/shm") else None)
    parser.add_argument("--json", type=pathlib.Path, help="file to write the figures to")
    arguments = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    threads = arguments.threads or [2**k for k in range(cores.bit_length()) if 2**k <= cores]
    programs = {"now": arguments.voxpop} | ({"before": arguments.before} if arguments.before else {})
    found = {"machine": platform.processor() or platform.machine(), "cores": cores, "load": os.getloadavg(), "rows": []}
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        votes, output = os.path.join(folder, "votes.h5"), os.path.join(folder, "fit.h5")
        for shape in arguments.shapes:
            for count in map(int, arguments.votes):
                simulate = [arguments.voxpop, "simulate", votes, "--annotators", 500, "--quiet", *SHAPES[shape](count)]
                subprocess.run(list(map(str, simulate)), check=True, stdout=subprocess.DEVNULL)
                for number in threads:
                    runs = {name: [] for name in programs}
                    device = ""
                    for turn in range(arguments.runs + 1):
                        for name, program in programs.items():
                            seconds, device = fit(program, votes, output, number, ["--model", arguments.model, "--device", arguments.device])
                            if turn > 0:
                                runs[name].append(seconds)
                    tables = {name: rows_of(some, number) for name, some in runs.items()}
                    show(f"{shape}, {count:,} votes, {number} threads, {arguments.model} on {device}", tables)
                    found["rows"].append({"shape": shape, "votes": count, "threads": number, "model": arguments.model, "device": device, **tables})
                os.unlink(votes)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
