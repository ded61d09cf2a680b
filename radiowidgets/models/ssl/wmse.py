"""W-MSE: Ermolov et al. (2021), ICML, 3015; ssl-benchmark section 3.3."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
from keras import ops

from radiowidgets.errors import ParameterError
from radiowidgets.models.ssl.base import SelfSupervised, make_projector
from radiowidgets.models.ssl.byol import normalised_mse

if TYPE_CHECKING:
    from collections.abc import Sequence

FLAT_SHRINKAGE = 1e-3
SINGLE = 1e-6  # the least share in single precision, which JAX has unless it is told otherwise


class WMSE(SelfSupervised):
    """Views of one frame attract each other, after each batch has been made round: it cannot fall to a point.

    A part of it can, where the other frames are told apart one by one; where views are alike, as two takes of a mock
    object are, train at a small rate, and look at the embedding.

    Parameters
    ----------
    encoder, augmentation, options
        See `SelfSupervised`.
    projector : sequence of int
        Widths of the projector's layers.
    whitening : int
        Frames that are whitened together, drawn anew in each batch; more than the projector's width. The whole
        batch where it is smaller.
    shrinkage : float
        Share of a round covariance of the same trace, see `whiten`. The paper takes 0; the larger it is, the sooner
        projections fall flat (at 1e-4 at once).
    """

    def __init__(
        self,
        encoder: keras.Model,
        augmentation: keras.layers.Layer | None = None,
        *,
        projector: Sequence[int] = (1024, 64),
        whitening: int = 128,
        shrinkage: float = 1e-10,
        **options: Any,
    ) -> None:
        super().__init__(encoder, augmentation, **options)
        if whitening < 2:
            raise ParameterError(f"whitening is {whitening!r} frames; give at least 2.")
        self.projector = make_projector(encoder.output_shape[-1], projector, seed=self.seed)
        self.whitening, self.shrinkage = whitening, shrinkage
        self.lots = keras.random.SeedGenerator(1000 * self.seed + 800)

    def outputs(self, views: list[Any], training: bool) -> tuple[Any, ...]:
        """Return the whitened projections of both views, (slices, n, d) each."""
        rows = [self.projector(self.encoder(view, training=training), training=training) for view in views]
        count = ops.shape(rows[0])[0]
        most = (
            max if isinstance(count, int) else ops.maximum
        )  # TensorFlow's graphs know it only when they run
        slices = most(count // self.whitening, 1)
        order = ops.argsort(keras.random.uniform((count,), seed=self.lots))[: count - count % slices]
        return tuple(
            whiten(ops.reshape(ops.take(row, order, axis=0), (slices, -1, row.shape[-1])), self.shrinkage)
            for row in rows
        )

    def contrast(self, outputs: Any) -> Any:
        """Return the distance of the whitened views."""
        return normalised_mse(*outputs)


def whiten(rows: Any, shrinkage: float = 0.0) -> Any:
    """Return rows of zero mean and unit covariance: Ermolov et al. (2021), equation 4, by Cholesky.

    With the covariance S = L L^T, a row z becomes L^-1 (z - mean).

    Parameters
    ----------
    rows : (..., n, d)
        Each set of n rows is whitened by itself.
    shrinkage
        S is (1 - shrinkage) S + shrinkage trace(S) / d 1. A share of the plain unit matrix would let rows escape by
        becoming small. At least 1e-3 where n <= d, for S is singular there, and 1e-6 with JAX, which has no double
        precision unless it is told.
    """
    precision = "float64"  # a covariance that is nearly flat has no factor in single precision
    if keras.backend.backend() == "jax":
        precision, shrinkage = "float32", max(shrinkage, SINGLE)
    rows = ops.cast(rows, precision)
    rows = rows - ops.mean(rows, -2, keepdims=True)
    flipped = ops.swapaxes(rows, -1, -2)
    covariance = ops.matmul(flipped, rows) / ops.cast(ops.shape(rows)[-2] - 1, precision)
    full = ops.shape(rows)[-2] > ops.shape(rows)[-1]
    shrinkage = ops.cast(ops.where(full, shrinkage, max(shrinkage, FLAT_SHRINKAGE)), precision)
    size = ops.mean(ops.diagonal(covariance, axis1=-2, axis2=-1), -1)[..., None, None]
    covariance = (1 - shrinkage) * covariance + shrinkage * size * ops.eye(rows.shape[-1], dtype=precision)
    white = ops.solve_triangular(ops.cholesky(covariance), flipped, lower=True)
    return ops.cast(ops.swapaxes(white, -1, -2), "float32")
