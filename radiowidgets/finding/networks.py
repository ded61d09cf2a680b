"""What finders that are networks share: how they are trained and kept, and how probabilities become sources."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from radiowidgets.errors import DataError
from radiowidgets.models.backend import keras, layers
from radiowidgets.models.cards import Card, load_network_weights, read_card
from radiowidgets.models.training import Batches, History, Training

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from numpy.typing import NDArray


class TurnedBatches(Batches):
    """Batches of which every image is turned by quarters and flipped, together with its map of labels."""

    def __getitem__(self, place: int) -> Any:
        images, labels = super().__getitem__(place)
        images, labels = images.astype(np.float32), labels.astype(np.float32)
        rng = np.random.default_rng([self.seed, self.epoch, place])
        for k, turn in enumerate(rng.integers(8, size=len(images))):
            images[k], labels[k] = turned(images[k], turn), turned(labels[k], turn)
        return images, labels


def turned(image: NDArray[Any], turn: int) -> NDArray[Any]:
    """Return a square image (h, w, ...) turned by `turn % 4` quarters, and flipped from 4 on."""
    image = np.rot90(image, int(turn) % 4)
    return image[:, ::-1] if turn >= 4 else image


def fit(
    model: keras.Model,
    images: NDArray[Any],
    labels: NDArray[Any],
    validation: tuple[NDArray[Any], NDArray[Any]],
    *,
    batch_size: int,
    epochs: int,
    patience: int | None = None,
    seed: int = 0,
    about: dict[str, Any] | None = None,
    folder: Any = None,
    batches: type[Batches] = Batches,
    verbose: int = 0,
) -> History:
    """Train a compiled model; with a folder it keeps checkpoints there, and goes on from the last.

    Parameters
    ----------
    model : keras.Model
    images, labels : (n, ...) arrays
    validation : (images, labels)
        From another part of the sky.
    batch_size, epochs : int
        Batches are no larger than a fourth of the images.
    patience : int, optional
        Stop once the validation loss was not below its least for so many epochs, and take the weights of the least.
        Default: all epochs, and the weights of the last.
    seed : int
        Of the order of the images.
    about : dict, optional
        What the training is of; a folder keeps to it.
    folder : path, optional
    batches : type
        How batches are made of images and labels.

    Returns
    -------
    dict of list of float
        The history, a number an epoch, by the names of Keras.
    """
    about = {**(about or {}), "images": len(images), "batch": batch_size, "seed": seed}
    training = Training(about, folder, patience)
    training.go_on(model)
    over = training.best is not None and training.best.over
    if not over and training.epochs < epochs:
        size = min(batch_size, max(len(images) // 4, 1))
        model.fit(
            batches(images, size, seed, labels, first_epoch=training.epochs),
            epochs=epochs,
            initial_epoch=training.epochs,
            validation_data=validation,
            validation_batch_size=size,
            callbacks=training.callbacks,
            shuffle=False,
            verbose=verbose,
        )
    if training.best is not None:
        training.best.restore(model)
    return training.history


def load(
    folder: str | os.PathLike[str], kind: str, make: Callable[[Card], keras.Model]
) -> tuple[keras.Model, Card]:
    """Read a network that `cards.save_network` wrote; `make` builds it from its card.

    Raises
    ------
    DataError
        If the folder holds none of this kind, or a damaged one.
    """
    card = read_card(folder)
    if card.kind != "network" or card.recipe.get("finder") != kind:
        raise DataError(f"{folder} holds {card.name!r}, no {kind}; give the folder of a {kind}.")
    return load_network_weights(folder, lambda: make(card)), card


def half_resolution(
    channels: int,
    outputs: int,
    *,
    width: int,
    blocks: int,
    bias: float = 0.0,
    seed: int = 0,
    dtype: Any = None,
    name: str | None = None,
) -> keras.Model:
    """Return a small residual network that answers for 2 x 2 pixels at a time, for maps of any even size.

    Parameters
    ----------
    channels, outputs : int
        From (n, h, w, channels) to (n, h / 2, w / 2, outputs).
    width, blocks : int
        Filters, and residual blocks of two 3 x 3 convolutions, after one of 6 x 6 with a step of 2.
    bias : float
        Where the outputs start.
    seed : int
        Of the weights.
    dtype : optional
        Of the computation, such as 'mixed_bfloat16'. Default: Keras's.
    """
    count = iter(range(1000))

    def convolution(filters: int, kernel: int, dtype: Any = dtype, **options: Any) -> keras.layers.Layer:
        start = keras.initializers.HeNormal(seed=seed * 1000 + next(count))
        return layers.Conv2D(
            filters, kernel, padding="same", kernel_initializer=start, dtype=dtype, **options
        )

    inputs = keras.Input((None, None, channels), dtype="float32")
    hidden = convolution(width, 6, strides=2, activation="relu")(inputs)
    for _ in range(blocks):
        step = convolution(width, 3, activation="relu")(hidden)
        step = convolution(width, 3)(step)
        hidden = layers.ReLU(dtype=dtype)(layers.Add(dtype=dtype)([hidden, step]))
    last = convolution(outputs, 3, "float32", bias_initializer=keras.initializers.Constant(bias))
    return keras.Model(inputs, last(hidden), name=name)


def in_tiles(
    network: keras.Model, image: NDArray[np.float32], prepare: Callable[[Any], Any], tile: int, margin: int
) -> NDArray[np.float32]:
    """Return (ny / 2, nx / 2, outputs): what a network of `half_resolution` says of an image (ny, nx).

    A large image goes through in tiles of about `tile` pixels, each with a margin as wide as the network sees: the
    result is that of the whole. Beyond the border the image is 0.
    """
    ny, nx = image.shape
    sides = [2 * math.ceil(side / math.ceil(side / tile) / 2) for side in (ny, nx)]
    high, wide = (math.ceil(side / step) * step for side, step in zip((ny, nx), sides, strict=True))
    padded = np.pad(image, ((margin, margin + high - ny), (margin, margin + wide - nx)))
    inside = slice(margin // 2, -margin // 2)
    out = np.empty((high // 2, wide // 2, network.output_shape[-1]), np.float32)
    for y in range(0, high, sides[0]):
        for x in range(0, wide, sides[1]):
            part = padded[y : y + sides[0] + 2 * margin, x : x + sides[1] + 2 * margin]
            given = np.asarray(network.predict_on_batch(prepare(part)[None]))
            place = slice(y // 2, (y + sides[0]) // 2), slice(x // 2, (x + sides[1]) // 2)
            out[place] = given[0, inside, inside]
    return out[: -(-ny // 2), : -(-nx // 2)]


def logistic(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the probabilities of logits."""
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -60, 60))), np.float32)


def peaks(
    probability: NDArray[np.float32], threshold: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Return x and y of the local maxima above a threshold, each the centroid of 3 x 3 pixels, and their pixels.

    Parameters
    ----------
    probability : (ny, nx) float32
        NaN where blank.
    threshold : float
    """
    filled = np.nan_to_num(probability, nan=0.0)
    top = (filled > threshold) & (filled == ndimage.maximum_filter(filled, 3, mode="constant"))
    row, column = np.nonzero(top)
    near = np.lib.stride_tricks.sliding_window_view(np.pad(filled, 1), (3, 3))[row, column]
    step = np.array([-1.0, 0.0, 1.0])
    total = near.sum(axis=(1, 2), dtype=np.float64)
    x = column + (near.sum(axis=1) @ step) / np.maximum(total, 1e-30)
    y = row + (near.sum(axis=2) @ step) / np.maximum(total, 1e-30)
    return x, y, (row, column)
