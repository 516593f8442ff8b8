"""The model without its penalised weights: they are zero, and the others are at their best."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from kerasreg._keras_internals import all_layers
from kerasreg._tensors import Tensor, to_numpy
from kerasreg.statistics.loss_gradient import LossGradient
from kerasreg.strength.samples import Samples

Vector = npt.NDArray[np.float64]
Slope = Callable[[Vector], Vector]
MEMORY = 10
MAX_ITERATIONS = 200
MAX_TRIALS = 30

# Iterations without a smaller gradient, after which to stop; it need not shrink each time.
PATIENCE = 20


def minimise(slope: Slope, start: Vector, tolerance: float = 1e-8) -> Vector:
    """Minimises a convex function by its gradient alone, as precisely as that is known.

    L-BFGS without values of the function: those of a loss in float32 are flat around the minimum,
    where its gradients still tell the way.

    Source: Liu & Nocedal, On the Limited Memory BFGS Method for Large Scale Optimization, 1989.

    Args:
        slope: The gradient of the function.
        start: Where to start; of shape `(n,)`.
        tolerance: Norm of the gradient, relative to that at the start, that is small enough.

    Returns:
        The point with the smallest gradient that was found.
    """
    point, gradient = start, slope(start)
    best, smallest = point, np.linalg.norm(gradient)
    enough, idle = tolerance * smallest, 0
    pairs: deque[tuple[Vector, Vector]] = deque(maxlen=MEMORY)
    for _ in range(MAX_ITERATIONS):
        if smallest <= enough or idle == PATIENCE:
            break
        direction = _direction(gradient, pairs)
        if direction @ gradient >= 0:  # Rounding has spoilt the memory.
            pairs.clear()
            direction = _direction(gradient, pairs)
        change, following, found = _search(slope, point, gradient, direction)
        if change @ (following - gradient) > 0:
            pairs.append((change, following - gradient))
        point, gradient = point + change, following
        idle += 1
        if np.linalg.norm(gradient) < smallest:
            best, smallest, idle = point, np.linalg.norm(gradient), 0
        if not found:  # The slope jumps at a kink, or what is left of it is noise.
            return point
    return best


def _direction(gradient: Vector, pairs: deque[tuple[Vector, Vector]]) -> Vector:
    """Minus the gradient times the inverse curvature that the last changes have shown."""
    if not pairs:  # Of length 1 at most: a loss may be flat far away.
        return -gradient / max(1.0, float(np.linalg.norm(gradient)))
    result = gradient.copy()
    shares = []
    for change, difference in reversed(pairs):
        share = (change @ result) / (change @ difference)
        shares.append(share)
        result -= share * difference
    change, difference = pairs[-1]
    result *= (change @ difference) / (difference @ difference)
    for (change, difference), share in zip(pairs, reversed(shares), strict=True):
        result += (share - (difference @ result) / (change @ difference)) * change
    return -result


def _search(
    slope: Slope, point: Vector, gradient: Vector, direction: Vector
) -> tuple[Vector, Vector, bool]:
    """The change along a direction to where the slope is at most half as steep.

    With the gradient after it, and whether there is such a change.
    """
    steepness = abs(direction @ gradient)
    low, high, length = 0.0, np.inf, 1.0
    for _ in range(MAX_TRIALS):
        change = length * direction
        following = slope(point + change)
        along = direction @ following
        if abs(along) <= 0.5 * steepness:
            return change, following, True
        low, high = (low, length) if along > 0 else (length, high)
        length = 2.0 * length if high == np.inf else (low + high) / 2.0
    return change, following, False


AFFINE = (
    keras.layers.Dense,
    keras.layers.EinsumDense,
    keras.layers.Embedding,
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
)


@functools.singledispatch
def is_affine(layer: Any) -> bool:
    """Whether what a layer's activation is applied to is affine in its weights.

    A layer of one's own joins by `@is_affine.register`.
    """
    return isinstance(layer, AFFINE)


def is_single_layer(model: Any) -> bool:
    """Whether all trainable weights are those of one affine layer, as in a linear model."""
    owners = {id(v): layer for layer in all_layers(model) for v in layer.trainable_variables}
    layers = list({id(layer): layer for layer in owners.values()}.values())
    return len(layers) == 1 and is_affine(layers[0])


def fit_null_model(
    gradient: LossGradient, free: Sequence[npt.NDArray[np.bool_]], samples: Samples
) -> tuple[list[Tensor], list[Tensor]]:
    """Sets the penalised weights to zero and fits the others, which are biases as a rule.

    Args:
        gradient: The gradient of the model's loss. The model stays as it is.
        free: A mask for each of its variables, of the entries that are not penalised. They begin
            with their present values, as gains do nothing at zero; all others are to be zero.
        samples: The samples.

    Returns:
        The values of all variables, and the gradient there.
    """
    edges = np.cumsum([np.count_nonzero(mask) for mask in free])[:-1]

    def values_at(flat: Vector) -> list[Tensor]:
        values = []
        for v, mask, part in zip(gradient.variables, free, np.split(flat, edges), strict=True):
            value = np.zeros(mask.shape)
            value[mask] = part
            values.append(ops.convert_to_tensor(value, dtype=v.dtype))
        return values

    def flat_of(tensors: Sequence[Tensor]) -> Vector:
        parts = [to_numpy(x)[mask] for x, mask in zip(tensors, free, strict=True)]
        return np.concatenate(parts).astype("float64")

    def slope(flat: Vector) -> Vector:
        return flat_of(gradient(**vars(samples), at=values_at(flat)))

    start = flat_of(gradient.variables)
    values = values_at(minimise(slope, start) if start.size else start)
    return values, gradient(**vars(samples), at=values)
