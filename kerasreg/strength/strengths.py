"""The strengths of a path."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from kerasreg._checks import invalid_value
from kerasreg._tensors import to_numpy
from kerasreg.strength.max_strength import DualNorms, main_strength
from kerasreg.strength.null_model import is_single_layer
from kerasreg.strength.samples import Arrays, Samples

Direction: TypeAlias = Literal["sparse_to_dense", "dense_to_sparse"]
SPARSE_TO_DENSE: Direction = "sparse_to_dense"
DENSE_TO_SPARSE: Direction = "dense_to_sparse"

# So that the first strength leaves nothing, in spite of rounding.
_MARGIN = 1.0 + 1e-6


def strength_grid(
    largest: float, n_strengths: int, min_ratio: float, direction: str
) -> list[float]:
    """Strengths at equal ratios, down to `min_ratio` of the largest, in the order of training."""
    if not np.isfinite(largest) or largest <= 0:
        expected = (
            f"strengths, as the gradient of the loss where all weights are zero is {largest:g} and "
            "gives no largest one: are the targets constant, is the model not convex, or does the "
            "penalty keep zeros at every strength, as L0_5 does?"
        )
        raise invalid_value("strengths", expected, None)
    grid = np.geomspace(largest * _MARGIN, largest * min_ratio, n_strengths)
    return in_order(grid.tolist(), direction)


def in_order(strengths: Sequence[float], direction: str) -> list[float]:
    """The strengths in the order in which they are trained."""
    return sorted(strengths, reverse=direction == SPARSE_TO_DENSE)


# A model has collapsed if it explains less than this part of the loss that the best one explains.
COLLAPSED = 0.1


def is_over(rows: Sequence[Mapping[str, Any]], direction: str, null_loss: float) -> bool:
    """Whether no further strength is worth training, after these rows.

    `null_loss` is that of the best model without its penalised weights, infinite if unknown.
    """
    if not rows:
        return False
    last = rows[-1]
    if not math.isfinite(last["data_loss"]):
        return True
    if direction != DENSE_TO_SPARSE:
        return False
    explained = [null_loss - row["data_loss"] for row in rows]
    best = max(explained)
    collapsed = math.isfinite(null_loss) and best > 0 and explained[-1] < COLLAPSED * best
    return last["sparsity"] == 1.0 or collapsed


# The null model is fitted on at most so many samples, and for at most so many other parameters.
NULL_SAMPLES = 2048
NULL_PARAMETERS = 100_000

# Relative error of a gradient in float32.
ROUNDING = 1e-6


@dataclass(frozen=True)
class Start:
    """Where the path of one penalty begins.

    Args:
        weights: The model's weights, in the order of `model.weights`.
        largest: Computes the largest strength to try.
        null_weights: The weights of the best model without the penalised ones, where known.
        gradient_norm: Norm of the gradient there.
    """

    weights: Arrays
    largest: Callable[[], float]
    null_weights: Arrays | None
    gradient_norm: float


def find_start(model: Any, penalty: Any, samples: Samples, direction: str) -> Start:
    """Where the path of a penalty begins.

    A path from sparse to dense starts from zero weights if it can, the other from the model as it
    is. The largest strength leaves nothing of a linear model; of another it is the largest that
    outweighs the gradient of one of its weights as they are. The model stays as it is.
    """
    linear = is_single_layer(model)
    present = [to_numpy(weight).copy() for weight in model.weights]
    if not linear and samples.size > NULL_SAMPLES:
        samples = samples.take(np.linspace(0, samples.size - 1, NULL_SAMPLES).astype(int))
    norms = DualNorms(model, penalty, samples)
    null_weights, norm = None, 0.0
    if linear or norms.other_parameters <= NULL_PARAMETERS:
        values, gradients = norms.null_model()
        pairs = zip(model.trainable_variables, values, strict=True)
        null = {id(variable): to_numpy(value) for variable, value in pairs}
        null_weights = [null.get(id(v), p) for v, p in zip(model.weights, present, strict=True)]
        norm = float(np.sqrt(sum(np.sum(np.square(to_numpy(g))) for g in gradients)))

    def factor(at_zero: bool = linear) -> float:
        return max((norms.of(gradients) if at_zero else norms.at_present()).values())

    begins_empty = direction == SPARSE_TO_DENSE and null_weights is not None
    if begins_empty and not linear and factor(at_zero=True) <= ROUNDING * factor():
        expected = "'dense_to_sparse', as this model has no gradient where all weights are zero"
        raise invalid_value("direction", expected, SPARSE_TO_DENSE)
    weights = (begins_empty and null_weights) or present
    return Start(weights, lambda: main_strength(penalty) * factor(), null_weights, norm)
