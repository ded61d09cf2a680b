"""Mask R-CNN: the objects of a frame, each with its box, class and mask (He et al. 2017; peculiar-frames section 4.1).

The backbone is an encoder of `radiowidgets.models.encoders`, with random weights or those that self-supervised training
gave it. Over it stands a feature pyramid (Lin et al. 2017), narrow enough for a CPU, whose finest level has a cell for
each two pixels (ResNet-18): most radio sources are a few pixels wide. A model is trained by `train_instances` on
`radiowidgets.finding.instances.Instances`, and finds the sources of a map as an `InstanceFinder`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from radiowidgets.data.recipes import three_channels
from radiowidgets.errors import DataError, ParameterError, check_one_of
from radiowidgets.finding import boxes as blocks
from radiowidgets.finding.instances import (
    CLASSES,
    Instances,
    Patch,
    Piece,
    found_objects,
    join_tiles,
    paste_mask,
    patch_of,
    tile_piece,
    window_starts,
)
from radiowidgets.models.backend import keras, layers, ops
from radiowidgets.models.cards import Card, load_network_weights, read_card, save_network
from radiowidgets.models.encoders import ENCODERS, make_encoder, small
from radiowidgets.models.optimizers import warmup_cosine
from radiowidgets.models.training import Batches, Training

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from radiowidgets.data.maps import SkyMap
    from radiowidgets.finding.finders import Found

CHANNELS = 3  # of `recipes.three_channels`
CONTRASTS = (0.25, 0.4)  # of zscale; section 4.3 draws them between these while training
PARTS = ("rpn_class", "rpn_box", "kind", "box", "mask")
_AT_ONCE = 8  # frames that go through the network together when sources are looked for


@dataclass(frozen=True)
class InstanceRecipe:
    """Everything that a training needs beside its frames.

    Parameters
    ----------
    encoder
        One of `encoders.ENCODERS`.
    widths
        Of the encoder 'small', see there.
    frozen
        Whether the backbone stays as it is (Figure 9), or learns too (Figure 10).
    size
        Side of the frames in pixels, a multiple of 32.
    width
        Channels of the pyramid and of the mask head.
    batch_size, steps, warmup
        Frames to a step, steps in all, and those in which the rate rises. A training has as many steps whatever the
        number of frames: with few it sees each of them more often.
    rate
        Of Adam, the largest.
    proposals
        Boxes of the region proposal network that the heads look at; they learn from half as many.
    objects
        At most so many of a frame are learnt from, the largest.
    """

    encoder: str = "resnet18"
    widths: tuple[int, ...] = (48, 96, 160)
    frozen: bool = False
    size: int = 128
    width: int = 64
    batch_size: int = 4
    steps: int = 1500
    warmup: int = 100
    rate: float = 1e-3
    proposals: int = 128
    objects: int = 24

    def but(self, **changes: Any) -> InstanceRecipe:
        """Return a recipe with some entries changed."""
        return replace(self, **changes)


# ------------------------------------------------------------------------------------
# the network


class MaskRCNN(keras.Model):
    """The network. Called with frames it returns the maps of its pyramid, and what the proposal network says of them.

    Parameters
    ----------
    recipe : InstanceRecipe
    encoder : keras.Model, optional
        The backbone with its weights, frames (n, h, w, 3) to vectors; see `load_encoder`. Default: a fresh one.
    seed : int
        Of the weights that are fresh.

    Notes
    -----
    `fit` takes a dict of ``images`` (n, size, size, 3), ``boxes`` (n, objects, 4), ``kinds`` (n, objects; from 1, 0
    where there is none), ``masks`` (n, objects, size, size) and ``lots``, random numbers (n, anchors + proposals +
    objects) that choose what is learnt from: the network itself draws nothing.
    """

    def __init__(
        self, recipe: InstanceRecipe, encoder: keras.Model | None = None, *, seed: int = 0, **options: Any
    ) -> None:
        super().__init__(**options)
        check_one_of("encoder", recipe.encoder, ENCODERS)
        if recipe.size % 32 or recipe.size < 64:
            raise ParameterError(f"size is {recipe.size!r}; give a multiple of 32 from 64, such as 128.")
        self.recipe = recipe
        self.encoder = _fresh_encoder(recipe, seed) if encoder is None else encoder
        self.encoder.trainable = not recipe.frozen
        make = _Maker(seed)
        self.pyramid, self.strides = _pyramid(make, self.encoder, recipe.size, recipe.width)
        per = max(2, 9 // len(self.strides))
        sides = np.geomspace(6, 0.75 * recipe.size, per * len(self.strides)).reshape(-1, per)
        shapes = [(part.shape[1], part.shape[2]) for part in self.pyramid.outputs]
        self.anchors = blocks.make_anchors(shapes, self.strides, sides.tolist())
        self.proposer = _proposer(make, recipe.width, 3 * per)
        self.box_head = _box_head(make, recipe.width, len(CLASSES))
        self.mask_head = _mask_head(make, recipe.width, len(CLASSES))
        self.parts = {name: keras.metrics.Mean(name) for name in PARTS}
        self.built = True  # networks have all their weights from the start

    def call(self, x: Any, training: bool = False) -> Any:
        """Return maps and proposals of frames; of a dict with objects, all that the loss needs."""
        if not isinstance(x, dict):
            return self.look(x, training)
        maps, logits, deltas, boxes, _ = self.look(x["images"], training)
        rois, sample = self._sample(x, ops.stop_gradient(boxes))
        kinds, steps = self.judge(maps, rois, training)
        some = rois[:, : self._positive]
        masks = self.mask_logits(maps, some, sample["kind"][:, : self._positive], training)
        return {
            "logits": logits,
            "deltas": deltas,
            "kinds": kinds,
            "steps": steps,
            "masks": masks,
            "rois": rois,
            **sample,
        }

    def look(self, images: Any, training: bool = False) -> tuple[Any, ...]:
        """Return maps, logits (n, anchors) and deltas (n, anchors, 4) of the anchors, proposals and their scores."""
        maps = self.pyramid(images, training=training)
        logits, deltas = [], []
        for part in maps:
            score, step = self.proposer(part, training=training)
            logits.append(ops.reshape(score, (-1, np.prod(score.shape[1:]))))
            deltas.append(ops.reshape(step, (-1, np.prod(step.shape[1:]) // 4, 4)))
        logits, deltas = ops.concatenate(logits, 1), ops.concatenate(deltas, 1)
        boxes, scores = self._propose(ops.stop_gradient(logits), ops.stop_gradient(deltas))
        return maps, logits, deltas, boxes, scores

    def judge(self, maps: Any, boxes: Any, training: bool = False) -> tuple[Any, Any]:
        """Return what the box head says of boxes: logits (n, r, 1 + classes), steps (n, r, classes, 4)."""
        level = blocks.choose_level(boxes, self.strides)
        read = blocks.roi_align(maps, self.strides, boxes, level, 7)
        count = read.shape[1]
        kinds, steps = self.box_head(ops.reshape(read, (-1, *read.shape[2:])), training=training)
        return ops.reshape(kinds, (-1, count, len(CLASSES) + 1)), ops.reshape(
            steps, (-1, count, len(CLASSES), 4)
        )

    def mask_logits(self, maps: Any, boxes: Any, kind: Any, training: bool = False) -> Any:
        """Return logits (n, r, 28, 28) of the masks of boxes of these classes (n, r; from 0)."""
        level = blocks.choose_level(boxes, self.strides)
        read = blocks.roi_align(maps, self.strides, boxes, level, 14, 1)
        count = read.shape[1]
        masks = self.mask_head(ops.reshape(read, (-1, *read.shape[2:])), training=training)
        chosen = ops.reshape(ops.one_hot(kind, len(CLASSES)), (-1, 1, 1, len(CLASSES)))
        return ops.reshape(ops.sum(masks * chosen, -1), (-1, count, *masks.shape[1:3]))

    @property
    def _positive(self) -> int:
        """Of the boxes that the heads learn from, those with an object: one in four."""
        return self.recipe.proposals // 8

    def _propose(self, logits: Any, deltas: Any) -> tuple[Any, Any]:
        """Return the best boxes (n, proposals, 4) that do not overlap much, and their scores, 0 where there is none."""
        count = min(2 * self.recipe.proposals, len(self.anchors))
        scores, index = ops.top_k(ops.sigmoid(logits), count)
        anchors = ops.take(ops.convert_to_tensor(self.anchors), index, axis=0)
        boxes = blocks.decode_boxes(blocks.pick(deltas, index), anchors, self.recipe.size)
        wide = (boxes[..., 2] - boxes[..., 0] >= 1) & (boxes[..., 3] - boxes[..., 1] >= 1)
        scores = ops.where(wide, scores, 0.0)
        keep = blocks.suppress(boxes, scores, 0.7)
        scores, index = ops.top_k(ops.where(keep, scores, 0.0), self.recipe.proposals)
        return blocks.pick(boxes, index), scores

    def _sample(self, x: Any, boxes: Any) -> tuple[Any, dict[str, Any]]:
        """Return boxes for the heads to learn from, and what they should say of them."""
        candidates = ops.concatenate([boxes, x["boxes"]], 1)
        present = ops.cast(x["kinds"] > 0, "float32")
        which, kind = blocks.match_boxes(blocks.box_iou(candidates, x["boxes"]) * present[:, None], 0.5, 0.5)
        real = candidates[..., 2] > candidates[..., 0]
        kind = ops.where(real, kind, -1)
        lots = x["lots"][:, len(self.anchors) :]
        index, takes, drawn = blocks.draw_sample(kind, lots, self._positive, 4 * self._positive, 3)
        which, rois = blocks.pick(which, index), blocks.pick(candidates, index)
        kinds = ops.cast(blocks.pick(x["kinds"], which), "int32")
        some = slice(0, self._positive)
        target = blocks.align_masks(x["masks"], which[:, some], rois[:, some], 28)
        return rois, {
            "takes": takes,
            "drawn": drawn,
            "kind": ops.maximum(kinds - 1, 0),
            "own": blocks.pick(x["boxes"], which),
            "target": target,
        }

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Return the sum of the five losses; `fit` calls it."""
        del y, sample_weight, training
        losses = self.losses_of(x, y_pred)
        for name, tracker in self.parts.items():
            tracker.update_state(losses[name])
        return sum(losses.values())

    def losses_of(self, x: dict[str, Any], said: dict[str, Any]) -> dict[str, Any]:
        """Return the losses by the names of `PARTS`: He et al. (2017), section 3, with the weights of one."""
        anchors = ops.convert_to_tensor(self.anchors)
        present = ops.cast(x["kinds"] > 0, "float32")
        iou = blocks.box_iou(anchors, x["boxes"]) * present[:, None]
        # The papers' 0.7 would leave most objects one anchor: of anchors 4 pixels apart, few lie so well on 8 pixels.
        which, kind = blocks.match_boxes(iou, 0.5, 0.3, rescue=True)
        index, takes, drawn = blocks.draw_sample(kind, x["lots"][:, : len(self.anchors)], 32, 128)
        own = blocks.pick(x["boxes"], blocks.pick(which, index))
        aim = blocks.encode_boxes(_sound(own), ops.take(anchors, index, axis=0))
        off = ops.sum(blocks.smooth_l1(blocks.pick(said["deltas"], index) - aim), -1)
        real = ops.cast(takes, "float32")
        found = blocks.cross_entropy(blocks.pick(said["logits"], index), real)
        labels = ops.where(said["takes"], said["kind"] + 1, 0)
        chances = ops.log_softmax(said["kinds"], -1)
        wrong = -ops.sum(chances * ops.one_hot(labels, len(CLASSES) + 1), -1)
        goal = blocks.encode_boxes(_sound(said["own"]), _sound(said["rois"]), blocks.BOX_SCALES)
        steps = ops.sum(said["steps"] * ops.one_hot(said["kind"], len(CLASSES))[..., None], -2)
        miss = ops.sum(blocks.smooth_l1(steps - goal), -1)
        rois = ops.sum(ops.cast(said["drawn"], "float32"))
        some = slice(0, self._positive)
        return {
            "rpn_class": blocks.mean_where(found, drawn),
            "rpn_box": ops.sum(off * real) / ops.maximum(ops.sum(ops.cast(drawn, "float32")), 1.0),
            "kind": blocks.mean_where(wrong, said["drawn"]),
            "box": ops.sum(miss * ops.cast(said["takes"], "float32")) / ops.maximum(rois, 1.0),
            "mask": blocks.mask_loss(said["masks"], said["target"], said["takes"][:, some]),
        }


