"""TopK over units, blocks, runs and groups within `Proximal`: exactly the number asked."""

import itertools

import keras
import numpy as np
import pytest
from helpers import pruned
from helpers.backends import JIT_COMPILE, to_numpy
from helpers.marks import first_is_fast, slow
from keras import layers, optimizers

import kerasreg as kr

PATHS, SIZES = ["a/kernel", "b/kernel"], [(6, 8), (8, 4)]
GROUPS = kr.Groups.from_labels([("a/kernel", 1, 8), ("b/kernel", 0, 8)])
SCHEDULE = {"initial_sparsity": 0.25, "end_step": 6, "frequency": 2}
STRUCTURES = {
    "units": {"axis": -1, "sparsity": 0.5},
    "inputs of all": {"axis": 0, "sparsity": 0.5, "scope": "global"},
    "blocks": {"block": (4, 1), "sparsity": 0.75},
    "2:4": {"pattern": "2:4"},
    "groups": {"groups": GROUPS, "sparsity": 0.5},
    "by taylor": {"axis": -1, "sparsity": 0.5, "saliency": "taylor"},
}
OPTIMIZERS = {
    "Adam": lambda: optimizers.Adam(0.01),
    "Lion": lambda: optimizers.Lion(0.01),
    "Muon": lambda: optimizers.Muon(0.01),
    "Ftrl": lambda: optimizers.Ftrl(0.05),
    "SGD": lambda: optimizers.SGD(0.05, momentum=0.9),
}
# Each structure and each optimizer, and in CI each with each.
PAIRS = [
    pair if i < len(STRUCTURES) else slow(*pair)
    for i, pair in enumerate(
        sorted(
            itertools.product(STRUCTURES, OPTIMIZERS),
            key=lambda pair: list(STRUCTURES).index(pair[0]) % 5 != list(OPTIMIZERS).index(pair[1]),
        )
    )
]


def variables(seed=0, ties=False):
    rng = np.random.default_rng(seed)
    values = [np.ones(s) if ties else rng.normal(size=s) for s in SIZES]
    result = []
    for value, path in zip(values, PATHS, strict=True):
        with keras.name_scope(path.split("/")[0]):
            result.append(keras.Variable(value.astype("float32"), name="kernel"))
    assert [v.path for v in result] == PATHS
    return result


def norms(name, arrays):
    """The norms of the units, pool by pool."""
    structure = STRUCTURES[name]
    if name == "groups":
        return [pruned.group_norms(GROUPS, arrays, PATHS)]
    if name == "blocks":
        return [pruned.block_norms(w, structure["block"]) for w in arrays]
    each = [pruned.slice_norms(w, [structure["axis"]]) for w in arrays]
    return [np.concatenate(each)] if structure.get("scope") == "global" else each


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(("name", "inner"), PAIRS)
def test_exactly_the_number_asked_after_every_choice(name, inner):
    penalty = kr.TopK(**STRUCTURES[name], **SCHEDULE)
    weights = variables(ties=inner == "Lion")
    optimizer = kr.Proximal(OPTIMIZERS[inner](), penalty)
    rng = np.random.default_rng(1)
    last = None
    for count in range(1, 10):
        grads = [rng.normal(size=s).astype("float32") for s in SIZES]
        optimizer.apply([keras.ops.convert_to_tensor(g) for g in grads], weights)
        arrays = [to_numpy(w.value) for w in weights]
        chosen = count % 2 or count == 6
        if last is not None and (not chosen or count > 6):
            for w, before in zip(arrays, last, strict=True):
                np.testing.assert_array_equal(w == 0, before == 0)
        last = arrays
        # The choice is of the first, third, fifth or, with the end of the schedule, sixth update.
        rest = (1 - [1, 1, 3, 3, 5, 6, 6, 6, 6][count - 1] / 6) ** 3
        if name == "2:4":
            kept = 2 + round((3 - 2) * rest)
            for w in arrays:
                lengths = pruned.run_counts(np.ones(w.shape), 4, 0)
                np.testing.assert_array_equal(pruned.run_counts(w, 4, 0), np.minimum(lengths, kept))
            continue
        for units in norms(name, arrays):
            first, end = (pruned.share(units.size, s) for s in (0.25, penalty.sparsity))
            assert np.count_nonzero(units) == end + round((first - end) * rest)


