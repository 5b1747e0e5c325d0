"""Fits, and what they found as pandas frames."""

from __future__ import annotations

import io
import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path as FilePath
from typing import Any, Literal

import h5py
import numpy as np
import numpy.typing as npt
import pandas as pd

from voxpop.errors import BadInputError, FileError, UsageError, VotesWarning
from voxpop.files import Folder, Path, written_beside
from voxpop.program import options, run
from voxpop.read import READING, comparisons_of

Model = Literal["bt", "crowd-bt", "rater"]


class Fit:
    """A fit/1 file. Frames are read when first asked for; docs/formats.md has every column, its unit and its range."""

    def __init__(self, path: Path, *, summary: str = "", index: pd.Index[Any] | None = None,
                 folder: Folder | None = None, votes: Folder | None = None) -> None:
        self.path = os.fspath(path)
        self.summary = summary  #: what the program printed
        self._index = index
        self._folder = folder  # goes when the Fit goes
        self._votes = votes  # as well: where export(path, "votes") finds the votes
        self._opened = self._mark()
        with self._open() as file:
            if file.attrs.get("voxpop_schema") != "fit/1":
                raise BadInputError(f"{self.path}: not a fit (schema {file.attrs.get('voxpop_schema')!r})")

    def _mark(self) -> tuple[int, int, int] | None:
        """Of the file as it is; None where there is none, which opening it says."""
        try:
            known = os.stat(self.path)
        except OSError:
            return None
        return known.st_ino, known.st_size, known.st_mtime_ns

    def __reduce__(self) -> Any:
        if self._folder is not None:
            raise TypeError("this Fit's file goes with it; give voxpop.fit() an output, or save() it, and read_fit() it elsewhere")
        return read_fit, (self.path,)

    def _open(self) -> h5py.File:
        if self._opened != self._mark():
            raise FileError(f"{self.path}: was written again since this Fit was opened; read_fit() it again")
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
    def sources(self) -> pd.DataFrame | None:
        """A row a source of items (the model that wrote them), the best first: id, score, std_error; None without sources."""
        with self._open() as file:
            if "sources" not in file:
                return None
        return self._frame("sources").sort_values("score", ascending=False, ignore_index=True)

    @cached_property
    def embedding(self) -> pd.DataFrame | None:
        """A row a dimension of the items' embeddings: coefficient (logits of the reference annotator a unit) and
        coefficient_se; None without embeddings. An embedding times the coefficients is a reward."""
        with self._open() as file:
            if "covariates/embedding" not in file:
                return None
            return pd.DataFrame({"coefficient": file["covariates/embedding"][:], "coefficient_se": file["covariates/embedding_se"][:]})

    @cached_property
    def pairs(self) -> pd.DataFrame:
        """A row a pair: left and right (item ids), votes, probability, probability_better, margin, target, weight, ..."""
        frame = self._frame("pairs")
        ids = self._strings("items/id")
        for side in "left", "right":
            frame[side] = ids[frame[side]]
        return frame[["left", "right", *(name for name in frame if name not in ("left", "right"))]]

    @cached_property
    def votes(self) -> pd.DataFrame:
        """A row a vote, in the input's order and with its index: probability_correct (NaN for ties), target, weight."""
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
        with written_beside(path) as beside:
            shutil.copyfile(self.path, beside)

    def to_parquet(self, folder: Path) -> None:
        """Writes items.parquet, annotators.parquet, pairs.parquet, votes.parquet (and windows.parquet, sources.parquet).
        Needs pyarrow."""
        os.makedirs(folder, exist_ok=True)
        for name in "items", "annotators", "pairs", "votes", "windows", "sources":
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


def _warn(provenance: Mapping[str, Any]) -> None:
    """What the program found about the votes and the fit."""
    told = set()
    for finding in provenance.get("findings", []):
        told.add(finding["text"])
        if finding["level"] != "note":
            warnings.warn(f"{finding['text']} {finding['remedy']}".strip(), VotesWarning, stacklevel=3)
    for text in provenance.get("warnings", []):
        if text not in told:
            warnings.warn(text, VotesWarning, stacklevel=3)


def _score_file(scores: Path | Mapping[Any, float] | pd.Series[Any] | pd.DataFrame, folder: Folder) -> str:
    """The scores as a file that the program reads."""
    if isinstance(scores, (str, os.PathLike)):
        if not os.fspath(scores).endswith(".parquet"):
            return os.fspath(scores)
        scores = pd.read_parquet(scores)
    if isinstance(scores, pd.DataFrame):
        if not {"id", "score"} <= set(scores.columns):
            raise BadInputError("prior_score: the frame needs columns id and score")
        frame = scores[["id", "score"]]
    else:
        frame = pd.DataFrame({"id": [str(key) for key in scores.keys()], "score": list(dict(scores).values())})
    path = folder.file("scores.csv")
    frame.to_csv(path, index=False)
    return path


