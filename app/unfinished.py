"""Names what a worker that does not stop, or does not come back into its group, is still waiting for."""

from __future__ import annotations

import asyncio
import threading

from metroline.agents.kafka.faust_transport import Consumer
from metroline.agents.stops.standing import place_of_task, place_of_thread

MAX_NAMED = 12
"""Number of unfinished calls that are named."""


REBALANCES = ("partitions_revoked", "partitions_assigned", "_restart_recovery", "commit", "LineTableManager")
"""Words in the places of tasks that take part in a rebalance."""


def unfinished(loop: asyncio.AbstractEventLoop) -> str:
    """Return where the tasks of an event loop and the threads of this process stand. May be called by any thread."""
    tasks = {place_of_task(task) for task in asyncio.all_tasks(loop)}
    names = {thread.ident: thread.name for thread in threading.enumerate() if not thread.daemon}
    threads = [f"thread {name}: {place_of_thread(ident)}" for ident, name in names.items()]
    places = threads + sorted(tasks - {""})
    rest = len(places) - MAX_NAMED
    return "; ".join([*places[:MAX_NAMED], *([f"{rest} more"] if rest > 0 else [])])


def joining(consumer: Consumer) -> str:
    """Return where a worker's membership stands: all in its own thread, and of the event loop what takes part in it."""
    apart = {place_of_task(task) for task in asyncio.all_tasks(consumer.membership_loop)}
    places = {place_of_task(task) for task in asyncio.all_tasks(consumer.loop)}
    return "; ".join(sorted(apart - {""}) + sorted(one for one in places if any(word in one for word in REBALANCES)))
