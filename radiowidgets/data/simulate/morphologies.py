"""Shapes of radio sources as sums of Gaussian components, one function a morphology.

Each function takes a generator and the largest angular size in arcsec and returns `COMPONENT` records about (0, 0)
with total flux density 1 and their long axis along +x. Components carry the spectral index of their place: cores are
flat, lobes steep, thermal nebulae thin. Sums of Gaussians are convolved with the beam exactly, at any position within a
pixel, and conserve flux by construction.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from radiowidgets.data.simulate.render import COMPONENT

CORE_ALPHA = -0.1
JET_ALPHA = -0.6
LOBE_ALPHA = -0.8
TAIL_ALPHA = -1.1
RELIC_ALPHA = -1.2
THERMAL_ALPHA = -0.1
REMNANT_ALPHA = -0.5


def _gaussians(
    x: ArrayLike,
    y: ArrayLike,
    flux: ArrayLike,
    major: ArrayLike,
    minor: ArrayLike | None = None,
    theta: ArrayLike = 0.0,
    alpha: ArrayLike = LOBE_ALPHA,
) -> np.ndarray:
    """Component records from arrays or numbers that broadcast together."""
    minor = major if minor is None else minor
    columns = np.broadcast_arrays(*np.atleast_1d(x, y, flux, major, minor, theta, alpha))
    components = np.empty(columns[0].size, COMPONENT)
    for name, column in zip(COMPONENT.names or (), columns, strict=True):
        components[name] = column
    return components


def _whole(*parts: np.ndarray) -> np.ndarray:
    """Join parts and scale them to a total flux of 1."""
    components = np.concatenate(parts)
    components["flux"] /= components["flux"].sum()
    return components


def _chain(
    x: np.ndarray, y: np.ndarray, flux: np.ndarray, width: np.ndarray, alpha: ArrayLike = LOBE_ALPHA
) -> np.ndarray:
    """Gaussians along a path, long enough to overlap, so that they read as one ridge."""
    dx, dy = np.gradient(x), np.gradient(y)
    length = np.maximum(2.0 * np.hypot(dx, dy), width)
    return _gaussians(x, y, flux, length, width, np.arctan2(dy, dx), alpha)


def _ring(rng: np.random.Generator, radius: float, width: float, contrast: float, alpha: float) -> np.ndarray:
    """A closed circle whose brightness varies smoothly by `contrast` round it."""
    n = max(48, int(8 * radius / width))
    phi = np.arange(n) * 2 * np.pi / n
    modes = np.arange(1, 6)
    phase = rng.uniform(0, 2 * np.pi, modes.size)
    wave = np.cos(modes * phi[:, None] + phase) @ (rng.normal(size=modes.size) / modes)
    flux = np.exp(contrast * wave / max(wave.std(), 1e-9))
    return _gaussians(
        radius * np.cos(phi),
        radius * np.sin(phi),
        flux,
        max(2 * np.pi * radius / n * 2, width),
        width,
        phi + np.pi / 2,
        alpha,
    )


def _cloud(
    rng: np.random.Generator, size: float, levels: int = 4, children: int = 4, alpha: float = THERMAL_ALPHA
) -> np.ndarray:
    """A clumpy cloud by random cascade: each clump breaks into smaller ones inside it."""
    x, y, scale, flux = np.zeros(1), np.zeros(1), np.full(1, size / 2.0), np.ones(1)
    parts = []
    for _ in range(levels):
        parts.append(
            _gaussians(x, y, 0.35 * flux, 1.2 * scale, 0.7 * scale, rng.uniform(0, np.pi, x.size), alpha)
        )
        n = x.size * children
        spread = 0.55 * np.repeat(scale, children)
        x = np.repeat(x, children) + rng.normal(size=n) * spread
        y = np.repeat(y, children) + rng.normal(size=n) * spread
        flux = np.repeat(flux, children) * 0.65 / children * rng.lognormal(-0.32, 0.8, n)
        scale = np.repeat(scale, children) * rng.uniform(0.35, 0.6, n)
    parts.append(_gaussians(x, y, flux, 1.2 * scale, 0.8 * scale, rng.uniform(0, np.pi, x.size), alpha))
    return _whole(*parts)


def _bent(bend: float, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A path that leaves along +x and curves towards -y; `bend` is the final angle in radians, length 1."""
    angle = -bend * t
    step = np.diff(t, prepend=0.0)
    return np.cumsum(np.cos(angle) * step), np.cumsum(np.sin(angle) * step)


