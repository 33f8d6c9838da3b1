"""The desk reads dead letters in a thread, whatever else is on their topic, and bounds who waits for it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import orjson
import pytest

from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.topic_tail import TopicTail
from metroline.agents.kafka.topics import Topics
from metroline.app.operations import desk as desk_module
from metroline.app.operations.desk import MAX_WAITING, Desk, DeskBusy
from metroline.app.operations.desk_index import DeskIndex
from metroline.app.operations.letter import DeadLetterError
from metroline.routing.journeys.block_checks import check_block
from metroline.routing.journeys.settlement import SettledBlock, outcome_key
from metroline.routing.messages.segment import Segment
from metroline.routing.outcome import Cause, Outcome
from tests.support.dead_letter_topic import TopicMessage, counted, dead_letters_of, serve_dead_letters

DEAD = Outcome.dead(Cause.EXPIRED, "too old")
SEGMENTS = [Segment((number,), (b'{"n":%d}' % number,), 1.0, outcome=DEAD, hops=1) for number in range(5)]
OWN = "metroline-dead-letter"
ODD = [
    TopicMessage((0, 100), None, None),
    TopicMessage((0, 101), None, b"{}"),
    TopicMessage((0, 102), b"\xff", b"\xff", [(OWN, b"\xff")]),
    TopicMessage((0, 103), None, b"{}", [(OWN, None)]),
    TopicMessage((0, 104), None, b"{}", [(OWN, b'{"metroline":2,"strategy":"x","origin":["source",0],"segments":[]}')]),
    TopicMessage((0, 105), None, b"{}", [(OWN, b"[" * 5_000)]),
    TopicMessage((0, 106), None, b"{}", [(OWN, b'{"metroline":2,"strategy":"x","origin":["source",-1],"segments":0}')]),
]
ODD_BLOCKS = [
    TopicMessage((0, 1), b"0/source/0", b"no JSON"),
    TopicMessage((0, 2), b"0/source/0", b'{"epoch": 9, "dead": "no bitmap"}'),
    TopicMessage((0, 3), b"0/source/0", b'{"epoch": 0, "dead": ""}'),
    TopicMessage((0, 4), b"7/source/0", b"{}"),
    TopicMessage((0, 5), b"\xff", b"{}"),
    TopicMessage((0, 6), None, b"{}"),
]


@pytest.fixture
async def desk(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Desk]:
    serve_dead_letters(monkeypatch, [*ODD, *dead_letters_of(SEGMENTS)], [counted(SEGMENTS), *ODD_BLOCKS])
    made = Desk(Cluster.at("kafka://127.0.0.1:1"), Topics("test", "orders.in", {}))
    yield made
    await made.close()


async def test_what_no_worker_wrote_is_left_out(desk: Desk) -> None:
    [group] = await desk.groups()
    assert (group.count, group.cause) == (5, ("source", "expired"))
    assert desk.index.foreign == len(ODD)


async def test_of_many_entries_of_a_block_only_the_one_that_counts_is_read_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = []

    def check(key: str, value: dict[str, Any]) -> None:
        whole.append(value["epoch"])
        check_block(key, value)

    def entry(offset: int, count: int, epoch: int, **fields: Any) -> TopicMessage:
        value = orjson.loads(counted(SEGMENTS[:count]).own_value or b"") | {"epoch": epoch} | fields
        return TopicMessage((0, offset), b"0/source/0", orjson.dumps(value))

    entries = [entry(offset, 1 + offset % 5, 2) for offset in range(90)]  # of which the last one has all five
    forged = entry(90, 1, 3, dead="no bitmap")
    late = [entry(offset, 2, 1) for offset in range(91, 100)]
    serve_dead_letters(monkeypatch, dead_letters_of(SEGMENTS), [*entries, forged, *late])
    monkeypatch.setattr(desk_module, "check_block", check)
    made = Desk(Cluster.at("kafka://127.0.0.1:1"), Topics("test", "orders.in", {}))
    [group] = await made.groups()
    await made.close()
    assert group.count == 5
    assert whole == 2 * [3, 2], "the topic is read twice, and has the forged entry before the one that counts"


async def test_a_dead_letter_is_read_again_in_full(desk: Desk) -> None:
    [letter] = await desk.named(["source-0-3"])
    told = letter.as_json()
    assert (told["record"], told["topic"], told["partition"], told["offset"]) == ({"n": 3}, "orders.in", 0, 3)
    with pytest.raises(DeadLetterError, match="source-0-9 is no dead letter"):
        await desk.named(["source-0-3", "source-0-9"])


async def test_a_page_ends_with_its_bytes_and_a_group_comes_whole(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk_module, "MAX_PAGE_BYTES", 1)
    [group] = await desk.groups()
    page = await desk.page(group.id)
    assert ([letter.id for letter in page.letters], page.next) == (["source-0-0"], "source-0-0")
    found = [[orjson.loads(letter.line)["n"] for letter in some] async for some in desk.chosen([], group.id)]
    assert found == [[0], [1], [2], [3], [4]]


async def test_reading_leaves_the_event_loop_and_only_so_many_wait(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, threads = threading.Event(), set[int]()

    def read(_: TopicTail) -> Iterator[list[TopicMessage]]:
        threads.add(threading.get_ident())
        gate.wait(10)
        yield from ()

    monkeypatch.setattr(TopicTail, "read", read)
    waiting = [asyncio.create_task(desk.groups()) for _ in range(MAX_WAITING)]
    await asyncio.sleep(0.05)
    with pytest.raises(DeskBusy, match="try again in a moment"):
        await desk.groups()
    gate.set()
    assert await asyncio.gather(*waiting) == [[]] * MAX_WAITING
    assert len(threads) == 1
    assert threading.get_ident() not in threads


async def test_a_full_index_reads_the_topic_again_only_if_that_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks, resets = [counted(SEGMENTS)], list[TopicTail]()
    serve_dead_letters(monkeypatch, dead_letters_of(SEGMENTS), blocks)

    def reset(tail: TopicTail) -> None:
        resets.append(tail)

    monkeypatch.setattr(TopicTail, "reset", reset)
    desk = Desk(Cluster.at("kafka://127.0.0.1:1"), Topics("test", "orders.in", {}), DeskIndex(max_letters=4))

    async def listed() -> list[int]:
        desk.expire()
        return [group.count for group in await desk.groups()]

    assert await listed() == [4]
    assert await listed() == [4]
    assert resets == [], "all that are listed are dead still, so there is no room for others"

    replayed = SettledBlock()
    for segment in SEGMENTS:
        replayed.settle(segment.ids, outcome_key(segment.last_stop, DEAD), segment.hops)
    assert replayed.reopen(SEGMENTS[0].ids, outcome_key("source", DEAD), 0)
    blocks.append(TopicMessage((0, 1), b"0/source/0", orjson.dumps(replayed.encode() | {"epoch": 1})))
    monkeypatch.setattr(desk_module, "ROOM_SHARE", 0.5)
    monkeypatch.setattr(desk_module, "REREAD_FACTOR", 1e9)
    assert await listed() == [3]
    assert resets == [], "that few are gone, and it was read a moment ago"
    monkeypatch.setattr(desk_module, "REREAD_FACTOR", 0)
    assert await listed() == [4]
    assert len(resets) == 1
    assert (desk.index.is_full, await listed(), len(resets)) == (False, [4], 1)
    await desk.close()
