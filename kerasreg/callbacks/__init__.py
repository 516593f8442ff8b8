"""Callbacks."""

from kerasreg.callbacks.dropout_rate_scheduler import DropoutRateScheduler
from kerasreg.callbacks.regularization_logger import RegularizationLogger
from kerasreg.callbacks.strength_scheduler import StrengthScheduler

__all__ = ["DropoutRateScheduler", "RegularizationLogger", "StrengthScheduler"]
