"""Groups of one's own: what they are, and how they act across the weights of a model."""

import json
import pickle

import keras
import numpy as np
import pytest
from helpers.backends import BACKEND, JIT_COMPILE, to_numpy
from helpers.marks import first_is_fast, slow
from helpers.references import norm, shortened
from keras import layers

import kerasreg as kr
from kerasreg.regularizers.update import Update

UNITS = 5
PLACES = [(".*first/kernel", 1, UNITS), (".*first/bias", 0, UNITS), (".*second/kernel", 0, UNITS)]
OF_UNITS = kr.Groups.from_labels(PLACES)
ROWS_AND_COLUMNS = kr.Groups([[(".*second/kernel", 0, 1), (".*second/kernel", 1, [0, 2])]])


def network(dtype=None):
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(UNITS, "tanh", bias_initializer="uniform", name="first", dtype=dtype),
            layers.Dense(3, name="second", dtype=dtype),
        ]
    )


def data(n=32):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, 4)).astype("float32"), rng.normal(size=(n, 3)).astype("float32")


def masks_of(groups, model):
    """For each group and each weight which entries belong to it, one by one."""
    labels = [groups.labels_of(v.path, v.shape) for v in model.trainable_variables]
    full = [
        np.broadcast_to(each, v.shape)
        for each, v in zip(labels, model.trainable_variables, strict=True)
    ]
    return [[each == number for each in full] for number in range(len(groups))]


def flat(arrays, masks):
    return np.concatenate([a[m] for a, m in zip(arrays, masks, strict=True)])


def expected_prox(penalty, masks, ws, steps):
    """Group by group, each one's entries in line."""
    result = [np.array(w, "float64") for w in ws]
    for of_group in masks:
        w, step = flat(ws, of_group), flat(steps, of_group)
        strength = penalty.strength * (np.sqrt(w.size) if penalty.size_scaling else 1)
        z = shortened(np.maximum(w, 0) if penalty.positive else w, strength * step)
        for out, mask in zip(result, of_group, strict=True):
            out[mask], z = z[: np.sum(mask)], z[np.sum(mask) :]
    return result


def test_the_ways_to_write_them_agree():
    listed = kr.Groups(
        [[(pattern, axis, [unit]) for pattern, axis, _ in PLACES] for unit in range(UNITS)]
    )
    assert listed == OF_UNITS and hash(listed) == hash(OF_UNITS) and len(listed) == UNITS
    given = [(pattern, axis, list(range(n))) for pattern, axis, n in PLACES]
    assert kr.Groups.from_labels(given) == OF_UNITS
    assert repr(OF_UNITS) == "Groups(5 groups, 3 patterns)"
    assert kr.Groups([[("a", 0, 0)]]) != kr.Groups([[("a", 0, 1)]])
    with pytest.raises(AttributeError):
        OF_UNITS.places = ()


def test_they_are_saved_and_copied():
    penalty = kr.GroupLasso(0.1, groups=OF_UNITS)
    for config in (penalty.get_config(), json.loads(json.dumps(penalty.get_config()))):
        assert kr.GroupLasso.from_config(config) == penalty
    serialized = json.loads(json.dumps(keras.regularizers.serialize(penalty)))
    assert keras.regularizers.get(serialized) == penalty
    assert kr.Groups.from_config(json.loads(json.dumps(OF_UNITS.get_config()))) == OF_UNITS
    assert pickle.loads(pickle.dumps(OF_UNITS)) == OF_UNITS
    assert len(json.dumps(kr.Groups.from_labels([("a", 0, 4096)]).get_config())) < 25_000
    assert "groups" not in kr.GroupLasso(0.1).get_config()


@pytest.mark.parametrize(
    "groups",
    [
        "abc",
        5,
        [],
        [[]],
        [5],
        [[("a", 0)]],
        [[("a", 0.5, 1)]],
        [[("(", 0, 1)]],
        [[(3, 0, 1)]],
        [[("a", 0, -1)]],
        [[("a", 0, 1.5)]],
        [[("a", 0, "1")]],
    ],
    ids=repr,
)
def test_bad_groups(groups):
    with pytest.raises(ValueError, match="Invalid value for argument `groups`. Expected"):
        kr.Groups(groups)


@pytest.mark.parametrize("labels", [0, -2, 1.5, [], [[0]], [-2], [0.5], "ab", [2**31], None])
def test_bad_labels(labels):
    with pytest.raises(ValueError, match="Invalid value for argument `groups`. Expected"):
        kr.Groups.from_labels([("a", 0, labels)])


