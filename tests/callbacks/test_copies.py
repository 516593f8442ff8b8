"""Each deep copy of a logger has a folder of its own."""

import copy

import numpy as np
import pytest
from helpers.event_files import read
from helpers.models import classifier, data

import kerasreg as kr


def fit(logger, model=None):
    (model or classifier()).fit(*data(), batch_size=8, epochs=1, verbose=0, callbacks=[logger])


@pytest.mark.slow
@pytest.mark.filterwarnings("error::UserWarning")
def test_copies_take_the_next_free_folder(tmp_path):
    logger = kr.RegularizationLogger(tmp_path / "log", verbose=0)
    (tmp_path / "log" / "2").mkdir(parents=True)
    copies = [copy.deepcopy(logger) for _ in range(3)]
    folders = [str(tmp_path / "log" / number) for number in "134"]
    assert [each.log_dir for each in copies] == folders
    assert copy.deepcopy(copies[0]).log_dir == f"{folders[0]}/1"
    for each in (*copies, logger):
        fit(each)
    for folder in (*folders, tmp_path / "log"):
        assert len(read(folder)["all/sparsity"]) == 1


@pytest.mark.slow
def test_the_copy_of_a_logger_that_has_trained_begins_anew(tmp_path):
    logger = kr.RegularizationLogger(tmp_path, verbose=0)
    model = classifier()
    fit(logger, model)
    twin = copy.deepcopy(logger)
    fit(twin)
    assert [step for step, _ in read(twin.log_dir)["all/sparsity"]] == [5]
    fit(logger, model)
    assert [step for step, _ in read(tmp_path)["all/sparsity"]] == [5, 10]


@pytest.mark.slow
def test_what_is_logged_is_shared(tmp_path):
    class Tracker:
        def __deepcopy__(self, memo):
            raise TypeError("a connection cannot be copied")

        def __call__(self, step, numbers):
            self.last = step

    tracker, x = Tracker(), np.zeros((2, 6), "float32")
    logger = kr.RegularizationLogger(
        tmp_path, verbose=0, on_point=tracker, activation_data=x, in_logs=["near_zero"]
    )
    twin = copy.deepcopy([logger])[0]
    assert twin.options is logger.options and twin.in_logs == ("near_zero",)
    fit(twin)
    assert tracker.last == 5


def test_an_address(monkeypatch):
    import fsspec

    with fsspec.open("memory://runs/1/note", "w") as file:
        file.write("-")
    logger = kr.RegularizationLogger("memory://runs", verbose=0)
    first, second = copy.deepcopy(logger), copy.deepcopy(logger)
    assert first.log_dir != second.log_dir and second.log_dir.startswith("memory://runs/")
