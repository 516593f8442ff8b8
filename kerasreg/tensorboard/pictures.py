"""Pictures of where the zeros of a model's weights are, for the Images tab."""

from __future__ import annotations

import functools
import io
import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import keras
import numpy as np
import numpy.typing as npt
from keras import ops
from tensorboard.compat.proto import summary_pb2
from tensorboard.plugins.image import metadata as image_metadata
from tensorboard.util.tensor_util import make_tensor_proto

from kerasreg._backends import compiled, host_view, is_on_host
from kerasreg._checks import check_integer, invalid_value
from kerasreg._tensors import Tensor
from kerasreg.statistics.weights import Weight
from kerasreg.tensorboard.legend import with_legend

GROUP = "zero_pattern"

# Adds a picture to a summary.
Draw: TypeAlias = Callable[[summary_pb2.Summary], None]

# Pixels of a side: at most, and about at least.
LARGEST_SIDE = 256
SMALLEST_SIDE = 128

# Of larger models the largest weights: each picture takes milliseconds, and nobody looks at more.
MOST_PICTURES = 100

# The line around a picture: where all is in use it is as white as TensorBoard's page.
FRAME = 128
_BRIGHTNESS = (
    "Black: all of them are exactly zero. White: none is. Between, the brightness is the square "
    "root of the fraction that is not zero, so that single weights can be seen."
)


class Axes(NamedTuple):
    """Which axes of a weight are the rows and the columns of its picture.

    Args:
        rows: The axes that number the rows.
        columns: The axes that number the columns.
        row_word: What a row is, in the plural.
        column_word: What a column is.
    """

    rows: tuple[int, ...] = (0,)
    columns: tuple[int, ...] = (1,)
    row_word: str = "rows"
    column_word: str = "columns"


def axes_of(weight: Weight) -> Axes | None:
    """The axes of a weight's picture; `None` where it has none.

    A row is an input and a column an output unit, a channel of a convolution. Of a depthwise
    convolution, each of whose channels has a kernel of its own, a row is a place in that.
    """
    shape = weight.variable.shape
    every = tuple(range(len(shape)))
    columns = weight.unit_axes or ()
    inputs = tuple(axis for axis in weight.input_axes or () if axis not in columns)
    rows = inputs or tuple(axis for axis in every if axis not in columns)
    if 0 in shape or len(shape) < 2:
        return None
    if not (rows and columns):
        return Axes() if len(shape) == 2 else None
    places = "inputs" if inputs or not weight.input_axes else "places in the kernel"
    return Axes(rows, columns, places, "output units")


class ZeroPatterns:
    """Draws each weight again when its number of zeros has changed.

    Args:
        weights: The weights; of those with two or more axes the `MOST_PICTURES` largest are drawn.
        input_shape: Shape of one input, `(height, width)` or `(height, width, channels)`, to draw
            which inputs the first `Dense` kernel of that many inputs uses.

    Raises:
        ValueError: If there is no such kernel.
    """

    def __init__(self, weights: Sequence[Weight], input_shape: tuple[int, ...] | None) -> None:
        self._weights = weights
        self._input_shape = input_shape or ()
        variables = [weight.variable for weight in weights]
        self._input_kernel = input_kernel(variables, input_shape) if input_shape else None
        self._drawn: dict[str, tuple[int, int]] = {}
        axes = [(number, axes_of(weight)) for number, weight in enumerate(weights)]
        known = [(number, each) for number, each in axes if each is not None]
        known.sort(key=lambda pair: -math.prod(variables[pair[0]].shape))
        self._axes = dict(sorted(known[:MOST_PICTURES]))
        for number, variable in enumerate(variables):
            if variable is self._input_kernel:
                self._axes.setdefault(number, Axes())

    def count(self, step: int, zeros: Sequence[int], final: bool = False) -> list[Draw]:
        """Counts in each weight whose number of zeros has changed by `step`.

        In the end all of them are counted: as many zeros may be in other places.

        Returns:
            What draws a picture of each as it is now, and may be called later, in another thread:
            drawing takes longer than counting.
        """
        drawings: list[Draw] = []
        for number, axes in self._axes.items():
            weight, count = self._weights[number], zeros[number]
            drawn_at, drawn = self._drawn.get(weight.name, (-1, -1))
            if drawn != count or (final and drawn_at != step):
                self._drawn[weight.name] = (step, count)
                used = used_fractions(weight.source, _block(weight, axes), axes)
                drawings.append(partial(_add_weight, weight, axes, step, count, used))
                if weight.variable is self._input_kernel:
                    _, outputs = _sides(weight, axes)
                    used = used_fractions(weight.source, (1, outputs))
                    drawings.append(partial(_add_inputs, weight, self._input_shape, step, used))
        return drawings


