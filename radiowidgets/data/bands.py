"""Multi-band cutouts: one source in radio and infrared, on one pixel grid, at one resolution, in Jy/pixel.

compact-sources section 3.2. A set is a folder: ``sources.parquet``, and ``pixels.zarr`` with the pixels of all
sources in chunks of a few. Which sources share a chunk belongs to the set, so that one that was stopped goes on
to the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from astropy import units as u

from radiowidgets.data.building import build_lock
from radiowidgets.data.cutouts import numbers
from radiowidgets.data.frames import FrameSet, as_list
from radiowidgets.data.headers import pixel_coordinates
from radiowidgets.data.regrid import (
    METHODS,
    as_beam,
    brightness_on_grid,
    common_beam,
    flux_factor,
    kernel_moments,
)
from radiowidgets.errors import FrameError, MapError, ParameterError, check_one_of
from radiowidgets.parallel import Progress, map_chunks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from numpy.typing import NDArray
    from radio_beam import Beam

    from radiowidgets.data.maps import SkyMap

FIVE_BANDS = ("radio", "3.4um", "4.6um", "12um", "22um")
SEVEN_BANDS = ("radio", "3.4um", "4.6um", "8um", "12um", "22um", "70um")

FORMAT = 1
_CHUNK_BYTES = 8 * 2**20
_MOST_TOGETHER = 64
_WIDEST = 2048  # pixels; compact sources are a few beams across


class _Survey(NamedTuple):
    """What images of a survey do not always say: FWHM in arcsec, Jy of magnitude 0."""

    fwhm: float
    zero_flux: float | None


# Resolutions: compact-sources section 2.3. Zero magnitudes of WISE: Jarrett et al. 2011, ApJ 735, 112.
_SURVEYS = {
    "3.4um": _Survey(6.1, 309.540),
    "4.6um": _Survey(6.4, 171.787),
    "8um": _Survey(2.0, None),
    "12um": _Survey(6.5, 31.674),
    "22um": _Survey(12.0, 8.363),
    "70um": _Survey(8.5, None),
}


@dataclass(frozen=True)
class Band:
    """One band: its maps, and what their headers do not say.

    Attributes
    ----------
    name : str
        Bands called as in `SEVEN_BANDS` know the resolution of their survey, and those of WISE their zero flux.
    maps : SkyMap or sequence of SkyMap
        Where several show a source, the one with the fewest blank pixels is taken.
    beam : radio_beam.Beam or angle, optional
        Resolution (FWHM) of the maps that have no beam.
    zero_flux, zero_point : float, optional
        Jy of magnitude 0, and magnitude of one data number (default: MAGZP of the header), for maps in DN.
    bandwidth : float, optional
        Hz, for maps in W/(m2 sr).
    frequency : astropy.units.Quantity, optional
        For maps in K that do not tell it.
    """

    name: str
    maps: SkyMap | Sequence[SkyMap]
    beam: Beam | u.Quantity | None = None
    zero_flux: float | None = None
    zero_point: float | None = None
    bandwidth: float | None = None
    frequency: u.Quantity | None = None

    def skies(self) -> list[SkyMap]:
        """Return the maps as a list."""
        return as_list(self.maps)

    def resolution(self, sky: SkyMap) -> Beam:
        """Return the beam of one of the maps.

        Raises
        ------
        MapError
            If nobody tells it.
        """
        if sky.beam is not None:
            return sky.beam
        if self.beam is not None:
            return as_beam(self.beam)
        if self.name in _SURVEYS:
            return as_beam(_SURVEYS[self.name].fwhm * u.arcsec)
        raise MapError(
            f"map {sky.name} of band {self.name!r} has no beam; give Band(..., beam=6 * u.arcsec), its FWHM."
        )

    def flux_factor(self, sky: SkyMap) -> float:
        """Return what brings the pixels of one of the maps to Jy per pixel of it; see `regrid.flux_factor`."""
        zero_flux = self.zero_flux
        if zero_flux is None and self.name in _SURVEYS:
            zero_flux = _SURVEYS[self.name].zero_flux
        return flux_factor(
            sky,
            zero_flux=zero_flux,
            zero_point=self.zero_point,
            bandwidth=self.bandwidth,
            frequency=self.frequency,
            beam=self.resolution(sky),
        )


class _Layer(NamedTuple):
    """One map of a band, ready to cut from."""

    sky: SkyMap
    beam: Beam
    turned: bool  # its north is not that of the sky's equator
    brightness: float  # Jy/arcsec2 of one unit of its pixels


class _Plan(NamedTuple):
    """How every source of a set is cut."""

    names: list[str]
    layers: list[list[_Layer]]
    scale: float
    beam: Beam | None
    size: float
    method: str
    least_response: float | None


def cut_bands(
    bands: Mapping[str, SkyMap | Sequence[SkyMap]] | Sequence[Band],
    catalogue: pd.DataFrame,
    path: str | os.PathLike[str],
    *,
    size: float = 2.5,
    pixel_scale: float | None = None,
    beam: Beam | u.Quantity | bool = True,
    method: str = "interp",
    correct_primary_beam: bool = False,
    least_response: float = 0.1,
    threads: int | None = None,
    progress: str | Progress | None = None,
) -> FrameSet:
    """Cut every source of a catalogue from several bands and write them to a folder.

    For each source and band: the map is brought to a grid of square pixels round the source, north up; convolved
    to the common beam; converted to Jy/pixel; and cropped. The paper takes 10 r_s of the map for that; here it is
    as much as the convolution reaches (5 sigma of its kernel), for more does not change the result. A band that
    does not show a source is missing: all its pixels are NaN, and the table of sources says so. Called again
    after it was stopped, it goes on.

    Parameters
    ----------
    bands : mapping of str to SkyMap or sequence of SkyMap, or sequence of Band
        The first is the reference, in which the sources were found: a source outside it is left out.
    catalogue : pandas.DataFrame
        Columns ra, dec (ICRS degrees) and radius: r_s, the radius in arcsec of the circle round the island's
        bounding box, as `find_sources` gives it. A column name, if all names differ, gives the frame ids.
    path : str or path
        Folder to make or to go on with.
    size : float
        Side of the cutouts in r_s.
    pixel_scale : float, optional
        Arcsec; default: that of the first map of the reference.
    beam : radio_beam.Beam, angle or bool
        The common resolution. True: the smallest that all maps can be brought to. False: leave each as it is.
    method : {'interp', 'exact'}
        See `regrid.brightness_on_grid`; 'exact' conserves flux to rounding and takes a few times longer.
    correct_primary_beam : bool
        Divide maps that have a `primary_beam` by it, blank below `least_response`.
    least_response : float
    threads : int, optional
    progress : str or callable, optional

    Returns
    -------
    FrameSet
        See `open_bands`; its `left_out` lists the sources that are not in it.

    Raises
    ------
    ParameterError, MapError
        If a parameter makes no sense, or a map lacks what is needed.
    FrameError
        If the folder holds something else or cannot be written.
    """
    listed = _as_bands(bands)
    _check(size, method, least_response)
    plan = _plan(listed, size, pixel_scale, beam, method, least_response if correct_primary_beam else None)
    sources, left_out = _choose_sources(plan, catalogue)
    if len(left_out):
        which, counts = np.unique(left_out["reason"].to_numpy(dtype=str), return_counts=True)
        parts = ", ".join(f"{n} {why}" for why, n in zip(which, counts, strict=True))
        warnings.warn(
            f"{len(left_out)} of {len(catalogue)} sources are left out: {parts}; see frames.left_out.",
            stacklevel=2,
        )
    if len(sources) == 0:
        raise ParameterError("no source is left; are ra, dec in degrees, radius in arcsec, and on the maps?")
    folder = Path(path)
    _make_folder(folder)
    with build_lock(folder, FrameError):
        _fill(folder, plan, sources, threads, progress)
    frames = open_bands(folder)
    frames.left_out = left_out
    return frames


def open_bands(path: str | os.PathLike[str]) -> FrameSet:
    """Open a folder that `cut_bands` wrote.

    Returns
    -------
    FrameSet
        One frame a source with a channel for each band, in Jy/pixel; pixels are read when asked for. Its `sources`
        is the catalogue, with the columns missing_<band>, whether a band does not show the source, and
        covered_<band>, the fraction of pixels that are not blank, and in its `attrs` the unit, the pixel scale, the
        common beam (major, minor, angle; None if there is none) and the side in r_s; `channels` names the bands.

    Raises
    ------
    FrameError
        If the folder holds no such set, or one that was not finished.
    """
    import pandas as pd

    folder = Path(path)
    group = _open_group(folder)
    about = group.attrs.asdict()
    covered = np.asarray(group["covered"][:])
    if np.isnan(covered).any():
        done = int((~np.isnan(covered[:, 0])).sum())
        raise FrameError(
            f"{folder} has {done} of {len(covered)} sources; call cut_bands again with the same input to go on."
        )
    table = pd.read_parquet(folder / "sources.parquet").set_index("_index").rename_axis(None)
    sides = table.pop("_side").to_numpy()
    ids = table.pop("_frame_id").tolist()
    for k, name in enumerate(about["bands"]):
        table[f"missing_{name}"] = covered[:, k] == 0
        table[f"covered_{name}"] = covered[:, k]
    stored = _Stored(group["pixels"])
    frames = FrameSet.from_images([_Image(stored, k, int(side)) for k, side in enumerate(sides)], ids)
    frames.place(table["ra"].to_numpy(), table["dec"].to_numpy())
    table.attrs = {name: about[name] for name in ("unit", "pixel_scale_arcsec", "beam_arcsec_deg", "size")}
    frames.sources = table
    frames.channels = tuple(about["bands"])
    return frames


# ------------------------------------------------------------------------------------
# planning


def _as_bands(bands: Any) -> list[Band]:
    from collections.abc import Mapping

    if isinstance(bands, Mapping):
        bands = [maps if isinstance(maps, Band) else Band(name, maps) for name, maps in bands.items()]
    bands = list(bands)
    if not bands or not all(isinstance(band, Band) for band in bands):
        raise ParameterError("bands are given as {'radio': map, '12um': map} or as a list of Band.")
    names = [band.name for band in bands]
    if len(set(names)) < len(names):
        raise ParameterError(f"the bands are called {', '.join(names)}; give each a name of its own.")
    for band in bands:
        if not band.skies():
            raise ParameterError(f"band {band.name!r} has no map; leave it out.")
    return bands


def _check(size: float, method: str, least_response: float) -> None:
    check_one_of("method", method, METHODS)
    if not 0 < size < math.inf:
        raise ParameterError(f"size is {size!r} radii; give a number above 0, such as 2.5.")
    if not 0 < least_response < 1:
        raise ParameterError(
            f"least_response is {least_response!r}; give a number between 0 and 1, such as 0.1."
        )


def _plan(
    bands: list[Band],
    size: float,
    pixel_scale: float | None,
    beam: Beam | u.Quantity | bool,
    method: str,
    least_response: float | None,
) -> _Plan:
    layers = [[_layer(band, sky) for sky in band.skies()] for band in bands]
    everything = [layer for band in layers for layer in band]
    scale = layers[0][0].sky.pixel_scale if pixel_scale is None else pixel_scale
    if scale is None or not 0 < scale < 3600:
        raise ParameterError(f"pixel_scale is {scale!r}; give arcsec.")
    if isinstance(beam, bool):
        turned = len({layer.turned for layer in everything}) > 1
        common = common_beam([layer.beam for layer in everything], turned=turned) if beam else None
    else:
        common = as_beam(beam)
    if common is not None:
        for layer in everything:
            if kernel_moments(layer.beam, common) is None:
                raise ParameterError(
                    f"the beam {common} is smaller than that of map {layer.sky.name}, {layer.beam}; give a larger one."
                )
        if common.minor.to_value(u.arcsec) < 1.5 * scale:
            warnings.warn(
                f"pixels of {scale:.3g} arcsec are coarse for a beam of {common.minor.to_value(u.arcsec):.3g}; "
                "pass a smaller pixel_scale to keep positions and shapes.",
                stacklevel=3,
            )
    names = [band.name for band in bands]
    return _Plan(names, layers, float(scale), common, size, method, least_response)


def _layer(band: Band, sky: SkyMap) -> _Layer:
    if sky.wcs is None or sky.pixel_scale is None:
        raise MapError(f"map {sky.name} of band {band.name!r} has no coordinates; set sky.wcs.")
    turned = sky.wcs.wcs.lngtyp.strip() != "RA"
    return _Layer(sky, band.resolution(sky), turned, band.flux_factor(sky) / sky.pixel_scale**2)


def _choose_sources(plan: _Plan, catalogue: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the sources that will be cut, with _side and _frame_id, and those that will not, with a reason."""
    import pandas as pd

    missing = [name for name in ("ra", "dec", "radius") if name not in catalogue.columns]
    if missing:
        raise ParameterError(
            f"the catalogue has no column {', '.join(missing)}; it needs ra, dec in degrees and radius in arcsec."
        )
    ra, dec, radius = (numbers(catalogue, name) for name in ("ra", "dec", "radius"))
    inside = np.zeros(len(catalogue), dtype=bool)
    for layer in plan.layers[0]:
        assert layer.sky.wcs is not None
        x, y = pixel_coordinates(layer.sky.wcs, ra, dec)
        ny, nx = layer.sky.shape
        inside |= (x >= -0.5) & (y >= -0.5) & (x < nx - 0.5) & (y < ny - 0.5)
    with np.errstate(invalid="ignore"):
        side = np.ceil(plan.size * radius / plan.scale - 1e-6)
    side += 1 - side % 2  # odd, so that the source is in the central pixel
    reason = np.full(len(catalogue), "", dtype=object)
    reason[~inside] = f"outside {plan.names[0]}"
    reason[~(np.isfinite(ra) & np.isfinite(dec))] = "no position"
    reason[(reason == "") & ~(radius > 0)] = "no radius"
    reason[(reason == "") & (side > _WIDEST)] = f"wider than {_WIDEST} pixels"
    kept = np.flatnonzero(reason == "")
    sources = pd.DataFrame(catalogue.iloc[kept]).copy()
    sources["_side"] = side[kept].astype(np.int32)
    sources["_frame_id"] = _frame_ids(sources)
    out = np.flatnonzero(reason != "")
    return sources, catalogue.iloc[out].assign(reason=reason[out])


