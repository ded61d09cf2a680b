"""The networks of compact-sources section 5.2: their layers, what they see, their training, their folder."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from models.test_ssl import other_backend

from radiowidgets.data.frames import FrameSet
from radiowidgets.data.recipes import source_masks
from radiowidgets.errors import DataError, ParameterError, RunError
from radiowidgets.models.cards import read_card
from radiowidgets.models.cnn import (
    NETWORKS,
    NetworkRecipe,
    load_network,
    make_network,
    radio_masks,
    repeat_splits,
    source_images,
    train_network,
)

# Layers and weights of five bands and seven classes, counted by hand: (kernel area x channels + 1) x filters of a
# convolution, (pixels x channels + 1) x width of a dense layer, 4 x filters of a normalisation.
BY_HAND = {
    "custom_v1": ("C16 P C32 P D16", (9 * 5 + 1) * 16 + (9 * 16 + 1) * 32 + (16 * 16 * 32 + 1) * 16 + 17 * 7),
    "custom_v2": ("C16 C32 D16", (9 * 5 + 1) * 16 + (25 * 16 + 1) * 32 + (32 * 32 * 32 + 1) * 16 + 17 * 7),
    "custom_v3": (
        "C16 P C32 P D16",
        (25 * 5 + 1) * 16 + (25 * 16 + 1) * 32 + (16 * 16 * 32 + 1) * 16 + 17 * 7,
    ),
    "custom_v4": ("C32 P C64 P D32", (9 * 5 + 1) * 32 + (9 * 32 + 1) * 64 + (16 * 16 * 64 + 1) * 32 + 33 * 7),
    "custom_v5": (
        "C16 B P C32 B P D16",
        (9 * 5 + 1) * 16 + 4 * 16 + (9 * 16 + 1) * 32 + 4 * 32 + (16 * 16 * 32 + 1) * 16 + 17 * 7,
    ),
    "custom_v6": (
        "C16 P C32 P D32 D16",
        (9 * 5 + 1) * 16 + (9 * 16 + 1) * 32 + (16 * 16 * 32 + 1) * 32 + 33 * 16 + 17 * 7,
    ),
}
LETTERS = {"Conv2D": "C", "MaxPooling2D": "P", "BatchNormalization": "B", "Dense": "D"}
TINY = NetworkRecipe("4C3P2-4C3BnP2-6", size=16, batch_size=16, rate=1e-2, epochs=4, patience=4)


def resnet18_by_hand(channels):
    """Kernels without bias of 3 x 3 pixels, of 1 x 1 in shortcuts that halve the field, 4 numbers a normalisation."""
    total, width = 49 * channels * 64 + 4 * 64, 64
    for filters in (64, 128, 256, 512):
        total += 9 * width * filters + 3 * 9 * filters**2 + 4 * 4 * filters
        total += 0 if width == filters else width * filters + 4 * filters
        width = filters
    return total


def layer_word(layer):
    letter = LETTERS.get(type(layer).__name__, "")
    return letter + str(getattr(layer, "filters", getattr(layer, "units", ""))) if letter else ""


@pytest.mark.parametrize("name", BY_HAND)
def test_layers_and_weights_are_those_of_table_8(name):
    words, weights = BY_HAND[name]
    network = make_network(name, 5, 7)
    found = [layer_word(layer) for layer in network.layers]
    assert " ".join(word for word in found if word) == f"{words} D7"
    assert network.count_params() == weights
    assert network.input_shape == (None, 64, 64, 5) and network.output_shape == (None, 7)
    sides = [layer.output.shape[1] for layer in network.layers if isinstance(layer, keras.layers.Conv2D)]
    assert sides == ([64, 32])


def test_resnet18_has_one_dense_layer_behind_it():
    network = make_network("resnet18", 5, 7)
    assert network.count_params() == resnet18_by_hand(5) + 513 * 16 + 17 * 7
    assert set(NETWORKS) == {*BY_HAND, "resnet18"}


def test_weights_are_seeded_and_what_cannot_be_read_is_named():
    first, again, other = (make_network("4C3P2-4", 2, 3, size=16, seed=k).get_weights() for k in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])
    for wrong in ("custom_v7", "16", "16C3-8-4C3", "0C3-16", "16C3P99-16", ""):
        with pytest.raises(ParameterError, match="network is"):
            make_network(wrong, 5, 7)
    with pytest.raises(ParameterError, match="classes 1"):
        make_network("custom_v1", 5, 1)


def source(side, ratio, *, at=0):
    """A Gaussian in two bands, of a flux ratio, on noise; and another source at the border of the first band."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    blob = np.exp(-(x**2 + y**2) / 8)
    noise = np.random.default_rng(at).normal(0, 0.004, (side, side, 2))
    image = np.stack([blob, ratio * blob], -1) + noise
    image[1:3, 1:3, 0] += 0.5
    return image.astype(np.float32)


