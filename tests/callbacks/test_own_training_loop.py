"""The logger in a training loop of one's own."""

import keras
import numpy as np
import pytest
from helpers.event_files import read, steps
from helpers.models import classifier, data

import kerasreg as kr
from kerasreg.tensorboard import run


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
    with pytest.warns(UserWarning, match=f"folder '{tmp_path}'.*{REPLACED}"):
        assert logger.log(1)["sparsity"] == kr.sparsity_report(other).total.sparsity
    assert steps(tmp_path) == [1]


REPLACED = "of another training, whose points those of this one replace"


def log(log_dir, model, steps):
    """Logs what a loop counts, with a logger of its own."""
    logger = kr.RegularizationLogger(log_dir, verbose=0)
    logger.set_model(model)
    for step in steps:
        logger.log(step)
    logger.close()


@pytest.mark.parametrize("counts", [[1, 2], [2]])
def test_a_loop_that_starts_anew_replaces_the_points_with_a_warning(tmp_path, counts):
    log(tmp_path, classifier(), [1, 2, 3])
    with pytest.warns(UserWarning, match=REPLACED) as seen:
        log(tmp_path, classifier(), counts)
    assert len([w for w in seen if REPLACED in str(w.message)]) == 1
    assert steps(tmp_path) == [1, 2]  # TensorBoard keeps what lies before


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(
    ("phases", "expected"),
    [
        # The count begins anew, or has never stopped.
        ([[1, 2, 3], [1, 2], [1]], [1, 2, 3, 4, 5, 6]),
        ([[0, 5, 10], [5, 10], [15]], [0, 5, 10, 15, 20, 25]),
        ([[2, 4], [6, 8]], [2, 4, 6, 8]),
        ([[2, 4], [4, 6]], [2, 4, 6]),
    ],
)
def test_a_second_loop_goes_on_after_the_first(tmp_path, phases, expected):
    model = classifier()
    for counts in phases:
        log(tmp_path, model, counts)
    assert steps(tmp_path) == expected


@pytest.mark.slow
def test_the_optimizer_counts_in_a_loop(tmp_path):
    """A new one counts from 0; one that was loaded replaces what overlaps."""
    model, (x, y) = classifier(), data()

    def train(batches):
        logger = kr.RegularizationLogger(tmp_path, verbose=0)
        logger.set_model(model)
        for _ in range(batches):
            model.train_on_batch(x, y)
            logger.log(model.optimizer.iterations)

    train(3)
    model.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
    train(2)
    train(2)
    assert steps(tmp_path) == [1, 2, 3, 4, 5, 6, 7]
    model.optimizer.iterations.assign(1)
    train(1)
    assert steps(tmp_path) == [1, 2, 3, 4, 5]


@pytest.mark.slow
def test_a_loop_after_a_fit(tmp_path):
    model, (x, y) = classifier(), data()
    logger = kr.RegularizationLogger(tmp_path, verbose=0)
    model.fit(x, y, 20, epochs=2, verbose=0, callbacks=[logger])
    log(tmp_path, model, [5, 6])
    log(tmp_path, model, [1])
    assert steps(tmp_path) == [2, 4, 5, 6, 7]


@pytest.mark.slow
def test_steps_of_every_integer_kind(tmp_path):
    model, logger = classifier(), kr.RegularizationLogger(tmp_path)
    logger.set_model(model)
    model.train_on_batch(*data())
    logger.log(0)
    logger.log(model.optimizer.iterations)
    logger.log(np.int64(2))
    logger.log(keras.ops.convert_to_tensor(3))
    assert steps(tmp_path) == [0, 1, 2, 3]


@pytest.mark.fast_cases(3)
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


def test_what_changes_while_a_run_is_open(tmp_path):
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(2, kernel_regularizer=kr.L1(0.1), name="first"),
            kr.Dropout(0.1, name="dropout"),
            keras.layers.Dense(2, name="second"),
            keras.layers.Dense(1, name="last"),
        ]
    )
    model.compile(kr.Proximal(keras.optimizers.SGD(0.5), {".*last/kernel": kr.L1(0.2)}), "mse")
    logger = kr.RegularizationLogger(tmp_path, verbose=0)
    logger.set_model(model)
    logger.log(1)
    model.get_layer("dropout").rate = 0.3
    model.optimizer.learning_rate = 0.25
    model.optimizer.strength_scale = 2.0
    model.get_layer("second").kernel.regularizer = kr.L2(0.4)
    logger.log(2)
    logger.close()
    points = read(tmp_path)
    for tag, expected in {
        "dropout_rate/dropout": [0.1, 0.3],
        "all/learning_rate": [0.5, 0.25],
        "all/strength_scale": [1.0, 2.0],
        "strength/first/kernel": [0.1, 0.1],
        "strength/last/kernel": [0.2, 0.4],
    }.items():
        np.testing.assert_allclose([value for _, value in points[tag]], expected, rtol=1e-6)
    assert [step for step, _ in points["strength/second/kernel"]] == [2]
    assert [step for step, _ in points["penalty_share/second/kernel"]] == [2]


def test_a_run_finds_weights_and_names_layers_once(tmp_path, monkeypatch):
    found = []
    for name in ("find_weights", "LayerNames"):
        real = getattr(run, name)
        monkeypatch.setattr(run, name, lambda *a, f=real: found.append(f.__name__) or f(*a))
    logger = kr.RegularizationLogger(tmp_path, verbose=0)
    logger.set_model(classifier())
    for step in range(3):
        logger.log(step)
    assert sorted(found) == ["LayerNames", "find_weights"]


def test_arguments_that_do_not_fit_the_model_are_refused_at_once(tmp_path):
    logger = kr.RegularizationLogger(tmp_path, input_shape=(28, 28))
    with pytest.raises(ValueError, match="argument `input_shape`"):
        logger.set_model(classifier())