def _frame_ids(sources: pd.DataFrame) -> list[str]:
    """Return the catalogue's names, or names of positions, where all differ."""
    if "name" in sources.columns and sources["name"].notna().all() and sources["name"].is_unique:
        return [str(name) for name in sources["name"]]
    from astropy.coordinates import SkyCoord

    places = SkyCoord(sources["ra"].to_numpy() * u.deg, sources["dec"].to_numpy() * u.deg)
    ra = places.ra.to_string(u.hour, sep="", precision=2, pad=True)
    dec = places.dec.to_string(u.deg, sep="", precision=1, pad=True, alwayssign=True)
    ids: list[str] = []
    seen: dict[str, int] = {}
    for text in (f"J{a}{d}" for a, d in zip(np.atleast_1d(ra), np.atleast_1d(dec), strict=True)):
        seen[text] = seen.get(text, 0) + 1
        ids.append(text if seen[text] == 1 else f"{text}-{seen[text]}")
    return ids


# ------------------------------------------------------------------------------------
# cutting


def _cut(plan: _Plan, ra: float, dec: float, side: int) -> NDArray[np.float32]:
    """Return one source in all bands, (side, side, bands)."""
    out = np.full((side, side, len(plan.layers)), np.nan, np.float32)
    for k, layers in enumerate(plan.layers):
        best = 0
        for layer in layers:
            image = _cut_layer(plan, layer, ra, dec, side)
            seen = 0 if image is None else int(np.isfinite(image).sum())
            if image is not None and seen > best:
                best = seen
                out[..., k] = image * np.float32(layer.brightness * plan.scale**2)
            if best == side**2:
                break
    return out


