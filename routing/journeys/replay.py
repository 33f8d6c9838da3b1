"""Replays: dead letters that begin anew or are discarded, which the arrivals alone may do.

A request goes to the arrivals as the letter itself, so that it is handled in order with the outcomes of its partition.
It names the letter's generation, and only a dead letter of that generation is reopened: whatever is asked for twice, by
two people or after an interruption, happens once.
"""

from __future__ import annotations

from dataclasses import replace

from metroline.routing.addresses import SOURCE, service_address
from metroline.routing.errors import MetrolineError
from metroline.routing.journeys.departures import Departures
from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.itinerary import Hop, Provenance
from metroline.routing.messages.segment import DiscardRequest, Replay, ReplayRequest, Segment
from metroline.routing.outcome import Outcome
from metroline.routing.strategies import RuleTables, strategy_named

BY = "replay"
"""The decider that a journey's history names for the first step of a replay."""


def replay_request(letter: Envelope, replay: Replay, stop: str | None, line: bytes) -> Envelope:
    """Return the request that the one record of a letter begins anew as `line`: at this stop, or at the source."""
    [segment] = letter.segments
    asked = replace(segment, lines=(line,), replays=(*segment.replays, replay), request=ReplayRequest(stop))
    return replace(letter, segments=(asked,))


def discard_request(letter: Envelope, replay: Replay, reason: str) -> Envelope:
    """Return the request that the one record of a letter counts as dropped for this reason."""
    [segment] = letter.segments
    asked = replace(segment, replays=(*segment.replays, replay), request=DiscardRequest(reason))
    return replace(letter, segments=(asked,))


def begin_anew(departures: Departures, rule_tables: RuleTables, segment: Segment, now: float) -> None:
    """Add reopened records: as young as at the entry, without attempts, and as the next generation."""
    request = segment.request
    anew = replace(
        segment,
        entered=now,
        history=(),
        chosen=None,
        itinerary=None,
        outcome=None,
        hops=0,
        attempts=None,
        generation=segment.generation + 1,
        request=None,
    )
    if isinstance(request, DiscardRequest):
        departures.end(replace(anew, history=segment.history), Outcome.dropped(f"discarded: {request.reason}"))
    elif request is None:
        raise MetrolineError("nobody asked to reopen this dead letter")
    elif request.stop is not None:
        departures.add(anew, Hop(service_address(request.stop), Provenance(None, BY, rule_tables.live.version)))
    else:
        strategy = strategy_named(departures.strategy)
        records = strategy.reader(rule_tables, SOURCE).read_all(anew.lines)
        departures.add_each(anew, strategy.begin(rule_tables, records), BY)
