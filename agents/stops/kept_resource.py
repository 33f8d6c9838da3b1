"""A resource that is opened again whenever it breaks, for as long as its worker runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from contextvars import copy_context
from typing import Any

from metroline.agents.services.resource import Resource
from metroline.agents.stops.resource_keeper import ResourceKeeper
from metroline.routing.errors import MetrolineError
from metroline.routing.outcome import Retry

CALLS_SECONDS = 1.0
"""Time for which a broken resource stays as it is while calls that use it still run, in seconds."""

CLOSE_SECONDS = 2.0
"""Time that closing a broken resource may take, in seconds."""

FIRST_DELAY_SECONDS, MAX_DELAY_SECONDS = 1.0, 60.0
"""Time between the first two attempts to open a resource again, and the longest one. Each is twice the one before."""

MIN_WAIT_SECONDS = 1.0
"""Time for which a record waits at least, if a resource that its service takes is broken."""

__tracebackhide__ = True
"""The place of an error is that in the author's code; see `routing/service_errors.py`."""

log = logging.getLogger(__name__)


class KeptResource:
    """Opens a resource, and opens it again when it breaks, after those that it takes. Belongs to one event loop.

    The first attempt follows at once, unless the resource breaks again and again: then attempts are further and further
    apart.
    """

    def __init__(
        self, resource: Resource, needs: Mapping[str, KeptResource], given: Mapping[str, Any], *, reopens: bool
    ) -> None:
        """Begin to open a resource. `needs` are the resources that it takes, besides `given` values.

        Unless it `reopens`, a resource that breaks stays as it is.
        """
        self.resource = resource
        self.breaks = 0
        """Number of times that it has broken."""
        self._needs = needs
        self._reopens = reopens
        self._given = given
        self._dependents: list[KeptResource] = []
        for need in needs.values():
            need._dependents.append(self)
        self._loop = asyncio.get_running_loop()
        self._context = copy_context()
        self._problem: str | None = None
        self._broken_at = self._opened_at = self._due = 0.0
        self._failures = 0
        """Number of attempts and breaks since it was last open for a while."""
        self._is_open, self._is_closed, self._breaks = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._is_ending = False
        self._mending: asyncio.Task[None] | None = None
        self.keeper = self._begun()
        """The latest one. It may be broken."""

    @property
    def reason(self) -> str | None:
        """A sentence that says since when and why the resource is broken; None if it is not."""
        if self._problem is None:
            return None
        return f"broken for {self._loop.time() - self._broken_at:.0f} s: {self._problem}"

    async def wait(self) -> None:
        """Return when the resource is open for the first time; raise a `MetrolineError` if it cannot be opened."""
        await self.keeper.wait()
        self._opened()
        if self._reopens:
            self._mending = asyncio.create_task(self._mend())

    async def close(self, seconds: float) -> None:
        """Close the resource for good, or give that up after this many seconds."""
        self._is_ending = True
        if self._mending is not None:
            self._mending.cancel()
            with suppress(asyncio.CancelledError):
                await self._mending
        await self.keeper.close(seconds)

    def broke(self, keeper: ResourceKeeper, problem: str) -> None:
        """Note that the resource of a keeper is broken, if that is not known. May be called by any thread."""
        keeper.is_spoilt = True
        self._loop.call_soon_threadsafe(self._broke, keeper, problem, context=self._context)

    def waiting(self) -> Retry:
        """Return the answer of a service that cannot be called, since the resource is broken: no failed attempt."""
        seconds = max(MIN_WAIT_SECONDS, self._due - self._loop.time())
        return Retry(f"the resource {self.resource.name!r} is opened again: {self._problem}", after=seconds)

    def _begun(self) -> ResourceKeeper:
        needs = {name: need.keeper.value for name, need in self._needs.items()}
        return ResourceKeeper(self.resource, {**self._given, **needs}, self.broke)

    def _broke(self, keeper: ResourceKeeper, problem: str) -> None:
        if keeper is not self.keeper or self._problem is not None or self._is_ending:
            return
        if not self._reopens:
            log.error("the resource %r ended with an error: %s", self.resource.name, problem)
            return
        keeper.is_spoilt = True
        now = self._loop.time()
        if now - self._opened_at > MAX_DELAY_SECONDS:
            self._failures = 0
        self._problem, self._broken_at = problem, now
        self.breaks += 1
        log.warning("the resource %r is broken, and is opened again: %s", self.resource.name, problem)
        self._is_open.clear()
        self._is_closed.clear()
        self._breaks.set()
        for dependent in self._dependents:
            dependent._broke(dependent.keeper, f"it takes the resource {self.resource.name!r}, which is broken")

    async def _mend(self) -> None:
        while True:
            await self._breaks.wait()
            self._breaks.clear()
            for dependent in self._dependents:
                await dependent._is_closed.wait()
            await self._calls_end()
            await self._close()
            while not await self._is_opened_again():
                await self._close()
            self._opened()

    async def _calls_end(self) -> None:
        until = self._loop.time() + CALLS_SECONDS
        while self.keeper.uses and self._loop.time() < until:  # noqa: ASYNC110 - calls also end in threads
            await asyncio.sleep(0.02)

    async def _close(self) -> None:
        await self.keeper.close(CLOSE_SECONDS)
        self._is_closed.set()

    async def _is_opened_again(self) -> bool:
        """Open the resource once what it takes is open; return False if that fails or is broken again."""
        delay = min(MAX_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2 ** (self._failures - 1)) if self._failures else 0.0
        self._failures = min(self._failures + 1, 30)
        self._due = self._loop.time() + delay
        await asyncio.sleep(delay)
        for need in self._needs.values():
            await need._is_open.wait()
        self._is_closed.clear()
        used = [need.keeper for need in self._needs.values()]
        self.keeper = self._begun()
        try:
            await self.keeper.wait()
        except MetrolineError as error:
            self._problem = str(error)
            log.warning("the resource %r is still broken: %s", self.resource.name, error)
            return False
        return not any(one.is_spoilt for one in (self.keeper, *used))

    def _opened(self) -> None:
        self._opened_at = self._loop.time()
        if self._problem is not None:
            seconds = self._opened_at - self._broken_at
            log.warning("the resource %r is open again, after %.1f s", self.resource.name, seconds)
        self._problem = None
        self._is_open.set()
