"""Opens the resources that services take, and closes them after the last call of a service has ended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Self

from metroline.agents.services.resource import Resource
from metroline.agents.services.service import Service
from metroline.agents.stops.bounded_calls import BoundedCalls
from metroline.agents.stops.containment import SERVICE, contain_services
from metroline.agents.stops.standing import place_of_context
from metroline.routing.errors import MetrolineError
from metroline.routing.service_errors import describe_error

LAST_CALLS_SECONDS = 1.0
"""Time for which resources stay open while calls that were cancelled or given up still run, in seconds."""

CLOSE_SECONDS = 2.0
"""Time that closing the resources of a worker may take in all, in seconds."""

__tracebackhide__ = True
"""The place of an error is that in the author's code; see `routing/service_errors.py`."""

log = logging.getLogger(__name__)


class ResourceNotOpened(MetrolineError):
    """Raised when a resource of the line cannot be opened: no service that takes it can be called."""


class ResourceKeeper:
    """Keeps one resource open, in a task of its own: some context managers must be left in the task that entered."""

    def __init__(self, resource: Resource, needs: Mapping[str, Any]) -> None:
        """Begin to open a resource; `needs` are the resources that it takes."""
        self.resource = resource
        self._context = resource.open(**needs)
        self.opened: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._closing = asyncio.Event()
        self._task = asyncio.create_task(self.keep())

    async def wait(self) -> Any:
        """Return the open resource; raise `ResourceNotOpened` if it could not be opened in time."""
        name, seconds = self.resource.name, self.resource.timeout
        await asyncio.wait([self.opened], timeout=seconds)
        if not self.opened.done():
            place = place_of_context(self._context)
            self.opened.cancel()
            self._task.cancel()
            raise ResourceNotOpened(
                f"the resource {name!r} of the line was not opened within {seconds:g} s: it stands in {place}"
            )
        return self.opened.result()

    async def close(self, seconds: float) -> None:
        """Close the resource, or give that up after this many seconds. If it is being opened, cancel that."""
        self._closing.set()
        if not self.opened.done():
            self.opened.cancel()
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
        try:
            async with self._context as value:
                is_open = True
                self.opened.set_result(value)
                await self._closing.wait()
        except BaseException as error:  # noqa: BLE001 - the author's code may raise anything, even SystemExit
            if is_open:
                log.error("the resource %r ended with an error: %s", self.resource.name, describe_error(error))
            elif not self.opened.done():
                self.opened.set_exception(self._refusal(error))

    def _refusal(self, error: BaseException) -> MetrolineError:
        if isinstance(error, MetrolineError):
            return error
        described = describe_error(error)
        return ResourceNotOpened(f"the resource {self.resource.name!r} of the line cannot be opened: {described}")


class OpenResources:
    """The resources of a line, each opened when it is needed first.

    It is an async context manager, which closes them at its end, in the opposite order.
    """

    def __init__(self, declared: Mapping[str, Resource], given: Mapping[str, Any] | None = None) -> None:
        """Take the resources that a line declares. Values in `given` are used in place of those of the same name."""
        self.declared = declared
        self.calls: list[BoundedCalls] = []
        """The calls of services, whose end is waited for before resources are closed."""
        self._values: dict[str, Any] = dict(given or {})
        self._keepers: list[ResourceKeeper] = []
        self._failed: dict[str, MetrolineError] = {}
        """The errors of resources that could not be opened. Nobody waits for them a second time."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def connect(self, service: Service) -> Service:
        """Return a service that is called with the resources that it takes; raise a `MetrolineError` if one fails."""
        taken = await self._taken(service.others)
        return replace(service, handler=partial(service.handler, **taken)) if taken else service

    async def close(self) -> None:
        """Close what is open, once calls that still run have ended, or after a moment."""
        if not self._keepers:
            return
        await asyncio.gather(*(calls.wait_for_end(LAST_CALLS_SECONDS) for calls in self.calls))
        until = asyncio.get_running_loop().time() + CLOSE_SECONDS
        while self._keepers:
            await self._keepers.pop().close(until - asyncio.get_running_loop().time())

    async def _taken(self, parameters: Iterable[str]) -> dict[str, Any]:
        """Return the values of those parameters that are resources, opened now if they were not."""
        return {name: await self._value(name) for name in parameters if name in self._values or name in self.declared}

    async def _value(self, name: str) -> Any:
        if name in self._failed:
            raise self._failed[name]
        if name not in self._values:
            try:
                self._values[name] = await self._opened(self.declared[name])
            except MetrolineError as error:
                self._failed[name] = error
                raise
        return self._values[name]

    async def _opened(self, resource: Resource) -> Any:
        """Open a resource, and those that it takes before it; return it."""
        contain_services(asyncio.get_running_loop())
        keeper = ResourceKeeper(resource, await self._taken(resource.parameters))
        self._keepers.append(keeper)
        return await keeper.wait()
