"""An array as a hyper-parameter of a penalty."""

from __future__ import annotations

import base64
import binascii
import hashlib
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from kerasreg._checks import invalid_value

# What it is kept in, little-endian on every machine.
_DTYPES = ("float32", "float64")


class FrozenArray:
    """An array of finite, non-negative numbers that does not change: equal by its content.

    Args:
        values: An array, or nested sequences; or what `get_config` of another returned.
        argument: Name of the argument that an error is about.

    Attributes:
        array: The numbers, in float32 or float64; read-only.

    Raises:
        ValueError: If it is none of these, or has no entries.
    """

    def __init__(self, values: Any, argument: str) -> None:
        array = _decoded(values, argument) if isinstance(values, Mapping) else _copied(values)
        if array is None or not array.size or not np.all(np.isfinite(array) & (array >= 0)):
            expected = "an array of finite, non-negative numbers"
            raise invalid_value(argument, expected, values)
        array.flags.writeable = False
        self.array = array
        self._digest = hashlib.blake2b(array.tobytes(), digest_size=4).hexdigest()

    def get_config(self) -> dict[str, Any]:
        """Data type, shape and base64 of the numbers."""
        array = self.array
        data = base64.b64encode(array.astype(array.dtype.newbyteorder("<")).tobytes()).decode()
        return {"dtype": array.dtype.name, "shape": list(array.shape), "data": data}

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.array(self.array, dtype=dtype, copy=copy)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FrozenArray) and self._content() == other._content()

    def __hash__(self) -> int:
        return hash((self.array.shape, self._digest))

    def __repr__(self) -> str:
        """Shape and range, and a word that another array does not have."""
        low, high = float(self.array.min()), float(self.array.max())
        return f"<{self.array.shape}, {low:g} to {high:g}, {self._digest}>"

    def _content(self) -> tuple[Any, ...]:
        return self.array.shape, self.array.dtype, self.array.tobytes()


def _copied(values: Any) -> npt.NDArray[Any] | None:
    """The array in one of the two data types, or `None` if it is none of real numbers."""
    try:
        array = np.asarray(values)
    except (ValueError, TypeError):  # nested sequences of different lengths, or what is no array
        return None
    if array.dtype.kind not in "iuf":
        return None
    narrow = array.dtype.kind == "f" and array.dtype.itemsize <= 4
    return np.array(array, dtype="float32" if narrow else "float64")


def _decoded(config: Mapping[Any, Any], argument: str) -> npt.NDArray[Any]:
    """The array that a configuration describes; raises if it is damaged."""
    try:
        if config.keys() != {"dtype", "shape", "data"} or config["dtype"] not in _DTYPES:
            raise ValueError("unknown names or data type")
        data = base64.b64decode(config["data"], validate=True)
        dtype = np.dtype(config["dtype"])
        if len(data) != math.prod(config["shape"]) * dtype.itemsize:
            raise ValueError("data of another length")
        array = np.frombuffer(data, dtype.newbyteorder("<")).reshape(config["shape"])
    except (ValueError, TypeError, OverflowError, binascii.Error) as error:
        expected = f"data type, shape and base64 of an array ({error})"
        raise invalid_value(argument, expected, dict(config)) from None
    return array.astype(dtype)
