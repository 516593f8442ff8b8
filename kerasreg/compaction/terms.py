"""Inputs of sums, products and concatenations that a model does without.

What only leads to them goes with them: whole branches, whole residual blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import keras
import numpy as np

from kerasreg._keras_internals import GraphCall, graph_calls
from kerasreg.compaction.channels import Channels, Floats
from kerasreg.compaction.facts import Terms
from kerasreg.compaction.liveness import Kept


@dataclass(frozen=True, eq=False)
class Shortened:
    """A layer such as `Add` that is called without some of its inputs, or not at all.

    Args:
        inputs: Those that are left out, by their places.
        constants: The numbers that their channels always are, NaN where nobody needs them.
    """

    inputs: dict[int, Channels]
    constants: dict[int, Floats]


LeftOut: TypeAlias = dict[int, Shortened]
"""For the `id` of a layer such as `Add` what it is called without."""


def without_terms(kept: Kept, left_out: LeftOut) -> LeftOut:
    """The inputs that can be left out, by the `id` of the layer.

    Args:
        kept: What is known of the model without those in `left_out`.
        left_out: Those that are left out already. Some may turn out to be needed after all.
    """
    found = {}
    for terms in kept.facts.terms:
        already = left_out[id(terms.layer)].inputs if id(terms.layer) in left_out else {}
        places = _needless(terms, kept, already)
        if places:
            inputs = {i: terms.inputs[i] for i in places}
            constants = {i: kept.facts.constants[x.values] for i, x in inputs.items()}
            found[id(terms.layer)] = Shortened(inputs, constants)
    return found


def _needless(terms: Terms, kept: Kept, already: dict[int, Channels]) -> list[int]:
    """The places of the inputs that nobody needs, or that something makes up for."""
    needless, amendable = [], terms.amends.places if terms.amends is not None else ()
    if "float" not in terms.out.dtype:
        amendable = ()
    for i, (x, part) in enumerate(zip(terms.inputs, terms.parts, strict=True)):
        spare = ~kept.live[part]
        if terms.joins and i in already:
            spare &= ~kept.alive[part]  # Nothing else may ask for a width that is not there.
        if i in amendable:
            spare |= ~np.isnan(np.broadcast_to(kept.facts.constants[x.values], part.shape))
        if spare.all():
            needless.append(i)
    out = terms.out
    fits = [
        i
        for i, x in enumerate(terms.inputs)
        if terms.joins or (x.shape, x.dtype) == (out.shape, out.dtype)
    ]
    if all(i in needless for i in fits):
        # One has to stay, for the shape.
        stays = next((i for i in fits if i not in already), None)
        needless = [i for i in needless if i != stays] if stays is not None else []
    return needless


def amended(terms: Terms, kept: Kept, short: Shortened) -> tuple[Floats, Floats]:
    """What makes up for the inputs that are left out.

    Args:
        terms: The layer and all its inputs.
        kept: What stays of the model.
        short: What the layer is called without.

    Returns:
        The factor on each channel of its output that stays, and what is added to it.
    """
    values = terms.out.values
    kept_places = kept.widths(values)
    if terms.amends is None:
        return np.ones(len(kept_places)), np.zeros(len(kept_places))
    numbers = [np.broadcast_to(short.constants[i], values.shape) for i in sorted(short.inputs)]
    neutral = ~kept.live[values]
    pairs = zip(terms.amends.of(np.array(numbers), len(terms.inputs)), (1.0, 0.0), strict=True)
    factor, offset = (
        np.where(neutral, nothing, np.broadcast_to(number, values.shape))[kept_places]
        for number, nothing in pairs
    )
    return factor, offset


def amending_layer(layer: Any, x: Any, axis: int, factor: Floats, offset: Floats) -> Any | None:
    """A layer of Keras that multiplies and adds a number for each channel.

    Args:
        layer: The layer or operation that it stands for, or follows.
        x: The tensor that it is called on.
        axis: The axis of the channels.
        factor: The factors, shape `(channels,)`.
        offset: What is added, shape `(channels,)`.

    Returns:
        The layer; `None` where it would change nothing.
    """
    if (factor == 1).all() and (offset == 0).all():
        return None
    rank = len(x.shape)
    # Of less than three axes Keras moves the factor, where images have their channels first.
    shape = [-1 if i == axis else 1 for i in range(rank)][min(axis, max(rank - 3, 0)) :]
    entries = {
        name: float(numbers[0])
        if (numbers == numbers[0]).all()
        else numbers.reshape(shape).tolist()
        for name, numbers in (("scale", factor), ("offset", offset))
    }
    dtype = getattr(layer, "dtype_policy", x.dtype)
    return keras.layers.Rescaling(**entries, name=f"{layer.name}_constant", dtype=dtype)


def needed_calls(graph: Any, left_out: LeftOut) -> list[GraphCall]:
    """The calls of a graph that its outputs depend on, if inputs of sums are left out."""
    needed = {id(tensor) for tensor in graph.outputs}
    calls = []
    for call in reversed(graph_calls(graph)):
        if any(id(tensor) in needed for tensor in call.outputs):
            short = left_out.get(id(call.operation))
            without = short.inputs if short else {}
            needed.update(id(t) for i, t in enumerate(call.inputs) if i not in without)
            calls.append(call)
    return calls[::-1]
