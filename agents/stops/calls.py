"""The ways in which a stop calls its service: in a task, in a thread, or directly in the event loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from metroline.agents.services.service import Service
from metroline.agents.stops.bounded_calls import MAX_GIVEN_UP, MAX_GIVEN_UP_EACH, BoundedCalls, Called
from metroline.agents.stops.containment import plain_calls


class Calls(Protocol):
    """Calls the function of one service."""

    async def call(self, function: Callable[[Any], Any], argument: Any, seconds: float) -> Called:
        """Call the function and return its result, for which it has this many seconds."""


class DirectCalls:
    """Calls a plain function in the event loop. Only the loop guard bounds the time of a call."""

    def __init__(self, stop: str) -> None:
        self.stop = stop

    async def call(self, function: Callable[[Any], Any], argument: Any, seconds: float) -> Called:
        """Call the function and return its result; `seconds` is not used."""
        with plain_calls(self.stop):
            return call_directly(function, argument)


def call_directly(function: Callable[[Any], Any], argument: Any) -> Called:
    """Call a plain function and return its result."""
    try:
        return Called(function(argument))
    except BaseException as error:  # noqa: BLE001 - the caller gets every exception, even SystemExit
        return Called(error=error)


def calls_of(service: Service) -> Calls | None:
    """Return what calls the function of a service; None if it is called for one record after the other."""
    if service.is_plain:
        return None
    if not service.is_async and not service.is_blocking:
        return DirectCalls(service.name)
    limit = max(MAX_GIVEN_UP, MAX_GIVEN_UP_EACH * service.concurrency)
    return BoundedCalls(service.name, is_async=service.is_async, max_given_up=limit)
