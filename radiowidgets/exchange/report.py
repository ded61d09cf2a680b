"""One page on a run, as HTML: what was found, how the looks paid off, and what it was made with.

The file needs no other and runs no script. It is built as a tree of elements, so that a text from a header, a
catalogue or a person stays text.
"""

import base64
import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple
from xml.etree import ElementTree as ET

import numpy as np
import pandas as pd

from radiowidgets.labels.progress import Progress
from radiowidgets.labels.schema import Schema

HIGHEST = 5
MOST = 200  # objects on a page
_SERIES = ("#1f5fa8", "#c2570c", "#2f7d4f", "#8a3f97", "#8c6d1f", "#555f6b")  # each 4.5 to 1 on white
MOST_TAGS, MOST_AGREEMENTS = 2, 4  # of an object, of a run

_STYLE = """
:root { --ink: #1b1f27; --soft: #59616e; --line: #dfe3e8; --wash: #f5f6f8; --blue: #1f5fa8; --amber: #c27803; }
* { box-sizing: border-box; }
html { background: #fff; }
body { margin: 0 auto; padding: 28px 24px 24px; max-width: 1040px; color: var(--ink); background: #fff;
  font: 13px/1.4 "Inter", "Segoe UI", "Helvetica Neue", Arial, sans-serif; font-variant-numeric: tabular-nums; }
h1 { margin: 0; font-size: 25px; font-weight: 650; letter-spacing: -0.01em; overflow-wrap: anywhere; }
h2 { margin: 0 0 8px; font-size: 11px; font-weight: 650; letter-spacing: 0.07em; text-transform: uppercase;
  color: var(--soft); }
p { margin: 0; }
header { display: flex; gap: 24px; justify-content: space-between; align-items: flex-end;
  padding-bottom: 12px; border-bottom: 2px solid var(--ink); }
header p { color: var(--soft); margin-top: 3px; overflow-wrap: anywhere; }
.made { text-align: right; white-space: nowrap; }
.figures { display: flex; flex-wrap: wrap; margin: 12px 0 16px; }
.figures div { padding: 0 20px; border-left: 1px solid var(--line); }
.figures div:first-child { padding-left: 0; border-left: 0; }
.figures b { display: block; font-size: 20px; font-weight: 600; line-height: 1.2; }
.figures span { color: var(--soft); font-size: 11.5px; }
.sheet { display: grid; grid-template-columns: repeat(6, 1fr); gap: 10px; margin-bottom: 18px; }
figure { margin: 0; min-width: 0; break-inside: avoid; }
figure .sky { position: relative; display: block; }
figure img { display: block; width: 100%; aspect-ratio: 1; border-radius: 5px; background: #2a2e36; }
figure svg { position: absolute; inset: 0; width: 100%; height: 100%; }
figure .rank { position: absolute; left: 5px; top: 5px; padding: 0 5px; border-radius: 3px; color: #fff;
  background: rgba(16, 18, 22, 0.72); font-size: 11px; font-weight: 600; line-height: 16px; }
figcaption { padding-top: 4px; font-size: 11px; line-height: 1.35; }
figcaption .name { font-weight: 600; font-size: 10.5px; white-space: nowrap; overflow: hidden;
  text-overflow: ellipsis; }
figcaption .facts { display: flex; justify-content: space-between; gap: 6px; color: var(--soft); }
.dots { color: var(--amber); letter-spacing: 0.5px; white-space: nowrap; }
.dots i { color: var(--line); font-style: normal; }
.tags { display: flex; flex-wrap: wrap; gap: 2px; margin-top: 2px; }
.tag { padding: 0 4px; border-radius: 3px; font-size: 8.5px; font-weight: 600; line-height: 13px; max-width: 100%;
  overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.more { font-size: 9px; line-height: 13px; color: var(--soft); }
.note { color: var(--soft); font-style: italic; overflow: hidden; display: -webkit-box; -webkit-line-clamp: 2;
  -webkit-box-orient: vertical; overflow-wrap: anywhere; }
.columns { display: grid; grid-template-columns: 1.15fr 1fr; gap: 28px; margin-bottom: 16px; }
.columns > div { min-width: 0; break-inside: avoid; }
.chart { display: block; width: 100%; height: auto; }
.legend { display: flex; flex-wrap: wrap; gap: 2px 14px; font-size: 11.5px; color: var(--soft); }
.legend i { display: inline-block; width: 14px; height: 3px; border-radius: 2px; vertical-align: middle;
  margin-right: 5px; }
.none { color: var(--soft); }
table { width: 100%; border-collapse: collapse; font-size: 11px; }
th { text-align: left; font-weight: 600; color: var(--soft); }
th, td { padding: 2px 8px 2px 0; border-bottom: 1px solid var(--line); vertical-align: top; overflow-wrap: anywhere; }
th.number, td.number { text-align: right; overflow-wrap: normal; }
table + table { margin-top: 8px; }
td:last-child, th:last-child { padding-right: 0; }
.bars { margin-bottom: 10px; }
.bars td { border: 0; padding: 1px 6px 1px 0; }
.bars td:nth-child(1) { width: 62px; }
.bars td:nth-child(3) { width: 1%; text-align: right; padding-right: 0; white-space: nowrap; }
.bar { display: block; height: 9px; margin-top: 3px; border-radius: 2px; background: var(--blue); min-width: 1px; }
.counts { display: flex; flex-wrap: wrap; gap: 3px 10px; margin-bottom: 10px; font-size: 11px; }
.settings { columns: 2; column-gap: 28px; font-size: 10.5px; }
.settings table { font-size: 10.5px; margin-bottom: 10px; break-inside: avoid; }
.settings td:first-child { color: var(--soft); width: 34%; }
code { font-family: ui-monospace, "SFMono-Regular", Menlo, Consolas, monospace; font-size: 0.94em; }
footer { padding-top: 8px; border-top: 1px solid var(--line); color: var(--soft); font-size: 10.5px; }
@media screen and (max-width: 720px) {
  .sheet { grid-template-columns: repeat(3, 1fr); }
  .columns { grid-template-columns: 1fr; }
  .settings { columns: 1; }
  header { flex-direction: column; align-items: flex-start; }
  .made { text-align: left; }
}
@page { margin: 9mm; }
@media print {
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  body { padding: 0; max-width: none; font-size: 10px; }
  h1 { font-size: 17px; }
  header { padding-bottom: 5px; }
  .figures { margin: 5px 0 7px; }
  .figures b { font-size: 14px; }
  .figures span { font-size: 9px; }
  .sheet { gap: 4px 14px; margin-bottom: 7px; }
  figcaption { font-size: 8px; padding-top: 2px; }
  figcaption .name { font-size: 7.6px; }
  .tag { font-size: 6.5px; line-height: 10px; }
  .note { -webkit-line-clamp: 1; }
  .tags { flex-wrap: nowrap; overflow: hidden; }
  .more { font-size: 7px; line-height: 10px; }
  figure .rank { font-size: 8.5px; line-height: 12px; left: 3px; top: 3px; padding: 0 3px; }
  th, td { padding-top: 1px; padding-bottom: 1px; }
  .bars td { line-height: 1.1; }
  .bar { height: 7px; margin-top: 1px; }
  .dots { letter-spacing: 0; }
  .columns { gap: 18px; margin-bottom: 6px; }
  h2 { margin-bottom: 4px; font-size: 9px; }
  table, .counts, .legend { font-size: 8.5px; }
  .settings, .settings table, footer { font-size: 8px; }
  .bars, .counts, .settings table { margin-bottom: 5px; }
  footer { padding-top: 4px; }
}
"""


