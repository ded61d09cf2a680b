"""The objects of frames, each with its class and mask: to learn from, to join over frames, to correct by hand.

An object is a patch: the lower left pixel of its box, and what of the box is the object. Objects may overlap, and may
have several islands (peculiar-frames section 4.2).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from radiowidgets.data.simulate import simulate
from radiowidgets.data.simulate.presets import ARRAYS
from radiowidgets.data.simulate.truth import OBJECT_CLASSES
from radiowidgets.errors import ParameterError
from radiowidgets.finding.finders import COLUMNS, Found, source_table
from radiowidgets.finding.matching import match_masks
from radiowidgets.finding.peers import flux_factor

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from radiowidgets.data.maps import SkyMap
    from radiowidgets.labels.log import LabelLog

CLASSES = OBJECT_CLASSES
#: The classes that are called SOURCE together: what is real and well imaged.
SOURCE = ("COMPACT", "EXTENDED", "EXTENDED-MULTISLAND")

#: Mock surveys to learn from. Rare objects are put in more often than the sky has them, and calibration is a little
#: worse than usual, else EXTENDED-MULTISLAND, SPURIOUS and FLAGGED would hardly be there.
SURVEYS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("emu", {"rare": 30.0}),
    (
        "emu",
        {
            "rare": 30.0,
            "beam": (8.0, 8.0, 0.0),
            "gain_error": 0.04,
            "phase_error": 0.07,
            "artefact_snr": 150.0,
        },
    ),
    ("first", {"rare": 60.0}),
    (
        "emu",
        {
            "rare": 30.0,
            "frequency": 2.1e9,
            "pixel_scale": 1.5,
            "beam": (6.5, 6.5, 0.0),
            "array": ARRAYS["atca"],
        },
    ),
    ("smgps", {"artefact_snr": 100.0}),
)
MAP_SIZE = 1024
#: Shares of the classes that training frames are centred on, so that about the paper's balanced samples come out with
#: more SPURIOUS and FLAGGED objects: windows about FLAGGED ones hold many SPURIOUS.
BALANCE = {"SPURIOUS": 0.1, "COMPACT": 0.35, "EXTENDED": 0.28, "EXTENDED-MULTISLAND": 0.22, "FLAGGED": 0.05}
MOST = 16  # objects of a mock frame: more is a field of artefacts, which the paper's samples do not have
_TRIES = 20  # windows about objects of a class: FLAGGED ones stand where many windows hold too many objects
AROUND = 10  # pixels round the box of an object in which its background is measured


class Patch(NamedTuple):
    """The mask of one object: its part of a box whose lower left pixel is (x0, y0)."""

    y0: int
    x0: int
    mask: NDArray[np.bool_]

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Return (x0, y0, x1, y1), ends exclusive."""
        height, width = self.mask.shape
        return self.x0, self.y0, self.x0 + width, self.y0 + height

    def moved(self, x: int, y: int) -> Patch:
        """Return the patch so many pixels farther right and up."""
        return Patch(self.y0 + y, self.x0 + x, self.mask)

    def within(self, shape: tuple[int, int]) -> NDArray[np.bool_]:
        """Return the mask in a field of (rows, columns); what lies outside is cut off."""
        full = np.zeros(shape, bool)
        x0, y0, x1, y1 = self.box
        left, low, right, high = max(x0, 0), max(y0, 0), min(x1, shape[1]), min(y1, shape[0])
        if left < right and low < high:
            full[low:high, left:right] = self.mask[low - y0 : high - y0, left - x0 : right - x0]
        return full


def patch_of(mask: ArrayLike) -> Patch | None:
    """Return the patch of a mask (h, w), close about its pixels; None if it has none."""
    mask = np.asarray(mask, bool)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    y0, y1, x0, x1 = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    return Patch(y0, x0, mask[y0:y1, x0:x1].copy())


