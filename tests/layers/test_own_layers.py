"""A layer of one's own joins wherever kerasreg asks what a layer is."""

import keras
import numpy as np
import pytest
from helpers.event_files import read
from keras import ops

import kerasreg as kr
from kerasreg.layers.dropout_rates import dropout_rates, live_rate
from kerasreg.regularizers.unit_axes import UnitAxes, unit_axes
from kerasreg.statistics.names import Dropouts, LayerNames
from kerasreg.strength.null_model import is_affine

X = np.random.default_rng(0).normal(size=(8, 5)).astype("float32")
Y = X[:, :2]


class Noise(keras.layers.Layer):
    """Drops entries, derived from nobody's dropout, at a rate that compiled steps read."""

    def __init__(self, rate, **kwargs):
        super().__init__(**kwargs)
        self.seed_generator = keras.random.SeedGenerator(1)
        self._rate = self.add_weight((), lambda shape, dtype: rate, trainable=False, name="rate")

    @property
    def rate(self):
        return float(ops.convert_to_numpy(self._rate))

    @rate.setter
    def rate(self, rate):
        self._rate.assign(rate)

    def accepts(self, rate):
        return rate < 1

    def allow_changes(self):
        return False

    def call(self, inputs, training=False):
        if not training:
            return inputs
        kept = keras.random.uniform(ops.shape(inputs), seed=self.seed_generator) >= self._rate
        return ops.where(kept, inputs / (1 - self._rate), 0.0)


class Rows(keras.layers.Layer):
    """`x W^T`: the units are the rows of its kernel."""

    def build(self, input_shape):
        self.kernel = self.add_weight((3, input_shape[-1]), name="kernel")

    def call(self, inputs):
        return inputs @ ops.transpose(self.kernel)


@pytest.fixture(scope="module", autouse=True)
def joined():
    """Registers the layers, which cannot be undone: no other test may see these classes."""
    dropout_rates.register(Noise, lambda layer: {"": layer.rate})
    live_rate.register(Noise, lambda layer: layer)
    unit_axes.register(Rows, lambda layer, variable: UnitAxes(outputs=(0,), inputs=(1,)))
    is_affine.register(Rows, lambda layer: True)


def model_with(layer):
    model = keras.Sequential([keras.Input((5,)), layer, keras.layers.Dense(2)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    return model


def test_the_rate_of_a_dropout_is_logged(tmp_path):
    model = model_with(Noise(0.25, name="noise"))
    logger = kr.RegularizationLogger(tmp_path, verbose=0)
    model.fit(X, Y, verbose=0, callbacks=[logger])
    assert [value for _, value in read(tmp_path)["dropout_rate/noise"]] == [0.25]


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("frozen_masks", [False, True])
def test_a_dropout_is_on_in_monte_carlo_passes(frozen_masks):
    model = model_with(Noise(0.5))
    arguments = {"n_samples": 6, "return_samples": True, "seed": 1, "verbose": 0}
    same = np.ones((8, 5), "float32")
    _, std, samples = kr.mc_predict(model, same, frozen_masks=frozen_masks, **arguments)
    assert np.all(np.max(std, axis=0) > 0)
    assert (np.ptp(samples, axis=1).max() < 1e-6) == frozen_masks, "equal inputs, equal masks"


def test_the_rate_of_a_dropout_follows_a_schedule():
    layer = Noise(0.5)
    seen = []
    scheduler = kr.DropoutRateScheduler(lambda epoch: 0.25 * epoch)
    look = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: seen.append(layer.rate))
    model_with(layer).fit(X, Y, epochs=3, verbose=0, callbacks=[scheduler, look])
    assert seen == [0.0, 0.25, 0.5]
    with pytest.raises(ValueError, match="a rate below 1"):
        scheduler = kr.DropoutRateScheduler(lambda epoch: 1.0)
        model_with(Noise(0.5)).fit(X, Y, verbose=0, callbacks=[scheduler])


def test_dead_units_are_counted_along_the_axes_of_the_layer():
    layer = Rows(name="rows")
    model = model_with(layer)
    kernel = np.ones((3, 5), "float32")
    kernel[1] = 0
    layer.kernel.assign(kernel)
    report = kr.sparsity_report(model)
    assert (report.rows[0].units, report.rows[0].dead_units) == (3, 1)


def test_a_layer_may_be_a_linear_model():
    model = keras.Sequential([keras.Input((5,)), Rows()])
    model.compile("sgd", "mse")
    found = kr.max_strength(model, X, X[:, :3], kr.L1())
    assert found == pytest.approx(2 / 3 * np.abs(X.T @ X[:, :3] / len(X)).max(), rel=1e-5)


def test_dropout_inside_a_layer_is_named_once():
    layers = [
        keras.layers.RNN(keras.layers.LSTMCell(3, dropout=0.1, name="cell"), name="rnn"),
        keras.layers.LSTM(3, recurrent_dropout=0.2, name="lstm"),
    ]
    inputs = keras.Input((4, 5))
    model = keras.Model(inputs, [layer(inputs) for layer in layers])
    assert Dropouts(model, LayerNames(model)).rates() == {
        "rnn/cell/dropout": 0.1,
        "lstm/recurrent_dropout": 0.2,
    }
