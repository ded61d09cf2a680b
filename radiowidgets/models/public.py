"""Public weights: the SimCLR encoders of peculiar-frames (doi:10.5281/zenodo.12636593).

They are ResNet-18 of three channels, fed as `radiowidgets.data.recipes.three_channels` says. The layout is what the
authors' public code (SKA-INAF/sclassifier) writes with Keras 2: HDF5, weights under the names of layers such as
``layer2.0.conv1``. It was read there, not off the files of the archive, whose names are not documented.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from radiowidgets.errors import DataError
from radiowidgets.models.encoders import resnet18

if TYPE_CHECKING:
    import os

    import keras

_MOST = 2**24  # numbers of one array; the largest of a ResNet-18 has 2.4 million
_NORMAL = ("gamma", "beta", "moving_mean", "moving_variance")


def load_public_simclr(path: str | os.PathLike[str]) -> keras.Model:
    """Return the encoder of a weight file, (n, h, w, 3) to (n, 512).

    Parameters
    ----------
    path
        ``encoder_weights*.h5`` or ``encoder*.h5``. Only arrays are read, no code.

    Raises
    ------
    DataError
        If the file is no HDF5, or lacks layers of a ResNet-18, or they have other shapes.
    """
    held = _read_arrays(Path(path))
    encoder = resnet18(3)
    convolutions = _in_order(encoder, "Conv2D")
    normals = _in_order(encoder, "BatchNormalization")
    for (conv, normal), pair in zip(_layer_names(), zip(convolutions, normals, strict=True), strict=True):
        values = [(held, conv, "kernel")], [(held, normal, part) for part in _NORMAL]
        for layer, wanted in zip(pair, values, strict=True):
            arrays = [_pick(path, *place) for place in wanted]
            shapes = [tuple(weight.shape) for weight in layer.weights]
            if shapes != [array.shape for array in arrays]:
                raise DataError(
                    f"{path}: {wanted[0][1]} has shape {arrays[0].shape}, not {shapes[0]}; "
                    "it is no ResNet-18 of three channels."
                )
            layer.set_weights(arrays)
    return encoder


def _layer_names() -> list[tuple[str, str]]:
    """Return the names of convolutions and their normalisations, in the order in which `resnet18` makes them."""
    names = [("conv1", "bn1")]
    for stage in range(1, 5):
        for block in range(2):
            stem = f"layer{stage}.{block}"
            if stage > 1 and not block:
                names.append((f"{stem}.downsample.0", f"{stem}.downsample.1"))
            names += [(f"{stem}.conv{k}", f"{stem}.bn{k}") for k in (1, 2)]
    return names


def _in_order(encoder: keras.Model, kind: str) -> list[Any]:
    """Return the layers of a kind as they were made: Keras counts them in their names."""

    def count(layer: Any) -> int:
        tail = layer.name.rsplit("_", 1)[-1]
        return int(tail) if tail.isdigit() else 0

    return sorted((layer for layer in encoder.layers if type(layer).__name__ == kind), key=count)


def _read_arrays(path: Path) -> dict[tuple[str, str], np.ndarray]:
    """Return the arrays of an HDF5 file by layer and weight."""
    import h5py  # type: ignore[import-untyped]

    held: dict[tuple[str, str], np.ndarray] = {}

    def visit(name: str, item: Any) -> None:
        parts = name.split("/")
        if isinstance(item, h5py.Dataset) and len(parts) > 1 and "optimizer_weights" not in parts:
            if item.size is None or item.size > _MOST or item.external or item.is_virtual:
                raise DataError(
                    f"{path} says that {name[:80]} has shape {item.shape}, or keeps it in another file; "
                    "that is no ResNet-18. Fetch it again."
                )
            if item.dtype.kind not in "fiu":
                raise DataError(
                    f"{path}: {name[:80]} holds no numbers; that is no ResNet-18. Fetch it again."
                )
            held[parts[-2], parts[-1].split(":")[0]] = np.asarray(item, dtype=np.float32)

    try:
        with h5py.File(path, "r") as file:
            file.visititems(visit)
    except OSError as error:
        raise DataError(f"{path} cannot be read as HDF5 ({error}); fetch it again.") from error
    return held


def _pick(path: Any, held: dict[tuple[str, str], np.ndarray], layer: str, weight: str) -> np.ndarray:
    if (layer, weight) in held:
        return held[layer, weight]
    raise DataError(
        f"{path} lacks the {weight} of layer {layer}; give the weights of an encoder (ResNet-18), such as "
        f"encoder_weights.h5. It holds {len(held)} arrays."
    )
