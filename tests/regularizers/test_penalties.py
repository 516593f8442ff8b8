"""One contract for all penalties: values, gradients, proximal operators, configuration.

A new penalty is one more row in `PENALTIES`.
"""

import dataclasses
import functools
import itertools
import json
import types

import hypothesis.extra.numpy as arrays
import keras
import numpy as np
import pytest
from helpers.backends import BACKEND, MODES, gradient, in_mode, to_numpy
from helpers.marks import first_is_fast
from helpers.references import reference
from hypothesis import given, settings
from hypothesis import strategies as st

import kerasreg as kr

FACTORS = np.random.default_rng(0).uniform(0.2, 3, size=72)
PENALTIES = [
    kr.L1(0.1),
    kr.L1(0.0),
    kr.L2(0.3),
    kr.ElasticNet(alpha=0.5, l1=0.2, l2=0.3),
    kr.ElasticNet(alpha=1.0, l1=0.0, l2=0.3),
    kr.ElasticNet(alpha=2.0, l1=0.1, l2=0.0),
    kr.GroupLasso(0.1),
    kr.GroupLasso(0.2, axis=0),
    kr.GroupLasso(0.1, axis=-2, size_scaling=False),
    kr.GroupLasso(0.0),
    kr.GroupLasso(0.1, positive=True),
    kr.SparseGroupLasso(0.1),
    kr.SparseGroupLasso(0.3, l1_ratio=0.8, axis=0, size_scaling=False),
    kr.SparseGroupLasso(0.2, l1_ratio=0.0, axis=-2),
    kr.SparseGroupLasso(0.2, l1_ratio=1.0),
    kr.SparseGroupLasso(0.0),
    kr.BlockMCP(0.1),
    kr.BlockMCP(0.3, gamma=4.0, axis=-2, size_scaling=False),
    kr.BlockMCP(0.5, gamma=0.4, axis=0),
    kr.BlockMCP(0.0),
    kr.BlockSCAD(0.1),
    kr.BlockSCAD(0.4, gamma=2.5, axis=0, size_scaling=False),
    kr.BlockSCAD(0.2, gamma=6.0, axis=-2),
    kr.MCP(0.1),
    kr.MCP(0.3, gamma=4.0),
    kr.MCP(0.5, gamma=0.4),
    kr.MCP(0.0),
    kr.L1(0.1, positive=True),
    kr.ElasticNet(0.5, 0.2, 0.3, positive=True),
    kr.MCP(0.3, gamma=2.0, positive=True),
    kr.SCAD(0.1),
    kr.SCAD(0.4, gamma=2.5),
    kr.SCAD(0.0),
    kr.LogSum(0.1),
    kr.LogSum(0.1, epsilon=2.0),
    kr.LogSum(0.0),
    kr.L0_5(0.1),
    kr.L0_5(0.0),
    kr.L2_3(0.1),
    kr.L2_3(0.0),
    kr.Weighted(kr.L1(0.1), 2.0),
    kr.Weighted(kr.ElasticNet(0.5, 0.2, 0.3), FACTORS[:5]),
    kr.Weighted(kr.MCP(0.3, gamma=2.0, positive=True), FACTORS[:6]),
    kr.Weighted(kr.SCAD(0.2), FACTORS.reshape(3, 4, 6)),
    kr.Weighted(kr.L0_5(0.1), FACTORS[:4].reshape(4, 1)),
    kr.SLOPE(np.linspace(0.2, 0.01, 216)),
    kr.SLOPE(np.linspace(0.5, 0.0, 30)),
    kr.SLOPE(np.full(7, 0.1)),
]
SHAPES = [(7,), (6, 5), (1, 4), (5, 1), (3, 3, 4, 6), (2, 2, 2, 2, 3)]
OTHER_DTYPES = ["float16", "bfloat16", "float64"]

