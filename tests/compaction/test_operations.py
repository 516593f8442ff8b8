"""Operations along axes, slices of channels, products of two tensors; normalisations by parts."""

import keras
import numpy as np
import pytest
from helpers.dead_channels import change, compacted, inputs_for, kill, randomize, width
from helpers.marks import first_is_fast
from helpers.random_graphs import relative_error

import kerasreg as kr
from kerasreg._keras_internals import layer_scale, residual_scale

layers = keras.layers
ops = keras.ops


def around(function, shape=(4, 5, 2)):
    """`first`, a function and `last`; of six channels one is zero, one 0.7, one is read by none."""
    inputs = keras.Input(shape)
    x = function(layers.Dense(6, name="first")(inputs))
    model = randomize(keras.Model(inputs, layers.Dense(3, name="last")(x)))
    kill(model.get_layer("first"), zero=[0], constant=[1])
    if x.shape[-1] == 6:
        change(model.get_layer("last").kernel, 2, 0)
    return model


def normalization(**options):
    return layers.Normalization(**options)


def masked(x):
    """An elementwise choice between two tensors."""
    return ops.where(x > 0.2, x, 2 * x)


# The function, and how many of the six channels before it stay.
FUNCTIONS = {
    "mean": (lambda x: ops.mean(x, axis=(1, 2)), 3),
    "mean of one axis": (lambda x: ops.mean(x, axis=1, keepdims=True), 3),
    "maximum": (lambda x: ops.max(x, axis=(1, 2), keepdims=True), 3),
    "sum": (lambda x: ops.sum(x, axis=(1, 2)), 3),
    "deviation": (lambda x: ops.std(x, axis=[1, 2]), 3),
    "logsumexp": (lambda x: ops.logsumexp(x, axis=(1, 2)), 3),
    "sum of the channels": (lambda x: ops.sum(x, axis=-1), 5),
    "mean of the channels": (lambda x: ops.mean(x, axis=-1), 6),
    "sum of all": (lambda x: ops.sum(x, axis=(1, -1), keepdims=True), 5),
    "softmax over positions": (lambda x: ops.softmax(x, axis=1), 5),
    "softmax layer": (layers.Softmax(axis=2), 5),
    "cumulated": (lambda x: ops.cumsum(x, axis=1), 5),
    "slice": (lambda x: x[..., :4], 2),
    "end": (lambda x: x[:, 1:, :, -3:], 3),
    "steps": (lambda x: x[..., ::2], 6),
    "one channel": (lambda x: x[..., 3], 1),
    "parts": (lambda x: ops.add(*ops.split(x, 2, axis=-1)), 6),
    "part of parts": (lambda x: ops.split(x, [2, 5], axis=-1)[1], 5),
    "parts of positions": (lambda x: ops.split(x, 2, axis=1)[0], 3),
    "padded": (lambda x: ops.pad(x, [(0, 0), (0, 0), (0, 0), (2, 1)]), 4),
    "padded positions": (lambda x: ops.pad(x, [(0, 0), (1, 0), (0, 0), (0, 0)]), 4),
    "stacked": (lambda x: ops.stack([x, -x], axis=1), 4),
    "joined": (lambda x: ops.concatenate([x, -x], axis=1), 4),
    "joined channels": (lambda x: ops.concatenate([x, x], axis=-1), 4),
    "reshaped": (lambda x: ops.reshape(x, (-1, 20, 6)), 3),
    "flat": (lambda x: ops.reshape(x, (-1, 120)), 4),
    "choice": (masked, 5),
    "power": (lambda x: ops.power(x, 2.0), 3),
    "greater": (lambda x: ops.cast(x > 0.1, "float32") * 2.0, 3),
    "array": (lambda x: x * np.array([1.0, 2, 3, 4, 5, 6], "float32") - 1.0, 3),
    "array of zeros": (lambda x: x * np.array([1.0, 1, 1, 0, 0, 1], "float32"), 1),
    "tensor": (lambda x: ops.add(ops.convert_to_tensor([[1.0, 2, 3, 4, 5, 6]]), x), 3),
    "array of positions": (lambda x: x * np.arange(5.0, dtype="float32")[:, None], 5),
    "divided array": (lambda x: ops.divide(np.arange(6.0, dtype="float32"), x * x + 1), 3),
    "rescaling": (layers.Rescaling([[1.0, 2, 3, 4, 5, 6]], [0.5, 0, 0, 0, 0, 1]), 3),
    "rescaling of positions": (layers.Rescaling(2.0, np.arange(5.0)[:, None]), 5),
    "given statistics": (layers.Normalization(mean=np.arange(6.0), variance=np.ones(6)), 3),
    "one statistic": (layers.Normalization(axis=None, mean=0.5, variance=2.0), 3),
    "inverse": (layers.Normalization(mean=0.5, variance=2.0, invert=True), 3),
    "statistics of positions": (
        layers.Normalization(axis=(2, 3), mean=np.ones((5, 6)), variance=np.ones((5, 6))),
        3,
    ),
    "factors": (layer_scale()(0.5, 6), 3),
    "scaled residual": (lambda x: residual_scale()(0.3)([x, -x]), 3),
    "unit norm": (layers.UnitNormalization(), 5),
    "unit norm of positions": (layers.UnitNormalization(axis=1), 4),
    "each by itself": (layers.GroupNormalization(-1), 4),
    "groups": (layers.GroupNormalization(3), 6),
    "einsum": (lambda x: ops.einsum("bijc,bikc->bijk", x, x), 5),
    "products": (lambda x: ops.einsum("bijc,bijc->bijc", x, x), 4),
    "scores": (lambda x: ops.matmul(x, ops.transpose(x, (0, 1, 3, 2))), 5),
    "weighed": (lambda x: ops.matmul(ops.ones_like(x[..., :5]), x), 6),
    "flipped": (lambda x: ops.flip(x, 1), 3),
    "augmentation": (layers.RandomFlip(), 3),
    "spectral": (layers.SpectralNormalization(layers.Dense(6)), 4),
}


