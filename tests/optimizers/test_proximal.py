"""The wrapper in Keras's machinery: what it must not break, and what it refuses."""

import json
import re
import time
import zipfile

import keras
import numpy as np
import pytest
from helpers.backends import BACKEND, JIT_COMPILE, to_numpy
from helpers.event_files import read
from helpers.marks import first_is_fast, slow
from helpers.models import classifier, data
from keras import optimizers

import kerasreg as kr
from kerasreg.optimizers.steps import StepRule, step_rule
from kerasreg.regularizers.penalty_map import match_penalties

INNER = {
    "sgd": lambda: optimizers.SGD(0.05, momentum=0.9),
    "adam": lambda: optimizers.Adam(0.01),
    "rmsprop": lambda: optimizers.RMSprop(0.01, momentum=0.5),
}


def model_with(optimizer, jit_compile=False):
    return classifier(jit_compile, optimizer, penalties=False)


def fit(model, epochs=3, **kwargs):
    x, y = data()
    return model.fit(x, y, batch_size=8, epochs=epochs, shuffle=False, verbose=0, **kwargs)


def kernels(model):
    return [to_numpy(v.value) for v in model.weights if v.path.endswith("kernel")]


def kernel_zeros(model):
    return kr.sparsity_report(model, "kernel").total.zeros


def assert_same_weights(a, b):
    for x, y in zip(a.get_weights(), b.get_weights(), strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize(
    ("inner", "jit_compile"),
    [("adam", False), *(slow("adam", jit) for jit in JIT_COMPILE if jit)]
    + [slow(inner, jit) for inner in ("sgd", "rmsprop") for jit in JIT_COMPILE],
)
def test_zeros_are_exact_and_only_where_asked(inner, jit_compile):
    optimizer = kr.Proximal(INNER[inner](), {".*/(first|second)/kernel": kr.L1(0.05)})
    model = model_with(optimizer, jit_compile)
    fit(model, epochs=6)
    first, second, last = (np.mean(w == 0) for w in kernels(model))
    assert first > 0.05 and second > 0.05 and last == 0


@pytest.mark.parametrize("inner", first_is_fast(["sgd", "rmsprop", "adam"]))
def test_a_strength_of_zero_is_the_inner_optimizer(inner):
    bare, wrapped = INNER[inner](), kr.Proximal(INNER[inner](), kr.L1(0.0))
    models = []
    for optimizer in (bare, wrapped):
        keras.utils.set_random_seed(1)
        models.append(model_with(optimizer))
        fit(models[-1])
    assert_same_weights(*models)


@pytest.mark.slow
def test_the_strength_can_change_without_a_new_trace():
    optimizer = kr.Proximal(optimizers.SGD(0.05), kr.L1(0.05))
    model = model_with(optimizer, jit_compile=BACKEND != "torch")
    traces = []
    original = optimizer.apply

    def counting_apply(*args, **kwargs):
        traces.append(1)
        return original(*args, **kwargs)

    optimizer.apply = counting_apply

    class Schedule(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.model.optimizer.strength_scale = [0.0, 3.0, 0.0][epoch]

    zeros = []
    record = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: zeros.append(kernel_zeros(model))
    )
    fit(model, callbacks=[Schedule(), record])
    assert zeros[0] == 0 and zeros[1] > 10 and zeros[2] < zeros[1]
    if BACKEND != "torch":
        assert len(traces) <= 2  # one for the trace, one more where Keras builds symbolically
    assert float(to_numpy(optimizer.strength_scale.value)) == 0.0


@pytest.mark.slow
def test_a_schedule_that_ends_at_zero_keeps_the_zeros():
    x, _ = data()
    rate = optimizers.schedules.PolynomialDecay(0.02, 60, end_learning_rate=0.0)
    model = model_with(kr.Proximal(optimizers.Adam(rate), kr.L1(0.05)))
    zeros = []
    record = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: zeros.append(kernel_zeros(model))
    )
    fit(model, epochs=12, callbacks=[record])
    assert len(x) // 8 * 12 == 60 and zeros[-1] >= 0.9 * max(zeros) and zeros[-1] > 30