# One penalty of each class, and a shape on which no two axes are alike.
ONE_OF_EACH = list({type(penalty): penalty for penalty in reversed(PENALTIES)}.values())
KERNEL = (3, 3, 4, 6)
ONE_OF_EACH_RANK = [(7,), (6, 5), KERNEL]
COMPILED_SHAPES = [KERNEL]  # compiling each takes a second
FLOATS = functools.partial(st.floats, width=32, allow_subnormal=False)


@pytest.mark.parametrize("penalty", ONE_OF_EACH, ids=repr)
def test_each_says_its_formula_with_the_names_of_its_arguments(penalty):
    assert penalty.formula
    if penalty.main_strength is not None and not penalty.is_constraint:
        names = [field.name for field in dataclasses.fields(penalty)]
        assert names[0] in penalty.formula.replace("factors_i p", "penalty")


def test_another_value_has_another_formula():
    class Derived(kr.L1):
        def _value(self, w):
            return keras.ops.sum(w**4)

    assert kr.L1().formula == "l1 sum |w|" and Derived().formula == ""


def fits(penalty, shape):
    """Whether a penalty acts on weights of a shape."""
    try:
        penalty.check_weight(types.SimpleNamespace(shape=shape, path="kernel"))
    except ValueError:
        return False
    return True


def for_shape(*shape):
    chosen = [p for p in PENALTIES if fits(p, shape)]
    marked = [p if p in ONE_OF_EACH else pytest.param(p, marks=pytest.mark.slow) for p in chosen]
    return pytest.mark.parametrize("penalty", marked, ids=[str(p) for p in chosen])


def allowed(penalty, w):
    """The nearest weight that the penalty does not forbid."""
    inner = getattr(penalty, "penalty", penalty)
    return np.maximum(w, 0) if getattr(inner, "positive", False) else w


def typical(penalty, shape, dtype="float32"):
    is_typical = type(penalty) in (kr.L1, kr.ElasticNet, kr.MCP, kr.GroupLasso)
    return is_typical and penalty in ONE_OF_EACH and shape == KERNEL


def cases(*axes, fast=lambda *case: True):
    """One penalty of each class with each shape that it takes, the others with one, and all else.

    Slow are all that are not fast, and those that repeat a class or a rank.
    """

    def is_new(penalty, shape):
        if penalty in ONE_OF_EACH:
            return True
        # The others of a class are the same operations: on PyTorch, which compiles nothing.
        return BACKEND == "torch" and (shape == KERNEL or not fits(penalty, KERNEL))

    def marks(penalty, shape, *others):
        repeats = penalty not in ONE_OF_EACH or shape not in ONE_OF_EACH_RANK
        return [pytest.mark.slow] if repeats or not fast(penalty, shape, *others) else []

    return [
        pytest.param(*case, id="-".join(map(str, case)), marks=marks(*case))
        for case in itertools.product(PENALTIES, *axes)
        if fits(*case[:2]) and is_new(*case[:2])
    ]


def weights(shape, dtype="float32", seed=0):
    """Random weights with exact zeros, and where there is room with a zero row and column."""
    w = np.random.default_rng(seed).normal(size=shape)
    w[np.abs(w) < 0.3] = 0
    if len(shape) > 1 and min(shape[0], shape[-1]) > 1:
        w[0] = 0
        w[..., 0] = 0
    # Rounded to the dtype, so that the reference sees the same numbers.
    return keras.ops.cast(keras.ops.convert_to_tensor(w.astype("float32")), dtype)


def float64_on_this_backend():
    x = keras.ops.convert_to_tensor(np.zeros(1, "float64"), dtype="float64")
    return keras.backend.standardize_dtype(x.dtype) == "float64"


def check_value_and_gradient(penalty, shape, dtype, mode):
    w = weights(shape, dtype)
    value = in_mode(mode, penalty)(w)
    wide = "float64" if dtype == "float64" else "float32"
    assert keras.backend.standardize_dtype(value.dtype) == wide
    np.testing.assert_allclose(
        to_numpy(value), reference(penalty).value(to_numpy(w)), rtol=1e-6, atol=1e-30
    )
    slope = in_mode(mode, gradient(penalty))(w)
    rounding = {"float16": 1e-3, "bfloat16": 8e-3}.get(dtype, 1e-6)
    expected = reference(penalty).gradient(to_numpy(w))
    if isinstance(penalty, kr.SLOPE):  # Equal weights, as rounded ones may be, share in any order.
        slope, expected = (np.sort(np.abs(to_numpy(x)), axis=None) for x in (slope, expected))
    np.testing.assert_allclose(to_numpy(slope), expected, rtol=rounding, atol=1e-7)


