"""voxpop against the tools that people would take instead, on simulated votes whose truth is known: one command, one table.

    python3 bench/compare.py --install                                                 the other tools, to build/compare-venv
    python3 bench/compare.py --voxpop build/release/voxpop --out bench/results/NAME

Writes table.md, results.json, seconds.png and accuracy.png to the folder NAME. Each run is a process of its own under a limit
of time and of memory, the runs of the tools taken in turn; what fails is shown as a failure. "whole" is the process's wall
time, with imports and output; "read + fit" leaves those out. Which tool is called how: bench/compare_tools.py; how results
are judged: bench/compare_judge.py.

A tool of your own joins by --tool 'NAME=COMMAND', where COMMAND reads the HDF5 file {votes} and writes a .npz file {result}
with an array `score`: logits, an entry an item.
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import re
import resource
import shlex
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

# This process imports no numpy: a child's peak memory starts from what its parent held.

BENCH = pathlib.Path(__file__).resolve().parent
ENVIRONMENT = BENCH.parent / "build" / "compare-venv"
SHAPES = {  # options of `voxpop simulate`, and votes a prompt
    "arena": (["--shape", "arena", "--responses", "100", "--annotators", "500"], 1),
    "rlhf": (["--shape", "rlhf", "--responses", "4", "--pairs-per-prompt", "6", "--votes-per-pair", "3",
              "--annotators", "500"], 18),
}
SHAPE_TEXT = {"arena": "100 items, 500 annotators, pairs at random",
              "rlhf": "prompts of 4 responses, all 6 pairs, 3 votes each, 500 annotators"}


# --- running a command under limits


MEMORY_SIGNS = ("MemoryError", "memory allocation of", "bad_alloc", "Cannot allocate memory", "RESOURCE_EXHAUSTED")


def failure_of(code, stderr, timed_out, timeout):
    """What went wrong, in a word, and the last line of what it said of it."""
    if timed_out:
        return "timeout", f"ended after {timeout:g} s"
    if code == 0:
        return "ok", ""
    lines = [re.sub(r"^[\w.]+\.(?=\w+: )", "", line.strip())[:200] for line in stderr.splitlines() if line.strip()]
    for line in reversed(lines):  # Rust says so before its backtrace
        if any(sign in line for sign in MEMORY_SIGNS):
            return "out of memory", line
    if code == -signal.SIGKILL:
        return "out of memory", "killed, most likely by the system for its memory"
    said = lines[-1] if lines else f"exit code {code}"
    return ("not converged" if "not converge" in said else "error"), said


def run(command, timeout, memory_gib):
    """Runs it; returns its output and what it took. Its whole process group ends with it."""
    def limit():
        # RLIMIT_DATA counts what is written to, so that address space that is only reserved (CUDA, JAX) goes free.
        resource.setrlimit(resource.RLIMIT_DATA, (int(memory_gib * 2**30),) * 2)

    with tempfile.TemporaryFile("w+", errors="replace") as out, tempfile.TemporaryFile("w+", errors="replace") as err:
        start = time.perf_counter()
        process = subprocess.Popen([str(word) for word in command], stdout=out, stderr=err, stdin=subprocess.DEVNULL,
                                   preexec_fn=limit, start_new_session=True)
        timed_out = threading.Event()

        def end():
            try:
                os.killpg(process.pid, signal.SIGKILL)
                timed_out.set()
            except ProcessLookupError:  # it ended by itself just now
                pass

        timer = threading.Timer(timeout, end)
        timer.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            end()
            raise
        finally:
            timer.cancel()
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        for stream in out, err:
            stream.seek(0)
        status, detail = failure_of(process.returncode, err.read(), timed_out.is_set(), timeout)
        peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        return out.read(), {"status": status, "detail": detail, "whole": wall, "cpu": usage.ru_utime + usage.ru_stime,
                            "peak": peak}


def must_run(command):
    """For the comparison's own steps, which have no limits and may not fail."""
    output, measured = run(command, timeout=3600, memory_gib=1024)
    if measured["status"] != "ok":
        sys.exit(f"compare.py: {' '.join(map(str, command[:3]))}: {measured['status']}: {measured['detail']}")
    return output


# --- the tools and the machine


