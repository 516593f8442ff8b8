"""Copies of layers from changed configurations."""

from __future__ import annotations

import contextlib
import functools
import inspect
import tempfile
import types
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from kerasreg._checks import definer
from kerasreg._keras_internals import all_layers, lambda_output_shape, layer_paths
from kerasreg.compaction.plain import has_plain_layer, is_own, plain_layer
from kerasreg.compaction.rule import rule_of

Changes = Callable[[Any, str], dict[str, Any]]
"""The entries of the configuration of a layer, given with its path, that change."""

ATTACHED = (keras.regularizers.Regularizer, keras.constraints.Constraint)


class Copies:
    """Makes copies of layers.

    Args:
        changes: What changes in the configuration of a layer, and of the layers inside of it.
        strip: Whether to leave plain Keras only.

    Attributes:
        losses: What plain Keras cannot express, in words.
    """

    def __init__(self, changes: Changes, strip: bool) -> None:
        self._changes, self._strip = changes, strip
        self.losses: list[str] = []

    def of(self, layer: Any, path: str) -> Any:
        """A copy of a layer that has not been built, of the same name.

        Args:
            layer: The layer, no model of the graph.
            path: Its path.

        Raises:
            ValueError: If the layer's configuration does not make a layer.
        """
        with keras.saving.custom_object_scope(_names_in(layer)):
            copy = self._copy(layer, path, {"name": layer.name})
        if self._strip:
            self.losses += [f"{path}{rest}" for rest in _still_own(copy)]
        return copy

    def _copy(self, layer: Any, path: str, base: dict[str, Any]) -> Any:
        plain = plain_layer(layer) if self._strip and has_plain_layer(type(layer)) else None
        if plain is None:
            copy = self._same_class(layer, path, base)
        elif plain.inside is not None:
            copy = self._copy(plain.inside, path, base)
        else:
            copy = plain.cls(dtype=layer.dtype_policy, **base, **plain.arguments)
        if plain is not None and plain.loses:
            self.losses.append(f"{path}: {plain.loses}")
        if not layer.trainable:
            copy.trainable = False
        return copy

    def _same_class(self, layer: Any, path: str, base: dict[str, Any]) -> Any:
        try:
            config = _configuration(layer)
        except NotImplementedError as error:
            raise _no_copy(path, error) from error
        rule = rule_of(layer)
        parts = {} if rule is None else rule.parts(layer)
        others = {key: value for key, value in config.items() if key not in parts}
        config = self._renewed(others, path)
        for key, part in parts.items():
            inner = self._copy(part, f"{path}/{part.name}", {"name": part.name})
            config[key] = _serialized(inner)
        config |= {**self._changes(layer, path), **base}
        try:
            return from_configuration(layer, config)
        except Exception as error:  # Whatever the code of a layer does with it.
            raise _no_copy(path, error) from error

    def _renewed(self, value: Any, path: str) -> Any:
        """A part of a configuration, without what is kerasreg's if that is to go."""
        if isinstance(value, keras.layers.Layer):
            return self._copy(value, f"{path}/{value.name}", {"name": value.name})
        if isinstance(value, ATTACHED):
            return None if self._strip and is_own(type(value)) else value
        if isinstance(value, (list, tuple)):
            parts = [self._renewed(each, path) for each in value]
            return parts if isinstance(value, list) else tuple(parts)
        return self._renewed_entry(value, path) if isinstance(value, dict) else value

    def _renewed_entry(self, entry: dict[str, Any], path: str) -> Any:
        """The same for a dict, which may be what Keras writes of an object."""
        config = entry.get("config")
        named = "class_name" in entry and isinstance(config, dict) and "name" in config
        inside = f"{path}/{config['name']}" if named else path  # type: ignore[index]
        # Layers inside are built by the one around them, under its name.
        parts = {key: value for key, value in entry.items() if key != "build_config"}
        renewed = {key: self._renewed(value, inside) for key, value in parts.items()}
        cls = _class_of(entry) if self._strip else None
        if cls is None:
            return renewed
        if issubclass(cls, ATTACHED):
            # One of another package may have one of kerasreg inside, without which it is nothing.
            return None if is_own(cls) or renewed != parts else entry
        if not has_plain_layer(cls):
            return renewed
        layer = keras.saving.deserialize_keras_object(renewed)
        return {**renewed, **_serialized(self._copy(layer, inside, {"name": layer.name}))}


