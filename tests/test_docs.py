"""The pages of documentation keep up with the package."""

import re
from pathlib import Path

import pytest
from helpers.backends import BACKEND

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
