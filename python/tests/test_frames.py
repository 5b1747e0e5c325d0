"""Votes in frames of every kind give the same results, in frames of that kind."""

import datetime
import pickle
import subprocess
import sys

import h5py
import numpy as np
import pandas as pd
import pytest

import voxpop

FRAMES = ("pairs", "items", "annotators", "votes", "sources", "windows")


@pytest.fixture(scope="module")
def rich(table):
    """With times, ties and sources, and a column of long texts that nothing needs."""
    model = {item: f"model {item[-1]}" for item in [*table["left"], *table["right"]]}
    return table.assign(
        timestamp=pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(np.arange(len(table)), unit="min"),
        preference=np.where(np.arange(len(table)) % 7 == 0, "tie", table["preference"]),
        model_left=table["left"].map(model), model_right=table["right"].map(model), text="long")


def polars_of(frame):
    return pytest.importorskip("polars").from_pandas(frame)


def pyarrow_of(frame):
    return pytest.importorskip("pyarrow").Table.from_pandas(frame, preserve_index=False)


def to_pandas(frame):
    return frame.to_pandas()


MAKE = {"polars": polars_of, "pyarrow": pyarrow_of}


@pytest.mark.parametrize("kind", ["polars", "pyarrow"])
def test_results_are_pandas_results_in_another_kind(rich, kind):
    expected = voxpop.fit(rich, progress=False)
    fit = voxpop.fit(MAKE[kind](rich), progress=False)
    for name in FRAMES:
        mine, theirs = getattr(fit, name), getattr(expected, name)
        assert type(mine).__module__.startswith(kind) and type(mine).__name__ in ("DataFrame", "Table"), name
        got = to_pandas(mine)
        assert list(got.columns) == list(theirs.columns)
        for column in theirs:
            if theirs[column].dtype.kind in "fiu":
                assert got[column].dtype == theirs[column].dtype
                np.testing.assert_array_equal(got[column], theirs[column])
            else:
                assert got[column].astype(str).tolist() == theirs[column].astype(str).tolist()
    worst, known = to_pandas(fit.suspicious_votes(9)), expected.suspicious_votes(9)
    assert worst["row"].tolist() == known["row"].tolist() == known.index.tolist()
    assert worst["left"].tolist() == rich["left"].iloc[worst["row"]].tolist()
    assert len(fit.check()) == len(expected.check()) and type(fit.check()) is type(fit.pairs)
    assert type(fit.next(3)) is type(fit.pairs) and fit._repr_html_().startswith("<div>")
    pd.testing.assert_frame_equal(fit.to("pandas").pairs, expected.pairs, check_exact=True)
    assert type(pickle.loads(pickle.dumps(fit)).pairs) is type(fit.pairs)
    assert type(expected.to(kind).pairs) is type(fit.pairs) and expected.to("pandas") is expected


def test_other_tables(rich):
    expected = voxpop.fit(rich, progress=False)
    polars = pytest.importorskip("polars")
    pyarrow = pytest.importorskip("pyarrow")
    frame = polars_of(rich)
    kinds = {
        "polars": [frame.lazy(), frame.with_columns(polars.col("left", "annotator", "preference").cast(polars.Categorical))],
        "pyarrow": [pyarrow_of(rich).to_batches()[0], pyarrow.concat_tables([pyarrow_of(rich[:700]), pyarrow_of(rich[700:])])],
        "pandas": [{name: rich[name].to_numpy() for name in rich}, {name: rich[name].to_numpy(str) for name in rich if name != "timestamp"}],
    }
    try:
        import duckdb
        kinds["pyarrow"].append(duckdb.sql("select * from frame"))
    except ImportError:
        pass
    for kind, tables in kinds.items():
        for votes in tables:
            fit = voxpop.fit(votes, progress=False)
            assert type(fit.pairs).__module__.partition(".")[0] == kind
            pd.testing.assert_frame_equal(fit.to("pandas").pairs, expected.pairs, check_exact=True)


def columns_of(table, path):
    voxpop.write_comparisons(table, path)
    with h5py.File(path) as file:
        return {name: file[name][()].tolist() for name in ("comparisons/left", "comparisons/right", "comparisons/preference", "items/id",
                                                           "annotators/id", "comparisons/timestamp") if name in file}


@pytest.mark.parametrize("change", [
    {}, {"left": [1, 2, 3], "right": [2, 3, 1]}, {"left": [2**63 + 1, 2, 3], "right": [2, 3, 2**63 + 1]},
    {"preference": [1, -9, 0]}, {"preference": [1.0, -1.0, 0.0]}, {"preference": [" Left", "TIE", "right"]},
    {"timestamp": pd.to_datetime(["1970-01-02", "2026-01-01T00:00:01", "2026-01-01"], format="ISO8601")},
    {"timestamp": pd.to_datetime(["1970-01-02", "2026-01-01"] * 2, format="ISO8601")[:3].tz_localize("Europe/Berlin")},
    {"timestamp": [1, 2, 3]}, {"timestamp": [0.5, 1e9, 2.0]},
])
def test_types_of_columns(tmp_path, change):
    table = pd.DataFrame({"left": ["x", "ä", "z"], "right": ["ä", "z", "x"], "annotator": ["ann", "", "日本"], "preference": [1, -1, 0], **change})
    expected = columns_of(table, tmp_path / "p.h5")
    for make in polars_of, pyarrow_of:
        assert columns_of(make(table), tmp_path / "o.h5") == expected
    days = table.assign(timestamp=[datetime.date(1970, 1, 2)] * 3)
    days = pytest.importorskip("polars").DataFrame(days.to_dict("list"))
    assert columns_of(days, tmp_path / "d.h5")["comparisons/timestamp"] == [86400] * 3


