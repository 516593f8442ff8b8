"""Dropout in inference, layer by layer, and for no longer than a context lasts."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeAlias

from keras import ops

from kerasreg._checks import invalid_value
from kerasreg._keras_internals import all_layers, seed_states
from kerasreg._tensors import Tensor
from kerasreg.layers.drop_connect import DropConnect
from kerasreg.layers.dropout_rates import dropout_rates
from kerasreg.layers.replaced import Attributes

Call: TypeAlias = Callable[..., Any]


def find_switches(model: Any, frozen_masks: bool) -> Attributes:
    """The layers of a model that drop something, at their present rates.

    Args:
        model: A built Keras model.
        frozen_masks: Whether all samples of a batch, and all batches, are to have the same mask.

    Returns:
        What `replaced` takes: attributes with which each drops whatever `training` it gets.

    Raises:
        ValueError: If there are no such layers, or one cannot freeze its masks.
    """
    found = [layer for layer in all_layers(model) if any(dropout_rates(layer).values())]
    if not found:
        raise invalid_value("model", "a model with a dropout whose rate is not 0", model)
    calls = [_training_call(layer) for layer in found]
    if not frozen_masks:
        return [(layer, {"call": call}) for layer, call in zip(found, calls, strict=True)]
    return [(layer, frozen(layer, call)) for layer, call in zip(found, calls, strict=True)]


def _training_call(layer: Any) -> Call:
    call = layer.call
    # A subclass that always drops may do without the argument.
    forced = {"training": True} if "training" in inspect.signature(call).parameters else {}

    def training_call(inputs: Any, *args: Any, **kwargs: Any) -> Any:
        return call(inputs, *args, **{**kwargs, **forced})

    return training_call


@functools.singledispatch
def frozen(layer: Any, call: Call) -> dict[str, Any]:
    """The attributes with which all samples have one mask; a layer of one's own may register.

    Dropouts are affine in each entry, so that what they make of zeros and of ones says what they
    make of any sample. `call` draws the mask of a single one.

    Args:
        layer: A layer that drops something.
        call: Its call in training.

    Returns:
        Attributes, by name.

    Raises:
        ValueError: If the layer is no dropout itself, but has dropout inside.
    """
    where = f" on layer '{layer.name}'"
    if "" not in dropout_rates(layer):
        expected = "False, for the dropout inside this layer cannot repeat its masks"
        raise invalid_value("frozen_masks", expected, True, where)

    def frozen_call(inputs: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        shape: Any = getattr(layer, "noise_shape", None) or ()
        if len(shape) == len(inputs.shape) and shape[0] not in (None, 1):
            expected = f"False with a noise_shape for {shape[0]} samples"
            raise invalid_value("frozen_masks", expected, True, where)
        sample = inputs[:1]
        states = [(state, state.value * 1) for state in seed_states(layer)]
        at_one = call(ops.ones_like(sample))
        for state, value in states:
            state.assign(value)
        at_zero = call(ops.zeros_like(sample))
        return at_zero + inputs * (at_one - at_zero)

    return {"call": frozen_call}


@frozen.register
def _(layer: DropConnect, call: Call) -> dict[str, Any]:
    return {"call": call, "per_sample": False}
