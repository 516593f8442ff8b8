"""Which totals reach `logs`, and so `History`, the progress bar and other callbacks."""

import keras
import numpy as np
import pytest
from helpers.event_files import read
from helpers.models import classifier, data

import kerasreg as kr

ALL = (
    "sparsity near_zero dead_units l1_norm l2_norm max_abs regularization_loss "
    "data_loss penalty val_data_loss val_penalty"
).split()


def fit(logger, *callbacks, **kwargs):
    x, y = data()
    arguments = {"epochs": 2, "validation_data": data(seed=1), "verbose": 0, **kwargs}
    return classifier().fit(x, y, 16, callbacks=[logger, *callbacks], **arguments).history


def added(history):
    """The names that are not Keras's, in their order."""
    return [name for name in history if name.removeprefix("val_") not in ("loss", "entropy")]


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, ["sparsity", "data_loss", "penalty", "val_data_loss"]),
        ({"in_logs": "all"}, ALL),
        ({"in_logs": ["val_penalty", "near_zero", "sparsity"]}, None),
        ({"in_logs": ("near_zero", "optimality_residual", "near_zero")}, ["near_zero"]),
        ({"in_logs": ()}, []),
    ],
)
def test_the_history_has_what_is_named_in_that_order(tmp_path, given, expected):
    history = fit(kr.RegularizationLogger(tmp_path, verbose=0, **given))
    assert added(history) == (given["in_logs"] if expected is None else expected)
    points = read(tmp_path)
    assert {f"all/{name}" for name in ALL} <= set(points)  # the charts have all of them
    for name in added(history):
        logged = [value for _, value in points[f"all/{name}"]]
        np.testing.assert_allclose(logged, history[name], rtol=1e-6)


@pytest.mark.slow
def test_a_residual_that_is_asked_for(tmp_path):
    logger = kr.RegularizationLogger(
        tmp_path, optimality_data=data(), verbose=0, in_logs=["optimality_residual", "sparsity"]
    )
    assert added(fit(logger)) == ["optimality_residual", "sparsity"]


@pytest.mark.slow
def test_early_stopping_on_a_name_that_was_added(tmp_path):
    names = ("sparsity", "data_loss", "penalty", "val_data_loss", "near_zero")
    logger = kr.RegularizationLogger(tmp_path, threshold=1e3, verbose=0, in_logs=names)
    stop = keras.callbacks.EarlyStopping("near_zero", mode="max", patience=1)
    assert fit(logger, stop, epochs=6)["near_zero"] == [1.0, 1.0]


@pytest.mark.slow
def test_batches_and_the_progress_bar(tmp_path, capsys):
    logger = kr.RegularizationLogger(tmp_path, update_freq=1, verbose=0, in_logs=["max_abs"])
    assert added(fit(logger, epochs=1, verbose=2)) == ["max_abs"]
    printed = capsys.readouterr().out
    assert "max_abs: " in printed and "sparsity: " not in printed


@pytest.mark.parametrize(
    "names",
    ["sparsity", ["spersity"], ["all"], [3], None, 3, {"sparsity"}, ["loss"], [["sparsity"]]],
)
def test_other_names_are_refused_with_a_list_of_them(names):
    with pytest.raises(ValueError, match="argument `in_logs`.*'near_zero'.*'val_penalty'") as error:
        kr.RegularizationLogger("log", in_logs=names)
    assert repr(names) in str(error.value)


def test_a_loop_of_ones_own_gets_all_totals(tmp_path):
    logger = kr.RegularizationLogger(tmp_path, verbose=0, in_logs=())
    logger.set_model(classifier())
    assert set(ALL[:7]) <= set(logger.log(1))