class Picture(NamedTuple):
    """One object as it is shown.

    Attributes
    ----------
    png : bytes
        The frame that shows it best.
    bar : (float, str) or None
        Length of a scale bar as a share of the picture, and what it says.
    """

    png: bytes
    bar: tuple[float, str] | None = None


def write_report(
    name: str,
    about: Mapping[str, Any],
    maps: Iterable[Mapping[str, Any]],
    objects: pd.DataFrame,
    pictures: Iterable[Picture],
    *,
    labels: pd.DataFrame,
    progress: Iterable[Progress],
    curves: Mapping[str, np.ndarray],
    agreement: pd.DataFrame,
    schema: Schema,
    version: str,
    threshold: int,
) -> str:
    """Return the page.

    Parameters
    ----------
    name : str
        Of the run.
    about : mapping
        The content of its ``run.yaml``.
    maps : iterable of mapping
        Of each map: name, file, fingerprint, and whatever is worth saying of it.
    objects : DataFrame
        Those to show, as of `Run.objects`.
    pictures : iterable of Picture
        One an object.
    labels : DataFrame
        As of `LabelLog.table`.
    progress : iterable of Progress
        One an annotator.
    curves : mapping of str to (n,) array of int
        By annotator: interesting frames after each look.
    agreement : DataFrame
        As of `radiowidgets.labels.agreement.agreement`.
    schema : Schema
        Colours of the tags.
    version : str
        Of radiowidgets, now.
    threshold : int
        Interest from which a frame is interesting.
    """
    progress = list(progress)
    page = ET.Element("html", {"lang": "en"})
    head = _add(page, "head")
    _add(head, "meta", charset="utf-8")
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    _add(head, "meta", {"http-equiv": "Content-Security-Policy", "content": policy})
    _add(head, "meta", name="viewport", content="width=device-width")
    _add(head, "title", text=f"{name}: report")
    ET.SubElement(head, "style").text = _STYLE
    body = _add(page, "body")
    maps = list(maps)
    _header(body, name, about, maps)
    _figures(body, about, objects, labels, progress, threshold)
    sheet = _add(body, "main", {"class": "sheet"})
    for row, picture in zip(objects.to_dict("records"), pictures, strict=True):
        _object(sheet, row, picture, schema)
    columns = _add(body, "section", {"class": "columns"})
    _yield(_add(columns, "div"), curves, progress, threshold)
    _labels(_add(columns, "div"), labels, agreement, progress, schema)
    _settings(_add(body, "section"), about, maps)
    made = (about.get("versions") or {}).get("radiowidgets", "?")
    _add(
        body,
        "footer",
        text="Positions are centroids of the emission (ICRS); sizes are its largest extent above 3 times the noise, "
        "beam included. Pictures run from -2 to 40 times the noise, asinh. Made with radiowidgets "
        f"{made}, reported with {version}. Cite the maps by their own papers.",
    )
    return "<!DOCTYPE html>\n" + ET.tostring(page, encoding="unicode", method="html") + "\n"


