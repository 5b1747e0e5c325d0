"""Where the program `voxpop` is, and the command `voxpop` of a Python environment, which becomes that program.

Outside of the package `voxpop`, whose import takes half a second for pandas.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from typing import NoReturn


def bundled_program() -> str | None:
    """Path of the program in the installed package; None where the package came without one."""
    package = importlib.util.find_spec("voxpop")
    for folder in (package.submodule_search_locations or []) if package else []:
        path = os.path.join(folder, "bin", "voxpop")
        if os.access(path, os.X_OK):
            return path
    return None


def program_on_path() -> str | None:
    """The first `voxpop` on PATH that is not such a command as main() below is."""
    for folder in os.get_exec_path():
        path = os.path.join(folder, "voxpop")
        if not folder or not os.path.isfile(path) or not os.access(path, os.X_OK):
            continue
        try:
            with open(path, "rb") as file:
                head = file.read(1000)
        except OSError:  # executable, not readable
            head = b""
        if not (head.startswith(b"#!") and b"_voxpop" in head):
            return path
    return None


def main() -> NoReturn:
    """Replaces this process, so that exit codes and signals are the program's own."""
    program = bundled_program() or program_on_path()
    if program is None:
        print(
            "voxpop: this installation of the Python package has no program in it, and there is none on PATH; "
            "install a wheel that has one, or build the program with 'bash scripts/quickstart.sh'",
            file=sys.stderr,
        )
        sys.exit(1)
    os.execv(program, ["voxpop", *sys.argv[1:]])
