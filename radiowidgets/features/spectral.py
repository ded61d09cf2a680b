"""Radio spectra of compact sources: T-T plots, and fits of power laws and curved spectra.

S is proportional to nu^alpha. compact-sources section 4.2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from radiowidgets.data.recipes import source_reach
from radiowidgets.data.sources import MAX_ROUNDS, SIGMA, clip_sorted
from radiowidgets.errors import FrameError, ParameterError, check_one_of
from radiowidgets.features.photometry import central_island
from radiowidgets.features.structure import FLOOD, SEED
from radiowidgets.parallel import Progress, map_chunks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

    from radiowidgets.data.frames import FrameSet

RELIABLE = 0.9  # least correlation coefficient, compact-sources section 4.2
_BEAM_FACTOR = math.pi / (4 * math.log(2))
_TOGETHER = 64


@dataclass(frozen=True)
class TTPlot:
    """A straight line through the pixels of a source at two frequencies.

    Attributes
    ----------
    slope, slope_error, offset : float
        high = slope * low + offset, in flux density per pixel (or per one and the same beam).
    r : float
        Pearson's correlation coefficient.
    pixels : int
    points : float
        Of them independent: their area over that of the beam.
    chi2 : float
        Sum of squared distances in units of their errors, over `points` - 2; NaN where there are no more.
    """

    slope: float
    slope_error: float
    offset: float
    r: float
    pixels: int
    points: float
    chi2: float

    def index(self, low: float, high: float, calibration: float = 0.0) -> tuple[float, float]:
        """Return alpha = ln(slope) / ln(high / low) and its error; NaN where the slope is not positive.

        Parameters
        ----------
        low, high : float
            The frequencies.
        calibration : float
            Relative error of the flux scale of each map, such as 0.05.
        """
        if not self.slope > 0:
            return math.nan, math.nan
        if not (0 < low < math.inf and 0 < high < math.inf and low != high):
            raise ParameterError(f"the frequencies are {low!r} and {high!r}; give two different ones.")
        octaves = abs(math.log(high / low))
        error = math.hypot(self.slope_error / self.slope, math.sqrt(2) * calibration) / octaves
        return math.log(self.slope) / math.log(high / low), error


_NOTHING = TTPlot(math.nan, math.nan, math.nan, math.nan, 0, 0.0, math.nan)


def tt_plot(
    low: ArrayLike, high: ArrayLike, low_rms: float, high_rms: float, *, beam_pixels: float = 1.0
) -> TTPlot:
    """Fit a line to the pixels of a source at two frequencies, with errors in both axes (Turtle et al. 1962).

    Orthogonal distance regression for errors that are the same for all pixels (Deming 1943), which has a closed
    form. A zero level that differs between the maps goes into the offset alone.

    Parameters
    ----------
    low, high : (n,)
        Pixels of one source at both frequencies, on one grid and at one resolution; those not finite are left out.
    low_rms, high_rms : float
        Noise of a pixel.
    beam_pixels : float
        Solid angle of the beam in pixels: so many pixels say the same. The error of the slope is that of `points`
        independent pixels, and larger by the scatter about the line where that is more than the noise.
    """
    x, y = (np.asarray(values, np.float64).ravel() for values in (low, high))
    if len(x) != len(y):
        raise ParameterError(
            f"{len(x)} pixels at one frequency and {len(y)} at the other; give the same ones."
        )
    both = np.isfinite(x) & np.isfinite(y)
    x, y = x[both], y[both]
    if not (low_rms > 0 and high_rms > 0 and beam_pixels > 0):
        raise ParameterError(
            f"the rms are {low_rms:g} and {high_rms:g} and the beam has {beam_pixels:g} pixels; give numbers above 0."
        )
    points = len(x) / max(beam_pixels, 1.0)
    nothing = replace(_NOTHING, pixels=len(x), points=points)
    if len(x) < 3:
        return nothing
    a, b = x - x.mean(), y - y.mean()
    xx, yy, xy = (float(np.mean(p * q)) for p, q in ((a, a), (b, b), (a, b)))
    if not (xx > 0 and yy > 0) or xy == 0:
        return nothing
    ratio = (high_rms / low_rms) ** 2
    slope = (yy - ratio * xx + math.sqrt((yy - ratio * xx) ** 2 + 4 * ratio * xy**2)) / (2 * xy)
    variance = high_rms**2 + slope**2 * low_rms**2  # of a pixel's distance from the line, along y
    scatter = float(np.mean((b - slope * a) ** 2)) / variance
    chi2 = scatter * points / (points - 2) if points > 2 else math.nan
    spread = max(xx - low_rms**2, 0.1 * xx)  # without what noise adds to it
    error = math.sqrt(variance * max(1.0, chi2 if points > 2 else scatter) / (spread * points))
    offset = float(y.mean() - slope * x.mean())
    return TTPlot(slope, error, offset, xy / math.sqrt(xx * yy), len(x), points, chi2)


def spectral_indices(
    frames: FrameSet,
    frequencies: Mapping[str, float],
    masks: Sequence[ArrayLike | None] | None = None,
    *,
    seed: float = SEED,
    flood: float = FLOOD,
    calibration: float = 0.0,
    client: Any = None,
    threads: int | None = None,
    progress: str | Progress | None = None,
) -> pd.DataFrame:
    """Measure the spectral index of each source between two radio bands by its T-T plot.

    Parameters
    ----------
    frames : FrameSet
        Of `cut_bands`, which brings the maps to one grid and one beam.
    frequencies : mapping of str to float or Quantity
        Of the two bands to compare, by their names, in Hz; such as `SkyMap.frequency`.
    masks : sequence of (h, w) bool arrays, optional
        The pixels of each source; default: the island nearest to the centre in the noise-weighted sum of both bands,
        so that neither decides alone which pixels count; within r_s of the centre, as `compact_features`.
    seed, flood : float
        Of the island, in noise of that sum.
    calibration : float
        Relative error of the flux scale of each band.

    Returns
    -------
    pandas.DataFrame
        alpha, alpha_error, r, points (independent), pixels, chi2, and reliable: r > 0.9, the paper's cut. NaN where
        a band does not show the source or no island is found.

    Raises
    ------
    ParameterError, FrameError
        If the bands are not there, or are not two.
    """
    import pandas as pd

    hertz = {name: _hertz(value) for name, value in frequencies.items()}
    names = _bands(frames, hertz)
    if not 0 < flood <= seed < math.inf or not 0 <= calibration < math.inf:
        raise ParameterError(
            f"seed is {seed!r}, flood {flood!r}, calibration {calibration!r}; give 0 < flood <= seed and an error."
        )
    if masks is not None and len(masks) != len(frames):
        raise ParameterError(f"{len(masks)} masks for {len(frames)} sources; give one each, or None.")
    beam = _beam_pixels(frames)
    channels = [list(frames.channels or ()).index(name) for name in names]
    low, high = (hertz[name] for name in names)

    size = getattr(frames.sources, "attrs", {}).get("size")

    def work(chunk: list[tuple[Any, Any]]) -> list[tuple[float, ...]]:
        plots = [_plot_source(pixels, mask, seed, flood, beam, size) for pixels, mask in chunk]
        return [
            (*plot.index(low, high, calibration), plot.r, plot.points, plot.pixels, plot.chi2)
            for plot in plots
        ]

    starts = range(0, len(frames), _TOGETHER)
    chunks = (
        [
            (frames.pixels([k])[0][..., channels], None if masks is None else masks[k])
            for k in range(start, min(start + _TOGETHER, len(frames)))
        ]
        for start in starts
    )
    found = map_chunks(work, chunks, client=client, threads=threads, progress=progress)
    table = pd.DataFrame(
        [row for part in found for row in part],
        columns=["alpha", "alpha_error", "r", "points", "pixels", "chi2"],
        index=pd.Index(frames.frame_ids, name="frame_id"),
    )
    table["reliable"] = table["alpha"].notna() & (table["r"] > RELIABLE)
    return table


def _hertz(frequency: Any) -> float:
    try:
        return float(frequency.to_value("Hz") if hasattr(frequency, "to_value") else frequency)
    except (TypeError, ValueError) as error:
        raise ParameterError(f"a frequency is {frequency!r:.60}; give Hz.") from error


def _bands(frames: FrameSet, frequencies: Mapping[str, float]) -> list[str]:
    names = sorted(frequencies, key=lambda name: frequencies[name])
    known = list(frames.channels or ())
    missing = [name for name in names if name not in known]
    if missing:
        raise FrameError(f"the frames have the bands {', '.join(known) or 'none'}, but not {missing[0]!r}.")
    if len(names) != 2 or not 0 < frequencies[names[0]] < frequencies[names[1]]:
        raise ParameterError(
            f"frequencies are {dict(frequencies)!r:.80}; give two bands of different frequency in Hz."
        )
    return names


def _beam_pixels(frames: FrameSet) -> float:
    about = getattr(frames.sources, "attrs", {})
    beam, scale = about.get("beam_arcsec_deg"), about.get("pixel_scale_arcsec")
    if beam is None or scale is None:
        raise FrameError("the frames have no common beam; make them with cut_bands(..., beam=True).")
    return float(max(1.0, _BEAM_FACTOR * beam[0] * beam[1] / scale**2))


def _plot_source(
    pixels: NDArray[np.float32], mask: Any, seed: float, flood: float, beam: float, size: float | None
) -> TTPlot:
    """Return the T-T plot of (h, w, 2), lower frequency first; of no pixels where there is nothing to plot."""
    levels = []
    for k in range(2):
        values = np.sort(pixels[..., k][np.isfinite(pixels[..., k])])
        if len(values) < 0.5 * pixels[..., k].size:
            return _NOTHING
        levels.append(clip_sorted(values, SIGMA, MAX_ROUNDS))
    if not all(rms > 0 for _, rms in levels):
        return _NOTHING
    if mask is None:
        total = sum((pixels[..., k] - level) / rms for k, (level, rms) in enumerate(levels)) / math.sqrt(2)
        reach = source_reach(pixels.shape, size)
        mask = central_island(np.asarray(total, np.float32), 0.0, 1.0, float(seed), float(flood), reach)
    mask = np.asarray(mask, bool)
    if mask.shape != pixels.shape[:2]:
        raise ParameterError(f"a mask has shape {mask.shape}; its cutout has {pixels.shape[:2]}.")
    if not mask.any():
        return _NOTHING
    return tt_plot(pixels[..., 0][mask], pixels[..., 1][mask], levels[0][1], levels[1][1], beam_pixels=beam)


# ------------------------------------------------------------------------------------
# spectra of several frequencies


def _power_law(x: NDArray[Any], p: NDArray[Any]) -> NDArray[Any]:
    return p[0] + p[1] * x


def _curved(x: NDArray[Any], p: NDArray[Any]) -> NDArray[Any]:
    return p[0] + p[1] * x + p[2] * x**2


def _free_free(x: NDArray[Any], p: NDArray[Any]) -> NDArray[Any]:
    depth = np.exp(np.clip(p[1] - 2.1 * x, -30, 30))
    return p[0] + 2.1 * x + np.log(-np.expm1(-depth)) - 0.1 * x


def _absorbed(x: NDArray[Any], p: NDArray[Any]) -> NDArray[Any]:
    return p[0] + p[1] * x - np.exp(np.clip(p[2] - 2.1 * x, -30, 6))


#: ln S of x = ln(nu / nu0), its parameters, and where a fit begins.
MODELS: dict[str, tuple[Callable[..., Any], tuple[str, ...], tuple[float, ...]]] = {
    "power_law": (_power_law, ("ln_flux", "alpha"), (0.0, -0.7)),
    "curved": (_curved, ("ln_flux", "alpha", "curvature"), (0.0, -0.7, 0.0)),
    "free_free": (_free_free, ("ln_flux", "ln_depth"), (0.0, -1.0)),
    "absorbed": (_absorbed, ("ln_flux", "alpha", "ln_depth"), (0.0, -0.7, -2.0)),
}


def fit_spectrum(
    frequencies: ArrayLike, fluxes: ArrayLike, errors: ArrayLike, models: Sequence[str] = tuple(MODELS)
) -> pd.DataFrame:
    """Fit spectra to the flux densities of one source, by least squares in flux density.

    Models, with nu0 the geometric mean of the frequencies: 'power_law', S0 (nu/nu0)^alpha; 'curved',
    S0 (nu/nu0)^(alpha + curvature ln(nu/nu0)); 'free_free', S0 nu^2 (1 - exp(-tau)), tau falling with nu^-2.1 (an HII
    region); 'absorbed', S0 nu^alpha exp(-tau), a power law behind free-free absorption (Tingay and de Kool 2003).

    Parameters
    ----------
    frequencies : (n,)
        Hz.
    fluxes, errors : (n,)
        Jy; what is not finite is left out. Non-detections belong into neither.
    models : sequence of str

    Returns
    -------
    pandas.DataFrame
        Indexed by model: its parameters and their errors (<parameter>_error), chi2, dof, chi2_reduced (NaN where no
        degree of freedom is left) and aic = chi2 + 2 parameters, smallest for the model that the data ask for. Models
        of more parameters than different frequencies are left out.

    Raises
    ------
    ParameterError
        If fewer than two frequencies are left, or a number makes no sense.
    """
    import pandas as pd

    nu, flux, error = (np.asarray(values, np.float64).ravel() for values in (frequencies, fluxes, errors))
    if not len(nu) == len(flux) == len(error):
        raise ParameterError(
            f"{len(nu)} frequencies, {len(flux)} fluxes and {len(error)} errors; give one each."
        )
    known = np.isfinite(nu) & np.isfinite(flux) & np.isfinite(error)
    nu, flux, error = nu[known], flux[known], error[known]
    different = len(np.unique(nu))
    if different < 2 or (nu <= 0).any() or (error <= 0).any() or not (flux > 0).any():
        raise ParameterError(
            f"{len(nu)} points are left, at {different} frequencies; give two frequencies or more, all of them and "
            "errors above 0, and flux."
        )
    rows = {}
    for name in [models] if isinstance(models, str) else models:
        check_one_of("model", name, MODELS)
        if len(MODELS[name][1]) <= different:
            rows[name] = _fit_model(name, nu, flux, error)
    return pd.DataFrame.from_dict(rows, orient="index")


def _fit_model(
    name: str, nu: NDArray[np.float64], flux: NDArray[np.float64], error: NDArray[np.float64]
) -> dict[str, float]:
    from scipy.optimize import least_squares

    model, parameters, start = MODELS[name]
    middle = math.exp(float(np.log(nu).mean()))
    x = np.log(nu / middle)
    unit = float(np.median(flux[flux > 0]))  # so that numbers are of order one
    found = least_squares(
        lambda p: (unit * np.exp(np.clip(model(x, p), -60, 60)) - flux) / error, start, x_scale="jac"
    )
    chi2, dof = 2 * float(found.cost), len(nu) - len(parameters)
    spread = np.sqrt(np.diag(np.linalg.pinv(found.jac.T @ found.jac)))
    values = dict(zip(parameters, found.x.tolist(), strict=True))
    row = {"flux": unit * math.exp(values.pop("ln_flux")), "frequency": middle} | values
    row |= {f"{key}_error": float(s) for key, s in zip(parameters[1:], spread[1:], strict=True)}
    row |= {"chi2": chi2, "dof": dof, "chi2_reduced": chi2 / dof if dof else math.nan}
    return row | {"aic": chi2 + 2 * len(parameters)}
