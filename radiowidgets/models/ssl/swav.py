"""SwAV: Caron et al. (2020), NeurIPS 33, 9912; ssl-benchmark section 3.3."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
from keras import ops

from radiowidgets.models.ssl.base import make_projector, unit
from radiowidgets.models.ssl.teacher import Scheduled

if TYPE_CHECKING:
    from collections.abc import Sequence


class SwAV(Scheduled):
    """Each view predicts the prototypes to which the other was assigned; assignments share all prototypes evenly.

    Parameters
    ----------
    encoder, augmentation, options
        See `SelfSupervised`.
    projector : sequence of int
        Widths of the projector's layers.
    prototypes : int
        Of length 1 when they are compared; still for the first percent of the training. No queue is kept: batches
        should not be much smaller than this.
    temperature : float
        Of the prediction.
    epsilon, iterations
        Of the assignment, see `sinkhorn`.
    """

    def __init__(
        self,
        encoder: keras.Model,
        augmentation: keras.layers.Layer | None = None,
        *,
        projector: Sequence[int] = (1024, 128),
        prototypes: int = 300,
        temperature: float = 0.1,
        epsilon: float = 0.05,
        iterations: int = 3,
        **options: Any,
    ) -> None:
        super().__init__(encoder, augmentation, **options)
        self.projector = make_projector(encoder.output_shape[-1], projector, seed=self.seed)
        start = keras.initializers.GlorotUniform(seed=1000 * self.seed + 600)
        self.prototypes = self.add_weight(
            shape=(prototypes, projector[-1]), initializer=start, name="prototypes"
        )
        self.temperature, self.epsilon, self.iterations = temperature, epsilon, iterations

    def outputs(self, views: list[Any], training: bool) -> tuple[Any, ...]:
        """Return the cosines of each view to the prototypes, (n, prototypes) each."""
        targets = ops.transpose(unit(self.frozen_at_first(self.prototypes, 0.01)))
        return tuple(
            ops.matmul(unit(self.projector(self.encoder(view, training=training), training=training)), targets)
            for view in views
        )  # fmt: skip

    def contrast(self, outputs: Any) -> Any:
        """Return the swapped prediction loss."""
        return swapped_prediction(outputs[0], outputs[1], self.temperature, self.epsilon, self.iterations)


def sinkhorn(scores: Any, epsilon: float = 0.05, iterations: int = 3) -> Any:
    """Return soft assignments that use all prototypes evenly: Caron et al. (2020), section 3.1 and Appendix A.

    Rows and columns of exp(scores / epsilon) are scaled in turn (Sinkhorn-Knopp).

    Parameters
    ----------
    scores : (n, k)

    Returns
    -------
    (n, k), float32
        Each row sums to 1.
    """
    scores = ops.cast(scores, "float32") / epsilon
    share = ops.exp(scores - ops.max(scores))
    frames, prototypes = ops.shape(share)[0], ops.shape(share)[1]
    for _ in range(iterations):
        share = share / ops.maximum(ops.sum(share, 0, keepdims=True), 1e-30) / ops.cast(prototypes, "float32")
        share = share / ops.maximum(ops.sum(share, 1, keepdims=True), 1e-30) / ops.cast(frames, "float32")
    return share * ops.cast(frames, "float32")


def swapped_prediction(
    first: Any, second: Any, temperature: float = 0.1, epsilon: float = 0.05, iterations: int = 3
) -> Any:
    """Return the swapped prediction loss of two views: Caron et al. (2020), equations 1 and 2.

    Parameters
    ----------
    first, second : (n, k)
        Cosines to the prototypes.

    Returns
    -------
    scalar, float32
        The mean over frames of the sum of both directions. No gradient passes through the assignments.
    """
    loss = 0.0
    for scores, other in ((first, second), (second, first)):
        assigned = ops.stop_gradient(sinkhorn(other, epsilon, iterations))
        loss = loss - ops.mean(ops.sum(assigned * ops.log_softmax(scores / temperature, axis=-1), -1))
    return loss
