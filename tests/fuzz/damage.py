"""Whole files of every kind that is read, ways of damaging them, and what must hold of whoever reads them."""

import contextlib
import gzip
import io
import itertools
import json
import math
import re
import resource
import signal
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from astropy import units as u
from astropy.io import fits
from astropy.table import MaskedColumn, Table
from hypothesis import strategies as st

from radiowidgets.data import fitsfile, tablefiles
from radiowidgets.data.catalogues import read_catalogue
from radiowidgets.data.manifest import MANIFEST, read_manifest
from radiowidgets.data.maps import SkyMap
from radiowidgets.errors import DataError, LabelError, RadioWidgetsError
from radiowidgets.exchange.astronomaly import read_astronomaly
from radiowidgets.exchange.sclassifier import read_caesar, read_data_list, read_features, write_caesar
from radiowidgets.labels.events import Event
from radiowidgets.labels.log import LabelLog
from radiowidgets.labels.schema import DEFAULT_SCHEMA, Schema
from radiowidgets.models.cards import Card, read_card, write_card
from radiowidgets.run.files import read_about

SECONDS = 20  # of the processor, for one file of some kilobytes
MEMORY = 2**29  # bytes beyond what was there before
EXPANDED = 2**25  # what a compressed file may expand to, so that memory tells


class Hang(BaseException):
    """A reader takes too long; no reader catches it."""


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    """Let what is within neither run for long nor take much memory."""

    def stop(*_: object) -> None:
        raise Hang

    statm = Path("/proc/self/statm")  # Linux alone tells, and keeps the limit
    before = resource.getrlimit(resource.RLIMIT_AS)
    handler = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    if statm.exists():
        taken = int(statm.read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, handler)


# ------------------------------------------------------------ whole files


def sky_header(**cards: object) -> fits.Header:
    header = fits.Header()
    for key, value in {
        "CTYPE1": "RA---SIN", "CTYPE2": "DEC--SIN", "CRVAL1": 200.0, "CRVAL2": -30.0, "CRPIX1": 9.5, "CRPIX2": 6.5,
        "CDELT1": -2 / 3600, "CDELT2": 2 / 3600, "BUNIT": "JY/BEAM", "BMAJ": 10 / 3600, "BMIN": 8 / 3600,
        "BPA": 30.0, "RESTFRQ": 1.4e9, "EQUINOX": 2000.0, **cards,
    }.items():  # fmt: skip
        header[key] = value
    return header


def as_bytes(*units: object) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fits.HDUList(list(units)).writeto(buffer, output_verify="ignore")
    return buffer.getvalue()


def maps() -> list[bytes]:
    rng = np.random.default_rng(0)
    pixels = rng.normal(size=(12, 18)).astype(np.float32)
    pixels[3, 4] = np.nan
    whole = rng.integers(-1000, 1000, size=(12, 18)).astype(np.int16)
    history = sky_header(CTYPE3="FREQ", CRVAL3=1.4e9, CDELT3=1e6, CRPIX3=1.0)
    history["HISTORY"] = "AIPS   CLEAN BMAJ=  1.2500E-03 BMIN=  1.2500E-03 BPA=   0.00"
    return [
        as_bytes(fits.PrimaryHDU(pixels, sky_header())),
        as_bytes(fits.PrimaryHDU(pixels[None, None].astype(np.float64), history)),
        as_bytes(fits.PrimaryHDU(whole, sky_header(BLANK=-32768)), fits.ImageHDU(pixels, name="RMS")),
        as_bytes(fits.PrimaryHDU(), fits.BinTableHDU(example()), fits.ImageHDU(pixels, sky_header())),
    ]


def tiled_maps() -> list[bytes]:
    rng = np.random.default_rng(0)
    whole = rng.integers(0, 1000, size=(12, 18)).astype(np.int32)
    pixels = rng.normal(size=(12, 18)).astype(np.float32)
    return _tiled([("RICE_1", whole), ("GZIP_1", whole), ("GZIP_2", pixels), ("RICE_1", pixels)])


def unsafe_maps() -> list[bytes]:
    whole = np.random.default_rng(0).integers(0, 1000, size=(12, 18)).astype(np.int32)
    return _tiled([("PLIO_1", whole), ("HCOMPRESS_1", whole)])