def drawn(drawings: Iterable[Draw]) -> summary_pb2.Summary:
    """The pictures that these draw."""
    summary = summary_pb2.Summary()
    for draw in drawings:
        draw(summary)
    return summary


def check_input_shape(argument: str, value: Any) -> tuple[int, ...] | None:
    """Returns the shape of an image as a tuple, or `None`, or raises if it is neither."""
    if value is None:
        return None
    expected = "`None` or a shape, (height, width) or (height, width, channels)"
    if not isinstance(value, Sequence) or len(value) not in (2, 3):
        raise invalid_value(argument, expected, value)
    try:
        return tuple(check_integer(argument, side, least=1) for side in value)
    except ValueError:
        raise invalid_value(argument, expected, value) from None


def add_image(
    summary: summary_pb2.Summary, tag: str, pixels: npt.NDArray[np.uint8], description: str
) -> None:
    """Adds a picture of shape `(height, width)`, or `(height, width, 3)` for RGB.

    The description says in Markdown what it shows.
    """
    from PIL import Image  # Nothing before the first picture needs it.

    png = io.BytesIO()
    Image.fromarray(pixels).save(png, "png")
    height, width = pixels.shape[:2]
    content = [str(width).encode(), str(height).encode(), png.getvalue()]
    summary.value.add(
        tag=tag,
        metadata=image_metadata.create_summary_metadata(display_name=None, description=description),
        tensor=make_tensor_proto(np.array(content, dtype=object)),
    )


def input_kernel(variables: Sequence[Any], input_shape: tuple[int, ...]) -> Any:
    """The first `Dense` kernel whose inputs an image of that shape can be; raises if none is."""
    kernels = [v for v in variables if _is_matrix(v) and v.name == "kernel"]
    size = math.prod(input_shape)
    for kernel in kernels:
        if kernel.shape[0] == size:
            return kernel
    lines = "".join(f"\n  {kernel.path}: {kernel.shape[0]}" for kernel in kernels)
    expected = f"as many elements as one of the `Dense` kernels has inputs:{lines or ' none'}\n"
    raise invalid_value("input_shape", expected, input_shape)


def _is_matrix(variable: Any) -> bool:
    return len(variable.shape) == 2 and 0 not in variable.shape


def _sides(weight: Weight, axes: Axes) -> tuple[int, int]:
    """The numbers of rows and columns."""
    shape = weight.variable.shape
    height, width = (math.prod(shape[axis] for axis in group) for group in axes[:2])
    return height, width