def _cut_layer(plan: _Plan, layer: _Layer, ra: float, dec: float, side: int) -> NDArray[np.float32] | None:
    kernel, margin = None, 0
    if plan.beam is not None:
        turn = _north(layer.sky, ra, dec) if layer.turned and layer.beam.major != layer.beam.minor else 0.0
        kernel = kernel_moments(layer.beam, plan.beam, turn)
        assert kernel is not None
        margin = math.ceil(5 * math.sqrt(max(0.0, np.linalg.eigvalsh(kernel)[-1])) / plan.scale)
    return brightness_on_grid(
        layer.sky,
        ra,
        dec,
        side,
        plan.scale,
        kernel=kernel,
        margin=margin,
        method=plan.method,
        least_response=plan.least_response,
    )


def _north(sky: SkyMap, ra: float, dec: float) -> float:
    """Return the position angle (radians) of the north of a map's own coordinates."""
    from astropy.coordinates import ICRS, SkyCoord
    from astropy.wcs.utils import wcs_to_celestial_frame

    here = SkyCoord(ra * u.deg, dec * u.deg)
    there = here.transform_to(wcs_to_celestial_frame(sky.wcs))
    north = there.directional_offset_by(0 * u.deg, 1 * u.arcsec).transform_to(ICRS())
    return float(here.position_angle(north).to_value(u.rad))


