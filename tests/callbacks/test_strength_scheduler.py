"""The strength that training uses is the schedule's, and nothing is compiled anew for it."""

import re

import keras
import numpy as np
import pytest
from helpers.backends import BACKEND, JIT_COMPILE, to_numpy
from helpers.event_files import read
from helpers.marks import first_is_fast, slow
from helpers.processes import in_process

import kerasreg as kr
from kerasreg._keras_internals import forget_compiled_steps

ROWS, FEATURES, BATCH = 32, 5, 8
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(ROWS, FEATURES)).astype("float32")
Y = RANDOM.normal(size=(ROWS, 1)).astype("float32")
FACTORS = [0.0, 2.0, 0.5, 0.0, 1.0]
LOSS_PENALTIES = [
    kr.L1(0.1),
    kr.ElasticNet(1.0, 0.1, 0.2),
    kr.GroupLasso(0.1),
    kr.MCP(0.1),
    keras.regularizers.L2(0.1),
    keras.regularizers.L1L2(0.1, 0.2),
]


def model_with(penalty=None, proximal=None, inner=None, **options):
    """A linear model with a penalty in the loss, or by `Proximal`; always the same weights."""
    keras.utils.set_random_seed(1)
    dense = keras.layers.Dense(1, kernel_regularizer=penalty, name="dense")
    model = keras.Sequential([keras.Input((FEATURES,)), dense])
    inner = inner or keras.optimizers.SGD(0.05)
    model.compile(inner if proximal is None else kr.Proximal(inner, proximal), "mse", **options)
    return model


def fit(model, callbacks=(), epochs=5, **options):
    options = {"batch_size": BATCH, "shuffle": False, "verbose": 0, **options}
    return model.fit(X, Y, epochs=epochs, callbacks=list(callbacks), **options).history


def kernel(model):
    return to_numpy(model.layers[-1].kernel)


def scaled(factors=FACTORS, **options):
    return kr.StrengthScheduler(lambda when: factors[when], **options)


class Traces:
    """Counts how often Python runs a model: once a trace, where it is compiled."""

    def __init__(self, model):
        self.count, call = 0, model.layers[-1].call

        def counting(*args, **kwargs):
            self.count += 1
            return call(*args, **kwargs)

        model.layers[-1].call = counting


class Scaled(keras.regularizers.Regularizer):
    def __init__(self, penalty, factor):
        self.penalty, self.factor = penalty, factor

    def __call__(self, weights):
        return self.factor * self.penalty(weights)


def train_by_hand(model, penalty):
    """What the scheduler has to equal: everything compiled anew for each factor."""
    history = []
    for epoch, factor in enumerate(FACTORS):
        model.layers[-1].kernel.regularizer = Scaled(penalty, factor)
        forget_compiled_steps(model)
        history += fit(model, epochs=epoch + 1, initial_epoch=epoch)["loss"]
    return history


@pytest.mark.parametrize(
    ("penalty", "jit_compile"),
    [(kr.L1(0.1), False), slow(kr.MCP(0.1), False)]
    + [slow(penalty, JIT_COMPILE[-1]) for penalty in LOSS_PENALTIES],
    ids=lambda value: value if isinstance(value, bool) else type(value).__name__,
)
def test_in_the_loss_it_equals_training_compiled_anew(penalty, jit_compile):
    model, twin = model_with(penalty, jit_compile=jit_compile), model_with(penalty)
    traces = Traces(model)
    losses = fit(model, [scaled()])["loss"]
    expected = train_by_hand(twin, penalty)
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    np.testing.assert_allclose(kernel(model), kernel(twin), rtol=1e-4, atol=1e-6)
    count = traces.count
    fit(model, [scaled([3.0, 0.0, 4.0])], epochs=3)
    if BACKEND == "tensorflow" or (BACKEND == "jax" and jit_compile):
        assert count <= 2 and traces.count == count


