"""A live line goes on when its own sample records end with an error, if they can be changed."""

from __future__ import annotations

import asyncio
from threading import Event
from types import SimpleNamespace
from typing import Any, cast

import pytest

from metroline.agents.services.line import Line
from metroline.app.cli.live.line_files import Effect
from metroline.app.cli.live.session import Session
from metroline.app.cli.live.status_line import StatusLine

LINE = cast(Line, SimpleNamespace(name="before"))


def session(pushed: list[Line], stopped: Event, *, reloads: bool) -> Session:
    """Return a session whose first records raise an error, and whose second ones end it."""
    changed = cast(Line, SimpleNamespace(name="after"))

    async def push(line: Line) -> None:
        pushed.append(line)
        if line is LINE:
            raise ValueError("no such column")
        stopped.set()
        await asyncio.sleep(60)

    def look(_is_stopped: object) -> Effect:
        return Effect.SAMPLES if pushed == [LINE] else Effect.NOTHING

    idle: Any = SimpleNamespace(check=lambda: None, running=[], logs=[])
    reload: Any = SimpleNamespace(look=look, line=changed) if reloads else None
    return Session(idle, idle, push, reload, StatusLine(is_terminal=False))


async def test_changed_samples_come_in_after_an_error_of_the_old_ones(capsys: pytest.CaptureFixture[str]) -> None:
    pushed: list[Line] = []
    stopped = Event()
    async with asyncio.timeout(30):
        await session(pushed, stopped, reloads=True).run(LINE, stopped)
    assert [line.name for line in pushed] == ["before", "after"]
    assert capsys.readouterr().out == "error: no more records of the line come in: ValueError: no such column\n"


async def test_without_reload_the_error_ends_the_line() -> None:
    stopped = Event()
    with pytest.raises(ValueError, match="no such column"):
        await session([], stopped, reloads=False).run(LINE, stopped)
