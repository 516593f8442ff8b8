"""The logger beside the training: it changes nothing, stops nothing, and tells other callbacks."""

import csv
import gc
import warnings

import keras
import numpy as np
import pytest
from helpers.backends import BACKEND, to_numpy
from helpers.event_files import read, steps
from helpers.marks import slow
from helpers.models import Subclassed, classifier, data
from helpers.processes import in_process

import kerasreg as kr


def fit(model, *callbacks, **kwargs):
    x, y = data()
    arguments = {
        "batch_size": 16,
        "epochs": 3,
        "validation_data": data(seed=1),
        "verbose": 0,
        "callbacks": list(callbacks),
        **kwargs,
    }
    return model.fit(x, y, **arguments).history


def state(model):
    """Every number of the model, its seeds and its optimizer."""
    variables = [*model.variables, *model.optimizer.variables]
    return [np.asarray(keras.ops.convert_to_numpy(v.value)) for v in variables]


def assert_same_state(model, other):
    for a, b in zip(state(model), state(other), strict=True):
        np.testing.assert_array_equal(a, b)


# Every pair of two of them. Compiled with batches of one size, as each size is compiled anew.
CASES = [
    slow("float32", False, "epoch", 16),
    slow("float32", True, 1, 20),
    ("mixed_float16", False, 1, 16),
    slow("mixed_float16", True, "epoch", 20),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("policy", "jit_compile", "update_freq", "batch_size"),
    [c for c in CASES if BACKEND != "torch" or not getattr(c, "values", c)[1]],
)
def test_training_is_the_same_bit_for_bit(tmp_path, policy, jit_compile, update_freq, batch_size):
    keras.config.set_dtype_policy(policy)
    models, histories = [], []
    for callbacks in ([], [kr.RegularizationLogger(tmp_path, update_freq)]):
        keras.utils.set_random_seed(5)
        models.append(classifier(jit_compile, keras.optimizers.SGD(0.1, momentum=0.9)))
        histories.append(fit(models[-1], *callbacks, batch_size=batch_size))
    assert_same_state(*models)
    plain, logged = histories
    assert {name: logged[name] for name in plain} == plain


@pytest.mark.slow
def test_a_convolution_and_an_lstm_are_the_same_bit_for_bit(tmp_path):
    layers = keras.layers

    def build():
        return keras.Sequential(
            [
                keras.Input((8, 8, 1)),
                layers.Conv2D(4, 3, activation="relu", kernel_regularizer=kr.GroupLasso(1e-2)),
                layers.SpatialDropout2D(0.2, seed=1),
                layers.Reshape((6, 24)),
                layers.LSTM(5, recurrent_regularizer=kr.L1(1e-2), seed=1),
                layers.Dense(1, activity_regularizer=kr.L2(1e-2)),
            ]
        )

    models = []
    x = np.random.default_rng(0).normal(size=(24, 8, 8, 1)).astype("float32")
    for callbacks in ([], [kr.RegularizationLogger(tmp_path, 2)]):
        keras.utils.set_random_seed(5)
        models.append(build())
        models[-1].compile("adam", "mse")
        models[-1].fit(x, x[:, 0, 0], 8, epochs=2, verbose=0, callbacks=callbacks)
    assert_same_state(*models)
    assert steps(tmp_path) == [2, 3, 4, 6]


@pytest.fixture(scope="module")
def plain():
    """A model that was trained without the logger."""
    keras.utils.set_random_seed(5)
    model = classifier()
    fit(model)
    return model


def test_the_model_is_left_as_it_was(tmp_path, plain):
    model = classifier()
    fit(model, kr.RegularizationLogger(tmp_path))
    assert model.metrics_names == plain.metrics_names
    assert set(vars(model)) == set(vars(plain))
    assert len(model.evaluate(*data(), verbose=0)) == 2


class Evaluating(keras.callbacks.Callback):
    """Evaluates on data of its own after each epoch, as many callbacks do."""

    def __init__(self):
        super().__init__()
        self.results = []

    def on_epoch_end(self, epoch, logs=None):
        self.results.append(self.model.evaluate(*data(seed=2), verbose=0))


