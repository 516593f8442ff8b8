"""One program for all weights: compiled once, with one small array as its result."""

from pathlib import Path

import keras
import numpy as np
import pytest
from helpers.backends import BACKEND, to_numpy
from helpers.processes import in_process

import kerasreg as kr
from kerasreg.statistics.device import DeviceStatistics, fused_reduction
from kerasreg.statistics.device.columns import DIGIT_BITS, LENGTH
from kerasreg.statistics.weights import Weight

pytestmark = pytest.mark.skipif(BACKEND == "torch", reason="PyTorch runs each operation by itself")


def many_weights():
    """Many small tensors, and a large one."""
    rng = np.random.default_rng(0)
    shapes = [((64,), None), ((70,), None), ((3, 3, 4, 8), (3,)), ((20, 10), (1,))]
    cases = [shapes[i % 4] for i in range(80)] + [((300, 301), (1,))]
    return [
        Weight(keras.Variable(rng.normal(size=shape).astype("float32")), "w", axes)
        for shape, axes in cases
    ]


@pytest.mark.slow
def test_many_weights_are_few_blocks_and_compiled_once(monkeypatch):
    traced = []

    def block_columns(values, block, *args):
        traced.append(block)
        return fused_reduction.block_columns(values, block, *args)

    monkeypatch.setattr("kerasreg.statistics.device.compiled.block_columns", block_columns)
    weights = many_weights()
    weights[-1].variable.regularizer = kr.GroupLasso(0.1)
    measure = DeviceStatistics(weights, 0.1, histograms=False)
    assert len(measure._reduction._blocks) == 5
    measure()()
    assert traced == measure._reduction._blocks
    for _ in range(2):
        weights[0].variable.assign(weights[0].variable.value * 2)
        measured = measure()()
    assert len(traced) == 5
    for weight, statistics in zip(weights, measured.statistics, strict=True):
        w = to_numpy(weight.variable.value)
        assert statistics.l1_norm == pytest.approx(np.abs(w).sum(), rel=1e-6)
        assert statistics.near_zeros == np.sum(np.abs(w) < 0.1)


def test_counts_beyond_what_an_integer_holds():
    counts = keras.ops.convert_to_tensor(np.full((1, 7), 2**30 + 12345), dtype="int32")
    high, low = to_numpy(fused_reduction._digits(counts))[0]
    assert high * 2**DIGIT_BITS + low == 7 * (2**30 + 12345) > 2**32


@pytest.mark.skipif(BACKEND != "jax", reason="JAX can forbid transfers")
def test_nothing_but_the_result_leaves_the_device():
    import jax

    weights = many_weights()
    measure = DeviceStatistics(weights, 0.1, histograms=False)
    measure()()
    with jax.transfer_guard("disallow"):
        fetch = measure()
        measured = fetch()  # explicitly: that is allowed
    assert len(measured.statistics) == len(weights)
    values = measure._values()
    vector, exponents = jax.eval_shape(
        measure._reduction._program, values, [], measure._reduction._exponents
    )
    assert vector.shape == (len(weights) * LENGTH,) and exponents.shape == (len(weights),)


@pytest.mark.skipif(BACKEND != "jax", reason="Only JAX donates")
def test_weights_that_are_donated_afterwards():
    import jax

    (weight,) = many_weights()[-1:]
    w = to_numpy(weight.variable.value)
    measure = DeviceStatistics([weight], 0.1, histograms=False)
    measure()()
    fetch = measure()
    value = weight.variable.value
    weight.variable.assign(jax.jit(lambda x: x + 1, donate_argnums=0)(value))
    assert value.is_deleted()
    assert fetch().statistics[0].l1_norm == pytest.approx(np.abs(w).sum(), rel=1e-6)


SHARDED = r"""
    import re, sys
    sys.path.insert(0, sys.argv[1])
    import jax, keras
    import numpy as np
    from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
    from kerasreg.statistics.device import DeviceStatistics
    from kerasreg.statistics.weights import Weight
    from test_device_statistics import check

    mesh = Mesh(np.array(jax.devices()).reshape(2, 2), ("a", "b"))
    cases = [
        ((512, 256), (1,), P(None, "b")),
        ((512, 256), (1,), P("b", None)),
        ((512, 256), (1,), P("a", "b")),
        ((3, 3, 256, 128), (3,), P(None, None, "b", "a")),
        ((2 * 997, 128), (1,), P("b", None)),  # each part has a prime number of rows
        ((1 << 17,), None, P(("a", "b"))),
        ((64,), None, P("a")),
        ((16, 8), (1,), P()),
    ]
    rng, weights = np.random.default_rng(0), []
    for shape, axes, spec in cases:
        w = rng.normal(size=shape).astype("float32")
        w[np.abs(w) < 0.5] = 0
        variable = keras.Variable(w)
        variable._value = jax.device_put(w, NamedSharding(mesh, spec))
        weights.append(Weight(variable, "w", axes))
    measure = DeviceStatistics(weights, 0.7, histograms=True)
    for _ in range(2):
        check(weights, measure()())
    reduction = measure._reduction
    assert reduction._program._cache_size() == 1
    lowered = reduction._program.lower(measure._values(), [], reduction._exponents)
    moved = re.findall(
        r"f32\[([0-9,]+)\]\S* (?:all-gather|all-to-all|collective-permute)\(",
        lowered.compile().as_text(),
    )
    assert moved
    for shape in moved:  # only sums of many weights move between devices
        assert np.prod([int(n) for n in shape.split(",")]) <= 512 * 256 / 64, shape
"""


@pytest.mark.skipif(BACKEND != "jax", reason="keras.distribution works on JAX")
def test_sharded_weights_stay_where_they_are():
    flags = "--xla_force_host_platform_device_count=4"
    in_process(SHARDED, Path(__file__).parent, XLA_FLAGS=flags)


MIRRORED = """
    import sys
    sys.path.insert(0, sys.argv[1])
    import tensorflow as tf
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
    )
    import keras
    import numpy as np
    from test_device_statistics import check, make_weight, sparse_values
    from kerasreg.statistics.device import DeviceStatistics

    with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
        weights = [make_weight(sparse_values(shape), (1,)) for shape in ((5, 4), (300, 301))]
    assert len(weights[0].variable.value.values) == 2
    check(weights, DeviceStatistics(weights, 0.7, histograms=True)()())
"""


@pytest.mark.slow
@pytest.mark.skipif(BACKEND != "tensorflow", reason="MirroredStrategy is TensorFlow's")
def test_mirrored_weights_count_once():
    in_process(MIRRORED, Path(__file__).parent)
