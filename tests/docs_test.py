"""The commands in README.md and docs/*.md: every fenced block marked bash, sh or python runs as it is written there.

Blocks of one page run in order, in one folder of the page's own; `docs` there leads to the repository's. Each block is a
process of its own, so variables do not last, but files do. Directly above a block may stand

    <!-- docs-test: skip WHY -->    the block is not run: it needs a GPU, a cluster, the network or minutes
    <!-- docs-test: output -->      the block shows what the block before it printed: words must be equal, numbers within
                                    2 %; a line "..." stands for any lines

Also: links between pages lead somewhere, and no command hides in a block without a language.

Usage: python docs_test.py PATH_TO_VOXPOP [unittest arguments]
"""

import glob
import os
import re
import subprocess
import sys
import unittest
from dataclasses import dataclass

from program import VOXPOP, main, path  # first: it skips where h5py is missing

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PAGES = ["README.md", *sorted(os.path.relpath(page, ROOT) for page in glob.glob(os.path.join(ROOT, "docs", "*.md")))]
MOST_SKIPPED = 17  # raise it only for a block that no machine of CI can run
COMMANDS = re.compile(r"^\s*(\$ )?(voxpop|bash|sh|python3?|pip|mpirun|sbatch|cmake|docker|ctest|apt|sudo|tar) ")


@dataclass
class Block:
    page: str
    line: int  # of the fence, from 1
    language: str
    text: str
    skip: str = ""  # why
    output: bool = False

    def __str__(self):
        return f"{self.page}:{self.line}"


def blocks_of(name, text):
    """The fenced blocks of a page, in order."""
    blocks, fence, above = [], None, ""
    for number, line in enumerate(text.split("\n"), 1):
        start = re.match(r"^(\s*)```(\w*)\s*$", line)
        if fence is None and start:
            mark = re.match(r"^\s*<!-- docs-test: (skip (.+)|output) -->\s*$", above)
            fence = Block(name, number, start[2], "", (mark[2] or "") if mark else "", bool(mark) and mark[1] == "output")
            indent = len(start[1])
        elif fence is not None and start and not start[2]:
            blocks.append(fence)
            fence = None
        elif fence is not None:
            fence.text += line[indent:] + "\n"
        elif "docs-test" in above and line.strip():
            raise AssertionError(f"{name}:{number - 1}: a docs-test comment must stand directly above a block: {above}")
        above = line
    if fence is not None:
        raise AssertionError(f"{fence}: the block has no end")
    return blocks


def is_number(word):
    return re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", word) is not None


def same(shown, printed):
    """Whether two lines say the same: numbers may differ a little, since processors round differently."""
    split = [re.findall(r"[-+]?\d*\.?\d+(?:e[-+]?\d+)?|[^\s\d]+", line) for line in (shown, printed)]
    if len(split[0]) != len(split[1]):
        return False
    for a, b in zip(*split):
        if a != b and not (is_number(a) and is_number(b) and abs(float(a) - float(b)) <= 0.02 * max(abs(float(a)), 0.5)):
            return False
    return True


def shows(block, printed):
    """Why `printed` is not what the block shows; empty if it is."""
    lines, at, any_lines = printed.rstrip("\n").split("\n"), 0, False
    for line in block.text.rstrip("\n").split("\n"):
        if line.strip() == "...":
            any_lines = True
            continue
        while any_lines and at < len(lines) and not same(line, lines[at]):
            at += 1
        if at >= len(lines) or not same(line, lines[at]):
            return f"{block}: '{line}' is shown, but '{lines[at] if at < len(lines) else '(nothing)'}' was printed"
        at, any_lines = at + 1, False
    return "" if at == len(lines) or any_lines else f"{block}: '{lines[at]}' was printed, but is not shown"


def environment(folder):
    """What blocks find: the program first on PATH, the Python of this test, and the repository's Python package."""
    bin_folder = os.path.join(folder, ".bin")
    os.makedirs(bin_folder)
    os.symlink(VOXPOP, os.path.join(bin_folder, "voxpop"))
    for name in "python", "python3":
        with open(os.path.join(bin_folder, name), "w") as file:
            file.write(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        os.chmod(os.path.join(bin_folder, name), 0o755)
    return {**os.environ, "PATH": bin_folder + os.pathsep + os.environ["PATH"], "VOXPOP_PROGRAM": VOXPOP,
            "PYTHONPATH": os.path.join(ROOT, "python", "src")}


def run_page(name, text):
    """Runs a page's blocks; returns what failed and which blocks were skipped."""
    folder = path(name.replace("/", "_"))
    os.makedirs(folder)
    for link in "docs", "scripts", "bench":
        os.symlink(os.path.join(ROOT, link), os.path.join(folder, link))
    env, failed, skipped, printed = environment(folder), [], [], ""
    for block in blocks_of(name, text):
        if block.skip:
            skipped.append(f"{block}: {block.skip}")
        elif block.output:
            problem = shows(block, printed)
            if problem:
                failed.append(problem)
        elif block.language in ("bash", "sh", "python"):
            command = [sys.executable, "-c", block.text] if block.language == "python" else \
                [block.language, "-e", "-c", block.text]
            done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=300,
                                  stdin=subprocess.DEVNULL)
            printed = done.stdout
            if done.returncode != 0:
                failed.append(f"{block}: exit code {done.returncode}\n{block.text}{done.stdout}{done.stderr}")
    return failed, skipped