# ------------------------------------------------------------ parts of the page


def _header(body: ET.Element, name: str, about: Mapping[str, Any], maps: list[Mapping[str, Any]]) -> None:
    header = _add(body, "header")
    left, right = _add(header, "div"), _add(header, "div", {"class": "made"})
    _add(left, "h1", text=name)
    names = ", ".join(str(entry.get("map", "")) for entry in maps[:4]) + (
        " and more" if len(maps) > 4 else ""
    )
    _add(left, "p", text=f"Peculiar objects of {names or 'images without a map'}")
    day = str(about.get("created", ""))[:10]
    _add(right, "p", text=f"ranked {day}")


def _figures(
    body: ET.Element,
    about: Mapping[str, Any],
    objects: pd.DataFrame,
    labels: pd.DataFrame,
    progress: list[Progress],
    threshold: int,
) -> None:
    """Add the numbers that say how it went."""
    rated = labels.dropna(subset=["interest"])
    high = rated.groupby("frame_id")["interest"].mean() >= threshold
    found = int((objects["interest"] >= threshold).sum())
    numbers = [
        (f"{about['frames'].get('count', 0):,}", "frames"),
        (f"{labels['frame_id'].nunique():,}", "looked at"),
        (f"{len(high):,}", "rated"),
        (f"{int(high.sum()):,}", f"frames rated {threshold} or more"),
        (f"{found:,}", "interesting objects below"),
        (str(len(progress)), "annotator" if len(progress) == 1 else "annotators"),
    ]
    row = _add(body, "div", {"class": "figures"})
    for number, what in numbers:
        cell = _add(row, "div")
        _add(cell, "b", text=number)
        _add(cell, "span", text=what)


