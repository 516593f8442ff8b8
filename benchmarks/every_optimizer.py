"""What every optimizer of Keras makes of problems whose optimum is known.

Each optimizer trains the weights of all problems for 4,000 full-batch updates at a cosine learning
rate. Printed are, after a lasso on the diabetes data, eight random lassos, an elastic net, a
multi-task lasso, a lasso by the averaged weights (`use_ema`), and least squares of three outputs
on the weights that KeepZeros leaves, the largest error against scikit-learn or NumPy in float64
and whether all zeros are right; `refused` where there is no step size for a penalty:

    KERAS_BACKEND=jax python benchmarks/every_optimizer.py
    KERAS_BACKEND=torch python benchmarks/every_optimizer.py --steps 500 --only Lamb Ftrl
"""

import argparse

import keras
import numpy as np
from keras import ops, optimizers
from sklearn.datasets import load_diabetes
from sklearn.linear_model import ElasticNet, Lasso, MultiTaskLasso

import kerasreg as kr

OPTIMIZERS = {
    "SGD": (optimizers.SGD, 0.1, {}),
    "SGD, momentum": (optimizers.SGD, 0.02, {"momentum": 0.9}),
    "RMSprop": (optimizers.RMSprop, 0.01, {}),
    "Adam": (optimizers.Adam, 0.02, {}),
    "AdamW": (optimizers.AdamW, 0.02, {"weight_decay": 0.0}),
    "Adadelta": (optimizers.Adadelta, 30.0, {}),
    "Adagrad": (optimizers.Adagrad, 0.5, {}),
    "Adamax": (optimizers.Adamax, 0.05, {}),
    "Adafactor": (optimizers.Adafactor, 0.05, {}),
    "Nadam": (optimizers.Nadam, 0.02, {}),
    "Ftrl": (optimizers.Ftrl, 0.5, {}),
    "Lion": (optimizers.Lion, 0.01, {}),
    "Lamb": (optimizers.Lamb, 0.1, {}),
    "Muon": (optimizers.Muon, 0.02, {"weight_decay": None}),
    "ScheduleFreeAdamW": (optimizers.ScheduleFreeAdamW, 0.1, {}),
}
KINDS = {
    "lasso": kr.L1(0.1),
    "random": kr.L1(0.2),
    "elastic": kr.ElasticNet.from_sklearn(0.1, 0.7),
    "multi": kr.GroupLasso(2 * 0.3 / 3, axis=0, size_scaling=False),
    "kept": kr.KeepZeros(),
}
COLUMNS = {
    "diabetes": ("lasso", False),
    "eight random": ("random", False),
    "elastic net": ("elastic", False),
    "multi-task": ("multi", False),
    "use_ema": ("lasso", True),
    "use_ema, random": ("random", True),
    "KeepZeros": ("kept", False),
}


def standardised(x, y):
    y = np.reshape(y, (len(x), -1))
    return (x - x.mean(0)) / x.std(0), (y - y.mean(0)) / y.std(0)


def problems():
    """By name the inputs, targets, start and optimum of each."""
    rng = np.random.default_rng(0)
    x, y = standardised(*load_diabetes(return_X_y=True))
    three = standardised(
        x, np.hstack([y, x @ rng.normal(size=(10, 2)) + rng.normal(size=(442, 2))])
    )
    exact = {"tol": 1e-12, "max_iter": 1_000_000}

    def solved(model, x, y):
        start = 0.5 * rng.normal(size=(x.shape[1], y.shape[1]))
        return x, y, start, np.reshape(model.fit(x, y).coef_.T, start.shape)

    yield "lasso", solved(Lasso(0.05, **exact), x, y)
    yield "elastic", solved(ElasticNet(0.1, l1_ratio=0.7, **exact), x, y)
    yield "multi", solved(MultiTaskLasso(0.3, **exact), *three)
    for i in range(8):
        a = rng.normal(size=(100, 20)) * rng.uniform(0.5, 2.0, 20)
        true = rng.normal(size=20) * (rng.random(20) < 0.4)
        yield (
            f"random{i}",
            solved(Lasso(0.1, **exact), *standardised(a, a @ true + rng.normal(size=100))),
        )
    a = rng.normal(size=(64, 10))
    b = a @ rng.normal(size=(10, 3))
    start = rng.normal(size=(10, 3)) * (rng.random((10, 3)) < 0.4)
    optimum = np.zeros((10, 3))
    for column, used in enumerate(start.T != 0):
        optimum[used, column] = np.linalg.lstsq(a[:, used], b[:, column])[0]
    yield "kept", (a, b, start, optimum)


