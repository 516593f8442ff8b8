"""Puts penalties on the layers of a built model, and takes them off."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import keras

from kerasreg._checks import check_built, check_pattern, invalid_value
from kerasreg._keras_internals import all_layers, attention_attribute, forget_compiled_steps
from kerasreg.regularizers.base import Penalty
from kerasreg.regularizers.from_keras import penalty_on
from kerasreg.regularizers.l2 import L2
from kerasreg.regularizers.penalty_map import find_pattern, match_penalties, owning_layers

_PROBE = L2(1.0)

# For each weight, the layers and attributes whose value `get_config` writes as its regularizer.
_Places = dict[int, list[tuple[Any, str]]]


def attach_regularizers(model: Any, penalties: Any) -> None:
    """Puts penalties on the weights of a built model, as if its layers had been made with them.

    The weights keep their values. The penalties are in `model.losses` and in the configuration of
    the layers, so that a saved, loaded or cloned model has them; except for layers that a
    subclassed model or layer makes in its own code, which come back as the code makes them. The
    model's next `fit` or `evaluate` has them in its loss. A training loop of your own, or a model
    that contains this one, has to be compiled anew.

    Args:
        model: A built Keras model.
        penalties: A penalty for all kernels (weights of rank 2 or more that are neither biases nor
            embeddings), or a dict from regular expressions, which must match the whole
            `variable.path`, to penalties; of kerasreg or of Keras. A weight's earlier penalty is
            replaced.

    Raises:
        ValueError: If the model is not built, a pattern matches nothing, two match one weight, a
            value is not a penalty or is a constraint, or a layer cannot save its penalty. Nothing
            is changed then.

    Example:
    >>> kerasreg.attach_regularizers(model, {".*second/kernel": kerasreg.L1(1e-4)})
    >>> model.get_layer("second").kernel_regularizer
    L1(l1=0.0001)
    """
    check_built(model)
    _check_penalties(penalties)
    places = _find_places(model, model.weights)
    # Without moving averages and the like, which no layer regularizes.
    variables = [v for v in model.weights if v.trainable or places[id(v)]]
    matched = match_penalties(penalties, variables, "penalties")
    owners = owning_layers(model)
    chosen = [
        (v, p.on_layer(owners[id(v)], v) if isinstance(p, Penalty) else p)
        for v, p in zip(variables, matched, strict=True)
        if p is not None
    ]
    for variable, penalty in chosen:
        if not places[id(variable)]:
            layer = _find_owners(model)[id(variable)][0]
            raise ValueError(
                f"Invalid penalty on weight `{variable.path}`. Expected its layer `{layer.name}` "
                f"to have an attribute `{variable.name}_regularizer` that its `get_config` writes, "
                f"or the penalty would be lost when the model is saved. Received: layer={layer!r}"
            )
        penalty(variable)  # A wrong axis or rank raises here, not in the next step.
    _apply(model, chosen, places)


def detach_regularizers(model: Any) -> dict[str, Penalty]:
    """Takes the penalties off the trainable weights of a built model, for `Proximal`.

    The weights keep their values. Frozen weights keep their penalties, which `Proximal` would not
    apply; activity regularizers stay, too. If the layers were given names, the patterns also
    match the weights of the model once it is saved and loaded.

    Args:
        model: A built Keras model.

    Returns:
        A dict from regular expressions for the whole `variable.path` to penalties; those of
        `keras.regularizers` are turned into kerasreg's. It is empty if there are none.

    Raises:
        ValueError: If the model is not built, a regularizer has no proximal operator, or a weight
            shares its path with one of another penalty. Nothing is changed then.

    Example:
    >>> penalties = kerasreg.detach_regularizers(model)
    >>> penalties["(.*/)?second/kernel"]
    GroupLasso(strength=0.01, axis=-1, size_scaling=True)
    >>> model.compile(kerasreg.Proximal(keras.optimizers.Adam(), penalties), model.loss)
    """
    check_built(model)
    regularized = [v for v in model.trainable_variables if v.regularizer is not None]
    ability = "with a proximal operator"
    advice = "put one in its place with `attach_regularizers`"
    penalties = {id(v): penalty_on(v, ability, advice) for v in regularized}
    patterns = {find_pattern(model, v, penalties): penalties[id(v)] for v in regularized}
    _apply(model, [(v, None) for v in regularized], _find_places(model, regularized))
    return patterns


def _check_penalties(penalties: Any) -> None:
    if isinstance(penalties, Mapping):
        for pattern, penalty in penalties.items():
            check_pattern("penalties", pattern)
            _check_penalty(penalty, f" for the pattern `{pattern}`")
    else:
        _check_penalty(penalties)


def _check_penalty(penalty: Any, where: str = "") -> None:
    if not isinstance(penalty, keras.regularizers.Regularizer):
        expected = "a kerasreg penalty or a `keras.regularizers.Regularizer`"
        raise invalid_value("penalties", expected, penalty, where)
    if isinstance(penalty, Penalty) and penalty.is_constraint:
        name = type(penalty).__name__
        expected = f"a penalty that can be part of a loss; give {name} to `Proximal` instead"
        raise invalid_value("penalties", expected, penalty, where)


def _find_owners(model: Any) -> dict[int, list[Any]]:
    """The layers that each weight belongs to without belonging to a layer below them."""
    owners = defaultdict(list)
    for layer in all_layers(model):
        below = {id(v) for sublayer in all_layers(layer)[1:] for v in sublayer.variables}
        for variable in layer.variables:
            if id(variable) not in below:
                owners[id(variable)].append(layer)
    return owners


def _find_places(model: Any, variables: list[Any]) -> _Places:
    owners = _find_owners(model)
    places: _Places = {}
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


def _apply(model: Any, changes: list[tuple[Any, Any]], places: _Places) -> None:
    """Gives the weights their new regularizers, after the last check."""
    attributes = [(*place, regularizer) for v, regularizer in changes for place in places[id(v)]]
    attributes += _shared_by_attention(model, {id(v): new for v, new in changes})
    for variable, regularizer in changes:
        variable.regularizer = regularizer
    for layer, attribute, regularizer in attributes:
        setattr(layer, attribute, regularizer)
    for layer in all_layers(model):
        if isinstance(layer, keras.Model):
            forget_compiled_steps(layer)


def _shared_by_attention(model: Any, after: Mapping[int, Any]) -> Iterator[tuple[Any, str, Any]]:
    """The one regularizer that an attention layer's configuration has for all its kernels."""
    for layer in all_layers(model):
        for kind in ("kernel", "bias"):
            attribute = attention_attribute(layer, kind)
            group = [v for v in layer.weights if v.name == kind]
            group = [v for v in group if v.trainable or id(v) in after]
            if attribute is None or not any(id(v) in after for v in group):
                continue
            first, *others = [after.get(id(v), v.regularizer) for v in group]
            if any(other != first for other in others):
                paths = ", ".join(f"`{v.path}`" for v in group)
                raise ValueError(
                    f"Invalid penalty on weight `{group[0].path}`. Expected the same on all of "
                    f"{paths}, as `{layer.name}` saves one penalty for them; match them all with "
                    f"one pattern. Received: {[first, *others]!r}"
                )
            yield layer, attribute, first
