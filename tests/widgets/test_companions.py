"""The companions without a browser: what they select, and one selection of several widgets."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import radiowidgets as rw
from radiowidgets.errors import ParameterError
from radiowidgets.labels.log import LabelLog
from radiowidgets.ranking.thresholds import threshold_curves
from radiowidgets.widgets import companions as co
from radiowidgets.widgets import plots


@pytest.fixture(autouse=True)
def front_end(monkeypatch):
    monkeypatch.setattr(plots, "_loaded", True)


@pytest.fixture
def run(tmp_path):
    rng = np.random.default_rng(1)
    pixels = rng.normal(size=(200, 240)).astype(np.float32)
    pixels[90:100, 60:70] += 30
    frames = rw.cut_windows(rw.SkyMap.from_array(pixels, name="sky"), size=40, step=40)
    return rw.Run.create(tmp_path / "run", frames, annotator="ada")


@pytest.fixture
def scored():
    rng = np.random.default_rng(0)
    groups = np.repeat(["peculiar", "complex", "ordinary", "unclassified"], [20, 30, 100, 50])
    return rng.normal(size=200) + np.repeat([2.0, 1.0, 0.0, 0.0], [20, 30, 100, 50]), groups


def test_a_threshold_is_told_and_selects(scored):
    scores, groups = scored
    explorer = co.ThresholdExplorer(scores, groups)
    curves = threshold_curves(scores, groups)
    begin = explorer.at(explorer.threshold)
    assert abs(begin["recall"] - begin["precision"]) < 0.06  # it begins where they cross
    explorer.slider.value = 1.5
    assert all(span.location == explorer.threshold == 1.5 for span in explorer._spans)
    at = explorer.at(1.5)
    assert at["selected"] == (scores >= 1.5).sum()
    assert at["recall"] == pytest.approx((scores[:20] >= 1.5).mean())
    assert f"recall {at['recall']:.1%}" in explorer.words.value
    explorer._dragged(99.0)
    assert explorer.threshold == scores.max() == curves["threshold"].iloc[0]
    explorer._dragged(1.0)
    explorer.select(explorer._above())
    assert explorer.selected.tolist() == sorted(np.flatnonzero(scores >= 1.0), key=lambda k: -scores[k])
    with pytest.raises(ParameterError, match="No frame is peculiar"):
        co.ThresholdExplorer(scores, np.full(200, "ordinary"))


def test_the_groups_of_a_run_are_those_of_everybodys_tags(run):
    ids = [str(name) for name in run.frames.frame_ids]
    run.labels.record(ids[:2], add=["PECULIAR", "EXTENDED"])
    run.labels.record(ids[2:3], add=["EXTENDED"])
    run.labels.record(ids[3:4], add=["COMPACT"])
    with LabelLog(run.path / "labels", "bob") as bob:
        bob.record([ids[3], "elsewhere"], add=["ARTEFACT", "of their own"])
        bob.record(ids[4:5], interest=3)
    groups = co.groups_of(run)
    assert groups.iloc[:5].tolist() == ["peculiar", "peculiar", "complex", "ordinary", "unclassified"]
    assert len(co.ThresholdExplorer(run).scores) == len(ids)


def test_features_begin_with_the_most_correlated_and_a_lasso_selects():
    rng = np.random.default_rng(2)
    a = rng.normal(size=300)
    table = pd.DataFrame(
        {"a": a, "b": rng.normal(size=300), "c": a + 0.1 * rng.normal(size=300), "name": "x", "d": 1.0}
    )
    table.loc[:4, "a"] = np.nan
    explorer = co.FeatureExplorer(table, labels=np.where(a > 0, "up", "down"))
    assert (explorer.x.value, explorer.y.value) == ("a", "c")
    assert explorer._names == ["a", "b", "c"]
    assert len(explorer._points.data["x"]) == 295
    square = {"type": "poly", "x": [0, 9, 9, 0], "y": [-9, -9, 9, 9]}
    explorer._enclosed(SimpleNamespace(final=False, geometry=square))
    assert len(explorer.selected) == 0
    explorer._enclosed(SimpleNamespace(final=True, geometry=square))
    assert explorer.selected.tolist() == [k for k in range(5, 300) if a[k] > 0]
    explorer._enclosed(
        SimpleNamespace(final=True, geometry={"type": "rect", "x0": 9, "x1": 0, "y0": -9, "y1": 9})
    )
    assert explorer.selected.tolist() == [k for k in range(5, 300) if a[k] >= 0]
    assert sum(explorer._bars.data["chosen"]) == pytest.approx(1, abs=0.02)
    explorer._tapped(SimpleNamespace(x="b", y="a"))
    assert (explorer.x.value, explorer.y.value) == ("b", "a")
    assert len(explorer._marks.data["x"]) == len(explorer.selected)
    with pytest.raises(ParameterError, match="1 columns of numbers that vary"):
        co.FeatureExplorer(table[["b", "d"]])
    with pytest.raises(ParameterError, match="2 labels and 300 rows"):
        co.FeatureExplorer(table, labels=["a", "b"])


def test_many_points_are_drawn_as_a_picture(monkeypatch):
    monkeypatch.setattr(co, "MOST_DOTS", 50)
    table = pd.DataFrame(np.random.default_rng(0).normal(size=(200, 2)), columns=["a", "b"])
    for labels in (None, np.tile(["u", "v"], 100)):
        explorer = co.FeatureExplorer(table, labels=labels)
        (image,) = explorer._picture.data["image"]
        assert image.dtype == np.uint32 and (image > 0).sum() > 100
        assert len(explorer._points.data["x"]) == 0


def test_a_click_on_the_map_selects_the_frames_under_it(run):
    explorer = co.MapExplorer(run)
    explorer._tapped(SimpleNamespace(x=65.0, y=95.0))
    frames = run.frames
    (chosen,) = explorer.selected
    assert frames.x[chosen] <= 65 < frames.x[chosen] + 40 and frames.y[chosen] <= 95 < frames.y[chosen] + 40
    assert run.order["rank"].iloc[chosen] == 1
    assert explorer._boxes.data["width"].tolist() == [40]
    (image,) = explorer._sky.data["image"]
    assert image.shape == (200, 240)
    explorer._zoomed((50.2, 79.7), (80.1, 110.3))
    assert explorer._sky.data["x"] == [49.5] and explorer._sky.data["image"][0].shape[0] < 40
    explorer.colour.value = "rms"
    assert np.allclose(explorer._dots.data["value"], run.column("rms"))
    ids = [str(name) for name in run.frames.frame_ids]
    run.labels.record(ids[:4], add=["COMPACT"])
    run.labels.record(ids[2:3], add=["PECULIAR", "of my own"])
    with LabelLog(run.path / "labels", "bob") as bob:
        bob.record(ids[5:6], add=["of my own"])
    explorer.colour.value = "tag"
    tagged, key = explorer._tagged.data, {tag.name: tag.colour for tag in run.schema}
    assert tagged["tag"].tolist() == ["COMPACT", "COMPACT", "PECULIAR", "COMPACT", "of my own"]
    assert tagged["colour"] == [key.get(name, "#9aa0a8") for name in tagged["tag"]]
    assert (
        explorer._figure.legend[0].visible
        and not explorer._bar.visible
        and len(explorer._dots.data["x"]) == 0
    )
    explorer.colour.value = "score"
    assert (
        explorer._bar.visible and len(explorer._tagged.data["x"]) == 0 and len(explorer._dots.data["x"]) == 30
    )
    explorer._tapped(SimpleNamespace(x=-500.0, y=0.0))
    assert len(explorer.selected) == 0
    images = rw.FrameSet.from_images([np.random.default_rng(k).normal(size=(16, 16)) for k in range(12)])
    with pytest.raises(ParameterError, match="come without a map"):
        co.MapExplorer(rw.Run.create(run.path.parent / "images", images))


def test_one_selection_moves_through_all(run):
    features, sky = co.FeatureExplorer(run), co.MapExplorer(run)
    groups = np.where(np.arange(len(run.frames)) % 3, "ordinary", "peculiar")
    threshold = co.ThresholdExplorer(run, groups)
    review, latent = rw.Review(run), rw.LatentExplorer(run, plane="pca")
    end = rw.link(features, sky, threshold, review, latent)
    features.select([3, 5])
    assert all(widget.selected.tolist() == [3, 5] for widget in (sky, threshold, latent))
    assert run.find(review.view["filters"]["query"]).nonzero()[0].tolist() == [3, 5]
    assert review.alone.tolist() == [3, 5]
    for k in (3, 5):  # the gallery tells where its cursor is
        review.selected = np.array([k])
        assert features.selected.tolist() == sky.selected.tolist() == [3, 5]
    review.selected = np.array([8])
    assert features.selected.tolist() == sky.selected.tolist() == [8]
    latent.select([7])
    assert features.selected.tolist() == sky.selected.tolist() == [7]
    review.selected = np.array([1, 2, 4])
    assert features.selected.tolist() == latent.selected.tolist() == [1, 2, 4]
    end()
    features.select([0])
    assert sky.selected.tolist() == [1, 2, 4]


def test_a_companion_is_shown_as_it_is_now_in_every_place(run):
    explorer = co.MapExplorer(run)
    (drawing,) = explorer.children[1].children
    begun = drawing.render_bundle
    explorer.select([3, 5])
    explorer._figure.xaxis.axis_label = "now"
    assert drawing.render_bundle is begun  # the view that is there is told what changed
    assert '"now"' in drawing.get_state()["render_bundle"]  # for a page that is loaded anew
    drawing._view_count = 1  # a new view
    assert drawing.render_bundle is not begun
    now = drawing.render_bundle
    drawing._view_count = 2
    assert drawing.render_bundle is now
    explorer.select([])
    drawing._view_count = 1
    assert drawing.render_bundle is now


def test_each_companion_has_its_help(run, scored):
    for explorer in (co.MapExplorer(run), co.FeatureExplorer(run), co.ThresholdExplorer(*scored)):
        text = explorer.children[-1].value
        assert (
            text.startswith("<details")
            and text.count("<li>") >= 4
            and explorer.help in text.replace("</li><li>", "\n\n")
        )


def test_frames_that_are_not_there_are_refused(run):
    explorer = co.FeatureExplorer(run)
    with pytest.raises(ParameterError, match=r"goes from 3 to 900; there are 30"):
        explorer.select([3, 900])
    with pytest.raises(ParameterError, match=r"mask has shape \(3,\)"):
        explorer.select(np.zeros(3, bool))
    assert explorer.select(np.arange(30) < 2).tolist() == [0, 1]
