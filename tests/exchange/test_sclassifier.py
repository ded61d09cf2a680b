import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import radiowidgets as rw
from radiowidgets.errors import CatalogueError, ParameterError
from radiowidgets.exchange.sclassifier import (
    ANOMALY_IDS,
    CLASS_IDS,
    MORPHOLOGY_IDS,
    OBJECT_IDS,
    class_id,
    class_name,
    read_caesar,
    read_cutouts,
    read_data_list,
    read_features,
    write_caesar,
    write_cutouts,
    write_data_list,
    write_features,
)
from radiowidgets.finding.finders import Found

NAMES = st.text(st.characters(codec="utf-8", categories=["L", "N", "P"]), min_size=1, max_size=12).filter(
    lambda name: not name.startswith("#")
)
LABELS = st.sampled_from(["", "STAR", "RG", "PN", "HII", "PULSAR", "YSO", "QSO"])
NUMBERS = st.floats(width=64)


def test_class_ids_are_theirs():
    assert class_id("HII") == 6 and class_id("RG") == 2 == class_id("GALAXY") and class_id("") == 0
    assert class_name(6000) == "QSO" and class_name(-1) == "" and class_name(77) == "class-77"
    assert class_id("class-77") == 77, "what was read can be written again"
    for name, number in CLASS_IDS.items():
        assert class_id(class_name(number)) == number, name
    with pytest.raises(ParameterError, match="no class 'COMET'"):
        class_id("COMET")


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_features_come_back_as_they_were(tmp_path_factory, data):
    names = data.draw(st.lists(NAMES, min_size=1, max_size=6, unique=True))
    columns = data.draw(
        st.lists(st.from_regex(r"[a-z]_[0-9]{1,3}um", fullmatch=True), max_size=4, unique=True)
    )
    values = np.array([[data.draw(NUMBERS) for _ in columns] for _ in names]).reshape(
        len(names), len(columns)
    )
    table = pd.DataFrame(values, index=pd.Index(names, name="sname"), columns=columns, dtype=float)
    labels = [data.draw(LABELS) for _ in names]
    found = pd.DataFrame({"label": [data.draw(LABELS) for _ in names], "probability": 0.1}, index=table.index)
    outliers = pd.DataFrame({"unlike": [data.draw(st.booleans()) for _ in names], "distance": 1.25})
    path = tmp_path_factory.mktemp("f") / "features.dat"
    write_features(path, table, labels, predictions=found, outliers=outliers)
    again = read_features(path)
    np.testing.assert_array_equal(again[columns].to_numpy(), values)
    assert list(again.index) == names and again["label"].tolist() == labels
    assert again["predicted"].tolist() == found["label"].tolist()
    assert again["is_outlier"].tolist() == outliers["unlike"].tolist()
    assert (again["probability"] == 0.1).all() and (again["outlier_score"] == 1.25).all()
    assert again.left_out.empty


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "name": st.text(min_size=1, max_size=10).filter(str.strip),
                "filepaths": st.lists(st.text(max_size=20), max_size=3),
                "label": st.one_of(LABELS, st.lists(LABELS, min_size=1, max_size=3)),
                "feats": st.lists(st.floats(allow_nan=False), max_size=3),
            }
        ),
        min_size=1, max_size=5, unique_by=lambda row: row["name"],
    )
)  # fmt: skip
def test_data_lists_come_back_as_they_were(tmp_path_factory, rows):
    table = pd.DataFrame(rows).set_index("name")
    path = tmp_path_factory.mktemp("d") / "list.json"
    write_data_list(path, table)
    again = read_data_list(path)
    assert list(again.index) == [row["name"] for row in rows]
    for name in ("filepaths", "label", "feats"):
        assert again[name].tolist() == [row[name] for row in rows]
    assert again.notes == [] and again.left_out.empty


