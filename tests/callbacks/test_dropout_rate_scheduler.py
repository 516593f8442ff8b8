"""The rate that training uses is the schedule's, and nothing is compiled anew for it."""

import keras
import numpy as np
import pytest
from helpers.backends import BACKEND, JIT_COMPILE
from helpers.event_files import read
from helpers.marks import first_is_fast, slow

import kerasreg as kr

# A width whose inverse is exact, so that the loss at rate 0 is.
WIDTH, ROWS, BATCH = 2048, 40, 10
X, Y = np.ones((ROWS, WIDTH), "float32"), np.zeros((ROWS, 1), "float32")
RATES = [0.0, 0.5, 0.0, 1.0, 0.25, 0.75]


def model_with(*layers, jit_compile=False, **options):
    """Its loss is the square of the kept fraction: about in training, exactly in inference."""
    mean = keras.layers.Dense(
        1, use_bias=False, kernel_initializer=keras.initializers.Constant(1 / WIDTH), name="mean"
    )
    model = keras.Sequential([keras.Input((WIDTH,)), *layers, mean])
    model.compile(keras.optimizers.SGD(0.0), "mse", jit_compile=jit_compile, **options)
    return model


def dropout(rate=0.0, **options):
    return kr.Dropout(rate, scaling="inference", **{"name": "drop", **options})


def fit(model, scheduler, epochs=6, callbacks=(), **options):
    options = {"batch_size": BATCH, "validation_data": (X, Y), "verbose": 0, **options}
    return model.fit(X, Y, epochs=epochs, callbacks=[scheduler, *callbacks], **options).history


def check(history, rates):
    kept = 1 - np.array(rates)
    # Six standard errors of the mean of ROWS * WIDTH draws.
    np.testing.assert_allclose(np.sqrt(history["loss"]), kept, atol=6 * 0.5 / np.sqrt(X.size))
    np.testing.assert_allclose(history["val_loss"], kept**2, rtol=1e-5, atol=1e-12)
    for loss, rate in zip(history["loss"], rates, strict=True):
        assert (loss == 1.0) == (rate == 0) and (loss == 0.0) == (rate == 1)


def counting(layer):
    """Counts how often Python runs the layer: once a trace, where it is compiled."""
    calls = []
    original = layer._drop

    def drop(inputs):
        calls.append(1)
        return original(inputs)

    layer._drop = drop
    return calls


@pytest.mark.slow
@pytest.mark.parametrize("jit_compile", first_is_fast(JIT_COMPILE))
@pytest.mark.parametrize("first_rate", [0.0, slow(0.5)])
def test_each_epoch_has_its_rate_and_nothing_is_compiled_anew(first_rate, jit_compile):
    layer = dropout(first_rate)
    model = model_with(layer, jit_compile=jit_compile)
    calls = counting(layer)
    check(fit(model, kr.DropoutRateScheduler(lambda epoch: RATES[epoch])), RATES)
    assert layer.rate == RATES[-1]
    traces = len(calls)
    fit(model, kr.DropoutRateScheduler(lambda epoch: 0.1 * epoch), epochs=4)
    if BACKEND == "tensorflow" or (BACKEND == "jax" and jit_compile):
        assert traces <= 2 and len(calls) == traces


@pytest.mark.parametrize("jit_compile", first_is_fast(JIT_COMPILE))
def test_a_model_that_was_compiled_at_rate_zero(jit_compile, tmp_path):
    model = model_with(dropout(), jit_compile=jit_compile)
    logger = kr.RegularizationLogger(tmp_path)
    assert fit(model, logger, epochs=1)["loss"] == [1.0]
    scheduler = kr.DropoutRateScheduler(lambda epoch: RATES[epoch])
    check(fit(model, scheduler, callbacks=[logger]), RATES)


@pytest.mark.slow
@pytest.mark.parametrize("jit_compile", JIT_COMPILE)
def test_a_rate_set_by_hand_after_the_model_was_compiled_at_rate_zero(jit_compile):
    layer, quiet = dropout(), keras.callbacks.Callback()
    model = model_with(layer, jit_compile=jit_compile)
    other = model_with(layer, jit_compile=jit_compile)
    for each in (model, other):
        assert fit(each, quiet, epochs=1)["loss"] == [1.0]
    layer.rate = 0.5
    for each in (model, other, model):
        check(fit(each, kr.DropoutRateScheduler(lambda epoch: RATES[epoch])), RATES)
    calls = counting(layer)
    check(fit(model, kr.DropoutRateScheduler(lambda epoch: RATES[epoch])), RATES)
    if BACKEND == "tensorflow" or (BACKEND == "jax" and jit_compile):
        assert not calls, "it has been compiled with masks before"


