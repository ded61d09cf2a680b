"""Mock skies with full truth."""

from radiowidgets.data.simulate.presets import PRESETS, Preset
from radiowidgets.data.simulate.sky import simulate
from radiowidgets.data.simulate.truth import Truth

__all__ = ["PRESETS", "Preset", "Truth", "simulate"]
