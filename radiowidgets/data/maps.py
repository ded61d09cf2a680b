"""`SkyMap`: one 2-D image of the sky with its coordinates, beam, unit and frequency."""

import copy
import hashlib
import math
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.wcs import WCS

from radiowidgets.data.fitsfile import (
    BLOCK,
    ArrayPixels,
    PixelSource,
    blank_infinities,
    caught_warnings,
    join_fingerprint,
    open_image,
    sample_positions,
    shorten,
)
from radiowidgets.data.headers import (
    BEAM_SOLID_ANGLE,
    SPEED_OF_LIGHT,
    BeamSize,
    bare_pixel_scale,
    beam_size,
    celestial_wcs,
    frequency_hertz,
    parse_unit,
    pixel_area,
    slug,
    world_coordinates,
)
from radiowidgets.errors import MapError, ParameterError

if TYPE_CHECKING:
    from radio_beam import Beam

_BOLTZMANN = 1.380649e-23  # J / K


class SkyMap:
    """One 2-D radio (or infrared) image of the sky.

    Make one with `SkyMap.open` or `SkyMap.from_array`. Pixels are read when asked for; pixel (x, y) counts from 0,
    y being the row. Several threads may read one map at once.

    Attributes
    ----------
    name : str
        Key of the map in frame ids and runs: the file stem in safe characters.
    path : pathlib.Path or None
        The file; None for a map in memory.
    header : astropy.io.fits.Header
        As found in the file: untrusted text.
    wcs : astropy.wcs.WCS or None
        Celestial coordinates of the two axes.
    unit : astropy.units.UnitBase or None
    frequency : astropy.units.Quantity or None
    shape : tuple of int
        (ny, nx)
    fingerprint : str
        Recognises the map: size, hash of the header, hash of a few sampled blocks.
    notes : list of str
        What was missing, assumed or ignored, a short line each.
    """

    def __init__(
        self,
        pixels: PixelSource,
        *,
        name: str,
        path: Path | None = None,
        header: fits.Header | None = None,
        wcs: WCS | None = None,
        beam: "BeamSize | Beam | None" = None,
        unit: u.UnitBase | None = None,
        frequency: u.Quantity | None = None,
        fingerprint: str = "",
        notes: list[str] | None = None,
        pixel_scale: float | None = None,
        factor: float = 1.0,
    ) -> None:
        self._source = pixels
        self._factor = factor
        self._bare_scale = pixel_scale
        self.name = name
        self.path = path
        self.header = fits.Header() if header is None else header
        self.wcs = wcs
        self.beam = beam  # type: ignore[assignment]
        self.unit = unit
        self.frequency = frequency
        self.shape = pixels.shape
        self.fingerprint = fingerprint
        self.notes = [] if notes is None else notes

    # ------------------------------------------------------------------------------------
    # making

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], *, name: str | None = None, hdu: int | str | None = None
    ) -> "SkyMap":
        """Open a FITS image.

        A plain file is memory-mapped: opening takes milliseconds whatever its size. A tile-compressed one (.fits.fz)
        is decompressed piece by piece as it is read; a gzipped one (.fits.gz) at once, into memory. Axes of length 1
        (Stokes, frequency) are dropped.

        Parameters
        ----------
        path : str or path
        name : str, optional
            Key of the map; default: the file stem. Unsafe characters become '_'.
        hdu : int or str, optional
            Number or EXTNAME of the HDU; default: the first image of at least two axes.

        Raises
        ------
        MapError
            If the file is not a usable 2-D image: not FITS, truncated, damaged, only tables, a cube, 1-D, without
            pixels, or compressed so that it would expand to an absurd size.
        """
        image = open_image(path, hdu)
        notes = image.notes
        header, kept = image.header, image.kept
        ny, nx = image.pixels.shape
        wcs = celestial_wcs(header, kept, notes)
        scale = math.sqrt(pixel_area(wcs)) if wcs is not None else bare_pixel_scale(header, kept, notes)
        extent = None if scale is None else scale * math.hypot(nx, ny)
        hertz = frequency_hertz(header, notes)
        return cls(
            image.pixels,
            name=slug(image.path.name if name is None else name),
            path=image.path,
            header=header,
            wcs=wcs,
            beam=beam_size(header, extent, notes),
            unit=parse_unit(header.get("BUNIT"), notes),
            frequency=None if hertz is None else hertz * u.Hz,
            fingerprint=image.fingerprint,
            notes=notes,
            pixel_scale=None if scale is None else scale * 3600,
        )

    @classmethod
    def from_array(
        cls,
        array: Any,
        *,
        name: str = "map",
        wcs: WCS | None = None,
        beam: "Beam | None" = None,
        unit: u.UnitBase | str | None = None,
        frequency: u.Quantity | None = None,
        header: fits.Header | None = None,
    ) -> "SkyMap":
        """Make a map of a 2-D array, such as a mock sky; the array is not copied where it is float32 already.

        Parameters
        ----------
        array : array_like, shape (ny, nx)
        wcs : astropy.wcs.WCS, optional
            Celestial, two axes.
        beam : radio_beam.Beam, optional
        unit : astropy unit or str, optional
        frequency : astropy.units.Quantity, optional
        header : astropy.io.fits.Header, optional
            Fills in whichever of the others are not given.

        Raises
        ------
        MapError
            If the array is not two-dimensional, empty, or not made of real numbers.
        """
        values = np.asarray(array)
        if values.ndim != 2 or 0 in values.shape or values.dtype.kind not in "fiub":
            raise MapError(
                f"the array has shape {values.shape} and type {values.dtype}; a map needs real numbers in two axes."
            )
        with np.errstate(over="ignore"):
            pixels = np.ascontiguousarray(values, dtype=np.float32)
        if np.isinf(pixels).any():
            pixels = pixels.copy() if np.shares_memory(pixels, values) else pixels
            blank_infinities(pixels)
        pixels = pixels.view()
        pixels.flags.writeable = False
        notes: list[str] = []
        kept = (1, 2)
        header = fits.Header() if header is None else header.copy()
        unused: list[str] = []
        if wcs is None and header:
            wcs = celestial_wcs(header, kept, notes)
        elif wcs is not None and (wcs.naxis != 2 or not wcs.has_celestial):
            raise MapError(f"the WCS has {wcs.naxis} axes; give its celestial part (wcs.celestial).")
        scale = math.sqrt(pixel_area(wcs)) if wcs is not None else bare_pixel_scale(header, kept, notes)
        size: Any = beam
        if size is None and header:
            size = beam_size(header, None if scale is None else scale * math.hypot(*pixels.shape), notes)
        if isinstance(unit, str) or (unit is None and header):
            unit = parse_unit(unit if unit is not None else header.get("BUNIT"), notes)
        if frequency is None and header:
            hertz = frequency_hertz(header, notes)
            frequency = None if hertz is None else hertz * u.Hz
        for what, value in (
            ("celestial coordinates", wcs),
            ("beam", size),
            ("unit", unit),
            ("frequency", frequency),
        ):
            if value is None and not header:
                unused.append(f"no {what} given.")
        result = cls(
            ArrayPixels(pixels),
            name=slug(name),
            header=header,
            wcs=wcs,
            beam=size,
            unit=unit,
            frequency=frequency,
            notes=notes + unused,
            pixel_scale=None if scale is None else scale * 3600,
        )
        text = result._new_header().tostring().encode("ascii", "replace")
        raw = pixels.reshape(-1).view(np.uint8)
        blocks = hashlib.sha256()
        for position in sample_positions(raw.size):
            blocks.update(raw[position : position + 4096].tobytes())
        result.fingerprint = join_fingerprint(raw.size, text, blocks.hexdigest())
        return result

    # ------------------------------------------------------------------------------------
    # what it is

    def __repr__(self) -> str:
        ny, nx = self.shape
        unit = "no unit" if self.unit is None else str(self.unit)
        scale = "" if self.pixel_scale is None else f', {self.pixel_scale:.3g}"/pixel'
        frequency = "" if self.frequency is None else f", {self.frequency.to_value(u.GHz):.4g} GHz"
        return f"<SkyMap {self.name}: {nx} x {ny} pixels{scale}, {unit}{frequency}>"

    @property
    def beam(self) -> "Beam | None":
        """The synthesised beam, a `radio_beam.Beam`; None where it is not known."""
        if self._beam is None:
            return None
        from radio_beam import Beam  # a second to import: only where a beam is asked for

        major, minor, angle = self._beam
        return Beam(major=major * u.deg, minor=minor * u.deg, pa=angle * u.deg)

    @beam.setter
    def beam(self, value: "BeamSize | Beam | None") -> None:
        if value is not None and not isinstance(value, tuple):
            value = (value.major.to_value(u.deg), value.minor.to_value(u.deg), value.pa.to_value(u.deg))
        self._beam = value

    @property
    def pixel_scale(self) -> float | None:
        """Side of a pixel in arcsec (geometric mean of both axes); None where it is not known."""
        if self.wcs is not None:
            return math.sqrt(pixel_area(self.wcs)) * 3600
        return self._bare_scale

    @property
    def beam_area_pixels(self) -> float | None:
        """Solid angle of the beam, 1.1331 bmaj bmin, in pixels; None where beam or pixel scale is not known."""
        scale = self.pixel_scale
        if self._beam is None or scale is None:
            return None
        major, minor, _ = self._beam
        return BEAM_SOLID_ANGLE * major * minor * 3600**2 / scale**2

    def pixel_to_sky(self, x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return ICRS right ascension and declination in degrees of pixel positions; NaN off the sky or without WCS."""
        x, y = np.broadcast_arrays(np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64))
        if self.wcs is None:
            return np.full(x.shape, np.nan), np.full(x.shape, np.nan)
        ra, dec = world_coordinates(self.wcs, x.reshape(-1), y.reshape(-1))
        return ra.reshape(x.shape), dec.reshape(x.shape)

    # ------------------------------------------------------------------------------------
    # pixels

    def rows(self, y0: int, y1: int) -> np.ndarray:
        """Return rows y0 to y1 (exclusive) as a new float32 array (y1 - y0, nx); blank and infinite pixels are NaN.

        Only these rows are read; scaled and byte-swapped on the way.
        """
        return self.read(y0, y1, 0, self.shape[1])

    def read(self, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        """Return rows y0..y1 and columns x0..x1 (exclusive) as a new float32 array; see `rows`.

        Raises
        ------
        ParameterError
            If the box is empty or reaches beyond the map.
        MapError
            If the file has become unreadable since it was opened.
        """
        ny, nx = self.shape
        if not (0 <= y0 < y1 <= ny and 0 <= x0 < x1 <= nx):
            raise ParameterError(
                f"rows {y0}:{y1}, columns {x0}:{x1} are not within map {self.name} of {ny} rows and {nx} columns."
            )
        pixels = self._source.read(int(y0), int(y1), int(x0), int(x1))
        if self._factor != 1.0:
            pixels *= np.float32(self._factor)
        return pixels

    @property
    def pixels(self) -> np.ndarray:
        """The whole map as float32 (ny, nx), read-only; read anew on each call unless the map is in memory."""
        if isinstance(self._source, ArrayPixels) and self._factor == 1.0:
            return self._source.array
        pixels = self.rows(0, self.shape[0])
        pixels.flags.writeable = False
        return pixels

    def flux_per_pixel(self) -> "SkyMap":
        """Return this map in Jy/pixel, so that the sum over pixels is a flux density.

        From Jy/beam it takes the beam and the pixel scale, from Jy/sr or Jy/arcsec2 the pixel scale, from K the
        frequency too (Rayleigh-Jeans). The pixel is taken to have the same area all over the map.

        Raises
        ------
        MapError
            If what is needed is not known; set `sky.unit`, `sky.beam` or `sky.frequency` then.
        """
        unit, scale, area = self.unit, self.pixel_scale, self.beam_area_pixels
        if unit is None:
            raise MapError(f"map {self.name} has no unit; set it, for example sky.unit = 'Jy / beam'.")
        unit = u.Unit(unit)
        pixel_sr = None if scale is None else math.radians(scale / 3600) ** 2
        if unit.is_equivalent(u.Jy / u.pix):
            factor = unit.to(u.Jy / u.pix)
        elif unit.is_equivalent(u.Jy / u.beam):
            if area is None:
                raise MapError(
                    f"map {self.name} has no beam or no pixel scale, needed to leave {unit}; set sky.beam."
                )
            factor = unit.to(u.Jy / u.beam) / area
        elif pixel_sr is None:
            raise MapError(f"map {self.name} has no pixel scale, needed to leave {unit}; set sky.wcs.")
        elif unit.is_equivalent(u.Jy / u.sr):
            factor = unit.to(u.Jy / u.sr) * pixel_sr
        elif unit.is_equivalent(u.K):
            if self.frequency is None:
                raise MapError(f"map {self.name} is in {unit} and has no frequency; set sky.frequency.")
            hertz = self.frequency.to_value(u.Hz)
            factor = unit.to(u.K) * 2 * _BOLTZMANN * hertz**2 / SPEED_OF_LIGHT**2 * 1e26 * pixel_sr
        else:
            raise MapError(
                f"map {self.name} is in {unit}, which is no surface brightness; set sky.unit if it is wrong."
            )
        result = copy.copy(self)
        result._factor = self._factor * float(factor)
        result.unit = u.Jy / u.pix
        result.notes = [*self.notes, f"converted from {unit} to Jy / pix."]
        result.fingerprint = f"{self.fingerprint}-jy-per-pixel"
        return result

    # ------------------------------------------------------------------------------------
    # files

    def verify(self) -> str:
        """Return the sha256 of the file (of the pixels, for a map in memory), reading all of it.

        Raises
        ------
        MapError
            If the file is not the one that was opened any more.
        """
        digest = hashlib.sha256()
        if self.path is None:
            for y in range(self.shape[0]):
                digest.update(self._source.read(y, y + 1, 0, self.shape[1]).tobytes())
            return digest.hexdigest()
        try:
            with open(self.path, "rb") as file:
                digest = hashlib.file_digest(file, "sha256")
        except OSError as error:
            raise MapError(f"{self.path} cannot be read ({error.strerror}); put it back.") from error
        if int(self.fingerprint.split("-")[0]) != self.path.stat().st_size:
            raise MapError(f"{self.path} has changed since it was opened; open it anew.")
        return digest.hexdigest()

    def write(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the map as a plain float32 FITS file with coordinates, beam, unit and frequency.

        The file appears under its name only when it is complete.

        Raises
        ------
        MapError
            If the file exists (and `overwrite` is False), or cannot be written.
        """
        path = Path(path).expanduser()
        if path.suffix.lower() not in (".fits", ".fit", ".fts"):
            raise MapError(f"{path} does not end in .fits; maps are written as plain FITS files.")
        if path.exists() and not overwrite:
            raise MapError(f"{path} exists; choose another name or pass overwrite=True.")
        ny, nx = self.shape
        temporary = None
        try:
            with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
                temporary = file.name
                file.write(self._new_header().tostring().encode("ascii"))
                rows = max(1, 2**24 // (4 * nx))
                for y in range(0, ny, rows):
                    strip = self.rows(y, min(ny, y + rows))
                    file.write(strip.byteswap(inplace=True).data if np.little_endian else strip.data)
                file.write(b"\0" * (-(ny * nx * 4) % BLOCK))
            umask = os.umask(0)
            os.umask(umask)
            os.chmod(temporary, 0o666 & ~umask)
            os.replace(temporary, path)
        except OSError as error:
            raise MapError(
                f"{path} cannot be written ({error.strerror or error}); check folder and disk."
            ) from error
        finally:
            if temporary is not None and os.path.exists(temporary):
                os.unlink(temporary)
        return path

    def _new_header(self) -> fits.Header:
        """Return the header of a float32 file of this map: what is known now, then the rest of the old header."""
        header = fits.Header()
        header["SIMPLE"] = True
        header["BITPIX"] = -32
        header["NAXIS"] = 2
        header["NAXIS1"] = self.shape[1]
        header["NAXIS2"] = self.shape[0]
        with caught_warnings():
            if self.wcs is not None:
                header.update(self.wcs.to_header(relax=True))
            if self.unit is not None:
                header["BUNIT"] = _fits_unit(u.Unit(self.unit))
            if self._beam is not None:
                header["BMAJ"], header["BMIN"], header["BPA"] = self._beam
            if self.frequency is not None:
                header["RESTFRQ"] = self.frequency.to_value(u.Hz)
            for key in ("OBJECT", "TELESCOP", "INSTRUME", "OBSERVER", "DATE-OBS"):
                value = self.header.get(key)
                if isinstance(value, str) and key not in header:
                    header[key] = shorten(value, 60)[1:-1]
        return header


def _fits_unit(unit: u.UnitBase) -> str:
    try:
        return unit.to_string("fits")
    except ValueError:
        return unit.to_string()