@pytest.mark.parametrize("jit_compile", first_is_fast(JIT_COMPILE))
def test_by_proximal_it_equals_a_scale_set_by_hand(jit_compile):
    model, twin = (model_with(None, kr.L1(0.3), jit_compile=jit_compile) for _ in range(2))
    traces = Traces(model)
    losses = fit(model, [scaled()])["loss"]
    for epoch, factor in enumerate(FACTORS):
        twin.optimizer.strength_scale = factor
        np.testing.assert_array_equal(
            fit(twin, epochs=epoch + 1, initial_epoch=epoch)["loss"], losses[epoch]
        )
    np.testing.assert_array_equal(kernel(model), kernel(twin))
    assert to_numpy(model.optimizer.strength_scale) == FACTORS[-1]
    if BACKEND == "tensorflow" or (BACKEND == "jax" and jit_compile):
        assert traces.count <= 2


@pytest.mark.slow
def test_each_training_begins_with_the_schedule():
    model, scheduler = model_with(None, kr.L1(0.3)), scaled([0.5])
    for _ in range(2):
        model.optimizer.strength_scale = 3.0
        fit(model, [scheduler], epochs=1)
        assert to_numpy(model.optimizer.strength_scale) == 0.5


@pytest.mark.slow
def test_a_model_that_was_compiled_and_evaluated_before():
    model = model_with(kr.L1(0.5))
    fit(model, epochs=1)
    evaluated = model.evaluate(X, Y, verbose=0)
    names, size = model.metrics_names, len(model.weights)
    fit(model, [scaled([0.0])], epochs=1)
    data_loss = np.mean((to_numpy(model(X)) - Y) ** 2)
    after = model.evaluate(X, Y, verbose=0)
    assert isinstance(after, type(evaluated)) and model.metrics_names == names
    np.testing.assert_allclose(after, data_loss, rtol=1e-5)
    fit(model, [scaled([2.0])], epochs=1)
    w = kernel(model)
    data_loss = np.mean((to_numpy(model(X)) - Y) ** 2)
    np.testing.assert_allclose(
        model.evaluate(X, Y, verbose=0), data_loss + np.abs(w).sum(), rtol=1e-5
    )
    assert len(model.weights) == size


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("place", ["loss", "proximal"])
def test_the_log_shows_the_factor_of_each_step(place, tmp_path):
    schedule = keras.optimizers.schedules.PolynomialDecay(0.0, 8, end_learning_rate=0.5)
    penalty = kr.MCP(0.4) if place == "loss" else None  # which is not computed from norms
    model = model_with(penalty, kr.L1(0.4) if place == "proximal" else None)
    logger = kr.RegularizationLogger(tmp_path, update_freq=1, verbose=0)
    fit(model, [kr.StrengthScheduler(schedule), logger], epochs=3)
    points = read(tmp_path)
    expected = [min(step / 16, 0.5) for step in range(12)]
    for tag, strength in (("all/strength_scale", 1.0), ("strength/dense/kernel", 0.4)):
        np.testing.assert_allclose(
            [value for _, value in points[tag]], strength * np.array(expected), atol=1e-6
        )
    (_, first), *_, (_, last) = points["all/regularization_loss"]
    value = to_numpy((penalty or kr.L1(0.4))(model.layers[-1].kernel.value * 1))
    assert first == 0 and np.isclose(last, 0.5 * value, rtol=1e-5)


def test_the_optimality_residual_knows_the_factor(tmp_path):
    model = model_with(kr.L1(0.4), inner=keras.optimizers.SGD(0.0))
    logger = kr.RegularizationLogger(tmp_path, optimality_data=(X, Y), verbose=0)
    fit(model, [scaled([0.0, 0.5]), logger], epochs=2)
    (_, without), (_, half) = read(tmp_path)["optimality_residual/dense/kernel"]
    residual = X.T @ (X @ kernel(model) - Y) * 2 / ROWS
    np.testing.assert_allclose(without, np.linalg.norm(residual), rtol=1e-4)
    np.testing.assert_allclose(
        half, np.linalg.norm(residual + 0.2 * np.sign(kernel(model))), rtol=1e-4
    )