def test_sources_are_masked_scaled_and_brought_to_one_size():
    frames = FrameSet.from_images([source(41, 3.0, at=1), source(61, 0.5, at=2)])
    frames.channels = ("radio", "12um")
    masks = radio_masks(frames)
    assert [mask.shape for mask in masks] == [(41, 41), (61, 61)]
    assert masks[0][20, 20] and not masks[0][1, 1] and 20 < masks[0].sum() < 120
    assert not source_masks(np.random.default_rng(1).normal(size=(2, 30, 30))).any()
    images = source_images(frames, masks, size=32, dilation=5)
    assert images.shape == (2, 32, 32, 2) and images.dtype == np.float32
    peaks = images.max(axis=(1, 2))
    assert peaks[0, 1] / peaks[0, 0] == pytest.approx(3, abs=0.2) and peaks[1, 0] / peaks[
        1, 1
    ] == pytest.approx(2, abs=0.2)
    assert 0.7 < peaks.max(axis=1).min() <= peaks.max() <= 1
    assert (images[:, 0] == 0).all(), "what is not the source is 0"
    plain = source_images(frames, size=32)
    assert plain[0, 1, 1, 0] > 0.1, "nothing is masked unless asked for"
    close = source_images(frames, size=32, inner=0.5, bands=["12um"])
    assert close.shape == (2, 32, 32, 1) and (close[0] > 0.5).sum() > 2.5 * (plain[0, ..., 1] > 0.5).sum()
    with pytest.raises(ParameterError, match="1 masks for 2 frames"):
        source_images(frames, masks[:1])
    with pytest.raises(ParameterError, match="band is '8um'"):
        source_images(frames, bands=["8um"])


def test_blanks_are_nought_and_a_source_keeps_its_ratios():
    image = source(32, 4.0)
    image[..., 0] *= 100
    image[..., 1] *= 100
    blank = image.copy()
    blank[..., 1] = np.nan
    frames = FrameSet.from_images([source(32, 4.0), image, blank, np.full_like(image, np.nan)])
    images = source_images(frames, size=32)
    assert np.allclose(images[0], images[1], atol=1e-6), "how bright it is does not matter"
    assert (images[2, ..., 1] == 0).all() and images[2, ..., 0].max() == pytest.approx(1)
    assert (images[3] == 0).all()


@pytest.fixture(scope="module")
def sources():
    """Images of three classes that differ in the ratio of two bands."""
    rng = np.random.default_rng(4)
    labels = rng.choice(["PN", "HII", "RG"], 120)
    ratio = {"PN": 1.0, "HII": 4.0, "RG": 0.1}
    frames = FrameSet.from_images([source(16, ratio[name], at=k) for k, name in enumerate(labels)])
    return source_images(frames, size=16), labels


@pytest.fixture(scope="module")
def trained(sources):
    images, labels = sources
    recipe = TINY.but(epochs=15)
    return train_network(
        images[:80], labels[:80], (images[80:], labels[80:]), recipe, bands=("radio", "12um")
    )


def test_a_network_learns_and_says_how_sure_it_is(sources, trained):
    images, labels = sources
    assert trained.card.classes == ("PN", "HII", "RG"), "in the order of the paper"
    table = trained.predict(images[80:])
    assert (table["label"] == labels[80:]).mean() > 0.9
    assert np.allclose(table[["p_PN", "p_HII", "p_RG"]].sum(axis=1), 1)
    assert set(trained.history) == {"loss", "accuracy", "f1", "val_loss", "val_accuracy", "val_f1"}
    assert trained.history["val_loss"][-1] < trained.history["val_loss"][0]
    assert table["unlike"].mean() < 0.1
    assert trained.card.metrics["validation F1 in per cent"]["ALL"] > 90