def _tiled(kinds: list[tuple[str, np.ndarray]]) -> list[bytes]:
    return [
        as_bytes(fits.PrimaryHDU(), fits.CompImageHDU(data, sky_header(), compression_type=kind))
        for kind, data in kinds
    ]


def example() -> Table:
    table = Table()
    table["Source"] = ["one", "two", "three"]
    table["RA"] = [10.0, 200.5, 359.9] * u.deg
    table["DEC"] = [-5.0, 60.25, 0.0] * u.deg
    table["Total_flux"] = MaskedColumn([1.5, 2.5, 3.5], mask=[False, True, False], unit="mJy")
    table["Maj"] = [0.002, 0.003, 0.004] * u.deg
    table["Number"] = MaskedColumn([1, 2, 3], mask=[False, False, True])
    return table


def catalogues() -> list[bytes]:
    result = []
    for kind in ("fits", "votable", "ascii.ipac", "ascii.ecsv", "ascii.csv"):
        buffer = io.BytesIO() if kind in {"fits", "votable"} else io.StringIO()
        example().write(buffer, format=kind)
        content = buffer.getvalue()
        result.append(content if isinstance(content, bytes) else content.encode())
    result.append(
        b'#Coosys J2000\nSNR;RAJ2000;DEJ2000\n ;"h:m:s";"d:m:s"\n---;---;---\nG0+0;17 45 44;-29 00\n'
    )
    result.append(
        b"# Source_id RA DEC Total_flux Peak_flux Maj\n 0 10.5 -3.25 1.5e-3 1.2e-3 0.002\n 1 11 2 1e-3 9e-4 0.1\n"
    )
    return result


def regions() -> list[bytes]:
    return [
        b"# Region file format: DS9\nglobal color=green\nfk5\n"  # noqa: ISC004
        b'circle(83.6,22.0,30") # text={a source} tag={A}\nellipse(10.0,0.0,60",20",90)\n',
        b"galactic\npolygon(10.1,0.1,10.2,0.1,10.2,0.2)\nbox(10,0,1',2',30)\npoint(359.9,-0.5) # point=cross\n",
        b"image\ncircle(100,200,5)\nannulus(3,4,1,2)\n-ellipse(30,30,5,2,10)\nline(1,2,3,4)\n",
        b"icrs; circle(05:34:31.9, +22:00:52, 12.5\")\nicrs; ellipse(5h34m31.9s,+22d0m52s,1',0.5',45)\n",
    ]  # fmt: skip


def label_lines() -> list[bytes]:
    frame = {
        "frame_id": "emu-x00000-y00000-64x64",
        "map": "emu",
        "box": [0, 0, 64, 64],
        "ra": 1.5,
        "dec": -2.5,
    }
    events = [
        {"counter": 1, "frames": [{**frame, "shown": {"look": "rank", "rank": 3}}], "set": {"interest": 4}},
        {"counter": 2, "frames": [frame, {"frame_id": "b"}], "add": ["EXTENDED"], "remove": ["COMPACT"]},
        {"counter": 3, "frames": [frame], "note": "a bridge\nsüd", "set": {"interest": None}},
        {"counter": 4, "frames": [frame], "undoes": "e2", "later": {"x": [1.5, None, True]}},
    ]
    for event in events:
        event |= {"version": 1, "event_id": f"e{event['counter']}", "annotator": "ana", "session": "s"}
        event["time"] = "2026-11-02T20:25:31.120+00:00"
    return [b"".join(json.dumps(event).encode() + b"\n" for event in events)]


def manifests() -> list[bytes]:
    entries = re.split(r"(?m)^(?=  - )", MANIFEST.read_text("utf-8"))
    fetched = next(entry for entry in entries if "sha256:" in entry)
    return [(entries[0] + entries[1] + fetched).encode()]


def run_abouts() -> list[bytes]:
    text = """
format: 1
created: '2026-11-02T20:25:31+00:00'
frames: {count: 9, geometry: abc}
maps:
  emu: {path: emu.fits, absolute: /data/emu.fits, hdu: null, fingerprint: 1-a-b}
parameters: {size: 64, step: 1.5, when: 2026-11-02}
versions: {numpy: 2.1.0}
"""
    return [text.encode()]


def feature_tables() -> list[bytes]:
    return [
        b"# sname z1 z2 id id_pred prob is_outlier outlier_score\ns1 0.5 1e-3 1 2 0.9 0 0.1\ns2 nan 4 -1 3 0.2 1 0\n",
        b"a 1 2 3\nb 4 5 6\n",
    ]


