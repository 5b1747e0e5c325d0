"""Which program is run, and the command `voxpop` of an environment. tests/wheel_test.py has these with a real wheel."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import _voxpop
import pytest

import voxpop
from voxpop.program import find_program


def program(path, text="#!/bin/sh\necho \"$0 $*\"\nexit 5\n"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def places(tmp_path, monkeypatch):
    """One program in the package, one on PATH."""
    package = tmp_path / "site-packages" / "voxpop"
    monkeypatch.delenv("VOXPOP_PROGRAM", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    spec = importlib.util.spec_from_loader("voxpop", None, is_package=True)
    spec.submodule_search_locations = [str(package)]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    return program(package / "bin" / "voxpop"), program(tmp_path / "path" / "voxpop")


def test_variable_then_package_then_path(places, tmp_path, monkeypatch):
    bundled, on_path = places
    assert find_program() == bundled
    os.remove(bundled)
    assert find_program() == on_path
    named = program(tmp_path / "mine")
    monkeypatch.setenv("VOXPOP_PROGRAM", named)
    assert find_program() == named


def test_command_of_an_environment_is_not_the_program(places, tmp_path, monkeypatch):
    bundled, on_path = places
    os.remove(bundled)
    command = "#!/usr/bin/python3\nimport sys\nfrom _voxpop import main\nif __name__ == '__main__':\n    sys.exit(main())\n"
    program(tmp_path / "venv" / "voxpop", command)
    monkeypatch.setenv("PATH", f"{tmp_path / 'venv'}{os.pathsep}{tmp_path / 'nowhere'}{os.pathsep}{tmp_path / 'path'}")
    assert find_program() == on_path
    os.remove(on_path)
    with pytest.raises(voxpop.ProgramNotFoundError):
        find_program()


def test_what_cannot_be_run_is_not_the_program(places, tmp_path):
    bundled, on_path = places
    os.chmod(bundled, 0o644)
    assert find_program() == on_path
    os.remove(on_path)
    os.mkdir(on_path)
    with pytest.raises(voxpop.ProgramNotFoundError):
        find_program()


def command(path, *arguments):
    source = Path(_voxpop.__file__).parent
    code = f"import sys; sys.path.insert(0, {str(source)!r}); import _voxpop; _voxpop.main()"
    environment = {"PATH": str(path)}
    return subprocess.run([sys.executable, "-S", "-c", code, *arguments], env=environment, capture_output=True, text=True)


def test_command_becomes_the_program(tmp_path):
    on_path = program(tmp_path / "voxpop")
    done = command(tmp_path, "fit", "two words", "")
    assert (done.returncode, done.stdout) == (5, f"{on_path} fit two words \n")


def test_command_without_a_program_says_what_to_do(tmp_path):
    done = command(tmp_path, "fit")
    assert done.returncode == 1
    assert done.stderr.startswith("voxpop: this installation of the Python package has no program in it")


def test_command_does_not_import_the_package():
    source = Path(_voxpop.__file__).parent
    code = f"import sys; sys.path.insert(0, {str(source)!r}); import _voxpop; _voxpop.bundled_program(); print('voxpop' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
