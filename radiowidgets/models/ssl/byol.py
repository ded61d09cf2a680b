"""BYOL: Grill et al. (2020), NeurIPS 33, 21271; ssl-benchmark section 3.3, whose formula leaves out the norms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keras import ops

from radiowidgets.models.ssl.base import make_projector, make_teacher, unit
from radiowidgets.models.ssl.teacher import WithTeacher

if TYPE_CHECKING:
    from collections.abc import Sequence

    import keras


class BYOL(WithTeacher):
    """A student predicts, from one view, what its teacher makes of the other.

    Parameters
    ----------
    encoder, augmentation, momentum, options
        See `WithTeacher` and `SelfSupervised`.
    projector : sequence of int
        Widths of the projector's layers.
    predictor : int
        Width of the predictor's hidden layer.
    """

    def __init__(
        self,
        encoder: keras.Model,
        augmentation: keras.layers.Layer | None = None,
        *,
        projector: Sequence[int] = (1024, 256),
        predictor: int = 1024,
        **options: Any,
    ) -> None:
        super().__init__(encoder, augmentation, **options)
        width = projector[-1]
        self.projector = make_projector(encoder.output_shape[-1], projector, seed=self.seed)
        self.predictor = make_projector(width, (predictor, width), seed=self.seed + 1, name="predictor")
        self.teacher, self.teacher_projector = make_teacher(encoder), make_teacher(self.projector)

    @property
    def pairs(self) -> list[tuple[keras.Model, keras.Model]]:
        """Teachers and the students that they follow."""
        return [(self.teacher, self.encoder), (self.teacher_projector, self.projector)]

    def outputs(self, views: list[Any], training: bool) -> tuple[Any, ...]:
        """Return the predictions of both views and the teacher's projections of both, (n, d) each."""
        guesses = [
            self.predictor(self.projector(self.encoder(view, training=training), training=training), training=training)
            for view in views
        ]  # fmt: skip
        targets = [
            ops.stop_gradient(
                self.teacher_projector(self.teacher(view, training=training), training=training)
            )
            for view in views
        ]
        return (*guesses, *targets)

    def contrast(self, outputs: Any) -> Any:
        """Return the loss of both directions."""
        first, second, target_first, target_second = outputs
        return normalised_mse(first, target_second) + normalised_mse(second, target_first)


def normalised_mse(guess: Any, target: Any) -> Any:
    """Return the mean squared distance of rows scaled to length 1, 2 - 2 cos: equation 2 of Grill et al. (2020).

    Parameters
    ----------
    guess, target : (n, d)

    Returns
    -------
    scalar, float32
        0 to 4.
    """
    return ops.mean(ops.sum(ops.square(unit(guess) - unit(target)), -1))
