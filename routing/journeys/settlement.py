"""Keeps track of the records that have an outcome, in a few bits per record, and counts their outcomes.

Each block of offsets of a partition has a bitmap of the messages that are settled completely, and a small bitmap for
each message of several lines that is settled in part. The bitmaps and the counts of a block are stored as one value, so
that they cannot contradict each other after a crash.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, groupby
from typing import Any, TypeGuard, cast

from pyroaring import BitMap

from metroline.routing.messages.record_ids import Origin, RecordId
from metroline.routing.outcome import Ending, Outcome
from metroline.routing.records.fingerprints import EXACT

BLOCK_OFFSETS = 16_384
"""Number of offsets in a block."""

MAX_KEYS = 256
"""Maximum number of outcome keys that a block counts separately; further ones are counted under `OTHER`."""

OTHER = "other reasons"

EMPTY = BitMap()

MAX_REASON_CHARACTERS = 200
"""Maximum number of characters of a stop, and of a drop's reason, in an outcome key."""

MAX_INDEX = 2**32 // BLOCK_OFFSETS - 1
"""Number of records of one message that can have a mark, since bitmaps hold 32-bit integers."""

OutcomeKey = tuple[str, str, str]
"""The key under which an outcome is counted: last stop, ending, and reason or cause ('' for delivered)."""


def offset_of(record: RecordId) -> int:
    """Return the offset of the source message of a record."""
    return record if type(record) is int else cast("tuple[int, int, int]", record)[0]


def mark_of(record: RecordId) -> int | None:
    """Return the integer that stands for a record in the bitmap of dead letters of its block.

    Return None for a record whose index in its message is `MAX_INDEX` or larger; it cannot be replayed.
    """
    if type(record) is int:
        return record % BLOCK_OFFSETS
    offset, index, count = cast("tuple[int, int, int]", record)
    if count == 1:
        return offset % BLOCK_OFFSETS
    return None if index >= MAX_INDEX else offset % BLOCK_OFFSETS + (index + 1) * BLOCK_OFFSETS


