"""What counts as one: a weight, a slice or a group in several weights."""

import keras
import numpy as np
import pytest
from helpers.backends import to_numpy

import kerasreg as kr
from kerasreg.callbacks.penalised_units import PenalisedUnits

# Two columns of the kernel, each with its bias; the third column is in no group.
COLUMNS = kr.Groups.from_labels([("kernel", 1, 2), ("bias", 0, 2)])


def weights():
    kernel = np.array([[3.0, 0.0, 1.0], [4.0, 0.0, 0.0]])
    bias = [0.0, 0.0, 5.0]
    return keras.Variable(kernel, name="kernel"), keras.Variable(bias, name="bias")


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(
    ("penalty", "sizes"),
    [
        (kr.L1(), [3, 0, 1, 4, 0, 0]),
        (kr.SparseGroupLasso(), [3, 0, 1, 4, 0, 0]),
        (kr.GroupLasso(), [np.inf, 0, np.sqrt(0.5)]),
        (kr.SparseGroupLasso(l1_ratio=0.0), [np.inf, 0, np.sqrt(0.5)]),
        (kr.BlockMCP(axis=0), [np.sqrt(10 / 3), np.inf]),
        (kr.GroupLasso(groups=COLUMNS), [np.inf, 0]),
    ],
    ids=str,
)
def test_units_of_a_penalty(penalty, sizes):
    kernel, bias = weights()
    variables = [kernel, bias] if penalty.spans_weights else [kernel]
    units = PenalisedUnits([(v, penalty) for v in variables])
    assert units.count == len(sizes) and units.are_known
    assert units.are_groups == (units.count < kernel.value.shape[0] * 3)
    assert units.zero_fraction() == np.mean(np.equal(sizes, 0))
    np.testing.assert_allclose(units.sizes(), sizes, rtol=1e-6)


@pytest.mark.slow
def test_all_units_of_several_penalties_count_together():
    (kernel, bias), single = weights(), keras.Variable([0.0, 1.0])
    lasso, groups = kr.L1(), kr.GroupLasso(groups=COLUMNS)
    units = PenalisedUnits([(kernel, groups), (single, lasso), (bias, groups)])
    assert units.count == 4 and units.zero_fraction() == 0.5
    assert units.in_groups.tolist() == [True, True, False, False]
    before = units.values()
    units.replace(np.array([True, False, False, True]), [0.0] * 3)
    np.testing.assert_array_equal(to_numpy(kernel), [[0, 0, 1], [0, 0, 0]])
    np.testing.assert_array_equal(to_numpy(bias), [0, 0, 5])  # That of no group stays.
    np.testing.assert_array_equal(to_numpy(single), [0, 0])
    units.replace(np.array([True, True, True, False]), before)
    np.testing.assert_array_equal(to_numpy(kernel), to_numpy(weights()[0]))
    np.testing.assert_array_equal(to_numpy(single), [0, 0])


def test_a_penalty_that_does_not_say_what_it_sets_to_zero():
    variable = keras.Variable([0.0, 1.0])
    units = PenalisedUnits([(variable, kr.SLOPE([0.2, 0.1]))])
    assert not units.are_known and not units.are_groups
    assert units.zero_fraction() == 0.5