@pytest.mark.parametrize("name", first_is_fast([n for n in STRUCTURES if n != "2:4"]))
def test_a_choice_is_that_of_the_largest_units(name):
    penalty = kr.TopK(**STRUCTURES[name])
    weights = variables()
    before = [to_numpy(w.value) for w in weights]
    grads = [np.full(s, 1e-3, "float32") for s in SIZES]
    optimizer = kr.Proximal(optimizers.SGD(1e-3), penalty)
    optimizer.apply([keras.ops.convert_to_tensor(g) for g in grads], weights)
    sizes = before
    if name == "inputs of all":  # relative to the weight, and by the size of a unit
        sizes = [w / np.sqrt(np.mean(w**2) * w.shape[1]) for w in before]
    after = [to_numpy(w.value) for w in weights]
    for large, left in zip(norms(name, sizes), norms(name, after), strict=True):
        kept = left > 0
        assert large[kept].min() > large[~kept].max()


def network(seed=0):
    keras.utils.set_random_seed(seed)
    x = inputs = keras.Input((6,))
    x = layers.Dense(8, "relu", name="first")(x)
    x = layers.Add()([x, layers.Dense(8, "relu", name="branch")(x)])
    return keras.Model(inputs, layers.Dense(2, name="last")(x))


def problem():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 6)).astype("float32")
    return x, (x @ rng.normal(size=(6, 2))).astype("float32")


