"""The network: its losses against NumPy, its training, its weights, and the sources of whole maps."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("keras")

import keras
from models.test_ssl import other_backend

from radiowidgets.data.maps import SkyMap
from radiowidgets.errors import DataError, ParameterError, RunError
from radiowidgets.finding import maskrcnn as network
from radiowidgets.finding.finders import find, make_finder
from radiowidgets.finding.instances import CLASSES, Instances, patch_of, score_instances
from radiowidgets.models.ssl.base import Recipe, make_method, train

TINY = network.InstanceRecipe(
    "small",
    widths=(8, 12, 16),
    size=64,
    width=12,
    batch_size=4,
    steps=8,
    warmup=2,
    proposals=32,
    objects=4,
    rate=4e-3,
)


def some_frames(count, seed=0, size=64):
    """Squares and wide bars over noise: COMPACT and EXTENDED."""
    rng = np.random.default_rng(seed)
    images = rng.normal(size=(count, size, size)).astype(np.float32)
    kinds, patches = [], []
    for image in images:
        own = []
        for kind, (height, width) in ((1, (9, 9)), (2, (12, 30))):
            mask = np.zeros((size, size), bool)
            y, x = rng.integers(0, size // 2 - height) + (kind - 1) * size // 2, rng.integers(0, size - width)
            mask[y : y + height, x : x + width] = True
            image[mask] += 20
            own.append(patch_of(mask))
        kinds.append(np.array([1, 2]))
        patches.append(own)
    return Instances(images, kinds, patches)


@pytest.fixture(scope="module")
def frames():
    return some_frames(12)


@pytest.fixture(scope="module")
def model():
    return network.MaskRCNN(TINY, seed=1)


@pytest.fixture(scope="module")
def batch(frames, model):
    lots = len(model.anchors) + TINY.proposals + TINY.objects
    return network.instance_batch(frames.select(range(3)), TINY, lots, np.random.default_rng(2))


def smooth(error):
    error = abs(error)
    return 4.5 * error**2 if error < 1 / 9 else error - 1 / 18


def coded(box, anchor, scales):
    wide, tall = anchor[2] - anchor[0], anchor[3] - anchor[1]
    steps = [
        (box[0] + box[2] - anchor[0] - anchor[2]) / 2 / wide,
        (box[1] + box[3] - anchor[1] - anchor[3]) / 2 / tall,
        np.log((box[2] - box[0]) / wide),
        np.log((box[3] - box[1]) / tall),
    ]
    return np.array(steps) * scales


def iou_of(a, b):
    both = max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def yes_no(logit, target):
    chance = 1 / (1 + np.exp(-float(logit)))
    return -(target * np.log(chance) + (1 - target) * np.log(1 - chance))


def reference(x, said, anchors):
    """The five losses, one box at a time."""
    sums, counts = dict.fromkeys(network.PARTS, 0.0), dict.fromkeys(("anchors", "rois", "masks"), 0)
    for n in range(len(x["images"])):
        there = [k for k in range(x["kinds"].shape[1]) if x["kinds"][n, k]]
        iou = np.array([[iou_of(anchor, x["boxes"][n, k]) for k in there] for anchor in anchors])
        best = (iou == iou.max(0)) & (iou > 0)
        takes = (iou.max(1) >= 0.5) | best.any(1)
        lots = x["lots"][n, : len(anchors)]
        drawn = sorted(np.flatnonzero(takes), key=lambda k: -lots[k])[:32]
        drawn += sorted(np.flatnonzero(~takes & (iou.max(1) < 0.3)), key=lambda k: -lots[k])[:96]
        counts["anchors"] += len(drawn)
        for k in drawn:
            sums["rpn_class"] += yes_no(said["logits"][n, k], float(takes[k]))
            if takes[k]:
                goal = coded(x["boxes"][n, there[iou[k].argmax()]], anchors[k], 1)
                sums["rpn_box"] += sum(smooth(e) for e in said["deltas"][n, k] - goal)
        for r, roi in enumerate(said["rois"][n]):
            if not said["drawn"][n, r]:
                continue
            counts["rois"] += 1
            near = [iou_of(roi, x["boxes"][n, k]) for k in there]
            own = there[int(np.argmax(near))]
            real = max(near) >= 0.5
            assert real == said["takes"][n, r]
            label = x["kinds"][n, own] if real else 0
            scores = said["kinds"][n, r] - said["kinds"][n, r].max()
            sums["kind"] -= scores[label] - np.log(np.exp(scores).sum())
            if real:
                counts["masks"] += 1
                goal = coded(x["boxes"][n, own], roi, (10, 10, 5, 5))
                sums["box"] += sum(smooth(e) for e in said["steps"][n, r, label - 1] - goal)
                pairs = zip(said["masks"][n, r].ravel(), said["target"][n, r].ravel(), strict=True)
                sums["mask"] += np.mean([yes_no(logit, target) for logit, target in pairs])
    over = {"rpn_class": "anchors", "rpn_box": "anchors", "kind": "rois", "box": "rois", "mask": "masks"}
    return {name: sums[name] / counts[over[name]] for name in sums}


def test_all_losses_are_those_of_the_paper_box_by_box(model, batch):
    said = model(batch, training=False)
    found = {name: float(value) for name, value in model.losses_of(batch, said).items()}
    said = {name: np.asarray(value) for name, value in said.items()}
    assert said["takes"].any() and (said["drawn"] & ~said["takes"]).any()
    assert found == pytest.approx(reference(batch, said, model.anchors), abs=1e-3)


def test_targets_of_masks_are_what_the_box_holds_of_its_object(model, batch):
    said = {name: np.asarray(value) for name, value in model(batch, training=False).items()}
    for n, r in zip(*np.nonzero(said["takes"][:, : said["target"].shape[1]]), strict=True):
        x0, y0, x1, y1 = said["own"][n, r]  # both kinds of objects fill their boxes
        left, low, right, high = said["rois"][n, r]
        x = left + (np.arange(28) + 0.5) / 28 * (right - left)
        y = low + (np.arange(28) + 0.5) / 28 * (high - low)
        expected = ((y > y0) & (y < y1))[:, None] & ((x > x0) & (x < x1))
        assert np.mean((said["target"][n, r] >= 0.5) == expected) > 0.97


ELSEWHERE = """
import json, sys
import keras
import numpy as np
from finding.test_maskrcnn import TINY
from radiowidgets.finding import maskrcnn as network
folder = sys.argv[1]
model = network.MaskRCNN(TINY, seed=1)
model.load_weights(folder + "/model.weights.h5")
model.compile(keras.optimizers.Adam(1e-3))
x = dict(np.load(folder + "/batch.npz"))
print(json.dumps([{k: float(v) for k, v in model.train_on_batch(x, return_dict=True).items()} for _ in range(2)]))
"""


def test_two_backends_give_one_loss_and_both_train(model, batch, tmp_path):
    np.savez(tmp_path / "batch.npz", **batch)
    model.save_weights(tmp_path / "model.weights.h5")
    copy = network.MaskRCNN(TINY, seed=1)
    copy.load_weights(tmp_path / "model.weights.h5")
    here = {name: float(value) for name, value in copy.losses_of(batch, copy(batch, training=True)).items()}
    tests = str(Path(__file__).parents[1])
    environment = os.environ | {
        "KERAS_BACKEND": other_backend(),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "PYTHONPATH": tests,
        "XLA_FLAGS": "--xla_backend_optimization_level=0",  # it is compiled once, and run twice
    }
    command = [sys.executable, "-c", ELSEWHERE, str(tmp_path)]
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    there, after = json.loads(said.splitlines()[-1])
    assert there.pop("loss") == pytest.approx(sum(here.values()), abs=1e-4)
    assert there == pytest.approx(here, abs=1e-4)
    assert after["loss"] != pytest.approx(sum(here.values()), abs=1e-4)


@pytest.fixture(scope="module")
def trained(frames):
    return network.train_instances(frames, TINY.but(steps=160), epochs=4)


def test_it_learns_what_is_there_and_finds_it_elsewhere(trained):
    losses = trained.history["loss"]
    assert losses[-1] < 0.7 * losses[0]
    assert set(network.PARTS) < set(trained.history)
    new = some_frames(8, seed=5)
    scores = score_instances(trained.detect(new.images), new)
    assert scores.loc["SOURCE", "f1"] > 0.8
    assert trained.card.data["objects"]["COMPACT"] == 12


def test_a_map_of_any_size_is_searched_in_frames_and_nothing_is_there_twice(trained):
    rng = np.random.default_rng(7)
    image = rng.normal(size=(150, 170)).astype(np.float32)
    places = [(10, 12), (60, 58), (100, 20), (20, 130), (120, 140), (80, 100)]
    for y, x in places:
        image[y : y + 9, x : x + 9] += 20
    image[:8] = np.nan
    sky = SkyMap.from_array(image)
    found = find(sky, trained)
    assert found.name == "maskrcnn" and found.masks.shape == image.shape
    table = found.table.query("score > 0.5")
    near = [np.hypot(table["x"] - x - 4, table["y"] - y - 4).to_numpy() < 3 for y, x in places]
    assert [int(hits.sum()) for hits in near] == [1] * len(places)
    first = table.iloc[0]
    inside = found.masks == first["island"]
    assert inside.sum() > 40 and np.median(image[inside]) > 15
    small = find(SkyMap.from_array(image[:40, :50]), trained)
    assert len(small) == 1 and small.table["x1"].max() <= 50


def test_weights_are_kept_with_their_card_and_read_back(trained, frames, tmp_path):
    trained.save(tmp_path)
    again = network.load_instances(tmp_path)
    one, other = trained.detect(frames.images[:2]), again.detect(frames.images[:2])
    assert [d.box for d in one[0]] == [d.box for d in other[0]]
    assert again.card.classes == CLASSES
    assert make_finder("maskrcnn", folder=tmp_path, score=0.9).score == 0.9
    with pytest.raises(ParameterError, match="between 0 and 1"):
        make_finder("maskrcnn", folder=tmp_path, score=1.5)
    (tmp_path / "network.weights.h5").write_bytes(b"nothing")
    with pytest.raises(DataError, match="not what its card speaks of"):
        network.load_instances(tmp_path)


def test_a_training_goes_on_where_it_was_stopped(frames, tmp_path):
    whole = network.train_instances(frames, TINY, folder=tmp_path / "a", epochs=2)
    network.train_instances(frames, TINY, folder=tmp_path / "b", epochs=2, stop_after=1)
    parts = network.train_instances(frames, TINY, folder=tmp_path / "b", epochs=2)
    assert parts.history["loss"] == whole.history["loss"]
    with pytest.raises(RunError, match="another folder"):
        network.train_instances(frames, TINY.but(rate=1.0), folder=tmp_path / "b", epochs=2)


def test_a_backbone_comes_from_self_supervised_weights_and_may_be_frozen(frames, tmp_path):
    recipe = Recipe(encoder="small", batch_size=4, epochs=1, warmup_epochs=0, options={"projector": (8, 4)})
    x = np.random.default_rng(1).uniform(size=(8, 32, 32, 3)).astype(np.float32)
    method = make_method(recipe)
    train(method, x, recipe, tmp_path)
    encoder = network.load_encoder(tmp_path)
    for mine, theirs in zip(encoder.get_weights(), method.encoder.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    before = encoder.get_weights()
    plan = TINY.but(widths=(48, 96, 160), frozen=True, steps=2)
    finder = network.train_instances(frames, plan, encoder, epochs=1)
    for weight, old in zip(finder.model.encoder.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, old)
    with pytest.raises(DataError, match="no self-supervised training"):
        network.load_encoder(tmp_path / "nothing")


def test_resnet_has_a_level_for_each_two_pixels():
    levels = network._stages(network.make_encoder("resnet18", 3))
    assert list(levels) == [2, 4, 8, 16, 32]
    assert [tensor.shape[-1] for tensor in levels.values()] == [64, 64, 128, 256, 512]


def test_what_does_not_fit_is_said(frames, trained):
    with pytest.raises(ParameterError, match="multiple of 32"):
        network.MaskRCNN(TINY.but(size=50))
    with pytest.raises(ParameterError, match="128 by 128"):
        network.train_instances(frames, network.InstanceRecipe("small"))
    with pytest.raises(ParameterError, match="give \\(n, 64, 64\\)"):
        trained.detect(np.zeros((2, 32, 32)))
    assert trained.detect(np.full((1, 64, 64), np.nan)) == [[]]


def test_batches_turn_frames_and_masks_alike(frames):
    steps = network.InstanceBatches(frames, TINY, 50, seed=3, batches=5)
    (x,) = steps[4]
    assert len(steps) == 5 and x["images"].shape == (4, 64, 64, 3)
    inside = x["masks"][:, 1].astype(bool)
    assert x["images"][..., 1][inside].min() > x["images"][..., 1][~x["masks"].any(1)].mean()
    (again,) = network.InstanceBatches(frames, TINY, 50, seed=3, batches=5)[4]
    assert all(np.array_equal(x[name], again[name]) for name in x)
    assert keras.ops.shape(x["lots"]) == (4, 50)
