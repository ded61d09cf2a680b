"""Each block of a detector of boxes against NumPy, one box at a time."""

import itertools
import math

import numpy as np
import pytest

pytest.importorskip("keras")


from radiowidgets.finding import boxes as blocks


def some_boxes(rng, *shape, size=64):
    low = rng.uniform(0, size - 4, (*shape, 2))
    high = low + rng.uniform(2, size / 2, (*shape, 2))
    return np.concatenate([low, np.minimum(high, size)], -1).astype(np.float32)


def iou_of(a, b):
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    both = width * height
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def test_anchors_stand_on_every_cell_of_every_level():
    found = blocks.make_anchors([(2, 3), (1, 2)], [4, 8], [[6], [12, 20]], (0.5, 1.0, 2.0))
    expected = []
    for rows, columns, stride, sizes in ((2, 3, 4, [6]), (1, 2, 8, [12, 20])):
        for row in range(rows):
            for column in range(columns):
                for size, ratio in itertools.product(sizes, (0.5, 1.0, 2.0)):
                    width, height = size / math.sqrt(ratio), size * math.sqrt(ratio)
                    x, y = (column + 0.5) * stride, (row + 0.5) * stride
                    expected.append([x - width / 2, y - height / 2, x + width / 2, y + height / 2])
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_coding_is_that_of_the_paper_and_decoding_undoes_it():
    rng = np.random.default_rng(1)
    boxes, anchors = some_boxes(rng, 2, 50), some_boxes(rng, 50)
    deltas = np.asarray(blocks.encode_boxes(boxes, anchors, blocks.BOX_SCALES))
    for k in (0, 17, 49):
        box, anchor = boxes[1, k], anchors[k]
        wide, tall = anchor[2] - anchor[0], anchor[3] - anchor[1]
        x = ((box[0] + box[2]) / 2 - (anchor[0] + anchor[2]) / 2) / wide
        y = ((box[1] + box[3]) / 2 - (anchor[1] + anchor[3]) / 2) / tall
        size = math.log((box[2] - box[0]) / wide), math.log((box[3] - box[1]) / tall)
        np.testing.assert_allclose(
            deltas[1, k], [10 * x, 10 * y, 5 * size[0], 5 * size[1]], rtol=1e-4, atol=1e-4
        )
    back = np.asarray(blocks.decode_boxes(deltas, anchors, scales=blocks.BOX_SCALES))
    np.testing.assert_allclose(back, boxes, atol=1e-3)
    huge = np.asarray(blocks.decode_boxes(np.full((1, 4), 50, np.float32), anchors[:1], 64))
    assert np.isfinite(huge).all() and huge.min() >= 0 and huge.max() <= 64


def test_overlaps_of_all_pairs():
    rng = np.random.default_rng(2)
    a, b = some_boxes(rng, 3, 7), some_boxes(rng, 3, 5)
    found = np.asarray(blocks.box_iou(a, b))
    expected = [[[iou_of(one, other) for other in b[k]] for one in a[k]] for k in range(3)]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.asarray(blocks.box_iou(np.zeros((1, 4), np.float32), a[0])).max() == 0


@pytest.mark.parametrize("rescue", [False, True])
def test_matching_follows_the_rules_one_by_one(rescue):
    rng = np.random.default_rng(3)
    iou = np.asarray(blocks.box_iou(some_boxes(rng, 40, size=24), some_boxes(rng, 6, size=24)))
    iou = np.concatenate([iou, np.zeros((40, 2), np.float32)], 1)  # two objects that are not there
    which, kind = (np.asarray(part) for part in blocks.match_boxes(iou, 0.5, 0.2, rescue=rescue))
    for k, row in enumerate(iou):
        expected = 1 if row.max() >= 0.5 else 0 if row.max() < 0.2 else -1
        if rescue and any(row[j] > 0 and row[j] == iou[:, j].max() for j in range(8)):
            expected = 1
        assert kind[k] == expected
        assert which[k] == row.argmax()
    assert set(kind) == {-1, 0, 1}


def greedy(boxes, scores, threshold):
    kept = []
    for k in sorted(range(len(boxes)), key=lambda k: (-scores[k], k)):
        if scores[k] > 0 and all(iou_of(boxes[k], boxes[other]) <= threshold for other in kept):
            kept.append(k)
    return np.isin(np.arange(len(boxes)), kept)


