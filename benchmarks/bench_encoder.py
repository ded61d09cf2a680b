"""The shipped encoder on real frames that it has never seen, beside random weights, frame features and PCA; its speed.

MiraBest: confident FR I and FR II, and all classes of them (FR I, its wide-angle and head tails, FR II, hybrids); five
folds, positions within a degree in one fold, drawn anew three times. Sources are shared out, by a hash of their
position, in a development half, which choices were made by, and a reporting half. MGCLS PROTEGE: the human score, folds
by map, burnt-in corners blank, colours made brightness again. Real data: RADIOWIDGETS_REALDATA, else ../shared/data.

    python benchmarks/bench_encoder.py [--card]
"""

import argparse
import hashlib
import itertools
import os
import time
from pathlib import Path

from results import result

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pandas as pd
import yaml
from astropy.io import fits
from PIL import Image
from scipy.stats import spearmanr
from sklearn.decomposition import PCA
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import radiowidgets as rw
from radiowidgets.features.frames import comparable_features, fill_features
from radiowidgets.latent.embedding import embed
from radiowidgets.models.evaluate import binomial_interval, cross_validate
from radiowidgets.models.inputs import encoder_input
from radiowidgets.models.shipped import NAME, WEIGHTS, ShippedEncoder, shipped_encoder, shipped_network

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("RADIOWIDGETS_REALDATA") or ROOT.parent / "shared" / "data")
FOLDS, REPEATS = 5, 3
CORNERS = (
    (slice(0, 28), slice(0, 64)),
    (slice(204, None), slice(0, 32)),
)  # rank and scale bar of a PROTEGE image
# Its colours: black, violet, azure, white, each stretch a third of the brightness.
COLOURS = np.array([(0, 0, 0), (130, 0, 255), (1, 214, 255), (255, 255, 255)], np.float32)


def mirabest() -> tuple[rw.FrameSet, pd.DataFrame]:
    """Return the confident sources, with a group of positions and the half of each."""
    folder = DATA / "mirabest_full_derived"
    table = pd.read_csv(folder / "labels.csv").query("confident == 1").reset_index(drop=True)
    images = [np.squeeze(fits.getdata(next(folder.rglob(name)), 1)) for name in table["file"]]
    place = [table[name].round().astype(int).astype(str) for name in ("ra", "dec")]
    table["group"] = place[0] + "_" + place[1]
    table["reporting"] = [int(hashlib.md5(g.encode()).hexdigest(), 16) % 2 == 1 for g in table["group"]]
    return rw.FrameSet.from_images([np.asarray(image, np.float32) for image in images]), table


def protege() -> tuple[rw.FrameSet, pd.DataFrame, np.ndarray]:
    """Return frames, catalogue, and the published features in its order."""
    folder = DATA / "mgcls_protege"
    table = pd.read_csv(folder / "protege_catalogue.csv")
    published = pd.read_csv(folder / "reduced_features_evaluation_set.csv").set_index("objid")
    table = table[table["objid"].isin(published.index)]
    images = []
    for name in table["image"]:
        image = brightness(np.asarray(Image.open(folder / name).convert("RGB"), np.float32))
        for corner in CORNERS:
            image[corner] = np.nan
        images.append(image)
    return rw.FrameSet.from_images(images), table, published.loc[table["objid"]].to_numpy()


def brightness(colours: np.ndarray) -> np.ndarray:
    """Return what a colour map of straight stretches was made of, (h, w) from 0 to 255: the nearest place on it."""
    best, found = np.full(colours.shape[:2], np.inf), np.zeros(colours.shape[:2], np.float32)
    for place, (start, end) in enumerate(itertools.pairwise(COLOURS)):
        along = np.clip((colours - start) @ (end - start) / np.sum((end - start) ** 2), 0, 1)
        off = np.sum((colours - start - along[..., None] * (end - start)) ** 2, -1)
        nearer = off < best
        best[nearer], found[nearer] = off[nearer], place + along[nearer]
    return found * 255 / (len(COLOURS) - 1)


def accuracy(vectors: np.ndarray, labels: pd.Series, groups: pd.Series, method: str) -> dict[str, float]:
    """Return the mean over drawings of folds, their standard deviation, and the interval of one drawing."""
    table, _ = cross_validate(
        vectors, labels.to_numpy(), groups.to_numpy(), method=method, count=FOLDS, repeats=REPEATS
    )
    hits = (table["accuracy"] * table["frames"]).groupby(table["repeat"]).sum()
    count = len(labels)
    low, high = binomial_interval(round(hits.mean()), count)
    scores = {
        "accuracy": hits.mean() / count,
        "deviation": hits.std() / count,
        "low": low,
        "high": high,
    }
    return {name: round(100 * float(value), 1) for name, value in scores.items()} | {"frames": count}


