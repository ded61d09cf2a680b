"""Schemas: sound tags, no conflict, the same after a journey through YAML, colours for every eye."""

import itertools

import numpy as np
import pytest

from radiowidgets.errors import LabelError
from radiowidgets.labels.schema import DEFAULT_SCHEMA, RESERVED_KEYS, Schema, Tag, contrast

# Linear RGB as seen without the cones for red, green, blue (Machado et al. 2009, severity 1).
EYES = {
    "usual": np.eye(3),
    "no red": [[0.1523, 1.0526, -0.2049], [0.1145, 0.7863, 0.0992], [-0.0039, -0.0481, 1.0520]],
    "no green": [[0.3673, 0.8606, -0.2280], [0.2801, 0.6725, 0.0474], [-0.0118, 0.0429, 0.9689]],
    "no blue": [[1.2555, -0.0767, -0.1788], [-0.0784, 0.9308, 0.1476], [0.0047, 0.6914, 0.3039]],
}
TO_XYZ = np.array([[0.41246, 0.35758, 0.18044], [0.21267, 0.71515, 0.07217], [0.01933, 0.11919, 0.95030]])


def cie_lab(colour, eye):
    rgb = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = TO_XYZ @ np.clip(np.asarray(EYES[eye]) @ linear, 0, 1) / TO_XYZ.sum(axis=1)
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def test_default_schema_has_the_ten_tags_in_order():
    assert DEFAULT_SCHEMA.names == [
        *("COMPACT", "EXTENDED", "RADIO-GALAXY", "DIFFUSE", "DIFFUSE-LARGE"),
        *("FILAMENT", "ARTEFACT", "MOSAICKING", "BACKGROUND", "PECULIAR"),
    ]
    assert list(DEFAULT_SCHEMA.keys) == list("cegdlfamkp")
    assert not set(DEFAULT_SCHEMA.keys) & RESERVED_KEYS
    assert all(tag.description for tag in DEFAULT_SCHEMA)


@pytest.mark.parametrize("tag", DEFAULT_SCHEMA, ids=lambda tag: tag.name)
def test_default_colours_can_be_read_and_stand_out(tag):
    assert contrast(tag.text_colour, tag.colour) >= 4.5
    for page in ("#ffffff", "#111111", "#212121"):
        assert contrast(tag.colour, page) >= 3


@pytest.mark.parametrize("eye", EYES)
def test_default_colours_differ_for_every_eye(eye):
    labs = [cie_lab(tag.colour, eye) for tag in DEFAULT_SCHEMA]
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(labs, 2)) > 15


def test_contrast_of_black_and_white():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#123456", "#123456") == 1
    assert contrast("#767676", "#FFFFFF") == pytest.approx(4.54, abs=0.01)


def test_schema_finds_tags():
    assert DEFAULT_SCHEMA["DIFFUSE"].key == "d"
    assert DEFAULT_SCHEMA.keys["d"].name == "DIFFUSE"
    assert DEFAULT_SCHEMA.tags["DIFFUSE"] is DEFAULT_SCHEMA["DIFFUSE"]
    assert "ORC" not in DEFAULT_SCHEMA
    assert DEFAULT_SCHEMA.unknown(["ORC", "COMPACT", "Blob", "ORC"]) == ["Blob", "ORC"]
    with pytest.raises(LabelError, match="no tag 'ORC'; it has COMPACT, EXTENDED"):
        DEFAULT_SCHEMA["ORC"]


