"""The networks of compact-sources on real radio galaxies and on the mock of the Galactic plane.

'mirabest': confident FRI and FRII of MiraBest, five splits of 55/15/30 grouped by sky field, beside extra trees on
the frame features. 'mock': Table 9 with the paper's numbers beside ours, on the sources that bench_compact.py makes
(and makes here, if they are not there), in five bands; 'table8' trains all of Table 8 on them.

Checkpoints are kept: a run that was stopped goes on. Nothing was looked at after a test score was known.

Usage: python benchmarks/bench_networks.py [--only mirabest|mock|table8] [--splits 5] [--networks custom_v1 resnet18]
       [--folder build/bench_networks] [--fields 12]

As it stands it trains custom_v1 on MiraBest, minutes on two free cores; the whole of it takes hours:
python benchmarks/bench_networks.py --only mirabest --only mock --networks custom_v1 resnet18

The real data are found through RADIOWIDGETS_REALDATA, else ../shared/data.
"""

import argparse
import os
import time
from pathlib import Path

from results import result

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pandas as pd

import radiowidgets as rw
from radiowidgets.data.bands import FIVE_BANDS, open_bands
from radiowidgets.models.cnn import NETWORKS, NetworkRecipe, radio_masks, repeat_splits, source_images
from radiowidgets.models.evaluate import over_splits

ROOT = Path(__file__).resolve().parents[1]
CLASSES = ("PN", "HII", "PULSAR", "YSO", "STAR", "RG", "QSO")
#: Tables 8 and 9: F1 in per cent, weighted in the last place.
PAPER_8 = {
    "custom_v1": 80.7, "custom_v2": 80.5, "custom_v3": 81.3, "custom_v4": 80.2, "custom_v5": 78.8, "custom_v6": 81.3,
    "resnet18": 80.1,
}  # fmt: skip
PAPER_9 = {
    ("custom_v1", "mixed"): (68.3, 86.2, 64.0, 41.0, 38.8, 85.6, 83.3, 80.7),
    ("custom_v1", "askap"): (67.2, 90.5, 63.1, 40.6, 52.4, 84.1, 77.8, 80.4),
    ("resnet18", "mixed"): (74.6, 88.8, 71.6, 52.1, 41.0, 84.2, 78.6, 80.1),
    ("resnet18", "askap"): (66.9, 92.6, 52.4, 49.0, 37.5, 85.3, 81.9, 82.0),
}
#: All stop as the paper's do; resnet18 gets fewer epochs, which is what two cores can do. Less patience ended its
#: training on MiraBest, three batches an epoch, before the running means of its normalisation had settled.
RECIPES = {
    name: NetworkRecipe(name, epochs=60 if name == "resnet18" else 300, patience=30) for name in NETWORKS
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=("mirabest", "mock", "table8"), action="append")
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=["custom_v1"])
    parser.add_argument("--epochs", type=int, help="at most so many, to see that it works")
    parser.add_argument("--fields", type=int, default=12, help="mock fields of bench_compact.py")
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "bench_networks")
    parser.add_argument("--compact", type=Path, default=ROOT / "build" / "bench_compact")
    args = parser.parse_args()
    chosen = args.only or ["mirabest"]
    if "mirabest" in chosen:
        real_galaxies(args)
    for what in ("mock", "table8"):
        if what in chosen:
            mock_sources(args, what == "table8")


def recipe_of(name: str, args: argparse.Namespace) -> NetworkRecipe:
    recipe = RECIPES[name]
    return recipe if args.epochs is None else recipe.but(epochs=args.epochs)


def show(f1: pd.DataFrame) -> list[str]:
    """Return mean and standard deviation over splits of each column."""
    spread = f1.std(ddof=1) if len(f1) > 1 else f1.mean() * np.nan
    return [f"{mean:.1f}±{sd:.1f}" for mean, sd in zip(f1.mean(), spread, strict=True)]


# ------------------------------------------------------------------------------------
# real radio galaxies


def real_galaxies(args: argparse.Namespace) -> None:
    """Print F1 and accuracy on MiraBest."""
    from astropy.io import fits
    from bench_ssl import sky_fields

    root = (
        Path(os.environ.get("RADIOWIDGETS_REALDATA", ROOT.parent / "shared" / "data"))
        / "mirabest_full_derived"
    )
    if not root.is_dir():
        print("mirabest: no real data, left out")
        return
    table = pd.read_csv(root / "labels.csv")
    table = table[(table["confident"] == 1) & table["fr"].isin(["FRI", "FRII"])]
    images = [np.asarray(fits.getdata(root / "fits" / name, 1), np.float32) for name in table["file"]]
    frames = rw.FrameSet.from_images(images)
    labels, fields = table["fr"].to_numpy(), sky_fields(table["ra"], table["dec"])
    print(
        f"MiraBest: {len(labels)} sources, {dict(table['fr'].value_counts())}, {len(set(fields))} sky fields"
    )
    rows = {
        "extra trees, frame features": over_splits(
            trees(frames, labels), labels, ["FRI", "FRII"], fields, count=args.splits
        )
    }
    print_real(rows)
    pixels = source_images(frames)
    for name in args.networks:
        start = time.perf_counter()
        folder = args.folder / "mirabest" / name
        rows[name] = repeat_splits(
            pixels, labels, recipe_of(name, args), groups=fields, count=args.splits, folder=folder
        )
        print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)
        print_real(rows)
    means = {name: float(f1["ALL"].mean()) for name, (f1, _) in rows.items() if "ALL" in f1}
    trees_f1 = means.pop("extra trees, frame features", None)
    for name, value in means.items():
        result(f"MiraBest FR I or II, F1 of {name}", value, trees_f1, unit="%", more=True, than="extra trees")


