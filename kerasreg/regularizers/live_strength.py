"""Lets the strength of penalties in the loss change without compiling anything anew."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any

import keras

from kerasreg._backends import strategy_scope
from kerasreg._keras_internals import all_layers, carry_states, forget_compiled_steps, own_variables
from kerasreg.regularizers.base import Penalty
from kerasreg.regularizers.from_keras import penalty_on
from kerasreg.regularizers.strength_scale import StrengthScale


def strength_scale_of(regularizer: Any) -> StrengthScale | None:
    """What scales a weight's regularizer while a model trains, if anything does."""
    return regularizer.strength_scale if isinstance(regularizer, Penalty) else None


def scale_penalties(model: Any, variables: Iterable[Any]) -> list[StrengthScale]:
    """Gives the penalties of weights a strength scale, which stays 1 until it is assigned to.

    One that they have is kept, unless it scales others as well: then the penalties chosen here
    get a new one, so that every choice has its own. It acts on the weight alone: the layer keeps
    the regularizer as it is, for its configuration and for other weights that share it. Compiled
    steps of the model, but not of models around it, are forgotten.

    Args:
        model: A built model.
        variables: Those of its weights whose penalties are to be scaled.

    Returns:
        Their strength scales, each once: a single one, where they have always been chosen together.

    Raises:
        ValueError: If a regularizer cannot be scaled.
    """
    variables = list(variables)
    ability, advice = "whose strength can be scaled", "leave the weight out with `weights`"
    penalties = [penalty_on(variable, ability, advice) for variable in variables]
    chosen = set(map(id, variables))
    new = [
        (variable, penalty)
        for variable, penalty in zip(variables, penalties, strict=True)
        if (scale := strength_scale_of(variable.regularizer)) is None
        or not chosen.issuperset(map(id, scale.weights))
    ]
    if new:
        scale = _new_scale(model, [variable for variable, _ in new])
        for variable, penalty in new:
            variable.regularizer = penalty.scaled_by(scale)
    _carry_scales(model)
    scales = _scales_of(variables)
    if any(model not in scale.models for scale in scales):
        for layer in all_layers(model):
            if isinstance(layer, keras.Model):
                forget_compiled_steps(layer)
    for scale in scales:
        scale.models.add(model)
    return scales


def _new_scale(model: Any, variables: list[Any]) -> StrengthScale:
    """A strength scale named after the first weight, as no other of the model is."""
    taken = {scale.state.path for scale in _scales_of(model.weights)}
    first = f"{variables[0].path}_strength_scale"
    path, number = first, 1
    while path in taken:
        number += 1
        path = f"{first}_{number}"
    parent, _, name = path.rpartition("/")
    above, _, layer = parent.rpartition("/")
    scope = keras.name_scope(layer, override_parent=above) if layer else contextlib.nullcontext()
    with strategy_scope(model), scope:
        return StrengthScale(variables, name)


def _carry_scales(model: Any) -> None:
    """Lets each layer carry the strength scales of its own weights, and no others."""
    layers = all_layers(model)
    needed = {id(layer): _scales_of(own_variables(layer)) for layer in layers}
    for layer in layers:
        # Keras takes the states of a layer below it in, without looking for its own among them.
        below = {id(scale) for each in all_layers(layer)[1:] for scale in needed[id(each)]}
        own = [scale for scale in needed[id(layer)] if id(scale) not in below]
        carry_states(layer, StrengthScale, own)


def _scales_of(variables: Iterable[Any]) -> list[StrengthScale]:
    """The strength scales of weights, each once."""
    scales = (strength_scale_of(variable.regularizer) for variable in variables)
    return list({id(scale): scale for scale in scales if scale is not None}.values())
