"""Weights that Keras has rewritten are counted as their layers compute with them."""

import keras
import numpy as np
import pytest
from helpers.backends import BACKEND, to_numpy
from helpers.event_files import read
from helpers.marks import first_is_fast
from keras import layers, ops

import kerasreg as kr
from kerasreg.statistics.weights import find_weights

INPUTS, UNITS = 12, 7


def of_dense(layer):
    return layer(np.eye(INPUTS, dtype="float32"))


def of_einsum(layer):
    eye = np.eye(INPUTS, dtype="float32")
    return ops.reshape(layer(ops.reshape(eye, (1, INPUTS, INPUTS))), (INPUTS, UNITS, 2))


def of_embedding(layer):
    return layer(np.arange(INPUTS))


# The layer, the shape of its input, its kernel's name and the kernel by the layer's own forward.
LAYERS = {
    "Dense": (lambda: layers.Dense(UNITS, use_bias=False), (INPUTS,), "kernel", of_dense),
    "EinsumDense": (
        lambda: layers.EinsumDense("abc,cde->abde", (None, UNITS, 2)),
        (5, INPUTS),
        "kernel",
        of_einsum,
    ),
    "Embedding": (lambda: layers.Embedding(INPUTS, UNITS), (3,), "embeddings", of_embedding),
    "ReversibleEmbedding": (
        lambda: layers.ReversibleEmbedding(INPUTS, UNITS, tie_weights=False),
        (3,),
        "embeddings",
        of_embedding,
    ),
}
MODES = {
    "lora": lambda layer: layer.enable_lora(2),
    "int8": lambda layer: layer.quantize("int8"),
    "int4": lambda layer: layer.quantize("int4"),
    "int4 groups": lambda layer: layer.quantize(
        "int4", config=keras.quantizers.Int4QuantizationConfig(block_size=4)
    ),
    "float8": lambda layer: layer.quantize("float8"),
    "int8 lora": lambda layer: (layer.quantize("int8"), layer.enable_lora(2)),
    "int4 lora": lambda layer: (layer.quantize("int4"), layer.enable_lora(2)),
}


def rewritten(name, mode):
    """A model of one layer, with zeros, that Keras has rewritten."""
    keras.utils.set_random_seed(1)
    make, shape, stem, forward = LAYERS[name]
    dtype = "int32" if "Embedding" in name else "float32"
    model = keras.Sequential([keras.Input(shape, dtype=dtype), make()])
    (layer,) = model.layers
    kernel = getattr(layer, stem)
    w = np.random.default_rng(0).normal(size=kernel.shape)
    w[np.abs(w) < 0.5] = 0
    w[:, 1] = 0
    kernel.assign(w)
    MODES[mode](layer)
    for v in layer.variables:
        if v.name.startswith("lora"):
            values = np.random.default_rng(1).normal(size=v.shape)
            v.assign(np.where(np.arange(v.shape[-1]) % 3 == 1, 0, values))  # some columns are zero
    return model, layer, stem, forward


@pytest.mark.parametrize("mode", first_is_fast(MODES))
@pytest.mark.parametrize("name", LAYERS)
def test_as_the_layer_computes_with_it(name, mode):
    if "Embedding" in name and mode == "float8":
        pytest.skip("Keras has no float8 for embeddings")
    model, layer, stem, forward = rewritten(name, mode)
    rows = find_weights(model)
    (weight,) = (row for row in rows if row.variable.path.endswith(f"/{stem}"))
    w, computed = to_numpy(weight.variable.value), to_numpy(forward(layer))
    # float8 and the inputs of int8 are rounded once more in the forward pass.
    np.testing.assert_allclose(w, computed, rtol=0.07 if mode == "float8" else 1e-5, atol=1e-6)
    np.testing.assert_array_equal(w == 0, np.abs(computed) < 1e-9)
    report = kr.sparsity_report(model)
    (row,) = (row for row in report.rows if row.path == weight.variable.path)
    assert (row.shape, row.zeros) == (computed.shape, np.sum(w == 0))
    factors = {f"lora_{stem}_{which}" for which in "ab"} if "lora" in mode else set()
    reverse = {"reverse_embeddings"} if name == "ReversibleEmbedding" else set()
    assert {r.path.split("/")[-1] for r in report.rows} == {stem} | factors | reverse
    counted = [r for r in report.rows if "lora" not in r.path]
    assert report.total.parameters == sum(r.parameters for r in counted)
    assert report.total.zeros == sum(r.zeros for r in counted)


def test_packed_bytes_are_not_weights():
    """Two weights share a byte, of which few are zero."""
    layer = layers.Dense(8, use_bias=False)
    model = keras.Sequential([keras.Input((16,)), layer])
    w = np.random.default_rng(0).normal(size=(16, 8))
    w[np.abs(w) < 1.2] = 0
    layer.kernel.assign(w)
    layer.quantize("int4", config=keras.quantizers.Int4QuantizationConfig(block_size=-1))
    report = kr.sparsity_report(model)
    assert (report.total.parameters, report.total.zeros) == (128, np.sum(w == 0))
    assert report.total.units == 8


