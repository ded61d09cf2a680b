"""Mock skies: what is drawn is what was asked for, and the truth knows it."""

import numpy as np
import pytest
from astropy import units as u
from astropy.wcs import WCS
from scipy import fft

from radiowidgets.data.bands import Band
from radiowidgets.data.frames import cut_windows
from radiowidgets.data.regrid import flux_factor
from radiowidgets.data.simulate import (
    PRESETS,
    Rare,
    cosmicweb,
    galactic,
    instrument,
    mock_sky,
    simulate,
)
from radiowidgets.data.simulate.morphologies import MORPHOLOGIES, placed
from radiowidgets.data.simulate.populations import POPULATIONS
from radiowidgets.data.simulate.render import Drawable
from radiowidgets.data.simulate.truth import FRAME_TAGS, OBJECT_CLASSES
from radiowidgets.errors import FrameError, ParameterError

# convosource Table 2: sources above 2 and 5 rms for 8 h, 100 h and 1000 h.
TABLE_2 = {
    "b1": {
        "SS-AGN": [(342, 213), (644, 395), (957, 605)],
        "FS-AGN": [(117, 94), (386, 208), (682, 366)],
        "SFG": [(13920, 5717), (34158, 16885), (57797, 31597)],
    },
    "b2": {
        "SS-AGN": [(91, 59), (166, 101), (278, 178)],
        "FS-AGN": [(64, 25), (151, 73), (294, 155)],
        "SFG": [(4028, 1877), (9423, 5096), (17283, 10251)],
    },
}
TABLE_2_AREA = {"b1": (4000 * 0.6 / 3600) ** 2, "b2": (4200 * 0.24 / 3600) ** 2}
QUIET = {
    "rare": {},
    "stripes": 0.0,
    "seam": 0.0,
    "blank": 0.0,
    "gain_error": 0.0,
    "phase_error": 0.0,
    "edge_rise": 1.0,
}


@pytest.fixture(scope="module")
def emu():
    return simulate("emu", 768, seed=1)


def radial(image, bins=24):
    """Mean power of an image in rings of spatial frequency."""
    power = np.abs(fft.rfft2(image)) ** 2
    return radial_of(power, image.shape, bins)


def radial_of(power, shape, bins=24, count=False):
    v, u = instrument.frequencies(shape)
    ring = np.minimum((np.hypot(u, v) / 0.12 * bins).astype(int), bins)
    total, number = np.bincount(ring.ravel(), power.ravel())[:bins], np.bincount(ring.ravel())[:bins]
    return number if count else total / number


# The map


def test_the_same_seed_gives_the_same_bytes(emu):
    again, other = simulate("emu", 768, seed=1), simulate("emu", 768, seed=2)
    assert again.pixels.tobytes() == emu.pixels.tobytes()
    assert again.truth.sources.equals(emu.truth.sources)
    assert other.pixels.tobytes() != emu.pixels.tobytes()


def test_threads_do_not_change_a_bit(emu):
    one, four = (np.zeros(emu.shape, np.float32) for _ in range(2))
    emu.truth.drawable.draw(one, threads=1)
    emu.truth.drawable.draw(four, threads=4)
    assert one.tobytes() == four.tobytes()


def test_header_beam_unit_and_positions(emu):
    sources = emu.truth.sources
    x, y = WCS(emu.header).wcs_world2pix(sources["ra"], sources["dec"], 0)
    np.testing.assert_allclose(x, sources["x"], atol=1e-6)
    np.testing.assert_allclose(y, sources["y"], atol=1e-6)
    assert emu.unit.to_string() == "Jy / beam"
    assert emu.pixel_scale == pytest.approx(2.0)
    assert emu.frequency.to_value("MHz") == pytest.approx(944)
    assert emu.beam.major.to_value("arcsec") == pytest.approx(15)
    assert simulate("emu", 64, beam=(18, 11, 80)).beam.pa.to_value("deg") == pytest.approx(80)


def test_border_is_blank_and_rms_rises(emu):
    assert np.isnan(emu.pixels[0, 0])
    assert 0.0 < np.isnan(emu.pixels).mean() < 0.1
    rms = emu.truth.rms
    assert rms[384, 384] == pytest.approx(30e-6, rel=0.3)
    assert rms[384, 0] > 1.3 * rms[384, 384]


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_every_preset_gives_a_map(preset):
    sky = simulate(preset, 128, seed=3)
    sky = sky["radio"] if preset == "galactic-7band" else sky
    assert sky.shape == (128, 128)
    assert np.isfinite(sky.pixels).mean() > 0.9
    assert (sky.truth.sources["flux"] > 0).all()


