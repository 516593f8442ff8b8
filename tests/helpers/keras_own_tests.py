"""Runs Keras's own tests of L1, L2 and the dropout layers with kerasreg's classes in their place.

    python tests/helpers/keras_own_tests.py

prints how many ran and how many failed, and exits with 1 if any did.
"""

import sys
import unittest

import keras
from keras.src.layers.regularization import (
    alpha_dropout_test,
    dropout_test,
    gaussian_dropout_test,
    spatial_dropout_test,
)
from keras.src.regularizers import regularizers_test

import kerasreg as kr

OTHER_CLASSES = ("orthogonal", "l1l2", "l1_l2")


def run() -> unittest.TestResult:
    """Replaces the classes where the tests look them up, and runs the tests."""
    keras.src.regularizers.L1 = kr.L1
    keras.src.regularizers.L2 = kr.L2
    keras.src.regularizers.ALL_OBJECTS_DICT.update(L1=kr.L1, l1=kr.L1, L2=kr.L2, l2=kr.L2)
    for name in ("Dropout", "AlphaDropout", "GaussianDropout"):
        setattr(keras.src.layers, name, getattr(kr, name))
    for rank in (1, 2, 3):
        name = f"SpatialDropout{rank}D"
        setattr(keras.src.layers, name, getattr(kr, name))
    suite = unittest.TestSuite()
    for case in (
        dropout_test.DropoutTest,
        alpha_dropout_test.AlphaDropoutTest,
        gaussian_dropout_test.GaussianDropoutTest,
        spatial_dropout_test.SpatialDropoutTest,
        regularizers_test.RegularizersTest,
    ):
        for name in unittest.defaultTestLoader.getTestCaseNames(case):
            if not any(other in name for other in OTHER_CLASSES):
                suite.addTest(case(name))
    return unittest.TextTestRunner(verbosity=2).run(suite)


if __name__ == "__main__":
    result = run()
    failed = len(result.failures) + len(result.errors)
    print(f"Keras's own tests: {result.testsRun - failed} passed, {failed} failed")
    sys.exit(bool(failed))
