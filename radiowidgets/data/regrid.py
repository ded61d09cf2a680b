"""Bring pieces of maps to one pixel grid and one resolution, in Jy/pixel."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy import units as u
from astropy.wcs import WCS

from radiowidgets.data.headers import pixel_coordinates, shifted_wcs, world_coordinates
from radiowidgets.data.maps import SkyMap
from radiowidgets.data.strips import read_padded
from radiowidgets.errors import MapError, ParameterError, check_one_of

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from radio_beam import Beam

METHODS = ("interp", "exact")
# Interpolation looks at points: a grid coarser than the map's is made of this many points a side at most.
_MOST_POINTS = 8
_LATTICE = 32  # steps of the lattice on which coordinates are worked out
_SIGMA = 1 / math.sqrt(8 * math.log(2))  # of a Gaussian, in units of its FWHM


def convolve(sky: SkyMap, beam: Beam) -> SkyMap:
    """Return a map at a lower resolution, in its own unit.

    A map in Jy/beam is scaled by the ratio of the beams' areas besides, so that a point source keeps its peak and
    the flux density of any source stays what it was. Blank pixels stay blank and do not count; the whole map is
    held in memory.

    Parameters
    ----------
    sky : SkyMap
        With a beam and a pixel scale.
    beam : radio_beam.Beam
        The new resolution, at least as large as the old one in every direction. Position angles count from the
        north of the map's own coordinates.

    Raises
    ------
    MapError
        If the map has no beam or pixel scale, or a beam that does not fit into the new one.
    """
    if sky.beam is None or sky.pixel_scale is None:
        raise MapError(f"map {sky.name} has no beam or no pixel scale; set sky.beam and sky.wcs.")
    moments = kernel_moments(sky.beam, beam)
    if moments is None:
        raise MapError(f"map {sky.name} has a beam of {sky.beam}, which does not fit into {beam}.")
    axes = np.diag([-sky.pixel_scale, sky.pixel_scale])  # arcsec to the east and north for a pixel
    if sky.wcs is not None:
        axes = sky.wcs.pixel_scale_matrix[[sky.wcs.wcs.lng, sky.wcs.wcs.lat]] * 3600
    inverse = np.linalg.inv(axes)
    pixels = smooth(sky.pixels, inverse @ moments @ inverse.T)
    if sky.unit is not None and u.Unit(sky.unit).is_equivalent(u.Jy / u.beam):
        pixels *= float((beam.sr / sky.beam.sr).to_value(u.dimensionless_unscaled))
    result = SkyMap.from_array(
        pixels, name=sky.name, wcs=sky.wcs, beam=beam, unit=sky.unit, frequency=sky.frequency
    )
    result.header = sky.header
    result.notes = [*sky.notes, f"convolved from a beam of {_text(sky.beam)} to {_text(beam)}."]
    result.primary_beam = sky.primary_beam
    return result


def kernel_moments(beam: Beam, common: Beam, turn: float = 0.0) -> NDArray[np.float64] | None:
    """Return the second moments of what brings a beam to a larger one; None where that does not fit.

    Moments are in arcsec2 along (east, north), 0 where both beams are the same. `turn` is added to the position
    angle of `beam`, in radians.
    """
    difference = beam_moments(common) - beam_moments(beam, turn)
    values, vectors = np.linalg.eigh(difference)
    scale = beam_moments(common).trace()
    if values[0] < -1e-4 * scale:
        return None
    return np.asarray(vectors @ np.diag(np.where(values < 1e-4 * scale, 0, values)) @ vectors.T)


def beam_moments(beam: Beam, turn: float = 0.0) -> NDArray[np.float64]:
    """Return the second moments of a beam in arcsec2 along (east, north)."""
    angle = beam.pa.to_value(u.rad) + turn
    axes = np.array([[math.sin(angle), math.cos(angle)], [math.cos(angle), -math.sin(angle)]])
    sigma = np.array([beam.major.to_value(u.arcsec), beam.minor.to_value(u.arcsec)]) * _SIGMA
    return np.asarray(axes @ np.diag(sigma**2) @ axes.T)


def smooth(image: NDArray[Any], moments: NDArray[np.float64]) -> NDArray[np.float32]:
    """Convolve an image with a Gaussian of given second moments (2, 2) in pixels2 along (x, y).

    Blank pixels do not count, and stay blank. The Gaussian is applied to the Fourier transform, so that one much
    narrower than a pixel is right too.
    """
    from scipy import fft

    if not moments.any():
        return np.array(image, dtype=np.float32)
    blank = ~np.isfinite(image)
    reach = np.ceil(4 * np.sqrt(np.diag(moments))).astype(int)[::-1]  # the other side comes round the corner
    shape = [fft.next_fast_len(int(n + r), real=True) for n, r in zip(image.shape, reach, strict=True)]
    fy, fx = fft.fftfreq(shape[0])[:, None], fft.rfftfreq(shape[1])[None, :]
    (xx, xy), (_, yy) = moments
    response = np.exp(-2 * np.pi**2 * (xx * fx**2 + 2 * xy * fx * fy + yy * fy**2))
    filled = np.where(blank, 0.0, image)

    def filtered(values: NDArray[Any]) -> NDArray[np.float64]:
        result = fft.irfft2(fft.rfft2(values, shape) * response, shape)
        return np.asarray(result[: image.shape[0], : image.shape[1]])

    total, weight = filtered(filled), filtered((~blank).astype(np.float64))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(blank, np.nan, total / weight).astype(np.float32)


def tangent_grid(ra: float, dec: float, side: int, scale: float) -> WCS:
    """Return the coordinates of `side` x `side` pixels of `scale` arcsec round a position, north up."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [ra, dec]
    wcs.wcs.crpix = [(side + 1) / 2, (side + 1) / 2]
    wcs.wcs.cdelt = [-scale / 3600, scale / 3600]
    wcs.wcs.radesys = "ICRS"
    wcs.wcs.set()
    return wcs


