"""Proximal on several devices: the weights of one device, and the same on each replica."""

import pytest
from helpers.backends import BACKEND
from helpers.event_files import steps
from helpers.processes import in_process

COMMON = """
    import sys
    import keras, kerasreg as kr
    import numpy as np

    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 8)).astype("float32")
    y = (x[:, 0] > 0).astype("int32")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    OPTIMIZERS = {
        "momentum": lambda: keras.optimizers.SGD(0.05, momentum=0.9),
        "adam": lambda: keras.optimizers.Adam(0.01),
        "rmsprop": lambda: keras.optimizers.RMSprop(0.01, momentum=0.5),
        "averaged": lambda: keras.optimizers.Adam(0.01, use_ema=True, ema_momentum=0.9),
        "muon": lambda: keras.optimizers.Muon(0.02),
    }
    PENALTIES = [
        kr.L1(0.05),
        kr.GroupLasso(0.05, axis=0),
        kr.TopK(0.6, frequency=5, end_step=20, scope="global"),
        {
            ".*first/kernel": kr.TopK(0.6, frequency=5, saliency="metric"),
            ".*second/kernel": kr.TopK(0.5, axis=-1, frequency=5, saliency="taylor"),
        },
        {".*first/kernel": kr.L1(0.05), ".*second/kernel": kr.KeepZeros()},
    ]

    def build(inner, penalty):
        keras.utils.set_random_seed(0)
        layers = keras.layers.Dense(16, "relu", name="first"), keras.layers.Dense(4, name="second")
        model = keras.Sequential([keras.Input((8,)), *layers])
        layers[1].kernel.assign(np.eye(16, 4))
        model.compile(kr.Proximal(OPTIMIZERS[inner](), penalty), loss)
        return model

    def fit(model, *callbacks):
        model.fit(x, y, 16, epochs=6, verbose=0, shuffle=False, callbacks=list(callbacks))
        return model.get_weights()

    def compare(one, other):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_allclose(a, b, atol=2e-6)
            np.testing.assert_array_equal(a == 0, b == 0)
        assert sum(np.sum(w == 0) for w in one if w.ndim > 1) > 20

    def cases():
        for number, penalty in enumerate(PENALTIES):
            yield "adam", penalty
            if number == 0:
                yield "momentum", penalty
            if number == 2:
                yield "rmsprop", penalty
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
    # One for all: TensorFlow takes the first collectives of a second one for those of the first.
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    for inner, penalty in [*cases(), ("averaged", PENALTIES[0]), ("muon", PENALTIES[4])]:
        right = fit(build(inner, penalty))
        with strategy.scope():
            model = build(inner, penalty)
        logger = kr.RegularizationLogger(f"{sys.argv[1]}/{inner}{PENALTIES.index(penalty)}")
        compare(right, fit(model, logger))
        for variable in model.trainable_variables:
            one, other = (replica.numpy() for replica in variable.value.values)
            np.testing.assert_array_equal(one, other)
"""
)

SHARDED = (
    COMMON
    + """
    from keras import distribution

    devices = distribution.list_devices()
    assert len(devices) == 4
    mesh = distribution.DeviceMesh((2, 2), ("batch", "model"), devices=devices)
    layouts = distribution.LayoutMap(mesh)
    layouts[".*first.kernel"] = distribution.TensorLayout((None, "model"))
    layouts[".*second.kernel"] = distribution.TensorLayout(("model", None))
    for inner, penalty in cases():
        distribution.set_distribution(None)
        right = fit(build(inner, penalty))
        for number, spread in enumerate((
            distribution.DataParallel(devices=devices),
            distribution.ModelParallel(layout_map=layouts, batch_dim_name="batch"),
        )):
            if number == 0 and penalty not in PENALTIES[::2]:
                continue
            distribution.set_distribution(spread)
            model = build(inner, penalty)
            logger = kr.RegularizationLogger(f"{sys.argv[1]}/{inner}{PENALTIES.index(penalty)}")
            compare(right, fit(model, *([logger] if number else [])))
            kernel = model.get_layer("first").kernel.value
            shape = (8, 8) if number else (8, 16)
            assert {shard.data.shape for shard in kernel.addressable_shards} == {shape}
            for shard in kernel.addressable_shards:
                np.testing.assert_array_equal(shard.data, np.asarray(kernel)[shard.index])
"""
)


def check_logs(path, count):
    """One event file a run, with all its points."""
    runs = sorted(path.iterdir())
    assert len(runs) == count
    for run in runs:
        assert len(list(run.iterdir())) == 1
        assert steps(run) == [4, 8, 12, 16, 20, 24]


@pytest.mark.first
@pytest.mark.slow
@pytest.mark.skipif(BACKEND != "tensorflow", reason="MirroredStrategy is TensorFlow's")
def test_mirrored_strategy(tmp_path):
    in_process(MIRRORED, tmp_path)
    check_logs(tmp_path, 9)


@pytest.mark.first
@pytest.mark.skipif(BACKEND != "jax", reason="keras.distribution works on JAX")
def test_data_parallel_and_model_parallel(tmp_path):
    in_process(SHARDED, tmp_path, XLA_FLAGS="--xla_force_host_platform_device_count=4")
    check_logs(tmp_path, 7)
