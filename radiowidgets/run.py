"""A run folder as one object: frames, features, embedding, scores and labels.

``run.yaml`` names the inputs (with fingerprints), parameters, seeds and versions; the tables are Parquet, arrays are
Zarr, labels are JSON lines: everything opens with public tools. One builder at a time writes frames, features,
embedding and base scores, under ``build.lock``; reviewing takes no lock and writes only ``labels/`` and
``scores/<session>.parquet``.
"""

import datetime as dt
import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

import radiowidgets
from radiowidgets.data.frames import FrameSet
from radiowidgets.data.maps import SkyMap
from radiowidgets.errors import ParameterError, RunError
from radiowidgets.exchange.regions import write_table
from radiowidgets.features.frames import fill_features, frame_features
from radiowidgets.labels.log import LabelLog
from radiowidgets.labels.schema import DEFAULT_SCHEMA, Schema
from radiowidgets.ranking.active import learn_from_ratings
from radiowidgets.ranking.isolation import rank, ranking_values, score_table

FORMAT = 1
HIGHEST_INTEREST = 5
CHUNK = 2048  # frames in one step of a build: belongs to the run, not to the workers
NOISE = ["background", "rms", "blank_fraction"]


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
    ):
        self.path = Path(path)
        self.name = self.path.resolve().name
        self.frames = frames
        self.about = about
        self.annotator = annotator

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
        with run._building():
            run._write_frames()
            if features is None:
                features = frame_features(frames)
            run._write_once("features", features, "features.parquet")
            if embedding is not None:
                run._write_embedding(np.asarray(embedding, dtype=np.float32))
            if scores is None:
                scores = rank(frames, embedding, features=features)
            run._write_once("scores", scores, "scores.parquet")
            run._write_about(
                {"ranking": {key: scores.attrs[key] for key in ("method", "seed") if key in scores.attrs}}
            )
        return run

    @classmethod
    def build(
        cls,
        path: str | os.PathLike[str],
        frames: FrameSet,
        *,
        seed: int = 0,
        parameters: Mapping[str, Any] | None = None,
        progress: bool = True,
    ) -> "Run":
        """Measure and rank `frames` chunk by chunk into a folder; a build that was stopped goes on where it was.

        The result is the same as that of `create` to the last byte, however often it was stopped.
        """
        run = cls._start(path, frames, None, None, {**(parameters or {}), "seed": seed})
        if all((run.path / f"{name}.parquet").exists() for name in ("frames", "features", "scores")):
            return run  # nothing is left to do
        with run._building():
            noise, features = run._measure(progress)
            frames.set_noise(*(noise[column].to_numpy() for column in noise))
            run._write_frames()
            run._write_once("features", features, "features.parquet")
            scores = rank(frames, features=features, seed=seed)
            run._write_once("scores", scores, "scores.parquet")
            run._write_about(
                {"ranking": {key: scores.attrs[key] for key in ("method", "seed") if key in scores.attrs}}
            )
            shutil.rmtree(run.path / "parts", ignore_errors=True)
        return run

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        maps: Mapping[str, str | os.PathLike[str]] | None = None,
        *,
        annotator: str | None = None,
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

        Raises
        ------
        RunError
            If the folder is no run, or one of its maps is not there or is another one now.
        """
        path = Path(path)
        about = _read_about(path)
        table = _read_table(path, "frames.parquet")
        if (path / "pixels.zarr").exists():
            frames = FrameSet.from_table(table, images=_read_images(path / "pixels.zarr", table))
        else:
            given = maps or {}
            opened = {
                name: _open_map(path, name, entry, given.get(name)) for name, entry in about["maps"].items()
            }
            frames = FrameSet.from_table(table, opened)
        return cls(path, frames, about, annotator)

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
        _make_folder(path)
        about: dict[str, Any] = {
            "format": FORMAT,
            "created": _now(),
            "frames": {"count": len(frames), "geometry": _geometry(frames)},
            "maps": {},
            "parameters": dict(parameters or {}),
            "versions": _versions(),
        }
        if (path / "run.yaml").exists():
            known = _read_about(path)
            _check_same_inputs(path, known, about, frames)
            return cls(path, frames, known, annotator)
        run = cls(path, frames, about, annotator)
        with run._building():
            about["maps"] = {name: _keep_map(path, name, sky) for name, sky in frames.maps.items()}
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
        return _read_table(self.path, "features.parquet").set_index("frame_id")

    @cached_property
    def scores(self) -> pd.DataFrame:
        """Base scores and ranks, indexed by frame_id in the order of the frames."""
        return _read_table(self.path, "scores.parquet").set_index("frame_id")

    @cached_property
    def embedding(self) -> np.ndarray | None:
        """The (n, d) float32 embedding, or None."""
        import zarr

        place = self.path / "embedding.zarr"
        return np.asarray(zarr.open_array(place, mode="r")[:]) if place.exists() else None

    @cached_property
    def labels(self) -> LabelLog:
        """The log of what people say about these frames."""
        return LabelLog(self.path / "labels", annotator=self.annotator)

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
    ) -> Path:
        """Write the frames in rank order as CSV, Parquet, VOTable or DS9 regions.

        Parameters
        ----------
        path : path
            Where to write; the suffix tells the format (.csv, .parquet, .vot, .reg) unless `format` does.
        format : {"csv", "parquet", "votable", "ds9"}, optional
        min_interest : float, optional
            Only frames rated at least so.
        top : int, optional
            Only the first `top` frames.

        Returns
        -------
        Path
            The file.
        """
        return write_table(self.selection(min_interest=min_interest, top=top), path, format, self.frames)

    def selection(self, *, min_interest: float | None = None, top: int | None = None) -> pd.DataFrame:
        """Return the rows of `table` in rank order: rated at least so, or the first `top`, or all."""
        if top is not None and top < 0:
            raise ParameterError(f"top is {top}; give a number of frames from 0.")
        if min_interest is not None and not 0 <= min_interest <= HIGHEST_INTEREST:
            raise ParameterError(
                f"min_interest is {min_interest}; give a rating from 0 to {HIGHEST_INTEREST}."
            )
        table = self.table().sort_values("rank", kind="stable", ignore_index=True)
        if min_interest is not None:
            table = table[(table["interest"] >= min_interest).fillna(False).astype(bool)]
        return table if top is None else table.head(top)

    def rerank(self, ratings: Mapping[str, float] | pd.Series) -> pd.DataFrame:
        """Return the base scores moved by `ratings` (interest by frame_id); frames without sky stay last.

        See `radiowidgets.ranking.active.learn_from_ratings`. ``attrs["learnt"]`` says in words what was done.
        """
        values, _ = ranking_values(self.frames, self.embedding, self.features)
        score = self.scores["score"].to_numpy(np.float64, copy=True)
        seen, ids = score > 0, np.asarray(self.frames.frame_ids)
        seed = int(self.about.get("ranking", {}).get("seed", 0))
        score[seen], learnt = learn_from_ratings(values[seen], score[seen], ids[seen], ratings, seed=seed)
        table = score_table(ids, score)
        table.attrs["learnt"] = learnt
        return table

    @property
    def order(self) -> pd.DataFrame:
        """Scores and ranks as this annotator last saw them: of their last re-ranking, else the base scores."""
        session = self.recall()["session"]
        try:
            scores = self.session_scores(session) if session else None
        except RunError:  # a damaged order is no reason to show none
            scores = None
        if scores is None or not np.array_equal(scores.index, self.scores.index):
            return self.scores
        return scores

    def recall(self) -> dict[str, Any]:
        """Return what was remembered for this annotator: the ``view`` of Review, and whose ``session`` is the order."""
        try:
            memory = json.loads(self._memory.read_text("utf-8"))
        except (OSError, ValueError):
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
            _write_whole(self._memory, json.dumps({**self.recall(), **what}).encode())
        except RunError:
            return

    @property
    def _memory(self) -> Path:
        return self.path / "labels" / "views" / f"{_slug(self.labels.annotator)}.json"

    def session_scores(self, session: str) -> pd.DataFrame | None:
        """Scores of one review session, or None."""
        name = f"scores/{_slug(session)}.parquet"
        return _read_table(self.path, name).set_index("frame_id") if (self.path / name).exists() else None

    def write_session_scores(self, session: str, scores: pd.DataFrame) -> Path:
        """Keep the order of a review session beside the base scores, which are never overwritten."""
        place = self.path / "scores" / f"{_slug(session)}.parquet"
        _write_whole(place, scores.reset_index().to_parquet(index=False))
        return place

    def __len__(self) -> int:
        return len(self.frames)

    def __repr__(self) -> str:
        return f"<Run {self.name}: {len(self.frames)} frames of {', '.join(self.frames.maps) or 'images'}>"

    # ------------------------------------------------------------ building

    @contextmanager
    def _building(self) -> Iterator[None]:
        """Hold ``build.lock``; a lock whose process on this host is gone is taken over."""
        place = self.path / "build.lock"
        mine = f"{socket.gethostname()} {os.getpid()} {_now()}\n"
        for _ in range(2):
            try:
                handle = os.open(place, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
                break
            except FileExistsError as error:
                holder = place.read_text("utf-8", "replace").split() if place.exists() else []
                if len(holder) == 3 and holder[0] == socket.gethostname() and not _alive(holder[1]):
                    place.unlink(missing_ok=True)
                    continue
                who = (
                    f"process {holder[1]} on {holder[0]} since {holder[2]}"
                    if len(holder) == 3
                    else "somebody"
                )
                raise RunError(
                    f"{self.path} is being written by {who}. Wait for it to end; if it died, remove {place.name} there."
                ) from error
            except OSError as error:
                raise RunError(
                    f"Cannot write into {self.path}: {error.strerror}. Choose a folder that you may write."
                ) from error
        else:
            raise RunError(f"{self.path} is being written by somebody else. Wait for it to end.")
        try:
            os.write(handle, mine.encode())
            os.close(handle)
            yield
        finally:
            place.unlink(missing_ok=True)

    def _measure(self, progress: bool) -> tuple[pd.DataFrame, pd.DataFrame]:
        from tqdm.auto import tqdm

        starts = range(0, len(self.frames), CHUNK)
        folder = self.path / "parts"
        bar = tqdm(total=len(self.frames), unit="frame", desc="measuring", disable=not progress)
        parts = []
        for start in starts:
            place = folder / f"features-{start:09d}.parquet"
            chunk = self.frames.select(np.arange(start, min(start + CHUNK, len(self.frames))))
            if place.exists():
                part = pd.read_parquet(place)
            else:
                part = frame_features(chunk, fill=False).reset_index()
                for name in NOISE:  # under another name, as a feature may be called the same
                    part[f"noise {name}"] = getattr(chunk.noise, name)
                _write_whole(place, part.to_parquet(index=False))
            parts.append(part)
            bar.update(len(part))
        bar.close()
        table = pd.concat(parts, ignore_index=True).set_index("frame_id")
        noise = table[[f"noise {name}" for name in NOISE]]
        return noise, fill_features(table.drop(columns=noise.columns))

    def _write_frames(self) -> None:
        place = self.path / "frames.parquet"
        if not place.exists():
            _write_whole(place, self.frames.table.to_parquet(index=False))

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
            _write_whole(place, table.rename_axis("frame_id").reset_index().to_parquet(index=False))
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
        with _drafted(place, embedding.shape, (CHUNK, embedding.shape[1])) as array:
            array[:] = embedding

    def _write_images(self) -> None:
        """Keep images that belong to no map: one array, padded with blanks to the largest image."""
        frames = self.frames
        shape = (len(frames), int(frames.height.max()), int(frames.width.max()), *frames[0].pixels.shape[2:])
        with _drafted(self.path / "pixels.zarr", shape, (64, *shape[1:])) as array:
            for start in range(0, len(frames), 64):
                block = np.full((min(64, len(frames) - start), *shape[1:]), np.nan, np.float32)
                for row in range(len(block)):
                    pixels = frames[start + row].pixels
                    block[row, : pixels.shape[0], : pixels.shape[1]] = pixels
                array[start : start + len(block)] = block

    def _write_about(self, more: Mapping[str, Any]) -> None:
        self.about.update(more)
        _write_whole(
            self.path / "run.yaml", yaml.safe_dump(self.about, sort_keys=False, allow_unicode=True).encode()
        )


def _read_about(path: Path) -> dict[str, Any]:
    place = path / "run.yaml"
    if not place.exists():
        raise RunError(
            f"{path} is no run folder: it has no run.yaml. Make one with Run.create or 'radiowidgets rank'."
        )
    try:
        about = yaml.safe_load(place.read_text("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RunError(f"{place} is not readable YAML; restore it from a copy.") from error
    sections = {"frames": dict, "maps": dict, "parameters": dict}
    if not isinstance(about, dict) or any(not isinstance(about.get(k), kind) for k, kind in sections.items()):
        raise RunError(f"{place} lacks one of {', '.join(sections)}; restore it from a copy.")
    for name, entry in about["maps"].items():
        if not isinstance(entry, dict) or not all(
            isinstance(entry.get(k), str) for k in ("path", "absolute", "fingerprint")
        ):
            raise RunError(f"{place} does not tell where the map {name!r} is; restore it from a copy.")
    if about.get("format") != FORMAT:
        raise RunError(
            f"{place} has format {about.get('format')!r}; this version reads {FORMAT}. Update radiowidgets."
        )
    return about


def _make_folder(path: Path) -> None:
    if path.exists() and not path.is_dir():
        raise RunError(f"{path} is a file; a run is a folder, so choose another name.")
    if path.is_dir() and not (path / "run.yaml").exists():
        # What a run leaves that was stopped before its run.yaml stood is no reason to go elsewhere.
        ours = {"build.lock", "maps", "pixels.zarr", "schema.yaml"}
        others = sorted(
            entry.name
            for entry in path.iterdir()
            if entry.name not in ours and not entry.name.endswith(".part")
        )
        if others:
            raise RunError(f"{path} holds other things ({others[0]}, ...) and no run; choose another folder.")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"Cannot make the run folder {path}: {error.strerror}. Choose one that you may write."
        ) from error


def _check_same_inputs(path: Path, known: dict[str, Any], asked: dict[str, Any], frames: FrameSet) -> None:
    """Raise unless the run that stands in `path` was made from the same frames, maps and parameters."""
    if known["frames"] != asked["frames"]:
        raise RunError(
            f"{path} holds {known['frames'].get('count')} other frames, not these {len(frames)}; "
            "choose another folder, or open that run with Run.open."
        )
    for name, sky in frames.maps.items():
        entry = known["maps"].get(name, {})
        if sky.fingerprint not in (entry.get("fingerprint"), entry.get("original")):
            raise RunError(
                f"{path} was made from another map {name!r} ({entry.get('path')}); choose another folder."
            )
    for key, value in asked["parameters"].items():
        if known["parameters"].get(key, value) != value:
            was = known["parameters"][key]
            raise RunError(f"{path} was made with {key} = {was!r}, not {value!r}; choose another folder.")


def _keep_map(path: Path, name: str, sky: SkyMap) -> dict[str, Any]:
    """Return the entry of a map in ``run.yaml``; one that lives in memory only is written into the run."""
    if sky.path is not None:
        return _map_entry(path, sky.path, sky.fingerprint, sky.hdu)
    (path / "maps").mkdir(exist_ok=True)
    place = sky.write(path / "maps" / f"{name}.fits", overwrite=True)
    return _map_entry(path, place, SkyMap.open(place, name=name).fingerprint) | {"original": sky.fingerprint}


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")


@contextmanager
def _drafted(place: Path, shape: tuple[int, ...], chunks: tuple[int, ...]) -> Iterator[Any]:
    """Yield a float32 Zarr array that stands at `place` once it is filled, whole or not at all."""
    import zarr

    draft = place.with_name(f".{place.name}.{os.getpid()}.part")
    chunks = tuple(min(chunk, length) for chunk, length in zip(chunks, shape, strict=True))
    try:
        yield zarr.create_array(draft, shape=shape, chunks=chunks, dtype="float32", overwrite=True)
        if place.exists():  # left by a run that was stopped before its frames were written
            shutil.rmtree(place)
        draft.replace(place)
    except OSError as error:
        raise RunError(
            f"Cannot write {place}: {error.strerror}. Free some space or choose another folder."
        ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _read_images(place: Path, table: pd.DataFrame) -> list[np.ndarray]:
    import zarr

    pixels = np.asarray(zarr.open_array(place, mode="r")[:])
    return [image[:h, :w] for image, h, w in zip(pixels, table["height"], table["width"], strict=True)]


def _read_table(path: Path, name: str) -> pd.DataFrame:
    place = path / name
    if not place.exists():
        raise RunError(f"{path} was never finished: {name} is missing. Run the same build again to go on.")
    try:
        return pd.read_parquet(place)
    except (OSError, ValueError) as error:  # pyarrow's errors are among these
        raise RunError(
            f"{place} is damaged ({' '.join(str(error).split())[:80]}); restore it or build the run anew."
        ) from error


def _map_entry(run: Path, place: Path, fingerprint: str, hdu: int | str | None = None) -> dict[str, Any]:
    place = place.resolve()
    return {
        "path": Path(os.path.relpath(place, run.resolve())).as_posix(),
        "absolute": str(place),
        "hdu": hdu,
        "fingerprint": fingerprint,
    }


def _open_map(run: Path, name: str, entry: Mapping[str, Any], moved: str | os.PathLike[str] | None) -> SkyMap:
    places = [Path(moved)] if moved is not None else [run / entry["path"], Path(entry["absolute"])]
    place = next((candidate for candidate in places if candidate.exists()), None)
    if place is None:
        raise RunError(
            f"The map {name!r} is not at {entry['absolute']} any more; "
            f"tell where it is: Run.open({str(run)!r}, maps={{{name!r}: 'new/place.fits'}})."
        )
    sky = SkyMap.open(place, name=name, hdu=entry.get("hdu"))
    if sky.fingerprint != entry["fingerprint"]:
        raise RunError(
            f"{place} is not the map {name!r} that this run was made from: its content changed. Give the original."
        )
    return sky


def _geometry(frames: FrameSet) -> str:
    digest = hashlib.sha256("\n".join(frames.map_names).encode())
    for column in (frames.map_codes, frames.x, frames.y, frames.width, frames.height):
        digest.update(np.ascontiguousarray(column, dtype="<i4").tobytes())
    if not frames.maps:  # images are known by their pixels, maps by their fingerprints
        for frame in frames:
            digest.update(frame.frame_id.encode() + np.ascontiguousarray(frame.pixels).tobytes())
    return digest.hexdigest()[:32]


def _versions() -> dict[str, str]:
    names = ["numpy", "pandas", "astropy", "scikit-learn", "numba"]
    return {
        "radiowidgets": radiowidgets.__version__,
        **{name: importlib.metadata.version(name) for name in names},
    }


def _write_whole(place: Path, content: bytes) -> None:
    """Write a file whole or not at all, also when the process is killed in between."""
    place.parent.mkdir(parents=True, exist_ok=True)
    draft = place.with_name(f".{place.name}.{os.getpid()}.part")
    try:
        with draft.open("wb") as handle:
            handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())
        draft.replace(place)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise RunError(
            f"Cannot write {place}: {error.strerror}. Free some space or choose a folder that you may write."
        ) from error


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip(".-")[:120] or "session"


def _alive(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except (PermissionError, ValueError):
        return True
    return True
