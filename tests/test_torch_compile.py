"""`jit_compile=True` on PyTorch, once: it generates and builds C++, which takes its time."""

import shutil

import keras
import numpy as np
import pytest
from helpers.backends import BACKEND
from helpers.event_files import steps
from helpers.models import data

import kerasreg as kr

pytestmark = [
    pytest.mark.first,
    pytest.mark.skipif(BACKEND != "torch", reason="the other backends compile in all their tests"),
    pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler"),
]


@pytest.mark.filterwarnings("default")  # the compiler has deprecations of its own
def test_everything_under_torch_compile(tmp_path):
    layers = keras.layers

    def fit(*callbacks, jit_compile=True):
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [
                keras.Input((6,)),
                layers.Dense(8, "relu", kernel_regularizer=kr.GroupLasso(1e-2), name="a"),
                kr.Dropout(0.2, seed=1),
                layers.Dense(8, "relu", kernel_regularizer=kr.L1(1e-2), name="b"),
                kr.Dropout(0.2, seed=2, scaling="inference"),
                kr.GaussianDropout(0.2, seed=3),
                kr.DropPath(0.1, seed=4),
                layers.Dense(3, kernel_regularizer=kr.ElasticNet(1.0, 1e-2, 1e-2), name="c"),
            ]
        )
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(0.01), loss, jit_compile=jit_compile)
        x, y = data()
        history = model.fit(x, y, 8, epochs=2, verbose=0, callbacks=list(callbacks)).history
        return model.get_weights(), history

    plain, _ = fit()
    # The same masks, though not the same code.
    for a, b in zip(plain, fit(jit_compile=False)[0], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
    logged, history = fit(kr.RegularizationLogger(tmp_path))
    for a, b in zip(plain, logged, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(np.add(history["data_loss"], history["penalty"]), history["loss"])
    assert steps(tmp_path) == [5, 10]
