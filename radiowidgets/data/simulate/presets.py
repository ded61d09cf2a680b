"""What a simulated survey looks like: the numbers behind each name that `simulate` knows."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from radiowidgets.data.simulate.instrument import Array
from radiowidgets.errors import ParameterError, check_one_of


@dataclass(frozen=True)
class Rare:
    """Objects that are put in on top of the populations.

    Parameters
    ----------
    density : objects per square degree of a mock map
    at_least : so many in every map, however small: a mock map of half a degree would else hold none
    size : range of largest angular sizes, arcsec; small sizes are more frequent (uniform in its logarithm)
    snr : range of mean surface brightness, in rms per beam
    observed : objects per square degree of the sky, of that size and brightness in a survey as deep as EMU or (for
        the Galactic ones) SMGPS; orders of magnitude, for what nobody has counted in such maps
    """

    density: float
    at_least: int
    size: tuple[float, float]
    snr: tuple[float, float]
    observed: float = 0.0


#: Rare objects far from the Galactic plane. By default each kind is present in every map, so that there is something
#: to find: up to a thousand times more often than on the sky, of which there is one odd radio circle in some 50 square
#: degrees. ``rare=1`` draws them as often as they are observed, ``rare=10`` ten times so, ``rare=0`` none.
EXTRAGALACTIC_RARE: dict[str, Rare] = {
    "point": Rare(0.0, 1, (0.1, 1.0), (3000.0, 8000.0), 0.6),
    "fr1": Rare(0.8, 1, (90, 260), (6.0, 25.0), 0.3),
    "fr2": Rare(0.8, 1, (90, 260), (6.0, 25.0), 0.5),
    "hybrid": Rare(0.2, 0, (70, 160), (8.0, 30.0), 0.01),
    "wide-angle-tail": Rare(0.6, 1, (90, 200), (10.0, 40.0), 0.1),
    "narrow-angle-tail": Rare(0.6, 1, (80, 180), (10.0, 40.0), 0.1),
    "x-shaped": Rare(0.1, 1, (70, 140), (10.0, 40.0), 0.02),
    "halo": Rare(0.1, 1, (120, 260), (4.0, 8.0), 0.01),
    "relic": Rare(0.1, 1, (150, 320), (4.0, 10.0), 0.005),
    "ring": Rare(0.1, 1, (65, 110), (5.0, 9.0), 0.02),
    "shell": Rare(0.02, 1, (150, 260), (4.0, 7.0), 0.001),
}

#: Nebulae of the Galactic plane, for a beam of 8" (Bordiu et al. 2025 list some 30 extended sources a square degree).
GALACTIC_RARE: dict[str, Rare] = {
    "point": Rare(0.0, 1, (0.1, 1.0), (2000.0, 8000.0), 1.0),
    "hii-region": Rare(12.0, 2, (30, 300), (5.0, 100.0), 12.0),
    "bubble": Rare(6.0, 2, (60, 400), (5.0, 60.0), 6.0),
    "shell": Rare(3.0, 1, (120, 900), (2.0, 20.0), 1.0),
    "filament": Rare(3.0, 1, (120, 600), (3.0, 15.0), 1.0),
    "ring": Rare(1.0, 0, (40, 120), (4.0, 20.0), 0.3),
    "irregular": Rare(4.0, 1, (200, 900), (3.0, 30.0), 4.0),
    "fr1": Rare(1.0, 0, (60, 200), (6.0, 25.0), 0.5),
    "fr2": Rare(2.0, 1, (60, 200), (6.0, 40.0), 1.0),
    "wide-angle-tail": Rare(0.6, 0, (60, 150), (8.0, 30.0), 0.1),
    "halo": Rare(0.05, 0, (90, 200), (3.0, 6.0), 0.01),
}


@dataclass(frozen=True)
class Preset:
    """A survey: frequency in Hz, angles in arcsec unless said otherwise, rms in Jy/beam.

    Parameters
    ----------
    name : str
    frequency, pixel_scale, rms : reference frequency, pixel size, noise at the centre of the map
    beam : (major FWHM, minor FWHM, position angle in degrees)
    array : the interferometer, which shapes noise and artefacts
    faintest : sources are drawn down to this fraction of the rms
    centre : right ascension and declination of the centre, degrees
    edge_rise : rms at the middle of an edge over that at the centre
    largest_scale : diffuse structure beyond it is lost between the shortest spacings (0: none is lost)
    gain_error, phase_error : antenna errors behind the artefacts, relative and in radians
    artefact_snr : sources above this peak over rms get artefacts
    stripes : amplitude of patches of stripes in rms, one patch a square degree and at least one (0: none)
    facet, seam : width of the facets of the mosaic, and the scatter of their noise (0: no seams)
    blank : fraction of the width that the blanked corner takes
    bandwidth, integration : relative channel width and integration time in s, which smear sources off the centre
    primary_beam : FWHM in degrees of the primary beam that the map is not corrected for (0: corrected)
    emission : mean of the diffuse Galactic emission in rms (0: none)
    web : brightness of the cosmic web relative to cosmodeep (0: none)
    compact : compact sources of `galactic.CLASSES` per square degree (0: none; else `simulate` gives a map a band)
    data_numbers : give the infrared maps of WISE in DN with a zero point, as they are distributed, not in MJy/sr
    populations : names of the classes of extragalactic sources, see `POPULATIONS`
    rare : objects on top of the populations, by morphology; or a number, how many times as often as on the sky
    """

    name: str
    frequency: float
    pixel_scale: float
    beam: tuple[float, float, float]
    rms: float
    array: Array = field(default_factory=Array)
    faintest: float = 0.2
    centre: tuple[float, float] = (315.0, -55.0)
    edge_rise: float = 1.7
    largest_scale: float = 1500.0
    gain_error: float = 0.03
    phase_error: float = 0.05
    artefact_snr: float = 300.0
    stripes: float = 0.0
    facet: float = 0.0
    seam: float = 0.0
    blank: float = 0.0
    bandwidth: float = 0.0
    integration: float = 0.0
    primary_beam: float = 0.0
    emission: float = 0.0
    web: float = 0.0
    compact: float = 0.0
    data_numbers: bool = False
    populations: tuple[str, ...] = ("SFG", "SS-AGN", "FS-AGN")
    rare: Mapping[str, Rare] = field(default_factory=lambda: EXTRAGALACTIC_RARE)

    def but(self, **overrides: Any) -> "Preset":
        """Return a preset with some values changed."""
        known = [entry.name for entry in fields(self)]
        for name in overrides:
            if name not in known:
                raise ParameterError(f"no setting {name!r} in a mock sky; choose among {', '.join(known)}.")
        rare = overrides.get("rare")
        if isinstance(rare, int | float):
            if not 0 <= rare < float("inf"):
                raise ParameterError(f"rare is {rare!r}; it must be 0 or more times what is on the sky.")
            kinds = self.rare.items()
            overrides["rare"] = {
                name: replace(kind, density=rare * kind.observed, at_least=0) for name, kind in kinds
            }
        changed = replace(self, **overrides)
        for name in ("frequency", "pixel_scale", "rms", "faintest"):
            if not getattr(changed, name) > 0:
                raise ParameterError(f"{name} is {getattr(changed, name)!r}; it must be above 0.")
        if not min(changed.beam[:2]) >= 2 * changed.pixel_scale:
            raise ParameterError(
                f"the beam is {changed.beam} arcsec and a pixel {changed.pixel_scale}; give the beam at least 2 pixels."
            )
        return changed


# The noise spectra of SDC1 and FIRST follow those measured on maps of each. The noise of `sdc1-*` is the level at which
# the counts of T-RECS give convosource Table 2; the clipped noise of the official maps is about half of it.
# A telescope's noise reaches beyond the restoring beam where that was chosen larger or rounder than the dirty one.
_ASKAP = Array(36, "core", 10.0, -55.0, -26.7, 0.0, 1.1, 0.01, 0.6)
_MEERKAT = Array(64, "core", 8.0, -40.0, -30.7, 0.0, 1.1, 0.004, 0.8)
_VLA_B = Array(27, "y", 0.4, 30.0, 34.1, -0.5, 1.25, 0.02, 0.5)
_SKA = Array(96, "core", 8.0, -30.0, -30.7, -1.5, 1.8, 0.004, 0.95)

#: Telescopes, for ``simulate(..., array=ARRAYS["lofar"])``. Noise spectra and their elongation follow those measured on
#: one or two maps of LoTSS (lofar), SCORPIO (atca: a line of antennas) and MAGPIS (vla-mosaic: short looks, far south).
ARRAYS: dict[str, Array] = {
    "askap": _ASKAP,
    "meerkat": _MEERKAT,
    "vla": _VLA_B,
    "vla-mosaic": Array(27, "y", 0.3, -20.0, 34.1, 0.5, 1.0, 0.0, 0.5, 10.0),
    "ska": _SKA,
    "lofar": Array(60, "core", 4.0, 55.0, 52.9, -1.0, 1.27, 0.004, 0.4, 20.0, 2.0),
    "atca": Array(14, "line", 12.0, -42.0, -30.3, 2.0, 1.8, 0.004, 0.0, 100.0),
}

PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            "emu",
            944e6,
            2.0,
            (15.0, 15.0, 0.0),  # as convolved; a single field of the pilot has (18, 11, 80)
            30e-6,
            _ASKAP,
            stripes=0.5,
            facet=2400.0,
            seam=0.06,
            blank=0.12,
        ),
        Preset(
            "smgps",
            1.28e9,
            1.5,
            (8.0, 8.0, 0.0),
            15e-6,
            _MEERKAT,
            centre=(255.0, -42.0),
            edge_rise=2.0,
            largest_scale=900.0,
            facet=1800.0,
            seam=0.08,
            emission=6.0,
            rare=GALACTIC_RARE,
        ),
        Preset(
            "first",
            1.4e9,
            1.8,
            (5.4, 5.4, 0.0),
            150e-6,
            _VLA_B,
            centre=(180.0, 30.0),
            edge_rise=1.1,
            largest_scale=120.0,
            artefact_snr=80.0,
            facet=1500.0,
            seam=0.04,
        ),
        Preset(
            "cosmic-web",
            1.4e9,
            3.0,
            (10.0, 10.0, 0.0),
            10e-6,
            Array(36, "core", 10.0, -50.0, -26.7, 2.0, 1.1, 0.001, 1.0),
            centre=(30.0, -50.0),
            edge_rise=1.0,
            largest_scale=0.0,
            gain_error=0.0,
            phase_error=0.0,
            web=1.0,
            populations=(),
            rare={},
        ),
        Preset(
            "galactic-7band",
            1.4e9,
            2.0,
            (
                6.0,
                6.0,
                0.0,
            ),  # of FIRST, MAGPIS and CORNISH, which gave most sources of compact-sources Table 3
            200e-6,
            ARRAYS["vla-mosaic"],
            centre=(255.0, -42.0),
            edge_rise=1.0,
            largest_scale=900.0,
            artefact_snr=3000.0,
            emission=1.0,
            compact=600.0,
            faintest=1.0,
            rare={},
        ),
        *(
            Preset(
                f"sdc1-{band}-{hours}",
                frequency,
                scale,
                (fwhm, fwhm, 0.0),
                rms,
                _SKA,
                centre=(0.0, -30.0),
                edge_rise=1.0,
                largest_scale=0.0,
                gain_error=0.0,
                phase_error=0.0,
                primary_beam=field_of_view,
                rare={},
            )
            for band, frequency, scale, fwhm, field_of_view, levels in (
                ("b1", 560e6, 0.6, 1.5, 2.75, {"8h": 5.9e-6, "100h": 1.7e-6, "1000h": 0.78e-6}),
                ("b2", 1.4e9, 0.24, 0.6, 1.1, {"8h": 1.74e-6, "100h": 0.49e-6, "1000h": 0.19e-6}),
            )
            for hours, rms in levels.items()
        ),
    )
}


def preset_named(name: str) -> Preset:
    """The preset of that name."""
    check_one_of("preset", name, PRESETS)
    return PRESETS[name]
