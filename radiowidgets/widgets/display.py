"""What Review shows of frames: tiles for the gallery, and one frame large, in any band."""

import os
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from astropy import units as u

from radiowidgets.data.headers import pixel_coordinates, world_coordinates
from radiowidgets.data.maps import SkyMap
from radiowidgets.data.regrid import frame_lattices, sample_lattice
from radiowidgets.data.resampling import resize
from radiowidgets.data.sources import clip_frames
from radiowidgets.data.strips import read_padded
from radiowidgets.errors import MapError, ParameterError, check_one_of
from radiowidgets.parallel import map_chunks
from radiowidgets.run import Run

MOST_TILES = 256  # in one request
TILE_SIZES = (16, 512)
GRID = 17  # points of the sky grid along each side of a large view
HALF_MAX = 65504.0  # largest float16
NOISE = ("frame", "surroundings", "map")
MESH = 3  # width of a frame's surroundings in frames
THUMBNAIL = 256  # pixels of the longer side of a parent map

_THICK = 4  # rows of a map looked at for one of its thumbnail
_KEPT = 2000  # measured pieces of maps
_KEPT_BYTES = 64 * 2**20  # of regridded pieces
_FEWEST = 64  # pixels that tell a noise
_READ_AT_ONCE = 2**22  # pixels

Reply = tuple[dict[str, Any], list[bytes]]
Levels = tuple[float, float]  # background and rms
Maps = SkyMap | str | os.PathLike[str]


@dataclass(frozen=True)
class Band:
    """One way to look at a frame: its own pixels, one of their channels, or another map of the same sky."""

    name: str
    channel: int | None = None
    sky: SkyMap | None = None

    @property
    def own(self) -> bool:
        """Whether these are the pixels that the frames were cut from, all channels together."""
        return self.channel is None and self.sky is None


