"""What a strength is chosen by."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras

from kerasreg._checks import invalid_value


def find_mode(model: Any, monitor: str, mode: str) -> str:
    """Whether less of what is monitored is better, `"min"`, or more, `"max"`.

    Args:
        model: A compiled model that has been evaluated.
        monitor: The name of a loss, or a metric of the model.
        mode: The answer, or `"auto"` to ask Keras.

    Raises:
        ValueError: If Keras does not know.
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


def check_monitor(monitor: Any) -> str:
    """Returns the name of what is monitored, or raises if it is none, or that of Keras's logs."""
    if not isinstance(monitor, str) or monitor.startswith("val_"):
        raise invalid_value("monitor", "the name of a metric, without `val_`", monitor)
    return monitor


def check_measured(monitor: str, names: Iterable[str]) -> None:
    """Raises unless what is monitored is among what is measured."""
    if monitor not in names:
        raise invalid_value("monitor", f"one of {sorted(names)}", monitor)
