"""All uses of what Keras does not export, each with its reason.

`tests/test_keras_internals.py` fails when Keras changes one of them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import keras
from keras import ops
from keras.src.applications import convnext, inception_resnet_v2
from keras.src.losses.loss import unscale_loss_for_distribution
from keras.src.models.functional import Functional
from keras.src.ops import core, math, nn, numpy
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


def sublayers(layer: Any) -> list[Any]:
    """The layers directly below a layer or model, in the order in which it was given them.

    Reason: `model.layers` is there for models only.
    """
    return list(layer._flatten_layers(include_self=False, recursive=False))


def layer_paths(layer: Any) -> list[tuple[str, Any]]:
    """What `all_layers` has, each with its path from here on: `"block/dense"`, or its own name.

    Reason: as for `all_layers`; and a layer does not know what it is inside of.
    """
    found: dict[int, tuple[str, Any]] = {id(layer): (layer.name, layer)}

    def visit(parent: Any, prefix: str) -> None:
        for each in sublayers(parent):
            if id(each) not in found:
                found[id(each)] = prefix + each.name, each
                visit(each, f"{prefix}{each.name}/")

    visit(layer, "")
    return list(found.values())


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


def own_trainable(layer: Any) -> list[Any]:
    """The variables of a layer itself that are there to be trained, frozen or not.

    Reason: a frozen weight and a moving average both say `trainable=False`; and what float8
    overwrites with its gradient says that it is trained.
    """
    found = layer._trainable_variables
    return [v for v in found if not getattr(v, "overwrite_with_gradient", False)]


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


def given_metrics(model: Any) -> list[Any]:
    """The metrics as `compile` was given them.

    Reason: `model.metrics` has those that are functions inside of objects of Keras's.
    """
    compiled = model._compile_metrics
    if compiled is None:
        return []
    return [compiled._user_metrics, compiled._user_weighted_metrics]


def metric_names(model: Any) -> set[str]:
    """The names of the metrics that `compile` was given, before a batch has made them."""
    given = keras.tree.flatten(given_metrics(model))
    return {m if isinstance(m, str) else str(getattr(m, "name", m)) for m in given}


def track_metric(model: Any, metric: keras.metrics.Metric) -> None:
    """Adds a metric to those whose state the model resets, and carries through its steps.

    Reason: as an attribute of the model, which is the public way, it would be saved with it.
    """
    model._metrics.append(metric)


def untrack_metric(model: Any, metric: keras.metrics.Metric) -> None:
    """Undoes `track_metric`."""
    model._metrics[:] = [other for other in model._metrics if other is not metric]


def fellow_callbacks(callback: Any) -> list[Any]:
    """The callbacks of the training that is calling one of them, in their order.

    Reason: Keras tells a callback of its model and not of the others; the list that calls them all
    is where the call comes from. Empty where nothing of that kind calls.
    """
    frame = inspect.currentframe()
    while frame is not None:
        caller = frame.f_locals.get("self")
        if isinstance(caller, keras.callbacks.CallbackList) and callback in caller.callbacks:
            return list(caller.callbacks)
        frame = frame.f_back
    return []


def optimizer_slot(optimizer: Any, name: str, variable: Any) -> Any:
    """The optimizer's own variable for a model variable, as the second moment of Adam.

    Reason: `optimizer.variables` is a flat list that does not say what is what.
    """
    return getattr(optimizer, name)[optimizer._get_variable_index(variable)]


def learns_by_adam(muon: Any, variable: Any) -> bool:
    """Whether a `Muon` trains a weight as Adam does.

    Reason: its arguments say so, by a rule that has no public name.
    """
    return bool(muon._should_use_adamw(variable))


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
    parts = [innermost_optimizer(each) for each, _ in optimizers_within(optimizer)]
    # A `MultiOptimizer` of an older file may have lost its own count, its parts have not.
    return max(int(to_numpy(part._iterations)) for part in parts)


def completes_update(optimizer: Any) -> Any | None:
    """Whether an optimizer's next `apply` updates the weights, and does not only accumulate.

    Reason: `iterations` counts updates, not the gradients of the one that is under way.

    Returns:
        A boolean scalar; `None` where each `apply` does.
    """
    steps = optimizer.gradient_accumulation_steps
    if not steps:
        return None
    return ops.equal((ops.convert_to_tensor(optimizer._iterations) + 1) % steps, 0)


def innermost_optimizer(optimizer: Any) -> Any:
    """The optimizer that `Proximal` and `LossScaleOptimizer` have been wrapped around."""
    while hasattr(optimizer, "inner_optimizer"):
        optimizer = optimizer.inner_optimizer
    return optimizer


def held_optimizers(holder: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The optimizers among the values of a dict, with names; also in lists and dicts in it.

    Reason: for a model's attributes, of which only `optimizer` has a name in Keras.
    """
    for key, value in holder.items():
        name = f"{prefix}{key}".lstrip("_")
        if isinstance(value, keras.optimizers.Optimizer):
            yield name, value
        elif isinstance(value, (list, tuple, dict)):
            items = value if isinstance(value, dict) else dict(enumerate(value))
            yield from held_optimizers(items, f"{name}_")


