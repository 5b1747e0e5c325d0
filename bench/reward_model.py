"""Reward models trained on what voxpop makes of votes, and on the votes themselves: which of unseen pairs do they order right?

    python3 bench/reward_model.py --install                                        what it needs (PyTorch, TRL, ...), to build/reward-model-venv
    python3 bench/reward_model.py --voxpop build/quickstart/voxpop --out FOLDER    tables and a plot; about an hour on 2 cores

Responses are simulated, with features and with texts; annotators are noisy, one-sided or adversarial, or all alike. Nothing
here uses the program's own simulation. Each trainer takes the same pairs and its own labels of them. See docs/results.md.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

BENCH = Path(__file__).parent
ENVIRONMENT = BENCH.parent / "build" / "reward-model-venv"
PACKAGES = ["torch", "trl>=1,<2", "transformers", "datasets", "h5py", "numpy", "matplotlib", "pandas"]

if "--install" in sys.argv:
    subprocess.run([sys.executable, "-m", "venv", ENVIRONMENT], check=True)
    subprocess.run([ENVIRONMENT / "bin" / "python", "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
    sys.exit()
if Path(sys.prefix).resolve() != ENVIRONMENT.resolve() and ENVIRONMENT.exists():
    os.execv(ENVIRONMENT / "bin" / "python", [str(ENVIRONMENT / "bin" / "python"), *sys.argv])

import h5py
import numpy as np

RESPONSES, PAIRS = 4, 3  # of a prompt
MIXED = {"noisy": 0.15, "one-sided": 0.15, "adversarial": 0.1}


def sigma(x):
    return 1 / (1 + np.exp(-np.clip(x, -500, 500)))


class World:
    """Prompts of 4 responses, 3 pairs of each, votes by people who differ."""

    def __init__(self, seed, prompts, votes, people=150, features=64, network=False, crowd="mixed", texts=False):
        random = np.random.default_rng(seed)
        self.prompts, self.random = prompts, random
        if texts:  # a response is 24 tokens; its features are how often it has each
            tokens = random.integers(0, features, (prompts * RESPONSES + 4000, 24))
            self.tokens = tokens
            x = np.stack([np.bincount(t, minlength=features) for t in tokens]).astype(float)
        else:
            x = random.normal(size=(prompts * RESPONSES + 40000, features))
        if network:
            first, second = random.normal(size=(features, 32)) / features**0.5, random.normal(size=32)
            score = np.maximum(x @ first * (3 if not texts else 1.5), 0) @ second
        else:
            score = x @ random.normal(size=features)
        score = (score - score.mean()) / score.std()
        items = prompts * RESPONSES
        self.x, self.score = x[:items], score[:items]
        self.test, self.test_score = x[items:], score[items:]
        self.gamma, self.beta = self.draw_people(people, crowd)
        left, right, who, preference = [], [], [], []
        choices = [(i, j) for i in range(RESPONSES) for j in range(i + 1, RESPONSES)]
        for p in range(prompts):
            for q in random.permutation(len(choices))[:PAIRS]:
                for a in random.choice(people, votes, replace=False):
                    i, j = choices[q][:: 1 if random.random() < 0.5 else -1]
                    i, j = RESPONSES * p + i, RESPONSES * p + j
                    eta = self.gamma[a] * (self.score[i] - self.score[j]) + self.beta[a]
                    left.append(i), right.append(j), who.append(a), preference.append(1 if random.random() < sigma(eta) else -1)
        self.left, self.right, self.who = (np.array(x, np.uint32) for x in (left, right, who))
        self.preference = np.array(preference, np.int8)

    def draw_people(self, people, crowd):
        random = self.random
        gamma, beta = 2 + 0.4 * random.normal(size=people), 0.2 * random.normal(size=people)
        if crowd == "equals":
            return np.full(people, 2.0), np.zeros(people)
        if crowd == "good":
            return gamma, beta
        kind = random.permutation(people) / people
        begin = 0
        for name, share in MIXED.items():
            some = (kind >= begin) & (kind < begin + share)
            begin += share
            count = some.sum()
            gamma[some] = {"noisy": 0.7, "one-sided": 0.0, "adversarial": -1.6}[name] + 0.1 * random.normal(size=count)
            if name == "one-sided":
                beta[some] = random.choice([-3, 3], count)
        return gamma, beta

    def write(self, path, prior=None):
        with h5py.File(path, "w") as file:
            file.attrs["voxpop_schema"] = "comparisons/1"
            items = len(self.x)
            file["items/id"] = np.array([f"p{i // RESPONSES}r{i % RESPONSES}" for i in range(items)], "S16")
            file["items/prompt"] = np.arange(items, dtype=np.uint32) // RESPONSES
            file["prompts/id"] = np.array([f"p{i}" for i in range(self.prompts)], "S16")
            file["annotators/id"] = np.array([f"a{i}" for i in range(len(self.gamma))], "S8")
            for name, column in (("left", self.left), ("right", self.right), ("annotator", self.who), ("preference", self.preference)):
                file[f"comparisons/{name}"] = column
            if prior is not None:
                file["items/prior_score"] = prior.astype(np.float32)


def fit(program, folder, world, *options, prior=None):
    votes, out = os.path.join(folder, "votes.h5"), os.path.join(folder, "fit.h5")
    world.write(votes, prior)
    done = subprocess.run([program, "fit", votes, "-o", out, "--quiet", "--force", *options], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"voxpop fit: {done.stderr}")
    with h5py.File(out) as file:
        told = {name: file[name][()] for group in ("pairs", "annotators", "votes") for name in
                (f"{group}/{key}" for key in file[group]) if isinstance(file[name], h5py.Dataset)}
        told["provenance"] = json.loads(file.attrs["provenance"])
    return told


class Rows:
    """Training rows: sigma(gamma (r_left - r_right) + beta) should be target, with weight."""

    def __init__(self, left, right, target, weight=1.0, gamma=1.0, beta=0.0):
        n = len(left)
        self.left, self.right = np.asarray(left, int), np.asarray(right, int)
        self.target, self.weight, self.gamma, self.beta = (np.broadcast_to(np.asarray(x, float), n).copy() for x in (target, weight, gamma, beta))


def linear(x, rows):
    """A linear head by Newton's method, with a weak ridge; returns what scores features."""
    d = x[rows.left] - x[rows.right]
    theta, ridge = np.zeros(x.shape[1]), 1.0
    for _ in range(60):
        p = sigma(rows.gamma * (d @ theta) + rows.beta)
        gradient = d.T @ (rows.weight * rows.gamma * (p - rows.target)) + ridge * theta
        hessian = (d * (rows.weight * rows.gamma**2 * p * (1 - p))[:, None]).T @ d + ridge * np.eye(len(theta))
        step = np.linalg.solve(hessian, gradient)
        step *= min(1, 5 / max(np.abs(d @ step).max(), 1e-9))
        theta -= step
        if np.abs(step).max() < 1e-8:
            break
    return lambda x: x @ theta


