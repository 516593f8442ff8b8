"""Data loss and penalty are exact, or they are not logged."""

import keras
import numpy as np
import pytest
from helpers.backends import BACKEND, to_numpy
from helpers.event_files import read
from helpers.models import Subclassed, classifier, data

import kerasreg as kr

CROSS_ENTROPY = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def simple(**arguments):
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3, **arguments)])
    entropy = keras.metrics.SparseCategoricalCrossentropy(from_logits=True, name="entropy")
    model.compile(keras.optimizers.SGD(1e-6), CROSS_ENTROPY, metrics=[entropy])
    return model


def fit(model, *callbacks, **kwargs):
    x, y = data()
    arguments = {"batch_size": 16, "epochs": 2, "validation_data": data(seed=1), **kwargs}
    return model.fit(x, y, verbose=0, callbacks=list(callbacks), **arguments).history


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("penalty", [kr.L2(1e4), kr.L1(1e-7), kr.L1(10.0)])
def test_a_part_much_larger_than_the_other_costs_it_no_digits(tmp_path, penalty):
    history = fit(
        simple(kernel_regularizer=penalty), kr.RegularizationLogger(tmp_path, in_logs="all")
    )
    for prefix in ("", "val_"):
        data_loss, part = (np.array(history[prefix + k]) for k in ("data_loss", "penalty"))
        np.testing.assert_allclose(data_loss, history[prefix + "entropy"], rtol=1e-6)
        np.testing.assert_allclose(data_loss + part, history[prefix + "loss"], rtol=1e-7)
        assert np.all(part > 0)
    np.testing.assert_allclose(history["val_penalty"], history["regularization_loss"], rtol=1e-6)


