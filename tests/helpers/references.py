"""Reference implementations in float64 NumPy, written from the formulas and not from the code."""

import math

import numpy as np
from scipy.optimize import brentq, minimize_scalar

import kerasreg as kr


def groups(w, axis):
    """Views of the slices along an axis, each a group."""
    moved = np.moveaxis(w, axis, 0)
    return [moved[i : i + 1] for i in range(len(moved))]


def group_strength(penalty, group):
    return penalty.strength * (math.sqrt(group.size) if penalty.size_scaling else 1.0)


def l1_l2_of(penalty):
    """Every elementwise penalty as the pair (l1, l2) of an elastic net."""
    if isinstance(penalty, kr.L1):
        return penalty.l1, 0.0
    if isinstance(penalty, kr.L2):
        return 0.0, penalty.l2
    return penalty.alpha * penalty.l1, penalty.alpha * penalty.l2


def mcp(penalty, w):
    w, knee = np.abs(w), penalty.gamma * penalty.l1
    return np.where(
        w <= knee, penalty.l1 * w - w**2 / (2 * penalty.gamma), penalty.gamma * penalty.l1**2 / 2
    )


def mcp_slope(penalty, w):
    return np.sign(w) * np.maximum(penalty.l1 - np.abs(w) / penalty.gamma, 0)


def value(penalty, w):
    w = np.asarray(w, "float64")
    if isinstance(penalty, kr.MCP):
        return np.sum(mcp(penalty, w))
    if isinstance(penalty, kr.GroupLasso):
        return sum(
            group_strength(penalty, g) * np.linalg.norm(g.ravel()) for g in groups(w, penalty.axis)
        )
    l1, l2 = l1_l2_of(penalty)
    return l1 * np.sum(np.abs(w)) + l2 * np.sum(w**2)


def gradient(penalty, w):
    """The gradient where there is one, and 0 for each term at its kink."""
    w = np.asarray(w, "float64")
    if isinstance(penalty, kr.GroupLasso):
        result = np.zeros_like(w)
        for group, out in zip(groups(w, penalty.axis), groups(result, penalty.axis), strict=True):
            norm = np.linalg.norm(group.ravel())
            if norm > 0:
                out[...] = group_strength(penalty, group) * group / norm
        return result
    if isinstance(penalty, kr.MCP):
        return mcp_slope(penalty, w)
    l1, l2 = l1_l2_of(penalty)
    return l1 * np.sign(w) + 2 * l2 * w


def prox(penalty, w, step):
    """The minimiser of `sum (z - w)^2 / (2 step) + penalty(z)`, by search."""
    w = np.asarray(w, "float64")
    step = np.broadcast_to(np.asarray(step, "float64"), w.shape)
    result = np.zeros_like(w)
    if isinstance(penalty, kr.GroupLasso):
        parts = zip(*(groups(a, penalty.axis) for a in (w, step, result)), strict=True)
        for group, steps, out in parts:
            out[...] = _group_prox(group, steps * group_strength(penalty, group))
        return result
    for index, x in np.ndenumerate(w):
        result[index] = _scalar_prox(penalty, x, step[index])
    return result


def _scalar_prox(penalty, x, step):
    if step == 0:
        return x

    def objective(z):
        if isinstance(penalty, kr.MCP):
            return (z - x) ** 2 / (2 * step) + mcp(penalty, z)
        l1, l2 = l1_l2_of(penalty)
        return (z - x) ** 2 / (2 * step) + l1 * abs(z) + l2 * z**2

    # The minimiser lies between 0 and x; zero itself is a kink that a search only comes close to.
    # A grid finds the right one of several minima.
    grid = np.linspace(0.0, x, 101)
    best = int(np.argmin(objective(grid)))
    bounds = sorted((grid[max(best - 1, 0)], grid[min(best + 1, 100)]))
    found = minimize_scalar(objective, bounds=bounds, options={"xatol": 1e-12}).x
    return min((0.0, x, found), key=objective)


def _group_prox(w, thresholds):
    """Solves z = w s / (s + t) with sum (w / (s + t))^2 = 1, or zero."""
    if np.all(thresholds == 0):
        return w
    positive = thresholds > 0
    if not np.any(w):
        return np.zeros_like(w)
    if not np.any(w[~positive]) and np.sum((w[positive] / thresholds[positive]) ** 2) <= 1:
        return np.zeros_like(w)

    def excess(log_s):
        return np.sum((w / (np.exp(log_s) + thresholds)) ** 2) - 1

    norm = np.linalg.norm(w.ravel())
    s = np.exp(brentq(excess, math.log(norm) - 80, math.log(norm) + 1e-9, xtol=1e-14))
    return w * s / (s + thresholds)


def subdifferential_distance(penalty, w, grad):
    w, grad = np.asarray(w, "float64"), np.asarray(grad, "float64")
    if isinstance(penalty, kr.GroupLasso):
        total = 0.0
        for g, d in zip(groups(w, penalty.axis), groups(grad, penalty.axis), strict=True):
            strength, norm = group_strength(penalty, g), np.linalg.norm(g.ravel())
            if norm > 0:
                total += np.sum((d + strength * g / norm) ** 2)
            else:
                total += max(np.linalg.norm(d.ravel()) - strength, 0.0) ** 2
        return math.sqrt(total)
    if isinstance(penalty, kr.MCP):
        at_zero = np.maximum(np.abs(grad) - penalty.l1, 0)
        return np.linalg.norm(np.where(w == 0, at_zero, grad + mcp_slope(penalty, w)))
    l1, l2 = l1_l2_of(penalty)
    total = 0.0
    for x, d in zip(w.ravel(), grad.ravel(), strict=True):
        d = d + 2 * l2 * x
        total += (d + l1 * np.sign(x)) ** 2 if x else max(abs(d) - l1, 0.0) ** 2
    return math.sqrt(total)
