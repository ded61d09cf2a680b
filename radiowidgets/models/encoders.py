"""Encoders: networks that turn frames into vectors; for any size from 32 pixels and any number of channels.

Each is a `keras.Model` from (n, h, w, channels) in [0, 1] to (n, d). Kernels start as in He et al. (2015), seeded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from radiowidgets.errors import ParameterError, check_one_of
from radiowidgets.models.backend import keras, layers

if TYPE_CHECKING:
    from collections.abc import Callable

LEAST_SIZE = 32


def resnet18(channels: int = 1, *, seed: int = 0, dtype: Any = None) -> keras.Model:
    """Return ResNet-18 (He et al. 2016, Table 1) up to its global mean: 512 numbers a frame, 11.2 million weights."""
    return _resnet("resnet18", (2, 2, 2, 2), _basic, channels, seed, dtype)


def resnet50(channels: int = 1, *, seed: int = 0, dtype: Any = None) -> keras.Model:
    """Return ResNet-50 (He et al. 2016, Table 1) up to its global mean: 2048 numbers a frame, 23.5 million weights."""
    return _resnet("resnet50", (3, 4, 6, 3), _bottleneck, channels, seed, dtype)


def small(
    channels: int = 1,
    *,
    widths: tuple[int, ...] = (48, 96, 160),
    seed: int = 0,
    dtype: Any = None,
) -> keras.Model:
    """Return an encoder for CPUs: a stem of stride 4, then residual stages; 2 `widths[-1]` numbers a frame.

    It ends in the mean and the maximum over the field: a faint cloud moves the first, a small source the second.
    On a CPU the large first fields of a ResNet cost most; the stem leaves them out.

    Parameters
    ----------
    channels
        Of the frames.
    widths
        Filters of the stem and of each stage, which halves the field.
    seed
        Of the weights.
    dtype
        Of the computation, such as 'mixed_bfloat16'. Default: Keras's.
    """
    make = _Maker(seed, dtype)
    frames = _frames(channels)
    x = make.normal(make.conv(frames, widths[0], 7, 4))
    for width in widths[1:]:
        x = _basic(make, x, width, 2)
    mean = layers.GlobalAveragePooling2D(dtype="float32")(x)
    most = layers.GlobalMaxPooling2D(dtype="float32")(x)
    return keras.Model(frames, layers.Concatenate(dtype="float32")([mean, most]), name="small")


def two_looks(encoder: keras.Model, size: int) -> keras.Model:
    """Return an encoder of both looks at a frame, (n, 2, size, size, channels), side by side in the result.

    One network sees both; what it makes of the first comes first.
    """
    channels, width = encoder.input_shape[-1], encoder.output_shape[-1]
    frames = keras.Input((2, size, size, channels), name="looks", dtype="float32")
    flat = keras.ops.reshape(frames, (-1, size, size, channels))
    return keras.Model(frames, keras.ops.reshape(encoder(flat), (-1, 2 * width)), name="two_looks")


ENCODERS: dict[str, Callable[..., keras.Model]] = {"small": small, "resnet18": resnet18, "resnet50": resnet50}


def make_encoder(name: str, channels: int = 1, *, seed: int = 0, dtype: Any = None) -> keras.Model:
    """Return one of `ENCODERS` with fresh weights.

    Raises
    ------
    ParameterError
        For an unknown name or fewer than one channel.
    """
    check_one_of("encoder", name, ENCODERS)
    if channels < 1:
        raise ParameterError(f"channels is {channels!r}; give a whole number from 1.")
    return ENCODERS[name](channels, seed=seed, dtype=dtype)


# ------------------------------------------------------------------------------------


class _Maker:
    """Layers without bias, each kernel with a seed of its own."""

    def __init__(self, seed: int, dtype: Any) -> None:
        self.seed, self.dtype, self.count = seed, dtype, 0

    def conv(self, x: Any, filters: int, kernel: int, strides: int = 1) -> Any:
        self.count += 1
        start = keras.initializers.VarianceScaling(
            2.0, "fan_out", "truncated_normal", seed=self.seed * 1000 + self.count
        )
        # Padded alike on all sides, whatever the stride: 'same' would shift the field of even sizes by half a pixel.
        if kernel > 1:
            x = layers.ZeroPadding2D(kernel // 2, dtype=self.dtype)(x)
        return layers.Conv2D(
            filters, kernel, strides, use_bias=False, kernel_initializer=start, dtype=self.dtype
        )(x)

    def normal(self, x: Any, *, active: bool = True) -> Any:
        x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, dtype=self.dtype)(x)
        return layers.ReLU(dtype=self.dtype)(x) if active else x


def _frames(channels: int) -> Any:
    return keras.Input((None, None, channels), name="frames", dtype="float32")


def _basic(make: _Maker, x: Any, filters: int, strides: int) -> Any:
    """Two 3 x 3 convolutions and a shortcut."""
    short = x
    if strides > 1 or x.shape[-1] != filters:
        short = make.normal(make.conv(x, filters, 1, strides), active=False)
    x = make.normal(make.conv(x, filters, 3, strides))
    x = make.normal(make.conv(x, filters, 3), active=False)
    return layers.ReLU(dtype=make.dtype)(layers.Add(dtype=make.dtype)([x, short]))


def _bottleneck(make: _Maker, x: Any, filters: int, strides: int) -> Any:
    """1 x 1, 3 x 3 and 1 x 1 convolutions and a shortcut; the stride is in the middle one."""
    short = x
    if strides > 1 or x.shape[-1] != 4 * filters:
        short = make.normal(make.conv(x, 4 * filters, 1, strides), active=False)
    x = make.normal(make.conv(x, filters, 1))
    x = make.normal(make.conv(x, filters, 3, strides))
    x = make.normal(make.conv(x, 4 * filters, 1), active=False)
    return layers.ReLU(dtype=make.dtype)(layers.Add(dtype=make.dtype)([x, short]))


def _resnet(
    name: str,
    blocks: tuple[int, ...],
    block: Callable[[_Maker, Any, int, int], Any],
    channels: int,
    seed: int,
    dtype: Any,
) -> keras.Model:
    make = _Maker(seed, dtype)
    frames = _frames(channels)
    x = make.normal(make.conv(frames, 64, 7, 2))
    x = layers.ZeroPadding2D(1, dtype=dtype)(x)  # after a ReLU, zero is the least there is
    x = layers.MaxPooling2D(3, 2, dtype=dtype)(x)
    for stage, count in enumerate(blocks):
        for k in range(count):
            x = block(make, x, 64 * 2**stage, 2 if stage and not k else 1)
    return keras.Model(frames, layers.GlobalAveragePooling2D(dtype="float32")(x), name=name)
