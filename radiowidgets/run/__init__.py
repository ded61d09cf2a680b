"""A run folder as one object: frames, features, embedding, scores and labels.

``run.yaml`` names the inputs (with fingerprints), parameters, seeds and versions; the tables are Parquet, arrays are
Zarr, labels are JSON lines: everything opens with public tools. One builder at a time writes frames, features,
embedding and base scores, under ``build.lock``; reviewing takes no lock and writes only ``labels/``,
``scores/<session>.parquet``, ``focus.parquet``, ``projections/`` and the ``catalogues/`` that somebody attaches.
"""

import json
import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

import radiowidgets
from radiowidgets.data.building import drafted
from radiowidgets.data.frames import FrameSet
from radiowidgets.data.headers import pixel_coordinates
from radiowidgets.data.matches import Positions
from radiowidgets.data.noted import NotedTable
from radiowidgets.data.query import Words, match
from radiowidgets.errors import FrameError, ParameterError, RunError
from radiowidgets.exchange.pictures import write_cutouts, write_sheet
from radiowidgets.exchange.regions import format_of, iau_name, write_table
from radiowidgets.exchange.summary import write_summary
from radiowidgets.features.frames import FEATURES, frame_features
from radiowidgets.labels.log import LabelLog
from radiowidgets.labels.progress import AHEAD, Estimate, Progress, Tally, mix_looks
from radiowidgets.labels.schema import DEFAULT_SCHEMA, Schema
from radiowidgets.latent.projection import is_projected, project
from radiowidgets.ranking.active import clipped_spread
from radiowidgets.ranking.campaign import expected_finds, worth_of
from radiowidgets.ranking.explanation import Explainer, Explanation
from radiowidgets.ranking.folding import fold, measure_focus
from radiowidgets.ranking.isolation import has_sky, rank, ranking_parts, ranking_values
from radiowidgets.ranking.neighbours import Neighbours
from radiowidgets.run.chunks import CHUNK, fingerprint_of, measure
from radiowidgets.run.columns import COLUMNS, TEXTS, Columns
from radiowidgets.run.files import (
    FORMAT,
    building,
    catalogue_file,
    check_same_inputs,
    digest,
    drafted_array,
    geometry,
    keep_map,
    make_folder,
    now,
    open_map,
    read_about,
    read_images,
    read_names,
    read_table,
    slug,
    storable,
    versions,
    write_whole,
)
from radiowidgets.run.outputs import (
    LabelsRead,
    labels_from_astronomaly,
    map_facts,
    objects_of,
    open_in_astronomaly,
    report_on,
)
from radiowidgets.run.reranking import Reranking, Shown, first_of, order_of

HIGHEST_INTEREST = 5
MANY = 50_000  # frames from which on a pass over the pixels shows its progress
SEEN = 5.0  # times the noise: what is fainter is no reason to call two frames alike
TRIED = 256  # frames of an order that are looked through at a time for those that show something new ...
MOST_TRIED = 16_384  # ... and at most
IN_MIND = 20  # looks after which a frame may be shown again blindly


