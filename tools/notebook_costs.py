"""Run every notebook in a fresh kernel and write what it costs, build/notebook_costs.md: time, and the most memory.

A Binder session has 2 GB of memory and, by good luck, two cores; a lesson should be over in three minutes. The kernel
and all that it starts are held to two cores, and their resident memory is added up ten times a second, as the limit of
a container counts it. Copies are run in an empty folder, so that runs of an earlier day help nobody; numba's and
UMAP's compiled code is what this computer already has, as it is on Binder after `binder/postBuild`.

What exceeds a limit, or fails, is marked, and the exit code is 1.
"""

import argparse
import os
import shutil
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import nbformat
import psutil
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "build" / "notebook_costs.md"
MEMORY, SECONDS, CORES = 2000.0, 180.0, 2  # MB, of a Binder session; s, of a lesson


@dataclass
class Cost:
    """What one notebook took; `failed` is empty where it ran to its end."""

    name: str
    seconds: float
    memory: float  # MB
    cell: float  # s, of the longest cell
    failed: str = ""

    def verdict(self, memory: float, seconds: float) -> str:
        """Return 'within', or what is wrong."""
        wrong = [self.failed] if self.failed else []
        wrong += ["memory"] * (self.memory > memory) + ["time"] * (self.seconds > seconds)
        return "**over: " + ", ".join(wrong) + "**" if wrong else "within"


class Watch(threading.Thread):
    """Follows the memory of a process and its children, and holds them to some cores."""

    def __init__(self, pid: int, cores: int) -> None:
        super().__init__(daemon=True)
        self.process, self.cores, self.peak, self._stop_now = psutil.Process(pid), cores, 0, threading.Event()
        if hasattr(self.process, "cpu_affinity"):
            self.process.cpu_affinity(self.process.cpu_affinity()[:cores])  # children inherit it

    def run(self) -> None:
        """Look ten times a second until told to stop."""
        while not self._stop_now.wait(0.1):
            self.peak = max(self.peak, self.now())

    def now(self) -> int:
        """Return the resident memory in bytes; what ended meanwhile counts nothing."""
        total = 0
        try:
            for process in [self.process, *self.process.children(recursive=True)]:
                total += process.memory_info().rss
        except psutil.NoSuchProcess:
            pass
        return total

    def stop(self) -> float:
        """Stop, and return the peak in MB."""
        self._stop_now.set()
        self.join()
        return self.peak / 1e6


class Client(NotebookClient):
    """Runs a notebook in a kernel that is watched."""

    watch: Watch | None = None

    async def async_start_new_kernel(self, **kwargs) -> None:
        """Start the kernel, and watch it."""
        await super().async_start_new_kernel(**kwargs)
        self.watch = Watch(self.km.provisioner.pid, CORES)
        self.watch.start()


def measure(path: Path, timeout: float = 1800) -> Cost:
    """Run a copy of a notebook in an empty folder and return what it took."""
    notebook = nbformat.read(path, as_version=4)
    folder = Path(tempfile.mkdtemp(prefix="costs-"))
    client = Client(notebook, timeout=timeout, resources={"metadata": {"path": str(folder)}})
    begun, failed = time.perf_counter(), ""
    try:
        client.execute()
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        failed = f"{type(error).__name__}: {str(error).strip().splitlines()[-1][:120]}"
    finally:
        seconds = time.perf_counter() - begun
        peak = client.watch.stop() if client.watch else 0.0
        shutil.rmtree(folder, ignore_errors=True)
    return Cost(path.stem, seconds, peak, longest(notebook), failed)


def longest(notebook: nbformat.NotebookNode) -> float:
    """Return the seconds of the cell that took longest, from the times that the client leaves in the cells."""
    found = [0.0]
    for cell in notebook.cells:
        times = cell.metadata.get("execution", {})
        begun, ended = times.get("iopub.execute_input"), times.get("iopub.status.idle")
        if begun and ended:
            found.append((datetime.fromisoformat(ended) - datetime.fromisoformat(begun)).total_seconds())
    return max(found)


def render(costs: list[Cost], memory: float = MEMORY, seconds: float = SECONDS) -> str:
    """Return the table as Markdown."""
    lines = [
        f"Limits: {memory:,.0f} MB, {seconds:.0f} s, {CORES} cores; load of the machine {os.getloadavg()[0]:.1f}.", "",
        "| notebook | s | longest cell, s | peak memory, MB | |", "|---|--:|--:|--:|---|",
    ]  # fmt: skip
    lines += [
        f"| {cost.name} | {cost.seconds:.0f} | {cost.cell:.0f} | {cost.memory:,.0f} | {cost.verdict(memory, seconds)} |"
        for cost in costs
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Run the notebooks named, or all, and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: all in notebooks/")
    parser.add_argument("--memory", type=float, default=MEMORY, help="MB")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    options = parser.parse_args()
    paths = options.notebooks or sorted((ROOT / "notebooks").glob("*.ipynb"))
    costs = []
    for path in paths:
        costs.append(measure(path))
        print(render(costs[-1:], options.memory, options.seconds).splitlines()[-1], flush=True)
    TABLE.parent.mkdir(exist_ok=True)
    TABLE.write_text(render(costs, options.memory, options.seconds), encoding="utf-8")
    print(f"\n{TABLE.read_text(encoding='utf-8')}\nwrote {TABLE.relative_to(ROOT)}")
    return int(any(cost.verdict(options.memory, options.seconds) != "within" for cost in costs))


if __name__ == "__main__":
    sys.exit(main())