def test_two_schedulers_and_a_shared_penalty():
    shared = kr.L2(0.5)
    layers = [keras.layers.Dense(2, kernel_regularizer=shared, name=name) for name in "ab"]
    model = keras.Sequential([keras.Input((FEATURES,)), *layers])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    fit(model, [scaled([3.0], weights="a/kernel"), scaled([0.0], weights="b/kernel")], epochs=1)
    a, b = (to_numpy(layer.kernel) for layer in layers)
    np.testing.assert_allclose(sum(map(to_numpy, model.losses)), 1.5 * (a**2).sum(), rtol=1e-5)
    assert layers[0].kernel_regularizer is shared and to_numpy(shared(b)) > 0


@pytest.mark.slow
def test_of_two_schedulers_of_the_same_penalties_the_later_one_wins_in_each_epoch():
    model = model_with(proximal=kr.L1(0.1))
    fit(model, [scaled([0.5, 0.7]), scaled([2.0, 2.0])], epochs=2)
    assert float(to_numpy(model.optimizer.strength_scale.value)) == 2


@pytest.mark.slow
def test_two_models_that_share_a_layer():
    first = model_with(kr.L1(0.5), inner=keras.optimizers.SGD(0.0))
    second = keras.Sequential([keras.Input((FEATURES,)), first.layers[-1]])
    second.compile(keras.optimizers.SGD(0.0), "mse")
    for model in (first, second):
        fit(model, epochs=1)
    data_loss = np.mean((to_numpy(first(X)) - Y) ** 2)
    for model, factor in ((first, 0.0), (second, 2.0), (first, 4.0)):
        expected = data_loss + factor * 0.5 * np.abs(kernel(model)).sum()
        np.testing.assert_allclose(fit(model, [scaled([factor])], 1)["loss"], expected, rtol=1e-5)


@pytest.mark.slow
def test_a_layer_of_another_model_brings_the_factor_along():
    layers = [keras.layers.Dense(1, kernel_regularizer=kr.L1(0.5), name=name) for name in "ab"]
    first = keras.Sequential([keras.Input((FEATURES,)), *layers])
    second = keras.Sequential([keras.Input((FEATURES,)), layers[0]])
    for model in (first, second):
        model.compile(keras.optimizers.SGD(0.0), "mse")
    fit(first, [scaled([1.0])], epochs=1)
    data_loss = np.mean((to_numpy(second(X)) - Y) ** 2)
    for factor in (2.0, 0.0):
        fit(first, [scaled([factor])], epochs=1)
        expected = data_loss + factor * 0.5 * np.abs(kernel(second)).sum()
        np.testing.assert_allclose(fit(second, epochs=1)["loss"], expected, rtol=1e-5)


@pytest.mark.slow
def test_where_chooses_the_place():
    model = model_with(kr.L2(1.0), kr.L1(0.1), inner=keras.optimizers.SGD(0.0))
    square = (kernel(model) ** 2).sum()
    fit(model, [scaled([0.5], where="loss"), scaled([0.25], where="proximal")], epochs=1)
    assert to_numpy(model.optimizer.strength_scale) == 0.25
    np.testing.assert_allclose(to_numpy(model.losses[0]), 0.5 * square, rtol=1e-5)


@pytest.mark.slow
def test_the_later_of_two_schedulers_on_the_same_penalties_wins():
    model = model_with(kr.L2(0.5), kr.L1(0.1))
    fit(model, [scaled([2.0] * 3), scaled([4.0] * 3)], epochs=3)
    assert to_numpy(model.optimizer.strength_scale) == 4
    np.testing.assert_allclose(
        to_numpy(model.losses[0]), 4 * 0.5 * (kernel(model) ** 2).sum(), rtol=1e-5
    )


@pytest.mark.slow
def test_chosen_weights_leave_proximal_alone():
    model = model_with(kr.L2(1.0), kr.L1(0.1), inner=keras.optimizers.SGD(0.0))
    fit(model, [scaled([0.5], weights="kernel")], epochs=1)
    assert to_numpy(model.optimizer.strength_scale) == 1
    np.testing.assert_allclose(to_numpy(model.losses[0]), 0.5 * (kernel(model) ** 2).sum(), 1e-5)


class Owner(keras.Model):
    """Has a weight itself, beside layers."""

    def __init__(self, layers):
        super().__init__()
        self.below = layers

    def build(self, shape):
        self.own = self.add_weight((shape[-1],), "ones", regularizer=kr.L1(0.1), name="own")
        for layer in self.below:
            layer.build(shape)

    def call(self, x):
        for layer in self.below:
            x = layer(x)
        return x * self.own