# ------------------------------------------------------------------------------------
# the folder


def _make_folder(folder: Path) -> None:
    known = {"sources.parquet", "pixels.zarr", "build.lock"}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        others = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise FrameError(f"{folder} cannot be made ({error.strerror}); choose another folder.") from error
    others = [name for name in others if name not in known]
    if others:
        raise FrameError(f"{folder} holds other things ({others[0]}, ...); choose another folder.")


def _about(plan: _Plan, sources: pd.DataFrame) -> dict[str, Any]:
    """Return what makes a set what it is."""
    table = hashlib.sha256()
    for name in ("ra", "dec", "radius", "_side"):
        table.update(np.ascontiguousarray(sources[name], dtype="<f8").tobytes())
    table.update("\n".join(sources["_frame_id"]).encode())
    maps = {
        name: [
            [layer.sky.name, layer.sky.fingerprint, layer.brightness, *_axes(layer.beam)] for layer in layers
        ]
        for name, layers in zip(plan.names, plan.layers, strict=True)
    }
    return {
        "format": FORMAT,
        "bands": plan.names,
        "unit": "Jy / pix",
        "pixel_scale_arcsec": plan.scale,
        "beam_arcsec_deg": None if plan.beam is None else list(_axes(plan.beam)),
        "size": plan.size,
        "method": plan.method,
        "least_response": plan.least_response,
        "maps": maps,
        "sources": table.hexdigest(),
    }


