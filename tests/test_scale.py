"""Builds on clusters, killed, on full disks and beside one another: always the same bytes."""

import gzip
import hashlib
import os
import socket
import subprocess
import sys
import textwrap
import threading
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import psutil
import pytest
import yaml
from skies import Moments, noisy_sky

import radiowidgets as rw
from radiowidgets import cli, parallel
from radiowidgets.errors import ClusterError, MissingExtraError, ParameterError, RunError
from radiowidgets.models.shipped import shipped_encoder
from radiowidgets.parallel import workers
from radiowidgets.run import chunks
from radiowidgets.run.files import building

HERE = str(Path(__file__).parent)


def made(run):
    """What a build leaves but run.yaml, which tells the time: names and hashes, drafts and locks among them."""
    return {
        str(place.relative_to(run)): hashlib.sha256(place.read_bytes()).hexdigest()
        for place in sorted(Path(run).rglob("*"))
        if place.is_file() and place.name != "run.yaml"
    }


@pytest.fixture
def sky(tmp_path):
    return rw.SkyMap.open(noisy_sky().write(tmp_path / "field.fits"))


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK", 10)


def build(place, sky, **options):
    return rw.Run.build(place, rw.cut_windows(sky, size=64, step=32), progress=False, **options)


# ------------------------------------------------------------------------------------
# who does the work


@pytest.fixture(scope="module")
def cluster():
    pytest.importorskip("distributed")
    pytest.importorskip("cryptography")
    with workers(2) as client:
        yield client


def test_one_thread_and_two_processes_give_the_same_bytes(tmp_path, sky, small_chunks, cluster, monkeypatch):
    in_memory = noisy_sky(seed=3, name="mock").flux_per_pixel()
    zipped = tmp_path / "zipped.fits.gz"
    with gzip.open(zipped, "wb") as file:
        file.write(noisy_sky(nx=128, ny=100, seed=5).write(tmp_path / "plain.fits").read_bytes())
    maps = [sky, in_memory, rw.SkyMap.open(zipped)]
    with monkeypatch.context() as patched:
        patched.setattr(parallel, "available_cores", lambda: 1)
        one = build(tmp_path / "one", maps, embed=Moments())
    two = build(tmp_path / "two", maps, embed=Moments(), client=cluster)
    assert made(one.path) == made(two.path)
    created = rw.Run.create(
        tmp_path / "created",
        frames := rw.cut_windows(maps, size=64, step=32),
        rw.embed(frames, Moments(), cache=False),
    )
    assert made(created.path) == made(two.path)
    assert two.embedding.shape == (len(two), 3)


def test_the_processes_of_this_machine_answer_to_nobody_else(cluster):
    from distributed import Client

    addresses = [cluster.scheduler.address, *cluster.scheduler_info()["workers"]]
    assert len(addresses) == 3 and all(address.startswith("tls://127.0.0.1:") for address in addresses)
    with pytest.raises((OSError, TypeError)), Client(addresses[0], timeout=2, set_as_default=False):
        pass
    own = psutil.Process()
    for process in [own, *own.children(recursive=True)]:
        heard = {c.laddr.ip for c in process.net_connections() if c.status == "LISTEN"}
        assert heard <= {"127.0.0.1", "::1"}
    web = cluster.cluster.scheduler.http_server
    for page in ("info/main/workers.html", "json/identity.json", "status", "metrics"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"http://127.0.0.1:{web.port}/{page}")


def test_a_worker_that_is_killed_is_no_loss(tmp_path, sky, small_chunks, cluster):
    (tmp_path / "deaths").mkdir()
    whole = build(tmp_path / "whole", sky, embed=Moments())
    run = build(tmp_path / "run", sky, embed=Moments(tmp_path / "deaths", 2), client=cluster)
    assert made(run.path) == made(whole.path)
    assert len(list((tmp_path / "deaths").iterdir())) == 2


