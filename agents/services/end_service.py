"""Makes an end in another system a stop of the line, whose batch service writes the records there.

So such an end has what every stop has: a topic of its own, on which its records wait while the system is away, a role
of its own, metrics, and dead letters that can be replayed from it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from metroline.agents.gateways.outside_end import (
    Answer,
    Delayed,
    EndUnavailable,
    EndWriter,
    Outgoing,
    OutsideEnd,
    RefusedByEnd,
)
from metroline.agents.services.batching import Batching
from metroline.agents.services.resource import Resource
from metroline.agents.services.service import Record, Service
from metroline.routing.meta import Meta
from metroline.routing.outcome import DeliveredAt, Retry


def service_of_end(name: str, end: OutsideEnd, prefix: str) -> tuple[Service, Resource]:
    """Return the service that writes the records of an end, and the resource with the connection that it needs.

    `prefix` is the PREFIX of the line whose records it writes.
    """
    resource_name = f"end:{name}"
    """No parameter of an author's function can have this name."""

    async def deliver_pack(
        records: Sequence[Record], ids: Sequence[str], metas: Sequence[Meta], **held: Any
    ) -> list[DeliveredAt | Retry | RefusedByEnd]:
        writer: EndWriter = held[resource_name]
        pack = [Outgoing(*each, prefix) for each in zip(records, ids, metas, strict=True)]
        try:
            async with asyncio.timeout(end.patience) as limit:
                answers = await writer.write(pack)
        except EndUnavailable as error:
            return [_waiting(name, Delayed(str(error)))] * len(records)
        except TimeoutError:
            if not limit.expired():  # it is one of the writer's own
                raise
            return [_waiting(name, Delayed(f"no answer within {end.patience:g} s"))] * len(records)
        return [_returned(name, answer) for answer in answers]

    async def deliver_one(record: Record, id: str, meta: Meta, **held: Any) -> DeliveredAt | Retry:
        [answer] = await deliver_pack([record], [id], [meta], **held)
        if isinstance(answer, RefusedByEnd):
            raise answer
        return answer

    deliver = deliver_one if end.order else deliver_pack
    deliver.__doc__ = f"Writes the records of the end {name} ({end.kind})."
    service = Service(
        name,
        deliver,
        1 if end.order else end.concurrency,
        is_async=True,
        retries={"timeout": end.timeout},
        no_retry=(RefusedByEnd,),
        ordered=end.order,
        takes_id=True,
        takes_meta=True,
        batching=None if end.order else Batching(end.max_batch),
        others={resource_name: True},
    )
    return service, Resource(resource_name, lambda: end.open(name))


def stand_in(service: Service) -> Service:
    """Return a service for trials that takes the place of an end: it writes nothing, and takes every record."""

    async def deliver(records: Sequence[Record]) -> list[DeliveredAt]:
        return [DeliveredAt(service.name)] * len(records)

    deliver.__doc__ = service.handler.__doc__
    batching = service.batching or Batching(OutsideEnd.max_batch)
    return Service(service.name, deliver, service.concurrency, is_async=True, batching=batching)


def _returned(name: str, answer: Answer) -> DeliveredAt | Retry | RefusedByEnd:
    if answer is None:
        return DeliveredAt(name)
    return _waiting(name, answer) if isinstance(answer, Delayed) else answer


def _waiting(name: str, answer: Delayed) -> Retry:
    return Retry(f"the end {name}: {answer.reason}", after=answer.after)
