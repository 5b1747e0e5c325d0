import time

import h5py
import numpy as np
import pandas as pd
import pytest

import voxpop


def write(path, **columns):
    voxpop.write_comparisons(pd.DataFrame(columns), path)
    return h5py.File(path)


def test_every_dataset_by_hand(tmp_path):
    when = pd.to_datetime(["2026-01-01T00:00:01Z", "1970-01-02", "2026-01-01"], format="ISO8601", utc=True)
    table = pd.DataFrame({"a": ["x", "y", "z"], "b": ["y", "x", "w"], "who": pd.Categorical([7, 8, 7]),
                          "vote": ["A", "B", "even"], "q": ["p", "p", "q"], "when": when}, index=[5, 5, 9])
    voxpop.write_comparisons(
        table, tmp_path / "v.h5", left="a", right="b", annotator="who", preference="vote", prompt="q", timestamp="when",
        map={"A": "left", "B": -3, "even": "tie"}, prior_score={"x": 1, "y": 2, "z": 3, "w": 4.5},
        features=pd.DataFrame({"length": [1, 2, 3, 4]}, index=["w", "x", "y", "z"]))
    with h5py.File(tmp_path / "v.h5") as file:
        assert file.attrs["voxpop_schema"] == "comparisons/1"
        assert list(file["items/id"].asstr()) == ["x", "y", "z", "w"]
        assert list(file["comparisons/left"]) == [0, 1, 2]
        assert list(file["comparisons/right"]) == [1, 0, 3]
        assert list(file["comparisons/preference"]) == [1, -3, 0]
        assert file["comparisons/preference"].dtype == np.int8
        assert list(file["annotators/id"].asstr()) == ["7", "8"]
        assert list(file["comparisons/annotator"]) == [0, 1, 0]
        assert list(file["items/prompt"]) == [0, 0, 1, 1]
        assert list(file["comparisons/timestamp"]) == [1767225601, 86400, 1767225600]
        assert list(file["items/prior_score"]) == [1, 2, 3, 4.5]
        assert file["items/features"][:].tolist() == [[2], [3], [4], [1]]
        assert list(file["items/features"].attrs["names"]) == ["length"]


def sources_of(path):
    with h5py.File(path) as file:
        if "items/source" not in file:
            return None
        ids = [*file["sources/id"].asstr(), None]  # the last is -1
        return {item: ids[source] for item, source in zip(file["items/id"].asstr(), file["items/source"])}


def test_models_that_wrote_the_items(tmp_path):
    path = tmp_path / "v.h5"
    table = pd.DataFrame({"left": ["x", "y", "z"], "right": ["y", "z", "x"], "preference": ["left"] * 3,
                          "model_left": ["m", "n", "o"], "model_right": ["n", "o", "m"]})
    voxpop.write_comparisons(table, path)
    assert sources_of(path) == {"x": "m", "y": "n", "z": "o"}
    other = table.rename(columns={"model_left": "by", "model_right": "with"})
    voxpop.write_comparisons(other, path)
    assert sources_of(path) is None
    voxpop.write_comparisons(other, path, source_left="by", source_right="with")
    assert sources_of(path) == {"x": "m", "y": "n", "z": "o"}
    two = table.assign(model_right=["n", "o", "p"])  # x is of m, and of p
    voxpop.write_comparisons(two, path)
    assert sources_of(path) == {"x": None, "y": "n", "z": "o"}
    with pytest.raises(voxpop.BadInputError, match="another source"):
        voxpop.write_comparisons(two, path, source_left="model_left", source_right="model_right")
    voxpop.write_comparisons(table.assign(model_right=["n", None, "m"]), path)
    assert sources_of(path) is None


@pytest.mark.parametrize("dtype", ["object", "string", "category", "string[pyarrow]"])
def test_dtypes_of_ids(tmp_path, dtype):
    if "pyarrow" in dtype:
        pytest.importorskip("pyarrow")
    left, right, vote = (pd.Series(values, dtype=dtype) for values in (["a", "b"], ["b", "c"], ["Left", " tie "]))
    with write(tmp_path / "v.h5", left=left, right=right, preference=vote) as file:
        assert list(file["items/id"].asstr()) == ["a", "b", "c"]
        assert list(file["comparisons/preference"]) == [1, 0]


def test_numbers_as_ids_and_preferences(tmp_path):
    right = np.array(["2", "3"], object)
    with write(tmp_path / "v.h5", left=[1, 2], right=right, preference=[1.0, -9.0]) as file:
        assert list(file["items/id"].asstr()) == ["1", "2", "3"]
        assert list(file["comparisons/preference"]) == [1, -9]