def network(x, rows):
    """An MLP of 64 hidden units by Adam, early stopping on a tenth of the rows by their own loss."""
    import torch
    from torch.nn import functional

    torch.manual_seed(0)
    torch.set_num_threads(2)
    tensor = lambda a: torch.tensor(np.asarray(a), dtype=torch.float32)
    scale = x.std()
    features, left, right = tensor(x / scale), torch.tensor(rows.left), torch.tensor(rows.right)
    target, weight, gamma, beta = (tensor(a) for a in (rows.target, rows.weight / rows.weight.mean(), rows.gamma, rows.beta))
    model = torch.nn.Sequential(torch.nn.Linear(x.shape[1], 64), torch.nn.ReLU(), torch.nn.Linear(64, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.05)
    order = torch.randperm(len(left))
    held, trained = order[: len(order) // 10], order[len(order) // 10 :]

    def loss(at):
        r = model(features).squeeze(-1) if len(at) > 2000 else None
        difference = (r[left[at]] - r[right[at]]) if r is not None else (model(features[left[at]]) - model(features[right[at]])).squeeze(-1)
        return (weight[at] * functional.binary_cross_entropy_with_logits(gamma[at] * difference + beta[at], target[at], reduction="none")).mean()

    best, kept, patience = float("inf"), None, 0
    for _ in range(100):
        shuffled = trained[torch.randperm(len(trained))]
        for batch in shuffled.split(256):
            optimizer.zero_grad()
            loss(batch).backward()
            optimizer.step()
        with torch.no_grad():
            now = float(loss(held))
        if now < best - 1e-4:
            best, patience, kept = now, 0, {k: v.clone() for k, v in model.state_dict().items()}
        elif (patience := patience + 1) > 5:
            break
    model.load_state_dict(kept)

    def score(x):
        with torch.no_grad():
            return model(tensor(x / scale)).squeeze(-1).numpy()

    return score


def accuracy(world, score):
    r = score(world.test)
    half = len(r) // 2
    return float(np.mean((r[:half] > r[half : 2 * half]) == (world.test_score[:half] > world.test_score[half : 2 * half])))


def calibration_error(world, score):
    """Of the trained model, as what the reference annotator (gamma 2) says: mean distance in ten bins of its own claim."""
    r = score(world.test)
    half = len(r) // 2
    claim, truth = sigma(r[:half] - r[half : 2 * half]), sigma(2 * (world.test_score[:half] - world.test_score[half : 2 * half]))
    bins = np.minimum((10 * claim).astype(int), 9)
    return float(sum(abs((claim - truth)[bins == b].sum()) for b in range(10)) / half)


def cross_fitted(world, rows, train, folds=5):
    """Scores of each prompt's responses by a model that has not seen its votes."""
    scores, fold = np.empty(len(world.x)), np.arange(world.prompts) % folds
    for f in range(folds):
        kept = fold[rows.left // RESPONSES] != f
        some = Rows(*(column[kept] for column in (rows.left, rows.right, rows.target, rows.weight, rows.gamma, rows.beta)))
        mine = np.repeat(fold == f, RESPONSES)
        scores[mine] = train(world.x, some)(world.x[mine])
    return scores


def methods(program, folder, world, train, rounds=2):
    """Rows of each way to make labels, by name; the loop trains on the way."""
    t = fit(program, folder, world)
    voted = (world.preference > 0).astype(float)
    pair = t["pairs/left"], t["pairs/right"]
    share = t["pairs/wins_left"] / t["pairs/votes"]
    flags = t["annotators/flag"]
    with h5py.File(os.path.join(folder, "fit.h5")) as file:
        names = h5py.check_enum_dtype(file["annotators/flag"].dtype)
    bad = np.isin(flags, [names[n] for n in ("noisy", "random", "side_clicker", "adversarial")])
    yield "raw votes", Rows(world.left, world.right, voted)
    even = share != 0.5
    yield "majority", Rows(pair[0][even], pair[1][even], share[even] > 0.5)
    good = ~bad[world.who]
    yield "votes without flagged annotators", Rows(world.left[good], world.right[good], voted[good])
    smoothing = float(np.mean(np.minimum(t["pairs/probability"], 1 - t["pairs/probability"])))
    yield "raw votes, label smoothing", Rows(world.left, world.right, voted * (1 - 2 * smoothing) + smoothing)
    c = fit(program, folder, world, "--model", "crowd-bt")
    yield "crowd-bt, p_chosen", Rows(*(c["pairs/left"], c["pairs/right"]), c["pairs/probability"])
    yield "voxpop, chosen / rejected", Rows(*pair, t["pairs/probability_better"] > 0.5)
    yield "voxpop, p_chosen", Rows(*pair, t["pairs/probability"])
    yield "voxpop, target and weight", Rows(*pair, t["pairs/target"], t["pairs/weight"])
    yield "voxpop, votes with annotators", Rows(world.left, world.right, voted, 1, t["annotators/discrimination"][world.who],
                                               t["annotators/side_bias"][world.who])
    rows = Rows(*pair, t["pairs/target"], t["pairs/weight"])
    again = fit(program, folder, world, prior=cross_fitted(world, rows, train))
    yield "voxpop, loop, 1 round, cross-fitted", Rows(*pair, again["pairs/target"], again["pairs/weight"])
    for turn in range(1, rounds + 1):
        again = fit(program, folder, world, prior=train(world.x, rows)(world.x))
        rows = Rows(again["pairs/left"], again["pairs/right"], again["pairs/target"], again["pairs/weight"])
        yield f"voxpop, loop, {turn} round{'s' if turn > 1 else ''}", rows
    np.save(os.path.join(folder, "embeddings.npy"), world.x.astype(np.float32))
    e = fit(program, folder, world, "--embeddings", os.path.join(folder, "embeddings.npy"))
    yield "voxpop, embeddings, target and weight", Rows(*pair, e["pairs/target"], e["pairs/weight"])
    yield "true annotators", Rows(world.left, world.right, voted, 1, world.gamma[world.who], world.beta[world.who])


TRAINERS = {"linear": linear, "network": network}


def run_settings(program, settings, seeds, results):
    for setting in settings:
        for seed in range(1, seeds + 1):
            options = {k: v for k, v in setting.items() if k != "trainer"}
            train = TRAINERS[setting["trainer"]]
            world = World(seed, **options)
            with tempfile.TemporaryDirectory() as folder:
                for name, rows in methods(program, folder, world, train):
                    score = train(world.x, rows)
                    results.append({**setting, "seed": seed, "labels": name, "accuracy": accuracy(world, score),
                                    "calibration_error": calibration_error(world, score)})
            print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)


def train_by_trl(program, seed, results, steps):
    """TRL's RewardTrainer, with voxpop.trl's losses, on a tiny transformer made from its configuration."""
    sys.path.insert(0, str(BENCH.parent / "python" / "src"))
    os.environ["VOXPOP_PROGRAM"] = program
    import torch
    import trl
    import voxpop.trl
    from datasets import load_dataset
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForSequenceClassification, PreTrainedTokenizerFast

    world = World(seed, prompts=1500, votes=2, texts=True)
    text = [" ".join(f"w{t}" for t in tokens) for tokens in world.tokens]
    vocabulary = {word: i for i, word in enumerate(["[UNK]", "[PAD]", "[EOS]", *(f"w{i}" for i in range(world.x.shape[1]))])}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]", pad_token="[PAD]", eos_token="[EOS]")
    with tempfile.TemporaryDirectory() as folder:
        at = lambda name: os.path.join(folder, name)
        told = fit(program, folder, world)
        with open(at("texts.jsonl"), "w") as file:
            for i in range(len(world.x)):
                file.write(json.dumps({"id": f"p{i // RESPONSES}r{i % RESPONSES}", "text": text[i]}) + "\n")
        for format in "trl", "votes":
            subprocess.run([program, "export", at("fit.h5"), "--format", format, "--texts", at("texts.jsonl"), "--no-prompts",
                            "--keep-undecided", "-o", at(f"{format}.jsonl"), "--quiet"], check=True, stdout=subprocess.DEVNULL)
        rows = {"voxpop, target and weight": at("trl.jsonl"), "voxpop, votes with annotators": at("votes.jsonl")}
        with open(at("votes.jsonl")) as votes, open(at("raw.jsonl"), "w") as file:
            for line in votes:
                row = json.loads(line)
                file.write(json.dumps({"chosen": row["chosen"], "rejected": row["rejected"]}) + "\n")
        rows = {"raw votes": at("raw.jsonl"), **rows}
        for name, path in rows.items():
            torch.manual_seed(seed)
            model = LlamaForSequenceClassification(LlamaConfig(
                vocab_size=len(vocabulary), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
                num_key_value_heads=2, num_labels=1, pad_token_id=vocabulary["[PAD]"], max_position_embeddings=64))
            config = trl.RewardConfig(output_dir=at("out"), per_device_train_batch_size=32, max_length=48, max_steps=steps,
                                      learning_rate=2e-3, use_cpu=True, report_to=[], save_strategy="no", disable_tqdm=True,
                                      logging_strategy="no", seed=seed)
            data = load_dataset("json", data_files=path, cache_dir=at("cache"))["train"]
            kind = trl.RewardTrainer if name == "raw votes" else voxpop.trl.RewardTrainer
            trainer = kind(model=model, args=config, train_dataset=data, processing_class=tokenizer)
            trainer.train()
            model.eval()
            batch = tokenizer([t + " [EOS]" for t in text[len(world.x) :]], return_tensors="pt", padding=True)
            with torch.no_grad():
                scores = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits.squeeze(-1).numpy()
            results.append({"trainer": f"TRL {trl.__version__}", "prompts": 1500, "votes": 2, "seed": seed, "labels": name,
                            "accuracy": accuracy(world, lambda _: scores), "calibration_error": calibration_error(world, lambda _: scores)})


def tables(results):
    """Markdown: a table a setting of all but the votes a pair."""
    import pandas as pd

    frame = pd.DataFrame(results)
    keys = [k for k in frame if k not in ("seed", "labels", "accuracy", "calibration_error", "votes")]
    out = []
    for key, some in frame.groupby(keys, dropna=False, sort=False):
        title = ", ".join(f"{k} {v}" for k, v in zip(keys, key) if not pd.isna(v))
        out.append(f"\n{title}; {some.seed.nunique()} seeds\n")
        votes = sorted(some.votes.unique())
        out.append("| labels | " + " | ".join(f"{v} vote{'s' if v > 1 else ''} a pair" for v in votes) + " |\n|---|" + "---|" * len(votes))
        for name in some.labels.unique():
            cells = []
            for v in votes:
                mine = some[(some.labels == name) & (some.votes == v)].sort_values("seed").accuracy.to_numpy()
                raw = some[(some.labels == "raw votes") & (some.votes == v)].sort_values("seed").accuracy.to_numpy()
                true = some[(some.labels == "true annotators") & (some.votes == v)].accuracy.to_numpy()
                cell = f"{mine.mean():.4f}"
                if name not in ("raw votes", "true annotators") and len(mine) == len(raw) > 1:
                    difference = mine - raw
                    cell += f" ({difference.mean():+.4f} ± {difference.std(ddof=1) / len(mine) ** 0.5:.4f}"
                    told = len(true) > 0 and true.mean() - raw.mean() > 0.003  # else there is nothing to close
                    cell += f", {100 * difference.mean() / (true.mean() - raw.mean()):.0f} %)" if told else ")"
                cells.append(cell)
            out.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(out)


def plot(results, path):
    import matplotlib
    import pandas as pd

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    frame = pd.DataFrame(results)
    frame = frame[(frame.trainer == "linear") & (frame.prompts == 1500) & (frame.crowd == "mixed")]
    shown = ["raw votes", "majority", "voxpop, p_chosen", "voxpop, target and weight", "voxpop, loop, 1 round", "true annotators"]
    figure, axes = plt.subplots(figsize=(7, 4.2))
    for name in shown:
        mean = frame[frame.labels == name].groupby("votes").accuracy.mean()
        axes.plot(mean.index, 100 * mean, marker="o", label=name, linestyle="--" if name == "true annotators" else "-")
    axes.set_xlabel("votes a pair")
    axes.set_ylabel("unseen pairs ordered right, %")
    axes.set_xticks(sorted(frame.votes.unique()))
    axes.legend()
    axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--install", action="store_true", help="install what this needs, and end")
    parser.add_argument("--voxpop", required=True)
    parser.add_argument("--out", required=True, help="folder for reward_model.json, .md and .png")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--only", choices=["linear", "network", "trl"], help="a part of it")
    parser.add_argument("--steps", type=int, default=600, help="of TRL's trainer")
    arguments = parser.parse_args()
    program, results = os.path.abspath(arguments.voxpop), []
    os.makedirs(arguments.out, exist_ok=True)
    if arguments.only in (None, "linear"):
        linear_settings = [{"trainer": "linear", "prompts": 1500, "crowd": c, "votes": v} for c in ("mixed", "equals", "good") for v in (1, 2, 3, 5)]
        linear_settings += [{"trainer": "linear", "prompts": p, "crowd": "mixed", "votes": v} for p in (500, 5000) for v in (1, 2, 3, 5)]
        linear_settings += [{"trainer": "linear", "prompts": 900, "crowd": "mixed", "votes": 2}]
        run_settings(program, linear_settings, arguments.seeds, results)
        run_settings(program, [{"trainer": "linear", "prompts": 50000, "crowd": "mixed", "votes": v, "people": 2000} for v in (1, 2)], 1, results)
    if arguments.only in (None, "network"):
        run_settings(program, [{"trainer": "network", "prompts": 1500, "crowd": "mixed", "votes": v, "network": True} for v in (1, 2, 3)],
                     min(arguments.seeds, 4), results)
    if arguments.only in (None, "trl"):
        for seed in range(1, min(arguments.seeds, 2) + 1):
            train_by_trl(program, seed, results, arguments.steps)
    with open(os.path.join(arguments.out, "reward_model.json"), "w") as file:
        json.dump(results, file, indent=1)
    text = tables(results)
    with open(os.path.join(arguments.out, "reward_model.md"), "w") as file:
        file.write(text + "\n")
    print(text)
    if arguments.only in (None, "linear"):
        plot(results, os.path.join(arguments.out, "reward_model.png"))


if __name__ == "__main__":
    main()