@pytest.mark.parametrize("validation_data", [slow(None), data(seed=1)])
def test_callbacks_that_evaluate(tmp_path, validation_data):
    """They get what they would get without the logger, and spoil none of its numbers."""
    evaluating = Evaluating()
    logger = kr.RegularizationLogger(tmp_path)
    history = fit(classifier(), evaluating, logger, validation_data=validation_data)
    assert [len(result) for result in evaluating.results] == [2, 2, 2]
    if validation_data is None:
        # The metrics have been started anew before the logger came: better nothing than wrong.
        assert "data_loss" not in history
    else:
        np.testing.assert_allclose(history["data_loss"], history["entropy"], rtol=1e-5)
        np.testing.assert_allclose(history["val_data_loss"], history["val_entropy"], rtol=1e-5)


@pytest.mark.slow
def test_checkpoints_hold_the_model_only(tmp_path):
    checkpoint = keras.callbacks.ModelCheckpoint(tmp_path / "model.keras")
    model = classifier()
    fit(model, kr.RegularizationLogger(tmp_path / "log"), checkpoint)
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(state(loaded)[0], state(model)[0])
    assert loaded.metrics_names == model.metrics_names
    plain = classifier()
    plain.save(tmp_path / "plain.keras")
    assert len(plain.variables) == len(loaded.variables)


class Interrupt(keras.callbacks.Callback):
    """Stops the training as Ctrl-C does."""

    def on_train_batch_end(self, batch, logs=None):
        if int(keras.ops.convert_to_numpy(self.model.optimizer.iterations)) >= 5:
            raise KeyboardInterrupt


def test_interrupted_training(tmp_path):
    """What was logged is there, and the next training finds the model in order."""
    model = classifier()
    with pytest.raises(KeyboardInterrupt):
        fit(model, kr.RegularizationLogger(tmp_path), Interrupt())
    assert steps(tmp_path) == [3]
    assert len(model.evaluate(*data(), verbose=0)) == 2
    history = fit(model, kr.RegularizationLogger(tmp_path))
    np.testing.assert_allclose(history["data_loss"], history["entropy"], rtol=1e-5)
    assert steps(tmp_path) == [3, 8, 11, 14]
    assert model.metrics_names == classifier().metrics_names


@pytest.mark.slow
def test_totals_reach_other_callbacks(tmp_path):
    csv_log = keras.callbacks.CSVLogger(tmp_path / "log.csv")
    stop = keras.callbacks.EarlyStopping("sparsity", mode="max", patience=0, min_delta=0.5)
    logger = kr.RegularizationLogger(tmp_path, in_logs="all")
    history = fit(classifier(), logger, csv_log, stop, epochs=5)
    assert len(history["sparsity"]) == 2
    with open(tmp_path / "log.csv") as file:
        rows = list(csv.DictReader(file))
    totals = (
        "sparsity near_zero dead_units l1_norm l2_norm max_abs regularization_loss "
        "data_loss penalty val_data_loss val_penalty"
    ).split()
    for name in totals:
        np.testing.assert_allclose([float(row[name]) for row in rows], history[name], rtol=1e-6)


@pytest.mark.parametrize("update_freq", ["epoch", slow(2)])
def test_progress_bar(tmp_path, capsys, update_freq):
    fit(classifier(), kr.RegularizationLogger(tmp_path, update_freq), verbose=1, epochs=1)
    assert "sparsity: " in capsys.readouterr().out


@pytest.mark.slow
def test_beside_keras_tensorboard(tmp_path):
    if BACKEND != "tensorflow":
        pytest.importorskip("tensorflow")
    board = keras.callbacks.TensorBoard(str(tmp_path))
    fit(classifier(), kr.RegularizationLogger(tmp_path), board)
    assert len(read(tmp_path)["all/sparsity"]) == 3
    assert len(read(tmp_path / "train")["epoch_sparsity"]) == 3
    assert len(read(tmp_path / "validation")["epoch_data_loss"]) == 3


@pytest.mark.slow
def test_a_subclassed_model(tmp_path):
    model = Subclassed()
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    history = fit(model, kr.RegularizationLogger(tmp_path))
    np.testing.assert_allclose(
        np.add(history["data_loss"], history["penalty"]), history["loss"], rtol=1e-6
    )
    assert {"sparsity/same/kernel", "sparsity/same/kernel#2"} <= set(read(tmp_path))


@pytest.mark.slow
def test_frozen_layers(tmp_path):
    model = classifier()
    for name in ("first", "norm"):
        model.get_layer(name).trainable = False
    history = fit(model, kr.RegularizationLogger(tmp_path))
    points = read(tmp_path)
    assert points["regularization_loss/first/kernel"][-1][1] == 0
    assert points["regularization_loss/second/kernel"][-1][1] > 0
    np.testing.assert_allclose(
        np.add(history["data_loss"], history["penalty"]), history["loss"], rtol=1e-6
    )
    assert "frozen" in points["configuration"][0][1].decode()


