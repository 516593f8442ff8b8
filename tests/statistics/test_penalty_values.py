"""What a weight's penalties amount to, from its norms or by themselves."""

import keras
import numpy as np
import pytest
from helpers.backends import to_numpy

import kerasreg as kr
from kerasreg.regularizers.live_strength import scale_penalties
from kerasreg.statistics.host import BlockCounter
from kerasreg.statistics.weights import find_weights, penalty_values, strengths


class Doubled(kr.L1):
    """Inherits the strength, but not the value."""

    def _value(self, w):
        return 2 * super()._value(w)


class Bare(keras.regularizers.Regularizer):
    def __call__(self, w):
        return keras.ops.sum(keras.ops.abs(w) ** 3)


# penalty, its main strength
PENALTIES = [
    (kr.L1(0.3), 0.3),
    (kr.L2(0.2), 0.2),
    (kr.ElasticNet(0.5, 0.3, 0.2), 0.5),
    (kr.GroupLasso(0.4), 0.4),
    (kr.MCP(0.1), 0.1),
    (Doubled(0.3), 0.3),
    (keras.regularizers.L1(0.25), 0.25),
    (keras.regularizers.L2(0.25), 0.25),
    (keras.regularizers.L1L2(0.5, 0.25), 0.5),
    (keras.regularizers.L1L2(0.0, 0.25), 0.25),
    (keras.regularizers.OrthogonalRegularizer(0.1), 0.1),
    (Bare(), None),
]


def kernel_with(penalty, proximal=None, trainable=True):
    layer = keras.layers.Dense(4, kernel_regularizer=penalty, use_bias=False, name="layer")
    model = keras.Sequential([keras.Input((5,)), layer])
    if proximal is not None:
        model.compile(kr.Proximal(keras.optimizers.Adam(), proximal), "mse")
        model.optimizer.build(model.trainable_variables)
    layer.trainable = trainable
    (weight,) = find_weights(model)
    return model, weight


def value_of(weight):
    w = to_numpy(weight.variable.value).astype("float32")
    found = BlockCounter(0.0).count(w, weight.unit_axes)
    return penalty_values([weight], [found])[0]


def strength_of(weight):
    return strengths([weight])[1].get(weight.name)


@pytest.mark.fast_cases(4)
@pytest.mark.parametrize(("penalty", "main"), PENALTIES, ids=lambda p: type(p).__name__)
def test_in_the_loss(penalty, main):
    _, weight = kernel_with(penalty)
    expected = float(np.sum(to_numpy(penalty(weight.variable.value))))
    np.testing.assert_allclose(value_of(weight), expected, rtol=1e-5)
    found = strength_of(weight)
    assert found is main if main is None else np.isclose(found, main)
    _, frozen = kernel_with(penalty, trainable=False)
    assert value_of(frozen) == 0 and strength_of(frozen) is None


@pytest.mark.parametrize("penalty", [kr.L1(0.3), kr.ElasticNet(0.5, 0.3, 0.2), kr.GroupLasso(0.4)])
def test_after_the_step(penalty):
    model, weight = kernel_with(None, penalty)
    expected = float(to_numpy(penalty(weight.variable.value)))
    np.testing.assert_allclose(value_of(weight), expected, rtol=1e-5)
    before = strength_of(weight)
    model.optimizer.strength_scale = 0.25
    np.testing.assert_allclose(value_of(weight), 0.25 * expected, rtol=1e-5)
    assert strength_of(weight) == before * 0.25 > 0


@pytest.mark.parametrize("constraint", [kr.TopK(0.5), kr.KeepZeros()])
def test_constraints_have_no_value(constraint):
    _, weight = kernel_with(None, constraint)
    assert value_of(weight) == 0 and strength_of(weight) is None


def test_both_places_add_up():
    _, weight = kernel_with(kr.L2(0.1), kr.L1(0.1))
    w = to_numpy(weight.variable.value)
    expected = 0.1 * np.sum(w**2) + 0.1 * np.sum(np.abs(w))
    np.testing.assert_allclose(value_of(weight), expected, rtol=1e-5)
    assert strength_of(weight) == 0.1


@pytest.mark.fast_cases(3)
@pytest.mark.parametrize(
    ("factors", "penalties", "expected"),
    [
        ({}, (0.1, 0.1), None),  # Nothing has ever scaled them.
        ({"a": 0.5, "b": 0.5}, (0.1, 0.1), 0.5),
        ({"a": 0.5, "b": 0.25}, (0.1, 0.1), None),
        ({"a": 0.5}, (0.1, 0.1), None),  # The other one's is 1.
        ({"a": 1.0}, (0.1, 0.1), 1.0),
        ({"a": 0.5}, (0.1, None), 0.5),
    ],
)
def test_the_factor_that_penalties_have_in_common(factors, penalties, expected):
    layers = [
        keras.layers.Dense(2, kernel_regularizer=l1 and kr.L1(l1), name=name)
        for name, l1 in zip("ab", penalties, strict=True)
    ]
    model = keras.Sequential([keras.Input((2,)), *layers])
    for name, factor in factors.items():
        (scale,) = scale_penalties(model, [model.get_layer(name).kernel])
        scale.assign(factor)
    assert strengths(find_weights(model))[0] == expected
    model.compile(kr.Proximal(keras.optimizers.Adam(), {".*a/bias": kr.L1(0.1)}), "mse")
    model.optimizer.strength_scale = 7.0
    assert strengths(find_weights(model))[0] == 7.0
