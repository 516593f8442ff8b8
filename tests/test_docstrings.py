"""The examples in the docstrings run, and print what they say."""

import doctest
import importlib
import pkgutil

import keras
import numpy as np
import pytest
from helpers.marks import slow
from helpers.models import classifier, data

import kerasreg

NAMES = [info.name for info in pkgutil.walk_packages(kerasreg.__path__, "kerasreg.")]


# Their examples train for long; the tests of these rooms do so at less length.
SLOW = [
    "kerasreg.strength.regularization_path",
    "kerasreg.callbacks.strength_scheduler",
    "kerasreg.callbacks.dropout_rate_scheduler",
    "kerasreg.layers.drop_block2d",
]
MODULES = [slow(name, id=name) if name in SLOW else name for name in NAMES]


@pytest.mark.parametrize("module", MODULES)
def test_examples(module, tmp_path, monkeypatch):
    if module.endswith(("torch_prox", "torch_reduction")):
        pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    x, y = data()
    names = {"kerasreg": kerasreg, "keras": keras, "np": np, "x": x, "y": y, "step": 1}
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for test in doctest.DocTestFinder().find(importlib.import_module(module), extraglobs=names):
        if "model" in test.docstring:
            test.globs["model"] = classifier()
        runner.run(test)
    assert runner.summarize(verbose=False).failed == 0
