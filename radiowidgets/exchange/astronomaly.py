"""Runs for Astronomaly (Lochner & Bassett 2021; Protege: Lochner et al. 2024), and what it wrote for us.

Astronomaly keeps in its ``output_dir`` what each stage of its pipeline gave, ``<ClassName>_output.parquet``, indexed by
the id of the object, and ``ml_scores.csv``: score, human_label (-1 where there is none) and, after learning,
predicted_user_score, trained_score and acquisition. Facts were read from its source, version 2.0.

Scores: what its ``ScoreConverter`` gives runs from 0 to 5, larger = weirder, as ours; what its Isolation Forest and
local outlier factor give before that is lower = weirder. `AstronomalyOutput.ranking` tells the two apart and does not
guess where it cannot.

Astronomaly is no dependency: nothing here imports it but `run_astronomaly`.
"""

from __future__ import annotations

import contextlib
import csv
import importlib
import io
import json
import logging
import math
import os
import re
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from radiowidgets.data.building import drafted
from radiowidgets.data.frames import FrameSet
from radiowidgets.data.maps import SkyMap
from radiowidgets.errors import DataError, MissingExtraError, ParameterError, check_one_of

HIGHEST = 5  # of labels and of converted scores
NO_LABEL = -1
SCORES, CATALOGUE, ABOUT, CUTOUTS = "ml_scores.csv", "catalogue.csv", "radiowidgets.json", "cutouts"
PIPELINE = "radiowidgets_pipeline.py"
FEATURES, EMBEDDING, PLANE = (
    f"RadioWidgets{what}_output.parquet" for what in ("Features", "Embedding", "Plane")
)
NUMBERS = ("score", "predicted_user_score", "trained_score", "acquisition")
RAW = ("IforestAlgorithm", "LOF_Algorithm")  # stages whose scores are lower = weirder
INSTALL = (
    "Astronomaly is not installed. Install it with: pip install git+https://github.com/MichelleLochner/astronomaly "
    "flask opencv-python-headless scikit-image xlsxwriter."
)

# What Astronomaly runs to open the folder that it lies in; all that differs between runs is in the JSON file beside it.
_SCRIPT = '''"""Opens a run of radiowidgets in Astronomaly: python astronomaly/frontend/run_server.py THIS_FILE."""

import json
import os

import numpy as np
import pandas as pd
from astronomaly.anomaly_detection import human_loop_learning
from astronomaly.data_management import image_reader
from astronomaly.postprocessing import scaling

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "")


def stretch(image):
    """From -2 to 40 times the scatter of the pixels, as asinh; blank pixels are background."""
    middle = np.nanmedian(image) if np.isfinite(image).any() else 0.0
    image = np.nan_to_num(image, nan=middle, posinf=middle, neginf=middle) - middle
    rms = 1.4826 * np.median(np.abs(image)) or 1.0
    return np.arcsinh(10 * np.clip((image / rms + 2) / 42, 0, 1)) / np.arcsinh(10)


def read(name):
    table = pd.read_csv(HERE + name, dtype={0: str}, keep_default_na=False, na_values=[""])
    return table.set_index(table.columns[0])


def run_pipeline():
    with open(HERE + "radiowidgets.json") as file:
        about = json.load(file)
    scores = read("ml_scores.csv").astype({"human_label": int})
    catalogue = pd.read_csv(HERE + "catalogue.csv", dtype={"objid": str}, keep_default_na=False, na_values=[""])
    if about["cutouts"]:
        dataset = image_reader.ImageThumbnailsDataset(
            directory=HERE + "cutouts", output_dir=HERE, fits_format=True, transform_function=stretch
        )
        dataset.metadata = dataset.metadata.join(catalogue.set_index("objid"))
    else:
        dataset = image_reader.ImageDataset(
            list_of_files=about["images"], output_dir=HERE, catalogue=catalogue, fits_index=about["fits_index"],
            window_size=about["window_size"], adaptive_sizing=about["adaptive_sizing"], min_window_size=0,
            plot_square=True, transform_function=stretch,
        )
    features = pd.read_parquet(HERE + about["features"]).loc[scores.index]
    features = scaling.FeatureScaler(force_rerun=True, output_dir=HERE).run(features)
    pipeline = {
        "dataset": dataset,
        "features": features,
        "anomaly_scores": scores,
        "active_learning": human_loop_learning.NeighbourScore(alpha=1, output_dir=HERE, force_rerun=True),
    }
    if about["plane"]:
        pipeline["visualisation"] = pd.read_parquet(HERE + about["plane"]).loc[scores.index]
    return pipeline
'''


