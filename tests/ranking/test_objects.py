"""Objects: each peculiar source of a mock sky once, where it is, however many frames show it."""

import numpy as np
import pytest
from skies import celestial

import radiowidgets as rw
from radiowidgets.data.simulate import simulate
from radiowidgets.data.simulate.presets import Rare
from radiowidgets.errors import ParameterError
from radiowidgets.ranking.folding import measure_focus
from radiowidgets.ranking.objects import find_objects

PECULIAR = {
    "ring": Rare(0, 3, (65, 110), (8, 12)),
    "x-shaped": Rare(0, 2, (70, 140), (15, 40)),
    "wide-angle-tail": Rare(0, 2, (90, 200), (15, 40)),
}


@pytest.fixture(scope="module", params=[1, 4])
def mock(request):
    sky = simulate("emu", 768, seed=request.param, rare=PECULIAR, faintest=2.0, stripes=0.0)
    frames = rw.cut_windows(sky, size=128, step=64)
    return sky, frames, rw.rank(frames)["rank"].to_numpy()


def _truth(sky):
    """Each rare source whose middle is on the map: x, y where it is brightest on the whole."""
    truth = sky.truth
    for row in truth.sources.query("population == 'RARE'").itertuples():
        number = truth.objects.loc[truth.objects["source"] == row.Index, "object"]
        if len(number) != 1:  # another source dominates where it is
            continue
        y, x = np.nonzero(truth.object_map == number.iloc[0])
        weight = truth.model[y, x]
        yield (x * weight).sum() / weight.sum(), (y * weight).sum() / weight.sum(), row.size


def test_each_peculiar_source_is_one_object_within_a_beam_of_its_truth(mock):
    sky, frames, ranks = mock
    chosen = np.flatnonzero(sky.truth.frame_tags(frames)["PECULIAR"])
    some = frames.select(chosen)
    table = find_objects(some, ranks[chosen], measure_focus(some))
    beam = sky.beam.major.to_value("arcsec")
    expected = list(_truth(sky))
    assert len(expected) >= 5
    for x, y, size in expected:
        apart = np.hypot(table["x"] - x, table["y"] - y) * sky.pixel_scale
        assert (apart < beam).sum() == 1 and (apart < 2 * beam).sum() == 1
        row = table.loc[apart.idxmin()]
        assert size / 2 < row["size"] < 2 * size + 2 * beam
        box = some[row["frame"]]
        assert box.x <= row["x"] < box.x + 128 and box.y <= row["y"] < box.y + 128
    members = np.concatenate(list(table["members"]))
    assert sorted(members) == list(range(len(some)))  # no frame is lost, none is in two
    assert len(table) < len(some) / 2
    assert table["rank"].is_monotonic_increasing
    assert list(table["rank"]) == [ranks[chosen][those[0]] for those in table["members"]]
    assert table.units["size"] == "arcsec" and table.units["ra"] == "deg"


def _disc(at, radius, level=10.0, size=256):
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:size, :size]
    pixels = rng.normal(size=(size, size))
    for cx, cy in at:
        pixels[np.hypot(x - cx, y - cy) <= radius] += level
    return rw.SkyMap.from_array(pixels.astype(np.float32), name="discs", wcs=celestial(size, size))


def test_a_disc_has_its_size_area_and_place():
    sky = _disc([(96.0, 128.0)], 20)
    sky.beam, sky.unit = (6.0, 6.0, 0.0), "Jy / beam"
    frames = rw.cut_windows(sky, size=64, step=32)
    table = find_objects(frames, np.arange(len(frames))).query("area > 1000")
    (row,) = table.to_dict("records")
    assert row["x"] == pytest.approx(96, abs=0.2) and row["y"] == pytest.approx(128, abs=0.2)
    assert row["size"] == pytest.approx(2 * 41, rel=0.05) and row["area"] == pytest.approx(4 * 1257, rel=0.02)
    assert row["flux"] == pytest.approx(10 * 1257 / sky.beam_area_pixels, rel=0.05) and not row["cut"]
    ra, dec = sky.pixel_to_sky(row["x"], row["y"])
    assert row["ra"] == pytest.approx(float(ra)) and row["dec"] == pytest.approx(float(dec))
    best = frames[row["frame"]]
    assert best.x <= 76 and best.x + 64 > 116 and best.y <= 108 and best.y + 64 > 148  # holds it whole
    sky.unit = None
    again = find_objects(frames, np.arange(len(frames))).query("area > 1000")
    assert again["flux"].isna().all()


def test_two_things_in_one_frame_are_two_objects_and_lobes_a_beam_apart_are_one():
    frames = rw.cut_windows(_disc([(60.0, 100.0), (110.0, 100.0)], 8), size=128, step=32)
    assert (find_objects(frames, np.arange(len(frames)))["area"] > 300).sum() == 2
    near = _disc([(60.0, 100.0), (79.0, 100.0)], 8)  # a gap of three pixels
    frames = rw.cut_windows(near, size=128, step=32)
    table = find_objects(frames, np.arange(len(frames))).query("area > 300")
    assert len(table) == 1 and table["x"].iloc[0] == pytest.approx(69.5, abs=0.3)


def test_a_thing_larger_than_its_frames_is_one_object_and_told_to_be_cut_at_the_border():
    frames = rw.cut_windows(_disc([(128.0, 0.0)], 50), size=64, step=32)
    table = find_objects(frames, np.arange(len(frames))[::-1]).query("area > 2000")
    assert len(table) == 1 and table["cut"].iloc[0]
    assert table["x"].iloc[0] == pytest.approx(128, abs=1) and len(table["members"].iloc[0]) > 4


def test_noise_and_images_have_places_and_no_sizes():
    frames = rw.cut_windows(_disc([], 1), size=64, step=16)
    focus = measure_focus(frames)
    table = find_objects(frames, np.arange(len(frames)), focus)
    assert table["size"].isna().all() and table["flux"].isna().all() and 4 < len(table) < len(frames) / 2
    first = table.iloc[0]
    assert (first["x"], first["y"]) == tuple(focus[0])
    images = rw.FrameSet.from_images(np.random.default_rng(0).normal(size=(5, 20, 30)).astype(np.float32))
    table = find_objects(images, [3, 1, 2, 5, 4])
    assert list(table["frame"]) == [1, 2, 0, 4, 3] and table["ra"].isna().all()
    assert not len(find_objects(frames.select([]), []))
    with pytest.raises(ParameterError, match="3 frames"):
        find_objects(frames.select([0, 1, 2]), [1, 2])
