"""Chooses where weights are measured: on the host, or on their accelerators."""

from __future__ import annotations

from collections.abc import Sequence

from kerasreg._backends import is_on_host
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
    on_host = all(is_on_host(weight.variable) for weight in weights)
    return (HostStatistics if on_host else DeviceStatistics)(weights, threshold, histograms)
