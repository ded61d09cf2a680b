"""A mock sky seen by a telescope: maps of any frequency and epoch, each with its truth."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
import pandas as pd
from astropy import units as u
from astropy.io import fits
from astropy.wcs import WCS

from radiowidgets.data.simulate import instrument
from radiowidgets.data.simulate.cosmicweb import cosmic_web
from radiowidgets.data.simulate.emission import galactic_emission
from radiowidgets.data.simulate.galactic import infrared_maps
from radiowidgets.data.simulate.populations import POPULATIONS
from radiowidgets.data.simulate.presets import Preset, preset_named
from radiowidgets.data.simulate.render import Drawable
from radiowidgets.data.simulate.sky import draw_sources, stream
from radiowidgets.data.simulate.truth import Truth
from radiowidgets.errors import ParameterError

if TYPE_CHECKING:
    from radiowidgets.data.maps import SkyMap

_FIXED = (
    "name",
    "pixel_scale",
    "centre",
    "faintest",
    "rare",
)  # they belong to the sky, not to an observation
_VARIABILITY = 0.15  # scatter of ln(flux) of a flat-spectrum AGN from epoch to epoch


@overload
def simulate(
    preset: Literal["galactic-7band"], size: int = ..., seed: int = ..., **overrides: Any
) -> "dict[str, SkyMap]": ...


@overload
def simulate(preset: str = ..., size: int = ..., seed: int = ..., **overrides: Any) -> "SkyMap": ...


def simulate(
    preset: str = "emu", size: int = 1024, seed: int = 0, **overrides: Any
) -> "SkyMap | dict[str, SkyMap]":
    """A mock survey map with its truth.

    Parameters
    ----------
    preset : name of a survey, see `PRESETS`
    size : width and height of the map in pixels
    seed : the same seed gives the same bytes
    **overrides : any field of `Preset`, such as ``rms=15e-6`` or ``centre=(83.6, 22.0)``

    Returns
    -------
    SkyMap
        in Jy/beam, with what is really in it as its attribute ``truth`` (a `Truth`). For 'galactic-7band' a dict of
        them, 'radio' with the truth and one in MJy/sr (see `Preset.data_numbers`) for each band of `galactic.BANDS`

    Raises
    ------
    ParameterError
        for an unknown preset or setting, or a size below 64
    """
    sky = mock_sky(preset, size, seed, **overrides)
    radio = sky.observe()
    if sky.survey.compact <= 0:
        return radio
    infrared = infrared_maps(
        sky.table,
        sky.components,
        sky.start,
        header_of(sky.survey, sky.size),
        sky.size,
        sky.survey.pixel_scale,
        stream(sky.seed, 10),
        sky.survey.data_numbers,
    )
    return {"radio": radio, **infrared}


def mock_sky(preset: str = "emu", size: int = 1024, seed: int = 0, **overrides: Any) -> "MockSky":
    """A mock sky that can be observed at several frequencies and epochs; parameters as for `simulate`."""
    survey = preset_named(preset).but(**overrides)
    if not isinstance(size, int | np.integer) or size < 64:
        raise ParameterError(f"size is {size!r}; a mock map needs a whole number of at least 64 pixels.")
    return MockSky(survey, int(size), int(seed), *draw_sources(survey, int(size), int(seed)))


@dataclass(frozen=True)
class MockSky:
    """The sources of one field; `observe` makes maps of them.

    Attributes
    ----------
    survey : the settings it was drawn with
    size : width and height in pixels
    seed : of all its random numbers
    table : the sources, x and y in arcsec from the centre of pixel (0, 0), flux in Jy at the survey's frequency
    components : Gaussian components in the order of the table
    start : (n + 1,) the components of row i are start[i] to start[i + 1]
    """

    survey: Preset
    size: int
    seed: int
    table: pd.DataFrame
    components: np.ndarray
    start: np.ndarray

    def observe(self, frequency: float | None = None, epoch: int = 0, **overrides: Any) -> "SkyMap":
        """A map of this sky.

        Parameters
        ----------
        frequency : Hz; the survey's own if None. Every component follows its spectral index.
        epoch : other epochs have other noise and calibration errors, and flat-spectrum AGN vary by 15 %
        **overrides : settings of the instrument, such as ``beam=(9, 9, 0)`` or ``rms=15e-6``

        Returns
        -------
        SkyMap
        """
        for name in overrides:
            if name in _FIXED:
                raise ParameterError(f"{name} belongs to the sky: give it to mock_sky, not to observe.")
        survey = self.survey.but(**overrides, **({} if frequency is None else {"frequency": frequency}))
        pixels, header, truth = _observe(self, survey, epoch)
        return _sky_map(survey, pixels, header, truth)


def _sky_map(survey: Preset, pixels: np.ndarray, header: fits.Header, truth: Truth) -> "SkyMap":
    """A `SkyMap` that carries its truth."""
    from radio_beam import Beam

    from radiowidgets.data.maps import SkyMap

    major, minor, angle = survey.beam
    sky = SkyMap.from_array(
        pixels,
        name=truth.name,
        wcs=WCS(header),
        beam=Beam(major=major * u.arcsec, minor=minor * u.arcsec, pa=angle * u.deg),
        unit=u.Jy / u.beam,
        frequency=survey.frequency * u.Hz,
        header=header,
    )
    sky.truth = truth  # type: ignore[attr-defined]
    return sky


def _observe(sky: MockSky, survey: Preset, epoch: int) -> tuple[np.ndarray, fits.Header, Truth]:
    """Pixels in Jy/beam, header and truth of one observation."""
    size, scale = sky.size, survey.pixel_scale
    beam = instrument.beam_covariance(*survey.beam, scale)
    shape = (size, size)
    header = header_of(survey, size)
    key = (epoch, round(survey.frequency / 1e3))

    gain = _gains(sky, epoch)
    flux = sky.components["flux"] * np.repeat(gain, np.diff(sky.start))
    flux = flux * (survey.frequency / sky.survey.frequency) ** sky.components["alpha"]
    smearing = None
    if survey.bandwidth > 0 or survey.integration > 0:
        x, y = sky.components["x"] / scale, sky.components["y"] / scale
        smearing = instrument.smearing_covariance(x, y, (size - 1) / 2, survey.bandwidth, survey.integration)
    drawable = Drawable.of(sky.components, scale, beam, flux, smearing)
    attenuation = (
        instrument.primary_beam(size, survey.primary_beam * 3600 / scale) if survey.primary_beam > 0 else None
    )

    seams, noisier, offset = instrument.facets(
        size, survey.facet / scale, survey.seam, np.random.default_rng(stream(sky.seed, 4, *key))
    )
    rms = _rms(survey, size, seams, noisier)
    sources = _describe(sky, survey, header, drawable, flux, rms, attenuation)

    image, emission = _diffuse(sky, survey, drawable, beam)
    if attenuation is not None:
        image *= attenuation
    if survey.largest_scale > 0:
        # Deconvolution does not see the mean level of sources below its reach.
        faint = sources["snr"].to_numpy() < 5
        image -= np.float32(flux[np.repeat(faint, np.diff(sky.start))].sum() * _beam_pixels(beam) / size**2)

    coverage = instrument.Coverage(survey.array, beam, np.random.default_rng(stream(sky.seed, 2)))
    noise = instrument.correlated_noise(shape, coverage, stream(sky.seed, 3, *key))
    facet = np.searchsorted(seams, np.arange(size), side="right")
    if seams.size:
        noise += offset[np.ix_(facet, facet)]
    noise *= rms
    image += noise
    del noise
    artefacts = _artefacts(survey, coverage, sources, rms, np.random.default_rng(stream(sky.seed, 5, *key)))
    if artefacts is not None:
        image += artefacts
        artefacts = np.clip(np.divide(artefacts, rms, out=artefacts), -6e4, 6e4).astype(np.float16)
    instrument.blank_border(image, survey.blank)
    name = f"mock-{survey.name}-{sky.seed}"
    if key != (0, round(sky.survey.frequency / 1e3)):
        name += f"-{survey.frequency / 1e6:.0f}MHz-epoch{epoch}"
    truth = Truth(
        name,
        sources,
        rms,
        beam,
        drawable,
        sky.start,
        attenuation,
        artefacts,
        emission,
        _visible(seams, noisier, offset),
        survey.web > 0,
    )
    return image, header, truth


def _beam_pixels(beam: tuple[float, float, float]) -> float:
    return float(2 * np.pi * np.sqrt(beam[0] * beam[1] - beam[2] ** 2))


def _gains(sky: MockSky, epoch: int) -> np.ndarray:
    """By how much each source is brighter than on average: flat-spectrum AGN vary between epochs."""
    gain = np.ones(len(sky.table))
    if epoch:
        variable = (sky.table["population"] == "FS-AGN").to_numpy()
        rng = np.random.default_rng(stream(sky.seed, 6, epoch))
        gain[variable] = np.exp(_VARIABILITY * rng.normal(size=int(variable.sum())))
    return gain


def _rms(survey: Preset, size: int, seams: np.ndarray, noisier: np.ndarray) -> np.ndarray:
    """Rms in Jy/beam, rising towards the border like the inverse of a Gaussian primary beam."""
    offset = (np.arange(size) - (size - 1) / 2) / (size / 2)
    rise = np.exp(np.log(survey.edge_rise) * offset**2).astype(np.float32)
    rms = np.float32(survey.rms) * rise * rise[:, None]
    if seams.size:
        facet = np.searchsorted(seams, np.arange(size), side="right")
        rms *= noisier[np.ix_(facet, facet)]
    return rms


def _visible(seams: np.ndarray, noisier: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Seams across which the level or the noise changes enough to be seen in a frame."""
    seen = []
    for i, seam in enumerate(seams):
        step = max(np.abs(np.diff(offset, axis=axis)).take(i, axis=axis).max() for axis in (0, 1))
        ratio = max(np.abs(np.diff(np.log(noisier), axis=axis)).take(i, axis=axis).max() for axis in (0, 1))
        if step > 0.25 or ratio > 0.15:
            seen.append(seam)
    return np.array(seen, int)


