"""The conductor: asked at the start and after every stop, it consults the live table each time (Process Manager)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from metroline.agents.routers import Router
from metroline.routing.messages.itinerary import Decider, NextStep
from metroline.routing.records.field_reader import FieldReader
from metroline.routing.rules.table import RulesTable


class Conductor(Router):
    address = Decider.CONDUCTOR

    def reader(self, book: RulesTable, after: str) -> FieldReader:
        return book.stop_rules(after).reader

    def next_steps(self, book: RulesTable, after: str, records: Sequence[dict[str, Any]]) -> Sequence[NextStep]:
        return book.stop_rules(after).decide(records)
