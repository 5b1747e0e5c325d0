"""Known answers, trusted annotators, rings and swapped vendors: what turns a fit round, and what must not."""

import json
import pathlib
import sys

import numpy as np
from program import h5py, main, path, unittest, voxpop

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "bench"))
import ring  # noqa: E402

VOTES, FIT, GOLD, TRUST = path("votes.h5"), path("fit.h5"), path("gold.csv"), path("trust.csv")


def fit(*options, status=0):
    done = voxpop("fit", VOTES, "-o", FIT, "--json", "--quiet", *options, status=status)
    return json.loads(done.stdout) if status == 0 else done


def kinds(told):
    return {finding["kind"]: finding["level"] for finding in told["findings"]}


def read(file, *names):
    with h5py.File(file) as f:
        return [f[name][:] for name in names]


def simulate(mix, *options):
    voxpop("simulate", VOTES, "--prompts", 3000, "--pairs-per-prompt", 3, "--votes-per-pair", 3, "--annotators", 60,
           "--mix", mix, "--seed", 1, "--quiet", *options)  # fmt: skip
    return read(VOTES, "truth/score")[0]


def ece(probability, difference, bins=15):
    truth = 1 / (1 + np.exp(-difference))
    place = np.minimum((probability * bins).astype(int), bins - 1)
    return np.abs(np.bincount(place, probability - truth, bins)).sum() / len(probability)


def calibration(score):
    left, right, probability = read(FIT, "pairs/left", "pairs/right", "pairs/probability")
    return ece(probability.astype(float), score[left] - score[right])


class Adversaries(unittest.TestCase):
    """Sixty of a hundred annotators vote the other way round: the votes alone say that they are right."""

    @classmethod
    def setUpClass(cls):
        cls.score = simulate("good=.4,adversary=.6")
        cls.names, cls.kind = read(VOTES, "annotators/id", "truth/kind")

    def test_votes_alone_are_the_wrong_way_round_and_say_so(self):
        told = fit("--force")
        self.assertLess(ring.ordered(FIT, self.score)[0], 0.4)
        self.assertTrue({"two_camps", "sign_unknown"} & kinds(told).keys(), kinds(told))
        self.assertIn("do_not_train", kinds(told).values())

    def test_fifty_known_pairs_turn_it_round(self):
        ring.write_gold(GOLD, VOTES, self.score, 50)
        ids = read(VOTES, "items/id")[0]
        row = {name.decode(): i for i, name in enumerate(ids)}
        with open(GOLD, encoding="utf-8") as file:
            pairs = [line.strip().split(",") for line in file][1:]
        told = fit("--gold", GOLD)
        self.assertGreater(ring.ordered(FIT, self.score)[0], 0.8)
        self.assertTrue(told["sign"]["told"])
        self.assertGreater(told["sign"]["known_sds"], 2)
        gamma, votes, right, low, high, known = read(
            FIT, "annotators/discrimination", "annotators/gold_votes", "annotators/gold_right", "annotators/gold_right_low",
            "annotators/gold_right_high", "gold/left")  # fmt: skip
        self.assertEqual(len(known), 50)
        good = self.kind == b"good"
        self.assertTrue(np.all(gamma[good] > 0) and np.all(gamma[~good] < 0))
        # Counted here: each annotator's votes on those pairs.
        expected = np.zeros((len(votes), 2))
        answer = {frozenset((row[a], row[b])): row[a] if way == "left" else row[b] for a, b, way in pairs}
        for left, right_item, who, way in zip(*read(VOTES, *(f"comparisons/{c}" for c in ("left", "right", "annotator", "preference")))):
            better = answer.get(frozenset((left, right_item)))
            if better is not None and way != 0:
                expected[who] += 1, better == (left if way > 0 else right_item)
        np.testing.assert_array_equal(votes, expected[:, 0])
        some = votes > 0
        np.testing.assert_allclose(right[some], expected[some, 1] / expected[some, 0], rtol=1e-6)
        self.assertTrue(np.all(low[some] <= right[some] + 1e-6) and np.all(right[some] <= high[some] + 1e-6))
        self.assertTrue(np.all(np.isnan(right[~some])))
        # What reads fits reads this one.
        voxpop("report", FIT, "-o", path("report.html"))
        voxpop("next", FIT, "-o", path("next.csv"), "--budget", 5)
        voxpop("fit", VOTES, "-o", path("again.h5"), "--warm-start", FIT, "--quiet")

    def test_five_trusted_annotators_turn_it_round(self):
        voters = read(VOTES, "comparisons/annotator")[0]
        busiest = np.argsort(-np.bincount(voters, minlength=len(self.names)) * (self.kind == b"good"))[:5]
        with open(TRUST, "w", encoding="utf-8") as file:
            file.write("annotator\n" + "".join(self.names[a].decode() + "\n" for a in busiest))
        told = fit("--trust", TRUST)
        self.assertGreater(ring.ordered(FIT, self.score)[0], 0.8)
        self.assertEqual(told["trusted"], {"annotators": 5, "vote": 5, "follow": 5})

    def test_soft_answers_in_the_votes_file(self):
        ring.write_gold(GOLD, VOTES, self.score, 100)
        header, *rows = pathlib.Path(GOLD).read_text(encoding="utf-8").splitlines()
        soft = [row.replace(",left", ",0.9").replace(",right", ",0.1") for row in rows]
        pathlib.Path(GOLD).write_text("\n".join([header, *soft]) + "\n", encoding="utf-8")
        ids, left, right, who, way = read(VOTES, "items/id", *(f"comparisons/{c}" for c in ("left", "right", "annotator", "preference")))
        table = path("votes.csv")
        with open(table, "w", encoding="utf-8") as file:
            file.write("left,right,annotator,preference\n")
            for l, r, a, p in zip(left, right, who, way):
                file.write(f"{ids[l].decode()},{ids[r].decode()},a{a},{p}\n")
        own = path("own.h5")
        voxpop("import", table, "-o", own, "--gold", GOLD, "--quiet")
        soft, given = read(own, "gold/probability", "gold/preference")
        np.testing.assert_array_equal(soft > 0.5, given > 0)
        self.assertEqual(set(np.round(soft, 3)), {np.float32(0.1), np.float32(0.9)})
        told = json.loads(voxpop("fit", own, "-o", FIT, "--json", "--quiet").stdout)
        self.assertEqual(told["gold"]["used"], 100)
        number = {name: i for i, name in enumerate(ids)}
        rows = [number[name] for name in read(own, "items/id")[0]]
        self.assertGreater(ring.ordered(FIT, self.score[rows])[0], 0.8)


