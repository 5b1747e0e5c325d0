"""Votes of any shape as columns of comparisons/1, where they are plain, else as a file by 'voxpop import'."""

from __future__ import annotations

import inspect
import json
import os
import threading
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import pandas as pd

from voxpop.errors import BadInputError, FileError, UsageError, VotesWarning
from voxpop.files import Folder, Path
from voxpop.frames import Kind, as_table, is_table, kind_of
from voxpop.program import run
from voxpop.votes import comparisons, require_texts, write_columns

Side = Literal["left", "right"]


class Votes:
    """Votes that were read and checked; voxpop.fit() takes them. `path`: a comparisons/1 file of them, which is written
    when it is first asked for, and goes when this object goes."""

    def __init__(self, summary: dict[str, Any], index: pd.Index[Any] | None, *, path: str | None = None,
                 folder: Folder | None = None, columns: dict[str, Any] | None = None, frames: Kind = "pandas") -> None:
        self.summary = summary  #: votes, items, annotators, and where 'voxpop import' read them what each value was taken for
        self.index = index  #: of the table, a row a vote; None where rows and votes are not the same
        self.columns = columns  #: of comparisons/1, by name; None where they are in the file alone
        self.frames: Kind = frames  #: the kind of the table, which frames of a fit have, too
        self._path = path
        self._folder = folder
        self._lock = threading.Lock()

    @property
    def path(self) -> str:
        with self._lock:
            if self._path is None:
                folder = Folder()
                path = folder.file("votes.h5")
                write_columns(self.columns or {}, path)
                self._folder, self._path = folder, path
            return self._path

    def __reduce__(self) -> Any:
        if self.columns is None:
            raise TypeError("these votes are in a file that goes with them; read them again elsewhere")
        return _unpickled, (self.summary, self.index, self.columns, self.frames)

    def __repr__(self) -> str:
        counts = ", ".join(f"{self.summary[name]} {name}" for name in ("votes", "items", "annotators") if name in self.summary)
        return f"<voxpop.Votes: {counts}>"


def _unpickled(summary: dict[str, Any], index: pd.Index[Any] | None, columns: dict[str, Any], frames: Kind) -> Votes:
    return Votes(summary, index, columns=columns, frames=frames)


def _quoted(value: Any) -> str:
    return '"' + str(value).replace('"', '""') + '"'


def _arguments(given: Mapping[str, Any]) -> list[str]:
    """Options of 'voxpop import' from keyword arguments."""
    arguments: list[str] = []
    for name, value in given.items():
        option = "--" + name.replace("_", "-")
        if value is None or value is False:
            continue
        if value is True:
            arguments.append(option)
        elif name == "map":
            arguments += [option, ",".join(f"{_quoted(key)}={meaning}" for key, meaning in value.items())]
        elif name == "each":
            for one in [value] if isinstance(value, str) else value:
                arguments += [option, one]
        elif isinstance(value, (list, tuple)):
            arguments += [option, ",".join(map(str, value))]
        else:
            arguments += [option, os.fspath(value) if isinstance(value, os.PathLike) else str(value)]
    return arguments


def _import(paths: Sequence[str], folder: Folder, given: Mapping[str, Any], frames: Kind) -> Votes:
    path, notes = folder.file("votes.h5"), list[str]()
    summary = json.loads(run("import", *paths, "-o", path, "--json", *_arguments(given), notes=notes))
    for note in notes:
        warnings.warn(note, VotesWarning, stacklevel=4)
    return Votes(summary, None, path=path, folder=folder, frames=frames)


def _as_paths(votes: Path | Iterable[Path]) -> list[str]:
    paths = [os.fspath(one) for one in ([votes] if isinstance(votes, (str, os.PathLike)) else votes)]
    if not paths:
        raise BadInputError("no files: there are no votes to read")
    return paths


def _read(votes: Any, plain: dict[str, Any], shape: dict[str, Any]) -> Votes:
    """`plain`: what write_comparisons() knows of; `shape`: other options of 'voxpop import', where given."""
    shape = {name: value for name, value in shape.items() if value is not None and value is not False}
    frames = kind_of(votes)
    table = as_table(votes) if is_table(votes) else None
    paths = [] if table is not None else _as_paths(votes)
    if paths and all(one.endswith(".parquet") for one in paths):
        try:
            table = pd.concat([pd.read_parquet(one) for one in paths], ignore_index=True)
        except OSError as error:
            raise FileError(str(error)) from error
    elif paths and (plain["prior_score"] is not None or plain["features"] is not None):
        raise BadInputError("prior_score and features go with a table of votes; a file has its own (items/...)")
    if isinstance(table, list) and not shape:
        table = pd.DataFrame(table)
    if table is not None and not shape and not any(isinstance(value, str) and value == "" for value in plain.values()):
        columns = comparisons(table, **plain)
        require_texts(columns)
        return Votes({"votes": len(table)}, getattr(table, "index", pd.RangeIndex(len(table))), columns=columns, frames=frames)
    if plain["prior_score"] is not None or plain["features"] is not None:
        raise UsageError("prior_score and features go with plain columns left, right and preference alone")
    usual = {"left": "left", "right": "right", "preference": "preference"}  # said only where they are others
    named = {name: value for name, value in plain.items() if name not in ("prior_score", "features") and value != usual.get(name)}
    folder = Folder()
    if table is not None:
        paths = [folder.file("votes.jsonl")]
        if not isinstance(table, list):
            table = table if isinstance(table, pd.DataFrame) else table.to_pandas()
            table.to_json(paths[0], orient="records", lines=True, date_format="iso")
        else:
            with open(paths[0], "w", encoding="utf-8") as file:
                file.writelines(json.dumps(row, default=str) + "\n" for row in table)
    return _import(paths, folder, {**named, **shape}, frames)


