"""What only the group lasso can get wrong."""

import json

import keras
import numpy as np
import pytest
from helpers import references
from helpers.backends import to_numpy

import kerasreg as kr


@pytest.mark.parametrize(("shape", "axis"), [((3, 4), 2), ((3, 4), -3), ((5,), -2), ((), -1)])
def test_axis_out_of_range(shape, axis):
    with pytest.raises(ValueError, match="Invalid value for argument `axis`. Expected.*Received"):
        kr.GroupLasso(0.1, axis=axis)(np.ones(shape, "float32"))


def test_axis_out_of_range_names_the_weight():
    layer = keras.layers.Dense(3, kernel_regularizer=kr.GroupLasso(0.1, axis=2), name="narrow")
    model = keras.Sequential([keras.Input((4,)), layer])
    with pytest.raises(ValueError, match="`axis` of GroupLasso on weight `.*narrow/kernel`"):
        _ = model.losses


@pytest.mark.parametrize("axis", [1.0, True, "0", None, "units", (), (0, 1.0), [None]])
def test_bad_axis(axis):
    with pytest.raises(
        ValueError, match="Invalid value for argument `axis`. Expected an integer, a tuple"
    ):
        kr.GroupLasso(0.1, axis=axis)


@pytest.mark.parametrize("size_scaling", [1, None, "yes"])
def test_bad_size_scaling(size_scaling):
    with pytest.raises(ValueError, match="Invalid value for argument `size_scaling`. Expected"):
        kr.GroupLasso(0.1, size_scaling=size_scaling)


# Shape of a kernel, and by hand the axes that number its output channels, inputs and heads.
LAYERS = {
    "dense": (keras.layers.Dense(4), (3,), {"kernel": ((1,), (0,))}),
    "conv": (keras.layers.Conv2D(4, 3), (8, 8, 2), {"kernel": ((3,), (2,))}),
    "transposed": (keras.layers.Conv2DTranspose(4, 3), (8, 8, 2), {"kernel": ((2,), (3,))}),
    "depthwise": (
        keras.layers.DepthwiseConv2D(3, depth_multiplier=2),
        (8, 8, 2),
        {"kernel": ((2, 3), (2,))},
    ),
    "separable": (
        keras.layers.SeparableConv1D(4, 3, depth_multiplier=2),
        (8, 2),
        {"depthwise_kernel": ((1, 2), (1,)), "pointwise_kernel": ((2,), (1,))},
    ),
    "attention": (
        keras.layers.EinsumDense("abc,cde->abde", (None, 3, 4)),
        (5, 6),
        {"kernel": ((1, 2), (0,))},
    ),
    "put together": (
        keras.layers.EinsumDense("abcd,cde->abe", (None, 4)),
        (5, 3, 2),
        {"kernel": ((2,), (0, 1))},
    ),
}


@pytest.mark.fast_cases(4)
@pytest.mark.parametrize("name", LAYERS)
def test_words_name_the_axes_of_each_layer(name):
    layer, shape, expected = LAYERS[name]
    layer = type(layer).from_config(layer.get_config())
    model = keras.Sequential([keras.Input(shape), layer])
    for weight, axes in expected.items():
        w = getattr(layer, weight)
        for word, groups in zip(("output", "input"), axes, strict=True):
            (axis,) = axes_of(model, word, f".*/{weight}")
            within = tuple(i for i in range(len(w.shape)) if i not in groups)
            norms = np.sqrt(np.sum(to_numpy(w) ** 2, axis=within))
            found = to_numpy(kr.GroupLasso(1.0, axis=axis).group_norms(w.value))
            np.testing.assert_allclose(found, norms.ravel(), rtol=1e-5)


def axes_of(model, word, pattern):
    """What a word becomes for the weights that a pattern matches."""
    penalty = {pattern: kr.GroupLasso(0.1, axis=word)}
    return {p.axis for p in kr.Proximal("sgd", penalty, model=model).penalty.values()}


def attention():
    x = keras.Input((5, 6))
    y = keras.layers.MultiHeadAttention(3, 2, name="mha")(x, x)
    y = keras.layers.GroupQueryAttention(2, 4, 2, name="gqa")(y, y)
    return keras.Model(x, keras.layers.Dense(2, name="last")(y))


@pytest.mark.slow
def test_heads_die_as_a_whole():
    model = attention()
    penalty = {".*(query|key|value|attention_output)/kernel": kr.GroupLasso(0.3, axis="heads")}
    model.compile(kr.Proximal(keras.optimizers.SGD(0.1), penalty, model=model), "mse")
    x = np.random.default_rng(0).normal(size=(8, 5, 6)).astype("float32")
    model.fit(x, np.zeros((8, 5, 2)), epochs=12, verbose=0)
    axes = {"query": 1, "key": 1, "value": 1, "attention_output": 0}
    for v in model.trainable_variables:
        layer = v.path.split("/")[-2]
        if v.name == "kernel" and layer in axes:
            heads = np.moveaxis(to_numpy(v.value), axes[layer], 0)
            dead = [not np.any(head) for head in heads]
            assert np.sum(heads == 0) == sum(dead) * heads[0].size


