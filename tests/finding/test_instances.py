"""Objects of frames: from mock maps, as masks, outlines and tiles; how well they were found."""

from typing import NamedTuple

import numpy as np
import pytest

from radiowidgets.data.maps import SkyMap
from radiowidgets.data.simulate import simulate
from radiowidgets.errors import ParameterError
from radiowidgets.finding import instances as objects
from radiowidgets.finding.instances import CLASSES, Instances, Patch, Piece
from radiowidgets.labels.log import LabelLog


@pytest.fixture(scope="module")
def mock():
    return objects.mock_instances(12, seed=3, maps_each=1, surveys=[("first", {"rare": 60.0})])


def disc(x, y, radius, shape=(60, 60)):
    rows, columns = np.indices(shape)
    return np.hypot(rows - y, columns - x) <= radius


def test_mock_frames_show_the_objects_of_their_maps(mock):
    assert mock.images.shape == (12, 128, 128) and len(mock) == 12
    assert sum(mock.counts().values()) == sum(len(own) for own in mock.patches)
    assert all(1 <= len(own) <= objects.MOST for own in mock.patches)
    bright = [
        np.median(image[patch.within(image.shape)]) > np.median(image)
        for image, own in zip(mock.images, mock.patches, strict=True)
        for patch in own
    ]
    assert np.mean(bright) > 0.95
    again = objects.mock_instances(12, seed=3, maps_each=1, surveys=[("first", {"rare": 60.0})])
    np.testing.assert_array_equal(mock.images, again.images)


def test_an_object_that_only_peeps_in_is_left_out():
    sky = simulate("first", 512, 4, blank=0.0)
    table = sky.truth.objects
    row = table[
        (table["class"] == "COMPACT") & table["x0"].between(130, 380) & table["y0"].between(130, 380)
    ].iloc[0]
    kinds, patches = objects.objects_in(sky, row.x0 - 20, row.y0 - 20, 64)
    whole = [
        p for p, k in zip(patches, kinds, strict=True) if p.box[:2] == (20, 20) and CLASSES[k] == "COMPACT"
    ]
    np.testing.assert_array_equal(whole[0].mask, sky.truth.mask(row["object"]))
    _, patches = objects.objects_in(sky, row.x1 - 1, row.y0 - 20, 64)
    assert not any(patch.x0 == 0 and patch.y0 <= 20 < patch.box[3] for patch in patches)


def test_sets_are_chosen_from_and_joined(mock):
    both = mock.select([3, 1]).joined(mock.select(np.arange(12) == 5))
    np.testing.assert_array_equal(both.images, mock.images[[3, 1, 5]])
    assert both.patches[2] is mock.patches[5]
    with pytest.raises(ParameterError, match="one size"):
        mock.joined(Instances(np.zeros((1, 64, 64), np.float32), [np.zeros(0, int)], [[]]))


def test_a_mask_is_pasted_where_its_box_lies():
    chances = np.zeros((28, 28), np.float32)
    chances[:, :14] = 1
    patch = objects.paste_mask(chances, (10, 20, 24, 34), (64, 64))
    assert patch.box == (10, 20, 17, 34) and patch.mask.all()
    shifted = objects.paste_mask(chances, (9.6, 19.7, 23.6, 33.7), (64, 64))
    assert shifted.box == (10, 20, 17, 34)
    cut = objects.paste_mask(np.ones((28, 28)), (50, 50, 80, 80), (64, 64))
    assert cut.box == (50, 50, 64, 64)
    assert objects.paste_mask(np.zeros((28, 28)), (10, 10, 20, 20), (64, 64)) is None
    assert objects.paste_mask(np.ones((28, 28)), (30, 30, 30, 40), (64, 64)) is None


def test_overlaps_and_unions_are_those_of_the_pixels():
    rng = np.random.default_rng(1)
    for _ in range(20):
        masks = [disc(*rng.uniform(5, 55, 2), rng.uniform(2, 12)) for _ in range(2)]
        first, second = (objects.patch_of(mask) for mask in masks)
        assert objects.overlap(first, second) == int((masks[0] & masks[1]).sum())
        np.testing.assert_array_equal(objects.union(first, second).within((60, 60)), masks[0] | masks[1])
    assert objects.patch_of(np.zeros((4, 4))) is None


