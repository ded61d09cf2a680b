"""Files made to do harm: bombs, lengths that lie, weights with code in them."""

import contextlib
import gzip
import json
import struct
import subprocess
import sys

import numpy as np
import pytest
from astropy.io import fits
from fuzz.damage import as_bytes, bounded, manifests, sky_header

from radiowidgets.data import fitsfile
from radiowidgets.data.catalogues import read_catalogue
from radiowidgets.data.manifest import read_manifest
from radiowidgets.data.maps import SkyMap
from radiowidgets.errors import CatalogueError, DataError, LabelError, MapError, RunError
from radiowidgets.exchange.astronomaly import read_astronomaly
from radiowidgets.exchange.sclassifier import read_data_list
from radiowidgets.labels.schema import Schema
from radiowidgets.run.files import read_about


def tiled(data: np.ndarray, kind: str, **more) -> bytearray:
    return bytearray(
        as_bytes(fits.PrimaryHDU(), fits.CompImageHDU(data, sky_header(), compression_type=kind, **more))
    )


def table_of(content: bytes) -> int:
    """Return where the rows of the only table begin."""
    return (content.rindex(b"END" + b" " * 77) // 2880 + 1) * 2880


# ------------------------------------------------------------ maps


@pytest.mark.parametrize("lie", ["larger", "negative", "planes", "length"])
def test_lengths_in_tiles_that_lie_do_not_end_the_kernel(tmp_path, lie):
    data = np.random.default_rng(0).integers(0, 1000, size=(16, 32)).astype(np.int32)
    content = tiled(data, "PLIO_1" if lie == "length" else "HCOMPRESS_1", tile_shape=(16, 32))
    heap = table_of(content) + 8
    if lie == "length":  # of the list of a run-length code, in 16-bit words
        content[heap + 6 : heap + 10] = struct.pack(">2h", 32767, 32767)
    else:
        assert content[heap : heap + 2] == b"\xdd\x99"
        sides = {"larger": (1 << 14, 1 << 14), "negative": (-1, 32), "planes": (16, 32)}[lie]
        content[heap + 2 : heap + 10] = struct.pack(">2i", *sides)
        if lie == "planes":
            content[heap + 22 : heap + 25] = b"\xff\xff\xff"
    path = tmp_path / "lie.fits.fz"
    path.write_bytes(content)
    with contextlib.suppress(
        MapError
    ):  # what it finds may pass for pixels; that this process lives on counts
        SkyMap.open(path).rows(0, 16)


@pytest.mark.parametrize(("end", "read"), [(b"END" + b" " * 76 + b"\0", True), (b"ENX" + b" " * 77, False)])
def test_a_header_without_its_end_does_not_take_the_next_one_for_it(tmp_path, end, read):
    first, second = (np.full((8, 8), value, np.int16) for value in (7, 9))
    content = as_bytes(fits.PrimaryHDU(first, sky_header()), fits.ImageHDU(second, sky_header()))
    path = tmp_path / "end.fits"
    path.write_bytes(content.replace(b"END" + b" " * 77, end, 1))
    if read:
        np.testing.assert_array_equal(SkyMap.open(path).pixels, first)
    else:
        with pytest.raises(MapError, match="has no END"):
            SkyMap.open(path)


def test_a_tile_that_expands_beyond_its_pixels_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(fitsfile, "_UNCHECKED", 2**20)
    data = np.random.default_rng(0).normal(size=(64, 512)).astype(np.float32)
    content = tiled(data, "GZIP_1", quantize_level=0, tile_shape=(64, 512))
    path = tmp_path / "bomb.fits.fz"
    path.write_bytes(content)
    np.testing.assert_array_equal(SkyMap.open(path).pixels, data)
    at = content.index(b"\x1f\x8b", table_of(content))
    bomb = gzip.compress(bytes(2**26), 9)
    content[at : at + len(bomb)] = bomb
    path.write_bytes(content)
    with bounded(), pytest.raises(MapError, match="expands beyond its 32768 pixels"):
        SkyMap.open(path)


def test_a_gzipped_file_of_endless_headers_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(fitsfile, "MAX_HEADER_BYTES", 2**20)
    empty = as_bytes(fits.PrimaryHDU())
    more = as_bytes(fits.PrimaryHDU(), fits.ImageHDU())[len(empty) :]
    path = tmp_path / "endless.fits.gz"
    path.write_bytes(gzip.compress(empty + more * 600))
    with bounded(), pytest.raises(MapError, match="headers of more than"):
        SkyMap.open(path)
    path.write_bytes(gzip.compress(empty + more * 20))
    with pytest.raises(MapError, match="holds no image"):
        SkyMap.open(path)


def test_a_gzipped_map_takes_no_more_memory_than_it_may(tmp_path, monkeypatch):
    monkeypatch.setattr(fitsfile, "MAX_EXPANDED_BYTES", 2**24)
    header = fits.Header({"SIMPLE": True, "BITPIX": 8, "NAXIS": 1, "NAXIS1": 2**23})
    piece = header.tostring().encode() + bytes(2**23 + (-(2**23)) % 2880)
    image = piece.replace(b"SIMPLE  =                    T", b"XTENSION= 'IMAGE   '          ", 1)
    path = tmp_path / "many.fits.gz"
    path.write_bytes(gzip.compress(piece + image * 4, 1))
    with bounded(), pytest.raises(MapError, match="would expand to"):
        SkyMap.open(path)


@pytest.mark.parametrize("step", [1e308, 1e-320, 1e5])
@pytest.mark.parametrize("kinds", [("RA---SIN", "DEC--SIN"), ("X", "Y")])
def test_pixels_that_are_none_of_the_sky_have_no_scale(tmp_path, step, kinds):
    header = sky_header(CDELT1=-step, CDELT2=step, CTYPE1=kinds[0], CTYPE2=kinds[1])
    path = tmp_path / "scale.fits"
    path.write_bytes(as_bytes(fits.PrimaryHDU(np.zeros((4, 4), np.float32), header)))
    sky = SkyMap.open(path)
    assert sky.pixel_scale is None and sky.beam_area_pixels is None


# ------------------------------------------------------------ tables


@pytest.mark.parametrize("card", ["NAXIS", "TFIELDS"])
def test_a_table_of_countless_axes_or_columns_is_refused(tmp_path, card):
    content = as_bytes(
        fits.PrimaryHDU(), fits.BinTableHDU.from_columns([fits.Column("ra", "D", array=[1.0])])
    )
    at = content.rindex(f"{card:8}= ".encode()) + 10
    path = tmp_path / "countless.fits"
    path.write_bytes(content[:at] + b"2147483648".rjust(20) + content[at + 20 :])
    with bounded(), pytest.raises(CatalogueError, match="FITS allows 999"):
        read_catalogue(path)


def test_numbers_that_overflow_in_another_unit_are_missing(tmp_path):
    path = tmp_path / "large.csv"
    path.write_text("ra,dec,maj\n1,2,1e308\n1,2,0.5\n")
    table = read_catalogue(path, columns={"major": "maj"}, units={"maj": "deg"})
    np.testing.assert_array_equal(table["major"], [np.nan, 1800])
    assert any("beyond all bounds" in note for note in table.notes)


VOTABLE = """<?xml version="1.0"?>
<VOTABLE version="1.4"><RESOURCE><TABLE {table}><FIELD name="ra" {field}/><DATA><TABLEDATA><TR><TD>1</TD></TR>
</TABLEDATA></DATA></TABLE></RESOURCE></VOTABLE>"""


@pytest.mark.parametrize(
    ("table", "field", "says"),
    [
        ('nrows="2000000000"', 'datatype="double"', "promises 2000000000 rows"),
        ("nrows = '&#50;000000000'", 'datatype="double"', "character codes"),
        ("", 'datatype="double" arraysize="3000000"', "promises 0 rows of 3000000"),
        ('nrows="300"', 'datatype="char" arraysize="60000"', "promises 300 rows of 60000"),
        ("", 'datatype="char" arraysize="20*"', None),
        ('nrows="1"', 'datatype="double"', None),
    ],
)
def test_a_votable_that_promises_too_much_is_refused(tmp_path, table, field, says):
    path = tmp_path / "promise.xml"
    path.write_text(VOTABLE.format(table=table, field=field))
    with bounded(), contextlib.nullcontext() if says is None else pytest.raises(CatalogueError, match=says):
        assert len(read_catalogue(path)) == 1


def test_a_header_of_ecsv_that_grows_without_end_is_refused(tmp_path):
    lines = ["%ECSV 1.0", "---", "datatype:", "- {name: ra, datatype: float64}", *MERGES.splitlines()]
    path = tmp_path / "grows.ecsv"
    path.write_text("".join(f"# {line}\n" for line in lines) + "ra\n1\n")
    with bounded(), pytest.raises(CatalogueError, match="merges maps"):
        read_catalogue(path)


@pytest.mark.parametrize(
    "content",
    [
        ",".join(["ra"] * 20_000) + "\n" + ",".join(["1"] * 20_000) + "\n",
        "fk5\ncircle(10,20,5)\n" + "line " * 40_000 + "\n",
        'fk5\ncircle(10,20,5")\n' + "text" + " " * 100_000 + "\n",
    ],
)
def test_long_lines_of_one_word_are_read_in_time(tmp_path, content):
    path = tmp_path / "long.txt"
    path.write_text(content)
    with bounded(), contextlib.suppress(CatalogueError):
        read_catalogue(path)


def test_scores_that_begin_with_blank_lines_are_refused(tmp_path):
    path = tmp_path / "ml_scores.csv"
    path.write_text("\n\nobjid,score,human_label\na,1,2\n")
    with pytest.raises(DataError, match="is empty"):
        read_astronomaly(path)


def test_ids_that_no_float_holds_are_left_out(tmp_path):
    path = tmp_path / "list.json"
    entry = {"filepaths": [], "sname": "s1", "id": 1, "feats": [1.0]}
    entries = [entry, {**entry, "id": 10**400}, {**entry, "feats": [10**400]}]
    path.write_text(json.dumps({"data": entries}))
    table = read_data_list(path)
    assert len(table) == 1 and table.left_out["entry"].tolist() == [2, 3]


@pytest.mark.parametrize("what", ["text", "FITS"])
def test_a_gzipped_catalogue_that_expands_too_far_is_refused(tmp_path, what):
    path = tmp_path / "bomb.csv.gz"
    rows = b"ra,dec\n" if what == "text" else as_bytes(fits.PrimaryHDU())
    with gzip.open(path, "wb", 1) as stream:
        stream.write(rows)
        for _ in range(160):
            stream.write(b"1,2\n" * 2**18)
    with bounded(), pytest.raises(CatalogueError, match=r"expands from .*\(gunzip"):
        read_catalogue(path)


def test_a_table_of_rows_without_bytes_is_refused(tmp_path):
    table = fits.BinTableHDU.from_columns([fits.Column("ra", "0D")], nrows=0)
    table.header["NAXIS1"], table.header["NAXIS2"] = 0, 2**31 - 1
    content = as_bytes(fits.PrimaryHDU()) + table.header.tostring().encode()
    path = tmp_path / "rows.fits"
    path.write_bytes(content)
    with bounded(), pytest.raises(CatalogueError):
        read_catalogue(path)


# ------------------------------------------------------------ YAML


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("name: emu", "[a, b]: emu", "is not a key"),
        ("name: emu", "? {a: b}\n    : emu", "is not a key"),
        ("url: http", "url: http://[h", "is not an address"),
        ("bytes: ", "bytes: " + "9" * 5000, "is a whole number"),
    ],
)
def test_a_manifest_that_would_break_its_reader_is_refused(tmp_path, old, new, says):
    path = tmp_path / "manifest.yaml"
    path.write_text(manifests()[0].decode().replace(old, new, 1))
    with pytest.raises(DataError, match=says):
        read_manifest(path)


