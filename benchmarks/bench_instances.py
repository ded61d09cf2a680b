"""Instance detection from random and from self-supervised weights, at 1, 10 and 100 % of labels (peculiar-frames 4).

The layout of Figures 9 and 10, on mock maps: object F1 of the five classes and of SOURCE, at a score of 0.5 and an
intersection over union of the masks of 0.6. Frames of 128 pixels; training frames are balanced, those of the test are
cut anywhere from other maps. SimCLR sees frames of a third set of maps, without their labels. Each training has the
same number of steps, whatever the share of labels. Nothing was chosen on the test frames.

Checkpoints are kept: a run that was stopped goes on. Figure 9 freezes the backbone: --frozen.

Usage: python benchmarks/bench_instances.py [--encoder small|resnet18] [--frames 300] [--test 100] [--steps 1500]
       [--shares 1 10 100] [--seeds 1] [--frozen] [--folder build/bench_instances]

As it stands, 'small' takes about an hour of one CPU thread. On a GPU: --encoder resnet18
--frames 3000 --test 500 --steps 6000 --ssl-epochs 100 --maps 6 --seeds 5.
"""

import argparse
import json
import os
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pandas as pd
from results import result

import radiowidgets as rw
from radiowidgets.data.recipes import three_channels
from radiowidgets.finding.instances import CLASSES, SURVEYS, mock_instances, score_instances
from radiowidgets.finding.maskrcnn import InstanceRecipe, load_encoder, train_instances
from radiowidgets.models.ssl.base import RECIPES, make_method, train

ROOT = Path(__file__).resolve().parents[1]
TRAIN, TEST, UNLABELLED = 11, 14, 13  # seeds of the maps


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--encoder", choices=("small", "resnet18"), default="small")
    parser.add_argument("--frames", type=int, default=300, help="training frames at 100 %% of labels")
    parser.add_argument("--test", type=int, default=100)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument(
        "--shares", type=float, nargs="+", default=[100, 10, 1], help="of labels, in per cent"
    )
    parser.add_argument("--starts", nargs="+", choices=("random", "ssl"), default=["random", "ssl"])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--frozen", action="store_true", help="the backbone learns nothing: Figure 9")
    parser.add_argument("--ssl-epochs", type=int, default=3)
    parser.add_argument("--maps", type=int, default=1, help="of each of the mock surveys, for each set")
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "bench_instances")
    args = parser.parse_args()
    encoder = pretrain(args) if "ssl" in args.starts else None
    data = mock_instances(args.frames, TRAIN, maps_each=args.maps)
    test = mock_instances(args.test, TEST, maps_each=args.maps, balanced=False)
    print(
        f"train: {len(data)} frames, {data.counts()}\ntest: {len(test)} frames, {test.counts()}", flush=True
    )
    for share in args.shares:
        for start in args.starts:
            for seed in range(args.seeds):
                run(args, data, test, share, start, seed, encoder if start == "ssl" else None)
                show(args)


def pretrain(args: argparse.Namespace) -> Path:
    """Train an encoder by SimCLR on windows of mock maps; return the folder of its checkpoints."""
    folder = args.folder / f"simclr-{args.encoder}"
    recipe = RECIPES["peculiar-frames-hulk"].but(
        encoder=args.encoder, batch_size=128, epochs=args.ssl_epochs, warmup_epochs=1
    )
    frames = []
    for place, (name, changes) in enumerate(SURVEYS):
        for number in range(args.maps):
            sky = rw.simulate(name, 1024, UNLABELLED * 1000 + 31 * number + place, blank=0.0, **changes)
            windows = rw.cut_windows(sky, size=64, step=48)
            pixels = windows.pixels(np.arange(len(windows)))[..., 0]
            frames.append(np.rint(255 * three_channels(pixels, 64)).astype(np.uint8))
    frames = np.concatenate(frames)
    begun = time.process_time()
    losses = train(make_method(recipe), frames, recipe, folder)
    print(
        f"SimCLR, {args.encoder}: {len(frames)} frames of 64 pixels, {2 * len(frames) * args.ssl_epochs} views, losses "
        f"{np.round(losses, 2).tolist()}, {time.process_time() - begun:.0f} s of CPU now",
        flush=True,
    )
    return folder


def run(args, data, test, share, start, seed, encoder) -> None:
    """Train once and test, unless that was done."""
    name = f"{args.encoder}-{start}-{share:g}-{seed}{'-frozen' if args.frozen else ''}"
    place = args.folder / name
    if (place / "f1.json").exists():
        return
    count = max(4, round(len(data) * share / 100))
    own = data.select(np.random.default_rng(seed).permutation(len(data))[:count])
    recipe = InstanceRecipe(args.encoder, frozen=args.frozen, steps=args.steps)
    begun = time.process_time()
    finder = train_instances(
        own,
        recipe,
        None if encoder is None else load_encoder(encoder),
        place,
        seed=seed,
        about={"start": start},
    )
    trained = time.process_time() - begun
    begun = time.process_time()
    scores = score_instances(finder.detect(test.images), test)
    told = {
        "start": start, "share": share, "frames": count, "seed": seed, "frozen": args.frozen,
        "encoder": args.encoder, "training_cpu_s": trained, "test_cpu_s": time.process_time() - begun,
        "f1": scores["f1"].to_dict(), "loss": finder.history["loss"],
    }  # fmt: skip
    finder.save(place / "model")
    (place / "scores.csv").write_text(scores.to_csv())
    (place / "f1.json").write_text(json.dumps(told, indent=1))
    print(f"\n{name}: {trained:.0f} s of CPU\n{scores.round(3).to_string()}", flush=True)


def show(args: argparse.Namespace) -> None:
    """Print F1 in per cent, mean and standard deviation over seeds."""
    rows = [json.loads(path.read_text()) for path in sorted(args.folder.glob("*/f1.json"))]
    table = pd.DataFrame(
        [row | {name: 100 * row["f1"][name] for name in (*CLASSES, "SOURCE")} for row in rows]
    )
    groups = table.groupby(["encoder", "frozen", "share", "frames", "start"])[[*CLASSES, "SOURCE"]]
    print("\nF1 in per cent")
    print(groups.mean().round(1).to_string())
    if args.seeds > 1:
        print("standard deviation over seeds")
        print(groups.std().round(1).to_string(), flush=True)
    for share, start in table.groupby(["share", "start"])["SOURCE"].mean().unstack().iterrows():
        if {"ssl", "random"} <= set(start.dropna().index):
            what = f"objects by Mask R-CNN, {share:g} % of the labels, F1 of SOURCE"
            result(what, start["ssl"], start["random"], unit="%", more=True, than="ours, random weights")


if __name__ == "__main__":
    main()
