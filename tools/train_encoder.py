"""Train a next encoder for the package: mock skies, network, model card. `make encoder`.

It starts from the shipped one, which was trained on fewer kinds of mock objects, or from nothing with --from-nothing,
and goes on where it was stopped. --ship writes it beside the shipped one, which stays until `shipped.NAME` says other.
Nothing but this package goes in; scores on real data are measured afterwards, by benchmarks/bench_encoder.py. With
--ablate it trains small variants from nothing instead, at one budget, and prints what mock frames say of each. With
--settle the encoder learns what the shipped one makes of an object on average, over eight orientations and both takes.
"""

import argparse
import functools
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import yaml

from radiowidgets.latent.embedding import turned
from radiowidgets.models.encoders import small, two_looks
from radiowidgets.models.inputs import CHANNELS, LOOKS, SIZE
from radiowidgets.models.mockframes import (
    FIELD,
    GAMMA_SHARE,
    KINDS,
    PICTURES,
    SURVEYS,
    TAKES,
    TRAITS,
    Turned,
    mock_frames,
)
from radiowidgets.models.shipped import INPUT, WEIGHTS, shipped_network
from radiowidgets.models.ssl.base import Recipe, train
from radiowidgets.models.ssl.taught import Taught

NOISY = ("emu", "smgps", "first", "sdc1-b1-8h")  # maps whose noise is not that of sources too faint to see
WIDTHS = (48, 96, 160)
DIMENSIONS = 64
MADE, FRAMES, SEED = 48_000, 40_000, 1  # of the frames that are made, the first train
START, NEXT = Path(__file__).parent / "weights" / "small-1.weights.h5", "small-2"
START_AXES = 64  # width of the layer that ends the earlier network; training leaves it out
WAY = 0.5  # from the earlier weights to the trained ones: averages keep what the earlier knew (Wortsman et al. 2022)
RECIPE = Recipe(
    "taught", "small", len(CHANNELS), "none", batch_size=96, epochs=1, warmup_epochs=0, optimizer="adamw", rate=1.5e-3,
    decay=1e-2, options={"contrast_weight": 1.0, "teaching_weight": 0.3, "traits_weight": 0.3, "temperature": 0.2},
    dtype="mixed_bfloat16",  # 1.4 times as fast on CPUs that know it; weights stay float32
)  # fmt: skip
FROM_NOTHING = RECIPE.but(epochs=6, rate=2e-3)
BLIND = 8  # directions of the noise that are taken out of the vectors
SETTLING = RECIPE.but(method="settled", batch_size=64, epochs=4, rate=1e-3, options={})

ABLATION_FRAMES, ABLATION_EPOCHS = 6000, 2


class Variant(NamedTuple):
    """What an ablation changes: losses, network, augmentation, what it sees of the looks, pictures to train on."""

    options: dict = {}  # noqa: RUF012 - a tuple, whose default nobody changes
    widths: tuple[int, ...] = WIDTHS
    turned: bool = True
    view: Callable[[np.ndarray], np.ndarray] = lambda looks: looks
    pictures: float = PICTURES


VARIANTS = {
    "as shipped": Variant(),
    "contrast alone (SimCLR)": Variant({"teaching_weight": 0.0, "traits_weight": 0.0}),
    "no contrast": Variant({"contrast_weight": 0.0}),
    "no kinds": Variant({"teaching_weight": 0.0}),
    "no traits": Variant({"traits_weight": 0.0}),
    "traits of weight 1": Variant({"traits_weight": 1.0}),
    "traits and kinds of weight 1": Variant({"teaching_weight": 1.0, "traits_weight": 1.0}),
    "no turns, flips, stretches": Variant(turned=False),
    "no pictures among the takes": Variant(pictures=0.0),
    "whole look alone": Variant(view=lambda looks: looks[:, :, [0, 0]]),
    "focus look alone": Variant(view=lambda looks: looks[:, :, [1, 1]]),
    "linear channel alone": Variant(view=lambda looks: looks[..., [0, 0, 0]]),
    "half the width": Variant(widths=(24, 48, 80)),
    "1.5 times the width": Variant(widths=(72, 144, 240)),
}


