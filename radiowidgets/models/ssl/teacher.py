"""Methods with a teacher: a slower copy of the networks, which gives the targets."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from keras import ops

from radiowidgets.errors import ParameterError
from radiowidgets.models.ssl.base import SelfSupervised, follow

if TYPE_CHECKING:
    import keras


class Scheduled(SelfSupervised):
    """Base of methods that change along the training: it counts the steps, in a weight that checkpoints keep."""

    def __init__(
        self, encoder: keras.Model, augmentation: keras.layers.Layer | None = None, **options: Any
    ) -> None:
        super().__init__(encoder, augmentation, **options)
        self.step = self.add_weight(shape=(), initializer="zeros", trainable=False, name="step")

    def before_step(self) -> None:
        """Count the step."""
        self.step.assign(self.step + 1)

    @property
    def progress(self) -> Any:
        """Done share of the training, 0 to 1; 0 where nobody said how long it will be."""
        return ops.minimum(self.step / self.total_steps, 1.0) if self.total_steps else ops.zeros(())

    def frozen_at_first(self, weights: Any, share: float) -> Any:
        """Return weights that no gradient reaches in the first `share` of the training."""
        weights = ops.convert_to_tensor(weights)
        return ops.where(self.progress < share, ops.stop_gradient(weights), weights)


class WithTeacher(Scheduled):
    r"""Base of methods with a teacher: it follows its student with a momentum that rises along a cosine to 1.

    Parameters
    ----------
    momentum : float
        At the start; :math:`1 - (1 - m) (\cos(\pi k / K) + 1) / 2` at step k of K (Grill et al. 2020, section 3.2).
    """

    def __init__(
        self,
        encoder: keras.Model,
        augmentation: keras.layers.Layer | None = None,
        *,
        momentum: float = 0.996,
        **options: Any,
    ) -> None:
        super().__init__(encoder, augmentation, **options)
        if not 0 <= momentum <= 1:
            raise ParameterError(f"momentum is {momentum!r}; give a number from 0 to 1.")
        self.momentum = momentum

    @property
    def pairs(self) -> list[tuple[keras.Model, keras.Model]]:
        """Teachers and the students that they follow."""
        raise NotImplementedError

    def before_step(self) -> None:
        """Move the teachers where their students have moved, and count the step."""
        rest = (1 - self.momentum) * (ops.cos(math.pi * self.progress) + 1) / 2
        if self.accumulate > 1:
            rest = ops.where(self.step % self.accumulate == 0, rest, ops.zeros_like(rest))
        for teacher, student in self.pairs:
            follow(teacher, student, 1 - rest)
        super().before_step()
