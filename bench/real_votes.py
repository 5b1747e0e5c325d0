"""Held-out log loss of every model on real votes, by both kinds of folds: the tables of docs/results.md.

Usage: python bench/real_votes.py --voxpop build/quickstart/voxpop --data FOLDER [--only NAME]

`--before PROGRAM` adds what another version's rater says of the same votes, where it can. FOLDER holds mtbench/mtbench.csv, pandalm/pandalm.csv, readinglevel/readinglevel.csv, llmfao/llmfao_responses.csv and
wmt12/wmt12.csv.gz. Prints Markdown.
"""

import argparse
import json
import os
import subprocess
import tempfile

TABLES = {
    "mtbench": "mtbench/mtbench.csv",
    "pandalm": "pandalm/pandalm.csv",
    "readinglevel": "readinglevel/readinglevel.csv",
    "llmfao_responses": "llmfao/llmfao_responses.csv",
    "wmt12": "wmt12/wmt12.csv.gz",
}


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def with_error(estimate, sign=""):
    return f"{estimate['value']:{sign}.4f} ± {estimate['std_error']:.4f}"


def evaluate(program, votes, *options):
    command = (program, "evaluate", votes, "--repeats", "all", "--json", "--quiet", *options)
    done = subprocess.run(command, capture_output=True, text=True)
    return json.loads(done.stdout) if done.returncode == 0 else None


def print_table(told, before):
    print("| model | log loss | minus bt | accuracy | slope | ECE | by chance (95 %) | all answers |")
    print("|---|---|---|---|---|---|---|---|")
    minus_bt = {row["model"]: with_error(row, "+") for row in told["log_loss_differences"] if row["minus"] == "bt"}
    minus_bt.update(
        {
            row["minus"]: with_error({"value": -row["value"], "std_error": row["std_error"]}, "+")
            for row in told["log_loss_differences"]
            if row["model"] == "bt"
        }
    )
    rows = {name: row for name, row in told["models"].items() if not name.endswith("*")}
    if before:
        rows["rater, before"] = before["models"]["rater"]
    for model, row in rows.items():
        ece = row["ece"]
        slope = told["models"].get(model + "*", {}).get("slope")
        answers = with_error(row["log_loss_all_answers"]) if "log_loss_all_answers" in row else "-"
        print(
            f"| {model}{'' if row['converged'] else ' (not converged)'} | {with_error(row['log_loss'])} "
            f"| {minus_bt.get(model, '')} "
            f"| {100 * row['accuracy']['value']:.2f} ± {100 * row['accuracy']['std_error']:.2f} % "
            f"| {'' if slope is None else f'{slope:.3f}'} "
            f"| {ece['value']:.4f} | {ece['by_chance']:.4f} (< {ece['by_chance_high']:.4f}) | {answers} |"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--voxpop", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--before")
    parser.add_argument("--only", choices=TABLES)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name, table in TABLES.items():
            if arguments.only not in (None, name):
                continue
            votes = os.path.join(folder, "votes.h5")
            # There models are judged, on many prompts.
            reading = ["--prompt", ""] if table.endswith("llmfao.csv") else []
            run(arguments.voxpop, "import", os.path.join(arguments.data, table), "-o", votes, "--quiet", *reading)
            for folds in "vote", "block":
                for sources in "without sources", "with sources":
                    ignore = ["--ignore", "sources"] if sources == "without sources" else []
                    told = evaluate(arguments.voxpop, votes, "--calibrate", "--folds-by", folds, *ignore)
                    before = None
                    if arguments.before and folds == "vote" and ignore:
                        before = evaluate(arguments.before, votes, "--models", "rater")
                    print(f"\n### {name}, folds by {folds}, {sources}\n", flush=True)
                    print(f"{told['votes']} votes, {told['decided_votes']} decided; standard errors over {told['std_errors_over']}.\n")
                    print_table(told, before)


if __name__ == "__main__":
    main()
