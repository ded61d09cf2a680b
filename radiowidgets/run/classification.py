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
from radiowidgets.data.cutouts import cut_sources, numbers
from radiowidgets.data.detection import find_sources
from radiowidgets.data.headers import world_coordinates
from radiowidgets.data.maps import SkyMap
from radiowidgets.data.matches import as_radius, cross_match
from radiowidgets.errors import ParameterError
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
    width: float | None = None,
    shown: float | None = None,
    annotator: str | None = None,
    progress: bool = False,
) -> Run:
    """Tell what the sources of a map are, and make a run of them for review, the least familiar first.

    Beside what every run holds, the folder has ``classes.csv``: name, frame_id, position, label, probability,
    p_<CLASS> of each class (calibrated, as the model's card says), distance from the training data (about 1 where all
    is usual) and unlike, whether it is farther away than all but 1 % of held-out sources. A source that the radio map
    does not show at the common resolution, or of which no band tells anything, is infinitely far away: what is said
    of it rests on nothing. ``compact_features.parquet`` is there where there are several bands; ``bands`` holds the
    cutouts, to be read by `open_bands`. Given again after it was stopped, it goes on.

    Parameters
    ----------
    sky : SkyMap or path
        The radio map.
    catalogue : DataFrame or path
        Sources with ra and dec (degrees), or x and y (pixels from 0), and radius (arcsec), see `find_sources` and
        `read_catalogue`. Without a radius it is that of the island of the map at that place; a source without one is
        left out. The polygons of DS9 regions, on the sky or in pixels of the map, mask the sources. A column alpha is
        taken as the radio spectral index, see `spectral_indices`.
    model : Boosting, SourceNetwork or path
        Or the folder that it was saved to.
    path
        The run folder.
    bands : mapping of str to SkyMap or path, optional
        Infrared maps by the names that the model knows, such as '12um'. Trees take a missing band as missing.
    width, shown : float, optional
        Side of the cutouts in source radii, in which the noise is measured, and of the part that networks and the SSIM
        see. They should be those of the training. Default: width and shown of the data of the model's card, which
        trees take over from `compact_features`, else 6 and 2.5.
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
        If the model needs what is not given and cannot be measured, or no source is left.
    """
    model = load_model(model) if isinstance(model, str | os.PathLike) else model
    opened = {RADIO: _open(sky)} | {name: _open(other) for name, other in (bands or {}).items()}
    needed = _check_bands(model, opened)
    regions = catalogue if not isinstance(catalogue, pd.DataFrame) else None
    sources = catalogue if isinstance(catalogue, pd.DataFrame) else read_catalogue(catalogue)
    sources = _with_radii(_with_positions(sources, opened[RADIO]), opened[RADIO])
    width, shown = _sides(model, width, shown)
    folder = Path(path)
    # What is being made ends in .part, which a run folder may hold before it is one.
    place = folder / CUTOUTS if (folder / CUTOUTS).is_dir() else folder / f"{CUTOUTS}.part"
    cutouts = cut_bands(opened, sources, place, size=width, progress="cutting" if progress else None)
    assert cutouts.sources is not None
    known = cutouts.sources.assign(diameter=2 * cutouts.sources["radius"])
    frames = cut_sources(opened[RADIO], known, factor=width / 2, extent="diameter")
    if len(frames) != len(cutouts):
        raise ParameterError(
            f"{len(cutouts) - len(frames)} of {len(cutouts)} sources are many times as wide as the map; is their "
            "radius in arcsec? Leave them out."
        )
    table, features = _predict(model, needed, cutouts, _masks(regions, cutouts, opened[RADIO]), shown / width)
    run = _make_run(folder, frames, table, model, annotator)
    if place.name.endswith(".part"):
        place.replace(folder / CUTOUTS)
    if features is not None:
        write_whole(folder / FEATURES, features.rename_axis("name").reset_index().to_parquet(index=False))
    written = table.rename_axis("name").reset_index()
    written.insert(1, "frame_id", frames.frame_ids)
    written.insert(2, "ra", cutouts.ra)
    written.insert(3, "dec", cutouts.dec)
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


def _sides(model: Any, width: float | None, shown: float | None) -> tuple[float, float]:
    """Return the sides of the cutouts and of what is shown, in source radii: those of the training, if it is known."""
    told = model.card.data
    wide, inner = (
        default if value is None else value
        for value, default in ((width, told.get("width", WIDTH)), (shown, told.get("shown", SHOWN)))
    )
    if not all(isinstance(value, int | float) for value in (wide, inner)) or not 0 < inner <= wide:
        raise ParameterError(
            f"the cutouts are {wide!r} source radii wide and {inner!r} of it are shown; give 0 < shown <= width."
        )
    return float(wide), float(inner)