@pytest.mark.parametrize(
    "inner",
    [
        lambda **k: optimizers.SGD(0.05, momentum=0.5, **k),
        slow(lambda **k: optimizers.Adam(0.01, **k)),
    ],
)
def test_gradient_accumulation(inner):
    """Between real updates nothing moves, and the whole equals training on the larger batch."""
    x, y = data(32)
    models = []
    for steps, batch in ((None, 16), (4, 4)):
        keras.utils.set_random_seed(1)
        optimizer = kr.Proximal(inner(gradient_accumulation_steps=steps), kr.L1(0.1))
        model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)])
        model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        before = model.get_weights()[0]
        if steps:
            model.train_on_batch(x[:4], y[:4])
            np.testing.assert_array_equal(model.get_weights()[0], before)
            for i in range(4, 32, 4):
                model.train_on_batch(x[i : i + 4], y[i : i + 4])
        else:
            for i in range(0, 32, batch):
                model.train_on_batch(x[i : i + batch], y[i : i + batch])
        models.append(model)
    one, other = (model.get_weights()[0] for model in models)
    np.testing.assert_allclose(one, other, atol=1e-6)
    np.testing.assert_array_equal(one == 0, other == 0)


@pytest.mark.slow
@pytest.mark.parametrize("jit_compile", first_is_fast(JIT_COMPILE))
def test_loss_scaling_around_it(jit_compile):
    keras.config.set_dtype_policy("mixed_float16")
    model = model_with(kr.Proximal(optimizers.Adam(0.01), kr.L1(0.05)), jit_compile)
    assert isinstance(model.optimizer, optimizers.LossScaleOptimizer)
    fit(model, epochs=6)
    assert np.mean(kernels(model)[0] == 0) > 0.05
    weights = model.get_weights()
    x, y = data()
    model.train_on_batch(x * np.nan, y)  # not finite: the step is skipped, nothing shrinks
    for before, after in zip(weights[:2], model.get_weights()[:2], strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.slow
@pytest.mark.skipif(BACKEND == "torch", reason="Keras on torch runs single steps only")
def test_steps_per_execution():
    models = []
    for count in (1, 5):
        keras.utils.set_random_seed(1)
        optimizer = kr.Proximal(optimizers.Adam(0.01), kr.L1(0.05))
        models.append(classifier(False, optimizer, count, penalties=False))
        fit(models[-1])
    for a, b in zip(*(m.get_weights() for m in models), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("inner", first_is_fast(["rmsprop", "sgd", "adam"]))
def test_a_saved_run_continues_to_the_same_weights(inner, tmp_path):
    # Without dropout: Keras does not save how far a seed generator has come.
    layers = [keras.layers.Dense(8, "relu", name="first"), keras.layers.Dense(3, name="second")]
    model = keras.Sequential([keras.Input((6,)), *layers])
    penalty = {".*first/kernel": kr.L1(0.05), ".*second/kernel": kr.GroupLasso(0.02)}
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(kr.Proximal(INNER[inner](), penalty), loss)
    fit(model)
    model.optimizer.strength_scale = 0.5
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.optimizer.penalty == penalty
    assert float(to_numpy(loaded.optimizer.strength_scale.value)) == 0.5
    fit(model)
    fit(loaded)
    assert_same_weights(model, loaded)


def test_configuration_round_trips():
    for penalty in (kr.ElasticNet(1.0, 0.1, 0.2), {".*": kr.L1(0.1)}):
        optimizer = kr.Proximal(optimizers.Adam(0.01), penalty, name="mine")
        twin = optimizers.deserialize(optimizers.serialize(optimizer))
        assert twin.penalty == penalty and twin.name == "mine"
        assert twin.inner_optimizer.get_config() == optimizer.inner_optimizer.get_config()


@pytest.mark.slow
def test_learning_rate_and_iterations_are_the_inner_ones():
    optimizer = kr.Proximal(optimizers.SGD(0.05), kr.L1(0.05))
    optimizer.learning_rate = 0.25
    assert float(to_numpy(optimizer.inner_optimizer.learning_rate.value)) == 0.25
    fit(model_with(optimizer))
    assert int(to_numpy(optimizer.iterations.value)) == 15


def test_weights_without_a_gradient_stay_as_they_are():
    unused = keras.layers.Dense(3, name="unused")
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3, name="used")])
    unused.build((None, 6))
    variables = [*model.trainable_variables, *unused.trainable_variables]
    optimizer = kr.Proximal(optimizers.SGD(0.01), kr.L1(1e4))
    optimizer.build(variables)
    before = to_numpy(unused.kernel.value)
    grads = [keras.ops.ones(v.shape) for v in model.trainable_variables] + [None, None]
    with pytest.warns(UserWarning, match="Gradients do not exist"):
        optimizer.apply(grads, variables)
    np.testing.assert_array_equal(to_numpy(unused.kernel.value), before)
    assert np.all(to_numpy(model.layers[0].kernel.value) == 0)


