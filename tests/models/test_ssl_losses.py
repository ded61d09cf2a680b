"""Each method's loss against NumPy, and the contract that all methods keep."""

import functools
import math

import keras
import numpy as np
import pytest

from radiowidgets.errors import ParameterError
from radiowidgets.models.encoders import ENCODERS, small
from radiowidgets.models.ssl.all4one import All4One, all4one_loss, make_transformer, redundancy
from radiowidgets.models.ssl.base import METHODS, Recipe, make_method, train
from radiowidgets.models.ssl.byol import normalised_mse
from radiowidgets.models.ssl.dino import dino_loss
from radiowidgets.models.ssl.swav import sinkhorn, swapped_prediction
from radiowidgets.models.ssl.teacher import WithTeacher
from radiowidgets.models.ssl.wmse import WMSE, whiten

OPTIONS = {
    "simclr": {},
    "byol": {"predictor": 16, "momentum": 0.9},
    "dino": {"prototypes": 32, "momentum": 0.9, "teacher_temperature": (0.05, 0.06)},
    "wmse": {"whitening": 16},
    "swav": {"prototypes": 12},
    "all4one": {"predictor": 16, "queue": 40, "neighbours": 3, "heads": 2, "blocks": 1, "momentum": 0.9},
}


def recipe(method, **changes):
    options = {"projector": (16, 8)} | OPTIONS[method]
    plain = Recipe(method, "tiny", 1, "none", batch_size=24, epochs=3, warmup_epochs=0, rate=1e-2)
    return plain.but(options=options, **changes)


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setitem(ENCODERS, "tiny", functools.partial(small, widths=(4, 8)))


@pytest.fixture(autouse=True)
def eager():
    """Run step by step: for networks this small, TensorFlow's graphs take longer to make than to run."""
    if keras.config.backend() != "tensorflow":
        yield
        return
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="module")
def takes():
    """Two noisy takes of 24 different fields."""
    rng = np.random.default_rng(0)
    fields = rng.uniform(0, 1, (24, 1, 8, 8, 1)).repeat(4, 2).repeat(4, 3)
    return np.clip(fields + rng.normal(0, 0.1, (24, 2, 32, 32, 1)), 0, 1).astype(np.float32)


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def unit_rows(rows):
    return np.array([row / math.sqrt(sum(x * x for x in row)) for row in np.asarray(rows, float)])


def softmax(logits):
    shares = np.exp(np.asarray(logits, float))
    return shares / shares.sum(-1, keepdims=True)


def f32(*shape, rng):
    return rng.normal(size=shape).astype(np.float32)


def test_byol(rng):
    guess, target = f32(2, 6, 5, rng=rng)
    cosines = [g @ t / np.linalg.norm(g) / np.linalg.norm(t) for g, t in zip(guess, target, strict=True)]
    assert float(normalised_mse(guess, target)) == pytest.approx(2 - 2 * np.mean(cosines), abs=1e-5)
    assert float(normalised_mse(3 * guess, guess)) == pytest.approx(0, abs=1e-5)


def test_dino(rng):
    students, teachers, centre = f32(3, 5, 7, rng=rng), f32(2, 5, 7, rng=rng), f32(7, rng=rng)
    terms = []
    for i in range(2):
        for j in range(3):
            for n in range(5):
                target = softmax((teachers[i, n] - centre) / 0.5)
                if i != j:
                    terms.append(-sum(target * np.log(softmax(students[j, n] / 0.1))))
    found = dino_loss(list(students), list(teachers), centre, 0.1, 0.5)
    assert float(found) == pytest.approx(np.mean(terms), rel=1e-5)


def test_whitening_makes_batches_round(rng):
    rows = (f32(50, 6, rng=rng) @ f32(6, 6, rng=rng) + 3).astype(np.float32)
    white = np.asarray(whiten(rows))
    assert np.allclose(white.mean(0), 0, atol=1e-4)
    assert np.allclose(np.cov(white.T), np.eye(6), atol=1e-3)
    covariance = np.cov(rows.T.astype(float))
    lower = np.linalg.cholesky(0.9 * covariance + 0.1 * np.trace(covariance) / 6 * np.eye(6))
    expected = np.stack([np.linalg.solve(lower, row) for row in rows - rows.mean(0)])
    assert np.allclose(np.asarray(whiten(rows, 0.1)), expected, atol=1e-4)
    small_rows = np.asarray(whiten(rows * np.float32(1e-3), 0.1))
    assert np.allclose(small_rows, expected, atol=1e-3), "rows cannot escape by becoming small"
    flat = rows * np.array([1, 1, 1, 1, 1, 0.05], np.float32)
    usual = make_method(recipe("wmse")).shrinkage
    assert np.allclose(np.cov(np.asarray(whiten(flat, usual)).T), np.eye(6), atol=0.05), "nor by falling flat"
    flatter = (rows - rows.mean(0)) * np.array([1, 1, 1, 1, 1, 1e-3], np.float32)
    if keras.backend.backend() != "jax":
        assert np.allclose(np.cov(np.asarray(whiten(flatter, usual)).T), np.eye(6), atol=0.05), "however flat"
    both = np.asarray(whiten(np.stack([rows[:25], rows[25:]])))
    assert np.allclose(both[1], np.asarray(whiten(rows[25:])), atol=1e-4)


