"""Finds the weights of a model, each once, with what a report says of them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import keras

from kerasreg._checks import check_built, check_pattern, invalid_value
from kerasreg._keras_internals import all_layers
from kerasreg.layer_names import LayerNames
from kerasreg.live_strength import live_scale
from kerasreg.optimizers import Proximal
from kerasreg.regularizers import Penalty

# Where a penalty acts, in words.
IN_THE_LOSS = "in the loss"
AFTER_THE_STEP = "after the step"
FROZEN = "not at all: frozen"

_TRANSPOSED_CONVOLUTIONS = (
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
)
_WITHOUT_UNITS = (
    keras.layers.BatchNormalization,
    keras.layers.GroupNormalization,
    keras.layers.LayerNormalization,
    keras.layers.Normalization,
    keras.layers.PReLU,
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
    check_built(model)
    owners = {
        id(variable): layer for layer in all_layers(model) for variable in layer.variables
    }  # Parents come first, so that the layer itself has the last word.
    variables = {id(variable): variable for variable in model.weights}  # in order, each once
    chosen = [v for v in variables.values() if _is_numeric(v)]
    if pattern is not None:
        chosen = _filter(chosen, pattern)
    layer_names = LayerNames(model)
    names = unique_names(layer_names.of_variable(variable) for variable in chosen)
    optimizer = find_proximal(model)
    proximal = {}
    if optimizer is not None:
        trained = model.trainable_variables
        matched = optimizer.penalties_of(trained)
        proximal = dict(zip(map(id, trained), matched, strict=True))
    return [
        Weight(
            variable=variable,
            name=name,
            unit_axes=_unit_axes(owners[id(variable)], variable),
            input_axes=_input_axes(owners[id(variable)], variable),
            proximal_penalty=proximal.get(id(variable)),
            strength_scale=optimizer.strength_scale if optimizer else None,
        )
        for variable, name in zip(chosen, names, strict=True)
    ]


def describe_regularizer(regularizer: Any) -> tuple[str, str]:
    """Name and strengths of a regularizer, as `("L1", "l1=0.001")`."""
    if isinstance(regularizer, keras.regularizers.Regularizer):
        try:
            config = regularizer.get_config()
        except Exception:  # Keras allows a regularizer without a config; it is only described.
            config = {}
        name = type(regularizer).__name__
        if not isinstance(regularizer, Penalty):
            name = f"keras.{name}" if type(regularizer).__module__.startswith("keras.") else name
        return name, ", ".join(f"{key}={_short(value)}" for key, value in config.items())
    return getattr(regularizer, "__name__", type(regularizer).__name__), ""


def _short(value: Any) -> str:
    # Keras keeps some strengths as float32, which would print as 0.0010000000474974513.
    return f"{value:.7g}" if isinstance(value, float) else str(value)


def find_proximal(model: Any) -> Proximal | None:
    """The model's `Proximal`, also where a `LossScaleOptimizer` is around it."""
    optimizer = getattr(model, "optimizer", None)
    while optimizer is not None and not isinstance(optimizer, Proximal):
        optimizer = getattr(optimizer, "inner_optimizer", None)
    return optimizer


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
    if rank < 2 or "bias" in variable.name or isinstance(layer, _WITHOUT_UNITS):
        return None
    if isinstance(layer, keras.layers.EinsumDense):
        return _einsum_unit_axes(layer.equation, rank)
    if isinstance(layer, _TRANSPOSED_CONVOLUTIONS):
        return (rank - 2,)
    if isinstance(layer, _SEPARABLE_CONVOLUTIONS) and "pointwise" not in variable.name:
        return (rank - 2, rank - 1)
    return (rank - 1,)


def _input_axes(layer: Any, variable: Any) -> tuple[int, ...] | None:
    units = _unit_axes(layer, variable)
    if units is None:
        return None
    others = tuple(axis for axis in range(len(variable.shape)) if axis not in units)
    if isinstance(layer, keras.layers.EinsumDense):
        return others
    is_depthwise = len(units) > 1
    return units[:1] if is_depthwise else others[-1:]


def _einsum_unit_axes(equation: str, rank: int) -> tuple[int, ...]:
    """The kernel's axes that appear in the output and not in the input, as `bc,abc->` has them."""
    operands, output = re.sub(r"[\s.]", "", equation).split("->")
    inputs, kernel = operands.split(",")
    axes = tuple(i for i, label in enumerate(kernel) if label in output and label not in inputs)
    return axes if axes and len(kernel) == rank else (rank - 1,)