def test_yaml_round_trip(tmp_path):
    schema = Schema(
        [
            *DEFAULT_SCHEMA,
            Tag("no", "o", "#006d77", "Not yes: a trap of YAML"),
            Tag("42", "7", "#123456", "'quoted': [and] {odd} # text"),
            Tag("Ring – größer", None, "#ABCDEF"),
            Tag("<img src=x onerror=alert(1)>", "~"),
        ]
    )
    path = schema.save(tmp_path / "schema.yaml")
    assert Schema.load(path) == schema
    assert list(Schema.load(path)) == list(schema)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": ""}, "its name is empty"),
        ({"name": "x" * 65}, "65 characters, more than 64"),
        ({"name": "A\nB"}, "control characters"),
        ({"name": "A;B"}, "no semicolon"),
        ({"name": " A"}, "no space at its ends"),
        ({"name": 5}, "is 5, not text"),
        ({"name": "A", "key": "u"}, "key 'u', which Review uses itself; choose another"),
        ({"name": "A", "key": "3"}, "key '3', which Review uses"),
        ({"name": "A", "key": "Enter"}, "key 'Enter', which Review uses"),
        ({"name": "A", "key": "A"}, "give one small letter"),
        ({"name": "A", "key": "ab"}, "give one small letter"),
        ({"name": "A", "key": ""}, "give one small letter"),
        ({"name": "A", "key": "\n"}, "give one small letter"),
        ({"name": "A", "key": 7}, "key 7; give one small letter"),
        ({"name": "A", "colour": "red"}, "colour 'red'; write it as '#rrggbb'"),
        ({"name": "A", "colour": "#12345g"}, "write it as '#rrggbb'"),
        ({"name": "A", "colour": None}, "colour None; write it as"),
        ({"name": "A", "description": None}, "its description is None, not text"),
        ({"name": "A", "description": "x" * 501}, "501 characters, more than 500"),
    ],
)
def test_a_bad_tag_is_refused(fields, message):
    with pytest.raises(LabelError, match=message) as caught:
        Tag(**fields)
    assert "\n" not in str(caught.value)


def test_conflicts_are_refused():
    with pytest.raises(LabelError, match="'A' and 'B' both have the key 'x'"):
        Schema([Tag("A", "x"), Tag("B", "x")])
    with pytest.raises(LabelError, match="in the schema twice"):
        Schema([Tag("Arc"), Tag("ARC")])
    with pytest.raises(LabelError, match="Tag objects, not of 'A'"):
        Schema("A")
    assert len(Schema([Tag("A"), Tag("B")]).keys) == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no list 'tags'"),
        ("[1, 2]", "no list 'tags'"),
        ("tags: COMPACT", "no list 'tags'"),
        ("tags: [COMPACT]", "tag 1 is 'COMPACT'; give it the fields name, key, colour, description"),
        ("tags: [{name: A}, {name: B, color: '#000000'}]", "tag 2 has the field 'color'; use name, key"),
        ("tags: [{key: x}]", "tag 1 has the name None; give a text in quotes"),
        ("tags: [{name: NO}]", "tag 1 has the name False; give a text in quotes"),
        ("tags: [{name: A, key: 6}]", "tag 1: The tag 'A' has the key 6; give one"),
        ("tags: [{name: A}, {name: A}]", "in the schema twice"),
        ("tags: [{name: A", "the YAML cannot be read"),
        ("tags: !!python/object/apply:os.system [echo]", "the YAML cannot be read"),
        ("tags: [{name: 2024-13-77}]", "the YAML cannot be read|give a text in quotes"),
        ("[" * 3000, "nested too deeply|cannot be read"),
        ("a: &a [x,x]\nb: &b [*a,*a]\ntags: [*b, *b]", "tag 1 is"),
        ("\x00", "the YAML cannot be read"),
    ],
)
def test_a_bad_file_is_refused_in_one_line(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(LabelError, match=message) as caught:
        Schema.load(path)
    assert "mine.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(LabelError, match=r"nowhere\.yaml' cannot be read \(No such file"):
        Schema.load(tmp_path / "nowhere.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"tags: [{name: \xe9}]")
    with pytest.raises(LabelError, match="not UTF-8"):
        Schema.load(tmp_path / "latin.yaml")
    (tmp_path / "large.yaml").write_bytes(b"#" * (2**20 + 1))
    with pytest.raises(LabelError, match="a schema has at most"):
        Schema.load(tmp_path / "large.yaml")
    with pytest.raises(LabelError, match="could not be written"):
        DEFAULT_SCHEMA.save(tmp_path / "no" / "such" / "folder.yaml")
