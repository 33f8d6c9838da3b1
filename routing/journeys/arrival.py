"""Arrival: outcomes that come to the arrivals settle records, the first one for each, or reopen dead letters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from metroline.routing.errors import MetrolineError
from metroline.routing.journeys.departures import Departures
from metroline.routing.journeys.replay import begin_anew
from metroline.routing.journeys.settlement import SettledBlock, block_key, by_block, outcome_key
from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.record_ids import Origin
from metroline.routing.messages.segment import Segment
from metroline.routing.outcome import Ending
from metroline.routing.strategies import RuleTables

BlockOf = Callable[[bytes], SettledBlock]
"""Returns the block of a key, which is changed in place."""


@dataclass(slots=True)
class Settlement:
    """What one envelope changed."""

    fresh: list[Segment] = field(default_factory=list)
    """Records that had no outcome before, with the one they have now."""
    touched: dict[bytes, SettledBlock] = field(default_factory=dict)
    """The blocks that changed, by key."""


def settle(
    envelope: Envelope, block_of: BlockOf, departures: Departures, rule_tables: RuleTables, now: float
) -> Settlement:
    """Settle the records of an envelope, and add dead letters that begin anew to `departures`.

    Raises `MetrolineError` for a segment that has no outcome, and for a request about anything but dead letters.
    """
    settlement = Settlement()
    for segment in envelope.segments:
        if segment.request is not None:
            _reopen(envelope.origin, segment, block_of, settlement, departures, rule_tables, now)
        else:
            _settle(envelope.origin, segment, block_of, settlement)
    return settlement


def _settle(origin: Origin, segment: Segment, block_of: BlockOf, settlement: Settlement) -> None:
    if segment.outcome is None:
        raise MetrolineError("an envelope without an outcome came to the arrivals")
    counted_as = outcome_key(segment.last_stop, segment.outcome)
    fresh: list[int] = []
    for number, places in by_block(segment.ids):
        key = block_key(origin, number)
        block = settlement.touched[key] = block_of(key)
        ids = [segment.ids[place] for place in places]
        fresh += [places[first] for first in block.settle(ids, counted_as, segment.hops, segment.generation)]
    if fresh:
        settlement.fresh.append(segment.part(fresh))


def _reopen(
    origin: Origin,
    segment: Segment,
    block_of: BlockOf,
    settlement: Settlement,
    departures: Departures,
    rule_tables: RuleTables,
    now: float,
) -> None:
    """Take back the outcome of dead letters and send them on; those that are no longer dead stay as they are."""
    if segment.outcome is None or segment.outcome.ending is not Ending.DEAD:
        raise MetrolineError("only a dead letter can begin anew")
    begin_anew(Departures(departures.strategy, origin), rule_tables, segment, now)  # raises before anything is changed
    counted_as = outcome_key(segment.last_stop, segment.outcome)
    for number, places in by_block(segment.ids):
        key = block_key(origin, number)
        block = block_of(key)
        opened = block.reopen([segment.ids[place] for place in places], counted_as, segment.generation)
        if opened:
            settlement.touched[key] = block
            begin_anew(departures, rule_tables, segment.part([places[place] for place in opened]), now)
