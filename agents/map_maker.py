"""The map maker: plans the whole way at the start and sends the plan with the record (Routing Slip)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agents.router import Router
from routing.fields import FieldReader
from routing.itinerary import Ask, Course
from routing.rules import SOURCE, RuleBook


class MapMaker(Router):
    address = Ask.MAP_MAKER

    def reader(self, book: RuleBook, after: str) -> FieldReader:
        return book.reader

    def courses(self, book: RuleBook, after: str, records: Sequence[dict[str, Any]]) -> Sequence[Course]:
        return book.plans(SOURCE, records)
