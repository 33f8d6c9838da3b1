"""The measurement of records that wait counts their messages and outcomes, also over a worker that was killed."""

from __future__ import annotations

from benchmarks import waiting
from benchmarks.systems.brokers import Testbed


def test_records_that_wait_make_few_messages_and_have_one_outcome_each(testbed: Testbed) -> None:
    figures = waiting.measure(testbed, "signpost", 400, wait=3.0, watch=8.0)
    assert figures["settled"] == 400
    assert isinstance(figures["messages_before"], int)
    assert 0 < figures["messages_before"] < 40
    assert len(figures["megabytes"]) == waiting.MARKS  # type: ignore[arg-type]
