"""Writes the table entries that count settled records, and concludes the work on them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from msgspec import Struct

from metroline.agents.delivery.bus import Bus
from metroline.agents.delivery.unit_of_work import UnitOfWork
from metroline.agents.kafka.producer import Confirmation, all_of
from metroline.agents.shown_journeys import MAX_SHOWN, Ended, ShownJourneys
from metroline.agents.tables.latest import RecentEntries
from metroline.agents.tables.owned_table import OwnedTable
from metroline.routing.addresses import ARRIVALS
from metroline.routing.journeys.arrival import Settlement
from metroline.routing.journeys.kept_journeys import KEPT_PER_SECOND
from metroline.routing.journeys.summary import summary
from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.plain import Written as WrittenValues
from metroline.routing.messages.record_ids import Origin
from metroline.routing.messages.segment import Segment
from metroline.routing.outcome import Ending

MAX_SHOWN_DEAD = 30
"""Maximum number of dead letters of one origin that are added to the latest ones at once."""

RECORD_SECONDS = 0.1
"""Time between two writes of table entries while much is settled. Nobody waits for them but the acknowledgement."""


class Settled(Struct, frozen=True, eq=False):
    """The settlement of one envelope."""

    envelope: Envelope
    settlement: Settlement
    epoch: int | None
    """Epoch of the table's partition at the time of the settlement; None if this worker did not own the partition."""
    unit: UnitOfWork
    replayed: Confirmation | None
    """The confirmation that the dead letters that the envelope restarted are sent; None if there are none."""
    is_on_bus: bool
    """True if the envelope waits on the topic of the arrivals, where the next owner of the partition finds it."""
    size: int
    """Bytes of its records."""
    at: float
    """Seconds since the epoch, when it was settled."""
    values: WrittenValues | None = None
    """The delivered records in the format of their end; None for JSON."""

    @property
    def origin(self) -> Origin:
        return self.envelope.origin

    def fresh_values(self) -> WrittenValues:
        """Return the values of the records that this envelope settled, without those that were settled before."""
        known = self.values or {}
        keys = [(segment.generation, record) for segment in self.settlement.fresh for record in segment.ids]
        return {key: known[key] for key in keys if key in known}


class Written(Struct, frozen=True):
    """Settlements whose records are being written, and the table entries that follow."""

    settled: list[Settled]
    confirmations: list[Confirmation]
    entries: dict[bytes, tuple[Settled, dict[str, Any]]]
    """Table entries by key, as of the moment when the records were written: later records are not counted yet."""


