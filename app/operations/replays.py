"""Replays and discards of dead letters: edited records, and requests to the arrivals."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from metroline.app.operations.edits import with_fields
from metroline.app.operations.letter import DeadLetterError, Letter
from metroline.app.operations.rereading import Reread, Rereading
from metroline.routing.errors import UsageError
from metroline.routing.journeys.departures import Departures
from metroline.routing.journeys.replay import discard_request, record_before, replay_request, restart
from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.segment import Replay
from metroline.routing.records.source_messages import read_message
from metroline.routing.strategies import RuleTables

NO_LIMIT = 1_000_000
"""Hops of a journey that has only begun: far above any limit."""


@dataclass(frozen=True, slots=True)
class Replays:
    """Letters to replay, each with its record as a line of JSON, and the requests to the arrivals."""

    lines: list[tuple[Letter, bytes]]
    requests: list[Envelope]
    still_dead: Mapping[str, str] = field(default_factory=dict)
    """The letters that are not replayed, since their messages still cannot be read: the reason, by their ids."""

    @classmethod
    def of(
        cls,
        letters: Sequence[Letter],
        fields: dict[str, Any],
        record: bytes | None,
        stop: str | None,
        by: str,
        reread: Rereading | None = None,
    ) -> Replays:
        """Edit the records, as `edited` does; letters whose messages still cannot be read are left out.

        Raise `UsageError` if one record is given for several letters, and `DeadLetterError` if no letter is left.
        """
        if record is not None and len(letters) != 1:
            raise UsageError(f"a record replaces that of one letter, and {len(letters)} letters are named")
        read = reread if record is None and reread is not None else Rereading()
        ready = [letter for letter in letters if letter.id not in read.problems]
        if not ready:
            raise _unreadable(letters[0], read.problems[letters[0].id])
        lines, requests = [], []
        for letter in ready:
            again = read.records.get(letter.id)
            line = edited(letter, fields, record, again)
            lines.append((letter, line))
            requests.append(_replay(letter, line, stop, by, again and again.schema))
        return cls(lines, requests, read.problems)

    def check(self, rule_tables: RuleTables) -> None:
        """Raise the error with which the arrivals would answer one of the requests."""
        for request in self.requests:
            departures = Departures(request.strategy, request.origin, max_hops=NO_LIMIT)
            for segment in request.segments:
                restart(departures, rule_tables, segment, time.time())


def edited(letter: Letter, fields: dict[str, Any], record: bytes | None = None, reread: Reread | None = None) -> bytes:
    """Return the letter's record, or `record` in its place, with these fields set, as a line of JSON.

    `reread` is the record in the letter's raw message, if it can be read by now. Raise `DeadLetterError` for a letter
    without a record, and `UsageError` if `record` is not one record.
    """
    if not letter.is_replayable:
        raise DeadLetterError(
            f"{letter.id} is no record but a message that could not be read: look at it, then discard it"
        )
    if record is not None:
        return _given(letter, fields, record)
    if letter.is_cut and reread is None:
        raise _unreadable(letter, "")
    line = letter.line if reread is None else reread.line
    return with_fields(orjson.loads(line), fields) if fields else line


def _unreadable(letter: Letter, problem: str) -> DeadLetterError:
    """Return the error for a letter whose message still cannot be read."""
    why = f" ({problem})" if problem else ""
    return DeadLetterError(
        f"{letter.id} holds no record, only bytes that could not be read as one{why}: give the record with --record"
    )


def _given(letter: Letter, fields: dict[str, Any], record: bytes) -> bytes:
    (line, *more) = read_message(record)
    if line.record is None or more:
        raise UsageError(f"the record for {letter.id} is not valid: {line.problem or 'there are several'}")
    return with_fields(line.record, fields) if fields else line.line


def _replay(letter: Letter, line: bytes, stop: str | None, by: str, schema: str | None) -> Envelope:
    before = record_before(letter.line) if line != letter.line else None
    return replay_request(letter.envelope, Replay(time.time(), by, letter.reason, before), stop, line, schema)


def discard(letter: Letter, reason: str, by: str) -> Envelope:
    """Return the request to count a letter as dropped for this reason."""
    return discard_request(letter.envelope, Replay(time.time(), by, letter.reason), reason)
