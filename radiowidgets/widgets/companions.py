"""Companions of Review: thresholds, features and the whole map, each a small view on one selection of frames.

Each has `selected`, the positions of the frames that are chosen in it, and `select`; `link` makes one selection of
those of several widgets. Drawn by Bokeh through the kernel, which sends pictures of what are too many points to draw
one by one; `radiowidgets.extension` loads its front end, offline.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ipywidgets
import numpy as np
import pandas as pd
import traitlets

from radiowidgets.errors import ParameterError, check_one_of
from radiowidgets.ranking.thresholds import crossing, group_frames, score_histograms, threshold_curves
from radiowidgets.run import Run
from radiowidgets.widgets.answers import rows_of
from radiowidgets.widgets.colouring import PALETTE
from radiowidgets.widgets.plots import MOST_DOTS, Overview, bokeh_widget, need_front_end

GROUP_COLOURS = {
    "peculiar": "#d55e00",
    "complex": "#cc79a7",
    "ordinary": "#0072b2",
    "compact": "#56b4e9",
    "unclassified": "#9aa0a8",
}
CURVES = {
    "recall": ("#0072b2", "solid"),
    "precision": ("#d55e00", "solid"),
    "complex": ("#cc79a7", "dashed"),
    "ordinary": ("#6b7280", "dotted"),
}
CHOSEN = "#e8352b"
MOST_FEATURES = 40  # in a correlation matrix
MOST_MARKED = 5000  # frames of a selection drawn one by one
_HELP = """<code>selected</code> holds the positions of the chosen frames, <code>select(frames)</code> chooses
others; <code>rw.link(this, review)</code> makes one selection of several widgets.

