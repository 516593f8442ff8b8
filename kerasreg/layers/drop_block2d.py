"""Dropout of contiguous regions of feature maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kerasreg._backends import required
from kerasreg._checks import check_integer, invalid_value
from kerasreg._tensors import Tensor, cast_like, to_accumulator
from kerasreg.layers.base_dropout import BaseDropout
from kerasreg.layers.masks import drawing, fusion
from kerasreg.layers.spatial_dropout import DataFormat, check_data_format

NEWTON_STEPS = 24


@keras.saving.register_keras_serializable("kerasreg")
class DropBlock2D(BaseDropout):
    """Drops blocks of neighbouring positions in training, for convolutions.

    `y = x * m / mean(m)`. In each feature map blocks begin at random, at any place where they
    fit, and `m` is 0 in them and 1 elsewhere. How often they begin is solved for, so that the
    expected fraction of dropped positions is `rate` for any size of map and block; the formula
    of the paper neglects that blocks overlap, and drops less.

    Source: Ghiasi et al., DropBlock: A regularization method for convolutional networks, 2018.

    Args:
        rate: Fraction of the positions to drop, in [0, 1].
        block_size: Height and width of the blocks, an integer or a pair, up to those of the map.
        data_format: `"channels_last"` or `"channels_first"`; by default that of Keras's
            configuration.
        seed: Integer seed.
        **kwargs: `name`, `dtype` and the other arguments of every Keras layer.

    Call arguments:
        inputs: Tensor of shape `(samples, rows, columns, channels)` or, with channels first,
            `(samples, channels, rows, columns)`.
        training: Whether to drop.

    Returns:
        A tensor of the shape and dtype of `inputs`.

    Raises:
        ValueError: If an argument is invalid, or the block larger than the map.

    Example:
    >>> y = kerasreg.DropBlock2D(0.1, block_size=3)(np.ones((2, 8, 6, 4)), training=True)
    """

    def __init__(
        self,
        rate: float,
        block_size: int | Sequence[int],
        data_format: DataFormat | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(rate, seed=seed, **kwargs)
        self.block_size = _check_block_size(block_size)
        self.data_format = check_data_format(data_format)
        self.input_spec = keras.layers.InputSpec(ndim=4)
        self._first_axis = 1 if self.data_format == "channels_last" else 2

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of the input; raises if the block does not fit into it."""
        self._check_fits(input_shape)
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        config = {"block_size": self.block_size, "data_format": self.data_format}
        return {**super().get_config(), **config}

    def _drop(self, inputs: Tensor) -> Tensor:
        self._check_fits(inputs.shape)
        sizes = ops.shape(inputs)[self._first_axis : self._first_axis + 2]
        if not all(isinstance(size, int) for size in sizes):
            fits = [b <= n for n, b in zip(sizes, self.block_size, strict=True)]
            message = str(self._too_large("the height and width of the input"))
            inputs = required(inputs, fits, message)
        return _drop(inputs, self.seed_generator.next(), self.block_size, self._first_axis)

    def _check_fits(self, input_shape: Any) -> None:
        sizes = tuple(input_shape)[self._first_axis : self._first_axis + 2]
        if any(n is not None and b > n for n, b in zip(sizes, self.block_size, strict=True)):
            raise self._too_large(f"the height and width of the input, {sizes}")

    def _too_large(self, limit: str) -> ValueError:
        where = f" of layer '{self.name}'"
        return invalid_value("block_size", f"at most {limit}", self.block_size, where)


@fusion.compiled_mask
def _drop(x: Tensor, state: Tensor, block_size: tuple[int, int], first: int) -> Tensor:
    shape = list(ops.shape(x))
    sizes = shape[first : first + 2]
    begins = [n - b + 1 for n, b in zip(sizes, block_size, strict=True)]
    # Sizes that are not known before may be too small, see `required`.
    shape[first : first + 2] = [n if isinstance(n, int) else ops.maximum(n, 0) for n in begins]
    probability = _beginning_probability(drawing.keep_probability(state), sizes, block_size)
    dropped = ops.cast(drawing.uniform(state, shape) < probability, "float32")
    for axis, size in enumerate(block_size, start=first):
        dropped = _spread(dropped, axis, size)
    mask = 1.0 - dropped
    wide = cast_like(mask, to_accumulator(x))
    # Not `ops.mean`, which on PyTorch is one of float32.
    share = ops.sum(wide) / cast_like(ops.size(wide), wide)
    kept = drawing.scaled(x, drawing.inverse_or_zero(share))
    return ops.where(mask > 0, kept, ops.zeros_like(x))


def _spread(begins: Tensor, axis: int, size: int) -> Tensor:
    """Blocks along an axis, from where they begin: position `i` is in those of `i-size+1..i`."""
    padding = [(0, 0)] * 4
    padding[axis] = (size - 1, size - 1)
    covered = ops.pad(begins, padding)
    width = 1
    while width < size:  # By doubling: every step covers up to twice as many beginnings.
        step = min(width, size - width)
        ahead: list[Any] = [slice(None)] * 4
        behind = list(ahead)
        ahead[axis], behind[axis] = slice(step, None), slice(None, -step)
        covered = ops.maximum(covered[tuple(ahead)], covered[tuple(behind)])
        width += step
    return covered


def _beginning_probability(keep: Tensor, sizes: Sequence[Any], block_size: Sequence[int]) -> Tensor:
    """The probability `q` of a block to begin for which positions are kept with `keep`.

    A position is kept if none of the `n` blocks begins that would cover it, with probability
    `(1 - q)^n`. The mean over the positions is convex and increasing in `u = log(1 - q)`, so that
    Newton's iteration from 0 falls to the solution without overshooting.
    """
    rows, columns = (_covering(n, b) for n, b in zip(sizes, block_size, strict=True))
    count = ops.expand_dims(rows, 1) * ops.expand_dims(columns, 0)

    def step(_: Any, u: Tensor) -> Tensor:
        kept = ops.exp(u * count)
        return u - (ops.mean(kept) - keep) / ops.mean(count * kept)

    u = ops.fori_loop(0, NEWTON_STEPS, step, ops.zeros(()))
    return ops.where(keep > 0, 1.0 - ops.exp(u), 1.0)


def _covering(size: Any, block: int) -> Tensor:
    """For each position along an axis, the number of places where a block covers it."""
    index = ops.arange(size)
    last = size - block
    counts = ops.minimum(index, last) - ops.maximum(index - block + 1, 0) + 1
    return ops.cast(counts, "float32")


def _check_block_size(block_size: Any) -> tuple[int, int]:
    sizes = block_size if isinstance(block_size, (tuple, list)) else (block_size, block_size)
    expected = "a positive integer or a pair of them"
    if len(sizes) != 2:
        raise invalid_value("block_size", expected, block_size)
    height, width = (check_integer("block_size", size, expected, least=1) for size in sizes)
    return height, width
