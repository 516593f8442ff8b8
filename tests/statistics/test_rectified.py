"""Which layers put out exact zeros by their activation, and along which axes their units lie."""

import keras
import pytest

import kerasreg as kr
from kerasreg.statistics.rectified import activation_of, output_units, rectified_layers

layers = keras.layers
ZERO = "relu relu6 hard_sigmoid hard_silu sparse_plus hard_shrink soft_shrink sparsemax".split()
NONE = "linear sigmoid tanh gelu silu leaky_relu elu selu softplus softmax log_softmax mish".split()


def threshold(x):
    return keras.ops.where(x > 1.0, x, 0.0)


def fails(x):
    raise RuntimeError("wants an image")


@pytest.mark.parametrize(
    ("activation", "expected"),
    [*((a, True) for a in ZERO), *((a, False) for a in NONE), (threshold, True), (fails, False)],
)
def test_an_activation_counts_if_it_is_zero_on_an_interval(activation, expected):
    layer = layers.Dense(2, activation)
    assert (rectified_layers(layer) == [layer]) == expected
    layer = layers.Activation(activation)
    assert (rectified_layers(layer) == [layer]) == expected


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (layers.ReLU(), True),
        (layers.ReLU(6.0), True),
        (layers.ReLU(threshold=1.0), True),
        (layers.ReLU(negative_slope=0.1), False),
        (layers.LeakyReLU(), False),
        (layers.Dropout(0.5), False),
        (layers.MaxPooling2D(), False),
        (layers.Conv2D(2, 3, activation="relu"), True),
        (layers.LSTM(2, "relu"), True),
        (layers.LSTM(2), False),
        (layers.RNN(layers.SimpleRNNCell(2, "relu")), True),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_layers_of_each_kind(layer, expected):
    assert (rectified_layers(layer) == [layer]) == expected


def test_layers_in_layers():
    inner = layers.Dense(2, "relu")
    dropping = kr.DropConnect(inner, 0.5)
    assert rectified_layers(dropping) == [inner]
    repeated = layers.TimeDistributed(layers.Dense(2, "relu"))
    assert rectified_layers(repeated) == [repeated]
    both = layers.Bidirectional(layers.GRU(2, "relu"))
    assert rectified_layers(both) == [both.forward_layer, both.backward_layer]


class Own(layers.Layer):
    def call(self, x):
        return keras.ops.relu(x)


def test_a_layer_of_ones_own_registers():
    layer = Own()
    assert rectified_layers(layer) == []

    @activation_of.register
    def _(layer: Own):
        return keras.ops.relu

    assert rectified_layers(layer) == [layer]


@pytest.mark.parametrize(
    ("layer", "rank", "expected"),
    [
        (layers.Dense(2), 2, (1,)),
        (layers.Dense(2), 3, (2,)),
        (layers.Conv2D(2, 3), 4, (3,)),
        (layers.Conv2D(2, 3, data_format="channels_first"), 4, (1,)),
        (layers.EinsumDense("abc,cde->abde", (None, 2, 3)), 4, (2, 3)),
        (layers.EinsumDense("...x,xy->...y", (3,)), 3, (2,)),
        (layers.ReLU(), 1, None),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_output_units(layer, rank, expected):
    assert output_units(layer, rank) == expected
