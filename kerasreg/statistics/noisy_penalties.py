"""Names penalties that make few zeros because the gradients of minibatches are noisy."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from kerasreg.optimizers import Proximal
from kerasreg.optimizers.held_zeros import LONGEST_MEAN
from kerasreg.regularizers import Penalty
from kerasreg.statistics.weights import describe_regularizer


def noisy_penalties(optimizers: Iterable[Proximal]) -> Iterator[str]:
    """A sentence on each penalty whose strength is smaller than the noise of its gradients.

    Without `hold_zeros` that is the noise of a single gradient; with it, what an average over as
    many updates as it allows leaves of it.
    """
    for optimizer in optimizers:
        # The average forgets: of a variance v its rate r leaves r / (2 - r) of it.
        left = math.sqrt(1.0 / (2.0 * LONGEST_MEAN - 1.0)) if optimizer.hold_zeros else 1.0
        worst: dict[Penalty, tuple[float, str]] = {}
        for path, (penalty, ratio) in optimizer.noise_by_strength().items():
            if ratio * left > 1.0:
                worst[penalty] = max(worst.get(penalty, (0.0, "")), (ratio, path))
        advice = ["larger batches", "use_ema in the optimizer"]
        advice += [] if optimizer.hold_zeros else ["hold_zeros=True in Proximal"]
        for penalty, (ratio, path) in worst.items():
            name, strengths = describe_regularizer(penalty)
            yield (
                f"{name}({strengths}) makes few zeros: the noise of minibatches is {ratio:.3g} "
                f"times its strength on `{path}`, so that zeros leave by chance. What helps: "
                f"{', '.join(advice)}."
            )
