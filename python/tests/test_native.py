"""libvoxpop in this process against the program voxpop."""

import gc
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import warnings

import h5py
import numpy as np
import pandas as pd
import pytest

import voxpop
from voxpop import native
from voxpop.program import find_program


def _beside_the_program():
    try:
        path = os.path.join(os.path.dirname(os.path.realpath(find_program())), "libvoxpop.so")
    except voxpop.ProgramNotFoundError:
        return None
    return path if os.path.exists(path) else None


LIBRARY = os.environ.get("VOXPOP_LIBRARY") or _beside_the_program()
pytestmark = pytest.mark.skipif(LIBRARY is None, reason="no libvoxpop: build voxpop_shared, or set VOXPOP_LIBRARY")


@pytest.fixture(autouse=True)
def library(monkeypatch):
    monkeypatch.setenv("VOXPOP_LIBRARY", LIBRARY)


def by_program(monkeypatch, *arguments, **more):
    with monkeypatch.context() as patch:
        patch.setenv("VOXPOP_LIBRARY", "")
        return voxpop.fit(*arguments, progress=False, **more)


def columns_of(path):
    columns = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, one: columns.update({name: one[()]}) if isinstance(one, h5py.Dataset) else None)
    return columns


def rich(table):
    """The table with all kinds of columns that a table may have."""
    random = np.random.default_rng(7)
    items = sorted(set(table["left"]) | set(table["right"]))
    model = dict(zip(items, random.choice(["m", "n", "ö"], len(items))))
    votes = table.assign(model_left=table["left"].map(model), model_right=table["right"].map(model),
                         timestamp=pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(np.arange(len(table)), unit="min"))
    features = pd.DataFrame(random.normal(size=(len(items), 2)), index=items, columns=["length", "größe"])
    return votes, features


@pytest.mark.parametrize("options", [
    {}, {"model": "bt"}, {"model": "crowd-bt", "no_adversaries": True}, {"ties": "half"}, {"no_side_bias": True}, {"calibrate": True, "seed": 3},
    {"repeats": "last", "views": "off"}, {"ignore": ["sources", "features"]}, {"max_iterations": 3, "threads": 1},
])
def test_columns_are_the_programs(monkeypatch, table, options):
    votes, features = rich(table)
    scores = dict(zip(features.index, np.random.default_rng(8).normal(size=len(features))))
    here = voxpop.fit(voxpop.read(votes, features=features, prior_score=scores), progress=False, **options)
    there = by_program(monkeypatch, voxpop.read(votes, features=features, prior_score=scores), **options)
    assert here._native is not None and there._native is None
    one, other = columns_of(here.path), columns_of(there.path)
    assert one.keys() == other.keys()
    for name, values in one.items():
        assert values.dtype == other[name].dtype, name
        assert values.tobytes() == other[name].tobytes() if values.dtype.kind != "O" else list(values) == list(other[name]), name
    for frame in "pairs", "items", "annotators", "votes", "sources", "windows":
        mine, theirs = getattr(here, frame), getattr(there, frame)
        assert (mine is None) == (theirs is None)
        if mine is not None:
            pd.testing.assert_frame_equal(mine, theirs, check_exact=True)
    told = ("votes", "items", "pairs", "components", "model", "ties", "repeats", "side_bias", "iterations", "converged", "log_evidence", "findings",
            "warnings", "hyperparameters", "reliability", "seed")
    assert {name: here.provenance[name] for name in told} == {name: there.provenance[name] for name in told}


def test_every_kind_of_table_is_fitted_here(table, fitted, monkeypatch):
    first = voxpop.fit(table, progress=False)
    assert first._native is not None
    kinds = [table.to_dict("list"), {name: table[name].to_numpy() for name in table}, table.to_dict("records"), voxpop.read(table)]
    try:
        import pyarrow
        kinds.append(pyarrow.Table.from_pandas(table))
    except ImportError:
        pass
    try:
        import datasets
        kinds.append(datasets.Dataset.from_pandas(table))
    except ImportError:
        pass
    for votes in kinds:
        fit = voxpop.fit(votes, progress=False)
        assert fit._native is not None
        pd.testing.assert_frame_equal(fit.to("pandas").pairs, first.pairs, check_exact=True)
    pd.testing.assert_frame_equal(fitted.pairs, first.pairs, check_exact=True)


