"""`import kerasreg` brings little beside Keras itself."""

import pytest
from helpers.backends import BACKEND
from helpers.processes import in_process

IMPORT = """
    import sys
    import keras
    before = set(sys.modules)
    import kerasreg
    print(*sorted(set(sys.modules) - before))
"""
HEAVY = [
    "tensorflow",
    "jax",
    "torch",
    "sklearn",
    "scipy",
    "matplotlib",
    "pandas",
    "PIL",
    "tensorboard.backend",
    "tensorboard.data",
    "tensorboard.main",
    "tensorboard.program",
    "tensorboard.default",
    "werkzeug",
    "grpc",
]


@pytest.fixture(scope="module")
def imported():
    return in_process(IMPORT).split()


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("module", HEAVY)
def test_nothing_heavy_is_imported(imported, module):
    assert not [name for name in imported if name == module or name.startswith(f"{module}.")]


def test_what_is_imported(imported):
    assert "kerasreg.callbacks" in imported and "tensorboard.compat.proto.summary_pb2" in imported


def test_no_backend_is_installed():
    """What Keras says is `No module named 'tensorflow'`."""
    code = f"""
        import sys
        sys.modules[{BACKEND!r}] = None
        try:
            import kerasreg
        except ImportError as error:
            print(error)
    """
    said = in_process(code)
    assert f"Keras finds no `{BACKEND}`" in said and f'"kerasreg[{BACKEND}]"' in said