class BatchLogs(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.logs = []

    def on_train_batch_end(self, batch, logs=None):
        self.logs.append(dict(logs))


@pytest.mark.slow
def test_batch_logs_hold_a_split_only_where_it_is_that_of_their_loss(tmp_path):
    batches = BatchLogs()
    logger = kr.RegularizationLogger(tmp_path, update_freq=3)
    fit(classifier(), logger, batches, batch_size=8)
    with_split = [i + 1 for i, logs in enumerate(batches.logs) if "data_loss" in logs]
    assert with_split == [3, 6, 9]
    for logs in batches.logs:
        if "data_loss" in logs:
            np.testing.assert_allclose(logs["data_loss"] + logs["penalty"], logs["loss"], rtol=1e-6)
    assert all("sparsity" in logs for logs in batches.logs[2:])


@pytest.mark.slow
def test_two_loggers_share_the_split(tmp_path):
    model = classifier()
    one = kr.RegularizationLogger(tmp_path / "one", weights="kernel")
    other = kr.RegularizationLogger(tmp_path / "other")
    history = fit(model, one, other)
    for name in ("one", "other"):
        points = read(tmp_path / name)
        for tag in ("data_loss", "val_data_loss"):
            logged = [value for _, value in points[f"all/{tag}"]]
            np.testing.assert_allclose(logged, history[tag], rtol=1e-6)
    plain = classifier()
    fit(plain)
    assert model.metrics_names == plain.metrics_names


@pytest.mark.slow
def test_training_again_with_the_same_logger_traces_nothing_anew(tmp_path):
    calls = []

    class Counted(keras.regularizers.Regularizer):
        def __call__(self, w):
            calls.append(1)
            return keras.ops.sum(w * w)

    model, logger = (
        simple(kernel_regularizer=Counted()),
        kr.RegularizationLogger(tmp_path, in_logs="all"),
    )
    counts = []
    for _ in range(3):
        calls.clear()
        fit(model, logger)
        counts.append(len(calls) - 2)  # without the two that measure the weights for the log
    assert counts[1] == counts[2]
    if BACKEND == "torch":
        assert counts[2] == 2 * (3 + 3)  # each batch computes the penalty once
    else:
        assert counts[1] <= 1 < counts[0]  # Keras on JAX builds symbolically in each fit
    model.compile("sgd", CROSS_ENTROPY)
    history = fit(model, logger)
    total = np.add(history["data_loss"], history["penalty"])
    np.testing.assert_allclose(total, history["loss"], rtol=1e-6)


class Noisy(keras.regularizers.Regularizer):
    def __init__(self):
        self.seeds = keras.random.SeedGenerator(3)

    def __call__(self, w):
        return 1e3 * keras.ops.sum(w * keras.random.normal(w.shape, seed=self.seeds))


@pytest.mark.slow
def test_a_random_regularizer_draws_the_same_numbers(tmp_path):
    models = []
    for callbacks in ([], [kr.RegularizationLogger(tmp_path, weights="bias")]):
        keras.utils.set_random_seed(1)
        noisy = Noisy()
        layer = keras.layers.Dense(3, kernel_regularizer=noisy)
        layer.seeds_of_regularizer = noisy.seeds
        model = keras.Sequential([keras.Input((6,)), layer])
        model.compile(keras.optimizers.SGD(1e-6), CROSS_ENTROPY)
        fit(model, *callbacks)
        models.append(model)
    for a, b in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_array_equal(a, b)


class Extra(keras.layers.Layer):
    def call(self, x):
        self.add_loss(0.5 * keras.ops.mean(keras.ops.square(x)))
        return x


@pytest.mark.slow
def test_multiple_outputs_with_weights_and_add_loss(tmp_path):
    inputs = keras.Input((6,))
    x = Extra()(keras.layers.Dense(4, kernel_regularizer=kr.L2(0.1))(inputs))
    outputs = [keras.layers.Dense(1, name="a")(x), keras.layers.Dense(2, name="b")(x)]
    model = keras.Model(inputs, outputs)
    model.compile("sgd", ["mse", "mae"], loss_weights=[0.3, 2.0])
    x, _ = data()
    logger = kr.RegularizationLogger(tmp_path, in_logs="all")
    targets = [x[:, :1], x[:, 1:3]]
    history = model.fit(x, targets, 8, epochs=2, verbose=0, callbacks=[logger]).history
    parts = 0.3 * np.array(history["a_loss"]) + 2.0 * np.array(history["b_loss"])
    np.testing.assert_allclose(history["data_loss"], parts, rtol=1e-5)
    total = np.add(history["data_loss"], history["penalty"])
    np.testing.assert_allclose(total, history["loss"], rtol=1e-6)
    # All that layers add is penalty, that of the weights is only a part of it.
    assert np.all(np.array(history["penalty"]) > history["regularization_loss"])


class OwnStep(keras.Sequential):
    """A model whose loss only it knows."""

    def test_step(self, *args):
        return super().test_step(*args)


class OwnFunction(keras.Sequential):
    """A model that makes its step in its own way."""

    def make_train_function(self, force=False):
        return super().make_train_function(force)


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("cls", [OwnStep, OwnFunction])
def test_a_model_with_its_own_steps_is_logged_without_the_split(tmp_path, cls):
    model = cls([keras.Input((6,)), keras.layers.Dense(3, kernel_regularizer=kr.L1(0.1))])
    model.compile("sgd", CROSS_ENTROPY)
    history = fit(model, kr.RegularizationLogger(tmp_path, in_logs="all"))
    assert "data_loss" not in history and "val_data_loss" not in history
    assert len(history["regularization_loss"]) == 2


@pytest.mark.slow
def test_a_loss_of_the_instance_is_left_alone(tmp_path):
    model = classifier()
    original = model.compute_loss

    def mine(*args, **kwargs):
        return 2.0 * original(*args, **kwargs)

    model.compute_loss = mine
    history = fit(model, kr.RegularizationLogger(tmp_path, in_logs="all"))
    assert model.compute_loss is mine and "data_loss" not in history


@pytest.mark.skipif(BACKEND != "tensorflow", reason="tensors of unknown rank are TensorFlow's")
def test_inputs_of_unknown_rank(tmp_path):
    import tensorflow as tf

    class Reshaping(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(3, kernel_regularizer=kr.L2(0.1))
            self.dense.build((None, 6))
            self.built = True

        def call(self, x):
            return self.dense(tf.reshape(x, (-1, 6)))

    x, y = data()
    signature = (tf.TensorSpec(None, tf.float32), tf.TensorSpec((None,), tf.int32))
    dataset = tf.data.Dataset.from_generator(
        lambda: ((x[i : i + 16], y[i : i + 16]) for i in (0, 16, 32)), output_signature=signature
    )
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(3))
    model = Reshaping()
    model.compile("sgd", CROSS_ENTROPY)
    logger = kr.RegularizationLogger(tmp_path, in_logs="all")
    history = model.fit(dataset, epochs=2, shuffle=False, verbose=0, callbacks=[logger]).history
    total = np.add(history["data_loss"], history["penalty"])
    np.testing.assert_allclose(total, history["loss"], rtol=1e-6)


@pytest.mark.slow
@pytest.mark.skipif(BACKEND != "tensorflow", reason="the other backends build before they train")
def test_a_pattern_that_matches_nothing_in_a_model_built_by_its_first_batch(tmp_path):
    model = Subclassed()
    model.compile("sgd", CROSS_ENTROPY)
    with pytest.raises(ValueError, match="argument `weights`"):
        fit(model, kr.RegularizationLogger(tmp_path, weights="nix"), BatchLogs())
    assert int(to_numpy(model.optimizer.iterations.value)) == 1


@pytest.mark.skipif(
    BACKEND == "tensorflow",
    reason="cannot add a float32 penalty to a float16 loss; see docs/guides/where.md",
)
def test_half_precision_everywhere_costs_the_means_no_digits(tmp_path):
    keras.config.set_floatx("float16")
    keras.config.set_dtype_policy("float16")
    model = keras.Sequential(
        [keras.Input((6,)), keras.layers.Dense(3, kernel_regularizer=kr.L2(0.01))]
    )
    model.compile(keras.optimizers.SGD(0.0), CROSS_ENTROPY)
    history = fit(model, kr.RegularizationLogger(tmp_path, in_logs="all"))
    np.testing.assert_allclose(history["penalty"], history["regularization_loss"], rtol=1e-6)
    np.testing.assert_allclose(history["val_penalty"], history["penalty"], rtol=1e-6)
