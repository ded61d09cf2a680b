"""The tags that a reviewer can put on a frame: their names, keys, colours and meanings."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from radiowidgets.errors import LabelError
from radiowidgets.labels.events import check_name, check_tag

# Keys that the Review widget uses itself, as the browser names them; b is for blinking between bands.
RESERVED_KEYS = frozenset(
    {"ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End", "PageUp", "PageDown"}
    | {"Enter", "Escape", "Tab", "Backspace", "Delete"}
    | set(" ?012345binru")
)

MAX_FILE_BYTES = 2**20
MAX_DESCRIPTION = 500

_COLOUR = re.compile(r"#[0-9a-fA-F]{6}\Z")
_FIELDS = ("name", "key", "colour", "description")


@dataclass(frozen=True, slots=True)
class Tag:
    """One tag of a schema.

    Parameters
    ----------
    name : str
        1-64 characters, no semicolon, for instance 'RADIO-GALAXY'.
    key : str or None
        The key that toggles it in Review: one character that can be typed without Shift, none of
        `RESERVED_KEYS`. None for a tag that is chosen with the mouse only.
    colour : str
        '#rrggbb', the background on which the name is shown.
    description : str
        When to use it, in a sentence.
    """

    name: str
    key: str | None = None
    colour: str = "#808080"
    description: str = ""

    def __post_init__(self) -> None:
        try:
            check_tag(self.name, "its name")
            if self.description:
                check_name(self.description, "its description", MAX_DESCRIPTION)
            elif not isinstance(self.description, str):
                raise ValueError(f"its description is {brief(self.description)}, not text")
        except ValueError as error:
            raise LabelError(f"The tag {brief(self.name)} is not valid: {error}.") from error
        if not isinstance(self.colour, str) or not _COLOUR.match(self.colour):
            raise LabelError(
                f"The tag {self.name!r} has the colour {brief(self.colour)}; write it as '#rrggbb' in quotes."
            )
        key = self.key
        if key is None:
            return
        if isinstance(key, str) and key in RESERVED_KEYS:
            free = " ".join(sorted(set("abcdefghijklmnopqrstuvwxyz6789") - RESERVED_KEYS))
            raise LabelError(
                f"The tag {self.name!r} has the key {key!r}, which Review uses itself;"
                f" choose another ({free})."
            )
        if not isinstance(key, str) or len(key) != 1 or not key.isprintable() or key != key.lower():
            raise LabelError(
                f"The tag {self.name!r} has the key {brief(key)};"
                " give one small letter, digit or sign in quotes."
            )

    @property
    def text_colour(self) -> str:
        """'#000000' or '#ffffff', whichever reads better on `colour` (at least 4.5 to 1, WCAG AA)."""
        return max("#000000", "#ffffff", key=lambda text: contrast(text, self.colour))


class Schema:
    """An ordered set of tags.

    Parameters
    ----------
    tags : iterable of Tag
        No name, in any spelling of capitals, and no key twice.

    Attributes
    ----------
    tags : mapping of str to Tag
        All tags by name, in order.
    keys : mapping of str to Tag
        Those that have a key, by key.

    Examples
    --------
    >>> schema = Schema([*DEFAULT_SCHEMA, Tag("ORC", "o", "#006d77", "An odd radio circle.")])
    >>> schema.keys["o"].name
    'ORC'
    >>> [tag.colour for tag in schema][-1]
    '#006d77'
    """

    def __init__(self, tags: Iterable[Tag]) -> None:
        ordered = tuple(tags)
        for tag in ordered:
            if not isinstance(tag, Tag):
                raise LabelError(f"A schema is made of Tag objects, not of {brief(tag)}.")
        names = Counter(tag.name.casefold() for tag in ordered)
        for tag in ordered:
            if names[tag.name.casefold()] > 1:
                raise LabelError(
                    f"The tag {tag.name!r} is in the schema twice; give each tag a name of its own."
                )
        keys: dict[str, Tag] = {}
        for tag in ordered:
            if tag.key is not None:
                if tag.key in keys:
                    raise LabelError(
                        f"The tags {keys[tag.key].name!r} and {tag.name!r} both have the key {tag.key!r};"
                        " change one."
                    )
                keys[tag.key] = tag
        self.keys: Mapping[str, Tag] = MappingProxyType(keys)
        self.tags: Mapping[str, Tag] = MappingProxyType({tag.name: tag for tag in ordered})

    def __iter__(self) -> Iterator[Tag]:
        return iter(self.tags.values())

    def __len__(self) -> int:
        return len(self.tags)

    def __contains__(self, name: object) -> bool:
        return name in self.tags

    def __getitem__(self, name: str) -> Tag:
        try:
            return self.tags[name]
        except KeyError:
            raise LabelError(f"The schema has no tag {name!r}; it has {', '.join(self.names)}.") from None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Schema) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return f"Schema({', '.join(self.names)})"

    @property
    def names(self) -> list[str]:
        """Names of the tags, in order."""
        return list(self.tags)

    def unknown(self, names: Iterable[str]) -> list[str]:
        """Return those of `names` that the schema does not have, sorted, once each."""
        return sorted({name for name in names if name not in self})

    def to_dict(self) -> dict[str, Any]:
        """Return the schema as plain types, as they are in the YAML file."""
        return {"tags": [{field: getattr(tag, field) for field in _FIELDS} for tag in self]}

    def to_yaml(self) -> str:
        """Return the schema as YAML."""
        return yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True, width=110)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the schema to a YAML file."""
        path = Path(path)
        try:
            path.write_text(self.to_yaml(), encoding="utf-8")
        except OSError as error:
            raise LabelError(
                f"The schema could not be written to {str(path)!r} ({error.strerror})."
                " Check that its folder can be written to."
            ) from error
        return path

    @classmethod
    def from_dict(cls, data: Any, where: str = "the schema") -> "Schema":
        """Make a schema of plain types; LabelError says what is wrong and where."""
        if not isinstance(data, Mapping) or not isinstance(data.get("tags"), list):
            raise LabelError(
                f"In {where} there is no list 'tags'; it should read 'tags:' and a list of name, key, colour."
            )
        tags = []
        for number, entry in enumerate(data["tags"], start=1):
            if not isinstance(entry, Mapping):
                raise LabelError(
                    f"In {where} tag {number} is {brief(entry)}; give it the fields {', '.join(_FIELDS)}."
                )
            unknown = [field for field in entry if field not in _FIELDS]
            if unknown:
                raise LabelError(
                    f"In {where} tag {number} has the field {brief(unknown[0])}; use {', '.join(_FIELDS)}."
                )
            if not isinstance(entry.get("name"), str):
                raise LabelError(
                    f"In {where} tag {number} has the name {brief(entry.get('name'))}; give a text in quotes."
                )
            try:
                tags.append(Tag(**entry))
            except LabelError as error:
                raise LabelError(f"In {where} tag {number}: {error}") from error
        try:
            return cls(tags)
        except LabelError as error:
            raise LabelError(f"In {where}: {error}") from error

    @classmethod
    def from_yaml(cls, text: str, where: str = "the schema") -> "Schema":
        """Read a schema from YAML text; LabelError says what is wrong and where."""
        if len(text) > MAX_FILE_BYTES:
            raise LabelError(
                f"In {where} there are {len(text)} characters; a schema has at most {MAX_FILE_BYTES}."
            )
        try:
            data = read_yaml(text)
        except RecursionError:
            raise LabelError(
                f"In {where} the YAML is nested too deeply; it should be one list of tags."
            ) from None
        except (yaml.YAMLError, ValueError) as error:
            message = " ".join(str(error).split())[:200]
            raise LabelError(f"In {where} the YAML cannot be read ({message}). Correct it there.") from error
        return cls.from_dict(data, where)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Schema":
        """Read a schema from a YAML file.

        Raises
        ------
        LabelError
            Names the file, the tag and what is wrong with it.
        """
        path = Path(path)
        try:
            with path.open("rb") as stream:
                raw = stream.read(MAX_FILE_BYTES + 1)
        except OSError as error:
            raise LabelError(
                f"The schema {str(path)!r} cannot be read ({error.strerror}). Check the path."
            ) from error
        try:
            text = raw.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise LabelError(
                f"The schema {str(path)!r} is not UTF-8 text ({error.reason}). Save it as UTF-8."
            ) from error
        return cls.from_yaml(text, str(path))


