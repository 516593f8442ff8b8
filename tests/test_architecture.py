"""The rules of the code base that a reader relies on."""

import ast
import graphlib
from pathlib import Path

import pytest

import kerasreg as kr

ROOT = Path(__file__).parent.parent
PACKAGES = [ROOT / "kerasreg", ROOT / "kerasreg_tensorboard"]
MODULES = sorted(path for package in PACKAGES for path in package.rglob("*.py"))

# Imports point to lower floors, or to what stands earlier on the same one.
FLOORS = [
    ["kerasreg_tensorboard"],  # which TensorBoard's server loads, without Keras
    ["_checks", "_tensors", "_keras_internals", "_backends"],
    ["regularizers", "layers"],
    ["optimizers", "monte_carlo", "statistics", "pruning", "compaction"],
    ["tensorboard"],
    ["callbacks"],
    ["strength"],
    ["__init__"],
]
PLACES = {name: (f, i) for f, floor in enumerate(FLOORS) for i, name in enumerate(floor)}


def part(module: str):
    """The module or subpackage that a floor lists."""
    package, *below = module.split(".")
    return package if package != "kerasreg" else (below or ["__init__"])[0]


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {name_of(path): path for path in MODULES}


def own_imports(path):
    """The modules of ours that one imports, within functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("kerasreg"):
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in NAMES or node.module == "kerasreg" else node.module
        elif isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.startswith("kerasreg"))


@pytest.mark.fast_cases(112)
@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path):
    module = name_of(path)
    for imported in own_imports(path):
        below = PLACES[part(imported)] < PLACES[part(module)]
        assert below or part(imported) == part(module), f"{module} imports {imported}"


def test_no_modules_import_each_other():
    imports = {module: set(own_imports(path)) for module, path in NAMES.items()}
    graphlib.TopologicalSorter(imports).prepare()  # raises CycleError with the circle


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_one_file_uses_keras_internals(path):
    assert ("keras.src" in path.read_text()) == (path.name == "_keras_internals.py")


@pytest.mark.parametrize("module", ["regularizers", "layers", "optimizers", "callbacks"])
def test_public_names_are_mirrored(module):
    mirrored = getattr(kr, module)
    assert set(mirrored.__all__) <= set(kr.__all__)
    for name in mirrored.__all__:
        assert getattr(mirrored, name) is getattr(kr, name)
