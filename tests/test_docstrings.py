"""The examples in the docstrings run, and print what they say."""

import doctest
import importlib
import pkgutil

import keras
import numpy as np
import pytest
from helpers.models import classifier, data

import kerasreg

MODULES = [info.name for info in pkgutil.walk_packages(kerasreg.__path__, "kerasreg.")]


@pytest.mark.parametrize("module", MODULES)
def test_examples(module, tmp_path, monkeypatch):
    if module.endswith("torch_reduction"):
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
