"""Knows where records wait on the bus, so that none that goes on in memory overtakes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.record_ids import RecordId

Place = tuple[str, int]
"""An address and a partition."""

MAX_SENT = 10_000
"""Envelopes that are remembered of a place. More wait only at a stop that is slow, and packs go by the bus there."""


@dataclass(slots=True)
class _Waiting:
    """The messages that wait at a place of this worker."""

    position: int
    """The offset of the next message that the agent handles."""
    end: int | None = None
    """The offset after the last message that was there when the brokers were asked; None if it is not known."""
    sent: set[tuple[str, RecordId]] = field(default_factory=set)
    """The first records of the envelopes that this worker has sent there since."""


class Detours:
    """The places of this worker, and what waits there on the bus.

    A place is clear once its agent has handled everything that was there when the partition was assigned, and
    everything that this worker has sent there since. Other workers send to it only what has no order with what this
    worker hands on: a partition of the source has one reader, and each partition of a stop as well.
    """

    def __init__(self) -> None:
        self._places: dict[Place, _Waiting] = {}
        self.changes = 0
        """The number of times that the places of this worker have changed."""
        self.lost: set[Place] = set()
        """Places where more was sent than is remembered. Ask the brokers for their ends, and call `found`."""

    def assign(self, positions: Mapping[Place, int]) -> None:
        """Set the places of this worker, with the offset that it reads next in each. None of them is clear yet."""
        self._places = {place: _Waiting(position) for place, position in positions.items()}
        self.lost.clear()

    def recount(self) -> set[Place]:
        """Return the lost places. What was sent there since they were lost is remembered."""
        places, self.lost = self.lost, set()
        return places

    def found(self, ends: Mapping[Place, int]) -> None:
        """Set the offset after the last message of each place, found after the places were assigned."""
        for place, end in ends.items():
            if place in self._places:
                self._places[place].end = end

    def revoke(self) -> None:
        """Forget all places."""
        self.changes += 1
        self._places = {}
        self.lost.clear()

    def is_clear(self, place: Place) -> bool:
        """Return whether the place is this worker's and nothing waits there."""
        waiting = self._places.get(place)
        return waiting is not None and waiting.end is not None and waiting.position >= waiting.end and not waiting.sent

    def sent(self, address: str, envelope: Envelope) -> None:
        """Note an envelope that is sent by the bus."""
        waiting = self._places.get((address, envelope.origin.partition))
        if waiting is None:
            return
        waiting.sent.add(_first_record(envelope))
        if len(waiting.sent) >= MAX_SENT:
            waiting.sent.clear()
            waiting.end = None
            self.lost.add((address, envelope.origin.partition))

    def refused(self, address: str, envelope: Envelope) -> None:
        """Forget an envelope that no broker accepts."""
        waiting = self._places.get((address, envelope.origin.partition))
        if waiting is not None:
            waiting.sent.discard(_first_record(envelope))

    def handled(self, place: Place, next_offset: int, envelopes: Iterable[Envelope]) -> None:
        """Note that an agent has handled envelopes, and every message of the place before an offset."""
        waiting = self._places.get(place)
        if waiting is not None:
            waiting.position = next_offset
            if waiting.sent:
                waiting.sent.difference_update(map(_first_record, envelopes))


def _first_record(envelope: Envelope) -> tuple[str, RecordId]:
    return envelope.origin.name, envelope.segments[0].ids[0]
