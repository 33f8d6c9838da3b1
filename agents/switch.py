"""The switch: plans anew, from where the record is, when a stop changed what the plan was built on (Dynamic Router)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from metroline.agents.routers import Router
from metroline.routing.messages.itinerary import Ask, Course
from metroline.routing.records.field_reader import FieldReader
from metroline.routing.rules.table import RuleBook


class Switch(Router):
    address = Ask.SWITCH

    def reader(self, book: RuleBook, after: str) -> FieldReader:
        return book.reader

    def courses(self, book: RuleBook, after: str, records: Sequence[dict[str, Any]]) -> Sequence[Course]:
        return book.plans(after, records)
