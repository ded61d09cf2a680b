"""LatentExplorer: all frames in a plane, coloured by what is known of them, to look at, select and label."""

import logging
import os
import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import anywidget
import ipywidgets
import numpy as np
import pandas as pd
import traitlets

from radiowidgets.data.frames import FrameSet
from radiowidgets.data.query import match
from radiowidgets.errors import ParameterError, RadioWidgetsError, check_one_of
from radiowidgets.latent.plane import Plane, Range
from radiowidgets.latent.projection import project
from radiowidgets.ranking.neighbours import Neighbours
from radiowidgets.run import Run
from radiowidgets.run.columns import TEXTS
from radiowidgets.widgets.bundle import module, style
from radiowidgets.widgets.colouring import Colouring, colour_by, shortened
from radiowidgets.widgets.display import Display, number
from radiowidgets.widgets.review import Review

MOST_DOTS = 20_000  # points drawn one by one by the browser; of more, a picture
MOST_THUMBNAILS = 150  # frames shown instead of dots
MOST_PIXELS = 2_500_000  # of a picture
NEIGHBOURS = 12
SHOWN = 12  # frames of a selection that are shown
MARGIN = 0.04  # round all points, as a share of the view
MOST_PLANES = 3  # kept
TILE = 96
YEAR = "year"  # unit of what was a time
_NUMBERS = {"integer", "floating", "mixed-integer-float", "decimal"}  # kinds of objects
_UNSEEN = {"frame_id", "name", "note"}  # texts that colour nothing

Reply = tuple[dict[str, Any], list[bytes]]


