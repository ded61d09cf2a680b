"""Plots that the kernel rasterises: a whole map to zoom into, with frames and sources on top.

HoloViews and datashader draw what is in view at the resolution of the screen, so that the browser's cost does not
grow with the map. Their front end comes from the installed packages, never from the network: `extension` loads it.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import ipywidgets
import numpy as np
import pandas as pd
import traitlets
from IPython import get_ipython

from radiowidgets.data.frames import FrameSet
from radiowidgets.data.maps import SkyMap
from radiowidgets.data.resampling import resize
from radiowidgets.errors import MissingExtraError, ParameterError
from radiowidgets.widgets.colouring import PALETTE

OVERVIEW = 2048  # pixels along the longer side of the map that is kept in memory
MOST_BOXES = 400  # frames drawn as boxes; of more, only those in view while they are few
MOST_MARKS = 3000  # sources drawn one by one
MOST_DOTS = 20_000  # points drawn one by one
_loaded = False


def extension() -> None:
    """Load what Bokeh plots need into the notebook, offline; call it once, in a cell before the first plot.

    Raises
    ------
    MissingExtraError
        If the plotting packages are not installed.
    """
    global _loaded  # noqa: PLW0603 - the page has its front end, or not
    try:
        import holoviews as hv
        import panel as pn
    except ImportError as error:
        raise MissingExtraError(
            "Plots need HoloViews, Panel and Bokeh; install them with: pip install 'radiowidgets[plots]'."
        ) from error
    if get_ipython() is not None:  # a script has no page that needs it
        pn.extension("ipywidgets", inline=True)
    hv.extension("bokeh", inline=True, logo=False)
    _loaded = True


def show_map(
    sky: SkyMap,
    frames: FrameSet | None = None,
    sources: pd.DataFrame | None = None,
    *,
    limits: tuple[float, float] = (-2.0, 30.0),
    height: int = 560,
) -> ipywidgets.Widget:
    """Show a whole map, to be zoomed and panned, with frames and sources on top.

    Parameters
    ----------
    sky : SkyMap
    frames : FrameSet, optional
        Drawn as boxes where few enough are in view.
    sources : DataFrame, optional
        With columns ``x`` and ``y`` in pixels of the map.
    limits : (float, float)
        Lowest and highest value shown, in units of the map's robust noise, with an asinh stretch.
    height : int
        Height in pixels.

    Returns
    -------
    ipywidgets.Widget

    Raises
    ------
    ParameterError
        If `extension` was not called before, or `sources` has no pixel positions.
    """
    need_front_end()
    if sources is not None and not {"x", "y"} <= set(sources.columns):
        columns = ", ".join(map(str, sources.columns[:8]))
        raise ParameterError(f"sources needs columns x and y in pixels of the map; it has {columns}.")
    import holoviews as hv
    from holoviews.streams import RangeXY

    picture = Overview(sky, limits)
    ny, nx = sky.shape
    layers = hv.DynamicMap(picture.image, streams=[RangeXY()]).opts(
        cmap="inferno", clim=(0, 1), tools=["hover"], xlabel="x (pixel)", ylabel="y (pixel)"
    )
    if frames is not None:
        mine = _of_map(frames, sky)
        boxes = hv.DynamicMap(lambda x_range, y_range: _boxes(mine, x_range, y_range), streams=[RangeXY()])
        layers = layers * boxes.opts(fill_alpha=0, line_color="#6cc5ff", line_alpha=0.7, line_width=1)
    if sources is not None:
        layers = layers * _marks(sources)
    width = int(np.clip(height * nx / ny, 320, 1000))
    layers = layers.opts(
        hv.opts.Image(
            frame_width=width,
            frame_height=height,
            xlim=(-0.5, nx - 0.5),
            ylim=(-0.5, ny - 0.5),
            active_tools=["pan", "wheel_zoom"],
            bgcolor="#2e323b",
        )
    )
    return _view(layers, height + 70)


def show_channels(pixels: np.ndarray, names: Sequence[str], *, size: int = 130) -> ipywidgets.Widget:
    """Show the channels of one frame side by side, each from its lowest to its highest value with an asinh stretch.

    Parameters
    ----------
    pixels : (h, w, channels) array
        Blank pixels (NaN) stay empty.
    names : sequence of str
        Names of the channels.
    size : int
        Side of each picture in pixels.

    Raises
    ------
    ParameterError
        If `extension` was not called before, or the names do not fit.
    """
    need_front_end()
    if pixels.ndim != 3 or pixels.shape[2] != len(names):
        raise ParameterError(
            f"pixels has shape {pixels.shape}; {len(names)} names need (h, w, {len(names)})."
        )
    import holoviews as hv

    pictures = []
    for k, name in enumerate(names):
        seen = pixels[..., k][np.isfinite(pixels[..., k])]
        low, high = (float(seen.min()), float(seen.max())) if seen.size else (0.0, 1.0)
        share = (pixels[::-1, :, k] - low) / (high - low or 1.0)
        picture = hv.Image(np.arcsinh(10 * share), kdims=["x", "y"], vdims=["shown"])
        pictures.append(
            picture.opts(
                title=str(name),
                cmap="inferno",
                bgcolor="#2e323b",
                xaxis=None,
                yaxis=None,
                toolbar=None,
                frame_width=size,
                frame_height=size,
            )
        )
    return _view(hv.Layout(pictures).cols(len(pictures)).opts(toolbar=None), size + 60)


def show_points(
    places: np.ndarray,
    values: Sequence[Any] | np.ndarray | pd.Series | None = None,
    *,
    name: str = "",
    axes: tuple[str, str] | None = None,
    height: int = 420,
) -> ipywidgets.Widget:
    """Show any number of points in a plane, such as a projected embedding, by HoloViews and datashader.

    For a figure; to select and label points see `LatentExplorer`.

    Parameters
    ----------
    places : (n, 2) array
        Rows that are not finite are left out.
    values : sequence of numbers or texts, optional
        Numbers colour by their mean in each pixel, texts by category, grey where there is none; by default the colour
        of many points tells how many there are.
    name : str
        What the values are.
    axes : (str, str), optional
        What lies across and up; by default no axes are drawn, for those of a projection mean nothing.
    height : int
        Height in pixels.

    Raises
    ------
    ParameterError
        If `extension` was not called before, or the shapes do not fit.
    """
    need_front_end()
    places = np.asarray(places, dtype=np.float32)
    if places.ndim != 2 or places.shape[1] != 2 or (values is not None and len(values) != len(places)):
        count = "no" if values is None else f"{len(values)}"
        raise ParameterError(
            f"places has shape {places.shape}, and there are {count} values; give (n, 2) and n."
        )
    table = pd.DataFrame({"x": places[:, 0], "y": places[:, 1]})
    texts = values is not None and np.asarray(values).dtype.kind not in "fiub"
    if values is not None:
        kinds = pd.Series(np.asarray(values, dtype=object if texts else np.float32))
        table[name or "value"] = kinds.astype("category") if texts else kinds
    table = table[np.isfinite(places).all(axis=1)]
    drawn = _kinds(table) if texts else _scale(table)
    across, up = axes or ("", "")
    named = {"xlabel": across, "ylabel": up} if axes else {"xaxis": None, "yaxis": None}
    size = {"frame_height": height, "frame_width": int(height * 1.3)}
    legend = {"legend_position": "right"} if texts else {}
    shown = drawn.opts(title=name, active_tools=["pan", "wheel_zoom"], **named, **size, **legend)
    return _view(shown, height + (120 if axes else 70))


def show_curve(
    values: Sequence[float] | Mapping[str, Sequence[float]],
    name: str = "value",
    step: str = "step",
    *,
    at: Sequence[float] | None = None,
    bars: bool = False,
    height: int = 240,
) -> ipywidgets.Widget:
    """Show numbers one after the other, such as the loss of each epoch; several lines where they are named.

    Parameters
    ----------
    values : sequence of numbers, or mapping of a name to one
        Of one length all. Numbers that are not finite leave a gap.
    name, step : str
        What they are, and what they are given at.
    at : sequence of numbers, optional
        Where each value stands along the axis; default: counted from 1.
    bars : bool
        Draw steps, as of a histogram, instead of points joined by lines.
    height : int
        Height in pixels.

    Raises
    ------
    ParameterError
        If `extension` was not called before, or the values are not sequences of numbers of one length.
    """
    need_front_end()
    several = isinstance(values, Mapping)
    named = values if isinstance(values, Mapping) else {"": values}
    lines = {str(key): np.asarray(line) for key, line in named.items()}
    length = len(next(iter(lines.values()))) if lines else 0
    places = np.arange(1, length + 1) if at is None else np.asarray(at)
    for line in (*lines.values(), places):
        if line.shape != (length,) or line.dtype.kind not in "fiub":
            raise ParameterError(
                f"values has shape {line.shape} and type {line.dtype}; give a sequence of numbers, "
                "several of one length, and as many places."
            )
    import holoviews as hv

    def drawn(line: np.ndarray) -> Any:
        curve = hv.Curve((places, line), step, name)
        if bars:
            return curve.opts(interpolation="steps-mid")
        return curve * hv.Scatter((places, line), step, name).opts(size=6) if not several else curve

    shape = {"frame_height": height, "frame_width": 2 * height, "toolbar": None}
    if not several:
        return _view(drawn(lines[""]).opts(**shape), height + 70)
    colours = {key: PALETTE[k % len(PALETTE)] for k, key in enumerate(lines)}
    together = hv.NdOverlay(
        {key: drawn(line).opts(color=colours[key]) for key, line in lines.items()}, "line", sort=False
    )
    return _view(together.opts(legend_position="right", **shape), height + 70)


def _scale(table: pd.DataFrame) -> Any:
    """Return points coloured by a number, the last column; where it is y, by how many there are if they are many."""
    import datashader as ds
    import holoviews as hv
    from holoviews.operation.datashader import dynspread, rasterize

    columns = list(table.columns[2:])
    if len(table) <= MOST_DOTS:
        dots = hv.Points(table, ["x", "y"], columns)
        if not columns:
            return dots.opts(color=PALETTE[0], alpha=0.6, size=4, line_color=None)
        ends = tuple(np.nanpercentile(table[columns[0]], (1, 99)))
        return dots.opts(color=columns[0], cmap="viridis", clim=ends, colorbar=True, size=4, line_color=None)
    aggregator = ds.mean(columns[0]) if columns else ds.count()
    picture = dynspread(rasterize(hv.Points(table, ["x", "y"], columns), aggregator=aggregator))
    return picture.opts(cmap="viridis", colorbar=True, cnorm="linear" if columns else "log")


def _kinds(table: pd.DataFrame) -> Any:
    """Return points coloured by the last column, grey where it says nothing, the most frequent below the others."""
    import datashader as ds
    import holoviews as hv
    from holoviews.operation.datashader import datashade, dynspread

    column = table.columns[2]
    many = table[column].value_counts()
    key = {kind: PALETTE[k % len(PALETTE)] for k, kind in enumerate(many[many > 0].index)}
    if len(table) <= MOST_DOTS:
        unknown = hv.Points(table[table[column].isna()], ["x", "y"], []).opts(color="#b4b9c0", size=3)
        layers = {
            f"{kind} ({many[kind]:,})": hv.Points(table[table[column] == kind], ["x", "y"], []).opts(
                color=colour, size=4
            )
            for kind, colour in key.items()
        }
        return unknown * hv.NdOverlay(layers, column, sort=False)
    grey = datashade(hv.Points(table, ["x", "y"], []), cmap=["#c4c8ce", "#8f959d"])
    known = hv.Points(table[table[column].notna()], ["x", "y"], column)
    shown = datashade(known, aggregator=ds.by(column), color_key=key, min_alpha=140)
    return dynspread(grey) * dynspread(shown, max_px=4)


def need_front_end() -> None:
    """Raise ParameterError where `extension` was not called."""
    if not _loaded:
        raise ParameterError("Plots need their front end; call rw.extension() in a cell before this one.")


def bokeh_widget(figure: Any) -> ipywidgets.Widget:
    """Return a Bokeh figure as a widget that shows it as it is now, wherever and however often it is displayed."""
    return _widget_class()(figure, _view_count=0)


@cache
def _widget_class() -> Any:
    from bokeh.core.json_encoder import serialize_json
    from jupyter_bokeh import BokehModel

    class Figure(BokehModel):
        """jupyter_bokeh's widget, which shows in each new place what the figure was at first, and mends that."""

        _changed = False

        def _document_patched(self, event: Any) -> None:
            self._changed = True
            super()._document_patched(event)

        @traitlets.observe("_view_count")
        def _shown(self, change: Any) -> None:
            if self._changed and change["new"] > (change["old"] or 0):
                self._changed = False
                self.render_bundle = self._model_to_traits(self._model)

        def get_state(self, key: Any = None, drop_defaults: bool = False) -> dict[str, Any]:
            state: dict[str, Any] = super().get_state(key, drop_defaults)
            if key is None and self._changed:  # a page that was loaded anew asks for all
                state["render_bundle"] = serialize_json(self._model_to_traits(self._model))
            return state

    return Figure


