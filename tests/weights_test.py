"""Votes that are not one vote each: counts, rankings, soft votes, repeats; and votes of unknown sides."""

import csv

import numpy as np
from program import h5py, main, path, unittest, voxpop

VOTES, FIT = path("votes.h5"), path("fit.h5")


def write_votes(left, right, preference, annotator, items, weight=None):
    with h5py.File(VOTES, "w") as file:
        file.attrs["voxpop_schema"] = "comparisons/1"
        file["comparisons/left"], file["comparisons/right"] = left, right
        file["comparisons/preference"] = np.asarray(preference, np.int8)
        file["comparisons/annotator"] = annotator
        if weight is not None:
            file["comparisons/weight"] = np.asarray(weight, np.float32)
        file["items/id"] = [f"i{i}" for i in range(items)]
        file["annotators/id"] = [f"a{a}" for a in range(max(annotator) + 1)]


def fit(*options, votes=VOTES):
    voxpop("fit", votes, "-o", FIT, "--quiet", *options)
    with h5py.File(FIT) as file:
        return {
            name: file[name][:]
            for name in (
                "items/id", "items/score", "pairs/left", "pairs/right", "pairs/votes", "pairs/wins_left", "pairs/probability",
                "pairs/margin", "pairs/margin_se", "annotators/votes", "annotators/discrimination", "annotators/side_bias",
                "annotators/side_bias_se", "annotators/flag", "votes/probability_correct",
            )
        }  # fmt: skip


