"""Files of the sclassifier family: data lists, caesar's objects (JSON), features, predictions, outliers (ASCII).

Class ids are those of its tools, which count in several ways: `CLASS_IDS` of compact sources (what this package calls
RG is GALAXY there), `MORPHOLOGY_IDS` of sclassifier-vit, `ANOMALY_IDS`. Functions take one of them as `ids`.
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from radiowidgets.data.building import drafted
from radiowidgets.data.noted import NotedTable
from radiowidgets.errors import CatalogueError, ParameterError

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from radiowidgets.data.frames import FrameSet

CLASS_IDS = {
    "UNKNOWN": 0, "STAR": 1, "GALAXY": 2, "PN": 3, "HII": 6, "PULSAR": 23, "YSO": 24, "QSO": 6000,
}  # fmt: skip
MORPHOLOGY_IDS = {
    "BACKGROUND": 0, "RADIO-GALAXY": 1, "EXTENDED": 2, "DIFFUSE": 3, "DIFFUSE-LARGE": 4, "ARTEFACT": 5,
}  # fmt: skip
ANOMALY_IDS = {"ORDINARY": 0, "COMPLEX": 1, "PECULIAR": 2}
#: Of caesar-yolo; caesar-mrcnn counts them from 1.
OBJECT_IDS = {"SPURIOUS": 0, "COMPACT": 1, "EXTENDED": 2, "EXTENDED-MULTISLAND": 3, "FLAGGED": 4}
_OBJECT = (
    "name", "x", "y", "ra", "dec", "flux", "peak", "score", "kind", "x0", "y0", "x1", "y1", "edge", "merged",
)  # fmt: skip
_OTHER = re.compile(r"class-(-?\d{1,9})")
_THEIRS = {"RG": "GALAXY", "": "UNKNOWN"}
_OURS = {"GALAXY": "RG", "UNKNOWN": ""}
_PREDICTED, _OUTLIER = ("id_pred", "prob"), ("is_outlier", "outlier_score")
_LARGEST = 2**30  # bytes of a file
_LISTED = 1000  # rows left out that are listed


class SclassifierTable(NotedTable):
    """A table read from a file of sclassifier.

    Attributes
    ----------
    notes : list of str
        What was assumed and how much was left out.
    left_out : DataFrame
        line (of an ASCII file) or entry (of a data list), from 1, and the reason; the first thousand.
    """

    _metadata: ClassVar[list[str]] = ["units", "notes", "left_out"]

    left_out: pd.DataFrame


def class_id(label: str, ids: Mapping[str, int] = CLASS_IDS) -> int:
    """Return the id of a class by its name here or there; for no label 0 or, where that is a class, -1.

    Raises
    ------
    ParameterError
        If sclassifier has no such class.
    """
    name = _their_name(str(label), ids)
    other = _OTHER.fullmatch(name)
    if name in ids:
        return ids[name]
    if name == "" or other:
        return int(other[1]) if other else -1
    raise ParameterError(f"sclassifier has no class {label!r:.40}; it knows {', '.join(ids)}.")


def class_name(number: int, ids: Mapping[str, int] = CLASS_IDS) -> str:
    """Return the name here of a class id: '' for unknown ones (-1, UNKNOWN), 'class-<id>' for those of others."""
    for name, known in ids.items():
        if known == number:
            return _our_name(name, ids)
    return "" if number == -1 else f"class-{number}"


def _their_name(label: str, ids: Mapping[str, int]) -> str:
    return _THEIRS.get(label, label) if ids is CLASS_IDS else label


def _our_name(label: str, ids: Mapping[str, int]) -> str:
    return _OURS.get(label, label) if ids is CLASS_IDS else label


# ------------------------------------------------------------------------------------
# ASCII tables


def write_features(
    path: str | os.PathLike[str],
    features: pd.DataFrame,
    labels: Iterable[str] | None = None,
    *,
    predictions: pd.DataFrame | None = None,
    outliers: pd.DataFrame | None = None,
    ids: Mapping[str, int] = CLASS_IDS,
) -> Path:
    """Write features as ``# sname z1 ... zN id``, with what is known of each source behind.

    Parameters
    ----------
    path : str or path
    features : DataFrame
        Numbers, indexed by the sources' names.
    labels : (n,) str, optional
        '' where not known.
    predictions : DataFrame, optional
        Of a classifier: adds ``id_pred prob`` from its columns label and probability.
    outliers : DataFrame, optional
        Adds ``is_outlier outlier_score`` from columns of these names, or from unlike and distance.
    ids : mapping of str to int
        How classes are counted.

    Raises
    ------
    ParameterError
        If a name or a column's name holds white space or is empty, or a label is no class of theirs.
    """
    table = features.astype(np.float64)
    columns = [str(name) for name in table.columns]
    names = _bare([str(name) for name in table.index], "source")
    given = [""] * len(table) if labels is None else [_text(label) for label in labels]
    cells = [[repr(float(value)) for value in row] for row in table.to_numpy()]
    numbers = _same_length("labels", [class_id(label, ids) for label in given], len(table))
    header = ["sname", *_bare(columns, "column"), "id"]
    tails: list[list[Any]] = [numbers]
    if predictions is not None:
        header += _PREDICTED
        tails += [
            [class_id(label, ids) for label in predictions["label"]],
            _floats(predictions["probability"]),
        ]
    if outliers is not None:
        flag, score = (
            name if name in outliers.columns else other
            for name, other in zip(_OUTLIER, ("unlike", "distance"), strict=True)
        )
        header += _OUTLIER
        tails += [[int(value) for value in outliers[flag]], _floats(outliers[score])]
    for tail in tails:
        _same_length("rows", tail, len(table))
    lines = ["# " + " ".join(header)]
    for name, row, *rest in zip(names, cells, *tails, strict=True):
        lines.append(" ".join([name, *row, *(str(value) for value in rest)]))
    with drafted(Path(path)) as draft:
        draft.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return Path(path)


def read_features(path: str | os.PathLike[str], ids: Mapping[str, int] = CLASS_IDS) -> SclassifierTable:
    """Read what `write_features` or sclassifier wrote, its classes counted as `ids` say.

    Returns
    -------
    SclassifierTable
        Indexed by sname: the features under the names of the header (z1, z2 ... without one), label; where there
        are, predicted and probability, is_outlier and outlier_score. Rows that cannot be read are left out, counted
        in `notes` and listed in `left_out`.

    Raises
    ------
    CatalogueError
        If the file is no such table.
    """
    path = Path(path).expanduser()
    lines = _read(path).splitlines()
    header = next((line[1:].split() for line in lines if line.lstrip().startswith("#")), [])
    rows = [(k, line.split()) for k, line in enumerate(lines, 1) if line.strip() and line.lstrip()[0] != "#"]
    if not rows:
        raise CatalogueError(f"{path} holds no row; it should be as '# sname z1 z2 id'.")
    notes = []
    if not header or header[0] != "sname" or "id" not in header:
        widths = [len(row) for _, row in rows]
        width = max(set(widths), key=widths.count)
        if width < 2:
            raise CatalogueError(f"{path} has rows of {width} columns; it should be as '# sname z1 z2 id'.")
        header = ["sname", *(f"z{k}" for k in range(1, width - 1)), "id"]
        notes.append(f"no header: {width - 2} features, then id.")
    if len(set(header)) < len(header):
        raise CatalogueError(f"{path}: two columns have one name ({' '.join(header)[:100]}).")
    whole = {"id", "id_pred", "is_outlier"}
    good, bad = [], []
    for line, row in rows:
        try:
            if len(row) != len(header):
                raise ValueError(f"{len(row)} columns, not {len(header)}")
            good.append(
                [row[0]]
                + [
                    _whole(value) if key in whole else float(value)
                    for key, value in zip(header[1:], row[1:], strict=True)
                ]
            )
        except ValueError as error:
            bad.append((line, str(error)[:100]))
    table = SclassifierTable(pd.DataFrame(good, columns=header).set_index("sname"))
    table = _named(table, ids)
    return _finish(table, bad, "line", notes)


def _named(table: SclassifierTable, ids: Mapping[str, int]) -> SclassifierTable:
    """Turn ids into labels, and put what is no feature last."""
    last: dict[str, Any] = {"label": [class_name(number, ids) for number in table.pop("id")]}
    if "id_pred" in table:
        last["predicted"] = [class_name(number, ids) for number in table.pop("id_pred")]
    if "prob" in table:
        last["probability"] = table.pop("prob")
    if "is_outlier" in table:
        last["is_outlier"] = table.pop("is_outlier").astype(bool)
    if "outlier_score" in table:
        last["outlier_score"] = table.pop("outlier_score")
    for name, values in last.items():
        table[name] = values
    return table


# ------------------------------------------------------------------------------------
# data lists


def write_data_list(
    path: str | os.PathLike[str], table: pd.DataFrame, ids: Mapping[str, int] = CLASS_IDS
) -> Path:
    """Write a data list.

    Parameters
    ----------
    path : str or path
    table : DataFrame
        Indexed by the sources' names, with the columns filepaths (a list of one path a band, as text) and label (a
        class or a list of them, '' where not known). A column feats (a list of numbers), is_outlier and
        outlier_score are written where there are.
    ids : mapping of str to int
        How classes are counted.

    Raises
    ------
    ParameterError
        If a column is missing or a label is no class of theirs.
    """
    for name in ("filepaths", "label"):
        if name not in table.columns:
            raise ParameterError(f"the table has no column {name}; a data list needs filepaths and label.")
    rows = []
    for name, row in zip(table.index, table.to_dict("records"), strict=True):
        several = isinstance(row["label"], list | tuple)
        labels = [_text(label) for label in (row["label"] if several else [row["label"]])]
        numbers = [class_id(label, ids) for label in labels]
        theirs = [_their_name(label, ids) for label in labels]
        entry: dict[str, Any] = {"filepaths": [str(file) for file in row["filepaths"]], "sname": str(name)}
        entry |= {"id": numbers, "label": theirs} if several else {"id": numbers[0], "label": theirs[0]}
        if "feats" in row:
            entry["feats"] = [float(value) for value in row["feats"]]
        if "is_outlier" in row:
            entry |= {"is_outlier": int(row["is_outlier"]), "outlier_score": float(row["outlier_score"])}
        rows.append(entry)
    with drafted(Path(path)) as draft:
        draft.write_text(json.dumps({"data": rows}, indent=1) + "\n", encoding="utf-8")
    return Path(path)


def read_data_list(path: str | os.PathLike[str], ids: Mapping[str, int] = CLASS_IDS) -> SclassifierTable:
    """Read a data list, also one with features or outliers, its classes counted as `ids` say.

    Returns
    -------
    SclassifierTable
        Indexed by sname: filepaths (list of str; nothing is opened), label (str, or a list of them), and feats,
        is_outlier and outlier_score where an entry has them. Entries that cannot be read are left out, counted in
        `notes` and listed in `left_out`.

    Raises
    ------
    CatalogueError
        If the file is no data list.
    """
    found, bad = _entries(path, ("data",), '{"data": [{"filepaths": ...}]}', lambda entry: _entry(entry, ids))
    good = [row for row, _ in found]
    differ = sum(not same for _, same in found)
    notes = []
    if differ:
        notes.append(
            f"{differ} labels are not those of their id; the id was taken. Is it counted by other ids?"
        )
    table = SclassifierTable(
        good, columns=list(dict.fromkeys(["sname", *(key for row in good for key in row)]))
    )
    return _finish(SclassifierTable(table.set_index("sname")), bad, "entry", notes)


def _entry(entry: Any, ids: Mapping[str, int]) -> tuple[dict[str, Any], bool]:
    """Return the row of one entry, and whether its label is that of its id."""
    if not isinstance(entry, dict):
        raise TypeError(f"an entry is {type(entry).__name__}, not an object")
    files = entry.get("filepaths", [])
    if not isinstance(files, list) or not all(isinstance(file, str) for file in files):
        raise TypeError("filepaths is no list of text")
    name = entry["sname"]
    if not isinstance(name, str) or not name:
        raise TypeError("sname is no text")
    given = entry["ids"] if "ids" in entry else entry["id"]
    several = isinstance(given, list)
    labels = [class_name(_whole(number), ids) for number in (given if several else [given])]
    said = entry.get("label")
    said = said if isinstance(said, list) else [said] * len(labels)
    same = all(
        label.startswith("class-") or text is None or _our_name(str(text), ids) == label
        for label, text in zip(labels, said, strict=False)
    )
    row: dict[str, Any] = {"sname": name, "filepaths": files, "label": labels if several else labels[0]}
    if "feats" in entry:
        row["feats"] = [float(value) for value in entry["feats"]]
    if "is_outlier" in entry:
        row["is_outlier"] = bool(_whole(entry["is_outlier"]))
        row["outlier_score"] = float(entry["outlier_score"])
    return row, same


# ------------------------------------------------------------------------------------
# objects of caesar-yolo and caesar-mrcnn


def write_caesar(
    path: str | os.PathLike[str],
    table: pd.DataFrame,
    patches: Sequence[tuple[int, int, np.ndarray]] | None = None,
) -> Path:
    """Write objects of a map as caesar-yolo does or, with masks, as caesar-mrcnn.

    Parameters
    ----------
    path : str or path
    table : DataFrame
        x0, y0, x1, y1 (box in pixels of the map, from 0, ends exclusive), kind (a class of `OBJECT_IDS`) and score (0
        to 1), such as ``found.table`` of `maskrcnn`. Columns edge and merged are written where there are. Names are
        those of a column name, else S1, S2 and so on.
    patches : sequence of (y0, x0, bool array), optional
        Masks, such as ``found.patches``: adds the pixels of each object, and class ids count from 1.

    Raises
    ------
    ParameterError
        If a column is missing, a class is none of theirs, a box has no size or a number is not finite.
    """
    box = ("x0", "y0", "x1", "y1")
    for column in (*box, "kind", "score"):
        if column not in table.columns:
            raise ParameterError(
                f"the table has no column {column}; caesar's objects have a box, kind and score."
            )
    if patches is not None:
        _same_length("patches", list(patches), len(table))
    objects = []
    for k, row in enumerate(table.to_dict("records")):
        kind = str(row["kind"])
        if kind not in OBJECT_IDS:
            raise ParameterError(f"caesar has no class {kind!r:.40}; it knows {', '.join(OBJECT_IDS)}.")
        x0, y0, x1, y1, score = (float(row[column]) for column in (*box, "score"))
        if not (math.isfinite(x0 + y0 + x1 + y1 + score) and x0 < x1 and y0 < y1):
            raise ParameterError(
                f"row {k} has the box {(x0, y0, x1, y1)} and the score {score}; leave it out."
            )
        entry: dict[str, Any] = {
            "name": str(row.get("name", f"S{k + 1}")),
            "x1": x0, "x2": x1, "y1": y0, "y2": y1,
            "class_id": OBJECT_IDS[kind] + (patches is not None),
            "class_name": kind.lower(),
            "score": score,
            "edge": int(row.get("edge", False)),
            "merged": bool(row.get("merged", False)),
        }  # fmt: skip
        if patches is not None:
            low, left, mask = patches[k]
            entry["pixels"] = np.add(np.argwhere(mask), (low, left)).tolist()
        objects.append(entry)
    with drafted(Path(path)) as draft:
        draft.write_text(json.dumps({"sources": objects}, indent=1) + "\n", encoding="utf-8")
    return Path(path)


def read_caesar(path: str | os.PathLike[str]) -> SclassifierTable:
    """Read the objects that caesar-yolo or caesar-mrcnn found in a map.

    Returns
    -------
    SclassifierTable
        Indexed by name, with the columns of a finder's result, so that ``Found(read_caesar(path))`` can be matched
        with others: x, y (centre of the box, pixels from 0), ra, dec, flux and peak (NaN: the files have none), score,
        kind (as in `OBJECT_IDS`, by name), x0, y0, x1, y1 (ends exclusive), edge and merged. Objects that cannot be
        read are left out, counted in `notes` and listed in `left_out`.

    Raises
    ------
    CatalogueError
        If the file holds no such list.
    """
    good, bad = _entries(path, ("sources", "objs"), '{"sources": [{"x1": ...}]}', _object)
    table = pd.DataFrame(good, columns=_OBJECT).set_index("name")
    return _finish(SclassifierTable(table), bad, "entry", [])


def _object(entry: Any) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise TypeError(f"an entry is {type(entry).__name__}, not an object")
    x0, x1, y0, y1, score = (float(entry[key]) for key in ("x1", "x2", "y1", "y2", "score"))
    if not (math.isfinite(x0 + x1 + y0 + y1) and x0 < x1 and y0 < y1):
        raise ValueError(f"the box {(x0, y0, x1, y1)} has no size")
    if not 0 <= score <= 1:
        raise ValueError(f"the score {score} is not from 0 to 1")
    return {
        "name": str(entry["name"]), "x": (x0 + x1 - 1) / 2, "y": (y0 + y1 - 1) / 2,
        "ra": math.nan, "dec": math.nan, "flux": math.nan, "peak": math.nan,
        "score": score, "kind": str(entry["class_name"]).upper(), "x0": x0, "y0": y0, "x1": x1, "y1": y1,
        "edge": bool(_whole(entry.get("edge", 0))), "merged": bool(_whole(entry.get("merged", 0))),
    }  # fmt: skip


# ------------------------------------------------------------------------------------
# images


def write_cutouts(
    folder: str | os.PathLike[str], frames: FrameSet, labels: Iterable[str] | None = None
) -> Path:
    """Write multi-band cutouts as FITS files, one a source and band, and the data list of them.

    Parameters
    ----------
    folder : str or path
        New, or empty; files are ``<name>/<band>.fits`` and ``datalist.json``, which names them from there.
    frames : FrameSet
        Of `cut_bands`.
    labels : (n,) str, optional

    Returns
    -------
    Path
        The data list.

    Raises
    ------
    ParameterError
        If the folder holds something, or the frames have no bands.
    """
    from astropy.io import fits

    from radiowidgets.data.regrid import tangent_grid

    folder = Path(folder).expanduser()
    if not frames.channels:
        raise ParameterError("the frames have no bands; make them with cut_bands.")
    if folder.exists() and any(folder.iterdir()):
        raise ParameterError(f"{folder} holds other files; choose a new folder.")
    about = getattr(frames.sources, "attrs", {})
    scale, beam = about.get("pixel_scale_arcsec"), about.get("beam_arcsec_deg")
    rows, used = [], set()
    for k, name in enumerate(frames.frame_ids):
        stem = re.sub(r"[^\w+-]", "_", str(name))
        stem = stem if stem not in used else f"{stem}-{k}"
        used.add(stem)
        pixels = frames.pixels([k])[0]
        header = fits.Header()
        if scale is not None:
            header.update(tangent_grid(frames.ra[k], frames.dec[k], pixels.shape[0], scale).to_header())
        if beam is not None:
            header["BMAJ"], header["BMIN"], header["BPA"] = beam[0] / 3600, beam[1] / 3600, beam[2]
        header["BUNIT"] = "Jy/pixel"
        (folder / stem).mkdir(parents=True, exist_ok=True)
        files = [f"{stem}/{band}.fits" for band in frames.channels]
        for channel, file in enumerate(files):
            fits.writeto(folder / file, pixels[..., channel], header)
        rows.append({"filepaths": files})
    table = pd.DataFrame(rows, index=list(frames.frame_ids))
    table["label"] = [""] * len(table) if labels is None else list(labels)
    return write_data_list(folder / "datalist.json", table)


def read_cutouts(path: str | os.PathLike[str], bands: Sequence[str]) -> FrameSet:
    """Read the images that a data list names: those of `write_cutouts` or of scutout.

    Parameters
    ----------
    path : str or path
        The data list; files are looked for from its folder, and nowhere outside it.
    bands : sequence of str
        Their names, in the order of the files of each source.

    Returns
    -------
    FrameSet
        With `channels`, and as its `sources` the data list. Sources that lack a file, or whose images differ in
        shape, are in `left_out` with the reason.

    Raises
    ------
    CatalogueError
        If the list cannot be read or no source is left.
    """
    from radiowidgets.data.frames import FrameSet
    from radiowidgets.data.maps import SkyMap
    from radiowidgets.errors import MapError

    table = read_data_list(path)
    root = Path(path).expanduser().resolve().parent
    images, kept, reasons = [], [], {}
    for k, files in enumerate(table["filepaths"]):
        try:
            if len(files) != len(bands):
                raise MapError(f"{len(files)} files for {len(bands)} bands")
            places = [(root / file).resolve() for file in files]
            if not all(place.is_relative_to(root) for place in places):
                raise MapError("a file lies outside the folder of the list")
            skies = [SkyMap.open(place) for place in places]
            if len({sky.shape for sky in skies}) > 1:
                raise MapError(f"the images have {len({sky.shape for sky in skies})} shapes")
        except (MapError, OSError) as error:
            reasons[k] = str(error)
            continue
        images.append(np.stack([np.array(sky.pixels, np.float32) for sky in skies], axis=-1))
        kept.append(k)
    if not images:
        raise CatalogueError(
            f"{path}: no source could be read; the first: {next(iter(reasons.values()), 'none')}"
        )
    names = [str(name) for name in table.index[kept]]
    frames = FrameSet.from_images(images, names if len(set(names)) == len(names) else None)
    frames.channels = tuple(bands)
    frames.sources = pd.DataFrame(table.iloc[kept])
    frames.left_out = pd.DataFrame(table.iloc[list(reasons)]).assign(reason=list(reasons.values()))
    return frames


# ------------------------------------------------------------------------------------


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > _LARGEST:
            raise CatalogueError(f"{path} has {path.stat().st_size} bytes; at most {_LARGEST} are read.")
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise CatalogueError(f"{path} cannot be read: {error.strerror}.") from error


def _entries(
    path: str | os.PathLike[str], names: tuple[str, ...], example: str, read: Callable[[Any], Any]
) -> tuple[list[Any], list[tuple[int, str]]]:
    """Return the entries of a list in a JSON file as they are read, and which could not be, from 1, and why."""
    path = Path(path).expanduser()
    try:
        content = json.loads(_read(path))
    except (ValueError, RecursionError) as error:
        raise CatalogueError(f"{path} is no JSON ({error!s:.80}).") from error
    lists = [content[name] for name in names if name in content] if isinstance(content, dict) else []
    if not lists or not isinstance(lists[0], list):
        raise CatalogueError(f"{path} holds no list {' or '.join(names)}; it should be as {example}.")
    good, bad = [], []
    for k, entry in enumerate(lists[0], 1):
        try:
            good.append(read(entry))
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            bad.append((k, f"no {error}" if isinstance(error, KeyError) else str(error)[:100]))
    return good, bad


def _finish(
    table: SclassifierTable, bad: list[tuple[int, str]], unit: str, notes: list[str]
) -> SclassifierTable:
    twice = int(table.index.duplicated().sum())
    if twice:
        notes.append(f"{twice} names are there more than once.")
    if bad:
        notes.append(f"{len(bad)} of {len(bad) + len(table)} rows could not be read and were left out.")
    table.units, table.notes = {}, notes
    table.left_out = pd.DataFrame(bad[:_LISTED], columns=[unit, "reason"])
    return table


def _whole(value: Any) -> int:
    """Return a whole number, also one written as 6.0."""
    number = float(value) if not isinstance(value, bool) else int(value)
    if not math.isfinite(number) or number != int(number):
        raise ValueError(f"{value!r:.40} is no whole number")
    return int(number)


def _floats(values: Any) -> list[str]:
    return [repr(float(value)) for value in values]


def _text(label: Any) -> str:
    return "" if label is None or (isinstance(label, float) and math.isnan(label)) else str(label)


def _bare(names: Sequence[str], what: str) -> list[str]:
    for name in names:
        if not name or re.search(r"\s", name) or name.startswith("#"):
            raise ParameterError(
                f"a {what} is called {name!r:.60}; columns are parted by blanks, so give names without any."
            )
    return list(names)


def _same_length(what: str, values: list[Any], n: int) -> list[Any]:
    if len(values) != n:
        raise ParameterError(f"{len(values)} {what} for {n} sources; give one each.")
    return values
