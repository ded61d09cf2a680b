"""Networks that classify compact sources from their images in several bands: compact-sources section 5.2.

A model is trained by `train_network`, which keeps the paper's choices (Adam, 5e-4, batches of 64, until the validation
loss has long not fallen), saved by `SourceNetwork.save` as weights beside a card, and read by `load_network`.
"""

from __future__ import annotations

import os
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from radiowidgets.data.recipes import channel_max_scale, mask_sources, source_masks, source_reach
from radiowidgets.data.resampling import resize
from radiowidgets.errors import DataError, ParameterError, check_one_of
from radiowidgets.models.augment import pipeline
from radiowidgets.models.backend import keras, layers
from radiowidgets.models.cards import (
    EXTRAGALACTIC,
    GALACTIC,
    Calibration,
    Card,
    Novelty,
    load_network_weights,
    plain_labels,
    prediction_table,
    read_card,
    save_network,
)
from radiowidgets.models.encoders import resnet18
from radiowidgets.models.evaluate import f1_scores, over_splits
from radiowidgets.models.training import Batches, Training

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

    from radiowidgets.data.frames import FrameSet

#: compact-sources Table 8: blocks of the backbone, then dense layers, joined by '-'.
NETWORKS: dict[str, str] = {
    "custom_v1": "16C3P2-32C3P2-16",
    "custom_v2": "16C3-32C5S2-16",
    "custom_v3": "16C5P2-32C5P2-16",
    "custom_v4": "32C3P2-64C3P2-32",
    "custom_v5": "16C3BnP2-32C3BnP2-16",
    "custom_v6": "16C3P2-32C3P2-32-16",
    "resnet18": "ResNet18-16",
}
SIZE = 64  # pixels: section 5.2.1

_CONVOLUTION = re.compile(
    r"(?P<filters>\d+)C(?P<kernel>\d+)(?:S(?P<stride>\d+))?(?P<normal>Bn)?(?:P(?P<pool>\d+))?"
)
_MOST_LAYERS, _MOST_WEIGHTS = 64, 2**27  # of a network, and of each of its layers
_TOGETHER = 256  # cutouts that are brought to one size at once
_AT_ONCE = 64  # images that go through a network while it is not trained: what it takes is memory


@dataclass(frozen=True)
class NetworkRecipe:
    """Everything that a training needs beside its images.

    Parameters
    ----------
    network
        One of `NETWORKS`, or a notation like theirs, such as '16C3BnP2-32C5S2-32-16'.
    size
        Of the images, pixels.
    augmentation
        See `augment.pipeline`.
    batch_size, rate
        The paper's; batches are no larger than a fourth of the images.
    epochs, patience
        At most so many; the paper says 'until overfitting is detected on the validation set (typically after 300
        epochs)'. Here: until the validation loss was not below its least for `patience` epochs. The weights of the
        least are kept.
    """

    network: str = "custom_v1"
    size: int = SIZE
    augmentation: str = "compact-sources"
    batch_size: int = 64
    rate: float = 5e-4
    epochs: int = 300
    patience: int = 30

    def but(self, **changes: Any) -> NetworkRecipe:
        """Return a recipe with some entries changed."""
        return replace(self, **changes)


# ------------------------------------------------------------------------------------
# what goes in


def source_images(
    frames: FrameSet,
    masks: Sequence[ArrayLike | None] | None = None,
    *,
    size: int = SIZE,
    inner: float = 1.0,
    dilation: int = 21,
    bands: Sequence[str] | None = None,
) -> NDArray[np.float32]:
    """Return cutouts as the networks take them: masked, scaled, brought to one size (compact-sources section 5.2.1).

    Parameters
    ----------
    frames
        Of `cut_bands`: any sizes, one channel a band, in Jy/pixel.
    masks : sequence of (h, w) bool arrays or None, optional
        The pixels of each source, of `radio_masks`; what is outside, after it was enlarged by a disc of `dilation`
        pixels, becomes 0. None, and a mask without a pixel, leave all.
    size
        Of the result, pixels.
    inner
        Share of the side, round the centre, that is shown: 0.25 for the paper's 2.5 r_s of 10 r_s.
    dilation
        Diameter in pixels of the cutouts, odd.
    bands
        Those to take, by name, in this order. Default: all.

    Returns
    -------
    ndarray of float32, shape (n, size, size, bands)
        The brightest pixel of a source is 1 before the resizing, so that flux ratios between bands stay. Blanks, a
        missing band among them, are 0: what a network sees has no NaN, so that it cannot tell a band that nobody
        looked at from one without flux. A source without any pixel above 0 is 0 everywhere.

    Raises
    ------
    ParameterError
        If a band is not there, or the masks do not fit.
    """
    if masks is not None and len(masks) != len(frames):
        raise ParameterError(f"{len(masks)} masks for {len(frames)} frames; give one each.")
    if not 8 <= size <= 1024 or not 0 < inner <= 1:
        raise ParameterError(
            f"size is {size!r} and inner {inner!r}; give pixels from 8 to 1024 and a share up to 1."
        )
    chosen = _channels(frames, bands)
    out = np.empty((len(frames), size, size, len(chosen)), np.float32)
    for rows in _alike(frames):
        pixels = frames.pixels(rows)[..., chosen]
        height, width = pixels.shape[1:3]
        if masks is not None:
            pixels = mask_sources(
                pixels, np.stack([_mask(masks[row], (height, width)) for row in rows]), dilation
            )
        tall, broad = (max(1, round(inner * side)) for side in (height, width))
        top, left = (height - tall) // 2, (width - broad) // 2
        scaled = np.nan_to_num(channel_max_scale(pixels[:, top : top + tall, left : left + broad]), nan=0.0)
        for row, image in zip(rows, scaled, strict=True):
            for channel in range(len(chosen)):
                out[row, ..., channel] = resize(image[..., channel], (size, size))
    return out


