"""What `Proximal` adds to a training step, beside Keras's own L1 in the loss.

Six dense layers of 2048 x 2048 (25 million weights), Adam, batch 256. A configuration and plain
Adam train in turn for some steps, in an order that is drawn anew each round; printed is the median
over the rounds of what the configuration's step adds to the plain step of the same round:

    KERAS_BACKEND=jax python benchmarks/proximal_cost.py
    KERAS_BACKEND=tensorflow python benchmarks/proximal_cost.py --jit-compile
"""

import argparse
import gc
import random
import statistics
import time

import keras
import numpy as np
from keras import layers, optimizers

import kerasreg as kr

WIDTH, DEPTH, BATCH = 2048, 6, 256


def network(regularizer=None):
    dense = [
        layers.Dense(WIDTH, "relu", kernel_regularizer=regularizer, use_bias=False)
        for _ in range(DEPTH)
    ]
    return keras.Sequential([keras.Input((WIDTH,)), *dense])


PLAIN, IN_THE_LOSS = "plain Adam", "keras L1 in the loss"
PENALTIES = {
    "Proximal L1": kr.L1(1e-6),
    "Proximal ElasticNet": kr.ElasticNet(1.0, 1e-6, 1e-6),
    "Proximal MCP": kr.MCP(1e-6, gamma=1e5),
    "Proximal GroupLasso": kr.GroupLasso(1e-6),
    "Proximal GroupLasso, axis 0": kr.GroupLasso(1e-6, axis=0),
    # Chooses five times as often as by default, so that each round has one choice in it.
    "Proximal TopK, every 20": kr.TopK(0.9, frequency=20),
    "Proximal KeepZeros": kr.KeepZeros(),
    # In every update, so that what is added is the cost of a choice.
    "a choice of TopK": kr.TopK(0.9, frequency=1),
    "a choice of 2:4": kr.TopK(pattern="2:4", frequency=1),
    "a choice of units": kr.TopK(0.5, axis=-1, frequency=1),
    "a choice of 4 x 1 blocks": kr.TopK(0.5, block=(4, 1), frequency=1),
}


def configuration(name, hold_zeros):
    """A network and its optimizer."""
    adam = optimizers.Adam(1e-4)
    if name in PENALTIES:
        return network(), kr.Proximal(adam, PENALTIES[name], hold_zeros=hold_zeros)
    return network(keras.regularizers.L1(1e-6) if name == IN_THE_LOSS else None), adam


def trainer(name, jit_compile, hold_zeros):
    """A function that trains a configuration for some steps and returns the seconds per step."""
    model, optimizer = configuration(name, hold_zeros)
    model.compile(optimizer, "mse", jit_compile=jit_compile)

    def run(x, y):
        start = time.perf_counter()
        model.fit(x, y, BATCH, verbose=0, shuffle=False)
        return (time.perf_counter() - start) / (len(x) // BATCH)

    return run


def compare(name, rounds, steps, jit_compile, hold_zeros):
    """What each round's steps add, as a share of the plain step, and the plain step's seconds."""
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=(steps * BATCH, WIDTH)).astype("float32") for _ in range(2))
    runs = {key: trainer(key, jit_compile, hold_zeros) for key in (PLAIN, name)}
    shares, plain = [], []
    for number in range(rounds + 1):
        order = random.sample(list(runs), 2)
        seconds = {key: runs[key](x, y) for key in order}
        if number:  # The first compiles.
            shares.append(seconds[name] / seconds[PLAIN] - 1)
            plain.append(seconds[PLAIN])
    return shares, statistics.median(plain)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--jit-compile", action="store_true", help="XLA, for TensorFlow")
    parser.add_argument("--free-zeros", action="store_true", help="with hold_zeros=False")
    parser.add_argument("--only", nargs="+", help="parts of names of configurations")
    args = parser.parse_args()
    backend = keras.backend.backend()
    jit_compile = args.jit_compile or backend == "jax"
    print(f"{backend}{', XLA' if jit_compile else ''}: added to the step of plain Adam", flush=True)
    for name in (IN_THE_LOSS, *PENALTIES):
        if args.only and not any(part in name for part in args.only):
            continue
        steps, rounds = (20, 5) if "every 20" in name else (8, args.rounds)
        steps = 2 if "choice" in name else steps
        shares, plain = compare(name, rounds, steps, jit_compile, not args.free_zeros)
        low, middle, high = (100 * share for share in statistics.quantiles(shares, n=4))
        print(
            f"{name:>27} {middle:+6.1f} %   (quartiles {low:+.1f} to {high:+.1f}; of a plain step"
            f" of {1000 * plain:.0f} ms, so {10 * middle * plain:.0f} ms)",
            flush=True,
        )
        keras.utils.clear_session()
        gc.collect()


if __name__ == "__main__":
    main()
