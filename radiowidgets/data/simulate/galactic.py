"""Compact sources of the Galactic plane in one radio and six infrared bands, after compact-sources sections 2 to 4."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from astropy import units as u
from astropy.io import fits
from astropy.wcs import WCS
from scipy import ndimage

from radiowidgets.data.simulate.instrument import beam_covariance, white_noise
from radiowidgets.data.simulate.morphologies import MORPHOLOGIES, placed
from radiowidgets.data.simulate.render import COMPONENT, Drawable

if TYPE_CHECKING:
    from radiowidgets.data.maps import SkyMap
    from radiowidgets.data.simulate.sky import Sources


@dataclass(frozen=True)
class Band:
    """An infrared survey: wavelength in micrometres, pixel and beam in arcsec, 5 sigma point-source limit in mJy.

    So many `stars` per square degree stand above the limit in the plane that the share `chance` of the sources there
    have one on their island. Images of WISE are in data numbers: Jy of magnitude 0 and magnitude of one DN.
    """

    wavelength: float
    pixel_scale: float
    fwhm: float
    limit: float
    stars: float
    chance: float
    plane_only: bool = False
    zero_flux: float | None = None
    zero_point: float | None = None


#: AllWISE, GLIMPSE 8 um and Hi-GAL 70 um as in compact-sources section 2.3 (Hi-GAL: 5 sigma of 20 MJy/sr in its beam).
#: Stars: as many as give pulsars, which do not shine in the infrared, the matches of compact-sources Table 6 by chance
#: (three in four pulsars lie in the plane): far fewer than WISE sees, whose crowding is not drawn either.
#: Zero magnitudes of WISE: Jarrett et al. 2011, ApJ 735, 112; MAGZP as in the headers of the AllWISE atlas images.
BANDS: dict[str, Band] = {
    "3.4": Band(3.4, 1.375, 6.1, 0.08, 1000, 0.063, zero_flux=309.540, zero_point=20.5),
    "4.6": Band(4.6, 1.375, 6.4, 0.11, 1000, 0.055, zero_flux=171.787, zero_point=19.5),
    "8": Band(8.0, 1.2, 2.4, 0.4, 600, 0.017, plane_only=True),
    "12": Band(12.0, 1.375, 6.5, 1.0, 160, 0.009, zero_flux=31.674, zero_point=18.0),
    "22": Band(22.0, 1.375, 12.0, 6.0, 30, 0.005, zero_flux=8.363, zero_point=13.0),
    "70": Band(70.0, 3.2, 8.5, 190.0, 0, 0.0, plane_only=True),
}


@dataclass(frozen=True)
class CompactClass:
    """One class of compact sources.

    Parameters
    ----------
    five_bands, seven_bands : sources with 5 and with 7 bands (compact-sources Tables 3 and 4 added)
    size, size_scatter : mean angular size and its scatter in arcsec (Table 3)
    detected : percentage detected in the order of `BANDS` (Table 6; a dash there is 0 here)
    flux, flux_scatter : median radio flux density in Jy and its scatter in dex
    alpha, alpha_scatter : radio spectral index (section 4.2 and Appendix A)
    colour : median log10(F_band / F_radio) in the order of `BANDS`
    colour_scatter : in dex, most of it common to all bands
    shape : morphology of the resolved ones
    """

    five_bands: int
    seven_bands: int
    size: float
    size_scatter: float
    detected: tuple[float, ...]
    flux: float
    flux_scatter: float
    alpha: float
    alpha_scatter: float
    colour: tuple[float, ...]
    colour_scatter: float
    shape: str


#: Colours: HII regions and planetary nebulae on their sides of the criteria of Anderson et al. (2012, A&A 537, A1;
#: log F12/F8 < 0.3 for HII regions), HII regions also within those of Makai et al. (2017, ApJ 846, 64; log F24/F12 > 0,
#: log F70/F12 > 1.2), extragalactic sources where the WISE colours of Wright et al. (2010, AJ 140, 1868) put galaxies
#: and quasars. The medians are round numbers on these sides, not measurements.
CLASSES: dict[str, CompactClass] = {
    "HII": CompactClass(
        2664, 2621, 22.1, 12.6, (37.6, 49.2, 63.0, 58.1, 64.5, 67.7), 0.04, 0.6, -0.1, 0.25,
        (0.1, 0.2, 1.4, 1.45, 2.0, 3.2), 0.35, "hii-region",
    ),
    "PN": CompactClass(
        1585, 1259, 18.2, 7.1, (17.0, 21.5, 28.5, 45.1, 55.3, 47.5), 0.012, 0.45, 0.0, 0.3,
        (-0.4, -0.2, 0.65, 1.2, 1.9, 1.9), 0.35, "bubble",
    ),
    "PULSAR": CompactClass(
        811, 606, 10.8, 2.9, (4.8, 4.2, 1.7, 0.7, 0.4, 0.5), 0.003, 0.4, -1.8, 0.3,
        (-0.5, -0.6, -0.3, -0.2, 0.2, 0.8), 0.5, "point",
    ),
    "YSO": CompactClass(
        589, 531, 10.6, 4.1, (19.5, 26.8, 36.4, 30.4, 32.9, 38.9), 0.01, 0.5, 0.3, 0.4,
        (0.5, 0.8, 1.3, 1.4, 2.0, 2.9), 0.5, "point",
    ),
    "STAR": CompactClass(
        461, 308, 12.0, 6.0, (35.6, 34.9, 26.3, 18.2, 19.1, 14.0), 0.004, 0.5, 0.2, 0.6,
        (1.3, 1.1, 0.7, 0.5, 0.5, 0.5), 0.6, "point",
    ),
    "RG": CompactClass(
        8812, 264, 15.2, 4.4, (86.5, 83.6, 7.6, 37.1, 21.1, 0.0), 0.012, 0.5, -0.8, 0.2,
        (-1.3, -1.45, -1.4, -1.1, -0.7, -0.5), 0.45, "double",
    ),
    "QSO": CompactClass(
        6479, 0, 18.6, 4.8, (69.9, 75.6, 0.0, 60.3, 36.4, 0.0), 0.015, 0.5, -0.75, 0.3,
        (-1.6, -1.4, -1.2, -1.0, -0.6, -0.4), 0.45, "double",
    ),
}  # fmt: skip

FLOOD = 2.5  # rms, where islands end
FAINT = 0.1  # of the limit: what the paper did not detect
COARSE = 12.0  # arcsec, of 22 um: the resolution that all bands are brought to
CHANCE = 0.03  # compact-sources section 3.1: less than 3 % of the matches are spurious
CONFUSED = (
    0.12  # of YSO are HII regions, half as many the other way (compact-sources section 7 names the problem)
)
#: Largest angular size of a shape over the FWHM of a Gaussian that has as large an island.
_EXTENT = {"hii-region": 2.2, "bubble": 1.5, "double": 1.35}
_ABOVE = 1 / 15  # stars above the plane, of those in it
_NEBULAE = ("HII", "PN")  # as large in the infrared as in the radio; all else is a point
#: Detections and colours have a part in common to all bands (correlation 0.7 squared: compact-sources section 4.1 tells
#: of r = 0.5 to 0.7), and neighbours one of their own: r is 0.9 between 3.4 and 4.6 um (there > 0.8) and 0.7 between 12
#: and 22 um.
_COMMON = 0.7
_NEIGHBOURS = {"4.6": ("3.4", 0.8), "22": ("12", 0.41)}


def add_compact(
    sources: "Sources",
    density: float,
    size: int,
    pixel_scale: float,
    fwhm: float,
    rms: float,
    seed: np.random.SeedSequence,
) -> None:
    """Add compact sources of the seven classes: the plane in the lower half of the map, the rest above it.

    Sources with 7 bands lie below, where the surveys of the plane reach; those with 5 bands above.
    """
    rng = np.random.default_rng(seed)
    extent = size * pixel_scale
    # One source a cell at most, so that all are isolated.
    n_cells = 2 * max(1, int(np.sqrt(density) * extent / 7200))
    cell = extent / n_cells
    below = np.arange(n_cells * n_cells) // n_cells < n_cells // 2
    names = list(CLASSES)
    kinds = list(CLASSES.values())
    plane = np.array([kind.seven_bands for kind in kinds], float)
    high = np.array([kind.five_bands - kind.seven_bands for kind in kinds], float)
    kind = np.where(
        below,
        rng.choice(len(names), below.size, p=plane / plane.sum()),
        rng.choice(len(names), below.size, p=high / high.sum()),
    )
    label = _labels(kind, names, rng)
    chance = rng.random(kind.size) < CHANCE
    kind = np.where(chance, names.index("RG"), kind)  # what the catalogue's object is not
    truly = np.array([kinds[k].alpha for k in kind])
    margin = 0.3 * cell
    x = (np.arange(kind.size) % n_cells) * cell + rng.uniform(margin, cell - margin, kind.size)
    y = (np.arange(kind.size) // n_cells) * cell + rng.uniform(margin, cell - margin, kind.size)
    flux = np.array([kinds[k].flux for k in kind]) * 10 ** (
        np.array([kinds[k].flux_scatter for k in kind]) * rng.normal(size=kind.size)
    )
    alpha = truly + np.array([kinds[k].alpha_scatter for k in kind]) * rng.normal(size=kind.size)
    mean, scatter = (np.array([getattr(kinds[k], name) for k in kind]) for name in ("size", "size_scatter"))
    ratio = np.log1p((scatter / mean) ** 2)
    island = mean * np.exp(np.sqrt(ratio) * rng.normal(size=kind.size) - ratio / 2)
    intrinsic = _behind(island, flux / rms, fwhm)
    theta = rng.uniform(0, np.pi, kind.size)
    shape = np.array([kinds[k].shape for k in kind], object)
    shape[intrinsic < 0.5 * fwhm] = "point"
    intrinsic *= np.array([_EXTENT.get(name, 1.0) for name in shape])
    nebula = np.isin(np.array(names, object)[kind], _NEBULAE)
    infrared = _infrared_fluxes(kind, kinds, flux, np.where(nebula, intrinsic, 0.0), below, rng)
    rows = sources.add(
        x=x, y=y, flux=flux, alpha=alpha, size=intrinsic, theta=theta, morphology=shape,
        population=np.array(names, object)[kind], label=label, chance=chance, **infrared,
    )  # fmt: skip
    for i, row in enumerate(rows):
        pieces = MORPHOLOGIES[shape[i]](rng, intrinsic[i])
        pieces["alpha"] += alpha[i] - np.average(pieces["alpha"], weights=pieces["flux"])
        sources.draw(row, placed(pieces, x[i], y[i], flux[i], theta[i]))


def _behind(island: np.ndarray, snr: np.ndarray, fwhm: float) -> np.ndarray:
    """Sizes (FWHM) of Gaussians whose islands are so wide; sizes of the tables are of islands, beam included.

    A Gaussian of peak s rms and FWHM W after convolution is W sqrt(log2(s / 2.5)) wide at 2.5 rms. Where even a point
    would have a wider island it is a point.
    """
    wide = np.geomspace(fwhm, 12 * fwhm, 200)[:, None]
    peak = snr * (fwhm / wide) ** 2
    width = wide * np.sqrt(np.log2(np.maximum(peak / FLOOD, 1.0)))
    # The widest island lies where the peak has fallen to e times the flood level; beyond it nothing is found.
    first = np.argmax((width >= island) | (peak < np.exp(1) * FLOOD), axis=0)
    return np.sqrt(np.maximum(wide[first, 0] ** 2 - fwhm**2, 0.01))


def _labels(kind: np.ndarray, names: list[str], rng: np.random.Generator) -> np.ndarray:
    """What a reference catalogue says: YSO and HII regions are taken for one another."""
    label = np.array(names, object)[kind]
    lot = rng.random(kind.size)
    hii, yso = label == "HII", label == "YSO"
    # Few HII regions among many make up a fair part of what is called YSO.
    share = CONFUSED * yso.sum() / max(int(hii.sum()), 1)
    label[hii & (lot < share)] = "YSO"
    label[yso & (lot < CONFUSED / 2)] = "HII"
    return label


def _infrared_fluxes(
    kind: np.ndarray,
    kinds: list[CompactClass],
    flux: np.ndarray,
    size: np.ndarray,
    below: np.ndarray,
    rng: np.random.Generator,
) -> dict[str, np.ndarray]:
    """Infrared flux densities in Jy: by colour, above the limit for the detected share, below it for the rest.

    The tables' shares hold what stars give by chance; that is taken off.
    """
    common = rng.normal(size=(2, kind.size))
    noise: dict[str, np.ndarray] = {}
    columns = {}
    for i, (name, band) in enumerate(BANDS.items()):
        by_chance = band.chance * np.where(below, 1.0, _ABOVE)
        share = np.array([k.detected[i] for k in kinds])[kind] / 100
        share = np.maximum(share - by_chance, 0) / (1 - by_chance)
        noise[name] = rng.normal(size=(2, kind.size))
        if name in _NEIGHBOURS:
            other, part = _NEIGHBOURS[name]
            noise[name] = part * noise[other] + np.sqrt(1 - part**2) * noise[name]
        own, deviation = _COMMON * common + np.sqrt(1 - _COMMON**2) * noise[name]
        rank = np.argsort(np.argsort(own)) / max(kind.size, 1)  # uniform, and correlated between bands
        detected = rank > 1 - share
        scatter = np.array([k.colour_scatter for k in kinds])[kind]
        bright = flux * 10 ** (np.array([k.colour[i] for k in kinds])[kind] + scatter * deviation)
        # An extended source needs more flux for the same peak; and a coarser beam sees more of it at once.
        limit, faint = (
            band.limit * 1e-3 * (1 + (size / fwhm) ** 2) for fwhm in (band.fwhm, max(band.fwhm, COARSE))
        )
        columns[f"flux_{name}"] = np.where(
            detected, np.maximum(bright, 2.0 * limit), np.minimum(bright, FAINT * faint)
        )
        columns[f"detected_{name}"] = detected
    return columns


def infrared_maps(
    table: pd.DataFrame,
    components: np.ndarray,
    start: np.ndarray,
    header: fits.Header,
    size: int,
    pixel_scale: float,
    seed: np.random.SeedSequence,
    data_numbers: bool = False,
) -> dict[str, "SkyMap"]:
    """Maps of the same field in the bands of `BANDS`, in MJy/sr, each on its own grid and with its own beam.

    With `data_numbers` those of WISE are in DN instead, with their zero point in the header as MAGZP.

    8 and 70 um are blank above the plane, where their surveys did not look. Stars shine in the short bands and give
    chance matches.
    """
    from radio_beam import Beam

    from radiowidgets.data.maps import SkyMap

    extent = size * pixel_scale
    counterparts = _counterparts(table, components, start)
    maps = {}
    for stream, (name, band) in zip(seed.spawn(len(BANDS)), BANDS.items(), strict=True):
        for_stars, for_noise = stream.spawn(2)
        n = int(np.ceil(extent / band.pixel_scale))
        shift = ((n - 1) * band.pixel_scale - (size - 1) * pixel_scale) / 2
        beam = beam_covariance(band.fwhm, band.fwhm, 0.0, band.pixel_scale)
        own = counterparts[0].copy()
        own["flux"] *= table[f"flux_{name}"].to_numpy(float)[counterparts[1]]
        everything = np.concatenate([own, _stars(band, extent, np.random.default_rng(for_stars))])
        everything["x"] += shift
        everything["y"] += shift
        image = np.zeros((n, n), np.float32)
        Drawable.of(everything, band.pixel_scale, beam).draw(image)
        beam_sr = 1.1331 * band.fwhm**2 / 206264.8**2
        # Noise of neighbouring pixels is a little correlated, by the beam.
        noise = white_noise((n, n), for_noise)
        noise = _smoothed(noise, beam)
        image += noise * np.float32(band.limit * 1e-3 / 5)
        image *= np.float32(1e-6 / beam_sr)
        if band.plane_only:
            image[n // 2 :] = np.nan
        own_header = header.copy()
        scale = band.pixel_scale / 3600
        for key, value in (
            ("CRPIX1", (n + 1) / 2), ("CRPIX2", (n + 1) / 2), ("CDELT1", -scale), ("CDELT2", scale),
            ("BMAJ", band.fwhm / 3600), ("BMIN", band.fwhm / 3600), ("BPA", 0.0), ("BUNIT", "MJy/sr"),
            ("RESTFRQ", 2.99792458e14 / band.wavelength),
        ):  # fmt: skip
            own_header[key] = value
        unit = u.MJy / u.sr
        if data_numbers and band.zero_flux is not None and band.zero_point is not None:
            pixel_sr = (band.pixel_scale / 206264.8) ** 2
            image *= np.float32(1e6 * pixel_sr / (band.zero_flux * 10 ** (-0.4 * band.zero_point)))
            own_header["BUNIT"], own_header["MAGZP"], unit = "DN", band.zero_point, u.DN
        maps[name] = SkyMap.from_array(
            image,
            name=f"mock-{name}um",
            wcs=WCS(own_header),
            beam=Beam(band.fwhm * u.arcsec),
            unit=unit,
            frequency=2.99792458e14 / band.wavelength * u.Hz,
            header=own_header,
        )
    return maps


def _counterparts(
    table: pd.DataFrame, components: np.ndarray, start: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Infrared shapes of the compact sources at unit flux: nebulae as in radio, all else a point at its centre."""
    rows = np.flatnonzero(table["label"].notna().to_numpy() & (table["label"] != "").to_numpy())
    parts, owner = [], []
    for row in rows:
        if table["population"].iloc[row] in _NEBULAE:
            part = components[start[row] : start[row + 1]].copy()
            part["flux"] /= part["flux"].sum()
        else:
            part = np.zeros(1, COMPONENT)
            part["x"], part["y"], part["flux"] = table["x"].iloc[row], table["y"].iloc[row], 1.0
        parts.append(part)
        owner.append(np.full(part.size, row))
    return np.concatenate(parts), np.concatenate(owner)


def _stars(band: Band, extent: float, rng: np.random.Generator) -> np.ndarray:
    """Foreground stars: counts of slope -0.9, fifteen times as many in the plane as above it."""
    stars = []
    for half, factor in ((0, 1.0), (1, _ABOVE)):
        n = int(rng.poisson(2 * factor * band.stars * (extent / 3600) ** 2 / 2))
        drawn = np.zeros(n, COMPONENT)
        drawn["x"] = rng.uniform(0, extent, n)
        drawn["y"] = rng.uniform(0, extent / 2, n) + half * extent / 2
        drawn["flux"] = np.minimum(0.5e-3 * band.limit * rng.random(n) ** (-1 / 0.9), 5.0)
        stars.append(drawn)
    return np.concatenate(stars)


def _smoothed(noise: np.ndarray, beam: tuple[float, float, float]) -> np.ndarray:
    """White noise smoothed by half the beam, of unit variance."""
    smooth = ndimage.gaussian_filter(noise, 0.5 * np.sqrt(beam[0]), mode="wrap")
    return smooth / smooth.std()