@dataclass(frozen=True)
class Instances:
    """Frames of one size with their objects.

    Attributes
    ----------
    images : float32 array (n, size, size)
        In any unit.
    kinds : list of int arrays
        For each frame the classes of its objects, as places in `CLASSES`.
    patches : list of list of Patch
        Their masks, in pixels of the frame.
    """

    images: NDArray[np.float32]
    kinds: list[NDArray[np.int64]]
    patches: list[list[Patch]]

    def __len__(self) -> int:
        return len(self.images)

    def select(self, chosen: ArrayLike) -> Instances:
        """Return some of the frames, by their places."""
        places = np.arange(len(self))[np.asarray(chosen)]
        return Instances(
            self.images[places], [self.kinds[k] for k in places], [self.patches[k] for k in places]
        )

    def joined(self, other: Instances) -> Instances:
        """Return these frames and those of another set behind them."""
        if self.images.shape[1:] != other.images.shape[1:]:
            raise ParameterError(
                f"frames of {self.images.shape[1:]} and {other.images.shape[1:]} pixels; give frames of one size."
            )
        return Instances(
            np.concatenate([self.images, other.images]),
            self.kinds + other.kinds,
            self.patches + other.patches,
        )

    def outlines(self) -> dict[int, list[dict[str, Any]]]:
        """Return the objects of each frame by its place, as `radiowidgets.Outline` and labels hold them."""
        return {
            k: [
                {"class": CLASSES[kind], "rings": outline_of(patch)}
                for kind, patch in zip(self.kinds[k], self.patches[k], strict=True)
            ]
            for k in range(len(self))
        }

    def counts(self) -> dict[str, int]:
        """Return how many objects of each class there are."""
        every = np.concatenate([np.zeros(0, int), *self.kinds])
        return {name: int(np.sum(every == k)) for k, name in enumerate(CLASSES)}


# ------------------------------------------------------------------------------------
# mock frames


def mock_instances(
    count: int,
    seed: int = 0,
    *,
    size: int = 128,
    maps_each: int = 2,
    balanced: bool = True,
    surveys: Sequence[tuple[str, Mapping[str, Any]]] = SURVEYS,
) -> Instances:
    """Cut frames with their objects out of mock maps.

    Parameters
    ----------
    count
        Frames.
    seed
        The same seed gives the same frames; another one other maps.
    size
        Of the frames, pixels.
    maps_each
        Maps of each survey.
    balanced
        Whether frames are laid round objects of classes drawn by `BALANCE`, to learn from; else anywhere, but so
        that they show an object. Frames of more than 16 objects are left out.
    surveys
        Presets with what is changed in them.
    """
    rng = np.random.default_rng([seed, 4])
    skies = [
        simulate(name, MAP_SIZE, seed * 1000 + 31 * number + place, blank=0.0, **changes)
        for place, (name, changes) in enumerate(surveys)
        for number in range(maps_each)
    ]
    tables = [sky.truth.objects for sky in skies]  # type: ignore[attr-defined]
    of_kind = {
        name: [
            (place, row)
            for place, table in enumerate(tables)
            for row in np.flatnonzero(table["class"] == name)
        ]
        for name in CLASSES
    }
    names = [name for name in CLASSES if of_kind[name]]
    share = np.array([BALANCE[name] for name in names])
    images = np.empty((count, size, size), np.float32)
    kinds: list[NDArray[np.int64]] = []
    patches: list[list[Patch]] = []
    while len(kinds) < count:
        name = str(rng.choice(names, p=share / share.sum())) if balanced else ""
        for _ in range(_TRIES):
            if balanced:
                place, row = of_kind[name][rng.integers(len(of_kind[name]))]
                x, y = _window_about(rng, tables[place].iloc[row], size)
            else:
                place = int(rng.integers(len(skies)))
                x, y = (int(k) for k in rng.integers(0, MAP_SIZE - size + 1, 2))
            found, own = objects_in(skies[place], x, y, size)
            if 0 < len(own) <= MOST:
                images[len(kinds)] = skies[place].pixels[y : y + size, x : x + size]
                kinds.append(found)
                patches.append(own)
                break
    return Instances(images, kinds, patches)


def _window_about(rng: np.random.Generator, row: Any, size: int) -> tuple[int, int]:
    """Return the corner of a window that shows all of an object, or its middle if it is larger."""
    corner = []
    for low, high in ((row.x0, row.x1), (row.y0, row.y1)):
        first, last = sorted((high - size, low))
        corner.append(int(np.clip(rng.integers(first, last + 1), 0, MAP_SIZE - size)))
    return corner[0], corner[1]


