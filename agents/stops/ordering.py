"""Queues for stops that keep the order of records: later records wait while an earlier one is tried again.

A record in a queue is not acknowledged. After a crash it is delivered again from the topic of the stop, in the same
order, and its attempts are counted from the start.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import orjson

from metroline.agents.delivery.unit_of_work import UnitOfWork
from metroline.agents.kafka.producer import Confirmation
from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.record_ids import Origin
from metroline.routing.records.fingerprints import fingerprint

Attempt = Callable[[Envelope], Awaitable[Envelope | Confirmation]]
"""Tries a record. Returns the confirmation of what it sent, or the record with its attempts to try it again."""

Key = tuple[Origin, Any]
"""The key of a queue: the origin of its records and, if they are ordered by a field, the fingerprint of its value."""


@dataclass(slots=True)
class _Held:
    """A waiting record, alone in its envelope; `unit` is held until the record has left the stop."""

    envelope: Envelope
    unit: UnitOfWork

    @property
    def due(self) -> float:
        """Time of the next attempt in seconds since the epoch; 0 before the first one."""
        attempts = self.envelope.segments[0].attempts
        return 0.0 if attempts is None else attempts.due


class OrderedQueues:
    """Queues of waiting records: one for each origin or, if records are ordered by a field, for each of its values."""

    def __init__(self, by: str | None, attempt: Attempt, clock: Callable[[], float]) -> None:
        """`by` is the top-level field by which records are ordered; None orders all records of an origin."""
        self.by = by
        self.attempt = attempt
        self.clock = clock
        self.turn = asyncio.Lock()
        """Held while a pack is handled and sent, so that a waiting record cannot overtake the records before it."""
        self._queues: dict[Key, deque[_Held]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def key(self, origin: Origin, line: bytes) -> Key:
        """Return the key of the queue to which a record belongs."""
        if self.by is None:
            return origin, None
        try:
            record = orjson.loads(line)
        except orjson.JSONDecodeError:
            record = None
        return origin, fingerprint(record.get(self.by)) if isinstance(record, dict) else None

    def is_taken(self, key: Key) -> bool:
        """Return whether a record waits in the queue with this key."""
        return key in self._queues

    def hold(self, key: Key, envelope: Envelope, unit: UnitOfWork) -> None:
        """Add a record, alone in its envelope, to a queue; its unit of work is held until it has left the stop."""
        unit.hold()
        held = _Held(envelope, unit)
        queue = self._queues.get(key)
        if queue is not None:
            queue.append(held)
            return
        self._queues[key] = deque([held])
        task = asyncio.create_task(self._drain(key))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _drain(self, key: Key) -> None:
        queue = self._queues[key]
        while queue:
            held = queue[0]
            await asyncio.sleep(max(0.0, held.due - self.clock()))
            if held.unit.is_discarded:  # its message comes again, here or on another worker
                queue.popleft()
                continue
            try:
                async with self.turn:
                    made = await self.attempt(held.envelope)
                if isinstance(made, Envelope):
                    held.envelope = made
                    continue
                await made
            except Exception as error:  # noqa: BLE001 - a defect of Metroline: the unit logs it, and its message comes again
                held.unit.fail(error)
            else:
                held.unit.release()
            queue.popleft()
        del self._queues[key]
