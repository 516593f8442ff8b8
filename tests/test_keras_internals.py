"""Fails when Keras changes what `_keras_internals.py` relies on, or exports it at last."""

import keras
import numpy as np
import pytest
from helpers.backends import JIT_COMPILE, to_numpy
from helpers.models import classifier, data

import kerasreg as kr
from kerasreg import _keras_internals as internals
from kerasreg.regularizers.strength_scale import StrengthScale


def test_strings_are_looked_up_in_the_table():
    class Mine(keras.regularizers.Regularizer):
        pass

    with pytest.raises(ValueError, match="Could not interpret"):
        keras.regularizers.get("kerasreg_tests>Mine")
    keras.saving.register_keras_serializable("kerasreg_tests")(Mine)
    with pytest.raises(ValueError, match="Could not interpret"):  # else the table is not needed
        keras.regularizers.get("kerasreg_tests>Mine")
    internals.register_regularizer_string("kerasreg_tests>Mine", Mine)
    assert isinstance(keras.regularizers.get("kerasreg_tests>Mine"), Mine)


def test_all_layers_finds_sublayers_after_their_parents():
    attention = keras.layers.MultiHeadAttention(2, 3)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2), keras.layers.Dropout(0.1)])
    found = internals.all_layers(model)
    assert found[0] is model and set(model.layers) < set(found) and len(found) == len(set(found))
    attention(np.ones((1, 2, 3), "float32"), np.ones((1, 2, 3), "float32"))
    found = internals.all_layers(attention)
    assert found[0] is attention
    assert {layer.name for layer in found[1:]} >= {"query", "key", "value", "attention_output"}


def test_layers_have_paths():
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4, name="dense")], name="inner")
    times = keras.layers.TimeDistributed(inner, name="times")
    inputs = keras.Input((3, 4), name="given")
    model = keras.Model(inputs, inner(times(inputs)[:, 0]), name="whole")
    found = internals.layer_paths(model)
    paths = [path for path, _ in found]
    assert paths[0] == "whole" and set(paths) >= {"given", "times", "times/inner"}
    assert internals.sublayers(times) == [inner]
    assert "times/inner/dense" in paths and len(paths) == len(set(paths))
    assert {id(layer) for _, layer in found} == set(map(id, internals.all_layers(model)))


def test_a_lambda_keeps_its_output_shape():
    layer = keras.layers.Lambda(abs, output_shape=len)
    assert internals.lambda_output_shape(layer) is len
    assert not hasattr(layer, "output_shape")  # else there is a public name for it


def test_seed_states_are_all_variables_but_weights_and_metrics():
    inputs = keras.Input((5, 4))
    shared = kr.Dropout(0.5)
    x = shared(keras.layers.LSTM(3, dropout=0.5, return_sequences=True)(shared(inputs)))
    model = keras.Model(inputs, keras.Sequential([keras.layers.Dropout(0.5)])(x))
    states = {id(state) for state in internals.seed_states(model)}
    assert len(states) == len(internals.seed_states(model)) == 3
    weights = {id(weight) for weight in model.weights}
    assert states == {id(v) for v in model.variables} - weights


@pytest.mark.slow
def test_carried_states_are_variables_of_the_model_but_not_saved(tmp_path):
    model = classifier()
    layer, size = model.get_layer("last"), len(model.variables)
    kernel, *_ = own = internals.own_variables(layer)
    assert kernel is layer.kernel and len(own) == 2 and not internals.own_variables(model)
    for _ in range(2):
        holder = StrengthScale([kernel], "scale")
        internals.carry_states(layer, StrengthScale, [holder])
    model.fit(*data(), verbose=0)
    carried = int(keras.backend.backend() == "jax")
    assert sum(v is holder.state for v in model.non_trainable_variables) == carried
    assert len(model.variables) == size + carried and len(internals.seed_states(model)) == 1
    assert all(v is not holder.state for v in [*model.weights, *model.metrics_variables])
    model.save(tmp_path / "model.keras")
    assert len(keras.saving.load_model(tmp_path / "model.keras").variables) == size


@pytest.mark.slow
def test_tracked_metrics_are_reset_and_not_saved(tmp_path):
    model, metric = classifier(), keras.metrics.Mean(name="extra")
    internals.track_metric(model, metric)
    metric.update_state(3.0)
    assert metric in model.metrics
    model.reset_metrics()
    assert float(keras.ops.convert_to_numpy(metric.result())) == 0
    model.fit(*data(), verbose=0)
    model.save(tmp_path / "model.keras")
    internals.untrack_metric(model, metric)
    assert metric not in model.metrics
    assert "extra" not in keras.saving.load_model(tmp_path / "model.keras").metrics_names