def objects_in(sky: SkyMap, x: int, y: int, size: int) -> tuple[NDArray[np.int64], list[Patch]]:
    """Return the objects of a mock map in a window: their classes, and masks in pixels of the window.

    A sliver at the edge shows nothing of an object: what has less than a third of its pixels in the window is left
    out, unless it fills an eighth of the window; so are objects of fewer than 4 pixels.
    """
    truth = sky.truth  # type: ignore[attr-defined]
    labels = truth.object_map[y : y + size, x : x + size]
    kinds: list[int] = []
    patches: list[Patch] = []
    for number in np.unique(labels[labels > 0]):
        row = truth.objects.iloc[number - 1]
        patch = patch_of(labels == number)
        assert patch is not None and row["object"] == number
        inside = int(patch.mask.sum())
        if inside >= 4 and (3 * inside >= row["pixels"] or 8 * inside >= size * size):
            kinds.append(CLASSES.index(row["class"]))
            patches.append(patch)
    return np.array(kinds, np.int64), patches


# ------------------------------------------------------------------------------------
# masks


def paste_mask(chances: ArrayLike, box: ArrayLike, shape: tuple[int, int], cut: float = 0.5) -> Patch | None:
    """Lay the mask of a box (m, m) into its frame: the pixels where it is at least `cut`, bilinear between its cells.

    Parameters
    ----------
    chances : (m, m)
        How likely each cell of the box is part of the object.
    box : (x0, y0, x1, y1)
        In pixels, not whole ones.
    shape
        Of the frame, (rows, columns).

    Returns
    -------
    Patch or None
        None if no pixel is left.
    """
    chances = np.asarray(chances, np.float32)
    x0, y0, x1, y1 = (float(value) for value in np.asarray(box))
    left, low = max(int(np.floor(x0)), 0), max(int(np.floor(y0)), 0)
    right, high = min(int(np.ceil(x1)), shape[1]), min(int(np.ceil(y1)), shape[0])
    if left >= right or low >= high or x1 <= x0 or y1 <= y0:
        return None
    across = _weights((np.arange(left, right) + 0.5 - x0) / (x1 - x0), chances.shape[1])
    up = _weights((np.arange(low, high) + 0.5 - y0) / (y1 - y0), chances.shape[0])
    found = patch_of(up @ chances @ across.T >= cut)
    return None if found is None else found.moved(left, low)


def _weights(share: NDArray[Any], cells: int) -> NDArray[np.float32]:
    """Return what each of so many cells weighs at places (n,) of a row, 0 to 1 along it: (n, cells)."""
    place = np.clip(share * cells - 0.5, 0, cells - 1)
    outside = (share < 0) | (share > 1)
    weights = np.maximum(0, 1 - np.abs(place[:, None] - np.arange(cells))).astype(np.float32)
    weights[outside] = 0
    return weights


def overlap(first: Patch, second: Patch) -> int:
    """Return how many pixels two patches share."""
    x0, y0 = max(first.x0, second.x0), max(first.y0, second.y0)
    x1, y1 = min(first.box[2], second.box[2]), min(first.box[3], second.box[3])
    if x0 >= x1 or y0 >= y1:
        return 0
    parts = [p.mask[y0 - p.y0 : y1 - p.y0, x0 - p.x0 : x1 - p.x0] for p in (first, second)]
    return int(np.sum(parts[0] & parts[1]))


def union(first: Patch, second: Patch) -> Patch:
    """Return the patch of what either of two holds."""
    x0, y0 = min(first.x0, second.x0), min(first.y0, second.y0)
    shape = max(first.box[3], second.box[3]) - y0, max(first.box[2], second.box[2]) - x0
    return Patch(y0, x0, first.moved(-x0, -y0).within(shape) | second.moved(-x0, -y0).within(shape))


class Piece(NamedTuple):
    """An object as one tile of a map shows it.

    Attributes
    ----------
    patch : Patch
        In pixels of the map.
    kind : int
    score : float
    tile : (x, y)
        Corner of the tile.
    cut : bool
        Whether it reaches the border of its tile, so that there may be more of it.
    """

    patch: Patch
    kind: int
    score: float
    tile: tuple[int, int]
    cut: bool