def piece(mask, kind=1, score=0.9, tile=(0, 0), cut=False):
    return Piece(objects.patch_of(mask), kind, score, tile, cut)


def test_what_several_tiles_show_becomes_one():
    whole = disc(30, 30, 6)
    left, right = whole.copy(), whole.copy()
    left[:, 33:], right[:, :27] = False, False
    found = objects.join_tiles(
        [
            piece(left, 2, 0.99, (0, 0), cut=True),
            piece(whole, 1, 0.6, (20, 0)),
            piece(disc(30, 31, 6), 1, 0.7, (0, 20)),
            piece(disc(10, 10, 4), 1, 0.8, (0, 0)),
        ]
    )
    assert [(one.kind, one.score) for one in found] == [(1, 0.8), (1, 0.7)]
    # Only parts of it are seen: they are put together, the surest tells the class.
    found = objects.join_tiles(
        [piece(left, 2, 0.9, (0, 0), cut=True), piece(right, 1, 0.6, (20, 0), cut=True)]
    )
    assert [(one.kind, one.score) for one in found] == [(2, 0.9)]
    np.testing.assert_array_equal(found[0].patch.within(whole.shape), whole)
    # What one tile has separated stays so.
    nested = [piece(disc(30, 30, 9), 2, 0.9), piece(disc(30, 30, 3), 1, 0.8)]
    assert len(objects.join_tiles(nested)) == 2


@pytest.mark.parametrize(("length", "size"), [(1000, 128), (128, 128), (132, 128), (60, 128), (5000, 64)])
def test_windows_cover_every_pixel(length, size):
    starts = objects.window_starts(length, size)
    covered = np.zeros(max(length, size), bool)
    for start in starts:
        covered[start : start + size] = True
    assert covered.all() and starts == sorted(set(starts)) and starts[0] == 0
    assert max(starts) == max(length - size, 0)


def test_a_piece_is_cut_off_at_borders_within_the_map_only():
    patch = Patch(0, 0, np.ones((10, 64), bool))
    assert objects.tile_piece(patch, 1, 0.9, (0, 0), 64, (200, 200)).cut
    assert not objects.tile_piece(patch, 1, 0.9, (0, 0), 64, (64, 64)).cut
    assert objects.tile_piece(patch.moved(40, 30), 1, 0.9, (40, 20), 64, (200, 104)).cut


def test_the_table_is_measured_in_the_masks():
    image = np.zeros((60, 60), np.float32) + 2.0
    image[20:24, 30:34] = 5.0
    patch = Patch(20, 30, np.ones((4, 4), bool))
    over = Patch(22, 32, np.ones((6, 6), bool))
    found = objects.found_objects(
        SkyMap.from_array(image),
        [Piece(over, 2, 0.6, (0, 0), False), Piece(patch, 1, 0.9, (0, 0), False)],
        "m",
    )
    row = found.table.iloc[0]
    assert (row.x, row.y, row.peak, row.kind, row.island) == (31.5, 21.5, 5.0, "COMPACT", 1)
    assert np.isnan(row.flux) and "no unit" in found.notes[0]
    assert np.all(found.masks[20:24, 30:34] == 1) and found.masks[26, 36] == 2
    assert found.patches[1][2].sum() == 36
    sky = SkyMap.from_array(image, unit="Jy / pix")
    assert objects.found_objects(sky, [Piece(patch, 1, 0.9, (0, 0), False)], "m").table["flux"][
        0
    ] == pytest.approx(48)
    assert len(objects.found_objects(sky, [], "m")) == 0


class Said(NamedTuple):
    kind: str
    patch: Patch


