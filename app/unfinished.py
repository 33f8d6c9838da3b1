"""Names what a worker that does not stop is still waiting for."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

MAX_NAMED = 12
"""Number of unfinished calls that are named."""

MAX_CALLS = 6
"""Number of calls that are named of a task or thread, from the innermost outwards."""


def unfinished(loop: asyncio.AbstractEventLoop) -> str:
    """Return where the tasks of an event loop and the threads of this process stand. May be called by any thread."""
    tasks = {_place(_awaited(task)) for task in asyncio.all_tasks(loop)}
    names = {thread.ident: thread.name for thread in threading.enumerate() if not thread.daemon}
    frames = sys._current_frames()
    threads = [f"thread {name}: {_place(_called(frames.get(ident or 0)))}" for ident, name in names.items()]
    places = threads + sorted(tasks - {""})
    rest = len(places) - MAX_NAMED
    return "; ".join([*places[:MAX_NAMED], *([f"{rest} more"] if rest > 0 else [])])


def _place(calls: Iterable[tuple[CodeType, int]]) -> str:
    """Return calls from the innermost outwards, as in `wait (tasks.py:428) in OnRamp._run (batch_consumer.py:154)`."""
    named = [f"{code.co_qualname} ({Path(code.co_filename).name}:{line})" for code, line in calls]
    return " in ".join(reversed(named[-MAX_CALLS:]))


def _awaited(task: asyncio.Task[Any]) -> Iterator[tuple[CodeType, int]]:
    awaited: Any = task.get_coro()
    while awaited is not None:
        frame: FrameType | None = getattr(awaited, "cr_frame", None) or getattr(awaited, "gi_frame", None)
        if frame is not None:
            yield frame.f_code, frame.f_lineno
        awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "gi_yieldfrom", None)


def _called(frame: FrameType | None) -> list[tuple[CodeType, int]]:
    calls = []
    while frame is not None:
        calls.append((frame.f_code, frame.f_lineno))
        frame = frame.f_back
    return calls[::-1]
