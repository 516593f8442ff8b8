"""How sparse a model is that a path has trained."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import keras
import numpy as np

from kerasreg._checks import invalid_value
from kerasreg._tensors import to_numpy
from kerasreg.statistics.measurement import statistics_of
from kerasreg.statistics.numbers import total_statistics
from kerasreg.statistics.weights import find_weights

Mode: TypeAlias = Literal["auto", "min", "max"]


def find_mode(model: Any, monitor: str, mode: str) -> str:
    """Whether less of what is monitored is better, `"min"`, or more, `"max"`.

    Args:
        model: A compiled model that has been evaluated.
        monitor: The name of a loss, or a metric of the model.
        mode: The answer, or `"auto"` to ask Keras.
    """
    if mode != "auto":
        return mode
    if monitor.endswith("loss"):
        return "min"
    # It answers by what it takes for an improvement.
    keras_knows = keras.callbacks.EarlyStopping(monitor, mode="auto", patience=2)
    keras_knows.set_model(model)
    try:
        keras_knows.on_train_begin()
        for epoch in (0, 1):
            keras_knows.on_epoch_end(epoch, {monitor: float(epoch)})
    except ValueError:
        expected = f"'min' or 'max', as Keras does not know which is better for {monitor!r}"
        raise invalid_value("mode", expected, mode) from None
    return "max" if keras_knows.best == 1.0 else "min"


class Measures:
    """Counts zeros among the penalised weights of a model with `Proximal`.

    Attributes:
        kernel: The place of the first penalised kernel in `model.weights`.
        input_axes: Its axes that number its inputs.
    """

    def __init__(self, model: Any) -> None:
        penalised = [w for w in find_weights(model) if w.proximal_penalties]
        self._statistics = statistics_of(penalised, threshold=0.0)
        self._kernel = next((w for w in penalised if w.input_axes is not None), None)
        ids = [id(variable) for variable in model.weights]
        self.kernel = 0 if self._kernel is None else ids.index(id(self._kernel.variable))
        self.input_axes = () if self._kernel is None else self._kernel.input_axes or ()

    def __call__(self) -> dict[str, Any]:
        """Sparsity, dead units and used inputs of the weights as they are."""
        total = total_statistics(self._statistics()().statistics)
        used = 0
        if self._kernel is not None:
            kernel = to_numpy(self._kernel.variable)
            others = tuple(axis for axis in range(kernel.ndim) if axis not in self.input_axes)
            used = int(np.count_nonzero(np.any(kernel != 0, axis=others)))
        return {"sparsity": total.sparsity, "dead_units": total.dead_units, "used_inputs": used}
