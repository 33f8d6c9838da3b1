"""What conductor, map maker and switch have in common: they read the address and pass the letter on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from metroline.agents.delivery.agent_loop import AgentLoop
from metroline.agents.delivery.bus import Confirmation
from metroline.routing.errors import MalformedRecord
from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.itinerary import Decider, Decision, NextStep
from metroline.routing.messages.segment import Segment
from metroline.routing.outcome import Cause, Outcome
from metroline.routing.records.field_reader import FieldReader
from metroline.routing.records.field_sets import NOTHING
from metroline.routing.rules.table import RulesTable


class Router(ABC):
    """Decides where the records of an envelope go, and decodes a record only where the table reads it."""

    address: ClassVar[Decider]

    def __init__(self, agent_loop: AgentLoop) -> None:
        self.agent_loop = agent_loop

    @abstractmethod
    def reader(self, book: RulesTable, after: str) -> FieldReader:
        """Reads what the way of a record that has left `after` depends on."""

    @abstractmethod
    def next_steps(self, book: RulesTable, after: str, records: Sequence[dict[str, Any]]) -> Sequence[NextStep]:
        """The ways of records that have just left `after`."""

    async def handle(self, envelope: Envelope) -> list[Confirmation]:
        """Sends each record on, packed with those that go the same way."""
        bus, book = self.agent_loop.bus, self.agent_loop.rule_tables.rule_tables.live
        departures = bus.departures(envelope.strategy, envelope.origin)
        by = self.address.value
        for segment in envelope.segments:
            after = segment.last_stop
            reader = self.reader(book, after)
            if reader.is_blind:
                departures.add(segment, self.next_steps(book, after, [{}])[0].move(by))
            else:
                departures.add_next_steps(segment, self._next_steps(book, after, segment, reader), by)
        return await bus.dispatch(departures)

    def _next_steps(self, book: RulesTable, after: str, segment: Segment, reader: FieldReader) -> Sequence[NextStep]:
        try:
            return self.next_steps(book, after, reader.read_all(segment.lines))
        except MalformedRecord:
            return [self._next_step(book, after, line, reader) for line in segment.lines]

    def _next_step(self, book: RulesTable, after: str, line: bytes, reader: FieldReader) -> NextStep:
        try:
            return self.next_steps(book, after, [reader.read(line)])[0]
        except MalformedRecord as error:
            return Decision(None, Outcome.dead(Cause.MALFORMED_RECORD, str(error)), None, book.version, NOTHING)
