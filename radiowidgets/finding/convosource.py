"""ConvoSource: three convolutions that turn a map into a map of the positions of its sources.

Lukic, de Gasperin and Brueggen (2020), Galaxies 8, 3, with what its text leaves open settled so: convolutions end in a
ReLU and the last layer in a logistic function; the reconstruction threshold is chosen on validation blocks, not on
those that are reported; a table of sources holds the peaks of the reconstruction. `pinpoint` is the improved variant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from radiowidgets.errors import ParameterError, check_one_of
from radiowidgets.finding import networks
from radiowidgets.finding.finders import Found, source_table
from radiowidgets.finding.matching import beam_response
from radiowidgets.models.backend import keras, layers
from radiowidgets.models.cards import Card, save_network

if TYPE_CHECKING:
    import os
    from pathlib import Path

    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

    from radiowidgets.data.maps import SkyMap

BLOCK = 50  # pixels, section 2.3.1
SCALE = 1e6  # what the pixels in Jy/beam are multiplied by, section 2.3
SNRS = (1, 2, 5)  # solution maps hold sources whose total flux is above so many times the mean rms
LENIENCY = 3.0  # pixels, section 3
EXTENDED = ("SS-AGN", "FS-AGN")
AUGMENTATIONS = ("none", "extended", "all")
BATCH, PATIENCE, RATE, RHO, TRAINED = 128, 5, 1.0, 0.99, 0.8  # section 2.1
_TOGETHER = 32  # blocks that go through a trained network at once: its layers take 1 MB each


def convosource_network(size: int | None = BLOCK, *, seed: int = 0) -> keras.Model:
    """Return the network of Table 1: 32,193 weights, from (n, size, size, 1) to probabilities of the same shape.

    Parameters
    ----------
    size : int or None
        Of the blocks in pixels; None for any height and width.
    """
    start = keras.initializers.GlorotUniform

    def convolution(filters: int, kernel: int, number: int) -> keras.layers.Layer:
        return layers.Conv2D(
            filters,
            kernel,
            padding="same",
            activation="relu",
            kernel_initializer=start(seed=seed * 10 + number),
            name=f"conv2d_{number}",
        )

    inputs = keras.Input((size, size, 1), dtype="float32", name="input_1")
    hidden = convolution(16, 7, 1)(inputs)
    hidden = layers.Dropout(0.25, seed=seed, name="dropout_1")(hidden)
    hidden = convolution(64, 3, 3)(convolution(32, 5, 2)(hidden))
    last = layers.Dense(1, activation="sigmoid", kernel_initializer=start(seed=seed * 10 + 4), name="dense_1")
    return keras.Model(inputs, last(hidden), name="convosource")


# ------------------------------------------------------------------------------------
# what goes in


def corrected(sky: SkyMap, attenuation: ArrayLike | None = None) -> SkyMap:
    """Return the map divided by the primary beam, as section 2.2 takes it.

    Parameters
    ----------
    sky : SkyMap
    attenuation : (ny, nx) array, optional
        Response of the primary beam, 0 to 1; default: that of a mock map's truth, else of `sky.primary_beam`; a map
        without either is returned as it is.
    """
    from radiowidgets.data.maps import SkyMap

    truth = getattr(sky, "truth", None)
    if attenuation is None:
        if truth is None and sky.primary_beam is None:
            return sky
        attenuation = _response(sky) if truth is None else truth.attenuation
    response = np.asarray(attenuation, np.float32)
    if response.shape != sky.shape:
        raise ParameterError(f"the primary beam is {response.shape}; give one value a pixel of {sky.shape}.")
    with np.errstate(divide="ignore", invalid="ignore"):
        pixels = np.where(response > 0, sky.pixels / response, np.nan).astype(np.float32)
    result = SkyMap.from_array(
        pixels,
        name=sky.name,
        wcs=sky.wcs,
        beam=sky.beam,
        unit=sky.unit,
        frequency=sky.frequency,
        header=sky.header,
    )
    if truth is not None:
        result.truth = truth  # type: ignore[attr-defined]
    return result


def _response(sky: SkyMap) -> NDArray[np.float32]:
    """Return the response of the map's primary beam at each pixel, some rows at a time."""
    x, parts = np.arange(sky.shape[1]), []
    for first in range(0, sky.shape[0], 64):
        row, column = np.meshgrid(np.arange(first, min(first + 64, sky.shape[0])), x, indexing="ij")
        response = beam_response(sky, *sky.pixel_to_sky(column.ravel(), row.ravel()))
        parts.append(response.reshape(row.shape).astype(np.float32))
    return np.concatenate(parts)


