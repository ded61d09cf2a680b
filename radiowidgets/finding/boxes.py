"""What detectors of boxes are made of: anchors, coding, matching, suppression, RoIAlign (peculiar-frames section 4.1).

Boxes are (x0, y0, x1, y1) in pixels, ends exclusive: pixel i reaches from i to i + 1. All but the anchors is written in
`keras.ops` alone, for whole batches, in shapes that do not depend on the data, so that each backend runs the same code.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from radiowidgets.models.backend import ops

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

#: Scales of what a box head answers (Girshick 2015), so that all answers are of order 1.
BOX_SCALES = (10.0, 10.0, 5.0, 5.0)
_MOST_GROWTH = math.log(1000 / 16)  # of a side, by one answer


def make_anchors(
    shapes: Sequence[tuple[int, int]],
    strides: Sequence[int],
    sizes: Sequence[Sequence[float]],
    ratios: Sequence[float] = (0.5, 1.0, 2.0),
) -> NDArray[np.float32]:
    """Return anchors for each cell of each level, level after level, row after row (Ren et al. 2015, section 3.1.1).

    Parameters
    ----------
    shapes : sequence of (rows, columns)
        Of the levels.
    strides, sizes
        Of each level: pixels between cells, and the sides of its anchors (square roots of their areas).
    ratios
        Height over width.

    Returns
    -------
    float32 array, shape (anchors, 4)
    """
    levels = []
    for (rows, columns), stride, sides in zip(shapes, strides, sizes, strict=True):
        y, x = np.meshgrid(
            (np.arange(rows) + 0.5) * stride, (np.arange(columns) + 0.5) * stride, indexing="ij"
        )
        roots = [(side, math.sqrt(ratio)) for side in sides for ratio in ratios]
        half = np.array([(side / root / 2, side * root / 2) for side, root in roots])
        centres = np.stack([x, y], -1)[:, :, None]
        levels.append(np.concatenate([centres - half, centres + half], -1).reshape(-1, 4))
    return np.concatenate(levels).astype(np.float32)


def encode_boxes(boxes: Any, anchors: Any, scales: Sequence[float] = (1.0, 1.0, 1.0, 1.0)) -> Any:
    """Return where boxes lie relative to anchors, (..., 4): Ren et al. (2015), equation 2, times `scales`."""
    x, y, width, height = _centred(boxes)
    ax, ay, anchor_width, anchor_height = _centred(anchors)
    steps = (
        (x - ax) / anchor_width,
        (y - ay) / anchor_height,
        ops.log(width / anchor_width),
        ops.log(height / anchor_height),
    )
    return ops.stack([step * scale for step, scale in zip(steps, scales, strict=True)], -1)


def decode_boxes(
    deltas: Any, anchors: Any, size: int | None = None, scales: Sequence[float] = (1.0, 1.0, 1.0, 1.0)
) -> Any:
    """Return boxes (..., 4) that lie so relative to anchors; cut at the borders of a field of `size` pixels."""
    x, y, width, height = _centred(anchors)
    x = x + deltas[..., 0] / scales[0] * width
    y = y + deltas[..., 1] / scales[1] * height
    width = width * ops.exp(ops.minimum(deltas[..., 2] / scales[2], _MOST_GROWTH))
    height = height * ops.exp(ops.minimum(deltas[..., 3] / scales[3], _MOST_GROWTH))
    boxes = ops.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], -1)
    return boxes if size is None else ops.clip(boxes, 0.0, float(size))


def box_iou(first: Any, second: Any) -> Any:
    """Return intersection over union of all pairs, (..., n, m) of (..., n, 4) and (..., m, 4); 0 of empty boxes."""
    first, second = ops.expand_dims(first, -2), ops.expand_dims(second, -3)

    def shared(low: int) -> Any:
        high = ops.minimum(first[..., low + 2], second[..., low + 2])
        return ops.maximum(high - ops.maximum(first[..., low], second[..., low]), 0.0)

    overlap = shared(0) * shared(1)
    return overlap / ops.maximum(_area(first) + _area(second) - overlap, 1e-6)


def match_boxes(iou: Any, high: float, low: float, *, rescue: bool = False) -> tuple[Any, Any]:
    """Match candidates to objects by their overlap (Ren et al. 2015, section 3.1.2).

    Parameters
    ----------
    iou : (..., candidates, objects)
        Columns of objects that are not there are 0.
    high, low
        A candidate takes the object that it overlaps most, from `high`; is background below `low`; else neither.
    rescue
        Whether the best candidates of each object take it even if they lie below `high`.

    Returns
    -------
    which : int array (..., candidates)
        The object overlapped most, also where that says nothing.
    kind : int array (..., candidates)
        1 for one that takes its object, 0 for background, -1 for neither.
    """
    best, which = ops.max(iou, -1), ops.argmax(iou, -1)
    kind = ops.where(best >= high, 1, ops.where(best < low, 0, -1))
    if rescue:
        most = ops.max(iou, -2, keepdims=True)
        kind = ops.where(ops.any((iou == most) & (most > 0), -1), 1, kind)
    return which, kind


def suppress(boxes: Any, scores: Any, threshold: float) -> Any:
    """Return which boxes greedy non-maximum suppression keeps, (..., n) bool; those with score 0 or less never.

    In order of falling scores, each box is kept unless it overlaps a kept one by more than `threshold`. Equal scores
    count in their order. It is solved for all boxes at once: what is kept depends on what comes before alone, so that
    repeating 'keep what no kept box before suppresses' settles, in as many rounds as the longest chain has links.
    """
    count = boxes.shape[-2]
    place = ops.arange(count)
    column, row = ops.expand_dims(scores, -2), ops.expand_dims(scores, -1)
    before = (column > row) | ((column == row) & (place[None, :] < place[:, None]))
    beats = before & (box_iou(boxes, boxes) > threshold)  # [i, j]: j would suppress i
    alive = scores > 0

    def settle(keep: Any, _: Any) -> tuple[Any, Any]:
        return alive & ~ops.any(beats & ops.expand_dims(keep, -2), -1), keep

    keep, _ = ops.while_loop(lambda keep, last: ops.any(keep != last), settle, (alive, ~alive))
    return keep


def draw_sample(
    kind: Any, lots: Any, positive: int, total: int, share: int | None = None
) -> tuple[Any, Any, Any]:
    """Draw candidates to learn from by lot, up to `positive` that took an object, the rest from the background.

    Parameters
    ----------
    kind : int array (n, candidates)
        Of `match_boxes`.
    lots : (n, candidates)
        Random numbers from 0 to 1; the largest are drawn.
    share
        At most so many of the background for each that took an object, which counts as 4 at least. Default: as many
        as there is room for.

    Returns
    -------
    index : int array (n, total)
        Those that took an object come first.
    takes : bool array (n, total)
        Which took an object.
    drawn : bool array (n, total)
        False of places that are left empty, for want of candidates.
    """
    first, one = ops.top_k(ops.where(kind == 1, lots + 1, 0.0), positive)
    second, other = ops.top_k(ops.where(kind == 0, lots + 1, 0.0), total - positive)
    took, rest = first > 0, second > 0
    if share is not None:
        most = share * ops.maximum(ops.sum(ops.cast(took, "int32"), -1, keepdims=True), 4)
        rest = rest & (ops.arange(total - positive, dtype="int32") < most)
    takes = ops.concatenate([took, ops.zeros_like(rest)], -1)
    return ops.concatenate([one, other], -1), takes, ops.concatenate([took, rest], -1)


def pick(values: Any, index: Any) -> Any:
    """Return rows (n, k, ...) of values (n, a, ...) by their places (n, k)."""
    shape = values.shape
    begin = ops.arange(ops.shape(values)[0], dtype="int32")[:, None] * shape[1]
    return ops.take(ops.reshape(values, (-1, *shape[2:])), begin + ops.cast(index, "int32"), axis=0)


def smooth_l1(error: Any, beta: float = 1 / 9) -> Any:
    """Return the loss of an error: half its square over `beta` below that, else linear (Girshick 2015, equation 3)."""
    size = ops.abs(error)
    return ops.where(size < beta, 0.5 * ops.square(size) / beta, size - 0.5 * beta)


def mean_where(values: Any, weight: Any, *, least: float = 1.0) -> Any:
    """Return the mean of values weighted by `weight`, whose sum counts as `least` at least."""
    weight = ops.cast(weight, "float32")
    return ops.sum(values * weight) / ops.maximum(ops.sum(weight), least)


def cross_entropy(logits: Any, targets: Any) -> Any:
    """Return the cross-entropy of yes and no, without overflow: max(x, 0) - x t + log(1 + exp(-|x|))."""
    return ops.maximum(logits, 0.0) - logits * targets + ops.log1p(ops.exp(-ops.abs(logits)))


def mask_loss(logits: Any, targets: Any, takes: Any) -> Any:
    """Return the mean cross-entropy of the pixels of masks (He et al. 2017, section 3).

    Parameters
    ----------
    logits, targets : (n, r, m, m)
        Of the class that each box is of, and what is there, 0 to 1.
    takes : bool array (n, r)
        Which boxes took an object; the others have no mask.
    """
    return mean_where(ops.mean(cross_entropy(logits, targets), (-2, -1)), takes)


def choose_level(boxes: Any, strides: Sequence[int], size: float = 14.0) -> Any:
    """Return the level of a pyramid that each box is read from: the finest on which it is `size` cells wide at most.

    Feature pyramids (Lin et al. 2017, equation 1) read a box of 224 pixels from the level of stride 16: 14 cells.
    """
    side = ops.sqrt(ops.maximum(_area(boxes), 1.0))
    level = ops.ceil(ops.log(side / (size * strides[0])) / math.log(2.0) - 1e-4)
    return ops.cast(ops.clip(level, 0, len(strides) - 1), "int32")


def roi_align(
    levels: Sequence[Any], strides: Sequence[int], boxes: Any, level: Any, out: int, samples: int = 2
) -> Any:
    """Read boxes off feature maps: RoIAlign (He et al. 2017, section 3).

    Each box is cut into `out` by `out` cells, of which each is the mean of `samples` by `samples` points, read
    bilinearly. Points outside a map are read at its border.

    Parameters
    ----------
    levels : sequence of (n, h, w, c) arrays
    strides
        Of the levels, in pixels: the centre of cell i is at (i + 0.5) stride.
    boxes : (n, r, 4)
    level : int array (n, r)
        Which of the levels each box is read from.

    Returns
    -------
    array (n, r, out, out, c)
    """
    count = boxes.shape[1]
    total: Any = 0.0
    for place, (part, stride) in enumerate(zip(levels, strides, strict=True)):
        _, height, width, channels = part.shape
        own = ops.cast(level == place, "float32")[..., None, None]
        up, across = _shares(boxes / stride, height, width, out, samples)
        rows = ops.matmul(
            ops.reshape(up * own, (-1, count * out, height)),
            ops.reshape(part, (-1, height, width * channels)),
        )
        rows = ops.reshape(rows, (-1, count, out, width, channels))
        total = total + ops.matmul(across[:, :, None], rows)
    return total


def align_masks(masks: Any, which: Any, boxes: Any, out: int) -> Any:
    """Return the part of a mask that each box holds, (n, r, out, out), by RoIAlign of one point a cell.

    Parameters
    ----------
    masks : (n, objects, h, w)
    which : int array (n, r)
        The object that each box is of.
    boxes : (n, r, 4)
    """
    _, _, height, width = masks.shape
    up, across = _shares(boxes, height, width, out, 1)
    own = ops.cast(pick(masks, which), "float32")
    return ops.matmul(ops.matmul(up, own), ops.swapaxes(across, -1, -2))


# ------------------------------------------------------------------------------------


def _shares(boxes: Any, height: int, width: int, out: int, samples: int) -> tuple[Any, Any]:
    """Return what each row and each column weighs in the cells of boxes (n, r, 4): (n, r, out, height or width).

    Bilinear reading takes a mean over rows, then one over columns. Products of matrices, most of whose entries are 0,
    are several times faster than reading pixel by pixel, above all back through the network.
    """
    points = ops.convert_to_tensor((np.arange(out * samples) + 0.5) / (out * samples), "float32")

    def along(low: Any, high: Any, length: int) -> Any:
        place = ops.clip(low + points * (high - low) - 0.5, 0.0, length - 1.0)
        share = ops.maximum(1 - ops.abs(place[..., None] - ops.arange(length, dtype="float32")), 0.0)
        return ops.mean(ops.reshape(share, (-1, boxes.shape[1], out, samples, length)), 3)

    return along(boxes[..., 1:2], boxes[..., 3:4], height), along(boxes[..., 0:1], boxes[..., 2:3], width)


def _centred(boxes: Any) -> tuple[Any, Any, Any, Any]:
    """Return centre x, centre y, width and height."""
    width, height = boxes[..., 2] - boxes[..., 0], boxes[..., 3] - boxes[..., 1]
    return boxes[..., 0] + width / 2, boxes[..., 1] + height / 2, width, height


def _area(boxes: Any) -> Any:
    return ops.maximum(boxes[..., 2] - boxes[..., 0], 0.0) * ops.maximum(boxes[..., 3] - boxes[..., 1], 0.0)