def frames_of(
    folder: Path,
    name: str,
    count: int,
    seed: int,
    pictures: float = PICTURES,
    surveys: tuple[str, ...] = SURVEYS,
) -> tuple[np.ndarray, np.ndarray]:
    """Make mock frames in a file, unless they are there; return looks and what `Taught` learns of them."""
    looks, kinds = folder / f"{name}-looks.npy", folder / f"{name}-kinds.npy"
    if not kinds.exists():
        shape = (count, TAKES, len(LOOKS), SIZE, SIZE, len(CHANNELS))
        out = np.lib.format.open_memmap(looks, "w+", np.uint8, shape)
        made = mock_frames(
            count,
            seed,
            maps_each=8,
            surveys=surveys,
            pictures=pictures,
            out=out,
            progress=f"{name} frames",
        )
        out.flush()
        np.save(folder / f"{name}-rms.npy", made.rms)
        np.save(folder / f"{name}-traits.npy", made.traits)
        np.save(kinds, made.kind)
    return np.load(looks, mmap_mode="r"), taught_labels(
        np.load(kinds), np.load(folder / f"{name}-traits.npy")
    )


def taught_labels(kinds: np.ndarray, traits: np.ndarray) -> np.ndarray:
    """Return kinds beside traits of mean 0 and variance 1, those far out drawn in."""
    even = (traits - np.nanmean(traits, 0)) / np.nanstd(traits, 0)
    return np.column_stack([kinds, np.clip(even, -3, 3)]).astype(np.float32)


def build(options: dict, widths: tuple[int, ...] = WIDTHS) -> Taught:
    """Return the model, fresh."""
    encoder = two_looks(small(len(CHANNELS), widths=widths, seed=SEED, dtype=RECIPE.dtype), SIZE)
    return Taught(encoder, kinds=len(KINDS), traits=len(TRAITS), seed=SEED, **options)


def earlier_weights() -> list[np.ndarray]:
    """Return the weights of the earlier encoder."""
    earlier = shipped_network(WIDTHS, START_AXES)
    earlier.load_weights(START)
    return earlier.get_weights()[:-2]


