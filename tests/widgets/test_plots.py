import numpy as np
import pandas as pd
import pytest
from skies import noisy_sky

import radiowidgets as rw
from radiowidgets.errors import ParameterError
from radiowidgets.widgets import plots


def shown(picture, x_range, y_range):
    image = picture.image(x_range, y_range)
    return image, image.dimension_values("value", flat=False)


def test_zoomed_in_the_pixels_are_those_of_the_map():
    sky = noisy_sky(400, 300)
    image, values = shown(plots.Overview(sky, (-2, 30)), (99.5, 150.2), (40.0, 90.0))
    x0, y0, x1, y1 = image.bounds.lbrt()
    assert (x0, y0) == (98.5, 39.5)
    assert x1 >= 150.2 and y1 >= 90.0
    expected = sky.read(int(y0 + 0.5), int(y1 + 0.5), int(x0 + 0.5), int(x1 + 0.5))
    np.testing.assert_array_equal(values, expected)
    brightness = image.dimension_values("shown", flat=False)
    assert brightness.min() >= 0 and brightness.max() == pytest.approx(1)


def test_a_large_map_is_shown_from_its_overview(monkeypatch):
    monkeypatch.setattr(plots, "OVERVIEW", 100)
    sky = noisy_sky(400, 300)
    picture = plots.Overview(sky, (-2, 30))
    assert max(picture.overview.shape) <= 100
    image, values = shown(picture, None, None)
    assert image.bounds.lbrt() == (-0.5, -0.5, 399.5, 299.5)
    np.testing.assert_allclose(np.nanmean(values), sky.pixels.mean(), rtol=0.02)


def test_a_blank_map_and_odd_ranges_do_no_harm():
    sky = rw.SkyMap.from_array(np.full((50, 60), np.nan, np.float32))
    for ranges in ((None, None), ((np.nan, 3.0), (0.0, 1.0)), ((-500.0, -400.0), (900.0, 1000.0))):
        image, _ = shown(plots.Overview(sky, (-2, 30)), *ranges)
        assert np.isnan(image.dimension_values("value")).all()


def test_boxes_only_of_frames_in_view():
    frames = rw.cut_windows(noisy_sky(400, 300), size=50)
    boxes = plots._of_map(frames, next(iter(frames.maps.values())))
    assert len(boxes) == len(frames)
    assert len(plots._boxes(boxes, (0, 60), (0, 60))) == 9
    assert len(plots._of_map(frames, noisy_sky(name="other"))) == 0


def test_what_is_wrong_is_said(monkeypatch):
    monkeypatch.setattr(plots, "_loaded", False)
    with pytest.raises(ParameterError, match=r"call rw\.extension\(\)"):
        rw.show_map(noisy_sky())
    monkeypatch.setattr(plots, "_loaded", True)
    with pytest.raises(ParameterError, match="needs columns x and y"):
        rw.show_map(noisy_sky(), sources=pd.DataFrame({"ra": [1.0]}))


def test_channels_must_have_names(monkeypatch):
    monkeypatch.setattr(plots, "_loaded", True)
    with pytest.raises(ParameterError, match="2 names need"):
        rw.show_channels(np.zeros((8, 8, 3)), ["radio", "12"])


def test_points_must_be_in_a_plane(monkeypatch):
    monkeypatch.setattr(plots, "_loaded", True)
    with pytest.raises(ParameterError, match="give"):
        rw.show_points(np.zeros((4, 3)))
    with pytest.raises(ParameterError, match="2 values"):
        rw.show_points(np.zeros((4, 2)), [1, 2])


def test_axes_are_drawn_where_they_mean_something(monkeypatch):
    import holoviews as hv

    hv.extension("bokeh")
    monkeypatch.setattr(plots, "_loaded", True)
    monkeypatch.setattr(plots, "_view", lambda shown, _: hv.render(shown, "bokeh"))
    figure = rw.show_points(np.eye(2), axes=("alpha", "r"))
    assert [axis.axis_label for axis in (*figure.xaxis, *figure.yaxis)] == ["alpha", "r"]
    assert figure.xaxis[0].visible and not rw.show_points(np.eye(2)).xaxis[0].visible


def test_a_curve_is_of_numbers_in_a_row(monkeypatch):
    monkeypatch.setattr(plots, "_loaded", True)
    with pytest.raises(ParameterError, match=r"shape \(2, 2\)"):
        rw.show_curve(np.zeros((2, 2)))
    with pytest.raises(ParameterError, match=r"shape \(3,\).*one length"):
        rw.show_curve({"a": [1, 2], "b": [1, 2, 3]})
    with pytest.raises(ParameterError, match="as many places"):
        rw.show_curve([1.0, 2.0], at=[1.0])


@pytest.mark.parametrize("bars", [False, True])
def test_named_curves_have_a_legend(monkeypatch, bars):
    import holoviews.plotting.bokeh  # as `extension` does

    monkeypatch.setattr(holoviews.Store, "current_backend", "bokeh")
    monkeypatch.setattr(plots, "_loaded", True)
    view = rw.show_curve(
        {"recall": [1, 0.5], "precision": [0.1, 0.4]}, "share", "score", at=[0.4, 0.7], bars=bars
    )
    legend = view.plot.handles["plot"].legend[0]
    assert [item.label.value for item in legend.items] == ["recall", "precision"]