def radio_masks(
    frames: FrameSet, band: str = "radio", *, seed: float = 5.0, flood: float = 2.5
) -> list[NDArray[np.bool_]]:
    """Return the pixels of the source in the middle of each frame, within r_s of it, found in one band.

    See `recipes.source_masks`.
    """
    channel = _channels(frames, [band])
    size = getattr(frames.sources, "attrs", {}).get("size")
    out: list[Any] = [None] * len(frames)
    for rows in _alike(frames):
        pixels = frames.pixels(rows)[..., channel[0]]
        found = source_masks(pixels, seed=seed, flood=flood, reach=source_reach(pixels[0].shape, size))
        for row, mask in zip(rows, found, strict=True):
            out[row] = mask
    return out


def _alike(frames: FrameSet) -> Iterator[NDArray[np.int64]]:
    """Yield the places of frames of one size, a few at a time."""
    sides = np.stack([frames.height, frames.width], 1)
    for side in np.unique(sides, axis=0):
        alike = np.flatnonzero((sides == side).all(axis=1))
        yield from (alike[start : start + _TOGETHER] for start in range(0, len(alike), _TOGETHER))


def _mask(mask: ArrayLike | None, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return a mask; all of the frame where it is empty."""
    if mask is None or not np.any(mask):
        return np.ones(shape, bool)
    found = np.asarray(mask, bool)
    if found.shape != shape:
        raise ParameterError(f"a mask has shape {found.shape}; its frame has {shape}.")
    return found


def _channels(frames: FrameSet, bands: Sequence[str] | None) -> list[int]:
    """Return the places of bands among the channels."""
    names = list(frames.channels or ())
    if bands is None:
        return list(range(frames.pixels([0], 1).shape[-1]))
    for band in bands:
        check_one_of("band", band, names)
    return [names.index(band) for band in bands]


# ------------------------------------------------------------------------------------
# networks


def make_network(
    network: str, channels: int, classes: int, *, size: int = SIZE, seed: int = 0, dtype: Any = None
) -> keras.Model:
    """Return a network with fresh weights, images (n, size, size, channels) to logits (n, classes).

    Blocks are read as section 5.2.1 writes them: ``16C3BnP2`` is a convolution of 16 filters of 3 x 3 pixels, batch
    normalisation, ReLU, and the maximum of 2 x 2 pixels; ``S2`` is its stride. Dense layers take ReLU too. The paper
    tells neither padding nor activation: borders are padded with 0 ('same').

    Parameters
    ----------
    network
        One of `NETWORKS`, or a notation.
    channels, classes
        Bands that go in, classes that come out.
    seed
        Of the weights.
    dtype
        Of the computation. Default: Keras's.

    Raises
    ------
    ParameterError
        If it cannot be read.
    """
    if channels < 1 or classes < 2:
        raise ParameterError(
            f"channels is {channels!r} and classes {classes!r}; give at least one band and two classes."
        )
    words = NETWORKS.get(network, network).split("-")
    blocks = [word for word in words if not word.isdigit()]
    widths = [int(word) for word in words[len(blocks) :] if word.isdigit()]
    if not blocks or len(blocks) + len(widths) != len(words) or 0 in widths or len(words) > _MOST_LAYERS:
        raise _unreadable(network)
    frames = keras.Input((size, size, channels), name="images", dtype="float32")
    if blocks == ["ResNet18"]:
        x = resnet18(channels, seed=seed, dtype=dtype)(frames)
    else:
        x = frames
        for place, block in enumerate(blocks):
            x = _convolve(network, x, block, 1000 * seed + place, dtype)
        x = layers.Flatten(dtype=dtype)(x)
    for place, width in enumerate(widths):
        _check_weights(network, x.shape[-1] * width)
        start = keras.initializers.HeNormal(seed=1000 * seed + 500 + place)
        x = layers.Dense(width, activation="relu", kernel_initializer=start, dtype=dtype)(x)
    start = keras.initializers.GlorotUniform(seed=1000 * seed + 900)
    logits = layers.Dense(classes, kernel_initializer=start, dtype="float32", name="logits")(x)
    return keras.Model(frames, logits, name="network")


def _check_weights(network: str, weights: int) -> None:
    """Refuse a layer that no memory would hold."""
    if weights > _MOST_WEIGHTS:
        raise ParameterError(
            f"network {network[:40]!r} would have a layer of {float(weights):.2g} weights; "
            f"{_MOST_WEIGHTS:.2g} are the most."
        )


def _convolve(network: str, x: Any, block: str, seed: int, dtype: Any) -> Any:
    found = _CONVOLUTION.fullmatch(block)
    if found is None:
        raise _unreadable(network)
    filters, kernel, stride, pool = (
        int(found[name] or 1) for name in ("filters", "kernel", "stride", "pool")
    )
    if 0 in (filters, kernel, stride, pool) or pool > x.shape[1]:
        raise _unreadable(network)
    _check_weights(network, kernel**2 * x.shape[-1] * filters)
    start = keras.initializers.HeNormal(seed=seed)
    x = layers.Conv2D(filters, kernel, stride, padding="same", kernel_initializer=start, dtype=dtype)(x)
    if found["normal"]:
        x = layers.BatchNormalization(momentum=0.9, dtype=dtype)(x)
    x = layers.ReLU(dtype=dtype)(x)
    return layers.MaxPooling2D(pool, pool, dtype=dtype)(x) if pool > 1 else x


def _unreadable(network: str) -> ParameterError:
    return ParameterError(
        f"network is {network!r:.60}; give one of {', '.join(NETWORKS)}, or a notation such as "
        "'16C3BnP2-32C5S2-32-16' (convolutions, then dense layers)."
    )


# ------------------------------------------------------------------------------------
# training


def train_network(
    images: ArrayLike,
    labels: ArrayLike,
    validation: tuple[ArrayLike, ArrayLike],
    recipe: NetworkRecipe | str = "custom_v1",
    *,
    bands: Sequence[str] | None = None,
    folder: str | os.PathLike[str] | None = None,
    callbacks: Sequence[Any] = (),
    data: dict[str, Any] | None = None,
    seed: int = 0,
    verbose: int | str = 0,
) -> SourceNetwork:
    """Train a network by a recipe, from where the folder says it was left.

    A training that was stopped and goes on gives what one that was not would have given, to the last bit on one
    machine. The validation data stop it, choose the epoch, calibrate the probabilities and set how far from the
    training data is unlike them; it must not see the test data.

    Parameters
    ----------
    images : (n, size, size, bands)
        Of `source_images`.
    labels : (n,)
        Names of classes; all of them have to be there. Images without one ('', None, 'UNKNOWN') are left out.
    validation : (images, labels)
    recipe
        Or the name of a network, for all else as in the paper.
    bands
        Names of the channels, for the card.
    folder
        Where checkpoints are kept; None keeps none.
    callbacks
        Of Keras, such as `radiowidgets.LiveCurves().callback`.
    data
        What is to be said of the training data in the card. `classify` cuts as its width and shown say, sides in r_s
        of the cutouts and of what `source_images` showed of them; without these, 6 and 2.5.
    seed
        Of weights, augmentation and the order of images.
    verbose
        As of Keras's `fit`: 0 is silent, 1 shows a bar, 2 prints a line an epoch.

    Returns
    -------
    SourceNetwork
        With the weights of the best epoch, and `history`.

    Raises
    ------
    ParameterError
        If the shapes do not fit, images are not finite, or validation labels are not among the others.
    RunError
        If the folder holds another training.
    """
    recipe = NetworkRecipe(recipe) if isinstance(recipe, str) else recipe
    images, truth, classes = _checked(images, labels, recipe.size)
    others, other_truth, _ = _checked(*validation, recipe.size, classes, images.shape[-1])
    names = tuple(bands) if bands is not None else tuple(f"band {k + 1}" for k in range(images.shape[-1]))
    if len(names) != images.shape[-1]:
        raise ParameterError(f"{len(names)} names for {images.shape[-1]} bands; give one each.")
    network = make_network(recipe.network, len(names), len(classes), size=recipe.size, seed=seed)
    inputs = keras.Input(images.shape[1:], dtype="float32")
    model = keras.Model(inputs, network(pipeline(recipe.augmentation, seed)(inputs)))
    model.compile(
        keras.optimizers.Adam(recipe.rate),
        keras.losses.CategoricalCrossentropy(from_logits=True),
        metrics=[keras.metrics.CategoricalAccuracy("accuracy"), keras.metrics.F1Score("weighted", name="f1")],
    )
    about = {"recipe": asdict(recipe), "seed": seed, "images": len(images), "classes": classes}
    training = Training(about, folder, recipe.patience)
    assert training.best is not None
    training.go_on(model)
    if not training.best.over and training.epochs < recipe.epochs:
        one_hot = np.eye(len(classes), dtype=np.float32)
        batch = min(recipe.batch_size, max(len(images) // 4, 1))
        ended = False
        try:
            model.fit(
                Batches(images, batch, seed, one_hot[truth], first_epoch=training.epochs),
                epochs=recipe.epochs,
                initial_epoch=training.epochs,
                validation_data=(others, one_hot[other_truth]),
                validation_batch_size=_AT_ONCE,
                callbacks=[*training.callbacks, *callbacks],
                shuffle=False,
                verbose=verbose,
            )
            ended = True
        finally:
            # Of an interrupted training Keras does not tell the callbacks.
            for callback in () if ended else callbacks:
                callback.on_train_end()
    training.best.restore(model)
    return _finish(
        network, (images, truth), (others, other_truth), recipe, training, names, classes, data, seed
    )


def repeat_splits(
    images: ArrayLike,
    labels: ArrayLike,
    recipe: NetworkRecipe | str = "custom_v1",
    *,
    classes: Sequence[str] | None = None,
    groups: ArrayLike | None = None,
    test: ArrayLike | None = None,
    count: int = 5,
    folder: str | os.PathLike[str] | None = None,
    seed: int = 0,
    verbose: int | str = 0,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Train and test on several splits of 55/15/30, as for Tables 8 and 9.

    Parameters
    ----------
    images, labels, recipe, verbose
        See `train_network`.
    classes
        Sources of others are left out. Default: all.
    groups, test, count
        See `evaluate.over_splits`.
    folder
        Where checkpoints are kept, one folder a split.

    Returns
    -------
    f1, predictions : DataFrame
        See `evaluate.over_splits`.
    """
    images = np.asarray(images, np.float32)
    told = plain_labels(labels, len(images))

    def answer(train: NDArray[Any], valid: NDArray[Any], tested: NDArray[Any], seed: int) -> pd.DataFrame:
        place = None if folder is None else Path(folder) / f"split-{seed}"
        held = (images[valid], told[valid])
        network = train_network(
            images[train], told[train], held, recipe, folder=place, seed=seed, verbose=verbose
        )
        return network.predict(images[tested])

    names = sorted(set(told) - {""}, key=_place) if classes is None else classes
    return over_splits(answer, told, names, groups, test=test, count=count, seed=seed)


def _checked(
    images: ArrayLike,
    labels: ArrayLike,
    size: int,
    classes: list[str] | None = None,
    channels: int | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.int64], list[str]]:
    """Return images, the places of their labels among the classes, and these."""
    pixels = np.asarray(images, np.float32)
    told = plain_labels(labels, len(pixels))
    if (told == "").any():
        pixels, told = pixels[told != ""], told[told != ""]
    known = sorted(set(told), key=_place) if classes is None else classes
    wanted = (len(told), size, size, channels or pixels.shape[-1])
    if pixels.shape != wanted:
        raise ParameterError(f"the images have shape {pixels.shape}, not {wanted}; see source_images.")
    if not np.isfinite(pixels).all():
        raise ParameterError("some pixels are not finite; source_images fills what is blank.")
    strange = sorted(set(told) - set(known))
    if strange or len(known) < 2:
        what = f"{', '.join(strange)} is in no training image" if strange else f"there is one class, {known}"
        raise ParameterError(f"{what}; give images of all classes, two or more, to train on.")
    return pixels, np.array([known.index(label) for label in told]), known