SHAPED = {
    "groups": lambda model: kr.TopK(0.5, groups=kr.coupled_groups(model), **SCHEDULE),
    "2:4": lambda model: kr.TopK(pattern="2:4", **SCHEDULE),
    "units by taylor": lambda model: kr.TopK(
        0.5, axis="output", saliency="taylor", scope="global", cost="macs", **SCHEDULE
    ),
    "blocks": lambda model: kr.TopK(0.5, block=(2, 2), **SCHEDULE),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", first_is_fast([*SHAPED]))
def test_a_training_that_is_saved_and_resumed_goes_on_as_it_was(name, tmp_path):
    x, y = problem()

    def trained(model, epochs):
        model.fit(x, y, batch_size=16, epochs=epochs, shuffle=False, verbose=0)
        return model

    def compiled(model):
        optimizer = kr.Proximal(optimizers.Adam(0.01), SHAPED[name](model), model=model)
        model.compile(optimizer, "mse")
        return model

    whole = trained(compiled(network()), 4)
    half = trained(compiled(network()), 1)  # in the middle of the schedule
    half.save(tmp_path / "half.keras")
    loaded = keras.saving.load_model(tmp_path / "half.keras")
    assert loaded.optimizer.penalty == half.optimizer.penalty
    trained(loaded, 3)
    for a, b in zip(whole.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(to_numpy(a.value), to_numpy(b.value))


@pytest.mark.parametrize("jit_compile", first_is_fast(JIT_COMPILE))
@pytest.mark.parametrize("policy", ["float32", slow("mixed_float16"), slow("bfloat16")])
def test_half_of_a_stream_goes_by_one_line(jit_compile, policy):
    keras.config.set_dtype_policy(policy)
    try:
        model, (x, y) = network(), problem()
        penalty = kr.TopK(0.5, groups=kr.coupled_groups(model))
        model.compile(kr.Proximal(optimizers.Adam(0.01), penalty), "mse", jit_compile=jit_compile)
        model.fit(x, y, epochs=3, verbose=0)
        small = kr.compact(model)
        assert {layer.name: layer.units for layer in small.layers if hasattr(layer, "units")} == {
            "first": 4,
            "branch": 4,
            "last": 2,
        }
    finally:
        keras.config.set_dtype_policy("float32")


def convolutional():
    return keras.Sequential(
        [
            keras.Input((9, 9, 8)),
            layers.Conv2D(8, 3, name="convolution"),
            layers.Conv2DTranspose(6, 3, name="transposed"),
            layers.GlobalAveragePooling2D(),
            layers.Reshape((1, 6)),
            layers.Dense(8),
            layers.GRU(5, name="recurrent"),
        ]
    )


def attention():
    x = inputs = keras.Input((5, 8))
    x = layers.MultiHeadAttention(2, 4, name="attention")(x, x)
    return keras.Model(inputs, layers.Dense(3)(x))


@pytest.mark.parametrize("make", [convolutional, attention])
def test_runs_lie_along_the_axis_that_a_layer_sums_over(make):
    model = make()
    optimizer = kr.Proximal(optimizers.SGD(0.0), kr.TopK(pattern="2:4"), model=model)
    kernels = [w for w in model.trainable_variables if len(w.shape) > 1 and "bias" not in w.name]
    grads = [keras.ops.ones_like(w.value) for w in kernels]
    optimizer.apply(grads, kernels)
    axes = {"transposed/kernel": -1, "query/kernel": 0, "key/kernel": 0, "value/kernel": 0}
    for w in kernels:
        axis = next((a for end, a in axes.items() if w.path.endswith(end)), -2)
        counts = pruned.run_counts(to_numpy(w.value), 4, axis)
        assert counts.max() == 2 and (counts == np.minimum(w.shape[axis] % 4 or 4, 2)).any(), w.path


def test_heads_go_as_a_whole():
    model = attention()
    kernels = [w for w in model.trainable_variables if "attention" in w.path and "kernel" in w.name]
    penalty = {".*attention.*kernel": kr.TopK(0.5, axis="heads")}
    optimizer = kr.Proximal(optimizers.SGD(0.0), penalty, model=model)
    optimizer.apply([keras.ops.ones_like(w.value) for w in kernels], kernels)
    for w in kernels:
        axis = 0 if "output" in w.path else 1
        assert np.count_nonzero(pruned.slice_norms(to_numpy(w.value), [axis])) == 1


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("cost", ["parameters", "macs"])
def test_units_are_compared_by_what_they_cost(cost):
    # Filters at 49 positions and as large as units of as many weights: by multiply-adds they go.
    model = keras.Sequential(
        [
            keras.Input((9, 9, 1)),
            layers.Conv2D(4, 3, name="filters"),
            layers.Flatten(),
            layers.Dense(4, name="units"),
        ]
    )
    rng = np.random.default_rng(0)
    for w in model.weights:
        w.assign(rng.normal(size=w.shape) if len(w.shape) > 1 else np.zeros(w.shape))
    penalty = kr.TopK(0.5, axis="output", scope="global", cost=cost)
    optimizer = kr.Proximal(optimizers.SGD(0.0), penalty, model=model)
    kernels = [layer.kernel for layer in (model.get_layer("filters"), model.get_layer("units"))]
    optimizer.apply([keras.ops.ones_like(w.value) for w in kernels], kernels)
    alive = [np.count_nonzero(pruned.slice_norms(to_numpy(w.value), [-1])) for w in kernels]
    assert sum(alive) == 4
    if cost == "macs":
        assert alive == [1, 3]  # One of each weight stays, or else the network would be cut.
    sizes = [to_numpy(w.value) for w in kernels]
    assert all(np.count_nonzero(size) for size in sizes)


def test_what_the_loss_does_not_need_goes_by_taylor():
    weights = variables()
    penalty = kr.TopK(0.5, axis=-1, saliency="taylor", begin_step=4, frequency=3)
    optimizer = kr.Proximal(optimizers.SGD(1e-3), {"a/.*": penalty})
    weights[0].assign(np.ones(SIZES[0]) * np.arange(8, 0, -1))  # The first are the largest,
    grads = np.zeros(SIZES[0], "float32")
    grads[:, 4:] = 1.0  # and the last matter.
    for _ in range(5):
        optimizer.apply([keras.ops.convert_to_tensor(grads)], weights[:1])
    alive = pruned.slice_norms(to_numpy(weights[0].value), [-1]) > 0
    np.testing.assert_array_equal(alive, [False] * 4 + [True] * 4)


@pytest.mark.parametrize("steps", [None, 2])
def test_the_average_is_of_weights_times_gradients_of_updates(steps):
    weights, rng = variables()[:1], np.random.default_rng(3)
    inner = optimizers.SGD(0.1, gradient_accumulation_steps=steps)
    penalty = kr.TopK(0.0, saliency="taylor", begin_step=100, frequency=3)
    optimizer = kr.Proximal(inner, penalty)
    expected, w, count = np.zeros(SIZES[0]), to_numpy(weights[0].value), 0
    for _ in range(5):
        parts = [rng.normal(size=SIZES[0]) for _ in range(steps or 1)]
        for part in parts:
            optimizer.apply([keras.ops.convert_to_tensor(part.astype("float32"))], weights)
        grad, count = np.mean(parts, axis=0), count + 1
        expected += max(1 / count, 1 / 3) * (np.abs(w * grad) - expected)
        w = w - 0.1 * grad
    [average] = [v for v in optimizer.variables if "average" in v.name and v.shape == SIZES[0]]
    np.testing.assert_allclose(to_numpy(average.value), expected, rtol=1e-4)


def test_what_is_in_no_group_is_left_alone():
    weights = variables()
    groups = kr.Groups.from_labels([("a/kernel", 1, [0, 1, 2, 3, -1, -1, -1, -1])])
    weights[0].assign(np.where(np.arange(8) == 5, 0.0, to_numpy(weights[0].value)))
    optimizer = kr.Proximal(optimizers.SGD(1.0), kr.TopK(0.5, groups=groups, frequency=1))
    for _ in range(2):
        optimizer.apply([keras.ops.ones(SIZES[0])], weights[:1])
    alive = pruned.slice_norms(to_numpy(weights[0].value), [-1]) > 0
    assert alive[4:].all() and np.count_nonzero(alive[:4]) == 2


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(("scope", "alive"), [("weight", [4, 2]), ("global", [2, 4])])
def test_groups_of_the_same_weights_compete_with_each_other(scope, alive):
    weights = variables()
    for w, size in zip(weights, ([1e-3] * 8, [1.0] * 4), strict=True):
        w.assign(np.ones(w.shape) * np.array(size))
    groups = kr.Groups.from_labels([("a/kernel", 1, 8), ("b/kernel", 1, [8, 9, 10, 11])])
    penalty = kr.TopK(0.5, groups=groups, scope=scope, saliency="metric")
    optimizer = kr.Proximal(optimizers.SGD(1e-6), penalty)
    optimizer.apply([keras.ops.ones_like(w.value) for w in weights], weights)
    found = [np.count_nonzero(pruned.slice_norms(to_numpy(w.value), [1])) for w in weights]
    assert found == alive


def test_blocks_of_all_weights_compete_by_what_they_cost():
    weights = variables()
    for w in weights:  # A block at the rim has half of the weights, and is as good for its size.
        w.assign(np.ones(w.shape) * np.where(np.arange(w.shape[0]) < 4, 1.0, 2.0)[:, None])
    penalty = kr.TopK(0.5, block=(4, 1), scope="global", saliency="metric")
    optimizer = kr.Proximal(optimizers.SGD(1e-6), penalty)
    optimizer.apply([keras.ops.ones_like(w.value) for w in weights], weights)
    for w in weights:
        alive = to_numpy(w.value) != 0
        assert alive[4:].all() and not alive[:4].any()


REFUSED = [
    (lambda model: kr.TopK(0.5, saliency="activation"), {}, "`penalty`.*kerasreg.prune"),
    (lambda model: kr.TopK(0.5, axis="output"), {}, "`axis` of TopK.*model=model"),
    (lambda model: kr.TopK(0.5, axis="heads"), {"model": True}, "`axis` of TopK on weight"),
    (lambda model: kr.TopK(0.5, scope="global", cost="macs"), {}, "`cost` of TopK.*model=model"),
    (lambda model: kr.TopK(0.5, groups=GROUPS), {}, "a/kernel"),
]


@pytest.mark.parametrize(("make", "arguments", "words"), REFUSED)
def test_what_cannot_be_done_is_said(make, arguments, words):
    model = network()
    arguments = {"model": model} if arguments else {}
    with pytest.raises(ValueError, match=words):
        optimizer = kr.Proximal("adam", make(model), **arguments)
        optimizer.build(model.trainable_variables)


def test_a_depthwise_kernel_has_no_axis_for_runs():
    model = keras.Sequential([keras.Input((5, 5, 4)), layers.DepthwiseConv2D(3, name="depthwise")])
    with pytest.raises(ValueError, match="`pattern` of TopK on weight `.*depthwise"):
        kr.Proximal("adam", kr.TopK(pattern="2:4"), model=model)
