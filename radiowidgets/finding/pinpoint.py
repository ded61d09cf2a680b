"""Pinpoint: a small network that tells how many sources to expect in each pixel, and points that account for them.

It takes up ConvoSource's idea, a map of positions learnt from skies whose truth is known, and differs in this: the
input is in units of the local noise above the local background, stretched, so that one network serves maps of any
depth; it is fully convolutional, at half the map's resolution, so that maps of any size go through quickly; it answers
for all three solution maps (sources above 1, 2 and 5 rms) and for fluxes at once; and in place of a threshold on pixels
sources are taken from the expected numbers one by one, each with the chance that so many true sources lie within three
pixels: a blend of two is two, also where it has but one peak.

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

from radiowidgets.data.detection import measure_level
from radiowidgets.data.resampling import resize
from radiowidgets.errors import DataError, MissingExtraError, check_one_of
from radiowidgets.finding.finders import Found, source_table
from radiowidgets.models.shipped import WEIGHTS

try:
    import keras
    from keras import ops
except ImportError as error:
    raise MissingExtraError(
        "networks need Keras and a backend: pip install 'radiowidgets[deep]', or keras with jax or torch."
    ) from error

from radiowidgets.finding import networks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from radiowidgets.data.maps import SkyMap

NAME = "pinpoint-1"
BEAM = 2.5  # pixels
SNRS = (1.0, 2.0, 5.0)
RADIUS = 3.0
WIDTH, BLOCKS = 24, 3
FLUX_WEIGHT, AROUND_WEIGHT = 2.0, 0.1
MOST = 3  # sources within the radius of a point that the network tells apart
#: What the network gives of 2 x 2 pixels: logits of a source in each, for each of `SNRS`; ln flux in each; logits of at
#: least one, two, three sources around, for each of `SNRS`.
HERE, FLUX, AROUND = slice(0, 12), slice(12, 16), slice(16, 25)
CHANNELS = 25
TILE, MARGIN = 512, 20  # pixels; the network sees 18 to each side
ROUNDS, SMOOTHING, FAINTEST = 6, 1.0, 0.015


def pinpoint_network(
    width: int = WIDTH, blocks: int = BLOCKS, *, seed: int = 0, dtype: Any = None
) -> keras.Model:
    """Return the network: (n, h, w, 2) of even sides to (n, h / 2, w / 2, `CHANNELS`)."""
    return networks.half_resolution(
        2, CHANNELS, width=width, blocks=blocks, bias=-3.0, seed=seed, dtype=dtype, name="pinpoint"
    )


@keras.saving.register_keras_serializable("radiowidgets")
class PointLoss(keras.losses.Loss):
    """What the network learns from a map of flux over rms in the pixels of sources, 0 elsewhere.

    For each of `SNRS`, the binary cross entropy of whether a brighter source is in a pixel, and of whether at least
    one, two or three are about three pixels away (in 6 x 6 pixels); and the squared error of ln flux where a source is.
    """

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Compare (n, h, w, 1) with (n, h / 2, w / 2, `CHANNELS`)."""
        hot = ops.cast(y_true > ops.convert_to_tensor(SNRS, "float32"), "float32")
        near = 36 * ops.average_pool(hot, 6, 2, padding="valid")
        near = ops.pad(near, ((0, 0), (1, 1), (1, 1), (0, 0)))
        several = ops.concatenate([ops.cast(near > k + 0.5, "float32") for k in range(MOST)], -1)
        here, flux, around = (y_pred[..., part] for part in (HERE, FLUX, AROUND))
        is_here, is_flux = _packed(hot), _packed(ops.log(ops.maximum(y_true, 1.0)))
        wrong = ops.square(flux - is_flux) * is_here[..., :: len(SNRS)]
        loss = ops.sum(_entropy(is_here, here), -1) + FLUX_WEIGHT * ops.sum(wrong, -1)
        inside = ops.pad(ops.ones_like(near[:, 1:-1, 1:-1, 0]), ((0, 0), (1, 1), (1, 1)))
        loss = loss / 4 + AROUND_WEIGHT * inside * ops.sum(_entropy(several, around), -1)
        return ops.mean(loss, axis=(1, 2))


