"""Finders that others wrote, and our own islands, through the one interface.

Each function returns a finder with its settings: ``peers.pybdsf(thresh_pix=4)(sky)``.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy import units as u

from radiowidgets.data.detection import find_sources
from radiowidgets.data.islands import measure
from radiowidgets.errors import MapError, MissingExtraError
from radiowidgets.finding.finders import Finder, Found, source_table

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from radiowidgets.data.maps import SkyMap


def islands(seed: float = 5.0, flood: float = 2.5, **options: Any) -> Finder:
    """Return our own island finder (`find_sources`, compact-sources section 4.1): one source an island.

    Parameters
    ----------
    seed, flood : float
        Thresholds in local noise.
    **options
        Of `find_sources`, such as mesh, rms, background, min_pixels.
    """
    return partial(_islands, options={"seed": seed, "flood": flood, **options})


def _islands(sky: SkyMap, options: dict[str, Any]) -> Found:
    table = find_sources(sky, **options)
    extra = {name: table[name].to_numpy() for name in ("flux", "peak", "snr", "rms", "island")}
    columns = source_table(sky, table["x"], table["y"], score=sureness(extra["snr"]), **extra)
    return Found(columns, name="islands", masks=table.labels, notes=list(table.notes))


def sureness(snr: NDArray[Any]) -> NDArray[np.float64]:
    """Return a score from 0 to 1 that puts sources in the order of their SNR."""
    return 1 - 1 / np.maximum(np.asarray(snr, np.float64), 1)


def flux_factor(sky: SkyMap, notes: list[str]) -> float:
    """Return what turns a sum of pixels into Jy; NaN and a note where that is not known."""
    try:
        return sky.flux_factor()
    except MapError as error:
        notes.append(f"no fluxes: {error}")
        return np.nan


def sep(thresh: float = 5.0, minarea: int = 3, mesh: int = 64, **options: Any) -> Finder:
    """Return SExtractor's finder (Barbary 2016; Bertin & Arnouts 1996), with deblending and without its kernel.

    Its default kernel takes noise for independent from pixel to pixel, which that of a radio map is not.

    Parameters
    ----------
    thresh : float
        In local rms.
    minarea : int
        Least pixels of a source above it.
    mesh : int
        Cells, in pixels, of background and noise.
    **options
        Of `sep.extract`.

    Notes
    -----
    Fluxes are SExtractor's FLUX_AUTO: in the ellipse of 2.5 Kron radii, without what belongs to other sources. Blank
    pixels are left out.
    """
    return partial(
        _sep, mesh=mesh, options={"thresh": thresh, "minarea": minarea, "filter_kernel": None, **options}
    )


def _sep(sky: SkyMap, mesh: int, options: dict[str, Any]) -> Found:
    import sep as library

    pixels = np.ascontiguousarray(sky.pixels, np.float32)
    blank = ~np.isfinite(pixels)
    if blank.all():
        raise MapError(f"map {sky.name} is all blank; there is nothing to find.")
    # sep compares with fixed small numbers: it is given values of order one.
    scale = np.float32(np.median(np.abs(pixels[~blank])) or 1.0)
    scaled = np.where(blank, np.float32(0), pixels / scale)
    level = library.Background(scaled, mask=blank, bw=mesh, bh=mesh)
    noise = np.ascontiguousarray(level.rms())
    blank |= ~(noise > 0)  # filled with one value
    if blank.all():
        raise MapError(f"map {sky.name} has no noise; there is nothing to find.")
    scaled -= level.back()
    try:
        objects, labels = library.extract(scaled, err=noise, mask=blank, segmentation_map=True, **options)
    except Exception as error:  # sep knows no other
        raise MapError(
            f"sep gives up on map {sky.name}: {' '.join(str(error).split()):.150}; give a higher thresh."
        ) from error
    notes: list[str] = []
    rms = noise[objects["ypeak"], objects["xpeak"]]
    snr = objects["peak"] / rms
    columns = source_table(
        sky,
        objects["x"],
        objects["y"],
        flux=_kron_flux(scaled, blank, objects, labels) * scale * flux_factor(sky, notes),
        peak=objects["peak"] * scale,
        score=sureness(snr),
        snr=snr,
        rms=rms * scale,
        island=np.arange(1, len(objects) + 1),
    )
    return Found(columns, name="sep", masks=labels.astype(np.int32), notes=notes)


def _kron_flux(
    pixels: NDArray[np.float32], blank: NDArray[np.bool_], objects: NDArray[Any], labels: NDArray[np.int32]
) -> NDArray[np.float64]:
    """Return the sums of pixels in 2.5 Kron radii, or over the pixels above the threshold where that is less."""
    import sep as library

    angle = np.clip(
        np.nan_to_num(objects["theta"].astype(np.float64)), -np.pi / 2, np.pi / 2
    )  # single precision goes beyond
    shape = [objects["x"], objects["y"], *(np.fmax(objects[axis], 0.3) for axis in "ab"), angle]
    others = {"mask": blank, "segmap": labels, "seg_id": np.arange(1, len(objects) + 1, dtype=np.int32)}
    kron, _ = library.kron_radius(pixels, *shape, 6.0, **others)
    total, _, _ = library.sum_ellipse(pixels, *shape, 2.5 * np.fmax(kron, 1.0), **others)
    return np.maximum(total, objects["flux"])


def pybdsf(
    thresh_isl: float = 3.0, thresh_pix: float = 5.0, *, islands_only: bool = False, **options: Any
) -> Finder:
    """Return PyBDSF (Mohan & Rafferty 2015), with the settings of convosource section 2.2.

    Parameters
    ----------
    thresh_isl, thresh_pix : float
        An island lies above the one, and reaches the other, in local noise.
    islands_only : bool
        Fit nothing: one source an island, as cosmodeep section 5 uses it.
    **options
        Of ``bdsf.process_image``, such as ``rms_value=10e-6`` or ``minpix_isl=9``.

    Raises
    ------
    MissingExtraError
        If `bdsf` is not installed.
    """
    _load_bdsf()
    settings: dict[str, Any] = {"thresh_isl": thresh_isl, "thresh_pix": thresh_pix, "ncores": 1, **options}
    if islands_only:
        settings["stop_at"] = "isl"
    return partial(_pybdsf, settings=settings)


def cosmodeep_islands(snr: float = 3.0, rms: float = 10e-6) -> Finder:
    """Return PyBDSF as cosmodeep section 5 runs it: islands of 9 pixels and more above a constant noise.

    Parameters
    ----------
    snr : float
        Threshold; the paper shows 1.5 and 3.
    rms : float
        Noise, Jy/beam.
    """
    return pybdsf(
        snr,
        snr,
        islands_only=True,
        rms_map=False,
        rms_value=rms,
        mean_map="zero",
        minpix_isl=9,
        thresh="hard",
    )


def _load_bdsf() -> Any:
    try:
        return importlib.import_module("bdsf")
    except ImportError as error:
        raise MissingExtraError(
            "PyBDSF is not installed: pip install 'radiowidgets[finders]' (Linux), or conda install bdsf."
        ) from error


def _pybdsf(sky: SkyMap, settings: dict[str, Any]) -> Found:
    bdsf = _load_bdsf()
    if sky.beam is None or sky.wcs is None:
        lacking, attribute = ("beam", "beam") if sky.beam is None else ("coordinates", "wcs")
        raise MapError(f"map {sky.name} has no {lacking}, which PyBDSF needs; set sky.{attribute}.")
    beam = tuple(float(side.to_value(u.deg)) for side in (sky.beam.major, sky.beam.minor, sky.beam.pa))
    frequency = None if sky.frequency is None else float(sky.frequency.to_value(u.Hz))
    notes = [] if frequency else ["no frequency: PyBDSF was told 1 GHz, which changes no flux."]
    with tempfile.TemporaryDirectory() as folder, _quiet():
        path = sky.write(Path(folder) / "map.fits")
        try:
            image = bdsf.process_image(
                str(path), beam=beam, frequency=frequency or 1e9, quiet=True, outdir=folder, **settings
            )
        except (RuntimeError, ValueError, IndexError) as error:
            raise MapError(f"PyBDSF gives up on map {sky.name}: {error}") from error
    # Its axes are (x, y), its islands count from -1 for none; where nothing was found it has neither.
    rank = getattr(image, "pyrank", None)
    labels = np.zeros(sky.shape, np.int32) if rank is None else np.ascontiguousarray(rank.T, np.int32) + 1
    table = _bare_islands(image, sky, labels) if "stop_at" in settings else _fitted(image, sky)
    return Found(table, name="pybdsf", masks=labels, notes=notes)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what PyBDSF prints and warns of from a notebook, and close the log that it leaves open."""
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logger = logging.getLogger("PyBDSF")
            for handler in list(logger.handlers):
                logger.removeHandler(handler)
                handler.close()


