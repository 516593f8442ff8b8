"""Small models in which it is known what compaction can take out."""

import keras
import numpy as np

import kerasreg as kr
from helpers.random_graphs import relative_error

# In float32; the outputs themselves are rounded as much.
TOLERANCE = 1e-5


def randomize(model, seed=0):
    """Sets all weights but seeds to random numbers, none of them zero."""
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        if "seed" in variable.path:
            continue
        value = rng.normal(size=tuple(variable.shape)) * 0.5
        variable.assign(np.abs(value) + 0.5 if "variance" in variable.name else value)
    return model


def change(variable, index, value):
    """Sets a part of a weight."""
    numbers = np.array(keras.ops.convert_to_numpy(variable.value))
    numbers[index] = value
    variable.assign(numbers)


def kill(layer, zero=(), constant=(), value=0.7):
    """Makes units of a layer with a kernel zero, or constant where it has a bias."""
    units = [*zero, *constant]
    change(layer.kernel, (..., units), 0)
    if getattr(layer, "bias", None) is not None:
        change(layer.bias, list(zero), 0)
        change(layer.bias, list(constant), value)


def inputs_for(model, samples=4, seed=1):
    """Random inputs."""
    rng = np.random.default_rng(seed)
    arrays = [
        rng.integers(0, 5, (samples, *x.shape[1:])).astype("int32")
        if "int" in x.dtype
        else rng.normal(size=(samples, *(size or 4 for size in x.shape[1:]))).astype("float32")
        for x in model.inputs
    ]
    return arrays if len(arrays) > 1 else arrays[0]


def compacted(model, tolerance=TOLERANCE, **arguments):
    """The smaller model, after a check that it computes the same."""
    before = [keras.ops.convert_to_numpy(variable) for variable in model.weights]
    small = kr.compact(model, **arguments)
    assert all(
        np.array_equal(array, keras.ops.convert_to_numpy(variable))
        for array, variable in zip(before, model.weights, strict=True)
    )
    if not arguments.get("drop_inputs"):
        assert relative_error(model, small, inputs_for(model)) < tolerance
    return small


def width(model, name):
    """The number of channels that a layer puts out."""
    return model.get_layer(name).output.shape[-1]
