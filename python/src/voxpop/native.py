"""libvoxpop, voxpop in this process: include/voxpop/voxpop_c.h by ctypes, so one wheel serves every Python."""

from __future__ import annotations

import ctypes
import json
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Union

import numpy as np
import numpy.typing as npt

from voxpop.errors import BadInputError, InternalError, UsageError, by_exit_code
from voxpop.version import __version__

Array = npt.NDArray[Any]
Values = Union[Array, Sequence[str], "npt.NDArray[np.object_]"]

_TEXT = 7
_TYPES = {np.dtype(name): number for number, name in
          enumerate(("int8", "int32", "uint32", "int64", "float32", "float64"), start=1)}
_DTYPES = {number: dtype for dtype, number in _TYPES.items()}
_INTERRUPTED = 130
_PATIENCE = 0.5  # seconds from Ctrl-C until KeyboardInterrupt, where the library does not stop earlier


class _Column(ctypes.Structure):
    _fields_ = [("type", ctypes.c_int), ("rows", ctypes.c_uint64), ("columns", ctypes.c_uint64),
                ("data", ctypes.c_void_p), ("offsets", ctypes.c_void_p)]


_Note = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_char_p)
_Progress = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint64, ctypes.c_uint64, ctypes.c_char_p)
_Stop = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)
_Use = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint64)


class _Context(ctypes.Structure):
    _fields_ = [("user", ctypes.c_void_p), ("note", _Note), ("progress", _Progress), ("stop", _Stop),
                ("threads", ctypes.c_int32), ("device", ctypes.c_char_p), ("memory_limit", ctypes.c_uint64),
                ("stop_flag", ctypes.POINTER(ctypes.c_int32))]


def _declare(library: ctypes.CDLL) -> None:
    pointer, text, status = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
    context = ctypes.POINTER(_Context)
    functions: dict[str, tuple[Any, list[Any]]] = {
        "voxpop_version": (text, []),
        "voxpop_error": (text, []),
        "voxpop_votes_new": (pointer, []),
        "voxpop_votes_free": (None, [pointer]),
        "voxpop_votes_set": (status, [pointer, text, ctypes.POINTER(_Column)]),
        "voxpop_votes_mark": (status, [pointer, text]),
        "voxpop_votes_read": (status, [pointer, ctypes.POINTER(text), ctypes.c_uint64, context]),
        "voxpop_votes_json": (text, [pointer]),
        "voxpop_votes_write": (status, [pointer, text, context]),
        "voxpop_evaluate": (status, [pointer, text, context, ctypes.POINTER(text)]),
        "voxpop_fit_votes": (status, [pointer, text, context, ctypes.POINTER(pointer)]),
        "voxpop_fit_read": (status, [text, context, ctypes.POINTER(pointer)]),
        "voxpop_fit_free": (None, [pointer]),
        "voxpop_fit_column": (status, [pointer, text, ctypes.POINTER(_Column)]),
        "voxpop_fit_names": (text, [pointer]),
        "voxpop_fit_json": (text, [pointer]),
        "voxpop_fit_write": (status, [pointer, text, context]),
        "voxpop_fit_report": (status, [pointer, ctypes.POINTER(text)]),
        "voxpop_fit_rows": (status, [pointer, text, context, _Use, pointer]),
    }
    for name, (result, arguments) in functions.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments


@lru_cache(maxsize=None)
def _load(path: str) -> tuple[ctypes.CDLL | None, str]:
    """The library, or None and why not."""
    try:
        library = ctypes.CDLL(path)
        _declare(library)
    except (OSError, AttributeError) as error:
        return None, str(error)
    version = library.voxpop_version().decode()
    if version != __version__:
        return None, f"{path}: is of voxpop {version}, but this package is of {__version__}"
    return library, ""


