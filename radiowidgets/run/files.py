"""Files of a run folder: what stands in ``run.yaml``, tables and arrays written whole or not at all, the lock."""

import datetime as dt
import hashlib
import importlib.metadata
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

import radiowidgets
from radiowidgets.data.building import build_lock, clear_drafts, drafted
from radiowidgets.data.frames import FrameSet
from radiowidgets.data.maps import SkyMap
from radiowidgets.data.remote import is_address, public_address
from radiowidgets.errors import RunError
from radiowidgets.labels.files import describe, share
from radiowidgets.labels.files import make_folder as make_shared
from radiowidgets.labels.schema import brief, read_yaml

FORMAT = 1


BUILT = ("run.yaml", "schema.yaml", "frames.parquet", "features.parquet", "scores.parquet")
ARRAYS = ("pixels.zarr", "embedding.zarr")


@contextmanager
def building(path: Path) -> Iterator[None]:
    """Hold ``build.lock``; one whose process on this host is gone is taken over, and what it left half done goes."""
    with build_lock(path, RunError):
        clear_drafts(path, [*BUILT, *ARRAYS])
        yield


def read_about(path: Path) -> dict[str, Any]:
    """Return ``run.yaml``, checked."""
    place = path / "run.yaml"
    try:
        about = read_yaml(place.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise RunError(
            f"{path} is no run folder: it has no run.yaml. Make one with Run.create or 'radiowidgets rank'."
        ) from error
    except OSError as error:
        raise RunError(
            f"{place} cannot be read ({describe(error)}); ask the owner of the folder for the right to read it."
        ) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
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
            f"{place} has format {brief(about.get('format'))}; this version reads {FORMAT}. Update radiowidgets."
        )
    return about


def make_folder(path: Path) -> None:
    """Make the folder of a run, unless it holds other things."""
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
        make_shared(path)
    except OSError as error:
        raise RunError(
            f"Cannot make the run folder {path}: {error.strerror}. Choose one that you may write."
        ) from error


def check_same_inputs(path: Path, known: dict[str, Any], asked: dict[str, Any], frames: FrameSet) -> None:
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
            raise RunError(
                f"{path} was made with {key} = {brief(was)}, not {value!r}; choose another folder."
            )


def keep_map(path: Path, name: str, sky: SkyMap) -> dict[str, Any]:
    """Return the entry of a map in ``run.yaml``; one that lives in memory only is written into the run."""
    if sky.url is not None:
        address = public_address(sky.url)
        return {"path": address, "absolute": address, "hdu": sky.hdu, "fingerprint": sky.fingerprint}
    if sky.path is not None:
        return map_entry(path, sky.path, sky.fingerprint, sky.hdu)
    make_shared(path / "maps")
    for left in (path / "maps").glob(".*"):  # by a builder that was killed while it wrote a map
        left.unlink()
    place = sky.write(path / "maps" / f"{name}.fits", overwrite=True)
    share(place)
    return map_entry(path, place, SkyMap.open(place, name=name).fingerprint) | {"original": sky.fingerprint}


def now() -> str:
    """Return the time, UTC, ISO 8601."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")


@contextmanager
def drafted_array(place: Path, shape: tuple[int, ...], chunks: tuple[int, ...]) -> Iterator[Any]:
    """Yield a float32 Zarr array that stands at `place` once it is filled, whole or not at all."""
    import zarr

    chunks = tuple(min(chunk, length) for chunk, length in zip(chunks, shape, strict=True))
    with drafted(place, RunError) as draft:
        yield zarr.create_array(draft, shape=shape, chunks=chunks, dtype="float32", overwrite=True)
        if place.exists():  # left by a run that was stopped before its frames were written
            shutil.rmtree(place)


def read_images(place: Path, table: pd.DataFrame) -> list[np.ndarray]:
    """Return images as they were before they were padded to one size."""
    import zarr

    pixels = np.asarray(zarr.open_array(place, mode="r")[:])
    return [image[:h, :w] for image, h, w in zip(pixels, table["height"], table["width"], strict=True)]


def read_table(path: Path, name: str) -> pd.DataFrame:
    """Return a table of the run."""
    place = path / name
    if not place.exists():
        raise RunError(f"{path} was never finished: {name} is missing. Run the same build again to go on.")
    try:
        return pd.read_parquet(place)
    except (OSError, ValueError) as error:  # pyarrow's errors are among these
        raise RunError(
            f"{place} is damaged ({' '.join(str(error).split())[:80]}); restore it or build the run anew."
        ) from error


def read_names(path: Path, name: str) -> list[str]:
    """Return the names of a table's columns without reading the table, which may be large."""
    import pyarrow.parquet

    try:
        return list(pyarrow.parquet.read_schema(path / name).names)
    except (OSError, ValueError):  # pyarrow's errors are among these
        return list(read_table(path, name).columns)  # says what is wrong


