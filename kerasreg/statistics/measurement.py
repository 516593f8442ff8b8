"""Chooses where weights are measured: on the host, or on their accelerators."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from kerasreg._backends import host_view, is_on_host
from kerasreg.statistics.device import DeviceStatistics
from kerasreg.statistics.host import HostStatistics
from kerasreg.statistics.weights import Weight


def statistics_of(
    weights: Sequence[Weight], threshold: float, histograms: bool = False
) -> HostStatistics | DeviceStatistics:
    """Chooses how to measure weights: on the host if it holds all of them, else on their devices.

    Args:
        weights: The weights.
        threshold: Magnitude below which a weight counts as near zero.
        histograms: Whether to count histograms as well.

    Returns:
        A callable that measures the weights as they are at each call, and returns a function that
        waits for the `Measured`, in any thread.
    """
    on_host = all(is_on_host(weight.source) for weight in weights)
    return (HostStatistics if on_host else DeviceStatistics)(weights, threshold, histograms)


def zero_fraction(variables: Sequence[Any]) -> float:
    """The fraction of all weights that are exactly zero now."""
    size: int = sum(math.prod(variable.shape) for variable in variables)
    return 1 - sum(map(count_nonzero, variables)) / size


def count_nonzero(variable: Any) -> int:
    """How many weights are not zero now."""
    if is_on_host(variable):
        return int(np.count_nonzero(host_view(variable)))
    return int(ops.sum(ops.cast(ops.not_equal(variable.value, 0), "int32")))