In the toolbar of a drawing: pan, zoom by the wheel, back to the whole, save as a picture."""


def link(*widgets: Any) -> Callable[[], None]:
    """Make one selection of those of several widgets: what is selected in one is selected in all.

    A Review shows what was selected elsewhere alone; going from frame to frame there selects nothing else, choosing
    several or clearing its query does.

    Parameters
    ----------
    *widgets
        `Review`, `LatentExplorer`, `ThresholdExplorer`, `FeatureExplorer` and `MapExplorer` of one run, or anything
        that has `selected`, a trait, and `select`.

    Returns
    -------
    callable
        Ends the link.
    """
    busy = False

    def follow(change: Mapping[str, Any]) -> None:
        nonlocal busy
        frames = np.asarray(change["new"], dtype=np.int64)
        if busy or (not len(frames) and not len(change["old"])):
            return
        if len(frames) == 1 and frames[0] in getattr(change["owner"], "alone", ()):
            return
        busy = True
        try:
            for widget in widgets:
                if widget is not change["owner"] and not np.array_equal(
                    np.sort(widget.selected), np.sort(frames)
                ):
                    widget.select(frames)
        finally:
            busy = False

    for widget in widgets:
        widget.observe(follow, names="selected")

    def end() -> None:
        for widget in widgets:
            widget.unobserve(follow, names="selected")

    return end


class Companion(ipywidgets.VBox):
    """What the companions share: a selection of frames, told in words and shown in the drawing."""

    selected = traitlets.Instance(
        np.ndarray, (0,), {"dtype": np.int64}, help="Positions of the chosen frames"
    )

    help = ""

    def __init__(self, count: int, *parts: ipywidgets.Widget) -> None:
        self._count = count
        self.said = ipywidgets.Label("nothing is selected")
        lines = "".join(f"<li>{line}</li>" for line in f"{self.help}\n\n{_HELP}".split("\n\n"))
        sheet = (
            f"<details data-lm-suppress-shortcuts='true'><summary>Help</summary><ul>{lines}</ul></details>"
        )
        super().__init__([*parts, self.said, ipywidgets.HTML(sheet)])

    def select(self, frames: Any) -> np.ndarray:
        """Select frames: positions, or a mask (n,); returns `selected`.

        Raises
        ------
        ParameterError
            If there is no such frame.
        """
        values = np.asarray(frames)
        if values.dtype == bool and values.shape != (self._count,):
            raise ParameterError(f"The mask has shape {values.shape}; there are {self._count} frames.")
        rows = np.flatnonzero(values) if values.dtype == bool else values.astype(np.int64).ravel()
        if len(rows) and not 0 <= rows.min() <= rows.max() < self._count:
            raise ParameterError(f"frames goes from {rows.min()} to {rows.max()}; there are {self._count}.")
        self.said.value = (
            f"{len(rows):,} of {self._count:,} frames selected" if len(rows) else "nothing is selected"
        )
        self.selected = rows
        self._mark(rows)
        return rows

    def _mark(self, rows: np.ndarray) -> None:
        """Show in the drawing what is selected."""


class ThresholdExplorer(Companion):
    """Where to cut a score: histogram by group, and recall, precision and contamination at a threshold to be dragged.

    Riggi et al. (2024), Figure 12.

    Parameters
    ----------
    scores : (n,) array, or Run
        Larger = more anomalous. Of a run the score as it is now, and the groups of everybody's tags.
    groups : sequence of n str, optional
        Of `radiowidgets.ranking.thresholds.group_frames`: peculiar, complex, ordinary, compact or unclassified.
    bins : int
        Of the histogram.
    height : int
        Of the drawings, in pixels.

    Attributes
    ----------
    threshold : float
        Frames from it on are selected by 'Select these'. It begins where recall and precision cross.

    Raises
    ------
    ParameterError
        If `extension` was not called, or no frame is peculiar.
    """

    threshold = traitlets.Float()
    help = """Left: how many frames of each group have which score, counted on a logarithmic axis. Right: what a
    threshold gives: recall = share of the peculiar frames that it keeps, precision = share of what it
    keeps that is peculiar, complex and ordinary = share that is not, of what is classified.

    Click or drag in a drawing, or move the slider, to set the threshold; 'Select these' selects the
    frames from it on.

    The groups follow the tags of a run as they were when the widget was made; run the cell again for new
    ones."""

    def __init__(self, scores: Any, groups: Any = None, *, bins: int = 50, height: int = 300) -> None:
        need_front_end()
        if isinstance(scores, Run):
            groups = groups_of(scores) if groups is None else groups
            scores = scores.order["score"].to_numpy()
        self.scores = np.asarray(scores, dtype=float)
        self.curves = threshold_curves(self.scores, groups)
        low, high = float(self.scores.min()), float(self.scores.max())
        self.slider = ipywidgets.FloatSlider(
            value=float(crossing(self.curves)["threshold"]), min=low, max=high, step=(high - low) / 500 or 1e-3,
            description="Threshold", readout_format=".4g", layout={"width": "480px"},
        )  # fmt: skip
        self.words = ipywidgets.Label()
        choose = ipywidgets.Button(
            description="Select these", tooltip="Select the frames from the threshold on"
        )
        choose.on_click(lambda _: self.select(self._above()))
        histogram = self._draw_histogram(score_histograms(self.scores, groups, bins), height)
        curves = self._draw_curves(height)
        self._spans = [
            _movable_line(figure, self.slider.value, self._dragged) for figure in (histogram, curves)
        ]
        bar = ipywidgets.HBox([self.slider, choose, self.words], layout={"flex_flow": "row wrap"})
        super().__init__(len(self.scores), _row(histogram, curves), bar)
        self.slider.observe(lambda change: self._move(change["new"]), names="value")
        self.observe(lambda change: self._move(change["new"]), names="threshold")
        self._move(self.slider.value)

    def at(self, threshold: float) -> pd.Series:
        """Return the row of `curves` at a threshold: what is selected from it on."""
        reached = self.curves["threshold"].to_numpy() >= threshold
        return self.curves.iloc[max(int(reached.sum()) - 1, 0)]

    def _above(self) -> np.ndarray:
        rows = np.flatnonzero(self.scores >= self.threshold)
        return rows[np.argsort(-self.scores[rows], kind="stable")]

    def _dragged(self, place: float) -> None:
        self.threshold = float(np.clip(place, self.slider.min, self.slider.max))

    def _move(self, threshold: float) -> None:
        self.threshold = threshold
        self.slider.value = threshold
        for span in self._spans:
            if span.location != threshold:
                span.location = threshold
        at = self.at(threshold)
        self.words.value = (
            f"recall {at['recall']:.1%}, precision {at['precision']:.1%}; ordinary {at['ordinary']:.1%}, complex"
            f" {at['complex']:.1%} of what is classified; {int((self.scores >= threshold).sum()):,} frames"
        )

    def _draw_histogram(self, table: pd.DataFrame, height: int) -> Any:
        figure = _figure("score", "frames", height, y_axis_type="log")
        edges = np.asarray(table.attrs["edges"])
        for name, colour in GROUP_COLOURS.items():
            counts = table[name].to_numpy(float)
            if name == "compact":  # they count among the ordinary ones
                continue
            if counts.any():
                steps = np.maximum(np.repeat(counts, 2), 0.5)
                figure.line(np.repeat(edges, 2)[1:-1], steps, color=colour, line_width=2, legend_label=name)
        figure.y_range.start = 0.5
        return _legend_above(figure)

    def _draw_curves(self, height: int) -> Any:
        figure = _figure("threshold", "share", height)
        for name, (colour, dash) in CURVES.items():
            line = {"color": colour, "line_dash": dash, "line_width": 2, "legend_label": name}
            figure.line(self.curves["threshold"], self.curves[name], **line)
        figure.y_range.start, figure.y_range.end = -0.02, 1.02
        return _legend_above(figure)


class FeatureExplorer(Companion):
    """Features side by side: a scatter of two, the histogram of each, and how all are correlated, as one selection.

    As Figures 2 and B1 of Riggi et al. (2024, compact sources). A box or lasso in the scatter selects; a click on a
    square of the correlation matrix chooses its two features.

    Parameters
    ----------
    table : DataFrame, or Run
        One row a frame or source. Columns that are not numbers are left out.
    labels : sequence of n str, optional
        Classes, which colour the points.
    x, y : str, optional
        Features to begin with; by default the two most correlated ones, rather not of those that are mostly one value.
    height : int
        Of the drawings, in pixels.

    Raises
    ------
    ParameterError
        If `extension` was not called, or there are less than two columns of numbers.
    """

    help = """A dot is a frame; of very many there is a picture. Draw a lasso, or a box (choose it in the toolbar),
    to select. Red are the selected ones.

    The histogram is of the feature x, of all and of the selected frames, each as shares that add up to 1.

    A square of the matrix is the rank correlation (Spearman) of two features, red +1, blue -1: click one
    to see the two in the scatter, or choose them above."""

    def __init__(
        self, table: Any, labels: Any = None, *, x: str | None = None, y: str | None = None, height: int = 330
    ) -> None:
        need_front_end()
        table = table.features if isinstance(table, Run) else table
        numbers = table.select_dtypes("number").astype(float)
        self.table = numbers.loc[:, numbers.notna().any() & (numbers.nunique() > 1)].iloc[:, :MOST_FEATURES]
        names = [str(name) for name in self.table.columns]
        if len(names) < 2:
            raise ParameterError(f"There are {len(names)} columns of numbers that vary; give two or more.")
        self.labels = (
            None if labels is None else pd.Series(np.asarray(labels, dtype=object)).fillna("none").astype(str)
        )
        if self.labels is not None and len(self.labels) != len(table):
            raise ParameterError(f"There are {len(self.labels)} labels and {len(table)} rows; give one each.")
        ranked = self.table.rank(pct=True)
        self.correlation = ranked.corr(min_periods=3).fillna(0.0)
        varied = (self.table.apply(lambda column: column.value_counts(normalize=True).max()) < 0.3).to_numpy()
        strongest = np.triu(self.correlation.abs().to_numpy(), 1) * (0.01 + varied[:, None] * varied)
        first, second = np.unravel_index(np.argmax(strongest), strongest.shape)
        for name in (x, y):
            if name is not None:
                check_one_of("x or y", name, names)
        self.x = ipywidgets.Dropdown(options=names, value=x or names[first], description="x")
        self.y = ipywidgets.Dropdown(options=names, value=y or names[second], description="y")
        self._draw_scatter(height)
        self._draw_histograms(height)
        matrix = self._draw_matrix(height)
        self._show()
        parts = _row(self._scatter, self._histogram, matrix)
        super().__init__(len(table), ipywidgets.HBox([self.x, self.y]), parts)
        for axis in (self.x, self.y):
            axis.observe(lambda _: self._show(), names="value")

    def _draw_scatter(self, height: int) -> None:
        from bokeh.models import BoxSelectTool, ColumnDataSource, LassoSelectTool

        self._scatter = _figure("x", "y", height)
        self._scatter.add_tools(LassoSelectTool(), BoxSelectTool())
        self._scatter.toolbar.active_drag = self._scatter.select_one(LassoSelectTool)
        self._points = ColumnDataSource({"x": [], "y": [], "colour": []})
        self._picture = ColumnDataSource({"image": [], "x": [], "y": [], "dw": [], "dh": []})
        self._marks = ColumnDataSource({"x": [], "y": []})
        self._scatter.image_rgba("image", "x", "y", "dw", "dh", source=self._picture)
        self._scatter.scatter(
            "x", "y", color="colour", size=4, alpha=0.7, line_color=None, source=self._points, nonselection_alpha=0.7
        )  # fmt: skip
        self._scatter.scatter(
            "x", "y", size=6, fill_color=None, line_color=CHOSEN, line_width=1.5, source=self._marks
        )
        self._scatter.on_event("selectiongeometry", self._enclosed)

    def _draw_histograms(self, height: int) -> None:
        from bokeh.models import ColumnDataSource

        self._histogram = _figure("x", "share", height, width=height)
        self._bars = ColumnDataSource({"left": [], "right": [], "all": [], "chosen": []})
        self._histogram.quad(
            left="left",
            right="right",
            top="all",
            bottom=0,
            source=self._bars,
            color="#9db8d6",
            legend_label="all",
        )
        self._histogram.quad(
            left="left", right="right", top="chosen", bottom=0, source=self._bars, fill_alpha=0, line_color=CHOSEN,
            line_width=1.5, legend_label="selected",
        )  # fmt: skip
        _legend_above(self._histogram)

    def _draw_matrix(self, height: int) -> Any:
        from bokeh.models import FactorRange, HoverTool, LinearColorMapper

        names = list(map(str, self.table.columns))
        figure = _figure(
            "", "", height, width=height + 60, x_range=FactorRange(*names), y_range=FactorRange(*names[::-1])
        )
        self._names = names
        down, across = np.meshgrid(names, names, indexing="ij")
        cells = {"x": across.ravel(), "y": down.ravel(), "rho": self.correlation.to_numpy().ravel()}
        colours = LinearColorMapper(palette=_diverging(), low=-1, high=1)
        figure.rect(
            "x", "y", 1, 1, source=cells, line_color=None, fill_color={"field": "rho", "transform": colours}
        )
        figure.add_tools(HoverTool(tooltips=[("", "@x, @y"), ("Spearman", "@rho{0.00}")]))
        figure.xaxis.major_label_orientation = np.pi / 2.5
        for axis in (figure.xaxis, figure.yaxis):
            axis.major_label_text_font_size = "8px" if len(names) > 12 else "10px"
        figure.on_event("tap", self._tapped)
        return figure

    def _tapped(self, event: Any) -> None:
        place = [event.x, event.y]
        chosen = []
        for value, names in zip(place, (self._names, self._names[::-1]), strict=True):
            if isinstance(value, str):
                chosen.append(value)
            elif value is not None and 0 <= int(value) < len(names):
                chosen.append(names[int(value)])
        if len(chosen) == 2:
            self.x.value, self.y.value = chosen

    def _show(self) -> None:
        from bokeh.models import Range1d

        x, y = (self.table[axis.value].to_numpy() for axis in (self.x, self.y))
        self._places = np.stack([x, y], axis=1)
        self._scatter.xaxis.axis_label, self._scatter.yaxis.axis_label = self.x.value, self.y.value
        self._histogram.xaxis.axis_label = self.x.value
        known = np.isfinite(self._places).all(axis=1)
        for name, values in (("x_range", x[known]), ("y_range", y[known])):
            low, high = np.percentile(values, [0.2, 99.8]) if len(values) else (0.0, 1.0)
            room = 0.05 * (high - low) or 1.0
            interval = getattr(self._scatter, name)
            if not isinstance(interval, Range1d):
                setattr(self._scatter, name, Range1d(low - room, high + room))
            else:
                interval.update(start=low - room, end=high + room)
        if known.sum() <= MOST_DOTS:
            self._points.data = {"x": x[known], "y": y[known], "colour": self._colours()[known]}
        else:
            self._picture.data = self._shaded(known)
        self._mark(self.selected)

    def _colours(self) -> np.ndarray:
        if self.labels is None:
            return np.full(len(self.table), PALETTE[0], dtype=object)
        kinds = self.labels.value_counts().index
        key = {kind: PALETTE[k % len(PALETTE)] for k, kind in enumerate(kinds)}
        return self.labels.map(key).to_numpy(object)

    def _shaded(self, known: np.ndarray) -> dict[str, list[Any]]:
        """Return a picture of many points, by datashader."""
        import datashader as ds
        import datashader.transfer_functions as tf

        box = [(self._scatter.x_range.start, self._scatter.x_range.end)]
        box.append((self._scatter.y_range.start, self._scatter.y_range.end))
        canvas = ds.Canvas(500, 400, x_range=box[0], y_range=box[1])
        table = pd.DataFrame(self._places[known], columns=["x", "y"])
        if self.labels is None:
            shaded = tf.shade(canvas.points(table, "x", "y"), cmap=["#a9c8ea", "#123a6b"])
        else:
            table["kind"] = self.labels.to_numpy()[known]
            table["kind"] = table["kind"].astype("category")
            colours = dict(zip(self.labels.to_numpy()[known], self._colours()[known], strict=True))
            shaded = tf.shade(canvas.points(table, "x", "y", ds.by("kind")), color_key=colours)
        (x0, x1), (y0, y1) = box
        return {
            "image": [tf.dynspread(shaded).to_numpy()],
            "x": [x0],
            "y": [y0],
            "dw": [x1 - x0],
            "dh": [y1 - y0],
        }

    def _enclosed(self, event: Any) -> None:
        """Select what a box or lasso encloses, once it is closed."""
        if event.final:
            self.select(_inside(event.geometry, self._places))

    def _mark(self, rows: np.ndarray) -> None:
        shown = rows[:: max(1, len(rows) // MOST_MARKED)]
        places = self._places[shown]
        places = places[np.isfinite(places).all(axis=1)]
        self._marks.data = {"x": places[:, 0], "y": places[:, 1]}
        x = self._places[:, 0]
        finite = x[np.isfinite(x)]
        low, high = np.percentile(finite, [0.2, 99.8]) if len(finite) else (0.0, 1.0)
        edges = np.linspace(low, high if high > low else low + 1, 41)
        counts = [np.histogram(values[np.isfinite(values)], edges)[0] for values in (x, x[rows])]
        shares = [count / max(count.sum(), 1) for count in counts]
        self._bars.data = {"left": edges[:-1], "right": edges[1:], "all": shares[0], "chosen": shares[1]}


class MapExplorer(Companion):
    """The whole map with its frames coloured by score, label or any column; a click selects the frames under it.

    Parameters
    ----------
    run : Run
    map : str, optional
        Which of its maps; by default the first.
    colour : str
        A column of the run: 'score', 'rank', 'interest', 'rms', a feature ..., or 'tag': the rarest of a frame's, by
        anybody.
    height : int
        Of the drawing, in pixels.

    Raises
    ------
    ParameterError
        If `extension` was not called, or the run has no map, or no such column.
    """

    help = """A dot is the centre of a frame, coloured by the column chosen above, of very many only of the highest; or
    by its tag, the rarest where there are several. Choose it again for labels that came since.

    Click in the map to select all frames that hold the place; outside of all frames, to select none.
    Selected frames are boxed in red.

    Zoom by the wheel and drag to pan: what is in view is read from the map as finely as the screen shows
    it."""

    def __init__(self, run: Run, map: str | None = None, *, colour: str = "score", height: int = 560) -> None:
        need_front_end()
        names = [name for name in run.frames.map_names if name in run.frames.maps]
        if not names:
            raise ParameterError(
                "The frames of this run come without a map; look at them with LatentExplorer."
            )
        columns = [*(name for name in run.columns if _is_numeric(run, name)), "tag"]
        check_one_of("map", names[0] if map is None else map, names)
        check_one_of("colour", colour, columns)
        self.run = run
        self.map = ipywidgets.Dropdown(options=names, value=map or names[0], description="Map")
        self.colour = ipywidgets.Dropdown(options=columns, value=colour, description="Colour")
        self._figure = self._draw(height)
        self._open()
        bar = [self.map, self.colour] if len(names) > 1 else [self.colour]
        super().__init__(len(run.frames), ipywidgets.HBox(bar), _row(self._figure))
        self.map.observe(lambda _: self._open(), names="value")
        self.colour.observe(lambda _: self._paint(), names="value")

    def _draw(self, height: int) -> Any:
        from bokeh.models import ColorBar, ColumnDataSource, LinearColorMapper, Range1d
        from bokeh.palettes import Greys256, Viridis256

        figure = _figure(
            "x (pixel)",
            "y (pixel)",
            height,
            width=int(1.2 * height),
            x_range=Range1d(0, 1),
            y_range=Range1d(0, 1),
        )
        figure.background_fill_color, figure.match_aspect = "#2e323b", True
        figure.grid.visible = False
        self._sky = ColumnDataSource({"image": [], "x": [], "y": [], "dw": [], "dh": []})
        self._dots = ColumnDataSource({"x": [], "y": [], "value": []})
        self._boxes = ColumnDataSource({"x": [], "y": [], "width": [], "height": []})
        figure.image(
            "image",
            "x",
            "y",
            "dw",
            "dh",
            source=self._sky,
            color_mapper=LinearColorMapper(Greys256, low=0, high=1),
        )
        self._scale = LinearColorMapper(Viridis256, nan_color="#00000000")
        figure.scatter(
            "x", "y", size=8, line_color="white", line_width=0.5, source=self._dots, nonselection_alpha=1,
            fill_color={"field": "value", "transform": self._scale},
        )  # fmt: skip
        self._tagged = ColumnDataSource({"x": [], "y": [], "colour": [], "tag": []})
        figure.scatter(
            "x", "y", size=9, line_color="white", line_width=0.5, source=self._tagged, nonselection_alpha=1,
            fill_color="colour", legend_field="tag",
        )  # fmt: skip
        figure.legend.update(visible=False, background_fill_alpha=0.85)
        figure.rect(
            "x",
            "y",
            "width",
            "height",
            source=self._boxes,
            fill_alpha=0.08,
            fill_color=CHOSEN,
            line_color=CHOSEN,
        )
        self._bar = ColorBar(color_mapper=self._scale, width=10)
        figure.add_layout(self._bar, "right")
        figure.on_event("tap", self._tapped)
        figure.on_event(
            "rangesupdate", lambda event: self._zoomed((event.x0, event.x1), (event.y0, event.y1))
        )
        return figure

    def _open(self) -> None:
        frames = self.run.frames
        sky = frames.maps[self.map.value]
        self._picture = Overview(sky)
        self._mine = np.flatnonzero(frames.map_codes == frames.map_names.index(self.map.value))
        ny, nx = sky.shape
        side = max(nx, ny)
        for name, length in (("x_range", nx), ("y_range", ny)):
            spare = (side - length) / 2
            getattr(self._figure, name).update(start=-0.5 - spare, end=length - 0.5 + spare)
        self._zoomed((-0.5, nx - 0.5), (-0.5, ny - 0.5))
        self._paint()
        self._mark(self.selected)

    def _zoomed(self, x_range: tuple[float, float], y_range: tuple[float, float]) -> None:
        """Show what is in view as finely as the screen can."""
        shown, _, (x0, y0, x1, y1) = self._picture.pixels(x_range, y_range)
        self._sky.data = {"image": [shown], "x": [x0], "y": [y0], "dw": [x1 - x0], "dh": [y1 - y0]}

    def _centres(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        frames = self.run.frames
        return frames.x[rows] + frames.width[rows] / 2 - 0.5, frames.y[rows] + frames.height[rows] / 2 - 0.5

    def _paint(self) -> None:
        by_tag = self.colour.value == "tag"
        self._bar.visible, self._figure.legend[0].visible = not by_tag, by_tag
        for source in (self._dots, self._tagged):
            source.data = {name: [] for name in source.data}
        if by_tag:
            self._paint_tags()
        else:
            self._paint_values()

    def _paint_tags(self) -> None:
        """Colour each frame by its rarest tag; those without one have no dot."""
        rows, said = _tags_said(self.run)
        tags = np.full(len(self.run.frames), "", dtype=object)
        for name in pd.Series(said).value_counts().index:
            tags[rows[said == name]] = name
        mine = self._mine[tags[self._mine] != ""][:MOST_DOTS]
        x, y = self._centres(mine)
        key = {tag.name: tag.colour for tag in self.run.schema}
        names = tags[mine]
        colours = [key.get(name, "#9aa0a8") for name in names]
        self._tagged.data = {"x": x, "y": y, "colour": colours, "tag": names}

    def _paint_values(self) -> None:
        values = self.run.column(self.colour.value)[self._mine]
        finite = values[np.isfinite(values)]
        low, high = np.percentile(finite, [1, 99]) if len(finite) else (0.0, 1.0)
        self._scale.update(low=float(low), high=float(high if high > low else low + 1))
        chosen = (
            np.argsort(-values, kind="stable")[:MOST_DOTS]
            if len(values) > MOST_DOTS
            else np.arange(len(values))
        )
        x, y = self._centres(self._mine[chosen])
        self._dots.data = {"x": x, "y": y, "value": values[chosen]}

    def _tapped(self, event: Any) -> None:
        """Select the frames that hold the place, the first in rank first."""
        if event.x is None or event.y is None:
            return
        frames, rows = self.run.frames, self._mine
        inside = (event.x >= frames.x[rows] - 0.5) & (event.x < frames.x[rows] + frames.width[rows] - 0.5)
        inside &= (event.y >= frames.y[rows] - 0.5) & (event.y < frames.y[rows] + frames.height[rows] - 0.5)
        found = rows[inside]
        self.select(found[np.argsort(self.run.order["rank"].to_numpy()[found], kind="stable")])

    def _mark(self, rows: np.ndarray) -> None:
        frames = self.run.frames
        here = rows[frames.map_codes[rows] == frames.map_names.index(self.map.value)] if len(rows) else rows
        here = here[:MOST_MARKED]
        x, y = self._centres(here)
        self._boxes.data = {"x": x, "y": y, "width": frames.width[here], "height": frames.height[here]}


def groups_of(run: Run) -> pd.Series:
    """Return the group of each frame by everybody's tags, as `group_frames` names them; untagged = unclassified."""
    rows, said = _tags_said(run)
    names = pd.Index(run.schema.names)
    column = names.get_indexer(pd.Index(said))
    tags = np.zeros((len(run.frames), len(names)), bool)
    tags[rows[column >= 0], column[column >= 0]] = True
    return group_frames(pd.DataFrame(tags, columns=names))


