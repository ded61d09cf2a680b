"""Mock skies with full truth: seeded, fast, and made to look right beside real maps.

`simulate` gives a map with its truth; `mock_sky` a sky that is observed at several frequencies and epochs. The modules,
from the sky to the map: `populations` (counts, sizes, spectra), `morphologies` (shapes), `emission` and `cosmicweb`
(what fills a field), `galactic` (compact sources in seven bands), `sky` (all of it in one field), `render` (drawing),
`instrument` (noise and artefacts), `observation` (maps), `truth` (islands, objects, tags), `presets` (the surveys).

What the mocks do not capture: sources do not cluster, and a radio galaxy knows nothing of its host or cluster; shapes
are sums of Gaussians, smoother and more regular than real lobes and remnants; deconvolution is not done but imitated
(sources are drawn with the restoring beam, only diffuse emission loses its large scales, residual sidelobes fade with
distance by a fixed rule); noise is stationary but for its rms; there is no polarisation, no radio interference but
patches of stripes, no wide-field distortion, and no spectral curvature. Rare objects are far more frequent than on the
sky, one of each kind even in a small map. The infrared maps know stars and compact sources, no diffuse emission.
"""

from radiowidgets.data.simulate.observation import MockSky, mock_sky, simulate
from radiowidgets.data.simulate.presets import ARRAYS, PRESETS, Preset, Rare
from radiowidgets.data.simulate.truth import Truth

__all__ = ["ARRAYS", "PRESETS", "MockSky", "Preset", "Rare", "Truth", "mock_sky", "simulate"]
