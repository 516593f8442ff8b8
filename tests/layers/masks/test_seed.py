"""The state of a layer that draws masks: reproducible, saved with the model, copied with it."""

import copy
import pickle
from fractions import Fraction

import keras
import numpy as np
import pytest
from helpers.backends import BACKEND, to_numpy
from helpers.marks import slow
from helpers.mask_words import WORDS, dropping, numpy_mask
from helpers.processes import in_process

import kerasreg as kr
from kerasreg.layers.masks.seed import MaskSeed


def words(state):
    return to_numpy(state).astype("int64") % WORDS


def model_with(dropout, name="model"):
    layers = [keras.layers.Dense(16, "relu"), dropout, keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((8,)), *layers], name=name)
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9), "mse")
    return model


def train(model, epochs=1):
    x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
    model.fit(x, x[:, :1], batch_size=16, epochs=epochs, shuffle=False, verbose=0)
    return model


@pytest.mark.parametrize(
    "seed", [0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**32 + 5, 2**40, -1, -(2**35)], ids=str
)
def test_the_state_of_a_seed(seed):
    generator = MaskSeed(seed)
    for count in range(3):
        np.testing.assert_array_equal(words(generator.next())[:4], [seed % WORDS, count, 0, 0])
    assert generator.get_config()["seed"] == seed
    assert generator.state.shape == (4,) and not generator.state.trainable
    assert generator.state.dtype == keras.random.SeedGenerator(1).state.dtype


def test_default_seeds_follow_the_global_one():
    def draw():
        keras.utils.set_random_seed(5)
        return [words(MaskSeed().next())[0] for _ in range(4)]

    first = draw()
    assert draw() == first and len(set(first)) == 4


