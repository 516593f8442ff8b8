"""Names of layers and weights that are the same each time a model is built."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

from kerasreg._keras_internals import all_layers, automatic_name
from kerasreg.layers.dropout_rates import dropout_rates as rates_of


class LayerNames:
    """Names the parts of a model by their paths, without the model's own name.

    Keras numbers the layers of a process, so that a model that is built anew has other names. Here
    each kind of layer is numbered from the start within its model, in the model's order:
    `dense_7`, `dense_9` become `dense`, `dense_1`, as in a process of its own. A name of that form
    that somebody chose cannot be told from Keras's own, and is numbered with them.

    Args:
        model: A Keras model or layer.
    """

    def __init__(self, model: Any) -> None:
        self._prefix = f"{model.name}/"
        places: dict[str, dict[int, int]] = defaultdict(dict)
        for layer in all_layers(model):
            # Whether the layer's name is one that Keras gives by itself: kind and number.
            kind = re.escape(automatic_name(layer))
            match = re.fullmatch(rf"((?:forward_|backward_)?{kind})(?:_(\d+))?", layer.name)
            if match is not None and layer is not model:
                of_kind = places[match[1]]
                of_kind.setdefault(int(match[2] or 0), len(of_kind))
        self._renamed = {
            _numbered(kind, number): _numbered(kind, place)
            for kind, of_kind in places.items()
            for number, place in of_kind.items()
        }

    def of_layer(self, layer: Any) -> str:
        """The name of a layer of the model."""
        return self._of_path(layer.path or layer.name)

    def of_variable(self, variable: Any) -> str:
        """The name of a weight of the model."""
        layers, _, name = variable.path.rpartition("/")
        return "/".join(filter(None, (self._of_path(layers), name)))

    def _of_path(self, path: str) -> str:
        parts = f"{path}/".removeprefix(self._prefix).rstrip("/").split("/")
        return "/".join(self._renamed.get(part, part) for part in parts)


def _numbered(kind: str, number: int) -> str:
    return f"{kind}_{number}" if number else kind


class Dropouts:
    """The layers of a model that drop something at random, found and named once.

    Args:
        model: A Keras model.
        names: Its names.
    """

    def __init__(self, model: Any, names: LayerNames) -> None:
        of_others = rates_of.dispatch(object)
        self._layers = [
            (names.of_layer(layer), layer, set(map(id, all_layers(layer)[1:])))
            for layer in all_layers(model)
            if rates_of.dispatch(type(layer)) is not of_others
        ]

    def rates(self) -> dict[str, float]:
        """The present rate of each dropout, by the layer's path; recurrent layers have two."""
        return {name: rate for name, _, rate in self._now()}

    def of_layers(self) -> dict[int, str]:
        """The first of those names of each layer that drops something, by the layer's `id`."""
        return {id(layer): name for name, layer, _ in reversed(self._now())}

    def _now(self) -> list[tuple[str, Any, float]]:
        found: list[tuple[str, Any, float]] = []
        spoken_for: set[int] = set()
        for name, layer, below in self._layers:
            rates = {} if id(layer) in spoken_for else rates_of(layer)
            found += [("/".join(filter(None, (name, k))), layer, float(rates[k])) for k in rates]
            if any(rates):  # by name, as of an `LSTM`, whose cell has the same
                spoken_for |= below
        names = unique_names(name for name, *_ in found)
        return [(name, *rest) for name, (_, *rest) in zip(names, found, strict=True)]


def unique_names(names: Iterable[str]) -> list[str]:
    """The names in order, a repeated one with `#2`, `#3`, … behind it."""
    seen: Counter[str] = Counter()
    result = []
    for name in names:
        seen[name] += 1
        result.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return result
