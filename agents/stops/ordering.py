"""Stops whose order matters: what fails is tried again in its place, and those behind it wait.

A record that waits here is not acknowledged: after a crash it comes again from the stop's own topic, in the same order,
and its attempts count anew.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from metroline.agents.kafka.producer import Confirmation, all_of
from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.record_ids import Origin
from metroline.routing.records.fingerprints import fingerprint

Attempt = Callable[[Envelope], Awaitable["Envelope | list[Confirmation]"]]
"""Tries a record: gives what it made of it or, where it shall be tried again, the record with its tries."""

Key = tuple[Origin, Any]

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Held:
    """A record that waits, alone in its envelope, until `done`."""

    envelope: Envelope
    done: Confirmation = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    @property
    def due(self) -> float:
        attempts = self.envelope.segments[0].attempts
        return 0.0 if attempts is None else attempts.due


class OrderedQueues:
    """Records that wait, in a lane for each partition or, `by` a field, for each of its values there."""

    def __init__(self, by: str | None, attempt: Attempt, clock: Callable[[], float]) -> None:
        self.by = by
        self.attempt = attempt
        self.clock = clock
        self.turn = asyncio.Lock()
        """Who handles a pack has it until the pack is sent: none of those that wait overtakes those before it."""
        self._queues: dict[Key, deque[_Held]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def key(self, origin: Origin, line: bytes) -> Key:
        """The lane that a record belongs to."""
        if self.by is None:
            return origin, None
        try:
            record = orjson.loads(line)
        except orjson.JSONDecodeError:
            record = None
        return origin, fingerprint(record.get(self.by)) if isinstance(record, dict) else None

    def is_taken(self, key: Key) -> bool:
        """Whether somebody waits there."""
        return key in self._queues

    def hold(self, key: Key, envelope: Envelope) -> Confirmation:
        """Lets a record wait behind those in its lane; the confirmation comes when it has gone on."""
        held = _Held(envelope)
        queue = self._queues.get(key)
        if queue is not None:
            queue.append(held)
            return held.done
        self._queues[key] = deque([held])
        task = asyncio.create_task(self._drain(key))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return held.done

    async def _drain(self, key: Key) -> None:
        queue = self._queues[key]
        while queue:
            held = queue[0]
            await asyncio.sleep(max(0.0, held.due - self.clock()))
            try:
                async with self.turn:
                    made = await self.attempt(held.envelope)
                if isinstance(made, Envelope):
                    held.envelope = made
                    continue
                await all_of(made)
            except Exception as error:  # a mistake of this program: the message stays open and comes again
                log.exception("a record could not be tried again")
                held.done.set_exception(error)
            else:
                held.done.set_result(None)
            queue.popleft()
        del self._queues[key]
