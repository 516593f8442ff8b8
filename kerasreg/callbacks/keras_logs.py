"""Adds numbers to the logs that Keras hands from callback to callback."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Mapping
from typing import Any

# What the loggers of a model's training have added. Keras may hand on the dict of a batch, with
# all that is in it, at the epoch's end, and there may be several loggers.
_ADDED: weakref.WeakKeyDictionary[Any, set[str]] = weakref.WeakKeyDictionary()


class KerasLogs:
    """Adds to the logs of one training, and never takes the place of what Keras has put there.

    Args:
        model: The model that begins to train.
    """

    def __init__(self, model: Any) -> None:
        self._added = _ADDED[model] = set()
        self._model = weakref.ref(model)
        self._taken: set[str] = set()

    def add(self, logs: dict[str, Any], values: Mapping[str, float]) -> None:
        """Adds numbers, but for names that are a metric's of the model."""
        added = _ADDED.get(self._model(), self._added)
        taken = values.keys() & (logs.keys() - added)
        if taken - self._taken:
            self._taken |= taken
            warnings.warn(
                f"The model has metrics called {sorted(taken)}. `logs` keep them; what "
                "RegularizationLogger calls so is in TensorBoard only.",
                stacklevel=2,
            )
        added |= values.keys() - taken
        logs.update({name: values[name] for name in values.keys() - taken})
