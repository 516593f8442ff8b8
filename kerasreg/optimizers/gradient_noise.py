"""How much the gradients of minibatches scatter."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from keras import ops

from kerasreg._tensors import Tensor, to_numpy
from kerasreg.optimizers.state import State
from kerasreg.optimizers.targets import Target

# The mean is that of the last 20 updates, measured on so many entries of each weight.
DECAY = 0.95
SAMPLE_SIZE = 4096


class GradientNoise:
    """The variance of an entry of each weight's gradients, from one update to the next.

    It is half the mean square of the difference of two gradients one after the other, from which
    drift drops out (von Neumann, Distribution of the Ratio of the Mean Square Successive Difference
    to the Variance, 1941).

    Args:
        targets: The weights.
        state: Makes and keeps the variables.
    """

    def __init__(self, targets: Sequence[Target], state: State) -> None:
        self._targets = tuple(targets)
        shapes = [target.variable.shape for target in targets]
        self._strides = [_stride(shape) for shape in shapes]
        self._sizes = [
            -(-math.prod(shape) // stride)
            for shape, stride in zip(shapes, self._strides, strict=True)
        ]
        self._sample = state.add("gradient_sample", (len(shapes), max(self._sizes)))
        self._variance = state.add("gradient_noise", (len(shapes),))
        self._count = state.add("gradients_seen")

    def deviations(self) -> dict[Target, float]:
        """The standard deviation of an entry of each weight's gradients, as known by now."""
        deviations = np.sqrt(to_numpy(self._variance.value))
        return dict(zip(self._targets, deviations.tolist(), strict=True))

    def update(
        self, gradients: Mapping[Target, Tensor], happens: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Takes in the gradients of an update.

        Args:
            gradients: Those of the weights that have one.
            happens: Whether there is an update; `None` if there is for sure.

        Returns:
            The number of updates so far, and the variances.
        """
        sample = ops.stack(
            [self._entries(i, gradients.get(target)) for i, target in enumerate(self._targets)]
        )
        count = self._count.value + 1.0
        squares = ops.sum(ops.square(sample - self._sample.value), axis=1)
        fresh = squares / ops.convert_to_tensor(2.0 * np.array(self._sizes, "float32"))
        weight = ops.maximum(1.0 - DECAY, 1.0 / ops.maximum(count - 1.0, 1.0))
        variance = self._variance.value + weight * (fresh - self._variance.value)
        variance = ops.where(count > 1, variance, 0.0)
        new = [count, variance, sample]
        for variable, value in zip((self._count, self._variance, self._sample), new, strict=True):
            value = value if happens is None else ops.where(happens, value, variable.value)
            variable.assign(value)
        return count, variance

    def _entries(self, number: int, gradient: Tensor | None) -> Tensor:
        """Some entries of a gradient; the earlier ones where there is none."""
        if gradient is None:
            return self._sample.value[number]
        entries = ops.cast(ops.reshape(gradient, (-1,))[:: self._strides[number]], "float32")
        missing = self._sample.shape[1] - self._sizes[number]
        return ops.pad(entries, ((0, missing),)) if missing else entries


def _stride(shape: Sequence[int]) -> int:
    """From one entry of a sample to the next, so that it is spread over all rows and columns."""
    stride = -(-math.prod(shape) // SAMPLE_SIZE) or 1
    while any(math.gcd(stride, size) > 1 for size in shape):
        stride += 1
    return stride
