"""Which penalty acts on which weight: regular expressions on the path."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import keras

from kerasreg._checks import check_built, check_pattern, invalid_value
from kerasreg._keras_internals import all_layers, optimizers_within
from kerasreg.regularizers.base import Penalty
from kerasreg.regularizers.path_patterns import PathMatcher

P = TypeVar("P", bound=Callable[..., Any])  # A regularizer; Keras is not typed.

# They make a cell of their own, which is numbered afresh in a loaded model.
_WITH_OWN_CELL = (keras.layers.LSTM, keras.layers.GRU, keras.layers.SimpleRNN)


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
        penalty: One penalty for all kernels, but not for embeddings unless it is a constraint, or
            for the weights that it names itself; or a map from patterns on `variable.path`.
        variables: Variables with a path.
        argument: Name of the argument that an error is about.

    Raises:
        ValueError: If a pattern matches no path, or two match the same.
    """
    if isinstance(penalty, Mapping):
        chosen = match_patterns(penalty, variables, argument)
        return [penalty[chosen[v.path]] if v.path in chosen else None for v in variables]
    named = getattr(penalty, "patterns", None)
    if named is not None:
        paths = _named(named, [v.path for v in variables], PathMatcher(argument))
        return [penalty if v.path in paths else None for v in variables]
    reaches_all = getattr(penalty, "is_constraint", False)
    return [
        penalty if is_kernel(v) and (reaches_all or not is_embedding(v)) else None
        for v in variables
    ]


def match_patterns(
    penalties: Mapping[str, Any], variables: Sequence[Any], argument: str = "penalty"
) -> dict[str, str]:
    """The pattern that chooses each path, of those that one does.

    Where a penalty names its weights itself, its pattern chooses among these.
    """
    paths = [variable.path for variable in variables]
    matcher, chosen = PathMatcher(argument), dict[str, str]()
    for pattern, penalty in penalties.items():
        matches = matcher.some_matches(pattern, paths)
        named = getattr(penalty, "patterns", None)
        if named is not None:
            matches = _named(named, matches, matcher)
        for path in matches:  # Weights of the same path come twice.
            first = chosen.setdefault(path, pattern)
            if first != pattern:
                expected = f"one pattern for the weight `{path}`; narrow one of the two"
                raise invalid_value(argument, expected, (first, pattern))
    return chosen


def _named(patterns: Iterable[str], paths: list[str], matcher: PathMatcher) -> list[str]:
    """The paths that any of a penalty's own patterns matches; raises where one matches none."""
    found = {path for pattern in patterns for path in matcher.some_matches(pattern, paths)}
    return [path for path in paths if path in found]


def owning_layers(model: Any) -> dict[int, Any]:
    """The innermost layer that each variable of a model belongs to, by its identity."""
    # Parents come first, so that the layer itself has the last word.
    return {id(variable): layer for layer in all_layers(model) for variable in layer.variables}


def checked_penalties(
    argument: str, given: Any, check: Callable[[Any], Penalty]
) -> Penalty | dict[str, Penalty]:
    """One penalty, or a dict of penalties by valid patterns, each as `check` returns it.

    Raises:
        ValueError: If a pattern is not valid, or `check` raises.
    """
    if not isinstance(given, Mapping):
        return check(given)
    if not given or not all(isinstance(pattern, str) for pattern in given):
        raise invalid_value(argument, "a penalty, or a dict from patterns to penalties", given)
    for pattern in given:
        check_pattern(argument, pattern)
    return {pattern: check(value) for pattern, value in given.items()}


def penalties_on_layers(
    model: Any, penalty: Penalty | Mapping[str, Penalty], argument: str = "penalty"
) -> Penalty | dict[str, Penalty]:
    """The penalties for a model's weights, with what only their layers can tell.

    Args:
        model: A built model.
        penalty: One penalty, or a map from patterns.
        argument: Name of the argument that an error is about.

    Returns:
        The same, or another map if one penalty is not the same on all of its weights.

    Raises:
        ValueError: As `match_penalties`, or if a layer cannot tell it.
    """
    check_built(model)
    variables, owners = model.trainable_variables, owning_layers(model)
    patterns: Any = penalty if isinstance(penalty, Mapping) else {}
    matched = match_penalties(penalty, variables, argument)
    of_penalty: dict[Penalty, list[tuple[Any, Any]]] = defaultdict(list)
    for variable, each in zip(variables, matched, strict=True):
        if each is not None:
            of_penalty[each].append((owners[id(variable)], variable))
    chosen = {
        id(variable): told
        for each, pairs in of_penalty.items()
        for (_, variable), told in zip(pairs, each.on_layers(model, pairs), strict=True)
    }
    of_key: dict[str | None, set[Penalty]] = defaultdict(set)
    keys = match_patterns(patterns, variables, argument)
    for variable in variables:
        if id(variable) in chosen:
            of_key[keys.get(variable.path)].add(chosen[id(variable)])
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
