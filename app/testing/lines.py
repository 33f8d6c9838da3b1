"""The lines of tests, each loaded once, and stand-ins for their services."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from metroline.agents.services.line import Line
from metroline.agents.services.line_modules import imported_from, locate
from metroline.agents.services.resource import named_parameters
from metroline.agents.services.service import Service
from metroline.routing.errors import UsageError
from metroline.routing.rules.table import RulesTable
from metroline.routing.spelling import suggestion

State = tuple[object, ...]
"""The state of a line's files and modules; if it changes, the line is loaded again."""


@dataclass(frozen=True, slots=True)
class LoadedLine:
    """A line with its rules table."""

    line: Line
    table: RulesTable


_loaded: dict[str, tuple[State, LoadedLine]] = {}


def load_line(where: str | os.PathLike[str] | Line, rules: Path | None = None) -> LoadedLine:
    """Return the line in a folder or package, which is loaded only once as long as its files stay as they are.

    `rules` is a file with another table for it. Raise `InvalidLine` or `InvalidRules` if the line or its table cannot
    be used.
    """
    loaded = LoadedLine(where, where.rules_table()) if isinstance(where, Line) else _load(os.fspath(where))
    if rules is None:
        return loaded
    line = loaded.line
    try:
        text = rules.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{rules} cannot be read: {error}") from error
    return LoadedLine(line, line.network(text, str(rules)).table)


def _load(where: str) -> LoadedLine:
    folder, package = locate(where)
    state = _state(folder)
    known = _loaded.get(package or str(folder))
    if known is not None and known[0] == state:
        return known[1]
    line = Line.load(where, reuse=True)
    loaded = LoadedLine(line, line.rules_table())
    _loaded[package or str(folder)] = (_state(folder), loaded)
    return loaded


def _state(folder: Path) -> State:
    """Return when each file of a line was changed last, and the module of its services that a test has imported."""
    files = sorted(file for file in folder.iterdir() if file.suffix in (".py", ".toml"))
    return (id(imported_from(folder / "services.py")), *((file.name, file.stat().st_mtime_ns) for file in files))


def with_stand_ins(services: Mapping[str, Service], stand_ins: Mapping[str, Callable[..., Any]]) -> dict[str, Service]:
    """Return services of which some have other functions; raise `UsageError` for a stop that has no service.

    A stand-in has all options of the service whose place it takes, but may be plain, blocking or async on its own.
    """
    for stop in stand_ins:
        if stop not in services:
            known = ", ".join(sorted(services))
            raise UsageError(f"no service serves the stop {stop!r} (served: {known}){suggestion(stop, services)}")
    return {stop: _stand_in(one, stand_ins.get(stop)) for stop, one in services.items()}


def _stand_in(service: Service, function: Callable[..., Any] | None) -> Service:
    if function is None:
        return service
    marked = getattr(function, "__metroline__", None)
    if isinstance(marked, Service):
        return replace(marked, name=service.name)
    is_async = inspect.iscoroutinefunction(function)
    others = _parameters(function)
    takes_id, takes_meta = (others.pop(told, None) is not None for told in service.told)
    return replace(
        service,
        handler=function,
        is_async=is_async,
        is_blocking=service.is_blocking and not is_async,
        takes_id=takes_id,
        takes_meta=takes_meta,
        others=others,
    )


def _parameters(function: Callable[..., Any]) -> dict[str, bool]:
    """Return the names of the parameters beside the record; True for those without a default."""
    try:
        return named_parameters(function, skipped=1)
    except (TypeError, ValueError):  # a builtin says nothing about its parameters
        return {}
