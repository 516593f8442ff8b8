"""The state of `Proximal`: what is saved, loaded and answered for both optimizers."""

import io
import warnings
import zipfile

import h5py
import keras
import numpy as np
import pytest
from helpers.backends import to_numpy
from helpers.marks import slow
from keras import optimizers

import kerasreg as kr

GRADIENTS = np.random.default_rng(0).normal(size=(4, 3, 2)).astype("float32")
INNER = {
    "adam": lambda: optimizers.Adam(0.05),
    "momentum": lambda: optimizers.SGD(0.05, momentum=0.9),
    "rmsprop": lambda: optimizers.RMSprop(0.05, momentum=0.5, centered=True),
}
each_inner = pytest.mark.parametrize("inner", ["momentum", "rmsprop", slow("adam")])


def trained(inner, steps=2):
    """An optimizer of two weights after some updates, and the weights."""
    optimizer = kr.Proximal(INNER[inner](), {".*first": kr.L1(0.1), ".*second": kr.L2(0.1)})
    weights = [keras.Variable(np.ones((3, 2)), name=name) for name in ("first", "second")]
    optimizer.build(weights)
    for gradient in GRADIENTS[:steps]:
        optimizer.apply([keras.ops.convert_to_tensor(gradient)] * 2, weights)
    optimizer.strength_scale = 0.5
    return optimizer, weights


def assert_same_state(one, other):
    for a, b in zip(one.variables, other.variables, strict=True):
        np.testing.assert_array_equal(to_numpy(a.value), to_numpy(b.value), err_msg=a.path)


class Store(dict):
    """What a file has for one object."""


def by_position(optimizer):
    """What version 0.1 wrote for the wrapper: all variables of both optimizers, in order."""
    new = set(map(id, optimizer._state.later))
    variables = [v for v in optimizer.variables if id(v) not in new]
    return Store({str(i): to_numpy(v.value) for i, v in enumerate(variables)})


def named(optimizer):
    store = Store()
    optimizer.save_own_variables(store)
    return store


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("write", [named, by_position])
@each_inner
def test_what_is_saved_is_loaded(inner, write):
    (optimizer, weights), (fresh, others) = trained(inner), trained(inner, steps=0)
    optimizer.inner_optimizer.save_own_variables(of_inner := Store())
    fresh.load_own_variables(write(optimizer))
    fresh.inner_optimizer.load_own_variables(of_inner)
    for a, b in zip(optimizer.variables[2:], fresh.variables[2:], strict=True):
        if id(a) in set(map(id, optimizer._state.later)) and write is by_position:
            continue  # which that version did not have
        np.testing.assert_array_equal(to_numpy(a.value), to_numpy(b.value), err_msg=a.path)
    for variable, weight in zip(others, weights, strict=True):
        variable.assign(weight)
    for one, variables in ((optimizer, weights), (fresh, others)):
        one.apply([keras.ops.convert_to_tensor(GRADIENTS[3])] * 2, variables)
    np.testing.assert_array_equal(to_numpy(weights[0].value), to_numpy(others[0].value))


