"""Kept journeys: some of those that ended without a failure, in messages that also say how many ended.

A message is an envelope, as the bus has them, below a line with the times at which its segments ended.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import orjson
from msgspec import Struct
from msgspec.structs import replace

from metroline.routing.errors import MalformedEnvelope, MetrolineError
from metroline.routing.messages.envelope import Envelope, pack
from metroline.routing.messages.header_checks import natural, seconds
from metroline.routing.messages.record_ids import Origin
from metroline.routing.messages.segment import Segment

KEPT_PER_SECOND = 50
"""Default number of journeys that a worker keeps in a second."""

MAX_RECORD_BYTES = 16 * 1024
"""Size of a record, in bytes. Of a larger one, the beginning is kept as text."""

MAX_MESSAGE_BYTES = 256 * 1024
"""Bytes of records in a message."""

MAX_LOOKED_AT = 500
"""Number of segments that are looked at when some of their records are chosen."""


class EndedSegment(Struct, frozen=True):
    """Records whose journeys ended, and when, in seconds since the epoch."""

    segment: Segment
    at: float


class KeptJourneys(Struct, frozen=True):
    """The journeys in a message, and the number of those that ended in the partition."""

    envelope: Envelope
    ended: tuple[float, ...]
    """For each segment of the envelope, when its journeys ended, in seconds since the epoch."""
    count: int
    """Number of journeys that ended since the message before, without those that failed."""

    def encode(self) -> bytes:
        """Return the value of the message."""
        return orjson.dumps({"count": self.count, "ended": self.ended}) + b"\n" + self.envelope.encode()

    @classmethod
    def decode(cls, raw: bytes, partition: int | None = None) -> KeptJourneys:
        """Return the journeys in the value of a message; raise `MalformedEnvelope` if there are none.

        `partition` is as in `Envelope.decode`.
        """
        head, _, rest = raw.partition(b"\n")
        envelope = Envelope.decode(rest, partition)
        try:
            header = orjson.loads(head)
            ended, count = tuple(map(seconds, header["ended"])), natural(header["count"])
        except (MetrolineError, LookupError, TypeError, ValueError) as error:
            raise MalformedEnvelope(f"no kept journeys: {error}", raw) from error
        if len(ended) != len(envelope.segments) or any(one.outcome is None for one in envelope.segments):
            raise MalformedEnvelope("no kept journeys: not every segment has ended", raw)
        return cls(envelope, ended, count)


def messages(strategy: str, origin: Origin, ended: Sequence[EndedSegment], count: int) -> Iterator[KeptJourneys]:
    """Yield messages with journeys of one partition; the first one has the count."""
    held: list[EndedSegment] = []
    size = 0
    for one in ended:
        for envelope in pack(strategy, origin, [_shortened(one.segment)], MAX_MESSAGE_BYTES, len(one.segment.ids)):
            [segment] = envelope.segments
            if held and size + segment.size() > MAX_MESSAGE_BYTES:
                yield _message(strategy, origin, held, count)
                held, size, count = [], 0, 0
            held.append(EndedSegment(segment, one.at))
            size += segment.size()
    if held:
        yield _message(strategy, origin, held, count)


def _message(strategy: str, origin: Origin, held: Sequence[EndedSegment], count: int) -> KeptJourneys:
    segments = tuple([one.segment for one in held])
    return KeptJourneys(Envelope(strategy, origin, segments), tuple([one.at for one in held]), count)


def _shortened(segment: Segment) -> Segment:
    if all(len(line) <= MAX_RECORD_BYTES for line in segment.lines):
        return segment
    return replace(segment, lines=tuple(map(_shortened_line, segment.lines)))


def _shortened_line(line: bytes) -> bytes:
    """Return the line of a record or, in place of one that is too large, what a dead letter has of such bytes."""
    if len(line) <= MAX_RECORD_BYTES:
        return line
    text = line[:MAX_RECORD_BYTES].decode(errors="ignore")
    return orjson.dumps({"raw": {"size": len(line), "text": text}})


def chosen(segments: Sequence[Segment], most: int) -> list[list[int]]:
    """Return for each segment the indexes of the records that are kept, `most` in all.

    All are kept where there are no more. Otherwise, each way and outcome has an equal share, so that rare ones are
    seen, and within it the records are spread evenly.
    """
    if sum(len(segment.ids) for segment in segments) <= most:
        return [list(range(len(segment.ids))) for segment in segments]
    kept: list[list[int]] = [[] for _ in segments]
    every = -(-len(segments) // MAX_LOOKED_AT)
    groups: dict[Any, list[int]] = {}
    for number in range(0, len(segments), every):
        groups.setdefault(_way(segments[number]), []).append(number)
    sizes = [(sum(len(segments[number].ids) for number in numbers), numbers) for numbers in groups.values()]
    left = most
    for place, (size, numbers) in enumerate(sorted(sizes, key=lambda one: one[0])):
        share = min(size, max(min(1, left), left // (len(sizes) - place)))
        _spread(segments, numbers, size, share, kept)
        left -= share
    return kept


def _way(segment: Segment) -> Any:
    outcome = segment.outcome
    return segment.stops, outcome and (outcome.ending, outcome.detail)


def _spread(segments: Sequence[Segment], numbers: Sequence[int], size: int, share: int, kept: list[list[int]]) -> None:
    """Add to `kept` the indexes of `share` of the `size` records in segments of the same way, evenly spread."""
    wanted = iter([place * size // share for place in range(share)])
    following, first = next(wanted, None), 0
    for number in numbers:
        end = first + len(segments[number].ids)
        while following is not None and following < end:
            kept[number].append(following - first)
            following = next(wanted, None)
        first = end
