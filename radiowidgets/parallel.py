"""Map a function over chunks of work: threads of this process, or a given Dask cluster.

The grid of chunks belongs to the caller, never to the workers, and results come back in the order of the
chunks: two cores and a cluster give the same bytes.
"""

import functools
import importlib.util
import logging
import math
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sized
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from radiowidgets.errors import ClusterError, MissingExtraError, ParameterError

# A function that is told how many chunks are done, and of how many (None where that is not known beforehand).
Progress = Callable[[int, int | None], None]

_SHARE = threading.local()  # .cores: how many a task of a cluster may use
_GROUP = Path("/sys/fs/cgroup")  # where Linux tells a container what it is granted
_WAIT = 60  # seconds that a scheduler may take to answer


def available_cores() -> int:
    """Return the number of cores that this process may use; a hub often grants fewer than there are.

    What the control group of a container grants counts too. In a task of a cluster it is 1: its workers are given as
    many tasks at a time as they have cores.
    """
    share = getattr(_SHARE, "cores", None)
    if share is not None:
        return int(share)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, math.ceil(min(_granted(), cores))))


def _granted() -> float:
    """Return the share of all cores, in cores, that a control group (version 2 or 1) grants; infinite without one."""
    for files in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        try:
            quota, period = map(float, " ".join((_GROUP / name).read_text() for name in files).split())
        except (OSError, ValueError):  # there is no such file, or it says max
            continue
        if quota > 0 and period > 0:
            return quota / period
    return math.inf


def map_chunks(
    function: Callable[[Any], Any],
    chunks: Iterable[Any],
    *,
    client: Any = None,
    threads: int | None = None,
    progress: str | Progress | None = None,
) -> list[Any]:
    """Apply `function` to each chunk and return the results in the order of the chunks.

    Parameters
    ----------
    function : callable
        Takes one chunk. For threads to help it must release the interpreter lock, as NumPy and
        ``numba.njit(nogil=True)`` code does; for a cluster it must be importable there.
    chunks : iterable
        Consumed lazily: only a few chunks are alive at any time, so they may hold pixels.
    client : dask.distributed.Client, optional
        Run on this cluster instead of on threads.
    threads : int, optional
        Number of threads; default: the cores that this process may use. With 1, everything runs in the
        caller's thread.
    progress : str or callable, optional
        A text shows a tqdm bar of that name; a callable is called as ``progress(done, total)`` after each
        chunk (`total` is None for an iterator).

    Returns
    -------
    list
        One result a chunk.

    Raises
    ------
    ParameterError
        If `threads` is not a positive integer.
    Exception
        The first exception of `function`, in the order of the chunks; chunks not yet started are given up.
    ClusterError
        If the cluster is gone, or a chunk was the end of several workers.
    """
    return list(each_chunk(function, chunks, client=client, threads=threads, progress=progress))


def each_chunk(
    function: Callable[[Any], Any],
    chunks: Iterable[Any],
    *,
    client: Any = None,
    threads: int | None = None,
    progress: str | Progress | None = None,
) -> Iterator[Any]:
    """Yield what `map_chunks` returns, each result as soon as it and those before it are there."""
    if threads is None:
        threads = available_cores()
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
        raise ParameterError(f"threads is {threads!r}; give a whole number from 1, or None for all cores.")
    total = len(chunks) if isinstance(chunks, Sized) else None
    if client is not None:
        results = _on_cluster(function, chunks, client)
    elif threads == 1:
        results = (function(chunk) for chunk in chunks)
    else:
        results = _on_threads(function, chunks, threads)
    return _report(results, total, progress)


def _report(results: Iterator[Any], total: int | None, progress: str | Progress | None) -> Iterator[Any]:
    """Pass `results` on and tell `progress` about each."""
    if isinstance(progress, str):
        from tqdm.auto import tqdm

        yield from tqdm(results, total=total, desc=progress)
        return
    for done, result in enumerate(results, start=1):
        if progress is not None:
            progress(done, total)
        yield result


def _windowed(
    submit: Callable[[Any], Any], chunks: Iterable[Any], window: Callable[[], int]
) -> Iterator[Any]:
    """Keep as many futures in flight as `window` says by then, and yield their results in order."""
    pending: deque[Any] = deque()
    try:
        for chunk in chunks:
            pending.append(submit(chunk))
            del chunk  # the future alone keeps it alive now
            while len(pending) >= window():
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:  # after an error or an interrupt, what has not started shall not start
        for future in pending:
            future.cancel()