class Display:
    """Builds what the front end shows of the frames of a run.

    Parameters
    ----------
    run : Run
    bands : SkyMap, path, or a sequence or mapping of them, optional
        Other maps of the same sky. What a frame needs of them is brought to its grid when it is looked at.

    Attributes
    ----------
    bands : list of Band
        First the frames themselves, then their channels where they have several, then the other maps.

    Raises
    ------
    ParameterError
        If a band is no map.
    MapError
        If a map cannot be read, or has no coordinates.
    """

    def __init__(self, run: Run, bands: Maps | Sequence[Maps] | Mapping[str, Maps] | None = None) -> None:
        self.frames = run.frames
        self.ids = np.asarray(run.frames.frame_ids)
        self._objects: Callable[[int], Any] | None = getattr(run, "objects_in", None)
        self.bands = [*self._own_bands(), *_other_maps(bands)]
        self._pieces = _Kept(_KEPT_BYTES, lambda pixels: 0 if pixels is None else pixels.nbytes)
        self._lattices = _Kept(_KEPT)
        self._measured = _Kept(_KEPT)
        self._thumbnails = _Kept(16)

    def _own_bands(self) -> list[Band]:
        frames = self.frames
        names = [name for name in frames.map_names if name in frames.maps]
        images = getattr(frames, "_images", None)
        channels = images[0].shape[2] if images and images[0].ndim == 3 else 1
        if channels == 1:
            return [Band(names[0] if len(names) == 1 else "frames")]
        given = frames.channels or ("red", "green", "blue")
        if len(given) != channels:
            given = tuple(f"channel {k + 1}" for k in range(channels))
        return [Band("mean of channels"), *(Band(name, channel=k) for k, name in enumerate(given))]

    @cached_property
    def about(self) -> dict[str, Any]:
        """What the front end needs to offer the bands: a name, frequency (Hz) and unit of each."""
        return {"bands": [self._band_facts(k) for k in range(len(self.bands))], "noise": list(NOISE)}

    def _band_facts(self, number_: int) -> dict[str, Any]:
        band = self.bands[number_]
        sky = band.sky
        if sky is None and len(self.frames.maps) == 1:
            sky = next(iter(self.frames.maps.values()))
        frequency = None if sky is None or sky.frequency is None else sky.frequency.to_value(u.Hz)
        return {
            "band": number_,
            "name": band.name,
            "unit": "" if sky is None else _unit_text(sky.unit),
            "frequency": None if frequency is None else number(frequency),
        }

    # ------------------------------------------------------------ tiles

    def tiles(self, frames: np.ndarray, asked: Mapping[str, Any]) -> Reply:
        """Return frames at tile size: float16 (n, planes, size, size) of (value - background) / rms.

        Parameters
        ----------
        frames : ndarray of int, shape (n,)
        asked : mapping
            `size` in pixels; `band`, a number (default 0, the frame itself) or ``"rgb"`` with three of them in
            `bands`; `noise`, one of `NOISE`: of the frame, of what is round it where that is quieter, or of the map.

        Returns
        -------
        tuple of dict and list of bytes
            The top row comes first; blank is NaN. Facts of each frame come beside.
        """
        frames = frames[:MOST_TILES]
        size = int(np.clip(int(asked["size"]), *TILE_SIZES))
        colour = asked.get("band", 0) == "rgb"
        bands = self._asked_bands(asked.get("bands", [0, 1, 2]) if colour else [asked.get("band", 0)])
        noise = _asked_noise(asked)
        planes = [self._tiles_of(band, frames, size, noise) for band in bands]
        tiles = np.stack(planes, axis=1)
        content = {
            "frames": frames.tolist(),
            "width": size,
            "height": size,
            "band": "rgb" if colour else bands[0],
            "bands": bands,
            "noise": noise,
            "planes": len(planes),
            "facts": self._facts(frames),
        }
        return content, [tiles.tobytes()]

    def _tiles_of(self, band: int, frames: np.ndarray, size: int, noise: str) -> np.ndarray:
        if self.bands[band].sky is None:
            pixels = self._squared(frames, size, self.bands[band].channel)
        else:
            self._find_lattices(band, frames)
            pieces = map_chunks(lambda frame: self._piece(band, int(frame), size), frames.tolist())
            pixels = np.stack([_squared(piece, size) for piece in pieces])
        background, rms = self.levels(band, frames, noise)
        with np.errstate(over="ignore"):
            sigma = (pixels - background[:, None, None]) / rms[:, None, None]
        return np.clip(sigma, -HALF_MAX, HALF_MAX).astype(np.float16)[:, ::-1]

    def _squared(self, frames: np.ndarray, size: int, channel: int | None) -> np.ndarray:
        """Pixels of frames at tile size; a frame that is not square is padded with blanks, never stretched."""
        width, height = self.frames.width[frames], self.frames.height[frames]
        tiles = np.empty((len(frames), size, size), np.float32)
        square = width == height
        if square.any():
            tiles[square] = _plane(self.frames.pixels(frames[square], size=size), channel)
        for i in np.flatnonzero(~square):
            tiles[i] = _squared(_plane(np.atleast_3d(self.frames[frames[i]].pixels), channel), size)
        return tiles

    def _facts(self, frames: np.ndarray) -> list[dict[str, Any]]:
        """Return what is known of frames; the peak is in units of the frame's own noise, which the ranking sees."""
        chosen = self.frames.select(frames)
        background, rms = self.levels(0, frames, "frame")
        peaks = (self._peaks(frames) - background) / rms
        return [
            {
                "id": str(self.ids[frame]),
                "ra": number(chosen.ra[i]),
                "dec": number(chosen.dec[i]),
                "rms": number(self.frames.noise.rms[frame]),
                "snr": number(peaks[i]),
                "unit": self._unit(int(frame)),
            }
            for i, frame in enumerate(frames)
        ]

    def _peaks(self, frames: np.ndarray) -> np.ndarray:
        """Brightest pixel of each frame; NaN where all are blank. Small frames of one size are read together."""
        sides = set(zip(self.frames.width[frames].tolist(), self.frames.height[frames].tolist(), strict=True))
        if len(sides) > 1 or len(frames) * max(w * h for w, h in sides) > _READ_AT_ONCE:
            return np.array([_peak(self.frames[frame].pixels) for frame in frames])
        pixels = self.frames.pixels(frames).reshape(len(frames), -1)
        peaks = np.where(np.isfinite(pixels), pixels, -np.inf).max(axis=1)
        return np.where(np.isfinite(peaks), peaks, np.nan)

    # ------------------------------------------------------------ one frame, large

    def large(self, index: int, asked: Mapping[str, Any]) -> Reply:
        """Return one frame as it is, in the bands asked for (default: the first).

        Parameters
        ----------
        index : int
        asked : mapping
            `bands`, numbers; `noise` as in `tiles`.

        Returns
        -------
        tuple of dict and list of bytes
            Buffers: float32 pixels of the first band (bottom row first), float64 unit vectors of the sky (ICRS),
            then float32 pixels of the other bands, all on the frame's grid.
        """
        bands = self._asked_bands(asked.get("bands", [0]))
        noise = _asked_noise(asked)
        frame = self.frames[index]
        content: dict[str, Any] = {
            "frame": index,
            "width": frame.width,
            "height": frame.height,
            "x": frame.x,
            "y": frame.y,
            "map": frame.map if frame.sky is not None else None,
            "noise": noise,
        }
        vectors, inverse = np.zeros(0), None
        if frame.wcs is not None:
            vectors = _sky_grid(frame.wcs, frame.width, frame.height)
            content["grid"] = {"columns": GRID, "rows": GRID}
            directions, inverse = _directions(frame.wcs, frame.width, frame.height)
            content |= directions
        content["objects"] = self._objects_in(index)
        planes, content["bands"] = [], []
        for band in bands:
            pixels = self._large_pixels(band, index)
            background, rms = (float(values[0]) for values in self.levels(band, np.array([index]), noise))
            facts = self._band_facts(band) | {"background": background, "rms": rms}
            facts |= self._flux_facts(band, index, content.get("pixel_scale"))
            facts["beam"] = _ellipse(self._sky(band, index), inverse, content.get("pixel_scale"))
            content["bands"].append(facts)
            planes.append(pixels.tobytes())
        return content, [planes[0], vectors.tobytes(), *planes[1:]]

    def _large_pixels(self, band: int, index: int) -> np.ndarray:
        if self.bands[band].sky is None:
            return _plane(np.atleast_3d(self.frames[index].pixels), self.bands[band].channel)
        piece = self._piece(band, index, None)
        assert piece is not None
        return piece

    def _flux_facts(self, band: int, index: int, scale: float | None) -> dict[str, Any]:
        """Return what brings sums of a band's pixels to Jy, and the pixels in its beam (or in one of its pixels)."""
        sky = self._sky(band, index)
        facts: dict[str, Any] = {"unit": self._unit(index) if sky is None else _unit_text(sky.unit)}
        if sky is None:
            return facts | {"flux": None, "beam_area": None, "no_flux": "images without a map have no unit"}
        # A pixel of a band on the grid stands for more or less of the sky than one of its own map.
        share = 1.0
        if self.bands[band].sky is not None and scale and sky.pixel_scale:
            share = (scale / sky.pixel_scale) ** 2
        area = 1.0 if sky.beam_area_pixels is None else sky.beam_area_pixels
        facts["beam_area"] = max(1.0, area / share)
        try:
            return facts | {"flux": sky.flux_factor() * share}
        except MapError as error:
            return facts | {"flux": None, "no_flux": str(error)}

    def _objects_in(self, index: int) -> list[dict[str, Any]]:
        """Return the catalogued objects in a frame: name, catalogue, and pixel from its lower left."""
        wcs = self.frames[index].wcs
        found = [] if self._objects is None or wcs is None else list(self._objects(index))
        if not found:
            return []
        ra, dec = (np.array([entry[k] for entry in found], dtype=np.float64) for k in (2, 3))
        x, y = pixel_coordinates(wcs, ra, dec)
        return [
            {"catalogue": str(entry[0]), "name": str(entry[1]), "x": float(px), "y": float(py)}
            for entry, px, py in zip(found, x, y, strict=True)
            if np.isfinite(px + py)
        ]

    def parent(self, index: int) -> Reply:
        """Return a thumbnail of the map that a frame is a piece of: float16 in sigma, top row first.

        Looks at a few rows of the map for each of the thumbnail's, once.
        """
        frame, sky = self.frames[index], self.frames[index].sky
        if sky is None:
            return {"frame": index, "map": None}, [b""]
        small, (background, rms) = self._thumbnails.get(frame.map, lambda: _thumbnail(sky))
        sigma = np.clip((small - background) / rms, -HALF_MAX, HALF_MAX).astype(np.float16)[::-1]
        ny, nx = sky.shape
        content = {"frame": index, "map": frame.map, "size": [nx, ny]}
        return content | {"width": small.shape[1], "height": small.shape[0]}, [sigma.tobytes()]

    # ------------------------------------------------------------ background and noise

    def levels(self, band: int, frames: np.ndarray, noise: str) -> tuple[np.ndarray, np.ndarray]:
        """Return background and rms with which frames are shown in a band, both finite and rms above 0."""
        if noise == "frame" and self.bands[band].own:
            background, rms = self.frames.noise.background[frames], self.frames.noise.rms[frames]
        else:
            levels = map_chunks(lambda frame: self._level(band, frame, noise), frames.tolist())
            background, rms = np.array(levels, dtype=np.float64).reshape(-1, 2).T
        rms = np.where(np.isfinite(rms) & (rms > 0), rms, 1.0)
        return np.nan_to_num(background), rms

    def _level(self, band: int, frame: int, noise: str) -> Levels:
        code = int(self.frames.map_codes[frame]) if self.bands[band].own else None
        key = (band, noise, code) if noise == "map" else (band, noise, frame)
        return self._measured.get(key, lambda: self._measure(band, frame, noise))

    def _measure(self, band: int, frame: int, noise: str) -> Levels:
        if self.bands[band].own:
            own = self.frames.noise
            if noise == "map":
                same = self.frames.map_codes == self.frames.map_codes[frame]
                return float(np.nanmedian(own.background[same])), float(np.nanmedian(own.rms[same]))
            levels = float(own.background[frame]), float(own.rms[frame])
            sky = self.frames[frame].sky
            return levels if sky is None else _quieter(levels, _clipped(self._around(sky, frame)))
        sky = self.bands[band].sky
        if sky is None:
            return _clipped(self._large_pixels(band, frame))
        whole = self._thumbnails.get(f"band {band}", lambda: _thumbnail(sky))[1]
        if noise == "map":
            return whole
        levels = _clipped(self._on_map(sky, band, frame, 1))
        if noise == "surroundings":
            levels = _quieter(levels, _clipped(self._on_map(sky, band, frame, MESH)))
        return levels if levels[1] > 0 else whole

    def _around(self, sky: SkyMap, frame: int) -> np.ndarray:
        """Return the map round a frame, thinned: pixels within a beam say the same again."""
        x, y = int(self.frames.x[frame]), int(self.frames.y[frame])
        return _box(sky, y, x, int(self.frames.height[frame]), int(self.frames.width[frame]), MESH)

    def _on_map(self, sky: SkyMap, band: int, frame: int, mesh: float) -> np.ndarray:
        """Return another map's own pixels in the box round a frame."""
        lattice = self._lattice(band, frame)
        if lattice is None or not np.isfinite(lattice).any():
            return np.zeros((0, 0), np.float32)
        (y0, x0), (y1, x1) = (f(lattice, axis=(1, 2)).round().astype(int) for f in (np.nanmin, np.nanmax))
        return _box(sky, y0, x0, max(1, y1 - y0 + 1), max(1, x1 - x0 + 1), mesh)

    # ------------------------------------------------------------ pieces of other maps

    def _piece(self, band: int, frame: int, size: int | None) -> np.ndarray | None:
        """Return another map on a frame's grid, blank where it does not reach; `size` limits the longer side."""
        return self._pieces.get((band, frame, size), lambda: self._regrid(band, frame, size))

    def _regrid(self, band: int, frame: int, size: int | None) -> np.ndarray:
        sky = self.bands[band].sky
        assert sky is not None
        shape = int(self.frames.height[frame]), int(self.frames.width[frame])
        if size is not None:
            shape = tuple(max(1, round(n * size / max(shape))) for n in shape)  # type: ignore[assignment]
        lattice = self._lattice(band, frame)
        pixels = None if lattice is None else sample_lattice(sky, lattice, shape)
        return np.full(shape, np.nan, np.float32) if pixels is None else pixels

    def _lattice(self, band: int, frame: int) -> np.ndarray | None:
        self._find_lattices(band, np.array([frame]))
        return self._lattices.get((band, frame), lambda: None)

    def _find_lattices(self, band: int, frames: np.ndarray) -> None:
        """Work out where frames lie on another map, many at once: coordinates cost a call, not a pixel."""
        sky = self.bands[band].sky
        assert sky is not None
        known = self._lattices
        new = np.array([frame for frame in frames.tolist() if (band, frame) not in known], dtype=np.int64)
        for code in np.unique(self.frames.map_codes[new]):
            own = self.frames.maps.get(self.frames.map_names[code])
            if own is None or own.wcs is None:
                continue
            some = new[self.frames.map_codes[new] == code]
            columns = (self.frames.y, self.frames.x, self.frames.height, self.frames.width)
            boxes = np.stack([column[some] for column in columns], axis=1)
            lattices = frame_lattices(sky, own.wcs, boxes)
            for frame, lattice in zip(some.tolist(), lattices, strict=True):
                known.put((band, frame), lattice)

    # ------------------------------------------------------------ what was asked

    def _asked_bands(self, asked: Any) -> list[int]:
        listed = asked if isinstance(asked, list) else [asked]
        if not listed or not all(type(band) is int and 0 <= band < len(self.bands) for band in listed):
            raise ParameterError(
                f"The widget asked for bands {listed!r:.60}; there are {len(self.bands)}, from 0. Reload the page."
            )
        return listed

    def _sky(self, band: int, frame: int) -> SkyMap | None:
        return self.bands[band].sky or self.frames[frame].sky

    def _unit(self, frame: int) -> str:
        sky = self.frames[frame].sky
        return "" if sky is None else _unit_text(sky.unit)


