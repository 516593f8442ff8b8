"""Penalties on groups reach a target to the group, and no layer dies for good on the way."""

import keras
import numpy as np
import pytest
from helpers.backends import to_numpy
from helpers.marks import slow
from sklearn.datasets import load_digits

import kerasreg as kr
from kerasreg._keras_internals import bring_up_to_date
from kerasreg.callbacks.penalised_units import PenalisedUnits
from kerasreg.callbacks.sparsity_target import LastUpdates

DIGITS = load_digits()
X, Y = (DIGITS.data / 16).astype("float32"), DIGITS.target
WIDTH, INNER = 24, 24


def residual_mlp():
    keras.utils.set_random_seed(0)
    layers = keras.layers
    inputs = keras.Input((64,))
    x = layers.Dense(WIDTH, name="stem")(inputs)
    for block in range(2):
        y = layers.Dense(INNER, "relu", name=f"inner{block}")(x)
        x = layers.Add()([x, layers.Dense(WIDTH, name=f"branch{block}")(y)])
    return keras.Model(inputs, layers.Dense(10, name="head")(layers.ReLU()(x)))


def fit(model, penalty, target, epochs=10, callbacks=()):
    adam = keras.optimizers.Adam(5e-3)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(kr.Proximal(adam, penalty, model=model), loss, metrics=["accuracy"])
    scheduler = kr.StrengthScheduler(target_sparsity=target)
    model.fit(X, Y, batch_size=64, epochs=epochs, verbose=0, callbacks=[scheduler, *callbacks])
    return model.evaluate(X, Y, verbose=0)[1]


def zero_units(model):
    """Which units of the stream, and of the inner layers, are zero in all layers that make them."""
    weights = {layer.name: layer.get_weights() for layer in model.layers if layer.weights}

    def is_zero(*names):
        return np.all([w == 0 for name in names for w in np.vstack(weights[name])], axis=0)

    stream = is_zero("stem", "branch0", "branch1")
    return stream, is_zero("inner0"), is_zero("inner1")


class Watch(keras.callbacks.Callback):
    """Keeps the most units that were zero at the end of any third step."""

    most = 0

    def on_train_batch_end(self, batch, logs=None):
        if batch % 3 == 0:
            bring_up_to_date(self.model)
            self.most = max(self.most, sum(zeros.sum() for zeros in zero_units(self.model)))


# target, strength to start from: too weak, or one at which all would die within some updates
@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "strength"), [(0.5, 1e-3), slow(0.5, 1e-1), slow(0.25, 1e-4), slow(0.75, 1e-2)]
)
def test_coupled_groups(target, strength):
    model, watch = residual_mlp(), Watch()
    groups = kr.coupled_groups(model)
    accuracy = fit(model, kr.GroupLasso(strength, groups=groups), target, callbacks=[watch])
    stream, *inner = zero_units(model)
    assert len(groups) == WIDTH + 2 * INNER
    assert stream.sum() + sum(map(np.sum, inner)) == round(target * len(groups))
    assert accuracy > 0.8
    assert watch.most < len(groups)
    smaller = kr.compact(model)
    units = {layer.name: layer.units for layer in smaller.layers if hasattr(layer, "units")}
    assert units["stem"] == units["branch0"] == (~stream).sum()
    assert [units["inner0"], units["inner1"]] == [(~zeros).sum() for zeros in inner]
    np.testing.assert_allclose(
        smaller.predict(X, verbose=0), model.predict(X, verbose=0), atol=1e-4
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "penalty", [kr.BlockMCP(1e-3, 100.0, axis="output"), kr.GroupLasso(1e-1, axis="output")]
)
def test_units_of_each_layer(penalty):
    model = residual_mlp()
    accuracy = fit(model, {".*(stem|inner.)/kernel": penalty}, 0.5)
    kernels = [model.get_layer(name).get_weights()[0] for name in ("stem", "inner0", "inner1")]
    zeros = [(kernel == 0).all(axis=0) for kernel in kernels]
    assert sum(map(np.sum, zeros)) == round(0.5 * (WIDTH + 2 * INNER))
    assert not any(map(np.all, zeros)) and accuracy > 0.8


@pytest.mark.slow
def test_single_weights_of_a_sparse_group_lasso():
    model = residual_mlp()
    accuracy = fit(model, {".*inner0/kernel": kr.SparseGroupLasso(1e-3)}, 0.5)
    assert np.count_nonzero(model.get_layer("inner0").kernel) == WIDTH * INNER / 2
    assert accuracy > 0.9


def rows(*values):
    """A weight whose rows have these values, and what `LastUpdates` needs of it."""
    variable = keras.Variable(np.outer(values, [1.0, -1.0, 1.0]))
    return variable, LastUpdates(PenalisedUnits([(variable, kr.GroupLasso(axis=0))]))


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(
    ("after", "most", "left"),
    [
        ([0, 0, 0, 5, 6], 3, [0, 0, 0, 5, 6]),  # as it is
        ([0, 0, 0, 0, 6], 2, [0, 0, 3, 4, 6]),  # The largest come back.
        ([0, 0, 0, 5, 0], 4, [0, 0, 0, 5, 5]),  # The largest of all never goes.
        ([0, 0, 0, 0, 0], 5, [0, 0, 0, 0, 5]),
    ],
)
def test_no_more_than_so_many_groups_become_zero(after, most, left):
    variable, last = rows(0, 2, 3, 4, 5)
    variable.assign(np.outer(after, [1.0, -1.0, 1.0]))
    last.limit(most)
    np.testing.assert_allclose(variable, np.outer(left, [1.0, -1.0, 1.0]))


def test_few_groups_that_are_missing_in_the_end_become_zero():
    variable, last = rows(0, 2, 3, 4, 5)
    last.settle(0.4)
    np.testing.assert_allclose(to_numpy(variable)[:, 0], [0, 0, 3, 4, 5])
    last.settle(0.8)  # too many
    np.testing.assert_allclose(to_numpy(variable)[:, 0], [0, 0, 3, 4, 5])


def test_groups_that_shrink_are_expected_to_become_zero():
    variable, last = rows(0, 2, 3, 4, 5)
    variable.assign(np.outer([0, 1, 2, 4, 1], [1.0, -1.0, 1.0]))
    fractions = [last.zero_fraction_after(times) for times in (0.5, 1.1, 2.1, 100)]
    # All but the one that does not shrink, and the largest of now.
    assert fractions == [0.2, 0.4, 0.6, 0.6]