@pytest.mark.parametrize(
    ("mode", "config"),
    [("gptq", {"weight_bits": 4}), ("gptq", {"weight_bits": 8}), ("awq", {})],
)
def test_calibrated(mode, config):
    layer = layers.Dense(UNITS, use_bias=False)
    model = keras.Sequential([keras.Input((INPUTS,)), layer])
    make = {"gptq": keras.quantizers.GPTQConfig, "awq": keras.quantizers.AWQConfig}[mode]
    before = kr.sparsity_report(model).total
    layer.quantize(mode, config=make(dataset=None, tokenizer=None, group_size=4, **config))
    assert kr.sparsity_report(model).total == before  # not yet calibrated
    rng = np.random.default_rng(0)
    layer.quantized_kernel.assign(rng.integers(0, 200, layer.quantized_kernel.shape))
    layer.kernel_scale.assign(rng.uniform(0.5, 1, layer.kernel_scale.shape))
    layer.kernel_zero.assign(rng.integers(0, 15, layer.kernel_zero.shape))
    layer.g_idx.assign(np.arange(INPUTS) // 4)
    if mode == "awq":
        layer.awq_scales.assign(rng.uniform(0.5, 2, INPUTS))
    layer._tracker.unlock()  # as Keras's calibration does
    del layer._kernel
    setattr(layer, f"is_{mode}_calibrated", True)
    (weight,) = find_weights(model)
    np.testing.assert_allclose(to_numpy(weight.variable.value), to_numpy(of_dense(layer)), 1e-5)


@pytest.mark.skipif(BACKEND == "torch", reason="PyTorch's float8 needs a GPU")
def test_the_log_of_a_float8_model_has_its_weights_only(tmp_path):
    model = keras.Sequential([keras.Input((16,)), layers.Dense(16, name="a")])
    model.layers[0].quantize("float8")
    model.compile("sgd", "mse")
    logger = kr.RegularizationLogger(tmp_path, verbose=0)
    model.fit(np.ones((16, 16)), np.ones((16, 16)), verbose=0, callbacks=[logger])
    tags = {tag for tag in read(tmp_path) if tag.startswith("sparsity/")}
    assert tags == {"sparsity/a/kernel", "sparsity/a/bias"}


def test_the_log_of_a_model_with_lora(tmp_path):
    layer = layers.Dense(3, name="a", kernel_regularizer=kr.L1(0.1))
    model = keras.Sequential([keras.Input((4,)), layer])
    layer.kernel.assign(np.tile([[0.0, 1.0, 2.0]], (4, 1)))
    layer.enable_lora(2)
    model.compile("sgd", "mse")
    logger = kr.RegularizationLogger(tmp_path, verbose=0)
    model.fit(np.ones((8, 4)), np.ones((8, 3)), verbose=0, callbacks=[logger])
    log = read(tmp_path)
    w, a, b = (to_numpy(v) for v in (layer.kernel, layer.lora_kernel_a, layer.lora_kernel_b))
    assert log["sparsity/a/kernel"][-1][1] == pytest.approx(np.mean(w == 0))
    assert log["l1_norm/a/kernel"][-1][1] == pytest.approx(np.abs(w).sum(), rel=1e-5)
    assert log["l1_norm/a/lora_kernel_a"][-1][1] == pytest.approx(np.abs(a).sum(), rel=1e-5)
    total = np.abs(w).sum() + np.abs(to_numpy(layer.bias)).sum()
    assert log["all/l1_norm"][-1][1] == pytest.approx(total, rel=1e-5)
    penalty = 0.1 * (np.abs(a).sum() + np.abs(b).sum())  # the kernel itself is frozen
    assert log["all/regularization_loss"][-1][1] == pytest.approx(penalty, rel=1e-5)


def normed():
    made = [layers.Dense(3, name="a"), layers.BatchNormalization(name="norm"), kr.Dropout(0.5)]
    return keras.Sequential([keras.Input((4,)), *made])


def names(model, pattern=None):
    return ["/".join(w.variable.path.split("/")[-2:]) for w in find_weights(model, pattern)]


STATE = ["norm/moving_mean", "norm/moving_variance"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (None, ["a/kernel", "a/bias", "norm/gamma", "norm/beta"]),
        ("norm/", ["norm/gamma", "norm/beta"]),
        ("moving", STATE),
        ("moving_mean", STATE[:1]),
        ("gamma|moving_mean", ["norm/gamma", STATE[0]]),
        ("kernel|moving", ["a/kernel", *STATE]),
        ("norm/.*", ["norm/gamma", "norm/beta", *STATE]),
    ],
)
def test_what_is_never_trained_has_a_row_where_it_is_named(pattern, expected):
    assert names(normed(), pattern) == expected


def test_a_fresh_normalisation_is_not_half_zero():
    model = keras.Sequential([keras.Input((4,)), layers.BatchNormalization(center=False)])
    assert kr.sparsity_report(model).total.sparsity == 0


def test_frozen_weights_have_rows():
    model = normed()
    model.trainable = False
    assert names(model) == ["a/kernel", "a/bias", "norm/gamma", "norm/beta"]


def test_kernel_does_not_mean_the_scale_beside_it():
    layer = layers.Dense(3, name="a")
    model = keras.Sequential([keras.Input((4,)), layer])
    layer.quantize("int8")
    assert names(model, "kernel") == ["a/kernel"]
    assert names(model, "kernel_scale") == ["a/kernel_scale"]