def _with_positions(sources: pd.DataFrame, sky: SkyMap) -> pd.DataFrame:
    """Return sources with positions on the sky, where all are told in pixels of the map."""
    if sky.wcs is None or not {"x", "y"} <= set(sources.columns):
        return sources
    if {"ra", "dec"} <= set(sources.columns) and np.isfinite(numbers(sources, "ra")).any():
        return sources
    ra, dec = world_coordinates(sky.wcs, numbers(sources, "x"), numbers(sources, "y"))
    return sources.assign(ra=ra, dec=dec)


def _with_radii(sources: pd.DataFrame, sky: SkyMap) -> pd.DataFrame:
    """Return sources with the radius of their islands, where they have none."""
    radius = np.full(len(sources), np.nan)
    if "radius" in sources.columns:
        radius[:] = numbers(sources, "radius")
    without = np.flatnonzero(np.isnan(radius))
    if not len(without):
        return sources
    found = find_sources(sky)
    reach = sky.beam if sky.beam is not None else 5 * (sky.pixel_scale or 1.0)
    pairs = cross_match(sources.iloc[without], found, as_radius(reach))
    pairs = pairs.sort_values("separation").drop_duplicates("a")
    radius[without[pairs["a"].to_numpy()]] = found["radius"].to_numpy()[pairs["b"].to_numpy()]
    return sources.assign(radius=radius)


def _masks(path: Any, cutouts: FrameSet, sky: SkyMap) -> Any:
    """Return the masks of DS9 polygons, None for other catalogues."""
    from radiowidgets.features.photometry import polygon_masks

    if path is None or Path(path).suffix.lower() != ".reg":
        return None
    return polygon_masks(path, cutouts, sky)


def _predict(
    model: Any, needed: list[str], cutouts: FrameSet, masks: Any, inner: float
) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """Return what the model says of each cutout, and the features where there are several bands."""
    features = None
    assert cutouts.sources is not None
    if len(cutouts.channels or ()) > 1:
        from radiowidgets.features.photometry import compact_features

        features = compact_features(cutouts, masks, inner=inner)
        if ALPHA in cutouts.sources:
            features[ALPHA] = numbers(cutouts.sources, ALPHA)
    if model.card.kind == "network":
        from radiowidgets.models.cnn import radio_masks, source_images

        given = [None] * len(cutouts) if masks is None else masks
        if any(mask is None for mask in given):
            found = radio_masks(cutouts)
            given = [own if mask is None else mask for mask, own in zip(given, found, strict=True)]
        images = source_images(cutouts, given, size=model.size, inner=inner, bands=needed)
        table = model.predict(images, cutouts.frame_ids)
        lost = np.array([not np.any(mask) for mask in given])
    else:
        assert features is not None
        table = model.predict(_complete(features, model, needed))
        lost = (features["pixels_radio"] == 0).to_numpy()
    table.loc[lost, "distance"] = np.inf
    table["unlike"] |= lost
    if lost.any():
        warnings.warn(
            f"{lost.sum()} of {len(lost)} sources do not show in the radio map at the common resolution; what is said "
            "of them rests on nothing, and they are marked unlike.",
            stacklevel=3,
        )
    return table, features


def _complete(features: pd.DataFrame, model: Any, needed: list[str]) -> pd.DataFrame:
    """Return the features with columns of NaN for what trees take as missing: bands without a map, and alpha."""
    lacking = [name for name in model.card.inputs if name not in features]
    if ALPHA in lacking:
        warnings.warn(
            "the catalogue has no column alpha: the trees take the spectral index as missing.", stacklevel=4
        )
    kinds = {str(name).split("_", 1)[0] for name in features}
    strange = [
        name
        for name in lacking
        if name != ALPHA and not (name.split("_", 1)[0] in kinds and name.split("_", 1)[-1] in needed)
    ]
    if strange:
        raise ParameterError(
            f"the model {model.card.name!r} takes {', '.join(strange[:6])}, which compact_features does not measure; "
            "predict with its own predict(), from a table that has it."
        )
    return features.reindex(columns=[*features, *lacking])


def _make_run(folder: Path, frames: FrameSet, table: pd.DataFrame, model: Any, annotator: str | None) -> Run:
    """Write the run: frames of the radio map, their features with those of the classes, ranked by distance."""
    columns = table.drop(columns="label").astype(float)
    columns.index = pd.Index(frames.frame_ids, name="frame_id")
    distance = columns["distance"].fillna(0.0)
    columns["distance"] = columns["distance"].where(np.isfinite(columns["distance"]))
    # What is infinitely far comes first, too.
    known = distance[np.isfinite(distance)]
    scores = score_table(
        frames.frame_ids, distance.clip(upper=1 + known.max() if len(known) else 1.0).to_numpy()
    )
    scores.attrs["method"] = f"distance from the training data of {model.card.name}"
    features = frame_features(frames)
    features = features.drop(columns=[name for name in features if name in columns]).join(columns)
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
