import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time

import h5py
import numpy as np
import pandas as pd
import pytest

import voxpop


def test_frames_agree_with_the_table(table, fitted):
    assert len(fitted.pairs) == 300
    assert set(fitted.items["id"]) == set(table["left"]) | set(table["right"])
    assert (fitted.items["prompt"] == fitted.items["id"].str.split("/").str[0]).all()
    counted = table.groupby("annotator").size()
    assert dict(zip(fitted.annotators["id"], fitted.annotators["votes"])) == counted.to_dict()
    winner = np.where(table["preference"] == "left", table["left"], table["right"])
    for row in fitted.pairs.sample(20, random_state=1).itertuples():
        mine = table["left"].isin([row.left, row.right]) & table["right"].isin([row.left, row.right])
        assert row.votes == mine.sum() == 6
        assert row.wins_left == (winner[mine] == row.left).sum()
    by_id = fitted.annotators.set_index("id")
    assert by_id["discrimination"].idxmin() == "person 5"
    assert by_id.loc["person 5", "flag"] in ("random", "noisy")
    assert isinstance(by_id["flag"].dtype, pd.CategoricalDtype)
    assert fitted.windows is None
    assert fitted.sources is None
    assert fitted.provenance["model"] == "rater"
    assert "1800 votes on 300 items" in fitted.summary
    assert "1800 votes by 6 annotators" in repr(fitted)


def test_votes_keep_the_tables_index(table):
    shuffled = table.sample(frac=1, random_state=3).set_axis(np.arange(7, 7 + 3 * len(table), 3))
    fit = voxpop.fit(shuffled, progress=False)
    assert (fit.votes.index == shuffled.index).all()
    joined = shuffled.assign(p=fit.votes["probability_correct"])
    better = fit.pairs.set_index(["left", "right"])["probability_better"]
    for row in joined.sample(20, random_state=1).itertuples():
        known = (row.left, row.right) in better.index
        left_better = better[row.left, row.right] if known else 1 - better[row.right, row.left]
        assert row.p == pytest.approx(left_better if row.preference == "left" else 1 - left_better, abs=1e-6)


def test_today_starts_from_yesterday(table, fitted):
    today = table["prompt"].str[1:].astype(int) % 5 == 0
    yesterday = voxpop.fit(table[~today], progress=False)
    fit = voxpop.fit(table[today], warm_start=yesterday, progress=False)
    assert fit.provenance["warm_start"]["annotators_known"] == 6
    both, alone = fitted.annotators, voxpop.fit(table[today], progress=False).annotators

    def distance(annotators):
        joined = annotators.merge(both, on="id", suffixes=("", "_both"))
        return (joined["discrimination"] - joined["discrimination_both"]).abs().mean()

    assert distance(fit.annotators) < 0.3 * distance(alone)
    with pytest.raises(voxpop.BadInputError, match="a fit of model rater, but this fit is of model bt"):
        voxpop.fit(table, model="bt", warm_start=yesterday.path, progress=False)


def test_scores_of_a_reward_model(table, fitted, tmp_path):
    scores = fitted.items.set_index("id")["score"] * 3 + 1
    scores.rename("score").to_csv(tmp_path / "scores.csv")
    frame = scores.rename("score").reset_index()
    first = voxpop.fit(table, prior_score=scores, progress=False)
    assert first.provenance["prior_score"]["xxh3"]
    for other in scores.to_dict(), frame, tmp_path / "scores.csv":
        pd.testing.assert_frame_equal(voxpop.fit(table, prior_score=other, progress=False).pairs, first.pairs, rtol=1e-3)
    assert not np.allclose(first.pairs["margin"], fitted.pairs["margin"], atol=0.05)
    with pytest.raises(voxpop.BadInputError, match="items of the votes have no row"):
        voxpop.fit(table, prior_score=frame[1:], progress=False)
    with pytest.raises(voxpop.BadInputError, match="columns id and score"):
        voxpop.fit(table, prior_score=frame.rename(columns={"score": "reward"}), progress=False)


