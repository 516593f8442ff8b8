"""Zeros that stay: a weight at zero leaves when its averaged gradient says so.

The gradient of a minibatch is that of all samples and noise. Where the noise exceeds the strength
of a penalty, a zero that is optimal leaves at once; the averaged gradient has less of it.

Sources: Xiao, Dual Averaging Methods for Regularized Stochastic Learning, 2010; Lee & Wright,
Manifold Identification in Dual Averaging for Regularized Stochastic Online Learning, 2012; Poon,
Liang & Schoenlieb, Local Convergence Properties of SAGA/Prox-SVRG and Acceleration, 2018.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from keras import ops

from kerasreg._backends import compiled, outside_of_graphs, runs_in_place
from kerasreg._tensors import Tensor, cast_like, to_float
from kerasreg.optimizers.gradient_noise import GradientNoise
from kerasreg.optimizers.state import State
from kerasreg.optimizers.targets import Target
from kerasreg.regularizers import Penalty
from kerasreg.regularizers.update import Hold

# The average is over so many updates that what is left of the noise is a tenth of the strength,
TOLERATED_NOISE = 0.1
# but over 1000 at most, and early over a quarter of them: old gradients are of other weights.
LONGEST_MEAN = 1000.0
EARLY_UPDATES = 4.0


class HeldZeros:
    """The averaged gradients of the weights whose zeros are held.

    Args:
        strengths: How strongly its penalty pulls at an entry of a weight that is zero, for each
            weight whose zeros can be held.
        holds: Whether they are; else only the noise of the gradients is measured.
        numbers: The number of each weight among all of the optimizer.
        state: Makes and keeps the variables: the averaged gradient of each weight, and few numbers.
    """

    def __init__(
        self, strengths: Mapping[Target, float], holds: bool, numbers: Sequence[int], state: State
    ) -> None:
        self.strengths, self.holds = strengths, holds
        pairs = zip(strengths, numbers, strict=True) if holds else ()
        self._means = {
            target: state.add_like("mean_gradient", target.variable, number)
            for target, number in pairs
        }
        self._noise = GradientNoise([*strengths], state)
        self._count_held = compiled(self._held)

    def begin(
        self, gradients: Mapping[Target, Tensor], scale: Tensor, happens: Tensor | None
    ) -> dict[Target, Hold]:
        """What decides in an update which zeros of each weight stay.

        Args:
            gradients: The gradients of the update, of those weights that have one.
            scale: What multiplies the strengths now.
            happens: Whether there is an update; `None` if there is for sure.
        """
        count, noise = self._noise.update(gradients, happens)
        rates = self._rates(count, noise, scale)
        if happens is not None:
            rates = ops.where(happens, rates, 0.0)
        return {
            target: Hold(_equals_zero(target.variable.value), gradients[target], mean.value, rate)
            for (target, mean), rate in zip(self._means.items(), ops.unstack(rates), strict=False)
            if target in gradients
        }

    def assign(self, target: Target, mean: Tensor) -> None:
        """Keeps the new averaged gradient of a weight."""
        self._means[target].assign(cast_like(mean, self._means[target]))

    def share(self, scale: Tensor) -> float:
        """The share of the entries that are zero, and stay so by their averaged gradients."""
        given = [(t.variable.value, mean.value) for t, mean in self._means.items()]
        total = sum(int(math.prod(target.variable.shape)) for target in self._means)
        held: float = to_float(self._count_held(given, ops.convert_to_tensor(scale)))
        return held / total

    def noise_by_strength(self, scale: float) -> dict[Target, float]:
        """The standard deviation of an entry of each weight's gradients, by its strength now."""
        deviations = self._noise.deviations().items()
        strengths = {target: strength * scale for target, strength in self.strengths.items()}
        return {t: noise / strengths[t] for t, noise in deviations if strengths[t] > 0}

    def _rates(self, count: Tensor, noise: Tensor, scale: Tensor) -> Tensor:
        """The share of the new gradient in the average of each weight."""
        strengths = ops.convert_to_tensor(np.array([*self.strengths.values()], "float32"))
        allowed = ops.square(TOLERATED_NOISE * strengths * scale)
        of_noise = 2.0 * allowed / ops.where(noise > 0, noise, 1.0)
        least = ops.maximum(EARLY_UPDATES / count, 1.0 / LONGEST_MEAN)
        return ops.minimum(ops.where(noise > 0, ops.maximum(of_noise, least), 1.0), 1.0)

    def _held(self, given: Sequence[tuple[Tensor, Tensor]], scale: Tensor) -> Tensor:
        """How many entries are zero and stay so, of weights with their averaged gradients."""
        of_penalty: dict[Penalty, list[tuple[Tensor, Tensor, str]]] = defaultdict(list)
        for target, (w, mean) in zip(self._means, given, strict=True):
            of_penalty[target.penalty].append((ops.equal(w, 0), mean, target.variable.path))
        total = ops.zeros(())
        for penalty, given_to_it in of_penalty.items():
            zeros, means, paths = zip(*given_to_it, strict=True)
            found = penalty.resting(zeros, means, scale, paths)
            for rests, zero in zip(found, zeros, strict=True):
                total = total + ops.sum(ops.cast(ops.logical_and(rests, zero), "float32"))
        return total


def _equals_zero(x: Tensor) -> Tensor:
    x = ops.stop_gradient(x)
    if runs_in_place(x):
        from kerasreg.regularizers.torch_prox import equals_zero

        return equals_zero(x)
    return ops.equal(x, 0)


def strengths_at_zero(penalty: Penalty, variables: Sequence[Any]) -> list[float] | None:
    """How strongly a penalty pulls at an entry of each weight that is zero; `None` if never held.

    That is how much of a large gradient it takes up there: `l1` of the lasso. No zero is held by a
    penalty that takes up nothing, as one with a gradient everywhere, or all, whatever the gradient,
    so that a zero would never leave.
    """
    if penalty.is_constraint or not penalty.implements("_residual", "subdifferential_distance"):
        return None
    with outside_of_graphs():
        zeros, paths = [ops.zeros_like(v.value) for v in variables], [v.path for v in variables]
        size = 10.0 * (penalty.main_strength or 1.0)
        for _ in range(12):  # until most of the gradient is left
            taken = [_taken_up(penalty, zeros, paths, sign * size) for sign in (1.0, -1.0)]
            least = [min(pair) for pair in zip(*taken, strict=True)]
            if max(least, default=0.0) < 0.5 * size:
                return least if min(least, default=0.0) > 0 else None
            size *= 10.0
    return None


def _taken_up(
    penalty: Penalty, zeros: Sequence[Tensor], paths: Sequence[str], size: float
) -> list[float]:
    """The root mean square of what a penalty takes up of gradients that are `size` everywhere."""
    left = penalty.residuals(zeros, [ops.full_like(zero, size) for zero in zeros], paths)
    squares = (ops.mean(ops.square(size - ops.cast(x, "float32"))) for x in left)
    return [math.sqrt(to_float(square)) for square in squares]
