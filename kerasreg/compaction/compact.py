"""An equal, smaller model."""

from __future__ import annotations

import re
import warnings
from typing import Any

from kerasreg._checks import check_bool, check_integer
from kerasreg._keras_internals import input_layer
from kerasreg.compaction.liveness import Kept
from kerasreg.compaction.rebuild import Rebuild
from kerasreg.compaction.terms import LeftOut, without_terms
from kerasreg.compaction.trace import Record, Trace, check_model


def compact(
    model: Any,
    *,
    round_to: int = 1,
    keep: str | re.Pattern[str] | None = None,
    drop_inputs: bool = False,
    strip: bool = True,
) -> Any:
    """Returns a smaller model that computes the same.

    Channels that do nothing are taken out: those that nobody reads with a weight other than zero,
    and those that are constant, whose part in what follows goes into the next bias. The outputs
    are equal up to rounding, in inference and wherever activations are finite; nothing is
    approximated. In training `BatchNormalization` treats constants otherwise.

    Args:
        model: A built `Sequential` or functional model; it stays as it is.
        round_to: Widths are rounded up to multiples of it, where there are as many channels.
        keep: Regular expression for the paths of layers that stay as they are: `layer.name`, for
            a layer in a nested model `"model/layer"`. It must match all of the path.
        drop_inputs: Whether features of the model's inputs that nobody reads go, too; data for
            the new model then have fewer.
        strip: Whether the new model is of plain Keras, as `strip` makes it.

    Returns:
        The new model, not compiled. Its attribute `kept_features` has for the name of each input
        the indices of the features that are left.

    Raises:
        ValueError: If the model is not built, is subclassed or has a subclassed model inside, is
            quantized or has LoRA enabled, or if an argument is invalid.

    Example:
    >>> hidden = keras.layers.Dense(8, "relu")
    >>> network = keras.Sequential([keras.Input((4,)), hidden, keras.layers.Dense(2)])
    >>> _ = hidden.kernel.assign(hidden.kernel * [1, 0, 1, 0, 0, 1, 0, 0])
    >>> kerasreg.compact(network).layers[0].units
    3
    """
    trace, kept = analysed(model, round_to=round_to, keep=keep, drop_inputs=drop_inputs)
    rebuild = Rebuild(trace, kept, check_bool("strip", strip))
    small = rebuild.model(model)
    small.kept_features = {
        input_layer(tensor).name: tuple(map(int, kept.widths(x.values)))
        for tensor, x in zip(small.inputs, trace.inputs[id(model)], strict=True)
    }
    warn_of_losses(rebuild.losses)
    return small


def analysed(model: Any, *, round_to: int, keep: Any, drop_inputs: bool) -> tuple[Trace, Kept]:
    """What is known of a model, and what of it stays; see `compact`."""
    round_to = check_integer("round_to", round_to, "a positive integer", least=1)
    drop_inputs = check_bool("drop_inputs", drop_inputs)
    removed: list[Record] = []
    left_out: LeftOut = {}
    needed: set[int] = set()
    while True:
        trace = Trace(model, keep, drop_inputs, left_out)
        kept = Kept(trace.facts, round_to)
        found = without_terms(kept, left_out)
        # What is left out may turn out to be needed, as for a width that something else counts.
        needed |= {
            key
            for key, short in left_out.items()
            if not short.inputs.keys() <= (found[key].inputs.keys() if key in found else set())
        }
        found = {key: short for key, short in found.items() if key not in needed}
        if {k: set(short.inputs) for k, short in found.items()} == {
            k: set(short.inputs) for k, short in left_out.items()
        }:
            left = {id(record.layer) for record in trace.records}
            trace.removed = [record for record in removed if id(record.layer) not in left]
            return trace, kept
        # Once more, without what only leads to them.
        removed, left_out = removed or trace.records, found


def strip(model: Any) -> Any:
    """Returns the same model in plain Keras, which opens without kerasreg.

    Weights and outputs in inference are identical. `Dropout`, `SpatialDropout1D` to `3D`,
    `AlphaDropout` and `GaussianDropout` become Keras's; `DropPath` and `DropBlock2D`, which Keras
    does not have, the identity; `DropConnect` the layer inside; a `Dropout` that scales in
    inference a `Rescaling`. Penalties are left out.

    Args:
        model: A built `Sequential` or functional model; it stays as it is.

    Returns:
        The new model, not compiled. A warning names what it no longer does in training.

    Raises:
        ValueError: As for `compact`.

    Example:
    >>> network = keras.Sequential([keras.Input((4,)), kerasreg.Dropout(0.5)])
    >>> type(kerasreg.strip(network).layers[0]) is keras.layers.Dropout
    True
    """
    check_model(model)
    rebuild = Rebuild(None, None, strip=True)
    plain = rebuild.model(model)
    warn_of_losses(rebuild.losses)
    return plain


def warn_of_losses(losses: list[str]) -> None:
    """Warns of what plain Keras cannot express."""
    if losses:
        lines = "\n  ".join(losses)
        warnings.warn(f"What plain Keras has no layer for:\n  {lines}", stacklevel=3)
