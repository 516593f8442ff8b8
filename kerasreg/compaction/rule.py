"""Rules: what a kind of layer answers for itself, and the registry that a user's layer joins."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import keras

from kerasreg._checks import definer, invalid_value
from kerasreg.compaction.channels import Channels
from kerasreg.compaction.liveness import Kept

RuleClass = TypeVar("RuleClass", bound=type)


class CompactionRule:
    """What compaction needs to know of a kind of layer; see `compaction_rule`."""

    def trace(self, layer: Any, call: Any, *args: Any, **kwargs: Any) -> Any:
        """Says what one call of the layer does.

        Args:
            layer: The layer.
            call: A `Call`, which is told what the layer computes, cuts and needs.
            *args: The arguments of the call, with a `Channels` for each tensor.
            **kwargs: Those given by name; `mask` only where it is a parameter of the method.

        Returns:
            The `Channels` of the output.
        """
        raise NotImplementedError

    def config(self, layer: Any, kept: Kept) -> dict[str, Any]:
        """The entries of the layer's configuration that change.

        By default those that `call.size` has named, and `use_bias` where a layer gets a bias.
        """
        changes = kept.sizes(layer)
        return {**changes, "use_bias": True} if kept.adds_bias(layer) else changes

    def weights(self, layer: Any, arrays: dict[int | str, Any], kept: Kept) -> None:
        """Changes numbers other than by folding and cutting; by default none.

        Args:
            layer: The layer.
            arrays: Each variable of the layer by its `id`, and each bias that is added by its
                attribute, as an array that is still as long as before; to be replaced.
            kept: What stays.
        """

    def assigned(self, layer: Any) -> None:
        """Is called on the new layer when it has its weights; by default does nothing."""

    def parts(self, layer: Any) -> dict[str, Any]:
        """The layers inside, by the entries of the configuration that describe them."""
        return {}

    def positions(self, x: Channels, out: Channels) -> int:
        """At how many positions of a sample the layer's kernels are applied.

        By default those of the output; an axis of unknown length counts once.
        """
        return positions_of(out)


def positions_of(x: Channels) -> int:
    """The positions of a tensor: its axes but those of the samples and the channels."""
    return math.prod(size or 1 for i, size in enumerate(x.shape) if i not in (0, x.axis))


_RULES: dict[type, CompactionRule] = {}


def compaction_rule(*layers: type) -> Callable[[RuleClass], RuleClass]:
    """Decorates the rule by which `compact` treats a kind of layer.

    The rule is a class that derives from `kerasreg.CompactionRule`. Its method `trace` gets the
    layer, a `call` and a `Channels` for each tensor, and says

    - `call.new(axis, constants)`: the channels of the output, and which of them are constant;
    - `call.edge(out, x)`: that each output channel is computed from the input channel at its place;
    - `call.read(kernel, x, out, ...)`: that output channels are linear in all input channels;
    - `call.cut(variable, axis, x)`: that an axis of a weight numbers the channels;
    - `call.size("units", out)`: that an entry of the configuration counts them;
    - `call.entry("scale", numbers, axis, x)`: that an entry has a number for each;
    - `call.hold(x, reason)`, `call.pin(x, reason)`: that a width, or a number, must stay.

    A rule holds for subclasses, too, as long as they do not have a `call` of their own.

    Args:
        *layers: The layer classes.

    Returns:
        A decorator for the class of the rule.

    Raises:
        ValueError: If the arguments are not layer classes.

    Example:
    >>> class Gain(keras.layers.Layer):
    ...     def build(self, shape):
    ...         self.gain = self.add_weight((shape[-1],), initializer="ones")
    ...     def call(self, x):
    ...         return x * self.gain
    >>> @kerasreg.compaction_rule(Gain)
    ... class GainRule(kerasreg.CompactionRule):
    ...     def trace(self, layer, call, x):
    ...         gain = call.numbers(layer.gain)
    ...         out = call.like(x, call.constants(x) * gain)
    ...         call.edge(out, x)
    ...         call.cut(layer.gain, 0, out)
    ...         return out
    """
    for layer in layers:
        if not isinstance(layer, type) or not issubclass(layer, keras.Operation):
            raise invalid_value("layers", "classes of Keras layers", layer)

    def register(rule: RuleClass) -> RuleClass:
        if not isinstance(rule, type) or not issubclass(rule, CompactionRule):
            raise invalid_value("rule", "a class that derives from `CompactionRule`", rule)
        for layer in layers:
            _RULES[layer] = rule()
        return rule

    return register


def rule_of(operation: Any) -> CompactionRule | None:
    """The rule for a layer or an operation; `None` where there is none."""
    cls = type(operation)
    for base in cls.__mro__:
        if base in _RULES:
            # A subclass with a call of its own computes something else.
            return _RULES[base] if issubclass(base, definer(cls, "call")) else None
    return None


class Refused(ValueError):
    """A model that compaction cannot treat, with the reason."""


@contextlib.contextmanager
def asked(rule: CompactionRule, path: str) -> Iterator[None]:
    """Names the rule and its layer in whatever error the rule raises inside of the context.

    Args:
        rule: The rule.
        path: The path of the layer.
    """
    try:
        yield
    except Exception as error:
        name = type(rule).__name__
        raise Refused(
            f"Invalid compaction rule for layer `{path}`. Expected {name} to raise no error. "
            f"Received: {type(error).__name__}: {error}"
        ) from error
