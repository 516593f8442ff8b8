"""Pruning once and without training."""

from kerasreg.pruning.prune import prune

__all__ = ["prune"]