def test_embeddings_are_read_by_id(tmp_path):
    random = np.random.default_rng(1)
    x = {f"i{i}": random.normal(size=3).astype(np.float32) for i in range(400)}
    left, right = [f"i{i}" for i in range(0, 400, 2)] * 3, [f"i{i}" for i in range(1, 400, 2)] * 3
    better = np.array([x[a][0] - x[b][0] for a, b in zip(left, right)]) + random.logistic(size=600) > 0
    table = pd.DataFrame({"left": left, "right": right, "annotator": random.integers(0, 9, 600).astype(str),
                          "preference": np.where(better, "left", "right")})
    fit = voxpop.fit(table, embeddings=x, progress=False)
    assert fit.embedding is not None and fit.embedding["coefficient"].idxmax() == 0 and len(fit.embedding) == 3
    frame = pd.DataFrame(x).T.sample(frac=1, random_state=1)
    pd.testing.assert_frame_equal(voxpop.fit(table, embeddings=frame, progress=False).pairs, fit.pairs)
    with_ids = frame.rename_axis("id").reset_index()
    pd.testing.assert_frame_equal(voxpop.fit(table, embeddings=with_ids, progress=False).pairs, fit.pairs)
    assert voxpop.fit(table, progress=False).embedding is None
    np.save(tmp_path / "rows.npy", np.stack(list(x.values())))
    for rows in tmp_path / "rows.npy", np.stack(list(x.values())):
        with pytest.raises(voxpop.BadInputError, match="ids"):
            voxpop.fit(table, embeddings=rows, progress=False)
    for bad in {"i0": [1.0]}, {**x, "i0": x["i0"][:2]}, {key: "text" for key in x}, {}:
        with pytest.raises(voxpop.BadInputError):
            voxpop.fit(table, embeddings=bad, progress=False)


def test_rows_of_votes(table, tmp_path):
    fit = voxpop.fit(table, progress=False)
    assert fit.export(tmp_path / "rows.jsonl", "votes")["exported"] > 0
    rows = [json.loads(line) for line in open(tmp_path / "rows.jsonl")]
    assert {"annotator", "discrimination", "side_bias", "weight"} <= rows[0].keys()


def test_pairs_and_votes_have_evidence(fitted):
    for frame in fitted.pairs, fitted.votes:
        assert frame["target"].between(0, 1).all() and (frame["weight"] >= 0).all()
    assert fitted.pairs["weight"].sum() > 0


def test_many_votes_on_one_pair_give_their_share():
    votes = pd.DataFrame({"left": "a", "right": "b", "preference": [1] * 300 + [-1] * 100})
    fit = voxpop.fit(votes, model="bt", progress=False)
    assert fit.pairs.loc[0, "probability"] == pytest.approx(0.75, abs=0.03)


def test_all_kinds_of_files_are_one(table, fitted, tmp_path):
    table.to_csv(tmp_path / "t.csv", index=False)
    table.to_json(tmp_path / "t.jsonl", orient="records", lines=True)
    voxpop.write_comparisons(table, tmp_path / "t.h5")
    for votes in tmp_path / "t.csv", [tmp_path / "t.jsonl"], str(tmp_path / "t.h5"):
        pd.testing.assert_frame_equal(voxpop.fit(votes, progress=False).pairs, fitted.pairs)


