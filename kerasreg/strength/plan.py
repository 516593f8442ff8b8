"""The arguments of a path, checked."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from kerasreg._checks import check_bool, check_choice, check_integer, invalid_value
from kerasreg._keras_internals import innermost_optimizer, unbuilt_copy
from kerasreg._tensors import to_numpy
from kerasreg.callbacks import StrengthScheduler
from kerasreg.optimizers.proximal import find_proximal
from kerasreg.optimizers.targets import check_penalty
from kerasreg.strength.folds import Fold, make_folds
from kerasreg.strength.max_strength import check_compiled, main_strength
from kerasreg.strength.measures import check_monitor
from kerasreg.strength.null_model import is_single_layer
from kerasreg.strength.samples import Samples
from kerasreg.strength.strengths import (
    DENSE_TO_SPARSE,
    DIRECTIONS,
    SPARSE_TO_DENSE,
    check_min_ratio,
    check_strengths,
)
from kerasreg.tensorboard.event_file import check_log_dir


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


EPOCHS = 10

# Of a linear model, which stops when it has converged.
LINEAR_EPOCHS = 2000
BATCH_SIZE = 32


@dataclass(frozen=True)
class Plan:
    """What a path is made of.

    Args:
        model: A built and compiled model.
        penalties: Each a penalty, or a dict of penalties, with a path of its own.
        samples: The samples to train on.
        validation: The samples to validate on, or `None`.
        strengths: The strengths, or `None` for a grid.
        n_strengths: Number of strengths of the grid.
        min_ratio: Its smallest strength as a fraction of the largest.
        direction: Which end to begin with.
        epochs: Passes over the samples at each strength, at most.
        batch_size: Samples a batch; `None` for all at once.
        folds: Pairs of indices.
        monitor: What to choose a strength by.
        mode: Whether less or more of it is better, or `"auto"`.
        callbacks: Keras callbacks for each strength.
        log_dir: Folder to log to and to go on from, or `None`.
        keep_weights: Whether to keep the weights of each strength.
        verbose: Whether to show a progress bar.
    """

    model: Any
    penalties: list[Any]
    samples: Samples
    validation: Samples | None
    strengths: list[float] | None
    n_strengths: int
    min_ratio: float
    direction: str
    epochs: int
    batch_size: int | None
    folds: list[Fold]
    monitor: str
    mode: str
    callbacks: list[Any]
    log_dir: str | None
    keep_weights: bool
    verbose: int

    @property
    def is_linear(self) -> bool:
        """Whether the model is one layer, so that its path is that of a convex problem."""
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
        """What a penalty has beside its strength; nothing of a dict of penalties."""
        if isinstance(penalty, Mapping):
            return {}
        return {f.name: getattr(penalty, f.name) for f in dataclasses.fields(penalty)[1:]}

    def hparams(self, number: int, strength: float) -> dict[str, Any]:
        """What is chosen for one run, for TensorBoard's HPARAMS."""
        chosen: dict[str, Any] = {"penalty": self.labels[number], "strength": strength}
        kinds = {type(penalty) for penalty in self.penalties}
        return {**chosen, **(self._others(self.penalties[number]) if len(kinds) == 1 else {})}


def make_plan(model: Any, penalty: Any, x: Any, y: Any, **arguments: Any) -> Plan:
    """Checks the arguments of `regularization_path`; raises where one is invalid."""
    check_compiled(model)
    check_optimizer(model)
    penalties = list(penalty) if isinstance(penalty, (list, tuple)) else [penalty]
    if not penalties:
        raise invalid_value("penalty", "a penalty, a dict of penalties, or a list", penalty)
    for each in penalties:
        main_strength(each)
    samples = Samples.of(x, y, arguments["sample_weight"])
    strengths, folds = arguments["strengths"], arguments["folds"]
    linear = is_single_layer(model)
    direction, log_dir = arguments["direction"], arguments["log_dir"]
    if direction is None:
        direction = SPARSE_TO_DENSE if linear else DENSE_TO_SPARSE
    check_choice("direction", direction, DIRECTIONS)
    if folds is not None and direction == DENSE_TO_SPARSE and is_trained(model):
        expected = (
            "None for a model that is trained already: it knows the samples that a fold holds out. "
            "Give a fresh model, or validation_data"
        )
        raise invalid_value("folds", expected, folds)
    return Plan(
        model=model,
        penalties=[check_penalty(each) for each in penalties],
        samples=samples,
        validation=check_validation(arguments["validation_data"]),
        strengths=None if strengths is None else check_strengths(strengths),
        n_strengths=_at_least_1("n_strengths", arguments["n_strengths"]),
        min_ratio=check_min_ratio(arguments["min_ratio"]),
        direction=direction,
        **_sizes(arguments["epochs_per_strength"], arguments["batch_size"], linear),
        folds=[] if folds is None else make_folds(folds, samples, model.loss),
        monitor=check_monitor(arguments["monitor"]),
        mode=check_choice("mode", arguments["mode"], ("auto", "min", "max")),
        callbacks=check_callbacks(arguments["callbacks"]),
        log_dir=None if log_dir is None else _local(log_dir),
        keep_weights=check_bool("keep_weights", arguments["keep_weights"]),
        verbose=_verbose(arguments["verbose"]),
    )


def _sizes(epochs: Any, batch_size: Any, linear: bool) -> dict[str, Any]:
    at_once = linear and batch_size is None
    if epochs is None:
        epochs = LINEAR_EPOCHS if at_once else EPOCHS
    if batch_size is None:
        batch_size = BATCH_SIZE
    return {
        "epochs": _at_least_1("epochs_per_strength", epochs),
        "batch_size": None if at_once else _at_least_1("batch_size", batch_size),
    }


def _verbose(value: Any) -> int:
    if value not in (0, 1):
        raise invalid_value("verbose", "0 or 1", value)
    return int(value)


def _at_least_1(argument: str, value: Any) -> int:
    return check_integer(argument, value, "a positive integer", least=1)


def _local(log_dir: Any) -> str:
    folder = check_log_dir("log_dir", log_dir)
    if "://" in folder:
        raise invalid_value("log_dir", "a local folder, which the path can go on from", log_dir)
    return folder


def _name(penalty: Any) -> str:
    parts = penalty.values() if isinstance(penalty, Mapping) else [penalty]
    return " + ".join(dict.fromkeys(type(part).__name__ for part in parts))
