"""A pulse is read as it was written, and what is none is refused."""

from __future__ import annotations

import orjson
import pytest

from metroline.agents.delivery.journey_metrics import MAX_SERIES as MAX_COUNTED
from metroline.agents.delivery.journey_metrics import JourneyMetrics
from metroline.agents.membership.signatures import Signatures
from metroline.agents.pulses.pulse import MAX_BYTES, MAX_SERIES, EndedSum, NotAPulse, OutcomeSum, PlaceFigures, Pulse
from metroline.agents.pulses.pulse_figures import outcomes_of

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
