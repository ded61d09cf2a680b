"""Maps behind an address: a web server of this machine that sends ranges, or none, or fails."""

import contextlib
import hashlib
import http.server
import pickle
import re
import sys
import threading
from functools import partial

import numpy as np
import pytest
from skies import noisy_sky

import radiowidgets as rw
from radiowidgets.data import remote
from radiowidgets.errors import MapError, MissingExtraError

pytest.importorskip("aiohttp")
pytest.importorskip("fsspec")


class Handler(http.server.SimpleHTTPRequestHandler):
    """Sends ranges, and keeps a record of what it sent."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        server = self.server
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if server.failures:
            server.failures -= 1
            self.send_error(503)
            return
        place = server.folder / self.path.lstrip("/").partition("?")[0]
        if not place.is_file():
            self.send_error(404)
            return
        body = place.read_bytes()
        if asked and server.ranged:
            first, last = int(asked[1]), min(int(asked[2]), len(body) - 1)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(body)}")
            body = body[first : last + 1]
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        server.sent.append(len(body))
        with contextlib.suppress(ConnectionError):  # who wants no more hangs up
            self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    """Says nothing of those who hang up."""

    daemon_threads = True

    def handle_error(self, request, client_address):
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setattr(remote, "PAUSE", 0.01)
    handler = partial(Handler, directory=str(tmp_path))
    with Server(("127.0.0.1", 0), handler) as server:
        server.folder, server.ranged, server.failures, server.sent = tmp_path, True, 0, []
        server.address = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def field(tmp_path):
    """A map of 1 MB."""
    rng = np.random.default_rng(1)
    sky = rw.SkyMap.from_array(rng.normal(size=(400, 640)).astype("f4"), header=noisy_sky().new_header())
    return rw.SkyMap.open(sky.write(tmp_path / "field.fits"))


def test_a_map_is_read_in_ranges(server, field):
    sky = rw.SkyMap.open(f"{server.address}/field.fits")
    assert (sky.name, sky.shape, sky.fingerprint) == (field.name, field.shape, field.fingerprint)
    assert sky.url and sky.path is None and sky.beam == field.beam
    assert sum(server.sent) < 120_000, "headers and sampled blocks alone"
    for box in [(0, 400, 0, 640), (0, 1, 0, 1), (399, 400, 639, 640), (17, 131, 200, 260), (5, 390, 3, 600)]:
        assert np.array_equal(sky.read(*box), field.read(*box)), box
    sent = pickle.loads(pickle.dumps(sky.light()))
    assert len(pickle.dumps(sky.light())) < 5000
    assert np.array_equal(sent.read(3, 7, 5, 9), field.read(3, 7, 5, 9))
    assert sent.beam_area_pixels == field.beam_area_pixels and sent.wcs is None
    server.sent.clear()
    sky.read(100, 164, 50, 114)
    assert sum(server.sent) <= 64 * 640 * 4
    assert sky.verify() == hashlib.sha256((server.folder / "field.fits").read_bytes()).hexdigest()


def test_of_a_wide_map_only_the_columns_asked_for_are_sent(server, field, monkeypatch):
    monkeypatch.setattr(remote, "GAP", 1000)
    monkeypatch.setattr(remote, "PIECE", 8000)
    sky = rw.SkyMap.open(f"{server.address}/field.fits")
    server.sent.clear()
    assert np.array_equal(sky.read(10, 42, 70, 102), field.read(10, 42, 70, 102))
    assert sum(server.sent) == 32 * 32 * 4
    assert np.array_equal(sky.read(10, 42, 0, 640), field.read(10, 42, 0, 640))


def test_a_run_of_a_map_behind_an_address(server, field, tmp_path, monkeypatch):
    monkeypatch.setattr(remote, "PIECE", 100_000)
    build = partial(rw.Run.build, progress=False)
    sky = rw.SkyMap.open(f"{server.address}/field.fits?id=7")
    server.sent.clear()
    run = build(tmp_path / "far", rw.cut_windows(sky, size=64))
    assert sum(server.sent) < 1.1 * 400 * 640 * 4, (
        "each row is sent about once, however often it is looked at"
    )
    near = build(tmp_path / "near", rw.cut_windows(field, size=64))
    for name in ("frames", "features", "scores"):
        assert (run.path / f"{name}.parquet").read_bytes() == (near.path / f"{name}.parquet").read_bytes()
    again = rw.Run.open(run.path)
    assert np.array_equal(again.frames[3].pixels, near.frames[3].pixels)
    moved = rw.Run.open(run.path, maps={"field": tmp_path / "field.fits"})
    assert moved.frames.maps["field"].path == tmp_path / "field.fits"
    back = rw.Run.open(near.path, maps={"field": f"{server.address}/field.fits"})
    assert np.array_equal(back.frames[3].pixels, near.frames[3].pixels)


def test_no_secret_of_an_address_is_kept_or_shown(server, field, tmp_path):
    signed = f"{server.address}/field.fits?X-Amz-Signature=s3cret"
    run = rw.Run.build(tmp_path / "run", rw.cut_windows(rw.SkyMap.open(signed), size=128), progress=False)
    assert "s3cret" not in (run.path / "run.yaml").read_text()
    with pytest.raises(MapError) as error:
        rw.SkyMap.open(f"{server.address}/none.fits?token=s3cret")
    assert "s3cret" not in str(error.value) and "404" in str(error.value)
    with pytest.raises(MapError, match="holds a password") as error:
        rw.SkyMap.open("https://ana:s3cret@example.org/field.fits")
    assert "s3cret" not in str(error.value)


def test_a_server_without_ranges_is_told_before_the_map_is_sent(server, field):
    server.ranged = False
    with pytest.raises(MapError, match="sends whole files only"):
        rw.SkyMap.open(f"{server.address}/field.fits")


def test_a_request_that_fails_is_made_again(server, field):
    sky = rw.SkyMap.open(f"{server.address}/field.fits")
    server.failures = 2
    assert np.array_equal(sky.read(0, 2, 0, 2), field.read(0, 2, 0, 2))
    server.failures = 99
    with pytest.raises(MapError, match="HTTP status 503"):
        sky.read(0, 2, 0, 2)


def test_a_map_that_is_replaced_is_noticed(server, field, monkeypatch):
    sky = rw.SkyMap.open(f"{server.address}/field.fits")
    monkeypatch.setattr(remote, "FRESH", 0.0)
    with (server.folder / "field.fits").open("ab") as file:
        file.write(bytes(2880))
    with pytest.raises(MapError, match="has changed"):
        sky.read(0, 2, 0, 2)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("page.fits", b"<html>not here</html>" * 9, "looks like a web page"),
        ("empty.fits", b"", "is empty"),
        ("whole.fits.gz", b"\x1f\x8b" + bytes(99), "compressed as a whole"),
    ],
)
def test_what_is_no_plain_map_is_told(server, name, content, said):
    (server.folder / name).write_bytes(content)
    with pytest.raises(MapError, match=said):
        rw.SkyMap.open(f"{server.address}/{name}")


def test_a_drive_is_no_protocol():
    assert remote.is_address("s3://bucket/field.fits") and remote.is_address("https:/example.org/field.fits")
    assert not remote.is_address("C:/maps/field.fits") and not remote.is_address("maps/field.fits")


def test_addresses_that_cannot_be_read(monkeypatch):
    with pytest.raises(MapError, match="no address that can be read"):
        rw.SkyMap.open("gopher://example.org/field.fits")
    with pytest.raises(MapError, match="cannot be reached"):
        rw.SkyMap.open("http://127.0.0.1:9/field.fits")

    def missing(address):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr("fsspec.core.url_to_fs", missing)
    with pytest.raises(MissingExtraError, match="s3:// needs s3fs: pip install s3fs"):
        rw.SkyMap.open("s3://survey/field.fits")
    monkeypatch.setattr(remote.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match="need fsspec"):
        rw.SkyMap.open("s3://survey/field.fits")


def test_an_object_store_is_read_in_ranges(field, monkeypatch):
    """A bucket in memory stands for one of S3: fsspec reads both alike."""
    from fsspec.implementations.memory import MemoryFileSystem

    content, asked = field.path.read_bytes(), []

    class Bucket(MemoryFileSystem):
        protocol = ("s3", "s3a")

        def cat_file(self, path, start=None, end=None, **_):
            assert path == "survey/field.fits"
            asked.append(end - start)
            return content[start:end]

        def info(self, path, **_):
            if path != "survey/field.fits":
                raise FileNotFoundError(path)
            return {"name": path, "size": len(content), "type": "file", "ETag": "1"}

    monkeypatch.setattr("fsspec.core.url_to_fs", lambda address: (Bucket(), address.removeprefix("s3://")))
    sky = rw.SkyMap.open("s3://survey/field.fits")
    assert (sky.name, sky.fingerprint, sky.url) == ("field", field.fingerprint, "s3://survey/field.fits")
    assert np.array_equal(sky.read(7, 99, 60, 161), field.read(7, 99, 60, 161))
    assert sum(asked) < 400_000
    with pytest.raises(MapError, match="FileNotFoundError"):
        rw.SkyMap.open("s3://survey/other.fits")
