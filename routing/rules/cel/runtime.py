"""CEL's own runtime (https://github.com/cel-expr/cel-python): it parses conditions, and evaluates what is not JSON.

Regular expressions, calendars and time zones are its work; the rest of a condition is evaluated in `evaluation`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any

from cel_expr_python import cel


@cache
def _environment() -> cel.Env:
    """Return the environment of all expressions. It loads Protobuf if that is installed: only a condition needs it."""
    return cel.NewEnv()


def parsed(text: str) -> bytes:
    """Return the syntax tree of an expression as a message; raise `ValueError` with the parser's complaint."""
    try:
        serialized: bytes = _environment().compile(text, disable_check=True).serialize()
    except RuntimeError as error:
        raise ValueError(str(error)) from error
    return serialized


@lru_cache(maxsize=64)
def evaluator(expression: str) -> Callable[..., Any]:
    """Return a function that evaluates an expression for its variables; raise `ValueError` from it if that fails."""
    program = _environment().compile(expression, disable_check=True)

    def evaluate(**variables: Any) -> Any:
        found = program.eval(data=variables)
        if found.type() == cel.Type.ERROR:
            raise ValueError(found.value())
        return found.value()

    return evaluate