def _axes(beam: Beam) -> tuple[float, float, float]:
    return (
        float(beam.major.to_value(u.arcsec)),
        float(beam.minor.to_value(u.arcsec)),
        float(beam.pa.to_value(u.deg)),
    )


def _fill(
    folder: Path, plan: _Plan, sources: pd.DataFrame, threads: int | None, progress: str | Progress | None
) -> None:
    about = json.loads(json.dumps(_about(plan, sources)))
    place = folder / "pixels.zarr"
    try:
        if place.exists():
            _check_same(folder, about)
            for leftover in place.rglob("*.partial"):
                leftover.unlink()
        else:
            _create(folder, about, sources)
        group = _open_group(folder, mode="r+")
        pixels: Any = group["pixels"]
        together = pixels.chunks[0]
        done = ~np.isnan(np.asarray(group["covered"][:, 0]))
        starts = [k for k in range(0, len(sources), together) if not done[k]]
        columns = [sources[name].to_numpy() for name in ("ra", "dec", "_side")]

        def work(start: int) -> None:
            part = slice(start, min(start + together, len(sources)))
            block = np.full((part.stop - start, *pixels.shape[1:]), np.nan, np.float32)
            covered = np.zeros((part.stop - start, len(plan.names)), np.float32)
            for k, row in enumerate(zip(*(column[part] for column in columns), strict=True)):
                ra, dec, side = row
                image = _cut(plan, float(ra), float(dec), int(side))
                block[k, :side, :side] = image
                covered[k] = np.isfinite(image).mean(axis=(0, 1))
            pixels[part] = block
            group["covered"][part] = covered  # last: it says that the chunk is there

        map_chunks(work, starts, threads=threads, progress=progress)
    except OSError as error:
        raise FrameError(
            f"{folder} cannot be written ({error.strerror}); free some space and call cut_bands again to go on."
        ) from error