def data_lists() -> list[bytes]:
    entry = {"filepaths": ["a.fits", "b.fits"], "sname": "s1", "id": 1, "label": "PN", "feats": [1.5, 2]}
    more = {"filepaths": [], "sname": "s2", "ids": [1, 2], "label": ["PN", "HII"], "is_outlier": 1}
    return [json.dumps({"data": [entry, more]}).encode()]


def anomaly_scores() -> list[bytes]:
    return [b'objid,score,human_label,acquisition\na,1.5,-1,0.2\n"b,2",2,5,nan\nc,-3e2,0,0\n']


# ------------------------------------------------------------ reading, and what must hold


def read_map(path: Path) -> None:
    sky = SkyMap.open(path)
    found = sky.read(0, sky.shape[0], 0, sky.shape[1])
    assert found.shape == sky.shape and not np.isinf(found).any()
    ra, dec = sky.pixel_to_sky([0, 1], [0, 1])
    assert np.isnan(ra).any() or ((ra >= 0) & (ra <= 360) & (np.abs(dec) <= 90)).all()
    assert sky.beam_area_pixels is None or sky.beam_area_pixels > 0
    assert all("\n" not in note and len(note) < 300 for note in sky.notes)
    compare_with_astropy(path, found)


def read_unsafe_map(path: Path) -> None:
    """Not compared: in this process the decoders could end it."""
    sky = SkyMap.open(path)
    assert not np.isinf(sky.read(0, sky.shape[0], 0, sky.shape[1])).any()


def compare_with_astropy(path: Path, found: np.ndarray) -> None:
    """No silent number: where astropy can read the file, it finds the same pixels in one of its images."""
    if any(int(match[2][:18]) > 999 for match in tablefiles._COUNTS.finditer(path.read_bytes())):
        return  # astropy would count up to it
    images = []
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            with fits.open(path, memmap=False) as units:
                for unit in itertools.islice(units, 8):  # rubbish may go on for very long
                    if unit.is_image and unit.data is not None and unit.data.size == found.size:
                        image = np.array(unit.data.reshape(found.shape), np.float32)
                        images.append(np.where(np.isinf(image), np.nan, image))
    except Exception:  # noqa: BLE001 - what astropy makes of damaged files is its own affair
        return
    assert not images or any(np.array_equal(found, image, equal_nan=True) for image in images)


def read_table_of_sources(path: Path) -> None:
    table = read_catalogue(path)
    assert {"ra", "dec"} <= set(table.columns)
    assert table.ra.dropna().between(0, 360).all() and table.dec.dropna().between(-90, 90).all()
    for name in table.columns:
        if pd.api.types.is_float_dtype(table[name]):
            assert not np.isinf(table[name].to_numpy(np.float64)).any(), name
    assert all("\n" not in note for note in table.notes)


def read_labels(path: Path) -> None:
    """Every line is an event or a problem that is told; nothing is lost silently."""
    log = LabelLog(path.parent, annotator="reader")
    events, problems = log.events(), log.problems
    valid, wrong = set(), 0
    *lines, rest = path.read_bytes().split(b"\n")
    for line in filter(bytes.strip, lines):
        try:
            valid.add(Event.from_line(line).event_id)
        except ValueError:
            wrong += 1
    assert {event.event_id for event in events} == valid
    assert sum(": skipped" in problem or "more lines" in problem for problem in problems) >= min(wrong, 1)
    assert not rest or any("unfinished last line" in problem for problem in problems)
    for event in events:
        assert event.set.get("interest") in (None, *range(6)) and event.counter > 0
        for frame in event.frames:
            assert all(value is None or math.isfinite(value) for value in (frame.ra, frame.dec))
        assert Event.from_line(event.to_line()) == event
    assert len(log.history()) == len(events) and log.table()["interest"].dropna().between(0, 5).all()
    assert all(problem.isprintable() for problem in problems)
    if wrong:
        raise LabelError("lines were skipped, and that was told")


def read_whole_manifest(path: Path) -> None:
    for dataset in read_manifest(path).values():
        assert re.fullmatch("[a-z0-9][a-z0-9-]*", dataset.name)
        for file in dataset.files:
            assert not re.search(r"\.\.|\\|^/|\0", file.name)
            assert file.sha256 is None or len(file.sha256) == 64


