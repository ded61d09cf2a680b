"""The search for peculiar frames, measured: which features to look at, which forest, and where to cut the scores.

After Riggi et al. (2024, peculiar-frames), sections 5.1 and 5.2: tags are joined into groups, LightGBM says which
features tell interesting frames from ordinary ones, an Isolation Forest is scanned over them, and each score is judged
by recall, precision and contamination as the threshold moves (Figure 12, Table 4). Arrays and tables go in and come
out, of any embedding, features or ranker.
"""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from radiowidgets.errors import ParameterError
from radiowidgets.ranking.isolation import TREES, fit_forest

INTERESTING = ("EXTENDED", "DIFFUSE", "DIFFUSE-LARGE")
"""Tags of which one makes a frame interesting (section 5.2)."""

COMPLEX = (*INTERESTING, "RADIO-GALAXY")
"""Tags of which one makes a frame that is not PECULIAR complex (Figure 12)."""

GROUPS = ("peculiar", "complex", "ordinary", "compact", "unclassified")
"""Groups of frames; ordinary ones without any tag but COMPACT are named apart, and count as ordinary."""

TOPS = (2, 5, 10, 15)
CONTAMINATIONS: tuple[float | str, ...] = ("auto", 0.001, 0.01, 0.1)
MAX_SAMPLES: tuple[float | str, ...] = (
    "auto", 0.001, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0,
)  # fmt: skip
"""Values that the paper scanned."""

BEST_SAMPLES = 0.02  # what it chose
_ROUNDS, _PATIENCE = 500, 25
_AUTO = 256  # frames a tree sees, and
_AUTO_CUT = 0.5  # the score from which a frame is an outlier, where scikit-learn chooses


def is_interesting(tags: pd.DataFrame) -> np.ndarray:
    """Tell which frames carry one of `INTERESTING`.

    Parameters
    ----------
    tags : DataFrame
        One bool column a tag.

    Returns
    -------
    (n,) array of bool
    """
    return _any_of(tags, INTERESTING)


def group_frames(tags: pd.DataFrame) -> pd.Series:
    """Join the tags of frames into the groups of the paper's Figure 12.

    Parameters
    ----------
    tags : DataFrame
        One bool column a tag, as `Truth.frame_tags` gives; a frame without any is unclassified.

    Returns
    -------
    Series
        One of `GROUPS` for each row.

    Raises
    ------
    ParameterError
        If there is no column PECULIAR.
    """
    if "PECULIAR" not in tags.columns:
        columns = ", ".join(map(str, tags.columns[:12]))
        raise ParameterError(f"tags have no column PECULIAR; they have {columns}.")
    others = [name for name in tags.columns if name != "COMPACT"]
    told = tags.astype(bool)
    kinds = {
        "peculiar": told["PECULIAR"].to_numpy(),
        "complex": _any_of(tags, COMPLEX),
        "ordinary": told[others].any(axis=1).to_numpy(),
        "compact": _any_of(tags, ("COMPACT",)),
    }
    found = np.select(list(kinds.values()), list(kinds), "unclassified")
    return pd.Series(pd.Categorical(found, GROUPS), index=tags.index, name="group")


