"""The switch: plans anew, from where the record is, when a stop changed what the plan was built on (Dynamic Router)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from metroline.agents.routers import Router
from metroline.routing.messages.itinerary import Decider, NextStep
from metroline.routing.records.field_reader import FieldReader
from metroline.routing.rules.table import RulesTable


class Switch(Router):
    address = Decider.SWITCH

    def reader(self, book: RulesTable, after: str) -> FieldReader:
        return book.reader

    def next_steps(self, book: RulesTable, after: str, records: Sequence[dict[str, Any]]) -> Sequence[NextStep]:
        return book.plans(after, records)
