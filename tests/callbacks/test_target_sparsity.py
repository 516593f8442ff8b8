"""A network has the sparsity that was asked for at the end of its training."""

import warnings

import keras
import numpy as np
import pytest
from helpers.backends import BACKEND
from helpers.marks import slow
from sklearn.datasets import load_digits

import kerasreg as kr
from kerasreg.callbacks.penalised_units import PenalisedUnits
from kerasreg.callbacks.sparsity_controller import SparsityController
from kerasreg.callbacks.sparsity_target import LastUpdates
from kerasreg.statistics.measurement import zero_fraction

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


SIZE = 64 * 128 + 128 * 64 + 64 * 10


def to_the_weight(target):
    return 1 - (SIZE - round(target * SIZE)) / SIZE


# target, a wrong strength to start from, least accuracy: that of a fixed strength is as high
@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "penalty", "accuracy"),
    [
        slow(0.5, kr.L1(1e-2), 0.97),
        (0.9, kr.L1(1e-5), 0.93),
        slow(0.98, kr.L1(1e-4), 0.75),
    ],
    ids=str,
)
def test_a_network_of_that_sparsity(target, penalty, accuracy):
    model = mlp(penalty)
    fit(model, target, epochs=20)  # The last batch has five samples.
    assert sparsity_of(model) == to_the_weight(target)
    assert model.evaluate(X, Y, verbose=0)[1] > accuracy


@pytest.mark.slow
@pytest.mark.skipif(BACKEND == "torch", reason="Keras has one step per execution there")
def test_steps_per_execution():
    model = mlp(kr.L1(1e-3), steps_per_execution=5)
    fit(model, 0.8, epochs=8, batch_size=32)
    assert abs(sparsity_of(model) - 0.8) < 0.01


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_resumed_training_goes_on_from_its_factor():
    model, sparsities = mlp(kr.L1(1e-5)), []
    fit(model, 0.8, epochs=8)
    watch = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda *_: sparsities.append(sparsity_of(model))
    )
    fit(model, 0.8, epochs=12, initial_epoch=8, callbacks=[watch])
    assert len(sparsities) == 4
    assert abs(sparsities[-1] - 0.8) < 0.01 and min(sparsities) > 0.7


@pytest.mark.slow
def test_data_of_unknown_length():
    starts = list(range(0, 1792, 64)) * 6
    batches = ((X[start : start + 64], Y[start : start + 64]) for start in starts)
    model = mlp(kr.L1(1e-3))
    scheduler = kr.StrengthScheduler(target_sparsity=0.7)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Your input ran out of data")
        warnings.filterwarnings("ignore", message="StrengthScheduler ended at")
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
        ends.append(scheduler._target._controller.end)
        for batch in range(4):
            scheduler.on_train_batch_end(batch)
        scheduler.on_epoch_end(epoch)
    assert ends == [float("inf"), 12, 12]


@pytest.mark.parametrize(
    ("penalty", "began", "epochs", "target", "message"),
    [
        slow(1e-12, 1.0, 30, 0.9, "bound, 10000, after 1 .*stronger penalties, or a larger"),
        slow(1e-8, 1e-4, 30, 0.9, "bound, 10000, after 0.0001 .*stronger penalties, or a larger"),
        (1e-5, 1.0, 1, 0.9, "too short.* train for longer.*ended at .*, after 1 at"),
    ],
)
def test_a_target_that_is_missed_is_warned_of(penalty, began, epochs, target, message):
    model = mlp({".*last/kernel": kr.L1(penalty)})
    model.optimizer.strength_scale = began
    with pytest.warns(UserWarning, match=f"sparsity of 0.*target_sparsity={target}.*{message}"):
        fit(model, target, epochs=epochs, batch_size=8, x=X[:64])


@pytest.mark.slow
def test_too_many_zeros_at_the_lower_bound():
    model = mlp({".*last/kernel": kr.L1(1e-3)})
    last = model.get_layer("last").kernel
    last.assign(np.zeros(last.shape))
    model.get_layer("second").kernel.assign(np.zeros((128, 64)))  # so that none comes back
    with pytest.warns(UserWarning, match="bound, 0.0001, after 1 .*weaker.*a smaller"):
        fit(model, 0.5, epochs=30, batch_size=8, x=X[:64])


