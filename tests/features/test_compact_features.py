import math

import numpy as np
import pandas as pd
import pytest
from astropy import units as u
from astropy.stats import sigma_clipped_stats
from scipy import ndimage, stats

from radiowidgets.data.bands import cut_bands
from radiowidgets.data.detection import find_sources
from radiowidgets.data.frames import FrameSet
from radiowidgets.data.simulate import simulate
from radiowidgets.errors import FrameError, ParameterError
from radiowidgets.features.photometry import (
    compact_features,
    correlations,
    detected_fractions,
    feature_names,
    polygon_masks,
)
from radiowidgets.features.similarity import mean_ssim
from radiowidgets.models.cnn import radio_masks

FIVE = ("radio", "3.4um", "4.6um", "12um", "22um")


def gaussian(side, peak, width, x=0.0, y=0.0):
    grid = np.arange(side) - (side - 1) / 2
    return peak * np.exp(-((grid - x) ** 2 + (grid[:, None] - y) ** 2) / (2 * width**2))


def bands_of(images, channels=("radio", "12um")):
    frames = FrameSet.from_images(np.asarray(images, np.float32))
    frames.channels = tuple(channels)
    return frames


def noisy(seed, *peaks, side=41, rms=1e-5, width=2.0, x=0.0):
    rng = np.random.default_rng(seed)
    images = [gaussian(side, peak, width, x=x * (k > 0)) for k, peak in enumerate(peaks)]
    return np.stack(images, axis=-1) + rms * rng.normal(size=(side, side, len(peaks)))


def ssim_by_filters(first, second, window=7):
    """scikit-image's structural_similarity with data_range=1, from scipy's filters."""
    a, b = ((image - image.min()) / np.ptp(image) for image in (first.astype(float), second.astype(float)))

    def mean(image):
        return ndimage.uniform_filter(image, window)

    share = window**2 / (window**2 - 1)
    va, vb = (share * (mean(image**2) - mean(image) ** 2) for image in (a, b))
    cov = share * (mean(a * b) - mean(a) * mean(b))
    value = (2 * mean(a) * mean(b) + 1e-4) * (2 * cov + 9e-4)
    value /= (mean(a) ** 2 + mean(b) ** 2 + 1e-4) * (va + vb + 9e-4)
    edge = window // 2
    return value[edge:-edge, edge:-edge].mean()


