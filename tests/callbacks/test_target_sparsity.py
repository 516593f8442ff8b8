"""A network has the sparsity that was asked for at the end of its training."""

import warnings

import keras
import numpy as np
import pytest
from backends import BACKEND
from sklearn.datasets import load_digits

import kerasreg as kr
from kerasreg.callbacks.last_updates import LastUpdates
from kerasreg.callbacks.sparsity_controller import SparsityController, zero_fraction

DIGITS = load_digits()
X, Y = (DIGITS.data / 16).astype("float32"), DIGITS.target


def mlp(penalty, accumulate=None, **options):
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((64,)),
            layers.Dense(128, "relu", name="first"),
            layers.Dense(64, "relu", name="second"),
            layers.Dense(10, name="last"),
        ]
    )
    adam = keras.optimizers.Adam(3e-3, gradient_accumulation_steps=accumulate)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(kr.Proximal(adam, penalty), loss, metrics=["accuracy"], **options)
    return model


def fit(model, target, epochs, batch_size=64, callbacks=(), x=X, **options):
    scheduler = kr.StrengthScheduler(target_sparsity=target)
    options = {"verbose": 0, "callbacks": [scheduler, *callbacks], **options}
    return model.fit(x, Y[: len(x)], epochs=epochs, batch_size=batch_size, **options).history


def sparsity_of(model):
    return zero_fraction([layer.kernel for layer in model.layers])


# target, a wrong strength to start from, least accuracy: that of a fixed strength is as high
@pytest.mark.parametrize(
    ("target", "penalty", "accuracy"),
    [(0.5, kr.L1(1e-2), 0.97), (0.9, kr.L1(1e-5), 0.93), (0.98, kr.L1(1e-4), 0.75)],
    ids=str,
)
def test_a_network_of_that_sparsity(target, penalty, accuracy):
    model = mlp(penalty)
    fit(model, target, epochs=20)  # The last batch has five samples.
    assert abs(sparsity_of(model) - target) < 0.01
    assert model.evaluate(X, Y, verbose=0)[1] > accuracy


@pytest.mark.skipif(BACKEND == "torch", reason="Keras has one step per execution there")
def test_steps_per_execution():
    model = mlp(kr.L1(1e-3), steps_per_execution=5)
    fit(model, 0.8, epochs=8, batch_size=32)
    assert abs(sparsity_of(model) - 0.8) < 0.01


def test_accumulated_gradients_are_one_update():
    model, counts = mlp(kr.L1(1e-3), accumulate=4), []
    update = SparsityController.update
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            SparsityController, "update", lambda self, *a: counts.append(a[0]) or update(self, *a)
        )
        fit(model, 0.8, epochs=8, batch_size=32)
    assert abs(sparsity_of(model) - 0.8) < 0.01
    updates = int(keras.ops.convert_to_numpy(model.optimizer.iterations))
    assert counts == sorted(set(counts)) and updates - 1 <= counts[-1] <= updates


def test_a_resumed_training_goes_on_from_its_factor():
    model, sparsities = mlp(kr.L1(1e-5)), []
    fit(model, 0.8, epochs=8)
    watch = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda *_: sparsities.append(sparsity_of(model))
    )
    fit(model, 0.8, epochs=12, initial_epoch=8, callbacks=[watch])
    assert len(sparsities) == 4
    assert abs(sparsities[-1] - 0.8) < 0.01 and min(sparsities) > 0.7


def test_data_of_unknown_length():
    starts = list(range(0, 1792, 64)) * 6
    batches = ((X[start : start + 64], Y[start : start + 64]) for start in starts)
    model = mlp(kr.L1(1e-3))
    scheduler = kr.StrengthScheduler(target_sparsity=0.7)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Your input ran out of data")
        model.fit(batches, epochs=1, shuffle=False, verbose=0, callbacks=[scheduler])
    assert abs(sparsity_of(model) - 0.7) < 0.05


def test_the_length_of_an_epoch_is_known_when_the_first_has_ended():
    scheduler = kr.StrengthScheduler(target_sparsity=0.7)
    scheduler.set_params({"epochs": 3, "steps": None})
    scheduler.set_model(mlp(kr.L1(1e-3)))
    scheduler.on_train_begin()
    ends = []
    for epoch in range(3):
        scheduler.on_epoch_begin(epoch)
        ends.append(scheduler._controller.end)
        for batch in range(4):
            scheduler.on_train_batch_end(batch)
        scheduler.on_epoch_end(epoch)
    assert ends == [float("inf"), 12, 12]


def test_a_target_out_of_reach_is_warned_of():
    model = mlp({".*last/kernel": kr.L1(1e-12)})
    with pytest.warns(UserWarning, match=r"target_sparsity=0.9.*bound, 10000; give.*stronger"):
        fit(model, 0.9, epochs=30, batch_size=8, x=X[:64])


def test_only_proximal_is_scaled():
    model = mlp(kr.L1(1e-3))
    model.get_layer("last").bias.regularizer = regularizer = kr.L2(1e-3)
    fit(model, 0.5, epochs=1, batch_size=256)
    assert model.get_layer("last").bias.regularizer is regularizer
    assert float(keras.ops.convert_to_numpy(model.optimizer.strength_scale)) != 1


@pytest.mark.parametrize("penalty", [kr.TopK(0.5), kr.KeepZeros()])
def test_without_a_strength_there_is_nothing_to_control(penalty):
    with pytest.raises(ValueError, match="`model`.*a penalty by `Proximal` that has a strength"):
        fit(mlp(penalty), 0.5, epochs=1)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (0.50, [0.0, 0.0, 0.3, 0.0, 0.0, 4.0, 5.0, 6.0]),  # The smaller new weight is zero again.
        (0.90, [0.0, 0.0, 0.0, 0.0, 0.0, 4.0, 5.0, 6.0]),  # Only what the updates did is undone.
        (0.37, [0.0, 0.2, 0.3, 0.0, 0.0, 4.0, 5.0, 6.0]),  # as it is
        (0.25, [0.0, 0.2, 0.3, 0.0, 3.0, 4.0, 5.0, 6.0]),  # The larger new zero is what it was.
    ],
)
def test_the_last_updates_are_undone_as_far_as_they_lead_away(target, expected):
    variables = [keras.Variable([0.0, 0.0, 0.0, 2.0, 3.0]), keras.Variable([[1.0, 2.0, 3.0]])]
    last = LastUpdates(variables)
    variables[0].assign([0.0, 0.2, 0.3, 0.0, 0.0])
    variables[1].assign([[4.0, 5.0, 6.0]])
    last.undo_excess(target)
    values = np.concatenate([keras.ops.convert_to_numpy(v).ravel() for v in variables])
    np.testing.assert_allclose(values, expected)