@pytest.mark.slow
def test_the_log_and_the_report_show_its_penalties(tmp_path):
    optimizer = kr.Proximal(optimizers.SGD(0.01), {".*first/kernel": kr.L1(0.05)})
    model = model_with(optimizer)
    optimizer.strength_scale = 2.0
    logger = kr.RegularizationLogger(tmp_path, in_logs=("regularization_loss", "penalty"))
    history = fit(model, callbacks=[logger]).history
    points = read(tmp_path)
    expected = 2.0 * 0.05 * np.abs(kernels(model)[0]).sum()
    np.testing.assert_allclose(history["regularization_loss"][-1], expected, rtol=1e-6)
    np.testing.assert_allclose(
        points["regularization_loss/first/kernel"][-1][1], expected, rtol=1e-6
    )
    assert history["penalty"] == [0.0] * 3  # nothing of it is in the loss
    page = points["configuration"][0][1].decode()
    assert "| classifier/first/kernel | 6 × 16 | L1 | l1=0.05 | after the step |" in page
    assert (
        kr.sparsity_report(model, "first/kernel").rows[0].penalty == "L1(l1=0.05), after the step"
    )


@pytest.mark.parametrize("floatx", [pytest.param(False, id="layer"), slow(True, id="floatx")])
@pytest.mark.parametrize(
    "inner", first_is_fast(["adam", "sgd", "rmsprop", "adamax", "adagrad", "nadam"])
)
@pytest.mark.skipif(BACKEND == "jax", reason="JAX has no float64 unless it is switched on")
def test_float64(inner, floatx):
    others = {
        "adamax": lambda: optimizers.Adamax(0.02),
        "adagrad": lambda: optimizers.Adagrad(0.1),
        "nadam": lambda: optimizers.Nadam(0.02),
    }
    if floatx:
        keras.config.set_floatx("float64")
    layer = keras.layers.Dense(3, dtype="float64")
    model = keras.Sequential([keras.Input((6,), dtype="float64"), layer])
    penalty = kr.L1(1.0) if inner != "adam" else kr.TopK(0.9)
    model.compile(kr.Proximal({**INNER, **others}[inner](), penalty), "mse")
    x, _ = data(60 * 32)
    model.fit(x.astype("float64"), np.zeros((len(x), 3)), verbose=0)
    assert np.count_nonzero(kernels(model)[0] == 0) >= 12


@pytest.mark.slow
def test_a_layer_that_is_frozen_later_is_reported_and_logged(tmp_path):
    model = model_with(kr.Proximal(optimizers.SGD(0.05), {".*first/kernel": kr.L1(0.1)}))
    fit(model)
    model.get_layer("first").trainable = False
    row = kr.sparsity_report(model, "first/kernel").rows[0]
    assert row.penalty == ""
    if BACKEND != "jax":  # There Keras's own `fit` raises.
        fit(model, callbacks=[kr.RegularizationLogger(tmp_path)])


def test_rank_alone_makes_no_kernel():
    layers = keras.layers
    model = keras.Sequential(
        [keras.Input((2, 3)), layers.LayerNormalization(axis=[1, 2]), layers.PReLU()]
    )
    optimizer = kr.Proximal(optimizers.SGD(0.1), kr.L1(0.1))
    with pytest.raises(ValueError, match="(?s)argument `penalty`. Expected a weight to act on"):
        optimizer.build(model.trainable_variables)


def test_a_group_axis_that_a_weight_has_not():
    optimizer = kr.Proximal(optimizers.SGD(0.1), {".*": kr.GroupLasso(0.1, axis=-2)})
    with pytest.raises(ValueError, match="argument `axis` of GroupLasso on weight `.*bias`"):
        optimizer.build(model_with("sgd").trainable_variables)


@pytest.mark.parametrize(
    "optimizer", ["adam", {"class_name": "Adam", "config": {"learning_rate": 0.001}}]
)
def test_an_optimizer_as_compile_takes_it(optimizer):
    made = kr.Proximal(optimizer, kr.L1(0.1))
    assert isinstance(made.inner_optimizer, optimizers.Adam)
    assert float(to_numpy(made.learning_rate.value)) == pytest.approx(0.001)
    assert isinstance(kr.Proximal.from_config(made.get_config()).inner_optimizer, optimizers.Adam)


