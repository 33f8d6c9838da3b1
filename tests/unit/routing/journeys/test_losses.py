"""Messages that were deleted unread are counted once, by their offsets, and never instead of an outcome."""

from __future__ import annotations

import orjson
import pytest

from metroline.routing.journeys.losses import MAX_LOST, loss_notices
from metroline.routing.journeys.settlement import SettledBlock
from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.record_ids import Origin
from metroline.routing.messages.segment import LossNotice

DELIVERED = ("log", "delivered", "")


def reread(block: SettledBlock) -> SettledBlock:
    """Return the block as another worker reads it from its changelog."""
    return SettledBlock.decode(orjson.loads(orjson.dumps(block.encode())))


def test_lost_messages_are_kept_as_ranges_and_counted_once() -> None:
    block = SettledBlock()
    block.lose(range(3, 8))
    block.lose(range(3, 8))
    block.lose(range(20, 21))

    assert reread(block) == block
    assert list(block.lost) == [3, 4, 5, 6, 7, 20]
    assert block.encode()["lost"] == [(3, 7), (20, 20)]
    assert not block.counts
    assert not block.duplicates


def test_a_message_of_which_a_record_has_its_outcome_is_not_lost() -> None:
    block = SettledBlock()
    block.settle([4, 5], DELIVERED, 1)
    block.settle([(6, 1, 3)], DELIVERED, 1)

    block.lose(range(3, 8))

    assert list(block.lost) == [3, 7]


def test_an_outcome_that_arrives_all_the_same_takes_the_place_of_the_loss() -> None:
    block = SettledBlock()
    block.lose(range(10))

    assert block.settle([4, 5], DELIVERED, 1) == [0, 1]
    assert block.settle([(6, 0, 2), (6, 1, 2)], DELIVERED, 1) == [0, 1]

    assert list(block.lost) == [0, 1, 2, 3, 7, 8, 9]
    assert block.counts == {DELIVERED: 4}
    assert not block.duplicates


def test_a_block_that_an_older_version_wrote_has_lost_nothing() -> None:
    encoded = SettledBlock().encode()
    del encoded["lost"]

    assert not SettledBlock.decode(encoded).lost


@pytest.mark.parametrize("count", [1, 5, MAX_LOST, MAX_LOST + 1])
def test_notices_name_each_lost_message_once_and_are_envelopes(count: int) -> None:
    notices = list(loss_notices(Origin("source", 2), 7, 7 + count, 0.0))

    assert [Envelope.decode(notice.encode(), 2) for notice in notices] == notices
    ranges = []
    for notice in notices:
        (segment,) = notice.segments
        assert isinstance(segment.request, LossNotice)
        ranges.append((segment.ids[0], segment.request.last))
    assert ranges == ([(7, 6 + count)] if count <= MAX_LOST else [(7, 6 + MAX_LOST), (7 + MAX_LOST, 6 + count)])
