"""Where annotators agree and where they do not: measures, a table of each, and one label out of many.

All functions take the table of a log, `LabelLog.table`: one row a frame and annotator. A person who gave a frame a
rating, a tag or a note has looked at it, so that a tag which is not there was not put on.
"""

from itertools import combinations

import numpy as np
import pandas as pd

from radiowidgets.errors import ParameterError, check_one_of

RULES = ("majority", "unanimous", "expert", "median")
WEIGHTS = ("nominal", "linear", "quadratic")
LEVELS = ("nominal", "ordinal", "interval")


def cohen_kappa(one: np.ndarray, other: np.ndarray, weights: str = "nominal") -> float:
    """Return Cohen's kappa (1960; weighted 1968) of two annotators' answers to the same frames.

    ``1 - sum(w O) / sum(w E)`` over the table O of pairs of answers, E that of their margins, w = 0 on the diagonal and
    1 beside it ('nominal'), ``|i - j|`` ('linear') or ``(i - j)^2`` ('quadratic') by the place among the answers.

    Parameters
    ----------
    one, other : (n,) array
        Answers; frames that either did not answer (NaN, None) are left out.

    Returns
    -------
    float
        1 = always the same, 0 = as by chance; NaN where both always gave one and the same answer, or never answered.
    """
    return kappa_of_counts(_pairs(one, other), weights)


def kappa_of_counts(table: np.ndarray, weights: str = "nominal") -> float:
    """Return `cohen_kappa` of an (answers, answers) array that counts how often each pair was given."""
    check_one_of("weights", weights, WEIGHTS)
    count = table.sum()
    if not count:
        return float("nan")
    place = np.arange(len(table))
    apart = np.abs(place[:, None] - place)
    apart = {"nominal": (apart > 0).astype(float), "linear": apart, "quadratic": apart**2}[weights]
    chance = np.outer(table.sum(axis=1), table.sum(axis=0)) / count
    expected = (apart * chance).sum()
    return float(1 - (apart * table).sum() / expected) if expected > 0 else float("nan")