def test_a_chunk_that_kills_every_worker_is_told_and_the_rest_is_kept(tmp_path, sky, small_chunks, cluster):
    (tmp_path / "deaths").mkdir()
    cluster.cluster.scheduler.allowed_failures = 0
    try:
        with pytest.raises(ClusterError, match="end of several workers"):
            build(tmp_path / "run", sky, embed=Moments(tmp_path / "deaths", 1), client=cluster)
    finally:
        cluster.cluster.scheduler.allowed_failures = 3
    whole = build(tmp_path / "whole", sky, embed=Moments())
    assert made(build(tmp_path / "run", sky, embed=Moments()).path) == made(whole.path)


def test_the_command_takes_a_scheduler(tmp_path, sky, capsys):
    distributed = pytest.importorskip("distributed")
    options = ["--size", "64", "--step", "32", "--quiet"]
    with distributed.LocalCluster(
        n_workers=1,
        processes=False,
        protocol="tcp://",
        dashboard_address=None,
        scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
    ) as here:
        arguments = ["rank", str(sky.path), "-o", str(tmp_path / "run"), *options]
        assert cli.main([*arguments, "--scheduler", here.scheduler_address]) == 0
    assert made(tmp_path / "run") == made(build(tmp_path / "whole", sky).path)


def test_large_jobs_use_all_cores(tmp_path, sky, monkeypatch):
    asked = []
    original = parallel.workers
    monkeypatch.setattr(parallel, "workers", lambda *given: asked.append(given) or original())
    monkeypatch.setattr(parallel, "available_cores", lambda: 7)
    options = ["rank", str(sky.path), "--size", "64", "--quiet", "-o"]
    cli.main([*options, str(tmp_path / "a")])
    monkeypatch.setattr(cli, "LARGE", 20)
    cli.main([*options, str(tmp_path / "b")])
    cli.main([*options, str(tmp_path / "c"), "--processes", "3"])
    assert asked == [(None, None), (7, None), (3, None)]


def test_wrong_workers_are_told(monkeypatch):
    for processes in (0, -2, True, 1.5):
        with pytest.raises(ParameterError, match=f"processes is {processes!r}"):
            workers(processes)
    with pytest.raises(ParameterError, match="give one"):
        workers(2, "tcp://127.0.0.1:8786")
    monkeypatch.setattr(parallel, "_WAIT", 0.2)
    for address in ("tcp://127.0.0.1:9", "nonsense"):
        with pytest.raises(ClusterError, match="no Dask scheduler answers"), workers(None, address):
            pass
    monkeypatch.setattr(parallel.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match="several processes need Dask and cryptography"):
        workers(2)
    with pytest.raises(MissingExtraError, match="a scheduler needs Dask"):
        workers(None, "tcp://127.0.0.1:8786")


def test_another_encoder_is_another_run(tmp_path, sky):
    run = build(tmp_path / "run", sky, embed=Moments())
    assert run.about["parameters"]["encoder"] == "moments" and run.embedding.shape == (len(run), 3)
    other = Moments()
    other.fingerprint = "other"
    with pytest.raises(RunError, match="made with encoder = 'moments'"):
        build(tmp_path / "run", sky, embed=other)
    assert len(build(tmp_path / "run", sky)) == len(run)
    build(tmp_path / "bare", sky)
    with pytest.raises(RunError, match="made without an embedding"):
        build(tmp_path / "bare", sky, embed=Moments())
    with pytest.raises(ParameterError, match="has no fingerprint"):
        build(tmp_path / "none", sky, embed=np.mean)


def test_the_shipped_encoder_is_loaded_once_a_process():
    import pickle

    assert pickle.loads(pickle.dumps(shipped_encoder())) is shipped_encoder()


def test_frames_take_only_their_own_maps_along():
    import pickle

    skies = [noisy_sky(nx=128, ny=128, seed=k, name=f"m{k}") for k in range(4)]
    frames = rw.cut_windows(skies, size=64)
    part = frames.select(np.flatnonzero(frames.map_codes >= 2)[4:])
    sent = pickle.loads(pickle.dumps(part))
    assert list(sent.maps) == ["m2", "m3"] and list(part.maps) == ["m0", "m1", "m2", "m3"]
    assert list(sent.frame_ids) == list(part.frame_ids)
    assert np.array_equal(sent.pixels([0, len(sent) - 1]), part.pixels([0, len(part) - 1]))


# ------------------------------------------------------------------------------------
# killed, and on a full disk

