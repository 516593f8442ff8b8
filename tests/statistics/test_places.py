"""The order in which models compute, and the dropout of each layer, against truth by hand."""

import keras
import pytest
from helpers.models import Subclassed, kitchen_sink

import kerasreg as kr
from kerasreg.statistics.names import Dropouts, LayerNames
from kerasreg.statistics.places import find_places
from kerasreg.statistics.weights import find_weights

layers = keras.layers


def dense(name):
    return layers.Dense(3, name=name)


def sequential():
    return keras.Sequential(
        [
            keras.Input((4,)),
            dense("first"),
            layers.BatchNormalization(name="norm"),
            layers.Activation("relu"),
            kr.Dropout(0.1, name="drop"),
            dense("second"),
            dense("third"),
            layers.Dropout(0.2, name="late"),
        ]
    )


def branches():
    """The long branch is made last, and what adds the inputs up comes before it in no list."""
    inputs = keras.Input((3,))
    joined, short, end = dense("joined"), dense("short"), dense("end")
    x = dense("stem")(inputs)
    long = layers.Dropout(0.1, name="inside")(dense("long_2")(dense("long_1")(x)))
    x = layers.Add()([short(x), long])
    skip = x
    x = joined(x)
    x = x + skip
    return keras.Model(inputs, end(layers.Dropout(0.3, name="last")(x)))


def nested():
    inner = keras.Sequential([dense("a"), layers.Dropout(0.2, name="mid"), dense("b")], name="in")
    outer_inputs = keras.Input((3,))
    outer = keras.Model(outer_inputs, dense("c")(inner(outer_inputs)), name="out")
    inputs = keras.Input((3,))
    last, first = dense("last"), dense("first")
    x = outer(kr.Dropout(0.1, name="before")(first(inputs)))
    return keras.Model(inputs, last(kr.Dropout(0.3, name="behind")(x)))


def shared():
    """It is where it is called first; the other's dropout is another's."""
    inputs = keras.Input((3,))
    late, twice = dense("late"), dense("twice")
    x = kr.Dropout(0.1, name="once")(twice(inputs))
    return keras.Model(inputs, late(twice(x)))


def shared_model():
    block = keras.Sequential([dense("a"), dense("b")], name="block")
    inputs = keras.Input((3,))
    x = dense("between")(block(inputs))
    return keras.Model(inputs, dense("end")(block(kr.Dropout(0.1, name="drop")(x))))


def subclassed():
    model = Subclassed()
    model(keras.ops.zeros((1, 2)))
    return model


@keras.saving.register_keras_serializable("kerasreg_tests")
class WithWeights(keras.Model):
    """A model with a weight of its own, and models with graphs in it."""

    def __init__(self):
        super().__init__()
        self.second = nested()
        self.first = dense("alone")
        parts = [dense("x"), layers.Dropout(0.2, name="few"), dense("y")]
        self.times = layers.TimeDistributed(keras.Sequential(parts, name="in"))

    def build(self, shape):
        self.scale = self.add_weight(shape=(1,), name="scale")
        self.built = True

    def call(self, x):
        return self.times(self.second(self.first(x))[:, None] * self.scale)


def with_weights():
    model = WithWeights()
    model(keras.ops.zeros((1, 3)))
    return model


def recurrent():
    """Layers of Keras's own are one each, whatever is inside."""
    inputs = keras.Input((5, 4))
    x = layers.MultiHeadAttention(2, 3, dropout=0.1, name="attention")(inputs, inputs)
    x = layers.LSTM(3, dropout=0.2, recurrent_dropout=0.1, return_sequences=True, name="lstm")(x)
    x = layers.Bidirectional(layers.GRU(3), name="both")(x)
    x = layers.SpatialDropout1D(0.1, name="dropped")(layers.Reshape((2, 3))(x))
    x = layers.TimeDistributed(layers.Dense(2), name="times")(x)
    return keras.Model(inputs, kr.DropConnect(layers.Dense(3), 0.4, name="connect")(x))


# The layers with weights in order, each with its dropout.
PLACES = {
    sequential: [("first", "drop"), ("norm", ""), ("second", "drop"), ("third", "late")],
    branches: [
        ("stem", ""),
        ("long_1", ""),
        ("long_2", "inside"),
        ("short", ""),
        ("joined", ""),
        ("end", "last"),
    ],
    nested: [
        ("first", "before"),
        ("in/a", "mid"),
        ("in/b", "mid"),
        ("c", "behind"),
        ("last", "behind"),
    ],
    shared: [("twice", "once"), ("late", "")],
    shared_model: [
        ("block/a", "drop"),
        ("block/b", ""),
        ("between", "drop"),
        ("end", ""),
    ],
    subclassed: [("same", ""), ("same#2", ""), ("block", ""), ("block/dense", "")],
    with_weights: [
        ("", ""),
        ("first", "before"),
        ("in/a", "mid"),
        ("in/b", "mid"),
        ("c", "behind"),
        ("last", "behind"),
        ("alone", ""),
        ("time_distributed/in/x", "few"),
        ("time_distributed/in/y", "few"),
    ],
    recurrent: [
        ("attention", "dropout"),
        ("lstm", "lstm/dropout"),
        ("both", "dropped"),
        ("times", "dropped"),
        ("connect", "connect"),
    ],
}


def places(model):
    names = LayerNames(model)
    return find_places(model, names, Dropouts(model, names))


def of_weights(model):
    """The places of the layers that have weights, in their order."""
    found = places(model)
    used = {found[id(weight.layer)] for weight in find_weights(model)}
    return sorted(used, key=lambda place: place.order)


@pytest.mark.fast_cases(2)
@pytest.mark.parametrize("build", PLACES)
def test_places(build):
    found = of_weights(build())
    assert [(place.layer, place.dropout) for place in found] == PLACES[build]
    assert len({place.order for place in found}) == len(found)


def test_the_layers_of_every_weight_have_places():
    """Names of weights begin with those of their layers, as a filter may rely on."""
    model = kitchen_sink()
    found = places(model)
    for weight in find_weights(model):
        assert weight.name.startswith(f"{found[id(weight.layer)].layer}/")
    order = [place.layer for place in of_weights(model)]
    assert order.index("words") < order.index("gru") < order.index("einsum")
    assert order.index("attention") < order.index("both") < order.index("shared")


@pytest.mark.parametrize("build", [sequential, nested, recurrent])
def test_dropouts_have_the_names_of_their_charts(build):
    model = build()
    rates = Dropouts(model, LayerNames(model)).rates()
    assert {place.dropout for place in places(model).values()} - {""} <= set(rates)