@pytest.mark.slow
def test_nan_and_infinite_weights_are_logged_as_such(tmp_path):
    model = classifier(optimizer=keras.optimizers.SGD(float("nan")))
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        history = fit(model, kr.RegularizationLogger(tmp_path, in_logs="all"))
    assert np.isnan(history["max_abs"][-1]) and np.isnan(history["regularization_loss"][-1])
    points = read(tmp_path)
    assert np.isnan(points["max_abs/first/kernel"][-1][1])
    assert np.size(points["nonzero/first/kernel"][-1][1]) == 0  # NaN has no bucket
    assert len(points["all/sparsity"]) == 3


@pytest.mark.slow
def test_unwritable_folder(tmp_path, plain):
    (tmp_path / "file").write_text("in the way")
    keras.utils.set_random_seed(5)
    model = classifier()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        history = fit(model, kr.RegularizationLogger(tmp_path / "file" / "log", update_freq=1))
    assert len(history["sparsity"]) == 3
    messages = [str(w.message) for w in caught if "TensorBoard log" in str(w.message)]
    assert len(messages) == 1 and "file/log" in messages[0]
    assert_same_state(model, plain)


FULL_DISK = """
    import resource, sys, warnings
    import numpy as np
    from helpers.models import classifier, data
    import keras, kerasreg as kr

    def train(limit):
        keras.utils.set_random_seed(0)
        model, (x, y) = classifier("auto"), data()
        logger = kr.RegularizationLogger(sys.argv[1], update_freq=1)
        class Fill(keras.callbacks.Callback):
            def on_epoch_begin(self, epoch, logs=None):
                if epoch == 1:
                    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            history = model.fit(x, y, 8, epochs=3, verbose=0, callbacks=[Fill(), logger]).history
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        return model, history, [w for w in caught if "TensorBoard log" in str(w.message)]

    plain, _, none = train(resource.RLIM_INFINITY)
    full, history, once = train(9_000)
    assert len(none) == 0 and len(once) == 1, (none, once)
    assert len(history["sparsity"]) == 3
    for a, b in zip(plain.get_weights(), full.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    print("trained to the end")
"""


@pytest.mark.slow
def test_full_disk(tmp_path):
    assert "trained to the end" in in_process(FULL_DISK, tmp_path)
    # What was written before is readable, and nothing half-written is in the way.
    assert len(read(tmp_path)["all/sparsity"]) >= 1


@pytest.mark.parametrize("part", [slow("statistics_of"), slow("live_values"), "add_measured"])
def test_any_other_failure_warns_once_and_training_goes_on(tmp_path, monkeypatch, plain, part):
    def fail(*args):
        raise RuntimeError("broken on purpose")

    monkeypatch.setattr(f"kerasreg.tensorboard.run.{part}", fail)
    keras.utils.set_random_seed(5)
    logged = classifier()
    with pytest.warns(UserWarning, match="RegularizationLogger failed.*broken on purpose") as seen:
        fit(logged, kr.RegularizationLogger(tmp_path, update_freq=1))
    assert len([w for w in seen if "broken on purpose" in str(w.message)]) == 1
    assert_same_state(logged, plain)
    assert logged.metrics_names == plain.metrics_names


TWO_REPLICAS = """
    import sys
    import numpy as np
    import tensorflow as tf
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    import keras, kerasreg as kr
    from helpers.models import classifier, data
    with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
        sgd = keras.optimizers.SGD(0.1)
        model = classifier(optimizer=kr.Proximal(sgd, {".*last/bias": kr.L1(1e-3)}))
    x, y = data()
    logger = kr.RegularizationLogger(sys.argv[1], update_freq=1, in_logs="all")
    scheduler = kr.StrengthScheduler(lambda epoch: 1.0 + epoch)
    arguments = {"validation_data": (x, y), "callbacks": [scheduler, logger]}
    history = model.fit(x, y, 8, epochs=2, verbose=0, **arguments).history
    for prefix in ("", "val_"):
        data_loss, penalty = (np.array(history[prefix + k]) for k in ("data_loss", "penalty"))
        np.testing.assert_allclose(data_loss + penalty, history[prefix + "loss"], rtol=1e-6)
        np.testing.assert_allclose(data_loss, history[prefix + "entropy"], rtol=1e-5)
    assert history["sparsity"][-1] == kr.sparsity_report(model).total.sparsity
    assert np.all(np.array(history["penalty"]) > 0)
    for variable in model.trainable_variables:
        one, other = (replica.numpy() for replica in variable.value.values)
        np.testing.assert_array_equal(one, other)
"""


