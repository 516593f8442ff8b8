"""The statistics on JAX and TensorFlow: one program for all weights."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from kerasreg._backends import compiled
from kerasreg._tensors import Tensor
from kerasreg.statistics.device.blocks import Block, blocks_of, shard_shape
from kerasreg.statistics.device.columns import NO_EXPONENT, Column
from kerasreg.statistics.device.fused_reduction import block_columns

Values = Sequence[Tensor]


class CompiledReduction:
    """Reduces weights to a vector of columns, followed by values of penalties and scales.

    It is compiled by its first call, and anew where other penalties act than before.

    Args:
        values: The weights.
        unit_axes: The axes that number the output units of each, or `None`.
        threshold: Magnitude below which a weight counts as near zero.
        histograms: Whether to count histograms.
    """

    def __init__(
        self,
        values: Values,
        unit_axes: Sequence[tuple[int, ...] | None],
        threshold: float,
        histograms: bool,
    ) -> None:
        shapes = [tuple(value.shape) for value in values]
        dtypes = [keras.backend.standardize_dtype(value.dtype) for value in values]
        shards = [shard_shape(value) for value in values]
        self._blocks = blocks_of(shapes, dtypes, unit_axes, shards)
        self.columns = [
            column for block in self._blocks for column in _columns_of(block, shapes, unit_axes)
        ]
        self._settings = (threshold, histograms)
        self._exponents = _put(np.full(len(self.columns), NO_EXPONENT, np.int32), values)
        self._penalties: list[tuple[int, Any]] | None = None
        self._program: Callable[..., tuple[Tensor, Tensor]]

    def __call__(self, values: Values, penalties: list[tuple[int, Any]], scales: Values) -> Tensor:
        """Starts the reduction.

        Args:
            values: The weights.
            penalties: Penalties to compute, each with the number of the weight it acts on.
            scales: Scalars that are handed over as they are.

        Returns:
            The vector.
        """
        if penalties != self._penalties:
            self._penalties = penalties
            # A new object: of an equal method JAX would go on using what it traced before.
            self._program = _compiled(functools.partial(self._reduce, penalties), values)
        vector, self._exponents = self._program(list(values), list(scales), self._exponents)
        return vector

    def _reduce(
        self, penalties: list[tuple[int, Any]], values: Values, scales: Values, exponents: Tensor
    ) -> tuple[Tensor, Tensor]:
        threshold, histograms = self._settings
        parts, new_exponents, first = [ops.zeros((0,))], [exponents[:0]], 0
        for block in self._blocks:
            last = first + len(block.members)
            columns, new = block_columns(
                values, block, threshold, exponents[first:last], histograms
            )
            parts.append(ops.reshape(columns, (-1,)))
            new_exponents.append(new)
            first = last
        for number, penalty in penalties:
            parts.append(ops.reshape(ops.sum(penalty(values[number])), (1,)))
        parts.extend(ops.reshape(scale, (1,)) for scale in scales)
        wide = "float64" if any(_dtype(part) == "float64" for part in parts) else "float32"
        vector = ops.concatenate([ops.cast(part, wide) for part in parts])
        return vector, ops.concatenate(new_exponents)


def _dtype(x: Tensor) -> str:
    dtype: str = keras.backend.standardize_dtype(x.dtype)
    return dtype


def _columns_of(
    block: Block,
    shapes: Sequence[tuple[int, ...]],
    unit_axes: Sequence[tuple[int, ...] | None],
) -> Iterator[Column]:
    for member in block.members:
        units = math.prod(shapes[member][axis] for axis in unit_axes[member] or ())
        padded_units = math.prod(block.shape) // block.unit_size
        padding = math.prod(block.shape) - math.prod(shapes[member])
        yield Column(member, padding, padded_units - units)


def _compiled(function: Callable[..., Any], values: Values) -> Callable[..., Any]:
    """Compiles the reduction, its results on every device that holds a part of a weight."""
    if keras.backend.backend() == "tensorflow":
        return compiled(function)
    return compiled(function, out_shardings=_everywhere(values))


def _put(array: npt.NDArray[Any], values: Values) -> Tensor:
    """An array as a tensor that lies where results of the program will lie."""
    if keras.backend.backend() == "tensorflow":
        return ops.convert_to_tensor(array)
    import jax

    return jax.device_put(array, _everywhere(values))


def _everywhere(values: Values) -> Any:
    """The sharding of JAX for a whole copy on each device; `None` with one device."""
    import jax

    for value in values:
        if len(value.sharding.device_set) > 1:
            replicated: Any = jax.sharding.PartitionSpec
            return jax.sharding.NamedSharding(value.sharding.mesh, replicated())
    return None
