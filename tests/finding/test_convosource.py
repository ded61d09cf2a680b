"""ConvoSource: its layers, what goes in, its training, its threshold, its folder."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pandas as pd
import pytest
from models.test_ssl import other_backend

import radiowidgets as rw
from radiowidgets.errors import DataError, ParameterError
from radiowidgets.finding.convosource import (
    Blocks,
    ConvoSource,
    best_threshold,
    convosource_network,
    corrected,
    cut_blocks,
    join_blocks,
    load_convosource,
    network_input,
    solution_map,
    train_convosource,
)
from radiowidgets.finding.finders import find
from radiowidgets.finding.networks import peaks
from radiowidgets.models.cards import Card

TABLE_1 = {"conv2d_1": 800, "dropout_1": 0, "conv2d_2": 12_832, "conv2d_3": 18_496, "dense_1": 65}


def points(seed, size=250, count=45, noise=1e-6):
    """A map of points in white noise, and its truth."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(4, size - 5, (2, count))
    flux = rng.uniform(20, 60, count) * noise
    row, column = np.mgrid[:size, :size]
    pixels = rng.normal(0, noise, (size, size)).astype(np.float32)
    for a, b, f in zip(x, y, flux, strict=True):
        pixels += f * np.exp(-((column - a) ** 2 + (row - b) ** 2) / 2)
    kind = rng.choice(["SFG", "SS-AGN"], count, p=[0.8, 0.2])
    truth = pd.DataFrame({"x": x, "y": y, "flux": flux, "flux_over_rms": flux / noise, "kind": kind})
    return rw.SkyMap.from_array(pixels, name=f"points-{seed}"), truth


@pytest.fixture(scope="module")
def trained():
    keras.utils.set_random_seed(0)
    return train_convosource(Blocks.of(*points(0)), Blocks.of(*points(1)), epochs=30, seed=1)


def test_layers_and_weights_are_those_of_table_1():
    network = convosource_network()
    assert {layer.name: layer.count_params() for layer in network.layers[1:]} == TABLE_1
    assert network.count_params() == 32_193
    shapes = [layer.output.shape[1:] for layer in network.layers]
    assert shapes == [(50, 50, c) for c in (1, 16, 16, 32, 64, 1)]


def test_blocks_lie_side_by_side_and_give_the_map_back():
    image = np.arange(107 * 130, dtype=np.float32).reshape(107, 130)
    blocks = cut_blocks(image)
    assert blocks.shape == (9, 50, 50, 1)
    np.testing.assert_array_equal(blocks[4, ..., 0], image[50:100, 50:100])
    assert not blocks[8, 7:].any() and not blocks[8, :, 30:].any()
    np.testing.assert_array_equal(join_blocks(blocks, image.shape), image)


def test_solutions_are_single_pixels_of_sources_above_the_threshold():
    solution = solution_map((10, 20), [3.4, 19.6, -0.6, 12.0], [2.0, 5.0, 5.0, 9.4])
    assert {(int(r), int(c)) for r, c in zip(*np.nonzero(solution), strict=True)} == {(2, 3), (9, 12)}
    sky, truth = points(3)
    several = {snr: Blocks.of(sky, truth, snr).solutions.sum() for snr in (1, 30, 100)}
    assert several == {1: 45, 30: (truth.flux_over_rms > 30).sum(), 100: 0}


def test_input_is_a_million_times_the_map_without_blanks():
    np.testing.assert_allclose(network_input([[2e-6, np.nan], [-1e-6, np.inf]]), [[2, 0], [-1, 0]])


def test_maps_are_corrected_for_the_primary_beam():
    sky = rw.simulate("sdc1-b1-1000h", size=64, seed=1, primary_beam=0.02, faintest=5.0)
    flat = corrected(sky)
    np.testing.assert_allclose(flat.pixels * sky.truth.attenuation, sky.pixels, rtol=1e-5)
    assert flat.truth is sky.truth and flat.beam == sky.beam
    with pytest.raises(ParameterError, match="one value a pixel"):
        corrected(sky, np.ones((3, 3)))
    real = rw.SkyMap.from_array(sky.pixels, name="real", wcs=sky.wcs, beam=sky.beam, unit=sky.unit)
    assert corrected(real) is real
    real.primary_beam = rw.SkyMap.from_array(sky.truth.attenuation, name="beam", wcs=sky.wcs)
    np.testing.assert_allclose(corrected(real).pixels, flat.pixels, rtol=1e-4)


def test_augmentation_turns_and_flips_the_blocks_that_it_is_for():
    blocks = Blocks.of(*points(2))
    assert len(blocks.augmented("none")) == len(blocks)
    assert len(blocks.augmented("extended")) == len(blocks) + 5 * blocks.extended.sum()
    more = blocks.augmented("all")
    held = blocks.solutions.any(axis=(1, 2, 3))
    assert len(more) == len(blocks) + 5 * held.sum()
    first = int(np.flatnonzero(held)[0])
    views = more.images[len(blocks) :: held.sum()]
    wanted = [blocks.images[first][::-1], blocks.images[first][:, ::-1]]
    wanted += [np.rot90(blocks.images[first], turn) for turn in (1, 2, 3)]
    np.testing.assert_array_equal(views, wanted)
    with pytest.raises(ParameterError, match="augmentation"):
        blocks.augmented("some")


