import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skies import noisy_sky

import radiowidgets as rw
from radiowidgets.errors import ParameterError
from radiowidgets.ranking.folding import fold, measure_focus


class Boxes:
    """Just enough of a FrameSet: boxes of two maps, or of none."""

    def __init__(self, boxes, maps=("a", "b")):
        columns = np.array(boxes, np.int32).reshape(-1, 5).T
        self.map_codes, self.x, self.y, self.width, self.height = columns
        self.map_names, self.maps = ["a", "b"], dict.fromkeys(maps)

    def __len__(self):
        return len(self.x)

    def holds(self, k, focus):
        x, y = focus
        inside = self.x[k] <= x < self.x[k] + self.width[k]
        return inside and self.y[k] <= y < self.y[k] + self.height[k]


SIDES = st.integers(1, 40)
BOX = st.tuples(
    st.integers(0, 1), st.integers(-20, 300), st.integers(-20, 300), SIDES, SIDES,
    st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True), st.booleans(),
)  # fmt: skip


def by_the_book(frames, ranks, focus):
    """Walk in rank order and compare each frame with each."""
    leaders = np.arange(len(frames))
    order = list(np.argsort(ranks, kind="stable"))
    free = [k for k in order if np.isfinite(focus[k]).all()]
    while free:
        leader = free.pop(0)
        for k in list(free):
            if frames.map_codes[k] == frames.map_codes[leader] and frames.holds(leader, focus[k]):
                leaders[k] = leader
                free.remove(k)
    return leaders


@settings(max_examples=200, deadline=None)
@given(st.lists(BOX, max_size=60), st.randoms(use_true_random=False))
def test_stacks_are_those_of_the_definition(rows, random):
    frames = Boxes([row[:5] for row in rows])
    share = np.array([row[5:7] for row in rows]).reshape(-1, 2)
    focus = np.column_stack([frames.x, frames.y]) + np.floor(
        share * np.column_stack([frames.width, frames.height])
    )
    focus[[row[7] and random.random() < 0.2 for row in rows]] = np.nan
    ranks = np.array(random.sample(range(len(rows)), len(rows)), int)
    leaders = fold(frames, ranks, focus.astype(np.float32))
    assert leaders.dtype == np.int32
    np.testing.assert_array_equal(leaders, by_the_book(frames, ranks, focus))
    assert (leaders[leaders] == leaders).all()  # a partition: who leads is led by nobody
    for k, leader in enumerate(leaders):
        if k != leader:
            assert ranks[leader] < ranks[k] and frames.map_codes[leader] == frames.map_codes[k]
            assert frames.holds(leader, focus[k])


def test_images_without_a_map_are_never_folded():
    frames = Boxes([(0, 0, 0, 9, 9)] * 5, maps=())
    assert list(fold(frames, np.arange(5), np.ones((5, 2)))) == list(range(5))
    with pytest.raises(ParameterError, match=r"5 frames need \(5,\) and \(5, 2\)"):
        fold(frames, np.arange(4), np.ones((5, 2)))


def test_the_focus_is_where_three_by_three_pixels_are_farthest_from_the_background():
    sky = noisy_sky(seed=5)
    pixels = sky.pixels.copy()
    pixels[:50, :60] = np.nan
    pixels[200:205, 100] = -1.0
    sky = rw.SkyMap.from_array(pixels, name="holes", wcs=sky.wcs, beam=sky.beam)
    frames = rw.cut_windows(sky, size=48, step=20)
    focus = measure_focus(frames)
    assert focus.shape == (len(frames), 2) and focus.dtype == np.float32
    for k in range(0, len(frames), 7):
        frame = frames[k]
        z = np.nan_to_num(frame.pixels - np.float32(frame.background))
        if not z.any():
            assert np.isnan(focus[k]).all()
            continue
        padded = np.pad(z.astype(np.float64), 1)
        total = np.abs(sum(padded[i : i + 48, j : j + 48] for i in range(3) for j in range(3)))
        x, y = focus[k] - (frame.x, frame.y)
        assert total[int(y), int(x)] == pytest.approx(total.max(), rel=1e-5)
    assert np.isnan(focus[(frames.x + 48 <= 60) & (frames.y + 48 <= 50)]).all()


def test_windows_of_one_object_become_one_stack_and_another_object_stays_visible():
    pixels = np.random.default_rng(0).normal(size=(256, 256)).astype(np.float32)
    pixels[100:104, 100:104] += 50
    pixels[180:184, 180:184] += 40
    frames = rw.cut_windows(rw.SkyMap.from_array(pixels, name="two"), size=64, step=32)
    focus = measure_focus(frames)
    ranks = np.argsort(np.argsort(-np.array([np.nanmax(frame.pixels) for frame in frames])))
    leaders = fold(frames, ranks, focus)

    def holding(x, y):
        return [k for k in range(len(frames)) if abs(focus[k] - (x, y)).max() < 4]

    assert {len({*leaders[holding(x, x)]}) for x in (101, 181)} == {1}
    assert {*leaders[holding(101, 101)]}.isdisjoint({*leaders[holding(181, 181)]})


def test_images_are_measured_in_their_own_pixels():
    images = np.zeros((3, 20, 30), np.float32)
    images[1, 12, 7] = 5
    images[2] = np.nan
    focus = measure_focus(rw.FrameSet.from_images(images))
    assert abs(focus[1] - (7, 12)).max() <= 1 and np.isnan(focus[[0, 2]]).all()
