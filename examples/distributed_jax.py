"""Several processes on JAX: a network on scikit-learn's digits, each process with its own part.

Start it once for each process, with the address of the first; on two machines the address is one
that both can reach:

    KERAS_BACKEND=jax python examples/distributed_jax.py --processes 2 --rank 0 &
    KERAS_BACKEND=jax python examples/distributed_jax.py --processes 2 --rank 1

Every process has all weights and some of the samples of each batch; gradients are summed over all
of them, so that the weights, and which of them are zero, are the same everywhere. A dropout mask is
one array over the whole batch, of which each process has its own part. The first process writes
the log and the model.
"""

import argparse
from pathlib import Path

import jax
import keras
import numpy as np
from sklearn.datasets import load_digits

import kerasreg as kr

BATCH_SIZE = 128  # of all processes together
EPOCHS = 20
RATE = 0.2
TRAIN_SAMPLES = 1024
OUTPUT = Path(__file__).parent.parent / "tensorboard_logs" / "distributed_jax"


def own_part(array, rank, processes):
    """The samples of one process: of each batch its share, in equal batches."""
    array = array[: len(array) // BATCH_SIZE * BATCH_SIZE]
    batches = array.reshape(-1, processes, BATCH_SIZE // processes, *array.shape[1:])
    return batches[:, rank].reshape(-1, *array.shape[1:])


def load_data(rank, processes):
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))  # the same in all processes
    x, y = (x[order] / 16).astype("float32"), y[order].astype("int32")
    parts = (x[:TRAIN_SAMPLES], y[:TRAIN_SAMPLES], x[TRAIN_SAMPLES:], y[TRAIN_SAMPLES:])
    return [own_part(part, rank, processes) for part in parts]


def build_model():
    keras.utils.set_random_seed(0)  # the same weights in all processes
    model = keras.Sequential(
        [
            keras.Input((64,)),
            keras.layers.Dense(128, "relu", name="hidden"),
            kr.Dropout(RATE, name="dropout"),
            keras.layers.Dense(10, name="logits"),
        ]
    )
    model.compile(
        kr.Proximal(keras.optimizers.SGD(0.05, momentum=0.9), kr.L1(1e-3)),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--rank", type=int, default=0, help="the number of this process, from 0")
    parser.add_argument("--address", default="localhost:8476", help="where the first one listens")
    args = parser.parse_args()
    if args.processes > 1:
        jax.distributed.initialize(args.address, args.processes, args.rank)
    # Arrays are not cut into parts by Keras: each process gives its own.
    keras.distribution.set_distribution(keras.distribution.DataParallel(auto_shard_dataset=False))
    x, y, x_test, y_test = load_data(args.rank, args.processes)
    own_batch = BATCH_SIZE // args.processes

    model = build_model()
    logger = kr.RegularizationLogger(OUTPUT)
    model.fit(x, y, own_batch, EPOCHS, shuffle=False, verbose=0, callbacks=[logger])
    _, accuracy = model.evaluate(x_test, y_test, own_batch, verbose=0)
    zero = kr.sparsity_report(model, weights="kernel").total.sparsity
    print(f"process {args.rank}: {zero:.1%} of the weights are zero, test accuracy {accuracy:.1%}")
    # To save, Keras makes variables, which else would wait for those of the other processes.
    keras.distribution.set_distribution(None)
    if args.rank == 0:
        model.save(OUTPUT / "model.keras")
    return model


if __name__ == "__main__":
    main()
