"""Measures weights where they are: on the host, or on an accelerator."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kerasreg._backends import host_view, is_on_host
from kerasreg.statistics.device import DeviceStatistics
from kerasreg.statistics.host import BlockCounter
from kerasreg.statistics.numbers import Measured, NonZeroHistogram
from kerasreg.statistics.weights import Weight, read_strength_scale


class HostStatistics:
    """Measures weights in the memory of a CPU, without a copy of them.

    Args:
        weights: The weights.
        threshold: Magnitude below which a weight counts as near zero.
        histograms: Whether to count histograms as well.
    """

    immediate = True
    """Whether nobody has to wait for what is measured."""

    def __init__(self, weights: Sequence[Weight], threshold: float, histograms: bool) -> None:
        self._weights = weights
        self._counter = BlockCounter(threshold)
        self._histograms = [NonZeroHistogram() for _ in weights] if histograms else []

    def __call__(self) -> Callable[[], Measured]:
        """Measures the weights as they are now; returns a function that hands it over."""
        histograms: Sequence[NonZeroHistogram | None] = self._histograms or [None] * len(
            self._weights
        )
        statistics = [
            self._counter.count(host_view(w.variable), w.unit_axes, histogram)
            for w, histogram in zip(self._weights, histograms, strict=True)
        ]
        scale = read_strength_scale(self._weights)
        measured = Measured(
            statistics,
            [histogram.rows() for histogram in self._histograms],
            [w.penalty_value(s, scale) for w, s in zip(self._weights, statistics, strict=True)],
        )
        return lambda: measured


def statistics_of(
    weights: Sequence[Weight], threshold: float, histograms: bool = False
) -> HostStatistics | DeviceStatistics:
    """What measures the weights at the least cost: each call measures them as they are then.

    Args:
        weights: The weights.
        threshold: Magnitude below which a weight counts as near zero.
        histograms: Whether to count histograms as well.

    Returns:
        A callable that returns a function that waits for the `Measured`, in any thread.
    """
    on_host = all(is_on_host(weight.variable) for weight in weights)
    return (HostStatistics if on_host else DeviceStatistics)(weights, threshold, histograms)