def owner():
    keras.utils.set_random_seed(1)
    layers = [
        keras.layers.Dense(FEATURES, kernel_regularizer=kr.L1(0.1), name=name) for name in "abc"
    ]
    model = Owner(layers)
    model.build((None, FEATURES))
    model.compile(keras.optimizers.SGD(0.0), "mse")
    return model


CHOICES = [[None], ["kernel"], ["a/kernel", "own|b/kernel"], [None], ["own", "a|b", "c/k"]]


@pytest.mark.parametrize("choices", [slow(CHOICES[:1]), CHOICES[1:3], slow(CHOICES)], ids=len)
def test_any_choice_of_weights_has_its_factor_on_one_variable_of_its_own(choices):
    model = owner()
    size, state = len(model.variables), [v.path for v in model.variables]
    targets = np.zeros((ROWS, FEATURES))
    weights = [model.own, *(layer.kernel for layer in model.below)]
    for patterns in choices * 2:
        expected = np.array([scale_of(w) for w in weights])
        for factor, pattern in enumerate(patterns, 2):
            chosen = [pattern is None or bool(re.search(pattern, w.path)) for w in weights]
            expected[chosen] = factor
        callbacks = [
            scaled([float(factor)], weights=pattern) for factor, pattern in enumerate(patterns, 2)
        ]
        loss = model.fit(X, targets, verbose=0, callbacks=callbacks).history["loss"]
        sums = np.array([np.abs(to_numpy(w)).sum() for w in weights])
        data_loss = np.mean(to_numpy(model(X)) ** 2)
        np.testing.assert_allclose(loss, data_loss + 0.1 * expected @ sums, rtol=1e-5)
        model.get_state_tree()  # which refuses two variables of one path
    assert [v.path for v in model.variables if "strength_scale" not in v.path] == state
    scales = {id(w.regularizer.strength_scale) for w in weights}
    assert len(model.variables) == size + (len(scales) if BACKEND == "jax" else 0)


def scale_of(weight):
    scale = getattr(weight.regularizer, "strength_scale", None)
    return 1.0 if scale is None else scale.value


@pytest.mark.slow
def test_choices_that_come_back_compile_nothing_anew():
    model, targets, counts = owner(), np.zeros((ROWS, FEATURES)), []
    traces = Traces(model)
    for patterns in CHOICES * 2:
        callbacks = [scaled([2.0], weights=pattern) for pattern in patterns]
        model.fit(X, targets, verbose=0, callbacks=callbacks)
        counts.append(traces.count)
    if BACKEND != "torch":
        assert counts[0] <= 2 and counts[len(CHOICES) - 1] == counts[-1]


@pytest.mark.slow
def test_with_a_new_logger_for_each_training_nothing_is_compiled_anew(tmp_path):
    model, counts = model_with(kr.L1(0.1), jit_compile=JIT_COMPILE[-1]), []
    traces = Traces(model)
    for factor in (1.0, 2.0, 3.0):
        logger = kr.RegularizationLogger(tmp_path / str(factor), verbose=0)
        history = fit(model, [scaled([factor]), logger], epochs=1)
        counts.append(traces.count)
        assert history["penalty"][0] > 0
    if BACKEND != "torch":
        assert counts[0] == counts[-1]


@pytest.mark.slow
def test_regularizers_that_are_attached_again():
    model, sizes = model_with(kr.L1(0.5), inner=keras.optimizers.SGD(0.0)), []
    for factor in (2.0, 3.0, 4.0, 5.0, 6.0):
        penalties = kr.detach_regularizers(model)
        kr.attach_regularizers(model, penalties)
        model.compile(model.optimizer, "mse")
        loss = fit(model, [scaled([factor])], epochs=1)["loss"]
        data_loss = np.mean((to_numpy(model(X)) - Y) ** 2)
        expected = data_loss + factor * 0.5 * np.abs(kernel(model)).sum()
        np.testing.assert_allclose(loss, expected, rtol=1e-5)
        sizes.append(len(model.variables))
    assert len(set(sizes)) == 1
    model.get_state_tree()


