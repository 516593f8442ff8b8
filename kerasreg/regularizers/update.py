"""What a penalty gets to see of a weight that an optimizer has just updated."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from keras import ops

from kerasreg._backends import runs_in_place
from kerasreg._tensors import Tensor, cast_like, to_accumulator


@dataclasses.dataclass(frozen=True)
class Hold:
    """What decides whether the zeros of a weight stay.

    Args:
        zero: Which entries were zero before the update.
        gradient: The gradient of the update; `None` where `mean` has it already.
        mean: The averaged gradient so far, of the same shape.
        rate: The share of `gradient` in the new average, a scalar.
    """

    zero: Tensor
    gradient: Tensor | None
    mean: Tensor
    rate: Tensor

    def new_mean(self) -> Tensor:
        """The averaged gradient, this update included; on PyTorch `mean` itself becomes it."""
        mean = to_accumulator(self.mean)
        if self.gradient is None:
            return mean
        if mean is self.mean and runs_in_place(mean, self.gradient, self.rate):
            return mean.lerp_(cast_like(self.gradient, mean), float(self.rate))
        rate = cast_like(self.rate, mean)
        return mean + rate * (cast_like(self.gradient, mean) - mean)


@dataclasses.dataclass(frozen=True)
class Update:
    """A weight that an optimizer has just updated, and that a penalty is about to act on.

    Args:
        w: The weight after the optimizer's update.
        memory: What `Penalty.remember` returned for it before the update.
        moments: What its step size is computed from: scalars, or tensors of the shape of `w`.
        step_size: Computes the step size times a scalar, from that scalar and `moments`.
        reach: How far the optimizer could have moved the weight, a scalar; `None` for no bound.
        acts: Whether the penalty acts in this update, a scalar; `None` if it does for sure.
        hold: What decides whether zeros stay; `None` where they may leave at any time.
        path: The path of the weight, for a penalty that knows weights by it.
        saliency: How much each entry matters, where that is known from more than the weight;
            for a penalty that `observe`s, the average of it.
    """

    w: Tensor
    memory: Any
    moments: Sequence[Tensor]
    step_size: Callable[[Tensor, Sequence[Tensor]], Tensor]
    reach: Tensor | None = None
    acts: Tensor | None = None
    hold: Hold | None = None
    path: str = ""
    saliency: Tensor | None = None

    def step(self, scale: Tensor = 1.0) -> Tensor:
        """How far the optimizer moves the weight for a gradient of one, times a scalar.

        A scalar, or a tensor of the shape of `w`.
        """
        return self.step_size(scale, self.moments)

    def within_reach(self, z: Tensor) -> Tensor:
        """`z`, or what is nearest to it that is no farther from `w` than `reach`.

        At a fixed point a penalty undoes what the optimizer has done, which is within its reach: so
        fixed points stay as they are.
        """
        if self.reach is None:
            return z
        w = to_accumulator(self.w)
        reach = cast_like(self.reach, w)
        if runs_in_place(w, z, reach):
            from kerasreg.regularizers.torch_prox import clip_around

            return cast_like(clip_around(cast_like(z, w), w, reach), z)
        return cast_like(ops.clip(cast_like(z, w), w - reach, w + reach), z)
