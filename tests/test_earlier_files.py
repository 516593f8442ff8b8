"""Files and logs that an earlier version wrote with TensorFlow open on every backend.

`data/<version>` holds them, and in `expected.json` what that version read back from them.
"""

import copy
import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from helpers.event_files import read

import kerasreg as kr

pytestmark = pytest.mark.skipif(
    tuple(map(int, keras.__version__.split(".")[:2])) < (3, 15),
    reason="Keras 3.15 wrote them, and an older one does not know all arguments in them",
)
FOLDER = Path(__file__).parent / "data" / "0.1.0"
EXPECTED = json.loads((FOLDER / "expected.json").read_text())


def data():
    random = np.random.RandomState(0)  # whose numbers stay the same with every NumPy
    return random.randint(-8, 9, (40, 6)) / 8, random.randint(-8, 9, (40, 3)) / 8


def assert_values(variables, expected, **tolerance):
    """The same numbers in float32, unless there is a tolerance."""
    found = [np.ravel(keras.ops.convert_to_numpy(variable)) for variable in variables]
    compare = np.testing.assert_allclose if tolerance else np.testing.assert_array_equal
    for values, numbers in zip(found, expected, strict=True):
        compare(values, np.asarray(numbers, "float32"), **tolerance)


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("file", ["model.keras", "momentum.keras"])
def test_a_model_goes_on_training(file):
    (x, y), expected = data(), EXPECTED[file]
    model = keras.saving.load_model(FOLDER / file)
    variables = {variable.path: variable for variable in model.optimizer.variables}
    assert_values(map(variables.get, expected["optimizer"]), expected["optimizer"].values())
    assert float(model.optimizer.strength_scale) == expected["strength_scale"]
    assert_values(model.weights, expected["weights"])
    assert_values([model(x[:4])], [expected["prediction"]], rtol=1e-5, atol=1e-6)
    model.train_on_batch(x[:10], y[:10])
    assert_values(model.weights, expected["weights after a step"], rtol=1e-4, atol=1e-6)


def test_weights_and_the_next_dropout_mask():
    expected = EXPECTED["model.keras"]
    model = keras.models.clone_model(keras.saving.load_model(FOLDER / "model.keras"))
    model.load_weights(FOLDER / "model.weights.h5")
    assert_values(model.weights, expected["weights"])
    found = model(data()[0][:4], training=True)
    assert_values([found], [expected["training output"]], rtol=1e-5, atol=1e-6)


class CountFits(keras.callbacks.Callback):
    fits = 0

    def on_train_begin(self, logs=None):
        self.fits += 1


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(("folder", "fits"), [("path", 0), ("interrupted-path", 1)])
def test_a_path_goes_on(tmp_path, folder, fits):
    (x, y), expected, count = data(), EXPECTED["path"], CountFits()
    shutil.copytree(FOLDER / folder, tmp_path / folder)
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse")
    path = kr.regularization_path(
        model,
        kr.L1(),
        x,
        2 * x[:, 0] - x[:, 1] + y[:, 0],
        strengths=[1.0, 0.3, 0.1, 0.03],
        callbacks=[count],
        log_dir=tmp_path / folder,
        verbose=0,
    )
    assert count.fits == fits
    known = len(path) - fits
    assert [row.to_dict() for row in path.rows][:known] == expected["rows"][:known]
    for row, weights in zip(path.rows, expected["weights"], strict=True):
        path.restore(model, row)
        assert_values(model.weights, weights, atol=0 if row.index < known else 1e-4)


# What that version did not log.
COMPACTED = {"all/compacted_parameters", "all/compacted_multiply_adds"}
ONCE_BY_EPOCH = {"all/mae"}
SINCE = {"all/held", *COMPACTED, "kerasreg/compaction"}


def charts(points):
    """All tags, with the points of those that are numbers."""
    return {
        tag: [list(point) for point in points[tag]] if EXPECTED["log"].get(tag) else None
        for tag in points
    }


def assert_same_charts(found, expected, rtol, atol):
    assert found.keys() == expected.keys()
    for tag, points in expected.items():
        if points is not None:
            np.testing.assert_allclose(found[tag], points, rtol, atol, err_msg=tag)


def test_a_log_is_read():
    assert_same_charts(charts(read(FOLDER / "log")), EXPECTED["log"], rtol=1e-7, atol=0)


@pytest.mark.slow
def test_a_new_log_shows_the_same(tmp_path):
    x, y = data()
    model = keras.saving.load_model(FOLDER / "model.keras")
    logger = kr.RegularizationLogger(
        tmp_path,
        update_freq=2,
        optimality_data=(x, y),
        input_shape=(2, 3),
        hparams={"penalty": kr.L1(1e-2), "strength": 1e-2},
        verbose=0,
    )
    model.fit(
        x,
        y,
        batch_size=10,
        epochs=2,
        shuffle=False,
        validation_data=(x[:10], y[:10]),
        callbacks=[logger],
        verbose=0,
    )
    found = charts(read(tmp_path))
    assert found.keys() - EXPECTED["log"].keys() == SINCE
    found = {tag: points for tag, points in found.items() if tag not in SINCE}
    for tag in ONCE_BY_EPOCH:
        steps = [step for step, _ in EXPECTED["log"][tag]]
        found[tag] = [point for point in found[tag] if point[0] in steps]
    assert_same_charts(found, EXPECTED["log"], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("saved", EXPECTED["serialized"], ids=lambda saved: saved["class_name"])
def test_serialised_objects(saved):
    loaded = keras.saving.deserialize_keras_object(copy.deepcopy(saved))  # Keras changes it
    assert type(loaded) is getattr(kr, saved["class_name"])
    again = keras.saving.serialize_keras_object(loaded)
    assert again["registered_name"] == saved["registered_name"]
    assert holds(what_is_in(json.loads(json.dumps(again))), what_is_in(saved))


def holds(config, part):
    """Whether a configuration has all of another; a later version may have more arguments."""
    if isinstance(part, dict):
        return all(name in config and holds(config[name], part[name]) for name in part)
    return config == part


def what_is_in(config):
    """A configuration without where classes are, which may change, and differs on torch."""
    if isinstance(config, list):
        return [what_is_in(part) for part in config]
    if not isinstance(config, dict):
        return config
    places = ("module", "registered_name")
    return {name: what_is_in(part) for name, part in config.items() if name not in places}
