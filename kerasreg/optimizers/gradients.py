"""The gradients of an update, as an optimizer comes to them from those it is given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras import ops

from kerasreg._backends import dense, replica_count, summed_over_replicas
from kerasreg._keras_internals import optimizer_slot
from kerasreg._tensors import Tensor, cast_like, to_accumulator


def update_gradients(
    optimizer: Any, variables: Sequence[Any], grads: Sequence[Any]
) -> list[Tensor]:
    """The gradients that an update is made of: unscaled, accumulated, summed over replicas, dense.

    They are not clipped yet. Where the optimizer only accumulates, they are of no use.

    Args:
        optimizer: The optimizer, before its `apply`.
        variables: Some of its weights.
        grads: What `apply` is given for them.
    """
    found = []
    for variable, grad in zip(variables, grads, strict=True):
        gradient = to_accumulator(dense(grad))
        if optimizer.loss_scale_factor is not None:
            gradient = gradient / optimizer.loss_scale_factor
        if optimizer.gradient_accumulation_steps:
            earlier = optimizer_slot(optimizer, "_accumulated_gradients", variable)
            gradient = gradient + cast_like(earlier.value, gradient)
            gradient = gradient / optimizer.gradient_accumulation_steps
        found.append(gradient)
    return summed_over_replicas(found)


def given_for(
    optimizer: Any, variable: Any, gradient: Tensor, grad: Any, happens: Tensor | None
) -> Tensor:
    """What to give to `apply` for an update with that gradient.

    Args:
        optimizer: The optimizer, before its `apply`.
        variable: One of its weights.
        gradient: The gradient, as `update_gradients` returns it.
        grad: What is given where there is no update.
        happens: Whether there is an update; `None` if there is for sure.
    """
    own = dense(grad)
    gradient = gradient / replica_count()
    if optimizer.gradient_accumulation_steps:
        earlier = optimizer_slot(optimizer, "_accumulated_gradients", variable)
        gradient = gradient * optimizer.gradient_accumulation_steps
        gradient = gradient - cast_like(earlier.value, gradient)
    if optimizer.loss_scale_factor is not None:
        gradient = gradient * optimizer.loss_scale_factor
    gradient = cast_like(gradient, own)
    return gradient if happens is None else ops.where(happens, gradient, own)