class LatentExplorer(anywidget.AnyWidget):
    """All frames in a plane: their embedding by UMAP or PCA, the sky, the map, or any two columns.

    The kernel draws what is in view at the resolution of the screen, so that the browser's cost does not grow with
    the number of frames; few are drawn as dots, and very few as thumbnails. Points are coloured by any column. What a
    lasso or a box selects is rated and tagged at once, through the label log of the run, and shown in a Review.

    Parameters
    ----------
    data : Run, path, or array (n, d)
        What to look at. An array of two columns holds places; a wider one is an embedding.
    frames : FrameSet, optional
        The frames of an array, to be shown as pictures.
    columns : DataFrame or mapping, optional
        More to colour by, of n rows: numbers, or texts of a few kinds such as a class.
    colour : str, optional
        The column to colour by at first; none shows how densely the points lie.
    plane : str, optional
        What to show at first: "umap", "pca", "sky", "map", or "columns" with `x` and `y`; of places "places".
    x, y : str, optional
        Columns, for `plane="columns"`.
    review : Review, optional
        The gallery in which selections are shown; what is selected there, if it is more than one frame, is selected
        here too. Without one it opens below when asked for.
    seed : int
        Of UMAP.
    height : int
        Height in pixels.

    Attributes
    ----------
    selected : ndarray of int64
        The frames that are selected now, in ascending order.
    current : int or None
        The frame that was clicked.
    gallery : Review or None
        Where selections are shown.

    Raises
    ------
    ParameterError
        If the shapes do not fit, or a column or a plane does not exist.

    Notes
    -----
    As in Review, each message of the front end is handled by a method ``_on_<kind>``, which returns the answer; it is
    tested without a browser. UMAP is made in the background on first use: until it is there, PCA is shown.
    """

    _esm = module("explorer")
    _css = style("review", "explorer")
    view = traitlets.Dict(help="Plane, colours and place, set by the front end").tag(sync=True)
    height = traitlets.Int(640, min=320, max=4000).tag(sync=True)
    gallery = traitlets.Instance(Review, allow_none=True).tag(sync=True, **ipywidgets.widget_serialization)
    selected = traitlets.Instance(
        np.ndarray, (0,), {"dtype": np.int64}, help="Positions of the selected frames"
    )
    below = traitlets.Bool(False, help="Whether the gallery is shown below").tag(sync=True)

    def __init__(
        self,
        data: Any,
        frames: FrameSet | None = None,
        *,
        columns: pd.DataFrame | Mapping[str, Any] | None = None,
        colour: str | None = None,
        plane: str | None = None,
        x: str | None = None,
        y: str | None = None,
        review: Review | None = None,
        seed: int = 0,
        height: int = 640,
    ):
        run = Run.open(data) if isinstance(data, str | os.PathLike) else data
        self.run: Run | None = run if isinstance(run, Run) else None
        self.seed = seed
        self._values = None if self.run is not None else _checked(run)
        self.count = len(self.run) if self.run is not None else len(run)
        self.frames = frames if self.run is None else self.run.frames
        self._columns, self._units = _more_columns(columns, self.count)
        if self.frames is not None and len(self.frames) != self.count:
            raise ParameterError(
                f"There are {len(self.frames)} frames and {self.count} points; give one a frame."
            )
        self._chosen = np.zeros(self.count, bool)
        self.serial = 0  # of the selection
        self.current: int | None = None
        self._planes: OrderedDict[tuple[str, ...], tuple[Plane, dict[str, Any]]] = OrderedDict()
        self._colourings: OrderedDict[tuple[Any, ...], tuple[Colouring, dict[int, np.ndarray]]] = (
            OrderedDict()
        )
        self._making: threading.Thread | None = None
        self._umap_failed = False
        self._likes: Neighbours | None = None
        self._display = None
        if self.frames is not None:
            self._display = Display(self.run if self.run is not None else SimpleNamespace(frames=self.frames))  # type: ignore[arg-type]
        names = list(self._plane_names())
        check_one_of("plane", names[0] if plane is None else plane, names)
        for name in (colour, x, y):
            if name is not None:
                check_one_of("colour" if name is colour else "x or y", name, self._column_names())
        view = {"plane": plane or names[0], "x": x or "", "y": y or "", "colour": colour or ""}
        super().__init__(height=height, view=view, gallery=review)
        self.on_msg(self._receive)
        self._labels_seen = self._labels_count()
        if review is not None:
            self._link(review)

    # ------------------------------------------------------------ for the notebook

    def select(self, frames: Any) -> np.ndarray:
        """Select frames: positions, a mask (n,), or a query such as ``"peak_snr > 20"``; returns `selected`.

        The explorer shows them, and what the reviewer says then is said of all of them.
        """
        if isinstance(frames, str):
            chosen = self._find(frames)
        else:
            values = np.asarray(frames)
            chosen = np.zeros(self.count, bool)
            fits = values.shape == chosen.shape if values.dtype == bool else values.dtype.kind in "iu"
            fits = fits and values.ndim <= 1
            if values.size and not fits:
                raise ParameterError(
                    f"frames is of {values.dtype} with shape {values.shape}; give positions, a mask of "
                    f"{self.count}, or a query."
                )
            if values.dtype != bool and values.size and not 0 <= values.min() <= values.max() < self.count:
                raise ParameterError(
                    f"frames goes from {values.min()} to {values.max()}; there are {self.count}."
                )
            chosen[values if values.size else slice(0)] = True
        self._select(chosen)
        self.send({"kind": "selected", **self._selection_facts()})
        return self.selected

    # ------------------------------------------------------------ messages

    def _receive(self, _widget: Any, content: Any, _buffers: Sequence[Any] = ()) -> None:
        """Answer one message; whatever goes wrong becomes a line in the widget, never a dead kernel."""
        kind = str(content.get("kind")) if isinstance(content, dict) else "None"
        handlers: Mapping[str, Callable[[dict[str, Any]], Reply]] = {
            "index": self._on_index,
            "view": self._on_view,
            "hover": self._on_hover,
            "choose": self._on_choose,
            "tiles": self._on_tiles,
            "select": self._on_select,
            "review": self._on_review,
            "act": self._on_act,
            "undo": self._on_act,
        }
        own = {name: content.get(name) for name in ("view", "request")} if isinstance(content, dict) else {}
        try:
            if kind not in handlers:
                raise ParameterError(f"Unknown message {kind!r}; reload the page.")
            reply, sent = handlers[kind](content)
        except RadioWidgetsError as error:
            reply, sent = {"kind": "error", "of": kind, "text": str(error)}, []
        except Exception as error:
            reply, sent = (
                {"kind": "error", "of": kind, "text": f"{kind} failed: {type(error).__name__}: {error}"},
                [],
            )
            logging.getLogger(__name__).exception("explorer message %r failed", kind)
        self.send({"kind": kind, **own, **reply}, buffers=sent)

    def _on_index(self, _content: dict[str, Any]) -> Reply:
        run = self.run
        schema = [] if run is None else [
            {"name": tag.name, "key": tag.key, "colour": tag.colour, "description": tag.description}
            for tag in run.schema
        ]  # fmt: skip
        return {
            "name": "" if run is None else run.name,
            "annotator": "" if run is None else run.labels.annotator,
            "count": self.count,
            "planes": self._plane_names(),
            "columns": self._column_names(),
            "numbers": self._number_names(),
            "schema": schema,
            "labels": run is not None,
            "query": run is not None or bool(self._columns),
            "pictures": self._display is not None,
            "review": run is not None,
            **self._selection_facts(),
        }, []

    def _on_view(self, content: dict[str, Any]) -> Reply:
        """Return what is in view: a picture of the points, or the points themselves where they are few."""
        plane, about = self._plane(content)
        width, height = (int(np.clip(int(content[name]), 16, 4096)) for name in ("width", "height"))
        shrink = min(1.0, np.sqrt(MOST_PIXELS / (width * height)))
        width, height = max(16, int(width * shrink)), max(16, int(height * shrink))
        asked = content.get("range")
        view = self._fit(plane, about, width / height) if asked is None else _checked_range(asked)
        colouring, arranged = self._colouring(content, plane)
        chosen = plane.arrange(self._chosen) if self.serial and len(self.selected) else None
        answer = {"range": view, "plane": about, "legend": colouring.legend, "serial": self.serial}
        if plane.at_most_in(view) <= 2 * MOST_DOTS:
            found = plane.points_in(view)
            if len(found) <= MOST_DOTS:
                # In the order of the frames: in that of the cells, one would see where those meet.
                found = found[np.argsort(plane.frames[found])]
                return self._dots(answer, plane, view, found, colouring, arranged, chosen)
        return self._picture(answer, plane, view, (width, height), colouring, arranged, chosen)

    def _dots(
        self,
        answer: dict[str, Any],
        plane: Plane,
        view: Range,
        found: np.ndarray,
        colouring: Colouring,
        arranged: np.ndarray | None,
        chosen: np.ndarray | None,
    ) -> Reply:
        x0, x1, y0, y1 = view
        places = np.stack([(plane.x[found] - x0) / (x1 - x0), (y1 - plane.y[found]) / (y1 - y0)], axis=1)
        codes = np.zeros(0, np.uint8) if arranged is None else colouring.codes(arranged[found])
        marked = np.zeros(0, np.uint8) if chosen is None else chosen[found].astype(np.uint8)
        frames = plane.frames[found]
        return {**answer, "what": "dots", "points": len(found), "thumbnails": MOST_THUMBNAILS}, [
            np.round(np.clip(places, 0, 1) * 65535).astype(np.uint16).tobytes(),
            codes.tobytes(),
            marked.tobytes(),
            frames.astype(np.uint32).tobytes(),
        ]

    def _picture(
        self,
        answer: dict[str, Any],
        plane: Plane,
        view: Range,
        size: tuple[int, int],
        colouring: Colouring,
        arranged: np.ndarray | None,
        chosen: np.ndarray | None,
    ) -> Reply:
        drawn = plane.picture(view, *size, arranged, chosen)
        most = float(drawn.points.max(initial=1.0))
        density = np.log1p(drawn.points) * (254.0 / np.log1p(max(most, 1.0)))
        layers = [np.ceil(density).astype(np.uint8)]
        layers += [] if arranged is None else [np.where(drawn.points > 0, colouring.codes(drawn.value), 0)]
        if drawn.chosen is not None:
            share = drawn.chosen / np.maximum(drawn.points, 1)
            layers.append(np.where(share > 0, np.maximum(1, share * 255), 0).astype(np.uint8))
        content = {
            **answer,
            "what": "picture",
            "points": int(drawn.points.sum(dtype=np.float64)),
            "width": size[0],
            "height": size[1],
            "most": most,
            "coded": arranged is not None,
            "marked": drawn.chosen is not None,
        }
        return content, [zlib.compress(np.stack(layers).tobytes(), 1)]

    def _on_hover(self, content: dict[str, Any]) -> Reply:
        """Return the frame nearest to a place, with its facts and its tile."""
        plane, _ = self._plane(content)
        frame = self._nearest(plane, content)
        return self._about(frame, plane, content) if frame >= 0 else ({"frame": -1}, [])

    def _on_choose(self, content: dict[str, Any]) -> Reply:
        """Make a frame the current one, and return what is like it; -1 lets go."""
        plane, _ = self._plane(content)
        if "x_at" in content:
            frame: Any = self._nearest(plane, content)
        else:
            frame = content.get("frame")
        if frame == -1:
            self.current = None
            return {"frame": -1, "neighbours": []}, []
        self.current = self._checked_frame(frame)
        answer, tile = self._about(self.current, plane, content)
        try:
            near, distances = self._neighbours(self.current)
        except RadioWidgetsError as error:
            return {**answer, "neighbours": [], "note": str(error)}, tile
        places = _numbers(plane.places(near))
        answer["neighbours"] = [
            {"frame": int(row), "distance": float(apart), "place": place}
            for row, apart, place in zip(near, distances, places, strict=True)
        ]
        return answer, tile

    def _nearest(self, plane: Plane, content: Mapping[str, Any]) -> int:
        x, y, reach_x, reach_y = (float(content[name]) for name in ("x_at", "y_at", "reach_x", "reach_y"))
        return plane.nearest(x, y, reach_x, reach_y)

    def _on_tiles(self, content: dict[str, Any]) -> Reply:
        frames = np.array([self._checked_frame(frame) for frame in content.get("frames", ())], dtype=np.int64)
        if self._display is None or not len(frames):
            raise ParameterError("There are no pictures of these points; give their frames.")
        return self._display.tiles(frames, content)

    def _on_select(self, content: dict[str, Any]) -> Reply:
        """Select by a line, a query, the neighbours or a category; alone, or beside what is selected."""
        how, mode = str(content.get("how")), str(content.get("mode", "new"))
        check_one_of("how", how, ("line", "query", "neighbours", "category", "none"))
        check_one_of("mode", mode, ("new", "add", "remove"))
        found = np.zeros(self.count, bool)
        if how == "line":
            plane, _ = self._plane(content)
            found[plane.inside(np.asarray(content.get("line"), dtype=np.float64))] = True
        elif how == "query":
            found = self._find(str(content.get("query")))
        elif how == "neighbours":
            frame = self._checked_frame(content.get("frame"))
            found[self._neighbours(frame)[0]] = True
            found[frame] = True
        elif how == "category":
            colouring, _ = self._colouring(content, None)
            found = colouring.of_category(int(content["code"]))
        if mode == "add":
            found |= self._chosen
        elif mode == "remove":
            found = self._chosen & ~found
        self._select(found)
        return {**self._selection_facts(), "how": how}, []

    def _on_review(self, _content: dict[str, Any]) -> Reply:
        """Show the selection, or all frames, in the gallery; it opens below where there is none."""
        review = self._gallery(show=True)
        return {"below": self.below, "query": review.select(self.selected)}, []

    # ------------------------------------------------------------ labels

    def _on_act(self, content: dict[str, Any]) -> Reply:
        """Say something of the selection, or of the current frame, or take it back; Review's own way, in its log."""
        review = self._gallery()
        if content["kind"] == "undo":
            answer = review.undo(content)
        else:
            if content.get("serial") != self.serial:
                return {
                    "kind": "refused",
                    "id": content.get("id"),
                    "text": "The selection has changed; do it again.",
                }, []
            frame = content.get("frame")
            frames = self.selected if frame is None else np.array([self._checked_frame(frame)])
            answer = review.act({**content, "frames": frames.tolist()})
        self._labels_seen = self._labels_count()
        return {
            "kind": answer["kind"],
            "id": answer["id"],
            "text": answer["text"] or f"{_plural(len(answer['frames']))} saved",
            "stale": True,
            **self._selection_facts(),
        }, []

    def _gallery(self, *, show: bool = False) -> Review:
        if self.run is None:
            raise ParameterError(
                "These points are no run: nothing can be said of them. Make one with rw.Run.create."
            )
        if self.gallery is None:
            self.gallery = Review(self.run)
            self._link(self.gallery)
            self._own = True
        if show and getattr(self, "_own", False):
            self.below = True
        return self.gallery

    def _link(self, review: Review) -> None:
        review.observe(self._follow, names="view")
        review.observe(self._take_selection, names="selected")

    def _take_selection(self, change: Mapping[str, Any]) -> None:
        """Select what the reviewer selects, where that is more than the frame looked at."""
        frames = change["new"]
        if (
            len(frames) > 1
            and frames.max() < self.count
            and not np.array_equal(np.sort(frames), self.selected)
        ):
            self.select(frames)

    def _follow(self, change: Mapping[str, Any]) -> None:
        """Ring the frame that the reviewer looks at, and tell the front end of what was said."""
        cursor = change["new"].get("cursor")
        content: dict[str, Any] = {
            "kind": "cursor",
            "frame": -1,
            "stale": self._labels_count() != self._labels_seen,
        }
        self._labels_seen = self._labels_count()
        if isinstance(cursor, int) and 0 <= cursor < self.count:
            plane, _ = self._plane(self.view)
            content |= {"frame": cursor, "place": _numbers(plane.places(np.array([cursor])))[0]}
        self.send(content)

    def _labels_count(self) -> int:
        return 0 if self.run is None else len(self.run.labels)

    # ------------------------------------------------------------ what is known of frames

    def _about(self, frame: int, plane: Plane, content: Mapping[str, Any]) -> Reply:
        """Return a frame's place, facts in words, and its tile as `tiles` would."""
        answer: dict[str, Any] = {"frame": frame, "place": _numbers(plane.places(np.array([frame])))[0]}
        rows = []
        if self.run is not None:
            order = self.run.order
            rows += [["Rank", f"{int(order['rank'].iloc[frame]):,} of {self.count:,}"]]
            rows += [["Score", f"{float(order['score'].iloc[frame]):.3f}"]]
        for name in dict.fromkeys([str(content.get("colour") or ""), *self._columns][:6]):
            if name and name not in ("rank", "score"):
                rows.append([name, self._words(name, frame, content)])
        if self.run is not None:
            state = self.run.labels.state_of(str(self.run.frames.frame_ids[frame]), self.run.labels.annotator)
            answer |= {"interest": state.interest, "tags": sorted(state.tags)}
        tile: list[bytes] = []
        if self._display is not None:
            answer["tile"], tile = self._display.tiles(np.array([frame]), {"size": content.get("size", TILE)})
            facts = answer["tile"]["facts"][0]
            answer |= {"id": facts["id"], "ra": facts["ra"], "dec": facts["dec"], "snr": facts["snr"]}
        else:
            answer["id"] = f"row {frame}"
        answer["rows"] = [row for row in rows if row[1]]
        return answer, tile

    def _words(self, name: str, frame: int, content: Mapping[str, Any]) -> str:
        """Return the value of a column in words; a given one is read, for to colour by each would take long."""
        if name not in self._columns:
            return self._colouring({"colour": name, "log": content.get("log")}, None)[0].words(frame)
        value = self._columns[name].iloc[frame]
        if not pd.api.types.is_scalar(value) or pd.isna(value):
            return "" if pd.api.types.is_scalar(value) else shortened(value)
        if isinstance(value, bool | np.bool_):
            return "yes" if value else "no"
        if isinstance(value, float | np.floating):
            return f"{value:.4f}" if self._units.get(name) == YEAR else f"{value:.6g}"
        return shortened(value)

    def _neighbours(self, frame: int) -> tuple[np.ndarray, np.ndarray]:
        if self.run is not None:
            return self.run.neighbours(frame, NEIGHBOURS)
        if self._likes is None:
            assert self._values is not None
            self._likes = Neighbours(self._values, np.isfinite(self._values).all(axis=1))
        return self._likes.nearest(frame, NEIGHBOURS)

    def _select(self, chosen: np.ndarray) -> None:
        self._chosen = chosen
        self.selected = np.flatnonzero(chosen)
        self.serial += 1

    def _selection_facts(self) -> dict[str, Any]:
        """Return how many are selected, which to show of them, and what was said of them."""
        chosen = self.selected
        facts: dict[str, Any] = {"serial": self.serial, "selected": len(chosen), "shown": [], "said": ""}
        if not len(chosen):
            return facts
        if self.run is None:
            step = max(1, len(chosen) // SHOWN)
            return {**facts, "shown": chosen[::step][:SHOWN].tolist()}
        ranks = self.run.order["rank"].to_numpy()[chosen]
        first = chosen[np.argsort(ranks, kind="stable")[:SHOWN]]
        mine = self.run.column("my_interest")[chosen]
        rated = int(np.isfinite(mine).sum())
        said = [f"best rank {int(ranks.min()):,}, median {int(np.median(ranks)):,}"]
        said.append(f"{rated:,} rated by you" + (f", on average {np.nanmean(mine):.1f}" if rated else ""))
        return {**facts, "shown": first.tolist(), "said": "; ".join(said)}

    def _find(self, query: str) -> np.ndarray:
        if self.run is not None:
            extra = {name: _reader(column) for name, column in self._columns.items()}
            return match(query, {**self.run.readers(), **extra}, self.count)
        return match(query, {name: _reader(column) for name, column in self._columns.items()}, self.count)

    def _checked_frame(self, frame: Any) -> int:
        if not isinstance(frame, int) or isinstance(frame, bool) or not 0 <= frame < self.count:
            raise ParameterError(
                f"The widget asked for the frame {frame!r} of {self.count}; reload the page."
            )
        return frame

    # ------------------------------------------------------------ colours

    def _column_names(self) -> dict[str, str]:
        known = {} if self.run is None else {k: v for k, v in self.run.columns.items() if k not in _UNSEEN}
        return {**{name: self._units.get(name, "given") for name in self._columns}, **known}

    def _number_names(self) -> list[str]:
        texts = {name for name, column in self._columns.items() if column.dtype.kind not in "fiub"} | TEXTS
        return [
            name for name in self._column_names() if name not in texts or name in self._columns.keys() - texts
        ]

    def _colouring(
        self, content: Mapping[str, Any], plane: Plane | None
    ) -> tuple[Colouring, np.ndarray | None]:
        """Return how to colour, and the values in the order of a plane's points; both are kept."""
        name, log = str(content.get("colour") or ""), content.get("log")
        key = (name, log, self._labels_count(), id(self.run.order) if self.run is not None else 0)
        if key not in self._colourings:
            self._colourings[key] = (self._make_colouring(name, log), {})
            while len(self._colourings) > 4:
                self._colourings.popitem(last=False)
        self._colourings.move_to_end(key)
        colouring, kept = self._colourings[key]
        if plane is None or colouring.values is None:
            return colouring, None
        if id(plane) not in kept:
            kept.clear()
            kept[id(plane)] = plane.arrange(colouring.values)
        return colouring, kept[id(plane)]

    def _make_colouring(self, name: str, log: bool | None) -> Colouring:
        if name:
            check_one_of("colour", name, self._column_names())
        if name in self._columns:
            return colour_by(name, self._columns[name], self.count, log=log, unit=self._units.get(name, ""))
        if not name or self.run is None:
            return Colouring.none()
        if name in TEXTS:
            colours = {tag.name.casefold(): tag.colour for tag in self.run.schema} if "tag" in name else {}
            words = {tag.name.casefold(): tag.name for tag in self.run.schema}
            return colour_by(name, self.run.words(name), self.count, colours=colours, words=words)
        return colour_by(name, self.run.column(name), self.count, log=log, unit=self.run.columns[name])

    # ------------------------------------------------------------ planes

    def _plane_names(self) -> dict[str, str]:
        names: dict[str, str] = {}
        if self.run is not None or (self._values is not None and self._values.shape[1] > 2):
            names |= {"umap": "latent space, UMAP", "pca": "latent space, PCA"}
        else:
            names["places"] = "latent space"
        frames = self.frames
        if frames is not None and np.isfinite(frames.ra).any():
            names["sky"] = "sky"
        if frames is not None and frames.maps:
            names["map"] = "map, pixels"
        if len(self._number_names()) > 1:
            names["columns"] = "two columns"
        return names

    def _plane(self, content: Mapping[str, Any]) -> tuple[Plane, dict[str, Any]]:
        """Return the plane that is asked for, and what the axes are; the last few are kept."""
        name = str(content.get("plane"))
        check_one_of("plane", name, self._plane_names())
        key = (name, str(content.get("x")), str(content.get("y"))) if name == "columns" else (name,)
        if name == "umap" and not self._umap_is_there():
            plane, about = self._plane({"plane": "pca"})
            return plane, {**about, "waiting": not self._umap_failed, "name": "umap"}
        if key not in self._planes:
            self._planes[key] = self._make_plane(*key)
            while len(self._planes) > MOST_PLANES:
                # UMAP stays: it would not be made again.
                del self._planes[next(old for old in self._planes if old != ("umap",))]
        self._planes.move_to_end(key)
        return self._planes[key]

    def _make_plane(self, name: str, x: str = "", y: str = "") -> tuple[Plane, dict[str, Any]]:
        about: dict[str, Any] = {"name": name, "x": "", "y": "", "equal": True, "ticks": True}
        if name in ("umap", "pca"):
            about |= {"x": f"{name.upper()} 1", "y": f"{name.upper()} 2", "ticks": False}
            return Plane(self._projection(name)), about
        if name == "places":
            assert self._values is not None
            return Plane(self._values), {**about, "ticks": False}
        if name == "map":
            frames = self.frames
            assert frames is not None
            places = np.stack([frames.x + frames.width / 2, frames.y + frames.height / 2], axis=1)
            return Plane(places), {**about, "x": "x (pixel)", "y": "y (pixel)"}
        if name == "sky":
            return self._make_sky(about)
        columns, labels = [], []
        for column in (x, y):
            check_one_of("a column", column, self._number_names())
            values = np.asarray(self._numbers(column), dtype=np.float64)
            shown = colour_by(column, values, self.count)
            log = bool(shown.legend.get("log"))
            with np.errstate(divide="ignore", invalid="ignore"):
                columns.append(np.log10(values) if log else values)
            labels.append(f"log {column}" if log else column)
        return Plane(np.stack(columns, axis=1)), {**about, "equal": False, "x": labels[0], "y": labels[1]}

    def _make_sky(self, about: dict[str, Any]) -> tuple[Plane, dict[str, Any]]:
        """Return the sky as seen from within: right ascension grows to the left, near its middle without stretch."""
        assert self.frames is not None
        ra, dec = np.asarray(self.frames.ra, np.float64), np.asarray(self.frames.dec, np.float64)
        angles = np.exp(1j * np.radians(ra[np.isfinite(ra)]))
        middle = float(np.degrees(np.angle(angles.mean()))) % 360 if len(angles) else 0.0
        squeeze = max(float(np.cos(np.radians(np.nanmedian(dec)))), 0.05)
        east = (ra - middle + 180) % 360 - 180
        places = np.stack([-east * squeeze, dec], axis=1)
        about |= {"x": "RA (deg)", "y": "Dec (deg)", "sky": {"ra": middle, "squeeze": squeeze}}
        return Plane(places), about

    def _numbers(self, name: str) -> np.ndarray:
        if name in self._columns:
            return np.asarray(self._columns[name], dtype=np.float64)
        assert self.run is not None
        return self.run.column(name)

    def _projection(self, method: str) -> np.ndarray:
        if self.run is not None:
            return self.run.projection(method, seed=self.seed)
        assert self._values is not None
        return project(self._values, method, seed=self.seed)

    def _umap_is_there(self) -> bool:
        """Return whether UMAP can be shown; if it was never made, begin to make it in the background."""
        if ("umap",) in self._planes:
            return True
        if self._making is None:
            if self.run is not None and self.run.is_projected("umap", seed=self.seed):
                return True
            self._making = threading.Thread(target=self._make_umap, name="projection", daemon=True)
            self._making.start()
        return False

    def _make_umap(self) -> None:
        try:
            self._planes[("umap",)] = self._make_plane("umap")
            self.send({"kind": "ready", "text": "UMAP is ready"})
        except Exception as error:
            self._umap_failed = True
            logging.getLogger(__name__).exception("UMAP could not be made")
            self.send({"kind": "ready", "error": f"UMAP could not be made; PCA is shown: {error}"})

    def _fit(self, plane: Plane, about: Mapping[str, Any], aspect: float) -> Range:
        """Return a view that shows all points."""
        x0, x1, y0, y1 = plane.bounds(0.0 if about["equal"] else 0.0005)
        grown = 1 + 2 * MARGIN * (2 if about["ticks"] else 1)
        width, height = (x1 - x0) * grown, (y1 - y0) * grown
        if about["equal"]:
            width, height = max(width, height * aspect), max(height, width / aspect)
        x, y = (x0 + x1) / 2, (y0 + y1) / 2
        return (x - width / 2, x + width / 2, y - height / 2, y + height / 2)


def _checked(values: Any) -> np.ndarray:
    array = np.asarray(values)
    if array.ndim != 2 or array.shape[1] < 2 or array.dtype.kind not in "fiu" or not len(array):
        raise ParameterError(
            f"data is of {array.dtype} with shape {array.shape}; give a run, places (n, 2) or an embedding (n, d)."
        )
    return array.astype(np.float32, copy=False)


def _more_columns(columns: Any, count: int) -> tuple[dict[str, pd.Series], dict[str, str]]:
    """Return columns as numbers, truth values or texts, and the units of those that were times."""
    table: dict[str, pd.Series] = {}
    units: dict[str, str] = {}
    for name, given in ({} if columns is None else columns).items():
        if len(given) != count or np.ndim(given) != 1:
            raise ParameterError(
                f"The column {str(name)!r} has {len(given)} rows of {np.ndim(given)} dimensions; give one value for "
                f"each of {count} points."
            )
        column = pd.Series(given).reset_index(drop=True)
        kind = pd.api.types
        if kind.is_datetime64_any_dtype(column.dtype):
            column, units[str(name)] = _years(column), YEAR
        elif kind.is_timedelta64_dtype(column.dtype):
            column, units[str(name)] = column.dt.total_seconds(), "seconds"
        elif kind.is_bool_dtype(column.dtype):
            column = column.astype(object if column.hasnans else bool)
        elif kind.is_extension_array_dtype(column.dtype) and kind.is_numeric_dtype(column.dtype):
            column = pd.Series(column.to_numpy(np.float64, na_value=np.nan))
        elif column.dtype == object and kind.infer_dtype(column, skipna=True) in _NUMBERS:
            column = pd.to_numeric(column, errors="coerce").astype(np.float64)
        table[str(name)] = column
    return table, units


def _years(times: pd.Series) -> pd.Series:
    """Return times as years with their fractions."""
    if times.dt.tz is not None:
        times = times.dt.tz_convert(None)
    start = pd.to_datetime({"year": times.dt.year, "month": 1, "day": 1}, errors="coerce")
    days = (times - start).dt.total_seconds() / 86400
    return times.dt.year + days / (365 + times.dt.is_leap_year)


def _reader(column: pd.Series) -> Callable[[], Any]:
    from radiowidgets.data.query import Words

    if column.dtype.kind in "fiub":
        return lambda: column.to_numpy(np.float64)
    codes, texts = pd.factorize(column)
    rows = np.flatnonzero(codes >= 0)
    return lambda: Words(texts, codes[rows], rows)


def _checked_range(asked: Any) -> Range:
    view = tuple(float(edge) for edge in asked)
    if len(view) != 4 or not np.isfinite(view).all() or not (view[0] < view[1] and view[2] < view[3]):
        raise ParameterError(f"The widget asked for the view {asked!r}; reload the page.")
    return (view[0], view[1], view[2], view[3])


def _numbers(places: np.ndarray) -> list[list[float | None]]:
    return [[number(value) for value in place] for place in places.tolist()]


def _plural(count: int) -> str:
    return f"{count:,} frame{'' if count == 1 else 's'}"