@pytest.mark.parametrize("rate", [0, 1e-9, 0.3, 0.5, 0.999, 1 - 1e-10, 1])
def test_a_new_rate_keeps_seed_and_count(rate):
    generator = MaskSeed(-3)
    for _ in range(2):
        generator.next()
    generator.set_rate(rate)
    for count in (2, 3):
        *start, rest = words(generator.next())[:4].tolist()
        assert start == [WORDS - 3, count, dropping(rate)]
        exact = Fraction(dropping(rate) * WORDS + (rest - WORDS * (rest >= WORDS // 2)), WORDS**2)
        # Nearer to 1 a mask cannot tell it from 1.
        assert dropping(rate) == WORDS - 1 or abs(exact - Fraction(rate)) <= Fraction(1, WORDS**2)


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("file_name", ["model.keras", "model.weights.h5"])
def test_a_saved_model_goes_on_with_the_next_mask(file_name, tmp_path):
    def build(seed):
        keras.utils.set_random_seed(0)
        return model_with(kr.Dropout(0.5, seed=seed))

    right = train(build(3), epochs=2)
    model = train(build(3))
    path = tmp_path / file_name
    if file_name == "model.keras":
        model.save(path)
        model = keras.models.load_model(path)
    else:
        model.save_weights(path)
        # Another seed, which that of the file has to replace, and an optimizer with its slots.
        model = build(4)
        model.optimizer.build(model.trainable_variables)
        model.load_weights(path)
    train(model)
    np.testing.assert_array_equal(words(model.layers[1].seed_generator.state)[:2], [3, 8])
    for a, b in zip(model.get_weights(), right.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_file_does_not_bring_its_rate_along(tmp_path):
    path = tmp_path / "model.weights.h5"
    model_with(kr.Dropout(0.5)).save_weights(path)
    model = model_with(kr.Dropout(0.2))
    model.load_weights(path)
    assert words(model.layers[1].seed_generator.state)[2] == dropping(0.2)


@pytest.mark.parametrize(
    ("saved", "loaded"),
    [slow(kr.Dropout, keras.layers.Dropout), (keras.layers.Dropout, kr.Dropout)],
)
def test_weight_files_of_models_with_the_dropout_of_keras(saved, loaded, tmp_path):
    path = tmp_path / "model.weights.h5"
    source, target = train(model_with(saved(0.5, seed=1))), model_with(loaded(0.5, seed=2))
    target.optimizer.build(target.trainable_variables)
    source.save_weights(path)
    target.load_weights(path)
    for a, b in zip(source.get_weights(), target.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    train(target)


@pytest.mark.parametrize(
    "duplicate",
    [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))],
    ids=["deepcopy", "pickle"],
)
def test_a_copy_draws_the_same_masks_and_its_own(duplicate):
    layer, x = kr.Dropout(0.5, seed=2), keras.ops.ones((30, 40))
    layer(x, training=True)
    twin = duplicate(layer)
    for count in (1, 2):  # of which neither call may advance the other
        right = 2 * numpy_mask(2, count, (30, 40), 0.5)
        for other in (layer, twin):
            np.testing.assert_array_equal(to_numpy(other(x, training=True)), right)
    twin.rate = 0.9
    assert layer.rate == 0.5 and words(layer.seed_generator.state)[2] == dropping(0.5)


@pytest.mark.slow
def test_a_pickled_model_goes_on():
    keras.utils.set_random_seed(0)
    right = train(model_with(kr.Dropout(0.5, seed=3)), epochs=2)
    keras.utils.set_random_seed(0)
    model = pickle.loads(pickle.dumps(train(model_with(kr.Dropout(0.5, seed=3)))))
    for a, b in zip(train(model).get_weights(), right.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


MIRRORED = """
    import keras, kerasreg as kr
    import numpy as np
    import tensorflow as tf
    from helpers.mask_words import numpy_mask

    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
    )
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        layer = kr.Dropout(0.5, seed=7)
        layer.build((None, 40))

    @tf.function
    def step():
        return strategy.run(lambda: layer(tf.ones((30, 40)), training=True))

    replicas = [strategy.experimental_local_results(step()) for _ in range(3)]
    drawn = [mask.numpy() for pair in replicas for mask in pair]
    for count, mask in enumerate(drawn[::2]):
        np.testing.assert_array_equal(mask, 2 * numpy_mask(7, count, (30, 40), 0.5))
    for i, one in enumerate(drawn):
        for other in drawn[:i]:
            agreeing = (one == other).mean()
            assert abs(agreeing - 0.5) < 5 * 0.5 / np.sqrt(one.size), agreeing

    with strategy.scope():
        layers = [keras.layers.Dense(4), kr.Dropout(0.5, seed=7)]
        model = keras.Sequential([keras.Input((8,)), *layers])
        model.compile("sgd", "mse")
    x = np.ones((32, 8), "float32")
    model.fit(x, x[:, :4], batch_size=8, epochs=2, verbose=0)
    seed, count, *_ = np.asarray(keras.ops.convert_to_numpy(layers[1].seed_generator.state.value))
    assert (seed, count) == (7, 8), (seed, count)
"""


@pytest.mark.slow
@pytest.mark.skipif(BACKEND != "tensorflow", reason="MirroredStrategy is TensorFlow's")
def test_replicas_draw_different_masks():
    in_process(MIRRORED)


SHARDED = """
    import keras, kerasreg as kr
    import jax
    import numpy as np
    from helpers.mask_words import numpy_mask

    distribution = keras.distribution.DataParallel()
    assert distribution.device_mesh.shape == (4,)

    def fit():
        keras.utils.set_random_seed(0)
        layers = [keras.layers.Dense(16), kr.Dropout(0.5, seed=7), keras.layers.Dense(1)]
        model = keras.Sequential([keras.Input((8,)), *layers])
        model.compile("sgd", "mse")
        x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
        model.fit(x, x[:, :1], batch_size=16, epochs=2, shuffle=False, verbose=0)
        return model.get_weights()

    right = fit()
    keras.distribution.set_distribution(distribution)
    for a, b in zip(fit(), right, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)

    layer = kr.Dropout(0.5, seed=7)
    mesh = jax.sharding.Mesh(jax.devices(), ("batch",))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("batch"))
    x = jax.device_put(np.ones((20, 40), "float32"), sharding)
    y, _ = jax.jit(lambda x: layer.stateless_call(
        [], [layer.seed_generator.state.value], x, training=True
    ))(x)
    assert {shard.data.shape for shard in y.addressable_shards} == {(5, 40)}
    np.testing.assert_array_equal(y, 2 * numpy_mask(7, 0, (20, 40), 0.5))
    shards = np.reshape(y, (4, -1))
    assert all(np.any(one != other) for i, one in enumerate(shards) for other in shards[:i])
"""


@pytest.mark.skipif(BACKEND != "jax", reason="keras.distribution works on JAX")
def test_a_mask_over_several_devices_is_that_of_one():
    in_process(SHARDED, XLA_FLAGS="--xla_force_host_platform_device_count=4")


def test_the_states_of_a_model_have_paths_of_their_own():
    """By which `get_state_tree`, and Orbax with it, tells them apart, as it does those of Keras."""
    for dropout in (kr.Dropout, keras.layers.Dropout):
        model = keras.Sequential([keras.Input((3,)), dropout(0.5), dropout(0.5)])
        model.compile("sgd", "mse")
        assert len({v.path for v in model.variables}) == 2
        tree = model.get_state_tree()
        model.set_state_tree(tree)
        assert len(keras.tree.flatten(tree["non_trainable_variables"])) == 2