def map_entry(run: Path, place: Path, fingerprint: str, hdu: int | str | None = None) -> dict[str, Any]:
    """Return what ``run.yaml`` keeps of a map."""
    place = place.resolve()
    return {
        "path": Path(os.path.relpath(place, run.resolve())).as_posix(),
        "absolute": str(place),
        "hdu": hdu,
        "fingerprint": fingerprint,
    }


def open_map(run: Path, name: str, entry: Mapping[str, Any], moved: str | os.PathLike[str] | None) -> SkyMap:
    """Open a map of the run where it is now."""
    known = entry["absolute"] if moved is None else moved
    place: Path | str | None
    if is_address(known):
        place = str(known)
    else:
        places = [Path(known)] if moved is not None else [run / entry["path"], Path(known)]
        place = next((candidate for candidate in places if candidate.exists()), None)
    if place is None:
        raise RunError(
            f"The map {name!r} is not at {entry['absolute']} any more; "
            f"tell where it is: Run.open({str(run)!r}, maps={{{name!r}: 'new/place.fits'}})."
        )
    sky = SkyMap.open(place, name=name, hdu=entry.get("hdu"))
    if sky.fingerprint != entry["fingerprint"]:
        raise RunError(
            f"{public_address(str(place))} is not the map {name!r} that this run was made from: "
            "its content changed. Give the original."
        )
    return sky


def geometry(frames: FrameSet) -> str:
    """Return a fingerprint of the boxes of frames; of images, also of their pixels."""
    found = hashlib.sha256("\n".join(frames.map_names).encode())
    for column in (frames.map_codes, frames.x, frames.y, frames.width, frames.height):
        found.update(np.ascontiguousarray(column, dtype="<i4").tobytes())
    if not frames.maps:  # images are known by their pixels, maps by their fingerprints
        for frame in frames:
            found.update(frame.frame_id.encode() + np.ascontiguousarray(frame.pixels).tobytes())
    return found.hexdigest()[:32]


def versions() -> dict[str, str]:
    """Return the versions of what a result depends on."""
    names = ["numpy", "pandas", "astropy", "scikit-learn", "numba"]
    return {
        "radiowidgets": radiowidgets.__version__,
        **{name: importlib.metadata.version(name) for name in names},
    }


def write_whole(place: Path, content: bytes) -> None:
    """Write a file whole or not at all, also when the process is killed in between."""
    with drafted(place, RunError) as draft:
        draft.write_bytes(content)


def write_array(place: Path, values: np.ndarray) -> None:
    """Write an array as .npy, whole or not at all."""
    with drafted(place, RunError) as draft, draft.open("wb") as file:
        np.save(file, values, allow_pickle=False)


def digest(values: np.ndarray) -> bytes:
    """Return a short hash of an array."""
    return hashlib.blake2b(values.tobytes(), digest_size=16).digest()


def catalogue_file(name: str) -> str:
    """Return the file of a catalogue; names that differ only in what files cannot be called stay apart."""
    stem = slug(name)
    return (
        f"{stem}.parquet"
        if stem == name.lower()
        else f"{stem}-{digest(np.array(list(name.encode()))).hex()[:8]}.parquet"
    )


def storable(column: pd.Series) -> pd.Series:
    """Return a column as Parquet takes it: what is of mixed kinds becomes text."""
    if column.dtype != object:
        return column
    return column.map(lambda value: None if pd.api.types.is_scalar(value) and pd.isna(value) else str(value))


def slug(text: str) -> str:
    """Return a text as a part of a file name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip(".-")[:120] or "session"
