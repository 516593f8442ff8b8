"""What the result of a path depends on, as plain data."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from kerasreg._keras_internals import innermost_optimizer
from kerasreg._tensors import to_numpy
from kerasreg.path.plan import Plan
from kerasreg.samples import Samples
from kerasreg.weights import describe_regularizer

# A model that a program has built and trained once more differs in it by rounding alone.
FIRST_WEIGHTS = "first weights"

_PLAIN = (
    "strengths",
    "n_strengths",
    "min_ratio",
    "direction",
    "epochs",
    "batch_size",
    "monitor",
    "mode",
    "keep_weights",
)


def describe(plan: Plan) -> dict[str, Any]:
    """What a path depends on, but for its callbacks, whose state cannot be told."""
    model = plan.model
    # A linear model comes to the same wherever it starts.
    first = [] if plan.is_linear else [to_numpy(weight) for weight in model.weights]
    return {
        **{name: getattr(plan, name) for name in _PLAIN},
        "penalty": [_describe_penalty(penalty) for penalty in plan.penalties],
        "x and y": fingerprint(plan.samples),
        "validation_data": fingerprint(plan.validation),
        "folds": fingerprint([list(fold) for fold in plan.folds]),
        "model": [list(weight.shape) for weight in model.weights],
        "optimizer": _describe(innermost_optimizer(model.optimizer)),
        FIRST_WEIGHTS: fingerprint(first),
        "loss": keras.tree.map_structure(_describe, model.loss),
    }


def fingerprint(data: Any) -> str:
    """A short string that changes with arrays, or samples."""
    digest = hashlib.blake2b(digest_size=8)
    for part in keras.tree.flatten(vars(data) if isinstance(data, Samples) else data):
        if part is not None:
            digest.update(f"{part.shape} {part.dtype}".encode())
            digest.update(np.ascontiguousarray(part).reshape(-1).view("uint8").data)
    return digest.hexdigest()


def _describe_penalty(penalty: Any) -> Any:
    if isinstance(penalty, Mapping):
        return {pattern: _describe_penalty(part) for pattern, part in penalty.items()}
    return " ".join(describe_regularizer(penalty))


def _describe(part: Any) -> str:
    """The class and the configuration of an optimizer or a loss, or what a function is called."""
    if part is None or isinstance(part, str):
        return str(part)
    if not hasattr(part, "get_config"):
        return str(getattr(part, "__name__", type(part).__name__))
    try:
        config = part.get_config()
    except Exception:  # Keras allows a loss without one; it is only described.
        config = {}
    values = {key: value for key, value in config.items() if key != "name"}
    return f"{type(part).__name__} {values}"
