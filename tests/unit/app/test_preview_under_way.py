"""Records that are under way are found on the bus, each once, and decided about as they are now."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from typing import Any, NamedTuple

import pytest

from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.topics import Topics
from metroline.app.preview.under_way import read_under_way
from metroline.app.preview.ways import LOOPS, UnderWay, turned
from metroline.routing.journeys.settlement import SettledBlock
from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.metadata import Metadata
from metroline.routing.messages.record_ids import Origin
from metroline.routing.messages.segment import Attempts, Segment, Visit
from metroline.routing.outcome import Cause, Outcome
from metroline.routing.rules.table import RulesTable

TOPICS = Topics("line", "line.source")
ORIGIN = Origin("source", 0)
PRICED = Visit("price", 5.0, "orders", "signpost", 1)


class Message(NamedTuple):
    """A message on a topic, as far as it is read."""

    topic: str
    value: bytes | None


def message(address: str, *segments: Segment) -> Message:
    return Message(f"line.{address}", Envelope("signpost", ORIGIN, segments).encode())


def segment(*ids: int, **more: Any) -> Segment:
    return Segment(ids, tuple(b'{"total":%d}' % one for one in ids), 900.0, **more)


@pytest.fixture
def bus(monkeypatch: pytest.MonkeyPatch) -> list[Message]:
    """Return the messages on the bus, to be filled. Of the records, 1 has its outcome."""
    messages: list[Message] = []

    async def read_topics(_: Cluster, topics: Collection[str]) -> AsyncIterator[Message]:
        for topic in topics:
            for one in messages:
                if one.topic == topic:
                    yield one

    async def read_blocks(*_: object) -> dict[tuple[int, str, int], SettledBlock]:
        block = SettledBlock()
        block.settle([1], ("price", "delivered", ""), 1)
        return {(0, "source", 0): block}

    monkeypatch.setattr("metroline.app.preview.under_way.read_topics", read_topics)
    monkeypatch.setattr("metroline.app.preview.under_way.read_blocks", read_blocks)
    return messages


async def found(limit: int = 100) -> list[tuple[str, str, bool]]:
    records, _ = await read_under_way(Cluster.at("kafka://127.0.0.1:1"), TOPICS, ("price", "ship"), limit)
    return [(one.id, one.stop, one.is_handled) for one in records]


async def test_records_wait_at_stops_in_waiting_rooms_and_for_decisions(bus: list[Message]) -> None:
    bus += [
        message("service.price", segment(2)),
        message("waiting.1s", segment(3, attempts=Attempts("price", ("busy",), 5.0))),
        message("conductor", segment(4, history=(PRICED,))),
        message("map-maker", segment(5)),
    ]
    assert sorted(await found()) == [
        ("source-0-2", "price", False),
        ("source-0-3", "price", False),
        ("source-0-4", "price", True),
        ("source-0-5", "source", True),
    ]


async def test_a_record_counts_where_it_was_written_last(bus: list[Message]) -> None:
    bus += [
        message("service.ship", segment(2, history=(PRICED,), hops=2)),
        message("service.price", segment(2, hops=1)),
    ]
    bus += [message("waiting.1s", segment(2, history=(PRICED,), hops=3, attempts=Attempts("ship", ("busy",), 5.0)))]
    assert await found() == [("source-0-2", "ship", False)]


async def test_records_that_have_their_outcome_are_not_under_way(bus: list[Message]) -> None:
    bus += [message("service.price", segment(1, 2))]
    bus += [message("switch", segment(3, outcome=Outcome.dead(Cause.EXPIRED)))]
    assert await found() == [("source-0-2", "price", False)]


async def test_messages_of_others_are_left_out(bus: list[Message]) -> None:
    bus += [Message("line.service.price", None), Message("line.service.price", b"no envelope"), message("switch")]
    assert await found() == []


async def test_no_more_than_asked_for_are_returned(bus: list[Message]) -> None:
    bus += [message("service.price", segment(*range(2, 12)))]
    records, is_cut = await read_under_way(Cluster.at("kafka://127.0.0.1:1"), TOPICS, ("price",), 4)
    assert (len(records), is_cut) == (4, True)


OLD = RulesTable.parse(
    """
[[rules]]
after = "source"
to = "price"

[[rules]]
name = "large"
after = "price"
when = "total > 5 && meta.key == 'a'"
to = "ship"
"""
)


def changed(*pairs: tuple[str, str]) -> RulesTable:
    text = OLD.text
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    return RulesTable.parse(text)


def one(total: int, *, stop: str = "price", is_handled: bool = True) -> UnderWay:
    metadata = Metadata.of([b"a"], [None], [5])
    return UnderWay("source-0-2", stop, is_handled, b'{"total":%d}' % total, 900.0, 1, metadata)


def test_the_way_ahead_is_compared() -> None:
    before, way = turned(OLD, changed(("total > 5", "total > 9")), one(7), 8)
    assert (before.stops, before.outcome) == (("ship",), "delivered")
    assert (way.stops, way.outcome, way.is_supposed) == ((), "dead: unroutable", False)
    assert way.turn is not None
    assert (way.turn.after, way.turn.before, way.turn.rule_before, way.turn.to) == (
        "price",
        "ship",
        "large",
        "dead: unroutable",
    )


def test_what_a_service_has_yet_to_see_is_supposed() -> None:
    _, way = turned(OLD, changed(("total > 5", "total > 9")), one(7, is_handled=False), 8)
    assert way.is_supposed


def test_a_way_that_stays_the_same_has_no_turn() -> None:
    _, way = turned(OLD, changed(("total > 5", "total > 6")), one(7), 8)
    assert way.turn is None


def test_a_way_that_parts_later_names_the_later_stop() -> None:
    _, way = turned(OLD, changed(("total > 5", "total > 9")), one(7, stop="source"), 8)
    assert way.turn is not None
    assert (way.turn.after, way.is_supposed) == ("price", True)


def test_a_way_that_leads_back_loops() -> None:
    table = RulesTable.parse(OLD.text + '\n[[rules]]\nafter = "ship"\nto = "price"\n')
    _, way = turned(OLD, table, one(7), 8)
    assert way.outcome == LOOPS