@pytest.mark.skipif(BACKEND != "torch", reason="torch modules have a state_dict")
def test_torch_modules_have_the_same_state():
    model = model_with(kr.L1(0.5))
    fit(model, epochs=1)
    names = list(model.state_dict())
    for _ in range(2):
        fit(model, [scaled([2.0])], epochs=1)
        assert list(model.state_dict()) == names


MIRRORED = """
    import keras
    import numpy as np
    import tensorflow as tf
    import kerasreg as kr

    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
    )
    x = np.zeros((8, 3), "float32")
    with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
        dense = keras.layers.Dense(1, kernel_initializer="ones", kernel_regularizer=kr.L1(0.5))
        model = keras.Sequential([keras.Input((3,)), dense])
        model.compile(keras.optimizers.SGD(0.0), "mse")
    scheduler = kr.StrengthScheduler(lambda epoch: [2.0, 0.0, 3.0][epoch])
    history = model.fit(x, x[:, :1], 8, 3, verbose=0, callbacks=[scheduler]).history
    assert len(dense.kernel.regularizer.strength_scale.state.value.values) == 2
    np.testing.assert_allclose(history["loss"], [3.0, 0.0, 4.5], rtol=1e-6)
"""


@pytest.mark.slow
@pytest.mark.skipif(BACKEND != "tensorflow", reason="MirroredStrategy is TensorFlow's")
def test_several_replicas():
    in_process(MIRRORED)


@pytest.mark.slow
def test_a_function_of_the_step_starts_anew_in_each_fit():
    asked = []

    def schedule(step):
        asked.append(step)
        return 0.5

    model = model_with(kr.L1(0.1))
    again = kr.StrengthScheduler(schedule, every="step")
    for scheduler in (again, kr.StrengthScheduler(schedule, every="step"), again):
        fit(model, [scheduler], epochs=2)
    assert asked == 3 * list(range(8))
    asked.clear()
    fit(model, [again], epochs=4, initial_epoch=3)
    assert asked == list(range(12, 16))


def test_without_an_epochs_length_a_resumed_training_counts_the_optimizers_batches():
    asked, model = [], model_with(kr.L1(0.1))
    fit(model, epochs=2)
    scheduler = kr.StrengthScheduler(lambda step: asked.append(step) or 0.5, every="step")
    scheduler.set_params({"epochs": 4, "steps": None})
    for first in (0, 2):
        scheduler.set_model(model)
        scheduler.on_train_begin()
        scheduler.on_epoch_begin(first)
        scheduler.on_train_batch_begin(0)
    assert asked == [0, 8]


@pytest.mark.slow
def test_mixed_precision():
    keras.config.set_dtype_policy("mixed_float16")
    smallest = 2.0**-30  # which float16 rounds to 0
    sgd = keras.optimizers.SGD(0.0)
    model = model_with(keras.regularizers.L1(2e7), {".*bias": kr.L1(0.1)}, inner=sgd)
    model.layers[-1].kernel.assign(np.full((FEATURES, 1), 7.0))
    without, scaled_down = fit(model, [scaled([0.0, smallest])], epochs=2)["loss"]
    np.testing.assert_allclose(scaled_down - without, smallest * 2e7 * 35, rtol=1e-3)
    assert to_numpy(model.optimizer.inner_optimizer.strength_scale) == smallest


@pytest.mark.slow
@pytest.mark.skipif(BACKEND == "torch", reason="Keras has one step per execution there")
def test_steps_per_execution_asks_once_an_execution():
    asked = []
    model = model_with(kr.L1(0.1), steps_per_execution=3)
    schedule = lambda step: asked.append(step) or 0.5  # noqa: E731
    fit(model, [kr.StrengthScheduler(schedule, every="step")], epochs=2)
    assert asked == [0, 3, 4, 7]


