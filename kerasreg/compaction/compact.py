"""An equal, smaller model."""

from __future__ import annotations

import re
import warnings
from typing import Any

from kerasreg._checks import check_bool
from kerasreg._keras_internals import input_layer
from kerasreg.compaction.analysis import analysed
from kerasreg.compaction.liveness import Kept
from kerasreg.compaction.rebuild import Rebuild
from kerasreg.compaction.report import ASKED_FOR, Reasons, constant_outputs, dead_channels
from kerasreg.compaction.trace import Trace, check_model

NOT_IN_KERAS = "What plain Keras has no layer for"


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
        the indices of the features that are left. A warning says if its whole output is constant,
        or if more than half of the channels stay that are constant or that nobody needs; the
        outputs of the model, which always stay, are not counted.

    Raises:
        ValueError: If the model is not built, is subclassed or has a subclassed model inside, is
            quantized, has LoRA enabled or weights that are sharded over devices, if a layer's
            configuration does not make a layer, a rule of your own raises an error, or an argument
            is invalid.

    Example:
    >>> hidden = keras.layers.Dense(8, "relu")
    >>> network = keras.Sequential([keras.Input((4,)), hidden, keras.layers.Dense(2)])
    >>> _ = hidden.kernel.assign(hidden.kernel * [1, 0, 1, 0, 0, 1, 0, 0])
    >>> kerasreg.compact(network).layers[0].units
    3
    """
    check_bool("strip", strip)
    trace, kept = analysed(model, round_to=round_to, keep=keep, drop_inputs=drop_inputs)
    rebuild = Rebuild(trace, kept, strip)
    small = rebuild.model(model)
    small.kept_features = {
        input_layer(tensor).name: tuple(map(int, kept.widths(x.values)))
        for tensor, x in zip(small.inputs, trace.inputs[id(model)], strict=True)
    }
    heading = NOT_IN_KERAS if strip else "Penalties for weights of the former shapes are left out"
    _warn_of(heading, rebuild.losses)
    _warn_of_outcome(model, trace, kept)
    return small


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
    _warn_of(NOT_IN_KERAS, rebuild.losses)
    return plain


def _warn_of(heading: str, losses: list[str]) -> None:
    """Warns of what the new model lacks."""
    if losses:
        lines = "\n  ".join(losses)
        warnings.warn(f"{heading}:\n  {lines}", stacklevel=3)


def _warn_of_outcome(model: Any, trace: Trace, kept: Kept) -> None:
    """Warns where nothing is left that computes, or most of what does nothing."""
    constant = {name: len(indices) for name, indices in constant_outputs(model, trace).items()}
    widths = [len(x.values) for x in trace.outputs]
    if list(constant.values()) == widths:
        warnings.warn(
            "The whole output of the model is constant: it does not depend on the inputs.",
            stacklevel=3,
        )
    dead, stuck = dead_channels(trace, kept)
    if 2 * len(stuck) <= dead:
        return
    reasons = Reasons(kept)
    found = [(path, reasons.of(value)) for path, value in stuck]
    blocked = [(path, why) for path, why in found if not why.endswith(ASKED_FOR)]
    if 2 * len(blocked) > dead:
        path, why = blocked[0]
        warnings.warn(
            f"More than half of the dead channels stay, {len(blocked):,} of {dead:,}, the first "
            f"of `{path}`: {why}. `kerasreg.compaction_report(model)` names all.",
            stacklevel=3,
        )
