"""The strengths of a path."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kerasreg._checks import check_positive, invalid_value, is_number
from kerasreg._tensors import to_numpy
from kerasreg.strength.max_strength import DualNorms, main_strength
from kerasreg.strength.null_model import is_single_layer
from kerasreg.strength.samples import Samples

SPARSE_TO_DENSE = "sparse_to_dense"
DENSE_TO_SPARSE = "dense_to_sparse"

# So that the first strength leaves nothing, in spite of rounding.
_MARGIN = 1.0 + 1e-6


def strength_grid(
    largest: float, n_strengths: int, min_ratio: float, direction: str
) -> list[float]:
    """Strengths at equal ratios, in the order in which they are trained.

    Args:
        largest: The largest strength.
        n_strengths: Number of strengths.
        min_ratio: The smallest, as a fraction of the largest.
        direction: Which end to begin with.
    """
    if not np.isfinite(largest) or largest <= 0:
        expected = (
            f"strengths, as the gradient of the loss where all weights are zero is {largest:g} and "
            "gives no largest one: are the targets constant, or is the model not convex?"
        )
        raise invalid_value("strengths", expected, None)
    grid = np.geomspace(largest * _MARGIN, largest * min_ratio, n_strengths)
    return in_order(grid.tolist(), direction)


def check_strengths(strengths: Any) -> list[float]:
    """Returns strengths as floats, or raises unless they are positive and sorted, none twice."""
    if isinstance(strengths, str) or not isinstance(strengths, (Sequence, np.ndarray)):
        raise invalid_value("strengths", "a sequence of numbers, or None", strengths)
    values = list(strengths)
    if not values or not all(is_number(value) and 0 < value < np.inf for value in values):
        raise invalid_value("strengths", "finite, positive numbers", strengths)
    steps = np.sign(np.diff(np.asarray(values, "float64")))
    if not (np.all(steps > 0) or np.all(steps < 0)):
        raise invalid_value("strengths", "sorted numbers, none of them twice", strengths)
    return [float(value) for value in values]


def check_min_ratio(min_ratio: Any) -> float:
    """Returns the ratio of the smallest to the largest strength, or raises."""
    ratio = check_positive("min_ratio", min_ratio)
    if ratio >= 1:
        raise invalid_value("min_ratio", "a number between 0 and 1", min_ratio)
    return ratio


def in_order(strengths: Sequence[float], direction: str) -> list[float]:
    """The strengths in the order in which they are trained."""
    return sorted(strengths, reverse=direction == SPARSE_TO_DENSE)


# A model that explains less of the loss than this part of what the best one does has collapsed.
COLLAPSED = 0.1


def is_over(rows: Sequence[Mapping[str, Any]], direction: str, null_loss: float) -> bool:
    """Whether there is nothing to be expected of a further strength.

    Args:
        rows: What is known of the strengths so far.
        direction: Which end the path began with.
        null_loss: The loss of the best model without its penalised weights; infinite where it is
            not known.
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


Values = list[npt.NDArray[Any]]

# The model without its penalised weights is known well enough from so many samples, and need not
# be known where the other weights are no biases.
NULL_SAMPLES = 2048
NULL_PARAMETERS = 100_000

# Of a gradient in float32.
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

    weights: Values
    largest: Callable[[], float]
    null_weights: Values | None
    gradient_norm: float


def find_start(model: Any, penalty: Any, samples: Samples, direction: str) -> Start:
    """Where the path of a penalty begins.

    A linear model's path starts from zero weights, one from dense to sparse from the model as it
    is. The strengths go down from that which leaves nothing of a linear model; for another model
    from the largest that outweighs the gradient of one of its weights as they are.

    Args:
        model: A built and compiled model; it stays as it is.
        penalty: A penalty, or a dict of penalties, as for `Proximal`.
        samples: The samples to train on.
        direction: Which end of the path it begins with.
    """
    linear = is_single_layer(model)
    present = [to_numpy(weight).copy() for weight in model.weights]
    if not linear and samples.size > NULL_SAMPLES:
        samples = samples.take(np.linspace(0, samples.size - 1, NULL_SAMPLES).astype(int))
    norms = DualNorms(model, penalty, samples)
    null_weights, norm = None, 0.0
    if linear or norms.other_parameters <= NULL_PARAMETERS:
        null = norms.null_model()
        values = {
            id(v): to_numpy(value) for v, value in zip(norms.variables, null.values, strict=True)
        }
        null_weights = [values.get(id(v), p) for v, p in zip(model.weights, present, strict=True)]
        norm = float(np.sqrt(sum(np.sum(np.square(to_numpy(g))) for g in null.gradients)))

    def largest() -> float:
        factors = norms.of(null.gradients) if linear else norms.at_present()
        return main_strength(penalty) * max(factors.values())

    begins_empty = direction == SPARSE_TO_DENSE and null_weights is not None
    if begins_empty and not linear:
        _check_gradient(norms.of(null.gradients), norms.at_present())
    return Start((begins_empty and null_weights) or present, largest, null_weights, norm)


def _check_gradient(at_zero: dict[str, float], at_present: dict[str, float]) -> None:
    """Raises where no weight would ever leave zero."""
    if max(at_zero.values()) <= ROUNDING * max(at_present.values()):
        expected = "'dense_to_sparse', as this model has no gradient where all weights are zero"
        raise invalid_value("direction", expected, SPARSE_TO_DENSE)
