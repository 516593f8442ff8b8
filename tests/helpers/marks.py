"""What the README's test command leaves to CI."""

import pytest


def slow(*values, id=None):
    """A case of a parametrized test that repeats, at more length, what its other cases guard."""
    return pytest.param(*values, id=id, marks=pytest.mark.slow)