def _place(name: str) -> tuple[int, str]:
    """Return what sorts classes as the tables of the paper do, others by name behind them."""
    known = (*GALACTIC, *EXTRAGALACTIC)
    return (known.index(name) if name in known else len(known), name)


def _finish(
    network: keras.Model,
    trained: tuple[NDArray[np.float32], NDArray[np.int64]],
    held: tuple[NDArray[np.float32], NDArray[np.int64]],
    recipe: NetworkRecipe,
    training: Training,
    bands: tuple[str, ...],
    classes: list[str],
    data: dict[str, Any] | None,
    seed: int,
) -> SourceNetwork:
    """Calibrate on what was held out, describe what was trained on, and write the card."""
    card = Card("network", recipe.network, tuple(classes), bands)
    scores, hidden = _run(network, held[0])
    calibration = Calibration.fit(scores, held[1])
    novelty = Novelty.fit(_run(network, trained[0])[1], trained[1], hidden)
    found = np.array(classes)[np.argmax(calibration(scores), axis=1)]
    f1 = f1_scores(np.array(classes)[held[1]], found, classes)
    assert training.best is not None
    counts = {name: int(np.sum(trained[1] == k)) for k, name in enumerate(classes)}
    card = replace(
        card,
        data={"images": len(trained[0]), "validation": len(held[0]), "of each class": counts, **(data or {})},
        recipe=asdict(recipe) | {"seed": seed, "epochs done": training.epochs},
        metrics={
            "best epoch": training.best.epoch + 1 if training.epochs else 0,
            "validation F1 in per cent": {
                name: round(float(value), 2) for name, value in f1.dropna().items()
            },
        },
        calibration=calibration.to_dict(),
        novelty=novelty.to_dict(),
    )
    return SourceNetwork(network, card, training.history)


