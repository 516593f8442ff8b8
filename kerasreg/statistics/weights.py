"""Finds the weights of a model, each once, with what a report says of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import keras

from kerasreg._checks import check_built, check_pattern, invalid_value
from kerasreg._keras_internals import all_layers
from kerasreg.layers.unit_axes import unit_axes
from kerasreg.optimizers.proximal import find_proximal
from kerasreg.regularizers import Penalty
from kerasreg.regularizers.live_strength import live_scale
from kerasreg.statistics.names import LayerNames, unique_names

# Where a penalty acts, in words.
IN_THE_LOSS = "in the loss"
AFTER_THE_STEP = "after the step"
FROZEN = "not at all: frozen"


@dataclass(frozen=True)
class Weight:
    """One weight of a model.

    Args:
        variable: The `keras.Variable`.
        name: Its name by `LayerNames`, the same each time the model is built; unique within it.
        unit_axes: The axes that number the layer's output units, or `None` for a bias, a gain
            and everything else that has no units to lose.
        input_axes: The axes that number its inputs, not the positions of a convolution; or `None`.
        proximal_penalty: The penalty that the model's `Proximal` has for it, if any.
        strength_scale: The variable that scales that penalty. What scales one in the loss is
            `loss_scale`.
    """

    variable: Any
    name: str
    unit_axes: tuple[int, ...] | None
    input_axes: tuple[int, ...] | None = None
    proximal_penalty: Penalty | None = None
    strength_scale: Any = None

    @property
    def penalties(self) -> list[tuple[Any, str]]:
        """Each penalty on the weight, without what scales it, and where it acts."""
        acting = []
        regularizer = self.variable.regularizer
        if regularizer is not None:
            # Keras leaves the penalty of a frozen weight out.
            place = IN_THE_LOSS if self.variable.trainable else FROZEN
            plain = regularizer.unscaled if isinstance(regularizer, Penalty) else regularizer
            acting.append((plain, place))
        if self.proximal_penalty is not None:
            acting.append((self.proximal_penalty, AFTER_THE_STEP))
        return acting

    @property
    def loss_scale(self) -> float | None:
        """What scales its penalty in the loss now, `None` where nothing ever has."""
        scale = live_scale(self.variable.regularizer)
        return None if scale is None else scale.value


def find_weights(
    model: Any,
    pattern: str | re.Pattern[str] | None = None,
    layer_names: LayerNames | None = None,
) -> list[Weight]:
    """The weights of a model in the order of `model.weights`, each once.

    Args:
        model: A built Keras model or layer.
        pattern: Regular expression, searched for in `variable.path`; `None` for all weights.
        layer_names: The names of the model's layers, where they are known already.

    Returns:
        A list of `Weight`.

    Raises:
        ValueError: If the model has no weights yet, or none whose path matches.
    """
    chosen = choose_variables(model, pattern)
    owners = {
        id(variable): layer for layer in all_layers(model) for variable in layer.variables
    }  # Parents come first, so that the layer itself has the last word.
    layer_names = layer_names or LayerNames(model)
    names = unique_names(layer_names.of_variable(variable) for variable in chosen)
    optimizer = find_proximal(model)
    proximal = {}
    if optimizer is not None:
        trained = model.trainable_variables
        matched = optimizer.penalties_of(trained)
        proximal = dict(zip(map(id, trained), matched, strict=True))
    axes = [unit_axes(owners[id(variable)], variable) for variable in chosen]
    return [
        Weight(
            variable=variable,
            name=name,
            unit_axes=of_weight and of_weight.outputs,
            input_axes=of_weight and of_weight.inputs,
            proximal_penalty=proximal.get(id(variable)),
            strength_scale=optimizer.strength_scale if optimizer else None,
        )
        for variable, name, of_weight in zip(chosen, names, axes, strict=True)
    ]


def choose_variables(model: Any, pattern: str | re.Pattern[str] | None = None) -> list[Any]:
    """The variables of `find_weights`; raises what it raises."""
    check_built(model)
    variables = {id(variable): variable for variable in model.weights}  # in order, each once
    chosen = [variable for variable in variables.values() if _is_numeric(variable)]
    return chosen if pattern is None else _filter(chosen, pattern)


def _is_numeric(variable: Any) -> bool:
    dtype: str = keras.backend.standardize_dtype(variable.dtype)
    return dtype.startswith(("float", "bfloat", "int", "uint"))


def _filter(variables: list[Any], pattern: str | re.Pattern[str]) -> list[Any]:
    regex = check_pattern("weights", pattern)
    chosen = [variable for variable in variables if regex.search(variable.path)]
    if not chosen:
        paths = "\n  ".join(variable.path for variable in variables)
        raise invalid_value("weights", f"a pattern found in one of the paths\n  {paths}\n", pattern)
    return chosen
