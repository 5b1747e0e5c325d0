"""Fits, and what they found as pandas frames."""

from __future__ import annotations

import io
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path as FilePath
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pandas as pd

from voxpop.errors import BadInputError, FileError, UsageError
from voxpop.program import options, run
from voxpop.votes import Path, write_comparisons


class Fit:
    """A fit/1 file. Frames are read when first asked for; docs/formats.md has every column, its unit and its range."""

    def __init__(self, path: Path, *, summary: str = "", index: pd.Index[Any] | None = None,
                 folder: tempfile.TemporaryDirectory[str] | None = None) -> None:
        self.path = os.fspath(path)
        self.summary = summary  #: what the program printed
        self._index = index
        self._folder = folder  # goes when the Fit goes
        with self._open() as file:
            if file.attrs.get("voxpop_schema") != "fit/1":
                raise BadInputError(f"{self.path}: not a fit (schema {file.attrs.get('voxpop_schema')!r})")

    def _open(self) -> h5py.File:
        try:
            return h5py.File(self.path, "r")
        except OSError as error:
            raise FileError(f"{self.path}: cannot open: {error}") from error

    def __repr__(self) -> str:
        made = self.provenance
        return f"<voxpop.Fit of {made['votes']} votes by {made['annotators']} annotators, model {made['model']}>"

    def _frame(self, group: str) -> pd.DataFrame:
        columns: dict[str, Any] = {}
        with self._open() as file:
            for name, data in file[group].items():
                if not isinstance(data, h5py.Dataset):
                    continue
                flags = h5py.check_enum_dtype(data.dtype)
                if h5py.check_string_dtype(data.dtype):
                    columns[name] = data.asstr()[:]
                elif flags:
                    columns[name] = pd.Categorical.from_codes(data[:], pd.Index(sorted(flags, key=flags.__getitem__)))
                elif data.ndim == 2:
                    for i, feature in enumerate(file["covariates/name"].asstr()[: data.shape[1]]):
                        columns[f"{name}_{feature}"] = data[:, i]
                else:
                    columns[name] = data[:]
        ordered = sorted(columns, key=lambda name: name != "id")  # the id first
        return pd.DataFrame({name: columns[name] for name in ordered})

    def _strings(self, name: str) -> npt.NDArray[np.object_]:
        with self._open() as file:
            texts: npt.NDArray[np.object_] = file[name].asstr()[:]
        return texts

    @cached_property
    def items(self) -> pd.DataFrame:
        """A row an item: id, prompt (its id, where votes had prompts), score, std_error, votes, component."""
        frame = self._frame("items")
        if "prompt" in frame:
            frame["prompt"] = self._strings("prompts/id")[frame["prompt"]]
        return frame

    @cached_property
    def annotators(self) -> pd.DataFrame:
        """A row an annotator: id, votes, discrimination, side_bias (each with _se), agreement, flag, flag_probability."""
        return self._frame("annotators")

    @cached_property
    def pairs(self) -> pd.DataFrame:
        """A row a pair: left and right (item ids), votes, probability, probability_better, margin, information_gain."""
        frame = self._frame("pairs")
        ids = self._strings("items/id")
        for side in "left", "right":
            frame[side] = ids[frame[side]]
        return frame[["left", "right", *(name for name in frame if name not in ("left", "right"))]]

    @cached_property
    def votes(self) -> pd.DataFrame:
        """A row a vote, in the input's order and with its index: probability_correct, NaN for ties."""
        frame = self._frame("votes")
        return frame if self._index is None else frame.set_axis(self._index)

    @cached_property
    def windows(self) -> pd.DataFrame | None:
        """Annotators over time, a row a window; None where votes have no times."""
        with self._open() as file:
            if "annotators/windows" not in file:
                return None
        frame = self._frame("annotators/windows")
        frame["annotator"] = self._strings("annotators/id")[frame["annotator"]]
        for moment in "start", "end":
            frame[moment] = pd.to_datetime(frame[moment], unit="s", utc=True)
        return frame

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """How the fit came about: version, command line, inputs, model, hyperparameters, convergence, seconds."""
        with self._open() as file:
            provenance: dict[str, Any] = json.loads(file.attrs["provenance"])
        return provenance

    def save(self, path: Path) -> None:
        """Copies the file; it appears under its name when it is complete."""
        beside = f"{os.fspath(path)}.part"
        try:
            shutil.copyfile(self.path, beside)
            os.replace(beside, path)
        finally:
            if os.path.exists(beside):
                os.remove(beside)

    def to_parquet(self, folder: Path) -> None:
        """Writes items.parquet, annotators.parquet, pairs.parquet, votes.parquet (and windows.parquet). Needs pyarrow."""
        os.makedirs(folder, exist_ok=True)
        for name in "items", "annotators", "pairs", "votes", "windows":
            frame: pd.DataFrame | None = getattr(self, name)
            if frame is not None:
                frame.to_parquet(FilePath(folder) / f"{name}.parquet")

    def report(self, path: Path) -> None:
        """Writes the HTML report ('voxpop report')."""
        run("report", self.path, "-o", path)

    def export(self, path: Path, format: str, *, texts: Path | Mapping[Any, Any] | pd.Series[Any] | None = None,
               prompt_texts: Path | Mapping[Any, Any] | pd.Series[Any] | None = None, **more: Any) -> dict[str, Any]:
        """Writes rows that a trainer reads ('voxpop export') and returns the counts.

        texts, prompt_texts: JSONL files, or texts by item's or prompt's id. more: options of the verb by their names,
        such as min_probability=0.9, split="train=.95,val=.05", keep_ties=True.
        """
        with tempfile.TemporaryDirectory(prefix="voxpop-") as folder:
            arguments: list[str | os.PathLike[str]] = ["export", self.path, "-o", path, "--format", format, "--json"]
            for option, given in {"--texts": texts, "--prompt-texts": prompt_texts}.items():
                if isinstance(given, (Mapping, pd.Series)):
                    name = os.path.join(folder, option.strip("-") + ".jsonl")
                    with open(name, "w", encoding="utf-8") as file:
                        file.writelines(json.dumps({"id": str(key), "text": text}) + "\n" for key, text in given.items())
                    given = name
                if given is not None:
                    arguments += [option, given]
            counts: dict[str, Any] = json.loads(run(*arguments, *options(more)))
        return counts

    def next(self, budget: int, **more: Any) -> pd.DataFrame:
        """The pairs whose next vote is worth most ('voxpop next'). more: options of the verb, such as assign=True."""
        for option in {"output", "json"} & more.keys():
            raise UsageError(f"{option} is not for Python: next() returns a frame")
        return pd.read_csv(io.StringIO(run("next", self.path, "--budget", str(budget), *options(more))),
                           dtype={"left": str, "right": str, "prompt": str, "annotator": str},
                           keep_default_na=False)


