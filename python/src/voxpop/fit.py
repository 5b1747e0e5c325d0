"""Fits, and what they found as frames."""

from __future__ import annotations

import html
import io
import json
import os
import shutil
import tempfile
import threading
import warnings
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path as FilePath
from typing import Any, Literal, get_args

import h5py
import numpy as np
import numpy.typing as npt
import pandas as pd

from voxpop.errors import BadInputError, FileError, UsageError, VotesWarning
from voxpop.files import Folder, Path, written_beside
from voxpop.frames import Kind, in_kind
from voxpop.native import NativeFit, find_library, fit_votes
from voxpop.program import options, run
from voxpop.read import READING, Votes, votes_of
from voxpop.request import MODEL_OPTIONS, columns_of, request_of, warn_of

Model = Literal["bt", "crowd-bt", "rater"]

#: Columns that come first in a frame, where there are such; the others follow by name.
_FIRST = {
    "items": ("id", "prompt", "score", "std_error", "votes"),
    "annotators": ("id", "votes", "flag", "flag_probability", "discrimination", "discrimination_se", "side_bias",
                   "side_bias_se", "agreement"),
    "annotators/windows": ("annotator", "start", "end", "votes"),
    "pairs": ("left", "right", "votes", "probability", "probability_better", "margin", "margin_se", "target", "weight"),
    "sources": ("id", "score", "std_error"),
    "votes": ("probability_correct", "target", "weight"),
}
#: Flags of annotators whose votes are not worth what they seem.
SUSPICIOUS = frozenset({"noisy", "random", "side_clicker", "adversarial", "copies"})


class Report:
    """The report's page. A notebook shows it in a frame of its own."""

    def __init__(self, page: str) -> None:
        self.html = page

    def __repr__(self) -> str:
        return f"<voxpop.Report: {len(self.html)} characters of HTML; save(path) writes them>"

    def _repr_html_(self) -> str:
        return (f'<iframe srcdoc="{html.escape(self.html, quote=True)}" style="width: 100%; height: 800px; border: 0" '
                'sandbox="allow-scripts allow-downloads allow-popups"></iframe>')

    def save(self, path: Path) -> None:
        """Writes the page; the file appears under its name when it is complete."""
        with written_beside(path) as beside, open(beside, "w", encoding="utf-8") as file:
            file.write(self.html)


