"""Differences between two strategies: one line for each record and each total that does not agree."""

from __future__ import annotations

from msgspec.structs import replace

from metroline.app.compare.differences import LISTED, differing_records, wrong_sums
from metroline.app.compare.evidence import Evidence, RecordOutcome
from metroline.routing.outcome import Ending
from tests.support.comparisons import run

SHIPPED = RecordOutcome(("price", "ship"), Ending.DELIVERED, None)
TOO_SMALL = RecordOutcome(("price",), Ending.DROPPED, "too small")


def evidence(*outcomes: RecordOutcome | None, content: bytes = b'{"n": 1}') -> Evidence:
    found = Evidence(len(outcomes))
    for index, outcome in enumerate(outcomes):
        if outcome is not None:
            found.add(index, outcome, content)
    return found


def compared(first: Evidence, other: Evidence) -> list[str]:
    return list(differing_records("hard_wired", first, "signpost", other))


def test_the_same_outcomes_and_contents_differ_in_nothing() -> None:
    assert compared(evidence(SHIPPED, TOO_SMALL), evidence(SHIPPED, TOO_SMALL, content=b'{ "n":1 }')) == []


def test_another_outcome_is_named_with_the_index_of_its_record() -> None:
    assert compared(evidence(SHIPPED, SHIPPED), evidence(SHIPPED, TOO_SMALL)) == [
        "record 1: price > ship, delivered under hard_wired, price, dropped (too small) under signpost"
    ]


def test_a_record_that_never_came_has_no_outcome() -> None:
    assert compared(evidence(SHIPPED), evidence(None)) == [
        "record 0: price > ship, delivered under hard_wired, no outcome under signpost"
    ]


def test_another_content_counts_even_with_the_same_outcome() -> None:
    assert compared(evidence(SHIPPED), evidence(SHIPPED, content=b'{"n": 2}')) == [
        "record 0: different final content under hard_wired and signpost"
    ]


def test_many_differences_are_listed_in_part_and_counted_in_all() -> None:
    found = compared(evidence(*[SHIPPED] * 50), evidence(*[TOO_SMALL] * 50))
    assert len(found) == LISTED + 1
    assert found[-1] == f"{50 - LISTED} more records differ between hard_wired and signpost"


def test_the_first_outcome_of_a_record_counts() -> None:
    found = evidence(SHIPPED)
    assert not found.add(0, TOO_SMALL, b"{}")
    assert found.endings() == {Ending.DELIVERED: 1}


def test_sums_that_do_not_add_up_or_do_not_agree_with_the_arrivals_are_named() -> None:
    figures = replace(run("signpost"), sent=3, delivered=1, dropped=1, dead=0)
    assert list(wrong_sums(figures, evidence(SHIPPED, TOO_SMALL, TOO_SMALL))) == [
        "signpost: sent 3 does not equal delivered 1 + dropped 1 + dead 0",
        "signpost: 1 records are counted as dropped, but 2 with this outcome came to the arrivals",
    ]