def solution_map(shape: tuple[int, int], x: ArrayLike, y: ArrayLike) -> NDArray[np.uint8]:
    """Return (ny, nx): 1 in the pixel of each source, 0 elsewhere; sources outside are left out."""
    solution = np.zeros(shape, np.uint8)
    column, row = np.rint(np.asarray(x)).astype(np.int64), np.rint(np.asarray(y)).astype(np.int64)
    inside = (column >= 0) & (row >= 0) & (column < shape[1]) & (row < shape[0])
    solution[row[inside], column[inside]] = 1
    return solution


def cut_blocks(image: NDArray[Any], block: int = BLOCK) -> NDArray[Any]:
    """Return (n, block, block, 1): the blocks of an image side by side, row by row, filled with 0 at the far edges."""
    ny, nx = image.shape
    whole = np.pad(image, ((0, -ny % block), (0, -nx % block)))
    rows, columns = whole.shape[0] // block, whole.shape[1] // block
    cut = whole.reshape(rows, block, columns, block).swapaxes(1, 2)
    return np.ascontiguousarray(cut.reshape(-1, block, block, 1))


def join_blocks(blocks: NDArray[Any], shape: tuple[int, int]) -> NDArray[Any]:
    """Return the image of (ny, nx) that `cut_blocks` has cut."""
    block = blocks.shape[1]
    rows, columns = -(-shape[0] // block), -(-shape[1] // block)
    whole = blocks.reshape(rows, columns, block, block).swapaxes(1, 2).reshape(rows * block, columns * block)
    return whole[: shape[0], : shape[1]]


def network_input(pixels: ArrayLike) -> NDArray[np.float32]:
    """Return pixels in Jy/beam times 1e6, blanks as 0."""
    return np.nan_to_num(np.asarray(pixels, np.float32) * np.float32(SCALE), posinf=0.0, neginf=0.0)


@dataclass(frozen=True)
class Blocks:
    """Blocks of maps to train on, beside their solutions.

    Attributes
    ----------
    images : (n, 50, 50, 1) float32
    solutions : (n, 50, 50, 1) uint8
    extended : (n,) bool
        Whether a steep- or flat-spectrum AGN is in the block's solution.
    """

    images: NDArray[np.float32]
    solutions: NDArray[np.uint8]
    extended: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, chosen: Any) -> Blocks:
        return Blocks(self.images[chosen], self.solutions[chosen], self.extended[chosen])

    @classmethod
    def of(cls, sky: SkyMap, truth: pd.DataFrame, snr: float = 5, block: int = BLOCK) -> Blocks:
        """Cut a map, corrected for its primary beam, and the solution map of its truth.

        Parameters
        ----------
        sky : SkyMap
        truth : DataFrame
            x, y (pixels), flux_over_rms and kind of each source.
        snr : float
            Solutions are the sources whose flux_over_rms is above it.
        """
        bright = truth[truth["flux_over_rms"].to_numpy() > snr]
        agn = bright[bright["kind"].isin(EXTENDED)]
        solutions = cut_blocks(solution_map(sky.shape, bright["x"], bright["y"]), block)
        held = cut_blocks(solution_map(sky.shape, agn["x"], agn["y"]), block).max(axis=(1, 2, 3))
        return cls(cut_blocks(network_input(sky.pixels), block), solutions, held > 0)

    @classmethod
    def joined(cls, parts: list[Blocks]) -> Blocks:
        """Return the blocks of several maps as one set."""
        names = ("images", "solutions", "extended")
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    def augmented(self, augmentation: str = "none") -> Blocks:
        """Return the blocks with flips and turns beside them (section 2.4).

        Parameters
        ----------
        augmentation : {'none', 'extended', 'all'}
            Of which blocks: those with a steep- or flat-spectrum AGN, or those with any source. Each gives five more:
            flipped up and across, turned by 90, 180 and 270 degrees.
        """
        check_one_of("augmentation", augmentation, AUGMENTATIONS)
        if augmentation == "none":
            return self
        chosen = self.extended if augmentation == "extended" else self.solutions.any(axis=(1, 2, 3))
        some = self[chosen]
        views = [
            lambda part: part[:, ::-1],
            lambda part: part[:, :, ::-1],
            *(lambda part, turn=turn: np.rot90(part, turn, axes=(1, 2)) for turn in (1, 2, 3)),
        ]
        more = [Blocks(view(some.images), view(some.solutions), some.extended) for view in views]
        return Blocks.joined([self, *more])

    def split(self, share: float = TRAINED, seed: int = 0) -> tuple[Blocks, Blocks]:
        """Return a random share of the blocks, and the rest."""
        order = np.random.default_rng(seed).permutation(len(self))
        cut = round(share * len(self))
        return self[np.sort(order[:cut])], self[np.sort(order[cut:])]


