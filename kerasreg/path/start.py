"""Where a path begins: its first weights, and the strengths to go through."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kerasreg._checks import invalid_value
from kerasreg._tensors import to_numpy
from kerasreg.max_strength import DualNorms, main_strength
from kerasreg.null_model import is_single_layer
from kerasreg.path.grid import SPARSE_TO_DENSE
from kerasreg.samples import Samples

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
