"""The rules of the code base that a reader relies on."""

import ast
import re
from pathlib import Path

import pytest

import kerasreg as kr

ROOT = Path(__file__).parent.parent
PACKAGES = [ROOT / "kerasreg", ROOT / "kerasreg_tensorboard"]
MODULES = sorted(path for package in PACKAGES for path in package.rglob("*.py"))
STATIC = sorted((ROOT / "kerasreg_tensorboard" / "static").iterdir())

# Imports point to lower floors, or to modules that stand before the importing one in a floor.
FLOORS = [
    ["kerasreg_tensorboard"],  # which TensorBoard's server loads, without Keras
    ["_checks", "_tensors", "_keras_internals", "prox", "selection", "lbfgs", "masks"],
    ["regularizers", "layers"],
    ["samples", "penalty_map", "attachment", "live_strength", "loss_gradient", "optimizers"],
    [
        "layer_names",
        "weights",
        "optimality",
        "null_model",
        "max_strength",
        "dropout_rates",
        "statistics",
        "nonzero_histogram",
        "penalty_values",
        "host_statistics",
        "device_statistics",
        "measurement",
        "sparsity_report",
        "tensorboard",
        "monte_carlo",
    ],
    ["callbacks"],
    ["path"],
    ["__init__"],
]
PLACES = {name: (f, i) for f, floor in enumerate(FLOORS) for i, name in enumerate(floor)}


def part(module: str):
    """The module or subpackage that a floor lists."""
    package, *below = module.split(".")
    return package if package != "kerasreg" else (below or ["__init__"])[0]


def own_imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("kerasreg"):
            if node.module == "kerasreg":
                yield from (f"kerasreg.{a.name}" for a in node.names)
            else:
                yield node.module
        elif isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.startswith("kerasreg"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path):
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for imported in own_imports(path):
        below = PLACES[part(imported)] < PLACES[part(module)]
        assert below or part(imported) == part(module), f"{module} imports {imported}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_size(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 250
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            lines = body[-1].end_lineno - body[0].lineno + 1 if body else 0
            assert lines <= 40, node.name


@pytest.mark.parametrize("path", STATIC, ids=lambda path: path.name)
def test_size_of_static_files(path):
    assert len(path.read_text().splitlines()) <= 250


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_one_file_uses_keras_internals(path):
    assert ("keras.src" in path.read_text()) == (path.name == "_keras_internals.py")


def test_the_readme_shows_every_public_name_and_no_other():
    readme = (ROOT / "README.md").read_text()
    assert set(re.findall(r"\bkr\.([A-Za-z]\w*)", readme)) == set(kr.__all__)


@pytest.mark.parametrize("module", ["regularizers", "layers", "optimizers", "callbacks"])
def test_public_names_are_mirrored(module):
    mirrored = getattr(kr, module)
    assert set(mirrored.__all__) <= set(kr.__all__)
    for name in mirrored.__all__:
        assert getattr(mirrored, name) is getattr(kr, name)
