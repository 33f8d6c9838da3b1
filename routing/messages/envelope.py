"""The envelope: one message of the bus, a header and one or many records that travel together (Envelope Wrapper).

On the bus it is JSON lines: the first line is the header, each further line one record. What records share stands once:
the header's segments each say for a range of lines what is behind them and what is ahead.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, NamedTuple, cast

import orjson

from metroline.routing.errors import MalformedEnvelope, MetrolineError
from metroline.routing.messages.itinerary import Hop, Itinerary, Provenance
from metroline.routing.outcome import Cause, Ending, Outcome
from metroline.routing.records.fingerprints import EXACT, natural, seconds, stop_name, text, text_or_none

FORMAT = 1
MOST = 300
"""Characters of an error's text that are kept; it may repeat what it found."""

ID = re.compile(r"(?P<name>.+)-(?P<partition>[0-9]+)-(?P<offset>[0-9]+)(\.(?P<index>[0-9]+))?")

MOST_IN_MESSAGE = 2**32
"""Records of one source message; each of them is marked in a bitmap of 32-bit numbers where it is settled."""

RecordId = int | tuple[int, int, int]
"""A record's id within its partition: the offset of its source message or, where that held several lines,
(offset, index in it, number of lines in it)."""


class Visit(NamedTuple):
    """A stop behind the record: when it was handled there, and the rule, decider and table version that chose it."""

    stop: str
    at: float
    """Seconds since the epoch."""
    rule: str | None
    by: str
    version: int


class Attempts(NamedTuple):
    """What was tried in vain at a stop: why each attempt failed, and from when on the next one may be made."""

    stop: str
    causes: tuple[str, ...]
    due: float
    """Seconds since the epoch."""


class Replay(NamedTuple):
    """A dead letter was sent on its way again: when, by whom, why it was dead, and what it was if it was edited."""

    at: float
    """Seconds since the epoch."""
    by: str
    reason: str
    before: str | None = None
    """The record before, where it was edited."""


class Origin(NamedTuple):
    """Where records entered: the source's epoch or, for what is no envelope, the topic on which it was found."""

    name: str
    partition: int


@dataclass(frozen=True, slots=True)
class Segment:
    """Records of one envelope that share their past and their plan: `lines[i]` is the JSON of the record `ids[i]`."""

    ids: tuple[RecordId, ...]
    lines: tuple[bytes, ...]
    entered: float
    """When the on-ramp took them, seconds since the epoch."""
    history: tuple[Visit, ...] = ()
    chosen: Provenance | None = None
    itinerary: Itinerary | None = None
    outcome: Outcome | None = None
    hops: int = 0
    """How often these records were written to the bus, this time included."""
    attempts: Attempts | None = None
    """The attempts at the stop where these records are, or which ended their journey."""
    generation: int = 0
    """How often these records were dead letters and began anew."""
    replays: tuple[Replay, ...] = ()
    reopen: str | None = None
    """On a request to the arrivals: `REPLAY`, `REPLAY:stop` or `DISCARD:reason`; see `agents.reopening`."""

    @property
    def last_stop(self) -> str:
        return self.history[-1].stop if self.history else "source"

    @property
    def stops(self) -> tuple[str, ...]:
        """The stops visited, in order."""
        return tuple(visit.stop for visit in self.history)

    def part(self, indexes: Sequence[int]) -> Segment:
        """The records at these places, with what they share."""
        if len(indexes) == len(self.ids):
            return self
        return replace(self, ids=tuple([self.ids[i] for i in indexes]), lines=tuple([self.lines[i] for i in indexes]))

    def moved(self, move: Hop, max_hops: int) -> tuple[str, Segment]:
        """The segment as the next message holds it, and its address; one that has gone too far ends here."""
        outcome, to = move.outcome, move.to
        if to.startswith("service.") and len(self.history) >= max_hops:
            outcome = Outcome.dead(Cause.TOO_MANY_HOPS, f"{len(self.history)} stops behind it, {max_hops} are allowed")
            to = "arrivals"
        itinerary = move.itinerary if outcome is None else None
        attempts = self.attempts if outcome is not None and outcome.ending is Ending.DEAD else None
        return to, replace(
            self, chosen=move.chosen, itinerary=itinerary, outcome=outcome, hops=self.hops + 1, attempts=attempts
        )

    def visited(self, stop: str, at: float) -> Segment:
        """The segment with this stop behind it."""
        chosen = self.chosen or Provenance(None, "unknown", 0)
        return replace(self, history=(*self.history, Visit(stop, at, chosen.rule, chosen.by, chosen.version)))

    def size(self) -> int:
        """Bytes of its records."""
        return sum(map(len, self.lines)) + len(self.lines)