@pytest.mark.parametrize("bad", ["adm", {"class_name": "Adam", "config": {"rate": 1}}, {}, "ftrl2"])
def test_an_optimizer_that_compile_does_not_take(bad):
    with pytest.raises(ValueError, match="argument `inner_optimizer`.*Received: inner_optimizer="):
        kr.Proximal(bad, kr.L1(0.1))


@pytest.mark.parametrize("damage", ["inner_optimizer", "penalty", "both"])
@pytest.mark.parametrize("value", ["missing", None, 3, []])
def test_a_configuration_that_is_damaged(damage, value):
    config = kr.Proximal(optimizers.SGD(0.1), kr.L1(0.1)).get_config()
    for key in ["inner_optimizer", "penalty"] if damage == "both" else [damage]:
        if value == "missing":
            del config[key]
        else:
            config[key] = value
    with pytest.raises(ValueError, match="argument `config`. Expected what `get_config` of"):
        kr.Proximal.from_config(config)


@pytest.mark.parametrize("config", [None, [], {}, "adam", {"unknown": 1}], ids=repr)
def test_what_is_no_configuration(config):
    if config == {"unknown": 1}:
        config |= kr.Proximal(optimizers.SGD(0.1), kr.L1(0.1)).get_config()
    with pytest.raises(ValueError, match="argument `config`. Expected what `get_config` of"):
        kr.Proximal.from_config(config)


def test_averages_of_the_weights_are_not_switched_on_once_it_is_built():
    optimizer = kr.Proximal(optimizers.SGD(0.1), kr.L1(0.1))
    optimizer.use_ema = True
    optimizer.use_ema = False
    optimizer.build([keras.Variable(np.ones((2, 2)), name="kernel")])
    with pytest.raises(ValueError, match="argument `use_ema`. Expected what it was when"):
        optimizer.use_ema = True


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("a{e<=1}/kernel", "a{e<=1}/kernel"),
        ("a{e<=1}/kernel", "a/kernel"),
        ("a{2,3}b{,2}c{1}", "aabc"),
        (r"\{x{/[]{[]+", "{x{/]{["),
        ("[^]x]+", "ab"),
    ],
)
def test_patterns_mean_what_they_mean_in_re(pattern, path):
    if re.fullmatch(pattern, path):
        assert match_penalties({pattern: kr.L1()}, [Named(path)]) == [kr.L1()]
    else:
        with pytest.raises(ValueError, match="Expected patterns that match"):
            match_penalties({pattern: kr.L1()}, [Named(path)])


class Named:
    def __init__(self, path):
        self.path = path


BAD_SCALES = [-1.0, np.nan, np.inf, 1e39, 10**400, True, None, "0.5", b"1", [0.5], np.ones(1), 1j]


@pytest.mark.parametrize("bad", BAD_SCALES, ids=repr)
@pytest.mark.parametrize("as_tensor", [False, True])
def test_bad_strength_scales(bad, as_tensor):
    if as_tensor:
        if not isinstance(bad, float):
            pytest.skip("no tensor")
        with np.errstate(over="ignore"):
            bad = keras.ops.convert_to_tensor(np.float32(bad))
    optimizer = kr.Proximal(optimizers.SGD(0.1), kr.L1(0.1))
    with pytest.raises(ValueError, match="argument `strength_scale`. Expected a finite, non-neg"):
        optimizer.strength_scale = bad
    assert float(to_numpy(optimizer.strength_scale.value)) == 1


@pytest.mark.parametrize("good", [0, 2, np.float32(0.5), np.array(0.5), "tensor", "variable"])
def test_good_strength_scales(good):
    if isinstance(good, str):
        good = keras.ops.ones(()) if good == "tensor" else keras.Variable(1.0)
    optimizer = kr.Proximal(optimizers.SGD(0.1), kr.L1(0.1))
    optimizer.strength_scale = good
    assert float(to_numpy(optimizer.strength_scale.value)) == float(to_numpy(good))