class _PlainLoader(yaml.SafeLoader):
    """Reads plain values; maps that are merged into others (``<<``) could grow without end and are refused."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Leave the map as it is; the key of a merge has no value then, which is an error."""


def read_yaml(text: str) -> Any:
    """Read YAML that may come from anybody.

    Raises
    ------
    yaml.YAMLError, ValueError, RecursionError
        If it cannot be read.
    """
    return yaml.load(text, Loader=_PlainLoader)  # noqa: S506 - a SafeLoader


def brief(value: Any) -> str:
    """Return a value as messages show it; of lists and maps, which may refer to themselves, the kind alone."""
    return f"a {type(value).__name__}" if isinstance(value, list | dict | set | tuple) else repr(value)[:80]


def contrast(first: str, second: str) -> float:
    """Return the contrast of two '#rrggbb' colours as WCAG 2 defines it, 1 (none) to 21 (black and white)."""
    dark, light = sorted((_luminance(first), _luminance(second)))
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    channels = (int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5))
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


# Every colour stands out from a white and from a near-black page (3 to 1 and more), and any two differ
# visibly also to eyes without red, green or blue cones.
DEFAULT_SCHEMA = Schema(
    [
        Tag(
            "COMPACT",
            "c",
            "#4b7896",
            "Point-like or compact sources, below some 10 beams; also doubles and triples of points.",
        ),
        Tag("EXTENDED", "e", "#e1780f", "A clearly resolved source, larger than some 10 beams."),
        Tag(
            "RADIO-GALAXY",
            "g",
            "#c300c3",
            "An extended source, in one or more islands, shaped like core, jets or lobes.",
        ),
        Tag(
            "DIFFUSE",
            "d",
            "#00a569",
            "Smooth, roundish emission without sharp edges, up to a few arcminutes.",
        ),
        Tag(
            "DIFFUSE-LARGE",
            "l",
            "#873cff",
            "Irregular diffuse emission on a large scale, for instance over half the frame.",
        ),
        Tag("FILAMENT", "f", "#c369ff", "Long, thin, thread-like emission."),
        Tag("ARTEFACT", "a", "#e13c4b", "Made by imaging: rings or rays, mostly about a bright source."),
        Tag(
            "MOSAICKING",
            "m",
            "#a55a00",
            "A seam, step or change of noise where pointings of a mosaic were joined.",
        ),
        Tag("BACKGROUND", "k", "#7d7d7d", "Nothing but noise, often at the border of a map."),
        Tag("PECULIAR", "p", "#ff3cc3", "Anything of an odd or anomalous shape; worth a second look."),
    ]
)
