"""Files in which zeros take hardly any room."""

import gzip
import io
import zipfile

import h5py
import keras
import numpy as np
import pytest
from helpers.backends import to_numpy
from helpers.dead_channels import inputs_for, randomize
from helpers.processes import in_process

import kerasreg as kr

layers = keras.layers


def with_zeros(model, zeros, seed=0):
    """Random weights, so many of them zero."""
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        numbers = rng.normal(size=variable.shape)
        variable.assign(np.where(rng.random(variable.shape) < zeros, 0, numbers).astype("float32"))
    return model


@keras.saving.register_keras_serializable("kerasreg_tests")
class Listed(layers.Layer):
    """A layer that has files of its own in the archive."""

    def call(self, x):
        return x

    def save_assets(self, folder):
        with open(f"{folder}/words.txt", "w") as file:
            file.write("größer")

    def load_assets(self, folder):
        with open(f"{folder}/words.txt") as file:
            self.words = file.read()


@keras.saving.register_keras_serializable("kerasreg_tests")
class Optimizer(layers.Dense):
    """Named in the archive as what is left out."""


@keras.saving.register_keras_serializable("kerasreg_tests")
class Own(keras.Model):
    """A model without a graph."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(2)

    def call(self, x):
        return self.dense(x)


def dense():
    return keras.Sequential([keras.Input((300,)), layers.Dense(400), layers.Dense(2)])


def nested():
    inner = keras.Sequential([keras.Input((6, 6, 4)), layers.Conv2D(4, 3), Listed()])
    x = inputs = keras.Input((6, 6, 4))
    x = layers.Flatten()(layers.BatchNormalization()(inner(x)))
    return keras.Model(inputs, Optimizer(2)(x))


def long():
    """The first axis is longer than a block, and the last one."""
    first, last = layers.Dense(1, dtype="float16"), layers.Dense(150_000, dtype="bfloat16")
    return keras.Sequential([keras.Input((2**22,)), first, last])


def own():
    model = Own()
    model(np.ones((1, 300), "float32"))
    return model


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("make", [dense, nested, long, own])
def test_everything_is_exactly_as_it_was(make, tmp_path):
    model = with_zeros(make(), 0.9)
    kr.save_sparse(model, tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded) is type(model) and loaded.name == model.name and not loaded.compiled
    others = make()
    others.load_weights(tmp_path / "model.keras")
    for variable, *new in zip(model.weights, loaded.weights, others.weights, strict=True):
        for other in new:
            assert other.dtype == variable.dtype
            assert np.array_equal(to_numpy(other), to_numpy(variable))
    if make is nested:
        assert loaded.layers[1].layers[1].words == "größer"
        x = inputs_for(model)
        assert np.array_equal(to_numpy(model(x)), to_numpy(loaded(x)))


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("zeros", [0.5, 0.9, 0.98])
def test_a_file_is_as_small_as_gzip_makes_that_of_keras(dtype, zeros, tmp_path):
    keras.config.set_dtype_policy(dtype)
    model = with_zeros(dense(), zeros)
    model.save(tmp_path / "plain.keras")
    kr.save_sparse(model, tmp_path / "sparse.keras")
    zipped = gzip.compress((tmp_path / "plain.keras").read_bytes())
    assert (tmp_path / "sparse.keras").stat().st_size < 1.02 * len(zipped)


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_signs_of_zeros_take_no_room(dtype, tmp_path):
    """As `kernel * mask` has them."""
    keras.config.set_dtype_policy(dtype)
    sizes = []
    for negative in (False, True):
        model = with_zeros(dense(), 0.98)
        if negative:
            kernel = model.layers[0].kernel
            kernel.assign(np.where(to_numpy(kernel) == 0, -0.0, to_numpy(kernel)))
            assert np.signbit(to_numpy(kernel)).mean() > 0.9
        kr.save_sparse(model, tmp_path / "model.keras")
        sizes.append((tmp_path / "model.keras").stat().st_size)
    assert sizes[0] == pytest.approx(sizes[1], abs=20)
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert np.signbit(to_numpy(loaded.layers[0].kernel)).mean() < 0.1


def contents(path):
    """The archive's members, and the datasets in its file of weights by name."""
    with zipfile.ZipFile(path) as archive:
        members = {each.filename: each for each in archive.infolist()}
        weights = h5py.File(io.BytesIO(archive.read("model.weights.h5")))
    datasets = {}
    weights.visititems(lambda n, x: datasets.update({n: x} if isinstance(x, h5py.Dataset) else {}))
    return members, datasets


