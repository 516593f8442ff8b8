"""Finds the weights of a model, each once, with the penalties that act on it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import keras
from keras import ops

from kerasreg._tensors import Tensor, to_float
from kerasreg.optimizers.of_model import Optimizers
from kerasreg.regularizers import Penalty
from kerasreg.regularizers.from_keras import strength_of, value_from_norms
from kerasreg.regularizers.unit_axes import unit_axes
from kerasreg.statistics.loss_contents import loss_has_penalties
from kerasreg.statistics.names import LayerNames, unique_names
from kerasreg.statistics.numbers import Statistics
from kerasreg.statistics.variables import ComputedWeight, choose_weights

# Where a penalty acts, in words.
IN_THE_LOSS = "in the loss"
AFTER_THE_STEP = "after the step"
FROZEN = "not at all: frozen"
LEFT_OUT = "not at all: the model's loss leaves it out"
IF_ADDED = "where the model adds its `losses`"
_PLACES = {True: IN_THE_LOSS, False: LEFT_OUT, None: IF_ADDED}

# What the variables that scale penalties of `Proximal` hold now, by their identity.
Scales: TypeAlias = Mapping[int, float]


@dataclass(frozen=True)
class Weight:
    """One weight of a model.

    Args:
        variable: The `keras.Variable`, or the `ComputedWeight` that the layer has in its place.
        name: Its name by `LayerNames`, the same each time the model is built; unique within it.
        unit_axes: The axes that number the layer's output units, or `None` for a bias, a gain
            and everything else that has no units to lose.
        input_axes: The axes that number its inputs, not the positions of a convolution; or `None`.
        head_axes: The axis that numbers its heads, in an attention layer; or `None`.
        optimizers: Those that train the model.
        counts: Whether the totals have it.
        in_the_loss: Whether the model's loss contains its regularizer, see `loss_has_penalties`.
        layer: The layer that it belongs to.
    """

    variable: Any
    name: str
    unit_axes: tuple[int, ...] | None
    input_axes: tuple[int, ...] | None = None
    head_axes: tuple[int, ...] | None = None
    optimizers: Optimizers | None = None
    counts: bool = True
    in_the_loss: bool | None = True
    layer: Any = None

    @property
    def source(self) -> Any:
        """Where its values are read: the variable, or a tensor that is computed now."""
        computed = isinstance(self.variable, ComputedWeight)
        return self.variable.value if computed else self.variable

    @property
    def units(self) -> int:
        """Number of its output units; 0 where it has none to lose."""
        axes = self.unit_axes
        return 0 if axes is None else math.prod(self.variable.shape[axis] for axis in axes)

    def word_of(self, axes: tuple[int, ...]) -> str | None:
        """What its slices along some axes are called, in the plural, where that is known."""
        words = {self.head_axes: "heads", self.input_axes: "inputs", self.unit_axes: "units"}
        return words.get(axes)

    @property
    def proximal_penalties(self) -> list[tuple[Penalty, Any]]:
        """The penalties of `Proximal` on it, each with the variable that scales its strength."""
        return [] if self.optimizers is None else self.optimizers.penalties_on(self.variable)

    @property
    def penalties(self) -> list[tuple[Any, str]]:
        """Each penalty on the weight, without what scales it, and where it acts."""
        acting = []
        regularizer = self.variable.regularizer
        if regularizer is not None:
            # Keras leaves the penalty of a frozen weight out.
            place = _PLACES[self.in_the_loss] if self.variable.trainable else FROZEN
            plain = regularizer.unscaled if isinstance(regularizer, Penalty) else regularizer
            acting.append((plain, place))
        return acting + [(penalty, AFTER_THE_STEP) for penalty, _ in self.proximal_penalties]

    @property
    def strength_scale_in_loss(self) -> float | None:
        """What scales its penalty in the loss now, `None` where nothing ever has."""
        regularizer = self.variable.regularizer
        scale = regularizer.strength_scale if isinstance(regularizer, Penalty) else None
        return None if scale is None else scale.value

    @property
    def acting(self) -> list[tuple[Any, Any]]:
        """The penalties that act on it, in the loss or after the step, each with its scale now.

        That is a number, or the variable of a `Proximal`, which may lie on a device. A frozen
        weight's penalty in the loss does not act, nor one that is known to be left out.
        """
        scale = self.strength_scale_in_loss
        in_the_loss = 1.0 if scale is None else scale
        places = [
            (p, in_the_loss) for p, place in self.penalties if place in (IN_THE_LOSS, IF_ADDED)
        ]
        return [*places, *self.proximal_penalties]

    @property
    def acting_penalties(self) -> list[tuple[Any, Any]]:
        """Those of them that add to what is minimised: a constraint has no value."""
        return [
            (penalty, scale)
            for penalty, scale in self.acting
            if not (isinstance(penalty, Penalty) and penalty.is_constraint)
        ]

    def fellows(self, penalty: Any) -> list[Any]:
        """The weights that one of its `proximal_penalties` acts on together, itself among them."""
        scales = [scale for each, scale in self.proximal_penalties if each == penalty]
        return [] if self.optimizers is None else self.optimizers.weights_of(penalty, scales[0])

    def strength(self, scales: Scales) -> float | None:
        """The strength of the first penalty that acts on it, `None` where none has one."""
        for penalty, scale in self.acting_penalties:
            strength = strength_of(penalty)
            if strength is not None:
                return strength * _number(scale, scales)
        return None


class Computed(NamedTuple):
    """A penalty whose value on a weight has to be computed from tensors.

    Args:
        penalty: The penalty.
        places: The numbers of the weights that it takes together, of one weight mostly.
        paths: Their paths where there may be several, else empty.
        own: The place of the weight itself among them.
    """

    penalty: Any
    places: tuple[int, ...]
    paths: tuple[str, ...] = ()
    own: int = 0


def penalties_to_compute(weights: Sequence[Weight]) -> tuple[list[Any], list[Computed]]:
    """What the norms are not enough for, in the order in which `total_value` asks for it.

    Returns:
        The variables of the weights, followed by others that are needed; and the penalties.
    """
    variables = [weight.variable for weight in weights]
    numbers = {id(variable): number for number, variable in enumerate(variables)}
    computed = []
    for number, weight in enumerate(weights):
        for penalty, _ in weight.acting_penalties:
            if value_from_norms(penalty, 1.0, 1.0) is not None:
                continue
            if not (isinstance(penalty, Penalty) and penalty.spans_weights):
                computed.append(Computed(penalty, (number,)))
                continue
            fellows = weight.fellows(penalty)
            for variable in fellows:
                if numbers.setdefault(id(variable), len(variables)) == len(variables):
                    variables.append(variable)
            places = tuple(numbers[id(variable)] for variable in fellows)
            paths = tuple(variable.path for variable in fellows)
            computed.append(Computed(penalty, places, paths, places.index(number)))
    return variables, computed


def compute_penalties(
    computed: Sequence[Computed], value_of: Callable[[int], Tensor]
) -> list[Tensor]:
    """The value of each penalty, a scalar, from the weights by their numbers."""
    together: dict[tuple[Any, ...], list[Tensor]] = {}

    def compute(each: Computed) -> Tensor:
        if not each.paths:
            return ops.sum(each.penalty(value_of(each.places[0])))
        key = each[:2]
        if key not in together:
            together[key] = each.penalty.shares(list(map(value_of, each.places)), each.paths)
        return together[key][each.own]

    return [compute(each) for each in computed]


def total_value(
    penalties: Sequence[tuple[Any, Any]],
    statistics: Statistics,
    scales: Scales,
    compute: Callable[[Any], float],
) -> float:
    """The sum of the values of one weight's `acting_penalties`.

    `compute` computes a penalty that the norms of the weight are not enough for.
    """
    total = 0.0
    for penalty, scale in penalties:
        value = value_from_norms(penalty, statistics.l1_norm, statistics.l2_norm)
        value = compute(penalty) if value is None else value
        total += value * _number(scale, scales)
    return total


def penalty_values(weights: Sequence[Weight], statistics: Sequence[Statistics]) -> list[float]:
    """What the penalties that act on each weight amount to now, most of them by its norms."""
    scales, (variables, computed) = _read_scales(weights), penalties_to_compute(weights)

    def value_of(number: int) -> Tensor:
        return ops.stop_gradient(variables[number].value)

    values = iter(compute_penalties(computed, value_of))
    return [
        total_value(w.acting_penalties, numbers, scales, lambda _: to_float(next(values)))
        for w, numbers in zip(weights, statistics, strict=True)
    ]


def strengths(weights: Sequence[Weight]) -> tuple[float | None, dict[str, float]]:
    """What scales all penalties, if it is one number, and the strength of each weight by name.

    Where a `Proximal` acts, only what scales its penalties counts.
    """
    scales = _read_scales(weights)
    found = ((weight.name, weight.strength(scales)) for weight in weights)
    by_name = {name: strength for name, strength in found if strength is not None}
    acting = [(w, scale) for w in weights for _, scale in w.acting_penalties]
    of_proximal = {scales[id(scale)] for _, scale in acting if id(scale) in scales}
    in_the_loss = {scale for _, scale in acting if id(scale) not in scales}
    if not of_proximal and not any(w.strength_scale_in_loss is not None for w, _ in acting):
        return None, by_name
    common = of_proximal or in_the_loss
    return common.pop() if len(common) == 1 else None, by_name


def scale_variables(weights: Sequence[Weight]) -> list[Any]:
    """The variables that scale penalties of `Proximal` on weights, each once."""
    scales = (scale for weight in weights for _, scale in weight.proximal_penalties)
    return list({id(scale): scale for scale in scales}.values())


def _read_scales(weights: Sequence[Weight]) -> Scales:
    return {id(scale): to_float(scale) for scale in scale_variables(weights)}


def _number(scale: Any, scales: Scales) -> float:
    number: float = scales[id(scale)] if id(scale) in scales else scale
    return number


def find_weights(
    model: Any,
    pattern: str | re.Pattern[str] | None = None,
    layer_names: LayerNames | None = None,
    optimizers: Optimizers | None = None,
) -> list[Weight]:
    """The weights that `choose_weights` chooses, with their names, axes and penalties.

    Args:
        model: A built Keras model or layer.
        pattern: As for `choose_weights`.
        layer_names: The names of the model's layers, where they are known already.
        optimizers: Those that train the model; by default those that it holds.

    Returns:
        A list of `Weight`.

    Raises:
        ValueError: If the model has no weights yet, or none whose path matches.
    """
    chosen = choose_weights(model, pattern)
    layer_names = layer_names or LayerNames(model)
    names = unique_names([layer_names.of_variable(each.variable) for each in chosen])
    optimizers = optimizers or Optimizers(model)
    axes = [unit_axes(each.layer, each.variable) for each in chosen]
    in_the_loss = loss_has_penalties(model)
    return [
        Weight(
            variable=each.variable,
            name=name,
            unit_axes=of_weight and of_weight.outputs,
            input_axes=of_weight and of_weight.inputs,
            head_axes=(of_weight and of_weight.heads) or None,
            optimizers=optimizers,
            counts=each.counts,
            in_the_loss=in_the_loss,
            layer=each.layer,
        )
        for each, name, of_weight in zip(chosen, names, axes, strict=True)
    ]


def describe_penalties(weight: Weight) -> str:
    """Each penalty of a weight in words, with its place unless that is the loss."""
    return "; ".join(
        name_penalty(penalty) + ("" if place == IN_THE_LOSS else f", {place}")
        for penalty, place in weight.penalties
    )


def name_penalty(penalty: Any) -> str:
    """A penalty in words, as `"L1(l1=0.001)"`."""
    name, strengths = describe_regularizer(penalty)
    return f"{name}({strengths})"


def describe_regularizer(regularizer: Any) -> tuple[str, str]:
    """Name and strengths of a regularizer, as `("L1", "l1=0.001")`."""
    if isinstance(regularizer, Penalty):
        words = (f"{key}={_short(value)}" for key, value in regularizer.arguments.items())
        return type(regularizer).__name__, ", ".join(words)
    if isinstance(regularizer, keras.regularizers.Regularizer):
        try:
            config = regularizer.get_config()
        except Exception:  # Keras allows a regularizer without a config; it is only described.
            config = {}
        name = type(regularizer).__name__
        if type(regularizer).__module__.startswith("keras."):
            name = f"keras.{name}"
        return name, ", ".join(f"{key}={_short(value)}" for key, value in config.items())
    return getattr(regularizer, "__name__", type(regularizer).__name__), ""


def _short(value: Any) -> str:
    # Keras keeps some strengths as float32, which would print as 0.0010000000474974513.
    return f"{value:.7g}" if isinstance(value, float) else str(value)
