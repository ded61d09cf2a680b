import keras
import numpy as np
import pytest

from radiowidgets.errors import ParameterError
from radiowidgets.models.optimizers import LARS, make_optimizer, warmup_cosine


def test_lars_follows_its_paper():
    rng = np.random.default_rng(0)
    kernel, bias = rng.normal(size=(4, 3)), rng.normal(size=3)
    steps = [(rng.normal(size=(4, 3)), rng.normal(size=3)) for _ in range(3)]
    variables = [keras.Variable(kernel.astype("f4")), keras.Variable(bias.astype("f4"))]
    optimizer = LARS(0.5, momentum=0.9, decay=0.01, trust=0.02)
    speed = [np.zeros_like(kernel), np.zeros_like(bias)]
    for gradients in steps:
        optimizer.apply(
            [keras.ops.convert_to_tensor(g.astype("f4")) for g in gradients],
            None if optimizer.built else variables,
        )
        ratio = 0.02 * np.linalg.norm(kernel) / (np.linalg.norm(gradients[0]) + 0.01 * np.linalg.norm(kernel))
        speed[0] = 0.9 * speed[0] + 0.5 * ratio * (gradients[0] + 0.01 * kernel)
        speed[1] = 0.9 * speed[1] + 0.5 * gradients[1]
        kernel, bias = kernel - speed[0], bias - speed[1]
    assert np.allclose(np.asarray(variables[0]), kernel, atol=1e-5)
    assert np.allclose(np.asarray(variables[1]), bias, atol=1e-5)


def test_lars_leaves_biases_alone_whatever_their_shape():
    attention = keras.layers.MultiHeadAttention(2, 3)
    attention.build((None, 4, 6), (None, 4, 6))
    weights = attention.trainable_variables
    for variable in weights:
        variable.assign(variable * 0 + 0.5)
    optimizer = LARS(0.1, decay=0.5)
    optimizer.apply([keras.ops.ones(variable.shape) for variable in weights], weights)
    biases = [variable for variable in weights if variable.name == "bias"]
    assert {len(variable.shape) for variable in biases} == {1, 2}
    for variable in weights:
        assert np.allclose(np.asarray(variable), 0.4) == (variable.name == "bias"), variable.path


def test_lars_survives_weights_of_zero():
    variable = keras.Variable(np.zeros((2, 2), "f4"))
    optimizer = LARS(0.1)
    optimizer.apply([keras.ops.zeros((2, 2))], [variable])
    optimizer.apply([keras.ops.ones((2, 2))])
    assert np.allclose(np.asarray(variable), -0.1)


def test_the_rate_warms_up_and_decays():
    rate = warmup_cosine(2.0, 100, 20)
    values = [float(rate(step)) for step in (0, 10, 20, 60, 100)]
    assert values == pytest.approx([0, 1, 2, 1, 0], abs=1e-6)
    assert float(warmup_cosine(2.0, 10)(0)) == pytest.approx(2)
    with pytest.raises(ParameterError, match="warmup is 10 of 10"):
        warmup_cosine(1.0, 10, 10)


@pytest.mark.parametrize("name", ["lars", "sgd"])
def test_accumulated_gradients_are_those_of_one_large_batch(name):
    def after(accumulate, gradients):
        variable = keras.Variable(np.ones((3, 2), "f4"))
        optimizer = make_optimizer(name, 0.1, accumulate=accumulate)
        optimizer.build([variable])
        for gradient in gradients:
            optimizer.apply([keras.ops.convert_to_tensor(gradient)])
        return np.asarray(variable)

    parts = np.random.default_rng(1).normal(size=(4, 3, 2)).astype("f4")
    assert np.allclose(after(4, parts), after(1, [parts.mean(0)]), atol=1e-6)


def test_unknown_optimizers_are_named():
    with pytest.raises(ParameterError, match="optimizer is 'rmsprop'"):
        make_optimizer("rmsprop", 0.1)
