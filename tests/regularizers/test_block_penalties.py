"""What only the concave penalties on groups can get wrong: steps so long that minima compete."""

import itertools

import numpy as np
import pytest
from helpers.backends import to_numpy
from helpers.marks import first_is_fast
from helpers.references import reference
from scipy.optimize import minimize

import kerasreg as kr

PENALTIES = [
    kr.BlockMCP(0.3, gamma=2.0, size_scaling=False),
    kr.BlockMCP(0.2, gamma=0.5, size_scaling=False),
    kr.BlockSCAD(0.3, gamma=3.0, size_scaling=False),
    kr.BlockSCAD(0.2, gamma=2.2, size_scaling=False),
]


def objective(penalty, z, w, step):
    """Of columns `z`, each a candidate for the group `w`."""
    of = reference(penalty)
    values = [of.term(np.linalg.norm(column), penalty.strength) for column in z.T]
    return np.sum((z - w[:, None]) ** 2 / (2 * step[:, None]), axis=0) + values


def search(penalty, w, step):
    """The smallest objective in the plane, where nothing is assumed about where it lies."""
    axes = [np.linspace(0, x, 61) for x in w]
    z = np.array(list(itertools.product(*axes))).T
    best = z[:, np.argsort(objective(penalty, z, w, step))[:3]].T
    return min(
        minimize(
            lambda x: objective(penalty, x[:, None], w, step)[0],
            start,
            method="Nelder-Mead",
            options={"xatol": 1e-9, "fatol": 1e-13, "maxiter": 2000},
        ).fun
        for start in best
    )


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("penalty", first_is_fast(PENALTIES), ids=repr)
@pytest.mark.parametrize("longest", [0.5, 4.0, 100.0])
def test_no_point_of_the_plane_is_better(penalty, longest):
    rng = np.random.default_rng(0)
    for _ in range(6):
        w = rng.normal(size=2) * rng.choice([0.3, 1.0, 2.0])
        step = longest * rng.uniform(0.02, 1, size=2) ** 2
        w, step = w.astype("float32"), step.astype("float32")
        z = to_numpy(penalty.prox(w[:, None], step[:, None]))
        ours = objective(penalty, z, w.astype("float64"), step.astype("float64"))[0]
        found = search(penalty, w.astype("float64"), step.astype("float64"))
        assert ours <= found + 1e-6 * max(1.0, found)


@pytest.mark.parametrize("penalty", first_is_fast(PENALTIES), ids=repr)
def test_with_one_step_a_group_moves_as_one_weight_of_its_norm(penalty):
    rng = np.random.default_rng(1)
    w = (rng.normal(size=(5, 40)) * np.geomspace(0.05, 3, 40)).astype("float32")
    for step in (0.1, 1.0, 10.0):
        z, norms = to_numpy(penalty.prox(w, step)), np.linalg.norm(w, axis=0)
        expected = reference(penalty).prox(norms[None], np.float64(step))
        np.testing.assert_allclose(z, w / norms * expected, rtol=1e-5, atol=1e-6)
        same = to_numpy(penalty.prox(w, np.full_like(w, step)))
        np.testing.assert_allclose(z, same, rtol=1e-5, atol=1e-6)


def test_large_groups_keep_every_bit():
    w = np.full((4, 3), 5.0, "float32")
    for penalty in PENALTIES:
        for step in (0.3, np.random.default_rng(0).uniform(0.1, 9, w.shape).astype("float32")):
            np.testing.assert_array_equal(to_numpy(penalty.prox(w, step)), w)


@pytest.mark.parametrize("gamma", [2, 1.5, 0])
def test_scad_needs_room_to_bend(gamma):
    with pytest.raises(ValueError, match="Invalid value for argument `gamma`. Expected a finite"):
        kr.BlockSCAD(0.1, gamma=gamma)
