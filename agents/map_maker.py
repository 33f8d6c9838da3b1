"""The map maker: plans the whole way at the start and sends the plan with the record (Routing Slip)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from metroline.agents.routers import Router
from metroline.routing.addresses import SOURCE
from metroline.routing.messages.itinerary import Decider, NextStep
from metroline.routing.records.field_reader import FieldReader
from metroline.routing.rules.table import RulesTable


class MapMaker(Router):
    address = Decider.MAP_MAKER

    def reader(self, book: RulesTable, after: str) -> FieldReader:
        return book.reader

    def next_steps(self, book: RulesTable, after: str, records: Sequence[dict[str, Any]]) -> Sequence[NextStep]:
        return book.plans(SOURCE, records)
