"""How well two sets of frames can be told apart: mock from real, or one survey from another."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from radiowidgets.errors import FrameError, ParameterError
from radiowidgets.features.frames import CONTEXT, frame_features

FOLDS = 4
TREES = 300
_FEW = 20  # frames of a set below which an area under a curve says nothing


class Separation(NamedTuple):
    """What `tell_apart` found.

    Attributes
    ----------
    auc : area under the ROC curve on frames that the classifier has not seen: 0.5 where nothing tells, 1 where all do
    scatter : standard deviation of `auc` over the repetitions and folds
    tells : DataFrame indexed by feature, the most telling first: `auc` of this feature alone (0.5 to 1), and the
        medians of both sets
    """

    auc: float
    scatter: float
    tells: pd.DataFrame


def tell_apart(
    first: Any, second: Any, *, blocks: int = 4, repeats: int = 3, seed: int = 0, progress: Any = None
) -> Separation:
    """Measure how well a random forest on the frame features tells one set of frames from another.

    Each map is divided into blocks x blocks parts, and frames that lie across a border are left out: a part as a
    whole is either learnt from or asked, so that overlapping frames never stand on both sides. Features that only
    tell the unit or the border of a map (`CONTEXT`) are not used, nor frames with blank pixels.

    Parameters
    ----------
    first, second : FrameSet
        Frames of one or several maps each, as large in beams in both sets.
    blocks : int
        Parts of a map a side.
    repeats : int
        Divisions into folds that are averaged.
    seed : int
        The same frames and seed give the same result.
    progress : str or callable, optional
        As for `frame_features`.

    Raises
    ------
    FrameError
        If fewer than 20 frames, or fewer than four parts, of a set are left.
    """
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedGroupKFold

    if blocks < 2:
        raise ParameterError(f"blocks is {blocks!r}; a map is divided into at least 2 x 2 parts.")
    sets = [_measured(frames, blocks, progress) for frames in (first, second)]
    values, groups = [table for table, _ in sets], [group for _, group in sets]
    table = pd.concat(values, ignore_index=True)
    truth = np.repeat([0, 1], [len(part) for part in values])
    group = np.concatenate([groups[0], groups[1] + groups[0].max() + 1])
    x = table.to_numpy()
    scores = []
    for repeat in range(repeats):
        folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed + repeat)
        for learn, ask in folds.split(x, truth, group):
            forest = RandomForestClassifier(
                TREES, min_samples_leaf=3, class_weight="balanced", random_state=seed + repeat, n_jobs=2
            )
            forest.fit(x[learn], truth[learn])
            scores.append(roc_auc_score(truth[ask], forest.predict_proba(x[ask])[:, 1]))
    alone = [roc_auc_score(truth, table[name]) for name in table]
    tells = pd.DataFrame(
        {
            "auc": np.maximum(alone, 1 - np.array(alone)),
            "first": values[0].median(),
            "second": values[1].median(),
        },
        index=pd.Index(table.columns, name="feature"),
    )
    return Separation(
        float(np.mean(scores)), float(np.std(scores)), tells.sort_values("auc", ascending=False)
    )


def _measured(frames: Any, blocks: int, progress: Any) -> tuple[pd.DataFrame, np.ndarray]:
    """Features of the frames that lie within one part of their map, and the number of that part."""
    shapes = np.array([frames.maps[name].shape for name in frames.map_names])[frames.map_codes]
    part = [
        np.stack([start, start + extent - 1]) * blocks // length
        for start, extent, length in (
            (frames.y, frames.height, shapes[:, 0]),
            (frames.x, frames.width, shapes[:, 1]),
        )
    ]
    whole = (part[0][0] == part[0][1]) & (part[1][0] == part[1][1]) & (frames.noise.blank_fraction == 0)
    group = (frames.map_codes.astype(int) * blocks + part[0][0]) * blocks + part[1][0]
    if whole.sum() < _FEW or np.unique(group[whole]).size < FOLDS:
        raise FrameError(
            f"{whole.sum()} of {len(frames)} frames lie within one of {blocks} x {blocks} parts of their map "
            f"and have no blanks; {_FEW} in {FOLDS} parts are needed: cut smaller frames or closer ones."
        )
    table = frame_features(frames, progress).drop(columns=list(CONTEXT))
    return table.loc[whole].reset_index(drop=True), group[whole]