def _diffuse(
    sky: MockSky, survey: Preset, drawable: Drawable, beam: tuple[float, float, float]
) -> tuple[np.ndarray, np.ndarray | None]:
    """The sky in Jy/beam without noise: what is diffuse loses its largest scales, what is compact is deconvolved."""
    size = sky.size
    image = np.zeros((size, size), np.float32)
    emission = None
    if survey.emission > 0:
        emission = galactic_emission(size, survey.pixel_scale, beam, stream(sky.seed, 7))
        emission *= np.float32(
            survey.emission * survey.rms * (survey.frequency / sky.survey.frequency) ** -0.1
        )
    if survey.web > 0:
        web = cosmic_web(size, survey.pixel_scale, beam, stream(sky.seed, 9))
        # From Jy per square arcsec at the preset's frequency; shocks have alpha = -1.
        emission = web * np.float32(
            survey.web * _beam_pixels(beam) * survey.pixel_scale**2 * sky.survey.frequency / survey.frequency
        )
    large = (sky.table["size"] > 4 * np.sqrt(survey.beam[0] * survey.beam[1])).to_numpy()
    large = np.repeat(large, np.diff(sky.start))
    drawable[large].draw(image)
    if survey.largest_scale > 0:
        scale = survey.largest_scale / survey.pixel_scale
        image = instrument.without_short_spacings(image, scale)
        if emission is not None:
            emission = instrument.without_short_spacings(emission - emission.mean(), scale)
    if emission is not None:
        image += emission
    drawable[~large].draw(image)
    return image, emission


