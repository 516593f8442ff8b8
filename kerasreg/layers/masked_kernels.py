"""Which kernels of a layer `DropConnect` masks.

Each kind of layer answers for itself, by `functools.singledispatch`. A layer of one's own, whose
output depends on its kernel as that of Keras's layers does, joins:

    @masked_kernels.register
    def _(layer: MyLayer):
        return [MaskedKernel(layer, "kernel")]
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any, NamedTuple

import keras


class MaskedKernel(NamedTuple):
    """A kernel that is masked, also before its layer is built.

    Args:
        layer: The layer that computes with it.
        name: The attribute that holds it.
    """

    layer: Any
    name: str

    @property
    def variable(self) -> Any:
        """The kernel, once the layer is built."""
        return getattr(self.layer, self.name)


@functools.singledispatch
def masked_kernels(layer: Any) -> list[MaskedKernel]:
    """The kernels of a layer that are masked, each with a mask of its own; by default none."""
    return []


@masked_kernels.register(keras.layers.Dense)
@masked_kernels.register(keras.layers.EinsumDense)
@masked_kernels.register(keras.layers.Conv1D)
@masked_kernels.register(keras.layers.Conv2D)
@masked_kernels.register(keras.layers.Conv3D)
@masked_kernels.register(keras.layers.Conv1DTranspose)
@masked_kernels.register(keras.layers.Conv2DTranspose)
@masked_kernels.register(keras.layers.Conv3DTranspose)
@masked_kernels.register(keras.layers.DepthwiseConv1D)
@masked_kernels.register(keras.layers.DepthwiseConv2D)
def _of_one_kernel(layer: Any) -> list[MaskedKernel]:
    return [MaskedKernel(layer, "kernel")]


@masked_kernels.register(keras.layers.LSTMCell)
@masked_kernels.register(keras.layers.GRUCell)
@masked_kernels.register(keras.layers.SimpleRNNCell)
def _of_cell(layer: Any) -> list[MaskedKernel]:
    return [MaskedKernel(layer, "recurrent_kernel")]


@masked_kernels.register
def _of_rnn(layer: keras.layers.RNN) -> list[MaskedKernel]:
    return masked_kernels(layer.cell)


@masked_kernels.register
def _of_stacked_cells(layer: keras.layers.StackedRNNCells) -> list[MaskedKernel]:
    return _of_all(layer.cells)


@masked_kernels.register
def _of_both_directions(layer: keras.layers.Bidirectional) -> list[MaskedKernel]:
    return _of_all([layer.forward_layer, layer.backward_layer])


def _of_all(parts: Iterable[Any]) -> list[MaskedKernel]:
    """Those of all parts; none at all if a part has none."""
    found = [masked_kernels(part) for part in parts]
    return [kernel for each in found for kernel in each] if all(found) else []