@dataclass(frozen=True, slots=True)
class Envelope:
    """Segments of one origin whose journeys go by one strategy."""

    strategy: str
    origin: Origin
    segments: tuple[Segment, ...]

    def __len__(self) -> int:
        return sum(len(segment.ids) for segment in self.segments)

    def encode(self) -> bytes:
        """The message's value."""
        header = {
            "metroline": FORMAT,
            "strategy": self.strategy,
            "origin": tuple(self.origin),
            "segments": [_encode_segment(segment) for segment in self.segments],
        }
        lines = [orjson.dumps(header)]
        for segment in self.segments:
            lines.extend(segment.lines)
        return b"\n".join(lines)

    @classmethod
    def decode(cls, raw: bytes, partition: int | None = None) -> Envelope:
        """Reads a message's value; raises `MalformedEnvelope`, which keeps the bytes.

        `partition` is where the message lies: an envelope stays in the partition of its origin.
        """
        try:
            head, *lines = raw.split(b"\n")
            header = orjson.loads(head)
            if natural(header["metroline"]) != FORMAT:
                raise MetrolineError(f"its format is {header['metroline']}; this worker reads {FORMAT}")
            origin = header["origin"]
            if "/" in origin[0]:
                raise MetrolineError(f"{origin[0]!r} is no origin")
            if partition is not None and origin[1] != partition:
                raise MetrolineError(f"it comes from partition {origin[1]} and lies in {partition}")
            envelope = cls(
                text(header["strategy"]),
                Origin(text(origin[0]), natural(origin[1])),
                tuple(_decode_segments(header["segments"], lines)),
            )
        except MetrolineError as error:
            raise MalformedEnvelope(f"no envelope: {error}", raw) from error
        except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise MalformedEnvelope(f"no envelope: {type(error).__name__}: {error}"[:MOST], raw) from error
        return envelope


def pack(
    strategy: str, origin: Origin, segments: Iterable[Segment], max_bytes: int, max_records: int
) -> Iterator[Envelope]:
    """Packs segments that go to one address into as few envelopes as the bounds allow; a record is never cut."""
    held: list[Segment] = []
    size = count = 0
    for segment in segments:
        for part, part_size in _split(segment, max_bytes, max_records):
            if held and (size + part_size > max_bytes or count + len(part.ids) > max_records):
                yield Envelope(strategy, origin, tuple(held))
                held, size, count = [], 0, 0
            held.append(part)
            size += part_size
            count += len(part.ids)
    if held:
        yield Envelope(strategy, origin, tuple(held))


def _split(segment: Segment, max_bytes: int, max_records: int) -> Iterator[tuple[Segment, int]]:
    """Parts of a segment that fit, with their sizes in bytes."""
    whole = segment.size()
    if len(segment.ids) <= max_records and whole <= max_bytes:
        yield segment, whole
        return
    first, size = 0, 0
    for place, line in enumerate(segment.lines):
        if place > first and (size + len(line) + 1 > max_bytes or place - first >= max_records):
            yield segment.part(range(first, place)), size
            first, size = place, 0
        size += len(line) + 1
    yield segment.part(range(first, len(segment.lines))), size


def _encode_segment(segment: Segment) -> dict[str, Any]:
    encoded: dict[str, Any] = {"ids": segment.ids, "entered": segment.entered, "hops": segment.hops}
    if segment.history:
        encoded["history"] = [tuple(visit) for visit in segment.history]
    if segment.chosen is not None:
        chosen = segment.chosen
        encoded["chosen"] = (chosen.rule, chosen.by, chosen.version)
    if segment.itinerary is not None:
        encoded["itinerary"] = segment.itinerary.encode()
    if segment.outcome is not None:
        outcome = segment.outcome
        encoded["outcome"] = (outcome.ending, outcome.reason, outcome.rule)
    if segment.attempts is not None:
        encoded["tries"] = tuple(segment.attempts)
    if segment.generation:
        encoded["generation"] = segment.generation
        encoded["replays"] = [tuple(replay) for replay in segment.replays]
    if segment.reopen is not None:
        encoded["reopen"] = segment.reopen
    return encoded