def test_bad_settings_are_refused():
    with pytest.raises(ParameterError, match="nvss"):
        simulate("nvss")
    with pytest.raises(ParameterError, match="colour"):
        simulate("emu", colour=1)
    with pytest.raises(ParameterError, match="-1"):
        simulate("emu", rms=-1)
    with pytest.raises(ParameterError, match="63"):
        simulate("emu", 63)
    with pytest.raises(ParameterError, match="2 pixels"):
        simulate("emu", beam=(3.0, 3.0, 0.0))


# Noise and artefacts


def test_noise_has_the_requested_power_spectrum():
    beam = instrument.beam_covariance(12, 12, 0, 2.0)
    coverage = instrument.Coverage(instrument.Array(longest=0.65), beam, np.random.default_rng(0), size=256)
    shape = (480, 512)
    maps = [instrument.correlated_noise(shape, coverage, np.random.SeedSequence(i)) for i in range(8)]
    assert np.std(maps) == pytest.approx(1.0, rel=0.02)
    measured = np.mean([radial(noise) for noise in maps], axis=0)
    wanted = radial_of(coverage.noise_power(shape), shape)
    ratio = (measured / measured.sum()) / (wanted / wanted.sum())
    modes = radial_of(np.ones(coverage.noise_power(shape).shape), shape, count=True) * len(maps)
    assert (np.abs(ratio - 1) < 0.02 + 4 / np.sqrt(modes)).all()
    # Nothing on scales beyond the shortest baseline, and little beyond the longest.
    assert coverage.noise_power(shape)[0, 0] < 1e-6
    assert wanted[-1] < 0.02 * wanted.max()


def test_natural_weighting_favours_short_baselines():
    beam = instrument.beam_covariance(12, 12, 0, 2.0)

    def mean_frequency(robust):
        array = instrument.Array(robust=robust)
        power = instrument.Coverage(array, beam, np.random.default_rng(0), size=256).noise_power((256, 256))
        v, u = instrument.frequencies((256, 256))
        return np.average(np.hypot(u, v), weights=power)

    assert mean_frequency(2.0) < mean_frequency(0.0) < mean_frequency(-2.0)


def test_dirty_beam_follows_the_requested_one():
    beam = instrument.beam_covariance(16, 10, 30, 2.0)
    coverage = instrument.Coverage(instrument.Array(robust=-2.0), beam, np.random.default_rng(0), size=256)
    clean = np.zeros((256, 256), np.float32)
    source = placed(MORPHOLOGIES["point"](np.random.default_rng(0), 0.0), 256.0, 256.0, 1.0, 0.0)
    Drawable.of(source, 2.0, beam).draw(clean)
    core = clean > 0.4
    np.testing.assert_allclose(coverage.dirty_beam()[core], clean[core], atol=0.2)


def test_errors_are_rings_round_the_source():
    beam = instrument.beam_covariance(12, 12, 0, 2.0)
    coverage = instrument.Coverage(PRESETS["emu"].array, beam, np.random.default_rng(0), size=256)
    error = coverage.error_beam(np.random.default_rng(1), 0.03, 0.05)
    assert 1e-4 < error[96:160, 96:160].std() < 1e-2
    assert error[96:160, 96:160].std() > 2 * error[:32].std()
    assert np.abs(error[[0, -1]]).max() < 1e-4


def test_missing_spacings_make_a_negative_bowl_and_keep_small_scales():
    image = np.zeros((300, 300), np.float32)
    y, x = np.mgrid[:300, :300]
    image += np.exp(-0.5 * ((x - 150) ** 2 + (y - 150) ** 2) / 20**2)
    filtered = instrument.without_short_spacings(image, 100.0)
    assert filtered.min() < -0.01
    assert abs(filtered.sum()) < abs(image.sum())
    small = np.exp(-0.5 * ((x - 150) ** 2 + (y - 150) ** 2) / 2**2).astype(np.float32)
    assert instrument.without_short_spacings(small, 100.0).max() == pytest.approx(1.0, abs=0.01)


