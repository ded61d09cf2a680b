"""The base of the self-supervised methods, and SimCLR."""

import functools
import importlib.util
import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

import radiowidgets as rw
from radiowidgets.data.recipes import three_channels
from radiowidgets.errors import ParameterError, RunError
from radiowidgets.models.encoders import ENCODERS, small
from radiowidgets.models.ssl.base import (
    METHODS,
    RECIPES,
    STEPS,
    Batches,
    Recipe,
    follow,
    make_method,
    make_projector,
    make_teacher,
    train,
    train_in_steps,
)
from radiowidgets.models.ssl.simclr import nt_xent

TINY = Recipe(
    encoder="tiny",
    channels=1,
    augmentation="ssl-benchmark",
    batch_size=8,
    epochs=3,
    warmup_epochs=1,
    rate=1e-2,
)


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setitem(ENCODERS, "tiny", functools.partial(small, widths=(4, 8)))


@pytest.fixture(scope="module")
def frames():
    return np.random.default_rng(0).uniform(0, 1, (16, 32, 32, 1)).astype(np.float32)


def nt_xent_by_loops(first, second, temperature):
    """Equations 1 to 3 of peculiar-frames, one term at a time, in double precision."""
    z = np.empty((2 * len(first), first.shape[1]))
    z[0::2], z[1::2] = first, second
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    total = 0.0
    for i in range(len(z)):
        partner = i + 1 if i % 2 == 0 else i - 1
        below = sum(np.exp(z[i] @ z[k] / temperature) for k in range(len(z)) if k != i)
        total -= np.log(np.exp(z[i] @ z[partner] / temperature) / below)
    return total / len(z)


@pytest.mark.parametrize("temperature", [0.1, 0.2, 1.0])
def test_nt_xent_is_that_of_the_paper(temperature):
    first, second = np.random.default_rng(1).normal(size=(2, 7, 5)).astype(np.float32)
    expected = nt_xent_by_loops(first, second, temperature)
    assert float(nt_xent(first, second, temperature)) == pytest.approx(expected, abs=1e-5)


def test_a_stopped_training_goes_on_as_if_it_had_not(frames, tmp_path):
    whole = train(make_method(TINY), frames, TINY)
    train(make_method(TINY), frames, TINY, tmp_path / "run", stop_after=1)
    resumed = train(make_method(TINY), frames, TINY, tmp_path / "run")
    assert len(whole) == 3
    assert resumed == whole
    assert train(make_method(TINY), frames, TINY, tmp_path / "run") == whole, "nothing is left to do"
    state = json.loads((tmp_path / "run" / "state.json").read_text())
    assert state["epoch"] == 3 and len(list((tmp_path / "run").iterdir())) == 2
    with pytest.raises(RunError, match="with seed 0, not 1"):
        train(make_method(TINY), frames, TINY, tmp_path / "run", seed=1)


def test_a_damaged_training_says_so(frames, tmp_path, eager):
    train(make_method(TINY), frames, TINY, tmp_path, stop_after=1)
    whole = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    state = json.loads(whole["state.json"])
    damages = [
        ("state.json", json.dumps(state | wrong).encode()) for wrong in ({"seeds": []}, {"history": [1]})
    ]
    for name, content in [(name, whole[name][:left]) for name in whole for left in (0, 200)] + damages:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(RunError, match=f"cannot go on: {name} is missing, damaged"):
            train(make_method(TINY), frames, TINY, tmp_path)
        (tmp_path / name).write_bytes(whole[name])


def test_a_loss_that_is_no_number_ends_a_training_before_it_is_kept(frames, tmp_path, eager):
    blank = frames.copy()
    blank[3, 5, 5] = np.nan
    with pytest.raises(ParameterError, match="the loss of epoch 1 is nan"):
        train(make_method(TINY), blank, TINY, tmp_path)
    assert not list(tmp_path.iterdir())
    with pytest.raises(ParameterError, match="have 3 channels, the recipe 1"):
        train(make_method(TINY), np.repeat(frames, 3, axis=-1), TINY)


def test_training_lowers_the_loss_and_keeps_the_encoder_a_model(frames):
    recipe = TINY.but(augmentation="none", epochs=8, optimizer="lars", rate=8.0)
    takes = np.stack([frames, np.clip(frames + 0.02, 0, 1)], 1)
    model = make_method(recipe)
    losses = train(model, takes, recipe)
    assert losses[-1] < losses[0]
    assert model(takes).shape == model(frames).shape == model.encoder(frames).shape


