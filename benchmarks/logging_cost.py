"""What logging costs, beside Keras's own TensorBoard callback with histograms.

For six dense layers of 2048 x 2048 (25 million weights), and for ResNet50 (its 320 tensors):

    KERAS_BACKEND=tensorflow python benchmarks/logging_cost.py

- an epoch with `RegularizationLogger`, and with `TensorBoard(histogram_freq=1)`, against one
  without a callback: a step and an evaluation each, so that there is little else to time; medians
  over epochs, three trainings of each kind in turn;
- what each adds to the peak memory, in processes of their own;
- measuring the weights alone, as a multiple of the time that reading them once takes.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time

import keras
import numpy as np

import kerasreg as kr
from kerasreg.statistics.device import DeviceStatistics
from kerasreg.statistics.host import HostStatistics
from kerasreg.statistics.measurement import statistics_of
from kerasreg.statistics.weights import find_weights

KINDS = ("none", "kerasreg", "keras")


def dense():
    layers = [keras.layers.Dense(2048, "relu", use_bias=False) for _ in range(6)]
    return keras.Sequential([keras.Input((2048,)), *layers]), (2048,)


def resnet50():
    return keras.applications.ResNet50(weights=None, input_shape=(32, 32, 3)), (32, 32, 3)


MODELS = {"dense": dense, "ResNet50": resnet50}


class EpochTimer(keras.callbacks.Callback):
    """Seconds from the beginning of each epoch to that of the next."""

    def __init__(self):
        super().__init__()
        self.begins = []

    def on_epoch_begin(self, epoch, logs=None):
        self.begins.append(time.perf_counter())

    def seconds(self):
        return np.diff(self.begins)[2:]  # The first epochs compile, and open files.


def build(name):
    model, shape = MODELS[name]()
    model.compile(keras.optimizers.SGD(1e-6), "mse")
    x = np.random.default_rng(0).normal(size=(2, *shape)).astype("float32")
    y = np.zeros((2, model.output_shape[-1]), "float32")
    return model, x, y


def callbacks(kind, folder):
    if kind == "kerasreg":
        return [kr.RegularizationLogger(f"{folder}/ours", verbose=0)]
    if kind == "keras":
        return [keras.callbacks.TensorBoard(f"{folder}/keras", histogram_freq=1, write_graph=False)]
    return []


def train(data, kind, epochs):
    """Seconds of each epoch."""
    model, x, y = data
    timer = EpochTimer()
    with tempfile.TemporaryDirectory() as folder:
        arguments = {"validation_data": (x, y), "verbose": 0}
        model.fit(x, y, epochs=epochs, callbacks=[timer, *callbacks(kind, folder)], **arguments)
    return timer.seconds()


def compare(name, epochs):
    """Prints what an epoch takes longer, with each of the two callbacks."""
    data = build(name)
    seconds = {kind: [] for kind in KINDS}
    for _ in range(3):
        for kind in KINDS:
            seconds[kind].extend(train(data, kind, epochs))
    plain, ours, keras_own = (1000 * statistics.median(seconds[kind]) for kind in KINDS)
    ratio = (keras_own - plain) / (ours - plain)
    print(
        f"{name:>10}: epoch {plain:.0f} ms, kerasreg +{ours - plain:.1f} ms, "
        f"keras +{keras_own - plain:.1f} ms: {ratio:.1f} times as much",
        flush=True,
    )


def measure(name):
    """Prints what measuring the weights takes, as a multiple of reading them."""
    model = build(name)[0]
    weights = find_weights(model)
    values = [np.ones(weight.variable.shape, "float32").ravel() for weight in weights]
    reading = seconds_of(lambda: [value.max() for value in values])
    size = sum(value.nbytes for value in values)
    print(f"{name:>10}: {size / 1e6:.0f} MB of weights, reading them {1000 * reading:.1f} ms")
    kinds = {"on the host": HostStatistics, "on the device": DeviceStatistics}
    usual = type(statistics_of(weights, 1e-3))
    for words, kind in kinds.items():
        for histograms in (False, True):
            start = time.perf_counter()
            call = kind(weights, 1e-3, histograms)
            call()()
            first = time.perf_counter() - start
            seconds = seconds_of(lambda call=call: call()())
            print(
                f"{'':>12}{words}{', histograms' if histograms else '':<13} "
                f"{1000 * seconds:6.1f} ms = {seconds / reading:4.1f} x reading"
                f" (the first {1000 * first:.0f} ms){', as the logger' if kind is usual else ''}",
                flush=True,
            )


def seconds_of(action, rounds=15):
    action()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def own_peak():
    """MiB at this process's peak so far; Linux's `getrusage` tells that of the parent."""
    with open("/proc/self/status") as file:
        (line,) = (line for line in file if line.startswith("VmHWM"))
    return int(line.split()[1]) // 1024


def peak_memory(name, kind):
    """MiB at the peak of a training in a process of its own."""
    command = [sys.executable, __file__, "--memory-of", name, kind]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return int(output.split()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--epochs", type=int, default=9)
    parser.add_argument("--only", choices=["epochs", "memory", "statistics"])
    parser.add_argument("--memory-of", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.memory_of:
        name, kind = args.memory_of
        train(build(name), kind, 5)
        print(own_peak())
        return
    print(f"{keras.backend.backend()}: an epoch of one step and one evaluation", flush=True)
    for name in MODELS:
        if args.only in (None, "epochs"):
            compare(name, args.epochs)
        if args.only in (None, "memory"):
            plain, ours, keras_own = (peak_memory(name, kind) for kind in KINDS)
            print(f"{name:>10}: peak {plain} MiB, kerasreg {ours - plain:+} MiB,", end=" ")
            print(f"keras {keras_own - plain:+} MiB", flush=True)
        if args.only in (None, "statistics"):
            measure(name)


if __name__ == "__main__":
    main()
