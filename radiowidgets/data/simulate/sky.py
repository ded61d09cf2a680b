"""A mock sky, drawn once and observed as often as wanted."""

from typing import Any

import numpy as np
import pandas as pd
from astropy import units as u
from astropy.io import fits
from astropy.wcs import WCS

from radiowidgets.data.simulate import instrument
from radiowidgets.data.simulate.morphologies import MORPHOLOGIES, placed
from radiowidgets.data.simulate.populations import POPULATIONS
from radiowidgets.data.simulate.presets import Preset, preset_named
from radiowidgets.data.simulate.render import COMPONENT, draw_components
from radiowidgets.data.simulate.truth import Truth
from radiowidgets.errors import ParameterError

# Shares of shapes among the resolved steep-spectrum AGN.
_AGN_SHAPES = {
    "double": 0.28,
    "triple": 0.14,
    "fr2": 0.24,
    "fr1": 0.24,
    "wide-angle-tail": 0.04,
    "narrow-angle-tail": 0.03,
    "hybrid": 0.02,
    "x-shaped": 0.01,
}


def header_of(preset: Preset, size: int) -> fits.Header:
    """A FITS header with a SIN projection, beam, unit and frequency."""
    header = fits.Header()
    scale = preset.pixel_scale / 3600
    entries: list[tuple[str, Any, str]] = [
        ("CTYPE1", "RA---SIN", ""),
        ("CTYPE2", "DEC--SIN", ""),
        ("CRVAL1", preset.centre[0], "deg"),
        ("CRVAL2", preset.centre[1], "deg"),
        ("CRPIX1", (size + 1) / 2, ""),
        ("CRPIX2", (size + 1) / 2, ""),
        ("CDELT1", -scale, "deg"),
        ("CDELT2", scale, "deg"),
        ("CUNIT1", "deg", ""),
        ("CUNIT2", "deg", ""),
        ("RADESYS", "ICRS", ""),
        ("BMAJ", preset.beam[0] / 3600, "deg"),
        ("BMIN", preset.beam[1] / 3600, "deg"),
        ("BPA", preset.beam[2], "deg, east of north"),
        ("BUNIT", "Jy/beam", ""),
        ("RESTFRQ", preset.frequency, "Hz"),
        ("OBJECT", f"mock {preset.name}", "simulated: not an observation"),
    ]
    for key, value, comment in entries:
        header[key] = (value, comment)
    return header


