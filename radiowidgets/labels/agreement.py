"""Where annotators agree and where they do not: measures, a table of each, and one label out of many.

All functions take the table of a log, `LabelLog.table`: one row a frame and annotator. A person who gave a frame a
rating, a tag or a note has looked at it, so that a tag which is not there was not put on; also one who took everything
off again, but not one who undid it. Whoever tagged a frame UNSURE abstains from the tags that they did not put on.
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from radiowidgets.errors import ParameterError, check_one_of

UNSURE = "UNSURE"  # the tag of a frame about which its reviewer could not decide
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
    """Return one row an annotator and one column a frame: a rating, or whether a tag is on; NaN = no answer.

    Parameters
    ----------
    table : DataFrame
        `LabelLog.table`.
    about : str
        'interest', or a tag.
    """
    said = _Said(table)
    return pd.DataFrame(said.about(about), index=said.who, columns=said.frames)


class _Said:
    """The answers of a table as arrays, (annotators, frames)."""

    def __init__(self, table: pd.DataFrame) -> None:
        missing = [name for name in ("frame_id", "annotator", "interest", "tags") if name not in table]
        if missing:
            raise ParameterError(
                f"the table has no column {missing[0]!r}; give the table of a log, run.labels.table()."
            )
        twice = table.duplicated(["frame_id", "annotator"])
        if twice.any():
            frame_id, who = table.loc[twice, ["frame_id", "annotator"]].iloc[0]
            raise ParameterError(f"{who!r} is there twice on frame {frame_id!r}; give the table of one log.")
        self._row, self.who = pd.factorize(table["annotator"].astype(object), sort=True)
        self._column, self.frames = pd.factorize(table["frame_id"].astype(object), sort=True)
        self._interest = table["interest"].astype("Float64").to_numpy(float, na_value=np.nan)
        tags = table["tags"].reset_index(drop=True).explode().dropna()
        self._on = {str(name): rows.index.to_numpy() for name, rows in tags.groupby(tags)}
        self.tags = [name for name in self._on if name != UNSURE]

    def about(self, name: str) -> np.ndarray:
        """Return the ratings, or whether a tag is on; NaN = no answer."""
        if name == "interest":
            values = self._interest
        else:
            values = np.zeros(len(self._row))
            values[self._on.get(UNSURE, [])] = np.nan if name != UNSURE else 0.0
            values[self._on.get(name, [])] = 1.0
        said = np.full((len(self.who), len(self.frames)), np.nan)
        said[self._row, self._column] = values
        return said


def agreement(table: pd.DataFrame) -> pd.DataFrame:
    """Return how far annotators agree, one row for the interest and one for each tag.

    Returns
    -------
    DataFrame
        Indexed by 'interest' or tag: frames (with two answers or more), same (share of pairs of answers that are the
        same), kappa (Cohen's, the mean over pairs of annotators; quadratic weights for the interest), alpha
        (Krippendorff's, ordinal for the interest).
    """
    known = _Said(table)
    rows = {}
    for about in ["interest", *known.tags]:
        said = known.about(about)
        weights, level = ("quadratic", "ordinal") if about == "interest" else ("nominal", "nominal")
        pairs = [(one, other) for one, other in combinations(said, 2)]
        both = [np.isfinite(one) & np.isfinite(other) for one, other in pairs]
        same = sum(int((one[ok] == other[ok]).sum()) for (one, other), ok in zip(pairs, both, strict=True))
        compared = sum(int(ok.sum()) for ok in both)
        rows[about] = {
            "frames": int((np.isfinite(said).sum(axis=0) >= 2).sum()),
            "same": same / compared if compared else np.nan,
            "kappa": _mean([cohen_kappa(one, other, weights) for one, other in pairs]),
            "alpha": krippendorff_alpha(said, level),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def annotators(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row an annotator: how much they labelled, how high they rate, and how far others agree with them.

    Returns
    -------
    DataFrame
        Indexed by annotator: frames, rated, mean_interest, tags (a frame), unsure (frames), shared (frames that others
        labelled too), difference (mean of own rating less the others' mean), kappa (of ratings, quadratic, the mean
        over the others), tag_kappa (the mean over the others and the tags).
    """
    known = _Said(table)
    ratings = known.about("interest")
    by_tag = [known.about(tag) for tag in known.tags]
    labelled = np.isfinite(known.about(UNSURE))
    rows = {}
    for k, who in enumerate(known.who):
        own, others = ratings[k], np.delete(ratings, k, axis=0)
        count = np.isfinite(others).sum(axis=0)
        both = np.isfinite(own) & (count > 0)
        mean = np.nansum(others, axis=0) / np.maximum(count, 1)
        rows[who] = {
            "frames": int(labelled[k].sum()),
            "rated": int(np.isfinite(own).sum()),
            "mean_interest": _mean(own),
            "tags": float(sum(np.nansum(said[k]) for said in by_tag) / labelled[k].sum()),
            "unsure": int(np.nansum(known.about(UNSURE)[k])),
            "shared": int((labelled[k] & (labelled.sum(axis=0) > 1)).sum()),
            "difference": _mean((own - mean)[both]),
            "kappa": _mean([cohen_kappa(own, other, "quadratic") for other in others]),
            "tag_kappa": _mean(
                [cohen_kappa(said[k], other) for said in by_tag for other in np.delete(said, k, axis=0)]
            ),
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
    known = _Said(table)
    ratings = known.about("interest")
    rated = np.isfinite(ratings)
    low = np.where(rated, ratings, np.inf).min(axis=0, initial=np.inf)
    high = np.where(rated, ratings, -np.inf).max(axis=0, initial=-np.inf)
    low, high = np.where(rated.any(axis=0), (low, high), np.nan)
    divided, settled = {}, {}
    for tag in known.tags:
        said = known.about(tag)
        on, off = (said == 1).any(axis=0), (said == 0).any(axis=0)
        divided[tag], settled[tag] = on & off, on & ~off
    found = pd.DataFrame(
        {
            "annotators": np.isfinite(known.about(UNSURE)).sum(axis=0),
            "lowest": low,
            "highest": high,
            "apart": np.where(rated.sum(axis=0) > 1, high - low, 0.0),
            "tags": _names(divided, len(known.frames)),
            "settled": _names(settled, len(known.frames)),
        }
    ).set_axis(pd.Index(known.frames, name="frame_id"))
    count = found["tags"].map(len).to_numpy(int)
    apart = found["apart"].to_numpy(float)
    worst = np.lexsort((-count, -apart))
    return found.iloc[worst[((apart >= least) | (count > 0))[worst]]]


def consensus(table: pd.DataFrame, rule: str = "majority", *, expert: str | None = None) -> pd.DataFrame:
    """Return one label a frame out of what several people said.

    Parameters
    ----------
    table : DataFrame
        `LabelLog.table`.
    rule : {'majority', 'unanimous', 'median', 'expert'}
        What more than half of the raters gave; what all gave; the median rating (and tags by majority); or what the
        expert said, and the majority where the expert said nothing: of the interest where the expert did not rate, of
        a tag where the expert did not label or abstains. Whoever labelled a frame votes on all its tags.
    expert : str, optional
        Annotator of the rule 'expert'.

    Returns
    -------
    DataFrame
        Indexed by frame_id: interest (NaN where the rule gives none), tags (list), annotators (number), settled
        (whether the rule gave an interest, or none was rated, and no tag is held by some but too few).
    """
    check_one_of("rule", rule, RULES)
    known = _Said(table)
    if rule == "expert" and expert not in known.who:
        names = ", ".join(known.who) or "none yet"
        raise ParameterError(f"expert is {expert!r}; give one of the annotators: {names}.")
    wins = list(known.who).index(expert) if rule == "expert" else None
    interest, open_ = _consensus_interest(known.about("interest"), rule, wins)
    put = {}
    for tag in known.tags:
        said = known.about(tag)
        on, voters = (said == 1).sum(axis=0), np.isfinite(said).sum(axis=0)
        needed = voters if rule == "unanimous" else voters // 2 + 1
        put[tag] = (on >= needed) & (voters > 0)
        halved = (on < needed) & (on > voters - needed)  # neither on nor off by the rule
        if wins is not None:
            speaks = np.isfinite(said[wins])
            put[tag] = np.where(speaks, said[wins] == 1, put[tag])
            halved &= ~speaks
        open_ |= halved
    return pd.DataFrame(
        {
            "interest": interest,
            "tags": _names(put, len(known.frames)),
            "annotators": np.isfinite(known.about(UNSURE)).sum(axis=0),
            "settled": ~open_,
        }
    ).set_axis(pd.Index(known.frames, name="frame_id"))


def _consensus_interest(ratings: np.ndarray, rule: str, wins: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the rating of each frame by a rule, NaN where it gives none, and whether some rated it in vain."""
    rated = np.isfinite(ratings)
    count = rated.sum(axis=0)
    if rule == "median":
        found = np.full(len(count), np.nan)
        found[count > 0] = np.nanmedian(ratings[:, count > 0], axis=0)
    else:
        values = np.unique(ratings[rated])
        votes = np.stack([np.zeros_like(count), *((ratings == value).sum(axis=0) for value in values)])
        most = votes.argmax(axis=0)
        enough = votes.max(axis=0) >= (count if rule == "unanimous" else count // 2 + 1)
        found = np.where(enough & (count > 0), np.r_[np.nan, values][most], np.nan)
    if wins is not None:
        found = np.where(rated[wins], ratings[wins], found)
    return found, (count > 0) & ~np.isfinite(found)


def _names(masks: dict[str, np.ndarray], count: int) -> pd.Series:
    """Return for each frame the sorted names of those that hold for it."""
    names: list[list[str]] = [[] for _ in range(count)]
    for name in sorted(masks):
        for frame in np.flatnonzero(masks[name]):
            names[frame].append(name)
    return pd.Series(names, dtype=object)


def _mean(values: Sequence[float] | np.ndarray) -> float:
    """Return the mean of the finite ones, NaN where there are none."""
    finite = [value for value in values if np.isfinite(value)]
    return float(np.mean(finite)) if finite else float("nan")