def _knots(rng: np.random.Generator, n: int, strength: float) -> np.ndarray:
    """Factors about 1 that vary along a jet or lobe, correlated between neighbours."""
    smooth = np.convolve(rng.normal(size=n + 2), [0.5, 0.7, 0.5], mode="valid")
    return np.exp(strength * smooth)


def _turned(components: np.ndarray, angle: float) -> np.ndarray:
    """Components turned about (0, 0), anticlockwise."""
    return placed(components, 0.0, 0.0, 1.0, angle)


def point(rng: np.random.Generator, size: float) -> np.ndarray:  # noqa: ARG001
    """One unresolved component."""
    return _gaussians(0.0, 0.0, 1.0, 0.0, alpha=LOBE_ALPHA)


def disc(rng: np.random.Generator, size: float) -> np.ndarray:
    """An inclined exponential disc, as of a star-forming galaxy; `size` is its half-light diameter.

    Five concentric Gaussians follow the exponential profile within 1 % from 0.05 to 3 half-light radii (the
    mixture-of-Gaussians idea of Hogg & Lang 2013, PASP 125, 719; weights fitted here).
    """
    width = np.array([0.1415, 0.3568, 0.6739, 1.1182, 1.7815])
    flux = np.array([0.0077, 0.0684, 0.2477, 0.4294, 0.2464])
    axis_ratio = rng.uniform(0.12, 0.6)
    return _whole(_gaussians(0.0, 0.0, flux, width * size, axis_ratio * width * size, 0.0, -0.75))


def double(rng: np.random.Generator, size: float) -> np.ndarray:
    """Two lobes without a visible core, each a clump or two."""
    ratio = rng.uniform(0.25, 0.75)
    parts = []
    for side, share in ((-1, ratio), (1, 1 - ratio)):
        width = size * rng.uniform(0.18, 0.4)
        arm = 0.5 * (size - width) * rng.uniform(0.75, 1.0)
        inner = rng.uniform(0.0, 0.4)
        lobe = np.concatenate(
            [
                _gaussians(
                    side * arm, 0.0, share * (1 - inner), 1.1 * width, 0.8 * width, rng.uniform(0, np.pi)
                ),
                _gaussians(
                    side * 0.55 * arm, 0.1 * width * rng.normal(), share * inner, 1.4 * width, 0.8 * width
                ),
            ]
        )
        parts.append(_turned(lobe, rng.normal(0, 0.12)))
    return _whole(*parts)


def triple(rng: np.random.Generator, size: float) -> np.ndarray:
    """Two lobes and a flat-spectrum core."""
    core = rng.uniform(0.08, 0.5)
    lobes = double(rng, size)
    lobes["flux"] *= 1 - core
    return _whole(lobes, _gaussians(rng.normal() * 0.03 * size, 0.0, core, 0.02 * size, alpha=CORE_ALPHA))


def fr2(rng: np.random.Generator, size: float) -> np.ndarray:
    """FR-II: hot spots at the ends, lobes reaching back towards a weak core (Fanaroff & Riley 1974)."""
    parts = [_gaussians(0.0, 0.0, rng.uniform(0.0, 0.08), 0.02 * size, alpha=CORE_ALPHA)]
    balance = rng.uniform(0.25, 0.75)
    for side, share in ((-1, balance), (1, 1 - balance)):
        arm = 0.5 * size * rng.uniform(0.65, 1.0)
        hot = rng.uniform(0.1, 0.55)
        width = 0.2 * size * rng.uniform(0.6, 1.6)
        t = np.linspace(rng.uniform(0.1, 0.4), 1.0, 12)
        offset = 0.06 * size * rng.normal() * t * (1.3 - t)
        back = np.exp(rng.uniform(0.5, 2.5) * t) * _knots(rng, t.size, 0.35)
        lobe = np.concatenate(
            [
                _chain(
                    side * arm * t, offset, share * (1 - hot) * back / back.sum(), width * (1.3 - 0.6 * t)
                ),
                _gaussians(
                    side * arm,
                    offset[-1],
                    share * hot,
                    0.06 * size,
                    0.03 * size,
                    rng.uniform(0, np.pi),
                    JET_ALPHA,
                ),
            ]
        )
        parts.append(_turned(lobe, rng.normal(0, 0.1)))
    return _whole(*parts)