def _pairs(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return how often each pair of answers was given, answers in their order."""
    one, other = np.asarray(one), np.asarray(other)
    if len(one) != len(other):
        raise ParameterError(f"there are {len(one)} and {len(other)} answers; give two of the same frames.")
    both = ~(pd.isna(one) | pd.isna(other))
    names, codes = np.unique(np.concatenate([one[both], other[both]]), return_inverse=True)
    table = np.zeros((len(names), len(names)))
    half = int(both.sum())
    np.add.at(table, (codes[:half], codes[half:]), 1)
    return table


def krippendorff_alpha(answers: np.ndarray, level: str = "nominal") -> float:
    """Return Krippendorff's alpha (2011) of any number of annotators, some of whose answers may be missing.

    ``1 - D_observed / D_expected`` from the coincidences of answers within frames.

    Parameters
    ----------
    answers : (annotators, n) array of float
        NaN = no answer; classes as numbers.
    level : {'nominal', 'ordinal', 'interval'}
        What a difference between two answers means.

    Returns
    -------
    float
        NaN where nothing can be compared: no frame with two answers, or all answers alike.
    """
    check_one_of("level", level, LEVELS)
    answers = np.asarray(answers, dtype=float)
    if answers.ndim != 2:
        raise ParameterError(f"answers have shape {answers.shape}; give (annotators, frames).")
    values = np.unique(answers[np.isfinite(answers)])
    counts = np.stack([(answers == value).sum(axis=0) for value in values], axis=1) if len(values) else None
    if counts is None or not (several := counts.sum(axis=1) >= 2).any():
        return float("nan")
    counts = counts[several].astype(float)
    given = counts.sum(axis=1)
    together = (counts / (given - 1)[:, None]).T @ counts - np.diag(
        (counts / (given - 1)[:, None]).sum(axis=0)
    )
    total = together.sum(axis=0)
    apart = _apart(values, total, level)
    expected = (np.outer(total, total) * apart).sum()
    return (
        float(1 - (total.sum() - 1) * (together * apart).sum() / expected) if expected > 0 else float("nan")
    )


def _apart(values: np.ndarray, total: np.ndarray, level: str) -> np.ndarray:
    """Return the squared difference between any two values."""
    if level == "nominal":
        return (values[:, None] != values).astype(float)
    if level == "interval":
        return (values[:, None] - values) ** 2
    reach = np.cumsum(total) - total / 2  # the middle of each value's ranks
    return (reach[:, None] - reach) ** 2


def answers(table: pd.DataFrame, about: str = "interest") -> pd.DataFrame:
    """Return one row an annotator and one column a frame: a rating, or whether a tag is on; NaN = not looked at.

    Parameters
    ----------
    table : DataFrame
        `LabelLog.table`.
    about : str
        'interest', or a tag.
    """
    _check(table)
    said = table.pivot(
        index="annotator", columns="frame_id", values="interest" if about == "interest" else "tags"
    )
    if about == "interest":
        return said.astype(float)
    return said.map(lambda tags: float(about in tags) if isinstance(tags, list) else np.nan).astype(float)


def agreement(table: pd.DataFrame) -> pd.DataFrame:
    """Return how far annotators agree, one row for the interest and one for each tag.

    Returns
    -------
    DataFrame
        Indexed by 'interest' or tag: frames (with two answers or more), same (share of pairs of answers that are the
        same), kappa (Cohen's, the mean over pairs of annotators; quadratic weights for the interest), alpha
        (Krippendorff's, ordinal for the interest).
    """
    _check(table)
    tags = sorted({tag for some in table["tags"] for tag in some})
    rows = {}
    for about in ["interest", *tags]:
        said = answers(table, about).to_numpy()
        weights, level = ("quadratic", "ordinal") if about == "interest" else ("nominal", "nominal")
        pairs = [(one, other) for one, other in combinations(said, 2)]
        both = [np.isfinite(one) & np.isfinite(other) for one, other in pairs]
        same = sum(int((one[ok] == other[ok]).sum()) for (one, other), ok in zip(pairs, both, strict=True))
        compared = sum(int(ok.sum()) for ok in both)
        kappas = [cohen_kappa(one, other, weights) for one, other in pairs]
        known = [kappa for kappa in kappas if np.isfinite(kappa)]
        rows[about] = {
            "frames": int((np.isfinite(said).sum(axis=0) >= 2).sum()),
            "same": same / compared if compared else np.nan,
            "kappa": float(np.mean(known)) if known else np.nan,
            "alpha": krippendorff_alpha(said, level),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def annotators(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row an annotator: how much they labelled, how high they rate, and how far others agree with them.

    Returns
    -------
    DataFrame
        Indexed by annotator: frames, rated, mean_interest, tags (a frame), shared (frames that others rated too),
        difference (mean of own rating less the others' mean), kappa (quadratic, the mean over the others).
    """
    _check(table)
    ratings = answers(table)
    rows = {}
    for who, own in ratings.iterrows():
        others = ratings.drop(index=who)
        mean = others.mean(axis=0)
        shared = own.notna() & mean.notna()
        kappas = [cohen_kappa(own.to_numpy(), other, "quadratic") for other in others.to_numpy()]
        known = [kappa for kappa in kappas if np.isfinite(kappa)]
        mine = table[table["annotator"] == who]
        rows[who] = {
            "frames": len(mine),
            "rated": int(own.notna().sum()),
            "mean_interest": float(own.mean()),
            "tags": float(mine["tags"].map(len).mean()),
            "shared": int(shared.sum()),
            "difference": float((own - mean)[shared].mean()) if shared.any() else np.nan,
            "kappa": float(np.mean(known)) if known else np.nan,
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("annotator")


def disputes(table: pd.DataFrame, least: float = 2.0) -> pd.DataFrame:
    """Return the frames that annotators see differently, the worst first.

    Parameters
    ----------
    least : float
        Smallest difference between two ratings that counts as a dispute; a tag that some put on and others did not is
        one as well.

    Returns
    -------
    DataFrame
        Indexed by frame_id: annotators (number), lowest, highest (interest), apart (their difference), tags (those in
        dispute), settled (tags that all put on).
    """
    _check(table)
    several = table[table.groupby("frame_id")["annotator"].transform("size") > 1]
    rows = {}
    for frame_id, said in several.groupby("frame_id"):
        sets = [set(tags) for tags in said["tags"]]
        shared = set.intersection(*sets)
        rated = said["interest"].dropna().astype(float)
        low, high = (rated.min(), rated.max()) if len(rated) else (np.nan, np.nan)
        rows[frame_id] = {
            "annotators": len(said),
            "lowest": low,
            "highest": high,
            "apart": high - low if len(rated) > 1 else 0.0,
            "tags": sorted(set.union(*sets) - shared),
            "settled": sorted(shared),
        }
    columns = ["annotators", "lowest", "highest", "apart", "tags", "settled"]
    found = pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("frame_id")
    found = found[(found["apart"] >= least) | (found["tags"].map(len) > 0)]
    worst = np.lexsort((-found["tags"].map(len).to_numpy(int), -found["apart"].to_numpy(float)))
    return found.iloc[worst]


def consensus(table: pd.DataFrame, rule: str = "majority", *, expert: str | None = None) -> pd.DataFrame:
    """Return one label a frame out of what several people said.

    Parameters
    ----------
    table : DataFrame
        `LabelLog.table`.
    rule : {'majority', 'unanimous', 'median', 'expert'}
        What more than half of the raters gave; what all gave; the median rating (and tags by majority); or what the
        expert said, and the majority where the expert did not label. Whoever labelled a frame votes on all its tags.
    expert : str, optional
        Annotator of the rule 'expert'.

    Returns
    -------
    DataFrame
        Indexed by frame_id: interest (NaN where the rule gives none), tags (list), annotators (number), settled
        (whether the rule gave an interest, or none was rated, and no tag is held by some but too few).
    """
    check_one_of("rule", rule, RULES)
    _check(table)
    if rule == "expert":
        known = sorted(table["annotator"].unique())
        if expert not in known:
            raise ParameterError(
                f"expert is {expert!r}; give one of the annotators: {', '.join(known) or 'none yet'}."
            )
        by_all = consensus(table, "majority")
        theirs = consensus(table[table["annotator"] == expert], "majority")
        mixed = pd.concat([theirs, by_all.drop(index=theirs.index)]).sort_index()
        return mixed.assign(annotators=by_all["annotators"].sort_index())
    rows = {frame_id: _settle(said, rule) for frame_id, said in table.groupby("frame_id")}
    columns = ["interest", "tags", "annotators", "settled"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("frame_id")


def _settle(said: pd.DataFrame, rule: str) -> dict[str, object]:
    voters = len(said)
    votes = said["tags"].explode().dropna().value_counts()
    needed = voters if rule == "unanimous" else voters // 2 + 1
    rated = said["interest"].dropna().astype(float)
    interest = np.nan
    if len(rated):
        counts = rated.value_counts()
        enough = len(rated) if rule == "unanimous" else len(rated) // 2 + 1
        if rule == "median":
            interest = float(rated.median())
        elif counts.iloc[0] >= enough:
            interest = float(counts.index[0])
    halved = votes[(votes < needed) & (votes > voters - needed)]  # neither on nor off by the rule
    settled = (np.isfinite(interest) or not len(rated)) and not len(halved)
    return {
        "interest": interest,
        "tags": sorted(votes.index[votes >= needed]),
        "annotators": voters,
        "settled": bool(settled),
    }


def _check(table: pd.DataFrame) -> None:
    missing = [name for name in ("frame_id", "annotator", "interest", "tags") if name not in table]
    if missing:
        raise ParameterError(
            f"the table has no column {missing[0]!r}; give the table of a log, run.labels.table()."
        )