@pytest.mark.fast_cases(13)
@pytest.mark.parametrize(
    ("penalty", "shape", "dtype"),
    cases(SHAPES, ["float32"]) + cases([KERNEL, (1, 4)], OTHER_DTYPES, fast=typical),
)
@pytest.mark.filterwarnings("ignore:Explicitly requested dtype.*float64:UserWarning")
def test_value_and_gradient(penalty, shape, dtype):
    if dtype == "float64" and not float64_on_this_backend():
        pytest.skip("JAX has no float64 unless it is switched on for the process")
    check_value_and_gradient(penalty, shape, dtype, "eager")


@pytest.mark.fast_cases(1)
@pytest.mark.skipif("compiled" not in MODES, reason="see test_torch_compile")
@pytest.mark.parametrize(
    ("penalty", "shape", "dtype"),
    cases(
        COMPILED_SHAPES,
        ["float16", "float32"],
        fast=lambda *case: case[2] == "float32" and typical(*case),
    ),
)
def test_value_and_gradient_compiled(penalty, shape, dtype):
    check_value_and_gradient(penalty, shape, dtype, "compiled")


def check_prox(penalty, shape, mode):
    rng = np.random.default_rng(1)
    w = to_numpy(weights(shape)).astype("float32")
    prox = in_mode(mode, penalty.prox)
    diagonal = rng.uniform(0, 5, size=shape).astype("float32")
    some = np.where(rng.random(shape) < 0.5, 0, diagonal).astype("float32")
    scalars = (np.float32(0.5), np.float32(30.0))
    metrics = () if penalty.scalar_metric_only else (diagonal, diagonal**4, some)
    for step in (*scalars, *metrics):
        z = to_numpy(prox(w, step))
        np.testing.assert_allclose(z, reference(penalty).prox(w, step), rtol=2e-5, atol=2e-6)
        unmoved = np.broadcast_to(step, shape) == 0
        np.testing.assert_array_equal(z[unmoved], allowed(penalty, w)[unmoved])
    for zero in (np.float32(0), *(np.zeros_like(w) for _ in metrics[:1])):
        np.testing.assert_array_equal(to_numpy(prox(w, zero)), allowed(penalty, w))


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(
    ("penalty", "shape"),
    cases(SHAPES, fast=lambda p, shape: shape != KERNEL or isinstance(p, kr.GroupLasso)),
)
def test_prox_is_the_minimiser(penalty, shape):
    check_prox(penalty, shape, "eager")


@pytest.mark.fast_cases(1)
@pytest.mark.skipif("compiled" not in MODES, reason="see test_torch_compile")
@pytest.mark.parametrize(("penalty", "shape"), cases(COMPILED_SHAPES, fast=typical))
def test_prox_is_the_minimiser_compiled(penalty, shape):
    check_prox(penalty, shape, "compiled")


@pytest.mark.fast_cases(11)
@pytest.mark.parametrize(("penalty", "shape"), cases(SHAPES))
def test_prox_satisfies_its_optimality_condition(penalty, shape):
    w = to_numpy(weights(shape)).astype("float32")
    size = None if penalty.scalar_metric_only else shape
    step = np.float32(np.random.default_rng(2).uniform(0.1, 3, size=size))
    z = to_numpy(penalty.prox(w, step)).astype("float32")
    distance = penalty.subdifferential_distance(z, (z - w) / step)
    assert float(to_numpy(distance)) < 1e-4


