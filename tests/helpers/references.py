"""Reference implementations in float64 NumPy, written from the formulas and not from the code."""

import math

import numpy as np
from scipy.optimize import brentq, minimize_scalar

import kerasreg as kr


def wide(*arrays):
    return (np.asarray(array, "float64") for array in arrays)


class Elementwise:
    """A sum of `term(w)` over all weights, with its derivative `slope(w)` and its kink `kink`."""

    positive = False  # whether the proximal operator has the constraint w >= 0

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
        if self.positive:
            x = max(x, 0.0)
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
        push = np.maximum(-grad, 0) if self.positive else np.abs(grad)
        at_zero = np.maximum(push - self.kink, 0)
        return np.linalg.norm(np.where(w == 0, at_zero, grad + self.slope(w)))


class ElasticNet(Elementwise):
    def __init__(self, penalty):
        self.kink, self.l2 = penalty.alpha * penalty.l1, penalty.alpha * penalty.l2
        self.positive = penalty.positive

    def term(self, w):
        return self.kink * np.abs(w) + self.l2 * w**2

    def slope(self, w):
        return self.kink * np.sign(w) + 2 * self.l2 * w


class L1(ElasticNet):
    def __init__(self, penalty):
        self.kink, self.l2, self.positive = penalty.l1, 0.0, penalty.positive


class L2(ElasticNet):
    def __init__(self, penalty):
        self.kink, self.l2 = 0.0, penalty.l2


class MCP(Elementwise):
    def __init__(self, penalty):
        self.kink, self.gamma, self.positive = penalty.l1, penalty.gamma, penalty.positive

    def term(self, w):
        w, l1, gamma = np.abs(w), self.kink, self.gamma
        return np.where(w <= gamma * l1, l1 * w - w**2 / (2 * gamma), gamma * l1**2 / 2)

    def slope(self, w):
        return np.sign(w) * np.maximum(self.kink - np.abs(w) / self.gamma, 0)


class SCAD(Elementwise):
    def __init__(self, penalty):
        self.kink, self.gamma = penalty.l1, penalty.gamma

    def term(self, w):
        w, l1, gamma = np.abs(w), self.kink, self.gamma
        between = (2 * gamma * l1 * w - w**2 - l1**2) / (2 * (gamma - 1))
        beyond = l1**2 * (gamma + 1) / 2
        return np.where(w <= l1, l1 * w, np.where(w <= gamma * l1, between, beyond))

    def slope(self, w):
        size, l1, gamma = np.abs(w), self.kink, self.gamma
        falling = np.maximum(gamma * l1 - size, 0) / (gamma - 1)
        return np.sign(w) * np.where(size <= l1, l1, falling)


class LogSum(Elementwise):
    def __init__(self, penalty):
        self.strength, self.epsilon = penalty.strength, penalty.epsilon
        self.kink = self.strength / self.epsilon

    def term(self, w):
        return self.strength * np.log(1 + np.abs(w) / self.epsilon)

    def slope(self, w):
        return self.strength * np.sign(w) / (np.abs(w) + self.epsilon)


class Lq(Elementwise):
    def __init__(self, penalty):
        self.strength, self.kink = penalty.strength, np.inf if penalty.strength else 0.0

    def term(self, w):
        return self.strength * np.abs(w) ** self.q

    def slope(self, w):
        size = np.where(w == 0, 1.0, np.abs(w))
        return self.strength * self.q * np.sign(w) * size ** (self.q - 1)


class L0_5(Lq):
    q = 1 / 2


class L2_3(Lq):
    q = 2 / 3


class Weighted:
    """Another reference, whose terms have factors."""

    def __init__(self, penalty):
        self.inner, self.factors = reference(penalty.penalty), np.asarray(penalty.factors)

    def value(self, w):
        (w,) = wide(w)
        return np.sum(self.factors * self.inner.term(w))

    def gradient(self, w):
        (w,) = wide(w)
        return self.factors * self.inner.slope(w)

    def prox(self, w, step):
        return self.inner.prox(w, step * self.factors)

    def subdifferential_distance(self, w, grad):
        w, grad, factors = np.broadcast_arrays(*wide(w, grad, self.factors))
        distances = [
            f * self.inner.subdifferential_distance(x, g / f) if f else g
            for x, g, f in zip(w.flat, grad.flat, factors.flat, strict=True)
        ]
        return np.linalg.norm(distances)


