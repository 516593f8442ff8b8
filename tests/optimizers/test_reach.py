"""No penalty moves a weight farther than its optimizer could have, nor one that has no gradient."""

import keras
import numpy as np
import pytest
from helpers.backends import BACKEND, JIT_COMPILE, to_numpy
from helpers.marks import first_is_fast
from keras import ops, optimizers

import kerasreg as kr
from kerasreg.optimizers.steps import step_rule

RATE = 0.01
# Of short memories, so that few updates come close to what they can do at most.
BOUNDED = {
    "adam": lambda: optimizers.Adam(RATE, beta_1=0.8, beta_2=0.9),
    "amsgrad": lambda: optimizers.Adam(RATE, beta_1=0.8, beta_2=0.9, amsgrad=True),
    "adamw": lambda: optimizers.AdamW(RATE, weight_decay=0.0, beta_1=0.8, beta_2=0.9),
    "nadam": lambda: optimizers.Nadam(RATE, beta_1=0.8, beta_2=0.9),
    "adamax": lambda: optimizers.Adamax(RATE, beta_1=0.8, beta_2=0.9),
    "rmsprop": lambda: optimizers.RMSprop(RATE, rho=0.8),
    "rmsprop with momentum": lambda: optimizers.RMSprop(RATE, rho=0.8, momentum=0.5),
    "adagrad": lambda: optimizers.Adagrad(RATE, initial_accumulator_value=0.0),
}
PENALTIES = [kr.L1(1e3), kr.L2(1e3), kr.ElasticNet(1.0, 1e3, 1.0), kr.MCP(1e3), kr.GroupLasso(1e3)]
REACH = {  # with the betas that Keras has by default
    "Adam": 7.270,
    "AdamW": 7.270,
    "Nadam": 8.415,
    "Adamax": 1.009,
    "RMSprop": 3.162,
    "Adagrad": 1.0,
    "SGD": None,
}


@pytest.mark.parametrize("name", REACH)
def test_reach_of_the_optimizers_of_keras(name):
    found = step_rule(getattr(optimizers, name)()).reach
    assert found is None if REACH[name] is None else found == pytest.approx(REACH[name], rel=1e-3)


@pytest.mark.parametrize("name", first_is_fast(BOUNDED))
def test_it_bounds_what_the_optimizer_does_under_gradients_that_ask_for_most(name):
    """By Cauchy-Schwarz those that grow by `beta_2 / beta_1` a step, or one after none.

    For the largest of the gradients in place of their squares those that shrink by `beta_2`.
    """
    optimizer, moves = BOUNDED[name](), []
    weights = [keras.Variable(np.zeros(4), name="kernel")]
    for count in range(150):
        growing, shrinking = (0.9 / 0.8) ** (count - 150), 1e4 * 0.9**count
        alternating = (-1) ** count * growing
        gradient = np.array([growing, float(count == 149), alternating, shrinking])
        before = to_numpy(weights[0].value)
        optimizer.apply([ops.convert_to_tensor(gradient, "float32")], weights)
        moves.append(np.abs(to_numpy(weights[0].value) - before).max())
    largest, reach = max(moves) / RATE, step_rule(BOUNDED[name]()).reach
    assert largest <= reach * (1 + 1e-4)
    assert largest > (0.5 if "momentum" in name or name == "amsgrad" else 0.9) * reach


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("penalty", PENALTIES, ids=lambda penalty: type(penalty).__name__)
@pytest.mark.parametrize("name", first_is_fast(BOUNDED))
def test_no_penalty_moves_a_weight_farther(name, penalty):
    """As one whose every second entry has not had a gradient yet."""
    rng = np.random.default_rng(0)
    start = rng.normal(size=(6, 4)).astype("float32")
    penalised, plain = (keras.Variable(start, name="kernel") for _ in range(2))
    optimizer, bare = kr.Proximal(BOUNDED[name](), penalty), BOUNDED[name]()
    reach = RATE * step_rule(bare).reach
    for _ in range(3):
        gradient = ops.convert_to_tensor(rng.normal(size=(6, 4)) * (np.arange(4) % 2), "float32")
        plain.assign(penalised.value)
        bare.apply([gradient], [plain])
        optimizer.apply([gradient], [penalised])
        moved = np.abs(to_numpy(penalised.value) - to_numpy(plain.value))
        assert moved.max() <= reach + 1e-6
        assert moved[:, 0].min() > 0


