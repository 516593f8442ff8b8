"""Zeros and dead units of activations, against NumPy on what Keras's own `predict` returns."""

import keras
import numpy as np
import pytest
from helpers.backends import BACKEND, JIT_COMPILE
from helpers.event_files import read
from helpers.marks import slow
from helpers.models import Subclassed, classifier, data

import kerasreg as kr
from kerasreg.statistics.activations import Activations
from kerasreg.statistics.names import LayerNames
from kerasreg.statistics.tensors import TensorStatistics

layers = keras.layers
RNG = np.random.default_rng(0)


def measure(model, x, **arguments):
    return Activations(model, LayerNames(model), x, **arguments)()()


def expected(outputs, unit_axes=(-1,)):
    """Fraction of zeros, and the number of units that are zero everywhere."""
    others = tuple(i for i in range(outputs.ndim) if i - outputs.ndim not in unit_axes)
    return np.mean(outputs == 0), np.sum(np.all(outputs == 0, axis=others))


def output_of(model, tensor, x):
    return keras.Model(model.inputs, tensor).predict(x, verbose=0)


def check(model, x, outputs):
    """Compares what is measured with outputs by the names of the layers."""
    found = measure(model, x)
    assert sorted(found.names) == sorted(outputs)
    for name, statistics, rows in zip(found.names, found.statistics, found.histograms, strict=True):
        values = np.asarray(outputs[name], "float32")
        zeros, dead = expected(values)
        assert (statistics.sparsity, statistics.dead_units) == (pytest.approx(zeros), dead), name
        assert rows[:, 2].sum() == np.count_nonzero(values)
    total = sum(np.size(values) for values in outputs.values())
    zeros = sum(np.sum(np.asarray(values) == 0) for values in outputs.values())
    assert found.totals["activation_zeros"] == pytest.approx(zeros / total)
    assert found.totals["dead_activations"] == sum(s.dead_units for s in found.statistics)
    return found


def network():
    """Images, in which some units of every kind are dead."""
    inputs = keras.Input((6, 6, 2))
    x = layers.Conv2D(5, 3, activation="relu", name="conv")(inputs)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.ReLU(name="relu")(x)
    x = layers.Dropout(0.5, seed=1)(layers.Flatten(name="flatten")(x))
    block = keras.Sequential([keras.Input((80,)), layers.Dense(7, "relu", name="inner")], name="b")
    x = layers.Activation("relu6", name="act")(layers.Dense(4, name="dense")(block(x)))
    model = keras.Model(inputs, layers.Dense(2, name="last")(x))
    bias = np.array([0, -99, 0, 0, -99], "float32")
    model.get_layer("conv").bias.assign(bias)
    model.get_layer("dense").bias.assign([0.5, -99, 9, 0])
    return model, RNG.normal(size=(9, 6, 6, 2)).astype("float32")


def outputs_of_network(model, x):
    names = {"conv": "conv", "relu": "relu", "act": "act"}
    outputs = {name: output_of(model, model.get_layer(n).output, x) for name, n in names.items()}
    before = output_of(model, model.get_layer("flatten").output, x)
    return outputs | {"b/inner": model.get_layer("b").predict(before, verbose=0)}


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", slow("mixed_float16")])
def test_a_functional_model_with_a_nested_one(policy):
    keras.config.set_dtype_policy(policy)
    model, x = network()
    outputs = outputs_of_network(model, x)
    if policy == "float32":
        found = check(model, x, outputs)
    else:  # whose roundings depend on what is compiled together
        found = measure(model, x)
        for name, each in zip(found.names, found.statistics, strict=True):
            assert each.sparsity == pytest.approx(expected(outputs[name])[0], abs=0.05)
    assert found.of_each()["dead_activations/conv"] == 2
    assert found.of_each()["dead_activations/act"] == 1


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("jit_compile", JIT_COMPILE)
def test_as_the_model_is_compiled(jit_compile):
    model, x = network()
    model.compile("sgd", "mse", jit_compile=jit_compile)
    check(model, x, outputs_of_network(model, x))


@pytest.mark.slow
def test_several_inputs_and_a_recurrent_layer():
    inputs = {"a": keras.Input((4, 3), name="a"), "b": keras.Input((3,), name="b")}
    sequence = layers.LSTM(5, "relu", return_sequences=True, name="lstm")(inputs["a"])
    each = layers.TimeDistributed(layers.Dense(4, "relu"), name="each")(sequence)
    plain = layers.Dense(2, "relu", name="plain")(inputs["b"])
    model = keras.Model(inputs, layers.Dense(1)(layers.Concatenate()([each[:, -1], plain])))
    x = {"a": RNG.normal(size=(8, 4, 3)), "b": RNG.normal(size=(8, 3))}
    x = {name: values.astype("float32") for name, values in x.items()}
    tensors = {"lstm": sequence, "each": each, "plain": plain}
    check(model, x, {name: output_of(model, t, x) for name, t in tensors.items()})


