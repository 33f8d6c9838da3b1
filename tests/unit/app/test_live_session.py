"""A live line goes on when its own sample records end with an error, if they can be changed."""

from __future__ import annotations

import asyncio
from threading import Event
from types import SimpleNamespace
from typing import Any, cast

import pytest

from metroline.agents.services.line import Line
from metroline.app.cli.live.events import Event as Told
from metroline.app.cli.live.line_files import Effect
from metroline.app.cli.live.session import Session

LINE = cast(Line, SimpleNamespace(name="before", stops=(), resources={}))


def session(pushed: list[Line], stopped: Event, told: list[str], *, reloads: bool) -> Session:
    """Return a session whose first records raise an error, and whose second ones end it."""

    async def push(line: Line) -> None:
        pushed.append(line)
        if line is LINE:
            raise ValueError("no such column")
        stopped.set()
        await asyncio.sleep(60)

    def look(_is_stopped: object) -> Effect:
        if pushed != [LINE]:
            return Effect.NOTHING
        reload.line = SimpleNamespace(name="after", stops=(), resources={})
        return Effect.SAMPLES

    def tell(event: Told) -> None:
        told.extend(event.lines())

    idle: Any = SimpleNamespace(check=lambda: None, running=[], logs=[])
    reload: Any = SimpleNamespace(look=look, line=LINE)
    return Session(idle, idle, push, reload if reloads else None, LINE, tell)


async def test_changed_samples_come_in_after_an_error_of_the_old_ones() -> None:
    pushed: list[Line] = []
    told: list[str] = []
    stopped = Event()
    async with asyncio.timeout(30):
        await session(pushed, stopped, told, reloads=True).run(stopped)
    assert [line.name for line in pushed] == ["before", "after"]
    assert told == ["error: no more records of the line come in: ValueError: no such column"]


async def test_without_reload_the_error_ends_the_line() -> None:
    stopped = Event()
    with pytest.raises(ValueError, match="no such column"):
        await session([], stopped, [], reloads=False).run(stopped)
