"""What an interferometer does to the sky: uv coverage, correlated noise, missing spacings and calibration errors."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import fft

from radiowidgets.data.simulate.render import covariance

THREADS = 2  # pocketfft gives the same bits for any number of threads
_BLOCK = (
    1 << 20
)  # pixels of noise drawn by one generator; fixed, so that the noise does not depend on threads


def beam_covariance(bmaj: float, bmin: float, bpa: float, pixel_scale: float) -> tuple[float, float, float]:
    """Covariance (xx, yy, xy) in pixels of a beam of FWHM `bmaj` x `bmin` arcsec at `bpa` degrees east of north.

    East is towards smaller x, as in any map with CDELT1 < 0.
    """
    xx, yy, xy = covariance(bmaj / pixel_scale, bmin / pixel_scale, np.radians(bpa) + np.pi / 2)
    return float(xx), float(yy), float(xy)


def frequencies(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Spatial frequencies (v column, u row) in cycles per pixel of a real FFT."""
    return fft.fftfreq(shape[0])[:, None].astype(np.float32), fft.rfftfreq(shape[1])[None, :].astype(
        np.float32
    )


def beam_transfer(shape: tuple[int, int], beam: tuple[float, float, float]) -> np.ndarray:
    """Fourier transform of a Gaussian beam of unit flux on the grid of a real FFT."""
    v, u = frequencies(shape)
    xx, yy, xy = beam
    return np.exp(-2 * np.pi**2 * (xx * u * u + yy * v * v + 2 * xy * u * v)).astype(np.float32)


