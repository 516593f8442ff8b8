"""Inputs of sums, products and concatenations that a model does without."""

import keras
import numpy as np
import pytest
from helpers.dead_channels import change, compacted, kill, randomize, width
from helpers.marks import first_is_fast, slow
from helpers.random_graphs import relative_error

import kerasreg as kr

layers = keras.layers


def names(model):
    """The names of the layers whose names were given."""
    return {layer.name for layer in model.layers} & {"stem", "norm", "inner", "branch", "end"}


def with_branch(merge, first_branch=False):
    """A stem and a branch whose end is constant, one of six channels also in the stem."""
    x = inputs = keras.Input((4, 3))
    stem = layers.Dense(6, name="stem")(x)
    y = layers.LayerNormalization(name="norm")(stem)
    y = layers.Dense(5, "relu", name="inner")(y)
    y = layers.Dense(6, name="branch")(y)
    x = merge([y, stem] if first_branch else [stem, y])
    x = layers.LayerNormalization(name="end")(x)
    model = randomize(keras.Model(inputs, layers.Dense(2)(x)))
    kill(model.get_layer("branch"), constant=range(6))
    change(model.get_layer("branch").bias, slice(None), [0.3, -0.2, 0.5, 0.7, 0.0, 1.5])
    kill(model.get_layer("stem"), constant=[0])
    return model


CONSTANTS = {
    "add": (layers.Add(), False),
    "plus": (lambda x: x[0] + x[1], True),
    "subtract": (layers.Subtract(), False),
    "minus": (lambda x: x[0] - x[1], False),
    "average": (layers.Average(), False),
    "multiply": (layers.Multiply(), True),
    "times": (lambda x: x[0] * x[1], False),
}


@pytest.mark.parametrize("name", first_is_fast(CONSTANTS))
def test_constant_branches_go(name):
    model = with_branch(*CONSTANTS[name])
    small = compacted(model)
    assert names(small) == {"stem", "end"}
    assert kr.compact(small).count_params() == small.count_params()
    if name == "add":
        (row,) = [row for row in kr.compaction_report(model).rows if row.path == "norm"]
        assert row.after.channels == row.after.parameters == 0


@pytest.mark.parametrize("merge", first_is_fast([layers.Maximum(), layers.Minimum()]))
def test_what_nothing_makes_up_for_stays(merge):
    small = compacted(with_branch(merge))
    # The constant needs nothing that is computed, but it stays.
    assert names(small) == {"stem", "norm", "inner", "branch", "end"}
    assert width(small, "inner") == 1


def test_a_constant_minuend_stays():
    assert "branch" in names(compacted(with_branch(layers.Subtract(), first_branch=True)))


@pytest.mark.parametrize("merge", [layers.Add(), slow(layers.Average())])
def test_of_three_terms_two_are_left(merge):
    inputs = keras.Input((4, 3))
    parts = [layers.Dense(6, name=name)(inputs) for name in ("stem", "branch", "inner")]
    x = layers.LayerNormalization(name="end")(merge(parts))
    model = randomize(keras.Model(inputs, layers.Dense(2)(x)))
    kill(model.get_layer("branch"), constant=range(6))
    assert names(compacted(model)) == {"stem", "inner", "end"}


def test_constant_gates_go():
    x = inputs = keras.Input((4, 4, 2))
    stem = layers.Conv2D(6, 1, name="stem")(x)
    gate = layers.GlobalAveragePooling2D(keepdims=True)(stem)
    gate = layers.Conv2D(6, 1, activation="sigmoid", name="branch")(gate)
    x = layers.Multiply()([stem, gate])
    x = layers.Conv2D(3, 3, padding="same")(x)
    model = randomize(keras.Model(inputs, x))
    kill(model.get_layer("branch"), constant=range(6))
    kill(model.get_layer("stem"), zero=[1])
    small = compacted(model)
    assert names(small) == {"stem"} and width(small, "stem") == 5


def test_a_constant_that_others_cannot_fold_is_merged():
    x = inputs = keras.Input((5, 5, 2))
    stem = layers.Conv2D(4, 1, name="stem")(x)
    branch = layers.BatchNormalization(name="norm")(layers.Conv2D(4, 1, name="branch")(x))
    x = layers.Conv2D(3, 3, padding="same")(layers.Add()([stem, branch]))
    model = randomize(keras.Model(inputs, x))
    change(model.get_layer("norm").gamma, slice(None), 0)
    kill(model.get_layer("stem"), constant=[0, 1])
    small = compacted(model)
    assert names(small) == {"stem"} and width(small, "stem") == 3


def test_channels_first():
    x = inputs = keras.Input((2, 4, 4))
    parts = [layers.BatchNormalization(axis=1, name=name)(x) for name in ("stem", "norm")]
    x = layers.Multiply()(parts)
    model = randomize(keras.Model(inputs, layers.BatchNormalization(axis=1)(x)))
    change(model.get_layer("norm").gamma, slice(None), 0)
    assert names(compacted(model)) == {"stem"}


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("masked", [True, False])
def test_a_mask_is_not_lost_and_not_found(masked):
    x = inputs = keras.Input((4,), dtype="int32")
    stem = layers.Embedding(5, 6, mask_zero=True)(x)
    branch = layers.Embedding(5, 6, mask_zero=masked, name="branch")(x)
    x = layers.Add()([stem, branch])
    model = randomize(keras.Model(inputs, layers.GRU(3)(x)))
    change(model.get_layer("branch").embeddings, slice(None), 0.4)
    small = compacted(model)
    longer = np.array([[1, 2, 0, 0], [3, 1, 2, 0]], "int32")
    assert relative_error(model, small, longer) < 1e-5


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("shared", [False, True])
def test_inputs_of_concatenations_go(shared):
    inputs = keras.Input((4,))
    parts = [layers.Dense(5, name=name)(inputs) for name in ("stem", "branch", "inner")]
    x = layers.Dense(4, name="end")(layers.Concatenate()(parts))
    if shared:
        # The width of `branch` stays for another reader.
        x = layers.Concatenate()([x, layers.Dense(2)(parts[1])])
    model = randomize(keras.Model(inputs, layers.Dense(2)(x)))
    kernel = model.get_layer("end").kernel
    change(kernel, slice(5, 10), 0)
    small = compacted(model)
    assert ("branch" in names(small)) == shared
    assert small.get_layer("end").kernel.shape[0] == 10
    change(kernel, slice(10), 0)
    change(kernel, (0, 0), 0.3)
    kill(model.get_layer("inner"), constant=range(5))
    small = compacted(model)
    # One of them is left, so that nothing is joined.
    assert names(small) == ({"stem", "branch", "end"} if shared else {"stem", "end"})
    assert small.get_layer("end").kernel.shape[0] == 1
    change(kernel, (0, 0), 0)
    small = compacted(model)
    assert "end" not in names(small) if shared else small.count_params() == 5 + 2 + 4


def test_a_width_that_something_else_counts_keeps_the_input():
    inputs = keras.Input((4,))
    parts = [layers.Dense(3, name=name)(inputs) for name in ("stem", "branch")]
    x = layers.Concatenate()(parts)
    x = layers.Add()([x, layers.Dense(6, name="end")(inputs)])
    model = randomize(keras.Model(inputs, layers.Dense(2, name="last")(x)))
    change(model.get_layer("last").kernel, slice(3, 6), 0)
    assert names(compacted(model)) == {"stem", "end"}
    small = compacted(model, round_to=6)
    assert names(small) == {"stem", "branch", "end"} and width(small, "end") == 6
