"""Votes from tables to comparisons/1 files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from tempfile import TemporaryDirectory
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pandas as pd

from voxpop.errors import BadInputError, FileError, ProgramNotFoundError
from voxpop.files import Path, written_beside
from voxpop.frames import as_table, column_of, names_of
from voxpop.program import run

Indices = npt.NDArray[np.intp]
_words = {"left": 1, "right": -1, "tie": 0}


def _column(votes: Any, name: str) -> pd.Series[Any]:
    names = names_of(votes)
    if name not in names:
        raise BadInputError(f"no column '{name}'; there are {', '.join(map(repr, map(str, names)))}")
    return column_of(votes, name)


def require_rows(good: npt.NDArray[np.bool_], column: pd.Series[Any], problem: str) -> None:
    """`good`: of each row. Rows are counted from 0, whatever the index."""
    if not good.all():
        row = int(np.argmin(good))
        raise BadInputError(f"column '{column.name}' row {row} is {column.iloc[row]!r}; {problem}")


def ids_of(columns: list[pd.Series[Any]]) -> tuple[list[Indices], npt.NDArray[np.object_]]:
    """Rows of the ids in each column, and the ids as strings, in order of first appearance."""
    # As objects where dtypes differ: pandas would make floats of uint64 with int64, and one id of several.
    alike = len({str(column.dtype) for column in columns}) == 1 and not isinstance(columns[0].dtype, pd.CategoricalDtype)
    objects = columns if alike else [column.astype(object) for column in columns]
    codes, unique = pd.factorize(pd.concat(objects, ignore_index=True) if len(objects) > 1 else objects[0])
    rows = np.split(codes, np.cumsum([len(column) for column in columns])[:-1])
    for part, column in zip(rows, columns):
        require_rows(part >= 0, column, "an id must not be missing")
    texts = np.asarray(unique, dtype=object)
    if pd.api.types.infer_dtype(texts, skipna=False) == "string":
        return rows, texts
    again, texts = pd.factorize(np.array([str(one) for one in unique], dtype=object))  # 1 and "1" are one id
    return [again[part] for part in rows], np.asarray(texts, dtype=object)


def preferences_of(column: pd.Series[Any], meaning: Mapping[Any, str | int] | None) -> npt.NDArray[np.int8]:
    codes, unique = pd.factorize(column)
    values = np.zeros(len(unique) + 1, np.int8)
    known = np.ones(len(unique) + 1, bool)
    known[-1] = False  # where missing values, code -1, end up
    numbers = []
    for i, value in enumerate(unique):
        meant: Any = value if meaning is None else meaning.get(value, meaning.get(str(value)))
        word: Any = _words.get(meant.strip().lower(), meant) if isinstance(meant, str) else meant
        try:
            number = float(word) if not isinstance(word, (bool, np.bool_)) else np.nan
        except (TypeError, ValueError):
            number = np.nan
        known[i] = number in range(-9, 10)
        values[i] = number if known[i] else 0
        if meaning is None and not (isinstance(meant, str) and meant.strip().lower() in _words):
            numbers.append(number)
    require_rows(codes >= 0, column, "a preference must not be missing; leave the row out")
    if meaning is None:
        named = ", ".join(f"{value!r}: ..." for value in unique[:4])
        problem = "it must be left, right or tie, or from -9 (right) to 9 (left); say what other values mean: map={" + named + "}"
    else:
        problem = "map must say what it means: left, right or tie, or from -9 (right) to 9 (left)"
    require_rows(known[codes], column, problem)
    if numbers and min(numbers) >= 0:
        raise BadInputError(_why_unknown(column))
    return values[codes]


def _why_unknown(column: pd.Series[Any]) -> str:
    """Of numbers without a negative one: the program's words, with counts and the maps to choose from."""
    with TemporaryDirectory(prefix="voxpop-") as folder:
        path = os.path.join(folder, "votes.csv")
        table = pd.DataFrame({"left": "a", "right": "b", str(column.name): column.to_numpy()})
        table.to_csv(path, index=False)
        try:
            run("import", path, "-o", os.path.join(folder, "votes.h5"), "--preference", str(column.name), progress=False)
        except BadInputError as error:
            return str(error).partition(": line ")[2].partition(": ")[2]
        except ProgramNotFoundError:
            pass
    return f"column '{column.name}' has numbers, none of them negative: what they stand for cannot be known; say it: map={{...}}"


