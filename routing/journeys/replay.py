"""Requests to replay or discard dead letters, and their execution by the arrivals.

A request is the dead letter itself, sent to the arrivals, so that it is handled in order with the outcomes of its
partition. It carries the generation of the letter, and only a dead letter of that generation is reopened. A request
that is sent twice, by two people or after an interruption, therefore takes effect once.
"""

from __future__ import annotations

from msgspec.structs import replace

from metroline.routing.addresses import SOURCE, service_address
from metroline.routing.errors import MetrolineError
from metroline.routing.journeys.departures import Departures
from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.itinerary import Hop, Provenance
from metroline.routing.messages.metadata import Metadata
from metroline.routing.messages.segment import DiscardRequest, Replay, ReplayRequest, Segment
from metroline.routing.outcome import Outcome
from metroline.routing.rules.rule_meta import rule_metas
from metroline.routing.strategies import RuleTables, strategy_named

BY = "replay"
"""The decider that the history of a journey names for the first step of a replay."""


MAX_BEFORE_BYTES = 8 * 1024
"""Maximum number of bytes that a replay keeps of the record before it: they travel with the record from then on."""

MAX_REPLAYS = 8
"""Maximum number of replays that a record remembers: the first one, and the latest ones."""

MAX_REASON_CHARACTERS = 500
"""Maximum number of characters that a replay keeps of the reason for which the record was dead."""


def record_before(line: bytes) -> str:
    """Return what a replay keeps of the record before it."""
    if len(line) <= MAX_BEFORE_BYTES:
        return line.decode(errors="replace")
    return f"{line[:MAX_BEFORE_BYTES].decode(errors='replace')}… ({len(line)} bytes)"


def _with(replays: tuple[Replay, ...], latest: Replay) -> tuple[Replay, ...]:
    """Return replays with another one; together they stay so small that they never make a record too large."""
    kept = replays if len(replays) < MAX_REPLAYS else (replays[0], *replays[2 - MAX_REPLAYS :])
    bare = [replay._replace(before=None) for replay in kept[1:-1]]
    return (*kept[:1], *bare, *kept[len(bare) + 1 :], latest._replace(reason=latest.reason[:MAX_REASON_CHARACTERS]))


def replay_request(
    letter: Envelope, replay: Replay, stop: str | None, line: bytes, schema: str | None = None
) -> Envelope:
    """Return a request to replay a dead letter of one record with `line` as its record.

    The journey restarts at `stop`, or at the source if `stop` is None. `schema` is that of the source message if the
    letter does not name it: its message could not be read.
    """
    [segment] = letter.segments
    asked = replace(segment, lines=(line,), replays=_with(segment.replays, replay), request=ReplayRequest(stop))
    if schema is not None:
        own = segment.metadata or Metadata()
        asked = replace(asked, metadata=Metadata(own.keys, own.headers, own.timestamps, (schema,)))
    return replace(letter, segments=(asked,))


def discard_request(letter: Envelope, replay: Replay, reason: str) -> Envelope:
    """Return a request to count a dead letter of one record as dropped for this reason."""
    [segment] = letter.segments
    asked = replace(segment, replays=_with(segment.replays, replay), request=DiscardRequest(reason))
    return replace(letter, segments=(asked,))


def restart(departures: Departures, rule_tables: RuleTables, segment: Segment, now: float) -> None:
    """Add reopened records to `departures`, as the next generation, entering `now`, without history or attempts.

    Records that are to be discarded end as dropped. Raise `MetrolineError` if the segment has no request.
    """
    request = segment.request
    restarted = replace(
        segment,
        entered=now,
        history=(),
        chosen=None,
        itinerary=None,
        outcome=None,
        hops=0,
        attempts=None,
        waits=None,
        waited=(),
        retried=(),
        replans=(),
        generation=segment.generation + 1,
        request=None,
    )
    if isinstance(request, DiscardRequest):
        departures.end(replace(restarted, history=segment.history), Outcome.dropped(f"discarded: {request.reason}"))
    elif not isinstance(request, ReplayRequest):
        raise MetrolineError("this dead letter has no request to replay or discard it")
    elif request.stop is not None:
        departures.add(restarted, Hop(service_address(request.stop), Provenance(None, BY, rule_tables.live.version)))
    else:
        strategy = strategy_named(departures.strategy)
        reader = strategy.reader(rule_tables, SOURCE)
        metas = rule_metas(restarted.metadata, restarted.entered, len(restarted.ids), reader.meta)
        next_steps = strategy.begin(rule_tables, reader.read_all(restarted.lines), metas)
        departures.add_each(restarted, next_steps, BY)