ab = {"left": ["a", "a"], "right": ["b", "b"]}


@pytest.mark.parametrize("columns, message", [
    ({"left": ["a", None], "right": ["b", "b"], "preference": [1, 1]}, "'left' row 1 is .*; an id must not be missing"),
    ({"left": ["a", "b"], "right": ["b", "b"], "preference": [1, -1]}, "'right' row 1 is 'b'; the same item as"),
    ({**ab, "preference": [1, "perhaps"]}, "'preference' row 1 is 'perhaps'; it must be left, right or tie"),
    ({**ab, "preference": [1, 10]}, "'preference' row 1 is .*10.*; it must be"),
    ({**ab, "preference": [1, np.nan]}, "'preference' row 1 is .*nan"),
    ({**ab, "preference": [1, 0.5]}, "'preference' row 1 is .*0.5"),
    ({**ab, "preference": [True, False]}, "'preference' row 0 is .*True"),
    (ab, "no column 'preference'; there are 'left', 'right'"),
    ({"left": [], "right": [], "preference": []}, "no rows"),
    ({"left": ["a", "c"], "right": ["b", "a"], "preference": [1, -1], "prompt": ["p", "q"]}, "'prompt' row 0 is 'p'; but an"),
    ({**ab, "preference": [1, -1], "timestamp": ["noon", "one"]}, "'timestamp' is .*; times are datetimes or seconds"),
    ({**ab, "preference": [1, -1], "timestamp": [1, 1_767_225_600_000_000_000]}, "'timestamp' row 1 .*another unit"),
    ({**ab, "preference": [1, -1], "timestamp": [1, np.nan]}, "'timestamp' row 1 is .*nan"),
])
def test_bad_tables(tmp_path, columns, message):
    with pytest.raises(voxpop.BadInputError, match=message):
        voxpop.write_comparisons(pd.DataFrame(columns), tmp_path / "v.h5")
    assert not (tmp_path / "v.h5").exists()


def test_bad_maps_and_scores(tmp_path):
    table = pd.DataFrame({"left": ["a"], "right": ["b"], "preference": ["A"]})
    with pytest.raises(voxpop.BadInputError, match="row 0 is 'A'; map must say"):
        voxpop.write_comparisons(table, tmp_path / "v.h5", map={"B": "left"})
    with pytest.raises(voxpop.BadInputError, match="prior_score: no value for item 'b'"):
        voxpop.write_comparisons(table, tmp_path / "v.h5", map={"A": "left"}, prior_score={"a": 1})
    with pytest.raises(voxpop.BadInputError, match="prior_score: item '1' comes twice"):
        voxpop.write_comparisons(table, tmp_path / "v.h5", map={"A": "left"}, prior_score={"1": 1, 1: 2, "a": 0, "b": 0})


def test_ids_of_several_number_types_stay_apart(tmp_path):
    left = np.array([2**63 + 1, 2**63 + 2], np.uint64)
    with write(tmp_path / "v.h5", left=left, right=np.array([1, 2]), preference=[1, -1]) as file:
        assert list(file["items/id"].asstr()) == ["9223372036854775809", "9223372036854775810", "1", "2"]


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "v.h5"
    path.write_text("old")
    for odd in "a\0b", "\ud800":
        with pytest.raises(voxpop.BadInputError, match="an id is not a text"):
            voxpop.write_comparisons(pd.DataFrame({"left": pd.Series([odd], dtype=object), "right": "b", "preference": "left"}), path)
    with pytest.raises(voxpop.FileError, match="cannot write"):
        voxpop.write_comparisons(pd.DataFrame({"left": ["a"], "right": ["b"], "preference": ["left"]}), tmp_path / "no" / "v.h5")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_million_rows(tmp_path):
    random = np.random.default_rng(1)
    left = random.integers(0, 200_000, 1_000_000)
    table = pd.DataFrame({"left": left, "right": left + 1, "annotator": random.integers(0, 500, len(left)),
                          "preference": random.choice([-1, 0, 1], len(left))})
    begin = time.perf_counter()
    voxpop.write_comparisons(table, tmp_path / "v.h5")
    assert time.perf_counter() - begin < 10
    with h5py.File(tmp_path / "v.h5") as file:
        ids = file["items/id"].asstr()[:].astype(int)
        people = file["annotators/id"].asstr()[:].astype(int)
        np.testing.assert_array_equal(ids[file["comparisons/left"][:]], table["left"])
        np.testing.assert_array_equal(ids[file["comparisons/right"][:]], table["right"])
        np.testing.assert_array_equal(people[file["comparisons/annotator"][:]], table["annotator"])
        np.testing.assert_array_equal(file["comparisons/preference"][:], table["preference"])
