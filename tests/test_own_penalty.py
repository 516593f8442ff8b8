"""A penalty of one's own goes wherever those of kerasreg go."""

import dataclasses

import keras
import numpy as np
import pytest
from helpers.backends import to_numpy
from helpers.event_files import read
from keras import ops, optimizers

import kerasreg as kr
from kerasreg.statistics.optimality import Optimality
from kerasreg.statistics.weights import find_weights


@keras.saving.register_keras_serializable("kerasreg_tests")
@dataclasses.dataclass(frozen=True)
class Stretched(kr.Penalty):
    """`strength * sum_i (|w_i| + w_i^2 / 2)`: entry by entry."""

    is_separable = True

    strength: float = 0.01

    def _value(self, w):
        return self.strength * ops.sum(ops.abs(w) + ops.square(w) / 2)

    def _prox(self, w, step):
        threshold = self.strength * step
        return ops.sign(w) * ops.maximum(ops.abs(w) - threshold, 0.0) / (1.0 + threshold)

    def _residual(self, w, grad):
        at_zero = ops.sign(grad) * ops.maximum(ops.abs(grad) - self.strength, 0.0)
        return ops.where(w == 0, at_zero, grad + self.strength * (ops.sign(w) + w))

    def _dual_norm(self, grad):
        return ops.max(ops.abs(grad)) / self.strength


@keras.saving.register_keras_serializable("kerasreg_tests")
@dataclasses.dataclass(frozen=True)
class WholeNorm(kr.Penalty):
    """`strength * ||w||`: all weights of a tensor become zero together."""

    strength: float = 0.01

    def _value(self, w):
        return self.strength * ops.sqrt(ops.sum(ops.square(w)))

    def _prox(self, w, step):
        # Exact where all weights have the same step size, as those of plain gradient descent.
        norm = ops.sqrt(ops.sum(ops.square(w)))
        return w * ops.maximum(1.0 - self.strength * step / ops.maximum(norm, 1e-30), 0.0)

    def _residual(self, w, grad):
        norm, length = (ops.sqrt(ops.sum(ops.square(x))) for x in (w, grad))
        moving = grad + self.strength * w / ops.maximum(norm, 1e-30)
        excess = ops.maximum(1.0 - self.strength / ops.maximum(length, 1e-30), 0.0)
        return ops.where(norm > 0, moving, grad * excess)

    def _dual_norm(self, grad):
        return ops.sqrt(ops.sum(ops.square(grad))) / self.strength


@dataclasses.dataclass(frozen=True)
class Smooth(kr.Penalty):
    """With a gradient everywhere, as it says."""

    has_kink = False

    strength: float = 0.01

    def _value(self, w):
        return self.strength * ops.sum(ops.abs(w) ** 3)


@dataclasses.dataclass(frozen=True)
class ProxOnly(kr.Penalty):
    """Enough for `Proximal`, and for nothing that asks for more."""

    strength: float = 0.01

    def _value(self, w):
        return self.strength * ops.sum(ops.abs(w))

    def _prox(self, w, step):
        return kr.L1(self.strength).prox(w, step)


class WithoutStrength(Stretched):
    """Nothing says how strong it is."""

    main_strength = None


PENALTIES = [Stretched(0.05), WholeNorm(0.05)]
RNG = np.random.default_rng(0)
X = RNG.normal(size=(32, 6)).astype("float32")
Y = (X @ [1.0, -2.0, 0.0, 0.0, 0.5, 0.0] + 0.1 * RNG.normal(size=32)).astype("float32")[:, None]


def linear(penalty=None, optimizer=None):
    keras.utils.set_random_seed(0)
    layer = keras.layers.Dense(1, kernel_regularizer=penalty, name="dense")
    model = keras.Sequential([keras.Input((6,)), layer])
    model.compile(optimizer or optimizers.SGD(0.1), "mse")
    return model


def fit(model, updates, epochs=1, callbacks=()):
    """Trains on all samples in each update."""
    x, y = (np.tile(array, (updates, 1)) for array in (X, Y))
    history = model.fit(x, y, len(X), epochs, shuffle=False, verbose=0, callbacks=list(callbacks))
    return history.history


def proximal(penalty):
    return kr.Proximal(optimizers.SGD(0.1), penalty)


