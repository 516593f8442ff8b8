"""Copies of layers from changed configurations."""

from __future__ import annotations

import contextlib
import types
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import keras

from kerasreg._keras_internals import all_layers
from kerasreg.compaction.plain import plain_layer
from kerasreg.compaction.rule import rule_of
from kerasreg.layers import DropConnect

Changes = Callable[[Any], dict[str, Any]]
"""The entries of a layer's configuration that change."""


def copy_of(layer: Any, changes: Changes, strip: bool, losses: list[str]) -> Any:
    """A copy of a layer that has not been built.

    Args:
        layer: The layer, no model.
        changes: Those of its configuration, and of the layers inside of it.
        strip: Whether to leave plain Keras only.
        losses: Takes in what plain Keras cannot express, in words.

    Returns:
        The copy, of the same name.
    """
    if strip and isinstance(layer, DropConnect):
        losses.append(f"{layer.name}: drops no weights in training any more")
        copy = copy_of(layer.layer, changes, strip, losses)
        return type(copy).from_config({**copy.get_config(), "name": layer.name})
    plain = plain_layer(layer) if strip else None
    if plain is not None:
        base = {"name": layer.name, "dtype": layer.dtype_policy.name}
        if plain.loses:
            losses.append(f"{layer.name}: {plain.loses}")
        copy = plain.cls(**base, **plain.arguments)
    elif isinstance(layer, keras.layers.Lambda):
        copy = _copy_of_lambda(layer)
    else:
        config = _configuration(layer) | changes(layer)
        for key, part in _parts(layer).items():
            inner = copy_of(part, changes, strip, losses)
            config[key] = keras.saving.serialize_keras_object(inner)
            config[key].pop("build_config", None)
        classes = {type(each).__name__: type(each) for each in all_layers(layer)}
        with keras.saving.custom_object_scope(classes):
            copy = type(layer).from_config(config)
    if not layer.trainable:
        copy.trainable = False
    if strip:
        _take_off_regularizers(copy)
    return copy


def _parts(layer: Any) -> dict[str, Any]:
    rule = rule_of(layer)
    return {} if rule is None else rule.parts(layer)


def _configuration(layer: Any) -> dict[str, Any]:
    """A configuration without `trainable`, which some layers do not take.

    A function stands there itself, as it cannot be found by the name that Keras writes.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The object being serialized includes a `lambda`")
        config = layer.get_config()
    functions = {key: getattr(layer, key, None) for key in config}
    own = {key: f for key, f in functions.items() if isinstance(f, types.FunctionType)}
    return {key: value for key, value in {**config, **own}.items() if key != "trainable"}


def _copy_of_lambda(layer: Any) -> Any:
    """A `Lambda` with the same function, which its configuration would write as code."""
    config = layer.get_config()
    return keras.layers.Lambda(
        layer.function,
        output_shape=getattr(layer, "_output_shape", None),
        mask=layer.mask,
        arguments=layer.arguments,
        name=layer.name,
        dtype=config["dtype"],
    )


def _take_off_regularizers(copy: Any) -> None:
    """Takes the regularizers off that a process without kerasreg does not know."""
    for layer in all_layers(copy):
        for name, value in list(vars(layer).items()):
            if isinstance(value, keras.regularizers.Regularizer) and _is_own(value):
                setattr(layer, name, None)


def _is_own(value: Any) -> bool:
    return any(cls.__module__.partition(".")[0] == "kerasreg" for cls in type(value).__mro__)


@contextlib.contextmanager
def without_initial_numbers() -> Iterator[Callable[[Any], None]]:
    """Lets layers be built with zeros, as drawing numbers that are overwritten takes long.

    Returns:
        A context; what it gives is called on each layer before it is built.
    """
    taken: list[tuple[Any, str, Any]] = []

    def prepare(layer: Any) -> None:
        for each in all_layers(layer):
            for name, value in list(vars(each).items()):
                if isinstance(value, keras.initializers.Initializer):
                    taken.append((each, name, value))
                    setattr(each, name, keras.initializers.Zeros())

    try:
        yield prepare
    finally:
        for layer, name, value in taken:
            setattr(layer, name, value)
