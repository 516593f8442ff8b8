"""The pages of documentation keep up with the package: their code runs, and they name all of it."""

import re
from pathlib import Path

import pytest
from helpers.trackers import in_place_of_missing

import kerasreg as kr

ROOT = Path(__file__).parent.parent
PAGES = {str(page.relative_to(ROOT)): page for page in sorted((ROOT / "docs").rglob("*.md"))}
# Only ```python is ours, and runs; ```py is the code of others, beside which ours stands.
BLOCK = re.compile(
    r"^(<!-- not run: (?P<reason>.+) -->\n)?```python[^\n]*\n(?P<code>.*?)^```", re.M | re.S
)
SLOW = {"docs/compaction.md", "docs/pruning.md"}
# Exporters to other formats warn of their own dependencies.
WARNS = {"docs/compaction.md"}
# Of its own, below.
WITH_A_TEST = {"docs/trackers.md"}


def blocks(page):
    return list(BLOCK.finditer(page.read_text()))


def cases():
    for name, page in PAGES.items():
        if name not in WITH_A_TEST and any(not block["reason"] for block in blocks(page)):
            marks = [pytest.mark.slow] * (name in SLOW)
            marks += [pytest.mark.filterwarnings("ignore")] * (name in WARNS)
            yield pytest.param(page, id=name, marks=marks)


@pytest.mark.parametrize("page", list(cases()))
def test_the_blocks_of_a_page_run_one_after_the_other(page, tmp_path, monkeypatch):
    compact, shrunk = kr.compact, []

    def noting(model, **arguments):
        small = compact(model, **arguments)
        shrunk.append((model.count_params(), small.count_params()))
        return small

    monkeypatch.setattr(kr, "compact", noting)
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "__main__"}
    lines = page.read_text()
    for block in blocks(page):
        if not block["reason"]:
            # An error names the line of the page.
            above = "\n" * lines[: block.start("code")].count("\n")
            exec(compile(above + block["code"], str(page), "exec"), names)
    assert all(after < before for before, after in shrunk)


def test_trackers_get_the_points(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fakes = in_place_of_missing(monkeypatch)
    code = "\n".join(block["code"] for block in blocks(PAGES["docs/trackers.md"]))
    exec(compile(code, "trackers.md", "exec"), {"__name__": "__main__"})
    for fake in fakes:
        assert fake.points, fake.__name__
        (first, _), (second, numbers) = fake.points[:2]
        assert second - first == 2
        assert {"all/sparsity", "sparsity/hidden/kernel", "all/total_loss"} <= set(numbers)


def test_at_most_three_blocks_are_not_run():
    reasons = [block["reason"] for page in PAGES.values() for block in blocks(page)]
    assert len([reason for reason in reasons if reason]) <= 3


def test_the_api_page_has_every_public_name_and_no_other():
    page = (ROOT / "docs" / "api.md").read_text()
    names = re.findall(r"`kr\.(\w+)`", page)
    assert sorted(names) == sorted(kr.__all__)
