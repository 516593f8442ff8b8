"""How far a penalty on the norms of groups shrinks each of them, in a diagonal metric.

The minimiser of `sum_i (z_i - w_i)^2 / (2 d_i) + phi(||z||)` has `z_i = w_i nu / (nu + d_i)` with
`nu = s / phi'(s)` and `s = ||z||`: zero for `nu = 0`, `w` itself for an infinite one. With

    p(nu) = (sum_i w_i^2 / (nu + d_i)^2) ^ (-1/2)

that is `p(nu) = nu / s`, whose right-hand side is known for each penalty: `1 / strength` for the
group lasso, where `phi' = strength`. `p` is concave (Conn, Gould & Toint, Trust-Region Methods,
2000, section 7.3), and the right-hand sides here are convex: so there are two solutions at most,
of which the smaller one is the minimum, and Newton's method from a lower bound climbs to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

from keras import ops

from kerasreg._tensors import Tensor, slice_axes

ITERATIONS = 32
TOLERANCE = 1e-3  # of a change; convergence is quadratic, so that 1e-6 is left

Line: TypeAlias = Callable[[Tensor], tuple[Tensor, Tensor]]


class Sums(Protocol):
    """What groups of entries of one or several tensors are summed by."""

    def total(self, parts: Sequence[Tensor]) -> Tensor:
        """The sum over each group."""

    def largest(self, parts: Sequence[Tensor]) -> Tensor:
        """The largest entry of each group."""

    def spread(self, of_groups: Tensor) -> list[Tensor]:
        """For each tensor the number of each entry's group; it broadcasts to the tensor."""


class SliceSums:
    """Sums over slices of one tensor.

    Args:
        rank: Of the tensor.
        axes: The axes that number the slices.
    """

    def __init__(self, rank: int, axes: Sequence[int]) -> None:
        self._within = slice_axes(rank, axes)

    def total(self, parts: Sequence[Tensor]) -> Tensor:
        """The sum over each slice, its axes kept as 1."""
        [x] = parts
        return ops.sum(x, axis=self._within, keepdims=True) if self._within else x

    def largest(self, parts: Sequence[Tensor]) -> Tensor:
        """The largest entry of each slice."""
        [x] = parts
        return ops.max(x, axis=self._within, keepdims=True) if self._within else x

    def spread(self, of_groups: Tensor) -> list[Tensor]:
        """The same, as it broadcasts."""
        return [of_groups]


def solve(
    ws: Sequence[Tensor], steps: Sequence[Tensor], sums: Sums, strength: Tensor, line: Line
) -> Tensor:
    """The smallest solution `nu` of `p(nu) = line(nu)` for each group.

    Args:
        ws: Tensors.
        steps: For each of them the steps `d`, of the same shape or a scalar.
        sums: The groups.
        strength: Positive strength of the groups.
        line: The right-hand side and its slope: convex, and `1 / strength` at least.

    Returns:
        A number for each group: 0 where it vanishes, infinity where nothing shrinks it.
    """
    # Below these no term of the sum alone allows `p` to reach `1 / strength`.
    strengths = sums.spread(strength)
    bounds = [ops.abs(w) / s - d for w, s, d in zip(ws, strengths, steps, strict=True)]
    nu = ops.relu(sums.largest(bounds))

    def is_moving(nu: Tensor, change: Tensor) -> Tensor:
        return ops.any(change > TOLERANCE * nu)

    def iterate(nu: Tensor, change: Tensor) -> tuple[Tensor, Tensor]:
        is_open = nu < float("inf")
        now = ops.where(is_open, nu, 0.0)
        f, fall = _squares(ws, steps, sums, now)
        is_open = ops.logical_and(is_open, f > 0)
        safe = ops.where(is_open, f, 1.0)
        left, (right, right_slope) = 1.0 / ops.sqrt(safe), line(now)
        slope = left * fall / safe - right_slope
        missing = ops.where(is_open, ops.relu(right - left), 0.0)
        # A curve that stays below the line belongs to a group that is too large to be shrunk.
        step = ops.where(slope > 0, missing / ops.where(slope > 0, slope, 1.0), float("inf"))
        step = ops.where(missing > 0, step, 0.0)
        return nu + step, step

    start = (nu, ops.full_like(nu, float("inf")))
    nu, _ = ops.while_loop(is_moving, iterate, start, maximum_iterations=ITERATIONS)
    return nu


def shrink(w: Tensor, step: Tensor, nu: Tensor) -> Tensor:
    """`w nu / (nu + d)`; `w` itself where the step is 0 or `nu` is infinite."""
    kept = ops.logical_or(step == 0, nu == float("inf"))
    finite = ops.where(kept, 1.0, nu)
    return ops.where(kept, w, w * (finite / (finite + step)))


def distances(ws: Sequence[Tensor], steps: Sequence[Tensor], sums: Sums, nu: Tensor) -> Tensor:
    """`sum_i (z_i - w_i)^2 / (2 d_i)` of each group, for the weights shrunk by a finite `nu`."""
    spread = sums.spread(nu)
    return sums.total(
        [
            0.5 * d * ops.square(w * _inverse(n + d))
            for w, d, n in zip(ws, steps, spread, strict=True)
        ]
    )


def _squares(
    ws: Sequence[Tensor], steps: Sequence[Tensor], sums: Sums, nu: Tensor
) -> tuple[Tensor, Tensor]:
    """`sum_i w_i^2 / (nu + d_i)^2` of each group, and the same with the third power."""
    inverses = [_inverse(n + d) for n, d in zip(sums.spread(nu), steps, strict=True)]
    squares = [ops.square(w * inverse) for w, inverse in zip(ws, inverses, strict=True)]
    cubes = [square * inverse for square, inverse in zip(squares, inverses, strict=True)]
    return sums.total(squares), sums.total(cubes)


def _inverse(x: Tensor) -> Tensor:
    return 1.0 / ops.where(x > 0, x, float("inf"))