# ------------------------------------------------------------ writing


def write_astronomaly(
    folder: Path,
    table: pd.DataFrame,
    frames: FrameSet,
    features: pd.DataFrame,
    *,
    trained: pd.Series | None = None,
    embedding: np.ndarray | None = None,
    plane: np.ndarray | None = None,
    cutouts: bool | None = None,
) -> Path:
    """Write a new folder that Astronomaly opens.

    That is done with ``python astronomaly/frontend/run_server.py FOLDER/radiowidgets_pipeline.py``. The folder holds
    ``ml_scores.csv``, features and embedding (Parquet), ``catalogue.csv`` (objid, x, y, original_image, ra, dec,
    peak_flux, obj_size; x and y are the pixel from 0 in the middle of each frame) and that pipeline. Labels that are
    given in Astronomaly are written back into ``ml_scores.csv``: see `read_astronomaly`.

    Parameters
    ----------
    folder : Path
        A new folder. Astronomaly's check for changed settings takes a hyphen in a path for the end of a word, so
        that it computes again what it has: a warning tells so.
    table : DataFrame
        One row a frame, with frame_id, score and interest (rounded, as labels there are whole), as of
        `Run.selection`.
    frames : FrameSet
    features : DataFrame
        Indexed by frame_id.
    trained : Series, optional
        Scores after learning, by frame_id: its column trained_score.
    embedding : (len(frames), d) array, optional
        Written beside the features, and used by the pipeline in their stead.
    plane : (len(frames), 2) array, optional
        Places of the frames for its visualisation tab; frames without one are placed at the median.
    cutouts : bool, optional
        Write each frame as a FITS file, for Astronomaly to show these instead of the maps. Default: where it cannot
        read the maps, that is for images without a map, cubes, and maps of one file name.

    Raises
    ------
    ParameterError
        If the folder exists, or there is something that Astronomaly cannot open.
    """
    if folder.exists():
        raise ParameterError(f"{folder} exists; choose the name of a new folder.")
    rows = np.array([frames.index_of(frame_id) for frame_id in table["frame_id"]], dtype=np.int64)
    if not len(rows):
        raise ParameterError("No frames are chosen, and Astronomaly opens no empty run; choose some.")
    reason = _unreadable(frames, rows)
    if reason and cutouts is False:
        raise ParameterError(f"{reason}; write the frames as files of their own with cutouts=True.")
    cutouts = bool(reason) if cutouts is None else cutouts
    if "-" in str(folder.resolve()):
        warnings.warn(
            f"{folder.resolve()} has a hyphen, which Astronomaly's check for changed settings trips over: it will "
            "compute again what it has. Choose a path without one.",
            stacklevel=3,
        )
    ids = table["frame_id"].to_numpy(object)
    catalogue = _catalogue(frames, rows, ids, cutouts)
    about = _about(frames, rows, cutouts, embedding is not None, plane is not None)
    with drafted(folder) as draft:
        draft.mkdir()
        _scores(table, trained).to_csv(draft / SCORES)
        catalogue.to_csv(draft / CATALOGUE, index=False)
        _keep(features.loc[ids], draft / FEATURES)
        for values, name in ((embedding, EMBEDDING), (plane, PLANE)):
            if values is not None:
                chosen = np.asarray(values, dtype=np.float32)[rows]
                middle = np.nan_to_num(np.nanmedian(chosen, axis=0)) if np.isnan(chosen).any() else 0.0
                _keep(pd.DataFrame(np.where(np.isnan(chosen), middle, chosen), index=ids), draft / name)
        if cutouts:
            _write_images(draft / CUTOUTS, frames, rows, ids)
        (draft / ABOUT).write_text(json.dumps(about, indent=1) + "\n", "utf-8")
        (draft / PIPELINE).write_text(_SCRIPT, "utf-8")
    return folder


