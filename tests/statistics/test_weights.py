"""Weights are found once each, by path, with the axes of their units."""

import re

import keras
import numpy as np
import pytest
from helpers.backends import to_numpy
from helpers.models import Subclassed, kitchen_sink

import kerasreg as kr
from kerasreg.statistics.measurement import statistics_of
from kerasreg.statistics.weights import describe_regularizer, find_weights


def value(weight):
    (penalty,) = statistics_of([weight], threshold=0.0)()().penalties
    return penalty


# name: axes of the output units (None: it has no units)
KITCHEN_SINK = {
    "conv/kernel": (3,),
    "conv/bias": None,
    "depthwise/kernel": (2, 3),
    "depthwise/bias": None,
    "separable/depthwise_kernel": (2, 3),
    "separable/pointwise_kernel": (3,),
    "separable/bias": None,
    "transpose/kernel": (2,),
    "transpose/bias": None,
    "norm/gamma": None,
    "norm/beta": None,
    "attention/query/kernel": (1, 2),
    "attention/query/bias": None,
    "attention/key/kernel": (1, 2),
    "attention/key/bias": None,
    "attention/value/kernel": (1, 2),
    "attention/value/bias": None,
    "attention/attention_output/kernel": (2,),
    "attention/attention_output/bias": None,
    "both/forward_lstm/lstm_cell/kernel": (1,),
    "both/forward_lstm/lstm_cell/recurrent_kernel": (1,),
    "both/forward_lstm/lstm_cell/bias": None,
    "both/backward_lstm/lstm_cell/kernel": (1,),
    "both/backward_lstm/lstm_cell/recurrent_kernel": (1,),
    "both/backward_lstm/lstm_cell/bias": None,
    "shared/kernel": (1,),
    "shared/bias": None,
    "block/inner/kernel": (1,),
    "block/inner/bias": None,
    "words/embeddings": (1,),
    "gru/gru_cell/kernel": (1,),
    "gru/gru_cell/recurrent_kernel": (1,),
    "gru/gru_cell/bias": None,
    "einsum/kernel": (1,),
    "einsum/bias": None,
}


def test_every_kind_of_layer():
    model = kitchen_sink()
    found = find_weights(model)
    # Keras numbers what it names itself (`lstm`, `lstm_1`) by what the process made before.
    names = [re.sub(r"(lstm|cell)_\d+", r"\1", weight.name) for weight in found]
    assert dict(zip(names, [weight.unit_axes for weight in found], strict=True)) == KITCHEN_SINK
    assert {id(w.variable) for w in found} == {id(v) for v in model.trainable_weights}
    assert len(found) == len(model.trainable_weights)


def test_subclassed_models_and_repeated_names():
    model = Subclassed()
    model(np.ones((2, 5), "float32"))
    names = [weight.name for weight in find_weights(model)]
    assert names[:4] == ["same/kernel", "same/bias", "same/kernel#2", "same/bias#2"]
    assert sorted(names[4:]) == ["block/dense/bias", "block/dense/kernel", "block/gain"]


def test_frozen_layers_are_found_but_their_penalty_is_not_in_the_loss():
    layer = keras.layers.Dense(2, kernel_regularizer=kr.L1(0.1), name="frozen")
    model = keras.Sequential([keras.Input((3,)), layer])
    kernel, bias = find_weights(model)
    assert value(kernel) > 0 and value(bias) == 0
    layer.trainable = False
    kernel, _ = find_weights(model)
    assert kernel.penalties[0][1].endswith("frozen")
    assert value(kernel) == 0 and model.losses == []


def test_normalisation_and_activation_weights_have_no_units():
    inputs = keras.Input((3, 4))
    x = keras.layers.LayerNormalization(axis=(1, 2))(keras.layers.PReLU()(inputs))
    assert {weight.unit_axes for weight in find_weights(keras.Model(inputs, x))} == {None}


class PerUnit(keras.regularizers.Regularizer):
    def __call__(self, w):
        return keras.ops.sum(w * w, axis=0)


def test_a_regularizer_that_returns_a_vector_is_summed():
    layer = keras.layers.Dense(2, kernel_regularizer=PerUnit())
    model = keras.Sequential([keras.Input((3,)), layer])
    kernel, _ = find_weights(model)
    expected = np.sum(to_numpy(layer.kernel.value) ** 2)
    np.testing.assert_allclose(value(kernel), expected, rtol=1e-6)


def test_the_models_own_name_is_left_out():
    names = []
    for model_name in ("sequential", "sequential_1"):
        model = keras.Sequential([keras.layers.Dense(2, name="a")], name=model_name)
        model.build((None, 3))
        names.append([weight.name for weight in find_weights(model)])
    assert names[0] == names[1] == ["a/kernel", "a/bias"]


@pytest.mark.parametrize("pattern", ["kernel$", re.compile("kernel$"), "^.*/kernel"])
def test_pattern(pattern):
    found = find_weights(kitchen_sink(), pattern)
    assert len(found) > 5
    assert all(weight.name.endswith("kernel") for weight in found)


def test_pattern_that_matches_nothing_lists_the_paths():
    with pytest.raises(ValueError, match="(?s)argument `weights`.*conv/kernel.*Received.*'kernle'"):
        find_weights(kitchen_sink(), "kernle")


@pytest.mark.parametrize("pattern", ["(", 3, ["kernel"]])
def test_pattern_that_is_none(pattern):
    with pytest.raises(ValueError, match="argument `weights`. Expected a regular expression"):
        find_weights(kitchen_sink(), pattern)


def test_model_that_is_not_built():
    with pytest.raises(ValueError, match="Expected a built model"):
        find_weights(keras.Sequential([keras.layers.Dense(2)]))


def test_model_without_weights():
    assert find_weights(keras.Sequential([keras.Input((3,)), kr.Dropout(0.5)])) == []


def a_function(w):
    return keras.ops.sum(w)


@pytest.mark.parametrize(
    ("regularizer", "expected"),
    [
        (kr.L1(1e-4), ("L1", "l1=0.0001")),
        (kr.GroupLasso(0.1, axis=0), ("GroupLasso", "strength=0.1, axis=0, size_scaling=True")),
        (keras.regularizers.L1(1e-3), ("keras.L1", "l1=0.001")),
        (keras.regularizers.L1L2(0.1, 0.2), ("keras.L1L2", "l1=0.1, l2=0.2")),
        (keras.regularizers.Regularizer(), ("keras.Regularizer", "")),
        (a_function, ("a_function", "")),
    ],
)
def test_regularizers_in_words(regularizer, expected):
    assert describe_regularizer(regularizer) == expected


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (keras.layers.Dense(3), (4,), (0,)),
        (keras.layers.Conv2D(3, 2), (8, 8, 4), (2,)),
        (keras.layers.Conv2DTranspose(3, 2), (8, 8, 4), (3,)),
        (keras.layers.DepthwiseConv2D(2), (8, 8, 4), (2,)),
        (keras.layers.EinsumDense("ab,bcd->acd", (2, 3)), (4,), (0,)),
        (keras.layers.EinsumDense("abc,bcd->ad", 3), (4, 5), (0, 1)),
        (keras.layers.EinsumDense("abc,dc->abd", (None, 3)), (4, 5), (1,)),
    ],
    ids=lambda part: getattr(part, "name", None),
)
def test_axes_of_inputs(layer, shape, expected):
    kernel, *others = find_weights(keras.Sequential([keras.Input(shape), layer]))
    assert kernel.input_axes == expected
    assert all(weight.input_axes is None for weight in others)
