"""Isotonic regression: the nearest sequence that does not rise."""

from __future__ import annotations

from keras import ops

from kerasreg._tensors import Tensor


def nearest_falling(x: Tensor, starts: Tensor) -> Tensor:
    """The nearest vector that does not rise within each run.

    By pooling adjacent violators: blocks of entries that have one value, their mean. All blocks
    that a larger one follows are joined with it at once, until there is none; that is a few rounds
    of sums, and seldom many.

    Source: Best & Chakravarti, Active Set Algorithms for Isotonic Regression, 1990.

    Args:
        x: Vector of shape `(n,)`.
        starts: Boolean vector, true where a run begins, at the first entry for one.

    Returns:
        A vector of the same shape.
    """
    size = ops.shape(x)[0]
    positions = ops.arange(size)

    def means(begins: Tensor) -> Tensor:
        """The mean of its block at each entry."""
        block = ops.cumsum(ops.cast(begins, "int32")) - 1
        total = ops.segment_sum(x, block, num_segments=size)
        count = ops.segment_sum(ops.ones_like(x), block, num_segments=size)
        return ops.take(total / ops.maximum(count, 1.0), block)

    def rises(begins: Tensor) -> Tensor:
        """Where a block begins that is larger than the one before it, in the same run."""
        mean = means(begins)
        before = ops.take(mean, ops.maximum(positions - 1, 0))
        own = ops.logical_and(begins, ops.logical_not(starts))
        return ops.logical_and(own, mean > before)

    def join(begins: Tensor, rising: Tensor) -> tuple[Tensor, Tensor]:
        joined = ops.logical_and(begins, ops.logical_not(rising))
        return joined, rises(joined)

    begins = ops.ones_like(starts)
    begins, _ = ops.while_loop(lambda _, rising: ops.any(rising), join, (begins, rises(begins)))
    return means(begins)
