"""The largest record: the same under every strategy, on its way in and as a service returns it."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from metroline.agents.services.service import Record
from metroline.routing.addresses import SOURCE
from metroline.routing.journeys.departures import Departures, Limits
from metroline.routing.journeys.entry import enter
from metroline.routing.messages.record_ids import Origin
from metroline.routing.outcome import Cause
from metroline.routing.rules.table import RulesTable
from metroline.routing.strategies import STRATEGIES, RuleTables, strategy_named
from tests.support.bench import RULES, Bench, envelope, segments_of

LIMITS = Limits(message_bytes=200_000, pack_bytes=50_000)
MARGIN = len(orjson.dumps({"size": 1, "text": ""})) + 1
"""Bytes of a record besides its text, with its newline."""


def record(size: int) -> Record:
    """Return a record that takes `size` bytes."""
    return {"size": 1, "text": "x" * (size - MARGIN)}


def causes(segments: Any) -> list[tuple[Cause | None, str]]:
    return [(one.outcome.cause, one.outcome.detail) for one in segments if one.outcome is not None]


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
@pytest.mark.parametrize(("over", "detail"), [(0, None), (1, "the record has 150001 bytes, the maximum is 150000")])
def test_on_its_way_in(strategy: str, over: int, detail: str | None) -> None:
    tables = RuleTables(RulesTable.parse(RULES), RulesTable.parse(RULES))
    departures = Departures(strategy, Origin(SOURCE, 0), record_bytes=LIMITS.record_bytes)
    value = orjson.dumps(record(LIMITS.record_bytes + over))
    enter(departures, [0], [value], strategy_named(strategy), tables, now=0.0)

    segments = [segment for each in departures.by_address.values() for segment in each]
    assert causes(segments) == ([] if detail is None else [(Cause.TOO_LARGE, detail)])
    assert [len(segment.lines[0]) < len(value) for segment in segments] == [detail is not None]
    assert all(len(one.encode()) <= LIMITS.message_bytes for _, one in departures.packs(LIMITS))


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
@pytest.mark.parametrize("over", [0, 1])
async def test_as_a_service_returns_it(strategy: str, over: int) -> None:
    bench = Bench.make(LIMITS, strategy)
    stop = bench.stop(lambda own: record(LIMITS.record_bytes + over) if own["size"] == 2 else own)
    await bench.complete(stop.handle, envelope({"size": 1}, {"size": 2}, {"size": 3}, strategy=strategy))

    segments = list(segments_of(bench.producer.sent))
    detail = "the record has 150001 bytes, the maximum is 150000"
    assert causes(segments) == ([(Cause.TOO_LARGE, detail)] if over else [])
    assert all(segment.stops == ("a",) for segment in segments)
    assert sorted(one for segment in segments for one in segment.ids) == [0, 1, 2]
