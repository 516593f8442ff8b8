"""Zeroing a group takes exactly its channel out of the model, whatever the model is."""

import keras
import numpy as np
import pytest
from helpers.backends import BACKEND, to_numpy
from helpers.dead_channels import inputs_for, randomize
from helpers.marks import slow
from helpers.random_graphs import RandomGraph, relative_error

import kerasreg as kr
from kerasreg.compaction.compact import analysed
from kerasreg.compaction.coupled_groups import Coupling
from kerasreg.compaction.rebuild import weights_of

layers = keras.layers
pytestmark = [
    pytest.mark.filterwarnings("ignore:What plain Keras has no layer for"),
    pytest.mark.filterwarnings("ignore:Layer '.*' .* was passed an input with a mask"),
]


def residual():
    x = inputs = keras.Input((6, 6, 2))
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(4, 3, padding="same")(x)))
    for _ in range(2):
        y = layers.Conv2D(3, 3, padding="same", use_bias=False)(x)
        y = layers.ReLU()(layers.BatchNormalization()(y))
        y = layers.BatchNormalization()(layers.Conv2D(4, 3, padding="same")(y))
        x = layers.ReLU()(layers.Add()([x, y]))
    return inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)), 4 + 2 * 3


def dense():
    inputs = keras.Input((5,))
    x = layers.Dense(4, "softplus")(layers.Dense(6, "sigmoid")(inputs))
    return inputs, layers.Dense(2, "softmax")(x), 4 + 6


def flattened():
    inputs = keras.Input((4, 4, 2))
    x = layers.MaxPooling2D()(layers.Conv2D(5, 1, activation="relu")(inputs))
    return inputs, layers.Dense(2)(layers.Flatten()(x)), 5


def gate():
    x = inputs = keras.Input((4, 4, 2))
    x = layers.Conv2D(6, 1, activation="relu")(x)
    g = layers.Dense(3, "relu")(layers.GlobalAveragePooling2D()(x))
    g = layers.Reshape((1, 1, 6))(layers.Dense(6, "sigmoid")(g))
    return inputs, layers.Conv2D(2, 3, padding="same")(layers.Multiply()([x, g])), 6 + 3


def shared():
    inputs = keras.Input((4,))
    one, two = (layers.Dense(3, "tanh")(inputs) for _ in range(2))
    layer = layers.Dense(5, "relu")
    x = layers.Concatenate()([layer(one), layer(two), two])
    return inputs, layers.Dense(2)(x), 3 + 5  # One layer reads both, so that they go together.


def depthwise():
    x = inputs = keras.Input((6, 6, 2))
    for filters in (4, 6):
        x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(filters, 1)(x)))
        x = layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same")(x)
    return inputs, layers.Conv2D(2, 1)(x), 4 + 6


def grouped():
    x = inputs = keras.Input((4, 4, 2))
    x = layers.Conv2D(8, 1)(x)
    x = layers.Conv2D(12, 1, groups=4, activation="relu")(x)
    return inputs, layers.Conv2D(2, 1)(x), 4


def recurrent():
    x = inputs = keras.Input((3, 2))
    x = layers.LSTM(4, return_sequences=True)(x)
    x = layers.GRU(3, return_sequences=True)(x)
    x = layers.Bidirectional(layers.SimpleRNN(3))(x)
    return inputs, layers.Dense(2)(x), 4 + 3 + 3


def attention():
    x = inputs = keras.Input((4,), dtype="int32")
    x = layers.Embedding(5, 6)(x)
    y = layers.RMSNormalization()(x)
    x = layers.Add()([x, layers.MultiHeadAttention(3, 2)(y, y)])
    y = layers.Dense(5, "gelu")(layers.RMSNormalization()(x))
    x = layers.Add()([x, layers.Dense(6)(y)])
    return inputs, layers.Dense(2)(x), 6 + 3 + 5


def mixed():
    """Of the stream nothing can go, of the heads that share keys each pair."""
    x = inputs = keras.Input((4, 5))
    x = layers.LayerNormalization()(layers.Dense(6)(x))
    y = layers.GroupQueryAttention(3, 4, 2)(x, x)
    x = layers.LayerNormalization()(layers.Add()([x, y]))
    return inputs, layers.Dense(2)(layers.Dense(4, "relu")(x)), 2 + 4


def nested():
    inner = keras.Input((6,))
    part = keras.Model(inner, layers.Dense(6, "tanh")(layers.Dense(3)(inner)))
    x = inputs = keras.Input((4,))
    x = layers.Dense(6)(x)
    return inputs, layers.Dense(2)(part(part(x))), 6 + 3


def partly():
    """Sigmoid makes a constant of zeros, which the border of an image does not see; frozen."""
    x = inputs = keras.Input((6, 6, 2))
    x = layers.Conv2D(4, 1, activation="sigmoid")(x)
    x = layers.Conv2D(5, 3, padding="same", activation="sigmoid")(x)
    x = layers.Conv2D(3, 3)(x)
    x = layers.BatchNormalization(scale=False, center=False)(x)
    x = layers.Conv2D(4, 1)(layers.ZeroPadding2D()(x))
    x = layers.Conv2D(4, 1, trainable=False)(x)
    x = layers.Conv2D(1, 1)(x)
    return inputs, layers.Dense(2)(x), 5 + 4


