"""Size of the settlement table for a million records, in bytes of its entries, which a worker also holds in memory."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator

import orjson
import pytest

from metroline.routing.journeys.settlement import BLOCK_OFFSETS, MAX_KEYS, SettledBlock, by_block, outcome_key
from metroline.routing.messages.record_ids import RecordId
from metroline.routing.outcome import Ending, Outcome

MILLION = 1_000_000
DELIVERED = ("log", Ending.DELIVERED.value, "")


def kept_of(ids: Iterable[RecordId]) -> int:
    """Return the size of the entries, in bytes, after these records are settled in packs of a thousand."""
    blocks: dict[int, SettledBlock] = {}
    pack: list[RecordId] = []
    for record in ids:
        pack.append(record)
        if len(pack) == 1_000:
            settle(blocks, pack)
            pack = []
    settle(blocks, pack)
    return sum(len(orjson.dumps(block.encode())) for block in blocks.values())


def settle(blocks: dict[int, SettledBlock], pack: list[RecordId]) -> None:
    for number, places in by_block(pack):
        blocks.setdefault(number, SettledBlock()).settle([pack[place] for place in places], DELIVERED, 3)


def packed(lines: int, without: int | None = None) -> Iterator[RecordId]:
    """Yield a million records, `lines` per source message, without the record at index `without` of each message."""
    for offset in range(MILLION // lines):
        for index in range(lines):
            if index != without:
                yield offset, index, lines


def shuffled(share: float) -> Iterator[RecordId]:
    """Yield a random sample of a million records; `share` is its size, from 0 to 1."""
    yield from random.Random(1).sample(range(MILLION), int(share * MILLION))


@pytest.mark.parametrize(
    ("name", "ids", "most"),
    [
        ("one a message, all settled", range(MILLION), 12_000),
        ("one a message, every second one under way", shuffled(0.5), 700_000),
        ("49 a message, all settled", packed(49), 500),
        ("49 a message, one of each under way", packed(49, without=20), 1_200_000),
        ("1,000 a message, one of each under way", packed(1_000, without=500), 60_000),
    ],
)
@pytest.mark.long
def test_a_million_settled_records_take_no_more_than(name: str, ids: Iterable[RecordId], most: int) -> None:
    kept = kept_of(ids)
    print(f"{name}: {kept:,} bytes per million records")
    assert kept <= most


@pytest.mark.long
def test_a_block_stays_small_when_all_of_its_records_begin_anew_and_their_reasons_are_long() -> None:
    block, dead = SettledBlock(), ("log", Ending.DEAD.value, "service_error")
    ids: list[RecordId] = [(offset, index, 49) for offset in range(BLOCK_OFFSETS) for index in range(49)]
    block.settle(ids, dead, 3)
    block.reopen(ids, dead, 0)
    for number in range(MAX_KEYS):
        dropped = outcome_key("log", Outcome.dropped(f"{number}: {'x' * 10_000}"))
        block.settle([ids[number]], dropped, 3, 1)
    kept = len(orjson.dumps(block.encode()))
    print(f"a block of {len(ids):,} records that began anew: {kept:,} bytes")
    assert kept < 600_000
