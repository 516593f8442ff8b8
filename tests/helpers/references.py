"""Reference implementations in float64 NumPy, written from the formulas and not from the code."""

import math

import numpy as np
from scipy.optimize import brentq, minimize_scalar

import kerasreg as kr


def wide(*arrays):
    return (np.asarray(array, "float64") for array in arrays)


class Elementwise:
    """A sum of `term(w)` over all weights, with its derivative `slope(w)` and its kink `kink`."""

    def value(self, w):
        (w,) = wide(w)
        return np.sum(self.term(w))

    def gradient(self, w):
        """The gradient where there is one, and 0 for each term at its kink."""
        (w,) = wide(w)
        return self.slope(w)

    def prox(self, w, step):
        """The minimiser of `sum (z - w)^2 / (2 step) + value(z)`, by search."""
        w, step = np.broadcast_arrays(*wide(w, step))
        return np.reshape(
            [self._prox(x, s) for x, s in zip(w.flat, step.flat, strict=True)], w.shape
        )

    def _prox(self, x, step):
        if step == 0:
            return x

        def objective(z):
            return (z - x) ** 2 / (2 * step) + self.term(z)

        # The minimiser lies between 0 and x; zero itself is a kink that a search only comes close
        # to. A grid finds the right one of several minima.
        grid = np.linspace(0.0, x, 101)
        best = int(np.argmin(objective(grid)))
        bounds = sorted((grid[max(best - 1, 0)], grid[min(best + 1, 100)]))
        found = minimize_scalar(objective, bounds=bounds, options={"xatol": 1e-12}).x
        return min((0.0, x, found), key=objective)

    def subdifferential_distance(self, w, grad):
        w, grad = wide(w, grad)
        at_zero = np.maximum(np.abs(grad) - self.kink, 0)
        return np.linalg.norm(np.where(w == 0, at_zero, grad + self.slope(w)))


class ElasticNet(Elementwise):
    def __init__(self, penalty):
        self.kink, self.l2 = penalty.alpha * penalty.l1, penalty.alpha * penalty.l2

    def term(self, w):
        return self.kink * np.abs(w) + self.l2 * w**2

    def slope(self, w):
        return self.kink * np.sign(w) + 2 * self.l2 * w


class L1(ElasticNet):
    def __init__(self, penalty):
        self.kink, self.l2 = penalty.l1, 0.0


class L2(ElasticNet):
    def __init__(self, penalty):
        self.kink, self.l2 = 0.0, penalty.l2


class MCP(Elementwise):
    def __init__(self, penalty):
        self.kink, self.gamma = penalty.l1, penalty.gamma

    def term(self, w):
        w, l1, gamma = np.abs(w), self.kink, self.gamma
        return np.where(w <= gamma * l1, l1 * w - w**2 / (2 * gamma), gamma * l1**2 / 2)

    def slope(self, w):
        return np.sign(w) * np.maximum(self.kink - np.abs(w) / self.gamma, 0)


class GroupLasso:
    def __init__(self, penalty):
        self.penalty = penalty

    def groups(self, *arrays):
        """For each slice along the axis its strength, and views of that slice of the arrays."""
        axes = np.atleast_1d(self.penalty.axis)
        moved = [np.moveaxis(array, axes, range(len(axes))) for array in arrays]
        for place in np.ndindex(*moved[0].shape[: len(axes)]):
            parts = [array[place + (None,)] for array in moved]
            yield self.strength(parts[0].size), *parts

    def strength(self, size):
        return self.penalty.strength * (math.sqrt(size) if self.penalty.size_scaling else 1.0)

    def value(self, w):
        (w,) = wide(w)
        return sum(strength * norm(group) for strength, group in self.groups(w))

    def gradient(self, w):
        """The gradient where there is one, and 0 for each group at its kink."""
        (w,) = wide(w)
        result = np.zeros_like(w)
        for strength, group, out in self.groups(w, result):
            if np.any(group):
                out[...] = strength * group / norm(group)
        return result

    def prox(self, w, step):
        """The minimiser of `sum (z - w)^2 / (2 step) + value(z)`, by search."""
        w, step = np.broadcast_arrays(*wide(w, step))
        result = np.zeros_like(w)
        for strength, group, steps, out in self.groups(w, step, result):
            out[...] = self._prox(group, strength * steps)
        return result

    def _prox(self, w, thresholds):
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

        s = np.exp(brentq(excess, math.log(norm(w)) - 80, math.log(norm(w)) + 1e-9, xtol=1e-14))
        return w * s / (s + thresholds)

    def subdifferential_distance(self, w, grad):
        total = 0.0
        for strength, group, slope in self.groups(*wide(w, grad)):
            if np.any(group):
                total += np.sum((slope + strength * group / norm(group)) ** 2)
            else:
                total += max(norm(slope) - strength, 0.0) ** 2
        return math.sqrt(total)


def norm(group):
    return np.linalg.norm(np.ravel(group))


REFERENCES = {
    kr.L1: L1,
    kr.L2: L2,
    kr.ElasticNet: ElasticNet,
    kr.MCP: MCP,
    kr.GroupLasso: GroupLasso,
}


def reference(penalty):
    """The reference of a penalty, with its strengths."""
    return REFERENCES[type(penalty)](penalty)
