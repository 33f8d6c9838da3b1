"""Every heading of the troubleshooting page is a message that exists in the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[3]
PAGE = (PROJECT / "docs" / "troubleshooting.md").read_text("utf-8")
HEADINGS = re.findall(r"^### `(.+)`$", PAGE, re.MULTILINE)

VARYING = "…"
PLACEHOLDER = re.compile(r"%(?:\.\d)?[a-z]")


def texts(code: ast.AST) -> Iterator[str]:
    """Yield the texts of a module, with `…` for each variable part: `{value}` of an f-string, `%s` of a log message."""
    documentation = {id(node.value) for node in ast.walk(code) if isinstance(node, ast.Expr)}
    for node in ast.walk(code):
        if id(node) in documentation:
            continue
        if isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else VARYING for part in node.values]
            yield "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield PLACEHOLDER.sub(VARYING, node.value)


@cache
def messages() -> str:
    """Return all texts of the code, one per line."""
    files = [file for folder in ("app", "agents", "routing") for file in sorted((PROJECT / folder).rglob("*.py"))]
    return "\n".join(
        text.replace("\n", " ").replace("`", "") for file in files for text in texts(ast.parse(file.read_text("utf-8")))
    )


def is_message(heading: str) -> bool:
    """Return whether a text of the code contains the fixed words of a heading, in this order."""
    fixed = [re.escape(words.strip()) for words in heading.split(VARYING) if words.strip()]
    return re.search(".*".join(fixed), messages()) is not None


@pytest.mark.parametrize("heading", HEADINGS)
def test_a_heading_has_the_words_of_a_message(heading: str) -> None:
    assert is_message(heading)


@pytest.mark.parametrize(
    "heading",
    [
        "there is no bus stop …",
        "user name and password are wrong",
        "BROKER_USERNAME and … no Kafka broker answers at …",  # the words of two messages
        "Raised when the cluster does not answer or refuses",  # a docstring
    ],
)
def test_words_that_no_message_has_are_found_out(heading: str) -> None:
    assert not is_message(heading)


def test_the_page_has_headings_to_check_and_none_twice() -> None:
    assert len(HEADINGS) > 50
    assert len(HEADINGS) == len(set(HEADINGS))