def _artefacts(
    survey: Preset,
    coverage: instrument.Coverage,
    sources: pd.DataFrame,
    rms: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray | None:
    """Calibration errors round bright sources, also those just beyond the border, and stripes, in Jy/beam."""
    bright = sources.loc[sources["snr"] > survey.artefact_snr, ["x", "y", "peak"]].to_numpy()
    if survey.gain_error <= 0 and survey.phase_error <= 0:
        bright = bright[:0]
    else:
        bright = np.concatenate([bright, _beyond(survey, rms.shape[0], coverage.size // 2, rng)])
    if not bright.size and survey.stripes <= 0:
        return None
    image = np.zeros_like(rms)
    for x, y, peak in bright:
        stamp = coverage.error_beam(rng, survey.gain_error, survey.phase_error)
        instrument.add_stamp(image, stamp, x, y, peak)
    if survey.stripes > 0:
        area = (rms.shape[0] * survey.pixel_scale / 3600) ** 2
        instrument.add_stripes(image, survey.stripes * survey.rms, max(1, round(area)), rng)
    return image


def _beyond(survey: Preset, size: int, margin: int, rng: np.random.Generator) -> np.ndarray:
    """x, y (pixels) and peak (Jy/beam) of the bright sources that are less than a margin outside the map."""
    area = ((size + 2 * margin) * survey.pixel_scale / 3600) ** 2
    limit = survey.artefact_snr * survey.rms
    flux = np.concatenate(
        [POPULATIONS[name].draw(rng, area, limit, survey.frequency)["flux"] for name in survey.populations]
        or [np.empty(0)]
    )
    x, y = rng.uniform(-margin - 0.5, size + margin - 0.5, (2, flux.size))
    outside = (np.abs(x - (size - 1) / 2) > size / 2) | (np.abs(y - (size - 1) / 2) > size / 2)
    return np.stack([x, y, flux], axis=1)[outside]


def header_of(survey: Preset, size: int) -> fits.Header:
    """A FITS header with a SIN projection, beam, unit and frequency."""
    header = fits.Header()
    scale = survey.pixel_scale / 3600
    entries: list[tuple[str, Any, str]] = [
        ("CTYPE1", "RA---SIN", ""),
        ("CTYPE2", "DEC--SIN", ""),
        ("CRVAL1", survey.centre[0], "deg"),
        ("CRVAL2", survey.centre[1], "deg"),
        ("CRPIX1", (size + 1) / 2, ""),
        ("CRPIX2", (size + 1) / 2, ""),
        ("CDELT1", -scale, "deg"),
        ("CDELT2", scale, "deg"),
        ("CUNIT1", "deg", ""),
        ("CUNIT2", "deg", ""),
        ("RADESYS", "ICRS", ""),
        ("BMAJ", survey.beam[0] / 3600, "deg"),
        ("BMIN", survey.beam[1] / 3600, "deg"),
        ("BPA", survey.beam[2], "deg, east of north"),
        ("BUNIT", "Jy/beam", ""),
        ("RESTFRQ", survey.frequency, "Hz"),
        ("OBJECT", f"mock {survey.name}", "simulated: not an observation"),
    ]
    for key, value, comment in entries:
        header[key] = (value, comment)
    return header


def _describe(
    sky: MockSky,
    survey: Preset,
    header: fits.Header,
    drawable: Drawable,
    flux: np.ndarray,
    rms: np.ndarray,
    attenuation: np.ndarray | None,
) -> pd.DataFrame:
    """The source table of the truth."""
    table = sky.table
    x, y = table["x"].to_numpy() / survey.pixel_scale, table["y"].to_numpy() / survey.pixel_scale
    ra, dec = WCS(header).wcs_pix2world(x, y, 0)
    column = np.clip(np.rint(x).astype(int), 0, sky.size - 1)
    row = np.clip(np.rint(y).astype(int), 0, sky.size - 1)
    factor = np.ones(x.size) if attenuation is None else attenuation[row, column].astype(float)
    peak = drawable.peaks(sky.start) * factor
    local = rms[row, column].astype(float)
    return pd.DataFrame(
        {
            "id": np.arange(x.size),
            "ra": ra,
            "dec": dec,
            "x": x,
            "y": y,
            "flux": np.bincount(np.repeat(np.arange(x.size), np.diff(sky.start)), flux, minlength=x.size),
            "peak": peak,
            "rms": local,
            "snr": peak / local,
            "population": table["population"].astype("category"),
            "morphology": table["morphology"].astype("category"),
            "size": table["size"].to_numpy(),
            # East is to the left: from north through east is anticlockwise.
            "pa": np.degrees(table["theta"].to_numpy() - np.pi / 2) % 180,
            "alpha": table["alpha"].to_numpy(),
            "attenuation": factor,
        }
        # What else is known, such as labels and infrared fluxes of compact sources.
        | {name: table[name] for name in table.columns[8:]}
    )
