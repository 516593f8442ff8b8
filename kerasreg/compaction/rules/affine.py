"""What layers with a kernel and a bias have in common."""

from __future__ import annotations

from typing import Any

from kerasreg.compaction.call import Call
from kerasreg.compaction.channels import Channels
from kerasreg.compaction.uses import Bias


def affine(
    call: Call,
    x: Channels,
    axis: int,
    kernel: Any,
    rows: int,
    columns: int,
    bias: Bias,
    obstacle: str = "",
) -> Channels:
    """The channels of `x @ kernel + bias`.

    Args:
        call: The call of the layer.
        x: The input.
        axis: The axis of the output's channels.
        kernel: The kernel.
        rows: Its axis of the inputs.
        columns: Its axis of the outputs.
        bias: The bias, or where it would be.
        obstacle: Why a constant input is not the same at all positions of the output, if it is not.

    Returns:
        The channels before the activation.
    """
    read = call.read(kernel, rows, columns, bias, folds=not obstacle, obstacle=obstacle)
    sums = read.constants(call.constants(x))
    if bias.variable is not None:
        sums = sums + call.numbers(bias.variable)
    out = call.new(axis, sums, length=len(sums))
    call.connect(read, x, out)
    call.cut(kernel, rows, x, produces=False)
    call.cut(kernel, columns, out)
    call.cut_bias(bias, out)
    return out
