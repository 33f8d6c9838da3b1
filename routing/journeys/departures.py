"""The records that leave from one message, grouped by address."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from metroline.routing.addresses import ARRIVALS, is_service, service_address, waiting_room
from metroline.routing.journeys.dead_letters import kept
from metroline.routing.messages.envelope import Envelope, by_partition, pack, partitions_of
from metroline.routing.messages.itinerary import Hop, NextStep
from metroline.routing.messages.record_ids import SEVERAL, Origin
from metroline.routing.messages.segment import Attempts, Segment, Waits
from metroline.routing.outcome import Cause, Ending, Outcome

StayTogether = Callable[[str, Collection[int]], bool]
"""Returns whether records of several partitions stay in one envelope on their way to an address."""


def never(_address: str, _partitions: Collection[int]) -> bool:
    """Divide records by partition, whatever their address is."""
    return False


HEADER_BYTES = 64 * 1024
"""Bytes of a message that are reserved for the header of its envelope."""

MAX_RETRIED = 16
"""Number of stops whose failed attempts a record brings along, the latest ones: the header has its bounds."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Maximum sizes of envelopes and messages, and the maximum length of a journey."""

    pack_bytes: int = 900 * 1024
    """Maximum bytes of records in an envelope; a single larger record gets an envelope of its own."""
    pack_records: int = 1_000
    """Maximum number of records in an envelope."""
    message_bytes: int = 2 * 1_048_588
    """Maximum size of a message on the bus, in bytes."""
    max_hops: int = 64
    """Maximum number of stops in a journey; a record that would visit another one becomes a dead letter."""

    @property
    def record_bytes(self) -> int:
        """Maximum size of a record with its key and headers, in bytes.

        The rest of a message is for the header of the envelope, whose size depends on the strategy and on the journey.
        """
        return self.message_bytes - min(HEADER_BYTES, self.message_bytes // 4)


@dataclass(slots=True)
class Departures:
    """Segments that leave together, collected by address until all of them are known."""

    strategy: str
    origin: Origin
    max_hops: int = Limits().max_hops
    record_bytes: int = Limits().record_bytes
    """Maximum size of a record, in bytes; a larger one becomes a dead letter, whatever the strategy is."""
    by_address: dict[str, list[Segment]] = field(default_factory=dict)
    """The segments that take their next step."""
    returning: dict[str, list[Segment]] = field(default_factory=dict)
    """The segments that return to their stop unchanged."""

    @classmethod
    def of(cls, envelope: Envelope, limits: Limits) -> Departures:
        """Return empty departures for the records of an envelope."""
        return cls(envelope.strategy, envelope.origin, limits.max_hops, limits.record_bytes)

    def __len__(self) -> int:
        """Return the number of records."""
        segments = (segment for by in (self.by_address, self.returning) for each in by.values() for segment in each)
        return sum(len(segment.ids) for segment in segments)

    def add(self, segment: Segment, hop: Hop) -> None:
        """Add a segment that makes this hop.

        It ends as `too_many_hops` if its journey has reached `max_hops`. Records that are too large end instead of it.
        """
        if segment.size() > self.record_bytes:
            places = self._end_large(segment)
            if not places:
                return
            segment = segment.part(places)
        outcome, to = hop.outcome, hop.to
        visited = len(segment.history)
        if is_service(to) and visited >= self.max_hops:
            outcome = Outcome.dead(Cause.TOO_MANY_HOPS, f"{visited} stops visited, the maximum is {self.max_hops}")
            to = ARRIVALS
        is_dead = outcome is not None and outcome.ending is Ending.DEAD
        moved = replace(
            segment,
            chosen=hop.chosen,
            itinerary=hop.itinerary if outcome is None else None,
            outcome=outcome,
            hops=segment.hops + 1,
            attempts=segment.attempts if is_dead else None,
            waits=segment.waits if is_dead else None,
            is_handled=False,
            waited=segment.waited if is_dead else _waited(segment),
            retried=segment.retried if is_dead else _retried(segment),
        )
        self.by_address.setdefault(to, []).append(moved)

    def _end_large(self, segment: Segment) -> list[int]:
        """End the records of a segment that are too large; return the indexes of the others."""
        others = []
        for place, size in enumerate(segment.sizes()):
            if size <= self.record_bytes:
                others.append(place)
                continue
            one = segment.part([place])
            outcome = Outcome.dead(Cause.TOO_LARGE, f"the record has {size} bytes, the maximum is {self.record_bytes}")
            letter = replace(one, lines=(kept(one.lines[0]),), itinerary=None, outcome=outcome, hops=segment.hops + 1)
            self.by_address.setdefault(ARRIVALS, []).append(letter)
        return others

    def add_each(self, segment: Segment, next_steps: Sequence[NextStep], by: str) -> None:
        """Add a segment whose record i takes `next_steps[i]`; records with the same object as next step stay together.

        `by` is the decider that the history names.
        """
        if len(set(map(id, next_steps))) == 1:
            self.add(segment, next_steps[0].hop(by))
            return
        groups: dict[int, tuple[NextStep, list[int]]] = {}
        for place, next_step in enumerate(next_steps):
            group = groups.get(id(next_step))
            if group is None:
                groups[id(next_step)] = (next_step, [place])
            else:
                group[1].append(place)
        for next_step, places in groups.values():
            self.add(segment.part(places), next_step.hop(by))

    def send_back(self, segment: Segment, stop: str, seconds: float = 0.0) -> None:
        """Add a segment that returns to its stop unchanged, through a waiting room if it has to wait some `seconds`."""
        back = replace(segment, hops=segment.hops + 1)
        self.returning.setdefault(waiting_room(seconds) or service_address(stop), []).append(back)

    def end(self, segment: Segment, outcome: Outcome) -> None:
        """Add a segment whose journey ends with this outcome, which replaces any outcome that it had."""
        self.add(replace(segment, outcome=None), Hop(ARRIVALS, outcome=outcome))

    def packs(self, limits: Limits, fill: float = 1.0) -> Iterator[tuple[str, Envelope]]:
        """Yield envelopes with their addresses; `fill` is the share of `limits.pack_bytes` that they may use."""
        yield from self.packs_onward(limits, fill)
        yield from self.packs_back(limits)

    def packs_onward(
        self, limits: Limits, fill: float = 1.0, stay_together: StayTogether = never
    ) -> Iterator[tuple[str, Envelope]]:
        """Yield the envelopes of segments that take their next step, as `packs` does.

        `stay_together` returns whether records of these partitions stay in one envelope on their way to an address.
        """
        return self._packs(self.by_address, int(limits.pack_bytes * fill), limits.pack_records, stay_together)

    def packs_back(self, limits: Limits) -> Iterator[tuple[str, Envelope]]:
        """Yield the envelopes of segments that return to their stop, as `packs` does."""
        return self._packs(self.returning, limits.pack_bytes, limits.pack_records, never)

    def _packs(
        self,
        by_address: dict[str, list[Segment]],
        max_bytes: int,
        max_records: int,
        stay_together: StayTogether,
    ) -> Iterator[tuple[str, Envelope]]:
        for address, segments in by_address.items():
            is_one = self.origin.partition != SEVERAL or stay_together(address, partitions_of(self.origin, segments))
            for origin, own in [(self.origin, segments)] if is_one else by_partition(self.origin, segments):
                for envelope in pack(self.strategy, origin, own, max_bytes, max_records):
                    yield address, envelope


def _waited(segment: Segment) -> tuple[Waits, ...]:
    """Return the waits of a segment that leaves a stop."""
    return segment.waited if segment.waits is None else (*segment.waited, segment.waits._replace(progress=""))


def _retried(segment: Segment) -> tuple[Attempts, ...]:
    """Return the failed attempts at visited stops, with those at the stop that the records leave."""
    attempts = segment.attempts
    if attempts is None or not attempts.causes:
        return segment.retried
    return (*segment.retried, attempts.survived())[-MAX_RETRIED:]