def feature_importances(
    values: pd.DataFrame,
    interesting: np.ndarray,
    *,
    blocks: np.ndarray | None = None,
    splits: int = 10,
    seed: int = 0,
) -> pd.DataFrame:
    """Measure how much each feature helps LightGBM to tell interesting frames from ordinary ones (Figure A.2).

    Shallow trees as in section 5.2 (max_depth 2, num_leaves 32, min_data_in_leaf 20, else LightGBM's own values), with
    early stopping. The frames are divided anew for each split: three fifths to learn from, one to stop by, one to
    measure the F1 score on.

    Parameters
    ----------
    values : DataFrame
        Features or axes of an embedding, one column each, of n frames. Take another sky than the one to be searched.
    interesting : (n,) array of bool
    blocks : (n,) array, optional
        Frames of one block stay together, so that those which overlap never stand on both sides: maps, or parts of one.
    splits : int
        Divisions that are averaged.
    seed : int

    Returns
    -------
    DataFrame
        Indexed by feature, the most important first: ``gain``, its share of what all features gain, ``scatter``, the
        standard deviation of it over the splits, and ``rank``, its mean place. ``attrs`` hold ``f1``, ``f1_scatter``.

    Raises
    ------
    ParameterError
        If the shapes do not fit, or there are too few frames or blocks of both kinds.
    MissingExtraError
        If LightGBM is not installed.
    """
    from sklearn.metrics import f1_score

    interesting = np.asarray(interesting, dtype=bool)
    blocks = np.arange(len(values)) if blocks is None else np.unique(blocks, return_inverse=True)[1]
    if len(interesting) != len(values) or len(blocks) != len(values):
        raise ParameterError(
            f"values have {len(values)} rows; there are {len(interesting)} answers and {len(blocks)} blocks."
        )
    if splits < 1:
        raise ParameterError(f"splits is {splits!r}; give 1 or more, usually 10.")
    x = values.to_numpy(np.float64)
    gains, scores = [], []
    for number in range(splits):
        learn, stop, ask = _three_parts(blocks, interesting, np.random.default_rng([seed, number]))
        model = _boosted(x[learn], interesting[learn], x[stop], interesting[stop], seed + number)
        gain = model.feature_importance("gain")
        gains.append(gain / max(gain.sum(), 1e-300))
        scores.append(f1_score(interesting[ask], model.predict(x[ask]) > 0.5))
    every = np.array(gains)
    places = np.argsort(np.argsort(-every, axis=1, kind="stable"), axis=1) + 1
    table = pd.DataFrame(
        {"gain": every.mean(axis=0), "scatter": every.std(axis=0), "rank": places.mean(axis=0)},
        index=pd.Index(values.columns, name="feature"),
    ).sort_values("gain", ascending=False, kind="stable")
    table.attrs.update(f1=float(np.mean(scores)), f1_scatter=float(np.std(scores)))
    return table


def forest_scores(
    values: pd.DataFrame | np.ndarray,
    *,
    max_samples: float | int | str = BEST_SAMPLES,
    trees: int = TREES,
    seed: int = 0,
) -> np.ndarray:
    """Return the scores of an Isolation Forest, (n,) in [0, 1], by default with what the paper found best.

    Parameters
    ----------
    values : (n, d) table or array
    max_samples : float, int or 'auto'
        Share (a float) or number of frames that each tree sees; 'auto' is 256. At least two.
    trees : int
    seed : int
    """
    x = np.asarray(values, dtype=np.float64)
    if max_samples == "auto":
        count = _AUTO
    else:
        count = int(max_samples * len(x)) if isinstance(max_samples, float) else int(max_samples)
    return -fit_forest(x, trees, max(2, min(count, len(x))), seed).score_samples(x)


def scan_forest(
    values: pd.DataFrame,
    groups: Sequence[str] | pd.Series,
    *,
    order: Sequence[str] | None = None,
    tops: Sequence[int] = TOPS,
    max_samples: Sequence[float | str] = MAX_SAMPLES,
    contaminations: Sequence[float | str] = CONTAMINATIONS,
    trees: int = TREES,
    seeds: Sequence[int] = (0,),
) -> pd.DataFrame:
    """Scan the Isolation Forest as in section 5.2: max_samples, contamination, and how many features.

    The contamination moves only the cut: a forest's scores do not know of it. It is therefore fitted once for each
    `max_samples`, and `recall` and `precision` say what that cut would select, while `crossing` and `ordinary`, which
    judge the scores, are the same in all rows that differ by the contamination alone.

    Parameters
    ----------
    values : DataFrame
        Of n frames.
    groups : sequence of str
        See `group_frames`.
    order : sequence of str, optional
        Columns, the most important first. Default: as they stand.
    tops, max_samples, contaminations
        What is scanned.
    trees : int
    seeds : sequence of int
        Forests whose figures are averaged.

    Returns
    -------
    DataFrame
        One row a combination: top, max_samples, contamination, cut (score), selected (frames), recall and precision
        of peculiar frames, crossing (recall = precision) and ordinary (the share of ordinary frames there). All shares
        are from 0 to 1.
    """
    order = list(values.columns) if order is None else list(order)
    rows = []
    for top, samples in product(tops, max_samples):
        parts = [
            _scanned(values[order[:top]], groups, samples, contaminations, trees, seed) for seed in seeds
        ]
        mean = np.mean(parts, axis=0)
        for contamination, row in zip(contaminations, mean, strict=True):
            rows.append((top, samples, contamination, *row))
    return pd.DataFrame(rows, columns=["top", "max_samples", "contamination", *_SCANNED])


