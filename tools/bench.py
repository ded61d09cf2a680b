"""Run the benchmarks and write one table of what they found, build/bench.md: ours, the peer's, versions, machine.

Each ``benchmarks/bench_*.py`` runs in a process of its own with its usual arguments; its lines ``RESULT {...}`` (see
benchmarks/results.py) become rows. What a script found is kept in build/bench/ with the time, the load and the machine,
so that one script can be run anew (`--only frames`) without losing the others' rows, and its whole output beside it.
Those that take long are left out unless `--slow` is given; `--table` runs nothing and writes the table anew.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "build" / "bench"
TABLE = ROOT / "build" / "bench.md"
MARK = "RESULT "

# Of ten minutes and more on two cores; the others take a few minutes each.
SLOW = frozenset(
    {"compact", "explorer", "finders", "instances", "networks", "ranking", "realism", "review", "scale", "ssl", "study"}
)  # fmt: skip
# Peers, and what both stand on.
PACKAGES = ("radiowidgets", "numpy", "numba", "astropy", "scikit-learn", "keras", "tensorflow-cpu", "tensorflow",
            "photutils", "umap-learn", "coniferest", "cleanlab", "datashader", "bdsf", "sep")  # fmt: skip


def scripts(folder: Path) -> dict[str, Path]:
    """Return the benchmarks of a folder by their short names."""
    return {path.stem.removeprefix("bench_"): path for path in sorted(folder.glob("bench_*.py"))}


def read_results(lines: Iterable[str]) -> list[dict]:
    """Return the rows among the lines of an output; of the same thing told again, the last one."""
    rows = [json.loads(line.removeprefix(MARK)) for line in lines if line.startswith(MARK)]
    return list({(row["what"], row["than"]): row for row in rows}.values())


def machine() -> str:
    """Return processor, cores, memory and system in a line."""
    model = platform.processor() or platform.machine()
    if (cpu := Path("/proc/cpuinfo")).exists():
        found = [
            line.split(":", 1)[1].strip()
            for line in cpu.read_text().splitlines()
            if line.startswith("model name")
        ]
        model = found[0] if found else model
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return f"{model}, {cores} cores, {memory:.0f} GB, {platform.system()}, Python {platform.python_version()}"


def versions() -> str:
    """Return the versions of what is measured and of what stands beside it, those that are installed."""
    found = []
    for name in PACKAGES:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return ", ".join(found)


def run_script(path: Path, log: Path, limit: float) -> dict:
    """Run one benchmark, show and keep its output, and return its record."""
    begun, load = time.perf_counter(), os.getloadavg()[0]
    environment = dict(os.environ)
    if "RADIOWIDGETS_REALDATA" not in environment and (real := ROOT.parent / "shared" / "data").is_dir():
        environment["RADIOWIDGETS_REALDATA"] = str(real)
    lines = []
    with subprocess.Popen(  # noqa: S603
        [sys.executable, str(path)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        errors="replace", cwd=ROOT, env=environment,
    ) as process, log.open("w", encoding="utf-8") as file:  # fmt: skip
        timer = threading.Timer(limit * 60, process.terminate)
        timer.start()
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            file.write(line)
            print(line, end="", flush=True)
        code = process.wait()
        in_time = timer.is_alive()
        timer.cancel()
    record = {
        "results": read_results(lines),
        "seconds": round(time.perf_counter() - begun),
        "load": [round(load, 1), round(os.getloadavg()[0], 1)],
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
        "machine": machine(),
        "versions": versions(),
        "failed": "",
    }
    if code:
        last = next((line.strip() for line in reversed(lines) if line.strip()), "no output")
        record["failed"] = last[:200] if in_time else f"stopped after {limit:g} minutes"
    return record


def figure(value: float | None) -> str:
    """Return a number with three digits that count."""
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def ratio(row: dict) -> str:
    """Return how many times as good as the peer ours is; above 1, ours is the better."""
    best, other = (row["ours"], row["peer"]) if row["more"] else (row["peer"], row["ours"])
    return f"{best / other:.3g}" if row["peer"] is not None and other else ""


def render(records: dict[str, dict]) -> str:
    """Return the table of all records as Markdown."""
    lines = [
        "# Benchmarks", "",
        "Ratio: how many times as good as the peer; above 1, radiowidgets is the better.", "",
        "| benchmark | what | radiowidgets | peer | unit | ratio | who the peer is |", "|---|---|--:|--:|---|--:|---|",
    ]  # fmt: skip
    for name, record in records.items():
        for row in record["results"]:
            cells = (
                name,
                row["what"],
                figure(row["ours"]),
                figure(row["peer"]),
                row["unit"],
                ratio(row),
                row["than"],
            )
            lines.append("| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |")
    lines += ["", "| benchmark | run (UTC) | took | load before, after | ended |", "|---|---|--:|---|---|"]
    for name, record in records.items():
        ended = f"failed: {record['failed'].replace('|', '/')}" if record["failed"] else "well"
        before, after = record["load"]
        lines.append(f"| {name} | {record['date']} | {record['seconds']} s | {before}, {after} | {ended} |")
    for title, key in (("Machine", "machine"), ("Versions", "versions")):
        for text in dict.fromkeys(record[key] for record in records.values()):
            mine = ", ".join(name for name, record in records.items() if record[key] == text)
            lines += ["", f"{title} ({mine}): {text}."]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Run what was asked for, and write the table."""
    known = scripts(ROOT / "benchmarks")
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=list(known), help="these, slow or not")
    parser.add_argument("--slow", action="store_true", help=f"also {', '.join(sorted(SLOW & known.keys()))}")
    parser.add_argument("--table", action="store_true", help="run nothing; write the table of what is kept")
    parser.add_argument("--limit", type=float, default=60, help="minutes that a script may take")
    options = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    chosen = options.only or [name for name in known if options.slow or name not in SLOW]
    for name in [] if options.table else chosen:
        print(f"== {name}", flush=True)
        record = run_script(known[name], FOLDER / f"{name}.log", options.limit)
        (FOLDER / f"{name}.json").write_text(json.dumps(record, indent=1), encoding="utf-8")
    kept = {name: FOLDER / f"{name}.json" for name in known if (FOLDER / f"{name}.json").exists()}
    records = {name: json.loads(path.read_text(encoding="utf-8")) for name, path in kept.items()}
    text = render(records)
    TABLE.write_text(text, encoding="utf-8")
    print(f"\n{text}\nwrote {TABLE.relative_to(ROOT)}")
    return int(any(records[name]["failed"] for name in chosen if name in records))


if __name__ == "__main__":
    sys.exit(main())
