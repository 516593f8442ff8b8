"""Statistics of weights on an accelerator: only a few numbers for each weight leave it."""

from kerasreg.statistics.device.device_statistics import DeviceStatistics

__all__ = ["DeviceStatistics"]