@each_inner
def test_what_is_missing_starts_afresh(inner):
    optimizer, _ = trained(inner)
    store = named(optimizer)
    assert all(not name.isdigit() for name in store)
    fresh, _ = trained(inner, steps=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fresh.load_own_variables(Store(strength_scale=store["strength_scale"]))
        fresh.load_own_variables(Store())
    assert float(fresh.strength_scale) == 0.5
    assert all(not np.any(to_numpy(v.value)) for v in fresh.variables[3:] if "total" in v.path)


def pruned(initializer="zeros"):
    keras.utils.set_random_seed(0)
    layer = keras.layers.Dense(3, kernel_initializer=initializer, name="head")
    model = keras.Sequential([keras.Input((4,)), layer])
    layer.kernel.assign(np.arange(12).reshape(4, 3) % 2)
    model.compile(kr.Proximal(optimizers.SGD(0.1), kr.KeepZeros()), "mse")
    model.optimizer.build(model.trainable_variables)
    return model, layer


def test_zeros_of_a_layer_that_begins_with_zeros_are_kept_in_a_loaded_model(tmp_path):
    """Keras builds the optimizer before it loads the weights."""
    model, _ = pruned()
    model.save(tmp_path / "model.keras")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # none of a weight that would be left free
        loaded = keras.models.load_model(tmp_path / "model.keras")
        loaded.fit(np.ones((8, 4)), np.ones((8, 3)), verbose=0)
    assert np.count_nonzero(loaded.get_weights()[0]) == 6


def test_an_older_file_keeps_all_zeros_that_it_has():
    model, layer = pruned()
    store = by_position(model.optimizer)
    layer.kernel.assign(np.zeros((4, 3)))
    fresh = kr.Proximal.from_config(model.optimizer.get_config())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fresh.build(model.trainable_variables)
        fresh.load_own_variables(store)
    assert not np.any(to_numpy(fresh._state.get("free").value))


def test_an_optimizer_from_a_configuration_alone_says_what_is_free_when_it_is_used():
    model, layer = pruned()
    layer.kernel.assign(np.zeros((4, 3)))
    fresh = kr.Proximal.from_config(model.optimizer.get_config())
    fresh.build(model.trainable_variables)
    gradients = [keras.ops.ones(v.shape) for v in model.trainable_variables]
    with pytest.warns(UserWarning, match="head/kernel` are zero, so that KeepZeros leaves it"):
        fresh.apply(gradients, model.trainable_variables)
    fresh.apply(gradients, model.trainable_variables)
    assert to_numpy(layer.kernel.value).all()


@pytest.mark.parametrize("weights", [[], [np.zeros(())] * 3])
def test_weights_of_other_shapes_are_refused_before_any_is_set(weights):
    optimizer, _ = trained("momentum")
    before = [to_numpy(v.value).copy() for v in optimizer.variables]
    with pytest.raises(ValueError, match="argument `weights`. Expected arrays of the shapes"):
        optimizer.set_weights(weights)
    for variable, value in zip(optimizer.variables, before, strict=True):
        np.testing.assert_array_equal(to_numpy(variable.value), value)


@pytest.mark.slow
def test_a_model_file_has_the_moments_once(tmp_path):
    model = keras.Sequential([keras.Input((50,)), keras.layers.Dense(40)])
    model.compile(kr.Proximal(optimizers.Adam(0.05), kr.L1(0.01)), "mse")
    model.train_on_batch(np.ones((2, 50)), np.ones((2, 40)))
    model.save(tmp_path / "model.keras")
    inner = model.optimizer.inner_optimizer
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert_same_state(inner, loaded.optimizer.inner_optimizer)
    file = h5py.File(io.BytesIO(zipfile.ZipFile(tmp_path / "model.keras").read("model.weights.h5")))
    sizes = []
    file["optimizer"].visititems(lambda _, entry: sizes.append(getattr(entry, "size", 0)))
    strength_scale, reached_and_free = 1, 2 * len(model.trainable_variables)
    moments = sum(to_numpy(v.value).size for v in inner.variables)
    mean_gradient, its_noise = 2000, 2000 + 1 + 1
    own = strength_scale + reached_and_free + mean_gradient + its_noise
    assert sum(sizes) == moments + own


@pytest.mark.fast_cases(1)
@each_inner
def test_set_weights_restores_all(inner):
    optimizer, _ = trained(inner)
    other, _ = trained(inner, steps=0)
    other.set_weights([to_numpy(v.value).astype(v.dtype) for v in optimizer.variables])
    assert_same_state(optimizer, other)


def test_apply_gradients_returns_the_number_of_updates():
    optimizer, weights = trained("adam", steps=0)
    for count in (1, 2):
        gradient = keras.ops.convert_to_tensor(GRADIENTS[0])
        returned = optimizer.apply_gradients([(gradient, weight) for weight in weights])
        assert int(to_numpy(returned)) == count


def test_the_arguments_of_the_inner_optimizer_are_read_and_set_through_the_wrapper():
    inner = optimizers.SGD(
        1.0, weight_decay=0.1, clipnorm=0.5, loss_scale_factor=4.0, gradient_accumulation_steps=2
    )
    optimizer = kr.Proximal(inner, kr.L1(0.0))
    assert (optimizer.weight_decay, optimizer.clipnorm) == (0.1, 0.5)
    assert (optimizer.clipvalue, optimizer.global_clipnorm, optimizer.use_ema) == (None,) * 2 + (
        False,
    )
    assert (optimizer.loss_scale_factor, optimizer.gradient_accumulation_steps) == (4.0, 2)
    optimizer.clipnorm, optimizer.clipvalue = None, 0.25
    optimizer.weight_decay = optimizer.loss_scale_factor = None
    optimizer.gradient_accumulation_steps = None
    assert inner.loss_scale_factor is None and inner.clipvalue == 0.25
    weight = keras.Variable(np.ones((1, 2)), name="kernel")
    optimizer.build([weight])
    assert not [v for v in optimizer.variables if "accumulat" in v.path]
    optimizer.apply([keras.ops.ones((1, 2))], [weight])
    np.testing.assert_allclose(to_numpy(weight.value), 0.75)


def test_accumulators_are_made_once():
    inner = optimizers.Adam(gradient_accumulation_steps=2)
    optimizer = kr.Proximal(inner, kr.L1(0.1))
    optimizer.build([keras.Variable(np.ones((3, 2)), name="kernel")])
    assert len([v for v in optimizer.variables if "accumulat" in v.path]) == 1