def straightforward(pixels):
    """Colour, IoU and flux of two bands from astropy and scipy alone, for cutouts with one source each."""
    islands, fluxes = [], []
    for k in range(2):
        image = pixels[..., k].astype(np.float32).astype(float)
        _, level, rms = sigma_clipped_stats(image, sigma=3, maxiters=5)
        labels, _ = ndimage.label(image >= level + 2.5 * rms)
        middle = labels[len(image) // 2, len(image) // 2]
        islands.append(labels == middle)
        fluxes.append((image[islands[-1]] - level).sum())
    return (
        math.log10(fluxes[1] / fluxes[0]),
        (islands[0] & islands[1]).sum() / (islands[0] | islands[1]).sum(),
        fluxes,
    )


def test_features_agree_with_astropy_and_scipy():
    pixels = np.array([noisy(seed, 1e-3, 5e-4, x=0.1 * seed) for seed in range(12)])
    table = compact_features(bands_of(pixels))
    for k, image in enumerate(pixels):
        colour, iou, fluxes = straightforward(image)
        row = table.iloc[k]
        assert row["colour_12um"] == pytest.approx(colour, abs=1e-4)
        assert row["iou_12um"] == pytest.approx(iou, abs=1e-9)
        assert [row["flux_radio"], row["flux_12um"]] == pytest.approx(fluxes, rel=1e-4)
        radio, infrared = np.moveaxis(image.astype(np.float32), 2, 0)
        assert row["ssim_12um"] == pytest.approx(ssim_by_filters(radio, infrared), abs=1e-6)


def test_flux_is_that_of_the_source():
    flux = 2 * np.pi * 4 * 1e-3
    table = compact_features(bands_of([noisy(3, 1e-3, 1e-3, rms=1e-7) + 5e-3]))
    assert table["flux_radio"].iloc[0] == pytest.approx(flux, rel=0.01)
    assert table["iou_12um"].iloc[0] > 0.9 and abs(table["colour_12um"].iloc[0]) < 1e-3


def test_names_are_those_of_table_5():
    names = feature_names(FIVE)
    assert names[:4] == ["colour_12um", "colour_22um", "colour_3.4um", "colour_4.6um"] and len(names) == 12
    names = feature_names((*FIVE, "8um", "70um"), alpha=True)
    assert len(names) == 19 and names[17:] == ["ssim_70um", "alpha"] and names[4:7][-1] == "iou_12um"


def test_a_band_that_shows_nothing_gives_a_limit_and_one_not_observed_nothing():
    pixels = np.array([noisy(5, 1e-3, 0.0, 0.0), noisy(6, 1e-3, 1e-3, 1e-3)])
    pixels[:, :, :, 2] = np.nan
    table = compact_features(bands_of(pixels, ("radio", "12um", "70um")))
    assert table["limit_12um"].tolist() == [True, False] and table["iou_12um"].iloc[0] == 0
    # A source of the radio source's shape with a peak of five sigma: 5e-5 beside 1e-3.
    assert table["colour_12um"].iloc[0] == pytest.approx(math.log10(5e-5 / 1e-3), abs=0.05)
    for kind in ("colour", "iou", "ssim", "flux"):
        assert table[f"{kind}_70um"].isna().all()
    assert not table["limit_70um"].any()
    assert "2 sources were not observed in 70um." in table.attrs["notes"]


def test_a_neighbour_is_not_the_counterpart():
    pixels = noisy(7, 1e-3, 0.0)
    pixels[..., 1] += gaussian(41, 1e-3, 2.0, x=14)
    row = compact_features(bands_of([pixels])).iloc[0]
    assert row["limit_12um"] and row["iou_12um"] == 0


def test_an_island_far_from_the_source_is_not_the_source():
    pixels = [noisy(7, 1e-3, 1e-3, side=61) for _ in range(2)]
    pixels[1] = np.roll(pixels[1], 18, axis=1)
    frames = bands_of(pixels)
    assert (compact_features(frames)["pixels_radio"] > 0).all(), "how far is too far is not known"
    frames.sources = pd.DataFrame({"radius": [10.0, 10.0]})
    frames.sources.attrs = {"size": 6.0}  # r_s is 10 pixels
    table = compact_features(frames, inner=0.5)
    assert (table["pixels_radio"] > 0).tolist() == [True, False]
    assert (table.attrs["width"], table.attrs["shown"]) == (6.0, 3.0)
    assert [mask.any() for mask in radio_masks(frames)] == [True, False]


def test_no_radio_source_no_colour():
    table = compact_features(bands_of([noisy(8, 0.0, 1e-3)]))
    assert table["pixels_radio"].iloc[0] == 0
    assert table[["colour_12um", "iou_12um", "flux_radio"]].isna().all(axis=None)
    assert table["ssim_12um"].notna().all() and "no radio island" in table.attrs["notes"][0]


def test_a_mask_is_the_radio_source():
    mask = np.zeros((41, 41), bool)
    mask[18:23, 18:23] = True
    row = compact_features(bands_of([noisy(9, 1e-3, 1e-3)]), [mask]).iloc[0]
    assert row["pixels_radio"] == 25 and row["iou_12um"] < 0.5
    with pytest.raises(ParameterError, match="a mask has shape"):
        compact_features(bands_of([noisy(9, 1e-3, 1e-3)]), [mask[1:]])


@pytest.mark.parametrize("shape", [(20, 23), (7, 7), (5, 9)])
def test_ssim_is_that_of_filters(shape):
    rng = np.random.default_rng(1)
    first, second = rng.random((2, *shape)).astype(np.float32)
    window = min(7, *shape)
    assert mean_ssim(first, second) == pytest.approx(ssim_by_filters(first, second, window), abs=1e-9)
    assert mean_ssim(first, 3 * first + 1) == pytest.approx(1, abs=1e-6)


def test_ssim_leaves_out_blank_windows():
    rng = np.random.default_rng(2)
    first, second = rng.random((2, 20, 30)).astype(np.float32)
    cut = first.copy()
    cut[:, 20:] = np.nan
    first[0, 0], first[0, 1] = 0, 1  # the same range with and without
    cut[0, :2] = first[0, :2]
    same = second.copy()
    same[0, 0], same[0, 1] = 0, 1
    assert mean_ssim(cut, same) == pytest.approx(
        mean_ssim(first[:, :20].copy(), same[:, :20].copy()), abs=1e-9
    )
    assert math.isnan(mean_ssim(np.full((9, 9), np.nan, np.float32), first[:9, :9].copy()))


def test_fractions_and_correlations():
    rng = np.random.default_rng(3)
    a = rng.normal(size=200)
    table = pd.DataFrame(
        {"iou_12um": np.where(a > 0, 0.5, 0), "x": a, "y": a + rng.normal(size=200), "z": 1.0}
    )
    table.loc[:9, "iou_12um"] = np.nan
    labels = np.where(np.arange(200) < 100, "HII", "PN")
    share = detected_fractions(table, labels)
    assert list(share.index) == ["HII", "PN", "ALL"]
    assert share.loc["HII", "12um"] == pytest.approx(100 * (a[10:100] > 0).mean())
    labels = np.where(np.arange(200) < 50, None, labels)  # of some nobody told the class
    again = detected_fractions(table, labels)
    assert list(again.index) == ["HII", "PN", "ALL"] and again.loc["ALL", "12um"] == share.loc["ALL", "12um"]
    with pytest.raises(ParameterError, match="200 sources and 3 labels"):
        detected_fractions(table, ["a", "b", "c"])
    with pytest.raises(ParameterError, match="no numbers"):
        correlations(table.assign(name="a"))
    r, p = correlations(table)
    wanted = stats.pearsonr(table["x"], table["y"])
    assert (r.loc["x", "y"], p.loc["x", "y"]) == pytest.approx((wanted.statistic, wanted.pvalue), rel=1e-6)
    assert np.isnan(r.loc["x", "z"])


def test_threads_and_chunks_give_the_same_numbers():
    pixels = [noisy(seed, 1e-3, 3e-4) for seed in range(70)]
    one, two = (compact_features(bands_of(pixels), threads=threads) for threads in (1, 2))
    pd.testing.assert_frame_equal(one, two)
    pd.testing.assert_frame_equal(one.iloc[40:], compact_features(bands_of(pixels).select(range(40, 70))))


def test_errors_say_what_to_do():
    frames = bands_of([noisy(1, 1e-3, 1e-3)])
    for bad, says in (
        ({"seed": 1.0}, "flood"),
        ({"window": 4}, "odd"),
        ({"window": None}, "odd"),
        ({"inner": 0}, "share"),
        ({"masks": []}, "masks"),
    ):
        with pytest.raises(ParameterError, match=says):
            compact_features(frames, **bad)
    with pytest.raises(FrameError, match="cut_bands"):
        compact_features(FrameSet.from_images(np.zeros((1, 9, 9))))


@pytest.fixture(scope="module")
def mock(tmp_path_factory):
    skies = simulate("galactic-7band", 256, seed=4, compact=1500.0, emission=0.0)
    sources = find_sources(skies["radio"])
    sources = sources[~sources["edge"]]
    bands = {name if name == "radio" else f"{name}um": skies[name] for name in ("radio", "3.4", "12")}
    return (
        skies,
        sources,
        cut_bands(bands, sources, tmp_path_factory.mktemp("set") / "set", size=6, beam=12 * u.arcsec),
    )


def test_colours_of_a_mock_are_those_that_were_put_in(mock):
    skies, _, frames = mock
    table = compact_features(frames)
    truth = skies["radio"].truth.sources
    truth = truth[truth["label"].notna()]
    for k, row in enumerate(table.itertuples(index=False)):
        apart = np.hypot(
            (truth["ra"] - frames.ra[k]) * np.cos(np.radians(frames.dec[k])), truth["dec"] - frames.dec[k]
        )
        nearest = truth.loc[apart.idxmin()]
        if apart.min() < 2 / 3600 and row._asdict()["snr_radio"] > 30 and nearest["detected_12"]:
            wanted = math.log10(nearest["flux_12"] / nearest["flux"])
            assert table["colour_12um"].iloc[k] == pytest.approx(wanted, abs=0.15)
            break
    else:
        pytest.fail("no bright source to compare")


def test_ds9_polygons_are_masks(mock, tmp_path):
    _, _, frames = mock
    ra, dec = frames.ra[0], frames.dec[0]
    step, east = 6 / 3600, 6 / 3600 / np.cos(np.radians(dec))
    corners = (
        (ra + east, dec - step),
        (ra - east, dec - step),
        (ra - east, dec + step),
        (ra + east, dec + step),
    )
    text = ",".join(f"{value:.7f}" for corner in corners for value in corner)
    path = tmp_path / "a.reg"
    path.write_text(f"# Region file format: DS9\nicrs\npolygon({text}) # text={{one}}\n")
    masks = polygon_masks(path, frames)
    assert sum(mask is not None for mask in masks) == 1
    assert masks[0].sum() == pytest.approx((12 / 2.0) ** 2, abs=7)
    assert masks[0][frames.height[0] // 2, frames.width[0] // 2]
    table = compact_features(frames, masks)
    assert table["pixels_radio"].iloc[0] == masks[0].sum()
    # A small region whose middle is nearer, but that does not hold the source, is not it.
    near = f'icrs\npolygon({text})\ncircle({ra + 0.35 * east:.7f},{dec - 0.35 * step:.7f},1.0")\n'
    wide = near.replace(f"{dec + step:.7f}", f"{dec + 3 * step:.7f}")
    path.write_text(wide)
    assert polygon_masks(path, frames)[0].sum() > 50
    assert polygon_masks(path, frames.select([])) == []
    path.write_text("image\ncircle(1,2,3)\n")
    with pytest.raises(ParameterError, match="no region on the sky"):
        polygon_masks(path, frames)


def test_whatever_the_pixels_hold_nothing_is_infinite():
    rng = np.random.default_rng(6)
    for _ in range(60):
        shape = (*rng.integers(1, 14, 2), 3)
        image = (rng.normal(size=shape) * 10.0 ** rng.integers(-30, 30)).astype(np.float32)
        image[rng.random(shape) < rng.choice([0, 0.1, 0.6])] = rng.choice([np.nan, np.inf, -np.inf, 1e35, 0])
        image[shape[0] // 2, shape[1] // 2] *= 100
        table = compact_features(bands_of([image], ("radio", "a", "b")), threads=1)
        assert not np.isinf(table.to_numpy(float)).any()
