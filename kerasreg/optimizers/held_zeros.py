"""Zeros that stay: a weight at zero leaves when its averaged gradient says so.

The gradient of a minibatch is that of all samples and noise. Where the noise exceeds the strength
of a penalty, a zero that is optimal leaves at once; the averaged gradient has less of it.

Sources: Xiao, Dual Averaging Methods for Regularized Stochastic Learning, 2010; Lee & Wright,
Manifold Identification in Dual Averaging for Regularized Stochastic Online Learning, 2012; Poon,
Liang & Schoenlieb, Local Convergence Properties of SAGA/Prox-SVRG and Acceleration, 2018.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from keras import ops

from kerasreg._backends import outside_of_graphs
from kerasreg._tensors import Tensor, cast_like, to_float, to_numpy
from kerasreg.optimizers.state import State
from kerasreg.optimizers.targets import Target
from kerasreg.regularizers import Penalty
from kerasreg.regularizers.base import Hold

# The average is over so many updates that what is left of the noise is a tenth of the strength,
TOLERATED_NOISE = 0.1
# but over 1000 at most, and early over a quarter of them: old gradients are of other weights.
LONGEST_MEAN = 1000.0
EARLY_UPDATES = 4.0
# The noise is that of the last 20 updates, measured on so many entries of each weight.
NOISE_DECAY = 0.95
SAMPLE_SIZE = 4096


class HeldZeros:
    """The averaged gradients of the weights of some penalties.

    Args:
        strengths: How strongly its penalty pulls at an entry of a weight that is zero, for each
            weight whose zeros are held.
        numbers: The number of each weight among all of the optimizer.
        state: Makes and keeps the variables: the averaged gradient of each weight, and few numbers.
    """

    def __init__(
        self, strengths: Mapping[Target, float], numbers: Sequence[int], state: State
    ) -> None:
        self.strengths = strengths
        weights = [target.variable for target in strengths]
        self._means = {
            target: state.add_like("mean_gradient", target.variable, number)
            for target, number in zip(strengths, numbers, strict=True)
        }
        self._strides = [_stride(weight.shape) for weight in weights]
        self._sampled = [
            -(-math.prod(weight.shape) // stride)
            for weight, stride in zip(weights, self._strides, strict=True)
        ]
        self._earlier = state.add("gradient_sample", (len(weights), max(self._sampled)))
        self._noise = state.add("gradient_noise", (len(weights),))
        self._averaged = state.add("gradients_averaged")

    def mean(self, target: Target) -> Tensor:
        """The averaged gradient of a weight."""
        return self._means[target].value

    def noise(self) -> dict[Target, float]:
        """The standard deviation of an entry of each weight's gradients, by its minibatches."""
        deviations = np.sqrt(to_numpy(self._noise.value))
        return dict(zip(self.strengths, deviations.tolist(), strict=True))

    def begin(
        self, gradients: Mapping[Target, Tensor], scale: Tensor, happens: Tensor | None
    ) -> dict[Target, Hold]:
        """What decides in an update which zeros of each weight stay.

        Args:
            gradients: The gradients of the update, of those weights that have one.
            scale: What multiplies the strengths now.
            happens: Whether there is an update; `None` if there is for sure.
        """
        rates = zip(self._means.items(), self._rates(gradients, scale, happens), strict=True)
        return {
            target: Hold(ops.equal(target.variable.value, 0), gradients[target], mean.value, rate)
            for (target, mean), rate in rates
            if target in gradients
        }

    def assign(self, target: Target, mean: Tensor) -> None:
        """Keeps the new averaged gradient of a weight."""
        self._means[target].assign(cast_like(mean, self._means[target]))

    def _rates(
        self, gradients: Mapping[Target, Tensor], scale: Tensor, happens: Tensor | None
    ) -> list[Tensor]:
        """The share of the new gradient in the average of each weight."""
        given = [gradients.get(target) for target in self.strengths]
        sample = ops.stack([self._sample(i, gradient) for i, gradient in enumerate(given)])
        count = self._averaged.value + 1.0
        # By the difference of two gradients one after the other, from which drift drops out.
        squares = ops.sum(ops.square(sample - self._earlier.value), axis=1)
        fresh = squares / ops.convert_to_tensor(2.0 * np.array(self._sampled, "float32"))
        weight = ops.maximum(1.0 - NOISE_DECAY, 1.0 / ops.maximum(count - 1.0, 1.0))
        noise = self._noise.value + weight * (fresh - self._noise.value)
        noise = ops.where(count > 1, noise, 0.0)
        strengths = ops.convert_to_tensor(np.array([*self.strengths.values()], "float32"))
        allowed = ops.square(TOLERATED_NOISE * strengths * scale)
        of_noise = 2.0 * allowed / ops.maximum(noise, 1e-37)
        least = ops.maximum(EARLY_UPDATES / count, 1.0 / LONGEST_MEAN)
        rates = ops.minimum(ops.where(noise > 0, ops.maximum(of_noise, least), 1.0), 1.0)
        new = [count, noise, sample]
        old = [self._averaged, self._noise, self._earlier]
        if happens is not None:
            new = [ops.where(happens, x, v.value) for x, v in zip(new, old, strict=True)]
            rates = ops.where(happens, rates, 0.0)
        for variable, value in zip(old, new, strict=True):
            variable.assign(value)
        return list(ops.unstack(rates))

    def _sample(self, number: int, gradient: Tensor | None) -> Tensor:
        """Some entries of a gradient; the earlier ones where there is none."""
        if gradient is None:
            return self._earlier.value[number]
        entries = ops.cast(ops.reshape(gradient, (-1,)), "float32")[:: self._strides[number]]
        missing = self._earlier.shape[1] - self._sampled[number]
        return ops.pad(entries, ((0, missing),)) if missing else entries


def _stride(shape: Sequence[int]) -> int:
    """From one entry of a sample to the next, so that it is spread over all rows and columns."""
    stride = -(-math.prod(shape) // SAMPLE_SIZE) or 1
    while any(math.gcd(stride, size) > 1 for size in shape):
        stride += 1
    return stride


def strengths_at_zero(penalty: Penalty, variables: Sequence[Any]) -> list[float] | None:
    """How strongly a penalty pulls at an entry of each weight that is zero; `None` if never held.

    That is how much of a large gradient it takes up there: `l1` of the lasso. No zero is held by a
    penalty that takes up nothing, as one with a gradient everywhere, or all, whatever the gradient,
    so that a zero would never leave.
    """
    if penalty.is_constraint or not penalty.implements("_residual", "subdifferential_distance"):
        return None
    with outside_of_graphs():
        zeros = [ops.zeros_like(v.value) for v in variables]
        size = 10.0 * (penalty.main_strength or 1.0)
        for _ in range(12):  # until most of the gradient is left
            taken = [_taken_up(penalty, zeros, sign * size) for sign in (1.0, -1.0)]
            least = [min(pair) for pair in zip(*taken, strict=True)]
            if max(least, default=0.0) < 0.5 * size:
                return least if min(least, default=0.0) > 0 else None
            size *= 10.0
    return None


def _taken_up(penalty: Penalty, zeros: Sequence[Tensor], size: float) -> list[float]:
    """The root mean square of what a penalty takes up of gradients that are `size` everywhere."""
    left = penalty.residuals(zeros, [ops.full_like(zero, size) for zero in zeros])
    squares = (ops.mean(ops.square(size - ops.cast(x, "float32"))) for x in left)
    return [math.sqrt(to_float(square)) for square in squares]
