"""One grammar for every error that an argument can cause."""

from __future__ import annotations

import math
import numbers
import os
import re
from collections.abc import Sequence
from typing import Any, get_args


def invalid_value(argument: str, expected: str, received: Any, where: str = "") -> ValueError:
    """Returns the error for an argument, in Keras's words.

    Args:
        argument: Name of the argument.
        expected: What would have been right, without a full stop.
        received: The value that came instead.
        where: The layer or weight it came to, as in `" on weight `dense/kernel`"`.
    """
    return ValueError(
        f"Invalid value for argument `{argument}`{where}. "
        f"Expected {expected}. Received: {argument}={received!r}"
    )


def invalid_on_weight(attribute: str, variable: Any, expected: str) -> ValueError:
    """Returns the error for an attribute of a weight, as its regularizer, in the same words."""
    return ValueError(
        f"Invalid {attribute} on weight `{variable.path}`. "
        f"Expected {expected}. Received: {attribute}={getattr(variable, attribute)!r}"
    )


def check_built(model: Any) -> None:
    """Raises unless the model has its weights."""
    if not getattr(model, "built", False):
        expected = "a built model; call `model.build(...)` or call the model on data first"
        raise invalid_value("model", expected, model)


def is_number(value: Any) -> bool:
    """Whether `value` is a real Python or NumPy scalar that a float can hold; no boolean is."""
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        return False
    try:
        float(value)
    except OverflowError:
        return False
    return True


def check_non_negative(argument: str, value: Any) -> float:
    """Returns `value` as a float, or raises if it is not finite and non-negative."""
    if not is_number(value) or not math.isfinite(value) or value < 0:
        raise invalid_value(argument, "a finite, non-negative number", value)
    return float(value)


def check_fraction(argument: str, value: Any) -> float:
    """Returns `value` as a float, or raises if it does not lie in [0, 1]."""
    if not is_number(value) or not 0 <= value <= 1:
        raise invalid_value(argument, "a number between 0 and 1", value)
    return float(value)


def check_positive(argument: str, value: Any) -> float:
    """Returns `value` as a float, or raises if it is not finite and positive."""
    if not is_number(value) or not math.isfinite(value) or value <= 0:
        raise invalid_value(argument, "a finite, positive number", value)
    return float(value)


def check_integer(
    argument: str, value: Any, expected: str = "an integer", least: float = -math.inf
) -> int:
    """Returns `value` as an int, or raises if it is not `expected`, an integer of `least`."""
    if not is_number(value) or not isinstance(value, numbers.Integral) or value < least:
        raise invalid_value(argument, expected, value)
    return int(value)


def check_bool(argument: str, value: Any) -> bool:
    """Returns `value`, or raises if it is not a boolean."""
    if not isinstance(value, bool):
        raise invalid_value(argument, "a boolean", value)
    return value


def check_choice(argument: str, value: Any, literal: Any) -> Any:
    """Returns `value`, or raises if it is none of the strings of a `Literal` type."""
    choices = get_args(literal)
    if not isinstance(value, str) or value not in choices:
        raise invalid_value(argument, f"one of {', '.join(map(repr, choices))}", value)
    return value


def check_axis(argument: str, axis: int, shape: Sequence[int | None], where: str = "") -> int:
    """Returns `axis` counted from the front, or raises if `shape` has no such axis."""
    rank = len(shape)
    if not -rank <= axis < rank:
        expected = f"an axis from {-rank} to {rank - 1} of shape {tuple(shape)}"
        if rank == 0:
            expected = "a tensor with at least one axis"
        raise invalid_value(argument, expected, axis, where)
    return axis % rank


def check_pattern(argument: str, pattern: Any) -> re.Pattern[str]:
    """Returns a regular expression compiled, or raises if it is none."""
    try:
        regex = re.compile(pattern)
    except (re.error, TypeError) as error:
        raise invalid_value(argument, f"a regular expression ({error})", pattern) from None
    if not isinstance(regex.pattern, str):
        raise invalid_value(argument, "a regular expression for strings", pattern)
    return regex


def check_folder(argument: str, folder: Any) -> str:
    """Returns a folder, or the address of one, as a string, or raises if it is none.

    A folder of this machine is returned with its full path: it stays where it is when the process
    changes its own folder, and `~` is the user's.
    """
    if not isinstance(folder, (str, os.PathLike)) or not os.fspath(folder):
        raise invalid_value(argument, "a path", folder)
    path = os.fsdecode(folder)
    if re.match(r"[a-z][a-z0-9+.-]+:/[^/]", path) and not isinstance(folder, str):
        raise invalid_value(argument, "a string, as `pathlib` takes a slash off `://`", folder)
    return path if "://" in path else os.path.abspath(os.path.expanduser(path))


def definer(cls: type, method: str) -> type:
    """The class that a method of `cls` comes from: `cls` itself or one that it inherits from."""
    return next(base for base in cls.__mro__ if method in vars(base))
