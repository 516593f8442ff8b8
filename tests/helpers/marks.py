"""What the README's test command leaves to CI."""

import pytest


def slow(*values, id=None):
    """A case of a parametrized test that repeats, at more length, what its other cases guard."""
    return pytest.param(*values, id=id, marks=pytest.mark.slow)


def first_is_fast(cases):
    """The first of the cases of one argument, and the others as slow ones."""
    first, *others = cases
    return [first, *map(slow, others)]
