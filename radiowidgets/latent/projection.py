"""Embeddings in two dimensions, to look at: UMAP, or PCA where it must be quick; and who is near to whom.

UMAP is seeded and fitted on at most 200,000 rows; the rest is placed among them. What was projected once is read
from a cache, which knows the embedding and the parameters by their content.
"""

import hashlib
import importlib
import json
import os
import sys
import threading
import types
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

from radiowidgets.errors import MissingExtraError, ParameterError, check_one_of
from radiowidgets.latent.embedding import keep_array

METHODS = ("umap", "pca")
FEWEST = 8  # rows that UMAP can be fitted to
MOST_EXACT = 2e11  # multiplications after which neighbours are looked for approximately
FAR = 10.0  # robust widths; nothing counts as farther out

_PART = 50_000  # rows brought to their place in one step
_SAMPLE = 200_000  # rows that tell width and main axes
_KEPT = 4
_remembered: OrderedDict[str, np.ndarray] = OrderedDict()
_compiled: threading.Thread | None = None


def project(
    embedding: np.ndarray,
    method: str = "umap",
    *,
    seed: int = 0,
    fit_at_most: int = 200_000,
    dimensions: int = 30,
    neighbours: int = 15,
    min_distance: float = 0.1,
    cache: str | os.PathLike[str] | None = None,
) -> np.ndarray:
    """Return a place in the plane for each row of an embedding, by UMAP (McInnes et al. 2018) or PCA.

    Each column is first measured in robust widths from its median and cut at 10 of them, so that no unit and no
    single value decides; then the `dimensions` main axes are kept. The same input, seed and versions give the same
    bytes, on any number of cores.

    Parameters
    ----------
    embedding : (n, d) array
        Rows that are not finite get no place.
    method : {"umap", "pca"}
        PCA takes a second where UMAP takes a minute, half of which is its compilation; see `warm_up`.
    seed : int
    fit_at_most : int
        UMAP is fitted to so many rows, drawn by chance, and the others are placed among them.
    dimensions : int
        Main axes that UMAP looks at.
    neighbours : int
        Rows that count as near: fewer show more of the detail, more show more of the whole.
    min_distance : float
        How densely rows may lie in the plane, from 0 to 1.
    cache : path, optional
        Folder in which the result is kept, as ``.npy``. Without one the last few are kept in memory.

    Returns
    -------
    (n, 2) array of float32
        NaN where there is no place.

    Raises
    ------
    ParameterError
        If a shape or a parameter does not fit.
    MissingExtraError
        If UMAP is asked for and not installed.
    """
    values = _checked(embedding)
    check_one_of("method", method, METHODS)
    whole = {"seed": (seed, 0), "fit_at_most": (fit_at_most, 100), "dimensions": (dimensions, 2)}
    for name, (value, least) in {**whole, "neighbours": (neighbours, 2)}.items():
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise ParameterError(f"{name} is {value!r}; give a whole number from {least}.")
    if not 0 <= min_distance < 1:
        raise ParameterError(f"min_distance is {min_distance!r}; give a number from 0 to 1.")
    key = _key(values, method, seed, fit_at_most, dimensions, neighbours, min_distance)
    known = _recall(key, cache, len(values))
    if known is not None:
        return known
    out = np.full((len(values), 2), np.nan, np.float32)
    known_rows = np.isfinite(values).all(axis=1)
    axes = _main_axes(values[known_rows], dimensions)
    if method == "umap" and len(axes) >= FEWEST and np.ptp(axes, axis=0).any():
        out[known_rows] = _umap(axes, seed, fit_at_most, neighbours, min_distance)
    else:
        out[known_rows, : min(2, axes.shape[1])] = axes[:, :2]
        out[known_rows, axes.shape[1] :] = 0  # one column, or none, is a line
    _remember(key, cache, out)
    return out


def is_projected(
    embedding: np.ndarray,
    method: str = "umap",
    *,
    seed: int = 0,
    cache: str | os.PathLike[str] | None = None,
) -> bool:
    """Return whether `project` would answer from its cache; all other parameters as they are by default."""
    values = _checked(embedding)
    return _recall(_key(values, method, seed), cache, len(values)) is not None


def warm_up() -> threading.Thread:
    """Import and compile UMAP in the background, which takes half a minute, and return the thread that does.

    Called again it returns the same thread. A projection asked for meanwhile waits for it.
    """
    global _compiled  # noqa: PLW0603 - it is compiled once in a process
    if _compiled is None:
        _compiled = threading.Thread(target=_compile, name="umap", daemon=True)
        _compiled.start()
    return _compiled


