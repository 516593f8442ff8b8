"""The base class of penalties that act entry by entry."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from keras import ops

from kerasreg._tensors import Tensor, accurate_sum, cast_like
from kerasreg.regularizers.base import Penalty
from kerasreg.regularizers.prox import is_within, soft_threshold


@dataclass(frozen=True, repr=False)
class Separable(Penalty):
    """A sum over the entries of a weight, `sum_i p(|w_i|)` with `p(0) = 0` and `p` not decreasing.

    A subclass says what `p` is: its values, `_terms`; its derivative, `_slope`, and what that is at
    zero, `_kink`; and its proximal operator, `_prox`. A field `positive` adds the constraint
    `w >= 0`: then its `_prox` is that of `allowed(w)`.

    Source: Fan & Li, Variable Selection via Nonconcave Penalized Likelihood, 2001.
    """

    is_separable: ClassVar[bool] = True
    positive = False

    @property
    def _kink(self) -> float:
        """The derivative of `p` at zero, from the right: the largest gradient that zero bears."""
        raise NotImplementedError(f"{type(self).__name__} does not implement `_kink`.")

    def _slope(self, size: Tensor) -> Tensor:
        """The derivative of `p` at magnitudes, where they are not zero."""
        raise NotImplementedError(f"{type(self).__name__} does not implement `_slope`.")

    def allowed(self, w: Tensor) -> Tensor:
        """The nearest weight that is not negative, with `positive`; else the weight itself."""
        return ops.maximum(w, 0.0) if self.positive else w

    def _value(self, w: Tensor) -> Tensor:
        # In two stages: the sum of many equal terms would drift.
        return ops.sum(accurate_sum(ops.reshape(self._terms(w), (-1,)), 0))

    def _residual(self, w: Tensor, grad: Tensor) -> Tensor:
        # At zero the subdifferential is the interval [-kink, kink], or [-inf, kink] with w >= 0.
        resting = soft_threshold(grad, self._kink)
        if self.positive:
            resting = ops.minimum(resting, 0.0)
        return ops.where(w == 0, resting, grad + ops.sign(w) * self._slope(ops.abs(w)))

    def resting(
        self,
        zeros: Sequence[Tensor],
        grads: Sequence[Tensor],
        strength_scale: Tensor,
        paths: Sequence[str] = (),
    ) -> Iterator[Tensor]:
        """Where zeros are optimal, by the kink alone."""
        for zero, grad in zip(zeros, grads, strict=True):
            kink = cast_like(strength_scale * self._kink, grad)
            small = -grad <= kink if self.positive else is_within(grad, kink)
            yield ops.logical_and(zero, small)

    def _dual_norm(self, grad: Tensor) -> Tensor:
        largest = ops.max(ops.maximum(-grad, 0.0) if self.positive else ops.abs(grad))
        return ops.where(largest > 0, largest / self._kink, 0.0)