class SLOPE:
    def __init__(self, penalty):
        self.alphas = np.asarray(penalty.alphas)

    def value(self, w):
        (w,) = wide(w)
        return np.sum(np.sort(np.abs(w), axis=None)[::-1] * self.alphas)

    def gradient(self, w):
        """The gradient where there is one, and 0 for weights that are zero."""
        (w,) = wide(w)
        ranks = np.argsort(np.argsort(-np.abs(w.ravel()), kind="stable"))
        return np.sign(w) * self.alphas[ranks].reshape(w.shape)

    def prox(self, w, step):
        (w,) = wide(w)
        size = np.abs(w.ravel())
        order = np.argsort(-size)
        result = np.empty_like(size)
        result[order] = np.maximum(nearest_falling(size[order] - step * self.alphas), 0)
        return np.sign(w) * result.reshape(w.shape)

    def subdifferential_distance(self, w, grad):
        """Of each set of equal weights by itself."""
        w, grad = (x.ravel() for x in wide(w, grad))
        total, first = 0.0, 0
        for size in np.unique(np.abs(w))[::-1]:
            tied = np.abs(w) == size
            alphas = self.alphas[first : first + tied.sum()]
            first += tied.sum()
            push = np.abs(grad[tied]) if size == 0 else -grad[tied] * np.sign(w[tied])
            excess = nearest_falling(np.sort(push)[::-1] - alphas)
            total += np.sum((np.maximum(excess, 0) if size == 0 else excess) ** 2)
        return math.sqrt(total)


def nearest_falling(x):
    """Isotonic regression by its formula, `min_{j <= i} max_{k >= i} mean(x_j, ..., x_k)`."""
    sums = np.concatenate([[0.0], np.cumsum(x)])
    result = np.empty_like(x)
    for i in range(len(x)):
        starts, ends = np.arange(i + 1)[:, None], np.arange(i, len(x))[None] + 1
        result[i] = np.min(np.max((sums[ends] - sums[starts]) / (ends - starts), axis=1))
    return result


class OfGroups:
    """A sum of `term(norm, strength)` over groups, with its derivative `slope`."""

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
        return sum(self.term(norm(group), strength) for strength, group in self.groups(w))

    def gradient(self, w):
        """The gradient where there is one, and 0 for each group at its kink."""
        (w,) = wide(w)
        result = np.zeros_like(w)
        for strength, group, out in self.groups(w, result):
            if np.any(group):
                out[...] = self.slope(norm(group), strength) * group / norm(group)
        return result

    def prox(self, w, step):
        """The minimiser of `sum (z - w)^2 / (2 step) + value(z)`, by search."""
        w, step = np.broadcast_arrays(*wide(w, step))
        result = np.zeros_like(w)
        for strength, group, steps, out in self.groups(w, step, result):
            out[...] = self._prox(group, steps, strength)
        return result

    def subdifferential_distance(self, w, grad):
        total = 0.0
        for strength, group, slope in self.groups(*wide(w, grad)):
            if np.any(group):
                of_penalty = self.slope(norm(group), strength) * group / norm(group)
                total += np.sum((slope + of_penalty) ** 2)
            else:
                total += max(norm(slope) - strength, 0.0) ** 2
        return math.sqrt(total)


class GroupLasso(OfGroups):
    def term(self, norm, strength):
        return strength * norm

    def slope(self, norm, strength):
        return strength

    def _prox(self, w, step, strength):
        return shortened(np.maximum(w, 0) if self.penalty.positive else w, strength * step)

    def subdifferential_distance(self, w, grad):
        w, grad = wide(w, grad)
        if self.penalty.positive:
            grad = np.where(w == 0, np.minimum(grad, 0), grad)
        return super().subdifferential_distance(w, grad)


