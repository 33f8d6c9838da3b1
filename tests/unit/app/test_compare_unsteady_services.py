"""A service that answers differently each time is named, and is no difference between strategies."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import count
from typing import Any

import msgspec
import orjson
import pytest

from metroline.agents.services.service import Service, service
from metroline.app.compare.differences import Difference
from metroline.app.compare.repeated_ways import Step, Way
from metroline.app.compare.unsteady_services import explained_by_services
from metroline.app.operations.rehearsal import Rehearsal
from metroline.routing.outcome import Drop
from metroline.routing.rules.table import RulesTable

Record = dict[str, Any]

TABLE = """
[[rules]]
after = "source"
to = "stamp"
[[rules]]
after = "stamp"
to = "price"
"""
clock = count()


@service(name="stamp")
def writes_the_time(record: Record) -> Record:
    return record | {"at": {"seconds": next(clock)}}


@service(name="stamp")
def is_moody(record: Record) -> Record | Drop:
    return Drop("no") if next(clock) % 2 else record


@service(name="stamp")
def is_steady(record: Record) -> Record:
    return record | {"at": {"seconds": 1}}


@service(name="price")
def price(record: Record) -> Record:
    return record | {"total": record.get("at", {}).get("seconds", 0) * 2}


def explained(stamp: Any, *found: Difference) -> tuple[list[Difference], list[str]]:
    made: list[Service] = [stamp.__metroline__, price.__metroline__]  # type: ignore[attr-defined]
    rehearsal = Rehearsal(RulesTable.parse(TABLE), {one.name: one for one in made})

    async def take_again(records: Sequence[bytes]) -> list[Way]:
        ways = [[step.as_json() async for step in rehearsal.explain(record)] for record in records]
        return [msgspec.convert(way, list[Step]) for way in ways]

    async def run() -> tuple[list[Difference], list[str]]:
        sources = {0: orjson.dumps({"n": 1}), 1: b'{"n": 2}'}
        left, unsteady = await explained_by_services(found, sources.get, take_again)
        return left, [one.describe() for one in unsteady]

    return asyncio.run(run())


AT = Difference(("at", "seconds"), ("1", "2"), [0, 1, 7])
TOTAL = Difference(("total",), ("2", "4"), [0, 8])
ENDS = Difference(None, ("stamp, dropped", "delivered"), [0])


def test_the_service_that_writes_another_value_each_time_is_named_once() -> None:
    left, unsteady = explained(writes_the_time, AT, TOTAL)
    assert left == []
    assert unsteady == [
        "the service stamp is not deterministic: it sets at.seconds to other values when it is called again (4 records)"
    ]


def test_a_service_that_answers_otherwise_is_named() -> None:
    left, unsteady = explained(is_moody, ENDS)
    assert left == []
    assert unsteady == [
        "the service stamp is not deterministic: it answers otherwise when it is called again (record 0)"
    ]


@pytest.mark.parametrize("difference", [AT, TOTAL, ENDS])
def test_what_is_the_same_each_time_is_a_difference_between_strategies(difference: Difference) -> None:
    assert explained(is_steady, difference) == ([difference], [])


def test_another_field_than_the_one_that_a_service_writes_anew_is_a_difference() -> None:
    other = Difference(("n",), ("1", "1.0"), [0])
    left, unsteady = explained(writes_the_time, AT, other)
    assert left == [other]
    assert len(unsteady) == 1


def test_without_an_answer_nothing_is_known() -> None:
    async def fails(records: Sequence[bytes]) -> list[Way]:
        return []

    assert asyncio.run(explained_by_services([AT], {0: b"{}"}.get, fails)) == ([AT], [])
