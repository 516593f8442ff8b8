"""The steps of the charts are training batches, however Keras bundles and interrupts them."""

import keras
import pytest
from helpers.backends import BACKEND
from helpers.event_files import steps
from helpers.marks import slow
from helpers.models import data

import kerasreg as kr

bundling = pytest.mark.skipif(BACKEND == "torch", reason="Keras on torch runs single steps only")


def classifier(optimizer="sgd", **kwargs):
    """A small one: only its steps are looked at."""
    layer = keras.layers.Dense(3, "softmax", kernel_regularizer=kr.L1(1e-2))
    model = keras.Sequential([keras.Input((6,)), layer])
    model.compile(optimizer, "sparse_categorical_crossentropy", **kwargs)
    return model


def fit(log_dir, model=None, update_freq="epoch", samples=40, **kwargs):
    """Fits on batches of 4, ten an epoch unless said otherwise."""
    model = model or classifier()
    x, y = data(samples)
    logger = kr.RegularizationLogger(log_dir, update_freq)
    arguments = {"batch_size": 4, "epochs": 2, "verbose": 0, "callbacks": [logger], **kwargs}
    model.fit(x, y, **arguments)
    return model


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(
    ("update_freq", "expected"),
    [
        ("epoch", [10, 20]),
        (1, list(range(1, 21))),
        (4, [4, 8, 10, 12, 16, 20]),
        slow(7, [7, 10, 14, 20]),
        slow(100, [10, 20]),
    ],
)
def test_frequencies(tmp_path, update_freq, expected):
    fit(tmp_path, update_freq=update_freq)
    assert steps(tmp_path) == expected


@pytest.mark.fast_cases(1)
@bundling
@pytest.mark.parametrize(
    ("update_freq", "expected"),
    [("epoch", [10, 20]), (1, [4, 8, 10, 14, 18, 20]), (5, [8, 10, 18, 20])],
)
def test_steps_per_execution(tmp_path, update_freq, expected):
    # Ten batches in executions of four: Keras says 3, 7 and 11 of them.
    fit(tmp_path, classifier(steps_per_execution=4), update_freq)
    assert steps(tmp_path) == expected


def batches(count):
    x, y = data()

    def generate():
        for i in range(count):
            yield x[i : i + 4], y[i : i + 4]

    return generate


@bundling
def test_steps_per_execution_with_data_of_unknown_length(tmp_path):
    model = classifier(steps_per_execution=4)
    logger = kr.RegularizationLogger(tmp_path)
    with pytest.warns(UserWarning, match="ran out of data"):
        model.fit(batches(10)(), shuffle=False, verbose=0, callbacks=[logger])
    assert steps(tmp_path) == [10]


def test_early_end_of_an_epoch(tmp_path):
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = batch == 6

    logger = kr.RegularizationLogger(tmp_path)
    fit(tmp_path, callbacks=[logger, Stop()])
    assert steps(tmp_path) == [7]


def test_gradient_accumulation(tmp_path):
    optimizer = keras.optimizers.SGD(0.01, gradient_accumulation_steps=4)  # 10 leaves 2 over
    model = fit(tmp_path, classifier(optimizer=optimizer))
    fit(tmp_path, model)
    assert steps(tmp_path) == [10, 20, 30, 40]


def test_continuing_the_same_model(tmp_path):
    model = fit(tmp_path)
    fit(tmp_path, model)
    assert steps(tmp_path) == [10, 20, 30, 40]


@pytest.mark.slow
def test_resuming_from_a_file_with_an_overlap(tmp_path):
    """A run is killed after epoch 3 and resumed from its checkpoint of epoch 2."""
    model = fit(tmp_path / "log")
    model.save(tmp_path / "model.keras")
    fit(tmp_path / "log", model, epochs=1)
    assert steps(tmp_path / "log") == [10, 20, 30]
    fit(tmp_path / "log", keras.saving.load_model(tmp_path / "model.keras"))
    assert steps(tmp_path / "log") == [10, 20, 30, 40]


@pytest.mark.slow
def test_resuming_with_weights_only(tmp_path):
    weights = fit(tmp_path).get_weights()
    model = classifier()
    model.set_weights(weights)
    fit(tmp_path, model, initial_epoch=2, epochs=4)
    assert steps(tmp_path) == [10, 20, 30, 40]


@pytest.mark.slow
def test_a_new_optimizer_with_the_same_logger(tmp_path):
    model, (x, y), logger = classifier(), data(), kr.RegularizationLogger(tmp_path)
    for _ in range(2):
        model.compile("sgd", "sparse_categorical_crossentropy")
        model.fit(x, y, batch_size=4, verbose=0, callbacks=[logger])
    assert steps(tmp_path) == [10, 20]


