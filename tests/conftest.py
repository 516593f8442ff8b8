"""What all tests share: seeds, and Keras's global settings as they were."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# To share small tensors among threads costs PyTorch five times what it saves.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest


@pytest.fixture(autouse=True)
def fresh_keras():
    """A fixed seed before each test, Keras's defaults after it."""
    import keras  # Not above: pytest-xdist's main process reads this file and runs no test.

    keras.utils.set_random_seed(0)
    yield
    keras.config.set_dtype_policy("float32")
    keras.config.set_floatx("float32")
