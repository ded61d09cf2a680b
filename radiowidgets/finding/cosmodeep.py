"""COSMODEEP: a network that tells which tiles of a map hold faint diffuse emission.

Gheller, Vazza and Bonafede (2018), MNRAS 480, 3749, sections 2 and 3. What its text leaves open is settled so: tiles
are taken as they come, without balancing signal and noise; convolutions keep the tile's size; the last layer gives the
shares of two classes, the loss is their cross entropy, and Adam lowers it; a tile is called signal where its share is
above the threshold that gives the best As on validation images. Its 'about 700,000 parameters' do not follow from its
layers: 6.6 million do.

Its pixel scale can be read in two ways: 'the scale of ~3 arcsec', or 16 degrees over 6,000 pixels, 9.6 arcsec.
`mock_images` makes images of either; how bright the web is was set so that some 75 of 2,500 tiles hold signal at
f_th 0.75 and 40 pixels, which the shares and counts of section 5 and Table 2 imply.

Its noise is read as drawn for each pixel by itself and added to the convolved sky: with noise that is correlated over a
beam, no filter reaches the scores of Table 2 on our mock web (As at best 0.7, where it is 0.95 for the other).

`train_web_pixels` trains the improved variant: a small fully convolutional network learns in which pixels the sky
behind is above the threshold, and a tile is signal where enough of them are expected. It learns from every pixel, not
from one label a tile, sees beyond the tile, keeps what lies below zero, has 35,000 weights in place of 6.6 million, and
tells the shape of the emission.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from radiowidgets.data.simulate.cosmicweb import THRESHOLD, cosmic_web, positive_tiles
from radiowidgets.errors import MapError, ParameterError, check_one_of
from radiowidgets.finding import networks
from radiowidgets.finding.finders import Found, source_table
from radiowidgets.models.backend import keras, layers
from radiowidgets.models.cards import Card, save_network

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray

    from radiowidgets.data.maps import SkyMap

TILE = 40  # pixels, section 3.2
F_TH, N_PIXELS = (
    1.0,
    (40, 9),
)  # thresholds of a label: brightness in 1e-7 Jy per square arcsec, and pixels above it
RATE, BATCH, EPOCHS = 7e-5, 100, 50  # Table 1
FLOOR = 1e-11  # Jy per square arcsec, section 4
RMS, FWHM = 10e-6, 10.0  # Jy/beam and arcsec, section 3.1
WIDTH, BLOCKS, WEB_BATCH, MARGIN = 24, 3, 16, 20  # of the improved variant
#: Pixel scales in arcsec, and brightness of the mock web at which some 75 of 2,500 tiles hold signal.
SCALES: dict[float, float] = {3.0: 0.047, 9.6: 0.042}


def cosmodeep_network(tile: int = TILE, *, seed: int = 0, dtype: Any = None) -> keras.Model:
    """Return the network of section 2: 3 x 3 convolutions of 32 and 64 maps, each pooled by 2, then 1,024 neurons.

    Parameters
    ----------
    tile : int
        Side of the tiles in pixels, a multiple of 4.
    seed : int
    dtype : optional
        Of the computation, such as 'mixed_bfloat16'. Default: Keras's.
    """
    if tile < 4 or tile % 4:
        raise ParameterError(f"tile is {tile!r}; give a multiple of 4, such as {TILE}.")
    count = iter(range(4))

    def options(kind: Any = dtype) -> dict[str, Any]:
        return {
            "kernel_initializer": keras.initializers.GlorotUniform(seed=seed * 10 + next(count)),
            "dtype": kind,
        }

    inputs = keras.Input((tile, tile, 1), dtype="float32")
    hidden = inputs
    for maps in (32, 64):
        hidden = layers.Conv2D(maps, 3, padding="same", activation="relu", **options())(hidden)
        hidden = layers.MaxPooling2D(2, dtype=dtype)(hidden)
    hidden = layers.Dense(1024, activation="relu", **options())(layers.Flatten(dtype=dtype)(hidden))
    outputs = layers.Dense(2, activation="softmax", **options("float32"))(hidden)
    return keras.Model(inputs, outputs, name="cosmodeep")


# ------------------------------------------------------------------------------------
# what goes in


def surface_brightness(sky: SkyMap) -> NDArray[np.float32]:
    """Return the map in Jy per square arcsec.

    Raises
    ------
    MapError
        If its unit and beam do not tell how.
    """
    from astropy import units as u

    unit, wanted = u.Unit(sky.unit) if sky.unit is not None else None, u.Jy / u.arcsec**2
    if unit is not None and unit.is_equivalent(wanted):
        return np.asarray(sky.pixels, np.float32) * np.float32(unit.to(wanted))
    if unit is None or sky.beam is None or not unit.is_equivalent(u.Jy / u.beam):
        raise MapError(
            f"map {sky.name} is in {unit or 'no unit'} with beam {sky.beam}; COSMODEEP wants Jy/beam and a beam."
        )
    factor = unit.to(u.Jy / u.beam) / sky.beam.sr.to_value(u.arcsec**2)
    return np.asarray(sky.pixels, np.float32) * np.float32(factor)


def logarithm(brightness: ArrayLike) -> NDArray[np.float32]:
    """Return log10 of brightness in Jy per square arcsec; what is below 1e-11, or blank, as 1e-11."""
    values = np.nan_to_num(np.asarray(brightness, np.float32), nan=0.0)
    return np.log10(np.maximum(values, np.float32(FLOOR)))


def normalised(brightness: ArrayLike, limits: tuple[float, float] | None = None) -> NDArray[np.float32]:
    """Return an image as the network takes it (section 4, ii and iii): its logarithm, between 0 and 1.

    Parameters
    ----------
    brightness : (ny, nx) array
        Jy per square arcsec.
    limits : (low, high), optional
        What becomes 0 and 1, log10; what lies outside is clipped. Default: the image's own least and greatest.
    """
    values = logarithm(brightness)
    low, high = (float(values.min()), float(values.max())) if limits is None else limits
    scale = np.float32(1 / (high - low) if high > low else 1.0)
    return np.clip((values - np.float32(low)) * scale, 0, 1)


def cut_tiles(image: NDArray[Any], tile: int = TILE) -> NDArray[Any]:
    """Return (n, tile, tile, 1): tiles side by side, row by row; what is left over at the far edges is not used."""
    rows, columns = image.shape[0] // tile, image.shape[1] // tile
    whole = image[: rows * tile, : columns * tile].reshape(rows, tile, columns, tile)
    return np.ascontiguousarray(whole.swapaxes(1, 2)).reshape(-1, tile, tile, 1)


def mock_images(
    seed: int, size: int = 2000, scale: float = 3.0, web: float | None = None, noise: str = "pixels"
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return a mock image with noise and the sky behind it, (size, size) each, in Jy per square arcsec.

    Parameters
    ----------
    seed, size : int
    scale : float
        Of the pixels in arcsec. Above 5, where a pixel no longer samples the beam of 10 arcsec, it is the mean of
        3 x 3 finer ones.
    web : float, optional
        Brightness of the web; default: of `SCALES`, that of the nearest scale.
    noise : {'pixels', 'telescope'}
        Of 10 uJy/beam: drawn for each pixel by itself, as the paper's 'noise at the scale of ~3 arcsec', added to a
        sky that is convolved already; or that of a mock `cosmic-web` map, correlated over beams and beyond, in which
        faint emission is far harder to tell.
    """
    from radiowidgets.data.simulate import simulate
    from radiowidgets.data.simulate.instrument import beam_covariance
    from radiowidgets.data.simulate.sky import stream

    check_one_of("noise", noise, ("pixels", "telescope"))
    if web is None:
        web = SCALES[min(SCALES, key=lambda known: abs(known - scale))]
    fine = 1 if scale <= 5 else 3
    area = np.float32(2 * np.pi * (FWHM / 2.3548) ** 2)
    if noise == "pixels":
        beam = beam_covariance(FWHM, FWHM, 0.0, scale / fine)
        clean = np.float32(web) * cosmic_web(size * fine, scale / fine, beam, stream(seed, 9))
        clean = _binned(clean, fine)
        spread = np.random.default_rng([seed, 1]).standard_normal(clean.shape, np.float32)
    else:
        sky: Any = simulate("cosmic-web", size * fine, seed, pixel_scale=scale / fine, web=web, rms=RMS)
        clean = _binned(sky.truth.emission / area, fine)
        spread = _binned((sky.pixels - sky.truth.emission) / np.float32(RMS), fine)
        if fine > 1:
            spread /= spread.std()
    return clean + spread * np.float32(RMS) / area, clean


