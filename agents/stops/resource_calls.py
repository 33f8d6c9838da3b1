"""Calls a service with its resources, and tells a failure of a resource from one of the record."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from metroline.agents.services.service import Handler, Service
from metroline.agents.stops.kept_resource import KeptResource
from metroline.agents.stops.resource_keeper import ResourceKeeper
from metroline.routing.service_errors import describe_error

__tracebackhide__ = True
"""The place of an error is that in the author's code; see `routing/service_errors.py`."""


def handler_with(service: Service, kept: Mapping[str, KeptResource], given: Mapping[str, Any]) -> Handler:
    """Return the function of a service, which is called with resources that may break and with values that stay."""
    handler = partial(service.handler, **given) if given else service.handler
    if not kept:
        return handler
    calls = _ResourceCalls(service, handler, kept)
    return calls.call_async if service.is_async else calls.call


class _ResourceCalls:
    """Calls the function of a service while its resources are open.

    While one of them is broken, records wait, which is no failed attempt. So do those whose call failed while it broke.
    The record whose call shows that a resource is broken has a failed attempt if another call has succeeded with it:
    otherwise a record that breaks it each time would never end.
    """

    def __init__(self, service: Service, handler: Handler, kept: Mapping[str, KeptResource]) -> None:
        self._handler = handler
        self._kept = kept
        self._no_retry = service.no_retry
        self._is_batch = service.batching is not None

    def call(self, records: Any, **told: Any) -> Any:
        """Call a plain function, in the event loop or in a thread."""
        if (broken := self._broken()) is not None:
            return self._answer(broken, records)
        use = object()
        held = self._hold(use)
        try:
            answer = self._handler(records, **told, **{name: keeper.value for name, keeper in held.items()})
        except Exception as error:
            if (broken := self._failed(held, error)) is None:
                raise
            return self._answer(broken, records)
        finally:
            _release(held, use)
        _prove(held)
        return answer

    async def call_async(self, records: Any, **told: Any) -> Any:
        """Call an async function."""
        if (broken := self._broken()) is not None:
            return self._answer(broken, records)
        use = object()
        held = self._hold(use)
        try:
            answer = await self._handler(records, **told, **{name: keeper.value for name, keeper in held.items()})
        except Exception as error:
            if (broken := self._failed(held, error)) is None:
                raise
            return self._answer(broken, records)
        finally:
            _release(held, use)
        _prove(held)
        return answer

    def _broken(self) -> KeptResource | None:
        """Return a resource that is broken; None if all are open."""
        return next((one for one in self._kept.values() if one.keeper.is_spoilt or one.reason is not None), None)

    def _hold(self, use: object) -> dict[str, ResourceKeeper]:
        held = {name: one.keeper for name, one in self._kept.items()}
        for keeper in held.values():
            keeper.uses.add(use)
        return held

    def _failed(self, held: Mapping[str, ResourceKeeper], error: Exception) -> KeptResource | None:
        """Return the resource that has made a call fail; None if the failure counts as one of the record."""
        if isinstance(error, self._no_retry):
            return None
        blamed = None
        for name, keeper in held.items():
            one = self._kept[name]
            if keeper.is_spoilt:
                blamed = one
            elif isinstance(error, one.resource.reopen_on):
                one.broke(keeper, str(describe_error(error)))
                blamed = blamed if keeper.is_proven else one
        return blamed

    def _answer(self, broken: KeptResource, records: Any) -> Any:
        return [broken.waiting()] * len(records) if self._is_batch else broken.waiting()


def _release(held: Mapping[str, ResourceKeeper], use: object) -> None:
    for keeper in held.values():
        keeper.uses.discard(use)


def _prove(held: Mapping[str, ResourceKeeper]) -> None:
    for keeper in held.values():
        keeper.is_proven = True