MERGES = "a: &a0 {x: 1}\n" + "".join(
    f"b{k}: &a{k + 1} {{<<: [{', '.join([f'*a{k}'] * 9)}]}}\n" for k in range(9)
)
ALIASES = "format: &a0 [x, x]\n" + "".join(
    f"b{k}: &a{k + 1} [{', '.join([f'*a{k}'] * 9)}]\n" for k in range(12)
)
SECTIONS = "frames: {}\nmaps: {}\nparameters: {}\n"


@pytest.mark.parametrize(
    "text",
    [
        MERGES + SECTIONS + "format: 1\n",
        ALIASES.replace("format", "c", 1) + SECTIONS + "format: *a12\n",
        "[" * 5000,
        "format: 2026-99-99\n",
    ],
)
def test_yaml_that_grows_without_end_is_refused(tmp_path, text):
    (tmp_path / "run.yaml").write_text(text)
    with bounded(), pytest.raises(RunError) as caught:
        read_about(tmp_path)
    assert len(str(caught.value)) < 500
    (tmp_path / "schema.yaml").write_text(text)
    with bounded(), pytest.raises(LabelError):
        Schema.load(tmp_path / "schema.yaml")


# ------------------------------------------------------------ weights

WATCHED = """
import io, json, os, pickle, re, sys
from pathlib import Path
import h5py
import numpy as np
from radiowidgets.errors import RadioWidgetsError
from radiowidgets.models.boosting import load_boosting, train_boosting
from radiowidgets.models.cards import Card, write_card
from radiowidgets.models.cnn import load_network, make_network
from radiowidgets.models.public import load_public_simclr
import pandas as pd

folder = Path(sys.argv[1])

class Harm:
    def __reduce__(self):
        return os.mkdir, (str(folder / "harm"),)

pickled = pickle.dumps(Harm())
seen, watching = [], False
def hook(event, given):
    code = given[0] if event == "exec" else None
    if watching and (event in ("pickle.find_class", "os.system", "os.mkdir", "os.exec", "subprocess.Popen")
                     or (code is not None and code.co_filename in ("<string>", "<lambda>"))):
        seen.append(f"{event} {given}")
sys.addaudithook(hook)

def network(name, spoil):
    place = folder / name
    place.mkdir()
    make_network("4C3P2-6", 1, 2, size=16).save_weights(place / "network.weights.h5")
    with h5py.File(place / "network.weights.h5", "a") as file:
        spoil(file)
    write_card(place, Card("network", name, ("A", "B"), ("radio",), recipe={"network": "4C3P2-6", "size": 16}))
    return load_network, place

def first(file):
    found = []
    file.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
    return found[0]

def attributes(file):
    config = {"class_name": "Lambda", "config": {"function": ["4wEAAAAAAAAA", None, None]}, "module": "os"}
    for group in (file, file[first(file)]):
        group.attrs["model_config"] = json.dumps({"class_name": "Functional", "config": {"layers": [config]}})
        group.attrs["pickle"] = np.void(pickled)
    file["harm"] = np.void(pickled)

def payload(file):
    name = first(file)
    del file[name]
    file[name] = np.void(pickled)

def link(file):
    name = first(file)
    del file[name]
    file[name] = h5py.ExternalLink("/etc/hostname", "x")

def text(file):
    name = first(file)
    del file[name]
    file[name] = np.array(["__import__('os').mkdir('harm')"] * 4, dtype=h5py.string_dtype())

rng = np.random.default_rng(0)
table = pd.DataFrame({"a": rng.normal(size=60), "b": rng.normal(size=60)})
good = train_boosting(table, np.where(table.a > 0, "A", "B")).save(folder / "trees")
trees = (Path(good) / "model.txt").read_text()

def boosted(name, content):
    place = folder / name
    place.mkdir()
    (place / "model.txt").write_text(content)
    write_card(place, Card("boosting", name, ("A", "B"), ("a", "b")))
    return load_boosting, place

code = "__import__('os').mkdir('harm')"
jobs = [network("good", lambda file: None), (load_boosting, good)]
jobs += [network(spoil.__name__, spoil) for spoil in (attributes, payload, link, text)]
jobs += [boosted("objective", trees.replace("objective=", f"objective={code} ", 1)),
         boosted("categories", trees.split("pandas_categorical")[0] + f"pandas_categorical:[[{code}]]\\n"),
         boosted("pickle", "\\x80\\x04" + pickled.decode("latin-1")), boosted("half", trees[: len(trees) // 2]),
         boosted("less", re.sub(r"(?ms)^Tree=1$.*?(?=^Tree=2$)", "", trees)),
         boosted("sizes", re.sub(r"tree_sizes=(\\d+)", r"tree_sizes=9", trees)),
         boosted("circle", re.sub(r"left_child=\\S+", "left_child=0", trees, count=1)),
         boosted("beyond", re.sub(r"left_child=\\S+", "left_child=-999999999", trees, count=1))]
with h5py.File(folder / "public.h5", "w") as file:
    file["conv1/conv1/kernel:0"] = np.void(pickled)
jobs.append((load_public_simclr, folder / "public.h5"))
for load, place in jobs[:2]:
    load(place)  # loads what is loaded late
watching = True
ends = {}
for load, place in jobs[2:]:
    try:
        load(place)
        ends[place.name] = "read"
    except RadioWidgetsError as error:
        ends[place.name] = type(error).__name__
watching = False
print(json.dumps({"ends": ends, "seen": seen, "harm": (folder / "harm").exists() or Path("harm").exists()}))
"""


def test_weights_cannot_run_code(tmp_path):
    pytest.importorskip("keras")
    pytest.importorskip("lightgbm")
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, tmp_path],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["seen"] == [] and not told["harm"]
    assert told["ends"].pop("attributes") == "read"  # what is beside the weights is not looked at
    assert told["ends"].pop("sizes") == "read"  # nor at sizes that may lie
    assert set(told["ends"].values()) == {"DataError"}, told["ends"]