@dataclass(frozen=True)
class Array:
    """An interferometer, as far as a map shows it.

    Parameters
    ----------
    antennas : number of antennas
    layout : 'core' (a dense core and three loose spiral arms, as ASKAP, MeerKAT and SKA1-Mid), 'y' (three straight
        arms, as the VLA) or 'line' (east to west, as ATCA: spokes and rings round every bright source)
    hours : length of the track; a snapshot leaves the arms of a Y as spokes round bright sources
    declination : of the field, degrees
    latitude : of the site, degrees
    robust : weighting from -2 (uniform) to 2 (natural), in the sense of Briggs (1995)
    longest : longest baseline in units of 1 / beam FWHM
    shortest : shortest baseline in the same unit: larger structures are lost
    taper : how far the weights follow the beam: 1 tapers the visibilities until the dirty beam is the restoring beam,
        less leaves more noise on scales below the beam, as in maps that are restored with a rounder or larger beam
    fade : calibration errors fall with distance from their source beyond so many beams, where they are cleaned
    stretch : extent from north to south over that from east to west
    """

    antennas: int = 36
    layout: str = "core"
    hours: float = 8.0
    declination: float = -50.0
    latitude: float = -27.0
    robust: float = 0.0
    longest: float = 1.1
    shortest: float = 0.008
    taper: float = 0.6
    fade: float = 6.0
    stretch: float = 1.0

    def positions(self, rng: np.random.Generator) -> np.ndarray:
        """East and north of each antenna, in units of the longest baseline."""
        n = self.antennas
        if self.layout == "y":
            arm = np.arange(n) % 3
            radius = 0.577 * ((np.arange(n) // 3 + 1) / np.ceil(n / 3)) ** 1.716
            angle = np.radians(5.0 + 120.0 * arm)
        elif self.layout == "line":
            return np.stack([np.sort(rng.uniform(-0.5, 0.5, n)), 0.002 * rng.normal(size=n)], axis=1)
        else:
            radius = 0.5 * rng.uniform(0.02, 1.0, n) ** 1.3
            spiral = 2 * np.pi / 3 * (np.arange(n) % 3) + 2.5 * radius
            angle = spiral + rng.normal(size=n) * np.where(radius < 0.1, 2.0, 0.35)
        return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)

    def tracks(self, rng: np.random.Generator, steps: int = 48) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """u, v (in units of the longest baseline, shape (baselines, steps)) and the antenna pair of each baseline."""
        east, north = self.positions(rng).T * np.array([[1.0], [self.stretch]])
        latitude, declination = np.radians(self.latitude), np.radians(self.declination)
        first, second = np.triu_indices(self.antennas, 1)
        de, dn = (east[second] - east[first])[:, None], (north[second] - north[first])[:, None]
        x, y, z = -np.sin(latitude) * dn, de, np.cos(latitude) * dn
        hour = np.linspace(-0.5, 0.5, steps) * np.radians(15.0 * self.hours)
        u = np.sin(hour) * x + np.cos(hour) * y
        v = -np.sin(declination) * (np.cos(hour) * x - np.sin(hour) * y) + np.cos(declination) * z
        return u, v, np.stack([first, second])


class Coverage:
    """The uv plane of an array, gridded for stamps of `size` pixels at the map's pixel scale.

    Visibilities are gridded into a density D(u, v) and weighted by B^t / (D + e), where B is the transfer function
    of the restoring beam and t the taper: e = 0 is uniform weighting, a large e natural weighting, like the robust
    parameter of Briggs (1995). The noise of the map then has the power spectrum B^2t D / (D + e)^2, and vanishes on
    scales larger than the shortest baseline sees.
    """

    def __init__(
        self, array: Array, beam: tuple[float, float, float], rng: np.random.Generator, size: int = 512
    ):
        self.size = size
        self.fade = array.fade
        self.fwhm = fwhm = 2.3548 * (beam[0] * beam[1] - beam[2] ** 2) ** 0.25  # pixels
        u, v, self.pairs = array.tracks(rng)
        scale = array.longest / fwhm * size  # cells
        # A map is real: the conjugate half of the plane is folded onto u >= 0.
        flip = u < 0
        u, v = np.where(flip, -u, u) * scale, np.where(flip, -v, v) * scale
        self.conjugate = flip
        columns = size // 2 + 1
        self.cell = (np.rint(v).astype(int) % size) * columns + np.minimum(
            np.rint(u).astype(int), columns - 1
        )
        long_enough = np.hypot(u, v) >= array.shortest / fwhm * size
        self.cell[~long_enough] = -1
        self.shape = (size, columns)
        density = self._gridded(np.ones(self.cell.shape))
        # Each visibility covers the extent of the dishes, not a point.
        row, column = np.meshgrid(
            np.minimum(np.arange(size), size - np.arange(size)), np.arange(columns), indexing="ij"
        )
        image = fft.irfft2(density, (size, size), workers=THREADS)
        footprint = np.exp(
            -0.5 * ((np.minimum(np.arange(size), size - np.arange(size)) / (0.16 * size)) ** 2)
        )
        density = np.maximum(fft.rfft2(image * footprint * footprint[:, None], workers=THREADS).real, 0.0)
        hole = 1.0 - np.exp(-((np.hypot(row, column) / max(array.shortest / fwhm * size, 0.5)) ** 4))
        density *= hole
        used = density[density > 0.01 * density.max()]
        self.epsilon = float(np.median(used)) * 10.0**array.robust
        self.beam = beam_transfer((size, size), beam)
        self.weight = self.beam**array.taper / (density + self.epsilon)
        self.transfer = density * self.weight
        power = density * self.weight**2
        self.power = power / power.max()

    def _gridded(self, values: np.ndarray) -> np.ndarray:
        good = self.cell >= 0
        cells = self.shape[0] * self.shape[1]
        if np.iscomplexobj(values):
            values = np.where(self.conjugate, values.conj(), values)
            real = np.bincount(self.cell[good], values.real[good], cells)
            return (real + 1j * np.bincount(self.cell[good], values.imag[good], cells)).reshape(self.shape)
        return np.bincount(self.cell[good], values[good], cells).reshape(self.shape)

    def noise_power(self, shape: tuple[int, int], rows: slice = slice(None)) -> np.ndarray:
        """The noise power spectrum on the grid of a real FFT of a map, relative to its maximum; some rows of it."""
        v, u = frequencies(shape)
        v = v[rows]
        height = np.abs(v) * self.size
        sign = np.where(v < 0, -1, 1)
        row = np.minimum(height.astype(int), self.size // 2 - 1)
        column = np.minimum((u * self.size).astype(int), self.shape[1] - 2)
        fy, fx = (height - row).astype(np.float32), (u * self.size - column).astype(np.float32)
        low, high = (sign * row) % self.size, (sign * (row + 1)) % self.size
        power = self.power.astype(np.float32)
        return (
            power[low, column] * (1 - fy) * (1 - fx)
            + power[low, column + 1] * (1 - fy) * fx
            + power[high, column] * fy * (1 - fx)
            + power[high, column + 1] * fy * fx
        )

    def dirty_beam(self) -> np.ndarray:
        """The point-spread function, peak 1, centred on pixel (size // 2, size // 2)."""
        image = fft.fftshift(fft.irfft2(self.transfer, (self.size, self.size), workers=THREADS))
        return image / image.max()

    def error_beam(
        self, rng: np.random.Generator, amplitude: float, phase: float, intervals: int = 5
    ) -> np.ndarray:
        """What calibration errors leave round a source of flux 1 after deconvolution, centred in the stamp.

        Each antenna has a gain that is wrong by `amplitude` (relative) and `phase` (radians), constant within each of
        `intervals` solution intervals: the residual visibilities g_i conj(g_j) - 1 make rings, spokes and arcs. A
        common error of the scale, such as of variable sources or unmodelled spectra, leaves rings of the dirty beam.
        """
        antennas = int(self.pairs.max()) + 1
        steps = self.cell.shape[1]
        gains = rng.normal(size=(2, antennas, intervals)) * np.array([amplitude, phase])[:, None, None]
        gains = (1.0 + gains[0]) * np.exp(1j * gains[1])
        gains = gains[:, np.arange(steps) * intervals // steps]
        residual = gains[self.pairs[0]] * gains[self.pairs[1]].conj() - 1.0
        spectrum = self._gridded(residual) * self.weight
        scale = amplitude * rng.choice((-1.0, 1.0)) * rng.uniform(0.7, 2.5)
        spectrum += scale * (self.transfer - self.beam * (self.transfer.sum() / self.beam.sum()))
        image = fft.irfft2(spectrum, (self.size, self.size), workers=THREADS)
        peak = fft.irfft2(self.transfer, (self.size, self.size), workers=THREADS)[0, 0]
        return (fft.fftshift(image) / peak * self._window).astype(np.float32)

    @cached_property
    def _window(self) -> np.ndarray:
        """How errors fade with distance: what lies far out is cleaned, and nothing is left at the stamp's edge."""
        offset = (np.arange(self.size) - self.size // 2) / self.size
        radius = np.hypot(offset, offset[:, None])
        edge = np.cos(0.5 * np.pi * np.clip((radius - 0.25) / 0.24, 0.0, 1.0)) ** 2
        return (edge / np.hypot(1.0, radius * self.size / (self.fade * self.fwhm))).astype(np.float32)


def white_noise(shape: tuple[int, int], seed: np.random.SeedSequence) -> np.ndarray:
    """Unit white noise in float32, block by block from generators of its own."""
    noise = np.empty(shape[0] * shape[1], np.float32)
    blocks = range(0, noise.size, _BLOCK)
    for start, child in zip(blocks, seed.spawn(len(blocks)), strict=True):
        np.random.default_rng(child).standard_normal(out=noise[start : start + _BLOCK], dtype=np.float32)
    return noise.reshape(shape)


def correlated_noise(shape: tuple[int, int], coverage: Coverage, seed: np.random.SeedSequence) -> np.ndarray:
    """Noise of unit variance with the power spectrum of a uv coverage.

    The variance is 1 in expectation: a single map is not rescaled to its own.
    """
    spectrum = fft.rfft2(white_noise(shape, seed), workers=THREADS)
    total = 0.0
    for first in range(0, shape[0], 256):
        rows = slice(first, min(first + 256, shape[0]))
        power = coverage.noise_power(shape, rows)
        # Columns between the first and the last stand for two halves of the plane.
        edges = power[:, 0].sum(dtype=float) + (power[:, -1].sum(dtype=float) if shape[1] % 2 == 0 else 0.0)
        total += 2 * power.sum(dtype=float) - edges
        spectrum[rows] *= np.sqrt(power)
    noise = fft.irfft2(spectrum, shape, workers=THREADS, overwrite_x=True)
    noise /= np.float32(np.sqrt(total / (shape[0] * shape[1])))
    return noise


def without_short_spacings(image: np.ndarray, scale: float) -> np.ndarray:
    """Remove structure larger than about `scale` pixels: bright emission then sits in a negative bowl.

    The sky is multiplied in the uv plane by 1 - exp(-(pi scale q / 2)^2 / ln 2), q in cycles per pixel; the map is
    padded so that nothing wraps round.
    """
    pad = int(min(2 * scale, 512))
    padded = tuple(fft.next_fast_len(n + pad, real=True) for n in image.shape)
    spectrum = fft.rfft2(image, padded, workers=THREADS)
    v, u = frequencies(padded)
    spectrum *= 1.0 - np.exp(-((np.pi * scale / 2) ** 2 / np.log(2)) * (u * u + v * v))
    return fft.irfft2(spectrum, padded, workers=THREADS, overwrite_x=True)[: image.shape[0], : image.shape[1]]


def add_stamp(image: np.ndarray, stamp: np.ndarray, x: float, y: float, factor: float) -> None:
    """Add a stamp whose centre pixel (n // 2, n // 2) falls on the pixel nearest to (x, y), clipped at the border."""
    half = stamp.shape[0] // 2
    left, bottom = round(x) - half, round(y) - half
    x0, y0 = max(left, 0), max(bottom, 0)
    x1, y1 = min(left + stamp.shape[1], image.shape[1]), min(bottom + stamp.shape[0], image.shape[0])
    if x1 > x0 and y1 > y0:
        image[y0:y1, x0:x1] += factor * stamp[y0 - bottom : y1 - bottom, x0 - left : x1 - left]


def smearing_covariance(
    x: np.ndarray, y: np.ndarray, centre: float, bandwidth: float, seconds: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Covariances (xx, yy, xy) in pixels squared of bandwidth and time smearing at (x, y) pixels.

    A channel of relative width `bandwidth` spreads a source over ``bandwidth * r`` along the radius from the phase
    centre, an integration of `seconds` over the angle by which the Earth turns meanwhile, across it; both as Gaussians
    of the variance of that top hat. Flux is kept, the peak falls (Bridle & Schwab 1999, ASP Conf. 180, 371).
    """
    dx, dy = x - centre, y - centre
    radial = bandwidth**2 / 12.0
    across = (seconds * 7.29e-5) ** 2 / 12.0
    return (
        radial * dx * dx + across * dy * dy,
        radial * dy * dy + across * dx * dx,
        (radial - across) * dx * dy,
    )


def primary_beam(size: int, fwhm: float) -> np.ndarray:
    """A Gaussian primary beam of `fwhm` pixels centred on the map, 1 at its centre."""
    offset = np.arange(size) - (size - 1) / 2
    profile = np.exp(-4 * np.log(2) * (offset / fwhm) ** 2).astype(np.float32)
    return profile * profile[:, None]


def facets(
    size: int, width: float, step: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The facets of a mosaic: first pixels of the seams, noise factors and background offsets (in rms) of each."""
    if width <= 0 or step <= 0:
        return np.empty(0, int), np.ones((1, 1), np.float32), np.zeros((1, 1), np.float32)
    seams = np.arange(rng.uniform(0.35, 0.95) * width, size, width).astype(int)
    n = seams.size + 1
    return (
        seams,
        np.exp(step * rng.normal(size=(n, n))).astype(np.float32),
        (2 * step * rng.normal(size=(n, n))).astype(np.float32),
    )


def add_stripes(image: np.ndarray, amplitude: float, n: int, rng: np.random.Generator) -> None:
    """Add `n` patches of parallel stripes, as of a bad baseline or interference; amplitude in units of the map."""
    size = image.shape[0]
    for _ in range(n):
        x0, y0 = rng.uniform(0, size, 2)
        spread = rng.uniform(0.12, 0.3) * min(size, 1200)
        angle, period = rng.uniform(0, np.pi), rng.uniform(8, 40)
        kx, ky = 2 * np.pi * np.cos(angle) / period, 2 * np.pi * np.sin(angle) / period
        left, right = max(int(x0 - 3 * spread), 0), min(int(x0 + 3 * spread) + 1, size)
        bottom, top = max(int(y0 - 3 * spread), 0), min(int(y0 + 3 * spread) + 1, size)
        x, y = np.arange(left, right), np.arange(bottom, top)
        gx = np.exp(-0.5 * ((x - x0) / spread) ** 2 + 1j * kx * x)
        gy = np.exp(-0.5 * ((y - y0) / spread) ** 2 + 1j * (ky * y + rng.uniform(0, 6.3)))
        gy *= amplitude * rng.uniform(0.4, 1.0)
        # The real part of gy gx^T as one product of two thin matrices.
        left_factor = np.stack([gy.real, -gy.imag], axis=1).astype(np.float32)
        image[bottom:top, left:right] += left_factor @ np.stack([gx.real, gx.imag]).astype(np.float32)


def blank_border(image: np.ndarray, fraction: float) -> None:
    """Blank one slanted corner and a thin strip opposite, as at the border of a mosaic."""
    if fraction <= 0:
        return
    ny, nx = image.shape
    y, x = np.ogrid[:ny, :nx]
    corner = int(fraction * ny / 0.6) + 1
    image[:corner][(x + 0.6 * y[:corner]) < fraction * nx] = np.nan
    image[:, nx - max(1, int(0.02 * fraction * nx)) :] = np.nan
