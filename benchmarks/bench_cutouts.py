"""Cutouts per second: radiowidgets beside cutana and plain astropy, on one map and one catalogue.

10,000 cutouts of 33 to 95 pixels, centred on catalogued positions of a map of 8,000 x 8,000 pixels in a FITS file,
are brought to 64 x 64 pixels: from the file and a table of RA, Dec to one float32 array in memory. Each contender
runs in a process of its own; the map is in the page cache for all. Contenders:

- radiowidgets: `cut_sources` and `FrameSet.pixels`;
- cutana 0.4.0 (ESA), in its own environment: `create_cutouts_direct`, without stretching, so that pixels stay as
  they are;
- astropy: `Cutout2D` and skimage's `resize` (bilinear, antialiased where it shrinks), as many scripts do it;
- astropy, faster: `Cutout2D` and OpenCV's `resize` (area means where it shrinks).

Except for skimage, which antialiases by other weights, all do the same: area means where a cutout shrinks, bilinear
where it grows. Their results are compared. The rate is the best of a few calls in one process, 'first' is the first
call, with whatever is compiled or loaded then; memory is the largest RssAnon of the process above what it had
after its imports (the result alone is 156 MB).

Usage: python benchmarks/bench_cutouts.py [--number 10000] [--map-size 8000] [--repeat 3]
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from results import result

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = ROOT / "build" / "bench-cutana"
PINNED = ("cutana==0.4.0", "ipykernel==6.31.0")
SIZE = 64
TOLERANCE = 1e-4  # of the map's rms


# ------------------------------------------------------------------------------------
# what is measured, each in a process of its own


def cut_ours(place: Path, table):
    import radiowidgets as rw

    frames = rw.cut_sources(rw.SkyMap.open(place / "map.fits"), table, extent="extent", factor=1.0)
    return frames.pixels(np.arange(len(frames)), size=SIZE)[..., 0]


def cut_astropy(place: Path, table, resize):
    from astropy.coordinates import SkyCoord
    from astropy.io import fits
    from astropy.nddata import Cutout2D
    from astropy.wcs import WCS

    out = np.empty((len(table), SIZE, SIZE), np.float32)
    with fits.open(place / "map.fits", memmap=True) as hdus:
        wcs, data = WCS(hdus[0].header), hdus[0].data
        x, y = wcs.world_to_pixel(SkyCoord(table["ra"].to_numpy(), table["dec"].to_numpy(), unit="deg"))
        for k, side in enumerate(table["side"]):
            out[k] = resize(Cutout2D(data, (x[k], y[k]), int(side), wcs=wcs).data)
    return out


def cut_astropy_skimage(place: Path, table):
    from skimage.transform import resize

    return cut_astropy(
        place,
        table,
        lambda image: resize(
            image.astype(np.float32), (SIZE, SIZE), order=1, mode="edge", anti_aliasing=image.shape[0] > SIZE
        ),
    )


def cut_astropy_opencv(place: Path, table):
    import cv2

    def resize(image):
        how = cv2.INTER_AREA if image.shape[0] > SIZE else cv2.INTER_LINEAR
        return cv2.resize(np.ascontiguousarray(image, np.float32), (SIZE, SIZE), interpolation=how)

    return cut_astropy(place, table, resize)


def cutana_settings(place: Path, table):
    from cutana import get_default_config

    config = get_default_config()
    config.target_resolution = SIZE
    config.normalisation_method = "none"
    config.data_type = "float32"
    config.apply_flux_conversion = False
    config.selected_extensions = [{"name": "PRIMARY", "ext": "PrimaryHDU"}]
    config.channel_weights = {"PRIMARY": [1.0]}
    catalogue = table.rename(columns={"ra": "RA", "dec": "Dec", "side": "diameter_pixel"}).drop(
        columns="extent"
    )
    catalogue["SourceID"] = [f"s{k:06d}" for k in range(len(table))]
    catalogue["fits_file_paths"] = json.dumps([str(place / "map.fits")])
    return config, catalogue


def cut_cutana(place: Path, table):
    from cutana import create_cutouts_direct

    config, catalogue = cutana_settings(place, table)
    results = create_cutouts_direct(catalogue, config)
    out = np.empty((len(table), SIZE, SIZE), np.float32)
    for found in results:
        for cutout, about in zip(found["cutouts"], found["metadata"], strict=True):
            out[int(about["source_id"][1:])] = cutout[..., 0]
    return out


CONTENDERS = {
    "radiowidgets": cut_ours,
    "cutana": cut_cutana,
    "astropy + skimage": cut_astropy_skimage,
    "astropy + OpenCV": cut_astropy_opencv,
}
PEERS = ("cutana", "astropy + skimage", "astropy + OpenCV")


def anonymous_bytes() -> int:
    """RssAnon of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


