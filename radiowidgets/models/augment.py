"""Augmentations as layers that work on whole batches: views of one frame that should mean the same.

Every image of a batch draws its own parameters, from a seed; nothing happens unless ``training=True``. They are
written in `keras.ops` alone, so that each backend runs the same code; and take float images (n, h, w, channels) in
[0, 1], of any number of channels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
from keras import ops

from radiowidgets.errors import ParameterError, check_one_of

if TYPE_CHECKING:
    from collections.abc import Sequence

CHANNELS_OF_COLOUR = 3


class Augmentation(keras.layers.Layer):
    """Base of all: `change` is applied to each image with a probability.

    Parameters
    ----------
    probability : float
        Of each image to be changed.
    seed : int
        Of all that is drawn.
    """

    def __init__(self, probability: float = 1.0, seed: int = 0, **options: Any) -> None:
        super().__init__(**options)
        if not 0 <= probability <= 1:
            raise ParameterError(f"probability is {probability!r}; give a number from 0 to 1.")
        self.probability, self.seed = probability, seed
        self.generator = keras.random.SeedGenerator(seed)
        self.built = True

    def change(self, images: Any) -> Any:
        """Return the images changed, each in its own way."""
        raise NotImplementedError

    def call(self, images: Any, training: bool = False) -> Any:
        """Return the images, changed where the lot falls so."""
        if not training or self.probability == 0:
            return images
        changed = self.change(images)
        if self.probability == 1:
            return changed
        return ops.where(self.draw(images) < self.probability, changed, images)

    def draw(self, images: Any, low: float = 0.0, high: float = 1.0, *, each: int = 1) -> Any:
        """Return uniform numbers, one an image, or one for each of its `each` channels: (n, 1, 1, each)."""
        return keras.random.uniform((ops.shape(images)[0], 1, 1, each), low, high, seed=self.generator)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape of the input: augmentations keep it."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return what makes the same layer again."""
        return super().get_config() | {"probability": self.probability, "seed": self.seed}


class _Ranged(Augmentation):
    """An augmentation with a range to draw from, `low` to `high`."""

    def __init__(
        self, low: float, high: float, probability: float = 1.0, seed: int = 0, **options: Any
    ) -> None:
        super().__init__(probability, seed, **options)
        if not low <= high:
            raise ParameterError(
                f"the range of {self.name} is {low!r} to {high!r}; give the smaller one first."
            )
        self.low, self.high = low, high

    def get_config(self) -> dict[str, Any]:
        """Return what makes the same layer again."""
        return super().get_config() | {"low": self.low, "high": self.high}


class RandomCropResize(_Ranged):
    """Cut a square of `low` to `high` of the side out of each image, anywhere, and bring it back to size (bilinear)."""

    def __init__(
        self, low: float = 0.8, high: float = 1.0, probability: float = 1.0, seed: int = 0, **options: Any
    ) -> None:
        super().__init__(low, high, probability, seed, **options)

    def change(self, images: Any) -> Any:
        """Return random crops."""
        height, width = images.shape[1], images.shape[2]
        scale = self.draw(images, self.low, self.high)[:, 0, 0, 0]
        zero = ops.zeros_like(scale)
        room_y = (1 - scale) * (height - 1) * self.draw(images)[:, 0, 0, 0]
        room_x = (1 - scale) * (width - 1) * self.draw(images)[:, 0, 0, 0]
        return _affine(images, [scale, zero, room_x, zero, scale, room_y])


