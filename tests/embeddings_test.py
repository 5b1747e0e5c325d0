"""Items' embeddings: files, what fit writes and says of them, and what is refused."""

import json
import struct

import numpy as np
from program import h5py, main, path, unittest, voxpop

VOTES, FIT = path("votes.h5"), path("fit.h5")
ITEMS, DIMENSIONS = 1200, 6
COEFFICIENT = np.array([1.0, -1.0, 0.5, 0, 0, 0.5])


def write_votes(name=VOTES, embedding=None, seed=1, ids=None):
    """One vote a pair on prompts of four responses; scores are a linear function of the embeddings, and a little more."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(ITEMS, DIMENSIONS)).astype(np.float16)
    score = x @ COEFFICIENT + 0.5 * random.normal(size=ITEMS)
    left = np.concatenate([4 * np.arange(ITEMS // 4) + pair for pair in range(3)])
    turned = random.random(len(left)) < 0.5
    left, right = np.where(turned, left + 1, left), np.where(turned, left, left + 1)
    preference = np.where(random.random(len(left)) < 1 / (1 + np.exp(score[right] - score[left])), 1, -1)
    with h5py.File(name, "w") as file:
        file.attrs["voxpop_schema"] = "comparisons/1"
        file["comparisons/left"], file["comparisons/right"] = left.astype(np.uint32), right.astype(np.uint32)
        file["comparisons/annotator"] = random.integers(0, 20, len(left)).astype(np.uint32)
        file["comparisons/preference"] = preference.astype(np.int8)
        file["items/id"] = np.array(ids or [f"i{i}" for i in range(ITEMS)], dtype="S8")
        file["items/prompt"] = (np.arange(ITEMS) // 4).astype(np.uint32)
        file["prompts/id"] = np.array([f"p{i}" for i in range(ITEMS // 4)], dtype="S8")
        file["annotators/id"] = np.array([f"a{i}" for i in range(20)], dtype="S8")
        if embedding is not None:
            file.create_dataset("items/embedding", data=x.astype(embedding), chunks=(100, DIMENSIONS), compression="gzip")
    return x, score


def write_safetensors(name, tensors):
    """As the library writes them: name -> (dtype, array of bytes, shape)."""
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for key, (dtype, values, shape) in tensors.items():
        header[key] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(values)]}
        data += values
    text = json.dumps(header).encode()
    with open(name, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)
    return name


def fitted(*options, votes=VOTES):
    told = json.loads(voxpop("fit", votes, "-o", FIT, "--json", *options).stdout)
    with h5py.File(FIT) as file:
        columns = {name: file[name][()] for name in ("pairs/margin", "items/score")}
        if "covariates/embedding" in file:
            columns |= {name: file[f"covariates/{name}"][()] for name in
                        ("embedding", "embedding_se", "embedding_variance_explained", "embedding_variance_explained_se")}
    return told, columns


class Embeddings(unittest.TestCase):
    def test_what_is_found_is_written_and_said(self):
        x, score = write_votes(embedding=np.float16)
        told, found = fitted()
        unit = found["embedding"] @ COEFFICIENT / (COEFFICIENT @ COEFFICIENT)
        np.testing.assert_array_less(np.abs(found["embedding"] - unit * COEFFICIENT), 3.5 * found["embedding_se"])
        self.assertAlmostEqual(unit, 1, delta=0.25)
        share = x.astype(float) @ COEFFICIENT
        self.assertAlmostEqual(found["embedding_variance_explained"][0], share.var() / score.var(),
                               delta=3 * found["embedding_variance_explained_se"][0])
        self.assertEqual(told["embedding"]["dimensions"], DIMENSIONS)
        self.assertAlmostEqual(told["embedding"]["variance_explained"], found["embedding_variance_explained"][0], delta=1e-6)
        self.assertTrue(told["converged"])
        self.assertIn("embeddings (6 dimensions) explain", voxpop("fit", VOTES, "-o", FIT).stdout)
        # The coefficients are a reward head: they order responses that nobody voted on.
        new = np.random.default_rng(5).normal(size=(2000, DIMENSIONS))
        reward, truth = new @ found["embedding"], new @ COEFFICIENT
        self.assertGreater(np.corrcoef(reward, truth)[0, 1], 0.95)
        # Pairs are ordered better than without; nothing of it stays where embeddings are left out.
        with h5py.File(FIT) as file:
            left, right = file["pairs/left"][()], file["pairs/right"][()]
        _, plain = fitted("--ignore", "embedding")
        self.assertNotIn("embedding", plain)
        right_with, right_without = (np.mean((columns["pairs/margin"] > 0) == (score[left] > score[right])) for columns in (found, plain))
        self.assertGreater(right_with, right_without + 0.05)

    def test_each_format_says_the_same(self):
        x, _ = write_votes(embedding=np.float32)
        _, inside = fitted()
        write_votes()
        ids = np.array([f"i{i}" for i in range(ITEMS)])
        np.save(path("half.npy"), x)
        np.save(path("full.npy"), x.astype(np.float32))
        np.save(path("double.npy"), x.astype(float))
        turned = np.random.default_rng(2).permutation(ITEMS)
        with h5py.File(path("turned.h5"), "w") as file:
            file["embedding"], file["id"] = x[turned], ids[turned].astype("S8")
        full = x.astype(np.float32)
        write_safetensors(path("half.safetensors"), {"embedding": ("F16", x.tobytes(), list(x.shape))})
        write_safetensors(path("named.safetensors"), {name: ("F32", (full * scale).tobytes(), list(x.shape))
                                                      for name, scale in (("a", 2), ("b", 3), ("embedding", 1))})
        write_safetensors(path("full.safetensors"), {"other": ("F32", b"\0" * 4, [1]), "x": ("F32", full.tobytes(), list(x.shape))})
        for name in "half.npy", "full.npy", "double.npy", "turned.h5", "half.safetensors", "full.safetensors", "named.safetensors":
            _, found = fitted("--embeddings", path(name))
            np.testing.assert_array_equal(found["pairs/margin"], inside["pairs/margin"], name)
            np.testing.assert_array_equal(found["embedding"], inside["embedding"], name)
        brain = (np.ascontiguousarray(full).view(np.uint32) >> 16).astype(np.uint16)
        write_safetensors(path("brain.safetensors"), {"embedding": ("BF16", brain.tobytes(), list(x.shape))})
        _, found = fitted("--embeddings", path("brain.safetensors"))
        np.testing.assert_allclose(found["pairs/margin"], inside["pairs/margin"], atol=0.05)

    def test_threads_and_memory_limits_change_no_bit(self):
        write_votes(embedding=np.float16)
        _, one = fitted("--threads", "1")
        for options in ("--threads", "3"), ("--memory-limit", "200MB"):
            _, other = fitted(*options)
            for name, column in one.items():
                np.testing.assert_array_equal(column, other[name], f"{options} {name}")

    def test_files_are_joined_by_id(self):
        write_votes(embedding=np.float16)
        x, _ = write_votes(name=path("second.h5"), embedding=np.float16, seed=2, ids=[f"j{i}" for i in range(ITEMS)])
        told = json.loads(voxpop("fit", VOTES, path("second.h5"), "-o", FIT, "--json").stdout)
        self.assertEqual(told["items"], 2 * ITEMS)
        self.assertGreater(told["embedding"]["variance_explained"], 0.5)
        write_votes(name=path("third.h5"), seed=3)
        done = voxpop("fit", VOTES, path("third.h5"), "-o", FIT)
        self.assertIn("'items/embedding' is not used, because not all files have it", done.stderr)
        write_votes(name=path("third.h5"), embedding=np.float16, seed=3)
        self.assertIn("has another embedding in an earlier file", voxpop("fit", VOTES, path("third.h5"), "-o", FIT, status=3).stderr)

    def test_embeddings_of_nothing_are_found_out(self):
        write_votes()
        np.save(path("noise.npy"), np.random.default_rng(8).normal(size=(ITEMS, 50)).astype(np.float32))
        told, found = fitted("--embeddings", path("noise.npy"))
        self.assertIn("embedding_silent", [finding["kind"] for finding in told["findings"]])
        self.assertLess(found["embedding_variance_explained"][0], 0.1)

    def test_evaluate_predicts_held_out_votes_better(self):
        write_votes(embedding=np.float16)
        losses = {}
        for options in (), ("--ignore", "embedding"):
            told = json.loads(voxpop("evaluate", VOTES, "--models", "rater", "--json", *options).stdout)
            losses[options] = told["models"]["rater"]["log_loss"]["value"]
        self.assertLess(losses[()], losses[("--ignore", "embedding")] - 0.02)

    def test_what_is_refused(self):
        x, _ = write_votes()
        bad = x.astype(np.float32)
        bad[7, 2] = np.nan
        np.save(path("nan.npy"), bad)
        half = x.copy()
        half[8, 1] = np.inf
        np.save(path("inf.npy"), half)
        np.save(path("short.npy"), x[:-1])
        np.save(path("wide.npy"), np.zeros((ITEMS, 4097), np.float16))
        np.save(path("flat.npy"), x[:, 0])
        np.save(path("int.npy"), x.astype(np.int32))
        np.save(path("columns.npy"), np.asfortranarray(x))
        random = np.random.default_rng(3)
        np.save(path("same.npy"), np.tile(random.normal(size=3).astype(np.float32), (ITEMS, 1)))
        np.save(path("prompts.npy"), np.repeat(random.normal(size=(ITEMS // 4, 3)).astype(np.float32), 4, axis=0))
        with open(path("half.npy"), "wb") as file:
            np.save(file, x)
            file.truncate(2000)
        with open(path("text.npy"), "w") as file:
            file.write("no numbers in here, but text")
        with open(path("text.safetensors"), "w") as file:
            file.write("no numbers in here, but text")
        write_safetensors(path("two.safetensors"), {"a": ("F16", x.tobytes(), list(x.shape)), "b": ("F16", x.tobytes(), list(x.shape))})
        write_safetensors(path("int.safetensors"), {"a": ("I16", x.tobytes(), list(x.shape))})
        write_safetensors(path("cut.safetensors"), {"a": ("F32", x.tobytes(), list(x.shape))})
        write_safetensors(path("none.safetensors"), {"a": ("F32", b"\0" * 4, [1])})
        for name, offsets in {"early": [-16, x.nbytes - 16], "behind": [1 << 40, (1 << 40) + x.nbytes]}.items():
            header = json.dumps({"a": {"dtype": "F16", "shape": x.shape, "data_offsets": offsets}}).encode()
            with open(path(f"{name}.safetensors"), "wb") as file:
                file.write(struct.pack("<Q", len(header)) + header + x.tobytes())
        with open(path("long.npy"), "wb") as file:
            file.write(b"\x93NUMPY\1\0" + struct.pack("<H", 60000) + b"{'descr': '" + 60000 * b"x")
        with h5py.File(path("lacks.h5"), "w") as file:
            file["embedding"], file["id"] = x[1:], np.array([f"i{i}" for i in range(1, ITEMS)], "S8")
        with h5py.File(path("twice.h5"), "w") as file:
            file["embedding"], file["id"] = x, np.array(["i0"] * ITEMS, "S8")
        with h5py.File(path("text.h5"), "w") as file:
            file["embedding"], file["id"] = np.full((ITEMS, 2), b"x"), np.array([f"i{i}" for i in range(ITEMS)], "S8")
        cases = {
            "nan.npy": (3, ["row 7 ('i7') column 2 is nan"]),
            "inf.npy": (3, ["row 8 ('i8') column 1 is inf"]),
            "short.npy": (3, [f"has {ITEMS - 1} rows, but the votes have {ITEMS} items"]),
            "wide.npy": (3, ["4097 columns", "1 to 4096"]),
            "flat.npy": (3, ["not a matrix"]),
            "int.npy": (3, ["<i4", "float32"]),
            "columns.npy": (3, ["ascontiguousarray"]),
            "same.npy": (3, ["the same embedding"]),
            "prompts.npy": (3, ["the same embedding"]),
            "half.npy": (3, ["is cut off"]),
            "text.npy": (3, ["not an .npy file"]),
            "text.safetensors": (3, ["not a .safetensors file"]),
            "two.safetensors": (3, ["several matrices (a, b)"]),
            "int.safetensors": (3, ["I16", "F32"]),
            "cut.safetensors": (3, ["data_offsets", "28800 bytes"]),
            "early.safetensors": (3, ["data_offsets"]),
            "behind.safetensors": (3, ["data_offsets"]),
            "long.npy": (3, ["its header has 60000 bytes"]),
            "none.safetensors": (3, ["no matrix"]),
            "lacks.h5": (3, ["has no row for some items of the votes, such as 'i0'"]),
            "twice.h5": (3, ["'id' row 1 is 'i0', and so is an earlier row"]),
            "text.h5": (3, ["must be float16"]),
            "absent.npy": (4, ["cannot open"]),
            "absent.h5": (4, ["absent.h5"]),
            "table.csv": (2, [".npy, .safetensors or .h5"]),
        }
        for name, (status, parts) in cases.items():
            with self.subTest(name):
                told = voxpop("fit", VOTES, "-o", path("new.h5"), "--embeddings", path(name), status=status).stderr
                for part in [*parts, name]:
                    self.assertIn(part, told)
                self.assertNotIn("Traceback", told)
        np.save(path("fine.npy"), x)
        for options, part in {("--ignore", "embedding"): "contradict", ("--checkpoint", path("c.ckpt")): "cannot be saved",
                              ("--device", "cuda"): "on a CPU", ("--model", "bt"): "not used by the model bt"}.items():
            told = voxpop("fit", VOTES, "-o", path("new.h5"), "--embeddings", path("fine.npy"), *options, status=2).stderr
            self.assertIn(part, told)


if __name__ == "__main__":
    main()