ab = {"left": ["a", "a"], "right": ["b", "b"]}


@pytest.mark.parametrize("columns, message", [
    ({"left": ["a", None], "right": ["b", "b"], "preference": [1, 1]}, "'left' row 1 is .*; an id must not be missing"),
    ({"left": [1, None], "right": [2, 2], "preference": [1, 1]}, "'left' row 1 is .*; an id must not be missing"),
    ({"left": ["a", "b"], "right": ["b", "b"], "preference": [1, -1]}, "'right' row 1 is 'b'; the same item as"),
    ({**ab, "preference": ["left", "perhaps"]}, "'preference' row 1 is 'perhaps'; it must be left, right or tie"),
    ({**ab, "preference": [1, None]}, "'preference' row 1 is .*nan"),
    ({**ab, "preference": [True, False]}, "'preference' row 0 is .*True"),
    ({**ab, "preference": [0, 1]}, "none of them negative|1=left"),
    ({**ab, "vote": [0, 1]}, "no column 'preference'; there are 'left', 'right', 'vote'"),
    ({"left": [], "right": [], "preference": []}, "no rows"),
    ({**ab, "preference": [1, -1], "timestamp": ["noon", "one"]}, "'timestamp' is .*; times are datetimes or seconds"),
])
def test_bad_tables(columns, message):
    for make in pytest.importorskip("polars").DataFrame, pytest.importorskip("pyarrow").table:
        with pytest.raises(voxpop.BadInputError, match=message):
            voxpop.read(make(columns))


def test_a_fit_written_again_is_noticed(table, tmp_path):
    """Also by the frames of another kind."""
    fit = voxpop.fit(table, output=tmp_path / "f.h5", progress=False)
    other = fit.to("pyarrow")
    voxpop.fit(table[:900], output=tmp_path / "f.h5", progress=False)
    for one in other, fit.to("polars"):
        with pytest.raises(voxpop.FileError, match="written again"):
            one.pairs


def test_shapes_of_tables(tmp_path):
    table = pd.DataFrame({"won": ["a", "b", "c"] * 5, "lost": ["b", "c", "a"] * 5, "who": ["x"] * 15})
    for make in polars_of, pyarrow_of:
        votes = voxpop.read(make(table), winner="won", loser="lost", annotator="who")
        assert votes.summary["votes"] == 15
        assert type(voxpop.fit(votes, progress=False).pairs) is type(make(table))


def test_enums_of_other_tools():
    """evalica's arrays: xs, ys, winners."""
    import enum

    Winner = enum.Enum("Winner", ["X", "Y", "Draw"])
    xs, ys, winners = ["a", "a", "b"], ["b", "c", "c"], [Winner.X, Winner.Y, Winner.Draw]
    votes = voxpop.read({"left": xs, "right": ys, "preference": winners}, map={Winner.X: "left", Winner.Y: "right", Winner.Draw: "tie"})
    assert votes.columns["comparisons/preference"].tolist() == [1, -1, 0]


def test_pandas_needs_no_other_library():
    """In a process of its own: neither pyarrow nor polars is imported by voxpop itself for votes of pandas."""
    code = ("import sys; sys.modules['pyarrow'] = sys.modules['polars'] = None; import pandas as pd, voxpop\n"
            "votes = voxpop.read(pd.DataFrame({'left': ['a'], 'right': ['b'], 'annotator': ['x'], 'preference': ['left']}))\n"
            "fit = voxpop.fit(votes, progress=False); assert len(fit.pairs) == 1 and fit.suspicious_votes().empty; fit._repr_html_()")
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_dict_with_a_shuffled_series_goes_by_position(table):
    """Arrays beside a Series whose index is not 0, 1, ...: row i of each column is vote i."""
    shuffled = table.sample(frac=1, random_state=3)
    votes = {"left": shuffled["left"].to_numpy(object), "right": shuffled["right"].to_numpy(object), "annotator": shuffled["annotator"],
             "preference": shuffled["preference"]}
    fit = voxpop.fit(votes, progress=False)
    pd.testing.assert_frame_equal(fit.items, voxpop.fit(shuffled[list(votes)], progress=False).items)
    with pytest.raises(voxpop.BadInputError, match="do not make a table"):
        voxpop.fit({**votes, "left": votes["left"][:9]}, progress=False)


def test_what_is_no_kind_of_frame(table):
    fit = voxpop.fit(table, progress=False)
    with pytest.raises(voxpop.UsageError, match="frames is 'numpy'"):
        fit.to("numpy")
    twice = pd.concat([table, table[["left"]]], axis=1)
    with pytest.raises(voxpop.BadInputError, match="2 columns 'left'"):
        voxpop.fit(twice, progress=False)