class Comparison:
    """What every part needs to know: the programs, the limits, the scratch folder."""

    def __init__(self, arguments, scratch):
        self.voxpop, self.python = arguments.voxpop, arguments.python
        self.timeout, self.memory, self.runs = arguments.timeout, arguments.memory_limit, arguments.runs
        self.scratch = scratch
        self.devices = json.loads(must_run([self.voxpop, "devices", "--json"]))["devices"]
        self.tools = self.find_tools(arguments)

    def find_tools(self, arguments):
        voxpop_version = must_run([self.voxpop, "--version"]).split()[-1]
        usable = [device["name"] for device in self.devices if device["name"] != "cpu" and device["usable"]]
        tools = {}
        for device in ["cpu"] + usable[:1]:
            for model in "bt", "rater":
                tools["voxpop-" + model + ("" if device == "cpu" else "-cuda")] = {
                    "version": voxpop_version, "way": f"fit --model {model} --device {device}",
                    "leaves_out": "annotators" if model == "bt" else "",
                    "command": [self.voxpop, "fit", "{votes}", "-o", "{result}", "--quiet", "--model", model, "--device", device]}
        reasons = {}
        if (ENVIRONMENT / "failed.json").exists() and pathlib.Path(self.python).is_relative_to(ENVIRONMENT):
            reasons = json.loads((ENVIRONMENT / "failed.json").read_text())
        for name, tool in json.loads(must_run([self.python, BENCH / "compare_tools.py", "list"])).items():
            tools[name] = tool | {"command": self.adapter("fit", name),
                                  "why_not": reasons.get(tool["distribution"], "not installed")}
        for name in arguments.tools:
            if name not in tools and name != "none":
                sys.exit(f"compare.py: no tool '{name}'; there are {', '.join(tools)}")
        chosen = {name: tool for name, tool in tools.items() if not arguments.tools or name in arguments.tools}
        for given in arguments.tool:
            name, _, command = given.partition("=")
            chosen[name] = {"version": "", "way": command, "leaves_out": "?", "command": shlex.split(command)}
        return chosen

    def adapter(self, verb, name):
        return [self.python, BENCH / "compare_tools.py", verb, name, "{votes}", "{result}"]

    def judge(self, *arguments):
        output, measured = run([self.python, BENCH / "compare_judge.py", *arguments], timeout=3600, memory_gib=1024)
        if measured["status"] != "ok":
            return {"status": "no result", "detail": measured["detail"].removeprefix("ValueError: ")}
        return json.loads(output)

    def simulate(self, shape, votes, *purpose):
        """A file of votes and one with what is true of them; and what they hold."""
        path, truth = self.scratch / f"{shape}-{votes}.h5", self.scratch / f"{shape}-{votes}.npz"
        options, a_prompt = SHAPES[shape]
        must_run([self.voxpop, "simulate", path, *options, "--prompts", max(1, round(votes / a_prompt)), "--seed", 1, "--quiet"])
        return path, truth, json.loads(must_run([self.python, BENCH / "compare_judge.py", "prepare", path, truth, *purpose]))

    def measure(self, command, votes, result):
        for file in files_of(result):
            file.unlink()
        words = [str(word).replace("{votes}", str(votes)).replace("{result}", str(result)) for word in command]
        output, measured = run(words, self.timeout, self.memory)
        try:  # what an adapter says of its phases
            said = json.loads(output) if output.startswith("{") else {}
        except json.JSONDecodeError:
            said = {}
        return measured | said | {"detail": measured["detail"].replace(f"{self.scratch}/", "")}


def files_of(result):
    """numpy adds .npz to a name without it."""
    return [file for file in (result, result.with_suffix(".npz")) if file.exists()]