class Run:
    """Frames with what is known of them, kept in one folder.

    Use `Run.create`, `Run.build` or `Run.open`.

    Attributes
    ----------
    path : Path
        The folder.
    name : str
        Its name.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        frames: FrameSet,
        about: dict[str, Any],
        annotator: str | None = None,
        *,
        labels: str | None = None,
        blind: bool = False,
    ):
        self.path = Path(path)
        self.name = self.path.resolve().name
        self.frames = frames
        self.about = about
        self.annotator = annotator
        self.blind = blind
        self._labels_at = labels or os.environ.get("RADIOWIDGETS_LABELS")
        self._explainers: dict[bytes, Explainer] = {}
        self._positions: dict[str, Positions] = {}
        self._tallies: dict[str, tuple[Tally, list[int]]] = {}
        self._sequenced: tuple[pd.DataFrame, np.ndarray, np.ndarray, np.ndarray] | None = None
        self._ordered: tuple[tuple[str, int], pd.DataFrame] | None = None
        self._columns = Columns(self)

    # ------------------------------------------------------------ making and opening

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        frames: FrameSet,
        embedding: Any = None,
        scores: pd.DataFrame | None = None,
        features: pd.DataFrame | None = None,
        *,
        schema: Schema | None = None,
        annotator: str | None = None,
        parameters: Mapping[str, Any] | None = None,
    ) -> "Run":
        """Write a run folder, or open the one that already holds the same frames and scores.

        Running the same cell again is safe: labels are kept, and nothing that is there is written anew.

        Parameters
        ----------
        path : path
            The folder; made where it is missing.
        frames : FrameSet
            Maps that live in memory only are written into the folder.
        embedding : (n, d) array, optional
        scores : DataFrame, optional
            From `rank`. Without it the frames are ranked by their features.
        features : DataFrame, optional
            Indexed by frame_id. Default: the frame features.
        schema : Schema, optional
            Tags to choose from. Default: those of Riggi et al. (2024), section 5.1.
        annotator : str, optional
            Who labels. Default: the hub's user name, else the login.
        parameters : mapping, optional
            Noted in ``run.yaml``.

        Raises
        ------
        RunError
            If the folder holds other frames or other scores, or somebody is writing it now.
        """
        run = cls._start(path, frames, schema, annotator, parameters)
        with building(run.path):
            run._write_frames()
            if features is None:
                features = frame_features(frames)
            run._write_once("features", features, "features.parquet")
            if embedding is not None:
                run._write_embedding(np.asarray(embedding, dtype=np.float32))
            if scores is None:
                scores = rank(frames, embedding, features=features)
            run._write_once("scores", scores, "scores.parquet")
            run._finish(scores)
        return run

    @classmethod
    def build(
        cls,
        path: str | os.PathLike[str],
        frames: FrameSet,
        *,
        embed: Any = False,
        seed: int = 0,
        parameters: Mapping[str, Any] | None = None,
        client: Any = None,
        progress: bool = True,
    ) -> "Run":
        """Measure and rank `frames` chunk by chunk into a folder; a build that was stopped goes on where it was.

        The result is the same as that of `create` to the last byte, however often it was stopped and whoever did the
        work. Pixels of a few chunks are in memory at a time; of all frames, features and vectors are when they are
        ranked.

        Parameters
        ----------
        path : path
            The folder; made where it is missing.
        frames : FrameSet
            Maps that live in memory only are written into the folder.
        embed : bool or callable
            Whether frames are embedded too, for ratings to be learnt by, and for likeness: True is by the encoder that
            comes with the package; another one needs a `fingerprint`, see `radiowidgets.embed`.
        seed : int
            Of the ranking.
        parameters : mapping, optional
            Noted in ``run.yaml``.
        client : dask.distributed.Client, optional
            Whose workers measure and embed; they open the maps by the same paths or addresses. See
            `radiowidgets.parallel.workers`.
        progress : bool
            Whether a bar is shown.

        Raises
        ------
        RunError
            If the folder holds other frames or was made otherwise, or somebody is writing it now.
        ClusterError
            If the workers are gone; what they did is kept.
        """
        encoder = _encoder(embed)
        asked = {**(parameters or {}), "seed": seed}
        if encoder is not None:
            asked["encoder"] = fingerprint_of(encoder)
        run = cls._start(path, frames, None, None, asked)
        if encoder is not None and "encoder" not in run.about["parameters"]:
            raise RunError(f"{run.path} was made without an embedding; choose another folder.")
        if all((run.path / f"{name}.parquet").exists() for name in ("frames", "features", "scores")):
            left = [run.path / name for name in ("parts", "build.lock") if (run.path / name).exists()]
            if left or "ranking" not in run.about:  # killed at the very end
                with building(run.path):
                    run._finish(run.scores)
            return run
        with building(run.path):
            run._check_versions()
            found = measure(run.path, frames, encoder, client=client, progress=progress)
            frames.set_noise(*(found.noise[column].to_numpy() for column in found.noise))
            run._write_frames()
            run._write_once("features", found.features, "features.parquet")
            if found.embedding is not None:
                run._write_embedding(found.embedding)
            # As `create` ranks them: where there are features, they make the first order, whatever the embedding.
            scores = rank(frames, features=found.features, seed=seed)
            run._write_once("scores", scores, "scores.parquet")
            run._finish(scores)
        return run

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        maps: Mapping[str, str | os.PathLike[str]] | None = None,
        *,
        annotator: str | None = None,
        labels: str | None = None,
        blind: bool = False,
    ) -> "Run":
        """Open a run folder.

        Parameters
        ----------
        path : path
            The folder.
        maps : mapping of map name to path, optional
            New places of maps that were moved.
        annotator : str, optional
            Who labels. Default: the hub's user name, else the login.
        labels : str, optional
            Address of a PostgreSQL on which a team shares its labels, ``postgresql://user@host/database``, without a
            password; kernels whose runs hold the same frames of the same maps share them, wherever the run folders
            are. Default: the environment variable RADIOWIDGETS_LABELS, else the run folder alone.
        blind : bool
            Whether others' labels are left out, for an independent opinion.

        Raises
        ------
        RunError
            If the folder is no run, or one of its maps is not there or is another one now.
        """
        path = Path(path)
        about = read_about(path)
        table = read_table(path, "frames.parquet")
        if (path / "pixels.zarr").exists():
            frames = FrameSet.from_table(table, images=read_images(path / "pixels.zarr", table))
        else:
            given = maps or {}
            opened = {
                name: open_map(path, name, entry, given.get(name)) for name, entry in about["maps"].items()
            }
            frames = FrameSet.from_table(table, opened)
        return cls(path, frames, about, annotator, labels=labels, blind=blind)

    @classmethod
    def _start(
        cls,
        path: str | os.PathLike[str],
        frames: FrameSet,
        schema: Schema | None,
        annotator: str | None,
        parameters: Mapping[str, Any] | None,
    ) -> "Run":
        path = Path(path)
        if not len(frames):
            raise RunError(
                "A run needs at least one frame; these are none. Cut smaller windows, or look at what was skipped."
            )
        make_folder(path)
        about: dict[str, Any] = {
            "format": FORMAT,
            "created": now(),
            "frames": {"count": len(frames), "geometry": geometry(frames)},
            "maps": {},
            "parameters": dict(parameters or {}),
            "versions": versions(),
        }
        if (path / "run.yaml").exists():
            known = read_about(path)
            check_same_inputs(path, known, about, frames)
            return cls(path, frames, known, annotator)
        run = cls(path, frames, about, annotator)
        with building(run.path):
            if (path / "run.yaml").exists():  # another builder was faster
                known = read_about(path)
                check_same_inputs(path, known, about, frames)
                return cls(path, frames, known, annotator)
            about["maps"] = {name: keep_map(path, name, sky) for name, sky in frames.maps.items()}
            if not frames.maps:
                run._write_images()
            if schema is not None:
                schema.save(path / "schema.yaml")
            run._write_about({})
        return run

    # ------------------------------------------------------------ what is in the folder

    @cached_property
    def features(self) -> pd.DataFrame:
        """Frame features, indexed by frame_id in the order of the frames."""
        return read_table(self.path, "features.parquet").set_index("frame_id")

    @cached_property
    def scores(self) -> pd.DataFrame:
        """Base scores and ranks, indexed by frame_id in the order of the frames."""
        return read_table(self.path, "scores.parquet").set_index("frame_id")

    @cached_property
    def embedding(self) -> np.ndarray | None:
        """The (n, d) float32 embedding, or None."""
        import zarr

        place = self.path / "embedding.zarr"
        return np.asarray(zarr.open_array(place, mode="r")[:]) if place.exists() else None

    @cached_property
    def labels(self) -> LabelLog:
        """The log of what people say about these frames."""
        folder = self.path / "labels"
        if not self._labels_at:
            return LabelLog(folder, annotator=self.annotator, blind=self.blind)
        # In a run that one may only read, labels on their way to a server wait in the user's own cache.
        spool = folder if os.access(folder if folder.is_dir() else self.path, os.W_OK) else None
        return LabelLog(
            self._labels_at, annotator=self.annotator, blind=self.blind, run=self.fingerprint, spool=spool
        )

    @property
    def fingerprint(self) -> str:
        """The maps' names and a digest of maps and frames: the same for the same inputs on any machine."""
        from hashlib import sha256

        maps = {
            name: entry.get("original", entry["fingerprint"]) for name, entry in self.about["maps"].items()
        }
        told = json.dumps([self.about["frames"], maps], sort_keys=True)
        return f"{slug('+'.join(sorted(maps)) or 'images')[:80]}-{sha256(told.encode()).hexdigest()[:16]}"

    @cached_property
    def schema(self) -> Schema:
        """The tags to choose from."""
        place = self.path / "schema.yaml"
        return Schema.load(place) if place.exists() else DEFAULT_SCHEMA

    @property
    def ratings(self) -> pd.Series:
        """Interest of each rated frame, the mean over annotators, by frame_id."""
        table = self.labels.table()
        rated = table.dropna(subset=["interest"])
        return rated.groupby("frame_id")["interest"].mean().astype(float)

    def table(self, scores: pd.DataFrame | None = None) -> pd.DataFrame:
        """Return one row a frame: geometry, position, score, rank, tags and interest of all annotators.

        Tags are the union over annotators, joined by ``;``; interest is the mean over those who rated.

        Parameters
        ----------
        scores : DataFrame, optional
            Default: `order`, the ranking as this annotator last saw it in Review; ``run.scores`` is the first one.
        """
        order = self.order if scores is None else scores
        table = self.frames.table[["frame_id", "map", "x", "y", "width", "height", "ra", "dec"]].copy()
        table["score"] = order["score"].reindex(table["frame_id"]).to_numpy()
        table["rank"] = order["rank"].reindex(table["frame_id"]).to_numpy()
        labels = self.labels.table()
        tags: dict[str, set[str]] = {}
        for frame_id, given in zip(labels["frame_id"], labels["tags"], strict=True):
            tags.setdefault(frame_id, set()).update(given)
        table["tags"] = [";".join(sorted(tags.get(frame_id, ()))) for frame_id in table["frame_id"]]
        interest = self.ratings.reindex(table["frame_id"]).to_numpy()
        whole = np.isnan(interest) | (interest == np.round(interest))
        table["interest"] = pd.array(interest, dtype="Int64" if whole.all() else "Float64")
        return table

    def export(
        self,
        path: str | os.PathLike[str],
        format: str | None = None,
        *,
        min_interest: float | None = None,
        top: int | None = None,
        frames: Any = None,
        query: str | None = None,
        objects: bool = False,
    ) -> Path:
        """Write the frames in rank order, or some of them, for other tools.

        =========  ==================  ====================================================================
        format     ending              content
        =========  ==================  ====================================================================
        csv        .csv                a table, with name, note and the brightest place of each frame
        parquet    .parquet            the same
        votable    .vot .votable .xml  the same, with units
        ds9        .reg                one polygon a frame
        moc        .fits .moc          the sky that they cover (IVOA MOC)
        cutouts    .zip, a new folder  FITS files with coordinates, beam, unit and origin
        sheet      .png                thumbnails with name, rank, interest and tags, at most 1,000
        summary    .md                 `summary`, of the whole run
        report     .html               `report`, of the whole run
        =========  ==================  ====================================================================

        And ``format="astronomaly"``: a new folder that Astronomaly opens, see
        `radiowidgets.exchange.astronomaly.write_astronomaly` and, for the way back, `read_labels`.

        Parameters
        ----------
        path : path
            Where to write; the ending tells the format unless `format` does.
        format : str, optional
        min_interest, top, frames, query
            Which frames, see `selection`.
        objects : bool
            Write one row (circle, file, thumbnail) an object, see `objects`, instead of one a frame.

        Returns
        -------
        Path
            The file or the folder.
        """
        path = Path(path)
        chosen = format_of(path, format)
        if chosen == "summary":
            with drafted(path) as draft:
                draft.write_text(self.summary(), "utf-8")
            return path
        if chosen == "report":
            return self.report(path)
        which = {"min_interest": min_interest, "top": top, "frames": frames, "query": query}
        table = self.objects(**which) if objects else self.selection(**which)
        if chosen == "astronomaly":
            return open_in_astronomaly(self, path, table)
        if chosen not in ("ds9", "moc") and not objects:
            table = self._described(table)
        if chosen == "sheet":
            some = f"{len(table)} of {len(self)}" if len(table) < len(self) else f"{len(table)}"
            some = f"{len(table)} objects" if objects else f"{some} frames"
            where = f" where {query}" if query else ""
            subtitle = f"{some} of {', '.join(self.frames.map_names)}, in rank order{where}"
            return write_sheet(
                table, path, self.frames, title=self.name, subtitle=subtitle, schema=self.schema
            )
        if chosen == "cutouts":
            about = {
                "cut by": f"radiowidgets {radiowidgets.__version__} from the map, pixels unchanged",
                "run": self.name,
                "ranking": str(self.about.get("ranking", {}).get("method", "given")),
            }
            return write_cutouts(table, path, self.frames, about)
        return write_table(table, path, chosen, None if objects else self.frames)

    def objects(
        self,
        *,
        min_interest: float | None = None,
        top: int | None = None,
        frames: Any = None,
        query: str | None = None,
    ) -> NotedTable:
        """Return what frames show, each object once: overlapping frames of one object are one row.

        Parameters
        ----------
        min_interest, top, frames, query
            Which frames, see `selection`; default: all, some milliseconds each.

        Returns
        -------
        NotedTable
            One row an object, in the order of the best frame of each; units in `units`. Columns: name (IAU), ra, dec,
            map, x, y, size, area, flux, snr, cut as of `radiowidgets.ranking.objects.find_objects`; frame_id (the
            frame that shows it best), rank and score (of its first frame), frames (their number), members (their
            ids, joined by ``;``), tags and notes of all, interest (the highest).
        """
        which = {"min_interest": min_interest, "top": top, "frames": frames, "query": query}
        return objects_of(self, self._described(self.selection(**which)))

    def read_labels(self, folder: str | os.PathLike[str], annotator: str = "astronomaly") -> LabelsRead:
        """Record the labels that were given in Astronomaly as ratings of an annotator.

        Reading the same folder again records only what is new. Frames without a label there (-1) are left as they are.

        Parameters
        ----------
        folder : path
            Its output folder, such as one that ``export(..., "astronomaly")`` wrote, or its ``ml_scores.csv``.
        annotator : str
            Who is said to have rated.

        Returns
        -------
        LabelsRead
            ``recorded``, ``known`` and ``problems``, a table of all that could not be used: unknown ids, labels that
            are none, objects that lie elsewhere, frames without a row.

        Raises
        ------
        DataError
            If there is nothing that can be read.
        """
        return labels_from_astronomaly(self, folder, annotator)

    def report(self, path: str | os.PathLike[str], *, threshold: int = 4, top: int = 18) -> Path:
        """Write what was found and how on one page, an HTML file that needs no other and prints on A4 or letter.

        Parameters
        ----------
        path : path
        threshold : int
            Interest from which a frame is interesting, 1 to 5.
        top : int
            Objects to show, at most 200: the interesting ones first, then those that the ranking has first.
        """
        return report_on(self, Path(path), threshold, top)

    def _described(self, table: pd.DataFrame) -> pd.DataFrame:
        """Add what is exported of each frame beside its row: notes, the brightest place, a name after it."""
        rows = self._rows(table["frame_id"])
        notes: dict[str, list[str]] = {}
        labels = self.labels.table()
        for frame_id, note in zip(labels["frame_id"], labels["note"], strict=True):
            if isinstance(note, str) and note:
                notes.setdefault(frame_id, []).append(note)
        x, y = self.focus[rows].astype(np.float64).T
        ra, dec = self._peaks
        return table.assign(
            name=self.names[rows],
            peak_x=x,
            peak_y=y,
            peak_ra=ra[rows],
            peak_dec=dec[rows],
            note=["\n".join(notes.get(frame_id, ())) for frame_id in table["frame_id"]],
        )

    @cached_property
    def _peaks(self) -> tuple[np.ndarray, np.ndarray]:
        """ICRS degrees of the brightest place of each frame; NaN where there is no sky."""
        x, y = self.focus.astype(np.float64).T
        ra, dec = np.full(len(self), np.nan), np.full(len(self), np.nan)
        for code, name in enumerate(self.frames.map_names if self.frames.maps else ()):
            mine = self.frames.map_codes == code
            ra[mine], dec[mine] = self.frames.maps[name].pixel_to_sky(x[mine], y[mine])
        return ra, dec

    @cached_property
    def names(self) -> np.ndarray:
        """IAU names after the brightest place of each frame, else after its centre; object array of str.

        Frames that show one object have one name; it is empty where there are no coordinates.
        """
        ra, dec = self._peaks
        known = np.isfinite(ra + dec)
        return iau_name(np.where(known, ra, self.frames.ra), np.where(known, dec, self.frames.dec))

    def selection(
        self,
        *,
        min_interest: float | None = None,
        top: int | None = None,
        frames: Any = None,
        query: str | None = None,
    ) -> pd.DataFrame:
        """Return rows of `table` in rank order: those that meet all that is asked.

        Parameters
        ----------
        min_interest : float, optional
            Only frames rated at least so.
        top : int, optional
            Only the first `top` of those.
        frames : sequence of int or str, or bool array (n,), optional
            Only these: positions or ids, or a mask as of `find`.
        query : str, optional
            Only frames of which it is true, see `find`.
        """
        if top is not None and top < 0:
            raise ParameterError(f"top is {top}; give a number of frames from 0.")
        if min_interest is not None and not 0 <= min_interest <= HIGHEST_INTEREST:
            raise ParameterError(
                f"min_interest is {min_interest}; give a rating from 0 to {HIGHEST_INTEREST}."
            )
        table = self.table()
        chosen = np.ones(len(self), bool)
        if frames is not None:
            chosen[:] = False
            chosen[self._rows(frames)] = True
        if query is not None:
            chosen &= self.find(query)
        if min_interest is not None:
            chosen &= (table["interest"] >= min_interest).fillna(False).to_numpy(bool)
        table = table[chosen].sort_values("rank", kind="stable", ignore_index=True)
        return table if top is None else table.head(top)

    def _rows(self, frames: Any) -> np.ndarray:
        """Return the positions of frames that are given by position, by id or by a mask."""
        values = np.asarray(frames)
        if values.dtype.kind in "OUT":
            return np.array([self.frames.index_of(str(frame_id)) for frame_id in values.flat], dtype=np.int64)
        return self.frames._positions(values)

    # ------------------------------------------------------------ finding frames

    @property
    def columns(self) -> dict[str, str]:
        """What `find` and `column` know of a frame: names with their meaning, the features among them."""
        names = read_names(self.path, "features.parquet")
        features = {name: FEATURES.get(name, "a feature of this run") for name in names if name != "frame_id"}
        return {**COLUMNS, **features}

    def column(self, name: str, scores: pd.DataFrame | None = None) -> np.ndarray:
        """Return one column as float64 (n,), to sort or to colour by; NaN where nothing is known.

        Parameters
        ----------
        name : str
            One of `columns` that is no text.
        scores : DataFrame, optional
            Where rank and score are taken from; default: `order`.
        """
        reader = self.readers(scores).get(name)
        if reader is None or name in TEXTS:
            numbers = ", ".join(known for known in self.columns if known not in TEXTS)
            raise ParameterError(f"There is no column {name!r} of numbers; there are {numbers}.")
        return np.asarray(reader(), dtype=np.float64)

    def words(self, name: str) -> Words:
        """Return one column of texts, such as tag, annotator or map, to colour by; see `columns`."""
        if name not in TEXTS:
            raise ParameterError(
                f"There is no column {name!r} of texts; there are {', '.join(sorted(TEXTS))}."
            )
        words = self.readers()[name]()
        assert isinstance(words, Words)
        return words

    def select(self, frames: Any) -> int:
        """Keep frames in mind as a selection, and return its number: ``selection == 2`` finds them from then on.

        Parameters
        ----------
        frames : sequence of int or str, or bool array (n,)
            Positions or ids, or a mask as of `find`.
        """
        number = int(self._columns.selection.max(initial=0)) + 1
        self._columns.selection[self._rows(frames)] = number
        return number

    def find(self, query: str, scores: pd.DataFrame | None = None, *, unsaid: Any = ()) -> np.ndarray:
        """Return of which frames a query is true, as bool (n,).

        ``peak_snr > 20 and tag == "ARTEFACT" and not annotator == "bob" and "jet" in note``, ``3 < rank <= 100``,
        ``my_interest is None``: see `columns` for what may be asked and `radiowidgets.data.query.match` for how.
        Nothing in a query is ever executed.

        Parameters
        ----------
        query : str
        scores : DataFrame, optional
            Where rank and score are taken from; default: `order`.
        unsaid : sequence of int
            Frames of which the query shall not know what this annotator said, as they are shown again blindly.

        Raises
        ------
        ParameterError
            If the query cannot be read or asks for what there is not; it says where.
        """
        return match(query, self._columns.readers(scores, frozenset(unsaid)), len(self))

    def readers(self, scores: pd.DataFrame | None = None) -> "dict[str, Callable[[], np.ndarray | Words]]":
        """Return what reads each of `columns`; rank and score are those of `scores`, by default of `order`."""
        return self._columns.readers(scores)

    # ------------------------------------------------------------ a session

    def _tally(self, annotator: str | None = None) -> tuple[Tally, np.ndarray, np.ndarray]:
        """Return the tally of an annotator, the rows of the frames it knows (-1: not here), and what is looked at."""
        who = self.labels.annotator if annotator is None else annotator
        if who not in self._tallies:
            self._tallies[who] = (Tally(self.labels, who), [])
        tally, rows = self._tallies[who]
        tally.update()
        if len(tally.ids) < len(rows):  # the log was read anew
            rows.clear()
        for frame_id in tally.ids[len(rows) :]:
            try:
                rows.append(self.frames.index_of(frame_id))
            except FrameError:
                rows.append(-1)
        known = np.array(rows, np.int64)
        looked = np.zeros(len(self), bool)
        looked[known[tally.looked & (known >= 0)]] = True
        return tally, known, looked

    def progress(
        self,
        goal: int | None = None,
        threshold: int = 4,
        annotator: str | None = None,
        scores: pd.DataFrame | None = None,
    ) -> Progress:
        """Return how far an annotator is, what their looks yield, and what they may have missed.

        All is worked out from the label log, so that a resumed session has the same numbers. It costs
        milliseconds, and may be asked after every key press.

        Parameters
        ----------
        goal : int, optional
            Frames to be rated.
        threshold : int
            Interest from which a frame is interesting, 1 to 5.
        annotator : str, optional
            Default: who labels here.
        scores : DataFrame, optional
            The order that is looked at; default: `order`.
        """
        tally, known, looked = self._tally(annotator)
        sequence, ranks, sky = self._sequence(scores)
        ahead: list[int] = []
        for start in range(0, len(self), 4096):
            part = sequence[start : start + 4096]
            ahead += part[~looked[part]][: AHEAD - len(ahead)].tolist()
            if len(ahead) == AHEAD:
                break
        unseen = int(sky.sum()) - int(np.count_nonzero(looked & sky))
        return tally.progress(
            len(self),
            goal=goal,
            threshold=threshold,
            unseen=unseen,
            next_ranks=ranks[ahead],
            among=known >= 0,
        )

    def expected(self, threshold: int = 4, scores: pd.DataFrame | None = None) -> tuple[int, Estimate | None]:
        """Return how many looks lie ahead, at most 100, and how many interesting frames they promise.

        See `radiowidgets.ranking.campaign.expected_finds`; it learns from `worths`.

        Parameters
        ----------
        threshold : int
            Interest from which a frame is interesting.
        scores : DataFrame, optional
            The order that is looked at; default: `order`.
        """
        seen, spread, ids = self._learnable
        looked = ~seen
        for frame_id, state in self.labels.state().items():
            if not state.empty:
                with suppress(FrameError):  # of other frames than these
                    looked[self.frames.index_of(frame_id)] = True
        ahead = first_of(order_of(self.order if scores is None else scores), looked, AHEAD)
        rows = (np.cumsum(seen) - 1)[ahead]
        return len(ahead), expected_finds(spread, ids, self.worths(), rows, interesting=threshold)

    def queue(
        self,
        *,
        random: float = 0.1,
        repeats: float = 0.05,
        seed: int = 0,
        count: int = 200,
        planned: Any = (),
        scores: pd.DataFrame | None = None,
    ) -> np.ndarray:
        """Return the frames to look at next: those of the order, with random frames and blind repeats strewn in.

        A frame of the order whose brightest place was seen in another frame, or will be before it, is left out until
        nothing else is left. Random frames are drawn from all with sky that this annotator has not looked at: what
        they yield tells what the ranking misses. Repeats are frames that were rated before, but not just now: they
        tell how steady the reviewer is. Labels of such looks should carry
        ``shown={"rank": ..., "look": "random" | "repeat"}``. The same labels and seed give the same queue.

        Parameters
        ----------
        random, repeats : float
            Shares of such looks.
        seed : int
        count : int
            Looks wanted; fewer where the frames come to an end.
        planned : sequence of int
            Frames that will be looked at before these.
        scores : DataFrame, optional
            The order that is followed; default: `order`.

        Returns
        -------
        structured array (m,) of (frame uint32, look uint8)
            `look` is 0 for the order, 1 random, 2 repeat.
        """
        for name, value in (("seed", seed), ("count", count)):
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 0 <= value < 2**32:
                raise ParameterError(f"{name} is {value!r}; give a whole number from 0.")
        tally, known, looked = self._tally()
        sequence, _, sky = self._sequence(scores)
        done = int(looked.sum() + tally.agreement.sum())
        planned = self._rows(planned) if len(planned) else np.zeros(0, np.int64)
        looked[planned] = True
        draws = np.random.default_rng([seed, 1]).permutation(len(self))
        again = known[tally.repeatable(IN_MIND)]
        again = np.random.default_rng([seed, 2]).permutation(again[(again >= 0) & ~np.isin(again, planned)])
        return mix_looks(
            self._one_of_each(sequence[~looked[sequence]], looked, count),
            draws[~looked[draws] & sky[draws]],
            again,
            random=random,
            repeats=repeats,
            seed=seed,
            done=done + len(planned),
            count=count,
        )

    def _one_of_each(self, order: np.ndarray, looked: np.ndarray, count: int) -> np.ndarray:
        """Return the first `count` frames of an order that show what no frame looked at or before them shows."""
        shown = Shown(self.frames, np.flatnonzero(looked))
        chosen: list[int] = []
        for start in range(0, min(len(order), MOST_TRIED), TRIED):
            part = order[start : start + TRIED]
            chosen += shown.new(part, self._focus_of(part))
            if len(chosen) >= count:
                break
        rest = order[~np.isin(order, chosen)] if len(chosen) < count else order[:0]
        return np.concatenate([np.array(chosen, np.int64), rest])

    def _focus_of(self, rows: np.ndarray) -> np.ndarray:
        """Return where these frames are brightest, measured now where `focus` is not known."""
        known = "focus" in self.__dict__ or (self.path / "focus.parquet").exists()
        focus = self.focus[rows] if known else measure_focus(self.frames.select(rows))
        return np.where(self._plain[rows, np.newaxis], np.nan, focus)

    @cached_property
    def _plain(self) -> np.ndarray:
        """Frames in which nothing stands out: they show nothing that another frame could show too."""
        if "log_peak_snr" not in self.features:
            return np.zeros(len(self), bool)
        return self.features["log_peak_snr"].to_numpy() < np.log10(SEEN)

    def _sequence(self, scores: pd.DataFrame | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the frames in rank order, the rank of each, and which have sky; kept for the last order."""
        order = self.order if scores is None else scores
        if self._sequenced is None or self._sequenced[0] is not order:
            ranks = order["rank"].to_numpy()
            sky = self.scores["score"].to_numpy() > 0
            self._sequenced = (order, order_of(order), ranks, sky)
        return self._sequenced[1:]

    def summary(self, threshold: int = 4) -> str:
        """Return what a paper or a log book says of this run, as Markdown.

        Maps with their fingerprints, parameters, seed, versions, label counts by annotator, tag and interest, the
        yield of each annotator, the estimate of what was missed, and how to cite.

        Parameters
        ----------
        threshold : int
            Interest from which a frame is interesting, 1 to 5.
        """
        people = [self.progress(None, threshold, who) for who in self.labels.annotators]
        about = {**self.about, "schema": ", ".join(self.schema.names)}
        return write_summary(
            self.name, about, map_facts(self), self.labels.table(), people, version=radiowidgets.__version__
        )

    def worths(self, annotator: str | None = None) -> dict[str, float]:
        """Return what an annotator's labels say of frames, interest (0-5) by frame_id: what re-ranking learns from.

        A rating counts as it is; where there is none, tags speak: an ARTEFACT is worth 0, PECULIAR 4 (see
        `radiowidgets.ranking.campaign.WORTH_OF_TAGS`).

        Parameters
        ----------
        annotator : str, optional
            Default: who labels here.
        """
        said = self.labels.state(annotator)
        found = {frame_id: worth_of(state.interest, state.tags) for frame_id, state in said.items()}
        return {frame_id: worth for frame_id, worth in found.items() if worth is not None}

    def rerank(self, ratings: Mapping[str, float] | pd.Series | None = None) -> pd.DataFrame:
        """Return the base scores moved by what was said of frames; those without sky stay last.

        See `radiowidgets.ranking.active.learn`. ``attrs["learnt"]`` says in words what was done.

        Parameters
        ----------
        ratings : mapping of frame_id to interest (0-5), optional
            Default: `worths`, the ratings of this annotator and what their tags say.
        """
        table = Reranking(self, self.worths() if ratings is None else ratings).whole()
        assert table is not None  # nothing stopped it
        return table

    @cached_property
    def _learnable(self) -> tuple[np.ndarray, np.ndarray, pd.Index]:
        """Which frames have sky, what ratings of them are learnt by, and their ids: the same for every re-ranking."""
        parts = list(ranking_parts(self.frames, self.embedding, self.features).values())
        seen = self.scores["score"].to_numpy() > 0
        values = np.hstack([part[seen].astype(np.float32) for part in parts])
        spread = clipped_spread(values, blocks=[part.shape[1] for part in parts])
        return seen, spread, pd.Index(np.asarray(self.frames.frame_ids)[seen])

    @cached_property
    def _first_order(self) -> np.ndarray:
        """The frames in the order of the base scores."""
        return order_of(self.scores)

    @property
    def order(self) -> pd.DataFrame:
        """Scores and ranks as this annotator last saw them: of their last re-ranking, else the base scores."""
        session = self.recall()["session"]
        if session is None:
            return self.scores
        try:
            key = (session, self._session_place(session).stat().st_mtime_ns)
        except OSError:
            return self.scores
        if self._ordered is None or self._ordered[0] != key:
            try:
                scores = self.session_scores(session)
            except RunError:  # a damaged order is no reason to show none
                scores = None
            if scores is None or not np.array_equal(scores.index, self.scores.index):
                scores = self.scores
            self._ordered = (key, scores)
        return self._ordered[1]

    def recall(self) -> dict[str, Any]:
        """Return what was remembered for this annotator: the ``view`` of Review, and whose ``session`` is the order."""
        try:
            memory = json.loads(self._memory.read_text("utf-8"))
        except (OSError, ValueError, RecursionError):
            memory = None
        memory = memory if isinstance(memory, dict) else {}
        view, session = memory.get("view"), memory.get("session")
        return {
            "view": view if isinstance(view, dict) else {},
            "session": session if isinstance(session, str) else None,
        }

    def remember(self, **what: Any) -> None:
        """Keep `view` or `session` for the next time: a comfort, so that a full disk is no error here."""
        try:
            write_whole(self._memory, json.dumps({**self.recall(), **what}).encode())
        except RunError:
            return

    @property
    def _memory(self) -> Path:
        return self.path / "labels" / "views" / f"{slug(self.labels.annotator)}.json"

    def session_scores(self, session: str) -> pd.DataFrame | None:
        """Scores of one review session, or None."""
        place = self._session_place(session)
        name = str(place.relative_to(self.path))
        return read_table(self.path, name).set_index("frame_id") if place.exists() else None

    def _session_place(self, session: str) -> Path:
        return self.path / "scores" / f"{slug(session)}.parquet"

    def write_session_scores(self, session: str, scores: pd.DataFrame) -> Path:
        """Keep the order of a review session beside the base scores, which are never overwritten."""
        place = self._session_place(session)
        write_whole(place, scores.reset_index().to_parquet(index=False))
        return place

    # ------------------------------------------------------------ why a frame is here, and what is like it

    def why(self, index: int, scores: pd.DataFrame | None = None) -> Explanation:
        """Return what each feature adds to the score of frame `index`, and the same in words.

        The models behind the scores are fitted again on the first call, which may take seconds; the next ones
        take milliseconds. See `radiowidgets.ranking.explanation.Explainer`.

        Parameters
        ----------
        index : int
            Position of the frame.
        scores : DataFrame, optional
            Default: `order`; one from `rerank`, or ``run.scores``.
        """
        scores = self.order if scores is None else scores
        key, base = (digest(table["score"].to_numpy(np.float64)) for table in (scores, self.scores))
        if key not in self._explainers:
            for old in [known for known in self._explainers if known != base]:
                del self._explainers[old]  # of an order that is no more
            seed = int(self.about.get("ranking", {}).get("seed", 0))
            given = (self.frames, self.features)
            if base not in self._explainers:
                self._explainers[base] = Explainer(*given, self.scores, self.embedding, seed=seed)
            if key != base:
                after = self._explainers[base].after(scores, self.scores)
                self._explainers[key] = after or Explainer(
                    *given, scores, self.embedding, self.scores, seed=seed
                )
        return self._explainers[key].explain(self.frames[index].index)

    @cached_property
    def _neighbours(self) -> Neighbours:
        values, _ = ranking_values(self.frames, self.embedding, self.features)
        return Neighbours(values, has_sky(self.frames))

    def neighbours(self, index: int, count: int = 12) -> tuple[np.ndarray, np.ndarray]:
        """Return the frames most like frame `index`, and their distances.

        In what the ranking looks at: the embedding, else the features, each column in robust widths. The distance is
        the root mean square over the columns; frames without sky are left out.

        Returns
        -------
        indices : (count,) int64
        distances : (count,) float64
        """
        return self._neighbours.nearest(self.frames[index].index, count)

    def projection(self, method: str = "umap", *, seed: int = 0, **parameters: Any) -> np.ndarray:
        """Return a place in the plane for each frame, (n, 2) float32; NaN where there is no sky.

        Of what the ranking looks at, by `radiowidgets.latent.projection.project`, which tells the parameters; kept in
        the folder ``projections``, so that it is made once.
        """
        values, cache = self._projected, self.path / "projections"
        return project(values, method, seed=seed, cache=cache, **parameters)

    def is_projected(self, method: str = "umap", *, seed: int = 0) -> bool:
        """Return whether `projection` would answer at once."""
        return is_projected(self._projected, method, seed=seed, cache=self.path / "projections")

    @property
    def _projected(self) -> np.ndarray:
        values, _ = ranking_values(self.frames, self.embedding, self.features)
        return np.where(has_sky(self.frames)[:, None], values, np.nan).astype(np.float32)

    def more_like(self, index: int) -> np.ndarray:
        """Return all frames, (n,) uint32, the most similar to frame `index` first; see `neighbours`."""
        return self._neighbours.order(self.frames[index].index)

    @cached_property
    def focus(self) -> np.ndarray:
        """Where each frame is brightest, (n, 2) float32 pixels x, y of its map; NaN where nothing is.

        Measured on first use and kept in ``focus.parquet``. See `radiowidgets.ranking.folding.measure_focus`.
        """
        place = self.path / "focus.parquet"
        if place.exists():
            try:
                table = read_table(self.path, place.name)
                if np.array_equal(table["frame_id"], self.frames.frame_ids):
                    return table[["x", "y"]].to_numpy(np.float32)
            except (RunError, KeyError):  # it is measured again
                pass
        focus = measure_focus(self.frames, "brightest places" if len(self) > MANY else None)
        table = pd.DataFrame({"frame_id": self.frames.frame_ids, "x": focus[:, 0], "y": focus[:, 1]})
        with suppress(RunError):  # a folder that may only be read is no reason to have none
            write_whole(place, table.to_parquet(index=False))
        return focus

    def stacks(self, ranks: Any = None) -> np.ndarray:
        """Return for each frame the frame that leads its stack, (n,) int32: itself where it leads or is alone.

        A frame is folded under one of the same map that stands before it and shows what is brightest in it. A frame
        in which nothing reaches 5 times the noise shows nothing, and is folded under none.

        Parameters
        ----------
        ranks : (n,) array, optional
            Default: those of `order`.
        """
        focus = np.where(self._plain[:, np.newaxis], np.nan, self.focus)
        return fold(self.frames, self.order["rank"].to_numpy() if ranks is None else ranks, focus)

    def attach(self, name: str, catalogue: pd.DataFrame) -> None:
        """Keep a catalogue with the run, so that its objects are named in the frames; one of that name is replaced.

        Parameters
        ----------
        name : str
            What to call it, such as "Green SNRs".
        catalogue : DataFrame
            From `radiowidgets.read_catalogue`: ra and dec in ICRS degrees; a column `name` where objects have one.
        """
        if not isinstance(name, str) or not name.strip():
            raise ParameterError(f"name is {name!r}; give the catalogue a name to show.")
        positions = Positions(catalogue)
        table = pd.DataFrame({str(label): storable(column) for label, column in catalogue.items()})
        table.attrs = {"name": name}
        write_whole(self.path / "catalogues" / catalogue_file(name), table.to_parquet(index=False))
        self.catalogues[name] = table
        self._positions[name] = positions

    @cached_property
    def catalogues(self) -> dict[str, pd.DataFrame]:
        """The catalogues that were attached, by name."""
        tables = {}
        for place in sorted((self.path / "catalogues").glob("*.parquet")):
            table = read_table(self.path, f"catalogues/{place.name}")
            tables[str(table.attrs.get("name", place.stem))] = table
        return tables

    def objects_in(self, index: int) -> list[tuple[str, str, float, float, float]]:
        """Return the objects of attached catalogues inside frame `index`, the nearest to its centre first.

        Returns
        -------
        list of (catalogue, object, ra, dec, separation)
            Positions in ICRS degrees, separation from the centre of the frame in arcsec. An object without a name
            is called by its row. Empty where the frame has no coordinates.
        """
        frame = self.frames[index]
        ra, dec = float(self.frames.ra[frame.index]), float(self.frames.dec[frame.index])
        if frame.sky is None or frame.sky.wcs is None or not np.isfinite(ra):
            return []
        left, low = frame.x - 0.5, frame.y - 0.5
        right, high = left + frame.width, low + frame.height
        corners = frame.sky.pixel_to_sky([left, right, left, right], [low, low, high, high])
        reach = _separation(ra, dec, *corners).max()
        radius = 1.01 * reach if np.isfinite(reach) else 180.0  # a corner may lie beyond the sky
        near = []
        for name, table in self.catalogues.items():
            if name not in self._positions:
                self._positions[name] = Positions(table)
            positions = self._positions[name]
            for row, apart in zip(*positions.within(ra, dec, radius), strict=True):
                called = table["name"].iloc[row] if "name" in table else None
                called = f"row {row + 1}" if pd.isna(called) or not str(called).strip() else str(called)
                near.append((name, called, float(positions.ra[row]), float(positions.dec[row]), float(apart)))
        if not near:
            return []
        x, y = pixel_coordinates(frame.sky.wcs, *np.array([entry[2:4] for entry in near]).T)
        inside = (x >= left) & (x < right) & (y >= low) & (y < high)
        found = [entry for entry, held in zip(near, inside, strict=True) if held]
        return sorted(found, key=lambda entry: entry[-1])

    def __len__(self) -> int:
        return len(self.frames)

    def __repr__(self) -> str:
        return f"<Run {self.name}: {len(self.frames)} frames of {', '.join(self.frames.maps) or 'images'}>"

    # ------------------------------------------------------------ building

    def _check_versions(self) -> None:
        """Begin anew what other versions have left half done: chunks of both would not fit together."""
        if self.about.get("versions") != versions():
            shutil.rmtree(self.path / "parts", ignore_errors=True)
            self.about["versions"] = versions()

    def _write_frames(self) -> None:
        place = self.path / "frames.parquet"
        if not place.exists():
            write_whole(place, self.frames.table.to_parquet(index=False))

    def _write_once(self, what: str, table: pd.DataFrame, name: str) -> None:
        """Write a table, or check that the one that stands there is the same."""
        place = self.path / name
        ids = pd.Index(self.frames.frame_ids)
        if len(table) != len(ids) or not pd.Index(table.index).equals(ids):
            raise RunError(
                f"The {what} have {len(table)} rows; give one a frame ({len(ids)}), indexed by frame_id in frame order."
            )
        if place.exists():
            known = pd.read_parquet(place).set_index("frame_id")
            numbers = [c for c in table.columns if pd.api.types.is_numeric_dtype(table[c])]
            same = set(numbers) <= set(known.columns) and all(
                np.allclose(
                    known[c].to_numpy(float), table[c].to_numpy(float), rtol=1e-5, atol=1e-8, equal_nan=True
                )
                for c in numbers
            )
            if not same:
                raise RunError(
                    f"{self.path} already holds other {what}, which reviewers may have seen; choose another folder."
                )
        else:
            write_whole(place, table.rename_axis("frame_id").reset_index().to_parquet(index=False))
        self.__dict__.pop(what, None)

    def _write_embedding(self, embedding: np.ndarray) -> None:
        import zarr

        if embedding.ndim != 2 or len(embedding) != len(self.frames):
            raise RunError(
                f"The embedding has shape {embedding.shape}; {len(self.frames)} frames need ({len(self.frames)}, d)."
            )
        place = self.path / "embedding.zarr"
        if place.exists():
            known = np.asarray(zarr.open_array(place, mode="r")[:])
            if known.shape != embedding.shape or not np.allclose(known, embedding, rtol=1e-4, atol=1e-6):
                raise RunError(f"{self.path} already holds another embedding; choose another folder.")
            return
        with drafted_array(place, embedding.shape, (CHUNK, embedding.shape[1])) as array:
            array[:] = embedding

    def _write_images(self) -> None:
        """Keep images that belong to no map: one array, padded with blanks to the largest image."""
        frames = self.frames
        shape = (len(frames), int(frames.height.max()), int(frames.width.max()), *frames[0].pixels.shape[2:])
        with drafted_array(self.path / "pixels.zarr", shape, (64, *shape[1:])) as array:
            for start in range(0, len(frames), 64):
                block = np.full((min(64, len(frames) - start), *shape[1:]), np.nan, np.float32)
                for row in range(len(block)):
                    pixels = frames[start + row].pixels
                    block[row, : pixels.shape[0], : pixels.shape[1]] = pixels
                array[start : start + len(block)] = block

    def _finish(self, scores: pd.DataFrame) -> None:
        """Say how the frames were ranked, and remove what a build kept on the way."""
        self._write_about(
            {"ranking": {key: scores.attrs[key] for key in ("method", "seed") if key in scores.attrs}}
        )
        shutil.rmtree(self.path / "parts", ignore_errors=True)

    def _write_about(self, more: Mapping[str, Any]) -> None:
        self.about.update(more)
        write_whole(
            self.path / "run.yaml", yaml.safe_dump(self.about, sort_keys=False, allow_unicode=True).encode()
        )


def _encoder(embed: Any) -> Any:
    if embed is not True:
        return embed or None
    from radiowidgets.models.shipped import shipped_encoder

    return shipped_encoder()


def _separation(ra: float, dec: float, others_ra: np.ndarray, others_dec: np.ndarray) -> np.ndarray:
    """Return angular distances in degrees."""
    from astropy.coordinates import angular_separation

    return np.degrees(
        angular_separation(*np.radians([ra, dec]), np.radians(others_ra), np.radians(others_dec))
    )