NETS = [residual, dense, flattened, gate, shared, depthwise, grouped, recurrent, attention]
NETS += [mixed, nested, partly]
FAST, ALL = (2, 4) if BACKEND == "jax" else (6, 16)
SEEDS = [*range(FAST), *(slow(seed) for seed in range(FAST, ALL))]


def left(model):
    """The shape that `compact` leaves of each weight, by its `id`."""
    trace, kept = analysed(model, round_to=1, keep=None, drop_inputs=False)
    arrays = {}
    for record in {id(record.layer): record for record in trace.records}.values():
        arrays |= weights_of(record.layer, kept, record.path)
    # Of grouped kernels the groups have an axis of their own.
    return {
        id(v): (*shape[: (n := len(v.shape) - 1)], int(np.prod(shape[n:])))
        for v, shape in ((v, arrays[id(v)].shape) for v in model.weights)
    }


def zeroed(model, groups):
    """Sets each group by itself to zero and gives its number; the weights are put back."""
    for number in range(len(groups)):
        masks = [(v, groups.labels_of(v.path, v.shape) == number) for v in model.weights]
        before = [(v, mask, to_numpy(v)) for v, mask in masks if mask.any()]
        for v, mask, array in before:
            v.assign(np.where(mask, 0, array))
        yield number
        for v, _, array in before:
            v.assign(array)


def check(model, groups, data):
    """Looks at what each group takes out, and at the outputs without the first and the last."""
    shapes = {id(v): tuple(v.shape) for v in model.weights}
    assert left(model) == shapes
    for number in zeroed(model, groups):
        smaller = left(model)
        for v in model.weights:
            labels = groups.labels_of(v.path, v.shape)
            if labels.size > 1:
                axis = int(np.argmax(labels.shape))
                gone = np.count_nonzero(labels == number)
                assert smaller[id(v)][axis] == v.shape[axis] - gone, (v.path, number)
        if number in (0, len(groups) - 1):
            assert relative_error(model, kr.compact(model), data) < 1e-5


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("net", NETS)
def test_a_group_is_a_channel(net):
    inputs, outputs, count = net()
    model = randomize(keras.Model(inputs, outputs))
    groups = kr.coupled_groups(model)
    assert len(groups) == count
    check(model, groups, inputs_for(model))


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("seed", SEEDS)
def test_none_is_missed_and_none_is_too_many(seed):
    model = randomize(RandomGraph(600 + seed).model)
    coupling = Coupling.of(model)
    numbers = coupling.numbers()
    for slot in np.unique(np.concatenate([part.slots for part in coupling.parts])):
        parts = [part for part in coupling.parts if (part.slots == slot).any()]
        before = [(part.variable, to_numpy(part.variable)) for part in parts]
        for part, (variable, array) in zip(parts, before, strict=True):
            array = np.moveaxis(array.copy(), part.axis, 0)
            array[part.slots == slot] = 0
            variable.assign(np.moveaxis(array, 0, part.axis))
        kept = analysed(model, round_to=1, keep=None, drop_inputs=False)[1]
        assert kept.alive[slot] == (numbers[slot] < 0), parts[0].variable.path
        for variable, array in before:
            variable.assign(array)


def test_weights_that_are_zero_by_now_do_not_matter():
    inputs, outputs, _ = residual()
    model = randomize(keras.Model(inputs, outputs))
    groups = kr.coupled_groups(model)
    for v in model.weights:
        v.assign(np.zeros(v.shape))
    assert kr.coupled_groups(model) == groups


def test_a_group_lasso_on_them_takes_channels_out():
    inputs, outputs, count = residual()
    model = randomize(keras.Model(inputs, outputs))
    groups = kr.coupled_groups(model)
    penalty = kr.GroupLasso(2.5, groups=groups)
    model.compile(kr.Proximal(keras.optimizers.SGD(0.1), penalty), "mse")
    x = inputs_for(model)
    model.fit(x, np.zeros((len(x), 3), "float32"), batch_size=2, verbose=0)
    norms = np.zeros(count)
    for v in model.trainable_variables:
        labels = np.broadcast_to(groups.labels_of(v.path, v.shape), v.shape)
        of_group = labels >= 0
        np.add.at(norms, labels[of_group], np.abs(to_numpy(v)[of_group]))
    dead = np.flatnonzero(norms == 0)
    assert 0 < len(dead) < count
    stem = model.layers[1]
    assert kr.compact(model).layers[1].filters == stem.filters - np.count_nonzero(dead < 4)


def test_patterns_outlive_the_names_of_models(tmp_path):
    inputs, outputs, _ = residual()
    model = keras.Model(inputs, outputs)
    groups = kr.coupled_groups(model)
    model.save(tmp_path / "model.keras")
    assert kr.coupled_groups(keras.models.load_model(tmp_path / "model.keras")) == groups


def test_models_without_such_channels_are_refused():
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
    with pytest.raises(ValueError, match="channels that can go"):
        kr.coupled_groups(model)
    inner = keras.Input((4,))
    part = keras.Model(inner, layers.Dense(4, name="same")(inner))
    inputs = keras.Input((3,))
    outputs = layers.Dense(2)(part(layers.Dense(4, name="same")(inputs)))
    with pytest.raises(ValueError, match="paths of their own"):
        kr.coupled_groups(keras.Model(inputs, outputs))