class _Kept:
    """Remembers what was made last, up to a total weight."""

    def __init__(self, most: int, weight: Callable[[Any], int] = lambda _: 1) -> None:
        self._most, self._weight, self._total = most, weight, 0
        self._values: OrderedDict[Any, Any] = OrderedDict()

    def __contains__(self, key: Any) -> bool:
        return key in self._values

    def get(self, key: Any, make: Callable[[], Any]) -> Any:
        try:
            self._values.move_to_end(key)
            return self._values[key]
        except KeyError:  # not there, or dropped by another thread just now
            pass
        return self.put(key, make())

    def put(self, key: Any, value: Any) -> Any:
        if key in self._values:  # another thread was quicker
            return self._values[key]
        self._values[key] = value
        self._total += self._weight(value)
        while self._total > self._most and len(self._values) > 1:
            self._total -= self._weight(self._values.popitem(last=False)[1])
        return value


def number(value: Any) -> float | None:
    """Return a number that JSON can hold; None for NaN and infinities."""
    return float(value) if np.isfinite(value) else None


def _other_maps(bands: Any) -> list[Band]:
    """Return the maps that are looked at beside the frames, opened and named."""
    if bands is None:
        return []
    if isinstance(bands, SkyMap | str | os.PathLike):
        bands = [bands]
    named = (
        bands.items() if isinstance(bands, Mapping) else [(getattr(sky, "name", None), sky) for sky in bands]
    )
    found = []
    for name, given in named:
        if not isinstance(given, SkyMap | str | os.PathLike):
            raise ParameterError(f"a band is a {type(given).__name__}; give a SkyMap or the path of a map.")
        sky = given if isinstance(given, SkyMap) else SkyMap.open(given)
        if sky.wcs is None:
            raise MapError(
                f"map {sky.name} has no coordinates, so it cannot be laid over frames; set sky.wcs."
            )
        found.append(Band(str(name or sky.name), sky=sky))
    return found