def _view(element: Any, height: int) -> ipywidgets.Widget:
    """Return a HoloViews element as a widget that needs nothing from the network."""
    import holoviews as hv
    from bokeh.document import Document

    plot = hv.renderer("bokeh").instance(mode="server").get_plot(element, doc=Document())
    view = ipywidgets.VBox([bokeh_widget(plot.state)], layout=ipywidgets.Layout(height=f"{height}px"))
    view.plot = plot  # keeps the callbacks alive as long as the view
    return view


class Overview:
    """The part of a map that is in view, at most as fine as the screen, from `limits` in units of its robust noise."""

    def __init__(self, sky: SkyMap, limits: tuple[float, float] = (-2.0, 30.0)) -> None:
        self.sky = sky
        ny, nx = sky.shape
        self.step = max(1, int(np.ceil(max(ny, nx) / OVERVIEW)))
        rows = [
            resize(strip, (max(1, round(len(strip) / self.step)), max(1, round(nx / self.step))))
            for strip in (sky.rows(y, min(y + 64 * self.step, ny)) for y in range(0, ny, 64 * self.step))
        ]
        self.overview = np.concatenate(rows)
        seen = self.overview[np.isfinite(self.overview)]
        middle = float(np.median(seen)) if seen.size else 0.0
        noise = 1.4826 * float(np.median(np.abs(seen - middle))) if seen.size else 1.0
        self.low, self.high = (middle + limit * (noise or 1.0) for limit in limits)

    def image(self, x_range: tuple[float, float] | None, y_range: tuple[float, float] | None) -> Any:
        """Return the part as a HoloViews image of what is shown and of the values."""
        import holoviews as hv

        shown, pixels, edges = self.pixels(x_range, y_range)
        dimensions = ["shown", hv.Dimension("value", unit=str(self.sky.unit or ""))]
        return hv.Image(np.dstack([shown, pixels])[::-1], bounds=edges, kdims=["x", "y"], vdims=dimensions)

    def pixels(
        self, x_range: tuple[float, float] | None, y_range: tuple[float, float] | None
    ) -> tuple[np.ndarray, np.ndarray, tuple[float, float, float, float]]:
        """Return the part stretched to [0, 1], its values, and its edges (x0, y0, x1, y1) in pixels of the map."""
        ny, nx = self.sky.shape
        x0, x1 = _clip(x_range, nx)
        y0, y1 = _clip(y_range, ny)
        if max(x1 - x0, y1 - y0) <= OVERVIEW:
            pixels = self.sky.read(y0, y1, x0, x1)
        else:
            pixels = self.overview[
                y0 // self.step : -(-y1 // self.step), x0 // self.step : -(-x1 // self.step)
            ]
        largest = max(pixels.shape)
        if largest > 1100:
            pixels = resize(
                pixels, (max(1, pixels.shape[0] * 1100 // largest), max(1, pixels.shape[1] * 1100 // largest))
            )
        share = np.clip((pixels - self.low) / (self.high - self.low), 0, 1)
        shown = np.arcsinh(10 * share) / np.arcsinh(10)
        return shown, pixels, (x0 - 0.5, y0 - 0.5, x1 - 0.5, y1 - 0.5)


def _clip(interval: tuple[float, float] | None, length: int) -> tuple[int, int]:
    if interval is None or not np.isfinite(interval).all():
        return 0, length
    low = int(np.clip(np.floor(interval[0]), 0, length - 1))
    return low, int(np.clip(np.ceil(interval[1]) + 1, low + 1, length))


def _of_map(frames: FrameSet, sky: SkyMap) -> np.ndarray:
    code = frames.map_names.index(sky.name) if sky.name in frames.map_names else -1
    mine = frames.map_codes == code
    x, y = frames.x[mine] - 0.5, frames.y[mine] - 0.5
    return np.stack([x, y, x + frames.width[mine], y + frames.height[mine]], axis=1)


def _boxes(
    boxes: np.ndarray, x_range: tuple[float, float] | None, y_range: tuple[float, float] | None
) -> Any:
    import holoviews as hv

    if x_range is not None and y_range is not None:
        seen = (boxes[:, 2] > x_range[0]) & (boxes[:, 0] < x_range[1])
        boxes = boxes[seen & (boxes[:, 3] > y_range[0]) & (boxes[:, 1] < y_range[1])]
    return hv.Rectangles(boxes if len(boxes) <= MOST_BOXES else boxes[:0])


def _marks(sources: pd.DataFrame) -> Any:
    import holoviews as hv
    from holoviews.operation.datashader import dynspread, rasterize

    points = hv.Points(sources[["x", "y"]].astype(float).dropna(), kdims=["x", "y"])
    if len(points) <= MOST_MARKS:
        return points.opts(marker="circle", size=9, fill_alpha=0, line_color="#7dff9a", color="#7dff9a")
    return dynspread(rasterize(points)).opts(cmap=["#7dff9a"])