def fr1(rng: np.random.Generator, size: float) -> np.ndarray:
    """FR-I: brightest at the core, two jets that widen and fade into plumes."""
    core = rng.uniform(0.05, 0.3)
    parts = [_gaussians(0.0, 0.0, core, 0.02 * size, alpha=CORE_ALPHA)]
    balance = rng.uniform(0.3, 0.7)
    wiggle, phase = rng.uniform(0.0, 0.06), rng.uniform(0, 2 * np.pi)
    for side, share in ((-1, balance), (1, 1 - balance)):
        t = np.linspace(0.04, rng.uniform(0.75, 1.0), 22)
        flux = np.exp(-rng.uniform(0.8, 2.0) * t) * (0.4 + t) * _knots(rng, t.size, 0.3)
        y = size * (wiggle * np.sin(3.5 * t + phase) + side * 0.1 * rng.normal() * t**2)
        parts.append(
            _chain(
                side * 0.5 * size * t,
                y,
                (1 - core) * share * flux / flux.sum(),
                size * (0.03 + rng.uniform(0.12, 0.34) * t**1.2),
                np.interp(t, [0, 1], [JET_ALPHA, -1.0]),
            )
        )
    return _whole(*parts)


def hybrid(rng: np.random.Generator, size: float) -> np.ndarray:
    """HyMoRS: FR-I on one side of the core, FR-II on the other (Gopal-Krishna & Wiita 2000)."""
    first, second = fr1(rng, size), fr2(rng, size)
    return _whole(first[first["x"] <= 0], second[second["x"] > 0])


def tail(rng: np.random.Generator, size: float, bend: float, opening: float) -> np.ndarray:
    """Two jets bent to the same side: the common form of wide- and narrow-angle tails."""
    t = np.linspace(0.02, 1.0, 36)
    core = rng.uniform(0.05, 0.2)
    parts = [_gaussians(0.0, 0.0, core, 0.02 * size, alpha=CORE_ALPHA)]
    for side in (-1, 1):
        x, y = _bent(bend * rng.uniform(0.85, 1.15), t)
        x = opening * x
        y = y + rng.uniform(0, 0.06) * np.sin(rng.uniform(4, 9) * t + rng.uniform(0, 6)) * t
        flux = np.exp(-1.3 * t) * (0.5 + np.exp(-(((t - 0.3) / 0.15) ** 2))) * rng.uniform(0.7, 1.3)
        parts.append(
            _chain(
                side * x,
                y,
                flux / flux.sum(),
                0.04 + 0.12 * t,
                np.interp(t, [0, 1], [JET_ALPHA, TAIL_ALPHA - 0.3]),
            )
        )
        parts[-1]["flux"] *= (1 - core) * rng.uniform(0.35, 0.65)
    whole = _spanning(_whole(*parts), size)
    whole["y"] -= np.average(whole["y"], weights=whole["flux"])
    return whole


def _spanning(whole: np.ndarray, size: float) -> np.ndarray:
    """Components scaled so that the longer side of their positions is `size`, in place."""
    span = max(np.ptp(whole["x"]), np.ptp(whole["y"]))
    for name in ("x", "y", "major", "minor"):
        whole[name] *= size / span
    return whole


def wide_angle_tail(rng: np.random.Generator, size: float) -> np.ndarray:
    """WAT: jets that bend by 30 to 80 degrees, in clusters."""
    return tail(rng, size, bend=rng.uniform(0.6, 1.4), opening=1.0)


def narrow_angle_tail(rng: np.random.Generator, size: float) -> np.ndarray:
    """NAT or head-tail: both jets swept back behind a galaxy that falls through a cluster."""
    return tail(rng, size, bend=rng.uniform(1.6, 1.9), opening=rng.uniform(0.25, 0.5))


def x_shaped(rng: np.random.Generator, size: float) -> np.ndarray:
    """An FR-II with a second, fainter pair of wings across it."""
    wings = fr1(rng, 0.8 * size)
    wings = _turned(wings, rng.uniform(0.8, 1.5))
    wings["flux"] *= 0.6
    wings["alpha"] -= 0.2
    return _whole(fr2(rng, size), wings)


