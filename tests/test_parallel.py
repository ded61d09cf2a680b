"""Chunks over threads or a cluster: order, laziness, errors, progress."""

import os
import threading
import time

import pytest

from radiowidgets import parallel
from radiowidgets.errors import ParameterError
from radiowidgets.parallel import available_cores, map_chunks


def test_results_keep_the_order_of_the_chunks():
    def slow_when_early(chunk):
        time.sleep(0.02 * (5 - chunk))
        return chunk**2

    assert map_chunks(slow_when_early, range(6), threads=4) == [0, 1, 4, 9, 16, 25]
    assert map_chunks(slow_when_early, range(4), threads=1) == [0, 1, 4, 9]


def test_it_works_in_several_threads_or_in_the_callers_own():
    barrier = threading.Barrier(2, timeout=5)
    map_chunks(lambda _: barrier.wait(), range(4), threads=2)  # would time out in one thread
    assert map_chunks(lambda _: threading.current_thread(), [0], threads=1) == [threading.current_thread()]


def test_few_chunks_are_alive_at_a_time():
    alive, most = 0, 0
    lock = threading.Lock()

    def chunks():
        nonlocal alive, most
        for k in range(40):
            with lock:
                alive += 1
                most = max(most, alive)
            yield k

    def work(chunk):
        nonlocal alive
        time.sleep(0.001)
        with lock:
            alive -= 1
        return chunk

    assert map_chunks(work, chunks(), threads=2) == list(range(40))
    assert most <= 4


@pytest.mark.parametrize("threads", [1, 3])
def test_the_first_error_comes_through_and_the_rest_is_given_up(threads):
    started = []

    def fail(chunk):
        started.append(chunk)
        if chunk == 2:
            raise ValueError("chunk 2")
        return chunk

    with pytest.raises(ValueError, match="chunk 2"):
        map_chunks(fail, range(1000), threads=threads)
    assert len(started) < 20


def test_an_interrupt_ends_it():
    def interrupt(chunk):
        if chunk == 1:
            raise KeyboardInterrupt
        return chunk

    with pytest.raises(KeyboardInterrupt):
        map_chunks(interrupt, range(100), threads=2)


def test_progress_is_told(capsys):
    seen = []
    map_chunks(str, [1, 2, 3], progress=lambda done, total: seen.append((done, total)))
    map_chunks(str, iter([1, 2]), progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3), (1, None), (2, None)]
    map_chunks(str, [1, 2, 3], progress="counting sheep")
    assert "counting sheep" in capsys.readouterr().err


@pytest.mark.parametrize("threads", [0, -1, 1.5, True, "2"])
def test_a_wrong_number_of_threads_is_named(threads):
    with pytest.raises(ParameterError, match=f"threads is {threads!r}"):
        map_chunks(str, [1], threads=threads)


def test_no_chunks_give_no_results():
    assert map_chunks(str, []) == []
    assert available_cores() >= 1


class _Cluster:
    """Stands for a dask client: submits, and tells how many threads its workers have."""

    def __init__(self):
        self.submitted = 0
        self.waiting = 0
        self.most = 0

    def nthreads(self):
        return {"tcp://one": 2, "tcp://two": 1}

    def submit(self, function, chunk, *, pure):
        assert pure is False
        self.submitted += 1
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        return _Future(self, function, chunk)


class _Future:
    def __init__(self, cluster, function, chunk):
        self.cluster, self.function, self.chunk = cluster, function, chunk
        self.cancelled = False

    def result(self):
        self.cluster.waiting -= 1
        return self.function(self.chunk)

    def cancel(self):
        self.cancelled = True


def test_a_given_client_does_the_work_a_few_chunks_at_a_time():
    cluster = _Cluster()
    assert map_chunks(str, range(20), client=cluster) == [str(k) for k in range(20)]
    assert cluster.submitted == 20
    assert cluster.most == 6


def test_workers_that_come_later_are_given_work_too():
    cluster = _Cluster()
    cluster.nthreads = lambda: {"tcp://one": 4} if cluster.submitted > 5 else {}
    assert map_chunks(str, range(40), client=cluster) == [str(k) for k in range(40)]
    assert cluster.most == 8


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "5000 100000\n"}, 1),
        ({"cpu.max": "max 100000\n"}, 8),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
        ({"cpu.max": ""}, 8),
        ({}, 8),
    ],
)
def test_a_container_has_the_cores_that_it_is_granted(tmp_path, monkeypatch, files, cores):
    (tmp_path / "cpu").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(parallel, "_GROUP", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert parallel.available_cores() == cores


def test_a_real_dask_cluster_gives_the_same():
    distributed = pytest.importorskip("distributed")
    with distributed.Client(
        processes=False, n_workers=1, threads_per_worker=2, dashboard_address=None
    ) as client:
        assert map_chunks(abs, [-1, 2, -3], client=client) == [1, 2, 3]
