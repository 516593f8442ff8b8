"""Takes the pictures of the Sparsity tab's view Compare, of runs that it trains on digits.

python docs/compare.py

Two regularization paths, and networks with and without dropout and penalties, some minutes in all.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import keras
import numpy as np
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import kerasreg as kr

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from helpers.dashboard import chromium, open_sparsity_tab, tensorboard, wait_for  # noqa: E402

STRENGTHS = np.geomspace(3e-4, 3e-2, 12)
KERNELS = ".*hidden_./kernel"
SINGLE = {
    "none": {},
    "dropout": {"rate": 0.3},
    "L2": {"penalty": kr.L2(1e-3)},
    "L1 in the loss": {"penalty": kr.L1(1e-3)},
}
POINT = ".points .best:nth-last-child(2)"


def load_data():
    """Half of the digits to train on, the others to validate."""
    x, y = load_digits(return_X_y=True)
    return train_test_split((x / 16).astype("float32"), y, train_size=0.5, random_state=0)


def build_model(penalty=None, rate=0.0):
    """A small dense network, without a penalty of `Proximal`."""
    keras.utils.set_random_seed(0)
    hidden = [
        keras.layers.Dense(n, "relu", kernel_regularizer=penalty, name=f"hidden_{i}")
        for i, n in enumerate((128, 64))
    ]
    layers = [hidden[0], kr.Dropout(rate), hidden[1], keras.layers.Dense(10, name="logits")]
    model = keras.Sequential([keras.Input((64,)), *layers])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(2e-3), loss, metrics=["accuracy"])
    return model


def train(log_dir):
    """Trains all networks, each with a log."""
    x_train, x_test, y_train, y_test = load_data()
    samples = {"x": x_train, "y": y_train, "validation_data": (x_test, y_test)}
    for name, options in SINGLE.items():
        hparams = {"rate": options.get("rate", 0.0)}
        logger = kr.RegularizationLogger(log_dir / name, hparams=hparams, verbose=0)
        build_model(**options).fit(**samples, epochs=20, verbose=0, callbacks=[logger])
    model = build_model()
    model.fit(x_train, y_train, epochs=20, verbose=0)
    kr.regularization_path(
        model,
        [{KERNELS: kr.L1()}, {KERNELS: kr.GroupLasso()}],
        **samples,
        strengths=STRENGTHS,
        monitor="accuracy",
        mode="max",
        log_dir=log_dir / "path",
        verbose=0,
    )


def take(browser, address, runs, size, file):
    """What the browser shows with the pointer at a run, in few colours."""
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.by import By

    browser.set_window_size(*size)
    open_sparsity_tab(browser, address, "compare")
    title = (By.CSS_SELECTOR, ".compare h2")
    wait_for(browser, lambda _: browser.find_element(*title).text.endswith(f" of {runs} runs"))
    point = browser.find_element("css selector", POINT)
    ActionChains(browser).move_to_element(point).perform()
    browser.switch_to.default_content()
    browser.save_screenshot(str(file))
    Image.open(file).convert("RGB").quantize(128, dither=Image.Dither.NONE).save(
        file, optimize=True
    )
    print(f"{file}: {file.stat().st_size / 1000:.0f} kB")


def main():
    """Trains, and takes a wide picture and a narrow one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--log-dir", type=Path, help="an earlier call's, which trains nothing")
    parser.add_argument("--output", type=Path, default=ROOT / "docs", help="folder")
    arguments = parser.parse_args()
    log_dir = arguments.log_dir or Path(tempfile.mkdtemp())
    if not arguments.log_dir:
        train(log_dir)
        print(f"Runs: {log_dir}")
    runs = len(SINGLE) + 2 * len(STRENGTHS)
    with tensorboard(log_dir) as address, chromium() as browser:
        take(browser, address, runs, (1500, 1100), arguments.output / "compare.png")
        take(browser, address, runs, (800, 1100), arguments.output / "compare_narrow.png")


if __name__ == "__main__":
    main()
