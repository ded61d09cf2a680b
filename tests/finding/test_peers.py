import logging
import sys

import numpy as np
import pytest
from skies import noisy_sky

import radiowidgets as rw
from radiowidgets.errors import MapError, MissingExtraError
from radiowidgets.finding import matching
from radiowidgets.finding.finders import find


@pytest.fixture(scope="module")
def sky():
    return rw.simulate("sdc1-b1-1000h", size=160, seed=3)


def test_sep_measures_fluxes_of_bright_sources(sky):
    found = find(sky, "sep")
    truth = matching.truth_table(sky)
    pairs = matching.match_sources(found.table, truth, factor=None)
    bright = pairs[truth["flux_over_rms"].to_numpy()[pairs["truth"]] > 50]
    ratio = found.table["flux"].to_numpy()[bright["found"]] / truth["flux"].to_numpy()[bright["truth"]]
    assert len(bright) > 3 and np.median(ratio) == pytest.approx(1.0, abs=0.06)


@pytest.mark.parametrize("name", ["islands", "sep"])
def test_maps_without_beam_coordinates_or_with_blanks_are_searched(name):
    sky = noisy_sky()
    pixels = sky.pixels.copy()
    pixels[:, :60] = np.nan
    bare = rw.SkyMap.from_array(pixels, name="bare")
    found = find(bare, name)
    assert len(found) > 5 and (found.table["x"] > 58).all()
    assert found.table["flux"].isna().all() and found.notes
    with pytest.raises(MapError, match="all blank"):
        find(rw.SkyMap.from_array(np.full((80, 80), np.nan, np.float32), name="blank"), name)


@pytest.mark.parametrize("name", ["islands", "sep"])
def test_what_is_filled_with_one_value_holds_no_source(name):
    pixels = noisy_sky(640, 256).pixels.copy()
    pixels[:, :400] = 0
    found = find(rw.SkyMap.from_array(pixels, name="half"), name)
    assert len(found) > 3 and (found.table["x"] > 390).all()


def test_sep_says_where_its_threshold_is_too_low():
    noise = np.random.default_rng(0).normal(size=(800, 800))
    with pytest.raises(MapError, match=r"sep gives up on map noise.*give a higher thresh"):
        find(rw.SkyMap.from_array(noise, name="noise"), "sep", thresh=-5.0)


def test_pybdsf_as_the_paper_runs_it(capfd):
    pytest.importorskip("bdsf")
    sky = rw.simulate("sdc1-b1-1000h", size=96, seed=3)  # it fits three sources a second
    found = find(sky, "pybdsf")
    truth = matching.truth_table(sky)
    row = matching.score_finder(found, truth, least=5).loc["all"]
    assert row["reliability"] > 0.85 and row["completeness"] > 0.35
    x, y = np.rint(found.table[["x", "y"]].to_numpy()).astype(int).T
    assert (found.masks[y, x] == found.table["island"]).mean() > 0.95
    pairs = matching.match_sources(found.table, truth, factor=None)
    ratio = found.table["flux"].to_numpy()[pairs["found"]] / truth["flux"].to_numpy()[pairs["truth"]]
    assert np.median(ratio) == pytest.approx(1.1, abs=0.15)
    assert capfd.readouterr() == ("", "") and not logging.getLogger("PyBDSF").handlers


def test_pybdsf_islands_of_a_constant_noise():
    pytest.importorskip("bdsf")
    sky = rw.simulate("cosmic-web", size=100, seed=1)
    low, high = (find(sky, "cosmodeep-islands", snr=snr) for snr in (1.5, 3.0))
    assert len(low) > len(high) > 0
    assert np.bincount(high.masks.ravel())[1:].min() >= 9
    assert sky.pixels[high.masks > 0].min() > 0.99 * 3 * 10e-6
    assert len(find(sky, "cosmodeep-islands", snr=1000)) == 0


def test_pybdsf_says_what_it_lacks(monkeypatch):
    pytest.importorskip("bdsf")
    with pytest.raises(MapError, match="has no beam"):
        find(rw.SkyMap.from_array(np.zeros((80, 80), np.float32), name="bare"), "pybdsf")
    monkeypatch.setitem(sys.modules, "bdsf", None)
    with pytest.raises(MissingExtraError, match=r"radiowidgets\[finders\]"):
        find(noisy_sky(), "pybdsf")
