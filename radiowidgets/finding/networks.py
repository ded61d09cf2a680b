"""What finders that are networks share: how they are trained and kept, and how probabilities become sources."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from radiowidgets.errors import DataError, MissingExtraError, ParameterError
from radiowidgets.models.cards import KINDS, Card, read_card, write_card

try:
    import keras
except ImportError as error:
    raise MissingExtraError(
        "networks need Keras and a backend: pip install 'radiowidgets[deep]', or keras with jax or torch."
    ) from error

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


def save(model: keras.Model, folder: str | os.PathLike[str], card: Card) -> Path:
    """Write weights and card into a folder, to be read by `load`; both hold numbers and text alone."""
    place = Path(folder).expanduser()
    try:
        place.mkdir(parents=True, exist_ok=True)
        model.save_weights(place / KINDS["network"], overwrite=True)
    except OSError as error:
        raise DataError(f"{place} cannot be written ({error}); choose another folder.") from error
    return write_card(place, card)


def load(
    folder: str | os.PathLike[str], kind: str, make: Callable[[dict[str, Any]], keras.Model]
) -> tuple[keras.Model, Card]:
    """Read a network that `save` wrote; `make` builds it from the recipe of its card.

    Raises
    ------
    DataError
        If the folder holds none of this kind, or a damaged one.
    """
    card = read_card(folder)
    if card.kind != "network" or card.recipe.get("finder") != kind:
        raise DataError(f"{folder} holds {card.name!r}, no {kind}; give the folder of a {kind}.")
    try:
        model = make(card.recipe)
        model.load_weights(Path(folder).expanduser() / KINDS["network"])
    except (KeyError, ValueError, TypeError, OSError, ParameterError) as error:
        raise DataError(f"the network in {folder} cannot be read ({error!s:.100}); save it anew.") from error
    return model, card


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
