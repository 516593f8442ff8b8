"""Dropout of weights."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kerasreg._checks import check_bool, check_choice, invalid_value
from kerasreg._keras_internals import all_layers
from kerasreg._tensors import Tensor
from kerasreg.layers.base_dropout import BaseDropout
from kerasreg.layers.dropout import Scaling
from kerasreg.layers.masked_kernels import masked_kernels
from kerasreg.layers.masks import drawing

SUPPORTED = (
    "Dense, EinsumDense, Conv1D to Conv3D, Conv1DTranspose to Conv3DTranspose, DepthwiseConv1D, "
    "DepthwiseConv2D, LSTM, GRU, SimpleRNN, RNN of their cells, or Bidirectional around one"
)


@keras.saving.register_keras_serializable("kerasreg")
class DropConnect(BaseDropout, keras.layers.Wrapper):  # type: ignore[misc]
    """Applies a layer with a random part of its kernel set to zero in training.

    Each weight is kept with probability `p = 1 - rate`; `m` is the 0/1 mask, `w` the kernel of
    the layer `f`.

    | `scaling` | training | inference |
    |---|---|---|
    | `"training"` (the default) | `f(x; w * m / p)` | `f(x; w)` |
    | `"inference"` | `f(x; w * m)` | `f(x; p * w)` |

    In both, the input of the activation function has the same expectation in training and in
    inference. For inference the paper samples that input from a normal distribution instead. It
    masks biases, too; here they are never masked.

    All samples of a batch share a mask, so that one kernel is masked in a step. With `per_sample`,
    as in the paper, each has its own, `y_b = sum_i x_bi w_ij m_bij / p`: gradients are less noisy,
    but memory is needed for as many kernels as there are samples.

    Of a recurrent layer the recurrent kernel is masked, by the same mask in all time steps of a
    call: the weight-dropped LSTM. `Bidirectional` has a mask for each direction. On a GPU the layer
    goes by cuDNN where it would by itself, as Keras hands it the kernel that is in force, masked or
    not; with `recurrent_dropout` it does not.

    The layer keeps its weights, with their names, regularizers and constraints, which see the
    kernel without a mask.

    Sources: Wan et al., Regularization of Neural Networks using DropConnect, 2013; Merity, Keskar
    & Socher, Regularizing and Optimizing LSTM Language Models, 2017.

    Args:
        layer: A layer with one kernel: `Dense`, `EinsumDense`, `Conv1D` to `Conv3D`,
            `Conv1DTranspose` to `Conv3DTranspose`, `DepthwiseConv1D` or `DepthwiseConv2D`. Or
            `LSTM`, `GRU`, `SimpleRNN`, an `RNN` of their cells, also stacked ones, or
            `Bidirectional` around one of them.
        rate: Fraction of the weights to drop, in [0, 1]. A rate of 1 leaves the bias.
        per_sample: Whether each sample has a mask of its own, which all its time steps share;
            for `Dense` only.
        scaling: `"training"` or `"inference"`: where the scaling by `p` takes place.
        seed: Integer seed.
        **kwargs: `name`, `dtype` and the other arguments of every Keras layer; `dtype` is by
            default that of `layer`.

    Call arguments:
        inputs: The input of `layer`.
        training: Whether to drop.
        mask: The time steps that count, for a layer that has this argument.
        initial_state: The states to begin with, for a recurrent layer.

    Returns:
        The output of `layer`.

    Raises:
        ValueError: If an argument is invalid; and, once the kernel is to be masked or scaled, if
            the layer is quantized, has LoRA enabled or other layers inside.

    Example:
    >>> layer = kerasreg.DropConnect(keras.layers.Dense(4), 0.5)
    >>> y = layer(np.ones((2, 3)), training=True)
    """

    def __init__(
        self,
        layer: Any,
        rate: float,
        per_sample: bool = False,
        scaling: Scaling = "training",
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        _check_layer(layer, check_bool("per_sample", per_sample))
        # With another policy the input, and the kernel, would be rounded before the layer.
        if kwargs.get("dtype") is None and layer.quantization_mode is None:
            kwargs["dtype"] = layer.dtype_policy
        super().__init__(rate, seed=seed, layer=layer, **kwargs)
        self.per_sample = per_sample
        self.scaling = check_choice("scaling", scaling, Scaling)
        self.supports_masking = layer.supports_masking
        self.input_spec = layer.input_spec

    def build(self, input_shape: Any) -> None:
        """Builds the layer inside."""
        super().build(input_shape)
        self.input_spec = self.layer.input_spec

    def call(
        self, inputs: Tensor, training: bool = False, mask: Any = None, initial_state: Any = None
    ) -> Tensor:
        """Applies the layer, in training with a masked kernel."""
        options = self._options(mask, initial_state)
        if self._is_identity():
            return self.layer(inputs, **options)
        return self._drop(inputs, **options) if training else self._infer(inputs, **options)

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        """The mask of the layer inside."""
        return self.layer.compute_mask(inputs, previous_mask)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of the layer's output."""
        return self.layer.compute_output_shape(input_shape)

    def compute_output_spec(
        self, inputs: Any, training: bool = False, mask: Any = None, initial_state: Any = None
    ) -> Any:
        """The shape and dtype of the layer's output."""
        return self.layer.compute_output_spec(inputs, **self._options(None, initial_state))

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        config = super().get_config()
        # Without its shapes, by which Keras would build it outside of this layer's name.
        config["layer"] = {k: v for k, v in config["layer"].items() if k != "build_config"}
        return {**config, "per_sample": self.per_sample, "scaling": self.scaling}

    def _options(self, mask: Any, initial_state: Any) -> dict[str, Any]:
        """The call arguments that there are and that the layer takes."""
        given = {"mask": mask, "initial_state": initial_state}
        given = {name: value for name, value in given.items() if value is not None}
        taken = inspect.signature(self.layer.call).parameters
        if initial_state is not None and "initial_state" not in taken:
            where = f" of layer '{self.name}'"
            raise invalid_value("initial_state", "none for this layer", initial_state, where)
        return {name: value for name, value in given.items() if name in taken}

    def _drop(self, inputs: Tensor, **options: Any) -> Tensor:
        _check_kernel(self)
        if self.per_sample:
            return self._call_per_sample(inputs, self.seed_generator.next())
        rescale, kernels = self.scaling == "training", _kernels(self.layer)
        masked = [
            drawing.drop(_tensor(kernel), self.seed_generator.next(), None, rescale)
            for kernel in kernels
        ]
        return _call_with(self.layer, kernels, masked, inputs, options)

    def _infer(self, inputs: Tensor, **options: Any) -> Tensor:
        if self.scaling == "training":
            return self.layer(inputs, **options)
        _check_kernel(self)
        kernels, state = _kernels(self.layer), self.seed_generator.state
        expected = [drawing.expectation(_tensor(kernel), state) for kernel in kernels]
        return _call_with(self.layer, kernels, expected, inputs, options)

    def _call_per_sample(self, inputs: Tensor, state: Tensor) -> Tensor:
        """What `Dense` does, from a kernel for each sample."""
        layer = self.layer
        x, kernel = (ops.cast(a, layer.compute_dtype) for a in (inputs, layer.kernel))
        kernels = ops.broadcast_to(kernel, (ops.shape(x)[0], *kernel.shape))
        kernels = drawing.drop(kernels, state, None, self.scaling == "training")
        y = ops.einsum("b...i,bij->b...j", x, kernels)
        if layer.bias is not None:
            y = ops.add(y, ops.cast(layer.bias, y.dtype))
        if layer.activation is not None:
            y = layer.activation(y)
        if layer.activity_regularizer is not None:
            loss = layer.activity_regularizer(y)
            # Keras's rule for a layer's output.
            layer.add_loss(ops.divide_no_nan(loss, ops.cast(ops.shape(y)[0], loss.dtype)))
        return y


