"""Docstrings read as sentences: they begin with a verb or a noun, never with a question word."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.project import ROOT

FOLDERS = ("app", "agents", "routing", "metroline", "scripts", "benchmarks", "examples", "tests")
FILES = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
QUESTION_WORDS = ("What ", "Whether ", "How ", "Where ", "The same")


def docstrings(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and the text of each docstring, those behind attributes and constants included."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        body = getattr(node, "body", None)
        for statement in body if isinstance(body, list) else ():
            value = statement.value if isinstance(statement, ast.Expr) else None
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield statement.lineno, value.value


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_docstring_opens_with_a_question_word(path: Path) -> None:
    assert [line for line, text in docstrings(path) if text.startswith(QUESTION_WORDS)] == []