def simulate(preset: str = "emu", size: int = 1024, seed: int = 0, **overrides: Any):
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
        in Jy/beam, with the truth as its attribute ``truth``

    Raises
    ------
    ParameterError
        for an unknown preset or setting, or a size below 64
    """
    from radiowidgets.data.maps import SkyMap

    survey = preset_named(preset).but(**overrides)
    if not isinstance(size, int | np.integer) or size < 64:
        raise ParameterError(f"size is {size!r}; a mock map needs a whole number of at least 64 pixels.")
    array, header, truth = observe(survey, int(size), seed)
    wcs = WCS(header)
    name = f"mock-{survey.name}-{seed}"
    sky = SkyMap.from_array(
        array, name=name, wcs=wcs, beam=_beam(survey), unit=u.Jy / u.beam, frequency=survey.frequency * u.Hz, header=header
    )
    sky.truth = truth
    return sky


def _beam(survey: Preset):
    from radio_beam import Beam

    major, minor, angle = survey.beam
    return Beam(major=major * u.arcsec, minor=minor * u.arcsec, pa=angle * u.deg)


def observe(survey: Preset, size: int, seed: int) -> tuple[np.ndarray, fits.Header, Truth]:
    """Draw the sky, observe it and tell the truth."""
    for_sky, for_array, for_noise, for_errors = np.random.SeedSequence(seed).spawn(4)
    beam = instrument.beam_covariance(*survey.beam, survey.pixel_scale)
    header = header_of(survey, size)
    sources, components, owner = draw_sky(survey, size, np.random.default_rng(for_sky))

    image = np.zeros((size, size), np.float32)
    draw_components(image, components, survey.pixel_scale, beam)
    if survey.largest_scale > 0:
        image = instrument.without_short_spacings(image, survey.largest_scale / survey.pixel_scale)

    rms = rms_map(survey, size)
    coverage = instrument.Coverage(survey.array, beam, np.random.default_rng(for_array))
    noise = instrument.correlated_noise(image.shape, coverage.noise_power(image.shape), for_noise)
    noise *= rms
    image += noise
    rng = np.random.default_rng(for_errors)
    table = describe(sources, survey, header, rms)
    for row in np.flatnonzero(table["snr"].to_numpy() > survey.artefact_snr):
        stamp = coverage.error_beam(rng, survey.gain_error, survey.phase_error)
        instrument.add_stamp(image, stamp.astype(np.float32), table["x"][row], table["y"][row], table["peak"][row])
    blank_border(image, survey.blank)
    return image, header, Truth(table, rms, components, owner)


def rms_map(survey: Preset, size: int) -> np.ndarray:
    """rms in Jy/beam, rising towards the border like the inverse of a Gaussian primary beam."""
    offset = (np.arange(size) - (size - 1) / 2) / (size / 2)
    rise = np.exp(np.log(survey.edge_rise) * offset**2).astype(np.float32)
    return np.float32(survey.rms) * rise * rise[:, None]


def blank_border(image: np.ndarray, fraction: float) -> None:
    """Blank a corner and the border opposite, as at the edge of a mosaic."""
    size = image.shape[0]
    y, x = np.ogrid[:size, :size]
    image[(x + y * 0.6) < fraction * size] = np.nan
    image[:, size - max(1, int(0.02 * fraction * size)) :] = np.nan


def draw_sky(survey: Preset, size: int, rng: np.random.Generator) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Sources of all populations and rare objects in a field: columns, components and the source of each component."""
    extent = size * survey.pixel_scale
    area = (extent / 3600) ** 2
    resolution = float(np.sqrt(survey.beam[0] * survey.beam[1]))
    beam_area = 1.1331 * survey.beam[0] * survey.beam[1]
    columns: dict[str, list] = {name: [] for name in ("x", "y", "flux", "alpha", "size", "theta", "population", "morphology")}
    parts, owners, count = [], [], 0

    def keep(x, y, flux, alpha, extent_, theta, population, morphology):
        nonlocal count
        n = len(x)
        for name, values in zip(columns, (x, y, flux, alpha, extent_, theta), strict=False):
            columns[name].append(np.asarray(values, dtype=float))
        columns["population"].append(np.full(n, population, object))
        columns["morphology"].append(np.broadcast_to(np.asarray(morphology, object), n))
        count += n
        return np.arange(count - n, count)

    for name, population in POPULATIONS.items():
        drawn = population.draw(rng, area, survey.faintest * survey.rms, survey.frequency)
        n = drawn["flux"].size
        x, y = rng.uniform(-0.5, size - 0.5, (2, n)) * survey.pixel_scale
        theta = rng.uniform(0, np.pi, n)
        resolved = (drawn["size"] > 0.6 * resolution) & (name != "FS-AGN")
        shape = np.full(n, "point", object)
        if name == "SS-AGN":
            bright = drawn["flux"] > 8 * survey.rms
            shape[resolved] = "double"
            chosen = rng.choice(list(_AGN_SHAPES), n, p=list(_AGN_SHAPES.values()))
            shape[resolved & bright] = chosen[resolved & bright]
        elif name == "SFG":
            shape[resolved] = "disc"
        rows = keep(x, y, drawn["flux"], drawn["alpha"], drawn["size"], theta, name, shape)
        small = ~resolved
        simple = np.zeros(int(small.sum()), COMPONENT)
        width = np.minimum(drawn["size"], resolution)[small] * (0.7 if name == "SS-AGN" else 1.0)
        for field_name, values in (
            ("x", x[small]),
            ("y", y[small]),
            ("flux", drawn["flux"][small]),
            ("major", width),
            ("minor", width * rng.uniform(0.3, 1.0, simple.size)),
            ("theta", theta[small]),
            ("alpha", drawn["alpha"][small]),
        ):
            simple[field_name] = values
        parts.append(simple)
        owners.append(rows[small])
        for i in np.flatnonzero(resolved):
            pieces = placed(MORPHOLOGIES[shape[i]](rng, drawn["size"][i]), x[i], y[i], drawn["flux"][i], theta[i])
            # The whole keeps the index drawn for it; cores stay flatter and tails steeper than the rest.
            pieces["alpha"] += drawn["alpha"][i] - np.average(pieces["alpha"], weights=pieces["flux"])
            parts.append(pieces)
            owners.append(np.full(pieces.size, rows[i]))

    for morphology, rare in survey.rare.items():
        n = max(rare.at_least, int(rng.poisson(rare.density * area)))
        for _ in range(n):
            # Extended objects of a small map stay whole and within it.
            largest = min(rng.uniform(*rare.size), 0.4 * extent)
            x, y = rng.uniform(0.5 * largest, extent - 0.5 * largest, 2)
            theta = rng.uniform(0, np.pi)
            shape = MORPHOLOGIES[morphology](rng, largest)
            brightness = rng.uniform(*rare.snr) * survey.rms
            flux = brightness * _filled_area(shape, resolution) / beam_area
            alpha = float(np.average(shape["alpha"], weights=shape["flux"]))
            row = keep([x], [y], [flux], [alpha], [largest], [theta], "RARE", [morphology])
            pieces = placed(shape, x, y, flux, theta)
            parts.append(pieces)
            owners.append(np.full(pieces.size, row[0]))
    joined = {name: np.concatenate(values) for name, values in columns.items()}
    return joined, np.concatenate(parts), np.concatenate(owners)


