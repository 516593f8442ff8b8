"""What tells dropouts from other layers: their rates, and whether these can change.

Each kind of layer answers for itself, by `functools.singledispatch`. A layer of one's own joins:

    @dropout_rates.register
    def _(layer: MyDropout) -> dict[str, float]:
        return {"": layer.rate}

Then `RegularizationLogger` logs its rate and `mc_predict` switches it on. `live_rate` is what
`DropoutRateScheduler` asks.
"""

from __future__ import annotations

import functools
from typing import Any, Protocol

import keras

from kerasreg.layers.base_dropout import BaseDropout


@functools.singledispatch
def dropout_rates(layer: Any) -> dict[str, float]:
    """The present rates at which a layer drops something.

    Args:
        layer: A Keras layer.

    Returns:
        Of a dropout, its rate by the name `""`, also where it is 0. Of a layer with dropout inside,
        as `keras.layers.LSTM`, the rates that are not 0 by their names; it speaks for the layers
        inside it too. Of every other layer, nothing.
    """
    return {}


# Keras's spatial dropouts are `Dropout`s.
@dropout_rates.register(BaseDropout)
@dropout_rates.register(keras.layers.Dropout)
@dropout_rates.register(keras.layers.GaussianDropout)
@dropout_rates.register(keras.layers.AlphaDropout)
def _of_dropout(layer: Any) -> dict[str, float]:
    return {"": layer.rate}


# Not of multi-head attention, which has a `Dropout` below it.
@dropout_rates.register(keras.layers.RNN)
@dropout_rates.register(keras.layers.LSTMCell)
@dropout_rates.register(keras.layers.GRUCell)
@dropout_rates.register(keras.layers.SimpleRNNCell)
@dropout_rates.register(keras.layers.Attention)
def _of_dropout_inside(layer: Any) -> dict[str, float]:
    rates = {name: getattr(layer, name, 0) for name in ("dropout", "recurrent_dropout")}
    return {name: rate for name, rate in rates.items() if rate}


class LiveRate(Protocol):
    """A rate that compiled steps read anew each time; see `BaseDropout`."""

    rate: float

    def accepts(self, rate: float) -> bool:
        """Whether it can be set to a rate between 0 and 1."""

    def allow_changes(self) -> bool:
        """Lets the rate change in what is compiled from now on.

        Returns:
            Whether there may be steps, compiled before, in which it cannot.
        """


@functools.singledispatch
def live_rate(layer: Any) -> LiveRate | None:
    """The rate of a dropout that can change while it trains.

    Args:
        layer: A Keras layer.

    Returns:
        An object with the members of `LiveRate`, often the layer itself. `None` of other layers,
        and of Keras's dropouts, whose rate is a constant of what was compiled.
    """
    return None


@live_rate.register
def _(layer: BaseDropout) -> LiveRate:
    return layer