def _asked_noise(asked: Mapping[str, Any]) -> str:
    noise = asked.get("noise", "frame")
    check_one_of("noise", noise, NOISE)
    return str(noise)


def _unit_text(unit: Any) -> str:
    return "" if unit is None else unit.to_string().replace(" / ", "/").replace(" ", "")


def _plane(pixels: np.ndarray, channel: int | None) -> np.ndarray:
    """Return one channel of images (..., channels), or the mean of those that are not blank."""
    if channel is not None:
        return np.ascontiguousarray(pixels[..., channel])
    if pixels.shape[-1] == 1:
        return np.ascontiguousarray(pixels[..., 0])
    valid = np.isfinite(pixels)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(valid, pixels, 0).sum(axis=-1, dtype=np.float32) / valid.sum(axis=-1)
        return np.asarray(mean, dtype=np.float32)


def _squared(pixels: np.ndarray, size: int) -> np.ndarray:
    """Bring an image to tile size, padded with blanks where it is not square."""
    height, width = pixels.shape
    side = max(height, width)
    padded = np.full((side, side), np.nan, np.float32)
    y, x = (side - height) // 2, (side - width) // 2
    padded[y : y + height, x : x + width] = pixels
    return resize(padded, (size, size))


def _peak(pixels: np.ndarray) -> float:
    finite = pixels[np.isfinite(pixels)]
    return float(finite.max()) if finite.size else np.nan


