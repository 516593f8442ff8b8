"""The constraint that zeros stay zeros."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from keras import ops

from kerasreg._tensors import Tensor
from kerasreg.regularizers.base import Penalty, Update, register_penalty
from kerasreg.regularizers.selection import keep


@register_penalty
@dataclass(frozen=True)
class KeepZeros(Penalty):
    """Keeps the weights that are zero at zero, and lets the rest train freely. For `Proximal`.

    After a selection by a penalty, training on with it removes the bias that the penalty put on
    the weights that remain: the relaxed lasso, or fine-tuning of a pruned network. One of these
    that happens to become zero is set to the smallest positive number, and goes on training.

    Source: Meinshausen, Relaxed Lasso, 2007.

    Example:
    >>> optimizer = kerasreg.Proximal(keras.optimizers.Adam(1e-4), kerasreg.KeepZeros())
    >>> model.compile(optimizer, "mse")
    """

    is_separable: ClassVar[bool] = True
    is_constraint: ClassVar[bool] = True

    def remember(self, w: Tensor) -> Tensor:
        """The pattern of the weights that are not zero."""
        return ops.not_equal(w, 0)

    def update(
        self, updates: Iterable[Update], count: Tensor, strength_scale: Tensor
    ) -> Iterable[Tensor]:
        """Sets the weights that were zero before the update to zero again."""
        return (keep(u.memory, u.w) for u in updates)

    def _value(self, w: Tensor) -> Tensor:
        return ops.zeros((), dtype=w.dtype)

    def _prox(self, w: Tensor, step: Tensor) -> Tensor:
        return w

    def _residual(self, w: Tensor, grad: Tensor) -> Tensor:
        return ops.where(w == 0, ops.zeros_like(grad), grad)
