"""How sparse a model is that a path has trained."""

from __future__ import annotations

from typing import Any

import numpy as np

from kerasreg._tensors import to_numpy
from kerasreg.measurement import statistics_of
from kerasreg.statistics import total_statistics
from kerasreg.weights import find_weights


class Measures:
    """Counts zeros among the penalised weights of a model with `Proximal`.

    Args:
        model: The model.
    """

    def __init__(self, model: Any) -> None:
        weights = find_weights(model)
        penalised = [weight for weight in weights if weight.proximal_penalty is not None]
        self._statistics = statistics_of(penalised, threshold=0.0)
        self._kernel = next((w.variable for w in weights if w.unit_axes is not None), None)

    def __call__(self) -> dict[str, Any]:
        """Sparsity, dead units and used inputs of the weights as they are."""
        total = total_statistics(self._statistics()().statistics)
        return {
            "sparsity": total.sparsity,
            "dead_units": total.dead_units,
            "used_inputs": self._used_inputs(),
        }

    def _used_inputs(self) -> int:
        """Features, or channels, whose weights in the first kernel are not all zero."""
        if self._kernel is None:
            return 0
        kernel = to_numpy(self._kernel)
        others = tuple(axis for axis in range(kernel.ndim) if axis != kernel.ndim - 2)
        return int(np.count_nonzero(np.any(kernel != 0, axis=others)))
