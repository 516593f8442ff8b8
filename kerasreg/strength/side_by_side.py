"""Trains the parts of a path in several processes, by joblib."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import keras

from kerasreg._checks import invalid_value, is_number
from kerasreg.strength.checkpoint import Checkpoint
from kerasreg.strength.packed_model import PackedModel
from kerasreg.strength.part import SHOWN, Part, Rows
from kerasreg.strength.penalty_path import PenaltyPath, ProgressBar
from kerasreg.strength.plan import Plan

# Backends of joblib that share this process's Keras, or fork it.
REFUSED = {"ThreadingBackend": "threading", "MultiprocessingBackend": "multiprocessing"}


def count_jobs(n_jobs: Any) -> int:
    """How many processes there are to be, in scikit-learn's meaning of `n_jobs`."""
    if n_jobs is None and "joblib" not in sys.modules:  # Nobody has made a context.
        return 1
    if n_jobs is not None and (not is_number(n_jobs) or n_jobs != int(n_jobs) or n_jobs == 0):
        expected = "a positive integer, -1 for as many as there are processors, or None"
        raise invalid_value("n_jobs", expected, n_jobs)
    if n_jobs == 1:
        return 1
    joblib = _joblib(n_jobs)
    jobs = int(joblib.effective_n_jobs(None if n_jobs is None else int(n_jobs)))
    if jobs > 1:
        _check_processes(joblib, n_jobs)
    return jobs


def _joblib(n_jobs: Any) -> Any:
    try:  # Only here, as they are optional.
        import cloudpickle  # noqa: F401  # which joblib before 1.6 hides
        import joblib
    except ImportError as error:
        raise ImportError(
            f"Several processes need {error.name}, which is not installed. Expected "
            f"`pip install 'kerasreg[parallel]'`, or n_jobs=1. Received: n_jobs={n_jobs!r}"
        ) from error
    return joblib


def _check_processes(joblib: Any, n_jobs: Any) -> None:
    """Raises unless the jobs will have a Keras of their own, on all of its devices."""
    name = REFUSED.get(type(joblib.parallel.get_active_backend()[0]).__name__)
    if name is not None:
        expected = f"None or 1 with joblib's backend {name!r}; use 'loky', which is the default"
        raise invalid_value("n_jobs", expected, n_jobs)
    if keras.distribution.distribution() is not None:
        expected = "None or 1 while `keras.distribution` spreads the model over devices"
        raise invalid_value("n_jobs", expected, n_jobs)


def train_side_by_side(
    plan: Plan,
    paths: Sequence[PenaltyPath],
    checkpoint: Checkpoint,
    bar: ProgressBar,
    n_jobs: int,
) -> list[tuple[Rows, list[Rows]]]:
    """Trains each part of each path in a process of its own.

    Returns:
        For each path its rows, and those of its folds.
    """
    import joblib

    of_paths = [path.parts() for path in paths]
    parts = [part for of_path in of_paths for part in of_path]
    parts.sort(key=lambda part: part.fold is not None)  # Those that log take longest.
    rows: dict[str, Rows] = {}
    checkpoints: dict[str, Checkpoint] = {}
    processes = joblib.Parallel(n_jobs=n_jobs, batch_size=1, **_as_they_end(joblib))
    for part, found, own, warned in processes(_jobs(joblib, plan, parts, checkpoint)):
        rows[part.name], checkpoints[part.name] = found, own
        shown = [(key, found[-1][key]) for key in SHOWN] if found and part.fold is None else ()
        bar.show(len(part.strengths), shown)
        for message, category in warned:
            warnings.warn(f"{message} ({part.describe(plan)})", category, stacklevel=4)
    checkpoint.gather(checkpoints)
    named = [[rows[part.name] for part in of_path] for of_path in of_paths]
    return [(of_path[0], of_path[1:]) for of_path in named]


def _as_they_end(joblib: Any) -> dict[str, str]:
    """Lets results come one by one, if the backend can."""
    backend = joblib.parallel.get_active_backend()[0]
    can = getattr(backend, "supports_return_generator", False)
    return {"return_as": "generator_unordered"} if can else {}


def _jobs(joblib: Any, plan: Plan, parts: Sequence[Part], checkpoint: Checkpoint) -> Any:
    """What joblib is to run."""
    import cloudpickle

    common = cloudpickle.dumps(PackedModel.of(plan))
    # Arrays by themselves, which joblib hands to all processes of a machine as one file.
    arrays = (plan.samples.data, plan.validation and plan.validation.data)
    job = joblib.delayed(_job(keras.backend.backend()))
    return [
        job(common, cloudpickle.dumps((part, checkpoint.of_part(part.name))), *arrays)
        for part in parts
    ]


def _job(backend: str) -> Callable[..., Any]:
    """A function that imports Keras only when its process is as it should be.

    A local one, as joblib sends it by its code; any other is sent by its name, and is imported.
    """

    def run(*args: Any) -> Any:
        os.environ["KERAS_BACKEND"] = backend
        # joblib says by the first how many threads a job may have, which some do not read.
        threads = os.environ.get("OMP_NUM_THREADS")
        for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "PJRT_NPROC"):
            if threads is not None:
                os.environ.setdefault(name, threads)
        from kerasreg.strength.worker import train_part

        return train_part(backend, *args)

    return run
