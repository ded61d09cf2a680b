"""One large map ranked by one and by two processes, and what a frame costs from 1,000 to 1,000,000 of them.

A map of 20,000 x 20,000 pixels (float32, 1.6 GB; that of bench_frames.py) is written to a temporary folder, and ranked
by the command `radiowidgets rank --embed` in frames of 256 pixels at step 128, about 24,000: by one process, by two,
and by two of which one is killed on the way. Told are wall-clock seconds, the largest sum of RssAnon over the process
and its workers (what the page cache cannot give back), and whether frames, features, vectors and scores are the same
bytes. Then 1,000 to 1,000,000 views of 64 pixels on the same map go through `Run.build`, each number in a process of
its own after a short run that loads and compiles: microseconds a frame for measuring, embedding and ranking, memory,
and the size of the run folder; seconds of all cores too, which a busy machine changes less. Frames beyond 100,000 are
embedded only with --full; the million then takes longest. Last, run folders of 100,000 and 1,000,000 views with made-up
features, vectors and scores are opened: their bytes on disk, the memory that each table takes, and that of a ranking.

From what was measured it works out a survey: EMU, 75 % of the sky at 2 arcsec a pixel.

Usage: python benchmarks/bench_scale.py [--size 20000] [--largest 1000000] [--full] [--only command|frames|tables]
"""

import argparse
import hashlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import psutil
from bench_frames import write_map
from results import result

from radiowidgets.parallel import available_cores

SIZE, STEP = 256, 128
VIEW = 64
DIMENSIONS = 64  # of a vector
SURVEY_SHARE, SURVEY_PIXEL = 0.75, 2.0  # of the sky; arcsec
EMBEDDED = 100_000  # frames that are embedded without --full


class Memory:
    """Watches the anonymous memory of a process and of those it started."""

    def __init__(self, pid: int) -> None:
        self.process, self.peak = psutil.Process(pid), 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "Memory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def workers(self) -> list[psutil.Process]:
        """Worker processes of Dask, the largest first."""
        try:
            found = [
                p for p in self.process.children(recursive=True) if "spawn_main" in " ".join(p.cmdline())
            ]
            return sorted(found, key=anonymous, reverse=True)
        except psutil.Error:
            return []

    def _watch(self) -> None:
        while not self._stop.wait(0.1):
            try:
                family = [self.process, *self.process.children(recursive=True)]
            except psutil.Error:
                return
            self.peak = max(self.peak, sum(map(anonymous, family)))


def anonymous(process: psutil.Process) -> int:
    """RssAnon of a process, 0 of one that is gone."""
    try:
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
        return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon")), 0)
    except OSError:
        return 0