def _check_same(folder: Path, about: dict[str, Any]) -> None:
    known = _open_group(folder).attrs.asdict()
    for key, value in about.items():
        if known.get(key) != value:
            what = f"{key} {known.get(key)!r:.60}, not {value!r:.60}" if key != "maps" else "other maps"
            raise FrameError(f"{folder} was made with {what}; choose another folder or the same input.")


def _create(folder: Path, about: dict[str, Any], sources: pd.DataFrame) -> None:
    """Make an empty set: what is unfinished does not stand under its name."""
    import zarr

    n, side, bands = len(sources), int(sources["_side"].max()), len(about["bands"])
    together = max(1, min(_MOST_TOGETHER, n, _CHUNK_BYTES // (4 * bands * side**2)))
    draft = folder / f".pixels.zarr.{os.getpid()}"
    shutil.rmtree(draft, ignore_errors=True)
    group = zarr.create_group(draft, attributes=about)
    group.create_array(
        "pixels", shape=(n, side, side, bands), chunks=(together, side, side, bands), dtype="float32",
        fill_value=np.nan, dimension_names=("source", "y", "x", "band"),
    )  # fmt: skip
    group.create_array(
        "covered", shape=(n, bands), chunks=(together, bands), dtype="float32", fill_value=np.nan,
        dimension_names=("source", "band"),
    )  # fmt: skip
    table = sources.rename_axis("_index").reset_index()
    table_draft = folder / f".sources.parquet.{os.getpid()}"
    try:
        table.to_parquet(table_draft, index=False)
    except (ValueError, TypeError) as error:  # those of Arrow among them
        table_draft.unlink(missing_ok=True)
        raise ParameterError(f"the catalogue cannot be written as Parquet: {error}") from error
    table_draft.replace(folder / "sources.parquet")
    draft.replace(folder / "pixels.zarr")


def _open_group(folder: Path, mode: Any = "r") -> Any:
    import zarr

    place = folder / "pixels.zarr"
    if not place.is_dir() or not (folder / "sources.parquet").is_file():
        raise FrameError(f"{folder} holds no multi-band cutouts; make them with cut_bands.")
    try:
        group = zarr.open_group(place, mode=mode)
        about = group.attrs.asdict()
        pixels: Any = group["pixels"]
        group["covered"]
    except (KeyError, ValueError, TypeError, OSError) as error:
        raise FrameError(f"{place} is damaged; remove the folder and make it anew.") from error
    if about.get("format") != FORMAT:
        raise FrameError(f"{place} has format {about.get('format')!r}; this version reads {FORMAT}.")
    bands = about.get("bands")
    if not isinstance(bands, list) or pixels.shape[-1:] != (len(bands),):
        raise FrameError(f"{place} is damaged; remove the folder and make it anew.")
    return group


class _Stored:
    """Pixels in a Zarr array; the chunk read last is kept, for neighbours are asked for together."""

    def __init__(self, array: Any) -> None:
        self.array = array
        self._last: tuple[int, NDArray[np.float32]] | None = None

    def read(self, k: int) -> NDArray[np.float32]:
        together = self.array.chunks[0]
        number = k // together
        last = self._last
        if last is None or last[0] != number:
            last = (number, np.asarray(self.array[number * together : (number + 1) * together]))
            self._last = last
        return last[1][k - number * together]


class _Image:
    """One source of a set: an array that is read when it is looked at."""

    ndim = 3
    dtype = np.dtype(np.float32)

    def __init__(self, stored: _Stored, k: int, side: int) -> None:
        self._stored, self._k = stored, k
        self.shape = (side, side, stored.array.shape[3])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        pixels = self._stored.read(self._k)[: self.shape[0], : self.shape[1]]
        return np.array(pixels, dtype=dtype or self.dtype)