def _binned(image: NDArray[np.float32], fine: int) -> NDArray[np.float32]:
    """Return the means of `fine` x `fine` pixels."""
    ny, nx = (side // fine for side in image.shape)
    return image.reshape(ny, fine, nx, fine).mean(axis=(1, 3), dtype=np.float32)


@dataclass(frozen=True)
class Tiles:
    """Tiles to train on.

    Attributes
    ----------
    images : (n, 40, 40, 1) float32
        Of images with noise, between 0 and 1.
    labels : (n,) uint8
        1 where the sky behind holds signal.
    limits : (low, high)
        log10 of what became 0 and 1, the mean over images.
    """

    images: NDArray[np.float32]
    labels: NDArray[np.uint8]
    limits: tuple[float, float]

    def __len__(self) -> int:
        return len(self.images)

    @classmethod
    def of(
        cls,
        pairs: Iterable[tuple[ArrayLike, ArrayLike]],
        *,
        f_th: float = F_TH,
        n_pixels: int = N_PIXELS[0],
        tile: int = TILE,
        noise_share: float = 1.0,
        seed: int = 0,
    ) -> Tiles:
        """Cut and label images, each normalised by itself.

        Parameters
        ----------
        pairs : iterable of (noisy, clean)
            Jy per square arcsec, such as `mock_images` gives.
        f_th, n_pixels
            A tile is signal where more than `n_pixels` of the clean image are above `f_th` times 1e-7.
        noise_share : float
            Of the tiles without signal, how many are kept.
        """
        rng = np.random.default_rng(seed)
        images, labels, limits = [], [], []
        for noisy, clean in pairs:
            label = positive_tiles(np.asarray(clean), tile, f_th, n_pixels).ravel()
            values = logarithm(noisy)
            limits.append((float(values.min()), float(values.max())))
            kept = label | (rng.random(len(label)) < noise_share)
            images.append(cut_tiles(normalised(noisy), tile)[kept])
            labels.append(label[kept].astype(np.uint8))
        low, high = np.mean(limits, axis=0)
        return cls(np.concatenate(images), np.concatenate(labels), (float(low), float(high)))


def train_cosmodeep(
    tiles: Tiles,
    validation: Tiles,
    *,
    f_th: float = F_TH,
    n_pixels: int = N_PIXELS[0],
    epochs: int = EPOCHS,
    rate: float = RATE,
    seed: int = 0,
    dtype: Any = None,
    folder: str | os.PathLike[str] | None = None,
    verbose: int = 0,
) -> CosmoDeep:
    """Train COSMODEEP as Table 1 says: rate 7e-5, batches of 100, 50 epochs.

    Parameters
    ----------
    tiles, validation : Tiles
        Of different images. Validation tells the threshold of the best As, and trains nothing.
    f_th, n_pixels
        What the tiles were labelled by, for the card.
    dtype : optional
        Of the computation.
    folder : path, optional
        For checkpoints, from which the training goes on.
    """
    tile = tiles.images.shape[1]
    network = cosmodeep_network(tile, seed=seed, dtype=dtype)
    network.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy")
    recipe: dict[str, Any] = {
        "finder": "cosmodeep",
        "f_th": float(f_th),
        "n_pixels": int(n_pixels),
        "tile": int(tile),
        "seed": seed,
    }
    history = networks.fit(
        network,
        tiles.images,
        tiles.labels,
        (validation.images, validation.labels),
        batch_size=BATCH,
        epochs=epochs,
        seed=seed,
        about={**recipe, "rate": rate},
        folder=folder,
        verbose=verbose,
    )
    share = _shares(network, validation.images)
    threshold, a_s = best_tile_threshold(share, validation.labels)
    card = Card(
        "network",
        f"cosmodeep-{f_th:g}-{n_pixels}",
        ("noise", "signal"),
        ("log10 of Jy per square arcsec",),
        data={"tiles": len(tiles), "signal": int(tiles.labels.sum()), "validation": len(validation)},
        recipe={**recipe, "epochs": epochs, "limits": list(tiles.limits), "threshold": threshold},
        metrics={"validation_as": a_s, "losses": history},
    )
    return CosmoDeep(network, card)


def best_tile_threshold(share: NDArray[Any], labels: NDArray[Any]) -> tuple[float, float]:
    """Return the share of signal from which a tile is best called so, by As (equation 2), and that As."""
    order = np.argsort(-share, kind="stable")
    true = np.cumsum(labels[order] > 0)
    total = int(true[-1]) if len(true) else 0
    if not total:
        raise ParameterError("no tile of the validation images holds signal; give more of them.")
    scores = true / (total + np.arange(1, len(order) + 1) - true)
    best = int(np.argmax(scores))
    after = share[order[best + 1]] if best + 1 < len(order) else 0.0
    return float((share[order[best]] + after) / 2), float(scores[best])


def _shares(network: keras.Model, tiles: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the share of signal of each tile."""
    if not len(tiles):
        return np.empty(0, np.float32)
    return np.asarray(network.predict(tiles, batch_size=512, verbose=0), np.float32)[:, 1]


# ------------------------------------------------------------------------------------
# the improved variant


def web_network(*, seed: int = 0, dtype: Any = None) -> keras.Model:
    """Return the network of the improved variant: (n, h, w, 2) to (n, h / 2, w / 2, 1), logits of 2 x 2 pixels."""
    return networks.half_resolution(
        2, 1, width=WIDTH, blocks=BLOCKS, bias=-2.0, seed=seed, dtype=dtype, name="web"
    )


def web_input(brightness: NDArray[Any], f_th: float) -> NDArray[np.float32]:
    """Return (..., 2) of brightness: over the threshold, stretched, and what is near it; blanks as 0."""
    over = np.nan_to_num(np.asarray(brightness, np.float32) / np.float32(f_th * THRESHOLD))
    return np.stack([np.arcsinh(over), np.tanh(over / 4)], -1)


def web_patches(
    pairs: Iterable[tuple[ArrayLike, ArrayLike]], f_th: float = F_TH, size: int = 120
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return patches (n, size, size, 2) as `web_input` makes them, and shares of 2 x 2 pixels above the threshold.

    Parameters
    ----------
    pairs : iterable of (noisy, clean)
        Jy per square arcsec, such as `mock_images` gives.
    f_th : float
    size : int
        Of the patches, even.
    """
    images, labels = [], []
    for noisy, clean in pairs:
        cut = cut_tiles(np.asarray(noisy, np.float32), size)[..., 0]
        above = cut_tiles(np.asarray(clean) > f_th * THRESHOLD, size)[..., 0]
        half = above.reshape(len(cut), size // 2, 2, size // 2, 2).mean(axis=(2, 4), dtype=np.float32)
        images.append(web_input(cut, f_th))
        labels.append(half[..., None])
    return np.concatenate(images), np.concatenate(labels)


def train_web_pixels(
    pairs: Iterable[tuple[ArrayLike, ArrayLike]],
    validation: Sequence[tuple[NDArray[Any], NDArray[Any]]],
    *,
    f_th: float = F_TH,
    n_pixels: int = N_PIXELS[0],
    tile: int = TILE,
    epochs: int = 4,
    rate: float = 3e-3,
    seed: int = 0,
    dtype: Any = None,
    folder: str | os.PathLike[str] | None = None,
    verbose: int = 0,
) -> WebPixels:
    """Train the improved variant: AdamW with a cosine schedule, batches of 16, quarter turns and flips.

    Parameters
    ----------
    pairs, validation : (noisy, clean) images
        Jy per square arcsec. Validation tells the threshold of the best As, and trains nothing.
    f_th, n_pixels, tile
        A tile is signal where more than `n_pixels` of its pixels are above `f_th` times 1e-7.
    dtype : optional
        Of the computation while it trains.
    folder : path, optional
        For checkpoints, from which the training goes on.
    """
    images, labels = web_patches(pairs, f_th)
    steps = max(len(images) // WEB_BATCH, 1) * epochs
    schedule = keras.optimizers.schedules.CosineDecay(
        rate / 20, steps, warmup_target=rate, warmup_steps=steps // 20
    )
    network = web_network(seed=seed, dtype=dtype)
    network.compile(
        keras.optimizers.AdamW(schedule, weight_decay=1e-4, clipnorm=1.0),
        keras.losses.BinaryCrossentropy(from_logits=True),
    )
    recipe: dict[str, Any] = {"finder": "web-pixels", "f_th": float(f_th), "n_pixels": int(n_pixels)}
    history = networks.fit(
        network,
        images,
        labels,
        web_patches(validation, f_th),
        batch_size=WEB_BATCH,
        epochs=epochs,
        seed=seed,
        about={**recipe, "rate": rate, "epochs": epochs},
        folder=folder,
        batches=networks.TurnedBatches,
        verbose=verbose,
    )
    bare = web_network()  # in float32, as it will run
    bare.set_weights(network.get_weights())
    card = Card(
        "network",
        f"web-pixels-{f_th:g}-{n_pixels}",
        ("signal",),
        ("Jy per square arcsec over the threshold",),
        data={"patches": len(images)},
        recipe={**recipe, "tile": int(tile), "seed": seed, "epochs": epochs, "threshold": 0.5},
        metrics={"losses": history},
    )
    finder = WebPixels(bare, card)
    shares = np.concatenate([finder.shares(noisy).ravel() for noisy, _ in validation])
    actual = [positive_tiles(np.asarray(clean), tile, f_th, n_pixels).ravel() for _, clean in validation]
    threshold, a_s = best_tile_threshold(shares, np.concatenate(actual))
    recipe, metrics = {**card.recipe, "threshold": threshold}, {**card.metrics, "validation_as": a_s}
    return WebPixels(bare, replace(card, recipe=recipe, metrics=metrics))


# ------------------------------------------------------------------------------------
# finding


@dataclass(frozen=True)
class CosmoDeep:
    """A trained COSMODEEP: a finder, ``finder(sky) -> Found``.

    Attributes
    ----------
    network : keras.Model
    card : Card
        With tile, limits and threshold in its recipe.
    own_limits : bool
        Normalise each image by its own least and greatest brightness, not by those of the training.
    """

    network: keras.Model
    card: Card
    own_limits: bool = False

    @property
    def __name__(self) -> str:
        return self.card.name

    @property
    def threshold(self) -> float:
        """The share of signal from which a tile is called so."""
        return float(self.card.recipe["threshold"])

    def shares(self, brightness: ArrayLike) -> NDArray[np.float32]:
        """Return (ny // 40, nx // 40): the share of signal of each tile of an image in Jy per square arcsec."""
        low, high = self.card.recipe["limits"]
        image = normalised(brightness, None if self.own_limits else (float(low), float(high)))
        tile = int(self.card.recipe["tile"])
        shares = _shares(self.network, cut_tiles(image, tile))
        return shares.reshape(image.shape[0] // tile, image.shape[1] // tile)

    def _measure(self, brightness: NDArray[np.float32]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the share of signal of each tile, and the probability of each pixel."""
        shares = self.shares(brightness)
        return shares, _spread(shares, int(self.card.recipe["tile"]), brightness.shape, np.nan)

    def __call__(self, sky: SkyMap) -> Found:
        """Find emission: a row for each group of tiles that touch, its tiles as the mask, without blank pixels."""
        tile = int(self.card.recipe["tile"])
        if min(sky.shape) < tile:
            size = f"{sky.shape[1]} x {sky.shape[0]} pixels"
            raise MapError(f"map {sky.name} is {size}, less than a tile of {tile}; give a larger one.")
        pixels = surface_brightness(sky)
        shares, probability = self._measure(pixels)
        seen = np.isfinite(pixels)
        held = cut_tiles(seen, tile).any(axis=(1, 2, 3)).reshape(shares.shape)
        groups, number = ndimage.label((shares > self.threshold) & held, np.ones((3, 3)))
        island = np.arange(1, number + 1)
        centre = np.array(ndimage.center_of_mass(shares, groups, island)).reshape(-1, 2)
        y, x = (centre.T + 0.5) * tile - 0.5
        score = np.array(ndimage.maximum(shares, groups, island)).reshape(-1)
        return Found(
            source_table(sky, x, y, score=score, kind="DIFFUSE", island=island.astype(np.int32)),
            name=self.__name__,
            masks=np.where(seen, _spread(groups.astype(np.int32), tile, sky.shape, 0), 0),
            probability=np.where(seen, probability, np.nan),
            notes=[f"positions are those of tiles of {tile} pixels; fluxes are not measured."],
        )

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write weights and card into a folder, to be read by `load_cosmodeep`."""
        return save_network(self.network, folder, self.card)


@dataclass(frozen=True)
class WebPixels(CosmoDeep):
    """The improved variant: a finder like `CosmoDeep`, whose map of probability has the resolution of 2 x 2 pixels.

    The share of a tile is n / (n + n_pixels) of the number n of its pixels that are expected to be above the threshold:
    one half where just as many are as make a tile signal.
    """

    def pixels(self, brightness: ArrayLike) -> NDArray[np.float32]:
        """Return (ny, nx): the chance that the sky behind a pixel is above the threshold."""
        image = np.nan_to_num(np.asarray(brightness, np.float32))
        f_th = float(self.card.recipe["f_th"])
        logits = networks.in_tiles(self.network, image, lambda part: web_input(part, f_th), 512, MARGIN)
        half = networks.logistic(logits[..., 0])
        return np.repeat(np.repeat(half, 2, axis=0), 2, axis=1)[: image.shape[0], : image.shape[1]]

    def shares(self, brightness: ArrayLike) -> NDArray[np.float32]:
        """Return (ny // 40, nx // 40): the share of signal of each tile of an image in Jy per square arcsec."""
        return self._measure(np.asarray(brightness, np.float32))[0]

    def _measure(self, brightness: NDArray[np.float32]) -> tuple[NDArray[Any], NDArray[Any]]:
        chance, tile = self.pixels(brightness), int(self.card.recipe["tile"])
        rows, columns = (side // tile for side in chance.shape)
        number = cut_tiles(chance, tile).sum(axis=(1, 2, 3)).reshape(rows, columns)
        return number / (number + float(self.card.recipe["n_pixels"])), chance


def _spread(values: NDArray[Any], tile: int, shape: tuple[int, int], rest: float) -> NDArray[Any]:
    """Return the value of each tile in all its pixels, and `rest` in what is left over."""
    out = np.full(shape, rest, values.dtype)
    wide = np.repeat(np.repeat(values, tile, axis=0), tile, axis=1)
    out[: wide.shape[0], : wide.shape[1]] = wide
    return out


def load_cosmodeep(folder: str | os.PathLike[str], *, dtype: Any = None) -> CosmoDeep:
    """Read what `CosmoDeep.save` wrote; DataError if the folder holds none, or a damaged one.

    Parameters
    ----------
    folder : path
    dtype : optional
        Of the computation: 'mixed_bfloat16' is faster on processors that know it.
    """

    def make(card: Card) -> keras.Model:
        card.number("threshold", 0.0, 1.0)
        low, high = card.recipe["limits"]
        if not -math.inf < low < high < math.inf:
            raise ValueError(f"limits are {low!r} and {high!r}")
        return cosmodeep_network(card.number("tile", 4, 160), dtype=dtype)

    return CosmoDeep(*networks.load(folder, "cosmodeep", make))


def load_web_pixels(folder: str | os.PathLike[str]) -> WebPixels:
    """Read what `WebPixels.save` wrote; DataError if the folder holds none, or a damaged one."""

    def make(card: Card) -> keras.Model:
        for name, least, most in (("threshold", 0.0, 1.0), ("f_th", 1e-30, 1e30), ("n_pixels", 1e-30, 1e12)):
            card.number(name, least, most)
        card.number("tile", 1, 10_000)
        return web_network()

    return WebPixels(*networks.load(folder, "web-pixels", make))
