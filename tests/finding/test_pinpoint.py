"""Pinpoint: its network and loss, tiles, the points that are taken, maps of any beam and unit, the shipped weights."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from models.test_ssl import other_backend

import radiowidgets as rw
from radiowidgets.errors import ParameterError
from radiowidgets.finding.finders import find
from radiowidgets.finding.matching import score_finder, truth_table
from radiowidgets.finding.pinpoint import (
    AROUND,
    CHANNELS,
    FLUX,
    HERE,
    NAME,
    SNRS,
    WEIGHTS,
    PointLoss,
    answers,
    parts_of,
    pinpoint,
    pinpoint_network,
    stretched,
    take_points,
    unpacked,
)


def entropy(truth, logit):
    """The binary cross entropy, in plain NumPy."""
    share = 1 / (1 + np.exp(-logit))
    return -np.log(share if truth else 1 - share)


def test_the_network_is_small_and_sees_any_size():
    network = pinpoint_network()
    assert 30_000 < network.count_params() < 45_000
    for shape in ((24, 40), (64, 50)):
        out = network(stretched(np.zeros(shape))[None])
        assert out.shape == (1, shape[0] // 2, shape[1] // 2, CHANNELS)


def test_the_loss_is_what_counting_by_hand_gives():
    rng = np.random.default_rng(0)
    labels = np.zeros((1, 16, 20, 1), np.float32)
    for y, x, flux in ((3, 4, 1.5), (4, 5, 3.0), (9, 15, 20.0), (0, 0, 6.0), (12, 3, 0.5)):
        labels[0, y, x] = flux
    logits = rng.normal(size=(1, 8, 10, CHANNELS)).astype(np.float32)
    total = 0.0
    for i in range(8):
        for j in range(10):
            four = labels[0, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2, 0].ravel()
            for k, flux in enumerate(four):
                total += sum(entropy(flux > n, logits[0, i, j, 3 * k + s]) for s, n in enumerate(SNRS)) / 4
                if flux > 1:
                    total += 2 * (logits[0, i, j, FLUX][k] - np.log(flux)) ** 2 / 4
            if 0 < i < 7 and 0 < j < 9:
                around = labels[0, 2 * i - 2 : 2 * i + 4, 2 * j - 2 : 2 * j + 4, 0]
                for m in range(3):
                    for s, n in enumerate(SNRS):
                        total += 0.1 * entropy((around > n).sum() > m, logits[0, i, j, AROUND][3 * m + s])
    assert float(PointLoss()(labels, logits)) == pytest.approx(total / 80, rel=1e-4)


def test_packed_pixels_come_back():
    image = np.arange(2 * 6 * 8, dtype=np.float32).reshape(2, 6, 8)
    packed = np.zeros((3, 4, 4, 2), np.float32)
    for k, (dy, dx) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1))):
        packed[:, :, k] = np.moveaxis(image[:, dy::2, dx::2], 0, -1)
    np.testing.assert_array_equal(unpacked(packed.reshape(3, 4, 8)), image)


def test_large_maps_go_through_in_tiles_and_give_the_same():
    network = pinpoint_network(8, 3, seed=3)
    snr = np.random.default_rng(1).normal(size=(131, 170)).astype(np.float32)
    whole, tiled = answers(network, snr, 512), answers(network, snr, 64)
    assert whole.shape == (66, 85, CHANNELS)
    np.testing.assert_allclose(whole, tiled, atol=2e-5)
    here, around, flux = parts_of(whole, 2, snr.shape)
    assert here.shape == flux.shape == snr.shape and around.shape == (3, *snr.shape)
    assert here[5, 7] == pytest.approx(1 / (1 + np.exp(-whole[2, 3, HERE][3 * 3 + 1])), rel=1e-5)
    assert around[1, 5, 7] == pytest.approx(1 / (1 + np.exp(-whole[2, 3, AROUND][3 + 1])), rel=1e-5)


def test_a_blend_gives_two_points_and_a_vague_one_gives_one():
    expected, flux = np.zeros((40, 50), np.float32), np.zeros((40, 50), np.float32)
    expected[10, 10:13] = 0.9, 0.2, 0.9  # two in a blend
    flux[10, 10], flux[10, 12] = 1.0, 2.0
    expected[30, 40:42] = 0.4, 0.4  # one, somewhere in two pixels
    expected[20, 0] = 0.1
    around = np.full((3, 40, 50), 0.1, np.float32)
    around[0], around[1, 8:13, 8:15] = 0.9, 0.8
    points = take_points(expected, around, flux, 0.5)
    first = np.argsort(points["x"])
    np.testing.assert_allclose(points["y"][first], [20, 10, 10, 30], atol=0.01)
    np.testing.assert_allclose(points["x"][first], [0, 10.1, 11.9, 40.5], atol=0.2)
    assert sorted(points["score"].round(2)) == [0.8, 0.9, 0.9, 0.9]
    assert points["amount"].max() <= 1 + 1e-6
    some = take_points(expected, around, flux, 0.85)
    assert len(some["x"]) == 3
    assert len(take_points(np.zeros((9, 9), np.float32), around, flux)["x"]) == 0


def test_a_short_training_learns_points():
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    row, column = np.mgrid[:48, :48]
    images, labels = rng.normal(size=(16, 48, 48)).astype(np.float32), np.zeros((16, 48, 48, 1), np.float32)
    for k in range(len(images)):
        for x, y in rng.integers(4, 44, (5, 2)):
            images[k] += 30 * np.exp(-((column - x) ** 2 + (row - y) ** 2) / 2)
            labels[k, y, x] = 30
    network = pinpoint_network(8, 1, seed=1)
    network.compile(keras.optimizers.Adam(1e-2), PointLoss())
    history = network.fit(stretched(images), labels, batch_size=4, epochs=12, verbose=0).history["loss"]
    assert history[-1] < 0.3 * history[0]


# ------------------------------------------------------------------------------------
# the weights that come with the package


@pytest.fixture(scope="module")
def crowded():
    return rw.simulate("sdc1-b1-1000h", size=256, seed=77, rms=0.3e-6, faintest=0.3)


@pytest.mark.parametrize("snr", SNRS)
def test_the_shipped_finder_finds_faint_and_blended_sources(crowded, snr):
    found = find(crowded, "pinpoint", snr=snr)
    truth = truth_table(crowded, rms=0.36e-6)
    score = score_finder(found, truth, least=snr, factor=None, trials=0).loc["all"]
    assert score["reliability"] > 0.9
    assert score["completeness"] > {1.0: 0.2, 2.0: 0.3, 5.0: 0.5}[snr]
    assert found.table["score"].between(0, 1).all() and found.probability.shape == crowded.shape


def test_fluxes_are_about_right(crowded):
    found = find(crowded, "pinpoint", snr=5)
    truth = truth_table(crowded, rms=0.36e-6)
    scores = [score_finder(found, truth, least=5, factor=f, trials=0).loc["all", "tp"] for f in (2.0, None)]
    assert scores[0] > 0.6 * scores[1]


def test_maps_of_another_beam_unit_and_with_blanks(crowded):
    wide = rw.simulate("emu", size=300, seed=4, rare=0)
    found = find(wide, "pinpoint")
    assert any("pixels a beam" in note for note in found.notes) and len(found) > 3
    truth = truth_table(wide)
    score = score_finder(found, truth, least=5, radius=6, factor=None, trials=0).loc["all"]
    assert score["reliability"] > 0.8
    pixels = np.array(crowded.pixels) * 1e6
    pixels[:, :100] = np.nan
    other = rw.SkyMap.from_array(pixels, name="b", unit="uJy / beam", beam=crowded.beam, wcs=crowded.wcs)
    part, whole = find(other, "pinpoint").table, find(crowded, "pinpoint").table
    assert (part["x"] > 99).all()
    assert part["flux"].median() == pytest.approx(whole[whole["x"] > 100]["flux"].median(), rel=0.3)
    bare = rw.SkyMap.from_array(np.array(crowded.pixels), name="bare")
    notes = find(bare, "pinpoint").notes
    assert any("no beam" in note for note in notes) and any("no fluxes" in note for note in notes)


def test_wrong_settings_are_told():
    with pytest.raises(ParameterError, match="snr is 3"):
        pinpoint(snr=3)
    with pytest.raises(ParameterError, match="reliability"):
        pinpoint(reliability=0.5)


def test_the_card_tells_what_the_weights_are():
    import yaml

    card = yaml.safe_load((WEIGHTS / f"{NAME}.yaml").read_text(encoding="utf-8"))
    assert card["weights"] == pinpoint_network(card["width"], card["blocks"]).count_params()
    assert (WEIGHTS / f"{NAME}.weights.h5").stat().st_size < 300_000
    assert set(card["thresholds"]) == {"1", "2", "5"} and "no real pixel" in card["data"]["what"]


FORWARD = """
import json, sys, numpy as np
from radiowidgets.finding.pinpoint import _shipped, stretched
network, _ = _shipped()
print(json.dumps(np.asarray(network(stretched(np.load(sys.argv[1]))[None])).ravel()[::997].tolist()))
"""


def test_two_backends_give_one_answer(tmp_path):
    from radiowidgets.finding.pinpoint import _shipped

    snr = 3 * np.random.default_rng(0).normal(size=(40, 60))
    np.save(tmp_path / "snr.npy", snr)
    environment = os.environ | {"KERAS_BACKEND": other_backend(), "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-c", FORWARD, str(tmp_path / "snr.npy")]
    there = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    here = np.asarray(_shipped()[0](stretched(snr)[None])).ravel()[::997]
    np.testing.assert_allclose(json.loads(there.splitlines()[-1]), here, atol=1e-3)
