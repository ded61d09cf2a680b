"""`SkyMap`: one 2-D image of the sky with its coordinates, beam, unit and frequency."""

import copy
import hashlib
import math
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.wcs import WCS

from radiowidgets.data.cards import card, caught_warnings, shorten
from radiowidgets.data.fitsfile import BLOCK, FilePixels, join_fingerprint, open_image, sample_positions
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
from radiowidgets.data.pixels import ArrayPixels, PixelSource, blank_infinities
from radiowidgets.data.remote import RemoteFile, file_name, public_address
from radiowidgets.errors import MapError, ParameterError

if TYPE_CHECKING:
    from radio_beam import Beam

_BOLTZMANN = 1.380649e-23  # J / K
_CONVERTED = "-jy-per-pixel"  # marks the fingerprint of a converted map


class SkyMap:
    """One 2-D radio (or infrared) image of the sky.

    Make one with `SkyMap.open` or `SkyMap.from_array`. Pixels are read when asked for; (x, y) counts from 0,
    y being the row. Several threads may read one map at once.

    Attributes
    ----------
    name : str
        Key of the map in frame ids and runs: the file stem in safe characters.
    path : pathlib.Path or None
        The file; None for a map in memory, or behind an address.
    url : str or None
        The address of a map on a web server or an object store.
    hdu : int or str or None
        The HDU that was asked for when it was opened.
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
    primary_beam : SkyMap or None
        Response of the antennas, 1 on axis, where the map is not corrected for it; on any grid. Set it by hand:
        ``sky.primary_beam = SkyMap.open("PrimaryBeam.fits")``.
    """

    primary_beam: "SkyMap | None" = None
    url: str | None = None

    def __init__(
        self,
        pixels: PixelSource,
        *,
        name: str,
        path: Path | None = None,
        hdu: int | str | None = None,
        header: fits.Header | None = None,
        wcs: WCS | None = None,
        beam: "BeamSize | Beam | None" = None,
        unit: u.UnitBase | None = None,
        frequency: u.Quantity | None = None,
        fingerprint: str = "",
        notes: list[str] | None = None,
        pixel_scale: float | None = None,
    ) -> None:
        self._source = pixels
        self._factor = 1.0
        self.hdu = hdu
        self._bare_scale = pixel_scale  # arcsec, for a map without coordinates
        self.name = name
        self.path = path
        self.header = fits.Header() if header is None else header
        self.wcs = wcs
        self.beam = beam
        self.unit = unit
        self.frequency = frequency
        self.shape = pixels.shape
        self.fingerprint = fingerprint
        self.notes = [] if notes is None else notes

    # --------------------------------------------------------------------------------
    # making

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], *, name: str | None = None, hdu: int | str | None = None
    ) -> "SkyMap":
        """Open a FITS image.

        A plain file is memory-mapped: opening takes milliseconds whatever its size. A tile-compressed one
        (.fits.fz) is decompressed piece by piece as it is read, a gzipped one (.fits.gz) at once, to memory.
        Axes of length 1 (Stokes, frequency) are dropped. Of a plain file behind an address only the ranges needed
        are read, from servers that send ranges: each look at pixels is a request, or a few.

        Parameters
        ----------
        path : str or path
            Or an address: ``https://``, ``s3://`` (with s3fs), ``gs://`` (gcsfs), ``az://`` (adlfs), as fsspec is set
            up to read them.
        name : str, optional
            Key of the map; default: the file stem. Unsafe characters become '_'.
        hdu : int or str, optional
            Number or EXTNAME of the HDU; default: the first image of at least two axes.

        Raises
        ------
        MapError
            If the file is no usable 2-D image: not FITS, truncated, damaged, only tables, a cube, 1-D,
            without pixels, or compressed so that it would expand to an absurd size; or if a server sends no ranges.
        MissingExtraError
            If a package is not installed that reads from such an address.
        """
        image = open_image(path, hdu)
        header, kept, notes = image.header, image.kept, image.notes
        wcs = celestial_wcs(header, kept, notes)
        scale = _pixel_scale(wcs, header, kept, notes)
        sky = cls(
            image.pixels,
            name=slug(name or (image.path.name if isinstance(image.path, Path) else file_name(image.path))),
            path=image.path if isinstance(image.path, Path) else None,
            hdu=hdu,
            header=header,
            wcs=wcs,
            beam=beam_size(header, _extent(scale, image.pixels.shape), notes),
            unit=parse_unit(card(header, "BUNIT"), notes),
            frequency=_quantity(frequency_hertz(header, notes)),
            fingerprint=image.fingerprint,
            notes=notes,
            pixel_scale=scale,
        )
        sky.url = image.path if isinstance(image.path, str) else None
        return sky

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
        """Make a map of a 2-D array, such as a mock sky; a float32 array is not copied.

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
                f"the array has shape {values.shape} and type {values.dtype}; give real numbers in two axes."
            )
        with np.errstate(over="ignore"):
            pixels = np.ascontiguousarray(values, dtype=np.float32)
        if np.isinf(pixels).any():
            pixels = pixels.copy() if np.shares_memory(pixels, values) else pixels
            blank_infinities(pixels)
        pixels = pixels.view()
        pixels.flags.writeable = False
        notes: list[str] = []
        known = header is not None and len(header) > 0
        header = fits.Header() if header is None else header.copy()
        if wcs is not None and (wcs.naxis != 2 or not wcs.has_celestial):
            raise MapError(f"the WCS has {wcs.naxis} axes; give its celestial part (wcs.celestial).")
        if wcs is None and known:
            wcs = celestial_wcs(header, (1, 2), notes)
        scale = _pixel_scale(wcs, header, (1, 2), notes)
        size: Any = beam
        if size is None and known:
            size = beam_size(header, _extent(scale, pixels.shape), notes)
        if isinstance(unit, str) or (unit is None and known):
            unit = parse_unit(card(header, "BUNIT") if unit is None else unit, notes)
        if frequency is None and known:
            frequency = _quantity(frequency_hertz(header, notes))
        if not known:
            given = {"celestial coordinates": wcs, "beam": size, "unit": unit, "frequency": frequency}
            notes += [f"no {what} given." for what, value in given.items() if value is None]
        result = cls(
            ArrayPixels(pixels),
            name=slug(name),
            header=header,
            wcs=wcs,
            beam=size,
            unit=None if unit is None else u.Unit(unit),
            frequency=frequency,
            notes=notes,
            pixel_scale=scale,
        )
        text = result.new_header().tostring().encode("ascii", "replace")
        raw = pixels.reshape(-1).view(np.uint8)
        blocks = hashlib.sha256()
        for position in sample_positions(raw.size):
            blocks.update(raw[position : position + 4096].tobytes())
        result.fingerprint = join_fingerprint(raw.size, text, blocks.hexdigest())
        return result

    # --------------------------------------------------------------------------------
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
        self._beam: BeamSize | None = value

    @property
    def pixel_scale(self) -> float | None:
        """Side of a pixel in arcsec (geometric mean of both axes); None where it is not known."""
        if self.wcs is not None:
            return math.sqrt(pixel_area(self.wcs)) * 3600
        return self._bare_scale

    @property
    def beam_area_pixels(self) -> float | None:
        """Solid angle of the beam, 1.1331 bmaj bmin, in pixels; None where it is not known."""
        scale = self.pixel_scale
        if self._beam is None or scale is None:
            return None
        major, minor, _ = self._beam
        return BEAM_SOLID_ANGLE * major * minor * 3600**2 / scale**2

    def pixel_to_sky(self, x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return ICRS right ascension and declination in degrees of pixels; NaN where there is no sky."""
        x, y = np.broadcast_arrays(np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64))
        if self.wcs is None:
            return np.full(x.shape, np.nan), np.full(x.shape, np.nan)
        ra, dec = world_coordinates(self.wcs, x.reshape(-1), y.reshape(-1))
        return ra.reshape(x.shape), dec.reshape(x.shape)

    # --------------------------------------------------------------------------------
    # pixels

    def rows(self, y0: int, y1: int) -> np.ndarray:
        """Return rows y0 to y1 (exclusive) as a new float32 array (y1 - y0, nx).

        Only these rows are read, scaled and byte-swapped on the way; blank and infinite pixels become NaN.
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
                f"rows {y0}:{y1}, columns {x0}:{x1} are not within map {self.name} ({ny} rows, {nx} columns)."
            )
        pixels = self._source.read(int(y0), int(y1), int(x0), int(x1))
        if self._factor != 1.0:
            pixels *= np.float32(self._factor)
        return pixels

    @property
    def pixels(self) -> np.ndarray:
        """The whole map as float32 (ny, nx), read-only; read anew each time unless the map is in memory."""
        if isinstance(self._source, ArrayPixels) and self._factor == 1.0:
            return self._source.array
        pixels = self.rows(0, self.shape[0])
        pixels.flags.writeable = False
        return pixels

    def light(self, copied: Path | None = None) -> "SkyMap":
        """Return this map as it is sent to other processes: its pixels are read there, from the file.

        It has the scale, the beam and the unit of this map, but neither header nor coordinates, which astropy would
        round on the way.

        Parameters
        ----------
        copied : path, optional
            Where a map that lives in memory was written by `write`.
        """
        result = copy.copy(self)
        place = self.path or self.url
        if place is not None:
            known = self.fingerprint.removesuffix(_CONVERTED)
            result._source = FilePixels(place, self.hdu, self.shape, known)
        elif copied is not None:
            result._source = FilePixels(copied, None, self.shape)
            result._factor = 1.0
        result.wcs, result._bare_scale = None, self.pixel_scale
        result.header, result.notes, result.primary_beam = fits.Header(), [], None
        return result

    def flux_per_pixel(self) -> "SkyMap":
        """Return this map in Jy/pixel, so that the sum over pixels is a flux density.

        From Jy/beam it takes the beam and the pixel scale, from Jy/sr or Jy/arcsec2 the pixel scale, from K
        the frequency too (Rayleigh-Jeans). Pixels are taken to have the same area all over the map.

        Raises
        ------
        MapError
            If what is needed is not known; set `sky.unit`, `sky.beam` or `sky.frequency` then.
        """
        factor = self.flux_factor()
        result = copy.copy(self)
        result._factor = self._factor * factor
        result.unit = u.Jy / u.pix
        result.notes = [*self.notes, f"converted from {self.unit} to Jy / pix."]
        result.fingerprint = self.fingerprint.removesuffix(_CONVERTED) + _CONVERTED
        return result

    def flux_factor(self) -> float:
        """Return what a pixel is multiplied by to be in Jy/pixel; raises as `flux_per_pixel` does."""
        if self.unit is None:
            raise MapError(f"map {self.name} has no unit; set it, as in sky.unit = 'Jy / beam'.")
        unit = u.Unit(self.unit)
        if unit.is_equivalent(u.Jy / u.pix):
            return float(unit.to(u.Jy / u.pix))
        if unit.is_equivalent(u.Jy / u.beam):
            area = self.beam_area_pixels
            if area is None:
                missing = "beam" if self._beam is None else "pixel scale"
                raise MapError(f"map {self.name} is in {unit} and has no {missing}; set sky.beam or sky.wcs.")
            return float(unit.to(u.Jy / u.beam)) / area
        scale = self.pixel_scale
        if scale is None:
            raise MapError(f"map {self.name} is in {unit} and has no pixel scale; set sky.wcs.")
        pixel = math.radians(scale / 3600) ** 2
        if unit.is_equivalent(u.Jy / u.sr):
            return float(unit.to(u.Jy / u.sr)) * pixel
        if unit.is_equivalent(u.K):
            if self.frequency is None:
                raise MapError(f"map {self.name} is in {unit} and has no frequency; set sky.frequency.")
            hertz = self.frequency.to_value(u.Hz)
            return float(unit.to(u.K)) * 2 * _BOLTZMANN * (hertz / SPEED_OF_LIGHT) ** 2 * 1e26 * pixel
        raise MapError(
            f"map {self.name} is in {unit}, which is no surface brightness; set sky.unit if it is."
        )

    # --------------------------------------------------------------------------------
    # files

    def verify(self) -> str:
        """Return the sha256 of the file (of the pixels, for a map in memory), reading all of it.

        Raises
        ------
        MapError
            If the file is not the one that was opened any more.
        """
        if self.url is not None:
            if open_image(self.url, self.hdu).fingerprint != self.fingerprint.removesuffix(_CONVERTED):
                raise MapError(f"{public_address(self.url)} has changed since it was opened; open it anew.")
            return RemoteFile(self.url).sha256()
        if self.path is None:
            digest = hashlib.sha256()
            for y in range(self.shape[0]):
                digest.update(self._source.read(y, y + 1, 0, self.shape[1]).tobytes())
            return digest.hexdigest()
        if open_image(self.path, self.hdu).fingerprint != self.fingerprint.removesuffix(_CONVERTED):
            raise MapError(f"{self.path} has changed since it was opened; open it anew.")
        try:
            with self.path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise MapError(f"{self.path} cannot be read ({error.strerror}); put it back.") from error

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
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            with temporary.open("xb") as file:
                self._write_to(file)
            temporary.replace(path)
        except OSError as error:
            reason = error.strerror or error
            raise MapError(f"{path} cannot be written ({reason}); check the folder and the disk.") from error
        finally:
            temporary.unlink(missing_ok=True)
        return path

    def _write_to(self, file: BinaryIO) -> None:
        ny, nx = self.shape
        rows = max(1, 2**24 // (4 * nx))
        file.write(self.new_header().tostring().encode("ascii"))
        file.writelines(self.rows(y, min(ny, y + rows)).astype(">f4").data for y in range(0, ny, rows))
        file.write(b"\0" * (-(ny * nx * 4) % BLOCK))

    def new_header(self) -> fits.Header:
        """Return the header of a float32 file of this map: what is known now, and whence the map comes."""
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
                value = card(self.header, key)
                if isinstance(value, str) and key not in header:
                    header[key] = shorten(value, 60)[1:-1]
        return header


def _pixel_scale(
    wcs: WCS | None, header: fits.Header, kept: tuple[int, int], notes: list[str]
) -> float | None:
    """Return the pixel scale in arcsec, of the coordinates or of CDELT alone."""
    degrees = bare_pixel_scale(header, kept, notes) if wcs is None else math.sqrt(pixel_area(wcs))
    return None if degrees is None else degrees * 3600


def _extent(scale: float | None, shape: tuple[int, ...]) -> float | None:
    """Return the diagonal of the map in degrees."""
    return None if scale is None else scale / 3600 * math.hypot(*shape)


def _quantity(hertz: float | None) -> u.Quantity | None:
    return None if hertz is None else hertz * u.Hz


def _fits_unit(unit: u.UnitBase) -> str:
    """Return a unit as others write it: 'Jy/beam' rather than astropy's 'beam-1 Jy'."""
    return unit.to_string().replace(" / ", "/")