def _unreadable(frames: FrameSet, rows: np.ndarray) -> str:
    """Say why Astronomaly cannot read the maps of these frames, if so."""
    if not frames.maps:
        return "These images belong to no map, and Astronomaly opens maps"
    skies = [frames.maps[frames.map_names[code]] for code in np.unique(frames.map_codes[rows])]
    names = [sky.path.name for sky in skies if sky.path is not None]
    if len(names) < len(skies):
        return "A map lives in memory only, and Astronomaly opens files"
    if len(set(names)) < len(names):
        return f"Two maps have the file name {max(names, key=names.count)!r}, by which Astronomaly knows them"
    cubes = [sky.path for sky in skies if sky.header.get("NAXIS") == 3]
    if cubes:
        return f"{cubes[0]} has three axes, of which Astronomaly shows a line"
    return (
        "" if len({sky.hdu for sky in skies}) == 1 else "The maps are in different extensions of their files"
    )


def _scores(table: pd.DataFrame, trained: pd.Series | None) -> pd.DataFrame:
    ids = pd.Index(table["frame_id"], name="objid")
    interest = table["interest"].to_numpy(np.float64, na_value=np.nan)
    labels = np.where(np.isnan(interest), NO_LABEL, np.floor(np.nan_to_num(interest) + 0.5)).astype(int)
    scores = pd.DataFrame(
        {"score": _converted(table["score"].to_numpy(np.float64)), "human_label": labels}, index=ids
    )
    if trained is not None:
        scores["trained_score"] = _converted(trained.reindex(ids).to_numpy(np.float64))
    return scores


def _converted(score: np.ndarray) -> np.ndarray:
    """Scale scores to 0-5, larger = weirder, as its ScoreConverter does."""
    low, high = float(score.min()), float(score.max())
    return HIGHEST * (score - low) / (high - low) if high > low else np.zeros(len(score))


def _catalogue(frames: FrameSet, rows: np.ndarray, ids: np.ndarray, cutouts: bool) -> pd.DataFrame:
    names = np.array(frames.map_names, dtype=object)[frames.map_codes[rows]]
    files = {name: sky.path.name for name, sky in frames.maps.items() if sky.path is not None}
    width, height = frames.width[rows], frames.height[rows]
    peaks = np.full(len(rows), np.nan)
    for start in range(0, len(rows), 256):
        for k, row in enumerate(rows[start : start + 256], start):
            pixels = frames[int(row)].pixels
            if np.isfinite(pixels).any():
                peaks[k] = np.nanmax(pixels)
    return pd.DataFrame(
        {
            "objid": ids,
            "x": frames.x[rows] + width // 2,
            "y": frames.y[rows] + height // 2,
            "original_image": [f"{i}.fits" for i in ids] if cutouts else [files[name] for name in names],
            "ra": frames.ra[rows],
            "dec": frames.dec[rows],
            "peak_flux": peaks,
            "obj_size": np.maximum(width, height),
        }
    )


def _about(frames: FrameSet, rows: np.ndarray, cutouts: bool, embedded: bool, placed: bool) -> dict[str, Any]:
    width, height = frames.width[rows], frames.height[rows]
    same = len(set(zip(width.tolist(), height.tolist(), strict=True))) == 1
    skies = [frames.maps[frames.map_names[code]] for code in np.unique(frames.map_codes[rows]) if frames.maps]
    return {
        "cutouts": cutouts,
        "images": [] if cutouts else [str(sky.path.resolve()) for sky in skies if sky.path is not None],
        "fits_index": None if cutouts else skies[0].hdu,
        "window_size": [int(width[0]), int(height[0])] if same else [int(width.max()), int(height.max())],
        "adaptive_sizing": not same,
        "features": EMBEDDING if embedded else FEATURES,
        "plane": PLANE if placed else None,
    }


def _keep(table: pd.DataFrame, path: Path) -> None:
    """Write a table as its stages do: names of columns are text, the index holds the ids."""
    table = table.set_axis([str(name) for name in table.columns], axis=1)
    table.index = pd.Index([str(name) for name in table.index])
    table.to_parquet(path)


def _write_images(folder: Path, frames: FrameSet, rows: np.ndarray, ids: np.ndarray) -> None:
    """Write each frame as <id>.fits, as its dataset of thumbnails takes the id from the name of the file."""
    from astropy.io import fits

    folder.mkdir()
    for row, frame_id in zip(rows, ids, strict=True):
        if not re.fullmatch(r"[^/\\\0]{1,200}", frame_id) or frame_id.startswith("."):
            raise ParameterError(
                f"The id {frame_id[:80]!r} can be no name of a file; give the frames other ids."
            )
        frame = frames[int(row)]
        header = fits.Header() if frame.wcs is None else frame.wcs.to_header()
        pixels = np.ascontiguousarray(frame.pixels, dtype=">f4")
        fits.PrimaryHDU(pixels, header).writeto(folder / f"{frame_id}.fits")


