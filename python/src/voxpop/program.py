"""Finds the program `voxpop` and runs it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from typing import IO, Any

from _voxpop import bundled_program, program_on_path
from voxpop.errors import InternalError, ProgramNotFoundError, by_exit_code


def find_program() -> str:
    """Path of the program: environment variable VOXPOP_PROGRAM, else that of the wheel, else `voxpop` on PATH."""
    named = os.environ.get("VOXPOP_PROGRAM")
    found = shutil.which(named) if named else bundled_program() or program_on_path()
    if found:
        return found
    raise ProgramNotFoundError(
        f"VOXPOP_PROGRAM is '{named}', which is not a program"
        if named
        else "no program 'voxpop' in the package or on PATH; build it with 'bash scripts/quickstart.sh' or install its package, "
        "or set VOXPOP_PROGRAM to where it is"
    )


def options(values: dict[str, Any]) -> list[str]:
    """Command-line options from keyword arguments: {"min_probability": 0.9, "keep_ties": True, "seed": None}."""
    arguments: list[str] = []
    for key, value in values.items():
        if value is None or value is False:
            continue
        arguments.append("--" + key.replace("_", "-"))
        if value is not True:
            arguments += [str(one) for one in value] if isinstance(value, (list, tuple)) else [str(value)]
    return arguments


def run(*arguments: str | os.PathLike[str], progress: bool = True, notes: list[str] | None = None, partial: int = 0) -> str:
    """Runs the program and returns what it prints. `progress`: its progress and notes go to sys.stderr as they come.
    `notes`: its notes go there instead. `partial`: an exit code that is no error if something was printed.

    Raises the VoxpopError that its exit code means, with its text; KeyboardInterrupt ends the program, too.
    """
    loud = progress or notes is not None
    command = [find_program(), *(os.fspath(one) for one in arguments)] + ([] if loud else ["--quiet"])
    told: list[str] = []

    def listen(stream: IO[str]) -> None:
        for line in stream:
            told.append(line)
            if notes is not None:
                if line.startswith("note: "):
                    notes.append(line[len("note: ") :].rstrip("\n"))
            elif progress and not line.startswith("voxpop: "):
                sys.stderr.write(line)

    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8") as child:
        assert child.stdout is not None and child.stderr is not None
        listener = threading.Thread(target=listen, args=(child.stderr,), daemon=True)
        listener.start()
        try:
            out = child.stdout.read()
            status = child.wait()
        except KeyboardInterrupt:
            child.send_signal(signal.SIGINT)
            child.wait()
            raise
        listener.join()
    if status == 0 or status == partial and out:
        return out
    if status == 130:
        raise KeyboardInterrupt
    texts = [line[len("voxpop: ") :].rstrip("\n") for line in told if line.startswith("voxpop: ")]
    raise by_exit_code.get(status, InternalError)("\n".join(texts) or f"voxpop ended with exit code {status}")