KILLED = """
    import os, random, resource, signal, sys, time, traceback, warnings
    from pathlib import Path
    sys.path.insert(0, sys.argv[1])
    import numpy as np
    import radiowidgets as rw
    from radiowidgets.latent import embedding
    from radiowidgets.run import chunks
    from skies import Moments
    from test_scale import build, made

    folder, what, lives, rng = Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]), random.Random(int(sys.argv[5]))
    chunks.CHUNK = embedding.CHUNK = 10
    sky = rw.SkyMap.open(folder / "field.fits")

    def work(place):
        if what != "embed":
            build(place, sky, embed=Moments(pause=0.005))
        else:
            frames = rw.cut_windows(sky, size=64, step=32)
            place.mkdir(exist_ok=True)
            np.save(place / "z.npy", rw.embed(frames, Moments(pause=0.02), cache=place / "cache"))
            for draft in place.rglob(".*.part"):
                os.utime(draft, (0, 0))  # a day later
            rw.embed(frames, Moments(), cache=place / "cache")

    def life(place, after=None, most=None):
        # A child that does the work, is killed after some seconds or may write files of some bytes at most.
        child = os.fork()
        if child == 0:
            try:
                if most is not None:
                    resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))
                work(place)
                os._exit(0)
            except rw.RadioWidgetsError as error:
                print("told:", error, flush=True)
                os._exit(3)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
        if after is not None:
            time.sleep(after)
            os.kill(child, signal.SIGKILL)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    work(folder / "whole")  # loads and compiles as well
    begun = time.perf_counter()
    assert life(folder / "timed") == 0
    whole, took = made(folder / "whole"), time.perf_counter() - begun
    assert made(folder / "timed") == whole
    killed, place = 0, folder / "run"
    if what == "full":
        sizes = {name: (folder / "whole" / name).stat().st_size for name in whole}
        for most in [0, 40, 300, *sorted(size - 1 for size in sizes.values())]:
            print(most, life(place, most=most), flush=True)  # or a child prints it once more
    while killed < lives:
        code = life(place, after=rng.uniform(0, 0.6 * took))
        assert code in (0, -signal.SIGKILL), code
        killed += code != 0
        if code == 0:
            assert made(place) == whole, (made(place), whole)
            assert what != "rank" or "ranking" in (place / "run.yaml").read_text()
            place = place.with_name(f"run{killed}")
    assert life(place) == 0
    assert made(place) == whole, (made(place), whole)
    assert what != "rank" or "ranking" in (place / "run.yaml").read_text()
    print("killed", killed)
"""


def lives(tmp_path, what, number, seed=0):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(KILLED), HERE, str(tmp_path), what, str(number), str(seed)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("what", ["rank", "embed"])
def test_what_is_killed_at_any_moment_goes_on_to_the_same_bytes(tmp_path, sky, what):
    assert lives(tmp_path, what, 5)[-1] == "killed 5"


@pytest.mark.soak
@pytest.mark.parametrize(("what", "seed"), [("rank", 1), ("embed", 2)])
def test_hundreds_of_kills_leave_the_same_bytes(tmp_path, sky, what, seed):
    assert lives(tmp_path, what, 200, seed)[-1] == "killed 200"


@pytest.mark.parametrize("left", ["the lock", "parts", "no ranking"])
def test_what_is_killed_at_the_very_end_is_finished(tmp_path, sky, small_chunks, left):
    run = build(tmp_path / "run", sky)
    before, about = made(run.path), (run.path / "run.yaml").read_text()
    if left == "the lock":
        (run.path / "build.lock").write_text(f"{socket.gethostname()} 99999999 0\n")
    elif left == "parts":
        (run.path / "parts").mkdir()
        (run.path / "parts" / "features-000000010.parquet").write_bytes(b"half gone")
    else:
        (run.path / "run.yaml").write_text(about.partition("ranking:")[0])
        (run.path / ".run.yaml.17.part").write_text("half")
    build(run.path, sky)
    assert made(run.path) == before and (run.path / "run.yaml").read_text() == about
    assert not (run.path / "parts").exists()


