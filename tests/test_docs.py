"""The pages of documentation keep up with the package."""

import contextlib
import importlib.util
import re
import sys
import types
from pathlib import Path

import pytest
from helpers.backends import BACKEND
from helpers.marks import slow

import kerasreg as kr

DOCS = Path(__file__).parent.parent / "docs"


def test_the_api_page_has_every_public_name_and_no_other():
    page = (DOCS / "api.md").read_text()
    names = re.findall(r"`kr\.(\w+)`", page)
    assert sorted(names) == sorted(kr.__all__)


@pytest.mark.slow
@pytest.mark.skipif(BACKEND != "jax", reason="one backend is enough for the page")
def test_the_page_on_pruning_runs_as_it_stands(tmp_path, monkeypatch):
    page = (DOCS / "pruning.md").read_text()
    sizes, compact = [], kr.compact

    def noting(model, **arguments):
        small = compact(model, **arguments)
        sizes.append((model.count_params(), small.count_params()))
        return small

    monkeypatch.setattr(kr, "compact", noting)
    monkeypatch.chdir(tmp_path)
    code = "\n".join(re.findall(r"```python\n(.*?)```", page, re.S))
    exec(compile(code, "pruning.md", "exec"), {})
    assert len(sizes) == 4 and all(after < 0.9 * before for before, after in sizes)
    assert (tmp_path / "small.keras").exists()


@pytest.mark.slow
@pytest.mark.skipif(BACKEND != "tensorflow", reason="one backend is enough for the guide")
def test_the_guide_to_a_smaller_cnn_runs_as_it_stands(tmp_path, monkeypatch, capsys):
    section = (DOCS / "compaction.md").read_text().split("## A CNN, end to end\n")[1]
    (code,) = re.findall(r"```python\n(.*?)```", section.split("\n## ")[0], re.S)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "compaction.md", "exec"), {})
    printed = capsys.readouterr().out
    (accuracy,) = re.findall(r"^accuracy ([\d.]+)%", printed, re.M)
    (difference,) = re.findall(r"^largest difference (\S+)$", printed, re.M)
    assert float(accuracy) > 70 and float(difference) < 1e-4
    assert re.search(r"^inner +16 → \d+ ", printed, re.M)
    assert (tmp_path / "small.keras").exists()


class Tracker(types.ModuleType):
    """Stands in for a tracker that is not installed: takes what the real one takes."""

    def __init__(self, name):
        super().__init__(name)
        self.points = []

    def take(self, numbers, *, step):
        assert all(isinstance(number, float) for number in numbers.values())
        self.points.append((step, numbers))

    log = log_metrics = track = take

    def init(self, *, project, mode):
        return self

    def start_run(self):
        return contextlib.nullcontext(self)

    def Run(self, *, experiment):
        return self

    def finish(self):
        self.points.append("finished")

    close = finish


@pytest.mark.parametrize(
    ("tracker", "title"),
    [("wandb", "Weights & Biases"), slow("mlflow", "MLflow"), slow("aim", "Aim")],
)
def test_the_page_on_trackers_runs_as_it_stands(tmp_path, monkeypatch, tracker, title):
    monkeypatch.chdir(tmp_path)
    fake = Tracker(tracker)
    if importlib.util.find_spec(tracker) is None:
        monkeypatch.setitem(sys.modules, tracker, fake)
    head, *sections = (DOCS / "trackers.md").read_text().split("\n## ")
    (section,) = [text for text in sections if text.startswith(title)]
    blocks = re.findall(r"```python\n(.*?)```", head + section, re.S)
    assert len(blocks) == 2
    exec(compile("\n".join(blocks), "trackers.md", "exec"), {})
    if sys.modules[tracker] is fake:
        (first, _), (second, numbers) = fake.points[:2]
        assert (first, second) == (2, 4)
        assert {"all/sparsity", "sparsity/hidden/kernel", "all/total_loss"} <= set(numbers)
