"""The arguments of `regularization_path`, checked, and its defaults."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kerasreg.strength.folds import Fold
from kerasreg.strength.samples import Samples

# Passes over the samples at each strength, by default.
EPOCHS = 10
# Of a linear model, which stops when it has converged.
LINEAR_EPOCHS = 2000
BATCH_SIZE = 32

# As many as NumPy takes.
SEEDS = 1 << 32


@dataclass(frozen=True)
class PathOptions:
    """The arguments that are plain data, by the names under which a path's folder remembers them.

    `epochs` is `epochs_per_strength`; the `batch_size` of all samples at once is `None`.
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
class Plan(PathOptions):
    """The arguments of `regularization_path`, which explains them, checked.

    The order of the samples at each strength, in each fold, follows from `seed`, whatever is
    trained before it, or beside it.
    """

    model: Any
    penalties: list[Any]
    samples: Samples
    validation: Samples | None
    folds: list[Fold]
    callbacks: list[Any]
    log_dir: str | None
    verbose: int
    is_linear: bool
    seed: int

    @property
    def labels(self) -> list[str]:
        """A short name for each penalty."""
        names = [_name(penalty) for penalty in self.penalties]
        if len(set(names)) == len(names):
            return names
        others = [_others(penalty) for penalty in self.penalties]
        same = {key for key in others[0] if all(o.get(key) == others[0][key] for o in others)}
        values = [
            ", ".join(f"{key}={_short(value)}" for key, value in other.items() if key not in same)
            for other in others
        ]
        names = [f"{name} {value}".strip() for name, value in zip(names, values, strict=True)]
        if len(set(names)) == len(names):
            return names
        return [f"{name} {i + 1}" for i, name in enumerate(names)]

    def hparams(self, number: int, strength: float) -> dict[str, Any]:
        """The hyper-parameters of one strength's run, for TensorBoard's HPARAMS."""
        one_kind = len({type(penalty) for penalty in self.penalties}) == 1
        others = _others(self.penalties[number]) if one_kind else {}
        plain = {k: v if isinstance(v, (int, float)) else str(v) for k, v in others.items()}
        return {"penalty": self.labels[number], "strength": strength, **plain}


def draw_seed() -> int:
    """A seed that follows `keras.utils.set_random_seed`."""
    return random.randrange(SEEDS)


def _others(penalty: Any) -> dict[str, Any]:
    """The hyper-parameters of a penalty after its strength; none for a dict of penalties."""
    if isinstance(penalty, Mapping):
        return {}
    return dict(list(penalty.arguments.items())[1:])


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, (int, float)) else str(value)


def _name(penalty: Any) -> str:
    parts = penalty.values() if isinstance(penalty, Mapping) else [penalty]
    return " + ".join(dict.fromkeys(type(part).__name__ for part in parts))
