"""The checks of `regularization_path`'s arguments; each returns what a `Plan` has of one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from kerasreg._checks import check_folder, check_integer, check_positive, invalid_value, is_number
from kerasreg._keras_internals import innermost_optimizer, unbuilt_copy
from kerasreg._tensors import to_numpy
from kerasreg.callbacks import StrengthScheduler
from kerasreg.optimizers.of_model import Optimizers
from kerasreg.optimizers.targets import check_penalty
from kerasreg.strength.folds import Fold, make_folds
from kerasreg.strength.max_strength import main_strength
from kerasreg.strength.samples import Samples
from kerasreg.strength.strengths import DENSE_TO_SPARSE


def check_optimizer(model: Any) -> None:
    """Raises unless a fresh copy of the model's optimizer can train along a path."""
    optimizer = innermost_optimizer(model.optimizer)
    if optimizer is None:
        raise invalid_value("model", "a model that is compiled with an optimizer", model)
    if hasattr(optimizer, "optimizers"):
        expected = "a model with one optimizer for all of its weights, which the path wraps"
        raise invalid_value("model", expected, optimizer)
    try:
        unbuilt_copy(optimizer)
    except Exception as error:  # Whatever one's own optimizer, or schedule, may raise.
        expected = f"a model whose optimizer can be made from its configuration ({error})"
        raise invalid_value("model", expected, optimizer) from error
    proximals = Optimizers(model, model.optimizer).proximals()
    penalties = [penalty for each in proximals for penalty in keras.tree.flatten(each.penalty)]
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


def check_penalties(penalty: Any, model: Any) -> list[Any]:
    """Returns the penalties of several paths, or of one; raises unless their strengths can vary."""
    penalties = list(penalty) if isinstance(penalty, (list, tuple)) else [penalty]
    if not penalties:
        raise invalid_value("penalty", "a penalty, a dict of penalties, or a list", penalty)
    for each in penalties:
        main_strength(each)
    return [check_penalty(each, model) for each in penalties]


def check_folds(folds: Any, samples: Samples, model: Any, direction: str) -> list[Fold]:
    """Returns the folds as pairs of indices, none for `None`; raises if the model knows them."""
    if folds is None:
        return []
    is_trained = int(to_numpy(model.optimizer.iterations)) > 0
    if direction == DENSE_TO_SPARSE and is_trained:
        expected = (
            "None for a model that is trained already: it knows the samples that a fold holds out. "
            "Give a fresh model, or validation_data"
        )
        raise invalid_value("folds", expected, folds)
    return make_folds(folds, samples, model.loss)


def check_local_folder(log_dir: Any) -> str | None:
    """Returns the folder as a string; raises unless it is one of this machine, or `None`."""
    if log_dir is None:
        return None
    folder = check_folder("log_dir", log_dir)
    if "://" in folder:
        raise invalid_value("log_dir", "a local folder, which the path can go on from", log_dir)
    return folder


def at_least_1(argument: str, value: Any, default: int | None = None) -> int:
    """Returns the value, or the default for `None`; raises unless it is a positive integer."""
    value = default if value is None else value
    return check_integer(argument, value, "a positive integer", least=1)


def check_validation(data: Any) -> Samples | None:
    """Returns the validation data; raises unless that is what it is."""
    if data is None:
        return None
    if not isinstance(data, (tuple, list)) or len(data) not in (2, 3):
        expected = "a tuple (x, y) or (x, y, sample_weight)"
        raise invalid_value("validation_data", expected, type(data))
    x, y, sample_weight = (*data, None)[:3]
    return Samples.of(x, y, sample_weight, prefix="validation_")


def check_strengths(strengths: Any) -> list[float] | None:
    """Returns strengths as floats; raises unless they are positive and sorted, or `None`."""
    if strengths is None:
        return None
    if isinstance(strengths, str) or not isinstance(strengths, (Sequence, np.ndarray)):
        raise invalid_value("strengths", "a sequence of numbers, or None", strengths)
    values = list(strengths)
    if not values or not all(is_number(value) and 0 < value < np.inf for value in values):
        raise invalid_value("strengths", "finite, positive numbers", strengths)
    steps = np.sign(np.diff(np.asarray(values, "float64")))
    if not (np.all(steps > 0) or np.all(steps < 0)):
        raise invalid_value("strengths", "sorted numbers, none of them twice", strengths)
    return [float(value) for value in values]


def check_min_ratio(min_ratio: Any) -> float:
    """Returns the ratio of the smallest to the largest strength, or raises."""
    ratio = check_positive("min_ratio", min_ratio)
    if ratio >= 1:
        raise invalid_value("min_ratio", "a number between 0 and 1", min_ratio)
    return ratio


def check_monitor(monitor: Any) -> str:
    """Returns the name of what is monitored, or raises if it is none, or that of Keras's logs."""
    if not isinstance(monitor, str) or monitor.startswith("val_"):
        raise invalid_value("monitor", "the name of a metric, without `val_`", monitor)
    return monitor
