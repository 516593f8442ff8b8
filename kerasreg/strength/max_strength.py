"""The strength at which a penalty leaves no weight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from kerasreg._checks import check_built, invalid_value
from kerasreg._tensors import Tensor, to_float
from kerasreg.optimizers.targets import Targets, check_penalty
from kerasreg.regularizers import Penalty
from kerasreg.statistics.loss_gradient import LossGradient
from kerasreg.statistics.names import unique_names
from kerasreg.strength.null_model import fit_null_model, is_single_layer
from kerasreg.strength.samples import Samples


class CurrentStrengths(dict[str, float]):
    """What `max_strength` returns for a deep model: by weight, at its present values.

    Each is the smallest strength that outweighs the present gradient of that weight. It is not
    the smallest at which the trained model is zero: there is none, as zero is a stationary point
    of a deep model at every strength.
    """

    def __repr__(self) -> str:
        return f"{type(self).__name__}({super().__repr__()})"


def max_strength(
    model: Any,
    x: Any,
    y: Any,
    penalty: Penalty | Mapping[str, Penalty],
    sample_weight: Any = None,
) -> float | CurrentStrengths:
    """The smallest strength at which all penalised weights of a linear model are zero.

    `max_j |dloss/dw_j| / l1` times the strength of the penalty, with the weights at zero and the
    biases at their best; `2 max |x_c^T y_c| / n` for the mean squared error and the lasso. It is
    where a path of strengths begins, `alpha_max` of scikit-learn and the first `lambda` of glmnet.

    Source: Friedman, Hastie & Tibshirani, Regularization Paths for Generalized Linear Models via
    Coordinate Descent, 2010.

    Args:
        model: A built and compiled model; it stays as it is. If all its trainable weights are
            those of one layer, which is linear up to its activation, the strength is that of the
            trained model, for every loss that is convex and has a gradient. (At the kinks of
            others, as the hinge loss, Keras takes one subgradient, not that of the smallest norm.)
        x: Array of inputs of shape `(samples, ...)`, or a structure of arrays.
        y: Array of targets of shape `(samples, ...)`, or a structure of arrays.
        penalty: A `Penalty` for all kernels, or a dict from patterns on `variable.path` to
            penalties, as for `Proximal`. Its strength is its first hyper-parameter: `l1`, or
            `alpha` of `ElasticNet`. Of several, the result is that of the first, and the others
            are in proportion to it.
        sample_weight: Array of weights of the samples, of shape `(samples,)`.

    Returns:
        A number; for a deep model a dict from the paths of the penalised weights to the same
        number at the present weights: the smallest strength that outweighs its gradient.

    Raises:
        ValueError: If the model is not compiled, the arrays do not fit each other, or the penalty
            has no strength that gives zeros.

    Example:
    >>> linear = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    >>> linear.compile("sgd", "mse")
    >>> one, two = np.array([[-1.0], [1.0]]), np.array([3.0, 5.0])
    >>> round(kerasreg.max_strength(linear, one, two, kerasreg.L1()), 5)
    2.0
    """
    check_compiled(model)
    samples = Samples.of(x, y, sample_weight)
    strength = main_strength(penalty)
    norms = DualNorms(model, penalty, samples)
    if not is_single_layer(model):
        return CurrentStrengths({k: strength * v for k, v in norms.at_present().items()})
    _, gradients = norms.null_model()
    return strength * max(norms.of(gradients).values())


class DualNorms:
    """How many times as strong each penalty has to be to outweigh the gradient of its weight."""

    def __init__(self, model: Any, penalty: Any, samples: Samples) -> None:
        self._gradient = LossGradient(model, keep_penalties_on=model.trainable_variables)
        self._samples = samples
        targets = Targets(check_penalty(penalty, model), model.trainable_variables)
        penalties = {id(target.variable): target.penalty for target in targets.all}
        self._penalties = [penalties.get(id(v)) for v in self._gradient.variables]

    @property
    def other_parameters(self) -> int:
        """Number of trainable parameters without a penalty."""
        return sum(int(np.count_nonzero(mask)) for mask in self._free())

    def null_model(self) -> tuple[list[Tensor], list[Tensor]]:
        """The trainable variables of the model without its penalised weights; the gradient."""
        return fit_null_model(self._gradient, self._free(), self._samples)

    def _free(self) -> list[npt.NDArray[np.bool_]]:
        """Which entries of each variable are not penalised."""
        masks = []
        for variable, penalty in zip(self._gradient.variables, self._penalties, strict=True):
            shape = tuple(variable.shape)
            mask = None if penalty is None else penalty.unpenalised(shape)
            masks.append(np.full(shape, penalty is None) if mask is None else mask)
        return masks

    def at_present(self) -> dict[str, float]:
        """By the path of the weight, at the values that the weights have."""
        return self.of(self._gradient(*self._samples.data))

    def of(self, gradients: Sequence[Tensor]) -> dict[str, float]:
        """By the path of the weight, for a gradient of each of the model's trainable variables."""
        weights = list(zip(self._gradient.variables, self._penalties, gradients, strict=True))
        norms: dict[int, float] = {}
        for penalty in {p: None for p in self._penalties if p is not None}:
            numbers = [i for i, (_, p, _) in enumerate(weights) if p == penalty]
            paths, grads = [weights[i][0].path for i in numbers], [weights[i][2] for i in numbers]
            found = map(to_float, penalty.dual_norms(grads, paths))
            norms |= dict(zip(numbers, found, strict=True))
        names = unique_names(weights[i][0].path for i in sorted(norms))
        return dict(zip(names, (norms[i] for i in sorted(norms)), strict=True))


def main_strength(penalty: Any) -> float:
    """The strength of a penalty, or of the first of several; raises if it cannot be scaled."""
    checked = check_penalty(penalty)
    penalties = list(checked.values()) if isinstance(checked, dict) else [checked]
    strengths = [_positive_strength(each) for each in penalties]
    for each in penalties:
        if not each.has_kink:
            raise invalid_value("penalty", "penalties with a kink at zero, which give zeros", each)
        if not each.implements("_dual_norm", "dual_norm"):
            name = type(each).__name__
            expected = f"penalties with a dual norm; give {name} a method `_dual_norm(grad)`"
            raise invalid_value("penalty", expected, each)
    return strengths[0]


def _positive_strength(penalty: Penalty) -> float:
    strength = penalty.main_strength
    if penalty.is_constraint or strength is None:
        expected = "penalties that have a strength, as their first hyper-parameter"
        raise invalid_value("penalty", expected, penalty)
    if strength <= 0:
        raise invalid_value("penalty", "penalties of a positive strength", penalty)
    return strength


def check_compiled(model: Any) -> None:
    """Raises unless the model has its weights and a loss."""
    check_built(model)
    if not getattr(model, "compiled", False) or getattr(model, "loss", None) is None:
        expected = "a model that is compiled with a loss; call `model.compile(...)` first"
        raise invalid_value("model", expected, model)