class ScaledInside(keras.Model):
    """Sets the factor within the step, where nobody can look at it."""

    scale = 1.0

    def train_step(self, *args):
        self.optimizer.strength_scale = keras.ops.multiply(self.scale, keras.ops.ones(()))
        return super().train_step(*args)


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(
    ("scale", "factor"), [(-1.0, 0), (np.nan, 0), (np.inf, np.inf), (0.5, 0.5)]
)
def test_what_a_compiled_step_sets_is_bounded(scale, factor):
    if BACKEND != "tensorflow":
        pytest.skip("a step of JAX has no side effects, one of PyTorch is not compiled")
    inputs = keras.Input((3,))
    model = ScaledInside(inputs, keras.layers.Dense(2, kernel_initializer="ones")(inputs))
    model.scale = scale
    model.compile(kr.Proximal(optimizers.SGD(0.5), kr.L1(1.0)), "mse", jit_compile=False)
    model.train_on_batch(np.zeros((2, 3)), np.zeros((2, 2)))
    np.testing.assert_allclose(model.get_weights()[0], max(1 - 0.5 * factor, 0))


@pytest.mark.parametrize(("scale", "left"), [(-1.0, 1), (np.nan, 1), (np.inf, 0), (0.5, 0.75)])
def test_what_is_assigned_unchecked_is_bounded(scale, left):
    weight = keras.Variable(np.ones((2, 2)), name="kernel")
    optimizer = kr.Proximal(optimizers.SGD(0.5), kr.L1(1.0))
    optimizer.strength_scale.assign(scale)
    optimizer.apply([keras.ops.full((2, 2), 1e-20)], [weight])
    np.testing.assert_allclose(to_numpy(weight.value), left)


@pytest.mark.slow
def test_weight_decay_is_the_inner_one():
    weights = []
    for excluded in (True, False):
        keras.utils.set_random_seed(0)
        optimizer = kr.Proximal(optimizers.AdamW(0.01, weight_decay=10.0), kr.L1(0.0))
        if excluded:
            optimizer.exclude_from_weight_decay(var_names=["kernel"])
        model = model_with(optimizer)
        fit(model)
        weights.append(sum(np.abs(w).sum() for w in kernels(model)))
    assert weights[0] > 1.1 * weights[1]


class ValueOnly(kr.Penalty):
    def _value(self, w):
        return keras.ops.sum(w)


class OwnUpdate(optimizers.Adam):
    def update_step(self, gradient, variable, learning_rate):
        super().update_step(gradient, variable, learning_rate)


class Halving(optimizers.SGD):
    def update_step(self, gradient, variable, learning_rate):
        super().update_step(gradient, variable, learning_rate / 2)


@step_rule.register(Halving)
class HalvingRule(StepRule):
    def step_size(self, rate, correction, moments):
        return rate / 2


class OwnUpdateAgain(Halving):
    def update_step(self, gradient, variable, learning_rate):
        super().update_step(gradient, variable, learning_rate / 2)


def test_an_optimizer_of_ones_own_joins_with_a_rule():
    variable = keras.Variable(np.array([[1.0, 0.02]], "float32"))
    optimizer = kr.Proximal(Halving(0.1), kr.L1(1.0))
    optimizer.apply([keras.ops.convert_to_tensor([[2.0, 0.0]])], [variable])
    np.testing.assert_allclose(to_numpy(variable.value), [[1.0 - 0.1 - 0.05, 0.0]], rtol=1e-6)


class Mine(optimizers.Optimizer):
    def __init__(self):
        super().__init__(learning_rate=0.1)


def built():
    optimizer = optimizers.Adam()
    optimizer.build([keras.Variable([1.0])])
    return optimizer


@pytest.mark.parametrize(
    ("inner", "message"),
    [
        (lambda: 3, "Expected a Keras optimizer"),
        (lambda: optimizers.Ftrl(l1_regularization_strength=0.1), "threshold a second time"),
        (lambda: optimizers.ScheduleFreeAdamW(), "ScheduleFreeAdamW evaluates an average"),
        (lambda: optimizers.Adafactor(clipnorm=1.0), "leave out clipnorm"),
        (lambda: optimizers.Adafactor(use_ema=True), "leave out use_ema"),
        (lambda: optimizers.Lion(use_ema=True), "an average of weights would get zeros"),
        (lambda: Mine(), "Mine has no known step size; take one of .*Adam"),
        (lambda: OwnUpdate(), "OwnUpdate has no known step size"),
        (lambda: OwnUpdateAgain(), "OwnUpdateAgain has no known step size"),
        (
            lambda: optimizers.LossScaleOptimizer(optimizers.Adam()),
            "put `LossScaleOptimizer` around `Proximal`",
        ),
        (lambda: kr.Proximal(optimizers.Adam(), kr.L1(0.1)), "one `Proximal` a dict"),
        (built, "not yet built"),
    ],
)
def test_bad_inner_optimizers(inner, message):
    with pytest.raises(ValueError, match=f"(?s)argument `inner_optimizer`.*{message}.*Received"):
        kr.Proximal(inner(), kr.L1(0.1))