def brightness_on_grid(
    sky: SkyMap,
    ra: float,
    dec: float,
    side: int,
    scale: float,
    *,
    kernel: NDArray[np.float64] | None = None,
    margin: int = 0,
    method: str = "interp",
    least_response: float | None = None,
) -> NDArray[np.float32] | None:
    """Return a map's pixels, still in its unit, on a grid round a position; None where the map is elsewhere.

    Parameters
    ----------
    sky : SkyMap
    ra, dec : float
        Of the centre, ICRS degrees.
    side : int
        Pixels a side.
    scale : float
        Arcsec a pixel.
    kernel : ndarray, optional
        Second moments of a Gaussian to convolve with, arcsec2 along (east, north).
    margin : int
        Pixels round the grid that are looked at before convolving.
    method : {'interp', 'exact'}
        Bilinear interpolation, of several points a pixel where the map's pixels are smaller; or the mean over the
        area of each pixel as a polygon on the sphere, a few times slower and conserving flux to rounding.
    least_response : float, optional
        Divide by the map's primary beam, and blank what lies below this response.
    """
    check_one_of("method", method, METHODS)
    if sky.wcs is None or sky.pixel_scale is None:
        raise MapError(f"map {sky.name} has no coordinates; set sky.wcs.")
    points = 1
    if method == "interp":
        points = min(_MOST_POINTS, max(1, math.ceil(scale / sky.pixel_scale - 0.01)))
    wide = side + 2 * margin
    grid = tangent_grid(ra, dec, wide * points, scale / points)
    image = _regrid(sky, grid, wide * points, method)
    if image is None or not np.isfinite(image).any():
        return None
    if least_response is not None and sky.primary_beam is not None:
        response = _regrid(sky.primary_beam, grid, wide * points, "interp")
        if response is None:
            return None
        with np.errstate(invalid="ignore", divide="ignore"):
            image = np.where(response >= least_response, image / response, np.float32(np.nan))
    if kernel is not None and kernel.any():
        step = scale / points
        image = smooth(image, kernel * np.array([[1, -1], [-1, 1]]) / step**2)  # east is towards smaller x
    if points > 1:
        image = _mean_of_points(image, points)
    return np.ascontiguousarray(image[margin : margin + side, margin : margin + side])


