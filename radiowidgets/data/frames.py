"""`FrameSet`: many rectangular pieces of maps, as views; no pixel is copied until it is asked for."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from radiowidgets.data.headers import shifted_wcs
from radiowidgets.data.maps import SkyMap
from radiowidgets.data.remote import public_address
from radiowidgets.data.strips import Group, Strip, group_frames, read_padded
from radiowidgets.errors import FrameError, ParameterError, check_one_of
from radiowidgets.parallel import map_chunks

if TYPE_CHECKING:
    import pandas as pd
    from astropy.wcs import WCS
    from radio_beam import Beam

MAX_FRAMES = 20_000_000
MAX_SIDE = 2**20
_RESIZED_BYTES = 8 * 2**20  # of pixels that a thread reads at once to bring frames to another size
_WORTH_THREADS = 64  # frames
IMAGES = "images"  # stands for the map in tables of frames that have none


class NoiseTable(NamedTuple):
    """Background and noise of frames in the unit of their maps, and their fractions of blank pixels."""

    background: np.ndarray
    rms: np.ndarray
    blank_fraction: np.ndarray


class Frame:
    """One frame of a `FrameSet`: a box of a map, with pixels and meaning read when asked for.

    Attributes
    ----------
    frame_id : str
    map : str
        Name of the map.
    x, y : int
        Lower-left pixel in the map, from 0.
    width, height : int
        In pixels.
    """

    def __init__(self, frames: "FrameSet", index: int) -> None:
        self._frames = frames
        self.index = index
        self.x, self.y = int(frames.x[index]), int(frames.y[index])
        self.width, self.height = int(frames.width[index]), int(frames.height[index])
        self.map = frames.map_names[frames.map_codes[index]]
        self.frame_id = frames.frame_id(index)

    def __repr__(self) -> str:
        return f"<Frame {self.frame_id}>"

    @property
    def sky(self) -> SkyMap | None:
        """The map that the frame is a piece of; None for an image without a map."""
        return self._frames.maps.get(self.map)

    @property
    def pixels(self) -> np.ndarray:
        """float32 (height, width), or (height, width, channels) for a colour image; outside the map NaN."""
        pixels = self._frames.pixels([self.index])[0]
        return pixels[..., 0] if pixels.shape[-1] == 1 else pixels

    @property
    def wcs(self) -> "WCS | None":
        """Celestial coordinates of the frame's own pixels."""
        sky = self.sky
        if sky is None or sky.wcs is None:
            return None
        return shifted_wcs(sky.wcs, self.x, self.y)

    @property
    def beam(self) -> "Beam | None":
        """Synthesised beam of the map."""
        return None if self.sky is None else self.sky.beam

    @property
    def rms(self) -> float:
        """Local noise; the noise of all frames is measured on first use."""
        return float(self._frames.noise.rms[self.index])

    @property
    def background(self) -> float:
        """Local background; the noise of all frames is measured on first use."""
        return float(self._frames.noise.background[self.index])

    @property
    def ra(self) -> float:
        """ICRS right ascension of the centre in degrees; NaN where it is not known."""
        return self._centre()[0]

    @property
    def dec(self) -> float:
        """ICRS declination of the centre in degrees; NaN where it is not known."""
        return self._centre()[1]

    def _centre(self) -> tuple[float, float]:
        if self.sky is None:
            return float(self._frames.ra[self.index]), float(self._frames.dec[self.index])
        ra, dec = self.sky.pixel_to_sky(self.x + (self.width - 1) / 2, self.y + (self.height - 1) / 2)
        return float(ra), float(dec)