def _tags_said(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """Return everybody's tags on frames of the run, one by one: positions of the frames, and the tags."""
    run.labels.refresh()
    said = run.labels.table().explode("tags").dropna(subset="tags")
    rows = np.asarray(rows_of(run, said["frame_id"]), dtype=np.int64)
    return rows[rows >= 0], said["tags"].to_numpy(object)[rows >= 0]


def _is_numeric(run: Run, name: str) -> bool:
    try:
        run.column(name)
    except ParameterError:
        return False
    return True


def _figure(x: str, y: str, height: int, *, width: int | None = None, **options: Any) -> Any:
    from bokeh.plotting import figure

    drawn = figure(
        height=height, width=width or int(1.35 * height), tools="pan,wheel_zoom,reset,save", active_scroll="wheel_zoom",
        x_axis_label=x, y_axis_label=y, **options,
    )  # fmt: skip
    drawn.toolbar.logo = None
    return drawn


def _legend_above(figure: Any) -> Any:
    """Move the legend of a figure out of the way of its curves."""
    legend = figure.legend[0]
    legend.update(
        orientation="horizontal", border_line_color=None, padding=0, label_text_font_size="11px", spacing=8
    )
    figure.add_layout(legend, "above")
    return figure


def _row(*figures: Any) -> ipywidgets.Widget:
    """Return figures side by side as a widget; in a narrow cell they wrap."""
    return ipywidgets.HBox([bokeh_widget(figure) for figure in figures], layout={"flex_flow": "row wrap"})


def _movable_line(figure: Any, place: float, moved: Callable[[float], None]) -> Any:
    """Return a vertical line in a figure; `moved` is told where a click or a drag puts it."""
    from bokeh.models import Span

    line = Span(location=place, dimension="height", line_color=CHOSEN, line_width=2)
    figure.add_layout(line)
    figure.on_event("tap", lambda event: moved(event.x))
    figure.on_event("pan", lambda event: moved(event.x))
    figure.toolbar.active_drag = None
    return line


def _inside(geometry: Mapping[str, Any], places: np.ndarray) -> np.ndarray:
    """Tell which places (n, 2) a box or a polygon encloses."""
    from matplotlib.path import Path

    if geometry["type"] == "rect":
        low = [min(geometry[f"{axis}0"], geometry[f"{axis}1"]) for axis in "xy"]
        high = [max(geometry[f"{axis}0"], geometry[f"{axis}1"]) for axis in "xy"]
        return np.asarray(((places >= low) & (places <= high)).all(axis=1))
    corners = np.stack([np.asarray(geometry[axis], dtype=float) for axis in "xy"], axis=1)
    known = np.isfinite(places).all(axis=1)
    inside = np.zeros(len(places), bool)
    inside[known] = Path(corners).contains_points(places[known]) if len(corners) > 2 else False
    return inside


def _diverging() -> Sequence[str]:
    from bokeh import palettes

    ends = (palettes.linear_palette(palettes.Blues256, 128), palettes.linear_palette(palettes.Reds256, 128))
    return palettes.diverging_palette(*ends, 64, 0.5)
