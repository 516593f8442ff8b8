"""Of several processes one writes. Each test has two, as a training on two machines has."""

import json
import os
import socket
import subprocess
import sys
import textwrap

import keras
import pytest
from helpers.backends import BACKEND

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


def free_address():
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return f"localhost:{probe.getsockname()[1]}"


def test_a_single_process_writes():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    assert is_chief(model) is True


@pytest.mark.slow
def test_one_of_two_processes_writes():
    code = textwrap.dedent({"jax": JAX, "torch": TORCH, "tensorflow": TENSORFLOW}[BACKEND]) + END
    addresses = [free_address(), free_address()]
    processes = []
    for rank in range(2):
        task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": rank}}
        environment = {
            **os.environ,
            "TF_CONFIG": json.dumps(task),
            "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        }
        command = [sys.executable, "-c", code, str(rank), addresses[0]]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        processes.append(subprocess.Popen(command, env=environment, text=True, **pipes))
    outputs = [process.communicate(timeout=240) for process in processes]
    for process, (_, errors) in zip(processes, outputs, strict=True):
        assert process.returncode == 0, errors
    assert ["chief: True" in output for output, _ in outputs] == [True, False]