@pytest.mark.parametrize("penalty", [kr.KeepZeros(), kr.TopK(0.5)], ids=repr)
def test_constraints_have_no_such_bound(penalty):
    start = np.array([[3.0, 0.0], [2.0, 5.0]], "float32")
    weight = keras.Variable(start, name="kernel")
    optimizer = kr.Proximal(BOUNDED["adam"](), penalty)
    optimizer.apply([ops.ones((2, 2))], [weight])
    expected = start != 0 if isinstance(penalty, kr.KeepZeros) else start > 2.5
    np.testing.assert_array_equal(to_numpy(weight.value) != 0, expected)


def text_model(penalty, inner=None):
    model = keras.Sequential(
        [
            keras.Input((4,), dtype="int32"),
            keras.layers.Embedding(100, 8),
            keras.layers.Flatten(),
            keras.layers.Dense(1),
        ]
    )
    model.compile(kr.Proximal(inner or optimizers.Adam(1e-3), penalty), "mse")
    return model


def fit_ten_words(model):
    rng = np.random.default_rng(0)
    model.fit(rng.integers(0, 10, (32, 4)), rng.normal(size=(32, 1)), batch_size=8, verbose=0)
    return model.layers[0].get_weights()[0], model.layers[2].get_weights()[0]


@pytest.mark.slow
def test_a_bare_penalty_leaves_embeddings_alone():
    model = text_model(kr.L1(0.1), optimizers.SGD(1.0))
    before = model.layers[0].get_weights()[0]
    embeddings, kernel = fit_ten_words(model)
    np.testing.assert_array_equal(embeddings[10:], before[10:])
    assert np.any(kernel == 0)
    assert model.optimizer.penalties_of(model.trainable_variables)[0] is None


@pytest.mark.slow
def test_a_pattern_reaches_them_and_rows_in_use_are_not_erased_at_once():
    embeddings, _ = fit_ten_words(text_model({".*embeddings": kr.L1(1e-2)}, optimizers.SGD(1.0)))
    assert np.any(embeddings[10:] == 0)
    embeddings, _ = fit_ten_words(text_model({".*embeddings": kr.L1(1e-3)}))
    assert np.mean(embeddings[:10] == 0) < 0.5


@pytest.mark.parametrize("constraint", [kr.KeepZeros(), kr.TopK(0.9)], ids=repr)
def test_constraints_reach_embeddings(constraint):
    model = text_model(constraint)
    assert model.optimizer.penalties_of(model.trainable_variables)[0] == constraint


class HalfFrozen(keras.Model):
    """A teacher that no gradient reaches, and a branch that is not used."""

    def __init__(self):
        super().__init__()
        self.teacher, self.unused, self.student = (
            keras.layers.Dense(3, name=name) for name in ("teacher", "unused", "student")
        )

    def build(self, shape):
        self.unused.build(shape)
        self.teacher.build(shape)
        self.student.build(shape)
        super().build(shape)

    def call(self, x):
        return self.student(x) - ops.stop_gradient(self.teacher(x))


@pytest.mark.fast_cases(1)
@pytest.mark.filterwarnings("ignore:Gradients do not exist")
@pytest.mark.parametrize("jit_compile", first_is_fast(JIT_COMPILE))
@pytest.mark.parametrize("inner", [optimizers.SGD, optimizers.Adam])
def test_a_weight_that_the_loss_does_not_reach_is_left_alone(inner, jit_compile, tmp_path):
    model = HalfFrozen()
    model.build((None, 5))
    penalties = {".*kernel": kr.L1(0.5)}
    model.compile(kr.Proximal(inner(0.1), penalties), "mse", jit_compile=jit_compile)
    frozen = [*model.teacher.get_weights(), *model.unused.get_weights()]
    student = model.student.get_weights()[0]
    x = np.random.default_rng(0).normal(size=(32, 5))
    model.fit(x, np.zeros((32, 3)), epochs=3, verbose=0)
    for before, after in zip(
        frozen, [*model.teacher.get_weights(), *model.unused.get_weights()], strict=True
    ):
        np.testing.assert_array_equal(before, after)
    after = model.student.get_weights()[0]
    assert np.abs(after).sum() < np.abs(student).sum()


@pytest.mark.parametrize("inner", [optimizers.SGD, optimizers.Adam])
def test_a_gradient_of_zero_does_not_stop_the_step(inner):
    weight = keras.Variable(np.full((2, 2), 10.0), name="kernel")
    optimizer = kr.Proximal(inner(0.1), kr.L1(0.1))
    zeros, values = ops.zeros((2, 2)), []
    for gradient in (zeros, ops.eye(2), zeros, zeros):
        before = to_numpy(weight.value)
        optimizer.apply([gradient], [weight])
        values.append(to_numpy(weight.value)[0, 1] < before[0, 1])
    # A gradient that does not exist is one of zeros on JAX, where the two cannot be told apart.
    assert values == [BACKEND != "jax", True, True, True]