def _candidates() -> list[str]:
    from voxpop.errors import ProgramNotFoundError
    from voxpop.program import find_program

    named = "VOXPOP_PROGRAM" in os.environ
    paths = [] if named else [os.path.join(os.path.dirname(__file__), "lib", "libvoxpop.so")]
    try:
        folder = os.path.dirname(os.path.realpath(find_program()))
        paths += [os.path.join(folder, "libvoxpop.so"), os.path.join(folder, "..", "lib", "libvoxpop.so")]
    except ProgramNotFoundError:
        pass
    paths = [path for path in paths if os.path.exists(path)]
    short = __version__.rpartition(".")[0]
    return paths if named else [*paths, f"libvoxpop.so.{short}"]  # the last one: where the system has libraries


def find_library() -> ctypes.CDLL | None:
    """libvoxpop of this version, or None: of the environment variable VOXPOP_LIBRARY (empty: none), else that of the
    package, else the one beside the program, else the system's. A program named by VOXPOP_PROGRAM has none but its own.

    Raises UsageError where VOXPOP_LIBRARY names what cannot be loaded.
    """
    named = os.environ.get("VOXPOP_LIBRARY")
    if named is not None:
        library, why = _load(named) if named else (None, "")
        if named and library is None:
            raise UsageError(f"VOXPOP_LIBRARY is '{named}', which cannot be used: {why}")
        return library
    return next((library for library, _ in map(_load, _candidates()) if library is not None), None)


class _Texts:
    """Texts as the library takes them: their bytes and where each begins."""

    def __init__(self, name: str, texts: Any) -> None:
        arrow = getattr(texts, "__arrow_array__", None)
        if "pyarrow" in sys.modules and (arrow is not None or type(texts).__module__.startswith("pyarrow")):
            self._of_arrow(name, arrow() if arrow is not None else texts)
            return
        listed = texts.tolist() if isinstance(texts, np.ndarray) else list(texts)
        try:
            whole = "".join(listed)
            self.bytes = whole.encode()
            plain = len(self.bytes) == len(whole)
            lengths = map(len, listed) if plain else (len(one.encode()) for one in listed)
            self.offsets = np.zeros(len(listed) + 1, np.int64)
            np.cumsum(np.fromiter(lengths, np.int64, len(listed)), out=self.offsets[1:])
        except UnicodeEncodeError as error:
            raise BadInputError(f"'{name}': an id is not a text: {error}") from error
        except TypeError as error:
            raise BadInputError(f"'{name}': texts are needed: {error}") from error
        if 0 in self.bytes:
            raise BadInputError(f"'{name}': an id is not a text that a file can hold: it has a zero character")
        self.data: Any = ctypes.cast(ctypes.c_char_p(self.bytes), ctypes.c_void_p)

    def _of_arrow(self, name: str, texts: Any) -> None:
        import pyarrow

        if isinstance(texts, pyarrow.ChunkedArray):
            texts = texts.combine_chunks()
        if isinstance(texts, pyarrow.ChunkedArray):  # of several chunks, which are too long for one array
            texts = pyarrow.concat_arrays(texts.cast(pyarrow.large_string()).chunks)
        if not (pyarrow.types.is_string(texts.type) or pyarrow.types.is_large_string(texts.type)):
            texts = texts.cast(pyarrow.large_string())
        if texts.null_count > 0:
            raise BadInputError(f"'{name}': an id must not be missing")
        wide = pyarrow.types.is_large_string(texts.type)
        _, offsets, data = texts.buffers()
        if len(texts) == 0:
            self.offsets, self.bytes, self.data = np.zeros(1, np.int64), b"", None
            return
        numbers = np.frombuffer(offsets, np.int64 if wide else np.int32)[texts.offset : texts.offset + len(texts) + 1]
        self.offsets = np.ascontiguousarray(numbers, np.int64)
        self.bytes, self.data = texts, ctypes.c_void_p(data.address if data is not None else None)

    def column(self) -> _Column:
        return _Column(_TEXT, len(self.offsets) - 1, 1, self.data, self.offsets.ctypes.data)


