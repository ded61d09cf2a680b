"""The base of all self-supervised methods: views, encoder, projector; Keras's own `fit`; checkpoints, exact resume.

How a method is made
--------------------
A method subclasses `SelfSupervised` and gives `outputs` (what its networks make of the views, while training) and
`contrast` (the loss of that). `fit` and all backends then work as for any Keras model::

    class SimCLR(SelfSupervised):
        def __init__(self, encoder, augmentation=None, *, temperature=0.2, **options):
            super().__init__(encoder, augmentation, **options)
            self.projector = make_projector(encoder.output_shape[-1], (256, 128), seed=self.seed)

        def outputs(self, views, training):
            return tuple(self.projector(self.encoder(view, training=training), training=training) for view in views)

        def contrast(self, outputs):
            return nt_xent(*outputs, temperature=...)

Teachers and queues are kept by non-trainable variables that move at the start of a training step, in `before_step`:
`make_teacher` copies a network, `follow` moves it towards its student. That is the step after the last update, so the
same as after it, and it runs on every backend, where a callback would not see JAX's weights.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
from keras import layers, ops

from radiowidgets.errors import ParameterError, check_one_of
from radiowidgets.models.augment import pipeline
from radiowidgets.models.encoders import make_encoder
from radiowidgets.models.optimizers import LARS_BATCH, make_optimizer, warmup_cosine
from radiowidgets.models.training import Batches, Training

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Recipe:
    """Everything that a training needs beside its frames.

    Parameters
    ----------
    method
        'simclr', 'byol', 'dino', 'wmse', 'swav' or 'all4one'.
    encoder
        One of `encoders.ENCODERS`.
    channels
        Of the frames.
    augmentation, thresholding
        See `augment.pipeline`.
    batch_size, epochs, warmup_epochs
        `warmup_epochs` of the `epochs` rise linearly, the rest falls along a cosine.
    optimizer, rate, decay
        See `optimizers.make_optimizer`; the rate of LARS is scaled by batch size / 256.
    accumulate
        Batches to one update, of teachers too. Negatives, neighbours and what is whitened come from one batch alone.
    options
        Of the method.
    dtype
        Of the computation: 'float32', or 'mixed_bfloat16' or 'mixed_float16' on a GPU; losses are in float32.
    """

    method: str = "simclr"
    encoder: str = "resnet18"
    channels: int = 3
    augmentation: str = "peculiar-frames"
    thresholding: bool = True
    batch_size: int = 128
    epochs: int = 100
    warmup_epochs: int = 10
    optimizer: str = "adam"
    rate: float = 1e-3
    decay: float = 0.0
    accumulate: int = 1
    options: dict[str, Any] = field(default_factory=dict)
    dtype: str = "float32"

    def but(self, **changes: Any) -> Recipe:
        """Return a recipe with some entries changed."""
        return replace(self, **changes)


def _benchmark(method: str, rate: float, **options: Any) -> Recipe:
    """Return a recipe of ssl-benchmark section 4.1 for its curated set: ResNet-18, LARS, batch 512, 600 epochs."""
    return Recipe(
        method, channels=1, augmentation="ssl-benchmark", batch_size=512, epochs=600, optimizer="lars",
        rate=rate, decay=1e-4, options=options,
    )  # fmt: skip


#: peculiar-frames Table 3 asks for Adam with a rate of 0.1, which diverges, and names no temperature: 1e-3 and 0.1 are
#: ours. ssl-benchmark names neither warm-up nor decay: 10 epochs and 1e-4 are those of solo-learn. The hidden layers
#: that it does not name are solo-learn's 2048.
RECIPES: dict[str, Recipe] = {
    "peculiar-frames-hulk": Recipe(options={"projector": (256, 128), "temperature": 0.1}),
    "peculiar-frames-banner": Recipe(
        thresholding=False, epochs=500, options={"projector": (256, 128), "temperature": 0.1}
    ),
    "ssl-benchmark-simclr": _benchmark("simclr", 1.2, projector=(2048, 512), temperature=0.2),
    "ssl-benchmark-byol": _benchmark("byol", 1.2, projector=(2048, 512), predictor=1024),
    "ssl-benchmark-dino": _benchmark("dino", 0.016, projector=(2048, 256)),
    "ssl-benchmark-wmse": _benchmark("wmse", 0.002, projector=(2048, 128), whitening=256),
    "ssl-benchmark-swav": _benchmark("swav", 1.2, projector=(2048, 128), prototypes=300, temperature=0.1),
    "ssl-benchmark-all4one": _benchmark(
        "all4one", 1.0, projector=(2048, 512), predictor=4096, temperature=0.2
    ),
}

#: Recipes to give `train_in_steps`. peculiar-frames section 2.4: hulk frames (windows that slide over the whole map),
#: then banner frames (centred on sources, 1.5 times as large as they; no thresholding, for their background is small).
STEPS: dict[str, tuple[Recipe, ...]] = {
    "smart-hulk": (RECIPES["peculiar-frames-hulk"], RECIPES["peculiar-frames-banner"]),
}


class SelfSupervised(keras.Model):
    """Base of the methods.

    Parameters
    ----------
    encoder : keras.Model
        From frames (n, h, w, channels) to (n, d).
    augmentation : keras.layers.Layer, optional
        Makes each view; called once for each of them with ``training=True``.
    views : int
        Views of each frame.
    seed : int
        Of heads that the method adds.

    Notes
    -----
    `fit` takes frames (n, h, w, channels); or (n, k, h, w, channels), k takes of the same field (other noise, another
    epoch, another beam), of which each view gets one in turn. Called without ``training=True`` the model is its
    encoder.
    """

    def __init__(
        self,
        encoder: keras.Model,
        augmentation: keras.layers.Layer | None = None,
        *,
        views: int = 2,
        seed: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.encoder = encoder
        self.augmentation = pipeline("none") if augmentation is None else augmentation
        self.n_views, self.seed = views, seed
        self.total_steps = 0  # of the training, where it is known: momenta and temperatures follow it
        self.accumulate = 1  # steps to one update of the weights
        self.built = True  # networks have all their weights from the start

    def outputs(self, views: list[Any], training: bool) -> Any:
        """Return what the networks make of the views, arrays of (n, ...) in a tuple or dict."""
        raise NotImplementedError

    def contrast(self, outputs: Any) -> Any:
        """Return the loss of `outputs`, one number, in float32."""
        raise NotImplementedError

    def before_step(self) -> None:
        """Move what follows the trained weights, before each training step."""

    def views(self, frames: Any) -> list[Any]:
        """Return augmented views of the frames."""
        if len(frames.shape) == 5:
            takes = [frames[:, k % frames.shape[1]] for k in range(self.n_views)]
        else:
            takes = [frames] * self.n_views
        return [self.augmentation(take, training=True) for take in takes]

    def call(self, frames: Any, training: bool = False) -> Any:
        """Return the outputs of augmented views while training, else the embedding."""
        if not training:
            return self.encoder(frames[:, 0] if len(frames.shape) == 5 else frames, training=False)
        self.before_step()
        return self.outputs(self.views(frames), True)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Return the loss of a step; `fit` calls it."""
        del x, y, sample_weight
        return self.contrast(y_pred) if training else ops.zeros(())


