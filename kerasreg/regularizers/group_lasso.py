"""The group lasso."""

from __future__ import annotations

from dataclasses import dataclass

from keras import ops

from kerasreg._checks import check_bool
from kerasreg._tensors import Tensor
from kerasreg.regularizers.base import later, register_penalty
from kerasreg.regularizers.group_penalty import GroupPenalty
from kerasreg.regularizers.prox import group_soft_threshold


@register_penalty
@dataclass(frozen=True, repr=False)
class GroupLasso(GroupPenalty):
    """The group lasso: `strength * sum_g sqrt(|g|) * ||w_g||`, whole groups become zero together.

    A group is one slice of the weight along `axis`, and `|g|` its number of weights.

    | `axis` | what becomes zero together |
    |---|---|
    | `"output"` | all that leads to one output unit, channel or filter, on any layer; in a \
      recurrent layer to a unit of one gate |
    | `"input"` | all that comes from one input feature or channel, on any layer |
    | `"heads"` | one head, in a kernel of an attention layer |
    | `-1` | an output unit or filter of `Dense`, `Conv`, `Embedding`; a unit of one gate of a \
      recurrent layer; an *input* channel of `Conv2DTranspose`; of `DepthwiseConv2D` the filters \
      of all channels with the same number; an entry of every head of `MultiHeadAttention` |
    | `0` | an input feature of `Dense`, a row of `Embedding` |
    | `-2` | an input channel of `Conv`, an output channel of `Conv2DTranspose` |

    Source: Yuan & Lin, Model Selection and Estimation in Regression with Grouped Variables, 2006.

    Args:
        strength: Non-negative strength.
        axis: Integer, or a tuple of integers that number the groups together; or `"output"`,
            `"input"` or `"heads"`. A weight does not know its layer, so words have to be resolved
            where the model is at hand: by `attach_regularizers(model, ...)`, by
            `Proximal(..., model=model)`, or by `max_strength` and `regularization_path`. They are
            saved as integers.
        size_scaling: Whether to weight each group by the square root of its size, so that the
            same strength means the same for narrow and wide layers. scikit-learn's
            `MultiTaskLasso` does not.
        positive: Whether `Proximal` also keeps weights from being negative. In a loss there can be
            no such constraint: there a negative weight has its penalty, and that is all.

    Raises:
        ValueError: If an argument is invalid, or later if a weight has no such axis, or a word
            was not resolved.

    Example:
    >>> layer = keras.layers.Dense(10, kernel_regularizer=kerasreg.GroupLasso(1e-3, axis=0))
    >>> kerasreg.attach_regularizers(model, kerasreg.GroupLasso(1e-3, axis="output"))
    """

    strength: float = 0.01
    axis: int | tuple[int, ...] | str = -1
    size_scaling: bool = True
    positive: bool = later(False)

    def __post_init__(self) -> None:
        """Validates the arguments."""
        super().__post_init__()
        check_bool("positive", self.positive)

    def allowed(self, w: Tensor) -> Tensor:
        """The nearest weight that is not negative, with `positive`; else the weight itself."""
        return ops.relu(w) if self.positive else w

    def _terms(self, norms: Tensor, strength: Tensor) -> Tensor:
        return strength * norms

    def _slope(self, norms: Tensor, strength: Tensor) -> Tensor:
        return strength

    def _prox(self, w: Tensor, step: Tensor) -> Tensor:
        axes = self._axes_of(w)
        return group_soft_threshold(self.allowed(w), step * self._group_strength(w, axes), axes)

    def _residual(self, w: Tensor, grad: Tensor) -> Tensor:
        if not self.positive:
            return super()._residual(w, grad)
        # A zero may be pressed against the bound.
        return super()._residual(w, ops.where(w == 0, -ops.relu(-grad), grad))

    def _dual_norm(self, grad: Tensor) -> Tensor:
        return super()._dual_norm(ops.relu(-grad) if self.positive else grad)
