"""What `prune` makes of a model: that of `Proximal` at once, and what can be done with it then."""

import keras
import numpy as np
import pytest
from helpers import pruned
from helpers.backends import BACKEND, to_numpy
from helpers.marks import first_is_fast, slow
from helpers.models import Subclassed, data
from keras import layers, optimizers

import kerasreg as kr


def network():
    """A residual block of images, attention over their positions, and an output."""
    x = inputs = keras.Input((4, 4, 4))
    x = layers.Conv2D(8, 3, padding="same", name="stem")(x)
    y = layers.ReLU()(layers.Conv2D(8, 3, padding="same", name="branch")(x))
    x = layers.Reshape((16, 8))(layers.Add()([x, y]))
    x = layers.MultiHeadAttention(2, 4, name="attention")(x, x)
    x = layers.GlobalAveragePooling1D()(x)
    return with_random_weights(keras.Model(inputs, layers.Dense(4, name="last")(x)))


def with_random_weights(model, seed=0):
    rng = np.random.default_rng(seed)
    model.set_weights([rng.normal(size=w.shape).astype("float32") for w in model.get_weights()])
    return model


def kernels(model):
    weights = model.trainable_variables
    return {w.path.partition("/")[2]: w for w in weights if w.name.endswith("kernel")}


SHAPES = {
    "weights": lambda model: kr.TopK(0.75),
    "weights of all": lambda model: kr.TopK(0.75, scope="global"),
    "units": lambda model: kr.TopK(0.5, axis="output"),
    "by multiply-adds": lambda model: kr.TopK(0.5, axis="output", scope="global", cost="macs"),
    "blocks": lambda model: kr.TopK(0.5, block=(4, 1)),
    "2:4": lambda model: kr.TopK(pattern="2:4"),
    "heads": lambda model: {".*attention.*kernel": kr.TopK(0.5, axis="heads")},
    "channels": lambda model: kr.TopK(0.5, groups=kr.coupled_groups(model)),
    "bounds": lambda model: {".*last/kernel": kr.Box(0.0, 0.5), ".*stem/kernel": kr.TopK(0.5)},
    "zeros": lambda model: kr.KeepZeros(),
}


