"""Structured TopK on single weights: exactly the number asked, and the largest units."""

import keras
import numpy as np
import pytest
from helpers import pruned
from helpers.backends import to_numpy
from helpers.marks import slow
from hypothesis import given, settings
from hypothesis import strategies as st

import kerasreg as kr

NORMS = {
    "axis": lambda w, axis: pruned.slice_norms(w, np.atleast_1d(axis)),
    "block": pruned.block_norms,
}
SHAPES = [
    ({"axis": -1}, (6, 5)),
    ({"axis": 0}, (7, 3)),
    ({"block": (4, 1)}, (10, 3)),
    slow({"axis": (0, -1)}, (3, 2, 4)),
    slow({"axis": -2}, (3, 3, 5, 4)),
    slow({"block": (2, 2)}, (3, 5, 5)),
    slow({"block": (3,)}, (10,)),
    slow({"block": (9, 9)}, (2, 3)),
]


def numbers(seed, shape, kind):
    rng = np.random.default_rng(seed)
    if kind == "ties":
        return rng.integers(-1, 2, size=shape).astype("float32")
    return (rng.normal(size=shape) * 10.0 ** rng.uniform(-12, 12, size=shape)).astype("float32")


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(("shape", "size"), SHAPES)
@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    sparsity=st.sampled_from([0.0, 0.3, 0.5, 0.75, 0.9, 1.0]),
    kind=st.sampled_from(["ties", "wide"]),
)
def test_the_largest_units_are_kept(shape, size, seed, sparsity, kind):
    [(name, value)] = shape.items()
    w = numbers(seed, size, kind)
    z = to_numpy(kr.TopK(sparsity, **shape).prox(w, 1.0))
    before, after = (NORMS[name](each.astype("float64"), value) for each in (w, z))
    kept = after > 0
    # Units of zeros may be among the kept ones.
    count = min(pruned.share(before.size, sparsity), np.count_nonzero(before))
    assert np.count_nonzero(kept) == count
    np.testing.assert_array_equal(z[z != 0], w[z != 0])
    np.testing.assert_allclose(after[kept], before[kept])
    if 0 < count < before.size:
        assert before[kept].min() >= before[~kept].max() * (1 - 1e-6)


RUNS = [
    ("2:4", (8, 3), -2),
    ("1:4", (10, 2), -2),
    slow("3:5", (3, 3, 7, 2), -2),
    slow("2:4", (4, 9), -1),
    slow("1:2", (5,), 0),
]


@pytest.mark.parametrize(("pattern", "size", "axis"), RUNS)
@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10_000), kind=st.sampled_from(["ties", "wide"]))
def test_of_every_run_the_largest_are_kept(pattern, size, axis, seed, kind):
    n, m = map(int, pattern.split(":"))
    w = numbers(seed, size, kind)
    axes = {} if axis == -2 else {"axis": axis}
    z = to_numpy(kr.TopK(pattern=pattern, **axes).prox(w, 1.0))
    before, after = (pruned.run_counts(each, m, axis) for each in (w, z))
    np.testing.assert_array_equal(after, np.minimum(before, n))
    np.testing.assert_array_equal(z[z != 0], w[z != 0])
    flat = np.moveaxis(np.abs(w), axis, -1).reshape(-1, size[axis])
    left = np.moveaxis(np.abs(z), axis, -1).reshape(-1, size[axis])
    for row, rest in zip(flat, left, strict=True):
        for start in range(0, size[axis], m):
            run = np.sort(row[start : start + m])[::-1]
            np.testing.assert_array_equal(np.sort(rest[start : start + m])[::-1][:n], run[:n])


def test_a_broken_weight_is_not_hidden():
    z = to_numpy(kr.TopK(pattern="1:4", axis=0).prox(np.array([3, 2, np.nan, 1], "float32"), 1.0))
    np.testing.assert_array_equal(z, [0, 0, np.nan, 0])


def test_runs_may_be_long():
    w = np.random.default_rng(0).normal(size=(512, 3)).astype("float32")
    z = to_numpy(kr.TopK(pattern="100:256").prox(w, 1.0))
    np.testing.assert_array_equal(pruned.run_counts(z, 256, 0), [100] * 6)
    for kept, entries in zip(z.reshape(2, 256, 3), w.reshape(2, 256, 3), strict=True):
        least = np.sort(np.abs(entries), axis=0)[-100]
        np.testing.assert_array_equal(kept, np.where(np.abs(entries) >= least, entries, 0))


@pytest.mark.parametrize("length", [4, 32])  # compared in pairs, and sorted
def test_of_equal_entries_of_a_run_the_first_ones_are_kept(length):
    z = to_numpy(kr.TopK(pattern=f"2:{length}").prox(np.ones((2 * length, 1), "float32"), 1.0))
    np.testing.assert_array_equal(z.reshape(2, length), [[1, 1] + [0] * (length - 2)] * 2)


@pytest.mark.parametrize(
    ("shape", "allowed"),
    [
        ({"sparsity": 0.5, "axis": -1}, [[1, 0], [2, 0]]),
        ({"sparsity": 0.5, "block": (2, 1)}, [[0, 1], [0, 2]]),
        ({"pattern": "1:2"}, [[1, 0], [0, 2]]),
    ],
)
def test_the_value_says_whether_it_holds(shape, allowed):
    penalty = kr.TopK(**shape)
    assert float(to_numpy(penalty(np.array(allowed, "float32")))) == 0
    assert float(to_numpy(penalty(np.ones((2, 2), "float32")))) == np.inf