def test_a_callback_of_ones_own_changes_the_rate_within_an_epoch():
    layer = dropout(0.5)

    class Own(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if self.model is not None:
                layer.rate = 0.0

    check(fit(model_with(layer), Own(), epochs=1), [0.0])


@pytest.mark.skipif(BACKEND != "jax", reason="elsewhere the layers are always up to date")
def test_a_callback_that_does_not_read_the_model():
    layer = dropout(0.5)

    class Own(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            layer.rate = 0.1 * batch

    with pytest.raises(RuntimeError, match="has to read `self.model`"):
        fit(model_with(layer), Own(), epochs=1)


@pytest.mark.slow
def test_a_schedule_of_keras_is_one_of_steps(tmp_path):
    schedule = keras.optimizers.schedules.PolynomialDecay(0.8, 8, end_learning_rate=0.0)
    layer = dropout()
    scheduler = kr.DropoutRateScheduler(schedule)
    logger = kr.RegularizationLogger(tmp_path, update_freq=1)
    fit(model_with(layer), scheduler, epochs=3, callbacks=[logger])
    points = read(tmp_path)["dropout_rate/drop"]
    expected = [max(0.8 - 0.1 * step, 0.0) for step in range(12)]
    np.testing.assert_allclose([value for _, value in points], expected, atol=1e-6)
    assert [step for step, _ in points] == list(range(1, 13))


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("every", ["epoch", "step"])
def test_a_resumed_training_goes_on_in_the_schedule(every):
    asked = []

    def schedule(when):
        asked.append(when)
        return 0.5

    model = model_with(dropout())
    fit(model, kr.DropoutRateScheduler(schedule, every=every), epochs=2)
    fit(model, kr.DropoutRateScheduler(schedule, every=every), epochs=3, initial_epoch=2)
    assert asked == list(range(3 if every == "epoch" else 12))


@pytest.mark.slow
@pytest.mark.skipif(BACKEND == "torch", reason="Keras has one step per execution there")
def test_steps_per_execution_asks_once_an_execution():
    asked = []
    model = model_with(dropout(), steps_per_execution=3)
    fit(model, kr.DropoutRateScheduler(lambda step: asked.append(step) or 0.5, every="step"), 2)
    assert asked == [0, 3, 4, 7]


@pytest.mark.slow
def test_only_the_chosen_layers():
    first, second = dropout(0.3, name="first"), kr.GaussianDropout(0.2, name="second")
    inner = keras.Sequential([kr.DropPath(0.1, name="path")], name="block")
    model = model_with(first, second, inner)
    fit(model, kr.DropoutRateScheduler(lambda epoch: 0.6, layers="second|path"), epochs=1)
    assert (first.rate, second.rate, inner.layers[0].rate) == (0.3, 0.6, 0.6)
    fit(model, kr.DropoutRateScheduler(lambda epoch: 0.4), epochs=1)
    assert (first.rate, second.rate, inner.layers[0].rate) == (0.4, 0.4, 0.4)


@pytest.mark.slow
def test_a_rate_set_by_hand_between_two_fits():
    layer = dropout(0.5)
    model = model_with(layer)
    quiet = keras.callbacks.Callback()
    check(fit(model, quiet, epochs=1), [0.5])
    for rate in (0.0, 0.25):
        layer.rate = rate
        check(fit(model, quiet, epochs=1), [rate])


@pytest.mark.slow
def test_the_rate_is_saved_and_adds_no_variable(tmp_path):
    model = model_with(dropout())
    fit(model, kr.DropoutRateScheduler(lambda epoch: 0.25), epochs=1)
    assert [v.path.split("/")[-1] for v in model.weights] == ["kernel"]
    twin = model_with(keras.layers.Dropout(0.25))
    assert len(model.variables) == len(twin.variables)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.layers[0].rate == 0.25
    check(fit(loaded, keras.callbacks.Callback(), epochs=1), [0.25])


@pytest.mark.fast_cases(3)
@pytest.mark.parametrize("value", [-0.1, 1.5, np.nan, None, True, "0.5", [0.1, 0.2]], ids=repr)
def test_a_schedule_that_returns_no_rate(value):
    scheduler = kr.DropoutRateScheduler(lambda epoch: value)
    with pytest.raises(ValueError, match="`schedule`.*between 0 and 1, for epoch 0.*Received"):
        fit(model_with(dropout()), scheduler, epochs=1)


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("value", [np.float32(0.5), np.array(0.5), keras.ops.array(0.5)], ids=repr)
def test_scalars_of_all_kinds(value):
    layer = dropout()
    model = model_with(layer, run_eagerly=True)
    fit(model, kr.DropoutRateScheduler(lambda epoch: value), epochs=1)
    assert layer.rate == 0.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"schedule": 0.5}, "`schedule`.*a function"),
        ({"schedule": abs, "every": "batch"}, "`every`.*'epoch', 'step'"),
        ({"schedule": abs, "layers": "("}, "`layers`.*regular expression"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        kr.DropoutRateScheduler(**arguments)


def test_a_rate_that_one_of_the_layers_cannot_have_changes_none():
    layers = kr.Dropout(0.1), kr.GaussianDropout(0.2, name="gaussian")
    with pytest.raises(
        ValueError, match="`schedule`.*layer 'gaussian' a rate below 1, for epoch 0"
    ):
        fit(model_with(*layers), kr.DropoutRateScheduler(lambda epoch: 1.0), epochs=1)
    assert [layer.rate for layer in layers] == [0.1, 0.2]


def test_nothing_to_schedule():
    scheduler = kr.DropoutRateScheduler(abs, layers="other")
    with pytest.raises(
        ValueError, match=r"`layers` of model.*\['drop'\].*Received: layers='other'"
    ):
        fit(model_with(dropout()), scheduler, epochs=1)
    with pytest.raises(ValueError, match="those of Keras cannot change"):
        fit(model_with(keras.layers.Dropout(0.5)), kr.DropoutRateScheduler(abs), epochs=1)
