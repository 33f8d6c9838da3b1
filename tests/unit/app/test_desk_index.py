"""The index of dead letters looks at each of them once, and answers from that."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from pyroaring import BitMap

from metroline.app.operations.desk_index import BlockMarks, DeskIndex
from metroline.routing.errors import UsageError
from metroline.routing.journeys.settlement import BLOCK_OFFSETS
from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.record_ids import Origin, RecordId
from metroline.routing.messages.segment import Segment
from metroline.routing.outcome import Cause, Outcome

FIRST = b"0/source/0"
ALL = BitMap(range(BLOCK_OFFSETS))


def add(
    index: DeskIndex, ids: Iterable[RecordId], cause: Cause = Cause.EXPIRED, at: float = 1.0, generation: int = 0
) -> None:
    """Add a dead letter for each id, in messages of their own, each settled a second after the one before."""
    for number, record in enumerate(ids):
        segment = Segment((record,), (b"{}",), 0.0, outcome=Outcome.dead(cause), generation=generation)
        index.add((0, len(index)), 2, Envelope("signpost", Origin("source", 0), (segment,)), at + number)


def ids_of(index: DeskIndex, group: str, after: str | None = None) -> list[str]:
    return [reference.id for reference in index.references(group, after)]


def test_reading_costs_one_look_at_each_dead_letter_and_a_page_one_at_each_on_it() -> None:
    """A bound on the work: it does not grow with what is on no page, and has not changed since."""
    index = DeskIndex()
    add(index, range(3 * BLOCK_OFFSETS))
    index.settle({f"0/source/{number}".encode(): BlockMarks(ALL) for number in range(3)})
    assert index.examined <= 2 * 3 * BLOCK_OFFSETS, "each was read once and settled once"

    before = index.examined
    [group] = index.groups()
    assert (group.count, index.examined) == (3 * BLOCK_OFFSETS, before)

    page = index.references(group.id, None)
    assert len([next(page) for _ in range(100)]) == 100
    assert index.examined == before + 100

    before = index.examined
    index.settle({b"0/source/2": BlockMarks(ALL - BitMap([5]), {1: BitMap([5])})})
    assert index.examined == before + BLOCK_OFFSETS, "only the block that changed"
    assert index.groups()[0].count == 3 * BLOCK_OFFSETS - 1

    before = index.examined
    assert index.reference("source-0-17") is not None
    assert index.examined == before + 1


@pytest.mark.parametrize("generation", [2**32, 2**53 - 1])
def test_a_generation_that_no_record_reaches_leaves_the_index_as_it_was(generation: int) -> None:
    index = DeskIndex()
    add(index, [0])
    with pytest.raises(ValueError, match="restarted"):
        add(index, [1], generation=generation)
    add(index, [2], generation=2**32 - 1)
    index.settle({FIRST: BlockMarks(BitMap([0, 1, 2]), {2**32 - 1: BitMap([2])})})
    [group] = index.groups()
    assert ids_of(index, group.id) == ["source-0-0", "source-0-2"]


def test_what_was_replayed_or_discarded_is_gone_and_comes_back_as_it_dies_again() -> None:
    index = DeskIndex()
    add(index, [0, 1])
    assert index.groups() == [], "they are not counted yet"
    index.settle({FIRST: BlockMarks(BitMap([0, 1]))})
    [group] = index.groups()
    assert ids_of(index, group.id) == ["source-0-0", "source-0-1"]

    index.settle({FIRST: BlockMarks(BitMap([1]), {1: BitMap([0])})})
    assert ids_of(index, group.id) == ["source-0-1"]
    assert index.reference("source-0-0") is None

    add(index, [0], at=10.0, generation=1)
    index.settle({FIRST: BlockMarks(BitMap([0, 1]), {1: BitMap([0])})})
    assert ids_of(index, group.id) == ["source-0-1", "source-0-0"]
    assert [(one.count, one.first, one.last, one.example) for one in index.groups()] == [(2, 2.0, 10.0, "source-0-1")]


def test_a_dead_letter_that_was_written_twice_is_one() -> None:
    index = DeskIndex()
    add(index, [7, 7])
    index.settle({FIRST: BlockMarks(BitMap([7]))})
    assert [group.count for group in index.groups()] == [1]


def test_records_of_one_message_are_found_by_their_ids() -> None:
    index = DeskIndex()
    ids: list[RecordId] = [(4, 0, 2), (4, 1, 2), (9, 0, 1)]
    add(index, ids)
    marks = BitMap([4 + BLOCK_OFFSETS, 4 + 2 * BLOCK_OFFSETS, 9])
    index.settle({FIRST: BlockMarks(marks)})
    for name in ("source-0-4.0", "source-0-4.1", "source-0-9.0"):
        assert index.reference(name) is not None
    assert index.reference("source-0-4.2") is None
    with pytest.raises(UsageError, match="is not the id of a record"):
        index.reference("what")


def test_pages_follow_each_other_in_the_order_of_settlement_also_after_a_replay() -> None:
    index = DeskIndex()
    add(index, [3], at=30.0)
    add(index, [1, 2], at=10.0)
    index.settle({FIRST: BlockMarks(BitMap([1, 2, 3]))})
    [group] = index.groups()
    assert ids_of(index, group.id) == ["source-0-1", "source-0-2", "source-0-3"]

    index.settle({FIRST: BlockMarks(BitMap([2, 3]), {1: BitMap([1])})})
    assert ids_of(index, group.id, "source-0-1") == ["source-0-2", "source-0-3"]
    with pytest.raises(LookupError):
        ids_of(index, group.id, "source-0-99")


def test_an_index_has_bounds_and_makes_room_once_it_is_read_again() -> None:
    index = DeskIndex(max_letters=2, max_groups=1)
    add(index, [0, 1, 2])
    add(index, [3], Cause.TIMEOUT)
    assert (len(index), index.left_out, index.is_full) == (2, 2, True)

    index.settle({FIRST: BlockMarks(BitMap([2]), {1: BitMap([0, 1])})})
    index.clear()
    add(index, [0, 1, 2])
    assert [group.example for group in index.groups()] == ["source-0-2"]
    assert not index.is_full


def test_a_tally_tells_of_each_letter_what_became_of_it() -> None:
    index = DeskIndex()
    letters = BitMap(range(8))
    marks = BlockMarks(
        dead=BitMap([0, 1, 4]),
        generations={1: BitMap([2, 3, 4, 5]), 2: BitMap([6])},
        ended=BitMap([2, 3, 4, 6]),
    )
    index.settle({FIRST: marks})
    tally = index.tally({(FIRST, 0): letters - BitMap([7])})
    assert (tally.total, tally.replayed) == (7, 5), "0 and 1 are still dead"
    assert (tally.ended, tally.dead_again, tally.under_way) == (2, 2, 1), (
        "6 was dead again before it was replayed again"
    )
    assert index.tally({(b"9/source/9", 0): letters}).remaining == 8, "a block of which nothing is known yet"
