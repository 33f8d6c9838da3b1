"""Which records have their outcome, exactly and in a few bits each, with the counts of their outcomes.

Per partition and block of offsets: a bitmap of the messages that are settled whole and small bitmaps for those of
several lines that are settled in part. A block's bitmaps and counts are one value, so that both survive or neither.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, cast

from pyroaring import BitMap

from routing.envelope import RecordId
from routing.outcome import Ending, Outcome

BLOCK = 16_384
"""Offsets in a block."""

MOST_KEYS = 256
"""Kinds of outcome that a block counts apart; what is more is counted as OTHER."""

OTHER = "other reasons"

Kind = tuple[str, str, str]
"""Last stop, ending, and the drop's reason or the dead letter's cause ('' for delivered)."""


def offset_of(record: RecordId) -> int:
    """The offset of a record's source message."""
    return record if type(record) is int else cast("tuple[int, int, int]", record)[0]


def by_block(ids: Iterable[RecordId]) -> Iterator[tuple[int, list[int]]]:
    """The places of these ids, apart by the block they lie in."""
    blocks: dict[int, list[int]] = {}
    for place, record in enumerate(ids):
        blocks.setdefault(offset_of(record) // BLOCK, []).append(place)
    return iter(blocks.items())


def kind_of(last_stop: str, outcome: Outcome) -> Kind:
    """What an outcome is counted under: a dead letter by its cause, whose details are many."""
    reason = outcome.reason or ""
    return (last_stop, outcome.ending.value, reason.partition(":")[0] if outcome.ending is Ending.DEAD else reason)


@dataclass(slots=True)
class Block:
    """The settled records of one block of offsets."""

    whole: BitMap = field(default_factory=BitMap)
    partial: dict[int, tuple[int, BitMap]] = field(default_factory=dict)
    """Per offset: how many records its message holds, and which of them are settled."""
    counts: Counter[Kind] = field(default_factory=Counter)
    hops: int = 0
    """How often the settled records were written to the bus."""
    duplicates: int = 0
    """Outcomes that came for a record that was settled."""

    def settle(self, ids: Iterable[RecordId], kind: Kind, hops: int) -> list[int]:
        """Settles records of this block that came with one outcome; gives the places of those that had none."""
        all_ids = list(ids)
        fresh = self._settle_all(all_ids)
        if fresh is None:
            fresh = [place for place, record in enumerate(all_ids) if self._settle(record)]
        if fresh:
            known = kind in self.counts or len(self.counts) < MOST_KEYS
            self.counts[kind if known else (kind[0], kind[1], OTHER)] += len(fresh)
            self.hops += hops * len(fresh)
        self.duplicates += len(all_ids) - len(fresh)
        return fresh

    def _settle_all(self, ids: list[RecordId]) -> list[int] | None:
        """The quick way, for messages of one record each of which none is settled; None where that is not so."""
        if any(type(record) is not int for record in ids):
            return None
        new = BitMap([cast("int", record) % BLOCK for record in ids])
        if len(new) != len(ids) or self.whole.intersect(new):
            return None
        self.whole |= new
        return list(range(len(ids)))

    def _settle(self, record: RecordId) -> bool:
        offset, index, count = (record, 0, 1) if type(record) is int else cast("tuple[int, int, int]", record)
        place = offset % BLOCK
        if place in self.whole:
            return False
        _, settled = self.partial.setdefault(place, (count, BitMap()))
        if index in settled:
            return False
        settled.add(index)
        if len(settled) >= count:
            del self.partial[place]
            self.whole.add(place)
        return True

    def encode(self) -> dict[str, Any]:
        """As JSON data; the bitmaps in roaring's portable format, base64."""
        self.whole.run_optimize()
        return {
            "whole": _encode(self.whole),
            "partial": {str(place): [count, _encode(settled)] for place, (count, settled) in self.partial.items()},
            "counts": [[*kind, count] for kind, count in self.counts.items()],
            "hops": self.hops,
            "duplicates": self.duplicates,
        }

    @classmethod
    def decode(cls, data: dict[str, Any]) -> Block:
        return cls(
            _decode(data["whole"]),
            {int(place): (count, _decode(settled)) for place, (count, settled) in data["partial"].items()},
            Counter({(stop, ending, reason): count for stop, ending, reason, count in data["counts"]}),
            data["hops"],
            data["duplicates"],
        )


def _encode(bitmap: BitMap) -> str:
    return base64.b64encode(bitmap.serialize()).decode()


def _decode(encoded: str) -> BitMap:
    return BitMap.deserialize(base64.b64decode(encoded))
