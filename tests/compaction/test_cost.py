"""What `compact` itself costs, and that it is exact on networks as they are used."""

import tracemalloc

import keras
import numpy as np
import pytest
from helpers.backends import BACKEND
from helpers.dead_channels import inputs_for, randomize

import kerasreg as kr

layers = keras.layers


def numbers(x):
    return np.array(keras.ops.convert_to_numpy(x))


@pytest.mark.slow
def test_there_is_no_second_model_of_full_size():
    x = inputs = keras.Input((800,))
    for _ in range(10):
        x = layers.Dense(800, "relu")(x)
    model = randomize(keras.Model(inputs, layers.Dense(2)(x)))
    for layer in model.layers[1:-1]:
        layer.kernel.assign(numbers(layer.kernel) * (np.arange(800) % 10 == 0))
    kr.compact(keras.Sequential([keras.Input((2,)), layers.Dense(1)]))  # what is imported at first
    tracemalloc.start()
    try:
        kr.compact(model)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 0.75 * 4 * model.count_params()


# JAX takes minutes to make the others, as it compiles each operation of each shape.
NETWORKS = ["MobileNetV2", "ResNet50V2", "EfficientNetV2B0", "DenseNet121", "ConvNeXtTiny"]


def with_dead_channels(model, rng):
    """Zero filters and factors of normalization, the rest such that the outputs vary."""
    for layer in model._flatten_layers():
        if isinstance(layer, layers.BatchNormalization):
            kept = rng.random(layer.gamma.shape) < 0.7
            layer.gamma.assign(rng.uniform(0.5, 1.5, kept.shape) * kept)
            layer.beta.assign(rng.normal(0, 0.5, kept.shape) * (rng.random(kept.shape) < 0.8))
            layer.momentum = 0.0
        elif isinstance(layer, (layers.Conv2D, layers.Dense)) and layer is not model.layers[-1]:
            layer.kernel.assign(numbers(layer.kernel) * (rng.random(layer.kernel.shape[-1]) < 0.6))
        elif hasattr(layer, "gamma") and not isinstance(layer, layers.LayerNormalization):
            layer.gamma.assign(rng.uniform(0.5, 1.5, layer.gamma.shape))  # ConvNeXt's `LayerScale`
    # The statistics of the data.
    model(inputs_for(model, samples=8), training=True)
    return model


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS if BACKEND != "jax" else NETWORKS[:1])
def test_networks_of_keras(name):
    make = getattr(keras.applications, name)
    options = (
        {} if name.startswith(("Mobile", "Res", "Dense")) else {"include_preprocessing": False}
    )
    model = make(
        input_shape=(96, 96, 3), weights=None, classes=10, classifier_activation=None, **options
    )
    with_dead_channels(model, np.random.default_rng(0))
    small = kr.compact(model)
    assert small.count_params() < 0.75 * model.count_params()
    x = inputs_for(model, samples=8)
    before, after = numbers(model(x)), numbers(small(x))
    assert before.std(axis=0).max() > 0.01 * np.abs(before).max()
    # In float32 the outputs of networks so deep are themselves exact to 1e-5 only.
    assert np.abs(before - after).max() < 5e-5 * np.abs(before).max()
