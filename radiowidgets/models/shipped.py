"""The encoder that comes with the package: small, trained on mock skies alone; its model card is beside its weights."""

from __future__ import annotations

import hashlib
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from radiowidgets.errors import DataError
from radiowidgets.models.inputs import SIZE, encoder_input

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray

    from radiowidgets.data.frames import FrameSet

WEIGHTS = Path(__file__).parent / "weights"
NAME = "small-2"
INPUT = 2  # version of what `inputs.encoder_input` makes of a frame: weights know only their own


class ShippedEncoder:
    """Frames of any size to vectors, as `radiowidgets.embed` wants an encoder.

    Attributes
    ----------
    fingerprint : str
        Of the weights and of what is made of frames before.
    card : dict
        The model card: data, recipe, scores, what it is not good for.
    """

    def __init__(self, weights: Path, card: Path) -> None:
        for path in (weights, card):
            if not path.is_file():
                raise DataError(
                    f"{path.name} is not beside the package's modules; install radiowidgets again."
                )
        self.weights = weights
        self.card: dict[str, Any] = yaml.safe_load(card.read_text(encoding="utf-8"))
        if self.card["input"] != INPUT:
            raise DataError(
                f"{weights.name} was trained on input {self.card['input']}, not {INPUT}; "
                "install radiowidgets again."
            )
        self._made_of = (weights, card)
        digest = hashlib.sha256(weights.read_bytes()).hexdigest()
        self.fingerprint = f"{weights.name}-{digest[:24]}-input{self.card['input']}"

    def prepare(self, frames: FrameSet) -> NDArray[np.uint8]:
        """Return both looks at each frame, see `inputs.encoder_input`."""
        return encoder_input(frames)

    def __call__(self, looks: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return (n, d) of looks (n, 2, 64, 64, 3)."""
        batch = looks.astype(np.float32) / np.float32(255)
        return np.asarray(self.model.predict_on_batch(batch), dtype=np.float32)

    def __reduce__(self) -> tuple[Any, ...]:
        """In another process the network is loaded once, not for every chunk of frames that comes there."""
        if self is shipped_encoder():  # which may be installed elsewhere there
            return shipped_encoder, ()
        return _loaded, self._made_of

    @cached_property
    def model(self) -> keras.Model:
        """The network, from float looks in [0, 1]."""
        model = shipped_network(tuple(self.card["widths"]), self.card["dimensions"])
        model.load_weights(self.weights)
        return model


def shipped_encoder() -> ShippedEncoder:
    """Return the encoder that comes with the package."""
    return _loaded(WEIGHTS / f"{NAME}.weights.h5", WEIGHTS / f"{NAME}.yaml")


@cache
def _loaded(weights: Path, card: Path) -> ShippedEncoder:
    return ShippedEncoder(weights, card)


def shipped_network(widths: tuple[int, ...], dimensions: int) -> keras.Model:
    """Return the network without its training: `encoders.small` at both looks, then a linear layer.

    Parameters
    ----------
    widths
        Of `encoders.small`.
    dimensions
        Of the vectors: so many main axes of what mock frames give, each scaled to variance 1 there; 0 leaves the
        layer out.
    """
    import keras

    from radiowidgets.models.encoders import small, two_looks

    encoder = two_looks(small(3, widths=widths), SIZE)
    if not dimensions:
        return encoder
    axes = keras.layers.Dense(dimensions, name="axes")
    return keras.Model(encoder.input, axes(encoder.output), name="shipped")
