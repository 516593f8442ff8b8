"""Inputs and targets, checked to belong together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import keras
import numpy as np
import numpy.typing as npt

from kerasreg._checks import invalid_value

Arrays: TypeAlias = Sequence[npt.NDArray[Any]]

# Kinds of dtypes; bfloat16, of ml_dtypes, is a "V".
_NUMBERS = "biufV"


@dataclass(frozen=True)
class Samples:
    """Arrays, or structures of arrays, with one entry a sample.

    Args:
        x: Inputs.
        y: Targets.
        sample_weight: Weights of the samples, or `None`.
    """

    x: Any
    y: Any
    sample_weight: Any = None

    @classmethod
    def of(cls, x: Any, y: Any, sample_weight: Any = None, prefix: str = "") -> Samples:
        """The samples as NumPy arrays; raises unless there are some, as many of each.

        Args:
            x: Inputs, as all of these an array or a structure of arrays.
            y: Targets.
            sample_weight: Weights of the samples, or `None`.
            prefix: What stands before `x` and `y` in the names of the arguments.
        """
        x = _to_arrays(f"{prefix}x", x)
        size = len(keras.tree.flatten(x)[0])
        parts = {"x": x, "y": _to_arrays(f"{prefix}y", y)}
        if sample_weight is not None:
            parts["sample_weight"] = _to_arrays(f"{prefix}sample_weight", sample_weight)
        for name, part in parts.items():
            shapes = [array.shape for array in keras.tree.flatten(part)]
            if any(shape[0] != size for shape in shapes):
                expected = f"arrays of {size} samples, as in `{prefix}x`"
                raise invalid_value(f"{prefix}{name}", expected, shapes)
        return cls(**parts)

    @property
    def size(self) -> int:
        """The number of samples."""
        return len(keras.tree.flatten(self.x)[0])

    @property
    def data(self) -> tuple[Any, ...]:
        """`(x, y)`, or `(x, y, sample_weight)`."""
        data = (self.x, self.y, self.sample_weight)
        return data[:2] if self.sample_weight is None else data

    def take(self, indices: npt.NDArray[Any]) -> Samples:
        """Some of the samples."""
        return Samples(*keras.tree.map_structure(lambda array: array[indices], self.data))


def _to_arrays(argument: str, data: Any) -> Any:
    """NumPy arrays of the samples, with floats in Keras's own precision."""

    def to_array(part: Any) -> npt.NDArray[Any]:
        array = np.asarray(keras.ops.convert_to_numpy(part) if keras.ops.is_tensor(part) else part)
        if array.ndim == 0 or len(array) == 0 or array.dtype.kind not in _NUMBERS:
            expected = "an array of numbers, or a structure of them, with at least one sample"
            raise invalid_value(argument, expected, type(part) if array.ndim else part)
        return array.astype(keras.config.floatx(), copy=False) if array.dtype.kind == "f" else array

    if isinstance(data, (list, tuple)) and data and all(np.isscalar(part) for part in data):
        data = np.asarray(data)  # which Keras would take for as many arrays
    if data is None or not keras.tree.flatten(data):
        raise invalid_value(argument, "an array, or a structure of arrays", data)
    return keras.tree.map_structure(to_array, data)
