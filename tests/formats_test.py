"""Files as tools and data sets write them, each read with one command, and codes that are not ours, none of them guessed."""

import json
import os
import shlex

from program import h5py, main, path, unittest, voxpop

FILES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "formats")
VOTES = path("votes.h5")


def imported(name, *options):
    """The votes as (winner or first, relation, other, annotator), and what the program told."""
    told = json.loads(voxpop("import", os.path.join(FILES, name), "-o", VOTES, "--json", "--quiet", *options).stdout)
    return read_votes(), told


def read_votes():
    votes = []
    with h5py.File(VOTES) as file:
        items = file["items/id"].asstr()[:]
        columns = [file["comparisons/" + name][:] for name in ("left", "right", "preference")]
        who = ["-"] * len(columns[0])
        if "comparisons/annotator" in file:
            names = file["annotators/id"].asstr()[:]
            who = [names[i] for i in file["comparisons/annotator"][:]]
        for left, right, preference, annotator in zip(*columns, who):
            first, second = (items[right], items[left]) if preference < 0 else (items[left], items[right])
            relation = ">" * abs(int(preference)) or "="
            votes.append(f"{first} {relation} {second} by {annotator}")
    return votes


def lines_of(name):
    with open(name, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def column(name):
    with h5py.File(VOTES) as file:
        return file[name][:].tolist()


def attribute(name):
    with h5py.File(VOTES) as file:
        value = file["comparisons"].attrs.get(name)
        return value.decode() if isinstance(value, bytes) else value


# name of the file, options, votes, number of prompts, whether sides are known
FORMATS = [
    ("chosen_ids.jsonl", ["--preset", "chosen-ids"], ["m1 > m2 by w1", "m2 > m3 by w2"], 0, False),
    ("arena33k.jsonl", ["--preset", "arena33k"], ["gpt-4 > claude by arena_user_973", "gpt-4 = claude by arena_user_9"], 0, True),
    ("arena55k.csv", ["--preset", "arena55k"], ["gpt-4 > claude by -", "koala = claude by -"], 0, True),
    ("arena140k.jsonl", ["--preset", "arena140k"], ["m1 = m2 by -", "m2 > m1 by -"], 0, True),
    ("mtbench.jsonl", ["--preset", "mtbench"], ["gpt-4 > alpaca-13b by author_0", "alpaca-13b = gpt-4 by expert_3"], 0, True),
    (
        "mtbench.jsonl",
        ["--preset", "mtbench", "--within", "question_id,turn"],
        ["81%2F1/gpt-4 > 81%2F1/alpaca-13b by author_0", "82%2F2/alpaca-13b = 82%2F2/gpt-4 by expert_3"],
        2,
        True,
    ),
    ("hs2pref.jsonl", ["--preset", "helpsteer2"], ["p1/r1 >> p1/r2 by -"], 1, True),
    ("hs2pref.jsonl", ["--preset", "helpsteer2-all"], ["p1/r1 >> p1/r2 by -", "p1/r1 > p1/r2 by -"], 1, True),
    ("multipref.jsonl", ["--preset", "multipref"],
     ["p1/aa >> p1/bb by jovial_shirley", "p1/aa = p1/bb by cool_bob", "p1/bb > p1/aa by dr_a", "p1/bb >> p1/aa by dr_b"], 1, True),
    ("shp.jsonl", ["--preset", "shp"], ["qt3/a > qt3/b by -"], 1, True),
    ("pku.jsonl", ["--preset", "pku"], ["p/a > p/b by -"], 1, True),
    ("pku.jsonl", ["--preset", "pku-safer"], ["p/a > p/b by -"], 1, True),
    ("labelstudio.json", ["--preset", "labelstudio"], ["p/a > p/b by 10", "p/b > p/a by 11"], 1, True),
    ("labelstudio.csv", ["--preset", "labelstudio-csv"], ["p/a > p/b by 10"], 1, True),
    ("argilla.jsonl", ["--preset", "argilla"], ["p/a > p/b by 2f1c", "p/b > p/a by 77aa"], 1, True),
    ("argilla_flat.jsonl", ["--preset", "argilla-flat"], ["p/a > p/b by 2f1c", "p/b > p/a by 77aa"], 1, True),
    ("prodigy.jsonl", ["--preset", "prodigy"], ["gpt-4 > llama by d-alice"], 0, True),
    ("mturk2.csv", ["--preset", "mturk"], ["m1 > m2 by W1"], 0, True),
    ("toloka.tsv", ["--preset", "toloka"], ["m1 > m2 by w1", "m3 > m2 by w1"], 0, True),
    ("crowdkit.csv", ["--preset", "crowdkit"], ["m1 > m2 by w1", "m2 > m1 by w2"], 0, True),
    ("elochoice.csv", ["--preset", "elochoice"], ["B > C by a", "E > C by b"], 0, False),
    ("evalica.csv", ["--preset", "evalica"], ["Pizza > Sushi by -", "Pizza = Sushi by -"], 0, True),
    ("langsmith.jsonl", ["--preset", "langsmith"], ["run-1 > run-2 by a@x"], 0, False),
    ("openai_eval.jsonl", ["--preset", "openai-evals"], ["a > b by -"], 0, True),
    ("nectar.jsonl", ["--preset", "nectar", "--within", "source[0]"],
     ["sharegpt/a > sharegpt/b by -", "sharegpt/a > sharegpt/c by -", "sharegpt/b > sharegpt/c by -"], 1, False),
    ("oasst.jsonl", ["--preset", "oasst"], ["m1 > m2 by -"], 1, False),
    ("uf.jsonl", ["--preset", "ultrafeedback"], ["i/a > i/b by -"], 1, False),
    ("wide.csv", ["--wide", "alice,bob,cy"],
     ["m1 > m2 by alice", "m2 > m1 by bob", "m1 > m2 by cy", "m1 > m3 by alice", "m1 > m3 by bob"], 0, True),
    ("collide.jsonl", ["--left", "response_1", "--right", "response_2", "--preference", "preference_strength", "--within", "prompt"],
     ["p1/yes > p1/no by -", "p2/maybe > p2/yes by -"], 2, True),
    ("arr.jsonl", [], ["a > b by -"], 0, True),
    ("iso.csv", [], ["m1 > m2 by w1"], 0, True),
    ("ms.csv", [], ["m1 > m2 by w1"], 0, True),
]


class Formats(unittest.TestCase):
    def test_each_means_what_its_owner_meant(self):
        for name, options, expected, prompts, sides_known in FORMATS:
            with self.subTest(name, options=options):
                votes, told = imported(name, *options)
                self.assertEqual(votes, expected)
                self.assertEqual(told["prompts"], prompts)
                self.assertEqual(attribute("sides") == "unknown", not sides_known)
                self.assertEqual(told["named_annotators"], not votes[0].endswith(" by -"))

    def test_detection_finds_the_preset(self):
        for name, options, *_ in FORMATS:
            if options[:1] != ["--preset"] or options[1].endswith(("-all", "-safer")):
                continue
            with self.subTest(name):
                told = voxpop("import", "--detect", os.path.join(FILES, name)).stdout
                self.assertIn(f"--preset {options[1]} -o ", told)
        votes, _ = imported("shp.jsonl", "--preset", "auto")
        self.assertEqual(votes, ["qt3/a > qt3/b by -"])

    def test_detection_names_annotators_and_prompts(self):
        table = path("answers.csv")
        with open(table, "w") as file:
            file.write("prompt_id,response_a,response_b,rater,winner\nq1,x,y,olga,left\nq1,x,y,tom,right\n")
        told = voxpop("import", "--detect", table).stdout
        self.assertIn("--left response_a --right response_b --winner winner --annotator rater --prompt prompt_id -o ", told)
        self.assertIn("'rater' seems to say who voted", told)
        command = shlex.split(told.splitlines()[0])
        self.assertEqual(command[:2], ["voxpop", "import"])
        result = voxpop(*command[1:-1], path("answers.h5"), "--json")
        self.assertEqual((result.returncode, json.loads(result.stdout)["annotators"]), (0, 2), result.stderr)

    def test_texts_are_items(self):
        for name, preset, count in (("hh.jsonl", "hh", 2), ("trl.jsonl", "trl", 1), ("ufb.jsonl", "ultrafeedback-binarized", 1)):
            with self.subTest(name):
                texts = path("texts.jsonl")
                votes, told = imported(name, "--preset", preset, "--texts-out", texts)
                self.assertEqual((len(votes), told["sides"], told["items"], told["prompts"]), (count, "unknown", 2, 1))
                lines = lines_of(texts)
                winner, loser = votes[0].split(" by ")[0].split(" > ")
                self.assertEqual([line["id"] for line in lines], [winner, loser])
                self.assertTrue(all(line["prompt"] for line in lines))
        self.assertEqual(lines[0]["text"], [{"role": "assistant", "content": "a"}])
        self.assertEqual(lines[0]["prompt"], [{"role": "user", "content": "q"}])
        imported("hh.jsonl", "--preset", "hh", "--texts-out", texts)
        self.assertEqual(
            [(line["text"], line["prompt"]) for line in lines_of(texts)],
            [(" hello", "\n\nHuman: hi\n\nAssistant:"), (" no", "\n\nHuman: hi\n\nAssistant:")],
        )

    def test_weights(self):
        for name, options, weights in (
            ("counts.csv", ["--preset", "counts"], [4, 3]),
            ("weights.csv", ["--weight", "weight"], [0.5]),
            ("soft.jsonl", ["--probability", "preference"], [0.87, 0.13]),
            ("alpacaeval.json", ["--preset", "alpacaeval"], [0.2, 0.8]),
        ):
            with self.subTest(name):
                votes, told = imported(name, *options)
                self.assertEqual([round(weight, 6) for weight in column("comparisons/weight")], weights)
                self.assertAlmostEqual(told["weight"], sum(weights), places=6)
        self.assertEqual(votes[1], "gpt4 > text_davinci_003 by alpaca_eval_gpt4")
        self.assertEqual(len(set(column("comparisons/judgement"))), 1)

    def test_a_ranking_is_one_judgement(self):
        imported("nectar.jsonl", "--preset", "nectar")
        self.assertEqual(column("comparisons/judgement"), [0, 0, 0])

    def test_times(self):
        for name, options, expected in (
            ("iso.csv", [], [1716319105]),
            ("ms.csv", [], [1716319105]),
            ("arena140k.jsonl", ["--preset", "arena140k"], [1750237911, 1750237971]),
        ):
            with self.subTest(name):
                imported(name, *options)
                self.assertEqual(column("comparisons/timestamp"), expected)


# What a column of votes holds, and what it would be taken for by guessing.
FOREIGN = {
    "index of the better item": [0, 1],
    "number of the better item": [1, 2],
    "won or not": [1, 0],
    "only ones": [1, 1],
    "only zeros": [0, 0],
    "only twos": [2, 2],
    "index, 2 a tie": [0, 1, 2],
    "number, 0 a tie": [1, 2, 0],
    "number, 3 a tie": [1, 2, 3],
    "Likert to 4": [1, 2, 3, 4],
    "Likert to 5": [1, 2, 4, 5],
    "Likert to 6": [1, 3, 6],
    "Likert to 7": [1, 4, 7],
    "Likert to 7 from 0": [0, 3, 6],
    "0 to 8": [0, 4, 8],
    "to 10": [1, 5, 10],
    "per cent": [0, 50, 100],
    "slider about 50": [20, 50, 80],
    "signed slider": [-100, 30, 100],
    "signed beyond 9": [-10, 10],
    "probabilities": [0.2, 0.8],
    "halves": [0, 0.5, 1],
    "signed fractions": [-0.5, 0.5],
    "floats of an index": ["0.0", "1.0"],
    "floats of a number": ["1.0", "2.0"],
    "letters": ["A", "B"],
    "small letters": ["a", "b"],
    "words of numbers": ["first", "second"],
    "booleans": ["true", "false"],
    "Python booleans": ["True", "False"],
    "yes and no": ["yes", "no"],
    "y and n": ["y", "n"],
    "win and loss": ["win", "loss"],
    "responses": ["response_1", "response_2"],
    "models": ["model_1", "model_2"],
    "signs": [">", "<"],
    "doubled signs": [">>", "<<"],
    "A>B": ["A>B", "B>A"],
    "arrows": ["->", "<-"],
    "empty": ["", "left"],
    "l and r": ["l", "r"],
    "Chinese": ["左", "右"],
    "index and none": [0, 1, "none"],
    "not a number": ["nan", "1"],
    "hexadecimal": ["0x1", "0x0"],
    "German": ["links", "rechts"],
}


class Codes(unittest.TestCase):
    def write(self, values, name="codes.csv"):
        with open(path(name), "w", encoding="utf-8") as file:
            file.write("left,right,preference\n" + "".join(f"a{i},b{i},{value}\n" for i, value in enumerate(values)))
        return path(name)

    def test_none_is_guessed(self):
        self.assertGreaterEqual(len(FOREIGN), 40)
        for what, values in FOREIGN.items():
            with self.subTest(what):
                told = voxpop("import", self.write(values), "-o", path("none.h5"), status=3).stderr
                self.assertRegex(told, "codes.csv: line [0-9]: preference is ")
                self.assertRegex(told, "--map|--scale|--probability")
                self.assertFalse(os.path.exists(path("none.h5")))

    def meaning(self, values, *options):
        voxpop("import", self.write(values), "-o", VOTES, "--quiet", *options)
        return column("comparisons/preference")

    def test_what_is_said_is_taken(self):
        self.assertEqual(self.meaning([0, 1], "--map", "0=left,1=right"), [1, -1])
        self.assertEqual(self.meaning([1.0, "2"], "--map", "1=left,2=right"), [1, -1])
        self.assertEqual(self.meaning([1, 2, 3, 4, 5], "--scale", "1..5"), [2, 1, 0, -1, -2])
        self.assertEqual(self.meaning([1, 2, 3, 4, 5], "--scale", "5..1"), [-2, -1, 0, 1, 2])
        self.assertEqual(self.meaning([1, 2, 3, 4, 5], "--scale", "1..5", "--positive", "left"), [-2, -1, 0, 1, 2])
        self.assertEqual(self.meaning([1, 2, 3, 4], "--scale", "1..4"), [2, 1, -1, -2])
        self.assertEqual(self.meaning([-3, 0, 3], "--scale", "-3..3", "--positive", "left"), [-3, 0, 3])
        self.assertEqual(self.meaning([-3, 0, 3], "--scale", "-3..3", "--positive", "right"), [3, 0, -3])
        self.assertEqual(self.meaning([-3, 0, 3], "--positive", "right"), [3, 0, -3])
        self.assertEqual(self.meaning(['"A, much"', "B", "?"], "--map", '"A, much"=2,B=right,?=skip'), [2, -1])
        self.assertEqual(self.meaning([1, 9, 5], "--scale", "1..5", "--map", "9=tie"), [2, 0, -2])
        voxpop("import", self.write([-3, 3]), "-o", VOTES, "--scale", "-3..3", status=2)
        told = voxpop("import", self.write([1, 6]), "-o", VOTES, "--scale", "1..5", status=3).stderr
        self.assertIn("line 3", told)

    def test_summary_says_what_was_read(self):
        told = voxpop("import", self.write(["left", "-2", 2, "-2"]), "-o", VOTES).stdout
        self.assertIn("left = left (1), -2 = right 2 (2), 2 = left 2 (1)", told)
        self.assertIn("positive numbers mean the left item", told)
        self.assertIn("line 2: 'a0' was judged better than 'b0'\n", told)
        self.assertIn("line 3: 'b1' was judged better than 'a1', strength 2\n", told)

    def test_bad_rows_are_left_out_and_listed(self):
        table = path("bad.csv")
        with open(table, "w") as file:
            file.write("left,right,preference,annotator\na,b,left,w\na,a,left,w\na,b,maybe,w\n,b,left,w\na,b\na,c,right,w\n")
        told = json.loads(voxpop("import", table, "-o", VOTES, "--skip-bad", 4, "--json").stdout)
        self.assertEqual((told["votes"], told["bad_rows"], told["items"]), (2, 4, 3))
        self.assertIn("line 3: right is 'a', so the item is compared with itself", told["first_bad_rows"][0])
        self.assertIn("more than 3 rows", voxpop("import", table, "-o", VOTES, "--skip-bad", 3, status=3).stderr)

    def test_prompts_in_conflict(self):
        table = os.path.join(FILES, "collide.jsonl")
        options = ["--left", "response_1", "--right", "response_2", "--preference", "preference_strength", "-o", VOTES]
        self.assertIn("--within prompt", voxpop("import", table, *options, status=3).stderr)
        told = json.loads(voxpop("import", table, *options, "--skip-bad", 1, "--json").stdout)
        self.assertEqual((told["votes"], told["items"], told["prompts"]), (1, 2, 1))
        told = json.loads(voxpop("import", table, *options, "--prompt", "", "--json").stdout)
        self.assertEqual((told["votes"], told["items"], told["prompts"]), (2, 3, 0))

    def test_rankings_in_any_shape(self):
        shapes = {
            "rows.csv": ("g,item,place\n1,a,1\n1,b,2\n2,a,1\n1,c,2\n2,c,2\n", ["--rank", "place", "--item", "item", "--group-by", "g"]),
            "lists.jsonl": (
                '{"items":["a","b","c"],"places":[1,2,2]}\n{"items":["a","c"],"places":[1,2]}\n',
                ["--each", "items,places", "--rank", "places", "--item", "items"],
            ),
            "columns.csv": ("a,b,c\n1,2,2\n1,,2\n", ["--rank", "a,b,c"]),
            "beside.csv": ("i,j,k,x,y,z\na,b,c,1,2,2\na,b,c,1,,2\n", ["--rank", "x,y,z", "--item", "i,j,k"]),
        }
        for name, (content, options) in shapes.items():
            with self.subTest(name):
                with open(path(name), "w") as file:
                    file.write(content)
                voxpop("import", path(name), "-o", VOTES, *options)
                self.assertEqual(read_votes(), ["a > b by -", "a > c by -", "b = c by -", "a > c by -"])
                judgements = column("comparisons/judgement")
                self.assertEqual([len(set(judgements[:3])), len(set(judgements))], [1, 2])

    def test_codes_that_a_preset_does_not_know_are_refused(self):
        voxpop("import", os.path.join(FILES, "zero.csv"), "-o", VOTES, "--preset", "auto", status=3)


if __name__ == "__main__":
    main(verbosity=1)
