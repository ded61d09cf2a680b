"""Small maps that tests make on the spot."""

import contextlib
import os
import signal
import time

import astropy.units as u
import numpy as np
from astropy.wcs import WCS
from radio_beam import Beam

from radiowidgets.data.maps import SkyMap


def celestial(nx: int, ny: int, *, ra: float = 200.0, dec: float = -30.0, scale: float = 2.0) -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---SIN", "DEC--SIN"]
    wcs.wcs.crval = [ra, dec]
    wcs.wcs.crpix = [nx / 2 + 0.5, ny / 2 + 0.5]
    wcs.wcs.cdelt = [-scale / 3600, scale / 3600]
    return wcs


def noisy_sky(
    nx: int = 320, ny: int = 256, *, seed: int = 0, name: str = "field", rms: float = 30e-6
) -> SkyMap:
    """Noise of the size of a beam, thirty point sources and one ring."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    pixels = gaussian_filter(rng.normal(size=(ny, nx)), 2.5)
    pixels *= rms / pixels.std()
    y, x = np.mgrid[:ny, :nx]
    for px, py, peak in zip(
        rng.uniform(0, nx, 30), rng.uniform(0, ny, 30), rng.uniform(10, 100, 30), strict=True
    ):
        pixels += peak * rms * np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * 2.5**2))
    ring = np.hypot(x - 0.7 * nx, y - 0.3 * ny)
    pixels += 8 * rms * np.exp(-((ring - 22) ** 2) / (2 * 4**2))
    beam = Beam(major=12 * u.arcsec, minor=10 * u.arcsec, pa=30 * u.deg)
    return SkyMap.from_array(
        pixels.astype(np.float32),
        name=name,
        wcs=celestial(nx, ny),
        beam=beam,
        unit=u.Jy / u.beam,
        frequency=944 * u.MHz,
    )


class Moments:
    """An encoder that worker processes can import: a few numbers of each frame.

    With a place it ends its process at once, as a lack of memory does, as often as told: each time leaves a file there.
    """

    fingerprint = "moments"

    def __init__(self, place=None, deaths=0, pause=0.0):
        self.place, self.deaths, self.pause = place, deaths, pause

    def __call__(self, batch):
        time.sleep(self.pause)
        for death in range(self.deaths):
            with contextlib.suppress(FileExistsError):
                (self.place / str(death)).touch(exist_ok=False)
                os.kill(os.getpid(), signal.SIGKILL)
        return np.stack([batch.mean((1, 2, 3)), batch.std((1, 2, 3)), batch.max((1, 2, 3))], 1)
