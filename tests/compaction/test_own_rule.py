"""A rule of one's own."""

import keras
import pytest
from helpers.dead_channels import compacted, kill, randomize, width

import kerasreg as kr
from kerasreg.compaction import rule as rules

layers = keras.layers


class Gain(layers.Layer):
    def build(self, shape):
        self.gain = self.add_weight(shape=(shape[-1],), name="gain")

    def call(self, x):
        return x * self.gain


class Doubled(Gain):
    def call(self, x):
        return 2 * super().call(x)


@pytest.fixture
def gain_rule():
    @kr.compaction_rule(Gain)
    class GainRule(kr.CompactionRule):
        def trace(self, layer, call, x):
            gain = call.numbers(layer.gain)
            out = call.like(x, call.constants(x) * gain)
            call.edge(out, x)
            call.cut(layer.gain, 0, out)
            return out

    yield GainRule
    del rules._RULES[Gain]


def model_with(layer):
    x = inputs = keras.Input((3,))
    x = layer(layers.Dense(6, name="first")(x))
    model = randomize(keras.Model(inputs, layers.Dense(2)(x)))
    kill(model.get_layer("first"), zero=[0], constant=[1])
    return model


def test_a_layer_joins(gain_rule):
    assert width(compacted(model_with(Gain())), "first") == 4


def test_without_a_rule_and_with_another_call_all_stays(gain_rule):
    assert width(compacted(model_with(Doubled())), "first") == 6
    del rules._RULES[Gain]
    assert width(compacted(model_with(Gain())), "first") == 6
    rules._RULES[Gain] = gain_rule()


def test_invalid():
    with pytest.raises(ValueError, match="`layers`"):
        kr.compaction_rule(dict)
    with pytest.raises(ValueError, match="`rule`"):
        kr.compaction_rule(Gain)(dict)
