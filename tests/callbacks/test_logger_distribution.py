"""The logger on several devices: the numbers of one device, in one event file."""

import numpy as np
import pytest
from helpers.backends import BACKEND
from helpers.event_files import read
from helpers.processes import in_process

COMMON = """
    import sys
    import keras, kerasreg as kr
    from helpers.models import data

    def fit(name):
        keras.utils.set_random_seed(0)
        first = keras.layers.Dense(16, "relu", kernel_regularizer=kr.L2(0.01), name="first")
        last = keras.layers.Dense(4, kernel_regularizer=kr.GroupLasso(0.01, axis=0), name="last")
        model = keras.Sequential([keras.Input((6,)), first, last], name="model")
        first.kernel.assign(keras.ops.eye(6, 16))
        last.kernel.assign(keras.ops.eye(16, 4))
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        # Neither rounds to zero on one device only, nor multiplies what devices round differently.
        penalty = {".*first/kernel": kr.KeepZeros(), ".*last/bias": kr.L1(1e-3)}
        model.compile(kr.Proximal(keras.optimizers.SGD(0.1), penalty), loss)
        logger = kr.RegularizationLogger(f"{sys.argv[1]}/{name}", update_freq=2)
        x, y = data(64)
        model.fit(x, y, 16, 3, verbose=0, shuffle=False, callbacks=[logger])
        return model
"""

MIRRORED = (
    """
    import tensorflow as tf
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
    )
"""
    + COMMON
    + """
    fit("one")
    with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
        model = fit("mirrored")
    assert len(model.trainable_variables[0].value.values) == 2
"""
)

SHARDED = (
    COMMON
    + """
    from keras import distribution

    devices = distribution.list_devices()
    mesh = distribution.DeviceMesh((2, 2), ("batch", "model"), devices=devices)
    layouts = distribution.LayoutMap(mesh)
    layouts[".*first.kernel"] = distribution.TensorLayout((None, "model"))
    layouts[".*last.kernel"] = distribution.TensorLayout(("model", None))
    fit("one")
    distribution.set_distribution(distribution.DataParallel(devices=devices))
    fit("data_parallel")
    distribution.set_distribution(
        distribution.ModelParallel(layout_map=layouts, batch_dim_name="batch")
    )
    model = fit("model_parallel")
    assert not model.get_layer("first").kernel.value.is_fully_replicated
"""
)


# What says what `compact` leaves; it refuses weights that are sharded.
OF_COMPACTION = {
    "all/compacted_parameters",
    "all/compacted_multiply_adds",
    "kerasreg/compaction",
    "sparsity_report",
}


def check_logs(path, runs, sharded=()):
    assert {run.name for run in path.iterdir()} == {"one", *runs}
    one = read(path / "one")
    # Units without inputs, whose outputs stay zero.
    assert one["dead_parts/last/kernel"][-1][1] == 10
    assert len([tag for tag in one if tag.startswith("nonzero/")]) == 4
    for run in runs:
        assert len(list((path / run).iterdir())) == 1
        found = read(path / run)
        left_out = OF_COMPACTION if run in sharded else set()
        assert found.keys() - left_out == one.keys() - left_out
        for tag in one.keys() - left_out:
            points = one[tag]
            assert [step for step, _ in found[tag]] == [step for step, _ in points], tag
            for (_, right), (_, value) in zip(points, found[tag], strict=True):
                compare(tag, value, right)


def compare(tag, value, right):
    if isinstance(right, bytes) or np.asarray(right).dtype.kind in "SUO":
        assert np.array_equal(value, right), tag
    elif not tag.startswith("nonzero/"):
        np.testing.assert_allclose(value, right, rtol=1e-6, atol=1e-6, err_msg=tag)
    else:  # A weight next to an edge may lie on the other side of it.
        np.testing.assert_allclose(value[:, :2], right[:, :2], rtol=1e-5, err_msg=tag)
        assert value[:, 2].sum() == right[:, 2].sum()
        assert np.abs(np.cumsum(value[:, 2] - right[:, 2])).sum() <= 1, tag


@pytest.mark.slow
@pytest.mark.skipif(BACKEND != "tensorflow", reason="MirroredStrategy is TensorFlow's")
def test_mirrored_strategy(tmp_path):
    in_process(MIRRORED, tmp_path)
    check_logs(tmp_path, ["mirrored"])


@pytest.mark.skipif(BACKEND != "jax", reason="keras.distribution works on JAX")
def test_data_parallel_and_model_parallel(tmp_path):
    in_process(SHARDED, tmp_path, XLA_FLAGS="--xla_force_host_platform_device_count=4")
    check_logs(tmp_path, ["data_parallel", "model_parallel"], sharded=["model_parallel"])
