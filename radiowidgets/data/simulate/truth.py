"""What is really in a mock map."""

from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass
class Truth:
    """The truth behind one mock map.

    Attributes
    ----------
    sources : one row a source: id, ra, dec (deg), x, y (pixels, 0-based), flux (Jy, at the map's frequency), peak
        (Jy/beam, an estimate for extended ones), rms (Jy/beam, there), snr, population, morphology, size (arcsec,
        largest angular size), pa (deg, east of north), alpha
    rms : (ny, nx) float32, the true noise rms in Jy/beam
    components : the Gaussian components drawn, x and y in arcsec from the centre of pixel (0, 0)
    component_source : the row in `sources` of each component
    """

    sources: pd.DataFrame
    rms: np.ndarray
    components: np.ndarray
    component_source: np.ndarray