def _embedding_file(embeddings: Path | Mapping[Any, Any] | pd.DataFrame, folder: Folder, votes: Any) -> str:
    """The embeddings as a file that the program reads."""
    if isinstance(embeddings, (str, os.PathLike)):
        given = os.fspath(embeddings)
        files = [votes] if isinstance(votes, (str, os.PathLike)) else votes if isinstance(votes, (list, tuple)) else []
        ordered = bool(files) and all(str(file).endswith((".h5", ".hdf5")) for file in files)
        if not ordered and not given.endswith((".h5", ".hdf5")):
            raise BadInputError(f"{given}: its rows have no ids, and a table of votes has no order of items; give embeddings by id: "
                                "a mapping, a frame with ids as its index, or an .h5 with id and embedding")
        return given
    if isinstance(embeddings, pd.DataFrame):
        if "id" in embeddings.columns:
            embeddings = embeddings.set_index("id")
        ids, matrix = [str(key) for key in embeddings.index], embeddings.to_numpy()
    elif not isinstance(embeddings, Mapping):
        raise BadInputError("embeddings: a mapping or a frame of them by item's id, or a file; rows without ids cannot be told apart")
    else:
        ids = [str(key) for key in embeddings]
        rows = [np.asarray(row) for row in embeddings.values()]
        if len({row.shape for row in rows}) != 1:
            raise BadInputError("embeddings: every item needs as many numbers as the others")
        matrix = np.stack(rows)
    if matrix.ndim != 2 or matrix.dtype.kind != "f":
        raise BadInputError(f"embeddings: a row of floats an item; this is {matrix.dtype} of shape {matrix.shape}")
    path = folder.file("embeddings.h5")
    with h5py.File(path, "w") as file:
        file["embedding"] = matrix if matrix.dtype == np.float16 else matrix.astype(np.float32)
        file["id"] = np.array(ids, dtype=h5py.string_dtype())
    return path


def fit(
    votes: Any,
    *,
    model: Model = "rater",
    ties: Literal["model", "half", "drop"] | None = None,
    repeats: Literal["all", "first", "last", "one"] | None = None,
    no_side_bias: bool = False,
    warm_start: Fit | Path | None = None,
    prior_score: Path | Mapping[Any, float] | pd.Series[Any] | pd.DataFrame | None = None,
    embeddings: Path | Mapping[Any, Any] | pd.DataFrame | None = None,
    output: Path | None = None,
    progress: bool = True,
    **more: Any,
) -> Fit:
    """Fits votes and returns what they say.

    votes: what voxpop.read() gave, or whatever it takes, with its options here: left="model_a", map={...}, preset="hh",
        winner="chosen_id", loser="rejected_id"; or the path (or paths) of comparisons/1 files (.h5).
    repeats: what an annotator's repeated votes on one pair count (None: as one vote, but where the file says that they
        are independent). no_side_bias: learn none.
    more: other options of 'voxpop fit' by their names: calibrate=True, strict=True, threads=8, device="cuda".
    warm_start: an earlier fit of the same model: what it knows of annotators is their prior here, so that new votes need
        not be fitted together with old ones.
    prior_score: a reward model's scores, on any scale: by item's id, a frame with columns id and score, or a file of such
        (.csv, .tsv, .jsonl, .parquet). Every item must have one.
    embeddings: of every item: by its id, a frame with ids as its index (or a column id), or a file: .h5 with ids; with votes
        in .h5 also .npy or .safetensors, rows in the order of items/id. Scores then lie about a linear function of them: see
        Fit.embedding.
    output: where to keep the fit; by default it goes when the Fit goes.
    progress: show the program's progress and notes on sys.stderr.

    Raises a VoxpopError; an error of the table names column, row (from 0) and value. Warns (VotesWarning) of what looks
    wrong about the votes, with what mends it, and of a fit that did not converge.
    """
    reading = {name: more.pop(name) for name in READING & more.keys()}
    index, paths, read_folder = comparisons_of(votes, reading)
    folder = Folder() if output is None else None
    path = folder.file("fit.h5") if folder is not None else os.fspath(output or "")
    if warm_start is not None:
        more["warm_start"] = warm_start.path if isinstance(warm_start, Fit) else warm_start
    given = Folder() if prior_score is not None or embeddings is not None else None  # goes when this ends
    if given is not None and prior_score is not None:
        more["prior_score"] = _score_file(prior_score, given)
    if given is not None and embeddings is not None:
        more["embeddings"] = _embedding_file(embeddings, given, votes)
    chosen = options({"model": model, "ties": ties, "repeats": repeats, "no_side_bias": no_side_bias})
    summary = run("fit", *paths, "-o", path, *chosen, *options(more), progress=progress)
    made = Fit(path, summary=summary, index=index, folder=folder, votes=read_folder)
    _warn(made.provenance)
    return made