def read_run(path: Path) -> None:
    place = path.parent / "run.yaml"
    path.replace(place)
    about = read_about(place.parent)
    assert all(isinstance(about[key], dict) for key in ("frames", "maps", "parameters"))


def read_features_table(path: Path) -> None:
    table = read_features(path)
    assert "label" in table and len(table) + len(table.left_out) > 0


def read_data_entries(path: Path) -> None:
    table = read_data_list(path)
    assert table.index.map(type).isin([str]).all()


def read_objects(path: Path) -> None:
    table = read_caesar(path)
    assert (table["x1"] > table["x0"]).all() and table["score"].between(0, 1).all()


def objects_of_caesar() -> list[bytes]:
    table = pd.DataFrame({"x0": [1, 8], "y0": [2, 0], "x1": [4, 9], "y1": [5, 3], "score": [0.9, 0.5]})
    table["kind"] = ["COMPACT", "FLAGGED"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "objects.json"
        write_caesar(path, table)
        write_caesar(path.with_suffix(".masks"), table, [(2, 1, np.ones((3, 3), bool))] * 2)
        return [path.read_bytes(), path.with_suffix(".masks").read_bytes()]


def read_scores(path: Path) -> None:
    output = read_astronomaly(path)
    assert output.scores["human_label"].dropna().between(0, 5).all()


def read_schema(path: Path) -> None:
    assert all(1 <= len(name) <= 64 for name in Schema.load(path).tags)


def read_model_card(path: Path) -> None:
    (path.parent / "model.txt").write_text("tree")
    path.replace(path.parent / "card.json")
    card = read_card(path.parent)
    assert card.classes and card.inputs and isinstance(card.recipe, dict)


def cards() -> list[bytes]:
    card = Card(
        "boosting", "m", ("A", "B"), ("x", "y"), data={"n": 5}, recipe={"trees": 9}, metrics={"f1": 0.9}
    )
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "model.txt").write_text("tree")
        return [(write_card(folder, card) / "card.json").read_bytes()]


#: kind: (whole files, reader, errors that it may end with)
KINDS: dict[str, tuple[Callable[[], list[bytes]], Callable[[Path], None], type[Exception]]] = {
    "map": (maps, read_map, RadioWidgetsError),
    "gzipped map": (maps, read_map, RadioWidgetsError),
    "tiled map": (tiled_maps, read_map, RadioWidgetsError),
    "tiled map of unsafe decoders": (unsafe_maps, read_unsafe_map, RadioWidgetsError),
    "catalogue": (catalogues, read_table_of_sources, RadioWidgetsError),
    "gzipped catalogue": (catalogues, read_table_of_sources, RadioWidgetsError),
    "regions": (regions, read_table_of_sources, RadioWidgetsError),
    "labels": (label_lines, read_labels, LabelError),
    "manifest": (manifests, read_whole_manifest, DataError),
    "run": (run_abouts, read_run, RadioWidgetsError),
    "schema": (lambda: [DEFAULT_SCHEMA.to_yaml().encode()], read_schema, LabelError),
    "features of sclassifier": (feature_tables, read_features_table, RadioWidgetsError),
    "data list of sclassifier": (data_lists, read_data_entries, RadioWidgetsError),
    "objects of caesar": (objects_of_caesar, read_objects, RadioWidgetsError),
    "scores of Astronomaly": (anomaly_scores, read_scores, RadioWidgetsError),
    "card of a model": (cards, read_model_card, RadioWidgetsError),
}


