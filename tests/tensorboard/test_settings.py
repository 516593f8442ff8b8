"""The hyper-parameters of a run that nobody named."""

import keras
import pytest
from helpers.models import classifier

import kerasreg as kr
from kerasreg.optimizers.of_model import Optimizers
from kerasreg.statistics.names import Dropouts, LayerNames
from kerasreg.statistics.weights import find_weights
from kerasreg.tensorboard.settings import MOST_COLUMNS, Settings


class Sum(keras.regularizers.Regularizer):
    def __call__(self, weights):
        return keras.ops.sum(weights)


def hparams(model, optimizer=None):
    names, optimizers = LayerNames(model), Optimizers(model, optimizer)
    weights = find_weights(model, None, names, optimizers)
    return Settings(model, names, weights, optimizers, Dropouts(model, names).rates()).hparams()


def mlp(*regularizers, optimizer=None, rates=(), layers=3):
    regularizers = [*regularizers, *[None] * (layers - len(regularizers))]
    dense = [
        keras.layers.Dense(2, kernel_regularizer=regularizer, name=f"d{i}")
        for i, regularizer in enumerate(regularizers)
    ]
    dropouts = [kr.Dropout(rate, name=f"drop{i}") for i, rate in enumerate(rates)]
    model = keras.Sequential([keras.Input((2,)), *dense, *dropouts])
    model.compile(optimizer or keras.optimizers.SGD(0.1), "mse")
    model.optimizer.build(model.trainable_variables)
    return model


def proximal(penalty):
    return kr.Proximal(keras.optimizers.Adam(0.01), penalty)


PLAIN = {"penalty": "none", "strength": None, "optimizer": "SGD", "learning_rate": 0.1}
ADAM = {"optimizer": "Adam", "learning_rate": 0.01}
KERNELS = ".*kernel"


@pytest.mark.fast_cases(5)
@pytest.mark.parametrize(
    "regularizers, expected",
    [
        ([], {}),
        ([kr.L1(1e-3)] * 2, {"penalty": "L1", "strength": 1e-3}),
        ([kr.L1(0.0)], {"penalty": "L1", "strength": None}),
        ([keras.regularizers.L2(0.3)], {"penalty": "keras.L2", "strength": 0.3}),
        ([kr.MCP(0.1, 4.0)], {"penalty": "MCP(gamma=4)", "strength": 0.1}),
        (
            [kr.ElasticNet(2.0, 0.5, 0.25)],
            {"penalty": "ElasticNet(l1=0.5, l2=0.25)", "strength": 2},
        ),
        (
            [keras.regularizers.L1L2(0.0, 0.25)],
            {"penalty": "keras.L1L2(l1=0)", "strength": 0.25},
        ),
        (
            [kr.L1(0.1), kr.L1(0.2), kr.L1(0.1)],
            {
                "penalty": "L1",
                "strength of L1 on d0/kernel and 1 more": 0.1,
                "strength of L1 on d1/kernel": 0.2,
            },
        ),
        (
            [kr.L1(0.1), kr.L2(0.1)],
            {"penalty": "L1 + L2", "strength of L1": 0.1, "strength of L2": 0.1},
        ),
        ([Sum()], {"penalty": "Sum"}),
    ],
)
def test_in_the_loss(regularizers, expected):
    found = hparams(mlp(*regularizers))
    numbered = any(name.startswith("strength of") for name in expected)
    plain = {k: v for k, v in PLAIN.items() if not (numbered and k == "strength")}
    assert found == {**plain, **expected, "dropout": 0.0}
    assert {name: type(value) for name, value in found.items() if value is not None} == {
        name: str if name in ("penalty", "optimizer") else float
        for name, value in found.items()
        if value is not None
    }


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(
    "penalty, words, strength",
    [
        ({KERNELS: kr.L1(1e-4)}, "L1 after the step", 1e-4),
        ({KERNELS: kr.L1(0.0)}, "L1 after the step", None),
        (kr.GroupLasso(0.5, axis=0), "GroupLasso(axis=0, size_scaling=True) after the step", 0.5),
        (kr.KeepZeros(), "KeepZeros(", None),
        (kr.TopK(0.75), "TopK(", None),
    ],
)
def test_after_the_step(penalty, words, strength):
    found = hparams(mlp(optimizer=proximal(penalty)))
    assert found.pop("penalty").startswith(words)
    assert found == {"strength": strength, **ADAM, "dropout": 0.0}


def test_in_both_places_and_on_activities():
    model = mlp(kr.L2(0.5), optimizer=proximal({".*d1/kernel": kr.L2(0.25)}))
    assert hparams(model) == {
        "penalty": "L2 + L2 after the step",
        "strength of L2": 0.5,
        "strength of L2 after the step": 0.25,
        **ADAM,
        "dropout": 0.0,
    }
    found = hparams(classifier())
    assert "L1 on activities" in found["penalty"]
    assert found["strength of L1 on activities"] == 0.01 and found["dropout"] == 0.25


def test_what_does_not_act_is_left_out():
    model = mlp(kr.L1(0.1))
    model.get_layer("d0").trainable = False
    assert hparams(model)["penalty"] == "none"


@pytest.mark.parametrize(
    "rates, expected",
    [
        ((0.0,), {"dropout": 0.0}),
        ((0.5, 0.0, 0.5), {"dropout": 0.5}),
        ((0.5, 0.25), {"dropout of drop0": 0.5, "dropout of drop1": 0.25}),
    ],
)
def test_dropout(rates, expected):
    assert hparams(mlp(rates=rates)) == {**PLAIN, **expected}


def test_the_learning_rate_is_that_of_the_start():
    schedule = keras.optimizers.schedules.ExponentialDecay(0.5, 1, 0.5)
    model = mlp(optimizer=keras.optimizers.SGD(schedule))
    names, optimizers = LayerNames(model), Optimizers(model)
    settings = Settings(model, names, find_weights(model), optimizers, {})
    model.optimizer.iterations.assign(3)
    assert settings.hparams()["learning_rate"] == 0.5


def test_several_optimizers_and_none():
    model = mlp()
    two = {"slow": keras.optimizers.SGD(0.25), "fast": keras.optimizers.Adam(0.5)}
    for optimizer in two.values():
        optimizer.build(model.trainable_variables)
        optimizer.iterations.assign(1)
    found = hparams(model, two)
    assert found["optimizer"] == "SGD + Adam"
    assert found["learning_rate of slow"] == 0.25 and found["learning_rate of fast"] == 0.5
    bare = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    expected = {"penalty": "none", "strength": None, "optimizer": "none", "learning_rate": None}
    assert hparams(bare) == {**expected, "dropout": 0.0}


def test_columns_are_bounded():
    model = mlp(*(kr.L1(0.1 * (i + 1)) for i in range(10)), layers=10, rates=[0.1, 0.2] * 6)
    found = hparams(model)
    assert sum(name.startswith("strength of ") for name in found) == MOST_COLUMNS
