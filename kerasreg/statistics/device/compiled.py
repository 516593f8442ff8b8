"""The statistics on JAX and TensorFlow: one program for all weights."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import keras
import numpy as np
from keras import ops

from kerasreg._backends import compiled
from kerasreg._tensors import Tensor
from kerasreg.statistics.device.blocks import blocks_of, shard_shape
from kerasreg.statistics.device.columns import NO_EXPONENT, Column
from kerasreg.statistics.device.fused_reduction import block_columns
from kerasreg.statistics.device.sharding import everywhere
from kerasreg.statistics.weights import Computed, compute_penalties

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
        self.columns: list[Column] = []
        for block in self._blocks:
            size = math.prod(block.shape)
            for member in block.members:
                units = math.prod(shapes[member][axis] for axis in unit_axes[member] or ())
                padding = (size - math.prod(shapes[member]), size // block.unit_size - units)
                self.columns.append(Column(member, *padding))
        self._settings = (threshold, histograms)
        # The exponents lie where results of the program will lie.
        self._sharding = everywhere(values)
        exponents = np.full(len(self.columns), NO_EXPONENT, np.int32)
        self._exponents = ops.convert_to_tensor(exponents)
        if self._sharding is not None:
            import jax

            self._exponents = jax.device_put(exponents, self._sharding)
        self._penalties: list[Computed] | None = None
        self._program: Callable[..., tuple[Tensor, Tensor]]

    def __call__(self, values: Values, penalties: list[Computed], scales: Values) -> Tensor:
        """Starts the reduction.

        Args:
            values: The weights, and behind them others that penalties need.
            penalties: Penalties to compute.
            scales: Scalars that are handed over as they are.

        Returns:
            The vector.
        """
        if penalties != self._penalties:
            self._penalties = penalties
            # A new object: of an equal method JAX would go on using what it traced before.
            reduce = functools.partial(self._reduce, penalties)
            self._program = compiled(reduce, out_shardings=self._sharding)
        vector, self._exponents = self._program(list(values), list(scales), self._exponents)
        return vector

    def _reduce(
        self, penalties: list[Computed], values: Values, scales: Values, exponents: Tensor
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
        computed = compute_penalties(penalties, values.__getitem__)
        parts.extend(ops.reshape(value, (1,)) for value in computed)
        parts.extend(ops.reshape(scale, (1,)) for scale in scales)
        dtypes = {keras.backend.standardize_dtype(part.dtype) for part in parts}
        wide = "float64" if "float64" in dtypes else "float32"
        vector = ops.concatenate([ops.cast(part, wide) for part in parts])
        return vector, ops.concatenate(new_exponents)
