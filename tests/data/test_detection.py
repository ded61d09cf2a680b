"""Sources found in maps: against injected ones, and beside published catalogues."""

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st
from radio_beam import Beam
from scipy import ndimage

import radiowidgets as rw
from radiowidgets.data.compact import compact_criteria, compact_sources
from radiowidgets.data.detection import SourceTable, find_sources
from radiowidgets.data.islands import find_islands, measure, sum_apertures
from radiowidgets.data.maps import SkyMap
from radiowidgets.errors import MapError, ParameterError

SCALE = 2.0  # arcsec per pixel
RMS = 3e-5


def header(shape: tuple[int, int], ctype: str = "RA", centre: tuple[float, float] = (83.0, 22.0)) -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---SIN", "DEC--SIN"] if ctype == "RA" else ["GLON-CAR", "GLAT-CAR"]
    wcs.wcs.crval = centre if ctype == "RA" else (0.0, 0.0)
    wcs.wcs.crpix = shape[1] / 2, shape[0] / 2
    wcs.wcs.cdelt = -SCALE / 3600, SCALE / 3600
    return wcs


def gaussian(shape, x, y, major, minor, pa, wcs_scale=SCALE):
    """A Gaussian of peak 1; FWHM in arcsec, pa east of north, east being to the left."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    east, north = -(columns - x) * wcs_scale, (rows - y) * wcs_scale
    sine, cosine = np.sin(np.radians(pa)), np.cos(np.radians(pa))
    along, across = east * sine + north * cosine, east * cosine - north * sine
    return np.exp(-4 * np.log(2) * ((along / major) ** 2 + (across / minor) ** 2))


def noise(rng, shape, fwhm_pixels):
    field = ndimage.gaussian_filter(rng.normal(size=shape), fwhm_pixels / 2.3548 / np.sqrt(2), mode="wrap")
    return field / field.std()


def sky_of(array, beam=(10.0, 10.0, 0.0), unit="Jy/beam", **options) -> SkyMap:
    array = np.asarray(array, np.float32)
    major, minor, pa = beam
    return SkyMap.from_array(
        array, wcs=header(array.shape), beam=Beam(major * u.arcsec, minor * u.arcsec, pa * u.deg), unit=unit, **options
    )  # fmt: skip


def injected(snr: float, seed: int, n: int = 8, step: int = 60, beam=(10.0, 10.0, 0.0)):
    """A grid of point sources in beam-correlated noise: the map, and where they are."""
    rng = np.random.default_rng(seed)
    shape = (n * step, n * step)
    image = noise(rng, shape, np.sqrt(beam[0] * beam[1]) / SCALE)
    places = step * (np.mgrid[:n, :n].reshape(2, -1) + 0.5) + rng.uniform(-0.5, 0.5, (2, n * n))
    for y, x in places.T:
        y0, x0 = int(y) - 25, int(x) - 25
        image[y0 : y0 + 51, x0 : x0 + 51] += snr * gaussian((51, 51), x - x0, y - y0, *beam)
    return sky_of(RMS * (image + 0.5), beam), places[1], places[0]


def matched(table: SourceTable, x, y):
    distance = np.hypot(table.x.to_numpy()[:, None] - x, table.y.to_numpy()[:, None] - y)
    return table[distance.min(axis=1) < 3]


@pytest.mark.parametrize(("snr", "beam"), [(20, (10.0, 10.0, 0.0)), (60, (14.0, 8.0, 30.0))])
def test_injected_sources_come_back(snr, beam):
    tables = []
    for seed in range(4):  # 256 sources: the mean flux is good to 0.8 % at SNR 20
        sky, x, y = injected(snr, seed, beam=beam)
        table = find_sources(sky, mesh=120)
        found = matched(table, x, y)
        assert len(found) == len(x)
        assert len(table) - len(found) <= 3
        tables.append(found)
    flux = np.concatenate([table.flux for table in tables])
    assert np.mean(flux) / (snr * RMS) == pytest.approx(1, abs=0.02)
    assert np.std(flux) == pytest.approx(np.mean([table.flux_error.mean() for table in tables]), rel=0.4)
    peak = np.concatenate([table.peak for table in tables])
    assert np.mean(peak) / (snr * RMS) == pytest.approx(1, abs=0.02)
    island = np.concatenate([table.island_flux for table in tables])
    lost = 1 - np.mean(island) / (snr * RMS)
    assert 0.6 * 2.5 / snr < lost < 1.1 * 2.5 / snr  # the paper's sum is short by about 2.5 / SNR
    assert np.median([table.rms.median() for table in tables]) == pytest.approx(RMS, rel=0.05)
    assert np.median([table.background.median() for table in tables]) == pytest.approx(RMS / 2, abs=RMS / 5)
    # Noise makes ellipses of circles, but leaves their area.
    size = np.concatenate([np.sqrt(table.major * table.minor) for table in tables])
    assert np.median(size) == pytest.approx(np.sqrt(beam[0] * beam[1]), rel=0.04)


def test_one_source_without_noise_is_exact():
    shape = (120, 140)
    image = 1e-3 * gaussian(shape, 71.3, 55.6, 30.0, 14.0, 40.0)
    sky = sky_of(image, (12.0, 9.0, 10.0))
    table = find_sources(sky, rms=1e-6, background=0.0)
    assert len(table) == 1
    row = table.iloc[0]
    assert (row.x, row.y) == pytest.approx((71.3, 55.6), abs=3e-3)
    assert (row.peak, row.snr) == pytest.approx((1e-3, 1e3), rel=2e-3)
    assert (row.major, row.minor, row.pa) == pytest.approx((30.0, 14.0, 40.0), rel=5e-3)
    total = 1e-3 * 30 * 14 / (12 * 9)
    assert row.flux == pytest.approx(total, rel=2e-3)
    assert row.island_flux == pytest.approx(total * (1 - 2.5e-3), rel=2e-3)
    here = SkyCoord(*sky.wcs.all_pix2world(71.3, 55.6, 0), unit="deg")
    assert SkyCoord(row.ra, row.dec, unit="deg").separation(here).arcsec < 0.01
    inner = Beam(row.major * u.arcsec, row.minor * u.arcsec, row.pa * u.deg).deconvolve(sky.beam)
    expected = inner.major.to_value("arcsec"), inner.minor.to_value("arcsec"), inner.pa.to_value("deg") % 180
    assert (row.deconvolved_major, row.deconvolved_minor, row.deconvolved_pa) == pytest.approx(
        expected, rel=1e-3
    )
    box = np.hypot(row.x1 - row.x0, row.y1 - row.y0) / 2 * SCALE
    assert row.radius == pytest.approx(box)
    assert row.n_pixels == (image > 2.5e-6).sum() == (table.labels == row.island).sum()
    assert table.units["flux"] == "Jy" and table.units["peak"] == "Jy / beam"


def test_angles_in_a_galactic_map_are_equatorial():
    shape = (90, 90)
    image = gaussian(shape, 44.5, 44.5, 30.0, 10.0, 0.0)  # along Galactic latitude
    sky = SkyMap.from_array(image, wcs=header(shape, "GLON"), beam=Beam(10 * u.arcsec), unit="Jy/beam")
    row = find_sources(sky, rms=1e-3, background=0.0).iloc[0]
    here = SkyCoord(row.ra, row.dec, unit="deg")
    north = SkyCoord(here.galactic.l, here.galactic.b + 1 * u.arcmin, frame="galactic").icrs
    expected = here.position_angle(north).deg % 180
    assert (row.pa - expected + 90) % 180 - 90 == pytest.approx(0, abs=0.5)
    assert row.deconvolved_minor == pytest.approx(0, abs=1)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e12])
def test_any_unit_and_offset(scale):
    sky, x, y = injected(20, 1, n=4)
    table = find_sources(sky, mesh=120)
    other = find_sources(sky_of((sky.pixels / RMS).astype(np.float64) * scale, unit="Jy/beam"), mesh=120)
    assert len(matched(other, x, y)) == 16
    np.testing.assert_allclose(other.snr[:16], table.snr[:16], rtol=2e-3)


def test_blank_pixels_and_borders():
    sky, _, _ = injected(30, 2, n=4)
    image = sky.pixels.copy()
    image[:, :30] = np.nan  # through the first column of sources
    image[118:122, 115:118] = np.inf
    table = find_sources(sky_of(image), mesh=120)
    beside = table[(table.x < 45) & (table.snr > 15)]
    assert len(beside) >= 3 and beside.edge.all() and (beside.aperture_lost > 0.2).all()
    assert not table[(table.x > 60) & (table.snr > 15)].edge.any()
    assert np.isfinite(table.select_dtypes("number").to_numpy()).all()


def test_neighbours_do_not_enter_the_aperture():
    shape = (100, 100)
    image = 1e-3 * gaussian(shape, 40, 50, 10, 10, 0) + 1e-2 * gaussian(shape, 55, 50, 10, 10, 0)
    table = find_sources(sky_of(image), rms=1e-4, background=0.0)
    assert len(table) == 2
    faint = table.iloc[1]
    assert faint.flux == pytest.approx(1e-3, rel=0.2)
    assert faint.aperture_lost > 0


def test_no_default_kernel_false_sources_in_correlated_noise():
    rng = np.random.default_rng(5)
    table = find_sources(sky_of(RMS * noise(rng, (700, 700), 5.0)))
    assert len(table) <= 3  # about 490,000 / 28 beams, of which 3e-7 lie above 5 sigma


def test_what_is_missing_is_said():
    sky, _, _ = injected(20, 3, n=3)
    bare = SkyMap.from_array(sky.pixels)
    table = find_sources(bare, mesh=120)
    assert len(table) >= 9
    assert table[["ra", "flux", "island_flux", "major", "deconvolved_major", "radius"]].isna().all(axis=None)
    assert any("no fluxes" in note for note in table.notes) and any("no beam" in note for note in table.notes)
    with pytest.raises(ParameterError, match="no beam"):
        compact_sources(table)


def test_an_empty_sky_gives_an_empty_table():
    table = find_sources(sky_of(np.random.default_rng(0).normal(size=(100, 100))), seed=50)
    assert len(table) == 0 and "flux" in table and table.labels.max() == 0
    assert len(compact_sources(table)) == 0


@pytest.mark.parametrize(
    ("image", "message"), [(np.full((50, 50), np.nan), "all blank"), (np.ones((50, 50)), "no noise")]
)
def test_nothing_to_find(image, message):
    with pytest.raises(MapError, match=message):
        find_sources(sky_of(image))


@pytest.mark.parametrize(
    "options",
    [
        {"seed": 2, "flood": 3},
        {"flood": 0},
        {"mesh": 2},
        {"min_pixels": 0},
        {"aperture": 1},
        {"rms": np.ones(3)},
    ],
)
def test_wrong_parameters(options):
    with pytest.raises(ParameterError):
        find_sources(sky_of(np.ones((20, 20))), **options)


def test_a_border_filled_with_zeros_is_left_out():
    sky, x, y = injected(30, 4, n=4)
    image = sky.pixels - sky.pixels.mean()
    image[:, 130:] = 0
    table = find_sources(sky_of(image), mesh=32)
    assert len(matched(table, x[x < 120], y[x < 120])) == (x < 120).sum()
    assert (table.x < 135).all()


# --------------------------------------------------------------------------------
# islands


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1), st.integers(1, 24), st.integers(1, 24),
    st.floats(0.1, 1.5), st.floats(0, 2), st.floats(0, 0.4),
)  # fmt: skip
def test_islands_are_those_of_scipy(seed, ny, nx, flood, more, blank):
    rng = np.random.default_rng(seed)
    snr = rng.normal(size=(ny, nx)).astype(np.float32)
    snr[rng.random((ny, nx)) < blank] = np.nan
    labels, n = find_islands(snr, flood + more, flood)
    above = np.nan_to_num(snr, nan=-9) > np.float32(flood)
    parts, count = ndimage.label(above)
    high = np.unique(parts[np.nan_to_num(snr, nan=-9) > np.float32(flood + more)])
    assert n == len(high[high > 0])
    np.testing.assert_array_equal(labels > 0, np.isin(parts, high[high > 0]))
    assert len(np.unique(labels * (count + 1) + parts)) == n + (labels == 0).any() * len(
        np.unique(parts[labels == 0])
    )
    found = measure(snr, np.ones_like(snr), labels, n, 3.0)
    index = np.arange(1, n + 1)
    if n:
        values = np.nan_to_num(snr, nan=0).astype(float)
        np.testing.assert_allclose(found["total"], ndimage.sum_labels(values, labels, index), rtol=1e-6)
        np.testing.assert_array_equal(found["n_pixels"], np.bincount(labels.ravel(), minlength=n + 1)[1:])
        centre = np.array(ndimage.center_of_mass(values, labels, index))
        np.testing.assert_allclose(np.stack([found["y"], found["x"]], 1), centre, rtol=1e-6, atol=1e-9)
        assert (found["n_peaks"] >= 1).all()


@pytest.mark.parametrize(("gap", "peaks"), [(6, 1), (16, 2)])
def test_peaks_are_counted_by_their_prominence(gap, peaks):
    shape = (60, 80)
    image = 40 * gaussian(shape, 40 - gap / 2, 30, 8, 8, 0, 1.0) + 30 * gaussian(
        shape, 40 + gap / 2, 30, 8, 8, 0, 1.0
    )
    labels, n = find_islands(image.astype(np.float32), 5, 0.2)
    assert n == 1
    found = measure(image.astype(np.float32), np.ones(shape, np.float32), labels, n, 3.0)
    assert found["n_peaks"][0] == peaks


def test_apertures_against_their_area():
    values = np.ones((40, 40), np.float32)
    labels = np.zeros((40, 40), np.int32)
    x, y, r = np.array([20.2, 0.0]), np.array([19.7, 20.0]), np.array([6.5, 6.0])
    total, area, lost = sum_apertures(values, labels, np.array([1, 2], np.int32), x, y, r)
    assert total[0] == pytest.approx(np.pi * r[0] ** 2, rel=5e-3) == area[0]
    assert lost == pytest.approx([0, 0.46], abs=0.02)


# --------------------------------------------------------------------------------
# compact sources


def compact_field() -> SkyMap:
    shape = (300, 300)
    image = 1e-3 * gaussian(shape, 60, 60, 10, 10, 0)  # a compact source
    image += 1e-3 * gaussian(shape, 200, 60, 160, 160, 0)  # larger than ten beams
    image += 1e-3 * gaussian(shape, 60, 160, 10, 10, 0) + 1e-3 * gaussian(
        shape, 69, 160, 10, 10, 0
    )  # two peaks
    image += 1e-3 * gaussian(shape, 1, 220, 10, 10, 0)  # at the border
    image += 3e-4 * gaussian(shape, 60, 250, 10, 10, 0) + 3e-4 * gaussian(
        shape, 71, 250, 10, 10, 0
    )  # neighbours
    image += 1e-3 * gaussian(shape, 150, 200, 10, 10, 0)  # compact, not in the catalogue
    return sky_of(image)


def test_the_five_criteria():
    sky = compact_field()
    table = find_sources(sky, rms=5e-5, background=0.0)
    good = table[np.hypot(table.x - 60, table.y - 60) < 2]
    reference = table[np.hypot(table.x - 150, table.y - 200) > 2][["ra", "dec"]]
    criteria = compact_criteria(table, reference)
    at = lambda x, y: criteria.loc[np.hypot(table.x - x, table.y - y).idxmin()]  # noqa: E731
    assert at(60, 60).all()
    assert not at(200, 60).isolated
    assert not at(64.5, 160).simple
    assert not at(1, 220).inside and at(1, 220).isolated
    assert not at(60, 250).isolated and at(60, 250).simple
    assert not at(150, 200).matched
    selected = compact_sources(table, reference)
    assert selected.island.tolist() == good.island.tolist()
    assert selected.labels is table.labels and selected.units == table.units
    assert len(compact_sources(table)) == 2
    assert not compact_criteria(table, min_pixels=90_000).significant.any()
    assert not compact_criteria(table, []).matched.any()


def test_the_table_stays_a_table_of_sources():
    table = find_sources(compact_field(), rms=5e-5, background=0.0)
    some = table[table.snr > 10].head(2).copy()
    assert isinstance(some, SourceTable) and some.labels is table.labels and some.beam == table.beam
    assert type(table["x"]).__name__ == "Series"


# --------------------------------------------------------------------------------
# real maps


def test_simulated_challenge(realdata):
    sky = SkyMap.open(realdata / "sdc1_sim" / "B1_1000h_0.3tr.fits")
    table = find_sources(sky)
    truth = np.loadtxt(realdata / "sdc1_sim" / "truth_B1_0.3tr.cat")
    inside = truth[truth[:, 5] > 5 * table.rms.median()]
    x, y = sky.wcs.all_world2pix(inside[:, 3], inside[:, 4], 0)
    ny, nx = sky.shape
    near = (x >= 0) & (y >= 0) & (x < nx) & (y < ny)
    found = SkyCoord(table.ra, table.dec, unit="deg")
    true = SkyCoord(inside[near, 3], inside[near, 4], unit="deg")
    _, apart, _ = found.match_to_catalog_sky(true)
    assert (apart.arcsec < 3 * sky.pixel_scale).mean() > 0.97  # reliability
    _, apart, _ = true.match_to_catalog_sky(found)
    assert (apart.arcsec < 3 * sky.pixel_scale).mean() > 0.62  # completeness


def test_lofar_map_beside_its_catalogue(realdata):
    sky = SkyMap.open(realdata / "lotss_dr1" / "P205+55-mosaic.fits")
    table = find_sources(sky)
    with fits.open(realdata / "lotss_dr1" / "catalog_shimwell_reduced.srl.fits") as file:
        catalogue = file[1].data
        published = SkyCoord(catalogue["RA"], catalogue["DEC"], unit="deg")
        found = SkyCoord(table.ra, table.dec, unit="deg")
        index, apart, _ = found.match_to_catalog_sky(published)
        near = apart < 6 * u.arcsec
        assert near.sum() >= 20
        ratio = table.peak[near] * 1e3 / catalogue["Peak_flux"][index[near]]  # catalogue in mJy, map in Jy
        assert np.median(ratio[table.snr[near] > 10]) == pytest.approx(1, abs=0.05)
        noise_ratio = table.rms[near] * 1e3 / catalogue["Isl_rms"][index[near]]
    assert np.median(noise_ratio) == pytest.approx(1, abs=0.05)


def test_public_names():
    assert rw.find_sources is find_sources