def _object(sheet: ET.Element, row: Mapping[Any, Any], picture: Picture, schema: Schema) -> None:
    figure = _add(sheet, "figure")
    sky = _add(figure, "span", {"class": "sky"})
    called = str(row["name"] or row["frame_id"])
    source = "data:image/png;base64," + base64.b64encode(picture.png).decode("ascii")
    _add(sky, "img", alt=_line(f"radio image of {called}"), src=source)
    if picture.bar is not None:
        length, text = picture.bar
        svg = _add(sky, "svg", {"viewBox": "0 0 100 100", "aria-hidden": "true"})
        _add(svg, "path", d=f"M{95 - 100 * length:.2f} 95H95", stroke="#fff", **{"stroke-width": "1.2"})
        label = {"text-anchor": "end", "font-size": "7", "fill": "#fff"}
        _add(svg, "text", label, text=text, x="95", y="92")
    _add(sky, "span", {"class": "rank"}, text=f"{int(row['rank'])}")
    caption = _add(figure, "figcaption")
    _add(caption, "div", {"class": "name", "title": _line(called)}, text=called)
    facts = _add(caption, "div", {"class": "facts"})
    size = row.get("size", math.nan)
    told = f"score {row['score']:.3f}" + ("" if not np.isfinite(size) else f" · {_angle(size)}")
    _add(facts, "span", text=told)
    if np.isfinite(row["interest"]):
        _dots(facts, float(row["interest"]))
    tags = [tag for tag in str(row["tags"] or "").split(";") if tag]
    if tags:
        chips = _add(caption, "div", {"class": "tags"})
        for tag in tags[:MOST_TAGS]:
            _chip(chips, tag, schema)
        if len(tags) > MOST_TAGS:
            _add(
                chips,
                "span",
                {"class": "more", "title": _line(", ".join(tags[MOST_TAGS:]))},
                text=f"+{len(tags) - MOST_TAGS}",
            )
    if row.get("note"):
        _add(caption, "div", {"class": "note"}, text=row["note"])


def _dots(parent: ET.Element, interest: float) -> None:
    full = math.floor(interest + 0.5)
    dots = _add(
        parent, "span", {"class": "dots", "title": f"interest {interest:g} of {HIGHEST}"}, text="●" * full
    )
    _add(dots, "i", text="●" * (HIGHEST - full))


def _chip(parent: ET.Element, tag: str, schema: Schema) -> ET.Element:
    known = schema.tags.get(tag)
    colour, ink = (known.colour, known.text_colour) if known else ("#e3e6ea", "#1b1f27")
    return _add(parent, "span", {"class": "tag", "style": f"background:{colour};color:{ink}"}, text=tag)


def _yield(
    part: ET.Element, curves: Mapping[str, np.ndarray], progress: list[Progress], threshold: int
) -> None:
    _add(part, "h2", text="Yield of the looks")
    curves = {who: curve for who, curve in curves.items() if len(curve)}
    if not curves:
        _add(part, "p", {"class": "none"}, text="Nobody has looked at these frames yet.")
        return
    _curve(part, curves, f"frames rated {threshold} or more")
    legend = _add(part, "div", {"class": "legend"})
    words = {one.annotator: one for one in progress}
    for k, (who, curve) in enumerate(curves.items()):
        item = _add(legend, "span")
        mark = _add(item, "i", style=f"background:{_SERIES[k % len(_SERIES)]}")
        mark.tail = _line(f"{who}: {int(curve[-1])} in {len(curve)} looks{_ahead(words.get(who))}")


def _ahead(one: Progress | None) -> str:
    if one is None or one.expected is None or not one.ahead:
        return ""
    low, high = one.expected.low, one.expected.high
    return f"; {low:.0f} to {high:.0f} expected in the next {one.ahead}"