@pytest.mark.parametrize(
    "penalty",
    [
        None,
        "l1",
        {},
        {1: kr.L1()},
        {"(": kr.L1()},
        keras.regularizers.OrthogonalRegularizer(),
        {".*": keras.regularizers.OrthogonalRegularizer()},
        ValueOnly(),
        {".*": ValueOnly()},
    ],
)
def test_bad_penalties(penalty):
    with pytest.raises(ValueError, match="(?s)argument `penalty`.*Received"):
        kr.Proximal(optimizers.Adam(), penalty)


ENDLESS = ["((a|aa)+)+", "(a+)+b", "(.*a){40}", "(a|a|b)*c.*d", "(?:(?:a*)*)*b", "(a|b|ab)*c"]
ENDLESS += ["a{1000000000}", "((a{,1000}){1000}){1000,}"]


@pytest.mark.parametrize("pattern", ["((a|aa)+)+", *map(slow, ENDLESS[1:])])
def test_a_pattern_without_end_does_not_hang_a_file_that_is_loaded(pattern, tmp_path):
    """In a file of somebody who means ill; nobody could have written it with `Proximal`."""
    name = 60 * "a" + "!"
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, name=name)])
    model.compile(kr.Proximal(optimizers.SGD(0.1), {".*kernel": kr.L1(0.1)}), "mse")
    model.save(tmp_path / "good.keras")
    with (
        zipfile.ZipFile(tmp_path / "good.keras") as good,
        zipfile.ZipFile(tmp_path / "ill.keras", "w") as ill,
    ):
        for entry in good.namelist():
            content = good.read(entry)
            if entry == "config.json":
                assert content.count(b'".*kernel"') == 1
                content = content.replace(b'".*kernel"', json.dumps(pattern).encode())
            ill.writestr(entry, content)
    start = time.monotonic()
    with pytest.raises(ValueError, match="argument `penalty`. Expected patterns that"):
        keras.saving.load_model(tmp_path / "ill.keras")
    assert time.monotonic() - start < 30


@pytest.mark.parametrize(
    ("penalty", "message"),
    [
        ({"first/kernel": kr.L1()}, "(?s)patterns that match.*classifier/first/kernel.*`.\\*`"),
        ({".*kernel": kr.L1(), ".*/first/.*": kr.L2()}, "one pattern for the weight"),
    ],
)
def test_patterns_that_do_not_fit(penalty, message):
    model = model_with(kr.Proximal(optimizers.Adam(), penalty))
    with pytest.raises(ValueError, match=message):
        fit(model)


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kernel_constraint": "max_norm"}, "constraint on weight `.*small/kernel`"),
        ({"kernel_constraint": "unit_norm"}, "Expected none but NonNeg"),
        ({"kernel_regularizer": kr.L1(0.1)}, "regularizer on weight `.*small/kernel`"),
        ({"kernel_regularizer": keras.regularizers.L1L2(0.1, 0)}, "regularizer on weight"),
        ({"kernel_regularizer": kr.GroupLasso(0.1)}, "regularizer on weight"),
    ],
)
def test_a_penalty_must_not_act_twice(arguments, message):
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3, name="small", **arguments)])
    model.compile(kr.Proximal(optimizers.Adam(), kr.L1(0.1)), "mse")
    with pytest.raises(ValueError, match=message):
        model.fit(np.ones((4, 6)), np.ones((4, 3)), verbose=0)


@pytest.mark.slow
def test_a_smooth_penalty_may_be_in_the_loss():
    layer = keras.layers.Dense(3, kernel_regularizer=kr.L2(0.1))
    model = keras.Sequential([keras.Input((6,)), layer])
    # Stronger than any gradient of this loss: the bias fits the targets, the kernel is not needed.
    model.compile(kr.Proximal(optimizers.SGD(0.1), keras.regularizers.L1(2.0)), "mse")
    model.fit(np.ones((4, 6)), np.ones((4, 3)), epochs=50, verbose=0)
    assert np.all(to_numpy(layer.kernel.value) == 0) and np.all(to_numpy(layer.bias.value) > 0.5)
