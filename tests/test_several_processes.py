"""The examples of a training in several processes: as in one process, and one log."""

import sys

import keras
import numpy as np
import pytest
from helpers.backends import BACKEND
from helpers.event_files import read
from helpers.processes import environment, free_address, side_by_side
from helpers.scripts import copy_of

import kerasreg  # noqa: F401  # of which a saved model has layers

# Runs an example, and saves what its model has become and the next mask of its dropout.
RUN = """
import runpy, sys
import numpy as np

script, file, *sys.argv[1:] = sys.argv[1:]
main = runpy.run_path(script)["main"]
"""
JAX = (
    RUN
    + """
import jax, keras
model = main()
dropout = model.get_layer("dropout")
sharding = keras.distribution.DataParallel().get_data_layout((64, 128)).backend_layout
ones = np.ones((64 // jax.process_count(), 128), "float32")
ones = jax.make_array_from_process_local_data(sharding, ones)
draw = jax.jit(lambda state, x: dropout.stateless_call([], [state], x, training=True)[0])
mask = draw(dropout.seed_generator.state.value, ones)
shards = sorted(mask.addressable_shards, key=lambda shard: shard.index[0].start or 0)
mask = np.concatenate([shard.data for shard in shards])
np.savez(f"{file}{jax.process_index()}", *model.get_weights(), mask=mask)
"""
)
TORCH = (
    RUN
    + """
import torch
from torch import distributed
end, distributed.destroy_process_group = distributed.destroy_process_group, lambda: None
model = main()
dropout = model.get_layer("dropout")
dropout.rate = 0.5
mask = dropout(torch.ones(64, 128), training=True)
np.savez(f"{file}{distributed.get_rank()}", *model.get_weights(), mask=mask.numpy())
end()
"""
)


def run_jax(script, run, out, processes):
    address = free_address()
    commands = [
        [sys.executable, run, script, out, "--processes", processes, "--rank", rank]
        + ["--address", address]
        for rank in range(processes)
    ]
    # One process with two devices computes the same program as two with one.
    flags = f"--xla_force_host_platform_device_count={2 // processes}"
    return side_by_side(commands, [environment(XLA_FLAGS=flags)] * processes)


def run_torch(script, run, out, processes):
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", processes]
    rendezvous = ["--rdzv-backend", "c10d", "--rdzv-endpoint", free_address()]
    return side_by_side([[*launcher, *rendezvous, run, script, out]])


@pytest.mark.skipif(BACKEND == "tensorflow", reason="its strategy fails in Keras itself")
def test_two_processes_train_as_one(tmp_path):
    code, start = {"jax": (JAX, run_jax), "torch": (TORCH, run_torch)}[BACKEND]
    found, printed = {}, {}
    for processes in (1, 2):
        folder = tmp_path / str(processes)
        folder.mkdir()
        (folder / "run.py").write_text(code)
        # On PyTorch each draws its own masks, in which one process is not two.
        changes = {"RATE": 0.0} if BACKEND == "torch" else {}
        script = copy_of(f"distributed_{BACKEND}.py", folder, **changes)
        printed[processes] = start(script, folder / "run.py", folder / "rank-", processes)
        files = sorted(folder.glob("rank-*.npz"))
        assert len(files) == processes
        found[processes] = [dict(np.load(file)) for file in files]
        (log,) = (folder / "tensorboard_logs").glob("*/*.kerasreg")
        assert len(read(log.parent)["all/sparsity"]) == 20
    masks = [each.pop("mask") for each in found[2]]
    assert "".join(printed[2]).count("kerasreg logs to") == 1, "one invites to its log"
    (one,), (first, second) = found[1], found[2]
    whole = one.pop("mask")
    for name, weight in first.items():
        np.testing.assert_array_equal(weight, second[name])
        atol = 0 if BACKEND == "jax" else 1e-6
        np.testing.assert_allclose(weight, one[name], rtol=0, atol=atol)
    assert 0.3 < np.mean(first["arr_0"] == 0) < 0.9
    saved = keras.saving.load_model(log.parent / "model.keras")
    np.testing.assert_array_equal(saved.get_weights()[0], first["arr_0"])
    assert not np.array_equal(*masks), "each has a part of the mask, or a mask, of its own"
    if BACKEND == "jax":
        np.testing.assert_array_equal(np.concatenate(masks), whole)
    else:
        np.testing.assert_array_equal(masks[0], whole)
        agree = np.mean((masks[0] == 0) == (masks[1] == 0))
        assert abs(agree - 0.5) < 0.05, "masks of rate 0.5 that know nothing of each other"
