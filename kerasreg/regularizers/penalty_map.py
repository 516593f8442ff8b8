"""Which penalty acts on which weight: regular expressions on the path."""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import keras
import regex

from kerasreg._checks import check_built, invalid_value
from kerasreg._keras_internals import all_layers, optimizers_within
from kerasreg.regularizers.base import Penalty

# For all patterns and paths together, which take microseconds each.
MATCHING_SECONDS = 2.0

P = TypeVar("P", bound=Callable[..., Any])  # A regularizer; Keras is not typed.

# They make a cell of their own, which is numbered afresh in a loaded model.
_WITH_OWN_CELL = (keras.layers.LSTM, keras.layers.GRU, keras.layers.SimpleRNN)

# An escape, a set, a repetition or a character of a regular expression.
_TOKEN = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\{(?:\d+(?:,\d*)?|,\d*)\}|.", re.DOTALL)

ADVICE = (
    "A pattern must match the whole path; start it with `.*` to leave the model's name open, "
    "which changes from one model to the next, and which a loaded model's paths do not have"
)


def is_kernel(variable: Any) -> bool:
    """Whether a variable is a weight that a bare penalty acts on: no bias, no gain."""
    others = variable.name in ("gamma", "beta", "alpha")  # of normalisations and PReLU
    return len(variable.shape) >= 2 and not others and "bias" not in variable.name


def is_embedding(variable: Any) -> bool:
    """Whether each row of a weight is used by some inputs only, so that it seldom has a gradient.

    A penalty would erase the rows of what is rare, which no gradient brings back.
    """
    return variable.name in ("embeddings", "position_embeddings", "reverse_embeddings")


def match_penalties(
    penalty: P | Mapping[str, P], variables: Sequence[Any], argument: str = "penalty"
) -> list[P | None]:
    """The penalty of each variable, `None` where none acts.

    Args:
        penalty: One penalty for all kernels, but not for embeddings unless it is a constraint; or
            a map from patterns on `variable.path`.
        variables: Variables with a path.
        argument: Name of the argument that an error is about.

    Raises:
        ValueError: If a pattern matches no path, or two match the same.
    """
    if not isinstance(penalty, Mapping):
        reaches_all = getattr(penalty, "is_constraint", False)
        return [
            penalty if is_kernel(v) and (reaches_all or not is_embedding(v)) else None
            for v in variables
        ]
    paths = [variable.path for variable in variables]
    listing = "\n  ".join(paths)
    chosen: dict[str, str] = {}
    deadline = time.monotonic() + MATCHING_SECONDS
    for pattern in penalty:
        matches = _matching(pattern, paths, deadline, argument)
        if not matches:
            raise invalid_value(
                argument, f"patterns that match one of the paths\n  {listing}\n{ADVICE}", pattern
            )
        for path in matches:  # Weights of the same path come twice.
            first = chosen.setdefault(path, pattern)
            if first != pattern:
                expected = f"one pattern for the weight `{path}`; narrow one of the two"
                raise invalid_value(argument, expected, (first, pattern))
    return [penalty[chosen[path]] if path in chosen else None for path in paths]


def owning_layers(model: Any) -> dict[int, Any]:
    """The innermost layer that each variable of a model belongs to, by its identity."""
    # Parents come first, so that the layer itself has the last word.
    return {id(variable): layer for layer in all_layers(model) for variable in layer.variables}


def penalties_on_layers(
    model: Any, penalty: Penalty | Mapping[str, Penalty]
) -> Penalty | dict[str, Penalty]:
    """The penalties for a model's weights, with what only their layers can tell.

    Args:
        model: A built model.
        penalty: One penalty, or a map from patterns.

    Returns:
        The same, or another map if one penalty is not the same on all of its weights.

    Raises:
        ValueError: As `match_penalties`, or if a layer cannot tell it.
    """
    check_built(model)
    variables, owners = model.trainable_variables, owning_layers(model)
    patterns: Any = {key: key for key in penalty} if isinstance(penalty, Mapping) else {}
    matched = match_penalties(penalty, variables)
    chosen = {
        id(variable): each.on_layer(owners[id(variable)], variable)
        for variable, each in zip(variables, matched, strict=True)
        if each is not None
    }
    of_key: dict[str | None, set[Penalty]] = defaultdict(set)
    keys = match_penalties(patterns, variables) if patterns else [None] * len(variables)
    for variable, key in zip(variables, keys, strict=True):
        if id(variable) in chosen:
            of_key[key].add(chosen[id(variable)])
    if any(len(several) > 1 for several in of_key.values()):
        weights = [variable for variable in variables if id(variable) in chosen]
        return {find_pattern(model, w, chosen): chosen[id(w)] for w in weights}
    if isinstance(penalty, Penalty):
        return next(iter(of_key[None]), penalty)
    return {key: next(iter(of_key[key])) for key in patterns}


