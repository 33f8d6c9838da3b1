"""The agent of the arrivals, which settles every outcome once and has it written to the topic of its ending."""

from __future__ import annotations

from collections import OrderedDict
from weakref import WeakValueDictionary

from metroline.agents.delivery.agent_loop import AgentLoop
from metroline.agents.delivery.unit_of_work import UnitOfWork, confirmed_unit
from metroline.agents.formats.codec import SchemaPending
from metroline.agents.formats.formatted_ends import FormattedEnds
from metroline.agents.outcome_writer import OutcomeWriter
from metroline.agents.tables.live_rules import LiveRules
from metroline.agents.tables.owned_table import OwnedTable
from metroline.agents.tables.plausible_offsets import PlausibleOffsets
from metroline.routing.addresses import ARRIVALS
from metroline.routing.journeys.arrival import Settlement, settle
from metroline.routing.journeys.departures import Departures
from metroline.routing.journeys.settlement import SettledBlock
from metroline.routing.messages.envelope import Envelope

MAX_DECODED = 256
"""Maximum number of blocks that are kept decoded."""


class Arrivals:
    """Settles outcomes. The first outcome of a record counts; later ones are counted as duplicates."""

    def __init__(
        self,
        agent_loop: AgentLoop,
        rules: LiveRules,
        outcomes: OwnedTable,
        writer: OutcomeWriter,
        formats: FormattedEnds | None = None,
        plausible: PlausibleOffsets | None = None,
    ) -> None:
        """`formats` writes delivered records in the formats of their ends; None if all of them are JSON.

        `plausible` refuses records from the bus that cannot be the line's; None if all are settled.
        """
        self.bus = agent_loop.bus
        self.clock = agent_loop.clock
        self.rules = rules
        self.outcomes = outcomes
        self.writer = writer
        self.formats = formats
        self.plausible = plausible
        self._blocks: OrderedDict[bytes, SettledBlock] = OrderedDict()
        self._unwritten: WeakValueDictionary[bytes, SettledBlock] = WeakValueDictionary()
        """The blocks that are still in use, among them all whose entries are yet to be written."""

    def reset(self) -> None:
        """Discard the decoded blocks, which may be older than the table. Called when partitions are reassigned."""
        self._blocks.clear()
        self._unwritten.clear()
        self.writer.recorder.reset()

    async def handle(self, envelope: Envelope, unit: UnitOfWork) -> None:
        """Settle the records of an envelope; the unit of work is held until everything about them is written.

        Raise `ImplausibleOffset`, before anything is settled, if there are records that cannot be the line's.

        The next envelope is handled while the records and table entries of this one are being written. While the schema
        registry is away, this envelope waits for it.
        """
        parts = list(envelope.by_partition())
        if self.plausible is not None:
            for whole in parts:
                await self.plausible.check(whole, self.outcomes.data)
        for whole in parts:
            part, values = whole, None
            if self.formats is not None:
                fitted = await self.formats.written_patiently(whole, unit)
                if fitted is None:
                    return
                part, values = fitted
            departures = self.bus.departures(part)
            settlement, epoch = self._settle(part, departures)
            reopened, replayed = confirmed_unit(self.bus.work_time) if departures.by_address else (None, None)
            self.writer.write(part, settlement, epoch, unit, replayed=replayed, is_on_bus=True, values=values)
            if reopened is not None:
                await self.bus.dispatch_by_bus(departures, reopened)
                reopened.release()

    async def handle_in_memory(self, envelope: Envelope, unit: UnitOfWork) -> None:
        """Settle the records of an envelope that was not written to the bus, as `handle` does.

        While the schema registry is away, they go to the topic of the arrivals, and wait there.
        """
        for whole in envelope.by_partition():
            part, values = whole, None
            try:
                if self.formats is not None:
                    part, values = await self.formats.written(whole)
            except SchemaPending:
                await self.bus.send(ARRIVALS, whole.written(), unit)
                continue
            settlement, epoch = self._settle(part, self.bus.departures(part))
            self.writer.write(part, settlement, epoch, unit, is_on_bus=False, values=values)

    def accepts(self, partition: int) -> bool:
        """Return whether this worker settles the records of a partition, and has room for more."""
        has_schemas = self.formats is None or not self.formats.is_waiting
        return partition in self.outcomes.epochs and self.writer.has_room and has_schemas

    def _settle(self, envelope: Envelope, departures: Departures) -> tuple[Settlement, int | None]:
        """Settle an envelope; return what it changed and the epoch of the table's partition."""
        epoch = self.outcomes.epochs.get(envelope.origin.partition)
        ends = self.writer.ends.ends
        settlement = settle(envelope, self._block, departures, self.rules.rule_tables, self.clock(), ends)
        return settlement, epoch

    def _block(self, key: bytes) -> SettledBlock:
        block = self._blocks.get(key)
        if block is None:
            block = self._unwritten.get(key)
        if block is None:
            stored = self.outcomes.read(key)
            block = SettledBlock() if stored is None else SettledBlock.decode(stored)
            self._unwritten[key] = block
        self._blocks[key] = block
        self._blocks.move_to_end(key)
        if len(self._blocks) > MAX_DECODED:
            self._blocks.popitem(last=False)
        return block
