"""A mock sky: the sources of a field, before any telescope looks at it."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from radiowidgets.data.simulate.galactic import add_compact
from radiowidgets.data.simulate.instrument import beam_covariance
from radiowidgets.data.simulate.morphologies import MORPHOLOGIES, placed
from radiowidgets.data.simulate.populations import POPULATIONS, Population
from radiowidgets.data.simulate.presets import Preset, Rare
from radiowidgets.data.simulate.render import COMPONENT, Drawable

#: Shares of shapes among the resolved steep-spectrum AGN.
AGN_SHAPES = {
    "double": 0.28,
    "triple": 0.14,
    "fr2": 0.24,
    "fr1": 0.24,
    "wide-angle-tail": 0.04,
    "narrow-angle-tail": 0.03,
    "hybrid": 0.02,
    "x-shaped": 0.01,
}

_COLUMNS = ("x", "y", "flux", "alpha", "size", "theta", "population", "morphology")


def stream(seed: int, *key: int) -> np.random.SeedSequence:
    """An independent stream of random numbers for one purpose, named by a key."""
    return np.random.SeedSequence(seed, spawn_key=key)


@dataclass
class Sources:
    """Sources and their components while they are collected.

    Positions are arcsec from the centre of pixel (0, 0), x to the right; fluxes in Jy at the survey's frequency; theta
    anticlockwise from +x, radians.
    """

    tables: list[pd.DataFrame] = field(default_factory=list)
    parts: list[np.ndarray] = field(default_factory=list)
    owners: list[np.ndarray] = field(default_factory=list)
    count: int = 0

    def add(self, **columns: np.ndarray | list | str) -> np.ndarray:
        """Add rows, with at least the columns of `_COLUMNS`; return their numbers."""
        table = pd.DataFrame(columns)[[*_COLUMNS, *(name for name in columns if name not in _COLUMNS)]]
        self.tables.append(table)
        self.count += len(table)
        return np.arange(self.count - len(table), self.count)

    def draw(self, rows: np.ndarray | int, components: np.ndarray) -> None:
        """Give components to rows: one each, or all to a single row."""
        self.parts.append(components)
        self.owners.append(np.broadcast_to(rows, components.size))

    def joined(self) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
        """Table, components in the order of the rows that own them, and the first component of each row."""
        if not self.count:
            empty = {name: pd.Series(dtype=object if name in _COLUMNS[-2:] else float) for name in _COLUMNS}
            return pd.DataFrame(empty), np.empty(0, COMPONENT), np.zeros(1, int)
        table = pd.concat(self.tables, ignore_index=True)
        owner = np.concatenate(self.owners)
        order = np.argsort(owner, kind="stable")
        start = np.searchsorted(owner[order], np.arange(self.count + 1))
        return table, np.concatenate(self.parts)[order], start


def draw_sources(survey: Preset, size: int, seed: int) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """The sources of a field of `size` pixels: populations first, then rare objects.

    Returns
    -------
    table : one row a source (x, y in arcsec, flux, alpha, size, theta, population, morphology)
    components : `COMPONENT` records, in the order of the table
    start : (n + 1,) the components of row i are start[i] to start[i + 1]
    """
    sources = Sources()
    for number, population in enumerate(POPULATIONS.values()):
        if population.name in survey.populations:
            _add_population(sources, population, survey, size, np.random.default_rng(stream(seed, 0, number)))
    if survey.compact > 0:
        fwhm = float(np.sqrt(survey.beam[0] * survey.beam[1]))
        add_compact(sources, survey.compact, size, survey.pixel_scale, fwhm, survey.rms, stream(seed, 8))
    for number, (morphology, rare) in enumerate(survey.rare.items()):
        _add_rare(sources, morphology, rare, survey, size, np.random.default_rng(stream(seed, 1, number)))
    return sources.joined()


def _add_population(
    sources: Sources, population: Population, survey: Preset, size: int, rng: np.random.Generator
) -> None:
    """Draw one class: small sources as one Gaussian each, resolved ones by their morphology."""
    resolution = float(np.sqrt(survey.beam[0] * survey.beam[1]))
    area = (size * survey.pixel_scale / 3600) ** 2
    drawn = population.draw(rng, area, survey.faintest * survey.rms, survey.frequency)
    n = drawn["flux"].size
    x, y = rng.uniform(-0.5, size - 0.5, (2, n)) * survey.pixel_scale
    theta = rng.uniform(0, np.pi, n)
    flux, alpha, extent = drawn["flux"], drawn["alpha"], drawn["size"]
    resolved = extent > 0.6 * resolution
    shape = np.full(n, "point", object)
    if population.name == "SFG":
        shape[resolved] = "disc"
    elif population.name == "SS-AGN":
        shape[resolved] = "double"
        bright = resolved & (flux > 8 * survey.rms)
        shape[bright] = rng.choice(list(AGN_SHAPES), int(bright.sum()), p=list(AGN_SHAPES.values()))
    rows = sources.add(
        x=x,
        y=y,
        flux=flux,
        alpha=alpha,
        size=extent,
        theta=theta,
        population=population.name,
        morphology=shape,
    )
    small = shape == "point"
    blobs = np.zeros(int(small.sum()), COMPONENT)
    blobs["x"], blobs["y"], blobs["flux"], blobs["theta"] = x[small], y[small], flux[small], theta[small]
    blobs["alpha"] = alpha[small]
    blobs["major"] = extent[small]
    blobs["minor"] = extent[small] * rng.uniform(0.3, 1.0, blobs.size)
    sources.draw(rows[small], blobs)
    for i in np.flatnonzero(~small):
        pieces = placed(MORPHOLOGIES[shape[i]](rng, extent[i]), x[i], y[i], flux[i], theta[i])
        # The whole keeps the index drawn for it; cores stay flatter and tails steeper than the rest.
        pieces["alpha"] += alpha[i] - np.average(pieces["alpha"], weights=pieces["flux"])
        sources.draw(rows[i], pieces)


def _add_rare(
    sources: Sources, morphology: str, rare: Rare, survey: Preset, size: int, rng: np.random.Generator
) -> None:
    """Draw rare objects, whole within the map, with the surface brightness asked for."""
    extent = size * survey.pixel_scale
    resolution = float(np.sqrt(survey.beam[0] * survey.beam[1]))
    beam_area = 1.1331 * survey.beam[0] * survey.beam[1]
    for _ in range(max(rare.at_least, int(rng.poisson(rare.density * (extent / 3600) ** 2)))):
        largest = min(float(np.exp(rng.uniform(*np.log(rare.size)))), 0.3 * extent)
        shape = MORPHOLOGIES[morphology](rng, largest)
        margin = min(0.6 * largest + 2 * resolution, 0.4 * extent)
        x, y = rng.uniform(margin, extent - margin, 2)
        theta = float(rng.uniform(0, 2 * np.pi))
        brightness = float(np.exp(rng.uniform(*np.log(rare.snr)))) * survey.rms
        flux = brightness * filled_area(shape, resolution) / beam_area
        if morphology == "point":
            flux = brightness
        row = sources.add(
            x=[x],
            y=[y],
            flux=[flux],
            alpha=[float(np.average(shape["alpha"], weights=shape["flux"]))],
            size=[largest],
            theta=[theta],
            population="RARE",
            morphology=morphology,
        )
        sources.draw(row[0], placed(shape, x, y, flux, theta))


def filled_area(shape: np.ndarray, resolution: float) -> float:
    """Solid angle in square arcsec over which an object spreads: the square of its flux over the sum of squares."""
    step = resolution / 2
    reach = 2 * max(float(shape["major"].max()), resolution)
    moved = shape.copy()
    moved["x"] -= shape["x"].min() - reach
    moved["y"] -= shape["y"].min() - reach
    stamp = np.zeros([int((moved[axis].max() + reach) / step) + 1 for axis in ("y", "x")], np.float32)
    Drawable.of(moved, step, beam_covariance(resolution, resolution, 0.0, step)).draw(stamp, threads=1)
    return float(stamp.sum(dtype=float) ** 2 / np.sum(np.square(stamp, dtype=float)) * step**2)
