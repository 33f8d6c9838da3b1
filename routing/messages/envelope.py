"""The envelope: one message of the bus, a header and one or many records that travel together (Envelope Wrapper).

On the bus it is JSON lines: the first line is the header, each further line one record. What records share stands once:
the header's segments each say for a range of lines what is behind them and what is ahead.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import orjson

from metroline.routing.errors import MalformedEnvelope, MetrolineError
from metroline.routing.messages.header_checks import natural, text
from metroline.routing.messages.record_ids import Origin
from metroline.routing.messages.segment import Segment, decode_segments, encode_segment

FORMAT = 2
"""The format that is written."""

READABLE = frozenset({1, FORMAT})
"""The formats that are read: this one and the one before it."""

MOST = 300
"""Characters of an error's text that are kept; it may repeat what it found."""


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
            "segments": [encode_segment(segment) for segment in self.segments],
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
            if natural(header["metroline"]) not in READABLE:
                raise MetrolineError(f"its format is {header['metroline']}; this worker reads up to {FORMAT}")
            origin = header["origin"]
            if "/" in origin[0]:
                raise MetrolineError(f"{origin[0]!r} is no origin")
            if partition is not None and origin[1] != partition:
                raise MetrolineError(f"it comes from partition {origin[1]} and lies in {partition}")
            envelope = cls(
                text(header["strategy"]),
                Origin(text(origin[0]), natural(origin[1])),
                tuple(decode_segments(header["segments"], lines)),
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
