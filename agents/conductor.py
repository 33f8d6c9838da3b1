"""The conductor: asked at the start and after every stop, it consults the live table each time (Process Manager)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from metroline.agents.routers import Router
from metroline.routing.messages.itinerary import Ask, Course
from metroline.routing.records.field_reader import FieldReader
from metroline.routing.rules.table import RuleBook


class Conductor(Router):
    address = Ask.CONDUCTOR

    def reader(self, book: RuleBook, after: str) -> FieldReader:
        return book.junction(after).reader

    def courses(self, book: RuleBook, after: str, records: Sequence[dict[str, Any]]) -> Sequence[Course]:
        return book.junction(after).decide(records)
