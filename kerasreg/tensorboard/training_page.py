"""Says in Markdown how a model is trained: optimizer, loss, precision, versions."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from typing import Any

import keras

from kerasreg._keras_internals import all_layers
from kerasreg._tensors import to_float
from kerasreg.optimizers.of_model import Optimizers
from kerasreg.tensorboard.markdown import table


def training_page(model: Any, optimizers: Optimizers, fit: Mapping[str, Any]) -> str:
    """A heading and a table of what is known of the training.

    Args:
        model: The model.
        optimizers: The optimizers that train it.
        fit: The `params` that Keras gives its callbacks, in a loop of one's own none.

    Returns:
        The Markdown.
    """
    policies = {layer.dtype_policy.name: None for layer in all_layers(model)}
    backend = keras.backend.backend()
    with contextlib.suppress(metadata.PackageNotFoundError):
        backend += f" {metadata.version(backend)}"
    rows = [
        *_optimizer_rows(optimizers),
        ("loss", _in_words(getattr(model, "loss", None))),
        ("epochs", _in_words(fit.get("epochs"))),
        ("batches an epoch", _in_words(fit.get("steps"))),
        ("backend", backend),
        ("dtype policy", ", ".join(policies)),
        ("versions", f"Keras {keras.__version__}, Python {platform.python_version()}"),
    ]
    with contextlib.suppress(metadata.PackageNotFoundError):
        rows.append(("kerasreg", metadata.version("kerasreg")))
    known = [row for row in rows if row[1]]
    return f"## Training\n\n{table(('setting', 'value'), known)}"


def _optimizer_rows(optimizers: Optimizers) -> Iterator[tuple[str, str]]:
    within = " in Proximal" if optimizers.proximals() else ""
    for name, optimizer in optimizers.innermost().items():
        of = f" of {name}" if name else ""
        config = _config(optimizer)
        rate = config.pop("learning_rate", None)
        # A schedule in words, and a rate as it is now, which somebody may have assigned.
        words = (
            _in_words(rate)
            if isinstance(rate, Mapping)
            else f"{to_float(optimizer.learning_rate):.7g}"
        )
        yield f"optimizer{of}", type(optimizer).__name__ + within
        yield f"learning rate{of}", words
        yield f"other settings of the optimizer{of}", _arguments(config)


def _config(thing: Any) -> dict[str, Any]:
    try:
        return dict(thing.get_config())
    except Exception:  # A class of one's own need not have one; it is only described.
        return {}


def _in_words(value: Any) -> str:
    """A loss, a schedule or whatever else Keras takes, in words."""
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, Mapping) and {"class_name", "config"} <= value.keys():
        return f"{value['class_name']}({_arguments(value['config'])})"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {_in_words(each)}" for name, each in value.items())
    if isinstance(value, Sequence):
        return ", ".join(map(_in_words, value))
    if isinstance(value, keras.losses.Loss):
        return f"{type(value).__name__}({_arguments(_config(value))})"
    if isinstance(value, (bool, int, float)):
        return f"{value:.7g}" if isinstance(value, float) else str(value)
    return getattr(value, "__name__", type(value).__name__)


def _arguments(config: Mapping[str, Any]) -> str:
    """What a configuration sets: not what is off, nor names that Keras gave."""
    kept = {key: value for key, value in config.items() if key != "name" and value is not None}
    return ", ".join(
        f"{key}={_in_words(value)}" for key, value in kept.items() if value is not False
    )