def read(
    votes: Any,
    *,
    preset: str | None = None,
    left: str = "left",
    right: str = "right",
    preference: str = "preference",
    annotator: str | None = None,
    prompt: str | None = None,
    timestamp: str | None = None,
    map: Mapping[Any, str | int] | None = None,
    scale: str | None = None,
    positive: Side | None = None,
    winner: str | None = None,
    loser: str | None = None,
    chosen: str | None = None,
    rejected: str | None = None,
    left_won: str | None = None,
    right_won: str | None = None,
    left_wins: str | None = None,
    right_wins: str | None = None,
    tied: str | None = None,
    probability: str | None = None,
    wide: Sequence[str] | None = None,
    rank: str | Sequence[str] | None = None,
    rating: str | Sequence[str] | None = None,
    item: str | Sequence[str] | None = None,
    group_by: str | Sequence[str] | None = None,
    within: str | Sequence[str] | None = None,
    each: str | Sequence[str] | None = None,
    weight: str | None = None,
    count: str | None = None,
    judgement: str | Sequence[str] | None = None,
    unnamed: Literal["together", "each"] | None = None,
    skip_bad: int | None = None,
    text_left: str | None = None,
    text_right: str | None = None,
    text_chosen: str | None = None,
    text_rejected: str | None = None,
    prompt_text: str | None = None,
    source_left: str | None = None,
    source_right: str | None = None,
    source: str | None = None,
    common_prompt: bool = False,
    texts_out: Path | None = None,
    prior_score: Mapping[Any, float] | pd.Series[Any] | None = None,
    features: pd.DataFrame | None = None,
) -> Votes:
    """Votes of any shape, checked: what codes mean is never guessed.

    votes: a frame of pandas, polars or pyarrow, or another table with Arrow's C stream (such as a relation of duckdb); a
        Hugging Face Dataset or DatasetDict (all of its splits), a list of dicts (which may be nested), a dict of columns
        (numpy arrays, lists), or the path (or paths) of Parquet, CSV, TSV, JSONL or JSON files. Tables of polars and
        Arrow need pyarrow.
    preset: the shape of a tool's or data set's files ('voxpop import --list-presets'), or "auto".
    left, right, preference, annotator, prompt, timestamp, map, source_left, source_right, prior_score, features: as in
        write_comparisons(). "" turns one of annotator, prompt, timestamp, source_left off.
    The others are the options of 'voxpop import' of the same names (docs/formats.md): winner="chosen_id",
        loser="rejected_id"; scale="1..5"; wide=["alice", "bob"]; each="annotations".

    Raises BadInputError naming file or column, row and value; warns (VotesWarning) of what was left out or looks wrong.
    """
    given = dict(locals())
    plain = {name: given.pop(name) for name in _PLAIN}
    del given["votes"]
    return _read(votes, plain, given)


_PLAIN = ("left", "right", "preference", "annotator", "prompt", "timestamp", "map", "source_left", "source_right", "prior_score",
          "features")
#: Names of read()'s options, which voxpop.fit() takes, too.
READING = frozenset(inspect.signature(read).parameters) - {"votes"}


def votes_of(votes: Any, given: dict[str, Any]) -> Votes | list[str]:
    """Votes of any kind, read; the paths where they are comparisons/1 files already."""
    if isinstance(votes, Votes):
        if given:
            raise BadInputError(f"{', '.join(given)}: these votes are read already; say it to voxpop.read()")
        return votes
    if not is_table(votes):
        paths = votes = _as_paths(votes)
        if all(one.endswith((".h5", ".hdf5")) for one in paths):
            if given:
                raise BadInputError("an HDF5 file has its columns by their names; left, map and the like are for tables")
            return paths
    return read(votes, **given)


def check(votes: Any, **given: Any) -> dict[str, Any]:
    """What 'voxpop check' finds: counts, and `findings`, each with kind, level, text and remedy. votes, given: as in
    read(), or a comparisons/1 file."""
    read_votes = votes_of(votes, given)
    paths = [read_votes.path] if isinstance(read_votes, Votes) else read_votes
    found: dict[str, Any] = json.loads(run("check", *paths, "--json", progress=False))
    return found


def detect(path: Path) -> str:
    """The 'voxpop import' command that would read a file, and why."""
    return run("import", "--detect", path, progress=False)
