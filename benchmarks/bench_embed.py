"""Time and memory of embedding frames of a large map, and of bringing them to the plane by UMAP, beside the usual ways.

55,773 frames of 128 pixels (as many as peculiar-frames has of the EMU pilot survey), views on one mock map in a FITS
file. Each contender runs in a process of its own; the map is in the page cache for all. Contenders:

- radiowidgets: `embed` by the shipped encoder (what it is fed at 64 pixels is made on the way), the part of making that
  input, and a second call that the cache answers;
- a script: `Cutout2D`, `ZScaleInterval` and Pillow's `resize` frame by frame, then `predict` of MobileNetV2 with its
  pooled features (Keras applications, 64 x 64 x 3, random weights: speed asks for no others), on --script frames;
- `project` by UMAP of those vectors, first and second call, and umap-learn itself on them: as it comes (all cores, no
  seed) and seeded (one core). UMAP's compilation is in all three.

Memory is the largest RssAnon of the process above what it had after its imports.

Usage: python benchmarks/bench_embed.py [--number 55773] [--script 2000] [--no-umap]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from results import result

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

SIZE, NETWORK, STEP = 128, 64, 32


def grid(number: int) -> int:
    """Return how many windows a side hold so many in all."""
    return int(np.ceil(np.sqrt(number)))


def cut(place: Path, number: int):
    """Return the frames as views on the map."""
    import radiowidgets as rw

    frames = rw.cut_windows(rw.SkyMap.open(place / "map.fits"), size=SIZE, step=STEP)
    return frames.select(np.arange(number))


def timed(work) -> tuple[float, object]:
    start = time.perf_counter()
    done = work()
    return time.perf_counter() - start, done


# ------------------------------------------------------------------------------------
# what is measured: each prepares, and returns the works to time


def ours(place: Path, number: int):
    from radiowidgets.latent.embedding import embed
    from radiowidgets.models.inputs import encoder_input
    from radiowidgets.models.shipped import shipped_encoder

    frames, encoder = cut(place, number), shipped_encoder()
    embed(frames.select(np.arange(512)), cache=False)  # weights are read, kernels compiled

    def whole():
        vectors = embed(frames, cache=place / "cache")
        np.save(place / "vectors.npy", vectors)

    def inputs():
        for start in range(0, number, 2048):
            encoder_input(frames.select(np.arange(start, min(start + 2048, number))))

    return {
        "embed": whole,
        "embed again, cached": lambda: embed(frames, encoder, cache=place / "cache"),
        "of which input": inputs,
    }


def script(place: Path, number: int):
    import keras
    from astropy.io import fits
    from astropy.nddata import Cutout2D
    from astropy.visualization import ZScaleInterval
    from PIL import Image

    model = keras.applications.MobileNetV2(
        (NETWORK, NETWORK, 3), include_top=False, weights=None, pooling="avg"
    )
    a_side = grid_of_map(place)

    def run(count):
        stretch = ZScaleInterval()
        images = np.empty((count, NETWORK, NETWORK, 3), np.float32)
        with fits.open(place / "map.fits", memmap=True) as hdus:
            data = hdus[0].data
            for k in range(count):
                y, x = divmod(k, a_side)
                image = Cutout2D(data, (x * STEP + SIZE / 2 - 0.5, y * STEP + SIZE / 2 - 0.5), SIZE).data
                low, high = stretch.get_limits(image)
                image = np.clip((image - low) / (high - low), 0, 1).astype(np.float32)
                images[k] = np.asarray(Image.fromarray(image).resize((NETWORK, NETWORK)))[..., None]
        return model.predict(images, batch_size=256, verbose=0)

    run(256)
    return {"script with MobileNetV2": lambda: run(number)}


def grid_of_map(place: Path) -> int:
    from astropy.io import fits

    return (fits.getheader(place / "map.fits")["NAXIS1"] - SIZE) // STEP + 1


def our_umap(place: Path, number: int):
    import radiowidgets as rw

    vectors = np.load(place / "vectors.npy")[:number]
    work = lambda: rw.project(vectors, cache=place / "plane")  # noqa: E731
    return {"project": work, "project again, cached": work}


def umap_learn(place: Path, number: int, **options):
    import umap

    vectors = np.load(place / "vectors.npy")[:number]
    name = "umap-learn, seeded" if options else "umap-learn, no seed"
    return {name: lambda: umap.UMAP(**options).fit_transform(vectors)}


CONTENDERS = {
    "ours": ours,
    "script": script,
    "our umap": our_umap,
    "umap-learn": umap_learn,
    "umap-learn seeded": lambda place, number: umap_learn(place, number, random_state=0),
}


class Memory:
    """Watches the anonymous memory of this process (RssAnon: what the page cache cannot give back)."""

    def __enter__(self) -> "Memory":
        self.first = self.peak = anonymous_bytes()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.02):
            self.peak = max(self.peak, anonymous_bytes())


def anonymous_bytes() -> int:
    """RssAnon of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


def run_here(name: str, place: Path, number: int) -> None:
    """Run one contender and print what was measured as JSON."""
    found = {}
    for what, work in CONTENDERS[name](place, number).items():
        with Memory() as memory:
            seconds, _ = timed(work)
        found[what] = {
            "seconds": round(seconds, 2),
            "frames_per_second": round(number / seconds),
            "memory_mb": round((memory.peak - memory.first) / 1e6),
        }
    print(json.dumps(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--number", type=int, default=55_773, help="frames")
    parser.add_argument("--script", type=int, default=2000, help="frames of the script, whose time is scaled")
    parser.add_argument("--no-umap", action="store_true", help="leave the projections out")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        run_here(args.one[0], Path(args.one[1]), args.number)
        return
    import radiowidgets as rw

    with tempfile.TemporaryDirectory() as folder:
        side = (grid(args.number) - 1) * STEP + SIZE
        rw.simulate("emu", size=side, seed=1, blank=0.0).write(Path(folder) / "map.fits")
        print(f"{args.number} frames of {SIZE} px on a map of {side} px, {os.cpu_count()} cores, ", end="")
        print(f"load {os.getloadavg()[0]:.1f}")
        times: dict[str, float] = {}
        for name in CONTENDERS:
            if "umap" in name and args.no_umap:
                continue
            number = min(args.script, args.number) if name == "script" else args.number
            command = [sys.executable, __file__, "--one", name, folder, "--number", str(number)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            for what, found in json.loads(done.splitlines()[-1]).items():
                scaled = times[what] = found["seconds"] * args.number / number
                note = f" ({number} frames, scaled)" if number != args.number else ""
                print(
                    f"{what:26s} {scaled:9.1f} s {found['frames_per_second']:9d} frames/s "
                    f"{found['memory_mb']:6d} MB{note}",
                    flush=True,
                )
        script_time = times["script with MobileNetV2"]
        result(f"embed {args.number} frames", times["embed"], script_time, than="Cutout2D, MobileNetV2")
        if not args.no_umap:
            peer = times["umap-learn, no seed"]
            result(f"lay {args.number} vectors out", times["project"], peer, than="umap-learn, no seed")


if __name__ == "__main__":
    main()