class RandomZoomTurn(_Ranged):
    """Turn each image by any angle about its centre and enlarge it by 1 / `high` to 1 / `low`; outside is dark.

    The sky knows no up; a turn by any angle is as good a view as a flip.
    """

    def __init__(
        self, low: float = 0.7, high: float = 1.2, probability: float = 1.0, seed: int = 0, **options: Any
    ) -> None:
        super().__init__(low, high, probability, seed, **options)

    def change(self, images: Any) -> Any:
        """Return turned and zoomed images."""
        half_y, half_x = (images.shape[1] - 1) / 2, (images.shape[2] - 1) / 2
        angle = self.draw(images, 0.0, 6.2831853)[:, 0, 0, 0]
        scale = self.draw(images, self.low, self.high)[:, 0, 0, 0]
        cos, sin = scale * ops.cos(angle), scale * ops.sin(angle)
        return _affine(
            images,
            [cos, -sin, half_x - cos * half_x + sin * half_y, sin, cos, half_y - sin * half_x - cos * half_y],
            "constant",
        )


class RandomFlip(Augmentation):
    """Flip each image: horizontally with `probability`, else vertically with the same, else not.

    peculiar-frames flips 'either vertically or horizontally' with 0.33 each. With ``both=True`` the two are drawn
    independently, as in ssl-benchmark section 4.1.
    """

    def __init__(
        self, probability: float = 0.33, seed: int = 0, *, both: bool = False, **options: Any
    ) -> None:
        super().__init__(probability, seed, **options)
        self.both = both

    def call(self, images: Any, training: bool = False) -> Any:
        """Return the images, some of them flipped."""
        if not training:
            return images
        p = self.probability
        lot = self.draw(images)
        across = lot < p
        upright = self.draw(images) < p if self.both else (lot >= p) & (lot < 2 * p)
        images = ops.where(across, ops.flip(images, 2), images)
        return ops.where(upright, ops.flip(images, 1), images)

    def get_config(self) -> dict[str, Any]:
        """Return what makes the same layer again."""
        return super().get_config() | {"both": self.both}


class RandomQuarterTurn(Augmentation):
    """Turn each image by 90, 180 or 270 degrees; the images must be square."""

    def __init__(self, probability: float = 0.5, seed: int = 0, **options: Any) -> None:
        super().__init__(probability, seed, **options)

    def change(self, images: Any) -> Any:
        """Return turned images."""
        if images.shape[1] != images.shape[2]:
            raise ParameterError(
                f"images of {images.shape[1]} by {images.shape[2]} pixels cannot be turned by a quarter; "
                "give square ones."
            )
        lot = self.draw(images)
        quarter = ops.flip(ops.transpose(images, (0, 2, 1, 3)), 1)
        half = ops.flip(images, (1, 2))
        rest = ops.flip(ops.transpose(images, (0, 2, 1, 3)), 2)
        return ops.where(lot < 1 / 3, quarter, ops.where(lot < 2 / 3, half, rest))


