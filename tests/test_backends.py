"""Of several processes one writes. Each test has two, as a training on two machines has."""

import json
import sys
import textwrap

import keras
import pytest
from helpers.backends import BACKEND
from helpers.processes import environment, free_address, side_by_side

from kerasreg._backends import is_chief

JAX = """
    import sys
    import jax
    jax.distributed.initialize(sys.argv[2], 2, int(sys.argv[1]))
    import keras
    import numpy as np
    from keras import distribution

    keras.utils.set_random_seed(0)
    devices = distribution.list_devices()
    assert len(devices) == 4
    mesh = distribution.DeviceMesh((2, 2), ("batch", "model"), devices=devices)
    layouts = distribution.LayoutMap(mesh)
    layouts[".*kernel"] = distribution.TensorLayout(("batch", "model"))
    distribution.set_distribution(
        distribution.ModelParallel(layout_map=layouts, batch_dim_name="batch")
    )
    w = np.random.default_rng(0).normal(size=(300, 400)).astype("float32")
    kernel = keras.layers.Dense(400)
    kernel.build((None, 300))
    kernel.kernel.assign(w)
    assert not kernel.kernel.value.is_fully_addressable

    from kerasreg.statistics.device import DeviceStatistics
    from kerasreg.statistics.weights import Weight
    weight = Weight(kernel.kernel, "kernel", (1,))
    (found,) = DeviceStatistics([weight], 0.1, histograms=True)()().statistics
    assert found.near_zeros == np.sum(np.abs(w) < 0.1)
    np.testing.assert_allclose(found.l1_norm, np.abs(w).sum(dtype="float64"), rtol=1e-6)
    model = None
"""
TORCH = """
    import sys
    from torch import distributed
    rank = int(sys.argv[1])
    distributed.init_process_group(
        "gloo", init_method="tcp://" + sys.argv[2], world_size=2, rank=rank
    )
    model = None
"""
TENSORFLOW = """
    import tensorflow as tf
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    import keras
    with strategy.scope():
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
"""
END = """
from kerasreg._backends import is_chief
print("chief:", is_chief(model), flush=True)
"""


def test_a_single_process_writes():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    assert is_chief(model) is True


@pytest.mark.slow
def test_one_of_two_processes_writes():
    code = textwrap.dedent({"jax": JAX, "torch": TORCH, "tensorflow": TENSORFLOW}[BACKEND]) + END
    addresses = [free_address(), free_address()]
    environments = [
        environment(
            TF_CONFIG=json.dumps(
                {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": rank}}
            ),
            XLA_FLAGS="--xla_force_host_platform_device_count=2",
        )
        for rank in range(2)
    ]
    commands = [[sys.executable, "-c", code, rank, addresses[0]] for rank in range(2)]
    outputs = side_by_side(commands, environments)
    assert ["chief: True" in output for output in outputs] == [True, False]
