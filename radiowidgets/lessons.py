"""Checks of the exercises in the notebooks: each says what is right, or what usually leads to an answer like this one.

The right answer is worked out from what the lesson has made, so that a check holds for any seed. An exercise that was
not answered yet (three dots in place of the answer) is no error: a notebook runs to its end.

Examples
--------
>>> from radiowidgets import lessons
>>> lessons.check("04.1", ...)
Exercise 04.1: put your answer in place of the three dots.
>>> lessons.check("04.1", 5.545)
Exercise 04.1: not yet. Each frame gives two views, so that 2 n are in the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from radiowidgets.errors import check_one_of

if TYPE_CHECKING:
    import pandas as pd

CLOSE = 0.01  # of the value: answers may be rounded


@dataclass(frozen=True)
class Verdict:
    """What a check says; its text is shown by a notebook.

    Attributes
    ----------
    right : bool or None
        None where there is no answer yet.
    text : str
    """

    right: bool | None
    text: str

    def __repr__(self) -> str:
        return self.text

    def __bool__(self) -> bool:
        return self.right is True


class _WrongError(Exception):
    """Ends a check with what is wrong."""


class _OpenError(Exception):
    """Ends a check where nothing was answered."""


# Takes the answer and what the lesson passes on; returns a remark for those who are right, else raises.
_EXERCISES: dict[str, Callable[..., str]] = {}


def check(exercise: str, answer: Any, *given: Any) -> Verdict:
    """Check the answer to an exercise of a notebook.

    Parameters
    ----------
    exercise : str
        Number of the notebook and of the exercise, such as '01.2'.
    answer
        What the exercise asks for; ``...`` where there is none yet.
    *given
        What the lesson has made, as the cell of the exercise passes it on.

    Returns
    -------
    Verdict
        Its text is shown where the call is the last line of a cell.

    Raises
    ------
    ParameterError
        If there is no such exercise. An error of a function that was written for an exercise comes as it is.
    """
    check_one_of("exercise", exercise, _EXERCISES)
    try:
        if _is_open(answer):
            raise _OpenError
        remark = _EXERCISES[exercise](answer, *given)
    except _OpenError as still:
        return Verdict(
            None, f"Exercise {exercise}: {str(still) or 'put your answer in place of the three dots.'}"
        )
    except _WrongError as wrong:
        return Verdict(False, f"Exercise {exercise}: not yet. {wrong}")
    return Verdict(True, f"Exercise {exercise}: right. {remark}")


def _exercise(name: str) -> Callable[[Callable[..., str]], Callable[..., str]]:
    def register(function: Callable[..., str]) -> Callable[..., str]:
        _EXERCISES[name] = function
        return function

    return register


# ------------------------------------------------------------------------------------
# kinds of answers


def _is_open(answer: Any) -> bool:
    return answer is ... or (isinstance(answer, tuple) and any(each is ... for each in answer))


def _as_number(answer: Any) -> float:
    """Return one number, or say what was given in its place."""
    if isinstance(answer, bool | str) or callable(answer):
        raise _WrongError(f"Give a number; this is {type(answer).__name__} {answer!r}.")
    try:
        values = np.asarray(getattr(answer, "value", answer), dtype=float)
    except (TypeError, ValueError):
        raise _WrongError(f"Give a number; this is a {type(answer).__name__}.") from None
    if values.size != 1:
        raise _WrongError(f"Give one number; these are {values.size}.")
    value = float(values.reshape(-1)[0])
    if not np.isfinite(value):
        raise _WrongError(f"This is {value}: a division by zero, or a missing value that took part in a sum.")
    return value


def _is_close(value: float, other: float, within: float = CLOSE) -> bool:
    return bool(np.isclose(value, other, rtol=within, atol=1e-9))


def _compare(value: float, right: float, mistakes: Mapping[str, float], within: float = CLOSE) -> None:
    """Do nothing where the value is right; else say which usual mistake gives it, or on which side it lies."""
    if _is_close(value, right, within):
        return
    for text, wrong in mistakes.items():
        if _is_close(value, wrong, within):
            raise _WrongError(text)
    raise _WrongError(f"{value:.4g} is too {'large' if value > right else 'small'}.")


def _share(value: float, right: float, mistakes: Mapping[str, float]) -> None:
    """Compare a share between 0 and 1, which may have been given in per cent."""
    percent = "That is in per cent; give the share, between 0 and 1."
    _compare(value, right, {percent: 100 * right, **mistakes})


def _function(answer: Any, *arguments: Any) -> Any:
    """Return what a function written for an exercise gives."""
    if not callable(answer):
        raise _WrongError(f"Pass the function itself, without calling it; this is a {type(answer).__name__}.")
    value = answer(*arguments)
    if value is ... or value is None:
        raise _OpenError("the function returns nothing yet: write it, and end it with `return`.")
    return value


# ------------------------------------------------------------------------------------
# 00 quickstart


@_exercise("00.1")
def _most_unusual(answer: Any, ranked: pd.DataFrame) -> str:
    if hasattr(answer, "columns"):
        raise _WrongError("That is a table; its index holds the names of the frames.")
    found = [answer] if isinstance(answer, str) or np.ndim(answer) == 0 else list(answer)
    if len(found) != 1:
        raise _WrongError(f"Give one frame; these are {len(found)}.")
    name = found[0]
    if not isinstance(name, str):
        raise _WrongError(f"Give the frame_id, such as {ranked.index[0]!r}; this is {name!r}.")
    if name not in ranked.index:
        raise _WrongError(f"There is no frame {name!r}; copy the frame_id from the table.")
    place = int(ranked["rank"].loc[name])
    if place == len(ranked):
        raise _WrongError(
            "That is the most ordinary frame: a larger score is more unusual, and rank 1 comes first."
        )
    if place != 1 and name == ranked.index[0]:
        raise _WrongError(
            "That is the first row; rows stand in the order of the map. Look at the column rank."
        )
    if place != 1:
        raise _WrongError(f"That frame has rank {place}.")
    return "Rows stand in the order of the map, ranks in the order of the scores."


@_exercise("00.2")
def _five_background(run: Any, ranked: pd.DataFrame) -> str:
    last = set(ranked.nlargest(5, "rank").index)
    table = run.labels.table()
    mine = table[table["frame_id"].isin(last)]
    if mine.empty:
        if table["frame_id"].isin(ranked.nsmallest(5, "rank").index).any():
            raise _WrongError(
                "You labelled frames at the top of the ranking; the most ordinary ones are at its end."
            )
        raise _OpenError("none of the five has a label yet: record one above the check.")
    if missing := len(last - set(mine["frame_id"])):
        raise _WrongError(f"{missing} of the five have no label yet: record takes all of them in one call.")
    if mine["interest"].isna().any():
        raise _WrongError(
            "There is a tag, but no rating: add interest=0. A frame that nobody rated is not one rated 0."
        )
    if (mine["interest"] > 0).any():
        raise _WrongError("They are rated above 0; 0 says that there is nothing of interest.")
    if not all("BACKGROUND" in tags for tags in mine["tags"]):
        raise _WrongError("They are rated, but not tagged: add=['BACKGROUND'] (a list, in capitals).")
    return "One call is one event in the log, so that one undo takes all five back."


# ------------------------------------------------------------------------------------
# 01 dataset construction


@_exercise("01.1")
def _beam_pixels(answer: Any, sky: Any) -> str:
    axes = sky.beam.major.to_value("arcsec") * sky.beam.minor.to_value("arcsec")
    pixel = sky.pixel_scale**2
    gauss = np.pi / (4 * np.log(2))
    mistakes = {
        "That is the area of an ellipse as wide as the FWHM. The beam is a Gaussian, which goes on beyond it.": (
            np.pi / 4 * axes / pixel
        ),
        "That is a rectangle of the two axes: a factor for the shape of a Gaussian is missing.": axes / pixel,
        "The FWHM is a full width, and was taken for a radius.": np.pi * axes / pixel,
        "The FWHM was taken for sigma; FWHM = 2.355 sigma.": 2 * np.pi * axes / pixel,
        "That is in square arcseconds; divide by the area of a pixel.": gauss * axes,
        "You divided by the width of a pixel; divide by its area.": gauss * axes / sky.pixel_scale,
    }
    _compare(_as_number(answer), gauss * axes / pixel, mistakes)
    return "A sum over pixels in Jy/beam must be divided by this to be a flux density in Jy."


@_exercise("01.2")
def _completeness(answer: Any, pairs: pd.DataFrame, sources: pd.DataFrame, bright: pd.DataFrame) -> str:
    found, true = pairs["b"].nunique(), pairs["a"].nunique()
    mistakes = {
        "That is the reliability, the share of what was found that is true; asked is the share of the true that was "
        "found.": true / len(sources),
        "That counts a source of the truth twice where two found ones match it.": len(pairs) / len(bright),
        "That is the share that was missed.": 1 - found / len(bright),
    }
    _share(_as_number(answer), found / len(bright), mistakes)
    return "Divide by the truth for completeness, by what was found for reliability."


# ------------------------------------------------------------------------------------
# 02 feature exploration


@_exercise("02.1")
def _without_limits(answer: Any, features: pd.DataFrame, labels: Any) -> str:
    pair = ["colour_12um", "colour_22um"]
    hii = np.asarray(labels) == "HII"
    limits = [features[f"limit_{band}"].to_numpy(dtype=bool, na_value=False) for band in ("12um", "22um")]

    def r(rows: np.ndarray, method: Any = "pearson") -> float:
        return float(features.loc[rows, pair].corr(method).to_numpy()[0, 1])

    measured = ~limits[0] & ~limits[1]
    mistakes = {
        "That is r with the upper limits among the colours.": r(hii),
        "That is r of all classes together.": r(measured),
        "That is r of all classes together, with the upper limits.": r(np.ones(len(hii), bool)),
        "That leaves out the limits at 22 micrometres only.": r(hii & ~limits[1]),
        "That leaves out the limits at 12 micrometres only.": r(hii & ~limits[0]),
        "That is Spearman's rank correlation; asked is Pearson's.": r(hii & measured, "spearman"),
    }
    _compare(_as_number(answer), r(hii & measured), mistakes, within=0.005)
    return f"With the limits it is {r(hii):.2f}: what was not measured takes part there as if it had been."


@_exercise("02.2")
def _infrared_colour(answer: Any, features: pd.DataFrame) -> str:
    first, second = features["colour_22um"], features["colour_12um"]
    if np.size(answer) != len(features):
        raise _WrongError(
            f"Give a colour of each source, {len(features)} values; these are {np.size(answer)}."
        )
    values = np.asarray(answer, dtype=float)
    right = (first - second).to_numpy(float)
    wrongs = {
        "The sign is the other way round: asked is log10(F_22 / F_12).": -right,
        "Colours are logarithms already: the ratio of fluxes is their difference.": (first / second).to_numpy(
            float
        ),
        "That is the ratio of fluxes; take its logarithm.": 10**right,
        "Of a logarithm the logarithm was taken.": _log10((first / second).to_numpy(float)),
    }
    if np.allclose(values, right, rtol=1e-6, atol=1e-9, equal_nan=True):
        return "The radio flux has cancelled: such a colour is there for sources that the radio does not show at all."
    for text, wrong in wrongs.items():
        if np.allclose(values, wrong, rtol=1e-6, atol=1e-9, equal_nan=True):
            raise _WrongError(text)
    if np.isnan(values).sum() != np.isnan(right).sum():
        raise _WrongError("It is missing for other sources than it should: which bands did you take?")
    raise _WrongError("These are other numbers than log10(F_22 / F_12): which bands did you take?")


def _log10(values: np.ndarray) -> np.ndarray:
    return np.log10(values, out=np.full_like(values, np.nan), where=values > 0)


# ------------------------------------------------------------------------------------
# 03 training classifiers


def _hits(labels: np.ndarray, said: np.ndarray, kind: str) -> tuple[float, float]:
    """Return precision and recall."""
    both = float(np.sum((labels == kind) & (said == kind)))
    return both / float(np.sum(said == kind)), both / float(np.sum(labels == kind))


@_exercise("03.1")
def _f1(answer: Any) -> str:
    labels = np.array(["HII", "HII", "HII", "HII", "PN", "PN", "STAR", "STAR", "STAR", "STAR"])
    said = np.array(["HII", "PN", "PN", "STAR", "PN", "HII", "HII", "STAR", "STAR", "PN"])
    for kind in ("HII", "PN", "STAR"):
        p, r = _hits(labels, said, kind)
        value = _as_number(_function(answer, labels, said, kind))
        mistakes = {
            "That is the plain mean of precision and recall; the harmonic mean is nearer to the smaller one.": (
                p + r
            )
            / 2,
            "That is the recall alone: wrong ones called so do not count against it.": r,
            "That is the precision alone: those that were missed do not count against it.": p,
            "That is the accuracy, the share of all sources that are right, whatever the class.": float(
                np.mean(labels == said)
            ),
            "That is the geometric mean; asked is the harmonic one, 2 p r / (p + r).": float(np.sqrt(p * r)),
            "A factor of 2 is missing.": p * r / (p + r),
        }
        _share(value, 2 * p * r / (p + r), mistakes)
    return "A class that is easily found but often named in vain scores no better than one that is missed."


@_exercise("03.2")
def _commonest(answer: Any, labels: np.ndarray, train: np.ndarray, test: np.ndarray) -> str:
    kinds, counts = np.unique(labels[train], return_counts=True)
    kind = kinds[counts.argmax()]
    mistakes = {
        "That is the chance of one class in so many, as if all were equally frequent.": 1 / len(kinds),
        "That is the share among the training sources; it is judged by the test sources.": float(
            counts.max() / counts.sum()
        ),
        "That is the share among all sources; it is judged by the test sources.": float(
            np.mean(labels == kind)
        ),
        "That is how many; divide by the number of test sources.": float(np.sum(labels[test] == kind)),
    }
    _share(_as_number(answer), float(np.mean(labels[test] == kind)), mistakes)
    return f"Whoever always says {kind} is right that often, and has learnt nothing: a classifier must do better."


# ------------------------------------------------------------------------------------
# 04 self-supervised learning


@_exercise("04.1")
def _loss_of_chance(answer: Any) -> str:
    n = 256
    mistakes = {
        "That is the lesson's own batch, of 64 frames; asked is one of 256.": float(np.log(2 * 64 - 1)),
        "Each frame gives two views, so that 2 n are in the batch.": float(np.log(n)),
        "A view is not compared with itself: one of the 2 n does not count.": float(np.log(2 * n)),
        "Each frame gives two views, and a view is compared with all others but itself.": float(
            np.log(n - 1)
        ),
        "That is the logarithm to base 10; the loss is in natural units.": float(np.log10(2 * n - 1)),
        "That is the logarithm to base 2; the loss is in natural units.": float(np.log2(2 * n - 1)),
        "That is how many it is compared with; the loss is minus the logarithm of the chance to hit.": 2.0 * n
        - 1,
    }
    _compare(_as_number(answer), float(np.log(2 * n - 1)), mistakes, within=1e-4)
    return "So losses of different batch sizes cannot be compared, even of one method."


@_exercise("04.2")
def _cosine(answer: Any) -> str:
    rng = np.random.default_rng(4)
    for scale in (1.0, 3.0):
        a, b = scale * rng.normal(size=8), rng.normal(size=8)
        value = _as_number(_function(answer, a, b))
        cosine = float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
        mistakes = {
            "That is the product alone: it grows with the lengths of the vectors. Divide by both.": float(
                a @ b
            ),
            "That is a distance, small for vectors that are alike; asked is the similarity.": 1 - cosine,
            "That is the distance between the ends of the vectors; asked is the cosine of the angle.": float(
                np.linalg.norm(a - b)
            ),
            "You divided by the squares of the lengths.": float(a @ b / (a @ a) / (b @ b)),
            "You divided by the length of one of them only.": float(a @ b / np.linalg.norm(a)),
            "You divided by the length of one of them only, the second.": float(a @ b / np.linalg.norm(b)),
        }
        _compare(value, cosine, mistakes, within=1e-6)
    return "1 is the same direction, 0 none in common; a brighter copy of a vector is as similar as before."


# ------------------------------------------------------------------------------------
# 05 inspecting a latent space


@_exercise("05.1")
def _same_kind(answer: Any, z: np.ndarray, kind: pd.Series, places: np.ndarray) -> str:
    from radiowidgets.latent.projection import nearest

    value, names = _as_number(answer), kind.to_numpy(object)
    held = kind.notna().to_numpy()

    def share(vectors: np.ndarray, of: np.ndarray, chosen: np.ndarray) -> float:
        near, _ = nearest(vectors, 1)
        return float(np.mean(of[near[:, 0]][chosen] == of[chosen]))

    every = np.ones(len(held), bool)
    filled = np.where(held, names, "")
    mistakes = {
        "A frame is not its own neighbour: the first that you took is the frame itself.": 1.0,
        "These are the neighbours in the plane; asked are those among the vectors z.": share(
            places, names, held
        ),
        "Frames that hold nothing are among them; take those of which the kind is known.": share(
            z, filled, every
        ),
        "Empty frames are among them, and missing is never equal to missing.": share(z, filled, held)
        * float(held.mean()),
        "You looked for neighbours only among frames that hold something; look among all.": share(
            np.asarray(z)[held], names[held], every[held]
        ),
    }
    _share(value, share(np.asarray(z), filled, held), mistakes)
    return "But beware: frames overlap by half, so that the nearest one often shows the same object again."


# ------------------------------------------------------------------------------------
# 06 anomaly ranking


@_exercise("06.1")
def _first_hundred(answer: Any, ranked: pd.DataFrame, groups: Any) -> str:
    if np.size(answer) != 2:
        raise _WrongError(f"Give two numbers, (recall, precision); these are {np.size(answer)}.")
    recall, precision = (_as_number(each) for each in answer)
    groups = np.asarray(groups, dtype=object)
    first = ranked["rank"].to_numpy() <= 100
    hits, all_of_them = np.sum((groups == "peculiar") & first), np.sum(groups == "peculiar")
    right = (hits / all_of_them, hits / 100)
    if not _is_close(recall, precision) and _is_close(recall, right[1]) and _is_close(precision, right[0]):
        raise _WrongError(
            "The two are swapped: recall divides by all that are peculiar, precision by all that were selected."
        )
    top = np.arange(len(groups)) < 100
    rows = (
        "You took the first hundred rows, which stand in the order of the map; take those of rank 1 to 100."
    )
    extended = "Complex frames were counted as peculiar."
    wanted, complex_too = groups == "peculiar", groups != "ordinary"
    _share(recall, right[0], {
        rows: float(np.sum(wanted & top) / all_of_them),
        extended: float(np.sum(complex_too & first) / np.sum(complex_too)),
    })  # fmt: skip
    _share(precision, right[1], {
        rows: float(np.mean(wanted[top])), extended: float(np.sum(complex_too & first) / 100),
    })  # fmt: skip
    return f"Chance alone would have a precision of {all_of_them / len(groups):.2f}."


@_exercise("06.2")
def _by_chance(answer: Any, groups: Any) -> str:
    share = float(np.mean(np.asarray(groups, dtype=object) == "peculiar"))
    mistakes = {
        "That is their share; asked is how many of 120 looks find one.": share,
        "That is their share in per cent; asked is how many of 120 looks find one.": 100 * share,
        "That is how many there are at all.": share * len(groups),
        "Complex frames are among them.": 120
        * float(np.mean(np.asarray(groups, dtype=object) != "ordinary")),
    }
    _compare(_as_number(answer), 120 * share, mistakes)
    return "A curve of finds says something only beside this number."


# ------------------------------------------------------------------------------------
# 07 source finding


@_exercise("07.1")
def _f1_by_hand(answer: Any, row: pd.Series) -> str:
    tp, fp, fn = (float(row[name]) for name in ("tp", "fp", "fn"))
    completeness, reliability = tp / (tp + fn), tp / (tp + fp)
    mistakes = {
        "That is the completeness alone.": completeness,
        "That is the reliability alone.": reliability,
        "That is the mean of the two; asked is the harmonic one, which a bad one of the two pulls down.": (
            completeness + reliability
        )
        / 2,
        "That is the product of the two; twice that, over their sum, is wanted.": completeness * reliability,
        "That divides by all that was found or is there; F1 counts what was found and real twice.": tp
        / (tp + fp + fn),
    }
    _share(_as_number(answer), 2 * tp / (2 * tp + fp + fn), mistakes)
    return "Nobody can make up for missing sources by being reliable, nor the other way round."


@_exercise("07.2")
def _lucky_darts(answer: Any, truth: pd.DataFrame) -> str:
    ny, nx = truth.attrs["shape"]

    def covered(least: float) -> float:
        return 9 * np.pi * float((truth["flux_over_rms"] >= least).sum()) / (nx * ny)

    mean = covered(1)
    mistakes = {
        "Circles overlap: a place inside two of them is still one place.": mean,
        "That is the share that lands beside all of them.": float(np.exp(-mean)),
        "Only sources of an SNR of 5 are counted; asked are those of 1 and more.": float(
            -np.expm1(-covered(5))
        ),
        "All sources are counted; asked are those of an SNR of 1 and more.": float(-np.expm1(-covered(0))),
        "The circles have a radius of 3 pixels: 9 pi pixels each.": float(-np.expm1(-mean / 9)),
    }
    _share(_as_number(answer), float(-np.expm1(-mean)), mistakes)
    return (
        "The darts had a little less: only the pixels of sources count there, and their distances are whole."
    )


# ------------------------------------------------------------------------------------
# 08 relabelling


@_exercise("08.1")
def _kappa(answer: Any) -> str:
    rng = np.random.default_rng(8)
    one = rng.choice(["ring", "relic", "fr2"], 60, p=[0.7, 0.2, 0.1])
    other = np.where(rng.random(60) < 0.6, one, rng.choice(["ring", "relic", "fr2"], 60, p=[0.3, 0.3, 0.4]))
    kinds = np.unique(np.concatenate([one, other]))
    same = float(np.mean(one == other))
    shares = [np.array([np.mean(each == kind) for kind in kinds]) for each in (one, other)]
    chance = {
        "own": float(shares[0] @ shares[1]),
        "even": 1 / len(kinds),
        "pooled": float(np.sum((sum(shares) / 2) ** 2)),
    }
    kappa = {name: (same - by) / (1 - by) for name, by in chance.items()}
    mistakes = {
        "That is the share of equal answers, with what chance gives still in it.": same,
        "That is what chance gives.": chance["own"],
        "Chance is not one in so many kinds: who says ring often agrees more often by chance.": kappa["even"],
        "That is Scott's pi, with the shares of both pooled; Cohen takes each annotator's own.": kappa[
            "pooled"
        ],
        "The division by 1 - chance is missing.": same - chance["own"],
        "You divided by chance; divide by 1 - chance, the most that can be gained over it.": (
            (same - chance["own"]) / chance["own"]
        ),
    }
    _compare(_as_number(_function(answer, one, other)), kappa["own"], mistakes, within=1e-6)
    perfect = _as_number(_function(answer, one, one))
    _compare(perfect, 1.0, {}, within=1e-6)
    return f"Here the two agree in {same:.0%} of the frames, and kappa is only {kappa['own']:.2f}."


@_exercise("08.2")
def _suspects(answer: Any, suspects: pd.DataFrame, wrong: np.ndarray) -> str:
    first = np.isin(suspects["index"].to_numpy()[:20], wrong)
    mistakes = {
        "That is the share of all mistakes that was found; asked is the share of these twenty.": first.sum()
        / len(wrong),
        "That is how many; divide by twenty.": float(first.sum()),
        "That is the share that was suspected in vain.": 1 - float(first.mean()),
        "Those are rows of the table of suspects; its column index says which frame is meant.": float(
            np.mean(np.isin(np.arange(20), wrong))
        ),
    }
    _share(_as_number(answer), float(first.mean()), mistakes)
    return "The rest are hard cases, not mistakes: that is why a person decides."


# ------------------------------------------------------------------------------------
# 09 instance detection


@_exercise("09.1")
def _mask_overlap(answer: Any) -> str:
    y, x = np.indices((40, 40))
    one, other = np.hypot(x - 18, y - 20) < 9, np.hypot(x - 22, y - 20) < 8
    both, either = float(np.sum(one & other)), float(np.sum(one | other))
    mistakes = {
        "The pixels of both masks are counted twice; divide by those in either.": both
        / float(one.sum() + other.sum()),
        "That is the Dice coefficient: it divides by the mean of the two areas.": 2
        * both
        / float(one.sum() + other.sum()),
        "That is the share of the first mask; a mask that covers everything would always be right.": both
        / float(one.sum()),
        "That is the share of the second mask; a mask that covers everything would always be right.": both
        / float(other.sum()),
        "That is how many pixels they share; divide by those in either.": both,
        "That is how much they differ: 1 minus what is asked.": 1 - both / either,
    }
    _compare(_as_number(_function(answer, one, other)), both / either, mistakes, within=1e-6)
    _compare(_as_number(_function(answer, one, one)), 1.0, {}, within=1e-6)
    return (
        f"Two discs whose centres are 4 pixels apart overlap by {both / either:.2f}: 0.6 asks for good masks."
    )
