"""What the last updates of a training did to the number of zeros."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from kerasreg._tensors import to_numpy

# How many they are.
COUNT = 10


class LastUpdates:
    """The last updates of a training, whose effect on the number of zeros nothing can answer.

    A last batch of few samples can turn three percent of all weights to zero or away from it, and
    with a learning rate that goes to 0 the answer comes too late.

    Args:
        variables: The weights, as they are before these updates.
    """

    def __init__(self, variables: Sequence[Any]) -> None:
        self._variables = variables
        self._before = _flat(variables)

    def undo_excess(self, target: float) -> None:
        """Undoes that part of the updates by which they led away from a fraction of zeros.

        The smallest of the weights that have left zero are zero again, or the largest of those
        that have become zero are what they were.
        """
        before, after = self._before, _flat(self._variables)
        missing = round(target * after.size) - np.count_nonzero(after == 0)
        was_zero, is_zero = before == 0, after == 0
        turned = was_zero & ~is_zero if missing > 0 else ~was_zero & is_zero
        helpful = np.flatnonzero(turned)
        size = np.abs(before[helpful]) + np.abs(after[helpful])
        order = np.argsort(size if missing > 0 else -size, kind="stable")
        chosen = helpful[order[: abs(missing)]]
        if chosen.size:
            after[chosen] = before[chosen]
            self._assign(after)

    def _assign(self, flat: Any) -> None:
        start = 0
        for variable in self._variables:
            end = start + math.prod(variable.shape)
            variable.assign(flat[start:end].reshape(variable.shape))
            start = end


def _flat(variables: Sequence[Any]) -> Any:
    return np.concatenate([to_numpy(v).ravel() for v in variables])  # A copy in any case.
