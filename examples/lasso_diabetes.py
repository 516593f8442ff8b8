"""Feature selection: the lasso with Keras and `Proximal`, beside scikit-learn's.

Both minimise the same objective, so the same coefficients are exactly zero:

    python examples/lasso_diabetes.py
"""

import keras
import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Lasso

import kerasreg as kr

ALPHA = 0.05
STEPS = 1500


def load_data():
    """The diabetes data, standardised, with the names of its ten features."""
    data = load_diabetes()
    x, y = data.data, data.target
    x, y = (x - x.mean(0)) / x.std(0), (y - y.mean()) / y.std()
    return x.astype("float32"), y.astype("float32")[:, None], data.feature_names


def fit_with_keras(x, y):
    """Full-batch Adam, whose learning rate decays, with the penalty after each step."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((x.shape[1],)), keras.layers.Dense(1)])
    adam = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.02, STEPS))
    model.compile(kr.Proximal(adam, kr.ElasticNet.from_sklearn(ALPHA, l1_ratio=1.0)), "mse")
    bar = keras.utils.Progbar(STEPS)
    for step in range(STEPS):
        loss = model.train_on_batch(x, y)
        if (step + 1) % 100 == 0:
            bar.update(step + 1, [("loss", float(loss))])
    return np.ravel(model.get_weights()[0])


def main():
    x, y, names = load_data()
    ours = fit_with_keras(x, y)
    theirs = Lasso(ALPHA, tol=1e-12, max_iter=100_000).fit(x.astype("float64"), y).coef_
    print(f"\n{'':>6}{'kerasreg':>14}{'scikit-learn':>14}")
    for name, a, b in zip(names, ours, theirs, strict=True):
        print(f"{name:>6}{a:>14.7f}{b:>14.7f}" + ("   out" if a == 0 else ""))
    print(f"\nLargest difference: {np.abs(ours - theirs).max():.1e}")
    print(f"The same features are exactly zero: {np.array_equal(ours == 0, theirs == 0)}")


if __name__ == "__main__":
    main()
