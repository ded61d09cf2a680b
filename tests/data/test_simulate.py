"""Mock skies: what is drawn is what was asked for, and the truth knows it."""

import numpy as np
import pytest
from astropy.wcs import WCS

from radiowidgets.data.simulate.presets import PRESETS, preset_named
from radiowidgets.data.simulate.sky import observe
from radiowidgets.errors import ParameterError


@pytest.fixture(scope="module")
def emu():
    """A small map, its header and its truth."""
    return observe(preset_named("emu"), 512, 1)


def test_the_same_seed_gives_the_same_bytes(emu):
    array, _, truth = observe(preset_named("emu"), 512, 1)
    assert array.tobytes() == emu[0].tobytes()
    assert truth.sources.equals(emu[2].sources)
    other, _, _ = observe(preset_named("emu"), 512, 2)
    assert other.tobytes() != array.tobytes()


def test_header_places_the_sources(emu):
    _, header, truth = emu
    x, y = WCS(header).wcs_world2pix(truth.sources["ra"], truth.sources["dec"], 0)
    np.testing.assert_allclose(x, truth.sources["x"], atol=1e-6)
    np.testing.assert_allclose(y, truth.sources["y"], atol=1e-6)
    assert header["BUNIT"] == "Jy/beam"
    assert header["CTYPE1"] == "RA---SIN"


def test_a_small_map_holds_peculiar_objects(emu):
    shapes = set(emu[2].sources.query("population == 'RARE'")["morphology"])
    assert {"ring", "shell", "relic", "wide-angle-tail"} <= shapes


def test_border_is_blank_and_rms_rises(emu):
    array, _, truth = emu
    assert np.isnan(array[0, 0])
    assert 0.0 < np.isnan(array).mean() < 0.2
    assert truth.rms[256, 256] == pytest.approx(30e-6, rel=0.01)
    assert truth.rms[256, 0] > 1.5 * truth.rms[256, 256]


def test_unknown_names_are_refused():
    with pytest.raises(ParameterError, match="nvss"):
        preset_named("nvss")
    with pytest.raises(ParameterError, match="colour"):
        PRESETS["emu"].but(colour=1)
    with pytest.raises(ParameterError, match="-1"):
        PRESETS["emu"].but(rms=-1)
