"""All4One: Estepa et al. (2023), ICCV, 16243 (arXiv 2303.09417); ssl-benchmark section 3.3.

Three losses are added: neighbours (Dwibedi et al. 2021, NNCLR), centroids of several neighbours, which a transformer
makes, and features that shall not say the same twice (after Barlow Twins). Where the paper leaves a choice, this is
that of its authors' code in solo-learn (five neighbours, three transformer layers of eight heads, temperature 0.1 of
the centroids, the square root over the features' terms), but for the following: the queue is shorter, there is no
dropout, so that a stopped training goes on exactly, the position of a neighbour is its rank, and the transformer learns
at the rate of the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import layers, ops

from radiowidgets.errors import ParameterError
from radiowidgets.models.ssl.base import make_projector, make_teacher, unit
from radiowidgets.models.ssl.teacher import WithTeacher

if TYPE_CHECKING:
    from collections.abc import Sequence

WEIGHTS = {"neighbours": 0.5, "centroids": 0.5, "features": 5.0}
CENTROID_TEMPERATURE = 0.1


class All4One(WithTeacher):
    """Views are drawn to the neighbours of other views in a queue, one by one and through their centroids.

    Parameters
    ----------
    encoder, augmentation, momentum, options
        See `WithTeacher` and `SelfSupervised`.
    projector : sequence of int
        Widths of the projector's layers, batch normalisation at its end.
    predictor : int
        Width of the hidden layer of both predictors.
    temperature : float
        Of the neighbours' loss.
    queue : int
        Projections of the teacher that are kept to find neighbours in.
    neighbours, layers, heads : int
        Of the transformer.
    """

    def __init__(
        self,
        encoder: keras.Model,
        augmentation: keras.layers.Layer | None = None,
        *,
        projector: Sequence[int] = (1024, 256),
        predictor: int = 1024,
        temperature: float = 0.2,
        queue: int = 8192,
        neighbours: int = 5,
        blocks: int = 3,
        heads: int = 8,
        momentum: float = 0.99,
        **options: Any,
    ) -> None:
        super().__init__(encoder, augmentation, momentum=momentum, **options)
        width = projector[-1]
        if width % heads:
            raise ParameterError(f"the projector ends in {width} numbers, which {heads} heads cannot share.")
        if queue < neighbours:
            raise ParameterError(f"a queue of {queue} does not hold {neighbours} neighbours.")
        self.projector = make_projector(encoder.output_shape[-1], projector, seed=self.seed, last_normal=True)
        self.predictor = make_projector(width, (predictor, width), seed=self.seed + 1, name="predictor")
        self.predictor_of_centroids = make_projector(
            width, (predictor, width), seed=self.seed + 2, name="predictor_of_centroids"
        )
        self.transformer = make_transformer(width, neighbours, blocks, heads, seed=self.seed)
        self.teacher, self.teacher_projector = make_teacher(encoder), make_teacher(self.projector)
        start = np.random.default_rng(1000 * self.seed + 900).normal(size=(queue, width))
        self.queue = self.add_weight(shape=(queue, width), trainable=False, name="queue")
        self.queue.assign((start / np.linalg.norm(start, axis=1, keepdims=True)).astype(np.float32))
        self.temperature, self.neighbours = temperature, neighbours

    @property
    def pairs(self) -> list[tuple[keras.Model, keras.Model]]:
        """Teachers and the students that they follow."""
        return [(self.teacher, self.encoder), (self.teacher_projector, self.projector)]

    def outputs(self, views: list[Any], training: bool) -> list[dict[str, Any]]:
        """Return, for each view, what `all4one_loss` takes."""
        queue = ops.copy(ops.convert_to_tensor(self.queue))
        seen: list[dict[str, Any]] = []
        for view in views:
            row = self.projector(self.encoder(view, training=training), training=training)
            target = ops.stop_gradient(
                unit(self.teacher_projector(self.teacher(view, training=training), training=training))
            )
            _, places = ops.top_k(ops.matmul(target, ops.transpose(queue)), self.neighbours)
            near = ops.take(queue, places, axis=0)
            guess = self.predictor_of_centroids(row, training=training)[:, None]
            shifted = ops.concatenate([guess, near[:, :-1]], 1)
            seen.append(
                {
                    "row": row,
                    "guess": self.predictor(row, training=training),
                    "target": target,
                    "neighbour": near[:, 0],
                    "centroid": self.transformer(near, training=training)[:, 0],
                    "guessed_centroid": self.transformer(shifted, training=training)[:, 0],
                }
            )
        kept = ops.concatenate([seen[0]["target"], queue], 0)[: self.queue.shape[0]]
        self.queue.assign(kept)
        return seen

    def contrast(self, outputs: Any) -> Any:
        """Return the sum of the three losses."""
        return all4one_loss(outputs[0], outputs[1], self.temperature)


def make_transformer(width: int, length: int, blocks: int, heads: int, *, seed: int = 0) -> keras.Model:
    """Return a transformer encoder from (n, length, width) to the same: Vaswani et al. (2017), section 3.1.

    Sines of its place are added to each row; normalisation comes after each part; no dropout.
    """

    def start(place: int) -> Any:
        return keras.initializers.GlorotUniform(seed=1000 * seed + 950 + place)

    rows = keras.Input((length, width), dtype="float32")
    x = _Places(dtype="float32")(rows)
    for block in range(blocks):
        attention = layers.MultiHeadAttention(
            heads, width // heads, kernel_initializer=start(3 * block), dtype="float32"
        )
        x = layers.LayerNormalization(epsilon=1e-5, dtype="float32")(x + attention(x, x))
        hidden = layers.Dense(2 * width, "relu", kernel_initializer=start(3 * block + 1), dtype="float32")(x)
        hidden = layers.Dense(width, kernel_initializer=start(3 * block + 2), dtype="float32")(hidden)
        x = layers.LayerNormalization(epsilon=1e-5, dtype="float32")(x + hidden)
    return keras.Model(rows, x, name="transformer")


class _Places(layers.Layer):
    """Add to each row the sines and cosines of its place (Vaswani et al. 2017, section 3.5)."""

    def call(self, rows: Any) -> Any:
        """Return the rows that know their places."""
        length, width = rows.shape[1], rows.shape[2]
        angle = np.arange(length)[:, None] / 10000 ** (2 * np.arange((width + 1) // 2) / width)
        places = np.stack([np.sin(angle), np.cos(angle)], -1).reshape(length, -1)[:, :width]
        return rows + ops.convert_to_tensor(places.astype(np.float32))


def all4one_loss(first: dict[str, Any], second: dict[str, Any], temperature: float = 0.2) -> Any:
    """Return the loss of All4One: 0.5 of neighbours + 0.5 of centroids + 5 of features, both ways.

    Parameters
    ----------
    first, second : dict of (n, d)
        Of each view: 'row', its projection; 'guess', that through the predictor; 'target', that of the teacher;
        'neighbour', the target's nearest in the queue; 'centroid' and 'guessed_centroid', the transformer's first rows.
    temperature
        Of the neighbours.

    Returns
    -------
    scalar, float32
    """
    near = neighbour_loss(first["neighbour"], second["guess"], temperature)
    near = near + neighbour_loss(second["neighbour"], first["guess"], temperature)
    middle = neighbour_loss(first["centroid"], second["guessed_centroid"], CENTROID_TEMPERATURE)
    middle = middle + neighbour_loss(second["centroid"], first["guessed_centroid"], CENTROID_TEMPERATURE)
    pairs = [(first["target"], second["row"]), (second["target"], first["row"])]
    return (
        WEIGHTS["neighbours"] * near / 2
        + WEIGHTS["centroids"] * middle / 2
        + WEIGHTS["features"] * redundancy(pairs)
    )


def neighbour_loss(near: Any, guess: Any, temperature: float) -> Any:
    """Return the cross entropy that finds each row's own partner: Dwibedi et al. (2021), equation 2.

    Parameters
    ----------
    near, guess : (n, d)
        Row i of one belongs to row i of the other; all other rows are negatives.
    """
    logits = ops.matmul(unit(near), ops.transpose(unit(guess))) / temperature
    return ops.mean(ops.logsumexp(logits, axis=1) - ops.diagonal(logits))


def redundancy(pairs: list[tuple[Any, Any]]) -> Any:
    """Return how far the features of pairs (n, d) are from agreeing, each with itself and with no other.

    With c the cosines between the columns of a pair, half the root mean square of 1 - c on the diagonal and half that
    of c off it, each mean over all pairs.
    """
    same, other = 0.0, 0.0
    for first, second in pairs:
        c = ops.matmul(unit(ops.transpose(first)), ops.transpose(unit(ops.transpose(second))))
        diagonal = ops.diagonal(c)
        width = c.shape[0]
        same = same + ops.mean(ops.square(diagonal - 1))
        other = other + (ops.sum(ops.square(c)) - ops.sum(ops.square(diagonal))) / (width * (width - 1))
    # The slope of a root is infinite at 0.
    return 0.5 * (ops.sqrt(same / len(pairs) + 1e-12) + ops.sqrt(other / len(pairs) + 1e-12))
