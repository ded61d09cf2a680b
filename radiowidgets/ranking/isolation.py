"""The first order of a gallery: how easily each frame is isolated from the others."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from radiowidgets.errors import ParameterError
from radiowidgets.features.frames import CONTEXT, FEATURES, comparable_features, frame_features
from radiowidgets.ranking.active import clipped_spread, kept_ratings, learn_from_ratings

TREES = 200
CONTAMINATION = 0.001
FEATURED = "frame features"
BOTH = f", by the embedding and the {FEATURED}"  # after what was learnt from ratings
FEW = 10  # frames below which a forest says nothing
BLANK = 0.9  # a frame blank beyond this share has no sky to rank
PADDING = 1e-3  # of a map's typical noise: what is smoother was filled in
FEW_SAMPLES = 16  # frames that a tree on frame features sees: of more, the rare hide one another

STRUCTURE = {
    "log_island_beams": 1,
    "island_fill": -1,
    "island_elongation": 1,
    "island_asymmetry": 1,
    "starlet_3": 1,
    "starlet_4": 1,
    "starlet_5": 1,
}
"""Frame features that the first ranking looks at, and the side on which there is more.

They tell the extent and the shape of the largest island, and of structure on scales beyond the beam.
Chosen on mock skies (``benchmarks/bench_study.py``), as is how few frames a tree sees. Noise, crowding and sidelobes
make frames unusual too, and so does having less of everything than the others; neither is what is searched for.
"""


def rank(
    frames: Any,
    embedding: Any = None,
    labels: Mapping[str, float] | pd.Series | None = None,
    *,
    features: pd.DataFrame | None = None,
    seed: int = 0,
    trees: int = TREES,
    contamination: float = CONTAMINATION,
    max_samples: float | int | None = None,
) -> pd.DataFrame:
    """Order frames from the most to the least anomalous.

    An Isolation Forest as in the search for peculiar frames (Riggi et al. 2024, section 5.2: 200 trees,
    contamination 0.001, max_samples 0.02). On frame features it looks at those of extended emission alone, and only at
    how much more there is than in most frames (see `STRUCTURE`). With `labels` the order moves towards what was rated
    high, by all features.

    Parameters
    ----------
    frames : FrameSet
        The n frames to rank.
    embedding : (n, d) array, optional
        What the forest sees, unless `features` are given: then these alone make the first order, which finds more
        on mock skies, and ratings are learnt by both. Default: the frame features.
    labels : mapping of frame_id to interest (0-5), optional
        Ratings given so far.
    features : DataFrame, optional
        Frame features indexed by frame_id, where they are known already.
    seed : int
        The same inputs and seed give the same ranking.
    trees : int
        Number of trees.
    contamination : float
        Share of the frames marked in the column ``outlier``; it does not change the scores.
    max_samples : float or int, optional
        Share (a float below 1) or number of frames that each tree sees. Default: on frame features 16, on an embedding
        0.02 n, but never below min(n, 256).

    Returns
    -------
    DataFrame
        Indexed by frame_id in the order of `frames`; ``score`` in [0, 1], larger = more anomalous; ``rank``
        from 1, ties by frame_id; ``outlier``. ``attrs["method"]`` says how, ``attrs["blank"]`` how many
        frames had no sky (blank, or as smooth as padding) and stand last with score 0; with the other
        parameters and the ratings kept there the same models can be fitted again, to tell why.

    Raises
    ------
    ParameterError
        If a shape or a value does not fit.
    """
    ids = np.asarray(frames.frame_ids)
    _check_forest(seed, trees, contamination, max_samples)
    parts = ranking_parts(frames, embedding, features)
    for name, part in parts.items():
        _check_values(part, name, ids)
    # On mock skies the order by features alone beats that by features and embedding; ratings make use of both.
    first = FEATURED if FEATURED in parts else "embedding"
    values = parts[first]
    blocks = [part.shape[1] for part in parts.values()]
    seen = has_sky(frames)
    score = np.zeros(len(ids))
    if seen.sum() < FEW:
        method = f"robust distance of the {first}"
        if len(ids):
            warnings.warn(
                f"{int(seen.sum())} frames hold sky; below {FEW} an Isolation Forest says nothing, so the frames "
                f"are ordered by the {method}. Cut smaller frames or a smaller step for more.",
                stacklevel=2,
            )
        score[seen] = robust_distance(values[seen])[0]
    else:
        method = f"Isolation Forest on the {first}"
        names = _names(features) if first == FEATURED else None
        forest = fit_forest(values[seen], trees, max_samples, seed, names)
        score[seen] = np.clip(-forest.score_samples(values[seen]), 0.0, 1.0)
    learnt = ""
    if labels is not None and len(labels):
        score[seen], learnt = learn_from_ratings(
            clipped_spread(np.hstack([part[seen] for part in parts.values()]), blocks=blocks),
            score[seen],
            ids[seen],
            labels,
            seed=seed,
        )
        method = f"{method}; {learnt}" + (BOTH if len(parts) > 1 else "")

    table = score_table(ids, score, contamination)
    table.attrs.update(
        method=method, learnt=learnt or "no rating yet", seed=int(seed), blank=int((~seen).sum())
    )
    samples = max_samples if max_samples is None or isinstance(max_samples, float) else int(max_samples)
    table.attrs.update(trees=int(trees), max_samples=samples, ratings=kept_ratings(labels))
    return table


def _check_values(values: np.ndarray, name: str, ids: np.ndarray) -> None:
    if values.ndim != 2 or len(values) != len(ids):
        raise ParameterError(f"The {name} have shape {values.shape}; {len(ids)} frames need ({len(ids)}, d).")
    if not np.isfinite(values).all():
        bad = ids[~np.isfinite(values).all(axis=1)]
        raise ParameterError(
            f"The {name} of {len(bad)} of {len(ids)} frames are not finite (first: {bad[0]}); "
            "replace what is missing or leave those frames out."
        )


def ranking_parts(
    frames: Any, embedding: Any = None, features: pd.DataFrame | None = None
) -> dict[str, np.ndarray]:
    """Return what the ranking looks at, (n, d) float64 arrays by name.

    The embedding, and the features where they are known or there is no embedding.
    """
    parts = {}
    if embedding is not None:
        parts["embedding"] = np.asarray(embedding, dtype=np.float64)
    if embedding is None or features is not None:
        parts[FEATURED] = ranking_values(frames, None, features)[0]
    return parts


def ranking_values(
    frames: Any, embedding: Any = None, features: pd.DataFrame | None = None
) -> tuple[np.ndarray, str]:
    """Return what likeness is measured by, (n, d) float64, and its name: the embedding, else the features."""
    if embedding is not None:
        return np.asarray(embedding, dtype=np.float64), "embedding"
    table = frame_features(frames) if features is None else features.reindex(np.asarray(frames.frame_ids))
    return comparable_features(table).to_numpy(np.float64), FEATURED


def score_table(ids: np.ndarray, score: np.ndarray, contamination: float = CONTAMINATION) -> pd.DataFrame:
    """Return scores with their ranks (from 1, ties by frame_id) and outliers, indexed by frame_id."""
    order = np.argsort(-score, kind="stable")
    starts = np.flatnonzero(np.diff(score[order], prepend=np.nan, append=np.nan) != 0)
    for k in np.flatnonzero(np.diff(starts) > 1):  # text is slow to compare: only of ties
        tied = order[starts[k] : starts[k + 1]]
        order[starts[k] : starts[k + 1]] = tied[np.argsort(ids[tied].astype(str), kind="stable")]
    place = np.empty(len(ids), dtype=np.int64)
    place[order] = np.arange(1, len(ids) + 1)
    table = pd.DataFrame({"score": score, "rank": place}, index=pd.Index(ids, name="frame_id"))
    table["outlier"] = (table["rank"] <= max(1, round(contamination * len(ids)))) & (score > 0)
    return table


def _check_forest(seed: Any, trees: Any, contamination: Any, max_samples: Any) -> None:
    def whole(value: Any, low: int, high: int) -> bool:
        number = isinstance(value, int | np.integer) and not isinstance(value, bool)
        return number and bool(low <= value <= high)

    if not whole(seed, 0, 2**32 - 1):
        raise ParameterError(f"seed is {seed!r}; give a whole number from 0 to {2**32 - 1}.")
    if not whole(trees, 1, 100_000):
        raise ParameterError(f"trees is {trees!r}; give a whole number from 1 to 100000.")
    if not isinstance(contamination, int | float) or not 0 < contamination <= 0.5:
        raise ParameterError(f"contamination is {contamination!r}; give a share above 0 and up to 0.5.")
    share = isinstance(max_samples, float) and 0 < max_samples < 1
    if max_samples is not None and not share and not whole(max_samples, 1, 2**31):
        raise ParameterError(
            f"max_samples is {max_samples!r}; give a share between 0 and 1 or a whole number."
        )


def has_sky(frames: Any) -> np.ndarray:
    """Tell frames that can be ranked from those that are blank, or as smooth as padding."""
    return (frames.noise.blank_fraction < BLANK) & _has_noise(frames)


def _has_noise(frames: Any) -> np.ndarray:
    """Tell frames of sky from padding: noise far below that of the same map is none."""
    rms = np.asarray(frames.noise.rms)
    codes = np.asarray(frames.map_codes)
    typical = np.zeros(codes.max(initial=0) + 1)
    for code in np.unique(codes):
        mine = rms[(codes == code) & (rms > 0)]
        typical[code] = np.median(mine) if mine.size else 0.0
    return rms > np.maximum(PADDING * typical[codes], 0)


def fit_forest(
    values: np.ndarray,
    trees: int,
    max_samples: float | int | None,
    seed: int,
    names: Sequence[str] | None = None,
) -> Any:
    """Return the `sklearn.ensemble.IsolationForest` of these values, the same for the same seed.

    With the `names` of frame features it is grown on those of `STRUCTURE` alone; it scores all columns nonetheless.
    """
    from sklearn.ensemble import IsolationForest

    n = len(values)
    if names is not None and not STRUCTURE.keys().isdisjoint(names):
        # No tree splits a column without spread, nor below the lowest value it has seen.
        values = _more_structure(values, names)
        max_samples = min(n, FEW_SAMPLES) if max_samples is None else max_samples
    if max_samples is None:
        max_samples = max(round(0.02 * n), min(n, 256))
    elif max_samples >= 1:
        max_samples = min(int(max_samples), n)
    # The contamination moves only the cut, not the scores, so that it need not be told to the forest.
    forest = IsolationForest(n_estimators=trees, max_samples=max_samples, random_state=seed)
    return forest.fit(values)


def _more_structure(values: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Return values without spread but in the columns of `STRUCTURE`, and there only on the side of more."""
    out = np.zeros_like(values)
    for k, name in enumerate(names):
        side = STRUCTURE.get(name, 0)
        if side:
            further = np.maximum if side > 0 else np.minimum
            out[:, k] = further(values[:, k], np.median(values[:, k]))
    return out


def _names(features: pd.DataFrame | None) -> list[str]:
    """Return the names of the columns that `ranking_values` gives."""
    return [str(name) for name in (FEATURES if features is None else features) if name not in CONTEXT]


def robust_distance(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the score of few frames in [0, 1), and the (n, d) shares of its values, which add up to it."""
    if len(values) == 0:
        return np.zeros(0), np.zeros(values.shape)
    centre = np.median(values, axis=0)
    deviation = np.abs(values - centre)
    width = 1.4826 * np.median(deviation, axis=0)
    width = np.where(width > 0, width, np.where(deviation.max(axis=0) > 0, deviation.mean(axis=0), 1.0))
    square = np.minimum(deviation / np.maximum(width, 1e-12), 1e3) ** 2
    distance = np.sqrt(np.mean(square, axis=1))
    score = distance / (1.0 + distance)
    return score, square * (score / np.maximum(square.sum(axis=1), 1e-300))[:, np.newaxis]
