"""An index of the dead letters on a topic of another system: their groups and places, in a few bytes a letter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pyroaring import BitMap64

from metroline.agents.kafka.topic_tail import Place
from metroline.routing.journeys.foreign_letters import ForeignLetter

MAX_LETTERS = 1_000_000
"""Number of dead letters that an index holds. Further ones are counted, and listed once others are gone."""

MAX_GROUPS = 10_000
"""Number of groups. The dead letters of further ones are counted, too."""

ROOM_SHARE = 0.25
"""Share of the letters of a full index that have to be gone before the topic is read again for the others."""

MAX_ORIGINS = 100_000
"""Number of partitions, over all groups, of which an index remembers the places that letters came from."""

MAX_TEXT = 1_000
"""Number of characters that an example keeps of a text."""

NONE = BitMap64()

Offsets = Mapping[int, BitMap64]
"""Offsets by partition."""


@dataclass(slots=True)
class ForeignGroup:
    """Dead letters of another system with one cause."""

    id: str
    example: ForeignLetter
    """One of them, without its headers and its stack trace, and with the beginnings of its texts."""
    places: dict[int, BitMap64] = field(default_factory=dict)
    """Their offsets, by partition."""
    origins: dict[int, BitMap64] = field(default_factory=dict)
    """The offsets of their messages on the topic that these came from, by partition."""
    first: float = float("inf")
    last: float = 0.0

    @property
    def count(self) -> int:
        return sum(map(len, self.places.values()))

    def listed(self, after: Place | None = None) -> Iterator[Place]:
        """Yield the places of the letters in order, from behind a place on."""
        for partition in sorted(self.places):
            if after is None or partition > after[0]:
                yield from ((partition, offset) for offset in self.places[partition])
            elif partition == after[0]:
                yield from ((partition, offset) for offset in self.places[partition] if offset > after[1])

    def without(self, gone: Offsets) -> ForeignGroup:
        """Return the group without letters."""
        left = {partition: offsets - gone.get(partition, NONE) for partition, offsets in self.places.items()}
        places = {partition: offsets for partition, offsets in left.items() if offsets}
        return ForeignGroup(self.id, self.example, places, self.origins, self.first, self.last)

    def as_json(self) -> dict[str, Any]:
        one = self.example
        partition, offset = next(self.listed())
        return {
            "group": self.id,
            "system": one.system,
            "topic": one.topic,
            "stage": one.stage,
            "error": one.error,
            "message": one.message,
            "count": self.count,
            "first": self.first,
            "last": self.last,
            "example": f"{partition}-{offset}",
        }


class ForeignIndex:
    """The dead letters on a topic by group."""

    def __init__(self, max_letters: int = MAX_LETTERS, max_groups: int = MAX_GROUPS) -> None:
        self._max_letters, self._max_groups = max_letters, max_groups
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._groups: dict[str, ForeignGroup] = {}
        self._size = self._origins = 0
        self.others = 0
        """Number of messages on the topic that are no dead letters."""
        self.left_out = 0
        """Number of dead letters for which there was no room."""

    def add(self, place: Place, letter: ForeignLetter, at: float, *, is_gone: bool) -> None:
        """Add the dead letter at a place, written at a time in seconds since the epoch.

        One that is gone is only remembered by the place of its message.
        """
        name = letter.group
        group = self._groups.get(name)
        if self._size >= self._max_letters or (group is None and len(self._groups) >= self._max_groups):
            self.left_out += not is_gone
            return
        if group is None:
            group = self._groups[name] = ForeignGroup(name, _shortened(letter))
        self._note_origin(group, letter)
        if not is_gone:
            self._size += 1
            group.places.setdefault(place[0], BitMap64()).add(place[1])
            group.first, group.last = min(group.first, at), max(group.last, at)

    def _note_origin(self, group: ForeignGroup, letter: ForeignLetter) -> None:
        if letter.partition is None or letter.offset is None:
            return
        offsets = group.origins.get(letter.partition)
        if offsets is None:
            if self._origins >= MAX_ORIGINS:
                return
            self._origins += 1
            offsets = group.origins[letter.partition] = BitMap64()
        offsets.add(letter.offset)

    def drop(self, places: Iterator[Place]) -> None:
        """Forget letters that the topic does not hold any more."""
        for partition, offset in places:
            for group in self._groups.values():
                if partition in group.places:
                    group.places[partition].discard(offset)

    def groups(self, gone: Offsets) -> list[ForeignGroup]:
        """Return the groups without the letters that are gone, the largest one first."""
        left = (group.without(gone) for group in self._groups.values())
        return sorted((group for group in left if group.places), key=lambda group: (-group.count, group.id))

    def come_back(self, topic: str, sent: Offsets) -> int:
        """Return how many messages on a topic, by their places, are dead letters."""
        return sum(
            len(offsets & sent.get(partition, NONE))
            for group in self._groups.values()
            if group.example.topic == topic
            for partition, offsets in group.origins.items()
        )

    def has_room(self, gone: Offsets) -> bool:
        """Return whether letters were left out for which there is room by now."""
        if not self.left_out:
            return False
        taken = sum(
            len(offsets & gone.get(partition, NONE))
            for group in self._groups.values()
            for partition, offsets in group.places.items()
        )
        return taken >= ROOM_SHARE * self._size


def _shortened(letter: ForeignLetter) -> ForeignLetter:
    error, message, stage = (text[:MAX_TEXT] for text in (letter.error, letter.message, letter.stage))
    return letter._replace(error=error, message=message, stage=stage, headers=(), stacktrace="")