class Settled(keras.Model):
    """A network that learns vectors (n, takes, d) of looks (n, takes, 2, h, w, channels), by squared errors."""

    def __init__(self, encoder: keras.Model) -> None:
        super().__init__()
        self.encoder = encoder
        self.total_steps = 0
        self.built = True

    def call(self, looks: Any, training: bool = False) -> Any:
        """Return the vectors of all takes, one after the other."""
        return self.encoder(keras.ops.reshape(looks, (-1, *looks.shape[2:])), training=training)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Return the mean squared error."""
        del x, sample_weight, training
        return keras.ops.mean(keras.ops.square(keras.ops.reshape(y, (-1, y.shape[-1])) - y_pred))


def mean_vectors(folder: Path, start: Path, looks: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    """Return what an encoder makes of each object (n, takes, d), the mean over its orientations and takes.

    Takes of empty fields have nothing in common: each has its own mean.
    """
    file = folder / f"settled-{hashlib.sha256(start.read_bytes()).hexdigest()[:12]}-{len(looks)}.npy"
    if not file.exists():
        network = shipped_network(WIDTHS, START_AXES)
        network.load_weights(start)
        out = np.zeros((len(looks), TAKES, START_AXES), np.float32)
        for first in range(0, len(looks), 128):
            batch = looks[first : first + 128].astype(np.float32) / 255
            for one in turned(batch, 8):
                flat = one.reshape(-1, *batch.shape[2:])
                found = np.asarray(network.predict_on_batch(flat))
                out[first : first + 128] += found.reshape(len(batch), TAKES, -1) / 8
        object_there = kinds != KINDS.index(FIELD)
        out[object_there] = out[object_there].mean(1, keepdims=True)
        np.save(file, out)
    return np.load(file)


def settle(folder: Path, name: str, start: Path, count: int) -> keras.Model:
    """Train an encoder to give each take what `mean_vectors` gives its object; return it, in float32."""
    looks, labels = frames_of(folder, "train", MADE, SEED)
    looks, kinds = looks[:count], labels[:count, 0].astype(int)
    wanted = mean_vectors(folder, start, looks, kinds)
    earlier = shipped_network(WIDTHS, START_AXES)
    earlier.load_weights(start)
    encoder = two_looks(small(len(CHANNELS), widths=WIDTHS, seed=SEED, dtype=RECIPE.dtype), SIZE)
    axes = keras.layers.Dense(START_AXES, dtype="float32", name="axes")
    network = keras.Model(encoder.input, axes(encoder.output))
    network.set_weights(earlier.get_weights())
    losses = train(
        Settled(network),
        Turned(np.asarray(looks), SEED),
        SETTLING,
        folder / name,
        labels=wanted,
        seed=SEED,
        verbose=2,
    )
    print(f"losses {losses}")
    earlier.set_weights(network.get_weights())
    earlier.save_weights(folder / name / "settled.weights.h5")
    blinded(earlier, folder, looks, kinds)
    earlier.save_weights(folder / name / "encoder.weights.h5")
    return earlier


def ship(
    model: Taught,
    folder: Path,
    seconds: float,
    recipe: Recipe,
    frames: int,
    start: str,
) -> None:
    """Write weights and model card into the package: the encoder, then its steady axes."""
    bare = shipped_network(WIDTHS, 0)  # in float32, as it will run
    bare.set_weights(model.encoder.get_weights())
    kernel, bias, scores = steady_scores(folder, lambda name: vectors_of(bare, folder, name))
    network = shipped_network(WIDTHS, DIMENSIONS)
    network.set_weights([*model.encoder.get_weights(), kernel, bias])
    what = (
        "NT-Xent between takes, cross entropy of the mock's kind, squared errors of traits measured on the object "
        "without noise (models.ssl.taught); turns by quarters, flips, another stretch in "
        f"{GAMMA_SHARE:g} of the takes; weights half way from the start; then the axes along which kinds and traits "
        "set 4,000 more objects apart most, in units of how far two takes of one, and empty frames, are"
    )
    write(
        network,
        {"command": "tools/train_encoder.py --ship", "start": start, "what": what},
        recipe,
        frames,
        seconds,
        scores,
    )


def write(
    network: keras.Model,
    about: dict[str, str],
    recipe: Recipe,
    frames: int,
    seconds: float,
    scores: dict[str, float],
) -> None:
    """Write weights and model card into the package."""
    network.save_weights(WEIGHTS / f"{NEXT}.weights.h5", overwrite=True)
    card = {
        "name": NEXT,
        "what": "frames of radio maps to vectors; two looks at a frame, one small residual network for both",
        "input": INPUT,
        "widths": list(WIDTHS),
        "dimensions": DIMENSIONS,
        "weights": int(network.count_params()),
        "data": {
            "what": f"mock skies alone (radiowidgets.models.mockframes): objects of {len(KINDS) - 1} kinds put twice "
            f"into maps of {', '.join(SURVEYS)}; {PICTURES:g} of the takes as pictures, cut close, thresholded, "
            "saturated, stretched; no real pixel",
            "frames": frames,
            "takes": TAKES,
            "seed": SEED,
        },
        "recipe": {
            **about,
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
    (WEIGHTS / f"{NEXT}.yaml").write_text(yaml.safe_dump(card, sort_keys=False, width=110), encoding="utf-8")


def blinded(network: keras.Model, folder: Path, looks: np.ndarray, kinds: np.ndarray) -> None:
    """Take out of a network's last layer the directions along which empty fields follow their noise."""
    from sklearn.linear_model import Ridge

    field = np.flatnonzero(kinds == KINDS.index(FIELD))
    level = np.log10(np.load(folder / "train-rms.npy")[field].ravel())
    flat = looks[field].reshape(-1, *looks.shape[2:])
    parts = [flat[k : k + 256].astype(np.float32) / 255 for k in range(0, len(flat), 256)]
    vectors = np.concatenate([np.asarray(network.predict_on_batch(part)) for part in parts]).astype(
        np.float64
    )
    kept = np.eye(vectors.shape[1])
    for _ in range(BLIND):
        along = Ridge(10.0).fit(vectors @ kept, level).coef_
        along /= np.linalg.norm(along)
        kept = kept - np.outer(kept @ along, along)
    *rest, kernel, bias = network.get_weights()
    network.set_weights([*rest, (kernel @ kept).astype(np.float32), (bias @ kept).astype(np.float32)])


