"""The sums of schedules: their ticks, their outcomes, and what became of the latest record."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import cast

import orjson
import pytest

from metroline.agents.pulses.pulse import ScheduleSum
from metroline.agents.pulses.schedule_figures import result_of, schedules_of
from metroline.agents.services.schedule import Clock
from metroline.agents.tables.line_table import LineTable
from metroline.routing.journeys.settlement import BLOCK_OFFSETS, SettledBlock, outcome_key
from metroline.routing.outcome import DELIVERED, Cause, Outcome

TICK = 1_794 * BLOCK_OFFSETS + 5


def outcomes(*settled: tuple[int, Outcome]) -> LineTable:
    """Return a table with the outcomes of ticks of the schedule `nightly` in the block of `TICK`."""
    block = SettledBlock()
    for tick, outcome in settled:
        block.settle([tick], outcome_key("log", outcome), hops=1)
    data = {b"0/schedule.nightly/1794": orjson.dumps(block.encode())} if settled else {}
    return cast(LineTable, SimpleNamespace(data=data))


@pytest.mark.parametrize(
    ("table", "result"),
    [
        (outcomes(), ""),
        (outcomes((TICK - 1, DELIVERED)), ""),
        (outcomes((TICK, DELIVERED)), "completed"),
        (outcomes((TICK, Outcome.dropped("no indices"))), "completed"),
        (outcomes((TICK - 1, DELIVERED), (TICK, Outcome.dead(Cause.TIMEOUT, "after 3 s"))), "dead"),
    ],
)
def test_the_result_of_a_run_is_read_from_the_outcomes(table: LineTable, result: str) -> None:
    assert result_of("nightly", TICK, table) == result


def test_a_schedule_that_nobody_follows_has_the_records_that_ended() -> None:
    ended = {"nightly": Counter({"delivered": 2, "dead": 1}), "gone": Counter({"dropped": 3})}
    found = schedules_of([Clock("nightly", 4, TICK, TICK + 60)], ended, outcomes((TICK, DELIVERED)))
    assert found == (
        ScheduleSum("gone", 3, 0, 3, 0),
        ScheduleSum("nightly", 4, 2, 0, 1, TICK * 60, (TICK + 60) * 60, "completed"),
    )
