"""Files that appear under their name when they are complete, and folders that go with what owns them."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Union

from voxpop.errors import FileError

Path = Union[str, "os.PathLike[str]"]


@contextmanager
def written_beside(path: Path) -> Iterator[str]:
    """The name of a new file beside `path`, which takes its place and its permissions at the end: never a name that
    others could guess, a link is replaced and not followed. Where anything is raised, `path` stays as it was. Raises FileError."""
    folder, name = os.path.split(os.fspath(path))
    try:
        handle, beside = tempfile.mkstemp(prefix=f".{name}.", dir=folder or ".")
    except OSError as error:
        why = "the folder does not exist; create it first" if isinstance(error, FileNotFoundError) else error.strerror
        raise FileError(f"{os.fspath(path)}: cannot write here: {why}") from error
    os.close(handle)
    try:
        yield beside
        try:
            mode = os.stat(path).st_mode & 0o777
        except FileNotFoundError:
            umask = os.umask(0)
            os.umask(umask)
            mode = 0o666 & ~umask  # mkstemp lets nobody else read
        os.chmod(beside, mode)
        os.replace(beside, path)
    finally:
        if os.path.exists(beside):
            os.remove(beside)


def _remove(path: str, owner: int) -> None:
    if os.getpid() == owner:  # not in a child of fork(), whose parent still needs it
        shutil.rmtree(path, ignore_errors=True)


class Folder:
    """A temporary folder that goes when this object goes, or when the process that made it ends."""

    def __init__(self) -> None:
        self.path = tempfile.mkdtemp(prefix="voxpop-")
        self._end = weakref.finalize(self, _remove, self.path, os.getpid())

    def file(self, name: str) -> str:
        return os.path.join(self.path, name)
