"""The map maker: plans the whole way at the start and sends the plan with the record (Routing Slip)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from metroline.agents.routers import Router
from metroline.routing.messages.itinerary import Ask, Course
from metroline.routing.records.field_reader import FieldReader
from metroline.routing.rules.table import SOURCE, RuleBook


class MapMaker(Router):
    address = Ask.MAP_MAKER

    def reader(self, book: RuleBook, after: str) -> FieldReader:
        return book.reader

    def courses(self, book: RuleBook, after: str, records: Sequence[dict[str, Any]]) -> Sequence[Course]:
        return book.plans(SOURCE, records)
