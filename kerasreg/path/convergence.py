"""Ends the training of a linear model when it has arrived."""

from __future__ import annotations

from typing import Any

import keras

from kerasreg.optimality import Optimality, total_residual
from kerasreg.samples import Samples


class Convergence(keras.callbacks.Callback):  # type: ignore[misc]
    """Stops when the optimality conditions of loss + penalty hold, within a tolerance.

    Args:
        optimality: The optimality of a compiled model with `Proximal`.
        samples: What it is trained on.
        tolerance: Norm of the residual, relative to `scale`, at which to stop.
        scale: Norm of the gradient where the weights are zero.
    """

    def __init__(
        self, optimality: Optimality, samples: Samples, tolerance: float, scale: float
    ) -> None:
        super().__init__()
        self._optimality = optimality
        self._data = (samples.x, samples.y, samples.sample_weight)
        self._tolerance = tolerance
        self._scale = scale or 1.0
        self.residual = float("inf")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Measures the residual."""
        model = self.model  # On JAX, this brings the weights up to date.
        self.residual = total_residual(self._optimality.residuals(self._data)) / self._scale
        if self.residual <= self._tolerance:
            model.stop_training = True
