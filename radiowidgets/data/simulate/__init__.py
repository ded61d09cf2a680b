"""Mock skies with full truth: seeded, fast, and made to look right beside real maps.

`simulate` gives a map with its truth; `mock_sky` a sky that is observed at several frequencies and epochs. The modules,
from the sky to the map: `populations` (counts, sizes, spectra), `morphologies` (shapes), `emission` and `cosmicweb`
(what fills a field), `galactic` (compact sources in seven bands), `sky` (all of it in one field), `render` (drawing),
`instrument` (noise and artefacts), `observation` (maps), `truth` (islands, objects, tags), `presets` (the surveys).

How far they are from the real: a random forest on the frame features (12 beams wide, folds by parts of the map) tells
mock from real frames with an AUC of 0.77 (SKA Data Challenge 1), 0.63 and 0.76 (two fields of SCORPIO, which it tells
from one another with 0.89), 0.81 (MAGPIS) and 0.96 (LoTSS), each to some 0.05. 0.5 would be the same, but two pairs
of mock maps of other seeds already give 0.50 to 0.88, since every seed has antennas of its own. These figures are of
`benchmarks/bench_realism.py --seeds 2`. The settings of each telescope (`ARRAYS`), the level of the emission and the
noise were chosen on these very maps, so that others will be told apart more easily; EMU, SMGPS and FIRST have not
been compared. LoTSS is told by the ripples in its noise, which residual errors of directions leave, and by too many
faint sources at 144 MHz, where spectra flatten.

What the mocks do not capture: sources do not cluster, and a radio galaxy knows nothing of its host or cluster; shapes
are sums of Gaussians, smoother and more regular than real lobes and remnants; deconvolution is not done but imitated
(sources are drawn with the restoring beam, only diffuse emission loses its large scales, residual sidelobes fade with
distance by a fixed rule, and come from nowhere farther than 256 pixels); noise is stationary but for its rms; there is
no polarisation, no radio interference but patches of stripes, no wide-field distortion, and no spectral curvature.
Rare objects are far more frequent than on the sky, one of each kind even in a small map: ``rare=1`` gives them the
rates of the sky (`Rare.observed`). The infrared maps know stars and compact sources, no diffuse emission.
"""

from radiowidgets.data.simulate.observation import MockSky, mock_sky, simulate
from radiowidgets.data.simulate.presets import ARRAYS, PRESETS, Preset, Rare
from radiowidgets.data.simulate.truth import Truth

__all__ = ["ARRAYS", "PRESETS", "MockSky", "Preset", "Rare", "Truth", "mock_sky", "simulate"]
