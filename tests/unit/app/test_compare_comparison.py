"""`metroline compare --json`: the result of a comparison for programs."""

from __future__ import annotations

import json

from msgspec.structs import replace

from tests.support.comparisons import comparison, differing, run


def test_the_json_has_the_documented_shape() -> None:
    found = json.loads(json.dumps(comparison(run("signpost")).as_json()))
    assert list(found) == ["line", "records", "broker", "runs", "same_outcome", "differences"]
    assert list(found["runs"][0]) == [
        "strategy",
        "sent",
        "delivered",
        "dropped",
        "dead",
        "duplicates",
        "records_per_second",
        "latency_ms",
        "hops_per_record",
        "bus_messages_per_record",
        "bus_bytes_per_record",
        "cpu_seconds_per_10k",
        "routes",
    ]
    assert found["runs"][0]["latency_ms"] == {"p50": 11.1, "p99": 91.1}
    assert found["runs"][0]["routes"][""] == {"delivered": 0, "dropped": 0, "dead": 700}
    assert (found["same_outcome"], found["differences"]) == (True, [])


def test_latency_that_was_not_measured_is_null() -> None:
    found = comparison(replace(run("signpost"), latency_ms=None)).as_json()
    assert found["runs"][0]["latency_ms"] is None


def test_differences_are_written_beside_the_verdict() -> None:
    found = differing(comparison(), "record 1: ...").as_json()
    assert (found["same_outcome"], found["differences"]) == (False, ["record 1: ..."])


def test_a_run_adds_up_when_every_record_has_one_outcome() -> None:
    assert run("signpost").adds_up
    assert not replace(run("signpost"), dead=765).adds_up
