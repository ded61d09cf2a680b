import h5py
import keras
import numpy as np
import pytest

from radiowidgets.errors import DataError
from radiowidgets.models.public import load_public_simclr


def reference(values, images):
    """A ResNet-18 as the authors' code writes it, by the names of its layers."""
    layers = keras.layers

    def conv(x, name, stride, pad):
        kernel = values[f"{name}/kernel"]
        x = layers.ZeroPadding2D(pad)(x) if pad else x
        return keras.ops.conv(x, kernel, stride, "valid")

    def normal(x, name):
        gamma, beta, mean, variance = (
            values[f"{name}/{part}"] for part in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        return (x - mean) / np.sqrt(variance + 1e-5) * gamma + beta

    x = keras.ops.relu(normal(conv(images, "conv1", 2, 3), "bn1"))
    x = layers.MaxPooling2D(3, 2)(layers.ZeroPadding2D(1)(x))
    for stage in range(1, 5):
        for block in range(2):
            stride = 2 if stage > 1 and not block else 1
            stem = f"layer{stage}.{block}"
            out = keras.ops.relu(normal(conv(x, f"{stem}.conv1", stride, 1), f"{stem}.bn1"))
            out = normal(conv(out, f"{stem}.conv2", 1, 1), f"{stem}.bn2")
            if stride == 2:
                x = normal(conv(x, f"{stem}.downsample.0", 2, 0), f"{stem}.downsample.1")
            x = keras.ops.relu(out + x)
    return keras.ops.mean(x, (1, 2))


@pytest.fixture(scope="module")
def values():
    rng = np.random.default_rng(0)
    found = {}

    def conv(name, kernel, before, after):
        found[f"{name}/kernel"] = (
            rng.normal(size=(kernel, kernel, before, after)) / np.sqrt(kernel**2 * before)
        ).astype("f4")

    def normal(name, width):
        for part in ("gamma", "beta", "moving_mean", "moving_variance"):
            found[f"{name}/{part}"] = rng.uniform(0.5, 1.5, width).astype("f4")

    conv("conv1", 7, 3, 64)
    normal("bn1", 64)
    before = 64
    for stage, width in enumerate((64, 128, 256, 512), 1):
        for block in range(2):
            stem = f"layer{stage}.{block}"
            conv(f"{stem}.conv1", 3, before, width)
            normal(f"{stem}.bn1", width)
            conv(f"{stem}.conv2", 3, width, width)
            normal(f"{stem}.bn2", width)
            if stage > 1 and not block:
                conv(f"{stem}.downsample.0", 1, before, width)
                normal(f"{stem}.downsample.1", width)
            before = width
    return found


@pytest.mark.parametrize("root", ["", "model_weights/"])
def test_weights_in_the_authors_layout(values, root, tmp_path):
    with h5py.File(tmp_path / "encoder_weights.h5", "w") as file:
        for name, value in values.items():
            layer, weight = name.split("/")
            file[f"{root}{layer}/{layer}/{weight}:0"] = value
        file["optimizer_weights/Adam/conv1/kernel:0"] = np.zeros((7, 7, 3, 64))
    images = np.random.default_rng(1).uniform(0, 1, (2, 64, 64, 3)).astype("f4")
    found = np.asarray(load_public_simclr(tmp_path / "encoder_weights.h5")(images))
    assert found.shape == (2, 512)
    assert np.allclose(found, np.asarray(reference(values, images)), rtol=1e-3, atol=1e-3)


def test_other_files_are_refused(tmp_path, values):
    path = tmp_path / "other.h5"
    path.write_bytes(b"no hdf5")
    with pytest.raises(DataError, match="cannot be read as HDF5"):
        load_public_simclr(path)
    with h5py.File(path, "w") as file:
        file["conv1/conv1/kernel:0"] = np.zeros((7, 7, 1, 64))
    with pytest.raises(DataError, match=r"shape \(7, 7, 1, 64\)"):
        load_public_simclr(path)
    with h5py.File(path, "w") as file:
        file["dense/dense/kernel:0"] = np.zeros((7, 7))
    with pytest.raises(DataError, match="lacks the kernel of layer conv1"):
        load_public_simclr(path)


def test_an_array_of_texts_is_not_read(tmp_path):
    with h5py.File(tmp_path / "texts.h5", "w") as file:
        file["conv1/kernel:0"] = ["text"]
    with pytest.raises(DataError, match="holds no numbers"):
        load_public_simclr(tmp_path / "texts.h5")


@pytest.mark.parametrize(
    "how",
    [
        {"shape": (10**7, 10**5), "chunks": (1000, 1000)},  # 4 TB that take no room in the file
        {"shape": (64,), "external": [("/etc/passwd", 0, 256)]},
        {"shape": None},
    ],
    ids=["bomb", "elsewhere", "nothing"],
)
def test_an_array_that_is_none_of_a_network_is_not_read(tmp_path, how):
    path = tmp_path / "bomb.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("conv1/conv1/kernel:0", dtype="f4", **how)
    with pytest.raises(DataError, match="is no ResNet-18"):
        load_public_simclr(path)