def acting_after_updates(
    optimizers: Iterable[Any], whole: Any, trained: Sequence[Any]
) -> Iterator[tuple[Any, Penalty, Any]]:
    """The weights on which a `Proximal` acts, each with the penalty and that optimizer.

    Args:
        optimizers: Optimizers that train a model; a `Proximal` may be inside of one.
        whole: The one among them that trains all weights, also if it is not built yet.
        trained: The weights that are trained.
    """
    for each in optimizers:
        for optimizer, weights in optimizers_within(each, trained if each is whole else None):
            if not hasattr(optimizer, "penalties_of"):  # no `Proximal`
                continue
            weights = trained if optimizer.built else weights or []
            penalties = optimizer.penalties_of(weights) if weights else []
            for weight, penalty in zip(weights, penalties, strict=True):
                if penalty is not None:
                    yield weight, penalty, optimizer


def _matching(pattern: str, paths: Sequence[str], deadline: float, argument: str) -> list[str]:
    """The paths that a pattern matches; raises if that takes too long.

    A file that is loaded has patterns and paths of somebody else, who may mean ill: `re` would
    take years for `(a+)+b` on a long name.
    """
    compiled, found = regex.compile(_as_in_re(pattern)), []
    try:
        for path in paths:
            left = max(deadline - time.monotonic(), 1e-3)
            if compiled.fullmatch(path, timeout=left):
                found.append(path)
        return found
    except TimeoutError:
        expected = (
            f"patterns that are matched within {MATCHING_SECONDS:g} seconds; repeat nothing that "
            "repeats itself"
        )
        raise invalid_value(argument, expected, pattern) from None


def _as_in_re(pattern: str) -> str:
    """The pattern, with a backslash before what only `regex` reads as syntax.

    That is a brace, for an approximate match, and a bracket in a set, for a class of POSIX.
    """

    def escaped(token: re.Match[str]) -> str:
        text = token[0]
        if text.startswith("["):
            return "[" + re.sub(r"\\.|\[", lambda m: r"\[" if m[0] == "[" else m[0], text[1:])
        return r"\{" if text == "{" else text

    return _TOKEN.sub(escaped, pattern)


def find_pattern(model: Any, variable: Any, penalties: Mapping[int, Penalty]) -> str:
    """The shortest pattern for a weight that matches none of another penalty."""
    layers = all_layers(model)
    cells = {layer.cell.path for layer in layers if isinstance(layer, _WITH_OWN_CELL)}

    def kind(v: Any) -> tuple[Penalty | None, bool]:
        return penalties.get(id(v)), v.path.rpartition("/")[0] in cells

    own = kind(variable)
    for pattern in _candidates(model.name, variable.path, in_cell=own[1]):
        own_pattern = re.compile(pattern)
        if all(kind(v) == own for v in model.weights if own_pattern.fullmatch(v.path)):
            return pattern
    raise ValueError(
        f"Invalid penalty on weight `{variable.path}`. Expected the same on all weights of this "
        "path, as no pattern can tell them apart; give their layers different names. Received: "
        f"penalty={penalties.get(id(variable))!r}"
    )


def _candidates(model_name: str, path: str, in_cell: bool) -> Iterator[str]:
    """Patterns for a path, from those that last to those that match little else.

    A loaded model's paths have lost their beginning: the model's name, and also the names of
    models and wrappers in it. A layer's own name and what it builds itself stay.
    """
    own = path.removeprefix(f"{model_name}/")
    *layers, name = map(re.escape, own.split("/"))
    if in_cell:
        cell = re.sub(r"_\d+$", "", layers.pop())
        name = rf"{cell}(_\d+)?/{name}"
    for start in reversed(range(len(layers))):
        yield "/".join(["(.*/)?" + layers[start], *layers[start + 1 :], name])
    yield f"({re.escape(model_name)}/)?" + "/".join([*layers, name])
    yield re.escape(path)
