"""Optimizers that are not simply `model.optimizer`: the log, the report and the schedulers."""

import keras
import numpy as np
import pytest
from helpers.backends import BACKEND, to_numpy
from helpers.event_files import read
from keras import ops

import kerasreg as kr

Adam, SGD = keras.optimizers.Adam, keras.optimizers.SGD
X = np.random.default_rng(0).normal(size=(32, 6)).astype("float32")
Y = X[:, :1] - X[:, 1:2]

needs_multi_optimizer = pytest.mark.skipif(
    not hasattr(keras.optimizers, "MultiOptimizer"), reason="MultiOptimizer came with Keras 3.15"
)


def network(name="net", units=4):
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(units, "relu", name="a"), keras.layers.Dense(1, name="b")]
    return keras.Sequential([keras.Input((6,)), *layers], name=name)


def by_map(first, second):
    optimizers = keras.optimizers.OptimizerMap(first, {".*b/(kernel|bias)": second})
    return keras.optimizers.MultiOptimizer(optimizers)


def by_function(first, second):
    return keras.optimizers.MultiOptimizer(lambda v: second if "b/" in v.path[-9:] else first)


def l1_value(variable, strength):
    return strength * np.abs(to_numpy(variable)).sum()


def penalties(report):
    """Those of a report by layer and weight; the paths of a loaded model are shorter."""
    return {"/".join(row.path.split("/")[-2:]): row.penalty for row in report.rows if row.penalty}


@needs_multi_optimizer
class TestMultiOptimizer:
    @pytest.mark.parametrize("multi", [by_map, by_function])
    @pytest.mark.parametrize("inside", [0, 1])
    def test_one_proximal(self, multi, inside, tmp_path):
        optimizers = [Adam(1e-2), SGD(1e-2)]
        proximal = optimizers[inside] = kr.Proximal(optimizers[inside], kr.L1(0.01))
        model = network()
        model.compile(multi(*optimizers), "mse")
        expected = {f"{'ab'[inside]}/kernel": "L1(l1=0.01), after the step"}
        assert penalties(kr.sparsity_report(model)) == expected
        callbacks = [
            kr.StrengthScheduler(lambda epoch: 1.0 + epoch),
            kr.RegularizationLogger(tmp_path, verbose=0),
        ]
        model.fit(X, Y, epochs=2, verbose=0, callbacks=callbacks)
        assert penalties(kr.sparsity_report(model)) == expected
        assert to_numpy(proximal.strength_scale) == 2
        log = read(tmp_path)
        kernel = model.layers[inside].kernel
        assert log["all/regularization_loss"][-1][1] == pytest.approx(l1_value(kernel, 0.02), 1e-5)
        assert [value for _, value in log["all/strength_scale"]] == [1, 2]
        rates = [tag for tag in log if "learning_rate" in tag]
        assert len(rates) == 2 and "all/learning_rate" not in rates
        assert all(value == pytest.approx(0.01) for tag in rates for _, value in log[tag])

    def test_each_proximal_has_a_strength_of_its_own(self, tmp_path):
        first, second = kr.Proximal(SGD(1e-2), kr.L1(0.01)), kr.Proximal(SGD(1e-2), kr.L2(0.02))
        second.strength_scale = 3.0
        model = network()
        model.compile(by_map(first, second), "mse")
        model.fit(X, Y, verbose=0, callbacks=[kr.RegularizationLogger(tmp_path, verbose=0)])
        log = read(tmp_path)
        a, b = (to_numpy(layer.kernel) for layer in model.layers)
        values = [0.01 * np.abs(a).sum(), 0.06 * (b**2).sum()]
        assert log["regularization_loss/a/kernel"][-1][1] == pytest.approx(values[0], rel=1e-5)
        assert log["regularization_loss/b/kernel"][-1][1] == pytest.approx(values[1], rel=1e-5)
        assert log["all/regularization_loss"][-1][1] == pytest.approx(sum(values), rel=1e-5)
        assert "all/strength_scale" not in log
        strengths = [log[f"strength/{name}/kernel"][-1][1] for name in "ab"]
        assert strengths == pytest.approx([0.01, 0.06])

    def test_saved_model(self, tmp_path):
        model = network()
        model.compile(by_map(kr.Proximal(Adam(1e-2), kr.L1(0.01)), SGD(1e-2)), "mse")
        model.fit(X, Y, verbose=0)
        model.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        assert penalties(kr.sparsity_report(loaded)) == penalties(kr.sparsity_report(model))
        for each in (model, loaded):
            each.fit(X, Y, epochs=2, shuffle=False, verbose=0)
        for one, other in zip(model.weights, loaded.weights, strict=True):
            np.testing.assert_array_equal(to_numpy(one), to_numpy(other))

    @pytest.mark.slow
    def test_a_target_sparsity_is_reached(self):
        model = network(units=30)
        model.compile(by_function(kr.Proximal(Adam(3e-3), kr.L1(0.01)), SGD(1e-2)), "mse")
        schedule = kr.StrengthScheduler(target_sparsity=0.5)
        model.fit(X, Y, epochs=150, batch_size=16, verbose=0, callbacks=[schedule])
        zeros = np.mean(to_numpy(model.layers[0].kernel) == 0)
        assert abs(zeros - 0.5) < 0.02

    @pytest.mark.parametrize("multi", [by_map, by_function])
    def test_inside_of_loss_scaling(self, multi):
        model = network()
        optimizer = multi(kr.Proximal(Adam(), kr.L1(0.01)), SGD())
        model.compile(keras.optimizers.LossScaleOptimizer(optimizer), "mse")
        scheduler = kr.StrengthScheduler(lambda epoch: 3.0)
        model.fit(X, Y, verbose=0, callbacks=[scheduler])
        (scale,) = (o.strength_scale for o in optimizer.optimizers if isinstance(o, kr.Proximal))
        assert to_numpy(scale.value) == 3

    def test_a_path_refuses_it(self):
        model = network()
        model.compile(by_map(kr.Proximal(Adam(), kr.L1(0.01)), SGD()), "mse")
        with pytest.raises(ValueError, match="one optimizer for all of its weights"):
            kr.regularization_path(model, kr.L1(), X, Y)


