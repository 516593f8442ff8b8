"""Where a weight lies, which decides where it is measured."""

import keras
import numpy as np
import pytest
from helpers.backends import BACKEND
from helpers.processes import in_process

from kerasreg._backends import is_on_host


def test_a_variable_of_one_cpu():
    assert is_on_host(keras.Variable(np.ones((2, 3), "float32"))) is True


@pytest.mark.skipif(BACKEND != "torch", reason="PyTorch has a device without memory")
def test_another_device():
    with keras.device("meta"):
        variable = keras.Variable(np.ones((2, 3), "float32"))
    assert is_on_host(variable) is False


MIRRORED = """
    import tensorflow as tf
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
    )
    import keras
    from kerasreg._backends import is_on_host

    with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
        variable = keras.Variable([1.0, 2.0])
    assert is_on_host(variable)
"""

SHARDED = """
    import keras
    from keras.distribution import (
        DeviceMesh, LayoutMap, ModelParallel, TensorLayout, list_devices, set_distribution
    )
    from kerasreg._backends import is_on_host

    mesh = DeviceMesh((4,), ("model",), devices=list_devices())
    layouts = LayoutMap(mesh)
    layouts["spread"] = TensorLayout(("model",))
    set_distribution(ModelParallel(layout_map=layouts, batch_dim_name="model"))
    assert is_on_host(keras.Variable([1.0] * 4, name="copied"))
    assert not is_on_host(keras.Variable([1.0] * 4, name="spread"))
"""


@pytest.mark.slow
@pytest.mark.skipif(BACKEND != "tensorflow", reason="MirroredStrategy is TensorFlow's")
def test_the_replica_of_this_process():
    in_process(MIRRORED)


@pytest.mark.skipif(BACKEND != "jax", reason="keras.distribution works on JAX")
def test_several_parts():
    in_process(SHARDED, XLA_FLAGS="--xla_force_host_platform_device_count=4")
