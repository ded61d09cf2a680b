"""Gaussian components drawn on a map after convolution with the beam."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numba import njit

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
    major: np.ndarray, minor: np.ndarray, theta: np.ndarray
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


def draw(
    image: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    flux: np.ndarray,
    sigma: tuple[np.ndarray, np.ndarray, np.ndarray],
    beam: tuple[float, float, float],
    threads: int = 2,
) -> None:
    """Add beam-convolved Gaussians to a map in Jy/beam, in place.

    Parameters
    ----------
    image : (ny, nx) float32 array
    x, y : centres in pixels, 0-based
    flux : integrated flux densities in Jy
    sigma : intrinsic covariances (xx, yy, xy) in pixels squared; zeros for a point source
    beam : covariance (xx, yy, xy) of the beam in pixels squared
    threads : the bands of rows that they draw are fixed, so the result does not depend on it
    """
    xx, yy, xy = (np.asarray(own, dtype=float) + of_beam for own, of_beam in zip(sigma, beam, strict=True))
    determinant = xx * yy - xy * xy
    solid_angle = np.sqrt(beam[0] * beam[1] - beam[2] ** 2)
    peak = np.asarray(flux, dtype=float) * solid_angle / np.sqrt(determinant)
    inverse = yy / determinant, xx / determinant, -xy / determinant
    half_x, half_y = _REACH * np.sqrt(xx), _REACH * np.sqrt(yy)
    x, y = np.ascontiguousarray(x, dtype=float), np.ascontiguousarray(y, dtype=float)

    tops = np.arange(0, image.shape[0], _BAND)
    first = np.searchsorted(tops, y - half_y, side="right") - 1
    last = np.searchsorted(tops, y + half_y, side="right") - 1

    def draw_band(band: int) -> None:
        order = np.flatnonzero((first <= band) & (last >= band))
        rows = image[tops[band] : tops[band] + _BAND]
        _draw_rows(rows, tops[band], order, x, y, peak, *inverse, half_x, half_y)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(draw_band, range(len(tops))))


def draw_components(
    image: np.ndarray,
    components: np.ndarray,
    pixel_scale: float,
    beam: tuple[float, float, float],
    frequency_ratio: float = 1.0,
) -> None:
    """Draw `COMPONENT` records whose x and y are arcsec from the centre of pixel (0, 0).

    `frequency_ratio` is observing over reference frequency: fluxes scale with its alpha-th power.
    """
    sigma = covariance(components["major"], components["minor"], components["theta"])
    flux = components["flux"] * frequency_ratio ** components["alpha"]
    draw(
        image,
        components["x"] / pixel_scale,
        components["y"] / pixel_scale,
        flux,
        tuple(part / pixel_scale**2 for part in sigma),
        beam,
    )
