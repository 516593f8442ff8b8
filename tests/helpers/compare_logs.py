"""Logs of many runs for the view that compares them, with numbers that a test knows."""

import math
from pathlib import Path

from tensorboard.compat.proto import summary_pb2

from helpers.sparsity_logs import HTML, Log
from kerasreg.tensorboard.event_file import EventWriter
from kerasreg.tensorboard.hparams import add_session_start
from kerasreg.tensorboard.pages import add_tensor
from kerasreg.tensorboard.points import add_scalar
from kerasreg_tensorboard.names import WEIGHTS_TAG

PARAMETERS = 1000
WEIGHT = {"path": "", "units": 10, "parts": 0, "part": ""}


def marker(penalty):
    """What a run says of a model with two weights of 900 and 100 parameters."""
    sizes = {"first/kernel": (900, [30, 30]), "second/kernel": (100, [10, 10])}
    weights = [
        WEIGHT | {"name": name, "size": size, "shape": shape, "penalty": penalty}
        for name, (size, shape) in sizes.items()
    ]
    return {"weights": weights, "groups": 0}


def write_run(folder, *, totals, hparams=None, penalty="", strength=None, steps=(100,)):
    """A run whose `totals` are logged at its last step; half of each at those before."""
    Path(folder).mkdir(parents=True)
    events = EventWriter(folder, 0)
    start = summary_pb2.Summary()
    add_tensor(start, WEIGHTS_TAG, marker(penalty))
    if hparams is not None:
        add_session_start(start, hparams)
    events.write(0, start)
    for step in steps:
        summary = summary_pb2.Summary()
        factor = 1.0 if step == steps[-1] else 0.5
        for name, value in totals.items():
            add_scalar(summary, f"all/{name}", factor * value)
        if strength is not None:
            add_scalar(summary, "strength/first/kernel", strength)
        events.write(step, summary)
    events.close()


def sweep_point(number, of):
    """A run of a path of `of` strengths from 1e-4 to 1: a strong penalty costs accuracy."""
    part = number / max(of - 1, 1)
    strength = 10 ** (4 * part - 4)
    sparsity = 0.999 * part**0.5
    accuracy = 0.97 - 0.6 * part**3 + 0.01 * math.sin(9 * number)
    totals = {
        "sparsity": sparsity,
        "near_zero": min(1.0, sparsity + 0.05),
        "accuracy": accuracy + 0.02,
        "val_accuracy": accuracy,
        "data_loss": 1 - accuracy,
        "val_data_loss": 1.1 - accuracy,
        "regularization_loss": 0.1 + part,
        "compacted_parameters": float(round(PARAMETERS * (1 - sparsity**2))),
    }
    return strength, totals


def write_path(folder, name, number):
    """A regularization path, as `regularization_path` logs it."""
    for i in range(number):
        strength, totals = sweep_point(i, number)
        write_run(
            Path(folder) / f"{name} {strength:.6g}",
            totals=totals,
            hparams={"penalty": name, "strength": strength},
            penalty=f"{name}({name.lower()}={strength:.4g}), after the step",
            strength=strength,
        )


def write_sweep(folder, number):
    """Runs side by side with hyper-parameters of their own."""
    for i in range(number):
        strength, totals = sweep_point(i, number)
        write_run(
            Path(folder) / f"run {i:03}",
            totals={name: value * (1 - 0.003 * (7 * i % 5)) for name, value in totals.items()},
            hparams={"rate": 10.0 ** -(1 + i % 4), "optimizer": ("adam", "sgd")[i % 2]},
            penalty="L1(l1=0.001)",
            strength=strength,
        )


# `{run: (sparsity, validation accuracy, what else it has)}`; of a run's steps the last counts.
RUNS = {
    "alone": (0.5, 0.97, {"hparams": {"optimizer": "adam", "rate": 0.01}}),
    "worse": (0.4, 0.6, {"hparams": {"optimizer": "sgd", "rate": 0.1}}),
    "live": (0.1, 0.9, {"steps": (10, 20)}),
    "nan": (0.3, math.nan, {}),
    "endless": (0.35, math.inf, {}),
    "bare": (0.6, None, {}),
    HTML: (0.05, 0.5, {}),
}
PATH = {0.001: (0.2, 0.95), 0.01: (0.5, 0.93), 0.1: (0.8, 0.8), 1.0: (0.99, 0.4)}


def write_few(folder):
    """Every kind of run, and one that kerasreg has not written."""
    for name, (sparsity, accuracy, others) in RUNS.items():
        accuracies = {} if accuracy is None else {"val_accuracy": accuracy}
        write_run(Path(folder) / name, totals={"sparsity": sparsity, **accuracies}, **others)
    for strength, (sparsity, accuracy) in PATH.items():
        write_run(
            Path(folder) / "path" / f"L1 {strength:g}",
            totals={
                "sparsity": sparsity,
                "val_accuracy": accuracy,
                "val_data_loss": 1 - accuracy,
                "regularization_loss": strength / 2,
                "compacted_parameters": 1000 * (1 - sparsity) ** 2,
                "l1_norm": 10 - sparsity,
            },
            hparams={"penalty": "L1", "strength": strength},
            penalty=f"L1(l1={strength:g}), after the step",
            strength=strength,
        )
    log = Log(Path(folder) / "plain")
    log.write(0, {"all/sparsity": 0.5, "all/val_accuracy": 0.99})
    log.close()