@pytest.mark.slow
@pytest.mark.skipif(BACKEND != "tensorflow", reason="MirroredStrategy is TensorFlow's")
def test_two_replicas(tmp_path):
    in_process(TWO_REPLICAS, tmp_path)
    assert steps(tmp_path) == list(range(1, 11))


NO_TENSORFLOW = """
    import sys
    import numpy as np
    import keras, kerasreg as kr
    layer = keras.layers.Dense(3, kernel_regularizer=kr.L1(0.1))
    model = keras.Sequential([keras.Input((4,)), layer, kr.Dropout(0.5)])
    model.compile("adam", "mse")
    x = np.ones((8, 4), "float32")
    logger = kr.RegularizationLogger(sys.argv[1], update_freq=1)
    model.fit(x, x[:, :3], epochs=2, verbose=0, validation_data=(x, x[:, :3]), callbacks=[logger])
    print(kr.sparsity_report(model))
    assert not [name for name in sys.modules if name.split(".")[0] == "tensorflow"]
"""


@pytest.mark.skipif(BACKEND == "tensorflow", reason="Keras itself imports TensorFlow here")
def test_tensorflow_is_never_imported_on_other_backends(tmp_path):
    in_process(NO_TENSORFLOW, tmp_path)
    assert steps(tmp_path) == [1, 2]


@pytest.mark.slow
def test_files_are_closed(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        fit(classifier(), kr.RegularizationLogger(tmp_path))
        gc.collect()


@pytest.mark.parametrize("pattern", ["(", 3, b"kernel", ["kernel"]])
def test_bad_pattern(pattern):
    with pytest.raises(ValueError, match="argument `weights`. Expected a regular expression"):
        kr.RegularizationLogger("log", weights=pattern)


@pytest.mark.parametrize("update_freq", [0, -1, 1.5, "batch", None, True])
def test_bad_update_freq(update_freq):
    with pytest.raises(ValueError, match='argument `update_freq`. Expected "epoch" or a positive'):
        kr.RegularizationLogger("log", update_freq)


@pytest.mark.parametrize("threshold", [-1e-3, np.nan, np.inf, "1", None, True])
def test_bad_threshold(threshold):
    with pytest.raises(ValueError, match="argument `threshold`. Expected a finite, non-negative"):
        kr.RegularizationLogger("log", threshold=threshold)


@pytest.mark.parametrize("log_dir", [None, "", 3])
def test_bad_log_dir(log_dir):
    with pytest.raises(ValueError, match="argument `log_dir`. Expected a path"):
        kr.RegularizationLogger(log_dir)


def test_bad_histograms():
    with pytest.raises(ValueError, match="argument `histograms`. Expected a boolean"):
        kr.RegularizationLogger("log", histograms=1)


@pytest.mark.parametrize("verbose", [2, -1, 1.5, "auto", None, np.nan])
def test_bad_verbose(verbose):
    with pytest.raises(ValueError, match="argument `verbose`. Expected 0 or 1. Received: verbose="):
        kr.RegularizationLogger("log", verbose=verbose)


@pytest.mark.slow
def test_it_says_once_how_to_look_at_the_log(tmp_path, capsys):
    logger = kr.RegularizationLogger(tmp_path / "a run")
    model = classifier()
    fit(model, logger)
    fit(model, logger, kr.RegularizationLogger(tmp_path / "quiet", verbose=0))
    printed = capsys.readouterr().out
    assert printed.count(f"tensorboard --logdir {tmp_path}\n") == 1
    assert printed.count("http://localhost:6006/?smoothing=0#custom_scalars") == 1


def test_pattern_that_matches_nothing_stops_before_the_training(tmp_path):
    model = classifier()
    weights = model.get_weights()
    with pytest.raises(ValueError, match="(?s)argument `weights`.*classifier/first/kernel.*'nix'"):
        fit(model, kr.RegularizationLogger(tmp_path, weights="nix"))
    np.testing.assert_array_equal(model.get_weights()[0], weights[0])
    with pytest.raises(ValueError, match="argument `weights`"):
        kr.RegularizationLogger(tmp_path, weights="nix").set_model(model)
    assert to_numpy(model.get_layer("first").kernel.value).shape == (6, 16)
