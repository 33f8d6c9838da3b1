"""Figures that workers report: traffic of the line only, and times across all workers."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from metroline.app.compare.worker_reports import WorkerReport, cpu_seconds, elapsed


def report(first: float, last: float, cpu: float, *addresses: str) -> WorkerReport:
    traffic = {address: {"messages": 1, "records": 3, "bytes": 100} for address in addresses}
    data: dict[str, Any] = {"traffic": traffic, "settled": {"dead": 1, "delivered": 2}}
    return WorkerReport.of_json(data | {"first": [first, 1.0], "last": [last, 1.0 + cpu]})


def test_time_runs_from_the_first_worker_to_the_last_and_cpu_seconds_add_up() -> None:
    reports = [report(10.0, 14.0, 2.0), report(11.0, 15.0, 3.0)]
    assert elapsed(reports) == 5.0
    assert cpu_seconds(reports) == 5.0
    assert sum(each.records_settled for each in reports) == 6


def test_only_messages_to_stops_deciders_and_arrivals_are_on_the_bus() -> None:
    line = ("service.a", "arrivals", "conductor", "map-maker", "switch")
    assert len(report(0.0, 1.0, 1.0, *line, "dead-letters", "delivered", "workers").on_the_bus()) == len(line)


def test_an_answer_of_another_shape_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError):
        WorkerReport.of_json({"traffic": []})