def test_suppression_keeps_what_the_greedy_loop_keeps():
    rng = np.random.default_rng(4)
    boxes = some_boxes(rng, 4, 80, size=40)
    boxes[3] = np.float32([0, 0, 20, 20]) + np.arange(80, dtype=np.float32)[:, None] * np.float32(
        [1, 0, 1, 0]
    )
    scores = np.round(rng.uniform(-0.2, 1, (4, 80)), 1).astype(
        np.float32
    )  # with ties, and some to be left out
    scores[3] = np.linspace(1, 0.1, 80)  # one long chain
    found = np.asarray(blocks.suppress(boxes, scores, 0.4))
    expected = [greedy(boxes[k], scores[k], 0.4) for k in range(4)]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("share", [None, 1, 3])
def test_samples_hold_so_much_background_for_each_object(share):
    rng = np.random.default_rng(6)
    kind = np.zeros((3, 60), np.int32)
    kind[0, 5:45], kind[1, 50:56], kind[2, ::2] = 1, 1, -1
    lots = rng.random((3, 60), np.float32)
    index, takes, drawn = (np.asarray(part) for part in blocks.draw_sample(kind, lots, 8, 32, share))
    for k in range(3):
        objects = sorted(np.flatnonzero(kind[k] == 1), key=lambda j: -lots[k, j])[:8]
        most = 24 if share is None else min(24, share * max(4, len(objects)))
        rest = sorted(np.flatnonzero(kind[k] == 0), key=lambda j: -lots[k, j])[:most]
        assert index[k][drawn[k]].tolist() == [*objects, *rest]
        assert takes[k].sum() == len(objects) and not takes[k, 8:].any()


def bilinear(image, x, y):
    height, width = image.shape
    x, y = min(max(x, 0), width - 1), min(max(y, 0), height - 1)
    i, j = int(y), int(x)
    k, m = min(i + 1, height - 1), min(j + 1, width - 1)
    top = image[i, j] * (1 - (x - j)) + image[i, m] * (x - j)
    bottom = image[k, j] * (1 - (x - j)) + image[k, m] * (x - j)
    return top * (1 - (y - i)) + bottom * (y - i)


@pytest.mark.parametrize("samples", [1, 2])
def test_boxes_are_read_off_their_level_point_by_point(samples):
    rng = np.random.default_rng(5)
    levels = [rng.normal(size=(2, side, side, 3)).astype(np.float32) for side in (16, 8, 4)]
    boxes = some_boxes(rng, 2, 9)
    boxes[0, 0] = [0, 0, 64, 64]  # reaches all borders
    level = rng.integers(0, 3, (2, 9)).astype(np.int32)
    found = np.asarray(blocks.roi_align(levels, (4, 8, 16), boxes, level, 5, samples))
    assert found.shape == (2, 9, 5, 5, 3)
    for n, r, i, j, c in [
        (0, 0, 0, 0, 0),
        (0, 0, 4, 4, 2),
        (1, 8, 2, 3, 1),
        (0, 5, 4, 0, 0),
        (1, 2, 1, 1, 2),
    ]:
        x0, y0, x1, y1 = boxes[n, r] / (4, 8, 16)[level[n, r]]
        image = levels[level[n, r]][n, ..., c]
        points = [
            bilinear(
                image,
                x0 + (j + (b + 0.5) / samples) * (x1 - x0) / 5 - 0.5,
                y0 + (i + (a + 0.5) / samples) * (y1 - y0) / 5 - 0.5,
            )
            for a in range(samples)
            for b in range(samples)
        ]
        assert found[n, r, i, j, c] == pytest.approx(np.mean(points), abs=1e-4)


def test_masks_are_read_off_the_object_of_each_box():
    masks = np.zeros((2, 3, 16, 16), bool)
    masks[1, 2, 4:12, 2:10] = True
    found = np.asarray(blocks.align_masks(masks, np.array([[0, 1], [2, 2]], np.int32), BOXES, 8))
    assert found[0].max() == 0
    np.testing.assert_array_equal(found[1, 0], np.ones((8, 8)))
    np.testing.assert_array_equal(found[1, 1], np.repeat([[1, 1, 1, 1, 0, 0, 0, 0]], 8, 0))


BOXES = np.float32([[[0, 0, 16, 16], [0, 0, 16, 16]], [[2, 4, 10, 12], [6, 4, 14, 12]]])


def test_large_boxes_are_read_from_coarse_levels():
    sides = np.float32([3, 27, 28, 29, 56, 57, 112, 1000])
    boxes = np.stack([0 * sides, 0 * sides, sides, sides], -1)[None]
    np.testing.assert_array_equal(blocks.choose_level(boxes, (2, 4, 8, 16)), [[0, 0, 0, 1, 1, 2, 2, 3]])