class Weights(unittest.TestCase):
    def test_integer_weights_are_so_many_rows(self):
        random = np.random.default_rng(1)
        n = 3000
        prompt, left = random.integers(0, 60, n), random.integers(0, 4, n)
        right = (left + random.integers(1, 4, n)) % 4
        good = random.random(n) < 1 / (1 + np.exp(left - right))
        votes = 4 * prompt + left, 4 * prompt + right, np.where(good, 1, -1), random.integers(0, 12, n)
        weight = random.integers(1, 5, n)
        for model in "bt", "rater":
            with self.subTest(model):
                write_votes(*votes, 240, weight)
                weighed = fit("--model", model, "--repeats", "all")
                write_votes(*(np.repeat(column, weight) for column in votes), 240)
                repeated = fit("--model", model, "--repeats", "all")
                np.testing.assert_array_equal(weighed["pairs/votes"], repeated["pairs/votes"])
                np.testing.assert_array_equal(weighed["pairs/wins_left"], repeated["pairs/wins_left"])
                np.testing.assert_array_equal(weighed["annotators/votes"], repeated["annotators/votes"])
                for name in "pairs/probability", "annotators/discrimination", "items/score":
                    off = np.abs(weighed[name] - repeated[name]).max()
                    self.assertLess(off, 1e-6 if name == "pairs/probability" else 3e-5, name)

    def rankings(self, size, seed):
        """100 rankings of `size` of 10 items by normal errors, as the rows of a table; and the true margins."""
        random = np.random.default_rng(seed)
        truth = np.linspace(-1.5, 1.5, 10)
        with open(path("rankings.csv"), "w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["ranking", "who", "item", "place"])
            for ranking in range(100):
                some = random.choice(10, size, replace=False)
                heard = truth[some] + random.gumbel(size=size)  # Plackett-Luce: each pair alone is Bradley-Terry's
                for place, k in enumerate(np.argsort(-heard), 1):
                    table.writerow([ranking, f"u{ranking % 20}", f"i{some[k]}", place])
        return truth

    def test_intervals_of_rankings_cover_the_truth(self):
        for size in 5, 9:
            covered, pairs = 0, 0
            for seed in range(40):
                truth = self.rankings(size, seed)
                voxpop("import", path("rankings.csv"), "-o", VOTES, "--quiet", "--rank", "place", "--item", "item",
                       "--group-by", "ranking", "--annotator", "who")  # fmt: skip
                found = fit("--model", "bt")
                quality = np.array([truth[int(name[1:])] for name in found["items/id"]])
                margin = quality[found["pairs/left"]] - quality[found["pairs/right"]]
                covered += (np.abs(found["pairs/margin"] - margin) < 1.96 * found["pairs/margin_se"]).sum()
                pairs += len(margin)
            print(f"rankings of {size}: 95 % intervals hold {100 * covered / pairs:.1f} % of {pairs} margins")
            self.assertGreater(covered / pairs, 0.90)
            self.assertLess(covered / pairs, 0.98)

    def test_margins_of_rankings_are_logits_of_votes(self):
        """With own views, too, a margin is what another annotator's vote would follow: the truth's slope on it is 1."""
        for size in 4, 5, 9:
            both, squares = 0, 0
            for seed in range(5):
                truth = self.rankings(size, seed)
                voxpop("import", path("rankings.csv"), "-o", VOTES, "--quiet", "--rank", "place", "--item", "item",
                       "--group-by", "ranking", "--annotator", "who")  # fmt: skip
                found = fit()
                quality = np.array([truth[int(name[1:])] for name in found["items/id"]])
                margin = found["pairs/margin"].astype(float)
                both += (margin * (quality[found["pairs/left"]] - quality[found["pairs/right"]])).sum()
                squares += (margin**2).sum()
            print(f"rankings of {size}: slope of the truth on margins {both / squares:.3f}")
            self.assertTrue(0.85 < both / squares < 1.15, both / squares)

    def test_a_bot_on_one_pair_is_one_judgement(self):
        random = np.random.default_rng(3)
        truth = np.linspace(1, -1, 6)
        left = random.integers(0, 6, 900)
        right = (left + random.integers(1, 6, 900)) % 6
        preference = np.where(random.random(900) < 1 / (1 + np.exp(truth[right] - truth[left])), 1, -1)
        votes = [left, right, preference, random.integers(0, 15, 900)]
        bot = [np.full(400, 3), np.full(400, 2), np.full(400, 1), np.full(400, 15)]  # for the worse of the two
        write_votes(*(np.concatenate(columns) for columns in zip(votes, bot)), 6)
        found = fit()
        flags = {"ok": 0, "too_few_votes": 5}
        self.assertEqual(found["annotators/flag"][15], flags["too_few_votes"])
        self.assertEqual(found["annotators/votes"][15], 400)
        self.assertGreater(found["items/score"][2], found["items/score"][3])
        self.assertEqual(fit("--repeats", "all")["annotators/flag"][15], flags["too_few_votes"])

    def test_judgements_may_have_any_numbers(self):
        random = np.random.default_rng(4)
        act = np.repeat(np.arange(100), 3)  # each three items by all their pairs
        items = np.array([random.choice(12, 3, replace=False) for _ in range(100)])
        left, right = items[:, [0, 0, 1]].ravel(), items[:, [1, 2, 2]].ravel()
        margins = []
        for numbers in act, act * 10**15 - 2**62, 255 - act % 256, np.full(300, -1), act:
            write_votes(left, right, np.ones(300), act % 7, 12)
            with h5py.File(VOTES, "a") as file:
                file["comparisons/judgement"] = numbers
            margins.append(fit("--model", "bt")["pairs/margin_se"])
        for same in 1, 2, 4:
            np.testing.assert_array_equal(margins[0], margins[same])
        self.assertGreater(np.abs(margins[0] - margins[3]).max(), 0.01)

    def test_a_repeat_that_does_not_count_has_no_label(self):
        write_votes([0, 0, 1], [1, 1, 2], [1, -1, 1], [0, 0, 1], 3)
        found = fit("--repeats", "last")
        np.testing.assert_array_equal(np.isnan(found["votes/probability_correct"]), [True, False, False])
        np.testing.assert_array_equal(found["pairs/votes"], [1, 1])


class UnknownSides(unittest.TestCase):
    def test_winner_and_loser_do_as_well_as_sides(self):
        sided, table = path("sided.h5"), path("winners.csv")
        voxpop("simulate", sided, "--prompts", 3000, "--annotators", 100, "--votes-per-pair", 3, "--seed", 5,
               "--mix", "good=.8,noisy=.15,adversary=.05", "--quiet")  # fmt: skip
        with h5py.File(sided) as file:
            items, who = file["items/id"].asstr()[:], file["annotators/id"].asstr()[:]
            left, right, preference, annotator = (
                file["comparisons/" + name][:] for name in ("left", "right", "preference", "annotator")
            )
            truth = dict(zip(items, file["truth/score"][:]))
        won = preference > 0
        with open(table, "w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["better", "worse", "annotator"])
            rows.writerows(zip(items[np.where(won, left, right)], items[np.where(won, right, left)], who[annotator]))
        voxpop("import", table, "-o", VOTES, "--winner", "better", "--loser", "worse", "--quiet")
        right_share = {}
        for name, votes in ("sides", sided), ("winners", VOTES):
            found = fit("--repeats", "all", votes=votes)
            names = [item.decode() for item in found["items/id"]]
            gap = np.array([truth[names[l]] - truth[names[r]] for l, r in zip(found["pairs/left"], found["pairs/right"])])
            right_share[name] = np.mean((found["pairs/probability"] > 0.5) == (gap > 0))
            if name == "winners":
                self.assertTrue((found["annotators/side_bias"] == 0).all())
                self.assertTrue(np.isnan(found["annotators/side_bias_se"]).all())
                self.assertNotIn(3, found["annotators/flag"])  # side_clicker
        print(f"pairs in true order: {right_share}")
        self.assertLess(right_share["sides"] - right_share["winners"], 0.003)

    def test_nobody_has_a_side_bias_where_none_is_to_be_learnt(self):
        voxpop("simulate", VOTES, "--prompts", 300, "--annotators", 20, "--mix", "good=.5,clicker=.5", "--quiet")
        self.assertGreater(np.abs(fit()["annotators/side_bias"]).max(), 1)
        found = fit("--no-side-bias")
        self.assertTrue((found["annotators/side_bias"] == 0).all())
        self.assertTrue(np.isnan(found["annotators/side_bias_se"]).all())

    def test_files_with_and_without_sides_go_together(self):
        voxpop("simulate", path("known.h5"), "--prompts", 300, "--annotators", 20, "--mix", "good=.5,clicker=.5", "--quiet")
        with h5py.File(path("known.h5")) as file, h5py.File(path("unknown.h5"), "w") as other:
            for name in "comparisons", "items", "prompts":
                file.copy(name, other)
            other["annotators/id"] = [f"other{a}" for a in range(20)]
            other.attrs["voxpop_schema"] = "comparisons/1"
            other["comparisons"].attrs["sides"] = "unknown"
        voxpop("fit", path("known.h5"), path("unknown.h5"), "-o", FIT, "--quiet")
        with h5py.File(FIT) as file:
            bias, error = file["annotators/side_bias"][:], file["annotators/side_bias_se"][:]
        self.assertGreater(np.abs(bias[:20]).max(), 1)
        self.assertTrue((bias[20:] == 0).all() and np.isnan(error[20:]).all() and not np.isnan(error[:20]).any())


if __name__ == "__main__":
    main()
