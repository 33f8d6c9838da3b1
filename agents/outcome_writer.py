"""Writes settled records to their topics and, once they are confirmed, the table entries that count them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from metroline.agents.delivery.bus import Bus
from metroline.agents.kafka.producer import Confirmation, all_of
from metroline.agents.tables.latest import RecentEntries
from metroline.agents.tables.owned_table import OwnedTable
from metroline.routing.addresses import DEAD_LETTERS, DELIVERED
from metroline.routing.journeys.arrival import Settlement
from metroline.routing.journeys.summary import summary
from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.record_ids import Origin
from metroline.routing.messages.segment import Segment
from metroline.routing.outcome import Ending

MAX_SHOWN, MAX_SHOWN_DEAD = 3, 30
"""Maximum number of journeys, and of dead letters, that are added to the tables of the latest ones at once."""

OUTCOME_TOPICS = {Ending.DELIVERED: DELIVERED, Ending.DEAD: DEAD_LETTERS}
"""The addresses to which records are written, by ending. Dropped records are only counted."""


@dataclass(frozen=True, slots=True)
class _Settled:
    """The settlement of one envelope whose records are being written and whose table entries are still to follow."""

    origin: Origin
    written: list[Confirmation]
    entries: dict[bytes, dict[str, Any]]
    sample: list[Segment]
    """Some of the records, for the tables of the latest journeys."""
    epoch: int | None
    """Epoch of the table's partition at the time of the settlement; None if this worker did not own the partition."""
    recorded: Confirmation = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class OutcomeWriter:
    """Writes the records that the arrivals settle, and then their counts.

    After a crash between the two, the records are written again and counted once. In the opposite order they would be
    lost.
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
        self.journeys = journeys
        self.letters = letters
        self.clock = clock
        self._waiting: list[_Settled] = []
        self._task: asyncio.Task[None] | None = None

    def reset(self) -> None:
        """Forget where the latest entries were put. Called when partitions are reassigned."""
        self.journeys.reset()
        self.letters.reset()

    async def write(
        self, envelope: Envelope, settlement: Settlement, replayed: list[Confirmation], epoch: int | None
    ) -> Confirmation:
        """Start to write a settlement; return the confirmation that its table entries are written.

        `replayed` are the confirmations of the dead letters that the envelope restarted. `epoch` is that of the
        table's partition at the time of the settlement.
        """
        written = [
            await self._write_records(address, envelope, segments)
            for ending, address in OUTCOME_TOPICS.items()
            if (segments := _ending_as(ending, settlement.fresh))
        ]
        entries = {key: block.encode() for key, block in settlement.touched.items()}
        sample = list(map(_sample, settlement.fresh))
        settled = _Settled(envelope.origin, written + replayed, entries, sample, epoch)
        self._waiting.append(settled)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._record())
        return settled.recorded

    async def _write_records(self, address: str, envelope: Envelope, segments: tuple[Segment, ...]) -> Confirmation:
        outgoing = Envelope(envelope.strategy, envelope.origin, segments)
        value = outgoing.encode()
        self.bus.metrics.sent(address, len(outgoing), len(value))
        return await self.bus.produce(self.bus.topics.at(address), envelope.origin.partition, value)

    async def _record(self) -> None:
        """Write the table entries of all waiting settlements, each once its records are confirmed.

        Writes follow one another, so that an older entry never replaces a newer one.
        """
        while self._waiting:
            settled, self._waiting = self._waiting, []
            for one in settled:
                await all_of(one.written)
            entries = {key: (one, entry) for one in settled for key, entry in one.entries.items()}
            confirmations = []
            for key, (one, entry) in entries.items():
                if self._is_current(one):
                    confirmations.append(await self.outcomes.put(self.bus, one.origin.partition, key, entry))
            shown: dict[Origin, list[Segment]] = {}
            for one in filter(self._is_current, settled):
                shown.setdefault(one.origin, []).extend(one.sample)
            for origin, fresh in shown.items():
                confirmations += await self._show(origin, fresh)
            await all_of(confirmations)
            for one in filter(self._is_current, settled):
                one.recorded.set_result(None)

    def _is_current(self, settled: _Settled) -> bool:
        """Return whether this worker has owned the partition since; otherwise the new owner settles the records."""
        return settled.epoch is not None and settled.epoch == self.outcomes.epochs.get(settled.origin.partition)

    async def _show(self, origin: Origin, fresh: list[Segment]) -> list[Confirmation]:
        """Add some of the settled records to the tables of the latest journeys and dead letters."""
        if not fresh:
            return []
        now = self.clock()
        shown = [summary(origin, segment, 0, now) for segment in fresh[:MAX_SHOWN]]
        confirmations = [await self.journeys.put(self.bus, origin.partition, shown)]
        dead = _ending_as(Ending.DEAD, fresh)
        letters = [summary(origin, segment, place, now) for segment in dead for place in range(len(segment.ids))]
        if letters:
            confirmations.append(await self.letters.put(self.bus, origin.partition, letters[:MAX_SHOWN_DEAD]))
        return confirmations


def _ending_as(ending: Ending, segments: list[Segment]) -> tuple[Segment, ...]:
    return tuple(one for one in segments if one.outcome is not None and one.outcome.ending is ending)


def _sample(segment: Segment) -> Segment:
    """Return the part of a segment that may be shown."""
    is_dead = segment.outcome is not None and segment.outcome.ending is Ending.DEAD
    return segment.part(range(min(len(segment.ids), MAX_SHOWN_DEAD if is_dead else 1)))
