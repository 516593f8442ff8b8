"""What the last updates of a training did to the number of zeros."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from kerasreg._tensors import to_numpy

# How many they are.
COUNT = 10

# Which part of the weights that are left may be set to zero at the end: as a learning rate goes to
# 0 the answer comes too late, and the smallest tenth a training loses without notice.
_SETTLED = 0.1


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

    def settle(self, target: float) -> None:
        """Brings the fraction of zeros to a target, as far as little has to change for it.

        Undoes that part of the updates by which they led away from it: the smallest of the weights
        that have left zero are zero again, or the largest of those that have become zero are what
        they were. Where zeros are missing still, few of those that are left, the smallest are set
        to zero.
        """
        after = _flat(self._variables)
        count = round(target * after.size)
        chosen = self._excess(after, count)
        after[chosen] = self._before[chosen]
        smallest = _smallest(after, count)
        after[smallest] = 0
        if chosen.size or smallest.size:
            self._assign(after)

    def _excess(self, after: Any, count: int) -> Any:
        missing = count - np.count_nonzero(after == 0)
        was_zero, is_zero = self._before == 0, after == 0
        turned = was_zero & ~is_zero if missing > 0 else ~was_zero & is_zero
        helpful = np.flatnonzero(turned)
        size = np.abs(self._before[helpful]) + np.abs(after[helpful])
        order = np.argsort(size if missing > 0 else -size, kind="stable")
        return helpful[order[: abs(missing)]]

    def _assign(self, flat: Any) -> None:
        start = 0
        for variable in self._variables:
            end = start + math.prod(variable.shape)
            variable.assign(flat[start:end].reshape(variable.shape))
            start = end


def _flat(variables: Sequence[Any]) -> Any:
    return np.concatenate([to_numpy(v).ravel() for v in variables])  # A copy in any case.


def _smallest(flat: Any, count: int) -> Any:
    left = np.flatnonzero(flat)
    missing = count - (flat.size - left.size)
    if not 0 < missing <= _SETTLED * left.size:
        return left[:0]
    return left[np.argsort(np.abs(flat[left]), kind="stable")[:missing]]