def s_shaped(rng: np.random.Generator, size: float) -> np.ndarray:
    """S- or Z-shaped: jets of a turning axis, bent to opposite sides (Ekers et al. 1978, of NGC 326).

    In no preset, and never used to teach the encoder or to choose anything: what is new to all shall be new.
    """
    t = np.linspace(0.04, 1.0, 28)
    core = rng.uniform(0.03, 0.15)
    parts = [_gaussians(0.0, 0.0, core, 0.02 * size, alpha=CORE_ALPHA)]
    bend, peak = rng.uniform(1.2, 2.4), rng.uniform(0.45, 0.75)
    for side in (-1, 1):
        x, y = _bent(bend * rng.uniform(0.9, 1.1), t)
        flux = (0.4 + np.exp(-(((t - peak) / 0.2) ** 2))) * _knots(rng, t.size, 0.25)
        flux *= (1 - core) * rng.uniform(0.4, 0.6) / flux.sum()
        parts.append(
            _chain(side * x, side * y, flux, 0.05 + 0.1 * t, np.interp(t, [0, 1], [JET_ALPHA, -1.1]))
        )
    return _spanning(_whole(*parts), size)


def ring(rng: np.random.Generator, size: float) -> np.ndarray:
    """Odd radio circle: an edge-brightened disc, often with a galaxy at its centre (Norris et al. 2021)."""
    width = 0.14 * size
    radius = 0.5 * (size - width)
    edge = _ring(rng, radius, width, 0.25, -1.0)
    edge["flux"] *= 0.72 / edge["flux"].sum()
    inside = _gaussians(0.0, 0.0, 0.22, 0.75 * size, 0.7 * size, 0.0, -1.0)
    return _whole(edge, inside, _gaussians(0.0, 0.0, 0.06 * rng.uniform(0, 1), 0.01 * size, alpha=CORE_ALPHA))


def shell(rng: np.random.Generator, size: float) -> np.ndarray:
    """Supernova remnant: a limb-brightened, patchy shell with filaments and a faint inside."""
    radius = 0.46 * size
    parts = []
    for depth, share in ((0.99, 0.34), (0.93, 0.24), (0.85, 0.16), (0.7, 0.12)):
        edge = _ring(rng, radius * depth, 0.06 * size, 0.55, REMNANT_ALPHA)
        edge["flux"] *= share / edge["flux"].sum()
        parts.append(edge)
    for _ in range(rng.integers(3, 8)):
        start, span = rng.uniform(0, 2 * np.pi), rng.uniform(0.3, 1.2)
        phi = np.linspace(start, start + span, 14)
        r = radius * (rng.uniform(0.6, 0.98) + 0.06 * np.sin(2 * phi + rng.uniform(0, 6)))
        fade = np.hanning(16)[1:-1]
        parts.append(
            _chain(r * np.cos(phi), r * np.sin(phi), 0.03 * fade, np.full(14, 0.025 * size), REMNANT_ALPHA)
        )
    parts.append(_gaussians(0.0, 0.0, 0.12, 0.7 * size, alpha=REMNANT_ALPHA))
    whole = _whole(*parts)
    squeeze = rng.uniform(0.8, 1.0)
    whole["y"] *= squeeze
    return whole


def bubble(rng: np.random.Generator, size: float) -> np.ndarray:
    """HII bubble: a thick, smooth thermal ring, open on one side, with clumps on its rim."""
    rim = _ring(rng, 0.4 * size, 0.2 * size, 0.45, THERMAL_ALPHA)
    rim["flux"] *= 0.75 / rim["flux"].sum()
    clump = _cloud(rng, 0.25 * size, levels=3)
    clump["flux"] *= 0.15
    angle = rng.uniform(0, 2 * np.pi)
    clump["x"] += 0.4 * size * np.cos(angle)
    clump["y"] += 0.4 * size * np.sin(angle)
    return _whole(rim, clump, _gaussians(0.0, 0.0, 0.1, 0.6 * size, alpha=THERMAL_ALPHA))


def hii_region(rng: np.random.Generator, size: float) -> np.ndarray:
    """Filled HII region: a bright head and a clumpy envelope, often cometary."""
    envelope = _cloud(rng, 0.5 * size, levels=4)
    envelope["flux"] *= 0.6
    head = _gaussians(0.08 * size, 0.0, 0.25, 0.12 * size, 0.09 * size, rng.uniform(0, np.pi), THERMAL_ALPHA)
    t = np.linspace(0.0, 1.0, 12)
    coma = _chain(
        0.08 * size - 0.35 * size * t, 0 * t, np.exp(-3 * t) / 12, size * (0.12 + 0.3 * t), THERMAL_ALPHA
    )
    return _whole(envelope, head, coma)


