"""A hook of MkDocs: links words of the glossary and names of the API at their first use on a page.

It also looks at every link inside the built site: a broken one is a warning, and `mkdocs build
--strict` fails.
"""

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from mkdocs.utils import get_relative_url

log = logging.getLogger("mkdocs.hooks.links")

# A heading of glossary.md, and the forms in which it stands in a text. Of forms that overlap the
# longer one comes first. "metrics" are Keras's.
TERMS = {
    "one-standard-error": r"one standard error",
    "proximal-operator": r"proximal operators?",
    "relaxed-lasso": r"relaxed lasso",
    "subdifferential": r"subdifferentials?",
    "debiased": r"debias(?:ed|es|ing)?",
    "saliency": r"salienc(?:y|ies)",
    "strength": r"strengths?",
    "metric": r"metric",
}
WORDS = re.compile(
    "|".join(rf"(?P<t{i}>\b{form}\b)" for i, form in enumerate(TERMS.values())), re.I
)
NAME = re.compile(r"(?:kr\.|kerasreg\.)?(\w+)")
TAG = re.compile(r"<(/?)(\w+)[^>]*>")
# Where a link would be out of place. In <code> only a whole name is one.
CLOSED = {"a", "h1", "h2", "h3", "h4", "pre", "summary", "script", "style"}


def on_page_content(html: str, page: Any, config: Any, files: Any) -> str:
    """Links what is used for the first time on this page."""
    reference = _reference(Path(config["docs_dir"]))
    unused = {word: f"glossary/#{word}" for word in TERMS if page.file.src_uri != "glossary.md"}
    unused |= reference
    closed, code, out = 0, False, []
    for text, tag in _pieces(html):
        if text and not closed:
            link = _link_name if code else _link_words
            text = link(text, unused, page.url)
        out += [text, tag]
        if tag and (found := TAG.match(tag)):
            step = -1 if found[1] else 1
            closed += step * (found[2] in CLOSED)
            code = found[2] == "code" and step > 0
    return "".join(out)


def _reference(docs: Path) -> dict[str, str]:
    """Where in the reference each public name is."""
    return {
        name: f"reference/{page.stem}/#kerasreg.{name}"
        for page in sorted((docs / "reference").glob("*.md"))
        for name in re.findall(r"^::: kerasreg\.(\w+)$", page.read_text(), re.M)
    }


def _pieces(html: str) -> Iterator[tuple[str, str]]:
    """Pairs of a text and the tag behind it."""
    parts = re.split(r"(<[^>]*>)", html)
    yield from zip(parts[::2], [*parts[1::2], ""], strict=True)


def _link_name(text: str, unused: dict[str, str], url: str) -> str:
    name = found[1] if (found := NAME.match(text)) else None
    if name not in unused or name in TERMS:
        return text
    return f'<a href="{get_relative_url(unused.pop(name), url)}">{text}</a>'


def _link_words(text: str, unused: dict[str, str], url: str) -> str:
    def linked(match: re.Match[str]) -> str:
        word = list(TERMS)[int(str(match.lastgroup)[1:])]
        if word not in unused:
            return match[0]
        return f'<a href="{get_relative_url(unused.pop(word), url)}">{match[0]}</a>'

    return WORDS.sub(linked, text)


def on_post_build(config: Any) -> None:
    """Warns of links inside the site that lead nowhere."""
    site = Path(config["site_dir"])
    texts = {page: page.read_text() for page in site.rglob("*.html") if page.name != "404.html"}
    anchors = {page: set(re.findall(r'\bid="([^"]+)"', text)) for page, text in texts.items()}
    for page, text in texts.items():
        for target in re.findall(r'\b(?:href|src)="([^"]+)"', text):
            if re.match(r"\w+:|//|data:", target):
                continue
            path, _, anchor = unquote(target).partition("#")
            file = (page.parent / path).resolve() if path else page
            file = file / "index.html" if file.is_dir() else file
            if not file.exists() or anchor and file in anchors and anchor not in anchors[file]:
                log.warning("%s: the link %s leads nowhere", page.relative_to(site), target)
