"""The constraint that zeros stay zeros."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from keras import ops

from kerasreg._checks import check_choice
from kerasreg._tensors import Tensor, to_numpy
from kerasreg.regularizers.base import Penalty, register_penalty
from kerasreg.regularizers.selection import keep
from kerasreg.regularizers.update import Update


@register_penalty
@dataclass(frozen=True)
class KeepZeros(Penalty):
    """Keeps the weights that are zero at zero, and lets the rest train freely. For `Proximal`.

    After a selection by a penalty, training on with it removes the bias that the penalty put on
    the weights that remain: the relaxed lasso, or fine-tuning of a pruned network. One of these
    that happens to become zero is set to the smallest positive number, and goes on training.

    Source: Meinshausen, Relaxed Lasso, 2007.

    Args:
        all_zero: What to do with a weight all of whose entries are zero when the optimizer is
            built. `"free"`: leave it alone, with a warning, as it most likely only starts at zero,
            like the second factor of LoRA; `"keep"`: keep it at zero. The saved optimizer remembers
            which weights were left free.

    Raises:
        ValueError: If an argument is invalid.

    Example:
    >>> optimizer = kerasreg.Proximal(keras.optimizers.Adam(1e-4), kerasreg.KeepZeros())
    >>> model.compile(optimizer, "mse")
    """

    formula: ClassVar[str] = "w = 0 where it is now"
    is_separable: ClassVar[bool] = True
    is_constraint: ClassVar[bool] = True
    moves_resting: ClassVar[bool] = False

    all_zero: Literal["free", "keep"] = "free"

    def __post_init__(self) -> None:
        """Validates the arguments."""
        check_choice("all_zero", self.all_zero, Literal["free", "keep"])

    def frees(self, variable: Any) -> str | None:
        """Why nothing of the weight is kept at zero, if all of it is zero now."""
        if self.all_zero == "keep" or 0 in variable.shape:
            return None
        if bool(to_numpy(ops.any(ops.not_equal(variable.value, 0)))):
            return None
        return (
            f"All entries of `{variable.path}` are zero, so that KeepZeros leaves it free; "
            '`KeepZeros(all_zero="keep")` would keep it at zero.'
        )

    def remember(self, w: Tensor) -> Tensor:
        """The pattern of the weights that are not zero."""
        return ops.not_equal(w, 0)

    def trains(self, memory: Any, count: Tensor) -> Tensor:
        """Those that are not zero."""
        return memory

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
