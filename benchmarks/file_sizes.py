"""How large the file of a network is that has many zeros.

    KERAS_BACKEND=torch python benchmarks/file_sizes.py

Random normal weights of which a part, here and there, is zero, in a small dense network
(LeNet-300-100) and in a convolutional one, as bytes of

- the `.keras` file that Keras writes,
- what `gzip -9` makes of that,
- the `.keras` file that `kerasreg.save_sparse` writes,

and how much smaller than the first the last one is. With `--litert`, on TensorFlow, as bytes of the
`.tflite` file that Keras exports, without and with LiteRT's optimization for zeros.
"""

import argparse
import gzip
import tempfile
from pathlib import Path

import keras
import numpy as np

import kerasreg as kr

layers = keras.layers
DTYPES = ("float32", "float16")


def dense(dtype):
    stack = [layers.Dense(units, dtype=dtype) for units in (300, 100, 10)]
    return keras.Sequential([keras.Input((784,), dtype=dtype), *stack])


def convolutional(dtype):
    stack = [layers.Conv2D(filters, 3, dtype=dtype) for filters in (32, 64, 128, 128)]
    last = [layers.GlobalAveragePooling2D(dtype=dtype), layers.Dense(10, dtype=dtype)]
    return keras.Sequential([keras.Input((32, 32, 3), dtype=dtype), *stack, *last])


def put_zeros(model, zeros):
    """Random numbers for all weights, so many of those of kernels zero."""
    rng = np.random.default_rng(0)
    for variable in model.weights:
        numbers = rng.normal(scale=0.05, size=variable.shape)
        if "kernel" in variable.name:
            numbers[rng.random(variable.shape) < zeros] = 0
        variable.assign(numbers.astype(variable.dtype))


def sizes(model, folder):
    plain, sparse = folder / "plain.keras", folder / "sparse.keras"
    model.save(plain)
    kr.save_sparse(model, sparse)
    return plain.stat().st_size, len(gzip.compress(plain.read_bytes(), 9)), sparse.stat().st_size


def litert_sizes(model, folder):
    import tensorflow as tf

    found = []
    for optimizations in ([], [tf.lite.Optimize.EXPERIMENTAL_SPARSITY]):
        file = folder / "model.tflite"
        model.export(file, format="litert", optimizations=optimizations, verbose=False)
        found.append(file.stat().st_size)
    return found


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--zeros", type=float, nargs="+", default=[0, 0.5, 0.9, 0.98])
    parser.add_argument("--litert", action="store_true")
    arguments = parser.parse_args()
    measure, kinds, dtypes = sizes, ("`.keras`", "`gzip -9`", "`save_sparse`"), DTYPES
    if arguments.litert:
        measure, kinds, dtypes = litert_sizes, ("`.tflite`", "with sparsity"), DTYPES[:1]
    columns = ("network", "dtype", "zeros", *kinds, "times smaller")
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    with tempfile.TemporaryDirectory() as folder:
        for build in (dense, convolutional):
            for dtype in dtypes:
                model = build(dtype)
                for part in arguments.zeros:
                    put_zeros(model, part)
                    found = measure(model, Path(folder))
                    cells = [build.__name__, dtype, f"{part:.0%}", *(f"{n:,}" for n in found)]
                    print(f"| {' | '.join(cells)} | {found[0] / found[-1]:.1f} |")


if __name__ == "__main__":
    main()
