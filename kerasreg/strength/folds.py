"""The folds of a cross-validation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

import keras
import numpy as np
import numpy.typing as npt

from kerasreg._checks import invalid_value, is_number
from kerasreg.strength.samples import Samples

Indices: TypeAlias = npt.NDArray[np.int64]
Fold: TypeAlias = tuple[Indices, Indices]


def make_folds(folds: Any, samples: Samples, loss: Any) -> list[Fold]:
    """Makes folds: the indices of the samples to train on and of those to hold out.

    A number makes the folds that scikit-learn makes: consecutive samples, or, where the loss is one
    of classes, as many of each class in every fold.

    Args:
        folds: Their number, or pairs of indices, as `KFold(5, shuffle=True).split(x)` gives.
        samples: The samples.
        loss: The loss that the model is compiled with.
    """
    size = samples.size
    if is_number(folds):
        if not 2 <= folds <= size or folds != int(folds):
            raise invalid_value("folds", f"an integer from 2 to the {size} samples", folds)
        numbers = _fold_numbers(int(folds), size, _classes_for(loss, samples.y))
        parts = [numbers == i for i in range(int(folds))]
        return [(np.flatnonzero(~part), np.flatnonzero(part)) for part in parts]
    expected = f"an integer, or pairs of arrays of indices below {size}, as `KFold().split(x)`"
    if isinstance(folds, (str, bool)) or not isinstance(folds, Iterable):
        raise invalid_value("folds", expected, folds)
    try:
        pairs = [(np.asarray(train), np.asarray(test)) for train, test in folds]
    except (TypeError, ValueError):
        raise invalid_value("folds", expected, folds) from None
    parts = [part for pair in pairs for part in pair]
    if len(pairs) < 2 or not all(_are_indices(part, size) for part in parts):
        raise invalid_value("folds", f"{expected}, at least two of them", folds)
    return pairs


def _fold_numbers(n_folds: int, size: int, classes: Indices | None) -> Indices:
    """The fold of each sample."""
    numbers = np.zeros(size, "int64")
    if classes is None or np.bincount(classes).max() < n_folds:
        classes = np.zeros(size, "int64")
    # Each fold gets as many of each class as it would if they were dealt out in order.
    dealt = np.sort(classes)
    shares = [np.bincount(dealt[i::n_folds], minlength=classes.max() + 1) for i in range(n_folds)]
    for kind, counts in enumerate(zip(*shares, strict=True)):
        numbers[classes == kind] = np.repeat(np.arange(n_folds), counts)
    return numbers


def _classes_for(loss: Any, y: Any) -> Indices | None:
    """The class of each sample, if the loss is one of classes.

    Keras's own losses are known by name. For others integers, and zeros and ones, are classes.
    """
    kinds = [_kind(part) for part in keras.tree.flatten(loss)]
    names = [kind.__name__.lower().replace("_", "") for kind in kinds]
    if any("crossentropy" in name or "hinge" in name for name in names):
        return _classes(y)
    if all(str(kind.__module__).startswith("keras.") for kind in kinds):
        return None
    classes = _classes(y)
    few = classes is not None and (y.dtype.kind in "iub" or set(np.unique(y)) <= {0, 1})
    return classes if few else None


def _kind(loss: Any) -> Any:
    loss = keras.losses.get(loss) if isinstance(loss, str) else loss
    return loss if hasattr(loss, "__name__") else type(loss)


def _classes(y: Any) -> Indices | None:
    """The class of each sample, counted in order of appearance; `None` where `y` holds none."""
    if not isinstance(y, np.ndarray):
        return None
    labels = y.reshape(len(y), -1)
    one_hot = labels.shape[1] > 1 and bool(np.all((labels == 0) | (labels == 1)))
    if one_hot and np.all(labels.sum(1) == 1):
        labels = labels.argmax(1)[:, None]
    if labels.shape[1] != 1 or np.any(labels != np.floor(labels)):
        return None
    _, first, inverse = np.unique(labels[:, 0], return_index=True, return_inverse=True)
    order = np.argsort(np.argsort(first))
    return np.asarray(order[inverse])


def _are_indices(part: npt.NDArray[Any], size: int) -> bool:
    integers = part.ndim == 1 and part.size > 0 and part.dtype.kind in "iu"
    return integers and bool(np.all((part >= 0) & (part < size)))
