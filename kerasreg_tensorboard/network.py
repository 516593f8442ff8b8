"""Reads what the picture of the network shows: how much of each layer is alive at a step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kerasreg_tensorboard.names import DEAD
from kerasreg_tensorboard.table import Number, Source, TableReader, Weight, tag_of

SPARSITY = "sparsity"


def read_network(
    table: TableReader, source: Source, step: int | None, known: str | None = None
) -> dict[str, Any]:
    """The layers of a run that have units or parts, in the order in which they compute.

    A layer has those of all its kernels together. Of a kernel whose penalty zeroes parts, as inputs
    or heads, these are counted, else its output units.

    Args:
        table: Reads the run.
        source: The run.
        step: Step at which the numbers are wanted; `None` for the latest.
        known: The version of the layers that the page has already.

    Returns:
        `{"version", "layers", "alive", "zeros", "kernels"}`: what each layer is, or null where the
        page has that; for each layer how much of what is counted is alive, the share of its
        kernels that is zero, and `[dead, zeros]` for each kernel. What is not known is null.
    """
    marker = table.marker(source)
    layers = _layers(marker.weights)
    tags = [[(tag_of(DEAD, w), tag_of(SPARSITY, w)) for w in kernels] for kernels in layers]
    values = table.values(source, (tag for each in tags for pair in each for tag in pair), step)
    numbers = [[[_finite(values.get(tag)) for tag in pair] for pair in each] for each in tags]
    pairs = list(zip(layers, numbers, strict=True))
    return {
        "version": marker.version,
        "layers": None if known == marker.version else list(map(_describe, layers)),
        "alive": [_alive(kernels, found) for kernels, found in pairs],
        "zeros": [_zeros(kernels, found) for kernels, found in pairs],
        "kernels": numbers,
    }


def _layers(weights: Sequence[Weight]) -> list[list[Weight]]:
    """The kernels of each layer, the layers in their order."""
    layers: dict[str, list[Weight]] = {}
    for weight in weights:
        if weight["units"] > 0 or weight["parts"] > 0:
            layers.setdefault(weight["layer"], []).append(weight)
    return sorted(layers.values(), key=lambda kernels: min(w["order"] for w in kernels))


def _describe(kernels: Sequence[Weight]) -> dict[str, Any]:
    words = {_word(kernel) for kernel in kernels}
    return {
        "name": kernels[0]["layer"],
        "units": sum(kernel["units"] or kernel["parts"] for kernel in kernels),
        "counted": sum(map(_counted, kernels)),
        "word": words.pop() if len(words) == 1 else "parts",
        "dropout": kernels[0]["dropout"],
        "kernels": [
            {"name": kernel["name"], "shape": kernel["shape"], "penalty": kernel["penalty"]}
            | {"counted": _counted(kernel), "word": _word(kernel)}
            for kernel in kernels
        ],
    }


def _counted(kernel: Weight) -> int:
    count: int = kernel["parts"] or kernel["units"]
    return count


def _word(kernel: Weight) -> str:
    word: str = kernel["part"] if kernel["parts"] else "units"
    return word


def _alive(kernels: Sequence[Weight], numbers: Sequence[Sequence[float | None]]) -> int | None:
    dead = [each for each, _ in numbers if each is not None]
    if len(dead) < len(kernels):
        return None
    return max(0, int(sum(map(_counted, kernels)) - sum(dead)))


def _zeros(kernels: Sequence[Weight], numbers: Sequence[Sequence[float | None]]) -> float | None:
    """The mean over all entries of the kernels."""
    size = sum(kernel["size"] for kernel in kernels)
    zeros = [each for _, each in numbers if each is not None]
    if len(zeros) < len(kernels) or size <= 0:
        return None
    total = sum(z * kernel["size"] for z, kernel in zip(zeros, kernels, strict=True))
    return float(f"{total / size:.7g}")


def _finite(value: Number | None) -> float | None:
    return None if isinstance(value, str) else value
