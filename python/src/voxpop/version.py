"""The version, which stands in CMakeLists.txt alone."""

import importlib.metadata
import re
from pathlib import Path


def _version() -> str:
    """That of the source tree, where this file lies in one; else that of the installed package."""
    top = Path(__file__).resolve().parents
    try:
        found = re.search(r"^project\(voxpop VERSION ([0-9.]+)", (top[3] / "CMakeLists.txt").read_text(), re.MULTILINE)
    except (OSError, IndexError):
        found = None
    return found[1] if found else importlib.metadata.version("voxpop")


__version__ = _version()
