"""What Review shows of frames: tiles for the gallery, and one frame large."""

from typing import Any

import numpy as np

from radiowidgets.data.resampling import resize
from radiowidgets.run import Run

MOST_TILES = 256  # in one request
TILE_SIZES = (16, 512)
GRID = 17  # points of the sky grid along each side of a large view
HALF_MAX = 65504.0  # largest float16

Reply = tuple[dict[str, Any], list[bytes]]


class Display:
    """Builds what the front end shows of the frames of a run.

    Parameters
    ----------
    run : Run
    """

    def __init__(self, run: Run) -> None:
        self.frames = run.frames
        self.ids = np.asarray(run.frames.frame_ids)

    def tiles(self, frames: np.ndarray, asked: dict[str, Any]) -> Reply:
        """Return frames at tile size: float16 (n, size, size) of (value - background) / rms, top row first."""
        frames = frames[:MOST_TILES]
        size = int(np.clip(int(asked["size"]), *TILE_SIZES))
        chosen = self.frames.select(frames)
        noise = self.frames.noise
        background, rms = noise.background[frames], noise.rms[frames]
        rms = np.where(np.isfinite(rms) & (rms > 0), rms, 1.0)
        pixels = self._squared(frames, size)
        sigma = (pixels - np.nan_to_num(background)[:, None, None]) / rms[:, None, None]
        tiles = np.clip(sigma, -HALF_MAX, HALF_MAX).astype(np.float16)[:, ::-1]
        peaks = (np.array([_peak(frame.pixels) for frame in chosen]) - np.nan_to_num(background)) / rms
        facts = [
            {
                "id": str(self.ids[frame]),
                "ra": number(chosen.ra[i]),
                "dec": number(chosen.dec[i]),
                "rms": number(noise.rms[frame]),
                "snr": number(peaks[i]),
                "unit": self._unit(frame),
            }
            for i, frame in enumerate(frames)
        ]
        content = {"frames": frames.tolist(), "width": size, "height": size, "facts": facts}
        return content, [tiles.tobytes()]

    def _squared(self, frames: np.ndarray, size: int) -> np.ndarray:
        """Pixels of frames at tile size; a frame that is not square is padded with blanks, never stretched."""
        width, height = self.frames.width[frames], self.frames.height[frames]
        tiles = np.empty((len(frames), size, size), np.float32)
        square = width == height
        if square.any():
            tiles[square] = self.frames.pixels(frames[square], size=size).mean(axis=-1)
        for i in np.flatnonzero(~square):
            side = max(width[i], height[i])
            padded = np.full((side, side), np.nan, np.float32)
            y, x = (side - height[i]) // 2, (side - width[i]) // 2
            pixels = np.atleast_3d(self.frames[frames[i]].pixels).mean(axis=-1)
            padded[y : y + height[i], x : x + width[i]] = pixels
            tiles[i] = resize(padded, (size, size))
        return tiles

    def large(self, index: int, _asked: dict[str, Any]) -> Reply:
        """Return one frame as it is: float32 pixels, bottom row first, and float64 unit vectors of the sky."""
        frame = self.frames[index]
        pixels = np.atleast_3d(frame.pixels).mean(axis=-1, dtype=np.float32)
        height, width = pixels.shape
        content: dict[str, Any] = {
            "frame": index,
            "width": width,
            "height": height,
            "x": int(frame.x),
            "y": int(frame.y),
            "unit": self._unit(index),
            "background": float(np.nan_to_num(frame.background)),
            "rms": float(frame.rms) if frame.rms > 0 else 1.0,
        }
        vectors = np.zeros(0)
        if frame.wcs is not None:
            vectors = _sky_grid(frame.wcs, width, height)
            content["grid"] = {"columns": GRID, "rows": GRID}
            content |= _directions(frame.wcs, width, height, frame.beam)
        return content, [pixels.tobytes(), vectors.tobytes()]

    def _unit(self, frame: int) -> str:
        frames = self.frames
        sky = frames.maps.get(frames.map_names[frames.map_codes[frame]]) if frames.maps else None
        if sky is None or sky.unit is None:
            return ""
        return sky.unit.to_string().replace(" / ", "/").replace(" ", "")


def _peak(pixels: np.ndarray) -> float:
    finite = pixels[np.isfinite(pixels)]
    return float(finite.max()) if finite.size else np.nan


def number(value: Any) -> float | None:
    """Return a number that JSON can hold; None for NaN and infinities."""
    return float(value) if np.isfinite(value) else None


def _sky_grid(wcs: Any, width: int, height: int) -> np.ndarray:
    """Unit vectors (ICRS) at GRID x GRID points from pixel 0 to the last one; NaN where there is no sky."""
    x, y = np.meshgrid(np.linspace(0, width - 1, GRID), np.linspace(0, height - 1, GRID))
    ra, dec = _icrs(wcs, x.ravel(), y.ravel())
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=1)


def _icrs(wcs: Any, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    position = wcs.pixel_to_world(x, y).icrs
    return position.ra.rad, position.dec.rad


def _directions(wcs: Any, width: int, height: int, beam: Any) -> dict[str, Any]:
    """Pixel scale (arcsec), north and east as unit vectors in pixels, and the beam as an ellipse in pixels."""
    x, y = (width - 1) / 2, (height - 1) / 2
    ra, dec = _icrs(wcs, np.array([x, x + 1, x]), np.array([y, y, y + 1]))
    if not np.isfinite(ra + dec).all():
        return {}
    turn = (ra - ra[0] + np.pi) % (2 * np.pi) - np.pi
    # Columns: the step on the sky (east, north) for one pixel along x and along y.
    jacobian = np.array([turn[1:] * np.cos(dec[0]), dec[1:] - dec[0]])
    scale = np.sqrt(abs(np.linalg.det(jacobian)))
    if not scale > 0:
        return {}
    inverse = np.linalg.inv(jacobian)
    east, north = inverse[:, 0] / np.linalg.norm(inverse[:, 0]), inverse[:, 1] / np.linalg.norm(inverse[:, 1])
    found: dict[str, Any] = {
        "pixel_scale": float(np.degrees(scale) * 3600),
        "north": north.tolist(),
        "east": east.tolist(),
    }
    if beam is not None:
        angle = beam.pa.to_value("rad")
        along = inverse @ np.array([np.sin(angle), np.cos(angle)])
        found["beam"] = {
            "major": float(beam.major.to_value("rad") / scale),
            "minor": float(beam.minor.to_value("rad") / scale),
            "angle": float(np.arctan2(along[1], along[0])),
        }
    return found