def test_smearing_keeps_flux_and_lowers_the_peak():
    far = {"size": 512, "seed": 4, **QUIET}
    sharp, smeared = mock_sky("first", **far).observe(), mock_sky("first", **far, bandwidth=0.05).observe()
    a, b = sharp.truth.sources, smeared.truth.sources
    np.testing.assert_allclose(a["flux"], b["flux"])
    distance = np.hypot(a["x"] - 255.5, a["y"] - 255.5)
    assert (b["peak"] / a["peak"])[distance > 250].max() < 0.8
    assert (b["peak"] / a["peak"])[distance < 30].min() > 0.95


# Sources


@pytest.mark.parametrize("name", sorted(MORPHOLOGIES))
def test_every_morphology_has_unit_flux_and_its_size(name):
    for seed in range(5):
        shape = MORPHOLOGIES[name](np.random.default_rng(seed), 100.0)
        assert shape["flux"].sum() == pytest.approx(1.0)
        assert (shape["flux"] >= 0).all()
        for column in shape.dtype.names:
            assert np.isfinite(shape[column]).all()
        if name not in ("point", "disc"):
            # Second moment along the long axis: the shape fills its size without overflowing it.
            x = np.average(shape["x"], weights=shape["flux"])
            y = np.average(shape["y"], weights=shape["flux"])
            width = (shape["major"] / 2.355) ** 2 / 2
            spread = np.average((shape["x"] - x) ** 2 + (shape["y"] - y) ** 2 + width, weights=shape["flux"])
            assert 8 < np.sqrt(spread) < 65


@pytest.mark.parametrize("offset", [(0.0, 0.0), (0.5, 0.25), (0.37, 0.81)])
@pytest.mark.parametrize("name", ["point", "disc", "fr2", "ring"])
def test_drawing_conserves_flux_anywhere_in_a_pixel(name, offset):
    shape = MORPHOLOGIES[name](np.random.default_rng(0), 30.0)
    source = placed(shape, 200 + offset[0], 200 + offset[1], 2.0, 0.4)
    beam = instrument.beam_covariance(4, 3, 20, 1.0)
    image = np.zeros((400, 400), np.float32)
    drawable = Drawable.of(source, 1.0, beam)
    drawable.draw(image)
    area = 2 * np.pi * np.sqrt(beam[0] * beam[1] - beam[2] ** 2)
    assert image.sum(dtype=float) / area == pytest.approx(2.0, rel=1e-3)
    assert drawable.peaks(np.array([0, source.size]))[0] == pytest.approx(image.max(), rel=0.1)


@pytest.mark.parametrize("band", ["b1", "b2"])
def test_counts_are_those_of_the_data_challenge(band):
    for column, hours in enumerate(("8h", "100h", "1000h")):
        survey = PRESETS[f"sdc1-{band}-{hours}"]
        for name, rows in TABLE_2[band].items():
            for wanted, threshold in zip(rows[column], (2, 5), strict=True):
                expected = (
                    POPULATIONS[name].above(threshold * survey.rms, survey.frequency) * TABLE_2_AREA[band]
                )
                assert expected == pytest.approx(wanted, rel=0.2)


def test_bright_counts_are_the_observed_ones():
    # The polynomial of Hopkins et al. (2003) for log10 of S^2.5 dN/dS in Jy^1.5/sr at 1.4 GHz, S in mJy.
    coefficients = [0.859, 0.508, 0.376, -0.049, -0.121, 0.057, -0.008]
    flux = np.array([1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0])
    observed = 10 ** np.polynomial.polynomial.polyval(np.log10(flux), coefficients)
    model = sum(kind.density(flux * 1e-3) for kind in POPULATIONS.values()) * (flux * 1e-3) ** 2.5
    np.testing.assert_allclose(model, observed, rtol=0.2)


def test_drawn_counts_follow_the_model():
    rng = np.random.default_rng(0)
    for population in POPULATIONS.values():
        flux = population.draw(rng, 3.0, 50e-6, 944e6)["flux"]
        for threshold in (50e-6, 200e-6):
            expected = 3.0 * population.above(threshold, 944e6)
            assert (flux > threshold).sum() == pytest.approx(expected, rel=0.06, abs=4 * np.sqrt(expected))


def test_emu_sources_per_square_degree():
    sky = mock_sky("emu", 2048, seed=5, rare={}, faintest=1.5)
    truth = sky.observe(stripes=0.0).truth
    area = (2048 * 2 / 3600) ** 2
    assert (truth.sources["peak"] > 75e-6).sum() / area == pytest.approx(1600, rel=0.1)


