"""The penalty on rows or columns that are not orthogonal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import keras
from keras import ops

from kerasreg._checks import check_choice, invalid_value
from kerasreg._tensors import Tensor, magnitude
from kerasreg.regularizers.base import Penalty, register_penalty


@register_penalty
@dataclass(frozen=True)
class OrthogonalRegularizer(Penalty):
    """The mean cosine between rows, or columns, of a matrix: `factor * mean_{i<j} |cos(w_i, w_j)|`.

    As `keras.regularizers.OrthogonalRegularizer`, summed in float32 at least. It makes no zeros
    and has no proximal operator; give it to a layer.

    Source: Brock, Lim, Ritchie & Weston, Neural Photo Editing with Introspective Adversarial
    Networks, 2017.

    Args:
        factor: Non-negative strength.
        mode: `"rows"` or `"columns"`: which of them are to be orthogonal to each other.

    Raises:
        ValueError: If an argument is invalid, or later if a weight is no matrix.

    Example:
    >>> penalty = kerasreg.OrthogonalRegularizer(0.01, mode="columns")
    >>> layer = keras.layers.Dense(4, kernel_regularizer=penalty)
    """

    formula: ClassVar[str] = "factor mean_{i<j} |cos(w_i, w_j)|"

    has_kink = False

    factor: float = 0.01
    mode: Literal["rows", "columns"] = "rows"

    def __post_init__(self) -> None:
        """Validates the arguments."""
        self._check_strengths("factor")
        check_choice("mode", self.mode, Literal["rows", "columns"])

    def check_weight(self, variable: Any) -> None:
        """Raises if the weight is no matrix."""
        if len(variable.shape) != 2:
            where = f" of OrthogonalRegularizer on weight `{variable.path}`"
            raise invalid_value("shape", "a matrix", tuple(variable.shape), where)

    def _value(self, w: Tensor) -> Tensor:
        unit, _ = self._normalised(w)
        return self._share(unit) * ops.sum(magnitude(_without_diagonal(_gram(unit))))

    def _residual(self, w: Tensor, grad: Tensor) -> Tensor:
        unit, norms = self._normalised(w)
        pull = 2.0 * self._share(unit) * ops.matmul(ops.sign(_without_diagonal(_gram(unit))), unit)
        along = ops.sum(pull * unit, axis=1, keepdims=True)
        slope = (pull - along * unit) / norms
        return grad + (slope if self.mode == "rows" else ops.transpose(slope))

    def _normalised(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """The rows or columns as rows of length one, and their lengths."""
        if len(w.shape) != 2:
            raise invalid_value("w", "a matrix", tuple(w.shape))
        rows = w if self.mode == "rows" else ops.transpose(w)
        squares = ops.sum(ops.square(rows), axis=1, keepdims=True)
        norms = ops.sqrt(ops.maximum(squares, keras.config.epsilon() ** 2))
        return rows / norms, norms

    def _share(self, unit: Tensor) -> float:
        """What each of the entries beside the diagonal counts."""
        size = unit.shape[0]
        return self.factor / (size * (size - 1)) if size > 1 else 0.0


def _gram(unit: Tensor) -> Tensor:
    return ops.matmul(unit, ops.transpose(unit))


def _without_diagonal(x: Tensor) -> Tensor:
    return x * (1.0 - ops.eye(x.shape[0], dtype=x.dtype))