def test_a_split_is_four_fifths_and_the_rest():
    one, other = Blocks.of(*points(2)).split(seed=3)
    assert (len(one), len(other)) == (20, 5)


def test_the_threshold_counts_pixels_as_the_paper():
    solution = np.zeros((1, 20, 20), np.uint8)
    solution[0, 5, 5] = solution[0, 15, 15] = 1
    guess = np.full((1, 20, 20), 0.01)
    guess[0, 5, 5], guess[0, 5, 7], guess[0, 12, 5], guess[0, 15, 15], guess[0, 5, 8] = (
        0.9,
        0.8,
        0.5,
        0.2,
        0.3,
    )
    threshold, f1 = best_threshold(guess, solution)
    # Above 0.5: two true pixels (one beside the source), one missed; lower ones add as many wrong as right.
    assert 0.5 <= threshold < 0.8 and f1 == pytest.approx(2 * 2 / (2 * 2 + 0 + 1))
    with pytest.raises(ParameterError, match="no source"):
        best_threshold(guess, np.zeros_like(solution))


def test_peaks_lie_between_pixels():
    row, column = np.mgrid[:30, :40]
    bump = 0.9 * np.exp(-((column - 12.3) ** 2 + (row - 20.4) ** 2) / 2).astype(np.float32)
    bump[2, 3] = np.nan
    x, y, pixel = peaks(bump, 0.5)
    assert (pixel[0].tolist(), pixel[1].tolist()) == ([20], [12])
    assert x[0] == pytest.approx(12.3, abs=0.2) and y[0] == pytest.approx(20.4, abs=0.2)


def test_a_short_training_finds_points(trained):
    sky, truth = points(2)
    found = find(sky, trained)
    apart = np.hypot(*(found.table[c].to_numpy()[:, None] - truth[c].to_numpy() for c in ("x", "y")))
    assert (apart.min(axis=1) < 3).mean() > 0.8 and (apart.min(axis=0) < 3).mean() > 0.8
    assert found.probability.shape == sky.shape and 0 < trained.threshold < 1
    assert (found.table["island"] > 0).all() and found.masks.max() == found.table["island"].max()
    assert found.table["score"].between(trained.threshold, 1).all()


def test_a_whole_map_is_its_blocks(trained):
    sky, _ = points(2, size=120, count=10)
    whole = trained.probability(sky.pixels)
    block = network_input(sky.pixels)[None, 50:100, 50:100, None]
    np.testing.assert_allclose(whole[50:100, 50:100], trained.network(block)[0, ..., 0], atol=1e-5)


def test_the_same_seed_gives_the_same_network(tmp_path):
    blocks = Blocks.of(*points(0, 150, 20))
    one = train_convosource(blocks, epochs=2, seed=4, folder=tmp_path / "one")
    train_convosource(blocks, epochs=1, seed=4, folder=tmp_path / "two")
    two = train_convosource(blocks, epochs=2, seed=4, folder=tmp_path / "two")
    for a, b in zip(one.network.get_weights(), two.network.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_a_folder_keeps_the_network(trained, tmp_path):
    trained.save(tmp_path / "net")
    again = load_convosource(tmp_path / "net")
    sky, _ = points(5, 100, 5)
    assert len(find(sky, "convosource", folder=tmp_path / "net")) == len(find(sky, trained)) > 2
    np.testing.assert_array_equal(again.probability(sky.pixels), trained.probability(sky.pixels))
    assert again.threshold == trained.threshold and again.card.recipe["snr"] == 5
    with pytest.raises(ParameterError, match="convosource: missing a required argument: 'folder'"):
        find(sky, "convosource")
    other = ConvoSource(trained.network, Card("network", "x", ("a",), ("b",), recipe={"finder": "other"}))
    with pytest.raises(DataError, match="no convosource"):
        load_convosource(other.save(tmp_path / "other"))


FORWARD = """
import json, sys, numpy as np
from radiowidgets.finding.convosource import convosource_network
network = convosource_network(None)
network.load_weights(sys.argv[1])
print(json.dumps(np.asarray(network(np.load(sys.argv[2]))).ravel()[::97].tolist()))
"""


def test_two_backends_give_one_reconstruction(tmp_path):
    network = convosource_network(None, seed=2)
    network.save_weights(tmp_path / "n.weights.h5")
    blocks = np.random.default_rng(0).normal(size=(2, 30, 40, 1)).astype(np.float32)
    np.save(tmp_path / "blocks.npy", blocks)
    environment = os.environ | {"KERAS_BACKEND": other_backend(), "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-c", FORWARD, str(tmp_path / "n.weights.h5"), str(tmp_path / "blocks.npy")]
    there = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    here = np.asarray(network(blocks)).ravel()[::97]
    np.testing.assert_allclose(json.loads(there.splitlines()[-1]), here, atol=1e-5)
