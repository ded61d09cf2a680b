"""SimCLR: Chen et al. (2020), ICML; peculiar-frames section 2.1, ssl-benchmark section 3.3."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keras import ops

from radiowidgets.models.ssl.base import SelfSupervised, make_projector, similarity

if TYPE_CHECKING:
    from collections.abc import Sequence

    import keras


class SimCLR(SelfSupervised):
    """Views of one frame attract each other, those of different frames repel.

    Parameters
    ----------
    encoder, augmentation, options
        See `SelfSupervised`.
    projector : sequence of int
        Widths of the projector's layers.
    temperature : float
        Of the loss.
    """

    def __init__(
        self,
        encoder: keras.Model,
        augmentation: keras.layers.Layer | None = None,
        *,
        projector: Sequence[int] = (256, 128),
        temperature: float = 0.2,
        **options: Any,
    ) -> None:
        super().__init__(encoder, augmentation, **options)
        self.projector = make_projector(encoder.output_shape[-1], projector, seed=self.seed)
        self.temperature = temperature

    def outputs(self, views: list[Any], training: bool) -> tuple[Any, ...]:
        """Return the projections of both views, (n, d) each."""
        return tuple(
            self.projector(self.encoder(view, training=training), training=training) for view in views
        )

    def contrast(self, outputs: Any) -> Any:
        """Return NT-Xent."""
        return nt_xent(outputs[0], outputs[1], self.temperature)


def nt_xent(first: Any, second: Any, temperature: float = 0.2) -> Any:
    """Return the normalised temperature-scaled cross entropy of two views: peculiar-frames equations 1 to 3.

    The indicator of equation 2 is 1 for k != i (it is misprinted there).

    Parameters
    ----------
    first, second : (n, d)
        Projections of two views of the same n frames.

    Returns
    -------
    scalar, float32
        The mean over both views of all frames.
    """
    both = ops.concatenate([first, second], 0)
    count = ops.shape(both)[0]
    half = count // 2
    logits = similarity(both, both) / temperature
    logits = logits - 1e9 * ops.eye(count, dtype="float32")
    partner = ops.concatenate([ops.arange(half) + half, ops.arange(half)], 0)
    positive = ops.take_along_axis(logits, partner[:, None], axis=1)[:, 0]
    return ops.mean(ops.logsumexp(logits, axis=1) - positive)
