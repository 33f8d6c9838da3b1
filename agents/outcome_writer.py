"""Writes settled records to their topics and, once they are confirmed, the table entries that count them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct

from metroline.agents.delivery.bus import Bus
from metroline.agents.delivery.unit_of_work import UnitOfWork
from metroline.agents.kafka.producer import Confirmation, all_of
from metroline.agents.shown_journeys import MAX_SHOWN, ShownJourneys
from metroline.agents.tables.latest import RecentEntries
from metroline.agents.tables.owned_table import OwnedTable
from metroline.routing.addresses import ARRIVALS, DEAD_LETTERS, DELIVERED
from metroline.routing.journeys.arrival import Settlement
from metroline.routing.journeys.summary import summary
from metroline.routing.messages.envelope import Envelope, pack
from metroline.routing.messages.record_ids import Origin
from metroline.routing.messages.segment import Segment
from metroline.routing.outcome import Ending

MAX_SHOWN_DEAD = 30
"""Maximum number of dead letters of one origin that are added to the latest ones at once."""

WRITE_SECONDS = 0.02
"""Time between two writes while much is settled."""

RECORD_SECONDS = 0.1
"""Time between two writes of table entries while much is settled. Nobody waits for them but the acknowledgement."""

OUTCOME_TOPICS = {Ending.DELIVERED: DELIVERED, Ending.DEAD: DEAD_LETTERS}
"""The addresses to which records are written, by ending. Dropped records are only counted."""


class _Settled(Struct, frozen=True):
    """The settlement of one envelope."""

    envelope: Envelope
    settlement: Settlement
    replayed: list[Confirmation]
    epoch: int | None
    """Epoch of the table's partition at the time of the settlement; None if this worker did not own the partition."""
    unit: UnitOfWork
    is_on_bus: bool
    """True if the envelope waits on the topic of the arrivals, where the next owner of the partition finds it."""

    @property
    def origin(self) -> Origin:
        return self.envelope.origin


class _Written(Struct, frozen=True):
    """Settlements whose records are being written, and the table entries that follow."""

    settled: list[_Settled]
    confirmations: list[Confirmation]
    entries: dict[bytes, tuple[_Settled, dict[str, Any]]]
    """Table entries by key, as of the moment when the records were written: later records are not counted yet."""