def make_projector(
    inputs: int,
    widths: Sequence[int],
    *,
    seed: int = 0,
    last_normal: bool = False,
    dtype: Any = None,
    name: str = "projector",
) -> keras.Sequential:
    """Return dense layers of these widths, normalisation and ReLU between them; the last one is linear, in float32.

    Parameters
    ----------
    inputs
        Width of what comes in. All weights exist from the start: JAX trains only those it has seen before.
    last_normal
        Whether batch normalisation ends it, as All4One wants.
    """
    steps: list[Any] = []
    for place, width in enumerate(widths):
        last = place == len(widths) - 1
        start = keras.initializers.GlorotUniform(seed=1000 * seed + 500 + place)
        kind = "float32" if last else dtype
        bias = last and not last_normal
        steps.append(layers.Dense(width, use_bias=bias, kernel_initializer=start, dtype=kind))
        if not last:
            steps += [layers.BatchNormalization(momentum=0.9, dtype=dtype), layers.ReLU(dtype=dtype)]
        elif last_normal:
            steps.append(layers.BatchNormalization(momentum=0.9, dtype="float32"))
    return keras.Sequential([keras.Input((inputs,)), *steps], name=name)


def make_teacher(student: keras.Model) -> keras.Model:
    """Return a copy of a network that no gradient reaches; its normalisation still sees its own batches."""
    teacher = keras.models.clone_model(student)
    teacher.set_weights(student.get_weights())
    # Not ``teacher.trainable = False``, which would freeze the normalisation too.
    for variable in teacher.trainable_variables:
        variable.trainable = False
    return teacher


def follow(teacher: keras.Model, student: keras.Model, momentum: Any) -> None:
    """Move a teacher towards its student: t = momentum t + (1 - momentum) s, for all that is trained."""
    for old, new in zip(teacher.weights, student.weights, strict=True):
        if new.trainable:
            old.assign(momentum * old + (1 - momentum) * new)


def similarity(first: Any, second: Any) -> Any:
    """Return the cosines between all rows of two arrays: peculiar-frames equation 3."""
    return ops.matmul(unit(first), ops.transpose(unit(second)))


def unit(rows: Any) -> Any:
    """Return rows scaled to length 1, in float32."""
    rows = ops.cast(rows, "float32")
    return rows / ops.sqrt(ops.maximum(ops.sum(ops.square(rows), -1, keepdims=True), 1e-12))


# ------------------------------------------------------------------------------------
# training