def check(kind: str, content: bytes, path: Path) -> bool:
    """Read a file; whether it was read. An error that is not the package's own, and one of memory, comes through."""
    _, reader, expected = KINDS[kind]
    path.write_bytes(content)
    limits = fitsfile.MAX_EXPANDED_BYTES, tablefiles.MAX_BYTES
    fitsfile.MAX_EXPANDED_BYTES = tablefiles.MAX_BYTES = EXPANDED
    try:
        with bounded(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reader(path)
    except expected as error:
        message, cause = str(error), error.__cause__
        if isinstance(cause, MemoryError):
            raise
        assert "\n" not in message and len(message) < 2000, message
        return False
    finally:
        fitsfile.MAX_EXPANDED_BYTES, tablefiles.MAX_BYTES = limits
    return True


# ------------------------------------------------------------ damage

WORDS = [
    b"NaN", b"inf", b"-inf", b"1E400", b"-1", b"0", b"2", b"9" * 20, b"9" * 400, b"2147483648", b"-9223372036854775809",
    b"4294967297", b"1e-320", b"1e308", b"''", b"'x'", b"T", b"null", b"true", b"{}", b"[]", b"\xff\x00", b"", b"&a *a",
    b"0x10", b"1_000", b"\xc3\xa9", b"../../x", b"-", b"1,5", b"2026-99-99", b"!!python/object:os.system x",
]  # fmt: skip
NUMBER = re.compile(rb"(?<![\w.])[-+]?\d+\.?\d*(?:[eE][-+]?\d+)?")


def edits(donors: list[bytes]) -> st.SearchStrategy:
    """Return ways of damaging a file: each takes bytes and gives bytes; places are shares of its length."""
    place = st.floats(0, 1, exclude_max=True)
    donor = st.sampled_from(donors)
    return st.one_of(
        st.builds(_flip, place, st.integers(0, 255)),
        st.builds(_cut, place),
        st.builds(_drop, place, st.integers(1, 200)),
        st.builds(_insert, place, st.binary(min_size=1, max_size=12)),
        st.builds(_splice, place, place, st.integers(1, 400), donor),
        st.builds(_number, place, st.sampled_from(WORDS)),
        st.builds(_card, place, st.sampled_from(WORDS)),
        st.builds(_repeat, place, st.sampled_from((1, 16, 80, 2880)), st.sampled_from((2, 40))),
        st.builds(_swap, place, place, st.sampled_from((1, 80))),
    )


def damaged(kind: str) -> st.SearchStrategy[bytes]:
    """Return damaged files of a kind."""
    whole = KINDS[kind][0]()
    changed = st.builds(_apply, st.sampled_from(whole), st.lists(edits(whole), min_size=1, max_size=5))
    if kind.startswith("gzipped"):
        packed = changed.map(lambda content: gzip.compress(content, 1, mtime=0))
        return st.builds(_apply, packed, st.lists(edits(whole), max_size=1))
    return changed


Edit = Callable[[bytes], bytes]


def _apply(content: bytes, changes: list[Edit]) -> bytes:
    for change in changes:
        content = change(content)
    return content


def _flip(place: float, value: int) -> Edit:
    return lambda data: _put(data, int(place * len(data)), bytes([value]), 1)


def _cut(place: float) -> Edit:
    return lambda data: data[: int(place * len(data))]


def _drop(place: float, count: int) -> Edit:
    return lambda data: _put(data, int(place * len(data)), b"", count)


def _insert(place: float, piece: bytes) -> Edit:
    return lambda data: _put(data, int(place * len(data)), piece, 0)


def _splice(place: float, start: float, count: int, donor: bytes) -> Edit:
    first = int(start * len(donor))
    return lambda data: _put(data, int(place * len(data)), donor[first : first + count], count)


def _number(place: float, word: bytes) -> Edit:
    """Replace a number, as text knows them."""

    def change(data: bytes) -> bytes:
        found = list(NUMBER.finditer(data, 0, 20_000))
        if not found:
            return data
        match = found[int(place * len(found))]
        return _put(data, match.start(), word, len(match[0]))

    return change


def _card(place: float, word: bytes) -> Edit:
    """Replace the value of a card of a FITS header, keeping the header's grid."""

    def change(data: bytes) -> bytes:
        cards = [at for at in range(0, min(len(data), 40_000) - 79, 80) if data[at + 8 : at + 10] == b"= "]
        if not cards:
            return data
        return _put(data, cards[int(place * len(cards))] + 10, word[:70].rjust(20), max(20, len(word[:70])))

    return change


def _repeat(place: float, count: int, times: int) -> Edit:
    def change(data: bytes) -> bytes:
        at = int(place * len(data)) // count * count
        return _put(data, at, data[at : at + count] * times, count) if len(data) < 10**6 else data

    return change


def _swap(place: float, other: float, count: int) -> Edit:
    def change(data: bytes) -> bytes:
        first, second = (int(share * len(data)) // count * count for share in sorted((place, other)))
        a, b = data[first : first + count], data[second : second + count]
        return _put(_put(data, second, a, count), first, b, count)

    return change


def _put(data: bytes, at: int, piece: bytes, count: int) -> bytes:
    return data[:at] + piece + data[at + count :]
