"""Finds the optimizers that train a model, and what each `Proximal` among them does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras

from kerasreg._backends import strategy_scope
from kerasreg._checks import invalid_value
from kerasreg._keras_internals import assigned_optimizer, batches_seen
from kerasreg.optimizers.proximal import Proximal
from kerasreg.regularizers import Penalty


def optimizers_of(model: Any, optimizer: Any = None) -> dict[str, Any]:
    """The optimizers that may train a model, by name.

    Args:
        model: A model.
        optimizer: The optimizer of a training loop of one's own, or a list or dict of several; by
            default `model.optimizer` and all that other attributes of the model hold.

    Raises:
        ValueError: If what is given is no optimizer.
    """
    if optimizer is None:
        held = vars(model) | {"optimizer": getattr(model, "optimizer", None)}
        found = dict(_optimizers_in(held))
    else:
        given = optimizer if isinstance(optimizer, (list, tuple, dict)) else {"": optimizer}
        found = dict(_optimizers_in(given))
        if not found:
            expected = "a Keras optimizer, or a list or dict of optimizers"
            raise invalid_value("optimizer", expected, optimizer)
    # Each once, under the first of its names.
    first = {id(each): name for name, each in reversed(found.items())}
    return {name: each for name, each in found.items() if first[id(each)] == name}


def _optimizers_in(container: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    items = container.items() if isinstance(container, Mapping) else enumerate(container)
    for key, value in items:
        name = f"{prefix}{key}".lstrip("_")
        if isinstance(value, keras.optimizers.Optimizer):
            yield name, value
        elif isinstance(value, (list, tuple, dict)):
            yield from _optimizers_in(value, f"{name}_")


def find_proximals(model: Any, optimizer: Any = None) -> list[Proximal]:
    """Each `Proximal` that is among the optimizers of a model, or inside of one."""
    found = list(optimizers_of(model, optimizer).values())
    for each in found:
        # One that asks a function for the optimizer of each weight has none before it is built.
        if hasattr(each, "optimizers") and not each.optimizers and model.built:
            with strategy_scope(model):
                each.build(model.trainable_variables)
    parts = (part for each in found for part, _ in _parts(each, None))
    return list({id(part): part for part in parts if isinstance(part, Proximal)}.values())


def _parts(optimizer: Any, variables: Sequence[Any] | None) -> Iterator[tuple[Any, Any]]:
    """An optimizer, or those in a `MultiOptimizer`, each with the weights that it will train.

    Args:
        optimizer: The optimizer.
        variables: The weights that the whole will train, `None` where that is not known.
    """
    if isinstance(optimizer, Proximal):
        yield optimizer, variables
    elif hasattr(optimizer, "inner_optimizer"):
        yield from _parts(optimizer.inner_optimizer, variables)
    elif hasattr(optimizer, "optimizers"):  # `MultiOptimizer`, which came with Keras 3.15
        if optimizer.built or variables is None:
            for part in optimizer.optimizers:
                yield from _parts(part, [] if optimizer.built else None)
        else:
            assigned = [(assigned_optimizer(optimizer, v), v) for v in variables]
            for part in {id(part): part for part, _ in assigned}.values():
                yield from _parts(part, [v for other, v in assigned if other is part])
    else:
        yield optimizer, variables


class ProximalPenalties:
    """The penalties by which `Proximal` acts on the weights of a model.

    An optimizer that is not yet built knows its weights only where it is the model's own, or has
    been given as the one that trains the model. Others join with `refresh` once they are built.

    Args:
        model: A built model.
        optimizer: As for `optimizers_of`.
    """

    def __init__(self, model: Any, optimizer: Any = None) -> None:
        self._variables = list(model.trainable_variables)
        self._optimizers = list(optimizers_of(model, optimizer).values())
        if optimizer is None:
            self._whole = getattr(model, "optimizer", None)
        else:
            self._whole = self._optimizers[0] if len(self._optimizers) == 1 else None
        self._built: list[bool] = []
        self._of: dict[int, list[tuple[Penalty, Any]]] = {}
        self.refresh()

    def of(self, variable: Any) -> list[tuple[Penalty, Any]]:
        """The penalties on a weight, each with the variable that scales its strength."""
        return self._of.get(id(variable), [])

    def refresh(self) -> bool:
        """Looks for optimizers that have been built meanwhile; returns whether there are some."""
        built = [each.built for each in self._optimizers]
        if built == self._built:
            return False
        self._built, self._of = built, {}
        for root in self._optimizers:
            for part, variables in _parts(root, self._variables if root is self._whole else None):
                if isinstance(part, Proximal):
                    self._add(part, self._variables if part.built else variables or [])
        return True

    def _add(self, proximal: Proximal, variables: Sequence[Any]) -> None:
        penalties = proximal.penalties_of(variables) if variables else []
        for variable, penalty in zip(variables, penalties, strict=True):
            if penalty is not None:
                pair = (penalty, proximal.strength_scale)
                self._of.setdefault(id(variable), []).append(pair)


def learning_rates(model: Any, optimizer: Any = None) -> dict[str, Any]:
    """The learning rates in use, by the names of their optimizers; a single one as `""`."""
    found = optimizers_of(model, optimizer)
    if len(found) > 1:  # `compile` may have made one that the model's own step never calls.
        found = {name: each for name, each in found.items() if each.built and batches_seen(each)}
    parts = [(name, part) for name, each in found.items() for part, _ in _parts(each, None)]
    if len(parts) == 1:
        return {"": parts[0][1].learning_rate}
    several = [name for name, _ in parts]
    return {
        name if several.count(name) == 1 else f"{name}_{part.name}": part.learning_rate
        for name, part in parts
    }
