"""The cosmic web in synchrotron light: shocks round clusters and along filaments, as in cosmodeep section 3."""

import numpy as np
from numba import njit
from scipy import fft, ndimage

from radiowidgets.data.simulate.instrument import THREADS, beam_transfer, frequencies, white_noise

#: Surface brightness of the threshold f_th = 1 of cosmodeep section 3.3, Jy per square arcsec.
THRESHOLD = 1e-7

#: Slices along the line of sight: angular scale of their structure relative to the field, and dimming.
_SLICES = ((0.55, 1.0), (0.28, 0.35), (0.14, 0.12))

_SLOPE = -1.6  # of the power spectrum of the density, within a slice
_COLLAPSE = 1.15  # rms of the linear density contrast: above 1 particle paths cross and caustics form


def _displaced_density(size: int, scale: float, seed: np.random.SeedSequence) -> np.ndarray:
    """Density of particles displaced from a grid by the approximation of Zel'dovich (1970), mean 1.

    In two dimensions, periodic; `scale` is the largest structure in pixels. Sheets and knots form where paths cross.
    """
    spectrum = fft.rfft2(white_noise((size, size), seed), workers=THREADS)
    v, u = frequencies((size, size))
    k2 = u * u + v * v
    spectrum *= (k2 + 1 / scale**2) ** (_SLOPE / 4) * np.exp(-0.5 * k2 * (2 * np.pi * scale / 45) ** 2)
    k2[0, 0] = 1.0
    spectrum[0, 0] = 0.0
    contrast = fft.irfft2(spectrum, (size, size), workers=THREADS).std()
    spectrum *= _COLLAPSE / contrast
    shift_x, shift_y = (
        fft.irfft2(1j * frequency * spectrum / (2 * np.pi * k2), (size, size), workers=THREADS)
        for frequency in (u, v)
    )
    return _deposited(shift_x, shift_y)


@njit(nogil=True, cache=True)
def _deposited(shift_x, shift_y):
    """Number of particles in each pixel after a shift, shared between the four nearest pixels; periodic."""
    size = shift_x.shape[0]
    density = np.zeros((size, size), np.float32)
    for i in range(size):
        for j in range(size):
            y, x = i + shift_y[i, j], j + shift_x[i, j]
            row, column = int(np.floor(y)), int(np.floor(x))
            fy, fx = y - row, x - column
            row0, row1, column0, column1 = row % size, (row + 1) % size, column % size, (column + 1) % size
            density[row0, column0] += (1 - fy) * (1 - fx)
            density[row0, column1] += (1 - fy) * fx
            density[row1, column0] += fy * (1 - fx)
            density[row1, column1] += fy * fx
    return density


def cosmic_web(
    size: int, pixel_scale: float, beam: tuple[float, float, float], seed: np.random.SeedSequence
) -> np.ndarray:
    """Surface brightness of shocks in Jy per square arcsec, convolved with the beam, (size, size) float32.

    Shocks shine where the gas is dense and its density jumps: the emissivity is taken as density times the 1.5th power
    of its gradient over a few pixels. Its normalisation was frozen where a quarter of the 40-pixel tiles are
    positive at f_th = 1, as in cosmodeep section 5 (about 600 of 2,500).
    """
    image = np.zeros((size, size), np.float32)
    for child, (scale, dimming) in zip(seed.spawn(len(_SLICES)), _SLICES, strict=True):
        density = _displaced_density(size, scale * min(size, 6000 / pixel_scale), child)
        density = ndimage.gaussian_filter(density, 2.5, mode="wrap")
        jump = np.hypot(*np.gradient(density))
        image += np.float32(dimming) * density * jump**1.5
    spectrum = fft.rfft2(image, workers=THREADS)
    spectrum *= beam_transfer((size, size), beam)
    image = np.maximum(fft.irfft2(spectrum, (size, size), workers=THREADS, overwrite_x=True), 0.0)
    return image * np.float32(_NORMALISATION * THRESHOLD)


_NORMALISATION = 0.355


def positive_tiles(
    brightness: np.ndarray, tile: int = 40, f_th: float = 1.0, n_pixels: int = 40
) -> np.ndarray:
    """Which tiles of a noise-free map hold signal (cosmodeep section 3.3).

    Parameters
    ----------
    brightness : (ny, nx) array, Jy per square arcsec
    tile : width of a tile in pixels; what is left over at the far edges is not used
    f_th : threshold in units of 1e-7 Jy per square arcsec
    n_pixels : a tile is positive if more pixels than this exceed the threshold

    Returns
    -------
    (ny // tile, nx // tile) bool array
    """
    ny, nx = (n // tile for n in brightness.shape)
    bright = brightness[: ny * tile, : nx * tile] > f_th * THRESHOLD
    return bright.reshape(ny, tile, nx, tile).sum(axis=(1, 3)) > n_pixels
