"""Matches by position, chance and labels, against astropy and against what was put in."""

import numpy as np
import pandas as pd
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from hypothesis import given, settings
from hypothesis import strategies as st
from radio_beam import Beam

import radiowidgets as rw
from radiowidgets.data.maps import SkyMap
from radiowidgets.data.matches import as_coordinates, as_radius, assign_labels, chance_match_rate, cross_match
from radiowidgets.errors import ParameterError


def table(ra, dec) -> pd.DataFrame:
    return pd.DataFrame({"ra": np.asarray(ra, float), "dec": np.asarray(dec, float)})


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 40), st.integers(0, 40), st.floats(1, 120))
def test_matches_are_those_of_astropy(seed, n, m, radius):
    rng = np.random.default_rng(seed)
    a = table(rng.normal(359.999, 0.02, n) % 360, rng.normal(60, 0.02, n))
    b = table(rng.normal(0.0, 0.02, m) % 360, rng.normal(60, 0.02, m))
    a.loc[a.index[::7], "ra"] = np.nan
    pairs = cross_match(a, b, radius)
    every = cross_match(a, b, radius * u.arcsec, every=True)
    good = np.flatnonzero(np.isfinite(a.ra))
    if len(good) and m:
        first = SkyCoord(a.ra[good], a.dec[good], unit="deg")
        index, apart, _ = first.match_to_catalog_sky(SkyCoord(b.ra, b.dec, unit="deg"))
        near = apart.arcsec < radius
        assert pairs.a.tolist() == good[near].tolist()
        np.testing.assert_allclose(pairs.separation, apart.arcsec[near], rtol=1e-6, atol=1e-6)
        assert pairs.b.tolist() == index[near].tolist()
        assert len(every) == pairs.n_b.sum()
        back, _, _ = SkyCoord(b.ra, b.dec, unit="deg").match_to_catalog_sky(first)
        assert pairs.mutual.tolist() == [
            good[back[row]] == who for who, row in zip(pairs.a, pairs.b, strict=True)
        ]
    else:
        assert len(pairs) == len(every) == 0


def test_radius_of_a_beam():
    assert as_radius(Beam(12 * u.arcsec, 8 * u.arcsec, 0 * u.deg)) == pytest.approx(12)
    assert as_radius(0.5 * u.arcmin) == pytest.approx(30)
    for wrong in (0, -1, np.nan, "x", 3 * u.Jy, None):
        with pytest.raises(ParameterError):
            as_radius(wrong)


def test_positions_that_are_none():
    with pytest.raises(ParameterError, match="no column 'dec'"):
        as_coordinates(pd.DataFrame({"ra": [1.0]}))
    with pytest.raises(ParameterError, match="no numbers"):
        as_coordinates(pd.DataFrame({"ra": ["a"], "dec": [1.0]}))
    assert np.isnan(as_coordinates(table([10, 10], [91, np.nan])).ra.deg).all()
    assert rw.cross_match is cross_match


def crowded(seed: int, n: int, width: float) -> SkyCoord:
    """Sources over 4 x 2 degrees of the Galactic plane, crowded towards its middle; without any real match."""
    rng = np.random.default_rng(seed)
    return SkyCoord(rng.uniform(28, 32, n), rng.normal(0, width, n), unit="deg", frame="galactic").icrs


def test_chance_in_an_even_field_is_the_area():
    rng = np.random.default_rng(0)
    a, b = (table(rng.uniform(0, 2, n), rng.uniform(-1, 1, n)) for n in (2000, 4000))
    a = pd.concat([a, b.iloc[:300]], ignore_index=True)  # 300 real matches
    expected = len(a) * (1 - np.exp(-4000 / 4 * np.pi * (10 / 3600) ** 2))
    for method in ("uniform", "shifted"):
        chance = chance_match_rate(a, b, 10, method=method, trials=30)
        assert chance.expected == pytest.approx(expected, rel=0.1)
        assert chance.matched >= 300 and chance.rate == pytest.approx(chance.expected / chance.matched)
    assert chance == chance_match_rate(a, b, 10, method=method, trials=30)


