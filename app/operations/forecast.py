"""Forecasts the way of a replayed dead letter by the current rules, as far as it is known before services run."""

from __future__ import annotations

import time
from collections.abc import Sequence, Set

import orjson

from metroline.app.operations.letter import Letter
from metroline.app.operations.rehearsal import Rehearsal
from metroline.routing.addresses import SOURCE, SWITCH
from metroline.routing.journeys.departures import Departures
from metroline.routing.journeys.replay import restart
from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.itinerary import Decider, Decision
from metroline.routing.rules.rule_meta import rule_metas
from metroline.routing.rules.table import RulesTable
from metroline.routing.strategies import RuleTables, strategy_named

IF_UNCHANGED = "if no service changes what the rules read:"
LATER = "then as its content will be"


def table_for(rule_tables: RuleTables, letter: Letter) -> RulesTable:
    """Return the rules table by which a letter's journey is decided: for some strategies, that of the line's file."""
    strategy = strategy_named(letter.envelope.strategy)
    return rule_tables.live if strategy.needs_live else rule_tables.from_file


def forecast(
    rule_tables: RuleTables, letter: Letter, line: bytes, stop: str | None, last: Set[str] = frozenset()
) -> str:
    """Describe the way of a letter's record by the current rules.

    `line` is the record as it is replayed, and `last` are the stops that are ends in other systems. Where it goes first
    is certain. What follows is the way of a record that no service changes, drops or fails on, and the text says so.
    """
    table = table_for(rule_tables, letter)
    metas = rule_metas(letter.envelope.segments[0].metadata, time.time(), 1, table.reader.meta)
    [plan] = table.plans(stop or SOURCE, [orjson.loads(line)], metas)
    legs: Sequence[Decision | Decider] = [plan] if isinstance(plan, Decision) else plan.legs
    legs = _up_to_an_end(legs, last)
    known, open_legs = ([f"{stop} (as asked)"], legs) if stop else ([_described(legs[0])], legs[1:])
    if not open_legs or stop in last:
        return known[0]
    if open_legs[0] is Decider.SWITCH:
        return f"{known[0]} -> {LATER}"
    return " -> ".join([known[0], f"{IF_UNCHANGED} {_described(open_legs[0])}", *map(_described, open_legs[1:])])


def restarted(rehearsal: Rehearsal, request: Envelope) -> Departures:
    """Return the first step of a record that a request replays, for a rehearsal with the current rules."""
    departures = rehearsal.departures()
    restart(departures, rehearsal.rule_tables, request.segments[0], time.time())
    return departures


def _up_to_an_end(legs: Sequence[Decision | Decider], last: Set[str]) -> Sequence[Decision | Decider]:
    """Return the legs of a way without those behind the first stop that is an end in another system."""
    places = (place for place, leg in enumerate(legs) if isinstance(leg, Decision) and leg.stop in last)
    return legs[: next(places, len(legs)) + 1]


def _described(leg: Decision | Decider) -> str:
    if isinstance(leg, Decider):
        return LATER if leg.value == SWITCH else leg.value
    if leg.outcome is None:
        return f"{leg.stop} ({leg.rule})"
    return f"{leg.outcome.ending}{f': {leg.outcome.reason}' if leg.outcome.reason else ''}"
