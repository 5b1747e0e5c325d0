"""The figure of a fit: what it shows are the fit's figures."""

import numpy as np
import pytest

import voxpop

matplotlib = pytest.importorskip("matplotlib")


def test_annotators_calibration_pairs(fitted, tmp_path):
    figure = fitted.plot()
    annotators, calibration, pairs = figure.axes
    drawn = {}
    for container in annotators.containers:
        flag = container.get_label().rpartition(" (")[0].replace(" ", "_")
        line, _, (bars,) = container.lines
        for x, y, ((low, _), (high, _)) in zip(*line.get_data(), bars.get_segments()):
            drawn[annotators.get_yticklabels()[int(y)].get_text()] = flag, x, low, high
    assert len(drawn) == 6
    for row in fitted.annotators.itertuples():
        flag, x, low, high = drawn[f"{row.id} ({row.votes})"]
        assert flag == row.flag and x == pytest.approx(row.discrimination)
        assert [low, high] == pytest.approx([row.discrimination - 1.96 * row.discrimination_se, row.discrimination + 1.96 * row.discrimination_se])
    points = calibration.collections[0].get_offsets()
    assert 3 < len(points) <= 15 and ((points >= 0) & (points <= 1)).all()
    better = fitted.pairs["probability_better"]
    counts = [bar.get_height() for bar in pairs.patches[:20]]
    np.testing.assert_array_equal(counts, np.histogram(np.maximum(better, 1 - better), np.linspace(0.5, 1, 21))[0])
    figure.savefig(tmp_path / "f.png")
    assert (tmp_path / "f.png").stat().st_size > 10_000


def test_no_text_lies_on_another(table, tmp_path):
    many = table.assign(annotator=[f"${i % 90}$_a name that is much too long to be shown" for i in range(len(table))])
    figure = voxpop.fit(many, progress=False).plot()
    figure.savefig(tmp_path / "f.png")
    assert "30 of 90" in figure.axes[0].get_title(loc="left")
    for axes in figure.axes:
        texts = [text for text in [*axes.get_yticklabels(), axes.xaxis.label, axes.yaxis.label, *axes.texts, axes._left_title,
                                   *axes.get_legend().get_texts()] if text.get_text()] if axes.get_legend() else [axes.xaxis.label, axes._left_title]
        boxes = [text.get_window_extent() for text in texts]
        for i, one in enumerate(boxes):
            assert figure.bbox.containsx(one.x0) and figure.bbox.containsx(one.x1) and figure.bbox.containsy(one.y0), texts[i]
            assert not any(one.overlaps(other) for other in boxes[i + 1 :]), texts[i]


def test_other_fits(table, tmp_path):
    bt = voxpop.fit(table, model="bt", progress=False)
    axes = bt.plot(annotators=3).axes[0]
    (container,) = axes.containers
    assert sorted(container.lines[0].get_xdata()) == sorted(bt.annotators["agreement"].head(3).tolist())
    bt.save(tmp_path / "f.h5")
    assert len(voxpop.read_fit(tmp_path / "f.h5").plot().axes) == 3
