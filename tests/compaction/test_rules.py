"""Each rule on channels that are zero, constant, and read by nobody."""

import keras
import numpy as np
import pytest
from helpers.dead_channels import change, compacted, inputs_for, kill, randomize, width
from helpers.marks import first_is_fast, slow
from helpers.random_graphs import relative_error

import kerasreg as kr

layers = keras.layers
ops = keras.ops


def sandwich(shape, layer, first=layers.Dense):
    """`first`, the layer and `last`; of the six channels between them one is zero, one 0.7."""
    x = inputs = keras.Input(shape)
    x = first(6, name="first")(x) if first is layers.Dense else first(x)
    x = layer(x)
    model = keras.Model(inputs, layers.Dense(3, name="last")(x))
    kill(randomize(model).get_layer("first"), zero=[0], constant=[1])
    return model


# The layer, and how many of six channels before it stay: without the zero, the constant and the one
# that nobody reads three are left.
SAME_CHANNELS = {
    "batch normalization": (layers.BatchNormalization(), 3),
    "activation": (layers.Activation("sigmoid"), 3),
    "own activation": (layers.Activation(lambda x: x * ops.sigmoid(x)), 3),
    "mixing activation": (layers.Activation("softmax"), 6),
    "relu": (layers.ReLU(negative_slope=0.1), 3),
    "elu": (layers.ELU(), 3),
    "leaky": (layers.LeakyReLU(), 3),
    "prelu": (layers.PReLU(shared_axes=[1, 2]), 3),
    # A slope for each position: the constant 0.7 is on the other side.
    "prelu of positions": (layers.PReLU(), 3),
    "rescaling": (layers.Rescaling(2.0, offset=1.0), 3),
    "rescaling of channels": (layers.Rescaling([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), 3),
    "dropout": (layers.SpatialDropout2D(0.3), 3),
    "own dropout": (kr.Dropout(0.3), 3),
    "classical dropout": (kr.Dropout(0.3, scaling="inference"), 3),
    "maximum": (layers.MaxPooling2D(2, padding="same"), 3),
    "average": (layers.AveragePooling2D(2, strides=1, padding="same"), 3),
    "global": (layers.GlobalAveragePooling2D(keepdims=True), 3),
    # The border has zeros beside the constant.
    "padding": (layers.ZeroPadding2D(1), 4),
    "cropping": (layers.Cropping2D(1), 3),
    "nearest": (layers.UpSampling2D(2), 3),
    "bilinear": (layers.UpSampling2D(2, interpolation="bilinear"), 3),
    "reshape": (layers.Reshape((16, 6)), 3),
    "reshape with a rest": (layers.Reshape((-1, 6)), 3),
    "layer normalization": (layers.LayerNormalization(), 6),
    "group normalization": (layers.GroupNormalization(2), 6),
    # The zero can go; all others are part of the mean.
    "rms normalization": (layers.RMSNormalization(), 5),
    "depthwise": (layers.DepthwiseConv2D(2), 3),
    "padded depthwise": (layers.DepthwiseConv2D(3, padding="same"), 4),
    "no rule": (layers.Lambda(lambda x: x * 1.0), 6),
    # What always has the value that is masked tells nothing.
    "masking": (layers.Masking(), 5),
    "other masking": (layers.Masking(-1.0), 6),
    "unary operation": (lambda x: ops.exp(-x), 3),
    "with a number": (lambda x: 3.0 - x * 2.0, 3),
    "with an array": (lambda x: x + np.arange(6.0), 3),
    "transposed": (lambda x: ops.transpose(x, (0, 2, 1, 3)), 3),
    "sliced": (lambda x: x[:, 0], 3),
    "named widths": (lambda x: ops.reshape(x, (-1, 16, 6)), 3),
    "infinite": (lambda x: ops.log(ops.abs(x) + 1.0), 3),
    "drop path": (kr.DropPath(0.1), 3),
}
COMMON = "batch normalization, activation, padding, reshape, rms normalization, with a number"
COMMON = f"{COMMON}, depthwise, no rule, sliced, classical dropout".split(", ")


@pytest.mark.fast_cases(1)
@pytest.mark.filterwarnings("ignore:What plain Keras has no layer for")
@pytest.mark.parametrize("name", [name if name in COMMON else slow(name) for name in SAME_CHANNELS])
def test_channels_are_passed_on(name):
    layer, left = SAME_CHANNELS[name]
    model = sandwich((4, 4, 2), layer)
    change(model.get_layer("last").kernel, 2, 0)
    assert width(compacted(model), "first") == left


# Layers with a kernel, and what of the six channels before them stays.
KERNELS = {
    "conv": (layers.Conv2D(4, 2, name="kernel"), 3),
    # The border tells the constant from the bias.
    "padded": (layers.Conv2D(4, 3, padding="same", name="kernel"), 4),
    "padded of one": (layers.Conv2D(4, 1, padding="same", strides=2, name="kernel"), 3),
    "without bias": (layers.Conv2D(4, 2, use_bias=False, name="kernel"), 3),
    "transposed": (layers.Conv2DTranspose(4, 2, strides=2, name="kernel"), 4),
    "separable": (layers.SeparableConv2D(4, 2, name="kernel"), 3),
    "dense": (layers.Dense(4, name="kernel"), 3),
    "dense without bias": (layers.Dense(4, use_bias=False, name="kernel"), 3),
    "einsum": (layers.EinsumDense("...c,cd->...d", (4,), bias_axes="d", name="kernel"), 3),
    "einsum without bias": (layers.EinsumDense("abdc,ce->abde", (4, 4, 4), name="kernel"), 3),
    "wrapped": (kr.DropConnect(layers.Dense(4, use_bias=False), 0.3, name="kernel"), 3),
    "of time steps": (layers.TimeDistributed(layers.Conv1D(4, 2), name="kernel"), 3),
}


@pytest.mark.filterwarnings("ignore:What plain Keras has no layer for")
@pytest.mark.parametrize("name", first_is_fast(KERNELS))
def test_kernels_read_channels(name):
    layer, left = KERNELS[name]
    model = sandwich((4, 4, 2), layer)
    layer = getattr(layer, "layer", layer)
    kernel = getattr(layer, "pointwise_kernel", None)
    kernel = layer.kernel if kernel is None else kernel
    change(kernel, (..., slice(None), 2) if name == "transposed" else (..., 2, slice(None)), 0)
    small = compacted(model)
    assert width(small, "first") == left
    # Of its own units one is read by nobody.
    change(model.get_layer("last").kernel, 1, 0)
    assert width(compacted(model), "kernel") == 3


@pytest.mark.parametrize(
    "layer",
    first_is_fast(
        [
            layers.LSTM(5, name="recurrent"),
            layers.GRU(5, name="recurrent", return_sequences=True),
            layers.GRU(5, name="recurrent", reset_after=False, use_bias=False),
            layers.SimpleRNN(5, name="recurrent", use_bias=False),
        ]
    ),
)
def test_recurrent_layers(layer):
    model = sandwich((3, 2), layer)
    cell, gates = layer.cell, layer.cell.kernel.shape[1] // 5
    # Unit 0 gets nothing; 1 and 2 read each other, and nobody else reads them.
    columns = np.arange(gates) * 5
    change(cell.kernel, (slice(None), columns), 0)
    change(cell.recurrent_kernel, (slice(None), columns), 0)
    if cell.bias is not None:
        change(cell.bias, (..., columns), 0)
    change(cell.recurrent_kernel, (slice(1, 3), np.tile([0, 0, 0, 1, 1], gates) == 1), 0)
    change(model.get_layer("last").kernel, slice(1, 3), 0)
    small = compacted(model)
    assert (width(small, "first"), width(small, "recurrent")) == (4, 2)


@pytest.mark.parametrize("mode", first_is_fast(["concat", "sum", "ave", "mul"]))
def test_both_directions_keep_the_same_units(mode):
    layer = layers.Bidirectional(layers.SimpleRNN(4, use_bias=False), mode, name="both")
    model = sandwich((3, 2), layer)
    for direction in (layer.forward_layer, layer.backward_layer):
        change(direction.cell.kernel, (slice(None), 1), 0)
        change(direction.cell.recurrent_kernel, (slice(None), 1), 0)
    small = compacted(model)
    assert small.get_layer("both").forward_layer.units == 3
    assert small.get_layer("both").backward_layer.units == 3


def attention(layer, **dense):
    """`first`, the layer on itself, a residual connection and `last`."""
    x = inputs = keras.Input((4, 5))
    x = layers.Dense(6, name="first", **dense)(x)
    x = layers.Dense(3, name="last")(layer(x, x))
    return randomize(keras.Model(inputs, x))


@pytest.mark.parametrize("use_bias", first_is_fast([False, True]))
def test_heads_go(use_bias):
    layer = layers.MultiHeadAttention(3, 4, use_bias=use_bias, name="heads")
    model = attention(layer)
    kill(model.get_layer("first"), zero=[0], constant=[1])
    change(layer.output_dense.kernel, 1, 0)  # Nobody reads the second head,
    change(layer.output_dense.kernel, (0, [0, 1]), 0)  # half of the first,
    change(layer.query_dense.kernel, (slice(None), 2, 3), 0)  # and this place adds no score.
    if use_bias:
        change(layer.query_dense.bias, (2, 3), 0)
    small = compacted(model)
    heads = small.get_layer("heads")
    assert width(small, "first") == 4
    assert (heads.num_heads, heads.key_dim, heads.value_dim) == (2, 4, 4)
    change(layer.output_dense.kernel, (2, 0), 0)
    change(layer.key_dense.kernel, (slice(None), 0, 2), 0)
    heads = compacted(model).get_layer("heads")
    assert (heads.num_heads, heads.key_dim) == (2, 3 if not use_bias else 3)


def test_queries_go_with_the_keys_that_they_share():
    layer = layers.GroupQueryAttention(3, 4, 2, use_bias=False, name="heads")
    x = inputs = keras.Input((4, 5))
    x = layers.Dense(6, name="first")(x)
    x = layers.Add()([x, layer(x, x)])
    model = randomize(keras.Model(inputs, layers.Dense(3, name="last")(x)))
    kernel = layer._output_dense.kernel
    change(kernel, slice(2), 0)
    change(kernel, (..., 0), 0)
    kill(model.get_layer("first"), zero=[0])
    small = compacted(model)
    heads = small.get_layer("heads")
    assert (heads.num_query_heads, heads.num_key_value_heads) == (2, 1)
    assert width(small, "first") == 5


@pytest.mark.parametrize("tied", [True, slow(False)])
def test_embeddings(tied):
    table = layers.ReversibleEmbedding(5, 6, tie_weights=tied, name="table")
    x = inputs = keras.Input((4,), dtype="int32")
    hidden = table(x)
    hidden = layers.Add()([hidden, layers.Dense(6, name="inner")(hidden)])
    model = randomize(keras.Model(inputs, table(hidden, reverse=True)))
    change(table.embeddings, (slice(None), 0), 0)
    if not tied:
        change(table.reverse_embeddings, 0, 0)
    kill(model.get_layer("inner"), zero=[0])
    small = compacted(model)
    assert small.get_layer("table").output_dim == 5

    x = inputs = keras.Input((4,), dtype="int32")
    x = layers.Embedding(5, 6, mask_zero=True, name="table")(x)
    model = randomize(keras.Model(inputs, layers.LSTM(3)(x)))
    change(model.get_layer("table").embeddings, (slice(None), 0), 0.4)
    change(model.layers[-1].cell.kernel, 1, 0)
    assert width(compacted(model), "table") == 4


def test_groups_lose_what_is_dead_in_each():
    layer = layers.Conv2D(6, 1, groups=2, name="groups")
    model = sandwich((4, 4, 2), layer)
    # Of the channels 0 to 2 two are dead, of 3 to 5 one; of the filters one each.
    change(layer.kernel, (..., 0, slice(3, 6)), 0)
    change(model.get_layer("last").kernel, [1, 5], 0)
    small = compacted(model)
    assert (width(small, "first"), width(small, "groups")) == (4, 4)
    change(model.get_layer("last").kernel, slice(3), 0)
    group = compacted(model).get_layer("groups")
    assert (group.groups, group.filters) == (1, 2)


MERGES = {
    "add": (layers.Add(), 5),
    "average": (layers.Average(), 5),
    "subtract": (layers.Subtract(), 5),
    "maximum": (layers.Maximum(), 5),
    "minimum": (layers.Minimum(), 5),
    "multiply": (layers.Multiply(), 4),
    "plus": (lambda x: x[0] + x[1], 5),
    "times": (lambda x: x[0] * x[1], 4),
    "divided": (lambda x: x[0] / (x[1] * x[1] + 1.0), 5),
}


@pytest.mark.parametrize("name", first_is_fast(MERGES))
def test_merged_channels_stay_or_go_together(name):
    layer, left = MERGES[name]
    inputs = keras.Input((3,))
    parts = [layers.Dense(6, name=name)(inputs) for name in "ab"]
    model = randomize(keras.Model(inputs, layers.Dense(2)(layer(parts))))
    kill(model.get_layer("a"), zero=[0, 1])
    kill(model.get_layer("b"), zero=[0], constant=[2])
    small = compacted(model)
    assert width(small, "a") == width(small, "b") == left


@pytest.mark.parametrize("join", [layers.Concatenate(), lambda x: ops.concatenate(x, axis=-1)])
def test_joined_channels_go_by_themselves(join):
    inputs = keras.Input((3,))
    parts = [layers.Dense(6, name=name)(inputs) for name in "ab"]
    model = randomize(keras.Model(inputs, layers.Dense(2)(join(parts))))
    kill(model.get_layer("a"), zero=[0, 1])
    kill(model.get_layer("b"), constant=[2])
    small = compacted(model)
    assert (width(small, "a"), width(small, "b")) == (4, 5)


def test_channels_first():
    if keras.backend.backend() == "tensorflow":
        pytest.skip("TensorFlow has no such convolution on a CPU.")
    x = inputs = keras.Input((2, 4, 4))
    x = layers.Conv2D(6, 1, data_format="channels_first", name="first")(x)
    x = layers.BatchNormalization(axis=1)(x)
    x = layers.MaxPooling2D(2, data_format="channels_first")(x)
    model = randomize(keras.Model(inputs, layers.Dense(3)(layers.Flatten()(x))))
    kill(model.get_layer("first"), zero=[0], constant=[1])
    assert compacted(model).get_layer("first").filters == 4


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision(policy):
    keras.config.set_dtype_policy(policy)
    model = sandwich((4, 4, 2), layers.BatchNormalization())
    small = kr.compact(model)
    assert width(small, "first") == 4
    assert small.get_layer("first").dtype_policy.name == policy
    error = relative_error(model, small, inputs_for(model))
    assert error < (1e-2 if policy == "mixed_bfloat16" else 2e-3)