class Adversaries(keras.Model):
    """Two networks, each with an optimizer of its own; only what an attribute holds is known."""

    def __init__(self, optimizers, container):
        super().__init__()
        self.one, self.other = network("one"), network("other", units=3)
        self.optimizers = {"list": list, "dict": lambda o: dict(zip("xy", o, strict=True))}[
            container
        ](optimizers)

    def call(self, x):
        return self.one(x) - self.other(x)

    def train_step(self, data):
        x, y = data
        held = self.optimizers
        each = list(held.values()) if isinstance(held, dict) else held
        for optimizer, part in zip(each, (self.one, self.other), strict=True):
            variables = part.trainable_variables
            optimizer.apply_gradients(
                (g, v) for g, v in zip(gradients(variables, part, x, y), variables, strict=True)
            )
        return {"loss": ops.mean(ops.square(self(x) - y))}


def gradients(variables, model, x, y):
    if BACKEND == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            loss = ops.mean(ops.square(model(x) - y))
        return tape.gradient(loss, variables)
    if BACKEND == "torch":
        loss = ops.mean(ops.square(model(x) - y))
        import torch

        return torch.autograd.grad(loss, [v.value for v in variables])
    import jax

    def loss_of(values):
        return ops.mean(ops.square(model.stateless_call(values, [], x)[0] - y))

    return jax.grad(loss_of)([v.value for v in variables])


