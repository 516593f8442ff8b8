"""The report against what Keras says of the same model."""

import json

import keras
import numpy as np
import pytest
from helpers.models import classifier, kitchen_sink

import kerasreg as kr


def pruned_classifier():
    model = classifier()
    kernel = model.get_layer("second").kernel
    value = np.array(keras.ops.convert_to_numpy(kernel.value))
    value[:, 3] = 0
    value[0, 0] = 0
    kernel.assign(value)
    return model


def test_rows():
    model = pruned_classifier()
    report = kr.sparsity_report(model)
    assert [row.path for row in report.rows] == [v.path for v in model.trainable_weights]
    assert [row.shape for row in report.rows] == [tuple(v.shape) for v in model.trainable_weights]
    rows = {row.path.removeprefix("classifier/"): row for row in report.rows}
    second = rows["second/kernel"]
    assert (second.parameters, second.zeros, second.units, second.dead_units) == (128, 17, 8, 1)
    assert second.sparsity == 17 / 128
    assert second.penalty == "GroupLasso(strength=0.01, axis=-1, size_scaling=True)"
    assert rows["last/kernel"].penalty == "keras.L1L2(l1=0.01, l2=0.01)"
    assert rows["last/bias"].penalty == "" and rows["last/bias"].units == 0
    assert report.total.parameters == sum(np.prod(v.shape) for v in model.trainable_weights)
    assert report.total.zeros == sum(row.zeros for row in report.rows)
    assert report.total.units == 16 + 8 + 3


def test_forms():
    report = kr.sparsity_report(pruned_classifier())
    lines = str(report).splitlines()
    assert len(lines) == len(report.rows) + 4 + 2, "an empty line and a note below the table"
    assert lines[0].split() == "path shape parameters zeros sparsity dead units penalty".split()
    (line,) = [line for line in lines if "second/kernel" in line]
    assert "16 × 8" in line and "13.28%" in line and "1 of 8" in line and "GroupLasso" in line
    as_data = json.loads(json.dumps(report.to_dict()))
    assert as_data["rows"][0]["path"] == report.rows[0].path
    assert as_data["total"]["parameters"] == report.total.parameters
    page = report._repr_html_()
    assert page.count("<tr>") == len(report.rows) + 2 and "second/kernel" in page


def test_html_in_a_name_stays_text():
    layer = keras.layers.Dense(2, name="<b>&")
    model = keras.Sequential([keras.Input((2,)), layer])
    assert "<b>" not in kr.sparsity_report(model)._repr_html_()


def test_frozen_weights_say_so():
    model = classifier()
    model.get_layer("first").trainable = False
    row = kr.sparsity_report(model, "first/kernel").rows[0]
    assert row.penalty.endswith("not at all: frozen")


def test_filter_layer_and_big_model():
    model = kitchen_sink()
    assert len(kr.sparsity_report(model).rows) == len(model.trainable_weights)
    assert len(kr.sparsity_report(model, "conv").rows) == 2
    assert len(kr.sparsity_report(model.get_layer("both")).rows) == 6
    with pytest.raises(ValueError, match="argument `weights`"):
        kr.sparsity_report(model, "nothing")


def noisy(strength, **options):
    """A model whose minibatches are of one sample."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3, name="dense")])
    proximal = kr.Proximal(keras.optimizers.SGD(0.01), kr.L1(strength), **options)
    model.compile(proximal, "mse")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 5)), rng.normal(size=(60, 3))
    model.fit(x, y, batch_size=1, verbose=0)
    return model


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(
    ("strength", "options", "advice"),
    [
        (0.05, {"hold_zeros": False}, "hold_zeros=True in Proximal."),
        (0.005, {}, "use_ema in the optimizer."),
        (0.05, {}, None),
        (10.0, {"hold_zeros": False}, None),
    ],
)
def test_penalties_that_drown_in_noise_are_named(strength, options, advice):
    model = noisy(strength, **options)
    report = kr.sparsity_report(model)
    if advice is None:
        assert report.notes == ()
        return
    [note] = report.notes
    assert note.startswith(f"L1(l1={strength}) makes few zeros") and note.endswith(advice)
    [(_, ratio)] = model.optimizer.noise_by_strength().values()
    assert f"is {ratio:.3g} times" in note
    assert 0.3 < ratio * strength < 1.5  # of one sample: 2 x y / 3
    assert note in str(report) and note in report._repr_html_()
    assert report.to_dict()["notes"] == [note]


class Foreign(keras.regularizers.Regularizer):
    def __call__(self, w):
        return keras.ops.sum(keras.ops.abs(w) ** 3)


@pytest.mark.parametrize(
    ("regularizer", "advice"),
    [
        (kr.L1(0.1), "detach_regularizers"),
        (kr.GroupLasso(0.1), "detach_regularizers"),
        (keras.regularizers.L1L2(0.1, 0.1), "detach_regularizers"),
        (kr.L2(0.1), "a penalty with a kink"),
        (keras.regularizers.L2(0.1), "a penalty with a kink"),
        (Foreign(), "a penalty with a kink"),
    ],
)
def test_why_is_my_sparsity_zero(regularizer, advice):
    layer = keras.layers.Dense(3, kernel_regularizer=regularizer)
    model = keras.Sequential([keras.Input((4,)), layer])
    model.compile("adam", "mse")
    report = kr.sparsity_report(model)
    [note] = report.notes
    assert "All penalties act in the loss" in note and "never exactly zero" in note
    assert advice in note and str(report).endswith(note) and note in report._repr_html_()


def test_penalties_by_proximal_make_zeros():
    """Also beside some in the loss, and where no penalty acts there is nothing to explain."""
    layers = [keras.layers.Dense(3, kernel_regularizer=kr.L2(0.1), name="in_the_loss")]
    model = keras.Sequential([keras.Input((4,)), *layers, keras.layers.Dense(2, name="last")])
    model.compile(kr.Proximal(keras.optimizers.SGD(), {".*last/kernel": kr.L1(0.1)}), "mse")
    assert kr.sparsity_report(model).notes == ()
    kr.detach_regularizers(model)
    model.compile("sgd", "mse")
    assert kr.sparsity_report(model).notes == ()


def test_a_frozen_weight_has_no_penalty_to_explain():
    layer = keras.layers.Dense(3, kernel_regularizer=kr.L1(0.1), trainable=False)
    assert kr.sparsity_report(keras.Sequential([keras.Input((4,)), layer])).notes == ()
