"""What an implementation gets wrong at first: each has been seen."""

import keras
import numpy as np
from helpers.dead_channels import change, compacted, inputs_for, kill, randomize, width
from helpers.random_graphs import relative_error

import kerasreg as kr

layers = keras.layers


def test_a_channel_can_stay_for_one_tensor_and_be_needless_in_another():
    x = inputs = keras.Input((4,))
    stem = layers.Dense(6, name="stem")(x)
    y = layers.Dense(5, name="inner")(stem)
    y = layers.Dense(6, name="branch")(y)
    y = layers.BatchNormalization(name="norm")(y)
    model = randomize(keras.Model(inputs, layers.Dense(2)(layers.Add()([stem, y]))))
    change(model.get_layer("norm").gamma, slice(5), 0)
    change(model.get_layer("branch").kernel, ([0, 1], 5), 0)
    small = compacted(model)
    # The width of the stream stays, but five of six filters are read by nobody.
    assert (width(small, "stem"), width(small, "branch"), width(small, "inner")) == (6, 6, 3)


def test_a_shared_layer_called_on_different_constants():
    inputs = keras.Input((4,))
    one, two = (layers.Dense(3, name=name)(inputs) for name in ("one", "two"))
    shared = layers.Dense(3, name="shared")
    model = keras.Model(inputs, layers.Dense(2)(layers.Add()([shared(one), shared(two)])))
    kill(randomize(model).get_layer("one"), constant=[0, 1])
    kill(model.get_layer("two"), constant=[0, 1])
    change(model.get_layer("two").bias, 1, -0.4)
    # Of equal constants the sum is folded, the other one is needed.
    small = compacted(model)
    assert width(small, "one") == width(small, "two") == 2
    report = kr.compaction_report(model)
    assert any("shared" in row.reason for row in report.rows if row.path in ("one", "two"))


def test_constants_at_a_border_are_merged():
    x = inputs = keras.Input((5, 5, 2))
    x = layers.Conv2D(6, 1, name="first")(x)
    x = layers.Conv2D(4, 3, padding="same", name="last")(x)
    model = randomize(keras.Model(inputs, x))
    kill(model.get_layer("first"), constant=[0, 1, 2])
    change(model.get_layer("first").bias, [0, 1, 2], [0.5, -0.2, 1.5])
    small = compacted(model)
    assert width(small, "first") == 4
    (row,) = [row for row in kr.compaction_report(model).rows if row.path == "first"]
    assert row.reason == "read by last, which cannot fold the constant (padding 'same')"
    assert (row.constant, row.blocked) == (3, 1)


def test_units_that_only_read_each_other():
    x = inputs = keras.Input((4, 3))
    x = layers.SimpleRNN(4, name="units")(x)
    model = randomize(keras.Model(inputs, layers.Dense(2, name="last")(x)))
    change(model.get_layer("units").cell.recurrent_kernel, (slice(2), slice(2, 4)), 0)
    change(model.get_layer("last").kernel, slice(2), 0)
    assert width(compacted(model), "units") == 2


def test_states_that_the_next_batch_sees_stay():
    x = inputs = keras.Input(batch_shape=(4, 3, 2))
    x = layers.GRU(4, name="units", stateful=True)(x)
    model = randomize(keras.Model(inputs, layers.Dense(2, name="last")(x)))
    change(model.get_layer("units").cell.recurrent_kernel, slice(2), 0)
    change(model.get_layer("last").kernel, slice(2), 0)
    small = kr.compact(model)
    assert small.get_layer("units").units == 4


def test_masks_go_on():
    x = inputs = keras.Input((4,), dtype="int32")
    x = layers.Embedding(5, 4, mask_zero=True)(x)
    x = layers.Dense(6, name="first")(x)
    x = layers.GRU(3, return_sequences=True)(x)
    x = layers.GlobalAveragePooling1D()(x)
    model = randomize(keras.Model(inputs, layers.Dense(2)(x)))
    kill(model.get_layer("first"), zero=[0], constant=[1])
    small = compacted(model)
    assert width(small, "first") == 4
    longer = np.array([[1, 2, 0, 0], [3, 1, 2, 0]], "int32")
    assert relative_error(model, small, longer) < 1e-5


