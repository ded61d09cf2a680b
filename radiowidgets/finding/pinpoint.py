"""Pinpoint: every peak of a sharpened map is a candidate, and a small network judges each by the pixels round it.

It takes up ConvoSource's idea, a network that learns from skies whose truth is known where sources above 1, 2 and 5 rms
are, and differs in this: the map is taken in units of the local noise above the local background, stretched, so that
one network serves maps of any depth; it is sharpened first, so that a source on the shoulder of another has a peak of
its own; the network looks at peaks alone, not at every pixel, and answers for all three levels, flux and place at once.
A map of any size takes a second per million pixels or less.

Maps are brought to 2.5 pixels a beam, as in SKA Data Challenge 1, before. The weights that come with the package were
trained on mock skies alone, by tools/train_finder.py; their card is beside them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from numba import njit
from scipy import ndimage
from scipy.spatial import cKDTree

from radiowidgets.data.detection import measure_level
from radiowidgets.data.resampling import resize
from radiowidgets.errors import DataError, check_one_of
from radiowidgets.finding.finders import Found, source_table
from radiowidgets.models.backend import keras, layers, ops
from radiowidgets.models.shipped import WEIGHTS

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from radiowidgets.data.maps import SkyMap

NAME = "pinpoint-1"
SNRS = (1.0, 2.0, 5.0)  # sources whose total flux density is above so many times the mean rms
BEAM = 2.5  # pixels
RADIUS = 3.0  # pixels within which a source belongs to a peak, convosource section 3
SIDE = 13  # pixels of what the network sees
WIDTHS = (96, 48)
SMOOTHING, SHARPENING, FAINTEST = 1.06, 1.0, 2.0
LIKE = ("any", "sdc1-b1-1000h", "sdc1-b1-100h", "sdc1-b1-8h", "sdc1-b2-1000h")
OUTPUTS = len(SNRS) + 3  # logits for each of SNRS; ln flux over rms, steps in x and y to the source
REST_WEIGHT = 0.1
_TOGETHER = 8192  # peaks that go through the network at once


def pinpoint_network(widths: tuple[int, ...] = WIDTHS, *, seed: int = 0) -> keras.Model:
    """Return the network: (n, 169) stretched pixels round peaks to (n, `OUTPUTS`)."""
    inputs = hidden = keras.Input((SIDE * SIDE,), dtype="float32")
    for number, width in enumerate(widths):
        start = keras.initializers.HeNormal(seed=seed * 10 + number)
        hidden = layers.Dense(width, activation="relu", kernel_initializer=start)(hidden)
    last = layers.Dense(OUTPUTS, kernel_initializer=keras.initializers.GlorotUniform(seed=seed * 10 + 9))
    return keras.Model(inputs, last(hidden), name="pinpoint")


@keras.saving.register_keras_serializable("radiowidgets")
class PeakLoss(keras.losses.Loss):
    """Binary cross entropy of whether a peak is a source above `SNRS`; where it is, squared errors of the rest."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Compare (n, `OUTPUTS`) with what the network gives."""
        number = len(SNRS)
        truth, logits = y_true[:, :number], y_pred[:, :number]
        entropy = ops.relu(logits) - logits * truth + ops.log1p(ops.exp(-ops.abs(logits)))
        wrong = ops.sum(ops.square(y_true[:, number:] - y_pred[:, number:]), -1)
        return ops.sum(entropy, -1) + REST_WEIGHT * truth[:, 0] * wrong


# ------------------------------------------------------------------------------------
# what goes in


