"""What compaction sees of a tensor: which numbers its channels are."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import keras
import numpy as np
import numpy.typing as npt

from kerasreg._tensors import to_numpy

Ints: TypeAlias = npt.NDArray[np.int64]
Floats: TypeAlias = npt.NDArray[np.float64]
Bools: TypeAlias = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Channels:
    """A tensor in which one axis numbers channels.

    A *value* is a channel of a tensor: all numbers in it, of all samples and positions. It may
    occur several times along the axis, as after `Flatten`.

    Args:
        shape: Shape of the tensor, `None` where it is not known.
        axis: The axis of the channels, counted from the front.
        values: The value at each place of that axis, shape `(channels,)`; one for the whole tensor
            where the axis has no known length.
        dtype: Dtype of the tensor.
    """

    shape: tuple[int | None, ...]
    axis: int
    values: Ints
    dtype: str = "float32"

    @property
    def length(self) -> int | None:
        """The number of channels, `None` where it is not known."""
        return self.shape[self.axis] if self.shape else None

    def after(self, shape: tuple[int | None, ...], axis: int, values: Ints) -> Channels:
        """The same tensor in another shape."""
        return Channels(shape, axis, values, self.dtype)


def any_of(masks: Sequence[Bools]) -> Bools:
    """Which entries are true in any of the masks."""
    result: Bools = np.logical_or.reduce(masks)
    return result


def count_axis(axis: int, rank: int) -> int:
    """An axis counted from the front."""
    return axis % rank if rank else 0


def along_axis(numbers: Floats, axis: int) -> Floats:
    """The number at each place of an axis, NaN where it is another one at other places beside."""
    lines = np.moveaxis(numbers, axis, 0).reshape(numbers.shape[axis], -1)
    equal = (lines == lines[:, :1]).all(axis=1)
    return np.where(equal, lines[:, 0], np.nan)


# All act on each number by itself; what is not listed is tried out.
ELEMENTWISE = (
    "celu elu exponential gelu hard_shrink hard_sigmoid hard_silu hard_tanh leaky_relu linear "
    "log_sigmoid mish relu relu6 selu sigmoid silu soft_shrink softplus softsign sparse_plus "
    "sparse_sigmoid squareplus tanh tanh_shrink threshold"
).split()
_KNOWN = {getattr(keras.activations, name, None) for name in ELEMENTWISE} - {None}
_MIXING = {keras.activations.softmax, keras.activations.log_softmax}


def acts_elementwise(function: Callable[[Any], Any] | None) -> bool:
    """Whether a function of a tensor acts on each number by itself.

    An unknown one is called on random numbers, whole and one by one; with a tolerance, as vector
    units compute the last numbers of a tensor by another formula than the others.
    """
    if function is None or function in _KNOWN:
        return True
    if function in _MIXING:
        return False
    try:
        return _tried_out(function)
    except TypeError:  # Not hashable.
        return bool(_tried_out.__wrapped__(function))


@functools.lru_cache(maxsize=256)
def _tried_out(function: Callable[[Any], Any]) -> bool:
    x = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    try:
        whole = to_numpy(function(keras.ops.convert_to_tensor(x)))
        single = to_numpy(function(keras.ops.convert_to_tensor(x[1:2, 2:3])))
        column = to_numpy(function(keras.ops.convert_to_tensor(x[:, 2:3])))
    except Exception:  # Whatever an unknown function does not like about such inputs.
        return False
    same = whole.shape == x.shape and single.shape == (1, 1) and column.shape == (3, 1)
    return bool(
        same
        and np.allclose(whole[1:2, 2:3], single, rtol=1e-5, atol=1e-6)
        and np.allclose(whole[:, 2:3], column, rtol=1e-5, atol=1e-6)
    )


def on_numbers(function: Callable[[Any], Any] | None, numbers: Floats) -> Floats:
    """A function that acts elementwise, on those of the numbers that are known.

    Args:
        function: The function; `None` changes nothing.
        numbers: Shape `(channels,)`, NaN where a channel is not constant.

    Returns:
        The numbers, shape `(channels,)`.
    """
    known = ~np.isnan(numbers)
    if function is None or function is keras.activations.linear or not known.any():
        return numbers
    count = int(known.sum())
    # Of few different lengths, as JAX compiles the function for each.
    given = np.zeros(1 << max(count - 1, 7).bit_length(), "float32")
    given[:count] = numbers[known]
    result = np.full(numbers.shape, np.nan)
    result[known] = to_numpy(function(keras.ops.convert_to_tensor(given)))[:count]
    return result
