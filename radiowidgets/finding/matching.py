"""How good a finder is: what it found beside what is there.

Completeness is recall, reliability is precision. Two ways to count, after convosource section 3 and after common use:

- 'pixels', the paper's: a predicted pixel is right if it lies less than 3 px from a true source, else wrong; a source
  is missed if its own pixel is not predicted. So one source may be credited with many pixels, a position that is one
  pixel off counts as found and as missed, and where the truth is dense a random position is right as well (of 17,180
  sources on a map of 1,041 x 957 pixels: 39 % of all positions).
- 'one-to-one': each source found stands for one true source at most, nearest pairs first, and its flux density must
  be within a factor 2 of the truth.

The share of matches that are due to chance stands beside: the prediction is turned by 90, 180 or 270 degrees within
blocks of 50 px, at random, and counted again (the paper's Figure 6).

Intervals of completeness, reliability and F1 are 95 % ones of a bootstrap over blocks of sky, since neighbours are not
independent; those of shares in bins are Wilson's.

The paper leaves open how a class is counted, and its Tables 7 and 9 do not follow from Table 2 (of 2,876 sources in the
test part of B1 8 h at SNR 2, PyBDSF would find 341 and miss 663). Here: for a class, 'pixels' counts in the blocks that
hold a source of it; 'one-to-one' sets the class's completeness beside the reliability of all that was found, as a
finder that tells no class has but one.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import ndimage, sparse
from scipy.spatial import cKDTree

from radiowidgets.errors import ParameterError, check_one_of
from radiowidgets.labels.agreement import kappa_of_counts
from radiowidgets.models.evaluate import binomial_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from radiowidgets.data.maps import SkyMap
    from radiowidgets.finding.finders import Found

RADIUS = 3.0  # pixels, convosource section 3
BLOCK = 50  # pixels, convosource section 2.3
RESAMPLED = 500
RULES = ("one-to-one", "pixels")
BINS = (1.0, 2.0, 3.0, 5.0, 7.0, 10.0, 20.0, 50.0, np.inf)

#: Columns of the truth catalogues of SKA Data Challenge 1, which have no header, and what its CLASS numbers mean.
SDC1_COLUMNS = (
    "ID", "RA_core", "DEC_core", "RA", "DEC", "FLUX", "CORE_FRAC", "BMAJ", "BMIN", "PA", "SIZE", "CLASS",
)  # fmt: skip
SDC1_CLASSES = {1: "SS-AGN", 2: "FS-AGN", 3: "SFG"}


# --------------------------------------------------------------------------------
# truth


def truth_table(
    sky: SkyMap,
    catalogue: pd.DataFrame | None = None,
    *,
    rms: float | None = None,
    apparent: bool = True,
) -> pd.DataFrame:
    """Return the true sources of a map, as the scores want them.

    Parameters
    ----------
    sky : SkyMap
        A mock (`simulate`), which knows its truth, or any map with a catalogue.
    catalogue : DataFrame, optional
        With ra, dec (ICRS degrees), flux (Jy) and, if known, kind; `read_sdc1` gives one.
    rms : float, optional
        Noise of the map in its unit; default: the truth's mean, or the median of what `find_sources` measures.
    apparent : bool
        Take fluxes as the map shows them, under its primary beam (the mock's own, or `sky.primary_beam`). False: as
        they are in the sky.

    Returns
    -------
    DataFrame
        A row a source inside the map: x, y (pixels from 0), ra, dec, flux (Jy), kind, flux_over_rms (convosource's
        'SNR': total flux density over mean rms; its maps and their noise are both corrected for the primary beam, which
        cancels). Its ``attrs`` hold rms and shape of the map.

    Raises
    ------
    ParameterError
        If the map has no truth and no catalogue is given, or one without those columns.
    """
    if catalogue is None:
        known = getattr(sky, "truth", None)
        if known is None:
            raise ParameterError(f"map {sky.name} is no mock and has no truth; give a catalogue.")
        sources = known.sources
        table = sources[["x", "y", "ra", "dec", "flux"]].assign(kind=sources["population"].astype(str))
        response = sources["attenuation"].to_numpy(float)
        rms = float(np.mean(known.rms)) if rms is None else rms
    else:
        table, response = _from_catalogue(sky, catalogue)
        if rms is None:
            from radiowidgets.data.detection import find_sources

            rms = float(find_sources(sky)["rms"].median())
    if apparent:
        table["flux"] *= response
    table["flux_over_rms"] = table["flux"] / rms
    ny, nx = sky.shape
    inside = table["x"].between(-0.5, nx - 0.5) & table["y"].between(-0.5, ny - 0.5) & (table["flux"] > 0)
    table = table[inside].reset_index(drop=True)
    table.attrs = {"rms": rms, "shape": (ny, nx)}
    return table


def _from_catalogue(sky: SkyMap, catalogue: pd.DataFrame) -> tuple[pd.DataFrame, NDArray[np.float64]]:
    """Return positions, fluxes and kinds, and the response of the primary beam at each."""
    missing = [name for name in ("ra", "dec", "flux") if name not in catalogue]
    if missing or sky.wcs is None:
        lacking = (
            f"the catalogue has no column {missing[0]!r}" if missing else f"map {sky.name} no coordinates"
        )
        raise ParameterError(f"{lacking}; truth needs ra, dec and flux, and where they lie on the map.")
    table = pd.DataFrame({name: catalogue[name].to_numpy(np.float64) for name in ("ra", "dec", "flux")})
    table.insert(0, "y", 0.0)
    table.insert(0, "x", 0.0)
    table["x"], table["y"] = sky.wcs.all_world2pix(table["ra"], table["dec"], 0)
    table["kind"] = catalogue["kind"].astype(str).to_numpy() if "kind" in catalogue else ""
    return table, beam_response(sky, table["ra"], table["dec"])


def beam_response(sky: SkyMap, ra: ArrayLike, dec: ArrayLike) -> NDArray[np.float64]:
    """Return the response of `sky.primary_beam`, 0 to 1, at places in ICRS degrees; 1 where it has none."""
    beam = sky.primary_beam
    if beam is None or beam.wcs is None:
        return np.ones(np.shape(ra))
    x, y = beam.wcs.all_world2pix(ra, dec, 0)
    return ndimage.map_coordinates(np.asarray(beam.pixels, np.float64), [y, x], order=1, mode="nearest")


def read_sdc1(path: Any) -> pd.DataFrame:
    """Read a truth catalogue of SKA Data Challenge 1: ra, dec, flux (Jy) and kind (SS-AGN, FS-AGN, SFG)."""
    from radiowidgets.data.catalogues import read_catalogue

    catalogue = read_catalogue(path, names=list(SDC1_COLUMNS), units={"FLUX": "Jy"})
    return catalogue.assign(kind=catalogue["CLASS"].map(SDC1_CLASSES).fillna(""))


# --------------------------------------------------------------------------------
# matching


def match_sources(
    found: pd.DataFrame, truth: pd.DataFrame, radius: float = RADIUS, factor: float | None = 2.0
) -> pd.DataFrame:
    """Pair what was found with what is there, one to one, nearest pairs first.

    Parameters
    ----------
    found, truth : DataFrame
        With x, y (pixels) and flux (Jy).
    radius : float
        Pairs are less than so many pixels apart.
    factor : float or None
        Their flux densities differ by less than this factor; a source without a flux (NaN) is matched by position
        alone. None asks nothing of the fluxes.

    Returns
    -------
    DataFrame
        A row a pair: found, truth (row numbers), separation (pixels).

    Raises
    ------
    ParameterError
        For a radius or factor that makes no sense.
    """
    if not radius > 0 or not (factor is None or factor > 1):
        raise ParameterError(
            f"radius is {radius!r} and factor {factor!r}; give radius > 0 and factor > 1 or None."
        )
    first, second, apart = _near(_places(found), _places(truth), radius)
    if factor is not None and len(first):
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = found["flux"].to_numpy(float)[first] / truth["flux"].to_numpy(float)[second]
        fits = ~np.isfinite(ratio) | ((ratio > 1 / factor) & (ratio < factor))
        first, second, apart = first[fits], second[fits], apart[fits]
    order = np.lexsort((second, first, apart))
    taken, given = np.zeros(len(found), bool), np.zeros(len(truth), bool)
    kept = []
    for k in order.tolist():
        if not taken[first[k]] and not given[second[k]]:
            taken[first[k]] = given[second[k]] = True
            kept.append(k)
    return pd.DataFrame({"found": first[kept], "truth": second[kept], "separation": apart[kept]})


def _places(table: pd.DataFrame) -> NDArray[np.float64]:
    return table[["x", "y"]].to_numpy(np.float64)


def _near(
    one: NDArray[Any], other: NDArray[Any], radius: float
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return all pairs less than `radius` apart: rows of both, and how far."""
    if not len(one) or not len(other):
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)
    pairs = cKDTree(one).sparse_distance_matrix(cKDTree(other), radius, output_type="ndarray")
    pairs = pairs[pairs["v"] < radius]
    return pairs["i"].astype(np.int64), pairs["j"].astype(np.int64), pairs["v"]