@pytest.mark.parametrize("name", first_is_fast(FUNCTIONS))
def test_channels_go_through(name):
    function, left = FUNCTIONS[name]
    model = around(function)
    small = compacted(model)
    assert width(small, "first") == left
    assert kr.compact(small).count_params() == small.count_params()


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("name", ["sum of the channels", "einsum", "scores", "unit norm"])
def test_zeros_that_stay_are_zeros(name):
    # What is subtracted from a channel that nobody needs must not be summed up.
    function, left = FUNCTIONS[name]
    model = around(lambda x: function(x - 0.7))
    small = compacted(model)
    assert width(small, "first") == left
    assert width(compacted(model, round_to=6), "first") == 6


def test_an_array_of_positions_is_not_taken_for_a_bias():
    # On TensorFlow Keras would, if as many channels were left as there are positions.
    model = around(lambda x: x + np.arange(5.0, dtype="float32")[:, None])
    assert width(compacted(model), "first") == (6 if keras.backend.backend() == "tensorflow" else 5)


def test_statistics_that_were_adapted():
    layer = layers.Normalization()
    inputs = keras.Input((4,))
    layer.adapt(np.random.default_rng(0).normal(2.0, 3.0, (50, 4)).astype("float32"))
    model = keras.Model(inputs, layers.Dense(3, name="last")(layer(inputs)))
    change(model.get_layer("last").kernel, 1, 0)
    assert compacted(model).inputs[0].shape[1] == 4
    small = compacted(model, drop_inputs=True)
    assert small.kept_features[inputs._keras_history.operation.name] == (0, 2, 3)
    x = inputs_for(model)
    assert np.allclose(
        *map(keras.ops.convert_to_numpy, (model(x), small(x[:, [0, 2, 3]]))), atol=1e-5
    )