def residual(model, penalty):
    """The optimality residual of the kernel, from the gradient of the mean squared error."""
    kernel, bias = model.get_weights()
    grad = 2 / 32 * X.T @ (X @ kernel + bias - Y)
    return float(to_numpy(penalty.subdifferential_distance(kernel, grad)))


@pytest.mark.parametrize("penalty", PENALTIES, ids=lambda p: type(p).__name__)
class TestOwnPenalty:
    def test_in_the_loss(self, penalty):
        model = linear(penalty)
        data_loss = np.mean((model.predict(X, verbose=0) - Y) ** 2)
        value = float(to_numpy(penalty(model.get_weights()[0])))
        np.testing.assert_allclose(fit(model, 1)["loss"], data_loss + value, rtol=1e-5)
        assert not np.any(model.get_weights()[0] == 0)

    def test_the_fixed_points_of_proximal_are_optimal(self, penalty):
        strong = dataclasses.replace(penalty, strength=0.5)
        model = linear(optimizer=proximal(strong))
        fit(model, 300)
        assert residual(model, strong) < 1e-5
        if penalty.is_separable:
            assert 1 <= np.count_nonzero(model.get_weights()[0] == 0) <= 5

    def test_max_strength_is_where_zeros_begin(self, penalty):
        largest = kr.max_strength(linear(), X, Y, penalty)
        model = linear(optimizer=proximal(penalty))
        zeros = []
        for strength in (1.01 * largest, 0.9 * largest):
            model.optimizer.strength_scale = strength / penalty.strength
            fit(model, 100)
            zeros.append(np.count_nonzero(model.get_weights()[0] == 0))
        assert zeros[0] == 6 > zeros[1]

    def test_a_path(self, penalty):
        path = kr.regularization_path(
            linear(), penalty, X, Y, n_strengths=2, min_ratio=0.3, verbose=0
        )
        assert path.rows[0].sparsity == 1.0 > path.rows[-1].sparsity

    @pytest.mark.parametrize("place", ["loss", "proximal"])
    def test_schedule_log_and_report(self, penalty, place, tmp_path):
        model = linear(*((penalty, None) if place == "loss" else (None, proximal(penalty))))
        scheduler = kr.StrengthScheduler(lambda epoch: 2.0 + epoch)
        logger = kr.RegularizationLogger(tmp_path, optimality_data=(X, Y), verbose=0, in_logs="all")
        history = fit(model, 1, 2, [scheduler, logger])
        points = read(tmp_path)
        value = 3.0 * float(to_numpy(penalty(model.get_weights()[0])))
        np.testing.assert_allclose(history["regularization_loss"][-1], value, rtol=1e-5)
        np.testing.assert_allclose(points["strength/dense/kernel"][-1][1], 0.15, rtol=1e-6)
        scaled = dataclasses.replace(penalty, strength=0.15)
        found = points["optimality_residual/dense/kernel"][-1][1]
        np.testing.assert_allclose(found, residual(model, scaled), rtol=1e-3)
        report = kr.sparsity_report(model).rows[0].penalty
        assert report.startswith(f"{type(penalty).__name__}(strength=0.05)")

    def test_a_target_sparsity(self, penalty):
        half = kr.StrengthScheduler(target_sparsity=0.5)
        model = linear(optimizer=proximal(penalty))
        half.set_model(model)  # It finds weights that can become zero.

    def test_save_and_load(self, penalty, tmp_path):
        file = tmp_path / "model.keras"
        linear(penalty, proximal({".*bias": penalty})).save(file)
        loaded = keras.saving.load_model(file)
        assert loaded.get_layer("dense").kernel_regularizer == penalty
        assert loaded.optimizer.penalty == {".*bias": penalty}

    def test_attach_and_detach(self, penalty):
        model = linear()
        kr.attach_regularizers(model, penalty)
        assert kr.detach_regularizers(model) == {"(.*/)?dense/kernel": penalty}

    def test_it_must_not_act_twice(self, penalty):
        with pytest.raises(ValueError, match="regularizer on weight `.*dense/kernel`.*with a kink"):
            fit(linear(penalty, proximal(kr.L1(0.1))), 1)


@pytest.mark.slow
def test_a_smooth_one_in_the_loss_and_another_after_the_update():
    fit(linear(Smooth(), proximal(kr.L1(0.1))), 1)
    with pytest.raises(ValueError, match="penalty`. Expected a penalty with a proximal operator"):
        proximal(Smooth())