def children_seconds() -> float:
    """Seconds of all cores that ended children took, and their own."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def digests(run: Path) -> dict[str, str]:
    """Hashes of what a build made, but not of run.yaml, which tells the time."""
    places = [*run.glob("*.parquet"), *(run / "embedding.zarr").rglob("*")]
    return {
        str(place.relative_to(run)): hashlib.sha256(place.read_bytes()).hexdigest()
        for place in places
        if place.is_file()
    }


def command(path: Path, run: Path, processes: int, kill: bool = False) -> dict[str, object]:
    """Rank a map by the command; seconds and memory."""
    arguments = ["rank", str(path), "-o", str(run), "--size", str(SIZE), "--step", str(STEP), "--embed"]
    started = time.perf_counter()
    before = children_seconds()
    work = subprocess.Popen(
        [sys.executable, "-m", "radiowidgets.cli", *arguments, "--quiet", "--processes", str(processes)]
    )
    killed = False
    with Memory(work.pid) as memory:
        while work.poll() is None:
            time.sleep(0.05)
            if kill and not killed and len(list((run / "parts").glob("*.parquet"))) >= 2:
                workers = memory.workers()
                if workers:
                    os.kill(workers[0].pid, signal.SIGKILL)
                    killed = True
    if work.returncode:
        sys.exit(f"radiowidgets rank ended with {work.returncode}")
    return {
        "seconds": round(time.perf_counter() - started, 1),
        "core_seconds": round(children_seconds() - before, 1),
        "peak_anonymous_GB": round(memory.peak / 1e9, 2),
        "worker_killed": killed,
    }


def by_processes(path: Path, folder: Path) -> dict[str, object]:
    """The command with one process, with two, and with two of which one is killed."""
    import radiowidgets as rw

    found: dict[str, object] = {"frames": len(rw.cut_windows(rw.SkyMap.open(path), SIZE, STEP))}
    first: dict[str, str] = {}
    for name, processes, kill in (
        ("1 process", 1, False),
        ("2 processes", 2, False),
        ("2, one killed", 2, True),
    ):
        run = folder / name.replace(" ", "-").replace(",", "")
        told = command(path, run, processes, kill)
        made = digests(run)
        first = first or made
        told["same_bytes"] = made == first
        told["run_MB"] = round(sum(p.stat().st_size for p in run.rglob("*") if p.is_file()) / 1e6, 1)
        found[name] = told
        print(f"{name:16s} {told}", flush=True)
        shutil.rmtree(run)
    one, two = found["1 process"]["seconds"], found["2 processes"]["seconds"]
    result(
        f"rank a map of {path.stat().st_size / 1e9:.1f} GB by 2 processes", two, one, than="ours, 1 process"
    )
    return found


def views(path: Path, number: int):
    """So many views of one size on the map."""
    import radiowidgets as rw

    sky = rw.SkyMap.open(path)
    a_side = int(np.ceil(np.sqrt(number)))
    step = max(1, min(VIEW // 2, (min(sky.shape) - VIEW) // max(1, a_side - 1)))
    frames = rw.cut_windows(sky, size=VIEW, step=step)
    if len(frames) < number:
        sys.exit(f"the map holds {len(frames)} frames, not {number}; give a larger --size")
    return frames.select(np.arange(number))


def one(path: Path, number: int, embed: bool) -> None:
    """Build a run of views and print what it cost."""
    import radiowidgets as rw
    import radiowidgets.run as module
    from radiowidgets.latent import embedding
    from radiowidgets.run import chunks

    spent = {"rank": 0.0, "embed": 0.0}

    def timed(name, function):
        def work(*arguments, **keywords):
            begun = time.perf_counter()
            try:
                return function(*arguments, **keywords)
            finally:
                spent[name] += time.perf_counter() - begun

        return work

    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        rw.Run.build(Path(folder) / "warm", views(path, 500), embed=embed, progress=False)
        module.rank = timed("rank", module.rank)
        chunks.embed = timed("embed", embedding.embed)
        frames = views(path, number)
        before = anonymous(psutil.Process())
        with Memory(os.getpid()) as memory:
            begun, used = time.perf_counter(), time.process_time()
            run = rw.Run.build(Path(folder) / "run", frames, embed=embed, progress=False)
            whole, used = time.perf_counter() - begun, time.process_time() - used
        size = sum(place.stat().st_size for place in run.path.rglob("*") if place.is_file())
    rest = whole - sum(spent.values())
    each = {"measure": rest, **spent, "all": whole}
    print(
        json.dumps(
            {
                "frames": number,
                "embedded": embed,
                "seconds": round(whole, 1),
                "core_microseconds_a_frame": round(1e6 * used / number, 1),
                "microseconds_a_frame": {
                    name: round(1e6 * value / number, 1) for name, value in each.items()
                },
                "memory_MB": round((memory.peak - before) / 1e6),
                "run_bytes_a_frame": round(size / number),
            }
        )
    )


def by_number(path: Path, largest: int, full: bool) -> list[dict[str, object]]:
    """The cost of a frame, for more and more of them."""
    rows = []
    for number in (1_000, 10_000, 100_000, 1_000_000):
        if number > largest:
            break
        for embed in (False, True):
            if embed and number > EMBEDDED and not full:
                continue
            asked = ["--one", str(path), str(number), str(int(embed))]
            done = subprocess.run(
                [sys.executable, __file__, *asked], check=True, stdout=subprocess.PIPE, text=True
            )
            rows.append(json.loads(done.stdout.splitlines()[-1]))
            print(rows[-1], flush=True)
    return rows


def made_up(path: Path, number: int):
    """A run folder of so many views of a small map, with numbers made up for all that is known of them."""
    import pandas as pd

    import radiowidgets as rw
    from radiowidgets.features.frames import FEATURES
    from radiowidgets.ranking.isolation import score_table

    rng = np.random.default_rng(3)
    side = int(np.ceil(np.sqrt(number))) + VIEW - 1
    sky = rw.SkyMap.from_array(rng.normal(size=(side, side)).astype(np.float32), name="mock")
    frames = rw.cut_windows(sky, size=VIEW, step=1).select(np.arange(number))
    frames.set_noise(*rng.random((3, number), np.float32))
    ids = pd.Index(frames.frame_ids, name="frame_id")
    features = pd.DataFrame(rng.random((number, len(FEATURES)), np.float32), ids, list(FEATURES))
    vectors = rng.random((number, DIMENSIONS), np.float32)
    scores = score_table(frames.frame_ids, rng.random(number))
    return rw.Run.create(path, frames, vectors, scores, features)


def opened(path: Path) -> None:
    """Open a run folder table by table and print what each takes."""
    import radiowidgets as rw

    rows = {}
    process = psutil.Process()
    warm = rw.Run.open(path.with_name("warm"))
    warm.table()
    rw.rank(warm.frames, features=warm.features)

    def step(name, work):
        before, begun = anonymous(process), time.perf_counter()
        held.append(work())
        rows[name] = {
            "seconds": round(time.perf_counter() - begun, 2),
            "bytes_a_frame": round((anonymous(process) - before) / number),
        }

    held = []
    number = len(rw.Run.open(path).frames)
    run = None

    def open_it():
        nonlocal run
        run = rw.Run.open(path)
        return run

    begin = anonymous(process)
    with Memory(os.getpid()) as memory:
        step("open", open_it)
        step("scores", lambda: run.scores)
        step("features", lambda: run.features)
        step("embedding", lambda: run.embedding)
        step("table of everything", run.table)
        step("place of a frame by its id", lambda: run.frames.index_of(run.frames.frame_id(number - 1)))
    rows["peak"] = {"bytes_a_frame": round((memory.peak - begin) / number)}
    if number <= EMBEDDED:
        begin, begun = anonymous(process), time.perf_counter()
        with Memory(os.getpid()) as memory:
            rw.rank(run.frames, features=run.features)
        took = round(time.perf_counter() - begun, 1)
        rows["rank"] = {"seconds": took, "bytes_a_frame": round((memory.peak - begin) / number)}
    files = {
        place.name: round(
            sum(f.stat().st_size for f in [place, *place.rglob("*")] if f.is_file()) / number, 1
        )
        for place in sorted(path.iterdir())
        if place.name != "maps"
    }
    print(json.dumps({"frames": number, "file_bytes_a_frame": files, "memory": rows}))


def by_tables(folder: Path, largest: int) -> list[dict[str, object]]:
    """Bytes on disk and in memory of run folders."""
    made_up(folder / "warm", 500)
    rows = []
    for number in (100_000, 1_000_000):
        if number > largest:
            break
        made_up(folder / "tables", number)
        asked = [sys.executable, __file__, "--opened", str(folder / "tables")]
        done = subprocess.run(asked, check=True, stdout=subprocess.PIPE, text=True)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
        print(rows[-1], flush=True)
        shutil.rmtree(folder / "tables")
    return rows


def survey(frames: int, told: dict[str, object]) -> dict[str, object]:
    """What EMU costs at the rates of the command: frames, bytes of pixels, core hours, bytes of the run."""
    pixels = SURVEY_SHARE * 4 * np.pi * np.degrees(1) ** 2 * (3600 / SURVEY_PIXEL) ** 2
    number = pixels / STEP**2
    return {
        "frames": round(number),
        "map_TB": round(4 * pixels / 1e12, 2),
        "core_hours": round(told["core_seconds"] / frames * number / 3600),
        "run_GB": round(told["run_MB"] / 1e3 / frames * number, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=20_000, help="width and height of the map in pixels")
    parser.add_argument("--largest", type=int, default=1_000_000, help="number of views at most")
    parser.add_argument("--full", action="store_true", help="embed a million frames too")
    parser.add_argument("--only", choices=["command", "frames", "tables"], help="one of the parts")
    parser.add_argument(
        "--folder", help="where the map and the runs are written (default: a temporary folder)"
    )
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--opened", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.opened:
        opened(Path(options.opened))
        return
    if options.one:
        one(Path(options.one[0]), int(options.one[1]), options.one[2] == "1")
        return
    with tempfile.TemporaryDirectory(prefix="scale-", dir=options.folder) as name:
        folder = Path(name)
        found: dict[str, object] = {"map": options.size, "cores": available_cores()}
        print(f"{available_cores()} cores, load {os.getloadavg()[0]:.1f}", flush=True)
        if options.only in (None, "tables"):
            found["tables"] = by_tables(folder, options.largest)
        if options.only != "tables":
            path = folder / "large.fits"
            write_map(path, options.size)
            print(f"{options.size} x {options.size} pixels, {path.stat().st_size / 1e9:.2f} GB", flush=True)
        if options.only in (None, "command"):
            found["command"] = by_processes(path, folder)
            found["survey"] = survey(found["command"]["frames"], found["command"]["1 process"])
            print(f"EMU at these rates: {found['survey']}")
        if options.only in (None, "frames"):
            found["frames"] = by_number(path, options.largest, options.full)
    print(json.dumps({"benchmark": "scale", **found}))


if __name__ == "__main__":
    main()