@pytest.mark.slow
def test_an_early_end_is_warned_of():
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = True

    with pytest.warns(UserWarning, match="ended early"):
        fit(mlp(kr.L1(1e-5)), 0.9, epochs=10, callbacks=[Stop()])


@pytest.mark.slow
def test_a_learning_rate_that_goes_to_zero():
    model = mlp(kr.L1(1e-4))
    schedule = keras.optimizers.schedules.CosineDecay(3e-3, 20 * 29)
    adam = keras.optimizers.Adam(schedule)
    model.compile(kr.Proximal(adam, kr.L1(1e-4)), model.loss)
    fit(model, 0.8, epochs=20)
    assert sparsity_of(model) == to_the_weight(0.8)


@pytest.mark.slow
def test_a_loop_of_ones_own_that_does_not_know_its_end():
    model = mlp(kr.L1(1e-3))
    scheduler = kr.StrengthScheduler(target_sparsity=0.7)
    callbacks = keras.callbacks.CallbackList([scheduler], model=model)
    callbacks.on_train_begin()
    callbacks.on_epoch_begin(0)
    for batch in range(300):
        callbacks.on_train_batch_begin(batch)
        model.train_on_batch(X[:64], Y[:64])
        callbacks.on_train_batch_end(batch)
    callbacks.on_epoch_end(0)
    assert abs(sparsity_of(model) - 0.7) < 0.1


@pytest.mark.slow
def test_only_weights_that_a_penalty_makes_zeros_of_are_counted():
    penalties = {
        ".*first/kernel": kr.L1(1e-3),
        ".*second/kernel": kr.L2(1e-3),
        ".*last/kernel": kr.L1(0.0),
    }
    model = mlp(penalties)
    fit(model, 0.5, epochs=5)
    assert zero_fraction([model.get_layer("first").kernel]) == 0.5
    assert zero_fraction([model.get_layer("last").kernel]) == 0


@pytest.mark.parametrize("penalty", [kr.L2(0.1), kr.L1(0.0), kr.ElasticNet(1.0, 0.0, 0.1)], ids=str)
def test_without_a_penalty_that_makes_zeros(penalty):
    with pytest.raises(ValueError, match="`model`.*by `Proximal` that makes zeros"):
        fit(mlp(penalty), 0.5, epochs=1)


@pytest.mark.slow
def test_only_proximal_is_scaled():
    model = mlp(kr.L1(1e-3))
    model.get_layer("last").bias.regularizer = regularizer = kr.L2(1e-3)
    fit(model, 0.5, epochs=8)
    assert model.get_layer("last").bias.regularizer is regularizer
    assert float(keras.ops.convert_to_numpy(model.optimizer.strength_scale)) != 1


@pytest.mark.parametrize("penalty", [kr.TopK(0.5), kr.KeepZeros()])
def test_without_a_strength_there_is_nothing_to_control(penalty):
    with pytest.raises(ValueError, match="`model`.*on weights by `Proximal` that has a strength"):
        fit(mlp(penalty), 0.5, epochs=1)


@pytest.mark.fast_cases(1)
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
    last = LastUpdates(PenalisedUnits([(v, kr.L1()) for v in variables]))
    variables[0].assign([0.0, 0.2, 0.3, 0.0, 0.0])
    variables[1].assign([[4.0, 5.0, 6.0]])
    last.settle(target)
    values = np.concatenate([keras.ops.convert_to_numpy(v).ravel() for v in variables])
    np.testing.assert_allclose(values, expected)


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(
    ("target", "zeros"),
    [(0.0, 10), (0.10, 10), (0.11, 11), (0.19, 19), (0.20, 10), (0.9, 10)],
)
def test_a_tenth_of_the_weights_that_are_left_may_become_zero(target, zeros):
    values = np.random.default_rng(0).permutation(np.arange(100.0)) - 50
    values[np.abs(values) < 5] = 0.0
    values[np.flatnonzero(np.abs(values) == 5)[0]] = 0.0
    assert (values == 0).sum() == 10
    variable = keras.Variable(values)
    LastUpdates(PenalisedUnits([(variable, kr.L1())])).settle(target)
    after = keras.ops.convert_to_numpy(variable)
    assert (after == 0).sum() == zeros
    kept = after != 0
    assert (after[kept] == values[kept]).all()
    assert np.abs(values[~kept]).max() <= np.abs(values[kept]).min()
