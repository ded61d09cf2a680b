"""DINO: Caron et al. (2021), ICCV, 9650; ssl-benchmark section 3.3, whose formula leaves out the centre."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
from keras import ops

from radiowidgets.models.augment import RandomCropResize
from radiowidgets.models.encoders import LEAST_SIZE
from radiowidgets.models.ssl.base import make_projector, make_teacher, unit
from radiowidgets.models.ssl.teacher import WithTeacher

if TYPE_CHECKING:
    from collections.abc import Sequence

WHOLE = 2  # views of the whole field, which the teacher sees too


class DINO(WithTeacher):
    """A student finds, among many prototypes, the ones that its teacher chooses for another view.

    Parameters
    ----------
    encoder, augmentation, momentum, options
        See `WithTeacher` and `SelfSupervised`.
    projector : sequence of int
        Widths of the projector's layers; batch normalisation between them, as solo-learn has for convolutions.
    prototypes : int
        Of the last layer; its kernel is kept at length 1, and still for the first percent of the training.
    temperature : float
        Of the student.
    teacher_temperature : (float, float)
        At the start, and from a tenth of the training on; linear between.
    centring : float
        Momentum of the centre that is taken from the teacher's logits.
    crops : int
        More views for the student: crops of 0.3 to 0.65 of the side, at half the size ('multi-crop').
    """

    def __init__(
        self,
        encoder: keras.Model,
        augmentation: keras.layers.Layer | None = None,
        *,
        projector: Sequence[int] = (1024, 256),
        prototypes: int = 1024,
        temperature: float = 0.1,
        teacher_temperature: tuple[float, float] = (0.04, 0.07),
        centring: float = 0.9,
        crops: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(encoder, augmentation, views=WHOLE, **options)
        self.projector = make_projector(encoder.output_shape[-1], projector, seed=self.seed)
        start = keras.initializers.GlorotUniform(seed=1000 * self.seed + 600)
        self.head = keras.Sequential(
            [keras.Input((projector[-1],)), _Prototypes(prototypes, start, dtype="float32")], name="head"
        )
        self.teacher, self.teacher_projector = make_teacher(encoder), make_teacher(self.projector)
        self.teacher_head = make_teacher(self.head)
        self.centre = self.add_weight(
            shape=(prototypes,), initializer="zeros", trainable=False, name="centre"
        )
        self.temperature, self.teacher_temperature = temperature, tuple(teacher_temperature)
        self.centring, self.crops = centring, crops
        self.closer = RandomCropResize(0.3, 0.65, seed=1000 * self.seed + 700)

    @property
    def pairs(self) -> list[tuple[keras.Model, keras.Model]]:
        """Teachers and the students that they follow."""
        return [
            (self.teacher, self.encoder),
            (self.teacher_projector, self.projector),
            (self.teacher_head, self.head),
        ]

    def views(self, frames: Any) -> list[Any]:
        """Return two views of the whole field, and the crops."""
        views = super().views(frames)
        size = tuple(max(side // 2, LEAST_SIZE) for side in views[0].shape[1:3])
        for k in range(self.crops):
            take = frames[:, k % frames.shape[1]] if len(frames.shape) == 5 else frames
            crop = self.closer(self.augmentation(take, training=True), training=True)
            views.append(ops.image.resize(crop, size, antialias=True, data_format="channels_last"))
        return views

    def outputs(self, views: list[Any], training: bool) -> dict[str, Any]:
        """Return the logits of student and teacher, the centre and the teacher's temperature."""
        rows = [
            unit(self.projector(self.encoder(view, training=training), training=training)) for view in views
        ]
        kernel = self.frozen_at_first(self.head.layers[-1].kernel, 0.01)
        students = [ops.matmul(row, unit_columns(kernel)) for row in rows]
        teachers = [
            ops.stop_gradient(
                self.teacher_head(
                    unit(self.teacher_projector(self.teacher(view, training=training), training=training))
                )
            )
            for view in views[:WHOLE]
        ]
        low, high = self.teacher_temperature
        centre = ops.copy(ops.convert_to_tensor(self.centre))
        seen = ops.mean(ops.concatenate(teachers, 0), 0)
        self.centre.assign(self.centring * centre + (1 - self.centring) * seen)
        return {
            "students": students,
            "teachers": teachers,
            "centre": centre,
            "sharpness": low + (high - low) * ops.minimum(self.progress / 0.1, 1.0),
        }

    def contrast(self, outputs: Any) -> Any:
        """Return the mean cross entropy of all pairs of different views."""
        return dino_loss(
            outputs["students"],
            outputs["teachers"],
            outputs["centre"],
            self.temperature,
            outputs["sharpness"],
        )


class _Prototypes(keras.layers.Layer):
    """Cosines to prototypes of rows of length 1: a dense layer whose columns have length 1."""

    def __init__(self, count: int, start: Any, **options: Any) -> None:
        super().__init__(**options)
        self.count, self.start = count, start

    def build(self, input_shape: Any) -> None:
        """Make the kernel (d, prototypes)."""
        self.kernel = self.add_weight(
            shape=(input_shape[-1], self.count), initializer=self.start, name="kernel"
        )

    def call(self, rows: Any) -> Any:
        """Return the logits."""
        return ops.matmul(rows, unit_columns(self.kernel))

    def get_config(self) -> dict[str, Any]:
        """Return what makes the same layer again."""
        return super().get_config() | {"count": self.count, "start": self.start}


def unit_columns(kernel: Any) -> Any:
    """Return a kernel whose columns have length 1."""
    return ops.transpose(unit(ops.transpose(kernel)))


def dino_loss(
    students: list[Any], teachers: list[Any], centre: Any, temperature: Any, teacher_temperature: Any
) -> Any:
    """Return the cross entropy between centred, sharpened teachers and students: Caron et al. (2021), equation 3.

    Parameters
    ----------
    students, teachers : list of (n, k)
        Logits of the views; those of the teacher's views come first among the student's too.
    centre : (k,)
        Taken from the teacher's logits.
    temperature, teacher_temperature
        What logits are divided by.

    Returns
    -------
    scalar, float32
        The mean over frames and over pairs of different views.
    """
    terms = []
    for i, teacher in enumerate(teachers):
        target = ops.softmax((teacher - centre) / teacher_temperature, axis=-1)
        for j, student in enumerate(students):
            if i != j:
                terms.append(-ops.sum(target * ops.log_softmax(student / temperature, axis=-1), -1))
    return ops.mean(ops.stack(terms))