@pytest.mark.fast_cases(15)
@pytest.mark.parametrize(("penalty", "shape"), cases(SHAPES))
def test_subdifferential_distance(penalty, shape):
    w = to_numpy(weights(shape)).astype("float32")
    grad = np.random.default_rng(3).normal(size=shape).astype("float32")
    np.testing.assert_allclose(
        to_numpy(penalty.subdifferential_distance(w, grad)),
        reference(penalty).subdifferential_distance(w, grad),
        rtol=1e-5,
    )


@pytest.mark.slow
@settings(deadline=None, max_examples=60, derandomize=True)
@given(
    # TensorFlow takes subnormal numbers for zero.
    w=arrays.arrays("float32", (4, 3), elements=FLOATS(-1e3, 1e3)),
    step=arrays.arrays("float32", (4, 3), elements=FLOATS(0, 1e4)),
    penalty=st.sampled_from([p for p in PENALTIES if fits(p, (4, 3)) and not p.scalar_metric_only]),
)
def test_prox_shrinks_and_never_fails(w, step, penalty):
    z = to_numpy(penalty.prox(w, step))
    assert np.all(np.isfinite(z))
    assert np.all(np.abs(z) <= np.abs(w) * (1 + 1e-6))
    assert np.all((z == 0) | (np.sign(z) == np.sign(w)))
    np.testing.assert_array_equal(z[step == 0], allowed(penalty, w)[step == 0])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@for_shape(6, 5)
def test_prox_keeps_the_dtype_and_the_value_at_step_zero(penalty, dtype):
    w = weights((6, 5), dtype)
    z = penalty.prox(w, 0.0)
    assert keras.backend.standardize_dtype(z.dtype) == dtype
    np.testing.assert_array_equal(to_numpy(z), allowed(penalty, to_numpy(w)))


@pytest.mark.fast_cases(3)
@for_shape(1024, 1024)
def test_large_low_precision_weights_give_finite_sums(penalty):
    # Keras's L1 gives inf here in float16, and its L2 16768 for 16777 in bfloat16.
    ones = np.ones((1024, 1024), "float32")
    for dtype in ("float16", "bfloat16"):
        value = penalty(keras.ops.cast(keras.ops.convert_to_tensor(ones), dtype))
        np.testing.assert_allclose(to_numpy(value), reference(penalty).value(ones), rtol=1e-6)


@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1e18])
def test_group_norms_stay_in_range(scale):
    w = (to_numpy(weights((6, 5))) * scale).astype("float32")
    penalty = kr.GroupLasso(0.5)
    np.testing.assert_allclose(to_numpy(penalty(w)), reference(penalty).value(w), rtol=1e-6, atol=0)
    np.testing.assert_allclose(
        to_numpy(gradient(penalty)(w)), reference(penalty).gradient(w), rtol=1e-5
    )


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("mode", first_is_fast(MODES))
@pytest.mark.parametrize(("shape", "axis"), [((300_001, 4), -1), ((50_000, 8), 0), ((70_000,), 0)])
def test_long_axes_keep_all_digits(shape, axis, mode):
    w = np.random.default_rng(0).normal(size=shape).astype("float32")
    penalty = kr.GroupLasso(0.1, axis=axis)
    for values in (w, np.ones_like(w)):
        value = in_mode(mode, penalty)(keras.ops.convert_to_tensor(values))
        np.testing.assert_allclose(to_numpy(value), reference(penalty).value(values), rtol=1e-6)


@for_shape(0, 3)
def test_empty_weights(penalty):
    w = np.zeros((0, 3), "float32")
    assert float(to_numpy(penalty(w))) == 0
    for step in (1.0, np.ones((0, 3), "float32")):
        assert to_numpy(penalty.prox(w, step)).shape == (0, 3)
    if penalty.implements("_dual_norm"):
        assert [float(to_numpy(penalty.dual_norm(x))) for x in (w, w.T)] == [0, 0]


