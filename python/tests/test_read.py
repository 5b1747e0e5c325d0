import gc
import json
import os
import pickle
import subprocess
import sys
import warnings

import h5py
import numpy as np
import pandas as pd
import pytest

import voxpop

ROWS = [{"left": "a", "right": "b", "preference": "left", "annotator": "u"}, {"left": "b", "right": "c", "preference": "tie", "annotator": "v"}]


def votes_of(path):
    with h5py.File(path) as file:
        ids = file["items/id"].asstr()[:]
        pairs = zip(*(file["comparisons/" + name][:] for name in ("left", "right", "preference")))
        return [f"{ids[l]} {'>' * p or '<' * -p or '='} {ids[r]}" for l, r, p in ((l, r, int(p)) for l, r, p in pairs)]


def test_every_kind_of_table(tmp_path):
    columns = {name: [row[name] for row in ROWS] for name in ROWS[0]}
    frame = pd.DataFrame(ROWS)
    frame.to_csv(tmp_path / "v.csv", index=False)
    (tmp_path / "v.json").write_text(json.dumps(ROWS))
    for votes in frame, ROWS, columns, {name: np.array(column) for name, column in columns.items()}, tmp_path / "v.csv", [tmp_path / "v.json"]:
        read = voxpop.read(votes)
        assert votes_of(read.path) == ["a > b", "b = c"]
        assert read.summary["votes"] == 2
    path = read.path
    assert os.path.exists(path)
    del read
    gc.collect()
    assert not os.path.exists(path)


def test_datasets_of_several_splits():
    datasets = pytest.importorskip("datasets")
    one, other = datasets.Dataset.from_list(ROWS[:1]), datasets.Dataset.from_list(ROWS[1:])
    assert votes_of((read := voxpop.read(one)).path) == ["a > b"] and read.index is not None
    read = voxpop.read(datasets.DatasetDict({"train": one, "test": other}))
    assert votes_of(read.path) == ["a > b", "b = c"]


def test_winner_and_loser_have_no_sides():
    table = pd.DataFrame({"won": ["a", "c"], "lost": ["b", "a"], "annotator": ["u", "v"]})
    read = voxpop.read(table, winner="won", loser="lost")
    assert votes_of(read.path) == ["a > b", "c > a"]
    with h5py.File(read.path) as file:
        assert file["comparisons"].attrs["sides"] == "unknown"
    fit = voxpop.fit(read, progress=False)
    assert (fit.annotators["side_bias"] == 0).all() and fit.annotators["side_bias_se"].isna().all()


def test_shapes_of_nested_rows():
    nested = [{"q": "p", "two": ["x", "y"], "votes": [{"by": "u", "pick": "left"}, {"by": "v", "pick": "right"}]}]
    read = voxpop.read(nested, each="votes", left="two[0]", right="two[1]", preference="pick", annotator="by")
    assert votes_of(read.path) == ["x > y", "x < y"]
    soft = voxpop.read(pd.DataFrame({"left": ["a"], "right": ["b"], "p": [0.75]}), probability="p")
    with h5py.File(soft.path) as file:
        assert file["comparisons/weight"][:].tolist() == [0.75, 0.25]
    wide = voxpop.read({"left": ["a"], "right": ["b"], "ann": ["left"], "bob": ["right"]}, wide=["ann", "bob"])
    assert votes_of(wide.path) == ["a > b", "a < b"]
    assert votes_of((r := voxpop.read([{"chosen_id": "m1", "rejected_id": "m2"}], preset="chosen-ids")).path) == ["m1 > m2"] and r.summary["votes"] == 1
    odd = voxpop.read({"left": ["a", "a"], "right": ["b", "b"], "preference": ["A, clearly", 'B "won"']},
                      map={"A, clearly": 2, 'B "won"': "right"}, annotator="")
    assert votes_of(odd.path) == ["a >> b", "a < b"]


@pytest.mark.parametrize("codes, advice", [
    ([0, 1], '"0=left,1=right"'), ([1, 2], '"1=left,2=right"'), (["0", "1"], '"0=left,1=right"'), ([1, 3, 5], "--scale 1..5"),
    ([1, 1], "left"), ([1.0, 2.0], '"1=left,2=right"'),
])
def test_codes_are_not_guessed(tmp_path, codes, advice):
    table = pd.DataFrame({"left": "a", "right": "b", "vote": codes})
    with pytest.raises(voxpop.BadInputError) as refused:
        voxpop.write_comparisons(table, tmp_path / "v.h5", preference="vote")
    assert advice in str(refused.value) and "vote" in str(refused.value)
    with pytest.raises(voxpop.BadInputError) as same:
        voxpop.read([{"left": "a", "right": "b", "vote": code} for code in codes], preference="vote", annotator="")
    assert str(refused.value) in str(same.value)
    assert not (tmp_path / "v.h5").exists()


