"""The folds are scikit-learn's."""

import keras
import numpy as np
import pytest
from sklearn.model_selection import KFold, StratifiedKFold

from kerasreg.strength.folds import make_folds
from kerasreg.strength.samples import Samples

RNG = np.random.default_rng(0)
NUMBERS = RNG.normal(size=23)
CLASSES = RNG.permutation(np.repeat([7, 3, 5], [12, 8, 5]))
BINARY = (RNG.uniform(size=40) < 0.3).astype("float32")
SORTED = np.sort(CLASSES)
IN_A_CYCLE = np.repeat([5, 7, 3], [8, 5, 12])  # The first that appears is the second in order.


def folds_of(folds, y, loss="sparse_categorical_crossentropy"):
    return make_folds(folds, Samples(np.zeros((len(y), 2)), y), loss)


class Mine(keras.losses.Loss):
    """One of which nothing is known."""


def same(ours, theirs):
    assert len(ours) == len(theirs)
    for pair, expected in zip(ours, theirs, strict=True):
        for a, b in zip(pair, expected, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("n_folds", [2, 3, 5, 23])
def test_numbers(n_folds):
    same(folds_of(n_folds, NUMBERS), list(KFold(n_folds).split(NUMBERS)))
    same(folds_of(n_folds, NUMBERS[:, None]), list(KFold(n_folds).split(NUMBERS)))


@pytest.mark.parametrize("n_folds", [2, 3, 5])
@pytest.mark.parametrize(
    "y",
    [
        CLASSES,
        CLASSES.astype("float32"),
        SORTED,
        IN_A_CYCLE,
        BINARY,
        BINARY.astype(bool),
        2 * BINARY - 1,
    ],
    ids=range(7),
)
def test_classes(n_folds, y):
    expected = list(StratifiedKFold(n_folds).split(y, y))
    same(folds_of(n_folds, y), expected)
    same(folds_of(n_folds, y[:, None]), expected)


def test_one_hot_classes():
    labels = np.unique(CLASSES, return_inverse=True)[1]
    same(folds_of(3, np.eye(3)[labels]), list(StratifiedKFold(3).split(labels, labels)))


def test_several_outputs_are_no_classes():
    y = np.stack([BINARY, BINARY], 1)
    same(folds_of(4, y), list(KFold(4).split(y)))


@pytest.mark.parametrize(
    "loss", ["mse", ["mae"], "poisson", keras.losses.Huber(), keras.losses.log_cosh]
)
def test_numbers_that_happen_to_be_whole(loss):
    same(folds_of(3, CLASSES, loss), list(KFold(3).split(CLASSES)))


@pytest.mark.parametrize(
    "loss",
    ["hinge", "bce", ["bce"], {"a": "BCE"}, keras.losses.BinaryCrossentropy()]
    + [keras.losses.categorical_hinge, Mine(), lambda y, p: 0.0],
)
def test_losses_of_classes(loss):
    same(folds_of(3, BINARY, loss), list(StratifiedKFold(3).split(BINARY, BINARY)))


def test_a_loss_of_ones_own_and_numbers_that_happen_to_be_whole():
    same(folds_of(3, CLASSES.astype("float32"), Mine()), list(KFold(3).split(CLASSES)))


def test_several_targets_of_a_model():
    samples = Samples(NUMBERS[:, None], {"a": CLASSES[:23], "b": NUMBERS})
    folds = make_folds(4, samples, {"a": "sparse_categorical_crossentropy", "b": "mse"})
    same(folds, list(KFold(4).split(NUMBERS)))
    assert len(make_folds(folds, samples, "mse")) == 4


def test_more_folds_than_samples_of_any_class():
    same(folds_of(13, CLASSES), list(KFold(13).split(CLASSES)))


def test_folds_of_ones_own():
    splits = list(KFold(3, shuffle=True, random_state=0).split(NUMBERS))
    same(folds_of(iter(splits), NUMBERS), splits)


@pytest.mark.parametrize(
    "folds",
    [1, 0, -3, 24, 2.5, np.inf, KFold(3), True, "5", [], [1, 2], None]
    + [[([0], [1])], [([0], [1]), ([0], [23])], [([0], []), ([1], [2])]]
    + [[([0.5], [1]), ([1], [0])], [([-1], [1]), ([1], [0])]],
    ids=str,
)
def test_errors(folds):
    with pytest.raises(ValueError, match="argument `folds`.*23"):
        folds_of(folds, NUMBERS)
