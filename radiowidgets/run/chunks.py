"""Frames of a run measured and embedded chunk by chunk: here or on a cluster, kept as it comes, and resumed.

The grid of chunks belongs to the run. Workers read the maps themselves and write nothing: what they found comes back
to the one builder of the run, who keeps it in the folder ``parts`` until all are there.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from radiowidgets.errors import ParameterError, RunError
from radiowidgets.features.frames import fill_features, frame_features
from radiowidgets.latent.embedding import embed
from radiowidgets.parallel import each_chunk
from radiowidgets.run.files import write_array, write_whole

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from radiowidgets.data.frames import FrameSet

CHUNK = 2048  # frames in one step of a build
NOISE = ["background", "rms", "blank_fraction"]


class Measured(NamedTuple):
    """What is known of all frames of a run: noise and features, a row each, and vectors (n, d) or None."""

    noise: pd.DataFrame
    features: pd.DataFrame
    embedding: NDArray[np.float32] | None


def measure(
    path: Path,
    frames: FrameSet,
    encoder: Callable[[Any], Any] | None = None,
    *,
    client: Any = None,
    progress: bool = True,
) -> Measured:
    """Measure and, with an `encoder`, embed all frames of the run in `path`; what is kept there is not done again."""
    from tqdm.auto import tqdm

    folder = path / "parts"
    sent = frames if client is None else _for_workers(path, frames)
    starts = range(0, len(frames), CHUNK)
    missing = [start for start in starts if not _is_kept(folder, start, encoder)]
    chunks = ((_chunk(sent, start), encoder) for start in missing)
    with tqdm(total=len(frames), unit="frame", desc="measuring", disable=not progress) as bar:
        bar.update(len(frames) - sum(_length(frames, start) for start in missing))
        # One chunk at a time here: what is done with it uses all cores itself.
        results = each_chunk(measure_chunk, chunks, client=client, threads=1)
        for start, (table, vectors) in zip(missing, results, strict=True):
            if vectors is not None:
                write_array(_place(folder, "embedding", start), vectors)
            write_whole(_place(folder, "features", start), table.to_parquet(index=False))
            bar.update(len(table))
    parts = [pd.read_parquet(_place(folder, "features", start)) for start in starts]
    table = pd.concat(parts, ignore_index=True).set_index("frame_id")
    noise = table[[f"noise {name}" for name in NOISE]]
    features = fill_features(table.drop(columns=noise.columns))
    return Measured(noise, features, None if encoder is None else _vectors(folder, starts))


def measure_chunk(
    chunk: tuple[FrameSet, Callable[[Any], Any] | None],
) -> tuple[pd.DataFrame, NDArray[np.float32] | None]:
    """Return the table of features and noise of some frames, and their vectors where there is an encoder."""
    frames, encoder = chunk
    table = frame_features(frames, fill=False).reset_index()
    for name in NOISE:  # under another name, as a feature may be called the same
        table[f"noise {name}"] = getattr(frames.noise, name)
    return table, None if encoder is None else embed(frames, encoder, cache=False)


def fingerprint_of(encoder: Any) -> str:
    """Return the text that tells an encoder from all others."""
    mark = getattr(encoder, "fingerprint", None)
    if not callable(encoder) or not isinstance(mark, str) or not mark:
        raise ParameterError(
            f"the encoder {encoder!r:.60} has no fingerprint, so that a build which was stopped could not know it "
            "again; give it one, a text, or embed the frames by rw.embed and use Run.create."
        )
    return mark


def _for_workers(path: Path, frames: FrameSet) -> FrameSet:
    """Return the frames with maps that cost little to send; those in memory stand in the run folder."""
    sent = frames.select(np.arange(len(frames)))
    sent.maps = {name: sky.light(path / "maps" / f"{name}.fits") for name, sky in frames.maps.items()}
    return sent


def _length(frames: FrameSet, start: int) -> int:
    return min(CHUNK, len(frames) - start)


def _chunk(frames: FrameSet, start: int) -> FrameSet:
    return frames.select(np.arange(start, start + _length(frames, start)))


def _place(folder: Path, what: str, start: int) -> Path:
    return folder / f"{what}-{start:09d}.{'parquet' if what == 'features' else 'npy'}"


def _is_kept(folder: Path, start: int, encoder: Any) -> bool:
    kept = _place(folder, "features", start).exists()  # the last to be written
    return kept and (encoder is None or _place(folder, "embedding", start).exists())


def _vectors(folder: Path, starts: range) -> NDArray[np.float32]:
    parts = [np.load(_place(folder, "embedding", start), allow_pickle=False) for start in starts]
    widths = sorted({part.shape[1] for part in parts})
    if len(widths) > 1:
        raise RunError(f"the encoder returned vectors of {widths} numbers; they must be of one width.")
    return np.concatenate(parts)
