"""Dropout of weights."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kerasreg._checks import check_bool, check_choice, invalid_value
from kerasreg._keras_internals import all_layers
from kerasreg._tensors import Tensor
from kerasreg.layers.base_dropout import BaseDropout
from kerasreg.layers.dropout import SCALINGS
from kerasreg.layers.masks import drawing

SUPPORTED = (
    keras.layers.Dense,
    keras.layers.EinsumDense,
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
    keras.layers.DepthwiseConv1D,
    keras.layers.DepthwiseConv2D,
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

    The layer keeps its weights, with their names, regularizers and constraints, which see the
    kernel without a mask.

    Source: Wan et al., Regularization of Neural Networks using DropConnect, 2013.

    Args:
        layer: A layer with one kernel: `Dense`, `EinsumDense`, `Conv1D` to `Conv3D`,
            `Conv1DTranspose` to `Conv3DTranspose`, `DepthwiseConv1D` or `DepthwiseConv2D`.
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
        scaling: str = "training",
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        _check_layer(layer, check_bool("per_sample", per_sample))
        # With another policy the input, and the kernel, would be rounded before the layer.
        if kwargs.get("dtype") is None and layer.quantization_mode is None:
            kwargs["dtype"] = layer.dtype_policy
        super().__init__(rate, seed=seed, layer=layer, **kwargs)
        self.per_sample = per_sample
        self.scaling = check_choice("scaling", scaling, SCALINGS)
        self.supports_masking = layer.supports_masking
        self.input_spec = layer.input_spec

    def build(self, input_shape: Any) -> None:
        """Builds the layer inside."""
        super().build(input_shape)
        self.input_spec = self.layer.input_spec

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        """Applies the layer, in training with a masked kernel."""
        if self._is_identity():
            return self.layer(inputs)
        return self._drop(inputs) if training else self._infer(inputs)

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        """The mask of the layer inside."""
        return self.layer.compute_mask(inputs, previous_mask)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of the layer's output."""
        return self.layer.compute_output_shape(input_shape)

    def compute_output_spec(self, inputs: Any, training: bool = False) -> Any:
        """The shape and dtype of the layer's output."""
        return self.layer.compute_output_spec(inputs)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        config = super().get_config()
        # Without its shapes, by which Keras would build it outside of this layer's name.
        config["layer"] = {k: v for k, v in config["layer"].items() if k != "build_config"}
        return {**config, "per_sample": self.per_sample, "scaling": self.scaling}

    def _drop(self, inputs: Tensor) -> Tensor:
        _check_kernel(self)
        state = self.seed_generator.next()
        if self.per_sample:
            return self._call_per_sample(inputs, state)
        rescale = self.scaling == "training"
        masked = drawing.drop(_kernel_tensor(self.layer), state, None, rescale)
        return _call_with_kernel(self.layer, masked, inputs)

    def _infer(self, inputs: Tensor) -> Tensor:
        if self.scaling == "training":
            return self.layer(inputs)
        _check_kernel(self)
        expected = drawing.expectation(_kernel_tensor(self.layer), self.seed_generator.state)
        return _call_with_kernel(self.layer, expected, inputs)

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


def _kernel_tensor(layer: Any) -> Tensor:
    """The kernel as the layer sees it, under the present autocast."""
    # Never TensorFlow's variable, which `masks` would compile a function for.
    return ops.cast(layer.kernel, layer.kernel.dtype)


def _call_with_kernel(layer: Any, kernel: Tensor, inputs: Tensor) -> Tensor:
    """Calls the layer as if that were its kernel."""
    others = [v for v in layer.variables if v is not layer.kernel]
    # All of them: inside the scope, values of an outer scope (a training step of JAX) are unseen.
    mapping = [(layer.kernel, kernel), *((v, v.value) for v in others)]
    with keras.StatelessScope(mapping, collect_losses=True) as scope:
        before = [scope.get_current_value(v) for v in others]
        y = layer(inputs)
    for variable, value in zip(others, before, strict=True):
        if scope.get_current_value(variable) is not value:
            variable.assign(scope.get_current_value(variable))
    # The scope took these losses in; only those that a layer adds outside of it count.
    for loss in scope.losses:
        layer.add_loss(loss)
    return y


def _check_layer(layer: Any, per_sample: bool) -> None:
    if not isinstance(layer, SUPPORTED):
        names = ", ".join(cls.__name__ for cls in SUPPORTED)
        raise invalid_value("layer", f"a layer of one of the types {names}", layer)
    if per_sample and type(layer).call is not keras.layers.Dense.call:
        expected = f"False, as layer '{layer.name}' is no `Dense` with the call of Keras"
        raise invalid_value("per_sample", expected, per_sample)


def _check_kernel(drop_connect: DropConnect) -> None:
    """Raises unless the layer's output depends on its kernel and nothing in its stead."""
    layer = drop_connect.layer
    if layer.quantization_mode is not None:
        problem = "that is not quantized"
    elif getattr(layer, "lora_enabled", False):
        problem = "without LoRA"
    elif len(all_layers(layer)) > 1:
        problem = "without other layers inside"
    else:
        return
    raise invalid_value("layer", f"a layer {problem}", layer, f" of layer '{drop_connect.name}'")