def _clipped(pixels: np.ndarray) -> Levels:
    """Return the sigma-clipped background and rms of an image; NaN where too little is there."""
    if np.isfinite(pixels).sum() < _FEWEST:
        return np.nan, np.nan
    zero, height, width = (np.array([n], np.int32) for n in (0, *pixels.shape))
    background, rms, _ = clip_frames(np.ascontiguousarray(pixels, np.float32), zero, zero, height, width)
    return float(background[0]), float(rms[0])


def _quieter(one: Levels, other: Levels) -> Levels:
    """Return the levels with the lower rms; a frame full of emission is seen against what is round it."""
    return other if other[1] > 0 and not 0 < one[1] <= other[1] else one


def _box(sky: SkyMap, y: int, x: int, height: int, width: int, mesh: float) -> np.ndarray:
    """Return a map in a box made `mesh` times as wide, thinned where it is."""
    ny, nx = sky.shape
    dy, dx = (round((mesh - 1) / 2 * n) for n in (height, width))
    y0, y1 = max(0, y - dy), min(ny, y + height + dy)
    x0, x1 = max(0, x - dx), min(nx, x + width + dx)
    if y0 >= y1 or x0 >= x1:
        return np.zeros((0, 0), np.float32)
    thin = max(1, round(np.sqrt((y1 - y0) * (x1 - x0)) / 384))
    return read_padded(sky, y0, y1, x0, x1)[::thin, ::thin]