@pytest.mark.parametrize(
    ("layer", "attribute"),
    [
        (keras.layers.MultiHeadAttention(2, 3), "_kernel_regularizer"),
        (keras.layers.GroupQueryAttention(2, 4, 2), "kernel_regularizer"),
    ],
)
def test_attention_layers_save_one_regularizer_from_this_attribute(layer, attribute):
    assert internals.attention_attribute(layer, "kernel") == attribute
    assert getattr(layer, attribute) is None and layer.get_config()["kernel_regularizer"] is None
    setattr(layer, attribute, kr.L1(0.5))
    assert layer.get_config()["kernel_regularizer"]["config"] == {"l1": 0.5}
    assert internals.attention_attribute(keras.layers.Dense(2), "kernel") is None


@pytest.mark.slow
def test_compiled_steps_are_forgotten_also_while_something_keeps_them():
    model, (x, y) = classifier(JIT_COMPILE[-1], penalties=False), data()
    bias = model.get_layer("first").bias
    bias.assign(np.ones(16))
    before = model.evaluate(x, y, verbose=0)[0]
    kept = model.test_function
    bias.regularizer = kr.L1(1.0)
    internals.forget_compiled_steps(model)
    np.testing.assert_allclose(model.evaluate(x, y, verbose=0)[0], before + 16, rtol=1e-6)
    assert kept is not model.test_function


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("kind", [keras.layers.Dense, keras.layers.LSTMCell, kr.DropBlock2D])
def test_automatic_name(kind):
    keras.utils.clear_session()
    layer = kind(0.2, 2) if kind is kr.DropBlock2D else kind(2)
    assert layer.name == internals.automatic_name(layer)


@pytest.mark.slow
def test_an_interrupted_training_gives_its_weights_back():
    model, (x, y) = classifier(), data()
    before = model.get_weights()[0].copy()

    def interrupt(batch, logs):
        if batch == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        callback = keras.callbacks.LambdaCallback(on_train_batch_end=interrupt)
        model.fit(x, y, batch_size=8, verbose=0, callbacks=[callback])
    internals.bring_up_to_date(model)
    after = model.get_weights()[0]
    assert np.all(np.isfinite(after)) and np.any(after != before)
    model.fit(x, y, batch_size=8, verbose=0)


