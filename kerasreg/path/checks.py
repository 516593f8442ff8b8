"""What a model and its callbacks must be for a path."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from kerasreg._checks import invalid_value
from kerasreg._keras_internals import innermost_optimizer, unbuilt_copy
from kerasreg._tensors import to_numpy
from kerasreg.callbacks import StrengthScheduler
from kerasreg.samples import Samples
from kerasreg.weights import find_proximal


def check_optimizer(model: Any) -> None:
    """Raises unless a fresh copy of the model's optimizer can train along a path."""
    optimizer = innermost_optimizer(model.optimizer)
    if optimizer is None:
        raise invalid_value("model", "a model that is compiled with an optimizer", model)
    try:
        unbuilt_copy(optimizer)
    except Exception as error:  # Whatever one's own optimizer, or schedule, may raise.
        expected = f"a model whose optimizer can be made from its configuration ({error})"
        raise invalid_value("model", expected, optimizer) from error
    proximal = find_proximal(model)
    penalties = keras.tree.flatten(proximal.penalty) if proximal else []
    constraints = [penalty for penalty in penalties if penalty.is_constraint]
    if constraints:
        expected = f"a model without {constraints[0]!r} in `Proximal`, which a path does not keep"
        raise invalid_value("model", expected, model)


def check_callbacks(callbacks: Any) -> list[Any]:
    """Returns callbacks as a list; raises unless that is what they are."""
    if callbacks is None:
        return []
    result = list(callbacks) if isinstance(callbacks, Sequence) else [callbacks]
    if not all(isinstance(callback, keras.callbacks.Callback) for callback in result):
        raise invalid_value("callbacks", "Keras callbacks", callbacks)
    if any(isinstance(callback, StrengthScheduler) for callback in result):
        expected = "none that changes the strength, which the path does"
        raise invalid_value("callbacks", expected, callbacks)
    return result


def check_validation(data: Any) -> Samples | None:
    """Returns the validation data; raises unless that is what it is."""
    if data is None:
        return None
    if not isinstance(data, (tuple, list)) or len(data) not in (2, 3):
        expected = "a tuple (x, y) or (x, y, sample_weight)"
        raise invalid_value("validation_data", expected, type(data))
    x, y, sample_weight = (*data, None)[:3]
    return Samples.of(x, y, sample_weight, prefix="validation_")


def is_trained(model: Any) -> bool:
    """Whether the model's optimizer has made a step."""
    return int(to_numpy(model.optimizer.iterations)) > 0