class Sound(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.score = simulate("good=.7,noisy=.15,clicker=.1,adversary=.05")

    def test_gold_leaves_calibration_alone(self):
        before = fit()
        without = calibration(self.score)
        ring.write_gold(GOLD, VOTES, self.score, 50)
        told = fit("--gold", GOLD)
        self.assertLess(abs(calibration(self.score) - without), 0.002)
        self.assertEqual(kinds(told).keys() - kinds(before).keys(), set())
        self.assertEqual(told["votes"], before["votes"])

    def test_a_wrong_answer_is_listed(self):
        fit()
        left, right, better, margin = read(FIT, "pairs/left", "pairs/right", "pairs/probability_better", "pairs/margin")
        ids = read(VOTES, "items/id")[0]
        surest = np.argmax(np.abs(margin))
        with open(GOLD, "w", encoding="utf-8") as file:
            way = "right" if better[surest] > 0.5 else "left"
            file.write(f"left,right,preference\n{ids[left[surest]].decode()},{ids[right[surest]].decode()},{way}\n")
        told = fit("--gold", GOLD)
        self.assertEqual(kinds(told)["gold_contradicted"], "care")
        (listed,) = told["gold"]["contradictions"]
        self.assertEqual((listed["left"], listed["right"]), (ids[left[surest]].decode(), ids[right[surest]].decode()))
        self.assertEqual(list(read(FIT, "gold/contradicted")[0]), [1])

    def test_what_cannot_be_used_is_refused(self):
        for text in ("left,right,preference\nx,y,left\n", "left,right,preference\np0/r0,p0/r0,left\n"):
            pathlib.Path(GOLD).write_text(text, encoding="utf-8")
            fit("--gold", GOLD, status=3)
        fit("--gold", GOLD, "--model", "bt", status=2)
        pathlib.Path(TRUST).write_text("annotator\nnobody\n", encoding="utf-8")
        fit("--trust", TRUST, status=3)
        pathlib.Path(TRUST).write_text("who\na0\n", encoding="utf-8")
        self.assertNotIn("NAME", fit("--trust", TRUST, status=3).stderr)  # there is no such option

    def test_an_answer_counts_once_and_two_contradict(self):
        pathlib.Path(GOLD).write_text("left,right,preference\np0/r0,p0/r1,left\np0/r1,p0/r0,right\n", encoding="utf-8")
        self.assertEqual(fit("--gold", GOLD)["gold"]["pairs"], 1)
        pathlib.Path(GOLD).write_text("left,right,preference\np0/r0,p0/r1,left\np0/r1,p0/r0,left\n", encoding="utf-8")
        self.assertRegex(fit("--gold", GOLD, status=3).stderr, "gold.csv: lines 2 and 3 give different answers for 'p0/r1' and 'p0/r0'")


class Camps(unittest.TestCase):
    def test_half_and_half_writes_nothing_unless_forced(self):
        simulate("good=.5,adversary=.5")
        done = fit(status=5)
        self.assertIn("--gold", done.stderr)
        told = fit("--force")
        self.assertEqual(kinds(told)["sign_unknown"], "do_not_train")
        # Whoever is trusted tells, one alone: the labels are the right way round, whoever it is.
        names, kind, score = read(VOTES, "annotators/id", "truth/kind", "truth/score")
        one = np.flatnonzero(kind == b"good")[0]
        pathlib.Path(TRUST).write_text(f"annotator\n{names[one].decode()}\n", encoding="utf-8")
        told = fit("--trust", TRUST)
        self.assertEqual(told["trusted"], {"annotators": 1, "vote": 1, "follow": 1})
        self.assertGreater(ring.ordered(FIT, score)[0], 0.8)
        # Votes are right half of the time, and that is no reason not to train on what is known of them.
        self.assertNotIn("Do not train", voxpop("report", FIT, "-o", path("report.html")).stdout)
        gamma = read(FIT, "annotators/discrimination")[0]
        self.assertLess(np.abs(gamma).max(), 5)

    def test_swapped_votes_that_are_found_are_no_reason_not_to_train(self):
        """More than half of the votes are of a third of the annotators, who vote the other way round."""
        score = simulate("good=.7,adversary=.3")
        with h5py.File(VOTES, "r+") as file:
            columns = {name: file["comparisons"][name][:] for name in ("left", "right", "annotator", "preference")}
            more = np.flatnonzero(file["truth/kind"][:][columns["annotator"]] == b"adversary")
            rows = np.concatenate([np.arange(len(columns["left"])), more, more])
            for name, column in columns.items():
                del file["comparisons"][name]
                file["comparisons"][name] = column[rows]
        told = fit("--repeats", "all")
        self.assertGreater(told["flip_rate"], 0.45)
        self.assertGreater(ring.ordered(FIT, score)[0], 0.8)
        self.assertNotIn("hardly_right", kinds(told))
        self.assertNotIn("Do not train", voxpop("report", FIT, "-o", path("report.html")).stdout)

    def test_a_ring_of_two_fifths_does_not_become_the_quality(self):
        for share in 0.4, 0.45:
            with self.subTest(share):
                quality, member = ring.make(VOTES, share, 1)
                told = fit()
                rater = ring.ordered(FIT, quality)[0]
                gamma = read(FIT, "annotators/discrimination")[0]
                fit("--model", "bt")
                self.assertGreater(rater, ring.ordered(FIT, quality)[0])
                self.assertLess(np.abs(gamma[member]).max(), gamma[~member].min())
                self.assertEqual(kinds(told)["rival_solution"], "do_not_train")
                self.assertLess(told["sign"]["rival"]["ordered_alike"], 0.7)

    def test_ids_buy_neither_sign_nor_unit(self):
        """100 honest annotators of 600 votes each; 101 ids of 17 votes each that vote the other way round."""
        random = np.random.default_rng(1)
        prompts = 6000
        score = random.normal(0, 1.5, 4 * prompts)
        pairs = np.stack([4 * np.arange(prompts), 4 * np.arange(prompts) + 1], 1)
        pairs = np.concatenate([pairs, pairs + [0, 1], pairs + [1, 1]])
        gamma = np.exp(random.normal(0, 0.3, 100))
        pair = np.repeat(np.arange(len(pairs)), 3)
        who = np.tile(np.arange(100), len(pair) // 100 + 1)[: len(pair)]
        difference = score[pairs[:, 0]] - score[pairs[:, 1]]
        way = np.where(random.random(len(pair)) < 1 / (1 + np.exp(-gamma[who] * difference[pair])), 1, -1)
        bought = random.choice(len(pairs), 101 * 17)
        found = []
        for with_ids in False, True:
            more = bought if with_ids else bought[:0]
            rows = np.concatenate([pair, more])
            with h5py.File(VOTES, "w") as file:
                file.attrs["voxpop_schema"] = "comparisons/1"
                file["comparisons/left"], file["comparisons/right"] = pairs[rows].T.astype("u4")
                file["comparisons/annotator"] = np.concatenate([who, 100 + np.arange(len(more)) // 17]).astype("u4")
                file["comparisons/preference"] = np.concatenate([way, np.where(difference[more] > 0, -1, 1)]).astype("i1")
                file["items/id"] = [f"i{i}" for i in range(4 * prompts)]
                file["annotators/id"] = [f"a{a}" for a in range(201)]
            told = fit()
            probability = read(FIT, "pairs/probability")[0]
            found.append((told["hyperparameters"]["reference_discrimination"], np.abs(probability - 0.5).mean()))
            self.assertGreater(ring.ordered(FIT, score)[0], 0.8)
        (unit, spread), (unit_with, spread_with) = found
        self.assertLess(abs(unit_with / unit - 1), 0.06)
        self.assertLess(abs(spread_with / spread - 1), 0.06)


if __name__ == "__main__":
    main()