def test_a_gate_keeps_the_channel_that_it_is_computed_from():
    x = inputs = keras.Input((4, 4, 2))
    x = layers.Conv2D(6, 1, name="first")(x)
    gate = layers.GlobalAveragePooling2D()(x)
    gate = layers.Reshape((1, 1, 6))(layers.Dense(6, "relu", name="gate")(gate))
    x = layers.Multiply()([x, gate])
    model = randomize(keras.Model(inputs, layers.Conv2D(2, 1)(x)))
    kill(model.get_layer("gate"), zero=[0])
    assert width(compacted(model), "first") == 6
    change(model.get_layer("gate").kernel, 0, 0)
    assert width(compacted(model), "first") == 5


def test_whole_branches_of_zeros_go():
    x = inputs = keras.Input((4,))
    x = layers.Dense(6, name="stem")(x)
    y = layers.LayerNormalization(name="norm")(x)
    y = layers.Dense(6, name="branch")(layers.Dense(5)(y))
    model = randomize(keras.Model(inputs, layers.Dense(2)(layers.Add()([x, y]))))
    kill(model.get_layer("branch"), zero=range(6))
    kill(model.get_layer("stem"), zero=[0])
    small = compacted(model)
    assert [layer.name for layer in small.layers if layer.name in ("norm", "branch")] == []
    assert width(small, "stem") == 5
    (row,) = [row for row in kr.compaction_report(model).rows if row.path == "norm"]
    assert row.after.channels == row.after.parameters == 0


def test_everything_dead_leaves_a_constant():
    x = inputs = keras.Input((4,))
    x = layers.Dense(6, "relu", name="first")(x)
    model = randomize(keras.Model(inputs, layers.Dense(2, name="last")(x)))
    kill(model.get_layer("first"), zero=range(6))
    small = compacted(model)
    assert width(small, "first") == 1
    assert kr.compaction_report(model).constant_outputs == {"last": (0, 1)}


def test_infinite_activations_of_dead_channels_do_not_reach_the_output():
    x = inputs = keras.Input((4,))
    a = layers.Dense(4, name="a")(x)
    b = layers.Dense(4, activation=lambda x: 1 / x, name="b")(x)
    model = randomize(keras.Model(inputs, layers.Dense(2, name="last")(layers.Add()([a, b]))))
    change(model.get_layer("last").kernel, 0, 0)
    small = compacted(model)
    assert width(small, "a") == 3
    assert np.isfinite(keras.ops.convert_to_numpy(small(inputs_for(model)))).all()


def test_shared_and_nested_models():
    inner = keras.Input((6,))
    part = keras.Model(inner, layers.Dense(6, "tanh", name="inner")(inner), name="part")
    x = inputs = keras.Input((4,))
    x = layers.Dense(6, name="first")(x)
    y = part(part(x))
    model = randomize(keras.Model(inputs, layers.Dense(2)(layers.Add()([x, y]))))
    kill(model.get_layer("first"), zero=[0, 1])
    kill(part.get_layer("inner"), zero=[0], constant=[1])
    small = compacted(model)
    assert small.get_layer("part").inputs[0].shape[1] == 5
    assert len(small.get_layer("part")._inbound_nodes) == 2


def test_functions_and_layers_that_no_file_could_name():
    class Own(layers.Layer):
        def call(self, x):
            return keras.ops.flip(x, -1)

    x = inputs = keras.Input((4,))
    x = layers.Dense(4, lambda x: x * x, name="first")(x)
    x = layers.Lambda(lambda x: x * 2, name="twice")(x)
    model = randomize(keras.Model(inputs, layers.Dense(2)(Own()(x))))
    kill(model.get_layer("first"), zero=[0])
    small = compacted(model)
    assert width(small, "first") == 4 and small.get_layer("twice") is not model.get_layer("twice")