class OutcomeWriter:
    """Writes the records that the arrivals settle, and then their counts.

    After a crash between the two, the records are written again and counted once. In the opposite order they would be
    lost.

    What is settled while the writer rests is written at once. Otherwise it is written together: one message for the
    records of a partition, after `WRITE_SECONDS` at most, and one for their counts, after `RECORD_SECONDS`.
    """

    def __init__(
        self,
        bus: Bus,
        outcomes: OwnedTable,
        journeys: RecentEntries,
        letters: RecentEntries,
        clock: Callable[[], float],
    ) -> None:
        self.bus = bus
        self.outcomes = outcomes
        self.letters = letters
        self.clock = clock
        self._shown = ShownJourneys(bus, outcomes, journeys, clock)
        self._waiting: list[_Settled] = []
        self._written: list[_Written] = []
        self._wrote_at = self._recorded_at = 0.0
        self._writing: asyncio.Task[None] | None = None
        self._recording: asyncio.Task[None] | None = None

    def reset(self) -> None:
        """Forget where the latest entries were put. Called when partitions are reassigned."""
        self._shown.reset()
        self.letters.reset()

    def write(
        self,
        envelope: Envelope,
        settlement: Settlement,
        epoch: int | None,
        unit: UnitOfWork,
        *,
        replayed: list[Confirmation],
        is_on_bus: bool,
    ) -> None:
        """Have a settlement written. The unit of work is held until its table entries are written.

        `replayed` are the confirmations of the dead letters that the envelope restarted. `epoch` is that of the
        table's partition at the time of the settlement. If the partition has another owner by the time of the writing,
        that owner settles the envelope: `is_on_bus` tells whether it will find it on the topic of the arrivals, or
        must be sent it.
        """
        unit.hold()
        self._waiting.append(_Settled(envelope, settlement, replayed, epoch, unit, is_on_bus))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write_waiting())

    async def finish(self, seconds: float) -> None:
        """Return once everything is written, or after `seconds`."""
        deadline = time.monotonic() + seconds
        while open_tasks := [task for task in (self._writing, self._recording) if task is not None and not task.done()]:
            await asyncio.wait(open_tasks, timeout=max(0.0, deadline - time.monotonic()))
            if time.monotonic() >= deadline:
                return

    async def _write_waiting(self) -> None:
        """Write the records of all waiting settlements, at most once in `WRITE_SECONDS`."""
        while self._waiting:
            rest = self._wrote_at + WRITE_SECONDS - self.clock()
            if 0 < rest <= WRITE_SECONDS:
                await asyncio.sleep(rest)
            self._wrote_at = self.clock()
            settled, self._waiting = self._waiting, []
            try:
                self._written.append(await self._write_settled(await self._current(settled)))
            except Exception as error:  # noqa: BLE001 - a defect of Metroline: their messages come again
                _fail(settled, error)
            if self._recording is None or self._recording.done():
                self._recording = asyncio.create_task(self._record())

    async def _write_settled(self, settled: list[_Settled]) -> _Written:
        """Write the records of settlements, together as far as they have one origin and strategy."""
        blocks = {key: (one, block) for one in settled for key, block in one.settlement.touched.items()}
        entries = {key: (one, block.encode()) for key, (one, block) in blocks.items()}
        confirmations = [confirmation for one in settled for confirmation in one.replayed]
        groups: dict[tuple[str, Origin], list[Segment]] = {}
        for one in settled:
            groups.setdefault((one.envelope.strategy, one.origin), []).extend(one.settlement.fresh)
        for (strategy, origin), fresh in groups.items():
            for ending, address in OUTCOME_TOPICS.items():
                confirmations += await self._write_records(address, strategy, origin, _ending_as(ending, fresh))
        return _Written(settled, confirmations, entries)

    async def _write_records(
        self, address: str, strategy: str, origin: Origin, segments: Sequence[Segment]
    ) -> list[Confirmation]:
        limits, confirmations = self.bus.limits, []
        for envelope in pack(strategy, origin, segments, limits.pack_bytes, limits.pack_records):
            value = envelope.encode()
            self.bus.metrics.sent(address, len(envelope), len(value))
            confirmations.append(await self.bus.produce(self.bus.topics.at(address), origin.partition, value))
        return confirmations

    async def _record(self) -> None:
        """Write table entries, each once the records that it counts are confirmed, at most once in `RECORD_SECONDS`.

        Writes follow one another, so that an older entry never replaces a newer one.
        """
        while self._written:
            rest = self._recorded_at + RECORD_SECONDS - self.clock()
            if 0 < rest <= RECORD_SECONDS:
                await asyncio.sleep(rest)
            self._recorded_at = self.clock()
            written, self._written = self._written, []
            settled = [settled for one in written for settled in one.settled]
            confirmations = [confirmation for one in written for confirmation in one.confirmations]
            entries = {key: entry for one in written for key, entry in one.entries.items()}
            try:
                await self._record_written(_Written(settled, confirmations, entries))
            except Exception as error:  # noqa: BLE001 - a defect of Metroline: their messages come again
                _fail(settled, error)

    async def _record_written(self, written: _Written) -> None:
        await all_of(written.confirmations)
        current = await self._current(written.settled)
        confirmations = [
            await self.outcomes.put(self.bus, one.origin.partition, key, entry)
            for key, (one, entry) in written.entries.items()
            if self._is_current(one)
        ]
        fresh: dict[Origin, list[Segment]] = {}
        for one in current:
            fresh.setdefault(one.origin, []).extend(one.settlement.fresh)
        for origin, segments in fresh.items():
            confirmations += await self._show(origin, segments)
        await all_of(confirmations)
        for one in current:
            one.unit.release()

    async def _current(self, settled: list[_Settled]) -> list[_Settled]:
        """Return the settlements of this worker's partitions. Send what the owners of the others do not find."""
        current = [one for one in settled if self._is_current(one)]
        if len(current) < len(settled):
            for one in settled:
                if not one.is_on_bus and not self._is_current(one):
                    await self.bus.send(ARRIVALS, one.envelope.written(), one.unit)
                    one.unit.release()
        return current

    def _is_current(self, settled: _Settled) -> bool:
        """Return whether this worker has owned the partition since; otherwise the new owner settles the records."""
        return settled.epoch is not None and settled.epoch == self.outcomes.epochs.get(settled.origin.partition)

    async def _show(self, origin: Origin, fresh: list[Segment]) -> list[Confirmation]:
        """Add dead letters to the table of the latest ones, and some journeys to theirs."""
        now = self.clock()
        await self._shown.add(origin, [summary(origin, segment, 0, now) for segment in fresh[-MAX_SHOWN:]])
        letters = [
            summary(origin, segment, place, now)
            for segment in _ending_as(Ending.DEAD, fresh)
            for place in range(min(len(segment.ids), MAX_SHOWN_DEAD))
        ]
        return [await self.letters.put(self.bus, origin.partition, letters[:MAX_SHOWN_DEAD])] if letters else []


def _ending_as(ending: Ending, segments: list[Segment]) -> tuple[Segment, ...]:
    return tuple(one for one in segments if one.outcome is not None and one.outcome.ending is ending)


def _fail(settled: list[_Settled], error: Exception) -> None:
    """Have the messages of settlements handled again."""
    for one in settled:
        one.unit.fail(error)