def load_encoder(path: str | os.PathLike[str]) -> keras.Model:
    """Return a backbone with the weights of a self-supervised training, for `MaskRCNN` and `train_instances`.

    Parameters
    ----------
    path
        The folder of a training of `radiowidgets.models.ssl`, or a file of public weights (see
        `radiowidgets.models.public`).

    Raises
    ------
    DataError
        If it holds neither.
    """
    import json

    from radiowidgets.models.public import load_public_simclr
    from radiowidgets.models.ssl.base import Recipe, make_method
    from radiowidgets.models.training import STATE

    path = Path(path).expanduser()
    if path.is_file():
        return load_public_simclr(path)
    try:
        state = json.loads((path / STATE).read_text(encoding="utf-8"))
        model = make_method(Recipe(**state["recipe"]), seed=int(state["seed"]))
        model.load_weights(path / Path(state["weights"]).name)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(
            f"{path} holds no self-supervised training ({error!s:.100}); give the folder of its checkpoints."
        ) from error
    return model.encoder


def _fresh_encoder(recipe: InstanceRecipe, seed: int) -> keras.Model:
    if recipe.encoder == "small":
        return small(CHANNELS, widths=tuple(recipe.widths), seed=seed)
    return make_encoder(recipe.encoder, CHANNELS, seed=seed)