# ------------------------------------------------------------ reading


class AstronomalyOutput(NamedTuple):
    """What lies in an output folder of Astronomaly.

    Attributes
    ----------
    scores : DataFrame
        Indexed by the id of the object, as text: score and what else there is of predicted_user_score, trained_score
        and acquisition (float, as it is in the file), human_label (Int8, missing where there is none).
    stages : dict of str to DataFrame
        What each stage gave, by the name of its class, indexed by id: features, scores before conversion, places.
    catalogue : DataFrame or None
        Its catalogue, if the folder has one: objid, x, y, original_image and what else there is.
    problems : DataFrame
        What was wrong and was left out, one row each: file, row (from 1, the header not counted; 0 for a whole file),
        object, problem.
    """

    scores: pd.DataFrame
    stages: dict[str, pd.DataFrame]
    catalogue: pd.DataFrame | None
    problems: pd.DataFrame

    def ranking(self, column: str = "score", lower_is_weirder: bool | None = None) -> pd.DataFrame:
        """Return the scores as ours, larger = more anomalous, in (0, 1], with ranks from 1.

        Parameters
        ----------
        column : str
            Of `scores`: score, trained_score or acquisition.
        lower_is_weirder : bool, optional
            Whether the file holds scores as an Isolation Forest or local outlier factor gives them. Default: it is
            told by the values (0 to 5 after its ScoreConverter), by the column (what is learnt is larger = weirder), or
            by a stage that gave them.

        Raises
        ------
        ParameterError
            If the column is not there, or its direction cannot be told.
        """
        check_one_of("column", column, [name for name in NUMBERS if name in self.scores])
        values = self.scores[column].dropna()
        if lower_is_weirder is None:
            lower_is_weirder = self._direction(column, values)
        score = -values if lower_is_weirder else values
        spread = float(score.max() - score.min()) if len(score) else 0.0
        share = (score - score.min()) / spread if spread > 0 else score * 0 + 1.0
        share = share.clip(lower=1e-6)  # a score of 0 says that there is no sky
        ranks = share.rank(ascending=False, method="first").astype(np.int64)
        return pd.DataFrame({"score": share, "rank": ranks}).rename_axis("frame_id")

    def _direction(self, column: str, values: pd.Series) -> bool:
        if column != "score" or "acquisition" in self.scores or not len(values):
            return False
        for name in RAW:
            stage = self.stages.get(name)
            if stage is not None and "score" in stage:
                raw = stage["score"].reindex(values.index)
                order = raw.corr(values, method="spearman")
                if abs(order) > 0.5:
                    return bool(order > 0)
        if values.min() == 0 and abs(values.max() - HIGHEST) < 1e-6:
            return False
        raise ParameterError(
            f"The scores run from {values.min():g} to {values.max():g}, not from 0 to {HIGHEST}; tell their "
            "direction with lower_is_weirder= (True as an Isolation Forest gives them)."
        )

    def frames(self, maps: Iterable[SkyMap], size: int | None = None) -> tuple[FrameSet, pd.DataFrame]:
        """Return the cutouts of its catalogue as frames of these maps, and what of it is left out.

        Parameters
        ----------
        maps : iterable of SkyMap
            Known by the name of their file, as original_image has it.
        size : int, optional
            Its window_size in pixels. Default: obj_size of each object, its adaptive sizing.

        Returns
        -------
        frames : FrameSet
            With the ids of the objects; only those that have a score.
        problems : DataFrame
            As `problems`.
        """
        if self.catalogue is None:
            raise ParameterError(
                f"There is no {CATALOGUE}; give read_astronomaly the catalogue= that it was run with."
            )
        if size is None and "obj_size" not in self.catalogue:
            raise ParameterError("The catalogue has no obj_size; give size, its window_size in pixels.")
        skies = list(maps)
        codes = {sky.name if sky.path is None else sky.path.name: k for k, sky in enumerate(skies)}
        problems, boxes, ids = _Problems(), [], []
        for place, row in enumerate(self.catalogue.to_dict("records"), start=1):
            objid = row["objid"]
            image = row.get("original_image", next(iter(codes)) if len(codes) == 1 else None)
            side = row["obj_size"] if size is None else size
            if image not in codes:
                problems.add(CATALOGUE, place, objid, f"no map {image!r} was given")
            elif not all(_is_number(value, 2**30) for value in (row["x"], row["y"], side)) or side < 1:
                problems.add(CATALOGUE, place, objid, "x, y or the size is no number of pixels")
            elif objid not in self.scores.index:
                problems.add(CATALOGUE, place, objid, f"has no row in {SCORES}")
            else:
                half = int(side) // 2
                boxes.append((codes[image], int(row["x"]) - half, int(row["y"]) - half, max(1, 2 * half)))
                ids.append(objid)
        if not boxes:
            raise DataError(
                f"None of {len(self.catalogue)} objects of the catalogue lies on these maps: {problems.words}."
            )
        code, x, y, side = np.array(boxes, dtype=np.int64).T
        return FrameSet(skies, code, x, y, side, side, ids=ids), problems.table