def trees(frames: rw.FrameSet, labels: np.ndarray):
    """Return what trains and asks extra trees on the frame features; they need no validation data."""
    from sklearn.ensemble import ExtraTreesClassifier

    from radiowidgets.features.frames import comparable_features, fill_features

    rows = fill_features(comparable_features(rw.frame_features(frames))).to_numpy(float)

    def answer(train, valid, tested, seed):
        both = np.concatenate([train, valid])
        model = ExtraTreesClassifier(500, min_samples_leaf=2, n_jobs=2, random_state=seed)
        shares = model.fit(rows[both], labels[both]).predict_proba(rows[tested])
        return pd.DataFrame({"label": model.classes_[shares.argmax(1)], "probability": shares.max(1)})

    return answer


def print_real(rows: dict) -> None:
    table = pd.DataFrame(index=["FRI", "FRII", "F1", "accuracy"])
    for name, (f1, found) in rows.items():
        accuracy = found.groupby("split").apply(
            lambda part: 100 * (part["label"] == part["predicted"]).mean()
        )
        table[f"{name} ({len(f1)} splits)"] = show(f1.assign(accuracy=accuracy))
    print(
        "\nFRI against FRII, F1 and accuracy in per cent, mean and deviation over splits grouped by sky field\n"
    )
    print(table.T.to_string(), "\n", flush=True)


# ------------------------------------------------------------------------------------
# the mock of the Galactic plane


def mock_sources(args: argparse.Namespace, all_networks: bool) -> None:
    """Print Table 9, or Table 8, on the sources of bench_compact.py."""
    from bench_compact import dataset, five_band_rows

    table = five_band_rows(dataset(args.compact, args.fields))
    images = mock_images(args.compact, table)
    labels, objects = table["label"].to_numpy(), table["object"].to_numpy()
    askap = (table["survey"] == "askap").to_numpy()
    print(f"mock: {len(table)} sources, {dict(table['label'].value_counts())}; {askap.sum()} seen by ASKAP")
    filled = [float(images[own, ..., 0].mean()) for own in (~askap, askap)]
    print(
        f"mean of the radio images, their brightest pixel being 1: {filled[0]:.2f} VLA, {filled[1]:.2f} ASKAP"
    )
    tests = {"mixed": None} if all_networks else {"mixed": None, "askap": askap}
    done = {}
    for name in list(NETWORKS) if all_networks else args.networks:
        for kind, test in tests.items():
            start = time.perf_counter()
            folder = args.folder / "mock" / name / kind
            options = {
                "classes": CLASSES,
                "groups": objects,
                "test": test,
                "count": args.splits,
                "folder": folder,
            }
            f1, found = repeat_splits(images, labels, recipe_of(name, args), **options)
            done[name, kind] = f1
            print(f"{name}, {kind}: {time.perf_counter() - start:.0f} s", flush=True)
            print_mock(done, all_networks)
            if name == "custom_v1":
                shares = pd.crosstab(found["label"], found["predicted"], normalize="index")
                print("Figure 8, per cent of each class:\n", (100 * shares).round(1).to_string(), flush=True)


def mock_images(folder: Path, table: pd.DataFrame) -> np.ndarray:
    """Return the images of the sources of a table, from the cutouts that their features were measured on."""
    from bench_compact import WIDTH

    found = {}
    for place in sorted(folder.glob("field-*/bands")):
        frames = open_bands(place)
        mine = np.flatnonzero(np.isin(frames.frame_ids, table.index))
        frames = frames.select(mine)
        pixels = source_images(frames, radio_masks(frames), inner=2.5 / WIDTH, bands=FIVE_BANDS)
        found.update(zip(frames.frame_ids, pixels, strict=True))
    return np.stack([found[name] for name in table.index])


def print_mock(done: dict, all_networks: bool) -> None:
    if all_networks:
        rows = {name: [f"{PAPER_8[name]:.1f}", show(f1)[-1], len(f1)] for (name, _), f1 in done.items()}
        print("\nTable 8, weighted F1 in per cent\n")
        print(
            pd.DataFrame.from_dict(rows, orient="index", columns=["paper", "ours", "splits"]).to_string(),
            "\n",
            flush=True,
        )
        return
    print("\nTable 9, F1 in per cent; splits by object\n")
    for (name, kind), f1 in done.items():
        both = {"paper": PAPER_9[name, kind], "ours": show(f1)}
        print(pd.DataFrame(both, [*CLASSES, "ALL"]).T.to_string())
        print(f"   {name}, {kind}, {len(f1)} splits\n", flush=True)


if __name__ == "__main__":
    main()
