"""What a paper or a log book says of a run: inputs, parameters, counts, yield, and how to cite it (Markdown)."""

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from radiowidgets.labels.progress import Estimate, Progress

_MARKS = {ord(mark): f"\\{mark}" for mark in "\\`*_[]#|~$"} | {
    ord("<"): "&lt;",
    ord(">"): "&gt;",
    ord("&"): "&amp;",
}
HIGHEST = 5


def write_summary(
    name: str,
    about: Mapping[str, Any],
    maps: Iterable[Mapping[str, Any]],
    labels: pd.DataFrame,
    progress: Iterable[Progress],
    *,
    version: str,
) -> str:
    """Return the summary of a run as Markdown; texts of people and headers are written so that they stay text.

    Parameters
    ----------
    name : str
        Of the run.
    about : mapping
        The content of its ``run.yaml``.
    maps : iterable of mapping
        Of each map: name, file, fingerprint, and whatever is worth saying of it.
    labels : DataFrame
        As of `LabelLog.table`.
    progress : iterable of Progress
        One an annotator.
    version : str
        Of radiowidgets, now.
    """
    progress = list(progress)
    ranking = about.get("ranking") or {}
    made = (about.get("versions") or {}).get("radiowidgets", "?")
    facts = [
        ("Frames", about["frames"].get("count")),
        ("Made", f"{about.get('created', '?')} with radiowidgets {made}"),
        ("Summary", f"radiowidgets {version}"),
        ("Ranking", ranking.get("method", "given")),
        ("Tags to choose from", about.get("schema", "")),
        ("Seed", ranking.get("seed", about["parameters"].get("seed", "none noted"))),
    ]
    parameters = [(key, value) for key, value in about["parameters"].items() if key != "seed"]
    versions = [(key, value) for key, value in (about.get("versions") or {}).items() if key != "radiowidgets"]
    parts = [
        f"# {_text(name)}",
        _table(("", ""), facts),
        "## Maps",
        _dicts(maps) or "Images without a map.",
        "## Parameters",
        _table(("parameter", "value"), parameters) or "None noted.",
        "## Labels",
        _table(("annotator", "looked at", "rated", "tagged", "notes"), _people(labels)) or "None yet.",
        _table(("interest", "frames"), _interests(labels)),
        _table(("tag", "frames"), _tags(labels)),
        "## Yield" if any(one.looks for one in progress) else "",
        *(_yield(one) for one in progress if one.looks),
        "## Versions",
        _table(("package", "version"), versions),
        "## How to cite",
        _cite(name, about, made),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _people(labels: pd.DataFrame) -> list[tuple[Any, ...]]:
    return [
        (
            who,
            len(mine),
            int(mine["interest"].notna().sum()),
            int((mine["tags"].map(len) > 0).sum()),
            int(mine["note"].notna().sum()),
        )
        for who, mine in labels.groupby("annotator")
    ]


def _interests(labels: pd.DataFrame) -> list[tuple[Any, ...]]:
    counts = labels["interest"].dropna().astype(int).value_counts()
    return [(level, int(counts.get(level, 0))) for level in range(HIGHEST, -1, -1)] if len(counts) else []


def _tags(labels: pd.DataFrame) -> list[tuple[Any, ...]]:
    pairs = labels[["frame_id", "tags"]].explode("tags").dropna().drop_duplicates()
    return [(tag, int(count)) for tag, count in pairs["tags"].value_counts().items()]


def _yield(one: Progress) -> str:
    def share(estimate: Estimate | None) -> str:
        if estimate is None:
            return "not known"
        return f"{estimate.value:.1%} (95 %: {estimate.low:.1%} to {estimate.high:.1%})"

    def count(estimate: Estimate | None) -> str:
        if estimate is None:
            return "not known"
        return f"{estimate.value:.1f} (95 %: {estimate.low:.1f} to {estimate.high:.1f})"

    rows: list[tuple[Any, Any]] = [
        (f"rated at least {one.threshold}", f"{one.interesting} of {one.rated}"),
        ("yield", share(one.yield_so_far)),
        (f"expected in the next {one.ahead} looks", count(one.expected)),
        ("interesting among random looks", f"{one.random_interesting} of {one.random_looks}"),
        ("interesting ones not looked at", count(one.missed)),
        ("blind repeats", one.repeats),
    ]
    if one.repeats:
        kappa = "undefined" if one.kappa is None else f"{one.kappa:.2f}"
        rows.append(
            (
                "same again, within one, weighted kappa",
                f"{one.agree:.0%}, {one.agree_within_one:.0%}, {kappa}",
            )
        )
    return _table((one.annotator, ""), rows)


def _cite(name: str, about: Mapping[str, Any], version: str) -> str:
    year = str(about.get("created", ""))[:4]
    frames = about["frames"]
    text = (
        f"Frames were ranked and reviewed with radiowidgets {_text(version)} (run “{_text(name)}”, "
        f"{frames.get('count')} frames, geometry {frames.get('geometry', '?')}). "
        "The maps above are to be cited by their own papers."
    )
    entry = [
        "@software{radiowidgets,",
        "  author  = {{The radiowidgets developers}},",
        "  title   = {radiowidgets},",
        f"  version = {{{_line(version)}}},",
        f"  year    = {{{_line(year)}}},",
        "}",
    ]
    return text + "\n\n```bibtex\n" + "\n".join(entry).replace("`", "'") + "\n```"


def _dicts(rows: Iterable[Mapping[str, Any]]) -> str:
    rows = list(rows)
    heads = list(dict.fromkeys(key for row in rows for key in row))
    return _table(heads, [tuple(row.get(head, "") for head in heads) for row in rows])


def _table(heads: Iterable[str], rows: Iterable[tuple[Any, ...]]) -> str:
    rows, heads = list(rows), list(heads)
    if not rows:
        return ""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(
        "| " + " | ".join(cell if cell == "---" else _text(cell) for cell in line) + " |" for line in lines
    )


def _line(value: Any) -> str:
    return " ".join("".join(letter if letter.isprintable() else " " for letter in str(value)).split())


def _text(value: Any) -> str:
    """Return what Markdown shows as `value`, in one line: no markup, no HTML, no cell of its own."""
    return _line(value).translate(_MARKS)