def _fitted(image: Any, sky: SkyMap) -> pd.DataFrame:
    """Return the sources that PyBDSF made of its Gaussians; a fit may have lost its place."""
    sources = [
        source for source in getattr(image, "sources", []) if np.isfinite(source.posn_sky_centroid).all()
    ]

    def column(name: str) -> NDArray[np.float64]:
        return np.array([getattr(source, name) for source in sources], np.float64)

    ra, dec = column("posn_sky_centroid").reshape(-1, 2).T
    x, y = sky.wcs.all_world2pix(ra, dec, 0) if len(ra) and sky.wcs is not None else (ra, dec)
    peak, rms = column("peak_flux_max"), column("rms_isl")
    return source_table(
        sky,
        x,
        y,
        flux=column("total_flux"),
        peak=peak,
        score=sureness(peak / rms),
        snr=peak / rms,
        rms=rms,
        island=column("island_id").astype(np.int64) + 1,
    )


def _bare_islands(image: Any, sky: SkyMap, labels: NDArray[np.int32]) -> pd.DataFrame:
    """Return one source an island, where nothing was fitted."""
    values = np.array(sky.pixels, np.float32)
    rms = np.ascontiguousarray(np.broadcast_to(image.rms_arr.T, sky.shape), np.float32)
    found = measure(values, rms, labels, int(labels.max(initial=0)), 3.0)
    notes: list[str] = []
    return source_table(
        sky,
        found["x"],
        found["y"],
        flux=found["total"] * flux_factor(sky, notes),
        peak=found["peak"],
        score=sureness(found["peak"] / found["rms"]),
        snr=found["peak"] / found["rms"],
        rms=found["rms"],
        island=np.arange(1, len(found["x"]) + 1),
    )
