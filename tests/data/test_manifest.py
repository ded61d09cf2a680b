"""The manifest, the cache and the downloads, on a server of our own at 127.0.0.1."""

import hashlib
import http.server
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from radiowidgets.data import manifest as data
from radiowidgets.data.download import ResumingDownloader
from radiowidgets.data.simulate import PRESETS
from radiowidgets.errors import DataError, RadioWidgetsError

ROOT = Path(__file__).resolve().parents[2]
CONTENT = bytes(range(256)) * 4000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Serves CONTENT; what it does wrong is set by the test."""

    content = CONTENT
    ranges = True  # whether pieces are served
    version: str | None = '"one"'
    cuts: list[int]  # after so many bytes the next connections end
    status = 200
    encoding: str | None = None
    asked: list[tuple[str, str | None]]  # (path, Range) of each request

    def address(self, name="file.bin"):
        return f"http://127.0.0.1:{self.server_address[1]}/{name}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self):
        server = self.server
        wanted = self.headers.get("Range")
        server.asked.append((self.path, wanted))
        if server.status != 200:
            self.send_error(server.status)
            return
        if self.path.startswith("/moved/"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/moved"))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body, total = server.content, len(server.content)
        if wanted and server.ranges and self.headers.get("If-Range") == server.version:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            if start >= total:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{total}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            body = body[start:]
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        for name, value in (("ETag", server.version), ("Content-Encoding", server.encoding)):
            if value:
                self.send_header(name, value)
        self.end_headers()
        if server.cuts:
            self.wfile.write(body[: server.cuts.pop(0)])
            self.close_connection = True
        else:
            self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    server = Server(("127.0.0.1", 0), Handler)
    server.cuts, server.asked = [], []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("RADIOWIDGETS_DATA", str(folder))
    monkeypatch.delenv("RADIOWIDGETS_MIRROR", raising=False)
    # Attempts follow each other at once.
    monkeypatch.setattr("radiowidgets.data.download.time.sleep", lambda _: None)
    return folder


SIZE = len(CONTENT)


def registered(url, sha256=SHA256, size=SIZE, name="file.bin"):
    state = "verified" if sha256 and size else data.UNVERIFIED
    file = data.DataFile(url, name, sha256, size)
    entry = data.Dataset("set", "A set", "1", None, state, "public", "us", "none", (file,))
    return data.Manifest({"set": entry})


def fetch(url, **options):
    (path,) = data.fetch("set", manifest=registered(url, **options), progress=False)
    return path


# The list.


def test_the_manifest_is_found_and_is_the_one_at_the_root():
    assert (ROOT / "data-manifest.yaml").read_bytes() == data.MANIFEST.read_bytes()
    manifest = data.read_manifest()
    assert len(manifest) > 50 and {entry.state for entry in manifest.values()} == data.STATES.keys()


def test_every_mock_preset_is_in_the_manifest():
    made = {entry.name for entry in data.read_manifest().values() if entry.state == "made on the spot"}
    assert made == PRESETS.keys()


def test_the_data_of_the_papers_are_there():
    real = {name for name, entry in data.read_manifest().items() if entry.state != "made on the spot"}
    words = """first rgz mirabest protege mgcls lotss emu racs smgps thor glostar allwise glimpse hi-gal wise-hii hash
        atnf sdc1 magpis cornish scorpio vlass kimball smgps-extended gupta2024 segal2023 simclr cosmodeep"""
    assert [word for word in words.split() if not any(word in name for name in real)] == []


def test_each_entry_names_its_source_beside_it():
    """Who adds an address or a DOI says in a comment where it was found."""
    for entry in data.MANIFEST.read_text("utf-8").split("\n  - name: ")[1:]:
        if "https://" in entry or "doi: 10" in entry:
            assert "# Source" in entry, entry.splitlines()[0]


def test_registered_files_are_those_of_the_real_data(realdata, tmp_path, monkeypatch):
    """Hashes come from files, not from memory: copies of these serve as a mirror, and each is read as it says."""
    copies = {hashlib.sha256(path.read_bytes()).hexdigest(): path for path in realdata.glob("[!m]*/**/*.*")}
    monkeypatch.setenv("RADIOWIDGETS_MIRROR", str(tmp_path / "mirror"))
    found = set()
    for entry in data.read_manifest().values():
        for file in entry.files:
            if file.sha256 in copies:
                target = tmp_path / "mirror" / entry.name / file.name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(copies[file.sha256], target)
                assert data.load(entry.name, file.name) is not None
                found.add(entry.name)
    verified = {entry.name for entry in data.read_manifest().values() if entry.state == "verified"}
    assert found == verified - {"mgcls-protege"}
    assert {*data.verify().values()} == {"well", "not fetched"}


ENTRY = """\
datasets:
  - name: a
    title: A
    version: 2019
    doi: 10.1234/x
    state: verified
    licence: CC0
    citation: us
    loader: none
    files:
      - url: https://example.org/a.fits
        sha256: {sha}
        bytes: 12