class ColorJitter(Augmentation):
    """Change brightness, contrast, saturation and hue, in this order, as SimCLR does (Chen et al. 2020, Appendix A).

    Brightness and contrast are factors from 1 - a to 1 + a (contrast about the mean of the image), with
    a = `strength` x the parameter; saturation mixes with the mean of the channels; hue turns the chroma plane by up
    to a turns, only where there are three channels. Results are clipped to [0, 1].
    """

    def __init__(
        self,
        brightness: float = 0.8,
        contrast: float = 0.8,
        saturation: float = 0.8,
        hue: float = 0.2,
        strength: float = 0.5,
        probability: float = 0.8,
        seed: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(probability, seed, **options)
        self.amounts = {"brightness": brightness, "contrast": contrast, "saturation": saturation, "hue": hue}
        self.strength = strength

    def _factor(self, images: Any, name: str) -> Any:
        amount = self.strength * self.amounts[name]
        return self.draw(images, max(0.0, 1 - amount), 1 + amount)

    def change(self, images: Any) -> Any:
        """Return images in other colours."""
        images = images * self._factor(images, "brightness")
        middle = ops.mean(images, (1, 2), keepdims=True)
        images = middle + (images - middle) * self._factor(images, "contrast")
        if images.shape[-1] > 1 and self.amounts["saturation"]:
            grey = ops.mean(images, -1, keepdims=True)
            images = grey + (images - grey) * self._factor(images, "saturation")
        if images.shape[-1] == CHANNELS_OF_COLOUR and self.amounts["hue"]:
            turn = 6.2831853 * self.strength * self.amounts["hue"]
            images = _turn_hue(images, self.draw(images, -turn, turn))
        return ops.clip(images, 0.0, 1.0)

    def get_config(self) -> dict[str, Any]:
        """Return what makes the same layer again."""
        return super().get_config() | self.amounts | {"strength": self.strength}


class RandomContrast(_Ranged):
    """Stretch each image about its mean by a factor from `low` to `high`, and clip to [0, 1]."""

    def __init__(
        self, low: float = 0.2, high: float = 1.8, probability: float = 0.5, seed: int = 0, **options: Any
    ) -> None:
        super().__init__(low, high, probability, seed, **options)

    def change(self, images: Any) -> Any:
        """Return images of other contrast."""
        middle = ops.mean(images, (1, 2), keepdims=True)
        return ops.clip(middle + (images - middle) * self.draw(images, self.low, self.high), 0.0, 1.0)


class RandomGamma(_Ranged):
    """Raise each image to a power from `low` to `high`: another stretch of the same flux."""

    def __init__(
        self, low: float = 0.7, high: float = 1.4, probability: float = 0.5, seed: int = 0, **options: Any
    ) -> None:
        super().__init__(low, high, probability, seed, **options)

    def change(self, images: Any) -> Any:
        """Return images of another stretch."""
        return ops.power(ops.maximum(images, 1e-6), self.draw(images, self.low, self.high))


class RandomNoise(_Ranged):
    """Add Gaussian noise with a standard deviation from `low` to `high`, and clip to [0, 1]."""

    def __init__(
        self, low: float = 0.0, high: float = 0.1, probability: float = 0.5, seed: int = 0, **options: Any
    ) -> None:
        super().__init__(low, high, probability, seed, **options)

    def change(self, images: Any) -> Any:
        """Return noisier images."""
        noise = keras.random.normal(ops.shape(images), seed=self.generator)
        return ops.clip(images + noise * self.draw(images, self.low, self.high), 0.0, 1.0)


class GaussianBlur(_Ranged):
    """Blur each image by a Gaussian of sigma `low` to `high` pixels; near the border its weights still sum to 1."""

    def __init__(
        self, low: float = 1.0, high: float = 3.0, probability: float = 0.1, seed: int = 0, **options: Any
    ) -> None:
        super().__init__(low, high, probability, seed, **options)

    def change(self, images: Any) -> Any:
        """Return blurred images."""
        sigma = self.draw(images, self.low, self.high)[:, :, :, 0]
        images = ops.einsum("bij,bjkc->bikc", _blur_matrix(sigma, images.shape[1]), images)
        return ops.einsum("bij,bkjc->bkic", _blur_matrix(sigma, images.shape[2]), images)


class RandomThresholding(_Ranged):
    """Set what is below a percentile of its channel to 0, a percentile from `low` to `high` for each channel.

    peculiar-frames section 2.3 brings it in so that the background tells less; it leaves it out for banner sets,
    whose frames are zoomed on sources.
    """

    def __init__(
        self, low: float = 40.0, high: float = 60.0, probability: float = 0.5, seed: int = 0, **options: Any
    ) -> None:
        super().__init__(low, high, probability, seed, **options)

    def change(self, images: Any) -> Any:
        """Return images without their background."""
        pixels, channels = images.shape[1] * images.shape[2], images.shape[3]
        flat = ops.sort(ops.reshape(images, (-1, pixels, channels)), axis=1)
        place = self.draw(images, self.low / 100, self.high / 100, each=channels)[:, 0] * (pixels - 1)
        limit = ops.take_along_axis(flat, ops.cast(ops.round(place), "int32"), axis=1)
        return ops.where(images < limit[:, None], ops.zeros_like(images), images)


Step = tuple[type[Augmentation], dict[str, Any]]


def pipeline(name: str | Sequence[Step], seed: int = 0, *, thresholding: bool = True) -> keras.Sequential:
    """Return the augmentations of a paper, in its order.

    Parameters
    ----------
    name
        'peculiar-frames': its Table 2. 'ssl-benchmark': its section 4.1. 'compact-sources': its section 5.2.1.
        'none': nothing. Or steps of your own: pairs of a layer's class and its options, as in `PIPELINES`.
    seed
        Every layer takes its own from it.
    thresholding
        Whether 'peculiar-frames' ends in `RandomThresholding`; False for source-centred ('banner') frames.
    """
    if isinstance(name, str):
        check_one_of("augmentation", name, PIPELINES)
    steps: list[Augmentation] = []
    for place, (kind, options) in enumerate(PIPELINES[name] if isinstance(name, str) else name):
        if thresholding or kind is not RandomThresholding:
            steps.append(kind(**options, seed=1000 * seed + place))
    title = name.replace("-", "_") if isinstance(name, str) else "own"
    return keras.Sequential([*steps] or [keras.layers.Identity()], name=title)


PIPELINES: dict[str, list[Step]] = {
    "peculiar-frames": [
        (RandomCropResize, {"low": 0.8, "high": 1.0}),
        (ColorJitter, {}),
        (RandomFlip, {"probability": 0.33}),
        (RandomQuarterTurn, {"probability": 0.5}),
        (GaussianBlur, {"low": 1.0, "high": 3.0, "probability": 0.1}),
        (RandomThresholding, {"low": 40.0, "high": 60.0, "probability": 0.5}),
    ],
    # Whether its crop of 0.65 to 1 is of the side or of the area is not said; here of the side, as in peculiar-frames.
    "ssl-benchmark": [
        (RandomFlip, {"probability": 0.5, "both": True}),
        (GaussianBlur, {"low": 0.1, "high": 2.0, "probability": 0.25}),
        (RandomContrast, {"low": 0.2, "high": 1.8, "probability": 0.5}),
        (RandomCropResize, {"low": 0.65, "high": 1.0}),
    ],
    # Flips along both axes with any turn by -90 to 90 degrees are flips along one with any turn at all.
    "compact-sources": [
        (RandomFlip, {"probability": 0.5, "both": True}),
        (RandomZoomTurn, {"low": 1.0, "high": 1.0}),
    ],
    "none": [],
}


# ------------------------------------------------------------------------------------


def _affine(images: Any, rows: list[Any], fill: str = "nearest") -> Any:
    """Sample images at (a x + b y + c, d x + e y + f), one set of six numbers an image."""
    zero = ops.zeros_like(rows[0])
    return ops.image.affine_transform(
        images, ops.stack([*rows, zero, zero], -1), "bilinear", fill, data_format="channels_last"
    )


def _blur_matrix(sigma: Any, size: int) -> Any:
    """Return (n, size, size) Gaussian weights between pixels of one axis, rows summing to 1."""
    place = ops.arange(size, dtype="float32")
    apart = ops.square(place[:, None] - place[None, :])
    weights = ops.exp(-0.5 * apart[None] / ops.square(sigma))
    return weights / ops.sum(weights, -1, keepdims=True)


def _turn_hue(images: Any, angle: Any) -> Any:
    """Turn three channels about the grey axis by an angle (n, 1, 1, 1)."""
    cos, sin = ops.cos(angle), ops.sin(angle)
    grey = ops.mean(images, -1, keepdims=True)
    first, second, third = images[..., :1], images[..., 1:2], images[..., 2:]
    across = ops.concatenate([third - second, first - third, second - first], -1) / 3**0.5
    return grey + (images - grey) * cos + across * sin
