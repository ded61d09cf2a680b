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
    density : objects per square degree
    at_least : so many in every map, however small: a mock map of half a degree would else hold none
    size : range of largest angular sizes, arcsec
    snr : range of mean surface brightness, in rms per beam
    """

    density: float
    at_least: int
    size: tuple[float, float]
    snr: tuple[float, float]


EXTRAGALACTIC_RARE: dict[str, Rare] = {
    "ring": Rare(0.1, 1, (65, 110), (4.0, 7.0)),
    "shell": Rare(0.02, 1, (170, 260), (3.0, 5.0)),
    "wide-angle-tail": Rare(0.6, 1, (90, 200), (8.0, 30.0)),
    "narrow-angle-tail": Rare(0.6, 1, (80, 180), (8.0, 30.0)),
    "relic": Rare(0.05, 1, (180, 320), (3.0, 6.0)),
    "halo": Rare(0.1, 1, (120, 260), (3.0, 6.0)),
    "x-shaped": Rare(0.1, 1, (70, 140), (8.0, 30.0)),
    "point": Rare(0.0, 1, (1, 1), (1200.0, 3000.0)),
    "hybrid": Rare(0.2, 0, (70, 160), (8.0, 30.0)),
    "fr2": Rare(0.8, 1, (90, 260), (6.0, 25.0)),
    "fr1": Rare(0.8, 1, (90, 260), (6.0, 25.0)),
}


@dataclass(frozen=True)
class Preset:
    """A survey: frequency in Hz, angles in arcsec unless said otherwise, rms in Jy/beam.

    Parameters
    ----------
    beam : (major FWHM, minor FWHM, position angle in degrees)
    faintest : sources are drawn down to this fraction of the rms
    edge_rise : rms at the middle of an edge over that at the centre
    largest_scale : structures beyond this many arcsec are lost between the shortest spacings (0: none is lost)
    gain_error, phase_error : antenna errors behind the artefacts, relative and in radians
    artefact_snr : sources above this peak over rms get artefacts
    stripes : amplitude of scan- or baseline-like stripes in rms
    seams : number of pointings along each axis of the mosaic (1: a single field)
    blank : fraction of the width that blanked corners and borders take
    smearing : relative bandwidth (channel width over frequency) that smears sources radially from the centre
    """

    name: str
    frequency: float
    pixel_scale: float
    beam: tuple[float, float, float]
    rms: float
    array: Array = Array()
    faintest: float = 0.2
    centre: tuple[float, float] = (315.0, -55.0)
    edge_rise: float = 1.7
    largest_scale: float = 1500.0
    gain_error: float = 0.03
    phase_error: float = 0.05
    artefact_snr: float = 150.0
    stripes: float = 0.0
    seams: int = 1
    blank: float = 0.1
    smearing: float = 0.0
    rare: Mapping[str, Rare] = field(default_factory=lambda: EXTRAGALACTIC_RARE)

    def but(self, **overrides: Any) -> "Preset":
        """This preset with some values changed."""
        known = {entry.name for entry in fields(self)}
        for name in overrides:
            if name not in known:
                raise ParameterError(f"no setting {name!r} in a mock sky; choose among {', '.join(sorted(known))}.")
        changed = replace(self, **overrides)
        for name in ("frequency", "pixel_scale", "rms"):
            if not getattr(changed, name) > 0:
                raise ParameterError(f"{name} is {getattr(changed, name)!r}; it must be above 0.")
        return changed


PRESETS: dict[str, Preset] = {
    "emu": Preset(
        "emu", 944e6, 2.0, (18.0, 11.0, 80.0), 30e-6, Array(36, "core", 10.0, -55.0, -26.7, 0.0, 0.85, 0.01), blank=0.12
    ),
}


def preset_named(name: str) -> Preset:
    """The preset of that name."""
    check_one_of("preset", name, PRESETS)
    return PRESETS[name]
