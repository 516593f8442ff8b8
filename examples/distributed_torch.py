"""Several processes on PyTorch: a network on scikit-learn's digits by DistributedDataParallel.

    KERAS_BACKEND=torch torchrun --nproc-per-node 2 examples/distributed_torch.py

Every process has all weights and its own part of each batch; gradients are averaged over all of
them, so that the weights, and which of them are zero, are the same everywhere. Each process draws
dropout masks of its own. The first process writes the log and the model.
"""

from pathlib import Path

import keras
import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

import kerasreg as kr

BATCH_SIZE = 128  # of all processes together
EPOCHS = 20
RATE = 0.2
TRAIN_SAMPLES = 1024
OUTPUT = Path(__file__).parent.parent / "tensorboard_logs" / "distributed_torch"


def load_data():
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))  # the same in all processes
    x, y = torch.tensor(x[order] / 16, dtype=torch.float32), torch.tensor(y[order])
    return (x[:TRAIN_SAMPLES], y[:TRAIN_SAMPLES]), (x[TRAIN_SAMPLES:], y[TRAIN_SAMPLES:])


def build_model():
    keras.utils.set_random_seed(0)  # the same weights in all processes
    return keras.Sequential(
        [
            keras.Input((64,)),
            keras.layers.Dense(128, "relu", name="hidden"),
            kr.Dropout(RATE, name="dropout"),
            keras.layers.Dense(10, name="logits"),
        ]
    )


def train(model, x, y, rank, processes):
    """A training loop, as `fit` calls the model itself, and not by `DistributedDataParallel`."""
    weights = model.trainable_variables
    optimizer = kr.Proximal(keras.optimizers.SGD(0.05, momentum=0.9), kr.L1(1e-3))
    optimizer.build(weights)
    parallel = DistributedDataParallel(model)
    logger = kr.RegularizationLogger(OUTPUT)
    logger.set_model(model, optimizer)
    step = 0
    for _ in range(EPOCHS):
        # All draw the same order, and each takes its share of every batch.
        for batch in torch.randperm(len(x)).split(BATCH_SIZE):
            own = batch[rank::processes]
            model.zero_grad()
            torch.nn.functional.cross_entropy(parallel(x[own], training=True), y[own]).backward()
            with torch.no_grad():
                optimizer.apply([weight.value.grad for weight in weights], weights)
            step += 1
        logger.log(step)
    logger.close()


def main():
    distributed.init_process_group("gloo")  # torchrun says who else there is; "nccl" on GPUs
    rank, processes = distributed.get_rank(), distributed.get_world_size()
    (x, y), (x_test, y_test) = load_data()
    model = build_model()
    train(model, x, y, rank, processes)
    with torch.no_grad():
        accuracy = (model(x_test).argmax(1) == y_test).float().mean()
    zero = kr.sparsity_report(model, weights="kernel").total.sparsity
    print(f"process {rank}: {zero:.1%} of the weights are zero, test accuracy {accuracy:.1%}")
    if rank == 0:
        model.save(OUTPUT / "model.keras")
    distributed.destroy_process_group()
    return model


if __name__ == "__main__":
    main()
