"""Figures at a rate: latency from the due time, the share delivered, and the check of what was delivered."""

from __future__ import annotations

import orjson
import pytest

from benchmarks.live.measured import Measured, is_complete, is_held
from benchmarks.live.stream import Stream, stamped
from benchmarks.systems.expected import Record
from benchmarks.systems.trial import TrialFailed

STREAM = Stream.make(lambda record: record, pool=10)
RATE, STARTED_AT = 100.0, 1_000.0


def sent(numbers: range) -> list[Record]:
    return [orjson.loads(message) for message, _ in stamped(STREAM.lines, numbers, RATE, STARTED_AT)]


def test_a_record_carries_the_time_at_which_it_is_due() -> None:
    records = sent(range(5, 25))
    assert [record["number"] for record in records] == list(range(5, 25))
    assert [record["due"] for record in records[:3]] == pytest.approx([1_000.0, 1_000.01, 1_000.02])


def test_the_pool_begins_again() -> None:
    first, *_, again = sent(range(11))
    assert first["message_id"] == again["message_id"]


def test_latency_counts_from_the_due_time() -> None:
    measured = Measured(STREAM, range(2))
    first, second = sent(range(2))
    measured.add([first], 1_000.5)
    measured.add([second], 1_000.02)
    assert measured.seen == {0: pytest.approx(500.0), 1: pytest.approx(10.0)}


def test_records_before_the_measurement_and_repeated_ones_do_not_count() -> None:
    measured = Measured(STREAM, range(2, 4))
    measured.add(sent(range(4)), 1_001.0)
    measured.add(sent(range(2, 3)), 1_002.0)
    figures = measured.figures()
    assert (figures["share"], figures["repeated"]) == (1.0, 1)


def test_what_did_not_come_in_time_is_missing_from_the_share() -> None:
    measured = Measured(STREAM, range(4))
    measured.add(sent(range(1)), 1_000.0)
    figures = measured.figures()
    assert figures == {"share": 0.25, "repeated": 0}, "one record has no percentiles"
    assert not is_complete(figures)
    assert not is_held(figures)


def test_dropped_records_are_not_missing() -> None:
    stream = Stream.make(lambda record: "dropped" if record["account_number"] % 2 else record, pool=10)
    assert 0 < stream.delivered_of(range(10)) < 10


@pytest.mark.parametrize(("p99", "held"), [(500.0, True), (500.1, False)])
def test_a_rate_is_held_with_a_p99_of_at_most_half_a_second(p99: float, held: bool) -> None:
    assert is_held({"share": 1.0, "p99": p99}) is held


def test_changed_content_ends_the_measurement() -> None:
    (record,) = sent(range(1))
    with pytest.raises(TrialFailed, match="record 0 was delivered with different content"):
        Measured(STREAM, range(1)).add([record | {"balance": -1}], 1_000.0)
