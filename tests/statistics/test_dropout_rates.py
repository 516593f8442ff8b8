"""Every dropout is found once, nested ones too."""

import keras

import kerasreg as kr
from kerasreg.statistics.names import Dropouts, LayerNames


def test_every_kind_of_dropout():
    layers = keras.layers
    block = keras.Sequential([kr.Dropout(0.1, name="inner")], name="block")
    model = keras.Sequential(
        [
            keras.Input((5, 4)),
            layers.SpatialDropout1D(0.2, name="spatial"),
            block,
            layers.LSTM(3, dropout=0.3, recurrent_dropout=0.4, name="lstm", return_sequences=True),
            layers.GRU(3, name="gru"),
            layers.GaussianDropout(0.5, name="gaussian"),
        ],
        name="model",
    )
    dropouts = Dropouts(model, LayerNames(model))
    assert dropouts.rates() == {
        "spatial": 0.2,
        "inner": 0.1,
        "lstm/dropout": 0.3,
        "lstm/recurrent_dropout": 0.4,
        "gaussian": 0.5,
    }
    block.layers[0].rate = 0.6
    assert dropouts.rates()["inner"] == 0.6
