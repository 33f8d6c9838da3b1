"""Answers to an expression: that of Metroline, and that of the runtime of CEL's authors."""

from __future__ import annotations

from typing import Any

from cel_expr_python import cel

from metroline.routing.rules.cel.evaluation import Program
from metroline.routing.rules.cel.syntax_tree import parse
from metroline.routing.rules.cel.values import Budget, NullMet, Wrong

ENVIRONMENT = cel.NewEnv()

FAILS = "fails"
"""The answer of an expression that has no value."""

MEETS_NULL = "meets null"
"""The answer of Metroline where null stands in the place of another value."""

Record = dict[str, Any]


def ours(text: str, record: Record) -> Any:
    """Return the value of an expression for the fields of a record, as Metroline evaluates it."""
    try:
        return Program.of(parse(text)).evaluate(record, {}, Budget(1_000_000))
    except NullMet:
        return MEETS_NULL
    except Wrong:
        return FAILS


def theirs(text: str, record: Record) -> Any:
    """Return the value of an expression for variables of these names, as the runtime evaluates it."""
    found = ENVIRONMENT.compile(text, disable_check=True).eval(data=record)
    return FAILS if found.type() == cel.Type.ERROR else found.value()
