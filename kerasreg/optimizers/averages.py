"""Averages over updates of what penalties observe of weights and their gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from keras import ops

from kerasreg._tensors import Tensor, cast_like
from kerasreg.optimizers.state import State
from kerasreg.optimizers.targets import Target


class Averages:
    """The averages of all weights whose penalty observes something.

    Args:
        targets: The weights.
        numbers: The number of each weight among all of the optimizer.
        state: Makes and keeps the variables, one number a weight.
    """

    def __init__(self, targets: Sequence[Target], numbers: Sequence[int], state: State) -> None:
        self._averages = {
            target: state.add_like("average", target.variable, number)
            for target, number in zip(targets, numbers, strict=True)
        }
        self._count = state.add("averaged_updates") if targets else None

    def __contains__(self, target: Target) -> bool:
        return target in self._averages

    def update(self, gradients: Mapping[Target, Tensor], happens: Tensor | None) -> None:
        """Takes the weights before an update, and their gradients, into the averages.

        Args:
            gradients: The gradients of the update; what there is no average of is left out.
            happens: Whether there is an update; `None` if there is for sure.
        """
        if self._count is None:
            return
        count = self._count.value + 1.0
        count = count if happens is None else ops.where(happens, count, self._count.value)
        self._count.assign(count)
        for target, average in self._averages.items():
            if target not in gradients:
                continue
            penalty, w = target.penalty, ops.stop_gradient(target.variable.value)
            seen = cast_like(penalty.observe(w, gradients[target]), average)
            # Of fewer updates than it is to reach over, their mean.
            rate = ops.maximum(1.0 / ops.maximum(count, 1.0), 1.0 / penalty.averages)
            rate = rate if happens is None else ops.where(happens, rate, 0.0)
            average.assign(average.value + cast_like(rate, average) * (seen - average.value))

    def of(self, target: Target) -> Tensor | None:
        """The average for a weight; `None` where there is none."""
        average = self._averages.get(target)
        return None if average is None else average.value