def _curve(part: ET.Element, curves: Mapping[str, np.ndarray], what: str) -> None:
    """Draw cumulative counts as steps."""
    wide, tall, left, low, top = 460, 215, 40, 34, 10
    most_x = max(len(curve) for curve in curves.values())
    most_y = max(1, *(int(curve[-1]) for curve in curves.values()))
    ticks_x, ticks_y = _ticks(most_x), _ticks(most_y)
    high_x, high_y = max(most_x, ticks_x[-1]), max(most_y, ticks_y[-1])

    def x(value: float) -> str:
        return f"{left + (wide - left - 12) * value / high_x:.1f}"

    def y(value: float) -> str:
        return f"{tall - low - (tall - low - top) * value / high_y:.1f}"

    title = f"Yield: {what} against frames looked at"
    svg = _add(
        part, "svg", {"class": "chart", "viewBox": f"0 0 {wide} {tall}", "role": "img", "aria-label": title}
    )
    small = {"font-size": "10.5", "fill": "#59616e"}
    for tick in ticks_y:
        _add(svg, "path", d=f"M{left} {y(tick)}H{wide - 12}", stroke="#dfe3e8" if tick else "#1b1f27")
        _add(
            svg,
            "text",
            {**small, "text-anchor": "end"},
            text=f"{tick:,}",
            x=str(left - 6),
            y=f"{float(y(tick)) + 3.5:.1f}",
        )
    for tick in ticks_x:
        _add(
            svg,
            "text",
            {**small, "text-anchor": "middle"},
            text=f"{tick:,}",
            x=x(tick),
            y=str(tall - low + 14),
        )
    _add(
        svg,
        "text",
        {**small, "text-anchor": "end"},
        text="frames looked at",
        x=str(wide - 12),
        y=str(tall - 4),
    )
    _add(svg, "text", small, text=what, x=str(left + 6), y=str(top + 10))
    for k, curve in enumerate(curves.values()):
        colour = _SERIES[k % len(_SERIES)]
        line = {"fill": "none", "stroke": colour, "stroke-width": "2", "stroke-linejoin": "round"}
        _add(svg, "path", line, d=_steps(curve, x, y))
        _add(svg, "circle", cx=x(len(curve)), cy=y(int(curve[-1])), r="3", fill=colour)


def _steps(curve: np.ndarray, x: Any, y: Any) -> str:
    """Return a path that rises where the count does; of very many rises some are taken together."""
    rises = np.flatnonzero(np.diff(curve, prepend=0))
    if len(rises) > 400:
        rises = rises[np.linspace(0, len(rises) - 1, 400).astype(int)]
    steps = "".join(f"H{x(int(k) + 1)}V{y(int(curve[k]))}" for k in rises)
    return f"M{x(0)} {y(0)}{steps}H{x(len(curve))}"