def find_peaks(snr: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return rows and columns of the peaks of a map, in units of its noise, that is sharpened by an unsharp mask."""
    smooth = ndimage.gaussian_filter(snr, SMOOTHING, mode="constant", truncate=3.0)
    sharp = snr + np.float32(SHARPENING) * (snr - smooth)
    top = (sharp > FAINTEST) & (sharp == ndimage.maximum_filter(sharp, 3, mode="constant"))
    row, column = np.nonzero(top)
    return row, column


def peak_pixels(
    snr: NDArray[np.float32], row: NDArray[np.int64], column: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return (n, 169): the inverse hyperbolic sine of the 13 x 13 pixels round each peak, 0 beyond the border."""
    padded = np.pad(np.arcsinh(snr).astype(np.float32), SIDE // 2)
    return np.lib.stride_tricks.sliding_window_view(padded, (SIDE, SIDE))[row, column].reshape(len(row), -1)


def peak_labels(
    snr: NDArray[np.float32],
    row: NDArray[np.int64],
    column: NDArray[np.int64],
    x: ArrayLike,
    y: ArrayLike,
    flux: ArrayLike,
) -> NDArray[np.float32]:
    """Return (n, `OUTPUTS`): what the network shall say of peaks, from the truth.

    For each of `SNRS` the brightest peak chooses first: of the sources above it that are less than three pixels away
    and still free, the brightest becomes its own. ln flux and steps are those of its source above 1 rms.

    Parameters
    ----------
    snr, row, column
        The map and its peaks.
    x, y, flux : (m,) arrays
        True sources: pixels, and flux over mean rms.
    """
    x, y, flux = (np.asarray(values, np.float64) for values in (x, y, flux))
    labels = np.zeros((len(row), OUTPUTS), np.float32)
    order = np.argsort(-snr[row, column], kind="stable")
    places = np.column_stack([column, row])[order].astype(np.float64)
    for level, least in enumerate(SNRS):
        bright = np.flatnonzero(flux >= least)
        if not len(bright) or not len(row):
            continue
        tree = cKDTree(np.column_stack([x, y])[bright])
        pairs = cKDTree(places).sparse_distance_matrix(tree, RADIUS, output_type="ndarray")
        peak, source = pairs["i"], bright[pairs["j"]]
        first = np.lexsort((-flux[source], peak))
        mine = _claimed(peak[first], source[first], len(row), len(flux))
        taken = np.flatnonzero(mine >= 0)
        labels[order[taken], level] = 1
        if level == 0:
            own = mine[taken]
            labels[order[taken], -3:] = np.column_stack(
                [np.log(flux[own]), x[own] - places[taken, 0], y[own] - places[taken, 1]]
            )
    return labels


@njit(nogil=True, cache=True)
def _claimed(peak, source, peaks, sources):
    """Return the source of each peak, -1 for none: pairs are taken in their order, each peak and source once."""
    mine = np.full(peaks, -1, np.int64)
    free = np.ones(sources, np.bool_)
    for k in range(peak.size):
        if mine[peak[k]] < 0 and free[source[k]]:
            mine[peak[k]] = source[k]
            free[source[k]] = False
    return mine


# ------------------------------------------------------------------------------------
# finding


def judged_peaks(network: keras.Model, snr: NDArray[np.float32]) -> dict[str, NDArray[np.float64]]:
    """Return all peaks of a map in units of its noise, without blanks, and what the network says of them.

    Returns
    -------
    dict of (n,) arrays
        x, y (pixels), row, column (of the peak), flux (over mean rms), score_1, score_2, score_5: the chance that it is
        a source above so many rms.
    """
    row, column = find_peaks(snr)
    answer = np.empty((len(row), OUTPUTS), np.float32)
    for start in range(0, len(row), _TOGETHER):
        part = slice(start, start + _TOGETHER)
        seen = peak_pixels(snr, row[part], column[part])
        short = _TOGETHER - len(seen)  # one shape is compiled once
        answer[part] = np.asarray(network.predict_on_batch(np.pad(seen, ((0, short), (0, 0)))))[: len(seen)]
    ln_flux, dx, dy = answer[:, len(SNRS) :].astype(np.float64).T
    result = {
        "x": column + np.clip(dx, -RADIUS, RADIUS),
        "y": row + np.clip(dy, -RADIUS, RADIUS),
        "row": row,
        "column": column,
        "flux": np.exp(np.clip(ln_flux, -5, 30)),
    }
    for level, least in enumerate(SNRS):
        result[f"score_{least:g}"] = 1 / (1 + np.exp(-np.clip(answer[:, level].astype(np.float64), -60, 60)))
    return result


@dataclass(frozen=True)
class Pinpoint:
    """A trained network as a finder, ``finder(sky) -> Found``.

    Attributes
    ----------
    network : keras.Model
    snr : {1, 2, 5}
        Which sources it shall find: those whose total flux density is above so many times the mean rms.
    threshold : float
        Least score of a source.
    name : str
    """

    network: keras.Model
    snr: float
    threshold: float
    name: str = "pinpoint"

    @property
    def __name__(self) -> str:
        return self.name

    def __call__(self, sky: SkyMap) -> Found:
        """Find the sources of a map; fluxes are the network's, in Jy where the map is in Jy/beam."""
        notes: list[str] = []
        level, noise = measure_level(sky)
        with np.errstate(divide="ignore", invalid="ignore"):
            snr = (np.asarray(sky.pixels, np.float32) - level) / noise
        shape = grid_of(sky, notes)
        small = np.nan_to_num(snr if shape == sky.shape else resize(snr, shape), posinf=0.0, neginf=0.0)
        peaks = judged_peaks(self.network, small)
        score = peaks[f"score_{self.snr:g}"]
        chosen = np.flatnonzero(score >= self.threshold)
        y_scale, x_scale = (old / new for old, new in zip(sky.shape, shape, strict=True))
        x, y = (peaks["x"][chosen] + 0.5) * x_scale - 0.5, (peaks["y"][chosen] + 0.5) * y_scale - 0.5
        row, column = (
            np.clip(np.rint(place).astype(np.int64), 0, side - 1)
            for place, side in zip((y, x), sky.shape, strict=True)
        )
        kept = np.isfinite(snr[row, column])
        flux = peaks["flux"][chosen] * noise[row, column] * _flux_unit(sky, notes)
        table = source_table(sky, x[kept], y[kept], flux=flux[kept], score=score[chosen][kept])
        return Found(table, self.name, notes=notes)


def grid_of(sky: SkyMap, notes: list[str]) -> tuple[int, int]:
    """Return the shape at which the map has 2.5 pixels a beam; its own if that is not far."""
    if sky.beam is None or sky.pixel_scale is None:
        notes.append(f"no beam: taken to be {BEAM:g} pixels wide.")
        return sky.shape
    fwhm = math.sqrt(sky.beam.major.to_value("arcsec") * sky.beam.minor.to_value("arcsec")) / sky.pixel_scale
    if 0.85 < fwhm / BEAM < 1.2:
        return sky.shape
    notes.append(f"brought from {fwhm:.1f} to {BEAM:g} pixels a beam.")
    return max(1, round(sky.shape[0] * BEAM / fwhm)), max(1, round(sky.shape[1] * BEAM / fwhm))


def _flux_unit(sky: SkyMap, notes: list[str]) -> float:
    """Return what turns the map's unit per beam to Jy; NaN and a note where that is not known."""
    from astropy import units as u

    unit = None if sky.unit is None else u.Unit(sky.unit)
    if unit is not None and unit.is_equivalent(u.Jy / u.beam):
        return float(unit.to(u.Jy / u.beam))
    notes.append(f"no fluxes: the map is in {unit or 'no unit'}, not Jy/beam.")
    return math.nan


def pinpoint(snr: float = 5, reliability: float | None = 0.95, like: str = "any") -> Pinpoint:
    """Return the finder whose weights come with the package.

    Parameters
    ----------
    snr : {1, 2, 5}
        Which sources it shall find: those whose total flux density is above so many times the mean rms of the map.
    reliability : 0.95, 0.9 or None
        Of what it finds on mock skies; None for the best F1 there. At 5 rms most of the rest are real, but fainter
        than asked for.
    like : str
        The maps of SKA Data Challenge 1 that it is like, one of `LIKE`; 'any' for the threshold that has this
        reliability on all. The mock skies for them have the noise that is measured on the official maps, which is half
        that of the presets of `simulate`: for a sky of a preset take 'any'.

    Raises
    ------
    ParameterError
        For other values.
    DataError
        If the weights are not there.
    """
    network, card = _shipped()
    check_one_of("snr", float(snr), SNRS)
    thresholds = card["thresholds"][f"{snr:g}"]
    check_one_of("like", like, LIKE)
    name = "f1" if reliability is None else f"{reliability:g}"
    check_one_of("reliability", name, thresholds[like])
    return Pinpoint(network, float(snr), float(thresholds[like][name]), f"pinpoint-snr{snr:g}")


@cache
def _shipped() -> tuple[keras.Model, dict[str, Any]]:
    """Return the network that comes with the package, and its card."""
    weights, path = WEIGHTS / f"{NAME}.weights.h5", WEIGHTS / f"{NAME}.yaml"
    for file in (weights, path):
        if not file.is_file():
            raise DataError(f"{file.name} is not beside the package's modules; install radiowidgets again.")
    card = yaml.safe_load(path.read_text(encoding="utf-8"))
    network = pinpoint_network(tuple(card["widths"]))
    network.load_weights(weights)
    return network, card