@pytest.mark.parametrize("penalty", [*ONE_OF_EACH, kr.TopK(0.5), kr.KeepZeros()], ids=repr)
@pytest.mark.parametrize(
    "config", [{"unknown": 1}, {"sparsty": 0.5}, {1: 2}, [1], None, "L1"], ids=repr
)
def test_configurations_that_are_damaged(penalty, config):
    if isinstance(config, dict) and not isinstance(penalty, kr.KeepZeros):
        config = {**penalty.get_config(), **config}
    with pytest.raises(ValueError, match="argument `config`. Expected the arguments of"):
        type(penalty).from_config(config)


@pytest.mark.fast_cases(12)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize(
    "penalty", [p for p in PENALTIES if fits(p, (6, 5)) and p.main_strength], ids=str
)
def test_broken_weights_show_in_the_value(penalty, bad):
    w = to_numpy(weights((6, 5))).astype("float32")
    w[2, 2] = bad
    if hasattr(penalty, "gamma") and bad == np.inf:
        pytest.skip("no weight is too large for it: it is constant from its knee on")
    assert not np.isfinite(to_numpy(penalty(w)))


def test_group_norms():
    w = to_numpy(weights((3, 4)))
    np.testing.assert_allclose(
        to_numpy(kr.GroupLasso(1.0, axis=0).group_norms(w)), np.linalg.norm(w, axis=1), rtol=1e-6
    )
    np.testing.assert_allclose(to_numpy(kr.L1(1.0).group_norms(w)), np.abs(w), rtol=1e-6)


@pytest.mark.fast_cases(10)
@pytest.mark.parametrize(
    ("one", "other"),
    [
        (kr.ElasticNet(1.0, 0.1, 0.0), kr.L1(0.1)),
        (kr.ElasticNet(0.5, 0.0, 0.2), kr.L2(0.1)),
        (kr.GroupLasso(0.1), kr.L1(0.1)),  # on a vector each weight is a group of its own
        (kr.MCP(0.1, gamma=1e7), kr.L1(0.1)),  # the knee is far away
        (kr.SCAD(0.1, gamma=1e8), kr.L1(0.1)),
        (kr.LogSum(0.1 * 1e7, epsilon=1e7), kr.L1(0.1)),
        (kr.Weighted(kr.L1(0.1), np.full(9, 3.0)), kr.L1(0.3)),
        (kr.Weighted(kr.ElasticNet(1.0, 0.1, 0.2), 0.5), kr.ElasticNet(0.5, 0.1, 0.2)),
        (kr.SLOPE(np.full(9, 0.1)), kr.L1(0.1)),
        (kr.BlockMCP(0.1, gamma=1e7), kr.GroupLasso(0.1)),
        (kr.BlockSCAD(0.1, gamma=1e7), kr.GroupLasso(0.1)),
        (kr.BlockMCP(0.1), kr.MCP(0.1)),
        (kr.SparseGroupLasso(0.2, l1_ratio=1.0), kr.L1(0.2)),
        (kr.SparseGroupLasso(0.2, l1_ratio=0.0), kr.GroupLasso(0.2)),
        (kr.L1(0.1), keras.regularizers.L1(0.1)),
        (kr.L2(0.1), keras.regularizers.L2(0.1)),
        (kr.ElasticNet(1.0, 0.1, 0.2), keras.regularizers.L1L2(0.1, 0.2)),
    ],
)
def test_equivalent_penalties_agree(one, other):
    w = weights((9,))
    np.testing.assert_allclose(to_numpy(one(w)), to_numpy(other(w)), rtol=1e-6)
    if isinstance(other, kr.Penalty):
        np.testing.assert_allclose(to_numpy(one.prox(w, 2.0)), to_numpy(other.prox(w, 2.0)), 1e-6)


@pytest.mark.parametrize("penalty", PENALTIES)
def test_configuration_round_trips(penalty):
    for form in (
        keras.regularizers.serialize(penalty),
        json.loads(json.dumps(keras.regularizers.serialize(penalty))),
        {"class_name": f"kerasreg>{type(penalty).__name__}", "config": penalty.get_config()},
    ):
        assert keras.regularizers.get(form) == penalty
    assert type(penalty).from_config(penalty.get_config()) == penalty