@pytest.mark.slow
def test_the_last_factor_stays_but_is_not_saved_in_the_loss(tmp_path):
    model = model_with(kr.L2(1.0), kr.L1(0.1), inner=keras.optimizers.SGD(0.0))
    fit(model, [scaled([0.5])], epochs=1)
    square = (kernel(model) ** 2).sum()
    again = fit(model, epochs=1)["loss"]
    data_loss = np.mean((to_numpy(model(X)) - Y) ** 2)
    np.testing.assert_allclose(again, data_loss + 0.5 * square, rtol=1e-5)
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    loaded.load_weights(tmp_path / "model.weights.h5")
    for twin in (loaded, keras.models.clone_model(model)):
        twin.set_weights(model.get_weights())
        np.testing.assert_allclose(to_numpy(twin.losses[0]), square, rtol=1e-5)
    assert to_numpy(loaded.optimizer.strength_scale) == 0.5
    penalties = kr.detach_regularizers(model)
    (penalty,) = penalties.values()
    np.testing.assert_allclose(to_numpy(penalty(kernel(model))), square, rtol=1e-5)


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(
    "value", [-0.1, np.inf, 4e38, np.nan, None, True, "1", [0.1, 0.2]], ids=repr
)
def test_a_schedule_that_returns_no_factor(value):
    scheduler = kr.StrengthScheduler(lambda step: 1.0 if step == 0 else value, every="step")
    message = "`schedule`.*finite, non-negative number within .*, for step 1.*Received"
    with pytest.raises(ValueError, match=message):
        fit(model_with(kr.L1(0.1), run_eagerly=True), [scheduler], epochs=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "`schedule`.*a `target_sparsity` instead"),
        ({"schedule": abs, "target_sparsity": 0.5}, "`schedule`.*a `target_sparsity` instead"),
        ({"schedule": 0.5}, "`schedule`.*a function"),
        ({"schedule": abs, "every": "batch"}, "`every`.*'epoch', 'step'"),
        ({"schedule": abs, "weights": "("}, "`weights`.*regular expression"),
        ({"schedule": abs, "where": "layer"}, "`where`.*'loss', 'proximal'"),
        ({"schedule": abs, "where": "proximal", "weights": "a"}, '`weights`.*where="proximal"'),
        ({"schedule": abs, "frequency": 0}, "`frequency`.*positive integer"),
        ({"target_sparsity": 1.0}, "`target_sparsity`.*between 0 and 1"),
        ({"target_sparsity": "0.5"}, "`target_sparsity`.*between 0 and 1"),
        ({"target_sparsity": 0.5, "every": "step"}, "`every`.*None with a `target_sparsity`"),
        ({"target_sparsity": 0.5, "weights": "a"}, "`weights`.*None with a `target_sparsity`"),
        ({"target_sparsity": 0.5, "where": "loss"}, "`where`.*no other penalty makes zeros"),
    ],
    ids=str,
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        kr.StrengthScheduler(**arguments)


class Other(keras.regularizers.Regularizer):
    """Nobody knows how strong it is."""

    def __call__(self, w):
        return keras.ops.sum(w)

    def get_config(self):
        return {}


@pytest.mark.fast_cases(3)
@pytest.mark.parametrize(
    ("penalty", "proximal", "arguments", "message"),
    [
        (None, None, {}, "`model`.*a penalty on weights, in the loss or by `Proximal`,"),
        (None, kr.TopK(0.5), {}, "`model`.*that has a strength"),
        (kr.L1(0.1), None, {"where": "proximal"}, "`model`.*a penalty on weights by `Proximal`"),
        (None, kr.L1(0.1), {"where": "loss"}, "`model`.*a penalty on weights in the loss"),
        (None, kr.L1(0.1), {"weights": "dense"}, "`model`.*a penalty on weights in the loss"),
        (kr.L1(0.1), None, {"weights": "other"}, "`weights`.*\n.*dense/kernel\n.*'other'"),
        (Other(), None, {}, "weight `.*dense/kernel`. Expected one whose strength can be scaled"),
    ],
)
def test_nothing_to_scale(penalty, proximal, arguments, message):
    with pytest.raises(ValueError, match=message):
        fit(model_with(penalty, proximal), [scaled(**arguments)])


def test_a_model_that_is_not_built():
    with pytest.raises(ValueError, match="`model`.*a built model"):
        scaled().set_model(keras.Sequential([keras.layers.Dense(1)]))
