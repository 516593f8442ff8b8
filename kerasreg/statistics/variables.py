"""Which variables of a model are its weights, and what its layers compute with in their place."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras

from kerasreg._checks import check_built, check_pattern, invalid_value
from kerasreg._keras_internals import all_layers, computed_weight, lora_factors, own_trainable
from kerasreg._tensors import Tensor
from kerasreg.regularizers.penalty_map import owning_layers


class ComputedWeight:
    """What a layer computes with in place of a variable that is quantized or has LoRA.

    Args:
        variable: The variable.
        compute: Computes the weight from the layer's variables as they are.
    """

    def __init__(self, variable: Any, compute: Callable[[], Tensor]) -> None:
        self.variable, self._compute = variable, compute
        self.path, self.name = variable.path, variable.name
        value = compute()
        self.shape, self.dtype = tuple(value.shape), keras.backend.standardize_dtype(value.dtype)

    @property
    def value(self) -> Tensor:
        """The weight as it is now."""
        return self._compute()

    @property
    def regularizer(self) -> Any:
        """That of the variable."""
        return self.variable.regularizer

    @property
    def trainable(self) -> bool:
        """Whether the variable is trained."""
        trained: bool = self.variable.trainable
        return trained


class Chosen(NamedTuple):
    """A weight of a model: a variable or what is computed from it.

    Args:
        variable: The variable, or a `ComputedWeight`.
        layer: The layer that it belongs to.
        counts: Whether totals have it; not factors of LoRA, which are in the weight they add to.
    """

    variable: Any
    layer: Any
    counts: bool


def choose_weights(model: Any, pattern: str | re.Pattern[str] | None = None) -> list[Chosen]:
    """The weights of a model in the order of `model.weights`, each once.

    Not what is never trained, as moving averages, the state of a quantization and seeds, unless the
    pattern names it.

    Args:
        model: A built Keras model or layer.
        pattern: Regular expression, searched for in `variable.path`; `None` for all weights.

    Raises:
        ValueError: If the model has no weights yet, or none whose path matches.
    """
    check_built(model)
    layers, owners = all_layers(model), owning_layers(model)
    variables = {id(v): v for v in model.weights if _is_numeric(v)}  # in order, each once
    computed = {
        id(v): ComputedWeight(v, compute)
        for v in variables.values()
        if (compute := computed_weight(owners[id(v)], v)) is not None
    }
    trained = {id(v) for layer in layers for v in own_trainable(layer)} | computed.keys()
    factors = {id(v) for layer in layers for v in lora_factors(layer)}
    matching = _matching(list(variables.values()), trained, owners, pattern)
    return [Chosen(computed.get(id(v), v), owners[id(v)], id(v) not in factors) for v in matching]


def _matching(
    variables: Sequence[Any],
    trained: set[int],
    owners: dict[int, Any],
    pattern: str | re.Pattern[str] | None,
) -> list[Any]:
    if pattern is None:
        return [v for v in variables if id(v) in trained]
    compiled = check_pattern("weights", pattern)
    found = {id(v): compiled.search(v.path) for v in variables}
    of_layer = {id(owners[id(v)]) for v in variables if found[id(v)] and id(v) in trained}

    def is_meant(v: Any) -> bool:
        match = found[id(v)]
        if match is None or id(v) in trained:
            return match is not None
        # `kernel` does not mean `kernel_scale` beside it, nor `norm/` the averages in it.
        return id(owners[id(v)]) not in of_layer or match.end() == len(v.path)

    chosen = [v for v in variables if is_meant(v)]
    if not chosen:
        paths = "\n  ".join(v.path for v in variables)
        raise invalid_value("weights", f"a pattern found in one of the paths\n  {paths}\n", pattern)
    return chosen


def _is_numeric(variable: Any) -> bool:
    dtype: str = keras.backend.standardize_dtype(variable.dtype)
    return dtype.startswith(("float", "bfloat", "int", "uint"))