_SCANNED = ("cut", "selected", "recall", "precision", "crossing", "ordinary")


def _scanned(
    values: pd.DataFrame,
    groups: Sequence[str] | pd.Series,
    samples: float | str,
    contaminations: Sequence[float | str],
    trees: int,
    seed: int,
) -> np.ndarray:
    """Return the figures of one forest, a row for each contamination."""
    scores = forest_scores(values, max_samples=samples, trees=trees, seed=seed)
    curves = threshold_curves(scores, groups)
    best = crossing(curves)
    rows = []
    for contamination in contaminations:
        cut = _AUTO_CUT if contamination == "auto" else np.quantile(scores, 1 - float(contamination))
        at = curves[curves["threshold"] > cut]
        last = at.iloc[-1] if len(at) else pd.Series(0.0, curves.columns)
        at_best = min(best.recall, best.precision)  # where ties let them not meet
        rows.append([cut, last.selected, last.recall, last.precision, at_best, best.ordinary])
    return np.array(rows, dtype=float)


def threshold_curves(scores: np.ndarray, groups: Sequence[str] | pd.Series | np.ndarray) -> pd.DataFrame:
    """Return recall, precision and contamination as functions of the threshold (Figure 12, right).

    Parameters
    ----------
    scores : (n,) array
        Larger = more anomalous; a frame is selected from the threshold on.
    groups : sequence of n str
        See `group_frames`.

    Returns
    -------
    DataFrame
        One row a threshold, from the highest: ``threshold``, ``selected`` (frames), ``recall`` (share of the peculiar
        frames that is selected), and of the selected frames that are classified the shares that are peculiar
        (``precision``), peculiar or complex (``precision_complex``), ``complex`` and ``ordinary`` (compact ones among
        them); ``unclassified``, the share of all selected ones that nobody tagged.

    Raises
    ------
    ParameterError
        If the lengths differ, a score is not finite, or no frame is peculiar.
    """
    scores = np.asarray(scores, dtype=float)
    kinds = np.asarray(groups, dtype=object)
    if scores.ndim != 1 or kinds.shape != scores.shape:
        raise ParameterError(f"There are {scores.shape} scores and {kinds.shape} groups; give n of both.")
    if not np.isfinite(scores).all():
        raise ParameterError(f"{int((~np.isfinite(scores)).sum())} scores are not finite; leave those out.")
    if not (kinds == "peculiar").any():
        raise ParameterError(
            "No frame is peculiar, so there is nothing to recall; tag some, or take another sky."
        )
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.diff(scores[order]) != 0, True)  # of frames with one score
    count = {name: np.cumsum(kinds[order] == name)[last] for name in GROUPS}
    selected = np.arange(1, len(scores) + 1)[last]
    classified = selected - count["unclassified"]
    whole = np.maximum(classified, 1)
    return pd.DataFrame(
        {
            "threshold": scores[order][last],
            "selected": selected,
            "recall": count["peculiar"] / count["peculiar"][-1],
            "precision": count["peculiar"] / whole,
            "precision_complex": (count["peculiar"] + count["complex"]) / whole,
            "complex": count["complex"] / whole,
            "ordinary": (count["ordinary"] + count["compact"]) / whole,
            "unclassified": count["unclassified"] / selected,
        }
    )


def crossing(curves: pd.DataFrame) -> pd.Series:
    """Return the row of `threshold_curves` where recall and precision cross.

    They do where as many classified frames are selected as are peculiar; where equal scores leave none such, the row
    nearest to it is given. (Both are 0 too while the first frames selected are not peculiar, which is no crossing.)
    """
    classified = curves["selected"] * (1 - curves["unclassified"])
    peculiar = curves["precision"].iloc[-1] * classified.iloc[-1]
    return curves.loc[(classified - peculiar).abs().idxmin()]


