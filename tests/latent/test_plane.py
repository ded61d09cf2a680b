"""Points in a plane, beside the same worked out by looking at all of them."""

import numpy as np
import pytest

from radiowidgets.errors import ParameterError
from radiowidgets.latent.plane import Plane


@pytest.fixture(scope="module")
def places():
    rng = np.random.default_rng(1)
    places = rng.normal(size=(5000, 2)).astype(np.float32)
    places[::50] *= 40  # far out: beyond the grid
    places[7] = np.nan
    return places


@pytest.fixture(scope="module")
def plane(places):
    return Plane(places)


def within(places, view):
    x, y = places.T
    return np.flatnonzero((x >= view[0]) & (x <= view[1]) & (y >= view[2]) & (y <= view[3]))


@pytest.mark.parametrize(
    "view", [(-0.3, 0.4, -0.2, 0.1), (-500, 500, -500, 500), (20, 90, -60, 60), (5, 6, 700, 800)]
)
def test_what_is_in_view_is_found_and_nothing_else(plane, places, view):
    found = np.sort(plane.frames[plane.points_in(view)])
    np.testing.assert_array_equal(found, within(places, view))
    assert plane.at_most_in(view) >= len(found)


def test_a_picture_counts_averages_and_marks_as_a_histogram_does(plane, places):
    rng = np.random.default_rng(2)
    values = rng.normal(size=len(places)).astype(np.float32)
    values[::3] = np.nan
    chosen = rng.random(len(places)) < 0.2
    view = (-2.0, 2.5, -1.5, 2.0)
    drawn = plane.picture(view, 40, 30, plane.arrange(values), plane.arrange(chosen))
    rows = within(places, view)

    def histogram(rows, weights=None):
        edges = (np.linspace(*view[:2], 41), np.linspace(*view[2:], 31))
        return np.histogram2d(*places[rows].T, bins=edges, weights=weights)[0].T[::-1]

    known = rows[np.isfinite(values[rows])]
    with np.errstate(invalid="ignore"):
        mean = histogram(known, values[known]) / histogram(known)
    assert drawn.points.sum() == len(rows)
    # Single precision may put a point at an edge into the next pixel.
    assert np.abs(drawn.points - histogram(rows)).sum() <= 4
    assert drawn.chosen.sum() == chosen[rows].sum()
    same = drawn.points == histogram(rows)
    np.testing.assert_allclose(drawn.value[same], mean[same], rtol=1e-3, atol=1e-4)


def test_a_pixel_shows_the_category_that_most_have_and_any_before_none():
    places = np.repeat([[0.5, 0.5], [1.5, 0.5], [2.5, 0.5]], [9, 50, 4], axis=0)
    codes = np.full(len(places), -1, np.int8)
    codes[:9] = [0, 3, 3, 3, 0, 3, 3, 0, 3]
    codes[58] = 2  # one of fifty
    plane = Plane(places)
    drawn = plane.picture((0, 3, 0, 1), 3, 1, plane.arrange(codes))
    assert drawn.value[0, :2].tolist() == [3, 2] and np.isnan(drawn.value[0, 2])
    assert drawn.points[0].tolist() == [9, 50, 4]


def test_the_nearest_is_the_nearest(plane, places):
    for x, y in np.random.default_rng(3).normal(size=(20, 2)):
        apart = np.hypot(places[:, 0] - x, places[:, 1] - y)
        expected = int(np.nanargmin(apart))
        assert plane.nearest(x, y, 0.5, 0.5) == (expected if apart[expected] < 0.5 else -1)
    assert plane.nearest(300, 300, 0.1, 0.1) == -1


def test_a_lasso_holds_what_is_inside(plane, places):
    from matplotlib.path import Path

    line = np.array([[-1, -1], [1.5, -0.5], [0.2, 0.1], [1, 1.4], [-1.2, 0.8]])
    expected = np.flatnonzero(Path(line).contains_points(np.nan_to_num(places, nan=99.0)))
    np.testing.assert_array_equal(plane.inside(line), expected)
    with pytest.raises(ParameterError, match="at least three"):
        plane.inside(line[:2])


def test_places_of_frames(plane, places):
    np.testing.assert_array_equal(plane.places([3, 7, 4000]), places[[3, 7, 4000]])


@pytest.mark.parametrize("count", [0, 1, 3])
def test_few_points_and_points_at_one_place(count):
    plane = Plane(np.ones((count, 2)))
    x0, x1, y0, y1 = plane.bounds()
    assert x1 > x0 and y1 > y0
    assert plane.picture((0, 2, 0, 2), 8, 8).points.sum() == count
    assert len(plane.points_in((0, 2, 0, 2))) == count