def by_block(ids: Iterable[RecordId]) -> Iterator[tuple[int, list[int]]]:
    """Yield the number of each block to which ids belong, with the indexes of these ids."""
    all_ids = list(ids)
    if len(all_ids) > 1 and len(set(map(type, all_ids))) == 1:  # the usual case: ids of one kind, in one block
        first, last = offset_of(min(all_ids)) // BLOCK_OFFSETS, offset_of(max(all_ids)) // BLOCK_OFFSETS
        if first == last:
            return iter([(first, list(range(len(all_ids))))])
    blocks: dict[int, list[int]] = {}
    for place, record in enumerate(all_ids):
        blocks.setdefault(offset_of(record) // BLOCK_OFFSETS, []).append(place)
    return iter(blocks.items())


def _are_offsets(ids: list[RecordId]) -> TypeGuard[list[int]]:
    """Return whether there are ids and each is the offset of a message with one record."""
    return set(map(type, ids)) == {int}


def outcome_key(last_stop: str, outcome: Outcome) -> OutcomeKey:
    """Return the key under which an outcome is counted. Dead letters are counted by cause, as their details vary."""
    counted = outcome.reason or "" if outcome.cause is None else outcome.cause.value
    return (last_stop[:MAX_REASON_CHARACTERS], outcome.ending.value, counted[:MAX_REASON_CHARACTERS])


def block_key(origin: Origin, number: int) -> bytes:
    """Return the key under which a block is stored; it starts with the number of the partition."""
    return f"{origin.partition}/{origin.name}/{number}".encode()


@dataclass(slots=True, weakref_slot=True)
class SettledBlock:
    """The settled records of one block of offsets."""

    whole: BitMap = field(default_factory=BitMap)
    """The messages of which all records are settled, by offset within the block."""
    partial: dict[int, tuple[int, BitMap]] = field(default_factory=dict)
    """Messages settled in part: by offset within the block, the number of records and the indexes of settled ones."""
    counts: Counter[OutcomeKey] = field(default_factory=Counter)
    hops: int = 0
    """Number of times that the settled records were written to the bus."""
    duplicates: int = 0
    """Number of outcomes that arrived for records that were already settled."""
    dead: BitMap = field(default_factory=BitMap)
    """The marks of the dead letters."""
    generations: dict[int, BitMap] = field(default_factory=dict)
    """The marks of the records that were restarted, by their current generation."""
    lost: BitMap = field(default_factory=BitMap)
    """The messages that were deleted before they were read, by offset within the block."""
    _encoded: dict[int, list[Any]] = field(default_factory=dict, repr=False, compare=False)
    """Entries of `partial` as JSON data until they change, since encoding all of them each time would be slow."""

    def settle(self, ids: Iterable[RecordId], kind: OutcomeKey, hops: int, generation: int = 0) -> list[int]:
        """Settle records of this block that share an outcome; return the indexes of those not settled before."""
        all_ids = list(ids)
        if self.lost:  # one that arrives all the same was read before it was deleted
            self.lost -= BitMap([offset_of(record) % BLOCK_OFFSETS for record in all_ids])
        fresh = None if generation or self.generations else self._settle_all(all_ids)
        if fresh is None:
            fresh = [
                place
                for place, record in enumerate(all_ids)
                if self.generation(record) == generation and self._settle(record)
            ]
        if fresh:
            self.counts[self._counted_as(kind)] += len(fresh)
            self.hops = min(self.hops + hops * len(fresh), EXACT - 1)
            if kind[1] == Ending.DEAD:
                self.dead.update([mark for place in fresh if (mark := mark_of(all_ids[place])) is not None])
        self.duplicates += len(all_ids) - len(fresh)
        return fresh

    def lose(self, places: range) -> None:
        """Count messages as lost, by offset within the block, unless a record of them has its outcome."""
        self.lost |= BitMap(places) - self.whole - BitMap(self.partial)

    def generation(self, record: RecordId) -> int:
        """Return the number of times that a record was restarted."""
        mark = mark_of(record) if self.generations else None
        if mark is None:
            return 0
        return next((generation for generation, marks in self.generations.items() if mark in marks), 0)

    def is_settled(self, record: RecordId) -> bool:
        """Return whether a record has its outcome."""
        if type(record) is int:
            return record % BLOCK_OFFSETS in self.whole
        offset, index, _ = cast("tuple[int, int, int]", record)
        place = offset % BLOCK_OFFSETS
        return place in self.whole or (place in self.partial and index in self.partial[place][1])

    def is_dead(self, record: RecordId, generation: int) -> bool:
        """Return whether a record is a dead letter of this generation that was not replayed or discarded since."""
        mark = mark_of(record)
        return mark is not None and mark in self.dead and self.generation(record) == generation

    def reopen(self, ids: Iterable[RecordId], kind: OutcomeKey, generation: int) -> list[int]:
        """Remove the outcome of the records that are dead letters of this generation; return their indexes.

        The records become the next generation, so that a second request has no effect.
        """
        opened = []
        for place, record in enumerate(ids):
            mark = mark_of(record)
            if mark is None or not self.is_dead(record, generation):
                continue
            opened.append(place)
            self.dead.discard(mark)
            if generation in self.generations:
                self.generations[generation].discard(mark)
            self.generations.setdefault(generation + 1, BitMap()).add(mark)
            self._unsettle(record)
        if opened:
            alone = min(self.counts[kind], len(opened))
            self.counts.subtract({kind: alone, (kind[0], kind[1], OTHER): len(opened) - alone})
            self.counts = +self.counts
        return opened

    def _counted_as(self, kind: OutcomeKey) -> OutcomeKey:
        known = kind in self.counts or len(self.counts) < MAX_KEYS
        return kind if known else (kind[0], kind[1], OTHER)

    def _unsettle(self, record: RecordId) -> None:
        offset, index, count = (record, 0, 1) if type(record) is int else cast("tuple[int, int, int]", record)
        place = offset % BLOCK_OFFSETS
        self._encoded.pop(place, None)
        if place in self.whole:
            self.whole.discard(place)
            if count > 1:
                self.partial[place] = (count, BitMap(range(count)))
        if count > 1:
            self.partial[place][1].discard(index)

    def _settle_all(self, ids: list[RecordId]) -> list[int] | None:
        """Settle all records at once and return their indexes; return None and do nothing if one is settled already."""
        if not _are_offsets(ids):
            return self._settle_packed(ids)
        new = BitMap([record % BLOCK_OFFSETS for record in ids])
        if len(new) != len(ids) or self.whole.intersect(new):
            return None
        self.whole |= new
        return list(range(len(ids)))

    def _settle_packed(self, ids: list[RecordId]) -> list[int] | None:
        """Do what `_settle_all` does, for records of messages with several lines."""
        if set(map(type, ids)) != {tuple}:
            return None
        new: dict[tuple[int, int], list[int]] = {}
        for offset, index, count in cast("list[tuple[int, int, int]]", ids):
            new.setdefault((offset % BLOCK_OFFSETS, count), []).append(index)
        marks = {message: BitMap(indexes) for message, indexes in new.items()}
        for (place, count), settled in marks.items():
            known = self.partial.get(place, (count, EMPTY))
            if place in self.whole or known[0] != count or known[1].intersect(settled):
                return None
        if len({place for place, _ in marks}) != len(marks) or sum(map(len, marks.values())) != len(ids):
            return None
        for (place, count), settled in marks.items():
            self._encoded.pop(place, None)
            all_settled = settled | self.partial.pop(place, (count, EMPTY))[1]
            if len(all_settled) < count:
                self.partial[place] = (count, all_settled)
            else:
                self.whole.add(place)
        return list(range(len(ids)))

    def _settle(self, record: RecordId) -> bool:
        offset, index, count = (record, 0, 1) if type(record) is int else cast("tuple[int, int, int]", record)
        place = offset % BLOCK_OFFSETS
        if place in self.whole:
            return False
        _, settled = self.partial.setdefault(place, (count, BitMap()))
        if index in settled:
            return False
        settled.add(index)
        self._encoded.pop(place, None)
        if len(settled) >= count:
            del self.partial[place]
            self.whole.add(place)
        return True

    def encode(self) -> dict[str, Any]:
        """Return the block as JSON data, with bitmaps in the portable format of Roaring as base64."""
        self.whole.run_optimize()
        self.dead.run_optimize()
        for bitmap in self.generations.values():
            bitmap.run_optimize()
        for place in self.partial.keys() - self._encoded.keys():
            count, settled = self.partial[place]
            settled.run_optimize()
            self._encoded[place] = [count, _encode(settled)]
        return {
            "whole": _encode(self.whole),
            "partial": {str(place): self._encoded[place] for place in self.partial},
            "counts": [[*kind, count] for kind, count in self.counts.items()],
            "hops": self.hops,
            "duplicates": self.duplicates,
            "dead": _encode(self.dead),
            "generations": [[generation, _encode(marks)] for generation, marks in self.generations.items() if marks],
            "lost": list(_ranges(self.lost)),
        }

    @classmethod
    def decode(cls, data: dict[str, Any]) -> SettledBlock:
        """Return the block in JSON data."""
        return cls(
            _decode(data["whole"]),
            {int(place): (count, _decode(settled)) for place, (count, settled) in data["partial"].items()},
            Counter({(stop, ending, reason): count for stop, ending, reason, count in data["counts"]}),
            data["hops"],
            data["duplicates"],
            _decode(data["dead"]) if "dead" in data else BitMap(),
            {generation: _decode(marks) for generation, marks in data.get("generations", ())},
            BitMap(chain.from_iterable(range(first, last + 1) for first, last in data.get("lost", ()))),
        )


def _ranges(bitmap: BitMap) -> Iterator[tuple[int, int]]:
    """Yield the first and the last number of each run of numbers in a bitmap."""
    for _, run in groupby(enumerate(bitmap), key=lambda place: place[1] - place[0]):
        numbers = [number for _, number in run]
        yield numbers[0], numbers[-1]


def _encode(bitmap: BitMap) -> str:
    return base64.b64encode(bitmap.serialize()).decode()


def _decode(encoded: str) -> BitMap:
    return BitMap.deserialize(base64.b64decode(encoded))