def join_tiles(pieces: Sequence[Piece], shared: float = 0.5) -> list[Piece]:
    """Make one of what several overlapping tiles show.

    Pieces of different tiles are of one object if they share `shared` of the pixels of the smaller. Of pieces of which
    one at least is whole, the surest whole one stays; pieces that are all cut off are put together, and the surest
    tells class and score. Objects of one tile are never joined: there the network has separated them.
    """
    order = sorted(range(len(pieces)), key=lambda k: (pieces[k].cut, -pieces[k].score, k))
    kept: list[Piece] = []
    tiles: list[set[tuple[int, int]]] = []
    near = _Near()
    for piece in (pieces[k] for k in order):
        for place in near.of(piece.patch):
            other = kept[place]
            least = min(int(piece.patch.mask.sum()), int(other.patch.mask.sum()))
            if piece.tile in tiles[place] or overlap(piece.patch, other.patch) < shared * least:
                continue
            if other.cut:
                kept[place] = other._replace(patch=union(other.patch, piece.patch))
                near.add(kept[place].patch, place)
            tiles[place].add(piece.tile)
            break
        else:
            near.add(piece.patch, len(kept))
            kept.append(piece)
            tiles.append({piece.tile})
    return kept


def window_starts(length: int, size: int) -> list[int]:
    """Return where frames begin that cover a side of a map and overlap by a third, the last one flush with its end."""
    last = max(length - size, 0)
    return sorted({*range(0, last, 2 * size // 3), last})


def tile_piece(
    patch: Patch, kind: int, score: float, tile: tuple[int, int], size: int, shape: tuple[int, int]
) -> Piece:
    """Return the piece of a patch in pixels of the map; it is cut off at borders of its tile within the map."""
    x0, y0, x1, y1 = patch.box
    x, y = tile
    cut = (x0 <= x and x > 0) or (y0 <= y and y > 0)
    cut = cut or (x + size <= x1 < shape[1]) or (y + size <= y1 < shape[0])
    return Piece(patch, kind, score, tile, cut)


def found_objects(sky: SkyMap, pieces: Sequence[Piece], name: str) -> Found:
    """Return objects as a finder's result: positions and flux densities are measured in their masks.

    The position is the centroid of what is positive in the mask, the flux density the sum of its pixels over the
    median of those round it, `island` the number of the mask; the columns x0, y0, x1, y1 are its box (ends exclusive).
    Where masks overlap, the label image shows the surer object; `patches` hold all of each.
    """
    notes: list[str] = []
    factor = flux_factor(sky, notes)
    labels = np.zeros(sky.shape, np.int32)
    order = sorted(pieces, key=lambda piece: -piece.score)
    measured = np.array([_measure(sky, piece.patch) for piece in order], np.float64).reshape(-1, 4)
    for number in range(len(order), 0, -1):
        x0, y0, x1, y1 = order[number - 1].patch.box
        labels[y0:y1, x0:x1][order[number - 1].patch.mask] = number
    boxes = np.array([piece.patch.box for piece in order], np.int64).reshape(-1, 4)
    table = source_table(
        sky,
        measured[:, 0],
        measured[:, 1],
        flux=measured[:, 2] * factor,
        peak=measured[:, 3],
        score=np.array([piece.score for piece in order], np.float64),
        kind=np.array([CLASSES[piece.kind] for piece in order], object),
        island=np.arange(1, len(order) + 1),
        **{column: boxes[:, k] for k, column in enumerate(("x0", "y0", "x1", "y1"))},
    )
    patches = [(piece.patch.y0, piece.patch.x0, piece.patch.mask) for piece in order]
    return Found(table, name=name, masks=labels, patches=patches, notes=notes)


def _measure(sky: SkyMap, patch: Patch) -> tuple[float, float, float, float]:
    """Return x, y, the sum over the background, and the peak of a patch."""
    x0, y0, x1, y1 = patch.box
    left, low = max(x0 - AROUND, 0), max(y0 - AROUND, 0)
    pixels = np.asarray(sky.pixels[low : y1 + AROUND, left : x1 + AROUND], np.float64)
    inside = patch.moved(-left, -low).within(pixels.shape)
    values, outside = pixels[inside], pixels[~inside & np.isfinite(pixels)]
    background = float(np.median(outside)) if outside.size else 0.0
    seen = np.isfinite(values)
    if not seen.any():
        return (x0 + x1 - 1) / 2, (y0 + y1 - 1) / 2, np.nan, np.nan
    rows, columns = np.nonzero(inside)
    weight = np.maximum(np.where(seen, values - background, 0.0), 0.0)
    weight = weight if weight.any() else seen.astype(float)
    x, y = left + np.average(columns, weights=weight), low + np.average(rows, weights=weight)
    return float(x), float(y), float(np.sum(values[seen] - background)), float(values[seen].max())


def score_instances(detections: Sequence[Sequence[Any]], data: Instances, iou: float = 0.6) -> pd.DataFrame:
    """Return how well objects were found, class by class (peculiar-frames section 4.3).

    Masks are matched one to one by their intersection over union, whatever their classes. An object counts for its
    class if what was found in its place has that class; for SOURCE if both have one of `SOURCE`.

    Parameters
    ----------
    detections : (n,) of lists
        What was found in each frame: `maskrcnn.InstanceFinder.detect`; anything with `kind` (text) and `patch`.
    data : Instances
        What is there. Where objects overlap, a pixel counts for the smaller one.
    iou
        Least overlap of a pair.

    Returns
    -------
    DataFrame
        Indexed by class, SOURCE last: objects, found, matched, completeness, reliability, f1 (NaN where there is
        neither object nor find).
    """
    side = data.images.shape[1]
    strip = np.zeros((len(data) * side, data.images.shape[2]), np.int32)
    true, said, patches = [""], [], []
    for k in range(len(data)):
        for j in sorted(range(len(data.patches[k])), key=lambda j: -data.patches[k][j].mask.sum()):
            x0, y0, x1, y1 = data.patches[k][j].moved(0, k * side).box
            strip[y0:y1, x0:x1][data.patches[k][j].mask] = len(true)
            true.append(CLASSES[data.kinds[k][j]])
        said += [one.kind for one in detections[k]]
        patches += [tuple(one.patch.moved(0, k * side)) for one in detections[k]]
    empty = pd.DataFrame({name: np.zeros(len(said)) for name in COLUMNS})
    pairs = match_masks(Found(empty, patches=patches), strip, iou)
    found, there = np.array(said, object), np.array(true[1:], object)
    both = found[pairs["found"].to_numpy(int)], there[pairs["truth"].to_numpy(int) - 1]
    rows = []
    for names in (*((name,) for name in CLASSES), SOURCE):
        matched = int(np.sum(np.isin(both[0], names) & np.isin(both[1], names)))
        rows.append((int(np.isin(there, names).sum()), int(np.isin(found, names).sum()), matched))
    table = pd.DataFrame(rows, columns=["objects", "found", "matched"], index=[*CLASSES, "SOURCE"])
    with np.errstate(invalid="ignore", divide="ignore"):
        table["completeness"] = table["matched"] / table["objects"]
        table["reliability"] = table["matched"] / table["found"]
        table["f1"] = 2 * table["matched"] / (table["objects"] + table["found"])
    return table


class _Near:
    """Finds the patches that may touch another one, by squares of a grid."""

    def __init__(self, side: int = 64) -> None:
        self.side = side
        self.squares: dict[tuple[int, int], list[int]] = {}

    def _cover(self, patch: Patch) -> Iterator[tuple[int, int]]:
        x0, y0, x1, y1 = patch.box
        for row in range(y0 // self.side, (y1 - 1) // self.side + 1):
            for column in range(x0 // self.side, (x1 - 1) // self.side + 1):
                yield row, column

    def add(self, patch: Patch, place: int) -> None:
        for square in self._cover(patch):
            self.squares.setdefault(square, []).append(place)

    def of(self, patch: Patch) -> list[int]:
        return sorted({place for square in self._cover(patch) for place in self.squares.get(square, [])})


# ------------------------------------------------------------------------------------
# outlines, as people draw them


def outline_of(patch: Patch, tolerance: float = 0.4) -> list[list[list[float]]]:
    """Return the outline of a mask: rings of corners [x, y] in pixels, islands and holes alike.

    Pixel i has its centre at i; a ring runs half way between what is inside and what is outside. Corners that lie
    within `tolerance` pixels of a line between others are left out.
    """
    from contourpy import contour_generator

    field = np.pad(patch.mask.astype(np.float32), 1)
    lines = contour_generator(z=field).lines(0.5)
    corner = np.array([patch.x0 - 1, patch.y0 - 1])
    rings = [_thinned(np.asarray(line) + corner, tolerance) for line in lines]
    return [np.round(ring, 1).tolist() for ring in rings if len(ring) >= 3]


def outlines_of(found: Sequence[Any]) -> list[dict[str, Any]]:
    """Return what was found in a frame as outlines, as `radiowidgets.Outline` starts from and labels keep them.

    Parameters
    ----------
    found
        Anything with `kind` (text) and `patch`, such as `maskrcnn.Detection`.
    """
    drawn = [{"class": one.kind, "rings": outline_of(one.patch)} for one in found]
    return [outline for outline in drawn if outline["rings"]]


def mask_of(rings: Sequence[Sequence[Sequence[float]]], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the pixels (rows, columns) of a frame whose centres lie within rings, by the even-odd rule.

    A ring within another one is a hole; rings apart are islands of one object.
    """
    inside = np.zeros(shape, bool)
    rows, columns = np.arange(shape[0]), np.arange(shape[1])
    for ring in rings:
        corners = np.asarray(ring, np.float64)
        for (xa, ya), (xb, yb) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            crossed = (ya > rows) != (yb > rows)
            if crossed.any():
                place = xa + (rows[crossed] - ya) * (xb - xa) / (yb - ya)
                inside[crossed] ^= columns[None, :] < place[:, None]
    return inside


def _thinned(line: NDArray[np.float64], tolerance: float) -> NDArray[np.float64]:
    """Return a closed line without the corners that hardly change it (Douglas and Peucker 1973)."""
    keep = np.zeros(len(line), bool)
    far = int(np.argmax(np.hypot(*(line - line[0]).T)))
    keep[[0, far]] = True
    parts = [(0, far), (far, len(line) - 1)]
    while parts:
        first, last = parts.pop()
        if last - first < 2:
            continue
        along = line[last] - line[first]
        length = max(float(np.hypot(*along)), 1e-9)
        steps = line[first + 1 : last] - line[first]
        off = np.abs(steps[:, 0] * along[1] - steps[:, 1] * along[0]) / length
        if off.max() > tolerance:
            middle = first + 1 + int(off.argmax())
            keep[middle] = True
            parts += [(first, middle), (middle, last)]
    return line[keep]


def labelled_instances(
    images: ArrayLike, frame_ids: Sequence[str], log: LabelLog, annotator: str | None = None
) -> Instances:
    """Return the frames whose objects somebody outlined, to train on.

    Parameters
    ----------
    images : (n, size, size)
        Of the frames, such as ``run.frames.pixels(range(n))[..., 0]``.
    frame_ids : (n,)
    log : LabelLog
        Such as ``run.labels``.
    annotator
        Whose outlines. Default: one's own.

    Returns
    -------
    Instances
        Only frames with outlines are in it, in the order given. One whose annotator said that it shows nothing is in
        it too, without objects.

    Raises
    ------
    ParameterError
        If an outline has a class that is none of `CLASSES`.
    """
    images = np.asarray(images, np.float32)
    said = log.outlines(annotator)
    kept, kinds, patches = [], [], []
    for place, frame_id in enumerate(frame_ids):
        if frame_id not in said:
            continue
        own = []
        for outline in said[frame_id]:
            if outline["class"] not in CLASSES:
                raise ParameterError(
                    f"an outline of {frame_id} has class {outline['class']!r}; choose among {', '.join(CLASSES)}."
                )
            patch = patch_of(mask_of(outline["rings"], images.shape[1:3]))
            if patch is not None:
                own.append((CLASSES.index(outline["class"]), patch))
        kept.append(place)
        kinds.append(np.array([kind for kind, _ in own], np.int64))
        patches.append([patch for _, patch in own])
    return Instances(images[kept], kinds, patches)