def test_aperture_flux_is_unbiased():
    # Few sources, so that confusion does not blur the answer.
    ratios, weights = [], []
    for seed in (6, 7, 8):
        observed = simulate("emu", 768, seed, **QUIET, faintest=15.0)
        sources = observed.truth.sources
        x, y = sources["x"].to_numpy(), sources["y"].to_numpy()
        apart = np.hypot(x - x[:, None], y - y[:, None])
        np.fill_diagonal(apart, np.inf)
        inside = sources["x"].between(45, 723) & sources["y"].between(45, 723) & (sources["size"] < 10)
        for source in sources[inside & (apart.min(axis=0) > 45) & (sources["snr"] > 20)].itertuples():
            column, row = round(source.x), round(source.y)
            box = observed.pixels[row - 42 : row + 43, column - 42 : column + 43]
            rows, columns = np.mgrid[-42:43, -42:43]
            distance = np.hypot(columns + column - source.x, rows + row - source.y)
            level = np.median(box[(distance > 25) & (distance < 42)])
            aperture = distance < 2.2 * 7.5  # 2.2 times the FWHM
            ratios.append((box[aperture] - level).sum() / observed.truth.beam_pixels / source.flux)
            weights.append(source.flux)
    assert len(ratios) > 20
    assert np.average(ratios, weights=weights) == pytest.approx(1.0, abs=0.02)


# Frequencies and epochs


def test_flux_follows_the_spectral_index():
    sky = mock_sky("emu", 256, seed=7)
    low, high = sky.observe().truth.sources, sky.observe(frequency=1.888e9).truth.sources
    points = low["morphology"] == "point"
    np.testing.assert_allclose(np.log2(high["flux"] / low["flux"])[points], low["alpha"][points], atol=1e-6)
    assert sky.observe(frequency=1.888e9).frequency.to_value("GHz") == pytest.approx(1.888)


def test_epochs_share_the_sky_but_not_the_noise():
    sky = mock_sky("emu", 256, seed=8)
    first, second = sky.observe(), sky.observe(epoch=1)
    assert first.name != second.name
    changed = first.truth.sources["flux"] != second.truth.sources["flux"]
    assert set(first.truth.sources["population"][changed]) == {"FS-AGN"}
    assert np.nanstd(first.pixels - second.pixels) > 20e-6
    with pytest.raises(ParameterError, match="pixel_scale"):
        sky.observe(pixel_scale=3.0)


# Truth


def test_a_small_map_holds_peculiar_objects(emu):
    shapes = set(emu.truth.sources.query("population == 'RARE'")["morphology"])
    assert {"ring", "shell", "relic", "wide-angle-tail"} <= shapes


def test_objects_cover_the_bright_sources(emu):
    truth = emu.truth
    objects = truth.objects
    assert set(objects["class"]) <= set(OBJECT_CLASSES)
    assert {"COMPACT", "EXTENDED"} <= set(objects["class"])
    bright = truth.sources.query("snr > 6 and 5 < x < 762 and 5 < y < 762 and morphology == 'point'")
    assert (truth.object_map[np.rint(bright.y).astype(int), np.rint(bright.x).astype(int)] > 0).all()
    for row in objects.itertuples():
        assert truth.mask(row.object).sum() == row.pixels
    np.testing.assert_array_equal(truth.islands > 0, truth.islands > 0)
    assert (truth.model[truth.islands > 0] > 2.4 * truth.rms[truth.islands > 0]).all()


def test_a_lone_point_is_compact_and_a_ring_extended():
    rare = {"point": Rare(0, 1, (0.1, 0.2), (50, 60)), "ring": Rare(0, 1, (80, 90), (8, 9))}
    sky = simulate("emu", 256, seed=2, **{**QUIET, "rare": rare}, populations=())
    classes = sky.truth.objects.set_index("morphology")["class"]
    assert classes["point"] == "COMPACT"
    assert classes["ring"] == "EXTENDED"


def test_calibration_errors_make_spurious_objects():
    rare = {"point": Rare(0, 1, (0.1, 0.2), (40000, 40001))}
    quiet = {**QUIET, "rare": rare, "gain_error": 0.05, "phase_error": 0.1}
    sky = simulate("emu", 384, seed=2, **quiet, faintest=5.0)
    kinds = sky.truth.objects["class"].value_counts()
    assert kinds["SPURIOUS"] > 3
    assert sky.truth.tags(np.array([0]), np.array([0]), np.array([384]), np.array([384]))[
        0, FRAME_TAGS.index("ARTEFACT")
    ]