class SparseGroupLasso(OfGroups):
    """Its strengths are those of the groups; the lasso comes on top."""

    def __init__(self, penalty):
        super().__init__(penalty)
        self.l1 = penalty.strength * penalty.l1_ratio

    def strength(self, size):
        return (1 - self.penalty.l1_ratio) * super().strength(size)

    def term(self, norm, strength):
        return strength * norm

    def slope(self, norm, strength):
        return strength

    def value(self, w):
        return super().value(w) + self.l1 * np.sum(np.abs(np.asarray(w, "float64")))

    def gradient(self, w):
        return super().gradient(w) + self.l1 * np.sign(np.asarray(w, "float64"))

    def _prox(self, w, step, strength):
        """By proximal steps on the conjugate of the lasso, so that neither order is assumed."""
        pull = np.zeros_like(w)
        if np.all(step == 0) or self.l1 == 0:
            return shortened(w, strength * step)
        for _ in range(20_000):
            z = shortened(w - step * pull, strength * step)
            new = np.clip(pull + z / np.maximum(np.max(step), 1e-30), -self.l1, self.l1)
            if np.max(np.abs(new - pull)) < 1e-14 * self.l1:
                break
            pull = new
        return z

    def subdifferential_distance(self, w, grad):
        w, grad = wide(w, grad)
        soft = np.sign(grad) * np.maximum(np.abs(grad) - self.l1, 0)
        return super().subdifferential_distance(
            w, np.where(w == 0, soft, grad + self.l1 * np.sign(w))
        )


class Block(OfGroups):
    """A concave penalty on norms; the minimiser shrinks each weight as its step says."""

    def _prox(self, w, step, strength):
        if strength == 0 or not np.any(w) or np.all(step == 0):
            return w

        def shrunk(log_nu):
            return np.where(step == 0, w, w / (1 + step * np.exp(-log_nu)))

        def objective(z):
            moved = step > 0
            distance = np.sum((z - w)[moved] ** 2 / (2 * step[moved]))
            return distance + self.term(norm(z), strength)

        # All minimisers on spheres around zero, from the smallest to the largest.
        grid = np.linspace(-40, 40, 1201)
        best = int(np.argmin([objective(shrunk(x)) for x in grid]))
        bounds = grid[max(best - 1, 0)], grid[min(best + 1, 1200)]
        options = {"xatol": 1e-13}
        found = minimize_scalar(lambda x: objective(shrunk(x)), bounds=bounds, options=options).x
        return min((np.where(step == 0, w, 0), w, shrunk(found)), key=objective)


class BlockMCP(Block):
    def term(self, s, strength):
        gamma = self.penalty.gamma
        s = min(s, gamma * strength)
        return strength * s - s**2 / (2 * gamma)

    def slope(self, s, strength):
        return max(strength - s / self.penalty.gamma, 0)


class BlockSCAD(Block):
    def term(self, s, strength):
        gamma = self.penalty.gamma
        if s <= strength:
            return strength * s
        if s <= gamma * strength:
            return (2 * gamma * strength * s - s**2 - strength**2) / (2 * (gamma - 1))
        return (gamma + 1) * strength**2 / 2

    def slope(self, s, strength):
        gamma = self.penalty.gamma
        return min(strength, max(gamma * strength - s, 0) / (gamma - 1))


def shortened(w, thresholds):
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


def norm(group):
    return np.linalg.norm(np.ravel(group))


REFERENCES = {
    kr.L1: L1,
    kr.L2: L2,
    kr.ElasticNet: ElasticNet,
    kr.MCP: MCP,
    kr.SCAD: SCAD,
    kr.LogSum: LogSum,
    kr.L0_5: L0_5,
    kr.L2_3: L2_3,
    kr.Weighted: Weighted,
    kr.SLOPE: SLOPE,
    kr.GroupLasso: GroupLasso,
    kr.SparseGroupLasso: SparseGroupLasso,
    kr.BlockMCP: BlockMCP,
    kr.BlockSCAD: BlockSCAD,
}


def reference(penalty):
    """The reference of a penalty, with its strengths."""
    return REFERENCES[type(penalty)](penalty)
