"""The logger in a training loop of one's own."""

import keras
import numpy as np
import pytest
from helpers.event_files import read, steps
from helpers.models import classifier, data

import kerasreg as kr


def test_own_training_loop(tmp_path):
    model = classifier()
    logger = kr.RegularizationLogger(tmp_path)
    logger.set_model(model)
    x, y = data()
    for step in range(1, 4):
        model.train_on_batch(x, y)
        totals = logger.log(step)
        assert totals["sparsity"] == kr.sparsity_report(model).total.sparsity
    logger.close()
    points = read(tmp_path)
    assert [step for step, _ in points["all/sparsity"]] == [1, 2, 3]
    np.testing.assert_allclose(points["all/l2_norm"][-1][1], totals["l2_norm"], rtol=1e-6)
    assert "all/data_loss" not in points  # the logger has not seen the loop's loss


def test_every_call_measures_the_weights_as_they_are(tmp_path):
    model, logger = classifier(), kr.RegularizationLogger(tmp_path)
    logger.set_model(model)
    first = logger.log(1)
    model.get_layer("first").kernel.assign(np.zeros((6, 16)))
    assert logger.log(1)["sparsity"] > first["sparsity"]


def test_another_model_is_another_run(tmp_path):
    model, other, logger = classifier(), classifier(), kr.RegularizationLogger(tmp_path)
    other.get_layer("first").kernel.assign(np.zeros((6, 16)))
    logger.set_model(model)
    logger.log(5)
    logger.set_model(other)
    assert logger.log(1)["sparsity"] == kr.sparsity_report(other).total.sparsity
    assert steps(tmp_path) == [1]


def test_a_loop_that_starts_anew_replaces_the_points(tmp_path):
    for count in (3, 2):
        logger = kr.RegularizationLogger(tmp_path)
        logger.set_model(classifier())
        for step in range(1, count + 1):
            logger.log(step)
    assert steps(tmp_path) == [1, 2]


def test_steps_of_every_integer_kind(tmp_path):
    model, logger = classifier(), kr.RegularizationLogger(tmp_path)
    logger.set_model(model)
    model.train_on_batch(*data())
    logger.log(0)
    logger.log(model.optimizer.iterations)
    logger.log(np.int64(2))
    logger.log(keras.ops.convert_to_tensor(3))
    assert steps(tmp_path) == [0, 1, 2, 3]


@pytest.mark.parametrize("step", [None, -3, 1.5, "1", True, np.nan])
def test_bad_steps(tmp_path, step):
    logger = kr.RegularizationLogger(tmp_path)
    logger.set_model(classifier())
    with pytest.raises(ValueError, match="argument `step`. Expected a non-negative integer"):
        logger.log(step)


def test_a_model_that_is_not_built(tmp_path):
    logger = kr.RegularizationLogger(tmp_path)
    logger.set_model(keras.Sequential([keras.layers.Dense(2)]))
    with pytest.raises(ValueError, match="Expected a built model"):
        logger.log(1)
