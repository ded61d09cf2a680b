"""Objects: what the top frames show, each once, with one position, one size and the frame that shows it best.

A frame shows the emission that covers most of it. Frames that show the same emission are one object, whatever their
number; a frame in which nothing stands out is folded by where it is brightest (`radiowidgets.ranking.folding`).
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from radiowidgets.data.islands import find_islands
from radiowidgets.data.noted import NotedTable
from radiowidgets.data.sources import measure_noise
from radiowidgets.errors import MapError, ParameterError
from radiowidgets.parallel import map_chunks
from radiowidgets.ranking.folding import fold

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from radiowidgets.data.frames import FrameSet
    from radiowidgets.data.maps import SkyMap

SEED, FLOOD = 5.0, 3.0  # times the noise, of an island's brightest pixel and of its faintest
MESH = (
    3  # frame widths that are looked at: what fills a frame is not taken for its noise, nor cut at its edge
)
# Share of the smaller one that the emission of two frames must have in common: of one map it is much or nothing, but
# noise is measured in other places, so that one frame may see a bridge to a neighbour where another does not.
SAME = 0.2
TOGETHER = 1024  # frames whose masks are held at once
FWHM = 5.0  # pixels, where a map does not tell its beam
UNITS = {
    **dict.fromkeys(("ra", "dec"), "deg"),
    **dict.fromkeys(("x", "y"), "pix"),
    "size": "arcsec",
    "area": "arcsec2",
    "flux": "Jy",
}


class Emission(NamedTuple):
    """One piece of emission: its mask with the lower-left pixel of that, and what is measured in it."""

    left: int
    low: int
    mask: NDArray[np.bool_]
    x: float
    y: float
    size: float
    flux: float
    snr: float
    cut: bool

    @property
    def area(self) -> int:
        """Number of pixels."""
        return int(self.mask.sum())


def find_objects(frames: FrameSet, ranks: Any, focus: Any = None, progress: str | None = None) -> NotedTable:
    """Merge frames into the objects that they show.

    Pixels above 3 times the noise that hang together with one above 5 times (islands, 4-connected) and lie less than
    a beam apart are one piece of emission. A frame shows the piece that covers most of it; in rank order, it joins
    an earlier object where the two pieces share more than a fifth of the smaller one, else it leads a new object.
    Noise, background and emission are those of a region three frames wide.

    Parameters
    ----------
    frames : FrameSet
        The n frames to merge, such as the top of a ranking.
    ranks : (n,) array
        Lower = more anomalous.
    focus : (n, 2) array, optional
        Where each frame is brightest, as of `measure_focus`: the position of a frame in which nothing reaches 5 times
        the noise. Default: the centre of the frame.
    progress : str, optional
        Text of a progress bar.

    Returns
    -------
    NotedTable
        One row an object, that of the best rank first; units in `units`. Columns:

        - ra, dec: centroid of the emission weighted by brightness, ICRS degrees; x, y: the same in pixels of `map`;
        - size: largest extent of the emission above 3 times the noise, arcsec; it is not deconvolved, so that a point
          source has one too, which grows with its brightness;
        - area: of the same, arcsec2; flux: sum over it above the background, Jy (NaN where the map does not tell how);
          snr: brightest pixel over the noise;
        - cut: whether the emission reaches the map's border, or the edge of the region three frames wide;
        - frame: position of the frame that shows it best: the first by rank that holds it whole, else the one that
          holds most of it; rank: of its best frame; members: positions of its frames, by rank.

        Of an object without emission, size, area, flux and snr are NaN.
    """
    n = len(frames)
    ranks = np.asarray(ranks)
    centres = np.column_stack([frames.x + (frames.width - 1) / 2, frames.y + (frames.height - 1) / 2])
    places = centres if focus is None else np.asarray(focus, dtype=np.float64)
    if ranks.shape != (n,) or places.shape != (n, 2):
        raise ParameterError(
            f"ranks and focus have shapes {ranks.shape} and {places.shape}; {n} frames need ({n},) and ({n}, 2)."
        )
    shown, plain = _merged(frames, np.argsort(ranks, kind="stable"), progress)
    rows = [_described(frames, members, emission) for members, emission in shown]
    leaders = plain[fold(frames.select(plain), ranks[plain], places[plain])]
    places = np.where(np.isfinite(places), places, centres)
    rows += [
        _placed(frames, plain[leaders == leader].tolist(), places[leader])
        for leader in dict.fromkeys(leaders.tolist())
    ]
    columns = ["map", "x", "y", "size", "area", "flux", "snr", "cut", "frame", "rank", "members"]
    for row in rows:
        row["rank"] = ranks[row["members"][0]]
    table = pd.DataFrame(rows, columns=columns).sort_values("rank", kind="stable", ignore_index=True)
    ra, dec = _sky_positions(frames, table)
    table.insert(0, "ra", ra)
    table.insert(1, "dec", dec)
    result = NotedTable(table)
    result.units = dict(UNITS)
    return result


def _merged(
    frames: FrameSet, order: NDArray[Any], progress: str | None
) -> tuple[list[tuple[list[int], Emission]], NDArray[np.int64]]:
    """Return members and emission of each object, in rank order, and the frames in which nothing stands out."""
    from tqdm.auto import tqdm

    shown: list[tuple[list[int], Emission]] = []
    plain: list[int] = []
    near: dict[tuple[int, int, int], list[int]] = defaultdict(list)
    cell = max(1, int(np.median(frames.width))) if len(frames) else 1
    noise = measure_noise(frames, MESH) if len(frames) else None

    def look(k: int) -> Emission | None:
        sky = frames.maps.get(frames.map_names[frames.map_codes[k]])
        if sky is None or noise is None or not noise.rms[k] > 0:
            return None
        box = tuple(int(column[k]) for column in (frames.x, frames.y, frames.width, frames.height))
        return _emission(sky, box, float(noise.background[k]), float(noise.rms[k]))

    bar = tqdm(total=len(order), unit="frame", desc=progress, disable=progress is None)
    for start in range(0, len(order), TOGETHER):
        part = order[start : start + TOGETHER].tolist()
        for k, emission in zip(part, map_chunks(look, part), strict=True):
            if emission is None:
                plain.append(k)
                continue
            cells = _cells(int(frames.map_codes[k]), emission, cell)
            known = sorted({number for place in cells for number in near[place]})
            same = next((number for number in known if _is_same(shown[number][1], emission)), None)
            if same is None:
                same = len(shown)
                shown.append(([], emission))
            members, before = shown[same]
            members.append(k)
            if before.cut and emission.area > before.area:  # it is seen farther from here
                shown[same] = (members, emission)
            for place in cells:
                if same not in near[place]:
                    near[place].append(same)
        bar.update(len(part))
    bar.close()
    return shown, np.array(plain, np.int64)


def _emission(sky: SkyMap, box: tuple[int, ...], background: float, rms: float) -> Emission | None:
    """Return the emission that covers most of a box of a map, also where it goes on beyond the box."""
    x, y, width, height = box
    ny, nx = sky.shape
    around = (MESH - 1) // 2
    left, right = max(0, x - around * width), min(nx, x + (1 + around) * width)
    low, high = max(0, y - around * height), min(ny, y + (1 + around) * height)
    if left >= right or low >= high:
        return None
    values = sky.read(low, high, left, right) - np.float32(background)
    islands, _ = find_islands(values / np.float32(rms), SEED, FLOOD)
    pieces = _joined(islands > 0, _beam_in_pixels(sky))
    inside = pieces[max(0, y - low) : y - low + height, max(0, x - left) : x - left + width]
    counts = np.bincount(inside.ravel())[1:]
    if not counts.any():
        return None
    mask = pieces == int(np.argmax(counts)) + 1
    cut = bool(mask[[0, -1]].any() or mask[:, [0, -1]].any())
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    part = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    mask, values = mask[part], np.where(mask[part], values[part], 0).astype(np.float64)
    left, low = left + int(columns[0]), low + int(rows[0])
    total = float(values.sum())
    return Emission(
        left,
        low,
        mask,
        left + float(values.sum(axis=0) @ np.arange(mask.shape[1])) / total,
        low + float(values.sum(axis=1) @ np.arange(mask.shape[0])) / total,
        _extent(mask),
        total,
        float(values.max()) / rms,
        cut,
    )


def _joined(mask: NDArray[np.bool_], fwhm: float) -> NDArray[np.int32]:
    """Number pieces of a mask, those less than `fwhm` apart together."""
    from scipy import ndimage

    # Half a beam is added on every side; a square does it many times faster than a circle.
    near = ndimage.maximum_filter(mask.view(np.uint8), 2 * round(fwhm / 2) + 1, mode="constant")
    numbers, _ = ndimage.label(near)
    return np.where(mask, numbers, 0).astype(np.int32)


def _extent(mask: NDArray[np.bool_]) -> float:
    """Return the largest extent of a mask in any direction, pixels."""
    rows, columns = np.nonzero(mask)
    angles = np.arange(0, np.pi, np.pi / 90)
    # The outermost pixels of each row are enough.
    ends = np.concatenate(
        [np.flatnonzero(np.diff(rows, prepend=-1)), np.flatnonzero(np.diff(rows, append=-1))]
    )
    along = np.outer(np.cos(angles), columns[ends]) + np.outer(np.sin(angles), rows[ends])
    return float(np.ptp(along, axis=1).max()) + 1


def _beam_in_pixels(sky: SkyMap) -> float:
    if sky.beam is None or sky.pixel_scale is None:
        return FWHM
    return float(sky.beam.major.to_value("arcsec")) / sky.pixel_scale


def _cells(code: int, emission: Emission, cell: int) -> list[tuple[int, int, int]]:
    """Return the cells of a grid over the map that the emission's box touches."""
    height, width = emission.mask.shape
    return [
        (code, column, row)
        for row in range(emission.low // cell, (emission.low + height - 1) // cell + 1)
        for column in range(emission.left // cell, (emission.left + width - 1) // cell + 1)
    ]


def _is_same(one: Emission, other: Emission) -> bool:
    shared = _part(one, other.left, other.low, *other.mask.shape[::-1]) & other.mask
    return bool(shared.sum() > SAME * min(one.area, other.area))


def _part(emission: Emission, left: int, low: int, width: int, height: int) -> NDArray[np.bool_]:
    """Return the mask within a box of the map."""
    part = np.zeros((height, width), bool)
    tall, wide = emission.mask.shape
    x0, x1 = max(left, emission.left), min(left + width, emission.left + wide)
    y0, y1 = max(low, emission.low), min(low + height, emission.low + tall)
    if x0 < x1 and y0 < y1:
        part[y0 - low : y1 - low, x0 - left : x1 - left] = emission.mask[
            y0 - emission.low : y1 - emission.low, x0 - emission.left : x1 - emission.left
        ]
    return part


def _described(frames: FrameSet, members: list[int], emission: Emission) -> dict[str, Any]:
    """Return the row of an object."""
    name = frames.map_names[frames.map_codes[members[0]]]
    sky = frames.maps[name]
    boxes = [tuple(int(c[k]) for c in (frames.x, frames.y, frames.width, frames.height)) for k in members]
    held = [int(_part(emission, *box).sum()) for box in boxes]
    scale = np.nan if sky.pixel_scale is None else sky.pixel_scale
    try:
        flux = emission.flux * sky.flux_factor()
    except MapError:  # the unit does not tell
        flux = np.nan
    return {
        "map": name,
        "x": emission.x,
        "y": emission.y,
        "size": emission.size * scale,
        "area": emission.area * scale**2,
        "flux": flux,
        "snr": emission.snr,
        "cut": emission.cut,
        "frame": members[int(np.argmax(held))],  # of equal ones the first, that is, the best by rank
        "members": members,
    }


def _placed(frames: FrameSet, members: list[int], place: NDArray[np.float64]) -> dict[str, Any]:
    """Return the row of an object without emission."""
    nothing = dict.fromkeys(("size", "area", "flux", "snr"), np.nan)
    name = frames.map_names[frames.map_codes[members[0]]]
    x, y = (float(value) for value in place)
    return {"map": name, "x": x, "y": y, **nothing, "cut": False, "frame": members[0], "members": members}


def _sky_positions(frames: FrameSet, table: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return ICRS degrees of the objects; of an image without a map those it was given, else NaN."""
    rows = table["frame"].to_numpy(np.int64)
    if not frames.maps:
        return frames.ra[rows].astype(np.float64), frames.dec[rows].astype(np.float64)
    ra, dec = np.full(len(table), np.nan), np.full(len(table), np.nan)
    for name, sky in frames.maps.items():
        mine = (table["map"] == name).to_numpy()
        if mine.any() and sky.wcs is not None:
            ra[mine], dec[mine] = sky.pixel_to_sky(*table.loc[mine, ["x", "y"]].to_numpy(np.float64).T)
    return ra, dec
