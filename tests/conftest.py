"""What all tests share: seeds, Keras's global settings as they were, programs compiled once."""

import atexit
import collections
import gc
import os
import shutil
import tempfile
import webbrowser
import zlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# To share small tensors among threads costs PyTorch five times what it saves.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Half of JAX's time went into compiling again what another test, or process, had compiled. Those
# that pytest-xdist starts find the folder in their environment.
if os.environ.get("KERAS_BACKEND") == "jax" and "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="jax-programs-")
    atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)
# A third of it went into optimising programs that run for milliseconds.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "true")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

import pytest

BACKEND = os.environ.get("KERAS_BACKEND", "tensorflow")
# Of five slow tests three fall to PyTorch, which compiles nothing and so takes the least time.
SHARES = ["tensorflow", "jax", "torch", "torch", "torch"]


def pytest_addoption(parser):
    parser.addoption(
        "--share-slow",
        action="store_true",
        help="leave out the slow tests that fall to other backends",
    )


@pytest.hookimpl(tryfirst=True)  # before pytest leaves the slow ones out
def pytest_collection_modifyitems(config, items):
    """A test that takes long comes first; cases beyond a test's `fast_cases` are slow."""
    tests = collections.defaultdict(list)
    for item in items:
        if item.get_closest_marker("fast_cases") and not item.get_closest_marker("slow"):
            tests[item.nodeid.partition("[")[0]].append(item)
    for cases in tests.values():
        count = cases[0].get_closest_marker("fast_cases").args[0]
        for case in set(cases) - set(spread(cases, count)):
            case.add_marker("slow")
    if config.getoption("share_slow"):
        config.hook.pytest_deselected(items=[i for i in items if not is_for_this_backend(i)])
        items[:] = [item for item in items if is_for_this_backend(item)]
    # So that no worker waits for it at the end.
    items.sort(key=lambda item: item.get_closest_marker("first") is None)


def spread(cases, count):
    """So many of the cases, with the same distance between them, others on each backend."""
    first = SHARES.index(BACKEND)
    return [cases[(first + i * len(cases) // count) % len(cases)] for i in range(count)]


def is_for_this_backend(item):
    """Whether a test is fast, or not one of every backend, or falls to this one by its name."""
    if item.get_closest_marker("slow") is None or item.get_closest_marker("skipif"):
        return True
    # Whose cases differ by backend.
    if hasattr(item, "callspec") and "jit_compile" in item.callspec.params:
        return True
    return SHARES[zlib.crc32(item.nodeid.encode()) % len(SHARES)] == BACKEND


def pytest_collection_finish():
    """Lets the garbage collector pass over what the backend has, which took a tenth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


@pytest.fixture(autouse=True)
def fresh_keras():
    """A fixed seed before each test, Keras's defaults after it."""
    import keras  # Not above: pytest-xdist's main process reads this file and runs no test.

    keras.utils.set_random_seed(0)
    yield
    keras.config.set_dtype_policy("float32")
    keras.config.set_floatx("float32")


@pytest.fixture(autouse=True)
def no_windows(monkeypatch):
    """No browser opens where the tests run on somebody's desktop."""
    monkeypatch.setattr(webbrowser, "open", lambda url: False)
