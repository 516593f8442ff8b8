"""Numbers in answers that have to be valid JSON."""

from __future__ import annotations

import math


def json_number(value: float, digits: int = 7) -> float | str:
    """A number, by default of float32's digits, or the name that JavaScript's `Number` reads."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return float(f"{value:.{digits}g}")
