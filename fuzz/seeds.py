"""Writes the harnesses' first inputs: seeds.py PROGRAM FOLDER makes FOLDER/HARNESS/..., from what PROGRAM writes."""

import gzip
import json
import pathlib
import random
import subprocess
import sys

import h5py
import numpy as np

CSV = (
    'left,right,preference,annotator,prompt,timestamp\na,b,left,x,p1,1700000000\nb,a,tie,y,p1,1.7e9\n'
    '"c, ""d""",e,RIGHT,x,"p\n2",12\n'
)
JSONL = (
    '{"left":"a","right":"b","preference":"left","annotator":"x","prompt":"p","timestamp":5}\n'
    '{"left":"\\u00e4\\n","right":7,"preference":-2,"annotator":true,"prompt":null,"timestamp":1.5}\n'
)
MAPPED = "left,right,preference\na,b,A>B\nb,c,B>A\nc,a,draw\na,c,A>>B\n"


def imports():
    """Two bytes of options, then the text: see import_votes.cc."""
    zipped, mapped, own_map, two = 32, 8, 16, 64
    yield bytes([0, 0]) + CSV.encode()
    yield bytes([36, 28]) + CSV.replace("\n", "\r\n").encode()
    yield bytes([1, 0]) + CSV.replace(",", "\t").encode()
    yield bytes([mapped + 1, 0]) + MAPPED.encode()
    yield bytes([own_map + 2, 0]) + ("A>B=left,B>A=-3,draw=tie,A>>B=9\n" + MAPPED).encode()
    yield bytes([2, 0]) + JSONL.encode()
    yield bytes([zipped, 0]) + JSONL.encode()[:60]
    yield bytes([two + 2, 0]) + (CSV + "\n\n" + CSV).encode()
    yield bytes([0, 0]) + b"\xef\xbb\xbf" + CSV.encode()
    yield bytes([0, 0]) + b"\xff\xfel\0e\0"
    yield bytes([0, 0]) + gzip.compress(CSV.encode(), mtime=0)


def texts():
    """Three bytes of options, then texts as JSONL: see export_texts.cc."""
    ids = ["a", "b", 7, -1, "ä", 'x"\\\n\x01,', "", "long " + 300 * "x", "other", 2**63]
    plain = [{"id": i, "text": f'text of {i}\n"q", é', "prompt": "why?"} for i in ids]
    lists = [{"id": i, "text": [{"role": "user", "content": str(i)}]} for i in ids]
    for style in range(7):
        for options in (0, 0x31, 2, 6, 8):
            lines = lists if (style + options) % 3 == 0 else plain
            text = "\n".join(json.dumps(line, ensure_ascii=style % 2 == 0) for line in lines)
            yield bytes([style, options, style]) + text.encode()
    yield bytes([3, 0, 0]) + b'{"id":"a","text":' + 50 * b"[" + b"1" + 50 * b"]" + b'}\n{"id":"b","text":[1]}'
    yield bytes([0, 0, 0]) + gzip.compress("\n".join(map(json.dumps, plain)).encode(), mtime=0)


def choices(count, most):
    """For harnesses that draw from their bytes."""
    chance = random.Random(count)
    yield bytes(most)
    for i in range(count):
        yield chance.randbytes(most >> i % 4)


def files(program, folder):
    """Small votes and fits, as the program and as h5py write them."""

    def run(*arguments):
        subprocess.run([program, *arguments, "--quiet"], check=True, stdout=subprocess.DEVNULL)

    votes, fit = folder / "votes.h5", folder / "fit.h5"
    small = ["--prompts", "2", "--responses", "3", "--pairs-per-prompt", "3", "--annotators", "3", "--votes-per-pair", "2"]
    for more, model in (
        (["--no-compress"], "rater"),
        (["--ties", ".2", "--grades", "2", "--days", "1", "--features", "2", "--prior-score", ".5"], "rater"),
        (["--ties", ".1"], "crowd-bt"),
    ):
        run("simulate", str(votes), *small, *more)
        yield votes.read_bytes()
        run("fit", str(votes), "-o", str(fit), "--model", model, "--no-compress")
        yield fit.read_bytes()
    for version in ("earliest", "latest"):
        with h5py.File(votes, "w", libver=version) as file:
            file.attrs["voxpop_schema"] = "comparisons/1"
            for name, values in (("left", [0, 1, 2]), ("right", [1, 2, 0]), ("annotator", [0, 1, 0])):
                file["comparisons/" + name] = np.array(values, "i4")
            file.create_dataset("comparisons/preference", data=np.array([1, 0, -1], "i1"), chunks=(2,), shuffle=True)
            file["items/id"] = np.array([b"a", b"b", b"c"])
            file["annotators/id"] = np.array(["x", "y"], h5py.string_dtype())
        yield votes.read_bytes()
    for path in (votes, fit):
        path.unlink()


def main():
    program, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    for harness, seeds in {
        "import_votes": imports(),
        "export_texts": texts(),
        "fit_votes": choices(16, 600),
        "read_votes_structure": choices(12, 800),
        "read_fit_structure": choices(24, 300),
        "resume_checkpoint": choices(24, 200),
        "read_bytes": files(program, folder),
    }.items():
        for i, seed in enumerate(seeds):
            (folder / harness).mkdir(exist_ok=True)
            (folder / harness / str(i)).write_bytes(seed)


main()
