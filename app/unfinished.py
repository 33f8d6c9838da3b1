"""Names what a worker that does not stop is still waiting for."""

from __future__ import annotations

import asyncio
import threading

from metroline.agents.stops.standing import place_of_task, place_of_thread

MAX_NAMED = 12
"""Number of unfinished calls that are named."""


def unfinished(loop: asyncio.AbstractEventLoop) -> str:
    """Return where the tasks of an event loop and the threads of this process stand. May be called by any thread."""
    tasks = {place_of_task(task) for task in asyncio.all_tasks(loop)}
    names = {thread.ident: thread.name for thread in threading.enumerate() if not thread.daemon}
    threads = [f"thread {name}: {place_of_thread(ident)}" for ident, name in names.items()]
    places = threads + sorted(tasks - {""})
    rest = len(places) - MAX_NAMED
    return "; ".join([*places[:MAX_NAMED], *([f"{rest} more"] if rest > 0 else [])])
