"""Features of a model's inputs that nobody reads."""

import keras
import numpy as np
import pytest
from helpers.dead_channels import change, inputs_for, randomize
from helpers.marks import slow
from helpers.random_graphs import relative_error

import kerasreg as kr

layers = keras.layers
ops = keras.ops


def without_unread(model, axes=-1):
    """The smaller model, after a check that it computes the same of the features that are left."""
    small = kr.compact(model, drop_inputs=True)
    given, unused = inputs_for(model), kr.compaction_report(model, drop_inputs=True).unused_inputs
    arrays = given if isinstance(given, list) else [given]
    left = [
        np.take(array, small.kept_features[name], axis=axes)
        for array, name in zip(arrays, small.kept_features, strict=True)
    ]
    assert [tuple(x.shape[1:]) for x in small.inputs] == [array.shape[1:] for array in left]
    for array, name in zip(arrays, small.kept_features, strict=True):
        both = {*small.kept_features[name], *unused[name]}
        assert both == set(range(array.shape[axes]))

    class Both:
        def __call__(self, x, training=False):
            return small(left if len(left) > 1 else left[0], training=training)

    assert relative_error(model, Both(), given) < 1e-5
    return small


@pytest.mark.parametrize("first", ["norm", slow("pool"), slow("pad"), slow("rescaling")])
def test_channels_first(first):
    options = {"data_format": "channels_first"}
    x = inputs = keras.Input((3, 4, 4))
    if first == "rescaling":
        x = layers.Rescaling(0.5)(x)
    if first == "norm":
        x = layers.BatchNormalization(axis=1, name="norm")(x)
    if first == "pad":
        x = layers.ZeroPadding2D(1, **options)(x)
    if first != "norm":
        if keras.backend.backend() == "tensorflow":
            pytest.skip("TensorFlow has no such pooling on a CPU.")
        x = layers.AveragePooling2D(2, **options)(x)
    x = layers.Flatten(**options)(x)
    model = randomize(keras.Model(inputs, layers.Dense(2, name="last")(x)))
    change(model.get_layer("last").kernel, slice(1, None, 3), 0)
    small = without_unread(model, axes=1)
    assert small.inputs[0].shape[1:] == (2, 4, 4)


def test_several_inputs():
    one, two = keras.Input((4,), name="one"), keras.Input((5, 3), name="two")
    x = layers.Dense(3, name="a")(one)
    y = layers.GlobalAveragePooling1D()(layers.Dense(3, name="b")(two))
    model = randomize(keras.Model([one, two], layers.Dense(2)(layers.Add()([x, y]))))
    change(model.get_layer("a").kernel, slice(4), 0)
    change(model.get_layer("b").kernel, 1, 0)
    small = without_unread(model)
    # One feature stays of an input that nobody reads.
    assert small.kept_features == {"one": (0,), "two": (0, 2)}


def test_an_input_that_only_a_branch_reads_which_goes():
    one, two = keras.Input((4,), name="one"), keras.Input((3,), name="two")
    x = layers.Dense(3, name="a")(one)
    branch = layers.Dense(3, name="b")(two)
    model = randomize(keras.Model([one, two], layers.Dense(2)(layers.Add()([x, branch]))))
    change(model.get_layer("b").kernel, slice(3), 0)
    small = without_unread(model)
    assert small.kept_features == {"one": (0, 1, 2, 3), "two": (0,)}


def test_an_input_of_several_layers_and_of_a_nested_model():
    inner = keras.Input((4,))
    part = keras.Model(inner, layers.Dense(3, name="inner")(inner), name="part")
    inputs = keras.Input((4,), name="given")
    x = layers.Add()([part(inputs), layers.Dense(3, name="outer")(inputs)])
    model = randomize(keras.Model(inputs, layers.Dense(2)(x)))
    change(part.get_layer("inner").kernel, [0, 1], 0)
    change(model.get_layer("outer").kernel, [1, 2], 0)
    small = without_unread(model)
    assert small.kept_features == {"given": (0, 2, 3)}
    assert small.get_layer("part").inputs[0].shape[1] == 3


def test_numbers_that_are_looked_up_stay():
    words = keras.Input((4,), dtype="int32", name="words")
    numbers = keras.Input((3,), dtype="int32", name="numbers")
    x = layers.Flatten()(layers.Embedding(5, 2)(words))
    x = layers.Concatenate()([x, ops.cast(numbers, "float32")])
    model = randomize(keras.Model([words, numbers], layers.Dense(2, name="last")(x)))
    change(model.get_layer("last").kernel, [0, 1, 9], 0)
    small = without_unread(model)
    assert small.kept_features == {"words": (0, 1, 2, 3), "numbers": (0, 2)}


def test_inputs_that_are_also_outputs_stay():
    inputs = keras.Input((4,), name="given")
    model = randomize(keras.Model(inputs, [inputs * 2.0, layers.Dense(2, name="last")(inputs)]))
    change(model.get_layer("last").kernel, [0, 1], 0)
    assert without_unread(model).kept_features == {"given": (0, 1, 2, 3)}


def test_pixels_of_a_flattened_image_go_by_columns():
    inputs = keras.Input((3, 4), name="image")
    x = layers.Flatten()(inputs)
    model = randomize(keras.Model(inputs, layers.Dense(2, name="last")(x)))
    change(model.get_layer("last").kernel, [1, 5, 9, 2], 0)
    assert without_unread(model).kept_features == {"image": (0, 2, 3)}