@pytest.mark.slow
def test_shared_layers():
    """One with weights has the same units in both calls; one without has others in each."""
    inputs = keras.Input((3,))
    shared, relu = layers.Dense(3, "relu", name="shared"), layers.ReLU(name="relu")
    first = shared(inputs)
    second = shared(first)
    low, wide = relu(layers.Dense(3)(second)), relu(layers.Dense(5)(second))
    model = keras.Model(inputs, layers.Concatenate()([low, wide]))
    x = RNG.normal(size=(20, 3)).astype("float32")
    shared.bias.assign([-99, 1, 1])
    outputs = [output_of(model, tensor, x) for tensor in (first, second, low, wide)]
    both = np.concatenate(outputs[:2])
    check(model, x, {"shared": both, "relu": outputs[2], "relu#2": outputs[3]})


class Hidden(keras.Model):
    """No symbolic graph reaches its layers, nor what it does with them."""

    def __init__(self):
        super().__init__()
        self.first = layers.Dense(6, "relu", name="first")
        self.blocks = [layers.Dense(4, name="dense"), layers.Activation("relu", name="act")]

    def call(self, x):
        x = self.first(x) * 2
        for block in self.blocks:
            x = block(x)
        return x


def test_a_subclassed_model():
    model, x = Hidden(), RNG.normal(size=(11, 3)).astype("float32")
    outputs = model.predict(x, verbose=0)
    w, b = model.first.get_weights()
    found = check(model, x, {"first": np.maximum(x @ w + b, 0), "act": outputs})
    assert found.names == ["first", "act"]


def test_units_of_several_axes():
    layer = layers.EinsumDense("abc,cde->abde", (None, 2, 3), "relu", "de", name="heads")
    model = keras.Sequential([keras.Input((4, 5)), layer])
    layer.bias.assign(np.array([[0, -99, 0], [0, 0, -99]]))
    x = RNG.normal(size=(6, 4, 5)).astype("float32")
    found = measure(model, x)
    outputs = model.predict(x, verbose=0)
    assert found.statistics[0].dead_units == expected(outputs, (-2, -1))[1] == 2


def test_a_model_without_such_layers():
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2, "tanh")])
    found = measure(model, np.ones((4, 3)))
    assert not found.totals and not found.of_each() and not found.histograms


def test_the_weights_as_they_are_in_one_trace():
    calls = []

    def counted(x):
        calls.append(1)
        return keras.ops.relu(x)

    model = keras.Sequential([keras.Input((3,)), layers.Dense(4, counted, name="d")])
    x = RNG.normal(size=(8, 3)).astype("float32")
    activations = Activations(model, LayerNames(model), x)
    activations()()
    before = len(calls)
    for bias in (-99.0, 99.0, 0.1):
        model.layers[0].bias.assign(np.full(4, bias))
        found = activations()()
        zeros, dead = expected(model.predict(x, verbose=0))
        before += BACKEND == "torch"
        assert (found.totals["activation_zeros"], found.totals["dead_activations"]) == (
            pytest.approx(zeros),
            dead,
        )
    assert BACKEND == "torch" or len(calls) - before <= 3  # `predict` traces for itself