def _compile() -> None:
    try:
        rows = np.random.default_rng(0).normal(size=(5000, 4)).astype(np.float32)
        _model(len(rows), 0, 15, 0.1).set_params(n_epochs=2).fit(rows)
    except ImportError:  # whoever asks for a projection is told
        return


def nearest(
    embedding: np.ndarray,
    count: int = 12,
    queries: np.ndarray | None = None,
    *,
    seed: int = 0,
    exact: bool | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows nearest to each of many queries, and their Euclidean distances.

    Exact by comparing all with all while that takes seconds; beyond, or with ``exact=False``, by the graph of
    pynndescent (Dong et al. 2011), which finds nearly all of them. For a single frame of a run see `Run.neighbours`.

    Parameters
    ----------
    embedding : (n, d) array
    count : int
        Neighbours of each.
    queries : (m, d) array, optional
        Default: the rows themselves, each of which is then not its own neighbour.
    seed : int
    exact : bool, optional

    Returns
    -------
    indices : (m, count) int64
    distances : (m, count) float32
    """
    values = _checked(embedding)
    own = queries is None
    asked = values if queries is None else _checked(queries)
    if asked.shape[1] != values.shape[1]:
        raise ParameterError(f"The queries have {asked.shape[1]} columns, the embedding {values.shape[1]}.")
    most = len(values) - own
    if not 1 <= count <= most:
        raise ParameterError(f"count is {count!r}; give a number from 1 to {most}.")
    if not (np.isfinite(values).all() and np.isfinite(asked).all()):
        raise ParameterError("Some values are not finite; leave those rows out.")
    if exact is None:
        exact = len(asked) * values.size < MOST_EXACT
    if exact:
        return _nearest_exactly(values, asked, count, own)
    index = _needed("pynndescent").NNDescent(values, n_neighbors=max(16, count + own), random_state=seed)
    if own:
        found, distances = index.neighbor_graph
        return _without_self(found, distances, count)
    found, distances = index.query(asked, k=count, epsilon=0.2)
    return found.astype(np.int64), distances.astype(np.float32)


# ------------------------------------------------------------------------------------


def _checked(embedding: np.ndarray) -> np.ndarray:
    values = np.asarray(embedding)
    if values.ndim != 2 or values.dtype.kind not in "fiu":
        raise ParameterError(
            f"The embedding is of {values.dtype} with shape {values.shape}; give numbers of shape (n, d)."
        )
    return np.ascontiguousarray(values, dtype=np.float32)


def _key(
    values: np.ndarray,
    method: str,
    seed: int = 0,
    fit_at_most: int = 200_000,
    dimensions: int = 30,
    neighbours: int = 15,
    min_distance: float = 0.1,
) -> str:
    """Return what a projection is kept under: the content of the embedding and of the parameters."""
    given = [int(seed), int(fit_at_most), int(dimensions), int(neighbours), float(min_distance)]
    about = json.dumps([method, values.shape, given if method == "umap" else None])
    digest = hashlib.blake2b(about.encode(), digest_size=12)
    digest.update(np.ascontiguousarray(values, dtype="<f4").data)
    return f"{method}-{digest.hexdigest()}"


def _main_axes(values: np.ndarray, dimensions: int) -> np.ndarray:
    """Return rows in robust widths, turned to their main axes, (n, at most `dimensions`) float32."""
    if not values.size:
        return np.zeros((len(values), 0), np.float32)
    step = max(1, len(values) // _SAMPLE)
    sample = values[::step].astype(np.float64)
    middle = np.median(sample, axis=0)
    width = 1.4826 * np.median(np.abs(sample - middle), axis=0)
    spread = np.sqrt(np.mean((sample - middle) ** 2, axis=0))
    width = np.where(width > 1e-3 * spread, width, spread)  # most are equal
    width = np.where(width > 0, width, 1.0)

    def scaled(rows: np.ndarray) -> np.ndarray:
        return np.clip((rows - middle) / width, -FAR, FAR)

    sample = scaled(sample)
    centre = sample.mean(axis=0)
    _, vectors = np.linalg.eigh((sample - centre).T @ (sample - centre))
    vectors = vectors[:, ::-1][:, :dimensions]
    vectors *= np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(vectors.shape[1])])
    parts = [(scaled(values[i : i + _PART]) - centre) @ vectors for i in range(0, len(values), _PART)]
    return np.concatenate(parts).astype(np.float32)


def _umap(axes: np.ndarray, seed: int, fit_at_most: int, neighbours: int, min_distance: float) -> np.ndarray:
    if _compiled is not None and threading.current_thread() is not _compiled:
        _compiled.join()  # two compilations at a time take longer than one after the other
    rows = np.arange(len(axes))
    if len(axes) > fit_at_most:
        rows = np.sort(np.random.default_rng(seed).choice(len(axes), fit_at_most, replace=False))
    model = _model(len(rows), seed, neighbours, min_distance)
    out = np.empty((len(axes), 2), np.float32)
    with np.errstate(all="ignore"):  # of this thread; to catch warnings would hide those of all others
        out[rows] = model.fit_transform(axes[rows])
        rest = np.setdiff1d(np.arange(len(axes)), rows, assume_unique=True)
        for start in range(0, len(rest), _PART):
            part = rest[start : start + _PART]
            out[part] = model.transform(axes[part])
    return out


def _model(count: int, seed: int, neighbours: int, min_distance: float) -> Any:
    return _load_umap().UMAP(
        n_neighbors=min(neighbours, count - 1),
        min_dist=min_distance,
        init="pca",  # keeps the order of what is far apart, and needs no eigenvectors of the graph
        random_state=seed,
        n_jobs=1,
    )


def _load_umap() -> Any:
    """Import UMAP without its parametric kind, which would import TensorFlow for several seconds."""
    name = "umap.parametric_umap"
    if "umap" in sys.modules or name in sys.modules:
        return _needed("umap.umap_")
    stand_in: Any = types.ModuleType(name)
    stand_in.ParametricUMAP = stand_in.load_ParametricUMAP = None
    sys.modules[name] = stand_in
    try:
        module = _needed("umap.umap_")
        for taken in ("ParametricUMAP", "load_ParametricUMAP"):  # who wants it imports umap.parametric_umap
            sys.modules["umap"].__dict__.pop(taken, None)
        return module
    finally:
        sys.modules.pop(name, None)
        getattr(sys.modules.get("umap"), "__dict__", {}).pop("parametric_umap", None)


def _needed(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise MissingExtraError(
            f"This needs {package}; install it with: pip install 'radiowidgets[latent]'. "
            "method='pca' needs nothing."
        ) from error


def _nearest_exactly(
    values: np.ndarray, asked: np.ndarray, count: int, own: bool
) -> tuple[np.ndarray, np.ndarray]:
    found = np.empty((len(asked), count), np.int64)
    distances = np.empty((len(asked), count), np.float32)
    rows = max(1, int(1e7 / len(values)))  # of queries at a time
    for start in range(0, len(asked), rows):
        part = asked[start : start + rows].astype(np.float64)
        apart = np.empty((len(part), len(values)))
        for first in range(0, len(values), _PART):
            # In double precision: where rows lie far from 0, the squares' difference would lose all digits in single.
            some = values[first : first + _PART].astype(np.float64)
            apart[:, first : first + _PART] = np.einsum("ij,ij->i", some, some) - 2 * (part @ some.T)
        each = np.arange(len(part))
        if own:
            apart[each, start + each] = np.inf
        near = np.argpartition(apart, count - 1, axis=1)[:, :count]
        exact = np.linalg.norm(values[near] - part[:, None], axis=2)
        order = np.argsort(exact, axis=1, kind="stable")
        found[start : start + rows] = np.take_along_axis(near, order, axis=1)
        distances[start : start + rows] = np.take_along_axis(exact, order, axis=1)
    return found, distances


def _without_self(found: np.ndarray, distances: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the graph without each row itself, which need not come first where others are equal to it."""
    same = found == np.arange(len(found))[:, None]
    order = np.argsort(same, axis=1, kind="stable")[:, :count]
    return (
        np.take_along_axis(found, order, axis=1).astype(np.int64),
        np.take_along_axis(distances, order, axis=1).astype(np.float32),
    )


def _recall(key: str, cache: str | os.PathLike[str] | None, count: int) -> np.ndarray | None:
    if cache is None:
        known = _remembered.get(key)
        return None if known is None else known.copy()
    try:
        known = np.load(Path(cache) / f"{key}.npy", allow_pickle=False)
    except (OSError, ValueError, EOFError):  # it is not there, or damaged: it is made again
        return None
    return known if known.shape == (count, 2) and known.dtype == np.float32 else None


def _remember(key: str, cache: str | os.PathLike[str] | None, places: np.ndarray) -> None:
    if cache is None:
        _remembered[key] = places.copy()
        while len(_remembered) > _KEPT:
            _remembered.popitem(last=False)
        return
    keep_array(Path(cache) / f"{key}.npy", places)
