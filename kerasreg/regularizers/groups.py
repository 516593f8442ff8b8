"""Groups of weights of one's own making."""

from __future__ import annotations

import base64
import binascii
import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
import numpy as np
import numpy.typing as npt

from kerasreg._checks import check_axis, check_integer, check_pattern, invalid_value, is_number
from kerasreg.regularizers.path_patterns import PathMatcher

Labels = npt.NDArray[np.int32]

NO_GROUP = -1
_LIMIT = 2**31 - 1


class Place(NamedTuple):
    """Slices of weights, each with the number of its group.

    Args:
        pattern: Regular expression for the whole path of the weights.
        axis: The axis that numbers the slices.
        labels: The group of each slice as a 32-bit integer, -1 for none; beyond the end none.
    """

    pattern: str
    axis: int
    labels: bytes

    def of_slices(self) -> Labels:
        """The labels as an array."""
        return np.frombuffer(self.labels, "<i4")


@keras.saving.register_keras_serializable("kerasreg")
@dataclass(frozen=True, init=False, repr=False)
class Groups:
    """Groups of slices of several weights, each of which becomes zero as a whole.

    For `GroupLasso(groups=...)`. A group may have slices of a kernel, of its bias and of the next
    layer's kernel, so that a unit dies with all that leads to it and from it. What is in no group
    is not penalised.

    Args:
        groups: A list of groups, each a list of parts `(pattern, axis, indices)`: the slices
            number `indices` (an integer or several) along `axis` of every weight whose whole
            `variable.path` the regular expression `pattern` matches.

    Raises:
        ValueError: If an argument is invalid or a slice is in two groups; and when the weights are
            known, if a pattern matches none of them, an index is out of range, or two groups share
            entries of a weight, as a row and a column do: groups that overlap have no proximal
            operator that acts on each of them by itself.

    Example:
    >>> unit = [(".*first/kernel", 1, 0), (".*first/bias", 0, 0), (".*second/kernel", 0, 0)]
    >>> other = [(".*first/kernel", 1, 1), (".*first/bias", 0, 1), (".*second/kernel", 0, 1)]
    >>> kerasreg.Groups([unit, other])
    Groups(2 groups, 3 patterns)
    >>> kerasreg.Groups.from_labels(
    ...     [(".*first/kernel", 1, 2), (".*first/bias", 0, 2), (".*second/kernel", 0, 2)]
    ... ) == kerasreg.Groups([unit, other])
    True
    """

    places: tuple[Place, ...]

    def __init__(self, groups: Iterable[Iterable[tuple[str, int, Any]]]) -> None:
        slices: dict[tuple[str, int], dict[int, int]] = {}
        for number, group in enumerate(_listed(groups)):
            for part in _listed(group):
                pattern, axis, indices = _checked_part(part)
                labels = slices.setdefault((pattern, axis), {})
                for index in indices:
                    if labels.setdefault(index, number) != number:
                        expected = f"groups that do not overlap, as slice {index} is in two"
                        raise invalid_value("groups", expected, (pattern, axis, index))
        places = []
        for (pattern, axis), labels in slices.items():
            array = np.full(max(labels) + 1, NO_GROUP, "<i4")
            array[list(labels)] = list(labels.values())
            places.append(Place(pattern, axis, array.tobytes()))
        self._set(places)

    @classmethod
    def from_labels(cls, places: Iterable[tuple[str, int, Any]]) -> Groups:
        """The groups from the number of each slice's group: slices of one number die together.

        Args:
            places: A list of `(pattern, axis, labels)`. `labels` has for each slice along `axis`
                the number of its group, -1 for none; an integer `n` stands for `range(n)`: slice
                `i` of each such place belongs to group `i`.

        Returns:
            The groups.

        Example:
        >>> channels = np.tile(np.arange(8), 49)  # as `Flatten` lines up 7 x 7 positions
        >>> kerasreg.Groups.from_labels([(".*conv/kernel", -1, 8), (".*dense/kernel", 0, channels)])
        Groups(8 groups, 2 patterns)
        """
        checked = [_checked_place(place) for place in _listed(places)]
        if len({place[:2] for place in checked}) < len(checked):
            raise invalid_value("places", "each pair of a pattern and an axis once", checked)
        groups = cls.__new__(cls)
        groups._set(checked)
        return groups

    def _set(self, places: Sequence[Place]) -> None:
        if not any(np.any(place.of_slices() >= 0) for place in places):
            raise invalid_value("groups", "groups with at least one slice", list(places))
        object.__setattr__(self, "places", tuple(places))

    def __len__(self) -> int:
        return 1 + max(int(place.of_slices().max(initial=NO_GROUP)) for place in self.places)

    def __repr__(self) -> str:
        return f"Groups({len(self):,} groups, {len(self.patterns):,} patterns)"

    @property
    def patterns(self) -> tuple[str, ...]:
        """The patterns of the weights, each once."""
        return tuple(dict.fromkeys(place.pattern for place in self.places))

    def labels_of(self, path: str, shape: Sequence[int], where: str = "") -> Labels:
        """The group of each entry of a weight.

        Args:
            path: The weight's path.
            shape: Its shape.
            where: What an error says of the argument, as in `invalid_value`.

        Returns:
            An array that broadcasts to `shape`; -1 for entries without a group.

        Raises:
            ValueError: If a slice does not exist, or two groups share an entry.
        """
        found: Labels = np.full((1,) * len(shape), NO_GROUP, np.int32)
        matcher = PathMatcher("groups")
        for place in self.places:
            if not matcher.matches(place.pattern, [path]):
                continue
            axis, given = check_axis("groups", place.axis, shape, where), place.of_slices()
            if np.any(given[shape[axis] :] >= 0):
                expected = f"indices below {shape[axis]} along axis {place.axis}"
                last = int(np.flatnonzero(given >= 0)[-1])
                raise invalid_value("groups", expected, (place.pattern, place.axis, last), where)
            labels = np.full(shape[axis], NO_GROUP, np.int32)
            labels[: len(given)] = given[: shape[axis]]
            labels = labels.reshape([-1 if i == axis else 1 for i in range(len(shape))])
            if np.any((found >= 0) & (labels >= 0) & (found != labels)):
                expected = "groups that do not overlap: no two may share entries of a weight"
                raise invalid_value("groups", expected, (place.pattern, place.axis), where)
            found = np.maximum(found, labels)
        return found

    def get_config(self) -> dict[str, Any]:
        """The places, their labels in base64."""
        return {"places": [[p, axis, _encoded(labels)] for p, axis, labels in self.places]}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Groups:
        """Makes groups from `get_config`."""
        try:
            places = [(p, axis, _decoded(text)) for p, axis, text in config["places"]]
        except (TypeError, KeyError, ValueError, AttributeError):
            expected = "what `get_config` of a `Groups` returns"
            raise invalid_value("config", expected, type(config)) from None
        return cls.from_labels(places)