def _filled_area(shape: np.ndarray, resolution: float) -> float:
    """Solid angle in square arcsec over which an object spreads its flux: total squared over the sum of squares."""
    step = resolution / 2
    major = shape["major"].max()
    x0, y0 = shape["x"].min() - major, shape["y"].min() - major
    nx = int((shape["x"].max() + major - x0) / step) + 8
    ny = int((shape["y"].max() + major - y0) / step) + 8
    stamp = np.zeros((ny, nx), np.float32)
    moved = shape.copy()
    moved["x"] -= x0 - 3 * step
    moved["y"] -= y0 - 3 * step
    sigma2 = (resolution / 2.3548 / step) ** 2
    draw_components(stamp, moved, step, (sigma2, sigma2, 0.0))
    return float(stamp.sum(dtype=float) ** 2 / np.sum(stamp.astype(float) ** 2) * step**2)


def describe(sources: dict[str, np.ndarray], survey: Preset, header: fits.Header, rms: np.ndarray) -> pd.DataFrame:
    """The source table of the truth."""
    x, y = sources["x"] / survey.pixel_scale, sources["y"] / survey.pixel_scale
    ra, dec = WCS(header).wcs_pix2world(x, y, 0)
    column = np.clip(np.rint(x).astype(int), 0, rms.shape[1] - 1)
    row = np.clip(np.rint(y).astype(int), 0, rms.shape[0] - 1)
    major, minor = survey.beam[:2]
    size = np.where(sources["morphology"] == "point", np.minimum(sources["size"], np.sqrt(major * minor)), sources["size"])
    peak = sources["flux"] * np.sqrt(major * minor / np.hypot(major, 0.7 * size) / np.hypot(minor, 0.5 * size))
    local = rms[row, column]
    return pd.DataFrame(
        {
            "id": np.arange(x.size),
            "ra": ra,
            "dec": dec,
            "x": x,
            "y": y,
            "flux": sources["flux"],
            "peak": peak,
            "rms": local,
            "snr": peak / local,
            "population": sources["population"],
            "morphology": sources["morphology"],
            "size": sources["size"],
            "pa": np.degrees(sources["theta"] + np.pi / 2) % 180,
            "alpha": sources["alpha"],
        }
    )
