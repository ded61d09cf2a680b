"""`embed`: frames as vectors, by the shipped encoder or any callable; chunk by chunk, kept and resumed."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from radiowidgets.data.building import clear_old_drafts, drafted
from radiowidgets.errors import ParameterError, RadioWidgetsError, check_one_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from radiowidgets.data.frames import FrameSet
    from radiowidgets.parallel import Progress

CHUNK = 2048  # frames that are prepared, embedded and kept together: belongs to the cache, not to the machine
BATCH = 256
TURNS = (1, 4, 8)


def embed(
    frames: FrameSet,
    encoder: Callable[[Any], Any] | None = None,
    *,
    size: int = 64,
    batch_size: int = BATCH,
    turns: int = 1,
    cache: str | os.PathLike[str] | bool = True,
    progress: str | Progress | None = None,
) -> NDArray[np.float32]:
    """Return one vector a frame.

    Parameters
    ----------
    frames : FrameSet
    encoder : callable, optional
        From a batch (n, size, size, 1) in [0, 1] (see `FrameSet.network_input`) to (n, d): a Keras model, or any
        function. With a method ``prepare(frames)`` it gets what that returns, an array of n rows, instead. Default:
        the encoder that comes with the package, which sees frames of any size its own way.
    size : int
        Of the frames that a plain callable gets.
    batch_size : int
        Frames in a call of the encoder.
    turns : int
        1, or the mean of what the encoder makes of a frame turned by quarters (4), and mirrored too (8): the sky has
        no up and down. It takes as many times as long. The encoder that comes with the package has learnt to give that
        mean at once; others tell real sources apart better by it.
    cache : path or bool
        Where results are kept, if the encoder has a `fingerprint`, a text that tells it from all others: each chunk
        of 2,048 frames by the content of its frames and that text, so that what was stopped goes on. True: the
        user's cache, which ``RADIOWIDGETS_DATA`` moves; False: nowhere.
    progress : str or callable, optional
        Text of a progress bar, or a function that is told how many chunks are done, and of how many.

    Returns
    -------
    ndarray of float32, shape (n, d)

    Raises
    ------
    ParameterError
        If there are no frames, or what was given is none; if `turns` is another number, or the encoder does not return
        finite numbers, one row a frame.
    MissingExtraError
        If Keras is not there for the encoder that comes with the package.

    Examples
    --------
    >>> import radiowidgets as rw
    >>> frames = rw.cut_windows(rw.simulate("emu", size=256, seed=1), size=128)
    >>> embed(frames, lambda batch: batch.mean(axis=(1, 2))).shape
    (9, 1)
    """
    if not hasattr(frames, "network_input") or not (encoder is None or callable(encoder)):
        what = type(encoder if hasattr(frames, "network_input") else frames).__name__
        raise ParameterError(
            f"a {what} was given; give frames (rw.FrameSet.from_images makes them of arrays), and a function or a "
            "model as encoder."
        )
    if not len(frames):
        raise ParameterError(
            "there are no frames to embed; cut smaller windows, or look at what was skipped."
        )
    if batch_size < 1:
        raise ParameterError(f"batch_size is {batch_size!r}; give a whole number from 1, usually {BATCH}.")
    check_one_of("turns", turns, TURNS)
    if encoder is None:
        from radiowidgets.models.shipped import shipped_encoder

        encoder = shipped_encoder()
    folder = _folder(encoder, size, turns, cache)
    if folder is not None:
        clear_old_drafts(folder)
    parts = [np.arange(start, min(start + CHUNK, len(frames))) for start in range(0, len(frames), CHUNK)]

    def work(indices: NDArray[Any]) -> NDArray[np.float32]:
        part = frames.select(indices) if len(parts) > 1 else frames
        place = None if folder is None else folder / f"{_content(part)}.npy"
        known = None if place is None else _recall(place, len(part))
        if known is not None:
            return known
        vectors = _embed_chunk(part, encoder, size, batch_size, turns)
        if place is not None:
            keep_array(place, vectors)
        return vectors

    from radiowidgets.parallel import map_chunks

    # One thread: the encoder and what prepares for it use all cores themselves.
    done = map_chunks(work, parts, threads=1, progress=progress)
    if len({vectors.shape[1] for vectors in done}) > 1:
        raise ParameterError(
            f"the encoder returned vectors of {sorted({v.shape[1] for v in done})} numbers; they must be of one width."
        )
    return np.concatenate(done)


def _embed_chunk(
    frames: FrameSet, encoder: Callable[[Any], Any], size: int, batch_size: int, turns: int
) -> NDArray[np.float32]:
    prepare = getattr(encoder, "prepare", None)
    inputs = frames.network_input(size) if prepare is None else prepare(frames)
    batches = [inputs[start : start + batch_size] for start in range(0, len(frames), batch_size)]
    vectors = [
        np.mean([_checked(encoder(one), len(batch)) for one in turned(batch, turns)], axis=0)
        for batch in batches
    ]
    if len({part.shape[1] for part in vectors}) > 1:
        raise ParameterError(
            f"the encoder returned vectors of {sorted({v.shape[1] for v in vectors})} numbers; "
            "they must be of one width."
        )
    return np.concatenate(vectors)


def turned(batch: NDArray[Any], turns: int) -> Iterator[NDArray[Any]]:
    """Yield a batch (n, ..., height, width, channels) as it is, turned by quarters (4), and mirrored too (8)."""
    if turns == 1:
        yield batch
        return
    if batch.ndim < 4:
        raise ParameterError(
            f"turns is {turns}, but the encoder prepares arrays of shape {batch.shape[1:]}, which cannot be turned."
        )
    for mirror in (1, -1)[: 1 + turns // 8]:
        for quarters in range(min(turns, 4)):
            yield np.ascontiguousarray(np.rot90(batch, quarters, axes=(-3, -2))[..., ::mirror, :])


def _checked(result: Any, count: int) -> NDArray[np.float32]:
    """Return what an encoder made of a batch, on whatever device, as float32 (n, d)."""
    if hasattr(result, "detach"):  # PyTorch
        result = result.detach().cpu()
    vectors = np.asarray(result, dtype=np.float32)
    if vectors.ndim != 2 or len(vectors) != count or not vectors.shape[1]:
        raise ParameterError(
            f"the encoder returned an array of shape {vectors.shape} for {count} frames; it must be ({count}, d)."
        )
    if not np.isfinite(vectors).all():
        raise ParameterError(
            f"the encoder returned numbers that are not finite for {int((~np.isfinite(vectors)).any(1).sum())} of "
            f"{count} frames; look at what it does with frames of one value."
        )
    return vectors


# ------------------------------------------------------------------------------------
# the cache


def _folder(encoder: Any, size: int, turns: int, cache: str | os.PathLike[str] | bool) -> Path | None:
    """Return where vectors of this encoder are kept, or None."""
    fingerprint = getattr(encoder, "fingerprint", None)
    if cache is False or not isinstance(fingerprint, str) or not fingerprint:
        return None
    if cache is True:
        from radiowidgets.data.manifest import cache_folder

        root = cache_folder() / "embeddings"
    else:
        root = Path(cache)
    # It may hold anything; a folder's name may not.
    about = f"{fingerprint}-{0 if hasattr(encoder, 'prepare') else size}" + (
        f"-{turns} turns" if turns > 1 else ""
    )
    return root / hashlib.sha256(about.encode()).hexdigest()[:20]


def _content(frames: FrameSet) -> str:
    """Return a name for the content of frames: their maps, boxes and pixels; of maps on a server no pixels."""
    digest = hashlib.sha256()
    for name in frames.map_names:
        sky = frames.maps.get(name)
        digest.update(b"images" if sky is None else sky.fingerprint.encode())
    for column in (frames.map_codes, frames.x, frames.y, frames.width, frames.height):
        digest.update(np.ascontiguousarray(column, dtype="<i4").tobytes())
    if not frames.maps:
        for frame in frames:
            digest.update(np.ascontiguousarray(frame.pixels, dtype="<f4").tobytes())
        return digest.hexdigest()[:32]
    # A map's fingerprint samples it: a source that was put into it, or taken out, must not go unseen.
    here = [name in frames.maps and frames.maps[name].url is None for name in frames.map_names]
    for strip in frames.strips(np.flatnonzero(np.asarray(here)[frames.map_codes])):
        digest.update(np.ascontiguousarray(strip.pixels, dtype="<f4").data)
    return digest.hexdigest()[:32]


def _recall(place: Path, count: int) -> NDArray[np.float32] | None:
    try:
        known = np.load(place, allow_pickle=False)
    except (OSError, ValueError, EOFError):  # it is not there, or damaged: it is made again
        return None
    good = known.ndim == 2 and len(known) == count and known.dtype == np.float32
    return known if good else None


def keep_array(place: Path, vectors: np.ndarray) -> None:
    """Write an array into a cache, whole or not at all; what cannot be kept is made again."""
    # A full disk, or one that may only be read, is no reason to show nothing.
    with suppress(RadioWidgetsError), drafted(place) as draft, draft.open("wb") as handle:
        np.save(handle, vectors, allow_pickle=False)
