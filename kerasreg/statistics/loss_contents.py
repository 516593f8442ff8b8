"""Asks whether the penalties of a model's weights are in the loss that it trains on."""

from __future__ import annotations

import functools
from typing import Any

import keras

from kerasreg.statistics.loss_split import SplitSteps

# Who overrides one of these decides what the loss contains.
_STEPS = (
    "train_step",
    "compute_loss",
    "compute_loss_and_updates",
    "stateless_compute_loss",
    "make_train_function",
)


@functools.singledispatch
def loss_has_penalties(model: Any) -> bool | None:
    """Whether what a model minimises contains its `losses`, and so its penalties on weights.

    Register a function for a class of your own that decides for itself:

        @loss_has_penalties.register
        def _(model: MyModel) -> bool:
            return True

    Args:
        model: A model; of a layer it is asked what the models around it do.

    Returns:
        The answer; `None` for a model whose steps are not Keras's own, of which it is not known.
    """
    is_known = not isinstance(model, keras.Model) or _has_the_steps_of(keras.Model, model)
    return True if is_known else None


@loss_has_penalties.register
def _(model: keras.distillation.Distiller) -> bool | None:
    # It adds up what it compares student and teacher by, and nothing else.
    return False if _has_the_steps_of(keras.distillation.Distiller, model) else None


def _has_the_steps_of(cls: type, model: Any) -> bool:
    """Whether neither a class that derives from `cls` nor the object overrides a step."""
    if any(getattr(type(model), step, None) is not getattr(cls, step, None) for step in _STEPS):
        return False
    own = {step for step in _STEPS if step in vars(model)}
    if SplitSteps.within(model) is not None:  # Ours adds up the same.
        own.discard("compute_loss")
    return not own