def test_what_another_version_left_half_done_is_begun_anew(tmp_path, sky, small_chunks):
    run = build(tmp_path / "run", sky)
    before, about = made(run.path), yaml.safe_load((run.path / "run.yaml").read_text())
    for name in ("frames", "features", "scores"):
        (run.path / f"{name}.parquet").unlink()
    del about["ranking"]
    about["versions"]["numpy"] = "1.0"
    (run.path / "run.yaml").write_text(yaml.safe_dump(about))
    (run.path / "parts").mkdir()
    (run.path / "parts" / "features-000000000.parquet").write_bytes(b"columns of another version")
    build(run.path, sky)
    assert made(run.path) == before
    assert yaml.safe_load((run.path / "run.yaml").read_text())["versions"]["numpy"] == np.__version__


def test_a_full_disk_is_told_and_got_over(tmp_path, sky):
    lines = lives(tmp_path, "full", 0)
    told = [line for line in lines if line.startswith("told:")]
    assert len(told) >= 5 and all("File too large" in line for line in told)
    codes = [line.split()[1] for line in lines if line[0].isdigit()]
    assert len(codes) == 8 and set(codes) <= {"0", "3"}


# ------------------------------------------------------------------------------------
# beside one another


HOLDING = """
    import sys
    from pathlib import Path
    from radiowidgets.run.files import building
    with building(Path(sys.argv[1])):
        print("in", flush=True)
        sys.stdin.read()
"""


def test_a_second_builder_is_told_and_reviewers_go_on(tmp_path, sky, small_chunks):
    run = build(tmp_path / "run", sky, embed=Moments())
    builder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            textwrap.dedent(HOLDING),
            str(run.path),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert builder.stdout.readline() == "in\n"
    try:
        with pytest.raises(RunError, match=f"being written by process {builder.pid} on"):
            rw.Run.create(run.path, rw.cut_windows(sky, size=64, step=32))
        reviewer = rw.Run.open(run.path, annotator="ada")
        ids = list(reviewer.frames.frame_ids)
        reviewer.labels.record(ids[:2], interest=5)
        reviewer.labels.record(ids[2:4], interest=0)
        table = reviewer.rerank({ids[0]: 5, ids[1]: 5, ids[2]: 0, ids[3]: 0})
        reviewer.write_session_scores("ada", table)
    finally:
        builder.communicate()
    before = made(run.path)
    assert not (run.path / "build.lock").exists()
    rw.Run.create(run.path, rw.cut_windows(sky, size=64, step=32), run.embedding)
    assert made(run.path) == before
    assert len(rw.Run.open(run.path, annotator="bob").labels.table()) == 4


def test_of_several_builders_at_once_one_builds(tmp_path, sky, small_chunks):
    told, start = [], threading.Barrier(4)

    def one():
        start.wait()
        try:
            build(tmp_path / "run", sky, embed=Moments(pause=0.02))
        except RunError as error:
            told.append(str(error))

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all("is being written by" in text for text in told)
    if len(told) == 4:  # each met another while it wrote run.yaml
        one()
    assert made(tmp_path / "run") == made(build(tmp_path / "whole", sky, embed=Moments()).path)


def test_a_dead_lock_is_taken_over_by_one_alone(tmp_path):
    inside, most, lock = 0, 0, threading.Lock()

    def one():
        nonlocal inside, most
        try:
            with building(tmp_path):
                with lock:
                    inside += 1
                    most = max(most, inside)
                with lock:
                    inside -= 1
        except RunError:
            return

    for round_ in range(30):
        (tmp_path / "build.lock").write_text(f"{os.uname().nodename} 99999999 {round_}\n")
        threads = [threading.Thread(target=one) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert most == 1
    assert list(tmp_path.iterdir()) == []


def test_a_lock_of_one_killed_before_it_said_who_it_was(tmp_path):
    place = tmp_path / "build.lock"
    place.touch()
    with pytest.raises(RunError, match="somebody else"), building(tmp_path):
        pass
    os.utime(place, (0, 0))
    with building(tmp_path):
        assert place.read_text().split()[1] == str(os.getpid())
    (tmp_path / ".scores.parquet.17.part").write_bytes(b"half")
    (tmp_path / ".embedding.zarr.17.part").mkdir()
    with building(tmp_path):
        assert [entry.name for entry in tmp_path.iterdir()] == ["build.lock"]