@pytest.mark.slow
def test_a_bare_word_becomes_a_pattern_for_each_weight(tmp_path):
    model = keras.Sequential(
        [
            keras.Input((8, 8, 2)),
            keras.layers.Conv2D(4, 3, name="conv"),
            keras.layers.Conv2DTranspose(3, 3, name="transposed"),
        ]
    )
    optimizer = kr.Proximal("adam", kr.GroupLasso(0.1, axis="output"), model=model)
    assert {p.axis for p in optimizer.penalty.values()} == {-1, -2}
    model.compile(optimizer, "mse")
    model.fit(np.ones((2, 8, 8, 2)), np.ones((2, 8, 8, 3)), verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.optimizer.penalty == optimizer.penalty
    loaded.fit(np.ones((2, 8, 8, 2)), np.ones((2, 8, 8, 3)), verbose=0)


def test_the_same_axis_on_all_layers_stays_one_penalty():
    model = keras.Sequential(
        [keras.Input((8, 2)), keras.layers.Conv1D(4, 3), keras.layers.Dense(3)]
    )
    optimizer = kr.Proximal("adam", kr.GroupLasso(0.1, axis="output"), model=model)
    assert optimizer.penalty == kr.GroupLasso(0.1, axis=-1)


def test_words_in_attach_regularizers(tmp_path):
    layers = [keras.layers.Conv2DTranspose(3, 3, name="a"), keras.layers.Dense(2, name="b")]
    model = keras.Sequential([keras.Input((8, 8, 2)), *layers])
    kr.attach_regularizers(model, kr.GroupLasso(0.1, axis="output"))
    assert [layer.kernel_regularizer.axis for layer in layers] == [-2, -1]
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert [layer.kernel_regularizer.axis for layer in loaded.layers] == [-2, -1]


@pytest.mark.slow
def test_words_in_the_choice_of_a_strength():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile(keras.optimizers.SGD(0.1, momentum=0.8), "mse")
    x = np.random.default_rng(0).normal(size=(20, 3))
    strengths = [
        kr.max_strength(model, x, x[:, :2], kr.GroupLasso(axis=axis)) for axis in ("input", 0)
    ]
    assert strengths[0] == strengths[1]
    options = {"strengths": [0.2], "verbose": 0}
    path = kr.regularization_path(model, kr.GroupLasso(axis="input"), x, x[:, :2], **options)
    assert len(path.rows) == 1


def test_a_word_is_refused_where_no_layer_is_known():
    penalty = kr.GroupLasso(0.1, axis="output")
    for act in (penalty, penalty.group_norms, lambda w: penalty.prox(w, 0.1)):
        with pytest.raises(ValueError, match=r"`axis`.*attach_regularizers.*model=model"):
            act(np.ones((2, 3), "float32"))
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="narrow")])
    with pytest.raises(ValueError, match=r"`axis` of GroupLasso on weight `.*narrow/kernel`"):
        kr.Proximal("sgd", penalty).build(model.trainable_variables)
    with pytest.raises(ValueError, match=r"`axis` of GroupLasso on weight `.*narrow/kernel`"):
        kr.Proximal("sgd", kr.GroupLasso(0.1, axis="heads"), model=model)


def test_with_a_model_patterns_are_checked_at_once():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match="Expected patterns that match"):
        kr.Proximal("sgd", {"nothing": kr.L1()}, model=model)
    with pytest.raises(ValueError, match="Expected a built model"):
        kr.Proximal("sgd", kr.L1(), model=keras.Sequential([keras.layers.Dense(2)]))


@pytest.mark.parametrize("axis", [(0, 0), (0, -2), (-1, 1)])
def test_an_axis_given_twice(axis):
    with pytest.raises(ValueError, match="each axis of shape"):
        kr.GroupLasso(0.1, axis=axis)(np.ones((2, 2), "float32"))


@pytest.mark.parametrize(("axis", "kept"), [((1, 0), (1, 0)), ([0, 2], (0, 2)), ((-1,), -1)])
def test_several_axes_number_groups_together(axis, kept):
    penalty = kr.GroupLasso(0.5, axis=axis)
    assert penalty.axis == kept
    assert kr.GroupLasso.from_config(json.loads(json.dumps(penalty.get_config()))) == penalty
    w = np.random.default_rng(0).normal(size=(2, 3, 4)).astype("float32")
    reference, step = references.GroupLasso(penalty), np.abs(w) + 0.3
    np.testing.assert_allclose(to_numpy(penalty(w)), reference.value(w), rtol=1e-5)
    for steps in (0.7, step.astype("float32")):
        expected = reference.prox(w, steps)
        np.testing.assert_allclose(to_numpy(penalty.prox(w, steps)), expected, atol=1e-5)
    distance = to_numpy(penalty.subdifferential_distance(w, -w))
    assert distance == pytest.approx(reference.subdifferential_distance(w, -w), rel=1e-5)