def _block(weight: Weight, axes: Axes) -> tuple[int, int]:
    """How many rows and columns there are in a square."""
    height, width = _sides(weight, axes)
    return -(-height // LARGEST_SIDE), -(-width // LARGEST_SIDE)


def _add_weight(
    weight: Weight,
    axes: Axes,
    step: int,
    zeros: int,
    fractions: npt.NDArray[np.float64],
    summary: summary_pb2.Summary,
) -> None:
    shape = weight.variable.shape
    size = math.prod(shape)
    height, width = _sides(weight, axes)
    block = _block(weight, axes)
    planes = size // (height * width)
    each = f"{block[0]} × {block[1]}" + (f" × {planes}" if planes > 1 else "")
    text = (
        f"Which of the {size:,} weights are zero, {' × '.join(map(str, shape))}: rows are "
        f"{axes.row_word}, columns are {axes.column_word}. A square is {each} weights. "
        f"{_BRIGHTNESS}"
    )
    lines = [
        f"step {step:,}: {zeros:,} of {size:,} zero, {100 * zeros / size:.1f} %",
        f"a square: {each.replace('×', 'x')} weights",  # which the font has
    ]
    words = (f"{height:,} {axes.row_word}", f"{width:,} {axes.column_word}")
    picture = with_legend(_picture(fractions), *words, lines)
    add_image(summary, f"{GROUP}/{weight.name}", picture, text)


def _add_inputs(
    weight: Weight,
    input_shape: tuple[int, ...],
    step: int,
    fractions: npt.NDArray[np.float64],
    summary: summary_pb2.Summary,
) -> None:
    outputs = weight.variable.shape[1]
    used = int(np.count_nonzero(fractions))
    line = f"step {step:,}: {used:,} of {fractions.size:,} inputs used"
    fractions = fractions.reshape(input_shape)
    if len(input_shape) == 3 and input_shape[2] != 3:
        fractions = fractions.mean(axis=2)
    text = f"Which inputs are used. A square is the {outputs} weights of one. {_BRIGHTNESS}"
    words = (f"{input_shape[0]} rows", f"{input_shape[1]} columns of the input")
    lines = [line, f"a square: the {outputs:,} weights of an input"]
    picture = with_legend(_picture(fractions), *words, lines)
    add_image(summary, f"{GROUP}/{weight.name}/inputs", picture, text)


def _picture(fractions: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
    """Grey levels or colours in squares, or in bars where a side would be too narrow, framed."""
    # Rounded up: only what is all zero is black.
    pixels = np.ceil(255 * np.sqrt(fractions)).astype(np.uint8)
    sides = pixels.shape[:2]
    scale = max(1, LARGEST_SIDE // max(sides))
    for axis, side in enumerate(sides):
        pixels = pixels.repeat(max(scale, SMALLEST_SIDE // side), axis=axis)
    margins = [(1, 1), (1, 1), (0, 0)][: pixels.ndim]
    return np.pad(pixels, margins, constant_values=FRAME)


# Elements that are counted at once: with their temporaries they stay in the cache.
PIECE_SIZE = 1 << 17


class Grid(NamedTuple):
    """How a weight is counted.

    Args:
        order: Its axes in the order in which they are taken.
        shape: Number of planes, which are added up, height and width of each.
        outer: How many of the axes number planes.
        block: Height and width of a block; the last ones may be smaller.
    """

    order: tuple[int, ...]
    shape: tuple[int, int, int]
    outer: int
    block: tuple[int, int]


def used_fractions(
    weight: Tensor, block: tuple[int, int], axes: Axes | None = None
) -> npt.NDArray[np.float64]:
    """The fraction of each block of a matrix that is not exactly zero.

    Args:
        weight: Tensor or variable without an axis of length 0.
        block: Height and width of a block; the last ones may be smaller.
        axes: Which of its axes are rows and columns; the others are counted together.

    Returns:
        An array of shape `(ceil(height / block[0]), ceil(width / block[1]))`.
    """
    axes = axes or Axes()
    weight = ops.convert_to_tensor(weight)
    shape = tuple(weight.shape)
    kept = axes.rows + axes.columns
    others = tuple(axis for axis in range(len(shape)) if axis not in kept)
    height, width = (math.prod(shape[axis] for axis in group) for group in axes[:2])
    planes = math.prod(shape[axis] for axis in others)
    count = count_on_host if is_on_host(weight) else count_on_device
    counts = count(weight, Grid(others + kept, (planes, height, width), len(others), block))
    heights, widths = (
        # Of the blocks along a side.
        np.minimum(length, side - np.arange(0, side, length))
        for side, length in zip((height, width), block, strict=True)
    )
    fractions: npt.NDArray[np.float64] = counts / (planes * np.outer(heights, widths))
    return fractions


def count_on_host(weight: Tensor, grid: Grid) -> npt.NDArray[Any]:
    """The numbers of non-zeros, from a weight in the memory of a CPU, in one pass over it."""
    array = host_view(weight).transpose(grid.order)
    _, height, width = grid.shape
    outer = array.shape[: grid.outer]  # Each plane is a view, as a rule.
    views = (array[index].reshape(height, width) for index in np.ndindex(outer))
    return functools.reduce(np.add, (_count_plane(view, grid.block) for view in views))


def _count_plane(array: npt.NDArray[Any], block: tuple[int, int]) -> npt.NDArray[Any]:
    height, width = array.shape
    step = block[0] * max(1, PIECE_SIZE // (block[0] * width))
    edges = np.arange(0, width, block[1])
    # The narrowest type, as the sum over rows is what takes the time.
    dtype = np.min_scalar_type(block[0])
    rows = []
    for start in range(0, height, step):
        used = np.not_equal(array[start : start + step], 0)
        if missing := -len(used) % block[0]:
            used = np.pad(used, ((0, missing), (0, 0)))
        used = used.view(np.uint8)
        by_row = used.reshape(-1, block[0], width).sum(axis=1, dtype=dtype)
        rows.append(np.add.reduceat(by_row, edges, axis=1, dtype=np.int64))
    return np.concatenate(rows)


def count_on_device(weight: Tensor, grid: Grid) -> npt.NDArray[Any]:
    """The numbers of non-zeros, from a weight on an accelerator; only they leave it."""
    return np.asarray(ops.convert_to_numpy(_compiled_count()(weight, grid)))


def _count(weight: Tensor, grid: Grid) -> Tensor:
    """Both sides padded to whole blocks and split, then counted within each block."""
    planes = ops.reshape(ops.transpose(weight, grid.order), grid.shape)
    sides = zip(grid.shape[1:], grid.block, strict=True)
    padding = [(0, 0), *((0, -side % length) for side, length in sides)]
    whole = ops.pad(planes, padding)
    number, height, width = whole.shape
    rows, columns = grid.block
    blocks = ops.reshape(whole, (number, height // rows, rows, width // columns, columns))
    # Not `ops.count_nonzero`, which returns the transpose on PyTorch.
    return ops.sum(ops.cast(ops.not_equal(blocks, 0), "int32"), axis=(0, 2, 4))


@functools.cache
def _compiled_count() -> Callable[[Tensor, Grid], Tensor]:
    return compiled(_count, static_argnums=1) if keras.backend.backend() == "jax" else _count