def _on_threads(function: Callable[[Any], Any], chunks: Iterable[Any], threads: int) -> Iterator[Any]:
    with ThreadPoolExecutor(threads, thread_name_prefix="radiowidgets") as pool:
        yield from _windowed(lambda chunk: pool.submit(function, chunk), chunks, lambda: threads + 1)


def _on_cluster(function: Callable[[Any], Any], chunks: Iterable[Any], client: Any) -> Iterator[Any]:
    # pure=False: hashing the pixels of each chunk would cost more than it could save.
    def window() -> int:  # workers may still be on their way when the first chunk is sent
        return 2 * max(1, sum(client.nthreads().values()))

    task = functools.partial(_on_one_core, function)
    try:
        yield from _windowed(lambda chunk: client.submit(task, chunk, pure=False), chunks, window)
    except CancelledError as error:
        raise ClusterError(
            "the cluster was closed or its scheduler is gone; start it again: what is done is kept."
        ) from error
    except Exception as error:
        if type(error).__name__ != "KilledWorker":  # of dask, which need not be installed
            raise
        raise ClusterError(
            f"one chunk was the end of several workers ({' '.join(str(error).split())[:200]}); "
            "give each more memory, or fewer threads."
        ) from error


def _on_one_core(function: Callable[[Any], Any], chunk: Any) -> Any:
    before = getattr(_SHARE, "cores", None)
    _SHARE.cores = 1
    try:
        return function(chunk)
    finally:
        _SHARE.cores = before


def workers(processes: int | None = None, scheduler: str | None = None) -> AbstractContextManager[Any]:
    """Return a context that gives a `dask.distributed.Client`, or None where this process shall do the work.

    Parameters
    ----------
    processes : int, optional
        So many worker processes of this machine, which end with the context; 1 is this process alone. They speak TLS
        with certificates of their own, so that nobody else on the machine can give them work.
    scheduler : str, optional
        Address of a running Dask scheduler instead, such as ``tcp://10.0.0.5:8786``.

    Raises
    ------
    ParameterError
        If both are given, or `processes` is not a positive integer.
    MissingExtraError
        If distributed is not installed, or cryptography for processes of this machine.
    ClusterError
        If the scheduler does not answer.
    """
    if processes is not None and scheduler is not None:
        raise ParameterError(
            "processes and a scheduler are given; give one: a scheduler has its own workers."
        )
    if processes is not None and (
        isinstance(processes, bool) or not isinstance(processes, int) or processes < 1
    ):
        raise ParameterError(f"processes is {processes!r}; give a whole number from 1.")
    if scheduler is None and processes in (None, 1):
        return nullcontext()
    if scheduler is not None and not _is_installed("distributed"):
        raise MissingExtraError("a scheduler needs Dask: pip install 'radiowidgets[cluster]'.")
    if scheduler is None and not can_cluster():
        raise MissingExtraError(
            "several processes need Dask and cryptography: pip install 'radiowidgets[cluster]' cryptography."
        )
    return _connect(scheduler) if scheduler is not None else _start(int(processes or 1))


def can_cluster() -> bool:
    """Return whether `workers` can start processes."""
    return _is_installed("distributed") and _is_installed("cryptography")


def _is_installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


@contextmanager
def _connect(address: str) -> Iterator[Any]:
    from distributed import Client

    try:
        client = Client(address, timeout=_WAIT, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise ClusterError(
            f"no Dask scheduler answers at {address!r} ({' '.join(str(error).split())[:120]}); check the address."
        ) from error
    with client:
        yield client


@contextmanager
def _start(processes: int) -> Iterator[Any]:
    import dask
    from distributed import Client, LocalCluster
    from distributed.security import Security

    # Its web pages know no certificates: without routes they show nothing.
    silent: dict[str, list[str]] = {f"distributed.{who}.http.routes": [] for who in ("scheduler", "worker")}
    with (
        dask.config.set(silent),
        LocalCluster(
            n_workers=processes,
            threads_per_worker=1,
            processes=True,
            protocol="tls://",
            security=Security.temporary(),
            dashboard_address=None,
            scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
            silence_logs=logging.ERROR,
            env={f"TF_NUM_{which}_THREADS": "1" for which in ("INTRAOP", "INTEROP")},
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client