def onto_frame(
    sky: SkyMap, wcs: WCS, extent: tuple[int, int], shape: tuple[int, int] | None = None
) -> NDArray[np.float32] | None:
    """Return another map's pixels on the grid of a frame, in its own unit; None where it does not reach.

    Bilinear between the map's pixels, and the mean of several points where they are smaller than the grid's. Only
    the piece that is needed is read. A pixel is blank, NaN, where at least half of what it is made of is blank.

    Parameters
    ----------
    sky : SkyMap
    wcs : astropy.wcs.WCS
        Coordinates of the frame.
    extent : tuple of int
        Height and width of the frame in pixels.
    shape : tuple of int, optional
        Rows and columns of the result, which covers the whole frame; default: `extent`.

    Raises
    ------
    MapError
        If the map has no coordinates.
    """
    lattice = frame_lattices(sky, wcs, np.array([[0, 0, *extent]]))[0]
    return sample_lattice(sky, lattice, extent if shape is None else shape)


def frame_lattices(sky: SkyMap, wcs: WCS, boxes: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return pixels (y, x) of a map at a square lattice of points over each box, edge to edge.

    Between two projections pixels move smoothly: the lattice is fine enough for linear interpolation.

    Parameters
    ----------
    sky : SkyMap
    wcs : astropy.wcs.WCS
        Of the image that the boxes lie in.
    boxes : ndarray of int, shape (n, 4)
        Lower-left pixel y, x, height and width.

    Returns
    -------
    ndarray of float64, shape (n, 2, k, k)
    """
    if sky.wcs is None:
        raise MapError(f"map {sky.name} has no coordinates; set sky.wcs.")
    steps = np.linspace(0, 1, _LATTICE + 1)
    y = boxes[:, 0, None, None] - 0.5 + boxes[:, 2, None, None] * steps[:, None]
    x = boxes[:, 1, None, None] - 0.5 + boxes[:, 3, None, None] * steps
    y, x = np.broadcast_arrays(y, x)
    there = pixel_coordinates(sky.wcs, *world_coordinates(wcs, x.ravel(), y.ravel()))
    return np.stack([values.reshape(y.shape) for values in there[::-1]], axis=1)


def sample_lattice(
    sky: SkyMap, lattice: NDArray[np.float64], shape: tuple[int, int]
) -> NDArray[np.float32] | None:
    """Return a map's pixels on a grid that covers a lattice of its pixels; see `onto_frame`."""
    from scipy.ndimage import map_coordinates

    rows, columns = shape
    steps = lattice.shape[-1] - 1
    if not np.isfinite(lattice).any():
        return None
    lattice = np.where(np.isfinite(lattice), lattice, -1e6)  # far from any pixel: blank
    # Pixels of the map in one of the grid, along either of its axes.
    ratio = max(
        float(np.hypot(*np.diff(lattice, axis=1)).min()) * steps / rows,
        float(np.hypot(*np.diff(lattice, axis=2)).min()) * steps / columns,
    )
    points = min(_MOST_POINTS, max(1, math.ceil(ratio - 0.05)))
    y, x = _stretched(_stretched(lattice, rows * points, 1), columns * points, 2)
    ny, nx = sky.shape
    y0, y1 = max(0, math.floor(y.min()) - 1), min(ny, math.ceil(y.max()) + 2)
    x0, x1 = max(0, math.floor(x.min()) - 1), min(nx, math.ceil(x.max()) + 2)
    if y0 >= y1 or x0 >= x1:
        return None
    pixels = sky.read(y0, y1, x0, x1)
    valid = np.isfinite(pixels)
    if not valid.any():
        return None
    place = np.stack([y - y0, x - x0])

    def mean(values: NDArray[np.float32]) -> NDArray[np.float32]:
        sampled = map_coordinates(values, place, order=1, mode="grid-constant")
        return sampled.reshape(rows, points, columns, points).mean(axis=(1, 3))

    inside = place.min() >= 0 and (place.max(axis=(1, 2)) <= np.array(pixels.shape) - 1).all()
    if valid.all() and inside:
        return np.asarray(mean(pixels), dtype=np.float32)
    known, total = mean(valid.astype(np.float32)), mean(np.where(valid, pixels, np.float32(0)))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(known > 0.5 - 1e-6, total / known, np.nan).astype(np.float32)


def _stretched(lattice: NDArray[np.float64], count: int, axis: int) -> NDArray[np.float64]:
    """Interpolate linearly along an axis, whose points lie edge to edge, at the middles of `count` cells."""
    steps = lattice.shape[axis] - 1
    place = (np.arange(count) + 0.5) * (steps / count)
    low = place.astype(np.int64)
    share = (place - low).reshape((-1, 1) if axis == 1 else (-1,))
    return lattice.take(low, axis) * (1 - share) + lattice.take(low + 1, axis) * share


def _regrid(sky: SkyMap, grid: WCS, side: int, method: str) -> NDArray[np.float32] | None:
    """Bring a map to a grid; only the part that is needed is read."""
    from reproject import reproject_exact, reproject_interp

    box = _box_on_map(sky, grid, side)
    if box is None:
        return None
    y0, y1, x0, x1 = box
    pixels = read_padded(sky, y0, y1, x0, x1)
    if not np.isfinite(pixels).any():
        return None
    source = (pixels, shifted_wcs(sky.wcs, x0, y0))
    if method == "exact":
        image = reproject_exact(source, grid, shape_out=(side, side), return_footprint=False, parallel=False)
    else:
        image = reproject_interp(
            source, grid, shape_out=(side, side), return_footprint=False, roundtrip_coords=False
        )
    return np.asarray(image, dtype=np.float32)


def _box_on_map(sky: SkyMap, grid: WCS, side: int) -> tuple[int, int, int, int] | None:
    """Return the box (y0, y1, x0, x1) of a map that a grid needs, some pixels more; None where it is outside."""
    assert sky.wcs is not None
    places = np.linspace(-0.5, side - 0.5, 9)
    x, y = (values.reshape(-1) for values in np.meshgrid(places, places))
    ra, dec = grid.all_pix2world(x, y, 0)
    x, y = pixel_coordinates(sky.wcs, np.asarray(ra), np.asarray(dec))
    if not np.isfinite(x).any():
        return None
    ny, nx = sky.shape
    # The lattice misses the bulge of a curved edge, and interpolation looks at neighbours.
    spare = [3 + math.ceil(0.02 * float(np.ptp(values[np.isfinite(values)]))) for values in (x, y)]
    x0, x1 = math.floor(np.nanmin(x)) - spare[0], math.ceil(np.nanmax(x)) + spare[0] + 1
    y0, y1 = math.floor(np.nanmin(y)) - spare[1], math.ceil(np.nanmax(y)) + spare[1] + 1
    x0, x1, y0, y1 = max(0, x0), min(nx, x1), max(0, y0), min(ny, y1)
    return (y0, y1, x0, x1) if x0 < x1 and y0 < y1 else None


def _mean_of_points(image: NDArray[np.float32], points: int) -> NDArray[np.float32]:
    side = len(image) // points
    blocks = image.reshape(side, points, side, points)
    valid = np.isfinite(blocks)
    count = valid.sum(axis=(1, 3))
    total = np.where(valid, blocks, 0).sum(axis=(1, 3), dtype=np.float64)
    # A pixel counts as seen where half of it is.
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(2 * count >= points**2, total / count, np.nan).astype(np.float32)


def flux_factor(
    sky: SkyMap,
    *,
    zero_flux: float | None = None,
    zero_point: float | None = None,
    bandwidth: float | None = None,
    frequency: u.Quantity | None = None,
    beam: Beam | None = None,
) -> float:
    """Return what brings a map's pixels to Jy per pixel of the map.

    Parameters
    ----------
    sky : SkyMap
        In Jy/beam, Jy/sr, Jy/arcsec2, Jy/pixel or K and their multiples; in data numbers (DN, adu, count or
        without a unit), with a zero point; or in W/(m2 sr), with a bandwidth.
    zero_flux : float, optional
        Jy of magnitude 0, for data numbers.
    zero_point : float, optional
        Magnitude of one data number; default: MAGZP of the header.
    bandwidth : float, optional
        Hz.
    frequency : astropy.units.Quantity, optional
        For K, where the map does not tell it.
    beam : radio_beam.Beam, optional
        For Jy/beam, where the map does not tell it.

    Raises
    ------
    MapError
        If what is needed is not known.
    """
    unit = None if sky.unit is None else u.Unit(sky.unit)
    if unit is None or unit in {u.DN, u.adu, u.count, u.dimensionless_unscaled}:
        zero_point = _magnitude_zero(sky) if zero_point is None else zero_point
        if zero_flux is None or zero_point is None:
            missing = "zero_flux, the Jy of magnitude 0" if zero_flux is None else "zero_point (no MAGZP)"
            raise MapError(f"map {sky.name} is in {unit or 'no unit'}; set sky.unit, or give {missing}.")
        return float(zero_flux * 10 ** (-0.4 * zero_point))
    if unit.is_equivalent(u.W / u.m**2 / u.sr):
        if bandwidth is None or sky.pixel_scale is None:
            missing = "pixel scale; set sky.wcs" if bandwidth is not None else "bandwidth; give it in Hz"
            raise MapError(f"map {sky.name} is in {unit} and has no {missing}.")
        pixel = math.radians(sky.pixel_scale / 3600) ** 2
        return float(unit.to(u.W / u.m**2 / u.sr)) * 1e26 / float(bandwidth) * pixel
    known = copy.copy(sky)
    known.frequency = sky.frequency if frequency is None else frequency
    if beam is not None and sky.beam is None:
        known.beam = beam
    return known.flux_factor()


def _magnitude_zero(sky: SkyMap) -> float | None:
    from radiowidgets.data.cards import number

    return number(sky.header, "MAGZP")


def _text(beam: Beam) -> str:
    major, minor = (axis.to_value(u.arcsec) for axis in (beam.major, beam.minor))
    return f'{major:.4g}" x {minor:.4g}"'


def as_beam(value: Beam | u.Quantity) -> Beam:
    """Return a beam, or the circular one of a given FWHM."""
    from radio_beam import Beam

    if isinstance(value, Beam):  # a quantity too: its solid angle
        return value
    if isinstance(value, u.Quantity) and value.isscalar and value.unit.is_equivalent(u.arcsec) and value > 0:
        return Beam(value)
    raise ParameterError(f"the beam is {value!r:.60}; give a radio_beam.Beam or an angle, its FWHM.")


def common_beam(beams: list[Beam], *, turned: bool = False) -> Beam:
    """Return the smallest beam that all can be convolved to; a circular one if their angles are not comparable.

    Parameters
    ----------
    beams : list of radio_beam.Beam
    turned : bool
        Whether the position angles count from different norths, as of equatorial and Galactic maps.
    """
    from radio_beam import Beam, Beams
    from radio_beam.utils import BeamError

    if not beams:
        raise ParameterError("no beam is given; there is nothing in common.")
    largest = max(beams, key=lambda beam: float(beam.major.to_value(u.arcsec)))
    circle = Beam(largest.major)
    if turned and any(beam.major != beam.minor for beam in beams):
        return circle
    if all(kernel_moments(beam, largest) is not None for beam in beams):
        return largest
    try:
        common = Beams(beams=beams).common_beam()
    except (BeamError, ValueError):
        return circle
    return common if all(kernel_moments(beam, common) is not None for beam in beams) else circle