def train(
    model: SelfSupervised,
    frames: Any,
    recipe: Recipe,
    folder: str | os.PathLike[str] | None = None,
    *,
    labels: Any = None,
    seed: int = 0,
    stop_after: int | None = None,
    verbose: int = 0,
) -> list[float]:
    """Train a model by a recipe, from where the folder says it was left.

    A training that was stopped and goes on gives the losses of one that was not, to the last bit on one machine.

    Parameters
    ----------
    model
        Fresh from its constructor, the same as at the start.
    frames
        See `Batches`.
    folder
        Where checkpoints are kept; None keeps none.
    labels
        For methods that take them.
    seed
        Of the order of frames.
    stop_after
        Stop when so many epochs are done in all; the schedule is that of the whole recipe.

    Returns
    -------
    list of float
        The mean loss of each epoch from the first.

    Raises
    ------
    ParameterError
        If the frames have another number of channels than the recipe, or the loss of an epoch is not finite.
    RunError
        If the folder holds a training by another recipe or seed, or one that is damaged.
    """
    channels = getattr(frames, "shape", (recipe.channels,))[-1]
    if channels != recipe.channels:
        raise ParameterError(
            f"the frames have {channels} channels, the recipe {recipe.channels}; give it channels={channels}."
        )
    about = {"recipe": asdict(recipe), "seed": seed, "frames": len(frames)}
    training = Training(about, folder)
    data = Batches(frames, recipe.batch_size, seed, labels, first_epoch=training.epochs)
    rate = recipe.rate * (
        recipe.batch_size * recipe.accumulate / LARS_BATCH if recipe.optimizer == "lars" else 1
    )
    schedule = warmup_cosine(rate, len(data) * recipe.epochs, len(data) * recipe.warmup_epochs)
    optimizer = make_optimizer(recipe.optimizer, schedule, decay=recipe.decay, accumulate=recipe.accumulate)
    if (
        recipe.dtype == "mixed_float16"
    ):  # small gradients would vanish; Keras sees the outer model's dtype alone
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    model.total_steps, model.accumulate = len(data) * recipe.epochs, recipe.accumulate
    model.compile(optimizer=optimizer)
    training.go_on(model)
    last = recipe.epochs if stop_after is None else min(stop_after, recipe.epochs)
    begun = {"initial_epoch": training.epochs, "callbacks": training.callbacks}
    model.fit(data, epochs=last, **begun, shuffle=False, verbose=verbose)
    return list(training.history.get("loss", []))


def train_in_steps(
    frames: Sequence[Any],
    recipes: Sequence[Recipe],
    folder: str | os.PathLike[str] | None = None,
    *,
    seed: int = 0,
    verbose: int = 0,
) -> tuple[SelfSupervised, list[list[float]]]:
    """Train on one set of frames after another, each step from the weights that the one before ended with.

    peculiar-frames section 2.4 trains its smart_hulk encoder so: first on blind frames of the whole map, then on
    frames centred on sources. Rate, epochs and the other schedules start anew at each step.

    Parameters
    ----------
    frames, recipes
        As many of each. Recipes of one method and encoder; see `STEPS`.
    folder
        Where checkpoints are kept, a folder ``step-1``, ``step-2`` for each step; what was stopped goes on.
    seed, verbose
        See `train`.

    Returns
    -------
    model : SelfSupervised
        With the weights of the last step.
    losses : list of lists of float
        Of each step, see `train`.

    Raises
    ------
    ParameterError
        If there are not as many sets as recipes, or a step trains another network than the one before.
    """
    if not recipes or len(frames) != len(recipes):
        raise ParameterError(f"{len(frames)} sets of frames for {len(recipes)} recipes; give one set a step.")
    networks = [(plan.method, plan.encoder, plan.channels, plan.options) for plan in recipes]
    if any(network != networks[0] for network in networks):
        raise ParameterError(
            "the steps train different networks; give recipes of one method, encoder, number of channels and options."
        )
    model, losses = make_method(recipes[0], seed=seed), []
    for number, (own, plan) in enumerate(zip(frames, recipes, strict=True), 1):
        if number > 1:
            model = _taken_over(plan, model, seed)
        place = None if folder is None else Path(folder) / f"step-{number}"
        losses.append(train(model, own, plan, place, seed=seed, verbose=verbose))
    return model, losses


def _taken_over(recipe: Recipe, before: SelfSupervised, seed: int) -> SelfSupervised:
    """Return a new model with all weights of another but its count of steps."""
    model = make_method(recipe, seed=seed)
    for new, old in zip(model.weights, before.weights, strict=True):
        if old.name != "step":
            new.assign(old)
    return model


def make_method(recipe: Recipe, *, seed: int = 0) -> SelfSupervised:
    """Return the model that a recipe names, with fresh weights."""
    import importlib

    check_one_of("method", recipe.method, METHODS)
    module, name = METHODS[recipe.method]
    kind = getattr(importlib.import_module(f"radiowidgets.models.ssl.{module}"), name)
    encoder = make_encoder(recipe.encoder, recipe.channels, seed=seed, dtype=recipe.dtype)
    augmentation = pipeline(recipe.augmentation, seed, thresholding=recipe.thresholding)
    return kind(encoder, augmentation, seed=seed, **recipe.options)


#: Module and class of each method; a module is imported when first asked for.
METHODS: dict[str, tuple[str, str]] = {
    "simclr": ("simclr", "SimCLR"),
    "byol": ("byol", "BYOL"),
    "dino": ("dino", "DINO"),
    "wmse": ("wmse", "WMSE"),
    "swav": ("swav", "SwAV"),
    "all4one": ("all4one", "All4One"),
}
