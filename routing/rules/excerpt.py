"""Shows a place in a text with a caret under it."""

from __future__ import annotations

import re
from textwrap import indent

SHOWN_BEFORE, SHOWN = 60, 100
"""Number of characters of a line that are shown before the caret, and in all."""


def excerpt(text: str, line: int, column: int) -> str:
    """Return the line of a text, or the part around the column, above a caret under the column; both count from 1."""
    start = max(0, column - 1 - SHOWN_BEFORE)
    shown = re.sub(r"\s", " ", text.split("\n")[line - 1][start : start + SHOWN])
    return f"{shown}\n{' ' * (column - 1 - start)}^"


def below(text: str, line: int, column: int) -> str:
    """Return the excerpt as the further lines of a problem, indented."""
    return "\n" + indent(excerpt(text, line, column), "    ")