def interest(vectors: np.ndarray, table: pd.DataFrame) -> dict[str, float]:
    """Return Spearman's correlation and R2 of the human score, by ridge regression and by neighbours."""
    score, out = table["score"].to_numpy(float), {}
    folds = list(GroupKFold(FOLDS).split(vectors, score, table["original_image"]))
    for name, model in {
        "linear": RidgeCV(10.0 ** np.arange(7)),
        "neighbours": KNeighborsRegressor(12, metric="cosine", weights="distance"),
    }.items():
        guess = cross_val_predict(make_pipeline(StandardScaler(), model), vectors, score, cv=folds)
        out[f"{name}_rho"] = round(float(spearmanr(score, guess).statistic), 3)
        out[f"{name}_r2"] = round(float(1 - np.mean((score - guess) ** 2) / np.var(score)), 3)
    return out


def random_encoder() -> ShippedEncoder:
    """Return the shipped encoder with the weights that training starts from."""
    encoder = ShippedEncoder(WEIGHTS / f"{NAME}.weights.h5", WEIGHTS / f"{NAME}.yaml")
    encoder.model = shipped_network(tuple(encoder.card["widths"]), 0)
    encoder.fingerprint = ""
    return encoder


def representations(frames: rw.FrameSet) -> dict[str, np.ndarray]:
    """Return vectors of the same frames by each way."""
    looks = encoder_input(frames)[:, :, ::2, ::2, 1].reshape(len(frames), -1).astype(np.float32)
    features = fill_features(comparable_features(rw.frame_features(frames)))
    return {
        "shipped encoder": embed(frames, cache=False),
        "shipped, 8 turns": embed(frames, cache=False, turns=8),
        "random weights": embed(frames, random_encoder(), cache=False),
        "frame features": features.to_numpy(float),
        "PCA of both looks": PCA(64, random_state=0).fit_transform(looks),
    }


def judge() -> dict[str, dict]:
    """Measure and print all; return the scores of the shipped encoder."""
    frames, table = mirabest()
    two = table["fr"].isin(["FRI", "FRII"])
    kind = table["fr"].where(table["morph"] == "standard", table["fr"] + " " + table["morph"])
    many = kind.isin(kind.value_counts().index[kind.value_counts() >= 2 * FOLDS - 1])
    sets = {
        "mirabest_development": (two & ~table["reporting"], table["fr"]),
        "mirabest_reporting": (two & table["reporting"], table["fr"]),
        "mirabest": (two, table["fr"]),
        "mirabest_classes": (many, kind),
    }
    others, rated, published = protege()
    kept: dict[str, dict] = {}
    linear: dict[str, float] = {}
    rho: dict[str, float] = {}
    for name, vectors in representations(frames).items():
        for what, (chosen, labels) in sets.items():
            for method in ("linear", "knn"):
                found = accuracy(vectors[chosen], labels[chosen], table["group"][chosen], method)
                print(f"{name:18s} {what:21s} {method:7s} {found}", flush=True)
                if (what, method) == ("mirabest", "linear"):
                    linear[name] = found["accuracy"]
                if name == "shipped encoder":
                    kept[f"{what}_{method}"] = found
    for name, vectors in (representations(others) | {"BYOL, published": published}).items():
        found = interest(vectors, rated)
        print(f"{name:18s} mgcls_protege         {found}", flush=True)
        rho[name] = found["linear_rho"]
        if name == "shipped encoder":
            kept["mgcls_protege"] = found
    for what, scores, unit in (
        ("MiraBest FR I or II, linear", linear, "%"),
        ("MGCLS Protege, linear", rho, "rho"),
    ):
        ours = scores.pop("shipped encoder")
        for name, value in scores.items():
            result(what, ours, value, unit=unit, more=True, than=name)
    return kept


def speed() -> dict[str, float]:
    """Return frames of 64 pixels embedded a second, from a map; the best of three."""
    frames = rw.cut_windows(rw.simulate("emu", size=2048, seed=1), size=64)
    embed(frames.select(np.arange(512)), cache=False)
    best = 0.0
    for _ in range(3):
        begun = time.perf_counter()
        embed(frames, cache=False)
        best = max(best, len(frames) / (time.perf_counter() - begun))
    print(f"{best:.0f} frames of 64 px a second, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    result("frames of 64 px embedded", best, unit="/s", more=True)
    return {"frames_per_second": round(best)}


def main() -> None:
    """Measure; command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--card", action="store_true", help="write the scores into the model card")
    options = parser.parse_args()
    rate = speed()
    if not (DATA / "SOURCES.tsv").is_file():
        print(f"no real data in {DATA}: set RADIOWIDGETS_REALDATA.")
        return
    real = judge()
    if options.card:
        card = shipped_encoder().card
        card["scores"] |= {"real": real, "speed": rate}
        path = WEIGHTS / f"{NAME}.yaml"
        path.write_text(yaml.safe_dump(card, sort_keys=False, width=110), encoding="utf-8")


if __name__ == "__main__":
    main()
