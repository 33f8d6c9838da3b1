"""One journey that ended, as a message of the topic `journeys` or of the dead letters holds it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import NamedTuple

from metroline.routing.journeys.dead_letter_messages import read_dead_letter
from metroline.routing.journeys.kept_journeys import KeptJourneys
from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.record_ids import Origin, RecordId, id_text
from metroline.routing.messages.segment import Segment


class Shelf(StrEnum):
    """The two topics that hold journeys."""

    KEPT = "kept"
    """Journeys that ended without a failure, or a sample of them."""
    FAILED = "failed"
    """Dead letters, all of them."""


class RawMessage(NamedTuple):
    """A message of either topic, as far as it is needed to read its journeys."""

    offset: int
    value: bytes | None
    key: bytes | None
    headers: Sequence[tuple[str, bytes | None]]
    timestamp: int
    """Milliseconds since the epoch."""


class EndedJourney(NamedTuple):
    """The journey of the record at a place in a segment, and when it ended, in seconds since the epoch."""

    strategy: str
    origin: Origin
    segment: Segment
    place: int
    ended: float

    @property
    def record_id(self) -> RecordId:
        return self.segment.ids[self.place]

    @property
    def id(self) -> str:
        return id_text(self.origin, self.record_id)

    @property
    def envelope(self) -> Envelope:
        """The journey alone."""
        return Envelope(self.strategy, self.origin, (self.segment.part([self.place]),))


class ReadMessage(NamedTuple):
    """The journeys in a message: for each segment of the envelope, when its journeys ended."""

    envelope: Envelope
    ended: Sequence[float]
    """Seconds since the epoch."""
    total: int
    """Number of journeys that ended, of which these were kept."""

    def journeys(self) -> Iterator[EndedJourney]:
        """Yield the journeys."""
        envelope = self.envelope
        for segment, at in zip(envelope.segments, self.ended, strict=True):
            for place in range(len(segment.ids)):
                yield EndedJourney(envelope.strategy, envelope.origin, segment, place, at)


def read_message(shelf: Shelf, partition: int, message: RawMessage) -> ReadMessage:
    """Return the journeys in a message; raise `MalformedEnvelope`, among other errors, if no worker wrote it."""
    if shelf is Shelf.KEPT:
        kept = KeptJourneys.decode(message.value or b"", partition)
        return ReadMessage(kept.envelope, kept.ended, kept.count)
    envelope, at = read_dead_letter(message.value, message.key, message.headers, message.timestamp)
    return ReadMessage(envelope, (at,) * len(envelope.segments), len(envelope))