def table_4(scores: Mapping[str, np.ndarray], groups: Sequence[str] | pd.Series | np.ndarray) -> pd.DataFrame:
    """Return Table 4 of the paper for any number of scores of the same frames.

    Parameters
    ----------
    scores : mapping of a name to (n,) scores
        As 'top5', or the name of a ranker.
    groups : sequence of n str
        See `group_frames`.

    Returns
    -------
    DataFrame
        Indexed by name (``Features``); at the threshold where recall and precision cross: ``Thr.``, and in percent
        ``R``, ``P``, ``P_pec+complex``, ``C_complex`` and ``C_ordinary``.
    """
    rows = {}
    for name, values in scores.items():
        at = crossing(threshold_curves(values, groups))
        shares = at[["recall", "precision", "precision_complex", "complex", "ordinary"]]
        rows[name] = [at["threshold"], *(100 * shares)]
    columns = ["Thr.", "R (%)", "P (%)", "P_pec+complex (%)", "C_complex (%)", "C_ordinary (%)"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("Features")


def score_histograms(
    scores: np.ndarray, groups: Sequence[str] | pd.Series | np.ndarray, bins: int | np.ndarray = 50
) -> pd.DataFrame:
    """Count the frames of each group by score (Figure 12, left).

    Parameters
    ----------
    scores : (n,) array
    groups : sequence of n str
    bins : int or array
        Number of bins, or their edges.

    Returns
    -------
    DataFrame
        Indexed by the middle of each bin (``score``); one column a group, compact frames also among the ordinary ones,
        and ``all``. ``attrs["edges"]`` are the edges.
    """
    scores, kinds = np.asarray(scores, dtype=float), np.asarray(groups, dtype=object)
    edges = np.histogram_bin_edges(scores, bins)
    counts = {name: np.histogram(scores[kinds == name], edges)[0] for name in GROUPS}
    counts["ordinary"] = counts["ordinary"] + counts["compact"]
    counts["all"] = np.histogram(scores, edges)[0]
    middle = pd.Index((edges[1:] + edges[:-1]) / 2, name="score")
    table = pd.DataFrame(counts, index=middle)
    table.attrs["edges"] = edges.tolist()
    return table


def _any_of(tags: pd.DataFrame, wanted: Sequence[str]) -> np.ndarray:
    return tags[[name for name in wanted if name in tags.columns]].astype(bool).any(axis=1).to_numpy()


def _three_parts(
    blocks: np.ndarray, interesting: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Divide frames by their blocks into three fifths, one, and one; each with interesting and other ones."""
    count = int(blocks.max(initial=-1)) + 1
    for _ in range(20):
        fifth = rng.permutation(count) * 5 // max(count, 1)
        part = fifth[blocks]
        parts = part < 3, part == 3, part == 4
        if all(len(np.unique(interesting[chosen])) == 2 for chosen in parts):
            return parts
    raise ParameterError(
        f"{len(blocks)} frames in {count} blocks, {int(interesting.sum())} of them interesting, cannot be divided into "
        "three parts that each hold both kinds; give more frames, or smaller blocks."
    )


def _boosted(x: np.ndarray, y: np.ndarray, stop_x: np.ndarray, stop_y: np.ndarray, seed: int) -> Any:
    """Return a LightGBM booster of (x, y) that stops growing where (stop_x, stop_y) gain nothing more."""
    from radiowidgets.models.boosting import import_lightgbm

    lightgbm = import_lightgbm()
    learn = lightgbm.Dataset(x, y.astype(int))
    parameters = {
        "objective": "binary",
        "max_depth": 2,
        "num_leaves": 32,
        "min_data_in_leaf": 20,
        "seed": seed,
        "num_threads": 1,
        "verbosity": -1,
    }
    return lightgbm.train(
        parameters,
        learn,
        _ROUNDS,
        valid_sets=[lightgbm.Dataset(stop_x, stop_y.astype(int), reference=learn)],
        callbacks=[lightgbm.early_stopping(_PATIENCE, verbose=False)],
    )
