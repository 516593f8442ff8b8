"""The arguments of `regularization_path`, checked, and its defaults."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from kerasreg._checks import check_folder, check_integer, invalid_value
from kerasreg._keras_internals import innermost_optimizer, unbuilt_copy
from kerasreg._tensors import to_numpy
from kerasreg.callbacks import StrengthScheduler
from kerasreg.optimizers.proximal import find_proximal
from kerasreg.optimizers.targets import check_penalty
from kerasreg.strength.folds import Fold, make_folds
from kerasreg.strength.max_strength import main_strength
from kerasreg.strength.null_model import is_single_layer
from kerasreg.strength.samples import Samples
from kerasreg.strength.strengths import DENSE_TO_SPARSE

# Passes over the samples at each strength, by default.
EPOCHS = 10
# Of a linear model, which stops when it has converged.
LINEAR_EPOCHS = 2000
BATCH_SIZE = 32


@dataclass(frozen=True)
class Options:
    """The arguments of `regularization_path` that are plain data, with its defaults filled in.

    A path's folder remembers them under these names. `epochs` is `epochs_per_strength`; the
    `batch_size` of all samples at once is `None`.
    """

    strengths: list[float] | None
    n_strengths: int
    min_ratio: float
    direction: str
    epochs: int
    batch_size: int | None
    monitor: str
    mode: str
    keep_weights: bool


@dataclass(frozen=True)
class Plan(Options):
    """The arguments of `regularization_path`, which explains them, checked."""

    model: Any
    penalties: list[Any]
    samples: Samples
    validation: Samples | None
    folds: list[Fold]
    callbacks: list[Any]
    log_dir: str | None
    verbose: int

    @property
    def is_linear(self) -> bool:
        """Whether the model is one affine layer, so that each strength is a convex problem."""
        return is_single_layer(self.model)

    @property
    def labels(self) -> list[str]:
        """A short name for each penalty."""
        names = [_name(penalty) for penalty in self.penalties]
        if len(set(names)) == len(names):
            return names
        others = [self._others(penalty) for penalty in self.penalties]
        same = {key for key in others[0] if all(o.get(key) == others[0][key] for o in others)}
        values = [
            ", ".join(f"{key}={value:g}" for key, value in other.items() if key not in same)
            for other in others
        ]
        names = [f"{name} {value}".strip() for name, value in zip(names, values, strict=True)]
        if len(set(names)) == len(names):
            return names
        return [f"{name} {i + 1}" for i, name in enumerate(names)]

    @staticmethod
    def _others(penalty: Any) -> dict[str, Any]:
        """The hyper-parameters of a penalty after its strength; none for a dict of penalties."""
        if isinstance(penalty, Mapping):
            return {}
        return {f.name: getattr(penalty, f.name) for f in dataclasses.fields(penalty)[1:]}

    def hparams(self, number: int, strength: float) -> dict[str, Any]:
        """The hyper-parameters of one strength's run, for TensorBoard's HPARAMS."""
        chosen: dict[str, Any] = {"penalty": self.labels[number], "strength": strength}
        kinds = {type(penalty) for penalty in self.penalties}
        return {**chosen, **(self._others(self.penalties[number]) if len(kinds) == 1 else {})}


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


def check_penalties(penalty: Any) -> list[Any]:
    """Returns the penalties of several paths, or of one; raises unless their strengths can vary."""
    penalties = list(penalty) if isinstance(penalty, (list, tuple)) else [penalty]
    if not penalties:
        raise invalid_value("penalty", "a penalty, a dict of penalties, or a list", penalty)
    for each in penalties:
        main_strength(each)
    return [check_penalty(each) for each in penalties]


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


def _name(penalty: Any) -> str:
    parts = penalty.values() if isinstance(penalty, Mapping) else [penalty]
    return " + ".join(dict.fromkeys(type(part).__name__ for part in parts))
