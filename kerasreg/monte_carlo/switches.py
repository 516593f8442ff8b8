"""Dropout in inference, layer by layer, and for no longer than a context lasts."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
from keras import ops

from kerasreg._checks import invalid_value
from kerasreg._keras_internals import all_layers
from kerasreg._tensors import Tensor
from kerasreg.layers.base_dropout import DROPOUT_LAYERS
from kerasreg.layers.drop_connect import DropConnect

Call = Callable[..., Any]

# Multi-head attention is not among them: it has a `Dropout` below it.
_WITH_DROPOUT_INSIDE = (
    keras.layers.RNN,
    keras.layers.LSTMCell,
    keras.layers.GRUCell,
    keras.layers.SimpleRNNCell,
    keras.layers.Attention,
)
_RATES_INSIDE = ("dropout", "recurrent_dropout")


def dropping_layers(model: Any, frozen_masks: bool) -> list[Any]:
    """The layers of a model that drop something, at their present rates.

    Args:
        model: A built Keras model.
        frozen_masks: Whether the masks are to be those of `switched_on` with frozen masks.

    Returns:
        A list of layers.

    Raises:
        ValueError: If there are none, or one cannot freeze its masks.
    """
    found = [layer for layer in all_layers(model) if _drops(layer)]
    if not found:
        raise invalid_value("model", "a model with a dropout whose rate is not 0", model)
    for layer in found:
        if frozen_masks and isinstance(layer, _WITH_DROPOUT_INSIDE):
            expected = "False, for the dropout inside this layer cannot repeat its masks"
            raise invalid_value("frozen_masks", expected, True, _where(layer))
    return found


@contextlib.contextmanager
def switched_on(layers: Sequence[Any], frozen_masks: bool) -> Iterator[None]:
    """Within it these layers drop, whatever `training` they are called with.

    Args:
        layers: Those of `dropping_layers`.
        frozen_masks: Whether all samples of a batch, and all batches, have the same mask.
    """
    with contextlib.ExitStack() as stack:
        for layer in layers:
            attributes: dict[str, Any] = {"call": _training_call(layer)}
            if frozen_masks and isinstance(layer, DropConnect):
                attributes["per_sample"] = False
            elif frozen_masks:
                attributes["call"] = _frozen(layer, attributes["call"])
            stack.enter_context(_overridden(layer, attributes))
        yield


def _drops(layer: Any) -> bool:
    if isinstance(layer, DROPOUT_LAYERS):
        return bool(layer.rate > 0)
    inside = isinstance(layer, _WITH_DROPOUT_INSIDE)
    return inside and any(getattr(layer, rate, 0) > 0 for rate in _RATES_INSIDE)


def _training_call(layer: Any) -> Call:
    call = layer.call
    # A subclass that always drops may do without the argument.
    forced = {"training": True} if "training" in inspect.signature(call).parameters else {}

    def training_call(inputs: Any, *args: Any, **kwargs: Any) -> Any:
        return call(inputs, *args, **{**kwargs, **forced})

    return training_call


def _frozen(layer: Any, call: Call) -> Call:
    """The call with the mask of a single sample for all of them.

    Dropouts are affine in each entry, so that what they make of zeros and of ones says what they
    make of any sample.
    """

    def frozen_call(inputs: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        _check_noise_shape(layer, inputs)
        sample = inputs[:1]
        state = layer.seed_generator.state
        mask = state.value * 1
        at_one = call(ops.ones_like(sample))
        state.assign(mask)
        at_zero = call(ops.zeros_like(sample))
        return at_zero + inputs * (at_one - at_zero)

    return frozen_call


def _check_noise_shape(layer: Any, inputs: Tensor) -> None:
    noise_shape: Any = getattr(layer, "noise_shape", None)
    if noise_shape and len(noise_shape) == len(inputs.shape) and noise_shape[0] not in (None, 1):
        expected = f"False with a noise_shape for {noise_shape[0]} samples"
        raise invalid_value("frozen_masks", expected, True, _where(layer))


def _where(layer: Any) -> str:
    return f" on layer '{layer.name}'"


@contextlib.contextmanager
def _overridden(layer: Any, attributes: dict[str, Any]) -> Iterator[None]:
    """Other attributes of the layer, past what Keras and PyTorch do on setting them."""
    own = vars(layer)
    before = {name: own[name] for name in attributes if name in own}
    own.update(attributes)
    try:
        yield
    finally:
        for name in attributes:
            del own[name]
        own.update(before)
