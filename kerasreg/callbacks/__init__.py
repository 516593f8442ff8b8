"""Callbacks."""

from kerasreg.callbacks.regularization_logger import RegularizationLogger

__all__ = ["RegularizationLogger"]