def optimizers_within(
    optimizer: Any, weights: Sequence[Any] | None = None
) -> Iterator[tuple[Any, Sequence[Any] | None]]:
    """An optimizer and all that it is wrapped around, or divides the weights among.

    Reason: a `MultiOptimizer` has no public way to ask which one a weight will have.

    Args:
        optimizer: The optimizer.
        weights: What it will train, `None` where that is not known.

    Returns:
        Each optimizer with the weights that it will train, `None` where that is not known.
    """
    yield optimizer, weights
    if hasattr(optimizer, "inner_optimizer"):
        yield from optimizers_within(optimizer.inner_optimizer, weights)
    if hasattr(optimizer, "optimizers"):  # `MultiOptimizer`, which came with Keras 3.15
        if optimizer.built or weights is None:
            for part in optimizer.optimizers:
                yield from optimizers_within(part)
        else:
            assigned = [(optimizer._optimizer_map(w), w) for w in weights]
            for part in {id(part): part for part, _ in assigned}.values():
                own = [w for other, w in assigned if other is part]
                yield from optimizers_within(part, own)


def lora_factors(layer: Any) -> list[Any]:
    """The two factors of LoRA in a layer; none where it has no LoRA.

    Reason: their names are as public as `enable_lora`, which makes them, but are in no list.
    """
    if not getattr(layer, "lora_enabled", False):
        return []
    stem = "kernel" if hasattr(layer, "lora_kernel_a") else "embeddings"
    factors = [getattr(layer, f"lora_{stem}_{which}", None) for which in "ab"]
    return [factor for factor in factors if factor is not None]


def computed_weight(layer: Any, variable: Any) -> Callable[[], Any] | None:
    """Computes what a layer uses in place of a variable that `quantize` or LoRA has rewritten.

    Reason: `layer.kernel` is packed, or has no scale, or adds LoRA to integers.

    Returns:
        A function; `None` where the layer uses the variable itself.
    """
    mode, stem = str(getattr(layer, "quantization_mode", None)), variable.name
    calibrated = getattr(layer, f"is_{mode}_calibrated", False)
    stored = getattr(layer, "quantized_kernel" if calibrated else f"_{stem}", None)
    if stem == "reverse_embeddings":
        stored = layer.reverse_embeddings
    factors = [] if stem == "reverse_embeddings" else lora_factors(layer)
    quantized = calibrated or mode in ("int8", "int4")
    if stored is not variable or not (quantized or factors):
        return None

    def compute() -> Any:
        value = _as_floats(layer, variable, mode) if quantized else ops.convert_to_tensor(variable)
        if factors:
            added = ops.matmul(*(ops.convert_to_tensor(factor) for factor in factors))
            value = ops.add(value, (layer.lora_alpha / layer.lora_rank) * added)
        return value

    return compute


def _as_floats(layer: Any, variable: Any, mode: str) -> Any:
    """The numbers that a quantized variable stands for, in the shape that it had."""
    stem, stored = variable.name, ops.convert_to_tensor(variable)
    scale = ops.convert_to_tensor(getattr(layer, f"{stem}_scale"))
    shape = getattr(layer, "original_kernel_shape", None)
    if mode in ("gptq", "awq"):
        columns = getattr(layer, f"{mode}_unpacked_column_size", None) or layer.units
        if stored.shape[0] != columns:
            stored = keras.quantizers.unpack_int4(stored, columns, axis=0, dtype="uint8")
        zeros = _of_groups(layer, layer.kernel_zero, axis=1)
        value = (ops.cast(stored, scale.dtype) - zeros) * _of_groups(layer, scale, axis=1)
        value = ops.transpose(value)
        if mode == "awq":
            value = value / ops.expand_dims(layer.awq_scales, -1)
    else:
        reverse, rows_have_scales = stem == "reverse_embeddings", stem == "embeddings"
        if mode == "int4":
            columns = getattr(layer, "_int4_unpacked_column_size", None) or layer._orig_output_dim
            axis = 0 if reverse else -1
            stored = keras.quantizers.unpack_int4(stored, columns, axis=axis)
        stored = ops.cast(stored, scale.dtype)
        if mode == "int4" and len(scale.shape) > 1:
            axis = 1 if rows_have_scales else 0
            zeros = _of_groups(layer, getattr(layer, f"{stem}_zero"), axis)
            value = (stored - zeros) * _of_groups(layer, scale, axis)
        elif rows_have_scales:
            value = stored / ops.expand_dims(scale, -1)
        elif mode == "int8" and hasattr(layer, "_adjust_scale_for_dequant"):
            value = stored / layer._adjust_scale_for_dequant(scale)
        else:
            value = stored / scale
    return value if shape is None else ops.reshape(value, shape)