def test_wmse_whitens_slices_of_the_batch(takes):
    model = make_method(recipe("wmse").but(options={"projector": (16, 4), "whitening": 8}))
    first, second = model.outputs([takes[:20, 0], takes[:20, 1]], training=True)
    assert first.shape == second.shape == (2, 10, 4)
    expected = np.mean(
        np.square(unit_rows(np.reshape(first, (-1, 4))) - unit_rows(np.reshape(second, (-1, 4)))).sum(1)
    )
    assert float(model.contrast((first, second))) == pytest.approx(expected, abs=1e-5)


def sinkhorn_by_loops(scores, epsilon, iterations):
    share = np.exp(np.asarray(scores, float) / epsilon).T
    for _ in range(iterations):
        for k in range(share.shape[0]):
            share[k] /= share[k].sum() * share.shape[0]
        for n in range(share.shape[1]):
            share[:, n] /= share[:, n].sum() * share.shape[1]
    return (share * share.shape[1]).T


def test_swav(rng):
    first, second = np.tanh(f32(2, 9, 4, rng=rng))
    shares = np.asarray(sinkhorn(first, 0.05, 3))
    assert np.allclose(shares, sinkhorn_by_loops(first, 0.05, 3), atol=1e-5)
    assert np.allclose(shares.sum(1), 1, atol=1e-5)
    assert np.allclose(np.asarray(sinkhorn(first, 0.5, 50)).sum(0), 9 / 4, atol=1e-3), "evenly used"
    expected = 0.0
    for scores, other in ((first, second), (second, first)):
        assigned = sinkhorn_by_loops(other, 0.05, 3)
        for n in range(9):
            expected -= sum(assigned[n] * np.log(softmax(scores[n] / 0.1))) / 9
    assert float(swapped_prediction(first, second, 0.1)) == pytest.approx(expected, rel=1e-5)


def test_all4one(rng):
    names = ("row", "guess", "target", "neighbour", "centroid", "guessed_centroid")
    first, second = ({name: f32(6, 4, rng=rng) for name in names} for _ in range(2))

    def partner_entropy(near, guess, temperature):
        cosines = unit_rows(near) @ unit_rows(guess).T
        return -np.mean([math.log(softmax(cosines[n] / temperature)[n]) for n in range(len(near))])

    near = partner_entropy(first["neighbour"], second["guess"], 0.2)
    near += partner_entropy(second["neighbour"], first["guess"], 0.2)
    middle = partner_entropy(first["centroid"], second["guessed_centroid"], 0.1)
    middle += partner_entropy(second["centroid"], first["guessed_centroid"], 0.1)
    same, other = [], []
    for one, two in ((first["target"], second["row"]), (second["target"], first["row"])):
        c = unit_rows(one.T) @ unit_rows(two.T).T
        for i in range(4):
            for j in range(4):
                (same if i == j else other).append((c[i, j] - (i == j)) ** 2)
    features = 0.5 * math.sqrt(np.mean(same)) + 0.5 * math.sqrt(np.mean(other))
    expected = 0.5 * near / 2 + 0.5 * middle / 2 + 5 * features
    assert float(all4one_loss(first, second, 0.2)) == pytest.approx(expected, rel=1e-5)
    whole = np.linalg.qr(f32(6, 4, rng=rng))[0]
    assert float(redundancy([(whole, whole)])) == pytest.approx(0, abs=1e-3)


def test_the_transformer_knows_places(rng):
    rows = f32(2, 3, 8, rng=rng)
    transformer = make_transformer(8, 3, 1, 2)
    swapped = rows[:, [0, 2, 1]]
    assert not np.allclose(transformer(rows)[:, 0], transformer(swapped)[:, 0], atol=1e-5)


