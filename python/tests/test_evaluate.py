"""Models compared on held-out votes, here and by the program."""

import json
import os
import subprocess
import warnings

import numpy as np
import pandas as pd
import pytest

import voxpop
from voxpop.program import find_program


@pytest.fixture(scope="module")
def evaluation(table):
    return voxpop.evaluate(table, models=["bt", "rater"], folds=4, seed=7, progress=False)


def test_figures_are_the_programs(table, evaluation, tmp_path, monkeypatch):
    voxpop.write_comparisons(table, tmp_path / "v.h5")
    command = [find_program(), "evaluate", tmp_path / "v.h5", "--models", "bt,rater", "--folds", "4", "--seed", "7", "--json"]
    there = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    by_file = voxpop.evaluate(tmp_path / "v.h5", models="bt,rater", folds=4, seed=7, progress=False)
    monkeypatch.setenv("VOXPOP_LIBRARY", "")
    by_program = voxpop.evaluate(table, models=["bt", "rater"], folds=4, seed=7, progress=False)
    for one in evaluation, by_file, by_program:
        assert {**one.json, "inputs": 0} == {**there, "inputs": 0}
    for model, found in there["models"].items():
        row = evaluation.scores.loc[model]
        for measure in "log_loss", "brier", "accuracy":
            assert row[measure] == found[measure]["value"] and row[measure + "_se"] == found[measure]["std_error"]
        assert [row["ece"], row["ece_low"], row["ece_high"], row["ece_by_chance"]] == \
            [found["ece"][part] for part in ("value", "low", "high", "by_chance")]
        assert row["converged"]


def test_scores_by_hand(evaluation):
    scores = evaluation.scores
    assert list(scores.index) == ["majority", "bt", "rater"]
    assert list(scores.columns)[:6] == ["log_loss", "log_loss_se", "brier", "brier_se", "accuracy", "accuracy_se"]
    for model in scores.index:  # the expected calibration error of the 15 bins
        bins = pd.DataFrame(evaluation.json["models"][model]["reliability"]).dropna()
        ece = (bins["votes"] * (bins["predicted"] - bins["observed"]).abs()).sum() / bins["votes"].sum()
        assert scores.loc[model, "ece"] == pytest.approx(ece, abs=1e-6)
    for row in evaluation.differences.itertuples():
        assert row.difference == pytest.approx(scores.loc[row.model, "log_loss"] - scores.loc[row.minus, "log_loss"], abs=1e-9)
        assert row.difference_se > 0
    assert scores["log_loss"].idxmin() == "rater" and scores["log_loss"].between(0, np.log(2) + 0.1).all()


def test_how_it_looks(evaluation):
    page = evaluation._repr_html_()
    assert "1,800 votes in 4 folds by block, 1,800 decided" in page and "<table" in page
    assert f"{evaluation.scores.loc['rater', 'log_loss']:.4f}" in page and f"{evaluation.scores.loc['bt', 'ece']:.4f}" in repr(evaluation)


def test_options(table, tmp_path):
    known = pd.DataFrame({"left": ["q0/0", "q1/0"], "right": ["q0/1", "q1/1"], "preference": ["left", "right"]})
    known.to_csv(tmp_path / "gold.csv", index=False)
    judged = voxpop.evaluate(table, models=["bt"], holdout=tmp_path / "gold.csv", progress=False)
    assert judged.json["gold"][0]["model"] == "majority"
    ties = voxpop.evaluate(table.assign(preference=np.where(np.arange(len(table)) % 5 == 0, "tie", table["preference"])), models=["rater"],
                           calibrate=True, threads=1, progress=False)
    assert {"log_loss_all_answers", "slope"} <= set(ties.scores.columns) and ties.scores["slope"].notna().any()
    renamed = voxpop.evaluate(table.rename(columns={"left": "a", "right": "b"}), left="a", right="b", models=["bt"], progress=False)
    assert renamed.scores.loc["bt", "log_loss"] > 0