def _of_groups(layer: Any, numbers: Any, axis: int) -> Any:
    """For each place along an axis the number of its group."""
    numbers = ops.cast(ops.convert_to_tensor(numbers), "float32")
    return ops.take(numbers, ops.cast(layer.g_idx, "int32"), axis=axis)


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


def takes_tensor_operations_only() -> bool:
    """Whether TensorFlow traces for XLA as a whole, or to vectorize a loop as `tape.jacobian` does.

    Reason: no graph or function says so in public.
    """
    import tensorflow as tf
    from tensorflow.python.ops.control_flow_util import GraphOrParentsInXlaContext

    graph = tf.compat.v1.get_default_graph()
    if GraphOrParentsInXlaContext(graph):
        return True
    while graph is not None:
        if any(part.startswith("loop_body") for part in graph.get_name_scope().split("/")):
            return True
        graph = getattr(graph, "outer_graph", None)
    return False


def operation_classes(names: Iterable[str]) -> list[type]:
    """The classes of the operations in a graph, as of `x + y`.

    Reason: `keras.ops` has the functions that make them only.

    Returns:
        Those that this version of Keras has.
    """
    modules = (core, math, nn, numpy)
    found = (getattr(module, name, None) for name in names for module in modules)
    return [cls for cls in found if isinstance(cls, type) and issubclass(cls, keras.Operation)]


def layer_scale() -> type:
    """The layer of ConvNeXt that has a factor for each channel.

    Reason: `keras.applications` has the functions that build the models only.
    """
    cls: type = convnext.LayerScale
    return cls


def identity_layers() -> list[type]:
    """Layers of `keras.applications` that compute nothing in inference.

    Reason: as above.
    """
    return [convnext.StochasticDepth]


def residual_scale() -> type:
    """The layer of InceptionResNetV2 that computes `x[0] + scale * x[1]`.

    Reason: as above.
    """
    cls: type = inception_resnet_v2.CustomScaleLayer
    return cls


def taken_for_bias(shape: Sequence[int]) -> bool:
    """Whether `ops.add(x, array)` may add an array of this shape along another axis of `x`.

    Reason: on TensorFlow Keras takes an array whose only axis longer than one has the length of the
    last axis of `x`, or of its second, for the bias of that axis, wherever its own axis is.
    """
    long = [axis for axis, size in enumerate(shape) if size > 1]
    one_inside = len(long) == 1 and long[0] < len(shape) - 1
    return keras.backend.backend() == "tensorflow" and one_inside


class GraphCall(NamedTuple):
    """One call in the graph of a model.

    Args:
        operation: The layer, or the operation, as of `x + y`.
        inputs: The symbolic tensors among its arguments.
        fill_in: Returns the arguments of the call, positional and by name, for a dict from the
            `id` of each symbolic tensor to what stands in its place; `None` for others.
        outputs: The symbolic tensors that it returns.
    """

    operation: Any
    inputs: list[Any]
    fill_in: Callable[[dict[int, Any]], tuple[tuple[Any, ...], dict[str, Any]]]
    outputs: list[Any]


def graph_of(model: Any) -> Any:
    """The graph that a model computes; `None` where there is none, or its `call` does more.

    Reason: a `Sequential` model keeps its own, and `Functional` has no public name.
    """
    if isinstance(model, keras.Sequential):
        return model._functional if type(model).call is keras.Sequential.call else None
    plain = isinstance(model, Functional) and type(model).call is Functional.call
    return model if plain else None


def graph_calls(graph: Any) -> list[GraphCall]:
    """The calls of a graph, in an order in which they can be made.

    Reason: `model.layers` has neither operations nor arguments, and each shared layer once.
    """
    nodes = [node for _, nodes in sorted(graph._nodes_by_depth.items())[::-1] for node in nodes]
    return [
        GraphCall(node.operation, node.input_tensors, node.arguments.fill_in, node.outputs)
        for node in nodes
        if node.operation is not None and not node.is_input
    ]


def graph_structure(graph: Any) -> tuple[Any, Any]:
    """The symbolic inputs and outputs of a graph, in the dicts and lists that it takes and returns.

    Reason: `model.inputs` and `model.outputs` are flat.
    """
    return graph._inputs_struct, graph._outputs_struct


def mask_of(tensor: Any) -> Any:
    """The mask that a symbolic tensor carries to the next layer, `None` for none.

    Reason: Keras passes it on as an attribute that has no public name.
    """
    return getattr(tensor, "_keras_mask", None)


def input_layer(tensor: Any) -> Any:
    """The `InputLayer` that an input of a model comes from.

    Reason: `model.inputs` has the tensors only, and their names are not the layers'.
    """
    return tensor._keras_history.operation


def lambda_output_shape(layer: Any) -> Any:
    """The argument `output_shape` of a `Lambda`.

    Reason: the configuration writes a function as code, without what it refers to.
    """
    return layer._output_shape


def projection_attribute(name: str) -> str:
    """The attribute of an attention layer that holds its projection `"query"`, or another one.

    Reason: `GroupQueryAttention` has no public names for them.
    """
    return f"_{name}_dense"
