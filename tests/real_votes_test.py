"""Votes as people give them, drawn here from known truths: habits of ties, and views of items that are an annotator's own."""

import json

import numpy as np
from program import h5py, main, path, unittest, voxpop

VOTES, FIT = path("votes.h5"), path("fit.h5")


def logistic(x):
    return 1 / (1 + np.exp(-x))


def write_votes(left, right, preference, annotator, items, annotators, judgement=None):
    with h5py.File(VOTES, "w") as file:
        file.attrs["voxpop_schema"] = "comparisons/1"
        file["comparisons/left"], file["comparisons/right"] = left, right
        file["comparisons/preference"] = np.asarray(preference, np.int8)
        file["comparisons/annotator"] = annotator
        if judgement is not None:
            file["comparisons/judgement"] = judgement
        file["items/id"] = [f"i{i}" for i in range(items)]
        file["annotators/id"] = [f"a{a}" for a in range(annotators)]


def fit(*options):
    voxpop("fit", VOTES, "-o", FIT, "--quiet", *options)
    out = {}
    with h5py.File(FIT) as file:
        file.visititems(lambda name, node: out.update({name: node[:]}) if isinstance(node, h5py.Dataset) else None)
    return out


def calibration_error(p, came_true):
    bins = np.minimum((p * 15).astype(int), 14)
    return np.abs(np.bincount(bins, p - came_true, 15)).sum() / len(p)


class TieHabits(unittest.TestCase):
    """3,000 prompts of four responses, three pairs each, three votes a pair by 150 annotators, of whom 30 % are bad."""

    def simulate(self, seed, annotator_sd, prompt_sd):
        random = np.random.default_rng(seed)
        prompts, annotators = 3000, 150
        score = random.normal(0, 1.5, 4 * prompts)
        every = np.array([(a, b) for a in range(4) for b in range(a + 1, 4)])
        pick = np.argsort(random.random((prompts, 6)), 1)[:, :3]
        pairs = every[pick.ravel()] + 4 * np.repeat(np.arange(prompts), 3)[:, None]
        turned = random.random(len(pairs)) < 0.5
        pairs[turned] = pairs[turned][:, ::-1]
        pairs = np.repeat(pairs, 3, 0)
        work = random.pareto(1.5, annotators) + 0.2
        annotator = random.choice(annotators, len(pairs), p=work / work.sum())
        kind = random.choice(4, annotators, p=[0.7, 0.15, 0.1, 0.05])
        discrimination = np.select(
            [kind == 0, kind == 1, kind == 2], [random.lognormal(0.2, 0.3, annotators), 0.35, 0], -1.0
        )
        side_bias = np.where(kind == 2, random.choice([-2.0, 2.0], annotators), random.normal(0, 0.15, annotators))
        own, of_prompt = random.normal(-0.4, annotator_sd, annotators), random.normal(0, prompt_sd, prompts)
        logit = (
            discrimination[annotator] * (score[pairs[:, 0]] - score[pairs[:, 1]]) + side_bias[annotator]
        )
        habit = logistic(own[annotator] + of_prompt[pairs[:, 0] // 4])
        p = logistic(logit)
        tie = random.random(len(p)) < 4 * habit * p * (1 - p)
        preference = np.where(tie, 0, np.where(random.random(len(p)) < p, 1, -1))
        write_votes(pairs[:, 0], pairs[:, 1], preference, annotator, 4 * prompts, annotators)
        return score, discrimination, own, np.bincount(annotator, minlength=annotators)

    def test_intervals_cover_the_truth(self):
        for seed in 1, 2:
            score, discrimination, own, votes = self.simulate(seed, 1, 0.8)
            got = fit()
            unit = np.median(discrimination[votes >= 50])
            off = (got["annotators/discrimination"] - discrimination / unit) / got["annotators/discrimination_se"]
            covered = np.mean(np.abs(off[votes > 0]) < 1.96)
            many = votes > 20
            together = np.corrcoef(got["annotators/discrimination"][many], discrimination[many])[0, 1]
            habit_off = (got["annotators/tie_habit"] - logistic(own)) / got["annotators/tie_habit_se"]
            habits_covered = np.mean(np.abs(habit_off[many]) < 1.96)
            true = score[got["pairs/left"]] - score[got["pairs/right"]]
            ece = calibration_error(got["pairs/probability"], logistic(unit * true))
            better = calibration_error(got["pairs/probability_better"], true > 0)
            print(
                f"ties, seed {seed}: discrimination covered {covered:.3f}, r {together:.3f}; habits covered "
                f"{habits_covered:.3f}; ECE probability {ece:.4f}, better {better:.4f}"
            )
            self.assertGreaterEqual(covered, 0.90)
            self.assertGreaterEqual(together, 0.88)
            self.assertGreaterEqual(habits_covered, 0.88)
            self.assertLessEqual(ece, 0.02)
            self.assertLessEqual(better, 0.025)

    def test_prompts_habits_are_found(self):
        self.simulate(3, 0.5, 0)
        alike = fit()["components/tie_habit"]
        self.simulate(3, 0.5, 1)
        differ = fit()["components/tie_habit"]
        self.assertLess(alike.std(), 0.03)
        self.assertGreater(differ.std(), 0.05)


class Rankings(unittest.TestCase):
    """900 sets of six items; two annotators of 60 rank five of them each, by their own view of each item."""

    def simulate(self, seed):
        random = np.random.default_rng(seed)
        sets, annotators, view = 900, 60, 1
        score = random.normal(0, 1, (sets, 6))
        discrimination = random.lognormal(0.7, 0.3, annotators)
        rows = []
        for ranking in range(2 * sets):
            annotator, some = random.integers(annotators), random.choice(6, 5, replace=False)
            seen = score[ranking // 2, some] + random.normal(0, view, 5)
            said = discrimination[annotator] * seen + random.gumbel(0, 0.3, 5)
            for i in range(5):
                for j in range(i + 1, 5):
                    first, second = 6 * (ranking // 2) + some[[i, j]]
                    rows.append((first, second, 1 if said[i] > said[j] else -1, annotator, ranking))
        left, right, preference, annotator, judgement = np.array(rows).T
        return score.ravel(), (left, right, preference, annotator, 6 * sets, annotators), judgement

    def judge(self, score, got):
        """Calibration error of probability_better, and the share of margins whose 95 % interval holds the truth."""
        with h5py.File(FIT) as file:
            unit = json.loads(file.attrs["provenance"])["hyperparameters"]["score_unit"]
        true = score[got["pairs/left"]] - score[got["pairs/right"]]
        covered = np.abs(got["pairs/margin"] / unit - true) < 1.96 * got["pairs/margin_se"] / unit
        return calibration_error(got["pairs/probability_better"], true > 0), covered.mean()

    def test_of_own_views_are_calibrated(self):
        for seed in 1, 2:
            for with_judgement in True, False:
                score, votes, judgement = self.simulate(seed)
                write_votes(*votes, judgement if with_judgement else None)
                better, covered = self.judge(score, fit())
                print(f"rankings, seed {seed}, judgements {with_judgement}: ECE {better:.4f}, covered {covered:.3f}")
                self.assertLessEqual(better, 0.025)
                self.assertTrue(0.92 <= covered <= 0.97, covered)

    def test_without_views_are_too_sure(self):
        score, votes, _ = self.simulate(1)
        write_votes(*votes)
        better, covered = self.judge(score, fit("--views", "off"))
        print(f"rankings, views off: ECE {better:.4f}, covered {covered:.3f}")
        self.assertGreater(better, 0.05)
        self.assertLess(covered, 0.9)


if __name__ == "__main__":
    main()
