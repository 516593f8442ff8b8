"""Numbers that a training loop of one's own adds to a point."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kerasreg._checks import invalid_value
from kerasreg._tensors import to_number
from kerasreg.statistics.activations import ACTIVATION_TOTALS
from kerasreg.statistics.numbers import TOTAL_NAMES
from kerasreg.statistics.optimality import RESIDUAL
from kerasreg_tensorboard.names import COMPACTED

# What the logger finds out by itself. The losses it sees in `fit` only.
MEASURED = (
    *TOTAL_NAMES,
    *ACTIVATION_TOTALS,
    RESIDUAL,
    "learning_rate",
    "strength_scale",
    "held",
    *(f"compacted_{name}" for name in COMPACTED),
)


def check_numbers(argument: str, numbers: Any) -> dict[str, float]:
    """Returns numbers by name as floats; raises where a name or a value is none.

    Args:
        argument: Name of the argument.
        numbers: A dict from names to real numbers, scalar arrays, tensors or variables; or `None`.
    """
    if numbers is None:
        return {}
    if not isinstance(numbers, Mapping):
        raise invalid_value(argument, "a dict from names to numbers, or None", numbers)
    checked = {}
    for name, value in numbers.items():
        if not isinstance(name, str) or not name.strip():
            raise invalid_value(argument, "names that are strings, and not empty", name)
        if name in MEASURED:
            expected = f"names that the logger does not use itself, as {', '.join(MEASURED)}"
            raise invalid_value(argument, expected, name)
        number = to_number(value)
        if number is None:
            expected = "a real number, or an array, tensor or variable that holds just one"
            raise invalid_value(argument, expected, value, f" at {name!r}")
        checked[name] = number
    return checked
