"""Paths whose parts are trained in several processes."""

import json
import sys

import joblib
import keras
import numpy as np
import pytest
from helpers.event_files import steps
from helpers.path_models import diabetes, digits, follow, network
from helpers.processes import in_process

import kerasreg as kr
from kerasreg.strength.side_by_side import count_jobs


class Fail(keras.callbacks.Callback):
    """Fails where a fold is trained, which has no validation data."""

    def on_epoch_end(self, epoch, logs=None):
        if "val_loss" not in logs:
            raise OSError("no more")


class Own(keras.layers.Layer):
    def call(self, x):
        return keras.ops.relu(x)


def own_loss(y, y_pred):
    return keras.losses.sparse_categorical_crossentropy(y, y_pred, from_logits=True)


@pytest.mark.parametrize("n_jobs", [0, 1.5, "2", True])
def test_no_number_of_jobs(n_jobs):
    with pytest.raises(ValueError, match="`n_jobs`. Expected a positive integer"):
        count_jobs(n_jobs)


def test_the_meaning_of_n_jobs_is_that_of_scikit_learn():
    assert count_jobs(None) == count_jobs(1) == 1
    assert count_jobs(3) == 3
    assert count_jobs(-1) == joblib.effective_n_jobs(-1)
    with joblib.parallel_config(n_jobs=2):
        assert count_jobs(None) == 2
        assert count_jobs(1) == 1


@pytest.mark.parametrize("backend", ["threading", "multiprocessing"])
def test_processes_that_have_no_keras_of_their_own(backend):
    with joblib.parallel_config(backend), pytest.raises(ValueError, match=f"`n_jobs`.*{backend}"):
        count_jobs(2)


def test_joblib_is_needed_for_several_processes_only(monkeypatch):
    monkeypatch.setitem(sys.modules, "joblib", None)
    assert count_jobs(1) == 1
    with pytest.raises(ImportError, match=r"joblib.*kerasreg\[parallel\].*n_jobs=2"):
        count_jobs(2)


def test_a_model_that_cannot_be_sent():
    class Lost(keras.Model):
        def __init__(self, units):
            super().__init__()
            self.dense = keras.layers.Dense(units)

        def call(self, x):
            return self.dense(x)

        def get_config(self):
            raise NotImplementedError("nothing is known")

    x, y, _ = diabetes()
    model = Lost(1)
    model.compile("sgd", "mse")
    model(x[:1])
    with pytest.raises(ValueError, match="`n_jobs`.*cannot save and load.*nothing is known"):
        kr.regularization_path(model, kr.L1(), x, y, strengths=[1.0], n_jobs=2, verbose=0)


@pytest.mark.slow
def test_the_order_of_samples_does_not_depend_on_what_was_trained_before():
    x, y, _, _ = digits()

    def rows(strengths, folds):
        keras.utils.set_random_seed(0)
        arguments = {"epochs_per_strength": 1, "batch_size": 100, "folds": folds, "verbose": 0}
        model = network(keras.optimizers.SGD(0.1))
        return kr.regularization_path(model, kr.L1(), x, y, strengths=strengths, **arguments).rows

    halves = np.split(np.arange(600), 2)
    pairs = [(halves[0], halves[1]), (halves[1], halves[0])]
    first, second = rows([1e-3], pairs), rows([1e-3], [pairs[0], pairs[0]])
    assert first[0].data_loss == second[0].data_loss
    assert first[0].fold_values[0] == second[0].fold_values[0]


@pytest.mark.slow
def test_rows_logs_and_weights_are_those_of_one_process(tmp_path):
    changes = {"strengths": [1e-3, 1e-2], "batch_size": 200}
    paths = {}
    for n_jobs in (1, 2):
        keras.utils.set_random_seed(0)
        paths[n_jobs] = follow(tmp_path / str(n_jobs), n_jobs=n_jobs, **changes)[1]()
    one, two = paths.values()
    assert len(one) == 2
    for a, b in zip(one.rows, two.rows, strict=True):
        assert a.strength == b.strength and a.sparsity == pytest.approx(b.sparsity, abs=1e-3)
        assert a.data_loss == pytest.approx(b.data_loss, rel=1e-5)
        assert a.fold_values == pytest.approx(b.fold_values, rel=1e-5)
        for x, y in zip(one.weights_of(a), two.weights_of(b), strict=True):
            np.testing.assert_allclose(x, y, atol=1e-5)
    for log in (tmp_path / "1").glob("*/*.kerasreg"):
        assert steps(tmp_path / "2" / log.parent.name) == steps(log.parent)
    # Cut off: of the first fold nothing is known, and of the second one strength.
    left = json.loads((tmp_path / "2" / "path.json").read_text())
    assert not list((tmp_path / "2").glob("path-*"))
    known = {"plan": left["plan"], "rows": {"0": left["rows"]["0"]}}
    (tmp_path / "2" / "path.json").unlink()
    (tmp_path / "2" / "path-0.json").write_text(json.dumps(known))
    keras.utils.set_random_seed(0)
    again = follow(tmp_path / "2", n_jobs=2, **changes)[1]()
    assert again.rows == two.rows
    assert json.loads((tmp_path / "2" / "path.json").read_text()) == left


@pytest.mark.slow
def test_an_error_says_where():
    with pytest.raises(RuntimeError, match="^L1, fold [12] of 2: OSError: no more"):
        follow(None, [Fail()], n_jobs=2, strengths=[1e-3])[1]()


@pytest.mark.slow
def test_what_only_the_main_program_has():
    printed = in_process(
        """
        import keras, numpy as np, kerasreg as kr

        class Own(keras.layers.Layer):
            def call(self, x):
                return keras.ops.relu(x)

        class OwnL1(kr.L1):
            pass

        def own_loss(y, y_pred):
            return keras.ops.mean(keras.ops.square(y - y_pred), -1)

        keras.config.set_epsilon(1e-6)
        x = np.random.default_rng(0).normal(size=(40, 3))
        layers = [keras.layers.Dense(4), Own(), keras.layers.Dense(1)]
        model = keras.Sequential([keras.Input((3,)), *layers], name="mine")
        model.compile("sgd", own_loss, metrics=[own_loss])
        penalty = {"mine/.*kernel": OwnL1()}
        path = kr.regularization_path(
            model, penalty, x, x[:, :1], strengths=[1e-3], epochs_per_strength=1, folds=2,
            n_jobs=2, verbose=0,
        )
        print(path.rows[0].penalty, len(path.rows[0].fold_values))
        """
    )
    assert printed.split()[-2:] == ["OwnL1", "2"]
