"""Keras's own tests hold with our classes; in a process of their own, as they patch Keras."""

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.skipif(
    find_spec("keras.src.layers.regularization.dropout_test") is None,
    reason="this version of Keras does not ship its tests",
)
def test_keras_own_tests_hold():
    script = Path(__file__).with_name("helpers") / "keras_own_tests.py"
    run = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=300)
    counts = re.search(r"(\d+) passed, (\d+) failed", run.stdout)
    assert counts and int(counts[1]) >= 42 and int(counts[2]) == 0, run.stdout + run.stderr
