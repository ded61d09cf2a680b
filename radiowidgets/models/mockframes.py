"""Frames of mock skies for training encoders: every morphology equally at home, each object seen twice.

An object is put into maps of the presets at random places, twice: elsewhere, turned, under other noise, among other
neighbours and artefacts. What both takes share is the object; a network that finds it sees through the background.
Some takes are pictures of the object, as people keep them: cut close, thresholded, saturated, stretched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from radiowidgets.data.frames import FrameSet
from radiowidgets.data.simulate import simulate
from radiowidgets.data.simulate.morphologies import MORPHOLOGIES, double, fr2, placed, point, tail
from radiowidgets.data.simulate.render import Drawable
from radiowidgets.data.sources import clip_frames
from radiowidgets.errors import check_one_of
from radiowidgets.models.inputs import CHANNELS, LOOKS, SIZE, look_into
from radiowidgets.parallel import Progress, map_chunks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from radiowidgets.data.maps import SkyMap

SURVEYS = ("emu", "smgps", "first", "sdc1-b1-8h", "sdc1-b1-1000h")
FIELD = "field"  # a frame at a random place, nothing put in
#: Share of each kind among the frames, before scaling to 1: what looks much alike is not many times as frequent.
SHARES: dict[str, float] = {
    "fr1": 3.0, "fr2": 3.0, "double": 1.5, "triple": 1.5, "hybrid": 1.0, "wide-angle-tail": 1.3,
    "narrow-angle-tail": 1.3, "x-shaped": 0.6, "point": 1.0, "disc": 0.8, "ring": 0.8, "shell": 0.8, "bubble": 0.8,
    "hii-region": 0.8, "halo": 0.8, "relic": 0.8, "filament": 0.8, "irregular": 0.4, FIELD: 2.0,
    "double-double": 0.8, "one-sided": 0.8, "group": 2.0,
}  # fmt: skip
KINDS = tuple(SHARES)
FAINT = frozenset({"ring", "shell", "bubble", "hii-region", "halo", "relic", "filament", "irregular"})
SIDES = (32, 48, 64, 96, 128, 150, 192, 256)  # pixels of the frames
MAP_SIZE = 1024
TAKES = 2
GAMMA_SHARE = 0.3  # of the takes get another stretch
PICTURES = 0.35  # of the takes of objects are pictures
PICTURE_SIZE = 96  # pixels; smaller cuts are drawn out to it
#: Kinds that are drawn bent, uneven, knotty and inside faint emission as they come, besides what their shape says.
UNEVEN = frozenset({"fr1", "fr2", "double", "triple", "hybrid", "x-shaped", "double-double", "one-sided"})
#: What a frame without noise says of an object, see `traits_of`.
TRAITS = (
    "resolution", "axis ratio", "skew", "bend", "kurtosis along", "kurtosis across", "cross", "area", "peak",
    "peak place", "middle",
)  # fmt: skip
_CHUNK = 256  # frames; belongs to the recipe, not to the workers


class MockFrames(NamedTuple):
    """Training frames.

    Attributes
    ----------
    looks : uint8 (n, 2 takes, 2 looks, 64, 64, 3), see `inputs.encoder_input`
    kind : int64 (n,), position in `KINDS`
    snr : float32 (n, 2), mean surface brightness in rms
    rms : float32 (n, 2), noise measured in the frames, Jy/beam
    traits : float32 (n, 11), `TRAITS` of the object without noise; NaN where nothing was put in
    """

    looks: NDArray[np.uint8]
    kind: NDArray[np.int64]
    snr: NDArray[np.float32]
    rms: NDArray[np.float32]
    traits: NDArray[np.float32]


class Turned:
    """Looks of which every take is turned and flipped, and some stretched, anew each time a batch is taken.

    What happens depends on the seed and on which frames make the batch: no state is to be kept.
    """

    def __init__(self, looks: NDArray[np.uint8], seed: int = 0) -> None:
        self.looks, self.seed = looks, seed

    def __len__(self) -> int:
        return len(self.looks)

    def __getitem__(self, chosen: NDArray[np.integer]) -> NDArray[np.uint8]:
        rng = np.random.default_rng([self.seed, *(int(k) for k in chosen[:8])])
        batch = self.looks[chosen]
        for frame in batch:
            for take in frame:
                turned = np.rot90(take, int(rng.integers(4)), axes=(1, 2))
                if rng.random() < 0.5:
                    turned = turned[:, ::-1]
                if rng.random() < GAMMA_SHARE:
                    power = np.exp(rng.uniform(-0.4, 0.4))
                    table = np.rint(255 * (np.arange(256) / 255) ** power).astype(np.uint8)
                    turned = table[turned]
                take[:] = turned.copy()
        return batch


def mock_frames(
    count: int,
    seed: int = 0,
    *,
    maps_each: int = 2,
    surveys: tuple[str, ...] = SURVEYS,
    pictures: float = PICTURES,
    out: NDArray[np.uint8] | None = None,
    progress: str | Progress | None = None,
) -> MockFrames:
    """Make training frames.

    Parameters
    ----------
    count
        Frames, of two takes each.
    seed
        The same seed gives the same bytes.
    maps_each
        Mock maps of each survey to put objects into.
    surveys
        Presets.
    pictures
        Share of the takes that are pictures.
    out
        Where the looks go, (count, 2, 2, 64, 64, 3) uint8; a memory map, say.
    """
    maps = [
        [simulate(name, MAP_SIZE, seed * 1000 + 17 + number, blank=0.0) for number in range(maps_each)]
        for name in surveys
    ]
    rng = np.random.default_rng([seed, 0])
    share = np.array(list(SHARES.values()))
    kind = rng.choice(len(KINDS), count, p=share / share.sum())
    looks = np.empty((count, TAKES, len(LOOKS), SIZE, SIZE, len(CHANNELS)), np.uint8) if out is None else out
    snr, rms = np.zeros((2, count, TAKES), np.float32)
    made = MockFrames(looks, kind, snr, rms, np.full((count, len(TRAITS)), np.nan, np.float32))

    def work(first: int) -> None:
        part = slice(first, first + _CHUNK)
        chunk = MockFrames(looks[part], kind[part], snr[part], rms[part], made.traits[part])
        _fill_chunk(np.random.default_rng([seed, 1, first]), maps, pictures, chunk)

    map_chunks(work, range(0, count, _CHUNK), progress=progress)
    return made


def mock_objects(
    count: int, kinds: tuple[str, ...] = KINDS, seed: int = 0, *, survey: str = "emu"
) -> tuple[FrameSet, NDArray[np.str_]]:
    """Make frames of one mock object each, and say of what kind it is; to try a method on.

    Parameters
    ----------
    count
        Frames, as many of each kind as of any other.
    kinds
        Some of `KINDS`.
    seed
        The same seed gives the same frames.
    survey
        Preset of the map that the objects are put into.

    Returns
    -------
    frames : FrameSet
        Of 32 to 256 pixels, in Jy/beam.
    kind : (count,) texts

    Raises
    ------
    ParameterError
        For a kind that is not there.
    """
    for name in kinds:
        check_one_of("kind", name, KINDS)
    rng = np.random.default_rng([seed, 2])
    maps = [simulate(survey, MAP_SIZE, seed * 1000 + 19, blank=0.0)]
    drawn = rng.permutation([kinds[k % len(kinds)] for k in range(count)])
    return FrameSet.from_images([_draw_takes(rng, name, maps)[0][0] for name in drawn]), drawn


def traits_of(image: NDArray[np.floating], beam: tuple[float, float, float]) -> NDArray[np.float32]:
    """Return what an object without noise looks like, in numbers that turns and flips leave as they are.

    Moments of the brightness about its centre, u along the long axis and v across: size and area in beams (logarithms),
    axis ratio, skew along u, bend (mean of u2 v), fourth moments (1 of two equal points, 3 of a Gaussian), their cross
    term; the peak in mean brightnesses (logarithm), its distance from the centre, and the brightness there in peaks.

    Parameters
    ----------
    image
        The object alone, in any unit.
    beam
        Variances xx, yy and xy of the beam, in pixels.
    """
    y, x = np.nonzero(image > 0.002 * image.max())
    weight = image[y, x].astype(float)
    total, square = weight.sum(), np.square(weight).sum()
    weight = weight / total
    dy, dx = y - weight @ y, x - weight @ x
    yy, xx, xy = weight @ (dy * dy), weight @ (dx * dx), weight @ (dx * dy)
    turn = 0.5 * np.arctan2(2 * xy, xx - yy)
    u, v = np.cos(turn) * dx + np.sin(turn) * dy, np.cos(turn) * dy - np.sin(turn) * dx
    long, wide = (max(float(np.sqrt(weight @ np.square(w))), 1e-3) for w in (u, v))
    u, v = u / long, v / wide
    beam_sigma = (beam[0] * beam[1] - beam[2] ** 2) ** 0.25
    brightest = image[y, x].argmax()
    peak = float(image[y, x][brightest])
    middle = float(image[y, x][np.argmin(dy * dy + dx * dx)])
    found = (
        np.log(long / beam_sigma),
        wide / long,
        np.sqrt(abs(weight @ u**3)),
        np.sqrt(abs(weight @ (u * u * v))),
        np.log(weight @ u**4),
        np.log(weight @ v**4),
        np.log(weight @ (u * v) ** 2),
        np.log(total**2 / square / beam_sigma**2),
        np.log(peak * total / square),
        np.hypot(u[brightest] * long, v[brightest] * wide) / long,
        middle / peak,
    )
    return np.array(found, np.float32)


def _fill_chunk(
    rng: np.random.Generator, maps: list[list[SkyMap]], pictures: float, chunk: MockFrames
) -> None:
    """Fill some frames, takes of one size together."""
    drawn: dict[int, list[tuple[int, int, NDArray[np.float32]]]] = {}
    for place, number in enumerate(chunk.kind):
        takes, chunk.snr[place], chunk.traits[place] = _draw_takes(
            rng, KINDS[number], maps[rng.integers(len(maps))], pictures
        )
        for take, pixels in enumerate(takes):
            drawn.setdefault(len(pixels), []).append((place, take, pixels))
    for side, frames in drawn.items():
        strip = np.concatenate([pixels for _, _, pixels in frames])
        y = np.arange(len(frames), dtype=np.int32) * np.int32(side)
        x, size = np.zeros_like(y), np.full_like(y, side)
        background, noise, _ = clip_frames(strip, y, x, size, size)
        done = np.empty((len(frames), len(LOOKS), SIZE, SIZE, len(CHANNELS)), np.uint8)
        look_into(strip, y, x, size, size, background, noise, np.arange(len(frames)), done)
        for (place, take, _), image, level in zip(frames, done, noise, strict=True):
            chunk.looks[place, take], chunk.rms[place, take] = image, level


def _draw_takes(
    rng: np.random.Generator, name: str, maps: list[SkyMap], pictures: float = 0.0
) -> tuple[list[NDArray[np.float32]], NDArray[np.float32], NDArray[np.float32]]:
    """Return the pixels of both takes of one object, its mean brightness in each in rms, and its traits."""
    beam = maps[0].truth.beam  # type: ignore[attr-defined]
    fwhm = 2.3548 * float(beam[0] * beam[1] - beam[2] ** 2) ** 0.25
    traits = np.full(len(TRAITS), np.nan, np.float32)
    if name == FIELD:
        side = int(rng.choice(SIDES[1:]))
        return [_cut(rng, maps, side)[0] for _ in range(TAKES)], np.zeros(TAKES, np.float32), traits
    largest = fwhm if name == "point" else float(np.exp(rng.uniform(np.log(1.5 * fwhm), np.log(190.0))))
    shape = _shape(rng, name, largest, fwhm)
    low, high = (3.0, 40.0) if name in FAINT else (4.0, 200.0)
    first = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    takes, brightness = [], np.empty(TAKES, np.float32)
    for take in range(TAKES):
        picture = rng.random() < pictures
        side = _side_of(rng, largest, fwhm, picture)
        pixels, noise = _cut(rng, maps, side)
        brightness[take] = np.clip(first * np.exp(take * rng.uniform(-1.2, 1.2)), low, high)
        room = 0.35 * max(side - largest - fwhm, 0.0)
        if rng.random() < 0.7:
            room *= 0.15
        x, y = (side - 1) / 2 + rng.uniform(-0.5, 0.5, 2) * room
        stamp = _stamp(shape, side, x, y, float(rng.uniform(0, 2 * np.pi)), beam, brightness[take] * noise)
        if np.isnan(traits[0]) and not picture:
            traits = traits_of(stamp, beam)
        pixels += stamp
        takes.append(_picture(rng, pixels, noise) if picture else pixels)
    if np.isnan(traits[0]):
        traits = traits_of(stamp, beam)
    return takes, brightness, traits


def _shape(rng: np.random.Generator, name: str, largest: float, fwhm: float) -> NDArray[np.void]:
    """Return the components of one object of a kind."""
    if name == "group":
        return _group(rng, largest, fwhm)
    if name == "double-double":
        inner = placed(fr2(rng, largest * rng.uniform(0.25, 0.5)), 0.0, 0.0, rng.uniform(0.2, 0.6), 0.0)
        return _uneven(rng, np.concatenate([double(rng, largest), inner]), largest)
    if name == "one-sided":
        return _uneven(
            rng, tail(rng, largest, bend=rng.uniform(1.5, 1.8), opening=rng.uniform(0.02, 0.2)), largest
        )
    shape = MORPHOLOGIES[name](rng, largest)
    return _uneven(rng, shape, largest) if name in UNEVEN else shape


def _uneven(rng: np.random.Generator, shape: NDArray[np.void], largest: float) -> NDArray[np.void]:
    """Return a shape bent, brighter at one end, knotty and inside faint emission, each to a random degree."""
    shape = shape.copy()
    along = np.clip(shape["x"] / largest, -0.6, 0.6)
    shape["y"] += rng.normal(0, 0.3) * largest * along**2
    shape["flux"] *= np.exp(rng.normal(0, 0.8) * along)
    if rng.random() < 0.4:
        shape["flux"] *= rng.lognormal(0, 0.5, len(shape))
    if rng.random() < 0.35:
        cloud = shape[:1].copy()
        share = rng.uniform(0.1, 0.4)
        cloud["flux"] = shape["flux"].sum() * share / (1 - share)
        cloud["x"], cloud["y"] = rng.normal(0, 0.08, 2) * largest
        cloud["major"] = rng.uniform(0.5, 0.9) * largest
        cloud["minor"], cloud["theta"] = cloud["major"] * rng.uniform(0.4, 0.9), rng.normal(0, 0.3)
        shape = np.concatenate([shape, cloud])
    return shape


def _group(rng: np.random.Generator, largest: float, fwhm: float) -> NDArray[np.void]:
    """Return compact sources that happen to lie close together, as in deep or crowded fields."""
    count = int(rng.integers(2, 7))
    reach = min(largest, fwhm * rng.uniform(1.2, 2.5) * np.sqrt(count)) / 2
    parts = []
    for _ in range(count):
        body = point(rng, 0.0) if rng.random() < 0.7 else double(rng, fwhm * rng.uniform(0.5, 1.5))
        x, y = rng.normal(0, 0.7, 2).clip(-1.2, 1.2) * reach
        parts.append(placed(body, x, y, float(rng.lognormal(0, 0.9)), rng.uniform(0, 2 * np.pi)))
    return np.concatenate(parts)


def _side_of(rng: np.random.Generator, largest: float, fwhm: float, picture: bool) -> int:
    """Return the pixels along a frame for an object: close about it in a picture, else one of `SIDES`."""
    if picture:
        return int(np.clip((largest + fwhm) * rng.uniform(0.9, 1.8), 12, SIDES[-1]))
    wanted = (largest + 2 * fwhm) * rng.uniform(1.3, 3.0)
    if rng.random() < 0.4:
        wanted = float(rng.choice(SIDES))
    return next((side for side in SIDES if side >= max(wanted, 1.1 * largest)), SIDES[-1])


def _picture(rng: np.random.Generator, pixels: NDArray[np.float32], noise: float) -> NDArray[np.float32]:
    """Return pixels as a picture shows them, in 256 levels: drawn out, dark below a threshold, saturated, stretched."""
    from scipy.ndimage import zoom

    if len(pixels) < PICTURE_SIZE:
        pixels = zoom(pixels, PICTURE_SIZE / len(pixels), order=3, mode="nearest", grid_mode=True)
    dark = noise * (rng.uniform(0.0, 3.5) if rng.random() < 0.65 else -3.0)
    full = float(np.percentile(pixels, 100 - np.exp(rng.uniform(np.log(0.05), np.log(15.0)))))
    image = np.clip((pixels - dark) / max(full - dark, 3 * noise), 0, 1)
    if rng.random() < 0.6:
        power = np.exp(rng.uniform(np.log(0.5), np.log(60.0)))
        image = np.arcsinh(power * image) / np.arcsinh(power)
    return np.rint(255 * image).astype(np.float32)


def _cut(rng: np.random.Generator, maps: list[SkyMap], side: int) -> tuple[NDArray[np.float32], float]:
    """Cut a random frame out of one of the maps; return it and the true noise at its centre."""
    sky = maps[rng.integers(len(maps))]
    y, x = rng.integers(0, MAP_SIZE - side + 1, 2)
    pixels = np.array(sky.pixels[y : y + side, x : x + side], dtype=np.float32)
    return pixels, float(sky.truth.rms[y + side // 2, x + side // 2])  # type: ignore[attr-defined]


def _stamp(
    shape: NDArray[np.void],
    side: int,
    x: float,
    y: float,
    theta: float,
    beam: tuple[float, float, float],
    brightness: float,
) -> NDArray[np.float32]:
    """Draw one object, sizes in pixels, with a mean surface brightness (weighted by itself) in Jy/beam."""
    image = np.zeros((side, side), np.float32)
    Drawable.of(placed(shape, x, y, 1.0, theta), 1.0, beam).draw(image, threads=1)
    total = float(image.sum(dtype=float))
    mean = float(np.square(image, dtype=float).sum()) / total if total > 0 else 1.0
    return image * np.float32(brightness / mean)
