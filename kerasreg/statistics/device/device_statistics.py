"""Measures weights where they lie, on an accelerator or spread over several."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from kerasreg._tensors import Tensor
from kerasreg.statistics.device.columns import LENGTH, LENGTH_WITH_BUCKETS, histogram_of
from kerasreg.statistics.device.packed_zeros import PackedZeros, unpacked
from kerasreg.statistics.numbers import Measured, Parts, Statistics
from kerasreg.statistics.structured import Structured, StructuredWeights
from kerasreg.statistics.weights import (
    Weight,
    penalties_to_compute,
    scale_variables,
    total_value,
)


class DeviceStatistics:
    """Measures weights on their device, all of them in one program where there is a compiler.

    Sums are taken in float32, in stages, and in float64 of weights that are float64; the square of
    a magnitude outside 1e-19 to 1e19 leaves float32. Histograms take a second look at the weights.

    Args:
        weights: The weights.
        threshold: Magnitude below which a weight counts as near zero.
        histograms: Whether to count histograms as well.
    """

    immediate = False
    """Whether the numbers are there as soon as a call returns."""

    def __init__(self, weights: Sequence[Weight], threshold: float, histograms: bool) -> None:
        self._weights = weights
        self._length = LENGTH_WITH_BUCKETS if histograms else LENGTH
        self._histograms = histograms
        self._structured, self._zeros = StructuredWeights(weights), PackedZeros()
        axes = [weight.unit_axes for weight in weights]
        self._reduction = reduction_of(self._values(), axes, threshold, histograms)

    def __call__(self) -> Callable[[], Measured]:
        """Starts to measure the weights as they are now.

        Returns:
            A function that waits for the `Measured` and hands it over, in any thread; the weights
            may have changed by then.
        """
        acting = [weight.acting_penalties for weight in self._weights]
        variables, computed = penalties_to_compute(self._weights)
        scales = scale_variables(self._weights)
        values = list(map(_value_now, variables))
        vector = self._reduction(values, computed, list(map(_value_now, scales)))
        fetch, places = fetch_later(vector), list(map(id, scales))
        parts = self._count_parts(self._structured.now())
        return lambda: self._measured(
            np.asarray(fetch(), np.float64), acting, len(computed), places, parts()
        )

    def _count_parts(
        self, structured: Sequence[Structured]
    ) -> Callable[[], tuple[list[Parts | None], list[Parts]]]:
        """Starts to read what penalties zero as a whole; returns a function that counts it."""
        variables = {id(v): v for each in structured for v in each.variables}
        if not variables:
            return lambda: self._structured.count([], {}.__getitem__)
        fetch = fetch_later(self._zeros(list(map(_value_now, variables.values()))))
        shapes = [tuple(variable.shape) for variable in variables.values()]

        def count() -> tuple[list[Parts | None], list[Parts]]:
            alive = dict(zip(variables, unpacked(fetch(), shapes), strict=True))
            return self._structured.count(structured, lambda variable: alive[id(variable)])

        return count

    def _measured(
        self,
        vector: npt.NDArray[np.float64],
        acting: list[list[tuple[Any, Any]]],
        computed: int,
        scales: list[int],
        parts: tuple[list[Parts | None], list[Parts]],
    ) -> Measured:
        columns = self._reduction.columns
        table, rest = np.split(vector, [len(columns) * self._length])
        # Of weights without elements, for which nothing is computed.
        statistics = [
            Statistics(0, 0, 0, 0.0, 0.0, 0.0, w.units, dead_units=w.units) for w in self._weights
        ]
        histograms = [np.zeros((0, 3))] * len(self._weights) if self._histograms else []
        for column, numbers in zip(columns, table.reshape(-1, self._length), strict=True):
            weight = self._weights[column.number]
            size = math.prod(weight.variable.shape)
            statistics[column.number] = column.statistics(numbers, size, weight.units)
            if self._histograms:
                histograms[column.number] = histogram_of(numbers)
        scale = dict(zip(scales, rest[computed:].tolist(), strict=True))
        values = iter(rest[:computed].tolist())  # in the order in which they are asked for
        penalties = [
            total_value(of_weight, numbers, scale, lambda _: next(values))
            for of_weight, numbers in zip(acting, statistics, strict=True)
        ]
        counts = [w.counts for w in self._weights]
        return Measured(statistics, histograms, penalties, counts, *parts)

    def _values(self) -> list[Tensor]:
        return [_value_now(weight.variable) for weight in self._weights]


def reduction_of(
    values: Sequence[Tensor],
    unit_axes: Sequence[tuple[int, ...] | None],
    threshold: float,
    histograms: bool,
) -> Any:
    """What reduces tensors to a vector on this backend; see `CompiledReduction`."""
    if keras.backend.backend() == "torch":
        from kerasreg.statistics.device.torch_reduction import TorchReduction

        return TorchReduction(values, unit_axes, threshold, histograms)
    from kerasreg.statistics.device.compiled import CompiledReduction

    return CompiledReduction(values, unit_axes, threshold, histograms)


def _value_now(variable: Any) -> Tensor:
    """The value as a tensor, where it lies; of a mirrored variable this process's replica."""
    if keras.backend.backend() == "torch":  # Keras would move it to its default device.
        return variable.value.detach()
    if keras.backend.backend() == "tensorflow":  # Keras would hand over the variable itself.
        import tensorflow as tf

        return tf.convert_to_tensor(variable.value)
    return variable.value


def fetch_later(vector: Tensor) -> Callable[[], npt.NDArray[Any]]:
    """A function that waits for a tensor and fetches it, in any thread."""
    if keras.backend.backend() == "jax":
        import jax

        return lambda: np.asarray(jax.device_get(vector))
    if keras.backend.backend() == "torch" and vector.device.type != "cpu":
        import torch

        # Another thread has a stream of its own, which would not wait for this one.
        event = torch.Event(vector.device)
        event.record()

        def fetch() -> npt.NDArray[Any]:
            event.synchronize()
            return np.asarray(vector.cpu().numpy())

        return fetch
    return lambda: np.asarray(vector.numpy())