class OnGroups:
    """What penalties share that take `groups`, or `None` to act on each weight by itself."""

    groups: Groups | None

    @property
    def patterns(self) -> tuple[str, ...] | None:
        """Regular expressions for the paths of the weights that `groups` name."""
        return None if self.groups is None else self.groups.patterns

    @property
    def spans_weights(self) -> bool:
        """Whether its groups may have parts in several weights."""
        return self.groups is not None

    def _check_alone(self, where: str = "") -> None:
        """Raises if one weight is seen by itself, whose groups may have parts in others."""
        if self.groups is not None:
            expected = (
                "None here, where one weight is seen by itself; `Proximal(optimizer, penalty)` "
                "acts on groups of one's own"
            )
            raise invalid_value("groups", expected, self.groups, where)


def checked_groups(given: Any) -> Groups | None:
    """The groups, which may come from a configuration; raises if it is something else."""
    groups = Groups.from_config(dict(given)) if isinstance(given, Mapping) else given
    if groups is not None and not isinstance(groups, Groups):
        raise invalid_value("groups", "a `kerasreg.Groups`, or None", groups)
    return groups


@functools.lru_cache(maxsize=32)
def labels_of_weights(
    groups: Groups, weights: tuple[tuple[str, tuple[int, ...]], ...]
) -> tuple[Labels, ...]:
    """The labels of the entries of each of several weights, given by path and shape."""
    return tuple(groups.labels_of(path, shape) for path, shape in weights)


def _listed(items: Any) -> list[Any]:
    if isinstance(items, (str, bytes)) or not isinstance(items, Iterable):
        raise invalid_value("groups", "lists of parts `(pattern, axis, indices)`", items)
    return list(items)


def _checked_part(part: Any) -> tuple[str, int, list[int]]:
    pattern, axis, indices = _unpacked(part, "indices")
    several = [indices] if is_number(indices) else _listed(indices)
    expected = "indices that are non-negative integers"
    return pattern, axis, [check_integer("groups", i, expected, 0) for i in several]


def _checked_place(place: Any) -> Place:
    pattern, axis, labels = _unpacked(place, "labels")
    if is_number(labels):
        labels = np.arange(check_integer("groups", labels, "a positive number of slices", 1))
    array = np.asarray(labels)
    if array.ndim != 1 or array.dtype.kind not in "iu" or array.size == 0:
        raise invalid_value("groups", "labels that are a list of integers", labels)
    if array.min() < NO_GROUP or array.max() >= _LIMIT:
        expected = "labels that are numbers of groups from 0, or -1 for none"
        raise invalid_value("groups", expected, int(min(array.min(), -array.max())))
    return Place(pattern, axis, array.astype("<i4").tobytes())


def _unpacked(part: Any, last: str) -> tuple[str, int, Any]:
    listed = _listed(part)
    if len(listed) != 3:
        raise invalid_value("groups", f"parts `(pattern, axis, {last})`", part)
    pattern, axis, rest = listed
    check_pattern("groups", pattern)
    return str(pattern), check_integer("groups", axis, "an axis that is an integer"), rest


def _encoded(labels: bytes) -> str:
    return base64.b64encode(labels).decode()


def _decoded(text: str) -> Labels:
    try:
        return np.frombuffer(base64.b64decode(text, validate=True), "<i4").astype(np.int32)
    except binascii.Error as error:
        raise ValueError(str(error)) from None
