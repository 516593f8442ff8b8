"""Which models are known to train on a loss with their penalties in it, and what is said of it."""

import html

import keras
import numpy as np
import pytest
from helpers.backends import to_numpy
from helpers.event_files import read
from helpers.marks import slow
from helpers.models import data

import kerasreg as kr
from kerasreg.statistics.loss_contents import loss_has_penalties
from kerasreg.statistics.loss_gradient import LossGradient
from kerasreg.statistics.weights import IF_ADDED, LEFT_OUT, find_weights, strengths

LAYERS = {"kernel_regularizer": kr.L1(100.0), "name": "dense"}
CROSS_ENTROPY = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


class WithoutPenalties(keras.Sequential):
    """Its loss is that of `compile` alone."""

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return CROSS_ENTROPY(y, y_pred)


class OwnStep(keras.Sequential):
    """Its step may do what it likes."""

    def train_step(self, *args):
        return super().train_step(*args)


class Registered(OwnStep):
    """A class that answers for itself."""


loss_has_penalties.register(Registered, lambda model: True)


def student(cls=keras.Sequential, compiled=True):
    model = cls([keras.Input((6,)), keras.layers.Dense(3, **LAYERS)])
    if compiled:
        model.compile("sgd", CROSS_ENTROPY)
    return model


def distiller(cls=keras.distillation.Distiller):
    losses = keras.distillation.LogitsDistillation()
    model = cls(student(compiled=False), student(compiled=False), losses)
    model.compile("sgd", CROSS_ENTROPY)
    return model


class AddingDistiller(keras.distillation.Distiller):
    """One that adds what Keras's leaves out."""

    def compute_loss(self, *args, **kwargs):
        return super().compute_loss(*args, **kwargs) + sum(self.losses)


def functional():
    inputs = keras.Input((6,))
    return keras.Model(inputs, student()(inputs))


def with_a_loss_of_the_instance():
    model = student()
    model.compute_loss = lambda *args, **kwargs: 0.0
    return model


MODELS = [
    (student, True),
    (functional, True),
    (lambda: student().layers[0], True),
    (lambda: student(Registered), True),
    (lambda: student(WithoutPenalties), None),
    (lambda: student(OwnStep), None),
    (with_a_loss_of_the_instance, None),
    (distiller, False),
    (lambda: distiller(AddingDistiller), None),
]


@pytest.mark.fast_cases(6)
@pytest.mark.parametrize(("build", "expected"), MODELS)
def test_what_is_known(build, expected):
    assert loss_has_penalties(build()) is expected


def test_the_loss_of_keras_distiller_leaves_penalties_out():
    """Where this fails, Keras has begun to add them."""
    model, (x, y) = distiller(), data()
    assert float(to_numpy(sum(model.losses))) > 100
    assert float(to_numpy(model.compute_loss(x, y, model(x)))) < 10


@pytest.mark.parametrize(
    ("build", "place"),
    [(distiller, LEFT_OUT), slow(lambda: student(WithoutPenalties), IF_ADDED)],
)
def test_what_the_log_says(tmp_path, build, place):
    model = build()
    logger = kr.RegularizationLogger(tmp_path, verbose=0)
    history = model.fit(*data(), epochs=1, verbose=0, callbacks=[logger]).history
    assert "penalty" not in history
    points = read(tmp_path)
    ((_, page),) = points["configuration"]
    page = html.unescape(page.decode())
    assert "in the loss" not in page and place in page
    (weight,) = (w for w in find_weights(model) if w.variable is model.trainable_variables[0])
    (value,) = (v for _, v in points[f"regularization_loss/{weight.name}"])
    assert (value == 0) == (place == LEFT_OUT)
    assert (not strengths([weight])[1]) == (place == LEFT_OUT)
    assert any(row.penalty == f"L1(l1=100), {place}" for row in kr.sparsity_report(model).rows)
    assert "not at all: frozen" in page or place == IF_ADDED  # the teacher's


def test_a_model_that_trains_as_keras_does_is_known_while_it_does(tmp_path):
    logger = kr.RegularizationLogger(tmp_path, verbose=0)
    student().fit(*data(), epochs=1, verbose=0, callbacks=[logger])
    ((_, page),) = read(tmp_path)["configuration"]
    assert "in the loss" in page.decode()


@pytest.mark.parametrize("build", [distiller, lambda: student(WithoutPenalties)])
def test_no_penalty_is_taken_off_a_loss_that_has_none(build):
    model, (x, y) = build(), data()
    kernel = LossGradient(model)(x, y)[0]
    assert np.abs(to_numpy(kernel)).max() < 10  # that of the penalty is 100
    assert model.trainable_variables[0].regularizer == kr.L1(100.0)


def test_the_residual_of_a_penalty_that_is_left_out_is_that_of_the_loss(tmp_path):
    model, (x, y) = distiller(), data()
    (kernel, bias) = map(to_numpy, LossGradient(model)(x, y))
    logger = kr.RegularizationLogger(tmp_path, verbose=0, optimality_data=(x, y))
    logger.set_model(model)
    expected = np.sqrt(np.sum(kernel**2) + np.sum(bias**2))
    assert logger.log(1)["optimality_residual"] == pytest.approx(expected, rel=1e-5)