def test_scores_count_class_by_class():
    masks = [disc(10, 10, 4), disc(40, 10, 5), disc(40, 40, 8)]
    data = Instances(
        np.zeros((2, 60, 60), np.float32),
        [np.array([1, 2, 2]), np.array([1])],
        [[objects.patch_of(mask) for mask in masks], [objects.patch_of(masks[0])]],
    )
    said = [
        [
            Said("COMPACT", objects.patch_of(masks[0])),  # right
            Said("COMPACT", objects.patch_of(masks[1])),  # EXTENDED: right for SOURCE alone
            Said("EXTENDED", objects.patch_of(disc(40, 46, 8))),  # overlaps too little
            Said("SPURIOUS", objects.patch_of(disc(10, 40, 3))),  # nothing there
        ],
        [],
    ]
    table = objects.score_instances(said, data)
    assert table.loc["COMPACT", ["objects", "found", "matched"]].tolist() == [2, 2, 1]
    assert table.loc["EXTENDED", ["objects", "found", "matched"]].tolist() == [2, 1, 0]
    assert table.loc["SOURCE", ["objects", "found", "matched"]].tolist() == [4, 3, 2]
    assert table.loc["SOURCE", "f1"] == pytest.approx(4 / 7)
    assert table.loc["SPURIOUS", "reliability"] == 0 and np.isnan(table.loc["FLAGGED", "f1"])
    perfect = [
        [Said(CLASSES[k], p) for k, p in zip(data.kinds[n], data.patches[n], strict=True)] for n in range(2)
    ]
    assert objects.score_instances(perfect, data).loc["SOURCE", "f1"] == 1


# ------------------------------------------------------------------------------------
# outlines


def test_masks_survive_their_outlines(mock):
    shares = []
    for own in mock.patches:
        for patch in own:
            back = objects.mask_of(objects.outline_of(patch), (128, 128))
            mask = patch.within((128, 128))
            shares.append((back & mask).sum() / (back | mask).sum())
    assert min(shares) > 0.7 and np.mean(shares) > 0.95
    exact = [objects.mask_of(objects.outline_of(p, 0.0), (128, 128)) for p in mock.patches[0]]
    assert all(
        np.array_equal(mask, p.within((128, 128))) for mask, p in zip(exact, mock.patches[0], strict=True)
    )


def test_rings_within_one_another_are_holes_and_apart_are_islands():
    mask = disc(20, 20, 10) & ~disc(20, 20, 4) | disc(45, 45, 5)
    rings = objects.outline_of(objects.patch_of(mask), 0.0)
    assert len(rings) == 3
    np.testing.assert_array_equal(objects.mask_of(rings, mask.shape), mask)
    square = [[[1.5, 1.5], [4.5, 1.5], [4.5, 3.5], [1.5, 3.5]]]
    assert np.argwhere(objects.mask_of(square, (6, 6))).tolist() == [
        [2, 2],
        [2, 3],
        [2, 4],
        [3, 2],
        [3, 3],
        [3, 4],
    ]


def test_what_was_found_becomes_outlines(mock):
    said = [Said("COMPACT", patch) for patch in mock.patches[0]]
    outlines = objects.outlines_of(said)
    assert [one["class"] for one in outlines] == ["COMPACT"] * len(said)
    assert outlines[0]["rings"] == objects.outline_of(mock.patches[0][0])
    own = mock.outlines()
    assert len(own) == 12 and own[0][0]["class"] == CLASSES[mock.kinds[0][0]]


def test_corrected_outlines_become_training_frames(tmp_path, mock):
    log = LabelLog(tmp_path, annotator="ana")
    ids = [f"f{k}" for k in range(12)]
    rings = objects.outline_of(mock.patches[2][0], 0.0)
    log.record("f2", outlines=[{"class": "EXTENDED", "rings": rings}])
    log.record("f7", outlines=[])
    own = objects.labelled_instances(mock.images, ids, LabelLog(tmp_path, annotator="bob"), "ana")
    np.testing.assert_array_equal(own.images, mock.images[[2, 7]])
    assert own.kinds[0].tolist() == [CLASSES.index("EXTENDED")] and own.patches[1] == []
    np.testing.assert_array_equal(own.patches[0][0].mask, mock.patches[2][0].mask)
    log.record("f3", outlines=[{"class": "GALAXY", "rings": rings}])
    with pytest.raises(ParameterError, match="'GALAXY'; choose among SPURIOUS"):
        objects.labelled_instances(mock.images, ids, log)
