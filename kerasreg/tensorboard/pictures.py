"""Pictures of where the zeros of a model's matrices are, for the Images tab."""

from __future__ import annotations

import functools
import io
import math
from collections.abc import Callable, Sequence
from typing import Any

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

GROUP = "zero_pattern"

# Pixels of a side: at most, and about at least. TensorBoard draws all pictures equally wide, so
# that a narrow one would be as high as the page.
LARGEST_SIDE = 256
SMALLEST_SIDE = 128

# The line around a picture: where all is in use it is as white as TensorBoard's page.
FRAME = 128
_BRIGHTNESS = (
    "Black: all of them are exactly zero. White: none is. Between, the brightness is the square "
    "root of the fraction that is not zero, so that single weights can be seen."
)


class ZeroPatterns:
    """Draws each matrix again when its number of zeros has changed.

    Args:
        weights: The weights; those with two axes are drawn.
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

    def add_to(
        self, summary: summary_pb2.Summary, step: int, zeros: Sequence[int], final: bool = False
    ) -> None:
        """Adds a picture of each matrix whose number of zeros has changed by `step`.

        In the end all of them are drawn: as many zeros may be in other places.
        """
        for weight, count in zip(self._weights, zeros, strict=True):
            drawn_at, drawn = self._drawn.get(weight.name, (-1, -1))
            if _is_matrix(weight.variable) and (drawn != count or final and drawn_at != step):
                self._drawn[weight.name] = (step, count)
                _add_matrix(summary, weight)
                if weight.variable is self._input_kernel:
                    _add_inputs(summary, weight, self._input_shape)


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


def _add_matrix(summary: summary_pb2.Summary, weight: Weight) -> None:
    height, width = weight.variable.shape
    block = (-(-height // LARGEST_SIDE), -(-width // LARGEST_SIDE))
    picture = _picture(used_fractions(weight.source, block))
    text = (
        f"Which of the {height} × {width} weights are zero; in a `Dense` kernel a row is an input "
        f"and a column an output unit. A square is {block[0]} × {block[1]} weights. {_BRIGHTNESS}"
    )
    add_image(summary, f"{GROUP}/{weight.name}", picture, text)


def _add_inputs(summary: summary_pb2.Summary, weight: Weight, input_shape: tuple[int, ...]) -> None:
    outputs = weight.variable.shape[1]
    fractions = used_fractions(weight.source, (1, outputs)).reshape(input_shape)
    if len(input_shape) == 3 and input_shape[2] != 3:
        fractions = fractions.mean(axis=2)
    text = f"Which inputs are used. A square is the {outputs} weights of one. {_BRIGHTNESS}"
    add_image(summary, f"{GROUP}/{weight.name}/inputs", _picture(fractions), text)


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


def used_fractions(matrix: Tensor, block: tuple[int, int]) -> npt.NDArray[np.float64]:
    """The fraction of each block of a matrix that is not exactly zero.

    Args:
        matrix: Tensor or variable of shape `(height, width)`, neither of them 0.
        block: Height and width of a block; the last ones may be smaller.

    Returns:
        An array of shape `(ceil(height / block[0]), ceil(width / block[1]))`.
    """
    matrix = ops.convert_to_tensor(matrix)
    count = count_on_host if is_on_host(matrix) else count_on_device
    heights, widths = (
        # Of the blocks along a side.
        np.minimum(length, side - np.arange(0, side, length))
        for side, length in zip(matrix.shape, block, strict=True)
    )
    return count(matrix, block) / np.outer(heights, widths)


def count_on_host(matrix: Tensor, block: tuple[int, int]) -> npt.NDArray[Any]:
    """The numbers of non-zeros, from a matrix in the memory of a CPU, in one pass over it."""
    array = host_view(matrix)
    height, width = array.shape
    step = block[0] * max(1, PIECE_SIZE // (block[0] * width))
    edges = np.arange(0, width, block[1])
    # The narrowest type, as the sum over rows is what takes the time.
    dtype = np.min_scalar_type(block[0])
    rows = []
    for start in range(0, height, step):
        used = np.not_equal(array[start : start + step], 0)
        used = np.pad(used, ((0, -len(used) % block[0]), (0, 0))).view(np.uint8)
        by_row = used.reshape(-1, block[0], width).sum(axis=1, dtype=dtype)
        rows.append(np.add.reduceat(by_row, edges, axis=1, dtype=np.int64))
    return np.concatenate(rows)


def count_on_device(matrix: Tensor, block: tuple[int, int]) -> npt.NDArray[Any]:
    """The numbers of non-zeros, from a matrix on an accelerator; only they leave it."""
    return np.asarray(ops.convert_to_numpy(_compiled_count()(matrix, block)))


def _count(matrix: Tensor, block: tuple[int, int]) -> Tensor:
    """Both sides padded to whole blocks and split, then counted within each block."""
    padding = [(0, -side % length) for side, length in zip(matrix.shape, block, strict=True)]
    whole = ops.pad(matrix, padding)
    height, width = whole.shape
    blocks = ops.reshape(whole, (height // block[0], block[0], width // block[1], block[1]))
    # Not `ops.count_nonzero`, which returns the transpose on PyTorch.
    return ops.sum(ops.cast(ops.not_equal(blocks, 0), "int32"), axis=(1, 3))


@functools.cache
def _compiled_count() -> Callable[[Tensor, tuple[int, int]], Tensor]:
    return compiled(_count, static_argnums=1) if keras.backend.backend() == "jax" else _count
