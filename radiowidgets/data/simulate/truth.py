"""What is really in a mock map: sources, islands, objects, tags of frames."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numba import njit
from scipy import ndimage

from radiowidgets.data.simulate.render import Drawable
from radiowidgets.errors import FrameError

if TYPE_CHECKING:
    from radiowidgets.data.frames import FrameSet

SEED, FLOOD = 5.0, 2.5  # thresholds of an island in rms, as in compact-sources section 4.1

#: Classes of peculiar-frames section 4.2.
OBJECT_CLASSES = ("SPURIOUS", "COMPACT", "EXTENDED", "EXTENDED-MULTISLAND", "FLAGGED")

#: Tags of peculiar-frames section 5.1.
FRAME_TAGS = (
    "COMPACT",
    "EXTENDED",
    "RADIO-GALAXY",
    "DIFFUSE",
    "DIFFUSE-LARGE",
    "FILAMENT",
    "ARTEFACT",
    "MOSAICKING",
    "BACKGROUND",
    "PECULIAR",
)

RADIO_GALAXIES = frozenset(
    {
        "double",
        "triple",
        "fr1",
        "fr2",
        "hybrid",
        "wide-angle-tail",
        "narrow-angle-tail",
        "x-shaped",
        "s-shaped",
    }
)
DIFFUSE = frozenset({"halo", "ring", "shell", "bubble", "hii-region", "irregular", "relic"})
FILAMENTS = frozenset({"filament", "relic"})
PECULIAR = frozenset(
    {
        "ring",
        "shell",
        "relic",
        "filament",
        "x-shaped",
        "s-shaped",
        "hybrid",
        "wide-angle-tail",
        "narrow-angle-tail",
    }
)

_COMPACT, _EXTENDED, _GALAXY, _DIFFUSE, _FILAMENT, _SPURIOUS, _PECULIAR = (1 << i for i in range(7))


@dataclass
class Truth:
    """The truth behind one mock map.

    Attributes
    ----------
    name : name of the map
    sources : one row a source: id, ra, dec (deg), x, y (pixels, 0-based), flux (Jy, intrinsic, at the map's
        frequency), peak (Jy/beam, as the map shows it without noise), rms (Jy/beam, there), snr = peak / rms,
        population, morphology, size (arcsec, largest angular size, for SFG the half-light diameter), pa (degrees
        east of north, of the long axis), alpha, attenuation (of the primary beam); for compact Galactic sources also
        label (of the catalogue), chance (the label is a chance match), flux_* (Jy) and detected_* of each band
    rms : (ny, nx) float32, the true noise in Jy/beam
    beam : covariance (xx, yy, xy) of the beam in pixels squared
    drawable : the Gaussian components behind the map, in pixels and Jy/beam
    start : (n + 1,) the components of source i are rows start[i] to start[i + 1]
    artefacts : (ny, nx) float16, calibration errors and stripes in rms, or None
    emission : (ny, nx) float32, diffuse emission in Jy/beam, or None
    web : whether the emission is the cosmic web, whose islands are objects; Galactic emission only fills the field
    seams : first column (and row) of each facet of the mosaic after the first; only those that can be seen
    """

    name: str
    sources: pd.DataFrame
    rms: np.ndarray
    beam: tuple[float, float, float]
    drawable: Drawable = field(repr=False)
    start: np.ndarray = field(repr=False)
    attenuation: np.ndarray | None = field(default=None, repr=False)
    artefacts: np.ndarray | None = field(default=None, repr=False)
    emission: np.ndarray | None = field(default=None, repr=False)
    seams: np.ndarray = field(default_factory=lambda: np.empty(0, int))
    web: bool = False

    @cached_property
    def model(self) -> np.ndarray:
        """(ny, nx) float32: the sources in Jy/beam, without noise, artefacts, lost scales and Galactic emission."""
        image = np.zeros(self.rms.shape, np.float32)
        self.drawable.draw(image)
        if self.attenuation is not None:
            image *= self.attenuation
        if self.web and self.emission is not None:
            image += self.emission
        return image

    @cached_property
    def islands(self) -> np.ndarray:
        """(ny, nx) int32: islands of the model (seed 5 rms, flood 2.5 rms, 4-connected), 0 outside."""
        return _islands(self.model / self.rms)

    @property
    def beam_pixels(self) -> float:
        """Solid angle of the beam in pixels."""
        return float(2 * np.pi * np.sqrt(self.beam[0] * self.beam[1] - self.beam[2] ** 2))

    @cached_property
    def _objects(self) -> tuple[pd.DataFrame, np.ndarray]:
        return _find_objects(self)

    @property
    def objects(self) -> pd.DataFrame:
        """One row an object.

        Columns: object (its number in `object_map`), class (see `OBJECT_CLASSES`), source (row of `sources` that
        dominates it, -1 for SPURIOUS), morphology, islands, pixels, x0, y0, x1, y1 (bounding box, end exclusive).
        """
        return self._objects[0]

    @property
    def object_map(self) -> np.ndarray:
        """(ny, nx) int32: the object that each pixel belongs to, 0 for none."""
        return self._objects[1]

    def mask(self, number: int) -> np.ndarray:
        """(y1 - y0, x1 - x0) bool: the mask of one object within its bounding box."""
        row = self.objects.loc[self.objects["object"] == number].iloc[0]
        return self.object_map[row.y0 : row.y1, row.x0 : row.x1] == number

    def tags(self, x: np.ndarray, y: np.ndarray, width: np.ndarray, height: np.ndarray) -> np.ndarray:
        """(n, 10) bool: the tags (`FRAME_TAGS`) of boxes given by their lower-left pixel and size."""
        x, y, width, height = (
            np.ascontiguousarray(np.broadcast_to(a, np.shape(x)), np.int64) for a in (x, y, width, height)
        )
        bits, pixels = self._object_bits()
        strong = np.zeros((1, 1), bool)
        if self.artefacts is not None:
            strong = np.abs(self.artefacts.astype(np.float32)) > 3.0
        cloudy = np.zeros((1, 1), bool) if self.emission is None else self.emission > FLOOD * self.rms
        seen, diffuse, bad, clouds = _look(self.object_map, bits, pixels, strong, cloudy, x, y, width, height)
        area = width * height
        tags = np.zeros((x.size, len(FRAME_TAGS)), bool)
        column = {tag: tags[:, i] for i, tag in enumerate(FRAME_TAGS)}
        for tag, bit in (
            ("COMPACT", _COMPACT),
            ("EXTENDED", _EXTENDED),
            ("RADIO-GALAXY", _GALAXY),
            ("DIFFUSE", _DIFFUSE),
            ("FILAMENT", _FILAMENT),
            ("PECULIAR", _PECULIAR),
        ):
            column[tag][:] = seen & bit > 0
        column["DIFFUSE-LARGE"][:] = (diffuse > 0.25 * area) | (clouds > 0.5 * area)
        column["ARTEFACT"][:] = (bad > 0.01 * area) | (bad > 20 * self.beam_pixels)
        for seam in self.seams:
            column["MOSAICKING"][:] |= (x < seam - 2) & (x + width > seam + 2) | (y < seam - 2) & (
                y + height > seam + 2
            )
        column["BACKGROUND"][:] = ~tags[:, :6].any(axis=1) & ~column["ARTEFACT"]
        return tags

    def frame_tags(self, frames: "FrameSet") -> pd.DataFrame:
        """The tags of the frames of this map.

        Parameters
        ----------
        frames : FrameSet
            cut from this map

        Returns
        -------
        DataFrame
            indexed by frame_id, one bool column a tag of `FRAME_TAGS`

        Raises
        ------
        FrameError
            if a frame comes from another map
        """
        others = set(np.asarray(frames.map_names, object)[np.unique(frames.map_codes)]) - {self.name}
        if others:
            raise FrameError(
                f"frames of {sorted(others)}: this truth knows {self.name!r} only; select its frames first."
            )
        tags = self.tags(frames.x, frames.y, frames.width, frames.height)
        return pd.DataFrame(tags, index=pd.Index(frames.frame_ids, name="frame_id"), columns=list(FRAME_TAGS))

    def _object_bits(self) -> tuple[np.ndarray, np.ndarray]:
        """For each object number: what its presence says of a frame, and its size in pixels."""
        objects = self.objects
        bits = np.zeros(len(objects) + 1, np.int64)
        pixels = np.zeros(len(objects) + 1, np.int64)
        number = objects["object"].to_numpy()
        pixels[number] = objects["pixels"]
        shape, kind = objects["morphology"].to_numpy(object), objects["class"].to_numpy(object)
        real = kind != "SPURIOUS"
        # peculiar-frames: extended is what covers more than about ten beams.
        large = real & (objects["pixels"].to_numpy() > 10 * self.beam_pixels)
        rare = np.append(self.sources["population"].to_numpy(object) == "RARE", False)[
            objects["source"].to_numpy()
        ]
        for selected, bit in (
            (real & ~large, _COMPACT),
            (large, _EXTENDED),
            (large & np.isin(shape, list(RADIO_GALAXIES)), _GALAXY),
            (large & np.isin(shape, list(DIFFUSE)), _DIFFUSE),
            (large & np.isin(shape, list(FILAMENTS)), _FILAMENT),
            (~real, _SPURIOUS),
            (real & rare & np.isin(shape, list(PECULIAR)), _PECULIAR),
        ):
            bits[number[selected]] |= bit
        return bits, pixels


def _islands(snr: np.ndarray) -> np.ndarray:
    """Label 4-connected islands above `FLOOD` that reach `SEED`."""
    labels = np.empty(snr.shape, np.int32)
    n = ndimage.label(snr > FLOOD, output=labels)
    keep = _maxima(np.maximum(snr, 0), labels, n) > SEED
    number = np.where(keep, np.cumsum(keep), 0).astype(np.int32)
    _renumber(labels, number)
    return labels


def _find_objects(truth: Truth) -> tuple[pd.DataFrame, np.ndarray]:
    """Group islands into objects by the source that dominates them, class them, and add what artefacts feign."""
    islands = truth.islands
    n = int(islands.max(initial=0))
    snr = truth.model / truth.rms
    pixels = np.bincount(islands.ravel(), minlength=n + 1)
    numbers = np.arange(1, n + 1)
    top = _maxima(snr, islands, n)
    main = _main_sources(truth, islands, n)
    shape = np.append(truth.sources["morphology"].to_numpy(object), "filament")[main]

    # Islands of one source are one object; islands without a source of their own stand alone.
    key = np.where(main[1:] >= 0, main[1:], -numbers)
    _, group = np.unique(key, return_inverse=True)
    object_of = np.append(0, group + 1).astype(np.int32)
    count = int(object_of.max(initial=0))
    object_map = islands.copy()
    _renumber(object_map, object_of)
    islands_of = np.bincount(object_of[1:], minlength=count + 1)

    # A point of that peak would cover this many pixels above the lower threshold.
    as_point = truth.beam_pixels * np.log(np.maximum(top / FLOOD, 1.0))
    resolved = pixels > 1.6 * as_point + 4
    rows = []
    artefacts = None if truth.artefacts is None else truth.artefacts.astype(np.float32)
    worst = np.zeros(n + 1) if artefacts is None else _maxima(artefacts, islands, n)
    brightest = np.zeros(count + 1, int)
    order = np.argsort(top[1:], kind="stable") + 1
    brightest[object_of[order]] = order
    size = np.bincount(object_of, weights=pixels, minlength=count + 1).astype(int)
    for number in range(1, count + 1):
        island = brightest[number]
        if islands_of[number] > 1:
            kind = "EXTENDED-MULTISLAND"
        elif worst[island] > max(3.0, 0.3 * top[island]):
            kind = "FLAGGED"
        else:
            # Blended points are compact, however many.
            kind = "EXTENDED" if resolved[island] and shape[island] != "point" else "COMPACT"
        rows.append((number, kind, main[island], shape[island], islands_of[number], size[number]))
    if artefacts is not None:
        count = _add_spurious(artefacts, 0.3 * truth.beam_pixels, object_map, count, rows)
    table = pd.DataFrame(rows, columns=["object", "class", "source", "morphology", "islands", "pixels"])
    boxes = ndimage.find_objects(object_map, max_label=count)
    for name, axis, end in (("x0", 1, "start"), ("y0", 0, "start"), ("x1", 1, "stop"), ("y1", 0, "stop")):
        table[name] = np.array([getattr(box[axis], end) for box in boxes], int)
    return table, object_map


def _main_sources(truth: Truth, islands: np.ndarray, n: int) -> np.ndarray:
    """For each island the row of the source that puts most brightness into it; -1 for none."""
    owner = np.repeat(np.arange(truth.start.size - 1), np.diff(truth.start))
    column, row = np.rint(truth.drawable.x).astype(int), np.rint(truth.drawable.y).astype(int)
    inside = (column >= 0) & (row >= 0) & (column < islands.shape[1]) & (row < islands.shape[0])
    island = np.zeros(column.size, np.int64)
    island[inside] = islands[row[inside], column[inside]]
    owner, weight, island = owner[island > 0], truth.drawable.peak[island > 0], island[island > 0]
    pair, which = np.unique(island * truth.start.size + owner, return_inverse=True)
    total = np.bincount(which, weights=weight, minlength=pair.size)
    main = np.full(n + 1, -1)
    order = np.argsort(total, kind="stable")
    main[pair[order] // truth.start.size] = pair[order] % truth.start.size
    return main


@njit(nogil=True, cache=True)
def _renumber(labels, number):
    """Replace each label by its new number, in place."""
    for i in range(labels.shape[0]):
        for j in range(labels.shape[1]):
            labels[i, j] = number[labels[i, j]]


@njit(nogil=True, cache=True)
def _maxima(values, labels, n):
    """Largest absolute value under each label from 0 to n."""
    result = np.zeros(n + 1, np.float32)
    for i in range(labels.shape[0]):
        for j in range(labels.shape[1]):
            label = labels[i, j]
            if label > 0:
                result[label] = max(result[label], abs(values[i, j]))
    return result


def _add_spurious(artefacts: np.ndarray, least: float, object_map: np.ndarray, count: int, rows: list) -> int:
    """Add islands of artefacts of at least so many pixels that touch no real object; return the number of objects."""
    fake = _islands(artefacts)
    n = int(fake.max(initial=0))
    pixels = np.bincount(fake.ravel(), minlength=n + 1)
    free = pixels > least
    free[np.unique(fake[object_map > 0])] = False
    free[0] = False
    number = np.where(free, count + np.cumsum(free), 0).astype(np.int32)
    _renumber(fake, number)
    np.copyto(object_map, fake, where=fake > 0)
    rows.extend((number[i], "SPURIOUS", -1, "artefact", 1, pixels[i]) for i in np.flatnonzero(free))
    return count + int(free.sum())


@njit(nogil=True, cache=True)
def _look(object_map, bits, pixels, strong, cloudy, x, y, width, height):
    """For each box: bits of the objects seen in it, pixels of diffuse objects, of artefacts and of clouds."""
    n = x.size
    seen = np.zeros(n, np.int64)
    diffuse, bad, clouds = np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(n, np.int64)
    inside = np.zeros(bits.size, np.int64)
    touched = np.zeros(bits.size, np.int64)
    for i in range(n):
        many = 0
        for row in range(y[i], y[i] + height[i]):
            for column in range(x[i], x[i] + width[i]):
                number = object_map[row, column]
                if number > 0:
                    if inside[number] == 0:
                        touched[many] = number
                        many += 1
                    inside[number] += 1
                if strong.size > 1 and strong[row, column]:
                    bad[i] += 1
                if cloudy.size > 1 and cloudy[row, column]:
                    clouds[i] += 1
        for k in range(many):
            number = touched[k]
            if bits[number] & 8:
                diffuse[i] += inside[number]
            # A sliver at the edge of a frame shows nothing of the object.
            if 3 * inside[number] >= pixels[number] or 8 * inside[number] >= width[i] * height[i]:
                seen[i] |= bits[number]
            inside[number] = 0
    return seen, diffuse, bad, clouds
