"""Find sources in a map, measure them, and select the compact ones.

Background and noise come from sep on a mesh; islands are grown as in compact-sources section 4.1: 5 sigma seeds,
flooded down to 2.5 sigma. One row is one island. sep's own detection is not used: its default kernel finds mostly noise
where noise is correlated over a beam, and it joins pixels by their corners.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
from astropy import units as u

from radiowidgets.data.islands import find_islands, measure, sum_apertures
from radiowidgets.data.noted import NotedTable
from radiowidgets.errors import MapError, ParameterError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from radio_beam import Beam

    from radiowidgets.data.maps import SkyMap

_FWHM = 2 * np.sqrt(2 * np.log(2))
_LEAST_MESH = 64  # pixels; below, too few beams are in a cell to measure its noise
_MESH_IN_BEAMS = 20


class SourceTable(NotedTable):
    """The sources of a map: a DataFrame, one row an island, with its label map beside it.

    Attributes
    ----------
    labels : (ny, nx) int32 array
        The value of the column `island` in the island's pixels, 0 outside.
    beam : radio_beam.Beam or None
        Beam of the map.
    """

    _metadata: ClassVar[list[str]] = ["units", "notes", "labels", "beam"]

    labels: NDArray[np.int32]
    beam: Beam | None


def find_sources(
    sky: SkyMap,
    seed: float = 5.0,
    flood: float = 2.5,
    *,
    mesh: int | None = None,
    background: float | NDArray[Any] | None = None,
    rms: float | NDArray[Any] | None = None,
    min_pixels: int = 1,
    aperture: float = 2.0,
    prominence: float = 3.0,
) -> SourceTable:
    """Find the islands of a map and measure them.

    Parameters
    ----------
    sky : SkyMap
    seed, flood : float
        An island is a 4-connected set of pixels above `flood` times the local noise, at least one of them above `seed`
        times.
    mesh : int, optional
        Size in pixels of the cells in which background and noise are measured; default: 20 beams, at least 64
        pixels. Emission larger than a cell is taken for background: give more for large objects.
    background, rms : float or (ny, nx) array, optional
        Used instead of what would be measured.
    min_pixels : int
        Islands of fewer pixels are dropped.
    aperture : float
        Radius of the aperture of `flux` in beams (FWHM of the major axis), at least 2.
    prominence : float
        A peak counts in `n_peaks` if it rises by this many rms above the saddle to a higher one.

    Returns
    -------
    SourceTable
        Brightest first. Its columns, with units in its attribute `units`:

        - island: number of the island in the label map, the attribute `labels`;
        - x, y: centroid (pixels from 0); ra, dec (ICRS degrees);
        - peak, rms, background: in the map's unit, peak interpolated between pixels; snr = peak / rms;
        - flux, flux_error: Jy, in an aperture of `aperture` beams, or one beam wider than the island if that
          is more; what belongs to other islands is left out;
        - island_flux: Jy, sum over the island, as in compact-sources section 4.1;
        - major, minor, pa: FWHM of a Gaussian with the island's second moments, arcsec and degrees from north to
          east; deconvolved_major, deconvolved_minor, deconvolved_pa: without the beam, 0 where unresolved;
        - radius: r_s of compact-sources section 3.2, that of the circle round the island's bounding box, arcsec;
        - n_pixels, n_peaks; edge: touches the border or a blank pixel; x0, y0, x1, y1: bounding box (ends exclusive);
        - aperture_lost: fraction of the aperture that is blank, beyond the border or in other islands.

        Fluxes are NaN where the map's unit or beam does not tell how to make them, which `notes` say.

    Raises
    ------
    ParameterError
        For thresholds, sizes or shapes that make no sense.
    MapError
        If the map has no noise to measure.

    Notes
    -----
    The island's sum leaves out what lies below `flood`: of a point source it misses the fraction flood / snr
    (2.5 / SNR: 12 % at SNR 20), a little less near the threshold because of the noise in it. The aperture is
    unbiased to 2 % above SNR 20. Below about SNR 10 peak and aperture of what is found are biased upwards, because
    noise helped it over the threshold.

    flux_error is rms * sqrt(aperture area / beam area), for noise that is correlated over a beam. Moments are
    corrected for the threshold as for a Gaussian. All is held in memory: about 25 bytes a pixel.
    """
    _check(seed, flood, mesh, min_pixels, aperture)
    notes: list[str] = []
    pixels = np.array(sky.pixels, dtype=np.float32)
    fwhm = _beam_in_pixels(sky)
    level, noise = _sky_level(sky, pixels, _mesh_size(sky, mesh, fwhm), background, rms, notes)
    pixels -= level
    with np.errstate(divide="ignore", invalid="ignore"):
        labels, n = find_islands(pixels / noise, seed, flood)
    found = measure(pixels, noise, labels, n, prominence)
    if min_pixels > 1:
        kept = found["n_pixels"] >= min_pixels
        labels = np.append(0, np.cumsum(kept) * kept).astype(np.int32)[labels]
        found = {name: column[kept] for name, column in found.items()}
    island = np.arange(1, len(found["x"]) + 1, dtype=np.int32)
    if fwhm is None:
        fwhm = float(np.median(_FWHM * (found["xx"] * found["yy"]) ** 0.25)) if n else 1.0
        notes.append("no beam: apertures are measured in the median size of the islands.")
    radius = np.maximum(aperture * fwhm, found["reach"] + fwhm)
    total, area, lost = sum_apertures(pixels, labels, island, found["x"], found["y"], radius)

    factor = _flux_factor(sky, notes)
    table = pd.DataFrame({"island": island, "x": found["x"], "y": found["y"]})
    table["ra"], table["dec"] = sky.pixel_to_sky(found["x"], found["y"])
    at = found["y_peak"].astype(int), found["x_peak"].astype(int)
    table["peak"], table["background"], table["rms"] = found["peak"], level[at], found["rms"]
    table["snr"] = found["peak"] / found["rms"]
    table["flux"] = total * factor
    table["flux_error"] = found["rms"] * factor * np.sqrt(area * (sky.beam_area_pixels or 1.0))
    table["island_flux"] = found["total"] * factor
    for name, column in _shapes(sky, found, table["rms"].to_numpy() * flood, notes).items():
        table[name] = column
    scale = sky.pixel_scale
    diagonal = np.hypot(found["x1"] - found["x0"], found["y1"] - found["y0"])
    table["radius"] = diagonal / 2 * (np.nan if scale is None else scale)
    for name in ("n_pixels", "n_peaks"):
        table[name] = found[name].astype(np.int32)
    table["edge"] = found["edge"] > 0
    for name in ("x0", "y0", "x1", "y1"):
        table[name] = found[name].astype(np.int32)
    table["aperture_lost"] = lost.astype(np.float32)

    order = np.lexsort((table["island"], -table["peak"]))
    result = SourceTable(table.iloc[order].reset_index(drop=True))
    result.units, result.notes = _units(sky), notes
    result.labels, result.beam = labels, sky.beam
    return result


def _check(seed: float, flood: float, mesh: int | None, min_pixels: int, aperture: float) -> None:
    if not 0 < flood <= seed < np.inf:
        raise ParameterError(
            f"seed is {seed!r} and flood {flood!r}; give 0 < flood <= seed, as in 5 and 2.5."
        )
    if mesh is not None and not mesh >= 8:
        raise ParameterError(f"mesh is {mesh!r}; give the size of its cells in pixels, at least 8.")
    if not min_pixels >= 1:
        raise ParameterError(f"min_pixels is {min_pixels!r}; give 1 or more.")
    if not 2 <= aperture <= 100:
        raise ParameterError(
            f"aperture is {aperture!r}; give its radius in beams, 2 or more: less loses flux."
        )


# --------------------------------------------------------------------------------
# background and noise


def _beam_in_pixels(sky: SkyMap) -> float | None:
    """Return the FWHM of the beam's major axis in pixels."""
    if sky.beam is None or sky.pixel_scale is None:
        return None
    return float(sky.beam.major.to_value(u.arcsec)) / sky.pixel_scale