class SourceNetwork:
    """A trained network with its card; it answers with calibrated probabilities.

    Attributes
    ----------
    model : keras.Model
        Images to logits.
    card : Card
    history : dict of list of float
        Loss, accuracy, F1 (weighted) of training and validation, one entry an epoch; empty after `load_network`.
    """

    def __init__(self, model: keras.Model, card: Card, history: dict[str, list[float]] | None = None) -> None:
        self.model, self.card, self.history = model, card, history or {}
        self._calibration = Calibration.from_dict(card.calibration)
        self._novelty = None if card.novelty is None else Novelty.from_dict(card.novelty)

    @property
    def size(self) -> int:
        """Side in pixels of the images that it takes."""
        return int(self.model.input_shape[1])

    def predict(self, images: ArrayLike, index: Any = None) -> pd.DataFrame:
        """Classify images.

        Parameters
        ----------
        images : (n, size, size, bands)
            Of `source_images`, the bands as the card's `inputs`.
        index
            Of the table.

        Returns
        -------
        DataFrame
            See `cards.prediction_table`.
        """
        images = np.asarray(images, np.float32)
        wanted = (len(images), self.size, self.size, len(self.card.inputs))
        if images.shape != wanted:
            raise ParameterError(f"the images have shape {images.shape}, not {wanted}; see source_images.")
        scores, hidden = _run(self.model, images)
        index = range(len(images)) if index is None else index
        if self._novelty is None:
            return prediction_table(self.card, index, self._calibration(scores))
        distance = self._novelty(hidden)
        return prediction_table(self.card, index, self._calibration(scores), distance, self._novelty.limit)

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write weights and card into a folder, to be read by `load_network`; both hold numbers and text alone."""
        return save_network(self.model, folder, self.card)


def load_network(folder: str | os.PathLike[str]) -> SourceNetwork:
    """Read a network that `SourceNetwork.save` wrote.

    Raises
    ------
    DataError
        If the folder holds none, or a damaged one.
    """
    card = read_card(folder)
    if card.kind != "network":
        raise DataError(f"{folder} holds a model of kind {card.kind!r}; give the folder of a network.")

    def make() -> keras.Model:
        name, size = str(card.recipe["network"]), card.number("size", 1, 1024)
        return make_network(name, len(card.inputs), len(card.classes), size=size)

    return SourceNetwork(load_network_weights(folder, make), card)


def _run(
    network: keras.Model, images: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the shares of classes, (n, classes), and what the last layer before them holds, (n, d)."""
    both = keras.Model(network.input, [network.output, network.get_layer("logits").input])
    scores, hidden = [], []
    for start in range(0, len(images), _AT_ONCE):
        logits, last = both(images[start : start + _AT_ONCE], training=False)
        scores.append(np.asarray(keras.ops.softmax(logits)))
        hidden.append(np.asarray(last))
    width = both.output_shape[1][-1]
    if not scores:
        return np.empty((0, network.output_shape[-1])), np.empty((0, width))
    return np.concatenate(scores).astype(np.float64), np.concatenate(hidden).astype(np.float64)
