"""The agent of the arrivals, which settles every outcome once and has it written to the topic of its ending."""

from __future__ import annotations

from collections import OrderedDict
from weakref import WeakValueDictionary

from metroline.agents.delivery.agent_loop import AgentLoop
from metroline.agents.delivery.unit_of_work import UnitOfWork, confirmed_unit
from metroline.agents.outcome_writer import OutcomeWriter
from metroline.agents.tables.live_rules import LiveRules
from metroline.agents.tables.owned_table import OwnedTable
from metroline.routing.journeys.arrival import Settlement, settle
from metroline.routing.journeys.departures import Departures
from metroline.routing.journeys.settlement import SettledBlock
from metroline.routing.messages.envelope import Envelope

MAX_DECODED = 256
"""Maximum number of blocks that are kept decoded."""


class Arrivals:
    """Settles outcomes. The first outcome of a record counts; later ones are counted as duplicates."""

    def __init__(self, agent_loop: AgentLoop, rules: LiveRules, outcomes: OwnedTable, writer: OutcomeWriter) -> None:
        self.bus = agent_loop.bus
        self.clock = agent_loop.clock
        self.rules = rules
        self.outcomes = outcomes
        self.writer = writer
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

        The next envelope is handled while the records and table entries of this one are being written.
        """
        for part in envelope.by_partition():
            departures = self.bus.departures(part)
            settlement, epoch = self._settle(part, departures)
            reopened, replayed = confirmed_unit(self.bus.work_time) if departures.by_address else (None, None)
            self.writer.write(part, settlement, epoch, unit, replayed=replayed, is_on_bus=True)
            if reopened is not None:
                await self.bus.dispatch_by_bus(departures, reopened)
                reopened.release()

    async def handle_in_memory(self, envelope: Envelope, unit: UnitOfWork) -> None:
        """Settle the records of an envelope that was not written to the bus, as `handle` does."""
        for part in envelope.by_partition():
            settlement, epoch = self._settle(part, self.bus.departures(part))
            self.writer.write(part, settlement, epoch, unit, is_on_bus=False)

    def accepts(self, partition: int) -> bool:
        """Return whether this worker settles the records of a partition, and has room for more."""
        return partition in self.outcomes.epochs and self.writer.has_room

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