@pytest.mark.parametrize("more", [{}, {"annotator": "anonymous"}])
def test_nobody_is_named(monkeypatch, more):
    votes = pd.DataFrame({"left": [1, 1, 2, 3, 3], "right": [2, 3, 3, 1, 2], "preference": [1, 1, -1, 2, 0], **more})
    here, there = voxpop.fit(votes, progress=False), by_program(monkeypatch, votes)
    for frame in "pairs", "items", "annotators", "votes":
        pd.testing.assert_frame_equal(getattr(here, frame), getattr(there, frame), check_exact=True)


def test_errors_are_the_programs(monkeypatch, table):
    for wrong, kind in ({"model": "best"}, voxpop.UsageError), ({"ties": "many"}, voxpop.UsageError), ({"ignore": ["all"]}, voxpop.UsageError), \
            ({"device": "cuda:77"}, voxpop.DeviceError), ({"strict": True, "max_iterations": 1}, voxpop.NotConvergedError), \
            ({"seed": "x"}, voxpop.UsageError), ({"modle": 3}, voxpop.UsageError), ({"warm_start": "/none.h5"}, voxpop.FileError):
        with pytest.raises(kind) as here:
            voxpop.fit(table, progress=False, **wrong)
        with pytest.raises(kind):
            by_program(monkeypatch, table, **wrong)
        assert type(here.value) is kind
    for odd in "a\0b", "\ud800":
        with pytest.raises(voxpop.BadInputError, match="not a text"):
            voxpop.fit(pd.DataFrame({"left": pd.Series([odd], dtype=object), "right": "b", "preference": "left"}), progress=False)


def test_columns_the_library_refuses(table):
    library = native.find_library()
    good = {"comparisons/left": [0, 1], "comparisons/right": [1, 0], "comparisons/preference": [1, -1], "items/id": ["a", "b"]}
    assert len(native.fit_votes(library, good, {}).column("pairs/left")) == 1
    for name, values, kind in ("comparisons/left", [0, 2], voxpop.BadInputError), ("comparisons/left", [0], voxpop.BadInputError), \
            ("comparisons/left", np.array([0, 2**63], np.uint64), voxpop.BadInputError), ("comparisons/left", [0.0, 1.0], voxpop.UsageError), \
            ("comparisons/left", ["a", "b"], voxpop.BadInputError), ("comparisons/preference", [1, 99], voxpop.BadInputError), \
            ("items/id", ["a", None], voxpop.BadInputError), ("items/id", ["a", "a"], voxpop.BadInputError), ("items/it", [1], voxpop.UsageError):
        with pytest.raises(kind):
            native.fit_votes(library, {**good, name: values}, {})
    with pytest.raises(voxpop.UsageError, match="no member"):
        native.fit_votes(library, good, {"modle": 3})


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", ">i4"])
def test_types_of_columns(dtype):
    library = native.find_library()
    columns = {"comparisons/left": np.array([0, 9, 1, 9, 0], dtype)[::2], "comparisons/right": np.array([1, 2, 2], dtype),
               "comparisons/preference": np.array([1, 1, -1]), "items/id": ["ä", "", "日本"]}
    fit = native.fit_votes(library, columns, {"model": "bt"})
    assert list(fit.column("items/id")) == ["ä", "", "日本"]
    assert sorted(zip(fit.column("pairs/left").tolist(), fit.column("pairs/right").tolist())) == [(0, 1), (0, 2), (1, 2)]


