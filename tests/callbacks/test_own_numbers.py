"""Numbers that a training loop of one's own adds to its points."""

import keras
import numpy as np
import pytest
from helpers.event_files import read
from helpers.models import classifier

import kerasreg as kr


@pytest.fixture
def logger(tmp_path):
    logger = kr.RegularizationLogger(tmp_path, verbose=0)
    logger.set_model(classifier())
    yield logger
    logger.close()


def metric_result(value):
    metric = keras.metrics.Mean()
    metric.update_state(value)
    return metric.result()


KINDS = {
    "float": lambda v: v,
    "integer": lambda v: int(8 * v),
    "NumPy's": np.float64,
    "an array": lambda v: np.array(v, "float16"),
    "a tensor": keras.ops.convert_to_tensor,
    "of half precision": lambda v: keras.ops.cast(v, "bfloat16"),
    "a variable": lambda v: keras.Variable(v, dtype="float32"),
    "a metric's result": metric_result,
}


@pytest.mark.fast_cases(2)
@pytest.mark.parametrize("kind", KINDS)
def test_they_are_in_charts_and_totals(tmp_path, logger, kind):
    for step, value in ((1, 0.5), (2, 0.25)):
        totals = logger.log(step, {"d_loss": KINDS[kind](value), "g/loss": KINDS[kind](-value)})
        factor = 8 if kind == "integer" else 1
        assert totals["d_loss"] == factor * value and totals["g/loss"] == -factor * value
        assert isinstance(totals["d_loss"], float) and "sparsity" in totals
    points = read(tmp_path)
    assert points["all/d_loss"] == [(1, factor * 0.5), (2, factor * 0.25)]
    assert points["all/g/loss"] == [(1, -factor * 0.5), (2, -factor * 0.25)]
    assert [step for step, _ in points["all/sparsity"]] == [1, 2]


def test_each_point_may_have_others(tmp_path, logger):
    logger.log(1)
    logger.log(2, {"accuracy": 0.5})
    logger.log(3, {})
    logger.log(4, None)
    assert read(tmp_path)["all/accuracy"] == [(2, 0.5)]


def test_what_is_not_finite_is_logged_as_it_is(tmp_path, logger):
    totals = logger.log(1, {"a": float("nan"), "b": float("inf"), "c": np.float32("-inf")})
    points = read(tmp_path)
    assert np.isnan(totals["a"]) and np.isnan(points["all/a"][0][1])
    assert (points["all/b"], points["all/c"]) == ([(1, np.inf)], [(1, -np.inf)])


def test_losses_which_the_logger_does_not_see_in_a_loop(tmp_path, logger):
    losses = {"loss": 3.5, "data_loss": 3.0, "penalty": 0.5, "val_data_loss": 4.0}
    logger.log(5, losses)
    points = read(tmp_path)
    for name, value in losses.items():
        assert points[f"all/{name}"] == [(5, value)]


MEASURED = ["sparsity", "near_zero", "regularization_loss", "learning_rate", "strength_scale"]


@pytest.mark.parametrize("name", MEASURED)
def test_names_of_what_is_measured_are_refused(tmp_path, logger, name):
    with pytest.raises(ValueError, match=f"argument `numbers`.*does not use itself.*'{name}'$"):
        logger.log(1, {"fine": 1.0, name: 0.5})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", [3, None, "", " ", ("a",)])
def test_bad_names(logger, name):
    with pytest.raises(ValueError, match="argument `numbers`. Expected names that are strings"):
        logger.log(1, {name: 1.0})


BAD = [None, "1", True, 1j, [1.0], np.zeros(1), np.ones((2, 2)), {"b": 1.0}, 10**400]


@pytest.mark.fast_cases(2)
@pytest.mark.parametrize("value", BAD, ids=lambda value: type(value).__name__)
def test_bad_values(logger, value):
    with pytest.raises(ValueError, match="argument `numbers` at 'a'. Expected a real number"):
        logger.log(1, {"a": value})


@pytest.mark.parametrize("numbers", [3.0, ["a"], "a", [("a", 1.0)]])
def test_what_is_no_dict(logger, numbers):
    with pytest.raises(ValueError, match="argument `numbers`. Expected a dict from names to"):
        logger.log(1, numbers)