def train(optimizer, weights, gradient, steps):
    """Updates weights in place; on JAX in one program."""
    optimizer.build(weights)
    if keras.backend.backend() != "jax":
        for _ in range(steps):
            optimizer.apply(gradient([w.value for w in weights]), weights)
        return
    import jax

    def update(_, carried):
        values, state = carried
        return optimizer.stateless_apply(state, gradient(values), values)

    carried = [w.value for w in weights], [v.value for v in optimizer.variables]
    carried = jax.jit(lambda c: jax.lax.fori_loop(0, steps, update, c))(carried)
    for variable, value in zip([*weights, *optimizer.variables], sum(carried, []), strict=True):
        variable.assign(value)


def fit(name, given, steps, use_ema):
    """The weights of some problems after training, by their names."""
    cls, rate, options = OPTIMIZERS[name]
    inner = cls(optimizers.schedules.CosineDecay(rate, steps), use_ema=use_ema, **options)
    penalties = {
        f"{kind}.*": penalty
        for kind, penalty in KINDS.items()
        if any(key.startswith(kind) for key in given)
    }
    optimizer = kr.Proximal(inner, penalties)
    constants = []
    for x, y, _, _ in given.values():
        scaled = 2 / y.size * x.T
        constants.append([ops.cast(scaled @ z, "float32") for z in (x, y)])

    def gradient(values):
        return [a @ w - b for w, (a, b) in zip(values, constants, strict=True)]

    weights = [
        keras.Variable(start.astype("float32"), name=key) for key, (_, _, start, _) in given.items()
    ]
    train(optimizer, weights, gradient, steps)
    optimizer.finalize_variable_values(weights)
    values = [np.asarray(ops.convert_to_numpy(w.value)) for w in weights]
    return dict(zip(given, values, strict=True))


def results(name, given, steps, use_ema):
    """The weights by problem; without those whose penalty the optimizer refuses."""
    try:
        return fit(name, given, steps, use_ema)
    except ValueError as error:
        if "can follow" not in str(error):
            raise
        if len({key[:4] for key in given}) == 1:
            return {}
    kinds = {kind: {k: v for k, v in given.items() if k.startswith(kind)} for kind in KINDS}
    return {
        key: value
        for part in kinds.values()
        if part
        for key, value in results(name, part, steps, use_ema).items()
    }


def cell(found, given, kind):
    """The largest error, and how many of the problems have exactly the right zeros."""
    keys = [key for key in given if key.startswith(kind)]
    if keys[0] not in found:
        return "refused"
    error = max(np.max(np.abs(found[key] - given[key][3])) for key in keys)
    right = sum(np.array_equal(found[key] == 0, given[key][3] == 0) for key in keys)
    return f"{error:.1e} {right}/{len(keys)}"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--only", nargs="*", default=[*OPTIMIZERS])
    arguments = parser.parse_args()
    given = dict(problems())
    print("| optimizer |", " | ".join(COLUMNS), "|")
    print("|---" * (len(COLUMNS) + 1) + "|")
    for name in arguments.only:
        averaged = {key: value for key, value in given.items() if key[:6] in ("lasso", "random")}
        found = {
            False: results(name, given, arguments.steps, False),
            True: results(name, averaged, arguments.steps, True),
        }
        cells = (cell(found[use_ema], given, kind) for kind, use_ema in COLUMNS.values())
        print(f"| {name} |", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
