"""What conductor, map maker and switch have in common: they read the address and pass the letter on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from metroline.agents.delivery.agent_loop import Carrier
from metroline.agents.delivery.bus import Confirmation
from metroline.routing.errors import MalformedRecord
from metroline.routing.messages.envelope import Envelope, Segment
from metroline.routing.messages.itinerary import Ask, Course, Decision
from metroline.routing.outcome import Cause, Outcome
from metroline.routing.records.field_reader import FieldReader
from metroline.routing.rules.table import RuleBook
from metroline.routing.strategies import NOTHING


class Router(ABC):
    """Decides where the records of an envelope go, and decodes a record only where the table reads it."""

    address: ClassVar[Ask]

    def __init__(self, carrier: Carrier) -> None:
        self.carrier = carrier

    @abstractmethod
    def reader(self, book: RuleBook, after: str) -> FieldReader:
        """Reads what the way of a record that has left `after` depends on."""

    @abstractmethod
    def courses(self, book: RuleBook, after: str, records: Sequence[dict[str, Any]]) -> Sequence[Course]:
        """The ways of records that have just left `after`."""

    async def handle(self, envelope: Envelope) -> list[Confirmation]:
        """Sends each record on, packed with those that go the same way."""
        bus, book = self.carrier.bus, self.carrier.books.books.live
        departures = bus.departures(envelope.strategy, envelope.origin)
        by = self.address.value
        for segment in envelope.segments:
            after = segment.last_stop
            reader = self.reader(book, after)
            if reader.is_blind:
                departures.add(segment, self.courses(book, after, [{}])[0].move(by))
            else:
                departures.add_courses(segment, self._courses(book, after, segment, reader), by)
        return await bus.dispatch(departures)

    def _courses(self, book: RuleBook, after: str, segment: Segment, reader: FieldReader) -> Sequence[Course]:
        try:
            return self.courses(book, after, reader.read_all(segment.lines))
        except MalformedRecord:
            return [self._course(book, after, line, reader) for line in segment.lines]

    def _course(self, book: RuleBook, after: str, line: bytes, reader: FieldReader) -> Course:
        try:
            return self.courses(book, after, [reader.read(line)])[0]
        except MalformedRecord as error:
            return Decision(None, Outcome.dead(Cause.MALFORMED_RECORD, str(error)), None, book.version, NOTHING)