# ------------------------------------------------------------------------------------
# training


def train_convosource(
    blocks: Blocks,
    validation: Blocks | None = None,
    *,
    snr: float = 5,
    augmentation: str = "none",
    epochs: int = 200,
    seed: int = 0,
    folder: str | os.PathLike[str] | None = None,
    verbose: int = 0,
) -> ConvoSource:
    """Train ConvoSource as section 2.1 does: Adadelta (rate 1, rho 0.99), batches of 128, binary cross entropy.

    Parameters
    ----------
    blocks : Blocks
    validation : Blocks, optional
        For early stopping (patience 5) and for the reconstruction threshold; default: a fifth of `blocks`.
    snr : float
        What the solutions of the blocks were made for, for the card.
    augmentation : {'none', 'extended', 'all'}
        Of the blocks that train.
    epochs : int
        At most so many.
    folder : path, optional
        For checkpoints, from which the training goes on.

    Returns
    -------
    ConvoSource
    """
    if validation is None:
        blocks, validation = blocks.split(seed=seed)
    blocks = blocks.augmented(augmentation)
    network = convosource_network(blocks.images.shape[1], seed=seed)
    network.compile(keras.optimizers.Adadelta(RATE, rho=RHO), "binary_crossentropy")
    recipe: dict[str, Any] = {
        "finder": "convosource",
        "snr": float(snr),
        "augmentation": augmentation,
        "block": int(blocks.images.shape[1]),
        "seed": seed,
    }
    history = networks.fit(
        network,
        blocks.images,
        blocks.solutions,
        (validation.images, validation.solutions),
        batch_size=BATCH,
        epochs=epochs,
        patience=PATIENCE,
        seed=seed,
        about=recipe,
        folder=folder,
        verbose=verbose,
    )
    guess = network.predict(validation.images, batch_size=_TOGETHER, verbose=0)
    threshold, f1 = best_threshold(guess[..., 0], validation.solutions[..., 0])
    card = Card(
        "network",
        f"convosource-snr{snr:g}-{augmentation}",
        ("source",),
        ("Jy/beam times 1e6",),
        data={"blocks": len(blocks), "validation": len(validation)},
        recipe={**recipe, "threshold": threshold},
        metrics={"validation_f1": f1, "epochs": len(history["loss"]), "losses": history},
    )
    return ConvoSource(network, card)