class _Problems:
    """What is wrong with files, row by row."""

    def __init__(self) -> None:
        self._rows: list[tuple[str, int, str, str]] = []

    def add(self, file: str, row: int, name: Any, problem: str) -> None:
        self._rows.append((file, row, str(name)[:200], problem))

    @property
    def table(self) -> pd.DataFrame:
        return pd.DataFrame(self._rows, columns=["file", "row", "object", "problem"])

    @property
    def words(self) -> str:
        counts = self.table["problem"].value_counts()
        return "; ".join(f"{count} x {problem}" for problem, count in counts.items()) or "nothing"


def read_astronomaly(
    folder: str | os.PathLike[str], catalogue: str | os.PathLike[str] | None = None
) -> AstronomalyOutput:
    """Read what Astronomaly wrote into its output folder; what is wrong is listed and left out.

    Parameters
    ----------
    folder : path
        Its ``output_dir``, or the file ``ml_scores.csv`` alone.
    catalogue : path, optional
        The CSV file of objects that it was run with. Default: ``catalogue.csv`` in the folder.

    Raises
    ------
    DataError
        If there are no scores, or the file that holds them is no table.
    """
    folder = Path(folder)
    place = folder / SCORES if folder.is_dir() else folder
    folder = place.parent
    problems = _Problems()
    stages = {}
    for path in sorted(folder.glob("*_output.parquet")) if place.name == SCORES else ():
        try:
            stage = pd.read_parquet(path)
        except (OSError, ValueError) as error:  # pyarrow's errors are among these
            problems.add(path.name, 0, "", f"cannot be read ({' '.join(str(error).split())[:80]})")
            continue
        stage.index = stage.index.astype(str)
        if stage.index.has_duplicates:
            problems.add(
                path.name, 0, "", f"{int(stage.index.duplicated().sum())} ids stand twice; the first counts"
            )
            stage = stage[~stage.index.duplicated()]
        stages[path.name.removesuffix("_output.parquet")] = stage
    if place.exists():
        scores = _read_scores(place, problems)
    else:
        found = next((name for name in ("ScoreConverter", *RAW) if "score" in stages.get(name, ())), None)
        if found is None:
            raise DataError(f"{folder} has no {SCORES}; give the output_dir of an Astronomaly that was run.")
        scores = stages[found][["score"]].astype(np.float64)
        scores["human_label"] = pd.array([pd.NA] * len(scores), dtype="Int8")
    for name, stage in stages.items():
        missing, more = len(scores.index.difference(stage.index)), len(stage.index.difference(scores.index))
        if missing or more:
            differ = f"{missing} objects of {place.name} are not in it, {more} of it are not there"
            problems.add(f"{name}_output.parquet", 0, "", differ)
    given = folder / CATALOGUE if catalogue is None else Path(catalogue)
    listed = _read_catalogue(given, problems) if catalogue is not None or given.exists() else None
    return AstronomalyOutput(scores, stages, listed, problems.table)


