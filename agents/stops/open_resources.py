"""Opens the resources that services take, and closes them after the last call of a service has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Self

from metroline.agents.services.resource import Resource
from metroline.agents.services.service import Service
from metroline.agents.stops.bounded_calls import BoundedCalls
from metroline.agents.stops.containment import contain_services
from metroline.agents.stops.kept_resource import KeptResource
from metroline.agents.stops.resource_calls import handler_with
from metroline.routing.errors import MetrolineError

LAST_CALLS_SECONDS = 1.0
"""Time for which resources stay open while calls that were cancelled or given up still run, in seconds."""

CLOSE_SECONDS = 2.0
"""Time that closing the resources of a worker may take in all, in seconds."""


class OpenResources:
    """The resources of a line, each opened when it is needed first.

    It is an async context manager, which closes them at its end, in the opposite order.
    """

    def __init__(
        self, declared: Mapping[str, Resource], given: Mapping[str, Any] | None = None, *, reopens: bool = False
    ) -> None:
        """Take the resources that a line declares. Values in `given` are used in place of those of the same name.

        With `reopens`, a resource that breaks is opened again, and records that need it wait, as long as a worker runs.
        """
        self._reopens = reopens
        self.declared = declared
        self.calls: list[BoundedCalls] = []
        """The calls of services, whose end is waited for before resources are closed."""
        self._given: dict[str, Any] = dict(given or {})
        self._kept: dict[str, KeptResource] = {}
        """The resources that are open or were, in the order in which they were opened."""
        self._failed: dict[str, MetrolineError] = {}
        """The errors of resources that could not be opened. Nobody waits for them a second time."""

    @property
    def broken(self) -> dict[str, str]:
        """The reason of each resource that is broken, by the resources' names."""
        reasons = {name: kept.reason for name, kept in sorted(self._kept.items())}
        return {name: reason for name, reason in reasons.items() if reason is not None}

    @property
    def breaks(self) -> dict[str, int]:
        """The number of times that each resource has broken, by the resources' names."""
        return {name: kept.breaks for name, kept in sorted(self._kept.items())}

    @property
    def values(self) -> list[Any]:
        """The resources that are open or were, as services get them; None for one that is being opened."""
        return [kept.keeper.value for kept in self._kept.values()]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def connect(self, service: Service) -> Service:
        """Return a service that is called with the resources that it takes; raise a `MetrolineError` if one fails."""
        kept, given = await self._taken(service.others)
        return replace(service, handler=handler_with(service, kept, given)) if kept or given else service

    async def close(self) -> None:
        """Close what is open, once calls that still run have ended, or after a moment."""
        if not self._kept:
            return
        await asyncio.gather(*(calls.wait_for_end(LAST_CALLS_SECONDS) for calls in self.calls))
        until = asyncio.get_running_loop().time() + CLOSE_SECONDS
        while self._kept:
            _, kept = self._kept.popitem()
            await kept.close(until - asyncio.get_running_loop().time())

    async def _taken(self, parameters: Iterable[str]) -> tuple[dict[str, KeptResource], dict[str, Any]]:
        """Return those of the parameters that are resources, opened now if they were not, and those with a value."""
        kept: dict[str, KeptResource] = {}
        given: dict[str, Any] = {}
        for name in parameters:
            if name in self._given:
                given[name] = self._given[name]
            elif name in self.declared:
                kept[name] = await self._opened(name)
                if self.declared[name].is_constant or not self._reopens:
                    given[name] = kept.pop(name).keeper.value
        return kept, given

    async def _opened(self, name: str) -> KeptResource:
        """Return a resource; if it was not opened, open it now, and those that it takes before it."""
        if name in self._failed:
            raise self._failed[name]
        if name not in self._kept:
            contain_services(asyncio.get_running_loop())
            resource = self.declared[name]
            try:
                needs, given = await self._taken(resource.parameters)
                self._kept[name] = KeptResource(resource, needs, given, reopens=self._reopens)
                await self._kept[name].wait()
            except MetrolineError as error:
                self._failed[name] = error
                raise
        return self._kept[name]