class _Maker:
    """Layers of the heads, each kernel with a seed of its own."""

    def __init__(self, seed: int) -> None:
        self.seed, self.count = seed, 0

    def start(self, spread: float | None = None) -> Any:
        """Return how a kernel begins: as He et al. (2015), or with a standard deviation."""
        self.count += 1
        own = self.seed * 1000 + 700 + self.count
        if spread is None:
            return keras.initializers.HeNormal(seed=own)
        return keras.initializers.RandomNormal(0.0, spread, seed=own)

    def conv(
        self, x: Any, filters: int, kernel: int, activation: str | None = None, spread: float | None = None
    ) -> Any:
        return layers.Conv2D(
            filters, kernel, padding="same", activation=activation, kernel_initializer=self.start(spread)
        )(x)


def _pyramid(make: _Maker, encoder: keras.Model, size: int, width: int) -> tuple[keras.Model, list[int]]:
    """Return frames to maps of `width` channels, one a stride of the encoder, and the strides."""
    found = _stages(encoder)
    bottom = keras.Model(encoder.input, list(found.values()))
    frames = keras.Input((size, size, encoder.input_shape[-1]), name="frames", dtype="float32")
    maps = bottom(frames)
    tops = [make.conv(part, width, 1) for part in maps]
    for place in range(len(tops) - 2, -1, -1):
        tops[place] = layers.Add()([tops[place], layers.UpSampling2D(2)(tops[place + 1])])
    return keras.Model(frames, [make.conv(part, width, 3) for part in tops]), list(found)