class OutcomeRecorder:
    """Writes table entries once the records that they count are confirmed, and then concludes the work on the records.

    Entries of a worker that has lost a partition without knowing it are overruled (`OwnedTable`). The message of an
    envelope that came by the bus comes again then. An envelope that was handed on in memory has no message there, so
    its work is concluded only when the group's coordinator has confirmed, after the entry was written, that this worker
    is still a member. Otherwise the envelope is sent to the new owner.
    """

    def __init__(
        self,
        bus: Bus,
        outcomes: OwnedTable,
        journeys: RecentEntries,
        letters: RecentEntries,
        clock: Callable[[], float],
        is_member: Callable[[], Awaitable[bool]],
        kept_per_second: int = KEPT_PER_SECOND,
    ) -> None:
        """`is_member` asks the group's coordinator whether this worker owns its partitions.

        `kept_per_second` is the number of journeys that are written to the topic `journeys` in a second, at most.
        """
        self.bus = bus
        self.outcomes = outcomes
        self.letters = letters
        self.clock = clock
        self.held = 0
        """Bytes of the records that were settled and are not concluded."""
        self._is_member = is_member
        self._shown = ShownJourneys(bus, outcomes, journeys, clock, kept_per_second)
        self._written: list[Written] = []
        self._recorded: list[Settled] = []
        """Settlements whose table entries are written."""
        self._recorded_at = 0.0
        self.task: asyncio.Task[None] | None = None
        """The task that writes entries, if there was ever one."""

    def reset(self) -> None:
        """Forget where the latest entries were put. Called when partitions are reassigned."""
        self._shown.reset()
        self.letters.reset()

    def record(self, written: Written) -> None:
        """Have the entries of settlements written."""
        self._written.append(written)
        if self.task is None or self.task.done():
            self.task = asyncio.create_task(self._run())

    def is_current(self, settled: Settled) -> bool:
        """Return whether this worker has owned the partition since; otherwise the new owner settles the records."""
        return settled.epoch is not None and settled.epoch == self.outcomes.epochs.get(settled.origin.partition)

    async def give_back(self, settled: Settled) -> None:
        """Leave a settlement to the new owner of its partition, who is sent what it does not find on the bus."""
        self.held -= settled.size
        if not settled.is_on_bus:
            await self.bus.send(ARRIVALS, settled.envelope.written(), settled.unit)
            settled.unit.release()

    def fail(self, settled: Iterable[Settled], error: Exception) -> None:
        """Have the messages of settlements handled again."""
        for one in settled:
            self.held -= one.size
            one.unit.fail(error)

    async def _run(self) -> None:
        """Write entries and conclude, at most once in `RECORD_SECONDS`.

        Writes follow one another, so that an older entry never replaces a newer one.
        """
        while self._written or self._recorded:
            rest = min(RECORD_SECONDS, self._recorded_at + RECORD_SECONDS - self.clock())
            if rest > 0:
                await asyncio.sleep(rest)
            self._recorded_at = self.clock()
            written, self._written = self._written, []
            settled = [settled for one in written for settled in one.settled]
            confirmations = [confirmation for one in written for confirmation in one.confirmations]
            entries = {key: entry for one in written for key, entry in one.entries.items()}
            try:
                await self._write(Written(settled, confirmations, entries))
            except Exception as error:  # noqa: BLE001 - a defect of Metroline: their messages come again
                self.fail(settled, error)
            else:
                self._recorded += settled
            await self._conclude()

    async def _write(self, written: Written) -> None:
        await all_of(written.confirmations)
        confirmations = [
            await self.outcomes.put(self.bus, one.origin.partition, key, entry)
            for key, (one, entry) in written.entries.items()
            if self.is_current(one)
        ]
        fresh: dict[Origin, list[Segment]] = {}
        ended: list[Ended] = []
        for one in filter(self.is_current, written.settled):
            fresh.setdefault(one.origin, []).extend(one.settlement.fresh)
            ended += [Ended(one.envelope.strategy, one.origin, segment, one.at) for segment in one.settlement.fresh]
        self._shown.keep(ended)
        for origin, segments in fresh.items():
            confirmations += await self._show(origin, segments)
        await all_of(confirmations)

    async def _conclude(self) -> None:
        """Release what is recorded. An epoch never returns: one that counts now counted when the entry was written."""
        recorded, self._recorded = self._recorded, []
        asks = any(not one.is_on_bus and self.is_current(one) for one in recorded)
        is_member = await self._is_member() if asks else True
        for one in recorded:
            if not self.is_current(one):
                await self.give_back(one)
            elif one.is_on_bus or is_member:
                self._release(one)
            else:
                self._recorded.append(one)

    def _release(self, settled: Settled) -> None:
        for segment in settled.settlement.fresh:
            if segment.outcome is not None:
                self.bus.metrics.settled[segment.outcome.ending.value] += len(segment.ids)
                self.bus.metrics.journeys.settled(segment, settled.at)
        self.held -= settled.size
        settled.unit.release()

    async def _show(self, origin: Origin, fresh: list[Segment]) -> list[Confirmation]:
        """Add dead letters to the table of the latest ones, and some journeys to theirs."""
        now = self.clock()
        await self._shown.add(origin, [summary(origin, segment, 0, now) for segment in fresh[-MAX_SHOWN:]])
        letters = [
            summary(origin, segment, place, now)
            for segment in fresh
            if segment.outcome is not None and segment.outcome.ending is Ending.DEAD
            for place in range(min(len(segment.ids), MAX_SHOWN_DEAD))
        ]
        return [await self.letters.put(self.bus, origin.partition, letters[:MAX_SHOWN_DEAD])] if letters else []
