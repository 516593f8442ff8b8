"""Finds the weights of a model, each once, with what a report says of them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import keras

from kerasreg._checks import invalid_value
from kerasreg._keras_internals import all_layers
from kerasreg._tensors import to_float
from kerasreg.regularizers import Penalty

_TRANSPOSED_CONVOLUTIONS = (
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
)
_SEPARABLE_CONVOLUTIONS = (
    keras.layers.DepthwiseConv1D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv1D,
    keras.layers.SeparableConv2D,
)


@dataclass(frozen=True)
class Weight:
    """One weight of a model.

    Args:
        variable: The `keras.Variable`.
        name: Its path without the model's own name, so that `sequential` and `sequential_1`
            share it; unique within the model.
        trainable: Whether the model trains it now; Keras leaves out the penalty of a frozen one.
        unit_axes: The axes that number the layer's output units, or `None` for a bias, a gain
            and everything else that has no units to lose.
    """

    variable: Any
    name: str
    trainable: bool
    unit_axes: tuple[int, ...] | None

    @property
    def regularizer(self) -> Any:
        """The regularizer that its layer gave it, or `None`."""
        return self.variable.regularizer

    @property
    def penalty_in_loss(self) -> float:
        """What its regularizer adds to the loss at the present value; 0 if it is frozen."""
        if self.regularizer is None or not self.trainable:
            return 0.0
        return to_float(self.regularizer(keras.ops.stop_gradient(self.variable.value)))


def find_weights(model: Any, pattern: str | re.Pattern[str] | None = None) -> list[Weight]:
    """The weights of a model in the order of `model.weights`, each once.

    Args:
        model: A built Keras model or layer.
        pattern: Regular expression, searched for in `variable.path`; `None` for all weights.

    Returns:
        A list of `Weight`.

    Raises:
        ValueError: If the model has no weights yet, or none whose path matches.
    """
    if not getattr(model, "built", False):
        raise ValueError(
            "Invalid value for argument `model`. Expected a built model; call `model.build(...)` "
            f"or call the model on data first. Received: model={model!r}"
        )
    owners = {
        id(variable): layer for layer in all_layers(model) for variable in layer.variables
    }  # Parents come first, so that the layer itself has the last word.
    trainable = {id(variable) for variable in model.trainable_weights}
    variables = {id(variable): variable for variable in model.weights}  # in order, each once
    chosen = [v for v in variables.values() if _is_numeric(v)]
    if pattern is not None:
        chosen = _filter(chosen, pattern)
    names = unique_names(_without_model_name(model, variable.path) for variable in chosen)
    return [
        Weight(
            variable=variable,
            name=name,
            trainable=id(variable) in trainable,
            unit_axes=_unit_axes(owners[id(variable)], variable),
        )
        for variable, name in zip(chosen, names, strict=True)
    ]


def name_of_layer(model: Any, layer: Any) -> str:
    """The layer's path without the model's own name."""
    return _without_model_name(model, layer.path or layer.name)


def describe_regularizer(regularizer: Any) -> tuple[str, str]:
    """Name and strengths of a regularizer, as `("L1", "l1=0.001")`."""
    if isinstance(regularizer, keras.regularizers.Regularizer):
        try:
            config = regularizer.get_config()
        except NotImplementedError:  # Keras allows a regularizer without a config.
            config = {}
        name = type(regularizer).__name__
        if not isinstance(regularizer, Penalty):
            name = f"keras.{name}" if type(regularizer).__module__.startswith("keras.") else name
        return name, ", ".join(f"{key}={_short(value)}" for key, value in config.items())
    return getattr(regularizer, "__name__", type(regularizer).__name__), ""


def _short(value: Any) -> str:
    # Keras keeps some strengths as float32, which would print as 0.0010000000474974513.
    return f"{value:.7g}" if isinstance(value, float) else str(value)


def _is_numeric(variable: Any) -> bool:
    dtype: str = keras.backend.standardize_dtype(variable.dtype)
    return dtype.startswith(("float", "bfloat", "int", "uint"))


def _filter(variables: list[Any], pattern: str | re.Pattern[str]) -> list[Any]:
    try:
        regex = re.compile(pattern)
    except (re.error, TypeError) as error:
        raise invalid_value("weights", f"a regular expression ({error})", pattern) from None
    chosen = [variable for variable in variables if regex.search(variable.path)]
    if not chosen:
        paths = "\n  ".join(variable.path for variable in variables)
        raise invalid_value("weights", f"a pattern found in one of the paths\n  {paths}\n", pattern)
    return chosen


def _without_model_name(model: Any, path: str) -> str:
    return path.removeprefix(f"{model.name}/")


def unique_names(names: Iterable[str]) -> list[str]:
    """The names in order, a repeated one with `#2`, `#3`, … behind it."""
    seen: Counter[str] = Counter()
    result = []
    for name in names:
        seen[name] += 1
        result.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return result


def _unit_axes(layer: Any, variable: Any) -> tuple[int, ...] | None:
    rank = len(variable.shape)
    if rank < 2 or "bias" in variable.name:
        return None
    if isinstance(layer, keras.layers.EinsumDense):
        return _einsum_unit_axes(layer.equation, rank)
    if isinstance(layer, _TRANSPOSED_CONVOLUTIONS):
        return (rank - 2,)
    if isinstance(layer, _SEPARABLE_CONVOLUTIONS) and "pointwise" not in variable.name:
        return (rank - 2, rank - 1)
    return (rank - 1,)


def _einsum_unit_axes(equation: str, rank: int) -> tuple[int, ...]:
    """The kernel's axes that appear in the output and not in the input, as `bc,abc->` has them."""
    operands, output = re.sub(r"[\s.]", "", equation).split("->")
    inputs, kernel = operands.split(",")
    axes = tuple(i for i, label in enumerate(kernel) if label in output and label not in inputs)
    return axes if axes and len(kernel) == rank else (rank - 1,)
