"""Train the encoder that comes with the package, from nothing: mock skies, network, model card. `make encoder`.

It goes on where it was stopped. Nothing but this package goes in; scores on real data are measured afterwards, by
benchmarks/bench_encoder.py.
"""

import argparse
import os
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from radiowidgets.models.encoders import small, two_looks
from radiowidgets.models.inputs import CHANNELS, LOOKS, SIZE
from radiowidgets.models.mockframes import KINDS, TAKES, Turned, mock_frames
from radiowidgets.models.ssl.base import Recipe, train
from radiowidgets.models.ssl.taught import Taught

WIDTHS = (48, 96, 160)
FRAMES, SEED = 24_000, 1
RECIPE = Recipe(
    "taught", "small", len(CHANNELS), "none", batch_size=96, epochs=6, warmup_epochs=0, optimizer="adamw", rate=2e-3,
    decay=1e-2, options={"contrast_weight": 1.0, "teaching_weight": 1.0, "temperature": 0.2},
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


def main() -> None:
    """Train; command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where frames, checkpoints and results are kept")
    parser.add_argument("--frames", type=int, default=FRAMES)
    parser.add_argument("--epochs", type=int, default=RECIPE.epochs)
    parser.add_argument("--name", default="run")
    parser.add_argument("--contrast", type=float, default=1.0, help="weight of NT-Xent")
    parser.add_argument("--teaching", type=float, default=1.0, help="weight of what the mocks know")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    looks, kinds = frames_of(options.folder, "train", max(options.frames, FRAMES), SEED)
    frames_of(options.folder, "validation", 3000, 900)
    recipe = RECIPE.but(
        epochs=options.epochs,
        options=RECIPE.options | {"contrast_weight": options.contrast, "teaching_weight": options.teaching},
    )
    model = build(recipe.options)
    begun = time.time()
    folder = options.folder / options.name
    losses = train(
        model,
        Turned(np.asarray(looks[: options.frames]), SEED),
        recipe,
        folder,
        labels=kinds[: options.frames],
        seed=SEED,
        verbose=2,
    )
    model.encoder.save_weights(folder / "encoder.weights.h5")
    print(f"losses {losses}; {time.time() - begun:.0f} s in this run")


if __name__ == "__main__":
    main()
