"""What a logger adds to the `logs` of a training, which `History` and other callbacks read."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

from kerasreg._checks import invalid_value
from kerasreg.statistics.activations import ACTIVATION_TOTALS
from kerasreg.statistics.numbers import TOTAL_NAMES
from kerasreg.statistics.optimality import RESIDUAL

# Those that are only there at times, as the parts of `val_loss`, among them.
_LOSSES = ("data_loss", "penalty", "val_data_loss", "val_penalty")
NAMES = (*TOTAL_NAMES, *ACTIVATION_TOTALS, RESIDUAL, *_LOSSES)
DEFAULT = ("sparsity", "data_loss", "penalty", "val_data_loss")


def check_in_logs(argument: str, names: Any) -> tuple[str, ...]:
    """Returns names of totals in their order, or raises if one is none; `"all"` is all of them."""
    if isinstance(names, str) and names == "all":
        return NAMES
    expected = f"'all', or a sequence of names among {', '.join(map(repr, NAMES))}"
    if not isinstance(names, (list, tuple)) or not all(name in NAMES for name in names):
        raise invalid_value(argument, expected, names)
    return tuple(dict.fromkeys(names))


# What the loggers of a model's training have added. Keras may hand on the dict of a batch, with
# all that is in it, at the epoch's end, and there may be several loggers.
_ADDED: weakref.WeakKeyDictionary[Any, set[str]] = weakref.WeakKeyDictionary()


class KerasLogs:
    """Adds to the logs of one training, and never takes the place of what Keras has put there.

    Args:
        model: The model that begins to train.
        names: What to add, in this order.
    """

    def __init__(self, model: Any, names: Sequence[str]) -> None:
        self._names = names
        self._added = _ADDED[model] = set()
        self._model = weakref.ref(model)
        self._taken: set[str] = set()

    def add(self, logs: dict[str, Any], values: Mapping[str, float]) -> None:
        """Adds the numbers that were asked for, but for names that are a metric's of the model."""
        values = {name: values[name] for name in self._names if name in values}
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
        # In their own order, which a set of strings does not keep from process to process.
        logs.update({name: value for name, value in values.items() if name not in taken})
