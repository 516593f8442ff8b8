"""The report against what `compact` does."""

import json
import warnings

import keras
import pytest
from helpers.dead_channels import change, kill, randomize

import kerasreg as kr

layers = keras.layers


def network():
    x = inputs = keras.Input((6, 6, 2), name="image")
    x = layers.Conv2D(8, 3, name="conv")(x)
    x = layers.Flatten(name="flat")(x)
    x = layers.Dense(5, "relu", name="<b>&")(x)
    model = randomize(keras.Model(inputs, layers.Dense(3, name="last")(x)))
    kill(model.get_layer("conv"), zero=[0], constant=[1, 2])
    change(model.get_layer("last").kernel, 0, 0)
    return model


def test_rows():
    report = kr.compaction_report(network())
    rows = {row.path: row for row in report.rows}
    conv = rows["conv"]
    assert (conv.before.channels, conv.after.channels, conv.constant) == (8, 5, 3)
    assert (conv.before.parameters, conv.after.parameters) == (8 * 19, 5 * 19)
    # At sixteen positions.
    assert (conv.before.multiply_adds, conv.after.multiply_adds) == (16 * 144, 16 * 90)
    assert (conv.blocked, conv.reason) == (0, "")
    assert rows["flat"].after.channels == 16 * 5
    total = report.total
    assert total.before.parameters == network().count_params()
    assert total.after.parameters == kr.compact(network()).count_params()
    assert total.after.bytes == 4 * total.after.parameters
    assert total.after.multiply_adds == sum(row.after.multiply_adds for row in report.rows)


def test_forms():
    report = kr.compaction_report(network())
    lines = str(report).splitlines()
    assert lines[0].split() == "layer channels constant parameters multiply-adds blocked by".split()
    (line,) = [line for line in lines if line.startswith("conv")]
    assert "8 → 5" in line and "152 → 95" in line
    assert json.loads(json.dumps(report.to_dict()))["total"]["after"]["parameters"] > 0
    page = report._repr_html_()
    assert page.count("<tr>") == len(report.rows) + 2 and "<b>" not in page


def test_what_nobody_reads_of_the_inputs():
    inputs = keras.Input((4,), name="given")
    model = randomize(keras.Sequential([inputs, layers.Dense(3)]))
    change(model.layers[0].kernel, [1, 2], 0)
    report = kr.compaction_report(model)
    assert report.unused_inputs == {"given": (1, 2)}
    assert "2 features of input `given` are read by nobody: 1, 2" in str(report)


@pytest.mark.fast_cases(2)
@pytest.mark.parametrize(
    ("block", "reason"),
    [
        (layers.LayerNormalization(name="norm"), "norm mixes the channels"),
        (layers.Lambda(lambda x: x * 2, name="own"), "own: no rule for Lambda"),
        (layers.ZeroPadding2D(name="pad"), "read by pad"),
        (layers.Softmax(name="soft"), "soft mixes the channels"),
    ],
)
def test_the_reason_is_the_reader(block, reason):
    inputs = keras.Input((3, 3, 2))
    x = layers.Conv2D(4, 1, name="conv")(inputs)
    model = randomize(keras.Model(inputs, layers.Conv2D(2, 3)(block(x))))
    kill(model.get_layer("conv"), constant=[0])
    report = kr.compaction_report(model)
    (row,) = [row for row in report.rows if row.path == "conv"]
    assert (row.constant, row.blocked, row.reason) == (1, 1, reason)
    if "no rule" in reason:
        (line,) = [line for line in str(report).splitlines() if line.startswith("own")]
        assert line.endswith(f"  {reason}")


def test_bytes_are_counted_by_weight():
    x = inputs = keras.Input((3,), dtype="int32")
    x = layers.Embedding(4, 6, dtype="bfloat16")(x)
    x = layers.Dense(5, use_bias=False, dtype="float16", name="half")(x)
    normalization = layers.Normalization(axis=-1)  # Its number of samples is an integer.
    model = keras.Model(inputs, layers.Dense(2)(normalization(x)))
    total = kr.compaction_report(model).total.before
    count = next(v for v in normalization.weights if "int" in v.dtype)
    size = int("".join(c for c in count.dtype if c.isdigit())) // 8
    assert total.bytes == 2 * 24 + 2 * 30 + 4 * 10 + size + 4 * 12
    assert total.parameters == model.count_params()


def normalized(*names):
    """A model with three dead units in each of two layers, which a normalization keeps."""
    x = inputs = keras.Input((4,))
    for name in "ab":
        x = layers.Dense(6, name=name)(x)
        x = layers.LayerNormalization(name=f"norm_{name}")(x) if name in names else x
    model = randomize(keras.Model(inputs, layers.Dense(2, name="last")(x)))
    for name in "ab":
        kill(model.get_layer(name), zero=range(3))
    return model


@pytest.mark.fast_cases(2)
@pytest.mark.parametrize(
    ("names", "arguments", "count"),
    [("ab", {}, 6), ("a", {}, None), ("", {"round_to": 6}, None), ("", {"keep": "b"}, None)],
)
def test_a_warning_says_that_most_of_what_is_dead_stays(names, arguments, count):
    model = normalized(*names)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        kr.compact(model, **arguments)
    found = [str(each.message) for each in caught if "dead channels" in str(each.message)]
    if count is None:
        assert found == []
    else:
        words = f"stay, {count} of {count}, the first of `a`: norm_a mixes the channels"
        assert len(found) == 1 and words in found[0]


def test_the_outputs_of_the_model_are_no_dead_channels_that_stay():
    model = normalized()
    kill(model.get_layer("a"), zero=[])
    change(model.get_layer("a").kernel, ..., 1)
    change(model.get_layer("b").kernel, ..., 1)
    kill(model.get_layer("last"), constant=[0])
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        kr.compact(model)


def test_a_warning_says_that_the_whole_output_is_constant():
    x = inputs = keras.Input((4,))
    outputs = {"a": layers.Dense(2, name="a")(x), "b": layers.Dense(2, name="b")(x)}
    model = randomize(keras.Model(inputs, outputs))
    kill(model.get_layer("a"), constant=[0, 1])
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        kr.compact(model)
    kill(model.get_layer("b"), constant=[0, 1])
    with pytest.warns(UserWarning, match="whole output of the model is constant"):
        kr.compact(model)
