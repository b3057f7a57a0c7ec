"""Griffe extension: Sphinx's roles and literal blocks in docstrings become Markdown."""

from __future__ import annotations

import re
from typing import Any

import griffe

ROLE = re.compile(r":(?:class|func|mod|meth|data|attr):`(~?)([^`]+)`")


def as_markdown(text: str) -> str:
    """``:func:`~a.b``` becomes `b`, ``text::`` before a block becomes ``text:``."""

    def code(role: re.Match[str]) -> str:
        name = role[2].lstrip(".")
        return f"`{name.rpartition('.')[2] if role[1] else name}`"

    return re.sub(r"(?<=\w)::$", ":", ROLE.sub(code, text), flags=re.M)


class Docstrings(griffe.Extension):
    """Found by griffe in this file."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = as_markdown(obj.docstring.value)