def _read_scores(path: Path, problems: _Problems) -> pd.DataFrame:
    header, rows = _read_csv(path, problems)
    names = header[1:]
    if not {"score", "human_label"} & set(names):
        raise DataError(
            f"{path} has the columns {', '.join(header)[:120]!r} and none score or human_label; is it one?"
        )
    ids: dict[str, None] = {}
    columns: dict[str, list[Any]] = {name: [] for name in (*NUMBERS, "human_label") if name in names}
    for place, row in rows:
        objid = row[0]
        if objid in ids:
            problems.add(path.name, place, objid, "the id stands twice; the first counts")
            continue
        ids[objid] = None
        cells = dict(zip(names, row[1:], strict=True))
        for name, column in columns.items():
            value = _number(cells[name])
            if name == "human_label":
                if value is None or value not in range(NO_LABEL, HIGHEST + 1):
                    problems.add(
                        path.name, place, objid, f"the label {cells[name][:40]!r} is none of -1 to {HIGHEST}"
                    )
                    value = NO_LABEL
                column.append(None if value == NO_LABEL else int(value))
                continue
            if value is None:
                problems.add(path.name, place, objid, f"{name} is {cells[name][:40]!r}, which is no number")
            column.append(np.nan if value is None else value)
    table = pd.DataFrame(
        {
            name: pd.array(column, dtype="Int8" if name == "human_label" else "float64")
            for name, column in columns.items()
        },
        index=pd.Index(list(ids), dtype="str", name="objid"),
    )
    if "human_label" not in table:
        table["human_label"] = pd.array([pd.NA] * len(table), dtype="Int8")
    return table


def _read_catalogue(path: Path, problems: _Problems) -> pd.DataFrame:
    header, rows = _read_csv(path, problems, first_is_id=False)
    if not {"x", "y"} <= set(header):
        raise DataError(
            f"{path} has the columns {', '.join(header)[:120]!r}; a catalogue has objid, x and y."
        )
    listed = [dict(zip(header, row, strict=True)) for _, row in rows]
    table = pd.DataFrame(listed, columns=list(dict.fromkeys(header)))
    if "objid" not in table:
        table["objid"] = [str(k) for k in range(len(table))]  # as Astronomaly numbers them
    for name in table.columns.difference(["objid", "original_image"]):
        table[name] = pd.to_numeric(table[name], errors="coerce")
    return table.drop_duplicates("objid", ignore_index=True)


def _read_csv(
    path: Path, problems: _Problems, first_is_id: bool = True
) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Return the header of a CSV file and its rows with their numbers; rows of another length are left out."""
    try:
        with path.open(encoding="utf-8", errors="replace", newline="") as file:
            text = file.read()
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror}.") from error
    reader = csv.reader(io.StringIO(text, newline=""))
    header: list[str] | None = None
    rows = []
    place = 0
    while True:
        try:
            row = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            place += 1
            problems.add(path.name, place, "", f"cannot be read ({error})")
            continue
        if header is None:
            header = row
            continue
        place += 1
        if len(row) != len(header):
            problems.add(path.name, place, row[0] if row else "", f"has not {len(header)} cells")
        elif first_is_id and not (row and row[0]):
            problems.add(path.name, place, "", "has no id")
        else:
            rows.append((place, row))
    if not header:
        raise DataError(f"{path} is empty; give a table with a header.")
    return header, rows


def _number(text: str) -> float | None:
    """Return the finite number that a cell holds."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and "_" not in text else None


def _is_number(value: Any, limit: int) -> bool:
    return isinstance(value, int | float) and abs(value) < limit


def labels_for(output: AstronomalyOutput, frames: FrameSet) -> tuple[dict[int, int], pd.DataFrame]:
    """Return the labels that Astronomaly's user gave to these frames, and what of the output says nothing of them.

    Parameters
    ----------
    output : AstronomalyOutput
    frames : FrameSet

    Returns
    -------
    labels : dict of int to int
        Rating 0-5 by position of the frame.
    problems : DataFrame
        Those of the output, labels of unknown ids, labels of objects that lie elsewhere than the frame of that id (with
        its axes exchanged, for one), and how many frames have no row.
    """
    problems = _Problems()
    known = {frame_id: k for k, frame_id in enumerate(frames.frame_ids)}
    places: Mapping[str, Any] = {}
    if output.catalogue is not None:
        places = dict(
            zip(output.catalogue["objid"], output.catalogue[["x", "y"]].to_numpy(float), strict=True)
        )
    labels: dict[int, int] = {}
    seen = 0
    said = zip(output.scores.index.astype(str), output.scores["human_label"], strict=True)
    for number, (objid, label) in enumerate(said, start=1):
        k = known.get(objid)
        seen += k is not None
        if pd.isna(label):
            continue
        if k is None:
            problems.add(SCORES, number, objid, "the id is that of no frame")
            continue
        wrong = _elsewhere(frames, k, places.get(objid)) if frames.maps else ""
        if wrong:
            problems.add(CATALOGUE, number, objid, wrong)
        else:
            labels[k] = int(label)
    if seen < len(known):
        problems.add(SCORES, 0, "", f"{len(known) - seen} of {len(known)} frames have no row")
    return labels, pd.concat([output.problems, problems.table], ignore_index=True)


