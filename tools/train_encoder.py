"""Train the encoder that comes with the package, from nothing: mock skies, network, model card. `make encoder`.

It goes on where it was stopped. Nothing but this package goes in; scores on real data are measured afterwards, by
benchmarks/bench_encoder.py.
"""

import argparse
import json
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import yaml

from radiowidgets.models.encoders import small, two_looks
from radiowidgets.models.inputs import CHANNELS, LOOKS, SIZE
from radiowidgets.models.mockframes import FIELD, KINDS, SURVEYS, TAKES, Turned, mock_frames
from radiowidgets.models.shipped import INPUT, NAME, WEIGHTS, shipped_network
from radiowidgets.models.ssl.base import Recipe, train
from radiowidgets.models.ssl.taught import Taught

WIDTHS = (48, 96, 160)
DIMENSIONS = 64
FRAMES, SEED = 48_000, 1
RECIPE = Recipe(
    "taught", "small", len(CHANNELS), "none", batch_size=96, epochs=6, warmup_epochs=0, optimizer="adamw", rate=2e-3,
    decay=1e-2, options={"contrast_weight": 1.0, "teaching_weight": 0.3, "temperature": 0.2},
    dtype="mixed_bfloat16",  # 1.4 times as fast on CPUs that know it; weights stay float32
)  # fmt: skip