class Fit:
    """What a fit found: in memory, or in a fit/1 file. Frames are made when first asked for, of the kind that the votes had
    (pandas, polars or pyarrow; else pandas); docs/formats.md has every column, its unit and its range."""

    def __init__(self, path: Path | None = None, *, summary: str = "", index: pd.Index[Any] | None = None,
                 folder: Folder | None = None, votes: Votes | None = None, native: NativeFit | None = None,
                 frames: Kind = "pandas") -> None:
        self._path = os.fspath(path) if path is not None else None
        self._native = native
        self._summary = summary
        self._index = index
        self._folder = folder  # goes when the Fit goes
        self._frames: Kind = frames
        self._votes = votes  # as well: where export(path, "votes") finds the votes
        self._lock = threading.RLock()
        self._opened = self._mark()
        if native is None:
            with self._open() as file:
                if file.attrs.get("voxpop_schema") != "fit/1":
                    raise BadInputError(f"{self.path}: not a fit (schema {file.attrs.get('voxpop_schema')!r})")

    @property
    def path(self) -> str:
        """A fit/1 file of it; of a fit in memory, it is written now, and goes when the Fit goes."""
        with self._lock:
            if self._path is None:
                assert self._native is not None
                folder = Folder()
                path = folder.file("fit.h5")
                self._native.write(path)
                self._folder, self._path = folder, path
                self._opened = self._mark()
            return self._path

    @property
    def summary(self) -> str:
        """What the program printed; of a fit in memory, its first lines."""
        if self._native is None or self._summary:
            return self._summary
        made = self.provenance
        return (f"{made['votes_counted']} votes on {made['items']} items ({made['pairs']} pairs, {made['components']} components) "
                f"by {made['annotators']} annotators\nmodel {made['model']}, ties {made['ties']}, on {made['device']}\n"
                f"{'converged' if made['converged'] else 'NOT CONVERGED'} after {made['iterations']} iterations; "
                f"log evidence {made['log_evidence']:.1f}\n")

    def _mark(self) -> tuple[int, int, int] | None:
        """Of the file as it is; None where there is none, which opening it says."""
        if self._path is None:
            return None
        try:
            known = os.stat(self._path)
        except OSError:
            return None
        return known.st_ino, known.st_size, known.st_mtime_ns

    def __reduce__(self) -> Any:
        if self._folder is None and self._native is None:
            return _opened_fit, (self.path, self.summary, self._index, self._frames)
        with open(self.path, "rb") as file:
            content = file.read()
        votes = self._votes if self._votes is not None and self._votes.columns is not None else None
        return _unpickled_fit, (content, self.summary, self._index, votes, self._frames)

    def to(self, frames: Kind) -> Fit:
        """This fit with frames of another kind: "pandas", "polars" or "pyarrow". Raises UsageError."""
        if frames not in get_args(Kind):
            raise UsageError(f"frames is '{frames}'; it must be pandas, polars or pyarrow")
        if frames == self._frames:
            return self
        other = Fit(self._path, summary=self._summary, index=self._index, folder=self._folder, votes=self._votes, native=self._native,
                    frames=frames)
        other._opened = self._opened
        return other

    def _given(self, frame: pd.DataFrame) -> Any:
        return in_kind(frame, self._frames)

    def _open(self) -> h5py.File:
        path = self.path
        if self._opened != self._mark():
            raise FileError(f"{path}: was written again since this Fit was opened; read_fit() it again")
        try:
            return h5py.File(path, "r")
        except OSError as error:
            raise FileError(f"{path}: cannot open: {error}") from error

    def __repr__(self) -> str:
        made = self.provenance
        return f"<voxpop.Fit of {made['votes']} votes by {made['annotators']} annotators, model {made['model']}>"

    def _columns(self, group: str) -> dict[str, Any]:
        """Columns of a group by name: texts as objects, flags as categories."""
        columns: dict[str, Any] = {}
        if self._native is not None:
            for name in self._native.names:
                if name.rpartition("/")[0] != group:
                    continue
                values, flags = self._native.column(name), self._native.enum(name)
                columns[name.rpartition("/")[2]] = values if flags is None else pd.Categorical.from_codes(values, pd.Index(flags))
            return columns
        with self._open() as file:
            for name, data in file[group].items() if group in file else ():
                if not isinstance(data, h5py.Dataset):
                    continue
                codes = h5py.check_enum_dtype(data.dtype)
                if h5py.check_string_dtype(data.dtype):
                    columns[name] = data.asstr()[:]
                elif codes:
                    columns[name] = pd.Categorical.from_codes(data[:], pd.Index(sorted(codes, key=codes.__getitem__)))
                else:
                    columns[name] = data[:]
        return columns

    def _column(self, name: str) -> Any:
        """One column; None where there is none."""
        if self._native is not None:
            return self._native.column(name) if name in self._native.names else None
        with self._open() as file:
            if name not in file:
                return None
            data = file[name]
            return data.asstr()[:] if h5py.check_string_dtype(data.dtype) else data[:]

    def _frame(self, group: str) -> pd.DataFrame:
        columns: dict[str, Any] = {}
        for name, values in self._columns(group).items():
            if getattr(values, "ndim", 1) == 2:
                for i, feature in enumerate(self._strings("covariates/name")[: values.shape[1]]):
                    columns[f"{name}_{feature}"] = values[:, i]
            else:
                columns[name] = values
        first = [name for name in _FIRST.get(group, ("id",)) if name in columns]
        return pd.DataFrame({name: columns[name] for name in [*first, *sorted(columns.keys() - set(first))]})

    def _strings(self, name: str) -> npt.NDArray[np.object_]:
        texts: npt.NDArray[np.object_] = self._column(name)
        return texts

    @cached_property
    def items(self) -> Any:
        """A row an item: id, prompt (its id, where votes had prompts), score, std_error, votes, component."""
        frame = self._frame("items")
        if "prompt" in frame:
            frame["prompt"] = self._strings("prompts/id")[frame["prompt"]]
        return self._given(frame)

    @cached_property
    def annotators(self) -> Any:
        """A row an annotator: id, votes, flag, flag_probability, discrimination, side_bias (each with _se), agreement. Flags
        that are suspicious come first, then who has most votes."""
        frame = self._frame("annotators")
        fine = ~frame["flag"].isin(SUSPICIOUS)
        order = np.lexsort((-frame["votes"].to_numpy(np.int64), fine.to_numpy()))
        return self._given(frame.iloc[order].reset_index(drop=True))

    @cached_property
    def sources(self) -> Any:
        """A row a source of items (the model that wrote them), the best first: id, score, std_error; None without sources."""
        frame = self._frame("sources")
        if frame.empty:
            return None
        return self._given(frame.sort_values("score", ascending=False, ignore_index=True))

    @cached_property
    def embedding(self) -> Any:
        """A row a dimension of the items' embeddings: coefficient (logits of the reference annotator a unit) and
        coefficient_se; None without embeddings. An embedding times the coefficients is a reward."""
        coefficient = self._column("covariates/embedding")
        if coefficient is None:
            return None
        return self._given(pd.DataFrame({"coefficient": coefficient, "coefficient_se": self._column("covariates/embedding_se")}))

    @cached_property
    def pairs(self) -> Any:
        """A row a pair: left and right (item ids), votes, probability, probability_better, margin, target, weight, ..."""
        frame = self._frame("pairs")
        ids = pd.Series(self._strings("items/id")).array
        for side in "left", "right":
            frame[side] = ids.take(frame[side].to_numpy(np.intp))
        return self._given(frame)

    @cached_property
    def votes(self) -> Any:
        """A row a vote, in the input's order and with its index: probability_correct (NaN for ties), target, weight."""
        frame = self._frame("votes")
        return self._given(frame if self._index is None else frame.set_axis(self._index))

    @cached_property
    def windows(self) -> Any:
        """Annotators over time, a row a window; None where votes have no times."""
        frame = self._frame("annotators/windows")
        if frame.empty and len(frame.columns) == 0:
            return None
        frame["annotator"] = self._strings("annotators/id")[frame["annotator"]]
        for moment in "start", "end":
            frame[moment] = pd.to_datetime(frame[moment], unit="s", utc=True)
        return self._given(frame)

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """How the fit came about: version, command line, inputs, model, hyperparameters, convergence, seconds."""
        if self._native is not None:
            return self._native.provenance
        with self._open() as file:
            provenance: dict[str, Any] = json.loads(file.attrs["provenance"])
        return provenance

    def check(self) -> Any:
        """What the votes and the fit make suspicious, the worst first: kind, level ("do_not_train", "care" or "note"), text,
        remedy. No rows: nothing is."""
        names = ["kind", "level", "text", "remedy"]
        return self._given(pd.DataFrame(self.provenance.get("findings", []), columns=names))

    def suspicious_votes(self, count: int = 20) -> Any:
        """The `count` votes that are most probably wrong, the worst first, with the table's index: row (of the votes, from 0),
        probability_correct and, where the votes are known here, left, right, annotator and preference (> 0: left)."""
        chance = self._column("votes/probability_correct")
        known = np.flatnonzero(~np.isnan(chance))
        rows = known[np.argsort(chance[known], kind="stable")[: max(count, 0)]]
        parts: dict[str, Any] = {"row": rows}
        columns = self._votes.columns if self._votes is not None else None
        if columns is not None and len(columns["comparisons/left"]) == len(chance):
            parts |= {side: columns["items/id"][columns["comparisons/" + side][rows]] for side in ("left", "right")}
            if "comparisons/annotator" in columns:
                parts["annotator"] = columns["annotators/id"][columns["comparisons/annotator"][rows]]
            parts["preference"] = columns["comparisons/preference"][rows]
        parts["probability_correct"] = chance[rows]
        return self._given(pd.DataFrame(parts, index=rows if self._index is None else self._index[rows]))

    def _verdict(self) -> tuple[str, str]:
        """A colour, and in words whether to train on the labels."""
        levels = {one["level"] for one in self.provenance.get("findings", [])}
        if "do_not_train" in levels:
            return "#b3261e", "Do not train on these labels yet."
        if not self.provenance["converged"]:
            return "#b3261e", "The fit has not converged: its labels are not final."
        flagged = int(self.to("pandas").annotators["flag"].isin(SUSPICIOUS).sum())
        talk = f" {flagged} annotator{' is' if flagged == 1 else 's are'} flagged: see fit.annotators." if flagged else ""
        if "care" in levels or self.provenance.get("warnings"):
            return "#9a6700", "Usable with care: see below." + talk
        return ("#9a6700", "No findings." + talk) if talk else ("#1a7f37", "Nothing suspicious was found.")

    def _repr_html_(self) -> str:
        made, say = self.provenance, html.escape
        colour, verdict = self._verdict()
        flags = self.to("pandas").annotators["flag"]
        chance = self._column("pairs/probability_better")
        figures = {
            "votes": f"{made['votes']:,}", "items": f"{made['items']:,}", "pairs": f"{made['pairs']:,}",
            "annotators": f"{made['annotators']:,}", "annotators with a suspicious flag": f"{int(flags.isin(SUSPICIOUS).sum()):,}",
            "pairs whose better item is known with 95 % or more":
                f"{100 * np.mean((chance > 0.95) | (chance < 0.05)):.0f} %" if len(chance) else "-",
            "model": f"{made['model']}, {made['iterations']} iterations on {made['device']}",
        }
        if isinstance(made.get("flip_rate"), (int, float)):
            figures["votes expected to pick the better item"] = f"{100 * (1 - made['flip_rate']):.0f} %"
        findings = self.provenance.get("findings", [])
        told = {one["text"] for one in findings}
        lines = [f"<b>{say(one['level'].replace('_', ' '))}</b>: {say(one['text'])} {say(one['remedy'])}" for one in findings]
        lines += [say(text) for text in made.get("warnings", []) if not any(text.startswith(one) for one in told)]
        rows = "".join(f'<tr><td style="text-align: left">{say(name)}</td><td>{say(value)}</td></tr>' for name, value in figures.items())
        return (f'<div><b>voxpop fit</b> <span style="color: {colour}; font-weight: bold">{say(verdict)}</span>'
                + (f"<ul>{''.join(f'<li>{line}</li>' for line in lines)}</ul>" if lines else "") + f"<table>{rows}</table></div>")

    def save(self, path: Path) -> None:
        """Writes the fit/1 file; it appears under its name when it is complete."""
        with written_beside(path) as beside:
            if self._native is not None and self._path is None:
                self._native.write(beside)
            else:
                shutil.copyfile(self.path, beside)

    def to_parquet(self, folder: Path) -> None:
        """Writes items.parquet, annotators.parquet, pairs.parquet, votes.parquet (and windows.parquet, sources.parquet).
        Needs pyarrow."""
        os.makedirs(folder, exist_ok=True)
        for name in "items", "annotators", "pairs", "votes", "windows", "sources":
            frame: pd.DataFrame | None = getattr(self.to("pandas"), name)
            if frame is not None:
                frame.to_parquet(FilePath(folder) / f"{name}.parquet")

    def report(self, path: Path | None = None) -> Report:
        """The HTML report ('voxpop report'), which a notebook shows; with a path it is written there, too."""
        if self._native is not None:
            page = Report(self._native.report())
        else:
            with tempfile.TemporaryDirectory(prefix="voxpop-") as folder:
                run("report", self.path, "-o", os.path.join(folder, "report.html"))
                page = Report(FilePath(folder, "report.html").read_text(encoding="utf-8"))
        if path is not None:
            page.save(path)
        return page

    def plot(self, annotators: int = 30) -> Any:
        """A matplotlib Figure, which a notebook shows and savefig(path) writes: discrimination of annotators with 95 % intervals,
        coloured by flag; calibration, where the fit knows it; and how sure pairs are.

        annotators: how many are shown, those with a suspicious flag first, then those with most votes. Needs matplotlib.
        """
        from voxpop.plot import plot_fit

        return plot_fit(self, annotators)

    def export(self, path: Path, format: str, *, texts: Path | Mapping[Any, Any] | pd.Series[Any] | None = None,
               prompt_texts: Path | Mapping[Any, Any] | pd.Series[Any] | None = None, **more: Any) -> dict[str, Any]:
        """Writes rows that a trainer reads ('voxpop export') and returns the counts.

        texts, prompt_texts: JSONL files, or texts by item's or prompt's id. more: options of the verb by their names,
        such as min_probability=0.9, split="train=.95,val=.05", keep_ties=True.
        """
        with tempfile.TemporaryDirectory(prefix="voxpop-") as folder:
            fit = self._path_with_votes(folder) if format == "votes" and "votes" not in more else self.path
            given = {"texts": _text_file(texts, folder, "texts"), "prompt_texts": _text_file(prompt_texts, folder, "prompt_texts")}
            counts: dict[str, Any] = json.loads(run("export", fit, "-o", path, "--format", format, "--json", *options({**given, **more})))
        return counts

    def rows(self, format: str = "trl", *, texts: Path | Mapping[Any, Any] | pd.Series[Any] | None = None,
             prompt_texts: Path | Mapping[Any, Any] | pd.Series[Any] | None = None, **more: Any) -> Any:
        """The rows that export() writes, as a Hugging Face Dataset in memory: a row a pair, or a vote with format "votes".
        Needs datasets.

        texts, prompt_texts, more: as in export(), without split. Numbers are float64, except counts. Raises BadInputError where
        a column has texts in some rows and lists of messages in others.
        """
        import datasets
        import pyarrow
        import pyarrow.json

        if texts is None and format not in ("csv", "jsonl", "votes"):
            warnings.warn(f"no texts: ids of items and prompts take their place in the rows for {format}; give texts={{id: text}}, or a file",
                          VotesWarning, stacklevel=2)
        if format == "csv" or "split" in more:
            raise UsageError("rows() gives one Dataset: format 'jsonl' has the columns of 'csv', and split is for export()")
        with tempfile.TemporaryDirectory(prefix="voxpop-") as folder:
            if self._native is not None and format != "votes" and more.keys() <= _ROWS:
                request = {name: [os.fspath(path)] for name, given in {"texts": texts, "prompt_texts": prompt_texts}.items()
                           if (path := _text_file(given, folder, name)) is not None}
                lines = self._native.rows({"format": format, **request, **{name: value for name, value in more.items() if value is not None}})
            else:
                path = os.path.join(folder, "rows.jsonl")
                self.export(path, format, texts=texts, prompt_texts=prompt_texts, **more)
                lines = FilePath(path).read_bytes()
        if not lines:
            return datasets.Dataset.from_dict({})
        first = pyarrow.Table.from_pylist([json.loads(lines[: lines.index(b"\n")])]).schema
        # Types of the first row: else texts that look like times were times, and weights of 1 integers.
        known = pyarrow.schema([field.with_type(pyarrow.float64()) if field.type == pyarrow.int64() and field.name not in ("votes", "label")
                                else field for field in first if field.type != pyarrow.null()])
        try:
            table = pyarrow.json.read_json(pyarrow.BufferReader(lines), pyarrow.json.ReadOptions(block_size=min(len(lines), 2**31 - 1)),
                                           pyarrow.json.ParseOptions(explicit_schema=known))
        except pyarrow.ArrowInvalid as error:
            raise BadInputError(f"these rows are not one Dataset, but export() writes them: {error}") from error
        return datasets.Dataset(table)

    def _path_with_votes(self, folder: str) -> str:
        """A fit/1 file that knows where its votes are. Of a fit in memory: votes are written, and named in a copy."""
        if self._native is None or self._votes is None:
            return self.path
        path = os.path.join(folder, "fit.h5")
        self._native.write(path)
        inputs = self._native.inputs_of(self._votes.path)
        with h5py.File(path, "a") as file:
            provenance = json.loads(file.attrs["provenance"])
            provenance["inputs"] = inputs
            file.attrs["provenance"] = json.dumps(provenance)
        return path

    def next(self, budget: int, **more: Any) -> Any:
        """The pairs whose next vote is worth most ('voxpop next'). more: options of the verb, such as assign=True.

        votes: which pairs annotators have judged already: files, or what fit() takes; None: the votes of this fit, if it has them.
        """
        for option in {"output", "json"} & more.keys():
            raise UsageError(f"{option} is not for Python: next() returns a frame")
        own = more.get("assign") and more.get("votes") is None and self._votes is not None
        given = self._votes if own else more.get("votes")
        if given is not None and not isinstance(given, (str, os.PathLike)):
            read = votes_of(given, {})
            more["votes"] = read if isinstance(read, list) else read.path
        with tempfile.TemporaryDirectory(prefix="voxpop-") as folder:
            path = self._path_with_votes(folder) if own else self.path
            found = run("next", path, "--budget", str(budget), *options(more))
        texts = {"left": str, "right": str, "prompt": str, "annotator": str}
        return self._given(pd.read_csv(io.StringIO(found), dtype=texts, keep_default_na=False))


