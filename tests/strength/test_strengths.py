"""The grid of strengths."""

import numpy as np
import pytest

from kerasreg.strength.checks import check_min_ratio, check_strengths
from kerasreg.strength.strengths import in_order, strength_grid


@pytest.mark.parametrize(("direction", "sign"), [("sparse_to_dense", -1), ("dense_to_sparse", 1)])
def test_equal_ratios_in_the_order_of_training(direction, sign):
    grid = np.array(strength_grid(8.0, 4, 1e-3, direction))
    np.testing.assert_allclose(np.sort(grid), [8e-3, 8e-2, 0.8, 8.0], rtol=1e-5)
    assert np.all(np.sign(np.diff(grid)) == sign)
    assert grid.max() > 8.0, "so that rounding leaves no weight at the first"


def test_one_strength_is_the_largest():
    np.testing.assert_allclose(strength_grid(8.0, 1, 1e-3, "sparse_to_dense"), [8.0], rtol=1e-5)


@pytest.mark.parametrize("largest", [0.0, np.inf, np.nan])
def test_without_a_largest_strength(largest):
    with pytest.raises(ValueError, match="`strengths`.*gradient"):
        strength_grid(largest, 4, 1e-3, "sparse_to_dense")


@pytest.mark.parametrize("strengths", [[1, 2, 3.5], (3.0, 1e-9), np.array([5.0])])
def test_valid_strengths(strengths):
    assert check_strengths(strengths) == [float(s) for s in strengths]
    assert in_order(check_strengths(strengths), "dense_to_sparse") == sorted(strengths)
    assert in_order(strengths, "sparse_to_dense") == sorted(strengths, reverse=True)


@pytest.mark.parametrize(
    ("strengths", "message"),
    [
        ([], "positive numbers"),
        ([1.0, 0.0], "positive numbers"),
        ([1.0, -1.0], "positive numbers"),
        ([1.0, np.inf], "positive numbers"),
        ([1.0, np.nan], "positive numbers"),
        (["1"], "positive numbers"),
        ([True], "positive numbers"),
        ([1.0, 3.0, 2.0], "sorted"),
        ([1.0, 1.0], "none of them twice"),
        ("123", "sequence"),
        (0.5, "sequence"),
    ],
)
def test_invalid_strengths(strengths, message):
    with pytest.raises(ValueError, match=f"argument `strengths`.*{message}"):
        check_strengths(strengths)


@pytest.mark.parametrize("ratio", [0, 1, 1.5, -1, "a"])
def test_invalid_ratio(ratio):
    with pytest.raises(ValueError, match="`min_ratio`"):
        check_min_ratio(ratio)
