"""Lets the strength of penalties in the loss change without compiling anything anew."""

from __future__ import annotations

import contextlib
import itertools
import weakref
from collections.abc import Iterable
from typing import Any

import keras

from kerasreg._backends import strategy_scope
from kerasreg._keras_internals import all_layers, carry_states, forget_compiled_steps, own_variables
from kerasreg._tensors import Tensor, cast_like
from kerasreg.regularizers.base import Penalty
from kerasreg.regularizers.penalty_map import to_penalty


class LiveScale:
    """A factor on the values of penalties on weights, which compiled steps read anew each time.

    It is no weight: nothing saves or loads it.

    Args:
        weights: Those that get it; at least one.
        name: Name of its variable.

    Attributes:
        value: The factor now. Read this one in a callback: on JAX the variable's is lent to the
            step.
        state: The variable that the steps read.
        models: Those whose steps have been compiled since the weights have it.
    """

    def __init__(self, weights: Iterable[Any], name: str) -> None:
        self.value = 1.0
        # float32 and not cast, whatever the policy: float16 has no 1e-8.
        self.state = keras.Variable(
            1.0, dtype="float32", trainable=False, autocast=False, name=name
        )
        self.models: weakref.WeakSet[Any] = weakref.WeakSet()
        self._given = [weakref.ref(weight) for weight in weights]

    @property
    def weights(self) -> list[Any]:
        """Those that have it still."""
        given = (weight() for weight in self._given)
        regularized = ((weight, getattr(weight, "regularizer", None)) for weight in given)
        return [
            w for w, regularizer in regularized if getattr(regularizer, "live_scale", 0) is self
        ]

    def assign(self, value: float) -> None:
        """Changes the factor from the next step on."""
        self.value = value
        self.state.assign(value)

    def factor_like(self, x: Tensor) -> Tensor:
        """The factor as a tensor of the dtype of `x`."""
        return cast_like(self.state.value, x)


_OF_KERAS = (keras.regularizers.L1, keras.regularizers.L2, keras.regularizers.L1L2)


def live_scale(regularizer: Any) -> LiveScale | None:
    """What scales a weight's regularizer while a model trains, if anything does."""
    scale = regularizer.live_scale if isinstance(regularizer, Penalty) else None
    return scale if isinstance(scale, LiveScale) else None


def scale_penalties(model: Any, variables: Iterable[Any]) -> list[LiveScale]:
    """Gives the penalties of weights a factor, which stays 1 until it is assigned to.

    One they have is kept, unless it scales others as well: then those that are chosen here part
    with it, so that every choice has its own. The factor acts on the weight alone: its layer keeps
    the regularizer as it is, for its configuration and for other weights that share it. Steps that
    were compiled before are forgotten, but for those of models around this one.

    Args:
        model: A built model.
        variables: Those of its weights whose penalties are to be scaled.

    Returns:
        Their factors, each once: one, where they have always been chosen together.

    Raises:
        ValueError: If a regularizer cannot be scaled.
    """
    variables = list(variables)
    penalties = [_scalable(variable) for variable in variables]
    chosen = set(map(id, variables))
    new = [
        (variable, penalty)
        for variable, penalty in zip(variables, penalties, strict=True)
        if (scale := live_scale(variable.regularizer)) is None
        or not chosen.issuperset(map(id, scale.weights))
    ]
    if new:
        scale = _new_scale(model, [variable for variable, _ in new])
        for variable, penalty in new:
            variable.regularizer = penalty.scaled_by(scale)
    _carry_scales(model)
    found = (live_scale(variable.regularizer) for variable in variables)
    scales = list({id(scale): scale for scale in found if scale is not None}.values())
    if any(model not in scale.models for scale in scales):
        for layer in all_layers(model):
            if isinstance(layer, keras.Model):
                forget_compiled_steps(layer)
    for scale in scales:
        scale.models.add(model)
    return scales


def _new_scale(model: Any, variables: list[Any]) -> LiveScale:
    """A factor named after the first weight, as no other of the model is."""
    scales = (live_scale(variable.regularizer) for variable in model.weights)
    taken = {scale.state.path for scale in scales if scale is not None}
    first = f"{variables[0].path}_strength_scale"
    paths = itertools.chain([first], (f"{first}_{i}" for i in itertools.count(2)))
    parent, _, name = next(path for path in paths if path not in taken).rpartition("/")
    above, _, layer = parent.rpartition("/")
    with contextlib.ExitStack() as scopes:
        scopes.enter_context(strategy_scope(model))
        if layer:
            scopes.enter_context(keras.name_scope(layer, override_parent=above))
        return LiveScale(variables, name)


def _carry_scales(model: Any) -> None:
    """Lets each layer carry the factors of its weights, and no others."""
    layers = all_layers(model)
    needed = {id(layer): _scales_of(layer) for layer in layers}
    for layer in layers:
        # Keras takes the states of a layer below it in, without looking for its own among them.
        below = {id(scale) for each in all_layers(layer)[1:] for scale in needed[id(each)]}
        own = [scale for scale in needed[id(layer)] if id(scale) not in below]
        carry_states(layer, LiveScale, own)


def _scales_of(layer: Any) -> list[LiveScale]:
    scales = (live_scale(variable.regularizer) for variable in own_variables(layer))
    return list({id(scale): scale for scale in scales if scale is not None}.values())


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
