"""Optimizer wrappers."""

from kerasreg.optimizers.proximal import Proximal

__all__ = ["Proximal"]
