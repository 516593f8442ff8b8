"""The model without its penalised weights: they are zero, and the rest is at its best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from kerasreg._keras_internals import all_layers
from kerasreg._tensors import Tensor, to_numpy
from kerasreg.lbfgs import minimise
from kerasreg.loss_gradient import LossGradient
from kerasreg.samples import Samples

# Layers whose output is affine in their weights.
_AFFINE = (
    keras.layers.Dense,
    keras.layers.EinsumDense,
    keras.layers.Embedding,
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
)


@dataclass(frozen=True)
class NullModel:
    """Where all penalised weights are zero.

    Args:
        values: A tensor for each trainable variable of the model.
        gradients: The gradient of the loss there, for each.
    """

    values: list[Tensor]
    gradients: list[Tensor]


def is_single_layer(model: Any) -> bool:
    """Whether all trainable weights are those of one affine layer, as in a linear model."""
    owners = {id(v): layer for layer in all_layers(model) for v in layer.trainable_variables}
    layers = {id(layer): layer for layer in owners.values()}
    return len(layers) == 1 and isinstance(next(iter(layers.values())), _AFFINE)


def fit_null_model(
    gradient: LossGradient, penalised: Sequence[bool], samples: Samples
) -> NullModel:
    """Sets the penalised weights to zero and fits the others, which are biases as a rule.

    Args:
        gradient: The gradient of the model's loss. The model stays as it is.
        penalised: Which of its variables are to be zero. The others, among them gains that are no
            use at zero, begin with their present values.
        samples: The samples.

    Returns:
        The weights and the gradient there.
    """
    zeros = [ops.zeros(v.shape, v.dtype) for v in gradient.variables]
    free = [i for i, is_zero in enumerate(penalised) if not is_zero]
    sizes = [int(np.prod(gradient.variables[i].shape)) for i in free]
    edges = np.cumsum(sizes)[:-1]
    data = (samples.x, samples.y, samples.sample_weight)

    def values_at(flat: npt.NDArray[np.float64]) -> list[Tensor]:
        values = list(zeros)
        for i, part in zip(free, np.split(flat, edges), strict=True):
            v = gradient.variables[i]
            values[i] = ops.reshape(ops.convert_to_tensor(part, dtype=v.dtype), v.shape)
        return values

    def slope(flat: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        gradients = gradient(*data, at=values_at(flat))
        return np.concatenate([to_numpy(gradients[i]).ravel().astype("float64") for i in free])

    present = [to_numpy(gradient.variables[i]).ravel().astype("float64") for i in free]
    flat = minimise(slope, np.concatenate(present)) if free else np.zeros(0)
    values = values_at(flat) if free else zeros
    return NullModel(values, gradient(*data, at=values))
