"""Explains imports of `agents`, which is the old name of the package `metroline`."""

from __future__ import annotations

import ast
import importlib.util
import linecache
import traceback
from pathlib import Path

OLD_NAME = "agents"
NOW = "the package agents is now metroline"
EXPORTED = frozenset({"Drop", "Retry", "lookup", "lookup_table", "service"})
"""Names that a line imports from `metroline`, and used to import from `agents`."""


def advice_on_import(error: BaseException) -> str | None:
    """Return the file and what to write in it if `error` comes from an import by the old name; otherwise None.

    Another package may be named `agents` too: only names that this project has are explained.
    """
    if not isinstance(error, ImportError):
        return None
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        text = "".join(linecache.getlines(frame.filename))
        if (statement := _import_at(text, frame.lineno or 0)) and (instead := _instead(statement)):
            return f'{Path(frame.filename).name}: write "{instead}": {NOW}'
    return None


def advice_on_line(name: str) -> str | None:
    """Return the present name of one of this project's own lines that is named as before; otherwise None."""
    if not name.startswith(f"{OLD_NAME}.lines."):
        return None
    present = f"metroline.{name}"
    try:
        exists = importlib.util.find_spec(present) is not None
    except ImportError:
        return None
    return f"write {present}: {NOW}" if exists else None


def _import_at(text: str, number: int) -> ast.ImportFrom | None:
    """Return the statement `from … import …` of a module that includes this line."""
    try:
        nodes = ast.walk(ast.parse(text))
    except SyntaxError:
        return None
    found = (node for node in nodes if isinstance(node, ast.ImportFrom))
    return next((node for node in found if node.lineno <= number <= (node.end_lineno or 0)), None)


def _instead(statement: ast.ImportFrom) -> str | None:
    """Return the statement with the present name of the package, if it imports what this project has."""
    if statement.level or statement.module != OLD_NAME:
        return None
    names = [name for name in statement.names if name.name in EXPORTED]
    return f"from metroline import {', '.join(map(ast.unparse, names))}" if names else None