def test_errors_and_warnings(table, monkeypatch):
    for library in {}, {"VOXPOP_LIBRARY": ""}:
        with monkeypatch.context() as patch:
            for name, value in library.items():
                patch.setenv(name, value)
            for wrong in {"models": ["best"]}, {"folds": 1}, {"folds_by": "day"}, {"fodls": 3}:
                with pytest.raises(voxpop.UsageError):
                    voxpop.evaluate(table, progress=False, **wrong)
            with pytest.warns(voxpop.VotesWarning, match="left"):
                voxpop.evaluate(table.assign(preference="left"), models=["bt"], progress=False)
    with pytest.raises(voxpop.FileError, match="none.h5"):
        voxpop.evaluate("none.h5", progress=False)


def test_a_model_that_diverged_has_no_figures():
    score = {"value": 0.5, "std_error": 0.1}
    found = voxpop.Evaluation({"votes": 2, "folds": 2, "folds_by": "vote", "decided_votes": 2, "models": {
        "majority": {"log_loss": score, "brier": score, "accuracy": {"value": 0.5, "std_error": None}, "ece": {"value": 0.1}, "converged": True},
        "rater": {"converged": False, "diverged": "why"}}})
    assert found.scores.loc["rater"].drop("converged").isna().all() and not found.scores.loc["rater", "converged"]
    assert np.isnan(found.scores.loc["majority", "accuracy_se"]) and "NaN" in found._repr_html_()
    assert found.differences.empty


def test_a_program_that_gives_some_figures(monkeypatch, tmp_path):
    told = {"votes": 2, "folds": 5, "folds_by": "vote", "decided_votes": 2, "models": {"rater": {"converged": False, "diverged": "why"}}}
    program = tmp_path / "voxpop"
    program.write_text(f"#!/bin/sh\n[ \"$2\" = none.h5 ] || echo '{json.dumps(told)}'\necho 'voxpop: rater: diverged' >&2\nexit 5\n")
    program.chmod(0o755)
    monkeypatch.setenv("VOXPOP_PROGRAM", str(program))
    monkeypatch.setenv("VOXPOP_LIBRARY", "")
    assert voxpop.evaluate("some.h5", progress=False).json == told
    with pytest.raises(voxpop.NotConvergedError, match="rater: diverged"):
        voxpop.evaluate("none.h5", progress=False)


def test_rows_are_those_of_export(table, fitted, tmp_path, monkeypatch):
    pytest.importorskip("datasets")
    texts = {item: [{"role": "assistant", "content": f"text of {item}"}] for item in fitted.items["id"]}
    days = {f"q{i}": "2026-01-01" for i in range(100)}  # texts that look like times
    monkeypatch.setenv("VOXPOP_LIBRARY", "")
    there = voxpop.fit(table, progress=False)
    monkeypatch.delenv("VOXPOP_LIBRARY")
    for form, more in ("trl", {"min_probability": 0.8}), ("jsonl", {}), ("nemo-rl", {"margin_scale": 2.0}), ("trl", {"expand": 3}), ("votes", {}):
        given = {} if form == "votes" else {"texts": texts, "prompt_texts": days}
        fitted.export(tmp_path / "rows.jsonl", form, **given, **more)
        expected = [json.loads(line) for line in open(tmp_path / "rows.jsonl")]
        for fit in fitted, there, voxpop.read_fit(there.path):
            if form == "votes" and fit not in (fitted, there):
                continue
            rows = fit.rows(form, **given, **more)
            assert rows.to_list() == expected, (form, more)
    assert rows.features["weight"].dtype == "float64"
    assert len(fitted.rows(min_probability=1.0)) == 0
    for wrong in {"format": "csv"}, {"split": "train=.9,val=.1"}, {"format": "best"}:
        with pytest.raises(voxpop.UsageError):
            fitted.rows(**wrong)
    with pytest.raises(voxpop.BadInputError):
        fitted.rows(texts={"q0/0": "alone"})


def test_rows_without_a_program(table, monkeypatch, tmp_path):
    pytest.importorskip("datasets")
    fit = voxpop.fit(table, progress=False)
    if fit._native is None:
        pytest.skip("no libvoxpop")
    monkeypatch.setenv("VOXPOP_PROGRAM", "/nowhere/voxpop")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert len(fit.rows()) > 200 and os.listdir(tmp_path) == []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(voxpop.ProgramNotFoundError):
            voxpop.evaluate(table, progress=False, models=["bt"], holdout="gold.csv")
