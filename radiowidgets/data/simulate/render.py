"""Gaussian components drawn on a map after convolution with the beam."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields

import numpy as np
from numba import njit
from numpy.typing import ArrayLike

#: One Gaussian component: offsets and FWHM in arcsec (x to the right, y up), flux density in Jy at the reference
#: frequency, theta in radians from +x anticlockwise, alpha with S proportional to nu^alpha.
COMPONENT = np.dtype(
    [
        ("x", "f8"),
        ("y", "f8"),
        ("flux", "f8"),
        ("major", "f8"),
        ("minor", "f8"),
        ("theta", "f8"),
        ("alpha", "f8"),
    ]
)

FWHM_PER_SIGMA = 2.0 * np.sqrt(2.0 * np.log(2.0))
_REACH = 5.0  # sigma: what lies outside carries 4e-6 of the flux
_BAND = 128  # rows drawn by one task; fixed, so that the sums do not depend on the number of threads


def covariance(
    major: ArrayLike, minor: ArrayLike, theta: ArrayLike
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Covariance (xx, yy, xy) of a Gaussian from its FWHM axes and the angle of its major axis from +x."""
    a = (np.asarray(major) / FWHM_PER_SIGMA) ** 2
    b = (np.asarray(minor) / FWHM_PER_SIGMA) ** 2
    cos, sin = np.cos(theta), np.sin(theta)
    return a * cos**2 + b * sin**2, a * sin**2 + b * cos**2, (a - b) * cos * sin


@njit(nogil=True, cache=True)
def _draw_rows(image, top, order, x, y, peak, qxx, qyy, qxy, half_x, half_y):
    """Add the Gaussians listed in `order` to rows of an image whose first row is row `top` of the map."""
    rows, columns = image.shape
    for k in order:
        first = max(int(np.ceil(y[k] - half_y[k])), top)
        last = min(int(np.floor(y[k] + half_y[k])), top + rows - 1)
        left = max(int(np.ceil(x[k] - half_x[k])), 0)
        right = min(int(np.floor(x[k] + half_x[k])), columns - 1)
        if right < left:
            continue
        step = np.exp(-qxx[k])
        for j in range(first, last + 1):
            dy = j - y[k]
            # Only the chord inside the ellipse is drawn.
            rest = _REACH * _REACH - dy * dy * (qyy[k] - qxy[k] * qxy[k] / qxx[k])
            if rest <= 0.0:
                continue
            middle = x[k] - dy * qxy[k] / qxx[k]
            chord = np.sqrt(rest / qxx[k])
            i0 = max(int(np.ceil(middle - chord)), left)
            i1 = min(int(np.floor(middle + chord)), right)
            if i1 < i0:
                continue
            # exp of a quadratic by recurrence: two multiplications a pixel instead of one exponential.
            dx = i0 - x[k]
            value = peak[k] * np.exp(-0.5 * (qxx[k] * dx * dx + 2.0 * qxy[k] * dx * dy + qyy[k] * dy * dy))
            ratio = np.exp(-(qxx[k] * (dx + 0.5) + qxy[k] * dy))
            for i in range(i0, i1 + 1):
                image[j - top, i] += value
                value *= ratio
                ratio *= step


@njit(nogil=True, cache=True)
def _peaks(start, x, y, peak, qxx, qyy, qxy):
    """Largest brightness of each source at the centre of one of its components; `start` are the first rows."""
    result = np.zeros(start.size - 1)
    for source in range(start.size - 1):
        for i in range(start[source], start[source + 1]):
            total = 0.0
            for k in range(start[source], start[source + 1]):
                dx, dy = x[i] - x[k], y[i] - y[k]
                total += peak[k] * np.exp(
                    -0.5 * (qxx[k] * dx * dx + 2.0 * qxy[k] * dx * dy + qyy[k] * dy * dy)
                )
            result[source] = max(result[source], total)
    return result


@dataclass(frozen=True)
class Drawable:
    """Components ready to be drawn: pixels, Jy/beam and inverse covariances, after convolution with the beam."""

    x: np.ndarray
    y: np.ndarray
    peak: np.ndarray
    xx: np.ndarray
    yy: np.ndarray
    xy: np.ndarray

    @classmethod
    def of(
        cls,
        components: np.ndarray,
        pixel_scale: float,
        beam: tuple[float, float, float],
        flux: np.ndarray | None = None,
        smearing: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None,
    ) -> "Drawable":
        """Convolve `COMPONENT` records, x and y in arcsec from the centre of pixel (0, 0).

        Parameters
        ----------
        components : the records
        pixel_scale : arcsec
        beam : covariance (xx, yy, xy) of the beam in pixels squared
        flux : flux densities in Jy that stand in for those of the records
        smearing : covariances (xx, yy, xy) in pixels squared to be added, one a component
        """
        own = covariance(components["major"], components["minor"], components["theta"])
        xx, yy, xy = (part / pixel_scale**2 + of_beam for part, of_beam in zip(own, beam, strict=True))
        if smearing is not None:
            xx, yy, xy = xx + smearing[0], yy + smearing[1], xy + smearing[2]
        flux = components["flux"] if flux is None else flux
        peak = flux * np.sqrt((beam[0] * beam[1] - beam[2] ** 2) / (xx * yy - xy * xy))
        return cls(components["x"] / pixel_scale, components["y"] / pixel_scale, peak, xx, yy, xy)

    def __getitem__(self, rows: np.ndarray) -> "Drawable":
        return Drawable(*(getattr(self, entry.name)[rows] for entry in fields(self)))

    def _inverse(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        determinant = self.xx * self.yy - self.xy**2
        return self.yy / determinant, self.xx / determinant, -self.xy / determinant

    def peaks(self, start: np.ndarray) -> np.ndarray:
        """Peak brightness in Jy/beam of sources whose components are rows start[i] to start[i + 1]."""
        return _peaks(start, self.x, self.y, self.peak, *self._inverse())

    def draw(self, image: np.ndarray, threads: int = 2) -> None:
        """Add the components to a float32 map in Jy/beam, in place; the result does not depend on `threads`."""
        half_x, half_y = _REACH * np.sqrt(self.xx), _REACH * np.sqrt(self.yy)
        inverse = self._inverse()
        tops = np.arange(0, image.shape[0], _BAND)
        first = np.searchsorted(tops, self.y - half_y, side="right") - 1
        last = np.searchsorted(tops, self.y + half_y, side="right") - 1

        def draw_band(band: int) -> None:
            order = np.flatnonzero((first <= band) & (last >= band))
            rows = image[tops[band] : tops[band] + _BAND]
            _draw_rows(rows, tops[band], order, self.x, self.y, self.peak, *inverse, half_x, half_y)

        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(draw_band, range(len(tops))))