@pytest.mark.parametrize(
    "function",
    [
        lambda model, penalty: kr.max_strength(model, X, Y, penalty),
        lambda model, penalty: kr.regularization_path(model, penalty, X, Y, verbose=0),
    ],
    ids=["max_strength", "regularization_path"],
)
@pytest.mark.parametrize(
    ("penalty", "message"),
    [
        (ProxOnly(), "with a dual norm; give ProxOnly a method `_dual_norm.grad.`"),
        (WithoutStrength(), "that have a strength"),
        (Stretched(0.0), "of a positive strength"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_a_path_asks_for(function, penalty, message):
    with pytest.raises(ValueError, match=f"argument `penalty`. Expected.*{message}.*Received"):
        function(linear(), penalty)


@pytest.mark.parametrize("place", ["loss", "proximal"])
def test_what_a_residual_asks_for(place):
    model = linear(*((ProxOnly(), None) if place == "loss" else (None, proximal(ProxOnly()))))
    message = "weight `.*dense/kernel`.*give ProxOnly a method `_residual.w, grad.`.*Received"
    with pytest.raises(ValueError, match=message):
        Optimality(model, find_weights(model), (X, Y))


class Halved(kr.L1):
    """Derived from a penalty whose value the norms of a weight tell, with another value."""

    def _value(self, w):
        return super()._value(w) / 2


class HalvedAgain(Halved):
    """Derived once more, without a value of its own."""


class Mixin:
    def _value(self, w):
        return ops.sum(w * 0) + 7.0


class Mixed(Mixin, kr.L1):
    """With the value of another class."""


class FromNorms(kr.L1):
    """With a formula of its own, and its shortcut."""

    def _value(self, w):
        return 3 * super()._value(w)

    def value_from_norms(self, l1_norm, l2_norm):
        return 3 * self.l1 * l1_norm


@pytest.mark.parametrize(
    ("cls", "expected"), [(Halved, None), (HalvedAgain, None), (Mixed, None), (FromNorms, 3.0)]
)
def test_a_shortcut_to_the_value_is_not_inherited_past_another_value(cls, expected):
    assert cls(0.5).value_from_norms(2.0, 1.0) == expected
    assert kr.L1(0.5).value_from_norms(2.0, 1.0) == 1.0


class TwiceAsFar(kr.L1):
    """Derived from a penalty with a shortcut to its proximal operator."""

    def _prox(self, w, step):
        return super()._prox(w, 2 * step)


class AlsoTwiceAsFar(kr.L1):
    def prox(self, w, step):
        return super().prox(w, 2 * step)


class KeepsNothing(kr.KeepZeros):
    def _prox(self, w, step):
        return ops.zeros_like(w)


class Unchanged(kr.L1):
    """With nothing of its own."""


class Raised(kr.L1):
    """With an update of its own beside its formula."""

    def _prox(self, w, step):
        return w + 1

    def update(self, updates, count, strength_scale):
        return (u.w + 2 for u in updates)


@pytest.mark.parametrize(
    ("penalty", "expected"),
    [
        (kr.L1(0.5), 2.95),
        (Unchanged(0.5), 2.95),
        (TwiceAsFar(0.5), 2.9),
        (AlsoTwiceAsFar(0.5), 2.9),
        (KeepsNothing(), 0.0),
        (Raised(0.5), 5.0),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_shortcut_to_the_prox_is_not_inherited_past_another_prox(penalty, expected):
    w = keras.Variable([[3.0]], name="kernel")
    # Not zero, which JAX takes for the gradient of a weight that the loss does not reach.
    proximal(penalty).apply([ops.full((1, 1), 1e-9)], [w])
    np.testing.assert_allclose(to_numpy(w), [[expected]], rtol=1e-6)


class Pointed(kr.L2):
    """Derived from a smooth penalty, and not smooth."""

    def _value(self, w):
        return self.l2 * ops.sum(ops.abs(w))


class Thresholds(kr.L2):
    def _prox(self, w, step):
        return kr.L1(self.l2).prox(w, step)


class SmoothStill(kr.L2):
    has_kink = False

    def _value(self, w):
        return super()._value(w) / 2


@pytest.mark.parametrize(
    ("cls", "expected"),
    [(kr.L2, False), (Pointed, True), (Thresholds, True), (SmoothStill, False)],
)
def test_no_kink_is_not_inherited_past_another_formula(cls, expected):
    assert cls(0.5).has_kink is expected
    assert not cls(0.0).has_kink