def ablate(folder: Path, names: list[str]) -> None:
    """Train variants, and write and print a row of mock scores for each."""
    for name in names:
        variant = VARIANTS[name]
        file = f"ablation-{variant.pictures:g}"
        looks, labels = frames_of(folder, file, ABLATION_FRAMES, 903, variant.pictures)
        seen = variant.view(np.asarray(looks))
        recipe = FROM_NOTHING.but(epochs=ABLATION_EPOCHS, options=RECIPE.options | variant.options)
        model = build(recipe.options, variant.widths)
        train(model, Turned(seen, SEED) if variant.turned else seen, recipe, labels=labels, seed=SEED)
        make = functools.partial(vectors_of, model.encoder, folder, view=variant.view)
        *_, scores = steady_scores(folder, make)
        line = " | ".join(f"{value:.3f}" for value in scores.values())
        with (folder / "ablation.md").open("a", encoding="utf-8") as table:
            if not table.tell():
                table.write(f"| variant | {' | '.join(scores)} |\n|---{'|---' * len(scores)}|\n")
            table.write(f"| {name} | {line} |\n")
        print(f"{name}: {scores}", flush=True)


def steady_scores(
    folder: Path, vectors: Callable[[str], np.ndarray]
) -> tuple[np.ndarray, np.ndarray, dict[str, float]]:
    """Return kernel and bias of the steady axes, and what mock frames say of vectors along them."""
    labels = taught_labels(*(np.load(folder / f"axes-{what}.npy") for what in ("kinds", "traits")))
    kernel, bias = steady_axes(vectors("axes"), labels, DIMENSIONS)
    frames, pictures = (vectors(name) @ kernel + bias for name in ("validation", "pictures"))
    truth = [np.load(folder / f"validation-{what}.npy") for what in ("kinds", "rms", "traits")]
    return kernel, bias, mock_scores(frames, *truth) | pictures_score(folder, frames, pictures)


def pictures_score(folder: Path, frames: np.ndarray, pictures: np.ndarray) -> dict[str, float]:
    """Return how often a linear layer that learnt kinds on frames names those of pictures."""
    from sklearn.linear_model import LogisticRegression

    kinds, shown = (np.load(folder / f"{name}-kinds.npy") for name in ("validation", "pictures"))
    held = shown != KINDS.index(FIELD)
    linear = LogisticRegression(C=0.01, max_iter=1000).fit(frames[:, 0], kinds)
    return {"accuracy_pictures": round(float(linear.score(pictures[held, 0], shown[held])), 3)}


def vectors_of(
    network: keras.Model,
    folder: Path,
    name: str,
    view: Callable[[np.ndarray], np.ndarray] = lambda looks: looks,
) -> np.ndarray:
    """Return what a network makes of frames in a file, (n, takes, d)."""
    looks = view(np.load(folder / f"{name}-looks.npy", mmap_mode="r"))
    flat = looks.reshape(-1, *looks.shape[2:])
    parts = [flat[k : k + 256].astype(np.float32) / 255 for k in range(0, len(flat), 256)]
    vectors = np.concatenate([np.asarray(network.predict_on_batch(part)) for part in parts])
    return vectors.reshape(len(looks), looks.shape[1], -1)


