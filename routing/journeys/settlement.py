"""Which records have their outcome, exactly and in a few bits each, with the counts of their outcomes.

Per partition and block of offsets: a bitmap of the messages that are settled whole and small bitmaps for those of
several lines that are settled in part. A block's bitmaps and counts are one value, so that both survive or neither.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeGuard, cast

from pyroaring import BitMap

from metroline.routing.messages.record_ids import Origin, RecordId
from metroline.routing.outcome import Ending, Outcome

BLOCK_OFFSETS = 16_384
"""Offsets in a block."""

MAX_KEYS = 256
"""Kinds of outcome that a block counts apart; what is more is counted as OTHER."""

OTHER = "other reasons"

EMPTY = BitMap()

MAX_REASON = 200
"""Characters of a drop's reason that it is counted by."""

MAX_INDEX = 2**32 // BLOCK_OFFSETS - 1
"""Records of one message of which each can be told from the others in a bitmap of 32-bit numbers."""

OutcomeKey = tuple[str, str, str]
"""Last stop, ending, and the drop's reason or the dead letter's cause ('' for delivered)."""


def offset_of(record: RecordId) -> int:
    """The offset of a record's source message."""
    return record if type(record) is int else cast("tuple[int, int, int]", record)[0]


def mark_of(record: RecordId) -> int | None:
    """What a record is found by among the dead ones of its block; None for one so far back in its message that it
    cannot be replayed."""
    if type(record) is int:
        return record % BLOCK_OFFSETS
    offset, index, count = cast("tuple[int, int, int]", record)
    if count == 1:
        return offset % BLOCK_OFFSETS
    return None if index >= MAX_INDEX else offset % BLOCK_OFFSETS + (index + 1) * BLOCK_OFFSETS


def by_block(ids: Iterable[RecordId]) -> Iterator[tuple[int, list[int]]]:
    """The places of these ids, apart by the block they lie in."""
    all_ids = list(ids)
    if len(all_ids) > 1 and len(set(map(type, all_ids))) == 1:  # nearly always: of one kind, and in one block
        first, last = offset_of(min(all_ids)) // BLOCK_OFFSETS, offset_of(max(all_ids)) // BLOCK_OFFSETS
        if first == last:
            return iter([(first, list(range(len(all_ids))))])
    blocks: dict[int, list[int]] = {}
    for place, record in enumerate(all_ids):
        blocks.setdefault(offset_of(record) // BLOCK_OFFSETS, []).append(place)
    return iter(blocks.items())


def _are_offsets(ids: list[RecordId]) -> TypeGuard[list[int]]:
    """Whether each of them, of which there is one at least, is the offset of a message of one record."""
    return set(map(type, ids)) == {int}


def outcome_key(last_stop: str, outcome: Outcome) -> OutcomeKey:
    """Return what an outcome is counted under: a dead letter by its cause, since their details are many."""
    counted = outcome.reason or "" if outcome.cause is None else outcome.cause.value
    return (last_stop, outcome.ending.value, counted[:MAX_REASON])


def block_key(origin: Origin, number: int) -> bytes:
    """Return the key under which a block is stored; it begins with the partition."""
    return f"{origin.partition}/{origin.name}/{number}".encode()


@dataclass(slots=True)
class SettledBlock:
    """The settled records of one block of offsets."""

    whole: BitMap = field(default_factory=BitMap)
    partial: dict[int, tuple[int, BitMap]] = field(default_factory=dict)
    """Per offset: how many records its message holds, and which of them are settled."""
    counts: Counter[OutcomeKey] = field(default_factory=Counter)
    hops: int = 0
    """How often the settled records were written to the bus."""
    duplicates: int = 0
    """Outcomes that came for a record that was settled."""
    dead: BitMap = field(default_factory=BitMap)
    """The records that ended as dead letters, by their marks."""
    generations: dict[int, BitMap] = field(default_factory=dict)
    """The records that began anew, by their marks, apart by how often they did."""
    _encoded: dict[int, list[Any]] = field(default_factory=dict, repr=False, compare=False)
    """Entries of `partial` as JSON data, as long as they have not changed: many are under way at once."""

    def settle(self, ids: Iterable[RecordId], kind: OutcomeKey, hops: int, generation: int = 0) -> list[int]:
        """Settles records of this block that came with one outcome; gives the places of those that had none."""
        all_ids = list(ids)
        fresh = None if generation or self.generations else self._settle_all(all_ids)
        if fresh is None:
            fresh = [
                place
                for place, record in enumerate(all_ids)
                if self.generation(record) == generation and self._settle(record)
            ]
        if fresh:
            self.counts[self._counted_as(kind)] += len(fresh)
            self.hops += hops * len(fresh)
            if kind[1] == Ending.DEAD:
                self.dead.update([mark for place in fresh if (mark := mark_of(all_ids[place])) is not None])
        self.duplicates += len(all_ids) - len(fresh)
        return fresh

    def generation(self, record: RecordId) -> int:
        """How often a record began anew."""
        mark = mark_of(record) if self.generations else None
        if mark is None:
            return 0
        return next((generation for generation, marks in self.generations.items() if mark in marks), 0)

    def is_dead(self, record: RecordId, generation: int) -> bool:
        """Whether a record is a dead letter of this generation, and was not replayed or discarded since."""
        mark = mark_of(record)
        return mark is not None and mark in self.dead and self.generation(record) == generation

    def reopen(self, ids: Iterable[RecordId], kind: OutcomeKey, generation: int) -> list[int]:
        """Takes back the outcome of those that are dead letters of this generation; gives their places.

        Each begins anew as the next generation, so what is asked for twice happens once.
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
        """The quick way, for records of which none is settled; None where that is not so."""
        if not _are_offsets(ids):
            return self._settle_packed(ids)
        new = BitMap([record % BLOCK_OFFSETS for record in ids])
        if len(new) != len(ids) or self.whole.intersect(new):
            return None
        self.whole |= new
        return list(range(len(ids)))

    def _settle_packed(self, ids: list[RecordId]) -> list[int] | None:
        """The same for records of messages of several."""
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
        """As JSON data; the bitmaps in roaring's portable format, base64."""
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
        }

    @classmethod
    def decode(cls, data: dict[str, Any]) -> SettledBlock:
        return cls(
            _decode(data["whole"]),
            {int(place): (count, _decode(settled)) for place, (count, settled) in data["partial"].items()},
            Counter({(stop, ending, reason): count for stop, ending, reason, count in data["counts"]}),
            data["hops"],
            data["duplicates"],
            _decode(data["dead"]) if "dead" in data else BitMap(),
            {generation: _decode(marks) for generation, marks in data.get("generations", ())},
        )


def _encode(bitmap: BitMap) -> str:
    return base64.b64encode(bitmap.serialize()).decode()


def _decode(encoded: str) -> BitMap:
    return BitMap.deserialize(base64.b64decode(encoded))