def halo(rng: np.random.Generator, size: float) -> np.ndarray:
    """Cluster radio halo: smooth, steep, centrally peaked; its exponential profile as Gaussians plus soft patches."""
    ratio = rng.uniform(0.7, 1.0)
    core = _gaussians(
        0.0,
        0.0,
        [0.25, 0.35, 0.2],
        np.array([0.2, 0.42, 0.7]) * size,
        np.array([0.2, 0.42, 0.7]) * ratio * size,
        0.0,
        -1.3,
    )
    n = 14
    patches = _gaussians(
        rng.normal(size=n) * 0.17 * size,
        rng.normal(size=n) * 0.17 * ratio * size,
        rng.uniform(0.2, 1.0, n) * 0.2 / n * 1.7,
        rng.uniform(0.1, 0.25, n) * size,
        alpha=-1.3,
    )
    return _whole(core, patches)


def relic(rng: np.random.Generator, size: float) -> np.ndarray:
    """Cluster relic: an arc with a sharp outer edge that fades and steepens inwards."""
    opening = rng.uniform(0.5, 1.1)
    radius = 0.5 * size / np.sin(opening)
    phi = np.linspace(-opening, opening, 40)
    modes = np.arange(1, 5)
    wave = np.cos(modes * phi[:, None] / opening * 2 + rng.uniform(0, 6.3, 4)) @ (0.25 * rng.normal(size=4))
    along = np.cos(0.49 * np.pi * phi / opening) ** 0.7 * np.exp(wave)
    wobble = 0.01 * size * np.cumsum(rng.normal(size=phi.size)) / np.sqrt(phi.size)
    parts = []
    for depth, share, width, steep in (
        (0.0, 0.45, 0.03, 0.0),
        (0.035, 0.32, 0.06, -0.3),
        (0.09, 0.23, 0.11, -0.6),
    ):
        r = radius - depth * size + wobble
        parts.append(
            _chain(
                r * np.sin(phi),
                r * np.cos(phi) - radius,
                share * along,
                np.full(40, width * size),
                RELIC_ALPHA + steep,
            )
        )
    whole = _whole(*parts)
    whole["y"] -= np.average(whole["y"], weights=whole["flux"])
    return whole


def filament(rng: np.random.Generator, size: float) -> np.ndarray:
    """A long, thin, knotty ridge, such as a Galactic non-thermal filament or a bridge between clusters."""
    n = 60
    t = np.linspace(-0.5, 0.5, n)
    y = size * (0.08 * rng.normal() * np.sin(2 * np.pi * t + rng.uniform(0, 6)) + 0.1 * rng.normal() * t**2)
    y += 0.006 * size * np.cumsum(rng.normal(size=n)) / 3
    knots = np.exp(0.5 * np.convolve(rng.normal(size=n), np.hanning(9), mode="same") / 1.9)
    flux = np.cos(0.98 * np.pi * t) ** 0.8 * knots
    width = size * rng.uniform(0.02, 0.04)
    ridge = _chain(size * t, y, 0.7 * flux / flux.sum(), np.full(n, width), -0.6)
    skirt = _chain(size * t, y, 0.3 * flux / flux.sum(), np.full(n, 3 * width), -0.9)
    return _whole(ridge, skirt)


def irregular(rng: np.random.Generator, size: float) -> np.ndarray:
    """Irregular large-scale emission, as of the Galactic plane: a deep random cascade of clumps."""
    return _cloud(rng, 0.6 * size, levels=6, children=4)


MORPHOLOGIES: dict[str, Callable[[np.random.Generator, float], np.ndarray]] = {
    "point": point,
    "disc": disc,
    "double": double,
    "triple": triple,
    "fr1": fr1,
    "fr2": fr2,
    "hybrid": hybrid,
    "wide-angle-tail": wide_angle_tail,
    "narrow-angle-tail": narrow_angle_tail,
    "x-shaped": x_shaped,
    "s-shaped": s_shaped,
    "ring": ring,
    "shell": shell,
    "bubble": bubble,
    "hii-region": hii_region,
    "halo": halo,
    "relic": relic,
    "filament": filament,
    "irregular": irregular,
}


def placed(components: np.ndarray, x: float, y: float, flux: float, theta: float) -> np.ndarray:
    """Turn components by theta, move them to (x, y) arcsec and give them a total flux density in Jy."""
    cos, sin = np.cos(theta), np.sin(theta)
    moved = components.copy()
    moved["x"] = x + cos * components["x"] - sin * components["y"]
    moved["y"] = y + sin * components["x"] + cos * components["y"]
    moved["theta"] += theta
    moved["flux"] *= flux
    return moved