def work(name: str, place: Path, repeat: int) -> None:
    """Run one contender and print what was measured as JSON."""
    import astropy.io.fits
    import astropy.wcs  # noqa: F401
    import pandas as pd

    if name == "radiowidgets":
        import radiowidgets.data.cutouts
        import radiowidgets.data.resampling  # noqa: F401
    elif name == "cutana":
        import cutana  # noqa: F401
    table = pd.read_parquet(place / "catalogue.parquet")
    cut = CONTENDERS[name]
    np.memmap(place / "map.fits", mode="r")[::4096].sum()  # into the page cache
    start = anonymous_bytes()
    peak, done = 0, threading.Event()

    def watch():
        nonlocal peak
        while not done.is_set():
            peak = max(peak, anonymous_bytes())
            time.sleep(0.01)

    times = []
    watcher = threading.Thread(target=watch)
    watcher.start()
    for _ in range(repeat):
        began = time.perf_counter()
        out = cut(place, table)
        times.append(time.perf_counter() - began)
        np.save(place / "results" / f"{name}.npy", out[:: max(1, len(out) // 1000)])
        del out
    done.set()
    watcher.join()
    print(json.dumps({"first": times[0], "best": min(times), "memory": peak - start}))


# ------------------------------------------------------------------------------------


def make_environment() -> Path | None:
    """Return the interpreter of the peers' environment, made on first use; None where it cannot be installed."""
    python = ENVIRONMENT / "bin" / "python"
    stamp = ENVIRONMENT / "installed"
    if stamp.exists() and stamp.read_text() == " ".join(PINNED):
        return python
    print(f"installing {' '.join(PINNED)} into {ENVIRONMENT.relative_to(ROOT)} ...", flush=True)
    try:
        subprocess.run([sys.executable, "-m", "venv", "--clear", ENVIRONMENT], check=True)
        subprocess.run(
            [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *PINNED],
            check=True, capture_output=True, text=True, timeout=900,
        )  # fmt: skip
    except (subprocess.SubprocessError, OSError) as error:
        lines = (getattr(error, "stderr", None) or str(error)).strip().splitlines() or [""]
        print(f"SKIPPED: {' '.join(PINNED)} cannot be installed ({lines[-1][:200]}); no peers are measured.")
        return None
    stamp.write_text(" ".join(PINNED))
    return python


def make_input(place: Path, side: int, number: int) -> None:
    """Write a map of noise and a catalogue of odd cutouts, which mean the same pixels to all contenders."""
    import pandas as pd
    from astropy.io import fits
    from astropy.wcs import WCS

    rng = np.random.default_rng(1)
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval = ["RA---TAN", "DEC--TAN"], [200, -30]
    wcs.wcs.crpix, wcs.wcs.cdelt = [side / 2, side / 2], [-2 / 3600, 2 / 3600]
    header = wcs.to_header()
    header["BUNIT"] = "Jy/beam"
    fits.writeto(place / "map.fits", rng.normal(size=(side, side)).astype(">f4"), header)
    x, y = rng.integers(60, side - 60, (2, number)) + 0.2
    sides = 2 * rng.integers(16, 48, number) + 1
    ra, dec = wcs.wcs_pix2world(x, y, 0)
    table = pd.DataFrame({"ra": ra, "dec": dec, "side": sides, "extent": sides * 2.0})
    table.to_parquet(place / "catalogue.parquet")
    (place / "results").mkdir()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--number", type=int, default=10_000)
    parser.add_argument("--map-size", type=int, default=8_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--worker", choices=list(CONTENDERS), help=argparse.SUPPRESS)
    parser.add_argument("--place", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.worker, options.place, options.repeat)
        return
    peers = make_environment()
    (ROOT / "build").mkdir(exist_ok=True)
    place = Path(tempfile.mkdtemp(prefix="bench-cutouts-", dir=ROOT / "build"))
    try:
        make_input(place, options.map_size, options.number)
        measured = {}
        for name in CONTENDERS:
            python = Path(sys.executable) if name == "radiowidgets" else peers
            if python is None:
                continue
            command = [python, __file__, "--worker", name, "--place", place, "--repeat", str(options.repeat)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                print(f"{name}: FAILED: {(done.stderr.strip().splitlines() or ['?'])[-1][:300]}")
                continue
            measured[name] = json.loads(done.stdout.strip().splitlines()[-1])
            report(name, measured[name], options.number, place)
        summarise(measured, options.number)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def report(name: str, figures: dict, number: int, place: Path) -> None:
    ours = np.load(place / "results" / "radiowidgets.npy")
    theirs = np.load(place / "results" / f"{name}.npy")
    apart = np.abs(theirs - ours).max(axis=(1, 2)) > TOLERANCE
    same = (
        ""
        if name == "radiowidgets"
        else f"; {100 * np.mean(~apart):.0f} % of outputs equal to {TOLERANCE:g} rms"
    )
    print(
        f"{name:22} {number / figures['best']:9,.0f} / s (first {number / figures['first']:8,.0f} / s), "
        f"{figures['memory'] / 2**20:6,.0f} MB{same}",
        flush=True,
    )


def summarise(measured: dict, number: int) -> None:
    peers = {name: measured[name] for name in PEERS if name in measured}
    if "radiowidgets" not in measured or not peers:
        return
    ours = measured["radiowidgets"]
    fastest = min(peers, key=lambda name: peers[name]["best"])
    rates = (number / ours["best"], number / peers[fastest]["best"])
    result(f"{number} cutouts to 64 px", *rates, unit="/s", more=True, than=fastest)
    print(
        json.dumps(
            {
                "cutouts_per_s": round(number / ours["best"]),
                "fastest_peer": fastest,
                "times_faster": round(peers[fastest]["best"] / ours["best"], 1),
                "times_faster_first_call": round(peers[fastest]["first"] / ours["first"], 1),
                "memory_mb": round(ours["memory"] / 2**20),
                "least_memory_of_peers_mb": round(min(peer["memory"] for peer in peers.values()) / 2**20),
            }
        )
    )


if __name__ == "__main__":
    main()
