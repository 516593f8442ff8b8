"""The statistics on PyTorch: operations that run one by one, none of which waits for the host.

Norms of order 0, 1, 2 and infinity read a piece once each and write next to nothing. Each of their
results belongs to one unit, and is added to that unit's other ones.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import torch

from kerasreg.statistics.device.columns import DIGIT_BITS, NO_EXPONENT, Column
from kerasreg.statistics.device.pieces import pieces_of, unit_numbers
from kerasreg.statistics.numbers import BUCKETS, LEAST_EXPONENT, limit_of
from kerasreg.statistics.weights import Computed, compute_penalties

_HALF = BUCKETS // 2
# Buckets are numbered from zero outwards, -16 to 16: 0 is zero itself, 17 the outer edge.
_OUTER = _HALF + 1
_NUMBERS = 2 * _OUTER + 1

Values = Sequence[torch.Tensor]


class TorchReduction:
    """Does what `CompiledReduction` does, whose arguments it takes."""

    def __init__(
        self,
        values: Values,
        unit_axes: Sequence[tuple[int, ...] | None],
        threshold: float,
        histograms: bool,
    ) -> None:
        shapes = [tuple(value.shape) for value in values]
        dtypes = [keras.backend.standardize_dtype(value.dtype) for value in values]
        lengths = [
            math.prod(shape[axis] for axis in axes or ())
            for shape, axes in zip(shapes, unit_axes, strict=True)
        ]
        first_units = np.concatenate([[0], np.cumsum(lengths)]).tolist()
        self.columns = [Column(number) for number in range(len(values))]
        self._pieces = pieces_of(shapes, dtypes, unit_axes)
        self._threshold = threshold
        self._histograms = histograms
        device = values[0].device if values else torch.device("cpu")
        # Apple's GPUs have no float64.
        self._wide = torch.float32 if device.type == "mps" else torch.float64

        def constant(array: Any) -> torch.Tensor:
            return torch.tensor(array, device=device)

        numbers = list(map(unit_numbers, shapes, unit_axes, first_units))
        self._units = [constant(piece.units(numbers)) for piece in self._pieces]
        self._weights = constant(np.repeat(np.arange(len(values)), lengths))
        self._sizes = constant(np.array([math.prod(s) for s in shapes], "float32")).to(self._wide)
        self._exponents = constant(np.full(len(values), NO_EXPONENT, dtype=np.int32))
        nothing = [0.0, -math.inf, -math.inf] if histograms else [0.0]
        self._nothing = constant(np.array(nothing, "float32")).to(self._wide)

    @torch.no_grad()
    def __call__(self, values: Values, penalties: list[Computed], scales: Values) -> torch.Tensor:
        """Starts the reduction; returns the vector."""
        sums, largest = self._reduce(values)
        nonzeros, not_near, dead, *norms = sums
        counts = [self._sizes - nonzeros, self._sizes - not_near, dead]
        digits = [_digits(count) for count in counts]
        tail = []
        if self._histograms:
            outer = largest[1:].amax(0).clamp_min(0.0)
            self._exponents = torch.maximum(self._exponents, _exponents(outer))
            tail = [torch.stack([-largest[1], largest[2]], dim=1)]
            tail.append(_digits(self._count_buckets(values)).flatten(1))
        numbers = torch.stack([*norms, largest[0], self._exponents.to(self._wide)], dim=1)
        columns = torch.cat([*digits, numbers, *tail], dim=1)
        extra = compute_penalties(penalties, values.__getitem__)
        extra += scales
        return torch.cat([columns.flatten(), *(e.reshape(1).to(self._wide) for e in extra)])

    def _reduce(self, values: Values) -> tuple[torch.Tensor, torch.Tensor]:
        """Of each weight five sums, and the largest magnitude.

        With histograms also the least value in a bucket, its sign turned, and the greatest.
        """
        zeros = functools.partial(torch.zeros, dtype=self._wide, device=self._exponents.device)
        sums = zeros((4, len(self._weights)))
        nothing = self._nothing[:, None]
        largest = nothing.repeat(1, len(self._weights))
        for piece, numbers in zip(self._pieces, self._units, strict=True):
            x = piece.take(values)
            added, compared = self._partial_results(x, piece.axis + 1)
            sums.index_add_(1, numbers, added.to(self._wide))
            index = numbers.expand(len(largest), -1)
            largest.scatter_reduce_(1, index, compared.to(self._wide), "amax")
        nonzeros, not_near, l1_norm, squares = sums
        of_units = torch.stack(
            [nonzeros, not_near, (nonzeros == 0).to(self._wide), l1_norm, squares]
        )
        totals = zeros((5, len(values))).index_add_(1, self._weights, of_units)
        index = self._weights.expand(len(largest), -1)
        of_all = nothing.repeat(1, len(values))
        return totals, of_all.scatter_reduce_(1, index, largest, "amax")

    def _partial_results(self, x: torch.Tensor, axis: int) -> tuple[torch.Tensor, torch.Tensor]:
        norm = torch.linalg.vector_norm
        # Zero up to the number next to the limit, and unchanged above it.
        not_near = norm(torch.nn.functional.hardshrink(x, self._largest_near_zero(x)), 0, axis)
        squares = norm(x, 2, axis).square()
        sums = [norm(x, 0, axis), not_near, norm(x, 1, axis), squares]
        largest = [norm(x, math.inf, axis)]
        if self._histograms:
            uncounted = (x == 0).logical_or_(x.isfinite().logical_not_())
            largest.append(x.masked_fill(uncounted, math.inf).amin(axis).neg_())
            largest.append(x.masked_fill(uncounted, -math.inf).amax(axis))
        return _rows(sums), _rows(largest)

    def _largest_near_zero(self, x: torch.Tensor) -> float:
        kind = np.dtype(str(x.dtype).removeprefix("torch.")).type
        return float(np.nextafter(kind(limit_of(self._threshold, kind.__name__)), kind(0)))

    def _count_buckets(self, values: Values) -> torch.Tensor:
        """Counts of the buckets of each weight."""
        counts = torch.zeros((len(values), _NUMBERS), dtype=self._wide, device=self._sizes.device)
        scales = torch.exp2((math.log2(_HALF) - self._exponents).to(self._wide))
        for piece, units in zip(self._pieces, self._units, strict=True):
            x = piece.take(values)
            if piece.place is None:
                weights = self._weights[units]
                numbers = _numbers(x[:, 0], scales[weights].to(x.dtype))
                numbers = torch.nan_to_num(numbers, 0.0, 0.0, 0.0).long() + _OUTER
                ones = torch.ones_like(numbers, dtype=self._wide)
                counts.view(-1).index_add_(0, weights * _NUMBERS + numbers, ones)
            else:
                numbers = _numbers(x, scales[piece.members[0]].to(x.dtype))
                edge = _OUTER + 0.5  # What is not finite lies beyond it.
                with _deterministic_in_fact():
                    counts[piece.members[0]] += torch.histc(numbers, _NUMBERS, -edge, edge)
        counts[:, 1] += counts[:, 0]
        counts[:, -2] += counts[:, -1]
        return torch.cat([counts[:, 1:_OUTER], counts[:, _OUTER + 1 : -1]], dim=1)


def _rows(results: Sequence[torch.Tensor]) -> torch.Tensor:
    return torch.stack([result.flatten() for result in results])


def _digits(counts: torch.Tensor) -> torch.Tensor:
    base = 2.0**DIGIT_BITS
    return torch.stack([torch.floor(counts / base), torch.remainder(counts, base)], dim=-1)


def _exponents(largest: torch.Tensor) -> torch.Tensor:
    """Exponents of the smallest powers of two that are not below the largest magnitudes."""
    mantissa, exponents = torch.frexp(largest)
    exponents = (exponents - (mantissa == 0.5).int()).clamp_min(LEAST_EXPONENT)
    return torch.where(largest > 0, exponents, NO_EXPONENT)


def _numbers(x: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    return (x * scale).trunc_().add_(torch.sign(x))


@contextlib.contextmanager
def _deterministic_in_fact() -> Iterator[None]:
    """Lets `histc` run where only deterministic operations may: it counts whole numbers."""
    before = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(False)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warn_only)
