"""Keeps one resource open, in a task of its own, until it is closed or breaks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from metroline.agents.services.resource import Resource
from metroline.agents.stops.containment import SERVICE
from metroline.agents.stops.standing import place_of_context
from metroline.routing.errors import MetrolineError
from metroline.routing.service_errors import describe_error

ENDED = "its code has left the yield"
"""The reason for which a resource is broken, if it ended without an error."""

__tracebackhide__ = True
"""The place of an error is that in the author's code; see `routing/service_errors.py`."""

log = logging.getLogger(__name__)

Broke = Callable[["ResourceKeeper", str], None]
"""Is called with the reason if an open resource ends before it is closed."""


class ResourceNotOpened(MetrolineError):
    """Raised when a resource of the line cannot be opened: no service that takes it can be called."""


class ResourceKeeper:
    """Enters and leaves a context manager in one task: some must be left in the task that entered them."""

    def __init__(self, resource: Resource, needs: Mapping[str, Any], broke: Broke) -> None:
        """Begin to open a resource; `needs` are the resources that it takes."""
        self.resource = resource
        self.value: Any = None
        """The open resource."""
        self.is_spoilt = False
        """True once the resource is known to be broken."""
        self.is_proven = False
        """True once a call of a service has succeeded with it."""
        self.uses: set[object] = set()
        """The calls of services that are under way with it."""
        self._context = resource.open(**needs)
        self._broke = broke
        self._opened: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._closing = asyncio.Event()
        self._task = asyncio.create_task(self.keep())

    async def wait(self) -> None:
        """Return when the resource is open; raise `ResourceNotOpened` if it could not be opened in time."""
        name, seconds = self.resource.name, self.resource.timeout
        await asyncio.wait([self._opened], timeout=seconds)
        if not self._opened.done():
            place = place_of_context(self._context)
            self._opened.cancel()
            self._task.cancel()
            raise ResourceNotOpened(
                f"the resource {name!r} of the line was not opened within {seconds:g} s: it stands in {place}"
            )
        self.value = self._opened.result()

    async def close(self, seconds: float) -> None:
        """Close the resource, or give that up after this many seconds. If it is being opened, cancel that."""
        self._closing.set()
        if not self._opened.done():
            self._opened.cancel()
            self._task.cancel()
        await asyncio.wait([self._task], timeout=max(0.0, seconds))
        if not self._task.done():
            place = place_of_context(self._context)
            log.warning("the resource %r was not closed in time: %s", self.resource.name, place)
            self._task.cancel()

    async def keep(self) -> None:
        """Open the resource, and close it once `close` is called."""
        SERVICE.set(self.resource.name)
        is_open = False
        problem = ENDED
        try:
            async with self._context as value:
                is_open = True
                self._opened.set_result(value)
                await self._closing.wait()
        except BaseException as error:  # noqa: BLE001 - the author's code may raise anything, even SystemExit
            if not is_open:
                if not self._opened.done():
                    self._opened.set_exception(self._refusal(error))
                return
            problem = str(describe_error(_innermost(error)))
            if self._closing.is_set():
                log.error("the resource %r ended with an error: %s", self.resource.name, problem)
        if not self._closing.is_set():
            self._broke(self, problem)

    def _refusal(self, error: BaseException) -> MetrolineError:
        if isinstance(error, MetrolineError):
            return error
        described = describe_error(_innermost(error))
        return ResourceNotOpened(f"the resource {self.resource.name!r} of the line cannot be opened: {described}")


def _innermost(error: BaseException) -> BaseException:
    """Return the only error of a group, as a task group raises it."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        [error] = error.exceptions
    return error
