"""The constraint that only so many weights are not zero."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from keras import ops

from kerasreg._checks import (
    check_bool,
    check_choice,
    check_fraction,
    check_integer,
    check_positive,
    invalid_value,
)
from kerasreg._tensors import Tensor, cast_like, to_numpy
from kerasreg.regularizers.base import Penalty, register_penalty
from kerasreg.regularizers.selection import keep, largest
from kerasreg.regularizers.update import Update


@register_penalty
@dataclass(frozen=True)
class TopK(Penalty):
    """Keeps at most `(1 - sparsity) * n` weights, the largest, and sets the rest to zero.

    Magnitude pruning as a proximal step, for `Proximal`. The support, the set of weights that are
    not zero, is chosen after the first update and then every `frequency` updates, from all
    weights as this one update moves them; in between zeros stay zeros. A weight that is kept while
    it is zero is set to the smallest positive number, so that it can train. From `begin_step` to
    `end_step` the sparsity rises as
    `sparsity - (sparsity - initial_sparsity) * (1 - progress)^power`.

    Sources: Blumensath & Davies, Iterative Hard Thresholding, 2009; Zhu & Gupta, To Prune, or Not
    to Prune, 2017 (the schedule); LeCun, Denker & Solla, Optimal Brain Damage, 1989 (saliency).

    Args:
        sparsity: Fraction of the weights that are zero in the end.
        scope: `"weight"`: this fraction of each weight tensor. `"global"`: of all tensors with
            this penalty together, in which a tensor's magnitudes are divided by their root mean
            square, so that no layer goes for having small weights.
        saliency: What is largest: `"magnitude"` compares `|w|`, `"metric"` compares `w^2 / step`,
            with the optimizer's step; for Adam an estimate of what the loss gains by the weight.
            It needs no scaling for `scope="global"`.
        initial_sparsity: Sparsity at `begin_step`.
        begin_step: Number of updates before the first selection; until then nothing is done.
        end_step: Number of updates after which `sparsity` is reached; the last selection of the
            schedule falls on it. By default it holds from the start.
        power: Exponent of the schedule; 3 prunes fast at first, 1 evenly.
        frequency: Updates from one selection to the next.
        freeze: Whether the support stays as it is from `end_step` on. Without a schedule the
            selection goes on.

    At least one weight is kept of what is compared, unless `sparsity` is 1: of each tensor, or of
    all together with `scope="global"`, where a whole tensor may be dropped. A warning names it.

    Raises:
        ValueError: If an argument is invalid.

    Example:
    >>> penalty = kerasreg.TopK(0.9, end_step=2000)
    >>> optimizer = kerasreg.Proximal(keras.optimizers.Adam(1e-3), penalty)
    """

    is_constraint: ClassVar[bool] = True

    sparsity: float
    scope: str = "weight"
    saliency: str = "magnitude"
    initial_sparsity: float = 0.0
    begin_step: int = 0
    end_step: int = 0
    power: float = 3.0
    frequency: int = 100
    freeze: bool = True

    def __post_init__(self) -> None:
        """Validates the arguments."""
        for name in ("sparsity", "initial_sparsity"):
            object.__setattr__(self, name, check_fraction(name, getattr(self, name)))
        if self.initial_sparsity > self.sparsity:
            expected = f"at most the final sparsity, {self.sparsity}"
            raise invalid_value("initial_sparsity", expected, self.initial_sparsity)
        check_choice("scope", self.scope, ("weight", "global"))
        check_choice("saliency", self.saliency, ("magnitude", "metric"))
        for name, least in (("begin_step", 0), ("end_step", 0), ("frequency", 1)):
            expected = "a positive integer" if least else "a non-negative integer"
            value = check_integer(name, getattr(self, name), expected, least)
            object.__setattr__(self, name, value)
        if 0 < self.end_step <= self.begin_step:
            expected = f"0, or more than begin_step, {self.begin_step}"
            raise invalid_value("end_step", expected, self.end_step)
        if self.initial_sparsity and not self.end_step:
            expected = "0 without a schedule; give `end_step` for one"
            raise invalid_value("initial_sparsity", expected, self.initial_sparsity)
        object.__setattr__(self, "power", check_positive("power", self.power))
        check_bool("freeze", self.freeze)

    def check_weight(self, variable: Any) -> None:
        """Warns of a weight that is too small to keep that fraction of."""
        size = math.prod(variable.shape)
        if (
            self.scope == "weight"
            and size
            and self.sparsity < 1
            and not _share(size, self.sparsity)
        ):
            warnings.warn(
                f"`sparsity={self.sparsity}` of TopK would leave none of the {size} weights of "
                f"`{variable.path}`; one is kept.",
                stacklevel=2,
            )

    def after_training(self, variable: Any) -> None:
        """Warns of a weight of which nothing is left."""
        compared = self.scope == "global" and self.sparsity < 1 and 0 not in variable.shape
        if compared and not np.any(to_numpy(variable.value)):
            warnings.warn(
                f"TopK has dropped all of `{variable.path}`, whose weights are the smallest among "
                'those that `scope="global"` compares; with `scope="weight"` each keeps its share.',
                stacklevel=2,
            )

    def remember(self, w: Tensor) -> Tensor:
        """The support: the pattern of the weights that are not zero."""
        return ops.not_equal(w, 0)

    @property
    def needs_step(self) -> bool:
        """Whether the step size is part of the saliency."""
        return self.saliency == "metric"

    def trains(self, memory: Any, count: Tensor) -> Tensor | None:
        """The support, from the last choice of a schedule on; before, what grows may come back."""
        if not (self.freeze and self.end_step):
            return None
        return ops.logical_or(memory, count < self.end_step)

    def update(
        self, updates: Iterable[Update], count: Tensor, strength_scale: Tensor
    ) -> Iterable[Tensor]:
        """Chooses the support where it is time to, and sets all other weights to zero."""
        updates = list(updates)
        filled = [u for u in updates if 0 not in u.w.shape]
        chosen = iter(self._updated(filled, count) if filled else [])
        return [u.w if 0 in u.w.shape else next(chosen) for u in updates]

    def _updated(self, updates: Sequence[Update], count: Tensor) -> list[Tensor]:
        since = count - self.begin_step - 1
        early = since < 0  # Nothing is dropped yet, and zeros are no sign of it.
        due = ops.logical_or(ops.equal(since % self.frequency, 0), ops.equal(count, self.end_step))
        due = ops.logical_and(due, ops.logical_not(early))
        if self.freeze and self.end_step:
            due = ops.logical_and(due, count <= self.end_step)
        masks = ops.cond(
            due, lambda: self._choose(updates, count), lambda: [u.memory for u in updates]
        )
        return [
            ops.where(early, u.w, keep(mask, u.w)) for u, mask in zip(updates, masks, strict=True)
        ]

    def _choose(self, updates: Sequence[Update], count: Tensor) -> list[Tensor]:
        """The mask of the new support of each weight."""
        saliencies = [self._saliency(u) for u in updates]
        groups = [saliencies] if self.scope == "global" else [[each] for each in saliencies]
        return [mask for group in groups for mask in largest(group, self._kept(group, count))]

    def _saliency(self, update: Update) -> Tensor:
        size = ops.abs(ops.cast(update.w, "float32"))
        if self.saliency == "metric":
            return _in_metric(size, update.step())
        if self.scope == "global":
            return _relative(size)
        return size

    def _kept(self, group: Sequence[Tensor], count: Tensor) -> Tensor:
        """How many weights of a group are kept in the update number `count`, by the schedule."""
        size = sum(math.prod(x.shape) for x in group)
        first, last = (_kept(size, s) for s in (self.initial_sparsity, self.sparsity))
        if not self.end_step:
            return ops.full((), last, dtype="int32")
        duration = self.end_step - self.begin_step
        progress = ops.cast(count - self.begin_step, "float32") / duration
        rest = ops.power(1.0 - ops.clip(progress, 0.0, 1.0), self.power)
        # Counted from the last, so that the end of the schedule is met to the weight.
        return last + ops.cast(ops.round((first - last) * rest), "int32")

    def _value(self, w: Tensor) -> Tensor:
        """The indicator: 0 where the constraint holds, infinite where it does not."""
        non_zero = ops.sum(ops.cast(ops.not_equal(w, 0), "int32"))
        holds = non_zero <= _kept(math.prod(w.shape), self.sparsity)
        return ops.where(holds, 0.0, float("inf"))

    def _prox(self, w: Tensor, step: Tensor) -> Tensor:
        kept = ops.full((), _kept(math.prod(w.shape), self.sparsity), dtype="int32")
        [mask] = largest([_in_metric(ops.abs(ops.cast(w, "float32")), step)], kept)
        return ops.where(ops.logical_or(mask, step == 0), w, ops.zeros_like(w))

    def _residual(self, w: Tensor, grad: Tensor) -> Tensor:
        return ops.where(w == 0, ops.zeros_like(grad), grad)


def _share(size: int, sparsity: float) -> int:
    """`(1 - sparsity) * size` as an integer, where rounding must not cost a weight."""
    return math.floor(size * (1.0 - sparsity) + 1e-6)


def _kept(size: int, sparsity: float) -> int:
    """How many weights are kept: that share, but one at least unless all are to go."""
    return max(_share(size, sparsity), 1 if size and sparsity < 1 else 0)


def _relative(size: Tensor) -> Tensor:
    """Sizes by the root mean square of the finite ones; those themselves where all are zero."""
    if 0 in size.shape:
        return size
    is_finite = size < float("inf")
    largest = ops.max(ops.where(is_finite, size, 0.0))
    # Twice by the inverse of the root: that of the whole may be so small that XLA drops it.
    inverse = 1.0 / ops.sqrt(ops.where(largest > 0, largest, 1.0))
    scaled = size * inverse * inverse
    mean = ops.mean(ops.square(ops.where(is_finite, scaled, 0.0)))
    return scaled / ops.sqrt(ops.where(mean > 0, mean, 1.0))


def _in_metric(size: Tensor, step: Tensor) -> Tensor:
    """`|w| / sqrt(step)`, which has the order of `w^2 / step` and a wider range."""
    root = ops.sqrt(cast_like(ops.convert_to_tensor(step), size))
    # With a learning rate of 0 there is no metric to compare in.
    root = ops.where(ops.max(root) > 0, root, ops.ones_like(root))
    return ops.where(size == 0, size, size / root)
