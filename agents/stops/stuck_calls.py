"""Ends a worker whose services are stuck: all calls that they may make were given up and still run."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from mode import Service

from metroline.agents.stops.bounded_calls import BoundedCalls
from metroline.routing.errors import MetrolineError

CHECK_SECONDS = 5.0
"""Time between two looks, in seconds."""

STUCK_SECONDS = 120.0
"""Time for which no call of a service could begin after which the worker ends, in seconds."""


class ServiceStuck(MetrolineError):
    """Raised when only a restart can end the calls of a service."""


class StuckCalls(Service):
    """Watches the calls of services. Only the end of the process ends a thread, and the line goes on after a restart.

    The records are not acknowledged and come again. Attempts that ended in a waiting room count, so that a record that
    is never handled in time becomes a dead letter.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, **kwargs: Any) -> None:
        """`clock` returns seconds of `time.monotonic`."""
        super().__init__(**kwargs)
        self.calls: list[BoundedCalls] = []
        self._clock = clock
        self._named: set[str] = set()

    @Service.task
    async def _check_regularly(self) -> None:
        while not self.should_stop:
            await asyncio.sleep(CHECK_SECONDS)
            await self.check()

    async def check(self) -> None:
        """Look at all services once; log those that have just become stuck, and end the worker after a while."""
        for calls in self.calls:
            if calls.stuck_since is None:
                self._named.discard(calls.stop)
                continue
            if calls.stop not in self._named:
                self._named.add(calls.stop)
                self.log.error("%s; the worker ends in %g s unless one ends", _described(calls), STUCK_SECONDS)
            if self._clock() - calls.stuck_since > STUCK_SECONDS:
                await self.crash(ServiceStuck(f"{_described(calls)}: this worker ends, so that they end"))
                return


def _described(calls: BoundedCalls) -> str:
    places = Counter(calls.standing())
    named = "; ".join(f"{count} in {place}" for place, count in places.most_common(3))
    return f"the service {calls.stop!r} cannot be called: {places.total()} calls that were given up still run: {named}"
