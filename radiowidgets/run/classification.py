"""Classify the sources of a map by a trained model, into a run: compact-sources section 6."""

from __future__ import annotations

import colorsys
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from radiowidgets.data.bands import cut_bands
from radiowidgets.data.catalogues import read_catalogue
from radiowidgets.data.cutouts import cut_sources
from radiowidgets.data.detection import find_sources
from radiowidgets.data.maps import SkyMap
from radiowidgets.data.matches import as_radius, cross_match
from radiowidgets.errors import ParameterError, RunError
from radiowidgets.features.frames import frame_features
from radiowidgets.labels.schema import RESERVED_KEYS, Schema, Tag
from radiowidgets.models.cards import read_card
from radiowidgets.ranking.isolation import score_table
from radiowidgets.run import Run
from radiowidgets.run.files import write_whole

if TYPE_CHECKING:
    from radiowidgets.data.frames import FrameSet
    from radiowidgets.models.boosting import Boosting
    from radiowidgets.models.cnn import SourceNetwork

RADIO, ALPHA = "radio", "alpha"
WIDTH, SHOWN = 6.0, 2.5  # r_s: of the cutouts, in which the noise is measured; of what a network is shown
CUTOUTS, CLASSES, FEATURES = "bands", "classes.csv", "compact_features.parquet"


def load_model(folder: str | os.PathLike[str]) -> Boosting | SourceNetwork:
    """Read a trained classifier of either kind from its folder; its card tells which.

    Raises
    ------
    DataError
        If the folder holds none, or a damaged one.
    MissingExtraError
        If what it needs (LightGBM or Keras) is not installed.
    """
    if read_card(folder).kind == "boosting":
        from radiowidgets.models.boosting import load_boosting

        return load_boosting(folder)
    from radiowidgets.models.cnn import load_network

    return load_network(folder)


def classify(
    sky: SkyMap | str | os.PathLike[str],
    catalogue: pd.DataFrame | str | os.PathLike[str],
    model: Boosting | SourceNetwork | str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    bands: Mapping[str, SkyMap | str | os.PathLike[str]] | None = None,
    width: float = WIDTH,
    shown: float = SHOWN,
    annotator: str | None = None,
    progress: bool = False,
) -> Run:
    """Tell what the sources of a map are, and make a run of them for review, the least familiar first.

    Beside what every run holds, the folder has ``classes.csv``: name, position, label, probability, p_<CLASS> of each
    class (calibrated, as the model's card says), distance from the training data (about 1 where all is usual) and
    unlike, whether it is farther away than all but 1 % of held-out sources; ``compact_features.parquet``, where there
    are several bands; and ``bands``, the cutouts, to be read by `open_bands`. Given again after it was stopped, it
    goes on.

    Parameters
    ----------
    sky : SkyMap or path
        The radio map.
    catalogue : DataFrame or path
        Sources with ra and dec (degrees) and radius (arcsec), see `find_sources` and `read_catalogue`. Without a
        radius it is that of the island of the map at that place; a source without one is left out. The polygons of
        DS9 regions mask the sources. A column alpha is taken as the radio spectral index.
    model : Boosting, SourceNetwork or path
        Or the folder that it was saved to.
    path
        The run folder.
    bands : mapping of str to SkyMap or path, optional
        Infrared maps by the names that the model knows, such as '12um'. Trees take a missing band as missing.
    width, shown : float
        Side of the cutouts in source radii, and of the part that networks are shown; as they were trained.
    annotator : str, optional
        See `Run.create`.
    progress : bool
        Whether to show a bar.

    Returns
    -------
    Run
        Ranked by the distance from the training data. Its tags are the classes; p_<CLASS>, probability, distance and
        unlike are columns of it, and the label is named with the source.

    Raises
    ------
    ParameterError
        If the model needs bands that are not given, or no source is left.
    """
    model = load_model(model) if isinstance(model, str | os.PathLike) else model
    opened = {RADIO: _open(sky)} | {name: _open(other) for name, other in (bands or {}).items()}
    needed = _check_bands(model, opened)
    regions = catalogue if not isinstance(catalogue, pd.DataFrame) else None
    sources = catalogue if isinstance(catalogue, pd.DataFrame) else read_catalogue(catalogue)
    sources = _with_radii(sources, opened[RADIO])
    folder = Path(path)
    # What is being made ends in .part, which a run folder may hold before it is one.
    place = folder / CUTOUTS if (folder / CUTOUTS).is_dir() else folder / f"{CUTOUTS}.part"
    cutouts = cut_bands(opened, sources, place, size=width, progress="cutting" if progress else None)
    table, features = _predict(model, needed, cutouts, _masks(regions, cutouts), shown / width)
    assert cutouts.sources is not None
    known = cutouts.sources.assign(diameter=2 * cutouts.sources["radius"])
    frames = cut_sources(opened[RADIO], known, factor=width / 2, extent="diameter")
    if len(frames) != len(cutouts):
        raise RunError(
            f"{len(cutouts)} cutouts and {len(frames)} frames of the map do not fit; report this, please."
        )
    run = _make_run(folder, frames, table, model, annotator)
    if place.name.endswith(".part"):
        place.replace(folder / CUTOUTS)
    if features is not None:
        write_whole(folder / FEATURES, features.rename_axis("name").reset_index().to_parquet(index=False))
    written = table.rename_axis("name").reset_index()
    written.insert(1, "ra", cutouts.ra)
    written.insert(2, "dec", cutouts.dec)
    write_whole(folder / CLASSES, written.to_csv(index=False).encode())
    sure = [f"{label} {share:.2f}" for label, share in zip(table["label"], table["probability"], strict=True)]
    said = [
        text + ", unlike the training data" * bool(odd)
        for text, odd in zip(sure, table["unlike"], strict=True)
    ]
    run.attach(model.card.name, pd.DataFrame({"name": said, "ra": cutouts.ra, "dec": cutouts.dec}))
    return run


