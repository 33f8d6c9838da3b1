"""Reads the sums of each schedule into the figures of a pulse: its ticks, and what became of their records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

import orjson

from metroline.agents.pulses.pulse import MAX_SERIES, ScheduleSum, as_text
from metroline.agents.services.schedule import PARTITION, Clock, schedule_origin
from metroline.agents.tables.line_table import LineTable
from metroline.routing.journeys.settlement import BLOCK_OFFSETS, SettledBlock, block_key
from metroline.routing.messages.record_ids import Origin
from metroline.routing.outcome import Ending

MINUTE = 60


def schedules_of(
    clocks: Collection[Clock], ended: Mapping[str, Counter[str]], outcomes: LineTable
) -> tuple[ScheduleSum, ...]:
    """Return the sums of schedules, of which `ended` has the numbers of records with an outcome, by ending.

    A schedule of which only outcomes are known is one that nobody follows at present.
    """
    known = {one.name: one for one in clocks}
    names = sorted({*known, *ended})[:MAX_SERIES]
    ordered = [known.get(name, Clock(name, 0, None, None)) for name in names]
    return tuple(_sum(clock, ended.get(clock.name, Counter()), outcomes) for clock in ordered)


def _sum(clock: Clock, ended: Counter[str], outcomes: LineTable) -> ScheduleSum:
    return ScheduleSum(
        as_text(clock.name),
        max(clock.entered, ended.total()),  # an outcome may be counted before the note of its tick is
        ended[Ending.DELIVERED],
        ended[Ending.DROPPED],
        ended[Ending.DEAD],
        None if clock.last is None else clock.last * MINUTE,
        None if clock.next is None else clock.next * MINUTE,
        "" if clock.last is None else result_of(clock.name, clock.last, outcomes),
    )


def result_of(schedule: str, tick: int, outcomes: LineTable) -> str:
    """Return `completed` or `dead` for the record of a tick that is settled; an empty text otherwise."""
    number, place = divmod(tick, BLOCK_OFFSETS)
    entry = outcomes.data.get(block_key(Origin(schedule_origin(schedule), PARTITION), number))
    if not entry:
        return ""
    block = SettledBlock.decode(orjson.loads(entry))
    if place in block.dead:
        return Ending.DEAD.value
    return "completed" if place in block.whole else ""