def machine(comparison):
    processor, memory = platform.processor() or "unknown processor", 0
    if os.path.exists("/proc/cpuinfo"):
        names = [line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
        processor = names[0] if names else processor
    if hasattr(os, "sysconf"):
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    gpus = [device["model"] for device in comparison.devices if device["name"] != "cpu" and device["usable"]]
    return {"processor": processor, "cores": len(os.sched_getaffinity(0)), "memory_gib": round(memory / 2**30, 1),
            "kernel": platform.release(), "system": platform.system(), "gpu": gpus[0] if gpus else None,
            "instruction_set": comparison.devices[0].get("instruction_set"), "date": datetime.date.today().isoformat(),
            "load_average_at_start": round(os.getloadavg()[0], 2)}


# --- the two workloads


def note(text):
    print(text, file=sys.stderr, flush=True)


def compare_fits(comparison, shape, votes, skip):
    """One size of one shape; rows of results. A tool that failed at a smaller size for want of time or memory is in `skip`."""
    path, truth, data = comparison.simulate(shape, votes)
    runs = {name: [] for name in comparison.tools}
    judged = {}
    for turn in range(comparison.runs):  # A B C A B C: what else the machine does falls on all alike
        for name, tool in comparison.tools.items():
            if name in skip:
                runs[name] = [{"status": "not run", "detail": skip[name]}]
            elif tool["version"] is None:
                runs[name] = [{"status": "not installed", "detail": tool["why_not"]}]
            elif turn == 0 or runs[name][0]["status"] == "ok":
                result = comparison.scratch / "result"
                measured = comparison.measure(tool["command"], path, result)
                if measured["status"] == "ok" and name not in judged:
                    found = files_of(result)
                    judged[name] = comparison.judge("fit", truth, found[0]) if found else {
                        "status": "no result", "detail": "it ended well and wrote nothing"}
                    measured |= {"status": judged[name].get("status", "ok"), "detail": judged[name].get("detail", "")}
                runs[name].append(measured)
                note(f"  {shape} {data['votes']:,}, {name}: {measured['whole']:.2f} s {measured['status']} {measured['detail']}")
    path.unlink(), truth.unlink()
    rows = []
    for name, measured in runs.items():
        bad = [one for one in measured if one["status"] != "ok"]
        row = {"shape": shape, **data, "tool": name, "status": "ok", "detail": "", "runs": measured}
        if bad:
            row |= {"status": bad[0]["status"], "detail": bad[0]["detail"]}
            row |= {what: bad[0][what] for what in ("whole", "peak") if what in bad[0]}
        else:
            facts = judged[name]
            row |= {what: statistics.median(one[what] for one in measured) for what in ("whole", "cpu", "peak")}
            if "read" in facts:  # a fit file's own; of the run that was judged
                row["read_fit"] = facts.pop("read") + facts.pop("fit")
            elif "read" in measured[0]:
                row["read_fit"] = statistics.median(one["read"] + one["fit"] for one in measured)
            converged = facts.pop("converged", measured[0].get("converged", True))
            row |= facts | ({} if converged else {"status": "not converged", "detail": "its result is judged all the same"})
        rows.append(row)
        if row["status"] in ("timeout", "out of memory"):
            skip.setdefault(name, f"{row['status']} at {data['votes']:,} votes")
    return rows


def compare_intervals(comparison, votes, resamples):
    """Intervals for arena scores: from one fit's standard errors, and from refits of resampled votes. One run each."""
    path, truth, data = comparison.simulate("arena", votes, "intervals")
    adapters = [name for name in comparison.tools if "refits" in comparison.tools[name]]
    ways = [(name, "standard errors of one fit", comparison.tools[name]["command"])
            for name in ("voxpop-bt", "voxpop-rater") if name in comparison.tools]
    ways += [(name, "standard errors of one fit", comparison.adapter("intervals", name))
             for name in adapters if comparison.tools[name]["intervals"]]
    if "voxpop-bt" in comparison.tools:
        ways.append(("voxpop-bt", "refits", comparison.adapter("refit", "voxpop") + [resamples, comparison.voxpop]))
    ways += [(name, "refits", comparison.adapter("refit", name) + [resamples])
             for name in adapters if comparison.tools[name]["refits"]]
    rows, files = [], []
    for number, (name, way, command) in enumerate(ways):
        row = {"tool": name, "way": way, **data}
        if comparison.tools[name]["version"] is None:
            rows.append(row | {"status": "not installed", "detail": comparison.tools[name]["why_not"]})
            files.append(None)
            continue
        result = comparison.scratch / f"intervals{number}"
        row |= comparison.measure(command, path, result)
        files.append(next(iter(files_of(result)), None))
        rows.append(row)
        note(f"  intervals, {name}, {way}: {row['whole']:.2f} s {row['status']} {row['detail']}")
    # Widths are compared with those of voxpop's refits, or else of the first refits that were all done.
    whole = [file for row, file in zip(rows, files) if row["way"] == "refits" and row["status"] == "ok" and file]
    for row, file in zip(rows, files):
        if file and row["status"] in ("ok", "timeout"):
            row |= comparison.judge("intervals", truth, file, *whole[:1])
        if row["way"] == "refits" and row["status"] == "timeout":
            row["detail"] = f"timed out after {row.get('resamples', 0)} of {resamples}"
    return rows


# --- what is written


def table(headers, rows):
    lines = ["| " + " | ".join(headers) + " |", "|" + "---|" * len(headers)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def number(value, form):
    return "" if value is None else format(value, form)


def seconds(value):
    return "" if value is None else f"{value:.2f}" if value < 10 else f"{value:.0f}"


def share(value):
    return "" if value is None else f"{100 * value:.1f} %"


def status_text(row):
    text = "" if row["status"] == "ok" else f"**{row['status']}**"
    detail = row["detail"].replace("|", "\\|")
    return f"{text}: {detail}" if text and detail else text


def is_judged(row):
    return row["status"] == "ok" or "ece" in row


def markdown(report):
    here, settings = report["machine"], report["settings"]
    text = (f"# voxpop and other tools, {here['date']}\n\n"
            f"{here['processor']}, {here['cores']} cores ({here['instruction_set']}), {here['memory_gib']} GiB, {here['system']} "
            f"{here['kernel']}, {here['gpu'] or 'no GPU'}; load average at the start {here['load_average_at_start']}. Each run a "
            f"process of its own, at most {settings['timeout']:g} s and {settings['memory_limit_gib']:g} GiB; medians of "
            f"{settings['runs']}, runs of the tools taken in turn.\n\n`{report['command']}`\n\n"
            "whole: wall time of the process, s. read + fit: without imports and output. ordered: pairs whose better item "
            "comes first. ECE: predicted probability of a pair against the reference annotator's true one, 15 bins; each tool's "
            "by its own model. r: correlation of annotators' discrimination and side bias with the truth.\n")
    groups = {}
    for row in report["fits"]:
        groups.setdefault((row["shape"], row["votes"]), []).append(row)
    for (shape, votes), rows in groups.items():
        first = rows[0]
        text += (f"\n## {shape}, {votes:,} votes\n\n{SHAPE_TEXT[shape]}: {first['items']:,} items, {first['pairs']:,} pairs. "
                 f"Majority vote orders {share(first['pairs_ordered_majority'])}.\n\n")
        text += table(["tool", "whole", "read + fit", "peak MiB", "ordered", "ECE", "r discrimination", "r side bias", ""],
                      [[row["tool"], seconds(row.get("whole")) if is_judged(row) else "", seconds(row.get("read_fit")),
                        number(row["peak"] / 2**20, ".0f") if "peak" in row else "", share(row.get("pairs_ordered")),
                        number(row.get("ece"), ".4f"), number(row.get("discrimination_correlation"), ".2f"),
                        number(row.get("side_bias_correlation"), ".2f"), status_text(row)] for row in rows])
    if report["intervals"]:
        first = report["intervals"][0]
        text += (f"\n## 95 % intervals of scores: arena, {first['votes']:,} votes, {settings['resamples']} resamples\n\n"
                 "One run each. coverage: of the truth that the model tends to with ever more votes of these annotators (plain "
                 "Bradley-Terry: not the reference annotator's scores, which for `voxpop-rater` are the truth). In its unit: once "
                 "the truth is stretched by the one factor that fits best. width: against voxpop's own refits (or the first that "
                 "are complete); percentiles of 100 refits are uncertain by a few per cent.\n\n")
        text += table(["tool", "way", "whole", "peak MiB", "width, logits", "width ratio", "coverage", "in its unit", ""],
                      [[row["tool"], row["way"], seconds(row.get("whole")),
                        number(row["peak"] / 2**20, ".0f") if "peak" in row else "", number(row.get("width"), ".4f"),
                        number(row.get("width_ratio"), ".2f"), share(row.get("coverage")),
                        share(row.get("coverage_in_its_unit")), status_text(row)] for row in report["intervals"]])
    text += "\n## The tools\n\n" + table(
        ["tool", "version", "called as", "leaves out"],
        [[name, "not installed" if tool["version"] is None else tool["version"], f"`{tool['way']}`" if "--" in tool["way"] else
          tool["way"], tool["leaves_out"]] for name, tool in report["tools"].items()])
    return text


def write(report, folder):
    (folder / "results.json").write_text(json.dumps(report, indent=1) + "\n")
    (folder / "table.md").write_text(markdown(report))


def draw(folder, python):
    _, drawn = run([python, BENCH / "compare_plots.py", folder / "results.json"], timeout=600, memory_gib=16)
    if drawn["status"] != "ok":
        note(f"compare.py: no plots: {drawn['detail']}")


# --- the command line


def install():
    """All at once, so that pip finds versions that agree; where that fails one by one, so that one does not stop the rest."""
    subprocess.run([sys.executable, "-m", "venv", ENVIRONMENT], check=True)
    pip = [ENVIRONMENT / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    failed = {}
    if subprocess.run([*pip, "-r", BENCH / "requirements.txt"]).returncode != 0:
        for line in (BENCH / "requirements.txt").read_text().splitlines():
            if line and not line.startswith("#"):
                done = subprocess.run([*pip, line], stderr=subprocess.PIPE, text=True)
                if done.returncode != 0:
                    failed[line.split(">")[0]] = done.stderr.strip().splitlines()[-1]
    (ENVIRONMENT / "failed.json").write_text(json.dumps(failed))
    for name, why in failed.items():
        note(f"compare.py: {name} does not install: {why}")


def votes_count(text):
    return round(float(text.lower().rstrip("km")) * {"k": 10**3, "m": 10**6}.get(text.lower()[-1], 1))


def parse():
    def several(text):
        return [word for word in text.split(",") if word]

    environment = ENVIRONMENT / "bin" / "python"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--install", action="store_true", help="install the other tools (bench/requirements.txt) and end")
    parser.add_argument("--voxpop", default="voxpop", help="the voxpop program")
    parser.add_argument("--sizes", default="100k,1m,10m", help="votes, separated by commas (%(default)s)")
    parser.add_argument("--shapes", default="arena,rlhf", help="of arena, rlhf (%(default)s)")
    parser.add_argument("--tools", default="", type=several, help="names, separated by commas (all; 'none' is allowed)")
    parser.add_argument("--tool", default=[], action="append", metavar="NAME=COMMAND", help="a tool of your own (see above)")
    parser.add_argument("--runs", type=int, default=3, help="runs of each; medians are given (%(default)s)")
    parser.add_argument("--timeout", type=float, default=300, help="seconds a run may take (%(default)s)")
    parser.add_argument("--memory-limit", type=float, default=10, help="GiB a run may take (%(default)s)")
    parser.add_argument("--resamples", type=int, default=100, help="of the votes, for intervals; 0: no intervals (%(default)s)")
    parser.add_argument("--intervals-votes", default="1m", help="arena votes for intervals (%(default)s)")
    parser.add_argument("--python", default=str(environment if environment.exists() else sys.executable),
                        help="where the other tools are installed (%(default)s)")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("build/compare"), help="folder to write (%(default)s)")
    arguments = parser.parse_args()
    arguments.sizes = [votes_count(size) for size in several(arguments.sizes)]
    arguments.shapes = several(arguments.shapes)
    for shape in arguments.shapes:
        if shape not in SHAPES:
            parser.error(f"no shape '{shape}'; there are {', '.join(SHAPES)}")
    return arguments


def main():
    arguments = parse()
    if arguments.install:
        return install()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the running tool ends too
    arguments.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        comparison = Comparison(arguments, pathlib.Path(scratch))
        report = {"command": shlex.join(["bench/compare.py", *sys.argv[1:]]), "machine": machine(comparison),
                  "settings": {"runs": arguments.runs, "timeout": arguments.timeout, "resamples": arguments.resamples,
                               "memory_limit_gib": arguments.memory_limit, "python": platform.python_version()},
                  "tools": {name: {what: tool[what] for what in ("version", "way", "leaves_out")}
                            for name, tool in comparison.tools.items()},
                  "fits": [], "intervals": []}
        for shape in arguments.shapes:
            skip = {}
            for votes in sorted(arguments.sizes):
                report["fits"] += compare_fits(comparison, shape, votes, skip)
                write(report, arguments.out)  # what is measured stays, whatever comes
        if arguments.resamples > 0:
            report["intervals"] = compare_intervals(comparison, votes_count(arguments.intervals_votes), arguments.resamples)
        write(report, arguments.out)
        if report["fits"]:
            draw(arguments.out, arguments.python)
    print((arguments.out / "table.md").read_text())


if __name__ == "__main__":
    main()
