"""Map a function over chunks of work: threads of this process, or a given Dask cluster.

The grid of chunks belongs to the caller, never to the workers, and results come back in the order of the
chunks: two cores and a cluster give the same bytes.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sized
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from radiowidgets.errors import ParameterError

# A function that is told how many chunks are done, and of how many (None where that is not known beforehand).
Progress = Callable[[int, int | None], None]


def available_cores() -> int:
    """Return the number of cores that this process may use; a hub often grants fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


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
    """
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
    return list(_report(results, total, progress))


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


def _windowed(submit: Callable[[Any], Any], chunks: Iterable[Any], window: int) -> Iterator[Any]:
    """Keep `window` futures in flight and yield their results in order."""
    pending: deque[Any] = deque()
    try:
        for chunk in chunks:
            pending.append(submit(chunk))
            del chunk  # the future alone keeps it alive now
            while len(pending) >= window:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:  # after an error or an interrupt, what has not started shall not start
        for future in pending:
            future.cancel()


def _on_threads(function: Callable[[Any], Any], chunks: Iterable[Any], threads: int) -> Iterator[Any]:
    with ThreadPoolExecutor(threads, thread_name_prefix="radiowidgets") as pool:
        yield from _windowed(lambda chunk: pool.submit(function, chunk), chunks, threads + 1)


def _on_cluster(function: Callable[[Any], Any], chunks: Iterable[Any], client: Any) -> Iterator[Any]:
    # pure=False: hashing the pixels of each chunk would cost more than it could save.
    window = 2 * max(1, sum(client.nthreads().values()))
    yield from _windowed(lambda chunk: client.submit(function, chunk, pure=False), chunks, window)
