"""The pages of documentation keep up with the package: their code runs, and they name all of it."""

import importlib.util
import itertools
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers.backends import BACKEND
from helpers.trackers import in_place_of_missing

import kerasreg as kr
from kerasreg.layers.base_dropout import BaseDropout

ROOT = Path(__file__).parent.parent
FILES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = {str(page.relative_to(ROOT)): page for page in FILES}
# Only ```python is ours, and runs; ```py is the code of others, beside which ours stands.
BLOCK = re.compile(
    r"^(<!-- not run: (?P<reason>.+) -->\n)?```python[^\n]*\n(?P<code>.*?)^```", re.M | re.S
)
ON_ONE_BACKEND = pytest.mark.skipif(
    BACKEND != "tensorflow", reason="what the pages show is tested on all backends elsewhere"
)
QUICK = {
    "README.md",
    "docs/coming_from/keras.md",
    "docs/coming_from/timm.md",
    "docs/guides/own_penalty.md",
}
# What other packages warn of: exporters to other formats; KerasTuner.
WARNS = {
    "docs/compaction.md": "ignore",
    "docs/guides/strength.md": r"ignore:(currentThread|getName)\(\) is dep:DeprecationWarning",
}
# Of its own, below.
WITH_A_TEST = {"docs/trackers.md"}


def blocks(page):
    return list(BLOCK.finditer(page.read_text()))


def program(page):
    """The code of a page that runs, each line with the number that it has on the page."""
    text, lines = page.read_text(), []
    for block in blocks(page):
        if not block["reason"]:
            above = text[: block.start("code")].count("\n")
            lines += [""] * (above - len(lines)) + block["code"].splitlines()
    return "\n".join(lines) + "\n"


def cases():
    for name, page in PAGES.items():
        if name not in WITH_A_TEST and program(page).strip():
            marks = [] if name in QUICK else [pytest.mark.slow, ON_ONE_BACKEND]
            if name in WARNS:
                marks.append(pytest.mark.filterwarnings(WARNS[name]))
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
    exec(compile(program(page), str(page), "exec"), {"__name__": "__main__"})
    assert all(after < before for before, after in shrunk)


@pytest.mark.slow
@pytest.mark.skipif(BACKEND != "tensorflow", reason="one backend is enough for types")
def test_the_code_of_all_pages_has_the_types_that_the_package_says(tmp_path):
    pytest.importorskip("mypy")
    for name, page in PAGES.items():
        module = re.sub(r"\W", "_", name.removesuffix(".md"))
        (tmp_path / f"{module}.py").write_text(program(page))
    command = [sys.executable, "-m", "mypy", "--config-file", ROOT / "pyproject.toml"]
    environment = os.environ | {"MYPYPATH": str(ROOT)}
    done = subprocess.run(
        [*command, *sorted(tmp_path.glob("*.py"))],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_trackers_get_the_points(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fakes = in_place_of_missing(monkeypatch)
    page = PAGES["docs/trackers.md"]
    exec(compile(program(page), str(page), "exec"), {"__name__": "__main__"})
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


def test_the_reference_has_every_public_name_and_no_other():
    pages = (ROOT / "docs" / "reference").glob("*.md")
    names = [
        n for page in pages for n in re.findall(r"^::: kerasreg\.(\w+)$", page.read_text(), re.M)
    ]
    assert sorted(names) == sorted(kr.__all__)


def test_the_lowest_versions_are_those_that_the_package_asks_for():
    rows = re.findall(r"^\| (\w+) \| ([\d.]+) \|", PAGES["docs/versions.md"].read_text(), re.M)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *itertools.chain(*project["optional-dependencies"].values())]
    lowest = dict(re.findall(r"([\w-]+)>=([\d.]+)", " ".join(asked)))
    lowest |= {"python": project["requires-python"].removeprefix(">="), "pytorch": lowest["torch"]}
    assert len(rows) == 7
    for name, version in rows:
        assert lowest[name.lower()] == version, name


def script(name):
    """A script of the site, which is not on Python's path."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_penalty_and_dropout_has_a_picture():
    public = [getattr(kr, name) for name in kr.__all__]
    bases = (kr.Penalty, BaseDropout)
    drawable = {c.__name__ for c in public if isinstance(c, type) and issubclass(c, bases)}
    assert set(script("pictures").drawings()) == drawable - {"Penalty"}


@pytest.mark.parametrize("name", ["L1", "GroupLasso", "DropBlock2D"])
def test_a_picture_is_the_same_each_time(name):
    pictures = script("pictures")
    first, second = (pictures.svg(pictures.drawings()[name]()) for _ in range(2))
    assert first == second and "<svg" in first


def test_words_and_names_are_linked_at_their_first_use():
    pytest.importorskip("mkdocs")
    links = script("links")
    page = SimpleNamespace(url="guides/where/", file=SimpleNamespace(src_uri="guides/where.md"))
    html = (
        '<h2 id="a">Strength</h2><p>A strength, two strengths, Keras\'s metrics and a metric; '
        "<code>kr.L1(l1=1)</code>, <code>kr.L1</code>, <code>keras.L2</code>, "
        "<a>the saliency</a></p><pre><code>kr.L2</code></pre>"
    )
    linked = links.on_page_content(html, page, {"docs_dir": str(ROOT / "docs")}, None)
    assert re.findall(r'<a href="([^"]+)">([^<]+)</a>', linked) == [
        ("../../glossary/#strength", "strength"),
        ("../../glossary/#metric", "metric"),
        ("../../reference/penalties/#kerasreg.L1", "kr.L1(l1=1)"),
    ]
    assert re.sub(r"<a href[^>]*>|(?<!saliency)</a>", "", linked) == html


def test_the_glossary_has_each_word_that_is_linked_to_it():
    pytest.importorskip("mkdocs")
    headings = re.findall(r"^## (.+)$", (ROOT / "docs" / "glossary.md").read_text(), re.M)
    assert sorted(h.lower().replace(" ", "-") for h in headings) == sorted(script("links").TERMS)


def test_a_link_that_leads_nowhere_is_a_warning(tmp_path, caplog):
    pytest.importorskip("mkdocs")
    (tmp_path / "index.html").write_text('<a id="here" href="#here"></a><a href="other/#no"></a>')
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "index.html").write_text('<a href="../#here"></a><img src="no.png">')
    script("links").on_post_build({"site_dir": str(tmp_path)})
    assert re.findall(r"the link (\S+) leads", caplog.text) == ["other/#no", "no.png"]


def test_the_readme_is_short_and_its_links_lead_to_what_is_here():
    readme = (ROOT / "README.md").read_text()
    assert len(readme.splitlines()) <= 120
    site, files = (
        "https://kerasreg.github.io/kerasreg/",
        "https://raw.githubusercontent.com/kerasreg/kerasreg/main/",
    )
    links = re.findall(r"\]\(([^)]+)\)", readme)
    for link in links:
        if link.startswith(files):
            assert (ROOT / link.removeprefix(files)).exists(), link
        else:  # A package index shows the README without the files around it.
            page = link.removeprefix(site).rstrip("/")
            assert link.startswith(site) and (ROOT / "docs" / f"{page}.md").exists(), link
