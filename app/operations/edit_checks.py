"""Checks an edited dead letter against the type of records that the stop to which it goes declares."""

from __future__ import annotations

import time
from collections.abc import Mapping

import orjson

from metroline.agents.services.service import Service
from metroline.app.operations.forecast import table_for
from metroline.app.operations.letter import DeadLetterError, Letter
from metroline.app.operations.replays import Replays
from metroline.routing.addresses import SOURCE
from metroline.routing.errors import SchemaMismatch
from metroline.routing.messages.itinerary import Decider, Decision
from metroline.routing.rules.rule_meta import rule_metas
from metroline.routing.strategies import RuleTables


def check_edits(
    replays: Replays, services: Mapping[str, Service], rule_tables: RuleTables, stop: str | None = None
) -> None:
    """Raise `DeadLetterError` for the first record that was edited and does not fit the stop to which it goes.

    A record that stays as it was is not checked: the code of its stop may be another one by now.
    """
    for letter, line in replays.lines:
        if line != letter.line:
            _check(letter, line, services, stop or _first_stop(rule_tables, letter, line))


def _check(letter: Letter, line: bytes, services: Mapping[str, Service], stop: str | None) -> None:
    service = services.get(stop or "")
    if service is None or service.types is None or service.types.taken is None:
        return
    record = orjson.loads(line)
    reads = service.reads
    try:
        service.types.read(record if reads is None else {name: record[name] for name in reads if name in record})
    except SchemaMismatch as error:
        raise DeadLetterError(f"{letter.id}, as edited, does not fit the stop {stop!r}: {error}") from error


def _first_stop(rule_tables: RuleTables, letter: Letter, line: bytes) -> str | None:
    """Return the first stop of a replayed record by the current rules; None if it ends at once."""
    table = table_for(rule_tables, letter)
    metas = rule_metas(letter.envelope.segments[0].metadata, time.time(), 1, table.reader.meta)
    [plan] = table.plans(SOURCE, [orjson.loads(line)], metas)
    first = plan if isinstance(plan, Decision) else plan.legs[0]
    return None if isinstance(first, Decider) else first.stop
