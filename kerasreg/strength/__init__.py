"""Paths of strengths: warm-started fits along a grid, and the choice among them."""

from kerasreg.strength.regularization_path import regularization_path

__all__ = ["regularization_path"]
