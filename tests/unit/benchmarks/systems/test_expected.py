"""The expected result of a workload, and which results count as equal to it."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from benchmarks.systems.expected import WARM_UP, Delivered, Record, make_workload, metrobus
from metroline.agents.lines.metrobus import services
from metroline.agents.services.line import Line
from metroline.app.inputs.lookup_builds import prepare_lookups


def through_the_services(record: Record) -> Record | str:
    """Return the result that the line's own services produce."""
    for stop in (services.contact_point, services.allow_list, services.log):
        record = stop(record)
        if "hold" in record:
            return str(record["hold"])
    return record


def test_the_expected_results_are_those_of_the_services() -> None:
    prepare_lookups(Line.load("metroline.agents.lines.metrobus"))
    messages = make_workload(500).messages
    assert [metrobus(orjson.loads(message)) for message in messages] == [
        through_the_services(orjson.loads(message)) for message in messages
    ]


def test_packed_work_is_the_same_work() -> None:
    single, packed = make_workload(101), make_workload(101, pack=49)
    assert [message.count(b"\n") + 1 for message in packed.messages] == [49, 49, 3]
    assert packed.expected == single.expected
    assert single.expected.records == 101
    assert single.warm_up_expected.records == WARM_UP


def delivered(records: list[Record]) -> Delivered:
    found = Delivered()
    found.add(records)
    return found


def good() -> list[Record]:
    results = (metrobus(orjson.loads(message)) for message in make_workload(50).messages)
    return [result for result in results if not isinstance(result, str)]


def test_the_same_records_in_another_order_are_the_same_result() -> None:
    assert delivered(good()[::-1]).problems(make_workload(50).expected) == []


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda records: records[1:], "1 records lost"),
        (lambda records: [records[0] | {"balance": 0}, *records[1:]], "1 records with different content"),
        (lambda records: [*records, records[0] | {"balance": 0}], "1 records with different content"),
        (lambda records: [*records, {"message_id": "a stranger"}], "1 records not expected, for example a stranger"),
    ],
)
def test_a_result_that_differs_is_reported(spoil: Any, said: str) -> None:
    (problem,) = delivered(spoil(good())).problems(make_workload(50).expected)
    assert said in problem


def test_repeated_records_are_counted_separately() -> None:
    records = good()
    found = delivered([*records, records[0], records[0]])
    assert found.problems(make_workload(50).expected) == []
    assert found.repeated == 2
