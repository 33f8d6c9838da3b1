"""Records that are settled, reopened and settled again: at any time each has one outcome or is under way."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metroline.routing.errors import MetrolineError
from metroline.routing.journeys.settlement import (
    BLOCK_OFFSETS,
    MAX_INDEX,
    MAX_KEYS,
    OTHER,
    OutcomeKey,
    SettledBlock,
    by_block,
    offset_of,
)
from metroline.routing.messages.record_ids import Origin, RecordId, id_of, id_text
from tests.support.worlds import examples

DELIVERED: OutcomeKey = ("a", "delivered", "")
DEAD: OutcomeKey = ("a", "dead", "service_error")
DROPPED: OutcomeKey = ("a", "dropped", "discarded: no use")
IDS: list[RecordId] = [0, 1, 2, (3, 0, 2), (3, 1, 2), (4, 0, 3), (4, 1, 3), (4, 2, 3), (5, 0, 1), BLOCK_OFFSETS - 1]


def again(block: SettledBlock) -> SettledBlock:
    """Return the block after a round trip through the table."""
    return SettledBlock.decode(orjson.loads(orjson.dumps(block.encode())))


OFFSETS = st.integers(0, 3 * BLOCK_OFFSETS) | st.sampled_from([BLOCK_OFFSETS - 1, BLOCK_OFFSETS, 2 * BLOCK_OFFSETS])


@given(st.lists(OFFSETS | st.tuples(OFFSETS, st.just(0), st.just(2)), max_size=6) | st.lists(OFFSETS, max_size=6))
@examples(300)
def test_each_record_is_sought_in_the_block_of_its_offset(ids: list[RecordId]) -> None:
    found = dict(by_block(ids))
    assert sorted(place for places in found.values() for place in places) == list(range(len(ids)))
    for number, places in found.items():
        assert places == sorted(places)
        assert {offset_of(ids[place]) // BLOCK_OFFSETS for place in places} == {number}


@given(
    st.lists(
        st.tuples(
            st.lists(st.sampled_from(IDS), min_size=1, max_size=4),
            st.sampled_from(["deliver", "die", "reopen"]),
            st.integers(0, 2),
        ),
        max_size=30,
    )
)
@examples(400)
def test_a_block_agrees_with_a_plain_model(steps: list[tuple[list[RecordId], str, int]]) -> None:
    block = SettledBlock()
    outcome: dict[RecordId, str] = {}
    generations: dict[RecordId, int] = {}
    for ids, what, generation in steps:
        expected = []
        for place, record in enumerate(ids):
            current = generations.get(record, 0) == generation
            if what == "reopen":
                if current and outcome.get(record) == "die":
                    del outcome[record]
                    generations[record] = generation + 1
                    expected.append(place)
            elif current and record not in outcome:
                outcome[record] = what
                expected.append(place)
        if what == "reopen":
            assert block.reopen(ids, DEAD, generation) == expected
        else:
            kind = DELIVERED if what == "deliver" else DEAD
            assert block.settle(ids, kind, 3, generation) == expected
        block = again(block)
        counted = {kind[1]: count for kind, count in block.counts.items()}
        died, arrived = (sum(one == end for one in outcome.values()) for end in ("die", "deliver"))
        assert counted == {name: n for name, n in (("dead", died), ("delivered", arrived)) if n}
        for record in IDS:
            now = generations.get(record, 0)
            assert block.is_dead(record, now) == (outcome.get(record) == "die")
            assert not block.is_dead(record, now + 1)


def test_a_letter_is_reopened_once_and_what_comes_late_of_its_first_life_is_a_duplicate() -> None:
    block = SettledBlock()
    block.settle([7], DEAD, 4)
    assert block.reopen([7], DEAD, 0) == [0]
    assert block.reopen([7], DEAD, 0) == []
    assert block.settle([7], DEAD, 4, 0) == []
    assert (block.counts, block.duplicates) == ({}, 1)
    assert block.settle([7], DROPPED, 2, 1) == [0]
    assert block.reopen([7], DEAD, 1) == []
    assert block.counts == {DROPPED: 1}


def test_letters_that_were_counted_together_are_taken_back_from_where_they_were_counted() -> None:
    block = SettledBlock()
    kinds: list[OutcomeKey] = [("a", "dead", f"cause {number}") for number in range(MAX_KEYS + 2)]
    for number, kind in enumerate(kinds):
        block.settle([number], kind, 1)
    assert block.counts["a", "dead", OTHER] == 2
    assert block.reopen([0], kinds[0], 0) == [0]
    assert block.reopen([MAX_KEYS], kinds[MAX_KEYS], 0) == [0]
    assert (sum(block.counts.values()), len(block.dead)) == (MAX_KEYS, MAX_KEYS)
    assert block.counts["a", "dead", OTHER] == 1


def test_a_record_too_far_back_in_its_message_is_settled_but_not_reopened() -> None:
    far = (0, MAX_INDEX, MAX_INDEX + 1)
    block = SettledBlock()
    assert block.settle([far], DEAD, 1) == [0]
    assert not block.is_dead(far, 0)
    assert block.reopen([far], DEAD, 0) == []


@given(st.sampled_from(["source", "source-1", "source-12"]), st.integers(0, 99), st.sampled_from(IDS))
@examples(100)
def test_an_id_is_read_back_from_its_text(name: str, partition: int, record: RecordId) -> None:
    origin, offset, index = id_of(id_text(Origin(name, partition), record))
    assert origin == Origin(name, partition)
    assert (offset, index) == ((record, None) if isinstance(record, int) else record[:2])


@pytest.mark.parametrize("text", ["", "source", "source-1", "source-0-x", "source-0-1.", "-0-1"])
def test_what_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(MetrolineError, match="is not the id of a record"):
        id_of(text)
