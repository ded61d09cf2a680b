"""Pinpoint: its peaks and labels, its network and loss, maps of any beam and unit, the shipped weights."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import yaml
from models.test_ssl import other_backend

import radiowidgets as rw
from radiowidgets.data.detection import find_sources
from radiowidgets.errors import ParameterError
from radiowidgets.finding.finders import find
from radiowidgets.finding.matching import read_sdc1, score_finder, truth_table
from radiowidgets.finding.pinpoint import (
    NAME,
    OUTPUTS,
    SIDE,
    SNRS,
    WEIGHTS,
    PeakLoss,
    find_peaks,
    judged_peaks,
    peak_labels,
    peak_pixels,
    pinpoint,
    pinpoint_network,
)


def points(x, y, snr, size=60):
    """A map of points of FWHM 2.5 pixels without noise, in units of what its noise would be."""
    row, column = np.mgrid[:size, :size]
    image = np.zeros((size, size), np.float32)
    for a, b, s in zip(x, y, snr, strict=True):
        image += s * np.exp(-((column - a) ** 2 + (row - b) ** 2) * 4 * np.log(2) / 2.5**2).astype(np.float32)
    return image


def test_a_source_on_the_shoulder_of_another_has_its_peak():
    image = points([20, 23, 40], [20, 20, 30], [20, 8, 5])
    row, column = find_peaks(image)
    assert sorted(zip(row.tolist(), column.tolist(), strict=True)) == [(20, 20), (20, 23), (30, 40)]
    assert len(find_peaks(np.zeros((9, 9), np.float32))[0]) == 0


def test_the_network_sees_the_pixels_round_each_peak():
    image = np.random.default_rng(0).normal(size=(30, 40)).astype(np.float32)
    seen = peak_pixels(image, np.array([15, 0]), np.array([20, 39])).reshape(2, SIDE, SIDE)
    np.testing.assert_allclose(seen[0], np.arcsinh(image[9:22, 14:27]), rtol=1e-6)
    assert not seen[1, :6].any() and not seen[1, :, 7:].any() and seen[1, 6, 6] == np.arcsinh(image[0, 39])


def test_each_source_belongs_to_one_peak():
    image = np.zeros((30, 30), np.float32)
    image[10, 10], image[10, 12], image[20, 20], image[5, 25] = 9, 6, 4, 3
    row, column = np.nonzero(image)  # of (5, 25), (10, 10), (10, 12), (20, 20)
    labels = peak_labels(image, row, column, [10.5, 12.5, 20, 11], [10, 10.5, 22.5, 9], [8, 3, 1.5, 0.5])
    assert labels[:, : len(SNRS)].tolist() == [[0, 0, 0], [1, 1, 1], [1, 1, 0], [1, 0, 0]]
    np.testing.assert_allclose(labels[1, 3:], [np.log(8), 0.5, 0], atol=1e-6)
    np.testing.assert_allclose(labels[2, 3:], [np.log(3), 0.5, 0.5], atol=1e-6)
    np.testing.assert_allclose(labels[3, 3:], [np.log(1.5), 0, 2.5], atol=1e-6)
    assert not labels[0].any()
    none = peak_labels(image, row, column, [], [], [])
    assert none.shape == (4, OUTPUTS) and not none.any()


def test_the_loss_is_what_counting_by_hand_gives():
    rng = np.random.default_rng(0)
    guess = rng.normal(size=(5, OUTPUTS)).astype(np.float32)
    truth = np.column_stack([rng.integers(0, 2, (5, 3)), rng.normal(size=(5, 3))]).astype(np.float32)
    share = 1 / (1 + np.exp(-guess[:, :3]))
    by_hand = -np.where(truth[:, :3] > 0, np.log(share), np.log(1 - share)).sum(1)
    by_hand += 0.1 * truth[:, 0] * ((guess[:, 3:] - truth[:, 3:]) ** 2).sum(1)
    assert float(PeakLoss()(truth, guess)) == pytest.approx(by_hand.mean(), rel=1e-5)


def test_a_short_training_tells_peaks_from_noise():
    rng = np.random.default_rng(0)
    parts = []
    for _ in range(4):
        x, y, snr = rng.uniform(4, 125, 60), rng.uniform(4, 125, 60), rng.uniform(6, 20, 60)
        image = points(x, y, snr, 130) + rng.normal(size=(130, 130)).astype(np.float32)
        peaks = find_peaks(image)
        parts.append((peak_pixels(image, *peaks), peak_labels(image, *peaks, x, y, snr)))
    pixels, labels = (np.concatenate(part) for part in zip(*parts, strict=True))
    network = pinpoint_network((24,), seed=1)
    network.compile(keras.optimizers.Adam(5e-3), PeakLoss())
    history = network.fit(pixels, labels, batch_size=64, epochs=8, verbose=0, shuffle=False).history["loss"]
    assert history[-1] < 0.4 * history[0]
    judged = judged_peaks(network, image)
    right = labels[-len(judged["x"]) :, 0] > 0
    assert judged["score_1"][right].mean() > 0.8 and judged["score_1"][~right].mean() < 0.2


# ------------------------------------------------------------------------------------
# the weights that come with the package


@pytest.fixture(scope="module")
def crowded():
    return rw.simulate("sdc1-b1-1000h", size=256, seed=77, rms=0.3e-6, faintest=0.3)


@pytest.mark.parametrize("snr", SNRS)
def test_the_shipped_finder_finds_faint_and_blended_sources(crowded, snr):
    truth = truth_table(crowded, rms=0.36e-6)
    found = find(crowded, "pinpoint", snr=snr, like="sdc1-b1-1000h")
    score = score_finder(found, truth, least=snr, factor=None, trials=0).loc["all"]
    assert score["reliability"] > 0.9
    assert score["completeness"] > {1.0: 0.35, 2.0: 0.5, 5.0: 0.65}[snr]
    assert found.table["score"].between(0, 1).all()


def test_fluxes_are_about_right(crowded):
    truth = truth_table(crowded, rms=0.36e-6)
    found = find(crowded, "pinpoint", snr=5)
    right = [score_finder(found, truth, least=5, factor=f, trials=0).loc["all", "tp"] for f in (2.0, None)]
    assert right[0] > 0.8 * right[1]


def test_maps_of_another_beam_unit_and_with_blanks(crowded):
    wide = rw.simulate("emu", size=300, seed=4, rare=0)
    found = find(wide, "pinpoint")
    assert any("pixels a beam" in note for note in found.notes) and len(found) > 3
    score = score_finder(found, truth_table(wide), least=1, radius=6, factor=None, trials=0).loc["all"]
    assert score["reliability"] > 0.8
    pixels = np.array(crowded.pixels) * 1e6
    pixels[:, :100] = np.nan
    other = rw.SkyMap.from_array(pixels, name="b", unit="uJy / beam", beam=crowded.beam, wcs=crowded.wcs)
    part, whole = find(other, "pinpoint").table, find(crowded, "pinpoint").table
    assert (part["x"] > 99).all()
    assert part["flux"].median() == pytest.approx(whole[whole["x"] > 100]["flux"].median(), rel=0.3)
    notes = find(rw.SkyMap.from_array(np.array(crowded.pixels), name="bare"), "pinpoint").notes
    assert any("no beam" in note for note in notes) and any("no fluxes" in note for note in notes)


def test_a_map_of_noise_gives_next_to_nothing():
    noise = np.random.default_rng(0).normal(size=(200, 200)).astype(np.float32)
    assert len(find(rw.SkyMap.from_array(noise, name="noise"), "pinpoint").table) < 5
    nothing = judged_peaks(pinpoint_network(), np.zeros((20, 20), np.float32))
    assert all(len(column) == 0 for column in nothing.values())


def test_wrong_settings_are_told():
    for wrong in ({"snr": 3}, {"reliability": 0.5}, {"like": "sky"}):
        with pytest.raises(ParameterError, match=next(iter(wrong))):
            pinpoint(**wrong)


def test_the_card_tells_what_the_weights_are():
    card = yaml.safe_load((WEIGHTS / f"{NAME}.yaml").read_text(encoding="utf-8"))
    assert card["weights"] == pinpoint_network(tuple(card["widths"])).count_params() < 40_000
    assert (WEIGHTS / f"{NAME}.weights.h5").stat().st_size < 300_000
    assert set(card["thresholds"]) == {"1", "2", "5"} and "no real pixel" in card["data"]["what"]


def test_the_data_challenge(realdata):
    folder = realdata / "sdc1_sim"
    sky = rw.SkyMap.open(folder / "B1_1000h_0.3tr.fits")
    rms = float(find_sources(sky)["rms"].median())
    sky.primary_beam = rw.SkyMap.open(folder / "PrimaryBeam_B1.fits")
    truth = truth_table(sky, read_sdc1(folder / "truth_B1_0.3tr.cat"), rms=rms)
    for snr, least in ((1, 0.57), (2, 0.71), (5, 0.82)):
        found = find(sky, "pinpoint", snr=snr, like="sdc1-b1-1000h")
        score = score_finder(found, truth, least=snr, factor=None, trials=0).loc["all"]
        assert score["f1"] > least and score["reliability"] > 0.95


FORWARD = """
import json, sys, numpy as np
from radiowidgets.finding.pinpoint import _shipped
print(json.dumps(np.asarray(_shipped()[0](np.load(sys.argv[1]))).ravel()[::7].tolist()))
"""


def test_two_backends_give_one_answer(tmp_path):
    from radiowidgets.finding.pinpoint import _shipped

    pixels = np.random.default_rng(0).normal(size=(20, SIDE * SIDE)).astype(np.float32)
    np.save(tmp_path / "pixels.npy", pixels)
    environment = os.environ | {"KERAS_BACKEND": other_backend(), "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-c", FORWARD, str(tmp_path / "pixels.npy")]
    there = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    here = np.asarray(_shipped()[0](pixels)).ravel()[::7]
    np.testing.assert_allclose(json.loads(there.splitlines()[-1]), here, atol=1e-3)
