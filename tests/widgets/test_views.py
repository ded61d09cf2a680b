import io

import numpy as np
import pytest
from PIL import Image

import radiowidgets as rw
from radiowidgets.errors import ParameterError
from radiowidgets.widgets.views import ACROSS, DOWN, GAP, SIDE

IMAGES = np.random.default_rng(0).uniform(0, 1, (3, 16, 16, 1)).astype(np.float32)


@pytest.fixture
def explorer():
    return rw.ViewsExplorer(IMAGES, seed=2)


def row(explorer, name):
    return next(row for row in explorer.rows if row.kind.__name__ == name)


def test_the_sliders_begin_as_the_paper_says(explorer):
    from radiowidgets.models.augment import pipeline

    assert row(explorer, "RandomCropResize").amount.value == (0.8, 1.0)
    assert row(explorer, "GaussianBlur").probability.value == 0.1
    assert row(explorer, "RandomFlip").amount is None
    many = np.repeat(IMAGES[:1], ACROSS * DOWN - 1, axis=0)
    expected = np.asarray(pipeline("peculiar-frames", 2)(many, training=True))
    assert np.array_equal(explorer.views, expected)


def test_a_slider_changes_its_own_step_alone(explorer):
    for name in ("RandomCropResize", "RandomFlip", "RandomQuarterTurn", "GaussianBlur", "ColorJitter"):
        row(explorer, name).probability.value = 0
    row(explorer, "RandomThresholding").probability.value = 1
    row(explorer, "RandomThresholding").amount.value = (90, 90)
    assert np.isin(explorer.views, [0, *IMAGES[0].ravel()]).all()
    assert (explorer.views == 0).mean(axis=(1, 2, 3)) == pytest.approx(0.9, abs=0.01)
    row(explorer, "RandomThresholding").probability.value = 0
    assert (explorer.views == IMAGES[0]).all()
    row(explorer, "ColorJitter").probability.value = 1
    row(explorer, "ColorJitter").amount.value = 0
    assert explorer.views == pytest.approx(np.repeat(IMAGES[:1], 11, axis=0), abs=1e-6)


def test_frame_draws_and_paper_can_be_changed(explorer):
    before, picture = explorer.views, explorer.picture.value
    explorer.other.click()
    assert not np.array_equal(explorer.views, before)
    assert explorer.picture.value != picture
    explorer.whose.value = "ssl-benchmark"
    assert [row.kind.__name__ for row in explorer.rows][-1] == "RandomCropResize"
    explorer.frame.value = 2
    for each in explorer.rows:
        each.probability.value = 0
    assert (explorer.views == IMAGES[2]).all()
    assert (np.asarray(explorer.augmentation(IMAGES, training=True)) == IMAGES).all()


def test_the_picture_has_the_frame_first_and_north_up():
    images = np.zeros((1, 8, 8, 1), np.float32)
    images[0, 0, 0] = 1  # the first row of a map is its lowest
    sheet = Image.open(io.BytesIO(rw.ViewsExplorer(images).picture.value)).convert("RGB")
    assert sheet.size == (ACROSS * (SIDE + GAP) + GAP, DOWN * (SIDE + GAP) + GAP)
    bright, dark = sheet.getpixel((GAP + 4, GAP + SIDE - 4)), sheet.getpixel((GAP + 4, GAP + 4))
    assert sum(bright) > 500
    assert sum(dark) < 100


def test_frames_of_a_map_are_taken_as_the_network_takes_them():
    frames = rw.cut_windows(rw.simulate("emu", size=128, seed=1), size=64)
    explorer = rw.ViewsExplorer(frames, "ssl-benchmark", size=32)
    assert explorer.views.shape == (11, 32, 32, 1)
    assert explorer.frame.max == len(frames) - 1


def test_it_begins_with_a_frame_that_shows_something():
    images = np.concatenate([np.zeros_like(IMAGES[:2]), IMAGES])
    assert rw.ViewsExplorer(images).frame.value == 2
    assert rw.ViewsExplorer(images[:2]).frame.value == 0


def test_bytes_stand_for_shares():
    stored = np.round(IMAGES * 255).astype(np.uint8)
    views = rw.ViewsExplorer(stored, "ssl-benchmark").views
    np.testing.assert_allclose(views, rw.ViewsExplorer(IMAGES, "ssl-benchmark").views, atol=0.01)


def test_what_is_wrong_is_said():
    with pytest.raises(ParameterError, match=r"shape \(3, 16, 16\)"):
        rw.ViewsExplorer(IMAGES[..., 0])
    for wrong in (IMAGES * 9, np.where(IMAGES > 0.9, np.nan, IMAGES)):
        with pytest.raises(ParameterError, match="numbers from 0 to 1 and no blanks"):
            rw.ViewsExplorer(wrong)
    with pytest.raises(ParameterError, match="moco"):
        rw.ViewsExplorer(IMAGES, "moco")