@pytest.mark.parametrize(
    "cls",
    [kr.L1, kr.L2, kr.ElasticNet, kr.GroupLasso, kr.MCP, kr.SCAD, kr.LogSum, kr.L0_5, kr.L2_3]
    + [kr.OrthogonalRegularizer, kr.SparseGroupLasso, kr.BlockMCP, kr.BlockSCAD],
)
def test_strings(cls):
    assert keras.regularizers.get(f"kerasreg>{cls.__name__}") == cls()


@pytest.mark.parametrize("step", [-1.0, np.nan, np.float32(np.inf), True])
def test_bad_steps(step):
    with pytest.raises(ValueError, match="argument `step`. Expected a finite, non-negative"):
        kr.L1(0.1).prox(np.ones(3, "float32"), step)


def test_penalties_are_immutable():
    with pytest.raises(AttributeError):
        kr.L1(0.1).l1 = 0.2


BAD_STRENGTHS = [
    -1,
    10**400,
    -1e-9,
    np.nan,
    np.inf,
    True,
    "0.1",
    None,
    [0.1],
    np.array(0.1),
    np.ones(2),
]


@pytest.mark.parametrize("bad", BAD_STRENGTHS, ids=repr)
@pytest.mark.parametrize(
    ("cls", "argument"),
    [
        (kr.L1, "l1"),
        (kr.L2, "l2"),
        (kr.ElasticNet, "alpha"),
        (kr.ElasticNet, "l1"),
        (kr.ElasticNet, "l2"),
        (kr.GroupLasso, "strength"),
        (kr.MCP, "l1"),
        (kr.MCP, "gamma"),
        (kr.SCAD, "l1"),
        (kr.SCAD, "gamma"),
        (kr.LogSum, "strength"),
        (kr.LogSum, "epsilon"),
        (kr.L0_5, "strength"),
        (kr.L2_3, "strength"),
        (kr.OrthogonalRegularizer, "factor"),
        (kr.SparseGroupLasso, "strength"),
        (kr.SparseGroupLasso, "l1_ratio"),
        (kr.BlockMCP, "strength"),
        (kr.BlockMCP, "gamma"),
        (kr.BlockSCAD, "strength"),
        (kr.BlockSCAD, "gamma"),
    ],
)
def test_bad_strengths(cls, argument, bad):
    with pytest.raises(ValueError, match=f"Invalid value for argument `{argument}`. Expected.*Rec"):
        cls(**{argument: bad})


@pytest.mark.parametrize("good", [0, 1, 0.5, np.float32(0.5), np.int64(2)])
def test_good_strengths_become_plain_floats(good):
    assert type(kr.L1(good).l1) is float
    assert kr.L1(good).l1 == float(good)


@pytest.mark.fast_cases(12)
@pytest.mark.parametrize(("penalty", "shape"), cases(ONE_OF_EACH_RANK))
def test_the_dual_norm_is_the_smallest_factor_that_keeps_zeros(penalty, shape):
    if not fits(penalty, shape):
        pytest.skip("it does not act on such weights")
    grad = np.random.default_rng(0).normal(size=shape).astype("float32")
    zeros = np.zeros(shape, "float32")
    factor = float(to_numpy(penalty.dual_norm(grad)))
    assert float(to_numpy(penalty.dual_norm(zeros))) == 0
    if not np.isfinite(factor) or factor == 0:
        return  # As of ridge: no factor gives a zero; as of L0_5: every one does.
    for c, at_rest in ((factor * (1 + 1e-5), True), (factor * (1 - 1e-3), False)):
        distance = float(to_numpy(penalty.subdifferential_distance(zeros, grad / np.float32(c))))
        assert (distance == 0) == at_rest


@for_shape(6, 5)
def test_penalties_without_a_finite_dual_norm(penalty):
    factor = float(to_numpy(penalty.dual_norm(-np.ones((6, 5), "float32"))))
    inner = getattr(penalty, "penalty", penalty)
    kinks = [np.max(np.asarray(getattr(inner, name, 0))) for name in ("l1", "strength", "alphas")]
    assert np.isfinite(factor) == any(kinks)