COUNTED = [
    ({"axis": 0}, (7, 3), lambda w: pruned.slice_norms(w, [0]) == 0),
    ({"axis": (0, -1)}, (3, 2, 4), lambda w: pruned.slice_norms(w, [0, -1]) == 0),
    ({"block": (4, 1)}, (10, 3), lambda w: pruned.block_norms(w, (4, 1)) == 0),
    ({"block": (2, 3)}, (2, 5, 7), lambda w: pruned.block_norms(w, (2, 3)) == 0),
    ({"block": (9, 9)}, (2, 3), lambda w: pruned.block_norms(w, (9, 9)) == 0),
    ({"pattern": "2:4"}, (10, 3), lambda w: pruned.run_counts(w, 4, -2) <= 2),
    ({"pattern": "1:4", "axis": -1}, (3, 9), lambda w: pruned.run_counts(w, 4, -1) <= 1),
    ({}, (4, 5), lambda w: w == 0),
]


@pytest.mark.parametrize(("shape", "size", "zero"), COUNTED)
@pytest.mark.parametrize("density", [0.0, 0.2, 1.0])
def test_units_that_are_zero_are_counted(shape, size, zero, density):
    w = np.random.default_rng(0).random(size) < density
    sparsity = {} if "pattern" in shape else {"sparsity": 0.5}
    structure = kr.TopK(**sparsity, **shape).structure([size], [""])
    expected = zero(w.astype("float64"))
    assert (structure.count([w]), structure.number()) == (np.sum(expected), np.size(expected))


SHAPED = [
    kr.TopK(0.5, axis="output"),
    kr.TopK(0.5, axis=(0, -1)),
    kr.TopK(0.5, block=[4, 1]),
    kr.TopK(pattern="2:4", initial_sparsity=0.25, end_step=5),
    kr.TopK(0.5, scope="global", axis=0, cost="macs", layout=[["a/kernel", [-1], 9]]),
    kr.TopK(0.5, saliency="taylor", groups=kr.Groups.from_labels([(".*a", 0, 3), (".*b", 1, 3)])),
]


@pytest.mark.parametrize("penalty", SHAPED, ids=repr)
def test_configuration_round_trips(penalty):
    assert keras.regularizers.get(keras.regularizers.serialize(penalty)) == penalty
    assert hash(penalty) == hash(keras.regularizers.get(keras.regularizers.serialize(penalty)))


def test_words_are_those_of_before_where_nothing_new_is_asked():
    assert repr(kr.TopK(0.5)) == (
        "TopK(sparsity=0.5, scope='weight', saliency='magnitude', initial_sparsity=0.0, "
        "begin_step=0, end_step=0, power=3.0, frequency=100, freeze=True)"
    )
    assert "layout" not in repr(SHAPED[4])


GROUPS = kr.Groups.from_labels([(".*", 0, 3)])


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        ({}, "sparsity"),
        ({"sparsity": 0.4, "pattern": "2:4"}, "sparsity"),
        ({"pattern": "4:2"}, "pattern"),
        ({"pattern": "0:4"}, "pattern"),
        ({"pattern": "4:4"}, "pattern"),
        ({"pattern": "2/4"}, "pattern"),
        ({"pattern": 24}, "pattern"),
        ({"pattern": "2:4", "scope": "global"}, "scope"),
        ({"pattern": "2:4", "axis": "output"}, "axis"),
        ({"pattern": "2:4", "block": (4, 1)}, "block"),
        ({"sparsity": 0.5, "axis": "rows"}, "axis"),
        ({"sparsity": 0.5, "axis": 1.5}, "axis"),
        ({"sparsity": 0.5, "axis": -1, "block": (4, 1)}, "axis"),
        ({"sparsity": 0.5, "block": 4}, "block"),
        ({"sparsity": 0.5, "block": ()}, "block"),
        ({"sparsity": 0.5, "block": (0, 1)}, "block"),
        ({"sparsity": 0.5, "groups": "all"}, "groups"),
        ({"sparsity": 0.5, "groups": GROUPS, "axis": 0}, "axis"),
        ({"sparsity": 0.5, "cost": "macs"}, "cost"),
        ({"sparsity": 0.5, "cost": "bytes"}, "cost"),
        ({"sparsity": 0.5, "saliency": "wanda"}, "saliency"),
        ({"sparsity": 0.5, "axis": "output", "layout": [["a"]]}, "layout"),
        ({"sparsity": 0.5, "axis": "output", "layout": [["a", "b", 1]]}, "layout"),
    ],
)
def test_bad_arguments(arguments, argument):
    with pytest.raises(ValueError, match=f"argument `{argument}`. Expected.*Received: {argument}="):
        kr.TopK(**arguments)


@pytest.mark.slow
def test_a_layout_of_somebody_else_does_not_hang():
    penalty = kr.TopK(0.5, axis="output", layout=[["((a|aa)+)+", [-1], 1]])
    with keras.name_scope("a" * 60 + "b"):
        variables = [keras.Variable(np.ones((2, 2)), name="kernel")]
    with pytest.raises(ValueError, match="`layout`. Expected patterns that are matched within"):
        kr.Proximal("sgd", penalty).build(variables)


@pytest.mark.parametrize(
    ("shape", "word"),
    [({"axis": 2}, "axis"), ({"block": (1, 1, 1)}, "block"), ({"axis": "heads"}, "axis")],
)
def test_a_weight_that_cannot_be_divided_so_is_named(shape, word):
    variables = [keras.Variable(np.ones((2, 2)), name="kernel")]
    optimizer = kr.Proximal("sgd", kr.TopK(0.5, **shape))
    with pytest.raises(ValueError, match=f"argument `{word}` of TopK on weight `.*kernel`"):
        optimizer.build(variables)
