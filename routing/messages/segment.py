"""Segments: records of one envelope that share their history and their plan."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from metroline.routing.addresses import SOURCE
from metroline.routing.errors import MetrolineError
from metroline.routing.messages.header_checks import natural, seconds, stop_name, text, text_or_none
from metroline.routing.messages.itinerary import Itinerary, Provenance
from metroline.routing.messages.metadata import NO_TIMESTAMP, Metadata, decode_metadata
from metroline.routing.messages.record_ids import Origin, RecordId, decode_ids
from metroline.routing.meta import Meta
from metroline.routing.outcome import Cause, Ending, Outcome, ServiceError

REPLAY, DISCARD, LOST = "replay", "discard", "lost"


class Visit(NamedTuple):
    """A visited stop: when the record was handled there, and the rule, decider and table version that chose it."""

    stop: str
    at: float
    """Seconds since the epoch."""
    rule: str | None
    by: str
    version: int
    worked: float | None = None
    """Seconds from the call of the service to the time at which the record left, with the records that left with it.

    After failed attempts, those of the last one. None if an earlier version handled the record, or nobody did.
    """


class Attempts(NamedTuple):
    """The failed attempts at a stop, with the reason of each."""

    stop: str
    causes: tuple[str, ...]
    due: float
    """Earliest time of the next attempt, in seconds since the epoch."""
    traces: tuple[str, ...] = ()
    """For each cause, the calls that led to the exception, one per line; fewer if earlier workers kept none."""
    times: tuple[float, ...] = ()
    """For each cause, the time of the failure in seconds since the epoch; 0 where earlier workers kept none."""

    def survived(self) -> Attempts:
        """Return the attempts as the history keeps them once one has succeeded: with the beginnings of the causes."""
        causes = tuple([cause[:MAX_SURVIVED_CHARACTERS] for cause in self.causes[-MAX_SURVIVED:]])
        return Attempts(self.stop, causes, self.due, (), self.times[-MAX_SURVIVED:])


MAX_SURVIVED, MAX_SURVIVED_CHARACTERS = 8, 200
"""Number of attempts at a stop that the history keeps after the record has left it, and characters of each cause."""


class Replan(NamedTuple):
    """A stop at which the plan of a record became stale, with the fields of the plan that the stop changed."""

    stop: str
    fields: tuple[str, ...]
    """Their names, sorted. Where records left the stop together, and in too many ways, the fields of all of them."""


class Waits(NamedTuple):
    """The waits at a stop that its service asked for, or that the stop made while it was paused.

    They are no failed attempts.
    """

    stop: str
    since: float
    """Time at which the service asked for the first one, in seconds since the epoch."""
    times: int
    progress: str = ""
    """The progress that the service reported with the last one, while the record is at the stop or dead there."""


class Replay(NamedTuple):
    """A replay of a dead letter: when, by whom, and the reason for which it was dead."""

    at: float
    """Seconds since the epoch."""
    by: str
    reason: str
    before: str | None = None
    """The record before the replay, if it was edited."""


class ReplayRequest(NamedTuple):
    """A request to the arrivals to restart the journeys of dead letters."""

    stop: str | None = None
    """The stop at which they restart; None for the source."""


class DiscardRequest(NamedTuple):
    """A request to the arrivals to count dead letters as dropped for this reason."""

    reason: str


class LossNotice(NamedTuple):
    """A notice to the arrivals that messages were deleted unread, from the one with the id of the segment on."""

    last: int
    """Offset of the last message that was deleted."""


Request = ReplayRequest | DiscardRequest | LossNotice

KINDS = {ReplayRequest: REPLAY, DiscardRequest: DISCARD, LossNotice: LOST}
"""The names of requests in the header."""


class Segment(Struct, frozen=True):
    """Records of one envelope that share their history and plan; `lines[i]` is the JSON of the record `ids[i]`."""

    ids: tuple[RecordId, ...]
    lines: tuple[bytes, ...]
    entered: float
    """Time at which the on-ramp read the records, in seconds since the epoch."""
    history: tuple[Visit, ...] = ()
    chosen: Provenance | None = None
    itinerary: Itinerary | None = None
    outcome: Outcome | None = None
    hops: int = 0
    """Number of times that the records were written to the bus, including this one. A hop in memory adds none."""
    attempts: Attempts | None = None
    """Failed attempts at the current stop, or those that ended the journey."""
    generation: int = 0
    """Number of times that the records were dead letters and restarted."""
    replays: tuple[Replay, ...] = ()
    request: Request | None = None
    """In a message that asks the arrivals to reopen dead letters, or to count losses, the request."""
    partitions: tuple[int, ...] | None = None
    """The partition of each record, if their envelope holds records of several partitions; None otherwise."""
    waits: Waits | None = None
    """Waits at the current stop that its service asked for, or those after which the journey ended."""
    metadata: Metadata | None = None
    """Keys, headers and timestamps of the source messages; None if these had none of them."""
    is_handled: bool = False
    """True if the service of the current stop has handled the records, and they only wait before they continue."""
    waited: tuple[Waits, ...] = ()
    """Waits at the stops that were visited, in order, of those at which the records waited."""
    retried: tuple[Attempts, ...] = ()
    """Failed attempts at the stops that were visited, in order, of those at which there were some."""
    replans: tuple[Replan, ...] = ()
    """The stops that made the plan stale, in order."""

    @property
    def last_stop(self) -> str:
        """The stop visited last; `SOURCE` if none was visited."""
        return self.history[-1].stop if self.history else SOURCE

    @property
    def stops(self) -> tuple[str, ...]:
        """The stops visited, in order."""
        return tuple(visit.stop for visit in self.history)

    def part(self, indexes: Sequence[int]) -> Segment:
        """Return a segment with the records at these indexes."""
        if len(indexes) == len(self.ids):
            return self
        return replace(
            self,
            ids=tuple([self.ids[i] for i in indexes]),
            lines=tuple([self.lines[i] for i in indexes]),
            partitions=None if self.partitions is None else tuple([self.partitions[i] for i in indexes]),
            metadata=None if self.metadata is None else self.metadata.part(indexes),
        )

    def by_partition(self) -> Iterator[tuple[int, Segment]]:
        """Yield for each partition a segment with its records, if the envelope holds records of several partitions."""
        indexes: dict[int, list[int]] = {}
        for index, partition in enumerate(self.partitions or ()):
            indexes.setdefault(partition, []).append(index)
        for partition, own in indexes.items():
            yield partition, replace(self.part(own), partitions=None)

    def visited(
        self, stop: str, at: float, lines: tuple[bytes, ...] | None = None, worked: float | None = None
    ) -> Segment:
        """Return the segment with a visit to this stop added; `at` is in seconds since the epoch.

        `lines` are the records as the stop left them. Default: unchanged. `worked` is as in `Visit`.
        """
        chosen = self.chosen or Provenance(None, "unknown", 0)
        history = (*self.history, Visit(stop, at, chosen.rule, chosen.by, chosen.version, worked))
        return replace(self, history=history, lines=self.lines if lines is None else lines)

    def size(self) -> int:
        """Return the size of the records in bytes, with one newline each and with their keys and headers."""
        more = self.metadata and self.metadata.sizes(len(self.ids))
        return sum(map(len, self.lines)) + len(self.lines) + sum(more or ())

    def sizes(self) -> Sequence[int]:
        """Return the size of each record, as counted by `size`."""
        sizes = [len(line) + 1 for line in self.lines]
        more = self.metadata and self.metadata.sizes(len(self.ids))
        return [size + own for size, own in zip(sizes, more, strict=True)] if more else sizes


def meta_of(origin: Origin, segment: Segment, place: int, topic: str) -> Meta:
    """Return the metadata of the record at an index of a segment, which came from this partition of a source topic."""
    metadata, record = segment.metadata or Metadata(), segment.ids[place]
    at = metadata.timestamp_of(place)
    return Meta(
        metadata.key_of(place),
        dict(metadata.headers_of(place)),
        None if at == NO_TIMESTAMP else at / 1_000,
        topic,
        origin.partition,
        record if isinstance(record, int) else record[0],
    )


def encode_segment(segment: Segment) -> dict[str, Any]:
    """Return a segment as JSON data for the header, without the lines of its records."""
    encoded: dict[str, Any] = {"ids": segment.ids, "entered": segment.entered, "hops": segment.hops}
    if segment.history:
        encoded["history"] = [visit[:5] for visit in segment.history]  # earlier versions read no more
        worked = [visit.worked for visit in segment.history]
        if any(seconds is not None for seconds in worked):
            encoded["worked"] = worked
    if segment.chosen is not None:
        chosen = segment.chosen
        encoded["chosen"] = (chosen.rule, chosen.by, chosen.version)
    if segment.itinerary is not None:
        encoded["itinerary"] = segment.itinerary.encode()
    if segment.outcome is not None:
        encoded["outcome"] = _encode_outcome(segment.outcome)
    if segment.attempts is not None:
        stop, causes, due, traces, times = segment.attempts
        encoded["tries"] = (stop, causes, due)
        if any(traces):
            encoded["traces"] = traces
        if any(times):
            encoded["tried"] = times
    if segment.waits is not None:
        encoded["waits"] = segment.waits[:3]
        if segment.waits.progress:
            encoded["progress"] = segment.waits.progress
    if segment.is_handled:
        encoded["handled"] = True
    if segment.waited:
        encoded["waited"] = [waits[:3] for waits in segment.waited]
    if segment.retried:
        encoded["retried"] = [(one.stop, one.causes, one.due, one.times) for one in segment.retried]
    if segment.replans:
        encoded["replans"] = [tuple(replan) for replan in segment.replans]
    if segment.generation:
        encoded["generation"] = segment.generation
    if segment.replays:
        encoded["replays"] = [tuple(replay) for replay in segment.replays]
    if segment.request is not None:
        encoded["request"] = (KINDS[type(segment.request)], *segment.request)
    if segment.metadata is not None:
        encoded |= segment.metadata.encode()
    return encoded


def _encode_outcome(outcome: Outcome) -> tuple[Any, ...]:
    encoded = (outcome.ending, outcome.cause, outcome.detail, outcome.rule)
    error = outcome.error
    return encoded if error is None else (*encoded, (error.type, error.text, error.place))


def decode_segments(data: list[dict[str, Any]], lines: list[bytes]) -> Iterator[Segment]:
    """Yield the segments of a header with their records from `lines`.

    Raise `MetrolineError`, `LookupError`, `TypeError` or `ValueError` if the data is malformed.
    """
    start = 0
    for encoded in data:
        ids = decode_ids(encoded["ids"])
        if not ids:
            raise MetrolineError("a segment has no records")
        end = start + len(ids)
        chosen, itinerary, outcome = encoded.get("chosen"), encoded.get("itinerary"), encoded.get("outcome")
        attempts = encoded.get("tries")
        yield Segment(
            ids,
            tuple(lines[start:end]),
            seconds(encoded["entered"]),
            _history(encoded.get("history", ()), encoded.get("worked")),
            None if chosen is None else Provenance(text_or_none(chosen[0]), text(chosen[1]), natural(chosen[2])),
            None if itinerary is None else Itinerary.decode(itinerary),
            None if outcome is None else _outcome(outcome),
            natural(encoded["hops"]),
            None if attempts is None else _attempts(attempts, encoded.get("tried", ()), encoded.get("traces", ())),
            natural(encoded.get("generation", 0)),
            tuple([_replay(*replay) for replay in encoded.get("replays", ())]),
            _request(encoded),
            waits=_waits_here(encoded),
            metadata=decode_metadata(encoded, len(ids)),
            is_handled=encoded.get("handled") is True,
            waited=tuple([_waits(*waits) for waits in encoded.get("waited", ())]),
            retried=tuple([_attempts(tries, times) for *tries, times in encoded.get("retried", ())]),
            replans=tuple([_replan(*replan) for replan in encoded.get("replans", ())]),
        )
        start = end
    if start != len(lines) or not data:
        raise MetrolineError(f"its header names {start} records, but {len(lines)} follow")


def _history(visits: Any, worked: Any) -> tuple[Visit, ...]:
    if not worked:
        return tuple([_visit(*visit) for visit in visits])
    if len(worked) != len(visits):
        raise MetrolineError(f"a history of {len(visits)} stops has {len(worked)} durations")
    told = zip(visits, worked, strict=True)
    return tuple([_visit(stop, at, rule, by, version, spent) for (stop, at, rule, by, version), spent in told])


def _visit(stop: Any, at: Any, rule: Any, by: Any, version: Any, worked: Any = None) -> Visit:
    spent = None if worked is None else seconds(worked)
    return Visit(text(stop), seconds(at), text_or_none(rule), text(by), natural(version), spent)


def _attempts(tries: Any, times: Any, traces: Any = ()) -> Attempts:
    stop, causes, due = tries
    of_each = tuple(map(text, traces)), tuple(map(seconds, times))
    return Attempts(stop_name(stop), tuple(map(text, causes)), seconds(due), *of_each)


def _replan(stop: Any, fields: Any) -> Replan:
    return Replan(stop_name(stop), tuple(map(text, fields)))


def _waits_here(encoded: dict[str, Any]) -> Waits | None:
    waits = encoded.get("waits")
    return None if waits is None else _waits(*waits)._replace(progress=text(encoded.get("progress", "")))


def _waits(stop: Any, since: Any, times: Any) -> Waits:
    return Waits(stop_name(stop), seconds(since), natural(times))


def _replay(at: Any, by: Any, reason: Any, before: Any) -> Replay:
    return Replay(seconds(at), text(by), text(reason), text_or_none(before))


def _outcome(encoded: list[Any]) -> Outcome:
    if len(encoded) == 3:
        return _outcome_of_format_1(*encoded)
    ending, cause, detail, rule, *error = encoded
    return Outcome(
        Ending(ending),
        None if cause is None else Cause(cause),
        text(detail),
        text_or_none(rule),
        ServiceError(*map(text, error[0])) if error else None,
    )


def _outcome_of_format_1(ending: Any, reason: Any, rule: Any) -> Outcome:
    """Return an outcome of wire format 1, which has cause and detail in one string, `cause: detail`."""
    if ending != Ending.DEAD:
        return Outcome(Ending(ending), None, text_or_none(reason) or "", text_or_none(rule))
    cause, _, detail = text(reason).partition(": ")
    return Outcome(Ending.DEAD, Cause(cause), detail, text_or_none(rule))


def _request(encoded: dict[str, Any]) -> Request | None:
    request = encoded.get("request")
    if request is None:
        old = encoded.get("reopen")
        if old is None:
            return None
        kind, _, detail = text(old).partition(":")  # format 1: `replay`, `replay:stop` or `discard:reason`
        request = [kind, detail or None if kind == REPLAY else detail]
    kind, detail = request
    if kind == REPLAY:
        return ReplayRequest(None if detail is None else stop_name(detail))
    if kind == DISCARD:
        return DiscardRequest(text(detail))
    if kind == LOST:
        return LossNotice(natural(detail))
    raise MetrolineError(f"there is no request {kind!r}")