def _no_copy(path: str, error: Exception) -> ValueError:
    return ValueError(
        f"Invalid configuration of layer `{path}`. Expected `from_config(get_config())` to make "
        f"a layer like it. Received: {type(error).__name__}: {error}"
    )


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


@functools.singledispatch
def from_configuration(layer: Any, config: dict[str, Any]) -> Any:
    """A layer of a configuration; each kind of layer answers for itself.

    Args:
        layer: A layer of the same class.
        config: Its configuration, which may be changed.
    """
    cls = type(layer)
    try:
        return cls.from_config(dict(config))
    except TypeError:
        # Some write what they have computed, too, which no constructor takes.
        constructors = [vars(base)["__init__"] for base in cls.__mro__ if "__init__" in vars(base)]
        taken = set().union(*(inspect.signature(each).parameters for each in constructors))
        if taken.issuperset(config):
            raise
        return cls.from_config({key: value for key, value in config.items() if key in taken})


@from_configuration.register
def _(layer: keras.layers.Lambda, config: dict[str, Any]) -> Any:
    """With the functions themselves, as code would not find what they refer to."""
    functions = (layer.function, lambda_output_shape(layer), layer.mask, layer.arguments)
    return type(layer)(*functions, name=config["name"], dtype=config["dtype"])


def _serialized(layer: Any) -> dict[str, Any]:
    """A layer for the configuration of another one, which will build it."""
    entry = keras.saving.serialize_keras_object(layer)
    return {key: value for key, value in entry.items() if key != "build_config"}


def _class_of(entry: dict[str, Any]) -> type | None:
    """The class that a part of a configuration describes an object of, if it is not Keras's own."""
    if "class_name" not in entry or not isinstance(entry.get("config"), dict):
        return None
    found = keras.saving.get_registered_object(entry.get("registered_name"))
    return found if isinstance(found, type) else None


def _names_in(layer: Any) -> dict[str, Any]:
    """The classes and functions of one's own in a layer, by the names that Keras writes."""
    found: list[Any] = []
    for each in all_layers(layer):
        for value in [each, *vars(each).values()]:
            if isinstance(value, types.FunctionType):
                found.append(value)
            elif isinstance(value, (keras.layers.Layer, *ATTACHED)):
                found.append(type(value))
    return {
        keras.saving.get_registered_name(each): each
        for each in found
        if str(each.__module__).partition(".")[0] != "keras"
    }


def _still_own(copy: Any) -> Iterator[str]:
    """The layers of kerasreg that a copy has made by itself, in words."""
    for path, layer in layer_paths(copy):
        if is_own(type(layer)):
            name = type(layer).__name__
            where = f"/{path}" if layer is not copy else ""
            yield f"{where}: stays a layer that needs kerasreg, {name}, which nothing replaces"


def carry_states(layer: Any, copy: Any) -> None:
    """Gives a copy what a file would hold beside the weights, as the words of a lookup.

    Args:
        layer: The layer.
        copy: Its copy, built.
    """
    for old, new in zip(all_layers(layer), all_layers(copy), strict=False):
        if type(old) is not type(new):
            return
        # What has a rule has no state, and its weights may be smaller.
        if rule_of(old) is None and definer(type(old), "load_own_variables") is not _BASE:
            store: dict[str, Any] = {}
            old.save_own_variables(store)
            new.load_own_variables(store)
        if hasattr(old, "save_assets"):
            with tempfile.TemporaryDirectory() as folder:
                old.save_assets(folder)
                new.load_assets(folder)


_BASE = definer(keras.layers.Layer, "load_own_variables")


class _Zeros(keras.initializers.Initializer):  # type: ignore[misc]
    """Zeros that NumPy makes; those of Keras are compiled on JAX for each shape."""

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        return keras.ops.convert_to_tensor(np.zeros(shape, "float32"), dtype)


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
                    setattr(each, name, _Zeros())

    try:
        yield prepare
    finally:
        for layer, name, value in taken:
            setattr(layer, name, value)
