"""Exports: what others read in them is what was there."""

import io
import warnings
import zipfile
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from astropy import units as u
from astropy.coordinates import Angle, SkyCoord
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from regions import Regions
from skies import celestial, noisy_sky

import radiowidgets as rw
from radiowidgets import cli
from radiowidgets.errors import ParameterError, RadioWidgetsError
from radiowidgets.exchange.pictures import HIGH, LOW, paint, write_sheet
from radiowidgets.exchange.regions import FORMATS, format_of, iau_name


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    sky = noisy_sky()
    sky.header["TELESCOP"], sky.header["ORIGIN"] = "ASKAP", "an observatory"
    run = rw.Run.create(
        tmp_path_factory.mktemp("runs") / "run", rw.cut_windows(sky, size=64), annotator="ada"
    )
    ids = list(run.selection(top=2)["frame_id"])
    run.labels.record(
        [ids[0]], interest=5, add=["PECULIAR", "a tag of mine, rather long"], note="=jet?\nnorth"
    )
    run.labels.record([ids[1]], interest=0, add=["ARTEFACT"])
    return run


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """A run of colour images that belong to no map."""
    images = np.random.default_rng(1).normal(size=(12, 20, 30, 3)).astype(np.float32)
    return rw.Run.create(tmp_path_factory.mktemp("runs") / "bare", rw.FrameSet.from_images(images))


# ------------------------------------------------------------ names


@settings(max_examples=300, deadline=None)
@given(st.floats(-720, 720), st.floats(-90, 90))
@example(359.9999999, -0.00001)
@example(360.0, 90.0)
@example(-1e-9, -90.0)
@example(0.0, -0.0)
def test_names_are_truncated_towards_their_cell(ra, dec):
    name = iau_name(ra, dec)
    assert len(name) == len("RW JHHMMSS.ss+DDMMSS.s") and name.startswith("RW J")
    digits, sign, rest = name[4:].partition("-") if "-" in name else name[4:].partition("+")
    assert sign == ("-" if dec < 0 else "+")
    hours = Decimal(digits[:2]) + Decimal(digits[2:4]) / 60 + Decimal(digits[4:]) / 3600
    degrees = Decimal(rest[:2]) + Decimal(rest[2:4]) / 60 + Decimal(rest[4:]) / 3600
    assert hours < 24 and int(digits[2:4]) < 60 and int(digits[4:6]) < 60 and degrees <= 90
    # Never more than the true value, never less by a whole digit.
    turn = Decimal(ra) / 15 % 24
    turn += 24 if turn < 0 else 0
    steps = (turn - hours) * 360_000
    assert Decimal("-1e-6") <= min((steps, steps - 8_640_000), key=abs) < 1
    assert Decimal("-1e-6") <= (abs(Decimal(dec)) - degrees) * 36_000 < 1


def test_names_are_those_of_known_objects():
    place = SkyCoord("21h36m29.629s -00d00m59.99s")
    assert iau_name(place.ra.deg, place.dec.deg, "EMU") == "EMU J213629.62-000059.9"
    assert iau_name(Angle("00h00m01.10s").deg, Angle("05d00m00.1s").deg, "") == "J000001.10+050000.1"
    names = iau_name([10.0, np.nan], [[-5.0], [5.0]])
    assert names.shape == (2, 2) and names[0, 0] == "RW J004000.00-050000.0" and names[0, 1] == ""
    with pytest.raises(ParameterError, match=r"dec is -90\.5"):
        iau_name(0, -90.5)


# ------------------------------------------------------------ tables and regions


def test_formats_go_by_the_ending_or_by_name(run, tmp_path):
    for name, suffixes in FORMATS.items():
        assert format_of("x.dat", name) == name
        for suffix in filter(None, suffixes):
            assert format_of("x" + suffix.upper()) == name
    assert list(FORMATS) == cli.EXPORTS
    for wrong in ({"path": "x.docx"}, {"path": "x"}, {"path": "x.csv", "format": "word"}):
        with pytest.raises(ParameterError, match="format"):
            format_of(**wrong)
    (tmp_path / "file").write_text("")
    with pytest.raises(RadioWidgetsError, match="Cannot write"):
        run.export(tmp_path / "file" / "x.csv")


