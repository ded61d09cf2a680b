"""Features of compact sources in radio and infrared: colours, overlap of islands, similarity of images.

compact-sources section 4.1 and Table 5: F1-F12 of five bands, F1-F18 of seven.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

from radiowidgets.data.recipes import source_reach
from radiowidgets.data.sources import MAX_ROUNDS, SIGMA, clip_sorted
from radiowidgets.errors import FrameError, ParameterError
from radiowidgets.features.similarity import WINDOW, mean_ssim
from radiowidgets.features.structure import AREA, FLOOD, SEED, label_islands
from radiowidgets.parallel import Progress, map_chunks

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Sequence

    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

    from radiowidgets.data.frames import FrameSet
    from radiowidgets.data.maps import SkyMap

#: The infrared bands in the order of Table 5; others follow in their own.
TABLE_5 = ("12um", "22um", "3.4um", "4.6um", "8um", "70um")
RADIO = "radio"
ALPHA = "alpha"

_TOGETHER = 32  # sources of one task
_LEAST_SEEN = 0.5  # share of a cutout below which its band was not observed
(_COLOUR, _IOU, _SSIM, _LIMIT, _FLUX) = range(5)
_KINDS = ("colour", "iou", "ssim", "limit", "flux")


def feature_names(bands: Sequence[str], *, alpha: bool = False) -> list[str]:
    """Return the features of these bands in the order of Table 5: F1-F12 of five bands, F1-F18 of seven.

    Parameters
    ----------
    bands : sequence of str
        With or without 'radio'.
    alpha : bool
        Add the radio spectral index.

    Examples
    --------
    >>> feature_names(["radio", "3.4um", "12um"])
    ['colour_12um', 'colour_3.4um', 'iou_12um', 'iou_3.4um', 'ssim_12um', 'ssim_3.4um']
    """
    infrared = [name for name in TABLE_5 if name in bands]
    infrared += [name for name in bands if name not in infrared and name != RADIO]
    return [f"{kind}_{name}" for kind in _KINDS[:3] for name in infrared] + [ALPHA] * alpha


def compact_features(
    frames: FrameSet,
    masks: Sequence[ArrayLike | None] | None = None,
    *,
    seed: float = SEED,
    flood: float = FLOOD,
    inner: float = 1.0,
    window: int = WINDOW,
    client: Any = None,
    threads: int | None = None,
    progress: str | Progress | None = None,
) -> pd.DataFrame:
    """Measure the features of compact sources, in one pass over their multi-band cutouts.

    In each band: background B and noise by 3 sigma clipping (median and standard deviation, five rounds at most);
    peaks, brightest of their 3 x 3 pixels and clear of the border; islands, 4-connected pixels above `flood` times
    the noise that hold a peak above `seed` times; flux F = sum F_i - N B over an island. The radio source is the
    island nearest to the centre, within r_s of it, or the mask; its counterpart in another band is the island that
    shares most pixels with it.

    Parameters
    ----------
    frames : FrameSet
        Of `cut_bands`: one source a frame in Jy/pixel, `channels` naming the bands, one of them 'radio'. The noise is
        measured in the cutout itself, which should be wider than the source: the paper cuts 10 r_s.
    masks : sequence of (h, w) bool arrays, optional
        The pixels of each radio source, such as `polygon_masks` makes of DS9 regions; None where there is none.
    seed, flood : float
        In units of the noise.
    inner : float
        Share of the side, round the centre, over which the SSIM is taken: 0.25 for the paper's 2.5 r_s of 10 r_s.
    window : int
        Odd; of the SSIM, see `similarity.mean_ssim`.
    client : dask.distributed.Client, optional
    threads : int, optional
    progress : str or callable, optional

    Returns
    -------
    pandas.DataFrame
        One row a source, indexed by frame id. First the columns of `feature_names`: colour_<band> =
        log10(F_band / F_radio); iou_<band>, pixels in both islands over pixels in either; ssim_<band>. Then
        limit_<band>: the band was observed but shows no counterpart, so that the IoU is 0 and the colour an upper
        limit: that of a source of the radio source's shape whose peak is `seed` times the noise. Then flux_<band> in
        Jy (where limit, the upper limit), snr_radio (peak over noise) and pixels_radio. What was not observed is NaN,
        and so are colours and IoU where no radio source is found. `attrs` holds units, the paper's names of the
        features, `notes`: what could not be measured, and width and shown, sides in r_s of the cutouts and of what
        the SSIM saw.

    Raises
    ------
    FrameError
        If the frames have no bands.
    ParameterError
        If a parameter makes no sense.
    """
    import pandas as pd

    bands = _check(frames, seed, flood, inner, window, masks)
    radio = bands.index(RADIO)
    values = np.empty((len(frames), len(_KINDS), len(bands)))
    source = np.empty((len(frames), 2))
    size = getattr(frames.sources, "attrs", {}).get("size")

    def work(chunk: tuple[range, list[Any], list[Any]]) -> tuple[Any, ...]:
        part = np.empty((len(chunk[0]), len(_KINDS), len(bands)))
        own = np.empty((len(chunk[0]), 2))
        for k, (pixels, mask) in enumerate(zip(chunk[1], chunk[2], strict=True)):
            options = (float(seed), float(flood), float(inner), int(window), source_reach(pixels.shape, size))
            _measure(pixels, mask, radio, options, part[k], own[k])
        return chunk[0], part, own

    for rows, part, own in map_chunks(
        work, _chunks(frames, masks), client=client, threads=threads, progress=progress
    ):
        values[rows.start : rows.stop], source[rows.start : rows.stop] = part, own
    infrared = [name for name in bands if name != RADIO]
    columns: dict[str, Any] = {}
    for name in feature_names(bands):
        kind, band = name.split("_", 1)
        columns[name] = values[:, _KINDS.index(kind), bands.index(band)]
    for band in infrared:
        columns[f"limit_{band}"] = values[:, _LIMIT, bands.index(band)] > 0
    for band in bands:
        columns[f"flux_{band}"] = values[:, _FLUX, bands.index(band)]
    columns["snr_radio"] = source[:, 0]
    columns["pixels_radio"] = source[:, 1].astype(np.int32)
    table = pd.DataFrame(columns, index=pd.Index(frames.frame_ids, name="frame_id"))
    table.attrs.update(_describe(table, bands, frames))
    if size is not None:
        table.attrs |= {"width": float(size), "shown": inner * float(size)}
    return table


def polygon_masks(
    path: str | os.PathLike[str], frames: FrameSet, sky: SkyMap | None = None
) -> list[NDArray[np.bool_] | None]:
    """Return the pixels of each source inside the DS9 polygons (or circles, ellipses, boxes) of a file.

    Parameters
    ----------
    path : str or path
        Regions on the sky, or in pixels (image) of `sky`.
    frames : FrameSet
        Of `cut_bands`.
    sky : SkyMap, optional
        The map whose pixels are meant.

    Returns
    -------
    list of (h, w) bool arrays or None
        For `compact_features`: of the nearest region that holds the source's position, or else of the nearest that
        touches its central pixels; None where no region does.

    Raises
    ------
    ParameterError
        If the file holds no region on the sky, or the frames do not know their grid.
    """
    from pathlib import Path

    from astropy import units as u
    from astropy.coordinates import SkyCoord
    from regions import Regions, SkyRegion

    from radiowidgets.data.regrid import tangent_grid

    scale = getattr(frames.sources, "attrs", {}).get("pixel_scale_arcsec")
    if frames.sources is None or scale is None:
        raise ParameterError("the frames do not know their pixels on the sky; make them with cut_bands.")
    try:
        shapes = Regions.parse(Path(path).read_text(encoding="utf-8", errors="replace"), format="ds9")
    except (ValueError, OSError) as error:
        raise ParameterError(f"{path} cannot be read as DS9 regions: {error!s:.100}") from error
    if sky is not None and sky.wcs is not None:
        shapes = [shape if isinstance(shape, SkyRegion) else shape.to_sky(sky.wcs) for shape in shapes]
    shapes = [shape for shape in shapes if isinstance(shape, SkyRegion)]
    if not shapes:
        raise ParameterError(f"{path} holds no region on the sky; save it from DS9 in fk5, icrs or galactic.")
    if not len(frames):
        return []
    lon, lat = np.transpose([_middle(shape) for shape in shapes])
    centres = SkyCoord(lon * u.deg, lat * u.deg)
    places = SkyCoord(frames.sources["ra"].to_numpy() * u.deg, frames.sources["dec"].to_numpy() * u.deg)
    reach = frames.width * scale
    first, second, separation, _ = centres.search_around_sky(places, float(reach.max()) * u.arcsec)
    apart = separation.to_value(u.arcsec)
    masks: list[NDArray[np.bool_] | None] = [None] * len(frames)
    for number in np.argsort(apart, kind="stable"):
        k = int(first[number])
        side = int(frames.width[k])
        middle = slice(max(0, side // 2 - 1), side // 2 + 2)
        best = masks[k]
        if apart[number] >= reach[k] or (best is not None and best[side // 2, side // 2]):
            continue
        grid = tangent_grid(places[k].ra.deg, places[k].dec.deg, side, scale)
        drawn = shapes[int(second[number])].to_pixel(grid).to_mask(mode="center").to_image((side, side))
        mask = None if drawn is None else drawn > 0
        if mask is not None and (mask[side // 2, side // 2] or (best is None and mask[middle, middle].any())):
            masks[k] = mask
    return masks


def detected_fractions(features: pd.DataFrame, labels: Any) -> pd.DataFrame:
    """Return the percentage of sources of each class with a counterpart (IoU > 0) in each band, as in Table 6.

    Parameters
    ----------
    features : DataFrame
        Of `compact_features`.
    labels : (n,) array of str
        Class of each row.

    Returns
    -------
    DataFrame
        One row a class in order of appearance, then ALL, also of sources without a label ('', None); one column a
        band. Bands that a source was not observed in do not count; NaN where none was.
    """
    import pandas as pd

    labels = np.array(["" if pd.isna(label) else str(label) for label in np.asarray(labels, object)], object)
    if len(labels) != len(features):
        raise ParameterError(f"{len(features)} sources and {len(labels)} labels; give one each.")
    rows = {}
    columns = [name for name in features.columns if name.startswith("iou_")]
    for name in [*dict.fromkeys(label for label in labels if label), "ALL"]:
        own = features.loc[labels == name if name != "ALL" else np.ones(len(features), bool), columns]
        rows[name] = [
            100 * float((values[np.isfinite(values)] > 0).mean()) if np.isfinite(values).any() else np.nan
            for values in own.to_numpy().T
        ]
    return pd.DataFrame.from_dict(rows, orient="index", columns=[name[4:] for name in columns])


def correlations(features: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return Pearson's r of every pair of columns and its two-tailed p, as in Figures B1 and B2.

    Each pair over the rows that have both; NaN for fewer than three of them, or where a column does not vary.
    """
    import pandas as pd
    from scipy.special import betainc

    try:
        values = features.to_numpy(np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise ParameterError(f"a column holds no numbers ({error!s:.80}); leave it out.") from error
    r = np.full((values.shape[1],) * 2, np.nan)
    p = r.copy()
    for i in range(values.shape[1]):
        for j in range(i + 1):
            both = np.isfinite(values[:, i]) & np.isfinite(values[:, j])
            a, b = (
                values[both, k] - values[both, k].mean() if both.any() else values[both, k] for k in (i, j)
            )
            scale = math.sqrt(float((a**2).sum() * (b**2).sum()))
            if len(a) < 3 or not scale > 0:
                continue
            r[i, j] = r[j, i] = np.clip(float((a * b).sum()) / scale, -1, 1)
            # Of Student's t with n - 2 degrees of freedom.
            p[i, j] = p[j, i] = float(betainc(len(a) / 2 - 1, 0.5, 1 - r[i, j] ** 2))
    names = list(features.columns)
    return pd.DataFrame(r, names, names), pd.DataFrame(p, names, names)


# ------------------------------------------------------------------------------------


def _check(
    frames: FrameSet, seed: float, flood: float, inner: float, window: int, masks: Sequence[Any] | None
) -> list[str]:
    bands = list(frames.channels or ())
    if RADIO not in bands or len(bands) < 2:
        raise FrameError(
            f"the frames have the bands {', '.join(bands) or 'none'}; make them with cut_bands, 'radio' among them."
        )
    if not 0 < flood <= seed < math.inf:
        raise ParameterError(
            f"seed is {seed!r} and flood {flood!r}; give 0 < flood <= seed, as in 5 and 2.5."
        )
    if not isinstance(inner, int | float) or not 0 < inner <= 1:
        raise ParameterError(f"inner is {inner!r}; give the share of the cutout's side, up to 1.")
    if not isinstance(window, int | np.integer) or window < 3 or window % 2 == 0:
        raise ParameterError(f"window is {window!r}; give an odd number of pixels, 3 or more (7).")
    if masks is not None and len(masks) != len(frames):
        raise ParameterError(f"{len(masks)} masks for {len(frames)} sources; give one each, or None.")
    return bands


def _chunks(frames: FrameSet, masks: Sequence[Any] | None) -> Iterator[tuple[range, list[Any], list[Any]]]:
    """Yield pixels of a few sources at a time: what is alive does not grow with their number."""
    for start in range(0, len(frames), _TOGETHER):
        rows = range(start, min(start + _TOGETHER, len(frames)))
        pixels = [frames.pixels([k])[0] for k in rows]
        yield rows, pixels, [None] * len(rows) if masks is None else [masks[k] for k in rows]


def _middle(shape: Any) -> tuple[float, float]:
    """Return ICRS degrees of a region: of its centre, or of the mean of its corners."""
    if hasattr(shape, "center"):
        return shape.center.icrs.ra.deg, shape.center.icrs.dec.deg
    if not hasattr(shape, "vertices"):
        raise ParameterError(
            f"a region is a {type(shape).__name__}; give polygons, circles, ellipses or boxes."
        )
    x, y, z = shape.vertices.icrs.cartesian.xyz.value.mean(axis=1)
    return math.degrees(math.atan2(y, x)) % 360, math.degrees(math.atan2(z, math.hypot(x, y)))


def _measure(
    pixels: NDArray[np.float32],
    mask: Any,
    radio: int,
    options: tuple[float, float, float, int, float],
    out: NDArray[np.float64],
    source: NDArray[np.float64],
) -> None:
    """Measure one source of (h, w, bands)."""
    images = np.ascontiguousarray(np.moveaxis(pixels, 2, 0))
    images[~np.isfinite(images)] = np.nan
    own = np.zeros(images.shape[1:], np.bool_)
    if mask is not None:
        given = np.asarray(mask, bool)
        if given.shape != own.shape:
            raise ParameterError(f"a mask has shape {given.shape}; its cutout has {own.shape}.")
        own = given
    # Sorted by numpy, which is many times faster at it than a kernel; blanks come last.
    ordered = np.sort(images.reshape(len(images), -1), axis=1)
    valid = np.isfinite(ordered).sum(axis=1)
    _measure_source(images, ordered, valid, own, mask is not None, radio, options, out, source)


def _describe(table: pd.DataFrame, bands: Sequence[str], frames: FrameSet) -> dict[str, Any]:
    units = {
        name: "Jy" if name.startswith("flux_") else "dex" if name.startswith("colour_") else ""
        for name in table.columns.astype(str)
    }
    unit = getattr(frames.sources, "attrs", {}).get("unit", "Jy / pix")
    notes = []
    lost = int((table["pixels_radio"] == 0).sum())
    if lost:
        notes.append(f"{lost} of {len(table)} sources have no radio island: no colours, no IoU.")
    for band in bands:
        blank = int(table[f"flux_{band}"].isna().sum()) - lost
        if blank > 0:
            notes.append(f"{blank} sources were not observed in {band}.")
    names = {f"F{k}": name for k, name in enumerate(feature_names(bands), start=1)}
    return {"units": units, "features": names, "pixels": unit, "notes": notes}


@njit(nogil=True, cache=True)
def _measure_source(images, ordered, valid, mask, masked, radio, options, out, source):
    seed, flood, inner, window, reach = options
    bands, height, width = images.shape
    out[:] = np.nan
    source[:] = np.nan, 0.0
    background = np.zeros(bands)
    noise = np.zeros(bands)
    for k in range(bands):
        if valid[k] >= _LEAST_SEEN * height * width:
            background[k], noise[k] = clip_sorted(ordered[k, : valid[k]], SIGMA, MAX_ROUNDS)
    z = np.empty((height, width), np.float32)
    labels = np.empty((height, width), np.int32)
    own = mask.copy()
    if not masked and noise[radio] > 0:
        own = central_island(images[radio], background[radio], noise[radio], seed, flood, reach)
    flux, peak, area = _sum_island(images[radio], background[radio], own)
    found = noise[radio] > 0 and area > 0 and flux > 0
    if found:
        source[0] = peak / noise[radio]
        source[1] = area
        out[_FLUX, radio] = flux
    side = max(min(3, height, width), round(inner * min(height, width)))
    top = (height - side) // 2
    left = (width - side) // 2
    part = images[:, top : top + side, left : left + side]
    for k in range(bands):
        if k == radio or not noise[k] > 0:
            continue
        if noise[radio] > 0:
            out[_SSIM, k] = mean_ssim(part[radio], part[k], window)
        if not found:
            continue
        _scale(images[k], background[k], noise[k], z)
        areas = label_islands(z, labels, seed, flood)[:, AREA]
        shared, chosen = _most_shared(labels, _peaked(images[k], z, labels, len(areas), seed), own)
        if shared > 0:
            counterpart = labels == chosen
            out[_FLUX, k] = _sum_island(images[k], background[k], counterpart)[0]
            out[_IOU, k] = shared / (area + areas[chosen - 1] - shared)
            out[_LIMIT, k] = 0.0
        else:
            # A source of the radio source's shape whose peak is just not found.
            out[_FLUX, k] = seed * noise[k] * flux / peak if peak > 0 else np.nan
            out[_IOU, k] = 0.0
            out[_LIMIT, k] = 1.0
        out[_COLOUR, k] = math.log10(out[_FLUX, k] / flux)


@njit(nogil=True, cache=True)
def central_island(
    image: NDArray[np.float32],
    background: float,
    noise: float,
    seed: float = SEED,
    flood: float = FLOOD,
    reach: float = np.inf,
) -> NDArray[np.bool_]:
    """Return the pixels of the island nearest to the centre: 4-connected above `flood`, with a peak above `seed`.

    None of them where there is no such island within `reach` pixels; `background` and `noise` in the unit of the image.
    """
    z = np.empty(image.shape, np.float32)
    labels = np.empty(image.shape, np.int32)
    _scale(image, background, noise, z)
    n = len(label_islands(z, labels, seed, flood))
    chosen = _nearest(labels, _peaked(image, z, labels, n, seed), reach)
    return (labels == chosen) & (labels > 0)


@njit(nogil=True, cache=True)
def _scale(image, background, noise, z):
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            value = (np.float64(image[y, x]) - background) / noise
            z[y, x] = np.float32(value) if math.isfinite(value) else np.float32(0.0)


@njit(nogil=True, cache=True)
def _peaked(image, z, labels, n, seed):
    """Tell which islands hold a peak: brightest of its 3 x 3 pixels, above the seed, none of them blank or outside."""
    height, width = z.shape
    has = np.zeros(n + 1, np.bool_)
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            if labels[y, x] == 0 or has[labels[y, x]] or not z[y, x] >= seed:
                continue
            highest = True
            for j in range(y - 1, y + 2):
                for i in range(x - 1, x + 2):
                    highest &= image[j, i] <= image[y, x]
            has[labels[y, x]] |= highest
    return has


@njit(nogil=True, cache=True)
def _nearest(labels, allowed, reach):
    """Return the island nearest to the centre; 0 if there is none within reach."""
    height, width = labels.shape
    best = 0
    least = reach**2 + 1e-9
    for y in range(height):
        for x in range(width):
            if labels[y, x] > 0 and allowed[labels[y, x]]:
                distance = (y - (height - 1) / 2) ** 2 + (x - (width - 1) / 2) ** 2
                if distance < least:
                    least = distance
                    best = labels[y, x]
    return best


@njit(nogil=True, cache=True)
def _most_shared(labels, allowed, own):
    """Return how many pixels the island that shares most of them with `own` shares, and its number."""
    counts = np.zeros(len(allowed), np.int64)
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            if own[y, x] and labels[y, x] > 0 and allowed[labels[y, x]]:
                counts[labels[y, x]] += 1
    best = int(np.argmax(counts))
    return counts[best], best


@njit(nogil=True, cache=True)
def _sum_island(image, background, island):
    """Return sum above the background, highest value above it, and number of the island's pixels."""
    total = 0.0
    peak = 0.0
    n = 0
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            if island[y, x] and math.isfinite(image[y, x]):
                value = np.float64(image[y, x]) - background
                total += value
                peak = max(peak, value)
                n += 1
    return total, peak, n
