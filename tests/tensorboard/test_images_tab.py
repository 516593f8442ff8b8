"""The IMAGES tab: where the zeros of a trained network are, by HTTP and in the browser."""

import io
import json
import urllib.parse
import urllib.request
from dataclasses import replace

import keras
import numpy as np
import pytest
from helpers import dashboard
from helpers.dashboard import PAGE_TEXT, find_all, wait_for
from PIL import Image
from sklearn.datasets import load_digits

import kerasreg as kr
from kerasreg.statistics.weights import find_weights
from kerasreg.tensorboard.event_file import EventWriter
from kerasreg.tensorboard.legend import LEFT
from kerasreg.tensorboard.pictures import ZeroPatterns, drawn

# What is in the files, other tests say; these, that TensorBoard shows it.
pytestmark = [*dashboard.MARKS, pytest.mark.slow]

# TensorFlow takes no such name for a layer; PyTorch and JAX do.
FIRST = "<b>first&"

SHOW = """
    arguments[0].scrollIntoView({block: 'center'});
    const {top, bottom, left, right} = arguments[0].getBoundingClientRect();
    return [top, bottom, left, right].map(Math.round);
"""


def digits_network():
    """Learns which pixels of a digit matter: the corners of the images are always empty."""
    x, y = load_digits(return_X_y=True)
    layers = [keras.layers.Dense(32, "relu", name="first"), keras.layers.Dense(10, name="last")]
    model = keras.Sequential([keras.Input((64,)), *layers])
    penalties = {".*first/kernel": kr.GroupLasso(1e-2, axis=0), ".*last/kernel": kr.L1(5e-3)}
    optimizer = kr.Proximal(keras.optimizers.Adam(1e-2), penalties)
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(x / 16, y, 128, epochs=8, verbose=0)
    return model


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return digits_network()


@pytest.fixture(scope="module")
def server(model, tmp_path_factory):
    weights = [replace(w, name=w.name.replace("first", FIRST)) for w in find_weights(model)]
    logs = tmp_path_factory.mktemp("logs")
    events = EventWriter(logs / "run", 0)
    events.write(8, drawn(ZeroPatterns(weights, (8, 8)).count(1, [0] * len(weights))))
    events.close()
    with dashboard.tensorboard(logs) as address:
        yield address


def used(model):
    """What each picture is to show: 1 where something is not zero."""
    first, last = (keras.ops.convert_to_numpy(layer.kernel) != 0 for layer in model.layers)
    name = f"zero_pattern/{FIRST}/kernel"
    return {
        name: first,
        f"{name}/inputs": first.any(axis=1).reshape(8, 8),
        "zero_pattern/last/kernel": last,
    }


def fetch(server, route, **query):
    address = f"{server}/data/plugin/images/{route}?{urllib.parse.urlencode(query)}"
    with urllib.request.urlopen(address, timeout=20) as reply:
        return reply.read()


def test_the_server_has_the_pictures(server, model):
    for tag, expected in used(model).items():
        (entry,) = json.loads(fetch(server, "images", run="run", tag=tag, sample=0))
        assert entry["step"] == 8
        query = dict(urllib.parse.parse_qsl(entry["query"]))
        picture = np.asarray(Image.open(io.BytesIO(fetch(server, "individualImage", **query))))
        height, width = plot_size(expected)
        inside = picture[1 : height - 1, LEFT + 1 : LEFT + width - 1]
        scale = [large // small for large, small in zip(inside.shape, expected.shape, strict=True)]
        np.testing.assert_array_equal(inside > 0, np.kron(expected, np.ones(scale)) > 0)
        assert 0.05 < np.mean(expected) < 0.95


def plot_size(expected):
    """Pixels of the picture itself in the legend, its frame included."""
    square = 256 // max(expected.shape)
    return [side * max(square, 128 // side) + 2 for side in expected.shape]


def dark_and_bright(browser, tag, expected):
    """The fractions of a picture's pixels on the screen, once the picture is there."""
    cards = find_all(browser, "tf-image-loader")
    images = [i for c in cards if c.get_property("tag") == tag for i in find_all(browser, "img", c)]
    if not images or not images[0].get_property("naturalWidth"):
        return None
    top, bottom, left, right = browser.execute_script(SHOW, images[0])
    page = Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("L")
    zoom = (right - left) / images[0].get_property("naturalWidth")
    assert zoom == pytest.approx(1, abs=0.02)  # else letters have ragged edges
    height, width = (round(zoom * side) for side in plot_size(expected))
    left += round(zoom * LEFT)
    picture = np.asarray(page)[top : top + height, left : left + width]
    return np.mean(picture < 64), np.mean(picture > 192)


def test_the_tab_draws_them(server, browser, model):
    browser.get(f"{server}/#images")
    for tag, expected in used(model).items():
        found = wait_for(browser, lambda _, t=tag, e=expected: dark_and_bright(browser, t, e))
        assert found == pytest.approx((np.mean(~expected), np.mean(expected)), abs=0.04)
    text = browser.execute_script(PAGE_TEXT)
    for tag in used(model):
        assert f" {tag} " in text  # and not as HTML
