"""The conversions are right if Keras's optimum is that of the other package."""

import numpy as np
import pytest
from helpers.backends import to_numpy
from sklearn.datasets import load_diabetes
from sklearn.linear_model import ElasticNet, MultiTaskElasticNet

import kerasreg as kr


def standardised_diabetes():
    x, y = load_diabetes(return_X_y=True)
    return (x - x.mean(0)) / x.std(0), y - y.mean()


def optimality_residual(penalty, x, y, w):
    """Distance from optimality of Keras's objective, mean squared error + penalty."""
    gradient = -2 * x.T @ (y - x @ w) / y.size
    scale = np.linalg.norm(2 * x.T @ y / y.size)
    return float(to_numpy(penalty.subdifferential_distance(w, gradient))) / scale


@pytest.mark.parametrize("alpha", [0.05, 1.0, 20.0])
@pytest.mark.parametrize("l1_ratio", [0.1, 0.5, 1.0])
def test_from_sklearn(alpha, l1_ratio):
    x, y = standardised_diabetes()
    model = ElasticNet(alpha, l1_ratio=l1_ratio, fit_intercept=False, tol=1e-12, max_iter=100_000)
    w = model.fit(x, y).coef_[:, None]
    penalty = kr.ElasticNet.from_sklearn(alpha, l1_ratio)
    assert optimality_residual(penalty, x, y[:, None], w) < 1e-5
    wrong = kr.ElasticNet(2 * penalty.alpha, penalty.l1, penalty.l2)
    assert optimality_residual(wrong, x, y[:, None], w) > 1e-3


def test_from_sklearn_with_several_outputs():
    # scikit-learn's ElasticNet fits each output by itself; Keras averages the error over them.
    x, y = standardised_diabetes()
    y = np.stack([y, x[:, 2] * 50 + y[::-1], -y], axis=1)
    model = ElasticNet(1.0, l1_ratio=0.5, fit_intercept=False, tol=1e-12, max_iter=100_000)
    w = model.fit(x, y).coef_.T
    penalty = kr.ElasticNet.from_sklearn(1.0, 0.5, n_outputs=3)
    assert optimality_residual(penalty, x, y, w) < 1e-5


def test_group_lasso_is_the_multi_task_lasso():
    x, y = standardised_diabetes()
    y = np.stack([y, x[:, 2] * 50 + y[::-1], -y], axis=1)
    model = MultiTaskElasticNet(
        10.0, l1_ratio=1.0, fit_intercept=False, tol=1e-12, max_iter=100_000
    )
    w = model.fit(x, y).coef_.T
    assert 0 < np.count_nonzero(np.any(w, axis=1)) < 10
    # scikit-learn has 1/(2n) in front of the error, Keras 1/(n * outputs).
    penalty = kr.GroupLasso(2 * 10.0 / 3, axis=0, size_scaling=False)
    assert optimality_residual(penalty, x, y, w) < 1e-5


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_from_glmnet(alpha):
    # glmnet minimises 1/(2n) ||y/s - x b||^2 + (lambda/s) (alpha |b| + (1 - alpha)/2 b^2) with
    # y standardised by s, and reports w = s b. scikit-learn can solve that problem.
    x, y = standardised_diabetes()
    s, lambda_ = y.std(), 3.0
    model = ElasticNet(
        lambda_ / s, l1_ratio=alpha, fit_intercept=False, tol=1e-13, max_iter=1_000_000
    )
    if alpha == 0:  # coordinate descent warns of it; ridge regression has a closed form
        n = len(y)
        b = np.linalg.solve(x.T @ x / n + lambda_ / s * np.eye(x.shape[1]), x.T @ (y / s) / n)
    else:
        b = model.fit(x, y / s).coef_
    penalty = kr.ElasticNet.from_glmnet(lambda_, alpha, y_std=s)
    assert optimality_residual(penalty, x, y[:, None], s * b[:, None]) < 1e-5


@pytest.mark.parametrize(
    ("convert", "arguments", "name"),
    [
        (kr.ElasticNet.from_sklearn, (-1.0, 0.5), "alpha"),
        (kr.ElasticNet.from_sklearn, (1.0, 1.5), "l1_ratio"),
        (kr.ElasticNet.from_sklearn, (1.0, 0.5, 0), "n_outputs"),
        (kr.ElasticNet.from_sklearn, (1.0, 0.5, 2.0), "n_outputs"),
        (kr.ElasticNet.from_glmnet, (np.nan, 0.5, 1.0), "lambda_"),
        (kr.ElasticNet.from_glmnet, (1.0, "1", 1.0), "alpha"),
        (kr.ElasticNet.from_glmnet, (1.0, 0.5, 0.0), "y_std"),
    ],
)
def test_bad_arguments(convert, arguments, name):
    with pytest.raises(ValueError, match=f"Invalid value for argument `{name}`. Expected"):
        convert(*arguments)
