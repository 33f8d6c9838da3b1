"""Differences between strategies: which record, which field, which values, once for all records alike."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from msgspec.structs import replace

from metroline.app.compare import final_records
from metroline.app.compare.differences import LISTED, Compared, LeftOut, differences, listed, wrong_sums
from metroline.app.compare.evidence import Evidence, RecordOutcome
from metroline.app.compare.final_records import AllRecords, DifferingRecords
from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.record_ids import Origin
from metroline.routing.messages.segment import Segment
from metroline.routing.outcome import Cause, Ending, Outcome
from tests.support.comparisons import run

SHIPPED = RecordOutcome(("price", "ship"), Ending.DELIVERED, None)
TOO_SMALL = RecordOutcome(("price",), Ending.DROPPED, "too small")

NAMES = ("hard_wired", "conductor", "signpost")

Outcomes = Sequence[tuple[RecordOutcome | None, Any]]


class Kept(dict[int, bytes]):
    """The final records of the first run."""

    def take(self, index: int, line: bytes, evidence: Evidence) -> None:
        self[index] = line

    def line(self, index: int) -> bytes | None:
        return self.get(index)


def compared(*runs: Outcomes) -> list[Compared]:
    """Return runs with these outcomes and contents."""
    made: list[Compared] = []
    for name, outcomes in zip(NAMES, runs, strict=False):
        evidence = Evidence(len(outcomes))
        kept = DifferingRecords(made[0].evidence) if made else Kept()
        for index, (outcome, content) in reversed(list(enumerate(outcomes))):
            if outcome is not None:
                line = orjson.dumps(content)
                evidence.add(index, outcome, line)
                kept.take(index, line, evidence)
        made.append(Compared(name, evidence, kept))
    return made


def told(*runs: Outcomes, source: Any = None) -> list[str]:
    found, left_out = differences(compared(*runs))
    assert left_out == LeftOut()
    return list(listed(found, NAMES[: len(runs)], lambda index: source))


def shipped(*contents: Any) -> Outcomes:
    return [(SHIPPED, content) for content in contents]


def dead(cause: Cause, detail: str, stop: str = "") -> RecordOutcome:
    outcome = Outcome.dead(cause, detail)
    segment = Segment((0,), (b"{}",), 0.0, outcome=outcome)
    return RecordOutcome.of(Envelope("signpost", Origin("source", 0), (segment,)), segment, outcome)


def test_the_same_outcomes_and_contents_differ_in_nothing() -> None:
    assert told(shipped({"a": 1, "b": 2}), shipped({"b": 2, "a": 1})) == []


def test_another_outcome_is_named_with_the_index_of_its_record() -> None:
    assert told([(SHIPPED, {}), (SHIPPED, {})], [(SHIPPED, {}), (TOO_SMALL, {"n": 1})]) == [
        "record 1: price > ship, delivered under hard_wired, price, dropped (too small) under conductor"
    ]


def test_a_record_that_never_came_has_no_outcome() -> None:
    assert told([(SHIPPED, {})], [(None, {})]) == [
        "record 0: price > ship, delivered under hard_wired, no outcome under conductor"
    ]


def test_the_field_that_differs_is_named_with_its_values_and_that_in_the_source() -> None:
    assert told(
        shipped({"total": 12, "same": 1}),
        shipped({"total": 12.0, "same": 1}),
        shipped({"total": 12, "same": 1}),
        source={"total": 5},
    ) == ["record 0: total is 12 under hard_wired and signpost, 12.0 under conductor; in the source: 5"]


def test_nested_and_absent_values_are_named_by_their_path() -> None:
    assert told(
        shipped({"a": {"b": [1, {"c": 2}]}, "gone": 1}),
        shipped({"a": {"b": [1, {"c": 3}]}}),
        source={"a": {"b": []}},
    ) == [
        "record 0: a.b[1].c is 2 under hard_wired, 3 under conductor; in the source: absent",
        "record 0: gone is 1 under hard_wired, absent under conductor; in the source: absent",
    ]


def test_records_that_differ_alike_are_one_line() -> None:
    assert told(
        shipped(*({"n": number} for number in range(20))),
        shipped(*({"n": float(number)} for number in range(20))),
        shipped(*({"n": float(number)} for number in range(20))),
        source={"n": "0"},
    ) == [
        'record 0: n is 0 under hard_wired, 0.0 under conductor and signpost; in the source: "0"'
        " (20 records: 0, 1, 2, 3, 4, ...)"
    ]


def test_many_groups_are_listed_in_part_and_their_records_are_counted() -> None:
    found = told(
        shipped(*({f"f{number}": 1} for number in range(50))), shipped(*({f"f{number}": 2} for number in range(50)))
    )
    assert len(found) == LISTED + 1
    assert found[-1] == f"{50 - LISTED} more records differ between the strategies"


def test_numbers_in_the_reason_of_a_dead_letter_are_no_difference() -> None:
    one, other = (dead(Cause.TOO_LARGE, f"the message would have {size} bytes") for size in (2_500_100, 2_500_200))
    assert told([(one, {})], [(other, {})]) == []
    assert len(told([(one, {})], [(dead(Cause.TIMEOUT, "no answer within 1 s"), {})])) == 1


def test_too_many_differing_records_are_counted_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(final_records, "MAX_KEPT", 10)
    runs = compared(
        [(SHIPPED, {"n": 1})] * 30,
        [(SHIPPED, {"n": 2})] * 20 + [(TOO_SMALL, {"n": 2})] * 10,
        [(SHIPPED, {"n": 1})] * 30,
    )
    [group], left_out = differences(runs)
    assert group.indexes == list(range(10))
    assert left_out == LeftOut(outcomes=10, contents=10)


def test_the_first_outcome_of_a_record_counts() -> None:
    [found] = compared([(SHIPPED, {})])
    assert not found.evidence.add(0, TOO_SMALL, b"{}")
    assert found.evidence.endings() == {Ending.DELIVERED: 1}


def test_sums_that_do_not_add_up_or_do_not_agree_with_the_arrivals_are_named() -> None:
    figures = replace(run("signpost"), sent=3, delivered=1, dropped=1, dead=0)
    [found] = compared([(SHIPPED, {}), (TOO_SMALL, {}), (TOO_SMALL, {})])
    assert list(wrong_sums(figures, found.evidence)) == [
        "signpost: sent 3 does not equal delivered 1 + dropped 1 + dead 0",
        "signpost: 1 records are counted as dropped, but 2 with this outcome came to the arrivals",
    ]


def test_the_records_of_the_first_run_are_kept_in_a_file_that_goes(tmp_path: Path) -> None:
    evidence = Evidence(3)
    with AllRecords(tmp_path / "first.jsonl", 3) as kept:
        kept.take(2, b'{"n": 2}', evidence)
        kept.take(0, b'{"n": 0}', evidence)
        assert [kept.line(index) for index in range(3)] == [b'{"n": 0}', None, b'{"n": 2}']
    assert not list(tmp_path.iterdir())