def _elsewhere(frames: FrameSet, k: int, place: Any) -> str:
    """Say how a place of the catalogue is not that of frame `k`, if it is not."""
    if place is None:
        return ""
    ours = np.array([frames.x[k] + frames.width[k] // 2, frames.y[k] + frames.height[k] // 2])
    if np.abs(place - ours).max() <= 1:
        return ""
    return (
        "its axes are exchanged"
        if np.abs(place[::-1] - ours).max() <= 1
        else "it lies elsewhere than the frame"
    )


# ------------------------------------------------------------ running the original


def run_astronomaly(
    features: pd.DataFrame,
    labels: pd.Series | None = None,
    *,
    method: str = "isolation forest",
    learn: str | None = None,
    scale: bool = True,
    seed: int = 0,
) -> pd.DataFrame:
    """Rank with an installed Astronomaly: its anomaly detection, score conversion and learning, on our features.

    Its own random numbers are drawn from a seeded stream; it writes nothing that stays, and its logging is undone.

    Parameters
    ----------
    features : DataFrame
        One row a frame, indexed by its id; or an embedding.
    labels : Series, optional
        Ratings 0-5 by id; those it does not name are not rated.
    method : {"isolation forest", "local outlier factor"}
    learn : {"neighbour score", "protege"}, optional
        What learns from the labels: its NeighbourScore, or its Gaussian process with expected improvement.
    scale : bool
        Standardise the features first (its FeatureScaler).
    seed : int

    Returns
    -------
    DataFrame
        In the order of `features`: score (0-5, larger = weirder), human_label (-1: none) and, where it learns,
        trained_score with predicted_user_score (neighbour score) or acquisition (protege). Look first at the
        largest trained_score, with protege at the largest acquisition.

    Raises
    ------
    MissingExtraError
        If Astronomaly is not installed.
    """
    check_one_of("method", method, ("isolation forest", "local outlier factor"))
    check_one_of("learn", learn, (None, "neighbour score", "protege"))
    table = features.set_axis([str(name) for name in features.columns], axis=1)
    given = (
        pd.Series(NO_LABEL, table.index) if labels is None else labels.reindex(table.index).fillna(NO_LABEL)
    )
    if learn is not None and not (given != NO_LABEL).any():
        raise ParameterError(
            "labels has no rating of these frames, and there is nothing to learn from; give some."
        )
    with _visiting(seed) as options:
        detector = {
            "isolation forest": ("isolation_forest", "IforestAlgorithm"),
            "local outlier factor": ("lof", "LOF_Algorithm"),
        }[method]
        if scale:
            table = _stage("postprocessing.scaling", "FeatureScaler")(**options).run(table)
        raw = _stage(f"anomaly_detection.{detector[0]}", detector[1])(**options).run(table)
        scores = _stage("anomaly_detection.human_loop_learning", "ScoreConverter")(**options).run(raw)
        scores["human_label"] = given.astype(int)
        if learn == "neighbour score":
            learner = _stage("anomaly_detection.human_loop_learning", "NeighbourScore")(**options)
        elif learn == "protege":
            learner = _stage("anomaly_detection.protege", "GaussianProcess")(table, **options)
        else:
            return scores
        learnt = learner.run(learner.combine_data_frames(table, scores))
        return scores.join(learnt.drop(columns=["score"], errors="ignore"))


def _stage(module: str, name: str) -> Any:
    try:
        return getattr(importlib.import_module(f"astronomaly.{module}"), name)
    except ImportError as error:
        raise MissingExtraError(INSTALL) from error


@contextlib.contextmanager
def _visiting(seed: int) -> Iterator[dict[str, Any]]:
    """Give what keeps its stages from leaving files, log handlers, text and another random state behind."""
    root = logging.getLogger()
    handlers, level, state = root.handlers[:], root.level, np.random.get_state()  # noqa: NPY002 - it draws from it
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        root.handlers = []
        try:
            np.random.seed(seed)  # noqa: NPY002
            yield {"output_dir": folder, "save_output": False, "force_rerun": True}
        finally:
            for handler in root.handlers:
                handler.close()
            root.handlers = handlers
            root.setLevel(level)
            np.random.set_state(state)  # noqa: NPY002