@pytest.mark.parametrize("codes", [[0.5, 1], [-1, 10], [-1, None], [-1, "yes"]])
def test_codes_beyond_ours_are_refused(tmp_path, codes):
    with pytest.raises(voxpop.BadInputError):
        voxpop.write_comparisons(pd.DataFrame({"left": "a", "right": "b", "preference": codes}), tmp_path / "v.h5")


def sound(votes=600):
    random = np.random.default_rng(1)
    left = random.integers(0, 5, votes)
    right = (left + random.integers(1, 5, votes)) % 5
    good = random.random(votes) < 1 / (1 + np.exp(left - right))
    table = pd.DataFrame({"prompt": [f"p{i // 12}" for i in range(votes)], "annotator": [f"u{i % 6}" for i in range(votes)]})
    table = table.assign(left=table["prompt"] + "/" + left.astype(str), right=table["prompt"] + "/" + right.astype(str),
                         preference=np.where(good, "left", "right"))
    again = table.assign(low=np.minimum(left, right), high=np.maximum(left, right)).duplicated(["prompt", "annotator", "low", "high"])
    return table[~again].reset_index(drop=True)


def test_sound_votes_get_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit = voxpop.fit(sound(), progress=False)
    assert not [one for one in voxpop.check(sound())["findings"] if one["level"] == "do_not_train"] and len(fit.pairs) > 200


def test_what_looks_wrong_is_a_warning(tmp_path):
    with pytest.warns(voxpop.VotesWarning, match="prefer the left item.*--winner"):
        voxpop.fit(sound().assign(preference="left"), progress=False)
    with pytest.warns(voxpop.VotesWarning, match="'bot': 399 of 400 votes are repeats"):
        bot = pd.DataFrame({**sound().iloc[0], "annotator": "bot", "n": range(400)}).drop(columns="n")
        voxpop.fit(pd.concat([sound(), bot]), progress=False)
    with pytest.warns(voxpop.VotesWarning, match="column 'count'"):
        voxpop.read([{"left": "a", "right": "b", "preference": "left", "count": 7}], annotator="", skip_bad=0, within=None, each=None, tied=None,
                    unnamed="together")
    with pytest.warns(voxpop.VotesWarning, match="Not converged"):
        voxpop.fit(sound(), max_iterations=1, progress=False)


def test_options_that_do_not_go_together(tmp_path):
    read = voxpop.read(sound())
    with pytest.raises(voxpop.BadInputError, match="read already"):
        voxpop.fit(read, left="a")
    with pytest.raises(voxpop.UsageError, match="prior_score"):
        voxpop.read(sound(), winner="left", loser="right", prior_score={"a": 1})
    assert "--preset elochoice" in voxpop.detect(_file(tmp_path / "w.csv", "winner,loser,rater\nB,C,a\n"))


def _file(path, text):
    path.write_text(text)
    return path


def test_files_of_fits(tmp_path):
    fit = voxpop.fit(sound(), progress=False)
    taken = pickle.loads(pickle.dumps(fit))
    assert taken.path != fit.path and taken.provenance["findings"] == fit.provenance["findings"] and taken.summary == fit.summary
    pd.testing.assert_frame_equal(taken.pairs, fit.pairs)
    kept = voxpop.fit(sound(), output=tmp_path / "f.h5", progress=False)
    assert pickle.loads(pickle.dumps(kept)).provenance == kept.provenance
    voxpop.fit(sound(300), output=tmp_path / "f.h5", progress=False)
    with pytest.raises(voxpop.FileError, match="written again"):
        kept.items  # noqa: B018
    victim = _file(tmp_path / "victim", "precious")
    (tmp_path / "link.h5").symlink_to(victim)
    fit.save(tmp_path / "link.h5")
    assert victim.read_text() == "precious" and not (tmp_path / "link.h5").is_symlink()
    if hasattr(os, "fork"):
        code = "import os, sys, voxpop\nfit = voxpop.fit(sys.argv[1], progress=False)\nif os.fork() == 0:\n    del fit\n    sys.exit()\nos.wait()\nprint(len(fit.items))"
        voxpop.write_comparisons(sound(), tmp_path / "v.h5")
        done = subprocess.run([sys.executable, "-W", "ignore", "-c", code, tmp_path / "v.h5"], capture_output=True, text=True, check=True)
        assert int(done.stdout) == len(fit.items)