def predicted_pixels(found: Found) -> NDArray[np.float64]:
    """Return the (n, 2) pixels x, y that a finder predicts to hold a source (convosource section 3).

    Those of its masks where it gives a probability map; else the pixel of each source.
    """
    if found.probability is not None and found.masks is not None:
        rows, columns = np.nonzero(found.masks)
        return np.column_stack([columns, rows]).astype(np.float64)
    return np.unique(np.rint(_places(found.table)), axis=0)


def turn_blocks(
    places: NDArray[Any], shape: tuple[int, int], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Turn positions by 90, 180 or 270 degrees within blocks of 50 px; by 180 in the cut blocks at the far edges."""
    ny, nx = shape
    block = np.clip(np.floor((places + 0.5) / BLOCK), 0, (np.array([nx, ny]) - 1) // BLOCK).astype(np.int64)
    across = -(-nx // BLOCK)
    low = block * BLOCK
    sides = np.minimum(low + BLOCK, [nx, ny]) - low
    middle = low + (sides - 1) / 2
    turns = rng.integers(1, 4, across * -(-ny // BLOCK))[block[:, 1] * across + block[:, 0]]
    turns = np.where(sides[:, 0] == sides[:, 1], turns, 2)
    dx, dy = (places - middle).T
    cosine, sine = np.array([1, 0, -1, 0])[turns], np.array([0, 1, 0, -1])[turns]
    return middle + np.column_stack([cosine * dx - sine * dy, sine * dx + cosine * dy])


# --------------------------------------------------------------------------------
# scores


class _Counts(NamedTuple):
    """What was found, missed and invented; where each of them lies, to draw blocks of sky anew."""

    hits: NDArray[np.float64]  # (n, 2)
    misses: NDArray[np.float64]
    inventions: NDArray[np.float64]
    hit_sources: NDArray[np.float64]  # those that completeness counts: as `hits`, but for one class of a few


def score_finder(
    found: Found,
    truth: pd.DataFrame,
    *,
    rule: str = "one-to-one",
    least: float = 1.0,
    radius: float = RADIUS,
    factor: float | None = 2.0,
    trials: int = 5,
    level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """Score a finder on one map.

    Parameters
    ----------
    found : Found
    truth : DataFrame
        `truth_table` of the map.
    rule : 'one-to-one' or 'pixels'
        How it is counted; see this module's first lines.
    least : float
        Only sources of at least so much flux_over_rms are there to be found (convosource: 1, 2, 5).
    radius, factor
        As for `match_sources`; the pixel rule has no factor.
    trials : int
        Turned predictions to average the matches by chance over.
    level : float
        Of the intervals.
    seed : int

    Returns
    -------
    DataFrame
        Indexed by kind, 'all' first: truth (sources there), tp, fp, fn, completeness, completeness_low,
        completeness_high, reliability (with low, high), f1 (with low, high), chance (the share of tp that turned
        predictions have as well), at_random (the share of the map less than `radius` from such a source).

    Raises
    ------
    ParameterError
        For an unknown rule, or a truth that is no `truth_table`.
    """
    check_one_of("rule", rule, RULES)
    shape = _shape(truth)
    rng = np.random.default_rng(seed)
    truth = truth[truth["flux_over_rms"] >= least].reset_index(drop=True)
    kinds = ["all", *sorted(set(truth["kind"]) - {""})]
    if rule == "pixels":
        predicted = predicted_pixels(found)
        turned = [turn_blocks(predicted, shape, rng) for _ in range(trials)]
        count = {kind: _count_pixels(predicted, truth, kind, radius) for kind in kinds}
        chance = {kind: [len(_count_pixels(t, truth, kind, radius).hits) for t in turned] for kind in kinds}
    else:
        table = found.table
        count = _count_pairs(table, truth, kinds, radius, factor)
        chance = {kind: [] for kind in kinds}
        for _ in range(trials):
            x, y = turn_blocks(_places(table), shape, rng).T
            again = _count_pairs(table.assign(x=x, y=y), truth, kinds, radius, factor)
            for kind in kinds:
                chance[kind].append(len(again[kind].hit_sources))
    rows = {}
    for kind in kinds:
        there = truth if kind == "all" else truth[truth["kind"] == kind]
        row = {"truth": len(there), **_scores(count[kind], shape, level, rng)}
        expected = float(np.mean(chance[kind])) if trials else np.nan
        row["chance"] = min(expected / row["tp"], 1.0) if row["tp"] else np.nan
        row["at_random"] = _covered(_places(there), shape, radius)
        rows[kind] = row
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("kind")


def _shape(truth: pd.DataFrame) -> tuple[int, int]:
    if "shape" not in truth.attrs or "flux_over_rms" not in truth:
        raise ParameterError("the truth is no truth table of a map; make it with truth_table.")
    return truth.attrs["shape"]


def _count_pixels(predicted: NDArray[Any], truth: pd.DataFrame, kind: str, radius: float) -> _Counts:
    """Count as convosource does; for one class, in the blocks that hold it."""
    if kind != "all":
        truth = truth[truth["kind"] == kind]
    there = np.rint(_places(truth))
    if kind != "all":
        predicted = predicted[np.isin(_blocks(predicted), _blocks(there))]
    first, _, _ = _near(predicted, there, radius)
    right = np.zeros(len(predicted), bool)
    right[first] = True
    pixels = np.unique(there, axis=0)  # two sources of one pixel are one in a solution map
    _, own, _ = _near(predicted, pixels, 0.5)
    missed = np.ones(len(pixels), bool)
    missed[own] = False
    return _Counts(predicted[right], pixels[missed], predicted[~right], predicted[right])


def _blocks(places: NDArray[Any]) -> NDArray[np.int64]:
    """Number the 50 x 50 block that each position is in."""
    column, row = np.floor((places + 0.5) / BLOCK).astype(np.int64).T
    return row * 1_000_000 + column


def _count_pairs(
    table: pd.DataFrame, truth: pd.DataFrame, kinds: Sequence[str], radius: float, factor: float | None
) -> dict[str, _Counts]:
    """Count pairs of one and one; for one class, what was found of it beside all that was invented."""
    pairs = match_sources(table, truth, radius, factor)
    where, there = _places(table), _places(truth)
    invented = np.ones(len(table), bool)
    invented[pairs["found"]] = False
    seen = np.zeros(len(truth), bool)
    seen[pairs["truth"]] = True
    result = {}
    for kind in kinds:
        mine = np.ones(len(truth), bool) if kind == "all" else (truth["kind"] == kind).to_numpy()
        result[kind] = _Counts(
            where[pairs["found"]], there[mine & ~seen], where[invented], there[mine & seen]
        )
    return result


def _scores(
    counts: _Counts, shape: tuple[int, int], level: float, rng: np.random.Generator
) -> dict[str, float]:
    """Return counts, completeness, reliability and F1, with intervals of a bootstrap over blocks of sky."""
    side = _cell_side(shape)
    across = -(-shape[1] // side)
    number = across * -(-shape[0] // side)

    def per_block(places: NDArray[Any]) -> NDArray[np.float64]:
        column, row = np.clip((places + 0.5) // side, 0, None).astype(np.int64).T
        return np.bincount(np.minimum(row * across + column, number - 1), minlength=number).astype(float)

    per = np.stack([per_block(places) for places in counts])
    values = _ratios(per.sum(axis=1, keepdims=True))[:, 0]
    drawn = rng.multinomial(number, np.full(number, 1 / number), RESAMPLED)
    tail = 50 * (1 - level)
    with np.errstate(invalid="ignore"):
        resampled = _ratios(per @ drawn.T)
    low, high = np.full(3, np.nan), np.full(3, np.nan)
    for k in range(3):
        known = resampled[k][np.isfinite(resampled[k])]
        if len(known):
            low[k], high[k] = np.percentile(known, [tail, 100 - tail])
    row: dict[str, float] = {
        "tp": len(counts.hit_sources),
        "fp": len(counts.inventions),
        "fn": len(counts.misses),
    }
    for k, name in enumerate(("completeness", "reliability", "f1")):
        row |= {name: values[k], f"{name}_low": low[k], f"{name}_high": high[k]}
    return row


def _ratios(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return completeness, reliability and F1 (3, n) of counts (4, n)."""
    hits, misses, inventions, hit_sources = sums
    with np.errstate(divide="ignore", invalid="ignore"):
        completeness = hit_sources / (hit_sources + misses)
        reliability = hits / (hits + inventions)
        both = completeness + reliability
        f1 = np.where(both > 0, 2 * completeness * reliability / both, 0.0)
    # Nothing found at all is no failure to be reliable, but worth nothing.
    f1 = np.where(np.isfinite(completeness), np.where(hits + inventions > 0, f1, 0.0), np.nan)
    return np.stack([completeness, reliability, f1])


def _covered(places: NDArray[Any], shape: tuple[int, int], radius: float) -> float:
    """Return the share of a map's pixels that lie less than `radius` from a position."""
    reach = int(np.ceil(radius))
    dy, dx = np.mgrid[-reach : reach + 1, -reach : reach + 1].reshape(2, -1, 1)
    disc = np.hypot(dy, dx)[:, 0] < radius
    column, row = np.rint(places).astype(np.int64).T
    column, row = (column + dx[disc]).ravel(), (row + dy[disc]).ravel()
    inside = (column >= 0) & (row >= 0) & (column < shape[1]) & (row < shape[0])
    near = np.zeros(shape, bool)
    near[row[inside], column[inside]] = True
    return float(near.mean())


def score_by_snr(
    found: Found,
    truth: pd.DataFrame,
    *,
    bins: Sequence[float] = BINS,
    radius: float = RADIUS,
    factor: float | None = 2.0,
    level: float = 0.95,
) -> pd.DataFrame:
    """Return completeness against flux over noise, of each kind, and reliability of what was found.

    Parameters
    ----------
    found, truth, radius, factor, level
        As for `score_finder`; pairs are one to one, with sources of any flux in the truth.
    bins : sequence of float
        Edges, in flux density over mean rms; of what was found, its own flux (peak where it has none).

    Returns
    -------
    DataFrame
        A row a bin and kind, sorted so: measure ('completeness', or 'reliability' with kind 'all'), kind, low_edge,
        high_edge, hits, number, value, low, high (Wilson's interval).
    """
    _shape(truth)
    edges = np.asarray(bins, np.float64)
    pairs = match_sources(found.table, truth, radius, factor)
    seen, right = np.zeros(len(truth), bool), np.zeros(len(found.table), bool)
    seen[pairs["truth"]], right[pairs["found"]] = True, True
    ratio = truth["flux_over_rms"].to_numpy(float)
    flux = found.table["flux"].fillna(found.table["peak"]).to_numpy(float) / truth.attrs["rms"]
    parts = [("reliability", "all", right, flux, np.ones(len(right), bool))]
    for kind in ["all", *sorted(set(truth["kind"]) - {""})]:
        mine = np.ones(len(truth), bool) if kind == "all" else (truth["kind"] == kind).to_numpy()
        parts.append(("completeness", kind, seen, ratio, mine))
    rows = []
    for measure, kind, good, value, mine in parts:
        for low_edge, high_edge in pairwise(edges):
            inside = mine & (value >= low_edge) & (value < high_edge)
            share = _share(int(good[inside].sum()), int(inside.sum()), level)
            rows.append(
                {"measure": measure, "kind": kind, "low_edge": low_edge, "high_edge": high_edge, **share}
            )
    return pd.DataFrame(rows).sort_values(["measure", "kind", "low_edge"], kind="stable", ignore_index=True)


def _share(hits: int, number: int, level: float) -> dict[str, float]:
    low, high = binomial_interval(hits, number, level=level) if number else (np.nan, np.nan)
    value = hits / number if number else np.nan
    return {"hits": hits, "number": number, "value": value, "low": low, "high": high}


def mistakes(
    found: Found,
    truth: pd.DataFrame,
    *,
    least: float = 5.0,
    radius: float = RADIUS,
    factor: float | None = None,
) -> pd.DataFrame:
    """Return what a finder missed and what it invented, the brightest of both first, to look at.

    Parameters
    ----------
    found, truth, radius, factor
        As for `score_finder`; pairs are one to one, among sources of a flux_over_rms of 1 at least.
    least : float
        Sources below so much flux_over_rms are not missed.

    Returns
    -------
    DataFrame
        A row a mistake: what ('missed' or 'invented'), x, y, ra, dec, flux, kind, flux_over_rms, score (that of the
        finder; NaN of what it missed).
    """
    _shape(truth)
    there = truth[truth["flux_over_rms"] >= 1].reset_index(drop=True)
    pairs = match_sources(found.table, there, radius, factor)
    lost = there.drop(index=list(pairs["truth"])).assign(what="missed", score=np.nan)
    table = found.table.drop(index=list(pairs["found"]))
    false = table.assign(what="invented", flux_over_rms=table["flux"] / truth.attrs["rms"])
    columns = ["what", "x", "y", "ra", "dec", "flux", "kind", "flux_over_rms", "score"]
    both = [part.reindex(columns=columns) for part in (lost[lost["flux_over_rms"] >= least], false)]
    parts = [part.sort_values("flux_over_rms", ascending=False, kind="stable") for part in both if len(part)]
    return pd.concat(parts, ignore_index=True) if parts else both[0].reset_index(drop=True)


def score_for_reliability(
    found: Found,
    truth: pd.DataFrame,
    reliability: float = 0.95,
    *,
    least: float = 1.0,
    radius: float = RADIUS,
    factor: float | None = 2.0,
) -> float:
    """Return the lowest score from which on this share of what was found is real.

    Finders are compared fairly at one reliability: ``found.above(score)``. Choose it on another map than the one that
    you compare them on.

    Returns
    -------
    float
        inf where no score will do, -inf where the finder gives no scores.
    """
    score = found.table["score"].to_numpy(np.float64)
    if not np.isfinite(score).any():
        return -np.inf
    truth = truth[truth["flux_over_rms"] >= least].reset_index(drop=True)
    right = np.zeros(len(score), bool)
    right[match_sources(found.table, truth, radius, factor)["found"]] = True
    order = np.argsort(-score, kind="stable")
    share = np.cumsum(right[order]) / np.arange(1, len(score) + 1)
    last = np.append(np.diff(score[order]) != 0, True)  # sources of one score come together
    good = np.flatnonzero((share >= reliability) & last)
    return float(score[order][good[-1]]) if len(good) else np.inf


# --------------------------------------------------------------------------------
# masks and tiles


def match_masks(found: Found, labels: NDArray[Any], iou: float = 0.6) -> pd.DataFrame:
    """Pair masks with true ones by their intersection over union, one to one, best pairs first.

    Parameters
    ----------
    found : Found
        With masks or patches.
    labels : (ny, nx) int array
        True masks: a number an object, 0 outside; such as ``sky.truth.islands``.
    iou : float
        Least overlap of a pair (peculiar-frames section 4.2: 0.6).

    Returns
    -------
    DataFrame
        A row a pair: found (row of the table), truth (label), iou. Its ``attrs`` hold tp, fp, fn, completeness,
        reliability, f1.

    Raises
    ------
    ParameterError
        If the finder gives no masks, or they are of another shape.
    """
    pixels, rows, columns = _mask_pixels(found, labels.shape)
    number = len(found.table)
    size = int(labels.max(initial=0)) + 1
    under = labels[rows, columns]
    # Column 0 counts what lies outside any object.
    overlap = sparse.coo_matrix((np.ones(len(pixels)), (pixels, under)), (number, size)).tocsr()
    area = np.asarray(overlap.sum(axis=1)).ravel()
    true_area = np.bincount(labels.ravel(), minlength=size)
    inner = overlap.tocoo()
    inside = inner.col > 0
    first, second, shared = inner.row[inside], inner.col[inside], inner.data[inside]
    value = shared / (area[first] + true_area[second] - shared)
    taken, given, kept = np.zeros(number, bool), np.zeros(size, bool), []
    for k in np.lexsort((second, first, -value)).tolist():
        if value[k] >= iou and not taken[first[k]] and not given[second[k]]:
            taken[first[k]] = given[second[k]] = True
            kept.append(k)
    pairs = pd.DataFrame({"found": first[kept], "truth": second[kept], "iou": value[kept]})
    tp, there, had = len(pairs), int((true_area[1:] > 0).sum()), int((area > 0).sum())
    ratio = _ratios(np.array([[tp], [there - tp], [had - tp], [tp]], float))[:, 0]
    names = ("completeness", "reliability", "f1")
    pairs.attrs = {
        "tp": tp,
        "fp": had - tp,
        "fn": there - tp,
        **dict(zip(names, ratio.tolist(), strict=True)),
    }
    return pairs


def _mask_pixels(found: Found, shape: tuple[int, ...]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return for each pixel of a mask: the row of the table it belongs to, its row and column in the map."""
    if found.patches is not None:
        parts = [
            (np.full(int(patch.sum()), k), np.nonzero(patch)[0] + y0, np.nonzero(patch)[1] + x0)
            for k, (y0, x0, patch) in enumerate(found.patches)
        ]
        none = np.empty(0, np.int64)
        joined = [np.concatenate([part[i] for part in parts] or [none]) for i in range(3)]
        return joined[0], joined[1], joined[2]
    if found.masks is None:
        raise ParameterError(f"finder {found.name!r} gives no masks to compare.")
    if found.masks.shape != shape:
        raise ParameterError(
            f"masks are of shape {found.masks.shape}, the true ones {shape}; give both of one map."
        )
    island = found.table["island"].to_numpy(np.int64)
    row_of = np.full(max(int(found.masks.max(initial=0)), int(island.max(initial=0))) + 1, -1)
    row_of[island[::-1]] = np.arange(len(island))[::-1]  # the first source of an island of several
    which = row_of[found.masks]
    which[found.masks <= 0] = -1
    rows, columns = np.nonzero(which >= 0)
    return which[rows, columns], rows, columns


def signal_tiles(
    found: Found, shape: tuple[int, int], tile: int = 40, n_pixels: int = 0
) -> NDArray[np.bool_]:
    """Return which tiles a finder takes for signal, to set it beside cosmodeep.

    Parameters
    ----------
    found : Found
        Its masks count; where it has none, the pixels of its sources.
    shape : (ny, nx)
        Of the map; what is left over at the far edges is not used.
    tile : int
        Side in pixels.
    n_pixels : int
        A tile is signal if more of its pixels than this are in a mask.

    Returns
    -------
    (ny // tile, nx // tile) bool array
    """
    marked = np.zeros(shape, bool)
    if found.masks is not None:
        marked = found.masks > 0
    else:
        column, row = np.rint(_places(found.table)).astype(np.int64).T
        inside = (column >= 0) & (row >= 0) & (column < shape[1]) & (row < shape[0])
        marked[row[inside], column[inside]] = True
    ny, nx = shape[0] // tile, shape[1] // tile
    return marked[: ny * tile, : nx * tile].reshape(ny, tile, nx, tile).sum(axis=(1, 3)) > n_pixels


def score_tiles(
    predicted: Sequence[ArrayLike], actual: Sequence[ArrayLike], *, level: float = 0.95, seed: int = 0
) -> pd.DataFrame:
    """Score tiles as cosmodeep equation 2 does.

    As = TP / (TP + FN + FP), Ws = TP / (TP + FN), Wv = TN / (TN + FP): As is no precision, though the paper's words
    describe one. It depends on how many tiles hold signal.

    Parameters
    ----------
    predicted, actual : sequences of bool arrays
        One an image: which of its tiles were taken for signal, and which are.

    Returns
    -------
    DataFrame
        Indexed by As, Ws, Wv: value (of all tiles together), sd (over images), low, high (bootstrap over images; with
        one image over its tiles).

    Raises
    ------
    ParameterError
        If the images do not go together.
    """
    images = [
        (np.asarray(p, bool).ravel(), np.asarray(a, bool).ravel())
        for p, a in zip(predicted, actual, strict=True)
    ]
    if not images or any(len(p) != len(a) for p, a in images):
        raise ParameterError("give the predicted and the actual tiles of each image, as many of both.")
    rng = np.random.default_rng(seed)
    counts = np.stack([_tile_counts(p, a) for p, a in images]).astype(float)
    units = counts
    if len(images) == 1:
        p, a = images[0]
        units = np.stack([a & p, a & ~p, ~a & p, ~a & ~p], axis=1).astype(float)
    drawn = rng.multinomial(len(units), np.full(len(units), 1 / len(units)), RESAMPLED)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = _tile_ratios(counts.sum(axis=0, keepdims=True))[0]
        each = _tile_ratios(counts)
        resampled = _tile_ratios(drawn @ units)
    ends = [50 * (1 - level), 50 * (1 + level)]
    known = [column[np.isfinite(column)] for column in resampled.T]
    low, high = np.array([np.percentile(c, ends) if len(c) else (np.nan, np.nan) for c in known]).T
    spread = each.std(axis=0, ddof=1) if len(images) > 1 else np.full(3, np.nan)
    return pd.DataFrame({"value": value, "sd": spread, "low": low, "high": high}, index=["As", "Ws", "Wv"])


def _tile_counts(predicted: NDArray[np.bool_], actual: NDArray[np.bool_]) -> list[int]:
    """Return TP, FN, FP, TN."""
    return [
        int((one & other).sum())
        for one, other in (
            (actual, predicted),
            (actual, ~predicted),
            (~actual, predicted),
            (~actual, ~predicted),
        )
    ]


def _tile_ratios(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return As, Ws, Wv (n, 3) of counts (n, 4)."""
    tp, fn, fp, tn = counts.T
    return np.stack([tp / (tp + fn + fp), tp / (tp + fn), tn / (tn + fp)], axis=1)


# --------------------------------------------------------------------------------
# agreement of finders


def agree(
    one: Found,
    other: Found,
    truth: pd.DataFrame,
    *,
    least: float = 1.0,
    radius: float = RADIUS,
    factor: float | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """Return Cohen's kappa between two finders.

    Parameters
    ----------
    one, other : Found
        On the same map.
    truth : DataFrame
        `truth_table` of the map.
    least, radius, factor
        Which true sources are asked for, and when one is found.

    Returns
    -------
    DataFrame
        Indexed by 'pixels' (each pixel of the map, predicted or not, exactly, as convosource Tables 6, 8 and 10) and
        'sources' (each true source, found or not): kappa, low, high (bootstrap over blocks of sky), both, only_one,
        only_other, neither.

    Notes
    -----
    Exact pixels punish a finder that marks several pixels a source, as the paper says of its own.
    """
    shape = _shape(truth)
    marks = [_inside(predicted_pixels(found), shape) for found in (one, other)]
    truth = truth[truth["flux_over_rms"] >= least].reset_index(drop=True)
    seen = []
    for found in (one, other):
        hit = np.zeros(len(truth), bool)
        hit[match_sources(found.table, truth, radius, factor)["truth"]] = True
        seen.append(hit)
    rng = np.random.default_rng(seed)
    marked = np.unique(np.concatenate(marks))
    row, column = np.divmod(marked, shape[1])
    by_pixel = _per_cell(np.isin(marked, marks[0]), np.isin(marked, marks[1]), row, column, shape)
    by_pixel[:, 1, 1] = _cell_areas(shape) - by_pixel.sum(axis=(1, 2))  # what neither marks is not listed
    column, row = np.clip(np.rint(_places(truth)), 0, [shape[1] - 1, shape[0] - 1]).astype(np.int64).T
    by_source = _per_cell(seen[0], seen[1], row, column, shape)
    rows = {name: _kappa(per, level, rng) for name, per in (("pixels", by_pixel), ("sources", by_source))}
    return pd.DataFrame.from_dict(rows, orient="index")


def _inside(pixels: NDArray[Any], shape: tuple[int, int]) -> NDArray[np.int64]:
    """Number the pixels (n, 2) of a map row by row; those outside are left out."""
    column, row = pixels.astype(np.int64).T
    inside = (column >= 0) & (row >= 0) & (column < shape[1]) & (row < shape[0])
    return row[inside] * shape[1] + column[inside]


def _cell_side(shape: tuple[int, int]) -> int:
    """Return the side of the blocks of sky that are drawn anew: some 16 across the map."""
    return max(BLOCK, max(shape) // 16)


def _cell_areas(shape: tuple[int, int]) -> NDArray[np.int64]:
    """Return the pixels of each block of sky, row by row."""
    side = _cell_side(shape)
    high, wide = (np.bincount(np.arange(length) // side) for length in shape)
    return np.outer(high, wide).ravel()


def _per_cell(
    one: NDArray[np.bool_],
    other: NDArray[np.bool_],
    y: NDArray[Any],
    x: NDArray[Any],
    shape: tuple[int, int],
) -> NDArray[np.int64]:
    """Count yes and no of two, (cells, 2, 2), in each block of sky."""
    side = _cell_side(shape)
    across = -(-shape[1] // side)
    number = across * -(-shape[0] // side)
    cell = (y // side * across + x // side) * 4 + 2 * ~one + ~other
    return np.bincount(cell, minlength=4 * number).reshape(number, 2, 2)


def _kappa(per: NDArray[np.int64], level: float, rng: np.random.Generator) -> dict[str, float]:
    """Return kappa of the counts of `_per_cell`, with an interval from blocks of sky."""
    number = len(per)
    drawn = rng.multinomial(number, np.full(number, 1 / number), RESAMPLED)
    total = per.sum(axis=0)
    values = np.array([kappa_of_counts(table) for table in np.einsum("bn,nij->bij", drawn, per)])
    known = values[np.isfinite(values)]
    low, high = np.percentile(known, [50 * (1 - level), 50 * (1 + level)]) if len(known) else (np.nan, np.nan)
    counts = dict(zip(("both", "only_one", "only_other", "neither"), total.ravel().tolist(), strict=True))
    return {"kappa": kappa_of_counts(total), "low": float(low), "high": float(high), **counts}