def steady_axes(
    vectors: np.ndarray, labels: np.ndarray, dimensions: int, shrink: float = 0.2, rest: float = 0.05
) -> list[np.ndarray]:
    """Return kernel and bias of the layer that turns (n, takes, d) vectors to what tells objects from backgrounds.

    The axes are those along which what kinds and traits explain of the vectors varies most (and a little of all that
    varies: `rest`), in units of how two takes of one object differ (in noise, place, neighbours) and how frames with
    nothing put in differ: that is one unit along every axis. `shrink` draws the covariance of these differences towards
    a round one.
    """
    from scipy.linalg import eigh

    flat = vectors.reshape(-1, vectors.shape[-1]).astype(np.float64)
    apart = (vectors[:, 0] - vectors[:, 1]).astype(np.float64)
    kinds, traits = labels[:, 0].astype(int), np.nan_to_num(labels[:, 1:]).astype(np.float64)
    empty = vectors[kinds == KINDS.index(FIELD)].reshape(-1, vectors.shape[-1]).astype(np.float64)
    within = apart.T @ apart / (2 * len(apart)) + np.cov(empty.T)
    within = (1 - shrink) * within + shrink * np.trace(within) / len(within) * np.eye(len(within))
    known = np.column_stack([np.eye(len(KINDS))[kinds], traits, traits**2])
    known -= known.mean(0)
    each = vectors.mean(1, dtype=np.float64)
    told = known @ np.linalg.solve(
        known.T @ known + 10 * np.eye(known.shape[1]), known.T @ (each - each.mean(0))
    )
    _, axes = eigh(np.cov(told.T) + rest * np.cov(flat.T), within)
    kernel = axes[:, ::-1][:, :dimensions]
    # The sign of an axis means nothing; a rule makes it the same everywhere.
    kernel = kernel * np.sign(kernel[np.abs(kernel).argmax(0), np.arange(dimensions)])
    return [kernel.astype(np.float32), (-flat.mean(0) @ kernel).astype(np.float32)]


