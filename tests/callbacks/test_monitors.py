"""Callbacks that monitor what the logger adds, and would never see it, are named."""

import warnings

import keras
import pytest
from helpers.models import classifier, data

import kerasreg as kr


def fit(*callbacks):
    classifier().fit(*data(), batch_size=8, epochs=1, verbose=0, callbacks=list(callbacks))


def logger(tmp_path, **arguments):
    return kr.RegularizationLogger(tmp_path, verbose=0, **arguments)


@pytest.mark.fast_cases(1)
@pytest.mark.filterwarnings("ignore:Early stopping conditioned")
@pytest.mark.filterwarnings("ignore:Can save best model only")
@pytest.mark.parametrize("kind", ["stop", "checkpoint"])
def test_before_the_logger(tmp_path, kind):
    waiting = {
        "stop": keras.callbacks.EarlyStopping("sparsity", mode="max"),
        "checkpoint": keras.callbacks.ModelCheckpoint(
            str(tmp_path / "best.keras"), "sparsity", save_best_only=True, mode="max"
        ),
    }[kind]
    name = type(waiting).__name__
    expected = f"`{name}` monitors `sparsity`, .* put the logger before it in `callbacks`"
    with pytest.warns(UserWarning, match=expected):
        fit(waiting, logger(tmp_path / "log"))


@pytest.mark.fast_cases(1)
@pytest.mark.filterwarnings("ignore:Early stopping conditioned")
@pytest.mark.parametrize("is_before", [True, False])
def test_not_in_logs(tmp_path, is_before):
    stop = keras.callbacks.EarlyStopping("near_zero", mode="max")
    log = logger(tmp_path)
    expected = r"in_logs=\('sparsity', 'data_loss', 'penalty', 'val_data_loss', 'near_zero'\)"
    with pytest.warns(UserWarning, match=expected):
        fit(*([stop, log] if is_before else [log, stop]))


@pytest.mark.slow
def test_no_word_where_all_is_well(tmp_path):
    sparsest = keras.callbacks.EarlyStopping("sparsity", mode="max")
    near = keras.callbacks.EarlyStopping("near_zero", mode="max")
    keras_own = keras.callbacks.EarlyStopping("loss")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        fit(keras_own, logger(tmp_path / "a", in_logs=["sparsity", "near_zero"]), sparsest, near)
        fit(logger(tmp_path / "b"), sparsest, logger(tmp_path / "c", in_logs=["near_zero"]), near)


@pytest.mark.slow
def test_a_metric_of_the_model_is_not_the_logger_s(tmp_path):
    model = classifier()
    metric = keras.metrics.SparseCategoricalAccuracy(name="near_zero")
    model.compile("sgd", model.loss, metrics=[metric])
    stop = keras.callbacks.EarlyStopping("near_zero", mode="max")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        model.fit(*data(), epochs=1, verbose=0, callbacks=[stop, logger(tmp_path)])


def test_in_a_list_of_callbacks_of_one_s_own(tmp_path):
    model = classifier()
    log = logger(tmp_path)
    stop = keras.callbacks.EarlyStopping("sparsity", mode="max")
    callbacks = keras.callbacks.CallbackList([stop, log], model=model, epochs=1, steps=1)
    with pytest.warns(UserWarning, match="put the logger before it"):
        callbacks.on_train_begin()
    callbacks.on_train_end()
    log.set_model(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        log.on_train_begin()  # Nobody else is there.
        log.on_train_end()