def test_a_teacher_follows_and_no_gradient_reaches_it(frames):
    student = small(1, widths=(4, 4))
    teacher = make_teacher(student)
    assert teacher.trainable_variables == []
    assert np.allclose(teacher(frames), student(frames))
    for variable in student.trainable_variables:
        variable.assign(variable + 1.0)
    before = np.asarray(teacher.weights[0])
    follow(teacher, student, 0.75)
    assert np.allclose(np.asarray(teacher.weights[0]), before + 0.25, atol=1e-6)
    moving = next(w for w in teacher.weights if "moving_mean" in w.path)
    teacher(frames, training=True)
    assert np.abs(np.asarray(moving)).max() > 0, "its normalisation sees its own batches"


def test_projectors_end_linear_or_normalised():
    plain, normal = make_projector(6, (8, 4)), make_projector(6, (8, 4), last_normal=True)
    rows = np.random.default_rng(2).normal(size=(64, 6)).astype(np.float32)
    assert plain(rows).shape == (64, 4)
    assert np.allclose(np.asarray(normal(rows, training=True)).std(0), 1, atol=0.05)


def test_batches_are_shuffled_by_seed_and_epoch():
    frames = np.arange(10, dtype=np.uint8)[:, None, None, None]
    data, later = Batches(frames, 4, seed=1), Batches(frames, 4, seed=1, first_epoch=1)
    assert len(data) == 2
    first = data.order.copy()
    data.on_epoch_end()
    assert np.array_equal(data.order, later.order) and not np.array_equal(first, later.order)
    assert data[0][0].dtype == np.float32 and data[0][0].max() <= 9 / 255 + 1e-6
    with pytest.raises(ParameterError, match="do not fill a batch of 64"):
        Batches(frames, 64)


def test_recipes_are_those_of_the_papers():
    assert RECIPES["peculiar-frames-hulk"].options["projector"] == (256, 128)
    assert RECIPES["peculiar-frames-hulk"].batch_size == 128
    assert not RECIPES["peculiar-frames-banner"].thresholding
    rates = {recipe.method: recipe.rate for name, recipe in RECIPES.items() if "benchmark" in name}
    assert rates == {"simclr": 1.2, "byol": 1.2, "dino": 0.016, "wmse": 0.002, "swav": 1.2, "all4one": 1.0}
    with pytest.raises(ParameterError, match="method is 'moco'"):
        make_method(TINY.but(method="moco"))


@pytest.fixture
def eager():
    """Run step by step: for a few steps, TensorFlow's graphs take longer to make than to run."""
    if keras.config.backend() != "tensorflow":
        yield
        return
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.mark.parametrize(("encoder", "dtype"), [("resnet18", "mixed_bfloat16"), ("resnet50", "float32")])
def test_an_epoch_of_a_resnet_by_its_paper(encoder, dtype, frames, eager):
    plan = RECIPES["ssl-benchmark-simclr"].but(
        encoder=encoder, dtype=dtype, batch_size=4, epochs=1, warmup_epochs=0, accumulate=2
    )
    model = make_method(plan)
    outputs = model.outputs(model.views(frames[:4]), True)
    expected = nt_xent_by_loops(*(np.asarray(out) for out in outputs), 0.2)
    assert float(model.contrast(outputs)) == pytest.approx(expected, abs=1e-4)
    before = [np.asarray(weight) for weight in model.trainable_variables]
    losses = train(model, frames[:8], plan)
    assert len(losses) == 1 and np.isfinite(losses[0])
    for weight, old in zip(model.trainable_variables, before, strict=True):
        assert weight.dtype == "float32" and np.isfinite(weight).all(), weight.path
        assert not np.array_equal(weight, old), weight.path


def test_float16_scales_its_loss_and_learns(frames, eager):
    plan = TINY.but(augmentation="none", dtype="mixed_float16", epochs=10)
    model = make_method(plan)
    losses = train(model, np.stack([frames, np.clip(frames + 0.02, 0, 1)], 1), plan)
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert losses[-1] < losses[0] - 0.1


def test_accumulated_gradients_move_the_weights_once_and_outlive_a_stop(frames, tmp_path, eager):
    plan = TINY.but(augmentation="none", batch_size=16, epochs=4, warmup_epochs=0, accumulate=2)
    whole = make_method(plan)
    start = np.asarray(whole.encoder.weights[0])
    train(whole, frames, plan)
    half = make_method(plan)
    train(half, frames, plan, tmp_path, stop_after=1)
    assert np.array_equal(np.asarray(half.encoder.weights[0]), start), "one batch of two"
    resumed = make_method(plan)
    train(resumed, frames, plan, tmp_path)
    assert np.array_equal(np.asarray(resumed.encoder.weights[0]), np.asarray(whole.encoder.weights[0]))
    assert not np.array_equal(np.asarray(resumed.encoder.weights[0]), start)


