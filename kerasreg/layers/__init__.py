"""Dropout layers."""

from kerasreg.layers.dropout import Dropout

__all__ = ["Dropout"]