def _stages(encoder: keras.Model) -> dict[int, Any]:
    """Return the last activation of an encoder at each stride."""
    strides: dict[Any, int] = {}
    found: dict[int, Any] = {}
    for layer in encoder.layers:
        inputs = layer.input if isinstance(layer.input, list) else [layer.input]
        stride = max((strides.get(id(tensor), 1) for tensor in inputs), default=1)
        if isinstance(layer, layers.Conv2D | layers.MaxPooling2D):
            stride *= layer.strides[0]
        strides[id(layer.output)] = stride
        if isinstance(layer, layers.ReLU):
            found[stride] = layer.output
    return found


def _proposer(make: _Maker, width: int, anchors: int) -> keras.Model:
    x = inputs = keras.Input((None, None, width))
    x = make.conv(x, width, 3, "relu", 0.02)
    return keras.Model(
        inputs, [make.conv(x, anchors, 1, None, 0.01), make.conv(x, 4 * anchors, 1, None, 0.01)]
    )


def _box_head(make: _Maker, width: int, classes: int) -> keras.Model:
    inputs = keras.Input((7, 7, width))
    x = layers.Flatten()(inputs)
    for _ in range(2):
        x = layers.Dense(256, activation="relu", kernel_initializer=make.start())(x)
    kinds = layers.Dense(classes + 1, kernel_initializer=make.start(0.01))(x)
    steps = layers.Dense(4 * classes, kernel_initializer=make.start(0.001))(x)
    return keras.Model(inputs, [kinds, steps])


