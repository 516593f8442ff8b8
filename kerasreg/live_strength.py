"""Lets the strength of penalties in the loss change without compiling anything anew."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any

import keras

from kerasreg._keras_internals import all_layers, carry_state, forget_compiled_steps
from kerasreg.penalty_map import to_penalty
from kerasreg.regularizers import Penalty
from kerasreg.regularizers.live_scale import LiveScale

_OF_KERAS = (keras.regularizers.L1, keras.regularizers.L2, keras.regularizers.L1L2)


def live_scale(regularizer: Any) -> LiveScale | None:
    """What scales a weight's regularizer while a model trains, if anything does."""
    return regularizer.live_scale if isinstance(regularizer, Penalty) else None


def scale_penalties(model: Any, variables: Iterable[Any]) -> list[LiveScale]:
    """Gives the penalties of weights a factor each, which stays 1 until it is assigned to.

    The factor acts on the weight alone: its layer keeps the regularizer as it is, for its
    configuration and for other weights that share it. Steps that were compiled before are
    forgotten, but for those of models around this one.

    Args:
        model: A built model.
        variables: Those of its weights whose penalties are to be scaled.

    Returns:
        The factor of each.

    Raises:
        ValueError: If a regularizer cannot be scaled.
    """
    variables = list(variables)
    penalties = [_scalable(variable) for variable in variables]
    # Parents come first, so that the layer itself has the last word.
    owners = {id(v): layer for layer in all_layers(model) for v in layer.trainable_variables}
    scales = []
    strategy = getattr(model, "distribute_strategy", None)  # TensorFlow only
    with strategy.scope() if strategy is not None else contextlib.nullcontext():
        for variable, penalty in zip(variables, penalties, strict=True):
            scale = live_scale(variable.regularizer)
            if scale is None:
                scale = LiveScale()
                carry_state(owners[id(variable)], scale)
                variable.regularizer = penalty.scaled_by(scale)
            scales.append(scale)
    if any(model not in scale.models for scale in scales):
        for layer in all_layers(model):
            if isinstance(layer, keras.Model):
                forget_compiled_steps(layer)
    for scale in scales:
        scale.models.add(model)
    return scales


def _scalable(variable: Any) -> Penalty:
    regularizer = variable.regularizer
    # By the exact class of Keras, as one that is derived from it may have another value.
    if isinstance(regularizer, Penalty) or type(regularizer) in _OF_KERAS:
        return to_penalty("regularizer", regularizer)
    raise ValueError(
        f"Invalid regularizer on weight `{variable.path}`. Expected one whose strength can be "
        "scaled, a kerasreg penalty, or L1, L2 or L1L2 of keras.regularizers; leave the weight "
        f"out with `weights`. Received: regularizer={regularizer!r}"
    )
