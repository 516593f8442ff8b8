"""Fails when Keras changes what `_keras_internals.py` relies on, or exports it at last."""

import keras
import numpy as np
import pytest
from models import classifier, data

from kerasreg import _keras_internals as internals


def test_strings_are_looked_up_in_the_table():
    class Mine(keras.regularizers.Regularizer):
        pass

    with pytest.raises(ValueError, match="Could not interpret"):
        keras.regularizers.get("kerasreg_tests>Mine")
    keras.saving.register_keras_serializable("kerasreg_tests")(Mine)
    with pytest.raises(ValueError, match="Could not interpret"):  # else the table is not needed
        keras.regularizers.get("kerasreg_tests>Mine")
    internals.register_regularizer_string("kerasreg_tests>Mine", Mine)
    assert isinstance(keras.regularizers.get("kerasreg_tests>Mine"), Mine)


def test_all_layers_finds_sublayers_after_their_parents():
    attention = keras.layers.MultiHeadAttention(2, 3)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2), keras.layers.Dropout(0.1)])
    found = internals.all_layers(model)
    assert found[0] is model and set(model.layers) < set(found) and len(found) == len(set(found))
    attention(np.ones((1, 2, 3), "float32"), np.ones((1, 2, 3), "float32"))
    found = internals.all_layers(attention)
    assert found[0] is attention
    assert {layer.name for layer in found[1:]} >= {"query", "key", "value", "attention_output"}


def test_tracked_metrics_are_reset_and_not_saved(tmp_path):
    model, metric = classifier(), keras.metrics.Mean(name="extra")
    internals.track_metric(model, metric)
    metric.update_state(3.0)
    assert metric in model.metrics
    model.reset_metrics()
    assert float(keras.ops.convert_to_numpy(metric.result())) == 0
    model.fit(*data(), verbose=0)
    model.save(tmp_path / "model.keras")
    internals.untrack_metric(model, metric)
    assert metric not in model.metrics
    assert "extra" not in keras.saving.load_model(tmp_path / "model.keras").metrics_names