def best_threshold(
    probability: NDArray[np.floating[Any]], solution: NDArray[Any], steps: int = 200
) -> tuple[float, float]:
    """Return the reconstruction threshold of the best F1, and that F1, counting pixels as section 3 does.

    Parameters
    ----------
    probability, solution : (n, h, w) arrays
        Blocks, each counted by itself. True positives are pixels above the threshold less than three pixels from a
        source, false positives the other pixels above it; a source is missed if its own pixel is not above.
    steps : int
        Thresholds that are tried between 0 and 1: quantiles of what the brightest pixels have.
    """
    near = np.zeros(solution.shape, bool)
    for k in np.flatnonzero(solution.any(axis=(1, 2))):
        near[k] = ndimage.distance_transform_edt(solution[k] == 0) < LENIENCY
    right, wrong = np.sort(probability[near]), np.sort(probability[~near])
    own = np.sort(probability[solution > 0])
    if not len(own):
        raise ParameterError("no source is in the validation blocks; give more blocks, or a lower snr.")
    thresholds = np.unique(np.quantile(np.concatenate([own, right]), np.linspace(0, 0.999, steps)))
    true = len(right) - np.searchsorted(right, thresholds, "right")
    false = len(wrong) - np.searchsorted(wrong, thresholds, "right")
    missed = np.searchsorted(own, thresholds, "right")
    f1 = 2 * true / np.maximum(2 * true + false + missed, 1)
    best = int(np.argmax(f1))
    return float(thresholds[best]), float(f1[best])


# ------------------------------------------------------------------------------------
# finding


@dataclass(frozen=True)
class ConvoSource:
    """A trained ConvoSource: a finder, ``finder(sky) -> Found``.

    Maps are taken as they are: hand on what `corrected` makes of them if it was trained so.

    Attributes
    ----------
    network : keras.Model
    card : Card
        With snr and reconstruction threshold in its recipe.
    """

    network: keras.Model
    card: Card

    @property
    def __name__(self) -> str:
        return self.card.name

    @property
    def threshold(self) -> float:
        """The reconstruction threshold."""
        return float(self.card.recipe["threshold"])

    def probability(self, pixels: ArrayLike) -> NDArray[np.float32]:
        """Return the reconstruction (ny, nx) of a map (ny, nx) in Jy/beam, block by block as it was trained."""
        image = network_input(pixels)
        blocks = cut_blocks(image, self.network.input_shape[1] or BLOCK)
        guess = self.network.predict(blocks, batch_size=_TOGETHER, verbose=0)
        return join_blocks(np.asarray(guess, np.float32), image.shape)

    def __call__(self, sky: SkyMap) -> Found:
        """Find the sources of a map in Jy/beam: peaks of the reconstruction, masks of what is above the threshold."""
        pixels = np.asarray(sky.pixels)
        probability = self.probability(pixels)
        probability[~np.isfinite(pixels)] = np.nan
        masks, _ = ndimage.label(probability > self.threshold, np.ones((3, 3)))
        x, y, pixel = networks.peaks(probability, self.threshold)
        return Found(
            source_table(sky, x, y, score=probability[pixel], island=masks[pixel]),
            name=self.__name__,
            masks=masks.astype(np.int32),
            probability=probability,
            notes=["fluxes are not measured."],
        )

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write weights and card into a folder, to be read by `load_convosource`."""
        return save_network(self.network, folder, self.card)


def load_convosource(folder: str | os.PathLike[str]) -> ConvoSource:
    """Read what `ConvoSource.save` wrote; DataError if the folder holds none, or a damaged one."""

    def make(card: Card) -> keras.Model:
        card.number("threshold", 0.0, 1.0)
        return convosource_network(card.number("block", 1, 4096))

    return ConvoSource(*networks.load(folder, "convosource", make))
