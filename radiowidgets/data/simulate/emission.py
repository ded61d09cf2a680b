"""Diffuse emission that fills a field: the clouds and wisps of the Galactic plane."""

import numpy as np
from scipy import fft

from radiowidgets.data.simulate.instrument import THREADS, beam_transfer, frequencies, white_noise


def _power_law_field(size: int, slope: float, outer: float, seed: np.random.SeedSequence) -> np.ndarray:
    """A Gaussian random field of unit variance with power k^slope, flat on scales above `outer` pixels."""
    spectrum = fft.rfft2(white_noise((size, size), seed), workers=THREADS)
    v, u = frequencies((size, size))
    spectrum *= (u * u + v * v + 1.0 / outer**2) ** np.float32(slope / 4)
    spectrum[0, 0] = 0.0
    field = fft.irfft2(spectrum, (size, size), workers=THREADS, overwrite_x=True)
    field /= field.std()
    return field


def galactic_emission(
    size: int, pixel_scale: float, beam: tuple[float, float, float], seed: np.random.SeedSequence
) -> np.ndarray:
    """Diffuse emission of mean 1, convolved with the beam.

    Clouds are the exponential of a Gaussian field with the spectrum of turbulence (a log-normal surface density);
    wisps are its ridges, where a second such field crosses zero.
    """
    clouds, ridges, patches = seed.spawn(3)
    outer = 1800.0 / pixel_scale
    image = np.exp(0.9 * _power_law_field(size, -3.2, outer, clouds))
    wisps = np.exp(-np.abs(_power_law_field(size, -5.0, outer, ridges)) / 0.08)
    wisps *= np.exp(1.1 * _power_law_field(size, -3.2, outer / 2, patches))
    image += 1.3 * wisps
    spectrum = fft.rfft2(image, workers=THREADS)
    spectrum *= beam_transfer((size, size), beam)
    image = fft.irfft2(spectrum, (size, size), workers=THREADS, overwrite_x=True)
    image /= image.mean(dtype=float)
    return image
