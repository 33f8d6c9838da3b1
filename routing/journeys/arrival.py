"""Handles messages to the arrivals: settles the first outcome of each record, and reopens dead letters on request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from metroline.routing.errors import MetrolineError
from metroline.routing.journeys.departures import Departures
from metroline.routing.journeys.ends import DEFAULT_ENDS, Ends, deliverable
from metroline.routing.journeys.losses import MAX_LOST
from metroline.routing.journeys.replay import restart
from metroline.routing.journeys.settlement import (
    BLOCK_OFFSETS,
    SettledBlock,
    block_key,
    by_block,
    offset_of,
    outcome_key,
)
from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.record_ids import Origin
from metroline.routing.messages.segment import LossNotice, Segment
from metroline.routing.outcome import Ending
from metroline.routing.strategies import RuleTables

BlockOf = Callable[[bytes], SettledBlock]
"""Returns the block with a key; `settle` changes it in place."""


@dataclass(slots=True)
class Settlement:
    """The changes that one envelope made."""

    fresh: list[Segment] = field(default_factory=list)
    """The records that were settled by this envelope, with their outcomes."""
    touched: dict[bytes, SettledBlock] = field(default_factory=dict)
    """The blocks that changed, by their keys."""


def settle(
    envelope: Envelope,
    block_of: BlockOf,
    departures: Departures,
    rule_tables: RuleTables,
    now: float,
    ends: Ends = DEFAULT_ENDS,
) -> Settlement:
    """Settle the records of an envelope and add reopened dead letters to `departures`.

    Records that cannot be delivered at one of the `ends` are settled as dead letters. Raise `MetrolineError` for a
    segment without an outcome, and for a request about records that are not dead letters; no block is changed then.
    `now` is in seconds since the epoch.
    """
    for segment in envelope.segments:
        _check(segment, Departures(departures.strategy, envelope.origin), rule_tables, now)
    segments = [part for segment in envelope.segments for part in deliverable(segment, ends)]
    settlement = Settlement()
    for segment in segments:
        if isinstance(segment.request, LossNotice):
            _lose(envelope.origin, segment, segment.request.last, block_of, settlement)
        elif segment.request is not None:
            _reopen(envelope.origin, segment, block_of, settlement, departures, rule_tables, now)
        else:
            _settle(envelope.origin, segment, block_of, settlement)
    return settlement


def _check(segment: Segment, unused: Departures, rule_tables: RuleTables, now: float) -> None:
    """Raise `MetrolineError` if a segment cannot be settled or reopened."""
    if isinstance(segment.request, LossNotice):
        [first, *others] = map(offset_of, segment.ids)
        if others or not 0 <= segment.request.last - first < MAX_LOST:
            raise MetrolineError(f"a notice of lost messages names one stretch of at most {MAX_LOST} of them")
        return
    if segment.request is None:
        if segment.outcome is None:
            raise MetrolineError("an envelope on the topic of the arrivals has no outcome")
        return
    if segment.outcome is None or segment.outcome.ending is not Ending.DEAD:
        raise MetrolineError("only a dead letter can be replayed or discarded")
    restart(unused, rule_tables, segment, now)


def _settle(origin: Origin, segment: Segment, block_of: BlockOf, settlement: Settlement) -> None:
    assert segment.outcome is not None
    counted_as = outcome_key(segment.last_stop, segment.outcome)
    fresh: list[int] = []
    for number, places in by_block(segment.ids):
        key = block_key(origin, number)
        block = settlement.touched[key] = block_of(key)
        ids = [segment.ids[place] for place in places]
        fresh += [places[first] for first in block.settle(ids, counted_as, segment.hops, segment.generation)]
    if fresh:
        settlement.fresh.append(segment.part(fresh))


def _lose(origin: Origin, segment: Segment, last: int, block_of: BlockOf, settlement: Settlement) -> None:
    """Count the messages from each id up to `last` as lost, as far as they have no outcome."""
    for first in map(offset_of, segment.ids):
        for number in range(first // BLOCK_OFFSETS, last // BLOCK_OFFSETS + 1):
            key, begin = block_key(origin, number), number * BLOCK_OFFSETS
            block = settlement.touched[key] = block_of(key)
            block.lose(range(max(first, begin) - begin, min(last + 1 - begin, BLOCK_OFFSETS)))


def _reopen(
    origin: Origin,
    segment: Segment,
    block_of: BlockOf,
    settlement: Settlement,
    departures: Departures,
    rule_tables: RuleTables,
    now: float,
) -> None:
    """Remove the outcome of dead letters and restart them; records that are no longer dead letters are left alone."""
    assert segment.outcome is not None
    counted_as = outcome_key(segment.last_stop, segment.outcome)
    for number, places in by_block(segment.ids):
        key = block_key(origin, number)
        block = block_of(key)
        opened = block.reopen([segment.ids[place] for place in places], counted_as, segment.generation)
        if opened:
            settlement.touched[key] = block
            restart(departures, rule_tables, segment.part([places[place] for place in opened]), now)
