import numpy as np
import pandas as pd
import pytest

import voxpop
from voxpop.program import find_program


def pytest_collection_modifyitems(items):
    try:
        find_program()
    except voxpop.ProgramNotFoundError:
        for item in (item for item in items if item.path.name != "test_program.py"):  # which makes its own
            item.add_marker(pytest.mark.skip(reason="no program voxpop: set VOXPOP_PROGRAM"))


@pytest.fixture(scope="session")
def table():
    """Five careful people and one who clicks at random, on 300 pairs of 100 prompts."""
    random = np.random.default_rng(1)
    score = random.normal(size=(100, 3))
    rows = []
    for prompt in range(100):
        for left, right in (0, 1), (1, 2), (2, 0):
            for who in range(6):
                sure = 2.5 if who < 5 else 0.0
                wins = random.random() < 1 / (1 + np.exp(-sure * (score[prompt, left] - score[prompt, right])))
                pair = f"q{prompt}/{left}", f"q{prompt}/{right}"
                rows.append((f"q{prompt}", *pair, f"person {who}", "left" if wins else "right"))
    return pd.DataFrame(rows, columns=["prompt", "left", "right", "annotator", "preference"])


@pytest.fixture(scope="session")
def fitted(table):
    return voxpop.fit(table, progress=False)
