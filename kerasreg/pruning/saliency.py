"""How much each entry of a weight matters, where data tell."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import keras
from keras import ops

from kerasreg._backends import is_symbolic, without_gradients
from kerasreg._checks import definer, invalid_value
from kerasreg._keras_internals import all_layers, own_variables
from kerasreg._tensors import Tensor
from kerasreg.layers.replaced import replaced
from kerasreg.pruning.batches import Batch
from kerasreg.pruning.input_squares import input_squares
from kerasreg.regularizers import Penalty
from kerasreg.regularizers.penalty_map import owning_layers
from kerasreg.statistics.loss_gradient import LossGradient

Saliencies: TypeAlias = dict[int, Tensor]
"""For the `id` of a weight a tensor of its shape."""

_ONES = ("bias", "beta", "gamma")


def of_inputs(model: Any, variables: Sequence[Any], data: Iterable[Batch]) -> Saliencies:
    """`|w| * ||x||`, with the norm of what an entry is multiplied by, over all samples.

    Source: Sun et al., A Simple and Effective Pruning Approach for Large Language Models, 2023.

    Args:
        model: A model, which stays as it is.
        variables: The weights.
        data: The samples.

    Raises:
        ValueError: If a layer is not called, or its inputs do not tell.
    """
    squares: dict[int, Tensor] = {}
    asking = {id(variable): variable for variable in variables}
    layers = [each for each in all_layers(model) if any(id(v) in asking for v in each.variables)]
    observed = [(layer, {"call": _observing(layer, asking, squares)}) for layer in layers]
    # In a stateless scope nothing that the model assigns reaches a variable.
    with without_gradients(), replaced(observed):
        for batch in data:
            with keras.StatelessScope():
                model(batch.x, training=False)
    unknown = next((v for v in variables if id(v) not in squares), None)
    if unknown is not None:
        layer = owning_layers(model)[id(unknown)]
        expected = (
            "'magnitude' or 'taylor' here, as the layer is not called, or its inputs do not tell "
            "what this weight is multiplied by; or leave the weight out with a pattern of paths"
        )
        where = f" on weight `{unknown.path}` of layer '{layer.name}'"
        raise invalid_value("saliency", expected, "activation", where)
    return {
        id(v): ops.abs(ops.cast(v.value, "float32")) * ops.sqrt(squares[id(v)]) for v in variables
    }


def _observing(layer: Any, asking: Mapping[int, Any], squares: dict[int, Tensor]) -> Any:
    """The layer's `call`, which also adds to the squares of what its weights are multiplied by."""
    call = layer.call
    variables = [v for v in layer.variables if id(v) in asking]
    own = {id(v) for v in own_variables(layer)}

    def observing_call(*args: Any, **kwargs: Any) -> Any:
        outputs = call(*args, **kwargs)
        inputs = args[0] if args else next(iter(kwargs.values()), None)
        if any(map(is_symbolic, keras.tree.flatten(inputs))):  # It would leave a compiled loop.
            return outputs
        for variable in variables:
            if variable.name in _ONES and id(variable) in own:
                found = _times_used(variable, outputs)
            else:
                found = input_squares(layer, variable, inputs)
            if found is not None:
                squares[id(variable)] = squares.get(id(variable), 0.0) + found
        return outputs

    return observing_call


def _times_used(variable: Any, outputs: Any) -> Tensor | None:
    """How many samples and positions a bias or a gain acts on.

    That is its sum of squares: a bias is multiplied by one, and a gain by what has been normalised
    to a mean square of one.
    """
    if keras.tree.is_nested(outputs):  # with the states of a recurrent cell
        return None
    return ops.full((), math.prod(outputs.shape) / math.prod(variable.shape), dtype="float32")


def of_gradients(
    model: Any, pairs: Sequence[tuple[Any, Penalty]], data: Iterable[Batch]
) -> Saliencies:
    """The mean over batches of what penalties observe of weights and gradients of the loss.

    Args:
        model: A compiled model, which stays as it is.
        pairs: The weights, each with its penalty.
        data: The samples with their targets.

    Raises:
        ValueError: If the model has no loss, or the targets are missing.
    """
    own_loss = definer(type(model), "compute_loss") is not definer(keras.Model, "compute_loss")
    if not model.compiled or not (model.loss or own_loss):
        expected = "a model compiled with a loss, whose gradient the saliency needs"
        raise invalid_value("model", expected, model)
    gradient, totals, count = LossGradient(model), Saliencies(), 0
    places = {id(variable): place for place, variable in enumerate(gradient.variables)}
    for batch in data:
        if batch.y is None and not own_loss:
            raise invalid_value("y", "targets, as the saliency is of the loss", None)
        gradients = gradient(*batch)
        count += 1
        for variable, penalty in pairs:
            seen = penalty.observe(variable.value, gradients[places[id(variable)]])
            seen = ops.stop_gradient(seen)
            mean = totals.get(id(variable), 0.0)
            totals[id(variable)] = mean + (seen - mean) / count
    return totals