def frames_of(folder: Path, name: str, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Make mock frames in a file, unless they are there; return looks and kinds."""
    looks, kinds = folder / f"{name}-looks.npy", folder / f"{name}-kinds.npy"
    if not kinds.exists():
        shape = (count, TAKES, len(LOOKS), SIZE, SIZE, len(CHANNELS))
        out = np.lib.format.open_memmap(looks, "w+", np.uint8, shape)
        made = mock_frames(count, seed, maps_each=4, out=out, progress=f"{name} frames")
        out.flush()
        np.save(folder / f"{name}-rms.npy", made.rms)
        np.save(kinds, made.kind)
    return np.load(looks, mmap_mode="r"), np.load(kinds)


def build(options: dict) -> Taught:
    """Return the model, fresh."""
    encoder = two_looks(small(len(CHANNELS), widths=WIDTHS, seed=SEED, dtype=RECIPE.dtype), SIZE)
    return Taught(encoder, kinds=len(KINDS), seed=SEED, **options)


def ship(model: Taught, folder: Path, seconds: float, recipe: Recipe, frames: int, dimensions: int) -> None:
    """Write weights and model card into the package: the encoder, then its steady axes."""
    network = shipped_network(WIDTHS, dimensions)
    field = np.load(folder / "axes-kinds.npy") == KINDS.index(FIELD)
    steady = steady_axes(vectors_of(model.encoder, folder, "axes"), field, dimensions)
    network.set_weights([*model.encoder.get_weights(), *steady])
    network.save_weights(WEIGHTS / f"{NAME}.weights.h5", overwrite=True)
    kinds, rms = (np.load(folder / f"validation-{what}.npy") for what in ("kinds", "rms"))
    scores = mock_scores(vectors_of(network, folder, "validation"), kinds, rms)
    card = {
        "name": NAME,
        "what": "frames of radio maps to vectors; two looks at a frame, one small residual network for both",
        "input": INPUT,
        "widths": list(WIDTHS),
        "dimensions": dimensions,
        "weights": int(network.count_params()),
        "data": {
            "what": "mock skies alone (radiowidgets.models.mockframes): objects of 18 kinds put twice into maps of "
            f"{', '.join(SURVEYS)}; no real pixel",
            "frames": frames,
            "takes": TAKES,
            "seed": SEED,
        },
        "recipe": {
            "command": "make encoder",
            "what": "NT-Xent between takes plus cross entropy of the mock's kind (models.ssl.taught); turns by "
            "quarters, flips, another stretch in 0.3 of the takes; then the axes along which 4,000 more objects "
            "differ most, in units of how far two takes of one, and empty frames, lie apart",
            "epochs": recipe.epochs,
            "batch": recipe.batch_size,
            "optimizer": recipe.optimizer,
            "rate": recipe.rate,
            "decay": recipe.decay,
            **recipe.options,
            "dtype": recipe.dtype,
            "hours": round(seconds / 3600, 2),
        },
        "scores": {"mock": scores},
        "not_good_for": NOT_GOOD_FOR,
        "licence": "BSD-3-Clause",
    }
    (WEIGHTS / f"{NAME}.yaml").write_text(yaml.safe_dump(card, sort_keys=False, width=110), encoding="utf-8")


def vectors_of(network: keras.Model, folder: Path, name: str) -> np.ndarray:
    """Return what a network makes of frames in a file, (n, takes, d)."""
    looks = np.load(folder / f"{name}-looks.npy", mmap_mode="r")
    flat = looks.reshape(-1, *looks.shape[2:])
    parts = [flat[k : k + 256].astype(np.float32) / 255 for k in range(0, len(flat), 256)]
    vectors = np.concatenate([np.asarray(network.predict_on_batch(part)) for part in parts])
    return vectors.reshape(len(looks), looks.shape[1], -1)


def steady_axes(
    vectors: np.ndarray, field: np.ndarray, dimensions: int, shrink: float = 0.2
) -> list[np.ndarray]:
    """Return kernel and bias of the layer that turns (n, takes, d) vectors to what tells objects from backgrounds.

    The axes are those along which vectors vary most, in units of how two takes of one object differ (in noise, place,
    neighbours) and how frames with nothing put in differ: that is one unit along every axis. `shrink` draws the
    covariance of these differences towards a round one.
    """
    from scipy.linalg import eigh

    flat = vectors.reshape(-1, vectors.shape[-1]).astype(np.float64)
    apart = (vectors[:, 0] - vectors[:, 1]).astype(np.float64)
    empty = vectors[field].reshape(-1, vectors.shape[-1]).astype(np.float64)
    within = apart.T @ apart / (2 * len(apart)) + np.cov(empty.T)
    within = (1 - shrink) * within + shrink * np.trace(within) / len(within) * np.eye(len(within))
    _, axes = eigh(np.cov(flat.T), within)
    kernel = axes[:, ::-1][:, :dimensions]
    # The sign of an axis means nothing; a rule makes it the same everywhere.
    kernel = kernel * np.sign(kernel[np.abs(kernel).argmax(0), np.arange(dimensions)])
    return [kernel.astype(np.float32), (-flat.mean(0) @ kernel).astype(np.float32)]


def mock_scores(vectors: np.ndarray, kinds: np.ndarray, rms: np.ndarray) -> dict:
    """Return what validation frames, which trained nothing but the axes, say of (n, takes, d) vectors.

    accuracy: of a linear layer and of 10 neighbours that name the kind, learnt on the first two thirds. background: the
    R2 of log rms from frames with nothing put in, by ridge regression in five folds; shift: the median distance
    between two takes of an object, in the median distance between objects.
    """
    from sklearn.linear_model import LogisticRegression, RidgeCV
    from sklearn.model_selection import KFold, cross_val_predict
    from sklearn.neighbors import KNeighborsClassifier

    first = np.arange(len(kinds)) < len(kinds) * 2 // 3
    linear = LogisticRegression(C=0.01, max_iter=1000).fit(vectors[first, 0], kinds[first])
    near = KNeighborsClassifier(10, metric="cosine").fit(vectors[first, 0], kinds[first])
    field = kinds == KINDS.index(FIELD)
    level = np.log10(rms[field].ravel())
    folds = KFold(5, shuffle=True, random_state=0)
    guess = cross_val_predict(
        RidgeCV(10.0 ** np.arange(6)), vectors[field].reshape(-1, vectors.shape[-1]), level, cv=folds
    )
    one, two = vectors[~field, 0], vectors[~field, 1]
    other = np.random.default_rng(0).permutation(len(two))
    shift = np.median(np.linalg.norm(one - two, axis=1)) / np.median(np.linalg.norm(one - two[other], axis=1))
    scores = {
        "accuracy_linear": linear.score(vectors[~first, 0], kinds[~first]),
        "accuracy_neighbours": near.score(vectors[~first, 0], kinds[~first]),
        "background_r2": 1 - np.mean((guess - level) ** 2) / np.var(level),
        "shift": shift,
    }
    return {name: round(float(value), 3) for name, value in scores.items()}


NOT_GOOD_FOR = [
    "absolute brightness, noise level, angular size: each look is scaled by its own noise and peak",
    "several bands at once: it sees the first channel",
    "frames of a few pixels, or where an object is far larger than the frame",
    "optical or infrared images: crowded fields of stars are strange to it",
    "telling instruments apart, on purpose",
]


def main() -> None:
    """Train; command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where frames, checkpoints and results are kept")
    parser.add_argument("--frames", type=int, default=FRAMES)
    parser.add_argument("--epochs", type=int, default=RECIPE.epochs)
    parser.add_argument("--name", default="run")
    parser.add_argument("--contrast", type=float, default=1.0, help="weight of NT-Xent")
    parser.add_argument(
        "--teaching",
        type=float,
        default=RECIPE.options["teaching_weight"],
        help="weight of what the mocks know",
    )
    parser.add_argument("--ship", action="store_true", help="write weights and card into the package")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    looks, kinds = frames_of(options.folder, "train", options.frames, SEED)
    frames_of(options.folder, "validation", 3000, 900)  # for scores, and nothing else
    frames_of(options.folder, "axes", 4000, 901)
    recipe = RECIPE.but(
        epochs=options.epochs,
        options=RECIPE.options | {"contrast_weight": options.contrast, "teaching_weight": options.teaching},
    )
    model = build(recipe.options)
    folder = options.folder / options.name
    losses = train(
        model,
        Turned(np.asarray(looks), SEED),
        recipe,
        folder,
        labels=kinds,
        seed=SEED,
        verbose=2,
    )
    model.encoder.save_weights(folder / "encoder.weights.h5")
    print(f"losses {losses}")
    if options.ship:
        seconds = json.loads((folder / "state.json").read_text(encoding="utf-8"))["seconds"]
        ship(model, options.folder, seconds, recipe, options.frames, DIMENSIONS)


if __name__ == "__main__":
    main()
