"""Dead letters that begin anew or are discarded: what is asked of the arrivals, which alone may do it.

A request goes to the arrivals as the letter itself, so that it is handled in order with the outcomes of its partition.
It names the letter's generation, and only a dead letter of that generation is reopened: whatever is asked for twice, by
two terminals or after an interruption, happens once.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from metroline.routing.addresses import ARRIVALS, service_address
from metroline.routing.errors import MetrolineError
from metroline.routing.journeys.departures import Departures
from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.itinerary import Hop, Provenance
from metroline.routing.messages.segment import Replay, Segment
from metroline.routing.outcome import Ending, Outcome
from metroline.routing.records.field_reader import FieldReader
from metroline.routing.strategies import RuleTables, strategy_named

REPLAY, DISCARD = "replay", "discard"

BY = "failure desk"
"""Who chose the stop that a replay goes to."""


def asked_to_replay(letter: Envelope, replay: Replay, stop: str | None, line: bytes) -> Envelope:
    """The request that the one record of a letter begins anew as `line`: at this stop, or at the source."""
    [segment] = letter.segments
    anew = replace(
        segment, lines=(line,), replays=(*segment.replays, replay), reopen=f"{REPLAY}:{stop}" if stop else REPLAY
    )
    return replace(letter, segments=(anew,))


def asked_to_discard(letter: Envelope, replay: Replay, reason: str) -> Envelope:
    """The request that the one record of a letter counts as dropped for this reason."""
    [segment] = letter.segments
    return replace(
        letter, segments=(replace(segment, replays=(*segment.replays, replay), reopen=f"{DISCARD}:{reason}"),)
    )


def begin_anew(departures: Departures, rule_tables: RuleTables, segment: Segment, at: float) -> None:
    """Sends reopened records on their way: young, untried and as the next generation."""
    action, _, detail = (segment.reopen or "").partition(":")
    anew = replace(
        segment,
        entered=at,
        history=(),
        chosen=None,
        itinerary=None,
        outcome=None,
        hops=0,
        attempts=None,
        generation=segment.generation + 1,
        reopen=None,
    )
    if action == DISCARD:
        dropped = replace(anew, history=segment.history)
        departures.add(dropped, Hop(ARRIVALS, outcome=Outcome(Ending.DROPPED, f"discarded: {detail}")))
    elif action != REPLAY:
        raise MetrolineError(f"nobody knows what {segment.reopen!r} asks for")
    elif detail:
        departures.add(anew, Hop(service_address(detail), Provenance(None, BY, rule_tables.live.version)))
    else:
        strategy = strategy_named(departures.strategy)
        records = _read(strategy.reader(rule_tables, "source"), anew)
        departures.add_next_steps(anew, strategy.begin(rule_tables, records), BY)


def _read(reader: FieldReader, segment: Segment) -> list[dict[str, Any]]:
    return reader.read_all(segment.lines)
