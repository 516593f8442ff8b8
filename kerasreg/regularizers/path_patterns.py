"""Regular expressions on the paths of weights, which may come from a file of somebody else."""

from __future__ import annotations

import functools
import math
import re
import time
from collections.abc import Sequence
from typing import Any

import regex

from kerasreg._checks import invalid_value

# For all patterns and paths together, which take microseconds each.
MATCHING_SECONDS = 2.0

# An escape, a set, a repetition or a character of a regular expression.
_TOKEN = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\{(?:\d+(?:,\d*)?|,\d*)\}|.", re.DOTALL)

ADVICE = (
    "A pattern must match the whole path; start it with `.*` to leave the model's name open, "
    "which changes from one model to the next, and which a loaded model's paths do not have"
)


# `regex` writes out what is repeated so often, before it can be told to stop.
MOST_REPEATS = 1_000_000


class PathMatcher:
    """Finds the paths that patterns match as a whole; raises where that takes too long.

    A file that is loaded has patterns and paths of somebody else, who may mean ill: `re` would
    take years for `(a+)+b` on a long name.

    Args:
        argument: Name of the argument that an error is about.
    """

    def __init__(self, argument: str) -> None:
        self._argument = argument
        self._deadline = time.monotonic() + MATCHING_SECONDS

    def matches(self, pattern: str, paths: Sequence[str]) -> list[str]:
        """The paths that a pattern matches."""
        if _repeats(pattern) > MOST_REPEATS:
            expected = f"patterns that repeat {MOST_REPEATS:,} times at most, by counts in braces"
            raise invalid_value(self._argument, expected, pattern)
        compiled, found = _compiled(pattern), []
        try:
            for path in paths:
                left = max(self._deadline - time.monotonic(), 1e-3)
                if compiled.fullmatch(path, timeout=left):
                    found.append(path)
            return found
        except TimeoutError:
            expected = (
                f"patterns that are matched within {MATCHING_SECONDS:g} seconds; repeat nothing "
                "that repeats itself"
            )
            raise invalid_value(self._argument, expected, pattern) from None

    def some_matches(self, pattern: str, paths: Sequence[str]) -> list[str]:
        """The same; raises where there are none."""
        found = self.matches(pattern, paths)
        if not found:
            listing = "\n  ".join(paths)
            expected = f"patterns that match one of the paths\n  {listing}\n{ADVICE}"
            raise invalid_value(self._argument, expected, pattern)
        return found


def _repeats(pattern: str) -> int:
    """The counts of a pattern's repetitions, multiplied, as these may be nested."""
    counts = re.findall(r"\{(\d*),?(\d*)\}", pattern)
    return math.prod(max(1, *(int(count[:9]) for count in each if count)) for each in counts)


@functools.lru_cache(maxsize=4096)
def _compiled(pattern: str) -> Any:
    return regex.compile(_as_in_re(pattern))


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
