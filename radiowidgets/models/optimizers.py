"""What Keras lacks for self-supervised training: LARS; and the papers' schedule, from Keras's own parts."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from radiowidgets.errors import ParameterError, check_one_of

LARS_BATCH = 256  # frames; learning rates of LARS are given for a batch of this size


class LARS(keras.optimizers.Optimizer):
    r"""Layer-wise adaptive rate scaling: You, Gitman & Ginsburg (2017), arXiv 1708.03888, Algorithm 1.

    Each kernel :math:`w` with gradient :math:`g` moves by its own rate,
    :math:`v \leftarrow \mu v + \eta\, \phi\, (g + \beta w)`, :math:`w \leftarrow w - v`, with
    :math:`\phi = \mathrm{trust}\, |w| / (|g| + \beta |w|)`. Biases and normalisation (what has one axis) take
    :math:`\phi = 1` and no decay, as in SimCLR (Chen et al. 2020, Appendix B) and in solo-learn.

    Parameters
    ----------
    learning_rate : float or schedule
        :math:`\eta`.
    momentum : float
        :math:`\mu`.
    decay : float
        :math:`\beta`, the weight decay inside the trust ratio.
    trust : float
        Trust coefficient.
    **options
        Of every Keras optimizer, `gradient_accumulation_steps` among them.
    """

    def __init__(
        self,
        learning_rate: Any = 0.3,
        momentum: float = 0.9,
        decay: float = 1e-6,
        trust: float = 1e-3,
        name: str = "lars",
        **options: Any,
    ) -> None:
        super().__init__(learning_rate=learning_rate, name=name, **options)
        self.momentum, self.decay, self.trust = momentum, decay, trust

    def build(self, variables: list[Any]) -> None:
        """Make one velocity for each variable."""
        if self.built:
            return
        super().build(variables)
        # Biases of attention have two axes.
        self.scaled = [len(variable.shape) > 1 and variable.name != "bias" for variable in variables]
        self.velocities = self.add_optimizer_variables(variables, "velocity")

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Move one variable."""
        rate = ops.cast(learning_rate, variable.dtype)
        gradient = ops.cast(gradient, variable.dtype)
        velocity = self.velocities[self._get_variable_index(variable)]
        if self.scaled[self._get_variable_index(variable)]:
            length = ops.norm(ops.reshape(variable, (-1,)))
            slope = ops.norm(ops.reshape(gradient, (-1,)))
            below = slope + self.decay * length
            ratio = self.trust * length / ops.where(below > 0, below, ops.ones_like(below))
            gradient = (gradient + self.decay * variable) * ops.where(
                (length > 0) & (slope > 0), ratio, ops.ones_like(ratio)
            )
        self.assign(velocity, self.momentum * velocity + rate * gradient)
        self.assign_sub(variable, velocity)

    def get_config(self) -> dict[str, Any]:
        """Return what makes the same optimizer again."""
        return super().get_config() | {
            "momentum": self.momentum,
            "decay": self.decay,
            "trust": self.trust,
        }


def warmup_cosine(
    peak: float, steps: int, warmup: int = 0, floor: float = 0.0
) -> keras.optimizers.schedules.LearningRateSchedule:
    """Return a rate that rises linearly from 0 to `peak` in `warmup` steps and falls along a cosine to `floor`.

    Parameters
    ----------
    peak, floor
        Learning rates.
    steps, warmup
        All optimizer steps of the training, and the first of them that warm up.
    """
    if not 0 <= warmup < steps:
        raise ParameterError(f"warmup is {warmup!r} of {steps!r} steps; give fewer steps than there are.")
    if not warmup:
        return keras.optimizers.schedules.CosineDecay(peak, steps, alpha=floor / peak)
    return keras.optimizers.schedules.CosineDecay(
        0.0, steps - warmup, alpha=floor / peak, warmup_target=peak, warmup_steps=warmup
    )


def make_optimizer(name: str, rate: Any, *, decay: float = 0.0, accumulate: int = 1) -> Any:
    """Return 'lars', 'adam', 'adamw' or 'sgd' (momentum 0.9) with a rate or schedule.

    Parameters
    ----------
    decay
        Weight decay; of 'adam' and 'sgd' decoupled too, as Keras does.
    accumulate
        Steps whose gradients are averaged before the weights move: a batch of 512 in the memory of 128. Keras
        counts every step in its schedule; give `warmup_cosine` the steps of batches, not of updates.
    """
    check_one_of("optimizer", name, ("lars", "adam", "adamw", "sgd"))
    options: dict[str, Any] = {"gradient_accumulation_steps": accumulate} if accumulate > 1 else {}
    if name == "lars":
        return LARS(rate, decay=decay, **options)
    if name == "sgd":
        return keras.optimizers.SGD(rate, 0.9, weight_decay=decay or None, **options)
    kind = keras.optimizers.AdamW if name == "adamw" else keras.optimizers.Adam
    if name == "adamw" or decay:
        options["weight_decay"] = decay
    return kind(rate, **options)