def test_a_saved_network_answers_alike(sources, trained, tmp_path):
    images, _ = sources
    folder = trained.save(tmp_path / "model")
    again = load_network(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["card.json", "network.weights.h5"]
    assert again.card == read_card(folder) and again.card.inputs == ("radio", "12um")
    np.testing.assert_allclose(
        again.predict(images).drop(columns="label").astype(float),
        trained.predict(images).drop(columns="label").astype(float),
        rtol=1e-5,
    )
    with pytest.raises(ParameterError, match=r"not \(120, 16, 16, 2\)"):
        again.predict(images[..., :1])
    card = json.loads((folder / "card.json").read_text())
    card["recipe"]["network"] = "custom_v1"
    (folder / "card.json").write_text(json.dumps(card))
    with pytest.raises(DataError, match="cannot be read"):
        load_network(folder)


def test_a_stopped_training_goes_on_as_if_it_had_not(sources, tmp_path):
    images, labels = sources
    data = images[:80], labels[:80], (images[80:], labels[80:])
    whole = train_network(*data, TINY)

    class Stop(keras.callbacks.Callback):
        """Stop in the middle of the third epoch."""

        def on_train_batch_end(self, batch, logs=None):  # noqa: ARG002
            self.model.stop_training |= self.epoch == 2 and batch == 1

        def on_epoch_begin(self, epoch, logs=None):  # noqa: ARG002
            self.epoch = epoch

    train_network(*data, TINY, folder=tmp_path / "run", callbacks=[Stop()])
    state = json.loads((tmp_path / "run" / "state.json").read_text())
    assert state["epoch"] == len(state["history"]["loss"]) == 2, "half an epoch is none"
    resumed = train_network(*data, TINY, folder=tmp_path / "run")
    assert resumed.history == whole.history
    for mine, theirs in zip(resumed.model.get_weights(), whole.model.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert train_network(*data, TINY, folder=tmp_path / "run").history == whole.history, (
        "nothing is left to do"
    )
    with pytest.raises(RunError, match="with seed 0, not 1"):
        train_network(*data, TINY, folder=tmp_path / "run", seed=1)


def test_an_interrupted_training_says_so(sources):
    images, labels = sources
    ends = []

    class Interrupt(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):  # noqa: ARG002
            raise KeyboardInterrupt

        def on_train_end(self, logs=None):  # noqa: ARG002
            ends.append(True)

    with pytest.raises(KeyboardInterrupt):
        train_network(images[:80], labels[:80], (images[80:], labels[80:]), TINY, callbacks=[Interrupt()])
    assert ends == [True]


def test_training_ends_where_nothing_gets_better_and_the_best_is_kept(sources):
    images, labels = sources
    labels = np.random.default_rng(1).permutation(labels)  # there is nothing to learn
    network = train_network(
        images[:80], labels[:80], (images[80:], labels[80:]), TINY.but(epochs=60, patience=3)
    )
    losses = network.history["val_loss"]
    best = int(np.argmin(losses))
    assert len(losses) == best + 1 + 3 < 60
    assert network.card.metrics["best epoch"] == best + 1
    one_hot = np.eye(3)[[network.card.classes.index(name) for name in labels[80:]]]
    logits = np.asarray(network.model(images[80:]))
    found = float(keras.losses.CategoricalCrossentropy(from_logits=True)(one_hot, logits))
    assert found == pytest.approx(losses[best], rel=1e-4)


def test_splits_are_trained_and_tested_apart(sources, tmp_path):
    images, labels = sources
    f1, found = repeat_splits(images, labels, TINY.but(epochs=1), count=2, folder=tmp_path)
    assert list(f1.columns) == ["PN", "HII", "RG", "ALL"] and len(f1) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["split-0", "split-1"]
    assert (found["label"].to_numpy() == labels[found["row"]]).all()
    assert len(found) == pytest.approx(2 * 0.3 * len(labels), abs=6)


def test_images_without_a_class_are_left_out(sources):
    images, labels = sources
    told = labels.astype(object)
    told[:5], told[5:10] = None, "UNKNOWN"
    network = train_network(
        images[:80], told[:80], (images[80:], labels[80:]), TINY.but(epochs=1, augmentation="none")
    )
    assert network.card.data["images"] == 70 and network.card.classes == ("PN", "HII", "RG")


def test_what_does_not_fit_is_said(sources):
    images, labels = sources
    held = (images[80:], labels[80:])
    with pytest.raises(ParameterError, match=r"not \(80, 16, 16, 2\)"):
        train_network(images[:80, :8], labels[:80], held, TINY)
    with pytest.raises(ParameterError, match="YSO is in no training image"):
        train_network(images[:80], labels[:80], (images[80:], np.full(40, "YSO")), TINY)
    with pytest.raises(ParameterError, match="one class"):
        train_network(images[:80], np.full(80, "PN"), held, TINY)
    with pytest.raises(ParameterError, match="not finite"):
        train_network(np.where(images[:80] > 0.9, np.nan, images[:80]), labels[:80], held, TINY)


ELSEWHERE = """
import sys, numpy as np
from radiowidgets.models.cnn import NetworkRecipe, load_network, train_network
folder = sys.argv[1]
images, labels = np.load(folder + "/images.npy"), np.load(folder + "/labels.npy")
np.save(folder + "/theirs.npy", load_network(folder + "/model").predict(images).filter(like="p_").to_numpy())
recipe = NetworkRecipe("4C3P2-4C3BnP2-6", size=16, batch_size=16, rate=1e-2, epochs=2)
print(train_network(images[:80], labels[:80], (images[80:], labels[80:]), recipe).history["loss"][-1])
"""


def test_another_backend_gives_the_same_probabilities_and_trains(sources, trained, tmp_path):
    images, labels = sources
    trained.save(tmp_path / "model")
    np.save(tmp_path / "images.npy", images)
    np.save(tmp_path / "labels.npy", labels)
    environment = os.environ | {"KERAS_BACKEND": other_backend(), "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-c", ELSEWHERE, str(tmp_path)]
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    mine = trained.predict(images).filter(like="p_").to_numpy()
    np.testing.assert_allclose(np.load(tmp_path / "theirs.npy"), mine, atol=1e-5)
    assert 0 < float(said.split()[-1]) < 3
