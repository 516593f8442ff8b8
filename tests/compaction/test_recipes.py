"""The recipes for files, as the page on compaction has them."""

import re
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest
from helpers.backends import BACKEND, to_numpy
from helpers.dead_channels import inputs_for, kill, randomize

import kerasreg as kr

layers = keras.layers
PAGE = (Path(__file__).parents[2] / "docs" / "compaction.md").read_text()
SECTION = re.split(r"^## ", PAGE, flags=re.M)[-1]
BLOCKS = re.findall(r"^```python\n(.*?)^```", SECTION, re.M | re.S)


def run(word, folder, monkeypatch):
    """Runs the block with a word in it; returns its names, `small` and `x` with them."""
    monkeypatch.chdir(folder)
    inputs = keras.Input((8, 8, 4))
    x = layers.BatchNormalization()(layers.Conv2D(64, 1, activation="relu", name="conv")(inputs))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(128, 1, name="sparse")(x))
    x = layers.Dense(256, name="sparse_too")(x)
    model = randomize(keras.Model(inputs, layers.Dense(3)(x)))
    for name in ("sparse", "sparse_too"):
        kernel = model.get_layer(name).kernel
        zeros = np.random.default_rng(0).random(kernel.shape) < 0.9
        kernel.assign(np.where(zeros, 0, to_numpy(kernel)))
    kill(model.get_layer("conv"), zero=range(20))
    names = {"kr": kr, "keras": keras, "small": kr.compact(model), "x": inputs_for(model)}
    (block,) = [block for block in BLOCKS if word in block]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporters
        exec(block, names)
    return names


def assert_equal(names):
    expected = to_numpy(names["small"](names["x"]))
    np.testing.assert_allclose(names["predictions"], expected, rtol=1e-4, atol=1e-5)


def test_the_section_is_found():
    assert SECTION.startswith("Files\n") and len(BLOCKS) == 3


def test_a_file_of_keras(tmp_path, monkeypatch):
    names = run("save_sparse", tmp_path, monkeypatch)
    names["predictions"] = to_numpy(names["loaded"](names["x"]))
    assert_equal(names)


@pytest.mark.slow
@pytest.mark.skipif(BACKEND != "tensorflow", reason="Keras exports to LiteRT by TensorFlow")
def test_litert(tmp_path, monkeypatch):
    names = run("litert", tmp_path, monkeypatch)
    assert_equal(names)
    size = (tmp_path / "small.tflite").stat().st_size
    assert size < names["small"].count_params()  # a fourth of what they are in full


@pytest.mark.slow
def test_onnx(tmp_path, monkeypatch):
    exporter = {"tensorflow": "tf2onnx", "torch": "onnx", "jax": "jax2onnx"}[BACKEND]
    for package in ("onnxruntime", exporter):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pytest.importorskip(package)
    assert_equal(run("onnx", tmp_path, monkeypatch))
