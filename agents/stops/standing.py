"""Names the place in the code at which a task or a thread stands."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

MAX_CALLS = 6
"""Number of calls that are named of a task or thread, from the innermost outwards."""


def place_of_task(task: asyncio.Future[Any]) -> str:
    """Return where a task waits; empty if it has ended. May be called by any thread."""
    return _place(_awaited(task.get_coro())) if isinstance(task, asyncio.Task) else ""


def place_of_context(context: object) -> str:
    """Return where the generator of an async context manager waits; empty if it has none or has ended.

    A task that enters or leaves the context manager does not show it.
    """
    return _place(_awaited(getattr(context, "gen", None)))


def place_of_thread(ident: int | None) -> str:
    """Return where the thread with this `threading.get_ident` stands; empty if it has ended."""
    return place_of_frame(sys._current_frames().get(ident or 0))


def place_of_frame(frame: FrameType | None) -> str:
    """Return the place of a frame that is being executed."""
    return _place(_called(frame))


def _place(calls: Iterable[tuple[CodeType, int]]) -> str:
    """Return calls from the innermost outwards, as in `wait (tasks.py:428) in OnRamp._run (batch_consumer.py:154)`."""
    named = [f"{code.co_qualname} ({Path(code.co_filename).name}:{line})" for code, line in calls]
    return " in ".join(reversed(named[-MAX_CALLS:]))


def _awaited(awaited: Any) -> Iterator[tuple[CodeType, int]]:
    """Yield where a coroutine or a generator stands, and what it waits for."""
    while awaited is not None:
        frame: FrameType | None = _first(awaited, "cr_frame", "gi_frame", "ag_frame")
        if frame is not None:
            yield frame.f_code, frame.f_lineno
        awaited = _first(awaited, "cr_await", "gi_yieldfrom", "ag_await")


def _first(awaited: object, *names: str) -> Any:
    """Return the first of these attributes that a coroutine or a generator has; None if it has none."""
    return next((found for name in names if (found := getattr(awaited, name, None)) is not None), None)


def _called(frame: FrameType | None) -> list[tuple[CodeType, int]]:
    calls = []
    while frame is not None:
        calls.append((frame.f_code, frame.f_lineno))
        frame = frame.f_back
    return calls[::-1]