def _thumbnail(sky: SkyMap) -> tuple[np.ndarray, Levels]:
    """Return a small image of a whole map, and the background and noise of the map's own pixels."""
    ny, nx = sky.shape
    shrink = max(1.0, max(ny, nx) / THUMBNAIL)
    rows, columns = max(1, round(ny / shrink)), max(1, round(nx / shrink))
    small, sample = np.empty((rows, columns), np.float32), []
    for row in range(rows):
        low, high = row * ny // rows, max((row + 1) * ny // rows, row * ny // rows + 1)
        middle = (low + high - min(_THICK, high - low)) // 2
        pixels = sky.rows(middle, middle + min(_THICK, high - low))
        small[row] = resize(pixels, (1, columns))[0]
        sample.append(pixels[0, :: max(1, nx // 1024)])
    background, rms = _clipped(np.stack(sample))
    return small, (background if np.isfinite(background) else 0.0, rms if rms > 0 else 1.0)


def _sky_grid(wcs: Any, width: int, height: int) -> np.ndarray:
    """Unit vectors (ICRS) at GRID x GRID points from pixel 0 to the last one; NaN where there is no sky."""
    x, y = np.meshgrid(np.linspace(0, width - 1, GRID), np.linspace(0, height - 1, GRID))
    ra, dec = (np.radians(values) for values in world_coordinates(wcs, x.ravel(), y.ravel()))
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=1)


def _directions(wcs: Any, width: int, height: int) -> tuple[dict[str, Any], np.ndarray | None]:
    """Pixel scale (arcsec), north and east as unit vectors in pixels, and the step in pixels for one on the sky."""
    x, y = (width - 1) / 2, (height - 1) / 2
    found = world_coordinates(wcs, np.array([x, x + 1, x]), np.array([y, y, y + 1]))
    ra, dec = (np.radians(values) for values in found)
    if not np.isfinite(ra + dec).all():
        return {}, None
    turn = (ra - ra[0] + np.pi) % (2 * np.pi) - np.pi
    # Columns: the step on the sky (east, north) for one pixel along x and along y.
    jacobian = np.array([turn[1:] * np.cos(dec[0]), dec[1:] - dec[0]])
    scale = np.sqrt(abs(np.linalg.det(jacobian)))
    if not scale > 0:
        return {}, None
    inverse = np.linalg.inv(jacobian)
    east, north = (column / np.linalg.norm(column) for column in inverse.T)
    facts = {
        "pixel_scale": float(np.degrees(scale) * 3600),
        "north": north.tolist(),
        "east": east.tolist(),
    }
    return facts, inverse


def _ellipse(sky: SkyMap | None, inverse: np.ndarray | None, scale: float | None) -> dict[str, float] | None:
    """Return a beam as an ellipse in pixels; the angle is that of its major axis from +x, counterclockwise."""
    if sky is None or sky.beam is None or inverse is None or scale is None:
        return None
    angle = sky.beam.pa.to_value(u.rad)
    along = inverse @ np.array([np.sin(angle), np.cos(angle)])
    return {
        "major": float(sky.beam.major.to_value(u.arcsec) / scale),
        "minor": float(sky.beam.minor.to_value(u.arcsec) / scale),
        "angle": float(np.arctan2(along[1], along[0])),
    }
