"""All uses of what Keras does not export, each with its reason.

`tests/test_keras_internals.py` fails when Keras changes one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
from keras.src.losses.loss import unscale_loss_for_distribution
from keras.src.regularizers import ALL_OBJECTS_DICT
from keras.src.saving.keras_saveable import KerasSaveable
from keras.src.utils.naming import to_snake_case

from kerasreg._tensors import to_numpy


class Saveable(KerasSaveable):  # type: ignore[misc]
    """Base of attributes of layers that are saved with the model, in a group of their own.

    Reason: layers, metrics and optimizers are; for anything else there is no public name. In the
    layer's own group other layers, as Keras's dropout, would refuse the file.
    """

    # Copies and pickles as other objects, not by way of a model file.
    __reduce__ = object.__reduce__

    def _obj_type(self) -> str:
        return "Operation"


def register_regularizer_string(name: str, cls: type) -> None:
    """Lets `keras.regularizers.get(name)` find `cls`.

    Reason: `register_keras_serializable` serves dicts only; strings are looked up in this table.
    """
    ALL_OBJECTS_DICT[name] = cls


def all_layers(layer: Any) -> list[Any]:
    """The layer or model itself and every layer below it, each once, parents first.

    Reason: `model.layers` stops at direct children and misses the sublayers of custom layers.
    """
    return list(layer._flatten_layers(include_self=True, recursive=True))


def automatic_name(layer: Any) -> str:
    """What Keras calls the first layer of this kind in a process, if it is given no name.

    Reason: a layer does not tell whether its name is one that Keras gave it.
    """
    return str(to_snake_case(type(layer).__name__))


def seed_states(model: Any) -> list[Any]:
    """The variables in which the random generators of all layers keep their states.

    Reason: `model.variables` has them without saying which they are.
    """
    carried = [g for layer in all_layers(model) for g in layer._seed_generators]
    generators = [g for g in carried if isinstance(g, keras.random.SeedGenerator)]
    return list({id(g.state): g.state for g in generators}.values())


def own_variables(layer: Any) -> list[Any]:
    """The variables of a layer itself, also those that it shares with another layer.

    Reason: `layer.variables` has those of the layers below it as well.
    """
    return [*layer._trainable_variables, *layer._non_trainable_variables]


def carry_states(layer: Any, kind: type, holders: list[Any]) -> None:
    """Lets compiled steps read the `state` of these holders anew each time, and of no others.

    Reason: on JAX a compiled step takes all variables for constants but weights, metrics and the
    states of random generators. As weights these would be saved with the model, and metrics are
    missing where penalties are computed; so they are put among the generators.

    Args:
        layer: The layer whose steps, and those of models with it, read the states.
        kind: The class of all such holders; those given before are taken out.
        holders: Objects with a variable `state`.
    """
    if keras.backend.backend() == "jax":
        others = [g for g in layer._seed_generators if not isinstance(g, kind)]
        layer._seed_generators[:] = [*others, *holders]


def track_metric(model: Any, metric: keras.metrics.Metric) -> None:
    """Adds a metric to those whose state the model resets, and carries through its steps.

    Reason: as an attribute of the model, which is the public way, it would be saved with it.
    """
    model._metrics.append(metric)


def untrack_metric(model: Any, metric: keras.metrics.Metric) -> None:
    """Undoes `track_metric`."""
    model._metrics[:] = [other for other in model._metrics if other is not metric]


def optimizer_slot(optimizer: Any, name: str, variable: Any) -> Any:
    """The optimizer's own variable for a model variable, as the second moment of Adam.

    Reason: `optimizer.variables` is a flat list that does not say what is what.
    """
    return getattr(optimizer, name)[optimizer._get_variable_index(variable)]


def loss_terms(model: Any, y: Any, y_pred: Any, sample_weight: Any) -> tuple[list[Any], list[Any]]:
    """The terms that `Model.compute_loss` adds up: those of `compile`, and those of `losses`.

    Reason: it returns their sum, in which a small term is lost to rounding.
    """
    compiled = []
    if model._compile_loss is not None:
        loss = model._compile_loss(y, y_pred, sample_weight)
        compiled = [] if loss is None else [loss]
    return compiled, [model._aggregate_additional_loss(loss) for loss in model.losses]


def build_loss(model: Any, y: Any, predict: Callable[[], Any]) -> None:
    """Lets the loss of `compile` make its variables now, if it has not.

    Reason: with several outputs it has a metric for each, made when it is first called; inside a
    compiled function they would be values of that function.
    """
    loss = model._compile_loss
    if loss is not None and not loss.built:
        loss.build(y, predict())


def unscaled_for_distribution(loss: Any) -> Any:
    """A loss as it is reported, not as one of several TensorFlow replicas contributes to it.

    Reason: Keras divides by the number of replicas in `loss_terms`.
    """
    return unscale_loss_for_distribution(loss)


def know_variables(optimizer: Any, variables: Sequence[Any]) -> None:
    """Tells an optimizer which weights it updates, as the `build` of its base class does.

    Reason: that `build` also makes moving averages and accumulators of gradients, which the
    optimizer inside of a wrapper has already.
    """
    indices = {optimizer._var_key(variable): i for i, variable in enumerate(variables)}
    optimizer._trainable_variables_indices = indices
    # Neither is tracked: weights are no variables of the optimizer.
    vars(optimizer)["_trainable_variables"] = list(variables)
    optimizer.built = True


def batches_seen(optimizer: Any) -> int:
    """The number of batches that an optimizer has received gradients of.

    Reason: `iterations` counts updates, and forgets the batches that only accumulate.
    """
    return int(to_numpy(innermost_optimizer(optimizer)._iterations))


def innermost_optimizer(optimizer: Any) -> Any:
    """The optimizer that `Proximal` and `LossScaleOptimizer` have been wrapped around."""
    while hasattr(optimizer, "inner_optimizer"):
        optimizer = optimizer.inner_optimizer
    return optimizer


def optimizers_within(optimizer: Any) -> Iterator[Any]:
    """An optimizer and all that others have been wrapped around, or divide the weights among."""
    yield optimizer
    parts = getattr(optimizer, "optimizers", []) if getattr(optimizer, "built", False) else []
    for part in [getattr(optimizer, "inner_optimizer", None), *parts]:
        if part is not None:
            yield from optimizers_within(part)


def assigned_optimizer(optimizer: Any, variable: Any) -> Any:
    """The optimizer that a `MultiOptimizer` will have for a weight once it is built.

    Reason: it has no public way to ask.
    """
    return optimizer._optimizer_map(variable)


def unbuilt_copy(optimizer: Any) -> Any:
    """An optimizer of the same configuration that has not been built.

    Reason: the configuration does not say which weights `exclude_from_weight_decay` has named.
    """
    copy = type(optimizer).from_config(optimizer.get_config())
    for name in ("_exclude_from_weight_decay", "_exclude_from_weight_decay_pattern"):
        if hasattr(optimizer, name):
            setattr(copy, name, getattr(optimizer, name))
    return copy


def attention_attribute(layer: Any, kind: str) -> str | None:
    """The attribute with the regularizer that an attention layer gives all its `kind`s.

    Reason: its sublayers come back from its config only, and `MultiHeadAttention` keeps the
    regularizers of `"kernel"` and `"bias"` that it writes there to itself.
    """
    if isinstance(layer, keras.layers.MultiHeadAttention):
        return f"_{kind}_regularizer"
    if isinstance(layer, keras.layers.GroupQueryAttention):
        return f"{kind}_regularizer"
    return None


def bring_up_to_date(model: Any) -> None:
    """Gives a model's variables the values that its training has reached.

    Reason: on JAX `fit` keeps them outside of the variables, also when it is interrupted.
    """
    if keras.backend.backend() == "jax":
        model.jax_state_sync()


def forget_compiled_steps(model: Any) -> None:
    """Lets `fit`, `evaluate` and `predict` compile their steps anew, as `compile` does.

    Reason: on JAX Keras compiles the bound method `model.train_step`, and JAX does not trace one
    again that equals another, as long as something, such as a callback, keeps the older one.
    """
    model.train_function = model.test_function = model.predict_function = None
    if keras.backend.backend() == "jax":
        import jax

        for step in (model.train_step, model.test_step):
            compiled: Any = jax.jit(step)
            compiled.clear_cache()