def _mesh_size(sky: SkyMap, mesh: int | None, fwhm: float | None) -> int:
    if mesh is None:
        mesh = max(_LEAST_MESH, round(_MESH_IN_BEAMS * fwhm) if fwhm else 0)
    return min(int(mesh), max(sky.shape))


def _sky_level(
    sky: SkyMap,
    pixels: NDArray[np.float32],
    mesh: int,
    background: float | NDArray[Any] | None,
    rms: float | NDArray[Any] | None,
    notes: list[str],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return background and noise of each pixel; noise is NaN where there is none."""
    level, noise = _given("background", background, sky), _given("rms", rms, sky)
    if level is None or noise is None:
        measured = _measure_level(sky, pixels, mesh)
        notes.append(f"background and noise measured in cells of {mesh} pixels.")
        level = measured[0] if level is None else level
        noise = measured[1] if noise is None else noise
    silent = ~(noise > 0) & np.isfinite(pixels)
    if silent.any():
        if silent.sum() == np.isfinite(pixels).sum():
            raise MapError(f"map {sky.name} has no noise; give rms, in the map's unit.")
        notes.append(
            f"{silent.mean():.2%} of the map has no noise (filled with one value?) and was left out."
        )
    return level, np.where(noise > 0, noise, np.float32(np.nan))


def measure_level(sky: SkyMap, mesh: int | None = None) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return background and noise of each pixel (ny, nx), in the map's unit, as `find_sources` measures them.

    Parameters
    ----------
    sky : SkyMap
    mesh : int, optional
        Size of the cells in pixels; default: 20 beams, at least 64 pixels.

    Raises
    ------
    MapError
        If the map is all blank or has no noise.
    """
    cells = _mesh_size(sky, mesh, _beam_in_pixels(sky))
    return _sky_level(sky, np.asarray(sky.pixels, np.float32), cells, None, None, [])


def _given(name: str, value: Any, sky: SkyMap) -> NDArray[np.float32] | None:
    if value is None:
        return None
    array = np.asarray(value, dtype=np.float32)
    if array.shape not in {(), sky.shape}:
        raise ParameterError(f"{name} has shape {array.shape}; give one number or an array {sky.shape}.")
    return np.broadcast_to(array, sky.shape)


def _measure_level(
    sky: SkyMap, pixels: NDArray[np.float32], mesh: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    import sep

    blank = ~np.isfinite(pixels)
    if blank.all():
        raise MapError(f"map {sky.name} is all blank; there is nothing to find.")
    # sep compares with fixed small numbers: it is given values of order one.
    sample = pixels[:: max(1, pixels.shape[0] // 512), :: max(1, pixels.shape[1] // 512)]
    sample = sample[np.isfinite(sample)].astype(np.float64)
    centre = float(np.median(sample)) if sample.size else 0.0
    scale = float(np.median(np.abs(sample - centre)) or np.std(sample)) if sample.size else 1.0
    scale = scale if scale > 0 and np.isfinite(scale) else 1.0
    scaled = np.where(blank, 0.0, (pixels - centre) / scale).astype(np.float32)
    level = sep.Background(scaled, mask=blank, bw=mesh, bh=mesh)
    noise = level.rms() * np.float32(scale)
    if not np.ptp(sample) > 0:  # sep calls the noise of a constant 1
        noise[:] = 0
    return level.back() * np.float32(scale) + np.float32(centre), noise


# --------------------------------------------------------------------------------
# fluxes and shapes


def _flux_factor(sky: SkyMap, notes: list[str]) -> float:
    """Return what turns a sum of pixels into Jy; NaN and a note where that is not known."""
    try:
        return sky.flux_factor()
    except MapError as error:
        notes.append(f"no fluxes: {error}")
        return np.nan


def _shapes(
    sky: SkyMap, found: dict[str, NDArray[Any]], threshold: NDArray[Any], notes: list[str]
) -> dict[str, NDArray[Any]]:
    """Return axes and position angles from moments, as they are and without the beam."""
    depth = np.clip(threshold / found["peak"], 1e-6, 0.98)
    # The part of a Gaussian above a threshold has second moments smaller by this factor.
    kept = 1 + depth * np.log(depth) / (1 - depth)
    # Pixels have a size: no island is narrower than one.
    xx, yy = np.maximum(found["xx"], 1 / 12) / kept, np.maximum(found["yy"], 1 / 12) / kept
    moments = xx, yy, found["xy"] / kept
    names = "major", "minor", "pa"
    axes = _local_axes(sky, found["x"], found["y"])
    result = dict(zip(names, _ellipse(moments, axes), strict=True))
    beam = _beam_moments(sky)
    if beam is None:
        notes.append("no beam: sizes are not deconvolved.")
        inner = [np.full(len(xx), np.nan)] * 3
    else:
        inner = list(_ellipse(tuple(a - b for a, b in zip(moments, beam, strict=True)), axes))
    result.update({f"deconvolved_{name}": column for name, column in zip(names, inner, strict=True)})
    return result


def _beam_moments(sky: SkyMap) -> tuple[float, float, float] | None:
    """Return the beam's second moments in pixels; its angle counts from the north of the map's own coordinates."""
    if sky.beam is None or sky.pixel_scale is None:
        return None
    scale = sky.pixel_scale
    step = np.diag([-scale, scale]) if sky.wcs is None else sky.wcs.pixel_scale_matrix * 3600
    angle = sky.beam.pa.to_value(u.rad)
    turn = np.array([[np.sin(angle), np.cos(angle)], [np.cos(angle), -np.sin(angle)]])  # axes to east, north
    axes = np.array([sky.beam.major.to_value(u.arcsec), sky.beam.minor.to_value(u.arcsec)])
    inverse = np.linalg.inv(step)
    pixel = inverse @ turn @ np.diag((axes / _FWHM) ** 2) @ turn.T @ inverse.T
    return float(pixel[0, 0]), float(pixel[1, 1]), float(pixel[0, 1])


def _local_axes(sky: SkyMap, x: NDArray[Any], y: NDArray[Any]) -> NDArray[Any]:
    """Return (n, 2, 2): arcsec to the east and to the north for a step of one pixel in x and in y."""
    axes = np.full((len(x), 2, 2), np.nan)
    if sky.wcs is not None:
        _, dec = sky.pixel_to_sky(x, y)
        for k, (dx, dy) in enumerate(((0.5, 0), (0, 0.5))):
            ra1, dec1 = sky.pixel_to_sky(x + dx, y + dy)
            ra0, dec0 = sky.pixel_to_sky(x - dx, y - dy)
            axes[:, 0, k] = ((ra1 - ra0 + 180) % 360 - 180) * np.cos(np.radians(dec)) * 3600
            axes[:, 1, k] = (dec1 - dec0) * 3600
    elif sky.pixel_scale is not None:
        axes[:] = np.diag([-sky.pixel_scale, sky.pixel_scale])
    return axes


def _ellipse(moments: tuple[Any, ...], axes: NDArray[Any]) -> tuple[Any, Any, Any]:
    """Return FWHM of both axes (arcsec) and position angle (degrees) of moments in pixels; 0 where not positive."""
    xx, yy, xy = moments
    pixel = np.stack([np.stack([xx, xy], -1), np.stack([xy, yy], -1)], -2)
    sky = axes @ pixel @ np.swapaxes(axes, 1, 2)
    ee, nn, en = sky[:, 0, 0], sky[:, 1, 1], sky[:, 0, 1]
    mean, half = (ee + nn) / 2, np.hypot((ee - nn) / 2, en)
    major = _FWHM * np.sqrt(np.maximum(mean + half, 0))
    minor = _FWHM * np.sqrt(np.maximum(mean - half, 0))
    pa = np.degrees(0.5 * np.arctan2(2 * en, nn - ee)) % 180.0
    return major, minor, np.where(major > 0, pa, 0.0)


def _units(sky: SkyMap) -> dict[str, str]:
    brightness = "" if sky.unit is None else u.Unit(sky.unit).to_string()
    units = dict.fromkeys(("x", "y", "x0", "y0", "x1", "y1", "n_pixels"), "pix")
    units |= dict.fromkeys(("ra", "dec", "pa", "deconvolved_pa"), "deg")
    units |= dict.fromkeys(("flux", "flux_error", "island_flux"), "Jy")
    units |= dict.fromkeys(("major", "minor", "deconvolved_major", "deconvolved_minor", "radius"), "arcsec")
    return units | (dict.fromkeys(("peak", "background", "rms"), brightness) if brightness else {})