@pytest.fixture(scope="module")
def hulk_and_banner():
    """Blind and source-centred frames of one mock map, as small networks like them."""
    sky = rw.simulate("smgps", size=512, seed=4, blank=0.0)
    found = rw.find_sources(sky)
    hulk = rw.cut_windows(sky, size=128, step=128)
    banner = rw.cut_sources(sky, found.nlargest(16, "radius"), factor=1.5)
    parts = [three_channels(frame.pixels[None], size=32) for frame in banner]
    return three_channels(hulk.pixels(range(len(hulk))), size=32), np.concatenate(parts)


def test_two_steps_go_on_from_each_other(hulk_and_banner, tmp_path, eager):
    hulk, banner = STEPS["smart-hulk"]
    assert (hulk.epochs, banner.epochs) == (100, 500) and hulk.encoder == banner.encoder == "resnet18"
    assert hulk.thresholding and not banner.thresholding
    options = {"projector": (16, 8), "temperature": 0.1}
    small_ones = [
        plan.but(encoder="tiny", batch_size=8, epochs=2, warmup_epochs=0, options=options)
        for plan in STEPS["smart-hulk"]
    ]
    model, losses = train_in_steps(hulk_and_banner, small_ones, tmp_path)
    assert [len(own) for own in losses] == [2, 2]
    first = make_method(small_ones[0])
    assert train(first, hulk_and_banner[0], small_ones[0]) == losses[0]
    second = make_method(small_ones[1])
    second.set_weights(first.get_weights())
    assert train(second, hulk_and_banner[1], small_ones[1]) == losses[1], (
        "it begins where the first step ended"
    )
    again, same = train_in_steps(hulk_and_banner, small_ones, tmp_path)
    assert same == losses
    for one, two in zip(model.weights, again.weights, strict=True):
        assert np.array_equal(np.asarray(one), np.asarray(two)), one.path
    with pytest.raises(ParameterError, match="2 sets of frames for 1 recipes"):
        train_in_steps(hulk_and_banner, small_ones[:1])
    with pytest.raises(ParameterError, match="different networks"):
        train_in_steps(hulk_and_banner, [small_ones[0], small_ones[1].but(encoder="small")])


def test_a_second_step_counts_its_own_steps(frames, eager):
    plan = TINY.but(method="byol", augmentation="none", epochs=1, warmup_epochs=0)
    model, _ = train_in_steps([frames, frames], [plan, plan])
    assert float(model.step) == 2 == model.total_steps


FORWARD = """
import functools, json, sys, numpy as np
from radiowidgets.models.encoders import ENCODERS, small
from radiowidgets.models.ssl.base import METHODS, Recipe, make_method
ENCODERS["tiny"] = functools.partial(small, widths=(4, 8))
folder = sys.argv[1]
batch = np.load(folder + "/batch.npy")
found = {}
for method in METHODS:
    model = make_method(Recipe(method, "tiny", 1, "none"))
    model.load_weights(f"{folder}/{method}.weights.h5")
    found[method] = float(model.compute_loss(y_pred=model(batch, training=True)))
print(json.dumps(found))
"""


def other_backend():
    """Return a backend other than the one in use; Keras's own NumPy backend needs JAX too."""
    for name in ("jax", "torch", "tensorflow"):
        if importlib.util.find_spec(name) and name != keras.config.backend():
            return name
    pytest.skip("no second backend is installed: pip install jax, or torch")


def test_two_backends_give_one_loss(frames, tmp_path):
    batch = np.stack([frames[:8], np.clip(frames[:8] + 0.1, 0, 1)], 1)
    np.save(tmp_path / "batch.npy", batch)
    environment = os.environ | {"KERAS_BACKEND": other_backend(), "TF_CPP_MIN_LOG_LEVEL": "3"}
    here = {}
    for method in METHODS:
        model = make_method(TINY.but(method=method, augmentation="none"))
        model.save_weights(tmp_path / f"{method}.weights.h5")
        here[method] = float(model.compute_loss(y_pred=model(batch, training=True)))
    command = [sys.executable, "-c", FORWARD, str(tmp_path)]
    there = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert json.loads(there.splitlines()[-1]) == pytest.approx(here, abs=1e-4)
