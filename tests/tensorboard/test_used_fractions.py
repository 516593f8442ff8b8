"""Fractions of blocks that are not zero, against a loop over the blocks."""

import keras
import numpy as np
import pytest
from backends import BACKEND
from processes import in_process

from kerasreg.tensorboard import used_fractions as module

# Shapes and blocks: whole and cut ones, one line or column, more rows than a byte counts.
CASES = [
    ((6, 8), (2, 4)),
    ((7, 5), (3, 2)),
    ((7, 5), (1, 5)),
    ((1, 9), (1, 4)),
    ((9, 1), (4, 1)),
    ((4, 4), (1, 1)),
    ((2, 2), (3, 3)),
    ((700, 3), (300, 2)),
    ((80_000, 2), (70_000, 1)),
]
DTYPES = ["float32", "float16", "bfloat16", "int8", *["float64"] * (BACKEND != "jax")]


def matrix(shape, dtype="float32", zeros=0.6):
    rng = np.random.default_rng(0)
    values = rng.choice([-3, 1, 2], size=shape).astype("float64")
    values[rng.random(shape) < zeros] = 0
    return keras.ops.cast(values, dtype), values


def reference(values, block):
    rows = range(0, values.shape[0], block[0])
    columns = range(0, values.shape[1], block[1])
    return [
        [np.mean(values[r : r + block[0], c : c + block[1]] != 0) for c in columns] for r in rows
    ]


@pytest.fixture(params=["host", "device"])
def place(request, monkeypatch):
    other = {"host": "count_on_device", "device": "count_on_host"}[request.param]
    monkeypatch.setattr(module, other, None)
    monkeypatch.setattr(module, "_is_on_host", lambda _: request.param == "host")
    return request.param


@pytest.mark.parametrize("shape, block", CASES)
@pytest.mark.parametrize("piece", [1, 1 << 17])
def test_blocks(place, monkeypatch, shape, block, piece):
    monkeypatch.setattr(module, "PIECE_SIZE", piece)
    for zeros in (0.0, 0.6, 1.0):
        tensor, values = matrix(shape, zeros=zeros)
        found = module.used_fractions(tensor, block)
        np.testing.assert_allclose(found, reference(values, block), rtol=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes(place, dtype):
    tensor, values = matrix((7, 5), dtype)
    found = module.used_fractions(tensor, (3, 2))
    np.testing.assert_allclose(found, reference(values, (3, 2)), rtol=1e-12)


def test_only_exact_zeros_count(place):
    values = np.array([[0.0, -0.0, np.nan, np.inf, -1e-30]], dtype="float32")
    found = module.used_fractions(keras.ops.convert_to_tensor(values), (1, 1))
    np.testing.assert_array_equal(found, [[0, 0, 1, 1, 1]])


def test_variables_of_this_machine_are_read_on_the_host(monkeypatch):
    monkeypatch.setattr(module, "count_on_device", None)
    variable = keras.Variable(np.eye(3))
    np.testing.assert_array_equal(module.used_fractions(variable, (1, 1)), np.eye(3))


def test_a_large_weight_needs_little_memory_beside_it():
    import tracemalloc

    variable = keras.Variable(np.eye(2048, dtype="float32"))
    module.used_fractions(variable, (8, 8))
    tracemalloc.start()
    module.used_fractions(variable, (8, 8))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4e6


SHARDED = """
    import keras
    import numpy as np
    from kerasreg.tensorboard import used_fractions as module

    distribution = keras.distribution
    mesh = distribution.DeviceMesh((4,), ["model"], distribution.list_devices())
    layouts = distribution.LayoutMap(mesh)
    layouts[".*kernel"] = ("model", None)
    distribution.set_distribution(distribution.ModelParallel(layout_map=layouts))
    layer = keras.layers.Dense(6)
    layer.build((8,))
    layer.kernel.assign(np.tri(8, 6))
    assert not layer.kernel.value.is_fully_replicated and len(layer.kernel.value.devices()) == 4
    module.count_on_host = None
    expected = np.tri(8, 6).reshape(4, 2, 2, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(module.used_fractions(layer.kernel, (2, 3)), expected)
"""


@pytest.mark.skipif(BACKEND != "jax", reason="Keras shards weights on JAX")
def test_a_weight_that_is_spread_over_devices_is_counted_there():
    in_process(SHARDED, XLA_FLAGS="--xla_force_host_platform_device_count=4")