@pytest.mark.parametrize("ids", [MORPHOLOGY_IDS, ANOMALY_IDS])
def test_other_ways_to_count_classes_come_back_too(tmp_path, ids):
    names = [*ids, "", "class-77"]
    table = pd.DataFrame(
        {"filepaths": [[]] * len(names), "label": names}, index=[f"s{k}" for k in range(len(names))]
    )
    write_data_list(tmp_path / "a.json", table, ids)
    again = read_data_list(tmp_path / "a.json", ids)
    assert again["label"].tolist() == names and again.notes == []
    entries = json.loads((tmp_path / "a.json").read_text())["data"]
    assert [entry["id"] for entry in entries] == [*ids.values(), -1, 77]
    write_features(tmp_path / "a.dat", pd.DataFrame({"z": 0.5}, index=table.index), names, ids=ids)
    assert read_features(tmp_path / "a.dat", ids)["label"].tolist() == names
    assert "counted by other ids" in read_data_list(tmp_path / "a.json").notes[0]


def test_bad_rows_are_counted_and_listed(tmp_path):
    path = tmp_path / "a.dat"
    path.write_text("# sname z1 z2 id\na 1 2 6\nb 1 6\nc 1 x 6\nd 1 nan 6.5\n\ne 1 nan 3\n")
    table = read_features(path)
    assert list(table.index) == ["a", "e"] and table["label"].tolist() == ["HII", "PN"]
    assert table.left_out["line"].tolist() == [3, 4, 5]
    assert "3 of 5 rows" in table.notes[0]
    path = tmp_path / "a.json"
    entries = [
        {"filepaths": ["a.fits"], "sname": "a", "id": 6, "label": "HII"},
        {"filepaths": ["b.fits"], "sname": "b", "id": 6, "label": "PN"},
        {"filepaths": "c.fits", "sname": "c", "id": 6},
        {"sname": "d"},
        7,
        {"filepaths": [], "sname": "e", "ids": [1, 24]},
        {"filepaths": [], "sname": "f", "id": 1, "is_outlier": 1, "outlier_score": 0.5},
    ]
    path.write_text(json.dumps({"data": entries}))
    table = read_data_list(path)
    assert table["label"].tolist() == ["HII", "HII", ["STAR", "YSO"], "STAR"]
    assert table.left_out["entry"].tolist() == [3, 4, 5]
    assert table["is_outlier"]["f"] and len(table.notes) == 2


def test_their_files_without_a_header(tmp_path):
    path = tmp_path / "b.dat"
    path.write_text("a 0.5 0.25 2\nb 1 2 -1\n")
    table = read_features(path)
    assert list(table.columns) == ["z1", "z2", "label"] and table["label"].tolist() == ["RG", ""]


@pytest.mark.parametrize("text", ["", "# sname id\n", '{"data": 3}', "[]", "[" * 100000, "\x00\xff"])
def test_what_is_no_such_file_is_refused_in_one_line(tmp_path, text):
    path = tmp_path / "x"
    path.write_text(text)
    with pytest.raises(CatalogueError, match=r"^[^\n]*$"):
        read_data_list(path)
    if not text.startswith("#") and text:
        text = "a\nb"
        path.write_text(text)
    with pytest.raises(CatalogueError, match=r"^[^\n]*$"):
        read_features(path)
    with pytest.raises(CatalogueError, match="cannot be read"):
        read_features(tmp_path / "none")


def test_cutouts_go_out_and_come_back(tmp_path):
    rng = np.random.default_rng(1)
    images = [rng.normal(size=(side, side, 2)).astype(np.float32) for side in (5, 7)]
    images[0][0, 0] = np.nan
    frames = rw.FrameSet.from_images(images, ["a/b", "a_b"])
    frames.channels = ("radio", "12um")
    path = write_cutouts(tmp_path / "out", frames, ["HII", ""])
    again = read_cutouts(path, ["radio", "12um"])
    assert list(again.frame_ids) == ["a/b", "a_b"] and again.sources["label"].tolist() == ["HII", ""]
    for k in range(2):
        np.testing.assert_array_equal(again.pixels([k])[0], images[k])
    with pytest.raises(ParameterError, match="holds other files"):
        write_cutouts(tmp_path / "out", frames)
    content = json.loads(path.read_text())
    content["data"][0]["filepaths"][0] = "../../etc/passwd"
    path.write_text(json.dumps(content))
    again = read_cutouts(path, ["radio", "12um"])
    assert len(again) == 1 and "outside" in again.left_out["reason"].iloc[0]
    with pytest.raises(CatalogueError, match="no source could be read"):
        read_cutouts(path, ["radio"])