def test_tables_have_names_notes_and_peaks(run, tmp_path):
    first = run.frames[run.frames.index_of(run.selection(top=1)["frame_id"].iloc[0])]
    for name in ("t.csv", "t.parquet", "t.vot"):
        path = run.export(tmp_path / name, query="rank <= 3")
        if name == "t.vot":
            table = Table.read(path, format="votable").to_pandas()
            assert str(Table.read(path, format="votable")["peak_ra"].unit) == "deg"
        else:
            table = pd.read_csv(path) if name == "t.csv" else pd.read_parquet(path)
        assert len(table) == 3
        row = table.iloc[0]
        assert row["note"] == ("'" if name == "t.csv" else "") + "=jet?\nnorth"
        assert row["name"] == iau_name(row["peak_ra"], row["peak_dec"])
        x, y = first.sky.wcs.world_to_pixel(SkyCoord(row["peak_ra"], row["peak_dec"], unit="deg"))
        np.testing.assert_allclose([x, y], [row["peak_x"], row["peak_y"]], atol=1e-3)
        assert first.x <= row["peak_x"] < first.x + first.width


def test_a_coverage_map_covers_the_frames_and_no_more(run, tmp_path):
    from mocpy import MOC

    chosen = run.selection(top=9)
    path = run.export(tmp_path / "cover.fits", top=9)
    moc = MOC.from_fits(path)
    covered = np.zeros(run.frames.maps["field"].shape, bool)
    for row in chosen.itertuples():
        covered[row.y : row.y + row.height, row.x : row.x + row.width] = True
    y, x = np.mgrid[: covered.shape[0] : 3, : covered.shape[1] : 3]
    ra, dec = run.frames.maps["field"].pixel_to_sky(x, y)
    inside = moc.contains_lonlat(ra * u.deg, dec * u.deg)
    assert inside[covered[::3, ::3]].all()
    assert inside.mean() < 1.35 * covered.mean()
    regions = Regions.read(str(run.export(tmp_path / "r.reg", frames=list(chosen["frame_id"]))), format="ds9")
    assert len(regions) == 9