def _numbers(name: str, values: Any) -> Array:
    """As a type that the library takes; the same memory where it is one already."""
    array = np.asarray(values)
    if array.dtype.kind == "b":
        array = array.view(np.int8)
    if array.dtype.kind not in "iuf" or array.ndim not in (1, 2):
        raise BadInputError(f"'{name}': numbers are needed, a row each; this is {array.dtype} of shape {array.shape}")
    dtype = array.dtype.newbyteorder("=")
    if dtype not in _TYPES:
        if dtype.kind == "u" and dtype.itemsize == 8:
            if array.size and array.max() > np.iinfo(np.int64).max:
                raise BadInputError(f"'{name}': {array.max()} is too large")
            dtype = np.dtype(np.int64)
        else:
            dtype = np.dtype(np.int32 if dtype.kind in "iu" else np.float32 if dtype.itemsize < 4 else np.float64)
    return np.ascontiguousarray(array, dtype)


class _Memory:
    """The library's memory for numpy: a view keeps this object alive, and with it the owner."""

    def __init__(self, owner: Any, address: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._owner = owner
        self.__array_interface__ = {"version": 3, "shape": shape, "typestr": dtype.str, "data": (address, True)}


def _raise(status: int, message: str) -> None:
    if status == _INTERRUPTED:
        raise KeyboardInterrupt
    if status != 0:
        raise by_exit_code.get(status, InternalError)(message)


class _Told:
    """What a run tells: notes and, on a terminal, progress, on sys.stderr."""

    def __init__(self, loud: bool) -> None:
        self.notes: list[str] = []
        self._loud = loud
        self._shown, self._last = 0, 0.0

    def note(self, _user: Any, text: bytes) -> None:
        self.notes.append(text.decode(errors="replace"))
        if self._loud:
            self.clear()
            sys.stderr.write(f"note: {self.notes[-1]}\n")

    def progress(self, _user: Any, phase: bytes, done: int, total: int, detail: bytes) -> None:
        now = time.monotonic()
        if now - self._last < 0.2:
            return
        self._last = now
        text = f"{phase.decode(errors='replace')} {100 * done // max(total, 1)} % {detail.decode(errors='replace')}"[:100]
        sys.stderr.write("\r" + text.ljust(self._shown))
        sys.stderr.flush()
        self._shown = len(text)

    def clear(self) -> None:
        if self._shown:
            sys.stderr.write("\r" + " " * self._shown + "\r")
            self._shown = 0


class _Run:
    """One call of the library with a context: in a thread of its own, so that Ctrl-C reaches the thread that waits."""

    def __init__(self, library: ctypes.CDLL, *, threads: int = 0, device: str | None = None, memory_limit: int = 0,
                 progress: bool = False) -> None:
        self._library = library
        self._flag = ctypes.c_int32(0)
        self._told = _Told(progress)
        self.context = _Context(threads=threads, device=device.encode() if device else None, memory_limit=memory_limit)
        self.context.stop_flag = ctypes.pointer(self._flag)
        if progress:
            self.context.note = _Note(self._told.note)
            if sys.stderr is not None and sys.stderr.isatty():
                self.context.progress = _Progress(self._told.progress)

    def call(self, act: Callable[[], int], undo: Callable[[], None] | None = None) -> None:
        """Raises what the library's error means. On Ctrl-C the library is told to stop. It may take seconds until it looks;
        then it ends in the background, with the objects that `act` holds, and `undo` is called if it did not fail."""
        outcome: list[Any] = []
        ended, turn = threading.Event(), threading.Lock()
        left = False  # nobody waits any longer

        def work() -> None:
            try:
                status = act()
                outcome.append((status, self._library.voxpop_error().decode(errors="replace") if status else ""))
            except BaseException as error:  # raised again by the thread that waits
                outcome.append(error)
            with turn:
                ended.set()
                if left and undo is not None and outcome[0] == (0, ""):
                    undo()

        # Not a daemon: at its end, the process must not take the library's memory from under it.
        threading.Thread(target=work, name="voxpop").start()
        try:
            # In turns, since a signal that reached another thread does not wake this one.
            while not ended.wait(0.1):
                pass
        except BaseException:
            self._flag.value = 1
            ended.wait(_PATIENCE)
            with turn:
                left = True
                if ended.is_set() and undo is not None and outcome[0] == (0, ""):
                    undo()
            raise
        finally:
            self._told.clear()
        if isinstance(outcome[0], BaseException):
            raise outcome[0]
        _raise(*outcome[0])


class NativeVotes:
    """A voxpop_votes. Columns have the names of comparisons/1; `items/features.names` goes before `items/features`."""

    def __init__(self, library: ctypes.CDLL, columns: Mapping[str, Any], marks: Sequence[str] = ()) -> None:
        self._library = library
        self.pointer = library.voxpop_votes_new()
        if not self.pointer:
            raise InternalError("out of memory")
        self.free: Callable[[], Any] = weakref.finalize(self, library.voxpop_votes_free, self.pointer)
        for name, values in columns.items():
            self._set(name, values)
        for mark in marks:
            self._check(library.voxpop_votes_mark(self.pointer, mark.encode()))

    def _check(self, status: int) -> None:
        _raise(status, self._library.voxpop_error().decode(errors="replace") if status else "")

    def _set(self, name: str, values: Any) -> None:
        kept: Any  # what the column points to
        if name.endswith(("/id", ".names")):
            kept = _Texts(name, values)
            column = kept.column()
        else:
            kept = _numbers(name, values)
            column = _Column(_TYPES[kept.dtype], len(kept), kept.shape[1] if kept.ndim == 2 else 1, kept.ctypes.data, None)
        self._check(self._library.voxpop_votes_set(self.pointer, name.encode(), ctypes.byref(column)))
        del kept

    def read(self, *paths: str | os.PathLike[str]) -> None:
        """Reads comparisons/1 files in place of what is there."""
        run, names = _Run(self._library), (ctypes.c_char_p * len(paths))(*map(os.fsencode, paths))
        run.call(lambda: int(self._library.voxpop_votes_read(self.pointer, names, len(paths), ctypes.byref(run.context))))

    def inputs(self) -> list[dict[str, Any]]:
        """Files that were read: path, bytes, xxh3."""
        inputs: list[dict[str, Any]] = json.loads(self._library.voxpop_votes_json(self.pointer))["inputs"]
        return inputs

    def write(self, path: str | os.PathLike[str]) -> None:
        """Writes comparisons/1."""
        run = _Run(self._library)
        run.call(lambda: int(self._library.voxpop_votes_write(self.pointer, os.fsencode(path), ctypes.byref(run.context))))


class NativeFit:
    """A voxpop_fit; freed when neither this object nor a view of one of its columns is left."""

    def __init__(self, library: ctypes.CDLL, pointer: int) -> None:
        self._library = library
        self._pointer = pointer
        self._lock = threading.Lock()  # a fit may be used by one thread at a time
        end = weakref.finalize(self, library.voxpop_fit_free, pointer)
        end.atexit = False  # views may be used until the very end
        with self._lock:
            listed = library.voxpop_fit_names(pointer).decode().split("\n")[:-1]
            self.names: list[str] = [name for name in listed if not name.endswith(".names")]
            self.provenance: dict[str, Any] = json.loads(library.voxpop_fit_json(pointer))

    def column(self, name: str, copy: bool = False) -> Array:
        """A column: numbers as a view that cannot be written to (`copy`: an array of its own), texts as objects. Raises
        KeyError."""
        column = _Column()
        with self._lock:
            if self._library.voxpop_fit_column(self._pointer, name.encode(), ctypes.byref(column)) != 0:
                raise KeyError(name)
        rows = int(column.rows)
        if column.type == _TEXT:
            return self._texts(column, rows)
        shape = (rows,) if column.columns == 1 else (rows, int(column.columns))
        dtype = _DTYPES[column.type]
        if not column.data or rows == 0:
            return np.empty(shape, dtype)
        view = np.asarray(_Memory(self, int(column.data), shape, dtype))
        return view.copy() if copy else view

    def enum(self, name: str) -> list[str] | None:
        """Names of a column's numbers 0, 1, ...; None where they are but numbers."""
        try:
            return list(self.column(name + ".names"))
        except KeyError:
            return None

    def _texts(self, column: _Column, rows: int) -> npt.NDArray[np.object_]:
        out = np.empty(rows, object)
        if rows == 0:
            return out
        ends = np.asarray(_Memory(self, int(column.offsets), (rows + 1,), np.dtype(np.int64))).tolist()
        raw = ctypes.string_at(column.data, ends[-1]) if ends[-1] else b""
        if raw.isascii():
            text = raw.decode()
            out[:] = [text[begin:end] for begin, end in zip(ends, ends[1:])]
        else:
            out[:] = [raw[begin:end].decode() for begin, end in zip(ends, ends[1:])]
        return out

    def write(self, path: str | os.PathLike[str]) -> None:
        """Writes fit/1."""
        run = _Run(self._library)
        with self._lock:
            run.call(lambda: int(self._library.voxpop_fit_write(self._pointer, os.fsencode(path), ctypes.byref(run.context))))

    def inputs_of(self, path: str) -> list[dict[str, Any]]:
        """What a provenance says of a file of votes."""
        votes = NativeVotes(self._library, {})
        votes.read(path)
        return votes.inputs()

    def report(self) -> str:
        """The report's page."""
        page = ctypes.c_char_p()
        with self._lock:
            status = self._library.voxpop_fit_report(self._pointer, ctypes.byref(page))
            _raise(status, self._library.voxpop_error().decode(errors="replace") if status else "")
            return (page.value or b"").decode()

    def rows(self, request: Mapping[str, Any]) -> bytes:
        """Rows for trainers, a line each. `request`: members of RowsRequest."""
        lines: list[bytes] = []
        use = _Use(lambda _user, text, size: lines.append(ctypes.string_at(text, size)))
        run, asked = _Run(self._library, progress=True), json.dumps(request).encode()
        with self._lock:
            run.call(lambda: int(self._library.voxpop_fit_rows(self._pointer, asked, ctypes.byref(run.context), use, None)))
        return b"".join(lines)


def fit_votes(library: ctypes.CDLL, columns: Mapping[str, Any], request: Mapping[str, Any], *, marks: Sequence[str] = (),
              threads: int = 0, device: str | None = None, memory_limit: int = 0, progress: bool = False) -> NativeFit:
    """Fits columns of comparisons/1. `request`: members of FitRequest. Raises a VoxpopError, or KeyboardInterrupt."""
    votes = NativeVotes(library, columns, marks)
    run = _Run(library, threads=threads, device=device, memory_limit=memory_limit, progress=progress)
    made = ctypes.c_void_p()
    asked = json.dumps(request).encode()
    run.call(lambda: int(library.voxpop_fit_votes(votes.pointer, asked, ctypes.byref(run.context), ctypes.byref(made))),
             undo=lambda: library.voxpop_fit_free(made))
    if made.value is None:
        raise InternalError("the library gave no fit")
    return NativeFit(library, made.value)


def evaluate_votes(library: ctypes.CDLL, columns: Mapping[str, Any], request: Mapping[str, Any], *, threads: int = 0,
                   device: str | None = None, memory_limit: int = 0, progress: bool = False) -> dict[str, Any]:
    """What 'voxpop evaluate --json' prints of columns of comparisons/1. `request`: members of EvaluateRequest."""
    votes = NativeVotes(library, columns)
    run = _Run(library, threads=threads, device=device, memory_limit=memory_limit, progress=progress)
    asked, text, found = json.dumps(request).encode(), ctypes.c_char_p(), list[dict[str, Any]]()

    def act() -> int:
        status = int(library.voxpop_evaluate(votes.pointer, asked, ctypes.byref(run.context), ctypes.byref(text)))
        if status == 0:
            found.append(json.loads(text.value or b"{}"))  # here: the text goes with this thread
        return status

    run.call(act)
    return found[0]