def _kernels(layer: Any) -> list[Any]:
    return [kernel.variable for kernel in masked_kernels(layer)]


def _tensor(kernel: Any) -> Tensor:
    """The kernel as the layer sees it, under the present autocast."""
    # Never TensorFlow's variable, which `masks` would compile a function for.
    return ops.cast(kernel, kernel.dtype)


def _call_with(
    layer: Any, kernels: Sequence[Any], values: Sequence[Tensor], inputs: Tensor, options: Any
) -> Tensor:
    """Calls the layer as if its kernels had these values."""
    masked = set(map(id, kernels))
    # The states of a stateful layer are none of its variables.
    states = [getattr(each, "states", None) for each in all_layers(layer)]
    variables = [*layer.variables, *keras.tree.flatten([s for s in states if s is not None])]
    others = [v for v in {id(v): v for v in variables}.values() if id(v) not in masked]
    # All of them: inside the scope, values of an outer scope (a training step of JAX) are unseen.
    mapping = [*zip(kernels, values, strict=True), *((v, v.value) for v in others)]
    with keras.StatelessScope(mapping, collect_losses=True) as scope:
        before = [scope.get_current_value(v) for v in others]
        y = layer(inputs, **options)
    for variable, value in zip(others, before, strict=True):
        if scope.get_current_value(variable) is not value:
            variable.assign(scope.get_current_value(variable))
    # The scope took these losses in; only those that a layer adds outside of it count.
    for loss in scope.losses:
        layer.add_loss(loss)
    return y


def _check_layer(layer: Any, per_sample: bool) -> None:
    if not masked_kernels(layer):
        raise invalid_value("layer", f"a layer of one of the types {SUPPORTED}", layer)
    if per_sample and type(layer).call is not keras.layers.Dense.call:
        expected = f"False, as layer '{layer.name}' is no `Dense` with the call of Keras"
        raise invalid_value("per_sample", expected, per_sample)


def _check_kernel(drop_connect: DropConnect) -> None:
    """Raises unless the layer's output depends on its kernel and nothing in its stead."""
    layer, kernels = drop_connect.layer, set(masked_kernels(drop_connect.layer))
    parts = all_layers(layer)
    if any(part.quantization_mode is not None for part in parts):
        problem = "that is not quantized"
    elif getattr(layer, "lora_enabled", False):
        problem = "without LoRA"
    elif not all(own and kernels.issuperset(own) for own in map(masked_kernels, parts)):
        problem = "without other layers inside"
    else:
        return
    raise invalid_value("layer", f"a layer {problem}", layer, f" of layer '{drop_connect.name}'")