@pytest.mark.fast_cases(1)
@pytest.mark.skipif(BACKEND == "jax", reason="a `train_step` of one's own has no state on JAX")
@pytest.mark.parametrize("container", ["list", "dict"])
def test_two_optimizers_in_a_train_step(container, tmp_path):
    optimizers = [kr.Proximal(Adam(1e-2), kr.L1(0.01)), kr.Proximal(SGD(1e-3), kr.L2(0.02))]
    model = Adversaries(optimizers, container)
    model.build((None, 6))
    model.compile(run_eagerly=True)  # with an optimizer that nothing uses
    assert penalties(kr.sparsity_report(model)) == {}  # as none knows its weights yet
    callbacks = [
        kr.StrengthScheduler(lambda epoch: 2.0),
        kr.RegularizationLogger(tmp_path, verbose=0),
    ]
    model.fit(X, Y, epochs=2, batch_size=16, verbose=0, callbacks=callbacks)
    rows = kr.sparsity_report(model).rows
    assert {tuple(row.path.split("/")[-3:]): row.penalty for row in rows if row.penalty} == {
        (part, layer, "kernel"): f"{penalty}, after the step"
        for part, penalty in [("one", "L1(l1=0.01)"), ("other", "L2(l2=0.02)")]
        for layer in "ab"
    }
    log = read(tmp_path)
    expected = 0.02 * sum(np.abs(to_numpy(layer.kernel)).sum() for layer in model.one.layers)
    expected += 0.04 * sum((to_numpy(layer.kernel) ** 2).sum() for layer in model.other.layers)
    assert log["all/regularization_loss"][-1][1] == pytest.approx(expected, rel=1e-5)
    assert log["all/regularization_loss"][0][1] > 0  # where the first batch has built them
    rates = {tag: points[-1][1] for tag, points in log.items() if "learning_rate" in tag}
    assert list(rates.values()) == pytest.approx([0.01, 0.001]) and len(rates) == 2


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("before", [False, True], ids=["built", "logged before it is built"])
@pytest.mark.parametrize("many", [False, True])
def test_a_loop_of_ones_own(before, many, tmp_path):
    one = network("one")
    model = keras.Sequential([keras.Input((6,)), one])
    optimizer = kr.Proximal(SGD(1e-2), kr.L1(0.01))
    given = [optimizer, Adam()] if many else optimizer
    logger = kr.RegularizationLogger(tmp_path, verbose=0)
    logger.set_model(model, given)
    scheduler = kr.StrengthScheduler(lambda epoch: 0.5)
    scheduler.set_model(model, optimizer=given)
    if before:
        logger.log(0)
    variables = model.trainable_variables
    optimizer.build(variables)
    scheduler.on_train_begin()
    scheduler.on_epoch_begin(0)
    for step in (1, 2):
        optimizer.apply([ops.zeros_like(v.value) for v in variables], variables)
        totals = logger.log(step)
    logger.close()
    expected = 0.005 * sum(np.abs(to_numpy(layer.kernel)).sum() for layer in one.layers)
    assert totals["regularization_loss"] == pytest.approx(expected, rel=1e-5)
    report = kr.sparsity_report(model, optimizer=given)
    assert [row.penalty for row in report.rows] == ["L1(l1=0.01), after the step", ""] * 2
    assert not many or not penalties(kr.sparsity_report(network("other"), optimizer=given))
    assert not any(row.penalty for row in kr.sparsity_report(model).rows)
    assert "L1" in str(read(tmp_path)["configuration"][-1][1])


@pytest.mark.parametrize("given", [1, "adam", [1], {"x": None}, []])
def test_what_is_no_optimizer_is_refused(given, tmp_path):
    model = network()
    with pytest.raises(ValueError, match="argument `optimizer`. Expected a Keras optimizer"):
        kr.sparsity_report(model, optimizer=given)
    with pytest.raises(ValueError, match="argument `optimizer`. Expected a Keras optimizer"):
        kr.RegularizationLogger(tmp_path, verbose=0).set_model(model, given)