def test_frame_tags(emu):
    frames = cut_windows(emu, size=128)
    tags = emu.truth.frame_tags(frames)
    assert list(tags.columns) == list(FRAME_TAGS)
    assert list(tags.index) == list(frames.frame_ids)
    assert tags["COMPACT"].mean() > 0.5
    ring = emu.truth.sources.query("morphology == 'ring' and population == 'RARE'").iloc[0]
    middle = (
        (frames.x < ring.x - 40)
        & (frames.x + frames.width > ring.x + 40)
        & (frames.y < ring.y - 40)
        & (frames.y + frames.height > ring.y + 40)
    )
    if middle.any():
        assert tags["PECULIAR"][middle].all()
    with pytest.raises(FrameError, match="mock-emu-9"):
        emu.truth.frame_tags(cut_windows(simulate("emu", 128, seed=9), size=64))


# Special skies


def test_cosmic_web_has_the_tiles_of_cosmodeep():
    sky = simulate("cosmic-web", 1000, seed=4)
    brightness = sky.truth.emission / (1.1331 * 10.0**2)
    # cosmodeep section 5: about 600 of 2,500 tiles with 40 pixels, about 800 with 9.
    assert cosmicweb.positive_tiles(brightness).mean() == pytest.approx(0.24, abs=0.07)
    more = cosmicweb.positive_tiles(brightness, n_pixels=9).mean()
    assert cosmicweb.positive_tiles(brightness).mean() < more < 0.4
    assert len(sky.truth.sources) == 0
    assert np.std((sky.pixels - sky.truth.emission)[100:-100, 100:-100]) == pytest.approx(10e-6, rel=0.03)
    assert set(sky.truth.objects["class"]) <= {"COMPACT", "EXTENDED"}
    assert (sky.truth.objects["source"] == -1).all()


def test_cosmic_web_is_frozen():
    """Models are trained on this sky: no change to it is an improvement."""
    sky = simulate("cosmic-web", 192, seed=20)
    weights = np.random.default_rng(0).normal(size=(3, sky.pixels.size))
    # Sums of all pixels with weights of either sign, to what processors differ by in the last bit of a float32.
    for image, wanted in (
        (sky.pixels, [0.38009937306138886, -0.6810103542693458, 1.367093915575765]),
        (sky.truth.emission, [0.37206388538295865, -0.469627828350202, -1.4176117620144886]),
    ):
        np.testing.assert_allclose(1e3 * weights @ image.ravel().astype(float), wanted, rtol=2e-6)


def test_positive_tiles_count_pixels():
    brightness = np.zeros((90, 85))
    brightness[3, :41] = 1.5e-7
    assert cosmicweb.positive_tiles(brightness).tolist() == [[False, False], [False, False]]
    brightness[4, 0] = 1.5e-7
    assert cosmicweb.positive_tiles(brightness).tolist() == [[True, False], [False, False]]
    assert not cosmicweb.positive_tiles(brightness, f_th=2.0).any()


@pytest.fixture(scope="module")
def bands():
    return simulate("galactic-7band", 512, seed=1)


def test_seven_bands_show_one_field(bands):
    assert list(bands) == ["radio", *galactic.BANDS]
    radio = bands["radio"]
    for name, sky in bands.items():
        # Half a pixel of each, for the last one that is begun.
        assert sky.shape[0] * sky.pixel_scale == pytest.approx(1024, abs=4)
        np.testing.assert_allclose(sky.wcs.wcs.crval, radio.wcs.wcs.crval)
        assert np.isnan(sky.pixels[-10:]).all() == (name in ("8", "70"))
    with pytest.raises(AttributeError):
        _ = bands["8"].truth


def test_infrared_counterparts_shine_where_the_table_says(bands):
    sources = bands["radio"].truth.sources
    for name, band in galactic.BANDS.items():
        sky = bands[name]
        chosen = sources[(sources[f"detected_{name}"] == True) & (sources["size"] < 5)]  # noqa: E712
        x, y = sky.wcs.wcs_world2pix(chosen["ra"], chosen["dec"], 0)
        value = sky.pixels[np.rint(y).astype(int), np.rint(x).astype(int)]
        beam_sr = 1.1331 * band.fwhm**2 / 206264.8**2
        limit = 1e-6 * 1e-3 * band.limit / beam_sr
        value = value[np.isfinite(value)]
        assert value.size == 0 or (value > limit).mean() > 0.9


