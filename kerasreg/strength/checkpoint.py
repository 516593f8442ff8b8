"""The rows and weights of a path so far, in memory or in a folder from which it can go on."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import hashlib
import json
import os
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import keras
import numpy as np

from kerasreg._checks import invalid_value
from kerasreg._keras_internals import innermost_optimizer
from kerasreg._tensors import to_numpy
from kerasreg.statistics.weights import describe_regularizer
from kerasreg.strength.plan import PathOptions, Plan
from kerasreg.strength.samples import Arrays, Samples
from kerasreg.strength.training import Training

# What a path begins with. A model that a program has built and trained anew differs in it by
# rounding alone.
FIRST_WEIGHTS = "first weights"


def describe(plan: Plan) -> dict[str, Any]:
    """All that a path depends on, as plain data, but for its callbacks, whose state is unknown."""
    model = plan.model
    # A linear model comes to the same wherever it starts.
    first = [] if plan.is_linear else [to_numpy(weight) for weight in model.weights]
    return {
        **{field.name: getattr(plan, field.name) for field in dataclasses.fields(PathOptions)},
        "penalty": keras.tree.map_structure(
            lambda penalty: " ".join(describe_regularizer(penalty)), plan.penalties
        ),
        "x and y": fingerprint(plan.samples),
        "validation_data": fingerprint(plan.validation),
        "folds": fingerprint([list(fold) for fold in plan.folds]),
        "model": [list(weight.shape) for weight in model.weights],
        "optimizer": _describe(innermost_optimizer(model.optimizer)),
        FIRST_WEIGHTS: fingerprint(first),
        "loss": keras.tree.map_structure(_describe, model.loss),
    }


def fingerprint(data: Any) -> str:
    """A short string that changes with arrays, or samples."""
    digest = hashlib.blake2b(digest_size=8)
    for part in keras.tree.flatten(vars(data) if isinstance(data, Samples) else data):
        if part is not None:
            digest.update(f"{part.shape} {part.dtype}".encode())
            digest.update(np.ascontiguousarray(part).reshape(-1).view("uint8").data)
    return digest.hexdigest()


def _describe(part: Any) -> str:
    """The class and the configuration of an optimizer or a loss, or what a function is called."""
    if part is None or isinstance(part, str):
        return str(part)
    if not hasattr(part, "get_config"):
        return str(getattr(part, "__name__", type(part).__name__))
    try:
        config = part.get_config()
    except Exception:  # Keras allows a loss without one; it is only described.
        config = {}
    values = {key: value for key, value in config.items() if key != "name"}
    return f"{type(part).__name__} {values}"


FILE = "path.json"
FILE_OF_PART = "path-{}.json"

CHECKSUM = "checksum"

# What reading a damaged or incomplete file may raise.
_DAMAGES = (
    *(OSError, EOFError, ValueError, KeyError, TypeError, AttributeError),
    *(RecursionError, MemoryError, zipfile.BadZipFile, zlib.error),
)


class Checkpoint:
    """Rows, weights and the state to go on from, of each part of a path.

    A part is a penalty's path on all samples or on those of a fold. `path.json` is replaced after
    everything else of a row is there, so that a row is in the folder as a whole or not at all.
    A process that trains one part beside others has the rows of it in a file of its own,
    `path-<part>.json`, until all are gathered.

    Args:
        plan: The arguments of the path, whose folder remembers what it depends on.

    Raises:
        ValueError: If the folder holds a path of another plan.
    """

    def __init__(self, plan: Plan) -> None:
        # Not the plan itself: a `Path` keeps this object, and is pickled without its model.
        self._folder = None if plan.log_dir is None else Path(plan.log_dir)
        self._file = FILE
        self._plan: dict[str, Any] = {}
        self._rows: dict[str, list[dict[str, Any]]] = {}
        self._weights: dict[str, list[Arrays]] = {}
        if self._folder is not None:
            self._plan = json.loads(json.dumps(describe(plan)))
            self._folder.mkdir(parents=True, exist_ok=True)
            self._load(self._folder)

    def _load(self, folder: Path) -> None:
        files = [file for file in (folder / FILE, *self._files_of_parts()) if file.exists()]
        changed: set[str] = set()
        for file in files:
            with _readable(file):
                plan, rows = _checked(json.loads(file.read_text()))
            names = {*plan, *self._plan}
            changed |= {name for name in names if plan.get(name) != self._plan.get(name)}
            for part, found in rows.items():
                self._rows[part] = max(self._rows.get(part, []), found, key=len)
        if changed == {FIRST_WEIGHTS}:
            warnings.warn(
                f"The path in {str(folder)!r} has begun with other weights than the model has "
                "now. It goes on from those; give another `log_dir` for a new path.",
                stacklevel=5,
            )
        elif changed:
            names_of_changes = ", ".join(sorted(changed))
            expected = f"another folder: this one has a path with other {names_of_changes}"
            raise invalid_value("log_dir", expected, str(folder))
        if self._files_of_parts():  # of processes that were cut off
            self.gather({})

    def of_part(self, part: str) -> Checkpoint:
        """The checkpoint of one part alone, for a process that trains it beside others."""
        own = copy.copy(self)
        own._file = FILE_OF_PART.format(part)
        own._rows, own._weights = {part: self.rows(part)}, {}
        return own

    def gather(self, parts: Mapping[str, Checkpoint]) -> None:
        """Takes over what the checkpoints of parts have."""
        for part, other in parts.items():
            self._rows[part] = other.rows(part)
            self._weights |= other._weights
        if self._folder is not None:
            self._write_rows(self._folder)
            for file in self._files_of_parts():
                file.unlink(missing_ok=True)

    def _files_of_parts(self) -> list[Path]:
        assert self._folder is not None
        return sorted(self._folder.glob(FILE_OF_PART.format("*")))

    def rows(self, part: str) -> list[dict[str, Any]]:
        """The rows of a part, in the order of training."""
        return list(self._rows.get(part, []))

    def state(self, part: str) -> Arrays:
        """The state after the last row of a part that a folder holds."""
        assert self._folder is not None
        return _read(self._folder / f"state-{part}-{len(self._rows[part])}.npz")

    def add(self, part: str, row: Mapping[str, Any], training: Training, keeps: bool) -> None:
        """Keeps a row of plain data, the state after it, and, if `keeps`, the model's weights."""
        rows = self._rows.setdefault(part, [])
        rows.append(dict(row))
        if self._folder is None:
            if keeps:
                self._weights.setdefault(part, []).append(training.weights)
            return
        done, folder = len(rows), self._folder
        if keeps:
            file = folder / f"weights-{part}-{done - 1}.npz"
            _write(file, lambda f: np.savez_compressed(f, *_known(training.weights)))
        state = folder / f"state-{part}-{done}.npz"
        _write(state, lambda f: np.savez(f, *_known(training.state)))
        self._write_rows(folder)
        (folder / f"state-{part}-{done - 1}.npz").unlink(missing_ok=True)

    def _write_rows(self, folder: Path) -> None:
        known = {"plan": self._plan, "rows": self._rows}
        content = json.dumps({**known, CHECKSUM: _checksum(known)}, indent=1)
        _write(folder / self._file, lambda f: f.write(content.encode()))

    def weights(self, part: str, row: int) -> Arrays:
        """The weights of a row of a part."""
        if self._folder is None:
            return self._weights[part][row]
        return _read(self._folder / f"weights-{part}-{row}.npz")


