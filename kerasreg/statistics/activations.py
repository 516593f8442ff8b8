"""What rectified units put out on a batch: how much of it is zero, and which units are dead."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from kerasreg._backends import compiled_like, without_gradients
from kerasreg._checks import invalid_value
from kerasreg._tensors import Tensor
from kerasreg.layers.replaced import replaced
from kerasreg.statistics.names import LayerNames, unique_names
from kerasreg.statistics.numbers import Statistics, total_statistics
from kerasreg.statistics.rectified import output_units, rectified_layers
from kerasreg.statistics.tensors import TensorStatistics

# Keras calls one of them, by whether the layer is quantized.
_CALLS = ("call", "quantized_call")

ACTIVATION_TOTALS = ("activation_zeros", "dead_activations")


@dataclass(frozen=True)
class Activated:
    """What is measured of the outputs of rectified layers at one moment.

    Args:
        names: The names of the layers.
        statistics: The `Statistics` of the output of each, over all samples and positions; a unit
            is dead where it is zero for all of them.
        histograms: The counts of what is not zero in each, rows `[left, right, count]`.
    """

    names: Sequence[str] = ()
    statistics: Sequence[Statistics] = ()
    histograms: Sequence[npt.NDArray[np.float64]] = ()

    @functools.cached_property
    def totals(self) -> dict[str, float]:
        """The numbers of all layers together, by name; none where there is no such layer."""
        if not self.names:
            return {}
        total = total_statistics(self.statistics)
        return dict(zip(ACTIVATION_TOTALS, (total.sparsity, total.dead_units), strict=True))

    def of_each(self) -> dict[str, float]:
        """The numbers of each layer, by tag."""
        zeros, dead = ACTIVATION_TOTALS
        numbers: dict[str, float] = {}
        for name, each in zip(self.names, self.statistics, strict=True):
            numbers[f"{zeros}/{name}"] = each.sparsity
            if each.units:
                numbers[f"{dead}/{name}"] = each.dead_units
        return numbers


class Activations:
    """Measures the outputs of a model's rectified layers on one batch, in inference.

    The forward pass is compiled once, as the model's own steps are, and changes nothing in the
    model. The outputs stay where they are computed; counts and sums leave it.

    A layer with weights that is called several times has the same units in all of its calls. One
    without, as a `ReLU` that is used everywhere, has others in each, which are counted apart.

    Args:
        model: A built Keras model.
        names: The names of its layers.
        x: The batch: an array, or a structure of arrays.
        histograms: Whether to hand over histograms as well.
    """

    def __init__(self, model: Any, names: LayerNames, x: Any, histograms: bool = True) -> None:
        self._model, self._histograms = model, histograms
        self._layers = rectified_layers(model)
        self._layer_names = [names.of_layer(layer) for layer in self._layers]
        self._variables = [*model.trainable_variables, *model.non_trainable_variables]
        self._x = keras.tree.map_structure(ops.convert_to_tensor, x)
        self._run = compiled_like(model, self._forward)
        self._statistics: TensorStatistics | None = None
        self._names: Sequence[str] = ()
        self._unit_axes: Sequence[tuple[int, ...] | None] = ()

    def __call__(self) -> Callable[[], Activated]:
        """Starts to measure the activations with the weights as they are now.

        Returns:
            A function that waits for them, in any thread.
        """
        if not self._layers:
            return Activated
        # As arguments, for what a compiled function only refers to is a constant in it.
        values = [ops.convert_to_tensor(variable) for variable in self._variables]
        with without_gradients():
            outputs = self._run(values, self._x)
        if self._statistics is None:
            self._statistics = TensorStatistics(outputs, self._unit_axes)
        wait, names = self._statistics(outputs), self._names

        def measured() -> Activated:
            statistics, histograms = wait()
            return Activated(names, statistics, histograms if self._histograms else ())

        return measured

    def _forward(self, values: Sequence[Tensor], x: Any) -> list[Tensor]:
        """The outputs of all layers; takes note of their names and axes while it is traced."""
        calls: list[list[Tensor]] = [[] for _ in self._layers]
        observed = [
            (layer, {name: _observing(getattr(layer, name), outputs) for name in _CALLS})
            for layer, outputs in zip(self._layers, calls, strict=True)
        ]
        mapping = list(zip(self._variables, values, strict=True))
        # In this scope nothing that the model assigns reaches a variable.
        with keras.StatelessScope(state_mapping=mapping), replaced(observed):
            self._model(x, training=False)
        found = [
            (name, *each)
            for name, layer, outputs in zip(self._layer_names, self._layers, calls, strict=True)
            for each in _with_units(layer, outputs)
        ]
        self._names = unique_names(name for name, _, _ in found)
        self._unit_axes = [axes for _, _, axes in found]
        return [output for _, output, _ in found]


def check_activation_data(argument: str, x: Any) -> Any:
    """Returns a batch of inputs, or raises unless it is `None` or arrays of one length."""
    if x is None:
        return None
    leaves = keras.tree.flatten(x)
    shapes = [tuple(getattr(leaf, "shape", ())) for leaf in leaves]
    if not shapes or any(not shape or shape[:1] != shapes[0][:1] for shape in shapes):
        kinds = {type(leaf).__name__ for leaf in leaves if not getattr(leaf, "shape", ())}
        expected = "an array of inputs, or a structure of arrays, with one entry a sample"
        raise invalid_value(argument, expected, kinds or shapes)
    if not shapes[0][0]:
        raise invalid_value(argument, "at least one sample", shapes)
    return x


def check_fits(argument: str, x: Any, model: Any) -> None:
    """Raises if the one input of a model has another shape than a batch; others are tried only."""
    inputs, leaves = getattr(model, "inputs", None) or [], keras.tree.flatten(x)
    if len(inputs) != 1:
        return
    expected, found = tuple(inputs[0].shape), tuple(leaves[0].shape)
    # Keras adds, and takes off, an axis of one entry.
    fits = len(found) != len(expected) or all(
        wanted in (None, size) for wanted, size in zip(expected[1:], found[1:], strict=True)
    )
    if len(leaves) != 1 or not fits:
        shapes = [tuple(leaf.shape) for leaf in leaves]
        raise invalid_value(argument, f"one array of the shape of an input, {expected}", shapes)


def _observing(call: Any, outputs: list[Tensor]) -> Any:
    """A layer's `call`, which also takes note of its output, without states of a cell."""

    def observing_call(*args: Any, **kwargs: Any) -> Any:
        result = call(*args, **kwargs)
        outputs.append(keras.tree.flatten(result)[0])
        return result

    return observing_call


def _with_units(
    layer: Any, outputs: Sequence[Tensor]
) -> list[tuple[Tensor, tuple[int, ...] | None]]:
    """The outputs with the axes of their units; those of a layer with weights in one."""
    axes = [output_units(layer, len(output.shape)) for output in outputs]
    if len(outputs) < 2 or not layer.weights or None in axes:
        return list(zip(outputs, axes, strict=True))
    rows = [_rows(output, units) for output, units in zip(outputs, axes, strict=True) if units]
    return [(ops.concatenate(rows), tuple(range(1, len(rows[0].shape))))]


def _rows(output: Tensor, units: tuple[int, ...]) -> Tensor:
    """An output with all samples and positions along its first axis, and its units behind it."""
    others = [axis for axis in range(len(output.shape)) if axis not in units]
    turned = ops.transpose(output, (*others, *units))
    return ops.reshape(turned, (-1, *turned.shape[len(others) :]))
