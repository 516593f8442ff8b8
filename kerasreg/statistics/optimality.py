"""How far a model's weights are from the optimality conditions of loss + penalty."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from kerasreg._checks import invalid_value
from kerasreg._tensors import Tensor, to_float
from kerasreg.regularizers import Penalty
from kerasreg.statistics.loss_gradient import LossGradient
from kerasreg.statistics.weights import Weight

RESIDUAL = "optimality_residual"

_METHODS = ("_residual", "residuals", "subdifferential_distance")


class Optimality:
    """The optimality residual of each trainable weight: `dist(-gradient, subdifferential)`.

    All residuals are zero exactly where the model is at a stationary point of its loss on the data
    plus its penalties. For a weight without a penalty it is the norm of the gradient.

    Args:
        model: A built and compiled Keras model.
        weights: The weights of interest.
        data: `(x, y)` or `(x, y, sample_weight)`, arrays or structures of arrays; `None` to give
            them to each call of `residuals`.
    """

    def __init__(self, model: Any, weights: Sequence[Weight], data: Any = None) -> None:
        if not getattr(model, "compiled", False):
            raise ValueError(
                "Invalid value for argument `optimality_data`. Expected a compiled model; "
                f"the residual is that of its loss. Received: model={model!r}"
            )
        self._weights = [weight for weight in weights if weight.variable.trainable]
        for weight in self._weights:
            _check_residual(weight)
        self._data = data
        # What `Proximal` weighs its penalty against includes a smooth one in the loss.
        proximal = [w.variable for w in self._weights if w.proximal_penalties]
        self._gradient = LossGradient(model, keep_penalties_on=proximal)

    def residuals(self, data: Any = None) -> dict[str, float]:
        """The residual of each weight at its present value, by the weight's name.

        Args:
            data: Instead of the data that it was made with.
        """
        gradients = self._gradient(*(self._data if data is None else data))
        by_id = {id(v): g for v, g in zip(self._gradient.variables, gradients, strict=True)}
        return {w.name: to_float(_residual(w, by_id)) for w in self._weights}


def total_residual(residuals: dict[str, float]) -> float:
    """The residual of all weights taken together."""
    return math.hypot(*residuals.values())


def check_data(argument: str, data: Any) -> Any:
    """Returns the data, or raises unless it is `None` or a tuple of arrays of one length."""
    if data is None:
        return None
    expected = "a tuple (x, y) or (x, y, sample_weight) of arrays of the same length"
    if not isinstance(data, tuple) or len(data) not in (2, 3):
        raise invalid_value(argument, expected, type(data))
    if len(data) == 3 and data[2] is None:
        data = data[:2]
    arrays = keras.tree.flatten(data)
    shapes = [getattr(array, "shape", None) or None for array in arrays]
    if None in shapes or len({shape[0] for shape in shapes if shape}) != 1:
        kinds = {type(a).__name__ for a, shape in zip(arrays, shapes, strict=True) if not shape}
        raise invalid_value(argument, expected, kinds or shapes)
    return data


def _residual(weight: Weight, gradients: Mapping[int, Tensor]) -> Tensor:
    gradient = gradients[id(weight.variable)]
    penalty, scale = _penalty_of(weight)
    if penalty is None or scale <= 0:
        return ops.sqrt(ops.sum(ops.square(gradient)))
    # The subdifferential grows with the strength.
    if not penalty.spans_weights:
        w = ops.stop_gradient(weight.variable.value)
        return scale * penalty.subdifferential_distance(w, gradient / scale)
    fellows = weight.fellows(penalty)
    ws = [ops.stop_gradient(variable.value) for variable in fellows]
    grads = [gradients[id(variable)] / scale for variable in fellows]
    residuals = list(penalty.residuals(ws, grads, [variable.path for variable in fellows]))
    own = next(i for i, variable in enumerate(fellows) if variable is weight.variable)
    return scale * ops.sqrt(ops.sum(ops.square(residuals[own])))


def _penalty_of(weight: Weight) -> tuple[Penalty | None, float]:
    """The penalty whose subdifferential counts, and what scales it now."""
    regularizer = weight.variable.regularizer
    for penalty, scale in weight.proximal_penalties:
        return penalty, 1.0 if penalty.is_constraint else to_float(scale)
    if isinstance(regularizer, Penalty) and weight.in_the_loss is not False:
        scale = weight.strength_scale_in_loss
        return regularizer, 1.0 if scale is None else scale
    return None, 1.0


def _check_residual(weight: Weight) -> None:
    """Raises unless the penalty whose subdifferential counts knows it."""
    penalty, _ = _penalty_of(weight)
    if penalty is not None and not penalty.implements(*_METHODS):
        raise ValueError(
            f"Invalid penalty on weight `{weight.variable.path}`. Expected one that knows its "
            f"subdifferential, to measure how far the weight is from optimal; give "
            f"{type(penalty).__name__} a method `_residual(w, grad)`. "
            f"Received: penalty={penalty!r}"
        )