REPLACED = "of another training, whose points those of this one replace"


@pytest.mark.slow
def test_training_anew_into_the_same_folder_replaces_the_points_with_a_warning(tmp_path):
    fit(tmp_path, epochs=3)
    loggers = [kr.RegularizationLogger(tmp_path, freq) for freq in ("epoch", 5)]
    with pytest.warns(UserWarning, match=f"folder '{tmp_path}'.*{REPLACED}") as seen:
        fit(tmp_path, epochs=1, callbacks=loggers)
    assert len([w for w in seen if REPLACED in str(w.message)]) == 1
    assert steps(tmp_path) == [5, 10]


@pytest.mark.slow
def test_where_nothing_is_replaced_there_is_no_warning(tmp_path):
    """A folder without points: of a training that was interrupted before its first."""

    class Interrupt(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise KeyboardInterrupt

    def interrupted():
        with pytest.raises(KeyboardInterrupt):
            fit(tmp_path, callbacks=[kr.RegularizationLogger(tmp_path), Interrupt()])

    interrupted()
    fit(tmp_path)
    with pytest.warns(UserWarning, match=REPLACED):
        interrupted()
    fit(tmp_path, epochs=1)
    assert steps(tmp_path) == [10]


def recompiled(model):
    """The same model for a second phase, its optimizer new."""
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model


@pytest.mark.slow
def test_a_second_phase_goes_on_after_the_first(tmp_path, monkeypatch):
    """Also where its optimizer counts from 0, and however the folder is written."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    model = fit("log")
    fit(tmp_path / "log", recompiled(model))
    assert steps("log") == [10, 20, 30, 40]
    (tmp_path / "link").symlink_to("log")
    fit("link", model, epochs=1)  # whose optimizer has seen 20 batches
    fit(f"file://{tmp_path}/log/", recompiled(model), epochs=1)
    fit("~/log", model, epochs=2, initial_epoch=1)
    assert steps("log") == [10, 20, 30, 40, 50, 60, 70]


@pytest.mark.slow
def test_a_second_phase_in_another_folder_begins_at_zero(tmp_path):
    model = fit(tmp_path / "first")
    fit(tmp_path / "second", recompiled(model))
    assert steps(tmp_path / "second") == [10, 20]


@pytest.mark.slow
def test_a_loaded_optimizer_replaces_what_overlaps(tmp_path):
    """In the same process, the same model; in the second phase, too."""
    model = fit(tmp_path / "log", epochs=1)
    recompiled(model)
    for _ in range(2):
        fit(tmp_path / "log", model, epochs=1)
    assert steps(tmp_path / "log") == [10, 20, 30]
    model.optimizer.iterations.assign(10)  # as a checkpoint that is loaded does
    fit(tmp_path / "log", model, update_freq=4, epochs=1)
    assert steps(tmp_path / "log") == [10, 20, 24, 28, 30]


class TwoOptimizers(keras.Sequential):
    """Trained as a GAN is: no optimizer of the model itself counts batches."""

    def train_step(self, *args):
        # JAX hands over the state, and takes the new one.
        return ({"loss": 0.0}, args[0]) if BACKEND == "jax" else {"loss": 0.0}


@pytest.mark.slow
def test_a_model_without_an_optimizer_that_counts(tmp_path):
    model = TwoOptimizers([keras.Input((6,)), keras.layers.Dense(3)])
    model.compile("sgd" if BACKEND == "jax" else None)
    for _ in range(2):
        fit(tmp_path, model)
    assert steps(tmp_path) == [10, 20, 30, 40]


@pytest.mark.slow
def test_a_copy_of_the_model_is_another_run(tmp_path):
    model = fit(tmp_path)
    copy = keras.models.clone_model(model)
    with pytest.warns(UserWarning, match=REPLACED):
        fit(tmp_path, recompiled(copy), epochs=1)
    with pytest.warns(UserWarning, match=REPLACED):  # The folder is the other's now.
        fit(tmp_path, recompiled(model), epochs=2)
    assert steps(tmp_path) == [10, 20]


@pytest.mark.slow
def test_loss_scaling_that_skips_updates(tmp_path):
    keras.config.set_dtype_policy("mixed_float16")
    inner = keras.optimizers.SGD(0.01)
    optimizer = keras.optimizers.LossScaleOptimizer(inner, initial_scale=2.0**40)
    fit(tmp_path, classifier(optimizer=optimizer))
    assert int(inner.iterations) < 20
    assert steps(tmp_path) == [10, 20]
