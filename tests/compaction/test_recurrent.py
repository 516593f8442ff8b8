"""Recurrent convolutions, cells, and states that are handed on."""

import keras
import numpy as np
import pytest
from helpers.dead_channels import change, compacted, kill, randomize, width
from helpers.marks import first_is_fast, slow

layers = keras.layers


def deaden(cell, units=5):
    """Unit 0 gets nothing; 1 and 2 read each other, and of the recurrent kernel none else."""
    gates = cell.kernel.shape[-1] // units
    columns = np.arange(gates) * units
    change(cell.kernel, (..., columns), 0)
    change(cell.recurrent_kernel, (..., columns), 0)
    if cell.bias is not None:
        change(cell.bias, (..., columns), 0)
    others = np.tile([0, 0, 0, 1, 1], gates) == 1
    change(cell.recurrent_kernel, (..., slice(1, 3), others), 0)


CONVOLUTIONS = {
    # The constant is seen at all positions, or not at the border.
    "1d": (layers.ConvLSTM1D, (3, 6, 2), {"kernel_size": 2}, 4),
    "padded": (layers.ConvLSTM1D, (3, 6, 2), {"kernel_size": 3, "padding": "same"}, 5),
    "padded of one": (layers.ConvLSTM1D, (3, 6, 2), {"kernel_size": 1, "padding": "same"}, 4),
    "2d": (layers.ConvLSTM2D, (3, 4, 5, 2), {"kernel_size": 2, "return_sequences": True}, 4),
    "without bias": (layers.ConvLSTM2D, (3, 4, 5, 2), {"kernel_size": 2, "use_bias": False}, 4),
    "3d": (layers.ConvLSTM3D, (2, 4, 3, 3, 2), {"kernel_size": 2, "strides": 2}, 4),
}


@pytest.mark.parametrize("name", first_is_fast(CONVOLUTIONS))
def test_recurrent_convolutions(name):
    cls, shape, options, left = CONVOLUTIONS[name]
    x = inputs = keras.Input(shape)
    x = layers.Dense(6, name="first")(x)
    x = cls(5, name="recurrent", **options)(x)
    model = randomize(keras.Model(inputs, layers.Dense(2, name="last")(x)))
    kill(model.get_layer("first"), zero=[0], constant=[1])
    deaden(model.get_layer("recurrent").cell)
    change(model.get_layer("last").kernel, slice(1, 3), 0)
    small = compacted(model)
    assert (width(small, "first"), width(small, "recurrent")) == (left, 2)


def test_recurrent_convolutions_channels_first():
    if keras.backend.backend() == "tensorflow":
        pytest.skip("TensorFlow has no such convolution on a CPU.")
    options = {"data_format": "channels_first", "return_sequences": True}
    x = inputs = keras.Input((3, 2, 4, 4))
    x = layers.ConvLSTM2D(6, 1, name="first", **options)(x)
    x = layers.ConvLSTM2D(4, 2, name="recurrent", **options)(x)
    model = randomize(keras.Model(inputs, x))
    change(model.get_layer("recurrent").cell.kernel, (..., 1, slice(None)), 0)
    change(model.get_layer("first").cell.recurrent_kernel, (..., 1, slice(None)), 0)
    small = compacted(model)
    assert small.get_layer("first").cell.filters == 5


@pytest.mark.parametrize(
    "cell",
    first_is_fast([layers.LSTMCell(5), layers.GRUCell(5, use_bias=False), layers.SimpleRNNCell(5)]),
)
def test_cells(cell):
    x = inputs = keras.Input((3, 2))
    x = layers.Dense(6, name="first")(x)
    x = layers.RNN(cell, name="recurrent")(x)
    model = randomize(keras.Model(inputs, layers.Dense(2, name="last")(x)))
    kill(model.get_layer("first"), zero=[0], constant=[1])
    deaden(cell)
    change(model.get_layer("last").kernel, slice(1, 3), 0)
    small = compacted(model)
    assert (width(small, "first"), small.get_layer("recurrent").cell.units) == (4, 2)


def test_stacked_cells_stay():
    cells = [layers.LSTMCell(4), layers.GRUCell(3)]
    x = inputs = keras.Input((3, 2))
    x = layers.Bidirectional(layers.RNN(layers.StackedRNNCells(cells)))(x)
    model = randomize(keras.Model(inputs, layers.Dense(2, name="last")(x)))
    change(model.get_layer("last").kernel, 0, 0)
    assert compacted(model).count_params() == model.count_params()


@pytest.mark.parametrize("cls", [layers.LSTM, slow(layers.GRU), slow(layers.SimpleRNN)])
def test_states_go_from_an_encoder_to_a_decoder(cls):
    x, y = keras.Input((3, 2)), keras.Input((4, 2))
    _, *states = cls(5, return_state=True, name="encoder")(x)
    out = cls(5, return_sequences=True, name="decoder")(y, initial_state=states)
    model = randomize(keras.Model([x, y], layers.Dense(2, name="last")(out)))
    encoder, decoder = model.get_layer("encoder").cell, model.get_layer("decoder").cell
    deaden(decoder)
    change(model.get_layer("last").kernel, slice(1, 3), 0)
    # The state of unit 0 is not zero where it begins.
    small = compacted(model)
    assert small.get_layer("encoder").units == small.get_layer("decoder").units == 5
    deaden(encoder)
    small = compacted(model)
    assert small.get_layer("encoder").units == small.get_layer("decoder").units == 2