def mock_scores(vectors: np.ndarray, kinds: np.ndarray, rms: np.ndarray, traits: np.ndarray) -> dict:
    """Return what validation frames, which trained nothing but the axes, say of (n, takes, d) vectors.

    accuracy: of a linear layer and of 10 neighbours that name the kind, learnt on the first two thirds. background: the
    R2 of log rms from frames with nothing put in, by ridge regression in five folds; shift: the median distance
    between two takes of an object, in the median distance between objects. traits: mean R2 of a ridge regression.
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
    known = first & ~field
    measured = RidgeCV(10.0 ** np.arange(6)).fit(vectors[known, 0], traits[known])
    off = measured.predict(vectors[~first & ~field, 0]) - traits[~first & ~field]
    scores = {
        "accuracy_linear": linear.score(vectors[~first, 0], kinds[~first]),
        "accuracy_neighbours": near.score(vectors[~first, 0], kinds[~first]),
        "background_r2": 1 - np.mean((guess - level) ** 2) / np.var(level),
        "shift": shift,
        "traits_r2": np.mean(1 - np.mean(off**2, 0) / np.var(traits[known], 0)),
    }
    return {name: round(float(value), 3) for name, value in scores.items()}


FIRST = (
    "small-1: the same network after 6 epochs of 48,000 mock objects of 18 kinds, without pictures and traits, at "
    "rate 0.002 from random weights (0.44 hours; this tool as of commit e4cb301)"
)
SETTLED_CARD = {
    "command": "tools/train_encoder.py --settle, twice: from small-1 with 24,000 frames, from its result with 48,000",
    "start": FIRST,
    "what": "squared errors to the mean of the earlier vectors over eight orientations and both takes of an object; "
    f"then {BLIND} directions along which fields with nothing put in follow their noise are taken out",
}
NOT_GOOD_FOR = [
    "absolute brightness, noise level, angular size: each look is scaled by its own noise and peak",
    "several bands at once: it sees the first channel",
    "frames of a few pixels, or deep inside an object far larger than the frame",
    "optical or infrared images: crowded fields of stars are strange to it",
    "telling instruments apart, on purpose",
]


def main() -> None:
    """Train; command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where frames, checkpoints and results are kept")
    parser.add_argument("--frames", type=int, help=f"default: {FRAMES}, or {MADE} from nothing")
    parser.add_argument("--epochs", type=int, help="default: as the recipe says")
    parser.add_argument("--from-nothing", action="store_true", help="from random weights, for six epochs")
    parser.add_argument("--name", default="run")
    parser.add_argument("--contrast", type=float, default=1.0, help="weight of NT-Xent")
    parser.add_argument(
        "--teaching",
        type=float,
        default=RECIPE.options["teaching_weight"],
        help="weight of what the mocks know",
    )
    parser.add_argument("--ablate", nargs="*", choices=list(VARIANTS), help="train variants; none named: all")
    parser.add_argument("--settle", action="store_true", help="train the shipped one towards its own means")
    parser.add_argument("--start", type=Path, default=START, help="weights to settle")
    parser.add_argument("--ship", action="store_true", help="write weights and card into the package")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    # For scores, and nothing else; from maps that have frames without sources.
    frames_of(options.folder, "validation", 3000, 900, 0.0, NOISY)
    frames_of(options.folder, "pictures", 2000, 902, 1.0)
    frames_of(options.folder, "axes", 4000, 901)
    if options.settle:
        count = options.frames or MADE
        network = settle(options.folder, options.name, options.start, count)
        truth = [np.load(options.folder / f"validation-{what}.npy") for what in ("kinds", "rms", "traits")]
        frames, pictures = (vectors_of(network, options.folder, name) for name in ("validation", "pictures"))
        scores = mock_scores(frames, *truth) | pictures_score(options.folder, frames, pictures)
        print(scores)
        if options.ship:
            state = json.loads((options.folder / options.name / "state.json").read_text(encoding="utf-8"))
            write(network, SETTLED_CARD, SETTLING, count, state["seconds"], scores)
        return
    if options.ablate is not None:
        ablate(options.folder, options.ablate or list(VARIANTS))
        return
    looks, labels = frames_of(options.folder, "train", MADE, SEED)
    count = options.frames or (MADE if options.from_nothing else FRAMES)
    looks, labels = looks[:count], labels[:count]
    recipe = FROM_NOTHING if options.from_nothing else RECIPE
    recipe = recipe.but(
        epochs=options.epochs or recipe.epochs,
        options=RECIPE.options | {"contrast_weight": options.contrast, "teaching_weight": options.teaching},
    )
    model = build(recipe.options)
    if not options.from_nothing:
        model.encoder.set_weights(earlier_weights())
    folder = options.folder / options.name
    losses = train(
        model,
        Turned(np.asarray(looks), SEED),
        recipe,
        folder,
        labels=labels,
        seed=SEED,
        verbose=2,
    )
    if not options.from_nothing:
        pairs = zip(earlier_weights(), model.encoder.get_weights(), strict=True)
        model.encoder.set_weights([(1 - WAY) * first + WAY * last for first, last in pairs])
    model.encoder.save_weights(folder / "encoder.weights.h5")
    print(f"losses {losses}")
    if options.ship:
        seconds = json.loads((folder / "state.json").read_text(encoding="utf-8"))["seconds"]
        start = "random weights" if options.from_nothing else FIRST
        ship(model, options.folder, seconds, recipe, count, start)


if __name__ == "__main__":
    main()
