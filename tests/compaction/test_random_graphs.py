"""Models that nobody has thought of: equal, and nothing is left to take out."""

import pytest
from helpers.backends import BACKEND
from helpers.marks import slow
from helpers.random_graphs import RandomGraph, relative_error

import kerasreg as kr

pytestmark = [
    pytest.mark.filterwarnings("ignore:What plain Keras has no layer for"),
    pytest.mark.filterwarnings("ignore:Layer '.*' .* was passed an input with a mask"),
]
# Of hundreds there is `benchmarks/random_graphs.py`. JAX compiles each operation by itself.
FAST, ALL = (4, 8) if BACKEND == "jax" else (16, 40)
SEEDS = [*range(FAST), *(slow(seed) for seed in range(FAST, ALL))]


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("seed", SEEDS)
def test_equal_and_nothing_left(seed):
    graph = RandomGraph(seed)
    small = kr.compact(graph.model)
    assert relative_error(graph.model, small, graph.data()) < 1e-5
    assert kr.compaction_report(small).total.after.parameters == small.count_params()


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("seed", range(FAST // 4))
def test_the_report_counts_what_compact_leaves(seed):
    graph = RandomGraph(300 + seed, blocks=3)
    report, small = kr.compaction_report(graph.model), kr.compact(graph.model)
    assert report.total.before.parameters == graph.model.count_params()
    assert report.total.after.parameters == small.count_params()
