"""TRL's RewardTrainer on rows of `voxpop export --format trl`: a tiny model made here, on the CPU, margins taken.

Usage: python bench/trl_reward_model.py --voxpop build/quickstart/voxpop [--steps 150]
Needs packages that voxpop itself does not: pip install trl transformers torch datasets h5py

Votes are simulated; a response's words say a little of its true score, so that there is something to learn.
"""

import argparse
import json
import os
import subprocess
import tempfile

import h5py
import numpy as np
import trl
from datasets import load_dataset
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForSequenceClassification, PreTrainedTokenizerFast

GOOD, BAD = "clear correct helpful precise short kind".split(), "vague wrong rude long empty odd".split()


def make_rows(voxpop, folder):
    """Simulates votes and texts, fits, exports; returns the files of both parts."""
    at = lambda name: os.path.join(folder, name)
    run = lambda *arguments: subprocess.run([voxpop, *arguments, "--quiet"], check=True, stdout=subprocess.DEVNULL)
    run("simulate", at("votes.h5"), "--prompts", "1500", "--annotators", "40", "--seed", "2")
    run("fit", at("votes.h5"), "-o", at("fit.h5"))
    random = np.random.default_rng(1)
    with h5py.File(at("votes.h5")) as votes, open(at("texts.jsonl"), "w") as texts, open(at("prompts.jsonl"), "w") as prompts:
        for item, score in zip(votes["items/id"].asstr()[:], votes["truth/score"][:]):
            words = [random.choice(GOOD if random.random() < 1 / (1 + np.exp(-score)) else BAD) for _ in range(24)]
            texts.write(json.dumps({"id": item, "text": " ".join(words)}) + "\n")
        for prompt in votes["prompts/id"].asstr()[:]:
            prompts.write(json.dumps({"id": prompt, "text": f"Question {prompt} ?"}) + "\n")
    run("export", at("fit.h5"), "--format", "trl", "--texts", at("texts.jsonl"), "--prompt-texts", at("prompts.jsonl"),
        "--split", "train=.95,validation=.05", "-o", at("rows.jsonl"))
    return {part: at(f"rows.{part}.jsonl") for part in ("train", "validation")}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--voxpop", required=True)
    parser.add_argument("--steps", type=int, default=150)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = load_dataset("json", data_files=make_rows(os.path.abspath(arguments.voxpop), folder), cache_dir=folder)
        words = Tokenizer(models.WordLevel(unk_token="[UNK]"))
        words.pre_tokenizer = pre_tokenizers.Whitespace()
        special = ["[UNK]", "[PAD]", "[EOS]"]
        words.train_from_iterator(rows["train"]["chosen"], trainers.WordLevelTrainer(special_tokens=special))
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]", pad_token="[PAD]", eos_token="[EOS]")
        model = LlamaForSequenceClassification(LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
            num_key_value_heads=2, num_labels=1, pad_token_id=tokenizer.pad_token_id, max_position_embeddings=128))
        config = trl.RewardConfig(output_dir=folder, per_device_train_batch_size=32, max_length=64, max_steps=arguments.steps,
                                  learning_rate=3e-3, use_cpu=True, report_to=[], save_strategy="no")
        trainer = trl.RewardTrainer(model=model, args=config, train_dataset=rows["train"], eval_dataset=rows["validation"],
                                    processing_class=tokenizer)
        batch = trainer.data_collator([trainer.train_dataset[i] for i in range(4)])
        assert np.allclose(batch["margin"], rows["train"]["margin"][:4], atol=1e-6), "margins do not reach the loss"
        before = trainer.evaluate()
        trainer.train()
        after = trainer.evaluate()
    print(f"TRL {trl.__version__}, {len(rows['train'])} rows, margins reach the batch")
    for name, score in ("before", before), ("after", after):
        print(f"{name}: held-out loss {score['eval_loss']:.3f}, accuracy {score['eval_accuracy']:.3f}")


if __name__ == "__main__":
    main()
