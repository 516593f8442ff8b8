"""Where the regularizers of a model's weights are kept, and which of them a file keeps.

Keras declares it nowhere, so probes show it: penalties that are looked for in the configuration.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import keras

from kerasreg._keras_internals import all_layers, attention_attribute
from kerasreg.regularizers.l2 import L2

# For each weight, the layers and attributes whose value `get_config` writes as its regularizer.
Places: TypeAlias = dict[int, list[tuple[Any, str]]]

_PROBE = L2(1.0)
# Strengths that no penalty of anybody has.
_FIRST_STRENGTH = 123456789.5


def _find_owners(model: Any) -> dict[int, list[Any]]:
    """The layers that each weight belongs to without belonging to a layer below them."""
    owners = defaultdict(list)
    for layer in all_layers(model):
        below = {id(v) for sublayer in all_layers(layer)[1:] for v in sublayer.variables}
        for variable in layer.variables:
            if id(variable) not in below:
                owners[id(variable)].append(layer)
    return owners


def find_places(model: Any, variables: list[Any]) -> Places:
    """The places of each weight; none where its layer has no attribute for a regularizer."""
    owners = _find_owners(model)
    places: Places = {}
    for variable in variables:
        # As `kernel_regularizer`, and as `recurrent_regularizer` for a `recurrent_kernel`.
        stems = {variable.name, variable.name.removesuffix("_kernel")}
        if variable.name == "kernel":
            stems.add("depthwise")
        candidates = ((o, f"{stem}_regularizer") for o in owners[id(variable)] for stem in stems)
        places[id(variable)] = [place for place in candidates if _is_saved(*place)]
    return places


def _is_saved(layer: Any, attribute: str) -> bool:
    """Whether `get_config` writes the attribute: Keras declares it nowhere, so a probe shows it."""
    if not hasattr(layer, attribute):
        return False
    before = getattr(layer, attribute)
    try:
        setattr(layer, attribute, _PROBE)
    except AttributeError:  # a property
        return False
    try:
        saved = layer.get_config().get(attribute)
    except NotImplementedError:  # Keras's word for a layer that cannot be saved
        return False
    finally:
        setattr(layer, attribute, before)
    return saved in (_PROBE, keras.regularizers.serialize(_PROBE))


def attention_groups(model: Any) -> Iterator[tuple[Any, str, list[Any]]]:
    """Each attention layer, an attribute with a regularizer, and the weights that it is for."""
    for layer in all_layers(model):
        for kind in ("kernel", "bias"):
            attribute = attention_attribute(layer, kind)
            if attribute is not None:
                yield layer, attribute, [v for v in layer.weights if v.name == kind]


def saved_weights(model: Any, variables: Sequence[Any], places: Places) -> set[int]:
    """The weights, by identity, whose regularizers the configuration of the whole model writes.

    All of them where the model has no configuration: then it cannot be saved, and nothing is lost.
    """
    known = [(*place, [v]) for v in variables for place in places[id(v)]]
    known += attention_groups(model)
    before = [getattr(holder, attribute) for holder, attribute, _ in known]
    try:
        for number, (holder, attribute, _) in enumerate(known):
            setattr(holder, attribute, L2(_FIRST_STRENGTH + number))
        written = set(_strengths_in(model.get_config()))
    except NotImplementedError:
        return {id(v) for v in variables}
    finally:
        for (holder, attribute, _), regularizer in zip(known, before, strict=True):
            setattr(holder, attribute, regularizer)
    return {
        id(v)
        for number, (_, _, members) in enumerate(known)
        if _FIRST_STRENGTH + number in written
        for v in members
    }


def _strengths_in(config: Any) -> Iterator[float]:
    """Those of all L2 penalties in a configuration."""
    if isinstance(config, L2):
        yield config.l2
    elif isinstance(config, dict):
        yield from [config["l2"]] if "l2" in config else []
        for part in config.values():
            yield from _strengths_in(part)
    elif isinstance(config, (list, tuple)):
        for part in config:
            yield from _strengths_in(part)