@pytest.mark.slow
def test_on_an_accelerator(monkeypatch):
    """The same numbers by the program that reduces on a device."""
    model, x = network()
    usual = measure(model, x)
    monkeypatch.setattr("kerasreg.statistics.tensors.is_on_host", lambda value: False)
    other = measure(model, x)
    for a, b in zip(usual.statistics, other.statistics, strict=True):
        assert (a.size, a.zeros, a.units, a.dead_units) == (b.size, b.zeros, b.units, b.dead_units)
    for a, b in zip(usual.histograms, other.histograms, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_a_tensor_without_entries():
    statistics = TensorStatistics([keras.ops.zeros((0, 3))], [(1,)])
    ((found,), _) = statistics([keras.ops.zeros((0, 3))])()
    assert (found.size, found.sparsity) == (0, 0.0)


def fit(folder, measured, **kwargs):
    keras.utils.set_random_seed(3)
    model, (x, y) = classifier(**kwargs), data()
    logger = kr.RegularizationLogger(folder, 2, activation_data=measured, verbose=0)
    history = model.fit(x, y, 8, epochs=2, verbose=0, callbacks=[logger]).history
    variables = [*model.variables, *model.metrics_variables, *model.optimizer.variables]
    return model, history, [keras.ops.convert_to_numpy(v.value) for v in variables]


@pytest.mark.slow
def test_the_log_has_it_and_the_training_does_not(tmp_path):
    x, _ = data(seed=2, samples=30)
    _, history, state = fit(tmp_path / "without", None)
    model, logged, after = fit(tmp_path / "with", x)
    assert history == logged
    for a, b in zip(state, after, strict=True):
        np.testing.assert_array_equal(a, b)
    points = read(tmp_path / "with")
    for name in ("first", "second"):
        outputs = output_of(model, model.get_layer(name).output, x)
        zeros, dead = expected(outputs)
        steps = [step for step, _ in points[f"activation_zeros/{name}"]]
        assert steps == [2, 4, 5, 6, 8, 10]
        assert points[f"activation_zeros/{name}"][-1][1] == pytest.approx(zeros)
        assert points[f"dead_activations/{name}"][-1][1] == dead
        assert points[f"activations/{name}"][-1][1][:, 2].sum() == np.count_nonzero(outputs)
    assert "activation_zeros/last" not in points
    assert {"all/activation_zeros", "all/dead_activations"} <= set(points)
    assert not any("activation" in tag for tag in read(tmp_path / "without"))


def test_totals_in_a_loop_and_in_the_logs(tmp_path):
    x, y = data()
    names = ["activation_zeros", "dead_activations"]
    logger = kr.RegularizationLogger(
        tmp_path, activation_data=x, verbose=0, in_logs=names, histograms=False
    )
    model = classifier()
    history = model.fit(x, y, epochs=1, verbose=0, callbacks=[logger]).history
    logger.set_model(model)
    totals = logger.log(7)
    assert [totals[name] for name in names] == [history[name][0] for name in names]
    logger.close()
    assert not any(tag.startswith("activations/") for tag in read(tmp_path))


def test_a_subclassed_model_in_training(tmp_path):
    model, (x, y) = Subclassed(), data()
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.first.activation = keras.activations.relu
    logger = kr.RegularizationLogger(tmp_path, activation_data=x, verbose=0)
    model.fit(x, y, epochs=1, verbose=0, callbacks=[logger])
    w, b = model.first.get_weights()
    zeros = read(tmp_path)["activation_zeros/same"][0][1]
    assert zeros == pytest.approx(np.mean(np.maximum(x @ w + b, 0) == 0))


@pytest.mark.slow
def test_inputs_that_do_not_fit_are_one_warning_and_the_log_goes_on(tmp_path):
    model, (x, y) = Subclassed(), data()
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.first.activation = keras.activations.relu
    logger = kr.RegularizationLogger(tmp_path, 1, activation_data=x[:, :3], verbose=0)
    with pytest.warns(UserWarning, match="goes on without activations.*`activation_data`") as seen:
        model.fit(x, y, epochs=2, verbose=0, callbacks=[logger])
    assert len([w for w in seen if "activation_data" in str(w.message)]) == 1
    assert len(read(tmp_path)["all/sparsity"]) == 4


@pytest.mark.parametrize("given", [data()[0][:, :3], list(data())])
def test_inputs_of_another_shape_stop_before_the_training(tmp_path, given):
    logger = kr.RegularizationLogger(tmp_path, activation_data=given)
    with pytest.raises(ValueError, match="argument `activation_data`.*None, 6"):
        logger.set_model(classifier())


def test_a_quantized_layer():
    model = keras.Sequential([keras.Input((3,)), layers.Dense(4, "relu", name="d")])
    model.layers[0].quantize("int8")
    x = RNG.normal(size=(8, 3)).astype("float32")
    assert measure(model, x).totals["activation_zeros"] == pytest.approx(
        np.mean(model.predict(x, verbose=0) == 0)
    )


BAD = [3, "x", {}, [], np.zeros((0, 6)), [np.zeros((2, 3)), np.zeros((3, 3))], np.float32(1)]


@pytest.mark.parametrize("given", BAD, ids=lambda value: type(value).__name__)
def test_bad_data(given):
    with pytest.raises(ValueError, match="argument `activation_data`. Expected"):
        kr.RegularizationLogger("log", activation_data=given)
