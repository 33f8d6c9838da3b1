"""A pulse is read as it was written, and what is none is refused."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from msgspec.structs import replace

from metroline.agents.delivery.entry_counts import EntryCount
from metroline.agents.delivery.journey_metrics import MAX_SERIES as MAX_COUNTED
from metroline.agents.delivery.journey_metrics import JourneyMetrics
from metroline.agents.delivery.metrics import WorkerMetrics
from metroline.agents.membership.signatures import Signatures
from metroline.agents.pulses.pulse import (
    MAX_BUCKETS,
    MAX_BYTES,
    MAX_PARTITIONS,
    MAX_PLACES,
    MAX_PROBLEMS,
    MAX_SERIES,
    EndedSum,
    NotAPulse,
    OutcomeSum,
    PlaceFigures,
    Pulse,
    RuleSum,
    TrackSum,
)
from metroline.agents.pulses.pulse_figures import lean, outcomes_of, places_of, rules_of, sent_of, tracks_of

KEY = "a key of sixteen or more"
OPEN, SIGNED = Signatures("line.pulses", None), Signatures("line.pulses", KEY)
PULSE = Pulse(
    worker="line@all/http://here:6066/1",
    url="http://here:6066",
    group="line@all",
    parts=("arrivals",),
    strategy="signpost",
    version=2,
    started=1.25,
    at=0.1 + 0.2,
    places={"service.rate": PlaceFigures(waiting=3, times=(1, 2))},
    outcomes=(OutcomeSum("dead", "rate", "timeout", 7),),
    ended=(EndedSum(0, 1, 2, 3, 4),),
)


@pytest.mark.parametrize("signatures", [OPEN, SIGNED])
def test_a_pulse_is_read_as_it_was_written(signatures: Signatures) -> None:
    assert Pulse.decode(PULSE.encode(signatures), signatures) == PULSE


@pytest.mark.parametrize(
    "written",
    [OPEN, Signatures("line.pulses", "another key of that length"), Signatures("other.pulses", KEY)],
)
def test_a_pulse_that_is_not_signed_for_this_line_is_refused(written: Signatures) -> None:
    with pytest.raises(NotAPulse, match="not signed with CLUSTER_KEY"):
        Pulse.decode(PULSE.encode(written), SIGNED)


def test_a_pulse_that_was_changed_is_refused() -> None:
    told = orjson.loads(PULSE.encode(SIGNED))
    told["places"]["service.rate"]["waiting"] = 0
    with pytest.raises(NotAPulse, match="not signed"):
        Pulse.decode(orjson.dumps(told), SIGNED)


@pytest.mark.parametrize(
    "value",
    [
        *(None, b"", b"{", b"[]", b"7", b'"text"', b"{}", b"\xff", b"x" * (MAX_BYTES + 1)),
        PULSE.encode(OPEN).replace(b'"version":2', b'"version":-2'),
        PULSE.encode(OPEN).replace(b'"started":1.25', b'"started":"now"'),
        PULSE.encode(OPEN).replace(b'"waiting":3', b'"waiting":3.5'),
        PULSE.encode(OPEN).replace(b"signpost", b"s" * 1_000),
        PULSE.encode(OPEN).replace(b'"started":1.25', b'"started":1e300'),
    ],
)
def test_what_is_no_pulse_is_refused(value: bytes | None) -> None:
    with pytest.raises(NotAPulse):
        Pulse.decode(value, OPEN)


def test_many_kinds_of_outcomes_leave_a_pulse_small_and_its_sum_right() -> None:
    journeys = JourneyMetrics()
    for number in range(MAX_COUNTED):
        journeys.outcomes["dead", f"stop{number}", "timeout", ""] += 1 + number
        journeys.outcomes["delivered", f"stop{number}", "", "here"] += 2
        journeys.outcomes["delivered", f"stop{number}", "", "there"] += 1
    told = outcomes_of(journeys)
    assert len(told) <= MAX_SERIES + 3
    for ending in ("dead", "delivered"):
        counted = sum(count for labels, count in journeys.outcomes.items() if labels[0] == ending)
        assert sum(one.count for one in told if one.ending == ending) == counted


@pytest.mark.parametrize("url", ["http://here:6066/path", "javascript:alert(1)", "http://ann:x@here:6066", "here"])
def test_a_pulse_whose_url_is_no_address_of_a_web_server_is_refused(url: str) -> None:
    with pytest.raises(NotAPulse, match="not the address of a web server"):
        Pulse.decode(replace(PULSE, url=url).encode(OPEN), OPEN)


@pytest.mark.parametrize(
    "figures",
    [
        {"parts": ("p",) * (MAX_PLACES + 1)},
        {"problems": ("p",) * (MAX_PROBLEMS + 1)},
        {"places": {f"service.{number}": PlaceFigures() for number in range(MAX_PLACES + 1)}},
        {"places": {"service.rate": PlaceFigures(times=(1,) * (MAX_BUCKETS + 1))}},
        {"tracks": (TrackSum("a", "b", False, 1),) * (MAX_SERIES + 1)},
        {"rules": (RuleSum("a", 1),) * (MAX_SERIES + 1)},
        {"ended": (EndedSum(0, 1, 2, 3, 4),) * (MAX_PARTITIONS + 1)},
    ],
)
def test_a_pulse_with_more_than_a_worker_sends_is_refused(figures: dict[str, Any]) -> None:
    with pytest.raises(NotAPulse, match="length <="):
        Pulse.decode(replace(PULSE, **figures).encode(OPEN), OPEN)


def test_strange_names_and_great_numbers_of_them_leave_a_pulse_that_is_read() -> None:
    metrics = WorkerMetrics()
    names = ["long" * 1_000, "half a character \ud800", *(f"stop{number}" for number in range(MAX_PLACES * 2))]
    for name in names:
        metrics.journeys.outcomes["dead", name, name, ""] += 1
        metrics.journeys.routes[(name,), name] += 1
        metrics.journeys.rule_hits[name] += 1
    told = replace(
        PULSE,
        places=places_of(metrics, {"service.rate": 7}, {}, {"service.rate": 12.5}, dict.fromkeys(names, "why")),
        outcomes=outcomes_of(metrics.journeys),
        tracks=tracks_of(metrics.journeys),
        rules=rules_of(metrics.journeys),
        sent=sent_of({partition: EntryCount(1, 0) for partition in range(MAX_PARTITIONS * 2)}),
    )
    read = Pulse.decode(told.encode(OPEN), OPEN)
    assert read == told
    assert len(read.places) == MAX_PLACES
    assert read.places["service.rate"] == PlaceFigures(waiting=7, since=12.5)


def test_many_long_names_leave_a_pulse_that_is_sent_with_right_sums() -> None:
    names = [f"{number}\x00" * 60 for number in range(100, 100 + MAX_SERIES)]
    told = replace(
        PULSE,
        places={"service.rate": PlaceFigures(waiting=7)} | {name: PlaceFigures() for name in names},
        outcomes=(
            OutcomeSum("dead", "rate", "timeout", 7),
            *(OutcomeSum("dead", name, "timeout", 2) for name in names),
        ),
        tracks=tuple(TrackSum(name, name, False, 1) for name in names),
    )
    assert len(told.encode(OPEN)) > MAX_BYTES
    read = Pulse.decode(lean(told).encode(OPEN), OPEN)
    assert read.places == {"service.rate": PlaceFigures(waiting=7)}
    assert [one.count for one in read.outcomes] == [7, 2 * MAX_SERIES]
