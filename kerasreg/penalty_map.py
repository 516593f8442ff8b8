"""Which penalty acts on which weight: regular expressions on the path."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import keras

from kerasreg._checks import invalid_value
from kerasreg.regularizers import L1, L2, ElasticNet, GroupLasso, Penalty

PenaltyMap: TypeAlias = dict[str, Penalty]

ADVICE = (
    "A pattern must match the whole path; start it with `.*` to leave the model's name open, "
    "which changes from one model to the next, and which a loaded model's paths do not have"
)


def to_penalty(argument: str, regularizer: Any) -> Penalty:
    """The penalty that a Keras regularizer stands for; raises if it has no proximal operator."""
    if isinstance(regularizer, Penalty):
        return regularizer
    if isinstance(regularizer, keras.regularizers.L1):
        return L1(float(regularizer.l1))
    if isinstance(regularizer, keras.regularizers.L2):
        return L2(float(regularizer.l2))
    if isinstance(regularizer, keras.regularizers.L1L2):
        return ElasticNet(1.0, float(regularizer.l1), float(regularizer.l2))
    raise invalid_value(
        argument, "a kerasreg penalty, or L1, L2 or L1L2 of keras.regularizers", regularizer
    )


def is_smooth(regularizer: Any) -> bool:
    """Whether a layer's regularizer has a gradient everywhere, so that no zeros are its aim."""
    if isinstance(regularizer, ElasticNet):
        return regularizer.alpha * regularizer.l1 == 0
    if isinstance(regularizer, (L1, keras.regularizers.L1, keras.regularizers.L1L2)):
        return float(regularizer.l1) == 0
    return not isinstance(regularizer, GroupLasso)


def is_kernel(variable: Any) -> bool:
    """Whether a variable is a weight that a bare penalty acts on: no bias, no gain."""
    return len(variable.shape) >= 2 and "bias" not in variable.name


def match_penalties(
    penalty: Penalty | Mapping[str, Penalty], variables: Sequence[Any]
) -> list[Penalty | None]:
    """The penalty of each variable.

    Args:
        penalty: One penalty for all kernels, or a map from patterns on `variable.path`.
        variables: Variables with a path.

    Returns:
        A list as long as `variables`, `None` where no penalty acts.

    Raises:
        ValueError: If a pattern matches no path, or two match the same.
    """
    if isinstance(penalty, Penalty):
        return [penalty if is_kernel(variable) else None for variable in variables]
    paths = [variable.path for variable in variables]
    listing = "\n  ".join(paths)
    chosen: dict[str, str] = {}
    for pattern in penalty:
        matches = [path for path in paths if re.fullmatch(pattern, path)]
        if not matches:
            raise invalid_value(
                "penalty", f"patterns that match one of the paths\n  {listing}\n{ADVICE}", pattern
            )
        for path in matches:
            if path in chosen:
                both = (chosen[path], pattern)
                raise invalid_value("penalty", f"one pattern for the weight `{path}`", both)
            chosen[path] = pattern
    return [penalty[chosen[path]] if path in chosen else None for path in paths]