def test_what_adapted_layers_know_is_copied():
    inputs = keras.Input((4,))
    layer = layers.Normalization()
    layer.adapt(np.random.default_rng(0).normal(2.0, 3.0, (50, 4)).astype("float32"))
    model = keras.Model(inputs, layer(inputs))
    assert relative_error(model, kr.strip(model), inputs_for(model)) == 0


def test_what_a_lookup_knows_is_copied():
    pytest.importorskip("tensorflow")
    inputs = keras.Input((3,), dtype="int32")
    layer, numbers = layers.IntegerLookup(), np.array([[3, 7, 9], [7, 7, 1]], "int32")
    layer.adapt(numbers)
    x = layers.Flatten()(layers.Embedding(5, 2)(layer(inputs)))
    model = keras.Model(inputs, layers.Dense(2)(x))
    assert relative_error(model, kr.compact(model), numbers) < 1e-6


def test_factors_of_zero_make_what_leads_to_them_needless():
    model = around(layer_scale()(0.5, 6))
    change(model.layers[2].gamma, 5, 0)
    assert width(compacted(model), "first") == 2


def test_normalisations_whose_factors_are_zero():
    x = inputs = keras.Input((4, 3))
    stem = layers.Dense(6, name="first")(x)
    x = layers.LayerNormalization(name="norm")(stem)
    model = randomize(keras.Model(inputs, layers.Dense(2)(layers.Add()([stem, x]))))
    change(model.get_layer("norm").gamma, slice(None), 0)
    small = compacted(model)
    assert "norm" not in [layer.name for layer in small.layers]


def test_whole_groups_go():
    model = around(layers.GroupNormalization(3, name="norm"))
    change(model.get_layer("last").kernel, [2, 3], 0)
    small = compacted(model)
    assert (width(small, "first"), small.get_layer("norm").groups) == (4, 2)
    kill(model.get_layer("first"), zero=[0, 1])
    assert width(compacted(model), "first") == 2


def attention(layer, **options):
    inputs = keras.Input((4, 3))
    query, value, key = (layers.Dense(6, name=name)(inputs) for name in ("q", "v", "k"))
    x = layer([query, value, key], **options)
    return randomize(keras.Model(inputs, layers.Dense(2, name="last")(x)))


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(
    ("layer", "left"),
    [
        (layers.Attention(use_scale=True), 3),
        (layers.Attention(score_mode="concat"), 4),
        (layers.AdditiveAttention(), 4),
    ],
)
def test_attention_without_heads(layer, left):
    model = attention(layer)
    kill(model.get_layer("q"), zero=[0])
    kill(model.get_layer("k"), zero=[3], constant=[1])
    kill(model.get_layer("v"), zero=[0], constant=[1])
    change(model.get_layer("last").kernel, 2, 0)
    small = compacted(model)
    # A key that is always the same adds the same to all scores.
    assert width(small, "q") == width(small, "k") == left
    assert width(small, "v") == 3


def test_attention_by_hand():
    inputs = keras.Input((4, 3))
    query, value, key = (layers.Dense(6, name=name)(inputs) for name in ("q", "v", "k"))
    scores = ops.matmul(query, ops.transpose(key, (0, 2, 1))) / np.sqrt(6.0)
    x = ops.matmul(ops.softmax(scores, axis=-1), value)
    model = randomize(keras.Model(inputs, layers.Dense(2, name="last")(x)))
    kill(model.get_layer("q"), zero=[0])
    kill(model.get_layer("k"), zero=[3])
    kill(model.get_layer("v"), zero=[0])
    change(model.get_layer("last").kernel, 2, 0)
    small = compacted(model)
    assert [width(small, name) for name in "qkv"] == [4, 4, 4]


def test_inner_products():
    inputs = keras.Input((3,))
    one, two = (layers.Dense(6, name=name)(inputs) for name in ("one", "two"))
    model = randomize(keras.Model(inputs, layers.Dense(2)(layers.Dot(axes=1)([one, two]))))
    kill(model.get_layer("one"), zero=[0])
    kill(model.get_layer("two"), zero=[1])
    small = compacted(model)
    assert width(small, "one") == width(small, "two") == 4
