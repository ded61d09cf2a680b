"""Contrast of takes taught by the truth of mock skies: the method behind the shipped encoder.

Two takes of one mock object (other place, noise, neighbours) attract each other as in SimCLR; and since the mocks are
ours, a linear layer learns to name the object and another to measure it. The first makes the embedding blind to the
background, the others tell it which differences matter. Cf. supervised contrastive learning (Khosla et al. 2020,
NeurIPS 33).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
from keras import layers, ops

from radiowidgets.models.ssl.base import SelfSupervised, make_projector
from radiowidgets.models.ssl.simclr import nt_xent

if TYPE_CHECKING:
    from collections.abc import Sequence


class Taught(SelfSupervised):
    """NT-Xent of two takes, cross entropy of what each shows, and squared errors of its traits.

    Parameters
    ----------
    encoder, augmentation, options
        See `SelfSupervised`; the encoder takes both looks at a frame, (n, 2, h, w, channels).
    kinds : int
        Number of labels; `fit` gets them as integers, or as the first of 1 + `traits` columns.
    traits : int
        Numbers about the object that another linear layer learns; NaN where there is none.
    contrast_weight, teaching_weight, traits_weight : float
        Of the losses; 0 leaves one out.
    projector, temperature
        See `SimCLR`.
    smoothing : float
        Share of each label that is spread over all: some kinds look alike.
    """

    def __init__(
        self,
        encoder: keras.Model,
        augmentation: keras.layers.Layer | None = None,
        *,
        kinds: int,
        traits: int = 0,
        contrast_weight: float = 1.0,
        teaching_weight: float = 1.0,
        traits_weight: float = 1.0,
        projector: Sequence[int] = (256, 128),
        temperature: float = 0.2,
        smoothing: float = 0.1,
        **options: Any,
    ) -> None:
        super().__init__(encoder, augmentation, **options)
        width = encoder.output_shape[-1]
        self.kinds, self.smoothing, self.temperature = kinds, smoothing, temperature
        self.contrast_weight, self.teaching_weight = contrast_weight, teaching_weight
        self.traits, self.traits_weight = traits, traits_weight
        self.projector = make_projector(width, projector, seed=self.seed)
        # One layer names and measures.
        start = keras.initializers.GlorotUniform(self.seed + 7)
        self.head = layers.Dense(kinds + traits, kernel_initializer=start)
        self.head.build((None, width))

    def views(self, frames: Any) -> list[Any]:
        """Return both takes of (n, 2, looks, h, w, channels), each look augmented by itself."""
        looks, height, width, channels = frames.shape[2:]
        taken = []
        for take in range(self.n_views):
            flat = ops.reshape(frames[:, take], (-1, height, width, channels))
            taken.append(
                ops.reshape(self.augmentation(flat, training=True), (-1, looks, height, width, channels))
            )
        return taken

    def outputs(self, views: list[Any], training: bool) -> dict[str, Any]:
        """Return projections, logits and traits of both takes, one after the other."""
        embedded = self.encoder(ops.concatenate(views, 0), training=training)
        found = self.head(embedded)
        return {
            "projected": self.projector(embedded, training=training),
            "logits": found[:, : self.kinds],
            "traits": found[:, self.kinds :],
        }

    def call(self, frames: Any, training: bool = False) -> Any:
        """Return outputs while training, else the embedding of (n, looks, h, w, channels)."""
        if not training:
            return self.encoder(frames, training=False)
        return self.outputs(self.views(frames), True)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Return the weighted sum of the losses."""
        del x, sample_weight, training
        loss = ops.zeros(())
        if self.contrast_weight:
            half = ops.shape(y_pred["projected"])[0] // 2
            projected = y_pred["projected"]
            loss = loss + self.contrast_weight * nt_xent(projected[:half], projected[half:], self.temperature)
        truth = ops.concatenate([y, y], 0)
        kind = truth[:, 0] if self.traits else truth
        if self.teaching_weight:
            target = ops.one_hot(ops.cast(kind, "int32"), self.kinds)
            target = target * (1 - self.smoothing) + self.smoothing / self.kinds
            taught = keras.losses.categorical_crossentropy(target, y_pred["logits"], from_logits=True)
            loss = loss + self.teaching_weight * ops.mean(taught)
        if self.traits and self.traits_weight:
            wanted = truth[:, 1:]
            known = ops.logical_not(ops.isnan(wanted))
            off = ops.where(known, y_pred["traits"] - ops.where(known, wanted, 0.0), 0.0)
            loss = loss + self.traits_weight * ops.mean(ops.square(off))
        return loss
