"""How long `kr.Dropout` takes, as a multiple of `keras.layers.Dropout`, in one process.

For each size the two layers are called in turn, forward and forward + backward, as a TensorFlow
graph, compiled by XLA, or eagerly; printed is the ratio of the medians. `--step` times a whole
training step of an MLP with three dropouts instead, of the same model with either layer:

    KERAS_BACKEND=jax python benchmarks/dropout_speed.py
    KERAS_BACKEND=jax python benchmarks/dropout_speed.py --step
"""

import argparse
import functools
import random
import statistics
import time

import keras
import numpy as np
from keras import layers

import kerasreg as kr

BACKEND = keras.backend.backend()
MODES = {"tensorflow": ("graph", "XLA", "eager"), "jax": ("jit", "eager"), "torch": ("eager",)}
SIZES = {f"{k}K": k * 1000 for k in (1, 4, 16, 64, 256)} | {
    f"{m}M": m * 1_000_000 for m in (1, 4, 16)
}
RATE = 0.3


def kinds():
    """The layers to compare; Keras's own is faster on PyTorch without a seed."""
    found = {
        "keras": lambda: layers.Dropout(RATE, seed=1),
        "ours": lambda: kr.Dropout(RATE, seed=1),
    }
    if BACKEND == "torch":
        found["keras, no seed"] = lambda: layers.Dropout(RATE)
    return found


def tensorflow_call(layer, backward, mode):
    import tensorflow as tf

    def call(x, dy):
        if not backward:
            return layer(x, training=True)
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
        return y, tape.gradient(y, x, dy)

    return call if mode == "eager" else tf.function(call, jit_compile=mode == "XLA")


def jax_call(layer, backward, mode):
    import jax

    def forward(x, state):
        y, (state,) = layer.stateless_call([], [state], x, training=True)
        return y, state

    def both(x, dy, state):
        y, pull, state = jax.vjp(functools.partial(forward, state=state), x, has_aux=True)
        return (y, *pull(dy)), state

    step = (lambda x, dy, state: forward(x, state)) if not backward else both
    step = step if mode == "eager" else jax.jit(step)
    states = [layer.seed_generator.state.value]

    def call(x, dy):
        y, states[0] = step(x, dy, states[0])
        return jax.block_until_ready(y)

    return call


def torch_call(layer, backward, mode):
    import torch

    def call(x, dy):
        if not backward:
            y = layer(x, training=True)
        else:
            x = x.detach().requires_grad_()
            y = layer(x, training=True)
            y.backward(dy)
        if x.device.type == "cuda":
            torch.cuda.synchronize()
        return y

    return call


def milliseconds(call, arguments, repeats):
    call(*arguments)  # Brings the data into the caches.
    start = time.perf_counter()
    for _ in range(repeats):
        call(*arguments)
    if BACKEND == "tensorflow":  # which may return before it has finished
        import tensorflow as tf

        tf.test.experimental.sync_devices()
    return 1000 * (time.perf_counter() - start) / repeats


