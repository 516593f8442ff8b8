"""What is remembered of the logs of this process."""

import gc
import weakref

import pytest

from kerasreg.callbacks.logged_steps import begin_log, steps_logged


class Thing:
    """A model, or an optimizer."""

    optimizer = None


def model(optimizer=None):
    made = Thing()
    made.optimizer = optimizer
    return made


def test_of_the_last_model_in_a_folder(tmp_path):
    first, second = model(), model()
    assert steps_logged(str(tmp_path), first) is None
    steps = begin_log(str(tmp_path), first)
    assert steps_logged(str(tmp_path), first) is steps
    assert steps_logged(str(tmp_path / "other"), first) is None
    begin_log(str(tmp_path), second)
    assert steps_logged(str(tmp_path), first) is None


@pytest.mark.parametrize(
    ("folder", "same"), [("{}/a/../run/", "{}/run"), ("file://{}/run", "{}/run")]
)
def test_however_the_folder_is_written(tmp_path, folder, same):
    one = model()
    steps = begin_log(folder.format(tmp_path), one)
    assert steps_logged(same.format(tmp_path), one) is steps


def test_a_remote_folder():
    one = model()
    steps = begin_log("gs://bucket/run/", one)
    assert steps_logged("gs://bucket/run", one) is steps


def test_the_shift_is_that_of_an_optimizer():
    counting, other = Thing(), Thing()
    one = model(counting)
    steps = begin_log("gs://bucket/shift", one)
    assert (steps.step, steps.shift_of(counting)) == (-1, 0)
    steps.add(42, shift=28)
    assert (steps.step, steps.shift_of(counting), steps.shift_of(other)) == (42, 28, 0)
    assert steps.shift_of(None) == 0


def test_it_keeps_no_model():
    one = model(Thing())
    begin_log("gs://bucket/kept", one).add(1, shift=0)
    seen = weakref.ref(one)
    del one
    gc.collect()
    assert seen() is None
    assert steps_logged("gs://bucket/kept", None) is None
