"""What `Proximal` refuses, each with what to write instead."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import keras

from kerasreg._checks import invalid_value
from kerasreg.optimizers.steps import SUPPORTED, is_supported
from kerasreg.penalty_map import is_smooth, to_penalty
from kerasreg.regularizers import Penalty


def check_inner_optimizer(optimizer: Any) -> None:
    """Raises unless the optimizer is supported, bare and fresh."""
    supported = f"one of {', '.join(SUPPORTED)}"
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        raise invalid_value("inner_optimizer", f"a Keras optimizer, {supported}", optimizer)
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        expected = "the optimizer itself; put `LossScaleOptimizer` around `Proximal`"
        raise invalid_value("inner_optimizer", expected, optimizer)
    if hasattr(optimizer, "inner_optimizer"):
        expected = "the optimizer itself; give one `Proximal` a dict of all penalties"
        raise invalid_value("inner_optimizer", expected, optimizer)
    if not is_supported(optimizer):
        name = type(optimizer).__name__
        raise invalid_value("inner_optimizer", f"{supported}, not {name}", optimizer)
    if optimizer.use_ema:
        expected = "an optimizer with use_ema=False: averages of the weights have no zeros"
        raise invalid_value("inner_optimizer", expected, optimizer)
    if optimizer.built:
        expected = "an optimizer that is not yet built on variables"
        raise invalid_value("inner_optimizer", expected, optimizer)


def check_penalty(penalty: Any) -> Penalty | dict[str, Penalty]:
    """Returns one penalty, or a dict of penalties by valid patterns; raises otherwise."""
    if not isinstance(penalty, Mapping):
        return _with_prox(penalty)
    if not penalty or not all(isinstance(pattern, str) for pattern in penalty):
        raise invalid_value("penalty", "a penalty, or a dict from patterns to penalties", penalty)
    for pattern in penalty:
        try:
            re.compile(pattern)
        except re.error as error:
            expected = f"regular expressions as keys ({error})"
            raise invalid_value("penalty", expected, pattern) from None
    return {pattern: _with_prox(value) for pattern, value in penalty.items()}


def _with_prox(penalty: Any) -> Penalty:
    """Returns a penalty that has a proximal operator, or raises."""
    converted = to_penalty("penalty", penalty)
    cls = type(converted)
    if all(getattr(cls, name) is getattr(Penalty, name) for name in ("_prox", "prox", "update")):
        expected = f"a penalty with a proximal operator; give {cls.__name__} a method `_prox(w, "
        raise invalid_value("penalty", expected + "step)`, or pass it to a layer", penalty)
    return converted


def check_target(variable: Any) -> None:
    """Raises if a constraint or another penalty with a kink acts on the weight."""
    if variable.constraint is not None:
        raise ValueError(
            f"Invalid constraint on weight `{variable.path}`. Expected none, as a penalty of "
            f"`Proximal` acts on it. Received: constraint={variable.constraint!r}"
        )
    if variable.regularizer is not None and not is_smooth(variable.regularizer):
        raise ValueError(
            f"Invalid regularizer on weight `{variable.path}`. Expected none with a kink at zero, "
            "as a penalty of `Proximal` acts on the weight too; leave it out of the layer, or take "
            "it off: `Proximal(optimizer, detach_regularizers(model))`. "
            f"Received: regularizer={variable.regularizer!r}"
        )
