"""Weights in pieces: each is updated as if it were whole."""

import keras
import numpy as np
import pytest
from helpers.backends import BACKEND, JIT_COMPILE, to_numpy
from helpers.marks import first_is_fast, slow
from helpers.references import reference
from keras import optimizers

import kerasreg as kr
from kerasreg.optimizers import apply_penalty, pieces

# None of these sizes is a multiple of a piece's length, and no two axes are alike.
SHAPES = {"dense": (37, 53), "conv": (3, 2, 67, 21), "bias": (1031,)}
PENALTIES = {
    "last axis": (kr.GroupLasso(0.03), ("dense", "conv", "bias")),
    "first axis": (kr.GroupLasso(0.03, axis=0), ("dense", "conv", "bias")),
    "two axes": (kr.GroupLasso(0.03, axis=(-2, -1)), ("dense", "conv")),
    "inner axis": (kr.GroupLasso(0.03, axis=-2, size_scaling=False), ("dense", "conv")),
    "separable": (kr.MCP(0.03, gamma=8.0), ("dense", "conv", "bias")),
}
FAST = ["last axis", "separable"]


@pytest.fixture
def small_pieces(monkeypatch):
    for module in (pieces, apply_penalty):
        monkeypatch.setattr(module, "PIECE_SIZE", 512)
    monkeypatch.setattr(pieces, "LEAST_RUN", 4)


@pytest.fixture
def taken(monkeypatch):
    """The shapes of the pieces that an update is computed on."""
    shapes, updated = [], apply_penalty._updated

    def record(penalty, updates, *args):
        shapes.extend(tuple(update.w.shape) for update in updates)
        return updated(penalty, updates, *args)

    monkeypatch.setattr(apply_penalty, "_updated", record)
    return shapes


def one_update(penalty, weights, gradients, jit_compile):
    """The weights after one update by Adagrad without its history, whose step is known."""
    variables = [keras.Variable(w, name="kernel") for w in weights]
    inner = optimizers.Adagrad(0.5, initial_accumulator_value=0.0, epsilon=1e-3)
    optimizer = kr.Proximal(inner, {".*": penalty})
    optimizer.build(variables)
    state = [v for v in optimizer.variables if v is not None]

    def update(values, gradients, state_values):
        mapping = list(zip([*variables, *state], [*values, *state_values], strict=True))
        with keras.StatelessScope(mapping) as scope:
            optimizer.apply(gradients, variables)
        return [scope.get_current_value(v) for v in variables]

    if BACKEND == "jax":
        import jax

        values = [v.value for v in variables], gradients, [v.value for v in state]
        return [to_numpy(w) for w in jax.jit(update)(*values)]
    if BACKEND == "tensorflow":
        import tensorflow as tf

        apply = tf.function(lambda g: optimizer.apply(g, variables), jit_compile=jit_compile)
        apply([tf.constant(g) for g in gradients])
    else:
        import torch

        with torch.no_grad():
            optimizer.apply([torch.tensor(g) for g in gradients], variables)
    return [to_numpy(v.value) for v in variables]


@pytest.mark.slow
@pytest.mark.parametrize("jit_compile", first_is_fast(JIT_COMPILE))
@pytest.mark.parametrize("name", [n if n in FAST else slow(n) for n in PENALTIES])
def test_an_update_in_pieces_is_the_proximal_operator_of_the_whole(
    name, jit_compile, small_pieces, taken
):
    penalty, kinds = PENALTIES[name]
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=SHAPES[kind]).astype("float32") * 0.1 for kind in kinds]
    gradients = [(rng.normal(size=w.shape) ** 3).astype("float32") for w in weights]
    results = one_update(penalty, weights, gradients, jit_compile)
    for w, gradient, z in zip(weights, gradients, results, strict=True):
        step = 0.5 / np.sqrt(gradient.astype("float64") ** 2 + 1e-3)
        moved = (w - step * gradient).astype("float32")
        expected = reference(penalty).prox(moved, step)
        expected = np.clip(expected, moved - 0.5, moved + 0.5)  # the reach of Adagrad
        np.testing.assert_allclose(z, expected, rtol=1e-4, atol=1e-5)
    if not (penalty.is_separable and BACKEND != "torch"):
        assert not {w.shape for w in weights} & set(taken)


@pytest.mark.skipif(BACKEND != "torch", reason="elsewhere an update without a graph is whole")
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("name", PENALTIES)
def test_held_zeros_in_pieces_are_those_of_the_whole(name, dtype, monkeypatch):
    def train():
        variables = [
            keras.Variable(np.zeros(SHAPES[kind]), name=kind, dtype=dtype) for kind in kinds
        ]
        optimizer = kr.Proximal(optimizers.Adam(0.01), {".*": penalty})
        optimizer.build(variables)
        rng = np.random.default_rng(0)
        for _ in range(6):
            grads = [rng.normal(size=v.shape) * size(v) for v in variables]
            optimizer.apply([keras.ops.cast(g, dtype) for g in grads], variables)
        means = [v.value for v in optimizer.variables if "mean_gradient" in v.path]
        assert len(means) == len(variables)
        return [to_numpy(x) for x in (*[v.value for v in variables], *means)]

    def size(variable):
        """Some groups have small gradients, others large ones, along all axes."""
        return 0.03 * sum(np.ix_(*[np.linspace(0, 3, length) for length in variable.shape]))

    penalty, kinds = PENALTIES[name]
    whole = train()
    zeros = np.mean([np.mean(w == 0) for w in whole[: len(kinds)]])
    for module in (pieces, apply_penalty):
        monkeypatch.setattr(module, "PIECE_SIZE", 512)
    monkeypatch.setattr(pieces, "LEAST_RUN", 4)
    for a, b in zip(whole, train(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7 if dtype == "float32" else 1e-4)
    assert 0 < zeros < 0.99


def test_short_runs_of_memory_are_not_taken_alone():
    few_columns = np.zeros((1 << 16, 64), "float32")
    assert pieces.find_cut(kr.GroupLasso(), few_columns) is None
    assert pieces.find_cut(kr.GroupLasso(axis=0), few_columns) == (0, 4096)
    many_columns = np.zeros((1 << 16, 256), "float32")
    assert pieces.find_cut(kr.GroupLasso(), many_columns) == (1, 64)


def test_weights_that_are_compared_are_not_divided():
    assert pieces.find_cut(kr.TopK(0.5), np.zeros((2048, 2048), "float32")) is None


def test_a_penalty_with_another_formula_is_not_divided_as_the_one_it_derives_from():
    class Sorted(kr.GroupLasso):
        def _prox(self, w, step):
            return keras.ops.sort(w)

    w = np.zeros((2048, 2048), "float32")
    assert pieces.find_cut(kr.GroupLasso(), w) and not pieces.find_cut(Sorted(), w)
