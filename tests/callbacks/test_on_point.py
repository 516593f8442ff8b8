"""The hook that hands each point's numbers to another tracker."""

import threading
import warnings

import keras
import numpy as np
import pytest
from helpers.event_files import read
from helpers.marks import slow
from helpers.models import classifier, data

import kerasreg as kr


class Calls:
    """Takes note of what it is called with, and in which thread."""

    def __init__(self):
        self.calls = []

    def __call__(self, step, numbers):
        assert threading.current_thread() is threading.main_thread()
        self.calls.append((step, numbers))


def fit(on_point, folder, update_freq="epoch", **kwargs):
    keras.utils.set_random_seed(5)
    x, y = data()
    logger = kr.RegularizationLogger(folder, update_freq, verbose=0, on_point=on_point)
    arguments = {"epochs": 2, "validation_data": data(seed=1), "verbose": 0, **kwargs}
    return classifier().fit(x, y, 8, callbacks=[logger], **arguments).history


def scalars(folder):
    """Every scalar of the log, by tag and step."""
    return {
        (tag, step): value
        for tag, points in read(folder).items()
        for step, value in points
        if isinstance(value, float) and not tag.startswith(("all/compacted", "nonzero/"))
    }


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("update_freq", ["epoch", slow(2), 5])
def test_it_gets_every_number_of_the_charts_once(tmp_path, update_freq):
    calls = Calls()
    fit(calls, tmp_path, update_freq)
    handed = [
        ((tag, step), number) for step, numbers in calls.calls for tag, number in numbers.items()
    ]
    expected = scalars(tmp_path)
    assert len(handed) == len(dict(handed)) and dict(handed).keys() == expected.keys()
    for key, number in handed:
        assert type(number) is float
        np.testing.assert_allclose(number, expected[key], rtol=1e-6, err_msg=str(key))
    steps = [step for step, _ in calls.calls]
    by_freq = {"epoch": [5, 10], 2: [2, 4, 5, 6, 8, 10, 10], 5: [5, 5, 10, 10]}
    assert steps == by_freq[update_freq]
    assert "all/val_entropy" in calls.calls[-1][1]


def test_a_loop_of_ones_own(tmp_path):
    calls = Calls()
    logger = kr.RegularizationLogger(tmp_path, verbose=0, on_point=calls)
    logger.set_model(classifier())
    logger.log(1, {"d_loss": 0.5})
    logger.log(4)
    logger.close()
    (first, numbers), (second, others) = calls.calls
    assert (first, second) == (1, 4)
    assert numbers["all/d_loss"] == 0.5 and "all/d_loss" not in others
    assert {"all/sparsity", "sparsity/first/kernel"} <= set(numbers) & set(others)


@pytest.mark.slow
def test_a_failure_is_one_warning_that_names_it(tmp_path):
    steps = []

    def send_away(step, numbers):
        steps.append(step)
        raise ConnectionError("no network")

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        history = fit(send_away, tmp_path, 1)
    messages = [str(w.message) for w in caught if "on_point" in str(w.message)]
    assert len(messages) == 1 and "send_away" in messages[0] and "no network" in messages[0]
    assert len(set(steps)) == 10  # It may work again later.
    assert len(history["sparsity"]) == 2 and len(read(tmp_path)["all/sparsity"]) == 10


@pytest.mark.slow
def test_it_changes_neither_the_training_nor_the_log(tmp_path):
    def spoil(step, numbers):
        numbers.clear()

    one, other = fit(spoil, tmp_path / "a"), fit(None, tmp_path / "b")
    assert one == other
    assert scalars(tmp_path / "a").keys() == scalars(tmp_path / "b").keys()


@pytest.mark.slow
def test_ctrl_c_in_it_ends_the_training(tmp_path):
    def interrupt(step, numbers):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(interrupt, tmp_path)


@pytest.mark.parametrize("given", ["wandb", 3, {}])
def test_what_cannot_be_called_is_refused(given):
    with pytest.raises(ValueError, match="argument `on_point`. Expected a function of a step"):
        kr.RegularizationLogger("log", on_point=given)
