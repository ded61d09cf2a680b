"""From radio survey maps to a ranked, labelled, explained list of peculiar objects, in Jupyter.

Examples
--------
>>> import radiowidgets as rw
>>> sky = rw.simulate("emu", size=512, seed=1)
>>> frames = rw.cut_windows(sky, size=128)
>>> len(frames)
49
"""

import importlib
from typing import Any

__version__ = "0.1.0"

# The public names and the modules that hold them; each is imported when first used.
_HOMES = {
    "SkyMap": "data.maps",
    "Frame": "data.frames",
    "FrameSet": "data.frames",
    "cut_windows": "data.frames",
    "cut_sources": "data.cutouts",
    "simulate": "data.simulate",
    "find_sources": "data.detection",
    "find": "finding.finders",
    "read_catalogue": "data.catalogues",
    "fetch_map": "data.services",
    "plan_map": "data.services",
    "cross_match": "data.matches",
    "frame_features": "features.frames",
    "compact_features": "features.photometry",
    "rank": "ranking.isolation",
    "LabelLog": "labels.log",
    "Schema": "labels.schema",
    "Run": "run",
    "classify": "run.classification",
    "embed": "latent.embedding",
    "project": "latent.projection",
    "Review": "widgets.review",
    "Relabel": "widgets.relabel",
    "Outline": "widgets.outline",
    "LatentExplorer": "widgets.explorer",
    "ViewsExplorer": "widgets.views",
    "ThresholdExplorer": "widgets.companions",
    "FeatureExplorer": "widgets.companions",
    "MapExplorer": "widgets.companions",
    "link": "widgets.companions",
    "LiveCurves": "widgets.curves",
    "extension": "widgets.plots",
    "show_channels": "widgets.plots",
    "show_curve": "widgets.plots",
    "show_map": "widgets.plots",
    "show_points": "widgets.plots",
    "RadioWidgetsError": "errors",
}

__all__ = ["__version__", *_HOMES]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
