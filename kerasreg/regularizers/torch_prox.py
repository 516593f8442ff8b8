"""Proximal operators for PyTorch on a CPU, where each operation is a pass over its operands.

As few of them as there can be, and in place on tensors of their own: memory that is new has to be
fetched from the system, which takes longer than to compute what is in it. And few comparisons of
numbers, which take six times as long as a sum.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

# Integers of the size of a number, by the bytes in it.
_INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}

Sums = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


def soft_threshold(w: torch.Tensor, threshold: torch.Tensor) -> torch.Tensor:
    """`prox.soft_threshold`."""
    z = torch.neg(threshold).expand_as(w).contiguous()
    return torch.sub(w, torch.clamp(w, z, threshold, out=z), out=z)


def firm_threshold(w: torch.Tensor, step: torch.Tensor, l1: float, gamma: float) -> torch.Tensor:
    """`prox.firm_threshold` for steps of at most half of `gamma`, where no line is steep."""
    scratch = step * l1
    z = soft_threshold(w, scratch)
    slope = torch.rsub(step, 1.0, alpha=1.0 / gamma)
    # Beyond the knee the line is above the weight.
    size = torch.abs(w, out=scratch)
    return torch.clamp(z.div_(slope), torch.neg(size, out=slope), size, out=z)


def clip_around(z: torch.Tensor, w: torch.Tensor, distance: torch.Tensor) -> torch.Tensor:
    """`z`, or what is nearest to it that is no farther from `w` than `distance`."""
    least = w - distance
    return torch.clamp(z, least, w + distance, out=least)


def equals_zero(x: torch.Tensor) -> torch.Tensor:
    """`x == 0`."""
    return x.to(torch.bool).logical_not_()


def is_within(x: torch.Tensor, bound: torch.Tensor) -> torch.Tensor:
    """`abs(x) <= bound`, for a scalar bound."""
    return torch.hardshrink(x, float(bound)).to(torch.bool).logical_not_()


def set_zero(x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """`x.masked_fill_(mask, 0)`."""
    integer = _INTEGERS[x.element_size()]
    x.view(integer).mul_(mask.logical_not().to(integer))
    return x


def any_true(mask: torch.Tensor) -> bool:
    """`mask.any()`."""
    return mask.numel() > 0 and bool(mask.view(torch.uint8).amax())


def all_true(mask: torch.Tensor, within: tuple[int, ...]) -> torch.Tensor:
    """`mask.all(within, keepdim=True)`, in a twentieth of its time along strided axes."""
    return mask.view(torch.uint8).amin(within, keepdim=True).view(torch.bool)


def secular_sums(w: torch.Tensor, threshold: torch.Tensor, within: tuple[int, ...]) -> Sums:
    """The sums of `secular_equation`, as a function of the norm."""
    inverse, terms = torch.empty_like(w), torch.empty_like(w)

    def sums(norm: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        torch.add(threshold, norm, out=inverse)
        if not norm.min() > 0:
            inverse.masked_fill_(inverse == 0, math.inf)
        torch.mul(w, inverse.reciprocal_(), out=terms).square_()
        f = _total(terms, within)
        return f, _total(terms.mul_(inverse), within)

    return sums


def shrunken_norm(
    w: torch.Tensor,
    threshold: torch.Tensor,
    within: tuple[int, ...],
    start: torch.Tensor,
    tolerance: float,
    rounding: float,
    iterations: int,
) -> torch.Tensor:
    """The iteration of `secular_equation.shrunken_norm`, from a norm near the root."""
    sums = secular_sums(w, threshold, within)
    norm, is_moving, count = start, True, 0
    while is_moving and count <= iterations:
        f, slope = sums(norm)
        excess = f.sqrt().sub_(1.0)
        step = f.mul_(excess).div_(slope.masked_fill_(slope == 0, 1.0))
        closer = step.add_(norm).clamp_(min=0.0)
        is_far = (closer - norm).abs_() > tolerance * norm
        is_moving = any_true(is_far.logical_and_(excess.abs_() > rounding))
        norm, count = closer, count + 1
        if count == 1 and any_true(norm < 0.5 * start):
            terms = (w.abs() - threshold).clamp_(min=0.0)
            norm = torch.maximum(norm, terms.amax(within, keepdim=True) if within else terms)
    return norm


def scale_groups(w: torch.Tensor, threshold: torch.Tensor, norm: torch.Tensor) -> torch.Tensor:
    """`w * norm / (norm + threshold)`, and `w` where the threshold is 0."""
    z = threshold + norm
    torch.div(norm, z, out=z).mul_(w)
    if norm.min() > 0:  # Else a threshold of 0 gives a factor of 1.
        return z
    return torch.where(threshold == 0, w, z, out=z)


def norms(w: torch.Tensor, within: tuple[int, ...]) -> torch.Tensor | None:
    """The norm of each group; `None` where squares leave the range of float32."""
    squares = _total(w.square(), within)
    least, largest = squares.aminmax()
    return squares.sqrt_() if least > 1e-30 and largest < 1e30 else None


def _total(terms: torch.Tensor, within: tuple[int, ...]) -> torch.Tensor:
    return terms.sum(within, keepdim=True) if within else terms.clone()
