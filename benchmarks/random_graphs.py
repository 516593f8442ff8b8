"""How equal and how small `compact` makes models that nobody has thought of.

Random models with dead units in them, of the generator that the tests take a few dozen from:

    KERAS_BACKEND=torch python benchmarks/random_graphs.py --graphs 300 --seed 0

Prints each model whose outputs differ by more than 1e-5 of the largest, that raises an exception,
or from which a second `compact` would take more out; then the largest and the median difference
and what is left of the parameters. Ends with exit code 1 if a model has been printed.
"""

import argparse
import gc
import statistics
import sys
import time
import traceback
import warnings
from pathlib import Path

import keras

import kerasreg as kr

sys.path.append(str(Path(__file__).parent.parent / "tests"))
from helpers.random_graphs import RandomGraph, relative_error  # noqa: E402

TOLERANCE = 1e-5


def measure(seed):
    """The difference of the outputs, the share of the parameters left, and that after a second."""
    graph = RandomGraph(seed)
    small = kr.compact(graph.model)
    error = relative_error(graph.model, small, graph.data())
    before, after = graph.model.count_params(), small.count_params()
    again = kr.compaction_report(small).total.after.parameters
    return error, after / before, again / before


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--graphs", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0, help="that of the first; others follow")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stops after them")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    start, errors, shares = time.perf_counter(), [], []
    models = failures = 0
    for seed in range(args.seed, args.seed + args.graphs):
        if time.perf_counter() - start > 60 * args.minutes:
            break
        models, problem = models + 1, ""
        try:
            error, share, again = measure(seed)
        except Exception:
            problem = traceback.format_exc()
        else:
            errors.append(error)
            shares.append(share)
            if not error <= TOLERANCE:
                problem = f"outputs differ by {error:.1e}"
            elif again != share:
                problem = f"{share:.1%} of the parameters left, {again:.1%} after a second time"
        if problem:
            failures += 1
            print(f"seed {seed}: {problem}", flush=True)
        keras.utils.clear_session()
        gc.collect()
    print(
        f"{keras.backend.backend()}, {models} models: outputs differ by at most "
        f"{max(errors):.1e}, median {statistics.median(errors):.1e}; "
        f"{statistics.median(shares):.0%} of the parameters left (median); "
        f"{failures} failures; {time.perf_counter() - start:.0f} s"
    )
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
