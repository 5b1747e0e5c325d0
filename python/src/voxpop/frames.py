"""Tables of votes of any kind, and results of the same kind: pandas, polars, and what else has Arrow's C stream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pandas as pd

from voxpop.errors import BadInputError

Kind = Literal["pandas", "polars", "pyarrow"]


def kind_of(votes: Any) -> Kind:
    """The kind of frame that results have: that of the votes; pyarrow for other tables with Arrow's C stream, such as
    relations of duckdb; pandas for what is no frame (dicts, lists, a Dataset, paths)."""
    if type(votes).__module__.partition(".")[0] == "polars":
        return "polars"
    return "pyarrow" if hasattr(votes, "__arrow_c_stream__") and not isinstance(votes, pd.DataFrame) else "pandas"


def is_table(votes: Any) -> bool:
    """Not paths: what as_table() takes."""
    known = ("__arrow_c_stream__", "collect", "with_format", "to_pandas")
    return isinstance(votes, (pd.DataFrame, Mapping)) or any(hasattr(votes, name) for name in known) \
        or isinstance(votes, list) and len(votes) > 0 and all(isinstance(row, Mapping) for row in votes)


def as_table(votes: Any) -> Any:
    """A frame of pandas or polars or a pyarrow Table, with the same memory where that can be; rows, which may be nested, as a
    list."""
    if isinstance(votes, (pd.DataFrame, list)):
        return votes
    if isinstance(votes, Mapping):
        if votes and all(hasattr(split, "with_format") for split in votes.values()):  # a DatasetDict: all of its splits
            import pyarrow

            return pyarrow.concat_tables([as_table(split) for split in votes.values()], promote_options="default")
        # Arrays of Python strings as they are: making Arrow's of them takes as long as all the rest. They go by position, with
        # the index that a Series among the columns has.
        index = next((one.index for one in votes.values() if isinstance(one, pd.Series)), None)
        try:
            return pd.DataFrame({name: pd.Series(one, index=index, dtype=object) if isinstance(one, np.ndarray) and one.dtype == object and
                                 pd.api.types.infer_dtype(one) == "string" else one for name, one in votes.items()})
        except ValueError as error:
            raise BadInputError(f"the columns do not make a table: {error}") from error
    if hasattr(votes, "with_format"):  # a Dataset
        return votes.with_format("arrow")[:]
    if not hasattr(votes, "__arrow_c_stream__") and hasattr(votes, "collect"):  # a LazyFrame of polars
        votes = votes.collect()
    if kind_of(votes) == "polars":
        return votes
    if hasattr(votes, "__arrow_c_stream__"):
        import pyarrow

        return pyarrow.table(votes)
    return votes.to_pandas()


def names_of(table: Any) -> list[Any]:
    """Of the columns of what as_table() gave."""
    return list(table.column_names if hasattr(table, "column_names") else table.columns)


def column_of(table: Any, name: str) -> pd.Series[Any]:
    """A column of what as_table() gave. Texts of Arrow stay in its memory. Raises BadInputError where several have the name."""
    if names_of(table).count(name) > 1:
        raise BadInputError(f"the table has {names_of(table).count(name)} columns '{name}'; give each its own name")
    if isinstance(table, pd.DataFrame):
        return table[name]
    import pyarrow

    column = table.get_column(name).to_arrow() if kind_of(table) == "polars" else table.column(name)
    kind = column.type.value_type if pyarrow.types.is_dictionary(column.type) else column.type
    if pyarrow.types.is_date(kind):
        kind = pyarrow.timestamp("s")
    if kind in (pyarrow.string(), pyarrow.large_string(), pyarrow.string_view()):
        kind = pyarrow.large_string()  # the kinds of text are one, so that ids of two columns are compared as they are
        return pd.Series(pd.arrays.ArrowExtensionArray(column.cast(kind)), name=name)
    series: pd.Series[Any] = column.cast(kind).to_pandas().rename(name)
    return series


def in_kind(frame: pd.DataFrame, kind: Kind) -> Any:
    """The frame in another kind, without its index."""
    if kind == "pandas":
        return frame
    import pyarrow

    table = pyarrow.Table.from_pandas(frame, preserve_index=False)
    if kind == "pyarrow":
        return table
    import polars

    return polars.from_arrow(table)