def compare(size, backward, mode, rounds):
    """The median milliseconds of each layer."""
    rng = np.random.default_rng(0)
    shape = (max(size // 1000, 10), size // max(size // 1000, 10))
    arguments = [keras.ops.convert_to_tensor(rng.normal(size=shape), "float32") for _ in range(2)]
    make = {"tensorflow": tensorflow_call, "jax": jax_call, "torch": torch_call}[BACKEND]
    calls = {name: make(build(), backward, mode) for name, build in kinds().items()}
    times = {name: [] for name in calls}
    for number in range(rounds + 2):
        for name in random.sample(list(calls), len(calls)):
            taken = milliseconds(calls[name], arguments, 20 if size < 100_000 else 5)
            if number > 1:  # The first ones compile.
                times[name].append(taken)
    return {name: statistics.median(taken) for name, taken in times.items()}


def print_layers(rounds, modes, sizes):
    for mode in modes:
        print(f"\n{BACKEND}, {mode}: ours / Keras's (Keras's milliseconds)")
        print(f"{'':>6} {'forward':>28} {'forward + backward':>28}")
        for label in sizes:
            cells = []
            for backward in (False, True):
                taken = compare(SIZES[label], backward, mode, rounds)
                cell = f"{taken['ours'] / taken['keras']:.3f} ({taken['keras']:.2f})"
                if "keras, no seed" in taken:
                    other = taken["keras, no seed"]
                    cell += f", no seed {taken['ours'] / other:.3f} ({other:.2f})"
                cells.append(cell)
            print(f"{label:>6} {cells[0]:>40} {cells[1]:>40}", flush=True)


def print_step(rounds, modes):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(1024, 784)).astype("float32"), rng.integers(0, 10, 1024)
    for mode in modes:
        runs = {}
        for name, build in {"without": None, **kinds()}.items():
            model = keras.Sequential([keras.Input((784,))])
            for _ in range(3):
                model.add(layers.Dense(2048, "relu"))
                if build:
                    model.add(build())
            model.add(layers.Dense(10))
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
            model.compile("adam", loss, jit_compile=mode in ("XLA", "jit"))
            runs[name] = functools.partial(model.fit, x, y, batch_size=256, verbose=0)
        times = {name: [] for name in runs}
        for number in range(rounds + 1):
            for name in random.sample(list(runs), len(runs)):
                start = time.perf_counter()
                runs[name]()
                if number:
                    times[name].append((time.perf_counter() - start) / 4)
        medians = {name: 1000 * statistics.median(taken) for name, taken in times.items()}
        print(f"{BACKEND}, {mode}: a step of 784-2048-2048-2048-10, batch 256, in ms:", end=" ")
        print(", ".join(f"{name} {value:.0f}" for name, value in medians.items()), end="; ")
        print(f"ours / Keras's {medians['ours'] / medians['keras']:.3f}", flush=True)


LENGTHS = range(20, 120, 5)
FAMILY = ("Dropout", "GaussianDropout", "AlphaDropout", "SpatialDropout1D")


def length_calls(model):
    """The ways in which a model meets a sequence of another length, each from nothing."""
    import tensorflow as tf

    def call(x, training=True):
        return model(x, training=training)

    return {
        "train_on_batch": lambda x: model.train_on_batch(x, np.zeros((*x.shape[:2], 8))),
        "reduce_retracing": tf.function(lambda x: call(x), reduce_retracing=True),
        "retraced": tf.function(lambda x: call(x)),
        "eager": call,
    }


def print_lengths(rounds):
    rng = np.random.default_rng(0)
    sequences = [rng.normal(size=(32, n, 16)).astype("float32") for n in LENGTHS]
    tensors = [keras.ops.convert_to_tensor(x) for x in sequences]
    print(f"{BACKEND}: milliseconds of 20 lengths, Keras's and ours, of the first and other rounds")
    for name in FAMILY:
        for way in ("train_on_batch", "reduce_retracing", "retraced", "eager"):
            times = {"keras": [], "ours": []}
            for _ in range(rounds):
                for whose, module in {"keras": layers, "ours": kr}.items():
                    inputs = keras.Input((None, 16))
                    x = getattr(module, name)(RATE, seed=1)(inputs)
                    model = keras.Model(inputs, layers.Dense(8)(x))
                    model.compile("sgd", "mse")
                    call = length_calls(model)[way]
                    start = time.perf_counter()
                    for x in sequences if way == "train_on_batch" else tensors:
                        call(x)
                    times[whose].append(1000 * (time.perf_counter() - start))
            first = ", ".join(f"{whose} {taken[0]:.0f}" for whose, taken in times.items())
            later = {whose: statistics.median(taken[1:]) for whose, taken in times.items()}
            cells = ", ".join(f"{whose} {taken:.0f}" for whose, taken in later.items())
            ratio = later["ours"] / later["keras"]
            print(f"{name:>16} {way:>16}: {first}; {cells}; ratio {ratio:.2f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--step", action="store_true", help="a whole training step")
    parser.add_argument("--lengths", action="store_true", help="20 new lengths of sequences")
    parser.add_argument("--modes", nargs="+", default=MODES[BACKEND])
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), choices=list(SIZES))
    args = parser.parse_args()
    if args.lengths:
        print_lengths(args.rounds)
    elif args.step:
        print_step(args.rounds, [mode for mode in args.modes if mode != "eager"] or ["eager"])
    else:
        print_layers(args.rounds, args.modes, args.sizes)


if __name__ == "__main__":
    main()