def _mask_head(make: _Maker, width: int, classes: int) -> keras.Model:
    x = inputs = keras.Input((14, 14, width))
    for _ in range(2):
        x = make.conv(x, width, 3, "relu")
    x = layers.Conv2DTranspose(width, 2, 2, activation="relu", kernel_initializer=make.start())(x)
    return keras.Model(inputs, make.conv(x, classes, 1, None, 0.01))


def _sound(boxes: Any) -> Any:
    """Return boxes of at least a pixel: those that are not there would have no logarithm."""
    return ops.concatenate([boxes[..., :2], ops.maximum(boxes[..., 2:], boxes[..., :2] + 1.0)], -1)


# ------------------------------------------------------------------------------------
# training


class InstanceBatches(Batches):
    """Frames with their objects in batches, turned and flipped, each time with other contrasts (section 4.3).

    All that is drawn follows from the seed, the epoch and the place of the batch: a training goes on exactly.
    """

    def __init__(
        self,
        data: Instances,
        recipe: InstanceRecipe,
        lots: int,
        seed: int = 0,
        *,
        batches: int,
        first_epoch: int = 0,
    ) -> None:
        self.data, self.recipe, self.lots, self.batches = data, recipe, lots, batches
        super().__init__(
            np.zeros(max(len(data), recipe.batch_size)), recipe.batch_size, seed, None, first_epoch
        )

    def __len__(self) -> int:
        return self.batches

    def _shuffle(self) -> None:
        rng = np.random.default_rng([self.seed, self.epoch])
        rounds = -(-self.batches * self.batch_size // len(self.data))
        self.order = np.concatenate([rng.permutation(len(self.data)) for _ in range(rounds)])

    def __getitem__(self, place: int) -> Any:
        chosen = self.order[place * self.batch_size : (place + 1) * self.batch_size]
        rng = np.random.default_rng([self.seed, self.epoch, place])
        contrasts = tuple(np.sort(rng.uniform(*CONTRASTS, 2)))
        return (instance_batch(self.data.select(chosen), self.recipe, self.lots, rng, contrasts),)


def instance_batch(
    data: Instances,
    recipe: InstanceRecipe,
    lots: int,
    rng: np.random.Generator | None = None,
    contrasts: tuple[float, ...] = CONTRASTS,
) -> dict[str, NDArray[Any]]:
    """Return what `MaskRCNN` learns from: images, boxes, classes and masks of frames, and its lots.

    Without `rng` the frames are neither turned nor flipped, and all lots are alike.
    """
    count, size, most = len(data), recipe.size, recipe.objects
    images = three_channels(data.images, size, contrasts=contrasts)
    out: dict[str, NDArray[Any]] = {
        "images": images,
        "boxes": np.zeros((count, most, 4), np.float32),
        "kinds": np.zeros((count, most), np.int32),
        "masks": np.zeros((count, most, size, size), np.uint8),
        "lots": np.full((count, lots), 0.5, np.float32),
    }
    for k in range(count):
        largest = sorted(range(len(data.patches[k])), key=lambda j: -data.patches[k][j].mask.sum())[:most]
        masks = np.zeros((len(largest), size, size), bool)
        for mask, j in zip(masks, largest, strict=True):
            mask[:] = data.patches[k][j].within((size, size))
        if rng is not None:
            images[k], masks = _turned(rng, images[k], masks)
            out["lots"][k] = rng.random(lots, np.float32)
        for j, mask in enumerate(masks):
            patch = patch_of(mask)
            if patch is not None:
                out["boxes"][k, j], out["masks"][k, j] = patch.box, mask
                out["kinds"][k, j] = 1 + data.kinds[k][largest[j]]
    return out


def _turned(
    rng: np.random.Generator, image: NDArray[Any], masks: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return an image and its masks turned by a right angle and flipped by lot."""
    quarter, flip = int(rng.integers(4)), rng.random() < 0.5
    image, masks = np.rot90(image, quarter, (0, 1)), np.rot90(masks, quarter, (1, 2))
    return (image[:, ::-1], masks[:, :, ::-1]) if flip else (image, masks)


def train_instances(
    data: Instances,
    recipe: InstanceRecipe | None = None,
    encoder: keras.Model | None = None,
    folder: str | os.PathLike[str] | None = None,
    *,
    epochs: int = 10,
    callbacks: Sequence[Any] = (),
    about: dict[str, Any] | None = None,
    seed: int = 0,
    stop_after: int | None = None,
    verbose: int | str = 0,
) -> InstanceFinder:
    """Train a network by a recipe, from where the folder says it was left.

    Parameters
    ----------
    data
        Frames of ``recipe.size`` pixels with their objects.
    recipe
        Default: ResNet-18, 128 pixels.
    encoder
        The backbone with weights to begin from, of `load_encoder`. Default: random ones.
    folder
        Where checkpoints are kept; None keeps none.
    epochs
        Parts into which the steps are divided; after each a checkpoint is written.
    callbacks
        Of Keras, such as `radiowidgets.LiveCurves().callback`.
    about
        What is to be said of the data in the card, such as where the backbone's weights come from.
    seed
        Of the fresh weights, of the order of frames, and of all that is drawn.
    stop_after
        Stop when so many epochs are done in all.
    verbose
        As of Keras's `fit`.

    Returns
    -------
    InstanceFinder

    Raises
    ------
    ParameterError
        If the frames have another size, or there is none.
    RunError
        If the folder holds another training.
    """
    recipe = InstanceRecipe() if recipe is None else recipe
    _check_data(data, recipe)
    model = MaskRCNN(recipe, encoder, seed=seed)
    said = {"recipe": asdict(recipe), "seed": seed, "frames": len(data), "epochs": epochs, **(about or {})}
    training = Training(said, folder)
    batches = max(1, recipe.steps // epochs)
    lots = len(model.anchors) + recipe.proposals + recipe.objects
    steps = InstanceBatches(data, recipe, lots, seed, batches=batches, first_epoch=training.epochs)
    schedule = warmup_cosine(recipe.rate, batches * epochs, min(recipe.warmup, batches * epochs - 1))
    model.compile(
        optimizer=keras.optimizers.Adam(schedule, global_clipnorm=5.0),
        jit_compile=False
        if keras.backend.backend() == "tensorflow"
        else "auto",  # XLA is no faster here on a CPU
    )
    training.go_on(model)
    model.fit(
        steps,
        epochs=epochs if stop_after is None else min(stop_after, epochs),
        initial_epoch=training.epochs,
        callbacks=[*training.callbacks, *callbacks],
        shuffle=False,
        verbose=verbose,
    )
    card = Card(
        "network",
        "maskrcnn",
        CLASSES,
        ("sigma clip", *(f"zscale {contrast}" for contrast in CONTRASTS)),
        data={"frames": len(data), "objects": data.counts(), **(about or {})},
        recipe=asdict(recipe) | {"seed": seed, "epochs": epochs, "epochs done": training.epochs},
        metrics={name: round(values[-1], 4) for name, values in training.history.items() if values},
    )
    return InstanceFinder(model, card, training.history)


def _check_data(data: Instances, recipe: InstanceRecipe) -> None:
    if not len(data) or data.images.shape[1:] != (recipe.size, recipe.size):
        raise ParameterError(
            f"there are {len(data)} frames of {data.images.shape[1:]} pixels; give some of {recipe.size} by "
            f"{recipe.size}."
        )


# ------------------------------------------------------------------------------------
# finding


@dataclass(frozen=True)
class Detection:
    """One object that was found in a frame.

    Attributes
    ----------
    kind : str
        One of `CLASSES`.
    score : float
        0 to 1.
    box : tuple
        (x0, y0, x1, y1) in pixels.
    patch : Patch
        Its mask.
    """

    kind: str
    score: float
    box: tuple[float, float, float, float]
    patch: Patch


class InstanceFinder:
    """A trained network with its card: finds objects in frames, and the sources of a map of any size.

    Attributes
    ----------
    model : MaskRCNN
    card : Card
    history : dict of list of float
        Losses, one entry an epoch; empty after `load_instances`.
    score : float
        Objects of at least this score are given: section 4.3.
    overlap : float
        Objects whose boxes overlap more are one: the surer stays.
    """

    def __init__(self, model: MaskRCNN, card: Card, history: dict[str, list[float]] | None = None) -> None:
        self.model, self.card, self.history = model, card, history or {}
        self.score, self.overlap = 0.5, 0.5

    @property
    def size(self) -> int:
        """Side of its frames, pixels."""
        return self.model.recipe.size

    def detect(self, images: ArrayLike) -> list[list[Detection]]:
        """Find the objects of frames.

        Parameters
        ----------
        images : (n, size, size)
            In any unit; blanks are taken for empty sky.

        Returns
        -------
        list of lists of Detection
            Of each frame, the surest first.
        """
        images = np.asarray(images, np.float32)
        if images.ndim != 3 or images.shape[1:] != (self.size, self.size):
            raise ParameterError(f"the images have shape {images.shape}; give (n, {self.size}, {self.size}).")
        found: list[list[Detection]] = []
        for start in range(0, len(images), _AT_ONCE):
            some = images[start : start + _AT_ONCE]
            lack = (
                _AT_ONCE - len(some) if len(images) > _AT_ONCE else 0
            )  # batches of one shape are compiled once
            frames = three_channels(np.pad(some, ((0, lack), (0, 0), (0, 0))), self.size, contrasts=CONTRASTS)
            found += self._detect(frames)[: len(some)]
        return found

    def _detect(self, frames: NDArray[np.float32]) -> list[list[Detection]]:
        model, size = self.model, self.size
        maps, _, _, boxes, sure = model.look(frames)
        logits, steps = model.judge(maps, boxes)
        chances = ops.softmax(logits, -1)[..., 1:]
        kind, score = ops.argmax(chances, -1), ops.max(chances, -1)
        own = ops.sum(steps * ops.one_hot(kind, len(CLASSES))[..., None], -2)
        boxes = blocks.decode_boxes(own, boxes, size, blocks.BOX_SCALES)
        score = ops.where((score >= self.score) & (sure > 0), score, 0.0)
        keep = np.asarray(ops.convert_to_numpy(blocks.suppress(boxes, score, self.overlap)))
        most = -(-max(int(keep.sum(1).max()), 1) // 4) * 4  # of few different shapes
        score, index = ops.top_k(ops.where(ops.convert_to_tensor(keep), score, 0.0), min(most, keep.shape[1]))
        boxes, kind = blocks.pick(boxes, index), blocks.pick(kind, index)
        masks = ops.sigmoid(model.mask_logits(maps, boxes, kind))
        arrays = [ops.convert_to_numpy(part) for part in (score, boxes, kind, masks)]
        return [self._read(*parts) for parts in zip(*arrays, strict=True)]

    def _read(self, scores: Any, boxes: Any, kinds: Any, masks: Any) -> list[Detection]:
        found = []
        for score, box, kind, mask in zip(scores, boxes, kinds, masks, strict=True):
            patch = paste_mask(mask, box, (self.size, self.size)) if score > 0 else None
            if patch is not None:
                corners = tuple(float(value) for value in box)
                found.append(Detection(CLASSES[int(kind)], float(score), corners, patch))  # type: ignore[arg-type]
        return found

    def __call__(self, sky: SkyMap) -> Found:
        """Find the sources of a map: in frames that overlap by a third, whose objects are then joined.

        SPURIOUS objects are given too, as the kind says; so that ``found.table.query("kind != 'SPURIOUS'")`` leaves
        them out. A smaller map is one frame, filled up with blanks.
        """
        size = self.size
        corners = [
            (x, y) for y in window_starts(sky.shape[0], size) for x in window_starts(sky.shape[1], size)
        ]
        pieces: list[Piece] = []
        for start in range(0, len(corners), _AT_ONCE):
            some = corners[start : start + _AT_ONCE]
            images = np.full((len(some), size, size), np.nan, np.float32)
            for image, (x, y) in zip(images, some, strict=True):
                part = sky.pixels[y : y + size, x : x + size]
                image[: part.shape[0], : part.shape[1]] = part
            for k, found in zip(_seen(images), self.detect(images[_seen(images)]), strict=True):
                pieces += [
                    tile_piece(
                        one.patch.moved(*some[k]),
                        CLASSES.index(one.kind),
                        one.score,
                        some[k],
                        size,
                        sky.shape,
                    )
                    for one in found
                ]
        return found_objects(sky, join_tiles(pieces), self.card.name)

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write weights and card into a folder, to be read by `load_instances`; both hold numbers and text alone."""
        return save_network(self.model, folder, self.card)


def _seen(images: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the places of images that are not all blank."""
    return np.flatnonzero(np.isfinite(images).any(axis=(1, 2)))


def maskrcnn(folder: str | os.PathLike[str], score: float = 0.5) -> InstanceFinder:
    """Return a trained finder by name: ``find(sky, "maskrcnn", folder="...")``.

    Parameters
    ----------
    folder
        Of `InstanceFinder.save`. No trained network comes with the package.
    score
        Objects of at least this score are given.
    """
    finder = load_instances(folder)
    if not 0 < score < 1:
        raise ParameterError(f"score is {score!r}; give a number between 0 and 1, such as 0.5.")
    finder.score = score
    return finder


def load_instances(folder: str | os.PathLike[str]) -> InstanceFinder:
    """Read a network that `InstanceFinder.save` wrote.

    Raises
    ------
    DataError
        If the folder holds none, or a damaged one.
    """
    card = read_card(folder)
    if card.name != "maskrcnn":
        raise DataError(f"{folder} holds the model {card.name!r}; give the folder of an instance finder.")

    def make() -> MaskRCNN:
        for name, most in (("size", 2048), ("width", 1024), ("proposals", 10_000)):
            card.number(name, 1, most)
        widths = card.recipe["widths"]
        if len(widths) > 8 or not all(type(width) is int and 0 < width <= 2048 for width in widths):
            raise ValueError(f"widths are {widths!r:.60}")
        return MaskRCNN(InstanceRecipe(**{name: card.recipe[name] for name in asdict(InstanceRecipe())}))

    return InstanceFinder(load_network_weights(folder, make), card)
