"""Review: look at frames in score order, rate and tag them from the keyboard."""

import hashlib
import logging
import os
import time
from collections import OrderedDict
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import anywidget
import numpy as np
import traitlets

from radiowidgets.data.resampling import resize
from radiowidgets.errors import ParameterError, RadioWidgetsError
from radiowidgets.run import Run
from radiowidgets.widgets.bundle import module, style

MOST_TAGS = 32  # tags of a frame travel as the bits of one number
MOST_TILES = 256  # in one request
TILE_SIZES = (16, 512)
GRID = 17  # points of the sky grid along each side of a large view
HALF_MAX = 65504.0  # largest float16
REMEMBERED = 5000  # answers kept, so that an action sent twice is recorded once


class Review(anywidget.AnyWidget):
    """A gallery of the frames of a run, most anomalous first, that turns keys into labels.

    Every action is one event in the label log of the run; the widget calls it saved only after it is on disk.
    The order follows the ratings when asked (key ``r``). After a restart of the kernel, making the widget again
    brings back labels, order and view.

    Parameters
    ----------
    run : Run or path
        What to review, or the folder that holds it.
    height : int
        Height in pixels; the lower edge can also be dragged.

    Raises
    ------
    ParameterError
        If the schema of the run has more than 32 tags.

    Notes
    -----
    The state machine is in Python and tested without a browser: each message of the front end is handled by a
    method ``_on_<kind>`` and answered by messages (kind, content, binary buffers):

    ========  ==================================================  =========================================
    message   content                                             answer
    ========  ==================================================  =========================================
    index                                                         index: order, scores, interest, tags
    tiles     request, frames, size                               tiles: float16 (value - background) / rms
    large     frame                                               large: float32 pixels, sky grid
    act       id, frames, interest / add / remove / note          saved or refused, with the state of the frames
    undo      id                                                  saved or refused, with the state of the frames
    rerank                                                        order: order, scores
    ========  ==================================================  =========================================
    """

    _esm = module("review")
    _css = style("review")
    view = traitlets.Dict(help="Display settings and place, set by the front end").tag(sync=True)
    height = traitlets.Int(720, min=320, max=4000).tag(sync=True)

    def __init__(self, run: Run | str | os.PathLike[str], *, height: int = 720):
        if not isinstance(run, Run):
            run = Run.open(run)
        if len(run.schema) > MOST_TAGS:
            raise ParameterError(
                f"The schema has {len(run.schema)} tags; a review shows at most {MOST_TAGS}. Drop some."
            )
        self.run = run
        self.labels = run.labels
        self.tags = run.schema.names
        self.ids = np.asarray(run.frames.frame_ids)
        self._answers: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._scores = run.order
        super().__init__(height=height, view=run.recall()["view"])
        self.on_msg(self._receive)
        self.observe(lambda change: run.remember(view=change["new"]), names="view")

    # ------------------------------------------------------------ messages

    def _receive(self, _widget: Any, content: Any, _buffers: Sequence[Any] = ()) -> None:
        """Answer one message; whatever goes wrong becomes a line in the widget, never a dead kernel."""
        kind = content.get("kind") if isinstance(content, dict) else None
        handler = {
            "index": self._on_index,
            "tiles": self._on_tiles,
            "large": self._on_large,
            "act": self._on_act,
            "undo": self._on_undo,
            "rerank": self._on_rerank,
        }.get(str(kind))
        if handler is None:
            self.send({"kind": "error", "text": f"Unknown message {kind!r}; reload the page."})
            return
        try:
            handler(content)
        except RadioWidgetsError as error:
            self.send({"kind": "error", "text": str(error)})
        except Exception as error:
            self.send({"kind": "error", "text": f"{kind} failed: {type(error).__name__}: {error}"})
            logging.getLogger(__name__).exception("review message %r failed", kind)

    def _on_index(self, content: dict[str, Any]) -> None:
        self.labels.refresh()
        interest, tags, notes = self._state()
        order, scores = self._order()
        self.send(
            {
                "kind": "index",
                "name": self.run.name,
                "view": content.get("view"),
                "key": hashlib.sha256(
                    f"{self.run.path.resolve()} {self.labels.annotator}".encode()
                ).hexdigest()[:24],
                "count": len(self.ids),
                "annotator": self.labels.annotator,
                "schema": [
                    {"name": tag.name, "key": tag.key, "colour": tag.colour, "description": tag.description}
                    for tag in self.run.schema
                ],
                "notes": notes,
                "rated": int((interest >= 0).sum()),
                "cursor": self.view.get("cursor"),
                "warning": " ".join(self.labels.problems[:3]),
            },
            buffers=[order.tobytes(), scores.tobytes(), interest.tobytes(), tags.tobytes()],
        )

    def _on_tiles(self, content: dict[str, Any]) -> None:
        frames = self._frames(content)[:MOST_TILES]
        size = int(np.clip(int(content["size"]), *TILE_SIZES))
        chosen = self.run.frames.select(frames)
        noise = self.run.frames.noise
        background, rms = noise.background[frames], noise.rms[frames]
        rms = np.where(np.isfinite(rms) & (rms > 0), rms, 1.0)
        pixels = self._squared(frames, size)
        sigma = (pixels - np.nan_to_num(background)[:, None, None]) / rms[:, None, None]
        tiles = np.clip(sigma, -HALF_MAX, HALF_MAX).astype(np.float16)[:, ::-1]
        peaks = (np.array([_peak(frame.pixels) for frame in chosen]) - np.nan_to_num(background)) / rms
        facts = [
            {
                "id": str(self.ids[frame]),
                "ra": _number(chosen.ra[i]),
                "dec": _number(chosen.dec[i]),
                "rms": _number(noise.rms[frame]),
                "snr": _number(peaks[i]),
                "unit": self._unit(frame),
            }
            for i, frame in enumerate(frames)
        ]
        self.send(
            {
                "kind": "tiles",
                "view": content.get("view"),
                "request": content.get("request"),
                "frames": frames.tolist(),
                "width": size,
                "height": size,
                "facts": facts,
            },
            buffers=[tiles.tobytes()],
        )

    def _squared(self, frames: np.ndarray, size: int) -> np.ndarray:
        """Pixels of frames at tile size; a frame that is not square is padded with blanks, never stretched."""
        width, height = self.run.frames.width[frames], self.run.frames.height[frames]
        tiles = np.empty((len(frames), size, size), np.float32)
        square = width == height
        if square.any():
            tiles[square] = self.run.frames.pixels(frames[square], size=size).mean(axis=-1)
        for i in np.flatnonzero(~square):
            side = max(width[i], height[i])
            padded = np.full((side, side), np.nan, np.float32)
            y, x = (side - height[i]) // 2, (side - width[i]) // 2
            pixels = np.atleast_3d(self.run.frames[frames[i]].pixels).mean(axis=-1)
            padded[y : y + height[i], x : x + width[i]] = pixels
            tiles[i] = resize(padded, (size, size))
        return tiles

    def _on_large(self, content: dict[str, Any]) -> None:
        index = int(self._frames({"frames": [content["frame"]]})[0])
        frame = self.run.frames[index]
        pixels = np.atleast_3d(frame.pixels).mean(axis=-1, dtype=np.float32)
        height, width = pixels.shape
        reply: dict[str, Any] = {
            "kind": "large",
            "view": content.get("view"),
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
            reply["grid"] = {"columns": GRID, "rows": GRID}
            reply |= _directions(frame.wcs, width, height, frame.beam)
        self.send(reply, buffers=[pixels.tobytes(), vectors.tobytes()])

    def _on_act(self, content: dict[str, Any]) -> None:
        def record() -> Any:
            frames = self._frames(content)
            what: dict[str, Any] = {
                name: content[name] for name in ("interest", "note", "add", "remove") if name in content
            }
            return self.labels.record([self._described(frame) for frame in np.unique(frames)], **what)

        self._once(content, record)

    def _on_undo(self, content: dict[str, Any]) -> None:
        self._once(content, self.labels.undo)

    def _on_rerank(self, _content: dict[str, Any]) -> None:
        started = time.perf_counter()
        self.labels.refresh()
        own = self.labels.state()
        ratings = {frame_id: label.interest for frame_id, label in own.items() if label.interest is not None}
        table = self.run.rerank(ratings)
        self._scores = table
        self.run.write_session_scores(self.labels.session, table)
        self.run.remember(session=self.labels.session)
        order, scores = self._order()
        text = f"re-ranked in {time.perf_counter() - started:.1f} s: {table.attrs['learnt']}"
        self.send({"kind": "order", "text": text}, buffers=[order.tobytes(), scores.tobytes()])

    # ------------------------------------------------------------ labels

    def _once(self, content: dict[str, Any], record: Any) -> None:
        """Carry out an action and answer it; the same action sent again gets the same answer."""
        identity = str(content.get("id"))
        answer = self._answers.get(identity)
        if answer is None:
            asked = content.get("frames")
            asked = asked if isinstance(asked, list) else []
            frames = sorted({i for i in asked if isinstance(i, int) and 0 <= i < len(self.ids)})
            text = ""
            try:
                event = record()
                kind = "saved"
                if event is None:
                    text = "nothing to undo"
                elif content["kind"] == "undo":
                    frames = self._frames_of(event)
                    text = f"undone: {self._words(event)} on {len(frames)} frame{'' if len(frames) == 1 else 's'}"
            except RadioWidgetsError as error:
                kind, text = "refused", str(error)
            interest, tags, notes = self._state(frames)
            answer = {
                "kind": kind,
                "id": identity,
                "frames": frames,
                "interest": interest.tolist(),
                "tags": tags.tolist(),
                "notes": [dict(notes).get(frame, "") for frame in frames],
                "text": text,
            }
            if kind == "saved":  # what was refused may be tried again
                self._answers[identity] = answer
                while len(self._answers) > REMEMBERED:
                    self._answers.popitem(last=False)
        self.send(answer | {"rated": self._rated()})

    def _words(self, undo: Any) -> str:
        """Say what an undo took back."""
        undone = next((event for event in self.labels.events() if event.event_id == undo.undoes), None)
        if undone is None:
            return "an action"
        earlier = "" if undone.session == self.labels.session else " (of an earlier session)"
        return f"{undone.describe()}{earlier}"

    def _frames_of(self, event: Any) -> list[int]:
        return sorted(self._rows[frame.frame_id] for frame in event.frames if frame.frame_id in self._rows)

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {str(frame_id): row for row, frame_id in enumerate(self.ids)}

    def _described(self, frame: int) -> dict[str, Any]:
        """What a label keeps of a frame, so that it outlives the table of frames."""
        frames = self.run.frames
        box = [
            int(frames.x[frame]),
            int(frames.y[frame]),
            int(frames.width[frame]),
            int(frames.height[frame]),
        ]
        shown = {
            "rank": int(self._scores["rank"].iloc[frame]),
            "score": round(float(self._scores["score"].iloc[frame]), 6),
        }
        return {
            "frame_id": str(self.ids[frame]),
            "map": frames.map_names[frames.map_codes[frame]],
            "box": box,
            "ra": _number(frames.ra[frame]),
            "dec": _number(frames.dec[frame]),
            "shown": shown,
        }

    def _state(
        self, frames: Sequence[int] | None = None
    ) -> tuple[np.ndarray, np.ndarray, list[tuple[int, str]]]:
        """Interest (-1 = none), tags as bits, and notes of all frames or of some."""
        places = self._rows if frames is None else {str(self.ids[frame]): i for i, frame in enumerate(frames)}
        interest, tags = np.full(len(places), -1, np.int8), np.zeros(len(places), np.uint32)
        if frames is None:
            state = self.labels.state(self.labels.annotator)
            known = [(places[frame_id], label) for frame_id, label in state.items() if frame_id in places]
        else:
            known = [
                (place, self.labels.state_of(frame_id, self.labels.annotator))
                for frame_id, place in places.items()
            ]
        notes = []
        for place, label in known:
            interest[place] = -1 if label.interest is None else label.interest
            tags[place] = sum(1 << bit for bit, name in enumerate(self.tags) if name in label.tags)
            if label.note:
                notes.append((place if frames is None else int(frames[place]), label.note))
        return interest, tags, notes

    def _rated(self) -> int:
        state = self.labels.state(self.labels.annotator)
        return sum(label.interest is not None for frame_id, label in state.items() if frame_id in self._rows)

    # ------------------------------------------------------------ order and frames

    def _order(self) -> tuple[np.ndarray, np.ndarray]:
        ranks = self._scores["rank"].to_numpy()
        return np.argsort(ranks, kind="stable").astype(np.uint32), self._scores["score"].to_numpy(np.float32)

    def _frames(self, content: dict[str, Any]) -> np.ndarray:
        asked = content.get("frames", [])
        whole = isinstance(asked, list) and all(isinstance(frame, int) for frame in asked)
        frames = np.array(asked if whole else [], dtype=np.int64)
        if not frames.size or frames.min() < 0 or frames.max() >= len(self.ids):
            raise ParameterError(
                f"The widget asked for frames that this run does not have ({len(self.ids)} frames); reload the page."
            )
        return frames

    def _unit(self, frame: int) -> str:
        frames = self.run.frames
        sky = frames.maps.get(frames.map_names[frames.map_codes[frame]]) if frames.maps else None
        if sky is None or sky.unit is None:
            return ""
        return sky.unit.to_string().replace(" / ", "/").replace(" ", "")


def _peak(pixels: np.ndarray) -> float:
    finite = pixels[np.isfinite(pixels)]
    return float(finite.max()) if finite.size else np.nan


def _number(value: Any) -> float | None:
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
