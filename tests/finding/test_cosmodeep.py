"""COSMODEEP: its layers, tiles, labels, normalisation, training, folder."""

import numpy as np
import pytest

import radiowidgets as rw
from radiowidgets.errors import DataError, MapError, ParameterError
from radiowidgets.finding.cosmodeep import (
    CosmoDeep,
    Tiles,
    best_tile_threshold,
    cosmodeep_network,
    cut_tiles,
    load_cosmodeep,
    load_web_pixels,
    mock_images,
    normalised,
    surface_brightness,
    train_cosmodeep,
    train_web_pixels,
    web_patches,
)
from radiowidgets.finding.finders import find
from radiowidgets.finding.matching import score_tiles, signal_tiles
from radiowidgets.models.cards import Card


def blobs(seed, size=200, tile=20):
    """An image with noise and the clean one: a broad blob in every fifth tile."""
    rng = np.random.default_rng(seed)
    row, column = np.mgrid[:size, :size]
    clean = np.zeros((size, size), np.float32)
    many = (size // tile) ** 2
    for number in rng.choice(many, many // 5, replace=False):
        y, x = (np.array(divmod(number, size // tile)) + 0.5) * tile
        clean += 6e-7 * np.exp(-((column - x) ** 2 + (row - y) ** 2) / 18).astype(np.float32)
    return clean + rng.normal(0, 1e-7, clean.shape).astype(np.float32), clean


@pytest.fixture(scope="module")
def trained():
    tiles = Tiles.of([blobs(k) for k in range(4)], tile=20)
    validation = Tiles.of([blobs(9)], tile=20)
    return train_cosmodeep(tiles, validation, epochs=10, rate=1e-3, seed=1)


def test_layers_and_weights_are_those_of_section_2():
    network = cosmodeep_network()
    weights = [layer.count_params() for layer in network.layers if layer.count_params()]
    assert weights == [320, 18_496, (10 * 10 * 64 + 1) * 1024, 1025 * 2]
    shapes = [layer.output.shape[1:] for layer in network.layers]
    assert shapes[:6] == [(40, 40, 1), (40, 40, 32), (20, 20, 32), (20, 20, 64), (10, 10, 64), (6400,)]
    with pytest.raises(ParameterError, match="multiple of 4"):
        cosmodeep_network(30)


def test_tiles_lie_side_by_side():
    image = np.arange(90 * 130.0).reshape(90, 130)
    tiles = cut_tiles(image)
    assert tiles.shape == (6, 40, 40, 1)
    np.testing.assert_array_equal(tiles[4, ..., 0], image[40:80, 40:80])


def test_labels_count_pixels_of_the_clean_image_above_the_threshold():
    clean = np.zeros((40, 80), np.float32)
    clean[:, 40:][np.unravel_index(np.arange(41), (40, 40))] = 0.8e-7
    clean[:, :40][np.unravel_index(np.arange(40), (40, 40))] = 0.8e-7
    noisy = clean + 1e-9
    labels = {
        key: Tiles.of([(noisy, clean)], f_th=key[0], n_pixels=key[1]).labels.tolist()
        for key in ((0.75, 40), (0.75, 9), (1.0, 9))
    }
    assert labels == {(0.75, 40): [0, 1], (0.75, 9): [1, 1], (1.0, 9): [0, 0]}


def test_images_are_normalised_by_the_logarithm_and_limits_can_be_kept():
    image = np.array([[-3e-7, 1e-11, np.nan], [1e-9, 1e-7, 1e-3]])
    np.testing.assert_allclose(normalised(image), [[0, 0, 0], [0.25, 0.5, 1]], atol=1e-6)
    np.testing.assert_allclose(normalised(image, (-9, -5)), [[0, 0, 0], [0, 0.5, 1]], atol=1e-6)
    tiles = Tiles.of([(np.full((40, 40), 1e-6), np.zeros((40, 40)))] * 2)
    assert tiles.limits == pytest.approx((-6, -6))


def test_noise_tiles_can_be_thinned():
    pairs = [blobs(0), blobs(1)]
    whole, few = Tiles.of(pairs, tile=20), Tiles.of(pairs, tile=20, noise_share=0.1)
    assert len(whole) == 200 and few.labels.sum() == whole.labels.sum() == 40
    assert 40 < len(few) < 100


def test_surface_brightness_of_a_map():
    sky = rw.simulate("cosmic-web", size=64, seed=1)
    np.testing.assert_allclose(surface_brightness(sky) * 1.1331 * 100, sky.pixels, rtol=1e-4)
    with pytest.raises(MapError, match="Jy/beam"):
        surface_brightness(rw.SkyMap.from_array(np.ones((8, 8)), name="bare"))


@pytest.mark.parametrize("noise", ["pixels", "telescope"])
@pytest.mark.parametrize("scale", [3.0, 9.6])
def test_mock_images_have_the_noise_of_the_paper(scale, noise):
    noisy, clean = mock_images(1, 120, scale, noise=noise)
    assert noisy.shape == clean.shape == (120, 120)
    assert (noisy - clean).std() == pytest.approx(0.88e-7, rel=0.1)
    assert (clean >= 0).all()


def test_the_threshold_is_that_of_the_best_as():
    share, labels = np.array([0.9, 0.8, 0.6, 0.4, 0.1]), np.array([1, 1, 0, 1, 0])
    threshold, score = best_tile_threshold(share, labels)
    assert 0.1 < threshold < 0.4 and score == pytest.approx(3 / 4)
    with pytest.raises(ParameterError, match="no tile"):
        best_tile_threshold(share, np.zeros(5))


def test_a_short_training_finds_blobs(trained):
    noisy, clean = blobs(20)
    predicted = trained.shares(noisy) > trained.threshold
    actual = Tiles.of([(noisy, clean)], tile=20).labels.reshape(10, 10)
    assert score_tiles([predicted], [actual])["value"]["As"] > 0.9


def test_a_whole_map_is_its_tiles(trained):
    noisy, _ = blobs(21)
    tile = normalised(noisy, tuple(trained.card.recipe["limits"]))[None, 40:60, 60:80, None]
    alone = np.asarray(trained.network(tile))[0, 1]
    assert trained.shares(noisy[:190, :199])[2, 3] == pytest.approx(float(alone), abs=1e-5)


def test_it_is_a_finder(trained):
    noisy, _ = blobs(22)
    sky = rw.SkyMap.from_array(noisy, name="web", unit="Jy / arcsec2")
    found = find(sky, trained)
    predicted = trained.shares(noisy) > trained.threshold
    np.testing.assert_array_equal(signal_tiles(found, sky.shape, 20), predicted)
    assert len(found) == found.masks.max() and found.table["kind"].eq("DIFFUSE").all()
    inside = found.masks[np.rint(found.table["y"]).astype(int), np.rint(found.table["x"]).astype(int)]
    assert (inside > 0).mean() > 0.7  # the middle of a ring of tiles is none of them
    noisy[40:80, 60:200] = np.nan
    blank = find(rw.SkyMap.from_array(noisy, name="web", unit="Jy / arcsec2"), trained)
    assert not blank.masks[40:80, 60:200].any() and blank.masks.any() and blank.masks.dtype == np.int32
    with pytest.raises(MapError, match="10 x 30 pixels, less than a tile of 20"):
        find(rw.SkyMap.from_array(noisy[:30, :10], name="web", unit="Jy / arcsec2"), trained)
    nothing = find(rw.SkyMap.from_array(np.full((40, 40), -1e-7), name="e", unit="Jy / arcsec2"), trained)
    assert len(nothing) == 0


def test_a_folder_keeps_the_network(trained, tmp_path):
    trained.save(tmp_path / "net")
    noisy, _ = blobs(23)
    np.testing.assert_array_equal(load_cosmodeep(tmp_path / "net").shares(noisy), trained.shares(noisy))
    sky = rw.SkyMap.from_array(noisy, name="web", unit="Jy / arcsec2")
    assert len(find(sky, "cosmodeep", folder=tmp_path / "net")) == len(find(sky, trained)) > 2
    quick = load_cosmodeep(tmp_path / "net", dtype="mixed_bfloat16").shares(noisy)
    np.testing.assert_allclose(quick, trained.shares(noisy), atol=0.1)
    other = CosmoDeep(trained.network, Card("network", "x", ("a",), ("b",), recipe={"finder": "other"}))
    with pytest.raises(DataError, match="no cosmodeep"):
        load_cosmodeep(other.save(tmp_path / "other"))


# ------------------------------------------------------------------------------------
# the improved variant


def test_patches_tell_the_share_of_pixels_above_the_threshold():
    clean = np.zeros((50, 40), np.float32)
    clean[0, 1], clean[2:4, 2:4] = 2e-7, 0.6e-7
    images, labels = web_patches([(clean + 1e-7, clean)], f_th=0.5, size=20)
    assert images.shape == (4, 20, 20, 2) and labels.shape == (4, 10, 10, 1)
    assert labels[0, :2, :2, 0].tolist() == [[0.25, 0], [0, 1]] and labels.sum() == 1.25
    assert images[3, 5, 5] == pytest.approx([np.arcsinh(2), np.tanh(0.5)])


def test_the_improved_variant_learns_faster_and_has_its_folder(tmp_path):
    pairs = [blobs(k, size=240) for k in range(4)]
    finder = train_web_pixels(pairs, [blobs(9)], tile=20, epochs=12, seed=1)
    noisy, clean = blobs(20)
    actual = Tiles.of([(noisy, clean)], tile=20).labels.reshape(10, 10)
    shares = finder.shares(noisy)
    assert score_tiles([shares > finder.threshold], [actual])["value"]["As"] > 0.9
    sky = rw.SkyMap.from_array(noisy, name="web", unit="Jy / arcsec2")
    found = find(sky, finder)
    above, expected = clean > 1e-7, found.probability
    assert expected[above].mean() > 0.6 and expected[~above].mean() < 0.1
    np.testing.assert_array_equal(signal_tiles(found, sky.shape, 20), shares > finder.threshold)
    blank = find(rw.SkyMap.from_array(np.full((61, 45), np.nan), name="b", unit="Jy / arcsec2"), finder)
    assert len(blank) == 0 and not blank.masks.any() and np.isnan(blank.probability).all()
    finder.save(tmp_path / "web")
    np.testing.assert_array_equal(load_web_pixels(tmp_path / "web").shares(noisy), shares)
