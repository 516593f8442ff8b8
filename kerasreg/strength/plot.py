"""Draws a path: the coefficients of a linear model, else what is monitored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from kerasreg._checks import invalid_value
from kerasreg.strength.path_row import PathRow

Rows = Sequence[PathRow]
Floats = npt.NDArray[np.float64]

# Petroff, Accessible Color Sequences for Data Visualization, 2021.
COLORS = "#3f90da #ffa90e #bd1f01 #94a4a2 #832db6 #a96b59 #e76300 #b9ac70 #717581 #92dadd".split()
STYLES = ("-", "--", ":", "-.")
FONT_SIZE = 9.0  # in points, as all below
LINE_HEIGHT = 1.3 * FONT_SIZE
LABEL_DISTANCE = 12.0


def plot_coefficients(
    rows: Rows,
    coefficients: Floats,
    choices: Mapping[str, PathRow],
    ax: Any,
    names: Sequence[str] | None,
) -> Any:
    """Draws the coefficients of a linear model against the strength, a line for each feature.

    Args:
        rows: The rows of one penalty.
        coefficients: Of shape `(rows, features, outputs)`; of several outputs the norm is drawn.
        choices: Rows to mark, by the names of their marks.
        ax: Axes of matplotlib, or `None` for new ones.
        names: Names of the features, to write beside the lines, or `None`.
    """
    _, features, outputs = coefficients.shape
    if names is not None and (isinstance(names, str) or len(names) != features):
        raise invalid_value("names", f"a name for each of {features} features", names)
    values = coefficients[:, :, 0] if outputs == 1 else np.linalg.norm(coefficients, axis=2)
    axes = _prepare(ax)
    strengths = [row.strength for row in rows]
    lines = [
        axes.plot(strengths, column, **_style(i), linewidth=1.5)[0]
        for i, column in enumerate(values.T)
    ]
    axes.axhline(0, color="black", linewidth=0.5, zorder=1)
    label = "coefficient" if outputs == 1 else f"norm over {outputs} outputs"
    axes.set(xscale="log", xlabel=f"strength of {rows[0].penalty}", ylabel=label)
    axes.margins(x=0.02)
    axes.xaxis.set_inverted(True)
    _mark_strengths(axes, choices)
    if names is not None:
        for line, name in zip(lines, names, strict=True):
            line.set_label(name)
        _label_ends(axes, lines)
    return axes


def plot_values(
    rows: Rows, values: Sequence[float], label: str, choices: Mapping[str, PathRow], ax: Any
) -> Any:
    """Draws what is monitored against strength or sparsity, a line for each penalty.

    Args:
        rows: The rows of all penalties.
        values: What is monitored, for each row; that of folds gets bars of one standard error.
        label: What these values are, with underscores.
        choices: Rows to mark, by the names of their marks.
        ax: Axes of matplotlib, or `None` for new ones.
    """
    axes = _prepare(ax)
    is_linear = rows[0].residual is not None
    places = [row.strength if is_linear else row.sparsity for row in rows]
    penalties = list(dict.fromkeys(row.penalty for row in rows))
    for i, penalty in enumerate(penalties):
        style = _style(i)
        chosen = [k for k, row in enumerate(rows) if row.penalty == penalty]
        x, y = [places[k] for k in chosen], [values[k] for k in chosen]
        axes.plot(x, y, marker="o", markersize=4, label=penalty, **style)
        if rows[chosen[0]].fold_values:
            errors = [rows[k].fold_error for k in chosen]
            axes.errorbar(x, y, errors, fmt="none", color=style["color"], elinewidth=0.8)
    axes.set_ylabel(label.replace("_", " "))
    if is_linear:
        axes.set(xscale="log", xlabel="strength")
        axes.xaxis.set_inverted(True)
    else:
        axes.set_xlabel("weights that are exactly zero")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    ring = {"markersize": 11, "markerfacecolor": "none", "markeredgecolor": "black"}
    for (name, row), shape in zip(choices.items(), "os", strict=False):
        k = rows.index(row)
        penalty = f"{row.penalty}, " if len(penalties) > 1 else ""
        text = f"{name}: {penalty}strength {row.strength:.3g}"
        axes.plot(places[k], values[k], shape, label=text, **ring)
    axes.legend(fontsize=FONT_SIZE, frameon=False)
    return axes


def _prepare(ax: Any) -> Any:
    """The given axes, or new ones, with two of their four sides."""
    import matplotlib.pyplot as plt

    axes = plt.subplots(figsize=(8, 5), layout="constrained")[1] if ax is None else ax
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def _style(i: int) -> dict[str, str]:
    """Colour and style of line `i`: all colours, then all of them in the next style."""
    style = STYLES[i // len(COLORS) % len(STYLES)]
    return {"color": COLORS[i % len(COLORS)], "linestyle": style}


def _label_ends(axes: Any, lines: Sequence[Any]) -> None:
    """Writes the lines' labels beside their ends; of the largest only, where there is no room."""
    axes.figure.draw_without_rendering()  # Lays the axes out, on which the places depend.
    points = 72.0 / axes.figure.dpi
    bottom, top = axes.get_window_extent().intervaly * points
    room = max(1, int((top - bottom) / LINE_HEIGHT))
    lines = sorted(lines, key=lambda line: -abs(line.get_ydata()[-1]))[:room]
    ends = [(line.get_xdata()[-1], line.get_ydata()[-1]) for line in lines]
    places = axes.transData.transform(ends)[:, 1] * points
    shifts = _spread(places, LINE_HEIGHT, bottom, top) - places
    for line, end, shift in zip(lines, ends, shifts, strict=True):
        thin = {"arrowstyle": "-", "color": line.get_color(), "linewidth": 0.6}
        axes.annotate(
            line.get_label(),
            end,
            (LABEL_DISTANCE, shift),
            textcoords="offset points",
            verticalalignment="center",
            fontsize=FONT_SIZE,
            arrowprops={**thin, "shrinkA": 0, "shrinkB": 0, "relpos": (0, 0.5)},
        )


def _spread(places: Floats, gap: float, low: float, high: float) -> Floats:
    """The nearest places in squares, a gap apart between low and high, by isotonic regression."""
    order = np.argsort(places, kind="stable")
    blocks: list[tuple[float, int]] = []
    for rank, place in enumerate(places[order]):
        mean, count = place - gap * rank, 1
        while blocks and blocks[-1][0] > mean:
            other, others = blocks.pop()
            mean, count = (mean * count + other * others) / (count + others), count + others
        blocks.append((mean, count))
    means, counts = zip(*blocks, strict=True)
    within = np.clip(means, low, high - gap * (len(places) - 1))
    result = np.empty(len(places))
    result[order] = np.repeat(within, counts) + gap * np.arange(len(places))
    return result


def _mark_strengths(axes: Any, choices: Mapping[str, PathRow]) -> None:
    """Draws a vertical line with its name above for each choice."""
    # The best strength is the weaker one and so the right one: the names face away from each other.
    sides = ("left", "right") if len(choices) > 1 else ("center",)
    for (name, row), side, style in zip(choices.items(), sides, STYLES[1:], strict=False):
        axes.axvline(row.strength, color="gray", linestyle=style, linewidth=1, zorder=1)
        place, text = (row.strength, 1.01), f" {name} "
        above = axes.get_xaxis_transform()
        axes.text(*place, text, transform=above, fontsize=FONT_SIZE, horizontalalignment=side)