def test_parquet_there_and_back(table, fitted, tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    half = len(table) // 2
    for name, part in {"t": table, "1": table[:half], "2": table[half:]}.items():
        part.to_parquet(tmp_path / f"{name}.parquet")
    halves = [tmp_path / "1.parquet", tmp_path / "2.parquet"]
    for votes in tmp_path / "t.parquet", halves, pyarrow.Table.from_pandas(table):
        pd.testing.assert_frame_equal(voxpop.fit(votes, progress=False).to("pandas").pairs, fitted.pairs)
    fitted.to_parquet(tmp_path / "out")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "out" / "pairs.parquet"), fitted.pairs)
    assert sorted(os.listdir(tmp_path / "out")) == [
        "annotators.parquet", "items.parquet", "pairs.parquet", "votes.parquet"]
    command = [sys.executable, "-m", "voxpop", "parquet", tmp_path / "t.parquet", "-o", tmp_path / "made.h5"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"{tmp_path / 'made.h5'}: 1800 votes\n"
    pd.testing.assert_frame_equal(voxpop.fit(tmp_path / "made.h5", progress=False).pairs, fitted.pairs)
    refused = subprocess.run([*command, "--left", "nobody"], capture_output=True, text=True)
    assert refused.returncode == 3
    assert "no column 'nobody'" in refused.stderr
    table.assign(preference=[1, 2] * 900).to_parquet(tmp_path / "n.parquet")
    command[4] = tmp_path / "n.parquet"
    subprocess.run([*command, "--map", "1=left,2=right"], capture_output=True, check=True)


def test_datasets(table, fitted):
    datasets = pytest.importorskip("datasets")
    dataset = datasets.Dataset.from_pandas(table.assign(text="long"))
    frame = voxpop.from_datasets(dataset)
    assert list(frame) == ["left", "right", "preference", "annotator", "prompt"]
    pd.testing.assert_frame_equal(voxpop.fit(frame, progress=False).pairs, fitted.pairs)
    pd.testing.assert_frame_equal(voxpop.fit(dataset, progress=False).pairs, fitted.pairs)
    with pytest.raises(voxpop.BadInputError, match="DatasetDict; take one of its splits: 'train'"):
        voxpop.from_datasets(datasets.DatasetDict({"train": dataset}))
    with pytest.raises(voxpop.BadInputError, match="no column 'who'"):
        voxpop.from_datasets(dataset, annotator="who")


def test_report_export_next(fitted, tmp_path):
    fitted.report(tmp_path / "r.html")
    assert "<canvas" in (tmp_path / "r.html").read_text()
    texts = {item: f"text of {item}" for item in fitted.items["id"]}
    questions = {item.split("/")[0]: "a question" for item in texts}
    counts = fitted.export(tmp_path / "rows.jsonl", "trl", texts=texts, prompt_texts=questions, min_probability=0.6, keep_ties=True)
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    better = fitted.pairs["probability_better"]
    assert counts["exported"] == len(rows) == (np.maximum(better, 1 - better) >= 0.6).sum()
    assert rows[0]["chosen"].startswith("text of q")
    assert len(fitted.next(10)) == 10
    assert fitted.next(10, assign=True).empty  # all have judged all pairs


def test_ids_that_look_like_nothing(tmp_path):
    votes = pd.DataFrame({"left": ["NA", "null"], "right": ["None", "nan"], "annotator": "NA", "preference": "left"})
    asked = voxpop.fit(votes, progress=False).next(5)
    assert set(asked["left"]) | set(asked["right"]) == {"NA", "null", "None", "nan"}
    with pytest.raises(voxpop.UsageError, match="output is not for Python"):
        voxpop.fit(votes, progress=False).next(5, output="x.csv")


def test_nothing_is_ignored(table, tmp_path):
    voxpop.write_comparisons(table, tmp_path / "v.h5")
    for ignored in {"prior_score": {"a": 1}}, {"map": {"left": "right"}}, {"left": "a"}, {"annotator": "who"}:
        with pytest.raises(voxpop.BadInputError):
            voxpop.fit(tmp_path / "v.h5", **ignored)
    with pytest.raises(voxpop.BadInputError, match="no files"):
        voxpop.fit([])
    voxpop.fit((path for path in [tmp_path / "v.h5"]), progress=False)


def test_files_come_and_go(table, tmp_path):
    kept = voxpop.fit(table, output=tmp_path / "kept.h5", progress=False)
    assert voxpop.read_fit(tmp_path / "kept.h5").provenance == kept.provenance
    fit = voxpop.fit(table, progress=False)
    path = fit.path
    fit.save(tmp_path / "copy.h5")
    with pytest.raises(OSError):
        fit.save(tmp_path / "no" / "copy.h5")
    del fit
    gc.collect()
    assert not os.path.exists(path)
    assert sorted(os.listdir(tmp_path)) == ["copy.h5", "kept.h5"]


def test_progress(table, capfd):
    no_annotator = table.drop(columns="annotator")
    voxpop.fit(no_annotator, progress=False)
    assert capfd.readouterr() == ("", "")
    voxpop.fit(no_annotator)
    assert "one anonymous annotator" in capfd.readouterr().err


def test_errors_have_the_programs_words(table, tmp_path):
    with pytest.raises(voxpop.UsageError, match="--modle"):
        voxpop.fit(table, modle=3, progress=False)
    (tmp_path / "x.csv").write_text("left,right,preference\na,b,maybe\n")
    with pytest.raises(voxpop.BadInputError, match="x.csv: line 2: .*'maybe'"):
        voxpop.fit(tmp_path / "x.csv", progress=False)
    with pytest.raises(voxpop.FileError, match="none.h5: cannot open"):
        voxpop.fit(tmp_path / "none.h5", progress=False)
    with pytest.raises(voxpop.FileError, match="none.parquet"):
        voxpop.fit(tmp_path / "none.parquet", progress=False)
    with pytest.raises(voxpop.FileError, match="none.h5: cannot open"):
        voxpop.read_fit(tmp_path / "none.h5")
    with pytest.raises(voxpop.NotConvergedError, match="not converged after 1 iterations"):
        voxpop.fit(table, strict=True, max_iterations=1, progress=False)
    with pytest.raises(voxpop.DeviceError):
        voxpop.fit(table, device="cuda:77", progress=False)
    voxpop.write_comparisons(table, tmp_path / "votes.h5")
    with pytest.raises(voxpop.BadInputError, match="not a fit"):
        voxpop.read_fit(tmp_path / "votes.h5")
    assert issubclass(voxpop.BadInputError, ValueError)
    assert issubclass(voxpop.FileError, OSError)


def test_no_program(monkeypatch, table):
    monkeypatch.setenv("VOXPOP_LIBRARY", "")
    monkeypatch.setenv("VOXPOP_PROGRAM", "/nowhere/voxpop")
    with pytest.raises(voxpop.ProgramNotFoundError, match="/nowhere/voxpop"):
        voxpop.fit(table)
    monkeypatch.delenv("VOXPOP_PROGRAM")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(voxpop.ProgramNotFoundError, match="quickstart.sh"):
        voxpop.fit(table)


def test_control_c_ends_the_program(monkeypatch, table, tmp_path):
    monkeypatch.setenv("VOXPOP_LIBRARY", "")
    slow = tmp_path / "slow"
    slow.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid.part\nmv {tmp_path}/pid.part {tmp_path}/pid\nexec sleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setenv("VOXPOP_PROGRAM", str(slow))

    def interrupt():
        while not (tmp_path / "pid").exists():
            time.sleep(0.01)
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        voxpop.fit(table)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_windows_over_time(tmp_path):
    program = os.environ.get("VOXPOP_PROGRAM", "voxpop")
    command = [program, "simulate", tmp_path / "v.h5", "--prompts", "500", "--annotators", "5", "--days", "30"]
    subprocess.run(command, check=True, capture_output=True)
    fit = voxpop.fit(tmp_path / "v.h5", progress=False)
    assert set(fit.windows["annotator"]) <= set(fit.annotators["id"])
    assert str(fit.windows["start"].dt.tz) == "UTC"
    with h5py.File(fit.path) as file:
        assert int(fit.windows["start"].iloc[0].timestamp()) == file["annotators/windows/start"][0]


def test_sources_are_a_leaderboard(table):
    random = np.random.default_rng(5)
    items = sorted(set(table["left"]) | set(table["right"]))
    model = dict(zip(items, random.choice(["m", "n", "o"], len(items))))
    fit = voxpop.fit(table.assign(by=table["left"].map(model), by_other=table["right"].map(model)), source_left="by",
                     source_right="by_other", progress=False)
    assert list(fit.sources.columns) == ["id", "score", "std_error"]
    assert set(fit.sources["id"]) == {"m", "n", "o"}
    assert fit.sources["score"].is_monotonic_decreasing
    assert (fit.sources["std_error"] > 0).all()


def test_next_knows_the_votes_of_the_fit(table):
    table = table.sample(frac=0.5, random_state=1)
    fit = voxpop.fit(table, progress=False)
    asked = fit.next(budget=20, assign=True)
    judged = set(zip(table["left"], table["right"], table["annotator"])) | set(zip(table["right"], table["left"], table["annotator"]))
    assert len(asked) == 20 and not judged & set(zip(asked["left"], asked["right"], asked["annotator"]))
    pd.testing.assert_frame_equal(fit.next(budget=20, assign=True, votes=table), asked)


def test_a_report_in_a_folder_that_is_missing(table, tmp_path):
    with pytest.raises(voxpop.FileError, match="nowhere/page.html: cannot write here"):
        voxpop.fit(table, progress=False).report(tmp_path / "nowhere" / "page.html")


def test_rows_without_texts_warn(table):
    pytest.importorskip("datasets")
    fit = voxpop.fit(table, progress=False)
    with pytest.warns(voxpop.VotesWarning, match="ids of items and prompts take their place in the rows for trl"):
        fit.rows("trl")


def test_the_verdict_names_flagged_annotators(table):
    clicks = table.assign(annotator="clicker", preference="left")
    fit = voxpop.fit(pd.concat([table, clicks.sample(200, random_state=1)]), progress=False)
    assert "clicker" in fit.annotators["id"][fit.annotators["flag"] == "side_clicker"].tolist()
    assert "flagged: see fit.annotators" in fit._repr_html_()
