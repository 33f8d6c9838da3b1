"""Writes settled records to their topics and, once they are confirmed, has them counted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator, Sequence

from metroline.agents.delivery.end_topics import EndTopics
from metroline.agents.delivery.unit_of_work import UnitOfWork
from metroline.agents.kafka.producer import Confirmation
from metroline.agents.outcome_recorder import OutcomeRecorder, Settled, Written
from metroline.routing.addresses import DEAD_LETTERS, end_address
from metroline.routing.journeys.arrival import Settlement
from metroline.routing.journeys.dead_letter_messages import dead_letter_messages
from metroline.routing.journeys.dead_letters import MALFORMED_ORIGIN, is_malformed_message
from metroline.routing.messages.envelope import Envelope, fitting, pack
from metroline.routing.messages.plain import PlainMessage, plain_messages
from metroline.routing.messages.plain import Written as WrittenValues
from metroline.routing.messages.record_ids import Origin, RecordId
from metroline.routing.messages.segment import Segment
from metroline.routing.outcome import Ending

WRITE_SECONDS = 0.005
"""Time between two writes while much is settled. Longer ones spare next to no CPU."""

MAX_TOGETHER = 500
"""Maximum number of messages that are handed to the producer before other work may go on."""

MAX_HELD_BYTES = 8 * 1024 * 1024
"""Bytes of records that are settled and not counted yet, at which outcomes are no longer taken in memory."""


class OutcomeWriter:
    """Writes the records that the arrivals settle, except dropped ones; the recorder counts all of them afterwards.

    After a crash between the two, the records are written again and counted once. In the opposite order they would be
    lost.

    What is settled while the writer rests is written at once. Otherwise it is written together, after `WRITE_SECONDS`
    at most.
    """

    def __init__(self, recorder: OutcomeRecorder, ends: EndTopics) -> None:
        self.ends = ends
        self.bus = recorder.bus
        self.clock = recorder.clock
        self.recorder = recorder
        self._waiting: list[Settled] = []
        self._wrote_at = 0.0
        self._task: asyncio.Task[None] | None = None

    @property
    def has_room(self) -> bool:
        """True if outcomes may be taken in memory. Those that come by the bus are bounded by their agent."""
        return self.recorder.held < MAX_HELD_BYTES

    def write(
        self,
        envelope: Envelope,
        settlement: Settlement,
        epoch: int | None,
        unit: UnitOfWork,
        *,
        replayed: Confirmation | None = None,
        is_on_bus: bool,
        values: WrittenValues | None = None,
    ) -> None:
        """Have a settlement written and counted. The unit of work is held until then.

        `replayed` confirms the dead letters that the envelope restarts. `epoch` is that of the table's partition at the
        time of the settlement. If the partition has another owner before the records are counted, that owner settles
        the envelope: `is_on_bus` tells whether it will find it on the topic of the arrivals, or must be sent it.
        `values` are the delivered records in the format of their end; None for JSON.
        """
        unit.hold()
        size = sum(segment.size() for segment in envelope.segments)
        self.recorder.held += size
        at = self.clock()
        self._waiting.append(Settled(envelope, settlement, epoch, unit, replayed, is_on_bus, size, at, values))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    async def finish(self, seconds: float) -> None:
        """Return once everything is written and counted, or after `seconds`."""
        deadline = time.monotonic() + seconds
        tasks = self._task, self.recorder.task
        while open_tasks := [task for task in tasks if task is not None and not task.done()]:
            await asyncio.wait(open_tasks, timeout=max(0.0, deadline - time.monotonic()))
            if time.monotonic() >= deadline:
                return
            tasks = self._task, self.recorder.task

    async def _run(self) -> None:
        """Write the records of all waiting settlements, at most once in `WRITE_SECONDS`."""
        while self._waiting:
            rest = min(WRITE_SECONDS, self._wrote_at + WRITE_SECONDS - self.clock())
            if rest > 0:
                await asyncio.sleep(rest)
            self._wrote_at = self.clock()
            settled, self._waiting = self._waiting, []
            current = list(filter(self.recorder.is_current, settled))
            lost = [one for one in settled if not self.recorder.is_current(one)]
            try:
                written = await self._write(current)
            except Exception as error:  # noqa: BLE001 - a defect of Metroline: their messages come again
                self.recorder.fail(current, error)
            else:
                self.recorder.record(written)
            for one in lost:
                await self.recorder.give_back(one)

    async def _write(self, settled: list[Settled]) -> Written:
        """Write the records of settlements, together as far as they have one origin and strategy.

        The entries are made first: what is settled from now on is not written yet.
        """
        blocks = {key: (one, block) for one in settled for key, block in one.settlement.touched.items()}
        entries = {key: (one, block.encode()) for key, (one, block) in blocks.items()}
        confirmations = [one.replayed for one in settled if one.replayed is not None]
        groups: dict[tuple[str, Origin], list[Segment]] = {}
        values: dict[Origin, dict[tuple[int, RecordId], bytes]] = {}
        for one in settled:
            groups.setdefault((one.envelope.strategy, one.origin), []).extend(one.settlement.fresh)
            if one.values is not None:
                values.setdefault(one.origin, {}).update(one.fresh_values())
        plain: dict[tuple[str, str], list[PlainMessage]] = {}
        for (strategy, origin), fresh in groups.items():
            for end, delivered in _by_end(fresh).items():
                if self.ends.ends[end].is_outside:
                    continue
                address, topic = end_address(end), self.ends.topic(end)
                partition = await self.ends.partition(end, origin.partition)
                if self.ends.ends[end].is_packed:
                    confirmations += await self._write_packed(address, topic, partition, strategy, origin, delivered)
                else:
                    key = self.ends.ends[end].key
                    messages = plain_messages(origin, delivered, partition, key, values.get(origin))
                    plain.setdefault((address, topic), []).extend(messages)
            if dead := _dead(fresh):
                letters = self._dead_letters(strategy, origin, dead)
                plain.setdefault((DEAD_LETTERS, self.bus.topics.dead_letters), []).extend(letters)
        for (address, topic), all_of_it in plain.items():
            for first in range(0, len(all_of_it), MAX_TOGETHER):
                confirmations.append(await self._write_plain(address, topic, all_of_it[first : first + MAX_TOGETHER]))
        return Written(settled, confirmations, entries)

    def _dead_letters(self, strategy: str, origin: Origin, segments: Sequence[Segment]) -> Iterator[PlainMessage]:
        topics = self.bus.topics
        is_malformed = is_malformed_message(origin)
        topic = topics.at(origin.name.removeprefix(MALFORMED_ORIGIN)) if is_malformed else topics.source
        limit = self.bus.limits.message_bytes
        return dead_letter_messages(topics.prefix, strategy, origin, segments, topic, self.clock(), limit)

    async def _write_plain(self, address: str, topic: str, messages: Sequence[PlainMessage]) -> Confirmation:
        """Write records to a topic, which counts as this address, one a message."""
        size = sum([len(message.value or b"") for message in messages])
        self.bus.metrics.sent(address, len(messages), size, messages=len(messages))
        confirmation = await self.bus.produce_all(topic, messages)
        await self.bus.pacer.pause()
        return confirmation

    async def _write_packed(
        self, address: str, topic: str, partition: int, strategy: str, origin: Origin, segments: Sequence[Segment]
    ) -> list[Confirmation]:
        """Write records in envelopes."""
        limits, confirmations = self.bus.limits, []
        for packed in pack(strategy, origin, segments, limits.pack_bytes, limits.pack_records):
            for envelope, value in fitting(packed, limits.message_bytes):
                self.bus.metrics.sent(address, len(envelope), len(value))
                confirmations.append(await self.bus.produce(topic, partition, value))
        return confirmations


def _dead(segments: Iterable[Segment]) -> list[Segment]:
    return [one for one in segments if one.outcome is not None and one.outcome.ending is Ending.DEAD]


def _by_end(segments: Iterable[Segment]) -> dict[str, list[Segment]]:
    """Return the delivered segments by the end to which they go."""
    found: dict[str, list[Segment]] = {}
    for one in segments:
        end = None if one.outcome is None else one.outcome.end
        if end is not None:
            found.setdefault(end, []).append(one)
    return found