def test_a_copy_of_an_optimizer_knows_what_weight_decay_leaves_alone():
    model = classifier()
    optimizer = keras.optimizers.AdamW(0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    config = optimizer.get_config()
    assert not any("exclude" in name for name in config)  # else `from_config` is enough
    copy = internals.unbuilt_copy(keras.optimizers.LossScaleOptimizer(optimizer).inner_optimizer)
    bias, kernel = model.get_layer("last").bias, model.get_layer("last").kernel
    before = np.asarray(kernel).copy()
    bias.assign(np.ones(bias.shape))
    copy.apply([keras.ops.zeros(v.shape) for v in (bias, kernel)], [bias, kernel])
    np.testing.assert_allclose(bias, 1.0)
    np.testing.assert_allclose(kernel, 0.95 * before, rtol=1e-5)


def test_know_variables():
    optimizer, twin = (keras.optimizers.SGD() for _ in range(2))
    weights = [keras.Variable(np.ones(2)) for _ in range(2)]
    keras.optimizers.Optimizer.build(twin, weights)
    internals.know_variables(optimizer, weights)
    for name in ("_trainable_variables", "_trainable_variables_indices", "built"):
        assert getattr(optimizer, name) == getattr(twin, name)
    assert len(optimizer.variables) == len(twin.variables)


@pytest.mark.parametrize("steps", [None, 3])
def test_completes_update(steps):
    optimizer = keras.optimizers.SGD(0.5, gradient_accumulation_steps=steps)
    variable = keras.Variable(np.zeros(2, "float32"))
    optimizer.build([variable])
    for count in range(1, 8):
        known = internals.completes_update(optimizer)
        before = to_numpy(variable.value).copy()
        optimizer.apply([keras.ops.ones((2,))], [variable])
        moved = bool(np.any(to_numpy(variable.value) != before))
        assert moved == (steps is None or count % 3 == 0)
        assert known is None if steps is None else bool(known) == moved


def test_the_gradients_that_an_optimizer_accumulates():
    optimizer = keras.optimizers.SGD(0.5, gradient_accumulation_steps=3)
    variable = keras.Variable(np.zeros(2, "float32"))
    optimizer.build([variable])
    optimizer.apply([keras.ops.ones((2,))], [variable])
    slot = internals.optimizer_slot(optimizer, "_accumulated_gradients", variable)
    np.testing.assert_array_equal(to_numpy(slot.value), [1, 1])


@pytest.mark.parametrize(("path", "shape"), [("a", (2, 2)), ("embedding", (2, 2)), ("a", (2,))])
def test_which_weights_muon_trains_as_adam(path, shape):
    muon = keras.optimizers.Muon()
    variable = keras.Variable(np.zeros(shape, "float32"), name=path)
    muon.build([variable])
    assert internals.learns_by_adam(muon, variable) == (muon.adam_velocities[0] is not None)
    assert internals.learns_by_adam(muon, variable) == (len(shape) == 1 or path == "embedding")


def test_arrays_that_keras_takes_for_biases():
    x, array = np.zeros((2, 5, 5), "float32"), np.arange(5, dtype="float32")[:, None]
    wrong = not np.array_equal(keras.ops.convert_to_numpy(keras.ops.add(x, array)), x + array)
    assert internals.taken_for_bias(array.shape) == wrong
    assert not internals.taken_for_bias((1, 5)) and not internals.taken_for_bias((2, 5, 1))


def test_layers_of_the_applications():
    x, scale = np.ones((2, 3), "float32"), internals.layer_scale()(0.5, 3)
    assert scale.get_config()["projection_dim"] == 3
    (depth,) = internals.identity_layers()
    made = scale(x), depth(0.5)(x, training=False), internals.residual_scale()(0.5)([x, x])
    for y, expected in zip(made, (0.5, 1.0, 1.5), strict=True):
        assert np.allclose(keras.ops.convert_to_numpy(y), expected)


def test_masks_of_symbolic_tensors():
    inputs = keras.Input((3,), dtype="int32")
    embedded = keras.layers.Embedding(4, 2, mask_zero=True)(inputs)
    assert internals.mask_of(inputs) is None and internals.mask_of(embedded) is not None
    assert internals.mask_of(keras.layers.Dense(2)(embedded)) is internals.mask_of(embedded)


def test_graphs_give_all_calls_in_order():
    inputs = keras.Input((3,), name="given")
    shared = keras.layers.Dense(3)
    outputs = {"y": shared(shared(inputs)) + 1.0}
    model = keras.Model(inputs, outputs)
    assert internals.graph_of(model) is model
    calls = internals.graph_calls(model)
    assert [call.operation is shared for call in calls] == [True, True, False]
    assert type(calls[2].operation) in internals.operation_classes(["Add"])
    assert calls[0].inputs[0] is inputs and calls[1].inputs[0] is calls[0].outputs[0]
    assert calls[0].fill_in({id(inputs): "x"}) == (("x",), {})
    given, made = internals.graph_structure(model)
    assert given is inputs and set(made) == {"y"} and made["y"] is calls[2].outputs[0]
    assert internals.input_layer(inputs).name == "given"


def test_models_without_a_graph():
    class Doubled(keras.Sequential):
        def call(self, x, **kwargs):
            return 2 * super().call(x, **kwargs)

    parts = [keras.Input((3,)), keras.layers.Dense(2)]
    assert internals.graph_of(keras.Sequential(parts)).outputs[0].shape == (None, 2)
    assert internals.graph_of(Doubled(parts)) is None
    assert internals.graph_of(keras.Sequential([keras.layers.Dense(2)])) is None


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("name", ["query", "key", "value", "output"])
def test_attention_layers_have_projections(name):
    x = np.ones((1, 2, 4), "float32")
    for layer in (keras.layers.MultiHeadAttention(2, 3), keras.layers.GroupQueryAttention(3, 2, 1)):
        layer(x, x)
        projection = getattr(layer, internals.projection_attribute(name))
        assert isinstance(projection, keras.layers.EinsumDense)
    assert not hasattr(layer, "query_dense")  # else there is a public name for them


def test_metrics_are_known_as_they_were_given():
    def own(y, y_pred):
        return keras.ops.mean(y - y_pred)

    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    assert internals.given_metrics(model) == []
    model.compile("sgd", "mse", metrics=["mae", own])
    assert own in keras.tree.flatten(internals.given_metrics(model))
