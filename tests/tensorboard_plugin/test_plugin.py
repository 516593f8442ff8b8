"""What TensorBoard's server loads: the entry point, and no framework with it."""

from helpers.processes import in_process

FRAMEWORKS = ("keras", "tensorflow", "jax", "torch", "kerasreg", "sklearn", "matplotlib")


def test_the_entry_point_loads_without_any_framework():
    code = """
        import sys
        from importlib.metadata import entry_points

        (found,) = entry_points(group="tensorboard_plugins", name="kerasreg_sparsity")
        print(found.load().plugin_name, *(name for name in sys.argv[1:] if name in sys.modules))
    """
    loaded = in_process(code, *FRAMEWORKS, KERAS_BACKEND="none of them")
    assert loaded.split() == ["kerasreg_sparsity"]