def test_overlapping_frames_are_joined_before_they_are_covered():
    from radiowidgets.exchange.regions import _joined

    rng = np.random.default_rng(0)
    sky = rw.SkyMap.from_array(np.zeros((400, 500), np.float32), name="flat", wcs=celestial(500, 400))
    x, y, width = rng.integers(0, 450, 200), 40 * rng.integers(0, 3, 200), rng.integers(5, 40, 200)
    frames = rw.FrameSet([sky], 0, x, y, width, 32, ids=[str(k) for k in range(200)])
    for rows in (rng.permutation(200)[:80], np.zeros(0, int)):
        boxes = _joined(frames, rows)
        one, other = np.zeros((2, *sky.shape), bool)
        for k in rows:
            one[y[k] : y[k] + 32, x[k] : x[k] + width[k]] = True
        for _, left, low, wide, high, _ in boxes:
            other[low : low + high, left : left + wide] = True
        np.testing.assert_array_equal(one, other)
        assert boxes[:, 5].sum() == len(rows) and len(boxes) <= max(len(rows) // 2, 0)


def test_frames_without_coordinates_are_told_of(bare, tmp_path):
    from mocpy import MOC

    with pytest.warns(UserWarning, match="12 of 12 frames have no sky"):
        assert MOC.from_fits(bare.export(tmp_path / "none.fits")).empty()
    table = pd.read_csv(bare.export(tmp_path / "t.csv"))
    assert table["name"].isna().all() and table["peak_ra"].isna().all() and len(table) == 12


# ------------------------------------------------------------ objects


def test_objects_carry_what_is_said_of_all_their_frames(run):
    table = run.objects()
    ring = run.objects(query="rank <= 40").query("area > 3000")
    assert len(ring) == 1 and len(table) < len(run)
    (row,) = ring.to_dict("records")
    assert np.hypot(row["x"] - 0.7 * 320, row["y"] - 0.3 * 256) * 2 < 12  # where the ring is, within a beam
    assert row["name"] == iau_name(row["ra"], row["dec"]) and row["frames"] == len(row["members"].split(";"))
    assert sorted(";".join(table["members"]).split(";")) == sorted(run.frames.frame_ids)
    first, second = run.selection(top=2)["frame_id"]
    said = table[[first in members.split(";") for members in table["members"]]].iloc[0]
    assert said["interest"] == 5 and "PECULIAR" in said["tags"].split(";") and said["note"] == "=jet?\nnorth"
    assert said["rank"] == 1 and said["score"] == run.scores["score"].max()
    other = table[[second in members.split(";") for members in table["members"]]].iloc[0]
    assert "ARTEFACT" in other["tags"].split(";")
    assert run.objects(min_interest=4)["members"].tolist() == [first]
    assert not len(run.objects(top=0)) and list(run.objects(top=0).columns) == list(table.columns)


def test_objects_are_written_as_circles_tables_and_pictures(run, bare, tmp_path):
    from mocpy import MOC

    table = run.objects(top=20)
    again = Table.read(run.export(tmp_path / "o.vot", top=20, objects=True), format="votable")
    assert (
        len(again) == len(table) and str(again["size"].unit) == "arcsec" and str(again["flux"].unit) == "Jy"
    )
    np.testing.assert_allclose(again["ra"], table["ra"])
    csv = pd.read_csv(run.export(tmp_path / "o.csv", top=20, objects=True))
    assert list(csv["name"]) == list(table["name"]) and csv["note"].iloc[0].startswith("'=")
    regions = Regions.read(str(run.export(tmp_path / "o.reg", top=20, objects=True)), format="ds9")
    assert len(regions) == len(table)
    circle = next(region for region in regions if hasattr(region, "radius"))
    row = table[table["size"].notna()].iloc[0]
    assert circle.radius.to_value("arcsec") == pytest.approx(row["size"] / 2, abs=0.01)
    assert circle.center.ra.deg == pytest.approx(row["ra"], abs=1e-6)
    moc = MOC.from_fits(run.export(tmp_path / "o.fits", top=20, objects=True))
    assert moc.contains_lonlat(table["ra"].to_numpy() * u.deg, table["dec"].to_numpy() * u.deg).all()
    assert moc.sky_fraction < MOC.from_fits(run.export(tmp_path / "f.fits", top=20)).sky_fraction
    assert Image.open(run.export(tmp_path / "o.png", top=20, objects=True)).width > 200
    with zipfile.ZipFile(run.export(tmp_path / "o.zip", top=20, objects=True)) as archive:
        assert len(archive.namelist()) == len(table)
    with pytest.warns(UserWarning, match="12 of 12 objects have no sky"):
        assert MOC.from_fits(bare.export(tmp_path / "none.fits", objects=True)).empty()
    assert "image; point" in bare.export(tmp_path / "none.reg", objects=True).read_text()


# ------------------------------------------------------------ cutouts


def test_cutouts_are_the_pixels_with_all_their_meaning(run, tmp_path):
    path = run.export(tmp_path / "cuts.zip", top=3)
    chosen = run.selection(top=3)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        files = {name: archive.read(name) for name in archive.namelist()}
    assert len(files) == 3 and all(name.endswith(".fits") and "/" not in name for name in files)
    for (name, content), row in zip(files.items(), chosen.itertuples(), strict=True):
        with fits.open(io.BytesIO(content)) as hdus, warnings.catch_warnings():
            warnings.simplefilter("error")
            hdus.verify("exception")
            header, pixels = hdus[0].header, hdus[0].data
            frame = run.frames[run.frames.index_of(row.frame_id)]
            np.testing.assert_array_equal(pixels, frame.pixels)
            x, y = np.array([0, 10, 63]), np.array([5, 0, 63])
            apart = (
                WCS(header)
                .pixel_to_world(x, y)
                .separation(frame.sky.wcs.pixel_to_world(x + frame.x, y + frame.y))
            )
            assert apart.arcsec.max() < 1e-5
        assert header["BUNIT"] == "Jy/beam" and header["RESTFRQ"] == 944e6
        assert header["BMAJ"] == pytest.approx(12 / 3600) and header["BPA"] == pytest.approx(30)
        assert header["FRAMEID"] == row.frame_id and header["RANK"] == row.rank and header["MAPX"] == frame.x
        assert header["MAPPRINT"] == frame.sky.fingerprint and header["IAUNAME"].replace(" ", "_") in name
        assert "radiowidgets" in str(header["HISTORY"])
    opened = tmp_path / "first.fits"
    opened.write_bytes(next(iter(files.values())))
    again = rw.SkyMap.open(opened)  # ours opens it as any other map
    assert again.beam == run.frames.maps["field"].beam and again.unit == u.Jy / u.beam


def test_the_origin_of_the_map_stays_in_its_cutouts(tmp_path):
    header = fits.Header({"TELESCOP": "ASKAP", "ORIGIN": "x" * 200, "OBSERVER": "J. J."})
    pixels = noisy_sky().pixels
    sky = rw.SkyMap.from_array(pixels, name="m", wcs=celestial(320, 256), header=header)
    run = rw.Run.create(tmp_path / "run", rw.cut_windows(sky, size=64))
    with zipfile.ZipFile(run.export(tmp_path / "c.zip", top=1)) as archive:
        header = fits.getheader(io.BytesIO(archive.read(archive.namelist()[0])))
    assert (
        header["TELESCOP"] == "ASKAP" and header["ORIGIN"].startswith("xxx") and header["OBSERVER"] == "J. J."
    )


def test_cutouts_of_images_keep_their_bands_and_a_folder_is_never_overwritten(bare, tmp_path):
    folder = bare.export(tmp_path / "cuts", "cutouts", frames=[4])
    (file,) = folder.iterdir()
    np.testing.assert_array_equal(np.moveaxis(fits.getdata(file), 0, -1), bare.frames[4].pixels)
    with pytest.raises(ParameterError, match="exists"):
        bare.export(folder, "cutouts")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["cuts"]


# ------------------------------------------------------------ contact sheet


def test_a_contact_sheet_shows_each_frame_as_the_gallery_does(run, tmp_path):
    table = run.selection(top=8)
    path = run.export(tmp_path / "sheet.png", top=8)
    image = np.asarray(Image.open(path).convert("RGB"))
    assert Image.open(path).format == "PNG" and image.shape[1] < 1500
    frame = run.frames[run.frames.index_of(table["frame_id"].iloc[0])]
    same = tmp_path / "same.png"
    write_sheet(table, same, run.frames, size=64)
    image = np.asarray(Image.open(same).convert("RGB"))
    expected = paint((frame.pixels - frame.background) / frame.rms)[::-1]
    np.testing.assert_array_equal(image[86 + 12 : 86 + 52, 28 + 12 : 28 + 52], expected[12:52, 12:52])
    with pytest.raises(ParameterError, match="size"):
        write_sheet(table, same, run.frames, size=9)
    with pytest.raises(ParameterError, match="too many"):
        write_sheet(pd.concat([table] * 200), same, run.frames)
    write_sheet(table.head(0), same, run.frames, title="nothing")
    assert Image.open(same).width > 100


def test_colours_are_those_of_the_gallery():
    colours = paint(np.array([-99, LOW, HIGH, 1e9, np.nan]))
    assert colours[0].tolist() == colours[1].tolist() == [0, 0, 3]
    assert colours[2].tolist() == colours[3].tolist() == [252, 254, 164]
    assert len(set(colours[4].tolist())) > 1 or colours[4, 0] > 0  # blank is neither
    ramp = paint(np.linspace(LOW, HIGH, 50)).astype(int).sum(axis=1)
    assert (np.diff(ramp) >= 0).mean() > 0.9


@pytest.mark.filterwarnings("ignore:.*Isolation Forest says nothing")
def test_strange_text_and_shapes_are_drawn(tmp_path):
    images = [np.ones((10, 300), np.float32), np.full((50, 20), np.nan, np.float32)]
    run = rw.Run.create(tmp_path / "run", rw.FrameSet.from_images(images, ids=["<b>\u202e" * 9, "é" * 99]))
    run.labels.record(["é" * 99], interest=3, add=["\U0001f4a1 " * 9 + "x", "y" * 64])
    path = run.export(tmp_path / "s.png")
    assert Image.open(path).size[0] > 200


def test_the_command_line_writes_every_format(run, tmp_path, capsys):
    assert cli.main(["export", str(run.path), "-o", str(tmp_path / "o.csv"), "--objects", "--top", "9"]) == 0
    assert len(pd.read_csv(tmp_path / "o.csv")) == len(run.objects(top=9))
    assert "objects" in capsys.readouterr().out
    for name in ("a.csv", "a.reg", "a.fits", "a.zip", "a.png", "a.md"):
        arguments = [
            "export",
            str(run.path),
            "-o",
            str(tmp_path / name),
            "--query",
            "rank <= 4",
            "--top",
            "2",
        ]
        assert cli.main(arguments) == 0 and (tmp_path / name).stat().st_size > 100
        assert "wrote" in capsys.readouterr().out
    assert cli.main(["export", str(run.path), "-o", str(tmp_path / "b.csv"), "--query", "import os"]) == 1
    assert "cannot be read" in capsys.readouterr().err and not (tmp_path / "b.csv").exists()


def test_what_fails_half_way_leaves_nothing_behind_and_what_stood_there(tmp_path):
    from radiowidgets.data.building import drafted

    def fail(name, error):
        with drafted(tmp_path / name, ParameterError) as draft:
            if name == "folder":
                draft.mkdir()
            (draft / "part" if name == "folder" else draft).write_text("new")
            raise error

    (tmp_path / "old.csv").write_text("old")
    for name in ("old.csv", "folder"):
        with pytest.raises(ZeroDivisionError):
            fail(name, ZeroDivisionError())
    with pytest.raises(ParameterError, match=r"Cannot write.*No space"):
        fail("new", OSError(28, "No space left on device"))
    assert [entry.name for entry in tmp_path.iterdir()] == ["old.csv"]
    assert (tmp_path / "old.csv").read_text() == "old"