# ------------------------------------------------------------------------------------


def _open(sky: SkyMap | str | os.PathLike[str]) -> SkyMap:
    return sky if isinstance(sky, SkyMap) else SkyMap.open(sky)


def _check_bands(model: Any, opened: Mapping[str, SkyMap]) -> list[str]:
    """Return the bands that the model takes; what trees lack is said, what a network lacks is an error."""
    inputs = model.card.inputs
    if model.card.kind == "network":
        needed = list(inputs)
    else:
        needed = list(
            dict.fromkeys(name.split("_", 1)[1] for name in inputs if "_" in name and name != ALPHA)
        )
    lacking = [band for band in needed if band not in opened]
    if lacking and (model.card.kind == "network" or len(opened) == 1):
        raise ParameterError(
            f"the model {model.card.name!r} takes {', '.join(needed)}; give a map of {', '.join(lacking)} too "
            f"(bands={{{lacking[0]!r}: ...}}, --band {lacking[0]}=MAP.fits)."
        )
    if lacking:
        warnings.warn(f"no map of {', '.join(lacking)}: the trees take it as missing.", stacklevel=3)
    return needed


def _with_radii(sources: pd.DataFrame, sky: SkyMap) -> pd.DataFrame:
    """Return sources with the radius of their islands, where they have none."""
    if "radius" in sources.columns:
        return sources
    found = find_sources(sky)
    reach = sky.beam if sky.beam is not None else 5 * (sky.pixel_scale or 1.0)
    pairs = cross_match(sources, found, as_radius(reach)).sort_values("separation").drop_duplicates("a")
    radius = np.full(len(sources), np.nan)
    radius[pairs["a"].to_numpy()] = found["radius"].to_numpy()[pairs["b"].to_numpy()]
    return sources.assign(radius=radius)


def _masks(path: Any, cutouts: FrameSet) -> Any:
    """Return the masks of DS9 polygons, None for other catalogues."""
    from radiowidgets.features.photometry import polygon_masks

    return polygon_masks(path, cutouts) if path is not None and Path(path).suffix.lower() == ".reg" else None


def _predict(
    model: Any, needed: list[str], cutouts: FrameSet, masks: Any, inner: float
) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """Return what the model says of each cutout, and the features where there are several bands."""
    features = None
    if len(cutouts.channels or ()) > 1:
        from radiowidgets.features.photometry import compact_features

        features = compact_features(cutouts, masks, inner=inner)
        if cutouts.sources is not None and ALPHA in cutouts.sources:
            features[ALPHA] = cutouts.sources[ALPHA].to_numpy(float)
    if model.card.kind == "network":
        from radiowidgets.models.cnn import radio_masks, source_images

        masks = radio_masks(cutouts) if masks is None else masks
        images = source_images(cutouts, masks, size=model.size, inner=inner, bands=needed)
        return model.predict(images, cutouts.frame_ids), features
    assert features is not None
    return model.predict(
        features.reindex(columns=[*features, *(set(model.card.inputs) - set(features))])
    ), features


def _make_run(folder: Path, frames: FrameSet, table: pd.DataFrame, model: Any, annotator: str | None) -> Run:
    """Write the run: frames of the radio map, their features with those of the classes, ranked by distance."""
    numbers = table.drop(columns="label").astype(float)
    numbers["distance"] = numbers["distance"].fillna(0.0)
    numbers.index = pd.Index(frames.frame_ids, name="frame_id")
    scores = score_table(frames.frame_ids, numbers["distance"].to_numpy())
    scores.attrs["method"] = f"distance from the training data of {model.card.name}"
    features = frame_features(frames)
    features = features.drop(columns=[name for name in features if name in numbers]).join(numbers)
    about = {"model": model.card.name, "kind": model.card.kind, "sha256": model.card.sha256}
    schema = _schema(model.card.classes)
    return Run.create(
        folder,
        frames,
        None,
        scores,
        features,
        schema=schema,
        annotator=annotator,
        parameters={"classified by": about},
    )


def _schema(classes: tuple[str, ...]) -> Schema:
    """Return the classes as tags, each with a key of its own where a letter is free."""
    tags: list[Tag] = []
    taken = set(RESERVED_KEYS)
    for k, name in enumerate(classes):
        key = next(
            (
                letter
                for letter in f"{name.lower()}abcdefghijklmnopqrstuvwxyz"
                if letter.isalpha() and letter not in taken
            ),
            None,
        )
        taken |= {key} if key else set()
        red, green, blue = (round(255 * part) for part in colorsys.hls_to_rgb(k / len(classes), 0.42, 0.65))
        tags.append(Tag(name, key, f"#{red:02x}{green:02x}{blue:02x}", f"A person says that it is {name}."))
    return Schema(tags)
