"""Refuses options that a decorator does not have, with their place in the author's code and the likely one."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from metroline.routing.errors import InvalidLine
from metroline.routing.spelling import suggestion

P = ParamSpec("P")
R = TypeVar("R")


def refuses_unknown_options(decorator: Callable[P, R]) -> Callable[P, R]:
    """Return a decorator that raises `InvalidLine` for an option that it does not have."""
    parameters = inspect.signature(decorator).parameters.values()
    known = [one.name for one in parameters if one.kind is inspect.Parameter.KEYWORD_ONLY]

    @wraps(decorator)
    def checked(*arguments: P.args, **options: P.kwargs) -> R:
        unknown = next((name for name in options if name not in known), None)
        if unknown is not None:
            raise InvalidLine(_problem(decorator.__name__, unknown, known))
        return decorator(*arguments, **options)

    return checked


def _problem(decorator: str, unknown: str, known: list[str]) -> str:
    caller: Any = sys._getframe(2)
    where = f"{caller.f_code.co_filename}:{caller.f_lineno}"
    return f"{where}: @{decorator} has no option {unknown!r}; there are {', '.join(known)}{suggestion(unknown, known)}"