def _seconds(column: pd.Series[Any]) -> npt.NDArray[np.int64]:
    require_rows(column.notna().to_numpy(), column, "a time must not be missing; leave the column out if some are")
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        column = column.dt.tz_convert("UTC").dt.tz_localize(None)
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        return np.asarray(column.to_numpy("datetime64[s]").astype(np.int64))
    if not pd.api.types.is_numeric_dtype(column.dtype):
        raise BadInputError(f"column '{column.name}' is {column.dtype}; times are datetimes or seconds since 1970")
    seconds = np.floor(column.to_numpy(float))
    require_rows(np.abs(seconds) < 253402300800, column, "seconds since 1970 are below 253402300800 (year 10000); is this another unit?")
    return np.asarray(seconds.astype(np.int64))


def _item_prompts(left: Indices, right: Indices, prompt: Indices, items: int, column: pd.Series[Any]) -> Indices:
    of_item = np.full(items, -1)
    of_item[left] = prompt
    of_item[right] = prompt
    same = (of_item[left] == prompt) & (of_item[right] == prompt)
    require_rows(same, column, "but an item of this row comes with another prompt elsewhere; where an id means another item in each prompt: "
                 f"voxpop.read(votes, within='{column.name}')")
    return of_item


def _item_sources(votes: Any, source_left: str | None, source_right: str | None, left: Indices, right: Indices,
                  items: int) -> tuple[Indices, npt.NDArray[np.object_]]:
    """The source of each item, -1 where it is not known, and the sources' ids, none where there are none. Columns that
    nobody named say nothing of an item of which they say two things."""
    named = source_left is not None or source_right is not None
    names = source_left or "model_left", source_right or "model_right"
    of_item = np.full(items, -1)
    if not named and not (set(names) <= set(names_of(votes)) and all(_column(votes, name).notna().all() for name in names)):
        return of_item, np.array([], dtype=object)
    columns = [_column(votes, name) for name in names]
    (left_source, right_source), ids = ids_of(columns)
    of_item[left], of_item[right] = left_source, right_source
    for column, rows, source in zip(columns, (left, right), (left_source, right_source)):
        same = of_item[rows] == source
        if named:
            require_rows(same, column, "but the item of this row comes with another source elsewhere")
        of_item[rows[~same]] = -1
    return of_item, ids


def _of_items(values: Any, items: npt.NDArray[np.object_], name: str) -> npt.NDArray[np.float64]:
    frame = pd.DataFrame({name: values}) if not isinstance(values, pd.DataFrame) else values
    frame = frame.set_axis(frame.index.map(str))
    if frame.index.has_duplicates:
        raise BadInputError(f"{name}: item '{frame.index[frame.index.duplicated()][0]}' comes twice")
    missing = ~pd.Index(items).isin(frame.index)
    if missing.any():
        raise BadInputError(f"{name}: no value for item '{items[np.argmax(missing)]}'")
    return frame.reindex(pd.Index(items)).to_numpy(float)


def comparisons(
    votes: Any,
    *,
    left: str = "left",
    right: str = "right",
    preference: str = "preference",
    annotator: str | None = None,
    prompt: str | None = None,
    timestamp: str | None = None,
    map: Mapping[Any, str | int] | None = None,
    source_left: str | None = None,
    source_right: str | None = None,
    prior_score: Mapping[Any, float] | pd.Series[Any] | None = None,
    features: pd.DataFrame | None = None,
) -> dict[str, Any]:
    """The columns of comparisons/1 by their names, from votes as write_comparisons() takes them, or a pyarrow Table of such:
    ids as objects, the others as numbers; and `items/features.names`, where there are features."""
    if len(votes) == 0:
        raise BadInputError("the table has no rows: there are no votes to fit")
    optional = {}
    for role, name in {"annotator": annotator, "prompt": prompt, "timestamp": timestamp}.items():
        if name is not None or role in names_of(votes):
            optional[role] = _column(votes, name or role)
    sides = [_column(votes, left), _column(votes, right)]
    (left_row, right_row), items = ids_of(sides)
    require_rows(left_row != right_row, sides[1], "the same item as on the left; drop the row")
    preferences = preferences_of(_column(votes, preference), map)
    columns: dict[str, Any] = {
        "comparisons/left": left_row.astype(np.uint32),
        "comparisons/right": right_row.astype(np.uint32),
        "comparisons/preference": preferences,
        "items/id": items,
    }
    if "annotator" in optional:
        (rows,), ids = ids_of([optional["annotator"]])
        columns["comparisons/annotator"] = rows.astype(np.uint32)
        columns["annotators/id"] = ids
    if "prompt" in optional:
        (rows,), ids = ids_of([optional["prompt"]])
        columns["items/prompt"] = _item_prompts(left_row, right_row, rows, len(items), optional["prompt"]).astype(np.uint32)
        columns["prompts/id"] = ids
    of_item, ids = _item_sources(votes, source_left, source_right, left_row, right_row, len(items))
    if len(ids) > 0:
        columns["items/source"] = of_item.astype(np.int32)
        columns["sources/id"] = ids
    if "timestamp" in optional:
        columns["comparisons/timestamp"] = _seconds(optional["timestamp"])
    if prior_score is not None:
        columns["items/prior_score"] = _of_items(prior_score, items, "prior_score")[:, 0]
    if features is not None:
        columns["items/features.names"] = np.array([str(name) for name in features.columns], dtype=object)
        columns["items/features"] = _of_items(features, items, "features")
    return columns