@pytest.mark.parametrize(
    "config", [{}, {"places": 5}, {"places": [["a", 0]]}, {"places": [["a", 0, "?"]]}, None, [1]]
)
def test_damaged_configurations(config):
    with pytest.raises(ValueError, match="Invalid value for argument `(config|groups)`. Expected"):
        kr.Groups.from_config(config)


def test_groups_that_overlap():
    with pytest.raises(ValueError, match="do not overlap, as slice 1 is in two"):
        kr.Groups([[("a", 0, [0, 1])], [("a", 0, 1)]])
    crossing = kr.Groups([[(".*second/kernel", 0, 0)], [(".*second/kernel", 1, 0)]])
    variables = network().trainable_variables
    with pytest.raises(ValueError, match=r"`groups` of GroupLasso on weight `.*second/kernel`.*do"):
        kr.Proximal("sgd", kr.GroupLasso(groups=crossing)).build(variables)
    by_two_patterns = kr.Groups([[(".*second/kernel", 0, 0)], [(".*second/k.*", 0, 0)]])
    with pytest.raises(ValueError, match="do not overlap: no two may share entries of a weight"):
        kr.Proximal("sgd", kr.GroupLasso(groups=by_two_patterns)).build(variables)


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ((".*third/kernel", 0, 0), "patterns that match one of the paths\n.*second/kernel"),
        ((".*second/kernel", 0, 5), "on weight `.*second/kernel`. Expected indices below 5 along"),
        ((".*second/kernel", 2, 0), "on weight `.*second/kernel`. Expected an axis from -2 to 1"),
    ],
)
def test_groups_that_do_not_fit_the_weights(part, words):
    penalty, model = kr.GroupLasso(groups=kr.Groups([[part]])), network()
    with pytest.raises(ValueError, match=f"(?s)Invalid value.*{words}"):
        kr.Proximal("sgd", penalty).build(model.trainable_variables)
    if "patterns" in words:
        with pytest.raises(ValueError, match=f"(?s)Invalid value.*{words}"):
            kr.Proximal("sgd", penalty, model=model)


def test_bad_arguments_of_the_penalty():
    with pytest.raises(ValueError, match="argument `groups`. Expected a `kerasreg.Groups`"):
        kr.GroupLasso(groups=[[("a", 0, 0)]])
    with pytest.raises(ValueError, match="argument `axis`. Expected no axis beside `groups`"):
        kr.GroupLasso(axis=0, groups=OF_UNITS)


def test_one_weight_alone_is_refused():
    penalty = kr.GroupLasso(groups=OF_UNITS)
    w = np.ones((4, 5), "float32")
    for act in (
        penalty,
        penalty.group_norms,
        penalty.dual_norm,
        lambda w: penalty.prox(w, 0.1),
        lambda w: penalty.subdifferential_distance(w, w),
    ):
        with pytest.raises(ValueError, match=r"`groups`. Expected None here.*Proximal"):
            act(w)
    with pytest.raises(ValueError, match=r"`groups`. Expected None here.*Proximal"):
        kr.attach_regularizers(network(), penalty)


def test_they_choose_their_weights():
    model = network()
    optimizer = kr.Proximal("sgd", kr.GroupLasso(groups=OF_UNITS), model=model)
    found = optimizer.penalties_of(model.trainable_variables)
    assert [penalty is not None for penalty in found] == [True, True, True, False]
    penalties = {".*second/bias": kr.L1(0.1), ".*": kr.GroupLasso(groups=OF_UNITS)}
    for given in ({}, {"model": model}):
        found = kr.Proximal("sgd", penalties, **given).penalties_of(model.trainable_variables)
        assert [type(penalty) for penalty in found] == [kr.GroupLasso] * 3 + [kr.L1]
    narrow = kr.Proximal("sgd", {".*first/.*": kr.GroupLasso(groups=OF_UNITS)})
    with pytest.raises(ValueError, match="(?s)patterns that match one of the paths"):
        narrow.build(model.trainable_variables)


STEPPED = {
    "sgd": (lambda: keras.optimizers.SGD(0.5), lambda v, rate: np.full(v.shape, 0.5)),
    "adam": (
        lambda: keras.optimizers.Adam(0.5),
        # After one update with beta_2 = .999 the root of the corrected moment is |gradient|.
        lambda g, rate: 0.5 / (np.abs(g) + 1e-7),
    ),
}
ARGUMENTS = [
    {"groups": OF_UNITS},
    {"groups": OF_UNITS, "size_scaling": False, "positive": True},
    {"groups": ROWS_AND_COLUMNS},
]


