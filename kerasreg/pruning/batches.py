"""Batches of samples, from arrays or from what comes in batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from kerasreg._checks import invalid_value


class Batch(NamedTuple):
    """Tensors, or structures of tensors, with one entry a sample.

    Args:
        x: Inputs.
        y: Targets, or `None`.
        sample_weight: Weights of the samples, or `None`.
    """

    x: Any
    y: Any
    sample_weight: Any


def batches(x: Any, y: Any, batch_size: int) -> Iterator[Batch]:
    """Goes through the samples once, in their order.

    Args:
        x: Array of inputs, or a structure of arrays; or what comes in batches of its own, as
            `model.predict` and `model.fit` take them: a `tf.data.Dataset`, a `PyDataset`, a
            `DataLoader` or a generator that ends.
        y: Array of targets, or a structure of arrays, or `None`.
        batch_size: Number of samples in a batch of arrays.

    Raises:
        ValueError: If `x` is neither, has no samples, or not as many as `y`.
    """
    count = 0
    for batch in _of_arrays(x, y, batch_size) if _are_arrays(x) else _given(x, y):
        count += 1
        yield Batch(*(None if part is None else _to_tensors(part) for part in batch))
    if not count:
        raise invalid_value("x", "data with at least one batch", x)


def _are_arrays(x: Any) -> bool:
    leaves = keras.tree.flatten(x)
    return bool(leaves) and all(len(getattr(leaf, "shape", ())) > 0 for leaf in leaves)


def _of_arrays(x: Any, y: Any, size: int) -> Iterator[tuple[Any, Any, None]]:
    number = len(keras.tree.flatten(x)[0])
    for name, data in (("x", x), ("y", y)):
        leaves = [] if data is None else keras.tree.flatten(data)
        shapes = [tuple(getattr(leaf, "shape", ())) for leaf in leaves]
        if not number or any(shape[:1] != (number,) for shape in shapes):
            expected = f"arrays of {number or 'some'} samples"
            raise invalid_value(name, expected, shapes)
    given = keras.tree.map_structure(_sliceable, (x, y))
    for start in range(0, number, size):
        yield (*_part(given, slice(start, start + size)), None)


def _part(data: Any, samples: slice) -> Any:
    return keras.tree.map_structure(lambda a: None if a is None else a[samples], data)


def _given(x: Any, y: Any) -> Iterator[tuple[Any, Any, Any]]:
    if keras.tree.is_nested(x) or isinstance(x, str):
        raise invalid_value("x", "arrays with one entry a sample, or batches of them", x)
    if y is not None:
        raise invalid_value("y", "None where `x` comes in batches, which have the targets", y)
    if isinstance(x, Iterable):
        given: Iterable[Any] = x
    elif hasattr(x, "__getitem__") and hasattr(x, "__len__"):
        given = (x[i] for i in range(len(x)))
    else:
        raise invalid_value("x", "arrays with one entry a sample, or batches of them", x)
    yield from map(keras.utils.unpack_x_y_sample_weight, given)


def _sliceable(data: Any) -> Any:
    return data if data is None or ops.is_tensor(data) else np.asarray(data)


def _to_tensors(data: Any) -> Any:
    return keras.tree.map_structure(lambda a: ops.convert_to_tensor(_sliceable(a)), data)
