"""`metroline compare --json`: the result of a comparison for programs."""

from __future__ import annotations

import json

from msgspec.structs import replace

from metroline.app.compare.comparison import Pace
from tests.support.comparisons import comparison, differing, run

BEHIND = Pace(rate=3_000.0, share=0.41, behind_seconds=4.13, growing=True)


def test_the_json_has_the_documented_shape() -> None:
    found = json.loads(json.dumps(comparison(run("signpost")).as_json()))
    assert list(found) == ["line", "records", "broker", "runs", "same_outcome", "differences", "unsteady"]
    assert list(found["runs"][0]) == [
        "strategy",
        "chaining",
        "sent",
        "delivered",
        "dropped",
        "dead",
        "duplicates",
        "records_per_second",
        "latency_ms",
        "pace",
        "highest_rate",
        "hops_per_record",
        "bus_messages_per_record",
        "bus_bytes_per_record",
        "cpu_seconds_per_10k",
        "routes",
        "ends",
    ]
    assert found["runs"][0]["latency_ms"] == {"p50": 11.1, "p99": 91.1}
    assert found["runs"][0]["routes"][""] == {"delivered": 0, "dropped": 0, "dead": 700}
    assert (found["same_outcome"], found["differences"]) == (True, [])


def test_latency_that_was_not_measured_is_null() -> None:
    found = comparison(replace(run("signpost"), latency_ms=None)).as_json()
    assert found["runs"][0]["latency_ms"] is None


def test_a_pace_is_written_in_full() -> None:
    found = comparison(replace(run("signpost"), pace=BEHIND)).as_json()
    assert found["runs"][0]["pace"] == {"rate": 3_000.0, "share": 0.41, "behind_seconds": 4.13, "growing": True}


def test_a_strategy_that_did_not_keep_up_is_a_finding_in_words() -> None:
    found = comparison(replace(run("signpost"), pace=BEHIND), replace(run("conductor"), pace=Pace(100, 1, 0, False)))
    assert found.findings() == [
        "signpost did not keep up with 3,000 records/s: 41 % of the records had an outcome in time; behind by 4.1 s, "
        "growing"
    ]
    assert found.same_outcome, "a finding, not a difference"


def test_a_strategy_that_held_no_rate_is_a_finding() -> None:
    runs = (replace(run("signpost", chaining=True), highest_rate=0.0), replace(run("conductor"), highest_rate=300.0))
    assert comparison(*runs).findings() == ["signpost, chained held no rate that was tried"]


def test_a_few_records_that_wait_for_another_attempt_are_not_a_delay() -> None:
    assert Pace(100, 0.98, 0.1, growing=False).kept_up
    assert not Pace(100, 0.98, 0.1, growing=True).kept_up
    assert not Pace(100, 0.6, 2.0, growing=False).kept_up


def test_a_strategy_with_chaining_and_without_is_one_strategy() -> None:
    both = comparison(run("signpost"), run("signpost", chaining=True), run("conductor"))
    assert both.strategies == 2
    assert [each.name for each in both.runs] == ["signpost", "signpost, chained", "conductor"]


def test_differences_are_written_beside_the_verdict() -> None:
    found = differing(comparison(), "record 1: ...").as_json()
    assert (found["same_outcome"], found["differences"]) == (False, ["record 1: ..."])


def test_a_run_adds_up_when_every_record_has_one_outcome() -> None:
    assert run("signpost").adds_up
    assert not replace(run("signpost"), dead=765).adds_up