def require_texts(columns: Mapping[str, Any]) -> None:
    """That ids are texts that a file can hold."""
    for name, values in columns.items():
        if name.endswith("/id"):
            whole = "".join(values)
            try:
                whole.encode()
            except UnicodeEncodeError as error:
                raise BadInputError(f"'{name}': an id is not a text that HDF5 can hold: {error}") from error
            if "\0" in whole:
                raise BadInputError(f"'{name}': an id is not a text that HDF5 can hold: it has a zero character")


def write_columns(columns: Mapping[str, Any], path: Path) -> None:
    """Writes columns of comparisons/1; the file appears under its name when it is complete."""
    require_texts(columns)
    text = h5py.string_dtype()
    try:
        with written_beside(path) as beside, h5py.File(beside, "w") as file:
            file.attrs["voxpop_schema"] = "comparisons/1"
            for name, values in columns.items():
                if not name.endswith(".names"):
                    file[name] = values.astype(text) if name.endswith("/id") else values
            if "items/features" in columns:
                file["items/features"].attrs["names"] = list(columns["items/features.names"])
    except ValueError as error:  # such as half of a character in a feature's name
        raise BadInputError(f"an id is not a text that HDF5 can hold: {error}") from error
    except OSError as error:
        raise FileError(f"{os.fspath(path)}: cannot write: {error}") from error


def write_comparisons(
    votes: Any,
    path: Path,
    *,
    left: str = "left",
    right: str = "right",
    preference: str = "preference",
    annotator: str | None = None,
    prompt: str | None = None,
    timestamp: str | None = None,
    map: Mapping[Any, str | int] | None = None,
    source_left: str | None = None,
    source_right: str | None = None,
    prior_score: Mapping[Any, float] | pd.Series[Any] | None = None,
    features: pd.DataFrame | None = None,
) -> None:
    """Writes votes, a row each, as a comparisons/1 file.

    votes: a frame of pandas, polars or pyarrow, or another table that voxpop.read() takes.
    left, right, preference, annotator, prompt, timestamp: names of columns. The last three, where None, are the columns
        of those names, if there are such. Ids may be strings or integers. A preference is left, right or tie, or 1, -1,
        0, or a grade to +-9, > 0 for the left item; `map` says what other values mean: {"A>B": "left"}. Times are
        datetimes or seconds since 1970. Numbers without a negative one are refused: 0/1, 1/2 or 1 to 5 mean different
        things in different tables.
    source_left, source_right: columns with the model that wrote each response; where None, model_left and model_right, if
        there are such.
    prior_score: an existing reward model's score of each item, by id. features: [items x features], by id.

    The file appears under its name when it is complete. Raises BadInputError naming column, row (from 0) and value, and
    FileError.
    """
    write_columns(comparisons(as_table(votes), left=left, right=right, preference=preference, annotator=annotator, prompt=prompt,
                              timestamp=timestamp, map=map, source_left=source_left, source_right=source_right,
                              prior_score=prior_score, features=features), path)


def from_datasets(
    dataset: Any,
    *,
    left: str = "left",
    right: str = "right",
    preference: str = "preference",
    annotator: str | None = "annotator",
    prompt: str | None = "prompt",
    timestamp: str | None = None,
) -> pd.DataFrame:
    """The votes in a Hugging Face Dataset, as fit() takes them: its columns of these names (None: not there), and no
    others, so that no text is loaded. Raises BadInputError where a column is missing, or where `dataset` is a
    DatasetDict: name the split."""
    if isinstance(dataset, Mapping):
        raise BadInputError(f"this is a DatasetDict; take one of its splits: {', '.join(map(repr, dataset))}")
    wanted = {"left": left, "right": right, "preference": preference, "annotator": annotator, "prompt": prompt,
              "timestamp": timestamp}
    names = {name: role for role, name in wanted.items() if name is not None}
    for name in names:
        if name not in dataset.column_names:
            raise BadInputError(f"the dataset has no column '{name}'; it has {', '.join(map(repr, dataset.column_names))}")
    frame: pd.DataFrame = dataset.select_columns(list(names)).to_pandas()
    return frame.rename(columns=names)