def _known(arrays: Arrays) -> Arrays:
    """Arrays that NumPy can read again: bfloat16, of another package, only as bytes."""
    return [array.astype("float32") if array.dtype.kind == "V" else array for array in arrays]


def _checksum(known: Mapping[str, Any]) -> str:
    """A short string that changes with any of these plain data."""
    canonical = json.dumps(known, sort_keys=True)
    return hashlib.blake2b(canonical.encode(), digest_size=8).hexdigest()


def _checked(content: Any) -> tuple[dict[str, Any], dict[str, list[dict[str, Any]]]]:
    """The plan and the rows in the content of `path.json`; raises unless it is as it was left.

    That of version 0.1 has no checksum, only its structure.
    """
    plan, rows = content["plan"], content["rows"]
    known = {"plan": plan, "rows": rows}
    if content.keys() - known.keys():
        if content != {**known, CHECKSUM: _checksum(known)}:
            raise ValueError("its checksum is another")
    elif not isinstance(plan, dict) or not all(
        isinstance(row, dict) for part in rows.values() for row in part
    ):
        raise ValueError("it does not hold a plan and rows")
    return plan, rows


def _write(file: Path, save: Callable[[IO[bytes]], Any]) -> None:
    """Replaces a file by what `save` writes, as a whole or not at all."""
    partial = file.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    with partial.open("xb") as stream:  # A link that somebody has put there is not followed.
        save(stream)
    os.replace(partial, file)


def _read(file: Path) -> Arrays:
    with _readable(file), file.open("rb") as stream, np.load(stream) as archive:
        return [archive[f"arr_{i}"] for i in range(len(archive.files))]


@contextlib.contextmanager
def _readable(file: Path) -> Iterator[None]:
    """Says what to do where a file of the folder is damaged, or gone."""
    try:
        yield
    except _DAMAGES as error:
        expected = f"the folder of a path as it was left, but {file.name} cannot be read ({error})"
        expected = f"{expected}; delete the folder to begin anew"
        raise invalid_value("log_dir", expected, str(file.parent)) from error