def test_names_that_would_break_the_file_are_refused(tmp_path):
    table = pd.DataFrame({"a": [1.0]}, index=["two words"])
    with pytest.raises(ParameterError, match="two words"):
        write_features(tmp_path / "x", table)
    with pytest.raises(ParameterError, match="no column label"):
        write_data_list(tmp_path / "x", pd.DataFrame({"filepaths": [[]]}))
    with pytest.raises(ParameterError, match="2 labels for 1"):
        write_features(tmp_path / "x", table.rename({"two words": "one"}), ["HII", "PN"])


def test_objects_go_out_as_caesar_writes_them_and_come_back(tmp_path):
    table = pd.DataFrame(
        {
            "x0": [3, 10],
            "y0": [1, 4],
            "x1": [6, 30],
            "y1": [3, 5],
            "kind": list(OBJECT_IDS)[1::2],
            "score": [0.9, 0.25],
        }
    )
    path = write_caesar(tmp_path / "a.json", table)
    first = json.loads(path.read_text())["sources"][0]
    assert first == {
        "name": "S1", "x1": 3, "x2": 6, "y1": 1, "y2": 3, "class_id": 1, "class_name": "compact", "score": 0.9,
        "edge": 0, "merged": False,
    }  # fmt: skip
    again = read_caesar(path)
    assert again.index.tolist() == ["S1", "S2"] and not again.notes
    for column in table:
        assert again[column].tolist() == table[column].tolist()
    assert again["x"].tolist() == [4, 19.5] and again["y"].tolist() == [1.5, 4]
    mask = np.array([[True, False, True], [False, True, False]])
    path = write_caesar(tmp_path / "b.json", table[:1], [(1, 3, mask)])
    (first,) = json.loads(path.read_text())["sources"]
    assert first["pixels"] == [[1, 3], [1, 5], [2, 4]] and first["class_id"] == 2
    assert Found(read_caesar(path), "caesar").table["kind"].tolist() == ["COMPACT"]


def test_objects_of_caesar_that_make_no_sense_are_listed(tmp_path):
    whole = {"name": "S1", "x1": 3.0, "x2": 6.0, "y1": 1.0, "y2": 3.0, "class_id": 0, "class_name": "spurious",
             "score": 0.5, "edge": 1}  # fmt: skip
    path = tmp_path / "a.json"
    bad = [{"x2": 3.0}, {"score": 1.5}, {"y1": float("nan")}, {"x1": None}]
    path.write_text(json.dumps({"image_id": 0, "objs": [whole, *({**whole, **more} for more in bad), 7]}))
    table = read_caesar(path)
    assert table["edge"].tolist() == [True] and table["kind"].tolist() == ["SPURIOUS"]
    assert table.left_out["entry"].tolist() == [2, 3, 4, 5, 6] and "5 of 6" in table.notes[0]
    path.write_text("[]")
    with pytest.raises(CatalogueError, match="holds no list sources or objs"):
        read_caesar(path)
    good = pd.DataFrame({"x0": [0], "y0": [0], "x1": [2], "y1": [2], "kind": ["COMPACT"], "score": [1.0]})
    for change, says in [
        ({"kind": "RING"}, "no class 'RING'"),
        ({"x1": 0}, "leave it out"),
        ({"score": np.nan}, "nan"),
    ]:
        with pytest.raises(ParameterError, match=says):
            write_caesar(path, good.assign(**change))
    with pytest.raises(ParameterError, match="no column y1"):
        write_caesar(path, good.drop(columns="y1"))
    with pytest.raises(ParameterError, match="0 patches for 1"):
        write_caesar(path, good, [])
