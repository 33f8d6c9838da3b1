"""The arrivals: every outcome comes here, is settled once, and is written to the topic of its kind."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from typing import Any

from metroline.agents.delivery.agent_loop import AgentLoop
from metroline.agents.delivery.bus import Confirmation, all_of
from metroline.agents.kafka.topics import DEAD_LETTERS, DELIVERED
from metroline.agents.tables.latest import RecentEntries
from metroline.agents.tables.line_table import OwnedTable
from metroline.routing.errors import MetrolineError
from metroline.routing.journeys.departures import Departures
from metroline.routing.journeys.replay import begin_anew
from metroline.routing.journeys.settlement import SettledBlock, by_block, outcome_key
from metroline.routing.journeys.summary import journey
from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.record_ids import Origin
from metroline.routing.messages.segment import Segment
from metroline.routing.outcome import Ending

CACHED = 256
"""Blocks that are kept decoded."""

SHOWN, SHOWN_DEAD = 3, 30
"""Journeys, and dead letters, that the tables of the latest take at once."""


@dataclass(frozen=True, slots=True)
class _Settled:
    """What came of one envelope: its records as they are being written, and the table entries to write after that."""

    origin: Origin
    written: list[Confirmation]
    entries: dict[bytes, dict[str, Any]]
    sample: list[Segment]
    """Some of the records, to be shown."""
    epoch: int | None
    """The epoch of the table's partition in which it was settled; None where it was not this worker's."""
    recorded: Confirmation = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Arrivals:
    """Settles outcomes: the first that comes for a record wins, later ones are counted as duplicates."""

    def __init__(
        self, agent_loop: AgentLoop, outcomes: OwnedTable, journeys: RecentEntries, letters: RecentEntries
    ) -> None:
        self.agent_loop = agent_loop
        self.outcomes = outcomes
        self.journeys = journeys
        self.letters = letters
        self._blocks: OrderedDict[bytes, SettledBlock] = OrderedDict()
        self._waiting: list[_Settled] = []
        self._writer: asyncio.Task[None] | None = None

    def forget(self) -> None:
        """Called when partitions change hands: what is decoded may be older than the table."""
        self._blocks.clear()
        self.journeys.forget()
        self.letters.forget()

    async def handle(self, envelope: Envelope) -> list[Confirmation]:
        """Settles what an envelope brings; the next one is handled while its records and entries are written."""
        epoch = self.outcomes.epochs.get(envelope.origin.partition)
        fresh: list[Segment] = []
        touched: dict[bytes, SettledBlock] = {}
        anew = self.agent_loop.bus.departures(envelope.strategy, envelope.origin)
        for segment in envelope.segments:
            if segment.reopen is not None:
                self._reopen(envelope.origin, segment, touched, anew)
                continue
            places = self._settle(envelope.origin, segment, touched)
            if places and segment.outcome is not None:
                fresh.append(segment.part(places))
                self.agent_loop.bus.metrics.settled[segment.outcome.ending.value] += len(places)
        written = [
            await self._write(ending, topic, envelope, fresh)
            for ending, topic in ((Ending.DELIVERED, DELIVERED), (Ending.DEAD, DEAD_LETTERS))
            if any(one.outcome is not None and one.outcome.ending is ending for one in fresh)
        ]
        written += await self.agent_loop.bus.dispatch(anew)
        entries = {key: block.encode() for key, block in touched.items()}
        settled = _Settled(envelope.origin, written, entries, list(map(_sample, fresh)), epoch)
        self._waiting.append(settled)
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._record())
        return [settled.recorded]

    async def _write(self, ending: Ending, address: str, envelope: Envelope, fresh: list[Segment]) -> Confirmation:
        bus = self.agent_loop.bus
        segments = tuple(one for one in fresh if one.outcome is not None and one.outcome.ending is ending)
        outgoing = replace(envelope, segments=segments)
        value = outgoing.encode()
        bus.metrics.sent(address, len(outgoing), len(value))
        return await bus.produce(bus.topics.at(address), envelope.origin.partition, value)

    async def _record(self) -> None:
        """Writes the table entries of what waits once its records are written, and then of what has come meanwhile.

        A crash in between repeats the records and counts them once; the other way round would lose them. One write
        follows the other, so that no older entry is written after a newer one.
        """
        while self._waiting:
            settled, self._waiting = self._waiting, []
            for one in settled:
                await all_of(one.written)
            entries = {key: (one, entry) for one in settled for key, entry in one.entries.items()}
            confirmations = []
            for key, (one, entry) in entries.items():
                if self._is_current(one):
                    confirmations.append(await self.outcomes.put(self.agent_loop.bus, one.origin.partition, key, entry))
            shown: dict[Origin, list[Segment]] = {}
            for one in filter(self._is_current, settled):
                shown.setdefault(one.origin, []).extend(one.sample)
            for origin, fresh in shown.items():
                confirmations += await self._show(origin, fresh)
            await all_of(confirmations)
            for one in filter(self._is_current, settled):
                one.recorded.set_result(None)

    def _is_current(self, settled: _Settled) -> bool:
        """Whether its partition has stayed with this worker; what comes of it is otherwise up to who has it now."""
        return settled.epoch is not None and settled.epoch == self.outcomes.epochs.get(settled.origin.partition)

    def _settle(self, origin: Origin, segment: Segment, touched: dict[bytes, SettledBlock]) -> list[int]:
        if segment.outcome is None:
            raise MetrolineError("an envelope without an outcome came to the arrivals")
        kind = outcome_key(segment.last_stop, segment.outcome)
        fresh: list[int] = []
        for number, places in by_block(segment.ids):
            key = f"{origin.partition}/{origin.name}/{number}".encode()
            block = touched[key] = self._block(key)
            first = block.settle([segment.ids[place] for place in places], kind, segment.hops, segment.generation)
            fresh += [places[place] for place in first]
        return fresh

    def _reopen(self, origin: Origin, segment: Segment, touched: dict[bytes, SettledBlock], anew: Departures) -> None:
        """Takes back the outcome of dead letters and sends them on; those that are dead no longer stay as they are."""
        if segment.outcome is None or segment.outcome.ending is not Ending.DEAD:
            raise MetrolineError("what is to begin anew is no dead letter")
        rule_tables, at = self.agent_loop.rule_tables.rule_tables, self.agent_loop.clock()
        begin_anew(replace(anew, by_address={}), rule_tables, segment, at)  # raises before anything is taken back
        kind = outcome_key(segment.last_stop, segment.outcome)
        for number, places in by_block(segment.ids):
            key = f"{origin.partition}/{origin.name}/{number}".encode()
            block = self._block(key)
            opened = block.reopen([segment.ids[place] for place in places], kind, segment.generation)
            if opened:
                touched[key] = block
                begin_anew(anew, rule_tables, segment.part([places[place] for place in opened]), at)

    def _block(self, key: bytes) -> SettledBlock:
        block = self._blocks.get(key)
        if block is None:
            stored = self.outcomes.read(key)
            block = self._blocks[key] = SettledBlock() if stored is None else SettledBlock.decode(stored)
            if len(self._blocks) > CACHED:
                self._blocks.popitem(last=False)
        self._blocks.move_to_end(key)
        return block

    async def _show(self, origin: Origin, fresh: list[Segment]) -> list[Confirmation]:
        """Puts some of what was settled into the tables of the latest."""
        if not fresh:
            return []
        bus, at = self.agent_loop.bus, self.agent_loop.clock()
        shown = [journey(origin, segment, 0, at) for segment in fresh[:SHOWN]]
        confirmations = [await self.journeys.put(bus, origin.partition, shown)]
        dead = [segment for segment in fresh if segment.outcome is not None and segment.outcome.ending is Ending.DEAD]
        letters = [journey(origin, segment, place, at) for segment in dead for place in range(len(segment.ids))]
        if letters:
            confirmations.append(await self.letters.put(bus, origin.partition, letters[:SHOWN_DEAD]))
        return confirmations


def _sample(segment: Segment) -> Segment:
    """As many of a segment's records as may be shown."""
    is_dead = segment.outcome is not None and segment.outcome.ending is Ending.DEAD
    return segment.part(range(min(len(segment.ids), SHOWN_DEAD if is_dead else 1)))