FAST = ("by multiply-adds", "2:4", "heads", "channels")


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("name", [n if n in FAST else slow(n) for n in SHAPES])
def test_it_does_what_proximal_does_without_moving_anything_else(name):
    model, trained = network(), network()
    kr.prune(model, SHAPES[name](model))
    optimizer = kr.Proximal(optimizers.SGD(0.0), SHAPES[name](trained), model=trained)
    weights = trained.trainable_variables
    optimizer.apply([keras.ops.ones(w.shape) for w in weights], weights)
    assert (name == "zeros") == all(w.all() for w in model.get_weights())
    for ours, theirs in zip(model.get_weights(), trained.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


COUNTS = [
    ("units", lambda w, path: pruned.slice_norms(w, [-1]) > 0, 0.5),
    ("weights", lambda w, path: w.ravel() != 0, 0.75),
    ("blocks", lambda w, path: pruned.block_norms(w, (4, 1)) > 0, 0.5),
    ("2:4", lambda w, path: pruned.run_counts(w, 4, 0 if "head" in path else -2) / 4, 0.5),
]


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(("name", "alive", "sparsity"), COUNTS)
def test_the_numbers_are_exact_and_in_the_report(name, alive, sparsity):
    model = keras.Sequential(
        [keras.Input((6, 6, 8)), layers.Conv2D(8, 3), layers.Conv2D(12, 2), layers.Dense(4)]
    )
    report = kr.prune(model, SHAPES[name](model))
    rows = {row.path: row for row in report.rows}
    for path, w in kernels(model).items():
        left = alive(to_numpy(w.value), path)
        assert np.sum(left) == round(left.size * (1 - sparsity))
        assert rows[w.path].sparsity == sparsity


def two_layers():
    model = keras.Sequential([keras.Input((6,)), layers.Dense(8, "relu"), layers.Dense(4)])
    model.compile(optimizers.SGD(0.1, momentum=0.9), "mse")
    return model


def test_a_schedule_is_left_out():
    model, scheduled = with_random_weights(two_layers()), with_random_weights(two_layers())
    kr.prune(model, kr.TopK(0.75))
    schedule = {"initial_sparsity": 0.25, "begin_step": 10, "end_step": 100, "frequency": 7}
    kr.prune(scheduled, kr.TopK(0.75, **schedule))
    for a, b in zip(model.get_weights(), scheduled.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_zeros_stay_zeros_where_they_are_kept():
    model = two_layers()
    kr.prune(model, kr.TopK(0.9))
    before = model.get_weights()
    kr.prune(model, kr.TopK(0.5))
    kr.prune(model, kr.TopK(0.0, axis="output"))
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def shared_in_a_nested_model():
    inner = keras.Sequential([keras.Input((6,)), layers.Dense(6, name="shared")], name="inner")
    inputs = keras.Input((6,))
    return keras.Model(inputs, layers.Dense(3, name="last")(inner(inner(inputs))))


def subclassed():
    model = Subclassed()
    model(np.ones((1, 6), "float32"))
    return model


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("saliency", ["activation", slow("taylor")])
@pytest.mark.parametrize("make", [shared_in_a_nested_model, subclassed])
def test_nested_shared_and_subclassed_models(make, saliency):
    model = make()
    x, _ = data()
    model.compile("sgd", "mse")
    kr.prune(model, kr.TopK(0.5, saliency=saliency), x, np.ones((len(x), 3)))
    for w in kernels(model).values():
        assert np.count_nonzero(to_numpy(w.value)) == w.shape[0] * w.shape[1] // 2


@pytest.mark.slow
def test_a_compiled_model_trains_on_and_keep_zeros_keeps_them():
    x, y = data()[0], np.ones((40, 4), "float32")
    model = two_layers()
    model.fit(x, y, verbose=0)
    before = [to_numpy(v.value) for v in model.optimizer.variables]
    kr.prune(model, kr.TopK(0.5, saliency="taylor"), x, y)
    for a, v in zip(before, model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(a, to_numpy(v.value))
    model.fit(x, y, verbose=0)
    kr.prune(model, kr.TopK(0.5))
    pruned_kernels = [to_numpy(w.value) for w in kernels(model).values()]
    model.compile(kr.Proximal(optimizers.SGD(0.1), kr.KeepZeros()), "mse")
    model.fit(x, y, verbose=0)
    for w, before in zip(kernels(model).values(), pruned_kernels, strict=True):
        np.testing.assert_array_equal(to_numpy(w.value) == 0, before == 0)
        assert not np.array_equal(to_numpy(w.value), before)


def test_within_a_training():
    x, y = data()[0], np.ones((40, 4), "float32")
    model = two_layers()
    halve = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: kr.prune(model, kr.TopK(0.5)) if epoch == 1 else None
    )
    model.fit(x, y, epochs=2, verbose=0, callbacks=[halve])
    for w in kernels(model).values():
        assert np.count_nonzero(to_numpy(w.value)) == w.shape[0] * w.shape[1] // 2


@pytest.mark.parametrize("saliency", first_is_fast(["activation", "taylor", "magnitude"]))
@pytest.mark.parametrize("policy", ["mixed_float16", slow("bfloat16"), slow("float16")])
def test_precisions(policy, saliency):
    keras.config.set_dtype_policy(policy)
    model = keras.Sequential([keras.Input((6,)), layers.Dense(8, name="a"), layers.Dense(4)])
    model.compile("sgd", "mse")
    x = np.full((70, 6), 300.0)  # whose squares float16 cannot hold
    report = kr.prune(model, {".*a/kernel": kr.TopK(0.5, saliency=saliency)}, x, np.ones((70, 4)))
    assert {row.sparsity for row in report.rows if "a/kernel" in row.path} == {0.5}
    kernel = to_numpy(model.layers[0].kernel.value)
    if saliency == "activation":  # whose inputs are all the same
        size = np.sort(np.abs(kernel[kernel != 0]))
        np.testing.assert_array_equal(size, np.sort(np.abs(kernel.ravel()))[24:])
    assert model.layers[0].kernel.dtype == keras.config.dtype_policy().variable_dtype


@pytest.mark.parametrize("saliency", ["activation", slow("magnitude"), slow("taylor")])
def test_a_pruned_network_is_compacted(saliency):
    x = inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(8, 3, padding="same", name="stem")(x)
    y = layers.BatchNormalization()(layers.Conv2D(8, 3, padding="same", name="branch")(x))
    x = layers.GlobalAveragePooling2D()(layers.Add()([x, layers.ReLU()(y)]))
    model = with_random_weights(keras.Model(inputs, layers.Dense(4)(x)))
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.moving_variance.assign(np.ones(8))
    model.compile("sgd", "mse")
    images = np.random.default_rng(1).normal(size=(5, 8, 8, 3)).astype("float32")
    penalty = kr.TopK(0.5, groups=kr.coupled_groups(model), saliency=saliency)
    kr.prune(model, penalty, images, np.ones((5, 4)))
    small = kr.compact(model)
    assert small.get_layer("stem").filters == small.get_layer("branch").filters == 4
    np.testing.assert_allclose(to_numpy(small(images)), to_numpy(model(images)), atol=1e-4)


def test_units_and_features_go_too():
    x, model = data()[0], two_layers()
    first, _ = (w.path for w in kernels(model).values())
    kr.prune(model, {first: kr.TopK(0.5, axis="output")})
    kr.prune(model, {first: kr.TopK(0.5, axis="input", saliency="activation")}, x)
    small = kr.compact(model, drop_inputs=True)
    assert small.layers[0].kernel.shape == (3, 4)
    [kept] = small.kept_features.values()
    np.testing.assert_allclose(to_numpy(small(x[:, kept])), to_numpy(model(x)), atol=1e-5)


def two_of_four():
    model = keras.Sequential([keras.Input((32,)), layers.Dense(64), layers.Dense(32)])
    kr.prune(model, kr.TopK(pattern="2:4"))
    return model


@pytest.mark.slow
def test_the_pattern_is_still_there_in_integers():
    model = two_of_four()
    with pytest.warns(UserWarning, match="InputLayer does not have a `quantize`"):
        model.quantize("int8")
    for layer in model.layers:
        kernel = to_numpy(layer._kernel.value)
        assert "int8" in str(layer._kernel.dtype) and np.count_nonzero(kernel)
        assert pruned.run_counts(kernel, 4, 0).max() <= 2


@pytest.mark.skipif(BACKEND != "torch", reason="the sparse tensors of PyTorch")
def test_the_pattern_is_that_of_semi_structured_tensors():
    import torch
    from torch.sparse import _semi_structured_conversions as conversions

    for layer in two_of_four().layers:
        weight = layer.kernel.value.detach().T.contiguous()  # (out, in), as in `torch.nn.Linear`
        runs = (weight != 0).reshape(-1, 4).sum(1)
        assert runs.max() <= 2
        # In half precision, as tensor cores have it.
        half = weight.to(torch.float16)
        packed, places = conversions.sparse_semi_structured_from_dense_cutlass(half)
        assert packed.shape == (half.shape[0], half.shape[1] // 2)
        again = conversions.sparse_semi_structured_to_dense_cutlass(packed, places)
        assert torch.equal(again, half)


def plain():
    return keras.Sequential([keras.Input((6,)), layers.Dense(4, name="a")])


ACTIVATION, TAYLOR = (kr.TopK(0.5, saliency=s) for s in ("activation", "taylor"))
X = np.ones((8, 6), "float32")
REFUSED = [
    (kr.L1(0.1), {}, "`constraint`. Expected a constraint.*L1"),
    ({".*": keras.regularizers.L1(0.1)}, {}, "`constraint`. Expected a constraint"),
    (0.5, {}, "`constraint`. Expected a constraint"),
    ({}, {}, "`constraint`. Expected a penalty, or a dict"),
    ({"(": kr.TopK(0.5)}, {}, "`constraint`. Expected a regular expression"),
    ({"b/kernel": kr.TopK(0.5)}, {}, "`constraint`. Expected patterns that match"),
    (kr.TopK(0.5, saliency="metric"), {}, "`constraint`.*step of an optimizer"),
    (kr.TopK(0.5, axis="heads"), {}, "`axis` of TopK on weight"),
    (kr.TopK(0.5, axis=3), {}, "`axis` of TopK on weight"),
    (kr.TopK(0.5), {"batch_size": 0}, "`batch_size`"),
    (ACTIVATION, {}, "`x`. Expected inputs"),
    (ACTIVATION, {"x": X[:0]}, "`x`. Expected arrays of some samples"),
    (ACTIVATION, {"x": [1.0, 2.0]}, "`x`. Expected arrays with one entry"),
    (ACTIVATION, {"x": 1.0}, "`x`. Expected arrays with one entry"),
    (ACTIVATION, {"x": iter(())}, "`x`. Expected data with at least one batch"),
    (ACTIVATION, {"x": iter([X]), "y": X}, "`y`. Expected None"),
    (TAYLOR, {"x": X}, "`y`. Expected targets"),
    (TAYLOR, {"x": iter([X])}, "`y`. Expected targets"),
    (TAYLOR, {"x": X, "y": X[:3]}, "`y`. Expected arrays of 8 samples"),
]


@pytest.mark.fast_cases(7)
@pytest.mark.parametrize(("constraint", "arguments", "words"), REFUSED)
def test_what_cannot_be_done_is_said_before_anything_changes(constraint, arguments, words):
    model = plain()
    model.compile("sgd", "mse")
    before = model.get_weights()
    with pytest.raises(ValueError, match=words):
        kr.prune(model, constraint, **arguments)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_models_that_cannot_be_pruned():
    with pytest.raises(ValueError, match="`model`. Expected a Keras model"):
        kr.prune(layers.Dense(3), kr.TopK(0.5))
    with pytest.raises(ValueError, match="`model`. Expected a built model"):
        kr.prune(keras.Sequential([layers.Dense(3)]), kr.TopK(0.5))
    with pytest.raises(ValueError, match="`model`. Expected a model compiled with a loss"):
        kr.prune(plain(), TAYLOR, X, np.ones((8, 4)))
    frozen = plain()
    frozen.trainable = False
    with pytest.raises(ValueError, match="`constraint`. Expected a weight to act on"):
        kr.prune(frozen, kr.TopK(0.5))


def test_it_warns_as_proximal_does():
    with pytest.warns(UserWarning, match="would leave none"):
        kr.prune(plain(), kr.TopK(0.9, axis="output"))
    model = keras.Sequential([keras.Input((6,)), layers.Dense(4), layers.Dense(4, name="small")])
    model.layers[1].kernel.assign(np.eye(4) * 1e-3)
    with pytest.warns(UserWarning, match="dropped all of `.*small"):
        model.layers[0].kernel.assign(np.ones((6, 4)))
        kr.prune(model, kr.TopK(0.9, scope="global", saliency="activation"), X)
