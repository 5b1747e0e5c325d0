"""Votes in several files are one data set.

Usage: python several_files_test.py PATH_TO_VOXPOP [unittest arguments]
"""

import os

from program import main  # first: it skips where what follows is missing
from command_line import CliTest, changed, plain_votes, read, read_provenance, run, succeed, write_votes

import numpy as np


class SeveralFiles(CliTest):
    def split(self, votes):
        """Writes the votes as two files, each with only the items and annotators it needs, in orders of its own."""
        columns = {
            name: column
            for name, column in zip(
                ("left", "right", "annotator", "preference"),
                read(votes, "comparisons/left", "comparisons/right", "comparisons/annotator", "comparisons/preference"),
            )
        }
        item_ids, prompt, prompt_ids, annotator_ids = read(
            votes, "items/id", "items/prompt", "prompts/id", "annotators/id"
        )
        rng = np.random.default_rng(1)
        half = rng.random(len(columns["left"])) < 0.4
        paths = []
        for name, take in (("one.h5", half), ("two.h5", ~half)):
            part = {c: column[take].astype(np.int64) for c, column in columns.items()}
            items = rng.permutation(np.unique([part["left"], part["right"]]))
            annotators = rng.permutation(np.unique(part["annotator"]))
            prompts = rng.permutation(np.unique(prompt[items]))

            def rows(old, table):
                place = np.full(max(old.max(), table.max()) + 1, -1)
                place[table] = np.arange(len(table))
                return place[old]

            paths.append(
                write_votes(
                    self.path(name),
                    {
                        "comparisons/left": rows(part["left"], items),
                        "comparisons/right": rows(part["right"], items),
                        "comparisons/annotator": rows(part["annotator"], annotators),
                        "comparisons/preference": part["preference"].astype("i1"),
                        "items/id": item_ids[items],
                        "items/prompt": rows(prompt[items].astype(np.int64), prompts),
                        "prompts/id": prompt_ids[prompts],
                        "annotators/id": annotator_ids[annotators],
                    },
                )
            )
        return paths, np.concatenate([np.flatnonzero(half), np.flatnonzero(~half)])

    def by_id(self, path, group, *columns):
        values = read(path, *(f"{group}/{column}" for column in columns))
        return dict(zip(read(path, f"{group}/id").tolist(), zip(*values)))

    def test_two_files_are_one_data_set(self):
        votes, whole, both = self.path("votes.h5"), self.path("whole.h5"), self.path("both.h5")
        succeed(
            "simulate",
            votes,
            "--prompts",
            300,
            "--responses",
            4,
            "--pairs-per-prompt",
            3,
            "--votes-per-pair",
            4,
            "--annotators",
            20,
            "--ties",
            0.1,
            "--seed",
            3,
        )
        parts, order = self.split(votes)
        succeed("fit", votes, "-o", whole)
        succeed("fit", *parts, "-o", both)

        self.assertEqual([source["path"] for source in read_provenance(both)["inputs"]], parts)
        expected, found = (self.by_id(path, "items", "score", "std_error", "votes") for path in (whole, both))
        for item, (score, error, count) in expected.items():
            if count == 0:
                continue  # neither half has it
            # Order decides by rounding where a step is cut short, and so where the fit ends, within what counts as settled.
            np.testing.assert_allclose(found[item][:2], (score, error), atol=0.03 * error)
            self.assertEqual(found[item][2], count)
        self.assertEqual(len(found), sum(count > 0 for _, _, count in expected.values()))

        expected, found = (
            self.by_id(path, "annotators", "discrimination", "side_bias", "votes") for path in (whole, both)
        )
        for annotator, values in expected.items():
            if values[2] > 0:
                np.testing.assert_allclose(found[annotator][:2], values[:2], atol=0.01)
                self.assertEqual(found[annotator][2], values[2])

        def pairs(path):
            ids = read(path, "items/id").tolist()
            return {
                frozenset((ids[left], ids[right])): (votes, wins if ids[left] < ids[right] else votes - wins)
                for left, right, votes, wins in zip(
                    *read(path, "pairs/left", "pairs/right", "pairs/votes", "pairs/wins_left")
                )
            }

        self.assertEqual(pairs(both), pairs(whole))
        np.testing.assert_allclose(
            read(both, "votes/probability_correct"), read(whole, "votes/probability_correct")[order], atol=0.01
        )

    def test_the_file_at_fault_is_named(self):
        good = write_votes(self.path("good.h5"), plain_votes())
        bad = write_votes(self.path("bad.h5"), changed("comparisons/preference", 57, 99))
        for inputs in ((good, bad), (bad, good)):
            self.assert_one_line(
                run("fit", *inputs, "-o", self.path("out.h5")), 3, bad, "comparisons/preference", "row 57", 99
            )
        self.assert_one_line(run("fit", good, self.path("none.h5"), "-o", self.path("out.h5")), 4, self.path("none.h5"))
        self.assertEqual(sorted(os.listdir(self.folder)), ["bad.h5", "good.h5"])

    def test_an_item_of_two_prompts_in_two_files(self):
        good = write_votes(self.path("good.h5"), plain_votes())
        columns = plain_votes()
        columns["prompts/id"] = columns["prompts/id"][::-1]
        other = write_votes(self.path("other.h5"), columns)
        self.assert_one_line(run("check", good, other), 3, other, "items/prompt", "row 0", "item0")


if __name__ == "__main__":
    main()