class FrameSet:
    """Many frames of one or several maps, or images without a map.

    Usually made by `cut_windows` or `FrameSet.from_images`.

    Parameters
    ----------
    maps : SkyMap, sequence or mapping of SkyMap
    map_codes : array_like of int, shape (n,)
        Position in `maps` of each frame's map.
    x, y : array_like of int, shape (n,)
        Lower-left pixel of each frame, from 0; a frame may lie partly outside its map, where it is blank.
    width, height : array_like of int, shape (n,) or scalar
    ids : sequence of str, optional
        Default: ``<map>-x01280-y00896-256x256``, generated when asked for.

    Attributes
    ----------
    maps : dict of str to SkyMap
    map_names : list of str
    map_codes, x, y, width, height : ndarray of int32, shape (n,)
    sources : pandas.DataFrame or None
        For cutouts: the catalogue's row of each frame, with the catalogue's index.
    left_out : pandas.DataFrame or None
        For cutouts: the catalogue's rows that gave no frame, with a column `reason`.
    channels : tuple of str or None
        For images of several bands: the names of the bands.
    """

    sources: "pd.DataFrame | None"
    left_out: "pd.DataFrame | None"
    channels: tuple[str, ...] | None

    def __init__(
        self,
        maps: SkyMap | Sequence[SkyMap] | Mapping[str, SkyMap],
        map_codes: Any,
        x: Any,
        y: Any,
        width: Any,
        height: Any,
        *,
        ids: Sequence[str] | None = None,
    ) -> None:
        skies = as_list(maps)
        self.maps: dict[str, SkyMap] = _named(skies)
        self.map_names: list[str] = list(self.maps)
        given = {"map_codes": map_codes, "x": x, "y": y, "width": width, "height": height}
        columns = [np.atleast_1d(_integers(name, values)) for name, values in given.items()]
        try:
            codes, x, y, width, height = np.broadcast_arrays(*columns)
        except ValueError as error:
            shapes = ", ".join(f"{name} {column.shape}" for name, column in zip(given, columns, strict=True))
            raise FrameError(
                f"the columns differ in length ({shapes}); give one value for each frame."
            ) from error
        if codes.size and (codes.min() < 0 or codes.max() >= len(skies)):
            worst = int(codes.min()) if codes.min() < 0 else int(codes.max())
            raise FrameError(f"map code {worst} does not exist: there are {len(skies)} maps, from 0.")
        # Two entries of `maps` may be the same map.
        position = {name: code for code, name in enumerate(self.map_names)}
        codes = np.array([position[sky.name] for sky in skies], dtype=np.int64)[codes]
        self._check_boxes(codes, x, y, width, height, unique=ids is None)
        self._set(codes, x, y, width, height, ids)

    def _check_boxes(
        self,
        codes: np.ndarray,
        x: np.ndarray,
        y: np.ndarray,
        width: np.ndarray,
        height: np.ndarray,
        unique: bool,
    ) -> None:
        """Refuse boxes without pixels, beyond their map or, where they make the id, given twice."""
        if codes.size == 0:
            return
        for name, side in (("width", width), ("height", height)):
            if side.min() < 1 or side.max() > MAX_SIDE:
                worst = int(side.min()) if side.min() < 1 else int(side.max())
                raise FrameError(f"a frame has {name} {worst}; give from 1 to {MAX_SIDE} pixels.")
        ny, nx = np.array([self.maps[name].shape for name in self.map_names], dtype=np.int64).T
        outside = (x + width <= 0) | (y + height <= 0) | (x >= nx[codes]) | (y >= ny[codes])
        if outside.any():
            k = int(np.argmax(outside))
            raise FrameError(
                f"{int(outside.sum())} frames lie outside their map, the first at x={int(x[k])}, "
                f"y={int(y[k])} of map {self.map_names[codes[k]]}; leave them out."
            )
        if unique:
            import pandas as pd

            boxes = pd.DataFrame({"code": codes, "x": x, "y": y, "width": width, "height": height})
            again = boxes.duplicated().to_numpy()
            if again.any():
                k = int(np.argmax(again))
                name = self.map_names[codes[k]]
                raise FrameError(
                    f"{int(again.sum())} frames are there twice, the first of them "
                    f"{make_frame_id(name, x[k], y[k], width[k], height[k])!r}; leave them out or give ids."
                )

    def _set(self, codes: Any, x: Any, y: Any, width: Any, height: Any, ids: Any = None) -> None:
        def fixed(values: Any) -> np.ndarray:
            array = np.ascontiguousarray(values, dtype=np.int32).view()
            array.flags.writeable = False
            return array

        self.map_codes, self.x, self.y = fixed(codes), fixed(x), fixed(y)
        self.width, self.height = fixed(width), fixed(height)
        self._images: list[np.ndarray] | None = None
        self._ids: np.ndarray | None = None
        self._index: dict[str, int] | None = None
        self._sky: tuple[np.ndarray, np.ndarray] | None = None
        self._noise: NoiseTable | None = None
        self.sources = self.left_out = self.channels = None
        if ids is not None:
            self._ids = np.array([str(frame_id) for frame_id in ids], dtype=object)
            if len(self._ids) != len(self):
                raise FrameError(f"{len(self._ids)} ids for {len(self)} frames; give one each.")
            if len(set(self._ids)) != len(self._ids):
                raise FrameError(
                    f"only {len(set(self._ids))} of {len(self)} ids differ; give each frame its own."
                )

    @classmethod
    def _trusted(cls, skies: Sequence[SkyMap], *columns: np.ndarray) -> "FrameSet":
        """Make frames of columns that are known to be right."""
        frames = cls.__new__(cls)
        frames.maps = {sky.name: sky for sky in skies}
        frames.map_names = list(frames.maps)
        frames._set(*columns)
        return frames

    @classmethod
    def from_images(cls, images: Any, ids: Sequence[str] | None = None) -> "FrameSet":
        """Make frames of images that belong to no map, each (h, w) or (h, w, channels).

        Parameters
        ----------
        images : sequence of arrays, or array of shape (n, h, w) or (n, h, w, channels)
        ids : sequence of str, optional
            Default: ``image-000001`` and so on.
        """
        arrays = []
        for position, image in enumerate(images):
            # What is like an array but reads its pixels only when looked at, stays so.
            lazy = all(hasattr(image, name) for name in ("__array__", "shape", "ndim", "dtype"))
            array = image if lazy else np.asarray(image)
            if array.ndim not in (2, 3) or 0 in array.shape or array.dtype.kind not in "fiub":
                raise FrameError(
                    f"image {position} has shape {array.shape} and type {array.dtype}; "
                    "give numbers in (h, w) or (h, w, channels)."
                )
            arrays.append(array)
        if len({array.shape[2] if array.ndim == 3 else 1 for array in arrays}) > 1:
            raise FrameError("the images have different numbers of channels; give them separately.")
        frames = cls.__new__(cls)
        frames.maps, frames.map_names = {}, [IMAGES]
        n = len(arrays)
        zeros = np.zeros(n, dtype=np.int32)
        if ids is None:
            ids = [f"image-{k:06d}" for k in range(1, n + 1)]
        frames._set(zeros, zeros, zeros, [a.shape[1] for a in arrays], [a.shape[0] for a in arrays], ids)
        frames._images = arrays
        return frames

    @classmethod
    def from_table(
        cls,
        table: "pd.DataFrame",
        maps: SkyMap | Sequence[SkyMap] | Mapping[str, SkyMap] | None = None,
        *,
        images: Any = None,
    ) -> "FrameSet":
        """Make the frames that a table lists, in its order; the inverse of `to_table`.

        Parameters
        ----------
        table : pandas.DataFrame
            Columns map, x, y, width, height; where there are frame_id or background, rms and blank_fraction,
            and for images without a map ra and dec, they are kept.
        maps : SkyMap, sequence or mapping
            Every map that the table names.
        images : sequence of arrays, optional
            For a table of images without a map: the images, in the order of the table.

        Raises
        ------
        FrameError
            If a column or a map is missing, or a value makes no sense.
        """
        missing = [name for name in ("map", "x", "y", "width", "height") if name not in table.columns]
        if missing:
            raise FrameError(
                f"the table of frames has no column {', '.join(missing)}; was it written by a run?"
            )
        ids = table["frame_id"].astype(str).to_numpy(dtype=object) if "frame_id" in table.columns else None
        if images is not None:
            frames = cls.from_images(images, None if ids is None else list(ids))
            if {"ra", "dec"} <= set(table.columns):
                frames.place(table["ra"], table["dec"])
        else:
            skies = as_list([] if maps is None else maps)
            codes = _codes_of(table["map"], [sky.name for sky in skies])
            boxes = [table[name].to_numpy() for name in ("x", "y", "width", "height")]
            frames = cls(skies, codes, *boxes)
            if ids is not None and not np.array_equal(ids, frames.frame_ids):
                frames = cls(skies, codes, *boxes, ids=list(ids))
        if all(name in table.columns for name in NoiseTable._fields):
            frames.set_noise(*(table[name].to_numpy() for name in NoiseTable._fields))
        return frames

    def __getstate__(self) -> dict[str, Any]:
        """Of many maps only those of these frames go along where some of them are sent to another process."""
        state = self.__dict__ | {"_index": None}
        if self.maps:
            used, codes = np.unique(self.map_codes, return_inverse=True)
            names = [self.map_names[code] for code in used]
            state |= {"map_names": names, "maps": {name: self.maps[name] for name in names}}
            state["map_codes"] = codes.astype(np.int32)
        return state

    # --------------------------------------------------------------------------------
    # the table

    def __len__(self) -> int:
        return len(self.x)

    def __repr__(self) -> str:
        what = "images" if self._images is not None else f"{len(self.maps)} map" + "s" * (len(self.maps) != 1)
        return f"<FrameSet: {len(self)} frames of {what}>"

    def __getitem__(self, index: int) -> Frame:
        return Frame(self, self._checked(index))

    def __iter__(self) -> Iterator[Frame]:
        return (Frame(self, index) for index in range(len(self)))

    def _checked(self, index: int) -> int:
        position = int(index)
        if position < 0:
            position += len(self)
        if not 0 <= position < len(self):
            raise IndexError(f"frame {index} does not exist: there are {len(self)}, from 0.")
        return position

    def frame_id(self, index: int) -> str:
        """Return the id of one frame without making all of them."""
        if self._ids is not None:
            return str(self._ids[index])
        return make_frame_id(
            self.map_names[self.map_codes[index]],
            self.x[index],
            self.y[index],
            self.width[index],
            self.height[index],
        )

    @property
    def frame_ids(self) -> np.ndarray:
        """Ids of all frames, an object array of str; generated on first use."""
        if self._ids is None:
            # Two columns of texts: to join a million of them takes longer than to find the different ones.
            left = _texts(lambda code, x: f"{self.map_names[code]}-x{x:05d}", self.map_codes, self.x)
            right = _texts(lambda y, w, h: f"-y{y:05d}-{w}x{h}", self.y, self.width, self.height)
            self._ids = left + right
            self._ids.flags.writeable = False
        return self._ids

    def index_of(self, frame_id: str) -> int:
        """Return the position of a frame.

        Raises
        ------
        FrameError
            If there is no such frame.
        """
        if self._index is None:
            ids = self.frame_ids
            self._index = dict(zip(reversed(ids), range(len(ids) - 1, -1, -1), strict=True))
        try:
            return self._index[frame_id]
        except KeyError:
            raise FrameError(f"there is no frame {frame_id!r}; the first is {self._first()}.") from None

    def _first(self) -> str:
        return repr(self.frame_id(0)) if len(self) else "none: the set is empty"

    def select(self, indices: Any) -> "FrameSet":
        """Return the frames at these positions (integers, or a boolean mask), in that order."""
        indices = self._positions(indices)
        out = FrameSet.__new__(FrameSet)
        out.maps, out.map_names = self.maps, self.map_names
        out._set(*(column[indices] for column in (self.map_codes, self.x, self.y, self.width, self.height)))
        if self._images is not None:
            out._images = [self._images[k] for k in indices]
        if self._ids is not None:
            out._ids = self._ids[indices]
        if self._sky is not None:
            out._sky = (self._sky[0][indices], self._sky[1][indices])
        if self._noise is not None:
            out._noise = NoiseTable(*(column[indices] for column in self._noise))
        out.left_out, out.channels = self.left_out, self.channels
        if self.sources is not None:
            out.sources = self.sources.iloc[indices]
        return out

    def _positions(self, indices: Any) -> np.ndarray:
        array = np.atleast_1d(np.asarray(indices))
        if array.dtype == bool:
            if array.shape != (len(self),):
                raise ParameterError(
                    f"the mask has shape {array.shape}; it needs one value for each of {len(self)} frames."
                )
            return np.flatnonzero(array)
        if array.size == 0:
            return np.zeros(0, dtype=np.int64)
        if array.dtype.kind not in "iu" or array.ndim != 1:
            raise ParameterError(
                f"frames are chosen by whole numbers, not by {array.dtype} of shape {array.shape}."
            )
        array = np.where(array < 0, array + len(self), array).astype(np.int64)
        if array.min() < 0 or array.max() >= len(self):
            raise FrameError(f"frame {int(array.max())} does not exist: there are {len(self)}, from 0.")
        return array

    @property
    def ra(self) -> np.ndarray:
        """ICRS right ascension of the centres in degrees, float64; NaN where it is not known."""
        return self._centres()[0]

    @property
    def dec(self) -> np.ndarray:
        """ICRS declination of the centres in degrees, float64; NaN where it is not known."""
        return self._centres()[1]

    def place(self, ra: Any, dec: Any) -> None:
        """Say where images without a map lie: ICRS degrees of their centres, one for each."""
        places = tuple(np.ascontiguousarray(values, dtype=np.float64) for values in (ra, dec))
        if any(values.shape != (len(self),) for values in places):
            raise FrameError(f"ra and dec need one value for each of {len(self)} frames.")
        self._sky = (places[0], places[1])

    def _centres(self) -> tuple[np.ndarray, np.ndarray]:
        if self._sky is None:
            ra, dec = np.full(len(self), np.nan), np.full(len(self), np.nan)
            for code, name in enumerate(self.map_names):
                sky = self.maps.get(name)
                if sky is None or sky.wcs is None:
                    continue
                mine = np.flatnonzero(self.map_codes == code)
                x = self.x[mine] + (self.width[mine] - 1) / 2
                y = self.y[mine] + (self.height[mine] - 1) / 2
                ra[mine], dec[mine] = sky.pixel_to_sky(x, y)
            self._sky = (ra, dec)
        return self._sky

    @property
    def noise(self) -> NoiseTable:
        """Background, rms and blank fraction of each frame; measured on first use, all frames at once."""
        if self._noise is None:
            from radiowidgets.data.sources import measure_noise  # it builds on this module

            self._noise = NoiseTable(*measure_noise(self))
        return self._noise

    def set_noise(self, background: Any, rms: Any, blank_fraction: Any) -> None:
        """Take over noise that was measured before, one value for each frame, instead of measuring it.

        Raises
        ------
        FrameError
            If a column has another length than there are frames.
        """
        columns = NoiseTable(
            *(np.ascontiguousarray(column, dtype=np.float32) for column in (background, rms, blank_fraction))
        )
        for name, column in columns._asdict().items():
            if column.shape != (len(self),):
                raise FrameError(
                    f"{name} has shape {column.shape}; it needs one value for each of {len(self)} frames."
                )
        self._noise = columns

    @property
    def table(self) -> "pd.DataFrame":
        """One row a frame: frame_id, map, x, y, width, height, ra, dec, background, rms, blank_fraction."""
        return self.to_table()

    def to_table(self, *, noise: bool = True) -> "pd.DataFrame":
        """Return the frames as a table, with or without their noise (measured on first use)."""
        import pandas as pd

        columns: dict[str, Any] = {
            "frame_id": self.frame_ids,
            "map": _texts(lambda code: self.map_names[code], self.map_codes),
            "x": self.x,
            "y": self.y,
            "width": self.width,
            "height": self.height,
            "ra": self.ra,
            "dec": self.dec,
        }
        if noise:
            columns.update(self.noise._asdict())
        return pd.DataFrame(columns)

    # --------------------------------------------------------------------------------
    # pixels

    def strips(self, indices: Any = None) -> Iterator[Strip]:
        """Read the frames in one pass over their maps, strip by strip.

        Frames of one map that lie close together in y share a strip, so that overlapping windows are read
        little more than once; a strip holds at most 30 MB, unless one frame is larger.

        Parameters
        ----------
        indices : array_like of int, optional
            Only these frames.

        Yields
        ------
        Strip
            ``(indices, y0, pixels, x0)``; each frame is in exactly one strip. Images without a map come one
            by one, as the mean of those of their channels that are not blank.
        """
        chosen = np.arange(len(self)) if indices is None else self._positions(indices)
        if self._images is not None:
            for k in chosen:
                image = np.asarray(self._images[k], dtype=np.float32)
                valid = np.isfinite(image)
                if image.ndim == 3:
                    with np.errstate(invalid="ignore"):  # 0 / 0 where all channels are blank
                        image = np.where(valid, image, 0).sum(axis=2) / valid.sum(axis=2)
                else:
                    image = np.where(valid, image, np.nan)
                image = np.ascontiguousarray(image, dtype=np.float32)
                yield Strip(np.array([k]), 0, image, 0)
            return
        for sky, group in self._groups(chosen):
            pixels = read_padded(sky, group.y0, group.y1, group.x0, group.x1)
            yield Strip(group.members, group.y0, pixels, group.x0)
            del pixels  # lives on with whoever took it

    def _groups(self, indices: np.ndarray, limit: int | None = None) -> Iterator[tuple[SkyMap, Group]]:
        """Yield what strips hold: a map, and frames of it that are read at once."""
        codes = self.map_codes[indices]
        for code in np.unique(codes):
            sky = self.maps[self.map_names[code]]
            mine = indices[codes == code]
            x, y, width, height = (column[mine] for column in (self.x, self.y, self.width, self.height))
            for group in group_frames(x, y, width, height, limit):
                yield sky, group._replace(members=mine[group.members])

    def pixels(self, indices: Any, size: int | None = None) -> np.ndarray:
        """Return the pixels of some frames.

        Parameters
        ----------
        indices : array_like of int
        size : int, optional
            Bring every frame to size x size: the mean over the area where it shrinks, bilinear where it
            grows. Needed where the frames differ in size. A pixel is blank only where all that goes into it
            is blank.

        Returns
        -------
        ndarray of float32, shape (n, h, w, channels)
            In the unit of the map; blank pixels, and those outside the map, are NaN. One channel for maps.
        """
        indices = self._positions(indices)
        shapes = {(int(h), int(w)) for h, w in zip(self.height[indices], self.width[indices], strict=True)}
        if size is not None:
            _check_size("size", size)
            target = (size, size)
        elif len(shapes) > 1:
            some = ", ".join(f"{w}x{h}" for h, w in sorted(shapes)[:4])
            raise FrameError(f"the frames differ in size ({some} ...); pass size= to bring them to one.")
        else:
            target = next(iter(shapes), (0, 0))
        if self._images is not None:
            return self._image_pixels(indices, target)
        out = np.empty((len(indices), *target, 1), dtype=np.float32)
        unique, first, inverse = np.unique(indices, return_index=True, return_inverse=True)
        if shapes <= {target}:
            for strip in self.strips(unique):
                for k, place in zip(
                    strip.indices, first[np.searchsorted(unique, strip.indices)], strict=True
                ):
                    top, left = self.y[k] - strip.y0, self.x[k] - strip.x0
                    out[place, ..., 0] = strip.pixels[top : top + target[0], left : left + target[1]]
        else:
            self._resize_into(unique, first, out[..., 0])
        again = np.setdiff1d(np.arange(len(indices)), first)
        out[again] = out[first[inverse[again]]]
        return out

    def _resize_into(self, indices: np.ndarray, places: np.ndarray, out: np.ndarray) -> None:
        """Bring frames, given in ascending order, to the size of the images in `out`."""
        from radiowidgets.data.resampling import resize_into  # numba: half a second to import

        def work(chunk: tuple[SkyMap, Group]) -> None:
            sky, group = chunk
            pixels = read_padded(sky, group.y0, group.y1, group.x0, group.x1)
            chosen = group.members
            box = (
                self.y[chosen] - group.y0,
                self.x[chosen] - group.x0,
                self.height[chosen],
                self.width[chosen],
            )
            y, x, height, width = (column.astype(np.int64) for column in box)
            resize_into(pixels, y, x, height, width, out, places[np.searchsorted(indices, chosen)])

        few = len(indices) < _WORTH_THREADS
        area = int((self.width[indices].astype(np.int64) * self.height[indices]).sum())
        limit = max(_RESIZED_BYTES // 8, min(_RESIZED_BYTES, area // 2))  # some for every thread
        map_chunks(work, self._groups(indices, limit), threads=1 if few else None)

    def _image_pixels(self, indices: np.ndarray, target: tuple[int, int]) -> np.ndarray:
        assert self._images is not None
        channels = {image.shape[2] if image.ndim == 3 else 1 for image in self._images}
        out = np.empty((len(indices), *target, max(channels, default=1)), dtype=np.float32)
        for position, k in enumerate(indices):
            image = np.asarray(self._images[k], dtype=np.float32)
            image = image[..., np.newaxis] if image.ndim == 2 else image
            if image.shape[:2] == target:
                out[position] = image
                continue
            from radiowidgets.data.resampling import resize  # numba: half a second to import

            for channel in range(image.shape[2]):
                out[position, ..., channel] = resize(image[..., channel], target)
        out[np.isinf(out)] = np.nan
        return out

    def batches(self, batch_size: int, size: int | None = None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield ``(indices, pixels)`` for all frames in order, `batch_size` at a time; see `pixels`."""
        _check_size("batch_size", batch_size)
        for start in range(0, len(self), batch_size):
            indices = np.arange(start, min(start + batch_size, len(self)))
            yield indices, self.pixels(indices, size)

    def network_input(self, size: int = 64, **options: Any) -> np.ndarray:
        """Return the frames as models take them, float32 (n, size, size, 1) in [0, 1], blanks filled.

        See `radiowidgets.data.preprocess.network_input`.
        """
        from radiowidgets.data.preprocess import network_input  # it builds on this module

        return network_input(self, size=size, **options)


# ------------------------------------------------------------------------------------


def cut_windows(
    maps: SkyMap | Sequence[SkyMap] | Mapping[str, SkyMap],
    size: int = 256,
    step: int | None = None,
    border: str = "flush",
) -> FrameSet:
    """Cut maps into square windows, as views: nothing is read.

    Parameters
    ----------
    maps : SkyMap, or sequence or mapping of SkyMap
    size : int
        Side of a window in pixels. A map that is smaller gives one frame of its own size.
    step : int, optional
        From one window to the next, in pixels; default: half of `size`.
    border : {'flush', 'drop'}
        Whether a last window lies flush with the border, so that every pixel is covered, or is left out.

    Returns
    -------
    FrameSet
        Map by map, row by row from the bottom.

    Raises
    ------
    ParameterError
        If a parameter is out of range, or there would be more than 20 million frames.
    FrameError
        If two different maps have the same name.
    """
    _check_size("size", size)
    if step is None:
        step = max(1, size // 2)
    _check_size("step", step)
    check_one_of("border", border, ("flush", "drop"))
    skies = list(_named(as_list(maps)).values())
    if not skies:
        raise ParameterError("no map is given; pass at least one.")
    grids = [[_starts(length, size, step, border) for length in sky.shape] for sky in skies]
    count = sum(len(ys) * len(xs) for ys, xs in grids)
    if count > MAX_FRAMES:
        raise ParameterError(
            f"size {size} and step {step} give {count} frames, more than {MAX_FRAMES}; take a larger step."
        )
    columns: list[list[np.ndarray]] = [[], [], [], [], []]
    for code, (sky, (ys, xs)) in enumerate(zip(skies, grids, strict=True)):
        ny, nx = sky.shape
        box = (code, np.tile(xs, len(ys)), np.repeat(ys, len(xs)), min(size, nx), min(size, ny))
        for column, values in zip(columns, box, strict=True):
            column.append(np.broadcast_to(np.asarray(values, np.int32), len(ys) * len(xs)))
    return FrameSet._trusted(skies, *(np.concatenate(column) for column in columns))


def make_frame_id(name: str, x: int, y: int, width: int, height: int) -> str:
    """Return the id of a frame, stable and readable.

    Examples
    --------
    >>> make_frame_id("emu", 1280, 896, 256, 256)
    'emu-x01280-y00896-256x256'
    """
    return f"{name}-x{x:05d}-y{y:05d}-{width}x{height}"


def _starts(length: int, size: int, step: int, border: str) -> np.ndarray:
    """Return the first pixels of the windows along one axis."""
    if length <= size:
        return np.zeros(1, dtype=np.int32)
    starts = np.arange(0, length - size + 1, step, dtype=np.int32)
    if border == "flush" and starts[-1] + size < length:
        starts = np.append(starts, np.int32(length - size))
    return starts


def _texts(text: Callable[..., str], *columns: np.ndarray) -> np.ndarray:
    """Return an object array of ``text(*values)`` of columns of integers, called once for each combination."""
    import pandas as pd

    codes = np.zeros(len(columns[0]), dtype=np.int64)
    for column in columns:
        own, different = pd.factorize(column)
        codes, _ = pd.factorize(codes * len(different) + own)
    # Codes count up as they appear.
    first = np.flatnonzero(np.diff(np.maximum.accumulate(codes), prepend=-1))
    values = zip(*(column[first].tolist() for column in columns), strict=True)
    return np.array([text(*value) for value in values], dtype=object)[codes]


def _check_size(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 1 <= value <= MAX_SIDE:
        raise ParameterError(
            f"{name} is {value!r}; give a whole number of pixels or frames from 1 to {MAX_SIDE}."
        )


def _integers(name: str, values: Any) -> np.ndarray:
    array = np.asarray(values)
    if array.size == 0:
        return np.zeros(array.shape, dtype=np.int64)
    if array.dtype.kind == "f":
        rounded = np.rint(array)
        if not np.array_equal(rounded, array):
            raise FrameError(
                f"{name} holds {array.reshape(-1)[0]!r}; frames lie on whole pixels: give integers."
            )
        array = rounded
    elif array.dtype.kind not in "iu":
        raise FrameError(f"{name} is of type {array.dtype}; give integers.")
    if np.abs(array.astype(np.float64)).max() >= 2**30:
        raise FrameError(f"{name} reaches {array.max()}; that is no pixel of a map.")
    return array.astype(np.int64)


def as_list(maps: Any) -> list[SkyMap]:
    """Return maps that are given alone, in a sequence or under their names as a list."""
    if isinstance(maps, SkyMap):
        return [maps]
    if isinstance(maps, Mapping):
        for name, sky in maps.items():
            if isinstance(sky, SkyMap) and sky.name != name:
                raise FrameError(
                    f"map {sky.name!r} is given under the name {name!r}; open it with name={name!r}."
                )
        maps = list(maps.values())
    if isinstance(maps, str | bytes) or not isinstance(maps, Sequence):
        raise ParameterError(f"maps is {maps!r:.60}; give maps opened with SkyMap.open.")
    for sky in maps:
        if not isinstance(sky, SkyMap):
            raise ParameterError(f"maps holds {sky!r:.60}; give maps opened with SkyMap.open.")
    return list(maps)


def _codes_of(column: "pd.Series", names: Sequence[str]) -> np.ndarray:
    """Return the positions in `names` of the maps that a table names."""
    import pandas as pd

    codes, found = pd.factorize(column.astype(str))
    position = {name: code for code, name in reversed(list(enumerate(names)))}
    absent = [name for name in found if name not in position]
    if absent:
        raise FrameError(f"the frames need map {', '.join(map(repr, absent[:5]))}; pass it in maps.")
    return np.array([position[name] for name in found], dtype=np.int64)[codes]


def _named(skies: Sequence[SkyMap]) -> dict[str, SkyMap]:
    """Return the maps by name; the same map twice counts once, two different ones of one name are refused."""
    out: dict[str, SkyMap] = {}
    for sky in skies:
        other = out.setdefault(sky.name, sky)
        if other.fingerprint != sky.fingerprint:
            first, second = (
                str(one.path or (one.url and public_address(one.url)) or "a map in memory")
                for one in (other, sky)
            )
            raise FrameError(
                f"two different maps are called {sky.name!r}: {first} and {second}; "
                "give one another name, as in SkyMap.open(path, name='other')."
            )
    return out
