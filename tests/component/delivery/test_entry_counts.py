"""The number of records that entered is exact for every offset that is committed, also after a crash."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from aiokafka import TopicPartition

from metroline.agents.delivery.entry_counts import EntryCount, EntryCounts
from metroline.routing.journeys.settlement import BLOCK_OFFSETS
from metroline.routing.messages.record_ids import RecordId

PARTITION = TopicPartition("orders.source", 1)


def add(counts: EntryCounts, ids: Sequence[RecordId], next_offset: int) -> None:
    counts.add(PARTITION, next_offset, lambda: ids, len(ids))


def noted(counts: EntryCounts, offset: int) -> EntryCount | None:
    return EntryCount.of_note(counts.note(PARTITION, offset))


def test_the_count_is_that_of_the_offset_that_is_committed() -> None:
    counts = EntryCounts()
    counts.begin(PARTITION, None, None)
    add(counts, [0, 1], 2)
    add(counts, [(2, 0, 3), (2, 1, 3), (2, 2, 3)], 3)
    add(counts, [7], 8)

    assert noted(counts, 3) == EntryCount(5, 0)
    assert noted(counts, 3) == EntryCount(5, 0)  # a commit that failed is made again
    assert noted(counts, 8) == EntryCount(6, 0)


def test_it_goes_on_from_the_note_where_another_worker_left_off() -> None:
    counts = EntryCounts()
    counts.begin(PARTITION, 8, EntryCount(6, 0).note)
    assert noted(counts, 8) == EntryCount(6, 0)
    add(counts, [8, 9], 10)
    counts.begin(PARTITION, 8, EntryCount(6, 0).note)  # the partition is assigned again, and its messages come again
    add(counts, [8, 9], 10)
    assert noted(counts, 10) == EntryCount(8, 0)


@pytest.mark.parametrize("note", [None, "", "no JSON", "{}", '{"records": null, "since": 0}'])
def test_without_a_note_counting_begins_at_the_next_block(note: str | None) -> None:
    counts = EntryCounts()
    counts.begin(PARTITION, 5, note)
    add(counts, [5, 6], 7)
    assert noted(counts, 7) == EntryCount(0, BLOCK_OFFSETS)
    add(counts, [BLOCK_OFFSETS - 1, BLOCK_OFFSETS, (BLOCK_OFFSETS + 1, 0, 2)], BLOCK_OFFSETS + 2)
    add(counts, [2 * BLOCK_OFFSETS], 2 * BLOCK_OFFSETS + 1)
    assert noted(counts, 2 * BLOCK_OFFSETS + 1) == EntryCount(3, BLOCK_OFFSETS)


def test_partitions_of_other_workers_are_not_counted() -> None:
    counts = EntryCounts()
    counts.begin(PARTITION, None, None)
    counts.forget([PARTITION])
    add(counts, [1], 2)
    assert counts.note(PARTITION, 2) is None