def test_uniform_positions_underestimate_chance_in_the_plane():
    a, b = crowded(1, 3000, 0.2), crowded(2, 3000, 0.2)
    true = chance_match_rate(a, b, 20).matched  # all are by chance
    shifted = chance_match_rate(a, b, 20)
    wcs_box = chance_match_rate(a, b, 20, method="uniform")
    assert shifted.expected == pytest.approx(true, rel=0.2)
    assert wcs_box.expected < 0.6 * true


def test_uniform_positions_keep_to_the_map():
    sky = rw.simulate("emu", size=128, seed=1)
    pixels = sky.pixels.copy()
    pixels[:, :64] = np.nan
    half = SkyMap.from_array(pixels, header=sky.header)
    x, y = np.random.default_rng(0).uniform(70, 127, (2, 50))
    a = table(*half.pixel_to_sky(x, y))
    empty = table(*half.pixel_to_sky(np.full(1, 10.0), np.full(1, 60.0)))
    full = table(*half.pixel_to_sky(np.full(1, 100.0), np.full(1, 60.0)))
    assert chance_match_rate(a, empty, 40, method="uniform", sky=half).expected == 0
    chance = chance_match_rate(a, full, 40, method="uniform", sky=half, trials=50)
    share = np.pi * (40 / half.pixel_scale) ** 2 / (64 * 128)
    assert chance.expected == pytest.approx(50 * share, rel=0.25)
    assert np.isnan(chance_match_rate(a, empty, 1e-3).rate)
    with pytest.raises(ParameterError, match="method"):
        chance_match_rate(a, empty, 1, method="random")
    with pytest.raises(ParameterError, match="shift"):
        chance_match_rate(a, empty, 1, shift=(1, 2))


def test_labels_and_their_ambiguities():
    step = 1 / 3600
    sources = table([10, 10.1, 10.2, 10.3, 10.3 + 3 * step, 10.5], np.zeros(6)).set_index(
        pd.Index(list("abcdef"))
    )
    hii = table([10 + step, 10.1 + step, 10.3 + 1.5 * step], np.zeros(3))
    rms = table([10.1 - step, 10.2 + step, 10.2 - step, 10.5], np.zeros(4))
    rms["type"] = ["YSO", "YSO", "YSO", None]
    labels = assign_labels(sources, {"HII": hii, "rms": rms}, 2.0, columns={"rms": "type"})
    assert labels.index.tolist() == list("abcdef")
    assert labels.label.where(labels.label.notna(), None).tolist() == ["HII", None, "YSO", None, None, None]
    assert labels.ambiguous.tolist() == [False, True, False, True, True, False]
    assert labels.n_candidates.tolist() == [1, 2, 2, 1, 1, 0]
    assert labels.ambiguities.source.tolist() == [1, 1, 3, 4]
    assert labels.ambiguities.reason.tolist() == ["labels differ"] * 2 + ["shared object"] * 2
    assert set(labels.ambiguities.label) == {"HII", "YSO"}
    assert any("without type" in note for note in labels.notes)
    assert labels.separation.iloc[0] == pytest.approx(1)
    # The order of the catalogues decides nothing.
    again = assign_labels(sources, {"rms": rms, "HII": hii}, 2.0, columns={"rms": "type"})
    assert again.label.fillna("").tolist() == labels.label.fillna("").tolist()
    with pytest.raises(ParameterError, match="no column"):
        assign_labels(sources, {"rms": rms}, 2.0, columns={"rms": "class"})
    with pytest.raises(ParameterError, match="not among"):
        assign_labels(sources, {"rms": rms}, 2.0, columns={"hii": "class"})
    nothing = assign_labels(sources, {}, 2.0)
    assert nothing.label.isna().all() and len(nothing.ambiguities) == 0
    assert len(assign_labels(sources.iloc[:0], {"HII": hii}, 2.0)) == 0