def _ticks(most: int) -> list[int]:
    """Return three to six round numbers from 0 to about `most`."""
    rough = max(1.0, most / 4)
    power = 10 ** math.floor(math.log10(rough))
    step = int(next(power * k for k in (1, 2, 5, 10) if power * k >= rough))
    return list(range(0, most + step // 2 + 1, step)) if most >= step else [0, most]


def _labels(
    part: ET.Element, labels: pd.DataFrame, agreement: pd.DataFrame, progress: list[Progress], schema: Schema
) -> None:
    _add(part, "h2", text="Labels")
    if not len(labels):
        _add(part, "p", {"class": "none"}, text="None yet: open the run in Review, look, rate and tag.")
        return
    counts = labels["interest"].dropna().astype(int).value_counts()
    if len(counts):
        bars = _add(_add(part, "table", {"class": "bars"}), "tbody")
        for level in range(HIGHEST, -1, -1):
            count = int(counts.get(level, 0))
            row = _add(bars, "tr")
            _dots(_add(row, "td"), level)
            cell = _add(row, "td")
            _add(cell, "span", {"class": "bar", "style": f"width:{100 * count / counts.max():.1f}%"})
            _add(row, "td", text=f"{count:,}")
    pairs = labels[["frame_id", "tags"]].explode("tags").dropna().drop_duplicates()
    if len(pairs):
        chips = _add(part, "div", {"class": "counts"})
        for tag, count in pairs["tags"].value_counts().items():
            item = _add(chips, "span")
            _chip(item, str(tag), schema).tail = f" {count:,}"
    rows = [
        (one.annotator, one.looks, one.rated, one.interesting, _again(one)) for one in progress if one.looks
    ]
    _table(part, ("annotator", "looks", "rated", "interesting", "same again"), rows)
    shared = agreement[agreement["frames"] > 0] if len(agreement) else agreement
    if len(shared):
        told = [
            (about, int(row["frames"]), f"{row['same']:.0%}", _two(row["kappa"]), _two(row["alpha"]))
            for about, row in shared.iterrows()
        ]
        _table(part, ("agreement of annotators", "frames", "same", "kappa", "alpha"), told[:MOST_AGREEMENTS])


def _again(one: Progress) -> str:
    return f"{one.agree:.0%} of {one.repeats}" if one.repeats and one.agree is not None else "–"


def _two(value: float) -> str:
    return f"{value:.2f}" if np.isfinite(value) else "–"


def _settings(part: ET.Element, about: Mapping[str, Any], maps: list[Mapping[str, Any]]) -> None:
    _add(part, "h2", text="Made with")
    block = _add(part, "div", {"class": "settings"})
    ranking, frames = about.get("ranking") or {}, about["frames"]
    parameters = about.get("parameters") or {}
    seed = ranking.get("seed", parameters.get("seed", "none noted"))
    rows = [("ranking", ranking.get("method", "given")), ("seed", seed)]
    rows += [(str(key), value) for key, value in parameters.items() if key != "seed"]
    rows += [("frames", f"{frames.get('count')}, geometry {frames.get('geometry', '?')}")]
    versions = about.get("versions") or {}
    rows += [("versions", ", ".join(f"{key} {value}" for key, value in versions.items()))]
    _table(block, (), rows)
    for entry in maps:
        shown = [(str(key), value) for key, value in entry.items() if value not in ("", None)]
        _table(block, (), shown)


# ------------------------------------------------------------ elements


def _add(
    parent: ET.Element,
    tag: str,
    attributes: Mapping[str, str] | None = None,
    /,
    text: Any = None,
    **more: str,
) -> ET.Element:
    element = ET.SubElement(parent, tag, {**(attributes or {}), **more})
    if text is not None:
        element.text = _line(text)
    return element


def _line(text: Any) -> str:
    """Return a text in one line, without what a page may not hold or what turns its direction."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in str(text)).split())


def _table(parent: ET.Element, heads: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    if not rows:
        return
    table = _add(parent, "table")
    kinds = [{"class": "number"} if heads and k else {} for k in range(len(rows[0]))]
    if heads:
        line = _add(_add(table, "thead"), "tr")
        for head, kind in zip(heads, kinds, strict=True):
            _add(line, "th", kind, text=head)
    body = _add(table, "tbody")
    for row in rows:
        line = _add(body, "tr")
        for cell, kind in zip(row, kinds, strict=True):
            text = f"{cell:,}" if isinstance(cell, int) and heads else cell
            _add(line, "td", kind, text=text)


def _angle(arcsec: float) -> str:
    """Return an angle as one says it.

    Examples
    --------
    >>> _angle(42.3), _angle(150), _angle(7200)
    ('42″', '2.5′', '2°')
    """
    for unit, mark in ((3600, "°"), (60, "′")):
        if arcsec >= 1.5 * unit:
            return f"{arcsec / unit:.2g}{mark}"
    return f"{arcsec:.0f}″" if arcsec >= 1 else f"{arcsec:.1g}″"


def scale_bar(side: float) -> tuple[float, str] | None:
    """Return a bar for a picture `side` arcsec wide, as `Picture.bar`: the longest round one of at most 30 %."""
    if not np.isfinite(side) or side <= 0:
        return None
    units = [k * unit for unit in (0.01, 0.1, 1, 60, 3600) for k in (1, 2, 5, 10, 20, 30)]
    length = max((value for value in units if value <= 0.3 * side), default=None)
    return None if length is None else (length / side, _angle(length))