def _decode_segments(data: list[dict[str, Any]], lines: list[bytes]) -> Iterator[Segment]:
    start = 0
    for encoded in data:
        ids = _decode_ids(encoded["ids"])
        if not ids:
            raise MetrolineError("a segment without records")
        end = start + len(ids)
        chosen, itinerary, outcome = encoded.get("chosen"), encoded.get("itinerary"), encoded.get("outcome")
        attempts = encoded.get("tries")
        yield Segment(
            ids,
            tuple(lines[start:end]),
            seconds(encoded["entered"]),
            tuple([_visit(*visit) for visit in encoded.get("history", ())]),
            None if chosen is None else Provenance(text_or_none(chosen[0]), text(chosen[1]), natural(chosen[2])),
            None if itinerary is None else Itinerary.decode(itinerary),
            None if outcome is None else _outcome(*outcome),
            natural(encoded["hops"]),
            None if attempts is None else _tries(*attempts),
            natural(encoded.get("generation", 0)),
            tuple([_replay(*replay) for replay in encoded.get("replays", ())]),
            text_or_none(encoded.get("reopen")),
        )
        start = end
    if start != len(lines) or not data:
        raise MetrolineError(f"its header names {start} records, {len(lines)} follow")


def _visit(stop: Any, at: Any, rule: Any, by: Any, version: Any) -> Visit:
    return Visit(text(stop), seconds(at), text_or_none(rule), text(by), natural(version))


def _tries(stop: Any, causes: Any, due: Any) -> Attempts:
    return Attempts(stop_name(stop), tuple(map(text, causes)), seconds(due))


def _replay(at: Any, by: Any, reason: Any, before: Any) -> Replay:
    return Replay(seconds(at), text(by), text(reason), text_or_none(before))


def _outcome(ending: Any, reason: Any, rule: Any) -> Outcome:
    return Outcome(Ending(ending), text_or_none(reason), text_or_none(rule))


def _decode_ids(encoded: list[Any]) -> tuple[RecordId, ...]:
    """Ids of one kind, as they nearly always are, are looked at all at once."""
    kinds = set(map(type, encoded))
    if kinds == {int} and min(encoded) >= 0 and max(encoded) < EXACT:
        return tuple(encoded)
    if kinds == {list} and set(map(len, encoded)) == {3}:
        offsets, indexes, counts = zip(*encoded, strict=True)
        are_numbers = set(map(type, chain(offsets, indexes, counts))) == {int}
        are_natural = are_numbers and min((*offsets, *indexes)) >= 0 and max(offsets) < EXACT
        if are_natural and max(counts) <= MOST_IN_MESSAGE and all(map(operator.lt, indexes, counts)):
            return tuple(zip(offsets, indexes, counts, strict=True))
    return tuple([natural(one) if type(one) is int else _id(one) for one in encoded])


def _id(encoded: Any) -> RecordId:
    if not isinstance(encoded, list):
        raise MetrolineError(f"{encoded!r} is no record's id")
    offset, index, count = (natural(part) for part in encoded)
    if not index < count <= MOST_IN_MESSAGE:
        raise MetrolineError(f"record {index} of {count}")
    return (offset, index, count)


def id_of(name: str) -> tuple[Origin, int, int | None]:
    """What `id_text` says: origin, offset and, in a packed message, the place in it; raises `MetrolineError`."""
    found = ID.fullmatch(name)
    if found is None:
        raise MetrolineError(f"{name!r} is no record's id: it looks like source-0-17 or source-0-17.3")
    index = found["index"]
    return Origin(found["name"], int(found["partition"])), int(found["offset"]), None if index is None else int(index)


def id_text(origin: Origin, record: RecordId) -> str:
    """A record's id for a person: epoch or topic, partition, offset and, in a packed message, the place in it."""
    if type(record) is int:
        return f"{origin.name}-{origin.partition}-{record}"
    offset, index, _ = cast("tuple[int, int, int]", record)
    return f"{origin.name}-{origin.partition}-{offset}.{index}"
