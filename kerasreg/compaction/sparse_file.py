"""Saves a model in a `.keras` file in which zeros take hardly any room."""

from __future__ import annotations

import json
import os
import re
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

from kerasreg._checks import check_built, invalid_value

# The names that Keras gives them in the archive, and to what `compile` adds to a model in it.
CONFIGURATION, WEIGHTS = "config.json", "model.weights.h5"
OPTIMIZER = re.compile("(?<!/layers)/optimizer/")

# Weights of more bytes are compressed in blocks, of which one is in memory at a time; the archive
# compresses the others. Keras refuses to open what becomes a thousand times larger, as blocks of
# zeros do that are four times as large.
SMALL, BLOCK = 2**14, 2**18


def save_sparse(model: Any, path: str | os.PathLike[str]) -> None:
    """Saves a model in a `.keras` file in which zeros take hardly any room.

    `keras.models.load_model` opens it, also where kerasreg is not installed if the model is of
    plain Keras, as `compact` and `strip` make it. All weights are equal to what they were, with 0
    for -0, as signs of zeros would take most of the room. The file holds the model alone, and not
    what `compile` added, as the optimizer with two more numbers for each weight: `model.save`
    keeps these.

    Args:
        model: A built Keras model; it stays as it is.
        path: Where to save it; it ends in `.keras`. A file that is there is replaced when the new
            one is complete.

    Raises:
        ValueError: If the model is not built, or is none, or if the path does not end in `.keras`
            or its folder does not exist.

    Example:
    >>> import os
    >>> dense = keras.layers.Dense(300, kernel_initializer="zeros")
    >>> network = keras.Sequential([keras.Input((400,)), dense])
    >>> network.save("plain.keras")
    >>> kerasreg.save_sparse(network, "sparse.keras")
    >>> os.path.getsize("plain.keras") // 1000, os.path.getsize("sparse.keras") // 1000
    (492, 1)
    >>> loaded = keras.models.load_model("sparse.keras")
    """
    if not isinstance(model, keras.Model):
        raise invalid_value("model", "a Keras model", model)
    check_built(model)
    target = _check_file(path)
    # Beside the file, as only within one disk a file takes the place of another at once.
    with tempfile.TemporaryDirectory(prefix=".save_sparse-", dir=target.parent) as name:
        folder, archive = Path(name, "model"), Path(name, "model.keras")
        # Into a folder: then no weights lie in memory a second time.
        keras.saving.save_model(model, folder, zipped=False)
        _leave_out_compilation(folder / CONFIGURATION)
        _compress(folder / WEIGHTS)
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as file:
            for part in sorted(folder.rglob("*")):
                if part.is_file():
                    file.write(part, part.relative_to(folder))
        archive.replace(target)


def _check_file(path: Any) -> Path:
    """Returns the place of a file to write, or raises if there can be none."""
    if isinstance(path, (str, os.PathLike)):
        file = Path(os.path.expanduser(os.fsdecode(path)))
        if file.suffix == ".keras" and file.parent.is_dir() and not file.is_dir():
            return file.resolve()
    raise invalid_value("path", "a path that ends in `.keras`, in a folder that exists", path)


def _leave_out_compilation(path: Path) -> None:
    """Takes out of a configuration what the model, and models inside of it, were compiled with."""

    def without(entries: dict[str, Any]) -> dict[str, Any]:
        entries.pop("compile_config", None)
        return entries

    configuration = json.loads(path.read_text(), object_hook=without)
    path.write_text(json.dumps(configuration))


def _compress(path: Path) -> None:
    """Compresses the weights in a file, and leaves the optimizers' out."""
    packed = path.with_suffix(".packed")
    with h5py.File(path, "r") as source, h5py.File(packed, "w") as target:

        def copy(name: str, item: Any) -> None:
            if OPTIMIZER.search(f"/{name}/"):
                return
            if isinstance(item, h5py.Group):
                new = target.require_group(name)
            elif item.nbytes <= SMALL or item.dtype.hasobject:
                new = target.create_dataset(name, data=_numbers(item, ()))
            else:
                options = {"chunks": _block(item.shape, item.dtype.itemsize), "compression": "gzip"}
                new = target.create_dataset(name, item.shape, item.dtype, **options)
                for part in new.iter_chunks():
                    block, numbers = np.zeros(new.chunks, item.dtype), _numbers(item, part)
                    block[tuple(map(slice, numbers.shape))] = numbers
                    new.id.write_direct_chunk([each.start for each in part], _deflated(block))
            new.attrs.update(item.attrs)

        source.visititems(copy)
    packed.replace(path)


def _numbers(item: Any, part: Any) -> Any:
    """A part of a weight, with 0 for -0: signs of zeros would take most of a sparse file."""
    numbers = np.array(item[part])
    # What NumPy has no type for comes as bytes, with its name from Keras beside it.
    if item.dtype.kind == "f" or item.attrs.get("dtype") == "bfloat16":
        bits = numbers.view(f"u{numbers.itemsize}")
        bits[bits == 1 << 8 * numbers.itemsize - 1] = 0
    return numbers


def _deflated(block: Any) -> bytes:
    """A block in the format of `gzip`.

    The second way looks for runs only: it is smaller where most are zeros, and several times as
    fast. The highest levels of the first save a hundredth, and take ten times as long.
    """
    ways = (zlib.Z_DEFAULT_STRATEGY, zlib.Z_RLE)
    streams = [zlib.compressobj(6, strategy=strategy) for strategy in ways]
    return min((stream.compress(block) + stream.flush() for stream in streams), key=len)


def _block(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """The shape of blocks of whole last axes, as far as these fit."""
    room, block = BLOCK // itemsize, []
    for side in reversed(shape):
        block.append(min(side, max(room, 1)))
        room //= side
    return tuple(reversed(block))
