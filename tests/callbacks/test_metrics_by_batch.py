"""Keras's metrics at points within an epoch: means over the epoch so far, as it reports them."""

import keras
import numpy as np
import pytest
from helpers.backends import BACKEND
from helpers.event_files import read
from helpers.marks import slow
from helpers.models import classifier, data

import kerasreg as kr


class BatchLogs(keras.callbacks.Callback):
    """What Keras reports at each batch."""

    def __init__(self):
        super().__init__()
        self.logs = []

    def on_train_batch_end(self, batch, logs=None):
        self.logs.append((self.model.optimizer.iterations, dict(logs)))


def fit(model, *callbacks, **kwargs):
    x, y = data()
    arguments = {"epochs": 2, "validation_data": data(seed=1), "verbose": 0, **kwargs}
    return model.fit(x, y, 8, callbacks=list(callbacks), **arguments).history


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("update_freq", [1, slow(2), 5, slow(3)])
def test_they_are_in_the_charts_of_the_epochs_metrics(tmp_path, update_freq):
    batches = BatchLogs()
    logger = kr.RegularizationLogger(tmp_path, update_freq, verbose=0)
    history = fit(classifier(), batches, logger)
    points = read(tmp_path)
    reported = [logs["entropy"] for _, logs in batches.logs]  # 5 batches an epoch
    steps = [step for step in range(1, 11) if step % update_freq == 0 or step % 5 == 0]
    assert [step for step, _ in points["all/entropy"]] == steps
    logged = [value for _, value in points["all/entropy"]]
    np.testing.assert_allclose(logged, [reported[step - 1] for step in steps], rtol=1e-6)
    at_ends = [value for step, value in points["all/entropy"] if step % 5 == 0]
    np.testing.assert_allclose(at_ends, history["entropy"], rtol=1e-6)
    assert [step for step, _ in points["all/val_entropy"]] == [5, 10]
    assert [step for step, _ in points["all/total_loss"]] == steps
    assert "all/loss" not in points  # there as the sum of its parts


@pytest.mark.slow
def test_no_point_twice_and_the_metrics_of_the_layout_stay(tmp_path):
    fit(classifier(), kr.RegularizationLogger(tmp_path, 1, verbose=0))
    for tag, points in read(tmp_path).items():
        if tag.startswith("all/"):
            found = [step for step, _ in points]
            assert found == sorted(set(found)), tag


@pytest.mark.slow
def test_by_epoch_there_is_one_point_an_epoch(tmp_path):
    fit(classifier(), kr.RegularizationLogger(tmp_path, verbose=0))
    assert [step for step, _ in read(tmp_path)["all/entropy"]] == [5, 10]


class OwnStep(keras.Sequential):
    """Reports a loss that is no sum of known parts, and a number of its own."""

    def train_step(self, *args):
        result = super().train_step(*args)
        logs = result[0] if isinstance(result, tuple) else result
        logs["own"] = keras.ops.convert_to_tensor(0.5)
        return result


def test_a_loss_without_a_split(tmp_path):
    model = OwnStep([keras.Input((6,)), keras.layers.Dense(3)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    batches = BatchLogs()
    fit(model, batches, kr.RegularizationLogger(tmp_path, 2, verbose=0))
    points = read(tmp_path)
    assert [step for step, _ in points["all/loss"]] == [2, 4, 5, 6, 8, 10]
    reported = [batches.logs[step - 1][1]["loss"] for step in (2, 4)]
    np.testing.assert_allclose([v for _, v in points["all/loss"][:2]], reported, rtol=1e-6)
    assert {value for _, value in points["all/own"]} == {0.5}


@pytest.mark.slow
@pytest.mark.skipif(BACKEND == "torch", reason="Keras has no several steps an execution there")
def test_several_steps_an_execution(tmp_path):
    model = classifier(steps_per_execution=2)
    history = fit(model, kr.RegularizationLogger(tmp_path, 1, verbose=0))
    points = read(tmp_path)["all/entropy"]
    assert [step for step, _ in points] == [2, 4, 5, 7, 9, 10]
    np.testing.assert_allclose([points[2][1], points[5][1]], history["entropy"], rtol=1e-6)
