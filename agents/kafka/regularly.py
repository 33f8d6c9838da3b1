"""The turns of a service's task that does something from time to time."""

from __future__ import annotations

from collections.abc import AsyncIterator

from mode import Service


async def regularly(service: Service, seconds: float) -> AsyncIterator[None]:
    """Yield after each `seconds`, until the service is asked to stop.

    A service that is asked to stop wakes up at once, and takes no turn then: what asks the brokers would delay the end
    of the worker.
    """
    while not service.should_stop:
        await service.sleep(seconds)
        if not service.should_stop:
            yield
