"""What leaves from one envelope, gathered by address, and how much an envelope may hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from metroline.routing.addresses import room_for, service_address
from metroline.routing.messages.itinerary import Hop, NextStep
from metroline.routing.messages.record_ids import Origin
from metroline.routing.messages.segment import Segment


@dataclass(frozen=True, slots=True)
class Limits:
    """How much an envelope may hold and how far a journey may go."""

    pack_bytes: int = 900 * 1024
    pack_records: int = 1_000
    message_bytes: int = 2 * 1_048_588
    max_hops: int = 64


@dataclass(slots=True)
class Departures:
    """What leaves from one envelope, gathered by address until all of it is known."""

    strategy: str
    origin: Origin
    max_hops: int
    by_address: dict[str, list[Segment]] = field(default_factory=dict)

    def add(self, segment: Segment, move: Hop) -> None:
        """Takes a segment that makes this move."""
        to, moved = segment.moved(move, self.max_hops)
        self.by_address.setdefault(to, []).append(moved)

    def send_back(self, segment: Segment, stop: str, seconds: float = 0.0) -> None:
        """Sends a segment back to the stop that it has come to, as it came, through a waiting room if it shall wait."""
        back = replace(segment, hops=segment.hops + 1)
        self.by_address.setdefault(room_for(seconds) or service_address(stop), []).append(back)

    def add_next_steps(self, segment: Segment, next_steps: Sequence[NextStep], by: str) -> None:
        """Takes a segment whose records go their own ways, `next_steps[i]` being the way of record i: split by way."""
        if len(set(map(id, next_steps))) == 1:
            self.add(segment, next_steps[0].move(by))
            return
        groups: dict[int, tuple[NextStep, list[int]]] = {}
        for place, next_step in enumerate(next_steps):
            group = groups.get(id(next_step))
            if group is None:
                groups[id(next_step)] = (next_step, [place])
            else:
                group[1].append(place)
        for next_step, places in groups.values():
            self.add(segment.part(places), next_step.move(by))
