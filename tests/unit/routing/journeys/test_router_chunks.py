"""Conductor, map maker and switch let other tasks run between records whose rules take long, and split no pack."""

from __future__ import annotations

from itertools import count

import pytest

from metroline.routing.journeys.deciders import ROUTERS, route_in_chunks
from metroline.routing.journeys.departures import Departures
from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.record_ids import Origin
from metroline.routing.messages.segment import Segment
from metroline.routing.rules.table import RulesTable

ORIGIN = Origin("source", 0)
TABLE = RulesTable.parse('[[rules]]\nafter = "source"\nwhen = "n >= 0"\nto = "a"\n', 1)


@pytest.mark.parametrize("router", ROUTERS)
@pytest.mark.parametrize(("seconds", "chunks"), [(0.05, 20), (0.0, 5)])
def test_records_are_decided_about_in_chunks_and_leave_together(router: str, seconds: float, chunks: int) -> None:
    lines = tuple(b'{"n":%d}' % number for number in range(20))
    departures, times = Departures("conductor", ORIGIN), count(0.0, seconds)
    envelope = Envelope("conductor", ORIGIN, (Segment(tuple(range(20)), lines, 0.0),))
    assert sum(1 for _ in route_in_chunks(departures, ROUTERS[router], envelope, TABLE, lambda: next(times))) == chunks
    [segment] = departures.by_address["service.a"]
    assert segment.lines == lines