@pytest.mark.fast_cases(3)
@pytest.mark.parametrize("arguments", ARGUMENTS, ids=["units", "positive", "crosses"])
@pytest.mark.parametrize("span", [1, 4])
def test_the_update_is_the_minimiser_of_all_weights_together(arguments, span):
    penalty, model = kr.GroupLasso(0.2, **arguments), network()
    variables, rng = model.trainable_variables, np.random.default_rng(0)
    ws = [rng.normal(size=v.shape).astype("float32") for v in variables]
    steps = [rng.uniform(0, 1, v.shape).astype("float32") ** span for v in variables]
    steps[0][0] = 0
    updates = [
        Update(keras.ops.convert_to_tensor(w), None, [step], lambda scale, m: m[0], path=v.path)
        for w, step, v in zip(ws, steps, variables, strict=True)
    ]
    expected = expected_prox(penalty, masks_of(penalty.groups, model), ws, steps)
    for z, wanted in zip(penalty.update(updates, 1, 1.0), expected, strict=True):
        np.testing.assert_allclose(to_numpy(z), wanted, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("jit_compile", first_is_fast(JIT_COMPILE))
@pytest.mark.parametrize(
    "arguments", first_is_fast(ARGUMENTS), ids=["units", "positive", "crosses"]
)
@pytest.mark.parametrize("name", first_is_fast(STEPPED))
def test_one_update_is_the_proximal_operator_of_all_weights_together(name, arguments, jit_compile):
    make, step_of = STEPPED[name]
    plain, model = network(), network()
    x, y = data()
    before = [to_numpy(v.value) for v in plain.trainable_variables]
    plain.compile(keras.optimizers.SGD(1.0), "mse")
    plain.train_on_batch(x, y)
    after = [to_numpy(v.value) for v in plain.trainable_variables]
    grads = [b - a for a, b in zip(after, before, strict=True)]
    penalty = kr.GroupLasso(0.05, **arguments)
    model.compile(kr.Proximal(make(), penalty), "mse", jit_compile=jit_compile)
    model.train_on_batch(x, y)
    inner = network()
    inner.compile(make(), "mse")
    inner.train_on_batch(x, y)
    ws = [to_numpy(v.value) for v in inner.trainable_variables]
    steps = [step_of(g, 0.5) for g in grads]
    expected = expected_prox(penalty, masks_of(penalty.groups, model), ws, steps)
    for v, z, w, g in zip(model.trainable_variables, expected, ws, grads, strict=True):
        # No farther than Adam could have moved it; see `Proximal`.
        z = np.clip(z, w - 0.5 * 7.27, w + 0.5 * 7.27) if name == "adam" else z
        sure = np.abs(g) > 1e-5
        np.testing.assert_allclose(to_numpy(v.value)[sure], z[sure], rtol=1e-3, atol=3e-4)


@pytest.mark.parametrize("dtype", [slow(None), slow("mixed_float16"), slow("mixed_bfloat16")])
def test_units_die_with_all_that_leads_to_them_and_from_them(dtype):
    if dtype == "mixed_float16" and BACKEND == "torch":
        pytest.skip("float16 products on a CPU")
    model, (x, y) = network(dtype), data()
    penalty = kr.GroupLasso(0.03, groups=OF_UNITS)
    model.compile(kr.Proximal(keras.optimizers.Adam(0.02), penalty), "mse")
    model.fit(x, y, epochs=150, batch_size=32, verbose=0)
    kernel, bias, second, other = (to_numpy(v.value) for v in model.trainable_variables)
    dead = ~np.any(kernel, axis=0)
    assert 0 < np.sum(dead) < UNITS
    np.testing.assert_array_equal(dead, bias == 0)
    np.testing.assert_array_equal(dead, ~np.any(second, axis=1))
    assert np.all(other != 0)


@pytest.mark.slow
def test_a_part_of_a_weight_is_left_alone():
    model, (x, y) = network(), data()
    groups = kr.Groups([[(".*first/kernel", 1, [1, 3]), (".*second/kernel", 0, [0])]])
    model.compile(kr.Proximal(keras.optimizers.SGD(0.1), kr.GroupLasso(50.0, groups=groups)), "mse")
    model.fit(x, y, verbose=0)
    first, _, second, _ = (to_numpy(v.value) for v in model.trainable_variables)
    assert not np.any(first[:, [1, 3]]) and np.all(first[:, [0, 2, 4]])
    assert not np.any(second[0]) and np.all(second[1:])


def test_shares_residuals_and_dual_norms():
    model, rng = network(), np.random.default_rng(3)
    penalty = kr.GroupLasso(0.3, groups=OF_UNITS)
    variables = model.trainable_variables[:3]
    masks = [of_group[:3] for of_group in masks_of(OF_UNITS, model)]
    ws = [to_numpy(v.value) for v in variables]
    for w, mask in zip(ws, masks[2], strict=True):
        w[mask] = 0
    grads = [rng.normal(size=w.shape) for w in ws]
    paths = [v.path for v in variables]
    lists = [[a.astype("float32") for a in arrays] for arrays in (ws, grads)]
    shares = [to_numpy(share) for share in penalty.shares(lists[0], paths)]
    residuals = [to_numpy(r) for r in penalty.residuals(*lists, paths)]
    dual = [to_numpy(n) for n in penalty.dual_norms(lists[1], paths)]
    total, ratios = 0.0, []
    for of_group in masks:
        w, g, r = (flat(arrays, of_group) for arrays in (ws, grads, residuals))
        strength = 0.3 * np.sqrt(w.size)
        total += strength * norm(w)
        ratios.append(norm(g) / strength)
        if np.any(w):
            np.testing.assert_allclose(r, g + strength * w / norm(w), rtol=1e-5, atol=1e-6)
        else:
            np.testing.assert_allclose(norm(r), max(norm(g) - strength, 0), rtol=1e-5)
    np.testing.assert_allclose(sum(shares), total, rtol=1e-6)
    np.testing.assert_allclose(dual, max(ratios), rtol=1e-5)
    quarter = [w / 2 if i == 1 else w for i, w in enumerate(lists[0])]
    assert to_numpy(penalty.shares(quarter, paths)[1]) < shares[1]


def compiled(strength=0.03):
    model = network()
    penalty = kr.GroupLasso(strength, groups=OF_UNITS)
    model.compile(kr.Proximal(keras.optimizers.SGD(0.1), penalty), "mse")
    return model


@pytest.mark.slow
def test_the_report_and_the_log(tmp_path):
    model, (x, y) = compiled(), data()
    log = kr.RegularizationLogger(tmp_path / "log", optimality_data=(x, y), in_logs="all")
    history = model.fit(x, y, epochs=2, callbacks=[log], verbose=0).history
    variables = model.trainable_variables[:3]
    penalty = model.optimizer.penalty
    shares = penalty.shares([v.value for v in variables], [v.path for v in variables])
    expected = sum(to_numpy(share) for share in shares)
    np.testing.assert_allclose(history["regularization_loss"][-1], expected, rtol=1e-5)
    assert np.isfinite(history["optimality_residual"][-1])
    report = str(kr.sparsity_report(model))
    assert "groups=Groups(5 groups, 3 patterns)), after the step" in report
    assert "places" not in report


@pytest.mark.slow
def test_a_log_of_some_weights_knows_the_others(tmp_path):
    totals = []
    for weights in (None, "first/kernel"):
        model, (x, y) = compiled(), data()
        log = kr.RegularizationLogger(tmp_path / str(weights), weights=weights, in_logs="all")
        totals.append(
            model.fit(x, y, callbacks=[log], verbose=0).history["regularization_loss"][-1]
        )
    variables = model.trainable_variables[:3]
    shares = model.optimizer.penalty.shares(
        [v.value for v in variables], [v.path for v in variables]
    )
    np.testing.assert_allclose(totals[1], to_numpy(shares[0]), rtol=1e-5)
    assert totals[1] < totals[0]


@pytest.mark.slow
def test_saved_and_loaded(tmp_path):
    model, (x, y) = compiled(), data()
    model.fit(x, y, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.optimizer.penalty == model.optimizer.penalty
    for each in (model, loaded):
        each.fit(x, y, shuffle=False, verbose=0)
    for ours, theirs in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_allclose(theirs, ours, rtol=1e-6)


@pytest.mark.skipif(BACKEND != "torch", reason="the same on all; PyTorch compiles nothing for it")
def test_the_strength_at_which_nothing_is_left():
    x, y = data(64)
    linear = keras.Sequential([keras.Input((4,)), layers.Dense(3, name="only")])
    pairs = kr.Groups.from_labels([(".*only/kernel", 0, [0, 0, 1, 1])])
    penalty = kr.GroupLasso(1.0, groups=pairs)
    linear.compile("sgd", "mse")
    strongest = kr.max_strength(linear, x, y, penalty)
    for factor, is_left in ((1.02, False), (0.95, True)):
        model = keras.Sequential([keras.Input((4,)), layers.Dense(3, name="only")])
        each = kr.GroupLasso(factor * strongest, groups=pairs)
        model.compile(kr.Proximal(keras.optimizers.SGD(0.3), each), "mse")
        model.fit(x, y, epochs=300, batch_size=64, verbose=0)
        assert bool(np.any(to_numpy(model.layers[0].kernel.value))) == is_left