def test_wise_may_be_in_data_numbers(bands):
    numbers = simulate("galactic-7band", 512, seed=1, data_numbers=True)
    for name in galactic.BANDS:
        band = Band(f"{name}um", numbers[name])
        dn, plain = numbers[name].pixels, bands[name].pixels
        assert (numbers[name].unit == u.DN) == (name in ("3.4", "4.6", "12", "22"))
        inside = np.isfinite(plain)
        # The converters of the bands bring both to the same Jy per pixel.
        np.testing.assert_allclose(
            dn[inside] * band.flux_factor(numbers[name]),
            plain[inside] * flux_factor(bands[name]),
            rtol=1e-4,
            atol=1e-9,
        )


def test_counts_and_sizes_of_compact_sources_follow_the_tables():
    """Sizes within 20 % of compact-sources Table 3: the longest side of an island; counts within their errors."""
    truth = mock_sky("galactic-7band", 1000, seed=1, emission=0.0, compact=8000.0).observe().truth
    objects = truth.objects.merge(truth.sources, left_on="source", right_index=True)
    objects = objects[objects["label"].notna()]
    longest = 2.0 * np.maximum(objects["x1"] - objects["x0"], objects["y1"] - objects["y0"])
    sizes = longest.groupby(objects["population"], observed=True).mean()
    compact = truth.sources[truth.sources["label"].notna() & ~truth.sources["chance"].astype(bool)]
    for below, count in (
        (True, lambda kind: kind.seven_bands),
        (False, lambda kind: kind.five_bands - kind.seven_bands),
    ):
        half = compact[(compact["y"] < 500) == below]["population"]
        total = sum(count(kind) for kind in galactic.CLASSES.values())
        for name, kind in galactic.CLASSES.items():
            share = count(kind) / total
            error = np.sqrt(share * (1 - share) / len(half))
            assert (half == name).mean() == pytest.approx(share, abs=4 * error + 1e-9)
    for name, kind in galactic.CLASSES.items():
        assert sizes[name] == pytest.approx(kind.size, rel=0.2)


def test_rare_objects_at_the_rate_of_the_sky():
    assert not (mock_sky("emu", 512, seed=1, rare=0).table["population"] == "RARE").any()
    many = mock_sky("emu", 512, seed=1, rare=100.0, populations=()).table
    wanted = sum(100 * kind.observed for kind in PRESETS["emu"].rare.values()) * (512 * 2 / 3600) ** 2
    assert len(many) == pytest.approx(wanted, abs=4 * np.sqrt(wanted))
    with pytest.raises(ParameterError, match="rare is -1"):
        simulate("emu", 128, rare=-1)


def test_bright_sources_beyond_the_border_leave_errors_inside():
    quiet = {**QUIET, "faintest": 50.0, "gain_error": 0.05, "artefact_snr": 20.0}
    assert simulate("emu", 128, seed=2, **quiet).truth.artefacts is not None
    assert simulate("emu", 128, seed=2, **{**quiet, "gain_error": 0.0}).truth.artefacts is None


def test_detected_fractions_and_labels_follow_the_paper():
    table = mock_sky("galactic-7band", 2048, seed=2, compact=4000.0, faintest=50.0).table
    compact = table[table["label"].notna()]
    for name, kind in galactic.CLASSES.items():
        own = compact[compact["population"] == name]
        for (name_of_band, band), percentage in zip(galactic.BANDS.items(), kind.detected, strict=True):
            # Table 6 counts stars that are there by chance; they come on top.
            by_chance = band.chance * np.where(own["y"] < 2048, 1.0, 1 / 15)
            share = np.mean(np.maximum(percentage / 100 - by_chance, 0) / (1 - by_chance))
            error = np.sqrt(max(share * (1 - share), 0.01) / len(own))
            assert own[f"detected_{name_of_band}"].astype(bool).mean() == pytest.approx(share, abs=4 * error)
    below = compact["y"] < 2048
    assert "QSO" not in set(compact["population"][below])
    assert compact["chance"].astype(float).mean() == pytest.approx(0.03, abs=0.01)
    yso = compact[compact["label"] == "YSO"]
    assert 0.02 < (yso["population"] == "HII").mean() < 0.25