"""


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("  - name: a", "  - name: ../a", 2, "small letters"),
        ("    title: A\n", "", 2, "'title' is missing"),
        ("    title: A", "    titel: A", 3, "'titel' is not a key"),
        ("    title: A", "    title: A\n    title: B", 4, "given twice"),
        ("    title: A", "    title: [A]", 3, "one line of text"),
        ("    version: 2019", "    version:", 4, "version is empty"),
        ("10.1234/x", "https://doi.org/10.1234/x", 5, "write it as 10.1234/abc"),
        ("verified", "fine", 6, "choose one of"),
        ("verified", "by hand", 2, "do not fit"),
        ("loader: none", "loader: os.system", 9, "choose one of"),
        ("https://example.org/a.fits", "file:///etc/passwd", 11, "is not an address"),
        ("https://example.org/a.fits", "https:///a.fits", 11, "is not an address"),
        ("a.fits", "%2e%2e%2fa.fits", 11, "cannot be the name"),
        ("a.fits", "", 11, "cannot be the name"),
        ("a.fits", "a.fits\n        name: C:x", 12, "cannot be the name"),
        ("{sha}", "abc", 12, "64 small hexadecimal"),
        ("bytes: 12", "bytes: -12", 13, "whole number"),
        ("        bytes: 12\n", "", 2, "do not fit"),
        ("datasets:", "datasets: [", 2, "not YAML"),
        ("datasets:\n", "datasets:\n  - *nothing\n", 2, "not YAML"),
        ("datasets:", "data:", 1, "is not a key"),
    ],
)
def test_a_fault_is_named_with_file_line_and_entry(tmp_path, old, new, line, message):
    path = tmp_path / "mine.yaml"
    path.write_text(ENTRY.replace(old, new, 1).replace("{sha}", SHA256), "utf-8")
    with pytest.raises(DataError) as caught:
        data.read_manifest(path)
    text = str(caught.value)
    assert text.startswith(f"{path}, line {line}") and message in text and "\n" not in text


def test_a_manifest_of_ones_own(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(ENTRY.replace("{sha}", SHA256) + "mirror: file:///stick\n", "utf-8")
    manifest = data.read_manifest(path)
    assert manifest.mirror == "file:///stick"
    assert manifest["a"].version == "2019" and manifest["a"].files[0].name == "a.fits"
    path.write_text("", "utf-8")
    with pytest.raises(DataError, match="mapping"):
        data.read_manifest(path)
    with pytest.raises(DataError, match="cannot be read"):
        data.read_manifest(tmp_path / "none.yaml")
    with pytest.raises(DataError, match=r"'b'.*data list"):
        manifest["b"]


# Fetching.


def test_a_file_is_fetched_once_and_checked_ever_after(server, cache):
    path = fetch(server.address())
    assert path == cache / "set" / "file.bin" and path.read_bytes() == CONTENT
    assert fetch(server.address()) == path and len(server.asked) == 1
    path.write_bytes(b"damaged")
    assert data.verify(manifest=registered(server.address())) == {"set/file.bin": "DAMAGED"}
    assert fetch(server.address()).read_bytes() == CONTENT and len(server.asked) == 2
    assert (cache / "set" / "file.bin.damaged").read_bytes() == b"damaged"
    assert data.verify(manifest=registered(server.address())) == {"set/file.bin": "well"}


def test_only_what_is_registered_is_fetched(server):
    with pytest.raises(DataError, match="registered as 'other'"):
        data.fetch("other", manifest=registered(server.address()))
    with pytest.raises(DataError, match=r"no file 'b.bin'; it has file.bin"):
        data.fetch("set", ["b.bin"], manifest=registered(server.address()))
    assert server.asked == []


def test_a_wrong_hash_keeps_nothing_and_says_so_in_a_line(server, cache):
    server.content = b"x" * len(CONTENT)
    with pytest.raises(DataError, match=r"not the file that is registered.*nothing was kept") as caught:
        fetch(server.address())
    assert "\n" not in str(caught.value)
    assert list((cache / "set").iterdir()) == []


def test_a_wrong_size_is_turned_down_before_it_is_fetched(server, cache):
    with pytest.raises(DataError, match="has 1024000 bytes and the manifest says 7"):
        fetch(server.address(), size=7)
    assert [path.name for path in (cache / "set").iterdir()] in ([], ["file.bin.part"])


def test_the_first_fetch_pins(server, cache):
    path = fetch(server.address(), sha256=None, size=None)
    done = subprocess.run(
        ["sha256sum", "-c", "file.bin.sha256"], cwd=path.parent, capture_output=True, text=True, check=False
    )
    assert done.stdout == "file.bin: OK\n"
    path.unlink()
    server.content = CONTENT[::-1]
    with pytest.raises(DataError, match=r"pinned in file.bin.sha256"):
        fetch(server.address(), sha256=None, size=None)
    assert not path.exists()
    (cache / "set" / "file.bin.sha256").write_text("nothing\n")
    with pytest.raises(DataError, match="holds no sha256"):
        fetch(server.address(), sha256=None, size=None)
    (cache / "set" / "file.bin.sha256").unlink()
    assert fetch(server.address(), sha256=None, size=None).read_bytes() == CONTENT[::-1]


def test_a_cut_connection_is_taken_up_where_it_ended(server):
    server.cuts = [300_000, 200_000]
    assert fetch(server.address()).read_bytes() == CONTENT
    starts = [int(asked.strip("bytes=-")) for _, asked in server.asked[1:]]
    assert server.asked[0][1] is None and len(starts) == 2
    # At most a block is lost at each cut.
    assert 300_000 - 2**16 < starts[0] <= 300_000 and starts[0] + 200_000 - 2**16 < starts[1] <= 500_000


def test_another_call_goes_on_where_the_first_gave_up(server, cache):
    server.cuts = [200_000] * 4
    with pytest.raises(DataError, match=r"goes on where it stopped") as caught:
        fetch(server.address(), sha256=None, size=None)
    assert "\n" not in str(caught.value)
    arrived = (cache / "set" / "file.bin.part").stat().st_size
    assert arrived > 500_000
    assert fetch(server.address(), sha256=None, size=None).read_bytes() == CONTENT
    assert server.asked[-1][1] == f"bytes={arrived}-"
    assert {path.name for path in (cache / "set").iterdir()} == {"file.bin", "file.bin.sha256"}


@pytest.mark.parametrize("change", [{"ranges": False}, {"version": None}, {"version": 'W/"one"'}])
def test_without_ranges_or_a_version_it_starts_anew(server, change):
    vars(server).update(change)
    server.cuts = [300_000]
    assert fetch(server.address(), sha256=None, size=None).read_bytes() == CONTENT


def test_two_versions_of_a_file_are_never_joined(server):
    server.cuts = [200_000] * 4
    with pytest.raises(DataError):
        fetch(server.address(), sha256=None, size=None)
    server.content, server.version = CONTENT[::-1], '"two"'
    assert fetch(server.address(), sha256=None, size=None).read_bytes() == CONTENT[::-1]


def test_a_part_that_is_too_long_is_begun_anew(server, cache):
    (cache / "set").mkdir(parents=True)
    (cache / "set" / "file.bin.part").write_bytes(CONTENT + b"more")
    (cache / "set" / "file.bin.part.version").write_text('"one"')
    assert fetch(server.address()).read_bytes() == CONTENT


def test_bytes_are_those_on_the_server(server):
    server.encoding = "gzip"  # declared by some archives for a .fits.gz that should stay as it is
    assert fetch(server.address("moved/file.bin")).read_bytes() == CONTENT


@pytest.mark.parametrize(("status", "attempts"), [(404, 1), (403, 1), (503, 4)])
def test_what_is_not_there_is_not_asked_for_again(server, status, attempts):
    server.status = status
    with pytest.raises(DataError, match=str(status)):
        fetch(server.address())
    assert len(server.asked) == attempts


def test_two_processes_do_not_write_one_part(server, tmp_path):
    fcntl = pytest.importorskip("fcntl")
    part = tmp_path / "x.part"
    with part.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(DataError, match="another process"):
            ResumingDownloader(part)(server.address(), str(tmp_path / "x"))


# The mirror.


@pytest.mark.parametrize("how", ["address", "folder", "http", "manifest", "argument"])
def test_a_mirror_needs_no_source(server, tmp_path, monkeypatch, how):
    stick = tmp_path / "stick of ours"
    (stick / "set").mkdir(parents=True)
    (stick / "set" / "file.bin").write_bytes(CONTENT)
    manifest, mirror = registered("http://127.0.0.1:9/file.bin"), None
    if how == "http":
        monkeypatch.setenv("RADIOWIDGETS_MIRROR", server.address("mirror/"))
    elif how == "manifest":
        manifest = data.Manifest(manifest.datasets, stick.as_uri())
    elif how == "argument":
        mirror = str(stick)
    else:
        monkeypatch.setenv("RADIOWIDGETS_MIRROR", stick.as_uri() if how == "address" else str(stick))
    (path,) = data.fetch("set", manifest=manifest, mirror=mirror, progress=False)
    assert path.read_bytes() == CONTENT
    assert path.stat().st_mode & 0o044 == 0o044  # a team shares the cache
    assert [asked for asked, _ in server.asked] == (["/mirror/set/file.bin"] if how == "http" else [])


def test_a_mirror_is_checked_like_any_source(tmp_path, monkeypatch):
    monkeypatch.setenv("RADIOWIDGETS_MIRROR", str(tmp_path))
    with pytest.raises(DataError, match="could not be fetched from file://"):
        fetch("http://127.0.0.1:9/file.bin")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "file.bin").write_bytes(b"other")
    with pytest.raises(DataError, match="nothing was kept"):
        fetch("http://127.0.0.1:9/file.bin")


# Nothing leaves the cache.


PIECES = [
    "..",
    ".",
    "/",
    "\\",
    "C:",
    "//host/share",
    "a",
    "b.fits",
    "~",
    "",
    "\0",
    "\n",
    "%2e",
    "CON",
    "…",
    " ",
]


@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=4), min_size=1, max_size=6).map("".join))
def test_no_name_leads_out_of_the_cache(name):
    cache = data.cache_folder().resolve()
    for dataset, file in (("set", name), (name, "file")):
        try:
            path = data.cache_path(dataset, file)
        except DataError:
            continue
        assert Path(os.path.normpath(path)) == path and cache in path.parents


@pytest.mark.parametrize(
    "name", ["../x", "/etc/x", "C:x", "C:\\x", "a\\..\\..\\x", "a/../../x", "a//x", "x.", "x.part"]
)
def test_names_that_could_mean_another_place(name):
    with pytest.raises(DataError, match="plain path"):
        data.cache_path("set", name)


def test_links_out_of_the_cache_are_not_followed(server, cache, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    cache.mkdir()
    (cache / "set").symlink_to(outside)
    with pytest.raises(DataError, match="link"):
        fetch(server.address())
    (cache / "set").unlink()
    (cache / "set").mkdir()
    (cache / "set" / "file.bin").symlink_to(outside / "new")
    with pytest.raises(DataError, match="link"):
        fetch(server.address())
    assert list(outside.iterdir()) == []


def test_the_cache_itself_may_be_a_link(server, cache, tmp_path):
    (tmp_path / "disk").mkdir()
    cache.symlink_to(tmp_path / "disk")
    assert fetch(server.address()).read_bytes() == CONTENT
    assert (tmp_path / "disk" / "set" / "file.bin").exists()


def test_archives_stay_packed(server, cache, tmp_path):
    archive = shutil.make_archive(str(tmp_path / "a"), "zip", ROOT / "tests" / "data")
    server.content = Path(archive).read_bytes()
    path = fetch(server.address("a.zip"), sha256=None, size=None, name="a.zip")
    assert {entry.name for entry in path.parent.iterdir()} == {"a.zip", "a.zip.sha256"}


# Loading.


def test_mocks_are_made_on_the_spot():
    assert data.fetch("emu") == []
    assert data.load("emu", size=64, seed=1).shape == (64, 64)


def test_by_hand_says_where_to_ask():
    manifest = data.read_manifest()
    names = [entry.name for entry in manifest.values() if entry.state == "by hand"]
    for name in names:
        with pytest.raises(DataError) as caught:
            data.fetch(name)
        assert manifest[name].where in str(caught.value)


def test_what_was_got_by_hand_is_read_by_its_loader(tmp_path):
    path = tmp_path / "static_rgz_flat.csv"
    path.write_text(
        "rgz_name,radio.ra,radio.dec,consensus.radio_level,radio.number_components,radio.number_peaks,"
        "radio.max_angular_extent\nRGZJ1,10,0,0.7,1,2,20\nRGZJ2,20,0,0.5,1,1,20\n"
    )
    assert list(data.load("rgz", str(path))["class"]) == ["1C-2P"]
    assert len(data.load("rgz", str(path), consensus=0.5)) == 2
    assert data.load("simclr-weights", str(path)) == path
    with pytest.raises(DataError, match=r"no file nowhere\.csv; how to get rgz: .*read_rgz"):
        data.load("rgz", "nowhere.csv")


def test_reading_the_manifest_needs_neither_network_nor_heavy_imports():
    code = "import sys; from radiowidgets.data.manifest import read_manifest; read_manifest();"
    code += "print(*{'astropy', 'numba', 'requests', 'pooch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_yaml_is_plain():
    assert isinstance(yaml.safe_load(data.MANIFEST.read_text("utf-8")), dict)
    assert issubclass(DataError, RadioWidgetsError)