def test_texts_of_arrow():
    pyarrow = pytest.importorskip("pyarrow")
    library = native.find_library()
    columns = {"comparisons/left": [0, 1], "comparisons/right": [1, 2], "comparisons/preference": [1, -1]}
    for texts in pyarrow.array(["x", "ä", "b", "日本"])[1:], pyarrow.array(["ä", "b", "日本"], pyarrow.large_string()), \
            pyarrow.chunked_array([["ä"], [], ["b", "日本"]]), pyarrow.array(["ä", "b", "日本"]).dictionary_encode():
        assert list(native.fit_votes(library, {**columns, "items/id": texts}, {}).column("items/id")) == ["ä", "b", "日本"]
    with pytest.raises(voxpop.BadInputError, match="missing"):
        native.fit_votes(library, {**columns, "items/id": pyarrow.array(["a", None, "c"])}, {})


def test_views_keep_the_fit(table):
    fit = voxpop.fit(table, progress=False)
    view = fit._native.column("pairs/probability")
    copy = fit._native.column("pairs/probability", copy=True)
    assert not view.flags.writeable and copy.flags.writeable and copy.base is None
    del fit
    gc.collect()
    np.testing.assert_array_equal(view, copy)


def test_no_files(monkeypatch, table, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("VOXPOP_PROGRAM", "/nowhere/voxpop")
    monkeypatch.chdir(tmp_path)
    fit = voxpop.fit(table, progress=False)
    assert len(fit.pairs) == 300 and len(fit.votes) == len(table) and "<canvas" in fit.report().html and fit._repr_html_()
    assert os.listdir(tmp_path) == []
    fit.save(tmp_path / "f.h5")
    assert os.listdir(tmp_path) == ["f.h5"]
    pd.testing.assert_frame_equal(voxpop.read_fit(tmp_path / "f.h5").pairs, fit.pairs)
    path = fit.path
    assert os.path.exists(path)
    del fit
    gc.collect()
    assert os.listdir(tmp_path) == ["f.h5"]


def test_a_fit_is_pickled(table, monkeypatch):
    fit = voxpop.fit(table.set_axis(range(5, 5 + len(table))), progress=False)
    taken = pickle.loads(pickle.dumps(fit))
    for frame in "pairs", "items", "annotators", "votes":
        pd.testing.assert_frame_equal(getattr(taken, frame), getattr(fit, frame), check_exact=True)
    assert taken.provenance["votes"] == len(table) and taken.summary == fit.summary
    pd.testing.assert_frame_equal(taken.suspicious_votes(5), fit.suspicious_votes(5))


def test_what_the_program_does_with_it(table, tmp_path, monkeypatch):
    fit = voxpop.fit(table, progress=False)
    there = by_program(monkeypatch, table)
    pd.testing.assert_frame_equal(fit.next(10), there.next(10))
    for form in "trl", "votes":
        for one, name in (fit, "here"), (there, "there"):
            one.export(tmp_path / name, form)
        assert (tmp_path / "here").read_bytes() == (tmp_path / "there").read_bytes()
    today = table[: len(table) // 2]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pd.testing.assert_frame_equal(voxpop.fit(today, warm_start=fit, progress=False).pairs, by_program(monkeypatch, today, warm_start=fit).pairs)
    with pytest.warns(voxpop.VotesWarning, match="count twice"):
        voxpop.fit(table, warm_start=fit, progress=False)
    kept = voxpop.fit(table, output=tmp_path / "kept.h5", progress=False)
    assert kept.path == str(tmp_path / "kept.h5") and "1800 votes on 300 items" in kept.summary
    pd.testing.assert_frame_equal(kept.pairs, fit.pairs)


def test_what_is_suspicious(table):
    fit = voxpop.fit(table, progress=False)
    worst = fit.suspicious_votes(30)
    assert len(worst) == 30 and worst["probability_correct"].is_monotonic_increasing
    assert worst["probability_correct"].iloc[0] == fit.votes["probability_correct"].min()
    pd.testing.assert_frame_equal(worst[["left", "right", "annotator"]].astype(str), table.loc[worst.index, ["left", "right", "annotator"]].astype(str))
    assert fit.annotators["id"].iloc[0] == "person 5"
    assert list(fit.check().columns) == ["kind", "level", "text", "remedy"]
    assert json.loads(fit.check().to_json(orient="records")) == fit.provenance["findings"]


def test_pages(table, tmp_path):
    fit = voxpop.fit(table.assign(annotator="<b>x & y</b>"), progress=False)
    page = fit._repr_html_()
    assert "1,800" in page and "<b>x" not in page
    report = fit.report(tmp_path / "r.html")
    assert (tmp_path / "r.html").read_text() == report.html and "&lt;canvas" in report._repr_html_() and report._repr_html_().count("<iframe") == 1


def test_what_looks_wrong_is_a_warning(monkeypatch, table):
    for wrong in {"preference": "left"}, {"preference": np.where(table["preference"] == "left", 2, -1)}:
        here = {one["kind"]: one["level"] for one in voxpop.fit(table.assign(**wrong), progress=False).provenance["findings"]}
        there = {one["kind"]: one["level"] for one in by_program(monkeypatch, table.assign(**wrong)).provenance["findings"]}
        assert here == there and any(kind.startswith("one_sided") for kind in here)
    with pytest.warns(voxpop.VotesWarning, match="Not converged"):
        voxpop.fit(table, max_iterations=1, progress=False)


def test_notes_go_to_stderr(table, capfd):
    anonymous = table.drop(columns="annotator")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        voxpop.fit(anonymous, progress=False)
        assert capfd.readouterr() == ("", "")
        voxpop.fit(anonymous)
    assert "one anonymous annotator" in capfd.readouterr().err


def test_two_fits_at_once(table):
    half = table[: len(table) // 2]
    expected = [voxpop.fit(votes, progress=False).pairs for votes in (table, half)]
    got = {}

    def work(name, votes):
        got[name] = [voxpop.fit(votes, progress=False, threads=2).pairs for _ in range(5)]

    threads = [threading.Thread(target=work, args=(i, votes)) for i, votes in enumerate((table, half))]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    for i, pairs in enumerate(expected):
        for again in got[i]:
            pd.testing.assert_frame_equal(again, pairs, check_exact=True)


LONG = """
import os, sys, threading, time
import numpy as np
import voxpop
random = np.random.default_rng(1)
left = random.integers(0, 100_000, 1_000_000)
votes = {"left": left, "right": left + 1 + random.integers(0, 9, len(left)), "annotator": random.integers(0, 2000, len(left)),
         "preference": random.choice([-1, 1], len(left))}
votes = voxpop.read(votes)
print("begin", flush=True)
begin = time.perf_counter()
try:
    voxpop.ACT
except KeyboardInterrupt:
    print("stopped", threading.active_count(), flush=True)
"""


@pytest.mark.parametrize("act", ["fit(votes, progress=False, calibrate=True)", "evaluate(votes, progress=False)"])
def test_control_c(act):
    # A process group of its own: only this child gets the signal.
    child = subprocess.Popen([sys.executable, "-W", "ignore", "-c", LONG.replace("ACT", act)], stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        assert child.stdout.readline() == "begin\n"
        time.sleep(1.5)
        assert child.poll() is None
        begin = time.perf_counter()
        child.send_signal(signal.SIGINT)
        line = child.stdout.readline()
        took = time.perf_counter() - begin
        assert line.startswith("stopped")
        assert took < 1, took
    finally:
        child.kill()
        child.wait()


def test_which_library(monkeypatch, tmp_path):
    assert native.find_library() is not None
    monkeypatch.setenv("VOXPOP_LIBRARY", "")
    assert native.find_library() is None
    monkeypatch.setenv("VOXPOP_LIBRARY", str(tmp_path / "none.so"))
    with pytest.raises(voxpop.UsageError, match="none.so"):
        native.find_library()
    monkeypatch.delenv("VOXPOP_LIBRARY")
    (tmp_path / "bin").mkdir()
    (tmp_path / "lib").mkdir()
    program = tmp_path / "bin" / "voxpop"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("VOXPOP_PROGRAM", str(program))
    assert native.find_library() is None  # a named program has no other's library
    (tmp_path / "lib" / "libvoxpop.so").symlink_to(LIBRARY)
    assert native.find_library() is not None
    with monkeypatch.context() as patch:
        patch.setattr(native, "__version__", "9.9.9")
        native._load.cache_clear()
        assert native.find_library() is None
    native._load.cache_clear()
