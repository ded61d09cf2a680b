"""Mock skies with full truth: seeded, fast, and made to look right beside real maps.

`simulate` gives a map with its truth; `mock_sky` a sky that is observed at several frequencies and epochs.
"""

from radiowidgets.data.simulate.observation import MockSky, mock_sky, simulate
from radiowidgets.data.simulate.presets import PRESETS, Preset, Rare
from radiowidgets.data.simulate.truth import Truth

__all__ = ["PRESETS", "MockSky", "Preset", "Rare", "Truth", "mock_sky", "simulate"]
