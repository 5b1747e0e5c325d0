"""What `voxpop export` writes, from outside: every format's rows against the fit and the texts, read by h5py, json and csv.

Usage: python export_test.py PATH_TO_VOXPOP [unittest arguments]
"""

import csv
import gzip
import json
import os
import shutil
import subprocess
import unittest

from program import VOXPOP, main, path, scratch, voxpop  # first: it skips where what follows is missing

import h5py
import numpy as np

ODD = 'He said "no"\n<script>alert(1)</script>\t\u65e5\u672c \\ , \u0001'


def write_lines(name, rows):
    opened = gzip.open if name.endswith(".gz") else open
    with opened(path(name), "wt", encoding="utf-8") as file:
        for row in rows:
            file.write((row if isinstance(row, str) else json.dumps(row, ensure_ascii=len(row["id"]) % 2 == 0)) + "\n")
    return path(name)


def read_lines(name):
    with open(path(name), encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def setUpModule():
    global fit, pairs, item_id, prompt_of, response, question
    voxpop("simulate", path("votes.h5"), "--prompts", 400, "--annotators", 20, "--votes-per-pair", 4, "--ties", 0.3,
           "--seed", 5)
    voxpop("fit", path("votes.h5"), "-o", path("fit.h5"))
    with h5py.File(path("fit.h5")) as file:
        pairs = {name: data[:] for name, data in file["pairs"].items()}
        item_id = file["items/id"].asstr()[:]
        prompt_id = file["prompts/id"].asstr()[:]
        prompt_of = dict(zip(item_id, prompt_id[file["items/prompt"][:]]))
    response = {item: f"{item} {ODD}" for item in item_id}
    question = {prompt: f"question {prompt} {ODD}" for prompt in prompt_id}
    write_lines("texts.jsonl", [{"id": i, "text": t, "tokens": [1, {"a": "}"}]} for i, t in reversed(response.items())]
                + ["", {"id": "unknown", "text": "x"}])
    write_lines("prompts.jsonl.gz", [{"text": t, "id": p} for p, t in question.items()])


def export(*arguments, format="trl", texts=True, status=0, out="rows.jsonl"):
    given = ["--texts", path("texts.jsonl"), "--prompt-texts", path("prompts.jsonl.gz")] if texts else []
    return voxpop("export", path("fit.h5"), "--format", format, *given, "-o", path(out), *arguments, status=status)


def expected(keep=None):
    """Rows of the pairs in `keep` (by default those that are neither tied nor even), worked out with numpy."""
    better = pairs["probability_better"]
    if keep is None:
        keep = (np.abs(better - 0.5) > 1e-6) & (2 * pairs["ties"] <= pairs["votes"])
    left = better >= 0.5
    chosen = item_id[np.where(left, pairs["left"], pairs["right"])]
    rejected = item_id[np.where(left, pairs["right"], pairs["left"])]
    p = np.where(left, pairs["probability"], 1 - pairs["probability"])
    return [(chosen[i], rejected[i], p[i], abs(pairs["margin"][i])) for i in np.flatnonzero(keep)]


def evidence():
    """(target of the chosen item, weight) of the same rows."""
    keep = (np.abs(pairs["probability_better"] - 0.5) > 1e-6) & (2 * pairs["ties"] <= pairs["votes"])
    target = np.where(pairs["probability_better"] >= 0.5, pairs["target"], 1 - pairs["target"])
    return list(zip(target[keep], pairs["weight"][keep]))


class Formats(unittest.TestCase):
    def check_rows(self, rows, chosen, rejected, prompt):
        wanted = expected()
        self.assertEqual(len(rows), len(wanted))
        self.assertGreater(len(rows), 500)
        self.assertLess(len(rows), len(pairs["left"]))
        for row, (winner, loser, p, _), (target, weight) in zip(rows, wanted, evidence()):
            self.assertEqual(chosen(row), response[winner])
            self.assertEqual(rejected(row), response[loser])
            self.assertEqual(prompt(row), question[prompt_of[winner]])
            self.assertAlmostEqual(row["p_chosen"], p, places=5)
            self.assertAlmostEqual(row["target"], target, places=5)
            self.assertAlmostEqual(row["weight"], weight, delta=1e-5 * weight)

    def test_trl_and_openrlhf(self):
        for format in "trl", "openrlhf":
            export("--margin-scale", 0.5, format=format)
            rows = read_lines("rows.jsonl")
            self.check_rows(rows, lambda r: r["chosen"], lambda r: r["rejected"], lambda r: r["prompt"])
            for row, (_, _, _, margin) in zip(rows, expected()):
                self.assertAlmostEqual(row["margin"], margin / 2, places=4)

    def test_axolotl(self):
        export(format="axolotl")
        rows = read_lines("rows.jsonl")
        self.check_rows(rows, lambda r: r["chosen"], lambda r: r["rejected"], lambda r: r["input"])
        self.assertTrue(all(row["system"] == "" and "margin" not in row for row in rows))

    def test_nemo_rl(self):
        export(format="nemo-rl")
        rows = read_lines("rows.jsonl")
        for row in rows:
            self.assertEqual([c["rank"] for c in row["completions"]], [0, 1])
            self.assertEqual(row["context"][0]["role"], "user")
            self.assertEqual(row["completions"][0]["completion"][0]["role"], "assistant")
            self.assertIn("task_name", row)
        self.check_rows(rows, lambda r: r["completions"][0]["completion"][0]["content"],
                        lambda r: r["completions"][1]["completion"][0]["content"], lambda r: r["context"][0]["content"])

    def test_nemo_aligner(self):
        for format in "nemo", "nemo-aligner":
            export(format=format)
            lines = read_lines("rows.jsonl")
            wanted = expected()
            self.assertEqual(len(lines), 2 * len(wanted))
            for i, (winner, loser, _, margin) in enumerate(wanted):
                grade = min(max(int(np.ceil(margin)), 1), 3)
                for line, item, label in (lines[2 * i], winner, grade), (lines[2 * i + 1], loser, -grade):
                    self.assertEqual(line["label"], label)
                    self.assertEqual(line["text"], "<extra_id_0>System\n\n<extra_id_1>User\n" + question[prompt_of[item]] +
                                     "\n<extra_id_1>Assistant\n" + response[item] + "\n<extra_id_2>")

    def test_margins_without_end(self):
        """The largest that a fit may hold, scaled: still numbers, and much better."""
        shutil.copyfile(path("fit.h5"), path("far.h5"))
        with h5py.File(path("far.h5"), "r+") as file:
            file["pairs/margin"][:] = 1e30
        for format in "jsonl", "nemo-aligner":
            voxpop("export", path("far.h5"), "--format", format, "--margin-scale", 1000, "-o", path("far.jsonl"))
            for row in read_lines("far.jsonl"):
                self.assertEqual(abs(row.get("margin", 1e33)), 1e33)
                self.assertEqual(abs(row.get("label", 3)), 3)
        with h5py.File(path("far.h5"), "r+") as file:
            file["pairs/margin"][3] = 1e31
        refused = voxpop("export", path("far.h5"), "--format", "jsonl", "-o", path("far.jsonl"), status=3)
        self.assertIn("'pairs/margin' row 3", refused.stderr)

    def test_csv_and_jsonl_say_everything(self):
        export(format="csv", out="rows.csv")
        with open(path("rows.csv"), newline="", encoding="utf-8") as file:
            table = list(csv.DictReader(file))
        export(format="jsonl")
        for row, line, (winner, loser, p, margin) in zip(table, read_lines("rows.jsonl"), expected(), strict=True):
            for one in row, line:
                self.assertEqual((one["chosen_id"], one["rejected_id"], one["prompt_id"]),
                                 (winner, loser, prompt_of[winner]))
                self.assertEqual((one["chosen"], one["rejected"], one["prompt"]),
                                 (response[winner], response[loser], question[prompt_of[winner]]))
                self.assertAlmostEqual(float(one["p_chosen"]), p, places=5)
                self.assertAlmostEqual(float(one["margin"]), margin, places=4)
                self.assertEqual(int(one["votes"]), 4)
                self.assertGreaterEqual(float(one["p_better"]), 0.5)

    def test_without_texts_ids_stand_in(self):
        done = export(texts=False)
        self.assertIn("ids take the place of texts", done.stderr)
        row, (winner, loser, _, _) = read_lines("rows.jsonl")[0], expected()[0]
        self.assertEqual((row["chosen"], row["rejected"], row["prompt"]), (winner, loser, prompt_of[winner]))
        export(format="jsonl", texts=False)
        self.assertNotIn("chosen", read_lines("rows.jsonl")[0])

    def test_messages_and_prompts_beside_responses(self):
        messages = {i: [{"role": "assistant", "content": t}] for i, t in response.items()}
        texts = write_lines("messages.jsonl", [{"id": i, "prompt": "Why?", "text": m} for i, m in messages.items()])
        for format in "trl", "nemo-rl":
            export("--texts", texts, format=format, texts=False)
            row, (winner, _, _, _) = read_lines("rows.jsonl")[0], expected()[0]
            if format == "trl":
                self.assertEqual((row["chosen"], row["prompt"]), (messages[winner], "Why?"))
            else:
                self.assertEqual(row["completions"][0]["completion"], messages[winner])
        done = export("--texts", texts, format="axolotl", texts=False, status=3)
        self.assertRegex(done.stderr, "the text of item '.*' is a list of messages, but this format needs strings")

    def test_texts_as_other_systems_write_them(self):
        export()
        rows = read_lines("rows.jsonl")
        with open(path("texts.jsonl"), "rb") as file:
            lines = file.read()
        half = lines.index(b"\n", len(lines) // 2) + 1
        with open(path("first.jsonl"), "wb") as first, gzip.open(path("second.jsonl.gz"), "wb") as second:
            first.write(b"\xef\xbb\xbf" + lines[:half].replace(b"\n", b"\r\n"))
            second.write(lines[half:].rstrip(b"\n"))
        export("--texts", path("first.jsonl"), path("second.jsonl.gz"), "--prompt-texts", path("prompts.jsonl.gz"), texts=False)
        self.assertEqual(read_lines("rows.jsonl"), rows)

    def test_either_items_prompt_serves(self):
        one_sided = [{"id": i, "text": "t", **({"prompt": "Q"} if i.endswith("r0") else {})} for i in item_id]
        texts = write_lines("p.jsonl", one_sided)
        done = export("--texts", texts, texts=False, status=3)
        self.assertRegex(done.stderr, "prompt 'p[0-9]+' of item '.*' has no text.*--prompt-texts FILE.*--drop-missing.*--no-prompts")
        self.assertEqual(len(done.stderr.splitlines()), 1)
        with_zero = sum("r0" in a + b for a, b, _, _ in expected())
        self.assertLess(with_zero, len(expected()))
        done = export("--texts", texts, "--drop-missing", "--json", texts=False)
        rows = read_lines("rows.jsonl")
        self.assertEqual({row["prompt"] for row in rows}, {"Q"})
        self.assertEqual(len(rows), with_zero)
        self.assertEqual(json.loads(done.stdout)["left_out_missing"], len(expected()) - with_zero)
        export("--texts", texts, "--no-prompts", texts=False)
        rows = read_lines("rows.jsonl")
        self.assertEqual(len(rows), len(expected()))
        self.assertFalse([row for row in rows if "prompt" in row])

    def test_trainers_need_prompts_tables_do_not(self):
        texts = write_lines("bare.jsonl", [{"id": i, "text": t} for i, t in response.items()])
        for format in "trl", "openrlhf", "axolotl", "nemo-rl", "nemo-aligner":
            done = export("--texts", texts, format=format, texts=False, status=3)
            self.assertRegex(done.stderr, "--no-prompts")
            self.assertEqual(export("--texts", texts, "--no-prompts", format=format, texts=False).stderr, "")
        for format in "csv", "jsonl":
            export("--texts", texts, format=format, texts=False)
        self.assertRegex(export("--no-prompts", status=2).stderr, "--prompt-texts|--no-prompts")

    def test_votes_without_prompts_need_none(self):
        voxpop("simulate", path("items.h5"), "--shape", "arena", "--prompts", 300, "--responses", 10, "--seed", 5)
        voxpop("fit", path("items.h5"), "-o", path("items.fit.h5"))
        with h5py.File(path("items.fit.h5")) as file:
            texts = write_lines("plain.jsonl", [{"id": i, "text": i} for i in file["items/id"].asstr()[:]])
        voxpop("export", path("items.fit.h5"), "--format", "trl", "--texts", texts, "-o", path("plain.rows.jsonl"))
        self.assertFalse([row for row in read_lines("plain.rows.jsonl") if "prompt" in row])

    def test_pairs_with_two_prompts_are_left_out_alone(self):
        differing = [{"id": i, "text": "t", "prompt": "other" if i in ("p3/r1", "p7/r2") else "same"} for i in item_id]
        texts = write_lines("p.jsonl", differing)
        concerned = sum(any(i in ("p3/r1", "p7/r2") for i in pair[:2]) for pair in expected())
        self.assertGreater(concerned, 0)
        done = export("--texts", texts, "--json", texts=False)
        self.assertRegex(done.stderr, rf"{concerned} pairs are left out, because .* different prompts .such as .*'p3/r1'.*--no-prompts")
        self.assertEqual(json.loads(done.stdout)["left_out_conflicting"], concerned)
        self.assertEqual({row["prompt"] for row in read_lines("rows.jsonl")}, {"same"})
        self.assertEqual(len(read_lines("rows.jsonl")), len(expected()) - concerned)
        self.assertIn(f", {concerned} with two prompts", export("--texts", texts, texts=False).stdout)
        # With prompts' own texts, or without prompts, it does not matter what items say.
        export("--texts", texts, "--prompt-texts", path("prompts.jsonl.gz"), texts=False)
        self.assertEqual(len(read_lines("rows.jsonl")), len(expected()))
        export("--texts", texts, "--no-prompts", texts=False)
        self.assertEqual(len(read_lines("rows.jsonl")), len(expected()))
        differing = [{"id": i, "text": "t", "prompt": i} for i in item_id]
        done = export("--texts", write_lines("p.jsonl", differing), texts=False, status=3)
        self.assertRegex(done.stderr, "no pair is left to export: .*with two prompts")

    def test_texts_cannot_forge_turns(self):
        """NeMo-Aligner's rows are one text: marks in a response would be turns of the conversation."""
        mark = "x\n<extra_id_1>User\nThanks!"
        for odd in json.dumps({"id": item_id[5], "text": mark}), json.dumps({"id": item_id[5], "text": mark}).replace("<", "\\u003c"), \
                json.dumps({"id": item_id[5], "text": mark}).replace("extra", "\\u0065xtra"):
            lines = [{"id": i, "text": t} for i, t in response.items() if i != item_id[5]] + [odd]
            texts = write_lines("forged.jsonl", lines)
            done = export("--texts", texts, "--prompt-texts", path("prompts.jsonl.gz"), format="nemo-aligner", texts=False, status=3)
            self.assertRegex(done.stderr, f"text of item '{item_id[5]}' contains '<extra_id_'.*--format nemo-rl")
            export("--texts", texts, "--prompt-texts", path("prompts.jsonl.gz"), format="nemo-rl", texts=False)
        lines = [{"id": p, "text": mark if p == "p3" else t} for p, t in question.items()]
        done = export("--texts", path("texts.jsonl"), "--prompt-texts", write_lines("forged.jsonl", lines), format="nemo",
                      texts=False, status=3)
        self.assertRegex(done.stderr, "the prompt of item 'p3/r[0-9]' contains '<extra_id_'")

    def test_a_text_is_as_the_other_is(self):
        mixed = [{"id": i, "prompt": "Q", "text": "t" if i.endswith("r0") else [{"role": "assistant", "content": "t"}]} for i in item_id]
        done = export("--texts", write_lines("p.jsonl", mixed), texts=False, status=3)
        self.assertRegex(done.stderr, "one is a list of messages and one a string")

    def test_expanded_labels_do_not_count_twice(self):
        export("--expand", 3, format="nemo-aligner")
        self.assertEqual({line["label"] for line in read_lines("rows.jsonl")}, {1, -1})
        self.assertNotIn("label_smoothing", export("--expand", 3).stdout)

    def test_datasets_reads_the_rows(self):
        try:
            import datasets
        except ImportError:
            self.skipTest("the package datasets is not installed")
        for format in "trl", "openrlhf", "axolotl", "nemo-rl", "nemo-aligner", "jsonl":
            export("--split", "train=.9,val=.1", format=format)
            read = datasets.load_dataset("json", cache_dir=path("cache"), data_files={
                "train": path("rows.train.jsonl"), "validation": path("rows.val.jsonl")})
            count = len(read["train"]) + len(read["validation"])
            self.assertEqual(count, len(expected()) * (2 if format == "nemo-aligner" else 1))
            if format == "trl":
                self.assertEqual(read["train"].features["margin"].dtype, "float64")


class VoteRows(unittest.TestCase):
    def test_each_vote_with_its_annotator(self):
        done = export(format="votes")
        rows = read_lines("rows.jsonl")
        with h5py.File(path("votes.h5")) as file, h5py.File(path("fit.h5")) as fit:
            left, right, annotator, preference = (file["comparisons"][name][:] for name in ("left", "right", "annotator", "preference"))
            people, known = fit["annotators/id"].asstr()[:], {name: fit["annotators"][name][:] for name in ("discrimination", "side_bias")}
        voted = np.flatnonzero(preference)
        self.assertEqual(len(rows), len(voted))
        self.assertIn(f"left out: {np.sum(preference == 0)} ties", done.stdout)
        for row, v in zip(rows[::97], voted[::97]):
            sign = np.sign(preference[v])
            self.assertEqual((row["chosen_id"], row["rejected_id"]), tuple(item_id[[left[v], right[v]][::sign]]))
            self.assertEqual(row["chosen"], response[row["chosen_id"]])
            self.assertEqual(row["prompt"], question[prompt_of[row["chosen_id"]]])
            self.assertEqual(row["annotator"], people[annotator[v]])
            self.assertAlmostEqual(row["discrimination"], known["discrimination"][annotator[v]], places=4)
            self.assertAlmostEqual(row["side_bias"], sign * known["side_bias"][annotator[v]], places=4)
            self.assertEqual(row["weight"], 1)

    def test_votes_that_do_not_count_are_left_out(self):
        with h5py.File(path("votes.h5")) as file, h5py.File(path("twice.h5"), "w") as out:
            for name in file:
                file.copy(name, out)
            out.attrs.update(file.attrs)
            for name in out["comparisons"]:
                both = np.concatenate([file["comparisons"][name][:], file["comparisons"][name][:50]])
                del out["comparisons"][name]
                out["comparisons"][name] = both
        voxpop("fit", path("twice.h5"), "-o", path("twice.fit.h5"), "--repeats", "first")
        counts = json.loads(voxpop("export", path("twice.fit.h5"), "--format", "votes", "-o", path("twice.jsonl"), "--json").stdout)
        self.assertGreater(counts["left_out_uncounted"], 20)
        self.assertEqual(counts["exported"] + counts["left_out_uncounted"] + counts["left_out_ties"], counts["votes"])

    def test_other_votes_are_refused(self):
        voxpop("simulate", path("other.h5"), "--prompts", 30, "--seed", 9)
        for votes, status in ((path("other.h5"), 3), (path("nowhere.h5"), 4), (path("votes.h5"), 0)):
            export("--votes", votes, format="votes", status=status)
        self.assertIn("was not fitted to the votes in", export("--votes", path("other.h5"), format="votes", status=3).stderr)
        export("--expand", 3, format="votes", status=2)
        export("--votes", path("votes.h5"), status=2)


class Selection(unittest.TestCase):
    def summary(self, *arguments):
        return json.loads(export("--json", *arguments).stdout)

    def test_counts_add_up(self):
        better = np.maximum(pairs["probability_better"], 1 - pairs["probability_better"])
        tied = 2 * pairs["ties"] > pairs["votes"]
        even = better < 0.5 + 1e-6
        flagged = pairs["flagged_votes"] > 0.25 * pairs["votes"]
        summary = self.summary("--min-probability", 0.8, "--max-flagged", 0.25)
        low = (better < 0.8) | even
        self.assertEqual(summary["left_out_ties"], tied.sum())
        self.assertEqual(summary["left_out_undecided"], (low & ~tied).sum())
        self.assertEqual(summary["left_out_flagged"], (flagged & ~low & ~tied).sum())
        self.assertGreater(summary["left_out_flagged"], 0)
        kept = ~(tied | low | flagged)
        self.assertEqual(summary["exported"], kept.sum())
        self.assertEqual(len(read_lines("rows.jsonl")), kept.sum())
        flips = np.minimum(pairs["probability"], 1 - pairs["probability"])[kept].mean()
        self.assertAlmostEqual(summary["label_smoothing"], flips, places=6)
        everything = self.summary("--keep-ties", "--keep-undecided")
        self.assertEqual(everything["exported"], len(better))
        self.assertEqual(self.summary("--keep-ties")["exported"], (~even).sum())

    def test_split_keeps_prompts_together_and_is_stable(self):
        summary = self.summary("--split", "train=.7,val=.2,test=.1", "--seed", 3)
        parts = {part["part"]: read_lines(f"rows.{part['part']}.jsonl") for part in summary["outputs"]}
        self.assertEqual([part["rows"] for part in summary["outputs"]], [len(rows) for rows in parts.values()])
        prompts = {part: {row["prompt"] for row in rows} for part, rows in parts.items()}
        self.assertFalse(prompts["train"] & prompts["val"] or prompts["train"] & prompts["test"] or
                         prompts["val"] & prompts["test"])
        self.assertAlmostEqual(len(prompts["train"]) / 400, 0.7, delta=0.08)
        before = read_lines("rows.val.jsonl")
        self.summary("--split", "train=.7,val=.2,test=.1", "--seed", 3, "--threads", 1)
        self.assertEqual(read_lines("rows.val.jsonl"), before)
        self.summary("--split", "train=.7,val=.2,test=.1", "--seed", 4)
        self.assertNotEqual(read_lines("rows.val.jsonl"), before)

    def test_a_part_without_rows_is_said(self):
        voxpop("simulate", path("arena.h5"), "--shape", "arena", "--prompts", 300, "--seed", 5)
        voxpop("fit", path("arena.h5"), "-o", path("arena.fit.h5"))
        done = voxpop("export", path("arena.fit.h5"), "--format", "trl", "-o", path("arena.jsonl"), "--split", "a=.5,b=.5")
        self.assertRegex(done.stderr, "note: --split: '[ab]' has no rows. All pairs of a prompt go to the same file")

    def test_expand_draws_rows_by_weight_and_target(self):
        self.summary("--expand", 10)
        rows = read_lines("rows.jsonl")
        mean_weight, at, off = pairs["weight"].mean(), 0, []
        for (winner, loser, _, _), (target, weight) in zip(expected(), evidence()):
            wanted = [10 * weight / mean_weight * share for share in (target, 1 - target)]
            for item, other, number in ((winner, loser, wanted[0]), (loser, winner, wanted[1])):
                drawn = 0
                while at < len(rows) and (rows[at]["chosen"], rows[at]["rejected"]) == (response[item], response[other]):
                    self.assertNotIn("margin", rows[at])
                    self.assertEqual(rows[at]["target"], 1)
                    self.assertAlmostEqual(rows[at]["weight"], mean_weight / 10, places=4)
                    drawn, at = drawn + 1, at + 1
                self.assertLess(abs(drawn - number), 1.0001)
                off.append(drawn - number)
        self.assertEqual(at, len(rows))
        self.assertLess(abs(np.mean(off)), 4 * np.std(off) / len(off) ** 0.5)

    def test_standard_output(self):
        done = voxpop("export", path("fit.h5"), "--format", "csv")
        lines = done.stdout.splitlines()
        self.assertTrue(lines[0].startswith("prompt_id,chosen_id,rejected_id,votes"))
        self.assertEqual(len(lines), 1 + len(expected()))
        self.assertIn("pairs exported", done.stderr)


class BadInput(unittest.TestCase):
    def refuse(self, lines, pattern, *arguments):
        texts = write_lines("bad.jsonl", lines)
        done = voxpop("export", path("fit.h5"), "--format", "trl", "--texts", texts, "-o", path("never.jsonl"), *arguments,
                      status=3)
        self.assertRegex(done.stderr, pattern)
        self.assertEqual(len(done.stderr.strip().splitlines()), 1)
        self.assertFalse([name for name in os.listdir(scratch) if name.startswith("never")])

    def test_texts(self):
        good = [{"id": i, "text": t} for i, t in response.items()]
        self.refuse(good[:2] + ["[1]"], r"bad.jsonl: line 3: not a JSON object")
        self.refuse(good[:2] + ['{"id": "x", "text": "a'], r"bad.jsonl: line 3: ")
        self.refuse(good[:2] + ['{"id": "x", "text": "\\ud800 \\q"}'], r"bad.jsonl: line 3: 'text' is not a valid JSON str")
        self.refuse(good[:2] + ['{"id": "x", "text": [1, }, 2]}'], r"bad.jsonl: line 3: ")
        self.refuse(good[:2] + ['{"id": "x", "text": "a"} {}'], r"bad.jsonl: line 3: more than one JSON object")
        self.refuse(good[:2] + ['{"id": "x", "text": 3}'], r"bad.jsonl: line 3: 'text' must be a string or a list")
        self.refuse(good[:2] + ['{"id": 18446744073709551615, "text": []}'], r"bad.jsonl: line 3: 'text' is an empty list")
        self.refuse(good[:2] + ['{"id": "x"}'], r"bad.jsonl: line 3: has no 'text'")
        self.refuse(good[:2] + ['{"text": "x"}'], r"bad.jsonl: line 3: has no 'id'")
        self.refuse(good + good[:1], rf"bad.jsonl: line {len(good) + 1}: '.*' already has a text")
        self.refuse(good[5:], r"item '.*' has no text in texts \(--texts\); add the text, or .*--drop-missing")
        texts = write_lines("some.jsonl", good[5:])
        done = export("--texts", texts, "--prompt-texts", path("prompts.jsonl.gz"), "--drop-missing", "--json", texts=False)
        self.assertGreater(json.loads(done.stdout)["left_out_missing"], 0)

    def test_usage(self):
        for arguments, pattern in [
                (["--split", "train=.5,val=.4"], "add up to 0.9; they must add up to 1"),
                (["--split", "train=.5,train=.5"], "'train' occurs twice"),
                (["--split", "a/b=1"], "is not NAME=SHARE"),
                (["--split", "train"], "is not NAME=SHARE"),
                (["--min-probability", "0.4"], "min-probability"),
                (["--expand", "0"], "expand")]:
            self.assertRegex(export(*arguments, status=2).stderr, pattern)
        self.assertRegex(voxpop("export", path("fit.h5"), "--format", "xml", status=2).stderr, "xml")
        self.assertRegex(export("-o", path("fit.h5"), status=2).stderr, "is an input and the output|-o")
        self.assertRegex(voxpop("export", path("fit.h5"), "--format", "trl", "--split", "a=.5,b=.5", status=2).stderr,
                         "--split writes several files; add -o")

    def test_files(self):
        done = voxpop("export", path("votes.h5"), "--format", "trl", status=3)
        self.assertRegex(done.stderr, "schema 'comparisons/1'; it must be a fit")
        done = voxpop("export", path("fit.h5"), "--format", "trl", "--texts", path("nowhere.jsonl"), status=4)
        self.assertRegex(done.stderr, "nowhere.jsonl: cannot open")
        for name, value, pattern in [("items/component", 1600, "'items/component' row 7 is 1600"),
                                     ("items/component", -1, "'items/component' row 7 is -1, but pair"),
                                     ("pairs/probability", 1.5, "'pairs/probability' row 7 is 1.5; it must be from 0 to 1"),
                                     ("pairs/margin", np.nan, "'pairs/margin' row 7 is nan"),
                                     ("pairs/left", 10**6, "'pairs/left' row 7 is 1000000; item indices run from 0"),
                                     ("annotators/flag", 17, "'annotators/flag' row 7 is 17; it must be from 0 to 7")]:
            shutil.copy(path("fit.h5"), path("damaged.h5"))
            with h5py.File(path("damaged.h5"), "r+") as file:
                column = file[name][:]
                column[7] = value
                del file[name]
                file[name] = column
            done = voxpop("export", path("damaged.h5"), "--format", "trl", status=3)
            self.assertIn(pattern, done.stderr)
        with h5py.File(path("damaged.h5"), "r+") as file:
            del file["pairs/ties"]
        done = voxpop("export", path("damaged.h5"), "--format", "trl", status=3)
        self.assertRegex(done.stderr, "pairs/ties|annotators/flag")
        self.assertEqual([name for name in os.listdir(scratch) if ".jsonl." in name and not name.endswith("gz")], [])

    def test_a_full_disk_leaves_nothing(self):
        def limited():
            import resource
            resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))

        done = subprocess.run([VOXPOP, "export", path("fit.h5"), "--format", "trl", "-o", path("full.jsonl"), "--split",
                               "a=.5,b=.5"], capture_output=True, text=True, preexec_fn=limited)
        self.assertEqual(done.returncode, 4, done.stderr)
        self.assertRegex(done.stderr, r"full\.[ab]\.jsonl: cannot write")
        self.assertFalse([name for name in os.listdir(scratch) if name.startswith("full")])


if __name__ == "__main__":
    main()