def test_zeros_alone_are_not_taken_for_a_trap(tmp_path):
    """Keras opens no large file that gets more than a hundred times, or a thousand, larger."""
    kr.save_sparse(with_zeros(long(), 1), tmp_path / "model.keras")
    members, datasets = contents(tmp_path / "model.keras")
    weights = members["model.weights.h5"]
    assert weights.file_size < 50_000 and weights.file_size < 100 * weights.compress_size
    large = [x for x in datasets.values() if x.nbytes > 2**18]
    assert large and all(x.nbytes < 1000 * x.id.get_storage_size() for x in large)


@pytest.mark.slow
def test_the_optimizer_stays_behind(tmp_path):
    """Also that of a model inside of it, as the discriminator of a GAN has."""
    model = nested()
    for each in (model.layers[1], model):
        optimizer = kr.Proximal("adam", {".*kernel": kr.L1(1e-3)})
        each.compile(optimizer, "mse", metrics=["mae"])
        optimizer.build(each.trainable_variables)
    model.save(tmp_path / "model.keras")
    assert len(contents(tmp_path / "model.keras")[1]) > 3 * len(model.weights)
    kr.save_sparse(model, tmp_path / "model.keras")
    members, datasets = contents(tmp_path / "model.keras")
    assert len(datasets) == len(model.weights)
    with zipfile.ZipFile(tmp_path / "model.keras") as file:
        configuration = file.read("config.json")
    assert b"compile_config" not in configuration and b"kerasreg>" not in configuration
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert not loaded.compiled and not loaded.layers[1].compiled
    assert model.compiled and model.layers[1].compiled


def test_the_old_file_stays_until_the_new_one_is_complete(tmp_path, monkeypatch):
    path = tmp_path / "model.keras"
    path.write_text("old")

    def stop(*args):
        assert path.read_text() == "old"
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(zipfile.ZipFile, "write", stop)
        with pytest.raises(KeyboardInterrupt):
            kr.save_sparse(own(), path)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
    link = tmp_path / "link.keras"
    link.symlink_to(path)
    kr.save_sparse(own(), str(link))
    assert link.is_symlink() and zipfile.is_zipfile(path)
    assert sorted(tmp_path.iterdir()) == [link, path]


@pytest.mark.parametrize("path", ["model.h5", "model", "none/model.keras", "", None, 3, "in.keras"])
def test_places_where_there_can_be_no_file(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.keras").mkdir()
    with pytest.raises(ValueError, match="argument `path`. Expected a path that ends in `.keras`"):
        kr.save_sparse(own(), path)
    assert [each.name for each in tmp_path.iterdir()] == ["in.keras"]


@pytest.mark.parametrize("model", [keras.Sequential([layers.Dense(2)]), Own, layers.Dense(2), None])
def test_what_is_no_built_model(model, tmp_path):
    with pytest.raises(ValueError, match="argument `model`. Expected a"):
        kr.save_sparse(model, tmp_path / "model.keras")
    assert not list(tmp_path.iterdir())


OPEN = """
    import sys, keras
    model = keras.saving.load_model(sys.argv[1])
    assert "kerasreg" not in sys.modules
    print(model.count_params())
"""


@pytest.mark.slow
def test_it_opens_in_a_process_without_kerasreg(tmp_path):
    model = randomize(keras.Sequential([keras.Input((3,)), kr.Dropout(0.1), layers.Dense(2)]))
    kr.save_sparse(kr.strip(model), tmp_path / "model.keras")
    assert int(in_process(OPEN, tmp_path / "model.keras").split()[-1]) == model.count_params()


MEMORY = """
    import resource, sys, keras, kerasreg as kr
    zeros = {"kernel_initializer": "zeros", "use_bias": False}
    stack = [keras.layers.Dense(2048, **zeros) for _ in range(16)]
    model = keras.Sequential([keras.Input((2048,)), *stack])
    kr.save_sparse(keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)]), sys.argv[1])
    peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    before = peak()
    kr.save_sparse(model, sys.argv[1])
    print(peak() - before)
"""


@pytest.mark.slow
def test_no_second_copy_of_the_weights_is_in_memory(tmp_path):
    """Of 256 MB; one weight has 16."""
    assert float(in_process(MEMORY, tmp_path / "model.keras").split()[-1]) < 100
