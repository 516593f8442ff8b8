"""Pruning once, without training."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from kerasreg._checks import check_built, check_integer, invalid_value
from kerasreg._keras_internals import bring_up_to_date
from kerasreg._tensors import Tensor, cast_like
from kerasreg.pruning.batches import batches
from kerasreg.pruning.saliency import Saliencies, of_gradients, of_inputs
from kerasreg.regularizers import Penalty
from kerasreg.regularizers.penalty_map import (
    checked_penalties,
    match_penalties,
    penalties_on_layers,
)
from kerasreg.regularizers.selection import with_zeros_of
from kerasreg.regularizers.update import Update
from kerasreg.statistics.sparsity_report import SparsityReport, sparsity_report


def prune(
    model: Any,
    constraint: Penalty | Mapping[str, Penalty],
    x: Any = None,
    y: Any = None,
    *,
    batch_size: int = 32,
) -> SparsityReport:
    """Prunes a model once, in place and without training.

    Each weight becomes what a constraint allows, as `Proximal` leaves it after the last update of a
    training: with `TopK` the entries, units, heads, blocks or groups of the largest saliency stay
    as they are, and the others become zero. What is zero already stays so. A schedule is left out.

    | `saliency` of `TopK` | an entry is as large as | needs |
    |---|---|---|
    | `"magnitude"` | `|w|` | nothing |
    | `"activation"` | `|w| * ||x||`, with the norm over all samples and positions of what the \
      entry is multiplied by | `x` |
    | `"taylor"` | the mean over batches of `|w * gradient|`, of the loss without kerasreg's \
      penalties | `x`, `y` and a compiled model |

    For `"activation"` the model is called once a batch, in inference. An input channel of a
    convolution counts at all its positions, a row of an embedding as often as it is looked up, and
    padded time steps as others do. A bias is multiplied by one, and so, on average, is a gain. What
    recurrent kernels and weights of a layer of one's own are multiplied by is not known, unless the
    layer tells, by `kerasreg.pruning.input_squares.input_squares.register`.

    Sources: Han et al., Learning both Weights and Connections for Efficient Neural Networks, 2015
    (magnitude); Sun et al., A Simple and Effective Pruning Approach for Large Language Models, 2023
    (activation); Molchanov et al., Pruning Convolutional Neural Networks for Resource Efficient
    Inference, 2017 (taylor).

    Args:
        model: A built Keras model. If it is compiled, it stays so, and its optimizer as it is.
        constraint: A `TopK`, or another constraint as `Box`, for all kernels that are trained, or
            for the weights that its groups name; or a dict from regular expressions, which must
            match the whole `variable.path`, to constraints.
        x: Inputs, if the saliency needs them: an array of shape `(n, ...)`, a structure of arrays,
            or batches with or without targets: a `tf.data.Dataset`, a `PyDataset`, a `DataLoader`
            or a generator that ends.
        y: Targets, if the saliency needs them and the batches of `x` have none.
        batch_size: Number of samples in a batch, unless `x` comes in batches. At an optimum the
            gradient of all samples is zero, so that `"taylor"` wants small ones.

    Returns:
        The `sparsity_report` of the model.

    Raises:
        ValueError: If an argument is invalid, a pattern matches nothing, a weight cannot be divided
            as the constraint says, or the saliency needs what is not there: data, a loss, the
            inputs of a layer, or with `"metric"` the step of an optimizer.

    Example:
    >>> report = kerasreg.prune(model, kerasreg.TopK(0.5, saliency="activation"), x)
    >>> kernels = [row for row in report.rows if "kernel" in row.path]
    >>> [row.sparsity for row in kernels]
    [0.5, 0.5, 0.5]
    >>> model.compile(kerasreg.Proximal("adam", kerasreg.KeepZeros()), model.loss)  # to fine-tune
    """
    if not isinstance(model, keras.Model):
        raise invalid_value("model", "a Keras model", model)
    check_built(model)
    check_integer("batch_size", batch_size, "a positive integer", least=1)
    bring_up_to_date(model)
    pairs = _matched(model, constraint)
    saliencies = _saliencies(model, pairs, x, y, batch_size)
    together: dict[Penalty, list[Any]] = defaultdict(list)
    for variable, penalty in pairs:
        together[penalty].append(variable)
    pruned = [
        (variable, w)
        for penalty, variables in together.items()
        for variable, w in zip(variables, _values(penalty, variables, saliencies), strict=True)
    ]
    for variable, w in pruned:
        variable.assign(cast_like(w, variable))
    for variable, penalty in pairs:
        penalty.after_training(variable)
    return sparsity_report(model)


def _matched(model: Any, constraint: Any) -> list[tuple[Any, Penalty]]:
    """The weights that are pruned, each with its constraint; raises where one cannot be."""
    checked = checked_penalties("constraint", constraint, _checked)
    on_layers = penalties_on_layers(model, checked, "constraint")
    variables = model.trainable_variables
    matched = match_penalties(on_layers, variables, "constraint")
    pairs = [(v, p.at_once) for v, p in zip(variables, matched, strict=True) if p is not None]
    if not pairs:
        paths = "\n  ".join(variable.path for variable in variables)
        expected = f"a weight to act on among those that are trained\n  {paths}\n"
        raise invalid_value("constraint", expected, constraint)
    for variable, penalty in pairs:
        penalty.check_weight(variable)
    return pairs


def _checked(constraint: Any) -> Penalty:
    if not (isinstance(constraint, Penalty) and constraint.is_constraint):
        expected = (
            "a constraint, as `kerasreg.TopK`, or a dict from patterns to constraints; penalties "
            "with a strength act in training, by `Proximal`"
        )
        raise invalid_value("constraint", expected, constraint)
    if constraint.needs_step:
        expected = (
            "one that needs no step of an optimizer, as there is none; 'magnitude', 'activation' "
            "and 'taylor' are saliencies without one"
        )
        raise invalid_value("constraint", expected, constraint)
    return constraint


def _saliencies(
    model: Any, pairs: Sequence[tuple[Any, Penalty]], x: Any, y: Any, batch_size: int
) -> Saliencies:
    """The saliencies of the weights whose constraints ask for data."""
    of_data = [variable for variable, penalty in pairs if penalty.needs_data]
    of_loss = [(variable, penalty) for variable, penalty in pairs if penalty.averages]
    if (of_data or of_loss) and x is None:
        raise invalid_value("x", "inputs, which the saliency of a constraint needs", None)
    found = Saliencies()
    if of_data:
        found |= of_inputs(model, of_data, batches(x, y, batch_size))
    if of_loss:
        found |= of_gradients(model, of_loss, batches(x, y, batch_size))
    return found


def _values(penalty: Penalty, variables: Sequence[Any], saliencies: Saliencies) -> list[Tensor]:
    """The values of all weights that a constraint acts on together."""
    before = [ops.stop_gradient(variable.value) for variable in variables]
    updates = [
        Update(
            w,
            penalty.remember(w),
            moments=(),
            step_size=lambda scale, moments: scale,
            path=variable.path,
            saliency=saliencies.get(id(variable)),
        )
        for variable, w in zip(variables, before, strict=True)
    ]
    values = penalty.update(updates, ops.ones((), dtype="int32"), ops.ones(()))
    return [with_zeros_of(w, b) for w, b in zip(values, before, strict=True)]