def read_fit(path: Path) -> Fit:
    """Opens a fit/1 file. Raises FileError or BadInputError."""
    return Fit(path)


def _as_comparisons(votes: Any, path: str, columns: dict[str, Any]) -> tuple[pd.Index[Any] | None, list[str]]:
    """comparisons/1 files of any kind of votes, written to `path` where there are none; and the table's index, if any."""
    if hasattr(votes, "to_pandas"):  # a pyarrow Table, a Hugging Face Dataset
        votes = votes.to_pandas()
    if isinstance(votes, pd.DataFrame):
        write_comparisons(votes, path, **columns)
        return votes.index, [path]
    paths = [os.fspath(one) for one in ([votes] if isinstance(votes, (str, os.PathLike)) else votes)]
    if not paths:
        raise BadInputError("no files: there are no votes to fit")
    if all(one.endswith(".parquet") for one in paths):
        try:
            table = pd.concat([pd.read_parquet(one) for one in paths], ignore_index=True)
        except OSError as error:
            raise FileError(str(error)) from error
        return _as_comparisons(table, path, columns)
    if columns["prior_score"] is not None or columns["features"] is not None:
        raise BadInputError("prior_score and features go with a table of votes; a file has its own (items/...)")
    if all(one.endswith((".h5", ".hdf5")) for one in paths):
        names = ("left", "right", "preference")
        if any(columns[name] != name for name in names) or any(
                columns[name] is not None for name in columns if name not in names):
            raise BadInputError("an HDF5 file has its columns by their names; left, map and the like are for tables")
        return None, paths
    meaning = columns.pop("map")
    named = options(columns)
    if meaning is not None:
        named += ["--map", ",".join(f"{key}={value}" for key, value in meaning.items())]
    run("import", *paths, "-o", path, *named, progress=False)
    return None, [path]


def fit(
    votes: pd.DataFrame | Path | Iterable[Path] | Any,
    *,
    model: str = "rater",
    left: str = "left",
    right: str = "right",
    preference: str = "preference",
    annotator: str | None = None,
    prompt: str | None = None,
    timestamp: str | None = None,
    map: Mapping[Any, str | int] | None = None,
    prior_score: Mapping[Any, float] | pd.Series[Any] | None = None,
    features: pd.DataFrame | None = None,
    warm_start: Fit | Path | None = None,
    output: Path | None = None,
    progress: bool = True,
    **more: Any,
) -> Fit:
    """Fits votes and returns what they say.

    votes: a DataFrame, a pyarrow Table or a Hugging Face Dataset with a vote a row, or the path (or paths) of Parquet,
        CSV, TSV, JSONL or comparisons/1 (.h5) files. Columns, map, prior_score and features are as in
        write_comparisons().
    model: "bt", "crowd-bt", "rater" or "lapse". more: other options of 'voxpop fit' by their names: ties="half",
        calibrate=True, strict=True, threads=8, device="cuda", ignore="features".
    warm_start: an earlier fit of the same model: what it knows of annotators is their prior here, so that new votes need
        not be fitted together with old ones.
    output: where to keep the fit; by default it goes when the Fit goes.
    progress: show the program's progress and notes on sys.stderr.

    Raises a VoxpopError; an error of the table names column, row (from 0) and value.
    """
    with tempfile.TemporaryDirectory(prefix="voxpop-") as scratch:
        columns = {"left": left, "right": right, "preference": preference, "annotator": annotator, "prompt": prompt,
                   "timestamp": timestamp, "map": map, "prior_score": prior_score, "features": features}
        index, paths = _as_comparisons(votes, os.path.join(scratch, "votes.h5"), columns)
        folder = tempfile.TemporaryDirectory(prefix="voxpop-fit-") if output is None else None
        path = os.path.join(folder.name, "fit.h5") if folder is not None else os.fspath(output or "")
        if warm_start is not None:
            more["warm_start"] = warm_start.path if isinstance(warm_start, Fit) else warm_start
        summary = run("fit", *paths, "-o", path, "--model", model, *options(more), progress=progress)
    return Fit(path, summary=summary, index=index, folder=folder)
