"""An extension of Griffe, which reads docstrings for the site: examples as code, plain defaults."""

import re
from typing import Any

import griffe

# From `>>>` to the next empty line, with what it prints.
EXAMPLE = re.compile(r"^>>> .*(?:\n(?!\s*$).+)*", re.M)


class Docstrings(griffe.Extension):
    """Fences the examples of docstrings, and shows the default inside of `later(...)`."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Fences what stands behind `>>>`, where the docstring's own words do not."""
        if obj.docstring is not None:
            obj.docstring.value = EXAMPLE.sub(r"\n```pycon\n\g<0>\n```\n", obj.docstring.value)

    def on_attribute_instance(self, *, attr: griffe.Attribute, **kwargs: Any) -> None:
        """A field of a dataclass that came later has its plain default."""
        value = attr.value
        if isinstance(value, griffe.ExprCall) and str(value.function) == "later":
            attr.value = value.arguments[0]