def test_the_queue_takes_the_newest_first(takes):
    model = make_method(recipe("all4one"))
    before = np.asarray(model.queue)
    seen = model.outputs([takes[:16, 0], takes[:16, 1]], training=True)
    after = np.asarray(model.queue)
    assert np.allclose(after[:16], seen[0]["target"]) and np.array_equal(after[16:], before[:24])
    target = np.asarray(seen[1]["target"])
    assert np.allclose(seen[1]["neighbour"], before[np.argmax(target @ before.T, axis=1)])


def test_dino_moves_its_centre_and_sees_crops(takes):
    model = make_method(recipe("dino").but(options=recipe("dino").options | {"crops": 2}))
    views = model.views(takes[:16])
    assert [tuple(view.shape) for view in views] == [(16, 32, 32, 1)] * 4
    outputs = model.outputs(views, training=True)
    assert len(outputs["students"]) == 4 and len(outputs["teachers"]) == 2
    assert np.allclose(outputs["centre"], 0)
    assert np.allclose(model.centre, 0.1 * np.mean(np.stack(outputs["teachers"]), (0, 1)), atol=1e-6)
    assert float(outputs["sharpness"]) == pytest.approx(0.05)


@pytest.mark.parametrize("method", METHODS)
def test_a_stopped_training_goes_on_exactly_lowers_its_loss_and_does_not_collapse(method, takes, tmp_path):
    plan = recipe(method)
    model = make_method(plan)
    before = np.asarray(model(takes)).std(0).mean()
    whole = train(model, takes, plan)
    assert whole[-1] < whole[0]
    assert np.asarray(model(takes)).std(0).mean() > 0.5 * before, "frames still differ"
    train(make_method(plan), takes, plan, tmp_path, stop_after=2)
    again = make_method(plan)
    assert train(again, takes, plan, tmp_path) == whole
    for one, two in zip(model.weights, again.weights, strict=True):
        assert np.array_equal(np.asarray(one), np.asarray(two)), one.path


@pytest.mark.parametrize("method", [name for name in METHODS if name in {"byol", "dino", "all4one"}])
def test_no_gradient_reaches_the_teacher(method, takes):
    plan = recipe(method, epochs=1)
    model = make_method(plan.but(options=plan.options | {"momentum": 1.0}))
    assert isinstance(model, WithTeacher)
    learnt = {id(weight) for weight in model.trainable_variables}
    for teacher, student in model.pairs:
        assert not learnt & {id(weight) for weight in teacher.weights}
        assert learnt >= {id(weight) for weight in student.trainable_variables}
    before = [[np.asarray(w) for w in teacher.weights] for teacher, _ in model.pairs]
    train(model, takes, plan)
    for old, (teacher, student) in zip(before, model.pairs, strict=True):
        for was, now, led in zip(old, teacher.weights, student.weights, strict=True):
            if led.trainable:
                assert np.array_equal(was, np.asarray(now)), now.path
                assert not np.array_equal(was, np.asarray(led)), led.path


def test_the_momentum_rises_to_one(takes):
    plan = recipe("byol").but(options=recipe("byol").options | {"momentum": 0.5})
    model = make_method(plan)
    model.total_steps = 4
    weight, led = model.teacher.weights[0], model.encoder.weights[0]
    moved = []
    for _ in range(5):
        led.assign(weight + 1.0)
        old = np.asarray(weight).copy()
        model.before_step()
        moved.append(float(np.mean(np.asarray(weight) - old)))
    assert moved == pytest.approx([0.5 * (math.cos(math.pi * k / 4) + 1) / 2 for k in range(5)], abs=1e-5)


def test_a_teacher_follows_once_an_update(takes):
    plan = recipe("byol").but(options=recipe("byol").options | {"momentum": 0.5})
    model = make_method(plan)
    model.accumulate = 3
    weight, led = model.teacher.weights[0], model.encoder.weights[0]
    led.assign(weight + 1.0)
    gaps = []
    for _ in range(7):
        model.before_step()
        gaps.append(float(np.mean(np.asarray(led) - np.asarray(weight))))
    assert gaps == pytest.approx([0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.125], abs=1e-5)


def test_bad_parameters_are_named():
    encoder = small(1, widths=(4, 8))
    with pytest.raises(ParameterError, match=r"momentum is 1\.5"):
        make_method(recipe("byol").but(options={"momentum": 1.5}))
    with pytest.raises(ParameterError, match="10 numbers, which 8 heads"):
        All4One(encoder, projector=(16, 10))
    with pytest.raises(ParameterError, match="queue of 3"):
        All4One(encoder, projector=(16, 8), queue=3)
    with pytest.raises(ParameterError, match="whitening is 1"):
        WMSE(encoder, whitening=1)
