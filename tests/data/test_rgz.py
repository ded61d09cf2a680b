import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from radiowidgets.data.rgz import CLASSES, balanced_sets, load_rgz, read_rgz
from radiowidgets.errors import CatalogueError, DataError, ParameterError

ROWS = [  # name, ra, dec, consensus, components, peaks, extent
    ("RGZJ000001.0+000000", 10.0, 0.0, 0.9, 1, 1, 20.0),
    ("RGZJ000002.0+000000", 20.0, 0.0, 0.6, 3, 3, 36.0),
    ("RGZJ000003.0+000000", 30.0, 0.0, 0.59, 1, 1, 20.0),
    ("RGZJ000004.0+000000", 40.0, 0.0, 0.9, 4, 4, 20.0),
    ("RGZJ000001.0+000000", 10.0, 0.0, 0.9, 1, 1, 20.0),
    ("RGZJ000005.0+000000", 50.0, 0.0, 0.9, 2, 3, 20.0),
]
SPELLINGS = {
    "new": "catalog_id,rgz_name,radio.ra,radio.dec,consensus.radio_level,radio.number_components,"
    "radio.number_peaks,radio.max_angular_extent",
    "old": "catalog_id,rgz_name,radio.ra,radio.dec,consensus.level,radio.numberComponents,radio.numberPeaks,"
    "radio.maxAngularExtent",
}


@pytest.fixture(params=SPELLINGS)
def table(request, tmp_path):
    lines = [SPELLINGS[request.param], *(",".join(map(str, (k, *row))) for k, row in enumerate(ROWS))]
    path = tmp_path / "static_rgz_flat.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_sources_of_the_six_classes_with_enough_consensus(table):
    found = read_rgz(table)
    assert list(found["class"]) == ["1C-1P", "3C-3P", "2C-3P"]
    assert list(found["extent"]) == [20.0, 36.0, 20.0]
    assert len(read_rgz(table, consensus=0.5)) == 4
    with pytest.raises(ParameterError, match="consensus is 60"):
        read_rgz(table, consensus=60)
    table.write_text("a,b\n1,2\n")
    with pytest.raises(CatalogueError, match="rgz_name"):
        read_rgz(table)


def test_frames_are_cut_at_one_and_a_half_times_the_extent(table, tmp_path):
    for name, ra in (("RGZJ000001.0+000000", 10.0), ("FIRST_RGZJ000002.0+000000", 20.0)):
        wcs = WCS(naxis=2)
        wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = ["RA---SIN", "DEC--SIN"], [ra, 0.0], [51, 51]
        wcs.wcs.cdelt = [-1.8 / 3600, 1.8 / 3600]
        image = np.zeros((101, 101), np.float32)
        image[50, 50] = ra
        fits.writeto(tmp_path / f"{name}.fits", image, wcs.to_header())
    frames = load_rgz(table, tmp_path)
    assert list(frames.frame_ids) == ["RGZJ000001.0+000000", "RGZJ000002.0+000000"]
    assert [frame.pixels.shape[0] for frame in frames] == [17, 30]
    assert [float(frame.pixels.max()) for frame in frames] == [10.0, 20.0]
    assert list(frames.sources["class"]) == ["1C-1P", "3C-3P"] and len(frames.left_out) == 1
    with pytest.raises(DataError, match="holds no image of the 3 sources"):
        load_rgz(table, tmp_path / "nowhere")


def test_sets_are_balanced_and_their_sides_apart():
    counts = dict(zip(CLASSES, (9000, 3000, 156, 2000, 170, 205), strict=True))
    classes = np.repeat(list(counts), list(counts.values()))
    sets = balanced_sets(classes, sizes=(100, 60), seed=3)
    assert len(sets) == 5
    for train, test in sets:
        assert not set(train) & set(test)
        for side, size in ((train, 100), (test, 60)):
            names, found = np.unique(classes[side], return_counts=True)
            assert list(found) == [size] * 6 and set(names) == set(CLASSES)
    assert len(np.unique(sets[0].train)) == 600 - 2, "the rarest class is two short, and repeated"
    assert not np.array_equal(sets[0].train, sets[1].train)
    assert np.array_equal(balanced_sets(classes, sizes=(100, 60), seed=3)[4].test, sets[4].test)
    with pytest.raises(ParameterError, match="no classes"):
        balanced_sets([])
    with pytest.raises(ParameterError, match="has 1 frame"):
        balanced_sets(["a", "b", "b"])