def read(page):
    with open(os.path.join(ROOT, page), encoding="utf-8") as file:
        return file.read()


class Commands(unittest.TestCase):
    def test_blocks_run_as_written(self):
        all_skipped, ran = [], 0
        for page in PAGES:
            with self.subTest(page=page):
                failed, skipped = run_page(page, read(page))
                all_skipped += skipped
                ran += len(blocks_of(page, read(page))) - len(skipped)
                self.assertEqual([], failed, "\n".join(failed))
        print(f"{len(all_skipped)} blocks skipped:", *all_skipped, sep="\n  ")
        self.assertGreater(ran, 25)
        self.assertLessEqual(len(all_skipped), MOST_SKIPPED, "too many blocks that nobody runs")

    def test_no_command_hides_in_a_block_without_a_language(self):
        for page in PAGES:
            for block in blocks_of(page, read(page)):
                if block.language or block.output:
                    continue
                for line in block.text.split("\n"):
                    self.assertIsNone(COMMANDS.match(line), f"{block}: mark this block bash, or it is not run: {line}")


class Links(unittest.TestCase):
    def anchors(self, page):
        """GitHub's: lower case, blanks as hyphens, no other signs."""
        heads = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", read(page), flags=re.S), flags=re.M)
        return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}

    def test_links_lead_somewhere(self):
        for page in [*PAGES, "CONTRIBUTING.md", "SECURITY.md"]:
            for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", read(page), flags=re.S)):
                if re.match(r"https?:", target):
                    continue
                file, _, anchor = target.partition("#")
                there = os.path.normpath(os.path.join(os.path.dirname(page), file)) if file else page
                self.assertTrue(os.path.exists(os.path.join(ROOT, there)), f"{page}: no file {target}")
                if anchor:
                    self.assertIn(anchor, self.anchors(there), f"{page}: no heading for {target}")

    def test_every_page_is_linked_from_the_readme(self):
        linked = set(re.findall(r"\]\((docs/[\w]+\.md)", read("README.md")))
        self.assertEqual(set(PAGES) - {"README.md"}, linked)

    def test_readme_is_short(self):
        self.assertLessEqual(len(read("README.md").rstrip("\n").split("\n")), 120)


class ThisTest(unittest.TestCase):
    """It must be able to fail."""

    def problems(self, text):
        number = len(os.listdir(path("")))
        return run_page(f"page{number}.md", text)[0]

    def test_a_block_that_fails_is_found(self):
        self.assertEqual([], self.problems("```bash\nvoxpop --version\n```\n"))
        for block in ("```bash\nvoxpop fit nothing.h5 -o fit.h5\n```", "```bash\nfalse\ntrue\n```",
                      "```sh\nvoxpop fit --no-such-option\n```", "```python\nimport voxpop\nvoxpop.no_such_name\n```"):
            self.assertEqual(1, len(self.problems(block + "\n")), block)

    def test_files_last_from_block_to_block(self):
        self.assertEqual([], self.problems("```bash\necho 1 > a\n```\ntext\n```python\nassert open('a').read() == '1\\n'\n```\n"))

    def test_output_that_is_not_printed_is_found(self):
        page = "```bash\necho one; echo two 0.500; echo three\n```\n<!-- docs-test: output -->\n```\n{}\n```\n"
        for shown in "one\ntwo 0.501\nthree", "one\n...", "...\nthree", "one\n...\nthree":
            self.assertEqual([], self.problems(page.format(shown)), shown)
        for shown in "one\ntwo 0.53\nthree", "one\ntwo 0.5", "one\nthree", "...\nfour", "one\n...\ntwo 0.5":
            self.assertEqual(1, len(self.problems(page.format(shown))), shown)

    def test_marks(self):
        self.assertEqual(([], ["p.md:2: needs a GPU"]), run_page("p.md", "<!-- docs-test: skip needs a GPU -->\n```bash\nfalse\n```\n"))
        with self.assertRaises(AssertionError):
            blocks_of("p.md", "<!-- docs-test: skip needs a GPU -->\ntext\n```bash\nfalse\n```\n")


if __name__ == "__main__":
    main()
