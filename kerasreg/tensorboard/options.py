"""What a run logs beside the numbers that are always there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kerasreg._checks import check_bool, check_non_negative
from kerasreg.optimality import check_data
from kerasreg.tensorboard.hparams import check_hparams
from kerasreg.tensorboard.zero_pattern import check_input_shape


@dataclass(frozen=True)
class Options:
    """The arguments of `RegularizationLogger` that say what is logged; raises if one is invalid.

    Args:
        threshold: Magnitude below which a weight counts as near zero.
        histograms: Whether to log histograms.
        optimality_data: Data to log the optimality residual on, or `None`.
        input_shape: Shape of an image, to draw which pixels are used, or `None`.
        hparams: Hyper-parameters of the run for the HPARAMS tab, or `None`.
    """

    threshold: float
    histograms: bool
    optimality_data: tuple[Any, ...] | None = None
    input_shape: tuple[int, ...] | None = None
    hparams: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        """Validates the arguments."""
        checked = {
            "threshold": check_non_negative("threshold", self.threshold),
            "histograms": check_bool("histograms", self.histograms),
            "optimality_data": check_data("optimality_data", self.optimality_data),
            "hparams": check_hparams("hparams", self.hparams),
            "input_shape": check_input_shape("input_shape", self.input_shape),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)
