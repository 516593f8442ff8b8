"""The argument `axis`: integers, or a word whose meaning the layer of a weight tells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from kerasreg._checks import check_axis, check_integer, invalid_value
from kerasreg.regularizers.unit_axes import UnitAxes, unit_axes

Axis: TypeAlias = int | tuple[int, ...] | str

# The words, and what `unit_axes` calls them.
_FIELDS = {"output": "outputs", "input": "inputs", "heads": "heads"}
_NO_AXES = UnitAxes((), ())


def check_axes(axis: Any) -> Axis:
    """The axis as an integer, a tuple of several, or a word; raises unless it is one."""
    if isinstance(axis, str) and axis in _FIELDS:
        return axis
    expected = f"an integer, a tuple of integers, or one of {', '.join(map(repr, _FIELDS))}"
    if not isinstance(axis, (tuple, list)):
        return check_integer("axis", axis, expected)
    if not axis:
        raise invalid_value("axis", expected, axis)
    axes = tuple(check_integer("axis", each, expected) for each in axis)
    return axes if len(axes) > 1 else axes[0]


def axes_on_layer(axis: str, layer: Any, variable: Any, where: str) -> tuple[int, ...]:
    """The axes that a word means in a layer's weight, counted from the back.

    So they are the same for kernels of all ranks.

    Args:
        axis: The word.
        layer: The layer of the weight.
        variable: The weight.
        where: What an error says of the argument, as in `invalid_value`.

    Raises:
        ValueError: If the weight has no such axes.
    """
    axes = getattr(unit_axes(layer, variable) or _NO_AXES, _FIELDS[axis])
    if not axes:
        expected = (
            "an axis that a weight of this layer has; leave the weight out with a pattern, or "
            "give integers"
        )
        raise invalid_value("axis", expected, axis, where)
    return tuple(each - len(variable.shape) for each in axes)


def axes_in(axis: Axis, shape: Sequence[int | None], where: str = "") -> tuple[int, ...]:
    """The axes of a weight of that shape, counted from 0 and sorted.

    Raises:
        ValueError: If the shape has no such axes, or a word has not got its meaning.
    """
    if isinstance(axis, str):
        expected = (
            "an integer or a tuple of integers here; this word has a meaning in "
            "`attach_regularizers(model, ...)` and `Proximal(..., model=model)`"
        )
        raise invalid_value("axis", expected, axis, where)
    given = axis if isinstance(axis, tuple) else (axis,)
    axes = [check_axis("axis", each, shape, where) for each in given]
    if len(set(axes)) < len(axes):
        raise invalid_value("axis", f"each axis of shape {tuple(shape)} once", axis, where)
    return tuple(sorted(axes))
