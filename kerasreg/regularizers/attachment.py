"""Puts penalties on the layers of a built model, and takes them off."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import keras

from kerasreg._checks import (
    check_bool,
    check_built,
    check_pattern,
    invalid_on_weight,
    invalid_value,
)
from kerasreg._keras_internals import all_layers, forget_compiled_steps, held_optimizers
from kerasreg.regularizers.base import Penalty
from kerasreg.regularizers.from_keras import has_kink, penalty_on
from kerasreg.regularizers.penalty_map import (
    acting_after_updates,
    find_pattern,
    is_kernel,
    match_penalties,
    owning_layers,
)
from kerasreg.regularizers.saved_places import (
    Places,
    attention_groups,
    find_places,
    saved_weights,
)


def attach_regularizers(model: Any, penalties: Any, *, allow_unsaved: bool = False) -> None:
    """Puts penalties on the weights of a built model, as if its layers had been made with them.

    The weights keep their values. The penalties are in `model.losses` and in the configuration of
    the layers, so that a saved, loaded or cloned model has them. The model's next `fit` or
    `evaluate` has them in its loss. A training loop of your own, or a model that contains this
    one, has to be compiled anew.

    Layers that a subclassed model or layer makes in its own code come back as the code makes them:
    a file would lose their penalties. `Proximal(optimizer, penalties)` keeps them in its own
    configuration; or `allow_unsaved=True` attaches them all the same, to be attached again after
    loading.

    Args:
        model: A built Keras model.
        penalties: A penalty for all kernels (weights of rank 2 or more that are neither biases nor
            embeddings), or a dict from regular expressions, which must match the whole
            `variable.path`, to penalties; of kerasreg or of Keras. A weight's earlier penalty is
            replaced. One penalty leaves out weights whose layer cannot hold one, with a warning.
        allow_unsaved: Whether penalties may be lost when the model is saved.

    Raises:
        ValueError: If the model is not built, a pattern matches nothing, two match one weight, a
            value is not a penalty or is a constraint, a layer cannot save its penalty, or the
            model's `Proximal` acts on a weight that gets another penalty with a kink. Nothing is
            changed then.

    Example:
    >>> kerasreg.attach_regularizers(model, {".*second/kernel": kerasreg.L1(1e-4)})
    >>> model.get_layer("second").kernel_regularizer
    L1(l1=0.0001)
    """
    check_built(model)
    _check_penalties(penalties)
    check_bool("allow_unsaved", allow_unsaved)
    places = find_places(model, model.weights)
    # Without moving averages and the like, which no layer regularizes.
    variables = [v for v in model.weights if v.trainable or places[id(v)]]
    matched = match_penalties(penalties, variables, "penalties")
    owners = owning_layers(model)
    chosen = [
        (v, p.on_layer(owners[id(v)], v) if isinstance(p, Penalty) else p)
        for v, p in zip(variables, matched, strict=True)
        if p is not None
    ]
    if not isinstance(penalties, Mapping):
        _warn_of_skipped([v for v in variables if is_kernel(v) and not places[id(v)]])
        chosen = [(v, p) for v, p in chosen if places[id(v)]]
    _check_proximal(model, chosen)
    saved = saved_weights(model, [v for v, _ in chosen], places)
    for variable, penalty in chosen:
        layer = owners[id(variable)]
        if not places[id(variable)]:
            raise ValueError(
                f"Invalid penalty on weight `{variable.path}`. Expected its layer `{layer.name}` "
                f"to have an attribute `{variable.name}_regularizer` that its `get_config` writes, "
                f"or the penalty would be lost when the model is saved. Received: layer={layer!r}"
            )
        if id(variable) not in saved and not allow_unsaved:
            raise ValueError(
                f"Invalid penalty on weight `{variable.path}`. Expected the configuration of the "
                f"whole model to hold that of its layer `{layer.name}`, or the penalty would be "
                "lost when the model is saved. Give it to `Proximal(optimizer, penalties)`, which "
                "keeps it, or say `allow_unsaved=True` and attach it again after loading. "
                f"Received: model={model!r}"
            )
        penalty(variable)  # A wrong axis or rank raises here, not in the next step.
    _apply(model, chosen, places)


def detach_regularizers(
    model: Any, weights: str | re.Pattern[str] | None = None
) -> dict[str, Penalty]:
    """Takes the penalties off the trainable weights of a built model, for `Proximal`.

    The weights keep their values. Frozen weights keep their penalties, which `Proximal` would not
    apply; activity regularizers stay, too. If the layers were given names, the patterns also
    match the weights of the model once it is saved and loaded. Layers that a subclassed model or
    layer makes in its own code come back with the penalty that the code gives them; a warning
    names them.

    Args:
        model: A built Keras model.
        weights: Regular expression, searched for in `variable.path`, that chooses the weights;
            `None` for all.

    Returns:
        A dict from regular expressions for the whole `variable.path` to penalties; those of
        `keras.regularizers` are turned into kerasreg's. It is empty if there are none.

    Raises:
        ValueError: If the model is not built, no weight with a penalty is chosen by `weights`, a
            regularizer has no proximal operator, or a weight shares its path with one of another
            penalty. Nothing is changed then.

    Example:
    >>> penalties = kerasreg.detach_regularizers(model)
    >>> penalties["(.*/)?second/kernel"]
    GroupLasso(strength=0.01, axis=-1, size_scaling=True)
    >>> model.compile(kerasreg.Proximal(keras.optimizers.Adam(), penalties), model.loss)
    """
    check_built(model)
    regularized = [v for v in model.trainable_variables if v.regularizer is not None]
    if weights is not None:
        pattern, paths = check_pattern("weights", weights), [v.path for v in regularized]
        regularized = [v for v in regularized if pattern.search(v.path)]
        if not regularized:
            listing = "\n  ".join(paths)
            expected = f"a pattern found in one of the paths with a penalty\n  {listing}\n"
            raise invalid_value("weights", expected, pattern.pattern)
    penalties = {id(v): _penalty_with_prox(v) for v in regularized}
    patterns = {find_pattern(model, v, penalties): penalties[id(v)] for v in regularized}
    places = find_places(model, regularized)
    saved = saved_weights(model, regularized, places)
    _apply(model, [(v, None) for v in regularized], places)
    lost = [f"`{v.path}`" for v in regularized if id(v) not in saved]
    if lost:
        warnings.warn(
            f"Loaded from a file, the model has its penalties on {', '.join(lost)} again, as its "
            "code makes them; take them out of the code before you save it with `Proximal`.",
            stacklevel=2,
        )
    return patterns


def _penalty_with_prox(variable: Any) -> Penalty:
    ability = "with a proximal operator"
    advice = "put one in its place with `attach_regularizers`, or leave it out with `weights`"
    penalty = penalty_on(variable, ability, advice)
    if not penalty.has_prox():
        raise invalid_on_weight("regularizer", variable, f"one {ability}; {advice}")
    return penalty


def _warn_of_skipped(variables: list[Any]) -> None:
    if variables:
        paths = ", ".join(f"`{v.path}`" for v in variables)
        warnings.warn(
            f"No penalty is put on {paths}, as the layers have no argument for one that they save; "
            "`Proximal(optimizer, penalties)` can reach them.",
            stacklevel=3,
        )


def _check_proximal(model: Any, chosen: list[tuple[Any, Any]]) -> None:
    """Raises where `Proximal` would refuse the penalties when it is built, as on loading."""
    kinks = {id(v): p for v, p in chosen if has_kink(p)}
    own = getattr(model, "optimizer", None)
    held = dict(held_optimizers(vars(model) | {"optimizer": own})).values()
    for v, penalty, _ in acting_after_updates(held, own, model.trainable_variables):
        if id(v) in kinks:
            raise ValueError(
                f"Invalid penalty on weight `{v.path}`. Expected one without a kink at zero, "
                f"as {penalty!r} of the model's `Proximal` acts on it too, and the saved model "
                f"could not be loaded. Received: penalty={kinks[id(v)]!r}"
            )


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


def _apply(model: Any, changes: list[tuple[Any, Any]], places: Places) -> None:
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
    for layer, attribute, members in attention_groups(model):
        group = [v for v in members if v.trainable or id(v) in after]
        if not any(id(v) in after for v in group):
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