#: Options of rows that the library takes.
_ROWS = frozenset({"min_probability", "max_flagged", "margin_scale", "keep_ties"})


def _text_file(texts: Path | Mapping[Any, Any] | pd.Series[Any] | None, folder: str, name: str) -> Path | None:
    """Texts by id as a JSONL file in `folder`; a path as it is."""
    if not isinstance(texts, (Mapping, pd.Series)):
        return texts
    path = os.path.join(folder, name + ".jsonl")
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(json.dumps({"id": str(key), "text": text}) + "\n" for key, text in texts.items())
    return path


def read_fit(path: Path) -> Fit:
    """Opens a fit/1 file; its frames are pandas', or, with to(), of another kind. Raises FileError or BadInputError."""
    return Fit(path)


def _opened_fit(path: str, summary: str, index: pd.Index[Any] | None, frames: Kind) -> Fit:
    return Fit(path, summary=summary, index=index, frames=frames)


def _unpickled_fit(content: bytes, summary: str, index: pd.Index[Any] | None, votes: Votes | None, frames: Kind) -> Fit:
    folder = Folder()
    path = folder.file("fit.h5")
    FilePath(path).write_bytes(content)
    return Fit(path, summary=summary, index=index, folder=folder, votes=votes, frames=frames)


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
    Votes in memory are fitted in this process, without files, where libvoxpop is found (python/README.md); else, and with
        prior_score, embeddings and files, by the program. The results are the same.
    progress: show the program's progress and notes on sys.stderr.

    Raises a VoxpopError; an error of the table names column, row (from 0) and value. Warns (VotesWarning) of what looks
    wrong about the votes, with what mends it, and of a fit that did not converge.
    """
    reading = {name: more.pop(name) for name in READING & more.keys()}
    read_votes = votes_of(votes, reading)
    known = None if isinstance(read_votes, list) else read_votes  # with the table's index, and what goes with the Fit
    wishes = {"model": model, "ties": ties, "repeats": repeats, "no_side_bias": no_side_bias, "warm_start": warm_start, **more}
    if known is not None and known.columns is not None and prior_score is None and embeddings is None:
        made = _fit_here(known, wishes, output, progress)
        if made is not None:
            warn_of(made.provenance)
            return made
    paths = read_votes if isinstance(read_votes, list) else [read_votes.path]
    folder = Folder() if output is None else None
    path = folder.file("fit.h5") if folder is not None else os.fspath(output or "")
    if warm_start is not None:
        wishes["warm_start"] = warm_start.path if isinstance(warm_start, Fit) else warm_start
    given = Folder() if prior_score is not None or embeddings is not None else None  # goes when this ends
    if given is not None and prior_score is not None:
        wishes["prior_score"] = _score_file(prior_score, given)
    if given is not None and embeddings is not None:
        wishes["embeddings"] = _embedding_file(embeddings, given, votes)
    summary = run("fit", *paths, "-o", path, *options(wishes), progress=progress)
    made = Fit(path, summary=summary, index=known.index if known else None, folder=folder, votes=known,
               frames=known.frames if known else "pandas")
    warn_of(made.provenance)
    return made


#: Options that the library takes, and of which type.
_OPTIONS = {**MODEL_OPTIONS, "model": str, "force": bool, "strict": bool}


def _fit_here(votes: Votes, wishes: Mapping[str, Any], output: Path | None, progress: bool) -> Fit | None:
    """By the library in this process; None where there is none, or where an option is for the program alone."""
    wishes = dict(wishes)
    warm = wishes.pop("warm_start", None)
    asked, library = request_of(wishes, _OPTIONS), find_library()
    if asked is None or library is None:
        return None
    request, where = asked
    if warm is not None:
        request["warm_start"] = warm.path if isinstance(warm, Fit) else os.fspath(warm)
        if isinstance(warm, Fit) and warm._votes is not None and _same(warm._votes.columns, votes.columns):
            warnings.warn("These votes are already in the fit that this one starts from; they count twice.", VotesWarning, stacklevel=3)
    said = ", ".join(f"{name}={value!r}" for name, value in {**request, **where}.items())
    request["asked_by"] = f"voxpop.fit(votes, {said})"
    made = fit_votes(library, columns_of(votes, progress), request, progress=progress, **where)
    if output is None:
        return Fit(native=made, index=votes.index, votes=votes, frames=votes.frames)
    made.write(output)
    return Fit(output, summary=Fit(native=made).summary, index=votes.index, votes=votes, frames=votes.frames)


def _same(one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> bool:
    if one is None or other is None:
        return False
    return one is other or one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)
