"""Callbacks."""

from kerasreg.callbacks.dropout_rate_scheduler import DropoutRateScheduler
from kerasreg.callbacks.regularization_logger import RegularizationLogger

__all__ = ["DropoutRateScheduler", "RegularizationLogger"]
