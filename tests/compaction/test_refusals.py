"""Models that are refused, and what the report says of them."""

import keras
import numpy as np
import pytest
from helpers.dead_channels import randomize
from helpers.processes import in_process

import kerasreg as kr
from kerasreg.compaction import rule as rules

layers = keras.layers


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__(name="own")
        self.dense = layers.Dense(2, name="dense")

    def build(self, shape):
        self.dense.build(shape)

    def call(self, x):
        return self.dense(x)

    def compute_output_shape(self, shape):
        return self.dense.compute_output_shape(shape)


def around(*inside, shape=(4, 4)):
    """A model with layers in a nested one."""
    part = keras.Sequential([keras.Input(shape), *inside], name="part")
    inputs = keras.Input(shape)
    return keras.Model(inputs, layers.Dense(2, name="last")(part(inputs)))


def changed(model, change):
    change(model)
    return model


REFUSED = [
    (lambda: around(Subclassed()), "`part/own` is a Subclassed"),
    (
        lambda: around(layers.TimeDistributed(Subclassed(), name="times"), shape=(3, 4)),
        "`part/times/own` is a Subclassed",
    ),
    (
        lambda: changed(around(layers.Dense(3)), lambda m: m.get_layer("last").quantize("int8")),
        "`last` is quantized",
    ),
    (
        lambda: changed(
            around(layers.TimeDistributed(layers.Dense(3, name="inner"), name="times")),
            lambda m: m.get_layer("part").layers[0].layer.enable_lora(1),
        ),
        "`part/times/inner` has LoRA enabled",
    ),
]


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(("make", "message"), REFUSED)
def test_refused(make, message):
    model = make()
    for function in (kr.compact, kr.strip):
        with pytest.raises(ValueError, match=f"argument `model`[^§]*{message}"):
            function(model)
    report = kr.compaction_report(model)
    assert message in report.refused and message in str(report) and not report.rows
    assert report.to_dict()["total"]["after"]["parameters"] == model.count_params()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: keras.Sequential([layers.Dense(2)]), "built model"),
        (lambda: layers.Dense(2), "Sequential or functional"),
    ],
)
@pytest.mark.parametrize("function", [kr.compact, kr.compaction_report, kr.strip])
def test_what_has_no_weights_has_no_report(make, message, function):
    with pytest.raises(ValueError, match=f"`model`[^§]*{message}"):
        function(make())


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="JAX has several devices on a CPU")
def test_weights_on_several_devices_are_refused():
    code = """
        import keras
        import kerasreg as kr

        mesh = keras.distribution.DeviceMesh((1, 2), ["batch", "model"])
        layout = keras.distribution.LayoutMap(mesh)
        layout[".*second/kernel"] = (None, "model")
        keras.distribution.set_distribution(
            keras.distribution.ModelParallel(layout_map=layout, batch_dim_name="batch")
        )
        parts = [keras.layers.Dense(4, name=name) for name in ("first", "second")]
        model = keras.Sequential([keras.Input((4,)), *parts])
        for function in (kr.compact, kr.strip):
            try:
                function(model)
            except ValueError as error:
                print(error)
        print(kr.compaction_report(model))
    """
    flags = "--xla_force_host_platform_device_count=2"
    printed = in_process(code, XLA_FLAGS=flags, KERAS_BACKEND="jax")
    assert printed.count("`second` has weights that are sharded over several devices") == 3


class Own(layers.Layer):
    def call(self, x):
        return 2 * x


class Failing(kr.CompactionRule):
    """Fails in one of its methods."""

    fails = ""

    def trace(self, layer, call, x):
        self.fail("trace")
        out = call.like(x)
        call.edge(out, x)
        return None if self.fails == "returns" else out

    def config(self, layer, kept):
        self.fail("config")
        return {}

    def weights(self, layer, arrays, kept):
        self.fail("weights")

    def fail(self, method):
        if self.fails == method:
            raise KeyError(f"by {method}")


@pytest.mark.parametrize(
    ("fails", "message"),
    [
        ("trace", "KeyError: 'by trace'"),
        ("config", "KeyError: 'by config'"),
        ("weights", "KeyError: 'by weights'"),
        ("returns", "1 `Channels` from it"),
    ],
)
def test_a_rule_that_fails_is_named_with_its_layer(fails, message, monkeypatch):
    monkeypatch.setattr(Failing, "fails", fails)
    monkeypatch.setitem(rules._RULES, Own, Failing())
    model = randomize(around(Own(name="doubled")))
    words = f"layer `part/doubled`[^§]*Failing[^§]*{message}"
    with pytest.raises(ValueError, match=words):
        kr.compact(model)
    report = kr.compaction_report(model)
    # The report asks for no configuration.
    assert bool(report.refused) == (fails != "config")


def test_layers_that_cannot_be_copied_are_named():
    class Unsaved(layers.Layer):
        def __init__(self, function):
            super().__init__(name="unsaved")
            self.function = function

        def call(self, x):
            return self.function(x)

    model = around(Unsaved(lambda x: x))
    with pytest.raises(ValueError, match="configuration of layer `part/unsaved`"):
        kr.compact(model)
    assert not kr.compaction_report(model).refused
    assert np.shape(model(np.ones((1, 4, 4)))) == (1, 4, 2)