def _packed(values: Any) -> Any:
    """Return (n, h / 2, w / 2, 4 c) of (n, h, w, c): the channels of 2 x 2 pixels after each other."""
    _, height, width, channels = values.shape
    parts = ops.reshape(values, (-1, height // 2, 2, width // 2, 2, channels))
    return ops.reshape(ops.transpose(parts, (0, 1, 3, 2, 4, 5)), (-1, height // 2, width // 2, 4 * channels))


def unpacked(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (c, h, w) of (h / 2, w / 2, 4 c): the pixels that `PointLoss` packs."""
    height, width, channels = values.shape
    parts = values.reshape(height, width, 2, 2, channels // 4).transpose(4, 0, 2, 1, 3)
    return parts.reshape(channels // 4, 2 * height, 2 * width)


def _entropy(truth: Any, logits: Any) -> Any:
    """Return the binary cross entropy, number by number."""
    return ops.relu(logits) - logits * truth + ops.log1p(ops.exp(-ops.abs(logits)))


def _disc(radius: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the steps dy, dx to all pixels less than `radius` away, the nearest first."""
    reach = math.ceil(radius) - 1
    dy, dx = np.mgrid[-reach : reach + 1, -reach : reach + 1].reshape(2, -1)
    apart = np.hypot(dy, dx)
    order = np.argsort(apart, kind="stable")[: int((apart < radius).sum())]
    return dy[order], dx[order]


def stretched(snr: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Return (..., 2): the inverse hyperbolic sine of (value - background) / rms, and what is near the noise."""
    stretch = np.arcsinh(snr)
    return np.stack([stretch, np.tanh(snr / 4)], -1).astype(np.float32)


def take_points(
    expected: NDArray[np.float32],
    around: NDArray[np.float32],
    flux: NDArray[np.float32],
    least: float = 0.3,
    radius: float = RADIUS,
) -> dict[str, NDArray[np.float64]]:
    """Take sources from a map of how many are expected in each pixel, until it accounts for none any more.

    The brightest peaks of the smoothed map come first. Each takes what lies nearest to it, up to one source, from
    within the radius; the rest stays for others, so that two sources of a blend are taken one after the other.

    Parameters
    ----------
    expected : (ny, nx) float32
        Expected number of sources, 0 to 1 a pixel.
    around : (k, ny, nx) float32
        The chance of at least one, two, ... k sources within the radius of a pixel.
    flux : (ny, nx) float32
        What to average of each, such as ln flux.
    least : float
        Sources of a lower score are left out.
    radius : float
        Pixels.

    Returns
    -------
    dict of (n,) arrays
        x, y: centroid of what a source took; amount: how much that was; score: the chance of so many sources around
        as were taken there by then; flux: its mean; row, column: the peak.
    """
    left = np.array(expected, np.float32)
    number = np.zeros(left.shape, np.int64)
    dy, dx = _disc(radius)
    taken: list[NDArray[np.float64]] = []
    for _ in range(ROUNDS):
        smooth = ndimage.gaussian_filter(left, SMOOTHING, mode="constant", truncate=3.0)
        top = (smooth == ndimage.maximum_filter(smooth, 3, mode="constant")) & (smooth > FAINTEST)
        row, column = np.nonzero(top)
        order = np.argsort(-smooth[row, column], kind="stable")
        part = _take(left, number, around, flux, row[order], column[order], dy, dx)
        if not len(part):
            break
        taken.append(part[part[:, 3] >= least])
    names = ("x", "y", "amount", "score", "flux", "row", "column")
    rows = np.concatenate(taken) if taken else np.empty((0, len(names)))
    return dict(zip(names, rows.T, strict=True))


@njit(nogil=True, cache=True)
def _take(left, number, around, flux, row, column, dy, dx):
    """Let each peak take up to 1 from round it, nearest first; count in `number` what was taken around each pixel."""
    ny, nx = left.shape
    out = np.zeros((row.size, 7))
    for k in range(row.size):
        amount, x, y, mean = 0.0, 0.0, 0.0, 0.0
        for m in range(dy.size):
            i, j = row[k] + dy[m], column[k] + dx[m]
            if i < 0 or j < 0 or i >= ny or j >= nx:
                continue
            part = min(np.float64(left[i, j]), 1.0 - amount)
            if part > 0:
                left[i, j] -= part
                amount += part
                x += part * j
                y += part * i
                mean += part * flux[i, j]
        which = number[row[k], column[k]]
        if amount > 0 and which < around.shape[0]:
            out[k, 0], out[k, 1], out[k, 2], out[k, 4] = x / amount, y / amount, amount, mean / amount
            out[k, 3] = around[which, row[k], column[k]]
            out[k, 5], out[k, 6] = row[k], column[k]
            for m in range(dy.size):
                i, j = row[k] + dy[m], column[k] + dx[m]
                if i >= 0 and j >= 0 and i < ny and j < nx:
                    number[i, j] += 1
    return out


# ------------------------------------------------------------------------------------
# finding


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
        """Find the sources of a map.

        The table's flux is the network's, in Jy where the map is in Jy/beam; the map of probability is the chance of at
        least one source less than three pixels of 0.4 beams away.
        """
        notes: list[str] = []
        level, noise = measure_level(sky)
        with np.errstate(divide="ignore", invalid="ignore"):
            snr = (np.asarray(sky.pixels, np.float32) - level) / noise
        blank = ~np.isfinite(snr)
        shape = grid_of(sky, notes)
        small = np.nan_to_num(snr if shape == sky.shape else resize(snr, shape), posinf=0.0, neginf=0.0)
        answer = answers(self.network, small)
        here, around, flux = parts_of(answer, self.snr, shape)
        points = take_points(here, around, flux, self.threshold)
        y_scale, x_scale = (old / new for old, new in zip(sky.shape, shape, strict=True))
        x, y = (points["x"] + 0.5) * x_scale - 0.5, (points["y"] + 0.5) * y_scale - 0.5
        probability = around[0] if shape == sky.shape else resize(around[0], sky.shape)
        row, column = (
            np.clip(np.rint(place).astype(np.int64), 0, side - 1)
            for place, side in zip((y, x), sky.shape, strict=True)
        )
        kept = ~blank[row, column]
        fluxes = np.exp(points["flux"]) * noise[row, column] * _flux_unit(sky, notes)
        table = source_table(sky, x[kept], y[kept], flux=fluxes[kept], score=points["score"][kept])
        return Found(table, self.name, probability=np.where(blank, np.nan, probability), notes=notes)


def answers(network: keras.Model, snr: NDArray[np.float32], tile: int = TILE) -> NDArray[np.float32]:
    """Return (ny / 2, nx / 2, `CHANNELS`): what the network says of a map in units of its noise, without blanks."""
    return networks.in_tiles(network, snr, stretched, tile, MARGIN)


def parts_of(
    answer: NDArray[np.float32], snr: float, shape: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return, of `answers` on a map of this shape, what belongs to one of `SNRS`.

    Returns
    -------
    expected : (ny, nx) numbers of sources
    around : (k, ny, nx) chances of at least one, two, ... k
    flux : (ny, nx) ln of flux over rms
    """
    check_one_of("snr", float(snr), SNRS)
    which, (ny, nx) = SNRS.index(float(snr)), shape
    here = unpacked(answer[..., HERE].reshape(*answer.shape[:2], 4, -1)[..., which])[0]
    around = np.moveaxis(answer[..., AROUND][..., which :: len(SNRS)], -1, 0)
    around = np.repeat(np.repeat(networks.logistic(around), 2, axis=1), 2, axis=2)
    flux = unpacked(answer[..., FLUX])[0]
    return networks.logistic(here[:ny, :nx]), np.ascontiguousarray(around[:, :ny, :nx]), flux[:ny, :nx]


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
        Of what it finds on mock skies; None for the best F1 there.
    like : str
        The mock sky that the map is like: 'sdc1-b1-1000h', 'sdc1-b1-100h', 'sdc1-b1-8h', 'sdc1-b2-1000h', or 'any',
        for the threshold that has this reliability on all of them.

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
    check_one_of("like", like, thresholds)
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
    network = pinpoint_network(card["width"], card["blocks"])
    network.load_weights(weights)
    return network, card
